//! What partitions, heirs and ancestors of a table have of their own.

use tenantry::database::doctor::inspect;
use tenantry::id::OrganizationKind;
use tenantry::table::Dialect;

use super::super::cluster::{APPLICATION, Cluster, OWNER};
use super::super::tables;
use super::{Case, Clinic, find, harm, mend};

#[tokio::test]
async fn l06_l08_what_a_partition_has_of_its_own() {
    let cases: [Case; 9] = [
        (
            r#"CREATE UNIQUE INDEX own ON "Audit events_p1" (what) WHERE what <> 'in'"#,
            "postgres-unique-not-per-organization",
            "Audit events_p1/own",
        ),
        (
            r#"TRUNCATE "Audit events_p1"; CREATE UNIQUE INDEX own ON "Audit events_p1" (what)"#,
            "postgres-unique-not-per-organization",
            "Audit events_p1/own",
        ),
        (
            r#"TRUNCATE "Audit events_p1"; ALTER TABLE "Audit events_p1" ADD CONSTRAINT own EXCLUDE USING btree ("Id" WITH =)"#,
            "postgres-unique-not-per-organization",
            "Audit events_p1/own",
        ),
        (
            r#"CREATE UNIQUE INDEX own ON "Audit events_p1" ("ShopId", "Id", what)"#,
            "unique-undeclared",
            "Audit events_p1/own",
        ),
        (
            r#"ALTER TABLE customers ADD UNIQUE (id); ALTER TABLE "Audit events_p1" ADD CONSTRAINT far FOREIGN KEY ("Id") REFERENCES customers (id)"#,
            "postgres-reference-not-per-organization",
            "Audit events_p1/far",
        ),
        (
            r#"ALTER TABLE "Audit events_p1" ADD CONSTRAINT far FOREIGN KEY ("Id") REFERENCES genres NOT VALID"#,
            "reference-undeclared",
            "Audit events_p1/far",
        ),
        (
            r#"CREATE RULE copy AS ON INSERT TO "Audit events_p1" DO ALSO SELECT 1"#,
            "postgres-rule",
            "Audit events_p1/copy",
        ),
        // A reference to a partition, with the columns exchanged.
        (
            r#"ALTER TABLE wide ADD CONSTRAINT into_part FOREIGN KEY (big, organization_id) REFERENCES "Audit events_p1" ("ShopId", "Id")"#,
            "postgres-reference-not-per-organization",
            "wide/into_part",
        ),
        // The remedy is for the partition, and not for the table of its name.
        (
            r#"CREATE SCHEMA archive; GRANT USAGE ON SCHEMA archive TO tenantry_app; ALTER TABLE "Audit events_p1" SET SCHEMA archive; ALTER TABLE archive."Audit events_p1" RENAME TO customers; GRANT SELECT ON archive.customers TO tenantry_app"#,
            "postgres-partition-reachable",
            "archive.customers",
        ),
    ];
    let clinic = Clinic::open().await;
    clinic.treat(&cases).await;

    let patient = clinic.patient().await;
    harm(&patient, cases[8].0).await;
    let report = clinic.look(&patient).await;
    mend(&patient, find(&report, cases[8].1, cases[8].2).unwrap()).await;
    let report = clinic.look(&patient).await;
    assert!(find(&report, "postgres-grant-missing", "customers").is_none(), "{report}");
}

#[tokio::test]
async fn l03_l21_ancestors_of_a_table() {
    let cases: [Case; 4] = [
        (
            "CREATE TABLE aaa (id bigint NOT NULL); ALTER TABLE customers INHERIT aaa",
            "postgres-ancestor",
            "customers/aaa",
        ),
        (
            "CREATE TABLE aaa (id bigint NOT NULL); CREATE TABLE bbb () INHERITS (aaa); ALTER TABLE customers INHERIT bbb; CREATE VIEW through AS SELECT * FROM aaa; GRANT SELECT ON through TO tenantry_app",
            "postgres-view",
            "through",
        ),
        (
            "CREATE TABLE legacy (organization_id bigint, id bigint) PARTITION BY HASH (id); CREATE TABLE legacy_0 PARTITION OF legacy FOR VALUES WITH (MODULUS 1, REMAINDER 0); GRANT SELECT ON legacy_0 TO tenantry_app",
            "postgres-undeclared-table",
            "legacy_0",
        ),
        (
            "CREATE TABLE heir () INHERITS (customers); ALTER TABLE heir ADD PRIMARY KEY (id)",
            "postgres-unique-not-per-organization",
            "heir/heir_pkey",
        ),
    ];
    Clinic::open().await.treat(&cases).await;
}

#[tokio::test]
async fn l21_a_table_with_two_parents_is_a_part_of_both() {
    let schema = tables::schema(OrganizationKind::Integer);
    let database = Cluster::shared().database().await;
    // The undeclared one is the older.
    database.run(OWNER, &["CREATE TABLE aaa (since bigint)"]).await;
    database.run(OWNER, &schema.ddl(Dialect::Postgres).unwrap()).await;
    harm(
        &database,
        "CREATE TABLE kid () INHERITS (aaa, customers); GRANT ALL ON kid TO tenantry_app",
    )
    .await;
    let look = async || inspect(&database.url(APPLICATION), &schema, &[]).await.unwrap();
    for (code, object) in [
        ("postgres-partition-reachable", "kid"),
        ("postgres-partition-unwalled", "kid"),
        ("postgres-ancestor", "kid/aaa"),
    ] {
        let report = look().await;
        let finding = find(&report, code, object).unwrap_or_else(|| panic!("{code}\n{report}"));
        mend(&database, finding).await;
        assert!(find(&look().await, code, object).is_none(), "{code}");
    }
}
