//! The integration suite: one binary.

mod contract;
