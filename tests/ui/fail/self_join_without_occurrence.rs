// Where a table occurs twice, a column says which occurrence it means.

include!("../tables.rs");

async fn under_ann(scope: &TenantScope, db: &Database) -> Result<Vec<(Employee, Employee)>> {
    Employee::select(scope)
        .join(employees::boss)
        .filter(employees::name.eq("Ann"))
        .fetch_all(db)
        .await
}

fn main() {}
