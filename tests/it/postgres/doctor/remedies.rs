//! Remedies that meet what they did not foresee.

use sqlx::{AssertSqlSafe, Connection as _};
use tenantry::database::doctor::Finding;

use super::super::cluster::TestDatabase;
use super::{Clinic, find, harm, mend, physician};

/// As a terminal does that stops at an error; whether there was one.
async fn paste(database: &TestDatabase<'_>, finding: &Finding) -> bool {
    let mut connection = database.connect(physician(finding)).await;
    for statement in finding.remedy() {
        let sql = AssertSqlSafe(statement.clone());
        if sqlx::raw_sql(sql).execute(&mut connection).await.is_err() {
            connection.close().await.unwrap();
            return true;
        }
    }
    false
}

async fn exists(database: &TestDatabase<'_>, sql: &str) -> bool {
    let sql = AssertSqlSafe(format!("SELECT EXISTS ({sql})"));
    sqlx::query_scalar(sql).fetch_one(&mut database.superuser().await).await.unwrap()
}

#[tokio::test]
async fn a_new_key_takes_nothing_along_that_nobody_named() {
    let clinic = Clinic::open().await;
    let patient = clinic.patient().await;
    harm(
        &patient,
        "ALTER TABLE customers DROP CONSTRAINT customers_pkey CASCADE;
         ALTER TABLE customers ADD PRIMARY KEY (id);
         ALTER TABLE orders ADD CONSTRAINT plain FOREIGN KEY (customer_id) REFERENCES customers;
         CREATE TABLE side (customer_id bigint CONSTRAINT to_customer REFERENCES customers);
         CREATE VIEW grouped AS SELECT id, name FROM customers GROUP BY id;",
    )
    .await;
    let report = clinic.look(&patient).await;
    let finding = find(&report, "postgres-key-not-per-organization", "customers").unwrap();
    assert!(finding.caution().contains("`side/to_customer`"), "{}", finding.caution());
    assert!(!finding.remedy().join(";").contains("\" CASCADE"), "{:?}", finding.remedy());

    // The view stops it, and what stands still stands.
    let side = "SELECT FROM pg_constraint WHERE conname = 'to_customer'";
    assert!(paste(&patient, finding).await);
    assert!(exists(&patient, "SELECT FROM pg_views WHERE viewname = 'grouped'").await);
    assert!(exists(&patient, side).await);

    // A row that refers to nothing stops it too: the superuser sees it.
    harm(&patient, "DROP VIEW grouped; ALTER TABLE orders DROP CONSTRAINT plain; RESET ROLE; INSERT INTO orders VALUES (1, 99, 77, 'x', 1, NULL, now())").await;
    assert!(paste(&patient, finding).await);
    assert!(exists(&patient, side).await);

    harm(&patient, "RESET ROLE; DELETE FROM orders WHERE id = 99").await;
    mend(&patient, finding).await;
    assert!(!exists(&patient, side).await);
    let report = clinic.look(&patient).await;
    assert!(report.is_safe(), "{report}");
    assert!(
        find(&report, "reference-absent", "orders/orders_customer_id_customers_fkey").is_none()
    );
}

#[tokio::test]
async fn l01_a_remedy_that_fails_half_way_leaves_the_wall_standing() {
    let clinic = Clinic::open().await;
    let patient = clinic.patient().await;
    harm(
        &patient,
        "DROP POLICY tenantry_wall ON wide;
         ALTER TABLE wide ALTER organization_id TYPE numeric;
         CREATE POLICY tenantry_wall ON wide AS RESTRICTIVE TO tenantry_app USING (organization_id = (SELECT NULLIF(current_setting('tenantry.organization', true), '')::numeric));
         CREATE VIEW uses WITH (security_invoker) AS SELECT organization_id FROM wide",
    )
    .await;
    let report = clinic.look(&patient).await;
    let finding = find(&report, "postgres-tenant-type", "wide.organization_id").unwrap();
    assert!(paste(&patient, finding).await);
    let wall = "SELECT FROM pg_policies WHERE tablename = 'wide' AND policyname = 'tenantry_wall'";
    assert!(exists(&patient, wall).await);
    // What is printed is what was run.
    let printed = report.to_string();
    assert!(
        printed.contains("    BEGIN;\n    SET LOCAL search_path TO \"public\";\n"),
        "{printed}"
    );
    assert!(printed.contains("    COMMIT;\n"), "{printed}");
}

/// The owner's own `search_path` leads to other tables of the names.
#[tokio::test]
async fn a_remedy_mends_the_tables_that_the_application_reaches() {
    let clinic = Clinic::open().await;
    let patient = clinic.patient().await;
    harm(
        &patient,
        "CREATE SCHEMA tenantry_owner; CREATE TABLE tenantry_owner.orders (organization_id bigint);
         ALTER TABLE public.orders NO FORCE ROW LEVEL SECURITY",
    )
    .await;
    let report = clinic.look(&patient).await;
    mend(&patient, find(&report, "postgres-row-security-not-forced", "orders").unwrap()).await;
    let report = clinic.look(&patient).await;
    assert!(report.fatal().all(|found| found.code() == "postgres-shadowed"), "{report}");
    let other = "SELECT FROM pg_class WHERE relnamespace = 'tenantry_owner'::regnamespace AND relforcerowsecurity";
    assert!(!exists(&patient, other).await);
}
