//! The public contract on PostgreSQL, with the same rows in the other organization.

use futures_util::TryStreamExt as _;
use rust_decimal::Decimal;
use tenantry::ambient::cross_tenant_authority;
use tenantry::database::doctor;
use tenantry::query::count;
use tenantry::scope::Principal;
use tenantry::table::{Dialect, First, Schema, Second};
use tenantry::{ErrorKind, Result};
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use super::cluster::{APPLICATION, Cluster, OWNER};
use super::world::{
    Customer, Employee, Everything, Genre, Order, Status, customer, customers, employees,
    everything, genres, order, orders, world, world_with,
};

fn id(id: u128) -> Uuid {
    Uuid::from_u128(id)
}

#[tokio::test]
async fn every_read_of_the_contract_runs() -> Result<()> {
    let world = world().await.filled(5).await;
    let (db, a) = (&world.db, &world.a);
    // What A reads is the same whatever B holds.
    Order::delete(&world.b).filter(orders::total_cents.gt(3)).execute(db).await?;
    Order::update(&world.b).set(orders::note, "B's").all_rows().execute(db).await?;

    assert_eq!(Order::find(a, id(2)).fetch_one(db).await?, order(2, 1, 2));
    assert_eq!(Order::find(a, id(9)).fetch_optional(db).await?, None);
    let recent = Order::select(a)
        .filter(orders::email.like("%@example.com").and(orders::total_cents.gt(2)))
        .order_by(orders::placed_at.desc())
        .limit(2)
        .fetch_all(db)
        .await?;
    assert_eq!(recent, [order(5, 1, 5), order(4, 1, 4)]);
    let pairs = Order::select(a).join(orders::customer_id).fetch_all(db).await?;
    assert_eq!(pairs.len(), 5);
    assert!(pairs.iter().all(|(_, parent)| *parent == customer(1)));
    let left = Order::select(a).left_join(orders::genre_id).fetch_all(db).await?;
    assert!(left.iter().all(|(_, genre)| genre.is_none()) && left.len() == 5);
    let sums = Order::select(a)
        .aggregate((count(), orders::total_cents.sum(), orders::placed_at.max()))
        .fetch_one(db)
        .await?;
    assert_eq!(sums, (5, Some(15), Some(order(5, 1, 5).placed_at)));
    assert_eq!(Order::select(a).count(db).await?, 5);
    assert_eq!(Order::select(a).limit(3).count(db).await?, 3);
    assert!(Order::select(a).exists(db).await?);
    assert!(!Order::select(a).filter(orders::note.eq("B's")).exists(db).await?);
    let groups = Order::select(a)
        .group_by(orders::customer_id)
        .aggregate(orders::total_cents.sum())
        .having(orders::total_cents.sum().gt(14))
        .fetch_all(db)
        .await?;
    assert_eq!(groups, [(id(1), Some(15))]);
    let distinct = Order::select(a).columns(orders::customer_id).distinct().fetch_all(db).await?;
    assert_eq!(distinct, [id(1)]);
    let of = Customer::select(a)
        .filter(orders::customer_id.exists_in(Order::select(a)))
        .filter(customers::id.in_subquery(Order::select(a).columns(orders::customer_id)))
        .fetch_all(db)
        .await?;
    assert_eq!(of, [customer(1)]);
    let few = Order::select(a).filter(orders::id.in_list([id(1), id(3), id(8)])).fetch_all(db);
    assert_eq!(few.await?, [order(1, 1, 1), order(3, 1, 3)]);
    let none = Order::select(a).filter(orders::id.in_list(Vec::<Uuid>::new())).fetch_all(db);
    assert_eq!(none.await?, []);
    let children = Customer::select(a).left_join_from(orders::customer_id).fetch_all(db).await?;
    assert_eq!(children.len(), 5);
    let streamed: Vec<Order> = Order::select(a).fetch(db).try_collect().await?;
    assert_eq!(streamed.len(), 5);
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let pages = Order::select(a).order_by(orders::placed_at.desc());
        let page = pages.page(cursor, 2).fetch(db).await?;
        seen.extend(page.rows.into_iter().map(|order| order.total_cents));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, [5, 4, 3, 2, 1]);
    let prepared = Order::prepare(|q, (email, least): (_, _)| {
        q.filter(orders::email.eq(email).and(orders::total_cents.ge(least))).limit(10)
    });
    assert_eq!(prepared.fetch_all(a, ("3@example.com", 1), db).await?, [order(3, 1, 3)]);
    assert_eq!(prepared.fetch_all(a, ("3@example.com", 4), db).await?, []);
    Ok(())
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

#[tokio::test]
async fn every_write_of_the_contract_runs() -> Result<()> {
    let world = world().await.filled(2).await;
    let (db, a, b) = (&world.db, &world.a, &world.b);
    let theirs = Order::select(b).fetch_all(db).await?;

    let stored = Order::insert(a, order(7, 1, 7)).returning().fetch_one(db).await?;
    assert_eq!(stored, order(7, 1, 7));
    let upserted = Order { email: "7@example.com".into(), ..order(8, 1, 7) };
    let changed = Order::insert(a, Order { note: Some("new".into()), ..upserted.clone() })
        .on_conflict(orders::email)
        .update((orders::note,))
        .execute(db)
        .await?;
    assert_eq!(changed, 1);
    assert_eq!(Order::find(a, id(7)).fetch_one(db).await?.note.as_deref(), Some("new"));
    let kept = Order::insert(a, upserted).on_conflict(orders::email).do_nothing().execute(db);
    assert_eq!(kept.await?, 0);
    let changed = Order::update(a)
        .set(orders::total_cents, orders::total_cents.add(5))
        .set(orders::note, None)
        .filter(orders::id.eq(id(7)))
        .returning()
        .fetch_all(db)
        .await?;
    assert_eq!(changed, [Order { total_cents: 12, ..order(7, 1, 7) }]);
    let deleted = Order::delete(a).key(id(7)).returning().fetch_one(db).await?;
    assert_eq!(deleted.total_cents, 12);
    let prepared = Order::prepare_update(|q, (id, cents): (_, _)| {
        q.set(orders::total_cents, cents).filter(orders::id.eq(id))
    });
    assert_eq!(prepared.execute(a, (id(1), 99), db).await?, 1);
    assert_eq!(Order::delete(a).all_rows().execute(db).await?, 2);
    assert_eq!(Order::select(b).fetch_all(db).await?, theirs);
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
async fn errors_name_table_and_column_and_no_value() -> Result<()> {
    let world = world().await.filled(1).await;
    let (db, a) = (&world.db, &world.a);
    let secret = Order { email: "1@example.com".into(), ..order(1_000_001, 1, 424_242) };
    for (error, kind, column) in [
        (Order::insert(a, secret).execute(db).await.unwrap_err(), ErrorKind::Conflict, "email"),
        (
            Order::insert(a, order(1, 1, 1)).execute(db).await.unwrap_err(),
            ErrorKind::Conflict,
            "id",
        ),
        (
            Order::insert(a, order(3, 424_242, 1)).execute(db).await.unwrap_err(),
            ErrorKind::NotFound,
            "customer_id",
        ),
        (
            Order::insert(a, Order { genre_id: Some(424_242), ..order(3, 1, 1) })
                .execute(db)
                .await
                .unwrap_err(),
            ErrorKind::NotFound,
            "genre_id",
        ),
        (
            Order::update(a)
                .set(orders::customer_id, id(424_242))
                .all_rows()
                .execute(db)
                .await
                .unwrap_err(),
            ErrorKind::NotFound,
            "customer_id",
        ),
    ] {
        assert_eq!(
            (error.kind(), error.table(), error.column()),
            (kind, Some("orders"), Some(column))
        );
        let mut chain = format!("{error} {error:?}");
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            chain.push_str(&format!(" {cause} {cause:?}"));
            source = cause.source();
        }
        for value in ["424242", "424_242", "example.com", &a.organization().to_string(), "INSERT"] {
            assert!(!chain.contains(value), "{chain}");
        }
    }
    // The referring table is another one; partitions answer for the whole.
    let held = Customer::delete(a).key(id(1)).execute(db).await.unwrap_err();
    assert_eq!((held.kind(), held.table()), (ErrorKind::Conflict, Some("customers")));
    let twin = Customer { id: id(2), ..customer(1) };
    let twin = Customer::insert(a, twin).execute(db).await.unwrap_err();
    assert_eq!((twin.kind(), twin.column()), (ErrorKind::Conflict, Some("name")));
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
async fn rows_that_exclude_each_other_are_a_conflict_in_their_organization() {
    let world = world().await;
    let exclude = r#"ALTER TABLE "Employee" ADD CONSTRAINT one_each EXCLUDE USING btree (organization_id WITH =, "ReportsTo" WITH =)"#;
    world.database.run(OWNER, &[exclude]).await;
    let employee = |id, boss| Employee { id, boss };
    for scope in [&world.a, &world.b] {
        Employee::insert(scope, employee(1, None)).execute(&world.db).await.unwrap();
        Employee::insert(scope, employee(2, Some(1))).execute(&world.db).await.unwrap();
        let rival = Employee::insert(scope, employee(3, Some(1))).execute(&world.db).await;
        assert_eq!(rival.unwrap_err().kind(), ErrorKind::Conflict);
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

#[tokio::test]
async fn cross_tenant_work_runs_under_its_own_role() -> Result<()> {
    let world = world().await.filled(1).await;
    let db = &world.db;
    let authority = cross_tenant_authority("nightly report", Principal::job("report"));
    let rows = Order::select_across(&authority).fetch_all(db).await?;
    let mut organizations: Vec<_> =
        rows.iter().map(|(organization, _)| organization.clone()).collect();
    organizations.sort();
    let mut expected = vec![world.a.organization().clone(), world.b.organization().clone()];
    expected.sort();
    assert_eq!(organizations, expected);
    let genre = |id: i64| Genre { id, name: format!("genre {id}") };
    assert_eq!(Genre::insert_global(&authority, genre(1)).execute(db).await?, 1);
    assert_eq!(Genre::insert_many_global(&authority, [genre(2), genre(3)]).execute(db).await?, 2);
    let renamed = Genre::update_global(&authority).set(genres::name, "x").filter(genres::id.eq(2));
    assert_eq!(renamed.execute(db).await?, 1);
    assert_eq!(Genre::delete_global(&authority).filter(genres::id.eq(3)).execute(db).await?, 1);
    for scope in [&world.a, &world.b] {
        assert_eq!(Genre::select(scope).count(db).await?, 2);
    }
    Order::update(&world.a).set(orders::genre_id, 1).all_rows().execute(db).await?;
    let held = Genre::delete_global(&authority).all_rows().execute(db).await.unwrap_err();
    assert_eq!(held.kind(), ErrorKind::Conflict);
    Ok(())
}

#[tokio::test]
async fn without_the_other_roles_their_work_is_unconfigured() {
    use tenantry::Database;

    let bare = super::cluster::Cluster::shared().database().await;
    let (issuer, a, _) = super::world::scopes().await;
    let url = bare.url(super::cluster::APPLICATION);
    let db = Database::builder().issuer(&issuer).connect(&url, super::world::schema());
    let db = db.await.unwrap();
    assert_eq!(db.create_tables().await.unwrap_err().kind(), ErrorKind::Unconfigured);
    let absent = Order::select(&a).fetch_all(&db).await.unwrap_err();
    assert_eq!(absent.kind(), ErrorKind::Unconfigured);

    let world = world().await.filled(1).await;
    let url = world.database.url(super::cluster::APPLICATION);
    let db = Database::builder()
        .issuer(&world.issuer)
        .allow_cross_tenant()
        .connect(&url, super::world::schema())
        .await
        .unwrap();
    assert_eq!(Order::select(&world.a).count(&db).await.unwrap(), 1);
    let authority = cross_tenant_authority("nightly report", Principal::job("report"));
    let error = Order::select_across(&authority).fetch_all(&db).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unconfigured);
    assert!(error.to_string().contains("cross_tenant_url"), "{error}");
    let error = Genre::insert_global(&authority, Genre { id: 1, name: "x".into() });
    assert_eq!(error.execute(&db).await.unwrap_err().kind(), ErrorKind::Unconfigured);
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

/// Both transactions read, then both write what they read: one of them is run again.
#[tokio::test]
async fn a_deadlock_is_run_again() -> Result<()> {
    let world = world().await.filled(2).await;
    let db = &world.db;
    let gate = std::sync::Arc::new(tokio::sync::Barrier::new(2));
    let work = |first: u128, second: u128| {
        let (db, scope, gate) = (db.clone(), world.a.clone(), std::sync::Arc::clone(&gate));
        async move {
            let mut attempts = 0;
            let inside = scope.clone();
            db.transaction(&scope, async |tx| {
                attempts += 1;
                let add = |n| {
                    Order::update(&inside)
                        .set(orders::total_cents, orders::total_cents.add(1))
                        .key(id(n))
                };
                add(first).execute(&mut *tx).await?;
                if attempts == 1 {
                    gate.wait().await;
                }
                add(second).execute(&mut *tx).await
            })
            .await
            .map(|_| attempts)
        }
    };
    let (one, other) = tokio::join!(work(1, 2), work(2, 1));
    assert_eq!(one? + other?, 3);
    let sums = Order::select(&world.a).aggregate(orders::total_cents.sum()).fetch_one(db).await?;
    assert_eq!(sums, Some(1 + 2 + 4));
    Ok(())
}

#[tokio::test]
async fn a_row_found_for_update_is_locked() -> Result<()> {
    let world = world_with(|builder| {
        builder.statement_timeout(Some(std::time::Duration::from_millis(500)))
    })
    .await
    .filled(1)
    .await;
    let (db, a, b) = (&world.db, &world.a, &world.b);
    let id = Uuid::from_u128(1);
    let mut holder = db.begin(a).await?;
    assert!(Order::find(a, id).for_update().fetch_optional(&mut holder).await?.is_some());
    let late = Order::update(a).set(orders::note, "late").filter(orders::id.eq(id));
    assert_eq!(late.execute(db).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let other = Order::update(b).set(orders::note, "other").filter(orders::id.eq(id));
    assert_eq!(other.execute(db).await?, 1);
    // Without the lock nobody waits; and a shape that locks is not taken for one that does not.
    assert!(Order::find(a, id).fetch_optional(db).await?.is_some());
    holder.commit().await?;
    let mut reader = db.begin(a).await?;
    assert!(Order::find(a, id).fetch_optional(&mut reader).await?.is_some());
    let free = Order::update(a).set(orders::note, "free").filter(orders::id.eq(id));
    assert_eq!(free.execute(db).await?, 1);
    Ok(())
}

mod rivals {
    tenantry::tenant_table! {
        #[derive(Debug)]
        pub struct Short in a { key id: i64, b_c: i64 => a, }
        index (b_c);
        unique (b_c);
    }
    tenantry::tenant_table! {
        #[derive(Debug)]
        pub struct Long in a_b { key id: i64, c: i64, }
        index (c);
        unique (c);
        partitions 2;
    }
    tenantry::tenant_table! {
        #[derive(Debug)]
        pub struct Taken in a_b_p1 { key id: i64, }
    }
}

/// `a` and `b_c`, `a_b` and `c`: the names of their indexes, and of a partition and a table, come to
/// the same.
#[tokio::test]
async fn objects_that_come_to_one_name_all_exist() {
    let schema =
        Schema::new().tenant::<rivals::Short>().tenant::<rivals::Long>().tenant::<rivals::Taken>();
    let database = Cluster::shared().database().await;
    database.run(OWNER, &schema.ddl(Dialect::Postgres).unwrap()).await;
    let report = doctor::inspect(&database.url(APPLICATION), &schema, &[]).await.unwrap();
    let open: Vec<&doctor::Finding> =
        report.findings().iter().filter(|f| f.code() != "postgres-server-leaks").collect();
    assert!(open.is_empty(), "{report}");
}
