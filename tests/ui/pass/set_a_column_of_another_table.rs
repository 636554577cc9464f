// An update sets columns of its own table.

include!("../tables.rs");

async fn rename(scope: &TenantScope, id: Uuid, db: &Database) -> Result<u64> {
    Customer::update(scope).set(customers::name, "Ann").key(id).execute(db).await
}

fn main() {}
