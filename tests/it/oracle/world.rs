//! The fixture: tables of every kind, three organizations, and values that collide on purpose.

use std::fmt::Debug;
use std::sync::OnceLock;
use std::time::Duration;

use rust_decimal::Decimal;
use tenantry::audit::{AuditSink, MemorySink};
use tenantry::clock::ManualClock;
use tenantry::crypto::KeyRing;
use tenantry::scope::{MemoryDirectory, Principal, Role, ScopeIssuer, TicketKey};
use tenantry::table::{
    Column, ColumnDefinition, ColumnType, NotNull, OnDelete, Reference, ReferenceDefinition,
    RowReader, RowWriter, Schema, Table, TableDefinition, TenantTable, TextEnum,
};
use tenantry::{Database, OrganizationId, TenantScope};
use time::{Date, OffsetDateTime};
use uuid::Uuid;

/// What every text of organization B carries.
pub const MARK: &str = "B-MARK";

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

/// A value without its type, ordered as the store orders values: NULL first, text bytewise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cell {
    Null,
    Int(i64),
    /// A float, in quarters.
    Float(i64),
    Text(String),
    Bytes(Vec<u8>),
    /// In microseconds.
    Time(i64),
    /// A value that no column takes: NaN, nanoseconds, too many places or digits.
    Bad,
    /// A table that an outer join found no row of.
    Absent,
}

pub type Row = Vec<Cell>;

impl Cell {
    /// Whether no column takes the value.
    pub fn is_refused(&self) -> bool {
        match self {
            Self::Bad => true,
            Self::Text(text) => text.contains('\0'),
            _ => false,
        }
    }
}

/// A Rust type of a column, to and from cells.
pub trait Basis: NotNull + Clone + Debug {
    fn of(cell: &Cell) -> Option<Self>;
    fn cell(&self) -> Cell;
}

macro_rules! integers {
    ($($kind:ty),*) => {$(
        impl Basis for $kind {
            fn of(cell: &Cell) -> Option<Self> {
                match cell {
                    Cell::Int(value) => Some(<$kind>::try_from(*value).unwrap()),
                    Cell::Null => None,
                    other => panic!("{other:?} is no integer"),
                }
            }
            fn cell(&self) -> Cell {
                Cell::Int(i64::from(*self))
            }
        }
    )*};
}

integers!(i16, i32, i64);

impl Basis for bool {
    fn of(cell: &Cell) -> Option<Self> {
        i64::of(cell).map(|value| value != 0)
    }
    fn cell(&self) -> Cell {
        Cell::Int(i64::from(*self))
    }
}

impl Basis for f64 {
    fn of(cell: &Cell) -> Option<Self> {
        match cell {
            Cell::Float(quarters) => Some(*quarters as f64 / 4.0),
            Cell::Bad => Some(f64::NAN),
            _ => None,
        }
    }
    fn cell(&self) -> Cell {
        Cell::Float((self * 4.0) as i64)
    }
}

impl Basis for String {
    fn of(cell: &Cell) -> Option<Self> {
        match cell {
            Cell::Text(text) => Some(text.clone()),
            Cell::Bad => Some("\0".into()),
            _ => None,
        }
    }
    fn cell(&self) -> Cell {
        Cell::Text(self.clone())
    }
}

impl Basis for Vec<u8> {
    fn of(cell: &Cell) -> Option<Self> {
        match cell {
            Cell::Bytes(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }
    fn cell(&self) -> Cell {
        Cell::Bytes(self.clone())
    }
}

impl Basis for Uuid {
    fn of(cell: &Cell) -> Option<Self> {
        match cell {
            Cell::Bytes(bytes) => Some(Self::from_slice(bytes).unwrap()),
            _ => None,
        }
    }
    fn cell(&self) -> Cell {
        Cell::Bytes(self.as_bytes().to_vec())
    }
}

impl Basis for OffsetDateTime {
    fn of(cell: &Cell) -> Option<Self> {
        match cell {
            Cell::Time(micros) => {
                Some(Self::from_unix_timestamp_nanos(i128::from(*micros) * 1_000).unwrap())
            }
            Cell::Bad => Some(Self::from_unix_timestamp_nanos(1).unwrap()),
            _ => None,
        }
    }
    fn cell(&self) -> Cell {
        Cell::Time(i64::try_from(self.unix_timestamp_nanos() / 1_000).unwrap())
    }
}

impl Basis for Date {
    fn of(cell: &Cell) -> Option<Self> {
        i32::of(cell).map(|day| Self::from_julian_day(day).unwrap())
    }
    fn cell(&self) -> Cell {
        Cell::Int(i64::from(self.to_julian_day()))
    }
}

impl Basis for serde_json::Value {
    fn of(cell: &Cell) -> Option<Self> {
        match cell {
            Cell::Text(text) => Some(serde_json::from_str(text).unwrap()),
            Cell::Bad => Some(serde_json::json!(1e16)),
            _ => None,
        }
    }
    fn cell(&self) -> Cell {
        Cell::Text(self.to_string())
    }
}

impl Basis for Decimal {
    fn of(cell: &Cell) -> Option<Self> {
        match cell {
            Cell::Int(cents) => Some(Self::new(*cents, 2)),
            Cell::Bad => Some(Self::MAX),
            _ => None,
        }
    }
    fn cell(&self) -> Cell {
        let mut scaled = *self;
        scaled.rescale(2);
        Cell::Int(i64::try_from(scaled.mantissa()).unwrap())
    }
}

impl Basis for State {
    fn of(cell: &Cell) -> Option<Self> {
        match cell {
            Cell::Text(text) => Self::ALL.iter().copied().find(|state| state.text() == text),
            _ => None,
        }
    }
    fn cell(&self) -> Cell {
        Cell::Text(self.text().into())
    }
}

/// Whatever a statement reads, as cells.
pub trait IntoCell {
    fn into_cell(self) -> Cell;
}

impl<B: Basis> IntoCell for B {
    fn into_cell(self) -> Cell {
        self.cell()
    }
}

impl<B: IntoCell> IntoCell for Option<B> {
    fn into_cell(self) -> Cell {
        self.map_or(Cell::Null, B::into_cell)
    }
}

/// A field, present or NULL.
trait Field {
    fn take(cell: &Cell) -> Self;
    fn give(&self) -> Cell;
}

impl<B: Basis> Field for B {
    fn take(cell: &Cell) -> Self {
        B::of(cell).unwrap()
    }
    fn give(&self) -> Cell {
        self.cell()
    }
}

impl<B: Basis> Field for Option<B> {
    fn take(cell: &Cell) -> Self {
        B::of(cell)
    }
    fn give(&self) -> Cell {
        self.as_ref().map_or(Cell::Null, B::cell)
    }
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
            $crate::oracle::world::Tab::Genre => {
                type $T = $crate::oracle::world::Genre;
                $run
            }
            other => $crate::oracle::world::with_owned!(other, $T => $run),
        }
    };
}

/// The same for tables that belong to organizations.
macro_rules! with_owned {
    ($tab:expr, $T:ident => $run:expr) => {
        match $tab {
            $crate::oracle::world::Tab::Customer => {
                type $T = $crate::oracle::world::Customer;
                $run
            }
            $crate::oracle::world::Tab::Order => {
                type $T = $crate::oracle::world::Order;
                $run
            }
            $crate::oracle::world::Tab::Line => {
                type $T = $crate::oracle::world::Line;
                $run
            }
            $crate::oracle::world::Tab::Shipment => {
                type $T = $crate::oracle::world::Shipment;
                $run
            }
            $crate::oracle::world::Tab::Employee => {
                type $T = $crate::oracle::world::Employee;
                $run
            }
            $crate::oracle::world::Tab::Item => {
                type $T = $crate::oracle::world::Item;
                $run
            }
            $crate::oracle::world::Tab::Genre => unreachable!("a global table"),
        }
    };
}

/// Runs an expression with the Rust type of a column.
macro_rules! with_kind {
    ($kind:expr, $V:ident => $run:expr) => {
        match $kind {
            $crate::oracle::world::Kind::Bool => {
                type $V = bool;
                $run
            }
            $crate::oracle::world::Kind::I16 => {
                type $V = i16;
                $run
            }
            $crate::oracle::world::Kind::I32 => {
                type $V = i32;
                $run
            }
            $crate::oracle::world::Kind::I64 => {
                type $V = i64;
                $run
            }
            $crate::oracle::world::Kind::F64 => {
                type $V = f64;
                $run
            }
            $crate::oracle::world::Kind::Text => {
                type $V = String;
                $run
            }
            $crate::oracle::world::Kind::Bytes => {
                type $V = Vec<u8>;
                $run
            }
            $crate::oracle::world::Kind::Uuid => {
                type $V = uuid::Uuid;
                $run
            }
            $crate::oracle::world::Kind::Time => {
                type $V = time::OffsetDateTime;
                $run
            }
            $crate::oracle::world::Kind::Date => {
                type $V = time::Date;
                $run
            }
            $crate::oracle::world::Kind::Json => {
                type $V = serde_json::Value;
                $run
            }
            $crate::oracle::world::Kind::Decimal => {
                type $V = rust_decimal::Decimal;
                $run
            }
            $crate::oracle::world::Kind::State => {
                type $V = $crate::oracle::world::State;
                $run
            }
        }
    };
}

pub(crate) use {with_kind, with_owned, with_table};

/// Who acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    A,
    /// Holds what A holds, with every text marked.
    B,
    /// Holds exactly what A holds.
    C,
}

impl Who {
    pub const ALL: [Self; 3] = [Self::A, Self::B, Self::C];

    /// B's key sorts before A's, C's after it, so that A's rows lie between foreign ones.
    pub fn organization(self) -> OrganizationId {
        let byte = match self {
            Self::B => 0x11,
            Self::A => 0x77,
            Self::C => 0xEE,
        };
        OrganizationId::from_uuid(Uuid::from_bytes([byte; 16])).unwrap()
    }

    pub fn principal(self) -> Principal {
        Principal::user(match self {
            Self::A => "ann",
            Self::B => "bob",
            Self::C => "cleo",
        })
    }
}

/// One empty database with everything around it.
pub struct World {
    pub db: Database,
    pub issuer: ScopeIssuer,
    pub sink: MemorySink,
    pub tickets: TicketKey,
    pub scopes: [TenantScope; 3],
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

/// Where a world lives.
#[derive(Debug, Clone, Copy)]
pub enum Place<'p> {
    Memory,
    File {
        path: &'p std::path::Path,
        paranoid: bool,
    },
    #[cfg(feature = "postgres")]
    Server(&'p super::server::Server),
}

/// Who lets the three organizations in, at a time that stands still.
pub fn issuer(sink: impl AuditSink) -> ScopeIssuer {
    let directory = MemoryDirectory::new();
    for who in Who::ALL {
        directory.add_member(&who.organization(), &who.principal(), Role::Member);
    }
    ScopeIssuer::builder(directory)
        .clock(ManualClock::new(OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)))
        .audit(sink)
        .build()
}

pub async fn add_genres(db: &Database) {
    let authority =
        tenantry::ambient::cross_tenant_authority("reference data", Principal::job("fixture"));
    let genres = GENRES.map(|(id, name)| Genre { id, name: name.into() });
    Genre::insert_many_global(&authority, genres).execute(db).await.unwrap();
}

pub async fn world(place: Place<'_>) -> World {
    let sink = MemorySink::with_capacity(100_000);
    let (db, issuer) = match place {
        Place::Memory => embedded("sqlite::memory:", false, &sink).await,
        Place::File { path, paranoid } => {
            embedded(&format!("sqlite://{}", path.display()), paranoid, &sink).await
        }
        #[cfg(feature = "postgres")]
        Place::Server(server) => server.emptied(&sink).await,
    };
    let mut scopes = Vec::new();
    for who in Who::ALL {
        scopes.push(issuer.enter(&who.principal(), who.organization()).await.unwrap());
    }
    World {
        db,
        issuer,
        sink,
        tickets: TicketKey::new("oracle", KeyRing::random().unwrap()).unwrap(),
        scopes: scopes.try_into().unwrap(),
    }
}

/// A new SQLite database.
async fn embedded(url: &str, paranoid: bool, sink: &MemorySink) -> (Database, ScopeIssuer) {
    let issuer = issuer(sink.clone());
    let db = Database::builder()
        .issuer(&issuer)
        .allow_cross_tenant()
        .cursor_keys(KeyRing::random().unwrap())
        .page_cache_kib(512)
        .paranoid(paranoid)
        .connect(url, schema())
        .await
        .unwrap();
    db.create_tables().await.unwrap();
    add_genres(&db).await;
    (db, issuer)
}

/// A scope without a database, for rendering.
pub async fn lone_scope() -> TenantScope {
    let directory = MemoryDirectory::new();
    directory.add_member(&Who::A.organization(), &Who::A.principal(), Role::Member);
    ScopeIssuer::new(directory).enter(&Who::A.principal(), Who::A.organization()).await.unwrap()
}

impl World {
    /// Ends the world; a server goes on to the next one.
    pub async fn end(self, place: Place<'_>) {
        match place {
            Place::Memory | Place::File { .. } => self.db.close().await,
            #[cfg(feature = "postgres")]
            Place::Server(_) => {}
        }
    }

    pub fn scope(&self, who: Who) -> &TenantScope {
        &self.scopes[who as usize]
    }

    pub async fn enter(&mut self, who: Who) {
        self.scopes[who as usize] =
            self.issuer.enter(&who.principal(), who.organization()).await.unwrap();
    }

    /// Every row of every organization but A.
    pub async fn others(&self) -> Vec<(Tab, OrganizationId, Row)> {
        let authority =
            tenantry::ambient::cross_tenant_authority("dump", Principal::job("fixture"));
        let ours = Who::A.organization();
        let mut dump = Vec::new();
        for tab in Tab::OWNED {
            with_owned!(tab, T => {
                let rows = T::select_across(&authority).fetch_all(&self.db).await.unwrap();
                let foreign = rows.into_iter().filter(|(organization, _)| *organization != ours);
                dump.extend(foreign.map(|(organization, row)| (tab, organization, row.row())));
            });
        }
        dump
    }
}
