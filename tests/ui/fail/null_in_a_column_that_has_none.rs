// A column without `Option` has no NULL.

include!("../tables.rs");

async fn forget(scope: &TenantScope, id: Uuid, db: &Database) -> Result<u64> {
    Order::update(scope).set(orders::email, None).key(id).execute(db).await
}

fn main() {}
