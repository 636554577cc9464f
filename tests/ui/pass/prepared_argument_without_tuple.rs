// One argument is a tuple of one.

include!("../tables.rs");

async fn found(
    prepared: &Prepared<Order, (i64,)>,
    scope: &TenantScope,
    db: &Database,
) -> Result<Vec<Order>> {
    prepared.fetch_all(scope, (100,), db).await
}

fn main() {}
