// A transaction ends at its commit.

include!("../tables.rs");

async fn late(scope: &TenantScope, db: &Database) -> Result<i64> {
    let mut tx = db.begin(scope).await?;
    tx.commit().await?;
    Order::select(scope).count(&mut tx).await
}

fn main() {}
