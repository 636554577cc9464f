// A global table has no tenant column.

tenantry::global_table! {
    pub struct Currency in currencies {
        key id: i64,
        code: String,
    }
}

fn main() {}
