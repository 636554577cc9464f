//! Credentials of organizations: stored sealed, opened for a stated purpose.

use std::fmt;
use std::sync::Arc;

use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::keys::{KeyAccess, KeyEpoch, KeyStore as _, Keys, KeysBuilder, Sealed};
use super::legacy::{Legacy, LegacyFormat};
use super::opening::{AbsentKeys, concerns_all};
use super::record::{CredentialId, CredentialInfo, NewCredential, StoredCredential, Written};
use super::secret::Secret;
use super::shred::{Ledgered, ShredLedger};
use super::store::CredentialStore;
use super::watched::Watched;
use crate::audit::AuditKind;
use crate::crypto::KeyProvider;
use crate::error::{Error, Result};
use crate::scope::{ScopeIssuer, TenantScope};

/// The credentials of organizations: sealed under keys of each organization's own, in a store that
/// never sees a secret.
///
/// Clones share everything.
///
/// # Security
///
/// A credential opens for its organization alone, as itself and in its current version. Another
/// organization's does not exist. A value that was moved, edited or put back is `Corrupt`, whatever
/// was done to it, and the reason goes to the audit with the credential's name, as does each opening
/// with its purpose. An `Incident` of the store ends every scope of the organization.
///
/// # Examples
///
/// ```
/// use tenantry::OrganizationId;
/// use tenantry::credential::{Credentials, MemoryCredentialStore, NewCredential, Secret};
/// use tenantry::crypto::LocalKeyring;
/// use tenantry::scope::{MemoryDirectory, Principal, Role, ScopeIssuer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tenantry::Result<()> {
/// # let (one, two) = (OrganizationId::new(), OrganizationId::new());
/// # let (directory, ann) = (MemoryDirectory::new(), Principal::user("ann"));
/// # for organization in [&one, &two] {
/// #     directory.add_member(organization, &ann, Role::Member);
/// # }
/// # let issuer = ScopeIssuer::new(directory);
/// let (provider, store) = (LocalKeyring::random()?, MemoryCredentialStore::new());
/// let credentials = Credentials::builder(&issuer, provider, store).build();
/// credentials.keys().check().await?;
///
/// let (scope, other) = (issuer.enter(&ann, &one).await?, issuer.enter(&ann, &two).await?);
/// let secret = Secret::new().with("access_token", "example-token");
/// let stored = credentials.put(&scope, NewCredential::new("shopify"), &secret).await?;
///
/// let opened = credentials.open(&scope, stored.id, "sync orders").await?;
/// assert!(opened.secret.get("access_token").is_some_and(|token| token.ct_eq("example-token")));
/// assert!(credentials.open(&other, stored.id, "sync orders").await.is_err());
///
/// let next = Secret::new().with("access_token", "example-token-2");
/// credentials.replace(&scope, stored.id, opened.info.version, &next).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Credentials(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) keys: Keys,
    pub(super) store: Arc<dyn CredentialStore>,
    pub(super) legacy: Option<Legacy>,
    pub(super) ledgered: bool,
}

/// Builds [`Credentials`].
#[must_use = "a builder does nothing until `.build()`"]
pub struct CredentialsBuilder {
    issuer: ScopeIssuer,
    provider: Arc<dyn KeyProvider>,
    store: Arc<dyn CredentialStore>,
    settings: Box<dyn FnOnce(KeysBuilder) -> KeysBuilder + Send>,
    legacy: Option<Legacy>,
    ledger: Option<Arc<dyn ShredLedger>>,
}

/// A credential with its secret.
#[derive(Debug)]
#[non_exhaustive]
pub struct OpenCredential {
    /// What is said about it.
    pub info: CredentialInfo,
    /// The secret.
    pub secret: Secret,
}

impl Credentials {
    /// The credentials of an issuer's organizations, under the keys of a provider, in a store.
    pub fn builder(
        issuer: &ScopeIssuer,
        provider: impl KeyProvider,
        store: impl CredentialStore,
    ) -> CredentialsBuilder {
        CredentialsBuilder {
            issuer: issuer.clone(),
            provider: Arc::new(provider),
            store: Arc::new(store),
            settings: Box::new(|keys| keys),
            legacy: None,
            ledger: None,
        }
    }

    /// The keys under which the credentials are sealed.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// Stores a credential, and answers with its name.
    ///
    /// # Errors
    ///
    /// `Denied` for a scope that no longer works, `Misuse` for one of another issuer; `Invalid` for
    /// an unfit provider, label or secret; `Shredded` where the organization's keys were destroyed;
    /// `Unavailable` and `Unconfigured` where store or key provider do not answer.
    ///
    /// # Cancellation
    ///
    /// The credential was stored or not. One whose name nobody learned is found by
    /// [`list`](Self::list).
    pub async fn put(
        &self,
        scope: &TenantScope,
        credential: NewCredential,
        secret: &Secret,
    ) -> Result<CredentialInfo> {
        let NewCredential { provider, label } = credential;
        if label.as_ref().is_some_and(|label| label.len() > MAX_LABEL) {
            return Err(Error::invalid("the label of a credential has at most 255 bytes"));
        }
        let (id, now) = (CredentialId::random()?, self.now());
        let info = CredentialInfo::new(id, provider, label, 1, now, now);
        let text = secret.encode()?;
        let written = self.write(scope, info, &text, None).await?;
        written.ok_or_else(|| Error::conflict("the credential's name is taken"))
    }

    /// Opens a credential. The purpose goes to the audit, with who opened it: as an ordinary event, for
    /// which nobody waits, and which a sink that fails does not keep.
    ///
    /// # Errors
    ///
    /// `NotFound` for a credential that the organization does not have; `Corrupt` for one that does
    /// not open, always in the same words; `Misuse` for an empty purpose; else as for
    /// [`put`](Self::put).
    pub async fn open(
        &self,
        scope: &TenantScope,
        id: CredentialId,
        purpose: &'static str,
    ) -> Result<OpenCredential> {
        if purpose.trim().is_empty() {
            return Err(Error::misuse("a credential is opened for a purpose"));
        }
        self.0.keys.admit(scope)?;
        let read = self.get(scope, id).await?;
        let stored = read.value.ok_or_else(missing)?;
        let secret = self.unseal(scope, &stored, read.epoch).await?;
        self.note(scope, AuditKind::CredentialOpened, id, purpose);
        Ok(OpenCredential { info: stored.info, secret })
    }

    /// Stores the next secret of a credential, if its version is still the one that was `seen`.
    /// It is sealed under the organization's newest key.
    ///
    /// # Errors
    ///
    /// `Conflict` where the credential was replaced meanwhile: read it again; `NotFound` for one
    /// that the organization does not have; else as for [`put`](Self::put). Nothing is changed then.
    ///
    /// # Cancellation
    ///
    /// The old secret stands or the new one.
    pub async fn replace(
        &self,
        scope: &TenantScope,
        id: CredentialId,
        seen: u64,
        secret: &Secret,
    ) -> Result<CredentialInfo> {
        self.0.keys.admit(scope)?;
        let text = secret.encode()?;
        let moved = || Error::conflict("the credential was replaced meanwhile");
        let mut info = self.get(scope, id).await?.value.ok_or_else(missing)?.info;
        if info.version != seen {
            return Err(moved());
        }
        info.version =
            seen.checked_add(1).ok_or_else(|| Error::corrupt("a version cannot grow"))?;
        info.updated_at = self.now();
        match self.write(scope, info, &text, Some(seen)).await? {
            Some(info) => Ok(info),
            None if self.get(scope, id).await?.value.is_none() => Err(missing()),
            None => Err(moved()),
        }
    }

    /// The organization's credentials without their secrets, in the order of their names. Each is
    /// opened to see whether it does; one that does not is its error, beside all the others:
    /// `Corrupt`, or `Unconfigured` where its key-encryption key is not at hand.
    ///
    /// # Errors
    ///
    /// As for [`put`](Self::put), where that concerns all of them.
    pub async fn list(
        &self,
        scope: &TenantScope,
    ) -> Result<Vec<(CredentialId, Result<CredentialInfo>)>> {
        self.0.keys.admit(scope)?;
        let (mut listed, mut after, mut absent) = (Vec::new(), None, AbsentKeys::default());
        loop {
            let page = self.page(scope, after, PAGE).await?;
            let full = page.value.len() >= PAGE as usize;
            for (id, stored) in page.value {
                after = Some(id);
                match self.check(scope, stored, page.epoch, &mut absent).await {
                    Err(error) if concerns_all(&error) => return Err(error),
                    checked => listed.push((id, checked)),
                }
            }
            if !full {
                return Ok(listed);
            }
        }
    }

    /// What is said about the organization's credentials, to be taken along: everything but the
    /// secrets, which are not opened. One that cannot be read is its error, beside all the others.
    ///
    /// # Errors
    ///
    /// As for [`put`](Self::put), where that concerns all of them.
    pub async fn export(
        &self,
        scope: &TenantScope,
    ) -> Result<Vec<(CredentialId, Result<CredentialInfo>)>> {
        self.0.keys.admit(scope)?;
        let (mut exported, mut after) = (Vec::new(), None);
        loop {
            let page = self.page(scope, after, PAGE).await?;
            let full = page.value.len() >= PAGE as usize;
            for (id, stored) in page.value {
                after = Some(id);
                match stored {
                    Err(error) if concerns_all(&error) => return Err(error),
                    stored => exported.push((id, stored.map(|stored| stored.info))),
                }
            }
            if !full {
                return Ok(exported);
            }
        }
    }

    /// Deletes a credential, also one that does not open.
    ///
    /// # Errors
    ///
    /// `NotFound` for a credential that the organization does not have; else as for
    /// [`put`](Self::put).
    ///
    /// # Security
    ///
    /// The provider still accepts what was deleted here: revoke it there first. What the disk or a
    /// backup holds of it is sealed.
    ///
    /// # Cancellation
    ///
    /// It is deleted or not.
    pub async fn delete(&self, scope: &TenantScope, id: CredentialId) -> Result<()> {
        self.0.keys.admit(scope)?;
        if !self.0.store.remove(scope, id).await? {
            return Err(missing());
        }
        self.note(scope, AuditKind::CredentialDeleted, id, "");
        Ok(())
    }

    /// Stores a credential that another program kept, in that program's form.
    ///
    /// # Errors
    ///
    /// `Corrupt` for a value that is not of the form or does not open; else as for
    /// [`put`](Self::put).
    pub async fn import(
        &self,
        scope: &TenantScope,
        credential: NewCredential,
        stored: &[u8],
        format: &dyn LegacyFormat,
    ) -> Result<CredentialInfo> {
        self.0.keys.admit(scope)?;
        let secret = format.read(scope.organization(), stored)?;
        self.put(scope, credential, &secret).await
    }

    /// What is said about a credential, if it opens.
    async fn check(
        &self,
        scope: &TenantScope,
        stored: Result<StoredCredential>,
        epoch: KeyEpoch,
        absent: &mut AbsentKeys,
    ) -> Result<CredentialInfo> {
        let stored = stored?;
        self.unseal_one(scope, &stored, epoch, absent).await?;
        Ok(stored.info)
    }

    /// Seals a text in the place that the info names, and writes it as a new credential or in the
    /// place of the version that was seen: sealed again as long as the organization's keys change in
    /// between.
    async fn write(
        &self,
        scope: &TenantScope,
        info: CredentialInfo,
        text: &Zeroizing<Vec<u8>>,
        seen: Option<u64>,
    ) -> Result<Option<CredentialInfo>> {
        let mut credential = StoredCredential::new(info, None, Vec::new());
        let mut epoch = KeyEpoch::default();
        for _ in 0..ATTEMPTS {
            let sealed = self.seal(scope, &credential.info, text, epoch).await?;
            (credential.key, epoch) = (Some(sealed.key()), sealed.epoch());
            credential.sealed = sealed.into_bytes();
            let written = match seen {
                None => self.0.store.insert(scope, epoch, &credential).await,
                Some(seen) => self.0.store.replace(scope, epoch, seen, &credential).await,
            };
            let id = credential.info.id;
            match written.map_err(|error| self.refuse(scope, Some(id), error))? {
                Written::Done => {
                    self.note(scope, AuditKind::CredentialStored, id, "");
                    return Ok(Some(credential.info));
                }
                Written::Moved => return Ok(None),
                Written::KeysChanged => epoch = self.stored_epoch(scope).await?,
            }
        }
        Err(Error::unavailable("the keys change faster than a credential can be sealed"))
    }

    pub(super) async fn seal(
        &self,
        scope: &TenantScope,
        info: &CredentialInfo,
        text: &[u8],
        at_least: KeyEpoch,
    ) -> Result<Sealed> {
        self.0.keys.seal_since(scope, &info.context()?, text, at_least).await
    }

    pub(super) async fn stored_epoch(&self, scope: &TenantScope) -> Result<KeyEpoch> {
        Ok(self.0.store.load(KeyAccess::Organization(scope)).await?.epoch)
    }

    pub(super) fn note(
        &self,
        scope: &TenantScope,
        kind: AuditKind,
        id: CredentialId,
        detail: &'static str,
    ) {
        let mut event = scope.event(kind).on(format!("credential {id}"));
        if !detail.is_empty() {
            event = event.because(detail);
        }
        self.0.keys.issuer().auditor().note(event);
    }

    pub(super) fn now(&self) -> OffsetDateTime {
        let now = self.0.keys.issuer().clock().now();
        now.replace_microsecond(now.microsecond()).unwrap_or(now)
    }
}

impl CredentialsBuilder {
    /// Settings of the keys: `|keys| keys.padding(true)`.
    pub fn keys(
        mut self,
        settings: impl FnOnce(KeysBuilder) -> KeysBuilder + Send + 'static,
    ) -> Self {
        self.settings = Box::new(settings);
        self
    }

    /// Reads values that were in the store before sealing was, until a date; from then on, and
    /// without this setting, they are `Corrupt`.
    ///
    /// # Security
    ///
    /// Until the date, whoever can write the store can put an unsealed value in the place of a
    /// sealed one. The date is compared with the issuer's clock, and nothing remembers that it has
    /// passed: a process whose clock is wrong accepts unsealed values again. Seal what is there with [`reseal`](Credentials::reseal), then take the setting
    /// away.
    pub fn accept_legacy_until(mut self, date: OffsetDateTime, format: impl LegacyFormat) -> Self {
        self.legacy = Some(Legacy { until: date, format: Arc::new(format) });
        self
    }

    /// Keeps a list of shredded organizations outside of the store, which holds after a restore of
    /// the store as well.
    pub fn ledger(mut self, ledger: impl ShredLedger) -> Self {
        self.ledger = Some(Arc::new(ledger));
        self
    }

    /// The credentials. Nothing is read yet: [`Keys::check`] tries the provider.
    #[must_use]
    pub fn build(self) -> Credentials {
        let Self { issuer, provider, store, settings, legacy, ledger } = self;
        let ledgered = ledger.is_some();
        let keys = match ledger {
            None => Keys::builder(&issuer, provider, Arc::clone(&store)),
            Some(ledger) => {
                Keys::builder(&issuer, provider, Ledgered::new(Arc::clone(&store), ledger))
            }
        };
        let keys = settings(keys).build();
        let store = Arc::new(Watched::new(&issuer, store));
        Credentials(Arc::new(Inner { keys, store, legacy, ledgered }))
    }
}

/// The one error for a credential that is missing and for one of another organization.
pub(super) fn missing() -> Error {
    Error::not_found("no such credential")
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("keys", &self.0.keys)
            .field("legacy", &self.0.legacy)
            .field("ledgered", &self.0.ledgered)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for CredentialsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialsBuilder")
            .field("provider", &self.provider)
            .field("store", &self.store)
            .field("legacy", &self.legacy)
            .field("ledger", &self.ledger)
            .finish_non_exhaustive()
    }
}

const ATTEMPTS: usize = 8;
const MAX_LABEL: usize = 255;
const PAGE: u32 = 100;
