//! The integration suite: one binary.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::expect_used,
    clippy::future_not_send,
    clippy::indexing_slicing,
    clippy::large_enum_variant,
    clippy::only_used_in_recursion,
    clippy::panic,
    clippy::unnecessary_unwrap,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "tests stop at the first surprise, and stage raw SQL around the crate"
)]

mod contract;
#[cfg(all(unix, feature = "files"))]
mod credential_files;
mod credentials;
mod example;
mod faults;
mod leaks;
mod opinion;
mod oracle;
mod plans;
#[cfg(feature = "postgres")]
mod postgres;
mod tenancy;
mod ui;
