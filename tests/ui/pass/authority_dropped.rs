// An authority does nothing until a door takes it.
#![deny(unused_must_use)]

include!("../tables.rs");

async fn everything(principal: tenantry::scope::Principal, db: &Database) -> Result<usize> {
    let authority = ambient::cross_tenant_authority("invoices", principal);
    Ok(Order::select_across(&authority).fetch_all(db).await?.len())
}

fn main() {}
