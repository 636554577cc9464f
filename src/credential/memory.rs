//! Sealed credentials in memory.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use time::OffsetDateTime;
use tokio::sync::Mutex;

use super::keys::{KeyAccess, KeyEpoch, KeySet, KeyStore, MemoryKeyStore, StoredKey};
use super::record::{
    Checkpoint, CredentialId, KeyUse, Resealed, Snapshot, StoredCredential, Written,
};
use super::store::CredentialStore;
use crate::ambient::CrossTenantAuthority;
use crate::crypto::{KekId, KeyId, WrappedKey};
use crate::error::Result;
use crate::id::OrganizationId;
use crate::scope::TenantScope;

/// Keeps sealed credentials and their keys in memory, and loses them with the process: for tests.
/// Clones share them.
#[derive(Debug, Clone, Default)]
pub struct MemoryCredentialStore {
    keys: MemoryKeyStore,
    /// Held while the epoch is read, so that it is that of the rows.
    rows: Arc<Mutex<HashMap<OrganizationId, Rows>>>,
}

#[derive(Debug, Default)]
struct Rows {
    credentials: BTreeMap<CredentialId, StoredCredential>,
    checkpoint: Option<Checkpoint>,
}

impl MemoryCredentialStore {
    /// A store without credentials.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    async fn epoch(&self, scope: &TenantScope) -> Result<KeyEpoch> {
        Ok(self.keys.load(KeyAccess::Organization(scope)).await?.epoch)
    }

    async fn read<T>(
        &self,
        scope: &TenantScope,
        read: impl FnOnce(&Rows) -> T + Send,
    ) -> Result<Snapshot<T>> {
        scope.check()?;
        let mut rows = self.rows.lock().await;
        let epoch = self.epoch(scope).await?;
        Ok(Snapshot::new(epoch, read(rows.entry(scope.organization().clone()).or_default())))
    }

    /// Writes if the keys are still those of the epoch: `false` where what was there forbids it.
    async fn write(
        &self,
        scope: &TenantScope,
        epoch: KeyEpoch,
        write: impl FnOnce(&mut Rows) -> bool + Send,
    ) -> Result<Written> {
        let mut rows = self.rows.lock().await;
        let rows = rows.entry(scope.organization().clone()).or_default();
        let written = self.keys.write_at(KeyAccess::Organization(scope), epoch, || write(rows))?;
        Ok(match written {
            Some(true) => Written::Done,
            Some(false) => Written::Moved,
            None => Written::KeysChanged,
        })
    }
}

#[async_trait]
impl CredentialStore for MemoryCredentialStore {
    async fn insert(
        &self,
        scope: &TenantScope,
        epoch: KeyEpoch,
        credential: &StoredCredential,
    ) -> Result<Written> {
        self.write(scope, epoch, |rows| {
            let free = !rows.credentials.contains_key(&credential.info.id);
            if free {
                rows.credentials.insert(credential.info.id, credential.clone());
            }
            free
        })
        .await
    }

    async fn get(
        &self,
        scope: &TenantScope,
        id: CredentialId,
    ) -> Result<Snapshot<Option<StoredCredential>>> {
        self.read(scope, |rows| rows.credentials.get(&id).cloned()).await
    }

    async fn replace(
        &self,
        scope: &TenantScope,
        epoch: KeyEpoch,
        seen: u64,
        credential: &StoredCredential,
    ) -> Result<Written> {
        self.write(scope, epoch, |rows| match rows.credentials.get_mut(&credential.info.id) {
            Some(stored) if stored.info.version == seen => {
                *stored = credential.clone();
                true
            }
            _ => false,
        })
        .await
    }

    async fn page(
        &self,
        scope: &TenantScope,
        after: Option<CredentialId>,
        limit: u32,
    ) -> Result<Snapshot<Vec<(CredentialId, Result<StoredCredential>)>>> {
        self.read(scope, |rows| {
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let rest = rows.credentials.range((from, Bound::Unbounded));
            rest.take(limit as usize).map(|(id, stored)| (*id, Ok(stored.clone()))).collect()
        })
        .await
    }

    async fn remove(&self, scope: &TenantScope, id: CredentialId) -> Result<bool> {
        scope.check()?;
        let mut rows = self.rows.lock().await;
        let rows = rows.get_mut(scope.organization());
        Ok(rows.is_some_and(|rows| rows.credentials.remove(&id).is_some()))
    }

    async fn usage(&self, scope: &TenantScope) -> Result<Snapshot<Vec<KeyUse>>> {
        self.read(scope, |rows| {
            let mut counts = BTreeMap::<Option<KeyId>, u64>::new();
            for stored in rows.credentials.values() {
                *counts.entry(stored.key).or_default() += 1;
            }
            let uses = counts.into_iter();
            uses.map(|(key, count)| KeyUse::new("credentials.sealed", key, count)).collect()
        })
        .await
    }

    async fn reseal(
        &self,
        scope: &TenantScope,
        epoch: KeyEpoch,
        seen: Option<Checkpoint>,
        values: &[Resealed],
        reached: Option<Checkpoint>,
    ) -> Result<Written> {
        self.write(scope, epoch, |rows| {
            if rows.checkpoint != seen {
                return false;
            }
            for value in values {
                if let Some(stored) = rows.credentials.get_mut(&value.id)
                    && stored.sealed == value.from
                {
                    (stored.sealed, stored.key) = (value.to.clone(), Some(value.key));
                }
            }
            rows.checkpoint = reached;
            true
        })
        .await
    }

    async fn checkpoint(&self, scope: &TenantScope) -> Result<Option<Checkpoint>> {
        Ok(self.read(scope, |rows| rows.checkpoint).await?.value)
    }
}

#[async_trait]
impl KeyStore for MemoryCredentialStore {
    async fn load(&self, access: KeyAccess<'_>) -> Result<KeySet> {
        self.keys.load(access).await
    }

    async fn activate(
        &self,
        access: KeyAccess<'_>,
        seen: KeyEpoch,
        key: &StoredKey,
    ) -> Result<bool> {
        self.keys.activate(access, seen, key).await
    }

    async fn rewrap(
        &self,
        access: KeyAccess<'_>,
        key: KeyId,
        from: &WrappedKey,
        to: &WrappedKey,
    ) -> Result<bool> {
        self.keys.rewrap(access, key, from, to).await
    }

    async fn destroy(
        &self,
        access: KeyAccess<'_>,
        seen: KeyEpoch,
        key: KeyId,
        at: OffsetDateTime,
    ) -> Result<bool> {
        self.keys.destroy(access, seen, key, at).await
    }

    async fn shred(&self, access: KeyAccess<'_>, at: OffsetDateTime) -> Result<()> {
        self.keys.shred(access, at).await
    }

    async fn canaries(&self) -> Result<Vec<StoredKey>> {
        self.keys.canaries().await
    }

    async fn add_canary(&self, canary: &StoredKey) -> Result<()> {
        self.keys.add_canary(canary).await
    }

    async fn remove_canary(&self, kek: &KekId, authority: &CrossTenantAuthority) -> Result<bool> {
        self.keys.remove_canary(kek, authority).await
    }

    async fn in_use(&self, kek: &KekId, authority: &CrossTenantAuthority) -> Result<u64> {
        self.keys.in_use(kek, authority).await
    }

    async fn organizations(&self, authority: &CrossTenantAuthority) -> Result<Vec<OrganizationId>> {
        self.keys.organizations(authority).await
    }
}
