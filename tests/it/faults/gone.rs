//! A database that is not made yet, or closed, or asked too late.

use std::time::Duration;

use tenantry::ErrorKind;
use tenantry::clock::ManualClock;
use tenantry::database::DatabaseBuilder;
use tenantry::scope::ScopeIssuer;

use super::fixture::*;

#[tokio::test]
async fn a_table_that_is_absent_is_unconfigured_until_it_is_made() {
    let (_, issuer) = people();
    let path = Place::new().await;
    let db = connect(builder(&issuer), &url(&path), schema()).await.unwrap();
    let a = issuer.enter(&ann(), organization(0xA)).await.unwrap();
    let told = |error: tenantry::Error, table: &str| {
        assert_eq!(
            (error.kind(), error.table()),
            (ErrorKind::Unconfigured, Some(table)),
            "{error:?}"
        );
    };
    told(Order::select(&a).fetch_all(&db).await.unwrap_err(), "orders");
    told(Customer::insert(&a, customer(1, "x")).execute(&db).await.unwrap_err(), "customers");
    told(Genre::select(&a).count(&db).await.unwrap_err(), "genres");
    let joined = Order::select(&a).join(orders::customer_id).fetch_all(&db).await.unwrap_err();
    assert_eq!(joined.kind(), ErrorKind::Unconfigured);
    db.create_tables().await.unwrap();
    db.create_tables().await.unwrap();
    assert_eq!(Order::select(&a).count(&db).await.unwrap(), 0);

    // It disappears while the database is open.
    run_raw(&path, "DROP TABLE employees").await.unwrap();
    told(Employee::select(&a).fetch_all(&db).await.unwrap_err(), "employees");
    told(Employee::insert(&a, employee(1, "x", None)).execute(&db).await.unwrap_err(), "employees");
    let found = Employee::find(&a, 1).fetch_optional(&db).await.unwrap_err();
    told(found, "employees");
}

#[tokio::test]
async fn a_closed_database_answers_nothing_any_more() {
    let w = world().await;
    let (one, _place) = single(&w.issuer, schema()).await;
    for db in [w.db, one] {
        db.close().await;
        for (what, outcome) in [
            ("read", Order::select(&w.a).count(&db).await.map(drop)),
            ("write", Customer::insert(&w.a, customer(9, "x")).execute(&db).await.map(drop)),
            ("begin", db.begin(&w.a).await.map(drop)),
            ("ping", db.ping().await),
        ] {
            let error = outcome.expect_err(what);
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{what}: {error:?}");
        }
    }
}

#[tokio::test]
async fn a_transaction_beyond_its_age_is_unavailable() {
    let clock = ManualClock::new(tenantry::now());
    let (directory, _) = people();
    let issuer = ScopeIssuer::builder(directory).clock(clock.clone()).build();
    let aged = |builder: DatabaseBuilder| builder.transaction_max_age(Duration::from_secs(10));
    let (db, _place) = open(&issuer, schema(), aged).await;
    let a = issuer.enter(&ann(), organization(0xA)).await.unwrap();
    let mut tx = db.begin(&a).await.unwrap();
    Customer::insert(&a, customer(1, "x")).execute(&mut tx).await.unwrap();
    clock.advance(Duration::from_secs(11));
    assert_eq!(
        Customer::select(&a).count(&mut tx).await.unwrap_err().kind(),
        ErrorKind::Unavailable
    );
    assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(Customer::select(&a).count(&db).await.unwrap(), 0);
}
