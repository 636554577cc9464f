// A global write takes an authority.

include!("../tables.rs");

async fn add(
    authority: &ambient::CrossTenantAuthority,
    genre: Genre,
    db: &Database,
) -> Result<u64> {
    let _ = authority;
    Genre::insert_global(genre).execute(db).await
}

fn main() {}
