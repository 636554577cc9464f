// A row type is declared before it is read.

include!("../tables.rs");

#[derive(Debug)]
pub struct Refund {
    pub id: Uuid,
    pub cents: i64,
}

fn schema() -> Schema {
    Schema::new().tenant::<Refund>()
}

fn main() {}
