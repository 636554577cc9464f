// A join goes along a declared reference.

include!("../tables.rs");

async fn pairs(scope: &TenantScope, db: &Database) -> Result<usize> {
    let rows = Order::select(scope).join(orders::email).fetch_all(db).await?;
    Ok(rows.len())
}

fn main() {}
