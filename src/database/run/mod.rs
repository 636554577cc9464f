//! The runs of every statement: what `.fetch_all(&db)` and its siblings do.

mod batch;
mod build;
mod page;
mod read;
mod reference;
mod stream;
mod write;

use futures_util::TryStreamExt as _;

use super::fault::{Fault, Faulty, reduce};
use super::sqlite::{self, Binder, Reader};
use super::{Database, Transaction};
use crate::error::{Error, Result};
use crate::id::OrganizationId;
use crate::query::{InsertAst, Placeholders, Reach, Rendered, Renderer, Sink as _};
use crate::scope::TenantScope;
use crate::table::{Dialect, RowReader, Schema, StoreRow, TableDefinition};

pub use stream::RowStream;

pub(crate) use write::{delete, update};

use batch::{Batch, chunks};
use reference::{Written, explain};

/// Where a statement runs: `&Database`, or `&mut Transaction` (`&mut *tx` for one that is
/// borrowed already).
#[diagnostic::on_unimplemented(
    message = "a statement runs on `&Database` or `&mut Transaction`, not on `{Self}`",
    label = "expected `&db` or `&mut tx`",
    note = "a transaction that is borrowed already is passed on as `&mut *tx`",
    note = "tenantry never runs on a raw pool or connection: it could not say whose rows they reach"
)]
pub trait Executor<'e>: sealed::Sealed + Send {
    #[doc(hidden)]
    fn lower(self) -> Run<'e>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for &super::Database {}
    impl Sealed for &mut super::Transaction {}
}

/// The two executors as one.
#[derive(Debug)]
pub enum Run<'e> {
    Database(&'e Database),
    Transaction(&'e mut Transaction),
}

impl<'e> Executor<'e> for &'e Database {
    fn lower(self) -> Run<'e> {
        Run::Database(self)
    }
}

impl<'e> Executor<'e> for &'e mut Transaction {
    fn lower(self) -> Run<'e> {
        Run::Transaction(self)
    }
}

/// In whose name a statement runs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Actor<'a> {
    Scope(&'a TenantScope),
    /// A cross-tenant authority that the Database has accepted and recorded.
    Accepted,
}

impl<'a> Actor<'a> {
    fn organization(self) -> Option<&'a OrganizationId> {
        match self {
            Self::Scope(scope) => Some(scope.organization()),
            Self::Accepted => None,
        }
    }

    const fn reach(self) -> Reach<'a> {
        match self {
            Self::Scope(scope) => Reach::Scope(scope),
            Self::Accepted => Reach::Across,
        }
    }
}

/// What a statement does.
#[derive(Debug, Clone, Copy)]
enum Access {
    Read,
    Write,
}

impl Access {
    /// INVARIANT: a scope writes tenant-owned tables alone, and an authority global tables alone.
    /// The traits of the row types say so too, but a trait can be implemented by hand over another
    /// table's definition.
    fn require(self, actor: Actor<'_>, table: &'static TableDefinition) -> Result<()> {
        let owned = table.tenant_column().is_some();
        let right = match (actor, self) {
            (_, Self::Read) => true,
            (Actor::Scope(_), Self::Write) => owned,
            (Actor::Accepted, Self::Write) => !owned,
        };
        if right {
            return Ok(());
        }
        Err(Error::misuse("the row type says tenant-owned and its table global, or the reverse")
            .at_table(table.name()))
    }
}

/// What a statement is rendered with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) schema: &'a Schema,
    pub(crate) prologue: &'static str,
    pub(crate) organization: Option<&'a OrganizationId>,
    /// Whether the second opinion will ask.
    pub(crate) judged: bool,
}

impl<'a> Context<'a> {
    pub(crate) fn binder(&self) -> Binder {
        Binder::new(self.organization, self.judged)
    }

    pub(crate) fn renderer(&self, reach: Reach<'a>) -> Renderer<'a, Binder> {
        let mut binder = self.binder();
        binder.reserve(8);
        Renderer::new(Dialect::Sqlite, self.schema, reach, self.prologue, binder)
    }

    /// Of statements whose values are bound apart from them.
    pub(crate) fn shape(&self, reach: Reach<'a>) -> Renderer<'a, Placeholders> {
        Renderer::new(Dialect::Sqlite, self.schema, reach, self.prologue, Placeholders::default())
    }
}

impl<'e> Run<'e> {
    fn database(&self) -> &Database {
        match self {
            Self::Database(database) => database,
            Self::Transaction(transaction) => transaction.database(),
        }
    }

    /// Whether this actor's statements run here at all.
    ///
    /// INVARIANT: from here on a transaction counts as failed until [`landed`](Self::landed):
    /// a statement that is refused, fails or is dropped leaves nothing but a rollback.
    async fn admit(
        &mut self,
        actor: Actor<'_>,
        access: Access,
        table: &'static TableDefinition,
    ) -> Result<()> {
        if let Self::Transaction(transaction) = self {
            transaction.ready().await?;
            transaction.sent();
        }
        if let Actor::Scope(scope) = actor {
            self.database().admit(scope)?;
        }
        match (&*self, actor) {
            (Self::Database(_), _) => {}
            (Self::Transaction(transaction), Actor::Scope(scope)) => {
                if transaction.scope().organization() != scope.organization() {
                    return Err(Error::misuse(
                        "the statement's scope is of another organization than the transaction's",
                    ));
                }
            }
            (Self::Transaction(_), Actor::Accepted) => {
                return Err(Error::misuse(
                    "cross-tenant work runs on the Database, not in a transaction of one organization",
                ));
            }
        }
        self.database().schema().registered(table)?;
        access.require(actor, table)?;
        self.database().require_table(table)
    }

    /// Reads that the shadow views cover begin by saying whose rows they show.
    fn read_context<'c>(&'c self, actor: Actor<'c>) -> Context<'c> {
        let database = self.database();
        let shadowed = matches!((self, actor), (Self::Database(_), Actor::Scope(_)))
            && database.store().read_wall
            && database.store().has_readers();
        Context {
            schema: database.schema(),
            prologue: if shadowed { sqlite::SET_SCOPE } else { "" },
            organization: actor.organization(),
            judged: database.judges(),
        }
    }

    /// Writes outside a transaction begin by saying whose rows they touch.
    fn write_context<'c>(&'c self, actor: Actor<'c>) -> Context<'c> {
        let database = self.database();
        let walled = matches!((self, actor), (Self::Database(_), Actor::Scope(_)))
            && database.store().write_wall;
        Context {
            schema: database.schema(),
            prologue: if walled { sqlite::SET_SCOPE } else { "" },
            organization: actor.organization(),
            judged: database.judges(),
        }
    }

    fn judged(
        &self,
        rendered: Rendered<Binder>,
        context: Context<'_>,
        actor: Actor<'_>,
    ) -> Result<sqlite::Bound> {
        if let Actor::Scope(_) = actor {
            self.database().second_opinion(&rendered, context.prologue)?;
        }
        sqlite::finish(rendered)
    }

    async fn reader(&mut self, actor: Actor<'_>) -> Result<Reader<'_>> {
        match self {
            Self::Database(database) => {
                let exclusive = matches!(actor, Actor::Accepted) && database.store().read_wall;
                let reader = database.store().read(exclusive).await?;
                if let Actor::Scope(scope) = actor {
                    // The wait for a connection can be long.
                    scope.check()?;
                }
                Ok(reader)
            }
            Self::Transaction(transaction) => Ok(Reader::Borrowed(transaction.connection())),
        }
    }

    /// A statement did what it was asked to.
    const fn landed(&mut self) {
        if let Self::Transaction(transaction) = self {
            transaction.landed();
        }
    }

    /// A statement was refused before it began.
    fn refused(&mut self, error: Error) -> Error {
        if let Self::Transaction(transaction) = self {
            transaction.failed(&error);
        }
        error
    }

    /// The public error of a failed statement; an incident is written down first.
    async fn failed(
        &mut self,
        actor: Actor<'_>,
        table: &'static TableDefinition,
        fault: Fault,
    ) -> Error {
        let mut error = fault.into_error(Some(table));
        if let Actor::Scope(scope) = actor {
            error = self.database().incident(scope, error).await;
        }
        if let Self::Transaction(transaction) = self {
            transaction.failed(&error);
        }
        error
    }

    /// Runs a read and decodes each row.
    pub(crate) async fn read_all<T: Send>(
        mut self,
        actor: Actor<'_>,
        table: &'static TableDefinition,
        render: impl FnOnce(Context<'_>) -> Result<Rendered<Binder>> + Send,
        mut decode: impl FnMut(&mut RowReader<'_>) -> Result<T> + Send,
    ) -> Result<Vec<T>> {
        self.admit(actor, Access::Read, table).await?;
        let context = self.read_context(actor);
        let bound = self.judged(render(context)?, context, actor)?;
        let timeout = self.database().settings().statement_timeout;
        let mut reader = self.reader(actor).await?;
        let mut values = Vec::new();
        let rows = sqlite::run(reader.connection(), bound, |row| {
            let row = StoreRow::Sqlite(row);
            values.push(decode(&mut RowReader::new(&row, actor.organization()))?);
            Ok(())
        });
        let outcome = in_time(timeout, rows).await;
        reader.release(&outcome);
        match outcome {
            Ok(_) => {
                self.landed();
                Ok(values)
            }
            Err(fault) => Err(self.failed(actor, table, fault).await),
        }
    }

    /// Runs a read and decodes its first row.
    pub(crate) async fn read_first<T: Send>(
        mut self,
        actor: Actor<'_>,
        table: &'static TableDefinition,
        render: impl FnOnce(Context<'_>) -> Result<Rendered<Binder>> + Send,
        decode: impl FnOnce(&mut RowReader<'_>) -> Result<T> + Send,
    ) -> Result<Option<T>> {
        self.admit(actor, Access::Read, table).await?;
        let context = self.read_context(actor);
        let bound = self.judged(render(context)?, context, actor)?;
        let timeout = self.database().settings().statement_timeout;
        let mut reader = self.reader(actor).await?;
        let outcome = in_time(timeout, sqlite::first(reader.connection(), bound)).await;
        reader.release(&outcome);
        let decoded = outcome.and_then(|row| {
            row.map(|row| {
                let row = StoreRow::Sqlite(row);
                decode(&mut RowReader::new(&row, actor.organization())).map_err(Fault::Decode)
            })
            .transpose()
        });
        match decoded {
            Ok(value) => {
                self.landed();
                Ok(value)
            }
            Err(fault) => Err(self.failed(actor, table, fault).await),
        }
    }

    /// Runs a read as a stream.
    fn read_stream<T: Send + 'e>(
        mut self,
        scope: TenantScope,
        table: &'static TableDefinition,
        render: impl FnOnce(Context<'_>, &TenantScope) -> Result<Rendered<Binder>> + Send + 'e,
        decode: fn(&mut RowReader<'_>) -> Result<T>,
    ) -> RowStream<'e, T> {
        RowStream(Box::pin(async_stream::try_stream! {
            let actor = Actor::Scope(&scope);
            self.admit(actor, Access::Read, table).await?;
            let context = self.read_context(actor);
            let bound = self.judged(render(context, &scope)?, context, actor)?;
            // Whoever has read enough of a stream drops it: that is no failure.
            self.landed();
            let mut outcome = Ok(());
            {
                let mut reader = self.reader(actor).await?;
                let mut rows = sqlite::stream(reader.connection(), bound);
                loop {
                    let step = rows.try_next().await.map_err(|error| reduce(&error));
                    let decoded = step.and_then(|row| {
                        row.map(|row| {
                            scope.check()?;
                            let row = StoreRow::Sqlite(row);
                            decode(&mut RowReader::new(&row, actor.organization()))
                        })
                        .transpose()
                        .map_err(Fault::Decode)
                    });
                    match decoded {
                        Ok(Some(value)) => yield value,
                        Ok(None) => break,
                        Err(fault) => {
                            outcome = Err(fault);
                            break;
                        }
                    }
                }
            }
            if let Err(fault) = outcome {
                Err(self.failed(actor, table, fault).await)?;
            }
        }))
    }

    /// Runs an update or delete, and decodes the rows that it returns.
    pub(crate) async fn write<T: Send>(
        mut self,
        actor: Actor<'_>,
        table: &'static TableDefinition,
        (written, returning): (Written<'_>, bool),
        render: impl FnOnce(Context<'_>) -> Result<Rendered<Binder>> + Send,
        mut decode: impl FnMut(&mut RowReader<'_>) -> Result<T> + Send,
    ) -> Result<(u64, Vec<T>)> {
        self.admit(actor, Access::Write, table).await?;
        let context = self.write_context(actor);
        let bound = self.judged(render(context)?, context, actor)?;
        let mut rows = Vec::new();
        let mut each = |row| {
            let row = StoreRow::Sqlite(row);
            rows.push(decode(&mut RowReader::new(&row, actor.organization()))?);
            Ok(())
        };
        let outcome = match &mut self {
            Self::Database(database) => {
                let mut writer = database.store().write().await?;
                if let Actor::Scope(scope) = actor {
                    scope.check()?;
                }
                // Rows that are read back are checked before the write is kept.
                if returning {
                    sqlite::begin(&mut writer, actor.organization()).await?;
                }
                let outcome = match sqlite::run(writer.connection(), bound, &mut each).await {
                    Err(Fault::Foreign(source)) => {
                        Err(explain(writer.connection(), database.schema(), actor, written, source)
                            .await)
                    }
                    outcome => outcome,
                };
                match outcome {
                    Ok(_) if returning => sqlite::commit(&mut writer).await?,
                    // Where this fails too, the guard repeats it.
                    Err(_) if returning => drop(sqlite::rollback(&mut writer).await),
                    _ => {}
                }
                outcome
            }
            Self::Transaction(transaction) => {
                match sqlite::run(transaction.connection(), bound, &mut each).await {
                    Err(Fault::Foreign(source)) => {
                        let database = transaction.database().clone();
                        let connection = transaction.connection();
                        Err(explain(connection, database.schema(), actor, written, source).await)
                    }
                    outcome => outcome,
                }
            }
        };
        match outcome {
            Ok(affected) => {
                self.landed();
                Ok((affected, rows))
            }
            Err(fault) => Err(self.failed(actor, table, fault).await),
        }
    }

    /// Inserts rows, all or none.
    pub(crate) async fn insert<T: Send>(
        mut self,
        actor: Actor<'_>,
        table: &'static TableDefinition,
        mut ast: InsertAst,
        returning: bool,
        mut decode: impl FnMut(&mut RowReader<'_>) -> Result<T> + Send,
    ) -> Result<(u64, Vec<T>)> {
        self.admit(actor, Access::Write, table).await?;
        if let Some(refusal) = ast.refusal.take() {
            return Err(refusal);
        }
        if ast.rows == 0 {
            return Err(Error::invalid("a batch has no rows").at_table(table.name()));
        }
        let mut rows = Vec::new();
        let mut each = |row| {
            let row = StoreRow::Sqlite(row);
            rows.push(decode(&mut RowReader::new(&row, actor.organization()))?);
            Ok(())
        };
        let width = table.columns().len() + usize::from(actor.organization().is_some());
        let chunks = chunks(ast.rows, width);
        let batch = Batch { table, ast: &ast, actor, returning };
        let outcome: Result<u64> = match (&mut self, actor) {
            (Self::Transaction(transaction), _) => {
                match batch.insert_in(transaction, &chunks, &mut each).await {
                    Ok(affected) => Ok(affected),
                    Err(error) => {
                        let error = self.failed(actor, table, Fault::Decode(error)).await;
                        Err(error)
                    }
                }
            }
            // Rows that are read back are checked before the insert is kept.
            (Self::Database(database), Actor::Scope(scope)) if ast.batch || returning => {
                let mut transaction = database.begin(scope).await?;
                match batch.insert_in(&mut transaction, &chunks, &mut each).await {
                    Ok(affected) => transaction.commit().await.map(|()| affected),
                    Err(error) => {
                        transaction.rollback().await?;
                        Err(self.failed(actor, table, Fault::Decode(error)).await)
                    }
                }
            }
            (Self::Database(_), _) => {
                let context = self.write_context(actor);
                match batch.insert_alone(self.database(), context, &chunks, &mut each).await {
                    Ok(affected) => Ok(affected),
                    Err(error) => Err(self.failed(actor, table, Fault::Decode(error)).await),
                }
            }
        };
        let affected = outcome?;
        self.landed();
        Ok((affected, rows))
    }
}

async fn in_time<T>(
    timeout: Option<std::time::Duration>,
    work: impl Future<Output = Faulty<T>>,
) -> Faulty<T> {
    match timeout {
        None => work.await,
        Some(timeout) => match tokio::time::timeout(timeout, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Fault::Slow),
        },
    }
}
