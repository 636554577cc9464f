//! The remedy for most findings: the table is built anew by its declaration, with its rows.

use super::catalog::{Catalog, Column, Index, Origin, Table, same_set};
use super::columns::stored_class;
use super::indexes::unique_columns;
use super::references;
use super::report::Acceptance;
use super::rules;
use super::statement;
use crate::id::OrganizationKind;
use crate::table::{
    ColumnDefinition, ColumnType, Schema, TableDefinition, create_table, organization_type,
    storage_class, table_statements,
};

/// Statements that build a table anew, and what to know before running them.
pub(super) struct Rebuild {
    pub(super) statements: Vec<String>,
    pub(super) caution: String,
}

/// The documented way to change a SQLite table in any respect: a table of the declared shape under
/// another name takes over the rows and then the name.
///
/// Every conversion either keeps the meaning of a value or leaves it as it is, so that the STRICT
/// table refuses it and nothing is lost.
pub(super) fn rebuild(
    definition: &'static TableDefinition,
    table: &Table,
    catalog: &Catalog,
    schema: &Schema,
    accepted: &[Acceptance],
) -> Rebuild {
    let kind = schema.organization_kind();
    let name = definition.name();
    let new_name = format!("tenantry_rebuild_{name}");
    let (new, old) = (quoted(&new_name), quoted(name));
    let mut cautions = vec![
        "stop the application, copy the file, and run the statements in this order on one connection; the foreign key check between them must return no row".to_owned(),
    ];
    let mut statements = vec![
        "PRAGMA foreign_keys = OFF".to_owned(),
        "PRAGMA legacy_alter_table = ON".to_owned(),
        "BEGIN IMMEDIATE".to_owned(),
        format!("DROP TABLE IF EXISTS {new}"),
        create_table(definition, &new_name, kind),
    ];
    let kept = kept_columns(definition, table);
    for column in &kept {
        let mut statement = format!("ALTER TABLE {new} ADD COLUMN {} ANY", quoted(&column.name));
        if let Some(default) = &column.default {
            if column.not_null {
                statement.push_str(" NOT NULL");
            }
            statement.push_str(&format!(" DEFAULT ({default})"));
        }
        statements.push(statement);
    }
    let (columns, values) = transfer(definition, table, kind, &kept, &mut cautions);
    statements.push(format!("INSERT INTO {new} ({columns}) SELECT {values} FROM {old}"));
    statements.push(format!("DROP TABLE {old}"));
    statements.push(format!("ALTER TABLE {new} RENAME TO {old}"));
    let indexes: Vec<String> =
        table_statements(definition, kind, &schema.names()).into_iter().skip(1).collect();
    let kept_indexes = kept_indexes(definition, table, &indexes, &mut cautions);
    statements.extend(indexes);
    statements.extend(kept_indexes);
    statements.extend(kept_triggers(table, catalog, accepted, &mut cautions));
    let left_out = references::left_out(definition, table);
    if !left_out.is_empty() {
        cautions.push(format!(
            "the foreign key {} is left out: declare it to keep it",
            left_out.join(", ")
        ));
    }
    statements.extend([
        format!("PRAGMA foreign_key_check({old})"),
        "COMMIT".to_owned(),
        "PRAGMA legacy_alter_table = OFF".to_owned(),
        "PRAGMA foreign_keys = ON".to_owned(),
    ]);
    Rebuild { statements, caution: cautions.join("; ") }
}

/// Columns that the declaration does not name and that the rebuilt table keeps as they are.
fn kept_columns<'t>(definition: &'static TableDefinition, table: &'t Table) -> Vec<&'t Column> {
    let is_declared = |column: &Column| {
        definition
            .columns()
            .iter()
            .map(ColumnDefinition::name)
            .chain(definition.tenant_column())
            .any(|name| name.eq_ignore_ascii_case(&column.name))
    };
    table.columns.iter().filter(|column| !column.computed && !is_declared(column)).collect()
}

/// The column list and the values of the statement that moves the rows.
fn transfer(
    definition: &'static TableDefinition,
    table: &Table,
    kind: OrganizationKind,
    kept: &[&Column],
    cautions: &mut Vec<String>,
) -> (String, String) {
    let mut columns = Vec::new();
    let mut values = Vec::new();
    if let Some(tenant) = definition.tenant_column() {
        columns.push(quoted(tenant));
        values.push(match table.column(tenant) {
            Some(column) => {
                let stored = stored_class(table, column);
                if kind == OrganizationKind::Uuid && stored != Some("BLOB") {
                    cautions.push(uuid_caution(tenant));
                }
                organization(table, column, kind)
            }
            None => {
                cautions.push(format!(
                    "bind `:organization` to the organization that gets the rows ({})",
                    match kind {
                        OrganizationKind::Integer => "an integer above zero",
                        OrganizationKind::Text => "a text of 1 to 64 characters",
                        OrganizationKind::Uuid => "a BLOB of 16 bytes, such as x'…'",
                    }
                ));
                ":organization".to_owned()
            }
        });
    }
    for column in definition.columns() {
        columns.push(quoted(column.name()));
        values.push(match table.column(column.name()) {
            Some(found) => {
                cautions.extend(conversion_caution(table, found, column));
                conversion(table, found, column)
            }
            None if column.is_nullable() => "NULL".to_owned(),
            None => {
                let parameter = parameter(column.name());
                cautions.push(format!(
                    "bind `{parameter}` to the value of `{}` in the present rows",
                    column.name()
                ));
                parameter
            }
        });
    }
    for column in kept {
        columns.push(quoted(&column.name));
        values.push(quoted(&column.name));
    }
    let dropped: Vec<String> = table
        .columns
        .iter()
        .filter(|column| column.computed)
        .filter(|column| {
            !definition
                .columns()
                .iter()
                .any(|known| known.name().eq_ignore_ascii_case(&column.name))
        })
        .map(|column| format!("`{}`", column.name))
        .collect();
    if !dropped.is_empty() {
        cautions.push(format!("the generated column {} is left out", dropped.join(", ")));
    }
    (columns.join(", "), values.join(", "))
}

/// The organization of a row in the schema's kind; what is none fails the NOT NULL or the CHECK.
fn organization(table: &Table, column: &Column, kind: OrganizationKind) -> String {
    let name = quoted(&column.name);
    if table.strict && stored_class(table, column) == Some(organization_type(kind)) {
        return name;
    }
    match kind {
        // CAST reads the digits that a text begins with and drops the rest.
        OrganizationKind::Integer => format!(
            "CASE WHEN typeof({name}) = 'integer' THEN {name} WHEN CAST(CAST({name} AS INTEGER) AS TEXT) = CAST({name} AS TEXT) THEN CAST({name} AS INTEGER) END"
        ),
        OrganizationKind::Text => format!("CASE WHEN typeof({name}) = 'text' THEN {name} END"),
        OrganizationKind::Uuid => format!(
            "CASE typeof({name}) WHEN 'blob' THEN {name} WHEN 'text' THEN unhex({name}, '-') END"
        ),
    }
}

/// The value of a column in its declared form.
fn conversion(table: &Table, found: &Column, declared: &ColumnDefinition) -> String {
    let name = quoted(&found.name);
    let class = storage_class(declared.kind());
    let stored = stored_class(table, found);
    if table.strict && stored == Some(class) {
        return name;
    }
    match declared.kind() {
        ColumnType::Bool => format!(
            "CASE lower({name}) WHEN 'true' THEN 1 WHEN 't' THEN 1 WHEN 'yes' THEN 1 WHEN 'false' THEN 0 WHEN 'f' THEN 0 WHEN 'no' THEN 0 ELSE {name} END"
        ),
        ColumnType::Bytes => {
            format!("CASE typeof({name}) WHEN 'text' THEN CAST({name} AS BLOB) ELSE {name} END")
        }
        ColumnType::Date => format!(
            "CASE WHEN typeof({name}) = 'text' THEN coalesce(CAST(julianday(date({name})) + 0.5 AS INTEGER), {name}) ELSE {name} END"
        ),
        ColumnType::Decimal if stored != Some("INTEGER") => decimal(&name, declared.decimals()),
        ColumnType::Enum(_) | ColumnType::Text => {
            format!("CASE typeof({name}) WHEN 'blob' THEN CAST({name} AS TEXT) ELSE {name} END")
        }
        ColumnType::Json => {
            format!("CASE typeof({name}) WHEN 'blob' THEN json({name}) ELSE {name} END")
        }
        ColumnType::Timestamp => timestamp(&name),
        ColumnType::Uuid => {
            format!(
                "CASE typeof({name}) WHEN 'text' THEN coalesce(unhex({name}, '-'), {name}) ELSE {name} END"
            )
        }
        ColumnType::Decimal
        | ColumnType::F64
        | ColumnType::I16
        | ColumnType::I32
        | ColumnType::I64 => name,
    }
}

/// A decimal times ten to the scale; one with more places stays what it is, and is refused.
fn decimal(name: &str, scale: u8) -> String {
    let factor = 10_i64.pow(u32::from(scale));
    let scaled = format!("CAST({name} AS REAL) * {factor}");
    let is_number = format!(
        "(typeof({name}) IN ('integer', 'real') OR ({name} GLOB '*[0-9]*' AND {name} NOT GLOB '*[^-+.0-9]*'))"
    );
    format!(
        "CASE WHEN typeof({name}) = 'integer' THEN {name} * {factor} WHEN {is_number} AND abs({scaled}) < 9e15 AND abs({scaled} - round({scaled})) < 0.001 THEN CAST(round({scaled}) AS INTEGER) ELSE {name} END"
    )
}

/// Microseconds since 1970 of an ISO 8601 text, exactly: the store's own functions count in
/// milliseconds, so the digits after the dot are taken from the text.
fn timestamp(name: &str) -> String {
    let rest = format!("ltrim(substr({name}, 20), '.')");
    let zone = format!("ltrim({rest}, '0123456789')");
    let digits = format!("substr({rest}, 1, length({rest}) - length({zone}))");
    format!(
        "CASE WHEN typeof({name}) = 'text' THEN coalesce(unixepoch(substr({name}, 1, 19) || {zone}) * 1000000 + CAST(substr({digits} || '000000', 1, 6) AS INTEGER), {name}) ELSE {name} END"
    )
}

fn conversion_caution(
    table: &Table,
    found: &Column,
    declared: &ColumnDefinition,
) -> Option<String> {
    let stored = stored_class(table, found);
    let name = declared.name();
    match declared.kind() {
        ColumnType::Timestamp if stored != Some("INTEGER") => Some(format!(
            "`{name}`: ISO 8601 texts become microseconds, of which digits beyond the sixth are cut; numbers are taken for microseconds"
        )),
        ColumnType::Date if stored != Some("INTEGER") => Some(format!(
            "`{name}`: ISO 8601 texts become Julian day numbers, of which a time of day is cut; numbers are taken for such"
        )),
        ColumnType::Decimal if stored != Some("INTEGER") => Some(format!(
            "`{name}`: values are taken as they read and multiplied by 10^{}; one with more decimals stops the remedy",
            declared.decimals()
        )),
        ColumnType::Uuid if stored != Some("BLOB") => Some(uuid_caution(name)),
        _ => None,
    }
}

fn uuid_caution(name: &str) -> String {
    format!("`{name}`: texts become 16 bytes by `unhex`, which SQLite has from 3.41 on")
}

/// Indexes that the declaration does not name, each inside the organization.
fn kept_indexes(
    definition: &'static TableDefinition,
    table: &Table,
    indexes: &[String],
    cautions: &mut Vec<String>,
) -> Vec<String> {
    let declared: Vec<Vec<String>> =
        indexes.iter().filter_map(|statement| statement::index_columns(statement)).collect();
    let key: Vec<u16> = definition.key_positions().collect();
    let uniques: Vec<Vec<&str>> = std::iter::once(key.as_slice())
        .chain(definition.uniques().iter().copied())
        .map(|columns| unique_columns(definition, columns))
        .collect();
    let mut statements = Vec::new();
    for index in table.indexes.iter().filter(|index| index.origin != Origin::Key) {
        let Some(columns) = index_columns(definition, index) else {
            cautions.push(format!(
                "index `{}`, of an expression or a condition, is left out",
                index.name
            ));
            continue;
        };
        let is_declared = uniques.iter().any(|unique| same_set(unique, &columns))
            || (!index.unique && declared.iter().any(|declared| *declared == columns));
        let exists = columns.iter().all(|name| {
            definition.tenant_column() == Some(name)
                || definition
                    .columns()
                    .iter()
                    .any(|column| column.name().eq_ignore_ascii_case(name))
                || table.column(name).is_some_and(|column| !column.computed)
        });
        if !is_declared && exists {
            statements.extend(per_organization(definition, index));
        }
    }
    statements
}

/// The columns of the index, with the tenant column in front; `None` where it has an expression
/// or a condition.
fn index_columns<'i>(
    definition: &'static TableDefinition,
    index: &'i Index,
) -> Option<Vec<&'i str>> {
    let names = index.names().filter(|_| !index.partial)?;
    let tenant = definition.tenant_column();
    let others = names
        .into_iter()
        .filter(|name| tenant.is_none_or(|tenant| !name.eq_ignore_ascii_case(tenant)));
    Some(tenant.into_iter().chain(others).collect())
}

/// The statement that makes the same index inside each organization.
pub(super) fn per_organization(
    definition: &'static TableDefinition,
    index: &Index,
) -> Option<String> {
    let columns = index_columns(definition, index)?;
    let list = columns.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
    let unique = if index.unique { "UNIQUE " } else { "" };
    let name = match index.origin {
        Origin::Statement => index.name.clone(),
        // Names that begin with sqlite_ belong to the store.
        Origin::Constraint | Origin::Key => {
            format!("{}_{}_key", definition.name(), columns.join("_"))
        }
    };
    Some(format!(
        "CREATE {unique}INDEX IF NOT EXISTS {} ON {} ({list})",
        quoted(&name),
        quoted(definition.name())
    ))
}

/// Dropping the table drops its triggers; those that the operator accepted come back.
fn kept_triggers(
    table: &Table,
    catalog: &Catalog,
    accepted: &[Acceptance],
    cautions: &mut Vec<String>,
) -> Vec<String> {
    let mut statements = Vec::new();
    let triggers = catalog.programs.iter().filter(|program| {
        program.kind == "trigger"
            && !program.temporary
            && program.table.eq_ignore_ascii_case(&table.name)
    });
    for trigger in triggers {
        let object = format!("{}/{}", trigger.table, trigger.name);
        if accepted.iter().any(|acceptance| acceptance.covers(rules::TRIGGER.code, &object)) {
            statements.push(trigger.sql.clone());
        } else {
            cautions
                .push(format!("trigger `{}`, which is not accepted, is left out", trigger.name));
        }
    }
    statements
}

/// A name as SQL writes it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The parameter that stands for a column's value in the rows that are there.
pub(super) fn parameter(column: &str) -> String {
    let plain: String = column
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
        .collect();
    format!(":{plain}")
}
