// A transaction belongs to one organization.

include!("../tables.rs");

async fn work(scope: &TenantScope, db: &Database) -> Result<()> {
    let _ = scope;
    db.begin().await?.commit().await
}

fn main() {}
