//! The integration suite: one binary.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests stop at the first surprise, and stage raw SQL around the crate"
)]

mod contract;
mod example;
mod faults;
mod leaks;
mod oracle;
mod ui;
