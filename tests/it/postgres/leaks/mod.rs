//! The catalogue of leaks on this store: the same tests, over a fixture with the same names.

pub(super) mod fixture;

#[path = "../../leaks/cursors.rs"]
mod cursors;
#[path = "../../leaks/forged.rs"]
mod forged;
#[path = "../../leaks/joints.rs"]
mod joints;
#[path = "../../leaks/keys.rs"]
mod keys;
#[path = "../../leaks/meaning.rs"]
mod meaning;
#[path = "../../leaks/neighbours.rs"]
mod neighbours;
#[path = "../../leaks/queue.rs"]
mod queue;
#[path = "../../leaks/scopes.rs"]
mod scopes;
#[path = "../../leaks/statements.rs"]
mod statements;
