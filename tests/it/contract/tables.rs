//! What two organizations of one member declare, on either store.

use tenantry::scope::{MemoryDirectory, Principal, Role, ScopeIssuer};
use tenantry::table::{Schema, TextEnum};
use tenantry::{Database, OrganizationId, TenantScope};
use uuid::Uuid;

tenantry::tenant_table! {
    #[derive(Debug, Clone, PartialEq)]
    pub struct Customer in customers {
        key id: Uuid,
        name: String,
    }
    unique (name);
    partitions 2;
}

tenantry::tenant_table! {
    #[derive(Debug, Clone, PartialEq)]
    pub struct Order in orders {
        key id: Uuid,
        customer_id: Uuid => customers,
        genre_id: Option<i64> => genres,
        email: String,
        total_cents: i64,
        note: Option<String>,
        placed_at: time::OffsetDateTime,
    }
    unique (email);
    index (placed_at);
}

tenantry::tenant_table! {
    #[derive(Debug, Clone, PartialEq)]
    pub struct Employee in employees = "Employee" {
        key id: i64,
        boss: Option<i64> = "ReportsTo" => employees,
    }
}

tenantry::global_table! {
    #[derive(Debug, Clone, PartialEq)]
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
    const VARIANTS: &'static [&'static str] = &["open", "paid"];
    const ALL: &'static [Self] = &[Self::Open, Self::Paid];
    fn text(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Paid => "paid",
        }
    }
}

tenantry::tenant_table! {
    #[derive(Debug, Clone, PartialEq)]
    pub struct Everything in everything {
        key id: i64,
        flag: bool,
        small: i16,
        medium: i32,
        large: i64,
        float: f64,
        text: String,
        bytes: Vec<u8>,
        uuid: Uuid,
        at: time::OffsetDateTime,
        day: time::Date,
        json: serde_json::Value,
        price: rust_decimal::Decimal as scale 2,
        status: Status,
        maybe_flag: Option<bool>,
        maybe_small: Option<i16>,
        maybe_medium: Option<i32>,
        maybe_large: Option<i64>,
        maybe_float: Option<f64>,
        maybe_text: Option<String>,
        maybe_bytes: Option<Vec<u8>>,
        maybe_uuid: Option<Uuid>,
        maybe_at: Option<time::OffsetDateTime>,
        maybe_day: Option<time::Date>,
        maybe_json: Option<serde_json::Value>,
        maybe_price: Option<rust_decimal::Decimal> as scale 3,
        maybe_status: Option<Status>,
    }
}

pub fn schema() -> Schema {
    Schema::new()
        .tenant::<Order>()
        .tenant::<Customer>()
        .tenant::<Employee>()
        .tenant::<Everything>()
        .global::<Genre>()
}

/// Two organizations of one member.
pub async fn scopes() -> (ScopeIssuer, TenantScope, TenantScope) {
    let members = MemoryDirectory::new();
    let issuer = ScopeIssuer::new(members.clone());
    let ann = Principal::user("ann");
    let (a, b) = (OrganizationId::new(), OrganizationId::new());
    members.add_member(&a, &ann, Role::Member);
    members.add_member(&b, &ann, Role::Member);
    let a = issuer.enter(&ann, a).await.unwrap();
    let b = issuer.enter(&ann, b).await.unwrap();
    (issuer, a, b)
}

pub fn customer(id: u128) -> Customer {
    Customer { id: Uuid::from_u128(id), name: format!("customer {id}") }
}

pub fn order(id: u128, customer: u128, total_cents: i64) -> Order {
    Order {
        id: Uuid::from_u128(id),
        customer_id: Uuid::from_u128(customer),
        genre_id: None,
        email: format!("{id}@example.com"),
        total_cents,
        note: None,
        placed_at: time::OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(total_cents),
    }
}

/// The same customer and `orders` orders in each of the organizations.
pub async fn fill(db: &Database, scopes: [&TenantScope; 2], orders: u128) {
    for scope in scopes {
        Customer::insert(scope, customer(1)).execute(db).await.unwrap();
        let rows = (1..=orders).map(|id| order(id, 1, id as i64));
        Order::insert_many(scope, rows).execute(db).await.unwrap();
    }
}
