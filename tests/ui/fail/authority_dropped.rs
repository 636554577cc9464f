// An authority does nothing until a door takes it.
#![deny(unused_must_use)]

include!("../tables.rs");

async fn everything(principal: tenantry::scope::Principal, db: &Database) -> Result<usize> {
    ambient::cross_tenant_authority("invoices", principal);
    db.ping().await?;
    Ok(0)
}

fn main() {}
