//! Settings of a Database.

use std::borrow::Cow;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock, RwLock};
use std::time::Duration;

use quick_cache::sync::Cache;

use super::doctor::Acceptance;
#[cfg(feature = "postgres")]
use super::postgres::{PostgresSettings, PostgresStore, Secret};
#[cfg(feature = "sqlite")]
use super::sqlite::{self, SqliteSettings, SqliteStore};
use super::store::Store;
use super::{Database, Inner, Settings};
use crate::audit::{AuditSink, Auditor, TracingSink};
use crate::clock::SystemClock;
use crate::crypto::KeyRing;
use crate::error::{Error, Result};
use crate::scope::ScopeIssuer;
use crate::table::Schema;

/// Shapes whose second opinion is remembered.
const JUDGED_SHAPES: usize = 4_096;

/// How a [`Database`] is opened.
#[derive(Debug)]
#[must_use = "a builder does nothing until `.connect(url, schema).await?`"]
pub struct DatabaseBuilder {
    issuer: Option<ScopeIssuer>,
    audit: Option<Arc<dyn AuditSink>>,
    cursor_keys: Option<KeyRing>,
    accepted: Vec<Acceptance>,
    settings: Settings,
    #[cfg(feature = "postgres")]
    postgres: PostgresSettings,
    #[cfg(feature = "sqlite")]
    sqlite: SqliteSettings,
}

impl DatabaseBuilder {
    pub(super) fn new() -> Self {
        Self {
            issuer: None,
            audit: None,
            cursor_keys: None,
            accepted: Vec::new(),
            settings: Settings {
                paranoid: false,
                cross_tenant: false,
                transaction_max_age: Duration::from_secs(300),
                statement_timeout: Some(Duration::from_secs(60)),
            },
            #[cfg(feature = "postgres")]
            postgres: PostgresSettings {
                connections: 10,
                acquire_timeout: Duration::from_secs(30),
                prepared: None,
                owner: None,
                across: None,
            },
            #[cfg(feature = "sqlite")]
            sqlite: SqliteSettings {
                readers: 4,
                acquire_timeout: Duration::from_secs(30),
                busy_timeout: Duration::from_secs(5),
                page_cache_kib: 16 * 1024,
                row_buffer: 64,
                durable: false,
                write_wall: true,
                read_wall: false,
            },
        }
    }

    /// Serves the scopes of this issuer alone.
    pub fn issuer(mut self, issuer: &ScopeIssuer) -> Self {
        self.issuer = Some(issuer.clone());
        self
    }

    /// Where incidents and cross-tenant reads are written down; without it, the sink of the
    /// issuer, or tracing where there is none.
    pub fn audit(mut self, sink: impl AuditSink) -> Self {
        self.audit = Some(Arc::new(sink));
        self
    }

    /// Accepts a [`CrossTenantAuthority`](crate::ambient::CrossTenantAuthority) for statements
    /// that read or write beyond one organization.
    pub const fn allow_cross_tenant(mut self) -> Self {
        self.settings.cross_tenant = true;
        self
    }

    /// The keys that seal page cursors. Without them a file database has none and pages are
    /// `Unconfigured`; an in-memory one makes a random key.
    pub fn cursor_keys(mut self, keys: KeyRing) -> Self {
        self.cursor_keys = Some(keys);
        self
    }

    /// Accepts a doctor's finding by its code and object.
    pub fn accept(
        mut self,
        code: impl Into<Cow<'static, str>>,
        object: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.accepted.push(Acceptance::new(code, object));
        self
    }

    /// How many connections a PostgreSQL pool holds at most; 10 without it. The cross-tenant role's
    /// pool is another of this size.
    #[cfg(feature = "postgres")]
    pub const fn connections(mut self, connections: u32) -> Self {
        self.postgres.connections = if connections == 0 { 1 } else { connections };
        self
    }

    /// The URL of the PostgreSQL role that owns the tables. `create_tables` connects with it, and
    /// nothing else does.
    ///
    /// # Security
    /// The owner can drop the policies. A process that never runs `create_tables` does not need
    /// this URL and is safer without it.
    #[cfg(feature = "postgres")]
    pub fn owner_url(mut self, url: &str) -> Self {
        self.postgres.owner = Some(Secret::new(url));
        self
    }

    /// The URL of the PostgreSQL role that reads every organization's rows and writes global
    /// tables. Cross-tenant work runs on a pool of its own with it, and is `Unconfigured` without.
    ///
    /// # Security
    /// The application's own role stays bound to one organization in every transaction, whether
    /// or not this URL is given.
    #[cfg(feature = "postgres")]
    pub fn cross_tenant_url(mut self, url: &str) -> Self {
        self.postgres.across = Some(Secret::new(url));
        self
    }

    /// Whether statements stay prepared on a PostgreSQL server. Without it they do, unless the
    /// Database is seen to be opened through a pooler.
    ///
    /// On, behind a pooler that follows prepared statements: PgBouncer from 1.21 on, with
    /// `max_prepared_statements`. Off, behind any other that lends connections by transaction: one
    /// client would run what another has prepared, in the right organization and the wrong words.
    /// A statement then takes one round trip more.
    #[cfg(feature = "postgres")]
    pub const fn prepared_statements(mut self, on: bool) -> Self {
        self.postgres.prepared = Some(on);
        self
    }

    /// How many connections read at a time; 4 without it.
    #[cfg(feature = "sqlite")]
    pub const fn read_connections(mut self, connections: u32) -> Self {
        self.sqlite.readers = if connections == 0 { 1 } else { connections };
        self
    }

    /// How long a statement waits for a connection; 30 seconds without it.
    pub const fn acquire_timeout(mut self, timeout: Duration) -> Self {
        #[cfg(feature = "postgres")]
        {
            self.postgres.acquire_timeout = timeout;
        }
        #[cfg(feature = "sqlite")]
        {
            self.sqlite.acquire_timeout = timeout;
        }
        self
    }

    /// How long SQLite waits for a lock that another process holds; 5 seconds without it.
    #[cfg(feature = "sqlite")]
    pub const fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.sqlite.busy_timeout = timeout;
        self
    }

    /// How long one statement may take; 60 seconds without it, `None` for no limit.
    ///
    /// On SQLite it holds for reads. On PostgreSQL the server stops reads and writes alike, and
    /// rolls back what they did. A stream outside a transaction has no limit.
    pub const fn statement_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.settings.statement_timeout = timeout;
        self
    }

    /// How old a transaction may become; 5 minutes without it.
    pub const fn transaction_max_age(mut self, age: Duration) -> Self {
        self.settings.transaction_max_age = age;
        self
    }

    /// Page cache of each connection, in KiB; 16 MiB without it.
    #[cfg(feature = "sqlite")]
    pub const fn page_cache_kib(mut self, kib: u32) -> Self {
        self.sqlite.page_cache_kib = kib;
        self
    }

    /// Whether every commit waits for the disk (`synchronous=FULL`); off without it, unless the
    /// schema has the tables of [`SqlCredentialStore`](crate::credential::SqlCredentialStore), whose
    /// answers are always durable.
    ///
    /// Off, a loss of power can undo the last commits but never damages the file, and a process
    /// that ends loses nothing.
    #[cfg(feature = "sqlite")]
    pub const fn durable_commits(mut self, on: bool) -> Self {
        self.sqlite.durable = on;
        self
    }

    /// Turns the second wall's write triggers on or off; on without it.
    ///
    /// # Security
    /// They stop a statement of ours that lost its predicate from changing another organization's
    /// rows. Off, the predicate and the composite keys remain.
    #[cfg(feature = "sqlite")]
    pub const fn write_wall(mut self, on: bool) -> Self {
        self.sqlite.write_wall = on;
        self
    }

    /// Checks every statement by the second opinion in release builds too, and lets reading
    /// connections see the scope's rows alone, through views that shadow the tables. Reads in a
    /// transaction, and of an in-memory database, run on the writing connection, which has none.
    pub const fn paranoid(mut self, on: bool) -> Self {
        self.settings.paranoid = on;
        #[cfg(feature = "sqlite")]
        {
            self.sqlite.read_wall = on;
        }
        self
    }

    /// Opens the database.
    ///
    /// # Errors
    /// As for [`Database::connect`].
    pub async fn connect(self, url: &str, schema: Schema) -> Result<Database> {
        schema.validate()?;
        let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
        let store = match scheme {
            #[cfg(feature = "postgres")]
            "postgres" | "postgresql" => Store::Postgres(Arc::new(
                PostgresStore::open(url, self.postgres, &self.settings).await?,
            )),
            #[cfg(feature = "sqlite")]
            "sqlite" => Store::Sqlite(SqliteStore::open(url, &self.sqlite, &schema).await?),
            _ => {
                return Err(Error::unconfigured(
                    "the database URL names no store that is compiled in: `sqlite:` with the feature `sqlite`, `postgres:` with the feature `postgres`",
                ));
            }
        };
        let cursor_keys = match self.cursor_keys {
            #[cfg(feature = "sqlite")]
            None if scheme == "sqlite" && sqlite::is_memory(url) => Some(KeyRing::random()?),
            keys => keys,
        };
        let auditor = match (self.audit, &self.issuer) {
            (Some(sink), issuer) => Auditor::new(
                sink,
                issuer.as_ref().map_or_else(
                    || Arc::new(SystemClock::new()) as _,
                    |issuer| Arc::clone(issuer.clock()),
                ),
            ),
            (None, Some(issuer)) => issuer.auditor().clone(),
            (None, None) => Auditor::new(Arc::new(TracingSink), Arc::new(SystemClock::new())),
        };
        let issuer = OnceLock::new();
        if let Some(bound) = self.issuer {
            let _ = issuer.set(bound);
        }
        let database = Database(Arc::new(Inner {
            store,
            schema,
            issuer,
            auditor,
            cursor_keys,
            settings: self.settings,
            accepted: self.accepted,
            absent: RwLock::new(Vec::new()),
            complete: AtomicBool::new(false),
            judged: Cache::new(JUDGED_SHAPES),
        }));
        database.examine_and_refuse().await?;
        #[cfg(feature = "sqlite")]
        #[cfg_attr(
            not(feature = "postgres"),
            expect(irrefutable_let_patterns, reason = "one store")
        )]
        if let Store::Sqlite(store) = database.store() {
            store.log_ahead().await?;
        }
        Ok(database)
    }
}
