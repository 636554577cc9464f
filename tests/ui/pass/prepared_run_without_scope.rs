// A prepared read says at each run whose rows it reads.

include!("../tables.rs");

async fn large(
    prepared: &Prepared<Order, (i64,)>,
    scope: &TenantScope,
    db: &Database,
) -> Result<Vec<Order>> {
    let _ = scope;
    prepared.fetch_all(scope, (100,), db).await
}

fn main() {}
