// A read by key says whose row it reads.

include!("../tables.rs");

async fn order(scope: &TenantScope, id: Uuid, db: &Database) -> Result<Option<Order>> {
    let _ = scope;
    Order::find(scope, id).fetch_optional(db).await
}

fn main() {}
