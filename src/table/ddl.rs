//! Declarations as DDL, rendered by sea-query.

use sea_query::{
    Alias, ColumnDef, Expr, ForeignKey, ForeignKeyAction, Index, IndexCreateStatement,
    SqliteQueryBuilder, Table,
};

use super::definition::{ColumnDefinition, ColumnType, OnDelete, TableDefinition};
use super::names::{Names, column_names};
use super::postgres;
use super::schema::Schema;
use crate::error::Result;
use crate::id::OrganizationKind;

/// A store's SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// PostgreSQL 15 and later.
    Postgres,
    /// SQLite 3.37 and later.
    Sqlite,
}

impl Schema {
    /// The statements that create the declared tables with all that protects them, without final
    /// semicolons.
    ///
    /// On SQLite a tenant-owned table is `STRICT, WITHOUT ROWID` with the primary key
    /// `(tenant, key)`: a row's place begins with its organization, and no rowid exists through
    /// which a damaged index could return another organization's row. Each statement is safe to
    /// run again.
    ///
    /// On PostgreSQL they are one migration, to be run once, as the owner of
    /// [`PostgresRoles`](super::PostgresRoles) and in one transaction: tables with forced row-level
    /// security, one restrictive policy that is the wall, composite keys, and the grants of the
    /// application and cross-tenant roles, which have to exist.
    ///
    /// # Errors
    /// `Misuse` for what [`validate`](Self::validate) finds.
    pub fn ddl(&self, dialect: Dialect) -> Result<Vec<String>> {
        self.missing_ddl(dialect, |_| false)
    }

    /// The statements for the declared tables that do not exist yet, as `exists` says of their
    /// names: what a migration needs after tables were added to the schema.
    ///
    /// What a table lacks that exists, the doctor finds, with the statements that add it.
    ///
    /// # Errors
    /// As for [`ddl`](Self::ddl).
    pub fn missing_ddl(
        &self,
        dialect: Dialect,
        exists: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>> {
        self.validate()?;
        let missing: Vec<_> = self.tables().filter(|table| !exists(table.name())).collect();
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let (organizations, names) = (self.organization_kind(), self.names());
        Ok(match dialect {
            Dialect::Postgres => {
                postgres::statements(&missing, organizations, self.roles(), &names)
            }
            Dialect::Sqlite => missing
                .into_iter()
                .flat_map(|table| table_statements(table, organizations, &names))
                .collect(),
        })
    }
}

/// The statements of one table.
pub(crate) fn table_statements(
    definition: &'static TableDefinition,
    organizations: OrganizationKind,
    names: &Names,
) -> Vec<String> {
    let mut statements = vec![create_table(definition, definition.name(), organizations)];
    let indexes = indexes(definition, names).into_iter();
    statements.extend(indexes.map(|index| index.to_string(SqliteQueryBuilder)));
    statements
}

/// `CREATE TABLE` under `name`, which differs from the declared one while a table is rebuilt.
pub(crate) fn create_table(
    definition: &'static TableDefinition,
    name: &str,
    organizations: OrganizationKind,
) -> String {
    let mut table = Table::create();
    table.table(Alias::new(name)).if_not_exists();
    if let Some(tenant) = definition.tenant_column() {
        table.col(
            ColumnDef::new(Alias::new(tenant))
                .custom(Alias::new(organization_type(organizations)))
                .not_null()
                .check(Expr::cust(organization_check(tenant, organizations))),
        );
    }
    for column in definition.columns() {
        let mut def = ColumnDef::new(Alias::new(column.name()));
        def.custom(Alias::new(storage_class(column.kind())));
        if !column.is_nullable() {
            def.not_null();
        }
        if let Some(check) = value_check(column) {
            def.check(Expr::cust(check));
        }
        table.col(&mut def);
    }
    let key: Vec<u16> = definition.key_positions().collect();
    table.primary_key(&mut with_columns(Index::create(), definition, &key));
    for columns in definition.uniques() {
        let mut unique = with_columns(Index::create(), definition, columns);
        table.index(unique.unique());
    }
    for reference in definition.references() {
        let target = reference.target();
        let mut foreign = ForeignKey::create();
        foreign.from_tbl(Alias::new(name)).to_tbl(Alias::new(target.name()));
        if let (Some(ours), Some(theirs)) = (definition.tenant_column(), target.tenant_column()) {
            foreign.from_col(Alias::new(ours)).to_col(Alias::new(theirs));
        }
        for at in reference.columns() {
            foreign.from_col(Alias::new(column_name(definition, *at)));
        }
        for at in target.key_positions() {
            foreign.to_col(Alias::new(column_name(target, at)));
        }
        // NO ACTION is checked when the statement ends, so that one statement may delete a row
        // together with the rows that refer to it; RESTRICT would refuse that.
        foreign.on_delete(match reference.on_delete() {
            OnDelete::Cascade => ForeignKeyAction::Cascade,
            OnDelete::Restrict => ForeignKeyAction::NoAction,
        });
        table.foreign_key(&mut foreign);
    }
    table.extra("STRICT, WITHOUT ROWID");
    table.to_string(SqliteQueryBuilder)
}

/// Declared indexes, and one for each reference that no key, unique set or index begins with.
pub(super) fn wanted_indexes(definition: &'static TableDefinition) -> Vec<&'static [u16]> {
    let key: Vec<u16> = definition.key_positions().collect();
    let mut covered: Vec<&[u16]> = vec![&key];
    covered.extend(definition.uniques().iter().copied());
    let mut wanted: Vec<&'static [u16]> = definition.indexes().to_vec();
    for reference in definition.references() {
        if !covered.iter().chain(&wanted).any(|columns| columns.starts_with(reference.columns())) {
            wanted.push(reference.columns());
        }
    }
    wanted
}

fn indexes(definition: &'static TableDefinition, names: &Names) -> Vec<IndexCreateStatement> {
    let named = |mut index: IndexCreateStatement, name: String| {
        index.if_not_exists().name(name).table(Alias::new(definition.name()));
        index
    };
    let scoped = wanted_indexes(definition).into_iter().map(|columns| {
        let index = with_columns(Index::create(), definition, columns);
        named(index, names.index(definition, columns))
    });
    let across = definition.lookups().iter().map(|columns| {
        let mut index = Index::create();
        for name in column_names(definition, columns) {
            index.col(Alias::new(name));
        }
        named(index, names.lookup(definition, columns))
    });
    scoped.chain(across).collect()
}

fn with_columns(
    mut index: IndexCreateStatement,
    definition: &'static TableDefinition,
    columns: &[u16],
) -> IndexCreateStatement {
    if let Some(tenant) = definition.tenant_column() {
        index.col(Alias::new(tenant));
    }
    for at in columns {
        index.col(Alias::new(column_name(definition, *at)));
    }
    index
}

fn column_name(definition: &'static TableDefinition, at: u16) -> &'static str {
    definition.column(at).map_or("", ColumnDefinition::name)
}

pub(crate) const fn organization_type(kind: OrganizationKind) -> &'static str {
    match kind {
        OrganizationKind::Integer => "INTEGER",
        OrganizationKind::Text => "TEXT",
        OrganizationKind::Uuid => "BLOB",
    }
}

fn organization_check(tenant: &str, kind: OrganizationKind) -> String {
    match kind {
        OrganizationKind::Integer => format!(r#""{tenant}" > 0"#),
        OrganizationKind::Text => format!(r#"length("{tenant}") BETWEEN 1 AND 64"#),
        OrganizationKind::Uuid => {
            format!(r#"length("{tenant}") = 16 AND "{tenant}" <> zeroblob(16)"#)
        }
    }
}

pub(crate) const fn storage_class(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Bool
        | ColumnType::Date
        | ColumnType::Decimal
        | ColumnType::I16
        | ColumnType::I32
        | ColumnType::I64
        | ColumnType::Timestamp => "INTEGER",
        ColumnType::Bytes | ColumnType::Uuid => "BLOB",
        ColumnType::F64 => "REAL",
        ColumnType::Enum(_) | ColumnType::Json | ColumnType::Text => "TEXT",
    }
}

fn value_check(column: &ColumnDefinition) -> Option<String> {
    let name = column.name();
    Some(match column.kind() {
        ColumnType::Bool => format!(r#""{name}" IN (0, 1)"#),
        ColumnType::I16 => format!(r#""{name}" BETWEEN {} AND {}"#, i16::MIN, i16::MAX),
        ColumnType::Date | ColumnType::I32 => {
            format!(r#""{name}" BETWEEN {} AND {}"#, i32::MIN, i32::MAX)
        }
        ColumnType::Uuid => format!(r#"length("{name}") = 16"#),
        ColumnType::Json => format!(r#"json_valid("{name}")"#),
        ColumnType::Enum(variants) => {
            let quoted: Vec<String> =
                variants.iter().map(|text| format!("'{}'", text.replace('\'', "''"))).collect();
            format!(r#""{name}" IN ({})"#, quoted.join(", "))
        }
        _ => return None,
    })
}
