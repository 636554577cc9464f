//! Secrets in memory, keys, and the sealed forms of what is stored or leaves the process.
//!
//! The formats stand in [the chapter on credentials](crate::manual::credentials).

mod blind;
pub mod conformance;
mod context;
mod envelope;
mod kek;
mod key;
mod message;
mod sealed;
mod secret;
mod tlv;

pub use blind::BlindIndex;
pub use context::{SealContext, SecretKind};
pub(crate) use envelope::{Envelope, SealFault, seal};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) use envelope::{SEALED_LENGTH, SEALED_PREFIX};
#[cfg(feature = "aws-kms")]
pub use kek::AwsKms;
pub use kek::{
    FallbackUnwrap, KekId, KeyDestruction, KeyProvider, LocalKeyring, WrapContext, WrapPurpose,
    WrappedKey,
};
#[cfg(feature = "vault-transit")]
pub use kek::{VaultTransit, VaultTransitBuilder};
pub(crate) use key::PurposeKeys;
pub use key::{KeyCheckValue, KeyId, KeyOwner};
pub use sealed::KeyRing;
pub(crate) use sealed::Unopened;
pub(crate) use secret::random_uuid;
pub use secret::{AccessToken, ClientSecret, DataKey, RefreshToken, SecretBytes, WebhookSecret};

#[cfg(test)]
mod peer_tests;
