//! Data keys: whose they are, how they are named and recognised.

use std::fmt;

use subtle::ConstantTimeEq;
use uuid::Uuid;

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

impl KeyId {
    /// A fresh name.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
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

impl fmt::Debug for KeyCheckValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyCheckValue([redacted])")
    }
}
