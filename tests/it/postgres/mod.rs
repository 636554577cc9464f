//! What only PostgreSQL has: roles, policies, and a server to lose.

pub mod cluster;
mod doctor;
mod example;
mod harness;
mod tables;
mod wall;
