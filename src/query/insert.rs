//! Inserts, batches and upserts.

use std::fmt;
use std::marker::PhantomData;

use super::ast::ColumnRef;
use super::predicate::reference;
use super::render::{Bind, Binds, Conflict, Rendered, Renderer, Sink, Sql};
use crate::error::{Error, Result};
use crate::scope::TenantScope;
use crate::table::{Column, ColumnKind, RowWriter, Table, TableDefinition, TenantTable, Value};

/// Columns of one table: a column, or a tuple of up to eight.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a column, or a tuple of columns, of `{T}`",
    label = "expected columns of `{T}`",
    note = "for `Order`: `orders::email`, or `(orders::email, orders::note)`"
)]
pub trait ColumnsOf<T> {
    #[doc(hidden)]
    fn positions(&self) -> Vec<u16>;
}

impl<T: Table, C: ColumnKind> ColumnsOf<T> for Column<T, C> {
    fn positions(&self) -> Vec<u16> {
        vec![self.position()]
    }
}

macro_rules! columns_of {
    ($($kind:ident),*) => {
        impl<T: Table, $($kind: ColumnKind),*> ColumnsOf<T> for ($(Column<T, $kind>,)*) {
            #[expect(non_snake_case, reason = "the tuple's fields are named after their types")]
            fn positions(&self) -> Vec<u16> {
                let ($($kind,)*) = self;
                vec![$($kind.position()),*]
            }
        }
    };
}

columns_of!(A);
columns_of!(A, B);
columns_of!(A, B, C);
columns_of!(A, B, C, D);
columns_of!(A, B, C, D, E);
columns_of!(A, B, C, D, E, F);
columns_of!(A, B, C, D, E, F, G);
columns_of!(A, B, C, D, E, F, G, H);

/// Rows on their way into one table, encoded once.
#[derive(Debug)]
pub(crate) struct InsertAst {
    pub(crate) values: Vec<Value>,
    pub(crate) rows: usize,
    pub(crate) batch: bool,
    pub(crate) refusal: Option<Error>,
    pub(crate) conflict: Option<Conflict>,
}

impl InsertAst {
    pub(crate) fn one<T: Table>(row: &T) -> Self {
        let mut ast = Self::empty(false);
        ast.values.reserve_exact(T::definition().columns().len());
        ast.push(row);
        ast
    }

    pub(crate) fn many<T: Table>(rows: impl IntoIterator<Item = T>) -> Self {
        let mut ast = Self::empty(true);
        for row in rows {
            ast.push(&row);
            if ast.refusal.is_some() {
                break;
            }
        }
        ast
    }

    /// The values of rows `from..from + rows`, each behind its organization.
    pub(crate) fn binds(
        &self,
        table: &'static TableDefinition,
        (from, rows): (usize, usize),
        binds: &mut impl Sink,
    ) {
        let width = table.columns().len();
        let owned = table.tenant_column().is_some();
        let values = self.values.get(from * width..(from + rows) * width).unwrap_or_default();
        for row in values.chunks(width.max(1)) {
            if owned {
                binds.push(Bind::Organization);
            }
            for value in row {
                binds.push(Bind::Value(value.clone()));
            }
        }
        let updates = self.conflict.as_ref().is_some_and(|conflict| !conflict.update.is_empty());
        if owned && updates {
            binds.push(Bind::Organization);
        }
    }

    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn rendered(
        &self,
        renderer: Renderer<'_, Binds>,
        table: &'static TableDefinition,
        returning: bool,
    ) -> Result<Rendered> {
        let mut binds = Binds::new();
        self.binds(table, (0, self.rows), &mut binds);
        let sql = renderer.insert(table, self.rows, self.conflict.as_ref(), returning)?;
        Ok(Rendered { sql: Sql::Once(sql), binds })
    }

    const fn empty(batch: bool) -> Self {
        Self { values: Vec::new(), rows: 0, batch, refusal: None, conflict: None }
    }

    fn push<T: Table>(&mut self, row: &T) {
        if let Err(error) = encode(row, &mut self.values) {
            self.refusal = Some(if self.batch { error.at_row(self.rows) } else { error });
        }
        self.rows += 1;
    }
}

fn encode<T: Table>(row: &T, values: &mut Vec<Value>) -> Result<()> {
    let mut writer = RowWriter::new(T::definition(), values);
    row.encode(&mut writer)?;
    writer.finish()
}

/// An insert of one row or a batch into one organization.
///
/// A batch goes in whole or not at all; it is split at the store's limit of values inside one
/// transaction, and an error names the index of the row. Put a row before those that refer to it:
/// references are checked after each statement that the batch is split into. An upsert is split as
/// well where it proposes a row again.
#[must_use = "an insert does nothing until it is run: `.execute(&db).await?`"]
pub struct Insert<'s, T> {
    pub(crate) scope: &'s TenantScope,
    pub(crate) ast: InsertAst,
    marker: PhantomData<fn() -> T>,
}

impl<T: Table> fmt::Debug for Insert<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Insert")
            .field("scope", self.scope)
            .field("table", &T::definition().name())
            .field("rows", &self.ast.rows)
            .finish_non_exhaustive()
    }
}

impl<'s, T: TenantTable> Insert<'s, T> {
    /// What `Order::insert(&scope, order)` calls.
    pub fn one(scope: &'s TenantScope, row: T) -> Self {
        Self { scope, ast: InsertAst::one(&row), marker: PhantomData }
    }

    /// What `Order::insert_many(&scope, orders)` calls.
    pub fn many(scope: &'s TenantScope, rows: impl IntoIterator<Item = T>) -> Self {
        Self { scope, ast: InsertAst::many(rows), marker: PhantomData }
    }

    /// Says what to do when a row with the same key, or the same values of a `unique` of the
    /// declaration, exists in this organization. Another organization's row is no conflict.
    pub fn on_conflict<C: ColumnsOf<T>>(self, columns: C) -> OnConflict<'s, T> {
        OnConflict { target: columns.positions(), insert: self }
    }

    /// Reads the rows as stored.
    pub fn returning(self) -> Returning<Self> {
        Returning { statement: self }
    }
}

/// An insert that waits for what to do on a conflict.
#[must_use = "say `.update(columns)` or `.do_nothing()`"]
pub struct OnConflict<'s, T> {
    insert: Insert<'s, T>,
    target: Vec<u16>,
}

impl<T: Table> fmt::Debug for OnConflict<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.insert.fmt(f)
    }
}

impl<'s, T: TenantTable> OnConflict<'s, T> {
    /// Takes these columns over from the new row.
    pub fn update<C: ColumnsOf<T>>(self, columns: C) -> Insert<'s, T> {
        let update = columns.positions();
        self.resolved(update)
    }

    /// Keeps the row that exists.
    pub fn do_nothing(self) -> Insert<'s, T> {
        self.resolved(Vec::new())
    }

    fn resolved(mut self, update: Vec<u16>) -> Insert<'s, T> {
        self.insert.ast.conflict = Some(Conflict { target: self.target, update });
        self.insert
    }
}

/// A write that reads the rows it wrote, ordered by key.
#[must_use = "a write does nothing until it is run: `.fetch_one(&db).await?`"]
#[derive(Debug)]
pub struct Returning<W> {
    pub(crate) statement: W,
}

impl<W> Returning<W> {
    pub(crate) const fn new(statement: W) -> Self {
        Self { statement }
    }
}

pub(crate) fn column_of<T: Table, C: ColumnKind>(column: Column<T, C>) -> ColumnRef {
    reference(column)
}
