use sqlx::{Connection as _, SqliteConnection};
use time::Date;

use self::tables::{Customer, Genre, Order, Pair, Staff, Team, Wide};
use super::*;
use crate::id::OrganizationKind;
use crate::table::{Dialect, Schema};

#[expect(unreachable_pub, reason = "declarations as an application writes them")]
mod tables {
    use rust_decimal::Decimal;
    use time::{Date, OffsetDateTime};
    use uuid::Uuid;

    use crate::table::TextEnum;

    crate::tenant_table! {
        /// A customer.
        #[derive(Debug)]
        pub struct Customer in customers {
            key id: i64,
            name: String,
        }
    }

    crate::tenant_table! {
        /// An order.
        #[derive(Debug)]
        pub struct Order in orders {
            key id: i64,
            customer_id: i64 => customers,
            email: String,
            note: Option<String>,
            placed_at: OffsetDateTime,
        }
        unique (email);
        index (placed_at);
    }

    crate::global_table! {
        /// A genre.
        #[derive(Debug)]
        pub struct Genre in genres {
            key id: i64,
            name: String,
        }
    }

    #[derive(Debug, Clone, Copy, PartialEq)]
    pub enum Status {
        Open,
        Paid,
    }

    impl TextEnum for Status {
        const VARIANTS: &'static [&'static str] = &["open", "it's paid"];
        const ALL: &'static [Self] = &[Self::Open, Self::Paid];
        fn text(&self) -> &'static str {
            match self {
                Self::Open => "open",
                Self::Paid => "it's paid",
            }
        }
    }

    crate::tenant_table! {
        /// Every column type, in names that need quoting.
        #[derive(Debug)]
        pub struct Wide in wide = "Wide Table" {
            key id: Uuid = "Id",
            key part: i64,
            parent: Option<Uuid> = "Parent",
            n: Option<i64>,
            flag: bool,
            bytes: Vec<u8>,
            day: Date,
            amount: Decimal as scale 2,
            status: Status,
            ratio: f64,
            small: i16,
            number: i32,
            json: serde_json::Value,
            text: String = "order",
            at: OffsetDateTime,
            genre: i64 => genres,
            maybe_flag: Option<bool>,
            maybe_day: Option<Date>,
            maybe_amount: Option<Decimal> as scale 3,
            maybe_id: Option<Uuid>,
            maybe_at: Option<OffsetDateTime>,
            maybe_status: Option<Status>,
        }
        tenant shop = "ShopId";
        unique (text, number);
        unique (amount);
        index (status, at);
    }

    crate::tenant_table! {
        /// A table that refers to itself and to another that refers to it.
        #[derive(Debug)]
        pub struct Staff in staff {
            key id: i64,
            boss: Option<i64> => staff,
            team: Option<i64> => teams on delete cascade,
        }
    }

    crate::tenant_table! {
        /// The other.
        #[derive(Debug)]
        pub struct Team in teams {
            key id: i64,
            lead: Option<i64> => staff,
        }
    }

    crate::tenant_table! {
        /// A key of two columns.
        #[derive(Debug)]
        pub struct Pair in pairs {
            key a: i64,
            key b: i64,
        }
    }
}

const CUSTOMERS: &str = r#"CREATE TABLE customers (
    organization_id INTEGER NOT NULL CHECK (organization_id > 0),
    id INTEGER NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (organization_id, id)
) STRICT, WITHOUT ROWID"#;

const ORDERS: &str = r#"CREATE TABLE orders (
    organization_id INTEGER NOT NULL CHECK (organization_id > 0),
    id INTEGER NOT NULL,
    customer_id INTEGER NOT NULL,
    email TEXT NOT NULL,
    note TEXT,
    placed_at INTEGER NOT NULL,
    PRIMARY KEY (organization_id, id),
    UNIQUE (organization_id, email),
    FOREIGN KEY (organization_id, customer_id) REFERENCES customers (organization_id, id)
) STRICT, WITHOUT ROWID"#;

const PLACED: &str = "CREATE INDEX orders_placed ON orders (organization_id, placed_at)";
const CUSTOMER: &str = "CREATE INDEX orders_customer ON orders (organization_id, customer_id)";

const GENRES: &str = "CREATE TABLE genres (id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT";

const CUSTOMER_ROWS: &str = "INSERT INTO customers (organization_id, id, name) VALUES
    (1, 10, 'Ann'), (1, 11, 'Bob'), (2, 10, 'Ann'), (2, 12, 'Cyd')";

/// Two organizations with equal keys and e-mails.
const ORDER_ROWS: &str = "INSERT INTO orders
    (organization_id, id, customer_id, email, note, placed_at) VALUES
    (1, 100, 10, 'a@x', NULL, 1700000000000001), (1, 101, 11, 'b@x', 'it''s', -5),
    (2, 100, 10, 'a@x', 'B', 1700000000000002), (2, 102, 12, 'c@x', '', 0)";

/// The same where the database holds keys and e-mails unique over all organizations.
const DISTINCT_ORDER_ROWS: &str = "INSERT INTO orders
    (organization_id, id, customer_id, email, note, placed_at) VALUES
    (1, 100, 10, 'a@x', NULL, 1700000000000001), (1, 101, 11, 'b@x', 'it''s', -5),
    (2, 200, 10, 'd@x', 'B', 1700000000000002), (2, 102, 12, 'c@x', '', 0)";

const DUMP: &str = "SELECT quote(organization_id) || '|' || quote(id) || '|' || quote(customer_id)
    || '|' || quote(email) || '|' || quote(note) || '|' || quote(placed_at)
    FROM orders ORDER BY organization_id, id";

fn schema() -> Schema {
    Schema::new()
        .organizations(OrganizationKind::Integer)
        .tenant::<Order>()
        .tenant::<Customer>()
        .global::<Genre>()
}

struct Store {
    connection: SqliteConnection,
    schema: Schema,
}

impl Store {
    async fn empty(schema: Schema) -> Self {
        let connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let mut store = Self { connection, schema };
        store.run("PRAGMA trusted_schema = OFF").await;
        store
    }

    /// The tables of the tests, with `orders` as given and `extra` statements before the rows.
    async fn with(orders: &str, rows: &str, extra: &[&str]) -> Self {
        let mut store = Self::empty(schema()).await;
        for sql in [CUSTOMERS, orders, GENRES, PLACED, CUSTOMER].iter().chain(extra) {
            store.run(*sql).await;
        }
        store.run(CUSTOMER_ROWS).await;
        store.run(rows).await;
        store
    }

    async fn try_run(&mut self, sql: impl Into<String>) -> Result<(), sqlx::Error> {
        let sql: &'static str = sql.into().leak();
        sqlx::raw_sql(sql).execute(&mut self.connection).await.map(drop)
    }

    async fn run(&mut self, sql: impl Into<String>) {
        let sql = sql.into();
        if let Err(error) = self.try_run(sql.clone()).await {
            panic!("{sql}: {error}");
        }
    }

    async fn look(&mut self, accepted: &[Acceptance], deep: bool) -> Report {
        examine(&mut self.connection, &self.schema, accepted, deep).await.unwrap().report
    }

    async fn report(&mut self) -> Report {
        self.look(&[], false).await
    }

    async fn texts(&mut self, sql: &'static str) -> Vec<String> {
        sqlx::query_scalar(sql).fetch_all(&mut self.connection).await.unwrap()
    }

    /// Runs every remedy once, in the order of the report, as an operator does.
    async fn mend(&mut self, report: &Report) {
        let mut done: Vec<&[String]> = Vec::new();
        for finding in report.findings() {
            if finding.remedy().is_empty() || done.contains(&finding.remedy()) {
                continue;
            }
            for statement in finding.remedy() {
                let statement = statement
                    .replace(":organization", "7")
                    .replace(":placed_at", "1234")
                    .replace(":email", "'e@x'");
                if statement.starts_with("PRAGMA foreign_key_check") {
                    let sql: &'static str = statement.leak();
                    let broken = sqlx::query(sql).fetch_all(&mut self.connection).await.unwrap();
                    assert!(broken.is_empty(), "{sql}");
                } else {
                    self.run(statement).await;
                }
            }
            done.push(finding.remedy());
        }
    }
}

fn find<'r>(report: &'r Report, code: &str, object: &str) -> Option<&'r Finding> {
    report.findings().iter().find(|finding| finding.code() == code && finding.object() == object)
}

fn codes(report: &Report) -> Vec<&str> {
    report.findings().iter().map(Finding::code).collect()
}

fn edited(from: &str, to: &str) -> String {
    let orders = ORDERS.replace(from, to);
    assert_ne!(orders, ORDERS, "{from}");
    orders
}

/// A fixture trips the check; its remedy makes the finding go away and keeps the rows.
struct Case {
    code: &'static str,
    object: &'static str,
    severity: Severity,
    orders: String,
    rows: &'static str,
    extra: Vec<&'static str>,
    /// What is found after the remedies, where that is not nothing.
    left: Vec<&'static str>,
}

impl Case {
    fn new(code: &'static str, object: &'static str, severity: Severity, orders: String) -> Self {
        Self {
            code,
            object,
            severity,
            orders,
            rows: ORDER_ROWS,
            extra: Vec::new(),
            left: Vec::new(),
        }
    }

    fn fatal(code: &'static str, object: &'static str, orders: String) -> Self {
        Self::new(code, object, Severity::Fatal, orders)
    }

    fn warning(code: &'static str, object: &'static str, orders: String) -> Self {
        Self::new(code, object, Severity::Warning, orders)
    }

    fn distinct(mut self) -> Self {
        self.rows = DISTINCT_ORDER_ROWS;
        self
    }

    fn extra(mut self, extra: &[&'static str]) -> Self {
        self.extra = extra.to_vec();
        self
    }

    fn leaves(mut self, left: &[&'static str]) -> Self {
        self.left = left.to_vec();
        self
    }

    async fn check(self) {
        let mut store = Store::with(&self.orders, self.rows, &self.extra).await;
        let before = store.texts(DUMP).await;
        assert_eq!(before.len(), 4);
        let report = store.report().await;
        let finding = find(&report, self.code, self.object)
            .unwrap_or_else(|| panic!("{} on {} not in\n{report}", self.code, self.object));
        assert_eq!(finding.severity(), self.severity, "{report}");
        assert!(!finding.advice().is_empty() && !finding.gain().is_empty());
        assert!(!finding.remedy().is_empty(), "{report}");
        assert_eq!(report.is_safe(), self.severity == Severity::Warning, "{report}");
        store.mend(&report).await;
        let after = store.look(&[], true).await;
        assert_eq!(codes(&after), self.left, "{report}\n\nafter:\n{after}");
        assert_eq!(store.texts(DUMP).await, before, "{}", self.code);
        let settings = store.report().await;
        assert!(find(&settings, "sqlite-foreign-keys-off", "foreign_keys").is_none());
    }
}

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
    let manual = include_str!("../../../docs/doctor.md");
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
