//! Values without their types, and the types that they stand for.

use std::fmt::Debug;

use rust_decimal::Decimal;
use tenantry::table::{NotNull, TextEnum};
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use super::tables::State;

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
pub trait Field {
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
