//! A database that was made for one organization is refused, with what to do about it.
//!
//! ```text
//! cargo run --example existing_database
//! ```
//!
//! Chinook is an ordinary SQLite database: no column says whose a row is, and its keys hold for the
//! whole table. The example does what a newcomer does first: it declares some of those tables as
//! they stand, with their own names in quotes, and opens the file. The doctor looks at the file
//! before any statement may run, and the opening fails with each finding and its remedy.
//!
//! The exit status is 0 if the file was refused, and 1 if it was opened.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use rust_decimal::Decimal;
use tenantry::table::Schema;
use tenantry::{Database, ErrorKind};

tenantry::tenant_table! {
    #[derive(Debug, Clone, PartialEq)]
    pub(crate) struct Customer in customers = "Customer" {
        key id: i64 = "CustomerId",
        first_name: String = "FirstName",
        last_name: String = "LastName",
        email: String = "Email",
    }
    tenant organization_id;
    unique (email);
}

tenantry::tenant_table! {
    #[derive(Debug, Clone, PartialEq)]
    pub(crate) struct Invoice in invoices = "Invoice" {
        key id: i64 = "InvoiceId",
        customer_id: i64 = "CustomerId" => customers,
        total: Decimal as scale 2 = "Total",
    }
    tenant organization_id;
}

tenantry::global_table! {
    #[derive(Debug, Clone, PartialEq)]
    pub(crate) struct Genre in genres = "Genre" {
        key id: i64 = "GenreId",
        name: Option<String> = "Name",
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("FAILED: the example could not go on: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<ExitCode, Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("chinook.sqlite");
    let original = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/chinook.sqlite");
    std::fs::write(&file, std::fs::read(original)?)?;

    println!("Opening Chinook, a database made for one organization, with three of its tables");
    println!("declared: Customer and Invoice as tenant-owned, Genre as global.\n");
    let schema = Schema::new().tenant::<Customer>().tenant::<Invoice>().global::<Genre>();
    let url = format!("sqlite://{}", file.display());
    match Database::connect(&url, schema).await {
        Ok(_) => {
            println!("NOT REFUSED: the file was opened, although no row says whose it is.");
            Ok(ExitCode::FAILURE)
        }
        Err(error) if error.kind() == ErrorKind::Unconfigured => {
            println!("Refused ({}): {error}\n", error.kind());
            println!(
                "No statement has run. Mend what is fatal, or accept a finding by its code and object"
            );
            println!("with `Database::builder().accept(code, object)`, and open the file again.");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Err(error.into()),
    }
}
