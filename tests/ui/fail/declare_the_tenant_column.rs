// The tenant column is no field.

use uuid::Uuid;

tenantry::tenant_table! {
    pub struct Refund in refunds {
        key id: Uuid,
        organization_id: Uuid,
        cents: i64,
    }
}

fn main() {}
