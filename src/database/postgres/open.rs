//! Opening a pool, and the hooks through which its connections come and go.

use std::str::FromStr as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, Row as _};
use sqlx_core::transaction::TransactionManager as _;

use super::fault;
use super::session::Manager;
use crate::error::{Error, Result};

/// The oldest server that is served: 15, the first with `security_invoker` views.
const OLDEST: i32 = 150_000;

/// The least time that a server is given to answer when a Database is opened.
const OPENING: Duration = Duration::from_secs(10);

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
    refusal: &Arc<Mutex<Option<&'static str>>>,
) -> Result<(PgPool, bool)> {
    // What is wrong with the URL, the password or the role is said at once: the pool would try
    // again until its timeout.
    let connecting = tokio::time::timeout(settings.acquire_timeout.max(OPENING), async {
        let mut connection = PgConnection::connect_with(&options).await?;
        let refused = refused(&mut connection).await?;
        let pooled = match settings.prepared {
            None => is_pooled(&options, &mut connection).await?,
            Some(prepared) => !prepared,
        };
        let _ = connection.close().await;
        Ok((refused, !pooled))
    });
    let prepared = match connecting.await {
        Err(_) => return Err(Error::unavailable("the database server does not answer").retryable()),
        Ok(Err(error)) => return Err(fault::opening(&error)),
        Ok(Ok((Some(refusal), _))) => return Err(Error::unconfigured(refusal)),
        Ok(Ok((None, prepared))) => prepared,
    };
    let options = options.statement_cache_capacity(if prepared { 512 } else { 0 });
    let refusal = Arc::clone(refusal);
    let pool = PgPoolOptions::new()
        .max_connections(settings.connections)
        .acquire_timeout(settings.acquire_timeout)
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            let refusal = Arc::clone(&refusal);
            Box::pin(async move {
                let refused = refused(connection).await?;
                if let Ok(mut refusal) = refusal.lock() {
                    *refusal = refused;
                }
                match refused {
                    None => Ok(()),
                    Some(refused) => Err(sqlx::Error::Configuration(refused.into())),
                }
            })
        })
        .after_release(|connection, _| Box::pin(released(connection)))
        .connect_lazy_with(options);
    Ok((pool, prepared))
}

/// Whether a pooler lends the same connection of the server to two clients, by turns. Statements
/// that one of them prepares would be there for the other, under the same name.
async fn is_pooled(options: &PgConnectOptions, first: &mut PgConnection) -> sqlx::Result<bool> {
    let ours = backend(first).await?;
    let mut second = PgConnection::connect_with(options).await?;
    let theirs = backend(&mut second).await?;
    let _ = second.close().await;
    Ok(ours == theirs)
}

async fn backend(connection: &mut PgConnection) -> sqlx::Result<String> {
    let asked = sqlx::raw_sql("SELECT pg_catalog.pg_backend_pid()::text");
    connection.fetch_one(asked).await?.try_get(0)
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
