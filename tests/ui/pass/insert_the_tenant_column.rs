// A row does not say its organization; the scope does.

include!("../tables.rs");

async fn place(scope: &TenantScope, db: &Database) -> Result<u64> {
    let customer = Customer { id: Uuid::new_v4(), name: "Ann".into() };
    Customer::insert(scope, customer).execute(db).await
}

fn main() {}
