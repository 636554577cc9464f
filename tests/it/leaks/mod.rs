//! The catalogue of leaks, one test and more for each number that applies; docs/leaks.md has the
//! whole list. All but what SQLite itself may do (`stores`) and what no store is asked for
//! (`surface`) runs on PostgreSQL too, over a fixture with the same names: tests/it/postgres/leaks.

mod cursors;
pub(crate) mod fixture;
mod forged;
mod joints;
mod keys;
mod meaning;
mod neighbours;
mod queue;
mod scopes;
mod statements;
mod stores;
mod surface;
