//! Prints what a migration for PostgreSQL needs, for review: `cargo run --example postgres_ddl`.
//!
//! With `--after TABLE …`, what is missing where those tables exist already.

use tenantry::table::{Dialect, PostgresRoles, Schema};

tenantry::tenant_table! {
    /// A customer.
    #[derive(Debug)]
    pub(crate) struct Customer in customers {
        key id: uuid::Uuid,
        email: String,
    }
    unique (email);
}

tenantry::tenant_table! {
    /// An order.
    #[derive(Debug)]
    pub(crate) struct Order in orders {
        key id: uuid::Uuid,
        customer_id: uuid::Uuid => customers,
        placed_at: time::OffsetDateTime,
    }
    index (placed_at);
    partitions 4;
}

tenantry::global_table! {
    /// A currency that all organizations read.
    #[derive(Debug)]
    pub(crate) struct Currency in currencies {
        key code: String,
        decimals: i16,
    }
}

fn main() -> tenantry::Result<()> {
    let existing: Vec<String> = std::env::args().skip(1).filter(|word| word != "--after").collect();
    let schema = Schema::new()
        .tenant::<Customer>()
        .tenant::<Order>()
        .global::<Currency>()
        .postgres_roles(PostgresRoles::new().application("shop_web"));

    println!("-- Once for a server, by its administrator; passwords follow.");
    for statement in schema.roles().ddl() {
        println!("{statement};");
    }
    println!("\n-- One migration, as `{}`, in one transaction.", schema.roles().owner_name());
    let is_there = |name: &str| existing.iter().any(|table| table == name);
    for statement in schema.missing_ddl(Dialect::Postgres, is_there)? {
        println!("{statement};");
    }
    Ok(())
}
