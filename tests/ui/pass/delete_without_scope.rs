// A delete says whose rows it removes.

include!("../tables.rs");

async fn cancel(scope: &TenantScope, id: Uuid, db: &Database) -> Result<u64> {
    let _ = scope;
    Order::delete(scope).key(id).execute(db).await
}

fn main() {}
