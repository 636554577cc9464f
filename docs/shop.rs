// The shop that the examples of the manual run on: two organizations with the same keys.

use tenantry::scope::{MemoryDirectory, Principal, Role, ScopeIssuer};
use tenantry::table::Schema;
pub use tenantry::{Database, Error, ErrorKind, OrganizationId, Result, TenantScope};

tenantry::global_table! {
    #[derive(Debug, Clone, PartialEq)]
    pub struct Country in countries { key code: String, name: String }
}

tenantry::tenant_table! {
    #[derive(Debug, Clone, PartialEq)]
    pub struct Customer in customers {
        key id: i64,
        name: String,
        email: String,
        country: Option<String> => countries,
    }
    unique (email);
}

tenantry::tenant_table! {
    #[derive(Debug, Clone, PartialEq)]
    pub struct Order in orders {
        key id: i64,
        customer_id: i64 => customers,
        total_cents: i64,
        note: Option<String>,
        placed_at: time::OffsetDateTime,
    }
    index (placed_at);
}

tenantry::tenant_table! {
    #[derive(Debug, Clone, PartialEq)]
    pub struct Line in lines {
        key order_id: i64 => orders on delete cascade,
        key n: i32,
        sku: String,
        price: rust_decimal::Decimal as scale 2,
    }
}

tenantry::tenant_table! {
    #[derive(Debug, Clone, PartialEq)]
    pub struct Employee in employees { key id: i64, name: String, boss: Option<i64> => employees }
}

/// Who is let in, what they enter, and where it lies.
pub struct Shop {
    pub issuer: ScopeIssuer,
    pub scope: TenantScope,
    pub other: TenantScope,
    pub db: Database,
}

pub fn customer(id: i64, name: &str) -> Customer {
    let email = format!("{}@example.com", name.to_lowercase());
    Customer { id, name: name.into(), email, country: None }
}

pub fn order(id: i64, customer_id: i64, total_cents: i64) -> Order {
    Order { id, customer_id, total_cents, note: None, placed_at: tenantry::now() }
}

/// Runs an example in a shop that was just opened.
pub fn run(example: impl AsyncFnOnce(Shop) -> Result<()>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { example(open().await?).await }).unwrap();
}

async fn open() -> Result<Shop> {
    let (ours, theirs) = (OrganizationId::new(), OrganizationId::new());
    let ann = Principal::user("ann");
    let directory = MemoryDirectory::new();
    directory.add_member(&ours, &ann, Role::Admin);
    directory.add_member(&theirs, &ann, Role::Admin);
    let issuer = ScopeIssuer::new(directory);
    let schema = Schema::new()
        .global::<Country>()
        .tenant::<Customer>()
        .tenant::<Order>()
        .tenant::<Line>()
        .tenant::<Employee>();
    let db = Database::builder()
        .issuer(&issuer)
        .allow_cross_tenant()
        .connect("sqlite::memory:", schema)
        .await?;
    db.create_tables().await?;
    let scope = issuer.enter(&ann, ours).await?;
    let other = issuer.enter(&ann, theirs).await?;
    for scope in [&scope, &other] {
        let customers = [customer(1, "Ann"), customer(2, "Bob")];
        Customer::insert_many(scope, customers).execute(&db).await?;
        let orders = [order(1, 1, 500), order(2, 1, 12_000), order(3, 2, 700)];
        Order::insert_many(scope, orders).execute(&db).await?;
        let staff = [("Ida", None), ("Jon", Some(1)), ("Kim", Some(1))];
        let staff = (1..).zip(staff).map(|(id, (name, boss))| Employee { id, name: name.into(), boss });
        Employee::insert_many(scope, staff).execute(&db).await?;
    }
    Ok(Shop { issuer, scope, other, db })
}
