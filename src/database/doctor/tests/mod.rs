use sqlx::{Connection as _, SqliteConnection};
use time::Date;

use self::tables::{Customer, Genre, Order, Pair, Staff, Team, Wide};
use super::*;
use crate::id::OrganizationKind;
use crate::table::{Dialect, Schema};

mod objects;
mod references;
mod report;
mod shape;
mod tenant_columns;

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
