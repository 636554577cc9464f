//! Unique sets and indexes of a declared table.

use super::catalog::{Index, Origin, same_set};
use super::columns::{foreign_collation, tenant_collation_severity};
use super::remedies::{per_organization, quoted};
use super::report::{Finding, Severity};
use super::rules;
use super::sqlite::{Cure, Examined};
use super::statement;
use crate::table::{ColumnDefinition, TableDefinition, storage_class, table_statements};

pub(super) fn examine(examined: &mut Examined<'_>) {
    let table = examined.table;
    for index in &table.indexes {
        if index.origin != Origin::Key {
            organization(examined, index);
        }
        collations(examined, index);
    }
    declared_uniques(examined);
    declared_indexes(examined);
}

/// The columns of a declared unique set, with the tenant column.
pub(super) fn unique_columns(
    definition: &'static TableDefinition,
    columns: &[u16],
) -> Vec<&'static str> {
    definition
        .tenant_column()
        .into_iter()
        .chain(columns.iter().filter_map(|at| definition.column(*at)).map(ColumnDefinition::name))
        .collect()
}

fn is_declared_unique(definition: &'static TableDefinition, names: &[&str]) -> bool {
    let key: Vec<u16> = definition.key_positions().collect();
    std::iter::once(key.as_slice())
        .chain(definition.uniques().iter().copied())
        .any(|columns| same_set(&unique_columns(definition, columns), names))
}

/// Whether an index, unique or not, begins with the organization.
fn organization(examined: &mut Examined<'_>, index: &Index) {
    let definition = examined.definition;
    let object = examined.under(&index.name);
    let named: Vec<&str> =
        index.columns.iter().filter_map(|column| column.name.as_deref()).collect();
    if let Some(tenant) = definition.tenant_column() {
        let begins = index
            .columns
            .first()
            .and_then(|column| column.name.as_deref())
            .is_some_and(|first| first.eq_ignore_ascii_case(tenant));
        let contains = named.iter().any(|name| name.eq_ignore_ascii_case(tenant));
        if index.unique && !contains {
            let advice =
                format!("the unique set ({}) holds over all organizations", describe(index));
            examined.find(
                &rules::UNIQUE_NOT_PER_ORGANIZATION,
                object,
                advice,
                replace(examined, index),
            );
            return;
        }
        let is_lookup = definition.lookups().iter().any(|columns| {
            let declared = columns.iter().filter_map(|at| definition.column(*at));
            declared.map(ColumnDefinition::name).eq(named.iter().copied())
        });
        if !begins && (index.unique || !is_lookup) {
            let advice =
                format!("the index ({}) does not begin with the tenant column", describe(index));
            examined.find(
                &rules::INDEX_NOT_PER_ORGANIZATION,
                object,
                advice,
                replace(examined, index),
            );
            return;
        }
    }
    let is_known =
        !index.partial && index.names().is_some_and(|names| is_declared_unique(definition, &names));
    if index.unique && !is_known {
        // No remedy drops it: the application may rely on it.
        let advice = format!(
            "declare `unique` over ({}) without the tenant column, or drop or accept the index",
            describe(index)
        );
        examined.find(&rules::UNIQUE_UNDECLARED, object, advice, Cure::Advice);
    }
}

/// The same index inside each organization, where that can be said without its expressions.
fn replace(examined: &Examined<'_>, index: &Index) -> Cure {
    if index.origin != Origin::Statement {
        return Cure::Rebuild;
    }
    let mut statements = vec![drop_index(index)];
    let (definition, table) = (examined.definition, examined.table);
    let present = definition.tenant_column().is_some_and(|tenant| table.column(tenant).is_some());
    statements.extend(per_organization(definition, index).filter(|_| present));
    Cure::Statements(statements)
}

fn drop_index(index: &Index) -> String {
    format!("DROP INDEX IF EXISTS {}", quoted(&index.name))
}

fn describe(index: &Index) -> String {
    let columns: Vec<&str> = index
        .columns
        .iter()
        .map(|column| column.name.as_deref().unwrap_or("an expression"))
        .collect();
    let partial = if index.partial { " where a condition holds" } else { "" };
    format!("{}{partial}", columns.join(", "))
}

/// Collations that the index names and the column does not.
fn collations(examined: &mut Examined<'_>, index: &Index) {
    let (definition, table) = (examined.definition, examined.table);
    for column in &index.columns {
        let Some(name) = &column.name else { continue };
        let Some(collation) = foreign_collation(Some(&column.collation)) else { continue };
        let of_column = table
            .text
            .as_ref()
            .and_then(|text| text.column(name))
            .and_then(|column| foreign_collation(column.collation()));
        if of_column.is_some_and(|of_column| of_column.eq_ignore_ascii_case(collation)) {
            continue;
        }
        let advice = format!("the index compares `{name}` by the collation {collation}");
        let is_tenant =
            definition.tenant_column().is_some_and(|tenant| tenant.eq_ignore_ascii_case(name));
        let is_text = definition.columns().iter().any(|known| {
            known.name().eq_ignore_ascii_case(name) && storage_class(known.kind()) == "TEXT"
        });
        let object = examined.under(&index.name);
        let cure = match index.origin {
            Origin::Statement => {
                let statements = std::iter::once(drop_index(index))
                    .chain(per_organization(definition, index))
                    .collect();
                Cure::Statements(statements)
            }
            Origin::Constraint | Origin::Key => Cure::Rebuild,
        };
        if is_tenant {
            let unique = if index.unique { Severity::Fatal } else { Severity::Warning };
            let severity =
                unique.max(tenant_collation_severity(examined.schema.organization_kind()));
            let finding = Finding::new(&rules::TENANT_COLLATION, object)
                .with_severity(severity)
                .with_advice(advice);
            examined.draft(finding, cure);
        } else if is_text {
            examined.find(&rules::COLUMN_COLLATION, object, advice, cure);
        }
    }
}

fn declared_uniques(examined: &mut Examined<'_>) {
    let (definition, table) = (examined.definition, examined.table);
    for columns in definition.uniques() {
        let names = unique_columns(definition, columns);
        if table.has_unique(&names) {
            continue;
        }
        let list = names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
        let index = format!("{}_key", [&[definition.name()], names.as_slice()].concat().join("_"));
        let statement = format!(
            "CREATE UNIQUE INDEX {} ON {} ({list})",
            quoted(&index),
            quoted(definition.name())
        );
        examined.find(
            &rules::UNIQUE_ABSENT,
            examined.under(&names.join(",")),
            "no unique set holds the declared columns; rows that are doubled have to be told apart first",
            Cure::Statements(vec![statement]),
        );
    }
}

fn declared_indexes(examined: &mut Examined<'_>) {
    let (definition, table) = (examined.definition, examined.table);
    let statements =
        table_statements(definition, examined.schema.organization_kind(), &examined.schema.names());
    for statement in statements.into_iter().skip(1) {
        let Some(columns) = statement::index_columns(&statement) else { continue };
        if table.has_index(&columns) {
            continue;
        }
        let object = examined.under(&columns.join(","));
        // An index of the same name and of other columns would let IF NOT EXISTS pass over it.
        let mut cure = Vec::new();
        if let Some(index) = statement::index_name(&statement)
            && table.indexes.iter().any(|known| known.name.eq_ignore_ascii_case(&index))
        {
            cure.push(format!("DROP INDEX IF EXISTS {}", quoted(&index)));
        }
        cure.push(statement);
        examined.find(
            &rules::INDEX_ABSENT,
            object,
            "no index begins with the declared columns",
            Cure::Statements(cure),
        );
    }
}
