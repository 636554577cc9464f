// `exists_in` goes along a declared reference.

include!("../tables.rs");

async fn with_orders(scope: &TenantScope, db: &Database) -> Result<Vec<Customer>> {
    Customer::select(scope)
        .filter(orders::email.exists_in(Order::select(scope)))
        .fetch_all(db)
        .await
}

fn main() {}
