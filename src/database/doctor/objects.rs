//! Objects beside the declared tables, and settings of the connection.

use super::catalog::{Catalog, Elsewhere, ForeignKey, Program, Settings, Table};
use super::remedies::quoted;
use super::report::{Finding, Severity};
use super::rules;
use super::statement::mentions;
use crate::table::{Schema, TableDefinition};

pub(super) fn examine(catalog: &Catalog, schema: &Schema) -> Vec<Finding> {
    let mut findings = Vec::new();
    let undeclared = catalog.tables.iter().filter(|table| declared(schema, &table.name).is_none());
    for table in undeclared {
        outside_table(schema, table, &mut findings);
    }
    programs(catalog, schema, &mut findings);
    for object in &catalog.elsewhere {
        elsewhere(catalog, schema, object, &mut findings);
    }
    findings
}

fn declared(schema: &Schema, name: &str) -> Option<&'static TableDefinition> {
    schema.tables().find(|table| table.name().eq_ignore_ascii_case(name))
}

/// A table that the schema does not know.
fn outside_table(schema: &Schema, table: &Table, findings: &mut Vec<Finding>) {
    for reference in &table.references {
        let Some(tenant) =
            declared(schema, &reference.target).and_then(TableDefinition::tenant_column)
        else {
            continue;
        };
        let ours: Vec<&str> = reference.pairs.iter().map(|(ours, _)| ours.as_str()).collect();
        let finding = Finding::new(&rules::OUTSIDE_REFERENCE, format!("{}/{}", table.name, ours.join(",")))
            .with_severity(outside_severity(reference, tenant))
            .with_advice(format!(
                "table `{}` is not in the schema and refers to `{}`: declare it with `tenant_table!`, or build it anew without the reference",
                table.name, reference.target
            ));
        findings.push(finding);
    }
    let tenant_like = schema
        .tables()
        .filter_map(TableDefinition::tenant_column)
        .find_map(|tenant| table.column(tenant));
    if let Some(column) = tenant_like {
        let finding = Finding::new(&rules::UNDECLARED_TENANT_TABLE, table.name.clone()).with_advice(format!(
            "the table has a column `{}` and is not in the schema: declare it with `tenant_table!`, or accept it",
            column.name
        ));
        findings.push(finding);
    }
}

/// A reference that carries the organization affects rows of that organization alone.
fn outside_severity(reference: &ForeignKey, tenant: &str) -> Severity {
    if reference.pairs.iter().any(|(_, theirs)| theirs.eq_ignore_ascii_case(tenant)) {
        Severity::Warning
    } else {
        Severity::Fatal
    }
}

/// Triggers, views and virtual tables that reach tenant-owned tables.
fn programs(catalog: &Catalog, schema: &Schema, findings: &mut Vec<Finding>) {
    let mut reached: Vec<&str> = schema
        .tables()
        .filter(|table| table.tenant_column().is_some())
        .map(TableDefinition::name)
        .collect();
    let views = readers(catalog, schema, &mut reached);
    for (name, kind) in views {
        let finding = Finding::new(&rules::VIEW, name)
            .with_advice(format!(
                "the {kind} reads tenant-owned rows without a scope: no statement of the crate can name it, so drop it or keep it from whoever else reads the file"
            ))
            .with_remedy(vec![format!("DROP {} IF EXISTS {}", kind.to_ascii_uppercase(), quoted(name))]);
        findings.push(finding);
    }
    for trigger in catalog.programs.iter().filter(|program| program.kind == "trigger") {
        if is_ours(trigger) {
            continue;
        }
        let fires = reached.iter().any(|name| name.eq_ignore_ascii_case(&trigger.table));
        if fires || reached.iter().any(|name| mentions(&trigger.sql, name)) {
            let schema = if trigger.temporary { "temp." } else { "" };
            let finding = Finding::new(&rules::TRIGGER, format!("{}/{}", trigger.table, trigger.name))
                .with_advice(
                    "the trigger fires on a tenant-owned table or names one: do its work in the application, or read it and accept it if every statement in it keeps to the row's organization",
                )
                .with_remedy(vec![format!("DROP TRIGGER IF EXISTS {schema}{}", quoted(&trigger.name))]);
            findings.push(finding);
        }
    }
}

/// The views and virtual tables that read `reached`, which grows by them.
fn readers<'c>(
    catalog: &'c Catalog,
    schema: &Schema,
    reached: &mut Vec<&'c str>,
) -> Vec<(&'c str, &'static str)> {
    let views = catalog
        .programs
        .iter()
        .filter(|program| program.kind == "view" && !is_ours(program))
        .map(|view| (view.name.as_str(), view.sql.as_str(), "view"));
    let virtuals = catalog
        .tables
        .iter()
        .filter(|table| table.kind == "virtual" && declared(schema, &table.name).is_none())
        .map(|table| (table.name.as_str(), table.sql.as_str(), "table"));
    let mut candidates: Vec<_> = views.chain(virtuals).collect();
    let mut readers = Vec::new();
    while let Some(at) =
        candidates.iter().position(|(_, sql, _)| reached.iter().any(|name| mentions(sql, name)))
    {
        let (name, _, kind) = candidates.swap_remove(at);
        reached.push(name);
        readers.push((name, kind));
    }
    readers.sort_unstable();
    readers
}

/// The second wall: triggers and views of the connection that the crate itself made.
fn is_ours(program: &Program) -> bool {
    program.temporary
        && (program.name.starts_with("tenantry_") || mentions(&program.sql, "tenantry_scope"))
}

/// An object of the connection or of an attached database that bears the name of a table.
fn elsewhere(catalog: &Catalog, schema: &Schema, object: &Elsewhere, findings: &mut Vec<Finding>) {
    let Some(table) = declared(schema, &object.name) else { return };
    let is_temporary = object.schema == "temp";
    let is_wall = catalog
        .programs
        .iter()
        .any(|program| program.kind == "view" && program.name == object.name && is_ours(program));
    if is_temporary && is_wall {
        return;
    }
    // A name is looked up in the connection's own objects, then in the file, then in what is
    // attached.
    let hides = is_temporary || catalog.table(table.name()).is_none();
    let severity = if hides { Severity::Fatal } else { Severity::Warning };
    let mut finding = Finding::new(&rules::SHADOWED, format!("{}.{}", object.schema, object.name))
        .with_severity(severity)
        .with_advice(format!("a {} of the same name lies in `{}`", object.kind, object.schema));
    if is_temporary {
        let kind = if object.kind == "view" { "VIEW" } else { "TABLE" };
        finding = finding
            .with_remedy(vec![format!("DROP {kind} IF EXISTS temp.{}", quoted(&object.name))]);
    } else {
        finding = finding.with_remedy(vec![format!("DETACH DATABASE {}", quoted(&object.schema))]);
    }
    findings.push(finding);
}

/// The settings of the connection, which the crate makes when it opens one.
pub(super) fn examine_settings(settings: &Settings) -> Vec<Finding> {
    [
        (settings.foreign_keys, true, &rules::FOREIGN_KEYS_OFF, "foreign_keys", "ON"),
        (settings.trusted_schema, false, &rules::TRUSTED_SCHEMA, "trusted_schema", "OFF"),
        (
            settings.ignore_check_constraints,
            false,
            &rules::CHECKS_IGNORED,
            "ignore_check_constraints",
            "OFF",
        ),
        (settings.writable_schema, false, &rules::WRITABLE_SCHEMA, "writable_schema", "OFF"),
    ]
    .into_iter()
    .filter(|(is, should_be, ..)| is != should_be)
    .map(|(_, _, rule, pragma, value)| {
        Finding::new(rule, pragma)
            .with_advice("the setting belongs to the connection, not to the file: open it without the setting")
            .with_remedy(vec![format!("PRAGMA {pragma} = {value}")])
    })
    .collect()
}
