//! Asks the doctor about the database at a URL:
//!
//! ```sh
//! cargo run --example doctor -- sqlite://shop.db
//! cargo run --all-features --example doctor -- postgres://tenantry_app@localhost/shop --json
//! ```
//!
//! The exit status is 0 where nothing was found, 1 for warnings, 2 for fatal findings, 3 where
//! nobody could look. In a deployment, put your own schema here and run it after the migrations.

use std::process::ExitCode;

use tenantry::database::doctor::{self, Report};
use tenantry::table::Schema;

tenantry::tenant_table! {
    /// A customer.
    #[derive(Debug)]
    pub(crate) struct Customer in customers {
        key id: i64,
        name: String,
    }
}

tenantry::tenant_table! {
    /// An order.
    #[derive(Debug)]
    pub(crate) struct Order in orders {
        key id: i64,
        customer_id: i64 => customers,
        total_cents: i64,
    }
}

/// What to print, and the exit status.
pub(crate) async fn examine(url: &str, json: bool) -> (String, u8) {
    let schema = Schema::new().tenant::<Customer>().tenant::<Order>();
    match doctor::inspect(url, &schema, &[]).await {
        Ok(report) => (text(&report, json), status(&report)),
        Err(error) => (error.to_string(), 3),
    }
}

fn text(report: &Report, json: bool) -> String {
    if json { serde_json::to_string_pretty(report).unwrap_or_default() } else { report.to_string() }
}

fn status(report: &Report) -> u8 {
    match (report.is_safe(), report.findings().is_empty()) {
        (false, _) => 2,
        (true, false) => 1,
        (true, true) => 0,
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let json = arguments.iter().any(|word| word == "--json");
    let Some(url) = arguments.iter().find(|word| !word.starts_with("--")) else {
        eprintln!("usage: doctor URL [--json]");
        return ExitCode::from(3);
    };
    let (text, status) = examine(url, json).await;
    println!("{text}");
    ExitCode::from(status)
}
