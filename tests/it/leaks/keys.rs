//! Keys, references and conflicts: L06 to L11, L22, L52, L68.

use tenantry::table::{Dialect, Schema};
use tenantry::{ErrorKind, Result};

use super::fixture::*;

/// Customer 7 is B's where B exists, customer 99 nobody's.
#[tokio::test]
async fn l06_a_reference_to_another_organizations_row_is_one_to_a_missing_row() {
    in_two_worlds(async |w| {
        let mut log = Vec::new();
        for parent in [7, 99] {
            let child = |id| order(id, parent, &format!("{id}@x"), 1);
            let mut told = vec![
                seen(Order::insert(&w.a, child(40)).execute(&w.db).await),
                seen(Order::insert(&w.a, child(40)).returning().fetch_one(&w.db).await),
                seen(
                    Order::insert(&w.a, child(40))
                        .on_conflict(orders::email)
                        .update((orders::total, orders::customer_id))
                        .execute(&w.db)
                        .await,
                ),
                seen(
                    Order::insert_many(&w.a, [order(41, 1, "41@x", 1), child(42)])
                        .execute(&w.db)
                        .await,
                ),
                seen(
                    Order::update(&w.a)
                        .set(orders::customer_id, parent)
                        .key(10)
                        .execute(&w.db)
                        .await,
                ),
                seen(Employee::insert(&w.a, employee(9, "Gil", Some(parent))).execute(&w.db).await),
                seen(
                    Employee::update(&w.a)
                        .set(employees::boss, parent)
                        .all_rows()
                        .execute(&w.db)
                        .await,
                ),
            ];
            let mut tx = w.db.begin(&w.a).await.unwrap();
            told.push(seen(Order::insert(&w.a, child(43)).execute(&mut tx).await));
            told.push(seen(tx.commit().await));
            for told in &told[..8] {
                assert!(told.starts_with("NotFound"), "{told}");
                assert!(told.contains("customer_id") || told.contains("boss"), "{told}");
            }
            log.push(told);
        }
        assert_eq!(log[0], log[1], "a foreign parent differs from a missing one");
        let rows = Order::select(&w.a).fetch_all(&w.db).await.unwrap();
        assert_eq!(rows.len(), 3, "{rows:?}");
        vec![format!("{log:?} {rows:?}")]
    })
    .await;
}

#[tokio::test]
async fn l07_a_cascade_stays_inside_the_organization() {
    let w = world().await;
    let ours = Line::select(&w.a).fetch_all(&w.db).await.unwrap();
    let n = Order::delete(&w.b).all_rows().execute(&w.db).await.unwrap();
    assert_eq!(n, 7);
    assert_eq!(Line::select(&w.b).count(&w.db).await.unwrap(), 0);
    assert_eq!(Line::select(&w.a).fetch_all(&w.db).await.unwrap(), ours);
    in_two_worlds(async |w| {
        let gone = Order::delete(&w.a).key(10).execute(&w.db).await;
        let lines = Line::select(&w.a).fetch_all(&w.db).await;
        let kept = Customer::delete(&w.a).key(2).execute(&w.db).await;
        vec![seen(gone), seen(lines), seen(kept)]
    })
    .await;
}

#[tokio::test]
async fn l08_unique_keys_do_not_tell_of_other_organizations() {
    let seen = in_two_worlds(async |w| {
        vec![
            // B has customer 5 and the e-mail eli@x; A has neither.
            seen(Customer::insert(&w.a, customer(5, "Eli")).execute(&w.db).await),
            seen(Order::insert(&w.a, order(14, 5, "eli@x", 1)).execute(&w.db).await),
            seen(Customer::update(&w.a).set(customers::name, "Flo").key(5).execute(&w.db).await),
            seen(Customer::update(&w.a).set(customers::id, 6).key(3).execute(&w.db).await),
            // What A has is taken, and says so in the same words.
            seen(Customer::insert(&w.a, customer(1, "Zoe")).execute(&w.db).await),
            seen(Customer::insert(&w.a, customer(50, "Ann")).execute(&w.db).await),
            seen(Customer::update(&w.a).set(customers::name, "Bob").key(1).execute(&w.db).await),
            seen(Customer::select(&w.a).fetch_all(&w.db).await),
        ]
    })
    .await;
    for taken in &seen[4..7] {
        assert!(taken.starts_with("Conflict"), "{taken}");
    }
}

#[tokio::test]
async fn l09_do_nothing_counts_the_organizations_own_conflicts_alone() {
    let seen = in_two_worlds(async |w| {
        let mut log = Vec::new();
        for (id, email) in [(13, "dan@x"), (10, "ann@x"), (70, "ann@x"), (71, "new@x")] {
            let row = || order(id, 1, email, 5);
            let insert = Order::insert(&w.a, row()).on_conflict(orders::email).do_nothing();
            log.push(seen(insert.execute(&w.db).await));
            let insert =
                Order::insert(&w.a, row()).on_conflict(orders::id).do_nothing().returning();
            log.push(seen(insert.fetch_optional(&w.db).await));
        }
        let batch = [customer(4, "Dan"), customer(1, "Ann"), customer(5, "Eli")];
        let insert = Customer::insert_many(&w.a, batch).on_conflict(customers::id).do_nothing();
        log.push(seen(insert.execute(&w.db).await));
        log
    })
    .await;
    assert_eq!(seen[0], "1", "B's e-mail is no conflict");
    assert_eq!(seen.last().unwrap(), "2");
}

#[tokio::test]
async fn l10_an_upsert_on_a_foreign_key_changes_nothing_of_its_owner() {
    let seen = in_two_worlds(async |w| {
        let mut log = Vec::new();
        for (id, email) in [(13, "dan@x"), (14, "other@x"), (80, "flo@x"), (10, "ann@x")] {
            let row = Order { note: Some("mine now".into()), ..order(id, 1, email, 66) };
            let by_key = Order::insert(&w.a, row.clone()).on_conflict(orders::id).update((
                orders::total,
                orders::note,
                orders::email,
            ));
            log.push(seen(by_key.execute(&w.db).await));
            let by_email = Order::insert(&w.a, row)
                .on_conflict(orders::email)
                .update((orders::total, orders::note))
                .returning();
            log.push(seen(by_email.fetch_all(&w.db).await));
        }
        log.push(seen(Order::select(&w.a).fetch_all(&w.db).await));
        log
    })
    .await;
    assert!(seen[..8].iter().step_by(2).all(|affected| affected == "1"), "{seen:?}");
}

#[tokio::test]
async fn l10_the_conflict_target_holds_the_tenant_column_and_the_guard_is_qualified() {
    let w = bare(|builder| builder).await;
    for dialect in [Dialect::Sqlite, Dialect::Postgres] {
        let insert = || Order::insert(&w.a, order(1, 1, "a", 1));
        for sql in [
            insert()
                .on_conflict(orders::email)
                .update((orders::note,))
                .to_sql(&schema(), dialect)
                .unwrap(),
            insert()
                .on_conflict(orders::id)
                .update((orders::note,))
                .to_sql(&schema(), dialect)
                .unwrap(),
            insert().on_conflict(orders::id).do_nothing().to_sql(&schema(), dialect).unwrap(),
        ] {
            let (_, conflict) = sql.split_once("ON CONFLICT (").expect(&sql);
            assert!(conflict.starts_with("\"organization_id\", "), "{sql}");
            if let Some((_, update)) = conflict.split_once("DO UPDATE SET") {
                let guard = update.rsplit_once(" WHERE ").expect(&sql).1;
                let (qualifier, _) = guard.split_once(".\"organization_id\" = ").expect(&sql);
                assert!(!qualifier.contains(' ') && !qualifier.contains("excluded"), "{sql}");
                assert!(
                    !update.split(" WHERE ").next().unwrap().contains("organization_id"),
                    "{sql}"
                );
            }
        }
    }
}

#[tokio::test]
async fn l11_no_write_replaces_rows() {
    in_two_worlds(async |w| {
        let mut log = Vec::new();
        // Every key and every unique value of B's, once each way.
        for id in 10..17 {
            let row = || order(id, 1, &format!("{id}@y"), 1);
            let insert = Order::insert(&w.a, row());
            assert!(
                !insert
                    .to_sql(&schema(), Dialect::Sqlite)
                    .unwrap()
                    .to_uppercase()
                    .contains("REPLACE")
            );
            log.push(seen(insert.execute(&w.db).await));
            let upsert = Order::insert(&w.a, row()).on_conflict(orders::id).update(orders::total);
            assert!(
                !upsert
                    .to_sql(&schema(), Dialect::Sqlite)
                    .unwrap()
                    .to_uppercase()
                    .contains("REPLACE")
            );
            log.push(seen(upsert.execute(&w.db).await));
        }
        log
    })
    .await;
    for statement in schema().ddl(Dialect::Sqlite).unwrap() {
        let statement = statement.to_uppercase();
        assert!(
            !statement.contains("REPLACE") && !statement.contains("ON CONFLICT"),
            "{statement}"
        );
    }
}

#[tokio::test]
async fn l22_all_rows_are_the_organizations_rows() {
    let seen = in_two_worlds(async |w| {
        vec![
            seen(Line::update(&w.a).set(order_lines::quantity, 9).all_rows().execute(&w.db).await),
            seen(Order::delete(&w.a).all_rows().execute(&w.db).await),
            seen(Customer::delete(&w.a).all_rows().returning().fetch_all(&w.db).await),
            seen(Employee::delete(&w.a).all_rows().execute(&w.db).await),
        ]
    })
    .await;
    assert_eq!((&*seen[0], &*seen[1], &*seen[3]), ("3", "3", "2"));
}

tenantry::tenant_table! {
    /// A page that can be put away and brought back.
    #[derive(Debug, Clone, PartialEq)]
    pub(crate) struct Page in pages {
        key id: i64,
        slug: String,
        deleted: bool,
    }
    unique (slug, deleted);
}

/// Soft delete is the application's own column: rows that B put away neither block A nor come
/// back with A's.
#[tokio::test]
async fn l52_rows_put_away_by_others_neither_block_nor_return() {
    let mut seen = Vec::new();
    for full in [false, true] {
        let (_, issuer) = people();
        let (db, _place) = open(&issuer, Schema::new().tenant::<Page>(), |builder| builder).await;
        let a = issuer.enter(&ann(), organization(0xA)).await.unwrap();
        let b = issuer.enter(&ann(), organization(0xB)).await.unwrap();
        let page = |id, deleted| Page { id, slug: "home".into(), deleted };
        if full {
            Page::insert_many(&b, [page(1, true), page(2, false)]).execute(&db).await.unwrap();
        }
        let put_away = || Page::update(&a).set(pages::deleted, true).filter(pages::slug.eq("home"));
        let bring_back =
            || Page::update(&a).set(pages::deleted, false).filter(pages::deleted.eq(true));
        let mut log = vec![
            super::fixture::seen(bring_back().execute(&db).await),
            super::fixture::seen(Page::insert(&a, page(1, false)).execute(&db).await),
            super::fixture::seen(put_away().execute(&db).await),
            super::fixture::seen(Page::insert(&a, page(2, false)).execute(&db).await),
            super::fixture::seen(put_away().execute(&db).await),
            super::fixture::seen(bring_back().execute(&db).await),
        ];
        log.push(super::fixture::seen(
            Page::select(&a).filter(pages::deleted.eq(true)).fetch_all(&db).await,
        ));
        seen.push(log);
        if full {
            let theirs = Page::select(&b).fetch_all(&db).await.unwrap();
            assert_eq!(theirs, [page(1, true), page(2, false)]);
        }
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn l68_deleting_everything_leaves_no_row_and_changes_nothing_of_others() {
    let w = world().await;
    let before = others(&w.path, w.a.organization()).await;
    let emptied: Result<()> = async {
        w.db.transaction(&w.a, async |tx| {
            Line::delete(&w.a).all_rows().execute(&mut *tx).await?;
            Order::delete(&w.a).all_rows().execute(&mut *tx).await?;
            Customer::delete(&w.a).all_rows().execute(&mut *tx).await?;
            Employee::delete(&w.a).all_rows().execute(&mut *tx).await
        })
        .await
        .map(drop)
    }
    .await;
    emptied.unwrap();
    let nobody = organization(0xFFFF);
    let left = others(&w.path, &nobody).await;
    assert_eq!(left, before, "rows of A are left, or others changed");
    let early = Customer::delete(&w.b).key(1).execute(&w.db).await.unwrap_err();
    assert_eq!(early.kind(), ErrorKind::Conflict);
}
