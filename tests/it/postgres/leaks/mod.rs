//! The catalogue of leaks on this store: the same tests, over a fixture with the same names.

mod fixture;

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
#[path = "../../leaks/statements.rs"]
mod statements;
