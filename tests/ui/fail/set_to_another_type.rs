// A column is set to its own type.

include!("../tables.rs");

async fn reprice(scope: &TenantScope, id: Uuid, db: &Database) -> Result<u64> {
    Order::update(scope).set(orders::total_cents, 1.5).key(id).execute(db).await
}

fn main() {}
