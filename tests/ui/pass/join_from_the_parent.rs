// From the parent, a join says so.

include!("../tables.rs");

async fn pairs(scope: &TenantScope, db: &Database) -> Result<usize> {
    let rows = Customer::select(scope).left_join_from(orders::customer_id).fetch_all(db).await?;
    Ok(rows.len())
}

fn main() {}
