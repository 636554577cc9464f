//! Credentials at rest: the data keys of organizations, what is sealed under them, and files for
//! child processes that must find a credential in one.

pub mod conformance;
mod credentials;
#[cfg(all(unix, feature = "files"))]
mod directory;
#[cfg(all(unix, feature = "files"))]
mod files;
#[cfg(any(feature = "postgres", feature = "sqlite", all(unix, feature = "files")))]
mod key_form;
mod keys;
mod legacy;
mod memory;
mod opening;
#[cfg(all(unix, feature = "files"))]
mod private;
mod record;
mod rotation;
mod secret;
mod shred;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod sql;
mod store;
#[cfg(all(unix, feature = "files"))]
mod temporary;
mod value;
mod watched;

pub use credentials::{Credentials, CredentialsBuilder, OpenCredential};
#[cfg(all(unix, feature = "files"))]
pub use files::FileCredentialStore;
pub use keys::{
    BlindIndexes, KeyAccess, KeyEpoch, KeySet, KeyState, KeyStore, Keys, KeysBuilder,
    MemoryKeyStore, Sealed, StoredKey,
};
pub use legacy::{AesGcmLayout, ForeignAesGcm, LegacyFormat, Plaintext, misread};
pub use memory::MemoryCredentialStore;
pub use record::{
    Checkpoint, CredentialId, CredentialInfo, KeyUse, NewCredential, Resealed, Snapshot,
    StoredCredential, Written,
};
pub use rotation::{Reseal, ResealProgress, RotationStatus};
pub use secret::Secret;
pub use shred::{FileLedger, MemoryLedger, ShredGrade, ShredLedger};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use sql::SqlCredentialStore;
pub use store::CredentialStore;
#[cfg(all(unix, feature = "files"))]
pub use temporary::{TemporaryCredentialFile, TemporaryCredentials};
pub use value::SealedValue;
pub(crate) use value::{Bound, SealingKey};
