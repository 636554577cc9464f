//! Wrapped data keys in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use time::OffsetDateTime;

use super::store::{KeyAccess, KeyEpoch, KeySet, KeyState, KeyStore, StoredKey};
use crate::ambient::CrossTenantAuthority;
use crate::crypto::{KekId, KeyId, KeyOwner, WrappedKey};
use crate::error::Result;
use crate::id::OrganizationId;

/// Keeps wrapped data keys in memory, and loses them with the process: for tests. Clones share
/// them.
#[derive(Debug, Clone, Default)]
pub struct MemoryKeyStore(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    sets: HashMap<KeyOwner, KeySet>,
    canaries: Vec<StoredKey>,
}

impl MemoryKeyStore {
    /// A store without keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes sealed values that are kept in memory too, if the owner's keys are still those of the
    /// epoch: `None` where they are not, or it has none. While `write` runs no key changes, nor is any read.
    ///
    /// # Errors
    ///
    /// `Denied` for a scope that no longer works.
    pub fn write_at<T>(
        &self,
        access: KeyAccess<'_>,
        epoch: KeyEpoch,
        write: impl FnOnce() -> T,
    ) -> Result<Option<T>> {
        access.check()?;
        Ok(self.with(|inner| {
            let set = inner.sets.get(&access.owner());
            let current = set.is_some_and(|set| set.epoch == epoch && set.active().is_some());
            current.then(write)
        }))
    }

    #[cfg(test)]
    pub(super) fn is_locked(&self) -> bool {
        self.0.try_lock().is_err()
    }

    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the owner's set, if the epoch is still `seen` and the change applies.
    fn change(
        &self,
        access: KeyAccess<'_>,
        seen: KeyEpoch,
        change: impl FnOnce(&mut KeySet, &[StoredKey]) -> bool,
    ) -> Result<bool> {
        access.check()?;
        Ok(self.with(|Inner { sets, canaries }| {
            let set = sets.entry(access.owner()).or_default();
            let changed = set.epoch == seen && set.shredded_at.is_none() && change(set, canaries);
            if changed {
                set.epoch = set.epoch.next();
            }
            changed
        }))
    }
}

#[async_trait]
impl KeyStore for MemoryKeyStore {
    async fn load(&self, access: KeyAccess<'_>) -> Result<KeySet> {
        access.check()?;
        Ok(self.with(|inner| inner.sets.get(&access.owner()).cloned().unwrap_or_default()))
    }

    async fn activate(
        &self,
        access: KeyAccess<'_>,
        seen: KeyEpoch,
        key: &StoredKey,
    ) -> Result<bool> {
        self.change(access, seen, |set, canaries| {
            let clash =
                set.keys.iter().any(|other| other.id == key.id || other.version == key.version);
            if clash || !key.kek().is_some_and(|kek| has(canaries, kek)) {
                return false;
            }
            for other in &mut set.keys {
                if other.state == KeyState::Active {
                    other.state = KeyState::DecryptOnly;
                }
            }
            set.keys.push(key.clone());
            true
        })
    }

    async fn rewrap(
        &self,
        access: KeyAccess<'_>,
        key: KeyId,
        from: &WrappedKey,
        to: &WrappedKey,
    ) -> Result<bool> {
        access.check()?;
        Ok(self.with(|inner| {
            if !has(&inner.canaries, to.kek()) {
                return false;
            }
            let set = inner.sets.get_mut(&access.owner());
            let stored = set.and_then(|set| set.keys.iter_mut().find(|stored| stored.id == key));
            let wrapped = stored.and_then(|stored| stored.wrapped.as_mut());
            let Some(wrapped) = wrapped.filter(|wrapped| **wrapped == *from) else { return false };
            *wrapped = to.clone();
            true
        }))
    }

    async fn destroy(
        &self,
        access: KeyAccess<'_>,
        seen: KeyEpoch,
        key: KeyId,
        at: OffsetDateTime,
    ) -> Result<bool> {
        self.change(access, seen, |set, _| {
            let retired =
                |stored: &&mut StoredKey| stored.id == key && stored.state == KeyState::DecryptOnly;
            let Some(stored) = set.keys.iter_mut().find(retired) else { return false };
            *stored = stored.clone().destroyed(at);
            true
        })
    }

    async fn shred(&self, access: KeyAccess<'_>, at: OffsetDateTime) -> Result<()> {
        access.check()?;
        self.with(|inner| {
            let set = inner.sets.entry(access.owner()).or_default();
            if set.shredded_at.is_some() {
                return;
            }
            for stored in set.keys.iter_mut().filter(|key| key.state != KeyState::Destroyed) {
                *stored = stored.clone().destroyed(at);
            }
            set.shredded_at = Some(at);
            set.epoch = set.epoch.next();
        });
        Ok(())
    }

    async fn canaries(&self) -> Result<Vec<StoredKey>> {
        Ok(self.with(|inner| inner.canaries.clone()))
    }

    async fn add_canary(&self, canary: &StoredKey) -> Result<()> {
        self.with(|inner| {
            if canary.kek().is_some_and(|kek| !has(&inner.canaries, kek)) {
                inner.canaries.push(canary.clone());
            }
        });
        Ok(())
    }

    async fn remove_canary(&self, kek: &KekId, _: &CrossTenantAuthority) -> Result<bool> {
        Ok(self.with(|inner| {
            let unused = inner.in_use(kek) == 0;
            if unused {
                inner.canaries.retain(|canary| canary.kek() != Some(kek));
            }
            unused
        }))
    }

    async fn in_use(&self, kek: &KekId, _: &CrossTenantAuthority) -> Result<u64> {
        Ok(self.with(|inner| inner.in_use(kek)))
    }

    async fn organizations(&self, _: &CrossTenantAuthority) -> Result<Vec<OrganizationId>> {
        let organization = |owner: &KeyOwner| match owner {
            KeyOwner::Organization(organization) => Some(organization.clone()),
            KeyOwner::Platform => None,
        };
        let with_keys = |(owner, set): (&KeyOwner, &KeySet)| {
            (!set.keys.is_empty()).then(|| organization(owner)).flatten()
        };
        Ok(self.with(|inner| inner.sets.iter().filter_map(with_keys).collect()))
    }
}

impl Inner {
    fn in_use(&self, kek: &KekId) -> u64 {
        let keys = self.sets.values().flat_map(|set| &set.keys);
        keys.map(|key| u64::from(key.kek() == Some(kek))).sum()
    }
}

fn has(canaries: &[StoredKey], kek: &KekId) -> bool {
    canaries.iter().any(|canary| canary.kek() == Some(kek))
}
