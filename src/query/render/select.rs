//! Reads.

use std::fmt::Write as _;

use super::order::{key_terms, order_terms};
use super::{Bind, Clause, Frame, Output, Reach, Rendered, Renderer, Sink};
use crate::error::{Error, Result};
use crate::query::ast::{
    AggregateRef, ColumnRef, Function, Join, Link, OrderKey, OrderTerm, Predicate, SelectAst,
};
use crate::table::{
    ColumnDefinition, ColumnType, Dialect, ReferenceDefinition, TableDefinition, Value,
};

#[derive(Debug, Clone, Copy)]
pub(super) enum SelectOutput<'a> {
    Top(Output<'a>),
    Sub(SubqueryOutput),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum SubqueryOutput {
    Column(ColumnRef),
    /// `EXISTS`, along a reference to the outer row.
    One(Option<(&'static ReferenceDefinition, u16, &'static TableDefinition)>),
    Witnesses,
}

impl SelectOutput<'_> {
    /// Rows that are read are ordered; a subquery only where a limit makes the order matter.
    pub(super) fn ordered(self, ast: &SelectAst) -> bool {
        match self {
            Self::Top(Output::Aggregates(_)) => false,
            Self::Top(_) => !ast.unordered,
            Self::Sub(_) => !ast.unordered && (ast.limit.is_some() || ast.offset.is_some()),
        }
    }

    /// The columns that make up a row of a distinct read.
    pub(super) fn distinct_columns(self, ast: &SelectAst) -> Option<Vec<ColumnRef>> {
        match self {
            Self::Top(Output::Columns(columns)) if ast.distinct => Some(columns.to_vec()),
            Self::Sub(SubqueryOutput::Column(column)) if ast.distinct => Some(vec![column]),
            _ => None,
        }
    }
}

impl Link {
    pub(crate) const fn is_outer(&self) -> bool {
        matches!(self, Self::Child { .. } | Self::Parent { outer: true, .. })
    }
}

pub(super) fn index_u16(index: usize) -> u16 {
    u16::try_from(index).unwrap_or(u16::MAX)
}

impl<B: Sink> Renderer<'_, B> {
    pub(crate) fn select(mut self, ast: &SelectAst, output: Output<'_>) -> Result<Rendered<B>> {
        self.select_body(ast, SelectOutput::Top(output))?;
        self.finish()
    }

    /// `count(*)` behind the aggregated witnesses.
    pub(crate) fn count(mut self, ast: &SelectAst) -> Result<Rendered<B>> {
        if ast.limit.is_none() && ast.offset.is_none() {
            let count = [AggregateRef { function: Function::Count, column: None }];
            let mut ast = ast.clone();
            ast.order.clear();
            self.select_body(&ast, SelectOutput::Top(Output::Aggregates(&count)))?;
            return self.finish();
        }
        self.counted(ast)
    }

    /// `count(*)` over at most one row, behind the aggregated witnesses.
    pub(crate) fn exists(self, ast: &SelectAst) -> Result<Rendered<B>> {
        if ast.limit.is_some() || ast.offset.is_some() {
            return self.counted(ast);
        }
        let mut ast = ast.clone();
        ast.order.clear();
        ast.unordered = true;
        ast.probe = true;
        ast.limit = Some(1);
        self.counted(&ast)
    }

    /// Counts the rows of a limited read.
    pub(super) fn counted(mut self, ast: &SelectAst) -> Result<Rendered<B>> {
        self.sql.push_str("SELECT ");
        for (index, table) in ast.tables().enumerate() {
            if table.tenant_column().is_some() {
                let open = self.witness_aggregate();
                let _ = write!(self.sql, "{open}w.\"w{index}\"), ");
            }
        }
        self.sql.push_str("count(*) FROM (");
        self.select_body(ast, SelectOutput::Sub(SubqueryOutput::Witnesses))?;
        self.sql.push_str(") AS w");
        self.finish()
    }

    pub(super) fn select_body(
        &mut self,
        ast: &SelectAst,
        output: SelectOutput<'_>,
    ) -> Result<Frame> {
        if let Some(misuse) = ast.misuse {
            return Err(Error::misuse(misuse));
        }
        let reads_rows = matches!(output, SelectOutput::Top(Output::Rows | Output::Columns(_)));
        if ast.for_update && (!reads_rows || ast.distinct) {
            return Err(Error::misuse(
                "`for_update` locks the rows that a statement reads one by one",
            ));
        }
        if ast.joins.len() > 3 {
            return Err(Error::misuse("a statement joins at most four tables"));
        }
        let frame = Frame::of(self.aliases, ast);
        self.aliases += u16::try_from(ast.joins.len()).unwrap_or(3) + 1;
        for table in ast.tables() {
            self.schema.registered(table)?;
        }
        self.sql.push_str(if ast.distinct { "SELECT DISTINCT " } else { "SELECT " });
        self.output(ast, &frame, output)?;
        self.sql.push_str(" FROM ");
        self.table_as(ast.base, frame.first)?;
        for (index, join) in (1u8..).zip(&ast.joins) {
            self.join(&frame, index, join)?;
        }
        self.select_conditions(ast, &frame, output)?;
        self.groups(ast, &frame)?;
        if output.ordered(ast) {
            self.order_by(ast, &frame, output)?;
        }
        self.limit(ast)?;
        if matches!(output, SelectOutput::Sub(SubqueryOutput::One(_)))
            && ast.limit.is_none()
            && ast.offset.is_none()
        {
            // SQLite 3.51.3 turns EXISTS into a join that repeats the outer row for each match
            // where the outer query has an OFFSET. A limit inside keeps it from that.
            self.sql.push_str(" LIMIT ");
            self.bind(Bind::Value(Value::I64(1)));
        }
        if ast.for_update && self.dialect == Dialect::Postgres {
            self.locks(ast, &frame);
        }
        Ok(frame)
    }

    /// PostgreSQL locks no row that an outer join may lack, and the application's role none of a
    /// global table, which it only reads.
    fn locks(&mut self, ast: &SelectAst, frame: &Frame) {
        for (index, table) in ast.tables().enumerate() {
            let outer = index
                .checked_sub(1)
                .and_then(|at| ast.joins.get(at))
                .is_some_and(|join| join.link.is_outer());
            if !outer && table.tenant_column().is_some() {
                let _ = write!(self.sql, " FOR UPDATE OF t{}", frame.first + index_u16(index));
            }
        }
    }

    pub(super) fn select_conditions(
        &mut self,
        ast: &SelectAst,
        frame: &Frame,
        output: SelectOutput<'_>,
    ) -> Result<()> {
        let start = self.sql.len();
        self.sql.push_str(" WHERE ");
        let mut written = self.organization_predicate(frame.first, ast.base);
        if let SelectOutput::Sub(SubqueryOutput::One(Some((reference, alias, parent)))) = output {
            self.edge(written, reference, (frame.first, ast.base), (alias, parent))?;
            written = true;
        }
        if let Some(filter) = &ast.filter {
            if written {
                self.sql.push_str(" AND ");
            }
            self.user_filter(frame, filter)?;
            written = true;
        }
        if !written {
            self.sql.truncate(start);
        }
        Ok(())
    }

    /// INVARIANT: the user's filter is one parenthesised operand of the outermost `AND`.
    pub(super) fn user_filter(&mut self, frame: &Frame, filter: &Predicate) -> Result<()> {
        if let Predicate::All(_) | Predicate::Any(_) = filter {
            return self.predicate(frame, Clause::Where, filter);
        }
        self.sql.push('(');
        self.predicate(frame, Clause::Where, filter)?;
        self.sql.push(')');
        Ok(())
    }

    pub(super) fn output(
        &mut self,
        ast: &SelectAst,
        frame: &Frame,
        output: SelectOutput<'_>,
    ) -> Result<()> {
        match output {
            SelectOutput::Top(Output::Rows) => {
                for (index, table) in ast.tables().enumerate() {
                    if index > 0 {
                        self.sql.push_str(", ");
                    }
                    self.select_list(table, frame.first + index_u16(index))?;
                }
                Ok(())
            }
            SelectOutput::Top(Output::Columns(columns)) => {
                self.witnesses(ast, frame);
                self.column_list(frame, columns)
            }
            SelectOutput::Top(Output::Aggregates(aggregates)) => {
                if ast.limit.is_some() || ast.offset.is_some() || !ast.order.is_empty() {
                    return Err(Error::misuse(
                        "aggregates run over all rows of the filter: `limit`, `offset` and `order_by` do not apply",
                    ));
                }
                self.aggregate_witnesses(ast, frame);
                self.aggregate_list(frame, aggregates)
            }
            SelectOutput::Top(Output::Groups(aggregates)) => {
                self.aggregate_witnesses(ast, frame);
                self.column_list(frame, &ast.groups)?;
                self.sql.push_str(", ");
                self.aggregate_list(frame, aggregates)
            }
            SelectOutput::Sub(SubqueryOutput::Column(column)) => {
                self.column_ref(frame, column)?;
                Ok(())
            }
            SelectOutput::Sub(SubqueryOutput::One(_)) => {
                self.sql.push('1');
                Ok(())
            }
            SelectOutput::Sub(SubqueryOutput::Witnesses) => {
                for (index, table) in ast.tables().enumerate() {
                    if let Some(tenant) = table.tenant_column() {
                        self.column(frame.first + index_u16(index), tenant);
                        self.sql.push_str(" = ");
                        self.bind(Bind::Organization);
                        let _ = write!(self.sql, " AS \"w{index}\", ");
                    }
                }
                self.sql.push_str("1 AS \"one\"");
                Ok(())
            }
        }
    }

    /// The witness of each table, in front of columns: the tenant column; behind it, where the
    /// table may be absent, whether its first key column is NULL (and not the key itself, which
    /// would make every row of a DISTINCT read different).
    pub(super) fn witnesses(&mut self, ast: &SelectAst, frame: &Frame) {
        for (index, table) in ast.tables().enumerate() {
            let alias = frame.first + index_u16(index);
            if let Some(tenant) = table.tenant_column() {
                self.column(alias, tenant);
                self.sql.push_str(", ");
            }
            let outer = index
                .checked_sub(1)
                .and_then(|at| ast.joins.get(at))
                .is_some_and(|join| join.link.is_outer());
            if outer && let Some(key) = table.key_positions().next().and_then(|at| table.column(at))
            {
                self.column(alias, key.name());
                self.sql.push_str(" IS NULL, ");
            }
        }
    }

    /// What makes one witness of many.
    pub(super) const fn witness_aggregate(&self) -> &'static str {
        match self.dialect {
            Dialect::Sqlite => "min(",
            Dialect::Postgres => "bool_and(",
        }
    }

    pub(super) fn aggregate_witnesses(&mut self, ast: &SelectAst, frame: &Frame) {
        for (index, table) in ast.tables().enumerate() {
            if let Some(tenant) = table.tenant_column() {
                self.sql.push_str(self.witness_aggregate());
                self.column(frame.first + index_u16(index), tenant);
                self.sql.push_str(" = ");
                self.bind(Bind::Organization);
                self.sql.push_str("), ");
            }
        }
    }

    pub(super) fn column_list(&mut self, frame: &Frame, columns: &[ColumnRef]) -> Result<()> {
        for (index, column) in columns.iter().enumerate() {
            if index > 0 {
                self.sql.push_str(", ");
            }
            self.column_ref(frame, *column)?;
        }
        Ok(())
    }

    pub(super) fn aggregate_list(
        &mut self,
        frame: &Frame,
        aggregates: &[AggregateRef],
    ) -> Result<()> {
        for (index, aggregate) in aggregates.iter().enumerate() {
            if index > 0 {
                self.sql.push_str(", ");
            }
            self.aggregate(frame, *aggregate)?;
        }
        Ok(())
    }

    pub(super) fn aggregate(&mut self, frame: &Frame, aggregate: AggregateRef) -> Result<()> {
        let (open, close) = self.aggregate_words(aggregate);
        self.sql.push_str(open);
        match aggregate.column {
            Some(column) => {
                self.column_ref(frame, column)?;
            }
            None => self.sql.push('*'),
        }
        self.sql.push_str(close);
        Ok(())
    }

    /// PostgreSQL orders truth values, UUIDs and bytes, but has no `min` and `max` of them (of
    /// bytes from version 18 on). The first and the last of the ordered values are the same.
    fn aggregate_words(&self, aggregate: AggregateRef) -> (&'static str, &'static str) {
        let kind = aggregate.column.and_then(ColumnRef::definition).map(ColumnDefinition::kind);
        match (aggregate.function, self.dialect, kind) {
            (Function::Min, Dialect::Postgres, Some(ColumnType::Bool)) => ("bool_and(", ")"),
            (Function::Max, Dialect::Postgres, Some(ColumnType::Bool)) => ("bool_or(", ")"),
            (Function::Min, Dialect::Postgres, Some(ColumnType::Bytes | ColumnType::Uuid)) => {
                ("percentile_disc(0) WITHIN GROUP (ORDER BY ", ")")
            }
            (Function::Max, Dialect::Postgres, Some(ColumnType::Bytes | ColumnType::Uuid)) => {
                ("percentile_disc(1) WITHIN GROUP (ORDER BY ", ")")
            }
            (Function::Count, ..) => ("count(", ")"),
            (Function::CountDistinct, ..) => ("count(DISTINCT ", ")"),
            (Function::Max, ..) => ("max(", ")"),
            (Function::Min, ..) => ("min(", ")"),
            (Function::Sum, ..) => ("sum(", ")"),
        }
    }

    /// INVARIANT: a joined table carries its predicate in `ON`, so that an outer join keeps its
    /// meaning, and equality of the tenant columns across the edge besides.
    pub(super) fn join(&mut self, frame: &Frame, index: u8, join: &Join) -> Result<()> {
        let (alias, table) = frame.at(index)?;
        self.sql.push_str(if join.link.is_outer() { " LEFT JOIN " } else { " INNER JOIN " });
        self.table_as(table, alias)?;
        self.sql.push_str(" ON ");
        let written = self.organization_predicate(alias, table);
        match join.link {
            Link::Parent { reference, child, .. } => {
                self.edge(written, reference, frame.at(child)?, (alias, table))
            }
            Link::Child { reference, parent } => {
                self.edge(written, reference, (alias, table), frame.at(parent)?)
            }
        }
    }

    pub(super) fn edge(
        &mut self,
        mut written: bool,
        reference: &'static ReferenceDefinition,
        child: (u16, &'static TableDefinition),
        parent: (u16, &'static TableDefinition),
    ) -> Result<()> {
        let declared = child.1.references().iter().any(|declared| {
            declared.columns() == reference.columns() && declared.target().same(parent.1)
        });
        if !declared {
            return Err(Error::misuse("a join goes along a reference that is not declared")
                .at_table(child.1.name()));
        }
        if let (Some(ours), Some(theirs)) = (child.1.tenant_column(), parent.1.tenant_column()) {
            self.and(&mut written);
            self.column(child.0, ours);
            self.sql.push_str(" = ");
            self.column(parent.0, theirs);
        }
        for (from, to) in reference.columns().iter().zip(parent.1.key_positions()) {
            let (Some(from), Some(to)) = (child.1.column(*from), parent.1.column(to)) else {
                return Err(Error::misuse("a reference names no column").at_table(child.1.name()));
            };
            self.and(&mut written);
            self.column(child.0, from.name());
            self.sql.push_str(" = ");
            self.column(parent.0, to.name());
        }
        Ok(())
    }

    pub(super) fn and(&mut self, written: &mut bool) {
        if std::mem::replace(written, true) {
            self.sql.push_str(" AND ");
        }
    }

    pub(super) fn groups(&mut self, ast: &SelectAst, frame: &Frame) -> Result<()> {
        if !ast.groups.is_empty() {
            self.sql.push_str(" GROUP BY ");
            self.column_list(frame, &ast.groups)?;
        }
        if let Some(having) = &ast.having {
            self.sql.push_str(" HAVING ");
            self.predicate(frame, Clause::Having(&ast.groups), having)?;
        }
        Ok(())
    }

    /// Organizations hold rows of the same key: where a statement reads those of all of them, the
    /// organization stands before the key.
    fn order_by(&mut self, ast: &SelectAst, frame: &Frame, output: SelectOutput<'_>) -> Result<()> {
        let across = match self.reach {
            Reach::Across => ast.base.tenant_column(),
            Reach::Scope(_) | Reach::Draft | Reach::Named => None,
        };
        let bare = ast.order.is_empty() && ast.groups.is_empty() && ast.joins.is_empty();
        if bare && !ast.distinct && across.is_none() {
            return self.order(frame, 0, key_terms(ast.base, 0));
        }
        let mut terms = order_terms(ast, output.distinct_columns(ast).as_deref())?;
        let Some(tenant) = across else { return self.order(frame, 0, terms) };
        let key = terms.split_off(ast.order.len());
        let asked = terms.len();
        let descending = terms.last().is_some_and(|term| term.descending);
        self.order(frame, 0, terms)?;
        self.sql.push_str(separator(asked));
        self.column(frame.first, tenant);
        self.sql.push_str(if descending { " DESC" } else { "" });
        self.order(frame, asked + 1, key)
    }

    /// Writes the terms of an order behind those that are `written` already.
    fn order(
        &mut self,
        frame: &Frame,
        written: usize,
        terms: impl IntoIterator<Item = OrderTerm>,
    ) -> Result<()> {
        for (index, term) in terms.into_iter().enumerate() {
            self.sql.push_str(separator(written + index));
            let nullable = match term.key {
                OrderKey::Column(column) => {
                    let (alias, definition) = frame.resolve(column)?;
                    self.column(alias, definition.name());
                    definition.is_nullable() || alias != frame.first
                }
                OrderKey::Aggregate(aggregate) => {
                    self.aggregate(frame, aggregate)?;
                    true
                }
            };
            self.sql.push_str(match (nullable, term.descending) {
                (false, false) => "",
                (false, true) => " DESC",
                (true, false) => " ASC NULLS FIRST",
                (true, true) => " DESC NULLS LAST",
            });
        }
        Ok(())
    }

    pub(super) fn limit(&mut self, ast: &SelectAst) -> Result<()> {
        let limited = ast.limit.is_some() || ast.offset.is_some();
        if ast.unordered && limited && !ast.probe {
            return Err(Error::misuse(
                "`limit` and `offset` need an order: which rows they keep would depend on the store",
            ));
        }
        if !limited {
            return Ok(());
        }
        let bound = |rows: u64| {
            i64::try_from(rows).map(Value::I64).map_err(|_| {
                Error::invalid("`limit` and `offset` are at most 9,223,372,036,854,775,807 rows")
            })
        };
        self.sql.push_str(" LIMIT ");
        let limit = bound(ast.limit.unwrap_or(i64::MAX.unsigned_abs()))?;
        self.bind(Bind::Value(limit));
        if let Some(offset) = ast.offset {
            self.sql.push_str(" OFFSET ");
            let offset = bound(offset)?;
            self.bind(Bind::Value(offset));
        }
        Ok(())
    }
}

/// What stands before an order's term, by how many others do.
const fn separator(before: usize) -> &'static str {
    if before == 0 { " ORDER BY " } else { ", " }
}
