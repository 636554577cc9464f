//! Sealed values in columns that are not declared to hold any, and are therefore not counted before a
//! key is retired.

use super::report::Finding;
use super::rules;
use crate::credential::SqlCredentialStore;
use crate::table::{ColumnDefinition, ColumnType, TableDefinition};

pub(super) use crate::crypto::{SEALED_LENGTH, SEALED_PREFIX};

/// Whether the column is one in which no sealed value is counted.
pub(super) fn may_hide_seals(definition: &TableDefinition, column: &ColumnDefinition) -> bool {
    column.kind() == ColumnType::Bytes
        && !column.is_sealed()
        && definition.tenant_column().is_some()
        && !SqlCredentialStore::counts(definition)
}

pub(super) fn hidden_seals(
    definition: &TableDefinition,
    column: &ColumnDefinition,
    rows: i64,
) -> Option<Finding> {
    (rows > 0).then(|| {
        let object = format!("{}.{}", definition.name(), column.name());
        Finding::new(&rules::SEALED_COLUMN_UNDECLARED, object).with_advice(format!(
            "{rows} rows look sealed: declare the field as a `SealedValue`, so that they are counted before a key is retired"
        ))
    })
}
