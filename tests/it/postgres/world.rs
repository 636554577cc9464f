//! Two organizations with the same keys, names and addresses in a database of their own.

use std::time::Duration;

use tenantry::database::DatabaseBuilder;
use tenantry::scope::ScopeIssuer;
use tenantry::{Database, TenantScope};

use super::cluster::{APPLICATION, CROSS_TENANT, Cluster, OWNER, TestDatabase};

#[path = "../contract/tables.rs"]
mod tables;

pub use tables::*;

pub struct World<'c> {
    pub db: Database,
    pub a: TenantScope,
    pub b: TenantScope,
    pub issuer: ScopeIssuer,
    pub database: TestDatabase<'c>,
}

pub fn builder(issuer: &ScopeIssuer, database: &TestDatabase<'_>) -> DatabaseBuilder {
    Database::builder()
        .issuer(issuer)
        .owner_url(&database.url(OWNER))
        .cross_tenant_url(&database.url(CROSS_TENANT))
        .allow_cross_tenant()
        .acquire_timeout(Duration::from_secs(20))
        .cursor_keys(tenantry::crypto::KeyRing::random().unwrap())
}

pub async fn world() -> World<'static> {
    world_with(|builder| builder).await
}

pub async fn world_with(
    settings: impl FnOnce(DatabaseBuilder) -> DatabaseBuilder,
) -> World<'static> {
    world_in(Cluster::shared().database().await, settings).await
}

/// The world in a database of a server of the test's own.
pub async fn world_in(
    database: TestDatabase<'_>,
    settings: impl FnOnce(DatabaseBuilder) -> DatabaseBuilder,
) -> World<'_> {
    let (issuer, a, b) = scopes().await;
    let db = settings(builder(&issuer, &database))
        .connect(&database.url(APPLICATION), schema())
        .await
        .unwrap();
    db.create_tables().await.unwrap();
    World { db, a, b, issuer, database }
}

impl World<'_> {
    /// The same customer and `orders` orders in both organizations.
    pub async fn filled(self, orders: u128) -> Self {
        fill(&self.db, [&self.a, &self.b], orders).await;
        self
    }
}
