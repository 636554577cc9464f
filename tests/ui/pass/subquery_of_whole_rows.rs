// `in_subquery` reads one column.

include!("../tables.rs");

async fn orders_of_ann(scope: &TenantScope, db: &Database) -> Result<Vec<Order>> {
    let anns = Customer::select(scope).filter(customers::name.eq("Ann")).columns(customers::id);
    Order::select(scope).filter(orders::customer_id.in_subquery(anns)).fetch_all(db).await
}

fn main() {}
