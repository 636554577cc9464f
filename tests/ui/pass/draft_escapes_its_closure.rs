// A draft exists inside its closure alone.

include!("../tables.rs");

fn prepared() -> Prepared<Order, (i64,)> {
    Order::prepare(|q, (min,): (_,)| q.filter(orders::total_cents.gt(min)))
}

fn main() {}
