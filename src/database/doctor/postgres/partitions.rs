//! Whether a table is divided as its declaration says.

use super::catalog::{Relation, quoted};
use super::{Table, rules};
use crate::table::postgres::{force_row_security, revoke_all};

pub(super) fn examine(table: &mut Table<'_, '_>) {
    let (definition, relation) = (table.definition, table.relation);
    let count = definition.partitions();
    let Some(tenant) = definition.tenant_column() else { return };
    let divided = relation.partitioned.as_deref().map(|key| key.replace('"', ""));
    let declared = (count > 0).then(|| format!("HASH ({tenant})"));
    if divided != declared {
        let advice = format!(
            "the table is {}, declared is {}: change the declaration, or move the rows into a table that is built as declared",
            describe(divided.as_deref()),
            describe(declared.as_deref()),
        );
        return table.find(&rules::PG_PARTITIONING, table.name(), advice, Vec::new());
    }
    let catalog = table.doctor.catalog;
    let bounds: Vec<&str> =
        catalog.children(relation).filter_map(|child| child.bound.as_deref()).collect();
    let (missing, met): (Vec<u16>, Vec<u16>) =
        (0..count).partition(|remainder| !bounds.contains(&bound(count, *remainder).as_str()));
    if bounds.len() > met.len() {
        let advice = format!(
            "the table has {} partitions, declared are {count} of equal size: change the declaration, or move the rows into a table that is built as declared",
            bounds.len()
        );
        return table.find(&rules::PG_PARTITIONING, table.name(), advice, Vec::new());
    }
    for remainder in missing {
        let name = table.doctor.schema.names().partition(definition, remainder);
        // One that was taken out keeps its rows.
        let detached = catalog.relation(&name).filter(|relation| relation.kind == "r");
        let remedy = restore(table, &name, &bound(count, remainder), detached);
        let advice = "a partition is missing";
        table.find(&rules::PG_PARTITIONING, table.under(&name), advice, remedy);
    }
}

fn restore(
    table: &Table<'_, '_>,
    name: &str,
    bound: &str,
    detached: Option<&Relation>,
) -> Vec<String> {
    let (parent, child) = (quoted(table.name()), quoted(name));
    let made = match detached {
        Some(_) => format!("ALTER TABLE {parent} ATTACH PARTITION {child} {bound}"),
        None => format!("CREATE TABLE {child} PARTITION OF {parent} {bound}"),
    };
    vec![made, force_row_security(name), revoke_all(name, table.doctor.schema.roles())]
}

/// As the server writes it.
fn bound(count: u16, remainder: u16) -> String {
    format!("FOR VALUES WITH (modulus {count}, remainder {remainder})")
}

fn describe(key: Option<&str>) -> String {
    key.map_or_else(|| "not partitioned".to_owned(), |key| format!("partitioned by {key}"))
}
