//! The store of files as a store of keys.
//!
//! Whoever wraps a key holds the platform's turn besides the owner's, taken first: so do those who
//! remove the canary of a KEK, and no key comes under one that has none.

use async_trait::async_trait;
use time::OffsetDateTime;

use super::{FileCredentialStore, forms};
use crate::ambient::CrossTenantAuthority;
use crate::credential::directory::{CredentialDirectory, Owner, Shelf, Turn};
use crate::credential::key_form::misshapen;
use crate::credential::keys::{KeyAccess, KeyEpoch, KeySet, KeyState, KeyStore, StoredKey};
use crate::crypto::{KekId, KeyId, WrappedKey};
use crate::error::Result;
use crate::id::OrganizationId;

#[async_trait]
impl KeyStore for FileCredentialStore {
    async fn load(&self, access: KeyAccess<'_>) -> Result<KeySet> {
        self.blocking(owner(access), |directory, owner| {
            directory
                .shelf(owner, false)?
                .map_or(Ok(KeySet::default()), |shelf| forms::keys(&shelf))
        })
        .await
    }

    async fn activate(
        &self,
        access: KeyAccess<'_>,
        seen: KeyEpoch,
        key: &StoredKey,
    ) -> Result<bool> {
        let Some(kek) = key.kek().cloned() else { return Ok(false) };
        let key = key.clone();
        self.wrap(access, kek, move |turn| {
            change(turn, seen, |set| {
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
                set.keys.push(key);
                true
            })
        })
        .await
    }

    async fn rewrap(
        &self,
        access: KeyAccess<'_>,
        key: KeyId,
        from: &WrappedKey,
        to: &WrappedKey,
    ) -> Result<bool> {
        let (from, to) = (from.clone(), to.clone());
        self.wrap(access, to.kek().clone(), move |turn| {
            let mut set = forms::keys(turn.shelf())?;
            let stored = set.keys.iter_mut().find(|stored| stored.id == key);
            let wrapped = stored.and_then(|stored| stored.wrapped.as_mut());
            let Some(wrapped) = wrapped.filter(|wrapped| **wrapped == from) else {
                return Ok(false);
            };
            *wrapped = to;
            forms::set_keys(turn, &set).map(|()| true)
        })
        .await
    }

    async fn destroy(
        &self,
        access: KeyAccess<'_>,
        seen: KeyEpoch,
        key: KeyId,
        at: OffsetDateTime,
    ) -> Result<bool> {
        self.blocking(owner(access), move |directory, owner| {
            let Some(turn) = directory.turn(owner, false)? else { return Ok(false) };
            change(&turn, seen, |set| {
                let retired = |stored: &&mut StoredKey| {
                    stored.id == key && stored.state == KeyState::DecryptOnly
                };
                let Some(stored) = set.keys.iter_mut().find(retired) else { return false };
                *stored = stored.clone().destroyed(at);
                true
            })
        })
        .await
    }

    async fn shred(&self, access: KeyAccess<'_>, at: OffsetDateTime) -> Result<()> {
        self.blocking(owner(access), move |directory, owner| {
            let turn = made(directory, owner)?;
            let mut set = forms::keys(turn.shelf())?;
            if set.shredded_at.is_some() {
                return Ok(());
            }
            for stored in set.keys.iter_mut().filter(|key| key.state != KeyState::Destroyed) {
                *stored = stored.clone().destroyed(at);
            }
            (set.shredded_at, set.epoch) = (Some(at), set.epoch.next());
            forms::set_keys(&turn, &set)
        })
        .await
    }

    async fn canaries(&self) -> Result<Vec<StoredKey>> {
        self.blocking(Owner::Platform, |directory, platform| {
            let shelf = directory.shelf(platform, false)?;
            shelf.map_or(Ok(Vec::new()), |shelf| forms::canaries(&shelf))
        })
        .await
    }

    async fn add_canary(&self, canary: &StoredKey) -> Result<()> {
        let canary = canary.clone();
        self.blocking(Owner::Platform, move |directory, platform| {
            let turn = made(directory, platform)?;
            let mut canaries = forms::canaries(turn.shelf())?;
            if canary.kek().is_none_or(|kek| has(&canaries, kek)) {
                return Ok(());
            }
            canaries.push(canary);
            forms::set_canaries(&turn, &canaries)
        })
        .await
    }

    async fn remove_canary(&self, kek: &KekId, _: &CrossTenantAuthority) -> Result<bool> {
        let kek = kek.clone();
        self.blocking(Owner::Platform, move |directory, platform| {
            let turn = made(directory, platform)?;
            if in_use(directory, turn.shelf(), &kek)? > 0 {
                return Ok(false);
            }
            let mut canaries = forms::canaries(turn.shelf())?;
            canaries.retain(|canary| canary.kek() != Some(&kek));
            forms::set_canaries(&turn, &canaries).map(|()| true)
        })
        .await
    }

    async fn in_use(&self, kek: &KekId, _: &CrossTenantAuthority) -> Result<u64> {
        let kek = kek.clone();
        self.blocking(Owner::Platform, move |directory, platform| {
            let turn = made(directory, platform)?;
            in_use(directory, turn.shelf(), &kek)
        })
        .await
    }

    async fn organizations(&self, _: &CrossTenantAuthority) -> Result<Vec<OrganizationId>> {
        self.blocking(Owner::Platform, |directory, _| {
            let mut organizations = Vec::new();
            for (organization, shelf) in directory.shelves_across()? {
                let set = shelf.and_then(|shelf| forms::keys(&shelf));
                // One that cannot be read is named, for whoever cares for its keys to learn why.
                if !set.is_ok_and(|set| set.keys.is_empty()) {
                    organizations.push(organization);
                }
            }
            organizations.sort_unstable();
            Ok(organizations)
        })
        .await
    }
}

impl FileCredentialStore {
    /// Stores a wrapped key, if its KEK has a canary.
    async fn wrap(
        &self,
        access: KeyAccess<'_>,
        kek: KekId,
        wrap: impl FnOnce(&Turn) -> Result<bool> + Send + 'static,
    ) -> Result<bool> {
        self.blocking(owner(access), move |directory, owner| {
            // INVARIANT: held until the key is stored, so that its KEK keeps its canary.
            let platform = made(directory, &Owner::Platform)?;
            if !has(&forms::canaries(platform.shelf())?, &kek) {
                return Ok(false);
            }
            match owner {
                Owner::Platform => wrap(&platform),
                Owner::Organization(_) => wrap(&made(directory, owner)?),
            }
        })
        .await
    }
}

fn owner(access: KeyAccess<'_>) -> Owner {
    match access {
        KeyAccess::Organization(scope) => Owner::Organization(scope.clone()),
        KeyAccess::Platform(_) => Owner::Platform,
    }
}

/// The turn in a directory that is made where it is not there yet.
fn made(directory: &CredentialDirectory, owner: &Owner) -> Result<Turn> {
    directory.turn(owner, true)?.ok_or_else(misshapen)
}

/// Changes a set whose epoch is the one that was seen, and raises it.
fn change(turn: &Turn, seen: KeyEpoch, change: impl FnOnce(&mut KeySet) -> bool) -> Result<bool> {
    let mut set = forms::keys(turn.shelf())?;
    if set.epoch != seen || set.shredded_at.is_some() || !change(&mut set) {
        return Ok(false);
    }
    set.epoch = set.epoch.next();
    forms::set_keys(turn, &set).map(|()| true)
}

/// How many keys are wrapped under a KEK, of the platform and of every organization: nobody knows
/// while one of them cannot be read.
fn in_use(directory: &CredentialDirectory, platform: &Shelf, kek: &KekId) -> Result<u64> {
    let mut sets = vec![forms::keys(platform)?];
    for (_, shelf) in directory.shelves_across()? {
        sets.push(forms::keys(&shelf?)?);
    }
    let keys = sets.iter().flat_map(|set| &set.keys);
    Ok(keys.map(|key| u64::from(key.kek() == Some(kek))).sum())
}

fn has(canaries: &[StoredKey], kek: &KekId) -> bool {
    canaries.iter().any(|canary| canary.kek() == Some(kek))
}
