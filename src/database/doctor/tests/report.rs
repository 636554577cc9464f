//! Rows in depth, acceptances, and the report.

use super::*;

#[tokio::test]
async fn rows_are_examined_in_depth_alone() {
    let loose = edited("STRICT, WITHOUT ROWID", "WITHOUT ROWID")
        .replace(" CHECK (organization_id > 0)", "");
    let mut store = Store::with(&loose, ORDER_ROWS, &[]).await;
    store.run("PRAGMA foreign_keys = OFF").await;
    store
        .run("INSERT INTO orders VALUES (0, 1, 10, 'x', NULL, 1), ('acme', 1, 10, 'x', NULL, 1)")
        .await;
    store
        .run("INSERT INTO orders VALUES (1, 7, 99, 'y', NULL, 'now'), (1, 8, 12, 'z', x'00', 1)")
        .await;
    store.run("PRAGMA foreign_keys = ON").await;
    let shallow = store.report().await;
    assert!(shallow.is_safe(), "{shallow}");
    let report = store.look(&[], true).await;
    let advice =
        |code, object| find(&report, code, object).map(|finding| finding.advice().to_owned());
    assert!(advice("tenant-value", "orders.organization_id").unwrap().starts_with("2 rows"));
    assert!(advice("column-value", "orders.placed_at").unwrap().starts_with("1 rows"));
    assert!(advice("column-value", "orders.note").unwrap().starts_with("1 rows"));
    // Customer 12 is organization 2's: for 1 it does not exist.
    assert!(
        advice("reference-dangling", "orders/organization_id,customer_id")
            .unwrap()
            .starts_with("4 rows")
    );
    assert!(!report.is_safe());
}

#[tokio::test]
async fn a_damaged_index_is_found_and_mended() {
    let mut store = Store::with(ORDERS, ORDER_ROWS, &[]).await;
    store.run("PRAGMA writable_schema = ON").await;
    store
        .run("UPDATE sqlite_schema SET sql = replace(sql, 'placed_at', 'note') WHERE name = 'orders_placed'")
        .await;
    store.run("PRAGMA writable_schema = RESET").await;
    store.run("PRAGMA writable_schema = OFF").await;
    assert!(find(&store.report().await, "sqlite-integrity", "main").is_none());
    let before = store.texts(DUMP).await;
    let report = store.look(&[], true).await;
    let finding = find(&report, "sqlite-integrity", "main").unwrap();
    assert_eq!(finding.severity(), Severity::Fatal);
    assert_eq!(finding.remedy().first().map(String::as_str), Some("REINDEX"));
    store.mend(&report).await;
    let after = store.look(&[], true).await;
    assert_eq!(after.findings(), [], "{after}");
    assert_eq!(store.texts(DUMP).await, before);
}

#[tokio::test]
async fn acceptances() {
    let table = edited(
        "UNIQUE (organization_id, email)",
        "UNIQUE (organization_id, email) ON CONFLICT REPLACE",
    );
    let mut store = Store::with(&table, ORDER_ROWS, &[]).await;
    assert!(!store.report().await.is_safe());
    let accepted = [
        Acceptance::new("sqlite-conflict-clause", "Orders"),
        Acceptance::new("sqlite-trigger", "orders/gone".to_owned()),
        Acceptance::new("postgres-anything", "orders"),
        Acceptance::new("column-value", "orders.email"),
    ];
    let report = store.look(&accepted, false).await;
    assert!(report.is_safe() && report.refusal().is_none());
    assert_eq!(report.accepted()[0].code(), "sqlite-conflict-clause");
    // What only rows can show is not unused before they are examined.
    let unused = |report: &Report| -> Vec<String> {
        report
            .findings()
            .iter()
            .map(|finding| format!("{} {}", finding.code(), finding.object()))
            .collect()
    };
    assert_eq!(unused(&report), ["acceptance-unused orders/gone"]);
    let report = store.look(&accepted, true).await;
    assert_eq!(
        unused(&report),
        ["acceptance-unused orders/gone", "acceptance-unused orders.email"]
    );
}

#[tokio::test]
async fn an_accepted_finding_asks_for_no_rebuild() {
    let table = edited("STRICT, WITHOUT ROWID", "WITHOUT ROWID");
    let index = "CREATE INDEX notes ON orders (note)";
    let mut store = Store::with(&table, ORDER_ROWS, &[index]).await;
    let accepted = [Acceptance::new("sqlite-not-strict", "orders")];
    let report = store.look(&accepted, false).await;
    let finding = find(&report, "sqlite-index-not-per-organization", "orders/notes").unwrap();
    assert_eq!(
        finding.remedy(),
        [
            "DROP INDEX IF EXISTS \"notes\"",
            "CREATE INDEX IF NOT EXISTS \"notes\" ON \"orders\" (\"organization_id\", \"note\")"
        ]
    );
    store.mend(&report).await;
    assert_eq!(store.look(&accepted, true).await.findings(), []);
}

#[tokio::test]
async fn a_report_reads_well_and_travels_as_data() {
    let table = edited("STRICT, WITHOUT ROWID", "");
    let mut store =
        Store::with(&table, ORDER_ROWS, &["CREATE VIEW v AS SELECT * FROM orders"]).await;
    let accepted = [Acceptance::new("sqlite-view", "v")];
    let report = store.look(&accepted, false).await;
    let text = report.to_string();
    assert!(text.starts_with("1 fatal finding, 1 warning, 1 accepted\n\nseverity  code                object  gain\nfatal     sqlite-rowid-table  orders  an index entry"), "{text}");
    assert!(text.contains("\nwarning   sqlite-not-strict   orders  values"), "{text}");
    assert!(text.contains("\naccepted  sqlite-view         v       whoever"), "{text}");
    // One rebuild mends both and is written once.
    assert_eq!(text.matches("BEGIN IMMEDIATE").count(), 1, "{text}");
    assert!(
        text.contains("remedy for `orders` (sqlite-rowid-table), `orders` (sqlite-not-strict)"),
        "{text}"
    );

    let refusal = report.refusal().unwrap();
    assert_eq!(refusal.kind(), crate::ErrorKind::Unconfigured);
    let refusal = refusal.to_string();
    assert!(
        refusal.contains("sqlite-rowid-table on `orders`") && refusal.contains("BEGIN IMMEDIATE"),
        "{refusal}"
    );
    assert!(!refusal.contains("sqlite-not-strict"), "{refusal}");
    let statements = report.findings()[0].remedy();
    for statement in statements {
        assert!(refusal.lines().any(|line| line.trim() == format!("{statement};")), "{refusal}");
    }

    let json: serde_json::Value = serde_json::to_value(&report).unwrap();
    assert_eq!(json["safe"], false);
    assert_eq!(json["findings"][0]["code"], "sqlite-rowid-table");
    assert_eq!(json["findings"][0]["severity"], "fatal");
    assert_eq!(json["findings"][0]["object"], "orders");
    assert!(json["findings"][0]["remedy"].as_array().unwrap().len() > 8);
    assert_eq!(json["accepted"][0]["code"], "sqlite-view");
}

#[test]
fn the_manual_has_a_row_for_every_code_with_its_severity() {
    let manual = include_str!("../../../../docs/doctor.md");
    for rule in rules::ALL {
        let row = manual
            .lines()
            .find(|line| line.starts_with(&format!("| `{}` |", rule.code)))
            .unwrap_or_else(|| panic!("{} is not in docs/doctor.md", rule.code));
        assert!(row.contains(&rule.severity.to_string()), "{row}");
    }
    let rows = manual.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, rules::ALL.len());
}
