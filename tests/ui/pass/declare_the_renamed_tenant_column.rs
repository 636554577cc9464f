// A tenant column of another name is no field either.

use uuid::Uuid;

tenantry::tenant_table! {
    pub struct Refund in refunds {
        key id: Uuid,
        cents: i64,
    }
    tenant shop_id;
}

fn main() {}
