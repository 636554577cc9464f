// A statement runs on a Database, never on a raw pool.

include!("../tables.rs");

async fn orders_of(
    scope: &TenantScope,
    pool: &sqlx::SqlitePool,
    db: &Database,
) -> Result<Vec<Order>> {
    let _ = (pool, db);
    Order::select(scope).fetch_all(db).await
}

fn main() {}
