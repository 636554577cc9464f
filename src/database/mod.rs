//! The database behind the scopes: pool, transactions, doctor, and the runs of every statement.
//!
//! The pool is never handed out. Whatever runs passes, in this order: the scope still works; it
//! was issued by this Database's issuer; the statement renders against the registered
//! [`Schema`]; the second opinion agrees; the store answers; the witness of every row is compared
//! with the scope before anything is decoded.

mod builder;
pub mod doctor;
mod fault;
#[cfg(feature = "postgres")]
mod postgres;
mod raw;
mod run;
#[cfg(feature = "sqlite")]
mod sqlite;
mod statement;
mod store;
mod transaction;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, RwLock};
use std::time::Duration;

use quick_cache::sync::Cache;

pub use builder::DatabaseBuilder;
pub use run::{Executor, RowStream};
pub use transaction::{Savepoint, Transaction};

pub(crate) use run::{Actor, Run, delete, update};

use crate::ambient::CrossTenantAuthority;
use crate::audit::Auditor;
use crate::crypto::KeyRing;
use crate::error::{Error, Result};
use crate::query::{Rendered, opinion};
use crate::scope::{ScopeIssuer, TenantScope};
use crate::table::{Dialect, Schema, TableDefinition};
use doctor::{Acceptance, Examination, Finding, Report};
use statement::Binder;
use store::{Purpose, Store};

/// A database that serves scopes: SQLite embedded in the process, or PostgreSQL.
///
/// ```
/// # tenantry::tenant_table! { #[derive(Debug, PartialEq)] pub struct Order in orders { key id: i64, total: i64 } }
/// use tenantry::scope::{MemoryDirectory, Principal, Role, ScopeIssuer};
/// use tenantry::table::Schema;
/// use tenantry::{Database, OrganizationId};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tenantry::Result<()> {
/// let (shop, ann) = (OrganizationId::new(), Principal::user("ann"));
/// let directory = MemoryDirectory::new();
/// directory.add_member(&shop, &ann, Role::Member);
/// let issuer = ScopeIssuer::new(directory);
///
/// let db = Database::builder()
///     .issuer(&issuer)
///     .connect("sqlite::memory:", Schema::new().tenant::<Order>())
///     .await?;
/// db.create_tables().await?;
///
/// let scope = issuer.enter(&ann, shop).await?;
/// Order::insert(&scope, Order { id: 1, total: 990 }).execute(&db).await?;
/// assert_eq!(Order::find(&scope, 1).fetch_one(&db).await?.total, 990);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Database(Arc<Inner>);

struct Inner {
    store: Store,
    schema: Schema,
    issuer: OnceLock<ScopeIssuer>,
    auditor: Auditor,
    cursor_keys: Option<KeyRing>,
    settings: Settings,
    accepted: Vec<Acceptance>,
    /// Declared tables that the database does not have yet.
    absent: RwLock<Vec<&'static TableDefinition>>,
    complete: AtomicBool,
    /// Shapes that the second opinion has seen, by their whole text, with the placeholders that
    /// must hold the organization.
    judged: Cache<Box<str>, Arc<opinion::Judged>>,
}

/// What the builder sets.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) paranoid: bool,
    pub(crate) cross_tenant: bool,
    pub(crate) transaction_max_age: Duration,
    pub(crate) statement_timeout: Option<Duration>,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("schema", &self.0.schema).finish_non_exhaustive()
    }
}

impl Database {
    /// Opens a database with the default settings; see [`builder`](Self::builder).
    ///
    /// `url` is `sqlite://file.db` (created where it does not exist), `sqlite::memory:` for a
    /// private in-memory database, or `postgres://role:password@host/database`. The Database serves the scopes of one issuer: the one given to
    /// the builder, or else that of the first scope it sees.
    ///
    /// # Errors
    /// `Unconfigured` for a URL that cannot be opened and for a database that the doctor finds
    /// unsafe, with every finding and its remedy; `Misuse` for an inconsistent schema.
    pub async fn connect(url: &str, schema: Schema) -> Result<Self> {
        Self::builder().connect(url, schema).await
    }

    /// Settings for a database to be opened.
    pub fn builder() -> DatabaseBuilder {
        DatabaseBuilder::new()
    }

    /// Creates the declared tables and indexes that do not exist, then asks the doctor again.
    ///
    /// On PostgreSQL the statements run under the role of
    /// [`owner_url`](DatabaseBuilder::owner_url), in one transaction.
    ///
    /// # Errors
    /// `Unconfigured` when the doctor finds the result unsafe, the database is read-only, or there
    /// is no owner URL.
    pub async fn create_tables(&self) -> Result<()> {
        self.0.store.create_tables(&self.0.schema).await?;
        self.examine_and_refuse().await
    }

    /// Examines the database: findings with code, severity, object, gain and remedy.
    ///
    /// Reads everything that a remedy may need, the rows' tenant columns included (on PostgreSQL as
    /// the cross-tenant role, where there is one), so that it takes time in proportion to the data.
    ///
    /// # Errors
    /// `Unavailable` when the store does not answer.
    pub async fn doctor(&self) -> Result<Report> {
        Ok(self.examination(true).await?.report)
    }

    async fn examination(&self, deep: bool) -> Result<Examination> {
        self.0.store.examine(&self.0.schema, &self.0.accepted, deep).await
    }

    /// Refuses a database that the doctor finds unsafe; raises the second wall on one that is not.
    ///
    /// In a PostgreSQL database in which every table is still to be created, what `create_tables`
    /// takes away besides is looked at after that.
    pub(crate) async fn examine_and_refuse(&self) -> Result<()> {
        let examination = self.examination(false).await?;
        let bare = self.0.store.dialect() == Dialect::Postgres
            && examination.absent.len() == self.0.schema.tables().len();
        let until_created = |finding: &Finding| bare && doctor::is_mended_with_the_tables(finding);
        if let Some(refusal) = examination.report.refusal_but_for(until_created) {
            return Err(refusal);
        }
        self.0.store.raise_wall(&self.0.schema, &examination.absent).await?;
        let complete = examination.absent.is_empty();
        if let Ok(mut absent) = self.0.absent.write() {
            *absent = examination.absent;
        }
        self.0.complete.store(complete, Ordering::Release);
        Ok(())
    }

    /// Begins a transaction in the scope's organization.
    ///
    /// On SQLite it holds the only write lock until it ends, so keep it short. Reads through `&db`
    /// go on meanwhile in a file database; an in-memory one has a single connection.
    ///
    /// # Errors
    /// `Denied` for a revoked scope, `Misuse` for a scope of another issuer, `Unavailable` when
    /// the writing connection stays busy.
    ///
    /// # Cancellation
    /// Dropped half-way, nothing was begun.
    pub async fn begin(&self, scope: &TenantScope) -> Result<Transaction> {
        Transaction::begin(self, scope, Purpose::Transaction).await
    }

    /// Runs `work` in a transaction: committed when it returns `Ok`, rolled back when it returns
    /// `Err`, and run again when the store asks for that (at most three times).
    ///
    /// Inside a spawned task or a handler whose future must be `Send`, give the closure its own
    /// clone of the scope: `let inside = scope.clone();` and `async move |tx| …`. The compiler
    /// cannot show yet that a borrowing async closure is `Send`.
    ///
    /// ```
    /// # tenantry::tenant_table! { #[derive(Debug)] pub struct Order in orders { key id: i64, total: i64 } }
    /// # async fn run(scope: tenantry::TenantScope, db: tenantry::Database) -> tenantry::Result<()> {
    /// db.transaction(&scope, async |tx| {
    ///     Order::insert(&scope, Order { id: 1, total: 5 }).execute(&mut *tx).await?;
    ///     Order::update(&scope).set(orders::total, 6).filter(orders::id.eq(1)).execute(tx).await
    /// })
    /// .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What `work` returns, and what [`begin`](Self::begin) and
    /// [`commit`](Transaction::commit) return.
    pub async fn transaction<T, F>(&self, scope: &TenantScope, mut work: F) -> Result<T>
    where
        F: AsyncFnMut(&mut Transaction) -> Result<T>,
    {
        let mut attempts_left = 2;
        loop {
            let mut transaction = self.begin(scope).await?;
            match work(&mut transaction).await {
                Ok(value) => match transaction.commit().await {
                    // PostgreSQL finds some conflicts at the commit, and then nothing was kept.
                    Err(error)
                        if attempts_left > 0
                            && error.is_retryable()
                            && self.0.store.dialect() == Dialect::Postgres =>
                    {
                        attempts_left -= 1;
                    }
                    committed => return committed.map(|()| value),
                },
                Err(error) => {
                    let again = attempts_left > 0 && transaction.failed_retryably();
                    // Where the rollback fails too, dropping the transaction repeats it.
                    let _ = transaction.rollback().await;
                    if !again {
                        return Err(error);
                    }
                    attempts_left -= 1;
                }
            }
        }
    }

    /// Asks the store for an answer.
    ///
    /// # Errors
    /// `Unavailable` when it gives none.
    pub async fn ping(&self) -> Result<()> {
        self.0.store.ping().await
    }

    /// Closes the connections; statements fail from then on with `Unavailable`. A transaction that
    /// is open can still end. SQLite's writing connection closes with the last clone.
    pub async fn close(&self) {
        self.0.store.close().await;
    }

    /// The schema that the database was opened with.
    pub fn schema(&self) -> &Schema {
        &self.0.schema
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(crate) fn cursor_keys(&self) -> Result<&KeyRing> {
        self.0.cursor_keys.as_ref().ok_or_else(|| {
            Error::unconfigured("pages need keys for their cursors: `builder().cursor_keys(keys)`")
        })
    }

    /// Whether this Database serves the scope.
    pub(crate) fn admit(&self, scope: &TenantScope) -> Result<()> {
        scope.check()?;
        if !scope.issued_by(self.0.issuer.get_or_init(|| scope.issuer().clone())) {
            return Err(Error::misuse(
                "the scope was issued by another issuer than this Database's",
            ));
        }
        if scope.organization().kind() != self.0.schema.organization_kind() {
            return Err(Error::misuse(
                "the scope's organization is of another kind than the tenant columns of the schema",
            ));
        }
        Ok(())
    }

    /// Whether the table can be used: it exists, and the doctor has seen it.
    pub(crate) fn require_table(&self, table: &'static TableDefinition) -> Result<()> {
        if self.0.complete.load(Ordering::Acquire) {
            return Ok(());
        }
        let absent = self
            .0
            .absent
            .read()
            .map_or(true, |absent| absent.iter().any(|missing| missing.same(table)));
        if absent {
            return Err(Error::unconfigured("the table does not exist: run `create_tables`, or a migration and open the Database again")
                .at_table(table.name()));
        }
        Ok(())
    }

    /// Whether statements pass the second opinion.
    pub(crate) fn judges(&self) -> bool {
        cfg!(debug_assertions) || self.0.settings.paranoid
    }

    /// INVARIANT: in debug and test builds every statement passes the second opinion before it
    /// runs, in release builds where the `paranoid` setting is on.
    pub(crate) fn second_opinion(
        &self,
        rendered: &Rendered<Binder<'_>>,
        prologue: &str,
    ) -> Result<()> {
        let Some(organizations) = rendered.binds.organizations() else { return Ok(()) };
        if rendered.binds.has_failed() {
            return Ok(());
        }
        let Some(sql) = rendered.sql.as_str().strip_prefix(prologue) else {
            return Err(Error::internal("a statement lost its prologue"));
        };
        let judged = match self.0.judged.get(sql) {
            Some(judged) => judged,
            None => {
                let judged =
                    Arc::new(opinion::Judged::of(sql, &self.0.schema, self.0.store.dialect())?);
                self.0.judged.insert(Box::from(sql), Arc::clone(&judged));
                judged
            }
        };
        // The prologue holds one placeholder, which is the organization's too.
        match (prologue.is_empty(), organizations) {
            (true, binds) | (false, [true, binds @ ..]) => judged.approve(binds),
            (false, _) => Err(Error::internal("a statement lost the value of its prologue")),
        }
    }

    /// Takes an authority for one statement: allowed by the builder, and recorded.
    pub(crate) async fn accept(
        &self,
        authority: &CrossTenantAuthority,
        verb: &str,
        table: &'static TableDefinition,
    ) -> Result<()> {
        if !self.0.settings.cross_tenant {
            return Err(Error::unconfigured(
                "this Database accepts no cross-tenant authority: open it with `builder().allow_cross_tenant()`",
            ));
        }
        authority.record(&self.0.auditor, format!("{verb} {}", table.name())).await
    }

    /// What a failed statement means: an incident stops the organization and is written down
    /// before anybody hears of it.
    pub(crate) async fn incident(&self, scope: &TenantScope, error: Error) -> Error {
        let table = error.table().map(str::to_owned);
        scope.incident(&self.0.auditor, table, error).await
    }
}

#[cfg(test)]
#[cfg(feature = "sqlite")]
mod tests;
