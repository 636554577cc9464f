//! Values of a SQLite row, by storage class.

use sqlx::sqlite::{Sqlite, SqliteRow};
use sqlx::{Decode, Row as _, Type, ValueRef as _};
use uuid::Uuid;

use super::{Fit, Misfit};

pub(super) fn is_null(row: &SqliteRow, at: usize) -> Fit<bool> {
    row.try_get_raw(at).map(|raw| raw.is_null()).map_err(|_| Misfit::Absent)
}

fn raw<'r, T: Decode<'r, Sqlite> + Type<Sqlite>>(row: &'r SqliteRow, at: usize) -> Fit<T> {
    let raw = row.try_get_raw(at).map_err(|_| Misfit::Absent)?;
    // sqlx's own check accepts several storage classes for one type, and without a check SQLite
    // converts text that is no number to 0.
    if raw.is_null() || *raw.type_info() != T::type_info() {
        return Err(Misfit::Stored("a value of another storage class than its column declares"));
    }
    T::decode(raw).map_err(|_| Misfit::Stored("a value of another form than its column declares"))
}

pub(super) fn boolean(row: &SqliteRow, at: usize) -> Fit<bool> {
    match integer(row, at)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Misfit::Stored("a boolean other than 0 and 1")),
    }
}

pub(super) fn bytes(row: &SqliteRow, at: usize) -> Fit<&[u8]> {
    raw(row, at)
}

pub(super) fn date(row: &SqliteRow, at: usize) -> Fit<i64> {
    integer(row, at)
}

pub(super) fn decimal(row: &SqliteRow, at: usize, _: u8) -> Fit<i64> {
    integer(row, at)
}

pub(super) fn float(row: &SqliteRow, at: usize) -> Fit<f64> {
    raw(row, at)
}

pub(super) fn integer(row: &SqliteRow, at: usize) -> Fit<i64> {
    raw(row, at)
}

pub(super) fn text(row: &SqliteRow, at: usize) -> Fit<&str> {
    raw(row, at)
}

pub(super) fn timestamp(row: &SqliteRow, at: usize) -> Fit<i64> {
    integer(row, at)
}

pub(super) fn uuid(row: &SqliteRow, at: usize) -> Fit<Uuid> {
    Uuid::from_slice(bytes(row, at)?)
        .map_err(|_| Misfit::Stored("a UUID that is not 16 bytes long"))
}
