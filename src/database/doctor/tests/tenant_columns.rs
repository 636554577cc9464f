//! Declared tables, their keys and tenant columns.

use super::*;

#[tokio::test]
async fn declared_tables_are_clean() {
    let mut store = Store::with(ORDERS, ORDER_ROWS, &[]).await;
    let report = store.look(&[], true).await;
    assert_eq!(report.findings(), [], "{report}");
    // The global table is an old rowid table, which harms nobody.
    assert!(report.is_safe());
    assert_eq!(report.to_string(), "0 fatal findings, 0 warnings");
}

#[tokio::test]
async fn the_ddl_of_every_column_type_and_organization_kind_is_clean() {
    for kind in [OrganizationKind::Integer, OrganizationKind::Text, OrganizationKind::Uuid] {
        let schema = Schema::new().organizations(kind).tenant::<Wide>().global::<Genre>();
        let statements = schema.ddl(Dialect::Sqlite).unwrap();
        let mut store = Store::empty(schema).await;
        let report = store.report().await;
        assert_eq!(codes(&report), ["table-absent", "table-absent"]);
        let remedies: Vec<String> =
            report.findings().iter().flat_map(Finding::remedy).cloned().collect();
        assert_eq!(remedies.len(), statements.len());
        store.mend(&report).await;
        let report = store.look(&[], true).await;
        assert_eq!(report.findings(), [], "{report}");
    }
}

#[tokio::test]
async fn absent_tables_are_named_and_do_not_make_a_database_unsafe() {
    let mut store = Store::empty(schema()).await;
    store.run(GENRES).await;
    let found = examine(&mut store.connection, &store.schema, &[], true).await.unwrap();
    let absent: Vec<&str> = found.absent.iter().map(|table| table.name()).collect();
    // Parents first: `orders` is registered before `customers`, which it refers to.
    assert_eq!(absent, ["customers", "orders"]);
    assert!(found.report.is_safe() && found.report.refusal().is_none());
}

#[tokio::test]
async fn keys() {
    let no_key = edited("    PRIMARY KEY (organization_id, id),\n", "")
        .replace("STRICT, WITHOUT ROWID", "STRICT");
    Case::fatal("sqlite-key-absent", "orders", no_key).check().await;
    let id_first = edited("PRIMARY KEY (organization_id, id)", "PRIMARY KEY (id, organization_id)");
    Case::fatal("sqlite-key-not-per-organization", "orders", id_first).check().await;
    let id_alone = edited("PRIMARY KEY (organization_id, id)", "PRIMARY KEY (id)");
    Case::fatal("sqlite-key-not-per-organization", "orders", id_alone).distinct().check().await;
    let other = edited("PRIMARY KEY (organization_id, id)", "PRIMARY KEY (organization_id, email)");
    Case::warning("sqlite-key-differs", "orders", other).check().await;
    let rowid = edited("STRICT, WITHOUT ROWID", "STRICT");
    Case::fatal("sqlite-rowid-table", "orders", rowid).check().await;
    let loose = edited("STRICT, WITHOUT ROWID", "WITHOUT ROWID");
    Case::warning("sqlite-not-strict", "orders", loose).check().await;
    let sequence = edited("    PRIMARY KEY (organization_id, id),\n", "")
        .replace("    id INTEGER NOT NULL,", "    id INTEGER PRIMARY KEY AUTOINCREMENT,")
        .replace("STRICT, WITHOUT ROWID", "STRICT");
    Case::fatal("sqlite-shared-sequence", "orders", sequence).distinct().check().await;
}

#[tokio::test]
async fn a_key_in_another_order_behind_the_organization_is_clean() {
    let schema = || Schema::new().organizations(OrganizationKind::Integer).tenant::<Pair>();
    let mut store = Store::empty(schema()).await;
    store
        .run(
            "CREATE TABLE pairs (organization_id INTEGER NOT NULL CHECK ((organization_id>0)),
             a INTEGER NOT NULL, b INTEGER NOT NULL, PRIMARY KEY (organization_id, b, a)) STRICT, WITHOUT ROWID",
        )
        .await;
    assert_eq!(store.report().await.findings(), []);
}

#[tokio::test]
async fn tenant_columns() {
    let nullable = edited("organization_id INTEGER NOT NULL", "organization_id INTEGER")
        .replace("STRICT, WITHOUT ROWID", "");
    Case::fatal("sqlite-tenant-nullable", "orders.organization_id", nullable).check().await;
    let default = edited("INTEGER NOT NULL CHECK", "INTEGER NOT NULL DEFAULT 1 CHECK");
    Case::fatal("sqlite-tenant-default", "orders.organization_id", default).check().await;
    let unchecked = edited(" CHECK (organization_id > 0)", "");
    Case::warning("sqlite-tenant-unchecked", "orders.organization_id", unchecked).check().await;
    let fooled = edited("CHECK (organization_id > 0)", "CHECK (organization_id > 0 OR 1)");
    Case::warning("sqlite-tenant-unchecked", "orders.organization_id", fooled).check().await;
    // Integers do not meet collations.
    let collation = edited("INTEGER NOT NULL CHECK", "INTEGER NOT NULL COLLATE NOCASE CHECK");
    Case::warning("sqlite-tenant-collation", "orders.organization_id", collation).check().await;
}

#[tokio::test]
async fn a_check_in_other_words_and_places_counts() {
    for check in [
        r#"CHECK ( ( "organization_id" > 0 ) )"#,
        "CONSTRAINT positive CHECK ([Organization_Id]>0)",
        "CHECK (`organization_id` /* < */ > 0)",
    ] {
        let mut store =
            Store::with(&edited("CHECK (organization_id > 0)", check), ORDER_ROWS, &[]).await;
        assert_eq!(store.report().await.findings(), [], "{check}");
    }
    let table = edited(" CHECK (organization_id > 0)", "").replace(
        "UNIQUE (organization_id, email)",
        "CHECK (organization_id > 0), UNIQUE (organization_id, email)",
    );
    let mut store = Store::with(&table, ORDER_ROWS, &[]).await;
    assert_eq!(store.report().await.findings(), []);
}

#[tokio::test]
async fn a_tenant_column_of_another_type_is_converted_or_refused() {
    let text = edited("organization_id INTEGER NOT NULL CHECK (organization_id > 0)", "organization_id TEXT NOT NULL")
        .replace("    FOREIGN KEY (organization_id, customer_id) REFERENCES customers (organization_id, id)\n", "")
        .replace("UNIQUE (organization_id, email),", "UNIQUE (organization_id, email)");
    let mut store = Store::with(&text, ORDER_ROWS, &[]).await;
    assert_eq!(store.texts("SELECT DISTINCT typeof(organization_id) FROM orders").await, ["text"]);
    let report = store.report().await;
    let finding = find(&report, "sqlite-tenant-type", "orders.organization_id").unwrap();
    assert_eq!(finding.severity(), Severity::Fatal);
    let before = store.texts(DUMP).await;
    store.mend(&report).await;
    assert_eq!(store.look(&[], true).await.findings(), []);
    let unquoted: Vec<String> =
        before.iter().map(|row| row.replacen("'1'", "1", 1).replacen("'2'", "2", 1)).collect();
    assert_eq!(store.texts(DUMP).await, unquoted);

    // '1 ' and '01' are other organizations than 1: none of them is merged into it.
    for foreign in ["1 ", "01", "1.0", "one"] {
        let mut store = Store::with(&text, ORDER_ROWS, &[]).await;
        store.run(format!("UPDATE orders SET organization_id = '{foreign}' WHERE id = 102")).await;
        let report = store.report().await;
        let remedy =
            find(&report, "sqlite-tenant-type", "orders.organization_id").unwrap().remedy();
        let mut failed = false;
        for statement in
            remedy.iter().take_while(|statement| !statement.starts_with("DROP TABLE \""))
        {
            failed |= store.try_run(statement.clone()).await.is_err();
        }
        assert!(failed, "{foreign}");
    }
}

#[tokio::test]
async fn an_absent_tenant_column_is_filled_by_the_operator() {
    let single = edited("    organization_id INTEGER NOT NULL CHECK (organization_id > 0),\n", "")
        .replace("PRIMARY KEY (organization_id, id)", "PRIMARY KEY (id)")
        .replace("UNIQUE (organization_id, email)", "UNIQUE (email)")
        .replace(
            "FOREIGN KEY (organization_id, customer_id) REFERENCES customers (organization_id, id)",
            "CHECK (id)",
        );
    let mut store = Store::empty(schema()).await;
    for sql in [CUSTOMERS, &single, GENRES] {
        store.run(sql).await;
    }
    store.run("INSERT INTO customers VALUES (7, 10, 'Ann')").await;
    store.run("INSERT INTO orders VALUES (1, 10, 'a@x', NULL, 5), (2, 10, 'b@x', 'n', 6)").await;
    let report = store.report().await;
    let finding = find(&report, "sqlite-tenant-column-absent", "orders.organization_id").unwrap();
    assert_eq!(finding.severity(), Severity::Fatal);
    assert!(finding.caution().contains(":organization"), "{}", finding.caution());
    assert!(finding.remedy().iter().any(|sql| sql.contains("SELECT :organization, ")));
    store.mend(&report).await;
    assert_eq!(store.look(&[], true).await.findings(), []);
    assert_eq!(store.texts(DUMP).await, ["7|1|10|'a@x'|NULL|5", "7|2|10|'b@x'|'n'|6"]);
}

#[tokio::test]
async fn a_generated_tenant_column_becomes_a_plain_one() {
    let generated = edited(
        "organization_id INTEGER NOT NULL CHECK (organization_id > 0)",
        "organization_id INTEGER NOT NULL GENERATED ALWAYS AS (owner) STORED, owner INTEGER",
    )
    .replace("PRIMARY KEY (organization_id, id)", "PRIMARY KEY (id)");
    let mut store = Store::empty(schema()).await;
    for sql in [CUSTOMERS, &generated, GENRES, CUSTOMER_ROWS] {
        store.run(sql).await;
    }
    store
        .run("INSERT INTO orders (owner, id, customer_id, email, placed_at) VALUES (2, 1, 12, 'a@x', 5)")
        .await;
    let before = store.texts(DUMP).await;
    let report = store.report().await;
    let finding = find(&report, "sqlite-tenant-generated", "orders.organization_id").unwrap();
    assert_eq!(finding.severity(), Severity::Fatal);
    store.mend(&report).await;
    assert_eq!(store.look(&[], true).await.findings(), []);
    assert_eq!(store.texts(DUMP).await, before);
    assert_eq!(store.texts("SELECT quote(owner) FROM orders").await, ["2"]);
}

#[tokio::test]
async fn collations() {
    let email = edited("email TEXT NOT NULL", "email TEXT NOT NULL COLLATE NOCASE");
    Case::warning("sqlite-column-collation", "orders.email", email.clone()).check().await;
    let quoted = edited("note TEXT", "note TEXT COLLATE 'RTRIM'");
    Case::warning("sqlite-column-collation", "orders.note", quoted).check().await;
    let index = "CREATE INDEX by_note ON orders (organization_id, note COLLATE NOCASE)";
    Case::warning("sqlite-column-collation", "orders/by_note", ORDERS.to_owned())
        .extra(&[index])
        .check()
        .await;
    let index = "CREATE INDEX by_note ON orders (organization_id COLLATE NOCASE, note)";
    Case::warning("sqlite-tenant-collation", "orders/by_note", ORDERS.to_owned())
        .extra(&[index])
        .check()
        .await;
    // Named elsewhere than on the column, a collation is none of the column.
    for harmless in [
        "note TEXT DEFAULT 'COLLATE NOCASE'",
        "note TEXT /* COLLATE NOCASE */",
        "note TEXT CHECK (note <> 'x' COLLATE NOCASE)",
        "note TEXT COLLATE NOCASE COLLATE BINARY",
    ] {
        let mut store = Store::with(&edited("note TEXT", harmless), ORDER_ROWS, &[]).await;
        assert_eq!(store.report().await.findings(), [], "{harmless}");
    }
}

#[tokio::test]
async fn textual_organizations_and_collations() {
    let schema = || Schema::new().organizations(OrganizationKind::Text).tenant::<Customer>();
    let table = "CREATE TABLE customers (
        organization_id TEXT NOT NULL COLLATE NOCASE CHECK (length(organization_id) BETWEEN 1 AND 64),
        id INTEGER NOT NULL, name TEXT NOT NULL, PRIMARY KEY (organization_id, id)) STRICT, WITHOUT ROWID";
    let mut store = Store::empty(schema()).await;
    store.run(table).await;
    store.run("INSERT INTO customers VALUES ('Acme', 1, 'Ann'), ('acme', 2, 'Bob')").await;
    let report = store.report().await;
    let finding = find(&report, "sqlite-tenant-collation", "customers.organization_id").unwrap();
    assert_eq!(finding.severity(), Severity::Fatal);
    store.mend(&report).await;
    assert_eq!(store.look(&[], true).await.findings(), []);
    assert_eq!(
        store
            .texts("SELECT organization_id || id FROM customers WHERE organization_id = 'acme'")
            .await,
        ["acme2"]
    );

    // A unique index that takes two organizations for one tells each of the other.
    let mut store = Store::empty(schema()).await;
    store.run(table.replace(" COLLATE NOCASE", "")).await;
    store
        .run("CREATE UNIQUE INDEX names ON customers (organization_id COLLATE NOCASE, name)")
        .await;
    let report = store.report().await;
    let finding = find(&report, "sqlite-tenant-collation", "customers/names").unwrap();
    assert_eq!(finding.severity(), Severity::Fatal);
    store.mend(&report).await;
    assert_eq!(codes(&store.report().await), ["unique-undeclared"]);
}
