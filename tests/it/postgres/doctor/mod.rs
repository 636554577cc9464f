//! Every check of the doctor: a database that trips it, the remedy, and a second look.

mod kinds;
mod parts;
mod past_the_wall;
mod remedies;
mod roles;
mod versions;

use sqlx::AssertSqlSafe;
use tenantry::database::doctor::{Acceptance, Finding, Report, Severity, inspect};
use tenantry::id::OrganizationKind;
use tenantry::table::{Dialect, PostgresRoles, Schema};

use super::cluster::{APPLICATION, CROSS_TENANT, Cluster, OWNER, SUPERUSER, TestDatabase};
use super::tables;

/// What the owner does to a healthy database (and after `RESET ROLE`, a superuser), and what the
/// doctor says then, about what.
type Case = (&'static str, &'static str, &'static str);

struct Clinic {
    schema: Schema,
    role: &'static str,
    healthy: TestDatabase<'static>,
}

impl Clinic {
    async fn open() -> Self {
        Self::for_role(APPLICATION).await
    }

    async fn for_role(role: &'static str) -> Self {
        Self::for_roles(role, PostgresRoles::new().application(role)).await
    }

    async fn for_roles(role: &'static str, roles: PostgresRoles) -> Self {
        let schema = tables::schema(OrganizationKind::Integer).postgres_roles(roles);
        let healthy = Cluster::shared().database().await;
        healthy.run(OWNER, &schema.ddl(Dialect::Postgres).unwrap()).await;
        // Equal keys and values in both organizations, where the two may be equal.
        let rows: Vec<String> = [1, 2]
            .iter()
            .flat_map(|n| {
                [
                    format!("INSERT INTO customers VALUES ({n}, {n}, 'Ann')"),
                    format!(
                        "INSERT INTO orders VALUES ({n}, 1{n}, {n}, 'ann{n}@x', 1, NULL, now())"
                    ),
                    format!(r#"INSERT INTO "Audit events" VALUES ({n}, 1, 'in')"#),
                ]
            })
            .collect();
        healthy.run(SUPERUSER, &rows).await;
        Self { schema, role, healthy }
    }

    /// A copy of the healthy database.
    async fn patient(&self) -> TestDatabase<'static> {
        let patient = Cluster::shared().copy_of(&self.healthy).await;
        // What belongs to a database is not copied with it.
        patient.run(OWNER, &[ground()]).await;
        patient
    }

    async fn look(&self, database: &TestDatabase<'_>) -> Report {
        inspect(&database.url(self.role), &self.schema, &[]).await.unwrap()
    }

    async fn dump(&self, database: &TestDatabase<'_>) -> Vec<String> {
        let mut connection = database.superuser().await;
        let mut rows = Vec::new();
        for sql in [
            "SELECT (organization_id, id, name)::text FROM customers ORDER BY organization_id, id",
            "SELECT (organization_id::bigint, id, customer_id, email, total::numeric(19, 2))::text FROM orders ORDER BY organization_id, id",
            r#"SELECT ("Id", what)::text FROM "Audit events" ORDER BY 1"#,
        ] {
            rows.extend(
                sqlx::query_scalar::<_, String>(sql).fetch_all(&mut connection).await.unwrap(),
            );
        }
        rows
    }

    /// Damages a copy, looks, applies the remedy, looks again: the finding is gone, with the
    /// remedies of what the damage did besides nothing fatal is left, and no row has changed.
    async fn treat(&self, cases: &[Case]) {
        let report = self.look(&self.healthy).await;
        let open: Vec<&Finding> =
            report.findings().iter().filter(|f| f.code() != "postgres-server-leaks").collect();
        assert!(open.is_empty(), "healthy: {report}");
        for (damage, code, object) in cases {
            let patient = self.patient().await;
            harm(&patient, damage).await;
            let report = self.look(&patient).await;
            let finding = find(&report, code, object)
                .unwrap_or_else(|| panic!("{code} on {object} was not found: {damage}\n{report}"));
            assert!(!finding.gain().is_empty() && !finding.advice().is_empty(), "{finding}");
            if finding.remedy().is_empty() {
                continue;
            }
            let before = self.dump(&patient).await;
            mend(&patient, finding).await;
            let second = self.look(&patient).await;
            assert!(
                find(&second, code, object).is_none(),
                "after {:?}:\n{second}",
                finding.remedy()
            );
            for _ in 0..5 {
                let report = self.look(&patient).await;
                let Some(other) = report.fatal().next() else { break };
                mend(&patient, other).await;
            }
            let last = self.look(&patient).await;
            assert!(last.is_safe(), "{damage}\n{last}");
            assert_eq!(self.dump(&patient).await, before, "{damage}");
        }
    }
}

/// The statement that takes TEMP and CREATE away.
fn ground() -> String {
    tables::schema(OrganizationKind::Integer).ddl(Dialect::Postgres).unwrap().swap_remove(0)
}

fn find<'r>(report: &'r Report, code: &str, object: &str) -> Option<&'r Finding> {
    report.findings().iter().find(|finding| finding.code() == code && finding.object() == object)
}

/// As the owner.
async fn harm(database: &TestDatabase<'_>, sql: &str) {
    operate(database, &format!("SET LOCAL ROLE {OWNER}; {sql}")).await;
}

/// As who the finding says: each statement by itself, whole or not at all.
async fn mend(database: &TestDatabase<'_>, finding: &Finding) {
    let remedy = finding.remedy();
    assert_eq!(remedy.first().map(String::as_str), Some("BEGIN"), "{finding}");
    assert_eq!(remedy.last().map(String::as_str), Some("COMMIT"), "{finding}");
    database.run(physician(finding), remedy).await;
}

fn physician(finding: &Finding) -> &'static str {
    if finding.caution().contains("as a superuser") { SUPERUSER } else { OWNER }
}

/// As a superuser.
async fn operate(database: &TestDatabase<'_>, sql: &str) {
    let mut connection = database.superuser().await;
    let sql = format!("BEGIN; {sql}; COMMIT");
    if let Err(error) = sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(&mut connection).await {
        panic!("{error}\n{sql}");
    }
}

const SOUND: &str =
    "organization_id = (SELECT NULLIF(current_setting('tenantry.organization', true), '')::bigint)";

/// Drops the wall of `orders` and builds another one.
fn wall(rest: &str) -> String {
    format!(
        "DROP POLICY tenantry_wall ON orders; CREATE POLICY tenantry_wall ON orders {}",
        rest.replace("SOUND", SOUND)
    )
}

#[tokio::test]
async fn l02_l17_l18_l19_policies() {
    let walls: Vec<(String, &str, &str)> = [
        ("AS PERMISSIVE USING (SOUND) WITH CHECK (SOUND)", "postgres-policy-permissive"),
        ("AS RESTRICTIVE USING (SOUND)", "postgres-policy-without-check"),
        ("AS RESTRICTIVE USING (SOUND) WITH CHECK (true)", "postgres-policy-fail-open"),
        ("AS RESTRICTIVE USING (true) WITH CHECK (SOUND)", "postgres-policy-fail-open"),
        (
            "AS RESTRICTIVE USING (organization_id = COALESCE(NULLIF(current_setting('tenantry.organization', true), '')::bigint, organization_id)) WITH CHECK (SOUND)",
            "postgres-policy-fail-open",
        ),
        (
            "AS RESTRICTIVE USING (SOUND OR current_setting('tenantry.organization', true) IS NULL) WITH CHECK (SOUND)",
            "postgres-policy-fail-open",
        ),
        (
            "AS RESTRICTIVE USING (organization_id = NULLIF(current_setting('tenantry.organization', true), '')::bigint) WITH CHECK (SOUND)",
            "postgres-policy-per-row",
        ),
        (
            "AS RESTRICTIVE USING (organization_id::text = (SELECT NULLIF(current_setting('tenantry.organization', true), ''))) WITH CHECK (SOUND)",
            "postgres-policy-converts",
        ),
        (
            "AS RESTRICTIVE USING (organization_id = (SELECT NULLIF(current_setting('app.tenant', true), '')::bigint)) WITH CHECK (SOUND)",
            "postgres-policy-unreadable",
        ),
        (
            "AS RESTRICTIVE USING (organization_id = length(pg_backend_pid()::text)) WITH CHECK (SOUND)",
            "postgres-policy-unreadable",
        ),
        (
            "AS RESTRICTIVE USING (organization_id::char(1) = (SELECT NULLIF(current_setting('tenantry.organization', true), '')::char(1))) WITH CHECK (SOUND)",
            "postgres-policy-unreadable",
        ),
        (
            "AS RESTRICTIVE USING (organization_id = (SELECT NULLIF(current_setting('tenantry.organization', true), '')::real::bigint)) WITH CHECK (SOUND)",
            "postgres-policy-unreadable",
        ),
    ]
    .into_iter()
    .map(|(rest, code)| (wall(rest), code, "orders/tenantry_wall"))
    .chain([
        (wall("AS RESTRICTIVE FOR SELECT USING (SOUND)"), "postgres-policy-absent", "orders"),
        (
            wall("AS RESTRICTIVE TO tenantry_cross_tenant USING (SOUND) WITH CHECK (SOUND)"),
            "postgres-policy-absent",
            "orders",
        ),
    ])
    .collect();
    let mut cases: Vec<Case> = vec![
        ("ALTER TABLE orders DISABLE ROW LEVEL SECURITY", "postgres-row-security-off", "orders"),
        (
            "ALTER TABLE orders NO FORCE ROW LEVEL SECURITY",
            "postgres-row-security-not-forced",
            "orders",
        ),
        ("DROP POLICY tenantry_wall ON orders", "postgres-policy-absent", "orders"),
        ("DROP POLICY tenantry_base ON orders", "postgres-base-absent", "orders"),
        ("CREATE POLICY extra ON orders USING (true)", "postgres-policy-extra", "orders/extra"),
    ];
    let across = "postgres-cross-tenant-policy-absent";
    cases.extend([
        ("DROP POLICY tenantry_cross_tenant ON orders", across, "orders"),
        ("ALTER POLICY tenantry_cross_tenant ON orders TO tenantry_app", across, "orders"),
        ("ALTER POLICY tenantry_cross_tenant ON orders USING (id > 1)", across, "orders"),
        ("DROP POLICY tenantry_cross_tenant ON orders; CREATE POLICY tenantry_cross_tenant ON orders FOR UPDATE TO tenantry_cross_tenant USING (true)", across, "orders"),
        ("ALTER POLICY tenantry_wall ON orders TO PUBLIC", across, "orders"),
    ]);
    let walls: Vec<(&'static str, &str, &str)> =
        walls.into_iter().map(|(damage, code, object)| (&*damage.leak(), code, object)).collect();
    cases.extend(walls);
    Clinic::open().await.treat(&cases).await;
}

#[tokio::test]
async fn l06_l08_l31_keys_columns_indexes_and_references() {
    let cases: [Case; 48] = [
        ("ALTER TABLE orders DROP CONSTRAINT orders_pkey", "postgres-key-absent", "orders"),
        (
            "ALTER TABLE orders DROP CONSTRAINT orders_pkey; ALTER TABLE orders ADD PRIMARY KEY (id)",
            "postgres-key-not-per-organization",
            "orders",
        ),
        (
            "ALTER TABLE customers DROP CONSTRAINT customers_pkey CASCADE; ALTER TABLE customers ADD PRIMARY KEY (organization_id, id, name)",
            "postgres-key-differs",
            "customers",
        ),
        (
            "ALTER TABLE customers ADD CONSTRAINT customers_name UNIQUE (id)",
            "postgres-unique-not-per-organization",
            "customers/customers_name",
        ),
        (
            "CREATE UNIQUE INDEX customers_lower ON customers (lower(name || id))",
            "postgres-unique-not-per-organization",
            "customers/customers_lower",
        ),
        (
            "ALTER TABLE customers ADD CONSTRAINT apart EXCLUDE USING btree (id WITH =)",
            "postgres-unique-not-per-organization",
            "customers/apart",
        ),
        (
            "ALTER TABLE customers ADD CONSTRAINT apart EXCLUDE USING gist (int8range(organization_id, id, '[]') WITH &&)",
            "postgres-unique-not-per-organization",
            "customers/apart",
        ),
        (
            "ALTER TABLE customers ADD CONSTRAINT apart EXCLUDE USING btree (organization_id WITH =, name WITH =)",
            "unique-undeclared",
            "customers/apart",
        ),
        (
            "CREATE UNIQUE INDEX more ON customers (organization_id, name)",
            "unique-undeclared",
            "customers/more",
        ),
        ("ALTER TABLE orders DROP CONSTRAINT orders_email_key", "unique-absent", "orders"),
        ("DROP INDEX orders_placed_at_idx", "index-absent", "orders"),
        (
            "CREATE INDEX by_total ON orders (organization_id, total)",
            "postgres-index-not-leakproof",
            "orders/by_total",
        ),
        (
            "CREATE INDEX by_note ON orders (note)",
            "postgres-index-not-per-organization",
            "orders/by_note",
        ),
        (
            "ALTER TABLE orders DROP CONSTRAINT orders_customer_id_customers_fkey",
            "reference-absent",
            "orders/orders_customer_id_customers_fkey",
        ),
        (
            "ALTER TABLE customers ADD UNIQUE (id); ALTER TABLE orders ADD CONSTRAINT plain FOREIGN KEY (customer_id) REFERENCES customers (id)",
            "postgres-unique-not-per-organization",
            "customers/customers_id_key",
        ),
        (
            "ALTER TABLE customers ADD UNIQUE (id); ALTER TABLE orders ADD CONSTRAINT plain FOREIGN KEY (customer_id) REFERENCES customers (id)",
            "postgres-reference-not-per-organization",
            "orders/plain",
        ),
        (
            "ALTER TABLE orders DROP CONSTRAINT orders_customer_id_customers_fkey; ALTER TABLE orders ADD CONSTRAINT nulls FOREIGN KEY (organization_id, customer_id) REFERENCES customers ON DELETE SET NULL",
            "postgres-reference-nulls-tenant",
            "orders/nulls",
        ),
        (
            "ALTER TABLE orders DROP CONSTRAINT orders_customer_id_customers_fkey; ALTER TABLE orders ADD CONSTRAINT keeps FOREIGN KEY (organization_id, customer_id) REFERENCES customers",
            "postgres-reference-action",
            "orders/keeps",
        ),
        (
            "ALTER TABLE orders ALTER CONSTRAINT orders_customer_id_customers_fkey DEFERRABLE INITIALLY DEFERRED",
            "postgres-reference-deferred",
            "orders/orders_customer_id_customers_fkey",
        ),
        (
            "ALTER TABLE orders DROP CONSTRAINT orders_customer_id_customers_fkey; ALTER TABLE orders ADD CONSTRAINT late FOREIGN KEY (organization_id, customer_id) REFERENCES customers ON DELETE CASCADE NOT VALID",
            "postgres-reference-unvalidated",
            "orders/late",
        ),
        (
            "ALTER TABLE orders DROP CONSTRAINT orders_customer_id_customers_fkey; ALTER TABLE orders ADD CONSTRAINT crossed FOREIGN KEY (organization_id, customer_id) REFERENCES customers (id, organization_id) ON DELETE CASCADE",
            "postgres-reference-not-per-organization",
            "orders/crossed",
        ),
        (
            "ALTER TABLE customers ADD legacy bigint; ALTER TABLE customers ADD UNIQUE (organization_id, legacy); ALTER TABLE orders DROP CONSTRAINT orders_customer_id_customers_fkey; ALTER TABLE orders ADD CONSTRAINT other FOREIGN KEY (organization_id, customer_id) REFERENCES customers (organization_id, legacy) ON DELETE CASCADE",
            "reference-undeclared",
            "orders/other",
        ),
        (
            "RESET ROLE; ALTER TABLE orders DISABLE TRIGGER ALL",
            "postgres-reference-unenforced",
            "orders/orders_customer_id_customers_fkey",
        ),
        (
            "ALTER TABLE wide ADD FOREIGN KEY (big) REFERENCES genres",
            "reference-undeclared",
            "wide/wide_big_fkey",
        ),
        (
            "ALTER TABLE wide ADD FOREIGN KEY (organization_id, big) REFERENCES customers",
            "reference-undeclared",
            "wide/wide_organization_id_big_fkey",
        ),
        (
            "ALTER TABLE orders DROP CONSTRAINT orders_pkey; ALTER TABLE orders ALTER COLUMN organization_id DROP NOT NULL",
            "postgres-tenant-nullable",
            "orders.organization_id",
        ),
        (
            "ALTER TABLE orders ALTER COLUMN organization_id SET DEFAULT 1",
            "postgres-tenant-default",
            "orders.organization_id",
        ),
        (
            "ALTER TABLE orders DROP CONSTRAINT orders_organization_id_check",
            "postgres-tenant-unchecked",
            "orders.organization_id",
        ),
        (
            "ALTER TABLE orders DROP CONSTRAINT orders_organization_id_check; ALTER TABLE orders ADD CHECK (organization_id IS NOT NULL)",
            "postgres-tenant-unchecked",
            "orders.organization_id",
        ),
        (
            "ALTER TABLE orders DROP CONSTRAINT orders_customer_id_customers_fkey; DROP POLICY tenantry_wall ON orders; ALTER TABLE orders ALTER COLUMN organization_id TYPE numeric; CREATE POLICY tenantry_wall ON orders AS RESTRICTIVE USING (organization_id = (SELECT NULLIF(current_setting('tenantry.organization', true), '')::numeric)) WITH CHECK (organization_id = (SELECT NULLIF(current_setting('tenantry.organization', true), '')::numeric))",
            "postgres-tenant-type",
            "orders.organization_id",
        ),
        (
            "ALTER TABLE orders DROP COLUMN organization_id CASCADE",
            "postgres-tenant-column-absent",
            "orders.organization_id",
        ),
        (
            "ALTER TABLE genres ADD organization_id bigint",
            "postgres-global-with-tenant-column",
            "genres.organization_id",
        ),
        ("ALTER TABLE orders DROP COLUMN note", "column-absent", "orders.note"),
        (
            "ALTER TABLE orders ADD more bigint NOT NULL DEFAULT 1; ALTER TABLE orders ALTER more DROP DEFAULT",
            "column-required",
            "orders.more",
        ),
        ("ALTER TABLE orders ALTER email DROP NOT NULL", "column-nullability", "orders.email"),
        ("ALTER TABLE wide ALTER big SET NOT NULL", "column-nullability", "wide.big"),
        (
            "ALTER TABLE wide DROP big, ADD big bigint GENERATED ALWAYS AS (number + 1) STORED",
            "column-generated",
            "wide.big",
        ),
        ("ALTER TABLE orders ALTER total TYPE double precision", "column-storage", "orders.total"),
        (
            "ALTER TABLE wide ALTER at TYPE timestamp USING at AT TIME ZONE 'UTC'",
            "column-storage",
            "wide.at",
        ),
        (
            r#"ALTER TABLE orders ALTER email TYPE text COLLATE "default""#,
            "postgres-column-collation",
            "orders.email",
        ),
        (
            "CREATE SEQUENCE shared; ALTER TABLE orders ALTER id SET DEFAULT nextval('shared')",
            "postgres-shared-sequence",
            "orders.id",
        ),
        (
            "ALTER TABLE orders ALTER id ADD GENERATED BY DEFAULT AS IDENTITY",
            "postgres-shared-sequence",
            "orders.id",
        ),
        ("DROP TABLE orders", "table-absent", "orders"),
        (r#"DROP TABLE "Audit events""#, "table-absent", "Audit events"),
        (
            "ALTER TABLE orders RENAME TO hidden; CREATE VIEW orders WITH (security_invoker) AS SELECT * FROM hidden",
            "postgres-not-a-table",
            "orders",
        ),
        (
            "CREATE SCHEMA tenantry_app AUTHORIZATION tenantry_owner; CREATE TABLE tenantry_app.genres (id bigint); GRANT USAGE ON SCHEMA tenantry_app TO tenantry_app",
            "postgres-shadowed",
            "genres",
        ),
        (
            "ALTER TABLE staff DROP CONSTRAINT staff_team_teams_fkey",
            "reference-absent",
            "staff/staff_team_teams_fkey",
        ),
        ("DROP TABLE staff, teams", "table-absent", "teams"),
    ];
    let clinic = Clinic::open().await;
    // What drops rows has no rows to compare.
    let (lossy, kept): (Vec<Case>, Vec<Case>) = cases.into_iter().partition(|case| {
        case.1 == "table-absent" || case.0.contains("DROP COLUMN") || case.1 == "postgres-shadowed"
    });
    clinic.treat(&kept).await;
    for (damage, code, object) in lossy {
        let patient = clinic.patient().await;
        harm(&patient, damage).await;
        let report = clinic.look(&patient).await;
        let finding = find(&report, code, object).unwrap_or_else(|| panic!("{damage}\n{report}"));
        if finding.remedy().is_empty() {
            continue;
        }
        mend(&patient, finding).await;
        let second = clinic.look(&patient).await;
        assert!(find(&second, code, object).is_none() && second.is_safe(), "{damage}\n{second}");
    }
}

#[tokio::test]
async fn l03_l04_l05_l20_l21_objects_beside_the_tables() {
    let cases: [Case; 9] = [
        (
            "CREATE VIEW all_orders AS SELECT * FROM orders; GRANT SELECT ON all_orders TO tenantry_app",
            "postgres-view",
            "all_orders",
        ),
        (
            "CREATE VIEW inner_orders AS SELECT * FROM orders; CREATE VIEW all_orders AS SELECT * FROM inner_orders; GRANT SELECT ON all_orders TO PUBLIC",
            "postgres-view",
            "all_orders",
        ),
        (
            "CREATE MATERIALIZED VIEW old_orders AS SELECT * FROM orders; GRANT SELECT ON old_orders TO tenantry_app",
            "postgres-materialized-view",
            "old_orders",
        ),
        (
            "CREATE FUNCTION peek() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM orders'",
            "postgres-definer-function",
            "peek()",
        ),
        (
            "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN RETURN NEW; END'; REVOKE ALL ON FUNCTION touch() FROM PUBLIC; CREATE TRIGGER touch BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch()",
            "postgres-definer-function",
            "touch()",
        ),
        (
            "CREATE RULE copy AS ON INSERT TO orders DO ALSO SELECT 1",
            "postgres-rule",
            "orders/copy",
        ),
        (
            "RESET ROLE; CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE far (organization_id bigint) SERVER s; ALTER FOREIGN TABLE far OWNER TO tenantry_owner; GRANT SELECT ON far TO tenantry_app",
            "postgres-foreign-table",
            "far",
        ),
        (
            "CREATE TABLE refers (organization_id bigint, id bigint, FOREIGN KEY (id, organization_id) REFERENCES customers (organization_id, id) ON DELETE CASCADE)",
            "postgres-outside-reference",
            "refers/refers_id_organization_id_fkey",
        ),
        (
            "CREATE TABLE refers (organization_id bigint, id bigint, CONSTRAINT carries FOREIGN KEY (organization_id, id) REFERENCES customers (organization_id, id))",
            "postgres-outside-reference",
            "refers/carries",
        ),
    ];
    Clinic::open().await.treat(&cases).await;

    // What is not within the role's reach, or runs as its reader, is no finding.
    let clinic = Clinic::open().await;
    let patient = clinic.patient().await;
    operate(
        &patient,
        "CREATE VIEW fine WITH (security_invoker = true) AS SELECT * FROM orders;
         GRANT SELECT ON fine TO tenantry_app;
         CREATE VIEW hidden AS SELECT * FROM orders;
         CREATE MATERIALIZED VIEW old AS SELECT * FROM orders;
         CREATE FUNCTION plain() RETURNS bigint LANGUAGE sql AS 'SELECT 1';
         CREATE FUNCTION kept() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';
         REVOKE ALL ON FUNCTION kept() FROM PUBLIC;
         CREATE TABLE beside (id bigint)",
    )
    .await;
    let report = clinic.look(&patient).await;
    assert!(report.findings().iter().all(|f| f.code() == "postgres-server-leaks"), "{report}");
}

#[tokio::test]
async fn a_text_organization_of_another_collation_is_fatal_where_it_is_not_deterministic() {
    let schema = tables::schema(OrganizationKind::Text);
    for (collation, severity) in [("loose", Severity::Fatal), ("default", Severity::Warning)] {
        let database = Cluster::shared().database().await;
        database.run(OWNER, &schema.ddl(Dialect::Postgres).unwrap()).await;
        operate(
            &database,
            &format!(
                "CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level1', deterministic = false);
                 DROP POLICY tenantry_wall ON wide;
                 ALTER TABLE wide ALTER organization_id TYPE text COLLATE \"{collation}\";
                 CREATE POLICY tenantry_wall ON wide AS RESTRICTIVE USING (organization_id = (SELECT NULLIF(current_setting('tenantry.organization', true), ''))) WITH CHECK (organization_id = (SELECT NULLIF(current_setting('tenantry.organization', true), '')))"
            ),
        )
        .await;
        let look = async || inspect(&database.url(APPLICATION), &schema, &[]).await.unwrap();
        let report = look().await;
        let (code, object) = ("postgres-tenant-collation", "wide.organization_id");
        let finding = find(&report, code, object).unwrap_or_else(|| panic!("{report}"));
        assert_eq!(finding.severity(), severity);
        mend(&database, finding).await;
        assert!(look().await.findings().is_empty(), "{}", look().await);
    }
}

#[tokio::test]
async fn a_finding_is_accepted_by_code_and_object_and_an_idle_acceptance_is_found() {
    let clinic = Clinic::open().await;
    let patient = clinic.patient().await;
    operate(&patient, "CREATE TABLE beside (id bigint); GRANT SELECT ON beside TO PUBLIC").await;
    let accepted = [
        Acceptance::new("postgres-undeclared-table", "beside"),
        Acceptance::new("postgres-view", "gone"),
        Acceptance::new("sqlite-view", "of the other store"),
    ];
    let report = inspect(&patient.url(APPLICATION), &clinic.schema, &accepted).await.unwrap();
    assert_eq!(report.accepted().len(), 1);
    assert!(find(&report, "acceptance-unused", "gone").is_some());
    assert!(find(&report, "acceptance-unused", "of the other store").is_none());
}

#[tokio::test]
async fn who_is_not_let_in_learns_no_more_than_that() {
    let clinic = Clinic::open().await;
    let url = clinic.healthy.url(APPLICATION);
    for wrong in [
        url.replace(APPLICATION, "nobody_at_all"),
        url.replace(clinic.healthy.name(), "no_such_database"),
        clinic.healthy.url("with_password").replace('@', ":secret-word@"),
        format!("postgres://{APPLICATION}@127.0.0.1:1/nowhere"),
        "postgres://%%%".to_owned(),
    ] {
        let error = inspect(&wrong, &clinic.schema, &[]).await.unwrap_err();
        let text = format!("{error} {error:?} {:?}", std::error::Error::source(&error));
        assert!(!text.contains("secret-word") && !text.contains("nobody_at_all"), "{text}");
    }
}

#[tokio::test]
async fn partitions_are_those_of_the_declaration() {
    let code = "postgres-partitioning";
    let clinic = Clinic::open().await;
    for remainder in 0..3 {
        let name = format!("Audit events_p{remainder}");
        let object = format!("Audit events/{name}");
        for (damage, loses) in [
            (format!(r#"DROP TABLE "{name}""#), true),
            (format!(r#"ALTER TABLE "Audit events" DETACH PARTITION "{name}""#), false),
        ] {
            let patient = clinic.patient().await;
            let before = clinic.dump(&patient).await;
            operate(&patient, &damage).await;
            let report = clinic.look(&patient).await;
            let finding = find(&report, code, &object).unwrap_or_else(|| panic!("{report}"));
            assert_eq!(finding.severity(), Severity::Warning);
            operate(&patient, &finding.remedy().join(";\n")).await;
            let second = clinic.look(&patient).await;
            let open: Vec<&Finding> =
                second.findings().iter().filter(|f| f.code() != "postgres-server-leaks").collect();
            assert!(open.is_empty(), "{damage}\n{second}");
            // One that was detached comes back with its rows.
            assert!(loses || clinic.dump(&patient).await == before, "{damage}");
        }
    }
    let by_range = r#"DROP TABLE "Audit events"; CREATE TABLE "Audit events" ("ShopId" bigint, "Id" bigint, what text) PARTITION BY RANGE ("ShopId")"#;
    let by_another = r#"DROP TABLE "Audit events"; CREATE TABLE "Audit events" ("ShopId" bigint, "Id" bigint, what text) PARTITION BY HASH ("Id")"#;
    let plain = r#"DROP TABLE "Audit events"; CREATE TABLE "Audit events" ("ShopId" bigint, "Id" bigint, what text)"#;
    let more = r#"DROP TABLE "Audit events_p0"; CREATE TABLE p6 PARTITION OF "Audit events" FOR VALUES WITH (MODULUS 6, REMAINDER 0)"#;
    let undeclared = "DROP TABLE wide; CREATE TABLE wide (organization_id bigint, id uuid) PARTITION BY HASH (organization_id)";
    for (damage, object) in [
        (by_range, "Audit events"),
        (by_another, "Audit events"),
        (plain, "Audit events"),
        (more, "Audit events"),
        (undeclared, "wide"),
    ] {
        let patient = clinic.patient().await;
        operate(&patient, damage).await;
        let report = clinic.look(&patient).await;
        let finding = find(&report, code, object).unwrap_or_else(|| panic!("{damage}\n{report}"));
        assert!(finding.remedy().is_empty() && !finding.advice().is_empty());
    }
}

/// The rows are behind the wall: the cross-tenant role looks at them, where there is one.
#[tokio::test]
async fn rows_that_no_declaration_allows_are_counted() {
    let clinic = Clinic::open().await;
    let patient = clinic.patient().await;
    let open = async |across: bool| {
        let mut builder = tenantry::Database::builder();
        if across {
            builder = builder.cross_tenant_url(&patient.url(CROSS_TENANT));
        }
        let schema = tables::schema(OrganizationKind::Integer);
        let db = builder.connect(&patient.url(APPLICATION), schema).await;
        db.unwrap().doctor().await.unwrap()
    };
    let of_rows = |report: &Report| -> Vec<(String, String)> {
        let codes = ["tenant-value", "column-value", "reference-dangling"];
        let found = report.findings().iter().filter(|finding| codes.contains(&finding.code()));
        found.map(|finding| (finding.code().to_owned(), finding.object().to_owned())).collect()
    };
    assert!(of_rows(&open(true).await).is_empty());
    operate(
        &patient,
        "SET LOCAL session_replication_role = replica;
         ALTER TABLE customers DROP CONSTRAINT customers_organization_id_check;
         INSERT INTO customers VALUES (0, 1, 'nobody''s');
         INSERT INTO orders VALUES (1, 90, 77, 'ann90@x', 1, NULL, now()), (2, 90, 77, 'ann90@x', 1, NULL, now());
         ALTER TABLE wide DROP CONSTRAINT wide_status_check;
         INSERT INTO wide (organization_id, id, status, at) VALUES (1, gen_random_uuid(), 'lost', '12345-01-01')",
    )
    .await;
    let report = open(true).await;
    let mut found = of_rows(&report);
    found.sort();
    let expected = [
        ("column-value", "wide.at"),
        ("column-value", "wide.status"),
        ("reference-dangling", "orders/organization_id,customer_id"),
        ("tenant-value", "customers.organization_id"),
    ];
    assert_eq!(
        found,
        expected.map(|(code, object)| (code.to_owned(), object.to_owned())),
        "{report}"
    );
    let dangling = find(&report, "reference-dangling", "orders/organization_id,customer_id");
    assert!(dangling.unwrap().advice().starts_with("2 rows"), "{report}");
    assert!(of_rows(&open(false).await).is_empty());

    // What the role may not ask is no answer, and spoils no other.
    operate(&patient, "REVOKE SELECT ON customers FROM tenantry_cross_tenant").await;
    let less = of_rows(&open(true).await);
    assert_eq!(less.len(), 2, "{less:?}");
}

/// A database without tables lets statements through to none of them, and says all the same what is
/// wrong with the role.
#[tokio::test]
async fn l01_a_role_that_is_not_fit_is_refused_before_there_are_tables() {
    let database = Cluster::shared().database().await;
    let role = format!("unfit_{}", database.name());
    let name = database.name().to_owned();
    operate(&database, &format!("CREATE ROLE {role} LOGIN")).await;
    let open = async || {
        let roles = PostgresRoles::new().application(role.clone());
        let schema = tables::schema(OrganizationKind::Integer).postgres_roles(roles);
        tenantry::Database::connect(&database.url(&role), schema).await
    };
    open().await.unwrap();
    for (damage, code, remedy) in [
        (
            format!("ALTER ROLE {role} CREATEROLE"),
            "postgres-role-administers",
            format!("ALTER ROLE {role} NOCREATEROLE"),
        ),
        (
            format!("GRANT tenantry_owner TO {role}"),
            "postgres-role-member",
            format!("REVOKE tenantry_owner FROM {role}"),
        ),
        (
            format!("ALTER ROLE {role} IN DATABASE {name} SET tenantry.organization = '2'"),
            "postgres-organization-preset",
            format!("ALTER ROLE {role} IN DATABASE {name} RESET tenantry.organization"),
        ),
    ] {
        operate(&database, &damage).await;
        let error = open().await.unwrap_err();
        assert_eq!(error.kind(), tenantry::ErrorKind::Unconfigured);
        assert!(error.to_string().contains(code), "{error}");
        operate(&database, &remedy).await;
        open().await.unwrap();
    }
    // Another role than the schema's, and the owner itself.
    for role in [APPLICATION, OWNER] {
        let roles = PostgresRoles::new().application("somebody_else");
        let schema = tables::schema(OrganizationKind::Integer).postgres_roles(roles);
        let error = tenantry::Database::connect(&database.url(role), schema).await.unwrap_err();
        assert!(error.to_string().contains("postgres-role-other"), "{error}");
    }
    operate(&database, &format!("DROP ROLE {role}")).await;
}
