//! Organizations and members in SQLite; the same story on PostgreSQL is in `postgres/directory.rs`.

pub mod suite;

use tenantry::{Database, ErrorKind};

use suite::{SCHEMA, World, authority, stories};

async fn world() -> World {
    let db = Database::builder().allow_cross_tenant().connect("sqlite::memory:", SCHEMA());
    World::over(db.await.unwrap(), ()).await
}

stories!(world);

#[tokio::test]
async fn a_file_with_several_connections_keeps_an_owner() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("directory.db").display());
    let db = Database::builder().allow_cross_tenant().paranoid(true).connect(&url, SCHEMA());
    let world = World::over(db.await.unwrap(), folder).await;
    suite::two_owners_who_remove_each_other_leave_one(world).await;
}

#[tokio::test]
async fn a_database_that_accepts_no_authority_answers_nothing() {
    let db = Database::connect("sqlite::memory:", SCHEMA()).await.unwrap();
    db.create_tables().await.unwrap();
    suite::answers_nothing(&db, authority(), ErrorKind::Unconfigured).await;
}
