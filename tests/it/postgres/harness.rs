//! The harness itself.

use std::path::Path;

use sqlx::postgres::PgConnectOptions;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection, Row as _,
};

use super::cluster::{
    APPLICATION, CROSS_TENANT, Cluster, MISSING, OWNER, WITH_PASSWORD, installation, newest,
    version,
};

#[tokio::test]
async fn every_test_has_a_database_of_its_own() {
    let cluster = Cluster::shared();
    let (one, other) = (cluster.database().await, cluster.database().await);
    one.run(OWNER, &["CREATE TABLE marks (n bigint)", "INSERT INTO marks VALUES (1)"]).await;
    let copy = cluster.copy_of(&one).await;

    let count = "SELECT count(*) FROM marks";
    assert_eq!(copy.connect(OWNER).await.fetch_one(count).await.unwrap().get::<i64, _>(0), 1);
    assert!(other.connect(OWNER).await.fetch_one(count).await.is_err());
    let who = AssertSqlSafe("SELECT current_user::text");
    let row = one.connect(APPLICATION).await.fetch_one(who).await.unwrap();
    assert_eq!(row.get::<String, _>(0), APPLICATION);
}

/// Of several that are installed, or the one that `TENANTRY_POSTGRES` names.
#[tokio::test]
async fn the_server_is_of_the_installation_that_was_chosen() {
    let database = Cluster::shared().database().await;
    let number = database.server_version().await;
    assert_eq!(u32::try_from(number / 10_000).unwrap(), version(&installation()));
}

#[tokio::test]
async fn a_server_can_be_stopped_and_leaves_nothing_behind() {
    let cluster = Cluster::start(&["max_connections = 20"]);
    let directory = cluster.directory().to_owned();
    let database = cluster.database().await;
    let mut connection = database.connect(OWNER).await;
    cluster.control("kill");
    assert!(connection.execute("SELECT 1").await.is_err());
    cluster.control("start");
    database.connect(OWNER).await.execute("SELECT 1").await.unwrap();
    drop(database);
    drop(cluster);
    assert!(!Path::new(&directory).exists());
}

#[tokio::test]
async fn the_server_is_reached_through_pgbouncer_and_asks_one_role_for_its_password() {
    let cluster = Cluster::shared();
    let database = cluster.database().await;
    let through = database
        .url(CROSS_TENANT)
        .replace(&format!(":{}/", cluster.port()), &format!(":{}/", cluster.pgbouncer()));
    assert_ne!(through, database.url(CROSS_TENANT));
    let options: PgConnectOptions = through.parse().unwrap();
    // PgBouncer takes no parameter that it does not know.
    let mut connection = options.extra_float_digits(None).connect().await.unwrap();
    connection.execute("SELECT 1").await.unwrap();

    let url = database.url(WITH_PASSWORD);
    for (password, enters) in [("right", true), ("wrong", false)] {
        let url = url.replace('@', &format!(":{password}@"));
        assert_eq!(PgConnection::connect(&url).await.is_ok(), enters, "{password}");
    }
}

#[test]
fn a_machine_without_a_server_is_told_what_to_install() {
    assert_eq!(newest(vec!["/".into(), env!("CARGO_MANIFEST_DIR").into()]), None);
    assert!(MISSING.contains("apt-get install postgresql") && !MISSING.contains('\n'));
}
