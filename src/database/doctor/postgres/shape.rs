//! Key, columns, unique sets, indexes and references of a declared table.

use super::catalog::{Catalog, Column, ForeignKey, Index, Relation, quoted};
use super::{Table, rules};
use crate::database::doctor::report::{Finding, Severity};
use crate::id::OrganizationKind;
use crate::table::postgres::{
    add_reference, check_name, column_line, column_type, create_index, create_lookup, create_wall,
    indexes, organization_check, organization_type,
};
use crate::table::{ColumnDefinition, ColumnType, Names, OnDelete, TableDefinition, column_names};

pub(super) fn examine(table: &mut Table<'_, '_>) {
    match table.definition.tenant_column() {
        Some(tenant) => tenant_column(table, tenant),
        None => global_columns(table),
    }
    columns(table);
    key(table);
    uniques(table);
    plain_indexes(table);
    references(table);
}

fn tenant_column(table: &mut Table<'_, '_>, tenant: &'static str) {
    let (relation, kind) = (table.relation, table.doctor.schema.organization_kind());
    let roles = table.doctor.schema.roles().clone();
    let (name, object) = (quoted(table.name()), table.at(tenant));
    let column_name = quoted(tenant);
    let alter = |what: &str| format!("ALTER TABLE {name} ALTER COLUMN {column_name} {what}");
    let Some(column) = relation.column(tenant) else {
        let advice = "every row has to be given to an organization: add the column, fill it, then run the doctor again";
        return table.find(&rules::PG_TENANT_COLUMN_ABSENT, object, advice, Vec::new());
    };
    if column.generated {
        let (advice, remedy) = generated(column, &alter);
        table.find(&rules::PG_TENANT_GENERATED, object.as_str(), advice, remedy);
    }
    if !column.not_null || column.old_nulls {
        let advice =
            "give every row an organization first: the remedy stops at a row that has none";
        table.find(
            &rules::PG_TENANT_NULLABLE,
            object.as_str(),
            advice,
            vec![alter("SET NOT NULL")],
        );
    }
    if let Some(default) = &column.default {
        let advice = format!("the tenant column has the default {default}");
        table.find(&rules::PG_TENANT_DEFAULT, object.as_str(), advice, vec![alter("DROP DEFAULT")]);
    }
    let wanted = organization_type(kind);
    let declared = wanted.split(" COLLATE").next().unwrap_or(wanted);
    // A policy that reads the column stands in the way of another type.
    let retype = || {
        let wall = crate::table::postgres::WALL;
        vec![
            format!("DROP POLICY IF EXISTS {} ON {name}", quoted(wall)),
            alter(&format!("TYPE {wanted} USING {column_name}::{declared}")),
            create_wall(table.definition.name(), tenant, kind, &roles),
        ]
    };
    let retype = retype();
    if column.declared != declared {
        let advice =
            format!("the tenant column is `{}`, the schema needs `{declared}`", column.declared);
        table.find(&rules::PG_TENANT_TYPE, object.as_str(), advice, retype);
    } else if !column.deterministic || !column.bytewise {
        let severity = if column.deterministic { Severity::Warning } else { Severity::Fatal };
        let finding = Finding::new(&rules::PG_TENANT_COLLATION, object.as_str())
            .with_severity(severity)
            .with_advice("the tenant column does not compare bytewise")
            .with_remedy(retype);
        table.doctor.findings.push(finding);
    }
    if !column.checks.iter().any(|check| is_organization_check(check, tenant, kind)) {
        let constraint = check_name(table.definition, tenant);
        let check = organization_check(tenant, kind);
        let remedy = vec![
            format!("ALTER TABLE {name} DROP CONSTRAINT IF EXISTS {}", quoted(&constraint)),
            format!("ALTER TABLE {name} ADD CONSTRAINT {} CHECK ({check})", quoted(&constraint)),
        ];
        let advice = "no CHECK keeps out what is no organization, in the words that the remedy has";
        table.find(&rules::PG_TENANT_UNCHECKED, object, advice, remedy);
    }
}

/// Whether the server writes `check` for what the declaration demands.
fn is_organization_check(check: &str, tenant: &str, kind: OrganizationKind) -> bool {
    let words = |text: &str| text.replace(['(', ')', '"', ' '], "");
    let column = quoted(tenant);
    let wanted = match kind {
        // The server takes BETWEEN apart.
        OrganizationKind::Text => {
            format!("octet_length({column}) >= 1 AND octet_length({column}) <= 64")
        }
        OrganizationKind::Uuid => format!("{}::uuid", organization_check(tenant, kind)),
        OrganizationKind::Integer => organization_check(tenant, kind),
    };
    words(check) == words(&wanted)
}

fn global_columns(table: &mut Table<'_, '_>) {
    for column in &table.relation.columns {
        if table.doctor.names_a_tenant(&column.name) {
            let object = table.at(&column.name);
            let advice = "declare the table with `tenant_table!`, or give the column another name if it does not say whose the row is";
            table.find(&rules::PG_GLOBAL_WITH_TENANT_COLUMN, object, advice, Vec::new());
        }
    }
}

fn columns(table: &mut Table<'_, '_>) {
    let (definition, relation) = (table.definition, table.relation);
    let name = quoted(definition.name());
    for declared in definition.columns() {
        let object = table.at(declared.name());
        match relation.column(declared.name()) {
            Some(found) => column(table, declared, found),
            None => {
                let remedy = vec![format!(
                    "ALTER TABLE {name} ADD COLUMN {}",
                    column_line(definition, declared)
                )];
                let advice = "the column does not exist; one that takes no NULL needs a value for the present rows first";
                table.find(&rules::COLUMN_ABSENT, object, advice, remedy);
            }
        }
    }
    for column in &relation.columns {
        let is_declared =
            definition.columns().iter().any(|declared| declared.name() == column.name)
                || definition.tenant_column() == Some(column.name.as_str());
        let has_value = column.default.is_some() || column.identity || column.generated;
        if !is_declared && column.not_null && !has_value {
            let remedy = vec![format!(
                "ALTER TABLE {name} ALTER COLUMN {} DROP NOT NULL",
                quoted(&column.name)
            )];
            let advice = "declare the column, or give it a default";
            table.find(&rules::COLUMN_REQUIRED, table.at(&column.name), advice, remedy);
        }
    }
}

fn column(table: &mut Table<'_, '_>, declared: &'static ColumnDefinition, found: &Column) {
    let (name, object) = (quoted(table.name()), table.at(declared.name()));
    let column_name = quoted(declared.name());
    let alter = |what: &str| format!("ALTER TABLE {name} ALTER COLUMN {column_name} {what}");
    if found.generated {
        let (advice, remedy) = generated(found, &alter);
        return table.find(&rules::COLUMN_GENERATED, object, advice, remedy);
    }
    let counts = found.identity
        || found.default.as_deref().is_some_and(|default| default.contains("nextval("));
    if declared.is_key() && counts && table.definition.tenant_column().is_some() {
        let what = if found.identity { "DROP IDENTITY" } else { "DROP DEFAULT" };
        let advice =
            "one sequence numbers the rows of all organizations; keys come from the application";
        table.find(&rules::PG_SHARED_SEQUENCE, object.as_str(), advice, vec![alter(what)]);
    }
    let wanted = column_type(declared);
    if !stores(declared, &found.declared) {
        let from = if found.declared == "timestamp without time zone" {
            format!("{column_name} AT TIME ZONE 'UTC'")
        } else {
            format!("{column_name}::{}", wanted.split(" COLLATE").next().unwrap_or(&wanted))
        };
        let advice =
            format!("the column is `{}`, the declaration stores `{wanted}`", found.declared);
        let remedy = vec![alter(&format!("TYPE {wanted} USING {from}"))];
        table.find(&rules::COLUMN_STORAGE, object.as_str(), advice, remedy);
    } else if !found.bytewise {
        let advice = "the column has another collation than \"C\"";
        let remedy = vec![alter(&format!("TYPE {wanted}"))];
        table.find(&rules::PG_COLUMN_COLLATION, object.as_str(), advice, remedy);
    }
    if declared.is_nullable() && found.not_null {
        let advice = "the column takes no NULL and the declaration does: make the field no `Option`, or let the column take it";
        table.find(&rules::COLUMN_NULLABILITY, object, advice, vec![alter("DROP NOT NULL")]);
    } else if !declared.is_nullable() && (!found.not_null || found.old_nulls) {
        let advice = "the column takes or holds NULL and the declaration does not: make the field an `Option`, or fill the rows";
        table.find(&rules::COLUMN_NULLABILITY, object, advice, vec![alter("SET NOT NULL")]);
    }
}

/// What to do about a generated column.
fn generated(column: &Column, alter: &dyn Fn(&str) -> String) -> (&'static str, Vec<String>) {
    match column.computed {
        false => ("the column is generated", vec![alter("DROP EXPRESSION")]),
        true => (
            "the column is generated when it is read, and no statement makes an ordinary one of it: fill an ordinary column of another name, drop this one, and rename that",
            Vec::new(),
        ),
    }
}

/// Whether a type holds the declared values, in the declared order.
fn stores(declared: &ColumnDefinition, found: &str) -> bool {
    let wanted = column_type(declared);
    let wanted = wanted.split(" COLLATE").next().unwrap_or(&wanted);
    match declared.kind() {
        ColumnType::Decimal => {
            found.starts_with("numeric(") && found.ends_with(&format!(",{})", declared.decimals()))
        }
        ColumnType::Enum(_) | ColumnType::Text => {
            found == wanted || found.starts_with("character varying")
        }
        _ => found == wanted,
    }
}

/// The tenant column, where there is one, before the columns at these positions.
fn with_tenant(definition: &'static TableDefinition, positions: &[u16]) -> Vec<&'static str> {
    let columns = positions.iter().filter_map(|at| definition.column(*at));
    definition.tenant_column().into_iter().chain(columns.map(ColumnDefinition::name)).collect()
}

fn same_set<A: AsRef<str>>(found: &[A], wanted: &[&str]) -> bool {
    found.len() == wanted.len()
        && wanted.iter().all(|name| found.iter().any(|f| f.as_ref() == *name))
}

fn begins_with(index: &Index, name: &str) -> bool {
    index.columns.first().is_some_and(|first| first == name)
}

fn key(table: &mut Table<'_, '_>) {
    let (definition, relation, name) = (table.definition, table.relation, table.name());
    let declared = with_tenant(definition, &definition.key_positions().collect::<Vec<_>>());
    let list: Vec<String> = declared.iter().map(|column| quoted(column)).collect();
    let names = table.doctor.schema.names();
    let constraint = names.key(definition);
    let mut remedy = match relation.primary() {
        Some(primary) => drop_index(table, primary),
        None => Vec::new(),
    };
    remedy.push(format!(
        "ALTER TABLE {} ADD CONSTRAINT {} PRIMARY KEY ({})",
        quoted(name),
        quoted(&constraint),
        list.join(", ")
    ));
    // The references to the old key went with it.
    for other in table.doctor.schema.tables() {
        for (at, reference) in other.references().iter().enumerate() {
            if reference.target().name() == name && relation.primary().is_some() {
                remedy.extend(renew_reference(other, at, &names));
            }
        }
    }
    let says = |primary: &Index| {
        format!(
            "the primary key is ({}), declared is ({})",
            primary.columns.join(", "),
            declared.join(", ")
        )
    };
    let (rule, advice) = match (relation.primary(), definition.tenant_column()) {
        (None, _) => (&rules::PG_KEY_ABSENT, "the table has no primary key".to_owned()),
        (Some(primary), Some(tenant)) if !begins_with(primary, tenant) => {
            (&rules::PG_KEY_NOT_PER_ORGANIZATION, says(primary))
        }
        (Some(primary), _) if !same_set(&primary.columns, &declared) => {
            (&rules::PG_KEY_DIFFERS, says(primary))
        }
        _ => return,
    };
    let caution = relation.primary().map(|primary| lost_with(table, primary));
    let finding = Finding::new(rule, name).with_advice(advice).with_remedy(remedy);
    table.doctor.findings.push(finding.with_caution(caution.unwrap_or_default()));
}

/// What to know before the primary key goes.
fn lost_with(table: &Table<'_, '_>, primary: &Index) -> String {
    let catalog = table.doctor.catalog;
    let undeclared: Vec<String> = catalog
        .relying(table.relation, primary)
        .filter(|(relation, found)| {
            let declared = table.doctor.declared(relation);
            declared.and_then(|declared| declared_at(catalog, declared, found)).is_none()
        })
        .map(|(relation, found)| format!("`{}/{}`", relation.object(), found.name))
        .collect();
    let mut caution =
        format!("{SEES_ALL}; a view that needs the old key stops the remedy: drop it first");
    if !undeclared.is_empty() {
        let names = undeclared.join(", ");
        caution.push_str(&format!("; foreign keys that no declaration names go: {names}"));
    }
    caution
}

/// Without CASCADE, which would take along what nobody named: foreign keys that rely on the index
/// are named, and what else does stops the statement.
fn drop_index(table: &Table<'_, '_>, index: &Index) -> Vec<String> {
    let relation = table.relation;
    let relying = table.doctor.catalog.relying(relation, index);
    let mut statements: Vec<String> =
        relying.map(|(other, found)| drop_constraint(other, &found.name)).collect();
    statements.push(if index.constraint {
        drop_constraint(relation, &index.name)
    } else {
        format!("DROP INDEX {}.{}", quoted(&relation.namespace), quoted(&index.name))
    });
    statements
}

fn drop_constraint(relation: &Relation, name: &str) -> String {
    format!("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}", relation.sql(), quoted(name))
}

fn uniques(table: &mut Table<'_, '_>) {
    let (definition, relation) = (table.definition, table.relation);
    let wanted: Vec<Vec<&str>> =
        definition.uniques().iter().map(|columns| with_tenant(definition, columns)).collect();
    let names = table.doctor.schema.names();
    let add = |columns: &[&str]| {
        let parts: Vec<&str> = columns
            .iter()
            .copied()
            .filter(|column| definition.tenant_column() != Some(column))
            .collect();
        let list: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
        format!(
            "ALTER TABLE {} ADD CONSTRAINT {} UNIQUE ({})",
            quoted(definition.name()),
            quoted(&names.unique(definition, &parts)),
            list.join(", ")
        )
    };
    for index in relation.indexes.iter().filter(|index| !index.primary) {
        collisions(table, index, &wanted, &add);
    }
    for columns in wanted {
        let exists = relation.indexes.iter().any(|index| {
            index.unique && index.valid && !index.partial && same_set(&index.columns, &columns)
        });
        if !exists {
            let object = table.name();
            let advice =
                format!("({}) is not unique: tell doubled rows apart first", columns.join(", "));
            table.find(&rules::UNIQUE_ABSENT, object, advice, vec![add(&columns)]);
        }
    }
}

/// An index, of a table or a part of it, through which one row keeps out another.
fn collisions(
    table: &mut Table<'_, '_>,
    index: &Index,
    wanted: &[Vec<&str>],
    add: &dyn Fn(&[&str]) -> String,
) {
    if !index.unique && !index.exclusion {
        return;
    }
    let object = table.under(&index.name);
    let mut remedy = drop_index(table, index);
    let over = index.columns.join(", ");
    match table.definition.tenant_column() {
        Some(tenant) if index.crosses(tenant) => {
            let is_plain =
                !index.exclusion && !index.partial && !index.columns.iter().any(String::is_empty);
            let advice = if index.exclusion {
                format!(
                    "({over}) exclude each other over all organizations: `{tenant} WITH =` in front keeps them apart"
                )
            } else {
                format!("({over}) is unique over all organizations")
            };
            if is_plain {
                let columns: Vec<&str> = std::iter::once(tenant)
                    .chain(index.columns.iter().map(String::as_str))
                    .collect();
                remedy.push(add(&columns));
            }
            table.find(&rules::PG_UNIQUE_NOT_PER_ORGANIZATION, object, advice, remedy);
        }
        _ if index.exclusion || !wanted.iter().any(|columns| same_set(&index.columns, columns)) => {
            let advice = format!("({over}) is unique and no declaration says so");
            table.find(&rules::UNIQUE_UNDECLARED, object, advice, remedy);
        }
        _ => {}
    }
}

/// What a partition, or an heir, has of its own.
pub(super) fn examine_part(table: &mut Table<'_, '_>) {
    let (definition, part) = (table.definition, table.relation);
    let catalog = table.doctor.catalog;
    let key: Vec<u16> = definition.key_positions().collect();
    let wanted: Vec<Vec<&str>> = definition
        .uniques()
        .iter()
        .copied()
        .chain([key.as_slice()])
        .map(|columns| with_tenant(definition, columns))
        .collect();
    let add = |columns: &[&str]| {
        let columns: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
        format!("CREATE UNIQUE INDEX ON {} ({})", part.sql(), columns.join(", "))
    };
    for index in part.indexes.iter().filter(|index| !index.inherited) {
        collisions(table, index, &wanted, &add);
    }
    for found in &part.references {
        if declared_at(catalog, definition, found).is_none() {
            undeclared_reference(table, found);
        }
    }
}

fn plain_indexes(table: &mut Table<'_, '_>) {
    let (definition, relation) = (table.definition, table.relation);
    let names = table.doctor.schema.names();
    let exists = |wanted: &[&str]| {
        relation.indexes.iter().any(|index| {
            index.valid
                && !index.partial
                && index.columns.len() >= wanted.len()
                && index.columns.iter().zip(wanted).all(|(found, wanted)| found == wanted)
        })
    };
    for columns in indexes(definition) {
        let wanted = with_tenant(definition, columns);
        if !exists(&wanted) {
            let advice = format!("no index begins with ({})", wanted.join(", "));
            let remedy = vec![create_index(definition, columns, &names)];
            table.find(&rules::INDEX_ABSENT, table.name(), advice, remedy);
        }
    }
    let lookups: Vec<Vec<&str>> =
        definition.lookups().iter().map(|columns| column_names(definition, columns)).collect();
    for (columns, wanted) in definition.lookups().iter().zip(&lookups) {
        if !exists(wanted) {
            let advice =
                format!("no index over all organizations begins with ({})", wanted.join(", "));
            let remedy = vec![create_lookup(definition, columns, &names)];
            table.find(&rules::INDEX_ABSENT, table.name(), advice, remedy);
        }
    }
    let Some(tenant) = definition.tenant_column() else { return };
    for index in &relation.indexes {
        if index.crosses(tenant) {
            continue;
        }
        let is_declared = lookups.iter().any(|wanted| index.columns == *wanted);
        if !index.unique && !is_declared && !begins_with(index, tenant) && index.leaky.is_empty() {
            let object = table.under(&index.name);
            let advice = "make it anew with the tenant column in front";
            let remedy = drop_index(table, index);
            table.find(&rules::PG_INDEX_NOT_PER_ORGANIZATION, object, advice, remedy);
        }
        if !index.leaky.is_empty() {
            let advice = format!(
                "not leakproof: {}; the chapter on PostgreSQL says what to do about it",
                index.leaky.iter().take(3).cloned().collect::<Vec<_>>().join(", ")
            );
            let remedy = if index.unique { Vec::new() } else { drop_index(table, index) };
            table.find(&rules::PG_INDEX_NOT_LEAKPROOF, table.under(&index.name), advice, remedy);
        }
    }
}

/// Drops the foreign key of a declared reference and builds it as declared.
fn renew_reference(definition: &'static TableDefinition, at: usize, names: &Names) -> [String; 2] {
    [
        format!(
            "ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}",
            quoted(definition.name()),
            quoted(&names.reference(definition, at))
        ),
        add_reference(definition, at, names),
    ]
}

/// What every remedy that builds a foreign key needs.
const SEES_ALL: &str = "run the remedy as a superuser: the owner does not see the rows that forced row-level security hides, and would find every foreign key fulfilled";

fn references(table: &mut Table<'_, '_>) {
    let (definition, relation) = (table.definition, table.relation);
    let (catalog, names) = (table.doctor.catalog, table.doctor.schema.names());
    let mut met = vec![false; definition.references().len()];
    for found in &relation.references {
        match declared_at(catalog, definition, found) {
            Some(at) => {
                if let Some(met) = met.get_mut(at) {
                    *met = true;
                }
                declared_reference(table, at, found);
            }
            None => undeclared_reference(table, found),
        }
    }
    for (at, _) in met.iter().enumerate().filter(|(_, met)| !**met) {
        let object = table.under(&names.reference(definition, at));
        let finding = Finding::new(&rules::REFERENCE_ABSENT, object)
            .with_advice(
                "the foreign key does not exist: correct the rows that refer to nothing first",
            )
            .with_caution(SEES_ALL)
            .with_remedy(renew_reference(definition, at, &names).into());
        table.doctor.findings.push(finding);
    }
}

/// The declared reference that a foreign key is: the same pairs of columns, in any order.
fn declared_at(
    catalog: &Catalog,
    definition: &'static TableDefinition,
    found: &ForeignKey,
) -> Option<usize> {
    let target = catalog.target(found).filter(|target| target.visible)?;
    definition.references().iter().position(|reference| {
        let declared = reference.target();
        let ours = reference.columns().iter().filter_map(|at| definition.column(*at));
        let theirs = declared.key_positions().filter_map(|at| declared.column(at));
        let columns = ours.map(ColumnDefinition::name).zip(theirs.map(ColumnDefinition::name));
        let tenants = definition.tenant_column().zip(declared.tenant_column());
        let wanted: Vec<(&str, &str)> = tenants.into_iter().chain(columns).collect();
        let has = |(ours, theirs): &(&str, &str)| {
            found.ours.iter().zip(&found.theirs).any(|(a, b)| a == ours && b == theirs)
        };
        target.name == declared.name() && found.ours.len() == wanted.len() && wanted.iter().all(has)
    })
}

fn overwrites_tenant(table: &Table<'_, '_>, found: &ForeignKey) -> bool {
    let tenant = table.definition.tenant_column();
    matches!(found.on_delete.as_str(), "n" | "d")
        && found.overwrites.iter().any(|column| tenant == Some(column))
        || matches!(found.on_update.as_str(), "n" | "d")
            && found.ours.iter().any(|column| tenant == Some(column))
}

fn declared_reference(table: &mut Table<'_, '_>, at: usize, found: &ForeignKey) {
    let definition = table.definition;
    let Some(reference) = definition.references().get(at) else { return };
    let object = table.under(&found.name);
    let mut remedy = vec![drop_constraint(table.relation, &found.name)];
    remedy.extend(renew_reference(definition, at, &table.doctor.schema.names()));
    let acts = match reference.on_delete() {
        OnDelete::Cascade => found.on_delete == "c",
        OnDelete::Restrict => matches!(found.on_delete.as_str(), "a" | "r"),
    } && matches!(found.on_update.as_str(), "a" | "r");
    let mut find = |rule, advice: &str| {
        let finding = Finding::new(rule, object.as_str())
            .with_advice(advice)
            .with_caution(SEES_ALL)
            .with_remedy(remedy.clone());
        table.doctor.findings.push(finding);
    };
    if matches!(found.on_delete.as_str(), "n" | "d")
        && found.overwrites.iter().any(|column| definition.tenant_column() == Some(column))
    {
        find(&rules::PG_REFERENCE_NULLS_TENANT, "the action overwrites the tenant column");
    } else if !acts {
        find(
            &rules::PG_REFERENCE_ACTION,
            "the foreign key has another action than the declaration",
        );
    }
    if found.deferred {
        find(&rules::PG_REFERENCE_DEFERRED, "the foreign key is INITIALLY DEFERRED");
    }
    if !found.enforced {
        let advice =
            "the foreign key is NOT ENFORCED: correct the rows that refer to nothing first";
        find(&rules::PG_REFERENCE_UNENFORCED, advice);
    } else if !found.validated {
        find(&rules::PG_REFERENCE_UNVALIDATED, "the foreign key is NOT VALID");
    }
    if found.disabled {
        let advice = "a trigger that enforces the foreign key is disabled: correct the rows that refer to nothing first";
        find(&rules::PG_REFERENCE_UNENFORCED, advice);
    }
}

fn undeclared_reference(table: &mut Table<'_, '_>, found: &ForeignKey) {
    let definition = table.definition;
    let target = table.doctor.catalog.target(found);
    let target_tenant = target.and_then(|target| table.doctor.tenant_of(target));
    let pairs_tenants = found.ours.iter().zip(&found.theirs).any(|(ours, theirs)| {
        definition.tenant_column() == Some(ours) && target_tenant == Some(theirs)
    });
    let object = table.under(&found.name);
    let drop = drop_constraint(table.relation, &found.name);
    if overwrites_tenant(table, found) {
        let advice = "the action overwrites the tenant column";
        table.find(&rules::PG_REFERENCE_NULLS_TENANT, object, advice, vec![drop]);
    } else if target_tenant.is_some() && !pairs_tenants {
        let mut remedy = vec![drop];
        // The remedy of a part leaves the reference of its table as it is.
        let is_part = table.doctor.declared(table.relation).is_none();
        let at = definition.references().iter().position(|reference| {
            !is_part && target.is_some_and(|target| target.name == reference.target().name())
        });
        let names = table.doctor.schema.names();
        remedy.extend(at.into_iter().flat_map(|at| renew_reference(definition, at, &names)));
        let finding = Finding::new(&rules::PG_REFERENCE_NOT_PER_ORGANIZATION, object)
            .with_advice("the foreign key does not carry the organization")
            .with_caution(SEES_ALL)
            .with_remedy(remedy);
        table.doctor.findings.push(finding);
    } else {
        let advice = "declare the reference, or drop the foreign key";
        table.find(&rules::REFERENCE_UNDECLARED, object, advice, vec![drop]);
    }
}
