// A transaction that nobody holds is rolled back.
#![deny(unused_must_use)]

include!("../tables.rs");

async fn work(scope: &TenantScope, db: &Database) -> Result<()> {
    db.begin(scope).await?;
    Ok(())
}

fn main() {}
