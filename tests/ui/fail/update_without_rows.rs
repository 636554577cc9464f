// An update says which rows it means.

include!("../tables.rs");

async fn forget_notes(scope: &TenantScope, db: &Database) -> Result<u64> {
    Order::update(scope).set(orders::note, None).execute(db).await
}

fn main() {}
