// A read says whose rows it reads.

include!("../tables.rs");

async fn orders_of(scope: &TenantScope, db: &Database) -> Result<Vec<Order>> {
    let _ = scope;
    Order::select().fetch_all(db).await
}

fn main() {}
