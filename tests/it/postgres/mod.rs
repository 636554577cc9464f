//! What only PostgreSQL has: roles, policies, and a server to lose.

mod alone;
pub mod cluster;
mod conflicts;
mod contract;
mod directory;
mod doctor;
mod dump;
mod example;
mod faults;
mod harness;
mod leaks;
mod lost;
mod pooler;
mod proxy;
mod returning;
mod tables;
mod tls;
mod trips;
mod wall;
pub mod world;
