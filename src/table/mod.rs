//! Table declarations: row types, typed columns, and the schema they make.
//!
//! [`tenant_table!`](crate::tenant_table) declares a table that belongs to organizations,
//! [`global_table!`](crate::global_table) one that all share. Both implement [`Table`] and can be
//! replaced by an implementation written by hand:
//!
//! ```
//! use tenantry::table::{
//!     Column, ColumnDefinition, RowReader, RowWriter, Table, TableDefinition, TenantTable,
//! };
//!
//! #[derive(Debug)]
//! pub struct Note { pub id: i64, pub body: String }
//!
//! impl Table for Note {
//!     type Key = i64;
//!
//!     fn definition() -> &'static TableDefinition {
//!         static COLUMNS: [ColumnDefinition; 2] =
//!             [ColumnDefinition::of::<i64>("id").key(), ColumnDefinition::of::<String>("body")];
//!         static TABLE: TableDefinition =
//!             TableDefinition::tenant("notes", "organization_id", &COLUMNS);
//!         &TABLE
//!     }
//!
//!     fn encode(&self, row: &mut RowWriter<'_>) -> tenantry::Result<()> {
//!         row.write(&self.id)?;
//!         row.write(&self.body)
//!     }
//!
//!     fn decode(row: &mut RowReader<'_>) -> tenantry::Result<Self> {
//!         Ok(Note { id: row.read::<Self, _>(0)?, body: row.read::<Self, _>(1)? })
//!     }
//! }
//!
//! impl TenantTable for Note {}
//! tenantry::tenant_entries!(Note);
//!
//! impl Note {
//!     pub const BODY: Column<Note, String> = Column::new(1);
//! }
//! ```

mod column;
mod ddl;
mod definition;
mod macros;
mod names;
pub(crate) mod postgres;
mod row;
mod schema;
mod stored;
mod value;

pub use column::{
    At, Column, ColumnKind, Columns, Edge, First, Foreign, Fourth, Occurrence, Position, Reference,
    Second, Third,
};
pub use ddl::Dialect;
pub use definition::{
    ColumnDefinition, ColumnType, OnDelete, ReferenceDefinition, TableDefinition,
};
#[doc(hidden)]
pub use macros::{plain_name, position};
pub use postgres::PostgresRoles;
pub use row::{RowReader, RowWriter};
pub use schema::Schema;
pub use value::{ColumnValue, NotNull, TextEnum};

#[cfg(feature = "sqlite")]
pub(crate) use ddl::{create_table, organization_type, storage_class, table_statements};
#[cfg(feature = "postgres")]
pub(crate) use names::{Names, column_names};
pub(crate) use row::{Witness, read_organization};
pub(crate) use schema::SealedColumn;
pub(crate) use stored::StoreRow;
#[cfg(feature = "postgres")]
pub(crate) use stored::{days_to_store, micros_to_store, scaled_to_store};
pub(crate) use value::{Codec, Value, encode_text};

use crate::error::{Error, Result};

/// A declared table and its row type.
///
/// # Security
/// An implementation says what the row looks like; it does not decide what a statement may touch.
/// Every table, column and reference of a statement is checked against the
/// [`Schema`] registered with the Database before it runs, and anything else is
/// [`ErrorKind::Misuse`](crate::ErrorKind::Misuse).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a declared table",
    label = "not a table",
    note = "declare it with `tenantry::tenant_table!` or `tenantry::global_table!`"
)]
pub trait Table: Sized + Send + Sync + Unpin + 'static {
    /// The key: the type of the one key column, or a tuple of several in declared order.
    type Key: TableKey;

    /// The declaration.
    fn definition() -> &'static TableDefinition;

    /// Writes every column in declared order.
    ///
    /// # Errors
    /// What [`RowWriter::write`] returns.
    fn encode(&self, row: &mut RowWriter<'_>) -> Result<()>;

    /// Reads every column in declared order.
    ///
    /// # Errors
    /// What [`RowReader::read`] returns.
    fn decode(row: &mut RowReader<'_>) -> Result<Self>;
}

/// A table whose rows belong to one organization each.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a tenant-owned table",
    label = "not declared with `tenant_table!`",
    note = "declare it with `tenantry::tenant_table!`; a global table is registered with `.global::<{Self}>()` and written with a `CrossTenantAuthority`: `{Self}::insert_global(&authority, row)`"
)]
pub trait TenantTable: Table {}

/// A table of reference data that every organization reads and none owns.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a global table",
    label = "not declared with `global_table!`",
    note = "a tenant-owned table is registered with `.tenant::<{Self}>()` and written from a scope: `{Self}::insert(&scope, row)`"
)]
pub trait GlobalTable: Table {}

/// The key of a table: a column value, or a tuple of 2 to 4.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the key of a table",
    label = "not a key",
    note = "a key is one to four columns marked `key`, none of them an `Option`, a float or JSON"
)]
pub trait TableKey: Send + Sync + 'static {
    /// Gives each value with its key column of the declaration.
    #[doc(hidden)]
    fn encode(
        &self,
        columns: &[&'static ColumnDefinition],
        give: impl FnMut(Value, &'static ColumnDefinition) -> Result<()>,
    ) -> Result<()>;
}

/// Why a key is refused: only a table that is declared by hand can have such a one.
pub(crate) const OTHER_KEY: &str = "a key has other columns than its table declares";

#[diagnostic::do_not_recommend]
impl<V: NotNull> TableKey for V {
    #[inline]
    fn encode(
        &self,
        columns: &[&'static ColumnDefinition],
        mut give: impl FnMut(Value, &'static ColumnDefinition) -> Result<()>,
    ) -> Result<()> {
        match columns {
            [column] if V::TYPE == column.kind() => give(Codec::encode(self, column), column),
            _ => Err(Error::misuse(OTHER_KEY)),
        }
    }
}

macro_rules! tuple_keys {
    ($($value:ident $column:ident),*) => {
        #[diagnostic::do_not_recommend]
        impl<$($value: NotNull),*> TableKey for ($($value,)*) {
            #[expect(non_snake_case, reason = "the tuple's fields are named after their types")]
            fn encode(
                &self,
                columns: &[&'static ColumnDefinition],
                mut give: impl FnMut(Value, &'static ColumnDefinition) -> Result<()>,
            ) -> Result<()> {
                let ($($value,)*) = self;
                match columns {
                    [$($column),*] if $($value::TYPE == $column.kind())&&* => {
                        $(give(Codec::encode($value, $column), $column)?;)*
                        Ok(())
                    }
                    _ => Err(Error::misuse(OTHER_KEY)),
                }
            }
        }
    };
}

tuple_keys!(A a, B b);
tuple_keys!(A a, B b, C c);
tuple_keys!(A a, B b, C c, D d);
