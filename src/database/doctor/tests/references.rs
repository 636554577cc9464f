//! References, and global tables.

use super::*;

#[tokio::test]
async fn foreign_keys() {
    const COMPOSITE: &str =
        "FOREIGN KEY (organization_id, customer_id) REFERENCES customers (organization_id, id)";
    let object = "orders/organization_id,customer_id";
    let nulls = edited(COMPOSITE, &format!("{COMPOSITE} ON DELETE SET NULL"));
    Case::fatal("sqlite-reference-nulls-tenant", object, nulls).check().await;
    let nulls = edited(COMPOSITE, &format!("{COMPOSITE} ON UPDATE SET DEFAULT"));
    Case::fatal("sqlite-reference-nulls-tenant", object, nulls).check().await;
    let cascade = edited(COMPOSITE, &format!("{COMPOSITE} ON DELETE CASCADE"));
    Case::warning("sqlite-reference-action", object, cascade).check().await;
    let cascade = edited(COMPOSITE, &format!("{COMPOSITE} ON UPDATE CASCADE"));
    Case::warning("sqlite-reference-action", object, cascade).check().await;
    let deferred = edited(COMPOSITE, &format!("{COMPOSITE} DEFERRABLE INITIALLY DEFERRED"));
    Case::warning("sqlite-reference-deferred", "orders", deferred).check().await;
    let absent = edited(COMPOSITE, "CHECK (id)");
    Case::warning("reference-absent", object, absent).check().await;
    // The parent lacks the key that the reference needs, until the remedies make it.
    let single = edited(COMPOSITE, "FOREIGN KEY (customer_id) REFERENCES customers (id)");
    let mut store = Store::empty(schema()).await;
    let parents = CUSTOMERS.replace("PRIMARY KEY (organization_id, id)", "PRIMARY KEY (id)");
    for sql in [parents.as_str(), &single, GENRES, PLACED, CUSTOMER] {
        store.run(sql).await;
    }
    store.run("INSERT INTO customers VALUES (1, 10, 'Ann'), (2, 12, 'Cyd')").await;
    store
        .run("INSERT INTO orders VALUES (1, 1, 10, 'a@x', NULL, 5), (2, 1, 12, 'a@x', NULL, 6)")
        .await;
    let before = store.texts(DUMP).await;
    let report = store.report().await;
    let finding =
        find(&report, "sqlite-reference-not-per-organization", "orders/customer_id").unwrap();
    assert!(!finding.caution().contains("left out"), "{}", finding.caution());
    assert_eq!(finding.severity(), Severity::Fatal);
    assert!(find(&report, "reference-absent", object).is_none());
    store.mend(&report).await;
    assert_eq!(store.look(&[], true).await.findings(), []);
    assert_eq!(store.texts(DUMP).await, before);

    // Paired with another column than the tenant column, it holds nothing together.
    let crossed = edited(
        COMPOSITE,
        "FOREIGN KEY (organization_id, customer_id) REFERENCES customers (id, organization_id)",
    );
    let mut store = Store::empty(schema()).await;
    for sql in [CUSTOMERS, &crossed, GENRES, PLACED, CUSTOMER] {
        store.run(sql).await;
    }
    let report = store.report().await;
    assert!(find(&report, "sqlite-reference-not-per-organization", object).is_some(), "{report}");

    for harmless in [
        format!("{COMPOSITE} ON DELETE RESTRICT ON UPDATE RESTRICT"),
        format!("{COMPOSITE} DEFERRABLE INITIALLY IMMEDIATE"),
        "FOREIGN KEY (customer_id, organization_id) REFERENCES Customers (id, organization_id)"
            .to_owned(),
        "FOREIGN KEY (organization_id, customer_id) REFERENCES customers".to_owned(),
    ] {
        let mut store = Store::with(&edited(COMPOSITE, &harmless), ORDER_ROWS, &[]).await;
        assert_eq!(store.report().await.findings(), [], "{harmless}");
    }
}

#[tokio::test]
async fn tables_that_refer_to_themselves_and_each_other_are_rebuilt() {
    let schema =
        Schema::new().organizations(OrganizationKind::Integer).tenant::<Staff>().tenant::<Team>();
    let declared = schema.ddl(Dialect::Sqlite).unwrap();
    let mut store = Store::empty(schema).await;
    for statement in &declared {
        store.run(statement.replace("STRICT, WITHOUT ROWID", "")).await;
    }
    store.run("INSERT INTO teams VALUES (1, 1, NULL), (2, 1, NULL)").await;
    store.run("INSERT INTO staff VALUES (1, 1, NULL, 1), (1, 2, 1, 1), (2, 1, 1, 1)").await;
    store.run("UPDATE teams SET lead = 1").await;
    let report = store.report().await;
    assert_eq!(report.fatal().count(), 2, "{report}");
    store.mend(&report).await;
    assert_eq!(store.look(&[], true).await.findings(), []);
    assert!(
        store.try_run("INSERT INTO staff VALUES (2, 2, 2, NULL), (2, 3, 9, NULL)").await.is_err()
    );
    assert!(store.try_run("INSERT INTO staff VALUES (2, 2, 1, 9)").await.is_err());
    store.run("UPDATE teams SET lead = NULL WHERE organization_id = 1").await;
    store.run("DELETE FROM teams WHERE organization_id = 1").await;
    assert_eq!(store.texts("SELECT organization_id || ':' || id FROM staff").await, ["2:1"]);
    let sql = store.texts("SELECT group_concat(sql) FROM sqlite_schema").await.concat();
    assert!(!sql.contains("tenantry_rebuild"), "{sql}");
}

#[tokio::test]
async fn references_that_lack_a_key_or_a_declaration() {
    let mut store = Store::empty(schema()).await;
    let parents = CUSTOMERS
        .replace("PRIMARY KEY (organization_id, id)", "PRIMARY KEY (organization_id, name)");
    for sql in [parents.as_str(), ORDERS, GENRES, PLACED, CUSTOMER] {
        store.run(sql).await;
    }
    store.run("PRAGMA foreign_keys = OFF").await;
    store.run("INSERT INTO customers VALUES (1, 10, 'Ann')").await;
    store.run("INSERT INTO orders VALUES (1, 1, 10, 'a@x', NULL, 5)").await;
    let before = store.texts(DUMP).await;
    let report = store.report().await;
    assert_eq!(
        codes(&report),
        ["sqlite-foreign-keys-off", "sqlite-key-differs", "reference-mismatch"]
    );
    store.mend(&report).await;
    assert_eq!(store.look(&[], true).await.findings(), []);
    assert_eq!(store.texts(DUMP).await, before);

    let tenants = "organization_id INTEGER NOT NULL REFERENCES tenants ON DELETE CASCADE CHECK";
    let table = edited("organization_id INTEGER NOT NULL CHECK", tenants);
    let mut store = Store::empty(schema()).await;
    for sql in [
        "CREATE TABLE tenants (id INTEGER PRIMARY KEY)",
        CUSTOMERS,
        &table,
        GENRES,
        PLACED,
        CUSTOMER,
    ] {
        store.run(sql).await;
    }
    let report = store.report().await;
    assert_eq!(codes(&report), ["reference-undeclared"], "{report}");
    assert!(report.findings()[0].remedy().is_empty());
    let accepted = [Acceptance::new("reference-undeclared", "orders/organization_id")];
    assert_eq!(store.look(&accepted, true).await.findings(), []);

    let cascade = edited(
        "customer_id INTEGER NOT NULL",
        "customer_id INTEGER NOT NULL REFERENCES genres ON DELETE CASCADE",
    );
    let mut store = Store::empty(schema()).await;
    for sql in [GENRES, CUSTOMERS, &cascade, PLACED, CUSTOMER] {
        store.run(sql).await;
    }
    let report = store.report().await;
    let finding = find(&report, "sqlite-reference-action", "orders/customer_id").unwrap();
    assert_eq!(finding.severity(), Severity::Fatal);
    let expected = "the foreign key (customer_id) to `genres` is left out";
    assert!(finding.caution().contains(expected), "{}", finding.caution());
    store.mend(&report).await;
    assert_eq!(store.look(&[], true).await.findings(), []);
}

#[tokio::test]
async fn global_tables() {
    let mut store = Store::empty(schema()).await;
    for sql in [CUSTOMERS, ORDERS, PLACED, CUSTOMER] {
        store.run(sql).await;
    }
    store
        .run(
            "CREATE TABLE Genres (id INTEGER, name TEXT NOT NULL, Organization_Id INTEGER, c INTEGER,
             FOREIGN KEY (organization_id, c) REFERENCES customers)",
        )
        .await;
    let report = store.report().await;
    let finding =
        find(&report, "sqlite-global-with-tenant-column", "genres.Organization_Id").unwrap();
    assert!(finding.severity() == Severity::Fatal && finding.remedy().is_empty());
    let finding = find(&report, "sqlite-outside-reference", "genres/Organization_Id,c");
    let finding = finding
        .or_else(|| find(&report, "sqlite-outside-reference", "genres/organization_id,c"))
        .unwrap();
    assert_eq!(finding.severity(), Severity::Fatal);
    assert!(find(&report, "sqlite-key-differs", "genres").is_some());
    assert!(find(&report, "sqlite-not-strict", "genres").is_some());
    assert!(find(&report, "sqlite-rowid-table", "genres").is_none());
}
