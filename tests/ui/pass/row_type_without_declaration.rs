// A row type is declared before it is read.

include!("../tables.rs");

tenantry::tenant_table! {
    #[derive(Debug)]
    pub struct Refund in refunds {
        key id: Uuid,
        cents: i64,
    }
}

fn schema() -> Schema {
    Schema::new().tenant::<Refund>()
}

fn main() {}
