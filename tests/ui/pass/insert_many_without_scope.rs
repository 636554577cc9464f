// A batch says whose rows it becomes.

include!("../tables.rs");

async fn place(scope: &TenantScope, rows: Vec<Order>, db: &Database) -> Result<u64> {
    let _ = scope;
    Order::insert_many(scope, rows).execute(db).await
}

fn main() {}
