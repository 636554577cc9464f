// A borrowed transaction is borrowed again for each statement.

include!("../tables.rs");

async fn twice(scope: &TenantScope, tx: &mut Transaction) -> Result<i64> {
    let placed = Order::select(scope).count(&mut *tx).await?;
    let known = Customer::select(scope).count(tx).await?;
    Ok(placed + known)
}

fn main() {}
