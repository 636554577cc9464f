// A joined read says whose rows it reads.

include!("../tables.rs");

async fn pairs(scope: &TenantScope, db: &Database) -> Result<Vec<(Order, Customer)>> {
    let _ = scope;
    Order::select().join(orders::customer_id).fetch_all(db).await
}

fn main() {}
