// A run says where.

include!("../tables.rs");

async fn orders_of(scope: &TenantScope, db: &Database) -> Result<Vec<Order>> {
    let _ = db;
    Order::select(scope).fetch_all().await
}

fn main() {}
