//! Organizations and members in PostgreSQL.

use std::sync::Arc;

use sqlx::{Connection as _, Row as _};
use tenantry::database::DatabaseBuilder;
use tenantry::database::doctor::inspect;
use tenantry::scope::Directory as _;
use tenantry::table::Dialect;
use tenantry::{Database, ErrorKind};

use super::cluster::{APPLICATION, CROSS_TENANT, Cluster, OWNER, TestDatabase};
use crate::tenancy::suite::{self, SCHEMA, World, authority, stories, user};

fn builder(database: &TestDatabase<'_>) -> DatabaseBuilder {
    Database::builder()
        .owner_url(&database.url(OWNER))
        .cross_tenant_url(&database.url(CROSS_TENANT))
        .allow_cross_tenant()
}

async fn world() -> World {
    let database = Arc::new(Cluster::shared().database().await);
    world_in(&database).await
}

async fn world_in(database: &Arc<TestDatabase<'static>>) -> World {
    let db = builder(database).connect(&database.url(APPLICATION), SCHEMA()).await;
    World::over(db.unwrap(), Arc::clone(database)).await
}

stories!(world);

#[tokio::test]
async fn without_the_cross_tenant_role_nothing_is_answered() {
    let database = Cluster::shared().database().await;
    database.run(OWNER, &SCHEMA().ddl(Dialect::Postgres).unwrap()).await;
    let db = Database::builder().allow_cross_tenant();
    let db = db.connect(&database.url(APPLICATION), SCHEMA()).await.unwrap();
    suite::answers_nothing(&db, authority(), ErrorKind::Unconfigured).await;
}

/// The application role's own wall stands in front of the directory, and the directory does not
/// lean on it: it asks as another role.
#[tokio::test]
async fn the_application_role_sees_the_members_of_one_organization() {
    let database = Arc::new(Cluster::shared().database().await);
    let world = world_in(&database).await;
    let mut application = database.connect(APPLICATION).await;
    for table in ["directory_organizations", "directory_members"] {
        let count = format!("SELECT count(*) FROM {table}");
        let mut counts = Vec::new();
        for organization in [String::new(), world.ours.to_string()] {
            let mut tx = application.begin().await.unwrap();
            sqlx::query("SELECT set_config('tenantry.organization', $1, true)")
                .bind(organization)
                .execute(&mut *tx)
                .await
                .unwrap();
            let row = sqlx::query(sqlx::AssertSqlSafe(count.clone())).fetch_one(&mut *tx).await;
            counts.push(row.unwrap().get::<i64, _>(0));
        }
        let own = if table == "directory_members" { 3 } else { 1 };
        assert_eq!(counts, [0, own], "{table}");
    }
    // With the wall of the application role shut, the directory still answers.
    database.run(OWNER, &["REVOKE ALL ON directory_members FROM tenantry_app"]).await;
    assert!(world.directory.membership(&user("ann"), &world.ours).await.unwrap().is_some());
    database.run(OWNER, &["REVOKE ALL ON directory_members FROM tenantry_cross_tenant"]).await;
    world.directory.membership(&user("ann"), &world.ours).await.unwrap_err();
    let refused = world.enter("ann", &world.ours).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_declared_lookup_is_wanted_and_no_other_index_over_all_organizations() {
    let database = Arc::new(Cluster::shared().database().await);
    world_in(&database).await;
    let url = database.url(APPLICATION);
    database
        .run(
            OWNER,
            &[
                "DROP INDEX directory_members_principal_kind_principal_id_lookup",
                "CREATE INDEX by_role ON directory_members (role)",
            ],
        )
        .await;
    let report = inspect(&url, &SCHEMA(), &[]).await.unwrap();
    for code in ["index-absent", "postgres-index-not-per-organization"] {
        let finding = report.findings().iter().find(|finding| finding.code() == code).unwrap();
        database.run(OWNER, finding.remedy()).await;
    }
    let report = inspect(&url, &SCHEMA(), &[]).await.unwrap();
    let indexes = report.findings().iter().filter(|finding| finding.code().contains("index"));
    assert_eq!(indexes.count(), 0, "{report}");
}
