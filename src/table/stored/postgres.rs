//! Values of a PostgreSQL row, in the binary format of the extended protocol, by type.

use sqlx::postgres::{PgRow, PgValueFormat, PgValueRef};
use sqlx::{Row as _, ValueRef as _};
use uuid::Uuid;

use super::numeric::{NUMERIC, days_from_store, micros_from_store, scaled_from_store};
use super::{Fit, Misfit};

/// Identifiers of built-in types, which are the same in every PostgreSQL: `pg_type.dat`.
mod oid {
    pub(super) const BOOL: u32 = 16;
    pub(super) const BYTEA: u32 = 17;
    pub(super) const INT8: u32 = 20;
    pub(super) const INT2: u32 = 21;
    pub(super) const INT4: u32 = 23;
    pub(super) const TEXT: u32 = 25;
    pub(super) const FLOAT8: u32 = 701;
    pub(super) const VARCHAR: u32 = 1043;
    pub(super) const DATE: u32 = 1082;
    pub(super) const TIMESTAMPTZ: u32 = 1184;
    pub(super) const UUID: u32 = 2950;
}

const TYPE: Misfit = Misfit::Stored("a value of another type than its column declares");
const FORM: Misfit = Misfit::Stored("a value of another form than its column declares");

fn raw(row: &PgRow, at: usize) -> Fit<PgValueRef<'_>> {
    row.try_get_raw(at).map_err(|_| Misfit::Absent)
}

pub(super) fn is_null(row: &PgRow, at: usize) -> Fit<bool> {
    raw(row, at).map(|raw| raw.is_null())
}

/// The bytes of a value and its type.
fn typed(row: &PgRow, at: usize) -> Fit<(u32, &[u8])> {
    let raw = raw(row, at)?;
    if raw.is_null() || raw.format() != PgValueFormat::Binary {
        return Err(TYPE);
    }
    let oid = raw.type_info().oid().ok_or(TYPE)?;
    Ok((oid.0, raw.as_bytes().map_err(|_| FORM)?))
}

fn of(row: &PgRow, at: usize, wanted: u32) -> Fit<&[u8]> {
    match typed(row, at)? {
        (oid, bytes) if oid == wanted => Ok(bytes),
        _ => Err(TYPE),
    }
}

fn array<const N: usize>(bytes: &[u8]) -> Fit<[u8; N]> {
    bytes.try_into().map_err(|_| FORM)
}

pub(super) fn boolean(row: &PgRow, at: usize) -> Fit<bool> {
    let [byte] = array(of(row, at, oid::BOOL)?)?;
    Ok(byte != 0)
}

pub(super) fn bytes(row: &PgRow, at: usize) -> Fit<&[u8]> {
    of(row, at, oid::BYTEA)
}

pub(super) fn date(row: &PgRow, at: usize) -> Fit<i64> {
    days_from_store(i32::from_be_bytes(array(of(row, at, oid::DATE)?)?))
}

pub(super) fn decimal(row: &PgRow, at: usize, scale: u8) -> Fit<i64> {
    scaled_from_store(of(row, at, NUMERIC)?, scale)
}

pub(super) fn float(row: &PgRow, at: usize) -> Fit<f64> {
    Ok(f64::from_be_bytes(array(of(row, at, oid::FLOAT8)?)?))
}

/// An integer of any width; a sum of 64-bit integers is a `numeric`.
pub(super) fn integer(row: &PgRow, at: usize) -> Fit<i64> {
    match typed(row, at)? {
        (oid::INT8, bytes) => Ok(i64::from_be_bytes(array(bytes)?)),
        (oid::INT4, bytes) => Ok(i64::from(i32::from_be_bytes(array(bytes)?))),
        (oid::INT2, bytes) => Ok(i64::from(i16::from_be_bytes(array(bytes)?))),
        (NUMERIC, bytes) => scaled_from_store(bytes, 0),
        _ => Err(TYPE),
    }
}

pub(super) fn text(row: &PgRow, at: usize) -> Fit<&str> {
    match typed(row, at)? {
        (oid::TEXT | oid::VARCHAR, bytes) => std::str::from_utf8(bytes).map_err(|_| FORM),
        _ => Err(TYPE),
    }
}

pub(super) fn timestamp(row: &PgRow, at: usize) -> Fit<i64> {
    micros_from_store(i64::from_be_bytes(array(of(row, at, oid::TIMESTAMPTZ)?)?))
}

pub(super) fn uuid(row: &PgRow, at: usize) -> Fit<Uuid> {
    Ok(Uuid::from_bytes(array(of(row, at, oid::UUID)?)?))
}
