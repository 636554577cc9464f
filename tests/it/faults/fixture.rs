//! The world of the leaks, and what this store alone can tell of it.

use std::path::Path;

use tenantry::Database;
use tenantry::scope::ScopeIssuer;
use tenantry::table::Schema;

pub(super) use crate::leaks::fixture::*;

/// Of so many attempts one is staged.
pub(super) const EASE: u32 = 1;

/// So many attempts at least meet somebody who waits.
pub(super) const fn fewest() -> u32 {
    11
}

/// A database whose reads and writes all go over one connection.
pub(super) async fn single(issuer: &ScopeIssuer, schema: Schema) -> (Database, ()) {
    let db = builder(issuer).connect("sqlite::memory:", schema).await.unwrap();
    db.create_tables().await.unwrap();
    (db, ())
}

/// Nobody has a transaction open.
pub(super) async fn idle(path: &Path) {
    run_raw(path, "BEGIN IMMEDIATE; ROLLBACK").await.unwrap();
}

/// After a process that was killed.
pub(super) async fn sound(path: &Path) {
    assert_eq!(ask::<String>(path, "PRAGMA integrity_check").await, ["ok"]);
}
