// A conflict is about columns of the table inserted into.

include!("../tables.rs");

async fn place(scope: &TenantScope, order: Order, db: &Database) -> Result<u64> {
    Order::insert(scope, order).on_conflict(orders::email).do_nothing().execute(db).await
}

fn main() {}
