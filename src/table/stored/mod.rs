//! A row as a store returned it: its values by their place.

#![cfg_attr(
    not(any(feature = "postgres", feature = "sqlite")),
    allow(unused_variables, reason = "without a store there are no rows")
)]

#[cfg(feature = "postgres")]
mod numeric;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use uuid::Uuid;

use crate::error::Result;
use crate::id::{OrganizationId, OrganizationKey};

#[cfg(feature = "postgres")]
pub(crate) use numeric::{days_to_store, micros_to_store, scaled_to_store};

/// A row of an enabled store.
pub(crate) enum StoreRow {
    #[cfg(feature = "postgres")]
    Postgres(sqlx::postgres::PgRow),
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::sqlite::SqliteRow),
}

/// Why a value could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// The row has fewer columns than its statement.
    Absent,
    /// An integer, of a sum for example, is larger than 64 bits.
    #[cfg(feature = "postgres")]
    Overflow,
    /// What the store holds instead.
    Stored(&'static str),
}

pub(crate) type Fit<T> = Result<T, Misfit>;

/// What every store gives of a row. All but `is_null` refuse NULL.
macro_rules! values {
    ($($(#[$meta:meta])* $name:ident($($argument:ident: $kind:ty)?) -> $value:ty;)*) => {
        impl StoreRow {$(
            $(#[$meta])*
            pub(crate) fn $name(&self, at: usize $(, $argument: $kind)?) -> Fit<$value> {
                match self {
                    #[cfg(feature = "postgres")]
                    Self::Postgres(row) => postgres::$name(row, at $(, $argument)?),
                    #[cfg(feature = "sqlite")]
                    Self::Sqlite(row) => sqlite::$name(row, at $(, $argument)?),
                    #[cfg(not(any(feature = "postgres", feature = "sqlite")))]
                    _ => Err(Misfit::Absent),
                }
            }
        )*}
    };
}

values! {
    is_null() -> bool;
    boolean() -> bool;
    bytes() -> &[u8];
    /// As a Julian day number.
    date() -> i64;
    /// A decimal times ten to the scale.
    decimal(scale: u8) -> i64;
    float() -> f64;
    integer() -> i64;
    text() -> &str;
    /// In microseconds since the Unix epoch.
    timestamp() -> i64;
    uuid() -> Uuid;
}

impl StoreRow {
    /// Whether the value is this organization; one of another form is as foreign as another value.
    pub(crate) fn is_organization(&self, at: usize, organization: &OrganizationId) -> bool {
        match organization.key() {
            OrganizationKey::Uuid(id) => self.uuid(at).is_ok_and(|found| found == id),
            OrganizationKey::Integer(id) => self.integer(at).is_ok_and(|found| found == id),
            OrganizationKey::Text(id) => self.text(at).is_ok_and(|found| found == &**id),
        }
    }
}
