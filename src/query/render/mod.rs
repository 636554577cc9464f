//! Statements as SQL. The only place that writes a table name into a statement, and the only one
//! that adds the organization predicate.

mod condition;
mod order;
mod select;
mod write;

use std::fmt::Write as _;
use std::sync::Arc;

use super::ast::{AggregateRef, ColumnRef, SelectAst, Sign, Term, Use};
use crate::error::{Error, Result};
use crate::scope::TenantScope;
use crate::table::{ColumnDefinition, Dialect, Schema, TableDefinition, Value};

pub(crate) use order::order_terms;

/// A value of a rendered statement, in the order of its placeholders.
#[derive(Debug, Clone)]
pub(crate) enum Bind {
    /// The scope's organization.
    Organization,
    /// A run argument of a prepared shape, for this column.
    Slot(u16, Use, &'static TableDefinition, u16),
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

/// Takes the values of a statement, in the order of their placeholders.
pub(crate) trait Sink {
    fn push(&mut self, bind: Bind);
    fn count(&self) -> usize;
    fn reserve(&mut self, values: usize);
}

/// The values of a shape.
pub(crate) type Binds = Vec<Bind>;

impl Sink for Binds {
    fn push(&mut self, bind: Bind) {
        self.push(bind);
    }

    fn count(&self) -> usize {
        self.len()
    }

    fn reserve(&mut self, values: usize) {
        Self::reserve(self, values);
    }
}

/// Counts the placeholders of a statement whose values are bound apart from it.
#[derive(Debug, Default)]
pub(crate) struct Placeholders(usize);

impl Sink for Placeholders {
    fn push(&mut self, _: Bind) {
        self.0 += 1;
    }

    fn count(&self) -> usize {
        self.0
    }

    fn reserve(&mut self, _: usize) {}
}

/// A statement ready to be bound and run.
#[derive(Debug)]
pub(crate) struct Rendered<B = Binds> {
    pub(crate) sql: Sql,
    pub(crate) binds: B,
}

/// Whose rows a statement may touch.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reach<'a> {
    /// One organization's; subqueries must be of the same scope.
    Scope(&'a TenantScope),
    /// One organization's, named when the prepared shape is run.
    Draft,
    /// One organization's, named by who has authority over all; without subqueries.
    Named,
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
    #[inline]
    fn resolve(&self, column: ColumnRef) -> Result<(u16, &'static ColumnDefinition)> {
        // One table, as in most statements.
        if let [Some(table), None, ..] = self.tables
            && std::ptr::eq(table, column.table)
            && column.occurrence.is_none_or(|index| index == 0)
            && let Some(definition) = column.definition()
        {
            return Ok((self.first, definition));
        }
        self.resolve_among(column)
    }

    fn resolve_among(&self, column: ColumnRef) -> Result<(u16, &'static ColumnDefinition)> {
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

pub(crate) struct Renderer<'a, B> {
    dialect: Dialect,
    schema: &'a Schema,
    reach: Reach<'a>,
    sql: String,
    binds: B,
    aliases: u16,
}

/// How columns of the first aliases begin.
const QUALIFIERS: [&str; 6] = ["t0.\"", "t1.\"", "t2.\"", "t3.\"", "t4.\"", "t5.\""];

/// How the first aliases are given.
const ALIASES: [&str; 6] = [" AS t0", " AS t1", " AS t2", " AS t3", " AS t4", " AS t5"];

/// Most placeholders of one statement: SQLite's default limit, below PostgreSQL's 65,535.
pub(crate) const MAX_BINDS: usize = 32_766;

impl<'a, B: Sink> Renderer<'a, B> {
    /// A renderer whose statement follows `prologue`, which binds the organization once where it
    /// is not empty.
    pub(crate) fn new(
        dialect: Dialect,
        schema: &'a Schema,
        reach: Reach<'a>,
        prologue: &str,
        mut binds: B,
    ) -> Self {
        let mut sql = String::with_capacity(512);
        sql.push_str(prologue);
        if !prologue.is_empty() {
            binds.push(Bind::Organization);
        }
        Self { dialect, schema, reach, sql, binds, aliases: 0 }
    }

    fn finish(self) -> Result<Rendered<B>> {
        if self.binds.count() > MAX_BINDS {
            return Err(Error::invalid("a statement has more than 32,766 values"));
        }
        Ok(Rendered { sql: Sql::Once(self.sql), binds: self.binds })
    }

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

    fn bind(&mut self, bind: Bind) {
        self.binds.push(bind);
        match self.dialect {
            Dialect::Sqlite => self.sql.push('?'),
            Dialect::Postgres => {
                let _ = write!(self.sql, "${}", self.binds.count());
            }
        }
    }

    fn column(&mut self, alias: u16, name: &str) {
        match QUALIFIERS.get(usize::from(alias)) {
            Some(qualifier) => self.sql.push_str(qualifier),
            None => {
                let _ = write!(self.sql, "t{alias}.\"");
            }
        }
        self.sql.push_str(name);
        self.sql.push('"');
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
        match ALIASES.get(usize::from(alias)) {
            Some(alias) => self.sql.push_str(alias),
            None => {
                let _ = write!(self.sql, " AS t{alias}");
            }
        }
        Ok(())
    }

    /// The tenant column and all columns of a table, qualified by its alias.
    fn select_list(&mut self, table: &'static TableDefinition, alias: u16) -> Result<()> {
        let (_, registered) = self.schema.registered(table)?;
        match registered.select_lists.get(usize::from(alias)) {
            Some(list) => self.sql.push_str(list),
            None => return Err(Error::internal("only the outermost read reads whole rows")),
        }
        Ok(())
    }

    /// Binds a value for a column. A prepared shape holds none.
    fn value(&mut self, column: ColumnRef, value: &Value) -> Result<()> {
        let table = column.table.name();
        let Some(definition) = column.definition() else {
            return Err(Error::misuse("a column is not of its table").at_table(table));
        };
        if matches!(self.reach, Reach::Draft) {
            return Err(Error::misuse(
                "a prepared shape holds no value: take it as a run argument",
            )
            .at_table(table)
            .at_column(definition.name()));
        }
        value.accept(table, definition)?;
        self.bind(Bind::Value(value.clone()));
        Ok(())
    }

    fn term(&mut self, frame: &Frame, column: ColumnRef, term: &Term) -> Result<()> {
        match term {
            Term::Value(value) => self.value(column, value),
            Term::Column(other) => self.column_ref(frame, *other).map(drop),
            Term::Slot(slot, used) => {
                self.bind(Bind::Slot(*slot, *used, column.table, column.position));
                Ok(())
            }
            Term::Arithmetic(other, sign, value) => {
                self.column_ref(frame, *other)?;
                self.sql.push_str(match sign {
                    Sign::Plus => " + ",
                    Sign::Minus => " - ",
                });
                self.value(*other, value)
            }
        }
    }
}

/// What an insert does on a conflict: columns to take from the new row, or none for nothing.
#[derive(Debug, Clone)]
pub(crate) struct Conflict {
    pub(crate) target: Vec<u16>,
    pub(crate) update: Vec<u16>,
}
