//! The stores behind one small interface: sessions that begin, run and end statements.

#![cfg_attr(
    not(all(feature = "postgres", feature = "sqlite")),
    allow(unused_variables, reason = "what one store asks for another may not need")
)]

#[cfg(feature = "postgres")]
use std::sync::Arc;

use futures_core::stream::BoxStream;

use super::Settings;
use super::doctor::{Acceptance, Examination};
use super::fault::Faulty;
#[cfg(feature = "postgres")]
use super::postgres::{self, PostgresStore};
#[cfg(feature = "sqlite")]
use super::sqlite::{self, SqliteStore};
use super::statement::{Arguments, Bound};
use crate::error::Result;
use crate::id::OrganizationId;
#[cfg(feature = "postgres")]
use crate::scope::TenantScope;
use crate::table::{Dialect, Schema, StoreRow, TableDefinition};

/// The store of a Database.
#[derive(Debug)]
pub(crate) enum Store {
    #[cfg(feature = "postgres")]
    Postgres(Arc<PostgresStore>),
    #[cfg(feature = "sqlite")]
    Sqlite(SqliteStore),
}

/// A connection in the hands of one statement or one transaction.
///
/// Dropped with a transaction open, it rolls back.
pub(crate) enum Session {
    #[cfg(feature = "postgres")]
    Postgres(postgres::Session),
    #[cfg(feature = "sqlite")]
    Sqlite(sqlite::Session),
}

/// How a session is meant to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// One read.
    Read,
    /// One read that lasts as long as somebody reads.
    Stream,
    /// One statement that commits by itself where the store has such a thing.
    Write,
    /// The rows of one batch, all or none.
    Batch,
    /// Several statements, or one whose answer is looked at before it is kept.
    Transaction,
}

impl Store {
    pub(crate) const fn dialect(&self) -> Dialect {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => Dialect::Postgres,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => Dialect::Sqlite,
        }
    }

    pub(super) fn arguments(&self) -> Arguments {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => Arguments::Postgres(sqlx::postgres::PgArguments::default()),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => Arguments::Sqlite(sqlx::sqlite::SqliteArguments::default()),
        }
    }

    /// What a statement of its own begins with, to say whose rows it touches. Empty where the
    /// session says it.
    pub(crate) const fn prologue(&self, purpose: Purpose) -> &'static str {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => "",
            #[cfg(feature = "sqlite")]
            Self::Sqlite(store) => store.prologue(purpose),
        }
    }

    /// A session for one organization, or for cross-tenant work.
    pub(crate) async fn session(
        &self,
        organization: Option<&OrganizationId>,
        purpose: Purpose,
    ) -> Result<Session> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => {
                // On the heap, so that the futures of statements stay small on both stores.
                Box::pin(store.session(organization, purpose)).await.map(Session::Postgres)
            }
            #[cfg(feature = "sqlite")]
            Self::Sqlite(store) => store.session(organization, purpose).await.map(Session::Sqlite),
        }
    }

    /// A read of one statement that needs no transaction around it, where the store has such.
    #[cfg(feature = "postgres")]
    pub(crate) async fn read(&self, scope: &TenantScope) -> Result<Option<postgres::Read>> {
        match self {
            Self::Postgres(store) => store.read(scope).await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => Ok(None),
        }
    }

    /// Creates what the declarations want and the database lacks.
    pub(crate) async fn create_tables(&self, schema: &Schema) -> Result<()> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store.create_tables(schema).await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(store) => store.create_tables(schema).await,
        }
    }

    pub(crate) async fn examine(
        &self,
        schema: &Schema,
        accepted: &[Acceptance],
        deep: bool,
    ) -> Result<Examination> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store.examine(schema, accepted, deep).await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(store) => store.examine(schema, accepted, deep).await,
        }
    }

    /// Lets go of what rows were before, as far as this store keeps it beside them.
    pub(crate) async fn forget(&self) -> Result<bool> {
        match self {
            // The server does, when it vacuums the table.
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => Ok(true),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(store) => store.empty_log().await,
        }
    }

    /// Gets ready to serve a database that the doctor has passed.
    pub(crate) async fn raise_wall(
        &self,
        schema: &Schema,
        absent: &[&'static TableDefinition],
    ) -> Result<()> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store.learn_names().await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(store) => store.raise_wall(schema, absent).await,
        }
    }

    /// How long a caller waits for one read, where the session does not see to it.
    pub(crate) fn patience(&self, settings: &Settings) -> Option<std::time::Duration> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => None,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => settings.statement_timeout,
        }
    }

    pub(crate) async fn ping(&self) -> Result<()> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store.ping().await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(store) => store.ping().await,
        }
    }

    pub(crate) async fn close(&self) {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store.close().await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(store) => store.close().await,
        }
    }
}

impl Session {
    /// Runs a statement and hands over each row; answers the rows affected.
    pub(crate) async fn run(
        &mut self,
        bound: Bound,
        each: impl FnMut(StoreRow) -> Result<()> + Send,
    ) -> Faulty<u64> {
        match (self, bound.arguments) {
            #[cfg(feature = "postgres")]
            (Self::Postgres(session), Arguments::Postgres(arguments)) => {
                session.run(bound.sql, arguments, each).await
            }
            #[cfg(feature = "sqlite")]
            (Self::Sqlite(session), Arguments::Sqlite(arguments)) => {
                sqlite::run(session.connection(), sqlite::query(bound.sql, arguments), each).await
            }
            #[cfg(all(feature = "postgres", feature = "sqlite"))]
            _ => Err(other_store()),
        }
    }

    /// Reads the first row and lets the statement go.
    pub(crate) async fn first(&mut self, bound: Bound) -> Faulty<Option<StoreRow>> {
        match (self, bound.arguments) {
            #[cfg(feature = "postgres")]
            (Self::Postgres(session), Arguments::Postgres(arguments)) => {
                session.first(bound.sql, arguments).await
            }
            #[cfg(feature = "sqlite")]
            (Self::Sqlite(session), Arguments::Sqlite(arguments)) => {
                sqlite::first(session.connection(), sqlite::query(bound.sql, arguments)).await
            }
            #[cfg(all(feature = "postgres", feature = "sqlite"))]
            _ => Err(other_store()),
        }
    }

    /// The rows of a statement as a stream.
    pub(crate) fn stream(&mut self, bound: Bound) -> BoxStream<'_, Faulty<StoreRow>> {
        match (self, bound.arguments) {
            #[cfg(feature = "postgres")]
            (Self::Postgres(session), Arguments::Postgres(arguments)) => {
                session.stream(bound.sql, arguments)
            }
            #[cfg(feature = "sqlite")]
            (Self::Sqlite(session), Arguments::Sqlite(arguments)) => {
                sqlite::stream(session.connection(), sqlite::query(bound.sql, arguments))
            }
            #[cfg(all(feature = "postgres", feature = "sqlite"))]
            _ => Box::pin(futures_util::stream::once(async { Err(other_store()) })),
        }
    }

    /// Makes permanent what was begun.
    pub(crate) async fn commit(&mut self) -> Result<()> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(session) => session.commit().await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(session) => session.commit().await,
        }
    }

    /// Undoes what was begun.
    pub(crate) async fn rollback(&mut self) -> Result<()> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(session) => session.rollback().await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(session) => session.rollback().await,
        }
    }

    /// A savepoint by its number: nested begins of sqlx lose the outer transaction when they are
    /// cancelled, plain statements do not.
    pub(crate) async fn savepoint(&mut self, verb: &'static str, depth: u32) -> Result<()> {
        let sql = format!("{verb} tenantry_{depth}");
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(session) => session.savepoint(sql).await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(session) => sqlite::run_ddl(session.connection(), sql).await,
        }
    }

    /// Whether a statement that failed leaves the transaction as it was before it.
    pub(crate) const fn undoes_statements(&self) -> bool {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => false,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => true,
        }
    }

    /// Says how the one statement of the session ended, before the session is dropped.
    pub(crate) fn release<T>(&mut self, outcome: &Faulty<T>) {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => {}
            #[cfg(feature = "sqlite")]
            Self::Sqlite(session) => session.release(outcome),
        }
    }
}

#[cfg(all(feature = "postgres", feature = "sqlite"))]
#[cold]
fn other_store() -> super::fault::Fault {
    crate::error::Error::internal("a statement was bound for another store").into()
}
