//! Wrapped data keys in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use time::OffsetDateTime;

use super::store::{KeyAccess, KeyEpoch, KeySet, KeyState, KeyStore, StoredKey};
use crate::crypto::{KekId, KeyId, KeyOwner, WrappedKey};
use crate::error::Result;

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

    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the owner's set, if the epoch is still `seen` and the change applies.
    fn change(
        &self,
        access: KeyAccess<'_>,
        seen: KeyEpoch,
        change: impl FnOnce(&mut KeySet) -> bool,
    ) -> Result<bool> {
        access.check()?;
        Ok(self.with(|inner| {
            let set = inner.sets.entry(access.owner()).or_default();
            let changed = set.epoch == seen && set.shredded_at.is_none() && change(set);
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
        self.change(access, seen, |set| {
            let clash =
                set.keys.iter().any(|other| other.id == key.id || other.version == key.version);
            if clash {
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
        self.change(access, seen, |set| {
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
            let kek = |key: &StoredKey| key.wrapped.as_ref().map(|wrapped| wrapped.kek().clone());
            if !inner.canaries.iter().any(|other| kek(other) == kek(canary)) {
                inner.canaries.push(canary.clone());
            }
        });
        Ok(())
    }

    async fn remove_canary(&self, kek: &KekId) -> Result<()> {
        self.with(|inner| {
            inner.canaries.retain(|canary| {
                canary.wrapped.as_ref().is_none_or(|wrapped| wrapped.kek() != kek)
            });
        });
        Ok(())
    }
}
