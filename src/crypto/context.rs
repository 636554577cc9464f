//! The place to which a sealed value is bound.

use uuid::Uuid;

use super::key::{KeyId, KeyOwner};
use super::tlv::{Tag, Tlv};
use crate::error::{Error, Result};

/// The place of a sealed value, from the key columns of its row: the value opens there alone.
///
/// The owner comes from the scope and the key from the owner's keys; both are bound as well. What
/// may change without the secret changing, a label or a status, has no place in it.
///
/// # Security
///
/// Take every part from the row that is asked for, never from the sealed value or beside it. The
/// version of the secret tells an earlier value that was put back: it does not open, and the audit
/// calls it a rollback where it is one of the 16 versions before and under the same key. A whole row
/// that was put back, version included, is not noticed. Record ids must never be used again.
///
/// # Examples
///
/// ```
/// use tenantry::crypto::{SealContext, SecretKind};
/// use uuid::Uuid;
///
/// let record = Uuid::new_v4();
/// let context = SealContext::new(SecretKind::Credential, record, "shopify", "access_token", 1)?;
/// # Ok::<(), tenantry::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SealContext<'a> {
    kind: SecretKind,
    record: Uuid,
    provider: &'a str,
    field: &'a str,
    secret_version: u64,
}

/// What a sealed value is for. Each kind has keys of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SecretKind {
    /// A token or API key of a connection with a provider.
    Credential,
    /// What an organization takes along.
    Export,
    /// A file.
    File,
    /// The key by which a provider signs its deliveries.
    WebhookSecret,
}

impl<'a> SealContext<'a> {
    /// The longest provider or field in bytes: 255.
    pub const MAX_NAME: usize = 255;

    /// The place of one field of a record, at one version of its secret.
    ///
    /// # Errors
    ///
    /// `Invalid` for a provider or field that has not 1 to [`MAX_NAME`](Self::MAX_NAME) bytes.
    pub fn new(
        kind: SecretKind,
        record: Uuid,
        provider: &'a str,
        field: &'a str,
        secret_version: u64,
    ) -> Result<Self> {
        if [provider, field].iter().any(|name| !(1..=Self::MAX_NAME).contains(&name.len())) {
            return Err(Error::invalid("the provider and field of a secret have 1 to 255 bytes"));
        }
        Ok(Self { kind, record, provider, field, secret_version })
    }

    /// What the value is for.
    #[must_use]
    pub const fn kind(&self) -> SecretKind {
        self.kind
    }

    /// The same place at another version of the secret.
    #[must_use]
    pub const fn at_version(mut self, secret_version: u64) -> Self {
        self.secret_version = secret_version;
        self
    }

    /// What the audit calls the value: its kind and its record.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.kind.as_str(), self.record)
    }

    /// The same place at up to 16 earlier versions, the latest first.
    pub(crate) fn earlier(self) -> impl Iterator<Item = Self> {
        let latest = self.secret_version;
        (latest.saturating_sub(16)..latest).rev().map(move |version| self.at_version(version))
    }

    pub(super) fn aad(&self, owner: &KeyOwner, key: KeyId) -> Vec<u8> {
        Tlv::new("tenantry/aad/1")
            .owner(owner)
            .part(Tag::Record, self.record.as_bytes())
            .part(Tag::Kind, self.kind.as_str().as_bytes())
            .part(Tag::Field, self.field.as_bytes())
            .part(Tag::Provider, self.provider.as_bytes())
            .part(Tag::SecretVersion, &self.secret_version.to_be_bytes())
            .key(key)
            .finish()
    }
}

impl SecretKind {
    /// Every kind.
    pub(crate) const ALL: [Self; 4] =
        [Self::Credential, Self::Export, Self::File, Self::WebhookSecret];

    /// The word for it in what is authenticated, and in the derivation of its keys.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::Export => "export",
            Self::File => "file",
            Self::WebhookSecret => "webhook-secret",
        }
    }
}
