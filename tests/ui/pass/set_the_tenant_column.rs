// A row does not change its organization.

include!("../tables.rs");

async fn give_away(scope: &TenantScope, id: Uuid, db: &Database) -> Result<u64> {
    Order::update(scope).set(orders::note, "given away").key(id).execute(db).await
}

fn main() {}
