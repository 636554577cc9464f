//! The wall alone: raw SQL without any predicate of ours, as the application role.

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};
use tenantry::id::OrganizationKind;
use tenantry::table::Dialect;

use super::cluster::{APPLICATION, CROSS_TENANT, Cluster, OWNER, SUPERUSER, TestDatabase};
use super::tables::{self, Customer, Event, Order};

/// An organization of each kind, and another.
const PAIRS: [(OrganizationKind, &str, &str); 3] = [
    (OrganizationKind::Integer, "1", "2"),
    (OrganizationKind::Text, "org_a", "org_b"),
    (
        OrganizationKind::Uuid,
        "11111111-1111-4111-8111-111111111111",
        "22222222-2222-4222-8222-222222222222",
    ),
];

/// A database in which both organizations hold rows with equal keys and values.
struct Shop {
    database: TestDatabase<'static>,
    a: &'static str,
    b: &'static str,
}

const DENIED: &str = "42501";
const FOREIGN_KEY: &str = "23503";
const CHECK: &str = "23514";

impl Shop {
    async fn open() -> Self {
        Self::of(PAIRS[2]).await
    }

    async fn of((kind, a, b): (OrganizationKind, &'static str, &'static str)) -> Self {
        let database = Cluster::shared().database().await;
        let ddl = tables::schema(kind).ddl(Dialect::Postgres).unwrap();
        database.run(OWNER, &ddl).await;
        let shop = Self { database, a, b };
        let mut rows = vec!["INSERT INTO genres VALUES (1, 'Rock')".to_owned()];
        for (organization, mark) in [(a, "of A"), (b, "of B")] {
            rows.push(format!(
                "INSERT INTO customers VALUES ('{organization}', 1, 'Ann'), ('{organization}', 2, '{mark}')"
            ));
            rows.push(format!(
                "INSERT INTO orders VALUES ('{organization}', 1, 1, 'ann@x', 9.90, '{mark}', now()), ('{organization}', 2, 2, 'bob@x', 1, NULL, now())"
            ));
            rows.push(format!(
                r#"INSERT INTO "Audit events" VALUES ('{organization}', 1, '{mark}')"#
            ));
        }
        // B alone has these.
        rows.push(format!("INSERT INTO customers VALUES ('{b}', 3, 'Cyd')"));
        rows.push(format!("INSERT INTO orders VALUES ('{b}', 3, 3, 'cyd@x', 5, NULL, now())"));
        shop.database.run(SUPERUSER, &rows).await;
        shop
    }

    /// A connection of the application role, in a transaction with the setting as given.
    async fn enter(&self, setting: Option<&str>) -> PgConnection {
        let mut connection = self.database.connect(APPLICATION).await;
        connection.execute("BEGIN").await.unwrap();
        if let Some(setting) = setting {
            set(&mut connection, setting).await;
        }
        connection
    }

    /// Runs one statement with the setting and commits it: the rows that it touched, or its code.
    async fn run(&self, setting: Option<&str>, sql: &str) -> Result<u64, String> {
        let mut connection = self.enter(setting).await;
        let done = run(&mut connection, sql).await?;
        connection.execute("COMMIT").await.unwrap();
        Ok(done)
    }

    async fn count(&self, setting: Option<&str>, table: &str) -> Result<i64, String> {
        let mut connection = self.enter(setting).await;
        count(&mut connection, table).await
    }

    /// Everything that another organization than `except` holds, as text.
    async fn rows_of_others(&self, except: &str) -> Vec<String> {
        let mut connection = self.database.superuser().await;
        let mut rows = Vec::new();
        for table in ["customers", "orders"] {
            let sql = format!(
                "SELECT t::text FROM {table} AS t WHERE organization_id <> '{except}' ORDER BY 1"
            );
            rows.extend(texts(&mut connection, &sql).await);
        }
        let events = format!(
            r#"SELECT t::text FROM "Audit events" AS t WHERE "ShopId" <> '{except}' ORDER BY 1"#
        );
        rows.extend(texts(&mut connection, &events).await);
        rows.extend(texts(&mut connection, "SELECT t::text FROM genres AS t ORDER BY 1").await);
        rows
    }

    /// Whether an unscoped read or write of A reaches a row of B, as the role of the connection.
    async fn leaks(&self, role: &str) -> bool {
        let before = self.rows_of_others(self.a).await;
        let mut connection = self.database.connect(role).await;
        connection.execute("BEGIN").await.unwrap();
        set(&mut connection, self.a).await;
        let seen = texts(&mut connection, "SELECT organization_id::text FROM orders").await;
        let _ = run(&mut connection, "UPDATE orders SET note = 'changed'").await;
        let _ = connection.execute("COMMIT").await;
        seen.iter().any(|organization| organization == self.b)
            || self.rows_of_others(self.a).await != before
    }
}

async fn set(connection: &mut PgConnection, setting: &str) {
    sqlx::query("SELECT set_config('tenantry.organization', $1, true)")
        .bind(setting)
        .execute(connection)
        .await
        .unwrap();
}

async fn run(connection: &mut PgConnection, sql: &str) -> Result<u64, String> {
    let done = connection.execute(AssertSqlSafe(sql.to_owned())).await;
    done.map(|done| done.rows_affected()).map_err(|error| code(&error))
}

async fn count(connection: &mut PgConnection, table: &str) -> Result<i64, String> {
    let sql = format!("SELECT count(*) FROM {table}");
    let row = connection.fetch_one(AssertSqlSafe(sql)).await.map_err(|error| code(&error))?;
    Ok(row.get(0))
}

async fn texts(connection: &mut PgConnection, sql: &str) -> Vec<String> {
    let rows = connection.fetch_all(AssertSqlSafe(sql.to_owned())).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

fn code(error: &sqlx::Error) -> String {
    let database = error.as_database_error().unwrap_or_else(|| panic!("{error}"));
    database.code().unwrap().into_owned()
}

const EVENTS: &str = r#""Audit events""#;

#[tokio::test]
async fn l16_l17_unset_and_empty_see_nothing_and_garbage_is_an_error() {
    for pair in PAIRS {
        let shop = Shop::of(pair).await;
        for (table, of_a) in [("orders", 2), ("customers", 2), (EVENTS, 1)] {
            assert_eq!(shop.count(Some(shop.a), table).await, Ok(of_a), "{table}");
            for setting in [None, Some("")] {
                assert_eq!(shop.count(setting, table).await, Ok(0), "{table} {setting:?}");
            }
            // No text is garbage as the name of an organization: it is one that nobody has.
            let garbage = match pair.0 {
                OrganizationKind::Text => Ok(0),
                _ => Err("22P02".to_owned()),
            };
            for setting in ["nonsense", "%", "1 OR true", "'", " ", "*"] {
                assert_eq!(shop.count(Some(setting), table).await, garbage, "{table} {setting}");
            }
        }
        // After its transaction the setting is the empty text, not unset.
        let mut connection = shop.enter(Some(shop.a)).await;
        connection.execute("COMMIT").await.unwrap();
        let left = "SELECT current_setting('tenantry.organization', true)";
        assert_eq!(texts(&mut connection, left).await, [""]);
        assert_eq!(count(&mut connection, "orders").await, Ok(0));

        for setting in [None, Some("")] {
            for sql in ["UPDATE orders SET note = 'x'", "DELETE FROM orders"] {
                assert_eq!(shop.run(setting, sql).await, Ok(0), "{sql}");
            }
            let insert = format!("INSERT INTO customers VALUES ('{}', 7, 'x')", shop.a);
            assert_eq!(shop.run(setting, &insert).await, Err(DENIED.to_owned()));
        }
        assert!(!shop.leaks(APPLICATION).await);
    }
}

#[tokio::test]
async fn l18_l19_statements_without_predicates_touch_the_rows_of_their_organization_alone() {
    let shop = Shop::open().await;
    let (a, b) = (shop.a, shop.b);
    let before = shop.rows_of_others(a).await;
    let denied = Err(DENIED.to_owned());
    let order = |organization: &str, id: u8, customer: u8| {
        format!(
            "INSERT INTO orders VALUES ('{organization}', {id}, {customer}, 'new{id}@x', 1, NULL, now())"
        )
    };
    let steps: Vec<(String, Result<u64, String>)> = vec![
        ("UPDATE orders SET note = 'x'".into(), Ok(2)),
        ("UPDATE orders SET note = 'x' WHERE id = 3".into(), Ok(0)),
        (format!("UPDATE orders SET note = 'x' WHERE organization_id = '{b}'"), Ok(0)),
        (format!("UPDATE customers SET organization_id = '{b}' WHERE id = 2"), denied.clone()),
        (order(b, 9, 1), denied.clone()),
        (order(b, 1, 1) + " ON CONFLICT DO NOTHING", denied.clone()),
        (
            order(b, 1, 1) + " ON CONFLICT (organization_id, id) DO UPDATE SET note = 'stolen'",
            denied.clone(),
        ),
        (order(a, 9, 1), Ok(1)),
        // A parent that B alone has is missing, like one that nobody has.
        (order(a, 10, 3), Err(FOREIGN_KEY.into())),
        (order(a, 10, 77), Err(FOREIGN_KEY.into())),
        (
            format!("INSERT INTO orders SELECT '{b}', id + 20, customer_id, 'c' || id, total, note, placed_at FROM orders"),
            denied.clone(),
        ),
        (
            "MERGE INTO orders AS o USING (VALUES (1), (3)) AS v (id) ON o.id = v.id WHEN MATCHED THEN DELETE".into(),
            Ok(1),
        ),
        ("DO $$ BEGIN DELETE FROM orders; END $$".into(), Ok(0)),
        (format!(r#"INSERT INTO {EVENTS} VALUES ('{b}', 9, 'x')"#), denied.clone()),
        (format!("UPDATE {EVENTS} SET what = 'x'"), Ok(1)),
        ("INSERT INTO genres VALUES (2, 'Pop')".into(), denied.clone()),
        ("UPDATE genres SET name = 'x'".into(), denied.clone()),
        ("DELETE FROM genres".into(), denied),
        // Cascades to A's rows alone: B's customers have the same keys.
        ("DELETE FROM customers".into(), Ok(2)),
    ];
    for (sql, expected) in steps {
        assert_eq!(shop.run(Some(a), &sql).await, expected, "{sql}");
        assert_eq!(shop.rows_of_others(a).await, before, "{sql}");
    }
    assert_eq!(shop.count(Some(a), "orders").await, Ok(0));
    assert_eq!(shop.count(Some(b), "orders").await, Ok(3));
}

#[tokio::test]
async fn l20_l22_l24_l32_the_application_role_cannot_truncate_create_shadow_or_change_its_role() {
    let shop = Shop::open().await;
    let before = shop.rows_of_others("00000000-0000-0000-0000-000000000001").await;
    for sql in [
        "TRUNCATE orders",
        "TRUNCATE customers CASCADE",
        "CREATE TABLE mine (n bigint)",
        "CREATE TABLE mine (n bigint, FOREIGN KEY (n) REFERENCES genres (id))",
        "CREATE TEMP TABLE orders (id bigint)",
        "CREATE VIEW mine AS SELECT * FROM orders",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION mine() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
        "CREATE TRIGGER mine BEFORE INSERT ON orders EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "ALTER TABLE orders DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE orders NO FORCE ROW LEVEL SECURITY",
        "DROP POLICY tenantry_wall ON orders",
        "CREATE POLICY mine ON orders USING (true)",
        "ALTER ROLE tenantry_app BYPASSRLS",
        "SET ROLE tenantry_owner",
        "SET ROLE tenantry_cross_tenant",
        "SET ROLE postgres",
        "SET SESSION AUTHORIZATION postgres",
        "SET session_replication_role = replica",
        r#"SELECT * FROM "Audit events_p0""#,
        r#"DELETE FROM "Audit events_p1""#,
        "COPY orders FROM PROGRAM 'true'",
        "COPY orders TO '/tmp/mine'",
    ] {
        assert_eq!(shop.run(Some(shop.a), sql).await, Err(DENIED.to_owned()), "{sql}");
    }
    // What the role may do leaves it where it was. A grant of what it cannot grant is a warning.
    for sql in [
        "GRANT ALL ON orders TO PUBLIC",
        "RESET ROLE",
        "RESET ALL",
        "SET ROLE NONE",
        "SET SESSION AUTHORIZATION DEFAULT",
    ] {
        let mut connection = shop.enter(None).await;
        run(&mut connection, sql).await.unwrap();
        assert_eq!(count(&mut connection, "orders").await, Ok(0), "{sql}");
        assert_eq!(texts(&mut connection, "SELECT current_user::text").await, [APPLICATION]);
    }
    assert_eq!(shop.rows_of_others("00000000-0000-0000-0000-000000000001").await, before);
}

#[tokio::test]
async fn l02_row_security_cannot_be_switched_off() {
    let shop = Shop::open().await;
    let mut connection = shop.enter(Some(shop.a)).await;
    run(&mut connection, "SET LOCAL row_security = off").await.unwrap();
    assert_eq!(count(&mut connection, "orders").await, Err(DENIED.to_owned()));
    // FORCE: the owner has no policy either.
    let mut owner = shop.database.connect(OWNER).await;
    assert_eq!(count(&mut owner, "orders").await, Ok(0));
    assert_eq!(count(&mut owner, r#""Audit events_p0""#).await, Ok(0));
}

#[tokio::test]
async fn l05_a_function_of_the_owner_sees_nothing_more() {
    let shop = Shop::open().await;
    shop.database
        .run(
            OWNER,
            &["CREATE FUNCTION count_orders() RETURNS bigint LANGUAGE sql SECURITY DEFINER
               AS 'SELECT count(*) FROM orders'"],
        )
        .await;
    let mut connection = shop.enter(Some(shop.a)).await;
    assert_eq!(texts(&mut connection, "SELECT count_orders()::text").await, ["0"]);
}

#[tokio::test]
async fn l29_copy_writes_out_the_organization_alone_and_writes_in_nothing() {
    use futures_util::TryStreamExt as _;
    let shop = Shop::open().await;
    let mut connection = shop.enter(Some(shop.a)).await;
    let out = connection.copy_out_raw("COPY customers TO STDOUT").await.unwrap();
    let bytes: Vec<_> = out.try_collect().await.unwrap();
    let text: String = bytes.iter().map(|part| String::from_utf8_lossy(part)).collect();
    assert_eq!((text.lines().count(), text.contains("of B")), (2, false), "{text}");

    let mut connection = shop.enter(Some(shop.a)).await;
    let refused = connection.copy_in_raw("COPY customers FROM STDIN").await;
    assert_eq!(refused.err().map(|error| code(&error)).as_deref(), Some("0A000"));
}

#[tokio::test]
async fn l33_a_savepoint_gives_the_older_organization_back() {
    let shop = Shop::open().await;
    let mut connection = shop.enter(Some(shop.b)).await;
    run(&mut connection, "SAVEPOINT nested").await.unwrap();
    set(&mut connection, shop.a).await;
    assert_eq!(count(&mut connection, "orders").await, Ok(2));
    run(&mut connection, "ROLLBACK TO nested").await.unwrap();
    assert_eq!(count(&mut connection, "orders").await, Ok(3));
    run(&mut connection, "ROLLBACK").await.unwrap();
    assert_eq!(count(&mut connection, "orders").await, Ok(0));
}

#[tokio::test]
async fn l25_one_prepared_statement_serves_organizations_by_turns() {
    let shop = Shop::open().await;
    let mut connection = shop.database.connect(APPLICATION).await;
    for turn in 0..24 {
        let (organization, rows) = [(shop.a, 2), (shop.b, 3), ("", 0)][turn % 3];
        let mut transaction = connection.begin().await.unwrap();
        set(&mut transaction, organization).await;
        let found: i64 = sqlx::query_scalar("SELECT count(*) FROM orders WHERE id > $1")
            .bind(0_i64)
            .fetch_one(&mut *transaction)
            .await
            .unwrap();
        assert_eq!(found, rows, "turn {turn}");
        transaction.commit().await.unwrap();
    }
}

#[tokio::test]
async fn the_cross_tenant_role_is_exempt_by_its_own_policy_alone() {
    let shop = Shop::open().await;
    let mut across = shop.database.connect(CROSS_TENANT).await;
    assert_eq!(count(&mut across, "orders").await, Ok(5));
    assert_eq!(run(&mut across, "UPDATE genres SET name = 'Jazz'").await, Ok(1));
    for sql in [
        "INSERT INTO orders SELECT organization_id, 9, 1, 'x', 1, NULL, now() FROM customers",
        "UPDATE orders SET note = 'x'",
        "DELETE FROM orders",
        "TRUNCATE orders",
        "CREATE TEMP TABLE t (n bigint)",
        "SET ROLE tenantry_owner",
    ] {
        assert_eq!(run(&mut across, sql).await, Err(DENIED.to_owned()), "{sql}");
    }
    // A grant too many opens nothing: the policy is for reading.
    shop.database.run(OWNER, &["GRANT UPDATE, DELETE ON orders TO tenantry_cross_tenant"]).await;
    for sql in ["UPDATE orders SET note = 'x'", "DELETE FROM orders"] {
        assert_eq!(run(&mut across, sql).await, Ok(0), "{sql}");
    }
    shop.database.run(OWNER, &["DROP POLICY tenantry_cross_tenant ON orders"]).await;
    assert_eq!(count(&mut across, "orders").await, Ok(0));
}

#[tokio::test]
async fn l01_these_tests_see_a_leak_where_the_wall_is_damaged() {
    let cases: [(&str, &str); 7] = [
        (APPLICATION, "DROP POLICY tenantry_wall ON orders"),
        (APPLICATION, "ALTER TABLE orders DISABLE ROW LEVEL SECURITY"),
        (APPLICATION, "ALTER POLICY tenantry_wall ON orders USING (true) WITH CHECK (true)"),
        (
            APPLICATION,
            "ALTER TABLE orders OWNER TO tenantry_app; ALTER TABLE orders NO FORCE ROW LEVEL SECURITY",
        ),
        (OWNER, "ALTER TABLE orders NO FORCE ROW LEVEL SECURITY"),
        (
            APPLICATION,
            "CREATE VIEW all_orders AS SELECT * FROM orders; GRANT ALL ON all_orders TO tenantry_app; ALTER TABLE orders RENAME TO hidden; ALTER VIEW all_orders RENAME TO orders",
        ),
        ("postgres", "SELECT 1"),
    ];
    for (role, damage) in cases {
        let shop = Shop::open().await;
        assert!(!shop.leaks(APPLICATION).await && !shop.leaks(OWNER).await, "undamaged");
        let mut superuser = shop.database.superuser().await;
        sqlx::raw_sql(AssertSqlSafe(damage.to_owned())).execute(&mut superuser).await.unwrap();
        assert!(shop.leaks(role).await, "{role}: {damage}");
    }
}

#[tokio::test]
async fn every_type_keeps_to_what_both_stores_hold() {
    let shop = Shop::open().await;
    let full = format!(
        r#"INSERT INTO wide VALUES ('{}', '00000000-0000-4000-8000-000000000001', true, '\x00ff',
           '2026-01-01', 92233720368547758.07, 'it''s paid', 'Infinity', -32768, 1, 2,
           '{{"a":1e16}}', 'ä', '2026-01-01 00:00:00.000001+00', 1)"#,
        shop.a
    );
    assert_eq!(shop.run(Some(shop.a), &full).await, Ok(1));
    for (column, value, expected) in [
        ("day", "'infinity'", CHECK),
        ("at", "'-infinity'", CHECK),
        ("amount", "92233720368547758.08", CHECK),
        ("amount", "'NaN'", CHECK),
        ("amount", "100000000000000000.00", "22003"),
        ("status", "'closed'", CHECK),
        ("ratio", "'NaN'", CHECK),
        ("small", "32768", "22003"),
        ("json", "'{'", "22P02"),
        ("genre", "77", FOREIGN_KEY),
        ("id", "NULL", "23502"),
    ] {
        let sql = format!("UPDATE wide SET {column} = {value}");
        assert_eq!(shop.run(Some(shop.a), &sql).await, Err(expected.to_owned()), "{sql}");
    }
    let json = texts(&mut shop.enter(Some(shop.a)).await, "SELECT json FROM wide").await;
    assert_eq!(json, [r#"{"a":1e16}"#]);
    // Nobody is the nil organization, whoever writes.
    let nil = "INSERT INTO customers VALUES ('00000000-0000-0000-0000-000000000000', 1, 'x')";
    let mut superuser = shop.database.superuser().await;
    assert_eq!(run(&mut superuser, nil).await, Err(CHECK.to_owned()));
}

#[tokio::test]
async fn texts_compare_bytewise_whatever_the_collation_of_the_database() {
    let shop = Shop::open().await;
    let rename = "UPDATE customers SET name = CASE id WHEN 1 THEN 'a' ELSE 'B' END";
    shop.run(Some(shop.a), rename).await.unwrap();
    let mut connection = shop.enter(Some(shop.a)).await;
    assert_eq!(
        texts(&mut connection, "SELECT name FROM customers ORDER BY name").await,
        ["B", "a"]
    );
    let other = "SELECT n FROM (VALUES ('a'), ('B')) AS v (n) ORDER BY n";
    assert_eq!(texts(&mut connection, other).await, ["a", "B"]);
}

#[tokio::test]
async fn l21_a_table_added_later_is_born_behind_the_wall() {
    let database = Cluster::shared().database().await;
    let first = tenantry::table::Schema::new().tenant::<Customer>();
    database.run(OWNER, &first.ddl(Dialect::Postgres).unwrap()).await;
    // What an administrator did for convenience.
    let grant = "ALTER DEFAULT PRIVILEGES FOR ROLE tenantry_owner GRANT ALL ON TABLES TO PUBLIC";
    database.superuser().await.execute(grant).await.unwrap();

    let later =
        tenantry::table::Schema::new().tenant::<Customer>().tenant::<Order>().tenant::<Event>();
    let difference = later.missing_ddl(Dialect::Postgres, |name| name == "customers").unwrap();
    assert!(!difference.iter().any(|sql| sql.starts_with(r#"CREATE TABLE "customers""#)));
    database.run(OWNER, &difference).await;
    let shop = Shop { database, a: PAIRS[2].1, b: PAIRS[2].2 };
    let rows: Vec<String> = [shop.a, shop.b]
        .iter()
        .flat_map(|organization| {
            [
                format!("INSERT INTO customers VALUES ('{organization}', 1, 'Ann')"),
                format!(
                    "INSERT INTO orders VALUES ('{organization}', 1, 1, 'a@x', 1, NULL, now())"
                ),
            ]
        })
        .collect();
    shop.database.run(SUPERUSER, &rows).await;
    assert_eq!(shop.count(Some(shop.a), "orders").await, Ok(1));
    assert_eq!(shop.count(None, "orders").await, Ok(0));
    assert_eq!(shop.run(Some(shop.a), "TRUNCATE orders").await, Err(DENIED.to_owned()));
    for partition in 0..3 {
        let table = format!(r#""Audit events_p{partition}""#);
        assert_eq!(shop.count(Some(shop.a), &table).await, Err(DENIED.to_owned()));
    }
    let all = |name: &str| ["customers", "orders", "Audit events"].contains(&name);
    assert!(later.missing_ddl(Dialect::Postgres, all).unwrap().is_empty());
}

/// PostgreSQL checks the present rows with a query of the owner's, and FORCE hides them from it:
/// why the doctor's remedies for references want a superuser.
#[tokio::test]
async fn l06_a_foreign_key_added_by_the_owner_is_not_checked_against_the_present_rows() {
    let shop = Shop::open().await;
    let add =
        "ALTER TABLE orders ADD FOREIGN KEY (organization_id, customer_id) REFERENCES customers";
    let dangling = [
        "ALTER TABLE orders DROP CONSTRAINT orders_customer_id_customers_fkey".to_owned(),
        format!("INSERT INTO orders VALUES ('{}', 9, 77, 'x', 1, NULL, now())", shop.a),
    ];
    shop.database.run("postgres", &dangling).await;
    let mut superuser = shop.database.superuser().await;
    assert_eq!(run(&mut superuser, add).await, Err(FOREIGN_KEY.to_owned()));
    let mut owner = shop.database.connect(OWNER).await;
    assert_eq!(run(&mut owner, add).await, Ok(0));
}
