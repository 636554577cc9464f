//! Views, functions and names through which a statement passes by the wall.

use tenantry::database::doctor::Severity;

use super::super::cluster::{APPLICATION, Cluster, OWNER};
use super::super::world;
use super::{Case, Clinic, find, harm};

#[tokio::test]
async fn l03_l04_l05_views_and_functions_past_the_wall() {
    let cases: [Case; 6] = [
        (
            "CREATE TABLE legacy (organization_id bigint); CREATE VIEW all_legacy AS SELECT * FROM legacy; GRANT SELECT ON all_legacy TO tenantry_app",
            "postgres-view",
            "all_legacy",
        ),
        (
            "CREATE TABLE legacy (organization_id bigint); CREATE MATERIALIZED VIEW all_legacy AS SELECT * FROM legacy; GRANT SELECT ON all_legacy TO tenantry_app",
            "postgres-materialized-view",
            "all_legacy",
        ),
        (
            "CREATE TABLE notes (note text); CREATE VIEW all_notes AS SELECT * FROM notes; GRANT SELECT ON all_notes TO tenantry_app",
            "postgres-view",
            "all_notes",
        ),
        // USAGE of the schema is not asked for.
        (
            "CREATE SCHEMA private; CREATE FUNCTION private.peek() RETURNS SETOF orders LANGUAGE sql SECURITY DEFINER AS 'SELECT * FROM orders'; CREATE VIEW peeks WITH (security_invoker) AS SELECT * FROM private.peek(); GRANT SELECT ON peeks TO tenantry_app",
            "postgres-definer-function",
            "private.peek()",
        ),
        // The aggregate may be called, and calls.
        (
            "CREATE FUNCTION more(bigint, bigint) RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM orders'; REVOKE ALL ON FUNCTION more FROM PUBLIC; CREATE AGGREGATE tally (bigint) (SFUNC = more, STYPE = bigint)",
            "postgres-definer-function",
            "more(bigint,bigint)",
        ),
        (
            "CREATE PROCEDURE wipe() LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM orders'",
            "postgres-definer-function",
            "wipe()",
        ),
    ];
    let clinic = Clinic::open().await;
    clinic.treat(&cases).await;

    for (at, severity) in [(0, Severity::Fatal), (1, Severity::Fatal), (2, Severity::Warning)] {
        let patient = clinic.patient().await;
        harm(&patient, cases[at].0).await;
        let report = clinic.look(&patient).await;
        let finding = find(&report, cases[at].1, cases[at].2).unwrap();
        assert_eq!(finding.severity(), severity, "{}", cases[at].0);
    }

    // What shows nothing that the role does not see itself.
    let patient = clinic.patient().await;
    harm(
        &patient,
        "CREATE VIEW all_genres AS SELECT * FROM genres;
         GRANT SELECT ON all_genres TO tenantry_app;
         CREATE FUNCTION kept(bigint, bigint) RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT 1::bigint';
         REVOKE ALL ON FUNCTION kept FROM PUBLIC;
         CREATE AGGREGATE hidden (bigint) (SFUNC = kept, STYPE = bigint);
         REVOKE ALL ON FUNCTION hidden FROM PUBLIC",
    )
    .await;
    let report = clinic.look(&patient).await;
    assert!(report.findings().iter().all(|f| f.code() == "postgres-server-leaks"), "{report}");
}

const BEHIND: &str = "DO $$ BEGIN EXECUTE format('ALTER ROLE tenantry_app IN DATABASE %I SET search_path TO public, pg_catalog', current_database()); END $$";

#[tokio::test]
async fn l32_names_of_the_servers_own_come_first() {
    let damage: &str = &*format!("RESET ROLE; {BEHIND}").leak();
    let cases: [Case; 1] = [(damage, "postgres-search-path", APPLICATION)];
    Clinic::open().await.treat(&cases).await;
}

#[tokio::test]
async fn l32_what_is_called_like_the_catalogue_does_not_deceive_the_doctor() {
    let database = Cluster::shared().database().await;
    database.run(OWNER, &world::schema().ddl(tenantry::table::Dialect::Postgres).unwrap()).await;
    harm(
        &database,
        &format!(
            "ALTER TABLE orders DISABLE ROW LEVEL SECURITY;
             CREATE VIEW pg_class AS SELECT oid, relname, relnamespace, reltype, relowner, relam,
                 relkind, true AS relrowsecurity, true AS relforcerowsecurity, relacl, reloptions
                 FROM pg_catalog.pg_class;
             GRANT SELECT ON pg_class TO PUBLIC;
             CREATE FUNCTION public.current_setting(text, boolean) RETURNS text LANGUAGE sql
                 AS $$ SELECT '2' $$;
             SET LOCAL search_path TO public, pg_catalog;
             DROP POLICY tenantry_wall ON customers;
             CREATE POLICY tenantry_wall ON customers AS RESTRICTIVE TO tenantry_app
                 USING (organization_id = (SELECT NULLIF(current_setting('tenantry.organization', true), '')::uuid))
                 WITH CHECK (organization_id = (SELECT NULLIF(current_setting('tenantry.organization', true), '')::uuid));
             RESET ROLE; {BEHIND}"
        ),
    )
    .await;
    let (issuer, _, _) = world::scopes().await;
    let opened = world::builder(&issuer, &database)
        .connect(&database.url(APPLICATION), world::schema())
        .await;
    let text = opened.unwrap_err().to_string();
    for found in [
        "postgres-search-path on `tenantry_app`",
        "postgres-row-security-off on `orders`",
        "postgres-policy-unreadable on `customers/tenantry_wall`",
    ] {
        assert!(text.contains(found), "{found}\n{text}");
    }
}
