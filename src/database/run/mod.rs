//! The runs of every statement: what `.fetch_all(&db)` and its siblings do.

mod batch;
mod build;
mod page;
mod read;
mod reference;
mod stream;
mod write;

use futures_util::TryStreamExt as _;

use super::fault::{Fault, Faulty};
#[cfg(feature = "postgres")]
use super::postgres;
use super::statement::{self, Binder, Bound};
use super::store::{Purpose, Session, Store};
use super::{Database, Transaction};
use crate::credential::SealingKey;
use crate::error::{Error, Result};
use crate::id::OrganizationId;
use crate::query::{InsertAst, Placeholders, Reach, Rendered, Renderer, Sink as _};
use crate::scope::TenantScope;
use crate::table::{Dialect, RowReader, Schema, StoreRow, TableDefinition};

pub use stream::RowStream;

pub(crate) use write::{delete, update};

use batch::{Batch, chunks, distinct_chunks};
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
    /// The same, for a read of one organization's rows.
    AcceptedIn(&'a OrganizationId),
}

impl<'a> Actor<'a> {
    fn organization(self) -> Option<&'a OrganizationId> {
        match self {
            Self::Scope(scope) => Some(scope.organization()),
            Self::Accepted => None,
            Self::AcceptedIn(organization) => Some(organization),
        }
    }

    /// Whose connection it is: an authority has one of its own, whomever it asks about.
    fn session(self) -> Option<&'a OrganizationId> {
        match self {
            Self::Scope(scope) => Some(scope.organization()),
            Self::Accepted | Self::AcceptedIn(_) => None,
        }
    }

    const fn reach(self) -> Reach<'a> {
        match self {
            Self::Scope(scope) => Reach::Scope(scope),
            Self::Accepted => Reach::Across,
            Self::AcceptedIn(_) => Reach::Named,
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
            (Actor::AcceptedIn(_), Self::Write) => false,
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
    pub(crate) store: &'a Store,
    pub(crate) schema: &'a Schema,
    pub(crate) prologue: &'static str,
    pub(crate) organization: Option<&'a OrganizationId>,
    /// Whether the second opinion will ask.
    pub(crate) judged: bool,
    /// The key under which sealed values may be written.
    pub(crate) sealing: Option<&'a SealingKey>,
}

impl<'a> Context<'a> {
    pub(crate) fn binder(&self) -> Binder<'a> {
        Binder::new(self.store, self.organization, self.judged, self.sealing)
    }

    pub(crate) const fn dialect(&self) -> Dialect {
        self.store.dialect()
    }

    pub(crate) fn renderer<'r>(&self, reach: Reach<'r>) -> Renderer<'r, Binder<'a>>
    where
        'a: 'r,
    {
        let mut binder = self.binder();
        binder.reserve(8);
        Renderer::new(self.dialect(), self.schema, reach, self.prologue, binder)
    }

    /// Of statements whose values are bound apart from them.
    pub(crate) fn shape(&self, reach: Reach<'a>) -> Renderer<'a, Placeholders> {
        Renderer::new(self.dialect(), self.schema, reach, self.prologue, Placeholders::default())
    }
}

/// A session for one read: its own, or the transaction's.
enum Lease<'t> {
    Borrowed(&'t mut Session),
    Own(Session),
}

impl Lease<'_> {
    const fn session(&mut self) -> &mut Session {
        match self {
            Self::Borrowed(session) => session,
            Self::Own(session) => session,
        }
    }

    fn release<T>(mut self, outcome: &Faulty<T>) {
        if let Self::Own(session) = &mut self {
            session.release(outcome);
        }
    }
}

/// Where a read of one statement runs.
enum Reader<'t> {
    #[cfg(feature = "postgres")]
    Alone(postgres::Read),
    Leased(Lease<'t>),
}

impl Reader<'_> {
    async fn run(
        &mut self,
        bound: Bound,
        each: impl FnMut(StoreRow) -> Result<()> + Send,
    ) -> Faulty<u64> {
        match self {
            #[cfg(feature = "postgres")]
            // On the heap, so that the futures of reads stay small.
            Self::Alone(read) => Box::pin(read.run(bound, each)).await,
            Self::Leased(lease) => lease.session().run(bound, each).await,
        }
    }

    async fn first(&mut self, bound: Bound) -> Faulty<Option<StoreRow>> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Alone(read) => Box::pin(read.first(bound)).await,
            Self::Leased(lease) => lease.session().first(bound).await,
        }
    }

    fn release<T>(self, outcome: &Faulty<T>) {
        match self {
            #[cfg(feature = "postgres")]
            Self::Alone(_) => {}
            Self::Leased(lease) => lease.release(outcome),
        }
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
            (Self::Transaction(_), Actor::Accepted | Actor::AcceptedIn(_)) => {
                return Err(Error::misuse(
                    "cross-tenant work runs on the Database, not in a transaction of one organization",
                ));
            }
        }
        self.database().schema().registered(table)?;
        access.require(actor, table)?;
        self.database().require_table(table)
    }

    /// Statements outside a transaction begin by saying whose rows they touch, where the session
    /// does not say it.
    fn context<'c>(&'c self, actor: Actor<'c>, purpose: Purpose) -> Context<'c> {
        let database = self.database();
        let prologue = match (self, actor) {
            (Self::Database(_), Actor::Scope(_)) => database.store().prologue(purpose),
            _ => "",
        };
        let sealing = match self {
            Self::Database(_) => None,
            Self::Transaction(transaction) => transaction.sealing(),
        };
        Context {
            store: database.store(),
            schema: database.schema(),
            prologue,
            organization: actor.organization(),
            judged: database.judges(),
            sealing,
        }
    }

    fn read_context<'c>(&'c self, actor: Actor<'c>) -> Context<'c> {
        self.context(actor, Purpose::Read)
    }

    fn write_context<'c>(&'c self, actor: Actor<'c>) -> Context<'c> {
        self.context(actor, Purpose::Write)
    }

    fn judged(
        &self,
        rendered: Rendered<Binder<'_>>,
        context: Context<'_>,
        actor: Actor<'_>,
    ) -> Result<Bound> {
        if let Actor::Scope(_) | Actor::AcceptedIn(_) = actor {
            self.database().second_opinion(&rendered, context.prologue)?;
        }
        statement::finish(rendered)
    }

    /// Where a read of one statement runs.
    async fn reader(&mut self, actor: Actor<'_>) -> Result<Reader<'_>> {
        #[cfg(feature = "postgres")]
        if let (Self::Database(database), Actor::Scope(scope)) = (&*self, actor)
            && let Some(read) = database.store().read(scope).await?
        {
            scope.check()?;
            return Ok(Reader::Alone(read));
        }
        self.lease(actor, Purpose::Read).await.map(Reader::Leased)
    }

    /// A session for one read.
    async fn lease(&mut self, actor: Actor<'_>, purpose: Purpose) -> Result<Lease<'_>> {
        match self {
            Self::Database(database) => {
                let session = database.store().session(actor.session(), purpose).await?;
                if let Actor::Scope(scope) = actor {
                    // The wait for a connection can be long.
                    scope.check()?;
                }
                Ok(Lease::Own(session))
            }
            Self::Transaction(transaction) => Ok(Lease::Borrowed(transaction.session())),
        }
    }

    /// How long the caller of one read waits.
    fn patience(&self) -> Option<std::time::Duration> {
        let database = self.database();
        database.store().patience(database.settings())
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
        render: impl FnOnce(Context<'_>) -> Result<Rendered<Binder<'_>>> + Send,
        mut decode: impl FnMut(&mut RowReader<'_>) -> Result<T> + Send,
    ) -> Result<Vec<T>> {
        self.admit(actor, Access::Read, table).await?;
        let context = self.read_context(actor);
        let bound = self.judged(render(context)?, context, actor)?;
        let timeout = self.patience();
        let mut reader = self.reader(actor).await?;
        let mut values = Vec::new();
        let rows = reader.run(bound, |row: StoreRow| {
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
        render: impl FnOnce(Context<'_>) -> Result<Rendered<Binder<'_>>> + Send,
        decode: impl FnOnce(&mut RowReader<'_>) -> Result<T> + Send,
    ) -> Result<Option<T>> {
        self.admit(actor, Access::Read, table).await?;
        let context = self.read_context(actor);
        let bound = self.judged(render(context)?, context, actor)?;
        let timeout = self.patience();
        let mut reader = self.reader(actor).await?;
        let outcome = in_time(timeout, reader.first(bound)).await;
        reader.release(&outcome);
        let decoded = outcome.and_then(|row| {
            row.map(|row| {
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
        render: impl for<'c> FnOnce(Context<'c>, &TenantScope) -> Result<Rendered<Binder<'c>>>
        + Send
        + 'e,
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
                let mut lease = self.lease(actor, Purpose::Stream).await?;
                let mut rows = lease.session().stream(bound);
                loop {
                    let step = rows.try_next().await;
                    let decoded = step.and_then(|row| {
                        row.map(|row| {
                            scope.check()?;
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
        render: impl FnOnce(Context<'_>) -> Result<Rendered<Binder<'_>>> + Send,
        mut decode: impl FnMut(&mut RowReader<'_>) -> Result<T> + Send,
    ) -> Result<(u64, Vec<T>)> {
        self.admit(actor, Access::Write, table).await?;
        // Rows that are read back are checked before the write is kept.
        let purpose = if returning { Purpose::Transaction } else { Purpose::Write };
        let context = self.context(actor, purpose);
        let bound = self.judged(render(context)?, context, actor)?;
        let mut rows = Vec::new();
        let mut each = |row: StoreRow| {
            rows.push(decode(&mut RowReader::new(&row, actor.organization()))?);
            Ok(())
        };
        let outcome = match &mut self {
            Self::Database(database) => {
                let mut session = database.store().session(actor.session(), purpose).await?;
                if let Actor::Scope(scope) = actor {
                    scope.check()?;
                }
                let outcome = match session.run(bound, &mut each).await {
                    Err(fault) => Err(explain(&mut session, database, actor, written, fault).await),
                    Ok(affected) => Ok(affected),
                };
                match outcome {
                    Ok(_) => session.commit().await?,
                    // Where this fails too, the dropped session repeats it.
                    Err(_) => drop(session.rollback().await),
                }
                outcome
            }
            Self::Transaction(transaction) => {
                match transaction.session().run(bound, &mut each).await {
                    Err(fault) => {
                        let database = transaction.database().clone();
                        let session = transaction.session();
                        Err(explain(session, &database, actor, written, fault).await)
                    }
                    Ok(affected) => Ok(affected),
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
        let mut each = |row: StoreRow| {
            rows.push(decode(&mut RowReader::new(&row, actor.organization()))?);
            Ok(())
        };
        let width = table.columns().len() + usize::from(actor.organization().is_some());
        let chunks = match &ast.conflict {
            Some(conflict) if !conflict.update.is_empty() => {
                distinct_chunks(&ast, &conflict.target, table.columns().len(), width)
            }
            _ => chunks(ast.rows, width),
        };
        let batch = Batch { table, ast: &ast, actor, returning };
        let outcome: Result<u64> = match (&mut self, actor) {
            (Self::Transaction(transaction), _) => {
                match batch.insert_in(transaction, false, &chunks, &mut each).await {
                    Ok(affected) => Ok(affected),
                    Err(error) => {
                        let error = self.failed(actor, table, Fault::Decode(error)).await;
                        Err(error)
                    }
                }
            }
            // Rows that are read back are checked before the insert is kept.
            (Self::Database(database), Actor::Scope(scope)) if ast.batch || returning => {
                let mut transaction = Transaction::begin(database, scope, Purpose::Batch).await?;
                match batch.insert_in(&mut transaction, true, &chunks, &mut each).await {
                    Ok(affected) => transaction.commit().await.map(|()| affected),
                    Err(error) => {
                        // Where this fails too, the dropped session repeats it.
                        drop(transaction.rollback().await);
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
