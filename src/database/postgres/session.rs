//! A connection in a transaction of one organization.

use std::time::Duration;

use futures_core::stream::BoxStream;
use futures_util::TryStreamExt as _;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnection, Postgres};
use sqlx::{Connection as _, Either, Executor as _, SqlStr};
use sqlx_core::transaction::TransactionManager as _;
use tokio::runtime::Handle;

use super::GRACE;
use super::names::SharedNames;
use crate::database::fault::{Fault, Faulty, StoreError};
use crate::database::raw;
use crate::error::Result;
use crate::table::StoreRow;

/// sqlx's bookkeeping of transactions, by which the pool's hook tells whether one is open.
pub(super) type Manager = <Postgres as sqlx::Database>::TransactionManager;

tokio::task_local! {
    /// That a connection on its way back was in no transaction since it was borrowed: whatever ran
    /// on it ended with its own statement.
    pub(super) static NEVER_BEGUN: ();
}

/// A connection of the pool, in a transaction once it has begun.
///
/// INVARIANT: `sound` is false from the moment in which something is sent until all of its answer
/// has arrived. A session that is dropped meanwhile closes its connection, so that nobody else
/// ever borrows one in an unknown state: sqlx 0.9.0 gives back a connection whose `BEGIN` was
/// cancelled inside the transaction (<https://github.com/launchbadge/sqlx/issues/4385>).
pub(crate) struct Session {
    connection: PoolConnection<Postgres>,
    sound: bool,
    /// Whether an answer did not come in time: nothing more is asked.
    silent: bool,
    /// Whether a transaction was ever begun.
    begun: bool,
    /// How long an answer may take.
    limit: Option<Duration>,
    /// Where the connection was made: the session may be dropped elsewhere.
    runtime: Handle,
    /// Whether statements stay prepared on the server.
    persistent: bool,
    names: SharedNames,
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.sound {
            // What sqlx does by itself, but from wherever the session is dropped, and not for ever: a
            // connection that the server has forgotten would keep its place in the pool.
            let way_back = self.connection.return_to_pool();
            let begun = self.begun;
            self.runtime.spawn(async move {
                if begun {
                    tokio::time::timeout(GRACE, way_back).await
                } else {
                    // The hook sees that there is nothing to ask.
                    tokio::time::timeout(GRACE, NEVER_BEGUN.scope((), way_back)).await
                }
            });
        } else if Handle::try_current().is_ok() {
            self.connection.close_on_drop();
        } else {
            // Nobody is there to say goodbye: the connection goes with its way back.
            drop(self.connection.return_to_pool());
        }
    }
}

impl Session {
    /// INVARIANT: called where the pool has just made or lent the connection, so in a runtime.
    pub(super) fn new(
        connection: PoolConnection<Postgres>,
        persistent: bool,
        limit: Option<Duration>,
        names: SharedNames,
    ) -> Self {
        let runtime = Handle::current();
        let (sound, silent, begun) = (true, false, false);
        Self { connection, sound, silent, begun, limit, runtime, persistent, names }
    }

    /// The connection, for whoever reads the whole answer or drops the session.
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        self.sound = false;
        &mut self.connection
    }

    fn reduce(&self, error: &sqlx::Error) -> Fault {
        super::fault::reduce(error, &self.names)
    }

    /// Begins the transaction and says whose rows it touches, in one message.
    pub(super) async fn begin(&mut self, sql: String) -> Faulty<()> {
        self.sound = false;
        self.begun = true;
        let begun = Manager::begin(&mut self.connection, Some(raw::own(sql)));
        let begun = answered(self.limit, &mut self.silent, begun).await?;
        begun.map_err(|error| self.reduce(&error))?;
        self.sound = true;
        Ok(())
    }

    /// Closes the connection, so that nobody borrows it.
    pub(super) fn close(mut self) {
        self.sound = false;
    }

    pub(super) const fn is_sound(&self) -> bool {
        self.sound
    }

    /// Reads what is left of an answer that nobody waited for.
    async fn drain(&mut self) -> Faulty<()> {
        if self.sound {
            return Ok(());
        }
        if self.silent {
            return Err(Fault::Lost(StoreError::unknown()));
        }
        let drained = answered(self.limit, &mut self.silent, self.connection.ping()).await?;
        drained.map_err(|error| self.reduce(&error))?;
        self.sound = true;
        Ok(())
    }

    /// The same where it does not matter that a statement failed.
    async fn drain_all(&mut self) -> Faulty<()> {
        loop {
            match self.drain().await {
                Err(fault) if !fault.lost_connection() => {}
                drained => return drained,
            }
        }
    }

    /// Whether the answer has arrived as a whole: rows were not, where a decoder refused one.
    fn settle<T>(&mut self, outcome: Faulty<T>) -> Faulty<T> {
        self.sound = match &outcome {
            Ok(_) => true,
            Err(Fault::Decode(_)) => false,
            Err(fault) => !self.silent && !fault.lost_connection(),
        };
        outcome
    }

    fn query(
        &self,
        sql: SqlStr,
        arguments: PgArguments,
    ) -> sqlx::query::Query<'static, Postgres, PgArguments> {
        sqlx::query_with(sql, arguments).persistent(self.persistent)
    }

    pub(crate) async fn run(
        &mut self,
        sql: SqlStr,
        arguments: PgArguments,
        mut each: impl FnMut(StoreRow) -> Result<()> + Send,
    ) -> Faulty<u64> {
        self.drain().await?;
        self.sound = false;
        let query = self.query(sql, arguments);
        let answer = async {
            let mut affected = 0;
            let mut rows = self.connection.fetch_many(query);
            while let Some(step) = rows.try_next().await.map_err(Either::Left)? {
                match step {
                    Either::Left(done) => affected += done.rows_affected(),
                    Either::Right(row) => each(StoreRow::Postgres(row)).map_err(Either::Right)?,
                }
            }
            Ok(affected)
        };
        let answer = answered(self.limit, &mut self.silent, answer).await;
        let outcome = answer.and_then(|answer| {
            answer.map_err(|error| match error {
                Either::Left(error) => self.reduce(&error),
                Either::Right(error) => Fault::Decode(error),
            })
        });
        self.settle(outcome)
    }

    pub(crate) async fn first(
        &mut self,
        sql: SqlStr,
        arguments: PgArguments,
    ) -> Faulty<Option<StoreRow>> {
        self.drain().await?;
        self.sound = false;
        let query = self.query(sql, arguments);
        let row = self.connection.fetch_optional(query);
        let row = answered(self.limit, &mut self.silent, row).await;
        let row = row.and_then(|row| row.map_err(|error| self.reduce(&error)));
        self.settle(row.map(|row| row.map(StoreRow::Postgres)))
    }

    pub(crate) fn stream(
        &mut self,
        sql: SqlStr,
        arguments: PgArguments,
    ) -> BoxStream<'_, Faulty<StoreRow>> {
        Box::pin(async_stream::try_stream! {
            self.drain().await?;
            self.sound = false;
            let query = self.query(sql, arguments);
            let mut failure = None;
            {
                let mut rows = self.connection.fetch(query);
                loop {
                    match rows.try_next().await {
                        Ok(Some(row)) => yield StoreRow::Postgres(row),
                        Ok(None) => break,
                        Err(error) => {
                            failure = Some(error);
                            break;
                        }
                    }
                }
            }
            let outcome = failure.map_or(Ok(()), |error| Err(self.reduce(&error)));
            self.settle(outcome)?;
        })
    }

    /// INVARIANT: a statement that failed unseen fails the commit: the server answers a `COMMIT`
    /// of a failed transaction with success and rolls back.
    pub(crate) async fn commit(&mut self) -> Result<()> {
        let committed = async {
            self.drain().await?;
            self.sound = false;
            let committed = Manager::commit(&mut self.connection);
            let committed = answered(self.limit, &mut self.silent, committed).await;
            let committed = committed.map_err(|_| Fault::Unanswered(StoreError::unknown()))?;
            committed.map_err(|error| match self.reduce(&error) {
                Fault::Garbled(source) | Fault::Lost(source) => Fault::Unanswered(source),
                fault => fault,
            })?;
            self.sound = true;
            Ok(())
        };
        committed.await.map_err(|fault: Fault| fault.into_error(None))
    }

    pub(crate) async fn rollback(&mut self) -> Result<()> {
        let undone = async {
            self.drain_all().await?;
            self.sound = false;
            let undone = Manager::rollback(&mut self.connection);
            let undone = answered(self.limit, &mut self.silent, undone).await?;
            undone.map_err(|error| self.reduce(&error))?;
            self.sound = true;
            Ok(())
        };
        undone.await.map_err(|fault: Fault| fault.into_error(None))
    }

    pub(crate) async fn savepoint(&mut self, sql: String) -> Result<()> {
        let done = async {
            self.drain_all().await?;
            self.sound = false;
            let done = self.connection.execute(sqlx::raw_sql(raw::own(sql)));
            let done = answered(self.limit, &mut self.silent, done).await;
            let done = done.and_then(|done| done.map_err(|error| self.reduce(&error)));
            self.settle(done.map(drop))
        };
        done.await.map_err(|fault: Fault| fault.into_error(None))
    }
}

/// An answer, where it comes in time. Where none does, the server may still be at work: nothing that
/// was begun is committed.
async fn answered<T>(
    limit: Option<Duration>,
    silent: &mut bool,
    answer: impl Future<Output = T>,
) -> Faulty<T> {
    let Some(limit) = limit else { return Ok(answer.await) };
    tokio::time::timeout(limit, answer).await.map_err(|_| {
        *silent = true;
        Fault::Slow
    })
}
