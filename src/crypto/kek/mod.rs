//! Key-encryption keys (KEKs), and the [`KeyProvider`]s that hold them.

#[cfg(feature = "aws-kms")]
mod aws_kms;
mod fallback;
mod keyring;
#[cfg(feature = "vault-transit")]
mod vault_transit;
mod wrap;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

#[cfg(feature = "aws-kms")]
pub use aws_kms::AwsKms;
pub use fallback::FallbackUnwrap;
pub use keyring::LocalKeyring;
#[cfg(feature = "vault-transit")]
pub use vault_transit::{VaultTransit, VaultTransitBuilder};

use super::key::{KeyId, KeyOwner};
use super::secret::DataKey;
use super::tlv::{Tag, Tlv};
use crate::error::{Error, Result};
use crate::id::OrganizationId;

/// Holds key-encryption keys, and wraps data keys under them. Open: implement it for your own
/// key service.
///
/// ```text
/// wrap(kek, context, data key) -> wrapped key
/// unwrap(kek, context, wrapped key) -> data key
/// ```
///
/// The crate makes data keys itself, from the operating system's random bytes, so that a provider
/// that repeats or chooses them does not exist; and moving from one provider to another needs a
/// `wrap` of a key that exists.
///
/// # Contract
///
/// - [`id`](Self::id) MUST be the same in every process and at every start: it begins the id of
///   every KEK, and what was wrapped is found again by it.
/// - What was wrapped in one [`WrapContext`] MUST NOT unwrap in another, in whatever part they
///   differ. [`WrapContext::aad`] has all parts as bytes and [`WrapContext::pairs`] as texts, for a
///   key service that authenticates them.
/// - [`unwrap`](Self::unwrap) MUST use the KEK that the wrapped key names, and no other: trying
///   several keys is a fault.
/// - Errors MUST be `Unavailable` where asking again may help ([`Error::outage`]), `Unconfigured`
///   for a KEK that it does not have ([`KekId::unknown`]), and `Corrupt` for what does not unwrap
///   ([`WrappedKey::refused`]). None carries key bytes.
/// - [`destroy`](Self::destroy) MUST answer [`KeyDestruction::Destroyed`] only if nothing that the
///   provider wrapped for that organization can ever be unwrapped again, also from a backup.
///
/// # Clone
///
/// A provider is shared as it stands; it need not be `Clone`.
///
/// # Cancellation
///
/// Every method may be dropped at any await, and is given a limited time.
///
/// # Wrappers
///
/// A wrapper implements every method, and passes on the errors of what it wraps.
#[async_trait]
pub trait KeyProvider: fmt::Debug + Send + Sync + 'static {
    /// The name of this provider: the part of a [`KekId`] before the colon.
    fn id(&self) -> &str;

    /// Whether KEKs of the provider with this name are this one's to unwrap.
    fn serves(&self, provider: &str) -> bool;

    /// The KEK under which data keys are wrapped now.
    async fn active(&self) -> Result<KekId>;

    /// Wraps a data key under the active KEK.
    async fn wrap(&self, context: &WrapContext, key: &DataKey) -> Result<WrappedKey>;

    /// Unwraps a data key under the KEK that the wrapped key names.
    async fn unwrap(&self, context: &WrapContext, wrapped: &WrappedKey) -> Result<DataKey>;

    /// Wraps under the active KEK what was wrapped under any: `None` where it already is.
    async fn rewrap(
        &self,
        context: &WrapContext,
        wrapped: &WrappedKey,
    ) -> Result<Option<WrappedKey>>;

    /// Destroys the KEK of one organization, where organizations have one each.
    async fn destroy(&self, organization: &OrganizationId) -> Result<KeyDestruction>;
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<P: KeyProvider + ?Sized> KeyProvider for Arc<P> {
    fn id(&self) -> &str {
        (**self).id()
    }

    fn serves(&self, provider: &str) -> bool {
        (**self).serves(provider)
    }

    async fn active(&self) -> Result<KekId> {
        (**self).active().await
    }

    async fn wrap(&self, context: &WrapContext, key: &DataKey) -> Result<WrappedKey> {
        (**self).wrap(context, key).await
    }

    async fn unwrap(&self, context: &WrapContext, wrapped: &WrappedKey) -> Result<DataKey> {
        (**self).unwrap(context, wrapped).await
    }

    async fn rewrap(
        &self,
        context: &WrapContext,
        wrapped: &WrappedKey,
    ) -> Result<Option<WrappedKey>> {
        (**self).rewrap(context, wrapped).await
    }

    async fn destroy(&self, organization: &OrganizationId) -> Result<KeyDestruction> {
        (**self).destroy(organization).await
    }
}

/// The name of a key-encryption key, version included: `local:2026-01`.
///
/// The part before the first colon is the provider's [`id`](KeyProvider::id), the rest is the
/// provider's own. It is stored beside what is wrapped, and is no secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KekId(Box<str>);

/// A data key as it is stored: wrapped under a KEK.
///
/// `Debug` shows the KEK alone.
#[derive(Clone, PartialEq, Eq)]
pub struct WrappedKey {
    kek: KekId,
    bytes: Vec<u8>,
}

/// What a wrapped key is bound to: whose it is, its name and what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrapContext {
    owner: KeyOwner,
    key: KeyId,
    purpose: WrapPurpose,
}

/// What a wrapped key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WrapPurpose {
    /// To seal nothing: to prove at start that its KEK is at hand.
    Canary,
    /// To seal the values of its owner.
    DataKey,
}

/// What became of an organization's own KEK.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyDestruction {
    /// It is gone: a backup does not bring those data keys of the organization back that were made
    /// under it.
    ///
    /// # Security
    ///
    /// A data key that was made under another KEK and re-wrapped later is the same key: a backup from
    /// before the re-wrapping holds it under the KEK of then. After a move to this provider, rotate
    /// the organization's data key and seal its values again, or destroy the old KEK, before you rely
    /// on this.
    Destroyed,
    /// There is none: organizations share the provider's KEKs, which stand.
    Shared,
}

impl KekId {
    /// The id of a provider's key.
    ///
    /// # Errors
    ///
    /// `Invalid` for a provider that is not 1 to 32 characters of `a-z 0-9 -`, and for a key that is
    /// not 1 to 320 visible ASCII characters.
    pub fn new(provider: &str, key: &str) -> Result<Self> {
        let named = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=32).contains(&provider.len()) || !provider.bytes().all(named) {
            return Err(Error::invalid(
                "the id of a key provider has 1 to 32 characters of `a-z 0-9 -`",
            ));
        }
        if !(1..=320).contains(&key.len()) || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::invalid(
                "the id of a key-encryption key has 1 to 320 visible ASCII characters",
            ));
        }
        Ok(Self(format!("{provider}:{key}").into()))
    }

    /// The id that was stored.
    ///
    /// # Errors
    ///
    /// `Corrupt` for a text that is no such id.
    pub fn parse(text: &str) -> Result<Self> {
        text.split_once(':')
            .and_then(|(provider, key)| Self::new(provider, key).ok())
            .ok_or_else(|| Error::corrupt("a stored id of a key-encryption key is misshapen"))
    }

    /// The id as it is stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The provider's name.
    #[must_use]
    pub fn provider(&self) -> &str {
        self.parts().0
    }

    /// The key, as the provider names it.
    #[must_use]
    pub fn key(&self) -> &str {
        self.parts().1
    }

    /// The error of a provider that does not have this key: `Unconfigured`.
    #[must_use]
    pub fn unknown(&self) -> Error {
        Error::unconfigured(format!("the key-encryption key `{self}` is not at hand"))
    }

    fn parts(&self) -> (&str, &str) {
        self.0.split_once(':').unwrap_or((&self.0, ""))
    }
}

impl fmt::Display for KekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl WrappedKey {
    /// The longest form in bytes that is stored: 4 KiB.
    pub const MAX_BYTES: usize = 4_096;

    /// What a provider wrapped, or what was stored.
    ///
    /// # Errors
    ///
    /// `Corrupt` for nothing, and for more than [`MAX_BYTES`](Self::MAX_BYTES).
    pub fn new(kek: KekId, bytes: Vec<u8>) -> Result<Self> {
        if bytes.is_empty() || bytes.len() > Self::MAX_BYTES {
            return Err(Error::corrupt("a wrapped key has 1 to 4096 bytes"));
        }
        Ok(Self { kek, bytes })
    }

    /// The KEK under which it is wrapped.
    #[must_use]
    pub fn kek(&self) -> &KekId {
        &self.kek
    }

    /// The wrapped bytes, whose form is the provider's.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The error of a provider under whose key it does not unwrap: `Corrupt`.
    #[must_use]
    pub fn refused(&self) -> Error {
        Error::corrupt(format!("a wrapped data key does not unwrap under `{}`", self.kek))
    }
}

impl fmt::Debug for WrappedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WrappedKey").field("kek", &self.kek).finish_non_exhaustive()
    }
}

impl WrapContext {
    /// The context of a data key.
    #[must_use]
    pub fn data_key(owner: KeyOwner, key: KeyId) -> Self {
        Self { owner, key, purpose: WrapPurpose::DataKey }
    }

    /// The context of a key by which a provider is tried.
    #[must_use]
    pub fn canary(key: KeyId) -> Self {
        Self { owner: KeyOwner::Platform, key, purpose: WrapPurpose::Canary }
    }

    /// Whose key it is.
    #[must_use]
    pub fn owner(&self) -> &KeyOwner {
        &self.owner
    }

    /// The key's name.
    #[must_use]
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// What the key is for.
    #[must_use]
    pub fn purpose(&self) -> WrapPurpose {
        self.purpose
    }

    /// The context and the KEK as bytes, each different from all others: to be authenticated.
    #[must_use]
    pub fn aad(&self, kek: &KekId) -> Vec<u8> {
        Tlv::new("tenantry/wrap/1")
            .owner(&self.owner)
            .key(self.key)
            .part(Tag::Purpose, self.purpose.as_str().as_bytes())
            .part(Tag::Kek, kek.as_str().as_bytes())
            .finish()
    }

    /// The context as named texts, each set different from all others: for a key service that
    /// authenticates such pairs.
    #[must_use]
    pub fn pairs(&self) -> [(&'static str, String); 3] {
        let owner = match &self.owner {
            KeyOwner::Organization(organization) => organization.encoded(),
            KeyOwner::Platform => "platform".to_owned(),
        };
        [
            ("tenantry:owner", owner),
            ("tenantry:key", self.key.to_string()),
            ("tenantry:purpose", self.purpose.as_str().to_owned()),
        ]
    }
}

impl WrapPurpose {
    /// The word for it in what is authenticated.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Canary => "canary",
            Self::DataKey => "data-key",
        }
    }
}

#[cfg(test)]
#[cfg(any(feature = "aws-kms", feature = "vault-transit"))]
#[path = "../../../tests/it/credentials/search.rs"]
mod search;
