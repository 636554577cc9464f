//! What only PostgreSQL has: roles, policies, and a server to lose.

pub mod cluster;
mod conflicts;
mod contract;
mod doctor;
mod dump;
mod example;
mod faults;
mod harness;
mod leaks;
mod pooler;
mod proxy;
mod tables;
mod trips;
mod wall;
pub mod world;
