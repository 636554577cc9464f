//! What statements of other organizations, and changes beside the library, may not bring about: L15,
//! L21, L33, L50, L65, L70, L74.

use tenantry::id::OrganizationKind;
use tenantry::scope::Role;
use tenantry::table::Schema;
use tenantry::{ErrorKind, OrganizationId};

use super::fixture::*;

/// SQLite reads a name that it does not know, in double quotes, as a string: an organization of
/// that name would match every row. Qualified names have no such reading. On PostgreSQL the policy
/// goes with the column.
#[tokio::test]
async fn l74_a_tenant_column_that_disappears_matches_no_row() {
    let (directory, issuer) = people();
    let named = OrganizationId::from_text("organization_id").unwrap();
    directory.add_member(&named, &ann(), Role::Member);
    let schema = Schema::new().tenant::<Customer>().organizations(OrganizationKind::Text);
    let (db, path) = open(&issuer, schema, |builder| builder).await;
    let scope = issuer.enter(&ann(), &named).await.unwrap();
    assert_eq!(Customer::select(&scope).count(&db).await.unwrap(), 0);
    run_raw(&path, WITHOUT_TENANT_COLUMN).await.unwrap();
    for told in [
        seen(Customer::select(&scope).fetch_all(&db).await),
        seen(Customer::find(&scope, 1).fetch_one(&db).await),
        seen(Customer::select(&scope).count(&db).await),
        seen(Customer::select(&scope).exists(&db).await),
        seen(Customer::update(&scope).set(customers::token, "x").all_rows().execute(&db).await),
        seen(Customer::delete(&scope).all_rows().execute(&db).await),
    ] {
        assert!(told.starts_with("Unconfigured"), "{told}");
        assert!(!told.contains(TAINT), "{told}");
    }
}

/// Text keys that numeric affinity, case folding or trimming would equate.
#[tokio::test]
async fn l50_organizations_whose_keys_look_alike_stay_apart() {
    let (directory, issuer) = people();
    let schema = Schema::new().tenant::<Employee>().organizations(OrganizationKind::Text);
    let (db, _place) = open(&issuer, schema, |builder| builder.paranoid(true)).await;
    let keys = [
        "1.0", "01", "001", "1e0", "0x1", "1_", "a", "A", "acme", "ACME", "Acme", "t1", "t10",
        "nan", "NULL",
    ];
    let mut scopes = Vec::new();
    for key in keys {
        let id = OrganizationId::from_text(key).unwrap();
        directory.add_member(&id, &ann(), Role::Member);
        scopes.push((key, issuer.enter(&ann(), &id).await.unwrap()));
    }
    for (key, scope) in &scopes {
        Employee::insert(scope, employee(1, key, None)).execute(&db).await.unwrap();
    }
    for (key, scope) in &scopes {
        let rows = Employee::select(scope).fetch_all(&db).await.unwrap();
        assert_eq!(rows, [employee(1, key, None)]);
        let names =
            Employee::select(scope).filter(employees::name.in_list(keys)).count(&db).await.unwrap();
        assert_eq!(names, 1);
        assert_eq!(
            Employee::update(scope).set(employees::boss, 1).all_rows().execute(&db).await.unwrap(),
            1
        );
    }
}

/// The organization of the second wall is a value of the writing connection: no statement relies
/// on what an earlier one, or a transaction that was rolled back, left there.
#[tokio::test]
async fn l15_no_write_relies_on_the_organization_that_an_earlier_one_set() {
    let w = world().await;
    for _ in 0..3 {
        assert_eq!(
            Customer::update(&w.a)
                .set(customers::token, "1")
                .all_rows()
                .execute(&w.db)
                .await
                .unwrap(),
            3
        );
        let mut tx = w.db.begin(&w.b).await.unwrap();
        assert_eq!(
            Customer::update(&w.b)
                .set(customers::token, "2")
                .all_rows()
                .execute(&mut tx)
                .await
                .unwrap(),
            7
        );
        tx.rollback().await.unwrap();
        assert_eq!(
            Customer::update(&w.b)
                .set(customers::token, "3")
                .all_rows()
                .execute(&w.db)
                .await
                .unwrap(),
            7
        );
        let mut tx = w.db.begin(&w.a).await.unwrap();
        let failed = Customer::insert(&w.a, customer(1, "Ann")).execute(&mut tx).await;
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::Conflict);
        drop(tx);
        let batch = [customer(20, "Q"), customer(21, "R")];
        assert_eq!(Customer::insert_many(&w.b, batch).execute(&w.db).await.unwrap(), 2);
        assert_eq!(
            Customer::delete(&w.b).filter(customers::id.ge(20)).execute(&w.db).await.unwrap(),
            2
        );
        Genre::update_global(&authority())
            .set(genres::name, "folk")
            .key(2)
            .execute(&w.db)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn l33_savepoints_keep_the_organization_of_their_transaction() {
    let w = world().await;
    let before = others(&w.path, w.a.organization()).await;
    let mut tx = w.db.begin(&w.a).await.unwrap();
    let stamp = |text: &'static str| Customer::update(&w.a).set(customers::token, text).all_rows();
    stamp("outer").execute(&mut tx).await.unwrap();
    let mut first = tx.savepoint().await.unwrap();
    stamp("first").execute(&mut *first).await.unwrap();
    let mut second = first.savepoint().await.unwrap();
    stamp("second").execute(&mut *second).await.unwrap();
    let crossed = Customer::delete(&w.b).all_rows().execute(&mut *second).await.unwrap_err();
    assert_eq!(crossed.kind(), ErrorKind::Misuse);
    second.rollback().await.unwrap();
    let tokens =
        Customer::select(&w.a).columns(customers::token).fetch_all(&mut *first).await.unwrap();
    assert_eq!(
        tokens,
        [Some("first".to_owned()), Some("first".to_owned()), Some("first".to_owned())]
    );
    first.rollback().await.unwrap();
    assert_eq!(stamp("after").execute(&mut tx).await.unwrap(), 3);
    let third = tx.savepoint().await.unwrap();
    third.release().await.unwrap();
    tx.commit().await.unwrap();
    let tokens =
        Customer::select(&w.a).columns(customers::token).distinct().fetch_all(&w.db).await.unwrap();
    assert_eq!(tokens, [Some("after".to_owned())]);
    assert_eq!(others(&w.path, w.a.organization()).await, before);
    assert_eq!(
        Customer::update(&w.b).set(customers::token, "b").all_rows().execute(&w.db).await.unwrap(),
        7
    );
}

#[tokio::test]
async fn l21_a_table_that_is_not_declared_cannot_be_named() {
    let (_, issuer) = people();
    let schema = Schema::new().tenant::<Employee>();
    let (db, _place) = open(&issuer, schema, |builder| builder).await;
    let a = issuer.enter(&ann(), organization(0xA)).await.unwrap();
    for outcome in [
        Customer::select(&a).fetch_all(&db).await.map(drop),
        Customer::find(&a, 1).fetch_optional(&db).await.map(drop),
        Customer::insert(&a, customer(1, "x")).execute(&db).await.map(drop),
        Customer::delete(&a).all_rows().execute(&db).await.map(drop),
        Genre::select(&a).fetch_all(&db).await.map(drop),
        Employee::select(&a)
            .filter(employees::id.in_subquery(Customer::select(&a).columns(customers::id)))
            .fetch_all(&db)
            .await
            .map(drop),
    ] {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Misuse);
    }
}

/// With many rows of others and statistics about them, the planner goes other ways; what A sees
/// and its order stay.
#[tokio::test]
async fn l70_the_rows_and_statistics_of_others_do_not_change_which_rows_a_limit_keeps() {
    let mut observed = Vec::new();
    for full in [false, true] {
        let w = bare(|builder| builder).await;
        Customer::insert(&w.a, customer(1, "Ann")).execute(&w.db).await.unwrap();
        let mine = (0..400).map(|id| Order {
            placed_at: placed(id % 3),
            ..order((id * 37) % 400, 1, &format!("{}@x", (id * 7) % 400), id % 5)
        });
        Order::insert_many(&w.a, mine).execute(&w.db).await.unwrap();
        if full {
            Customer::insert(&w.b, customer(1, "Ann")).execute(&w.db).await.unwrap();
            let theirs = (0..20_000).map(|id| Order {
                placed_at: placed(id % 2),
                ..order(id, 1, &format!("{id}@x"), id % 7)
            });
            Order::insert_many(&w.b, theirs).execute(&w.db).await.unwrap();
            run_raw(&w.path, "ANALYZE").await.unwrap();
        }
        w.db.close().await;
        let db = connect(builder(&w.issuer), &url(&w.path), schema()).await.unwrap();
        let a = &w.a;
        let id = |rows: Vec<Order>| rows.into_iter().map(|row| row.id).collect::<Vec<_>>();
        observed.push(vec![
            format!("{:?}", id(Order::select(a).limit(5).fetch_all(&db).await.unwrap())),
            format!(
                "{:?}",
                id(Order::select(a)
                    .filter(orders::total.gt(1))
                    .limit(5)
                    .fetch_all(&db)
                    .await
                    .unwrap())
            ),
            format!(
                "{:?}",
                id(Order::select(a)
                    .filter(orders::placed_at.eq(placed(1)))
                    .limit(7)
                    .fetch_all(&db)
                    .await
                    .unwrap())
            ),
            format!(
                "{:?}",
                id(Order::select(a)
                    .order_by(orders::total.asc())
                    .limit(9)
                    .fetch_all(&db)
                    .await
                    .unwrap())
            ),
            format!(
                "{:?}",
                id(Order::select(a)
                    .order_by(orders::placed_at.desc())
                    .limit(9)
                    .offset(3)
                    .fetch_all(&db)
                    .await
                    .unwrap())
            ),
            format!(
                "{:?}",
                id(Order::select(a)
                    .filter(orders::email.starts_with("1"))
                    .limit(4)
                    .fetch_all(&db)
                    .await
                    .unwrap())
            ),
            format!(
                "{:?}",
                Order::select(a)
                    .filter(orders::total.ge(3))
                    .fetch_optional(&db)
                    .await
                    .unwrap()
                    .map(|row| row.id)
            ),
            format!(
                "{:?}",
                Order::select(a).columns(orders::total).distinct().fetch_all(&db).await.unwrap()
            ),
            format!(
                "{:?}",
                Order::select(a)
                    .group_by(orders::total)
                    .aggregate(orders::id.max())
                    .limit(3)
                    .fetch_all(&db)
                    .await
                    .unwrap()
            ),
            format!(
                "{:?}",
                Order::select(a).join(orders::customer_id).limit(3).fetch_all(&db).await.unwrap()
            ),
            format!(
                "{:?}",
                Customer::select(a)
                    .left_join_from(orders::customer_id)
                    .limit(3)
                    .fetch_all(&db)
                    .await
                    .unwrap()
            ),
        ]);
        assert_eq!(
            Order::select(a).unordered().limit(5).fetch_all(&db).await.unwrap_err().kind(),
            ErrorKind::Misuse
        );
        assert_eq!(Order::select(a).unordered().fetch_all(&db).await.unwrap().len(), 400);
    }
    assert_eq!(observed[0], observed[1]);
}

#[tokio::test]
async fn l65_an_organization_of_another_kind_than_the_schemas_opens_nothing() {
    let (directory, issuer) = people();
    let (db, _place) = open(&issuer, schema(), |builder| builder).await;
    for id in [OrganizationId::from_i64(10).unwrap(), OrganizationId::from_text("ten").unwrap()] {
        directory.add_member(&id, &ann(), Role::Owner);
        let scope = issuer.enter(&ann(), &id).await.unwrap();
        assert_ne!(scope.organization().kind(), OrganizationKind::Uuid);
        for outcome in [
            Order::select(&scope).fetch_all(&db).await.map(drop),
            Customer::insert(&scope, customer(1, "x")).execute(&db).await.map(drop),
            db.begin(&scope).await.map(drop),
        ] {
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Misuse);
        }
    }
}
