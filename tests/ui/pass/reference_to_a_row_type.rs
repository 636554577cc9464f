// A reference names the table, as its columns do.

include!("../tables.rs");

tenantry::tenant_table! {
    pub struct Refund in refunds {
        key id: Uuid,
        order_id: Uuid => orders,
    }
}

fn main() {}
