//! PostgreSQL through sqlx: private pools whose every statement runs in a transaction that says
//! whose rows it touches.

mod alone;
mod bind;
mod fault;
mod names;
mod open;
mod session;

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _, Row as _};

use super::doctor::{Acceptance, Examination};
use super::fault::Fault;
use super::store::Purpose;
use super::{Settings, raw};
use crate::error::{Error, Result};
use crate::id::{OrganizationId, OrganizationKey};
use crate::table::{Dialect, Schema};

pub(crate) use alone::Read;
pub(crate) use bind::add;
pub(crate) use open::{PostgresSettings, Secret, options};
pub(crate) use session::Session;

use names::{NAMES, SharedNames};
use open::Pool;

/// How much longer than its own timeout a server may take to say so.
const GRACE: Duration = Duration::from_secs(5);

/// How long a table that is in use keeps new definitions waiting, and behind them everybody.
const NO_LONGER_THAN: &str = "SET LOCAL lock_timeout = '5s'";

/// The lock's number spells the crate's name.
const ONE_AT_A_TIME: &str = "SELECT pg_catalog.pg_advisory_xact_lock(8386103176885957241)";

/// Whatever has the name of a table: what is none is the doctor's business.
const TABLES: &str = "
SELECT relname::text FROM pg_catalog.pg_class
WHERE relnamespace = pg_catalog.current_schema()::pg_catalog.regnamespace
  AND relkind IN ('r', 'p', 'v', 'm', 'f')";

/// What the doctor needs, however long it takes.
const BARE: &str = "BEGIN READ ONLY; SET LOCAL statement_timeout TO DEFAULT";

#[derive(Debug)]
pub(crate) struct PostgresStore {
    application: Pool,
    /// The pool of the cross-tenant role.
    across: Option<Pool>,
    settings: PostgresSettings,
    /// Whether the last examination saw nothing that keeps reads in transactions.
    alone: AtomicBool,
    statement_timeout: Option<Duration>,
    transaction_max_age: Duration,
    names: SharedNames,
}

impl PostgresStore {
    pub(crate) async fn open(
        url: &str,
        postgres: PostgresSettings,
        settings: &Settings,
    ) -> Result<Self> {
        let across = match postgres.across.as_deref() {
            Some(url) => Some(open::pool(options(url)?, &postgres, None).await?),
            None => None,
        };
        // What is wrong with it is said now.
        postgres.owner.as_deref().map(options).transpose()?;
        let application = open::pool(options(url)?, &postgres, settings.statement_timeout).await?;
        Ok(Self {
            application,
            alone: AtomicBool::new(false),
            across,
            statement_timeout: settings.statement_timeout,
            transaction_max_age: settings.transaction_max_age,
            names: SharedNames::default(),
            settings: postgres,
        })
    }

    /// A session in a transaction that has begun.
    pub(crate) async fn session(
        &self,
        organization: Option<&OrganizationId>,
        purpose: Purpose,
    ) -> Result<Session> {
        let pool = match (organization, &self.across) {
            (Some(_), _) => &self.application,
            (None, Some(across)) => across,
            (None, None) => {
                return Err(Error::unconfigured(
                    "cross-tenant work on PostgreSQL has a role of its own: open the Database with `builder().cross_tenant_url(url)`",
                ));
            }
        };
        let begin = self.begin_sql(organization, purpose, pool.begins_with)?;
        let limit = self.statement_timeout.filter(|_| purpose != Purpose::Stream);
        self.begun(pool, begin, limit).await
    }

    /// A connection that the server has closed meanwhile is noticed by BEGIN, where nothing was done
    /// on it yet: the next one is tried, at most as many as the pool can hold, and for no longer
    /// than one connection may be waited for.
    async fn begun(&self, pool: &Pool, begin: String, limit: Option<Duration>) -> Result<Session> {
        let trying = async {
            let mut stale = self.settings.connections;
            loop {
                match self.try_session(pool, begin.clone(), limit).await {
                    Err(Fault::Lost(_) | Fault::Garbled(_)) if stale > 0 => stale -= 1,
                    tried => break tried,
                }
            }
        };
        let tried = tokio::time::timeout(self.settings.acquire_timeout, trying).await;
        let tried = tried.unwrap_or(Err(Fault::TimedOut));
        tried.map_err(|fault| Self::unavailable(pool, fault))
    }

    async fn try_session(
        &self,
        pool: &Pool,
        begin: String,
        limit: Option<Duration>,
    ) -> Result<Session, Fault> {
        let mut session = self.idle_session(pool, limit).await?;
        session.begin(begin).await?;
        Ok(session)
    }

    /// A session in no transaction.
    async fn idle_session(&self, pool: &Pool, limit: Option<Duration>) -> Result<Session, Fault> {
        let acquired = pool.connections.acquire().await;
        let connection = acquired.map_err(|error| fault::reduce(&error, &self.names))?;
        let names = SharedNames::clone(&self.names);
        let limit = limit.map(|limit| limit + GRACE);
        Ok(Session::new(connection, pool.prepared, limit, names))
    }

    fn unavailable(pool: &Pool, fault: Fault) -> Error {
        match (fault, pool.refusal()) {
            (Fault::TimedOut, Some(refusal)) => Error::unconfigured(refusal),
            (fault, _) => fault.into_error(None),
        }
    }

    /// INVARIANT: the organization reaches the server for one transaction alone, in the message
    /// that begins it, so that a pooler hands it to nobody else. The simple protocol binds no
    /// values; an organization's canonical form needs no quoting, and what does is refused.
    fn begin_sql(
        &self,
        organization: Option<&OrganizationId>,
        purpose: Purpose,
        begins_with: &'static str,
    ) -> Result<String> {
        let mut sql = String::with_capacity(256);
        sql.push_str(match purpose {
            Purpose::Read | Purpose::Stream => "BEGIN READ ONLY",
            Purpose::Batch | Purpose::Transaction | Purpose::Write => "BEGIN",
        });
        if let Some(organization) = organization {
            sql.push_str("; SET LOCAL tenantry.organization = '");
            push_organization(&mut sql, organization)?;
            sql.push('\'');
        }
        if let Some(timeout) = self.statement_timeout {
            let _ = match purpose {
                Purpose::Stream => write!(sql, "; SET LOCAL statement_timeout TO DEFAULT"),
                _ => write!(sql, "; SET LOCAL statement_timeout = {}", milliseconds(timeout)),
            };
        }
        if purpose == Purpose::Transaction {
            let age = milliseconds(self.transaction_max_age);
            let _ = write!(sql, "; SET LOCAL idle_in_transaction_session_timeout = {age}");
        }
        sql.push_str(begins_with);
        if purpose == Purpose::Batch {
            sql.push_str("; SAVEPOINT tenantry_0");
        }
        Ok(sql)
    }

    /// Runs the declarations' DDL in one transaction under the owner role.
    pub(crate) async fn create_tables(&self, schema: &Schema) -> Result<()> {
        let Some(owner) = &self.settings.owner else {
            return Err(Error::unconfigured(
                "`create_tables` on PostgreSQL runs under the role that owns the tables: open the Database with `builder().owner_url(url)`",
            ));
        };
        let mut connection = PgConnection::connect_with(&options(owner)?)
            .await
            .map_err(|error| fault::opening(&error))?;
        let created = self.create_missing(&mut connection, schema).await;
        // The connection serves nothing else, whether or not its farewell is heard.
        let _ = connection.close().await;
        created
    }

    /// Two processes that start together create one after the other.
    async fn create_missing(&self, connection: &mut PgConnection, schema: &Schema) -> Result<()> {
        let failed = |error: sqlx::Error| fault::reduce(&error, &self.names).into_error(None);
        let mut transaction = connection.begin().await.map_err(failed)?;
        transaction.execute(sqlx::raw_sql(ONE_AT_A_TIME)).await.map_err(failed)?;
        transaction.execute(sqlx::raw_sql(NO_LONGER_THAN)).await.map_err(failed)?;
        let tables = transaction.fetch_all(sqlx::raw_sql(TABLES)).await.map_err(failed)?;
        let tables: Vec<String> =
            tables.iter().map(|row| row.try_get(0)).collect::<sqlx::Result<_>>().map_err(failed)?;
        let exists = |name: &str| tables.iter().any(|table| table == name);
        for statement in schema.missing_ddl(Dialect::Postgres, exists)? {
            transaction.execute(sqlx::raw_sql(raw::own(statement))).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    pub(crate) async fn examine(
        &self,
        schema: &Schema,
        accepted: &[Acceptance],
        deep: bool,
    ) -> Result<Examination> {
        self.examine_across(schema).await?;
        let mut session = self.bare_session().await?;
        let mut across = match &self.across {
            // A question about all rows takes as long as it takes.
            Some(_) if deep => Some(self.session(None, Purpose::Stream).await?),
            _ => None,
        };
        let rows = across.as_mut().map(Session::connection);
        let options = self.application.connections.connect_options();
        let connection = session.connection();
        let examined =
            super::doctor::postgres::examine(connection, &options, rows, schema, accepted).await;
        if let Some(across) = &mut across {
            across.rollback().await?;
        }
        session.rollback().await?;
        let examined = examined?;
        self.alone.store(examined.alone, Ordering::Release);
        Ok(examined)
    }

    /// Another role than the declared one would find no row, without an error.
    async fn examine_across(&self, schema: &Schema) -> Result<()> {
        if self.across.is_none() {
            return Ok(());
        }
        let mut session = self.session(None, Purpose::Read).await?;
        let row = session.connection().fetch_one(sqlx::raw_sql("SELECT current_user::text")).await;
        let role: String = row
            .and_then(|row| row.try_get(0))
            .map_err(|error| fault::reduce(&error, &self.names).into_error(None))?;
        session.rollback().await?;
        let declared = schema.roles().cross_tenant_name();
        if role == declared {
            return Ok(());
        }
        Err(Error::unconfigured(format!(
            "`cross_tenant_url` has to connect as `{declared}`, the cross-tenant role of the schema"
        )))
    }

    /// A session of the application's role that sees no organization's rows.
    async fn bare_session(&self) -> Result<Session> {
        self.begun(&self.application, BARE.to_owned(), None).await
    }

    /// Reads what the constraints are called.
    pub(crate) async fn learn_names(&self) -> Result<()> {
        let mut session = self.bare_session().await?;
        let rows = session
            .connection()
            .fetch_all(sqlx::query(NAMES).persistent(false))
            .await
            .and_then(|rows| rows.iter().map(names::constraint).collect::<sqlx::Result<_>>())
            .map_err(|error| fault::reduce(&error, &self.names).into_error(None))?;
        session.rollback().await?;
        if let Ok(mut names) = self.names.write() {
            *names = rows;
        }
        Ok(())
    }

    pub(crate) async fn ping(&self) -> Result<()> {
        self.bare_session().await?.rollback().await
    }

    pub(crate) async fn close(&self) {
        self.application.connections.close().await;
        if let Some(across) = &self.across {
            across.connections.close().await;
        }
    }
}

/// Examines a database that nobody opened.
///
/// INVARIANT: in one transaction. Outside of one a pooler may parse a query on one connection of the
/// server and run what stands under its name on another.
pub(crate) async fn inspect(
    url: &str,
    schema: &Schema,
    accepted: &[Acceptance],
) -> Result<Examination> {
    let options = options(url)?;
    let connection = PgConnection::connect_with(&options).await;
    let mut connection = connection.map_err(|error| fault::opening(&error))?;
    let begun = connection.execute(sqlx::raw_sql("BEGIN READ ONLY")).await;
    begun.map_err(|error| reduce(&error).into_error(None))?;
    let examined =
        super::doctor::postgres::examine(&mut connection, &options, None, schema, accepted).await;
    // The connection serves nothing else, whether or not its farewell is heard.
    let _ = connection.execute(sqlx::raw_sql("ROLLBACK")).await;
    let _ = connection.close().await;
    examined
}

/// What the server said to somebody who knows no constraint.
pub(crate) fn reduce(error: &sqlx::Error) -> Fault {
    fault::reduce(error, &SharedNames::default())
}

fn push_organization(sql: &mut String, organization: &OrganizationId) -> Result<()> {
    let start = sql.len();
    match organization.key() {
        OrganizationKey::Uuid(id) => {
            let _ = write!(sql, "{id}");
        }
        OrganizationKey::Integer(id) => {
            let _ = write!(sql, "{id}");
        }
        OrganizationKey::Text(id) => sql.push_str(id),
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if sql.bytes().skip(start).all(plain) {
        return Ok(());
    }
    Err(Error::internal("an organization's canonical form needs quoting"))
}

/// The server reads 0 as no limit, so that nothing is rounded down to it.
fn milliseconds(duration: Duration) -> u128 {
    duration.as_millis().clamp(1, 2_147_483_647)
}

#[cfg(test)]
mod tests;
