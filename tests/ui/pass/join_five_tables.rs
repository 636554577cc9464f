// A statement joins at most four tables.

include!("../tables.rs");

async fn chain(scope: &TenantScope, db: &Database) -> Result<i64> {
    Employee::select(scope)
        .join(employees::boss)
        .join(employees::boss.at(Second))
        .join(employees::boss.at(tenantry::table::Third))
        .count(db)
        .await
}

fn main() {}
