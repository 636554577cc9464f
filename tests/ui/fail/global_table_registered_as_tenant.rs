// A global table is registered as one.

include!("../tables.rs");

fn schema() -> Schema {
    Schema::new().tenant::<Genre>()
}

fn main() {}
