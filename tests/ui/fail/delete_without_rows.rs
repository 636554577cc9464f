// A delete says which rows it means.

include!("../tables.rs");

async fn cancel(scope: &TenantScope, id: Uuid, db: &Database) -> Result<u64> {
    let _ = id;
    Order::delete(scope).execute(db).await
}

fn main() {}
