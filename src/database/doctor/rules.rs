//! Every code: its severity, and what it lets an attacker or a neighbour do.
//!
//! A code that begins with the name of a store is about the walls inside that store. The others
//! compare a declaration with the database and mean the same on every store.

#![cfg_attr(
    not(feature = "postgres"),
    allow(dead_code, reason = "the codes of every store are listed, whichever is compiled in")
)]

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

    PG_ANCESTOR = Fatal "postgres-ancestor":
        "a statement on the ancestor reads and changes the rows of its heirs, and knows none of their policies";
    PG_ACROSS_ABSENT = Warning "postgres-cross-tenant-policy-absent":
        "nothing: cross-tenant work passes over rows without a word, so that maintenance, the directory and exports are incomplete";
    PG_BASE_ABSENT = Warning "postgres-base-absent":
        "nothing: the wall restricts what another policy permits, and none permits anything";
    PG_COLUMN_COLLATION = Warning "postgres-column-collation":
        "texts compare and sort in another order than bytewise, so that filters, pages and unique sets answer otherwise than declared";
    PG_CROSS_TENANT_WRITES = Warning "postgres-cross-tenant-writes":
        "a statement of the cross-tenant role changes rows of any organization, and no second wall stands in its way";
    PG_DEFINER_FUNCTION = Fatal "postgres-definer-function":
        "the function runs with the rights of its owner, whom no policy of ours restrains, and hands on what it sees";
    PG_FOREIGN_TABLE = Fatal "postgres-foreign-table":
        "a foreign table has no row-level security: every organization's rows are read through it";
    PG_GLOBAL_WITH_TENANT_COLUMN = Fatal "postgres-global-with-tenant-column":
        "every organization reads the rows of all organizations, because the table is declared as shared";
    PG_GLOBAL_WRITABLE = Fatal "postgres-global-writable":
        "one organization's statements change what all organizations read";
    PG_GRANT = Fatal "postgres-grant":
        "TRUNCATE empties the table for every organization, REFERENCES tells which keys exist, TRIGGER runs code in the statements of others, MAINTAIN locks everybody out; policies restrain none of them";
    PG_GRANT_CREATE = Fatal "postgres-grant-create":
        "the role can create tables, views and functions that statements then reach in place of the examined ones";
    PG_GRANT_MISSING = Warning "postgres-grant-missing":
        "nothing: statements on the table are refused";
    PG_GRANT_TEMPORARY = Fatal "postgres-grant-temporary":
        "a temporary table of the same name stands in front of a table, without policy, for whoever gets the session next";
    PG_INDEX_NOT_LEAKPROOF = Warning "postgres-index-not-leakproof":
        "a filter by this index walks over every row of the organization, because the server tests the wall first, and one organization's load slows the others";
    PG_INDEX_NOT_PER_ORGANIZATION = Warning "postgres-index-not-per-organization":
        "a search walks over the entries of every organization, and its time tells how many there are";
    PG_KEY_ABSENT = Fatal "postgres-key-absent":
        "a row has no place of its own inside its organization, so rows can be doubled and references have nothing to hold on to";
    PG_KEY_DIFFERS = Warning "postgres-key-differs":
        "rows with the same declared key can exist, so a read by key answers with one of several";
    PG_KEY_NOT_PER_ORGANIZATION = Fatal "postgres-key-not-per-organization":
        "an insert that collides tells an organization which keys another one uses, and blocks it from using them";
    PG_MATERIALIZED_VIEW = Fatal "postgres-materialized-view":
        "it holds a copy of every organization's rows, to which no policy applies";
    PG_NOT_A_TABLE = Fatal "postgres-not-a-table":
        "a view or foreign table computes the tenant column and has no policy, so no predicate over it can be trusted";
    PG_ORGANIZATION_PRESET = Fatal "postgres-organization-preset":
        "statements outside a scope see the rows of the organization that a default names, instead of none";
    PG_OUTSIDE_REFERENCE = Fatal "postgres-outside-reference":
        "rows outside every organization block its deletes, vanish with them, or tell which of its keys exist";
    PG_PARTITION_REACHABLE = Fatal "postgres-partition-reachable":
        "a statement that names the partition passes by the policies of its table";
    PG_PARTITION_UNWALLED = Warning "postgres-partition-unwalled":
        "a later grant on the partition passes by the policies of its table";
    PG_PARTITIONING = Warning "postgres-partitioning":
        "nothing: rows of an organization without a partition cannot be stored, and plans and maintenance are those of another number of partitions";
    PG_POLICY_ABSENT = Fatal "postgres-policy-absent":
        "no policy confines a statement that lost its predicate to its organization";
    PG_POLICY_CONVERTS = Warning "postgres-policy-converts":
        "no index serves a converted tenant column, so that every statement reads all organizations' rows, and its time tells how many there are";
    PG_POLICY_EARLY = Warning "postgres-policy-early":
        "partitions can be chosen by the policy before a read by itself says whose rows it touches, which would lose rows, so that every read runs in a transaction";
    PG_POLICY_EXTRA = Warning "postgres-policy-extra":
        "it permits more than the declared policies do, and is all that remains where the wall is dropped";
    PG_POLICY_FAIL_OPEN = Fatal "postgres-policy-fail-open":
        "the policy has a branch that lets rows of other organizations through";
    PG_POLICY_PER_ROW = Warning "postgres-policy-per-row":
        "the setting is read for every row, and one organization's load slows the others";
    PG_POLICY_PERMISSIVE = Fatal "postgres-policy-permissive":
        "permissive policies are alternatives: any other one opens the table";
    PG_POLICY_UNREADABLE = Fatal "postgres-policy-unreadable":
        "what the policy lets through cannot be told from its text";
    PG_POLICY_WITHOUT_CHECK = Warning "postgres-policy-without-check":
        "what may be written hangs on the rule for what may be read, and follows it when that is changed";
    PG_REFERENCE_ACTION = Warning "postgres-reference-action":
        "deleting or changing a row deletes or changes others that the declaration keeps";
    PG_REFERENCE_DEFERRED = Warning "postgres-reference-deferred":
        "a broken reference shows at commit only, where no statement can be blamed for it";
    PG_REFERENCE_NOT_PER_ORGANIZATION = Fatal "postgres-reference-not-per-organization":
        "a row can refer to another organization's row: this tells that it exists, keeps it from being deleted, and lets cascades cross";
    PG_REFERENCE_NULLS_TENANT = Fatal "postgres-reference-nulls-tenant":
        "deleting a row takes others out of their organization, because the action overwrites the tenant column";
    PG_REFERENCE_UNENFORCED = Warning "postgres-reference-unenforced":
        "a row can refer to a row that is missing, because nothing checks it";
    PG_REFERENCE_UNVALIDATED = Warning "postgres-reference-unvalidated":
        "rows from before the foreign key can refer to rows that are missing or belong to another organization";
    PG_ROLE_ADMINISTERS = Fatal "postgres-role-administers":
        "the role can give itself every other role, or stream every row as a replica";
    PG_ROLE_EXEMPT = Fatal "postgres-role-exempt":
        "no policy applies to the role: a statement that lost its predicate reaches every organization";
    PG_ROLE_MEMBER = Fatal "postgres-role-member":
        "the role can become, or already acts as, one to which the wall does not apply, or which has policies of its own";
    PG_ROLE_OTHER = Fatal "postgres-role-other":
        "the wall is built for another role than the connected one";
    PG_ROLE_OWNS = Fatal "postgres-role-owns":
        "the owner of a table, a schema or the database can drop what stands in it, and passes by policies that are not forced";
    PG_RULE = Fatal "postgres-rule":
        "the rule rewrites a statement into another one, which runs with the rights of the table's owner";
    PG_SEARCH_PATH = Fatal "postgres-search-path":
        "what is called like a function, an operator or a table of the server's own stands in front of it, in statements and where the doctor looks";
    PG_SECURITY_NOT_FORCED = Fatal "postgres-row-security-not-forced":
        "the owner of the table, and every function and view of the owner's, reads all organizations' rows";
    PG_SECURITY_OFF = Fatal "postgres-row-security-off":
        "no policy is applied: a statement that lost its predicate reaches every organization";
    PG_SERVER_LEAKS = Warning "postgres-server-leaks":
        "this minor version lets a crafted operator read statistics of rows that a policy hides (CVE-2025-8713)";
    PG_SERVER_OLD = Fatal "postgres-server-old":
        "views of this version cannot run with the rights of their reader, and its roles were never examined";
    PG_SHADOWED = Fatal "postgres-shadowed":
        "statements reach another table of the same name than the one that migrations build";
    PG_SHARED_SEQUENCE = Fatal "postgres-shared-sequence":
        "generated keys count through all organizations, so each reads off the others' activity";
    PG_TENANT_COLLATION = Fatal "postgres-tenant-collation":
        "organizations whose keys differ only in case or accents count as one";
    PG_TENANT_COLUMN_ABSENT = Fatal "postgres-tenant-column-absent":
        "nothing says whose a row is";
    PG_TENANT_DEFAULT = Fatal "postgres-tenant-default":
        "an insert that forgets the organization lands in the one that the default names";
    PG_TENANT_GENERATED = Fatal "postgres-tenant-generated":
        "an ordinary column decides the organization, so an update moves a row into another one";
    PG_TENANT_NULLABLE = Fatal "postgres-tenant-nullable":
        "rows without an organization escape unique sets and references, and wait for a query that takes NULL for everybody";
    PG_TENANT_TYPE = Fatal "postgres-tenant-type":
        "the store converts what it compares, so different organizations can become equal";
    PG_TENANT_UNCHECKED = Warning "postgres-tenant-unchecked":
        "other writers can store rows under an empty or nil organization, which belong to nobody";
    PG_TRANSPORT_UNVERIFIED = Warning "postgres-transport-unverified":
        "whoever stands between the application and the server can read and change the rows of every organization";
    PG_UNDECLARED_TABLE = Warning "postgres-undeclared-table":
        "rows that the role can reach lie outside every wall";
    PG_UNIQUE_NOT_PER_ORGANIZATION = Fatal "postgres-unique-not-per-organization":
        "an insert that collides tells an organization which values another one holds, and blocks it from using them";
    PG_VIEW = Fatal "postgres-view":
        "the view runs with the rights of its owner, so that whoever may read it can read every organization's rows";

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
    SEALED_COLUMN_UNDECLARED = Warning "sealed-column-undeclared":
        "nothing: a data key is retired while values in the column are sealed under it, and they are lost";
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
pub(super) const NEED_ROWS: &[Rule] =
    &[COLUMN_VALUE, INTEGRITY, REFERENCE_DANGLING, SEALED_COLUMN_UNDECLARED, TENANT_VALUE];
