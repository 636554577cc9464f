//! What only PostgreSQL has: roles, policies, and a server to lose.

pub mod cluster;
mod contract;
mod directory;
mod doctor;
mod example;
mod faults;
mod harness;
mod lost;
mod pooler;
mod proxy;
mod tables;
mod tls;
mod trips;
mod wall;
pub mod world;
