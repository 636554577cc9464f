//! Temporary: the oracles by themselves.
#[path = "it/oracle/mod.rs"]
mod oracle;
