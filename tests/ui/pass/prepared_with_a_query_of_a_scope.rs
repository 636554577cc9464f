// A draft's subquery is a draft.

include!("../tables.rs");

fn prepared(scope: &TenantScope) -> Prepared<Order, (i64,)> {
    let _ = scope;
    Order::prepare(|q, (min,): (_,)| q.filter(orders::total_cents.gt(min)))
}

fn main() {}
