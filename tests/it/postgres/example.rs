//! The example `doctor`, against both stores.

use tenantry::id::OrganizationKind;
use tenantry::table::{Dialect, Schema};

use super::cluster::{APPLICATION, Cluster, OWNER};

#[path = "../../../examples/doctor.rs"]
#[expect(dead_code, reason = "the example is a program of its own too")]
mod program;

#[tokio::test]
async fn the_doctor_example_tells_by_its_exit_status() {
    let schema = Schema::new()
        .organizations(OrganizationKind::Uuid)
        .tenant::<program::Customer>()
        .tenant::<program::Order>();
    let database = Cluster::shared().database().await;
    let url = database.url(APPLICATION);
    let (text, status) = program::examine(&url, false).await;
    assert_eq!(status, 2, "TEMP is granted to everybody at first: {text}");

    database.run(OWNER, &schema.ddl(Dialect::Postgres).unwrap()).await;
    let (text, status) = program::examine(&url, true).await;
    assert_eq!(status, 0, "{text}");
    assert!(text.contains(r#""safe": true"#), "{text}");

    database.run(OWNER, &["DROP POLICY tenantry_wall ON orders"]).await;
    let (text, status) = program::examine(&url, false).await;
    assert!(status == 2 && text.contains("postgres-policy-absent"), "{text}");

    let (text, status) = program::examine("sqlite::memory:", false).await;
    assert!(status == 1 && text.contains("table-absent"), "{text}");
    assert_eq!(program::examine("mysql://localhost/shop", false).await.1, 3);
}
