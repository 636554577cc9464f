// No column is named like a system column of a store.

use uuid::Uuid;

tenantry::tenant_table! {
    pub struct Refund in refunds {
        key id: Uuid,
        rowid: i64 = "refund_rowid",
    }
}

fn main() {}
