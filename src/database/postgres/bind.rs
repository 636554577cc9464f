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

/// A value in its binary form, or NULL, under the identifier of its type: `pg_type.dat`.
struct Typed<B> {
    oid: u32,
    bytes: Option<B>,
}

/// Lets the server infer the type, which of a NULL nobody knows here.
const UNSPECIFIED: u32 = 0;

const NUMERIC: u32 = 1700;
const DATE: u32 = 1082;
const TIMESTAMPTZ: u32 = 1184;
const UUID: u32 = 2950;

impl<B> Type<Postgres> for Typed<B> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(UNSPECIFIED))
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

fn typed<B: AsRef<[u8]>>(
    arguments: &mut PgArguments,
    oid: u32,
    bytes: B,
) -> Result<(), BoxDynError> {
    arguments.add(Typed { oid, bytes: Some(bytes) })
}

/// Binds a value.
#[inline]
pub(crate) fn add(arguments: &mut PgArguments, given: Given<'_>) -> Result<()> {
    let added = match given {
        Given::Organization(organization) => match organization.key() {
            OrganizationKey::Uuid(id) => typed(arguments, UUID, id.as_bytes()),
            OrganizationKey::Integer(id) => arguments.add(id),
            OrganizationKey::Text(id) => arguments.add(&**id),
        },
        Given::Value(value) => match value {
            Value::Null => arguments.add(Typed::<&[u8]> { oid: UNSPECIFIED, bytes: None }),
            Value::Bool(value) => arguments.add(value),
            Value::Bytes(value) => arguments.add(value),
            Value::Sealed(sealed) => arguments.add(sealed.0),
            Value::Date(day) => match days_to_store(day) {
                Some(days) => typed(arguments, DATE, days.to_be_bytes()),
                None => return Err(Error::invalid("a date lies outside the range of the store")),
            },
            Value::Decimal(scaled, scale) => {
                typed(arguments, NUMERIC, scaled_to_store(scaled, scale))
            }
            Value::F64(value) => arguments.add(value),
            Value::I16(value) => arguments.add(value),
            Value::I32(value) => arguments.add(value),
            Value::I64(value) => arguments.add(value),
            Value::Json(value) | Value::Text(value) => arguments.add(&*value),
            Value::Timestamp(micros) => match micros_to_store(micros) {
                Some(micros) => typed(arguments, TIMESTAMPTZ, micros.to_be_bytes()),
                None => return Err(Error::invalid("a time lies outside the range of the store")),
            },
            Value::Uuid(value) => typed(arguments, UUID, value.as_bytes()),
            Value::Refused(reason) => return Err(Error::invalid(reason)),
        },
    };
    added.map_err(|_| Error::internal("a value could not be bound"))
}
