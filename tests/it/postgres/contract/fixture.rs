//! Two organizations on this store.

use tenantry::table::Schema;
use tenantry::{Database, TenantScope};

use crate::postgres::cluster::{APPLICATION, Cluster, TestDatabase};
pub(super) use crate::postgres::world::*;

/// A database with these tables, for as long as the last value is held.
pub(super) async fn open(
    schema: Schema,
) -> (Database, TenantScope, TenantScope, TestDatabase<'static>) {
    let database = Cluster::shared().database().await;
    let (issuer, a, b) = scopes().await;
    let db = builder(&issuer, &database).connect(&database.url(APPLICATION), schema).await.unwrap();
    db.create_tables().await.unwrap();
    (db, a, b, database)
}
