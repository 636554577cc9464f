// A scope is no authority.

include!("../tables.rs");

async fn add(
    scope: &TenantScope,
    authority: &ambient::CrossTenantAuthority,
    genre: Genre,
    db: &Database,
) -> Result<u64> {
    let _ = (scope, authority);
    Genre::insert_global(authority, genre).execute(db).await
}

fn main() {}
