//! What stands beside the declared tables: views, functions, partitions, rules, other tables.

use super::catalog::{Relation, quoted};
use super::{Doctor, rules};
use crate::database::doctor::report::{Finding, Severity};

pub(super) fn examine(doctor: &mut Doctor<'_>) {
    let catalog = doctor.catalog;
    for relation in &catalog.relations {
        match relation.kind.as_str() {
            "v" | "m" => view(doctor, relation),
            "f" => foreign_table(doctor, relation),
            _ if doctor.declared(relation).is_some() => {}
            _ if doctor.is_tenant(relation) => partition(doctor, relation),
            _ => {
                shadowed(doctor, relation);
                outside_references(doctor, relation);
                undeclared(doctor, relation);
            }
        }
        if doctor.is_tenant(relation) {
            ancestors(doctor, relation);
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
            vec![format!("ALTER ROUTINE {function} SECURITY INVOKER")],
        );
    }
}

fn reachable(doctor: &Doctor<'_>, relation: &Relation) -> bool {
    doctor.is_bound() && !relation.access.privileges.is_empty()
}

fn view(doctor: &mut Doctor<'_>, view: &Relation) {
    if !reachable(doctor, view) || view.invoker {
        return;
    }
    let read = doctor.catalog.read_by(view);
    // What its owner sees and the role does not.
    let is_hidden =
        |table: &&Relation| table.kind != "v" && (!table.may("SELECT") || table.row_security);
    let names_a_tenant =
        |table: &Relation| table.columns.iter().any(|column| doctor.names_a_tenant(&column.name));
    let hidden: Vec<&Relation> = read.iter().copied().filter(is_hidden).collect();
    let severity = if read.iter().any(|table| doctor.shows_tenants(table))
        || hidden.iter().any(|table| names_a_tenant(table))
    {
        Severity::Fatal
    } else if hidden.is_empty() {
        return;
    } else {
        Severity::Warning
    };
    let (rule, advice, remedy) = if view.kind == "m" {
        let advice = "take the role's privileges on it, or drop it".to_owned();
        (&rules::PG_MATERIALIZED_VIEW, advice, doctor.revoke_ours(view))
    } else {
        let remedy = format!("ALTER VIEW {} SET (security_invoker = true)", view.sql());
        (&rules::PG_VIEW, format!("it runs as `{}`", view.owner), remedy)
    };
    let finding = Finding::new(rule, view.object()).with_severity(severity);
    doctor.findings.push(finding.with_advice(advice).with_remedy(vec![remedy]));
}

/// Tables of which a table of organizations is a part, and which are none themselves.
fn ancestors(doctor: &mut Doctor<'_>, relation: &Relation) {
    for parent in doctor.catalog.parents(relation) {
        if doctor.is_tenant(parent) {
            continue;
        }
        let (child, parent_sql) = (relation.sql(), parent.sql());
        let remedy = match parent.kind.as_str() {
            "p" => format!("ALTER TABLE {parent_sql} DETACH PARTITION {child}"),
            _ => format!("ALTER TABLE {child} NO INHERIT {parent_sql}"),
        };
        let advice = format!("it is a part of `{}`, which is not declared", parent.object());
        let object = format!("{}/{}", relation.object(), parent.object());
        doctor.find(&rules::PG_ANCESTOR, object, advice, vec![remedy]);
    }
}

fn foreign_table(doctor: &mut Doctor<'_>, relation: &Relation) {
    if reachable(doctor, relation) {
        let advice = "take the role's privileges on it, or read it and accept it";
        let remedy = vec![doctor.revoke_ours(relation)];
        doctor.find(&rules::PG_FOREIGN_TABLE, relation.object(), advice, remedy);
    }
}

fn partition(doctor: &mut Doctor<'_>, relation: &Relation) {
    if doctor.is_bound() && relation.access.owned {
        let owner = quoted(doctor.schema.roles().owner_name());
        let remedy = vec![format!("ALTER TABLE {} OWNER TO {owner}", relation.sql())];
        let advice = format!("the partition belongs to `{}`", relation.owner);
        doctor.find_for_superuser(&rules::PG_ROLE_OWNS, relation.object(), advice, remedy);
    } else if reachable(doctor, relation) {
        let advice = "the role may name the partition itself";
        let remedy = vec![doctor.revoke_all(relation)];
        doctor.find(&rules::PG_PARTITION_REACHABLE, relation.object(), advice, remedy);
    }
    if !relation.row_security || !relation.forced {
        let advice = "row-level security of the partition itself is off or not forced";
        let remedy = vec![format!(
            "ALTER TABLE {} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
            relation.sql()
        )];
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
    if !reachable(doctor, relation) {
        return;
    }
    let carries = relation.columns.iter().any(|column| doctor.names_a_tenant(&column.name));
    let advice = if carries {
        "declare it with `tenant_table!`, or take the role's privileges on it"
    } else {
        "declare it, take the role's privileges on it, or accept it"
    };
    let remedy = vec![doctor.revoke_ours(relation)];
    doctor.find(&rules::PG_UNDECLARED_TABLE, relation.object(), advice, remedy);
}
