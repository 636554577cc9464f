// An update says whose rows it changes.

include!("../tables.rs");

async fn forget_notes(scope: &TenantScope, db: &Database) -> Result<u64> {
    let _ = scope;
    Order::update(scope).set(orders::note, None).all_rows().execute(db).await
}

fn main() {}
