//! Rows on their way in.

use std::sync::Arc;

use super::reference::{Written, explain};
use super::{Actor, Context};
use crate::database::fault::Fault;
use crate::database::{Database, Transaction, sqlite};
use crate::error::{Error, Result};
use crate::query::{Bind, InsertAst, MAX_BINDS, Rendered, Sink as _, Sql};
use crate::table::{Schema, TableDefinition, Value};

/// Batches in few sizes, so that few shapes are prepared: powers of two within the store's limit.
pub(super) fn chunks(rows: usize, width: usize) -> Vec<usize> {
    let most = (MAX_BINDS.saturating_sub(1) / width.max(1)).clamp(1, 512);
    let most = 1 << most.ilog2();
    let mut left = rows;
    let mut chunks = Vec::new();
    while left > 0 {
        let size = if left >= most { most } else { 1 << left.ilog2() };
        chunks.push(size);
        left -= size;
    }
    chunks
}

/// Rows of one insert on their way.
pub(super) struct Batch<'a> {
    pub(super) table: &'static TableDefinition,
    pub(super) ast: &'a InsertAst,
    pub(super) actor: Actor<'a>,
    pub(super) returning: bool,
}

type Each<'a> = &'a mut (dyn FnMut(sqlx::sqlite::SqliteRow) -> Result<()> + Send);

impl Batch<'_> {
    /// The values of rows `from..from + rows`.
    fn values(&self, from: usize, rows: usize) -> &[Value] {
        let width = self.table.columns().len();
        self.ast.values.get(from * width..(from + rows) * width).unwrap_or_default()
    }

    pub(super) fn bound(
        &self,
        database: &Database,
        context: Context<'_>,
        from: usize,
        rows: usize,
    ) -> Result<sqlite::Bound> {
        let plain = rows == 1 && self.ast.conflict.is_none() && !self.returning;
        let (_, registered) = context.schema.registered(self.table)?;
        let render = || {
            context.shape(self.actor.reach()).insert(
                self.table,
                rows,
                self.ast.conflict.as_ref(),
                self.returning,
            )
        };
        // The commonest shape is kept for the declared table; inside a transaction it has no
        // prologue and is rendered.
        let sql = match (plain && !context.prologue.is_empty(), registered.insert_sql.get()) {
            (true, Some(sql)) => Sql::Shared(Arc::clone(sql)),
            (true, None) => {
                let sql = Arc::from(render()?);
                Sql::Shared(Arc::clone(registered.insert_sql.get_or_init(|| sql)))
            }
            (false, _) => Sql::Once(render()?),
        };
        let mut binds = context.binder();
        binds.reserve(rows * (self.table.columns().len() + 1) + 2);
        if !context.prologue.is_empty() {
            binds.push(Bind::Organization);
        }
        self.ast.binds(self.table, (from, rows), &mut binds);
        let rendered = Rendered { sql, binds };
        if let Actor::Scope(_) = self.actor {
            database.second_opinion(&rendered, context.prologue)?;
        }
        sqlite::finish(rendered)
    }

    async fn explained(
        &self,
        connection: &mut sqlx::SqliteConnection,
        schema: &Schema,
        row: usize,
        fault: Fault,
    ) -> Error {
        let fault = match fault {
            Fault::Foreign(source) => {
                let written =
                    Written::Row(self.table, self.values(row, 1), self.ast.conflict.as_ref());
                explain(connection, schema, self.actor, written, source).await
            }
            fault => fault,
        };
        fault.into_error(Some(self.table))
    }

    /// One row outside a transaction: a statement of its own.
    pub(super) async fn insert_alone(
        &self,
        database: &Database,
        context: Context<'_>,
        chunks: &[usize],
        each: Each<'_>,
    ) -> Result<u64> {
        let mut writer = database.store().write().await?;
        if let Actor::Scope(scope) = self.actor {
            scope.check()?;
        }
        if chunks.len() > 1 || self.ast.rows > 1 {
            return self.insert_global_batch(database, context, chunks, &mut writer, each).await;
        }
        let bound = self.bound(database, context, 0, 1)?;
        match sqlite::run(writer.connection(), bound, each).await {
            Ok(affected) => Ok(affected),
            Err(fault) => Err(self.explained(writer.connection(), context.schema, 0, fault).await),
        }
    }

    /// Rows of a global table, in a transaction of no organization.
    async fn insert_global_batch(
        &self,
        database: &Database,
        context: Context<'_>,
        chunks: &[usize],
        writer: &mut sqlite::WriterGuard,
        each: Each<'_>,
    ) -> Result<u64> {
        sqlite::begin(writer, None).await?;
        let affected =
            self.insert_chunks(database, context, chunks, writer.connection(), each).await?;
        sqlite::commit(writer).await?;
        Ok(affected)
    }

    pub(super) async fn insert_in(
        &self,
        transaction: &mut Transaction,
        chunks: &[usize],
        each: Each<'_>,
    ) -> Result<u64> {
        let database = transaction.database().clone();
        let context = Context {
            schema: database.schema(),
            prologue: "",
            organization: self.actor.organization(),
            judged: database.judges(),
        };
        self.insert_chunks(&database, context, chunks, transaction.connection(), each).await
    }

    async fn insert_chunks(
        &self,
        database: &Database,
        context: Context<'_>,
        chunks: &[usize],
        connection: &mut sqlx::SqliteConnection,
        each: Each<'_>,
    ) -> Result<u64> {
        let context = Context { prologue: "", ..context };
        let mut from = 0;
        let mut affected = 0;
        for rows in chunks {
            let bound = self.bound(database, context, from, *rows)?;
            match sqlite::run(connection, bound, &mut *each).await {
                Ok(written) => affected += written,
                Err(Fault::Decode(error)) => return Err(error),
                Err(fault) => {
                    return Err(self
                        .offender(database, context, connection, (from, *rows), fault)
                        .await);
                }
            }
            from += rows;
        }
        Ok(affected)
    }

    /// Which row of a failed chunk is at fault: the store undid the chunk, so its rows go in one
    /// by one until the same thing happens again.
    async fn offender(
        &self,
        database: &Database,
        context: Context<'_>,
        connection: &mut sqlx::SqliteConnection,
        (from, rows): (usize, usize),
        fault: Fault,
    ) -> Error {
        if !self.ast.batch {
            return self.explained(connection, context.schema, from, fault).await;
        }
        for row in from..from + rows {
            let bound = match self.bound(database, context, row, 1) {
                Ok(bound) => bound,
                Err(error) => return error.at_row(row),
            };
            if let Err(fault) = sqlite::run(connection, bound, |_| Ok(())).await {
                return self.explained(connection, context.schema, row, fault).await.at_row(row);
            }
        }
        fault.into_error(Some(self.table))
    }
}
