//! A read by itself: one round trip, in a statement that says whose rows it touches and then runs
//! the one that reads them.
//!
//! The statement inside is the one that would run in a transaction, predicate and witness included;
//! its values are bound as they are there, and the organization behind them. The whole is prepared
//! once and a transaction of its own, and what it sets ends with it, on the server, whatever becomes
//! of whoever waits.
//!
//! What goes wrong with this way and not with the statement (a column is of another type than it
//! was, the connection was closed meanwhile, nobody may call `set_config`) is no error: the
//! statement then runs in a transaction.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sqlx::postgres::PgArguments;
use sqlx::{Arguments as _, SqlStr};

use super::{PostgresStore, Session};
use crate::database::fault::{Fault, Faulty, StoreError};
use crate::database::raw;
use crate::database::statement::{Arguments, Bound};
use crate::database::store::Purpose;
use crate::error::{Error, Result};
use crate::id::OrganizationId;
use crate::query::Sql;
use crate::scope::TenantScope;
use crate::table::StoreRow;

impl PostgresStore {
    /// A read by itself.
    ///
    /// INVARIANT: only where statements stay prepared, because those that do not are parsed in one
    /// message and run in the next, between which a pooler can lend the connection to another
    /// client; only where the server limits the time of every statement, because nothing that the
    /// statement sets does; and only where the doctor saw no policy that is looked at when the
    /// statement starts, before it sets anything.
    pub(crate) async fn read(self: &Arc<Self>, scope: &TenantScope) -> Result<Option<Read>> {
        let pool = &self.application;
        if !pool.prepared || !pool.limited || !self.alone.load(Ordering::Acquire) {
            return Ok(None);
        }
        let session = match self.idle_session(pool, self.statement_timeout).await {
            Ok(session) => Some(session),
            // A connection that breaks while it is made: a transaction tries the next ones.
            Err(Fault::Garbled(_) | Fault::Lost(_)) => None,
            Err(fault) => return Err(Self::unavailable(pool, fault)),
        };
        Ok(Some(Read { store: Arc::clone(self), scope: scope.clone(), session }))
    }
}

/// One read of one organization, outside of a transaction.
pub(crate) struct Read {
    store: Arc<PostgresStore>,
    scope: TenantScope,
    pub(super) session: Option<Session>,
}

impl Read {
    pub(crate) async fn run(
        &mut self,
        bound: Bound,
        mut each: impl FnMut(StoreRow) -> Result<()> + Send,
    ) -> Faulty<u64> {
        let (sql, values) = split(bound)?;
        if let Some(session) = &mut self.session {
            let (alone, arguments) = scoped(&sql, &values, self.scope.organization())?;
            let mut handed_over = false;
            let outcome = session
                .run(alone, arguments, |row| {
                    handed_over = true;
                    each(row)
                })
                .await;
            match outcome {
                Err(fault) if !handed_over && self.retreats(&fault) => {}
                outcome => return outcome,
            }
        }
        self.begun().await?.run(sql, values, each).await
    }

    pub(crate) async fn first(&mut self, bound: Bound) -> Faulty<Option<StoreRow>> {
        let (sql, values) = split(bound)?;
        if let Some(session) = &mut self.session {
            let (alone, arguments) = scoped(&sql, &values, self.scope.organization())?;
            match session.first(alone, arguments).await {
                Err(fault) if self.retreats(&fault) => {}
                outcome => return outcome,
            }
        }
        self.begun().await?.first(sql, values).await
    }

    /// The same connection in a transaction, or another one where it was lost.
    async fn begun(&mut self) -> Faulty<&mut Session> {
        let begins_with = self.store.application.begins_with;
        let organization = Some(self.scope.organization());
        let begin = self.store.begin_sql(organization, Purpose::Read, begins_with)?;
        let mut begun = None;
        if let Some(mut session) = self.session.take()
            && session.is_sound()
        {
            match session.begin(begin).await {
                Ok(()) => begun = Some(session),
                Err(fault) if fault.lost_connection() => {}
                Err(fault) => return Err(fault),
            }
        }
        let session = match begun {
            Some(session) => session,
            None => self.store.session(organization, Purpose::Read).await?,
        };
        // The wait for a connection can be long.
        self.scope.check()?;
        Ok(self.session.insert(session))
    }

    /// Whether the statement runs in a transaction after this: what failed may have been the way.
    fn retreats(&mut self, fault: &Fault) -> bool {
        // It has an organization that nobody of us gave it.
        if matches!(fault, Fault::Internal(StoreError::Postgres(code)) if code == b"42704")
            && let Some(session) = self.session.take()
        {
            session.close();
        }
        matches!(
            fault,
            Fault::Garbled(_)
                | Fault::Internal(_)
                | Fault::Lost(_)
                | Fault::Outdated(_)
                | Fault::Unprepared(_)
                | Fault::Unprivileged(_)
        )
    }
}

fn split(bound: Bound) -> Result<(SqlStr, PgArguments)> {
    match bound.arguments {
        Arguments::Postgres(arguments) => Ok((bound.sql, arguments)),
        #[cfg(feature = "sqlite")]
        Arguments::Sqlite(_) => Err(Error::internal("a statement was bound for another store")),
    }
}

/// The statement that runs `sql` for an organization, and its values.
fn scoped(
    sql: &SqlStr,
    values: &PgArguments,
    organization: &OrganizationId,
) -> Result<(SqlStr, PgArguments)> {
    let mut arguments = values.clone();
    let added = arguments.add(organization.to_string());
    added.map_err(|_| Error::internal("an organization could not be bound"))?;
    let alone = render(sql.as_str(), arguments.len());
    Ok((raw::rendered(Sql::Once(alone)), arguments))
}

/// INVARIANT: what reads refers to what sets, and `OFFSET 0` keeps the server from taking either
/// apart, so that in every plan the settings are made first, once, and the statement starts after
/// them. If it did start before, it would find no organization, and see no row.
///
/// Where the transaction has an organization already, the setting has a name that the server does
/// not know, which is an error: a statement that is taken for another, as behind a pooler that does
/// not follow prepared statements, changes no organization.
///
/// Names are qualified, so that no `search_path` says what they mean. The statement qualifies its
/// columns by its own aliases (`t0`), so that none of them is ours.
pub(super) fn render(statement: &str, organization: usize) -> String {
    format!(
        "SELECT tenantry_read.* FROM (SELECT \
         pg_catalog.set_config(CASE WHEN pg_catalog.current_setting('tenantry.organization', true) \
         OPERATOR(pg_catalog.<>) '' THEN 'the_transaction_has_an_organization' \
         ELSE 'tenantry.organization' END, ${organization}::pg_catalog.text, true) AS tenantry_organization, \
         pg_catalog.set_config('transaction_read_only', 'on', true) AS tenantry_read_only \
         OFFSET 0) AS tenantry_scope CROSS JOIN LATERAL (SELECT * FROM ({statement}) AS tenantry_statement \
         WHERE tenantry_scope.tenantry_organization IS NOT NULL \
         AND tenantry_scope.tenantry_read_only IS NOT NULL \
         OFFSET 0) AS tenantry_read"
    )
}
