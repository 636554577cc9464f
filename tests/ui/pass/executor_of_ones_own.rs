// Executors are the crate's own.

include!("../tables.rs");

struct Logged<'a>(&'a Database);

impl Logged<'_> {
    fn database(&self) -> &Database {
        self.0
    }
}

async fn logged(scope: &TenantScope, db: &Database) -> Result<i64> {
    Order::select(scope).count(Logged(db).database()).await
}

fn main() {}
