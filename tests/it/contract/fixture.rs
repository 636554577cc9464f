//! Two organizations in a file.

use tempfile::TempDir;
use tenantry::table::Schema;
use tenantry::{Database, TenantScope};

pub(super) use super::tables::*;

pub(super) struct World {
    pub(super) db: Database,
    pub(super) a: TenantScope,
    pub(super) b: TenantScope,
    _dir: TempDir,
}

/// A database with these tables, for as long as the last value is held.
pub(super) async fn open(schema: Schema) -> (Database, TenantScope, TenantScope, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let (issuer, a, b) = scopes().await;
    let url = format!("sqlite://{}", dir.path().join("contract.db").display());
    let keys = tenantry::crypto::KeyRing::random().unwrap();
    let db = Database::builder().issuer(&issuer).cursor_keys(keys);
    let db = db.connect(&url, schema).await.unwrap();
    db.create_tables().await.unwrap();
    (db, a, b, dir)
}

pub(super) async fn world() -> World {
    let (db, a, b, dir) = open(schema()).await;
    World { db, a, b, _dir: dir }
}

impl World {
    pub(super) async fn filled(self, orders: u128) -> Self {
        fill(&self.db, [&self.a, &self.b], orders).await;
        self
    }
}
