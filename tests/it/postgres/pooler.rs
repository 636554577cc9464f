//! Behind PgBouncer, which lends a connection of the server for one transaction.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use std::time::Duration;

use sqlx::{ConnectOptions as _, Executor as _, Row as _};
use tenantry::database::doctor;
use tenantry::{Database, ErrorKind, TenantScope};
use uuid::Uuid;

use super::cluster::{APPLICATION, Cluster, OWNER};
use super::world::{Order, World, builder, order, orders, schema, world};

/// More connections of ours than PgBouncer has to the server, so that they change hands.
const CONNECTIONS: u32 = 8;

const LIMIT: Option<Duration> = Some(Duration::from_secs(60));

fn pooled(url: &str) -> String {
    let cluster = Cluster::shared();
    url.replace(&format!(":{}/", cluster.port()), &format!(":{}/", cluster.pgbouncer()))
}

async fn through_pgbouncer(
    prepared: Option<bool>,
    limit: Option<Duration>,
) -> (World<'static>, Database) {
    through(pooled, prepared, limit).await
}

async fn through(
    pooled: impl Fn(&str) -> String,
    prepared: Option<bool>,
    limit: Option<Duration>,
) -> (World<'static>, Database) {
    let world = world().await.filled(3).await;
    let url = pooled(&world.database.url(APPLICATION));
    let mut settings =
        builder(&world.issuer, &world.database).connections(CONNECTIONS).statement_timeout(limit);
    if let Some(on) = prepared {
        settings = settings.prepared_statements(on);
    }
    let db = settings.connect(&url, schema()).await.unwrap();
    (world, db)
}

/// Works in one organization, on rows that only it has, and returns what went wrong.
async fn work(db: Database, scope: TenantScope, mine: u128) -> Result<(), tenantry::Error> {
    for round in 0..20 {
        let row = order(mine + round, 1, i64::try_from(mine).unwrap());
        Order::insert(&scope, row.clone()).execute(&db).await?;
        let found = Order::find(&scope, row.id).fetch_one(&db).await?;
        assert_eq!(found, row);
        let mut tx = db.begin(&scope).await?;
        Order::update(&scope).set(orders::note, "seen").key(row.id).execute(&mut tx).await?;
        let noted = Order::select(&scope).filter(orders::note.eq("seen")).count(&mut tx).await?;
        assert!(noted >= 1);
        tx.commit().await?;
        let all = Order::select(&scope).fetch_all(&db).await?;
        assert!(all.iter().all(|order| order.total_cents < 10 || ours(order, mine)));
    }
    Ok(())
}

/// Rows say by their sum whose they are: A's are below a thousand, B's above.
fn ours(order: &Order, mine: u128) -> bool {
    (order.total_cents < 1_000) == (mine < 1_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l13_a_connection_that_changes_hands_takes_no_organization_along() {
    // Whether it is said or noticed: nothing stays prepared.
    for prepared in [Some(false), None] {
        changes_hands(prepared).await;
    }
}

/// A connection beside the crate. PgBouncer takes no parameter that it does not know.
async fn raw(url: &str) -> sqlx::PgConnection {
    let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
    options.extra_float_digits(None).connect().await.unwrap()
}

async fn changes_hands(prepared: Option<bool>) {
    let (world, db) = through_pgbouncer(prepared, LIMIT).await;
    all_work(&world, &db).await;
    nothing_is_left(&world, &pooled(&world.database.url(APPLICATION))).await;
}

/// Both organizations at a time, each on rows that only it has.
async fn all_work(world: &World<'_>, db: &Database) {
    let mut tasks = Vec::new();
    for task in 0..4 {
        tasks.push(tokio::spawn(work(db.clone(), world.a.clone(), 100 + task * 20)));
        tasks.push(tokio::spawn(work(db.clone(), world.b.clone(), 1_100 + task * 20)));
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    for (scope, first) in [(&world.a, 100), (&world.b, 1_100)] {
        let mut ids: Vec<_> = Order::select(scope).columns(orders::id).fetch_all(db).await.unwrap();
        ids.sort();
        let expected: Vec<_> = (1..=3).chain(first..first + 80).map(Uuid::from_u128).collect();
        assert_eq!(ids, expected);
    }
}

/// An unscoped borrower of the server's connections finds nothing.
async fn nothing_is_left(world: &World<'_>, url: &str) {
    assert!(Order::select(&world.a).count(&world.db).await.unwrap() > 0);
    for _ in 0..10 {
        let mut raw = raw(url).await;
        let row = raw
            .fetch_one(sqlx::raw_sql(
                "SELECT coalesce(current_setting('tenantry.organization', true), ''), (SELECT count(*) FROM orders)::text",
            ))
            .await
            .unwrap();
        assert_eq!((row.get::<&str, _>(0), row.get::<&str, _>(1)), ("", "0"));
    }
}

/// A pooler that knows nothing of prepared statements answers with another's, or with none. What
/// it answers with is of one organization all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l13_prepared_statements_that_a_pooler_mixes_up_stay_in_their_organization() {
    // Without a limit of time reads go by themselves, which is mixed up as well.
    for limit in [LIMIT, None] {
        mixed_up(limit).await;
    }
}

async fn mixed_up(limit: Option<Duration>) {
    let (world, db) = through_pgbouncer(Some(true), limit).await;
    Order::update(&world.b)
        .set(orders::total_cents, 99)
        .all_rows()
        .execute(&world.db)
        .await
        .unwrap();
    let before = Order::select(&world.b).fetch_all(&world.db).await.unwrap();
    let mixed_up = Arc::new(AtomicUsize::new(0));
    for round in 0..10 {
        let mut tasks = Vec::new();
        for task in 0..8_u128 {
            let (db, scope, mixed_up) = (db.clone(), world.a.clone(), Arc::clone(&mixed_up));
            tasks.push(tokio::spawn(async move {
                let name = format!("{}", (round + task) % 5);
                let foreign = |rows: Vec<Order>| rows.iter().any(|row| row.total_cents > 3);
                // What comes back may be an error, or what another statement reads of A's.
                let unnamed = Order::select(&scope).filter(orders::note.ne(name.as_str()));
                assert!(!unnamed.fetch_all(&db).await.is_ok_and(foreign));
                let rows = Order::select(&scope).limit(5).fetch_all(&db).await;
                mixed_up.fetch_add(usize::from(rows.is_err()), Ordering::Relaxed);
                assert!(!rows.is_ok_and(foreign));
                assert!(
                    !Order::delete(&scope).all_rows().execute(&db).await.is_ok_and(|rows| rows > 3)
                );
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
    }
    assert!(mixed_up.load(Ordering::Relaxed) > 0, "the pooler mixed nothing up: nothing is shown");
    assert_eq!(Order::select(&world.b).fetch_all(&world.db).await.unwrap(), before);
}

/// `PgBouncer 1.24.1`
fn pgbouncer_minor() -> u32 {
    let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new("sh").args(["-c", "pgbouncer --version"]).env("PATH", path).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let version = text.strip_prefix("PgBouncer 1.").unwrap_or_else(|| panic!("{text}"));
    version.split('.').next().unwrap().parse().unwrap()
}

/// From 1.21 on PgBouncer prepares on the server what its client has prepared elsewhere: nothing is
/// mixed up, and reads by themselves take their organization along.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l13_prepared_statements_that_a_pooler_follows_stay_what_they_are() {
    let cluster = Cluster::shared();
    let Some(port) = cluster.following_pgbouncer() else {
        return assert!(pgbouncer_minor() < 21, "it could follow them");
    };
    assert!(pgbouncer_minor() >= 21);
    let following = |url: &str| url.replace(&format!(":{}/", cluster.port()), &format!(":{port}/"));
    // Without a limit of time reads go by themselves.
    for limit in [LIMIT, None] {
        let (world, db) = through(following, Some(true), limit).await;
        let url = following(&world.database.url(APPLICATION));
        all_work(&world, &db).await;
        nothing_is_left(&world, &url).await;
        let row = raw(&url).await.fetch_one(sqlx::raw_sql(PREPARED)).await.unwrap();
        assert_ne!(row.get::<&str, _>(0), "0", "nothing stayed prepared: nothing is shown");

        // A table that changes under them costs tries, on every connection of the server's, and
        // nothing else.
        let all = async || Order::select(&world.a).fetch_all(&db).await;
        assert_eq!(all().await.unwrap().len(), 83);
        let retyped = r#"ALTER TABLE "orders" ALTER COLUMN "note" TYPE varchar(90)"#;
        world.database.run(OWNER, &[retyped]).await;
        let mut refused = 0;
        let rows = loop {
            match all().await {
                Ok(rows) => break rows,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                    assert!(error.is_retryable() && refused < CONNECTIONS, "{error}");
                    refused += 1;
                }
            }
        };
        assert_eq!(rows.len(), 83);
    }
    // Nobody has to know of the pooler: it is noticed, and nothing stays prepared.
    let (world, db) = through(following, None, None).await;
    all_work(&world, &db).await;
    let url = following(&world.database.url(APPLICATION));
    let row = raw(&url).await.fetch_one(sqlx::raw_sql(PREPARED)).await.unwrap();
    assert_eq!(row.get::<&str, _>(0), "0");
}

/// Connections that others take and give back meanwhile do not hide the pooler.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l13_a_busy_pooler_is_noticed_too() {
    let world = world().await.filled(1).await;
    let url = pooled(&world.database.url(APPLICATION));
    let ends = Arc::new(AtomicUsize::new(0));
    let others: Vec<_> = (0..3)
        .map(|_| {
            let (url, ends) = (url.clone(), Arc::clone(&ends));
            tokio::spawn(async move {
                let mut other = raw(&url).await;
                while ends.load(Ordering::Relaxed) == 0 {
                    other.execute(sqlx::raw_sql("BEGIN; SELECT 1; COMMIT")).await.unwrap();
                }
            })
        })
        .collect();
    for _ in 0..10 {
        let db = builder(&world.issuer, &world.database).connect(&url, schema()).await.unwrap();
        Order::select(&world.a).fetch_all(&db).await.unwrap();
        db.close().await;
        let row = raw(&url).await.fetch_one(sqlx::raw_sql(PREPARED)).await.unwrap();
        assert_eq!(row.get::<&str, _>(0), "0");
    }
    ends.store(1, Ordering::Relaxed);
    for other in others {
        other.await.unwrap();
    }
}

const PREPARED: &str = "SELECT count(*)::text FROM pg_prepared_statements WHERE name <> ''";

/// The doctor reads each fact in its own transaction's connection, so that no two of its looks are
/// taken for one another's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctors_who_look_through_a_pooler_at_a_time_see_the_same() {
    let world = world().await;
    world.database.run(OWNER, &[r#"ALTER TABLE "orders" DISABLE ROW LEVEL SECURITY"#]).await;
    let url = pooled(&world.database.url(APPLICATION));
    let direct = doctor::inspect(&world.database.url(APPLICATION), &schema(), &[]).await.unwrap();
    assert!(!direct.is_safe());
    for _ in 0..4 {
        let looks: Vec<_> = (0..6)
            .map(|_| {
                let url = url.clone();
                tokio::spawn(async move { doctor::inspect(&url, &schema(), &[]).await })
            })
            .collect();
        for look in looks {
            assert_eq!(look.await.unwrap().unwrap().findings(), direct.findings());
        }
    }
}
