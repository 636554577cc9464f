// `and` joins conditions on one table, `all` on several.

include!("../tables.rs");

async fn orders_of_ann(scope: &TenantScope, db: &Database) -> Result<i64> {
    Order::select(scope)
        .join(orders::customer_id)
        .filter(all((orders::total_cents.gt(0), customers::name.eq("Ann"))))
        .count(db)
        .await
}

fn main() {}
