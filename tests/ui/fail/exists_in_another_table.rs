// `exists_in` reads the table that refers.

include!("../tables.rs");

async fn with_orders(scope: &TenantScope, db: &Database) -> Result<Vec<Customer>> {
    Customer::select(scope)
        .filter(orders::customer_id.exists_in(Employee::select(scope)))
        .fetch_all(db)
        .await
}

fn main() {}
