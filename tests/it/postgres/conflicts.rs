//! Transactions that the server ends because of one another.

use tenantry::{ErrorKind, Result, TenantScope};
use uuid::Uuid;

use super::cluster::OWNER;
use super::world::{Order, World, orders, world, world_in};
use crate::postgres::cluster::Cluster;

const fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

async fn totals(world: &World<'_>, scope: &TenantScope) -> Vec<i64> {
    let rows = Order::select(scope).fetch_all(&world.db).await.unwrap();
    rows.iter().map(|order| order.total_cents).collect()
}

/// Every transaction is serializable here, by a setting of the database.
async fn serializable() -> World<'static> {
    let database = Cluster::shared().database().await;
    let set = format!(
        "ALTER DATABASE \"{}\" SET default_transaction_isolation = 'serializable'",
        database.name()
    );
    database.run(OWNER, &[set]).await;
    world_in(database, |builder| builder).await.filled(2).await
}

/// Each reads both orders and writes one: whoever is last would have read something else.
#[tokio::test]
async fn a_serialization_failure_is_typed_and_leaves_nothing() -> Result<()> {
    let world = serializable().await;
    let (db, a) = (&world.db, &world.a);
    let sum = || Order::select(a).aggregate(orders::total_cents.sum());
    let set = |n, to: i64| Order::update(a).set(orders::total_cents, to).key(id(n));

    let (mut one, mut other) = (db.begin(a).await?, db.begin(a).await?);
    let first = sum().fetch_one(&mut one).await?.unwrap();
    let second = sum().fetch_one(&mut other).await?.unwrap();
    assert_eq!((first, second), (3, 3));
    set(1, first).execute(&mut one).await?;
    one.commit().await?;
    let failed = match set(2, second).execute(&mut other).await {
        Err(error) => {
            let refused = other.commit().await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Misuse);
            error
        }
        Ok(_) => other.commit().await.unwrap_err(),
    };
    assert_eq!((failed.kind(), failed.is_retryable()), (ErrorKind::Unavailable, true), "{failed}");
    assert_eq!((failed.http_status(), failed.row()), (503, None));
    assert_eq!(totals(&world, a).await, [3, 2], "the first is kept, of the second nothing");
    assert_eq!(totals(&world, &world.b).await, [1, 2]);
    Ok(())
}

#[tokio::test]
async fn a_serialization_failure_is_run_again() -> Result<()> {
    let world = serializable().await;
    let gate = std::sync::Arc::new(tokio::sync::Barrier::new(2));
    let work = |number: u128| {
        let (db, scope, gate) = (world.db.clone(), world.a.clone(), std::sync::Arc::clone(&gate));
        async move {
            let (mut attempts, inside) = (0, scope.clone());
            let done = db.transaction(&scope, async |tx| {
                attempts += 1;
                let sum = Order::select(&inside).aggregate(orders::total_cents.sum());
                let sum = sum.fetch_one(&mut *tx).await?.unwrap_or(0);
                if attempts == 1 {
                    gate.wait().await;
                }
                let set = Order::update(&inside).set(orders::total_cents, sum).key(id(number));
                set.execute(&mut *tx).await
            });
            done.await.map(|_| attempts)
        }
    };
    let (one, other) = tokio::join!(work(1), work(2));
    assert!(one? + other? > 2, "one of them is run again");
    // As if one had run after the other: 3 and then 5, or 3 and then 4.
    let totals = totals(&world, &world.a).await;
    assert!(totals == [3, 5] || totals == [4, 3], "{totals:?}");
    Ok(())
}

#[tokio::test]
async fn a_deadlock_is_typed_and_leaves_nothing() -> Result<()> {
    let world = world().await.filled(2).await;
    let (db, a) = (&world.db, &world.a);
    let set = |n, to: i64| Order::update(a).set(orders::total_cents, to).key(id(n));
    let (mut one, mut other) = (db.begin(a).await?, db.begin(a).await?);
    set(1, 10).execute(&mut one).await?;
    set(2, 20).execute(&mut other).await?;
    // Whoever is chosen rolls back, so that the other one goes on.
    let first = async {
        let done = set(2, 11).execute(&mut one).await;
        (done, one.commit().await)
    };
    let second = async {
        let done = set(1, 21).execute(&mut other).await;
        (done, other.commit().await)
    };
    let ends: [_; 2] = tokio::join!(first, second).into();
    let totals = totals(&world, a).await;
    let [lost] = ends.iter().filter(|(done, _)| done.is_err()).collect::<Vec<_>>()[..] else {
        panic!("{ends:?}")
    };
    let (Err(failed), Err(refused)) = lost else { panic!("{lost:?}") };
    assert_eq!((failed.kind(), failed.is_retryable()), (ErrorKind::Unavailable, true), "{failed}");
    assert_eq!(refused.kind(), ErrorKind::Misuse);
    assert!(totals == [10, 11] || totals == [21, 20], "{totals:?}");
    assert_eq!(self::totals(&world, &world.b).await, [1, 2]);
    Ok(())
}
