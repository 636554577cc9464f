//! What isolation costs on PostgreSQL: a get by key and its throughput, over loopback and with a
//! millisecond added to each round trip, and the policy by itself on the server.
//!
//! ```text
//! cargo bench --features postgres --bench postgres           all of it, in about three minutes
//! cargo bench --features postgres --bench postgres -- plans  the plans of the policy alone
//! ```
//!
//! It starts a server of its own, as the suite does. Ways take turns, and only their ratios count.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::future_not_send,
    dead_code,
    unreachable_pub,
    reason = "a bench stops at the first surprise"
)]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgPool, PgPoolOptions, PgRow, PgTypeInfo, Postgres};
use sqlx::{AssertSqlSafe, Connection as _, Encode, Executor as _, PgConnection, Row as _, Type};
use tenantry::scope::{MemoryDirectory, Principal, Role, ScopeIssuer};
use tenantry::table::{Dialect, Schema};
use tenantry::{Database, OrganizationId, TenantScope};
use uuid::Uuid;

#[path = "../tests/it/postgres/cluster.rs"]
mod cluster;

use cluster::{APPLICATION, Cluster, OWNER, TestDatabase};

tenantry::tenant_table! {
    #[derive(Debug)]
    pub(crate) struct Order in orders {
        key id: Uuid,
        customer_id: Uuid,
        email: String,
        total_cents: i64,
        note: Option<String>,
        placed_at: time::OffsetDateTime,
    }
    index (placed_at);
}

const ORGANIZATIONS: u64 = 10_000;
const ROWS_EACH: u64 = 100;

/// The organization and the row that the next read asks for.
fn next() -> (Uuid, Uuid) {
    static TURN: AtomicU64 = AtomicU64::new(1);
    let turn = TURN.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    (organization(turn % ORGANIZATIONS + 1), Uuid::from_u128(u128::from(turn % ROWS_EACH + 1)))
}

fn organization(number: u64) -> Uuid {
    Uuid::from_u128(0x4000_8000_0000_0000_0000 + u128::from(number))
}

/// sqlx's own encoding of a UUID is a feature that nothing else here needs.
struct Id(Uuid);

impl Type<Postgres> for Id {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(2950))
    }
}

impl Encode<'_, Postgres> for Id {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }
}

/// The key of a row that was read.
fn key(row: &PgRow) -> Uuid {
    Uuid::from_slice(row.try_get_raw(1).unwrap().as_bytes().unwrap()).unwrap()
}

const COLUMNS: &str = r#"t0."organization_id", t0."id", t0."customer_id", t0."email", t0."total_cents", t0."note", t0."placed_at""#;

fn get(table: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM {table} AS t0 WHERE t0.organization_id = $1 AND t0.id = $2"
    ))
}

/// A proxy that adds a millisecond to each round trip. Threads, because tokio's clock ticks once a
/// millisecond.
fn slow_proxy(port: u16) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let own = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || pass(from, to, Duration::from_millis(1)));
            std::thread::spawn(move || pass(server, client, Duration::ZERO));
        }
    });
    own
}

fn pass(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if delay > Duration::ZERO {
            std::thread::sleep(delay);
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// The database with its rows, and the scopes.
struct World {
    database: TestDatabase<'static>,
    issuer: ScopeIssuer,
    scopes: Vec<TenantScope>,
}

fn schema() -> Schema {
    Schema::new().tenant::<Order>()
}

impl World {
    async fn filled() -> Self {
        let database = Cluster::shared().database().await;
        database.run(OWNER, &schema().ddl(Dialect::Postgres).unwrap()).await;
        let fill = format!(
            "INSERT INTO orders SELECT ('00000000-0000-4000-8000-' || lpad(to_hex(o), 12, '0'))::uuid,
                 ('00000000-0000-0000-0000-' || lpad(to_hex(i), 12, '0'))::uuid, gen_random_uuid(),
                 i || '@example.com', i, NULL, '2026-01-01'::timestamptz + i * interval '1 minute'
             FROM generate_series(1, {ORGANIZATIONS}) AS o, generate_series(1, {ROWS_EACH}) AS i"
        );
        let mut superuser = database.superuser().await;
        for sql in [
            fill.as_str(),
            "CREATE TABLE plain (LIKE orders INCLUDING ALL)",
            "INSERT INTO plain SELECT * FROM orders",
            "GRANT SELECT ON plain TO tenantry_app",
            "VACUUM (ANALYZE) orders",
            "VACUUM (ANALYZE) plain",
            "CHECKPOINT",
        ] {
            superuser.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
        }
        let members = MemoryDirectory::new();
        let issuer = ScopeIssuer::new(members.clone());
        let ann = Principal::user("ann");
        let mut scopes = Vec::new();
        for number in 1..=ORGANIZATIONS {
            let organization = OrganizationId::from_uuid(organization(number)).unwrap();
            members.add_member(&organization, &ann, Role::Member);
            scopes.push(issuer.enter(&ann, organization).await.unwrap());
        }
        Self { database, issuer, scopes }
    }

    async fn open(&self, url: &str, connections: u32) -> Database {
        let builder = Database::builder().issuer(&self.issuer).connections(connections);
        builder.connect(url, schema()).await.unwrap()
    }

    fn scope(&self, organization: Uuid) -> &TenantScope {
        &self.scopes[(organization.as_u128() & 0xffff_ffff) as usize - 1]
    }
}

/// A way to read a row by its key.
type Way = (&'static str, Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>);

fn way<F>(name: &'static str, run: impl Fn() -> F + Send + Sync + 'static) -> Way
where
    F: Future<Output = ()> + Send + 'static,
{
    (name, Arc::new(move || Box::pin(run())))
}

async fn pool(url: &str, connections: u32, ping: bool) -> PgPool {
    let options = PgPoolOptions::new().max_connections(connections).test_before_acquire(ping);
    options.connect(url).await.unwrap()
}

fn unprotected(name: &'static str, pool: PgPool) -> Way {
    way(name, move || {
        let pool = pool.clone();
        async move {
            let (organization, id) = next();
            let read = sqlx::query(get("plain")).bind(Id(organization)).bind(Id(id));
            assert_eq!(key(&read.fetch_one(&pool).await.unwrap()), id);
        }
    })
}

/// Row-level security as it is usually written.
fn usual(pool: PgPool) -> Way {
    way("row-level security, the usual way", move || {
        let pool = pool.clone();
        async move {
            let (organization, id) = next();
            let mut tx = pool.begin().await.unwrap();
            sqlx::query("SELECT set_config('tenantry.organization', $1, true)")
                .bind(organization.to_string())
                .execute(&mut *tx)
                .await
                .unwrap();
            let read = sqlx::query(get("orders")).bind(Id(organization)).bind(Id(id));
            assert_eq!(key(&read.fetch_one(&mut *tx).await.unwrap()), id);
            tx.commit().await.unwrap();
        }
    })
}

fn ours(name: &'static str, db: Database, world: &Arc<World>) -> Way {
    let world = Arc::clone(world);
    way(name, move || {
        let (db, world) = (db.clone(), Arc::clone(&world));
        async move {
            let (organization, id) = next();
            let scope = world.scope(organization);
            assert_eq!(Order::find(scope, id).fetch_one(&db).await.unwrap().id, id);
        }
    })
}

fn in_a_transaction(name: &'static str, db: Database, world: &Arc<World>) -> Way {
    let world = Arc::clone(world);
    way(name, move || {
        let (db, world) = (db.clone(), Arc::clone(&world));
        async move {
            let (organization, id) = next();
            let scope = world.scope(organization);
            let mut tx = db.begin(scope).await.unwrap();
            assert_eq!(Order::find(scope, id).fetch_one(&mut tx).await.unwrap().id, id);
        }
    })
}

async fn ways(world: &Arc<World>, url: &str, connections: u32) -> Vec<Way> {
    let db = world.open(url, connections).await;
    vec![
        unprotected("sqlx, unprotected, defaults", pool(url, connections, true).await),
        unprotected("sqlx, unprotected, no ping", pool(url, connections, false).await),
        usual(pool(url, connections, true).await),
        in_a_transaction("tenantry, in a transaction", db.clone(), world),
        ours("tenantry, by itself", db, world),
    ]
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn table(title: &str, unit: &str, names: &[&str], rounds: &[Vec<f64>]) {
    println!("\n{title}\n{:<36} {unit:>10} {:>7}", "", "ratio");
    for (at, name) in names.iter().enumerate() {
        let value = median(rounds.iter().map(|round| round[at]).collect());
        let ratio = median(rounds.iter().map(|round| round[at] / round[0]).collect());
        println!("{name:<36} {value:>10.1} {ratio:>7.2}");
    }
}

/// One caller at a time, against one connection with a prepared statement.
async fn latency(world: &Arc<World>, url: &str, title: &str, rounds: usize, batch: u32) {
    let bare = Arc::new(tokio::sync::Mutex::new(PgConnection::connect(url).await.unwrap()));
    let mut all = vec![way("sqlx, one prepared statement", move || {
        let bare = Arc::clone(&bare);
        async move {
            let (organization, id) = next();
            let read = sqlx::query(get("plain")).bind(Id(organization)).bind(Id(id));
            let row = read.fetch_one(&mut *bare.lock().await).await.unwrap();
            assert_eq!(key(&row), id);
        }
    })];
    all.extend(ways(world, url, 4).await);
    let mut taken = Vec::new();
    for round in 0..=rounds {
        let mut row = Vec::new();
        for (_, run) in &all {
            let start = Instant::now();
            for _ in 0..batch {
                run().await;
            }
            row.push(start.elapsed().as_secs_f64() * 1e6 / f64::from(batch));
        }
        // The first round prepares.
        if round > 0 {
            taken.push(row);
        }
    }
    let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    table(&format!("get by key, {title}"), "µs", &names, &taken);
}

/// Sixteen callers, eight connections: reads a second.
async fn throughput(world: &Arc<World>, url: &str, title: &str, rounds: usize, each: u32) {
    const CALLERS: u32 = 16;
    let all = ways(world, url, 8).await;
    let mut taken = Vec::new();
    for round in 0..=rounds {
        let mut row = Vec::new();
        for (_, run) in &all {
            let start = Instant::now();
            let callers = (0..CALLERS).map(|_| {
                let run = Arc::clone(run);
                tokio::spawn(async move {
                    for _ in 0..each {
                        run().await;
                    }
                })
            });
            for caller in callers.collect::<Vec<_>>() {
                caller.await.unwrap();
            }
            row.push(f64::from(CALLERS * each) / start.elapsed().as_secs_f64());
        }
        if round > 0 {
            taken.push(row);
        }
    }
    let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    table(&format!("throughput, pool of 8, {title}"), "reads/s", &names, &taken);
}

const STATEMENTS: [(&str, &str, u32); 3] = [
    (
        "get",
        "SELECT * FROM TABLE WHERE organization_id = ORG AND id = '00000000-0000-0000-0000-000000000007'",
        4_000,
    ),
    (
        "list",
        "SELECT * FROM TABLE WHERE organization_id = ORG ORDER BY placed_at DESC, id DESC LIMIT 50",
        1_500,
    ),
    ("count", "SELECT count(*) FROM TABLE WHERE organization_id = ORG AND total_cents > 5", 1_500),
];

/// The same statement with and without row-level security, in a loop on the server: neither the
/// client nor the network takes part.
async fn policy(world: &World, rounds: usize) {
    let mut connection = world.database.connect(APPLICATION).await;
    println!(
        "\npolicy, on the server\n{:<10} {:>10} {:>12} {:>7}",
        "", "without µs", "with µs", "ratio"
    );
    for (name, statement, times) in STATEMENTS {
        let (mut without, mut with, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=rounds {
            let plain = looped(&mut connection, statement, "plain", times).await;
            let walled = looped(&mut connection, statement, "orders", times).await;
            if round > 0 {
                without.push(plain);
                with.push(walled);
                ratios.push(walled / plain);
            }
        }
        let (without, with) = (median(without), median(with));
        println!("{name:<10} {without:>10.1} {with:>12.1} {:>7.2}", median(ratios));
    }
}

/// Microseconds of one run.
async fn looped(connection: &mut PgConnection, statement: &str, table: &str, times: u32) -> f64 {
    let statement = statement.replace("TABLE", table).replace("ORG", "o");
    let body = format!(
        "DO $$ DECLARE o uuid; row record; began timestamptz := clock_timestamp();
         BEGIN
             FOR n IN 1..{times} LOOP
                 o := ('00000000-0000-4000-8000-' || lpad(to_hex(n * 7919 % {ORGANIZATIONS} + 1), 12, '0'))::uuid;
                 PERFORM set_config('tenantry.organization', o::text, true);
                 FOR row IN {statement} LOOP END LOOP;
             END LOOP;
             PERFORM set_config('bench.micros', (extract(epoch FROM clock_timestamp() - began) * 1e6)::text, false);
         END $$"
    );
    connection.execute(AssertSqlSafe(body)).await.unwrap();
    let taken = connection.fetch_one("SELECT current_setting('bench.micros')").await.unwrap();
    taken.get::<String, _>(0).parse::<f64>().unwrap() / f64::from(times)
}

async fn plans(world: &World) {
    let mut connection = world.database.connect(APPLICATION).await;
    let organization = organization(77);
    let set = format!("SET tenantry.organization = '{organization}'");
    connection.execute(AssertSqlSafe(set)).await.unwrap();
    for (name, statement, _) in STATEMENTS {
        for table in ["plain", "orders"] {
            let statement =
                statement.replace("TABLE", table).replace("ORG", &format!("'{organization}'"));
            let explain = AssertSqlSafe(format!("EXPLAIN (ANALYZE, COSTS OFF) {statement}"));
            println!("\n{name}, {table}");
            for line in connection.fetch_all(explain).await.unwrap() {
                println!("    {}", line.get::<String, _>(0));
            }
        }
    }
}

fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let world = Arc::new(World::filled().await);
        plans(&world).await;
        if std::env::args().any(|argument| argument == "plans") {
            return;
        }
        policy(&world, 11).await;
        let direct = world.database.url(APPLICATION);
        let port = Cluster::shared().port();
        let far = direct.replace(&format!(":{port}/"), &format!(":{}/", slow_proxy(port)));
        let spawned = tokio::spawn(async move {
            latency(&world, &direct, "loopback", 21, 200).await;
            latency(&world, &far, "1 ms added", 15, 60).await;
            throughput(&world, &direct, "loopback", 7, 150).await;
            throughput(&world, &far, "1 ms added", 7, 60).await;
        });
        spawned.await.unwrap();
    });
}
