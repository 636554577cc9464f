//! The data keys of organizations, and what is sealed under them.

pub(super) mod conformance;
mod manage;
mod memory;
mod ring;
mod store;
mod turns;
mod unlock;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;

pub use memory::MemoryKeyStore;
pub use store::{KeyAccess, KeyEpoch, KeySet, KeyState, KeyStore, StoredKey};

use self::ring::{Ring, Rings};
use self::turns::Turns;
use super::watched::Watched;
use crate::audit::{AuditEvent, AuditKind};
use crate::crypto::{
    BlindIndex, Envelope, KeyId, KeyProvider, SealContext, SealFault, SecretBytes, seal,
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
/// reason is that one does not, the caller gets the same `Corrupt`; the reason goes to the audit, with
/// the kind and the record of the place.
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
    /// Who makes or re-wraps keys of an owner.
    makers: Turns,
    /// Who reads keys of an owner that are said to have changed.
    readers: Turns,
    /// The canary by which the active KEK was last tried.
    tried: Mutex<Option<KeyId>>,
}

/// A sealed value, on its way to be stored.
///
/// # Security
///
/// Between sealing and storing its key may have been retired. Whoever stores the value reads the
/// stored epoch in the transaction that writes, with a lock that it holds until it has committed;
/// compares [`epoch`](Self::epoch) with it, and seals again where they differ. See [`KeyStore`].
#[derive(Clone)]
pub struct Sealed {
    bytes: Vec<u8>,
    key: KeyId,
    epoch: KeyEpoch,
}

/// The blind indexes of a value, and the epoch of the owner's keys of which they are.
#[derive(Debug, Clone)]
pub struct BlindIndexes {
    indexes: Vec<BlindIndex>,
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
    /// older one. `epoch` is that of the organization, read before the look-up, or the default if
    /// none was: the indexes are of keys no older. Equal values compare only if they have equal
    /// bytes: bring them into one form first (case, white space, Unicode form).
    ///
    /// # Errors
    ///
    /// As for [`seal`](Self::seal); `Invalid` for a column of no or more than 255 bytes.
    ///
    /// # Security
    ///
    /// Equality leaks to whoever reads the column: see [`BlindIndex`].
    ///
    /// What is not found may have been indexed under a key that this process does not know yet. Where
    /// that matters, compare [`BlindIndexes::epoch`] with the stored one as for a [`Sealed`] value,
    /// in the transaction that looks up or writes. A unique constraint over the column holds among
    /// the values of one key alone: look up by all indexes first, under the lock of the epoch. A value
    /// whose index is of a key that was retired is found no more: count indexes as well as values
    /// before [`retire`](Self::retire).
    pub async fn blind_indexes(
        &self,
        scope: &TenantScope,
        column: &str,
        value: &[u8],
        epoch: KeyEpoch,
    ) -> Result<BlindIndexes> {
        self.admit(scope)?;
        self.blind_indexes_as(KeyAccess::Organization(scope), column, value, epoch).await
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
        let refuse = |error| self.refuse(access, context.name(), error);
        for _ in 0..ATTEMPTS {
            let ring = self.ring_that_seals(access, at_least).await?;
            let key = ring.active().ok_or_else(|| Error::internal("a ring lost its active key"))?;
            let purpose = self.unlock(access, key).await.map_err(refuse)?.of(context.kind());
            if !self.still_serves(access, &ring)? {
                continue;
            }
            let (id, padding) = (key.stored.id, self.0.settings.padding);
            let bytes = seal(purpose, id, &access.owner(), context, text, padding)?;
            return Ok(Sealed { bytes, key: id, epoch: ring.epoch });
        }
        Err(too_fast())
    }

    pub(crate) async fn open_as(
        &self,
        access: KeyAccess<'_>,
        context: &SealContext<'_>,
        sealed: &[u8],
        epoch: KeyEpoch,
    ) -> Result<SecretBytes> {
        let opened = self.try_open(access, context, sealed, epoch).await;
        opened.map_err(|error| self.refuse(access, context.name(), error))
    }

    /// Opens a value. `Corrupt` has the reason: [`refuse`](Self::refuse) comes before the caller.
    pub(crate) async fn try_open(
        &self,
        access: KeyAccess<'_>,
        context: &SealContext<'_>,
        sealed: &[u8],
        epoch: KeyEpoch,
    ) -> Result<SecretBytes> {
        let refuse = |fault: SealFault| Error::corrupt(fault.reason());
        let envelope = Envelope::parse(sealed, self.0.settings.max_bytes).map_err(refuse)?;
        for _ in 0..ATTEMPTS {
            let ring = self.ring(access, epoch).await?;
            if ring.shredded {
                return Err(Error::shredded());
            }
            // INVARIANT: the key is looked up among the owner's alone.
            let key = ring.key(envelope.key()).ok_or_else(|| refuse(SealFault::UnknownKey))?;
            if key.stored.state == KeyState::Destroyed {
                return Err(refuse(SealFault::KeyDestroyed));
            }
            let purpose = self.unlock(access, key).await?.of(context.kind());
            if !self.still_serves(access, &ring)? {
                continue;
            }
            let owner = access.owner();
            return envelope.open(purpose, &owner, context).map_err(|fault| {
                // At most 16 derivations more, for a value that opens nowhere.
                let mut earlier = context.earlier();
                let rolled_back = fault == SealFault::WrongKeyOrContext
                    && earlier.any(|context| envelope.commits_to(purpose, &owner, &context));
                refuse(if rolled_back { SealFault::Rollback } else { fault })
            });
        }
        Err(too_fast())
    }

    pub(crate) async fn blind_indexes_as(
        &self,
        access: KeyAccess<'_>,
        column: &str,
        value: &[u8],
        at_least: KeyEpoch,
    ) -> Result<BlindIndexes> {
        if !(1..=255).contains(&column.len()) {
            return Err(Error::invalid("the column of a blind index has 1 to 255 bytes"));
        }
        if value.len() > self.0.settings.max_bytes {
            return Err(Error::invalid("the value is longer than the limit"));
        }
        let refuse = |error| self.refuse(access, "blind index", error);
        'again: for _ in 0..ATTEMPTS {
            let ring = self.ring_that_seals(access, at_least).await?;
            let mut indexes = Vec::new();
            for key in ring.living() {
                let index = self.unlock(access, key).await.map_err(refuse)?.index();
                if !self.still_serves(access, &ring)? {
                    continue 'again;
                }
                indexes.push(BlindIndex::compute(
                    index,
                    (key.stored.id, key.stored.version),
                    column,
                    value,
                )?);
            }
            return Ok(BlindIndexes { indexes, epoch: ring.epoch });
        }
        Err(too_fast())
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

    /// Whether what was read before the provider was waited for may still be used.
    ///
    /// INVARIANT: asked after the last wait and before the key is used, so that nothing is given out
    /// for a scope that ended meanwhile, nor under keys that were destroyed meanwhile.
    fn still_serves(&self, access: KeyAccess<'_>, ring: &Ring) -> Result<bool> {
        access.check()?;
        Ok(self.0.rings.is_known(ring))
    }

    /// The one error for what does not open. The reason is for the audit, with the name of what it is
    /// that does not.
    ///
    /// INVARIANT: nobody is told of a stored value why it does not open: every `Corrupt` of one that is
    /// opened comes by here on its way to a caller.
    #[cold]
    pub(crate) fn refuse(
        &self,
        access: KeyAccess<'_>,
        what: impl Into<Cow<'static, str>>,
        error: Error,
    ) -> Error {
        if error.kind() != ErrorKind::Corrupt {
            return error;
        }
        let event = self.event(access, AuditKind::SecretRefused).on(what);
        self.0.issuer.auditor().note(event.because(error.to_string()));
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

    fn now(&self) -> Duration {
        self.0.issuer.clock().monotonic()
    }
}

impl KeysBuilder {
    /// How long unwrapped keys are used; 5 minutes without it. It bounds how long a revoked KEK
    /// still serves; destroyed data keys are noticed at once by their epoch. They are wiped when, up
    /// to an eighth of the time later, any owner's key is next used.
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
        let (makers, readers, tried) = (Turns::default(), Turns::default(), Mutex::default());
        let store = Arc::new(Watched::new(&issuer, store));
        let inner =
            Inner { issuer, provider, store, settings, rings, doors, makers, readers, tried };
        Keys(Arc::new(inner))
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

impl BlindIndexes {
    /// The index to store: that of the active key.
    ///
    /// # Errors
    ///
    /// `Internal` never happens: there is always an active key.
    pub fn newest(&self) -> Result<BlindIndex> {
        self.indexes.first().copied().ok_or_else(|| Error::internal("a value has no blind index"))
    }

    /// The indexes to look up by, that of the newest key first.
    #[must_use]
    pub fn all(&self) -> &[BlindIndex] {
        &self.indexes
    }

    /// The epoch of the owner's keys.
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

fn too_fast() -> Error {
    Error::unavailable("the keys change faster than they can be read")
}

const ATTEMPTS: usize = 8;
/// The AWS SDKs' bound for keys that are fetched at a time.
const FAN_OUT: usize = 20;

#[cfg(test)]
mod doubles;
#[cfg(test)]
mod life_tests;
#[cfg(test)]
mod tests;
