//! Every form, as a user writes it.

use std::sync::LazyLock;

use futures_util::TryStreamExt as _;
use tenantry::ErrorKind;
use tenantry::query::{Prepared, PreparedDelete, PreparedUpdate, count};
use tenantry::table::Schema;
use uuid::Uuid;

use super::fixture::open;

tenantry::tenant_table! {
    /// A customer of the organization's store.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Customer in customers {
        key id: Uuid,
        name: String,
    }
}

tenantry::tenant_table! {
    /// An order placed in the organization's store.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Order in orders {
        key id: Uuid,
        customer_id: Uuid => customers,
        email: String,
        total_cents: i64,
        note: Option<String>,
        placed_at: time::OffsetDateTime,
    }
    tenant organization_id;             // optional: another name for the tenant column
    unique (email);                     // per organization, always
    index (placed_at);                  // begins with the tenant column, always
}

static BY_EMAIL: LazyLock<Prepared<Order, (String, i64)>> = LazyLock::new(|| {
    Order::prepare(|q, (email, min): (_, _)| {
        q.filter(orders::email.eq(email).and(orders::total_cents.gt(min))).limit(10)
    })
});

static TOTALS: LazyLock<Prepared<(Uuid, i64), (i64,)>> = LazyLock::new(|| {
    Order::prepare_columns(|q, (min,): (_,)| {
        q.filter(orders::total_cents.gt(min))
            .order_by(orders::total_cents.desc())
            .columns((orders::id, orders::total_cents))
    })
});
static ANNOTATE: LazyLock<PreparedUpdate<Order, (String, Option<String>)>> = LazyLock::new(|| {
    Order::prepare_update(|q, (name, note): (_, _)| {
        let named = q.draft::<Customer>().filter(customers::name.eq(name)).columns(customers::id);
        q.set(orders::note, note).filter(orders::customer_id.in_subquery(named))
    })
});
static FORGET: LazyLock<PreparedDelete<Order, (String,)>> =
    LazyLock::new(|| Order::prepare_delete(|q, (email,): (_,)| q.filter(orders::email.eq(email))));

fn schema() -> Schema {
    Schema::new().tenant::<Order>().tenant::<Customer>()
}

fn order(id: Uuid, customer_id: Uuid, email: &str, total_cents: i64) -> Order {
    Order {
        id,
        customer_id,
        email: email.to_owned(),
        total_cents,
        note: None,
        placed_at: tenantry::now(),
    }
}

#[tokio::test]
async fn every_form_of_the_contract_runs() -> tenantry::Result<()> {
    let (db, scope, other, _place) = open(schema()).await;
    let (customer, id) = (Uuid::new_v4(), Uuid::new_v4());
    for (scope, name) in [(&scope, "Ann"), (&other, "Ann")] {
        Customer::insert(scope, Customer { id: customer, name: name.into() }).execute(&db).await?;
        Order::insert(scope, order(id, customer, "ann@example.com", 500)).execute(&db).await?;
    }

    let found = Order::find(&scope, id).fetch_optional(&db).await?;
    assert_eq!(found.map(|order| order.total_cents), Some(500));
    let recent = Order::select(&scope)
        .filter(orders::email.eq("ann@example.com").and(orders::total_cents.gt(0)))
        .order_by(orders::placed_at.desc())
        .limit(50)
        .fetch_all(&db)
        .await?;
    assert_eq!(recent.len(), 1);
    let pairs = Order::select(&scope).join(orders::customer_id).fetch_all(&db).await?;
    let [(first, parent)]: &[(Order, Customer)] = &pairs[..] else { panic!("{pairs:?}") };
    assert_eq!((first.id, parent.id), (id, customer));
    let (n, sum) = Order::select(&scope)
        .aggregate((count(), orders::total_cents.sum()))
        .fetch_one(&db)
        .await?;
    assert_eq!((n, sum), (1, Some(500)));
    let cursor = None;
    let page = Order::select(&scope)
        .order_by(orders::placed_at.desc())
        .page(cursor, 25)
        .fetch(&db)
        .await?;
    assert_eq!(page.rows.len(), 1);
    assert!(page.next.is_none());

    let bob = order(Uuid::new_v4(), customer, "bob@example.com", 7);
    let stored = Order::insert(&scope, bob.clone()).returning().fetch_one(&db).await?;
    assert_eq!(stored, bob);
    let rows =
        vec![order(Uuid::new_v4(), customer, "c@x", 1), order(Uuid::new_v4(), customer, "d@x", 2)];
    assert_eq!(Order::insert_many(&scope, rows).execute(&db).await?, 2);
    let again = Order { note: Some("again".into()), id: Uuid::new_v4(), ..bob.clone() };
    let n = Order::insert(&scope, again)
        .on_conflict(orders::email)
        .update((orders::note,))
        .execute(&db)
        .await?;
    assert_eq!(n, 1);
    let n = Order::update(&scope)
        .set(orders::note, None)
        .filter(orders::id.eq(bob.id))
        .execute(&db)
        .await?;
    assert_eq!(n, 1);
    let n = Order::delete(&scope).filter(orders::id.eq(bob.id)).execute(&db).await?;
    assert_eq!(n, 1);
    let mut tx = db.begin(&scope).await?;
    Order::update(&scope)
        .set(orders::total_cents, orders::total_cents.add(5))
        .key(id)
        .execute(&mut tx)
        .await?;
    tx.commit().await?;

    let found = BY_EMAIL.fetch_all(&scope, ("ann@example.com", 100), &db).await?;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].total_cents, 505);

    assert!(Order::select(&scope).exists(&db).await?);
    assert_eq!(Order::select(&scope).count(&db).await?, 3);
    let projected =
        Order::select(&scope).columns((orders::id, orders::email)).fetch_all(&db).await?;
    assert_eq!(projected.len(), 3);
    let groups = Order::select(&scope)
        .group_by(orders::customer_id)
        .aggregate(count())
        .fetch_all(&db)
        .await?;
    assert_eq!(groups, [(customer, 3)]);
    let with = Customer::select(&scope)
        .filter(
            orders::customer_id
                .exists_in(Order::select(&scope).filter(orders::total_cents.gt(100))),
        )
        .fetch_all(&db)
        .await?;
    assert_eq!(with.len(), 1);
    let of = Order::select(&scope)
        .filter(orders::customer_id.in_subquery(
            Customer::select(&scope).filter(customers::name.eq("Ann")).columns(customers::id),
        ))
        .fetch_all(&db)
        .await?;
    assert_eq!(of.len(), 3);
    let children =
        Customer::select(&scope).left_join_from(orders::customer_id).fetch_all(&db).await?;
    assert_eq!(children.iter().filter(|(_, order)| order.is_some()).count(), 3);
    let streamed: Vec<Order> = Order::select(&scope).fetch(&db).try_collect().await?;
    assert_eq!(streamed.len(), 3);
    let total = db
        .transaction(&scope, async |tx| {
            Order::update(&scope).set(orders::note, "x").all_rows().execute(&mut *tx).await?;
            Order::select(&scope).filter(orders::note.eq("x")).count(tx).await
        })
        .await?;
    assert_eq!(total, 3);

    assert_eq!(Order::select(&other).count(&db).await?, 1);
    let foreign = Order::find(&other, streamed.iter().map(|o| o.id).find(|o| *o != id).unwrap())
        .fetch_one(&db)
        .await;
    let missing = Order::find(&other, Uuid::new_v4()).fetch_one(&db).await;
    let (foreign, missing) = (foreign.unwrap_err(), missing.unwrap_err());
    assert_eq!(foreign.kind(), ErrorKind::NotFound);
    assert_eq!(format!("{foreign:?}"), format!("{missing:?}"));
    Ok(())
}

/// Every prepared form, with the same rows under both organizations.
#[tokio::test]
async fn every_prepared_form_of_the_contract_runs() -> tenantry::Result<()> {
    let (db, scope, other, _place) = open(schema()).await;
    let (customer, first, second) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
    for (scope, more) in [(&scope, 0), (&other, 7)] {
        Customer::insert(scope, Customer { id: customer, name: "Ann".into() }).execute(&db).await?;
        let rows =
            [order(first, customer, "a@x", 5 + more), order(second, customer, "b@x", 9 + more)];
        Order::insert_many(scope, rows).execute(&db).await?;
    }

    assert_eq!(TOTALS.fetch_all(&scope, (0,), &db).await?, [(second, 9), (first, 5)]);
    assert_eq!(TOTALS.fetch_optional(&scope, (9,), &db).await?, None);
    assert_eq!(TOTALS.fetch_one(&other, (9,), &db).await?, (second, 16));
    let missing = TOTALS.fetch_one(&scope, (9,), &db).await.unwrap_err();
    assert_eq!((missing.kind(), missing.table()), (ErrorKind::NotFound, Some("orders")));

    assert_eq!(ANNOTATE.execute(&scope, ("Ann", "paid"), &db).await?, 2);
    assert_eq!(Order::select(&other).filter(orders::note.eq("paid")).count(&db).await?, 0);

    let mut tx = db.begin(&scope).await?;
    assert_eq!(FORGET.execute(&scope, ("a@x",), &mut tx).await?, 1);
    assert_eq!(FORGET.execute(&scope, ("a@x",), &mut tx).await?, 0);
    tx.commit().await?;
    assert_eq!(TOTALS.fetch_all(&scope, (0,), &db).await?, [(second, 9)]);
    assert_eq!(TOTALS.fetch_all(&other, (0,), &db).await?, [(second, 16), (first, 12)]);
    Ok(())
}

/// Runs are spawned onto multi-threaded runtimes, so their futures are `Send`.
#[tokio::test]
async fn runs_are_send() {
    let (db, scope, _, _place) = open(schema()).await;
    tokio::spawn(async move {
        Order::select(&scope).filter(orders::total_cents.gt(0)).fetch_all(&db).await?;
        TOTALS.fetch_all(&scope, (0,), &db).await?;
        FORGET.execute(&scope, ("nobody@x",), &db).await?;
        let inside = scope.clone();
        db.transaction(&scope, async move |tx| Order::select(&inside).count(tx).await).await
    })
    .await
    .unwrap()
    .unwrap();
}
