// A column is of a type that every store holds without loss.

use uuid::Uuid;

tenantry::tenant_table! {
    pub struct Refund in refunds {
        key id: Uuid,
        cents: i64,
    }
}

fn main() {}
