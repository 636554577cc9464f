//! What stands beside the declared tables, and the connection.

use super::*;

#[tokio::test]
async fn tables_beside_the_schema() {
    let mut store = Store::with(
        ORDERS,
        ORDER_ROWS,
        &[
            "CREATE TABLE invoices (id INTEGER PRIMARY KEY, o INTEGER, org INTEGER, FOREIGN KEY (org, o) REFERENCES orders (organization_id, id) ON DELETE CASCADE)",
            "CREATE TABLE notes (id INTEGER PRIMARY KEY, ORGANIZATION_ID INTEGER)",
            "CREATE TABLE harmless (id INTEGER PRIMARY KEY REFERENCES genres)",
        ],
    )
    .await;
    store
        .run("CREATE TABLE lines (id INTEGER PRIMARY KEY, o INTEGER REFERENCES orders (id))")
        .await;
    let report = store.report().await;
    let found: Vec<(&str, &str, Severity)> = report
        .findings()
        .iter()
        .map(|finding| (finding.code(), finding.object(), finding.severity()))
        .collect();
    assert_eq!(
        found,
        [
            ("sqlite-outside-reference", "lines/o", Severity::Fatal),
            ("sqlite-outside-reference", "invoices/org,o", Severity::Warning),
            ("sqlite-undeclared-tenant-table", "notes", Severity::Warning),
        ]
    );
    assert!(report.findings().iter().all(|finding| !finding.advice().is_empty()));
}

#[tokio::test]
async fn triggers_and_views() {
    let mut store = Store::with(
        ORDERS,
        ORDER_ROWS,
        &[
            "CREATE TABLE logs (id INTEGER PRIMARY KEY, text TEXT)",
            "CREATE TRIGGER touch AFTER UPDATE ON orders BEGIN INSERT INTO logs (text) VALUES ('x'); END",
            "CREATE TRIGGER spread AFTER INSERT ON logs BEGIN UPDATE [ORDERS] SET note = 'x'; END",
            "CREATE TRIGGER quiet AFTER INSERT ON logs BEGIN UPDATE logs SET text = 'reorders' WHERE 0; /* orders */ END",
            "CREATE VIEW everything AS SELECT * FROM 'orders'",
            "CREATE VIEW again AS SELECT id FROM everything",
            "CREATE VIEW names AS SELECT name, 'my orders' FROM genres",
            "CREATE TRIGGER instead INSTEAD OF INSERT ON again BEGIN SELECT 1; END",
            "CREATE VIRTUAL TABLE search USING fts5(note, content='orders', content_rowid='id')",
        ],
    )
    .await;
    let before = store.texts(DUMP).await;
    let report = store.report().await;
    let mut found: Vec<(&str, &str)> =
        report.findings().iter().map(|finding| (finding.code(), finding.object())).collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [
            ("sqlite-trigger", "again/instead"),
            ("sqlite-trigger", "logs/spread"),
            ("sqlite-trigger", "orders/touch"),
            ("sqlite-view", "again"),
            ("sqlite-view", "everything"),
            ("sqlite-view", "search"),
        ]
    );
    assert_eq!(report.fatal().count(), 3);
    store.mend(&report).await;
    assert_eq!(store.look(&[], true).await.findings(), []);
    assert_eq!(store.texts(DUMP).await, before);
    assert_eq!(
        store.texts("SELECT name FROM sqlite_schema WHERE type = 'trigger'").await,
        ["quiet"]
    );
}

#[tokio::test]
async fn what_is_declared_as_a_table_must_be_one() {
    let mut store = Store::empty(schema()).await;
    store.run(CUSTOMERS).await;
    store.run("CREATE VIEW orders AS SELECT 1 AS organization_id, 1 AS id").await;
    store.run("CREATE VIRTUAL TABLE genres USING fts5(id, name)").await;
    let report = store.report().await;
    for object in ["orders", "genres"] {
        let finding = find(&report, "sqlite-not-a-table", object).unwrap();
        assert!(finding.severity() == Severity::Fatal && !finding.advice().is_empty());
    }
}

#[tokio::test]
async fn objects_of_the_connection() {
    let mut store = Store::with(
        ORDERS,
        ORDER_ROWS,
        &[
            "ATTACH ':memory:' AS other",
            "CREATE TABLE other.genres (id)",
            "CREATE TABLE other.fine (id)",
            "CREATE TEMP TABLE Customers_ (id)",
        ],
    )
    .await;
    store.run("CREATE TEMP TABLE orders (id)").await;
    store.run("CREATE TEMP TRIGGER mine AFTER DELETE ON main.customers BEGIN SELECT 1; END").await;
    let report = store.report().await;
    let severity = |code, object| find(&report, code, object).map(Finding::severity);
    assert_eq!(severity("sqlite-shadowed", "temp.orders"), Some(Severity::Fatal));
    assert_eq!(severity("sqlite-shadowed", "other.genres"), Some(Severity::Warning));
    assert_eq!(severity("sqlite-trigger", "customers/mine"), Some(Severity::Fatal));
    assert_eq!(report.findings().len(), 3, "{report}");
    store.mend(&report).await;
    assert_eq!(store.look(&[], true).await.findings(), []);

    // Where the file has no such table, the attached one answers.
    store.run("ATTACH ':memory:' AS other").await;
    store.run("CREATE TABLE other.genres (id)").await;
    store.run("DROP TABLE main.genres").await;
    let report = store.report().await;
    assert_eq!(
        find(&report, "sqlite-shadowed", "other.genres").map(Finding::severity),
        Some(Severity::Fatal)
    );
}

#[tokio::test]
async fn the_second_wall_is_no_finding() {
    let mut store = Store::with(
        ORDERS,
        ORDER_ROWS,
        &["CREATE TEMP TABLE tenantry_scope (organization)",
          "CREATE TEMP TRIGGER tenantry_wall_delete_orders BEFORE DELETE ON main.orders WHEN OLD.organization_id IS NOT (SELECT organization FROM temp.tenantry_scope) BEGIN SELECT RAISE(ABORT, 'x'); END"],
    )
    .await;
    store
        .run("CREATE TEMP VIEW orders AS SELECT * FROM main.orders WHERE organization_id = (SELECT organization FROM temp.tenantry_scope)")
        .await;
    assert_eq!(store.look(&[], true).await.findings(), []);
}

#[tokio::test]
async fn settings_of_the_connection() {
    let mut store = Store::with(ORDERS, ORDER_ROWS, &[]).await;
    for pragma in [
        "foreign_keys = OFF",
        "trusted_schema = ON",
        "ignore_check_constraints = ON",
        "writable_schema = ON",
    ] {
        store.run(format!("PRAGMA {pragma}")).await;
    }
    let report = store.report().await;
    assert_eq!(
        codes(&report),
        [
            "sqlite-foreign-keys-off",
            "sqlite-trusted-schema",
            "sqlite-checks-ignored",
            "sqlite-writable-schema"
        ]
    );
    assert_eq!(report.fatal().count(), 1);
    store.mend(&report).await;
    assert_eq!(store.report().await.findings(), []);
}
