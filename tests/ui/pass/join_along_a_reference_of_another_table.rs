// A join goes along a reference of a table that the statement reads.

include!("../tables.rs");

async fn pairs(scope: &TenantScope, db: &Database) -> Result<usize> {
    let rows = Employee::select(scope).join(employees::boss).fetch_all(db).await?;
    Ok(rows.len())
}

fn main() {}
