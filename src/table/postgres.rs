//! Declarations as PostgreSQL's DDL: the tables, and the wall in front of their rows.

use std::borrow::Cow;

use super::definition::{ColumnDefinition, ColumnType, OnDelete, TableDefinition};
use super::names::{Names, column_names, object_name};
use crate::id::OrganizationKind;

/// The setting, local to a transaction, that says whose rows the wall lets through.
pub(crate) const SETTING: &str = "tenantry.organization";
/// The RESTRICTIVE policy: the wall.
pub(crate) const WALL: &str = "tenantry_wall";
/// The PERMISSIVE policy that the wall restricts.
pub(crate) const BASE: &str = "tenantry_base";
/// The policy that exempts the cross-tenant role.
pub(crate) const ACROSS: &str = "tenantry_cross_tenant";

/// The names of the three roles on PostgreSQL.
///
/// The *owner* migrates and owns the tables, the *application* role is what scoped statements
/// connect as, the *cross-tenant* role serves [`CrossTenantAuthority`]. None of them is a
/// superuser or has BYPASSRLS, and none is a member of another.
///
/// ```
/// use tenantry::table::{PostgresRoles, Schema};
///
/// let schema = Schema::new().postgres_roles(PostgresRoles::new().application("shop_web"));
/// assert_eq!(schema.roles().owner_name(), "tenantry_owner");
/// assert!(schema.roles().ddl()[1].starts_with(r#"CREATE ROLE "shop_web" LOGIN NOSUPERUSER"#));
/// ```
///
/// [`CrossTenantAuthority`]: crate::ambient::CrossTenantAuthority
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PostgresRoles {
    owner: Cow<'static, str>,
    application: Cow<'static, str>,
    cross_tenant: Cow<'static, str>,
}

impl Default for PostgresRoles {
    fn default() -> Self {
        Self::new()
    }
}

impl PostgresRoles {
    /// `tenantry_owner`, `tenantry_app` and `tenantry_cross_tenant`.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            owner: Cow::Borrowed("tenantry_owner"),
            application: Cow::Borrowed("tenantry_app"),
            cross_tenant: Cow::Borrowed("tenantry_cross_tenant"),
        }
    }

    /// The same with another owner.
    #[must_use]
    pub fn owner(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.owner = name.into();
        self
    }

    /// The same with another application role.
    #[must_use]
    pub fn application(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.application = name.into();
        self
    }

    /// The same with another cross-tenant role.
    #[must_use]
    pub fn cross_tenant(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.cross_tenant = name.into();
        self
    }

    /// The role that migrates and owns the tables.
    #[must_use]
    pub fn owner_name(&self) -> &str {
        &self.owner
    }

    /// The role that scoped statements connect as.
    #[must_use]
    pub fn application_name(&self) -> &str {
        &self.application
    }

    /// The role that cross-tenant statements connect as.
    #[must_use]
    pub fn cross_tenant_name(&self) -> &str {
        &self.cross_tenant
    }

    /// The statements that create the roles, for whoever administers the server; once for a
    /// server, because roles belong to all its databases. They have no password yet.
    #[must_use]
    pub fn ddl(&self) -> Vec<String> {
        [&self.owner, &self.application, &self.cross_tenant]
            .map(|name| {
                format!(
                    r#"CREATE ROLE "{name}" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"#
                )
            })
            .into()
    }

    /// What is wrong with the names.
    pub(super) fn problem(&self) -> Option<String> {
        let names = [&self.owner, &self.application, &self.cross_tenant];
        for (at, name) in names.iter().enumerate() {
            let is_plain = |c: char| !c.is_control() && !matches!(c, '"' | '\'' | '\\' | '$');
            if name.is_empty() || name.len() > 63 || !name.chars().all(is_plain) {
                return Some(format!(
                    "the role name `{}` is empty, longer than 63 bytes, or contains a quote, a backslash, `$` or a control character",
                    name.escape_debug()
                ));
            }
            // Quoted or not, the server takes these for PUBLIC and for no role, and keeps the rest.
            if matches!(name.as_ref(), "none" | "public") || name.starts_with("pg_") {
                return Some(format!("the role name `{name}` is reserved by the server"));
            }
            if names.iter().skip(at + 1).any(|other| other == name) {
                return Some(format!("two roles have the name `{name}`"));
            }
        }
        None
    }
}

/// The statements for `tables`, in the order in which they can run; what `tables` refer to and is
/// not among them exists.
pub(super) fn statements(
    tables: &[&'static TableDefinition],
    organizations: OrganizationKind,
    roles: &PostgresRoles,
    names: &Names,
) -> Vec<String> {
    let mut statements = vec![ground(roles)];
    for table in tables {
        statements.extend(create_table(table, organizations, names));
        statements.extend(wall(table, organizations, roles, names));
        let indexes = indexes(table).into_iter();
        statements.extend(indexes.map(|columns| create_index(table, columns, names)));
        let lookups = table.lookups().iter();
        statements.extend(lookups.map(|columns| create_lookup(table, columns, names)));
    }
    // After all tables, because tables can refer to each other.
    for table in tables {
        statements.extend((0..table.references().len()).map(|at| add_reference(table, at, names)));
    }
    // Nobody reaches a table before its wall stands.
    statements.extend(tables.iter().flat_map(|table| grants(table, roles)));
    statements
}

/// Nobody but the owner creates, or shadows, what a statement names.
pub(crate) fn ground(roles: &PostgresRoles) -> String {
    let (app, across) = (roles.application_name(), roles.cross_tenant_name());
    format!(
        "DO $$
BEGIN
    EXECUTE format('REVOKE TEMPORARY, CREATE ON DATABASE %I FROM PUBLIC, %I, %I', current_database(), '{app}', '{across}');
    EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC, %I, %I', current_schema(), '{app}', '{across}');
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I, %I', current_schema(), '{app}', '{across}');
END
$$"
    )
}

fn create_table(
    definition: &'static TableDefinition,
    organizations: OrganizationKind,
    names: &Names,
) -> Vec<String> {
    let name = definition.name();
    let mut lines = Vec::new();
    if let Some(tenant) = definition.tenant_column() {
        lines.push(format!(
            r#""{tenant}" {} NOT NULL CONSTRAINT "{}" CHECK ({})"#,
            organization_type(organizations),
            check_name(definition, tenant),
            organization_check(tenant, organizations),
        ));
    }
    lines.extend(definition.columns().iter().map(|column| column_line(definition, column)));
    let key: Vec<u16> = definition.key_positions().collect();
    lines.push(format!(
        r#"CONSTRAINT "{}" PRIMARY KEY ({})"#,
        names.key(definition),
        column_list(definition, &key),
    ));
    for columns in definition.uniques() {
        lines.push(format!(
            r#"CONSTRAINT "{}" UNIQUE ({})"#,
            names.unique(definition, &column_names(definition, columns)),
            column_list(definition, columns),
        ));
    }
    let partitions = match definition.tenant_column() {
        Some(tenant) if definition.partitions() > 0 => {
            format!(r#" PARTITION BY HASH ("{tenant}")"#)
        }
        _ => String::new(),
    };
    let mut statements =
        vec![format!("CREATE TABLE \"{name}\" (\n    {}\n){partitions}", lines.join(",\n    "))];
    for remainder in 0..definition.partitions() {
        let child = names.partition(definition, remainder);
        statements.push(format!(
            r#"CREATE TABLE "{child}" PARTITION OF "{name}" FOR VALUES WITH (MODULUS {}, REMAINDER {remainder})"#,
            definition.partitions()
        ));
    }
    statements
}

/// `"name" type NOT NULL CONSTRAINT … CHECK (…)`
pub(crate) fn column_line(
    definition: &'static TableDefinition,
    column: &ColumnDefinition,
) -> String {
    let name = column.name();
    let mut line = format!(r#""{name}" {}"#, column_type(column));
    if !column.is_nullable() {
        line.push_str(" NOT NULL");
    }
    if let Some(check) = value_check(column) {
        let constraint = check_name(definition, name);
        line.push_str(&format!(r#" CONSTRAINT "{constraint}" CHECK ({check})"#));
    }
    line
}

/// Row-level security, its policies, and partitions that nobody reaches directly.
fn wall(
    definition: &'static TableDefinition,
    organizations: OrganizationKind,
    roles: &PostgresRoles,
    names: &Names,
) -> Vec<String> {
    let Some(tenant) = definition.tenant_column() else { return Vec::new() };
    let name = definition.name();
    let mut statements = vec![
        force_row_security(name),
        create_wall(name, tenant, organizations, roles),
        create_base(name, roles),
        create_across(name, roles),
    ];
    for remainder in 0..definition.partitions() {
        let child = names.partition(definition, remainder);
        statements.push(force_row_security(&child));
        statements.push(revoke_all(&child, roles));
    }
    statements
}

/// Without FORCE, whoever owns the table reads all of it.
pub(crate) fn force_row_security(table: &str) -> String {
    format!(r#"ALTER TABLE "{table}" ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"#)
}

/// Restrictive, so that no permissive policy that somebody adds opens it.
pub(crate) fn create_wall(
    table: &str,
    tenant: &str,
    organizations: OrganizationKind,
    roles: &PostgresRoles,
) -> String {
    let wall = wall_expression(tenant, organizations);
    format!(
        "CREATE POLICY \"{WALL}\" ON \"{table}\" AS RESTRICTIVE FOR ALL TO \"{}\"\n    USING ({wall})\n    WITH CHECK ({wall})",
        roles.application_name()
    )
}

/// Restrictive policies let nothing through by themselves.
pub(crate) fn create_base(table: &str, roles: &PostgresRoles) -> String {
    format!(
        r#"CREATE POLICY "{BASE}" ON "{table}" AS PERMISSIVE FOR ALL TO "{}" USING (true) WITH CHECK (true)"#,
        roles.application_name()
    )
}

/// To read: nothing that takes an authority writes rows of organizations.
pub(crate) fn create_across(table: &str, roles: &PostgresRoles) -> String {
    format!(
        r#"CREATE POLICY "{ACROSS}" ON "{table}" AS PERMISSIVE FOR SELECT TO "{}" USING (true)"#,
        roles.cross_tenant_name()
    )
}

/// Unset and empty are NULL, which equals nothing; what is no organization is an error of the cast.
/// The sub-select is evaluated once for a statement instead of once for a row.
fn wall_expression(tenant: &str, organizations: OrganizationKind) -> String {
    format!(
        r#""{tenant}" = (SELECT NULLIF(current_setting('{SETTING}', true), '')::{})"#,
        match organizations {
            OrganizationKind::Integer => "bigint",
            OrganizationKind::Text => "text",
            OrganizationKind::Uuid => "uuid",
        }
    )
}

/// What the two roles may do with a table, and nothing else: what default privileges gave before
/// is taken away first.
pub(crate) fn grants(definition: &'static TableDefinition, roles: &PostgresRoles) -> Vec<String> {
    let name = definition.name();
    let (app, across) = (roles.application_name(), roles.cross_tenant_name());
    let all = "SELECT, INSERT, UPDATE, DELETE";
    // Each reads what the other writes.
    let (scoped, ambient) =
        if definition.tenant_column().is_some() { (all, "SELECT") } else { ("SELECT", all) };
    vec![
        revoke_all(name, roles),
        format!(r#"GRANT {scoped} ON TABLE "{name}" TO "{app}""#),
        format!(r#"GRANT {ambient} ON TABLE "{name}" TO "{across}""#),
    ]
}

pub(crate) fn revoke_all(table: &str, roles: &PostgresRoles) -> String {
    format!(
        r#"REVOKE ALL ON TABLE "{table}" FROM PUBLIC, "{}", "{}""#,
        roles.application_name(),
        roles.cross_tenant_name()
    )
}

/// Declared indexes, and one for each reference that no key, unique set or index begins with.
pub(crate) fn indexes(definition: &'static TableDefinition) -> Vec<&'static [u16]> {
    super::ddl::wanted_indexes(definition)
}

pub(crate) fn create_index(
    definition: &'static TableDefinition,
    columns: &[u16],
    names: &Names,
) -> String {
    format!(
        r#"CREATE INDEX "{}" ON "{}" ({})"#,
        names.index(definition, columns),
        definition.name(),
        column_list(definition, columns),
    )
}

/// The index over all organizations, for cross-tenant reads.
pub(crate) fn create_lookup(
    definition: &'static TableDefinition,
    columns: &[u16],
    names: &Names,
) -> String {
    format!(
        r#"CREATE INDEX "{}" ON "{}" ({})"#,
        names.lookup(definition, columns),
        definition.name(),
        quoted(&column_names(definition, columns)),
    )
}

/// The foreign key of the reference at this position: composite, so that no row refers to another
/// organization's.
pub(crate) fn add_reference(
    definition: &'static TableDefinition,
    at: usize,
    names: &Names,
) -> String {
    let Some(reference) = definition.references().get(at) else { return String::new() };
    let target = reference.target();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    if let (Some(tenant), Some(their_tenant)) = (definition.tenant_column(), target.tenant_column())
    {
        ours.push(tenant);
        theirs.push(their_tenant);
    }
    ours.extend(column_names(definition, reference.columns()));
    theirs.extend(column_names(target, &target.key_positions().collect::<Vec<_>>()));
    format!(
        r#"ALTER TABLE "{}" ADD CONSTRAINT "{}" FOREIGN KEY ({}) REFERENCES "{}" ({}){}"#,
        definition.name(),
        names.reference(definition, at),
        quoted(&ours),
        target.name(),
        quoted(&theirs),
        match reference.on_delete() {
            OnDelete::Cascade => " ON DELETE CASCADE",
            // NO ACTION is checked when the statement ends; see the DDL of SQLite.
            OnDelete::Restrict => "",
        }
    )
}

/// Of the constraint on one column.
pub(crate) fn check_name(definition: &'static TableDefinition, column: &str) -> String {
    object_name(format!("{}_{column}_check", definition.name()))
}

/// The columns behind the tenant column, where there is one.
fn column_list(definition: &'static TableDefinition, columns: &[u16]) -> String {
    let mut list: Vec<&str> = definition.tenant_column().into_iter().collect();
    list.extend(column_names(definition, columns));
    quoted(&list)
}

fn quoted(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!(r#""{name}""#)).collect();
    quoted.join(", ")
}

pub(crate) const fn organization_type(kind: OrganizationKind) -> &'static str {
    match kind {
        OrganizationKind::Integer => "bigint",
        OrganizationKind::Text => r#"text COLLATE "C""#,
        OrganizationKind::Uuid => "uuid",
    }
}

pub(crate) fn organization_check(tenant: &str, kind: OrganizationKind) -> String {
    match kind {
        OrganizationKind::Integer => format!(r#""{tenant}" > 0"#),
        OrganizationKind::Text => format!(r#"octet_length("{tenant}") BETWEEN 1 AND 64"#),
        OrganizationKind::Uuid => {
            format!(r#""{tenant}" <> '00000000-0000-0000-0000-000000000000'"#)
        }
    }
}

/// The type of a column. Texts compare bytewise, as on SQLite, whatever the database's collation.
pub(crate) fn column_type(column: &ColumnDefinition) -> String {
    match column.kind() {
        ColumnType::Bool => "boolean",
        ColumnType::Bytes => "bytea",
        ColumnType::Date => "date",
        ColumnType::Decimal => return format!("numeric(19, {})", column.decimals()),
        ColumnType::Enum(_) | ColumnType::Json | ColumnType::Text => r#"text COLLATE "C""#,
        ColumnType::F64 => "double precision",
        ColumnType::I16 => "smallint",
        ColumnType::I32 => "integer",
        ColumnType::I64 => "bigint",
        ColumnType::Timestamp => "timestamp with time zone",
        ColumnType::Uuid => "uuid",
    }
    .to_owned()
}

/// What keeps out of a column the values that its type has on this store and not on the other.
pub(crate) fn value_check(column: &ColumnDefinition) -> Option<String> {
    let name = column.name();
    Some(match column.kind() {
        ColumnType::Date | ColumnType::Timestamp => format!(r#"isfinite("{name}")"#),
        ColumnType::Decimal => format!(
            r#""{name}" BETWEEN {} AND {}"#,
            scaled(i64::MIN, column.decimals()),
            scaled(i64::MAX, column.decimals())
        ),
        ColumnType::Enum(variants) => {
            let texts: Vec<String> =
                variants.iter().map(|text| format!("'{}'", text.replace('\'', "''"))).collect();
            format!(r#""{name}" IN ({})"#, texts.join(", "))
        }
        ColumnType::F64 => format!(r#""{name}" <> 'NaN'"#),
        ColumnType::Json => format!(r#""{name}"::json::text <> ''"#),
        _ => return None,
    })
}

/// An integer with the decimal point before its last `decimals` digits.
fn scaled(value: i64, decimals: u8) -> String {
    let mut text = value.to_string();
    if decimals > 0 {
        // Both ends of the range have 19 digits, a declared scale at most 18.
        text.insert(text.len().saturating_sub(usize::from(decimals)), '.');
    }
    text
}
