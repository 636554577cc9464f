//! The SQL store as a store of keys.

use async_trait::async_trait;
use time::OffsetDateTime;

use super::platform::{ATTEMPTS, Platform, too_fast};
use super::tables::{
    CanaryRow, KeyRow, RingRow, SLOT, canaries, key_rings, key_set, micros, organization_keys,
};
use super::{SqlCredentialStore, set_epoch};
use crate::ambient::{CrossTenantAuthority, read_global};
use crate::credential::{KeyAccess, KeyEpoch, KeySet, KeyState, KeyStore, StoredKey};
use crate::crypto::{KekId, KeyId, WrappedKey};
use crate::database::Transaction;
use crate::error::{Error, ErrorKind, Result};
use crate::id::OrganizationId;
use crate::scope::TenantScope;

#[async_trait]
impl KeyStore for SqlCredentialStore {
    async fn load(&self, access: KeyAccess<'_>) -> Result<KeySet> {
        match access {
            KeyAccess::Organization(scope) => {
                let rows = RingRow::select(scope).left_join_from(organization_keys::slot);
                key_set(rows.fetch_all(&self.db).await?)
            }
            KeyAccess::Platform(authority) => Ok(self.platform(authority).await?.set),
        }
    }

    async fn activate(
        &self,
        access: KeyAccess<'_>,
        seen: KeyEpoch,
        key: &StoredKey,
    ) -> Result<bool> {
        let Some(kek) = key.kek() else { return Ok(false) };
        let scope = match access {
            KeyAccess::Organization(scope) => scope,
            KeyAccess::Platform(authority) => {
                let Some(canary) = self.canary(kek, authority).await? else { return Ok(false) };
                return self
                    .wrap_platform(kek, canary, authority, |platform| {
                        change(&mut platform.set, seen, |set| {
                            for other in &mut set.keys {
                                if other.state == KeyState::Active {
                                    other.state = KeyState::DecryptOnly;
                                }
                            }
                            set.keys.push(key.clone());
                            true
                        })
                    })
                    .await;
            }
        };
        let mut tx = self.db.begin(scope).await?;
        if !raise(scope, &mut tx, seen).await? {
            return Ok(false);
        }
        match KeyRow::insert(scope, KeyRow::of(key)?).execute(&mut tx).await {
            Err(error) if is_without_canary(&error) => return Ok(false),
            inserted => inserted?,
        };
        RingRow::update(scope)
            .set(key_rings::active, *key.id.as_uuid())
            .key(SLOT)
            .execute(&mut tx)
            .await?;
        tx.commit().await?;
        Ok(true)
    }

    async fn rewrap(
        &self,
        access: KeyAccess<'_>,
        key: KeyId,
        from: &WrappedKey,
        to: &WrappedKey,
    ) -> Result<bool> {
        let scope = match access {
            KeyAccess::Organization(scope) => scope,
            KeyAccess::Platform(authority) => {
                let canary = self.canary(to.kek(), authority).await?;
                let Some(canary) = canary else { return Ok(false) };
                return self
                    .wrap_platform(to.kek(), canary, authority, |platform| {
                        let stored = platform.set.keys.iter_mut().find(|stored| stored.id == key);
                        let wrapped = stored.and_then(|stored| stored.wrapped.as_mut());
                        let Some(wrapped) = wrapped.filter(|wrapped| **wrapped == *from) else {
                            return false;
                        };
                        *wrapped = to.clone();
                        true
                    })
                    .await;
            }
        };
        let unchanged = organization_keys::wrapped
            .eq(from.as_bytes().to_vec())
            .and(organization_keys::kek_id.eq(from.kek().as_str()));
        let changed = KeyRow::update(scope)
            .set(organization_keys::wrapped, to.as_bytes().to_vec())
            .set(organization_keys::kek_id, to.kek().as_str())
            .filter(organization_keys::key_id.eq(*key.as_uuid()).and(unchanged))
            .execute(&self.db)
            .await;
        match changed {
            Err(error) if is_without_canary(&error) => Ok(false),
            changed => Ok(changed? == 1),
        }
    }

    async fn destroy(
        &self,
        access: KeyAccess<'_>,
        seen: KeyEpoch,
        key: KeyId,
        at: OffsetDateTime,
    ) -> Result<bool> {
        let scope = match access {
            KeyAccess::Organization(scope) => scope,
            KeyAccess::Platform(authority) => {
                return self
                    .change_platform(authority, |platform| {
                        change(&mut platform.set, seen, |set| {
                            let retired = |stored: &&mut StoredKey| {
                                stored.id == key && stored.state == KeyState::DecryptOnly
                            };
                            let Some(stored) = set.keys.iter_mut().find(retired) else {
                                return false;
                            };
                            *stored = stored.clone().destroyed(at);
                            true
                        })
                    })
                    .await;
            }
        };
        let mut tx = self.db.begin(scope).await?;
        if !raise(scope, &mut tx, seen).await? {
            return Ok(false);
        }
        // Read after the epoch was compared and the row locked by it.
        let ring = RingRow::find(scope, SLOT).fetch_optional(&mut tx).await?;
        if ring.is_none_or(|ring| ring.active == Some(*key.as_uuid())) {
            return Ok(false);
        }
        let destroyed = destroy(scope, &mut tx, Some(key), at).await?;
        if destroyed == 1 {
            tx.commit().await?;
            self.forget().await;
        }
        Ok(destroyed == 1)
    }

    async fn shred(&self, access: KeyAccess<'_>, at: OffsetDateTime) -> Result<()> {
        let scope = match access {
            KeyAccess::Organization(scope) => scope,
            KeyAccess::Platform(authority) => {
                let shredded = |platform: &mut Platform| {
                    let set = &mut platform.set;
                    if set.shredded_at.is_some() {
                        return false;
                    }
                    for key in set.keys.iter_mut().filter(|key| key.state != KeyState::Destroyed) {
                        *key = key.clone().destroyed(at);
                    }
                    (set.shredded_at, set.epoch) = (Some(at), set.epoch.next());
                    true
                };
                for _ in 0..ATTEMPTS {
                    if self.change_platform(authority, shredded).await?
                        || self.platform(authority).await?.set.shredded_at.is_some()
                    {
                        return Ok(());
                    }
                }
                return Err(too_fast());
            }
        };
        for _ in 0..ATTEMPTS {
            let mut tx = self.db.begin(scope).await?;
            let ring = RingRow::find(scope, SLOT).fetch_optional(&mut tx).await?;
            if ring.as_ref().is_some_and(|ring| ring.shredded_at.is_some()) {
                drop(tx);
                self.forget().await;
                return Ok(());
            }
            let seen = ring.map_or(Ok(KeyEpoch::default()), |ring| ring.epoch())?;
            // Before the keys are destroyed: none is added any more.
            if !raise(scope, &mut tx, seen).await? {
                continue;
            }
            destroy(scope, &mut tx, None, at).await?;
            RingRow::update(scope)
                .set(key_rings::active, None)
                .set(key_rings::shredded_at, micros(at)?)
                .key(SLOT)
                .execute(&mut tx)
                .await?;
            tx.commit().await?;
            self.forget().await;
            return Ok(());
        }
        Err(too_fast())
    }

    async fn canaries(&self) -> Result<Vec<StoredKey>> {
        let rows = read_global::<CanaryRow>(&self.db, &self.authority).await?;
        rows.into_iter().map(CanaryRow::into_key).collect()
    }

    async fn add_canary(&self, canary: &StoredKey) -> Result<()> {
        let Some(row) = CanaryRow::of(canary)? else { return Ok(()) };
        match CanaryRow::insert_global(&self.authority, row).execute(&self.db).await {
            // The one that is there stands.
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
            inserted => inserted.map(drop),
        }
    }

    async fn remove_canary(&self, kek: &KekId, authority: &CrossTenantAuthority) -> Result<bool> {
        if self.in_use(kek, authority).await? > 0 {
            return Ok(false);
        }
        let Some(canary) = self.canary(kek, authority).await? else { return Ok(true) };
        let Some(closing) = self.close(kek, canary, authority).await? else { return Ok(false) };
        let this = canaries::kek_id.eq(kek.as_str()).and(canaries::key_id.eq(canary));
        match CanaryRow::delete_global(authority).filter(this).execute(&self.db).await {
            // An organization's key refers to it.
            Err(error) if error.kind() == ErrorKind::Conflict => {
                self.reopen(closing, authority).await?;
                Ok(false)
            }
            deleted => {
                deleted?;
                self.forget().await;
                Ok(true)
            }
        }
    }

    async fn in_use(&self, kek: &KekId, authority: &CrossTenantAuthority) -> Result<u64> {
        let wrapped = KeyRow::select_across(authority)
            .filter(organization_keys::kek_id.eq(kek.as_str()))
            .fetch_all(&self.db)
            .await?;
        Ok(wrapped.len() as u64 + self.platform(authority).await?.in_use(kek))
    }

    async fn organizations(&self, authority: &CrossTenantAuthority) -> Result<Vec<OrganizationId>> {
        let rings = RingRow::select_across(authority).fetch_all(&self.db).await?;
        let mut organizations: Vec<_> = rings.into_iter().map(|(id, _)| id).collect();
        organizations.sort_unstable();
        Ok(organizations)
    }
}

/// Raises the organization's epoch, if it is the one that was seen: made at the first key.
async fn raise(scope: &TenantScope, tx: &mut Transaction, seen: KeyEpoch) -> Result<bool> {
    if set_epoch(scope, tx, seen, seen.next()).await? {
        return Ok(true);
    }
    if seen != KeyEpoch::default() {
        return Ok(false);
    }
    let epoch = seen.next().get().cast_signed();
    let ring = RingRow { slot: SLOT, epoch, active: None, shredded_at: None, sealed_columns: None };
    match RingRow::insert(scope, ring).execute(tx).await {
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(false),
        inserted => Ok(inserted? == 1),
    }
}

/// Whether a key was refused because no canary has its KEK: the one reference that can be missing.
fn is_without_canary(error: &Error) -> bool {
    error.kind() == ErrorKind::NotFound
}

/// Destroys one key, or all that there are.
async fn destroy(
    scope: &TenantScope,
    tx: &mut Transaction,
    key: Option<KeyId>,
    at: OffsetDateTime,
) -> Result<u64> {
    let mut living = organization_keys::destroyed_at.is_null();
    if let Some(key) = key {
        living = living.and(organization_keys::key_id.eq(*key.as_uuid()));
    }
    KeyRow::update(scope)
        .set(organization_keys::wrapped, None)
        .set(organization_keys::kek_id, None)
        .set(organization_keys::destroyed_at, micros(at)?)
        .filter(living)
        .execute(tx)
        .await
}

/// Changes a set whose epoch is the one that was seen, and raises it.
fn change(set: &mut KeySet, seen: KeyEpoch, change: impl FnOnce(&mut KeySet) -> bool) -> bool {
    let changed = set.epoch == seen && set.shredded_at.is_none() && change(set);
    if changed {
        set.epoch = set.epoch.next();
    }
    changed
}
