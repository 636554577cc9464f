// A prepared update says at each run whose rows it changes.

include!("../tables.rs");

async fn note(
    prepared: &PreparedUpdate<Order, (Option<String>, Uuid)>,
    scope: &TenantScope,
    id: Uuid,
    db: &Database,
) -> Result<u64> {
    let _ = scope;
    prepared.execute(("late", id), db).await
}

fn main() {}
