// A statement does nothing until it is run.
#![deny(unused_must_use)]

include!("../tables.rs");

async fn cancel(scope: &TenantScope, id: Uuid, db: &Database) -> Result<u64> {
    Order::delete(scope).key(id);
    Order::select(scope).count(db).await.map(|rows| rows.unsigned_abs())
}

fn main() {}
