// What every organization reads is not updated from a scope.

include!("../tables.rs");

async fn rename(
    scope: &TenantScope,
    authority: &ambient::CrossTenantAuthority,
    db: &Database,
) -> Result<u64> {
    let _ = (scope, authority);
    Genre::update(scope).set(genres::name, "Jazz").key(1).execute(db).await
}

fn main() {}
