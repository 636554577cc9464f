//! The statement around a read by itself: hand-made ones without any predicate, hostile names, and
//! the plans of the real ones.

use std::sync::atomic::Ordering;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, ValueRef as _};

use super::cluster::CROSS_TENANT;
use super::*;
use crate::database::postgres::alone::render;
use crate::database::statement;
use crate::query::{Sql, all, count};
use crate::table::{First, Second};

/// The texts that a statement without values sees for an organization, or the server's code.
async fn seen(
    connection: &mut PgConnection,
    organization: Option<&str>,
    statement: &str,
) -> Result<Vec<String>, String> {
    let alone = AssertSqlSafe(render(statement, 1));
    let rows = sqlx::query(alone).bind(organization).fetch_all(connection).await;
    rows.map(|rows| rows.iter().map(|row| row.get(0)).collect()).map_err(|error| code(&error))
}

fn code(error: &sqlx::Error) -> String {
    error.as_database_error().unwrap_or_else(|| panic!("{error}")).code().unwrap().into_owned()
}

async fn run(connection: &mut PgConnection, sql: impl Into<String>) {
    connection.execute(sqlx::raw_sql(AssertSqlSafe(sql.into()))).await.unwrap();
}

async fn text(connection: &mut PgConnection, sql: &'static str) -> String {
    connection.fetch_one(sqlx::raw_sql(sql)).await.unwrap().get(0)
}

const ALL: &str = "SELECT DISTINCT t0.organization_id::text FROM marks AS t0";
const SETTING: &str = "SELECT coalesce(current_setting('tenantry.organization', true), '')";
const READ_ONLY: &str = "SHOW transaction_read_only";
const UNSCOPED: &str = "SELECT count(*)::text FROM marks";

#[tokio::test]
async fn l13_l16_l17_the_wall_holds_in_a_read_by_itself_without_any_predicate() {
    let world = world().await;
    let (a, b) = (world.a.organization().to_string(), world.b.organization().to_string());
    let mut connection = world.database.connect(APPLICATION).await;
    let theirs = format!("{ALL} WHERE t0.organization_id = '{b}'");
    let one = format!("{ALL} WHERE t0.id = 1");
    // More often than the server plans anew, and with the plans that it keeps from the beginning.
    for mode in ["auto", "force_generic_plan", "force_custom_plan"] {
        run(&mut connection, format!("DISCARD PLANS; SET plan_cache_mode = {mode}")).await;
        for _ in 0..8 {
            assert_eq!(seen(&mut connection, Some(&a), ALL).await.unwrap(), [a.as_str()]);
            assert_eq!(seen(&mut connection, Some(&b), &one).await.unwrap(), [b.as_str()]);
            assert_eq!(seen(&mut connection, Some(&a), &theirs).await.unwrap(), [""; 0]);
            for nobody in [None, Some("")] {
                assert_eq!(seen(&mut connection, nobody, ALL).await.unwrap(), [""; 0]);
            }
            for garbage in ["nonsense", "%", "1 OR true", "'", " "] {
                let refused = seen(&mut connection, Some(garbage), ALL).await;
                assert_eq!(refused.unwrap_err(), "22P02", "{garbage}");
            }
            assert_eq!(text(&mut connection, SETTING).await, "");
            assert_eq!(text(&mut connection, READ_ONLY).await, "off");
            assert_eq!(
                text(&mut connection, UNSCOPED).await,
                "0",
                "nothing is left in the session"
            );
        }
    }
}

#[tokio::test]
async fn l12_l33_a_read_by_itself_refuses_a_transaction_with_an_organization() {
    let world = world().await;
    let (a, b) = (world.a.organization().to_string(), world.b.organization().to_string());
    let mut connection = world.database.connect(APPLICATION).await;
    for mode in ["auto", "force_generic_plan", "force_custom_plan"] {
        run(&mut connection, format!("SET plan_cache_mode = {mode}")).await;
        for (whose, asked) in [(&b, &a), (&a, &b), (&a, &a)] {
            let mut outer = connection.begin().await.unwrap();
            run(&mut outer, format!("SET LOCAL tenantry.organization = '{whose}'")).await;
            assert_eq!(seen(&mut outer, Some(asked), ALL).await.unwrap_err(), "42704");
            outer.rollback().await.unwrap();
        }
    }
    // What it sets in a transaction without one ends with that.
    let mut outer = connection.begin().await.unwrap();
    assert_eq!(seen(&mut outer, Some(&a), ALL).await.unwrap(), [a.as_str()]);
    assert_eq!(seen(&mut outer, Some(&b), ALL).await.unwrap_err(), "42704");
    outer.rollback().await.unwrap();
    assert_eq!(text(&mut connection, SETTING).await, "");

    // A statement that fails leaves nothing either.
    let fails = "SELECT (1 / (t0.id - t0.id))::text FROM marks AS t0";
    assert_eq!(seen(&mut connection, Some(&a), fails).await.unwrap_err(), "22012");
    assert_eq!(text(&mut connection, SETTING).await, "");
    assert_eq!(text(&mut connection, UNSCOPED).await, "0");
}

#[tokio::test]
async fn a_read_by_itself_writes_nothing_and_has_the_rights_of_its_caller_alone() {
    let world = world().await;
    let a = world.a.organization().to_string();
    let mut superuser = world.database.superuser().await;
    run(
        &mut superuser,
        "CREATE SEQUENCE numbers; GRANT ALL ON SEQUENCE numbers TO tenantry_app;
         CREATE FUNCTION rename() RETURNS text LANGUAGE sql
             AS $$ UPDATE marks SET name = 'renamed' RETURNING name $$",
    )
    .await;
    let mut connection = world.database.connect(APPLICATION).await;
    for (statement, refused) in [
        ("SELECT rename()", "25006"),
        ("SELECT nextval('numbers')::text", "25006"),
        ("SELECT set_config('transaction_read_only', 'off', true)", "25001"),
        ("SELECT rolname::text FROM pg_authid", "42501"),
    ] {
        let outcome = seen(&mut connection, Some(&a), statement).await;
        assert_eq!(outcome.unwrap_err(), refused, "{statement}");
    }
    let marks = Mark::select(&world.a).filter(marks::name.eq("renamed"));
    assert_eq!(marks.count(&world.db).await.unwrap(), 0);
}

/// Objects of the names that the statement uses, in front of the server's own.
const HOSTILE: &str = "
CREATE SCHEMA hostile;
GRANT USAGE ON SCHEMA hostile TO tenantry_app;
CREATE FUNCTION hostile.set_config(text, text, boolean) RETURNS text LANGUAGE sql
    AS 'SELECT pg_catalog.set_config($1, ''ORGANIZATION'', $3)';
CREATE FUNCTION hostile.current_setting(text, boolean) RETURNS text LANGUAGE sql
    AS 'SELECT NULL::pg_catalog.text';
CREATE FUNCTION hostile.differs(pg_catalog.text, pg_catalog.text) RETURNS boolean LANGUAGE sql
    AS 'SELECT false';
CREATE OPERATOR hostile.<> (FUNCTION = hostile.differs, LEFTARG = pg_catalog.text,
    RIGHTARG = pg_catalog.text);
CREATE DOMAIN hostile.text AS pg_catalog.text CHECK (VALUE = 'ORGANIZATION');
CREATE TABLE hostile.tenantry_scope (organization pg_catalog.text, read_only pg_catalog.text);
CREATE TABLE hostile.tenantry_statement (LIKE hostile.tenantry_scope);
CREATE TABLE hostile.tenantry_read (LIKE hostile.tenantry_scope);
INSERT INTO hostile.tenantry_scope VALUES (NULL, NULL), ('ours', 'ours');
INSERT INTO hostile.tenantry_statement TABLE hostile.tenantry_scope;
INSERT INTO hostile.tenantry_read TABLE hostile.tenantry_scope;
GRANT SELECT ON ALL TABLES IN SCHEMA hostile TO tenantry_app";

#[tokio::test]
async fn l32_names_that_stand_in_front_of_the_servers_own_change_nothing_in_a_read_by_itself() {
    let world = world().await;
    let (a, b) = (world.a.organization().to_string(), world.b.organization().to_string());
    let mut superuser = world.database.superuser().await;
    run(&mut superuser, HOSTILE.replace("ORGANIZATION", &b)).await;
    let mut connection = world.database.connect(APPLICATION).await;
    run(&mut connection, "SET search_path = hostile, public, pg_catalog").await;
    let shadowed =
        "SELECT current_setting('tenantry.organization', true) IS NULL AND NOT 'x' <> 'y'";
    let row = connection.fetch_one(shadowed).await.unwrap();
    assert!(row.get::<bool, _>(0), "the names stand in front");
    for _ in 0..8 {
        let mine = "SELECT DISTINCT t0.organization_id::pg_catalog.text FROM marks AS t0";
        assert_eq!(seen(&mut connection, Some(&a), mine).await.unwrap(), [a.as_str()]);
        for table in ["tenantry_scope", "tenantry_statement", "tenantry_read"] {
            let ours =
                format!("SELECT t0.organization FROM {table} AS t0 WHERE t0.read_only = 'ours'");
            assert_eq!(seen(&mut connection, Some(&a), &ours).await.unwrap(), ["ours"]);
            // The names of the statement around it as the statement's own.
            let own = format!(
                "SELECT {table}.organization FROM {table}, marks WHERE {table}.organization IS NOT NULL LIMIT 1"
            );
            assert_eq!(seen(&mut connection, Some(&a), &own).await.unwrap(), ["ours"]);
        }
        let mut outer = connection.begin().await.unwrap();
        run(&mut outer, format!("SET LOCAL tenantry.organization = '{b}'")).await;
        assert_eq!(seen(&mut outer, Some(&a), mine).await.unwrap_err(), "42704");
        outer.rollback().await.unwrap();
    }
}

/// The role that no organization confines is not let in by what says one.
#[tokio::test]
async fn a_read_by_itself_is_nothing_to_the_cross_tenant_role() {
    let world = world().await;
    let mut connection = world.database.connect(CROSS_TENANT).await;
    let a = world.a.organization().to_string();
    assert_eq!(seen(&mut connection, Some(&a), ALL).await.unwrap().len(), 2);
}

crate::tenant_table! {
    #[derive(Debug, Clone, PartialEq)]
    pub(crate) struct Shelf in shelves {
        key id: i64,
        room: String,
    }
}

crate::tenant_table! {
    #[derive(Debug, Clone, PartialEq)]
    pub(crate) struct Book in books {
        key id: i64,
        shelf_id: i64 => shelves,
        sequel_of: Option<i64> => books,
        title: String,
        pages: i64,
    }
    index (pages);
    partitions 3;
}

const BOOKS: i64 = 60;

async fn library() -> World {
    let world = world_of(Schema::new().tenant::<Shelf>().tenant::<Book>(), 2).await;
    for scope in [&world.a, &world.b] {
        let shelves = (1..=5).map(|id| Shelf { id, room: format!("room {}", id % 2) });
        Shelf::insert_many(scope, shelves).execute(&world.db).await.unwrap();
        let books = (1..=BOOKS).map(|id| Book {
            id,
            shelf_id: id % 4 + 1,
            sequel_of: (id % 3 == 0).then_some(id / 3),
            title: format!("title {}", id % 7),
            pages: id * 37 % 11,
        });
        Book::insert_many(scope, books).execute(&world.db).await.unwrap();
    }
    let mut superuser = world.database.superuser().await;
    run(&mut superuser, "ANALYZE").await;
    world
}

/// Runs every form of a read, by itself and in a transaction, and compares what they answer:
/// values, columns of one name, and order.
async fn every_form(world: &World) {
    let (db, a) = (&world.db, &world.a);
    let mut tx = db.begin(a).await.unwrap();
    macro_rules! agree {
        ($($read:expr;)*) => {$(
            let inside = ($read).fetch_all(&mut tx).await.unwrap();
            let alone = ($read).fetch_all(db).await.unwrap();
            assert!(!inside.is_empty(), stringify!($read));
            assert_eq!(alone, inside, stringify!($read));
        )*};
    }
    // The pool has one connection more than the transaction.
    agree! {
        Shelf::select(a);
        Book::select(a);
        Book::select(a).filter(books::pages.gt(3)).order_by(books::pages.desc()).limit(7).offset(2);
        Book::select(a).filter(books::title.eq("title 3").or(books::sequel_of.is_null()));
        Book::select(a).filter(books::id.in_list([1, 2, 30])).order_by(books::title.asc());
        Book::select(a).order_by(books::pages.asc()).columns((books::title, books::pages));
        Book::select(a).columns(books::title).distinct();
        Book::select(a).join(books::shelf_id).order_by(shelves::room.desc());
        Book::select(a).join(books::shelf_id).filter(all((books::pages.gt(2), shelves::room.eq("room 1"))));
        Book::select(a).left_join(books::sequel_of)
            .order_by(books::pages.at(Second).desc()).order_by(books::title.at(First).asc());
        Shelf::select(a).left_join_from(books::shelf_id).order_by(books::pages.desc()).limit(9);
        Book::select(a).group_by(books::title).aggregate((count(), books::pages.sum()))
            .having(count().ge(2)).order_by(books::pages.sum().desc());
        Book::select(a).join(books::shelf_id).group_by(shelves::room).aggregate(books::pages.max());
        Shelf::select(a).filter(books::shelf_id.exists_in(Book::select(a).filter(books::pages.gt(8))));
        Shelf::select(a).filter(!books::shelf_id.exists_in(Book::select(a)));
        Book::select(a).filter(books::shelf_id.in_subquery(
            Shelf::select(a).filter(shelves::room.eq("room 0")).columns(shelves::id)));
        Book::select(a).filter(books::id.in_subquery(
            Book::select(a).order_by(books::pages.desc()).limit(3).columns(books::id)));
    }
    let sums = || Book::select(a).aggregate((count(), books::pages.sum(), books::title.min()));
    assert_eq!(sums().fetch_one(db).await.unwrap(), sums().fetch_one(&mut tx).await.unwrap());
    let find = Book::find(a, 7).fetch_one(db).await.unwrap();
    assert_eq!(find, Book::find(a, 7).fetch_one(&mut tx).await.unwrap());
    assert_eq!(Book::select(a).filter(books::pages.gt(3)).count(db).await.unwrap(), 39);
    assert!(Book::select(a).filter(books::pages.gt(3)).exists(db).await.unwrap());
    let page = Book::select(a).order_by(books::pages.desc()).page(None, 10);
    assert_eq!(page.fetch(db).await.unwrap().rows.len(), 10);
}

/// Policies beside the declared one, and whether PostgreSQL can choose partitions by them before the
/// organization is set. The first does; `elsewhere` is an organization of another partition.
const POLICIES: [(&str, &str, bool); 6] = [
    (
        "books",
        "organization_id IN (NULLIF(current_setting('tenantry.organization', true), '')::uuid, 'elsewhere')",
        true,
    ),
    (
        "books",
        "organization_id = NULLIF(current_setting('tenantry.organization', true), '')::uuid",
        true,
    ),
    ("books", "pages >= 0 AND title <> 'untitled'", false),
    (
        "books",
        "organization_id = (SELECT NULLIF(current_setting('tenantry.organization', true), '')::uuid)",
        false,
    ),
    ("shelves", "length(room) > 0", false),
    ("shelves", "id IN (SELECT b.shelf_id FROM books AS b) OR room IS NOT NULL", true),
];

#[tokio::test]
async fn l25_a_policy_that_chooses_partitions_keeps_reads_in_transactions() {
    let world = library().await;
    let (a, b) = (world.a.organization(), world.b.organization());
    let mut superuser = world.database.superuser().await;
    let elsewhere = format!(
        "SELECT other::text FROM (SELECT gen_random_uuid() AS other FROM generate_series(1, 200)) AS o
         WHERE NOT EXISTS (SELECT FROM generate_series(0, 2) AS part
             WHERE satisfies_hash_partition('books'::regclass, 3, part, other)
             AND (satisfies_hash_partition('books'::regclass, 3, part, '{a}'::uuid)
                 OR satisfies_hash_partition('books'::regclass, 3, part, '{b}'::uuid)))
         LIMIT 1"
    );
    let elsewhere = superuser.fetch_one(sqlx::raw_sql(AssertSqlSafe(elsewhere))).await.unwrap();
    let elsewhere: String = elsewhere.get(0);
    for (table, policy, early) in POLICIES {
        let policy = policy.replace("elsewhere", &elsewhere);
        run(
            &mut superuser,
            format!(
                "CREATE POLICY also ON {table} AS RESTRICTIVE TO tenantry_app USING ({policy})"
            ),
        )
        .await;
        let report = world.db.doctor().await.unwrap();
        let found: Vec<_> = report
            .findings()
            .iter()
            .filter(|finding| finding.code() == "postgres-policy-early")
            .map(|finding| finding.object().to_owned())
            .collect();
        let expected = if early { vec![format!("{table}/also")] } else { Vec::new() };
        assert_eq!(found, expected, "{policy}");
        // The server keeps a plan from the sixth run on.
        for _ in 0..8 {
            for scope in [&world.a, &world.b] {
                let count = Book::select(scope).filter(books::pages.ge(0)).count(&world.db);
                assert_eq!(count.await.unwrap(), BOOKS, "{policy}");
                assert_eq!(Book::find(scope, 7).fetch_one(&world.db).await.unwrap().id, 7);
                assert_eq!(Shelf::select(scope).fetch_all(&world.db).await.unwrap().len(), 5);
            }
        }
        run(&mut superuser, format!("DROP POLICY also ON {table}")).await;
    }
    world.db.doctor().await.unwrap();
    assert!(store(&world.db).alone.load(Ordering::Acquire), "the policies are gone");
}

/// Whatever waits for another connection is asked for its scope again.
#[tokio::test]
async fn l78_a_read_whose_connection_is_lost_is_refused_where_its_scope_has_ended() {
    let world = world().await;
    let bound = || {
        let organization = Some(world.a.organization());
        let sql = Sql::Once("SELECT 1::bigint".to_owned());
        statement::bind(world.db.store(), sql, Vec::new(), organization).unwrap()
    };
    let mut superuser = world.database.superuser().await;
    for ended in [false, true] {
        let mut read = world.db.store().read(&world.a).await.unwrap().unwrap();
        run(
            &mut superuser,
            "SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity
             WHERE usename = 'tenantry_app' AND datname = current_database()",
        )
        .await;
        if ended {
            world.issuer.suspend(world.a.organization().clone());
        }
        let outcome = read.first(bound()).await;
        match outcome {
            Ok(row) => assert!(row.is_some() && !ended),
            Err(fault) => {
                assert!(ended, "{fault:?}");
                assert_eq!(fault.into_error(None).kind(), ErrorKind::Denied);
            }
        }
    }
}

/// A connection that has an organization already goes to nobody.
#[tokio::test]
async fn l12_a_connection_with_an_organization_is_closed_by_the_read_that_meets_it() {
    let world = world().await;
    let mut read = world.db.store().read(&world.a).await.unwrap().unwrap();
    let connection = read.session.as_mut().unwrap().connection();
    let foreign = format!("SET tenantry.organization = '{}'", world.b.organization());
    run(&mut *connection, foreign).await;
    let before = text(&mut *connection, "SELECT pg_backend_pid()::text").await;
    let organization = Some(world.a.organization());
    let sql = Sql::Once("SELECT t0.id FROM marks AS t0".to_owned());
    let bound = statement::bind(world.db.store(), sql, Vec::new(), organization).unwrap();
    let mut rows = 0;
    let counted = read.run(bound, |_| {
        rows += 1;
        Ok(())
    });
    counted.await.unwrap();
    assert_eq!(rows, ROWS, "its own rows, from another connection");
    drop(read);
    let mut next = store(&world.db).application.connections.acquire().await.unwrap();
    assert_ne!(text(&mut next, "SELECT pg_backend_pid()::text").await, before);
}

/// A value of each type that the statements above bind.
fn value(kind: &str, organization: &OrganizationId) -> String {
    match kind {
        "uuid" | "text" => format!("'{organization}'"),
        "bigint" => "3".to_owned(),
        other => panic!("{other}"),
    }
}

/// What makes the server choose other plans than it would.
const PLANNER: [&str; 12] = [
    "geqo = on",
    "enable_nestloop = off",
    "enable_hashjoin = off",
    "enable_mergejoin = off; SET enable_hashjoin = off",
    "enable_seqscan = off",
    "enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off",
    "enable_sort = off; SET enable_incremental_sort = off",
    "enable_hashagg = off; SET enable_memoize = off; SET enable_material = off",
    "enable_partition_pruning = off",
    "enable_partitionwise_join = on; SET enable_partitionwise_aggregate = on",
    "jit_above_cost = 0",
    "parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0",
];

/// The rows of a statement as text, whatever their order.
async fn rows(connection: &mut PgConnection, sql: &str) -> Vec<Vec<Option<String>>> {
    let rows = connection.fetch_all(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await.unwrap();
    let cell = |row: &sqlx::postgres::PgRow, at| {
        let value = row.try_get_raw(at).unwrap();
        (!value.is_null()).then(|| value.as_str().unwrap().to_owned())
    };
    let mut rows: Vec<Vec<_>> =
        rows.iter().map(|row| (0..row.len()).map(|at| cell(row, at)).collect()).collect();
    rows.sort();
    rows
}

#[tokio::test]
async fn l25_in_every_plan_the_organization_is_set_before_the_statement_starts() {
    let world = library().await;
    every_form(&world).await;
    let mut connections = Vec::new();
    for _ in 0..2 {
        connections.push(store(&world.db).application.connections.acquire().await.unwrap());
    }
    let (mut looked, mut found) = (0, 0);
    let organization = world.a.organization();
    for connection in &mut connections {
        let statements = connection
            .fetch_all(sqlx::raw_sql(
                "SELECT name, parameter_types::text[]::text AS types, statement
                 FROM pg_prepared_statements WHERE statement LIKE 'SELECT tenantry_read.%'",
            ))
            .await
            .unwrap();
        for statement in statements {
            let (name, types): (String, String) = (statement.get(0), statement.get(1));
            let types: Vec<_> = types.trim_matches(['{', '}']).split(',').collect();
            let values: Vec<_> = types.iter().map(|kind| value(kind, organization)).collect();
            let execute = format!("EXECUTE {name} ({})", values.join(", "));
            // The statement that would run in a transaction has no organization behind its values.
            let whole: String = statement.get(2);
            let (_, inside) = whole.split_once("LATERAL (SELECT * FROM (").unwrap();
            let (inside, _) = inside.split_once(") AS tenantry_statement").unwrap();
            let (types, own) = (&types[..types.len() - 1], &values[..values.len() - 1]);
            run(&mut *connection, format!("PREPARE inside ({}) AS {inside}", types.join(", ")))
                .await;
            for mode in ["force_generic_plan", "force_custom_plan"] {
                for planner in PLANNER {
                    run(&mut *connection, format!("SET plan_cache_mode = {mode}; SET {planner}"))
                        .await;
                    let explain = sqlx::raw_sql(AssertSqlSafe(format!(
                        "EXPLAIN (VERBOSE, FORMAT JSON) {execute}"
                    )));
                    let plan = connection.fetch_one(explain).await.unwrap();
                    judge(plan.try_get_raw(0).unwrap().as_str().unwrap());
                    let alone = rows(&mut *connection, &execute).await;
                    let begin =
                        format!("BEGIN; SET LOCAL tenantry.organization = '{organization}'");
                    run(&mut *connection, begin).await;
                    let execute = format!("EXECUTE inside ({})", own.join(", "));
                    assert_eq!(
                        alone,
                        rows(&mut *connection, &execute).await,
                        "{planner}: {inside}"
                    );
                    run(&mut *connection, "ROLLBACK; RESET ALL").await;
                    looked += 1;
                    found += alone.len();
                }
            }
            run(&mut *connection, "DEALLOCATE inside").await;
        }
    }
    assert!(looked >= 20 * 2 * PLANNER.len(), "{looked}");
    assert!(found > looked, "rows were compared: {found} in {looked}");
}

/// A loop over the one row that sets, around the statement, which refers to it and is run for it.
fn judge(plan: &str) {
    let plan: Value = serde_json::from_str(plan).unwrap();
    let top = &plan[0]["Plan"];
    assert_eq!(top["Node Type"], "Nested Loop", "{plan:#}");
    assert_eq!(top["Join Type"], "Inner", "{plan:#}");
    let parts = top["Plans"].as_array().unwrap();
    let [outer, inner] = parts.as_slice() else { panic!("{plan:#}") };
    assert_eq!(
        (&outer["Parent Relationship"], &inner["Parent Relationship"]),
        (&Value::from("Outer"), &Value::from("Inner"))
    );
    assert_eq!(outer["Node Type"], "Result", "{plan:#}");
    assert_eq!(outer["Plans"], Value::Null, "{plan:#}");
    let sets = outer["Output"].as_array().unwrap();
    assert_eq!(sets.len(), 2, "{plan:#}");
    assert!(sets.iter().all(|set| set.as_str().unwrap().starts_with("set_config(")), "{plan:#}");
    // The order does not hang on what the server takes it to cost.
    for setting in ["'the_transaction_has_an_organization'", "'transaction_read_only'"] {
        assert!(inner.to_string().contains(setting), "{setting}: {plan:#}");
    }
    assert!(!plan.to_string().contains("Gather"), "{plan:#}");
}
