// A borrowed transaction is borrowed again for each statement.

include!("../tables.rs");

async fn twice(scope: &TenantScope, tx: &mut Transaction) -> Result<i64> {
    let orders = Order::select(scope).count(tx).await?;
    let customers = Customer::select(scope).count(tx).await?;
    Ok(orders + customers)
}

fn main() {}
