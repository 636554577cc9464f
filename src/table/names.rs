//! What the objects of the declared tables are called in a store.

use std::collections::{BTreeSet, HashMap};

use sha2::{Digest as _, Sha256};

use super::ddl::wanted_indexes;
use super::definition::{ColumnDefinition, TableDefinition};
use super::schema::Schema;

/// The names of a schema's objects, each of which belongs to one object alone.
///
/// A name is made of the table, the columns and what it is, with `_` between: `orders_email_key`.
/// The parts can hold a `_` themselves, so that the index over `b_c` of the table `a` and the one
/// over `c` of `a_b` come to the same name. A store would refuse the second, or pass over it where
/// the statement says IF NOT EXISTS; so each of the two ends in a hash of its parts instead.
#[derive(Debug)]
pub(crate) struct Names(HashMap<String, BTreeSet<String>>);

impl Names {
    pub(super) fn of(schema: &Schema) -> Self {
        let mut names = Self(HashMap::new());
        for table in schema.tables() {
            names.add(table, &[], "");
            names.add(table, &[], KEY);
            for remainder in 0..table.partitions() {
                names.add(table, &[], &partition(remainder));
            }
            for columns in table.uniques() {
                names.add(table, &column_names(table, columns), UNIQUE);
            }
            for columns in wanted_indexes(table) {
                names.add(table, &column_names(table, columns), INDEX);
            }
            for columns in table.lookups() {
                names.add(table, &column_names(table, columns), LOOKUP);
            }
            for at in 0..table.references().len() {
                names.add(table, &reference(table, at), REFERENCE);
            }
        }
        names
    }

    pub(crate) fn key(&self, table: &'static TableDefinition) -> String {
        self.name(table, &[], KEY)
    }

    /// Of a unique set, by its columns without the tenant column.
    pub(crate) fn unique(&self, table: &'static TableDefinition, columns: &[&str]) -> String {
        self.name(table, columns, UNIQUE)
    }

    pub(crate) fn index(&self, table: &'static TableDefinition, columns: &[u16]) -> String {
        self.name(table, &column_names(table, columns), INDEX)
    }

    pub(crate) fn lookup(&self, table: &'static TableDefinition, columns: &[u16]) -> String {
        self.name(table, &column_names(table, columns), LOOKUP)
    }

    /// Of the foreign key of the reference at this position.
    pub(crate) fn reference(&self, table: &'static TableDefinition, at: usize) -> String {
        self.name(table, &reference(table, at), REFERENCE)
    }

    pub(crate) fn partition(&self, table: &'static TableDefinition, remainder: u16) -> String {
        self.name(table, &[], &partition(remainder))
    }

    fn add(&mut self, table: &TableDefinition, parts: &[&str], suffix: &str) {
        let plain = folded(table, &joined(table, parts, suffix), suffix);
        self.0.entry(plain).or_default().insert(identity(table, parts, suffix));
    }

    fn name(&self, table: &TableDefinition, parts: &[&str], suffix: &str) -> String {
        let plain = joined(table, parts, suffix);
        let mine = identity(table, parts, suffix);
        let others = self.0.get(&folded(table, &plain, suffix));
        if others.is_some_and(|others| others.iter().any(|other| *other != mine)) {
            return hashed(&plain, &mine);
        }
        object_name(plain)
    }
}

const INDEX: &str = "idx";
const KEY: &str = "pkey";
const LOOKUP: &str = "lookup";
const REFERENCE: &str = "fkey";
const UNIQUE: &str = "key";

fn partition(remainder: u16) -> String {
    format!("p{remainder}")
}

fn reference(table: &'static TableDefinition, at: usize) -> Vec<&'static str> {
    let Some(reference) = table.references().get(at) else { return Vec::new() };
    let mut parts = column_names(table, reference.columns());
    parts.push(reference.target().name());
    parts
}

pub(crate) fn column_names(table: &'static TableDefinition, columns: &[u16]) -> Vec<&'static str> {
    columns.iter().filter_map(|at| table.column(*at)).map(ColumnDefinition::name).collect()
}

/// `table_column_suffix`
fn joined(table: &TableDefinition, parts: &[&str], suffix: &str) -> String {
    let mut name = table.name().to_owned();
    for part in parts.iter().chain([&suffix]).filter(|part| !part.is_empty()) {
        name.push('_');
        name.push_str(part);
    }
    name
}

/// The parts kept apart: no name holds a NUL.
fn identity(table: &TableDefinition, parts: &[&str], suffix: &str) -> String {
    [&[table.name()], parts, &[suffix]].concat().join("\0")
}

/// What a name must differ from others by. Foreign keys have names of their own in each table; all
/// else shares one space, in which SQLite does not tell upper case from lower.
fn folded(table: &TableDefinition, plain: &str, suffix: &str) -> String {
    let mut name = plain.to_ascii_lowercase();
    if suffix == REFERENCE {
        name.push('\0');
        name.push_str(table.name());
    }
    name
}

/// PostgreSQL cuts names off at 63 bytes without an error, so that two could become one: a longer
/// name ends in a hash instead.
pub(super) fn object_name(name: String) -> String {
    if name.len() <= 63 { name } else { hashed(&name, &name) }
}

fn hashed(name: &str, of: &str) -> String {
    let hash = hex::encode(Sha256::digest(of.as_bytes()));
    let mut end = name.len().min(46);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let (kept, hash) = (name.get(..end).unwrap_or(""), hash.get(..16).unwrap_or(""));
    format!("{kept}_{hash}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::table::{Dialect, Schema};

    crate::tenant_table! {
        struct Short in a { key id: i64, b_c: i64, }
        unique (b_c);
        index (b_c, id);
        lookup (b_c);
    }
    crate::tenant_table! {
        struct Long in a_b { key id: i64, c: i64, }
        unique (c);
        index (c, id);
        lookup (c);
    }
    crate::tenant_table! {
        struct Inside in n { key id: i64, x: i64, x_y: i64, y_z: i64, z: i64, }
        index (x, y_z);
        index (x_y, z);
        unique (z);
    }
    crate::tenant_table! {
        struct Parted in p { key id: i64, }
        partitions 2;
    }
    crate::tenant_table! {
        struct Taken in p_p1 { key id: i64, }
    }
    crate::tenant_table! {
        struct Shouting in shouting = "N_Z_KEY" { key id: i64, }
    }
    crate::tenant_table! {
        struct Child in child { key id: i64, q_a: i64 => a, q: i64 => a_a, }
    }
    crate::tenant_table! {
        struct Parent in a_a { key id: i64, }
    }

    /// The names of whatever a statement makes beside columns.
    fn made(statement: &str) -> Vec<String> {
        let mut names = Vec::new();
        for before in [
            "CREATE TABLE \"",
            "CREATE TABLE IF NOT EXISTS \"",
            "CREATE INDEX \"",
            "CREATE INDEX IF NOT EXISTS \"",
            "CONSTRAINT \"",
        ] {
            let parts = statement.split(before).skip(1);
            names.extend(parts.filter_map(|rest| rest.split('"').next()).map(str::to_owned));
        }
        names.retain(|name| !name.ends_with("_check"));
        names
    }

    fn all(schema: Schema, dialect: Dialect) -> Vec<String> {
        let statements = schema.ddl(dialect).unwrap();
        statements.iter().flat_map(|statement| made(statement)).collect()
    }

    fn colliding() -> Schema {
        Schema::new()
            .tenant::<Short>()
            .tenant::<Long>()
            .tenant::<Inside>()
            .tenant::<Parted>()
            .tenant::<Taken>()
            .tenant::<Shouting>()
            .tenant::<Child>()
            .tenant::<Parent>()
    }

    #[test]
    fn no_two_objects_have_one_name() {
        for (dialect, least) in [(Dialect::Postgres, 28), (Dialect::Sqlite, 16)] {
            let names = all(colliding(), dialect);
            let different: BTreeSet<String> =
                names.iter().map(|name| name.to_ascii_lowercase()).collect();
            assert_eq!(different.len(), names.len(), "{names:#?}");
            assert!(names.len() >= least, "{names:#?}");
        }
    }

    #[test]
    fn a_name_without_a_rival_is_plain_in_whatever_order_tables_come() {
        let alone = all(Schema::new().tenant::<Short>(), Dialect::Postgres);
        assert_eq!(alone, ["a", "a_pkey", "a_b_c_key", "a_b_c_id_idx", "a_b_c_lookup"]);
        let one = all(Schema::new().tenant::<Short>().tenant::<Long>(), Dialect::Postgres);
        let other = all(Schema::new().tenant::<Long>().tenant::<Short>(), Dialect::Postgres);
        assert_eq!(BTreeSet::from_iter(one.clone()), BTreeSet::from_iter(other));
        assert!(one.contains(&"a_b_pkey".to_owned()) && !one.contains(&"a_b_c_key".to_owned()));
    }
}
