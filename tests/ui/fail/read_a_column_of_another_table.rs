// A projection is of the tables that the statement reads.

include!("../tables.rs");

async fn names(scope: &TenantScope, db: &Database) -> Result<usize> {
    let rows = Order::select(scope)
        .columns((orders::id, customers::name))
        .fetch_all(db)
        .await?;
    Ok(rows.len())
}

fn main() {}
