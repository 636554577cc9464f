//! Opening a pool, and the hooks through which its connections come and go.

use std::str::FromStr as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, Row as _};
use sqlx_core::transaction::TransactionManager as _;

use super::fault;
use super::session::{Manager, NEVER_BEGUN};
use super::{milliseconds, raw};
use crate::error::{Error, Result};

/// The oldest server that is served: 15, the first with `security_invoker` views.
const OLDEST: i32 = 150_000;

/// The least time that a server is given to answer when a Database is opened.
const OPENING: Duration = Duration::from_secs(10);

/// A client that leaves is noticed within so many milliseconds, also in the middle of a statement:
/// otherwise what was cancelled would go on, and hold a connection of the server's that no pool
/// counts.
const LOOKS_FOR_CLIENTS: &str = "SET client_connection_check_interval = 1000";
const LOOKS_FOR_CLIENTS_LOCALLY: &str = "; SET LOCAL client_connection_check_interval = 1000";

/// A setting that a session has from its very beginning, and only of the server's own sessions.
const PROBE: &str = "tenantry.probe";

/// A pool, and what is known of what answers it.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) connections: PgPool,
    /// Whether statements stay prepared on the server.
    pub(super) prepared: bool,
    /// Whether the server stops a statement that takes too long, whatever is around it.
    pub(super) limited: bool,
    /// What every transaction sets where sessions set nothing.
    pub(super) begins_with: &'static str,
    /// Why the last connection was refused after it was made.
    refusal: Arc<Mutex<Option<&'static str>>>,
}

impl Pool {
    pub(super) fn refusal(&self) -> Option<&'static str> {
        self.refusal.lock().ok().and_then(|refusal| *refusal)
    }
}

/// How a store is opened.
#[derive(Debug, Clone)]
pub(crate) struct PostgresSettings {
    pub(crate) connections: u32,
    pub(crate) acquire_timeout: Duration,
    /// Whether statements stay prepared on the server; where nobody said, unless a pooler is
    /// noticed.
    pub(crate) prepared: Option<bool>,
    pub(crate) owner: Option<Secret>,
    pub(crate) across: Option<Secret>,
}

/// A URL, which can hold a password.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(url: &str) -> Self {
        Self(url.to_owned())
    }
}

impl std::ops::Deref for Secret {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Url([redacted])")
    }
}

/// What the URL says.
///
/// `verify-ca` is refused: the authorities of the system are trusted besides the URL's own, so that
/// it accepts whatever certificate anybody was given for a name of theirs. libpq refuses it with
/// those authorities too: <https://www.postgresql.org/docs/current/libpq-connect.html>,
/// `sslrootcert`. (sqlx 0.9.0 panics in it where rustls has two cryptographic providers.)
pub(crate) fn options(url: &str) -> Result<PgConnectOptions> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| Error::unconfigured("the database URL is not a PostgreSQL URL"))?
        // A setting of text output, of which there is none, that poolers do not know.
        .extra_float_digits(None)
        .disable_statement_logging();
    if matches!(options.get_ssl_mode(), PgSslMode::VerifyCa) {
        return Err(Error::unconfigured(
            "`sslmode=verify-ca` accepts the certificate of any host: say `verify-full`",
        ));
    }
    Ok(options)
}

pub(super) async fn pool(
    options: PgConnectOptions,
    settings: &PostgresSettings,
    statement_timeout: Option<Duration>,
) -> Result<Pool> {
    // What is wrong with the URL, the password or the role is said at once: the pool would try
    // again until its timeout.
    let connecting = tokio::time::timeout(settings.acquire_timeout.max(OPENING), async {
        let mut connection = PgConnection::connect_with(&options).await?;
        let refused = refused(&mut connection).await?;
        let pooled = is_pooled(&options).await?;
        let limit = limit(&mut connection).await?;
        let looks_for_clients = looks_for_clients(&mut connection).await?;
        let _ = connection.close().await;
        Ok((refused, pooled, limit, looks_for_clients))
    });
    let (pooled, limit, looks_for_clients) = match connecting.await {
        Err(_) => return Err(Error::unavailable("the database server does not answer").retryable()),
        Ok(Err(error)) => return Err(fault::opening(&error)),
        Ok(Ok((Some(refusal), ..))) => return Err(Error::unconfigured(refusal)),
        Ok(Ok((None, pooled, limit, looks_for_clients))) => (pooled, limit, looks_for_clients),
    };
    let prepared = settings.prepared.unwrap_or(!pooled);
    // Nothing is set for a session that others use too.
    let mut set = String::new();
    if let Some(timeout) = statement_timeout.filter(|_| !pooled) {
        set = format!("SET statement_timeout = {};", milliseconds(timeout));
    }
    if looks_for_clients && !pooled {
        set.push_str(LOOKS_FOR_CLIENTS);
    }
    let begins_with = if looks_for_clients && pooled { LOOKS_FOR_CLIENTS_LOCALLY } else { "" };
    let limited = match statement_timeout {
        Some(timeout) => !pooled || limit.is_some_and(|limit| limit <= timeout),
        None => true,
    };
    let options = options.statement_cache_capacity(if prepared { 512 } else { 0 });
    let refusal = Arc::<Mutex<_>>::default();
    let refused_last = Arc::clone(&refusal);
    let connections = PgPoolOptions::new()
        .max_connections(settings.connections)
        .acquire_timeout(settings.acquire_timeout)
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            let (refused_last, set) = (Arc::clone(&refused_last), set.clone());
            Box::pin(async move {
                let refused = refused(connection).await?;
                if !set.is_empty() {
                    connection.execute(sqlx::raw_sql(raw::own(set))).await?;
                }
                if let Ok(mut last) = refused_last.lock() {
                    *last = refused;
                }
                match refused {
                    None => Ok(()),
                    Some(refused) => Err(sqlx::Error::Configuration(refused.into())),
                }
            })
        })
        .after_release(|connection, _| Box::pin(released(connection)))
        .connect_lazy_with(options);
    Ok(Pool { connections, prepared, limited, begins_with, refusal })
}

/// The statement timeout that sessions of the role have from the beginning.
async fn limit(connection: &mut PgConnection) -> sqlx::Result<Option<Duration>> {
    let asked = "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'statement_timeout'";
    let row = connection.fetch_one(sqlx::raw_sql(asked)).await?;
    let limit = row.try_get::<String, _>(0)?.parse().unwrap_or(0);
    Ok((limit > 0).then(|| Duration::from_millis(limit)))
}

/// Whether something stands between us and the server that lends its connections to several clients.
/// Statements that one of them prepares would be there for the others, under the same name.
///
/// A setting of the startup message reaches the session that it begins; what lends sessions that
/// began earlier refuses it, or drops it.
async fn is_pooled(options: &PgConnectOptions) -> sqlx::Result<bool> {
    let probing = options.clone().options([(PROBE, "on")]);
    let mut connection = match PgConnection::connect_with(&probing).await {
        Ok(connection) => connection,
        // The connection before was accepted: refused is the setting, unless there is no room.
        Err(sqlx::Error::Database(refused)) if !is_full(&*refused) => return Ok(true),
        Err(error) => return Err(error),
    };
    let asked =
        "SELECT (coalesce(pg_catalog.current_setting('tenantry.probe', true), '') = 'on')::text";
    let row = connection.fetch_one(sqlx::raw_sql(asked)).await?;
    let _ = connection.close().await;
    Ok(row.try_get::<String, _>(0)? != "true")
}

/// `too_many_connections`, `cannot_connect_now`.
fn is_full(error: &dyn sqlx::error::DatabaseError) -> bool {
    matches!(error.code().as_deref(), Some("53300" | "57P03"))
}

/// Whether the server can look for clients that left: not on systems that do not tell. The connection
/// serves nothing else.
async fn looks_for_clients(connection: &mut PgConnection) -> sqlx::Result<bool> {
    let trial = "BEGIN; SET LOCAL client_connection_check_interval = 1000; ROLLBACK";
    match connection.execute(sqlx::raw_sql(trial)).await {
        Ok(_) => Ok(true),
        Err(sqlx::Error::Database(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Why this server or this role is not one to serve scopes with.
async fn refused(connection: &mut PgConnection) -> sqlx::Result<Option<&'static str>> {
    let row = connection
        .fetch_one(sqlx::raw_sql(
            "SELECT pg_catalog.current_setting('server_version_num')::text,
                    pg_catalog.bool_or(rolsuper)::text,
                    pg_catalog.bool_or(rolbypassrls)::text,
                    pg_catalog.current_setting('row_security')::text
             FROM pg_catalog.pg_roles WHERE rolname IN (current_user, session_user)",
        ))
        .await?;
    let text = |at: usize| row.try_get::<String, _>(at);
    let version = text(0)?.parse::<i32>().unwrap_or(0);
    Ok(refusal(version, text(1)? == "true", text(2)? == "true", text(3)? == "on"))
}

fn refusal(
    version: i32,
    superuser: bool,
    bypasses: bool,
    row_security: bool,
) -> Option<&'static str> {
    if version < OLDEST {
        Some("the server is older than PostgreSQL 15")
    } else if superuser {
        Some(
            "the database role is a superuser, whom row-level security does not bind: connect as a role with neither SUPERUSER nor BYPASSRLS",
        )
    } else if bypasses {
        Some(
            "the database role has BYPASSRLS: connect as a role with neither SUPERUSER nor BYPASSRLS",
        )
    } else if !row_security {
        Some("the database role has `row_security` off: every statement would fail")
    } else {
        None
    }
}

/// A connection on its way back. A read leaves its transaction open, and its rollback travels with
/// the pool's own ping, so that nobody waits for it.
///
/// Sessions close what they are not sure of, so that a connection which says that it is in no
/// transaction is in none and has no organization. It is asked all the same: one that is not as it
/// says is closed.
async fn released(connection: &mut PgConnection) -> sqlx::Result<bool> {
    if connection.is_in_transaction() {
        Manager::start_rollback(connection);
        return Ok(true);
    }
    if NEVER_BEGUN.try_with(|()| ()).is_ok() {
        return Ok(true);
    }
    let row = connection
        .fetch_one(sqlx::raw_sql(
            "SELECT (coalesce(pg_catalog.current_setting('tenantry.organization', true), '') = ''
                     AND pg_catalog.transaction_timestamp() = pg_catalog.statement_timestamp()
                     AND current_user = session_user)::text",
        ))
        .await?;
    Ok(row.try_get::<String, _>(0)? == "true")
}

#[cfg(test)]
mod tests {
    use super::refusal;

    #[test]
    fn servers_and_roles_that_cannot_be_trusted_are_refused() {
        assert_eq!(refusal(150_000, false, false, true), None);
        for (version, superuser, bypasses, row_security, said) in [
            (149_999, false, false, true, "older"),
            (150_000, true, false, true, "superuser"),
            (150_000, false, true, true, "BYPASSRLS"),
            (150_000, false, false, false, "row_security"),
        ] {
            let refused = refusal(version, superuser, bypasses, row_security);
            assert!(refused.is_some_and(|text| text.contains(said)), "{said}");
        }
    }
}
