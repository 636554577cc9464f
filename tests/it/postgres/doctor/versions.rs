//! What newer servers can have that older ones cannot. On a server without it, each case shows that
//! the server refuses to have it.

use sqlx::AssertSqlSafe;
use tenantry::database::doctor::{Finding, Severity, inspect};
use tenantry::id::OrganizationKind;
use tenantry::table::{Dialect, PostgresRoles};

use super::super::cluster::{APPLICATION, Cluster, OWNER, TestDatabase};
use super::super::tables;
use super::{Case, Clinic, find, harm, mend, operate};

/// PostgreSQL 17.
const SEVENTEEN: i32 = 170_000;
/// PostgreSQL 18.
const EIGHTEEN: i32 = 180_000;

/// Whether the server has what came with `version`. One that does not refuses `statements`, as the
/// owner, with `code`.
async fn has(version: i32, code: &str, clinic: &Clinic, statements: &[&str]) -> bool {
    let patient = clinic.patient().await;
    if patient.server_version().await >= version {
        return true;
    }
    for sql in statements {
        assert_eq!(refused(&patient, sql).await, code, "{sql}");
    }
    false
}

/// The SQLSTATE with which the server refuses.
async fn refused(database: &TestDatabase<'_>, sql: &str) -> String {
    let mut connection = database.superuser().await;
    let sql = AssertSqlSafe(format!("BEGIN; SET LOCAL ROLE {OWNER}; {sql}; COMMIT"));
    let error = sqlx::raw_sql(sql).execute(&mut connection).await.unwrap_err();
    error.as_database_error().and_then(|error| error.code()).unwrap().into_owned()
}

const SYNTAX: &str = "42601";

#[tokio::test]
async fn l06_a_constraint_that_is_not_enforced_or_not_valid_is_not_taken_for_one() {
    let cases: [Case; 7] = [
        (
            "ALTER TABLE orders ALTER CONSTRAINT orders_customer_id_customers_fkey NOT ENFORCED",
            "postgres-reference-unenforced",
            "orders/orders_customer_id_customers_fkey",
        ),
        (
            "ALTER TABLE orders DROP CONSTRAINT orders_customer_id_customers_fkey; ALTER TABLE orders ADD CONSTRAINT orders_customer_id_customers_fkey FOREIGN KEY (organization_id, customer_id) REFERENCES customers ON DELETE CASCADE NOT ENFORCED",
            "postgres-reference-unenforced",
            "orders/orders_customer_id_customers_fkey",
        ),
        (
            "ALTER TABLE orders DROP CONSTRAINT orders_organization_id_check; ALTER TABLE orders ADD CONSTRAINT orders_organization_id_check CHECK (organization_id > 0) NOT ENFORCED",
            "postgres-tenant-unchecked",
            "orders.organization_id",
        ),
        (
            "ALTER TABLE orders DROP CONSTRAINT orders_pkey; ALTER TABLE orders ALTER organization_id DROP NOT NULL; ALTER TABLE orders ADD CONSTRAINT late NOT NULL organization_id NOT VALID",
            "postgres-tenant-nullable",
            "orders.organization_id",
        ),
        (
            "ALTER TABLE orders ALTER email DROP NOT NULL; ALTER TABLE orders ADD CONSTRAINT late NOT NULL email NOT VALID",
            "column-nullability",
            "orders.email",
        ),
        // It refuses NULL all the same, from now on.
        (
            "ALTER TABLE wide ADD CONSTRAINT late NOT NULL big NOT VALID",
            "column-nullability",
            "wide.big",
        ),
        (
            "ALTER TABLE orders ADD more bigint; ALTER TABLE orders ADD CONSTRAINT late NOT NULL more NOT VALID",
            "column-required",
            "orders.more",
        ),
    ];
    let clinic = Clinic::open().await;
    if has(EIGHTEEN, SYNTAX, &clinic, &cases.map(|(damage, ..)| damage)).await {
        clinic.treat(&cases).await;
    }
}

#[tokio::test]
async fn l08_keys_over_periods_cross_organizations_like_others() {
    let cases: [Case; 1] = [(
        "ALTER TABLE customers ADD kind int8range, ADD span tstzrange; ALTER TABLE customers ADD CONSTRAINT apart UNIQUE (kind, span WITHOUT OVERLAPS)",
        "postgres-unique-not-per-organization",
        "customers/apart",
    )];
    let clinic = Clinic::open().await;
    if has(EIGHTEEN, SYNTAX, &clinic, &cases.map(|(damage, ..)| damage)).await {
        clinic.treat(&cases).await;
    }
}

/// No statement makes an ordinary column of it.
#[tokio::test]
async fn a_column_that_is_computed_when_it_is_read_has_no_remedy_that_fails() {
    let cases: [Case; 2] = [
        (
            "ALTER TABLE wide DROP big, ADD big bigint GENERATED ALWAYS AS (number + 1) VIRTUAL",
            "column-generated",
            "wide.big",
        ),
        (
            "ALTER TABLE orders DROP organization_id CASCADE; ALTER TABLE orders ADD organization_id bigint GENERATED ALWAYS AS (id - 10) VIRTUAL NOT NULL",
            "postgres-tenant-generated",
            "orders.organization_id",
        ),
    ];
    let clinic = Clinic::open().await;
    if !has(EIGHTEEN, SYNTAX, &clinic, &cases.map(|(damage, ..)| damage)).await {
        return;
    }
    for (damage, code, object) in cases {
        let patient = clinic.patient().await;
        harm(&patient, damage).await;
        let report = clinic.look(&patient).await;
        let finding = find(&report, code, object).unwrap_or_else(|| panic!("{report}"));
        assert!(finding.remedy().is_empty(), "{finding}");
        assert!(finding.advice().contains("another name"), "{finding}");
    }
}

#[tokio::test]
async fn l01_l22_who_may_maintain_a_table_is_found() {
    operate(
        &Cluster::shared().database().await,
        "CREATE ROLE carer LOGIN; CREATE ROLE caretaker; CREATE ROLE beyond_carer LOGIN",
    )
    .await;
    let cases: [Case; 3] = [
        ("GRANT MAINTAIN ON orders TO carer", "postgres-grant", "orders"),
        ("GRANT MAINTAIN ON genres TO beyond_carer", "postgres-grant", "beyond_carer/genres"),
        (
            "GRANT MAINTAIN ON orders TO caretaker; RESET ROLE; GRANT caretaker TO carer WITH INHERIT FALSE",
            "postgres-role-member",
            "carer/caretaker",
        ),
    ];
    let roles = PostgresRoles::new().application("carer").cross_tenant("beyond_carer");
    let clinic = Clinic::for_roles("carer", roles).await;
    let [plain, across, group] = cases;
    if !has(SEVENTEEN, SYNTAX, &clinic, &[plain.0, across.0, group.0]).await {
        return;
    }
    clinic.treat(&[plain, across]).await;
    let patient = clinic.patient().await;
    harm(&patient, group.0).await;
    let report = clinic.look(&patient).await;
    let finding = find(&report, group.1, group.2).unwrap_or_else(|| panic!("{report}"));
    assert_eq!(finding.severity(), Severity::Fatal, "what it may become reaches a table");
    mend(&patient, finding).await;
    assert!(clinic.look(&patient).await.is_safe());
}

/// The server's own collations that compare bytewise are several since version 17.
#[tokio::test]
async fn a_collation_of_the_server_that_compares_bytewise_is_no_finding() {
    let clinic = Clinic::open().await;
    let damage = "ALTER TABLE orders ALTER email TYPE text COLLATE pg_c_utf8";
    if !has(SEVENTEEN, "42704", &clinic, &[damage]).await {
        return;
    }
    let patient = clinic.patient().await;
    harm(&patient, damage).await;
    let report = clinic.look(&patient).await;
    assert!(find(&report, "postgres-column-collation", "orders.email").is_none(), "{report}");

    // As the default of a database.
    let schema = tables::schema(OrganizationKind::Text);
    let name = format!("{}_builtin", patient.name());
    operate_alone(
        &patient,
        &format!(
            "CREATE DATABASE {name} OWNER {OWNER} TEMPLATE template0 LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"
        ),
    )
    .await;
    let url = |role: &str| patient.url(role).replace(patient.name(), &name);
    let ddl = schema.ddl(Dialect::Postgres).unwrap().join(";\n").replace(r#" COLLATE "C""#, "");
    let mut owner = <sqlx::PgConnection as sqlx::Connection>::connect(&url(OWNER)).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(ddl)).execute(&mut owner).await.unwrap();
    let report = inspect(&url(APPLICATION), &schema, &[]).await.unwrap();
    let collations: Vec<&Finding> =
        report.findings().iter().filter(|f| f.code().contains("collation")).collect();
    assert!(collations.is_empty(), "{report}");
    drop(owner);
    operate_alone(&patient, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
}

/// As a superuser, outside of a transaction.
async fn operate_alone(database: &TestDatabase<'_>, sql: &str) {
    let mut connection = database.superuser().await;
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
}

/// Who sets an organization when somebody logs in sets it for the doctor too.
#[tokio::test]
async fn l12_an_organization_that_a_login_sets_is_noticed() {
    let clinic = Clinic::open().await;
    let patient = clinic.patient().await;
    operate(
        &patient,
        "CREATE FUNCTION greet() RETURNS event_trigger LANGUAGE plpgsql
             AS $$ BEGIN PERFORM set_config('tenantry.organization', '2', false); END $$",
    )
    .await;
    let trigger = "CREATE EVENT TRIGGER greet ON login EXECUTE FUNCTION greet()";
    if patient.server_version().await < SEVENTEEN {
        let mut connection = patient.superuser().await;
        let error = sqlx::raw_sql(trigger).execute(&mut connection).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().code().unwrap(), SYNTAX);
        return;
    }
    operate(&patient, trigger).await;
    let report = clinic.look(&patient).await;
    let finding = find(&report, "postgres-organization-preset", APPLICATION);
    let advice = finding.unwrap_or_else(|| panic!("{report}")).advice();
    assert!(advice.contains("event trigger"), "{advice}");
}

/// The server calls what an event trigger names without asking who may.
#[tokio::test]
async fn l05_a_function_of_an_event_trigger_that_runs_as_its_owner_is_found() {
    let cases: [Case; 1] = [(
        "RESET ROLE; CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN END'; REVOKE ALL ON FUNCTION watch() FROM PUBLIC; CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION watch(); ALTER FUNCTION watch() OWNER TO tenantry_owner",
        "postgres-definer-function",
        "watch()",
    )];
    Clinic::open().await.treat(&cases).await;
}

/// Since version 16 a membership belongs to who granted it, and goes with his grant alone.
#[tokio::test]
async fn l01_l24_a_membership_that_somebody_else_granted_goes_too() {
    operate(
        &Cluster::shared().database().await,
        "CREATE ROLE inpatient LOGIN; CREATE ROLE dean; CREATE ROLE provost; CREATE ROLE ward;
         GRANT ward TO dean WITH ADMIN OPTION; GRANT ward TO provost WITH ADMIN OPTION",
    )
    .await;
    let cases: [Case; 1] = [(
        "RESET ROLE; GRANT SELECT ON orders TO ward; GRANT ward TO inpatient; SET LOCAL ROLE dean; GRANT ward TO inpatient; RESET ROLE; SET LOCAL ROLE provost; GRANT ward TO inpatient",
        "postgres-role-member",
        "inpatient/ward",
    )];
    Clinic::for_role("inpatient").await.treat(&cases).await;
}
