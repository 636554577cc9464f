//! Data keys: whose they are, how they are named and recognised.

use std::fmt;

use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::context::SecretKind;
use super::secret::{DataKey, random_uuid};
use crate::error::{Error, Result};
use crate::id::OrganizationId;

/// Whose secrets a data key seals.
///
/// The platform is no organization with a reserved id: it has a tag of its own in everything that
/// is authenticated.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyOwner {
    /// An organization.
    Organization(OrganizationId),
    /// The program itself: client secrets of its own, webhook secrets that all organizations share.
    Platform,
}

/// The name of a data key: 16 random bytes, never used again.
///
/// It stands in clear before everything that is sealed under the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Uuid);

/// Eight bytes that are derived from a data key and stored beside it.
///
/// They tell a provider that answered with another key from a value that was edited, and help
/// nobody to find the key.
#[derive(Clone, Copy)]
pub struct KeyCheckValue([u8; 8]);

/// The key of one kind of secret, derived from a data key.
#[derive(Debug)]
pub(crate) struct PurposeKey(DataKey);

/// All keys that are derived from one data key, which is needed no more once they are.
#[derive(Debug)]
pub(crate) struct PurposeKeys {
    kinds: [PurposeKey; SecretKind::ALL.len()],
    index: PurposeKey,
}

impl KeyId {
    /// A fresh name.
    ///
    /// # Errors
    ///
    /// `Unavailable` where the operating system gives no random bytes.
    pub fn random() -> Result<Self> {
        random_uuid().map(Self)
    }

    /// The name that was stored.
    #[must_use]
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The name as it is stored.
    #[must_use]
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl KeyCheckValue {
    /// The value that was stored.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The value as it is stored.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }

    /// Compares in constant time.
    #[must_use]
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl DataKey {
    /// The value by which this key is recognised.
    ///
    /// ```text
    /// check = first 8 bytes of HKDF-Expand(data key, "kcv")
    /// ```
    ///
    /// # Errors
    ///
    /// `Internal` never happens: the lengths are those that the primitive has.
    pub fn check_value(&self) -> Result<KeyCheckValue> {
        let mut check = [0; 8];
        expand(self, b"kcv", &mut check)?;
        Ok(KeyCheckValue(check))
    }
}

impl PurposeKey {
    /// purpose key = HKDF-Expand(data key, purpose)
    fn derive(key: &DataKey, purpose: &str) -> Result<Self> {
        DataKey::fill(|okm| expand(key, purpose.as_bytes(), okm)).map(Self)
    }

    pub(super) fn expose_secret(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }
}

impl PurposeKeys {
    pub(crate) fn derive(key: &DataKey) -> Result<Self> {
        let [a, b, c, d] = SecretKind::ALL.map(|kind| PurposeKey::derive(key, kind.as_str()));
        Ok(Self { kinds: [a?, b?, c?, d?], index: PurposeKey::derive(key, "blind-index")? })
    }

    pub(crate) fn of(&self, kind: SecretKind) -> &PurposeKey {
        let [credential, export, file, webhook_secret] = &self.kinds;
        match kind {
            SecretKind::Credential => credential,
            SecretKind::Export => export,
            SecretKind::File => file,
            SecretKind::WebhookSecret => webhook_secret,
        }
    }

    pub(crate) fn index(&self) -> &PurposeKey {
        &self.index
    }
}

fn expand(key: &DataKey, info: &[u8], okm: &mut [u8]) -> Result<()> {
    Hkdf::<Sha256>::from_prk(key.expose_secret())
        .ok()
        .and_then(|hkdf| hkdf.expand(info, okm).ok())
        .ok_or_else(|| Error::internal("a key could not be derived"))
}

impl fmt::Debug for KeyCheckValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyCheckValue([redacted])")
    }
}
