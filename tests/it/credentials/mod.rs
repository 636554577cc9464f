//! Credentials end to end: two organizations with the same providers, labels and tokens, in every
//! store.

mod cancel;
mod contract;
mod crash;
mod crash_within;
mod example;
mod hostile;
#[cfg(all(unix, feature = "files"))]
mod hostile_files;
mod keks;
mod leaks;
mod model;
mod raw;
mod rotation;
mod sealed_columns;
mod search;
mod shred;
mod stepping;
mod two_world;
pub(crate) mod world;
