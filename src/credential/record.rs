//! Credentials: what is said about one, and how one is stored.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use super::keys::KeyEpoch;
use crate::crypto::{KeyId, SealContext, SecretKind, random_uuid};
use crate::error::{Error, Result};

/// The name of a credential: 16 random bytes that are never used again.
///
/// It is no secret and no permission. In another organization it names nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct CredentialId(Uuid);

/// What is said about a credential that is to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a credential is kept by `credentials.put(…)`"]
pub struct NewCredential {
    pub(super) provider: String,
    pub(super) label: Option<String>,
}

/// What is said about a credential: everything but its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CredentialInfo {
    /// Its name.
    pub id: CredentialId,
    /// The provider that it is for.
    pub provider: String,
    /// What people call it.
    pub label: Option<String>,
    /// How often the secret was stored: 1 at first, one more with each replacement.
    pub version: u64,
    /// When it was first stored.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When its secret was last replaced.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

/// A credential as a [`CredentialStore`](super::CredentialStore) keeps it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredCredential {
    /// What is said about it.
    pub info: CredentialInfo,
    /// The data key under which the secret is sealed: `None` for a value that was there before
    /// sealing was.
    pub key: Option<KeyId>,
    /// The sealed secret.
    pub sealed: Vec<u8>,
}

/// Credentials as they stood at one moment, with the epoch of their organization's keys then.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Snapshot<T> {
    /// The epoch of the organization's keys.
    pub epoch: KeyEpoch,
    /// What was read.
    pub value: T,
}

/// How many values are sealed under one key, in one column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KeyUse {
    /// The table and column.
    pub column: Cow<'static, str>,
    /// The key: `None` for values that are not sealed, or not under a key of the organization's.
    #[serde(serialize_with = "as_text")]
    pub key: Option<KeyId>,
    /// How many values.
    pub count: u64,
}

/// How far a bulk re-sealing has come, as it is stored with the rows it has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checkpoint {
    /// The key under which it seals.
    pub target: KeyId,
    /// The last credential that it looked at.
    pub after: CredentialId,
    /// How many values it has sealed anew.
    pub resealed: u64,
    /// How many values it could not open, and left as they are.
    pub broken: u64,
}

/// One value that takes the place of another, if that still stands there.
#[derive(Clone)]
#[non_exhaustive]
pub struct Resealed {
    /// The credential.
    pub id: CredentialId,
    /// The stored value that was opened.
    pub from: Vec<u8>,
    /// The same secret, sealed anew.
    pub to: Vec<u8>,
    /// The key under which it is sealed now.
    pub key: KeyId,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Written {
    /// It is stored.
    Done,
    /// Nothing was written: the organization's keys are no longer those of the given epoch.
    KeysChanged,
    /// Nothing was written: what was to be changed is not, or no longer, as it was said to be.
    Moved,
}

impl CredentialId {
    pub(super) fn random() -> Result<Self> {
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

impl fmt::Display for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for CredentialId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let id = Uuid::try_parse(text).ok().map(Self);
        id.filter(|id| id.to_string() == text)
            .ok_or_else(|| Error::invalid("a credential's name is a hyphenated UUID"))
    }
}

impl NewCredential {
    /// A credential for a provider, named in 1 to 255 bytes.
    pub fn new(provider: impl Into<String>) -> Self {
        Self { provider: provider.into(), label: None }
    }

    /// What people call it.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }
}

impl CredentialInfo {
    /// What was stored about a credential.
    #[must_use]
    pub fn new(
        id: CredentialId,
        provider: String,
        label: Option<String>,
        version: u64,
        created_at: OffsetDateTime,
        updated_at: OffsetDateTime,
    ) -> Self {
        Self { id, provider, label, version, created_at, updated_at }
    }

    /// The place of the secret, to which it is bound.
    pub(super) fn context(&self) -> Result<SealContext<'_>> {
        let (id, kind) = (*self.id.as_uuid(), SecretKind::Credential);
        SealContext::new(kind, id, &self.provider, FIELD, self.version)
    }
}

impl StoredCredential {
    /// A credential that was stored.
    #[must_use]
    pub fn new(info: CredentialInfo, key: Option<KeyId>, sealed: Vec<u8>) -> Self {
        Self { info, key, sealed }
    }
}

impl<T> Snapshot<T> {
    /// What was read at one moment.
    #[must_use]
    pub fn new(epoch: KeyEpoch, value: T) -> Self {
        Self { epoch, value }
    }
}

impl KeyUse {
    /// A count.
    #[must_use]
    pub fn new(column: impl Into<Cow<'static, str>>, key: Option<KeyId>, count: u64) -> Self {
        Self { column: column.into(), key, count }
    }
}

impl Checkpoint {
    /// What was stored of a re-sealing.
    #[must_use]
    pub fn new(target: KeyId, after: CredentialId, resealed: u64, broken: u64) -> Self {
        Self { target, after, resealed, broken }
    }
}

impl fmt::Debug for StoredCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredCredential")
            .field("info", &self.info)
            .field("key", &self.key)
            .field("sealed", &format_args!("{} bytes", self.sealed.len()))
            .finish()
    }
}

impl fmt::Debug for Resealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resealed")
            .field("id", &self.id)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

fn as_text<S: serde::Serializer>(key: &Option<KeyId>, serializer: S) -> Result<S::Ok, S::Error> {
    key.map(|key| key.to_string()).serialize(serializer)
}

/// The part of a credential that is sealed, as its place names it.
const FIELD: &str = "secret";
