// Patterns are for text.

include!("../tables.rs");

async fn orders_of(scope: &TenantScope, db: &Database) -> Result<Vec<Order>> {
    Order::select(scope).filter(orders::email.like("1%")).fetch_all(db).await
}

fn main() {}
