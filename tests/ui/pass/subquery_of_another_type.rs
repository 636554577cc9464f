// `in_subquery` reads a column of the same type.

include!("../tables.rs");

async fn orders_of_ann(scope: &TenantScope, db: &Database) -> Result<Vec<Order>> {
    let anns = Customer::select(scope).columns(customers::id);
    Order::select(scope).filter(orders::customer_id.in_subquery(anns)).fetch_all(db).await
}

fn main() {}
