//! The data keys of one owner, unwrapped, for as long as they may be held.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::sync::OnceCell;

use super::store::{KeyEpoch, KeySet, KeyState, StoredKey};
use crate::crypto::{KeyId, KeyOwner, PurposeKeys};
use crate::error::{Error, Result};

/// The keys of one owner as they stood at one moment; each is unwrapped when it is first needed.
#[derive(Debug)]
pub(super) struct Ring {
    pub(super) epoch: KeyEpoch,
    pub(super) shredded: bool,
    keys: Vec<RingKey>,
    loaded_at: Duration,
    generation: u64,
    /// Whether somebody is loading the ring that will take the place of this one.
    renewing: AtomicBool,
}

#[derive(Debug)]
pub(super) struct RingKey {
    pub(super) stored: StoredKey,
    pub(super) opened: OnceCell<PurposeKeys>,
}

/// The rings of the owners that were last used: bounded in number and in time.
///
/// INVARIANT: a ring is used only in the generation in which its loading began. Whatever destroys
/// keys begins a new one afterwards, so that no ring that was read before is used after, also not
/// one that was on its way.
#[derive(Debug)]
pub(super) struct Rings {
    rings: Cache<KeyOwner, Arc<Ring>>,
    generation: AtomicU64,
    ttl: Duration,
}

/// What becomes of a ring that is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    Fresh,
    /// It serves, and one of its users loads the next.
    Aging,
    Stale,
}

/// The right to renew a ring, which the next may have when it is dropped.
#[derive(Debug)]
pub(super) struct Renewal<'a>(&'a AtomicBool);

/// Begins a new generation when it is dropped, however the work between ends.
#[derive(Debug)]
pub(super) struct Forget<'a>(&'a Rings);

impl Ring {
    pub(super) fn new(set: KeySet, loaded_at: Duration, generation: u64) -> Self {
        let key = |stored| RingKey { stored, opened: OnceCell::new() };
        Self {
            epoch: set.epoch,
            shredded: set.shredded_at.is_some(),
            keys: set.keys.into_iter().map(key).collect(),
            loaded_at,
            generation,
            renewing: AtomicBool::new(false),
        }
    }

    pub(super) fn key(&self, id: KeyId) -> Option<&RingKey> {
        self.keys.iter().find(|key| key.stored.id == id)
    }

    pub(super) fn active(&self) -> Option<&RingKey> {
        self.keys.iter().find(|key| key.stored.state == KeyState::Active)
    }

    /// The keys that are not destroyed, the newest first.
    pub(super) fn living(&self) -> impl Iterator<Item = &RingKey> {
        self.keys.iter().rev().filter(|key| key.stored.state != KeyState::Destroyed)
    }

    pub(super) fn next_version(&self) -> u32 {
        let versions = self.keys.iter().map(|key| key.stored.version);
        versions.max().unwrap_or(0).saturating_add(1)
    }

    /// The keys that were needed until now.
    pub(super) fn used(&self) -> impl Iterator<Item = KeyId> {
        self.keys.iter().filter(|key| key.opened.initialized()).map(|key| key.stored.id)
    }

    pub(super) fn renewal(&self) -> Option<Renewal<'_>> {
        (!self.renewing.swap(true, Ordering::AcqRel)).then_some(Renewal(&self.renewing))
    }
}

impl Rings {
    pub(super) fn new(capacity: usize, ttl: Duration) -> Self {
        Self { rings: Cache::new(capacity), generation: AtomicU64::new(0), ttl }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    pub(super) fn get(&self, owner: &KeyOwner) -> Option<Arc<Ring>> {
        self.rings.get(owner)
    }

    /// The ring of an owner, loaded by the first who asks; the others wait for it, and where the
    /// first fails or is dropped, the next of them loads.
    pub(super) async fn load(
        &self,
        owner: &KeyOwner,
        load: impl Future<Output = Result<Arc<Ring>, Error>>,
    ) -> Result<Arc<Ring>> {
        self.rings.get_or_insert_async(owner, load).await
    }

    pub(super) fn replace(&self, owner: KeyOwner, ring: Arc<Ring>) {
        self.rings.insert(owner, ring);
    }

    /// Forgets a ring, unless another has taken its place.
    pub(super) fn remove(&self, owner: &KeyOwner, ring: &Arc<Ring>) {
        self.rings.remove_if(owner, |held| Arc::ptr_eq(held, ring));
    }

    pub(super) fn age(&self, ring: &Ring, at_least: KeyEpoch, now: Duration) -> Age {
        let age = now.saturating_sub(ring.loaded_at);
        if !self.is_current(ring, at_least) || age >= self.ttl {
            Age::Stale
        } else if age >= self.ttl.saturating_sub(GRACE.min(self.ttl / 4)) {
            Age::Aging
        } else {
            Age::Fresh
        }
    }

    /// Whether nothing was destroyed since, as far as is known.
    pub(super) fn is_current(&self, ring: &Ring, at_least: KeyEpoch) -> bool {
        ring.generation == self.generation() && ring.epoch >= at_least
    }

    pub(super) fn forget(&self) -> Forget<'_> {
        Forget(self)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.rings.len()
    }
}

impl Drop for Renewal<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.generation.fetch_add(1, Ordering::SeqCst);
        self.0.rings.clear();
    }
}

/// How long before its end a ring is renewed.
const GRACE: Duration = Duration::from_secs(10);
