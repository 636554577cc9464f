//! A read that takes one round trip, and what happens where it cannot.

use tenantry::database::DatabaseBuilder;
use uuid::Uuid;

use super::cluster::OWNER;
use super::trips::Counted;
use super::world::{Customer, Order, order, orders, world};

#[tokio::test]
async fn the_first_run_of_a_read_takes_one_trip_more_and_one_for_every_organization() {
    let world = world().await.filled(2).await;
    let counted = Counted::open(&world.database, &world.issuer, |builder| builder).await;
    let get = async |scope| {
        let before = counted.proxy.seen().awaited;
        let found = Order::find(scope, Uuid::from_u128(1)).fetch_one(&counted.db).await.unwrap();
        assert_eq!(found, order(1, 1, 1));
        let after = counted.proxy.seen().awaited;
        counted.db.ping().await.unwrap();
        after - before
    };
    assert_eq!(get(&world.a).await, 2, "it is prepared");
    for _ in 0..8 {
        assert_eq!(get(&world.b).await, 1, "the same for another organization");
        assert_eq!(get(&world.a).await, 1);
    }
}

/// What makes the server refuse a statement that it has prepared, or prepare it anew by itself.
const CHANGES: [(&str, bool); 4] = [
    (r#"ALTER TABLE "orders" ALTER "email" TYPE varchar(200)"#, true),
    (r#"ALTER TABLE "orders" ALTER "email" TYPE text"#, true),
    (r#"ALTER TABLE "orders" ADD "more" text"#, false),
    (
        r#"ALTER TABLE "orders" DROP "more"; CREATE INDEX ON "orders" ("organization_id", "note")"#,
        false,
    ),
];

#[tokio::test]
async fn a_table_that_is_changed_under_a_prepared_read_costs_trips_and_no_error() {
    let world = world().await.filled(2).await;
    let counted = Counted::open(&world.database, &world.issuer, |builder| builder).await;
    let get = async |id| {
        let found = Order::find(&world.a, Uuid::from_u128(id)).fetch_one(&counted.db).await?;
        assert_eq!(found, order(id, 1, id as i64));
        let all = Order::select(&world.a).fetch_all(&counted.db).await?;
        assert_eq!(all, [order(1, 1, 1), order(2, 1, 2)]);
        Ok(())
    };
    assert_eq!(counted.trips(&get).await, 2);
    for (change, refused) in CHANGES {
        world.database.run(OWNER, &[change]).await;
        let before = counted.proxy.seen().awaited;
        get(1).await.unwrap();
        let first = counted.proxy.seen().awaited - before;
        assert_eq!(first > 2, refused, "{change}: {first}");
        assert_eq!(counted.trips(&get).await, 2, "one for each read again: {change}");
    }
}

/// A precaution of some administrators, against SQL that changes settings.
#[tokio::test]
async fn where_nobody_may_call_set_config_reads_take_the_transaction() {
    let world = world().await.filled(2).await;
    let revoke = "REVOKE EXECUTE ON FUNCTION pg_catalog.set_config FROM PUBLIC";
    world.database.run("postgres", &[revoke]).await;
    let counted = Counted::open(&world.database, &world.issuer, |builder| builder).await;
    let get = counted.trips(async |_| {
        let found = Order::find(&world.a, Uuid::from_u128(1)).fetch_one(&counted.db).await?;
        assert_eq!(found, order(1, 1, 1));
        Ok(())
    });
    assert_eq!(get.await, 3, "the refusal, BEGIN, and the statement");
}

#[tokio::test]
async fn values_stay_values_in_a_read_by_itself() {
    let world = world().await;
    let texts = [
        "'",
        "''",
        "\\",
        "\\'",
        "$1",
        "$9",
        ") AS tenantry_statement",
        "'; DROP TABLE orders; --",
        "\"",
        "E'x'",
        "%",
        "_",
        "$$",
    ];
    for scope in [&world.a, &world.b] {
        Customer::insert(scope, super::world::customer(1)).execute(&world.db).await.unwrap();
        for (at, text) in texts.iter().enumerate() {
            let row = Order { email: (*text).to_owned(), ..order(at as u128, 1, at as i64) };
            Order::insert(scope, row).execute(&world.db).await.unwrap();
        }
    }
    let by_email = Order::prepare(|q, (email, note): (_, _)| {
        q.filter(orders::email.eq(email).and(orders::note.is_null().or(orders::note.eq(note))))
    });
    for (at, text) in texts.iter().enumerate() {
        for _ in 0..2 {
            let found = Order::select(&world.a).filter(orders::email.eq(*text));
            let found = found.fetch_all(&world.db).await.unwrap();
            assert_eq!(found.iter().map(|row| row.total_cents).collect::<Vec<_>>(), [at as i64]);
            let found = by_email.fetch_all(&world.a, (*text, *text), &world.db).await.unwrap();
            assert_eq!(found.len(), 1, "{text}");
            let listed = Order::select(&world.a).filter(orders::email.in_list([*text, "none"]));
            assert_eq!(listed.count(&world.db).await.unwrap(), 1, "{text}");
        }
    }
}

#[tokio::test]
async fn l13_statements_that_do_not_stay_prepared_run_in_a_transaction() {
    let world = world().await.filled(1).await;
    let unprepared = |builder: DatabaseBuilder| builder.prepared_statements(false);
    let counted = Counted::open(&world.database, &world.issuer, unprepared).await;
    let get = counted.trips(async |_| {
        Order::find(&world.a, Uuid::from_u128(1)).fetch_one(&counted.db).await.map(drop)
    });
    assert_eq!(get.await, 3, "BEGIN, the statement, its values");
}
