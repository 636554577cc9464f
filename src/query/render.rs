//! Statements as SQL. The only place that writes a table name into a statement, and the only one
//! that adds the organization predicate.

use std::fmt::Write as _;
use std::sync::Arc;

use super::ast::{
    AggregateRef, ColumnRef, Function, Join, Link, OrderKey, OrderTerm, Predicate, SelectAst, Sign,
    Subquery, Term,
};
use crate::error::{Error, Result};
use crate::scope::TenantScope;
use crate::table::{
    ColumnDefinition, Dialect, ReferenceDefinition, Schema, TableDefinition, Value,
};

/// A value of a rendered statement, in the order of its placeholders.
#[derive(Debug, Clone)]
pub(crate) enum Bind {
    /// The scope's organization.
    Organization,
    /// A run argument of a prepared shape, for this column.
    Slot(u16, &'static ColumnDefinition),
    Value(Value),
}

/// The text of a statement: rendered for one run, or shared by many.
#[derive(Debug, Clone)]
pub(crate) enum Sql {
    Once(String),
    Shared(Arc<str>),
}

impl Sql {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Once(sql) => sql,
            Self::Shared(sql) => sql,
        }
    }
}

/// A statement ready to be bound and run.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub(crate) sql: Sql,
    pub(crate) binds: Vec<Bind>,
}

/// Whose rows a statement may touch.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reach<'a> {
    /// One organization's; subqueries must be of the same scope.
    Scope(&'a TenantScope),
    /// One organization's, named when the prepared shape is run.
    Draft,
    /// Every organization's: cross-tenant reads, and writes of global tables.
    Across,
}

/// What a select reads.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Output<'a> {
    /// Whole rows with a witness for each table.
    Rows,
    /// Columns behind the witnesses.
    Columns(&'a [ColumnRef]),
    /// Aggregates behind the aggregated witnesses.
    Aggregates(&'a [AggregateRef]),
    /// Aggregates behind the groups' columns and the aggregated witnesses.
    Groups(&'a [AggregateRef]),
}

/// The tables of one select, by alias.
#[derive(Debug, Clone, Copy)]
struct Frame {
    first: u16,
    tables: [Option<&'static TableDefinition>; 4],
}

impl Frame {
    fn of(first: u16, ast: &SelectAst) -> Self {
        let mut tables = [None; 4];
        for (slot, table) in tables.iter_mut().zip(ast.tables()) {
            *slot = Some(table);
        }
        Self { first, tables }
    }

    const fn one(first: u16, table: &'static TableDefinition) -> Self {
        Self { first, tables: [Some(table), None, None, None] }
    }

    fn at(&self, index: u8) -> Result<(u16, &'static TableDefinition)> {
        match self.tables.get(usize::from(index)) {
            Some(Some(table)) => Ok((self.first + u16::from(index), table)),
            _ => Err(Error::misuse("a statement names a table occurrence that it does not have")),
        }
    }

    /// The occurrence that a column belongs to.
    fn resolve(&self, column: ColumnRef) -> Result<(u16, &'static ColumnDefinition)> {
        let found = match column.occurrence {
            Some(index) => {
                let (alias, table) = self.at(index)?;
                table.same(column.table).then_some(alias)
            }
            None => {
                let mut matches = (self.first..)
                    .zip(self.tables.iter().flatten())
                    .filter(|(_, table)| table.same(column.table));
                let first = matches.next();
                if matches.next().is_some() {
                    return Err(Error::misuse(
                        "a table occurs twice in the statement, and a column does not say which occurrence it means: use `.at(First)`, `.at(Second)`, …",
                    )
                    .at_table(column.table.name()));
                }
                first.map(|(alias, _)| alias)
            }
        };
        match (found, column.definition()) {
            (Some(alias), Some(definition)) => Ok((alias, definition)),
            _ => Err(Error::misuse("a column is not of a table of this statement")
                .at_table(column.table.name())),
        }
    }
}

/// Where a predicate stands.
#[derive(Debug, Clone, Copy)]
enum Clause<'a> {
    Where,
    /// Columns are allowed where the rows are grouped by them.
    Having(&'a [ColumnRef]),
}

pub(crate) struct Renderer<'a> {
    dialect: Dialect,
    schema: &'a Schema,
    reach: Reach<'a>,
    sql: String,
    binds: Vec<Bind>,
    aliases: u16,
}

/// Most placeholders of one statement: SQLite's default limit, below PostgreSQL's 65,535.
pub(crate) const MAX_BINDS: usize = 32_766;

impl<'a> Renderer<'a> {
    /// A renderer whose statement follows `prologue`, which binds the organization once where it
    /// is not empty.
    pub(crate) fn new(
        dialect: Dialect,
        schema: &'a Schema,
        reach: Reach<'a>,
        prologue: &str,
    ) -> Self {
        let mut sql = String::with_capacity(512);
        sql.push_str(prologue);
        let mut binds = Vec::with_capacity(8);
        if !prologue.is_empty() {
            binds.push(Bind::Organization);
        }
        Self { dialect, schema, reach, sql, binds, aliases: 0 }
    }

    fn finish(self) -> Result<Rendered> {
        if self.binds.len() > MAX_BINDS {
            return Err(Error::invalid("a statement has more than 32,766 values"));
        }
        Ok(Rendered { sql: Sql::Once(self.sql), binds: self.binds })
    }

    // ---- the predicate

    /// INVARIANT: every occurrence of every tenant-owned table passes through here once, in the
    /// `WHERE` of the table that a statement starts from and in the `ON` of each joined table.
    /// Nothing else in the crate writes the tenant column into a condition.
    ///
    /// Answers whether a condition was written: global tables have none, and a cross-tenant read
    /// is the declared exception.
    fn organization_predicate(&mut self, alias: u16, table: &'static TableDefinition) -> bool {
        let Some(tenant) = table.tenant_column() else { return false };
        if matches!(self.reach, Reach::Across) {
            return false;
        }
        self.column(alias, tenant);
        self.sql.push_str(" = ");
        self.bind(Bind::Organization);
        true
    }

    // ---- pieces

    fn bind(&mut self, bind: Bind) {
        self.binds.push(bind);
        match self.dialect {
            Dialect::Sqlite => self.sql.push('?'),
            Dialect::Postgres => {
                let _ = write!(self.sql, "${}", self.binds.len());
            }
        }
    }

    fn alias(&mut self, alias: u16) {
        self.sql.push('t');
        if let Some(digit) = u8::try_from(alias).ok().filter(|alias| *alias < 10) {
            self.sql.push(char::from(b'0' + digit));
        } else {
            let _ = write!(self.sql, "{alias}");
        }
    }

    fn column(&mut self, alias: u16, name: &str) {
        self.alias(alias);
        self.sql.push('.');
        self.quoted(name);
    }

    /// Identifiers come from declarations alone, which hold no quote.
    fn quoted(&mut self, name: &str) {
        self.sql.push('"');
        self.sql.push_str(name);
        self.sql.push('"');
    }

    fn column_ref(
        &mut self,
        frame: &Frame,
        column: ColumnRef,
    ) -> Result<&'static ColumnDefinition> {
        let (alias, definition) = frame.resolve(column)?;
        self.column(alias, definition.name());
        Ok(definition)
    }

    fn table_as(&mut self, table: &'static TableDefinition, alias: u16) -> Result<()> {
        self.schema.registered(table)?;
        self.quoted(table.name());
        self.sql.push_str(" AS ");
        self.alias(alias);
        Ok(())
    }

    /// The tenant column and all columns of a table, qualified by its alias.
    fn select_list(&mut self, table: &'static TableDefinition, alias: u16) -> Result<()> {
        let (_, registered) = self.schema.registered(table)?;
        for (index, piece) in registered.select_list.split('\0').enumerate() {
            if index > 0 {
                self.alias(alias);
            }
            self.sql.push_str(piece);
        }
        Ok(())
    }

    fn term(&mut self, frame: &Frame, column: ColumnRef, term: &Term) -> Result<()> {
        match term {
            Term::Value(value) => {
                if matches!(self.reach, Reach::Draft) {
                    return Err(Error::misuse(
                        "a prepared shape holds no value: take it as a run argument",
                    )
                    .at_table(column.table.name())
                    .at_column(column.definition().map_or("", ColumnDefinition::name)));
                }
                let name = column.definition().map_or("", ColumnDefinition::name);
                let value = value.clone().accepted(column.table.name(), name)?;
                self.bind(Bind::Value(value));
            }
            Term::Column(other) => {
                self.column_ref(frame, *other)?;
            }
            Term::Slot(slot) => {
                let Some(definition) = column.definition() else {
                    return Err(Error::misuse("a run argument stands for no column"));
                };
                self.bind(Bind::Slot(*slot, definition));
            }
            Term::Arithmetic(other, sign, value) => {
                let name = other.definition().map_or("", ColumnDefinition::name);
                let value = value.clone().accepted(other.table.name(), name)?;
                self.column_ref(frame, *other)?;
                self.sql.push_str(match sign {
                    Sign::Plus => " + ",
                    Sign::Minus => " - ",
                });
                if matches!(self.reach, Reach::Draft) {
                    return Err(Error::misuse("a prepared shape holds no value"));
                }
                self.bind(Bind::Value(value));
            }
        }
        Ok(())
    }

    // ---- conditions

    fn list(
        &mut self,
        frame: &Frame,
        clause: Clause<'_>,
        items: &[Predicate],
        connective: &str,
    ) -> Result<()> {
        // SQLite limits the depth of an expression, and a chain of connectives is as deep as it is
        // long, so that long chains are written as balanced halves.
        if items.len() > 32 {
            let (left, right) = items.split_at(items.len() / 2);
            self.sql.push('(');
            self.list(frame, clause, left, connective)?;
            self.sql.push(')');
            self.sql.push_str(connective);
            self.sql.push('(');
            self.list(frame, clause, right, connective)?;
            self.sql.push(')');
            return Ok(());
        }
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.sql.push_str(connective);
            }
            self.predicate(frame, clause, item)?;
        }
        Ok(())
    }

    fn parenthesised(
        &mut self,
        frame: &Frame,
        clause: Clause<'_>,
        items: &[Predicate],
        connective: &str,
    ) -> Result<()> {
        self.sql.push('(');
        self.list(frame, clause, items, connective)?;
        self.sql.push(')');
        Ok(())
    }

    /// A column in a condition; in `HAVING` it must be one of the groups.
    fn condition_column(
        &mut self,
        frame: &Frame,
        clause: Clause<'_>,
        column: ColumnRef,
    ) -> Result<()> {
        if let Clause::Having(groups) = clause {
            require_grouped(frame, groups, column)?;
        }
        self.column_ref(frame, column)?;
        Ok(())
    }

    fn predicate(
        &mut self,
        frame: &Frame,
        clause: Clause<'_>,
        predicate: &Predicate,
    ) -> Result<()> {
        match predicate {
            Predicate::All(items) => self.parenthesised(frame, clause, items, " AND "),
            Predicate::Any(items) => self.parenthesised(frame, clause, items, " OR "),
            Predicate::Not(inner) => {
                self.sql.push_str("NOT (");
                self.predicate(frame, clause, inner)?;
                self.sql.push(')');
                Ok(())
            }
            Predicate::Compare(column, op, term) => {
                self.condition_column(frame, clause, *column)?;
                self.sql.push_str(op.sql());
                self.term(frame, *column, term)
            }
            Predicate::Between(column, low, high) => {
                self.sql.push('(');
                self.condition_column(frame, clause, *column)?;
                self.sql.push_str(" BETWEEN ");
                self.term(frame, *column, low)?;
                self.sql.push_str(" AND ");
                self.term(frame, *column, high)?;
                self.sql.push(')');
                Ok(())
            }
            Predicate::In(column, items) => self.in_list(frame, clause, *column, items),
            Predicate::Like(column, pattern) => {
                self.condition_column(frame, clause, *column)?;
                self.sql.push_str(" LIKE ");
                self.term(frame, *column, pattern)?;
                self.sql.push_str(" ESCAPE '\\'");
                Ok(())
            }
            Predicate::Null(column, is) => {
                self.condition_column(frame, clause, *column)?;
                self.sql.push_str(if *is { " IS NULL" } else { " IS NOT NULL" });
                Ok(())
            }
            Predicate::InSubquery(column, subquery) => {
                self.condition_column(frame, clause, *column)?;
                self.sql.push_str(" IN (");
                self.subquery(subquery, None)?;
                self.sql.push(')');
                Ok(())
            }
            Predicate::Exists(reference, parent, subquery) => {
                let outer = ColumnRef { table: parent, position: 0, occurrence: None };
                if let Clause::Having(_) = clause {
                    return Err(Error::misuse("`having` compares aggregates and groups"));
                }
                let (alias, _) = frame.resolve(outer)?;
                self.sql.push_str("EXISTS (");
                self.subquery(subquery, Some((reference, alias, parent)))?;
                self.sql.push(')');
                Ok(())
            }
            Predicate::Having(aggregate, op, term) => {
                if matches!(clause, Clause::Where) {
                    return Err(Error::misuse(
                        "an aggregate is compared in `having`, not in `filter`",
                    ));
                }
                self.aggregate(frame, *aggregate)?;
                self.sql.push_str(op.sql());
                match term {
                    Term::Value(value) => {
                        let value = value.clone().accepted("", "")?;
                        self.bind(Bind::Value(value));
                        Ok(())
                    }
                    _ => Err(Error::internal("an aggregate is compared with a value")),
                }
            }
            Predicate::After(boundary) => self.after(frame, boundary),
            Predicate::Refused(reason) => Err(Error::invalid(*reason)),
        }
    }

    fn in_list(
        &mut self,
        frame: &Frame,
        clause: Clause<'_>,
        column: ColumnRef,
        items: &[Term],
    ) -> Result<()> {
        let Some(last) = items.last() else {
            self.sql.push_str("1 = 0");
            return Ok(());
        };
        self.condition_column(frame, clause, column)?;
        self.sql.push_str(" IN (");
        // The list is padded to a power of two with its last value: lists of all lengths share a
        // few shapes, and each shape is prepared once.
        let padded = items.len().next_power_of_two().min(MAX_BINDS.max(items.len()));
        for index in 0..padded {
            if index > 0 {
                self.sql.push_str(", ");
            }
            self.term(frame, column, items.get(index).unwrap_or(last))?;
        }
        self.sql.push(')');
        Ok(())
    }

    /// Rows after a boundary in lexicographic order. NULLs sort first, so that in ascending order
    /// everything else follows a NULL, and in descending order NULL follows everything else.
    fn after(&mut self, frame: &Frame, boundary: &[(ColumnRef, bool, Value)]) -> Result<()> {
        let Some(((column, descending, value), rest)) = boundary.split_first() else {
            self.sql.push_str("1 = 0");
            return Ok(());
        };
        let (alias, definition) = frame.resolve(*column)?;
        let null = *value == Value::Null;
        self.sql.push('(');
        match (null, *descending) {
            (true, false) => {
                self.column(alias, definition.name());
                self.sql.push_str(" IS NOT NULL");
            }
            (true, true) => self.sql.push_str("1 = 0"),
            (false, descending) => {
                self.column(alias, definition.name());
                self.sql.push_str(if descending { " < " } else { " > " });
                self.bind(Bind::Value(value.clone()));
                if descending {
                    self.sql.push_str(" OR ");
                    self.column(alias, definition.name());
                    self.sql.push_str(" IS NULL");
                }
            }
        }
        if !rest.is_empty() {
            self.sql.push_str(" OR (");
            self.column(alias, definition.name());
            if null {
                self.sql.push_str(" IS NULL");
            } else {
                self.sql.push_str(" = ");
                self.bind(Bind::Value(value.clone()));
            }
            self.sql.push_str(" AND ");
            self.after(frame, rest)?;
            self.sql.push(')');
        }
        self.sql.push(')');
        Ok(())
    }

    fn subquery(
        &mut self,
        subquery: &Subquery,
        outer: Option<(&'static ReferenceDefinition, u16, &'static TableDefinition)>,
    ) -> Result<()> {
        match (self.reach, &subquery.scope) {
            (Reach::Scope(scope), Some(other)) if scope.same_reach(other) => {}
            (Reach::Draft, None) => {}
            (Reach::Draft, Some(_)) => {
                return Err(Error::misuse(
                    "a prepared shape holds no scope: draft its subqueries with `q.draft::<Table>()`",
                ));
            }
            _ => {
                return Err(Error::misuse(
                    "a subquery was made under another scope than the statement that it is part of",
                ));
            }
        }
        let output = match &subquery.column {
            Some(column) => SubqueryOutput::Column(*column),
            None => SubqueryOutput::One(outer),
        };
        self.select_body(&subquery.select, SelectOutput::Sub(output))?;
        Ok(())
    }

    // ---- select

    pub(crate) fn select(mut self, ast: &SelectAst, output: Output<'_>) -> Result<Rendered> {
        self.select_body(ast, SelectOutput::Top(output))?;
        self.finish()
    }

    /// `count(*)` behind the aggregated witnesses.
    pub(crate) fn count(mut self, ast: &SelectAst) -> Result<Rendered> {
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
    pub(crate) fn exists(self, ast: &SelectAst) -> Result<Rendered> {
        let mut ast = ast.clone();
        ast.order.clear();
        ast.unordered = true;
        if ast.limit.is_none() && ast.offset.is_none() {
            ast.limit = Some(1);
        }
        self.counted(&ast)
    }

    /// Counts the rows of a limited read.
    fn counted(mut self, ast: &SelectAst) -> Result<Rendered> {
        self.sql.push_str("SELECT ");
        for (index, table) in ast.tables().enumerate() {
            if table.tenant_column().is_some() {
                let _ = write!(self.sql, "min(w.\"w{index}\"), ");
            }
        }
        self.sql.push_str("count(*) FROM (");
        self.select_body(ast, SelectOutput::Sub(SubqueryOutput::Witnesses))?;
        self.sql.push_str(") AS w");
        self.finish()
    }

    fn select_body(&mut self, ast: &SelectAst, output: SelectOutput<'_>) -> Result<Frame> {
        if let Some(misuse) = ast.misuse {
            return Err(Error::misuse(misuse));
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
            self.order(&frame, &order_terms(ast, output.distinct_columns(ast))?)?;
        }
        self.limit(ast)?;
        if ast.for_update && self.dialect == Dialect::Postgres {
            self.sql.push_str(" FOR UPDATE");
        }
        Ok(frame)
    }

    fn select_conditions(
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
    fn user_filter(&mut self, frame: &Frame, filter: &Predicate) -> Result<()> {
        if let Predicate::All(_) | Predicate::Any(_) = filter {
            return self.predicate(frame, Clause::Where, filter);
        }
        self.sql.push('(');
        self.predicate(frame, Clause::Where, filter)?;
        self.sql.push(')');
        Ok(())
    }

    fn output(&mut self, ast: &SelectAst, frame: &Frame, output: SelectOutput<'_>) -> Result<()> {
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
    /// table may be absent, its first key column.
    fn witnesses(&mut self, ast: &SelectAst, frame: &Frame) {
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
                self.sql.push_str(", ");
            }
        }
    }

    fn aggregate_witnesses(&mut self, ast: &SelectAst, frame: &Frame) {
        for (index, table) in ast.tables().enumerate() {
            if let Some(tenant) = table.tenant_column() {
                let (open, close) = match self.dialect {
                    Dialect::Sqlite => ("min(", "), "),
                    Dialect::Postgres => ("bool_and(", "), "),
                };
                self.sql.push_str(open);
                self.column(frame.first + index_u16(index), tenant);
                self.sql.push_str(" = ");
                self.bind(Bind::Organization);
                self.sql.push_str(close);
            }
        }
    }

    fn column_list(&mut self, frame: &Frame, columns: &[ColumnRef]) -> Result<()> {
        for (index, column) in columns.iter().enumerate() {
            if index > 0 {
                self.sql.push_str(", ");
            }
            self.column_ref(frame, *column)?;
        }
        Ok(())
    }

    fn aggregate_list(&mut self, frame: &Frame, aggregates: &[AggregateRef]) -> Result<()> {
        for (index, aggregate) in aggregates.iter().enumerate() {
            if index > 0 {
                self.sql.push_str(", ");
            }
            self.aggregate(frame, *aggregate)?;
        }
        Ok(())
    }

    fn aggregate(&mut self, frame: &Frame, aggregate: AggregateRef) -> Result<()> {
        self.sql.push_str(match aggregate.function {
            Function::Count => "count(",
            Function::CountDistinct => "count(DISTINCT ",
            Function::Max => "max(",
            Function::Min => "min(",
            Function::Sum => "sum(",
        });
        match aggregate.column {
            Some(column) => {
                self.column_ref(frame, column)?;
            }
            None => self.sql.push('*'),
        }
        self.sql.push(')');
        Ok(())
    }

    /// INVARIANT: a joined table carries its predicate in `ON`, so that an outer join keeps its
    /// meaning, and equality of the tenant columns across the edge besides.
    fn join(&mut self, frame: &Frame, index: u8, join: &Join) -> Result<()> {
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

    fn edge(
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

    fn and(&mut self, written: &mut bool) {
        if std::mem::replace(written, true) {
            self.sql.push_str(" AND ");
        }
    }

    fn groups(&mut self, ast: &SelectAst, frame: &Frame) -> Result<()> {
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

    fn order(&mut self, frame: &Frame, terms: &[OrderTerm]) -> Result<()> {
        for (index, term) in terms.iter().enumerate() {
            self.sql.push_str(if index == 0 { " ORDER BY " } else { ", " });
            let nullable = match term.key {
                OrderKey::Column(column) => {
                    let definition = self.column_ref(frame, column)?;
                    definition.is_nullable() || frame.resolve(column)?.0 != frame.first
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

    fn limit(&mut self, ast: &SelectAst) -> Result<()> {
        if ast.unordered && (ast.limit.is_some_and(|limit| limit > 1) || ast.offset.is_some()) {
            return Err(Error::misuse(
                "`limit` and `offset` need an order: which rows they keep would depend on the store",
            ));
        }
        if ast.limit.is_none() && ast.offset.is_none() {
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

    // ---- single rows

    /// A read by key; the statement is the same for every key, which `Find` binds.
    pub(crate) fn find(mut self, table: &'static TableDefinition) -> Result<String> {
        self.sql.push_str("SELECT ");
        self.select_list(table, 0)?;
        self.sql.push_str(" FROM ");
        self.table_as(table, 0)?;
        self.sql.push_str(" WHERE ");
        let mut written = self.organization_predicate(0, table);
        for position in table.key_positions() {
            self.and(&mut written);
            let name = table.column(position).map_or("", ColumnDefinition::name);
            self.column(0, name);
            self.sql.push_str(" = ");
            self.bind(Bind::Value(Value::Null));
        }
        Ok(self.sql)
    }

    // ---- writes

    /// `INSERT` of `rows` rows without its values; they follow the prologue's in row order, each
    /// row's organization first.
    pub(crate) fn insert(
        mut self,
        table: &'static TableDefinition,
        rows: usize,
        conflict: Option<&Conflict>,
        returning: bool,
    ) -> Result<String> {
        self.sql.push_str("INSERT INTO ");
        self.table_as(table, 0)?;
        self.sql.push_str(" (");
        let names = table
            .tenant_column()
            .into_iter()
            .chain(table.columns().iter().map(ColumnDefinition::name));
        for (index, name) in names.clone().enumerate() {
            if index > 0 {
                self.sql.push_str(", ");
            }
            self.quoted(name);
        }
        self.sql.push_str(") VALUES ");
        let columns = names.count();
        for row in 0..rows {
            self.sql.push_str(if row == 0 { "(" } else { ", (" });
            for column in 0..columns {
                if column > 0 {
                    self.sql.push_str(", ");
                }
                self.bind(Bind::Organization);
            }
            self.sql.push(')');
        }
        if let Some(conflict) = conflict {
            self.on_conflict(table, conflict)?;
        }
        if returning {
            self.returning(table)?;
        }
        Ok(self.sql)
    }

    /// INVARIANT: the conflict target contains the tenant column, and the update is guarded by the
    /// qualified predicate.
    fn on_conflict(&mut self, table: &'static TableDefinition, conflict: &Conflict) -> Result<()> {
        let is_key = table.key_positions().eq(conflict.target.iter().copied());
        if !is_key && !table.uniques().contains(&&*conflict.target) {
            return Err(Error::misuse(
                "`on_conflict` names the key, or the columns of one `unique` of the declaration in its order",
            )
            .at_table(table.name()));
        }
        self.sql.push_str(" ON CONFLICT (");
        let mut written = false;
        let target = table.tenant_column().into_iter().chain(
            conflict.target.iter().filter_map(|at| table.column(*at)).map(ColumnDefinition::name),
        );
        for name in target {
            if std::mem::replace(&mut written, true) {
                self.sql.push_str(", ");
            }
            self.quoted(name);
        }
        if conflict.update.is_empty() {
            self.sql.push_str(") DO NOTHING");
            return Ok(());
        }
        self.sql.push_str(") DO UPDATE SET ");
        for (index, at) in conflict.update.iter().enumerate() {
            let Some(column) = table.column(*at) else {
                return Err(Error::misuse("a column is not of the table that is written")
                    .at_table(table.name()));
            };
            if index > 0 {
                self.sql.push_str(", ");
            }
            self.quoted(column.name());
            self.sql.push_str(" = excluded.");
            self.quoted(column.name());
        }
        let start = self.sql.len();
        self.sql.push_str(" WHERE ");
        if !self.organization_predicate(0, table) {
            self.sql.truncate(start);
        }
        Ok(())
    }

    pub(crate) fn update(
        mut self,
        table: &'static TableDefinition,
        set: &[(ColumnRef, Term)],
        filter: Option<&Predicate>,
        returning: bool,
    ) -> Result<Rendered> {
        let frame = Frame::one(0, table);
        self.aliases = 1;
        if set.is_empty() {
            return Err(Error::misuse("an update sets no column").at_table(table.name()));
        }
        self.sql.push_str("UPDATE ");
        self.table_as(table, 0)?;
        for (index, (column, term)) in set.iter().enumerate() {
            let (_, definition) = frame.resolve(*column)?;
            if set.iter().take(index).any(|(earlier, _)| earlier.position == column.position) {
                return Err(Error::misuse("an update sets a column twice")
                    .at_table(table.name())
                    .at_column(definition.name()));
            }
            self.sql.push_str(if index == 0 { " SET " } else { ", " });
            self.quoted(definition.name());
            self.sql.push_str(" = ");
            self.term(&frame, *column, term)?;
        }
        self.write_conditions(&frame, table, filter)?;
        if returning {
            self.returning(table)?;
        }
        self.finish()
    }

    pub(crate) fn delete(
        mut self,
        table: &'static TableDefinition,
        filter: Option<&Predicate>,
        returning: bool,
    ) -> Result<Rendered> {
        let frame = Frame::one(0, table);
        self.aliases = 1;
        self.sql.push_str("DELETE FROM ");
        self.table_as(table, 0)?;
        self.write_conditions(&frame, table, filter)?;
        if returning {
            self.returning(table)?;
        }
        self.finish()
    }

    fn write_conditions(
        &mut self,
        frame: &Frame,
        table: &'static TableDefinition,
        filter: Option<&Predicate>,
    ) -> Result<()> {
        let start = self.sql.len();
        self.sql.push_str(" WHERE ");
        let mut written = self.organization_predicate(0, table);
        if let Some(filter) = filter {
            self.and(&mut written);
            self.user_filter(frame, filter)?;
        }
        if !written {
            self.sql.truncate(start);
        }
        Ok(())
    }

    /// SQLite knows the written table by its own name in `RETURNING`, PostgreSQL by its alias.
    fn returning(&mut self, table: &'static TableDefinition) -> Result<()> {
        self.sql.push_str(" RETURNING ");
        if self.dialect == Dialect::Postgres {
            return self.select_list(table, 0);
        }
        let (_, registered) = self.schema.registered(table)?;
        for (index, piece) in registered.select_list.split('\0').enumerate() {
            if index > 0 {
                self.quoted(table.name());
            }
            self.sql.push_str(piece);
        }
        Ok(())
    }
}

/// What an insert does on a conflict: columns to take from the new row, or none for nothing.
#[derive(Debug, Clone)]
pub(crate) struct Conflict {
    pub(crate) target: Vec<u16>,
    pub(crate) update: Vec<u16>,
}

#[derive(Debug, Clone, Copy)]
enum SelectOutput<'a> {
    Top(Output<'a>),
    Sub(SubqueryOutput),
}

#[derive(Debug, Clone, Copy)]
enum SubqueryOutput {
    Column(ColumnRef),
    /// `EXISTS`, along a reference to the outer row.
    One(Option<(&'static ReferenceDefinition, u16, &'static TableDefinition)>),
    Witnesses,
}

impl<'a> SelectOutput<'a> {
    /// Rows that are read are ordered; a subquery only where a limit makes the order matter.
    fn ordered(self, ast: &SelectAst) -> bool {
        match self {
            Self::Top(Output::Aggregates(_)) => false,
            Self::Top(_) => !ast.unordered,
            Self::Sub(_) => !ast.unordered && (ast.limit.is_some() || ast.offset.is_some()),
        }
    }

    fn distinct_columns(self, ast: &SelectAst) -> Option<&'a [ColumnRef]> {
        match self {
            Self::Top(Output::Columns(columns)) if ast.distinct => Some(columns),
            _ => None,
        }
    }
}

impl Link {
    pub(crate) const fn is_outer(&self) -> bool {
        matches!(self, Self::Child { .. } | Self::Parent { outer: true, .. })
    }
}

fn index_u16(index: usize) -> u16 {
    u16::try_from(index).unwrap_or(u16::MAX)
}

fn require_grouped(frame: &Frame, groups: &[ColumnRef], column: ColumnRef) -> Result<()> {
    let (alias, _) = frame.resolve(column)?;
    for group in groups {
        if group.position == column.position && frame.resolve(*group)?.0 == alias {
            return Ok(());
        }
    }
    Err(Error::misuse("a grouped read orders and filters by its groups and aggregates alone")
        .at_table(column.table.name())
        .at_column(column.definition().map_or("", ColumnDefinition::name)))
}

/// The whole order of a select: what was asked for, then whatever makes it total.
pub(crate) fn order_terms(
    ast: &SelectAst,
    distinct: Option<&[ColumnRef]>,
) -> Result<Vec<OrderTerm>> {
    let frame = Frame::of(0, ast);
    let mut terms = ast.order.clone();
    if !ast.groups.is_empty() {
        for term in &terms {
            if let OrderKey::Column(column) = term.key {
                require_grouped(&frame, &ast.groups, column)?;
            }
        }
        return append_columns(&frame, terms, ast.groups.iter().copied());
    }
    if terms.iter().any(|term| matches!(term.key, OrderKey::Aggregate(_))) {
        return Err(Error::misuse("only a grouped read is ordered by an aggregate"));
    }
    if let Some(columns) = distinct {
        for term in &terms {
            if let OrderKey::Column(column) = term.key {
                require_grouped(&frame, columns, column)?;
            }
        }
        return append_columns(&frame, terms, columns.iter().copied());
    }
    terms = append_columns(&frame, terms, key_columns(ast.base, 0))?;
    for (index, join) in (1u8..).zip(&ast.joins) {
        // A row has one parent along each reference, but any number of children.
        if matches!(join.link, Link::Child { .. }) {
            terms = append_columns(&frame, terms, key_columns(join.table, index))?;
        }
    }
    Ok(terms)
}

fn key_columns(table: &'static TableDefinition, index: u8) -> impl Iterator<Item = ColumnRef> {
    table.key_positions().map(move |position| ColumnRef {
        table,
        position,
        occurrence: Some(index),
    })
}

fn append_columns(
    frame: &Frame,
    mut terms: Vec<OrderTerm>,
    columns: impl Iterator<Item = ColumnRef>,
) -> Result<Vec<OrderTerm>> {
    for column in columns {
        let (alias, _) = frame.resolve(column)?;
        let mut present = false;
        for term in &terms {
            if let OrderKey::Column(other) = term.key {
                present |= other.position == column.position && frame.resolve(other)?.0 == alias;
            }
        }
        if !present {
            terms.push(OrderTerm { key: OrderKey::Column(column), descending: false });
        }
    }
    Ok(terms)
}
