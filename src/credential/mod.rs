//! Credentials at rest: the data keys of organizations, and what is sealed under them.

mod keys;

pub use keys::{
    KeyAccess, KeyEpoch, KeySet, KeyState, KeyStore, Keys, KeysBuilder, MemoryKeyStore, Sealed,
    StoredKey,
};
