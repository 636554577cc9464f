// A key is never NULL.

use uuid::Uuid;

tenantry::tenant_table! {
    pub struct Refund in refunds {
        key id: Option<Uuid>,
        cents: i64,
    }
}

fn main() {}
