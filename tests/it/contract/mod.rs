//! The public contract. It runs on PostgreSQL too, over a fixture with the same names:
//! tests/it/postgres/contract.

mod fixture;
mod forms;
mod rows;
mod tables;
