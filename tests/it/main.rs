//! The integration suite: one binary.

mod contract;
mod example;
mod ui;
