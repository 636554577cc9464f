//! The world of the leaks, in a database of its own.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Executor as _, Row as _};
use tenantry::database::DatabaseBuilder;
use tenantry::scope::{MemoryDirectory, ScopeIssuer};
use tenantry::table::Schema;
use tenantry::{Database, OrganizationId, TenantScope};

use crate::leaks::fixture as shared;
pub(crate) use crate::leaks::fixture::{
    Customer, Employee, Genre, Line, Order, Stage, TAINT, ann, authority, builder, confess,
    customer, customers, employee, employees, order, order_lines, orders, organization, people,
    schema, seen,
};
use crate::postgres::cluster::{APPLICATION, CROSS_TENANT, Cluster, OWNER, TestDatabase};

pub(crate) struct World {
    pub(crate) db: Database,
    pub(crate) a: TenantScope,
    pub(crate) b: TenantScope,
    pub(crate) issuer: ScopeIssuer,
    pub(crate) directory: MemoryDirectory,
    /// Where the rows are.
    pub(crate) path: TestDatabase<'static>,
}

/// A database with these tables, opened with these settings, for as long as it is held.
pub(crate) async fn open(
    issuer: &ScopeIssuer,
    schema: Schema,
    settings: impl FnOnce(DatabaseBuilder) -> DatabaseBuilder,
) -> (Database, TestDatabase<'static>) {
    let database = Cluster::shared().database().await;
    let builder = builder(issuer)
        .owner_url(&database.url(OWNER))
        .cross_tenant_url(&database.url(CROSS_TENANT))
        .acquire_timeout(Duration::from_secs(20));
    let db = settings(builder).connect(&database.url(APPLICATION), schema).await.unwrap();
    db.create_tables().await.unwrap();
    (db, database)
}

pub(crate) const fn one_connection(builder: DatabaseBuilder) -> DatabaseBuilder {
    builder.connections(1)
}

pub(crate) async fn bare(settings: impl FnOnce(DatabaseBuilder) -> DatabaseBuilder) -> World {
    let (directory, issuer) = people();
    let (db, path) = open(&issuer, schema(), settings).await;
    let a = issuer.enter(&ann(), organization(0xA)).await.unwrap();
    let b = issuer.enter(&ann(), organization(0xB)).await.unwrap();
    World { db, a, b, issuer, directory, path }
}

pub(crate) async fn world() -> World {
    let world = bare(|builder| builder).await;
    shared::seed(&world.db, &world.a, &world.b).await;
    world
}

/// Every row of every table that is not of this organization, as PostgreSQL writes it.
pub(crate) async fn others(
    path: &TestDatabase<'static>,
    organization: &OrganizationId,
) -> Vec<String> {
    let mut connection = path.superuser().await;
    let mut rows = Vec::new();
    for table in ["customers", "orders", "order_lines", "employees", "genres"] {
        let filter = match table {
            "genres" => String::new(),
            _ => format!("WHERE organization_id <> '{organization}'"),
        };
        let sql = format!("SELECT t::text FROM {table} AS t {filter} ORDER BY 1");
        for row in connection.fetch_all(AssertSqlSafe(sql)).await.unwrap() {
            rows.push(format!("{table}: {}", row.get::<String, _>(0)));
        }
    }
    rows
}

/// Runs a statement on the rows of an organization with no look at what refers to what.
pub(crate) async fn dangle(
    path: &TestDatabase<'static>,
    organization: &OrganizationId,
    update: &str,
) {
    let statements = [
        "SET session_replication_role = replica".to_owned(),
        format!("{update} AND organization_id = '{organization}'"),
    ];
    path.run("postgres", &statements).await;
}

impl Stage for World {
    async fn bare() -> Self {
        bare(|builder| builder).await
    }

    fn actors(&self) -> (&Database, &TenantScope, &TenantScope) {
        (&self.db, &self.a, &self.b)
    }

    async fn others(&self, organization: &OrganizationId) -> Vec<String> {
        others(&self.path, organization).await
    }
}

pub(crate) async fn in_two_worlds(program: impl AsyncFn(&World) -> Vec<String>) -> Vec<String> {
    shared::in_two_worlds_of(program).await
}
