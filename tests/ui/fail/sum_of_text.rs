// Text has no sum.

include!("../tables.rs");

async fn total(scope: &TenantScope, db: &Database) -> Result<usize> {
    let sum = Order::select(scope).aggregate(orders::email.sum()).fetch_one(db).await?;
    Ok(usize::from(sum.is_some()))
}

fn main() {}
