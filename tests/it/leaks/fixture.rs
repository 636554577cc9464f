//! Two organizations with colliding ids, names and e-mails, and ways to look around the library.

use std::error::Error as _;
use std::fmt::{Debug, Write as _};
use std::ops::Deref;
use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _, Sqlite};
use tempfile::TempDir;
use tenantry::ambient::{CrossTenantAuthority, cross_tenant_authority};
use tenantry::crypto::{KeyRing, SecretBytes};
use tenantry::database::DatabaseBuilder;
use tenantry::scope::{MemoryDirectory, Principal, Role, ScopeIssuer};
use tenantry::table::Schema;
use tenantry::{Database, OrganizationId, TenantScope};
use time::OffsetDateTime;
use uuid::Uuid;

/// What every value of organization B carries, where it is not made to collide with one of A's.
pub(crate) const TAINT: &str = "TAINT";

tenantry::global_table! {
    /// A genre of the catalogue that all share.
    #[derive(Debug, Clone, PartialEq)]
    pub(crate) struct Genre in genres {
        key id: i64,
        name: String,
    }
    unique (name);
}

tenantry::tenant_table! {
    /// A customer.
    #[derive(Debug, Clone, PartialEq)]
    pub(crate) struct Customer in customers {
        key id: i64,
        name: String,
        token: Option<String>,
    }
    unique (name);
}

tenantry::tenant_table! {
    /// An order of a customer.
    #[derive(Debug, Clone, PartialEq)]
    pub(crate) struct Order in orders {
        key id: i64,
        customer_id: i64 => customers,
        email: String,
        total: i64,
        note: Option<String>,
        placed_at: OffsetDateTime,
    }
    unique (email);
    index (placed_at);
}

tenantry::tenant_table! {
    /// A line of an order, which goes with it.
    #[derive(Debug, Clone, PartialEq)]
    pub(crate) struct Line in order_lines {
        key order_id: i64 => orders on delete cascade,
        key n: i32,
        sku: String,
        quantity: i64,
        genre_id: Option<i64> => genres,
    }
}

tenantry::tenant_table! {
    /// Somebody who may have a boss.
    #[derive(Debug, Clone, PartialEq)]
    pub(crate) struct Employee in employees {
        key id: i64,
        name: String,
        boss: Option<i64> => employees,
    }
}

pub(crate) fn schema() -> Schema {
    Schema::new()
        .tenant::<Customer>()
        .tenant::<Order>()
        .tenant::<Line>()
        .tenant::<Employee>()
        .global::<Genre>()
}

pub(crate) struct World {
    pub(crate) db: Database,
    pub(crate) a: TenantScope,
    pub(crate) b: TenantScope,
    pub(crate) issuer: ScopeIssuer,
    pub(crate) directory: MemoryDirectory,
    pub(crate) path: Place,
}

/// Where the rows are, for as long as it is held: a file in a folder of its own.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    _dir: TempDir,
}

impl Place {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { path: dir.path().join("world.db"), _dir: dir }
    }
}

impl Deref for Place {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

pub(crate) fn organization(number: u128) -> OrganizationId {
    OrganizationId::from_uuid(Uuid::from_u128(number)).unwrap()
}

pub(crate) fn ann() -> Principal {
    Principal::user("ann")
}

/// The key that every process of a test shares.
pub(crate) fn keys() -> KeyRing {
    KeyRing::new([(1, SecretBytes::new((0..32).collect()))]).unwrap()
}

pub(crate) fn authority() -> CrossTenantAuthority {
    cross_tenant_authority("a test looks around", Principal::job("test"))
}

pub(crate) fn url(path: &Path) -> String {
    format!("sqlite://{}", path.display())
}

pub(crate) fn builder(issuer: &ScopeIssuer) -> DatabaseBuilder {
    Database::builder().issuer(issuer).cursor_keys(keys()).allow_cross_tenant()
}

pub(crate) fn people() -> (MemoryDirectory, ScopeIssuer) {
    let directory = MemoryDirectory::new();
    for number in [0xA, 0xB] {
        directory.add_member(&organization(number), &ann(), Role::Member);
    }
    (directory.clone(), ScopeIssuer::new(directory))
}

/// Opens a database with whatever roles it has for the work.
pub(crate) async fn connect(
    builder: DatabaseBuilder,
    url: &str,
    schema: Schema,
) -> tenantry::Result<Database> {
    builder.connect(url, schema).await
}

/// A file database with tables and no rows, opened with these settings.
pub(crate) async fn bare(settings: impl FnOnce(DatabaseBuilder) -> DatabaseBuilder) -> World {
    let (directory, issuer) = people();
    let (db, path) = open(&issuer, schema(), settings).await;
    let a = issuer.enter(&ann(), organization(0xA)).await.unwrap();
    let b = issuer.enter(&ann(), organization(0xB)).await.unwrap();
    World { db, a, b, issuer, directory, path }
}

pub(crate) async fn world_with(settings: impl FnOnce(DatabaseBuilder) -> DatabaseBuilder) -> World {
    let world = bare(settings).await;
    seed(&world.db, &world.a, &world.b).await;
    world
}

/// A database with these tables, opened with these settings.
pub(crate) async fn open(
    issuer: &ScopeIssuer,
    schema: Schema,
    settings: impl FnOnce(DatabaseBuilder) -> DatabaseBuilder,
) -> (Database, Place) {
    let path = Place::new().await;
    let db = settings(builder(issuer)).connect(&url(&path), schema).await.unwrap();
    db.create_tables().await.unwrap();
    (db, path)
}

/// Reads take turns on one connection.
pub(crate) const fn one_connection(builder: DatabaseBuilder) -> DatabaseBuilder {
    readers(builder, 1)
}

/// So many reads run beside one write.
pub(crate) const fn readers(builder: DatabaseBuilder, n: u32) -> DatabaseBuilder {
    builder.read_connections(n)
}

pub(crate) async fn world() -> World {
    world_with(|builder| builder).await
}

/// The rows of both organizations, and the genres.
pub(crate) async fn seed(db: &Database, a: &TenantScope, b: &TenantScope) {
    seed_genres(db).await;
    seed_a(db, a).await;
    seed_b(db, b).await;
}

pub(crate) async fn seed_genres(db: &Database) {
    let genres =
        ["rock", "jazz"].into_iter().zip(1..).map(|(name, id)| Genre { id, name: name.into() });
    Genre::insert_many_global(&authority(), genres).execute(db).await.unwrap();
}

pub(crate) fn placed(id: i64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + time::Duration::days(id)
}

pub(crate) fn order(id: i64, customer_id: i64, email: &str, total: i64) -> Order {
    Order { id, customer_id, email: email.into(), total, note: None, placed_at: placed(id) }
}

pub(crate) fn customer(id: i64, name: &str) -> Customer {
    Customer { id, name: name.into(), token: None }
}

pub(crate) fn line(order_id: i64, n: i32, quantity: i64) -> Line {
    Line { order_id, n, sku: format!("sku-{n}"), quantity, genre_id: None }
}

pub(crate) fn employee(id: i64, name: &str, boss: Option<i64>) -> Employee {
    Employee { id, name: name.into(), boss }
}

pub(crate) async fn seed_a(db: &Database, scope: &TenantScope) {
    let customers = [customer(1, "Ann"), customer(2, "Bob"), customer(3, "Cyd")];
    Customer::insert_many(scope, customers).execute(db).await.unwrap();
    let orders = [
        order(10, 1, "ann@x", 100),
        Order { note: Some("quick".into()), ..order(11, 1, "ann2@x", 200) },
        order(12, 2, "bob@x", 300),
    ];
    Order::insert_many(scope, orders).execute(db).await.unwrap();
    let lines = [line(10, 1, 1), line(10, 2, 2), Line { genre_id: Some(2), ..line(11, 1, 3) }];
    Line::insert_many(scope, lines).execute(db).await.unwrap();
    let employees = [employee(1, "Eve", None), employee(2, "Fay", Some(1))];
    Employee::insert_many(scope, employees).execute(db).await.unwrap();
}

/// The same keys, names and e-mails as A's, other values, and more rows.
pub(crate) async fn seed_b(db: &Database, scope: &TenantScope) {
    let names = ["Ann", "Bob", "Cyd", "Dan", "Eli", "Flo", "Gus"];
    let customers = names.into_iter().zip(1..).map(|(name, id)| Customer {
        token: Some(format!("{TAINT}-token-{id}")),
        ..customer(id, name)
    });
    Customer::insert_many(scope, customers).execute(db).await.unwrap();
    let emails = ["ann@x", "ann2@x", "bob@x", "dan@x", "eli@x", "flo@x", "gus@x"];
    let orders = emails.into_iter().zip(10..).map(|(email, id)| Order {
        note: Some(format!("{TAINT}-note-{id}")),
        ..order(id, id - 9, email, 7_000_000 + id)
    });
    Order::insert_many(scope, orders).execute(db).await.unwrap();
    let lines = (10..17).flat_map(|id| {
        (1..4).map(move |n| Line {
            sku: format!("{TAINT}-sku-{n}"),
            genre_id: Some(1),
            ..line(id, n, 7_000)
        })
    });
    Line::insert_many(scope, lines).execute(db).await.unwrap();
    let employees =
        (1..8).map(|id| employee(id, &format!("{TAINT}-{id}"), (id > 1).then_some(id - 1)));
    Employee::insert_many(scope, employees).execute(db).await.unwrap();
}

/// A connection beside the library.
pub(crate) async fn raw(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .busy_timeout(std::time::Duration::from_secs(5))
        .connect()
        .await
        .unwrap()
}

pub(crate) async fn run_raw(path: &Path, sql: &str) -> sqlx::Result<()> {
    use sqlx::Connection as _;
    let mut connection = raw(path).await;
    let done =
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.map(drop);
    connection.close().await.unwrap();
    done
}

/// The first column of what a query answers beside the library.
pub(crate) async fn ask<T>(path: &Path, query: &str) -> Vec<T>
where
    T: for<'r> sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite> + Send + Unpin,
{
    use sqlx::Connection as _;
    let mut connection = raw(path).await;
    let query = sqlx::query_scalar(AssertSqlSafe(query.to_owned()));
    let answer = query.fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    answer
}

/// An organization in a statement.
pub(crate) fn literal(organization: &OrganizationId) -> String {
    format!("x'{}'", organization.to_string().replace('-', ""))
}

/// Values that are no organization's.
pub(crate) const NOBODIES: &[&str] = &["NULL", "x''", "x'00'", "zeroblob(16)", "'text'", "0"];

/// Takes the tenant column away, and leaves a row.
pub(crate) const WITHOUT_TENANT_COLUMN: &str = "DROP TABLE customers; \
     CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, token TEXT); \
     INSERT INTO customers VALUES (1, 'TAINT', 'TAINT')";

/// Runs a statement on the rows of an organization with no look at what refers to what.
pub(crate) async fn dangle(path: &Path, organization: &OrganizationId, update: &str) {
    let tenant = literal(organization);
    let sql = format!("PRAGMA foreign_keys=OFF; {update} AND organization_id = {tenant}");
    run_raw(path, &sql).await.unwrap();
}

/// Every row of every table that is not of this organization, as SQLite writes it.
pub(crate) async fn others(path: &Path, organization: &OrganizationId) -> Vec<String> {
    let tenant = literal(organization);
    let mut connection = raw(path).await;
    let mut rows = Vec::new();
    for table in ["customers", "orders", "order_lines", "employees", "genres"] {
        let columns: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT name FROM pragma_table_info('{table}')"
        )))
        .fetch_all(&mut connection)
        .await
        .unwrap();
        let list: Vec<String> = columns.iter().map(|name| format!("quote(\"{name}\")")).collect();
        let owned = columns.iter().any(|name| name == "organization_id");
        let filter =
            if owned { format!("WHERE organization_id <> {tenant}") } else { String::new() };
        let sql =
            format!("SELECT {} FROM \"{table}\" {filter} ORDER BY 1, 2", list.join("||','||"));
        let sql = sql.replace("ORDER BY 1, 2", "ORDER BY 1");
        for row in sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap() {
            rows.push(format!("{table}: {}", row.get::<String, _>(0)));
        }
    }
    rows
}

/// Everything that an error lets one see.
pub(crate) fn confess(error: &tenantry::Error) -> String {
    let mut text = format!(
        "{:?} {} {error} {error:?} {error:#?} {:?} {:?} {:?} {} {:?}",
        error.kind(),
        error.http_status(),
        error.table(),
        error.column(),
        error.row(),
        error.is_retryable(),
        error.retry_after(),
    );
    let mut source = error.source();
    while let Some(error) = source {
        let _ = write!(text, " <- {error} {error:?}");
        source = error.source();
    }
    text
}

/// What a caller sees of an outcome.
pub(crate) fn seen<T: Debug>(outcome: tenantry::Result<T>) -> String {
    match outcome {
        Ok(value) => format!("{value:?}"),
        Err(error) => confess(&error),
    }
}

/// A world that tests can make, on either store.
pub(crate) trait Stage: Sized {
    async fn bare() -> Self;
    fn actors(&self) -> (&Database, &TenantScope, &TenantScope);
    /// Every row that is not of this organization.
    async fn others(&self, organization: &OrganizationId) -> Vec<String>;
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

/// Runs A's program in a world where B holds nothing and in one where B holds the same keys and
/// more: A must see the same, nothing of B's, and B's rows must stay as they are.
pub(crate) async fn in_two_worlds_of<W: Stage>(
    program: impl AsyncFn(&W) -> Vec<String>,
) -> Vec<String> {
    let mut observed = Vec::new();
    for full in [false, true] {
        let world = W::bare().await;
        let (db, a, b) = world.actors();
        seed_genres(db).await;
        if full {
            seed_b(db, b).await;
        }
        seed_a(db, a).await;
        let before = world.others(a.organization()).await;
        observed.push(program(&world).await);
        assert_eq!(world.others(a.organization()).await, before, "B's rows changed");
    }
    let [alone, beside] = <[_; 2]>::try_from(observed).unwrap();
    assert_eq!(alone, beside, "what A sees depends on B");
    assert!(!format!("{beside:?}").contains(TAINT), "{beside:?}");
    beside
}

/// The same on SQLite.
pub(crate) async fn in_two_worlds(program: impl AsyncFn(&World) -> Vec<String>) -> Vec<String> {
    in_two_worlds_of(program).await
}

/// The test of this name in a process of its own; `module` is its `module_path!()`.
pub(crate) fn again(module: &str, test: &str) -> std::process::Command {
    let path = module.split_once("::").map_or(module, |(_, path)| path);
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("{path}::{test}"), "--nocapture", "--test-threads=1"]);
    command
}
