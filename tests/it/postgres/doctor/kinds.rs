//! Organizations of every kind.

use tenantry::database::doctor::inspect;
use tenantry::id::OrganizationKind;
use tenantry::table::Dialect;

use super::super::cluster::{APPLICATION, Cluster, OWNER, SUPERUSER};
use super::super::tables;
use super::{find, harm, mend};

const KINDS: [(OrganizationKind, &str, &str, [&str; 2]); 3] = [
    (OrganizationKind::Integer, "bigint", "real", ["16777216", "16777217"]),
    (OrganizationKind::Text, "text", "varchar(3)", ["acme-1", "acme-2"]),
    (
        OrganizationKind::Uuid,
        "uuid",
        "char(1)",
        ["11111111-1111-4111-8111-111111111111", "1aaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"],
    ),
];

#[tokio::test]
async fn l17_l18_the_wall_of_every_kind_is_known_and_a_blurred_one_is_refused() {
    for (kind, sql_type, lossy, pair) in KINDS {
        let schema = tables::schema(kind);
        let database = Cluster::shared().database().await;
        database.run(OWNER, &schema.ddl(Dialect::Postgres).unwrap()).await;
        let rows = pair.map(|id| format!("INSERT INTO customers VALUES ('{id}', 1, 'Ann')"));
        database.run(SUPERUSER, &rows).await;
        let look = async || inspect(&database.url(APPLICATION), &schema, &[]).await.unwrap();
        let visible = async || -> i64 {
            let mut connection = database.connect(APPLICATION).await;
            let sql = format!("SET tenantry.organization = '{}'", pair[0]);
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
            sqlx::query_scalar("SELECT count(*) FROM customers")
                .fetch_one(&mut connection)
                .await
                .unwrap()
        };
        let report = look().await;
        let healthy = report.findings().iter().all(|f| f.code() == "postgres-server-leaks");
        assert!(healthy, "{kind:?}: {report}");
        assert_eq!(visible().await, 1, "{kind:?}");

        let setting = "NULLIF(current_setting('tenantry.organization', true), '')";
        let wall = format!("organization_id::{lossy} = (SELECT {setting}::{lossy})");
        harm(
            &database,
            &format!(
                "DROP POLICY tenantry_wall ON customers;
                 CREATE POLICY tenantry_wall ON customers AS RESTRICTIVE TO tenantry_app USING ({wall}) WITH CHECK ({wall})"
            ),
        )
        .await;
        assert_eq!(visible().await, 2, "{kind:?}: the damage is none");
        let (code, object) = ("postgres-policy-unreadable", "customers/tenantry_wall");
        let report = look().await;
        let finding = find(&report, code, object).unwrap_or_else(|| panic!("{kind:?}: {report}"));
        mend(&database, finding).await;
        assert_eq!(visible().await, 1, "{kind:?}");
        assert!(look().await.is_safe(), "{kind:?}");

        // Its column in another type.
        let other = if sql_type == "text" { "varchar(64)" } else { "text" };
        let cast = if kind == OrganizationKind::Text { "" } else { "::text" };
        harm(
            &database,
            &format!(
                "DROP POLICY tenantry_wall ON wide;
                 ALTER TABLE wide DROP CONSTRAINT wide_organization_id_check;
                 ALTER TABLE wide ALTER organization_id TYPE {other};
                 CREATE POLICY tenantry_wall ON wide AS RESTRICTIVE TO tenantry_app USING (organization_id = (SELECT {setting}{cast}))"
            ),
        )
        .await;
        for (code, object) in [
            ("postgres-tenant-type", "wide.organization_id"),
            ("postgres-tenant-unchecked", "wide.organization_id"),
        ] {
            let report = look().await;
            let found = find(&report, code, object).unwrap_or_else(|| panic!("{kind:?}: {report}"));
            mend(&database, found).await;
        }
        let report = look().await;
        let healthy = report.findings().iter().all(|f| f.code() == "postgres-server-leaks");
        assert!(healthy, "{kind:?}: {report}");
    }
}
