// A statement borrows a transaction mutably.

include!("../tables.rs");

async fn orders_of(scope: &TenantScope, db: &Database) -> Result<Vec<Order>> {
    let mut tx = db.begin(scope).await?;
    let rows = Order::select(scope).fetch_all(&mut tx).await?;
    tx.savepoint().await?.release().await?;
    tx.commit().await?;
    Ok(rows)
}

fn main() {}
