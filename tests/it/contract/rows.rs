//! What statements and transactions do with the rows of one organization beside the same rows of another.

use futures_util::TryStreamExt as _;
use rust_decimal::Decimal;
use tenantry::table::{First, Second};
use tenantry::{ErrorKind, Result};
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use super::fixture::{
    Customer, Employee, Everything, Order, Status, customer, employees, everything, order, orders,
    world,
};

fn id(id: u128) -> Uuid {
    Uuid::from_u128(id)
}

#[tokio::test]
async fn a_table_joins_itself() -> Result<()> {
    let world = world().await;
    let (db, a) = (&world.db, &world.a);
    for scope in [a, &world.b] {
        Employee::insert(scope, Employee { id: 1, boss: None }).execute(db).await?;
        Employee::insert(scope, Employee { id: 2, boss: Some(1) }).execute(db).await?;
    }
    let pairs = Employee::select(a)
        .join(employees::boss)
        .filter(employees::id.at(Second).eq(1))
        .filter(employees::id.at(First).eq(2))
        .fetch_all(db)
        .await?;
    assert_eq!(pairs.len(), 1);
    let error = Employee::delete(a).key(1).execute(db).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let orphan = Employee::update(a).set(employees::boss, 7).key(2).execute(db).await.unwrap_err();
    assert_eq!((orphan.kind(), orphan.column()), (ErrorKind::NotFound, Some("ReportsTo")));
    Ok(())
}

/// The rows of one batch meet each other as they would one after the other.
#[tokio::test]
async fn a_batch_may_propose_a_row_twice() -> Result<()> {
    let world = world().await.filled(1).await;
    Order::delete(&world.a).all_rows().execute(&world.db).await?;
    let rows = (0..40).map(|n| Order {
        email: format!("{}@x", n % 3),
        note: Some(n.to_string()),
        ..order(100 + n, 1, 1)
    });
    let written = Order::insert_many(&world.a, rows)
        .on_conflict(orders::email)
        .update((orders::note,))
        .execute(&world.db)
        .await?;
    assert_eq!(written, 40);
    let left = Order::select(&world.a).order_by(orders::email.asc()).fetch_all(&world.db).await?;
    let notes: Vec<_> = left.iter().map(|order| order.note.as_deref().unwrap()).collect();
    assert_eq!(notes, ["39", "37", "38"]);
    Ok(())
}

#[tokio::test]
async fn a_batch_names_the_row_that_failed_and_leaves_nothing() -> Result<()> {
    let world = world().await.filled(1).await;
    let (db, a) = (&world.db, &world.a);
    let rows = |broken: Order| {
        (10..1_500).map(move |n| if n == 1_234 { broken.clone() } else { order(n, 1, 1) })
    };
    let duplicate = Order { email: "1@example.com".into(), ..order(1_234, 1, 1) };
    let orphan = order(1_234, 77, 1);
    for (broken, kind, column) in
        [(duplicate, ErrorKind::Conflict, "email"), (orphan, ErrorKind::NotFound, "customer_id")]
    {
        let error = Order::insert_many(a, rows(broken.clone())).execute(db).await.unwrap_err();
        assert_eq!((error.kind(), error.row(), error.column()), (kind, Some(1_224), Some(column)));
        assert_eq!(Order::select(a).count(db).await?, 1);

        let mut tx = db.begin(a).await?;
        Order::insert(a, order(5, 1, 1)).execute(&mut tx).await?;
        let error = Order::insert_many(a, rows(broken)).execute(&mut tx).await.unwrap_err();
        assert_eq!((error.kind(), error.row()), (kind, Some(1_224)));
        assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::Misuse);
        assert_eq!(Order::select(a).count(db).await?, 1);
    }
    let mut tx = db.begin(a).await?;
    Order::insert_many(a, [order(5, 1, 1), order(6, 1, 1)]).execute(&mut tx).await?;
    Order::insert_many(a, [order(7, 1, 1), order(8, 1, 1)]).execute(&mut tx).await?;
    tx.commit().await?;
    assert_eq!(Order::select(a).count(db).await?, 5);
    Ok(())
}

#[tokio::test]
async fn a_foreign_row_is_as_good_as_missing() -> Result<()> {
    let world = world().await.filled(1).await;
    let (db, a, b) = (&world.db, &world.a, &world.b);
    Order::insert(b, order(50, 1, 1)).execute(db).await?;
    Customer::insert(b, customer(60)).execute(db).await?;
    let said = |foreign: tenantry::Error, missing: tenantry::Error| {
        assert_eq!(foreign.kind(), ErrorKind::NotFound);
        assert_eq!(format!("{foreign:?}"), format!("{missing:?}"));
    };
    said(
        Order::find(a, id(50)).fetch_one(db).await.unwrap_err(),
        Order::find(a, id(51)).fetch_one(db).await.unwrap_err(),
    );
    said(
        Order::insert(a, order(70, 60, 1)).execute(db).await.unwrap_err(),
        Order::insert(a, order(70, 61, 1)).execute(db).await.unwrap_err(),
    );
    assert_eq!(Order::update(a).set(orders::note, "x").key(id(50)).execute(db).await?, 0);
    assert_eq!(Order::delete(a).key(id(50)).execute(db).await?, 0);
    // B's key and B's unique values are free for A.
    assert_eq!(Order::insert(a, order(50, 1, 1)).execute(db).await?, 1);
    let both = Order::select(b).count(db).await?;
    assert_eq!(both, 2);
    Ok(())
}

#[tokio::test]
async fn transactions_and_savepoints_keep_what_they_are_told_to() -> Result<()> {
    let world = world().await.filled(1).await;
    let (db, a) = (&world.db, &world.a);
    let mut tx = db.begin(a).await?;
    Order::insert(a, order(2, 1, 2)).execute(&mut tx).await?;
    let mut savepoint = tx.savepoint().await?;
    Order::insert(a, order(3, 1, 3)).execute(&mut *savepoint).await?;
    assert!(Order::insert(a, order(3, 1, 3)).execute(&mut *savepoint).await.is_err());
    let refused = Order::select(a).count(&mut *savepoint).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Misuse);
    savepoint.rollback().await?;
    let savepoint = tx.savepoint().await?;
    drop(savepoint);
    let mut savepoint = tx.savepoint().await?;
    Order::insert(a, order(4, 1, 4)).execute(&mut *savepoint).await?;
    savepoint.release().await?;
    let locked =
        Order::select(a).join(orders::customer_id).left_join(orders::genre_id).for_update();
    assert_eq!(locked.fetch_all(&mut tx).await?.len(), 3);
    assert_eq!(Order::select(a).count(db).await?, 1);
    tx.commit().await?;
    assert_eq!(Order::select(a).count(db).await?, 3);

    let mut tx = db.begin(a).await?;
    Order::delete(a).all_rows().execute(&mut tx).await?;
    drop(tx);
    let mut tx = db.begin(a).await?;
    assert_eq!(Order::select(a).count(&mut tx).await?, 3);
    {
        let mut half = Order::select(a).fetch(&mut tx);
        assert!(half.try_next().await?.is_some());
    }
    Order::insert(a, order(9, 1, 9)).execute(&mut tx).await?;
    tx.commit().await?;
    assert_eq!(Order::select(a).count(db).await?, 4);
    let foreign = db.begin(&world.b).await?;
    let mut foreign = foreign;
    let error = Order::select(a).count(&mut foreign).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misuse);
    foreign.rollback().await?;
    Ok(())
}

fn everything_row(id: i64) -> Everything {
    Everything {
        id,
        flag: true,
        small: i16::MIN,
        medium: i32::MIN,
        large: i64::MIN,
        float: -1.5e300,
        text: "ẞ' \" \\ \u{10FFFF}".into(),
        bytes: vec![0, 255, 1],
        uuid: Uuid::from_u128(u128::MAX),
        at: OffsetDateTime::from_unix_timestamp_nanos(-62_000_000_000_123_456_000).unwrap(),
        day: Date::from_ordinal_date(-4712, 1).unwrap(),
        json: serde_json::json!({ "z": 1, "a": [0.1, null, "x"] }),
        price: Decimal::new(i64::MIN, 2),
        status: Status::Paid,
        maybe_flag: Some(false),
        maybe_small: Some(i16::MAX),
        maybe_medium: Some(i32::MAX),
        maybe_large: Some(i64::MAX),
        maybe_float: Some(f64::INFINITY),
        maybe_text: Some(String::new()),
        maybe_bytes: Some(Vec::new()),
        maybe_uuid: Some(Uuid::from_u128(1)),
        maybe_at: Some(time::Date::MAX.with_hms_micro(23, 59, 59, 999_999).unwrap().assume_utc()),
        maybe_day: Some(Date::MAX),
        maybe_json: Some(serde_json::json!(null)),
        maybe_price: Some(Decimal::new(12_000, 3)),
        maybe_status: Some(Status::Open),
    }
}

fn nothing_row(id: i64) -> Everything {
    Everything {
        maybe_flag: None,
        maybe_small: None,
        maybe_medium: None,
        maybe_large: None,
        maybe_float: None,
        maybe_text: None,
        maybe_bytes: None,
        maybe_uuid: None,
        maybe_at: None,
        maybe_day: None,
        maybe_json: None,
        maybe_price: None,
        maybe_status: None,
        ..everything_row(id)
    }
}

#[tokio::test]
async fn every_column_type_comes_back_as_it_went() -> Result<()> {
    let world = world().await;
    let (db, a) = (&world.db, &world.a);
    // NULL first, then values through the statement that was prepared with NULL.
    for row in [nothing_row(1), everything_row(2), nothing_row(3)] {
        Everything::insert(a, row.clone()).execute(db).await?;
        Everything::insert(&world.b, nothing_row(row.id)).execute(db).await?;
        assert_eq!(Everything::find(a, row.id).fetch_one(db).await?, row);
    }
    let row = everything_row(2);
    macro_rules! compared {
        ($($column:ident),*) => {$(
            let equal = Everything::select(a).filter(everything::$column.eq(row.$column.clone()));
            assert!(equal.fetch_all(db).await?.contains(&row), stringify!($column));
            let mut cursor = None;
            let mut keys = Vec::new();
            loop {
                let ordered = Everything::select(a).order_by(everything::$column.desc());
                let page = ordered.page(cursor, 1).fetch(db).await?;
                keys.extend(page.rows.iter().map(|row| row.id));
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(keys.len(), 3, "{} {keys:?}", stringify!($column));
        )*};
    }
    compared!(
        flag,
        small,
        medium,
        large,
        float,
        text,
        bytes,
        uuid,
        at,
        day,
        price,
        status,
        maybe_flag,
        maybe_small,
        maybe_medium,
        maybe_large,
        maybe_float,
        maybe_text,
        maybe_bytes,
        maybe_uuid,
        maybe_at,
        maybe_day,
        maybe_price,
        maybe_status
    );
    let sums = Everything::select(a)
        .filter(everything::id.eq(2))
        .aggregate((
            everything::small.sum(),
            everything::large.sum(),
            everything::price.sum(),
            everything::maybe_price.max(),
            everything::maybe_float.min(),
        ))
        .fetch_one(db)
        .await?;
    assert_eq!(
        sums,
        (
            Some(i64::from(i16::MIN)),
            Some(i64::MIN),
            Some(Decimal::new(i64::MIN, 2)),
            Some(Decimal::new(12, 0)),
            Some(f64::INFINITY)
        )
    );
    let error = Everything::select(a).aggregate(everything::large.sum()).fetch_one(db).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
    let error = Everything::update(a).set(everything::small, everything::small.sub(1)).all_rows();
    assert_eq!(error.execute(db).await.unwrap_err().kind(), ErrorKind::Invalid);
    Ok(())
}
