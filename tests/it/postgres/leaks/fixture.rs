//! The world of the leaks, in a database of its own.

use std::ops::Deref;
use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection, Postgres};
use tenantry::database::DatabaseBuilder;
use tenantry::scope::{MemoryDirectory, ScopeIssuer};
use tenantry::table::Schema;
use tenantry::{Database, OrganizationId, Result, TenantScope};
use tokio::sync::Mutex;

use crate::leaks::fixture as shared;
pub(crate) use crate::leaks::fixture::{
    Customer, Employee, Genre, Line, Order, Stage, TAINT, again, ann, authority, builder, confess,
    customer, customers, employee, employees, genres, keys, line, order, order_lines, orders,
    organization, people, placed, schema, seen,
};
use crate::postgres::cluster::{APPLICATION, CROSS_TENANT, Cluster, OWNER, TestDatabase};

pub(crate) struct World {
    pub(crate) db: Database,
    pub(crate) a: TenantScope,
    pub(crate) b: TenantScope,
    pub(crate) issuer: ScopeIssuer,
    pub(crate) directory: MemoryDirectory,
    pub(crate) path: Place,
}

/// Where the rows are, for as long as it is held: a database of its own, and a connection to it that
/// nothing restrains.
#[derive(Debug)]
pub(crate) struct Place {
    database: TestDatabase<'static>,
    beside: Mutex<PgConnection>,
}

impl Place {
    pub(crate) async fn new() -> Self {
        let database = Cluster::shared().database().await;
        let beside = Mutex::new(database.superuser().await);
        Self { database, beside }
    }
}

impl Deref for Place {
    type Target = TestDatabase<'static>;

    fn deref(&self) -> &Self::Target {
        &self.database
    }
}

/// The URL under which the application finds it.
pub(crate) fn url(path: &Place) -> String {
    path.url(APPLICATION)
}

/// Opens a database with whatever roles it has for the work.
pub(crate) async fn connect(
    builder: DatabaseBuilder,
    url: &str,
    schema: Schema,
) -> Result<Database> {
    let of = |role| url.replacen(APPLICATION, role, 1);
    let builder = builder.owner_url(&of(OWNER)).cross_tenant_url(&of(CROSS_TENANT));
    builder.connect(url, schema).await
}

/// A database with these tables, opened with these settings.
pub(crate) async fn open(
    issuer: &ScopeIssuer,
    schema: Schema,
    settings: impl FnOnce(DatabaseBuilder) -> DatabaseBuilder,
) -> (Database, Place) {
    let path = Place::new().await;
    let builder = settings(builder(issuer).acquire_timeout(Duration::from_secs(20)));
    let db = connect(builder, &url(&path), schema).await.unwrap();
    db.create_tables().await.unwrap();
    (db, path)
}

/// Reads and writes take turns on one connection.
pub(crate) const fn one_connection(builder: DatabaseBuilder) -> DatabaseBuilder {
    builder.connections(1)
}

/// So many reads run beside one write.
pub(crate) const fn readers(builder: DatabaseBuilder, n: u32) -> DatabaseBuilder {
    builder.connections(n + 1)
}

pub(crate) async fn bare(settings: impl FnOnce(DatabaseBuilder) -> DatabaseBuilder) -> World {
    let (directory, issuer) = people();
    let (db, path) = open(&issuer, schema(), settings).await;
    let a = issuer.enter(&ann(), organization(0xA)).await.unwrap();
    let b = issuer.enter(&ann(), organization(0xB)).await.unwrap();
    World { db, a, b, issuer, directory, path }
}

pub(crate) async fn world_with(settings: impl FnOnce(DatabaseBuilder) -> DatabaseBuilder) -> World {
    let world = bare(settings).await;
    shared::seed(&world.db, &world.a, &world.b).await;
    world
}

pub(crate) async fn world() -> World {
    world_with(|builder| builder).await
}

pub(crate) async fn run_raw(path: &Place, sql: &str) -> sqlx::Result<()> {
    let mut beside = path.beside.lock().await;
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut *beside).await.map(drop)
}

/// The first column of what a query answers beside the library.
pub(crate) async fn ask<T>(path: &Place, query: &str) -> Vec<T>
where
    T: for<'r> sqlx::Decode<'r, Postgres> + sqlx::Type<Postgres> + Send + Unpin,
{
    let mut beside = path.beside.lock().await;
    sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_all(&mut *beside).await.unwrap()
}

/// An organization in a statement.
pub(crate) fn literal(organization: &OrganizationId) -> String {
    format!("'{organization}'")
}

/// Values that are no organization's.
pub(crate) const NOBODIES: &[&str] =
    &["NULL", "''", "'00000000-0000-0000-0000-000000000000'", "'text'", "0"];

/// Takes the tenant column away, and leaves a row.
pub(crate) const WITHOUT_TENANT_COLUMN: &str = "DELETE FROM customers; \
     ALTER TABLE customers DROP COLUMN organization_id CASCADE; \
     INSERT INTO customers VALUES (1, 'TAINT', 'TAINT')";

/// Every row of every table that is not of this organization, as PostgreSQL writes it.
pub(crate) async fn others(path: &Place, organization: &OrganizationId) -> Vec<String> {
    let mut rows = Vec::new();
    for table in ["customers", "orders", "order_lines", "employees", "genres"] {
        let filter = match table {
            "genres" => String::new(),
            _ => format!("WHERE organization_id <> '{organization}'"),
        };
        let query = format!("SELECT t::text FROM {table} AS t {filter} ORDER BY 1");
        let found = ask::<String>(path, &query).await;
        rows.extend(found.into_iter().map(|row| format!("{table}: {row}")));
    }
    rows
}

/// Runs a statement on the rows of an organization with no look at what refers to what.
pub(crate) async fn dangle(path: &Place, organization: &OrganizationId, update: &str) {
    let sql = format!(
        "BEGIN; SET LOCAL session_replication_role = replica; \
         {update} AND organization_id = '{organization}'; COMMIT"
    );
    run_raw(path, &sql).await.unwrap();
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
