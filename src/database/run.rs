//! The runs of every statement: what `.fetch_all(&db)` and its siblings do.

use std::fmt;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use futures_core::Stream;
use futures_core::stream::BoxStream;
use futures_util::TryStreamExt as _;

use super::fault::{Fault, Faulty};
use super::sqlite::{self, Reader};
use super::{Database, Transaction};
use crate::error::{Error, Result};
use crate::id::OrganizationId;
use crate::query::{
    Aggregated, Arguments, Bind, ColumnRef, Columns, Cursor, Delete, Find, GroupedAggregates,
    Insert, InsertAst, MAX_BINDS, NamesRows, OrderKey, Output, Page, Paged, Predicate, Prepared,
    PreparedUpdate, Projection, Reach, Rendered, Renderer, Returning, Select, SelectAst, Sources,
    Sql, Term, Update, UpdateAst, order_terms,
};
use crate::scope::TenantScope;
use crate::table::{
    ColumnDefinition, Dialect, RowReader, Schema, StoreRow, Table, TableDefinition, TenantTable,
    Value,
};

/// Where a statement runs: `&Database`, or `&mut Transaction` (`&mut *tx` for one that is
/// borrowed already).
#[diagnostic::on_unimplemented(
    message = "a statement runs on `&Database` or `&mut Transaction`, not on `{Self}`",
    label = "expected `&db` or `&mut tx`",
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

/// What a statement is rendered with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) schema: &'a Schema,
    pub(crate) prologue: &'static str,
}

impl<'a> Context<'a> {
    pub(crate) fn renderer(&self, reach: Reach<'a>) -> Renderer<'a> {
        Renderer::new(Dialect::Sqlite, self.schema, reach, self.prologue)
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
    async fn admit(&mut self, actor: Actor<'_>, table: &'static TableDefinition) -> Result<()> {
        if let Actor::Scope(scope) = actor {
            self.database().admit(scope)?;
        }
        match (&mut *self, actor) {
            (Self::Database(_), _) => {}
            (Self::Transaction(transaction), Actor::Scope(scope)) => {
                if transaction.scope().organization() != scope.organization() {
                    return Err(Error::misuse(
                        "the statement's scope is of another organization than the transaction's",
                    ));
                }
                transaction.ready().await?;
            }
            (Self::Transaction(_), Actor::Accepted) => {
                return Err(Error::misuse(
                    "cross-tenant work runs on the Database, not in a transaction of one organization",
                ));
            }
        }
        self.database().schema().registered(table)?;
        self.database().require_table(table)
    }

    /// Reads that the shadow views cover begin by saying whose rows they show.
    fn read_context(&self, actor: Actor<'_>) -> Context<'_> {
        let database = self.database();
        let shadowed = matches!((self, actor), (Self::Database(_), Actor::Scope(_)))
            && database.store().read_wall
            && database.store().has_readers();
        Context {
            schema: database.schema(),
            prologue: if shadowed { sqlite::SET_SCOPE } else { "" },
        }
    }

    /// Writes outside a transaction begin by saying whose rows they touch.
    fn write_context(&self, actor: Actor<'_>) -> Context<'_> {
        let database = self.database();
        let walled = matches!((self, actor), (Self::Database(_), Actor::Scope(_)))
            && database.store().write_wall;
        Context { schema: database.schema(), prologue: if walled { sqlite::SET_SCOPE } else { "" } }
    }

    fn judged(
        &self,
        rendered: Rendered,
        context: Context<'_>,
        actor: Actor<'_>,
    ) -> Result<sqlite::Bound> {
        if let Actor::Scope(_) = actor {
            self.database().second_opinion(&rendered, context.prologue)?;
        }
        sqlite::bind(rendered.sql, &rendered.binds, actor.organization())
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
        render: impl FnOnce(Context<'_>) -> Result<Rendered> + Send,
        mut decode: impl FnMut(&mut RowReader<'_>) -> Result<T> + Send,
    ) -> Result<Vec<T>> {
        self.admit(actor, table).await?;
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
        drop(reader);
        match outcome {
            Ok(_) => Ok(values),
            Err(fault) => Err(self.failed(actor, table, fault).await),
        }
    }

    /// Runs a read and decodes its first row.
    pub(crate) async fn read_first<T: Send>(
        mut self,
        actor: Actor<'_>,
        table: &'static TableDefinition,
        render: impl FnOnce(Context<'_>) -> Result<Rendered> + Send,
        decode: impl FnOnce(&mut RowReader<'_>) -> Result<T> + Send,
    ) -> Result<Option<T>> {
        self.admit(actor, table).await?;
        let context = self.read_context(actor);
        let bound = self.judged(render(context)?, context, actor)?;
        let timeout = self.database().settings().statement_timeout;
        let mut reader = self.reader(actor).await?;
        let outcome = in_time(timeout, sqlite::first(reader.connection(), bound)).await;
        drop(reader);
        let decoded = outcome.and_then(|row| {
            row.map(|row| {
                let row = StoreRow::Sqlite(row);
                decode(&mut RowReader::new(&row, actor.organization())).map_err(Fault::Decode)
            })
            .transpose()
        });
        match decoded {
            Ok(value) => Ok(value),
            Err(fault) => Err(self.failed(actor, table, fault).await),
        }
    }

    /// Runs a read as a stream.
    fn read_stream<T: Send + 'e>(
        mut self,
        scope: TenantScope,
        table: &'static TableDefinition,
        render: impl FnOnce(Context<'_>, &TenantScope) -> Result<Rendered> + Send + 'e,
        decode: fn(&mut RowReader<'_>) -> Result<T>,
    ) -> RowStream<'e, T> {
        RowStream(Box::pin(async_stream::try_stream! {
            let actor = Actor::Scope(&scope);
            self.admit(actor, table).await?;
            let context = self.read_context(actor);
            let bound = self.judged(render(context, &scope)?, context, actor)?;
            let mut outcome = Ok(());
            {
                let mut reader = self.reader(actor).await?;
                let mut rows = sqlite::stream(reader.connection(), bound);
                loop {
                    let step = rows.try_next().await.map_err(|error| super::fault::reduce(&error));
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
        written: Written<'_>,
        render: impl FnOnce(Context<'_>) -> Result<Rendered> + Send,
        mut decode: impl FnMut(&mut RowReader<'_>) -> Result<T> + Send,
    ) -> Result<(u64, Vec<T>)> {
        self.admit(actor, table).await?;
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
                match sqlite::run(writer.connection(), bound, &mut each).await {
                    Err(Fault::Foreign(source)) => {
                        Err(explain(writer.connection(), database.schema(), actor, written, source)
                            .await)
                    }
                    outcome => outcome,
                }
            }
            Self::Transaction(transaction) => {
                transaction.sent();
                let outcome = sqlite::run(transaction.connection(), bound, &mut each).await;
                let outcome = match outcome {
                    Err(Fault::Foreign(source)) => {
                        let database = transaction.database().clone();
                        let connection = transaction.connection();
                        Err(explain(connection, database.schema(), actor, written, source).await)
                    }
                    outcome => outcome,
                };
                transaction.landed();
                outcome
            }
        };
        match outcome {
            Ok(affected) => Ok((affected, rows)),
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
        self.admit(actor, table).await?;
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
                transaction.sent();
                let outcome = batch.insert_in(transaction, &chunks, &mut each).await;
                transaction.landed();
                match outcome {
                    Ok(affected) => Ok(affected),
                    Err(error) => {
                        let error = self.failed(actor, table, Fault::Decode(error)).await;
                        Err(error)
                    }
                }
            }
            (Self::Database(database), Actor::Scope(scope)) if ast.batch => {
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
            Err(_) => Err(Fault::Decode(
                Error::unavailable("the statement took longer than the statement timeout")
                    .retryable(),
            )),
        },
    }
}

/// Batches in few sizes, so that few shapes are prepared: powers of two within the store's limit.
fn chunks(rows: usize, width: usize) -> Vec<usize> {
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

/// What a write wanted, to explain a broken reference.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Written<'a> {
    Row(&'static TableDefinition, &'a [Value]),
    Set(&'static TableDefinition, &'a [(ColumnRef, Term)]),
    Deleted,
}

impl<'a> Written<'a> {
    fn value(&self, position: u16) -> Option<&'a Value> {
        match self {
            Self::Row(_, values) => values.get(usize::from(position)),
            Self::Set(_, set) => set.iter().find_map(|(column, term)| match term {
                Term::Value(value) if column.position == position => Some(value),
                _ => None,
            }),
            Self::Deleted => None,
        }
    }

    fn sets(&self, position: u16) -> bool {
        match self {
            Self::Row(..) => true,
            Self::Set(_, set) => set.iter().any(|(column, _)| column.position == position),
            Self::Deleted => false,
        }
    }
}

/// SQLite names nothing in a broken reference, so the parents are looked up in the scope, on the
/// same connection and before anyone else writes.
async fn explain(
    connection: &mut sqlx::SqliteConnection,
    schema: &Schema,
    actor: Actor<'_>,
    written: Written<'_>,
    source: super::fault::StoreError,
) -> Fault {
    let table = match written {
        Written::Row(table, _) | Written::Set(table, _) => table,
        Written::Deleted => return Fault::Foreign(source),
    };
    let mut suspects = Vec::new();
    for reference in table.references() {
        if !reference.columns().iter().any(|at| written.sets(*at)) {
            continue;
        }
        let values: Option<Vec<&Value>> =
            reference.columns().iter().map(|at| written.value(*at)).collect();
        let names: Vec<&str> = reference
            .columns()
            .iter()
            .filter_map(|at| table.column(*at))
            .map(ColumnDefinition::name)
            .collect();
        let names = names.join(", ");
        match values {
            Some(values) if values.iter().any(|value| **value == Value::Null) => {}
            Some(values) => {
                match parent_exists(connection, schema, actor, reference.target(), &values).await {
                    Ok(true) => {}
                    Ok(false) => return missing_parent(table, names, source),
                    Err(fault) => return fault,
                }
            }
            None => suspects.push(names),
        }
    }
    if suspects.is_empty() {
        return Fault::Foreign(source);
    }
    missing_parent(table, suspects.join(", "), source)
}

fn missing_parent(
    table: &'static TableDefinition,
    columns: String,
    source: super::fault::StoreError,
) -> Fault {
    Fault::Decode(
        Error::not_found("the row that this column refers to does not exist")
            .at_table(table.name())
            .at_column(columns)
            .with_source(source),
    )
}

async fn parent_exists(
    connection: &mut sqlx::SqliteConnection,
    schema: &Schema,
    actor: Actor<'_>,
    parent: &'static TableDefinition,
    key: &[&Value],
) -> Faulty<bool> {
    let reach = if parent.tenant_column().is_some() { actor.reach() } else { Reach::Across };
    let sql = Renderer::new(Dialect::Sqlite, schema, reach, "").find(parent)?;
    let mut binds = Vec::with_capacity(key.len() + 1);
    if parent.tenant_column().is_some() {
        binds.push(Bind::Organization);
    }
    binds.extend(key.iter().map(|value| Bind::Value((*value).clone())));
    let bound = sqlite::bind(Sql::Once(sql), &binds, actor.organization())?;
    Ok(sqlite::first(connection, bound).await?.is_some())
}

/// Rows of one insert on their way.
struct Batch<'a> {
    table: &'static TableDefinition,
    ast: &'a InsertAst,
    actor: Actor<'a>,
    returning: bool,
}

type Each<'a> = &'a mut (dyn FnMut(sqlx::sqlite::SqliteRow) -> Result<()> + Send);

impl Batch<'_> {
    /// The values of rows `from..from + rows`.
    fn values(&self, from: usize, rows: usize) -> &[Value] {
        let width = self.table.columns().len();
        self.ast.values.get(from * width..(from + rows) * width).unwrap_or_default()
    }

    fn bound(
        &self,
        database: &Database,
        context: Context<'_>,
        from: usize,
        rows: usize,
    ) -> Result<sqlite::Bound> {
        let plain = rows == 1 && self.ast.conflict.is_none() && !self.returning;
        let (_, registered) = context.schema.registered(self.table)?;
        let render = || {
            context.renderer(self.actor.reach()).insert(
                self.table,
                rows,
                self.ast.conflict.as_ref(),
                self.returning,
            )
        };
        // The commonest shape is kept for the declared table; inside a transaction it has no
        // prologue and is rendered.
        let sql = match (plain && !context.prologue.is_empty(), registered.insert_sql.get()) {
            (true, Some(sql)) => Sql::Shared(std::sync::Arc::clone(sql)),
            (true, None) => {
                let sql = std::sync::Arc::from(render()?);
                Sql::Shared(std::sync::Arc::clone(registered.insert_sql.get_or_init(|| sql)))
            }
            (false, _) => Sql::Once(render()?),
        };
        let mut binds = Vec::with_capacity(rows * (self.table.columns().len() + 1) + 2);
        if !context.prologue.is_empty() {
            binds.push(Bind::Organization);
        }
        self.ast.binds(self.table, (from, rows), &mut binds);
        let rendered = Rendered { sql, binds };
        if let Actor::Scope(_) = self.actor {
            database.second_opinion(&rendered, context.prologue)?;
        }
        sqlite::bind(rendered.sql, &rendered.binds, self.actor.organization())
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
                let written = Written::Row(self.table, self.values(row, 1));
                explain(connection, schema, self.actor, written, source).await
            }
            fault => fault,
        };
        fault.into_error(Some(self.table))
    }

    /// One row outside a transaction: a statement of its own.
    async fn insert_alone(
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

    async fn insert_in(
        &self,
        transaction: &mut Transaction,
        chunks: &[usize],
        each: Each<'_>,
    ) -> Result<u64> {
        let database = transaction.database().clone();
        let context = Context { schema: database.schema(), prologue: "" };
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

/// Rows as they arrive.
///
/// The stream checks the scope and the witness of every row. When one does not hold it ends with
/// an error; rows already yielded stand.
#[must_use = "a stream does nothing until it is polled"]
pub struct RowStream<'e, T>(BoxStream<'e, Result<T>>);

impl<T> fmt::Debug for RowStream<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowStream").finish_non_exhaustive()
    }
}

impl<T> Stream for RowStream<'_, T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

/// The first row of an ordered read is a read of one row.
fn first_of(mut ast: SelectAst) -> SelectAst {
    if !ast.unordered {
        ast.limit = Some(ast.limit.map_or(1, |limit| limit.min(1)));
    }
    ast
}

fn require_transaction(run: &Run<'_>, for_update: bool) -> Result<()> {
    if for_update && matches!(run, Run::Database(_)) {
        return Err(Error::misuse(
            "`for_update` holds its lock for a transaction: run it on `&mut tx`",
        ));
    }
    Ok(())
}

// ---- reads

impl<S: Sources> Select<'_, S> {
    /// Reads all rows.
    ///
    /// # Errors
    /// `Denied` for a revoked scope, `Misuse` for a statement that mixes organizations, names
    /// unregistered tables or runs in another organization's transaction, `Invalid` for values
    /// that the store cannot hold, `Incident` when a witness does not hold, `Unavailable` and
    /// `Corrupt` for the store's own faults.
    pub async fn fetch_all<'e>(self, executor: impl Executor<'e>) -> Result<Vec<S>> {
        let run = executor.lower();
        require_transaction(&run, self.ast.for_update)?;
        let (scope, ast) = (self.scope, self.ast);
        run.read_all(
            Actor::Scope(scope),
            ast.base,
            |context| context.renderer(Reach::Scope(scope)).select(&ast, Output::Rows),
            S::read,
        )
        .await
    }

    /// Reads the first row in the order asked for, or by key.
    ///
    /// # Errors
    /// As for [`fetch_all`](Self::fetch_all).
    pub async fn fetch_optional<'e>(self, executor: impl Executor<'e>) -> Result<Option<S>> {
        let run = executor.lower();
        require_transaction(&run, self.ast.for_update)?;
        let (scope, ast) = (self.scope, first_of(self.ast));
        run.read_first(
            Actor::Scope(scope),
            ast.base,
            |context| context.renderer(Reach::Scope(scope)).select(&ast, Output::Rows),
            S::read,
        )
        .await
    }

    /// Reads the first row, which must exist.
    ///
    /// # Errors
    /// `NotFound` where there is none, whatever other organizations hold; otherwise as for
    /// [`fetch_all`](Self::fetch_all).
    pub async fn fetch_one<'e>(self, executor: impl Executor<'e>) -> Result<S> {
        let table = self.ast.base.name();
        self.fetch_optional(executor).await?.ok_or_else(|| Error::row_not_found(table))
    }

    /// Reads the rows as a stream, in memory of a few rows.
    ///
    /// A stream on `&db` keeps a reading connection until it ends or is dropped.
    pub fn fetch<'e>(self, executor: impl Executor<'e>) -> RowStream<'e, S> {
        let run = executor.lower();
        let (scope, ast) = (self.scope.clone(), self.ast);
        let locks = require_transaction(&run, ast.for_update);
        run.read_stream(
            scope,
            ast.base,
            move |context, scope| {
                locks?;
                context.renderer(Reach::Scope(scope)).select(&ast, Output::Rows)
            },
            S::read,
        )
    }

    /// Counts the rows.
    ///
    /// # Errors
    /// As for [`fetch_all`](Self::fetch_all).
    pub async fn count<'e>(self, executor: impl Executor<'e>) -> Result<i64> {
        let (scope, ast) = (self.scope, self.ast);
        let tables = ast.all_witnessed();
        let counted = executor
            .lower()
            .read_first(
                Actor::Scope(scope),
                ast.base,
                |context| context.renderer(Reach::Scope(scope)).count(&ast),
                |row| read_count(row, &tables),
            )
            .await?;
        counted.ok_or_else(|| Error::internal("a count returned no row"))
    }

    /// Whether there is a row.
    ///
    /// # Errors
    /// As for [`fetch_all`](Self::fetch_all).
    pub async fn exists<'e>(self, executor: impl Executor<'e>) -> Result<bool> {
        let (scope, ast) = (self.scope, self.ast);
        let tables = ast.all_witnessed();
        let counted = executor
            .lower()
            .read_first(
                Actor::Scope(scope),
                ast.base,
                |context| context.renderer(Reach::Scope(scope)).exists(&ast),
                |row| read_count(row, &tables),
            )
            .await?;
        Ok(counted.is_some_and(|count| count > 0))
    }
}

fn read_count(row: &mut RowReader<'_>, tables: &[&'static TableDefinition]) -> Result<i64> {
    aggregate_witnesses(row, tables)?;
    row.read_integer()
}

fn aggregate_witnesses(row: &mut RowReader<'_>, tables: &[&'static TableDefinition]) -> Result<()> {
    tables.iter().try_for_each(|table| row.aggregate_witness(table))
}

impl<T: Table> Find<'_, T> {
    /// Reads the row, or `None` where this organization has none with this key.
    ///
    /// # Errors
    /// As for [`Select::fetch_all`].
    pub async fn fetch_optional<'e>(self, executor: impl Executor<'e>) -> Result<Option<T>> {
        let run = executor.lower();
        require_transaction(&run, self.for_update)?;
        run.read_first(
            Actor::Scope(self.scope),
            T::definition(),
            |context| find(context, &self),
            <T as Sources>::read,
        )
        .await
    }

    /// Reads the row, which must exist.
    ///
    /// # Errors
    /// `NotFound` where this organization has none with this key, whatever others have; otherwise
    /// as for [`Select::fetch_all`].
    pub async fn fetch_one<'e>(self, executor: impl Executor<'e>) -> Result<T> {
        self.fetch_optional(executor)
            .await?
            .ok_or_else(|| Error::row_not_found(T::definition().name()))
    }
}

/// A read by key has one shape for each table, rendered once.
fn find<T: Table>(context: Context<'_>, find: &Find<'_, T>) -> Result<Rendered> {
    let table = T::definition();
    let (_, registered) = context.schema.registered(table)?;
    let sql = match registered.find_sql.get() {
        Some(sql) => std::sync::Arc::clone(sql),
        None => {
            let sql = std::sync::Arc::from(context.renderer(Reach::Scope(find.scope)).find(table)?);
            std::sync::Arc::clone(registered.find_sql.get_or_init(|| sql))
        }
    };
    let mut binds = Vec::with_capacity(6);
    if !context.prologue.is_empty() {
        binds.push(Bind::Organization);
    }
    find.binds(&mut binds)?;
    Ok(Rendered { sql: Sql::Shared(sql), binds })
}

impl<S: Sources, A: Send + Sync> Prepared<S, A> {
    /// Reads all rows.
    ///
    /// # Errors
    /// As for [`Select::fetch_all`].
    pub async fn fetch_all<'e>(
        &self,
        scope: &TenantScope,
        arguments: impl Arguments<A>,
        executor: impl Executor<'e>,
    ) -> Result<Vec<S>> {
        let run = executor.lower();
        require_transaction(&run, self.for_update())?;
        run.read_all(
            Actor::Scope(scope),
            self.base(),
            |context| self.rendered(Dialect::Sqlite, context.schema, context.prologue, arguments),
            S::read,
        )
        .await
    }

    /// Reads the first row.
    ///
    /// # Errors
    /// As for [`Select::fetch_all`].
    pub async fn fetch_optional<'e>(
        &self,
        scope: &TenantScope,
        arguments: impl Arguments<A>,
        executor: impl Executor<'e>,
    ) -> Result<Option<S>> {
        let run = executor.lower();
        require_transaction(&run, self.for_update())?;
        run.read_first(
            Actor::Scope(scope),
            self.base(),
            |context| self.rendered(Dialect::Sqlite, context.schema, context.prologue, arguments),
            S::read,
        )
        .await
    }

    /// Reads the first row, which must exist.
    ///
    /// # Errors
    /// `NotFound` where there is none; otherwise as for [`Select::fetch_all`].
    pub async fn fetch_one<'e>(
        &self,
        scope: &TenantScope,
        arguments: impl Arguments<A>,
        executor: impl Executor<'e>,
    ) -> Result<S> {
        self.fetch_optional(scope, arguments, executor)
            .await?
            .ok_or_else(|| Error::row_not_found(self.base().name()))
    }
}

impl<S: Sources, C: Columns<S, I>, I> Projection<'_, S, C, I> {
    /// Reads all rows.
    ///
    /// # Errors
    /// As for [`Select::fetch_all`].
    pub async fn fetch_all<'e>(self, executor: impl Executor<'e>) -> Result<Vec<C::Output>> {
        let run = executor.lower();
        let (scope, ast, columns) = (self.query.scope, self.query.ast, self.columns);
        require_transaction(&run, ast.for_update)?;
        run.read_all(
            Actor::Scope(scope),
            ast.base,
            |context| context.renderer(Reach::Scope(scope)).select(&ast, Output::Columns(&columns)),
            |row| {
                let absent = S::witness(row)?;
                C::read(row, absent, &columns)
            },
        )
        .await
    }

    /// Reads the first row.
    ///
    /// # Errors
    /// As for [`Select::fetch_all`].
    pub async fn fetch_optional<'e>(
        self,
        executor: impl Executor<'e>,
    ) -> Result<Option<C::Output>> {
        let run = executor.lower();
        let (scope, ast, columns) = (self.query.scope, first_of(self.query.ast), self.columns);
        require_transaction(&run, ast.for_update)?;
        run.read_first(
            Actor::Scope(scope),
            ast.base,
            |context| context.renderer(Reach::Scope(scope)).select(&ast, Output::Columns(&columns)),
            |row| {
                let absent = S::witness(row)?;
                C::read(row, absent, &columns)
            },
        )
        .await
    }

    /// Reads the first row, which must exist.
    ///
    /// # Errors
    /// `NotFound` where there is none; otherwise as for [`Select::fetch_all`].
    pub async fn fetch_one<'e>(self, executor: impl Executor<'e>) -> Result<C::Output> {
        let table = self.query.ast.base.name();
        self.fetch_optional(executor).await?.ok_or_else(|| Error::row_not_found(table))
    }
}

impl<O: Send> Aggregated<'_, O> {
    /// Computes the aggregates.
    ///
    /// # Errors
    /// `Invalid` for an integer sum beyond 64 bits; otherwise as for [`Select::fetch_all`].
    pub async fn fetch_one<'e>(self, executor: impl Executor<'e>) -> Result<O> {
        let (scope, ast, aggregates, read) = (self.scope, self.ast, self.aggregates, self.read);
        let tables = ast.all_witnessed();
        let row = executor
            .lower()
            .read_first(
                Actor::Scope(scope),
                ast.base,
                |context| {
                    context
                        .renderer(Reach::Scope(scope))
                        .select(&ast, Output::Aggregates(&aggregates))
                },
                |row| {
                    aggregate_witnesses(row, &tables)?;
                    read(row, &aggregates)
                },
            )
            .await?;
        row.ok_or_else(|| Error::internal("an aggregate returned no row"))
    }
}

impl<S: Sources, G: Send, O: Send> GroupedAggregates<'_, S, G, O> {
    /// Reads all groups, each with its aggregates.
    ///
    /// # Errors
    /// `Invalid` for an integer sum beyond 64 bits; otherwise as for [`Select::fetch_all`].
    pub async fn fetch_all<'e>(self, executor: impl Executor<'e>) -> Result<Vec<(G, O)>> {
        let (scope, ast, aggregates) = (self.scope, self.ast, self.aggregates);
        let (read_group, read) = (self.read_group, self.read);
        let tables = ast.all_witnessed();
        executor
            .lower()
            .read_all(
                Actor::Scope(scope),
                ast.base,
                |context| {
                    context.renderer(Reach::Scope(scope)).select(&ast, Output::Groups(&aggregates))
                },
                |row| {
                    aggregate_witnesses(row, &tables)?;
                    // A group of an absent row is read as its NULL columns.
                    let group = read_group(row, [false; 4], &ast.groups)?;
                    Ok((group, read(row, &aggregates)?))
                },
            )
            .await
    }
}

impl SelectAst {
    fn all_witnessed(&self) -> Vec<&'static TableDefinition> {
        self.tables().filter(|table| table.tenant_column().is_some()).collect()
    }
}

// ---- pages

/// What a page cursor is sealed for.
const CURSOR: &str = "tenantry/cursor/1";

impl<S: Sources> Paged<'_, S> {
    /// Reads the page.
    ///
    /// # Errors
    /// `Invalid` for a page of no rows, and for a cursor that was edited, or made for another
    /// organization or query; `Unconfigured` for a file database without cursor keys; otherwise as
    /// for [`Select::fetch_all`].
    pub async fn fetch<'e>(self, executor: impl Executor<'e>) -> Result<Page<S>> {
        let run = executor.lower();
        let (scope, mut ast) = (self.select.scope, self.select.ast);
        require_transaction(&run, ast.for_update)?;
        if self.rows == 0 {
            return Err(Error::invalid("a page has at least one row"));
        }
        if ast.unordered || ast.limit.is_some() || ast.offset.is_some() {
            return Err(Error::misuse("a page has its own order and limit"));
        }
        // A refused scope learns nothing of its cursor.
        run.database().admit(scope)?;
        let keys = run.database().cursor_keys()?.clone();
        let terms = order_terms(&ast, None)?;
        let columns = page_columns(&ast, &terms)?;
        let schema = run.database().schema();
        let shape = Renderer::new(Dialect::Sqlite, schema, Reach::Scope(scope), "")
            .select(&ast, Output::Rows)?;
        let mut bound_to = scope.organization().encoded().into_bytes();
        bound_to.push(0);
        bound_to.extend_from_slice(shape.sql.as_str().as_bytes());
        if let Some(cursor) = &self.cursor {
            let values = open_cursor(&keys, &bound_to, cursor, columns.len())?;
            let boundary = columns
                .iter()
                .zip(values)
                .map(|((column, descending, _), value)| (*column, *descending, value));
            let after = Predicate::After(boundary.collect());
            crate::query::add_filter(&mut ast.filter, after);
        }
        let wanted = usize::try_from(self.rows).unwrap_or(usize::MAX);
        ast.limit = Some(u64::from(self.rows) + 1);
        let mut last = Vec::new();
        let mut read = 0;
        let mut rows = run
            .read_all(
                Actor::Scope(scope),
                ast.base,
                |context| context.renderer(Reach::Scope(scope)).select(&ast, Output::Rows),
                |row| {
                    let value = S::read(row)?;
                    read += 1;
                    if read == wanted {
                        last =
                            columns.iter().map(|(.., at)| row.cell(*at)).collect::<Result<_>>()?;
                    }
                    Ok(value)
                },
            )
            .await?;
        let next = if rows.len() > wanted {
            rows.truncate(wanted);
            Some(seal_cursor(&keys, &bound_to, &last)?)
        } else {
            None
        };
        Ok(Page { rows, next })
    }
}

/// The columns of an order, with their direction and their place in the row.
fn page_columns(
    ast: &SelectAst,
    terms: &[crate::query::OrderTerm],
) -> Result<Vec<(ColumnRef, bool, usize)>> {
    let tables: Vec<_> = ast.tables().collect();
    terms
        .iter()
        .map(|term| {
            let OrderKey::Column(column) = term.key else {
                return Err(Error::misuse("a page is not ordered by an aggregate"));
            };
            let occurrence = match column.occurrence {
                Some(index) => usize::from(index),
                None => tables.iter().position(|table| table.same(column.table)).unwrap_or(0),
            };
            let before: usize = tables.iter().take(occurrence).map(|table| width(table)).sum();
            let at = before
                + usize::from(column.table.tenant_column().is_some())
                + usize::from(column.position);
            let index = u8::try_from(occurrence).ok();
            Ok((ColumnRef { occurrence: index, ..column }, term.descending, at))
        })
        .collect()
}

fn width(table: &TableDefinition) -> usize {
    table.columns().len() + usize::from(table.tenant_column().is_some())
}

#[derive(serde::Serialize, serde::Deserialize)]
enum CursorValue {
    Null,
    Integer(i64),
    Real(u64),
    Text(String),
    Blob(Vec<u8>),
}

fn seal_cursor(keys: &crate::crypto::KeyRing, bound_to: &[u8], values: &[Value]) -> Result<Cursor> {
    use base64::Engine as _;
    let values: Vec<CursorValue> = values
        .iter()
        .map(|value| match value {
            Value::I64(value) => CursorValue::Integer(*value),
            Value::F64(value) => CursorValue::Real(value.to_bits()),
            Value::Text(value) => CursorValue::Text(value.to_string()),
            Value::Bytes(value) => CursorValue::Blob(value.clone()),
            _ => CursorValue::Null,
        })
        .collect();
    let text =
        serde_json::to_vec(&values).map_err(|_| Error::internal("a cursor has no text form"))?;
    let sealed = keys.seal(CURSOR, bound_to, &text).map_err(|error| match error.kind() {
        crate::ErrorKind::Invalid => {
            Error::invalid("the order columns of a page hold more than 64 KiB")
        }
        _ => error,
    })?;
    Ok(Cursor(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(sealed)))
}

fn open_cursor(
    keys: &crate::crypto::KeyRing,
    bound_to: &[u8],
    cursor: &Cursor,
    columns: usize,
) -> Result<Vec<Value>> {
    use base64::Engine as _;
    let values = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(&cursor.0)
        .ok()
        .and_then(|sealed| keys.open(CURSOR, bound_to, &sealed).ok())
        .and_then(|text| serde_json::from_slice::<Vec<CursorValue>>(&text).ok())
        .filter(|values| values.len() == columns)
        .ok_or_else(|| Error::invalid("the cursor does not belong to this page"))?;
    Ok(values
        .into_iter()
        .map(|value| match value {
            CursorValue::Null => Value::Null,
            CursorValue::Integer(value) => Value::I64(value),
            CursorValue::Real(bits) => Value::F64(f64::from_bits(bits)),
            CursorValue::Text(text) => Value::Text(text.into()),
            CursorValue::Blob(bytes) => Value::Bytes(bytes),
        })
        .collect())
}

// ---- writes

const fn no_rows(_: &mut RowReader<'_>) -> Result<()> {
    Ok(())
}

impl<T: TenantTable> Insert<'_, T> {
    /// Inserts the rows; answers how many were inserted or updated.
    ///
    /// # Errors
    /// `Conflict` for a key or unique values that this organization has already, `NotFound` for a
    /// reference to a row that this organization does not have (the error names the column),
    /// `Invalid` for values that the store cannot hold and for a batch without rows; a batch's
    /// error names the index of the row. Otherwise as for [`Select::fetch_all`].
    ///
    /// # Cancellation
    /// Dropped half-way, all rows went in or none.
    pub async fn execute<'e>(self, executor: impl Executor<'e>) -> Result<u64> {
        let run = executor.lower();
        let (affected, _) =
            run.insert(Actor::Scope(self.scope), T::definition(), self.ast, false, no_rows).await?;
        Ok(affected)
    }
}

impl<T: TenantTable> Returning<Insert<'_, T>> {
    /// Inserts the rows and reads them as stored, in the order of their keys. A row that
    /// `do_nothing` kept is not among them.
    ///
    /// # Errors
    /// As for [`Insert::execute`].
    pub async fn fetch_all<'e>(self, executor: impl Executor<'e>) -> Result<Vec<T>> {
        let Insert { scope, ast, .. } = self.statement;
        let run = executor.lower();
        let (_, rows) =
            run.insert(Actor::Scope(scope), T::definition(), ast, true, keyed::<T>).await?;
        Ok(by_key(rows))
    }

    /// Inserts a row and reads it as stored; `None` where `do_nothing` kept another.
    ///
    /// # Errors
    /// As for [`Insert::execute`].
    pub async fn fetch_optional<'e>(self, executor: impl Executor<'e>) -> Result<Option<T>> {
        Ok(self.fetch_all(executor).await?.into_iter().next())
    }

    /// Inserts a row and reads it as stored.
    ///
    /// # Errors
    /// `NotFound` where `do_nothing` kept another row; otherwise as for [`Insert::execute`].
    pub async fn fetch_one<'e>(self, executor: impl Executor<'e>) -> Result<T> {
        self.fetch_optional(executor)
            .await?
            .ok_or_else(|| Error::row_not_found(T::definition().name()))
    }
}

/// A returned row with its key, because stores return rows in the order in which they found them.
fn keyed<T: Table>(row: &mut RowReader<'_>) -> Result<(Vec<Value>, T)> {
    let value = <T as Sources>::read(row)?;
    let table = T::definition();
    let first = usize::from(table.tenant_column().is_some());
    let key =
        table.key_positions().map(|at| row.cell(first + usize::from(at))).collect::<Result<_>>()?;
    Ok((key, value))
}

fn by_key<T>(mut rows: Vec<(Vec<Value>, T)>) -> Vec<T> {
    rows.sort_by(|(a, _), (b, _)| {
        a.iter()
            .zip(b)
            .map(|(a, b)| a.key_order(b))
            .find(|order| order.is_ne())
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    rows.into_iter().map(|(_, row)| row).collect()
}

pub(crate) async fn update<T: Table, O: Send>(
    run: Run<'_>,
    actor: Actor<'_>,
    ast: &UpdateAst,
    returning: bool,
    decode: impl FnMut(&mut RowReader<'_>) -> Result<O> + Send,
) -> Result<(u64, Vec<O>)> {
    let table = T::definition();
    run.write(
        actor,
        table,
        Written::Set(table, &ast.set),
        |context| {
            context.renderer(actor.reach()).update(table, &ast.set, ast.filter.as_ref(), returning)
        },
        decode,
    )
    .await
}

pub(crate) async fn delete<T: Table, O: Send>(
    run: Run<'_>,
    actor: Actor<'_>,
    filter: Option<&Predicate>,
    returning: bool,
    decode: impl FnMut(&mut RowReader<'_>) -> Result<O> + Send,
) -> Result<(u64, Vec<O>)> {
    let table = T::definition();
    run.write(
        actor,
        table,
        Written::Deleted,
        |context| context.renderer(actor.reach()).delete(table, filter, returning),
        decode,
    )
    .await
}

impl<T: TenantTable, R: NamesRows> Update<'_, T, R> {
    /// Updates the rows; answers how many there were.
    ///
    /// # Errors
    /// `Conflict` where the new values are taken in this organization or a row is referred to,
    /// `NotFound` for a reference to a row that this organization does not have, `Invalid` for
    /// values that the store cannot hold. Otherwise as for [`Select::fetch_all`].
    ///
    /// # Cancellation
    /// Dropped half-way, all rows were updated or none.
    pub async fn execute<'e>(self, executor: impl Executor<'e>) -> Result<u64> {
        let actor = Actor::Scope(self.scope);
        update::<T, _>(executor.lower(), actor, &self.ast, false, no_rows)
            .await
            .map(|(rows, _)| rows)
    }
}

impl<T: TenantTable, R: NamesRows> Returning<Update<'_, T, R>> {
    /// Updates the rows and reads them as updated, in the order of their keys.
    ///
    /// # Errors
    /// As for [`Update::execute`].
    pub async fn fetch_all<'e>(self, executor: impl Executor<'e>) -> Result<Vec<T>> {
        let statement = self.statement;
        let actor = Actor::Scope(statement.scope);
        let (_, rows) =
            update::<T, _>(executor.lower(), actor, &statement.ast, true, keyed::<T>).await?;
        Ok(by_key(rows))
    }
}

impl<T: TenantTable, R: NamesRows> Delete<'_, T, R> {
    /// Deletes the rows; answers how many there were.
    ///
    /// # Errors
    /// `Conflict` for a row that others refer to. Otherwise as for [`Select::fetch_all`].
    ///
    /// # Cancellation
    /// Dropped half-way, all rows were deleted or none.
    pub async fn execute<'e>(self, executor: impl Executor<'e>) -> Result<u64> {
        let actor = Actor::Scope(self.scope);
        delete::<T, _>(executor.lower(), actor, self.filter.as_ref(), false, no_rows)
            .await
            .map(|(rows, _)| rows)
    }
}

impl<T: TenantTable, R: NamesRows> Returning<Delete<'_, T, R>> {
    /// Deletes the rows and reads what they were, in the order of their keys.
    ///
    /// # Errors
    /// As for [`Delete::execute`].
    pub async fn fetch_all<'e>(self, executor: impl Executor<'e>) -> Result<Vec<T>> {
        let statement = self.statement;
        let actor = Actor::Scope(statement.scope);
        let (_, rows) =
            delete::<T, _>(executor.lower(), actor, statement.filter.as_ref(), true, keyed::<T>)
                .await?;
        Ok(by_key(rows))
    }
}

impl<T: TenantTable, A: Send + Sync> PreparedUpdate<T, A> {
    /// Updates the rows; answers how many there were.
    ///
    /// # Errors
    /// As for [`Update::execute`].
    pub async fn execute<'e>(
        &self,
        scope: &TenantScope,
        arguments: impl Arguments<A>,
        executor: impl Executor<'e>,
    ) -> Result<u64> {
        let table = T::definition();
        let (affected, _) = executor
            .lower()
            .write(
                Actor::Scope(scope),
                table,
                Written::Set(table, &self.ast().set),
                |context| {
                    self.rendered(Dialect::Sqlite, context.schema, context.prologue, arguments)
                },
                no_rows,
            )
            .await?;
        Ok(affected)
    }
}

// ---- building alone, for benchmarks

/// Renders and binds a statement exactly as a run does, and lets it go.
fn built(rendered: Rendered, scope: &TenantScope) -> Result<usize> {
    let count = rendered.binds.len();
    let bound = sqlite::bind(rendered.sql, &rendered.binds, Some(scope.organization()))?;
    drop(std::hint::black_box(bound));
    Ok(count)
}

macro_rules! bench_build {
    ($([$($generics:tt)*] $statement:ty, $context:ident, |$this:ident, $ctx:ident| $render:expr;)*) => {$(
        impl<$($generics)*> $statement {
            /// Builds the statement with its bound values, for benchmarks.
            #[doc(hidden)]
            pub fn bench_build(self, db: &Database) -> Result<usize> {
                let $this = self;
                db.admit($this.scope)?;
                let run = Run::Database(db);
                let $ctx = run.$context(Actor::Scope($this.scope));
                built($render?, $this.scope)
            }
        }
    )*};
}

bench_build! {
    [S: Sources] Select<'_, S>, read_context, |this, context|
        context.renderer(Reach::Scope(this.scope)).select(&this.ast, Output::Rows);
    [T: Table] Find<'_, T>, read_context, |this, context| find(context, &this);
    [T: TenantTable, R] Update<'_, T, R>, write_context, |this, context| context
        .renderer(Reach::Scope(this.scope))
        .update(T::definition(), &this.ast.set, this.ast.filter.as_ref(), false);
}

impl<T: TenantTable> Insert<'_, T> {
    /// Builds the statement with its bound values, for benchmarks.
    #[doc(hidden)]
    pub fn bench_build(self, db: &Database) -> Result<usize> {
        db.admit(self.scope)?;
        let actor = Actor::Scope(self.scope);
        let context = Run::Database(db).write_context(actor);
        let batch = Batch { table: T::definition(), ast: &self.ast, actor, returning: false };
        drop(std::hint::black_box(batch.bound(db, context, 0, self.ast.rows)?));
        Ok(self.ast.values.len())
    }
}

impl<S: Sources, A> Prepared<S, A> {
    /// Builds the statement with its bound values, for benchmarks.
    #[doc(hidden)]
    pub fn bench_build(
        &self,
        scope: &TenantScope,
        arguments: impl Arguments<A>,
        db: &Database,
    ) -> Result<usize> {
        db.admit(scope)?;
        let run = Run::Database(db);
        let context = run.read_context(Actor::Scope(scope));
        built(self.rendered(Dialect::Sqlite, context.schema, context.prologue, arguments)?, scope)
    }
}

impl<T: TenantTable, A> PreparedUpdate<T, A> {
    /// Builds the statement with its bound values, for benchmarks.
    #[doc(hidden)]
    pub fn bench_build(
        &self,
        scope: &TenantScope,
        arguments: impl Arguments<A>,
        db: &Database,
    ) -> Result<usize> {
        db.admit(scope)?;
        let run = Run::Database(db);
        let context = run.write_context(Actor::Scope(scope));
        built(self.rendered(Dialect::Sqlite, context.schema, context.prologue, arguments)?, scope)
    }
}
