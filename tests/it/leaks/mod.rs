//! The catalogue of leaks, one test and more for each number that applies; docs/leaks.md has the
//! whole list.

mod cursors;
pub(crate) mod fixture;
mod forged;
mod joints;
mod keys;
mod queue;
mod scopes;
mod statements;
mod stores;
mod surface;
