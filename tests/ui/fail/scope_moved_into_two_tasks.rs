// Two tasks hold a scope each.

include!("../tables.rs");

fn spawn(scope: TenantScope, db: Database) {
    let again = db.clone();
    tokio::spawn(async move { Order::select(&scope).count(&db).await });
    tokio::spawn(async move { Customer::select(&scope).count(&again).await });
}

fn main() {}
