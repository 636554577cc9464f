//! Rows decoded by hand, by ordinal: the fastest that sqlx is used in.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use crate::world::Order;

/// The columns that a hand-written read of orders names.
pub const COLUMNS: &str = "id, customer_id, email, total_cents, note, placed_at";

/// A row of [`COLUMNS`].
pub fn order(row: &SqliteRow) -> sqlx::Result<Order> {
    order_at(row, 0)
}

/// A row of [`COLUMNS`] behind `skipped` others.
pub fn order_at(row: &SqliteRow, skipped: usize) -> sqlx::Result<Order> {
    Ok(Order {
        id: row.try_get::<Uuid, _>(skipped)?,
        customer_id: row.try_get::<Uuid, _>(skipped + 1)?,
        email: row.try_get(skipped + 2)?,
        total_cents: row.try_get(skipped + 3)?,
        note: row.try_get(skipped + 4)?,
        placed_at: time_of(row.try_get(skipped + 5)?),
    })
}

pub fn time_of(micros: i64) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000).unwrap()
}
