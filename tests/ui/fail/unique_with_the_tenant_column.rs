// A unique is per organization without saying so.

use uuid::Uuid;

tenantry::tenant_table! {
    pub struct Refund in refunds {
        key id: Uuid,
        number: String,
    }
    unique (organization_id, number);
}

fn main() {}
