//! The set of tables that a Database serves; what every statement is checked against.

use std::fmt::Write as _;
use std::sync::OnceLock;

use super::definition::{ColumnType, OnDelete, TableDefinition};
use super::names::Names;
use super::{GlobalTable, PostgresRoles, TenantTable};
use crate::error::{Error, Result};
use crate::id::OrganizationKind;
use crate::query::{Census, census};

/// The declared tables of an application.
///
/// ```
/// # tenantry::tenant_table! { #[derive(Debug)] pub struct Order in orders { key id: i64 } }
/// # tenantry::global_table! { #[derive(Debug)] pub struct Genre in genres { key id: i64, name: String } }
/// use tenantry::table::{Dialect, Schema};
///
/// let schema = Schema::new().tenant::<Order>().global::<Genre>();
/// for statement in schema.ddl(Dialect::Sqlite)? {
///     println!("{statement};");
/// }
/// # Ok::<(), tenantry::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a schema does nothing until a Database is opened with it"]
pub struct Schema {
    organizations: OrganizationKind,
    tables: Vec<RegisteredTable>,
    problems: Vec<String>,
    roles: PostgresRoles,
}

/// One registered table and what is rendered once for it.
#[derive(Debug)]
pub(crate) struct RegisteredTable {
    pub(crate) definition: &'static TableDefinition,
    /// `t0."tenant", t0."column", …` for each alias that reads whole rows.
    pub(crate) select_lists: [String; 4],
    /// The same behind the table's own name, for SQLite's `RETURNING`.
    pub(crate) returning_list: String,
    /// The columns of the key.
    pub(crate) key: Vec<&'static super::ColumnDefinition>,
    /// The read by key, without and with a prologue in front.
    pub(crate) find_sql: [OnceLock<std::sync::Arc<str>>; 2],
    /// The insert of one row, without and with a prologue in front.
    pub(crate) insert_sql: [OnceLock<std::sync::Arc<str>>; 2],
    /// Counts the values of a column of the table, if it is tenant-owned.
    census: Option<Census>,
}

/// A column of a tenant-owned table that holds sealed values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SealedColumn {
    pub(crate) table: &'static TableDefinition,
    pub(crate) column: &'static super::ColumnDefinition,
    pub(crate) position: u16,
    pub(crate) census: Census,
}

impl Default for Schema {
    fn default() -> Self {
        Self::new()
    }
}

impl Schema {
    /// A schema without tables, whose organizations are UUIDs.
    pub const fn new() -> Self {
        Self {
            organizations: OrganizationKind::Uuid,
            tables: Vec::new(),
            problems: Vec::new(),
            roles: PostgresRoles::new(),
        }
    }

    /// Sets the kind of [`OrganizationId`](crate::OrganizationId) that the tenant columns hold:
    /// one kind for the whole schema.
    pub const fn organizations(mut self, kind: OrganizationKind) -> Self {
        self.organizations = kind;
        self
    }

    /// Sets the names of the roles on PostgreSQL.
    pub fn postgres_roles(mut self, roles: PostgresRoles) -> Self {
        self.roles = roles;
        self
    }

    /// Registers a tenant-owned table.
    ///
    /// What is wrong with a registration is reported by [`validate`](Self::validate), by
    /// [`ddl`](Self::ddl), and when a Database is opened.
    pub fn tenant<T: TenantTable>(self) -> Self {
        self.register(T::definition(), Some(census::<T>))
    }

    /// Registers a global table.
    pub fn global<T: GlobalTable>(self) -> Self {
        self.register(T::definition(), None)
    }

    fn register(mut self, definition: &'static TableDefinition, census: Option<Census>) -> Self {
        let (name, tenant) = (definition.name(), census.is_some());
        if tenant != definition.tenant_column().is_some() {
            self.problems.push(format!(
                "table `{name}` is registered as {} but declared as {}",
                if tenant { "tenant-owned" } else { "global" },
                if tenant { "global" } else { "tenant-owned" },
            ));
            return self;
        }
        if self.tables.iter().any(|table| table.definition.name().eq_ignore_ascii_case(name)) {
            self.problems.push(format!("table `{name}` is declared twice"));
            return self;
        }
        self.tables.push(RegisteredTable {
            definition,
            select_lists: ["t0", "t1", "t2", "t3"].map(|alias| select_list(definition, alias)),
            returning_list: select_list(definition, &format!("\"{name}\"")),
            key: definition.key_positions().filter_map(|at| definition.column(at)).collect(),
            find_sql: [OnceLock::new(), OnceLock::new()],
            insert_sql: [OnceLock::new(), OnceLock::new()],
            census,
        });
        self
    }

    /// Checks the declarations against each other.
    ///
    /// # Errors
    /// `Misuse` with every problem: a table declared twice or under both kinds, a reference to a
    /// table that is not registered or whose key has other types, a reference from a global table
    /// to a tenant-owned one, a global table with a column named like a tenant column or one of
    /// sealed values, cascades from a global table, `unique`, `index` or `lookup` over no columns, role names that are no names.
    pub fn validate(&self) -> Result<()> {
        let mut problems = self.problems.clone();
        problems.extend(self.roles.problem());
        for table in &self.tables {
            self.check_table(table.definition, &mut problems);
        }
        if problems.is_empty() {
            return Ok(());
        }
        let mut text = String::from("the schema is inconsistent:");
        for (index, problem) in problems.iter().enumerate() {
            let _ = write!(text, "{} {problem}", if index == 0 { "" } else { ";" });
        }
        Err(Error::misuse(text))
    }

    fn check_table(&self, table: &'static TableDefinition, problems: &mut Vec<String>) {
        let name = table.name();
        for columns in table.uniques().iter().chain(table.indexes()).chain(table.lookups()) {
            if columns.is_empty() || columns.iter().any(|at| table.column(*at).is_none()) {
                problems.push(format!(
                    "a `unique`, `index` or `lookup` of table `{name}` names no column"
                ));
            }
        }
        if table.tenant_column().is_none() {
            for column in table.columns() {
                if self.tables.iter().any(|other| {
                    other
                        .definition
                        .tenant_column()
                        .is_some_and(|tenant| tenant.eq_ignore_ascii_case(column.name()))
                }) {
                    problems.push(format!(
                        "global table `{name}` has a column `{}`, which is a tenant column: declare the table with tenant_table!",
                        column.name()
                    ));
                }
                if column.is_sealed() {
                    problems.push(format!(
                        "global table `{name}` has the column `{}` of sealed values, which are an organization's: the platform's own are kept in a column of bytes",
                        column.name()
                    ));
                }
            }
        }
        for reference in table.references() {
            let target = reference.target();
            let to = target.name();
            if !self.tables.iter().any(|other| other.definition.same(target)) {
                problems.push(format!("table `{name}` refers to `{to}`, which is not registered"));
                continue;
            }
            if table.tenant_column().is_none() && target.tenant_column().is_some() {
                problems.push(format!("global table `{name}` refers to tenant-owned table `{to}`"));
            }
            if target.tenant_column().is_none() && reference.on_delete() == OnDelete::Cascade {
                problems.push(format!(
                    "table `{name}` cascades from global table `{to}`: deleting shared data would delete rows of every organization"
                ));
            }
            let ours = reference
                .columns()
                .iter()
                .map(|at| table.column(*at).map(|c| (c.kind(), c.decimals())));
            let theirs = target
                .key_positions()
                .map(|at| target.column(at).map(|c| (c.kind(), c.decimals())));
            if !ours.eq(theirs) {
                problems.push(format!(
                    "the reference from `{name}` to `{to}` has other column types than the key of `{to}`"
                ));
            }
        }
        if table.columns().iter().any(|column| column.kind() == ColumnType::Enum(&[])) {
            problems.push(format!("an enum column of table `{name}` has no variants"));
        }
    }

    /// The kind of the tenant columns.
    #[must_use]
    pub const fn organization_kind(&self) -> OrganizationKind {
        self.organizations
    }

    /// The roles on PostgreSQL.
    #[must_use]
    pub const fn roles(&self) -> &PostgresRoles {
        &self.roles
    }

    /// What the objects of the declared tables are called.
    pub(crate) fn names(&self) -> Names {
        Names::of(self)
    }

    /// The registered declarations, in the order of registration.
    pub fn tables(&self) -> impl ExactSizeIterator<Item = &'static TableDefinition> {
        self.tables.iter().map(|table| table.definition)
    }

    /// The columns that hold sealed values of organizations.
    pub(crate) fn sealed_columns(&self) -> impl Iterator<Item = SealedColumn> {
        let tables = self.tables.iter().filter_map(|table| Some((table.definition, table.census?)));
        tables.flat_map(|(table, census)| {
            let columns = (0u16..).zip(table.columns()).filter(|(_, column)| column.is_sealed());
            columns.map(move |(position, column)| SealedColumn { table, column, position, census })
        })
    }

    /// The registration of `definition`: whatever a statement names passes through here.
    pub(crate) fn registered(
        &self,
        definition: &'static TableDefinition,
    ) -> Result<(usize, &RegisteredTable)> {
        let by_address = self
            .tables
            .iter()
            .enumerate()
            .find(|(_, table)| std::ptr::eq(table.definition, definition));
        let found = by_address.or_else(|| {
            self.tables.iter().enumerate().find(|(_, table)| table.definition.same(definition))
        });
        found.ok_or_else(|| unregistered(definition))
    }
}

#[cold]
fn unregistered(definition: &'static TableDefinition) -> Error {
    Error::misuse(
        "the table is not registered, or registered with another declaration, in the Schema of this Database",
    )
    .at_table(definition.name())
}

/// The tenant column and all columns, each behind `qualifier`.
fn select_list(definition: &'static TableDefinition, qualifier: &str) -> String {
    let mut list = String::new();
    let names = definition
        .tenant_column()
        .into_iter()
        .chain(definition.columns().iter().map(super::ColumnDefinition::name));
    for (index, name) in names.enumerate() {
        let _ = write!(list, "{}{qualifier}.\"{name}\"", if index == 0 { "" } else { ", " });
    }
    list
}
