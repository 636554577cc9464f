//! Rows on their way in ([`RowWriter`]) and out ([`RowReader`]).

use rust_decimal::Decimal;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use super::Table;
use super::definition::{ColumnDefinition, ColumnType, TableDefinition};
use super::stored::{Fit, Misfit, StoreRow};
use super::value::{ColumnValue, Value};
use crate::error::{Error, Result};
use crate::id::OrganizationId;

/// Takes the values of a row, one for each declared column in the declared order.
#[derive(Debug)]
pub struct RowWriter<'w> {
    definition: &'static TableDefinition,
    values: &'w mut Vec<Value>,
    at: usize,
}

impl<'w> RowWriter<'w> {
    pub(crate) fn new(definition: &'static TableDefinition, values: &'w mut Vec<Value>) -> Self {
        Self { definition, values, at: 0 }
    }

    /// Writes the next column.
    ///
    /// # Errors
    /// `Invalid` for a value that a store would change; `Misuse` when a hand-written
    /// implementation writes a column of another type, or more columns than it declares.
    pub fn write<V: ColumnValue>(&mut self, value: &V) -> Result<()> {
        let table = self.definition.name();
        let column = self.definition.columns().get(self.at).ok_or_else(|| {
            Error::misuse("a row encoding writes more columns than its table declares")
                .at_table(table)
        })?;
        if V::TYPE != column.kind()
            || V::SEALED != column.is_sealed()
            || (V::NULLABLE && !column.is_nullable())
        {
            return Err(Error::misuse(
                "a row encoding writes another type than its table declares",
            )
            .at_table(table)
            .at_column(column.name()));
        }
        let value = value.encode(column);
        value.accept(table, column)?;
        self.values.push(value);
        self.at += 1;
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<()> {
        if self.at == self.definition.columns().len() {
            return Ok(());
        }
        Err(Error::misuse("a row encoding writes fewer columns than its table declares")
            .at_table(self.definition.name()))
    }
}

/// Gives the values of a row, in the order of the statement's columns.
pub struct RowReader<'r> {
    row: &'r StoreRow,
    at: usize,
    table: &'static str,
    column: &'static str,
    organization: Option<&'r OrganizationId>,
}

impl std::fmt::Debug for RowReader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowReader").field("table", &self.table).field("at", &self.at).finish()
    }
}

/// What the witness column of one occurrence said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Witness {
    /// The row is the scope's, or belongs to a global table.
    Present,
    /// A left join found no row.
    Absent,
}

impl<'r> RowReader<'r> {
    pub(crate) fn new(row: &'r StoreRow, organization: Option<&'r OrganizationId>) -> Self {
        Self { row, at: 0, table: "", column: "", organization }
    }

    /// Reads the next column of `T`, which is `column` in its declaration.
    ///
    /// # Errors
    /// `Corrupt` when the stored form is not the declared one.
    pub fn read<T: Table, V: ColumnValue>(&mut self, position: u16) -> Result<V> {
        let definition = T::definition();
        let column = definition.column(position).ok_or_else(|| {
            Error::misuse("a row decoding reads a column that its table does not declare")
                .at_table(definition.name())
        })?;
        self.read_column(definition, column)
    }

    pub(crate) fn read_column<V: ColumnValue>(
        &mut self,
        definition: &'static TableDefinition,
        column: &'static ColumnDefinition,
    ) -> Result<V> {
        if V::TYPE != column.kind() || (column.is_nullable() && !V::NULLABLE) {
            return Err(Error::misuse("a row decoding reads another type than its table declares")
                .at_table(definition.name())
                .at_column(column.name()));
        }
        self.table = definition.name();
        self.column = column.name();
        V::decode(self, column)
    }

    /// Reads the witness of one occurrence of `definition`: the tenant column of a tenant-owned
    /// table, compared with the scope before anything is decoded.
    ///
    /// An outer occurrence may be absent; then its first key column, which follows, is NULL too.
    pub(crate) fn witness(
        &mut self,
        definition: &'static TableDefinition,
        outer: bool,
    ) -> Result<Witness> {
        self.table = definition.name();
        self.column = definition.tenant_column().unwrap_or_default();
        if definition.tenant_column().is_some() {
            if outer && self.is_null(self.at)? {
                self.at += 1;
                return if self.key_is_null(definition)? {
                    Ok(Witness::Absent)
                } else {
                    Err(self.incident())
                };
            }
            let ours = match self.organization {
                Some(organization) => self.row.is_organization(self.at, organization),
                None => true,
            };
            self.at += 1;
            return if ours { Ok(Witness::Present) } else { Err(self.incident()) };
        }
        if outer && self.key_is_null(definition)? {
            return Ok(Witness::Absent);
        }
        Ok(Witness::Present)
    }

    /// Reads the witness of an outer occurrence that stands alone, followed by whether its first
    /// key column is NULL: a NULL witness is valid only where the joined key is NULL.
    pub(crate) fn lone_outer_witness(
        &mut self,
        definition: &'static TableDefinition,
    ) -> Result<Witness> {
        self.table = definition.name();
        let owned = definition.tenant_column().is_some();
        let tenant_is_null = owned && self.is_null(self.at)?;
        if tenant_is_null {
            self.at += 1;
        } else if owned {
            self.witness(definition, false)?;
        }
        let key_is_null = self.read_bool()?;
        if owned && tenant_is_null != key_is_null {
            return Err(self.incident());
        }
        Ok(if key_is_null { Witness::Absent } else { Witness::Present })
    }

    fn is_null(&self, at: usize) -> Result<bool> {
        self.fit(self.row.is_null(at))
    }

    fn fit<T>(&self, value: Fit<T>) -> Result<T> {
        value.map_err(|misfit| self.misfit(misfit))
    }

    #[cold]
    fn misfit(&self, misfit: Misfit) -> Error {
        match misfit {
            Misfit::Absent => Error::internal("a row has fewer columns than its statement"),
            #[cfg(feature = "postgres")]
            Misfit::Overflow => {
                Error::invalid("a sum lies outside the range of 64 bits").at_table(self.table)
            }
            Misfit::Stored(what) => self.corrupt(what),
        }
    }

    /// Goes on to the next column where this one could be read.
    fn next<T>(&mut self, value: Fit<T>) -> Result<T> {
        let value = self.fit(value)?;
        self.at += 1;
        Ok(value)
    }

    fn key_is_null(&self, definition: &'static TableDefinition) -> Result<bool> {
        match definition.key_positions().next() {
            Some(position) => self.is_null(self.at + usize::from(position)),
            None => Ok(false),
        }
    }

    /// What follows is computed from rows of `base` and what it is joined with: errors name the
    /// table that the statement starts from, like those of a store that computes no further.
    pub(crate) fn aggregates_of(&mut self, base: &'static TableDefinition) {
        self.table = base.name();
        self.column = "";
    }

    /// Reads an aggregated witness: true, or NULL over no rows.
    pub(crate) fn aggregate_witness(&mut self, definition: &'static TableDefinition) -> Result<()> {
        self.table = definition.name();
        self.column = definition.tenant_column().unwrap_or_default();
        if self.skip_null()? || self.read_bool()? {
            return Ok(());
        }
        Err(self.incident())
    }

    #[cold]
    fn incident(&self) -> Error {
        Error::incident("a row that the store returned is not of the scope's organization")
            .at_table(self.table)
    }

    #[cold]
    pub(crate) fn corrupt(&self, what: &'static str) -> Error {
        let error = Error::corrupt(format!("the store holds {what}")).at_table(self.table);
        if self.column.is_empty() { error } else { error.at_column(self.column) }
    }

    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn seek(&mut self, at: usize) {
        self.at = at;
    }

    pub(crate) fn skip(&mut self, columns: usize) {
        self.at += columns;
    }

    pub(crate) fn next_is_null(&self) -> Result<bool> {
        self.is_null(self.at)
    }

    pub(crate) fn skip_null(&mut self) -> Result<bool> {
        let null = self.is_null(self.at)?;
        if null {
            self.at += 1;
        }
        Ok(null)
    }

    pub(crate) fn read_integer<I: TryFrom<i64>>(&mut self) -> Result<I> {
        let integer = self.next(self.row.integer(self.at))?;
        I::try_from(integer).map_err(|_| self.corrupt("an integer out of its column's range"))
    }

    pub(crate) fn read_bool(&mut self) -> Result<bool> {
        self.next(self.row.boolean(self.at))
    }

    pub(crate) fn read_uuid(&mut self) -> Result<Uuid> {
        self.next(self.row.uuid(self.at))
    }

    pub(crate) fn read_f64(&mut self) -> Result<f64> {
        self.next(self.row.float(self.at))
    }

    fn raw_text(&mut self) -> Result<&'r str> {
        let row = self.row;
        self.next(row.text(self.at))
    }

    pub(crate) fn read_text(&mut self) -> Result<String> {
        self.raw_text().map(ToOwned::to_owned)
    }

    pub(crate) fn read_bytes(&mut self) -> Result<Vec<u8>> {
        let row = self.row;
        self.next(row.bytes(self.at)).map(ToOwned::to_owned)
    }

    pub(crate) fn read_timestamp(&mut self) -> Result<OffsetDateTime> {
        let micros = self.next(self.row.timestamp(self.at))?;
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000)
            .map_err(|_| self.corrupt("a time out of range"))
    }

    pub(crate) fn read_date(&mut self) -> Result<Date> {
        let day = self.next(self.row.date(self.at))?;
        i32::try_from(day)
            .ok()
            .and_then(|day| Date::from_julian_day(day).ok())
            .ok_or_else(|| self.corrupt("a date out of range"))
    }

    pub(crate) fn read_decimal(&mut self, scale: u8) -> Result<Decimal> {
        let scaled = self.next(self.row.decimal(self.at, scale))?;
        Decimal::try_from_i128_with_scale(i128::from(scaled), u32::from(scale))
            .map_err(|_| self.corrupt("a decimal out of range"))
    }

    pub(crate) fn read_json(&mut self) -> Result<serde_json::Value> {
        let text = self.raw_text()?;
        serde_json::from_str(text).map_err(|_| self.corrupt("text that is not JSON"))
    }

    /// The value of `column` at a place of the row, as it is bound again.
    pub(crate) fn cell(&self, at: usize, column: &'static ColumnDefinition) -> Result<Value> {
        let row = self.row;
        if self.is_null(at)? {
            return Ok(Value::Null);
        }
        Ok(match column.kind() {
            ColumnType::Bool => Value::Bool(self.fit(row.boolean(at))?),
            ColumnType::Bytes => Value::Bytes(self.fit(row.bytes(at))?.to_owned()),
            ColumnType::Date => Value::Date(
                i32::try_from(self.fit(row.date(at))?)
                    .map_err(|_| self.corrupt("a date out of range"))?,
            ),
            ColumnType::Decimal => {
                let scale = column.decimals();
                Value::Decimal(self.fit(row.decimal(at, scale))?, scale)
            }
            ColumnType::Enum(_) | ColumnType::Text => Value::Text(self.fit(row.text(at))?.into()),
            ColumnType::F64 => Value::F64(self.fit(row.float(at))?),
            ColumnType::I16 | ColumnType::I32 | ColumnType::I64 => {
                Value::I64(self.fit(row.integer(at))?)
            }
            ColumnType::Json => Value::Json(self.fit(row.text(at))?.into()),
            ColumnType::Timestamp => Value::Timestamp(self.fit(row.timestamp(at))?),
            ColumnType::Uuid => Value::Uuid(self.fit(row.uuid(at))?),
        })
    }
}

/// Reads every organization's identifier, for cross-tenant reads alone.
pub(crate) fn read_organization(
    row: &mut RowReader<'_>,
    definition: &'static TableDefinition,
    kind: crate::id::OrganizationKind,
) -> Result<OrganizationId> {
    use crate::id::OrganizationKind;
    row.table = definition.name();
    row.column = definition.tenant_column().unwrap_or_default();
    let id = match kind {
        OrganizationKind::Uuid => OrganizationId::from_uuid(row.read_uuid()?),
        OrganizationKind::Integer => OrganizationId::from_i64(row.read_integer()?),
        OrganizationKind::Text => OrganizationId::from_text(row.raw_text()?),
    };
    id.map_err(|_| row.corrupt("a tenant column that is no organization"))
}
