//! Credentials at rest: the data keys of organizations, what is sealed under them, and files for
//! child processes that must find a credential in one.

#[cfg(all(unix, feature = "files"))]
#[cfg_attr(not(test), expect(dead_code, reason = "the store of files stands on it"))]
mod directory;
mod keys;
#[cfg(all(unix, feature = "files"))]
mod private;
#[cfg(all(unix, feature = "files"))]
mod temporary;

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
#[cfg(all(unix, feature = "files"))]
pub use temporary::{TemporaryCredentialFile, TemporaryCredentials};
