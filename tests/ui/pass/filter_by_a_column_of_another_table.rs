// A filter is about the tables that the statement reads.

include!("../tables.rs");

async fn orders_of_ann(scope: &TenantScope, db: &Database) -> Result<usize> {
    let rows = Order::select(scope)
        .join(orders::customer_id)
        .filter(customers::name.eq("Ann"))
        .fetch_all(db)
        .await?;
    Ok(rows.len())
}

fn main() {}
