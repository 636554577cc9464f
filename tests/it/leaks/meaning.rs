//! What a statement means does not depend on the store: where the stores by themselves differ.

use tenantry::query::count;
use tenantry::table::Schema;
use tenantry::{Database, ErrorKind, TenantScope};
use uuid::Uuid;

use super::fixture::*;

tenantry::tenant_table! {
    #[derive(Debug, Clone, PartialEq)]
    pub(crate) struct Sample in samples {
        key id: i64,
        kind: i64,
        flag: Option<bool>,
        token: Option<Uuid>,
        bytes: Option<Vec<u8>>,
        text: Option<String>,
        number: i64,
        small: i16,
    }
}

fn sample(id: i64, kind: i64, byte: u8) -> Sample {
    Sample {
        id,
        kind,
        flag: Some(byte > 1),
        token: Some(Uuid::from_bytes([byte; 16])),
        bytes: Some(vec![byte]),
        text: Some(char::from(byte).to_string()),
        number: i64::from(byte),
        small: i16::from(byte),
    }
}

fn nothing(id: i64, kind: i64) -> Sample {
    Sample { flag: None, token: None, bytes: None, text: None, ..sample(id, kind, 7) }
}

/// Rows of two kinds in A, and in B values beyond them on either side.
async fn fill(db: &Database, a: &TenantScope, b: &TenantScope) {
    let rows = [sample(1, 1, 1), sample(2, 1, 0x41), nothing(3, 1), nothing(4, 2)];
    Sample::insert_many(a, rows).execute(db).await.unwrap();
    Sample::insert_many(
        b,
        [sample(1, 1, 0), sample(2, 1, 0x7f)].map(|row| Sample { text: None, ..row }),
    )
    .execute(db)
    .await
    .unwrap();
}

#[tokio::test]
async fn every_type_that_has_an_order_has_extremes() {
    let (_, issuer) = people();
    let schema = Schema::new().tenant::<Sample>();
    let (db, _place) = open(&issuer, schema, |builder| builder).await;
    let a = issuer.enter(&ann(), organization(0xA)).await.unwrap();
    let b = issuer.enter(&ann(), organization(0xB)).await.unwrap();
    fill(&db, &a, &b).await;
    macro_rules! extremes {
        ($($column:ident: $least:expr, $most:expr;)*) => {$(
            let column = samples::$column;
            let (least, most) = (Some($least), Some($most));
            let both = Sample::select(&a).aggregate((column.min(), column.max(), column.count()));
            assert_eq!(both.fetch_one(&db).await.unwrap(), (least.clone(), most.clone(), 2));
            let none = Sample::select(&a).filter(samples::kind.eq(9)).aggregate(column.max());
            assert_eq!(none.fetch_one(&db).await.unwrap(), None, stringify!($column));

            let groups = || Sample::select(&a).group_by(samples::kind);
            let ordered = groups().aggregate(column.min()).order_by(column.min().desc());
            let ordered = ordered.fetch_all(&db).await.unwrap();
            assert_eq!(ordered, [(1, least.clone()), (2, None)], stringify!($column));
            let kept = groups().aggregate(count()).having(column.max().eq(most.clone()));
            assert_eq!(kept.fetch_all(&db).await.unwrap(), [(1, 3)], stringify!($column));
            let kept = groups().aggregate(count()).having(column.min().gt(least.clone()));
            assert_eq!(kept.fetch_all(&db).await.unwrap(), [], stringify!($column));
        )*};
    }
    extremes! {
        flag: false, true;
        token: Uuid::from_bytes([1; 16]), Uuid::from_bytes([0x41; 16]);
        bytes: vec![1], vec![0x41];
        text: "\u{1}".to_owned(), "A".to_owned();
    }
}

#[tokio::test]
async fn a_result_that_its_column_cannot_hold_names_the_column() {
    let (_, issuer) = people();
    let schema = Schema::new().tenant::<Sample>();
    let (db, _place) = open(&issuer, schema, |builder| builder).await;
    let a = issuer.enter(&ann(), organization(0xA)).await.unwrap();
    let huge = Sample { number: i64::MAX, small: i16::MAX, ..nothing(1, 1) };
    Sample::insert_many(&a, [huge.clone(), Sample { id: 2, ..huge.clone() }])
        .execute(&db)
        .await
        .unwrap();
    let more = |write: tenantry::Result<u64>, column: Option<&str>| {
        let error = write.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert_eq!((error.table(), error.column()), (Some("samples"), column), "{error}");
    };
    let update = || Sample::update(&a).key(1);
    more(update().set(samples::small, samples::small.add(1)).execute(&db).await, Some("small"));
    more(
        update()
            .set(samples::kind, 5)
            .set(samples::number, samples::number.add(1))
            .execute(&db)
            .await,
        Some("number"),
    );
    let mut tx = db.begin(&a).await.unwrap();
    more(update().set(samples::small, samples::small.add(1)).execute(&mut tx).await, Some("small"));
    tx.rollback().await.unwrap();
    let sum = Sample::select(&a).aggregate((samples::small.sum(), samples::number.sum()));
    more(sum.fetch_one(&db).await.map(|_| 0), None);
    let sums = Sample::select(&a).group_by(samples::kind).aggregate(samples::number.sum());
    more(sums.fetch_all(&db).await.map(|_| 0), None);
    assert_eq!(Sample::find(&a, 1).fetch_one(&db).await.unwrap(), huge);
}

#[tokio::test]
async fn texts_compare_by_their_bytes_and_null_comes_first() {
    let (_, issuer) = people();
    let schema = Schema::new().tenant::<Sample>();
    let (db, _place) = open(&issuer, schema, |builder| builder).await;
    let a = issuer.enter(&ann(), organization(0xA)).await.unwrap();
    let texts = ["", "A", "Z", "a", "e\u{301}", "é", "\u{ffff}", "\u{10000}"];
    let rows = texts
        .iter()
        .rev()
        .zip(1..)
        .map(|(text, id)| Sample { text: Some((*text).to_owned()), ..nothing(id, 1) });
    Sample::insert_many(&a, rows).execute(&db).await.unwrap();
    Sample::insert(&a, nothing(99, 1)).execute(&db).await.unwrap();
    let read = |order| Sample::select(&a).order_by(order).columns(samples::text);
    let up: Vec<Option<String>> =
        [None].into_iter().chain(texts.map(|text| Some(text.to_owned()))).collect();
    let down: Vec<_> = up.iter().rev().cloned().collect();
    assert_eq!(read(samples::text.asc()).fetch_all(&db).await.unwrap(), up);
    assert_eq!(read(samples::text.desc()).fetch_all(&db).await.unwrap(), down);
    let mut paged = Vec::new();
    let mut cursor = None;
    loop {
        let page = Sample::select(&a).order_by(samples::text.asc()).page(cursor, 2);
        let page = page.fetch(&db).await.unwrap();
        paged.extend(page.rows.into_iter().map(|row| row.text));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(paged, up);
    let like = |pattern: &'static str| Sample::select(&a).filter(samples::text.like(pattern));
    for (pattern, found) in [("a", 1), ("_", 6), ("__", 1), ("é%", 1), ("%", 8), ("A%", 1)] {
        assert_eq!(like(pattern).count(&db).await.unwrap(), found, "{pattern}");
    }
}

#[tokio::test]
async fn a_read_of_every_organization_is_ordered_by_organization_and_key() {
    let w = world().await;
    let authority = authority();
    let read = || Order::select_across(&authority);
    let mut expected: Vec<_> = [(&w.a, 10..13), (&w.b, 10..17)]
        .into_iter()
        .flat_map(|(scope, ids)| ids.map(|id| (scope.organization().clone(), id)))
        .collect();
    let keys = |rows: Vec<(tenantry::OrganizationId, Order)>| -> Vec<_> {
        rows.into_iter().map(|(organization, order)| (organization, order.id)).collect()
    };
    assert_eq!(keys(read().fetch_all(&w.db).await.unwrap()), expected);
    let first = read().limit(4).fetch_all(&w.db).await.unwrap();
    assert_eq!(keys(first), expected[..4]);

    expected.sort_by(|(a, one), (b, other)| other.cmp(one).then(b.cmp(a)));
    let down = read().order_by(orders::placed_at.desc());
    assert_eq!(keys(down.fetch_all(&w.db).await.unwrap()), expected);
}

/// The refusal comes before the savepoint is undone, and is not undone with it.
#[tokio::test]
async fn what_is_refused_behind_a_dropped_savepoint_fails_the_transaction() {
    let w = world().await;
    for broken in [false, true] {
        let mut tx = w.db.begin(&w.a).await.unwrap();
        Customer::insert(&w.a, customer(50, "Hal")).execute(&mut tx).await.unwrap();
        let mut savepoint = tx.savepoint().await.unwrap();
        if broken {
            let twice = Customer::insert(&w.a, customer(50, "Ida")).execute(&mut *savepoint);
            twice.await.unwrap_err();
        }
        drop(savepoint);
        let page = Customer::select(&w.a).page(None, 0).fetch(&mut tx).await.unwrap_err();
        assert_eq!(page.kind(), ErrorKind::Invalid);
        let late = Customer::insert(&w.a, customer(51, "Jan")).execute(&mut tx).await;
        assert_eq!(late.unwrap_err().kind(), ErrorKind::Misuse);
        assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::Misuse);
        assert_eq!(Customer::select(&w.a).count(&w.db).await.unwrap(), 3);
    }
}
