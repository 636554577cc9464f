//! What a table declaration says: sealed values built by validating `const fn`s.

/// How a column's values are stored. See [`ColumnValue`](crate::table::ColumnValue) for the
/// Rust type of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ColumnType {
    /// `bool`; SQLite: `INTEGER` 0 or 1; PostgreSQL: `boolean`.
    Bool,
    /// `Vec<u8>`, [`SealedValue`](crate::credential::SealedValue) or
    /// [`BlindIndex`](crate::crypto::BlindIndex); SQLite: `BLOB`; PostgreSQL: `bytea`.
    Bytes,
    /// `time::Date`; SQLite: `INTEGER`, the Julian day number; PostgreSQL: `date`.
    Date,
    /// `rust_decimal::Decimal` with a declared number of decimals; SQLite: `INTEGER`, the value
    /// times ten to the scale; PostgreSQL: `numeric(19, scale)`, checked to be in the same range.
    Decimal,
    /// A unit enum; SQLite: `TEXT`, PostgreSQL: `text COLLATE "C"`, checked to be
    /// one of the declared variants.
    Enum(&'static [&'static str]),
    /// `f64`, never NaN; SQLite: `REAL`; PostgreSQL: `double precision`.
    F64,
    /// `i16`; SQLite: `INTEGER` in range; PostgreSQL: `smallint`.
    I16,
    /// `i32`; SQLite: `INTEGER` in range; PostgreSQL: `integer`.
    I32,
    /// `i64`; SQLite: `INTEGER`; PostgreSQL: `bigint`.
    I64,
    /// `serde_json::Value`; SQLite: `TEXT`; PostgreSQL: `text COLLATE "C"`, checked to be JSON
    /// (`jsonb` would rewrite numbers, and `json` cannot be compared).
    Json,
    /// `String` without NUL; SQLite: `TEXT`; PostgreSQL: `text COLLATE "C"`.
    Text,
    /// `time::OffsetDateTime` in UTC; SQLite: `INTEGER`, microseconds since the Unix epoch;
    /// PostgreSQL: `timestamptz`.
    Timestamp,
    /// `Uuid`; SQLite: `BLOB` of 16 bytes; PostgreSQL: `uuid`.
    Uuid,
}

/// One column of a declaration. Sealed: only the `const fn`s here build it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnDefinition {
    name: &'static str,
    kind: ColumnType,
    nullable: bool,
    key: bool,
    scale: u8,
    sealed: bool,
}

impl ColumnDefinition {
    /// A column called `name` that holds `kind`.
    ///
    /// A name that is empty, longer than 63 bytes, or contains a quote or control character does
    /// not compile.
    #[must_use]
    pub const fn new(name: &'static str, kind: ColumnType, nullable: bool) -> Self {
        check_identifier(name);
        assert!(
            !is_system_column(name),
            "this name belongs to a system column of a store (rowid, oid, _rowid_, ctid, xmin, ...): give the column another SQL name"
        );
        Self { name, kind, nullable, key: false, scale: 0, sealed: false }
    }

    /// The column of the Rust type `V`.
    #[must_use]
    pub const fn of<V: crate::table::ColumnValue>(name: &'static str) -> Self {
        let mut column = Self::new(name, V::TYPE, V::NULLABLE);
        column.sealed = V::SEALED;
        column
    }

    /// The same column as part of the key.
    #[must_use]
    pub const fn key(mut self) -> Self {
        assert!(!self.nullable, "a key column cannot be an Option");
        assert!(
            !matches!(self.kind, ColumnType::F64 | ColumnType::Json),
            "a key column cannot be a float or a JSON value"
        );
        assert!(!self.sealed, "a key column cannot hold sealed values");
        self.key = true;
        self
    }

    /// The same column with `scale` decimals (0 to 18); only for `Decimal` columns.
    #[must_use]
    pub const fn scale(mut self, scale: u8) -> Self {
        assert!(matches!(self.kind, ColumnType::Decimal), "only a Decimal column has a scale");
        assert!(scale <= 18, "the scale of a Decimal column is 0 to 18");
        self.scale = scale;
        self
    }

    /// The SQL name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The stored type.
    #[must_use]
    pub const fn kind(&self) -> ColumnType {
        self.kind
    }

    /// Whether the column accepts NULL.
    #[must_use]
    pub const fn is_nullable(&self) -> bool {
        self.nullable
    }

    /// Whether the column is part of the key.
    #[must_use]
    pub const fn is_key(&self) -> bool {
        self.key
    }

    /// Whether the column holds [`SealedValue`](crate::credential::SealedValue)s or
    /// [`BlindIndex`](crate::crypto::BlindIndex)es, which are counted before a data key is retired.
    #[must_use]
    pub const fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// Decimals of a `Decimal` column.
    #[must_use]
    pub const fn decimals(&self) -> u8 {
        self.scale
    }
}

/// What happens to a row when the row it refers to is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnDelete {
    /// The referring rows are deleted too.
    Cascade,
    /// Deleting is refused with [`ErrorKind::Conflict`](crate::ErrorKind::Conflict).
    Restrict,
}

/// A reference inside the organization, or to a global table.
#[derive(Debug, Clone, Copy)]
pub struct ReferenceDefinition {
    columns: &'static [u16],
    target: fn() -> &'static TableDefinition,
    on_delete: OnDelete,
}

impl ReferenceDefinition {
    /// `columns` of this table refer to the key of `target`.
    #[must_use]
    pub const fn new(
        columns: &'static [u16],
        target: fn() -> &'static TableDefinition,
        on_delete: OnDelete,
    ) -> Self {
        assert!(!columns.is_empty(), "a reference names at least one column");
        Self { columns, target, on_delete }
    }

    /// Positions of the referring columns in the declaration.
    #[must_use]
    pub const fn columns(&self) -> &'static [u16] {
        self.columns
    }

    /// The table referred to.
    #[must_use]
    pub fn target(&self) -> &'static TableDefinition {
        (self.target)()
    }

    /// What deleting the target does.
    #[must_use]
    pub const fn on_delete(&self) -> OnDelete {
        self.on_delete
    }
}

/// A whole declaration. Sealed: only the `const fn`s here build it, and the
/// [`Schema`](crate::table::Schema) checks it again.
#[derive(Debug, Clone, Copy)]
pub struct TableDefinition {
    name: &'static str,
    tenant: Option<&'static str>,
    columns: &'static [ColumnDefinition],
    references: &'static [ReferenceDefinition],
    uniques: &'static [&'static [u16]],
    indexes: &'static [&'static [u16]],
    lookups: &'static [&'static [u16]],
    partitions: u16,
}

impl TableDefinition {
    /// A tenant-owned table whose rows carry their organization in the column `tenant`.
    ///
    /// Does not compile without a key column, or when an ordinary column is the tenant column.
    #[must_use]
    pub const fn tenant(
        name: &'static str,
        tenant: &'static str,
        columns: &'static [ColumnDefinition],
    ) -> Self {
        check_identifier(tenant);
        assert!(
            !is_system_column(tenant),
            "the tenant column cannot be a system column of a store"
        );
        let mut i = 0;
        while i < columns.len() {
            assert!(
                !same_name(at(columns, i).name, tenant),
                "the tenant column is not a field: remove it from the declaration; `scope.organization()` says it"
            );
            i += 1;
        }
        Self::checked(name, Some(tenant), columns)
    }

    /// A global table: shared reference data without an organization.
    #[must_use]
    pub const fn global(name: &'static str, columns: &'static [ColumnDefinition]) -> Self {
        Self::checked(name, None, columns)
    }

    const fn checked(
        name: &'static str,
        tenant: Option<&'static str>,
        columns: &'static [ColumnDefinition],
    ) -> Self {
        check_identifier(name);
        assert!(!starts_with(name, "sqlite_"), "a table name cannot begin with sqlite_");
        assert!(!starts_with(name, "tenantry_"), "a table name cannot begin with tenantry_");
        assert!(columns.len() <= 500, "a table has at most 500 columns");
        let mut keys = 0;
        let mut i = 0;
        while i < columns.len() {
            if at(columns, i).key {
                keys += 1;
            }
            let mut j = i + 1;
            while j < columns.len() {
                assert!(
                    !same_name(at(columns, i).name, at(columns, j).name),
                    "two columns of a table have the same SQL name"
                );
                j += 1;
            }
            i += 1;
        }
        assert!(keys > 0, "a table needs a key: write `key` before at least one field");
        Self {
            name,
            tenant,
            columns,
            references: &[],
            uniques: &[],
            indexes: &[],
            lookups: &[],
            partitions: 0,
        }
    }

    /// The same table with references.
    #[must_use]
    pub const fn with_references(mut self, references: &'static [ReferenceDefinition]) -> Self {
        self.references = references;
        self
    }

    /// The same table with unique column sets; in a tenant-owned table they hold per organization.
    #[must_use]
    pub const fn with_uniques(mut self, uniques: &'static [&'static [u16]]) -> Self {
        self.uniques = uniques;
        self
    }

    /// The same table with indexes; in a tenant-owned table they begin with the tenant column.
    #[must_use]
    pub const fn with_indexes(mut self, indexes: &'static [&'static [u16]]) -> Self {
        self.indexes = indexes;
        self
    }

    /// The same table with indexes over all organizations, for cross-tenant reads that filter by
    /// these columns. Does not compile for a global table, whose indexes are all of this kind.
    #[must_use]
    pub const fn with_lookups(mut self, lookups: &'static [&'static [u16]]) -> Self {
        assert!(
            self.tenant.is_some() || lookups.is_empty(),
            "a global table has no organizations to look through: write `index`"
        );
        self.lookups = lookups;
        self
    }

    /// The same table in `count` (2 to 1024) hash partitions by the tenant column, on PostgreSQL;
    /// SQLite keeps one table. Does not compile for a global table.
    #[must_use]
    pub const fn with_partitions(mut self, count: u16) -> Self {
        assert!(self.tenant.is_some(), "a global table has no tenant column to partition it by");
        assert!(count >= 2 && count <= 1024, "a table has 2 to 1024 partitions");
        self.partitions = count;
        self
    }

    /// The SQL name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The SQL name of the tenant column; `None` for a global table.
    #[must_use]
    pub const fn tenant_column(&self) -> Option<&'static str> {
        self.tenant
    }

    /// The columns, without the tenant column, in the order of the fields.
    #[must_use]
    pub const fn columns(&self) -> &'static [ColumnDefinition] {
        self.columns
    }

    /// The references.
    #[must_use]
    pub const fn references(&self) -> &'static [ReferenceDefinition] {
        self.references
    }

    /// The unique column sets besides the key.
    #[must_use]
    pub const fn uniques(&self) -> &'static [&'static [u16]] {
        self.uniques
    }

    /// The indexes besides the key and the unique sets.
    #[must_use]
    pub const fn indexes(&self) -> &'static [&'static [u16]] {
        self.indexes
    }

    /// The indexes that do not begin with the tenant column.
    #[must_use]
    pub const fn lookups(&self) -> &'static [&'static [u16]] {
        self.lookups
    }

    /// How many hash partitions the table has on PostgreSQL; 0 for a table that is not divided.
    #[must_use]
    pub const fn partitions(&self) -> u16 {
        self.partitions
    }

    pub(crate) fn column(&self, position: u16) -> Option<&'static ColumnDefinition> {
        self.columns.get(usize::from(position))
    }

    pub(crate) fn key_positions(&self) -> impl Iterator<Item = u16> + Clone + use<> {
        (0u16..).zip(self.columns).filter(|(_, column)| column.key).map(|(position, _)| position)
    }

    /// The same declaration, compared by content: statics of one declaration can have several
    /// addresses.
    pub(crate) fn same(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
            || (self.name == other.name
                && self.tenant == other.tenant
                && self.columns == other.columns
                && self.uniques == other.uniques
                && self.partitions == other.partitions
                && self.references.len() == other.references.len()
                && self.references.iter().zip(other.references).all(|(a, b)| {
                    a.columns == b.columns
                        && a.on_delete == b.on_delete
                        && a.target().name == b.target().name
                }))
    }
}

#[expect(clippy::indexing_slicing, reason = "const fn: bounds are checked by the loop condition")]
const fn at(columns: &[ColumnDefinition], i: usize) -> &ColumnDefinition {
    &columns[i]
}

#[expect(clippy::indexing_slicing, reason = "const fn: bounds are checked by the loop condition")]
const fn byte(text: &str, i: usize) -> u8 {
    text.as_bytes()[i]
}

const fn check_identifier(name: &str) {
    assert!(!name.is_empty(), "an SQL name is empty");
    assert!(name.len() <= 63, "an SQL name is longer than 63 bytes");
    let mut i = 0;
    while i < name.len() {
        let b = byte(name, i);
        assert!(
            b >= 0x20 && b != 0x7f && b != b'"' && b != b'\'' && b != b'`' && b != b'\\',
            "an SQL name contains a quote, a backslash or a control character"
        );
        i += 1;
    }
}

const fn is_system_column(name: &str) -> bool {
    same_name(name, "rowid")
        || same_name(name, "oid")
        || same_name(name, "_rowid_")
        || same_name(name, "ctid")
        || same_name(name, "xmin")
        || same_name(name, "xmax")
        || same_name(name, "cmin")
        || same_name(name, "cmax")
        || same_name(name, "tableoid")
}

#[expect(clippy::indexing_slicing, reason = "const fn: bounds are checked by the loop condition")]
pub(super) const fn name_at<'a>(names: &[&'a str], i: usize) -> &'a str {
    names[i]
}

pub(super) const fn same_bytes(a: &str, b: &str) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if byte(a, i) != byte(b, i) {
            return false;
        }
        i += 1;
    }
    true
}

/// Names as SQLite compares them: ASCII letters without case.
const fn same_name(a: &str, b: &str) -> bool {
    a.len() == b.len() && starts_with(a, b)
}

const fn starts_with(name: &str, prefix: &str) -> bool {
    if name.len() < prefix.len() {
        return false;
    }
    let mut i = 0;
    while i < prefix.len() {
        if !byte(name, i).eq_ignore_ascii_case(&byte(prefix, i)) {
            return false;
        }
        i += 1;
    }
    true
}
