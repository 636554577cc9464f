// A run gives each argument in its type.

include!("../tables.rs");

async fn found(
    prepared: &Prepared<Order, (String, i64)>,
    scope: &TenantScope,
    db: &Database,
) -> Result<Vec<Order>> {
    prepared.fetch_all(scope, ("ann@example.com", 100), db).await
}

fn main() {}
