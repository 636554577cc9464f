// A column is compared with columns of its own table; tables meet in a join.

include!("../tables.rs");

async fn pairs(scope: &TenantScope, db: &Database) -> Result<Vec<(Order, Customer)>> {
    Order::select(scope).join(orders::customer_id).fetch_all(db).await
}

fn main() {}
