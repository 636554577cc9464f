// A read of every organization takes an authority.

include!("../tables.rs");

async fn everything(authority: &ambient::CrossTenantAuthority, db: &Database) -> Result<usize> {
    let _ = authority;
    Ok(Order::select_across(authority).fetch_all(db).await?.len())
}

fn main() {}
