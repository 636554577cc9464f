//! The data keys of organizations.

mod store;

pub use store::{KeyAccess, KeyEpoch, KeySet, KeyState, KeyStore, StoredKey};
