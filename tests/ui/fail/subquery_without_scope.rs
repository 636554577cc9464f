// A subquery says whose rows it reads, too.

include!("../tables.rs");

async fn orders_of_ann(scope: &TenantScope, db: &Database) -> Result<Vec<Order>> {
    let anns = Customer::select().filter(customers::name.eq("Ann")).columns(customers::id);
    Order::select(scope).filter(orders::customer_id.in_subquery(anns)).fetch_all(db).await
}

fn main() {}
