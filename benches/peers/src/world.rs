//! The tables, and a database file that every peer reads.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};
use tenantry::scope::{MemoryDirectory, Principal, Role, ScopeIssuer};
use tenantry::table::{Dialect, Schema};
use tenantry::{Database, OrganizationId, TenantScope};
use uuid::Uuid;

tenantry::tenant_table! {
    /// A customer of the organization's store.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Customer in customers {
        key id: Uuid,
        name: String,
    }
}

tenantry::tenant_table! {
    /// An order placed in the organization's store.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Order in orders {
        key id: Uuid,
        customer_id: Uuid => customers,
        email: String,
        total_cents: i64,
        note: Option<String>,
        placed_at: time::OffsetDateTime,
    }
    unique (email);
    index (placed_at);
}

/// Customers of each organization.
const CUSTOMERS: u64 = 4;

/// Microseconds of the first order: 2025-01-01.
pub const FIRST: i64 = 1_735_689_600_000_000;

/// An identifier that spreads as random ones do, and is the same in every run.
pub fn id(table: u64, organization: u64, row: u64) -> Uuid {
    let mut state = table << 60 ^ organization << 32 ^ row;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    };
    uuid::Builder::from_random_bytes((u128::from(next()) << 64 | u128::from(next())).to_be_bytes())
        .into_uuid()
}

pub fn organization(number: u64) -> Uuid {
    id(1, number, 0)
}

pub fn order_id(organization: u64, row: u64) -> Uuid {
    id(2, organization, row)
}

pub fn customer_id(organization: u64, row: u64) -> Uuid {
    id(3, organization, row % CUSTOMERS)
}

pub fn email(row: u64) -> String {
    format!("customer{row}@example.com")
}

pub fn schema() -> Schema {
    Schema::new().tenant::<Order>().tenant::<Customer>()
}

/// The hand-written peer's settings, the same as tenantry's own.
pub fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .statement_cache_capacity(512)
        .row_buffer_size(64)
        .pragma("cache_size", "-16384")
        .pragma("temp_store", "MEMORY")
        .disable_statement_logging()
}

/// Writes a file of `organizations` with `rows` orders each, in the tables that tenantry declares.
pub async fn fill(path: &Path, organizations: u64, rows: u64) {
    // One transaction that stays in memory until it is written out.
    let filling = options(path)
        .foreign_keys(false)
        .journal_mode(SqliteJournalMode::Off)
        .pragma("cache_size", "-1048576");
    let mut connection = sqlx::SqliteConnection::connect_with(&filling).await.unwrap();
    for statement in schema().ddl(Dialect::Sqlite).unwrap() {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    }
    // Rows go in in the order of their keys, so that every file is packed alike.
    let mut numbers: Vec<u64> = (0..organizations).collect();
    numbers.sort_by_key(|number| organization(*number));
    let mut transaction = connection.begin().await.unwrap();
    for number in numbers {
        let owner = organization(number);
        for row in 0..CUSTOMERS {
            sqlx::query("INSERT INTO customers (organization_id, id, name) VALUES (?, ?, ?)")
                .bind(owner)
                .bind(customer_id(number, row))
                .bind(format!("Customer {row}"))
                .execute(&mut *transaction)
                .await
                .unwrap();
        }
        let mut rows: Vec<(Uuid, u64)> =
            (0..rows).map(|row| (order_id(number, row), row)).collect();
        rows.sort();
        for (id, row) in rows {
            sqlx::query("INSERT INTO orders (organization_id, id, customer_id, email, total_cents, note, placed_at) VALUES (?, ?, ?, ?, ?, ?, ?)")
                .bind(owner)
                .bind(id)
                .bind(customer_id(number, row))
                .bind(email(row))
                .bind(i64::try_from(row % 1_000).unwrap())
                .bind((row % 3 == 0).then_some("gift wrap"))
                .bind(FIRST + i64::try_from(row).unwrap() * 1_000_000)
                .execute(&mut *transaction)
                .await
                .unwrap();
        }
    }
    transaction.commit().await.unwrap();
    connection.close().await.unwrap();
}

/// The scope of an organization and the issuer behind it.
pub async fn enter(numbers: &[u64]) -> (ScopeIssuer, Vec<TenantScope>) {
    let directory = MemoryDirectory::new();
    let ann = Principal::user("ann");
    for number in numbers {
        let organization = OrganizationId::from_uuid(organization(*number)).unwrap();
        directory.add_member(&organization, &ann, Role::Member);
    }
    let issuer = ScopeIssuer::new(directory);
    let mut scopes = Vec::new();
    for number in numbers {
        let organization = OrganizationId::from_uuid(organization(*number)).unwrap();
        scopes.push(issuer.enter(&ann, organization).await.unwrap());
    }
    (issuer, scopes)
}

/// tenantry on the file, with its default settings.
pub async fn open(path: &Path, issuer: &ScopeIssuer, write_wall: bool) -> Database {
    let url = format!("sqlite://{}", path.display());
    Database::builder().issuer(issuer).write_wall(write_wall).connect(&url, schema()).await.unwrap()
}

/// A row to insert that no file holds.
pub fn fresh(number: u64, row: u64) -> Order {
    Order {
        id: order_id(number, row),
        customer_id: customer_id(number, row),
        email: email(row),
        total_cents: 12_345,
        note: None,
        placed_at: time::OffsetDateTime::from_unix_timestamp(FIRST / 1_000_000).unwrap(),
    }
}
