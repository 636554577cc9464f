// An order is about the tables that the statement reads.

include!("../tables.rs");

async fn by_name(scope: &TenantScope, db: &Database) -> Result<usize> {
    let rows = Order::select(scope)
        .join(orders::customer_id)
        .order_by(customers::name.asc())
        .fetch_all(db)
        .await?;
    Ok(rows.len())
}

fn main() {}
