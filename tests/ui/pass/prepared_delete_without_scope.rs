// A prepared delete says at each run whose rows it deletes.

include!("../tables.rs");

async fn forget(
    prepared: &PreparedDelete<Order, (Uuid,)>,
    scope: &TenantScope,
    id: Uuid,
    db: &Database,
) -> Result<u64> {
    let _ = scope;
    prepared.execute(scope, (id,), db).await
}

fn main() {}
