//! The Rust types a column can hold, and how each travels to and from a store without loss.

use std::sync::Arc;

use rust_decimal::Decimal;
use time::{Date, OffsetDateTime, UtcOffset};
use uuid::Uuid;

use super::definition::{ColumnDefinition, ColumnType};
use super::row::RowReader;
use crate::crypto::KeyId;
use crate::error::{Error, Result};

/// A Rust type that a column can hold on every store without loss.
///
/// Implemented for `bool`, `i16`, `i32`, `i64`, `f64`, `String`, `Vec<u8>`, `Uuid`,
/// `time::OffsetDateTime`, `time::Date`, `serde_json::Value`, `rust_decimal::Decimal`,
/// [`SealedValue`](crate::credential::SealedValue), [`BlindIndex`](crate::crypto::BlindIndex), every
/// [`TextEnum`], and `Option` of each. Sealed: the renderer and the second opinion rely on it.
///
/// A value that a store would change on the way is refused with
/// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) instead of altered: NaN, text with NUL, times
/// with nanoseconds or an offset, decimals with more places than declared, JSON with `\u0000` or
/// numbers that would come back rewritten.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the type of a column",
    label = "not a column type",
    note = "columns hold bool, i16, i32, i64, f64, String, Vec<u8>, Uuid, OffsetDateTime, Date, serde_json::Value, Decimal, SealedValue, BlindIndex, enums that implement `tenantry::table::TextEnum`, and Option of each"
)]
pub trait ColumnValue: Codec + Send + Sync + 'static {
    /// The stored type.
    const TYPE: ColumnType;
    /// Whether the type has a NULL.
    const NULLABLE: bool;
    /// Whether values are made under a data key, and counted before it is retired.
    const SEALED: bool = false;
    /// The type without `Option`.
    type Base: NotNull;
}

/// A column type other than `Option`.
pub trait NotNull: ColumnValue {}

/// A unit enum stored as text.
///
/// ```
/// use tenantry::table::TextEnum;
///
/// #[derive(Debug, Clone, Copy, PartialEq)]
/// enum Status { Open, Paid }
///
/// impl TextEnum for Status {
///     const VARIANTS: &'static [&'static str] = &["open", "paid"];
///     const ALL: &'static [Self] = &[Status::Open, Status::Paid];
///     fn text(&self) -> &'static str {
///         match self { Status::Open => "open", Status::Paid => "paid" }
///     }
/// }
/// ```
pub trait TextEnum: Copy + Send + Sync + 'static {
    /// The stored texts, in the order of [`ALL`](Self::ALL).
    const VARIANTS: &'static [&'static str];
    /// The variants.
    const ALL: &'static [Self];
    /// The stored text of this variant: one of [`VARIANTS`](Self::VARIANTS).
    fn text(&self) -> &'static str;
}

/// A value on its way to a store.
#[derive(Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Bytes(Vec<u8>),
    Date(i32),
    /// The value times ten to the scale, and the scale.
    Decimal(i64, u8),
    F64(f64),
    I16(i16),
    I32(i32),
    I64(i64),
    Json(Arc<str>),
    /// A sealed value or blind index on its way into a row, where its key must seal still: the key, if
    /// it is known by its name.
    Sealed(Box<(Vec<u8>, Option<KeyId>)>),
    Text(Arc<str>),
    Timestamp(i64),
    Uuid(Uuid),
    /// A value that no store may see; the statement fails with this reason.
    Refused(&'static str),
}

impl Value {
    /// Whether the column takes the value.
    #[inline]
    pub(crate) fn accept(&self, table: &'static str, column: &ColumnDefinition) -> Result<()> {
        if self.fits(column.kind()) { Ok(()) } else { Err(self.refusal(table, column)) }
    }

    #[cold]
    fn refusal(&self, table: &'static str, column: &ColumnDefinition) -> Error {
        let error = match self {
            Self::Refused(reason) => Error::invalid(*reason),
            _ => Error::misuse("a value is of another type than its column declares"),
        };
        error.at_table(table).at_column(column.name())
    }

    /// Whether the value is of the type: a column constant made by hand can claim another.
    const fn fits(&self, kind: ColumnType) -> bool {
        matches!(
            (self, kind),
            (Self::Null, _)
                | (Self::Bool(_), ColumnType::Bool)
                | (Self::Bytes(_) | Self::Sealed(..), ColumnType::Bytes)
                | (Self::Date(_), ColumnType::Date)
                | (Self::Decimal(..), ColumnType::Decimal)
                | (Self::F64(_), ColumnType::F64)
                | (Self::I16(_), ColumnType::I16)
                | (Self::I32(_), ColumnType::I32)
                | (Self::I64(_), ColumnType::I64)
                | (Self::Json(_), ColumnType::Json)
                | (Self::Text(_), ColumnType::Text | ColumnType::Enum(_))
                | (Self::Timestamp(_), ColumnType::Timestamp)
                | (Self::Uuid(_), ColumnType::Uuid)
        )
    }
}

impl Value {
    /// The value where a column is compared with it, and not written.
    #[inline]
    pub(crate) fn compared(self) -> Self {
        match self {
            Self::Sealed(sealed) => Self::Bytes(sealed.0),
            value => value,
        }
    }

    /// The order of two key values of one column, as the store orders them.
    pub(crate) fn key_order(&self, other: &Self) -> std::cmp::Ordering {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            (Self::Sealed(a), Self::Sealed(b)) => a.0.cmp(&b.0),
            (Self::Date(a), Self::Date(b)) => a.cmp(b),
            (Self::Decimal(a, _), Self::Decimal(b, _))
            | (Self::I64(a), Self::I64(b))
            | (Self::Timestamp(a), Self::Timestamp(b)) => a.cmp(b),
            (Self::F64(a), Self::F64(b)) => a.total_cmp(b),
            (Self::Json(a), Self::Json(b)) | (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Uuid(a), Self::Uuid(b)) => a.cmp(b),
            _ => std::cmp::Ordering::Equal,
        }
    }
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Bytes(_) => "bytes",
            Self::Date(_) => "date",
            Self::Decimal(..) => "decimal",
            Self::F64(_) => "f64",
            Self::I16(_) => "i16",
            Self::I32(_) => "i32",
            Self::I64(_) => "i64",
            Self::Json(_) => "json",
            Self::Sealed(..) => "sealed",
            Self::Text(_) => "text",
            Self::Timestamp(_) => "timestamp",
            Self::Uuid(_) => "uuid",
            Self::Refused(_) => "refused",
        })
    }
}

/// The sealed half of [`ColumnValue`].
pub trait Codec: Sized {
    fn encode(&self, column: &ColumnDefinition) -> Value;
    fn decode(row: &mut RowReader<'_>, column: &ColumnDefinition) -> Result<Self>;
}

macro_rules! plain {
    ($($rust:ty => $kind:ident, $read:ident;)*) => {$(
        impl ColumnValue for $rust {
            const TYPE: ColumnType = ColumnType::$kind;
            const NULLABLE: bool = false;
            type Base = Self;
        }
        impl NotNull for $rust {}
        impl Codec for $rust {
            fn encode(&self, _: &ColumnDefinition) -> Value {
                Value::$kind(*self)
            }
            fn decode(row: &mut RowReader<'_>, _: &ColumnDefinition) -> Result<Self> {
                row.$read()
            }
        }
    )*};
}

plain! {
    bool => Bool, read_bool;
    i16 => I16, read_integer;
    i32 => I32, read_integer;
    i64 => I64, read_integer;
    Uuid => Uuid, read_uuid;
}

macro_rules! column_values {
    ($($rust:ty => $kind:ident;)*) => {$(
        impl ColumnValue for $rust {
            const TYPE: ColumnType = ColumnType::$kind;
            const NULLABLE: bool = false;
            type Base = Self;
        }
        impl NotNull for $rust {}
    )*};
}

column_values! {
    f64 => F64;
    String => Text;
    Vec<u8> => Bytes;
    OffsetDateTime => Timestamp;
    Date => Date;
    Decimal => Decimal;
    serde_json::Value => Json;
}

impl Codec for f64 {
    fn encode(&self, _: &ColumnDefinition) -> Value {
        if self.is_nan() {
            return Value::Refused("a float column does not hold NaN");
        }
        Value::F64(*self)
    }
    fn decode(row: &mut RowReader<'_>, _: &ColumnDefinition) -> Result<Self> {
        row.read_f64()
    }
}

pub(crate) fn encode_text(text: &str) -> Value {
    if text.as_bytes().contains(&0) {
        return Value::Refused("a text column does not hold the NUL character");
    }
    Value::Text(Arc::from(text))
}

impl Codec for String {
    fn encode(&self, _: &ColumnDefinition) -> Value {
        encode_text(self)
    }
    fn decode(row: &mut RowReader<'_>, _: &ColumnDefinition) -> Result<Self> {
        row.read_text()
    }
}

impl Codec for Vec<u8> {
    fn encode(&self, _: &ColumnDefinition) -> Value {
        Value::Bytes(self.clone())
    }
    fn decode(row: &mut RowReader<'_>, _: &ColumnDefinition) -> Result<Self> {
        row.read_bytes()
    }
}

/// Years that every store can hold: PostgreSQL begins at Julian day 0, -4713-11-24.
const FIRST_YEAR: i32 = -4712;

impl Codec for OffsetDateTime {
    fn encode(&self, _: &ColumnDefinition) -> Value {
        if self.offset() != UtcOffset::UTC {
            return Value::Refused(
                "a time column holds UTC: convert with `to_offset(UtcOffset::UTC)`",
            );
        }
        if !self.nanosecond().is_multiple_of(1_000) {
            return Value::Refused(
                "a time column holds microseconds: make the time with `tenantry::now()` or truncate it",
            );
        }
        if self.year() < FIRST_YEAR {
            return Value::Refused("a time column begins with the year -4712");
        }
        match i64::try_from(self.unix_timestamp_nanos() / 1_000) {
            Ok(micros) => Value::Timestamp(micros),
            Err(_) => Value::Refused("a time lies outside the range of the store"),
        }
    }
    fn decode(row: &mut RowReader<'_>, _: &ColumnDefinition) -> Result<Self> {
        row.read_timestamp()
    }
}

impl Codec for Date {
    fn encode(&self, _: &ColumnDefinition) -> Value {
        if self.year() < FIRST_YEAR {
            return Value::Refused("a date column begins with the year -4712");
        }
        Value::Date(self.to_julian_day())
    }
    fn decode(row: &mut RowReader<'_>, _: &ColumnDefinition) -> Result<Self> {
        row.read_date()
    }
}

impl Codec for Decimal {
    fn encode(&self, column: &ColumnDefinition) -> Value {
        let scale = u32::from(column.decimals());
        let value = self.normalize();
        if value.scale() > scale {
            return Value::Refused("a decimal has more places than its column declares");
        }
        let mut scaled = value.mantissa();
        for _ in value.scale()..scale {
            scaled = match scaled.checked_mul(10) {
                Some(scaled) => scaled,
                None => return Value::Refused("a decimal lies outside the range of its column"),
            };
        }
        match i64::try_from(scaled) {
            Ok(scaled) => Value::Decimal(scaled, column.decimals()),
            Err(_) => Value::Refused("a decimal lies outside the range of its column"),
        }
    }
    fn decode(row: &mut RowReader<'_>, column: &ColumnDefinition) -> Result<Self> {
        row.read_decimal(column.decimals())
    }
}

impl Codec for serde_json::Value {
    fn encode(&self, _: &ColumnDefinition) -> Value {
        if let Some(reason) = json_refusal(self) {
            return Value::Refused(reason);
        }
        match serde_json::to_string(self) {
            // serde_json reads floats back within one unit in the last place unless the
            // application enables `float_roundtrip`, so what comes back is compared.
            Ok(text) if serde_json::from_str::<Self>(&text).is_ok_and(|back| back == *self) => {
                Value::Json(Arc::from(text))
            }
            _ => Value::Refused("a JSON value would not come back as it is"),
        }
    }
    fn decode(row: &mut RowReader<'_>, _: &ColumnDefinition) -> Result<Self> {
        row.read_json()
    }
}

/// What jsonb would rewrite or refuse is refused on every store.
fn json_refusal(value: &serde_json::Value) -> Option<&'static str> {
    match value {
        serde_json::Value::String(text) => {
            text.contains('\0').then_some("a JSON value does not hold the NUL character")
        }
        serde_json::Value::Number(number) if number.is_f64() => number
            .as_f64()
            .is_none_or(|float| float.abs() >= 1e15)
            .then_some("a JSON float of 1e15 or more would come back as an integer"),
        serde_json::Value::Array(items) => items.iter().find_map(json_refusal),
        serde_json::Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            if name.contains('\0') {
                return Some("a JSON value does not hold the NUL character");
            }
            json_refusal(value)
        }),
        _ => None,
    }
}

#[diagnostic::do_not_recommend]
impl<E: TextEnum> ColumnValue for E {
    const TYPE: ColumnType = ColumnType::Enum(E::VARIANTS);
    const NULLABLE: bool = false;
    type Base = Self;
}

#[diagnostic::do_not_recommend]
impl<E: TextEnum> NotNull for E {}

#[diagnostic::do_not_recommend]
impl<E: TextEnum> Codec for E {
    fn encode(&self, _: &ColumnDefinition) -> Value {
        let text = self.text();
        if !E::VARIANTS.contains(&text) {
            return Value::Refused("an enum's text is not among its VARIANTS");
        }
        encode_text(text)
    }
    fn decode(row: &mut RowReader<'_>, _: &ColumnDefinition) -> Result<Self> {
        let text = row.read_text()?;
        E::ALL
            .iter()
            .find(|variant| variant.text() == text)
            .copied()
            .ok_or_else(|| row.corrupt("text that is no variant of its enum"))
    }
}

impl<V: NotNull> ColumnValue for Option<V> {
    const TYPE: ColumnType = V::TYPE;
    const NULLABLE: bool = true;
    const SEALED: bool = V::SEALED;
    type Base = V;
}

impl<V: NotNull> Codec for Option<V> {
    fn encode(&self, column: &ColumnDefinition) -> Value {
        self.as_ref().map_or(Value::Null, |value| value.encode(column))
    }
    fn decode(row: &mut RowReader<'_>, column: &ColumnDefinition) -> Result<Self> {
        if row.skip_null()? {
            return Ok(None);
        }
        V::decode(row, column).map(Some)
    }
}
