//! The world of the leaks, and what this store alone can tell of it.

use tenantry::Database;
use tenantry::scope::ScopeIssuer;
use tenantry::table::Schema;

pub(super) use crate::postgres::leaks::fixture::*;

/// Of so many attempts one is staged: each costs a connection.
pub(super) const EASE: u32 = 4;

/// So many attempts at least meet somebody who waits: none, where the server's answer is there at the
/// first look.
pub(super) const fn fewest() -> u32 {
    0
}

/// A database whose reads and writes all go over one connection.
pub(super) async fn single(issuer: &ScopeIssuer, schema: Schema) -> (Database, Place) {
    open(issuer, schema, one_connection).await
}

/// Nobody has a transaction open: waits until the server has noticed whose client is gone.
pub(super) async fn idle(path: &Place) {
    run_raw(path, "BEGIN; SET LOCAL lock_timeout = '20s'; LOCK TABLE customers; ROLLBACK")
        .await
        .unwrap();
}

/// After a process that was killed: waits until the server has ended what it was asked for.
pub(super) async fn sound(path: &Place) {
    let others = "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()";
    while ask::<i64>(path, others).await != [0] {}
}
