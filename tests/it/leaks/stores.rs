//! What SQLite itself may do wrong, and tables that were made elsewhere: L03, L11, L21, L50, L71, L73
//! to L75.

use sqlx::Connection as _;
use tenantry::table::Schema;
use tenantry::{Database, ErrorKind};

use super::fixture::*;

/// Opens a database that was made by these statements, with the schema of one table.
async fn opened(ddl: &str, schema: Schema) -> tenantry::Result<Database> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("legacy.db");
    run_raw(&path, ddl).await.unwrap();
    let (_, issuer) = people();
    let opened = builder(&issuer).connect(&url(&path), schema).await;
    std::mem::forget(dir);
    opened
}

async fn refused(ddl: &str, schema: Schema) {
    match opened(ddl, schema).await {
        Err(error) => assert_eq!(error.kind(), ErrorKind::Unconfigured, "{error:?}"),
        Ok(_) => panic!("a database made by `{ddl}` was opened"),
    }
}

fn employees_alone() -> Schema {
    Schema::new().tenant::<Employee>()
}

const ORGANIZATION: &str = "organization_id BLOB NOT NULL CHECK (length(organization_id) = 16 AND organization_id <> zeroblob(16))";
const REFERENCE: &str =
    "FOREIGN KEY (organization_id, boss) REFERENCES employees (organization_id, id)";

fn employees_ddl(organization: &str, more: &str, reference: &str) -> String {
    format!(
        "CREATE TABLE employees ({organization}, id INTEGER NOT NULL, name TEXT NOT NULL, boss INTEGER, \
         PRIMARY KEY (organization_id, id), {more} {reference}) STRICT, WITHOUT ROWID; \
         CREATE INDEX employees_boss_idx ON employees (organization_id, boss)"
    )
}

/// The counterpart of the refusals below: the same table without their defects is opened.
#[tokio::test]
async fn a_sound_table_made_elsewhere_is_opened() {
    let ddl = employees_ddl(ORGANIZATION, "", REFERENCE);
    let _ = opened(&ddl, employees_alone()).await.unwrap();
}

#[tokio::test]
async fn l03_a_view_in_the_place_of_a_table_is_refused() {
    refused(
        "CREATE TABLE everything (organization_id BLOB, id INTEGER, name TEXT, boss INTEGER); \
         CREATE VIEW employees AS SELECT x'0000000000000000000000000000000a' AS organization_id, id, name, boss FROM everything",
        employees_alone(),
    )
    .await;
}

#[tokio::test]
async fn l73_a_constraint_that_replaces_rows_is_refused() {
    refused(
        &employees_ddl(ORGANIZATION, "UNIQUE (name) ON CONFLICT REPLACE,", REFERENCE),
        employees_alone(),
    )
    .await;
    let in_key = employees_ddl(ORGANIZATION, "", REFERENCE).replace(
        "PRIMARY KEY (organization_id, id)",
        "PRIMARY KEY (organization_id, id) ON CONFLICT REPLACE",
    );
    refused(&in_key, employees_alone()).await;
    // A plain unique key over all organizations tells of other organizations' values.
    refused(&employees_ddl(ORGANIZATION, "UNIQUE (name),", REFERENCE), employees_alone()).await;
}

#[tokio::test]
async fn l74_a_table_without_its_tenant_column_is_refused() {
    refused(
        "CREATE TABLE employees (id INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, boss INTEGER REFERENCES employees (id)) STRICT, WITHOUT ROWID",
        employees_alone(),
    )
    .await;
}

#[tokio::test]
async fn l75_a_reference_that_nulls_the_tenant_column_is_refused() {
    for action in ["ON DELETE SET NULL", "ON DELETE SET DEFAULT", "ON UPDATE SET NULL"] {
        refused(
            &employees_ddl(ORGANIZATION, "", &format!("{REFERENCE} {action}")),
            employees_alone(),
        )
        .await;
    }
    // And one that does not begin with the tenant column crosses organizations.
    refused(
        "CREATE TABLE employees (organization_id BLOB NOT NULL, id INTEGER NOT NULL UNIQUE, name TEXT NOT NULL, \
         boss INTEGER REFERENCES employees (id) ON DELETE CASCADE, PRIMARY KEY (organization_id, id)) STRICT, WITHOUT ROWID",
        employees_alone(),
    )
    .await;
}

#[tokio::test]
async fn l50_a_tenant_column_that_equates_values_is_refused() {
    use tenantry::id::OrganizationKind;
    for organization in [
        "organization_id BLOB NOT NULL DEFAULT x'0000000000000000000000000000000b'",
        "organization_id INTEGER NOT NULL",
        "organization_id TEXT NOT NULL",
        "organization_id ANY NOT NULL",
    ] {
        refused(&employees_ddl(organization, "", REFERENCE), employees_alone()).await;
    }
    let by_text = || employees_alone().organizations(OrganizationKind::Text);
    let checked = |collation: &str| {
        format!(
            "organization_id TEXT NOT NULL {collation} CHECK (length(organization_id) BETWEEN 1 AND 64)"
        )
    };
    let _ = opened(&employees_ddl(&checked(""), "", REFERENCE), by_text()).await.unwrap();
    for collation in ["COLLATE NOCASE", "COLLATE RTRIM", "COLLATE nocase", "DEFAULT 'x'"] {
        refused(&employees_ddl(&checked(collation), "", REFERENCE), by_text()).await;
    }
    for numeric in ["NUMERIC", "INTEGER", "REAL", "DECIMAL(10, 2)"] {
        let loose = employees_ddl(&format!("organization_id {numeric} NOT NULL"), "", REFERENCE)
            .replace("STRICT, WITHOUT ROWID", "WITHOUT ROWID");
        refused(&loose, by_text()).await;
    }
}

/// A collation means nothing to the bytes of a UUID, and affinity converts no BLOB: such tables are
/// opened with a warning, and rows whose tenant column only looks like A's stay out of sight.
#[tokio::test]
async fn l50_what_is_opened_with_a_warning_equates_nothing() {
    let plain = employees_ddl("organization_id BLOB NOT NULL COLLATE NOCASE", "", REFERENCE);
    let loose = employees_ddl("organization_id BLOB NOT NULL COLLATE NOCASE", "", REFERENCE)
        .replace("STRICT, WITHOUT ROWID", "WITHOUT ROWID");
    for (ddl, twins) in [
        (plain, vec!["x'4100000000000000000000000000000A'"]),
        (
            loose,
            vec![
                "x'4100000000000000000000000000000A'",
                "CAST(x'6100000000000000000000000000000A' AS TEXT)",
                "'61000000-0000-0000-0000-00000000000a'",
                "'6100000000000000000000000000000a'",
                "97",
            ],
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("loose.db");
        run_raw(&path, &ddl).await.unwrap();
        for twin in twins {
            run_raw(&path, &format!("INSERT INTO employees VALUES ({twin}, 1, '{TAINT}', NULL)"))
                .await
                .unwrap();
        }
        let (directory, issuer) = people();
        let a = organization(0x6100_0000_0000_0000_0000_0000_0000_000A);
        directory.add_member(&a, &ann(), tenantry::scope::Role::Member);
        let db = builder(&issuer).connect(&url(&path), employees_alone()).await.unwrap();
        let report = db.doctor().await.unwrap().to_string();
        assert!(report.contains("sqlite-tenant-collation"), "{report}");
        let a = issuer.enter(&ann(), a).await.unwrap();
        assert_eq!(Employee::select(&a).count(&db).await.unwrap(), 0);
        Employee::insert(&a, employee(1, "Eve", None)).execute(&db).await.unwrap();
        assert_eq!(Employee::select(&a).fetch_all(&db).await.unwrap(), [employee(1, "Eve", None)]);
        assert_eq!(
            Employee::update(&a).set(employees::name, "x").all_rows().execute(&db).await.unwrap(),
            1
        );
        assert_eq!(Employee::delete(&a).all_rows().execute(&db).await.unwrap(), 1);
    }
}

/// Makes the entries of an index stale: hides the index, runs the statements, brings it back.
async fn behind_the_index(path: &std::path::Path, index: &str, statements: &str) {
    let mut connection = raw(path).await;
    let row: (String, i64, String) =
        sqlx::query_as("SELECT tbl_name, rootpage, sql FROM sqlite_schema WHERE name = ?")
            .bind(index)
            .fetch_one(&mut connection)
            .await
            .unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = '{index}'"
    )))
    .execute(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    run_raw(path, &format!("PRAGMA foreign_keys=OFF; {statements}")).await.unwrap();
    let mut connection = raw(path).await;
    sqlx::raw_sql("PRAGMA writable_schema = ON").execute(&mut connection).await.unwrap();
    sqlx::query("INSERT INTO sqlite_schema (type, name, tbl_name, rootpage, sql) VALUES ('index', ?, ?, ?, ?)")
        .bind(index)
        .bind(row.0)
        .bind(row.1)
        .bind(row.2)
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

/// On a rowid table an index entry names a rowid, and the row may have become B's: the harness
/// sees that leak. On a tenant table the entry names (organization, key), which is A's or nothing.
#[tokio::test]
async fn l71_a_stale_index_never_leads_to_another_organizations_row() {
    let w = bare(|builder| builder).await;
    let (a, b) = ("0000000000000000000000000000000a", "0000000000000000000000000000000b");
    Employee::insert(&w.a, employee(1, "Eve", None)).execute(&w.db).await.unwrap();
    Employee::insert(&w.a, employee(2, "Fay", Some(1))).execute(&w.db).await.unwrap();
    Employee::insert(&w.b, employee(1, TAINT, None)).execute(&w.db).await.unwrap();

    // The control: the same data under rowids.
    let control = w.path.with_file_name("rowid.db");
    run_raw(
        &control,
        &format!(
            "CREATE TABLE employees (rid INTEGER PRIMARY KEY, organization_id BLOB, id INTEGER, name TEXT, boss INTEGER); \
             CREATE INDEX employees_organization_id_boss_idx ON employees (organization_id, boss); \
             INSERT INTO employees VALUES (1, x'{a}', 2, 'Fay', 1)"
        ),
    )
    .await
    .unwrap();
    behind_the_index(
        &control,
        "employees_organization_id_boss_idx",
        &format!("UPDATE employees SET organization_id = x'{b}', name = '{TAINT}' WHERE rid = 1"),
    )
    .await;
    let mut connection = raw(&control).await;
    let leaked: Vec<(Vec<u8>, String)> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "SELECT organization_id, name FROM employees INDEXED BY employees_organization_id_boss_idx WHERE organization_id = x'{a}' AND boss = 1"
    )))
    .fetch_all(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    assert_eq!(leaked.len(), 1, "the harness cannot fail");
    assert_eq!((leaked[0].0[15], &*leaked[0].1), (0xA, TAINT), "B's row labelled A");

    let index: String = {
        let mut connection = raw(&w.path).await;
        sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'employees' AND sql LIKE '%boss%'")
            .fetch_one(&mut connection)
            .await
            .unwrap()
    };
    behind_the_index(
        &w.path,
        &index,
        &format!(
            "DELETE FROM employees WHERE organization_id = x'{a}' AND id = 2; \
             INSERT INTO employees VALUES (x'{b}', 2, '{TAINT}', 1)"
        ),
    )
    .await;
    let by_boss = || Employee::select(&w.a).filter(employees::boss.eq(1));
    let mut told = vec![
        seen(by_boss().fetch_all(&w.db).await),
        seen(by_boss().fetch_optional(&w.db).await),
        seen(by_boss().columns(employees::name).fetch_all(&w.db).await),
        seen(by_boss().order_by(employees::boss.asc()).page(None, 5).fetch(&w.db).await),
        seen(
            Employee::select(&w.a)
                .left_join_from(employees::boss)
                .filter(employees::id.at(tenantry::table::First).eq(1))
                .fetch_all(&w.db)
                .await,
        ),
        seen(
            Employee::update(&w.a)
                .set(employees::name, "x")
                .filter(employees::boss.eq(1))
                .returning()
                .fetch_all(&w.db)
                .await,
        ),
        seen(
            Employee::delete(&w.a).filter(employees::boss.eq(1)).returning().fetch_all(&w.db).await,
        ),
    ];
    w.db.close().await;
    if let Ok(db) = builder(&w.issuer).connect(&url(&w.path), schema()).await {
        told.push(seen(by_boss().fetch_all(&db).await));
    }
    assert!(told.iter().all(|told| !told.contains(TAINT)), "{told:?}");
    let theirs = others(&w.path, w.a.organization()).await;
    assert_eq!(theirs.iter().filter(|row| row.contains(TAINT)).count(), 2, "{theirs:?}");
}

/// Beside the library, where nothing is scoped, the keys alone confine a REPLACE to the rows of the
/// organization that it names.
#[tokio::test]
async fn l11_the_declared_keys_themselves_keep_a_raw_replace_inside_one_organization() {
    let w = world().await;
    let b = w.b.organization().to_string().replace('-', "");
    let before = others(&w.path, w.a.organization()).await;
    let a = w.a.organization().to_string().replace('-', "");
    run_raw(&w.path, &format!("PRAGMA foreign_keys=ON; INSERT OR REPLACE INTO employees VALUES (x'{a}', 1, 'Raw', NULL)"))
        .await
        .unwrap();
    assert_eq!(others(&w.path, w.a.organization()).await, before);
    assert!(before.iter().any(|row| row.to_lowercase().contains(&b)));
}
