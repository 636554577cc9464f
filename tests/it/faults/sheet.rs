//! A table with a column of every type.

use rust_decimal::Decimal;
use tenantry::table::{Schema, TextEnum};
use tenantry::{Database, TenantScope};
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use super::fixture::{Place, ann, ask, open, organization, people};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Status {
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
    /// One value of each type.
    #[derive(Debug, Clone, PartialEq)]
    pub(super) struct Entry in sheet {
        key id: i64,
        flag: Option<bool>,
        small: Option<i16>,
        middle: Option<i32>,
        large: Option<i64>,
        float: Option<f64>,
        text: Option<String>,
        blob: Option<Vec<u8>>,
        uuid: Option<Uuid>,
        at: Option<OffsetDateTime>,
        day: Option<Date>,
        data: Option<serde_json::Value>,
        amount: Option<Decimal> as scale 2,
        status: Option<Status>,
    }
}

tenantry::tenant_table! {
    /// A row that is known by text.
    #[derive(Debug, Clone, PartialEq)]
    pub(super) struct Label in labels {
        key name: String,
        value: i64,
    }
}

pub(super) const EMPTY: Entry = Entry {
    id: 1,
    flag: None,
    small: None,
    middle: None,
    large: None,
    float: None,
    text: None,
    blob: None,
    uuid: None,
    at: None,
    day: None,
    data: None,
    amount: None,
    status: None,
};

pub(super) struct Sheet {
    pub(super) db: Database,
    pub(super) a: TenantScope,
    pub(super) path: Place,
}

pub(super) fn tables() -> Schema {
    Schema::new().tenant::<Entry>().tenant::<Label>()
}

pub(super) async fn sheet() -> Sheet {
    let (_, issuer) = people();
    let (db, path) = open(&issuer, tables(), |builder| builder).await;
    let a = issuer.enter(&ann(), organization(0xA)).await.unwrap();
    Sheet { db, a, path }
}

/// How many rows the table has, counted beside the library.
pub(super) async fn count(path: &Place, table: &str) -> i64 {
    ask(path, &format!("SELECT count(*) FROM {table}")).await[0]
}
