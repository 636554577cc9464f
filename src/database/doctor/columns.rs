//! Key, tenant column and columns of a declared table.

use super::catalog::{Column, Table, same_set};
use super::remedies::quoted;
use super::report::{Finding, Severity};
use super::rules::{self, Rule};
use super::sqlite::{Cure, Examined};
use super::statement::TableText;
use crate::id::OrganizationKind;
use crate::table::{ColumnDefinition, ColumnType, create_table, organization_type, storage_class};

pub(super) fn examine(examined: &mut Examined<'_>) {
    shape(examined);
    key(examined);
    match examined.definition.tenant_column() {
        Some(tenant) => tenant_column(examined, tenant),
        None => global_columns(examined),
    }
    let definition = examined.definition;
    for column in definition.columns() {
        match examined.table.column(column.name()) {
            Some(found) => declared_column(examined, column, found),
            None => absent_column(examined, column),
        }
    }
    let table = examined.table;
    for column in &table.columns {
        let is_declared = definition.columns().iter().any(|known| is_named(known.name(), column))
            || definition.tenant_column().is_some_and(|tenant| is_named(tenant, column));
        let has_value = column.default.is_some() || column.computed || table.is_rowid_alias(column);
        if !is_declared && column.not_null && !has_value {
            examined.find(
                &rules::COLUMN_REQUIRED,
                examined.at(&column.name),
                "declare the column, or give it a default",
                Cure::Rebuild,
            );
        }
    }
}

fn is_named(name: &str, column: &Column) -> bool {
    column.name.eq_ignore_ascii_case(name)
}

/// What concerns the table as a whole.
fn shape(examined: &mut Examined<'_>) {
    let (table, name) = (examined.table, examined.name());
    let is_tenant = examined.definition.tenant_column().is_some();
    if is_tenant && !table.without_rowid {
        examined.find(&rules::ROWID_TABLE, name, "the table is not `WITHOUT ROWID`", Cure::Rebuild);
    }
    // With the right type of the tenant column, affinity converts no two organizations into one,
    // so that a table that is not STRICT harms its own rows alone.
    if !table.strict {
        examined.find(&rules::NOT_STRICT, name, "the table is not `STRICT`", Cure::Rebuild);
    }
    let Some(text) = &table.text else {
        examined.find(
            &rules::DEFINITION_UNREADABLE,
            name,
            "the stored definition and the catalogue do not name the same columns to the doctor",
            Cure::Rebuild,
        );
        return;
    };
    for clause in text.conflict_clauses() {
        let severity = if is_tenant { Severity::Fatal } else { Severity::Warning };
        let finding = Finding::new(&rules::CONFLICT_CLAUSE, name)
            .with_severity(severity)
            .with_advice(format!("a constraint of the table says `ON CONFLICT {clause}`"));
        examined.draft(finding, Cure::Rebuild);
    }
    if text.has_deferred_reference() {
        examined.find(
            &rules::REFERENCE_DEFERRED,
            name,
            "a foreign key of the table says `INITIALLY DEFERRED`",
            Cure::Rebuild,
        );
    }
    let counts =
        text.has_autoincrement() || table.columns.iter().any(|column| table.is_rowid_alias(column));
    if is_tenant && counts {
        examined.find(
            &rules::SHARED_SEQUENCE,
            name,
            "the store numbers the rows of all organizations in one sequence",
            Cure::Rebuild,
        );
    }
}

fn key(examined: &mut Examined<'_>) {
    let (definition, table, name) = (examined.definition, examined.table, examined.name());
    let declared: Vec<&str> = definition
        .tenant_column()
        .into_iter()
        .chain(
            definition
                .columns()
                .iter()
                .filter(|column| column.is_key())
                .map(ColumnDefinition::name),
        )
        .collect();
    let found: Vec<&str> = table.key().collect();
    let says = || {
        format!("the primary key is ({}), declared is ({})", found.join(", "), declared.join(", "))
    };
    let begins =
        |tenant: &str| found.first().is_some_and(|first| first.eq_ignore_ascii_case(tenant));
    match definition.tenant_column() {
        Some(_) if found.is_empty() => {
            examined.find(&rules::KEY_ABSENT, name, "the table has no primary key", Cure::Rebuild);
        }
        Some(tenant) if !begins(tenant) => {
            examined.find(&rules::KEY_NOT_PER_ORGANIZATION, name, says(), Cure::Rebuild);
        }
        _ if !same_set(&found, &declared) => {
            examined.find(&rules::KEY_DIFFERS, name, says(), Cure::Rebuild);
        }
        _ => {}
    }
}

fn tenant_column(examined: &mut Examined<'_>, tenant: &'static str) {
    let table = examined.table;
    let kind = examined.schema.organization_kind();
    let object = examined.at(tenant);
    let Some(column) = table.column(tenant) else {
        examined.find(
            &rules::TENANT_COLUMN_ABSENT,
            object,
            "every row has to be given to an organization: `:organization` stands for the one that gets the rows of the table; where several share it, fill a column of that name first",
            Cure::Rebuild,
        );
        return;
    };
    let mut wrong = |rule: &'static Rule, advice: String| {
        examined.find(rule, object.clone(), advice, Cure::Rebuild);
    };
    if column.computed {
        wrong(&rules::TENANT_GENERATED, "the tenant column is generated".to_owned());
    }
    if !column.not_null {
        wrong(
            &rules::TENANT_NULLABLE,
            "give every row an organization first: the remedy stops at a row that has none"
                .to_owned(),
        );
    }
    if let Some(default) = &column.default {
        wrong(&rules::TENANT_DEFAULT, format!("the tenant column has the default {default}"));
    }
    let class = organization_type(kind);
    if stored_class(table, column) != Some(class) {
        wrong(
            &rules::TENANT_TYPE,
            format!(
                "the tenant column is declared `{}`, the schema needs `{class}`",
                column.declared
            ),
        );
    }
    let Some(text) = &table.text else { return };
    if let Some(collation) =
        text.column(tenant).and_then(|column| foreign_collation(column.collation()))
    {
        let advice = format!("the tenant column has the collation {collation}");
        let finding = Finding::new(&rules::TENANT_COLLATION, examined.at(tenant))
            .with_severity(tenant_collation_severity(kind))
            .with_advice(advice);
        examined.draft(finding, Cure::Rebuild);
    }
    // STRICT and the type keep other types out; the check keeps out the nil UUID, zero and the
    // empty text, which the crate never writes, so that its absence harms nobody by itself.
    let wanted = TableText::read(&create_table(examined.definition, examined.name(), kind))
        .and_then(|text| text.column(tenant).map(|column| column.checks()))
        .unwrap_or_default();
    let checks = text.checks();
    if !wanted.iter().all(|check| checks.contains(check)) {
        examined.find(
            &rules::TENANT_UNCHECKED,
            examined.at(tenant),
            "the table lacks the CHECK on the tenant column that the declaration gives it",
            Cure::Rebuild,
        );
    }
}

/// A collation is the store's for texts alone: organizations of other kinds do not meet it.
pub(super) const fn tenant_collation_severity(kind: OrganizationKind) -> Severity {
    match kind {
        OrganizationKind::Text => Severity::Fatal,
        OrganizationKind::Integer | OrganizationKind::Uuid => Severity::Warning,
    }
}

/// The collation, where it is not the bytewise one.
pub(super) fn foreign_collation(collation: Option<&str>) -> Option<&str> {
    collation.filter(|name| !name.eq_ignore_ascii_case("BINARY"))
}

fn global_columns(examined: &mut Examined<'_>) {
    let table = examined.table;
    for column in &table.columns {
        let is_tenant_column = examined
            .schema
            .tables()
            .filter_map(|table| table.tenant_column())
            .any(|tenant| is_named(tenant, column));
        if is_tenant_column {
            examined.find(
                &rules::GLOBAL_WITH_TENANT_COLUMN,
                examined.at(&column.name),
                "declare the table with `tenant_table!`, or give the column another name if it does not say whose the row is",
                Cure::Advice,
            );
        }
    }
}

fn declared_column(examined: &mut Examined<'_>, declared: &ColumnDefinition, found: &Column) {
    let table = examined.table;
    let object = examined.at(declared.name());
    if found.computed {
        examined.find(&rules::COLUMN_GENERATED, object, "the column is generated", Cure::Rebuild);
        return;
    }
    let class = storage_class(declared.kind());
    if !stores(table, found, declared.kind()) {
        examined.find(
            &rules::COLUMN_STORAGE,
            object.clone(),
            format!(
                "the column is declared `{}`, the declaration stores {} as `{class}`",
                found.declared,
                noun(declared.kind())
            ),
            Cure::Rebuild,
        );
    }
    let is_nullable = !found.not_null && !table.is_rowid_alias(found);
    if is_nullable && !declared.is_nullable() {
        examined.find(
            &rules::COLUMN_NULLABILITY,
            object.clone(),
            "the column takes NULL and the declaration does not: make the field an `Option`, or fill the rows and rebuild",
            Cure::Rebuild,
        );
    } else if !is_nullable && declared.is_nullable() {
        examined.find(
            &rules::COLUMN_NULLABILITY,
            object.clone(),
            "the column takes no NULL and the declaration does: make the field no `Option`, or rebuild",
            Cure::Rebuild,
        );
    }
    let collation = table
        .text
        .as_ref()
        .and_then(|text| text.column(declared.name()))
        .and_then(|column| foreign_collation(column.collation()));
    if let Some(collation) = collation.filter(|_| class == "TEXT") {
        examined.find(
            &rules::COLUMN_COLLATION,
            object,
            format!("the column has the collation {collation}"),
            Cure::Rebuild,
        );
    }
}

fn absent_column(examined: &mut Examined<'_>, declared: &ColumnDefinition) {
    let name = declared.name();
    let object = examined.at(name);
    let kind = examined.schema.organization_kind();
    let text = TableText::read(&create_table(examined.definition, examined.name(), kind))
        .and_then(|text| text.column(name).map(super::statement::ColumnText::sql));
    match text.filter(|_| declared.is_nullable() && !declared.is_key()) {
        Some(text) => {
            let statement = format!("ALTER TABLE {} ADD COLUMN {text}", quoted(examined.name()));
            examined.find(
                &rules::COLUMN_ABSENT,
                object,
                "the column does not exist",
                Cure::Statements(vec![statement]),
            );
        }
        None => {
            let advice = format!(
                "the column does not exist and takes no NULL: `{}` stands for its value in the present rows",
                super::remedies::parameter(name)
            );
            examined.find(&rules::COLUMN_ABSENT, object, advice, Cure::Rebuild);
        }
    }
}

/// The storage class that a column holds: by its type in a STRICT table, by its affinity else.
/// `None` for numbers of any kind.
pub(super) fn stored_class(table: &Table, column: &Column) -> Option<&'static str> {
    let declared = column.declared.to_ascii_uppercase();
    if table.strict {
        return match declared.as_str() {
            "INT" | "INTEGER" => Some("INTEGER"),
            "BLOB" => Some("BLOB"),
            "REAL" => Some("REAL"),
            "TEXT" => Some("TEXT"),
            _ => None,
        };
    }
    // The rules of affinity, in their order.
    let has = |part: &str| declared.contains(part);
    if has("INT") {
        Some("INTEGER")
    } else if has("CHAR") || has("CLOB") || has("TEXT") {
        Some("TEXT")
    } else if has("BLOB") || declared.is_empty() {
        Some("BLOB")
    } else if has("REAL") || has("FLOA") || has("DOUB") {
        Some("REAL")
    } else {
        None
    }
}

fn stores(table: &Table, column: &Column, kind: ColumnType) -> bool {
    match (stored_class(table, column), kind) {
        (Some(class), _) => class == storage_class(kind),
        // NUMERIC keeps integers as they are, as BOOLEAN does; a DATETIME or DECIMAL is another
        // form than the declared one.
        (None, ColumnType::Bool | ColumnType::I16 | ColumnType::I32 | ColumnType::I64) => {
            !table.strict
        }
        (None, _) => false,
    }
}

const fn noun(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Bool => "booleans",
        ColumnType::Bytes => "bytes",
        ColumnType::Date => "dates (the Julian day number)",
        ColumnType::Decimal => "decimals (the value times ten to the scale)",
        ColumnType::Enum(_) => "enums",
        ColumnType::F64 => "floats",
        ColumnType::I16 | ColumnType::I32 | ColumnType::I64 => "integers",
        ColumnType::Json => "JSON",
        ColumnType::Text => "texts",
        ColumnType::Timestamp => "times (microseconds since 1970)",
        ColumnType::Uuid => "UUIDs (16 bytes)",
    }
}
