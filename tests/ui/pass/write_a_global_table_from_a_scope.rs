// What every organization reads is not written from a scope.

include!("../tables.rs");

async fn add(
    scope: &TenantScope,
    authority: &ambient::CrossTenantAuthority,
    genre: Genre,
    db: &Database,
) -> Result<u64> {
    let _ = (scope, authority);
    Genre::insert_many_global(authority, [genre]).execute(db).await
}

fn main() {}
