//! Bad input, store faults, crashes and cancellation. All but what SQLite itself may do (`store`) runs
//! on PostgreSQL too: tests/it/postgres/faults.

mod cancel;
mod crash;
mod errors;
mod fixture;
mod gone;
mod input;
mod sheet;
mod store;
