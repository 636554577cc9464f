// Sums in a `set` are for numbers.

include!("../tables.rs");

async fn bump(scope: &TenantScope, id: Uuid, db: &Database) -> Result<u64> {
    Order::update(scope)
        .set(orders::total_cents, 5)
        .set(orders::total_cents, orders::total_cents.add(1))
        .key(id)
        .execute(db)
        .await
}

fn main() {}
