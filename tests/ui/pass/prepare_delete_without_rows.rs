// A prepared delete says which rows it means.

include!("../tables.rs");

fn prepared() -> PreparedDelete<Order, (Uuid,)> {
    Order::prepare_delete(|delete, (id,): (_,)| {
        let _: tenantry::query::Slot<Uuid> = id;
        delete.filter(orders::id.eq(id))
    })
}

fn main() {}
