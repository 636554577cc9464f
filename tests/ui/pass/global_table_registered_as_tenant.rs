// A global table is registered as one.

include!("../tables.rs");

fn schema() -> Schema {
    Schema::new().global::<Genre>()
}

fn main() {}
