//! Where wrapped data keys are kept.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use time::OffsetDateTime;

use crate::ambient::CrossTenantAuthority;
use crate::crypto::{KekId, KeyCheckValue, KeyId, KeyOwner, WrappedKey};
use crate::error::Result;
use crate::id::OrganizationId;
use crate::scope::TenantScope;

/// Keeps the wrapped data keys of organizations and of the platform. Open: implement it for your
/// own store.
///
/// # Contract
///
/// - A method MUST touch no other owner's keys than those of its `access`.
/// - [`load`](Self::load) MUST see one moment: keys and epoch that never stood together are a
///   fault. An owner of whom nothing is stored has an empty set at epoch 0.
/// - Each owner has an epoch. [`activate`](Self::activate), [`destroy`](Self::destroy) and
///   [`shred`](Self::shred) MUST raise it, in the same atomic step as what they change;
///   [`rewrap`](Self::rewrap) MUST NOT. An epoch never goes back.
/// - What takes an epoch MUST do nothing and answer `false` where the stored epoch is another.
/// - At most one key of an owner is active. A set that was shredded MUST stay so: no key is ever
///   added to it.
/// - A key MUST be wrapped under a KEK that has a canary, as a row refers to a row by a foreign key:
///   [`activate`](Self::activate) and [`rewrap`](Self::rewrap) answer `false` where there is none,
///   and [`remove_canary`](Self::remove_canary) does while a key is wrapped under its KEK. Both MUST
///   be decided in the atomic step that writes.
/// - A destroyed key MUST keep its row and lose its wrapped bytes, in every copy that the store
///   itself keeps.
/// - A method that answers `Ok` MUST have made its change durable.
/// - A foreign key id MUST be answered like one that does not exist.
///
/// # What writes sealed values
///
/// A value MUST NOT come to stand under a key that was retired after it was sealed: nothing would
/// open it. Reading the epoch before the write is not enough, for it may be raised before the commit.
///
/// - The transaction that writes a sealed value MUST read the owner's epoch with a lock that keeps
///   every change of it waiting, and hold the lock until it has committed: `SELECT … FOR SHARE` or
///   `SERIALIZABLE` on PostgreSQL, `BEGIN IMMEDIATE` on SQLite. Where the epoch is not that of the
///   value ([`Sealed::epoch`](super::Sealed::epoch)) or the owner is shredded, it MUST write nothing.
/// - Whoever counts the values under a key, to have it destroyed, MUST read the epoch before it
///   counts or in the same snapshot, and give that epoch to [`Keys::retire`](super::Keys::retire).
///   What is counted under a key that is not active at that epoch can only become less.
///
/// # Cancellation
///
/// A method that is dropped MUST have changed everything or nothing.
///
/// # Wrappers
///
/// A wrapper implements every method and passes on the errors of what it wraps.
///
/// # Testing
///
/// [`conformance::key_store`](super::conformance::key_store) tries a store.
#[async_trait]
pub trait KeyStore: fmt::Debug + Send + Sync + 'static {
    /// All keys of the owner, and its epoch.
    async fn load(&self, access: KeyAccess<'_>) -> Result<KeySet>;

    /// Makes a key the active one and the one before decrypt-only, if the epoch is still `seen` and
    /// the KEK has a canary.
    async fn activate(
        &self,
        access: KeyAccess<'_>,
        seen: KeyEpoch,
        key: &StoredKey,
    ) -> Result<bool>;

    /// Puts the same data key wrapped anew in the place of `from`, if that still stands there and the
    /// KEK has a canary.
    async fn rewrap(
        &self,
        access: KeyAccess<'_>,
        key: KeyId,
        from: &WrappedKey,
        to: &WrappedKey,
    ) -> Result<bool>;

    /// Destroys a decrypt-only key, if the epoch is still `seen`: `false` also where there is no
    /// such key.
    async fn destroy(
        &self,
        access: KeyAccess<'_>,
        seen: KeyEpoch,
        key: KeyId,
        at: OffsetDateTime,
    ) -> Result<bool>;

    /// Destroys every key of the owner for good, also where it has none yet. A second time changes
    /// nothing.
    async fn shred(&self, access: KeyAccess<'_>, at: OffsetDateTime) -> Result<()>;

    /// The keys by which KEKs are tried at start. They belong to no organization.
    async fn canaries(&self) -> Result<Vec<StoredKey>>;

    /// Keeps a canary, unless there is one for its KEK.
    async fn add_canary(&self, canary: &StoredKey) -> Result<()>;

    /// Forgets the canary of a KEK, unless any owner's key is wrapped under it: `false` then.
    ///
    /// # Cross-tenant authority
    ///
    /// Looks at the keys of every organization and of the platform.
    async fn remove_canary(&self, kek: &KekId, authority: &CrossTenantAuthority) -> Result<bool>;

    /// How many data keys are wrapped under a KEK, of all organizations and of the platform.
    ///
    /// # Cross-tenant authority
    ///
    /// Counts the keys of every organization.
    async fn in_use(&self, kek: &KekId, authority: &CrossTenantAuthority) -> Result<u64>;

    /// Every organization that has keys, active or not, also one whose keys cannot be read: who cares
    /// for them learns why when they are loaded.
    ///
    /// # Cross-tenant authority
    ///
    /// Tells which organizations there are.
    async fn organizations(&self, authority: &CrossTenantAuthority) -> Result<Vec<OrganizationId>>;
}

/// The permission by which keys are reached, and whose keys they are therefore.
///
/// # Security
///
/// [`Keys`](super::Keys) alone makes one, after it compared the issuer of the scope: a store is not
/// driven with the scopes of somebody else's issuer. The scope may be one of a suspended
/// organization, for the care of its keys; a store uses it for nothing else.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum KeyAccess<'a> {
    /// The scope's organization.
    #[non_exhaustive]
    Organization(&'a TenantScope),
    /// The platform itself.
    #[non_exhaustive]
    Platform(&'a CrossTenantAuthority),
}

/// A count of the changes to an owner's set of keys, by which a stale copy is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct KeyEpoch(u64);

/// The keys of one owner, as they stood at one moment.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct KeySet {
    /// The epoch.
    pub epoch: KeyEpoch,
    /// When all keys were destroyed for good, if they were.
    pub shredded_at: Option<OffsetDateTime>,
    /// The keys, in the order of their versions.
    pub keys: Vec<StoredKey>,
}

/// A data key as it is stored.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StoredKey {
    /// The key's name.
    pub id: KeyId,
    /// Its number among its owner's keys: 1, 2, and so on.
    pub version: u32,
    /// Whether it seals, opens, or is gone.
    pub state: KeyState,
    /// The key itself, wrapped: `None` once it is destroyed.
    pub wrapped: Option<WrappedKey>,
    /// By which the unwrapped key is recognised.
    pub check: KeyCheckValue,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When it was destroyed.
    pub destroyed_at: Option<OffsetDateTime>,
}

/// What a data key may still do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyState {
    /// It seals and opens.
    Active,
    /// It opens what was sealed under it.
    DecryptOnly,
    /// It is gone, and with it what was sealed under it.
    Destroyed,
}

impl KeyAccess<'_> {
    /// Whose keys are reached.
    #[must_use]
    pub fn owner(&self) -> KeyOwner {
        match self {
            Self::Organization(scope) => KeyOwner::Organization(scope.organization().clone()),
            Self::Platform(_) => KeyOwner::Platform,
        }
    }

    /// Whether the permission still holds: a scope may have ended. For stores that keep the keys
    /// themselves; one that asks the [`Database`](crate::Database) is checked there.
    ///
    /// # Errors
    ///
    /// `Denied` for a scope that no longer works.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Organization(scope) => scope.check(),
            Self::Platform(_) => Ok(()),
        }
    }
}

impl KeyEpoch {
    /// The epoch that was stored.
    #[must_use]
    pub const fn new(epoch: u64) -> Self {
        Self(epoch)
    }

    /// The epoch as it is stored.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The one after it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl KeySet {
    /// A set that was read.
    #[must_use]
    pub fn new(
        epoch: KeyEpoch,
        shredded_at: Option<OffsetDateTime>,
        mut keys: Vec<StoredKey>,
    ) -> Self {
        keys.sort_by_key(|key| key.version);
        Self { epoch, shredded_at, keys }
    }

    /// The key that seals.
    #[must_use]
    pub fn active(&self) -> Option<&StoredKey> {
        self.keys.iter().find(|key| key.state == KeyState::Active)
    }
}

impl StoredKey {
    /// A key that is stored, in a state that goes with its wrapped bytes.
    #[must_use]
    pub fn new(
        id: KeyId,
        version: u32,
        state: KeyState,
        wrapped: Option<WrappedKey>,
        check: KeyCheckValue,
        created_at: OffsetDateTime,
    ) -> Self {
        Self { id, version, state, wrapped, check, created_at, destroyed_at: None }
    }

    /// The KEK under which it is wrapped: `None` once it is destroyed.
    #[must_use]
    pub fn kek(&self) -> Option<&KekId> {
        self.wrapped.as_ref().map(WrappedKey::kek)
    }

    /// The key with the time at which it was destroyed.
    #[must_use]
    pub fn destroyed(mut self, at: OffsetDateTime) -> Self {
        self.state = KeyState::Destroyed;
        self.wrapped = None;
        self.destroyed_at = Some(at);
        self
    }
}

impl KeyState {
    /// The word that is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::DecryptOnly => "decrypt_only",
            Self::Destroyed => "destroyed",
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: KeyStore + ?Sized> KeyStore for Arc<S> {
    async fn load(&self, access: KeyAccess<'_>) -> Result<KeySet> {
        (**self).load(access).await
    }

    async fn activate(
        &self,
        access: KeyAccess<'_>,
        seen: KeyEpoch,
        key: &StoredKey,
    ) -> Result<bool> {
        (**self).activate(access, seen, key).await
    }

    async fn rewrap(
        &self,
        access: KeyAccess<'_>,
        key: KeyId,
        from: &WrappedKey,
        to: &WrappedKey,
    ) -> Result<bool> {
        (**self).rewrap(access, key, from, to).await
    }

    async fn destroy(
        &self,
        access: KeyAccess<'_>,
        seen: KeyEpoch,
        key: KeyId,
        at: OffsetDateTime,
    ) -> Result<bool> {
        (**self).destroy(access, seen, key, at).await
    }

    async fn shred(&self, access: KeyAccess<'_>, at: OffsetDateTime) -> Result<()> {
        (**self).shred(access, at).await
    }

    async fn canaries(&self) -> Result<Vec<StoredKey>> {
        (**self).canaries().await
    }

    async fn add_canary(&self, canary: &StoredKey) -> Result<()> {
        (**self).add_canary(canary).await
    }

    async fn remove_canary(&self, kek: &KekId, authority: &CrossTenantAuthority) -> Result<bool> {
        (**self).remove_canary(kek, authority).await
    }

    async fn in_use(&self, kek: &KekId, authority: &CrossTenantAuthority) -> Result<u64> {
        (**self).in_use(kek, authority).await
    }

    async fn organizations(&self, authority: &CrossTenantAuthority) -> Result<Vec<OrganizationId>> {
        (**self).organizations(authority).await
    }
}
