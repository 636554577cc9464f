// A key is of its own type.

include!("../tables.rs");

async fn order(scope: &TenantScope, id: Uuid, db: &Database) -> Result<Option<Order>> {
    Order::find(scope, id.to_string()).fetch_optional(db).await
}

fn main() {}
