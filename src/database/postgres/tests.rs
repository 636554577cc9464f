//! What the next borrower of a connection finds, whatever became of the one before.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "SQL of the test's own")]

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::{Executor as _, Row as _};

use super::names::SharedNames;
use super::{PostgresStore, Session};
use crate::database::Database;
use crate::database::store::{Purpose, Store};
use crate::error::{ErrorKind, Result};
use crate::scope::{MemoryDirectory, Principal, Role, ScopeIssuer};
use crate::table::Schema;
use crate::{OrganizationId, TenantScope};

#[allow(
    clippy::future_not_send,
    dead_code,
    unreachable_pub,
    reason = "the harness of the integration suite"
)]
#[path = "../../../tests/it/postgres/cluster.rs"]
mod cluster;

mod alone;

use cluster::{APPLICATION, Cluster, OWNER, TestDatabase};

crate::tenant_table! {
    #[derive(Debug, Clone, PartialEq)]
    pub(crate) struct Mark in marks {
        key id: i64,
        name: String,
    }
}

const ROWS: i64 = 200;

struct World {
    issuer: ScopeIssuer,
    db: Database,
    a: TenantScope,
    b: TenantScope,
    database: TestDatabase<'static>,
}

/// The same rows in two organizations, and a pool of one connection.
async fn world() -> World {
    let world = world_of(Schema::new().tenant::<Mark>(), 1).await;
    for scope in [&world.a, &world.b] {
        let rows = (0..ROWS).map(|id| Mark { id, name: "same".into() });
        Mark::insert_many(scope, rows).execute(&world.db).await.unwrap();
    }
    world
}

/// Two organizations in empty tables.
async fn world_of(schema: Schema, connections: u32) -> World {
    let members = MemoryDirectory::new();
    let issuer = ScopeIssuer::new(members.clone());
    let ann = Principal::user("ann");
    let (a, b) = (OrganizationId::new(), OrganizationId::new());
    members.add_member(&a, &ann, Role::Member);
    members.add_member(&b, &ann, Role::Member);
    let a = issuer.enter(&ann, a).await.unwrap();
    let b = issuer.enter(&ann, b).await.unwrap();
    let database = Cluster::shared().database().await;
    let db = Database::builder()
        .issuer(&issuer)
        .owner_url(&database.url(OWNER))
        .connections(connections)
        .cursor_keys(crate::crypto::KeyRing::random().unwrap())
        .acquire_timeout(Duration::from_secs(20))
        .connect(&database.url(APPLICATION), schema)
        .await
        .unwrap();
    db.create_tables().await.unwrap();
    World { issuer, db, a, b, database }
}

fn store(db: &Database) -> &PostgresStore {
    let Store::Postgres(store) = db.store() else { unreachable!("the test opened PostgreSQL") };
    store
}

/// What somebody sees who borrows the connection and says nothing: the setting, the rows, and
/// whether a transaction is open.
async fn unscoped(db: &Database) -> (String, i64, bool) {
    let mut connection = store(db).application.connections.acquire().await.unwrap();
    let row = connection
        .fetch_one(sqlx::raw_sql(
            "SELECT coalesce(current_setting('tenantry.organization', true), ''),
                    (SELECT count(*) FROM marks)::text,
                    (transaction_timestamp() < statement_timestamp())::text",
        ))
        .await
        .unwrap();
    let text = |at: usize| row.get::<String, _>(at);
    (text(0), text(1).parse().unwrap(), text(2) == "true")
}

fn nothing() -> (String, i64, bool) {
    (String::new(), 0, false)
}

/// Polls at most so often, then drops.
async fn polled<T>(polls: usize, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match work.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

async fn read(world: &World) -> Result<()> {
    Mark::select(&world.a).fetch_all(&world.db).await.map(drop)
}

async fn stream(world: &World) -> Result<()> {
    let mut rows = Mark::select(&world.a).fetch(&world.db);
    for _ in 0..ROWS / 2 {
        rows.try_next().await?;
    }
    Ok(())
}

async fn write(world: &World) -> Result<()> {
    Mark::update(&world.a).set(marks::name, "changed").all_rows().execute(&world.db).await.map(drop)
}

async fn transaction(world: &World) -> Result<()> {
    let mut tx = world.db.begin(&world.a).await?;
    Mark::select(&world.a).count(&mut tx).await?;
    Mark::update(&world.a).set(marks::name, "one").key(1).execute(&mut tx).await?;
    Mark::update(&world.a).set(marks::name, "one").key(2).execute(&mut tx).await?;
    tx.commit().await
}

/// A change is whole or not at all: the transaction names two rows, the write all of them.
async fn whole(world: &World) {
    let marks = Mark::select(&world.a).fetch_all(&world.db).await.unwrap();
    let (pair, others): (Vec<_>, Vec<_>) = marks.iter().partition(|mark| [1, 2].contains(&mark.id));
    for names in [pair, others] {
        assert!(names.iter().all(|mark| mark.name == names[0].name), "{names:?}");
    }
}

/// Drops `work` at every await, in turn, until it comes through several times.
async fn cancelled_everywhere(world: &World, work: impl AsyncFn(&World) -> Result<()>) -> usize {
    let (mut attempts, mut completed, mut polls) = (0, 0, 0);
    while completed < 5 {
        if let Some(done) = polled(polls, work(world)).await {
            done.unwrap();
            completed += 1;
            polls = 0;
        }
        polls += 1;
        attempts += 1;
        assert_eq!(unscoped(&world.db).await, nothing(), "after {polls} polls");
        whole(world).await;
    }
    attempts
}

#[tokio::test]
async fn l14_whatever_is_dropped_half_way_the_next_borrower_finds_nothing() {
    let world = world().await;
    let theirs = Mark::select(&world.b).fetch_all(&world.db).await.unwrap();
    let mut attempts = 0;
    attempts += cancelled_everywhere(&world, read).await;
    attempts += cancelled_everywhere(&world, stream).await;
    attempts += cancelled_everywhere(&world, write).await;
    attempts += cancelled_everywhere(&world, transaction).await;
    // The same by the clock, which cuts between the parts of a message too.
    for micros in (0..500).step_by(5) {
        for work in 0..4 {
            let limit = Duration::from_micros(micros);
            let cut = async {
                match work {
                    0 => read(&world).await,
                    1 => stream(&world).await,
                    2 => write(&world).await,
                    _ => transaction(&world).await,
                }
            };
            if let Ok(done) = tokio::time::timeout(limit, cut).await {
                done.unwrap();
            }
            attempts += 1;
            assert_eq!(unscoped(&world.db).await, nothing(), "{work} after {micros} µs");
            if work > 1 {
                whole(&world).await;
            }
        }
    }
    assert!(attempts > 400, "{attempts}");
    assert_eq!(Mark::select(&world.b).fetch_all(&world.db).await.unwrap(), theirs);
    assert_eq!(store(&world.db).application.connections.size(), 1, "the pool has its connection");
}

/// Reads in one round trip, cut off at random moments.
#[tokio::test]
async fn l14_a_read_by_itself_leaves_nothing_wherever_it_is_cut() {
    let world = world().await;
    read(&world).await.unwrap();
    assert!(is_alone(&world.db, &world.a).await, "the reads of this test go by themselves");
    let mut cut = 0;
    for attempt in 0..600 {
        let mut random = [0; 2];
        getrandom::fill(&mut random).unwrap();
        let limit = Duration::from_micros(u64::from(u16::from_le_bytes(random)) % 900);
        let reading = async {
            match attempt % 3 {
                0 => read(&world).await,
                1 => Mark::find(&world.a, 1).fetch_one(&world.db).await.map(drop),
                _ => Mark::select(&world.b).count(&world.db).await.map(drop),
            }
        };
        match tokio::time::timeout(limit, reading).await {
            Ok(done) => done.unwrap(),
            Err(_) => cut += 1,
        }
        assert_eq!(unscoped(&world.db).await, nothing(), "after {limit:?}");
    }
    assert!(cut > 0, "none was cut");
    assert_eq!(store(&world.db).application.connections.size(), 1, "the pool has its connection");
}

/// Whether a read goes by itself.
async fn is_alone(db: &Database, scope: &TenantScope) -> bool {
    db.store().read(scope).await.unwrap().is_some()
}

const CLOSE_OTHERS: &str = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
     WHERE usename = 'tenantry_app' AND datname = current_database()";

/// Nothing is set for a session that others use too, so that nobody stops a statement there whose
/// transaction does not say when.
#[tokio::test]
async fn reads_go_alone_where_the_server_stops_them_in_time() {
    let world = world().await;
    let cluster = Cluster::shared();
    let direct = world.database.url(APPLICATION);
    let pooled =
        direct.replace(&format!(":{}/", cluster.port()), &format!(":{}/", cluster.pgbouncer()));
    let minute = Some(Duration::from_secs(60));
    let mut superuser = world.database.superuser().await;
    for (url, limit, configured, alone) in [
        (&direct, minute, "0", true),
        (&direct, None, "0", true),
        (&pooled, minute, "0", false),
        (&pooled, minute, "61s", false),
        (&pooled, minute, "60s", true),
        (&pooled, None, "0", true),
    ] {
        let name = world.database.name();
        let sql = format!("ALTER DATABASE {name} SET statement_timeout = '{configured}'");
        superuser.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(sql))).await.unwrap();
        // The pooler's connections are older than the setting.
        superuser.execute(sqlx::raw_sql(CLOSE_OTHERS)).await.unwrap();
        let builder = Database::builder().prepared_statements(true).statement_timeout(limit);
        let db = builder.connect(url, Schema::new().tenant::<Mark>()).await.unwrap();
        assert_eq!(is_alone(&db, &world.a).await, alone, "{url} {limit:?} {configured}");
        if url == &direct && limit.is_some() {
            let mut connection = store(&db).application.connections.acquire().await.unwrap();
            let row = connection.fetch_one(sqlx::raw_sql("SHOW statement_timeout")).await.unwrap();
            assert_eq!(row.get::<String, _>(0), "1min");
        }
        db.close().await;
    }
}

#[tokio::test]
async fn l12_a_connection_that_is_given_back_has_no_organization() {
    let world = world().await;
    for work in 0..6 {
        match work {
            0 => read(&world).await.unwrap(),
            1 => stream(&world).await.unwrap(),
            2 => write(&world).await.unwrap(),
            3 => transaction(&world).await.unwrap(),
            4 => drop(world.db.begin(&world.a).await.unwrap()),
            _ => {
                let twice = Mark { id: 1, name: "twice".into() };
                let error = Mark::insert(&world.a, twice).execute(&world.db).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Conflict);
            }
        }
        assert_eq!(unscoped(&world.db).await, nothing(), "{work}");
    }
}

/// The guard by itself, on a pool without the hook: what was begun and not answered is never lent
/// again.
#[tokio::test]
async fn l14_a_connection_whose_begin_was_dropped_is_closed() {
    let world = world().await;
    let url = world.database.url(APPLICATION);
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(1)
        .test_before_acquire(false)
        .connect(&url)
        .await
        .unwrap();
    let sql = store(&world.db).begin_sql(Some(world.a.organization()), Purpose::Read, "").unwrap();
    let backend = "SELECT pg_backend_pid()::text";
    // A server that is quick, or a test that had to wait, has the answer there at the first look.
    let before: String = loop {
        let connection = pool.acquire().await.unwrap();
        let mut session = Session::new(connection, true, None, SharedNames::default());
        let row = session.connection().fetch_one(sqlx::raw_sql(backend)).await.unwrap();
        if polled(1, session.begin(sql.clone())).await.is_none() {
            break row.get(0);
        }
        session.rollback().await.unwrap();
    };
    let mut next = pool.acquire().await.unwrap();
    let row = next.fetch_one(sqlx::raw_sql(backend)).await.unwrap();
    assert_ne!(row.get::<String, _>(0), before);
}

/// What sessions prevent, staged: the hook is a wall of its own.
#[tokio::test]
async fn l14_the_hook_closes_a_connection_that_is_not_as_it_says() {
    let world = world().await;
    let organization = world.a.organization();
    for staged in [
        format!("BEGIN; SET LOCAL tenantry.organization = '{organization}'"),
        format!("SET tenantry.organization = '{organization}'"),
    ] {
        let mut connection = store(&world.db).application.connections.acquire().await.unwrap();
        connection.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(staged.clone()))).await.unwrap();
        drop(connection);
        assert_eq!(unscoped(&world.db).await, nothing(), "{staged}");
    }
}

/// The tests above can fail: what they look for is there while a session is open.
#[tokio::test]
async fn an_open_session_has_what_the_next_borrower_must_not_find() {
    let world = world().await;
    let organization = Some(world.a.organization());
    let mut session = store(&world.db).session(organization, Purpose::Read).await.unwrap();
    let row = session
        .connection()
        .fetch_one(sqlx::raw_sql(
            "SELECT current_setting('tenantry.organization', true),
                    (SELECT count(*) FROM marks)::text,
                    (transaction_timestamp() < statement_timestamp())::text",
        ))
        .await
        .unwrap();
    assert_eq!(row.get::<String, _>(0), world.a.organization().to_string());
    assert_eq!(row.get::<String, _>(1), ROWS.to_string());
    assert_eq!(row.get::<String, _>(2), "true");
}

#[tokio::test]
async fn l13_nothing_of_the_session_is_ever_set() {
    let world = world().await;
    let organization = world.a.organization();
    for purpose in
        [Purpose::Batch, Purpose::Read, Purpose::Stream, Purpose::Transaction, Purpose::Write]
    {
        let sql =
            store(&world.db).begin_sql(Some(organization), purpose, "; SET LOCAL x = 1").unwrap();
        let mut statements = sql.split("; ");
        assert!(statements.next().unwrap().starts_with("BEGIN"), "{sql}");
        for statement in statements {
            let local = statement.starts_with("SET LOCAL ") || statement.starts_with("SAVEPOINT ");
            assert!(local, "{sql}");
        }
        assert!(sql.contains(&format!("SET LOCAL tenantry.organization = '{organization}'")));
    }
}

#[tokio::test]
async fn a_backend_that_ends_and_a_pool_of_stale_connections_cost_a_retry_inside() {
    let world = world().await;
    read(&world).await.unwrap();
    let mut superuser = world.database.superuser().await;
    for _ in 0..3 {
        superuser
            .execute(sqlx::raw_sql(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
                 WHERE usename = 'tenantry_app' AND datname = current_database()",
            ))
            .await
            .unwrap();
        read(&world).await.unwrap();
        assert_eq!(unscoped(&world.db).await, nothing());
    }
}
