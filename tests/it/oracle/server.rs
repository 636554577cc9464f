//! Worlds on PostgreSQL: one after another in the same database, under the same connections and
//! the same prepared statements.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::{Executor as _, PgConnection};
use tenantry::audit::{AuditEvent, AuditSink, MemorySink};
use tenantry::crypto::KeyRing;
use tenantry::scope::ScopeIssuer;
use tenantry::{Database, Result};

use super::tables::schema;
use super::world::{Who, add_genres, issuer};
use crate::postgres::cluster::{APPLICATION, CROSS_TENANT, Cluster, OWNER, TestDatabase};

/// A database with the tables of the fixture.
#[derive(Debug)]
pub struct Server {
    db: Database,
    issuer: ScopeIssuer,
    ledger: Ledger,
    broom: tokio::sync::Mutex<Broom>,
    _database: TestDatabase<'static>,
}

/// Hands every event to the sink of the world that is on.
#[derive(Debug, Clone, Default)]
struct Ledger(Arc<Mutex<MemorySink>>);

#[async_trait]
impl AuditSink for Ledger {
    async fn record(&self, event: &AuditEvent) -> Result<()> {
        let sink = self.0.lock().unwrap().clone();
        sink.record(event).await
    }
}

/// Empties the tables beside the crate.
#[derive(Debug)]
struct Broom {
    connection: PgConnection,
    swept: u32,
}

/// Rows go without a look at what refers to them. Deleted ones are left where they are for a
/// while: new files for every world would take longer than its program.
const SWEEP: &str = r#"
    SET session_replication_role = replica;
    DELETE FROM shipments; DELETE FROM order_lines; DELETE FROM orders; DELETE FROM customers;
    DELETE FROM "Employee"; DELETE FROM items"#;

const TRUNCATE: &str = r#"TRUNCATE shipments, order_lines, orders, customers, "Employee", items"#;

impl Server {
    pub async fn start() -> Self {
        let database = Cluster::shared().database().await;
        let ledger = Ledger::default();
        let issuer = issuer(ledger.clone());
        let db = Database::builder()
            .issuer(&issuer)
            .allow_cross_tenant()
            .cursor_keys(KeyRing::random().unwrap())
            .owner_url(&database.url(OWNER))
            .cross_tenant_url(&database.url(CROSS_TENANT))
            .connections(4)
            .acquire_timeout(Duration::from_secs(20))
            .connect(&database.url(APPLICATION), schema())
            .await
            .unwrap();
        db.create_tables().await.unwrap();
        add_genres(&db).await;
        let broom = Broom { connection: database.superuser().await, swept: 0 };
        Self { db, issuer, ledger, broom: tokio::sync::Mutex::new(broom), _database: database }
    }

    /// The database without a row of any organization.
    pub async fn emptied(&self, sink: &MemorySink) -> (Database, ScopeIssuer) {
        let mut broom = self.broom.lock().await;
        broom.swept += 1;
        let sweep = if broom.swept % 64 == 0 { TRUNCATE } else { SWEEP };
        broom.connection.execute(sqlx::raw_sql(sweep)).await.unwrap();
        // An incident halts its organization, and the next world begins anew.
        Who::ALL.into_iter().for_each(|who| self.issuer.resume(who.organization()));
        self.issuer.flush_audit().await.unwrap();
        *self.ledger.0.lock().unwrap() = sink.clone();
        (self.db.clone(), self.issuer.clone())
    }
}
