// Patterns are for text.

include!("../tables.rs");

async fn orders_of(scope: &TenantScope, db: &Database) -> Result<Vec<Order>> {
    Order::select(scope).filter(orders::total_cents.like("1%")).fetch_all(db).await
}

fn main() {}
