//! The function through which a read takes one round trip, and what happens without it.

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};
use tenantry::database::DatabaseBuilder;
use tenantry::database::doctor::{Report, inspect};
use tenantry::table::Dialect;
use uuid::Uuid;

use super::cluster::{APPLICATION, CROSS_TENANT, OWNER};
use super::trips::Counted;
use super::world::{Customer, Order, World, order, orders, schema, world};

/// What a call returns: the organizations whose rows it sees, or the server's code.
async fn seen(
    connection: &mut PgConnection,
    organization: Option<&str>,
    statement: &str,
) -> Result<Vec<String>, String> {
    let call = "SELECT * FROM tenantry_read($1, $2, uuids => ARRAY[$3::text::uuid]) AS t (o text)";
    let rows = sqlx::query(call)
        .bind(organization)
        .bind(statement)
        .bind(Uuid::from_u128(1).to_string())
        .fetch_all(connection)
        .await;
    rows.map(|rows| rows.iter().map(|row| row.get(0)).collect()).map_err(|error| code(&error))
}

fn code(error: &sqlx::Error) -> String {
    error.as_database_error().unwrap_or_else(|| panic!("{error}")).code().unwrap().into_owned()
}

const ALL: &str = "SELECT organization_id::text FROM orders";
const ONE: &str = "SELECT organization_id::text FROM orders WHERE id = $9[1]";

async fn setting(connection: &mut PgConnection) -> String {
    let left = "SELECT coalesce(current_setting('tenantry.organization', true), '')";
    connection.fetch_one(left).await.unwrap().get(0)
}

#[tokio::test]
async fn l13_l16_l17_the_wall_holds_in_the_function_without_any_predicate() {
    let world = world().await.filled(2).await;
    let (a, b) = (world.a.organization().to_string(), world.b.organization().to_string());
    let mut connection = world.database.connect(APPLICATION).await;
    for _ in 0..8 {
        assert_eq!(seen(&mut connection, Some(&a), ALL).await.unwrap(), [a.as_str(), &a]);
        assert_eq!(seen(&mut connection, Some(&b), ONE).await.unwrap(), [b.as_str()]);
        for nobody in [None, Some("")] {
            assert_eq!(seen(&mut connection, nobody, ALL).await.unwrap(), [""; 0]);
        }
        for garbage in ["nonsense", "%", "1 OR true", "'", " "] {
            let refused = seen(&mut connection, Some(garbage), ALL).await;
            assert_eq!(refused.unwrap_err(), "22P02", "{garbage}");
        }
        let theirs = format!("{ALL} WHERE organization_id = '{b}'");
        assert_eq!(seen(&mut connection, Some(&a), &theirs).await.unwrap(), [""; 0]);
        assert_eq!(setting(&mut connection).await, "");
        let rows = connection.fetch_all(ALL).await.unwrap();
        assert!(rows.is_empty(), "nothing is left in the session");
    }
}

#[tokio::test]
async fn l12_l33_the_function_takes_back_what_it_sets_and_refuses_a_transaction_with_an_organization()
 {
    let world = world().await.filled(1).await;
    let (a, b) = (world.a.organization().to_string(), world.b.organization().to_string());
    let mut connection = world.database.connect(APPLICATION).await;

    let mut outer = connection.begin().await.unwrap();
    assert_eq!(seen(&mut outer, Some(&a), ALL).await.unwrap(), [a.as_str()]);
    assert_eq!(setting(&mut outer).await, "");
    assert!(outer.fetch_all(ALL).await.unwrap().is_empty(), "the setting ends with the call");
    outer.rollback().await.unwrap();

    let mut outer = connection.begin().await.unwrap();
    let set = AssertSqlSafe(format!("SET LOCAL tenantry.organization = '{b}'"));
    outer.execute(set).await.unwrap();
    assert_eq!(seen(&mut outer, Some(&a), ALL).await.unwrap_err(), "25000");
    outer.rollback().await.unwrap();

    // A statement that fails leaves nothing either.
    assert_eq!(seen(&mut connection, Some(&a), "SELECT 1 / 0").await.unwrap_err(), "22012");
    assert_eq!(setting(&mut connection).await, "");
}

#[tokio::test]
async fn l18_l20_the_function_reads_with_the_rights_of_its_caller_alone() {
    let world = world().await.filled(1).await;
    let a = world.a.organization().to_string();
    let mut connection = world.database.connect(APPLICATION).await;
    for (statement, refused) in [
        ("UPDATE orders SET note = 'x' RETURNING note", "25006"),
        ("DELETE FROM orders RETURNING note", "25006"),
        ("SELECT note FROM orders FOR UPDATE", "25006"),
        ("SELECT relname::text FROM pg_authid, pg_class", "42501"),
        (r#"SELECT organization_id::text FROM customers_p0"#, "42501"),
    ] {
        let outcome = seen(&mut connection, Some(&a), statement).await;
        assert_eq!(outcome.unwrap_err(), refused, "{statement}");
    }
    let mut other = world.database.connect(CROSS_TENANT).await;
    assert_eq!(seen(&mut other, Some(&a), ALL).await.unwrap_err(), "42501", "granted to one role");
    let altered = connection.execute("ALTER FUNCTION tenantry_read SECURITY DEFINER").await;
    assert_eq!(code(&altered.unwrap_err()), "42501");
}

async fn examined(world: &World<'_>) -> Report {
    inspect(&world.database.url(APPLICATION), &schema(), &[]).await.unwrap()
}

/// What somebody did to the function, by the finding that names it.
const DAMAGES: [(&str, &str); 11] = [
    ("DROP FUNCTION tenantry_read", "postgres-read-absent"),
    ("ALTER FUNCTION tenantry_read SECURITY DEFINER", "postgres-read-altered"),
    ("ALTER FUNCTION tenantry_read STABLE", "postgres-read-altered"),
    ("ALTER FUNCTION tenantry_read STRICT", "postgres-read-altered"),
    ("ALTER FUNCTION tenantry_read RESET search_path", "postgres-read-altered"),
    ("ALTER FUNCTION tenantry_read SET search_path = pg_temp, public", "postgres-read-altered"),
    ("ALTER FUNCTION tenantry_read OWNER TO with_password", "postgres-read-altered"),
    ("GRANT EXECUTE ON FUNCTION tenantry_read TO PUBLIC", "postgres-read-altered"),
    ("GRANT EXECUTE ON FUNCTION tenantry_read TO tenantry_cross_tenant", "postgres-read-altered"),
    ("REVOKE EXECUTE ON FUNCTION tenantry_read FROM tenantry_app", "postgres-read-altered"),
    (
        "CREATE FUNCTION tenantry_read(organization text, statement text) RETURNS SETOF record \
         LANGUAGE sql AS 'SELECT 1'",
        "postgres-read-altered",
    ),
];

/// The function as somebody else might write it: whatever is asked for, it reads as B.
fn reading_as(organization: &str) -> String {
    let ddl = schema().ddl(Dialect::Postgres).unwrap();
    let create = ddl.iter().find(|sql| sql.contains("CREATE FUNCTION")).unwrap();
    create.replace("coalesce(organization, '''')", &format!("''{organization}''"))
}

#[tokio::test]
async fn l25_a_function_that_somebody_altered_is_found_and_not_called() {
    let world = world().await.filled(2).await;
    assert!(!examined(&world).await.findings().iter().any(|f| f.code().contains("-read-")));
    let foreign = reading_as(&world.b.organization().to_string());
    let damages = DAMAGES.iter().map(|(damage, code)| ((*damage).to_owned(), *code));
    for (damage, finding) in damages.chain([(foreign, "postgres-read-altered")]) {
        world.database.run("postgres", &[&damage]).await;
        let report = examined(&world).await;
        let found = report.findings().iter().find(|found| found.code() == finding);
        let found = found.unwrap_or_else(|| panic!("{damage}\n{report}"));
        assert_eq!(found.object(), "tenantry_read");

        // What else it is (a definer's function, say) has a finding of its own.
        let fatal: Vec<_> = report.fatal().map(|f| (f.code(), f.object().to_owned())).collect();
        let accepted = |builder: DatabaseBuilder| {
            fatal.into_iter().fold(builder, |builder, (code, object)| builder.accept(code, object))
        };
        let counted = Counted::open(&world.database, &world.issuer, accepted).await;
        let get = counted.trips(async |_| {
            let found = Order::find(&world.a, Uuid::from_u128(1)).fetch_one(&counted.db).await?;
            assert_eq!(found, order(1, 1, 1));
            Ok(())
        });
        assert_eq!(get.await, 2, "the transaction: {damage}");

        world.database.run("postgres", found.remedy()).await;
        let mended = examined(&world).await;
        assert!(!mended.findings().iter().any(|f| f.code().contains("-read-")), "{mended}");
        let counted = Counted::open(&world.database, &world.issuer, |builder| builder).await;
        let get =
            counted.trips(async |_| Order::select(&world.a).fetch_all(&counted.db).await.map(drop));
        assert_eq!(get.await, 1, "the function again: {damage}");
    }
}

#[tokio::test]
async fn l01_a_function_altered_behind_our_back_hands_over_no_foreign_row() {
    let world = world().await.filled(2).await;
    let mine = Order::select(&world.a).fetch_all(&world.db).await.unwrap();
    assert_eq!(mine.len(), 2);
    // The predicate and the wall are of two organizations now: no row is of both.
    let foreign = reading_as(&world.b.organization().to_string());
    world.database.run(OWNER, &[foreign]).await;
    assert_eq!(Order::select(&world.a).fetch_all(&world.db).await.unwrap(), []);
    // It answers with B's rows, whatever it is asked: the witness.
    let rows = "RETURN QUERY SELECT t.organization_id, t.id, t.name FROM customers AS t";
    let ddl = schema().ddl(Dialect::Postgres).unwrap();
    let create = ddl.iter().find(|sql| sql.contains("CREATE FUNCTION")).unwrap();
    let forged = create
        .replace("coalesce(organization, '''')", &format!("''{}''", world.b.organization()))
        .replace("RETURN QUERY EXECUTE statement", rows)
        .replace(
            "USING booleans, byteas, dates, floats, integers, numerics, texts, times, uuids",
            "",
        );
    world.database.run(OWNER, &[forged]).await;
    let error = Customer::select(&world.a).fetch_all(&world.db).await.unwrap_err();
    assert_eq!(error.kind(), tenantry::ErrorKind::Incident);
}

#[tokio::test]
async fn a_function_that_goes_away_costs_a_trip_and_no_error() {
    let world = world().await.filled(2).await;
    let read = async || Order::select(&world.a).fetch_all(&world.db).await.unwrap().len();
    assert_eq!(read().await, 2);
    for damage in [
        "REVOKE EXECUTE ON FUNCTION tenantry_read FROM tenantry_app",
        "DROP FUNCTION tenantry_read",
    ] {
        world.database.run(OWNER, &[damage]).await;
        for _ in 0..3 {
            assert_eq!(read().await, 2, "{damage}");
            assert_eq!(
                Order::find(&world.a, Uuid::from_u128(1)).fetch_one(&world.db).await.unwrap().email,
                "1@example.com"
            );
        }
    }
}

#[tokio::test]
async fn values_stay_values_on_their_way_through_the_function() {
    let world = world().await;
    let texts = [
        "'",
        "''",
        "\\",
        "\\'",
        "$1",
        "$9[1]",
        "'; DROP TABLE orders; --",
        "\"",
        "E'x'",
        "%",
        "_",
        "$$",
    ];
    for scope in [&world.a, &world.b] {
        Customer::insert(scope, super::world::customer(1)).execute(&world.db).await.unwrap();
        for (at, text) in texts.iter().enumerate() {
            let row = Order { email: (*text).to_owned(), ..order(at as u128, 1, at as i64) };
            Order::insert(scope, row).execute(&world.db).await.unwrap();
        }
    }
    let by_email = Order::prepare(|q, (email, note): (_, _)| {
        q.filter(orders::email.eq(email).and(orders::note.is_null().or(orders::note.eq(note))))
    });
    for (at, text) in texts.iter().enumerate() {
        for _ in 0..2 {
            let found = Order::select(&world.a).filter(orders::email.eq(*text));
            let found = found.fetch_all(&world.db).await.unwrap();
            assert_eq!(found.iter().map(|row| row.total_cents).collect::<Vec<_>>(), [at as i64]);
            let found = by_email.fetch_all(&world.a, (*text, *text), &world.db).await.unwrap();
            assert_eq!(found.len(), 1, "{text}");
            let listed = Order::select(&world.a).filter(orders::email.in_list([*text, "none"]));
            assert_eq!(listed.count(&world.db).await.unwrap(), 1, "{text}");
        }
    }
}

/// The server copies an array of values for each value that it takes out of it.
#[tokio::test]
async fn values_that_are_many_or_long_run_in_a_transaction() {
    let world = world().await.filled(1).await;
    let counted = Counted::open(&world.database, &world.issuer, |builder| builder).await;
    let trips = async |values: usize, length: usize| {
        let list: Vec<_> = (0..values).map(|n| format!("{n:0length$}")).collect();
        let listed = || Order::select(&world.a).filter(orders::email.in_list(list.clone()));
        counted.trips(async |_| listed().count(&counted.db).await.map(drop)).await
    };
    assert_eq!((trips(1, 20_000).await, trips(256, 30).await), (1, 1));
    assert_eq!((trips(256, 150).await, trips(1_000, 5).await), (2, 2));
}

#[tokio::test]
async fn l13_statements_that_do_not_stay_prepared_run_in_a_transaction() {
    let world = world().await.filled(1).await;
    let unprepared = |builder: DatabaseBuilder| builder.prepared_statements(false);
    let counted = Counted::open(&world.database, &world.issuer, unprepared).await;
    let get = counted.trips(async |_| {
        Order::find(&world.a, Uuid::from_u128(1)).fetch_one(&counted.db).await.map(drop)
    });
    assert_eq!(get.await, 3, "BEGIN, the statement, its values");
}
