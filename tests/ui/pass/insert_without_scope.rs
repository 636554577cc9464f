// An insert says whose row it becomes.

include!("../tables.rs");

async fn place(scope: &TenantScope, order: Order, db: &Database) -> Result<u64> {
    let _ = scope;
    Order::insert(scope, order).execute(db).await
}

fn main() {}
