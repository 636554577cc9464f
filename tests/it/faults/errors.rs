//! What errors, Debug and logs show: names, never values.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use tenantry::ErrorKind;
use tenantry::query::count;
use tracing::field::{Field, Visit};

use super::fixture::*;

const SECRET: &str = "s3cr3t-value";

#[tokio::test]
async fn broken_keys_and_references_name_table_and_column_and_no_value() {
    let w = world().await;
    let (a, db) = (&w.a, &w.db);
    Customer::insert(a, Customer { token: Some(SECRET.into()), ..customer(8, SECRET) })
        .execute(db)
        .await
        .unwrap();
    Order::insert(a, order(808, 8, SECRET, 1)).execute(db).await.unwrap();
    let mut told = Vec::new();
    let mut check = |error: tenantry::Error, kind, table: &str, column: Option<&str>, row| {
        assert_eq!(error.kind(), kind, "{error:?}");
        assert_eq!(error.table(), Some(table), "{error:?}");
        assert_eq!(error.column(), column, "{error:?}");
        assert_eq!(error.row(), row, "{error:?}");
        told.push(confess(&error));
    };
    use ErrorKind::{Conflict, NotFound};
    let same_key = || Customer { id: 8, name: "other".into(), token: Some(SECRET.into()) };
    check(
        Customer::insert(a, same_key()).execute(db).await.unwrap_err(),
        Conflict,
        "customers",
        Some("id"),
        None,
    );
    check(
        Customer::insert(a, customer(9, SECRET)).execute(db).await.unwrap_err(),
        Conflict,
        "customers",
        Some("name"),
        None,
    );
    check(
        Customer::insert(a, customer(9, SECRET)).returning().fetch_one(db).await.unwrap_err(),
        Conflict,
        "customers",
        Some("name"),
        None,
    );
    let batch = [customer(10, "fine"), customer(11, SECRET)];
    check(
        Customer::insert_many(a, batch).execute(db).await.unwrap_err(),
        Conflict,
        "customers",
        Some("name"),
        Some(1),
    );
    let elsewhere =
        Customer::insert(a, customer(12, SECRET)).on_conflict(customers::id).do_nothing();
    check(elsewhere.execute(db).await.unwrap_err(), Conflict, "customers", Some("name"), None);
    check(
        Customer::update(a).set(customers::name, SECRET).key(1).execute(db).await.unwrap_err(),
        Conflict,
        "customers",
        Some("name"),
        None,
    );
    check(
        Order::update(a).set(orders::id, 808).key(10).execute(db).await.unwrap_err(),
        Conflict,
        "orders",
        Some("id"),
        None,
    );
    check(
        Order::insert(a, order(900, 424_242, "s3cr3t-value-2", 1)).execute(db).await.unwrap_err(),
        NotFound,
        "orders",
        Some("customer_id"),
        None,
    );
    let batch = [order(901, 1, "fine@x", 1), order(902, 424_242, "s3cr3t-value-3", 1)];
    check(
        Order::insert_many(a, batch).execute(db).await.unwrap_err(),
        NotFound,
        "orders",
        Some("customer_id"),
        Some(1),
    );
    check(
        Order::update(a).set(orders::customer_id, 424_242).key(10).execute(db).await.unwrap_err(),
        NotFound,
        "orders",
        Some("customer_id"),
        None,
    );
    let composite = Line { genre_id: Some(424_242), ..line(10, 50, 1) };
    check(
        Line::insert(a, composite).execute(db).await.unwrap_err(),
        NotFound,
        "order_lines",
        Some("genre_id"),
        None,
    );
    check(
        Customer::delete(a).key(8).execute(db).await.unwrap_err(),
        Conflict,
        "customers",
        None,
        None,
    );
    check(
        Customer::update(a).set(customers::id, 99).key(8).execute(db).await.unwrap_err(),
        Conflict,
        "customers",
        None,
        None,
    );
    check(
        Genre::delete_global(&authority()).all_rows().execute(db).await.unwrap_err(),
        Conflict,
        "genres",
        None,
        None,
    );
    check(
        Genre::insert_global(&authority(), Genre { id: 5, name: "rock".into() })
            .execute(db)
            .await
            .unwrap_err(),
        Conflict,
        "genres",
        Some("name"),
        None,
    );
    check(Order::find(a, 424_242).fetch_one(db).await.unwrap_err(), NotFound, "orders", None, None);
    let ids = [organization(0xA).to_string(), organization(0xB).to_string()];
    for told in told {
        for hidden in [
            SECRET,
            "424242",
            "SELECT",
            "INSERT",
            "UPDATE",
            "organization_id",
            "constraint failed",
            "808",
            "rock",
            &ids[0],
            &ids[1],
        ] {
            assert!(!told.contains(hidden), "{hidden} in {told}");
        }
    }
    // Nothing of all that went in.
    assert_eq!(Customer::select(a).count(db).await.unwrap(), 4);
    assert_eq!(Order::select(a).count(db).await.unwrap(), 4);
}

fn shape(statement: &impl Debug) -> String {
    format!("{statement:?} {statement:#?}")
}

#[tokio::test]
async fn statements_show_their_shape_and_none_of_their_values() {
    let w = world().await;
    let a = &w.a;
    let secret = || Customer { id: 987_654_321, name: SECRET.into(), token: Some(SECRET.into()) };
    let filter = || {
        customers::name
            .eq(SECRET)
            .or(customers::id.in_list([987_654_321]))
            .and(!customers::token.contains(SECRET))
    };
    let cursor = Customer::select(a).page(None, 1).fetch(&w.db).await.unwrap().next.unwrap();
    let sub = || Customer::select(a).filter(filter()).columns(customers::id);
    let prepared = Customer::prepare(|q, (name,): (_,)| q.filter(customers::name.eq(name)));
    let prepared_update = Customer::prepare_update(|u, (name, id): (_, _)| {
        u.set(customers::name, name).filter(customers::id.eq(id))
    });
    let prepared_columns =
        Customer::prepare_columns(|q, ()| q.filter(filter()).columns(customers::id));
    let prepared_delete = Customer::prepare_delete(|d, ()| d.filter(filter()));
    let key = tenantry::scope::TicketKey::new("purpose", keys()).unwrap();
    let ticket = a.ticket(&key, std::time::Duration::from_secs(60), SECRET.as_bytes()).unwrap();
    let tx = w.db.begin(a).await.unwrap();
    let shown = [
        shape(&filter()),
        shape(&customers::id.between(987_654_321, 987_654_321)),
        shape(&Customer::select(a).filter(filter()).order_by(customers::name.asc()).limit(5)),
        shape(
            &Customer::select(a)
                .filter(filter())
                .columns((customers::id, customers::name))
                .distinct(),
        ),
        shape(&Customer::select(a).filter(filter()).aggregate(count())),
        shape(&Customer::select(a).filter(filter()).group_by(customers::name)),
        shape(
            &Customer::select(a)
                .group_by(customers::name)
                .aggregate(count())
                .having(customers::id.sum().gt(987_654_321)),
        ),
        shape(&Customer::select(a).filter(filter()).page(Some(cursor), 5)),
        shape(
            &Order::select(a)
                .filter(orders::customer_id.in_subquery(sub()))
                .join(orders::customer_id),
        ),
        shape(&Customer::find(a, 987_654_321)),
        shape(&Customer::insert(a, secret())),
        shape(&Customer::insert(a, secret()).returning()),
        shape(&Customer::insert_many(a, [secret(), secret()])),
        shape(&Customer::insert(a, secret()).on_conflict(customers::id)),
        shape(&Customer::insert(a, secret()).on_conflict(customers::id).update(customers::name)),
        shape(&Customer::update(a).set(customers::name, SECRET).filter(filter())),
        shape(&Customer::update(a).set(customers::id, 987_654_321).key(987_654_321).returning()),
        shape(&Customer::delete(a).key(987_654_321)),
        shape(&Customer::delete(a).filter(filter()).returning()),
        shape(&Customer::select_across(&authority()).filter(filter())),
        shape(&Genre::insert_global(&authority(), Genre { id: 987_654_321, name: SECRET.into() })),
        shape(&Genre::update_global(&authority()).set(genres::name, SECRET).key(987_654_321)),
        shape(&Genre::delete_global(&authority()).key(987_654_321)),
        shape(&orders::total.add(987_654_321)),
        shape(&prepared),
        shape(&prepared_update),
        shape(&prepared_columns),
        shape(&prepared_delete),
        shape(&(&key, &ticket, keys())),
        shape(&(&w.db, &tx, a, &w.issuer)),
        shape(&builder(&w.issuer)),
    ];
    for shown in shown {
        for hidden in [SECRET, "987654321", "987_654_321", &ticket.as_str()[..40]] {
            assert!(!shown.contains(hidden), "{shown}");
        }
    }
}

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<String>>);

struct Text<'a>(&'a mut String);

impl Visit for Text<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }
}

impl tracing::Subscriber for Captured {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        let mut text = self.0.lock().unwrap();
        let _ = write!(text, "\nspan {}", span.metadata().name());
        span.record(&mut Text(&mut text));
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        values.record(&mut Text(&mut self.0.lock().unwrap()));
    }
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut text = self.0.lock().unwrap();
        let _ = write!(text, "\nevent {}", event.metadata().target());
        event.record(&mut Text(&mut text));
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

const LOGGED: &str = "TENANTRY_TEST_LOGGED";

/// A process of its own, because the collector of a process is set once and the driver logs from
/// its own threads.
#[tokio::test]
async fn a_process_that_is_listened_to() {
    if std::env::var(LOGGED).is_err() {
        return;
    }
    let captured = Captured::default();
    tracing::subscriber::set_global_default(captured.clone()).unwrap();
    let w = world().await;
    let (a, db) = (&w.a, &w.db);
    let secret = || Customer { id: 9, name: SECRET.into(), token: Some(SECRET.into()) };
    Customer::insert(a, secret()).execute(db).await.unwrap();
    assert!(Customer::insert(a, secret()).execute(db).await.is_err());
    assert!(Order::insert(a, order(5, 777, SECRET, 1)).execute(db).await.is_err());
    Customer::select(a).filter(customers::name.eq(SECRET)).fetch_all(db).await.unwrap();
    Customer::update(a).set(customers::token, SECRET).all_rows().execute(db).await.unwrap();
    Customer::select_across(&authority())
        .filter(customers::name.eq(SECRET))
        .fetch_all(db)
        .await
        .unwrap();
    let mut tx = db.begin(a).await.unwrap();
    Customer::delete(a).filter(customers::name.eq(SECRET)).execute(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    // Slow statements are logged by default: two seconds of them.
    let many = (0..60_000 / EASE as i32).map(|n| line(10, 100 + n, 1));
    Line::insert_many(a, many).execute(db).await.unwrap();
    w.issuer.flush_audit().await.unwrap();
    let text = captured.0.lock().unwrap().clone();
    assert!(text.contains("tenantry::audit"), "nothing was captured: {text}");
    let lower = text.to_lowercase();
    for hidden in [
        &SECRET.to_lowercase(),
        "select \"",
        "select t0",
        "insert into",
        "begin immediate",
        "t0.",
        "pragma",
        "set_config",
    ] {
        assert!(!lower.contains(hidden), "{hidden} in {text}");
    }
    println!("heard {} bytes", text.len());
}

#[test]
fn logs_hold_neither_sql_nor_values() {
    let output =
        again(module_path!(), "a_process_that_is_listened_to").env(LOGGED, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && said.contains("heard "),
        "{said} {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
