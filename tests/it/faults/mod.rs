//! Bad input, store faults, crashes and cancellation.

mod cancel;
mod crash;
mod errors;
mod input;
mod sheet;
mod store;
