//! What only PostgreSQL has: roles, policies, and a server to lose.

mod alone;
pub mod cluster;
mod contract;
mod doctor;
mod example;
mod faults;
mod harness;
mod pooler;
mod proxy;
mod tables;
mod trips;
mod wall;
pub mod world;
