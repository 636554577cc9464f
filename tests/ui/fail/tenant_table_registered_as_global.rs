// A tenant-owned table is registered as one.

include!("../tables.rs");

fn schema() -> Schema {
    Schema::new().global::<Order>().tenant::<Customer>()
}

fn main() {}
