//! L51: a cursor is good for one organization and one query.

use tenantry::query::{Cursor, Select};
use tenantry::{ErrorKind, TenantScope};

use super::fixture::*;

fn newest(scope: &TenantScope) -> Select<'_, Order> {
    Order::select(scope).order_by(orders::placed_at.desc())
}

#[tokio::test]
async fn l51_a_cursor_of_another_organization_or_query_opens_nothing() {
    let w = world().await;
    let cursor = |scope: &TenantScope| {
        let (db, scope) = (w.db.clone(), scope.clone());
        async move { newest(&scope).page(None, 1).fetch(&db).await.unwrap().next.unwrap() }
    };
    let (ours, theirs) = (cursor(&w.a).await, cursor(&w.b).await);
    let page = newest(&w.a).page(Some(ours.clone()), 2).fetch(&w.db).await.unwrap();
    assert_eq!(page.rows.iter().map(|row| row.id).collect::<Vec<_>>(), [11, 10]);

    let some = |cursor: &Cursor| Some(cursor.clone());
    let mut refused = vec![
        newest(&w.a).page(some(&theirs), 2).fetch(&w.db).await,
        newest(&w.b).page(some(&ours), 2).fetch(&w.db).await,
        Order::select(&w.a).page(some(&ours), 2).fetch(&w.db).await,
        Order::select(&w.a)
            .order_by(orders::placed_at.asc())
            .page(some(&ours), 2)
            .fetch(&w.db)
            .await,
        newest(&w.a).order_by(orders::total.asc()).page(some(&ours), 2).fetch(&w.db).await,
        newest(&w.a).filter(orders::total.gt(0)).page(some(&ours), 2).fetch(&w.db).await,
        newest(&w.a).page(Some("".parse().unwrap()), 2).fetch(&w.db).await,
        newest(&w.a).page(Some("AAAA".parse().unwrap()), 2).fetch(&w.db).await,
        newest(&w.a).page(Some("' OR 1=1".parse().unwrap()), 2).fetch(&w.db).await,
        newest(&w.a).page(Some("A".repeat(200_000).parse().unwrap()), 2).fetch(&w.db).await,
    ];
    let text = ours.to_string();
    for at in 0..text.len() {
        let mut edited = text.clone().into_bytes();
        edited[at] = if edited[at] == b'A' { b'B' } else { b'A' };
        let edited = String::from_utf8(edited).unwrap();
        refused.push(newest(&w.a).page(Some(edited.parse().unwrap()), 2).fetch(&w.db).await);
        refused.push(newest(&w.a).page(Some(text[..at].parse().unwrap()), 2).fetch(&w.db).await);
    }
    refused
        .push(newest(&w.a).page(Some(format!("{text}A").parse().unwrap()), 2).fetch(&w.db).await);
    let told: Vec<_> = refused.into_iter().map(|page| confess(&page.unwrap_err())).collect();
    assert!(told[0].starts_with("Invalid"), "{}", told[0]);
    for (n, other) in told.iter().enumerate() {
        assert_eq!(*other, told[0], "refusal {n} says more");
    }
}

#[tokio::test]
async fn l51_a_cursor_is_bound_to_its_tables_and_holds_no_readable_value() {
    let w = world().await;
    let by_email = || Order::select(&w.a).order_by(orders::email.asc());
    let cursor = by_email().page(None, 1).fetch(&w.db).await.unwrap().next.unwrap();
    let again = by_email().page(None, 1).fetch(&w.db).await.unwrap().next.unwrap();
    assert_ne!(cursor, again, "equal cursors tell of equal rows");
    assert_eq!(format!("{cursor:?}"), "Cursor([sealed])");
    for hidden in ["ann2@x", "YW5uMkB4", "ann"] {
        assert!(!cursor.to_string().contains(hidden));
    }
    let joined = Order::select(&w.a).order_by(orders::email.asc()).join(orders::customer_id);
    let refused = joined.page(Some(cursor.clone()), 1).fetch(&w.db).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    let refused = Customer::select(&w.a)
        .order_by(customers::name.asc())
        .page(Some(cursor.clone()), 1)
        .fetch(&w.db)
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    // The same cursor goes on in a transaction and after a serde round trip.
    let travelled: Cursor = serde_json::from_str(&serde_json::to_string(&cursor).unwrap()).unwrap();
    let mut tx = w.db.begin(&w.a).await.unwrap();
    let rest = by_email().page(Some(travelled), 5).fetch(&mut tx).await.unwrap();
    assert_eq!(rest.rows.len(), 2);
    drop(tx);
    // A refused scope is refused whatever its cursor is.
    w.issuer.suspend(w.a.organization());
    for cursor in [cursor, "garbage".parse().unwrap()] {
        let refused = by_email().page(Some(cursor), 1).fetch(&w.db).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Denied);
    }
}

#[tokio::test]
async fn l51_pages_of_one_organization_are_the_same_beside_another() {
    in_two_worlds(async |w| {
        let mut log = Vec::new();
        for rows in [1, 2, 3, 50] {
            let mut cursor = None;
            loop {
                let page = Order::select(&w.a)
                    .order_by(orders::note.asc())
                    .page(cursor, rows)
                    .fetch(&w.db)
                    .await
                    .unwrap();
                log.push(format!("{:?} {}", page.rows, page.next.is_some()));
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
        }
        log
    })
    .await;
}
