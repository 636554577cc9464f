//! Credentials end to end: two organizations with the same providers, labels and tokens, in every
//! store.

mod contract;
mod crash;
mod example;
mod hostile;
mod leaks;
mod rotation;
mod search;
mod shred;
pub(crate) mod world;
