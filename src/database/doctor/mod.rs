//! The doctor: examines a database before it serves scopes, and says what to mend.
//!
//! A declaration says how a table should look; a database that was made by other hands may look
//! otherwise. A finding is *fatal* where the difference can fool a predicate or lets one
//! organization affect or detect another; the rest is a *warning*. Opening a
//! [`Database`](crate::Database) refuses fatal findings, [`Database::doctor`] lists all of them
//! and also looks at the rows.
//!
//! Beside the database it looks into the environment of the process, on demand:
//! [`EnvironmentCheck`] finds organizations' tokens where only the application's own belong.
//!
//! Every finding carries the statements that mend it. The chapter `doctor.md` of the manual
//! explains each code.
//!
//! [`Database::doctor`]: crate::Database::doctor

#[cfg(feature = "sqlite")]
mod catalog;
#[cfg(feature = "sqlite")]
mod columns;
mod environment;
#[cfg(feature = "sqlite")]
mod indexes;
#[cfg(feature = "sqlite")]
mod objects;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "sqlite")]
mod references;
#[cfg(feature = "sqlite")]
mod remedies;
mod report;
#[cfg(feature = "sqlite")]
mod rows;
#[cfg_attr(not(feature = "sqlite"), allow(dead_code, reason = "each store has rules of its own"))]
mod rules;
mod seals;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "sqlite")]
mod statement;

pub use environment::EnvironmentCheck;
pub use report::{Acceptance, Finding, Report, Severity};

#[cfg(feature = "sqlite")]
pub(crate) use sqlite::examine;

#[cfg(feature = "sqlite")]
use sqlx::ConnectOptions as _;

use crate::error::{Error, Result};
use crate::table::{Schema, TableDefinition};

/// Examines the database at `url` without opening it for scopes: what a deployment asks before it
/// starts, or somebody who mends.
///
/// On PostgreSQL connect as the role that will serve scopes: what it may do is a part of the
/// examination. The rows are not looked at; [`Database::doctor`](crate::Database::doctor) does
/// that where the store allows it.
///
/// ```
/// # tenantry::tenant_table! { #[derive(Debug)] pub struct Order in orders { key id: i64 } }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tenantry::Result<()> {
/// use tenantry::database::doctor;
/// use tenantry::table::Schema;
///
/// let schema = Schema::new().tenant::<Order>();
/// let report = doctor::inspect("sqlite::memory:", &schema, &[]).await?;
/// assert_eq!(report.findings()[0].code(), "table-absent");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `Unconfigured` for a URL that cannot be opened, `Unavailable` when the store does not answer,
/// `Misuse` for an inconsistent schema.
pub async fn inspect(url: &str, schema: &Schema, accepted: &[Acceptance]) -> Result<Report> {
    schema.validate()?;
    #[cfg(feature = "postgres")]
    if url.starts_with("postgres:") || url.starts_with("postgresql:") {
        return Ok(super::postgres::inspect(url, schema, accepted).await?.report);
    }
    #[cfg(feature = "sqlite")]
    if url.starts_with("sqlite:") {
        let options: sqlx::sqlite::SqliteConnectOptions = url.parse().map_err(|_| unusable())?;
        let options = options.read_only(!url.contains(":memory:")).pragma("trusted_schema", "OFF");
        let mut connection = options
            .disable_statement_logging()
            .connect()
            .await
            .map_err(|error| super::fault::opening(&error))?;
        return Ok(sqlite::examine(&mut connection, schema, accepted, false).await?.report);
    }
    Err(unusable())
}

fn unusable() -> Error {
    Error::unconfigured("the database URL cannot be read, or names a store that is not compiled in")
}

/// What an examination found, for whoever opens the database.
#[derive(Debug)]
pub(crate) struct Examination {
    pub(crate) report: Report,
    /// Declared tables that do not exist.
    pub(crate) absent: Vec<&'static TableDefinition>,
    /// Whether reads may go by themselves: no policy is looked at before their statement sets whose
    /// rows it touches.
    #[cfg(feature = "postgres")]
    pub(crate) alone: bool,
}

/// Whether `create_tables` mends it on the way, so that it says nothing before.
pub(crate) fn is_mended_with_the_tables(finding: &Finding) -> bool {
    [rules::PG_GRANT_CREATE.code, rules::PG_GRANT_TEMPORARY.code].contains(&finding.code())
}

/// The declared tables, each after those that it refers to, so that remedies run in that order.
/// Tables that refer to each other keep the order of registration.
fn parents_first(schema: &Schema) -> Vec<&'static TableDefinition> {
    let mut waiting: Vec<&'static TableDefinition> = schema.tables().collect();
    let mut ordered: Vec<&'static TableDefinition> = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let is_ready = |table: &&'static TableDefinition| {
            table.references().iter().all(|reference| {
                let target = reference.target().name();
                target == table.name() || !waiting.iter().any(|other| other.name() == target)
            })
        };
        let at = waiting.iter().position(is_ready).unwrap_or(0);
        ordered.push(waiting.remove(at));
    }
    ordered
}

#[cfg(test)]
mod tests;
