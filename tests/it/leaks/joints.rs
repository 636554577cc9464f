//! Joins, verbs, keys and prepared shapes: L25, L37, L39, L40, L42, L46, L64, L66.

use std::pin::Pin;
use std::sync::LazyLock;

use tenantry::query::{Prepared, PreparedDelete, PreparedUpdate, all, count};
use tenantry::table::{First, Schema, Second, Third};
use tenantry::{Database, ErrorKind, TenantScope};

use super::fixture::*;

/// Joins of A against a model over A's own rows, in worlds with and without B.
#[tokio::test]
async fn l37_joins_find_the_organizations_rows_and_keep_the_meaning_of_outer() {
    let seen = in_two_worlds(async |w| {
        let (db, a) = (&w.db, &w.a);
        let customers_now = Customer::select(a).fetch_all(db).await.unwrap();
        let orders_now = Order::select(a).fetch_all(db).await.unwrap();
        let lines_now = Line::select(a).fetch_all(db).await.unwrap();
        let parent =
            |order: &Order| customers_now.iter().find(|c| c.id == order.customer_id).cloned();

        let inner = Order::select(a).join(orders::customer_id).fetch_all(db).await.unwrap();
        let expected: Vec<_> = orders_now.iter().map(|o| (o.clone(), parent(o).unwrap())).collect();
        assert_eq!(inner, expected);

        let from =
            Customer::select(a).left_join_from(orders::customer_id).fetch_all(db).await.unwrap();
        let mut expected = Vec::new();
        for c in &customers_now {
            let mut mine: Vec<_> =
                orders_now.iter().filter(|o| o.customer_id == c.id).cloned().map(Some).collect();
            if mine.is_empty() {
                mine.push(None);
            }
            expected.extend(mine.into_iter().map(|o| (c.clone(), o)));
        }
        assert_eq!(from, expected);

        let three = Line::select(a)
            .join(order_lines::order_id)
            .join(orders::customer_id)
            .fetch_all(db)
            .await
            .unwrap();
        assert_eq!(three.len(), lines_now.len());
        for (line, order, customer) in &three {
            assert_eq!((line.order_id, order.customer_id), (order.id, customer.id));
        }
        let genres_of =
            Line::select(a).left_join(order_lines::genre_id).fetch_all(db).await.unwrap();
        assert_eq!(genres_of.iter().filter(|(_, genre)| genre.is_some()).count(), 1);
        assert_eq!(genres_of.len(), 3);

        // Fay's boss is Eve; B's Fay is bossed by others.
        let bosses =
            Employee::select(a).left_join(employees::boss.at(First)).fetch_all(db).await.unwrap();
        let names: Vec<_> = bosses
            .iter()
            .map(|(e, boss)| (e.name.clone(), boss.as_ref().map(|b| b.name.clone())))
            .collect();
        assert_eq!(names, [("Eve".to_owned(), None), ("Fay".to_owned(), Some("Eve".to_owned()))]);
        let chain = Employee::select(a)
            .join(employees::boss.at(First))
            .left_join(employees::boss.at(Second))
            .filter(employees::id.at(Third).is_null())
            .fetch_all(db)
            .await;
        let filtered = Order::select(a)
            .join(orders::customer_id)
            .filter(all((orders::total.gt(100), customers::name.eq("Ann"))))
            .columns((orders::id, customers::name))
            .fetch_all(db)
            .await;
        let counted = Customer::select(a)
            .left_join_from(orders::customer_id)
            .group_by(customers::name)
            .aggregate((count(), orders::total.sum(), orders::id.count()))
            .fetch_all(db)
            .await;
        let sums = Line::select(a)
            .join(order_lines::order_id)
            .aggregate((count(), order_lines::quantity.sum(), orders::total.max()))
            .fetch_one(db)
            .await;
        vec![
            format!("{inner:?} {from:?} {three:?} {genres_of:?} {bosses:?}"),
            super::fixture::seen(chain),
            super::fixture::seen(filtered),
            super::fixture::seen(counted),
            super::fixture::seen(sums),
        ]
    })
    .await;
    assert_eq!(seen[4], "(3, Some(6), Some(200))");
}

/// A row of A whose reference dangles (made beside the library, without foreign keys) finds no
/// parent of B's under the same key.
#[tokio::test]
async fn l37_a_dangling_reference_does_not_find_another_organizations_parent() {
    let w = world().await;
    let update = "UPDATE orders SET customer_id = 7 WHERE id = 10";
    dangle(&w.path, w.a.organization(), update).await;
    let inner = Order::select(&w.a).join(orders::customer_id).fetch_all(&w.db).await.unwrap();
    assert!(inner.iter().all(|(order, _)| order.id != 10), "{inner:?}");
    let left = Order::select(&w.a).left_join(orders::customer_id).fetch_all(&w.db).await.unwrap();
    assert_eq!(left.iter().find(|(order, _)| order.id == 10).map(|(_, c)| c.clone()), Some(None));
    let columns = Order::select(&w.a)
        .left_join(orders::customer_id)
        .columns((orders::id, customers::token))
        .fetch_all(&w.db)
        .await
        .unwrap();
    assert!(columns.iter().all(|(_, token)| token.clone().flatten().is_none()), "{columns:?}");
    let parents = Customer::select(&w.a)
        .filter(customers::id.in_subquery(Order::select(&w.a).columns(orders::customer_id)))
        .fetch_all(&w.db)
        .await
        .unwrap();
    assert!(parents.iter().all(|c| c.id != 7), "{parents:?}");
}

type Work<'a> = Pin<Box<dyn Future<Output = String> + Send + 'a>>;
type Verb = (&'static str, for<'a> fn(&'a TenantScope, &'a Database) -> Work<'a>);

macro_rules! verbs {
    ($($name:literal |$scope:ident, $db:ident| $work:expr;)*) => {
        &[$(($name, {
            fn run<'a>($scope: &'a TenantScope, $db: &'a Database) -> Work<'a> {
                Box::pin(async move { seen($work.await) })
            }
            run
        })),*]
    };
}

/// Every verb of the crate, aimed as wide as it goes; each with B's keys where it takes a key.
const VERBS: &[Verb] = verbs! {
    "find" |a, db| Order::find(a, 13).fetch_optional(db);
    "find one" |a, db| Order::find(a, 13).fetch_one(db);
    "select" |a, db| Order::select(a).fetch_all(db);
    "select unordered" |a, db| async { Order::select(a).unordered().fetch_all(db).await.map(|mut rows| { rows.sort_by_key(|row| row.id); rows }) };
    "first" |a, db| Order::select(a).order_by(orders::total.desc()).fetch_optional(db);
    "first one" |a, db| Order::select(a).order_by(orders::total.desc()).fetch_one(db);
    "offset" |a, db| Order::select(a).order_by(orders::total.desc()).limit(2).offset(1).fetch_all(db);
    "stream" |a, db| futures_util::TryStreamExt::try_collect::<Vec<_>>(Order::select(a).fetch(db));
    "count" |a, db| Order::select(a).count(db);
    "exists" |a, db| Order::select(a).filter(orders::total.gt(1_000)).exists(db);
    "columns" |a, db| Order::select(a).columns((orders::id, orders::note)).fetch_all(db);
    "column first" |a, db| Order::select(a).order_by(orders::id.desc()).columns(orders::note).fetch_one(db);
    "distinct" |a, db| Order::select(a).columns(orders::note).distinct().fetch_all(db);
    "aggregate" |a, db| Order::select(a).aggregate((count(), orders::total.sum(), orders::total.min(), orders::total.max(), orders::note.count(), orders::note.count_distinct())).fetch_one(db);
    "group" |a, db| Order::select(a).group_by(orders::customer_id).aggregate((count(), orders::total.sum())).fetch_all(db);
    "having" |a, db| Order::select(a).group_by(orders::customer_id).aggregate(count()).having(orders::total.sum().gt(1_000)).fetch_all(db);
    "group limit" |a, db| Order::select(a).group_by(orders::email).aggregate(orders::total.max()).order_by(orders::total.max().desc()).limit(2).fetch_all(db);
    "join" |a, db| Order::select(a).join(orders::customer_id).fetch_all(db);
    "left join" |a, db| Customer::select(a).left_join_from(orders::customer_id).fetch_all(db);
    "page" |a, db| async { Order::select(a).order_by(orders::total.desc()).page(None, 50).fetch(db).await.map(|page| (page.rows, page.next.is_some())) };
    "prepared" |a, db| Order::prepare(|q, (least,): (_,)| q.filter(orders::total.ge(least))).fetch_all(a, (0,), db);
    "prepared first" |a, db| Order::prepare(|q, (least,): (_,)| q.filter(orders::total.ge(least)).order_by(orders::id.desc())).fetch_optional(a, (0,), db);
    "prepared columns" |a, db| Order::prepare_columns(|q, (least,): (_,)| q.filter(orders::total.ge(least)).columns((orders::id, orders::note))).fetch_all(a, (0,), db);
    "prepared columns of a join" |a, db| Customer::prepare_columns(|q, ()| q.left_join_from(orders::customer_id).columns((customers::name, orders::total))).fetch_all(a, (), db);
    "prepared distinct" |a, db| Order::prepare_columns(|q, ()| q.columns(orders::note).distinct()).fetch_all(a, (), db);
    "prepared column first" |a, db| Order::prepare_columns(|q, ()| q.order_by(orders::id.desc()).columns(orders::note)).fetch_one(a, (), db);
    "global" |a, db| Genre::select(a).fetch_all(db);
    "insert" |a, db| Customer::insert(a, customer(4, "Dan")).execute(db);
    "insert returning" |a, db| Customer::insert(a, customer(5, "Eli")).returning().fetch_one(db);
    "insert many" |a, db| Customer::insert_many(a, [customer(6, "Flo"), customer(7, "Gus")]).execute(db);
    "insert many returning" |a, db| Customer::insert_many(a, [customer(9, "Ida"), customer(8, "Hal")]).returning().fetch_all(db);
    "upsert" |a, db| Customer::insert(a, customer(5, "Eli")).on_conflict(customers::id).update(customers::name).execute(db);
    "upsert unique" |a, db| Customer::insert(a, customer(55, "Gus")).on_conflict(customers::name).update(customers::token).returning().fetch_all(db);
    "do nothing" |a, db| Customer::insert(a, customer(7, "Gus")).on_conflict(customers::id).do_nothing().execute(db);
    "update filter" |a, db| Order::update(a).set(orders::note, "new").filter(orders::id.gt(0)).execute(db);
    "update key" |a, db| Order::update(a).set(orders::note, "new").key(13).execute(db);
    "update all" |a, db| Order::update(a).set(orders::total, orders::total.add(1)).all_rows().execute(db);
    "update returning" |a, db| Order::update(a).set(orders::total, orders::total.sub(1)).all_rows().returning().fetch_all(db);
    "update of key" |a, db| Employee::update(a).set(employees::id, 5).key(2).returning().fetch_all(db);
    "prepared update" |a, db| Order::prepare_update(|u, (note,): (_,)| u.set(orders::note, note).all_rows()).execute(a, ("p",), db);
    "prepared update of a subquery" |a, db| Order::prepare_update(|u, (name, note): (_, _)| { let named = u.draft::<Customer>().filter(customers::name.ge(name)).columns(customers::id); u.set(orders::note, note).filter(orders::customer_id.in_subquery(named)) }).execute(a, ("", "s"), db);
    "prepared delete" |a, db| Line::prepare_delete(|d, (n,): (_,)| d.filter(order_lines::n.gt(n))).execute(a, (2,), db);
    "prepared delete of a subquery" |a, db| Line::prepare_delete(|d, (least, n): (_, _)| { let large = d.draft::<Order>().filter(orders::total.ge(least)).columns(orders::id); d.filter(order_lines::order_id.in_subquery(large)).filter(order_lines::n.eq(n)) }).execute(a, (0, 2), db);
    "delete filter" |a, db| Line::delete(a).filter(order_lines::n.gt(1)).execute(db);
    "delete key" |a, db| Order::delete(a).key(13).execute(db);
    "delete composite key" |a, db| Line::delete(a).key((16, 3)).returning().fetch_all(db);
    "delete returning" |a, db| Employee::delete(a).all_rows().returning().fetch_all(db);
    "delete all" |a, db| Line::delete(a).all_rows().execute(db);
    "prepared delete of all" |a, db| Line::prepare_delete(|d, ()| d.all_rows()).execute(a, (), db);
};

#[tokio::test]
async fn l39_every_verb_keeps_to_its_organization() {
    let seen = in_two_worlds(async |w| {
        let mut log = Vec::new();
        for (name, verb) in VERBS {
            log.push(format!("{name}: {}", verb(&w.a, &w.db).await));
        }
        log
    })
    .await;
    assert!(
        !seen.iter().any(|line| line.contains("Misuse") || line.contains("Internal")),
        "{seen:#?}"
    );
}

#[tokio::test]
async fn l40_a_foreign_key_is_a_missing_key_for_every_verb() {
    let w = world().await;
    let (a, db) = (&w.a, &w.db);
    let before = others(&w.path, a.organization()).await;
    let mut told = Vec::new();
    // 13 is B's, 99 nobody's.
    for id in [13, 99] {
        told.push([
            seen(Order::find(a, id).fetch_one(db).await),
            seen(Order::find(a, id).fetch_optional(db).await),
            seen(Order::select(a).filter(orders::id.eq(id)).fetch_one(db).await),
            seen(Order::select(a).filter(orders::id.eq(id)).exists(db).await),
            seen(
                Order::select(a)
                    .filter(orders::id.eq(id))
                    .columns(orders::email)
                    .fetch_one(db)
                    .await,
            ),
            seen(Order::update(a).set(orders::total, 0).key(id).execute(db).await),
            seen(Order::update(a).set(orders::total, 0).key(id).returning().fetch_all(db).await),
            seen(Order::delete(a).key(id).execute(db).await),
            seen(Order::delete(a).key(id).returning().fetch_all(db).await),
            seen(Line::find(a, (id, 1)).fetch_one(db).await),
            seen(Line::delete(a).key((id, 1)).execute(db).await),
            seen(
                Order::prepare(|q, (id,): (_,)| q.filter(orders::id.eq(id)))
                    .fetch_one(a, (id,), db)
                    .await,
            ),
            seen(
                Order::prepare_columns(|q, (id,): (_,)| {
                    q.filter(orders::id.eq(id)).columns(orders::email)
                })
                .fetch_one(a, (id,), db)
                .await,
            ),
            seen(
                Order::prepare_update(|u, (id, total): (_, _)| {
                    u.set(orders::total, total).filter(orders::id.eq(id))
                })
                .execute(a, (id, 0), db)
                .await,
            ),
            seen(
                Order::prepare_delete(|d, (id,): (_,)| d.filter(orders::id.eq(id)))
                    .execute(a, (id,), db)
                    .await,
            ),
        ]);
    }
    assert_eq!(told[0], told[1]);
    assert!(told[0][0].starts_with("NotFound 404"), "{}", told[0][0]);
    assert_eq!(others(&w.path, a.organization()).await, before);
}

/// What was checked is what is acted on: the key is taken once, and a transaction belongs to one
/// organization.
#[tokio::test]
async fn l42_a_key_checked_in_one_organization_is_not_acted_on_in_another() {
    let w = world().await;
    let mut tx = w.db.begin(&w.a).await.unwrap();
    let checked = Order::find(&w.a, 10).for_update().fetch_one(&mut tx).await.unwrap();
    for outcome in [
        Order::delete(&w.b).key(checked.id).execute(&mut tx).await,
        Order::update(&w.b).set(orders::total, 1).key(checked.id).execute(&mut tx).await,
        Order::insert(&w.b, order(90, 1, "z@x", 1)).execute(&mut tx).await,
        Order::select(&w.b).count(&mut tx).await.map(|n| n as u64),
    ] {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Misuse);
    }
    tx.rollback().await.unwrap();
    assert_eq!(Order::find(&w.b, 10).fetch_one(&w.db).await.unwrap().total, 7_000_010);
}

/// A row read under A means B's row of that key when it is used under B, and never A's.
#[tokio::test]
async fn l64_a_row_of_one_organization_used_in_another_means_that_ones_row() {
    let w = world().await;
    let ours = Order::find(&w.a, 10).fetch_one(&w.db).await.unwrap();
    let before = others(&w.path, w.b.organization()).await;
    let taken = Order::insert(&w.b, ours.clone()).execute(&w.db).await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Conflict);
    Order::insert(&w.b, ours.clone())
        .on_conflict(orders::id)
        .update((orders::total, orders::note))
        .execute(&w.db)
        .await
        .unwrap();
    assert_eq!(Order::find(&w.b, ours.id).fetch_one(&w.db).await.unwrap().total, ours.total);
    Order::delete(&w.b).key(ours.id).execute(&w.db).await.unwrap();
    assert_eq!(Order::find(&w.a, ours.id).fetch_one(&w.db).await.unwrap(), ours);
    assert_eq!(others(&w.path, w.b.organization()).await, before);
}

static BY_LEAST: LazyLock<Prepared<Note, (i64, String)>> = LazyLock::new(|| {
    Note::prepare(|q, (least, text): (_, _)| {
        let inner = q.draft::<Note>().filter(notes::text.eq(text)).columns(notes::id);
        q.filter(notes::id.ge(least)).filter(notes::id.in_subquery(inner))
    })
});
static SET_TEXT: LazyLock<PreparedUpdate<Note, (String, i64)>> = LazyLock::new(|| {
    Note::prepare_update(|u, (text, id): (_, _)| u.set(notes::text, text).filter(notes::id.eq(id)))
});

static TEXTS: LazyLock<Prepared<String, (i64,)>> = LazyLock::new(|| {
    Note::prepare_columns(|q, (id,): (_,)| q.filter(notes::id.eq(id)).columns(notes::text))
});
static FORGET: LazyLock<PreparedDelete<Note, (String,)>> =
    LazyLock::new(|| Note::prepare_delete(|d, (text,): (_,)| d.filter(notes::text.eq(text))));

tenantry::tenant_table! {
    /// A note.
    #[derive(Debug, Clone, PartialEq)]
    pub(crate) struct Note in notes {
        key id: i64,
        text: String,
    }
    index (text);
}

/// One shape, one connection, fifty organizations in turn: nothing of a run stays in the shape.
#[tokio::test]
async fn l46_a_prepared_shape_keeps_nothing_of_the_organization_that_ran_it_before() {
    let (directory, issuer) = people();
    for paranoid in [false, true] {
        let schema = Schema::new().tenant::<Note>();
        let (db, _place) =
            open(&issuer, schema, |builder| one_connection(builder).paranoid(paranoid)).await;
        let mut scopes = Vec::new();
        for number in 1..=50u128 {
            let id = organization(number);
            directory.add_member(&id, &ann(), tenantry::scope::Role::Member);
            scopes.push(issuer.enter(&ann(), id).await.unwrap());
        }
        for (n, scope) in scopes.iter().enumerate() {
            let rows = (1..4).map(|id| Note { id, text: format!("{n}") });
            Note::insert_many(scope, rows).execute(&db).await.unwrap();
        }
        for round in 0..3i64 {
            for (n, scope) in scopes.iter().enumerate() {
                let (mine, next) = (format!("{n}"), format!("{}", (n + 1) % 50));
                let found =
                    BY_LEAST.fetch_all(scope, (round + 1, mine.as_str()), &db).await.unwrap();
                assert_eq!(found.len() as i64, 3 - round);
                assert!(found.iter().all(|note| note.text == mine), "{found:?}");
                assert!(
                    BY_LEAST.fetch_all(scope, (0, next.as_str()), &db).await.unwrap().is_empty()
                );
                assert_eq!(Note::find(scope, 2).fetch_one(&db).await.unwrap().text, mine);
                assert_eq!(SET_TEXT.execute(scope, (mine.as_str(), 2), &db).await.unwrap(), 1);
                let mut tx = db.begin(scope).await.unwrap();
                assert_eq!(
                    BY_LEAST.fetch_all(scope, (3, mine.as_str()), &mut tx).await.unwrap().len(),
                    1
                );
                assert_eq!(SET_TEXT.execute(scope, ("gone", 1), &mut tx).await.unwrap(), 1);
                assert_eq!(TEXTS.fetch_one(scope, (1,), &mut tx).await.unwrap(), "gone");
                assert_eq!(TEXTS.fetch_one(scope, (2,), &mut tx).await.unwrap(), mine);
                assert_eq!(FORGET.execute(scope, (next.as_str(),), &mut tx).await.unwrap(), 0);
                assert_eq!(FORGET.execute(scope, (mine.as_str(),), &mut tx).await.unwrap(), 2);
                tx.rollback().await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn l66_a_transaction_belongs_to_the_scope_that_began_it() {
    let w = world().await;
    let mut tx = w.db.begin(&w.a).await.unwrap();
    assert_eq!(tx.scope().organization(), w.a.organization());
    Order::update(&w.a).set(orders::total, 1).all_rows().execute(&mut tx).await.unwrap();
    let crossed = Order::select(&w.b).fetch_all(&mut tx).await.unwrap_err();
    assert_eq!(crossed.kind(), ErrorKind::Misuse);
    let crossed = Order::select_across(&authority()).fetch_all(&mut tx).await.unwrap_err();
    assert_eq!(crossed.kind(), ErrorKind::Misuse);
    w.issuer.suspend(w.a.organization());
    let late = Order::select(&w.a).count(&mut tx).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Denied);
    assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::Denied);
    w.issuer.resume(w.a.organization());
    let a = w.issuer.enter(&ann(), w.a.organization()).await.unwrap();
    assert_eq!(Order::find(&a, 10).fetch_one(&w.db).await.unwrap().total, 100);
}

/// An error inside the closure undoes the work, of whichever organization comes next.
#[tokio::test]
async fn l66_work_that_fails_is_rolled_back_before_another_organization_writes() {
    let w = world().await;
    let failed: tenantry::Result<()> =
        w.db.transaction(&w.a, async |tx| {
            Order::update(&w.a).set(orders::total, 0).all_rows().execute(&mut *tx).await?;
            Order::find(&w.a, 13).fetch_one(tx).await.map(drop)
        })
        .await;
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::NotFound);
    Order::update(&w.b).set(orders::total, 5).key(10).execute(&w.db).await.unwrap();
    assert_eq!(Order::find(&w.a, 10).fetch_one(&w.db).await.unwrap().total, 100);
    assert_eq!(Order::find(&w.b, 10).fetch_one(&w.db).await.unwrap().total, 5);
}
