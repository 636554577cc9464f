//! Credentials at rest: the data keys of organizations, and what is sealed under them.

mod keys;

pub mod conformance {
    //! What every [`KeyStore`](super::KeyStore) must do, as a function that tries it: for those who
    //! write one.
    //!
    //! It is not part of what semantic versioning promises: it becomes stricter.

    pub use super::keys::conformance::key_store;
}

pub use keys::{
    BlindIndexes, KeyAccess, KeyEpoch, KeySet, KeyState, KeyStore, Keys, KeysBuilder,
    MemoryKeyStore, Sealed, StoredKey,
};
