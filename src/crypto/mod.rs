//! Secrets in memory, and keyed boxes for what leaves the process and comes back.

mod sealed;
mod secret;

pub use sealed::KeyRing;
pub(crate) use sealed::Unopened;
pub use secret::SecretBytes;
