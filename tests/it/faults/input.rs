//! Input that cannot be held is refused, by kind, table and column, and nothing is written.

use std::time::Duration;

use rust_decimal::Decimal;
use serde_json::json;
use tenantry::audit::MemorySink;
use tenantry::crypto::{KeyRing, SecretBytes};
use tenantry::query::Filter;
use tenantry::scope::{Role, ScopeIssuer, TicketKey};
use tenantry::{Database, Error, ErrorKind};

use super::fixture::{ann, confess, connect, organization, people, url};
use super::sheet::*;

mod time_values {
    use time::{Date, OffsetDateTime, UtcOffset};

    pub(super) fn nanos() -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + time::Duration::nanoseconds(1)
    }

    pub(super) fn offset() -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH.to_offset(UtcOffset::from_hms(2, 0, 0).unwrap())
    }

    /// The last day before the stores' range.
    pub(super) fn ancient() -> Date {
        Date::from_ordinal_date(-4_713, 365).unwrap()
    }
}

fn refused(error: &Error, column: &str) {
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert_eq!((error.table(), error.column()), (Some("sheet"), Some(column)), "{error:?}");
    let told = confess(error);
    for hidden in ["s3cr3t", "0.001", "1e16", "92233720368547758", "-4713", "+02"] {
        assert!(!told.contains(hidden), "{told}");
    }
}

/// A value that the store would change, in every place that takes one.
macro_rules! refused_everywhere {
    ($sheet:ident, $column:ident = $value:expr) => {{
        let (db, a) = (&$sheet.db, &$sheet.a);
        let name = stringify!($column);
        let bad = || Entry { id: 50, $column: Some($value), ..EMPTY };
        refused(&Entry::insert(a, bad()).execute(db).await.unwrap_err(), name);
        refused(&Entry::insert(a, bad()).returning().fetch_one(db).await.unwrap_err(), name);
        refused(
            &Entry::insert(a, bad())
                .on_conflict(sheet::id)
                .do_nothing()
                .execute(db)
                .await
                .unwrap_err(),
            name,
        );
        let batch = Entry::insert_many(a, [Entry { id: 51, ..EMPTY }, bad()])
            .execute(db)
            .await
            .unwrap_err();
        refused(&batch, name);
        assert_eq!(batch.row(), Some(1));
        let update = Entry::update(a).set(sheet::$column, $value).all_rows();
        refused(&update.execute(db).await.unwrap_err(), name);
        let filters: Vec<Filter<Entry>> = vec![
            sheet::$column.eq($value),
            sheet::$column.ne($value),
            sheet::$column.lt($value),
            sheet::$column.in_list([$value]),
            sheet::$column.between($value, $value),
            !sheet::$column.eq($value),
        ];
        for filter in filters {
            refused(
                &Entry::select(a).filter(filter.clone()).fetch_all(db).await.unwrap_err(),
                name,
            );
            refused(&Entry::select(a).filter(filter.clone()).count(db).await.unwrap_err(), name);
            refused(&Entry::delete(a).filter(filter).execute(db).await.unwrap_err(), name);
        }
        let prepared = Entry::prepare(|q, (value,): (_,)| q.filter(sheet::$column.eq(value)));
        refused(&prepared.fetch_all(a, ($value,), db).await.unwrap_err(), name);
        let prepared =
            Entry::prepare_update(|u, (value,): (_,)| u.set(sheet::$column, value).all_rows());
        refused(&prepared.execute(a, ($value,), db).await.unwrap_err(), name);
        let prepared =
            Entry::prepare_delete(|d, (value,): (_,)| d.filter(sheet::$column.eq(value)));
        refused(&prepared.execute(a, ($value,), db).await.unwrap_err(), name);
        let mut tx = db.begin(a).await.unwrap();
        refused(&Entry::insert(a, bad()).execute(&mut tx).await.unwrap_err(), name);
        drop(tx);
    }};
}

#[tokio::test]
async fn a_value_that_a_store_would_change_is_refused_in_every_place_and_named() {
    let s = sheet().await;
    Entry::insert(&s.a, EMPTY).execute(&s.db).await.unwrap();
    refused_everywhere!(s, float = f64::NAN);
    refused_everywhere!(s, text = "s3cr3t\0".to_owned());
    refused_everywhere!(s, at = time_values::nanos());
    refused_everywhere!(s, at = time_values::offset());
    refused_everywhere!(s, at = time_values::ancient().midnight().assume_utc());
    refused_everywhere!(s, day = time_values::ancient());
    refused_everywhere!(s, amount = Decimal::new(1, 3));
    refused_everywhere!(s, amount = Decimal::from(92_233_720_368_547_759_i64));
    refused_everywhere!(s, amount = Decimal::MAX);
    refused_everywhere!(s, data = json!({ "s3cr3t\0": 1 }));
    refused_everywhere!(s, data = json!(["s3cr3t\0"]));
    refused_everywhere!(s, data = json!({ "a": [1e16] }));
    assert_eq!(count(&s.path, "sheet").await, 1);
    assert_eq!(Entry::find(&s.a, 1).fetch_one(&s.db).await.unwrap(), EMPTY);
}

/// "A statement that fails fails the transaction", also where it failed before it reached the
/// store: whoever overlooks the error must not commit the other half of the work.
#[tokio::test]
async fn a_statement_that_is_refused_before_it_runs_fails_its_transaction() {
    let s = sheet().await;
    let label = |name: &str| Label { name: name.into(), value: 1 };
    let mut survived = Vec::new();
    for n in 0..6 {
        let mut tx = s.db.begin(&s.a).await.unwrap();
        Label::insert(&s.a, label(&format!("half-{n}"))).execute(&mut tx).await.unwrap();
        let refused = match n {
            0 => Label::insert(&s.a, label("a\0b")).execute(&mut tx).await.map(drop),
            1 => Label::insert_many(&s.a, [label("a"), label("a\0b")])
                .execute(&mut tx)
                .await
                .map(drop),
            2 => Label::update(&s.a)
                .set(labels::name, "a\0b")
                .all_rows()
                .execute(&mut tx)
                .await
                .map(drop),
            3 => {
                Label::delete(&s.a).filter(labels::name.eq("a\0b")).execute(&mut tx).await.map(drop)
            }
            4 => Label::select(&s.a).filter(labels::name.eq("a\0b")).count(&mut tx).await.map(drop),
            _ => Label::insert_many(&s.a, []).execute(&mut tx).await.map(drop),
        };
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
        if tx.commit().await.is_ok() {
            survived.push(n);
        }
    }
    assert!(survived.is_empty(), "after these refusals a commit said Ok: {survived:?}");
    assert_eq!(count(&s.path, "labels").await, 0);
}

#[tokio::test]
async fn a_text_key_with_nul_is_refused_and_not_shortened() {
    let s = sheet().await;
    Label::insert(&s.a, Label { name: "s3cr3t".into(), value: 1 }).execute(&s.db).await.unwrap();
    let bad = || "s3cr3t\0tail".to_owned();
    for error in [
        Label::find(&s.a, bad()).fetch_optional(&s.db).await.unwrap_err(),
        Label::update(&s.a).set(labels::value, 2).key(bad()).execute(&s.db).await.unwrap_err(),
        Label::delete(&s.a).key(bad()).execute(&s.db).await.unwrap_err(),
        Label::select(&s.a).filter(labels::name.contains("\0")).fetch_all(&s.db).await.unwrap_err(),
        Label::select(&s.a)
            .filter(labels::name.like("s3cr3t\\"))
            .fetch_all(&s.db)
            .await
            .unwrap_err(),
        Label::select(&s.a)
            .filter(labels::name.like(&"s3cr3t".repeat(10_000)))
            .fetch_all(&s.db)
            .await
            .unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!((error.table(), error.column()), (Some("labels"), Some("name")));
        assert!(!confess(&error).contains("s3cr3t"), "{error:?}");
    }
    assert_eq!(Label::select(&s.a).fetch_one(&s.db).await.unwrap().value, 1);
}

#[tokio::test]
async fn values_at_the_ends_of_their_types_come_back_as_they_went_in() {
    let s = sheet().await;
    let ends = [
        Entry {
            id: i64::MIN,
            flag: Some(false),
            small: Some(i16::MIN),
            middle: Some(i32::MIN),
            large: Some(i64::MIN),
            float: Some(f64::NEG_INFINITY),
            text: Some(String::new()),
            blob: Some(Vec::new()),
            uuid: Some(uuid::Uuid::nil()),
            at: Some(time::OffsetDateTime::new_utc(
                time::Date::from_calendar_date(-4_712, time::Month::January, 1).unwrap(),
                time::Time::MIDNIGHT,
            )),
            day: Some(time::Date::from_calendar_date(-4_712, time::Month::January, 1).unwrap()),
            data: Some(json!(null)),
            amount: Some(Decimal::new(i64::MIN, 2)),
            status: Some(Status::Open),
        },
        Entry {
            id: i64::MAX,
            flag: Some(true),
            small: Some(i16::MAX),
            middle: Some(i32::MAX),
            large: Some(i64::MAX),
            float: Some(5e-324),
            text: Some("\u{10ffff}'\"\\%_\u{1}".into()),
            blob: Some(vec![0, 255, 0]),
            uuid: Some(uuid::Uuid::max()),
            at: Some(time::OffsetDateTime::new_utc(
                time::Date::MAX,
                time::Time::from_hms_micro(23, 59, 59, 999_999).unwrap(),
            )),
            day: Some(time::Date::MAX),
            data: Some(json!({ "deep": [[1, -2.5, "é", {}], [], null, true] })),
            amount: Some(Decimal::new(i64::MAX, 2)),
            status: Some(Status::Paid),
        },
        EMPTY,
    ];
    for entry in &ends {
        let stored = Entry::insert(&s.a, entry.clone()).returning().fetch_one(&s.db).await.unwrap();
        assert_eq!(&stored, entry);
        assert_eq!(&Entry::find(&s.a, entry.id).fetch_one(&s.db).await.unwrap(), entry);
    }
    let found = Entry::select(&s.a).order_by(sheet::large.asc()).fetch_all(&s.db).await.unwrap();
    assert_eq!(found, [ends[2].clone(), ends[0].clone(), ends[1].clone()]);
}

#[tokio::test]
async fn arithmetic_out_of_range_is_invalid_and_writes_nothing() {
    let s = sheet().await;
    let full = Entry {
        small: Some(i16::MAX),
        middle: Some(i32::MAX),
        large: Some(i64::MAX),
        amount: Some(Decimal::new(i64::MAX, 2)),
        ..EMPTY
    };
    // `Option` columns have no arithmetic, so that these are sums and a table of plain ones.
    Entry::insert_many(&s.a, [full.clone(), Entry { id: 2, ..full.clone() }])
        .execute(&s.db)
        .await
        .unwrap();
    let sum = Entry::select(&s.a).aggregate(sheet::large.sum()).fetch_one(&s.db).await.unwrap_err();
    assert_eq!(sum.kind(), ErrorKind::Invalid);
    let sum =
        Entry::select(&s.a).aggregate(sheet::amount.sum()).fetch_one(&s.db).await.unwrap_err();
    assert_eq!(sum.kind(), ErrorKind::Invalid);
    let narrow = Entry::select(&s.a)
        .aggregate((sheet::small.sum(), sheet::middle.sum()))
        .fetch_one(&s.db)
        .await
        .unwrap();
    assert_eq!(narrow, (Some(2 * i64::from(i16::MAX)), Some(2 * i64::from(i32::MAX))));
    Label::insert(&s.a, Label { name: "n".into(), value: i64::MAX }).execute(&s.db).await.unwrap();
    for add in [1, i64::MAX] {
        let error = Label::update(&s.a)
            .set(labels::value, labels::value.add(add))
            .all_rows()
            .execute(&s.db)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
        assert_eq!(error.table(), Some("labels"));
    }
    assert_eq!(Label::find(&s.a, "n".into()).fetch_one(&s.db).await.unwrap().value, i64::MAX);
}

#[tokio::test]
async fn an_empty_batch_is_refused() {
    let s = sheet().await;
    let none: [Label; 0] = [];
    let error = Label::insert_many(&s.a, none).execute(&s.db).await.unwrap_err();
    assert_eq!((error.kind(), error.table()), (ErrorKind::Invalid, Some("labels")));
    let none: [Label; 0] = [];
    assert!(Label::insert_many(&s.a, none).returning().fetch_all(&s.db).await.is_err());
    // An update that sets nothing is a mistake of the program.
    let error = Label::update(&s.a).all_rows().execute(&s.db).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Misuse | ErrorKind::Invalid), "{error:?}");
}

#[tokio::test]
async fn limits_beyond_the_store_are_all_or_nothing_and_never_a_fault() {
    let s = sheet().await;
    let label = |n: i64| Label { name: format!("{n:05}"), value: n };
    Label::insert_many(&s.a, (0..20).map(label)).execute(&s.db).await.unwrap();
    let count = async |rows: u64, offset: u64| {
        Label::select(&s.a).limit(rows).offset(offset).fetch_all(&s.db).await.map(|rows| rows.len())
    };
    assert_eq!(count(0, 0).await.unwrap(), 0);
    for huge in [i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX] {
        match count(huge, 0).await {
            Ok(rows) => assert_eq!(rows, 20),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Invalid),
        }
        match count(5, huge).await {
            Ok(rows) => assert_eq!(rows, 0, "offset {huge}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Invalid),
        }
    }
    let none = Label::select(&s.a).page(None, 0).fetch(&s.db).await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::Invalid);
    let all = Label::select(&s.a).page(None, u32::MAX).fetch(&s.db).await.unwrap();
    assert!(all.rows.len() == 20 && all.next.is_none());
    assert!(Label::select(&s.a).limit(3).page(None, 5).fetch(&s.db).await.is_err());
}

#[tokio::test]
async fn lists_up_to_the_limit_work_and_longer_ones_are_refused() {
    let s = sheet().await;
    let label = |n: i64| Label { name: format!("{n:05}"), value: n };
    // 20,000 rows of three values each: twice what one statement takes, in one transaction.
    assert_eq!(
        Label::insert_many(&s.a, (0..20_000).map(label)).execute(&s.db).await.unwrap(),
        20_000
    );
    let found =
        async |n: i64| Label::select(&s.a).filter(labels::value.in_list(0..n)).count(&s.db).await;
    for n in [0, 1, 2, 100, 15_000, 16_384] {
        assert_eq!(found(n).await.unwrap(), n.min(20_000), "a list of {n}");
    }
    for n in [32_767, 40_000, 200_000] {
        assert_eq!(found(n).await.unwrap_err().kind(), ErrorKind::Invalid, "a list of {n}");
        let error = Label::delete(&s.a)
            .filter(labels::value.in_list(0..n))
            .execute(&s.db)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    // The last row of a long batch is at fault: none goes in, and the row is named.
    let batch = (20_000..32_000).map(label).chain([label(5)]);
    let error = Label::insert_many(&s.a, batch).execute(&s.db).await.unwrap_err();
    assert_eq!((error.kind(), error.row()), (ErrorKind::Conflict, Some(12_000)), "{error:?}");
    assert_eq!(count(&s.path, "labels").await, 20_000);
}

/// The limit is SQLite's 32,766 values, on both stores, two of which are the organization's in a
/// count, and not half of it for lists that are padded to few sizes.
#[tokio::test]
async fn a_list_of_as_many_values_as_a_statement_takes_works() {
    let s = sheet().await;
    Label::insert(&s.a, Label { name: "n".into(), value: 7 }).execute(&s.db).await.unwrap();
    let mut refused = Vec::new();
    for n in [16_385, 20_000, 32_000, 32_764] {
        match Label::select(&s.a).filter(labels::value.in_list(0..n)).count(&s.db).await {
            Ok(found) => assert_eq!(found, 1),
            Err(_) => refused.push(n),
        }
    }
    assert!(refused.is_empty(), "lists of {refused:?} values were refused");
}

#[tokio::test]
async fn filters_grow_wide_and_are_refused_when_they_grow_deep() {
    let s = sheet().await;
    Label::insert(&s.a, Label { name: "n".into(), value: 7 }).execute(&s.db).await.unwrap();
    let nested = |levels: usize| {
        let mut filter = labels::value.eq(7);
        for _ in 0..levels {
            filter = !filter;
        }
        filter
    };
    let alternating = |levels: i64| {
        (0..levels).fold(labels::value.eq(7), |filter, n| {
            if n % 2 == 0 {
                filter.or(labels::value.eq(n))
            } else {
                filter.and(labels::value.ge(0))
            }
        })
    };
    for levels in [10, 98] {
        assert_eq!(Label::select(&s.a).filter(nested(levels)).count(&s.db).await.unwrap(), 1);
        assert_eq!(
            Label::select(&s.a).filter(alternating(levels as i64)).count(&s.db).await.unwrap(),
            1
        );
    }
    for levels in [150, 1_000, 200_000] {
        for filter in [nested(levels), alternating(levels as i64)] {
            let error = Label::select(&s.a).filter(filter.clone()).count(&s.db).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{levels}: {error:?}");
            let error = Label::delete(&s.a).filter(filter).execute(&s.db).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
        }
    }
    let subqueries = |levels: usize| {
        (0..levels).fold(labels::value.eq(7), |filter, _| {
            labels::name.in_subquery(Label::select(&s.a).filter(filter).columns(labels::name))
        })
    };
    assert_eq!(Label::select(&s.a).filter(subqueries(10)).count(&s.db).await.unwrap(), 1);
    for levels in [60, 99, 150, 2_000] {
        match Label::select(&s.a).filter(subqueries(levels)).count(&s.db).await {
            Ok(n) => assert_eq!(n, 1),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Invalid, "{levels}: {error:?}"),
        }
    }
    let wide =
        |n: i64| (0..n).fold(labels::value.eq(7), |filter, n| filter.or(labels::value.eq(n)));
    assert_eq!(Label::select(&s.a).filter(wide(5_000)).count(&s.db).await.unwrap(), 1);
    let many =
        (0..2_000).fold(Label::select(&s.a), |query, n| query.filter(labels::value.ne(10 + n)));
    assert_eq!(many.count(&s.db).await.unwrap(), 1);
    assert_eq!(count(&s.path, "labels").await, 1);
}

#[tokio::test]
async fn constructors_refuse_what_they_cannot_hold() {
    let invalid = |error: Error| assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    let key = || SecretBytes::random(32).unwrap();
    invalid(KeyRing::new([]).unwrap_err());
    invalid(KeyRing::new([(1, SecretBytes::new(vec![1; 31]))]).unwrap_err());
    invalid(KeyRing::new([(1, SecretBytes::new(vec![7; 32]))]).unwrap_err());
    invalid(KeyRing::new([(1, key()), (1, key())]).unwrap_err());
    for purpose in [String::new(), "p".repeat(129)] {
        invalid(TicketKey::new(purpose, KeyRing::random().unwrap()).unwrap_err());
    }
    for role in ["", "Owner", "root", "member "] {
        invalid(role.parse::<Role>().unwrap_err());
    }
    // Pages of what outlives the process need keys that do, too.
    let s = sheet().await;
    let (directory, _) = people();
    let issuer = ScopeIssuer::builder(directory)
        .audit(MemorySink::new())
        .max_scope_age(Duration::from_secs(60))
        .build();
    let keyless = Database::builder().issuer(&issuer);
    let db = connect(keyless, &url(&s.path), tables()).await.unwrap();
    let a = issuer.enter(&ann(), organization(0xA)).await.unwrap();
    let error = Label::select(&a).page(None, 5).fetch(&db).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unconfigured);
}

/// A prepared shape holds no value, and a lock needs a transaction: mistakes of the program.
#[tokio::test]
async fn mistakes_of_the_program_are_misuse_and_run_nothing() {
    let s = sheet().await;
    Label::insert(&s.a, Label { name: "n".into(), value: 7 }).execute(&s.db).await.unwrap();
    let holds_a_value = Label::prepare(|q, ()| q.filter(labels::value.eq(7)));
    assert_eq!(
        holds_a_value.fetch_all(&s.a, (), &s.db).await.unwrap_err().kind(),
        ErrorKind::Misuse
    );
    let locks = Label::select(&s.a).for_update().fetch_all(&s.db).await.unwrap_err();
    assert_eq!(locks.kind(), ErrorKind::Misuse);
    let aggregate = tenantry::query::count().gt(1);
    let in_filter =
        Label::select(&s.a).filter(labels::value.count().gt(1)).fetch_all(&s.db).await.unwrap_err();
    assert_eq!(in_filter.kind(), ErrorKind::Misuse);
    let _ = aggregate;
    let not_unique = Label::insert(&s.a, Label { name: "m".into(), value: 7 })
        .on_conflict(labels::value)
        .do_nothing();
    assert_eq!(not_unique.execute(&s.db).await.unwrap_err().kind(), ErrorKind::Misuse);
    assert_eq!(count(&s.path, "labels").await, 1);
}
