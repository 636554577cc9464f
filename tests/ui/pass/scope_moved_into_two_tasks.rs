// Two tasks hold a scope each.

include!("../tables.rs");

fn spawn(scope: TenantScope, db: Database) {
    let (again, theirs) = (db.clone(), scope.clone());
    tokio::spawn(async move { Order::select(&scope).count(&db).await });
    tokio::spawn(async move { Customer::select(&theirs).count(&again).await });
}

fn main() {}
