//! What the doctor compares of a definition: conflicts, columns, sets, indexes, storage forms.

use super::*;

#[tokio::test]
async fn conflict_clauses() {
    for clause in [
        ("UNIQUE (organization_id, email)", "UNIQUE (organization_id, email) ON CONFLICT REPLACE"),
        (
            "PRIMARY KEY (organization_id, id)",
            "PRIMARY KEY (organization_id, id) on /**/ conflict\nIgnore",
        ),
        ("email TEXT NOT NULL", "email TEXT NOT NULL ON CONFLICT FAIL"),
        ("UNIQUE (", "CHECK (note <> 'y') ON CONFLICT ROLLBACK UNIQUE ("),
    ] {
        Case::fatal("sqlite-conflict-clause", "orders", edited(clause.0, clause.1)).check().await;
    }
    for harmless in [
        "note TEXT DEFAULT 'x ON CONFLICT REPLACE'",
        "note TEXT -- ON CONFLICT REPLACE\n",
        "note TEXT /* ON CONFLICT REPLACE */",
        "note TEXT UNIQUE ON CONFLICT ABORT",
        "note TEXT, \"on\" TEXT, \"conflict\" TEXT, \"replace\" TEXT",
        "note TEXT CHECK (note NOT IN ('ON CONFLICT', 'REPLACE'))",
    ] {
        let mut store = Store::with(&edited("note TEXT", harmless), ORDER_ROWS, &[]).await;
        let report = store.report().await;
        assert!(find(&report, "sqlite-conflict-clause", "orders").is_none(), "{report}");
    }
    // On a global table it is nothing between organizations.
    let mut store = Store::empty(schema()).await;
    store.run("CREATE TABLE genres (id INTEGER PRIMARY KEY ON CONFLICT REPLACE, name TEXT NOT NULL) STRICT").await;
    let report = store.report().await;
    let finding = find(&report, "sqlite-conflict-clause", "genres").unwrap();
    assert_eq!(finding.severity(), Severity::Warning);
}

#[tokio::test]
async fn a_definition_that_readers_may_take_differently_is_fatal() {
    // The remedy writes the names in quotes, which everybody reads alike.
    for hidden in ["note TEXT, a$t$ TEXT, b$t$ TEXT", "note TEXT, \u{1f4a5} TEXT"] {
        let table = edited("note TEXT", hidden);
        Case::fatal("sqlite-definition-unreadable", "orders", table).check().await;
    }
    let table = edited("note TEXT", "note TEXT UNIQUE ON\u{c}CONFLICT REPLACE");
    Case::fatal("sqlite-conflict-clause", "orders", table)
        .leaves(&["unique-undeclared"])
        .check()
        .await;
}

#[tokio::test]
async fn objects_that_the_store_itself_cannot_read_do_not_stop_the_doctor() {
    let mut store =
        Store::with(ORDERS, ORDER_ROWS, &["CREATE VIEW broken AS SELECT * FROM missing"]).await;
    store.run("PRAGMA writable_schema = ON").await;
    store
        .run(
            "INSERT INTO sqlite_schema (type, name, tbl_name, rootpage, sql)
             VALUES ('table', 'geo', 'geo', 0, 'CREATE VIRTUAL TABLE geo USING unknown(orders)')",
        )
        .await;
    store.run("PRAGMA writable_schema = RESET").await;
    store.run("PRAGMA writable_schema = OFF").await;
    let report = store.report().await;
    assert_eq!(codes(&report), ["sqlite-view"], "{report}");
    let report = store.look(&[], true).await;
    assert!(find(&report, "sqlite-view", "geo").is_some(), "{report}");
}

#[tokio::test]
async fn absent_columns_come_with_their_checks() {
    let schema = || Schema::new().tenant::<Wide>().global::<Genre>();
    let declared = schema().ddl(Dialect::Sqlite).unwrap();
    let mut store = Store::empty(schema()).await;
    store.run(GENRES).await;
    for statement in &declared {
        let (before, rest) = statement.split_once(", \"maybe_flag\"").unwrap_or((statement, ""));
        let after = rest.split_once(", PRIMARY KEY").map_or("", |(_, after)| after);
        let key = if after.is_empty() { "" } else { ", PRIMARY KEY" };
        store.run(format!("{before}{key}{after}")).await;
    }
    let report = store.report().await;
    assert_eq!(codes(&report), ["column-absent"; 6], "{report}");
    store.mend(&report).await;
    assert_eq!(store.look(&[], true).await.findings(), []);
    let sql = "SELECT sql FROM sqlite_schema WHERE name = 'Wide Table'";
    let table = store.texts(sql).await.concat();
    assert!(table.contains("IN ( 'open' , 'it''s paid' )"), "{table}");
}

#[tokio::test]
async fn columns_absent_generated_required_and_nullable() {
    let absent = edited("    note TEXT,\n", "");
    let mut store = Store::empty(schema()).await;
    for sql in [CUSTOMERS, &absent, GENRES, PLACED, CUSTOMER, CUSTOMER_ROWS] {
        store.run(sql).await;
    }
    store.run("INSERT INTO orders VALUES (1, 1, 10, 'a@x', 5), (2, 1, 12, 'a@x', 6)").await;
    let report = store.report().await;
    let finding = find(&report, "column-absent", "orders.note").unwrap();
    assert_eq!(finding.remedy(), ["ALTER TABLE \"orders\" ADD COLUMN \"note\" TEXT"]);
    assert!(report.is_safe());
    store.mend(&report).await;
    assert_eq!(store.look(&[], true).await.findings(), []);
    assert_eq!(store.texts(DUMP).await, ["1|1|10|'a@x'|NULL|5", "2|1|12|'a@x'|NULL|6"]);

    let absent = edited("    placed_at INTEGER NOT NULL,\n", "");
    let mut store = Store::empty(schema()).await;
    for sql in [CUSTOMERS, &absent, GENRES, CUSTOMER_ROWS] {
        store.run(sql).await;
    }
    store.run("INSERT INTO orders VALUES (1, 1, 10, 'a@x', 'n')").await;
    let report = store.report().await;
    assert!(
        find(&report, "column-absent", "orders.placed_at").unwrap().advice().contains(":placed_at")
    );
    store.mend(&report).await;
    assert_eq!(store.look(&[], true).await.findings(), []);
    assert_eq!(store.texts(DUMP).await, ["1|1|10|'a@x'|'n'|1234"]);

    let not_null = edited("note TEXT", "note TEXT NOT NULL DEFAULT ''");
    let mut store = Store::with(&not_null, &ORDER_ROWS.replace("NULL", "'z'"), &[]).await;
    let report = store.report().await;
    assert!(find(&report, "column-nullability", "orders.note").is_some());
    store.mend(&report).await;
    assert_eq!(store.look(&[], true).await.findings(), []);

    let nullable = edited("email TEXT NOT NULL", "email TEXT");
    Case::warning("column-nullability", "orders.email", nullable).check().await;

    let generated = edited("note TEXT", "note TEXT GENERATED ALWAYS AS (email) STORED");
    let rows = ORDER_ROWS
        .replace(" note,", "")
        .replace(" NULL,", "")
        .replace(" 'it''s',", "")
        .replace(" 'B',", "")
        .replace(" '',", "");
    let mut store = Store::with(&generated, &rows, &[]).await;
    let before = store.texts(DUMP).await;
    let report = store.report().await;
    assert!(find(&report, "column-generated", "orders.note").is_some(), "{report}");
    store.mend(&report).await;
    assert_eq!(store.look(&[], true).await.findings(), []);
    assert_eq!(store.texts(DUMP).await, before);
}

#[tokio::test]
async fn a_rebuild_keeps_undeclared_columns_indexes_and_accepted_triggers() {
    let table = edited(
        "note TEXT",
        "note TEXT, legacy TEXT NOT NULL, \"old \"\"n\"\"\" INTEGER NOT NULL DEFAULT (1 + 1), made TEXT DEFAULT CURRENT_TIMESTAMP, twice INTEGER AS (id * 2)",
    );
    let mut store = Store::empty(schema()).await;
    for sql in [
        CUSTOMERS,
        &table,
        GENRES,
        PLACED,
        CUSTOMER,
        "CREATE INDEX by_legacy ON orders (legacy, organization_id)",
        "CREATE UNIQUE INDEX by_note ON orders (organization_id, note)",
        "CREATE INDEX by_lower ON orders (organization_id, lower(email))",
        "CREATE TRIGGER kept AFTER DELETE ON orders BEGIN DELETE FROM genres; END",
        "CREATE TRIGGER left AFTER DELETE ON orders BEGIN DELETE FROM genres; END",
        "CREATE VIEW seen AS SELECT * FROM genres",
        "CREATE VIEW all_orders AS SELECT * FROM orders",
        CUSTOMER_ROWS,
        "INSERT INTO orders (organization_id, id, customer_id, email, legacy, placed_at) VALUES (1, 1, 10, 'a@x', 'L', 5)",
    ] {
        store.run(sql).await;
    }
    let accepted = [
        Acceptance::new("sqlite-trigger", "orders/kept"),
        Acceptance::new("sqlite-view", "all_orders"),
    ];
    let report = store.look(&accepted, false).await;
    let required = find(&report, "column-required", "orders.legacy").unwrap();
    for part in ["trigger `left`", "index `by_lower`", "generated column `twice`"] {
        assert!(required.caution().contains(part), "{part}: {}", required.caution());
    }
    assert_eq!(report.accepted().len(), 2);
    let made = store.texts("SELECT made FROM orders").await;
    store.mend(&report).await;
    let after = store.look(&accepted, true).await;
    assert_eq!(codes(&after), ["unique-undeclared"], "{after}");
    assert_eq!(store.texts("SELECT legacy || \"old \"\"n\"\"\" FROM orders").await, ["L2"]);
    assert_eq!(store.texts("SELECT made FROM orders").await, made);
    assert_eq!(
        store
            .texts("SELECT name FROM sqlite_schema WHERE type IN ('trigger', 'view') ORDER BY name")
            .await,
        ["all_orders", "kept", "seen"]
    );
    assert_eq!(
        store.texts("SELECT group_concat(name) FROM pragma_index_info('by_legacy')").await,
        ["organization_id,legacy"]
    );
    store.run("INSERT INTO orders (organization_id, id, customer_id, email, placed_at) VALUES (1, 2, 10, 'b@x', 5)").await;
}

#[tokio::test]
async fn unique_sets() {
    let constraint = edited(
        "UNIQUE (organization_id, email)",
        "UNIQUE (organization_id, email), UNIQUE (email)",
    );
    Case::fatal(
        "sqlite-unique-not-per-organization",
        "orders/sqlite_autoindex_orders_3",
        constraint,
    )
    .distinct()
    .check()
    .await;
    let column = edited("placed_at INTEGER NOT NULL", "placed_at INTEGER NOT NULL UNIQUE");
    Case::fatal("sqlite-unique-not-per-organization", "orders/sqlite_autoindex_orders_1", column)
        .leaves(&["unique-undeclared"])
        .check()
        .await;
    Case::fatal("sqlite-unique-not-per-organization", "orders/emails", ORDERS.to_owned())
        .extra(&["CREATE UNIQUE INDEX emails ON orders (email)"])
        .distinct()
        .check()
        .await;
    Case::fatal("sqlite-unique-not-per-organization", "orders/partial", ORDERS.to_owned())
        .extra(&["CREATE UNIQUE INDEX partial ON orders (note) WHERE note <> ''"])
        .check()
        .await;
    Case::fatal("sqlite-unique-not-per-organization", "orders/expression", ORDERS.to_owned())
        .extra(&["CREATE UNIQUE INDEX expression ON orders (abs(organization_id), lower(email))"])
        .check()
        .await;
    Case::warning("sqlite-index-not-per-organization", "orders/reversed", ORDERS.to_owned())
        .extra(&["CREATE UNIQUE INDEX reversed ON orders (note, organization_id)"])
        .leaves(&["unique-undeclared"])
        .check()
        .await;
    Case::warning("sqlite-index-not-per-organization", "orders/notes", ORDERS.to_owned())
        .extra(&["CREATE INDEX notes ON orders (note)"])
        .check()
        .await;
    for extra in [
        "CREATE UNIQUE INDEX notes ON orders (organization_id, note)",
        "CREATE UNIQUE INDEX notes ON orders (organization_id, note) WHERE note <> ''",
        "CREATE UNIQUE INDEX notes ON orders (organization_id, lower(note))",
    ] {
        let mut store = Store::with(ORDERS, ORDER_ROWS, &[extra]).await;
        let report = store.report().await;
        assert_eq!(codes(&report), ["unique-undeclared"], "{report}");
        assert!(report.is_safe() && report.findings()[0].remedy().is_empty());
    }
    let absent = edited("    UNIQUE (organization_id, email),\n", "");
    Case::warning("unique-absent", "orders/organization_id,email", absent.clone()).check().await;
    // A partial index does not hold what is declared; an index in another order does.
    Case::warning("unique-absent", "orders/organization_id,email", absent.clone())
        .extra(&[
            "CREATE UNIQUE INDEX partial ON orders (organization_id, email) WHERE note IS NULL",
        ])
        .leaves(&["unique-undeclared"])
        .check()
        .await;
    let mut store = Store::with(
        &absent,
        ORDER_ROWS,
        &[
            "CREATE UNIQUE INDEX whole ON orders (organization_id, email)",
            "CREATE INDEX plain ON orders (organization_id, note)",
        ],
    )
    .await;
    assert_eq!(store.report().await.findings(), []);
}

#[tokio::test]
async fn declared_indexes() {
    for extra in [
        &["DROP INDEX orders_placed"][..],
        &[
            "DROP INDEX orders_placed",
            "CREATE INDEX partial ON orders (organization_id, placed_at) WHERE note IS NULL",
        ],
        &[
            "DROP INDEX orders_placed",
            "CREATE INDEX orders_placed_at_idx ON orders (organization_id, note)",
        ],
    ] {
        Case::warning("index-absent", "orders/organization_id,placed_at", ORDERS.to_owned())
            .extra(extra)
            .check()
            .await;
    }
    let mut store = Store::with(
        ORDERS,
        ORDER_ROWS,
        &[
            "DROP INDEX orders_placed",
            "CREATE INDEX longer ON orders (organization_id, placed_at, note)",
        ],
    )
    .await;
    assert_eq!(store.report().await.findings(), []);
}

#[tokio::test]
async fn storage_forms_are_converted_without_loss() {
    let schema = Schema::new().tenant::<Wide>().global::<Genre>();
    let mut store = Store::empty(schema).await;
    store.run(GENRES).await;
    store.run("INSERT INTO genres VALUES (1, 'Rock')").await;
    store
        .run(
            r#"CREATE TABLE "Wide Table" ("ShopId" CHAR(36) NOT NULL, "Id" CHAR(36), part BIGINT,
               "Parent" CHAR(36), n BIGINT, flag VARCHAR(5), bytes TEXT, day DATE, amount DECIMAL(10, 2),
               status VARCHAR(10), ratio NUMERIC, small SMALLINT, number INT, json JSON, "order" TEXT,
               at DATETIME, genre INT, maybe_flag BOOLEAN, maybe_day DATE, maybe_amount TEXT,
               maybe_id UUID, maybe_at TIMESTAMP, maybe_status TEXT,
               PRIMARY KEY ("Id", part))"#,
        )
        .await;
    store
        .run(
            r#"INSERT INTO "Wide Table" VALUES
            ('67e55044-10b1-426f-9247-bb680e5fe0c8', '00000000-0000-4000-8000-00000000000a', 1, NULL, NULL,
             'true', 'raw', '1970-01-02', 12.34, 'open', 5, 7, 8, '{"a":1}', 'x',
             '2024-02-29T12:30:45.123456Z', 1, 0, '2000-01-01', '-0.125',
             '00000000-0000-4000-8000-00000000000b', '1969-12-31 23:59:59.9+00:00', 'it''s paid'),
            ('67E55044-10B1-426F-9247-BB680E5FE0C8', '00000000-0000-4000-8000-00000000000b', 2, NULL, NULL,
             'f', x'00ff', '2024-03-01', 100, 'open', 0.5, -7, -8, '[]', 'y',
             '2024-02-29 12:30:45+02:00', 1, NULL, NULL, NULL, NULL, '2024-02-29 12:30:45.999999999Z', NULL)"#,
        )
        .await;
    let report = store.report().await;
    for column in
        ["bytes", "day", "amount", "flag", "at", "maybe_at", "maybe_amount", "json", "Id", "ratio"]
    {
        let finding = find(&report, "column-storage", &format!("Wide Table.{column}"));
        assert!(finding.is_some(), "{column}\n{report}");
    }
    for column in ["small", "number", "status", "maybe_flag", "order", "part"] {
        assert!(
            find(&report, "column-storage", &format!("Wide Table.{column}")).is_none(),
            "{column}"
        );
    }
    let deep = store.look(&[], true).await;
    assert!(find(&deep, "tenant-value", "Wide Table.ShopId").is_some(), "{deep}");
    assert!(find(&deep, "column-value", "Wide Table.at").is_some(), "{deep}");
    store.mend(&report).await;
    let after = store.look(&[], true).await;
    assert_eq!(after.findings(), [], "{after}");
    let rows = store
        .texts(
            r#"SELECT hex("ShopId") || '|' || hex("Id") || '|' || flag || '|' || hex(bytes) || '|' || day || '|'
            || amount || '|' || quote(ratio) || '|' || small || '|' || number || '|' || json || '|' || at
            || '|' || quote(maybe_flag) || '|' || quote(maybe_day) || '|' || quote(maybe_amount) || '|'
            || quote(maybe_id) || '|' || quote(maybe_at) || '|' || quote(maybe_status) FROM "Wide Table" ORDER BY part"#,
        )
        .await;
    assert_eq!(
        rows,
        [
            "67E5504410B1426F9247BB680E5FE0C8|0000000000004000800000000000000A|1|726177|2440589|1234|5.0|7|8|{\"a\":1}|1709209845123456|0|2451545|-125|X'0000000000004000800000000000000B'|-100000|'it''s paid'",
            "67E5504410B1426F9247BB680E5FE0C8|0000000000004000800000000000000B|0|00FF|2460371|10000|0.5|-7|-8|[]|1709202645000000|NULL|NULL|NULL|NULL|1709209845999999|NULL",
        ]
    );
    let day = Date::from_calendar_date(1970, time::Month::January, 2).unwrap();
    assert_eq!(day.to_julian_day(), 2_440_589);
}

#[tokio::test]
async fn a_value_that_a_conversion_would_change_stops_the_remedy() {
    for (column, bad) in [
        ("amount", "1.005"),
        ("amount", "'12 EUR'"),
        ("amount", "''"),
        ("at", "'yesterday'"),
        ("day", "'soon'"),
        ("flag", "'maybe'"),
        ("\"Id\"", "'not a uuid'"),
        ("maybe_at", "'yesterday'"),
        ("maybe_id", "'abc'"),
        ("json", "'{'"),
        ("maybe_status", "'lost'"),
        ("\"ShopId\"", "'acme'"),
    ] {
        let schema = Schema::new().tenant::<Wide>().global::<Genre>();
        let mut store = Store::empty(schema).await;
        store.run(GENRES).await;
        store.run("INSERT INTO genres VALUES (1, 'Rock')").await;
        store
            .run(
                r#"CREATE TABLE "Wide Table" ("ShopId", "Id", part INT, "Parent", n INT, flag TEXT, bytes,
                   day TEXT, amount NUMERIC, status TEXT, ratio REAL, small INT, number INT, json,
                   "order" TEXT, at TEXT, genre INT, maybe_flag INT, maybe_day INT, maybe_amount INT,
                   maybe_id, maybe_at, maybe_status)"#,
            )
            .await;
        store
            .run(
                r#"INSERT INTO "Wide Table" VALUES (randomblob(16), randomblob(16), 1, NULL, NULL, 't', x'',
                   '2024-01-01', 1.25, 'open', 1.5, 1, 1, '{}', '', '2024-01-01T00:00:00Z', 1, NULL, NULL,
                   NULL, NULL, NULL, NULL)"#,
            )
            .await;
        let good = store.report().await;
        let remedy = find(&good, "sqlite-rowid-table", "Wide Table").unwrap().remedy().to_vec();
        let until_drop: Vec<String> = remedy
            .iter()
            .take_while(|statement| !statement.starts_with("DROP TABLE \""))
            .cloned()
            .collect();
        assert!(until_drop.last().unwrap().starts_with("INSERT INTO"));
        for statement in &until_drop {
            store.run(statement.clone()).await;
        }
        store.run("ROLLBACK").await;
        store.run(format!(r#"UPDATE "Wide Table" SET {column} = {bad}"#)).await;
        let (insert, before) = until_drop.split_last().unwrap();
        for statement in before {
            store.run(statement.clone()).await;
        }
        assert!(store.try_run(insert.clone()).await.is_err(), "{column} = {bad}");
    }
}
