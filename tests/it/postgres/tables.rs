//! What the tests of this store declare.

use rust_decimal::Decimal;
use tenantry::id::OrganizationKind;
use tenantry::table::{Schema, TextEnum};
use time::{Date, OffsetDateTime};
use uuid::Uuid;

tenantry::tenant_table! {
    #[derive(Debug)]
    pub struct Customer in customers {
        key id: i64,
        name: String,
    }
}

tenantry::tenant_table! {
    #[derive(Debug)]
    pub struct Order in orders {
        key id: i64,
        customer_id: i64 => customers on delete cascade,
        email: String,
        total: Decimal as scale 2,
        note: Option<String>,
        placed_at: OffsetDateTime,
    }
    unique (email);
    index (placed_at);
}

tenantry::tenant_table! {
    /// In partitions, under names that need quotes.
    #[derive(Debug)]
    pub struct Event in events = "Audit events" {
        key id: i64 = "Id",
        what: String,
    }
    tenant shop = "ShopId";
    partitions 3;
}

tenantry::global_table! {
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

tenantry::tenant_table! {
    /// Every column type.
    #[derive(Debug)]
    pub struct Wide in wide {
        key id: Uuid,
        flag: Option<bool>,
        bytes: Option<Vec<u8>>,
        day: Option<Date>,
        amount: Option<Decimal> as scale 2,
        status: Option<Status>,
        ratio: Option<f64>,
        small: Option<i16>,
        number: Option<i32>,
        big: Option<i64>,
        json: Option<serde_json::Value>,
        text: Option<String>,
        at: Option<OffsetDateTime>,
        genre: Option<i64> => genres,
    }
}

tenantry::tenant_table! {
    /// Refers to itself, and to a table that refers to it.
    #[derive(Debug)]
    pub struct Staff in staff {
        key id: i64,
        boss: Option<i64> => staff,
        team: Option<i64> => teams,
    }
}

tenantry::tenant_table! {
    #[derive(Debug)]
    pub struct Team in teams {
        key id: i64,
        lead: Option<i64> => staff,
    }
}

pub fn schema(organizations: OrganizationKind) -> Schema {
    Schema::new()
        .organizations(organizations)
        .tenant::<Order>()
        .tenant::<Customer>()
        .tenant::<Event>()
        .tenant::<Wide>()
        .tenant::<Staff>()
        .tenant::<Team>()
        .global::<Genre>()
}
