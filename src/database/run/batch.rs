//! Rows on their way in.

use std::sync::Arc;

use super::reference::{Written, explain};
use super::{Actor, Context};
use crate::database::fault::Fault;
use crate::database::statement::{self, Bound};
use crate::database::store::{Purpose, Session};
use crate::database::{Database, Transaction};
use crate::error::{Error, Result};
use crate::query::{Bind, InsertAst, MAX_BINDS, Rendered, Sink as _, Sql};
use crate::table::{StoreRow, TableDefinition, Value};

/// How many rows of so many values go in at once.
fn most(width: usize) -> usize {
    let most = (MAX_BINDS.saturating_sub(1) / width.max(1)).clamp(1, 512);
    1 << most.ilog2()
}

/// Batches in few sizes, so that few shapes are prepared: powers of two within the store's limit.
pub(super) fn chunks(rows: usize, width: usize) -> Vec<usize> {
    let most = most(width);
    let mut left = rows;
    let mut chunks = Vec::new();
    while left > 0 {
        let size = if left >= most { most } else { 1 << left.ilog2() };
        chunks.push(size);
        left -= size;
    }
    chunks
}

/// The rows of an upsert in runs none of which proposes a row twice: PostgreSQL refuses to update a
/// row twice in one statement. SQLite would take the rows one after the other, and check references
/// after the last: the same runs on both are what makes both refuse the same.
pub(super) fn distinct_chunks(
    ast: &InsertAst,
    target: &[u16],
    columns: usize,
    width: usize,
) -> Vec<usize> {
    let mut sizes = Vec::new();
    let mut seen: Vec<Vec<&Value>> = Vec::new();
    let mut finish = |rows: usize| sizes.extend(chunks(rows, width));
    for row in ast.values.chunks(columns.max(1)) {
        let proposed: Vec<&Value> =
            target.iter().filter_map(|at| row.get(usize::from(*at))).collect();
        // A float equals others than itself in bits, and NULL nothing.
        let alone = proposed.iter().any(|value| matches!(value, Value::F64(_)));
        if alone || seen.len() == most(width) || seen.contains(&proposed) {
            finish(seen.len());
            seen.clear();
        }
        seen.push(proposed);
    }
    finish(seen.len());
    sizes
}

/// Rows of one insert on their way.
pub(super) struct Batch<'a> {
    pub(super) table: &'static TableDefinition,
    pub(super) ast: &'a InsertAst,
    pub(super) actor: Actor<'a>,
    pub(super) returning: bool,
}

type Each<'a> = &'a mut (dyn FnMut(StoreRow) -> Result<()> + Send);

/// The savepoint before a batch, which the failure of one row goes back to: no savepoint of a
/// transaction has this number.
pub(super) const BEFORE_BATCH: u32 = 0;

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
    ) -> Result<Bound> {
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
        // The commonest shape is kept for the declared table.
        let [bare, walled] = &registered.insert_sql;
        let known = if context.prologue.is_empty() { bare } else { walled };
        let sql = match (plain, known.get()) {
            (true, Some(sql)) => Sql::Shared(Arc::clone(sql)),
            (true, None) => {
                let sql = Arc::from(render()?);
                Sql::Shared(Arc::clone(known.get_or_init(|| sql)))
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
        statement::finish(rendered)
    }

    async fn explained(
        &self,
        session: &mut Session,
        database: &Database,
        row: usize,
        fault: Fault,
    ) -> Error {
        let written = Written::Row(self.table, self.values(row, 1), self.ast.conflict.as_ref());
        let fault = explain(session, database, self.actor, written, fault).await;
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
        if chunks.len() > 1 || self.ast.rows > 1 {
            return self.insert_global_batch(database, context, chunks, each).await;
        }
        let organization = self.actor.organization();
        let mut session = database.store().session(organization, Purpose::Write).await?;
        if let Actor::Scope(scope) = self.actor {
            scope.check()?;
        }
        let bound = self.bound(database, context, 0, 1)?;
        match session.run(bound, each).await {
            Ok(affected) => session.commit().await.map(|()| affected),
            Err(fault) => Err(self.explained(&mut session, database, 0, fault).await),
        }
    }

    /// Rows of a global table, in a transaction of no organization.
    async fn insert_global_batch(
        &self,
        database: &Database,
        context: Context<'_>,
        chunks: &[usize],
        each: Each<'_>,
    ) -> Result<u64> {
        let mut session = database.store().session(None, Purpose::Batch).await?;
        let affected = self.insert_chunks(database, context, chunks, &mut session, each).await?;
        session.commit().await?;
        Ok(affected)
    }

    /// `begun` where the transaction was begun for this batch.
    pub(super) async fn insert_in(
        &self,
        transaction: &mut Transaction,
        begun: bool,
        chunks: &[usize],
        each: Each<'_>,
    ) -> Result<u64> {
        let database = transaction.database().clone();
        let sealing = transaction.sealing().copied();
        let context = Context {
            store: database.store(),
            schema: database.schema(),
            prologue: "",
            organization: self.actor.organization(),
            judged: database.judges(),
            sealing: sealing.as_ref(),
        };
        let session = transaction.session();
        let guarded = !begun && self.ast.rows > 1 && !session.undoes_statements();
        if guarded {
            session.savepoint("SAVEPOINT", BEFORE_BATCH).await?;
        }
        let affected = self.insert_chunks(&database, context, chunks, session, each).await?;
        if guarded {
            session.savepoint("RELEASE", BEFORE_BATCH).await?;
        }
        Ok(affected)
    }

    async fn insert_chunks(
        &self,
        database: &Database,
        context: Context<'_>,
        chunks: &[usize],
        session: &mut Session,
        each: Each<'_>,
    ) -> Result<u64> {
        let context = Context { prologue: "", ..context };
        let mut from = 0;
        let mut affected = 0;
        for rows in chunks {
            let bound = self.bound(database, context, from, *rows)?;
            match session.run(bound, &mut *each).await {
                Ok(written) => affected += written,
                Err(Fault::Decode(error)) => return Err(error),
                Err(fault) => {
                    return Err(self
                        .offender(database, context, session, (from, *rows), fault)
                        .await);
                }
            }
            from += rows;
        }
        Ok(affected)
    }

    /// Which row of a failed chunk is at fault: the chunk is undone, by the store or by going back
    /// to the savepoint, and its rows go in one by one until the same thing happens again.
    async fn offender(
        &self,
        database: &Database,
        context: Context<'_>,
        session: &mut Session,
        (from, rows): (usize, usize),
        fault: Fault,
    ) -> Error {
        if !self.ast.batch {
            return self.explained(session, database, from, fault).await;
        }
        // INVARIANT: nothing runs again after a fault at which the store may have ended the transaction.
        if !fault.is_of_a_row() {
            return fault.into_error(Some(self.table));
        }
        if self.ast.rows == 1 {
            return self.explained(session, database, 0, fault).await.at_row(0);
        }
        let mut first = from;
        if !session.undoes_statements() {
            if session.savepoint("ROLLBACK TO", BEFORE_BATCH).await.is_err() {
                return fault.into_error(Some(self.table));
            }
            first = 0;
        }
        for row in first..from + rows {
            let bound = match self.bound(database, context, row, 1) {
                Ok(bound) => bound,
                Err(error) => return error.at_row(row),
            };
            if let Err(fault) = session.run(bound, |_| Ok(())).await {
                return self.explained(session, database, row, fault).await.at_row(row);
            }
        }
        fault.into_error(Some(self.table))
    }
}
