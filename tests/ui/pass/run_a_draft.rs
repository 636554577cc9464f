// A draft cannot run; what `prepare` returns can.

include!("../tables.rs");

async fn large(scope: &TenantScope, db: &Database) -> Result<Vec<Order>> {
    let prepared = Order::prepare(|q, (min,): (_,)| q.filter(orders::total_cents.gt(min)));
    prepared.fetch_all(scope, (100,), db).await
}

fn main() {}
