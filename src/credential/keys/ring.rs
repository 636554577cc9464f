//! The data keys of one owner, unwrapped, for as long as they may be held.

use std::hash::{BuildHasher as _, RandomState};
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
    generation: Generation,
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
/// INVARIANT: a ring is used only in the generation in which its loading began. Whatever changes an
/// owner's keys begins a new one afterwards, so that no ring that was read before is used after, also
/// not one that was on its way.
#[derive(Debug)]
pub(super) struct Rings {
    rings: Cache<KeyOwner, Arc<Ring>>,
    /// An owner has one of these by its hash: what one does to its keys lets few others load theirs
    /// again. The hash is keyed at random, so that nobody chooses who they are.
    generations: Box<[AtomicU64]>,
    hasher: RandomState,
    ttl: Duration,
    /// When rings are next looked through for those whose time is over, in milliseconds.
    sweep: AtomicU64,
}

/// A count of an owner's, as it stood when the loading of a ring began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Generation {
    slot: usize,
    count: u64,
}

/// What becomes of a ring that is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    Fresh,
    /// It serves, and one of its users loads the next.
    Aging,
    /// It serves nobody.
    Stale,
    /// It serves whoever does not know of a later epoch.
    Behind,
}

/// The right to renew a ring, which the next may have when it is dropped.
#[derive(Debug)]
pub(super) struct Renewal<'a>(&'a AtomicBool);

/// Begins a new generation of an owner when it is dropped, however the work between ends: unless it is
/// known to have changed nothing.
#[derive(Debug)]
pub(super) struct Forget<'a> {
    rings: &'a Rings,
    owner: KeyOwner,
    needed: bool,
}

impl Ring {
    pub(super) fn new(set: KeySet, loaded_at: Duration, generation: Generation) -> Self {
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

#[cfg(test)]
impl Generation {
    pub(super) fn slot(self) -> usize {
        self.slot
    }
}

impl Rings {
    pub(super) fn new(capacity: usize, ttl: Duration) -> Self {
        let generations = (0..GENERATIONS).map(|_| AtomicU64::new(0)).collect();
        let (rings, hasher) = (Cache::new(capacity), RandomState::new());
        Self { rings, generations, hasher, ttl, sweep: AtomicU64::new(0) }
    }

    pub(super) fn generation(&self, owner: &KeyOwner) -> Generation {
        let slot = usize::try_from(self.hasher.hash_one(owner) % GENERATIONS).unwrap_or(0);
        Generation { slot, count: self.count(slot) }
    }

    fn count(&self, slot: usize) -> u64 {
        self.generations.get(slot).map_or(0, |count| count.load(Ordering::SeqCst))
    }

    /// Lets go of the rings whose time is over, which wipes their keys: nobody may ever ask for them
    /// again. Looks only now and then.
    pub(super) fn sweep(&self, now: Duration) {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let due = self.sweep.load(Ordering::Relaxed);
        if millis(now) < due {
            return;
        }
        let next = millis(now.saturating_add(self.ttl / 8)).saturating_add(1);
        if self.sweep.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.rings.retain(|_, ring| now.saturating_sub(ring.loaded_at) < self.ttl);
        }
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
        if !self.is_known(ring) || age >= self.ttl {
            Age::Stale
        } else if ring.epoch < at_least {
            Age::Behind
        } else if age >= self.ttl.saturating_sub(GRACE.min(self.ttl / 4)) {
            Age::Aging
        } else {
            Age::Fresh
        }
    }

    /// Whether nothing was changed since in this process.
    pub(super) fn is_known(&self, ring: &Ring) -> bool {
        ring.generation.count == self.count(ring.generation.slot)
    }

    /// Whether nothing was changed since, as far as is known.
    pub(super) fn is_current(&self, ring: &Ring, at_least: KeyEpoch) -> bool {
        self.is_known(ring) && ring.epoch >= at_least
    }

    pub(super) fn forget(&self, owner: KeyOwner) -> Forget<'_> {
        Forget { rings: self, owner, needed: true }
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

impl Forget<'_> {
    /// Nothing was changed: what is held may stay.
    pub(super) fn keep(mut self) {
        self.needed = false;
    }
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        if self.needed {
            let slot = self.rings.generation(&self.owner).slot;
            if let Some(count) = self.rings.generations.get(slot) {
                count.fetch_add(1, Ordering::SeqCst);
            }
            self.rings.rings.remove(&self.owner);
        }
    }
}

/// How long before its end a ring is renewed.
const GRACE: Duration = Duration::from_secs(10);
const GENERATIONS: u64 = 256;
