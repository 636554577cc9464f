//! Values on their way to PostgreSQL, in the binary format and with the type of their column.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgTypeInfo, Postgres};
use sqlx::{Arguments as _, Encode, Type};

use crate::database::statement::Given;
use crate::error::{Error, Result};
use crate::id::OrganizationKey;
use crate::table::{Value, days_to_store, micros_to_store, scaled_to_store};

/// A value in its binary form, or NULL, under the identifier of its type.
struct Typed<B> {
    oid: u32,
    bytes: Option<B>,
}

/// The identifiers of the types that values have: `pg_type.dat`.
pub(super) mod oid {
    /// Lets the server infer the type, which of a NULL nobody knows here.
    pub(in super::super) const UNSPECIFIED: u32 = 0;
    pub(in super::super) const BOOL: u32 = 16;
    pub(in super::super) const BYTEA: u32 = 17;
    pub(in super::super) const INT8: u32 = 20;
    pub(in super::super) const INT2: u32 = 21;
    pub(in super::super) const INT4: u32 = 23;
    pub(in super::super) const TEXT: u32 = 25;
    pub(in super::super) const FLOAT8: u32 = 701;
    pub(in super::super) const VARCHAR: u32 = 1043;
    pub(in super::super) const DATE: u32 = 1082;
    pub(in super::super) const TIMESTAMPTZ: u32 = 1184;
    pub(in super::super) const NUMERIC: u32 = 1700;
    pub(in super::super) const UUID: u32 = 2950;
}

/// The values of a statement, and the type of each.
#[derive(Debug, Default, Clone)]
pub(crate) struct Values {
    pub(crate) arguments: PgArguments,
    pub(super) types: Vec<u32>,
    /// About how many bytes they are together.
    pub(super) bytes: usize,
}

impl<B> Type<Postgres> for Typed<B> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(oid::UNSPECIFIED))
    }
}

impl<B: AsRef<[u8]>> Encode<'_, Postgres> for Typed<B> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        match &self.bytes {
            Some(bytes) => {
                buffer.extend_from_slice(bytes.as_ref());
                Ok(IsNull::No)
            }
            None => Ok(IsNull::Yes),
        }
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(Oid(self.oid)))
    }
}

impl Values {
    pub(crate) const fn len(&self) -> usize {
        self.types.len()
    }

    pub(crate) fn reserve(&mut self, values: usize) {
        self.arguments.reserve(values, values * 20);
        self.types.reserve(values);
    }

    fn typed<B: AsRef<[u8]>>(&mut self, oid: u32, bytes: B) -> Result<(), BoxDynError> {
        self.plain(oid, Typed { oid, bytes: Some(bytes) })
    }

    fn plain<'v, V>(&mut self, oid: u32, value: V) -> Result<(), BoxDynError>
    where
        V: Encode<'v, Postgres> + Type<Postgres> + 'v,
    {
        self.types.push(oid);
        self.arguments.add(value)
    }

    /// Binds a value.
    #[inline]
    pub(crate) fn add(&mut self, given: Given<'_>) -> Result<()> {
        self.bytes += match &given {
            Given::Value(Value::Bytes(value)) => value.len(),
            Given::Value(Value::Json(value) | Value::Text(value)) => value.len(),
            _ => 0,
        } + 16;
        let added = match given {
            Given::Organization(organization) => match organization.key() {
                OrganizationKey::Uuid(id) => self.typed(oid::UUID, id.as_bytes()),
                OrganizationKey::Integer(id) => self.plain(oid::INT8, id),
                OrganizationKey::Text(id) => self.plain(oid::TEXT, &**id),
            },
            Given::Value(value) => match value {
                Value::Null => {
                    let oid = oid::UNSPECIFIED;
                    self.plain(oid, Typed::<&[u8]> { oid, bytes: None })
                }
                Value::Bool(value) => self.plain(oid::BOOL, value),
                Value::Bytes(value) => self.plain(oid::BYTEA, value),
                Value::Date(day) => match days_to_store(day) {
                    Some(days) => self.typed(oid::DATE, days.to_be_bytes()),
                    None => {
                        return Err(Error::invalid("a date lies outside the range of the store"));
                    }
                },
                Value::Decimal(scaled, scale) => {
                    self.typed(oid::NUMERIC, scaled_to_store(scaled, scale))
                }
                Value::F64(value) => self.plain(oid::FLOAT8, value),
                Value::I16(value) => self.plain(oid::INT2, value),
                Value::I32(value) => self.plain(oid::INT4, value),
                Value::I64(value) => self.plain(oid::INT8, value),
                Value::Json(value) | Value::Text(value) => self.plain(oid::TEXT, &*value),
                Value::Timestamp(micros) => match micros_to_store(micros) {
                    Some(micros) => self.typed(oid::TIMESTAMPTZ, micros.to_be_bytes()),
                    None => {
                        return Err(Error::invalid("a time lies outside the range of the store"));
                    }
                },
                Value::Uuid(value) => self.typed(oid::UUID, value.as_bytes()),
                Value::Refused(reason) => return Err(Error::invalid(reason)),
            },
        };
        added.map_err(|_| Error::internal("a value could not be bound"))
    }
}
