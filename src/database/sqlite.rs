//! SQLite through sqlx: one writing connection, many reading ones, and the second wall.

use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_core::stream::BoxStream;
use futures_util::TryStreamExt as _;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{
    Arguments as _, ConnectOptions as _, Connection as _, Either, Executor as _, Row as _, SqlStr,
    Sqlite,
};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::doctor::{Acceptance, Examination};
use super::fault::{self, Fault, Faulty};
use super::raw;
use super::statement::Given;
use super::store::Purpose;
use crate::credential::SqlCredentialStore;
use crate::error::{Error, Result};
use crate::id::{OrganizationId, OrganizationKey};
use crate::table::{Dialect, Schema, StoreRow, TableDefinition, Value};

/// The organization of the statement that runs, compared with every row by the second wall.
const SCOPE_TABLE: &str = r#"CREATE TEMP TABLE IF NOT EXISTS "tenantry_scope" ("organization")"#;
const SCOPE_ROW: &str = r#"INSERT INTO temp."tenantry_scope" ("organization") SELECT NULL WHERE NOT EXISTS (SELECT 1 FROM temp."tenantry_scope")"#;
pub(crate) const SET_SCOPE: &str = r#"UPDATE temp."tenantry_scope" SET "organization" = ?; "#;

/// Texts that the second wall raises; [`fault`] knows them.
pub(crate) const WALL: &str = "tenantry: a row of another organization";

const BEGIN: &str = "BEGIN IMMEDIATE";
const BEGIN_IN_SCOPE: &str =
    r#"BEGIN IMMEDIATE; UPDATE temp."tenantry_scope" SET "organization" = ?"#;

/// The writing connection.
#[derive(Debug)]
struct Writer {
    connection: SqliteConnection,
    /// A transaction may be open that nobody will end.
    abandoned: bool,
}

/// Whoever holds the guard is the only writer of this Database.
///
/// A guard that is dropped with a transaction open rolls it back: at once in the background, or
/// before the next writer begins where no runtime is left.
pub(crate) struct WriterGuard {
    guard: OwnedMutexGuard<Writer>,
    open: bool,
    writer: Arc<Mutex<Writer>>,
}

#[derive(Debug)]
pub(crate) struct SqliteStore {
    writer: Arc<Mutex<Writer>>,
    /// None for an in-memory database, which lives in its one connection.
    readers: Option<SqlitePool>,
    /// How a connection is made.
    options: Box<SqliteConnectOptions>,
    acquire_timeout: Duration,
    closed: AtomicBool,
    /// Whether the file is to have a write-ahead log.
    log_ahead: bool,
    /// Whether the second wall's triggers are on.
    pub(crate) write_wall: bool,
    /// Whether the second wall's shadow views are on.
    pub(crate) read_wall: bool,
}

/// How a store is opened.
#[derive(Debug, Clone)]
pub(crate) struct SqliteSettings {
    pub(crate) readers: u32,
    pub(crate) acquire_timeout: Duration,
    pub(crate) busy_timeout: Duration,
    pub(crate) page_cache_kib: u32,
    pub(crate) row_buffer: usize,
    pub(crate) durable: bool,
    pub(crate) write_wall: bool,
    pub(crate) read_wall: bool,
}

/// A connection that runs statements.
pub(crate) enum Session {
    Reader(PoolConnection<Sqlite>),
    Writer(WriterGuard),
}

impl Session {
    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        match self {
            Self::Reader(connection) => connection,
            Self::Writer(guard) => guard.connection(),
        }
    }

    /// Lets the connection go. One whose statement was given up goes on with it in its thread, so
    /// nobody else gets it.
    pub(crate) fn release<T>(&mut self, outcome: &Faulty<T>) {
        if let (Self::Reader(connection), Err(Fault::Slow)) = (self, outcome) {
            connection.close_on_drop();
        }
    }

    pub(crate) async fn commit(&mut self) -> Result<()> {
        match self {
            Self::Writer(writer) if writer.open => {
                run_static(writer.connection(), "COMMIT").await?;
                writer.open = false;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Rolls back; a transaction that the store has rolled back already is as good.
    pub(crate) async fn rollback(&mut self) -> Result<()> {
        match self {
            Self::Writer(writer) if writer.open => {
                let rolled_back = writer.connection().execute(sqlx::raw_sql("ROLLBACK")).await;
                settle(rolled_back.map(drop))?;
                writer.open = false;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl WriterGuard {
    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.guard.connection
    }
}

impl Drop for WriterGuard {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        self.guard.abandoned = true;
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let writer = Arc::clone(&self.writer);
            runtime.spawn(async move {
                let mut guard = writer.lock_owned().await;
                // Whether or not this succeeds, the next writer looks again.
                let _ = guard.recover().await;
            });
        }
    }
}

impl Writer {
    /// Ends a transaction that was abandoned.
    async fn recover(&mut self) -> Result<()> {
        if self.abandoned {
            let rolled_back = self.connection.execute(sqlx::raw_sql("ROLLBACK")).await;
            settle(rolled_back.map(drop))?;
            self.abandoned = false;
        }
        Ok(())
    }
}

/// A rollback succeeds too where the store has rolled back already.
fn settle(rolled_back: sqlx::Result<()>) -> Result<()> {
    match rolled_back.map_err(|error| fault::reduce(&error)) {
        Ok(()) => Ok(()),
        Err(Fault::Internal(source)) if source.is_plain_error() => Ok(()),
        Err(fault) => Err(fault.into_error(None)),
    }
}

/// Binds a value.
#[inline]
pub(super) fn add(arguments: &mut SqliteArguments, given: Given<'_>) -> Result<()> {
    let added = match given {
        Given::Organization(organization) => match organization.key() {
            // A vector is taken over; a slice would be copied without its length being known.
            OrganizationKey::Uuid(id) => arguments.add(id.as_bytes().to_vec()),
            OrganizationKey::Integer(id) => arguments.add(id),
            OrganizationKey::Text(id) => arguments.add(Arc::clone(id)),
        },
        Given::Value(value) => match value {
            Value::Null => arguments.add(None::<i64>),
            Value::Bool(value) => arguments.add(i64::from(value)),
            Value::Bytes(value) => arguments.add(value),
            Value::Sealed(sealed) => arguments.add(sealed.0),
            Value::Date(value) | Value::I32(value) => arguments.add(i64::from(value)),
            Value::Decimal(value, _) | Value::I64(value) | Value::Timestamp(value) => {
                arguments.add(value)
            }
            Value::F64(value) => arguments.add(value),
            Value::I16(value) => arguments.add(i64::from(value)),
            Value::Json(value) | Value::Text(value) => arguments.add(value),
            Value::Uuid(value) => arguments.add(value.as_bytes().to_vec()),
            Value::Refused(reason) => return Err(Error::invalid(reason)),
        },
    };
    added.map_err(|_| Error::internal("a value could not be bound"))
}

impl SqliteStore {
    /// Opens the database; a file that does not exist is created unless the URL has a `mode`.
    pub(crate) async fn open(
        url: &str,
        settings: &SqliteSettings,
        schema: &Schema,
    ) -> Result<Self> {
        let memory = is_memory(url);
        let read_only = url.split_once('?').is_some_and(|(_, query)| {
            query
                .split('&')
                .any(|pair| pair == "mode=ro" || pair == "immutable=1" || pair == "immutable=true")
        });
        let guarded = SqlCredentialStore::is_in(schema);
        let has_mode = url.split_once('?').is_some_and(|(_, query)| query.contains("mode="));
        let mut options = SqliteConnectOptions::from_str(url)
            .map_err(|_| Error::unconfigured("the database URL is not a SQLite URL"))?
            .foreign_keys(true)
            .busy_timeout(settings.busy_timeout)
            .synchronous(if settings.durable || guarded {
                SqliteSynchronous::Full
            } else {
                SqliteSynchronous::Normal
            })
            .statement_cache_capacity(512)
            .row_buffer_size(settings.row_buffer)
            .pragma("trusted_schema", "OFF")
            .pragma("cell_size_check", "ON")
            .pragma("recursive_triggers", "ON")
            .pragma("case_sensitive_like", "ON")
            .pragma("temp_store", "MEMORY")
            .pragma("cache_size", format!("-{}", settings.page_cache_kib))
            .disable_statement_logging();
        if guarded {
            // A wrapped key that is destroyed is overwritten, wherever it lay.
            options = options.pragma("secure_delete", "ON");
        }
        if !memory && !has_mode {
            options = options.create_if_missing(true);
        }
        let mut connection = SqliteConnection::connect_with(&options)
            .await
            .map_err(|error| fault::opening(&error))?;
        run_static(&mut connection, SCOPE_TABLE).await?;
        run_static(&mut connection, SCOPE_ROW).await?;
        let readers = if memory {
            None
        } else {
            let views: Arc<[String]> =
                if settings.read_wall { shadow_views(schema).into() } else { Arc::default() };
            Some(
                SqlitePoolOptions::new()
                    .max_connections(settings.readers)
                    .acquire_timeout(settings.acquire_timeout)
                    .test_before_acquire(false)
                    .idle_timeout(None)
                    .max_lifetime(None)
                    .after_connect(move |connection, _| {
                        let views = Arc::clone(&views);
                        Box::pin(async move {
                            if !views.is_empty() {
                                connection.execute(SCOPE_TABLE).await?;
                                connection.execute(SCOPE_ROW).await?;
                            }
                            for view in views.iter() {
                                connection.execute(raw::own(view.as_str())).await?;
                            }
                            Ok(())
                        })
                    })
                    .connect_lazy_with(options.clone().read_only(true).create_if_missing(false)),
            )
        };
        Ok(Self {
            writer: Arc::new(Mutex::new(Writer { connection, abandoned: false })),
            readers,
            options: Box::new(options),
            acquire_timeout: settings.acquire_timeout,
            closed: AtomicBool::new(false),
            log_ahead: !memory && !read_only,
            write_wall: settings.write_wall,
            read_wall: settings.read_wall,
        })
    }

    pub(crate) async fn write(&self) -> Result<WriterGuard> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Fault::Closed.into_error(None));
        }
        let waiting = Arc::clone(&self.writer).lock_owned();
        let mut guard = match Arc::clone(&self.writer).try_lock_owned() {
            Ok(guard) => guard,
            Err(_) => tokio::time::timeout(self.acquire_timeout, waiting).await.map_err(|_| {
                Error::unavailable(
                    "the writing connection stayed busy: another transaction is long, or this task holds a Transaction and also uses the Database",
                )
            })?,
        };
        guard.recover().await?;
        Ok(WriterGuard { guard, open: false, writer: Arc::clone(&self.writer) })
    }

    /// Empties the write-ahead log, which holds what pages were before: `false` where somebody reads
    /// what it holds, or writes. Nobody is waited for, and nobody waits.
    pub(crate) async fn empty_log(&self) -> Result<bool> {
        if !self.log_ahead {
            return Ok(true);
        }
        let Ok(_writer) = Arc::clone(&self.writer).try_lock_owned() else { return Ok(false) };
        let options = SqliteConnectOptions::clone(&self.options).busy_timeout(Duration::ZERO);
        let failed = |error| fault::reduce(&error).into_error(None);
        let mut connection = SqliteConnection::connect_with(&options).await.map_err(failed)?;
        let checkpoint = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut connection);
        let emptied = checkpoint.await.and_then(|row| row.try_get::<i64, _>(0));
        connection.close().await.map_err(failed)?;
        emptied.map(|busy| busy == 0).map_err(failed)
    }

    /// A connection that reads; `exclusive` where the shadow views must not apply.
    pub(crate) async fn read(&self, exclusive: bool) -> Result<Session> {
        match &self.readers {
            Some(pool) if !exclusive => {
                let connection =
                    pool.acquire().await.map_err(|error| fault::reduce(&error).into_error(None))?;
                Ok(Session::Reader(connection))
            }
            _ => self.write().await.map(Session::Writer),
        }
    }

    /// What a statement outside a transaction begins with: the shadow views of readers and the
    /// write triggers are told whose rows it touches.
    pub(crate) const fn prologue(&self, purpose: Purpose) -> &'static str {
        let walled = match purpose {
            Purpose::Read | Purpose::Stream => self.read_wall && self.readers.is_some(),
            Purpose::Write => self.write_wall,
            // The session's begin says it.
            Purpose::Batch | Purpose::Transaction => false,
        };
        if walled { SET_SCOPE } else { "" }
    }

    /// A session for one organization, or for cross-tenant work, which no shadow view may touch.
    pub(crate) async fn session(
        &self,
        organization: Option<&OrganizationId>,
        purpose: Purpose,
    ) -> Result<Session> {
        match purpose {
            Purpose::Read | Purpose::Stream => {
                self.read(organization.is_none() && self.read_wall).await
            }
            Purpose::Write => self.write().await.map(Session::Writer),
            Purpose::Batch | Purpose::Transaction => {
                let mut writer = self.write().await?;
                begin(&mut writer, organization.filter(|_| self.write_wall)).await?;
                Ok(Session::Writer(writer))
            }
        }
    }

    pub(crate) async fn create_tables(&self, schema: &Schema) -> Result<()> {
        let statements = schema.ddl(Dialect::Sqlite)?;
        let mut writer = self.write().await?;
        for statement in statements {
            run_ddl(writer.connection(), statement).await?;
        }
        Ok(())
    }

    pub(crate) async fn examine(
        &self,
        schema: &Schema,
        accepted: &[Acceptance],
        deep: bool,
    ) -> Result<Examination> {
        let mut writer = self.write().await?;
        super::doctor::examine(writer.connection(), schema, accepted, deep).await
    }

    pub(crate) async fn ping(&self) -> Result<()> {
        let mut reader = self.read(false).await?;
        let answered = reader.connection().ping().await;
        answered.map_err(|error| fault::reduce(&error).into_error(None))
    }

    pub(crate) async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        if let Some(readers) = &self.readers {
            readers.close().await;
        }
    }

    /// Gives the file its write-ahead log. The mode is written into the file, so this comes after
    /// the doctor: a file that is refused stays as it was.
    pub(crate) async fn log_ahead(&self) -> Result<()> {
        if self.log_ahead {
            run_static(self.write().await?.connection(), "PRAGMA journal_mode = WAL").await?;
        }
        Ok(())
    }

    /// Puts the second wall onto the writing connection, for the tables that exist.
    pub(crate) async fn raise_wall(
        &self,
        schema: &Schema,
        absent: &[&'static TableDefinition],
    ) -> Result<()> {
        if !self.write_wall {
            return Ok(());
        }
        let mut writer = self.write().await?;
        for table in schema.tables() {
            if absent.iter().any(|missing| missing.same(table)) {
                continue;
            }
            for trigger in wall_triggers(table) {
                run_ddl(writer.connection(), trigger).await?;
            }
        }
        Ok(())
    }
}

/// Whether the URL names a private in-memory database.
pub(crate) fn is_memory(url: &str) -> bool {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let path = path.trim_start_matches("sqlite:").trim_start_matches("//");
    path == ":memory:" || query.split('&').any(|pair| pair == "mode=memory")
}

/// Triggers that compare every touched row with the scope set for the write.
fn wall_triggers(table: &'static TableDefinition) -> Vec<String> {
    let Some(tenant) = table.tenant_column() else { return Vec::new() };
    let name = table.name();
    let scope = r#"(SELECT "organization" FROM temp."tenantry_scope")"#;
    [
        ("insert", "INSERT", format!(r#"NEW."{tenant}" IS NOT {scope}"#)),
        (
            "update",
            "UPDATE",
            format!(r#"OLD."{tenant}" IS NOT {scope} OR NEW."{tenant}" IS NOT {scope}"#),
        ),
        ("delete", "DELETE", format!(r#"OLD."{tenant}" IS NOT {scope}"#)),
    ]
    .into_iter()
    .map(|(suffix, verb, condition)| {
        format!(
            r#"CREATE TEMP TRIGGER IF NOT EXISTS "tenantry_wall_{suffix}_{name}" BEFORE {verb} ON main."{name}" FOR EACH ROW WHEN {condition} BEGIN SELECT RAISE(ABORT, '{WALL}'); END"#
        )
    })
    .collect()
}

/// Views of a reading connection that hide every other organization's rows.
fn shadow_views(schema: &Schema) -> Vec<String> {
    schema
        .tables()
        .filter_map(|table| {
            let tenant = table.tenant_column()?;
            let name = table.name();
            Some(format!(
                r#"CREATE TEMP VIEW IF NOT EXISTS "{name}" AS SELECT * FROM main."{name}" WHERE "{tenant}" = (SELECT "organization" FROM temp."tenantry_scope")"#
            ))
        })
        .collect()
}

async fn run_static(connection: &mut SqliteConnection, sql: &'static str) -> Result<()> {
    connection
        .execute(sqlx::raw_sql(sql))
        .await
        .map(drop)
        .map_err(|error| fault::reduce(&error).into_error(None))
}

/// Runs DDL rendered from declarations.
pub(crate) async fn run_ddl(connection: &mut SqliteConnection, sql: String) -> Result<()> {
    connection
        .execute(sqlx::raw_sql(raw::own(sql)))
        .await
        .map(drop)
        .map_err(|error| fault::reduce(&error).into_error(None))
}

pub(super) type Query = sqlx::query::Query<'static, Sqlite, SqliteArguments>;

pub(super) fn query(sql: SqlStr, arguments: SqliteArguments) -> Query {
    sqlx::query_with(sql, arguments)
}

/// Runs a statement and hands over each row; answers the rows affected by its last part.
pub(crate) async fn run(
    connection: &mut SqliteConnection,
    query: Query,
    mut each: impl FnMut(StoreRow) -> Result<()> + Send,
) -> Faulty<u64> {
    let mut affected = 0;
    let mut rows = connection.fetch_many(query);
    while let Some(step) = rows.try_next().await.map_err(|error| fault::reduce(&error))? {
        match step {
            Either::Left(done) => affected = done.rows_affected(),
            Either::Right(row) => each(StoreRow::Sqlite(row)).map_err(Fault::Decode)?,
        }
    }
    Ok(affected)
}

/// Reads the first row and lets the statement go.
pub(crate) async fn first(
    connection: &mut SqliteConnection,
    query: Query,
) -> Faulty<Option<StoreRow>> {
    let row = connection.fetch_optional(query).await.map_err(|error| fault::reduce(&error))?;
    Ok(row.map(StoreRow::Sqlite))
}

/// The rows of a statement as a stream.
pub(crate) fn stream(
    connection: &mut SqliteConnection,
    query: Query,
) -> BoxStream<'_, Faulty<StoreRow>> {
    Box::pin(
        connection.fetch(query).map_ok(StoreRow::Sqlite).map_err(|error| fault::reduce(&error)),
    )
}

/// Begins a transaction and says whose rows it touches, in one crossing to the store's thread.
pub(crate) async fn begin(
    writer: &mut WriterGuard,
    organization: Option<&OrganizationId>,
) -> Result<()> {
    writer.open = true;
    let mut arguments = SqliteArguments::default();
    let sql = match organization {
        Some(organization) => {
            add(&mut arguments, Given::Organization(organization))?;
            BEGIN_IN_SCOPE
        }
        None => BEGIN,
    };
    run(writer.connection(), sqlx::query_with(sql, arguments), |_| Ok(()))
        .await
        .map(drop)
        .map_err(|fault| fault.into_error(None))
}
