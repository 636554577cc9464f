//! What stands beside the declared tables: views, functions, partitions, rules, other tables.

use super::catalog::{Relation, quoted};
use super::{Doctor, rules};
use crate::database::doctor::report::{Finding, Severity};
use crate::table::postgres::{force_row_security, revoke_all};

pub(super) fn examine(doctor: &mut Doctor<'_>) {
    let catalog = doctor.catalog;
    for relation in &catalog.relations {
        match relation.kind.as_str() {
            "v" | "m" => view(doctor, relation),
            "f" => foreign_table(doctor, relation),
            _ if catalog.parent(relation).is_some_and(|parent| doctor.is_tenant(parent)) => {
                partition(doctor, relation);
            }
            _ if doctor.declared(relation).is_none() => {
                shadowed(doctor, relation);
                outside_references(doctor, relation);
                undeclared(doctor, relation);
            }
            _ => {}
        }
        if doctor.is_tenant(relation) {
            for rule in &relation.rules {
                doctor.find(
                    &rules::PG_RULE,
                    format!("{}/{rule}", relation.object()),
                    "do its work in the application and drop it",
                    vec![format!("DROP RULE {} ON {}", quoted(rule), relation.sql())],
                );
            }
        }
    }
    if !doctor.is_bound() {
        return;
    }
    for (function, owner) in &catalog.definer_functions {
        doctor.find(
            &rules::PG_DEFINER_FUNCTION,
            function.as_str(),
            format!("it runs as `{owner}`: let it run as its caller, or read it and accept it"),
            vec![format!("ALTER FUNCTION {function} SECURITY INVOKER")],
        );
    }
}

fn reachable(doctor: &Doctor<'_>, relation: &Relation) -> bool {
    doctor.is_bound() && !relation.privileges.is_empty()
}

fn revoke(doctor: &Doctor<'_>, relation: &Relation) -> String {
    format!("REVOKE ALL ON {} FROM PUBLIC, {}", relation.sql(), quoted(&doctor.catalog.server.role))
}

fn view(doctor: &mut Doctor<'_>, view: &Relation) {
    let shows = doctor.catalog.read_by(view).into_iter().any(|read| doctor.is_tenant(read));
    if !shows || !reachable(doctor, view) {
        return;
    }
    if view.kind == "m" {
        let advice = "take the role's privileges on it, or drop it";
        let remedy = vec![revoke(doctor, view)];
        doctor.find(&rules::PG_MATERIALIZED_VIEW, view.object(), advice, remedy);
    } else if !view.invoker {
        let advice = format!("it runs as `{}`", view.owner);
        let remedy = vec![format!("ALTER VIEW {} SET (security_invoker = true)", view.sql())];
        doctor.find(&rules::PG_VIEW, view.object(), advice, remedy);
    }
}

fn foreign_table(doctor: &mut Doctor<'_>, relation: &Relation) {
    if reachable(doctor, relation) {
        let advice = "take the role's privileges on it, or read it and accept it";
        let remedy = vec![revoke(doctor, relation)];
        doctor.find(&rules::PG_FOREIGN_TABLE, relation.object(), advice, remedy);
    }
}

fn partition(doctor: &mut Doctor<'_>, relation: &Relation) {
    let roles = doctor.schema.roles();
    if reachable(doctor, relation) {
        let advice = "the role may name the partition itself";
        let remedy = vec![revoke_all(&relation.name, roles)];
        doctor.find(&rules::PG_PARTITION_REACHABLE, relation.object(), advice, remedy);
    }
    if !relation.row_security || !relation.forced {
        let advice = "row-level security of the partition itself is off or not forced";
        let remedy = vec![force_row_security(&relation.name)];
        doctor.find(&rules::PG_PARTITION_UNWALLED, relation.object(), advice, remedy);
    }
}

/// Another relation of a declared name, that the bare name does not reach.
fn shadowed(doctor: &mut Doctor<'_>, relation: &Relation) {
    let reached = doctor.catalog.relation(&relation.name);
    let declared =
        reached.filter(|reached| !reached.is(relation) && doctor.declared(reached).is_some());
    if let Some(reached) = declared
        && relation.kind != "v"
    {
        let advice = format!(
            "`{}` is reached, and `{}` exists too: give the role a `search_path` of one schema",
            reached.sql(),
            relation.sql()
        );
        let remedy = vec![format!("DROP TABLE {}", reached.sql())];
        // Which of them is the right one, only the operator knows.
        let remedy = if reached.namespace.starts_with("pg_temp") { remedy } else { Vec::new() };
        doctor.find(&rules::PG_SHADOWED, reached.object(), advice, remedy);
    }
}

/// Foreign keys from an undeclared table into a tenant-owned one.
fn outside_references(doctor: &mut Doctor<'_>, relation: &Relation) {
    for found in &relation.references {
        let Some(target) = doctor.catalog.target(found).filter(|target| doctor.is_tenant(target))
        else {
            continue;
        };
        let carries = found
            .ours
            .iter()
            .zip(&found.theirs)
            .any(|(ours, theirs)| doctor.names_a_tenant(theirs) && ours == theirs);
        let severity = if carries { Severity::Warning } else { Severity::Fatal };
        let drop =
            format!("ALTER TABLE {} DROP CONSTRAINT {}", relation.sql(), quoted(&found.name));
        let finding = Finding::new(
            &rules::PG_OUTSIDE_REFERENCE,
            format!("{}/{}", relation.object(), found.name),
        )
        .with_severity(severity)
        .with_advice(format!(
            "declare the table that refers to `{}`, or drop the foreign key",
            target.object()
        ))
        .with_remedy(vec![drop]);
        doctor.findings.push(finding);
    }
}

fn undeclared(doctor: &mut Doctor<'_>, relation: &Relation) {
    let is_part = doctor.catalog.parent(relation).is_some();
    if is_part || !reachable(doctor, relation) {
        return;
    }
    let carries = relation.columns.iter().any(|column| doctor.names_a_tenant(&column.name));
    let advice = if carries {
        "declare it with `tenant_table!`, or take the role's privileges on it"
    } else {
        "declare it, take the role's privileges on it, or accept it"
    };
    let remedy = vec![revoke(doctor, relation)];
    doctor.find(&rules::PG_UNDECLARED_TABLE, relation.object(), advice, remedy);
}
