// Executors are the crate's own.

include!("../tables.rs");

struct Logged<'a>(&'a Database);

impl<'e> tenantry::database::Executor<'e> for &'e Logged<'e> {}

async fn logged(scope: &TenantScope, db: &Database) -> Result<i64> {
    Order::select(scope).count(&Logged(db)).await
}

fn main() {}
