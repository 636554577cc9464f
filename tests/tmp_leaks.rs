#[path = "it/faults/mod.rs"]
mod faults;
#[path = "it/leaks/mod.rs"]
mod leaks;
