//! Foreign keys of a declared table.

use super::catalog::{ForeignKey, Table};
use super::report::{Finding, Severity};
use super::rules;
use super::sqlite::{Cure, Examined};
use crate::table::{ColumnDefinition, OnDelete, ReferenceDefinition, TableDefinition};

pub(super) fn examine(examined: &mut Examined<'_>) {
    let (definition, table) = (examined.definition, examined.table);
    for reference in &table.references {
        found(examined, reference);
    }
    for declared in definition.references() {
        let wanted = pairs(definition, declared);
        let is_met = table.references.iter().any(|reference| is(reference, declared, &wanted));
        // A reference to the same table that leaves out the organization is reported as such.
        let is_found = table.references.iter().any(|reference| {
            reference.target.eq_ignore_ascii_case(declared.target().name())
                && !is_per_organization(examined, reference)
                && reference.pairs.iter().all(|(ours, _)| {
                    wanted.iter().any(|(wanted, _)| wanted.eq_ignore_ascii_case(ours))
                })
        });
        if !is_met && !is_found {
            let ours: Vec<&str> = wanted.iter().map(|(ours, _)| *ours).collect();
            let advice = format!(
                "no foreign key holds the declared reference to `{}`; rows that refer to nothing have to be mended first",
                declared.target().name()
            );
            examined.find(
                &rules::REFERENCE_ABSENT,
                examined.under(&ours.join(",")),
                advice,
                Cure::Rebuild,
            );
        }
    }
}

/// The columns of a declared reference, ours and theirs.
pub(super) fn pairs(
    definition: &'static TableDefinition,
    reference: &ReferenceDefinition,
) -> Vec<(&'static str, &'static str)> {
    let target = reference.target();
    let ours = reference.columns().iter().filter_map(|at| definition.column(*at));
    let theirs = target.key_positions().filter_map(|at| target.column(at));
    let columns = ours.map(ColumnDefinition::name).zip(theirs.map(ColumnDefinition::name));
    definition.tenant_column().zip(target.tenant_column()).into_iter().chain(columns).collect()
}

fn is(reference: &ForeignKey, declared: &ReferenceDefinition, wanted: &[(&str, &str)]) -> bool {
    reference.target.eq_ignore_ascii_case(declared.target().name())
        && reference.pairs.len() == wanted.len()
        && wanted.iter().all(|(ours, theirs)| has_pair(reference, ours, theirs))
}

/// The foreign keys that a rebuild leaves out, because no declared reference takes their place.
pub(super) fn left_out(definition: &'static TableDefinition, table: &Table) -> Vec<String> {
    table
        .references
        .iter()
        .filter(|reference| {
            !definition.references().iter().any(|declared| {
                reference.target.eq_ignore_ascii_case(declared.target().name())
                    && pairs(definition, declared).iter().any(|(ours, _)| {
                        reference
                            .pairs
                            .last()
                            .is_some_and(|(last, _)| last.eq_ignore_ascii_case(ours))
                    })
            })
        })
        .map(|reference| {
            let ours: Vec<&str> = reference.pairs.iter().map(|(ours, _)| ours.as_str()).collect();
            format!("({}) to `{}`", ours.join(", "), reference.target)
        })
        .collect()
}

fn has_pair(reference: &ForeignKey, ours: &str, theirs: &str) -> bool {
    reference
        .pairs
        .iter()
        .any(|(a, b)| a.eq_ignore_ascii_case(ours) && b.eq_ignore_ascii_case(theirs))
}

/// Whether the reference stays inside the organization, or leads to a table without one.
fn is_per_organization(examined: &Examined<'_>, reference: &ForeignKey) -> bool {
    let Some(target) =
        declared_target(examined, reference).and_then(TableDefinition::tenant_column)
    else {
        return true;
    };
    examined.definition.tenant_column().is_some_and(|tenant| has_pair(reference, tenant, target))
}

fn declared_target(
    examined: &Examined<'_>,
    reference: &ForeignKey,
) -> Option<&'static TableDefinition> {
    examined.schema.tables().find(|table| table.name().eq_ignore_ascii_case(&reference.target))
}

/// `table/foreign key`: by its columns, for SQLite gives foreign keys no lasting names.
fn object(examined: &Examined<'_>, reference: &ForeignKey) -> String {
    let ours: Vec<&str> = reference.pairs.iter().map(|(ours, _)| ours.as_str()).collect();
    examined.under(&ours.join(","))
}

fn found(examined: &mut Examined<'_>, reference: &ForeignKey) {
    let (definition, target) = (examined.definition, &reference.target);
    let object = object(examined, reference);
    let declared_target = declared_target(examined, reference);
    if !is_per_organization(examined, reference) {
        let (rule, advice) = match definition.tenant_column() {
            Some(tenant) => (
                &rules::REFERENCE_NOT_PER_ORGANIZATION,
                format!(
                    "the foreign key to `{target}` does not pair `{tenant}` with the tenant column there"
                ),
            ),
            None => (
                &rules::OUTSIDE_REFERENCE,
                format!("a global table refers to the tenant-owned table `{target}`"),
            ),
        };
        examined.find(rule, object, advice, Cure::Rebuild);
        return;
    }
    let overwrites = |action: &str| matches!(action, "SET NULL" | "SET DEFAULT");
    let holds_tenant = definition.tenant_column().is_some_and(|tenant| {
        reference.pairs.iter().any(|(ours, _)| ours.eq_ignore_ascii_case(tenant))
    });
    if holds_tenant && (overwrites(&reference.on_delete) || overwrites(&reference.on_update)) {
        let advice = format!(
            "the foreign key to `{target}` says ON DELETE {} ON UPDATE {}",
            reference.on_delete, reference.on_update
        );
        examined.find(&rules::REFERENCE_NULLS_TENANT, object, advice, Cure::Rebuild);
        return;
    }
    let declared = definition
        .references()
        .iter()
        .find(|declared| is(reference, declared, &pairs(definition, declared)));
    actions(examined, reference, declared, &object);
    match declared {
        None => {
            let advice = format!(
                "the foreign key to `{target}` is not declared: declare it, or accept it; a rebuild of the table leaves it out"
            );
            examined.find(&rules::REFERENCE_UNDECLARED, object, advice, Cure::Advice);
        }
        Some(_) => {
            let theirs: Vec<&str> =
                reference.pairs.iter().map(|(_, theirs)| theirs.as_str()).collect();
            let has_key =
                examined.catalog.table(target).is_none_or(|target| target.has_unique(&theirs));
            if declared_target.is_some() && !has_key {
                let advice = format!("mend the key of `{target}`");
                examined.find(&rules::REFERENCE_MISMATCH, object, advice, Cure::Advice);
            }
        }
    }
}

fn actions(
    examined: &mut Examined<'_>,
    reference: &ForeignKey,
    declared: Option<&ReferenceDefinition>,
    object: &str,
) {
    let keeps = |action: &str| matches!(action, "NO ACTION" | "RESTRICT");
    let target = &reference.target;
    let is_shared = examined
        .schema
        .tables()
        .any(|table| table.name().eq_ignore_ascii_case(target) && table.tenant_column().is_none());
    if is_shared && examined.definition.tenant_column().is_some() && !keeps(&reference.on_delete) {
        let advice = format!(
            "deleting from the global table `{target}` runs {} over the rows of every organization",
            reference.on_delete
        );
        let finding = Finding::new(&rules::REFERENCE_ACTION, object)
            .with_severity(Severity::Fatal)
            .with_advice(advice);
        examined.draft(finding, Cure::Rebuild);
        return;
    }
    let Some(declared) = declared else { return };
    let delete = match declared.on_delete() {
        OnDelete::Cascade => reference.on_delete == "CASCADE",
        OnDelete::Restrict => keeps(&reference.on_delete),
    };
    if !delete || !keeps(&reference.on_update) {
        let advice = format!(
            "the foreign key to `{target}` says ON DELETE {} ON UPDATE {}, declared is `on delete {}`",
            reference.on_delete,
            reference.on_update,
            match declared.on_delete() {
                OnDelete::Cascade => "cascade",
                OnDelete::Restrict => "restrict",
            }
        );
        examined.find(&rules::REFERENCE_ACTION, object, advice, Cure::Rebuild);
    }
}
