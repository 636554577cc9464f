// The organization is the scope's, not a filter's.

include!("../tables.rs");

async fn orders_of(scope: &TenantScope, db: &Database) -> Result<Vec<Order>> {
    Order::select(scope).fetch_all(db).await
}

fn main() {}
