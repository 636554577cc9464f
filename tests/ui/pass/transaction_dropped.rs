// A transaction that nobody holds is rolled back.
#![deny(unused_must_use)]

include!("../tables.rs");

async fn work(scope: &TenantScope, db: &Database) -> Result<()> {
    let tx = db.begin(scope).await?;
    tx.commit().await
}

fn main() {}
