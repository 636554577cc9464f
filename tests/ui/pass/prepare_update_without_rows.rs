// A prepared update says which rows it means.

include!("../tables.rs");

fn prepared() -> PreparedUpdate<Order, (Option<String>, Uuid)> {
    Order::prepare_update(|update, (note, id): (_, _)| {
        update.set(orders::note, note).filter(orders::id.eq(id))
    })
}

fn main() {}
