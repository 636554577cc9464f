//! The tables of the fixture: every kind of table, key and column.

use std::fmt::Debug;
use std::sync::OnceLock;

use rust_decimal::Decimal;
use tenantry::table::{
    Column, ColumnDefinition, ColumnType, OnDelete, Reference, ReferenceDefinition, RowReader,
    RowWriter, Schema, Table, TableDefinition, TenantTable, TextEnum,
};
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use super::cell::{Cell, Field, Row};

tenantry::tenant_table! {
    #[derive(Debug, Clone, PartialEq)]
    pub struct Customer in customers {
        key id: i64,
        name: String,
        city: Option<String>,
    }
    index (name);
}

tenantry::tenant_table! {
    #[derive(Debug, Clone, PartialEq)]
    pub struct Order in orders {
        key id: i64,
        customer_id: i64 => customers,
        email: String,
        total: i64,
        note: Option<String>,
    }
    unique (email);
    index (total);
}

tenantry::tenant_table! {
    #[derive(Debug, Clone, PartialEq)]
    pub struct Line in order_lines {
        key order_id: i64 => orders on delete cascade,
        key n: i64,
        sku: String,
        qty: i32,
    }
}

/// Written by hand, as the documentation of [`tenantry::table`] shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Shipment {
    pub id: i64,
    pub order_id: Option<i64>,
    pub n: Option<i64>,
    pub carrier: String,
}

#[allow(non_camel_case_types, reason = "named like the SQL table")]
#[derive(Debug, Clone, Copy)]
pub struct shipments;

#[allow(non_upper_case_globals, reason = "named like the SQL columns")]
impl shipments {
    pub const id: Column<Shipment, i64> = Column::new(0);
    pub const carrier: Column<Shipment, String> = Column::new(3);
    pub const line: Reference<Shipment, Line> = Reference::new(0);
}

impl Table for Shipment {
    type Key = i64;

    fn definition() -> &'static TableDefinition {
        static COLUMNS: [ColumnDefinition; 4] = [
            ColumnDefinition::of::<i64>("id").key(),
            ColumnDefinition::of::<Option<i64>>("order_id"),
            ColumnDefinition::of::<Option<i64>>("n"),
            ColumnDefinition::of::<String>("carrier"),
        ];
        static REFERENCES: [ReferenceDefinition; 1] =
            [ReferenceDefinition::new(&[1, 2], Line::definition, OnDelete::Restrict)];
        static TABLE: TableDefinition =
            TableDefinition::tenant("shipments", "organization_id", &COLUMNS)
                .with_references(&REFERENCES);
        &TABLE
    }

    fn encode(&self, row: &mut RowWriter<'_>) -> tenantry::Result<()> {
        row.write(&self.id)?;
        row.write(&self.order_id)?;
        row.write(&self.n)?;
        row.write(&self.carrier)
    }

    fn decode(row: &mut RowReader<'_>) -> tenantry::Result<Self> {
        Ok(Self {
            id: row.read::<Self, _>(0)?,
            order_id: row.read::<Self, _>(1)?,
            n: row.read::<Self, _>(2)?,
            carrier: row.read::<Self, _>(3)?,
        })
    }
}

impl TenantTable for Shipment {}
tenantry::tenant_entries!(Shipment);

tenantry::tenant_table! {
    #[derive(Debug, Clone, PartialEq)]
    pub struct Employee in employees = "Employee" {
        key id: i64,
        name: String,
        boss: Option<i64> = "ReportsTo" => employees,
        badge: Option<i64>,
    }
    tenant shop = "ShopId";
    unique (badge);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Open,
    Paid,
    Shut,
}

impl TextEnum for State {
    const VARIANTS: &'static [&'static str] = &["open", "paid", "shut"];
    const ALL: &'static [Self] = &[Self::Open, Self::Paid, Self::Shut];
    fn text(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Paid => "paid",
            Self::Shut => "shut",
        }
    }
}

tenantry::tenant_table! {
    /// Every column type, and each of them with NULL.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Item in items {
        key id: i64,
        flag: bool,
        small: i16,
        medium: i32,
        big: i64,
        ratio: f64,
        label: String,
        blob: Vec<u8>,
        token: Uuid,
        at: OffsetDateTime,
        day: Date,
        data: serde_json::Value,
        price: Decimal as scale 2,
        state: State,
        flag_o: Option<bool>,
        small_o: Option<i16>,
        medium_o: Option<i32>,
        big_o: Option<i64>,
        ratio_o: Option<f64>,
        label_o: Option<String>,
        blob_o: Option<Vec<u8>>,
        token_o: Option<Uuid>,
        at_o: Option<OffsetDateTime>,
        day_o: Option<Date>,
        data_o: Option<serde_json::Value>,
        price_o: Option<Decimal> as scale 2,
        state_o: Option<State>,
        genre_id: Option<i64> => genres,
    }
    tenant shop_id;
    index (price, label);
}

tenantry::global_table! {
    #[derive(Debug, Clone, PartialEq)]
    pub struct Genre in genres {
        key id: i64,
        name: String,
    }
}

/// The tables, as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tab {
    Customer,
    Order,
    Line,
    Shipment,
    Employee,
    Item,
    Genre,
}

impl Tab {
    /// Parents before children.
    pub const OWNED: [Self; 6] =
        [Self::Customer, Self::Order, Self::Line, Self::Shipment, Self::Employee, Self::Item];
    pub const ALL: [Self; 7] = [
        Self::Customer,
        Self::Order,
        Self::Line,
        Self::Shipment,
        Self::Employee,
        Self::Item,
        Self::Genre,
    ];

    pub fn definition(self) -> &'static TableDefinition {
        match self {
            Self::Customer => Customer::definition(),
            Self::Order => Order::definition(),
            Self::Line => Line::definition(),
            Self::Shipment => Shipment::definition(),
            Self::Employee => Employee::definition(),
            Self::Item => Item::definition(),
            Self::Genre => Genre::definition(),
        }
    }

    pub fn columns(self) -> &'static [Col] {
        static COLUMNS: OnceLock<Vec<Vec<Col>>> = OnceLock::new();
        let all = COLUMNS.get_or_init(|| Self::ALL.into_iter().map(columns_of).collect());
        &all[self as usize]
    }

    pub fn keys(self) -> &'static [usize] {
        match self {
            Self::Line => &[0, 1],
            _ => &[0],
        }
    }

    /// The one `unique` of the declaration.
    pub fn unique(self) -> Option<usize> {
        match self {
            Self::Order => Some(2),
            Self::Employee => Some(3),
            _ => None,
        }
    }

    /// The references: columns, target, whether deletes cascade.
    pub fn references(self) -> &'static [(&'static [usize], Tab, bool)] {
        match self {
            Self::Order => &[(&[1], Self::Customer, false)],
            Self::Line => &[(&[0], Self::Order, true)],
            Self::Shipment => &[(&[1, 2], Self::Line, false)],
            Self::Employee => &[(&[2], Self::Employee, false)],
            Self::Item => &[(&[27], Self::Genre, false)],
            Self::Customer | Self::Genre => &[],
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Bool,
    I16,
    I32,
    I64,
    F64,
    Text,
    Bytes,
    Uuid,
    Time,
    Date,
    Json,
    Decimal,
    State,
}

impl Kind {
    pub const fn is_number(self) -> bool {
        matches!(self, Self::I16 | Self::I32 | Self::I64 | Self::Decimal)
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Col {
    pub kind: Kind,
    pub null: bool,
}

fn columns_of(tab: Tab) -> Vec<Col> {
    let kind = |kind| match kind {
        ColumnType::Bool => Kind::Bool,
        ColumnType::I16 => Kind::I16,
        ColumnType::I32 => Kind::I32,
        ColumnType::I64 => Kind::I64,
        ColumnType::F64 => Kind::F64,
        ColumnType::Text => Kind::Text,
        ColumnType::Bytes => Kind::Bytes,
        ColumnType::Uuid => Kind::Uuid,
        ColumnType::Timestamp => Kind::Time,
        ColumnType::Date => Kind::Date,
        ColumnType::Json => Kind::Json,
        ColumnType::Decimal => Kind::Decimal,
        ColumnType::Enum(_) => Kind::State,
        other => panic!("a column type that the fixture does not know: {other:?}"),
    };
    let columns = tab.definition().columns();
    columns
        .iter()
        .map(|column| Col { kind: kind(column.kind()), null: column.is_nullable() })
        .collect()
}

pub const GENRES: [(i64, &str); 4] = [(1, "jazz"), (2, "rock"), (3, "a"), (4, "ab")];

pub fn schema() -> Schema {
    Schema::new()
        .tenant::<Customer>()
        .tenant::<Order>()
        .tenant::<Line>()
        .tenant::<Shipment>()
        .tenant::<Employee>()
        .tenant::<Item>()
        .global::<Genre>()
}

/// A row type of the fixture.
pub trait Fix: Table + Clone + Debug {
    const TAB: Tab;
    fn from_row(row: &[Cell]) -> Self;
    fn row(&self) -> Row;
    fn key(key: &[i64]) -> Self::Key;
}

/// One that belongs to organizations.
pub trait FixOwned: Fix + TenantTable {}

impl<T: Fix + TenantTable> FixOwned for T {}

macro_rules! fixtures {
    ($($row:ident |$key:ident| $encoded:expr; $($field:ident)*;)*) => {$(
        impl Fix for $row {
            const TAB: Tab = Tab::$row;
            fn from_row(row: &[Cell]) -> Self {
                let mut cells = row.iter();
                Self { $($field: Field::take(cells.next().unwrap())),* }
            }
            fn row(&self) -> Row {
                vec![$(self.$field.give()),*]
            }
            fn key($key: &[i64]) -> Self::Key {
                $encoded
            }
        }
    )*};
}

fixtures! {
    Customer |key| key[0]; id name city;
    Order |key| key[0]; id customer_id email total note;
    Line |key| (key[0], key[1]); order_id n sku qty;
    Shipment |key| key[0]; id order_id n carrier;
    Employee |key| key[0]; id name boss badge;
    Item |key| key[0]; id flag small medium big ratio label blob token at day data price state
        flag_o small_o medium_o big_o ratio_o label_o blob_o token_o at_o day_o data_o price_o
        state_o genre_id;
    Genre |key| key[0]; id name;
}

/// Runs an expression with the row type of a table.
macro_rules! with_table {
    ($tab:expr, $T:ident => $run:expr) => {
        match $tab {
            $crate::oracle::tables::Tab::Genre => {
                type $T = $crate::oracle::tables::Genre;
                $run
            }
            other => $crate::oracle::tables::with_owned!(other, $T => $run),
        }
    };
}

/// The same for tables that belong to organizations.
macro_rules! with_owned {
    ($tab:expr, $T:ident => $run:expr) => {
        match $tab {
            $crate::oracle::tables::Tab::Customer => {
                type $T = $crate::oracle::tables::Customer;
                $run
            }
            $crate::oracle::tables::Tab::Order => {
                type $T = $crate::oracle::tables::Order;
                $run
            }
            $crate::oracle::tables::Tab::Line => {
                type $T = $crate::oracle::tables::Line;
                $run
            }
            $crate::oracle::tables::Tab::Shipment => {
                type $T = $crate::oracle::tables::Shipment;
                $run
            }
            $crate::oracle::tables::Tab::Employee => {
                type $T = $crate::oracle::tables::Employee;
                $run
            }
            $crate::oracle::tables::Tab::Item => {
                type $T = $crate::oracle::tables::Item;
                $run
            }
            $crate::oracle::tables::Tab::Genre => unreachable!("a global table"),
        }
    };
}

/// Runs an expression with the Rust type of a column.
macro_rules! with_kind {
    ($kind:expr, $V:ident => $run:expr) => {
        match $kind {
            $crate::oracle::tables::Kind::Bool => {
                type $V = bool;
                $run
            }
            $crate::oracle::tables::Kind::I16 => {
                type $V = i16;
                $run
            }
            $crate::oracle::tables::Kind::I32 => {
                type $V = i32;
                $run
            }
            $crate::oracle::tables::Kind::I64 => {
                type $V = i64;
                $run
            }
            $crate::oracle::tables::Kind::F64 => {
                type $V = f64;
                $run
            }
            $crate::oracle::tables::Kind::Text => {
                type $V = String;
                $run
            }
            $crate::oracle::tables::Kind::Bytes => {
                type $V = Vec<u8>;
                $run
            }
            $crate::oracle::tables::Kind::Uuid => {
                type $V = uuid::Uuid;
                $run
            }
            $crate::oracle::tables::Kind::Time => {
                type $V = time::OffsetDateTime;
                $run
            }
            $crate::oracle::tables::Kind::Date => {
                type $V = time::Date;
                $run
            }
            $crate::oracle::tables::Kind::Json => {
                type $V = serde_json::Value;
                $run
            }
            $crate::oracle::tables::Kind::Decimal => {
                type $V = rust_decimal::Decimal;
                $run
            }
            $crate::oracle::tables::Kind::State => {
                type $V = $crate::oracle::tables::State;
                $run
            }
        }
    };
}

pub(crate) use {with_kind, with_owned, with_table};
