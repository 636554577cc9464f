//! The data keys of organizations, and what is sealed under them.

mod manage;
mod memory;
mod ring;
mod store;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

pub use memory::MemoryKeyStore;
pub use store::{KeyAccess, KeyEpoch, KeySet, KeyState, KeyStore, StoredKey};

use self::ring::{Age, Ring, RingKey, Rings};
use crate::audit::{AuditEvent, AuditKind};
use crate::crypto::{
    BlindIndex, Envelope, KekId, KeyId, KeyProvider, PurposeKeys, SealContext, SealFault,
    SecretBytes, WrapContext, WrappedKey, seal,
};
use crate::error::{Error, ErrorKind, Result};
use crate::scope::{ScopeIssuer, TenantScope};

/// Seals and opens the values of organizations, each under data keys of its organization's own.
///
/// A data key is made when an organization first needs one, is stored wrapped by the
/// [`KeyProvider`], and is held unwrapped in memory for a limited time. Clones share everything.
///
/// # Security
///
/// A value opens for its organization, in its place and under its key, or not at all. Whatever the
/// reason is that one does not, the caller gets the same `Corrupt`; the reason goes to the audit.
///
/// # Examples
///
/// ```
/// use tenantry::OrganizationId;
/// use tenantry::credential::{Keys, MemoryKeyStore};
/// use tenantry::crypto::{LocalKeyring, SealContext, SecretKind};
/// use tenantry::scope::{MemoryDirectory, Principal, Role, ScopeIssuer};
/// use uuid::Uuid;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tenantry::Result<()> {
/// # let (one, two) = (OrganizationId::new(), OrganizationId::new());
/// # let (directory, ann) = (MemoryDirectory::new(), Principal::user("ann"));
/// # for organization in [&one, &two] {
/// #     directory.add_member(organization, &ann, Role::Member);
/// # }
/// # let issuer = ScopeIssuer::new(directory);
/// let keys = Keys::builder(&issuer, LocalKeyring::random()?, MemoryKeyStore::new()).build();
/// keys.check().await?;
///
/// let (scope, other) = (issuer.enter(&ann, &one).await?, issuer.enter(&ann, &two).await?);
/// let record = Uuid::new_v4();
/// let context = SealContext::new(SecretKind::Credential, record, "shopify", "access_token", 1)?;
/// let sealed = keys.seal(&scope, &context, b"example-token").await?;
///
/// let opened = keys.open(&scope, &context, sealed.as_bytes(), sealed.epoch()).await?;
/// assert!(opened.ct_eq(b"example-token"));
/// let stolen = keys.open(&other, &context, sealed.as_bytes(), sealed.epoch()).await;
/// assert!(stolen.is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Keys(Arc<Inner>);

/// Builds [`Keys`].
#[derive(Debug)]
#[must_use = "a builder does nothing until `.build()`"]
pub struct KeysBuilder {
    issuer: ScopeIssuer,
    provider: Arc<dyn KeyProvider>,
    store: Arc<dyn KeyStore>,
    settings: Settings,
}

#[derive(Debug, Clone, Copy)]
struct Settings {
    cache_capacity: usize,
    cache_ttl: Duration,
    max_bytes: usize,
    padding: bool,
    patience: Duration,
}

struct Inner {
    issuer: ScopeIssuer,
    provider: Arc<dyn KeyProvider>,
    store: Arc<dyn KeyStore>,
    settings: Settings,
    rings: Rings,
    /// Bounds how many wait for the store and the provider at a time.
    doors: Semaphore,
}

/// A sealed value, on its way to be stored.
///
/// # Security
///
/// Between sealing and storing its key may have been retired. Whoever stores the value compares
/// [`epoch`](Self::epoch) with the one that is stored, in the transaction that writes, and seals
/// again where they differ.
#[derive(Clone)]
pub struct Sealed {
    bytes: Vec<u8>,
    key: KeyId,
    epoch: KeyEpoch,
}

impl Keys {
    /// Keys for the scopes of an issuer, from a provider and a store.
    pub fn builder(
        issuer: &ScopeIssuer,
        provider: impl KeyProvider,
        store: impl KeyStore,
    ) -> KeysBuilder {
        KeysBuilder {
            issuer: issuer.clone(),
            provider: Arc::new(provider),
            store: Arc::new(store),
            settings: Settings::DEFAULT,
        }
    }

    /// Seals a value for the scope's organization, in its place. The organization's first data key
    /// is made on the way.
    ///
    /// # Errors
    ///
    /// `Denied` for a scope that no longer works, `Misuse` for one of another issuer; `Invalid` for
    /// a value over the limit; `Shredded` where the organization's keys were destroyed;
    /// `Unavailable` and `Unconfigured` where provider or store do not answer.
    ///
    /// # Cancellation
    ///
    /// At most a data key was made, which the next value uses.
    pub async fn seal(
        &self,
        scope: &TenantScope,
        context: &SealContext<'_>,
        text: &[u8],
    ) -> Result<Sealed> {
        self.seal_since(scope, context, text, KeyEpoch::default()).await
    }

    /// Seals like [`seal`](Self::seal), with keys no older than the epoch: for whoever found, in the
    /// transaction that was to write a sealed value, that the stored epoch is a later one.
    ///
    /// # Errors
    ///
    /// As for [`seal`](Self::seal).
    ///
    /// # Cancellation
    ///
    /// As for [`seal`](Self::seal).
    pub async fn seal_since(
        &self,
        scope: &TenantScope,
        context: &SealContext<'_>,
        text: &[u8],
        epoch: KeyEpoch,
    ) -> Result<Sealed> {
        self.admit(scope)?;
        self.seal_as(KeyAccess::Organization(scope), context, text, epoch).await
    }

    /// Opens a value that was sealed for the scope's organization in this place.
    ///
    /// `epoch` is that of the organization, read in the same statement as the value: by it keys
    /// that were destroyed elsewhere are not used any more.
    ///
    /// # Errors
    ///
    /// `Corrupt`, always in the same words, for whatever does not open: another organization's
    /// value, another place's, an earlier version, an edited, cut or foreign one, one that was never
    /// sealed, one whose key is gone. `Shredded` where the organization's keys were destroyed;
    /// `Denied`, `Misuse`, `Unavailable` and `Unconfigured` as for [`seal`](Self::seal).
    pub async fn open(
        &self,
        scope: &TenantScope,
        context: &SealContext<'_>,
        sealed: &[u8],
        epoch: KeyEpoch,
    ) -> Result<SecretBytes> {
        self.admit(scope)?;
        self.open_as(KeyAccess::Organization(scope), context, sealed, epoch).await
    }

    /// The blind indexes of a value in a column: one for each data key, that of the newest first.
    ///
    /// Store the first; look up by all of them, for rows that were indexed before a rotation have an
    /// older one. Equal values compare only if they have equal bytes: bring them into one form first
    /// (case, white space, Unicode form).
    ///
    /// # Errors
    ///
    /// As for [`seal`](Self::seal); `Invalid` for a column of no or more than 255 bytes.
    ///
    /// # Security
    ///
    /// Equality leaks to whoever reads the column: see [`BlindIndex`].
    pub async fn blind_indexes(
        &self,
        scope: &TenantScope,
        column: &str,
        value: &[u8],
    ) -> Result<Vec<BlindIndex>> {
        self.admit(scope)?;
        self.blind_indexes_as(KeyAccess::Organization(scope), column, value).await
    }

    pub(crate) async fn seal_as(
        &self,
        access: KeyAccess<'_>,
        context: &SealContext<'_>,
        text: &[u8],
        at_least: KeyEpoch,
    ) -> Result<Sealed> {
        if text.len() > self.0.settings.max_bytes {
            return Err(Error::invalid("the secret is longer than the limit"));
        }
        let ring = self.ring_that_seals(access, at_least).await?;
        let key = ring.active().ok_or_else(|| Error::internal("a ring lost its active key"))?;
        let purposes = self.purposes(access, key).await?;
        let id = key.stored.id;
        let padding = self.0.settings.padding;
        let bytes = seal(purposes.of(context.kind()), id, &access.owner(), context, text, padding)?;
        Ok(Sealed { bytes, key: id, epoch: ring.epoch })
    }

    pub(crate) async fn open_as(
        &self,
        access: KeyAccess<'_>,
        context: &SealContext<'_>,
        sealed: &[u8],
        epoch: KeyEpoch,
    ) -> Result<SecretBytes> {
        let refuse = |fault: SealFault| self.refuse(access, fault.reason());
        let envelope = Envelope::parse(sealed, self.0.settings.max_bytes).map_err(refuse)?;
        let ring = self.ring(access, epoch).await?;
        if ring.shredded {
            return Err(Error::shredded());
        }
        // INVARIANT: the key is looked up among the owner's alone.
        let key = ring.key(envelope.key()).ok_or_else(|| refuse(SealFault::UnknownKey))?;
        if key.stored.state == KeyState::Destroyed {
            return Err(refuse(SealFault::KeyDestroyed));
        }
        let purpose = self.purposes(access, key).await?.of(context.kind());
        let owner = access.owner();
        envelope.open(purpose, &owner, context).map_err(|fault| {
            let mut earlier = context.earlier();
            let rolled_back = fault == SealFault::WrongKeyOrContext
                && earlier.any(|context| envelope.commits_to(purpose, &owner, &context));
            refuse(if rolled_back { SealFault::Rollback } else { fault })
        })
    }

    pub(crate) async fn blind_indexes_as(
        &self,
        access: KeyAccess<'_>,
        column: &str,
        value: &[u8],
    ) -> Result<Vec<BlindIndex>> {
        if !(1..=255).contains(&column.len()) {
            return Err(Error::invalid("the column of a blind index has 1 to 255 bytes"));
        }
        if value.len() > self.0.settings.max_bytes {
            return Err(Error::invalid("the value is longer than the limit"));
        }
        let ring = self.ring_that_seals(access, KeyEpoch::default()).await?;
        let mut indexes = Vec::new();
        for key in ring.living() {
            let index = self.purposes(access, key).await?.index();
            indexes.push(BlindIndex::compute(index, key.stored.version, column, value)?);
        }
        Ok(indexes)
    }

    pub(crate) fn issuer(&self) -> &ScopeIssuer {
        &self.0.issuer
    }

    pub(crate) fn admit(&self, scope: &TenantScope) -> Result<()> {
        scope.check()?;
        if !scope.issued_by(&self.0.issuer) {
            return Err(Error::misuse("the scope was issued by another issuer than the keys'"));
        }
        Ok(())
    }

    /// The owner's keys, no older than the epoch.
    async fn ring(&self, access: KeyAccess<'_>, at_least: KeyEpoch) -> Result<Arc<Ring>> {
        let (owner, rings) = (access.owner(), &self.0.rings);
        for _ in 0..ATTEMPTS {
            let Some(ring) = rings.get(&owner) else {
                let ring = self.in_time(rings.load(&owner, self.load(access))).await?;
                if rings.is_current(&ring, at_least) {
                    return Ok(ring);
                }
                rings.remove(&owner, &ring);
                continue;
            };
            match rings.age(&ring, at_least, self.now()) {
                Age::Fresh => return Ok(ring),
                Age::Stale => rings.remove(&owner, &ring),
                Age::Aging => {
                    let Some(_renewal) = ring.renewal() else { return Ok(ring) };
                    match self.renew(access, &ring).await {
                        Ok(next) => rings.replace(owner.clone(), next),
                        Err(error) if error.is_retryable() => return Ok(Arc::clone(&ring)),
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Err(Error::unavailable("the keys change faster than they can be read"))
    }

    /// The owner's keys, one of them active: made if there was none.
    async fn ring_that_seals(
        &self,
        access: KeyAccess<'_>,
        at_least: KeyEpoch,
    ) -> Result<Arc<Ring>> {
        for _ in 0..ATTEMPTS {
            let ring = self.ring(access, at_least).await?;
            if ring.shredded {
                return Err(Error::shredded());
            }
            if ring.active().is_some() {
                return Ok(ring);
            }
            // Whoever makes it first, its key is read.
            self.activate(access, &ring).await?;
            self.0.rings.remove(&access.owner(), &ring);
        }
        Err(Error::unavailable("the keys change faster than they can be read"))
    }

    async fn load(&self, access: KeyAccess<'_>) -> Result<Arc<Ring>> {
        // Before the store is asked: what is destroyed while it answers is not missed.
        let (generation, now) = (self.0.rings.generation(), self.now());
        let set = self.ask(self.0.store.load(access)).await?;
        Ok(Arc::new(Ring::new(set, now, generation)))
    }

    /// The next ring, with the keys unwrapped that the one before was used for.
    async fn renew(&self, access: KeyAccess<'_>, ring: &Ring) -> Result<Arc<Ring>> {
        let next = self.load(access).await?;
        for id in ring.used() {
            if let Some(key) = next.living().find(|key| key.stored.id == id) {
                self.purposes(access, key).await?;
            }
        }
        Ok(next)
    }

    /// The purpose keys of a data key, which one caller unwraps and the others wait for.
    async fn purposes<'r>(
        &self,
        access: KeyAccess<'_>,
        key: &'r RingKey,
    ) -> Result<&'r PurposeKeys> {
        if let Some(opened) = key.opened.get() {
            return Ok(opened);
        }
        let wrapped = key.stored.wrapped.as_ref();
        let wrapped = wrapped.ok_or_else(|| self.refuse(access, "a living key has no bytes"))?;
        let context = WrapContext::data_key(access.owner(), key.stored.id);
        // Those who wait for another's answer hold no door: an organization whose key is slow does
        // not keep the others out.
        let unwrap = key.opened.get_or_try_init(|| {
            self.through_a_door(async {
                let opened = self.0.provider.unwrap(&context, wrapped).await?;
                if !opened.check_value()?.ct_eq(&key.stored.check) {
                    return Err(Error::corrupt("the key provider answered with another key"));
                }
                PurposeKeys::derive(&opened)
            })
        });
        self.in_time(unwrap).await.map_err(|error| match error.kind() {
            ErrorKind::Corrupt => self.refuse(access, error.to_string()),
            _ => error,
        })
    }

    /// Asks store or provider, in a bounded time and together with a bounded number of others.
    async fn ask<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.in_time(self.through_a_door(work)).await
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let late = |_| Error::unavailable("the keys did not come in time");
        tokio::time::timeout(self.0.settings.patience, work).await.map_err(late)?
    }

    async fn through_a_door<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let closed = |_| Error::internal("the doors are never closed");
        let _door = self.0.doors.acquire().await.map_err(closed)?;
        work.await
    }

    /// The one error for what does not open. The reason is for the audit.
    #[cold]
    fn refuse(&self, access: KeyAccess<'_>, reason: impl Into<Cow<'static, str>>) -> Error {
        self.0.issuer.auditor().note(self.event(access, AuditKind::SecretRefused).because(reason));
        Error::corrupt("the sealed value does not open")
    }

    fn event(&self, access: KeyAccess<'_>, kind: AuditKind) -> AuditEvent {
        match access {
            KeyAccess::Organization(scope) => scope.event(kind),
            KeyAccess::Platform(authority) => {
                self.0.issuer.auditor().event(kind).by(authority.principal())
            }
        }
    }

    /// The active key of the scope's organization, made if there was none.
    pub(crate) async fn active(&self, scope: &TenantScope) -> Result<(KeyId, KeyEpoch)> {
        self.admit(scope)?;
        let access = KeyAccess::Organization(scope);
        let seen = self.ask(self.0.store.load(access)).await?.epoch;
        let ring = self.ring_that_seals(access, seen).await?;
        let key = ring.active().ok_or_else(|| Error::internal("a ring lost its active key"))?;
        Ok((key.stored.id, ring.epoch))
    }

    pub(crate) async fn active_kek(&self) -> Result<KekId> {
        self.ask(self.0.provider.active()).await
    }

    fn now(&self) -> Duration {
        self.0.issuer.clock().monotonic()
    }
}

impl KeysBuilder {
    /// How long unwrapped keys are held; 5 minutes without it. It bounds how long a revoked KEK
    /// still serves; destroyed data keys are noticed at once by their epoch.
    pub const fn cache_ttl(mut self, ttl: Duration) -> Self {
        self.settings.cache_ttl = ttl;
        self
    }

    /// Of how many owners the keys are held; 1,000 without it.
    pub const fn cache_capacity(mut self, owners: usize) -> Self {
        self.settings.cache_capacity = owners;
        self
    }

    /// The longest value in bytes that is sealed or opened; 1 MiB without it.
    pub const fn max_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_bytes = bytes;
        self
    }

    /// Whether values are padded to multiples of 64 bytes; off without it. The length of a token
    /// tells its provider, and often its kind.
    pub const fn padding(mut self, on: bool) -> Self {
        self.settings.padding = on;
        self
    }

    /// How long the store and the provider are waited for, each time; 10 seconds without it.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.patience = timeout;
        self
    }

    /// The keys. Nothing is read yet: [`Keys::check`] tries the provider.
    #[must_use]
    pub fn build(self) -> Keys {
        let Self { issuer, provider, store, settings } = self;
        let rings = Rings::new(settings.cache_capacity, settings.cache_ttl);
        let doors = Semaphore::new(FAN_OUT);
        Keys(Arc::new(Inner { issuer, provider, store, settings, rings, doors }))
    }
}

impl Settings {
    const DEFAULT: Self = Self {
        cache_capacity: 1_000,
        cache_ttl: Duration::from_secs(300),
        max_bytes: 1 << 20,
        padding: false,
        patience: Duration::from_secs(10),
    };
}

impl Sealed {
    /// The value as it is stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The value as it is stored.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The data key under which it is sealed.
    #[must_use]
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// The epoch of the owner's keys in which it was sealed.
    #[must_use]
    pub fn epoch(&self) -> KeyEpoch {
        self.epoch
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed")
            .field("key", &self.key)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("provider", &self.0.provider)
            .field("store", &self.0.store)
            .field("settings", &self.0.settings)
            .finish_non_exhaustive()
    }
}

const ATTEMPTS: usize = 8;
/// The AWS SDKs' bound for keys that are fetched at a time.
const FAN_OUT: usize = 20;

#[cfg(test)]
mod doubles;
#[cfg(test)]
mod tests;
