// A column is compared with its own type.

include!("../tables.rs");

async fn orders_of(scope: &TenantScope, db: &Database) -> Result<Vec<Order>> {
    Order::select(scope).filter(orders::total_cents.gt("100")).fetch_all(db).await
}

fn main() {}
