// A draft exists inside its closure alone.

include!("../tables.rs");

fn prepared() -> Prepared<Order, (i64,)> {
    let mut stolen = None;
    Order::prepare(|q, (min,): (_,)| {
        stolen = Some(q.draft::<Order>());
        q.filter(orders::total_cents.gt(min))
    })
}

fn main() {}
