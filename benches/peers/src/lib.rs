//! tenantry beside its peers.
//!
//! `build` holds every way to build one statement, `world` the tables and the file that all peers
//! read, `measure` how runs are timed beside each other.

pub mod build;
pub mod measure;
pub mod rows;
pub mod sea;
pub mod ways;
pub mod world;
