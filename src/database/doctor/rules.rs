//! Every code: its severity, and what it lets an attacker or a neighbour do.
//!
//! A code that begins with the name of a store is about the walls inside that store. The others
//! compare a declaration with the database and mean the same on every store.

use super::report::Severity::{self, Fatal, Warning};

/// One kind of finding.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) code: &'static str,
    pub(super) severity: Severity,
    pub(super) gain: &'static str,
}

macro_rules! rules {
    ($($name:ident = $severity:ident $code:literal: $gain:literal;)*) => {
        $(pub(super) const $name: Rule = Rule { code: $code, severity: $severity, gain: $gain };)*

        #[cfg(test)]
        pub(super) const ALL: &[Rule] = &[$($name),*];
    };
}

rules! {
    CHECKS_IGNORED = Warning "sqlite-checks-ignored":
        "a write that is no value of its column, or of no organization, is stored";
    COLUMN_COLLATION = Warning "sqlite-column-collation":
        "texts that differ count as equal, so a filter, a unique set or a key takes one row for another inside the organization";
    CONFLICT_CLAUSE = Fatal "sqlite-conflict-clause":
        "a plain insert deletes, skips or rolls back rows that the statement does not name, another organization's among them";
    DEFINITION_UNREADABLE = Fatal "sqlite-definition-unreadable":
        "a conflict clause or a collation can hide in the definition, which the doctor cannot read";
    FOREIGN_KEYS_OFF = Fatal "sqlite-foreign-keys-off":
        "a row can refer to a row that is missing or belongs to another organization";
    GLOBAL_WITH_TENANT_COLUMN = Fatal "sqlite-global-with-tenant-column":
        "every organization reads the rows of all organizations, because the table is declared as shared";
    INDEX_NOT_PER_ORGANIZATION = Warning "sqlite-index-not-per-organization":
        "a search walks over the entries of every organization, and its time tells how many there are";
    INTEGRITY = Fatal "sqlite-integrity":
        "an index that disagrees with its table answers with rows, or hides rows, that no predicate can tell";
    KEY_ABSENT = Fatal "sqlite-key-absent":
        "a row has no place of its own inside its organization, so rows can be doubled and references have nothing to hold on to";
    KEY_DIFFERS = Warning "sqlite-key-differs":
        "rows with the same declared key can exist, so a read by key answers with one of several";
    KEY_NOT_PER_ORGANIZATION = Fatal "sqlite-key-not-per-organization":
        "an insert that collides tells an organization which keys another one uses, and blocks it from using them";
    NOT_A_TABLE = Fatal "sqlite-not-a-table":
        "a view or virtual table computes the tenant column, so no predicate over it can be trusted";
    NOT_STRICT = Warning "sqlite-not-strict":
        "values of any type can be stored, compare in another order and fail to be read";
    OUTSIDE_REFERENCE = Fatal "sqlite-outside-reference":
        "rows outside every organization block its deletes, vanish with them, or tell which of its keys exist";
    REFERENCE_ACTION = Warning "sqlite-reference-action":
        "deleting or changing a row deletes or changes others that the declaration keeps";
    REFERENCE_DEFERRED = Warning "sqlite-reference-deferred":
        "a broken reference shows at commit only, where no statement can be blamed for it";
    REFERENCE_NOT_PER_ORGANIZATION = Fatal "sqlite-reference-not-per-organization":
        "a row can refer to another organization's row: this tells that it exists, keeps it from being deleted, and lets cascades cross";
    REFERENCE_NULLS_TENANT = Fatal "sqlite-reference-nulls-tenant":
        "deleting a row takes others out of their organization, because the action overwrites the tenant column";
    ROWID_TABLE = Fatal "sqlite-rowid-table":
        "an index entry out of step with its table returns another organization's row under this organization's name";
    SHADOWED = Fatal "sqlite-shadowed":
        "statements reach another table of the same name, whose shape and rows nobody has examined";
    SHARED_SEQUENCE = Fatal "sqlite-shared-sequence":
        "generated keys count through all organizations, so each reads off the others' activity";
    TENANT_COLLATION = Fatal "sqlite-tenant-collation":
        "organizations whose keys differ only in case or trailing blanks count as one";
    TENANT_COLUMN_ABSENT = Fatal "sqlite-tenant-column-absent":
        "an unknown quoted name is a text on SQLite, so the organization of that name would match every row";
    TENANT_DEFAULT = Fatal "sqlite-tenant-default":
        "an insert that forgets the organization lands in the one that the default names";
    TENANT_GENERATED = Fatal "sqlite-tenant-generated":
        "an ordinary column decides the organization, so an update moves a row into another one";
    TENANT_NULLABLE = Fatal "sqlite-tenant-nullable":
        "rows without an organization escape unique sets and references, and wait for a query that takes NULL for everybody";
    TENANT_TYPE = Fatal "sqlite-tenant-type":
        "the store converts what it compares, so different organizations can become equal";
    TENANT_UNCHECKED = Warning "sqlite-tenant-unchecked":
        "other writers can store rows under an empty or nil organization, which belong to nobody";
    TRIGGER = Fatal "sqlite-trigger":
        "a write in one organization runs statements that carry no predicate";
    TRUSTED_SCHEMA = Warning "sqlite-trusted-schema":
        "who can change the file can make statements call functions of the application";
    UNDECLARED_TENANT_TABLE = Warning "sqlite-undeclared-tenant-table":
        "rows that look like an organization's own lie outside every wall";
    UNIQUE_NOT_PER_ORGANIZATION = Fatal "sqlite-unique-not-per-organization":
        "an insert that collides tells an organization which values another one holds, and blocks it from using them";
    VIEW = Warning "sqlite-view":
        "whoever reads it sees the rows of every organization";
    WRITABLE_SCHEMA = Warning "sqlite-writable-schema":
        "a statement can rewrite the definitions that the doctor has just examined";

    ACCEPTANCE_UNUSED = Warning "acceptance-unused":
        "a later finding of that code on that object would pass unseen";
    COLUMN_ABSENT = Warning "column-absent":
        "nothing: every statement that names the column fails";
    COLUMN_GENERATED = Warning "column-generated":
        "nothing: every insert fails, because a generated column takes no value";
    COLUMN_NULLABILITY = Warning "column-nullability":
        "nothing: rows with NULL cannot be read, or rows without a value cannot be stored";
    COLUMN_REQUIRED = Warning "column-required":
        "nothing: every insert fails, because it leaves out a column that needs a value";
    COLUMN_STORAGE = Warning "column-storage":
        "values compare and sort in another order than the declared type, so filters and pages answer wrongly inside the organization";
    COLUMN_VALUE = Warning "column-value":
        "nothing: the rows cannot be read, and filters pass over them";
    ENVIRONMENT_TENANT_CREDENTIAL = Fatal "environment-tenant-credential":
        "work for any organization uses one organization's credential, without a scope, and every child process has it";
    INDEX_ABSENT = Warning "index-absent":
        "a search reads all rows of the organization, and one organization's load slows the others";
    REFERENCE_ABSENT = Warning "reference-absent":
        "a row can refer to a row that is missing or belongs to another organization";
    REFERENCE_DANGLING = Warning "reference-dangling":
        "nothing: the rows refer to rows that their organization does not have";
    REFERENCE_MISMATCH = Warning "reference-mismatch":
        "nothing: every write fails, because the table referred to has no such key";
    REFERENCE_UNDECLARED = Warning "reference-undeclared":
        "an insert tells whether a row exists in a table that the declaration does not name";
    TABLE_ABSENT = Warning "table-absent":
        "nothing: statements on the table fail until it exists";
    TENANT_VALUE = Fatal "tenant-value":
        "rows belong to no organization, and come back into sight with the next conversion of the column";
    UNIQUE_ABSENT = Warning "unique-absent":
        "rows that should be unique in their organization can be doubled, and `on_conflict` fails";
    UNIQUE_UNDECLARED = Warning "unique-undeclared":
        "nothing: inserts meet a conflict that the declaration does not name";
}

/// What shows only where the rows are examined too.
pub(super) const NEED_ROWS: &[Rule] = &[COLUMN_VALUE, INTEGRITY, REFERENCE_DANGLING, TENANT_VALUE];
