//! What the constraints of the database are called, so that an error can name columns.
//!
//! PostgreSQL says which constraint a row broke, and hides the values where row-level security
//! holds. The names are read when the Database is opened and after `create_tables`; a constraint
//! that is newer is reported without its columns.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use sqlx::Row as _;
use sqlx::postgres::PgRow;

/// What a constraint, or the index beneath it, is over.
#[derive(Debug, Clone, Default)]
pub(crate) struct Constraint {
    /// The table; of a partition, the table that it is a part of.
    pub(crate) table: String,
    pub(crate) columns: Vec<String>,
}

/// By table, or partition, and name.
pub(super) type Names = HashMap<(String, String), Constraint>;

pub(super) type SharedNames = Arc<RwLock<Names>>;

/// The columns are separated by a character that no declared name holds.
pub(super) const NAMES: &str = "
SELECT c.relname::text, n.name::text, coalesce(root.relname, c.relname)::text, n.columns
FROM (
    SELECT conrelid AS relid, conname AS name, (
        SELECT pg_catalog.string_agg(a.attname::text, '\u{1f}' ORDER BY k.at)
        FROM pg_catalog.unnest(conkey) WITH ORDINALITY AS k (number, at)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = conrelid AND a.attnum = k.number
    ) AS columns
    FROM pg_catalog.pg_constraint WHERE conrelid <> 0
    UNION
    SELECT i.indrelid, x.relname, (
        SELECT pg_catalog.string_agg(a.attname::text, '\u{1f}' ORDER BY k.at)
        FROM pg_catalog.unnest(i.indkey) WITH ORDINALITY AS k (number, at)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
    )
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
    WHERE i.indisunique
) AS n
JOIN pg_catalog.pg_class c ON c.oid = n.relid
LEFT JOIN pg_catalog.pg_class root ON root.oid = pg_catalog.pg_partition_root(c.oid)
WHERE n.columns IS NOT NULL
  AND c.relnamespace <> 'pg_catalog'::pg_catalog.regnamespace
  AND c.relnamespace <> 'information_schema'::pg_catalog.regnamespace";

/// One line of [`NAMES`].
pub(super) fn constraint(row: &PgRow) -> sqlx::Result<((String, String), Constraint)> {
    let text = |at: usize| row.try_get::<String, _>(at);
    let columns = text(3)?.split('\u{1f}').map(ToOwned::to_owned).collect();
    Ok(((text(0)?, text(1)?), Constraint { table: text(2)?, columns }))
}
