// A prepared update says which rows it means.

include!("../tables.rs");

fn prepared() -> PreparedUpdate<Order, (Option<String>, Uuid)> {
    Order::prepare_update(|update, (note, id): (_, _)| {
        let _: tenantry::query::Slot<Uuid> = id;
        update.set(orders::note, note)
    })
}

fn main() {}
