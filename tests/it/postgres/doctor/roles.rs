//! The roles, what they may do, and what they own.

use tenantry::database::doctor::{Severity, inspect};
use tenantry::error::ErrorKind;
use tenantry::id::OrganizationKind;
use tenantry::table::PostgresRoles;

use super::super::cluster::{APPLICATION, Cluster, OWNER};
use super::super::{tables, world};
use super::{Case, Clinic, find, harm, mend, operate};

#[tokio::test]
async fn l01_l22_l32_roles_and_grants() {
    operate(
        &Cluster::shared().database().await,
        "CREATE ROLE patient LOGIN; CREATE ROLE between; GRANT tenantry_owner TO between;
         CREATE ROLE reporter; CREATE ROLE idle; CREATE ROLE crew",
    )
    .await;
    let cases: [Case; 28] = [
        ("RESET ROLE; ALTER ROLE patient SUPERUSER", "postgres-role-exempt", "patient"),
        ("RESET ROLE; ALTER ROLE patient BYPASSRLS", "postgres-role-exempt", "patient"),
        ("RESET ROLE; ALTER ROLE patient CREATEROLE", "postgres-role-administers", "patient"),
        ("RESET ROLE; ALTER ROLE patient REPLICATION", "postgres-role-administers", "patient"),
        (
            "RESET ROLE; GRANT tenantry_owner TO patient",
            "postgres-role-member",
            "patient/tenantry_owner",
        ),
        (
            "RESET ROLE; GRANT tenantry_cross_tenant TO patient",
            "postgres-role-member",
            "patient/tenantry_cross_tenant",
        ),
        (
            "RESET ROLE; GRANT pg_read_server_files TO patient",
            "postgres-role-member",
            "patient/pg_read_server_files",
        ),
        ("RESET ROLE; ALTER TABLE orders OWNER TO patient", "postgres-role-owns", "orders"),
        (
            "RESET ROLE; ALTER ROLE patient SET tenantry.organization = '2'",
            "postgres-organization-preset",
            "patient",
        ),
        (
            "RESET ROLE; DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET tenantry.organization = ''2''', current_database()); END $$",
            "postgres-organization-preset",
            "patient",
        ),
        ("GRANT TRUNCATE ON orders TO patient", "postgres-grant", "orders"),
        ("GRANT REFERENCES (id) ON customers TO patient", "postgres-grant", "customers"),
        ("GRANT TRIGGER ON genres TO PUBLIC", "postgres-grant", "genres"),
        ("GRANT UPDATE (name) ON genres TO patient", "postgres-global-writable", "genres"),
        ("REVOKE DELETE ON orders FROM patient", "postgres-grant-missing", "orders"),
        ("GRANT CREATE ON SCHEMA public TO patient", "postgres-grant-create", "public"),
        (
            "CREATE SCHEMA open; GRANT CREATE ON SCHEMA open TO PUBLIC",
            "postgres-grant-create",
            "open",
        ),
        (
            r#"GRANT SELECT ON "Audit events_p1" TO patient"#,
            "postgres-partition-reachable",
            "Audit events_p1",
        ),
        (
            r#"ALTER TABLE "Audit events_p2" DISABLE ROW LEVEL SECURITY"#,
            "postgres-partition-unwalled",
            "Audit events_p2",
        ),
        (
            r#"ALTER TABLE "Audit events_p2" NO FORCE ROW LEVEL SECURITY"#,
            "postgres-partition-unwalled",
            "Audit events_p2",
        ),
        (
            "CREATE TABLE elsewhere (organization_id bigint); GRANT SELECT ON elsewhere TO patient",
            "postgres-undeclared-table",
            "elsewhere",
        ),
        // With `SET ROLE`, another one's policy holds.
        (
            "GRANT SELECT ON orders TO reporter; CREATE POLICY report ON orders TO reporter USING (true); RESET ROLE; ALTER ROLE patient NOINHERIT; GRANT reporter TO patient",
            "postgres-role-member",
            "patient/reporter",
        ),
        ("RESET ROLE; GRANT pg_monitor TO patient", "postgres-role-member", "patient/pg_monitor"),
        (
            "GRANT TRUNCATE ON orders TO crew; RESET ROLE; ALTER ROLE patient INHERIT; GRANT crew TO patient",
            "postgres-grant",
            "orders",
        ),
        (
            "GRANT CREATE ON SCHEMA public TO crew; RESET ROLE; GRANT crew TO patient",
            "postgres-grant-create",
            "public",
        ),
        ("RESET ROLE; ALTER SCHEMA public OWNER TO patient", "postgres-role-owns", "public"),
        (
            r#"RESET ROLE; ALTER TABLE "Audit events_p1" OWNER TO patient"#,
            "postgres-role-owns",
            "Audit events_p1",
        ),
        (
            "RESET ROLE; ALTER ROLE patient SET session_replication_role TO replica",
            "postgres-reference-unenforced",
            "patient",
        ),
    ];
    let clinic = Clinic::for_role("patient").await;
    clinic.treat(&cases).await;

    // Through a role in between, which is the one to take away.
    operate(&clinic.healthy, "GRANT between TO patient").await;
    let report = clinic.look(&clinic.healthy).await;
    let (code, object) = ("postgres-role-member", "patient/tenantry_owner");
    mend(&clinic.healthy, find(&report, code, object).unwrap_or_else(|| panic!("{report}"))).await;
    assert!(clinic.look(&clinic.healthy).await.is_safe());

    // Through one that reaches nothing.
    operate(&clinic.healthy, "GRANT idle TO patient").await;
    let report = clinic.look(&clinic.healthy).await;
    let finding = find(&report, code, "patient/idle").unwrap_or_else(|| panic!("{report}"));
    assert_eq!(finding.severity(), Severity::Warning);
    mend(&clinic.healthy, finding).await;
    assert!(find(&clinic.look(&clinic.healthy).await, code, "patient/idle").is_none());

    // What belongs to a database is named after it.
    for (damage, code) in [
        ("GRANT TEMPORARY ON DATABASE it TO PUBLIC", "postgres-grant-temporary"),
        ("GRANT CREATE ON DATABASE it TO PUBLIC", "postgres-grant-create"),
        (
            "GRANT TEMPORARY ON DATABASE it TO crew; RESET ROLE; GRANT crew TO patient",
            "postgres-grant-temporary",
        ),
        ("RESET ROLE; ALTER DATABASE it OWNER TO patient", "postgres-role-owns"),
    ] {
        let patient = clinic.patient().await;
        let name = patient.name().to_owned();
        harm(&patient, &damage.replace("DATABASE it", &format!("DATABASE {name}"))).await;
        let report = clinic.look(&patient).await;
        let finding = find(&report, code, &name).unwrap_or_else(|| panic!("{damage}\n{report}"));
        mend(&patient, finding).await;
        assert!(find(&clinic.look(&patient).await, code, &name).is_none(), "{damage}");
    }
    operate(&clinic.healthy, "REVOKE crew FROM patient").await;

    // The other role is exempt by its policies alone.
    operate(&clinic.healthy, "CREATE ROLE patient_across BYPASSRLS").await;
    let roles = PostgresRoles::new().application("patient").cross_tenant("patient_across");
    let schema = tables::schema(OrganizationKind::Integer).postgres_roles(roles);
    let look = async || inspect(&clinic.healthy.url("patient"), &schema, &[]).await.unwrap();
    let report = look().await;
    let finding = find(&report, "postgres-role-exempt", "patient_across").unwrap();
    mend(&clinic.healthy, finding).await;
    assert!(find(&look().await, "postgres-role-exempt", "patient_across").is_none());

    // Another role than the one that the wall is built for.
    let other = inspect(&clinic.healthy.url(APPLICATION), &clinic.schema, &[]).await.unwrap();
    assert!(find(&other, "postgres-role-other", APPLICATION).is_some(), "{other}");
    assert!(find(&other, "postgres-grant-missing", "orders").is_some(), "{other}");
    let owner = inspect(&clinic.healthy.url(OWNER), &clinic.schema, &[]).await.unwrap();
    assert!(find(&owner, "postgres-role-owns", "orders").is_some(), "{owner}");
}

#[tokio::test]
async fn l01_l22_l32_the_cross_tenant_role() {
    operate(
        &Cluster::shared().database().await,
        "CREATE ROLE outpatient LOGIN; CREATE ROLE beyond LOGIN",
    )
    .await;
    let cases: [Case; 11] = [
        ("RESET ROLE; ALTER ROLE beyond SUPERUSER", "postgres-role-exempt", "beyond"),
        ("RESET ROLE; ALTER ROLE beyond CREATEROLE", "postgres-role-administers", "beyond"),
        (
            "RESET ROLE; GRANT tenantry_owner TO beyond",
            "postgres-role-member",
            "beyond/tenantry_owner",
        ),
        ("RESET ROLE; GRANT outpatient TO beyond", "postgres-role-member", "beyond/outpatient"),
        ("RESET ROLE; ALTER TABLE orders OWNER TO beyond", "postgres-role-owns", "beyond/orders"),
        ("RESET ROLE; ALTER SCHEMA public OWNER TO beyond", "postgres-role-owns", "beyond/public"),
        ("GRANT TRUNCATE ON orders TO beyond", "postgres-grant", "beyond/orders"),
        ("GRANT TRIGGER ON genres TO beyond", "postgres-grant", "beyond/genres"),
        ("GRANT UPDATE ON orders TO beyond", "postgres-cross-tenant-writes", "beyond/orders"),
        (
            "GRANT INSERT (id) ON customers TO beyond",
            "postgres-cross-tenant-writes",
            "beyond/customers",
        ),
        ("GRANT CREATE ON SCHEMA public TO beyond", "postgres-grant-create", "beyond/public"),
    ];
    let roles = PostgresRoles::new().application("outpatient").cross_tenant("beyond");
    let clinic = Clinic::for_roles("outpatient", roles).await;
    clinic.treat(&cases).await;

    let patient = clinic.patient().await;
    let name = patient.name();
    harm(&patient, &format!("GRANT TEMPORARY, CREATE ON DATABASE {name} TO beyond")).await;
    for code in ["postgres-grant-temporary", "postgres-grant-create"] {
        let report = clinic.look(&patient).await;
        let object = format!("beyond/{name}");
        assert!(find(&report, code, &object).is_some(), "{report}");
    }
    let report = clinic.look(&patient).await;
    mend(&patient, report.fatal().next().unwrap()).await;
    assert!(clinic.look(&patient).await.is_safe());
}

/// It would find no rows, and nobody would hear of it.
#[tokio::test]
async fn a_cross_tenant_url_of_another_role_does_not_open() {
    let database = Cluster::shared().database().await;
    let (issuer, _, _) = world::scopes().await;
    for role in [APPLICATION, OWNER] {
        let error = world::builder(&issuer, &database)
            .cross_tenant_url(&database.url(role))
            .connect(&database.url(APPLICATION), world::schema())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unconfigured, "{role}: {error}");
        assert!(error.to_string().contains("tenantry_cross_tenant"), "{error}");
    }
}

#[test]
fn a_role_that_the_server_takes_for_everybody_is_refused() {
    for name in ["public", "none", "pg_read_all_data"] {
        for roles in [
            PostgresRoles::new().owner(name),
            PostgresRoles::new().application(name),
            PostgresRoles::new().cross_tenant(name),
        ] {
            let error = world::schema().postgres_roles(roles).validate().unwrap_err();
            assert!(error.to_string().contains("reserved"), "{error}");
        }
    }
    let roles = PostgresRoles::new().application("publicity").owner("nonesuch");
    world::schema().postgres_roles(roles).validate().unwrap();
}
