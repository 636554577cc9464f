//! A server that refuses, ends or is not there; and the faults of both stores, over a fixture with the
//! same names.

#[path = "../../faults/cancel.rs"]
mod cancel;
#[path = "../../faults/crash.rs"]
mod crash;
#[path = "../../faults/errors.rs"]
mod errors;
mod fixture;
#[path = "../../faults/gone.rs"]
mod gone;
#[path = "../../faults/input.rs"]
mod input;
#[path = "../../faults/sheet.rs"]
mod sheet;

use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::Executor as _;
use tenantry::{Database, Error, ErrorKind, Result};

use super::cluster::{APPLICATION, Cluster, OWNER, TestDatabase, WITH_PASSWORD};
use super::proxy::Proxy;
use super::world::{Order, builder, orders, schema, scopes, world, world_in, world_with};

async fn refused(database: &TestDatabase<'_>, url: &str) -> Error {
    let (issuer, ..) = scopes().await;
    let opened = builder(&issuer, database).connect(url, schema()).await;
    let error = opened.expect_err("refused");
    let said = format!("{error} {error:?}");
    assert!(!said.contains("wrong-secret") && !said.contains("127.0.0.1"), "{said}");
    error
}

#[tokio::test]
async fn what_is_wrong_with_the_url_is_said() {
    let cluster = Cluster::shared();
    let database = cluster.database().await;
    let with_password = database.url(WITH_PASSWORD).replace('@', ":wrong-secret@");
    let absent = database.url(APPLICATION).replace(database.name(), "absent_database");
    let nobody = database.url(APPLICATION).replace(APPLICATION, "nobody_at_all");
    for url in [with_password, absent, nobody] {
        let error = refused(&database, &url).await;
        assert_eq!(error.kind(), ErrorKind::Unconfigured, "{error}");
        assert!(error.to_string().contains("the role, the password or the database"), "{error}");
    }
    let error = refused(&database, "postgres://[nonsense").await;
    assert_eq!(error.kind(), ErrorKind::Unconfigured);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = listener.local_addr().unwrap().port();
    drop(listener);
    let url = format!("postgres://{APPLICATION}@127.0.0.1:{closed}/x?sslmode=disable");
    assert_eq!(refused(&database, &url).await.kind(), ErrorKind::Unavailable);
    assert_eq!(refused(&database, "mysql://x/y").await.kind(), ErrorKind::Unconfigured);
}

#[tokio::test]
async fn l01_a_role_that_policies_do_not_bind_is_refused() {
    let database = Cluster::shared().database().await;
    let mut superuser = database.superuser().await;
    let bypass = format!("bypass_{}", database.name());
    for sql in [format!("CREATE ROLE {bypass} LOGIN BYPASSRLS")] {
        superuser.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(sql))).await.unwrap();
    }
    for role in ["postgres", bypass.as_str()] {
        let error = refused(&database, &database.url(role)).await;
        assert_eq!(error.kind(), ErrorKind::Unconfigured);
    }
    // The owner is bound by FORCE, and could take it away.
    let world = world().await;
    let error = refused(&world.database, &world.database.url(OWNER)).await;
    assert_eq!(error.kind(), ErrorKind::Unconfigured);
    let drop_role = format!("DROP ROLE {bypass}");
    superuser.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(drop_role))).await.unwrap();
}

#[tokio::test]
async fn a_pool_that_is_exhausted_says_so_and_recovers() -> Result<()> {
    let world = world_with(|builder| builder.connections(1)).await.filled(1).await;
    let (issuer, db) = (&world.issuer, &world.db);
    let held = db.begin(&world.a).await?;
    let small = Database::builder()
        .issuer(issuer)
        .connections(1)
        .acquire_timeout(Duration::from_secs(3))
        .connect(&world.database.url(APPLICATION), schema())
        .await?;
    let occupied = small.begin(&world.a).await?;
    // Nothing happens but the waiting: the clock goes on by itself.
    tokio::time::pause();
    let waits = tokio::time::Instant::now();
    let error = small.begin(&world.a).await.unwrap_err();
    let waited = waits.elapsed();
    tokio::time::resume();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
    assert!(waited < Duration::from_secs(4), "{waited:?}");
    drop(occupied);
    drop(held);
    assert_eq!(Order::select(&world.a).count(db).await?, 1);
    Ok(())
}

const END_BACKENDS: &str =
    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = 'tenantry_app'
     AND datname = current_database()";

#[tokio::test]
async fn a_backend_that_ends_in_the_middle_undoes_the_transaction() -> Result<()> {
    let world = world_with(|builder| builder.connections(1)).await.filled(5).await;
    let (db, a) = (&world.db, &world.a);
    let mut superuser = world.database.superuser().await;

    let mut tx = db.begin(a).await?;
    Order::delete(a).all_rows().execute(&mut tx).await?;
    superuser.execute(sqlx::raw_sql(END_BACKENDS)).await.unwrap();
    let error = Order::select(a).count(&mut tx).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let error = tx.commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misuse);
    assert_eq!(Order::select(a).count(db).await?, 5);

    let mut tx = db.begin(a).await?;
    Order::delete(a).all_rows().execute(&mut tx).await?;
    superuser.execute(sqlx::raw_sql(END_BACKENDS)).await.unwrap();
    let error = tx.commit().await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, false));
    assert_eq!(Order::select(a).count(db).await?, 5);
    Ok(())
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_stopped_by_the_server() -> Result<()> {
    let world = world_with(|builder| builder.statement_timeout(Some(Duration::from_millis(100))))
        .await
        .filled(1)
        .await;
    let (db, a) = (&world.db, &world.a);
    let mut holder = db.begin(a).await?;
    Order::update(a).set(orders::note, "held").all_rows().execute(&mut holder).await?;
    let error =
        Order::update(a).set(orders::note, "late").all_rows().execute(db).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
    holder.commit().await?;
    let order = Order::select(a).fetch_one(db).await?;
    assert_eq!(order.note.as_deref(), Some("held"));
    Ok(())
}

#[tokio::test]
async fn a_server_that_restarts_costs_no_error() {
    let cluster = Cluster::start(&[]);
    let world =
        world_in(cluster.database().await, |builder| builder.connections(3)).await.filled(2).await;
    let (db, a) = (&world.db, &world.a);
    for _ in 0..2 {
        // Every connection of the pool is open, and will be stale.
        let held = tokio::join!(db.begin(a), db.begin(a), db.begin(a));
        drop(held);
        assert_eq!(Order::select(a).count(db).await.unwrap(), 2);
        cluster.control("restart");
        assert_eq!(Order::select(a).count(db).await.unwrap(), 2);
        Order::update(a).set(orders::note, "after").all_rows().execute(db).await.unwrap();
        assert_eq!(
            Order::select(&world.b).filter(orders::note.eq("after")).count(db).await.unwrap(),
            0
        );
    }
    cluster.control("stop");
    let error = builder(&world.issuer, &world.database)
        .acquire_timeout(Duration::from_millis(200))
        .connect(&world.database.url(APPLICATION), schema())
        .await
        .err()
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_table_that_changes_under_prepared_statements_is_said_and_recovers() -> Result<()> {
    let world = world_with(|builder| builder.connections(1)).await.filled(1).await;
    let (db, a) = (&world.db, &world.a);
    let in_transaction = async || {
        let mut tx = db.begin(a).await?;
        Order::select(a).fetch_all(&mut tx).await
    };
    assert_eq!(in_transaction().await?.len(), 1);
    world
        .database
        .run(OWNER, &[r#"ALTER TABLE "orders" ALTER COLUMN "note" TYPE varchar(90)"#])
        .await;
    let error = in_transaction().await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
    assert_eq!(in_transaction().await?.len(), 1);
    assert_eq!(Order::select(a).fetch_all(db).await?.len(), 1);
    world.database.run(OWNER, &[r#"ALTER TABLE "orders" DROP COLUMN "note""#]).await;
    let error = Order::select(a).fetch_all(db).await.unwrap_err();
    let again = Order::select(a).fetch_all(db).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unconfigured), "{error}");
    assert_eq!(again.kind(), ErrorKind::Unconfigured);
    Ok(())
}

/// More than sockets and buffers hold.
#[tokio::test]
async fn a_stream_that_the_server_ends_ends_with_an_error() -> Result<()> {
    let world = world_with(|builder| builder.connections(1)).await.filled(400).await;
    let long = "x".repeat(100_000);
    Order::update(&world.a).set(orders::note, long).all_rows().execute(&world.db).await?;
    let mut superuser = world.database.superuser().await;
    let mut rows = Order::select(&world.a).fetch(&world.db);
    assert!(rows.try_next().await?.is_some());
    superuser.execute(sqlx::raw_sql(END_BACKENDS)).await.unwrap();
    // What was on its way already may arrive.
    let ended = loop {
        match rows.try_next().await {
            Ok(Some(_)) => {}
            Ok(None) => break None,
            Err(error) => break Some(error.kind()),
        }
    };
    assert_eq!(ended, Some(ErrorKind::Unavailable));
    drop(rows);
    assert_eq!(Order::select(&world.a).count(&world.db).await?, 400);
    Ok(())
}

const ACTIVE: &str = "SELECT count(*)::text FROM pg_stat_activity WHERE usename = 'tenantry_app'
     AND datname = current_database() AND state = 'active'";

/// What nobody waits for any more does not go on, and keeps no connection of the server's: also
/// where it waits for a lock.
#[tokio::test]
async fn statements_that_were_cancelled_end_on_the_server() -> Result<()> {
    let world = world_with(|builder| builder.connections(8)).await.filled(1).await;
    let (db, a) = (&world.db, &world.a);
    let mut holder = db.begin(a).await?;
    Order::update(a).set(orders::note, "held").all_rows().execute(&mut holder).await?;
    let mut superuser = world.database.superuser().await;
    let mut active = async || -> String {
        let row = superuser.fetch_one(sqlx::raw_sql(ACTIVE)).await.unwrap();
        sqlx::Row::get(&row, 0)
    };
    for _ in 0..4 {
        let mut late = Box::pin(Order::update(a).set(orders::note, "late").all_rows().execute(db));
        while active().await == "0" {
            let _ = tokio::time::timeout(Duration::from_millis(5), &mut late).await;
        }
        drop(late);
        // The server looks for its client every second, and gives the statement a minute.
        let looks = (0..400).map(|_| tokio::time::sleep(Duration::from_millis(50)));
        let mut left = active().await;
        for look in looks {
            if left == "0" {
                break;
            }
            look.await;
            left = active().await;
        }
        assert_eq!(left, "0");
    }
    holder.commit().await?;
    assert_eq!(Order::select(a).fetch_one(db).await?.note.as_deref(), Some("held"));
    Ok(())
}

/// A network that swallows what it is given, before each act of a transaction. The clock goes on by
/// itself where nothing else happens.
#[tokio::test]
async fn what_is_never_answered_ends_in_time_and_leaves_the_pool_whole() -> Result<()> {
    let cluster = Cluster::shared();
    let world = world().await.filled(2).await;
    let proxy = Proxy::before(cluster.port()).await;
    let url = proxy.through(&world.database.url(APPLICATION), cluster.port());
    let db = builder(&world.issuer, &world.database)
        .connections(1)
        .statement_timeout(Some(Duration::from_secs(60)))
        .connect(&url, schema())
        .await?;
    let (db, a) = (&db, &world.a);
    for act in ["read", "write", "commit", "rollback", "release"] {
        let mut tx = db.begin(a).await?;
        Order::update(a).set(orders::note, act).all_rows().execute(&mut tx).await?;
        proxy.swallow(true);
        tokio::time::pause();
        let acted = async {
            match act {
                "read" => {
                    let read = Order::select(a).count(&mut tx).await.map(drop);
                    drop(tx);
                    read
                }
                "write" => {
                    let late = Order::update(a).set(orders::note, act).all_rows();
                    let written = late.execute(&mut tx).await.map(drop);
                    drop(tx);
                    written
                }
                "commit" => tx.commit().await,
                "rollback" => tx.rollback().await,
                _ => {
                    drop(tx);
                    // Its place in the pool is free when the way back has ended.
                    tokio::time::sleep(Duration::from_secs(6)).await;
                    Ok(())
                }
            }
        };
        let outcome = tokio::time::timeout(Duration::from_secs(600), acted).await.expect("in time");
        tokio::time::resume();
        proxy.swallow(false);
        assert_eq!(outcome.is_ok(), act == "release");
        if let Err(error) = outcome {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{act}");
            assert!(act != "commit" || !error.is_retryable(), "nobody knows whether it was kept");
        }
        let seen = Order::select(a).filter(orders::note.eq(act)).count(db).await?;
        assert_eq!(seen, 0, "{act}");
    }
    Ok(())
}

/// What could be repeated and was undone is no reason to repeat what fails for another reason.
#[tokio::test]
async fn a_failure_that_was_undone_repeats_no_transaction() -> Result<()> {
    let limit = Duration::from_millis(100);
    let world = world_with(|builder| builder.statement_timeout(Some(limit))).await.filled(1).await;
    let (db, a) = (&world.db, &world.a);
    let mut holder = db.begin(a).await?;
    Order::update(a).set(orders::note, "held").all_rows().execute(&mut holder).await?;
    let mut runs = 0;
    let outcome: Result<()> = db
        .transaction(a, async |tx| {
            runs += 1;
            let mut savepoint = tx.savepoint().await?;
            let late = Order::update(a).set(orders::note, "late").all_rows();
            assert!(late.execute(&mut *savepoint).await.unwrap_err().is_retryable());
            savepoint.rollback().await?;
            Order::find(a, uuid::Uuid::from_u128(99)).fetch_one(tx).await.map(drop)
        })
        .await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(runs, 1);
    holder.rollback().await
}
