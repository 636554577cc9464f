//! From an owner to unwrapped keys: by the cache, the store and the provider.

use std::sync::Arc;

use super::ring::{Age, Ring, RingKey};
use super::turns::{Turn, Turns};
use super::{ATTEMPTS, KeyAccess, KeyEpoch, Keys, too_fast};
use crate::crypto::{KeyOwner, PurposeKeys, WrapContext};
use crate::error::{Error, Result};

impl Keys {
    /// The owner's keys, no older than the epoch.
    pub(super) async fn ring(
        &self,
        access: KeyAccess<'_>,
        at_least: KeyEpoch,
    ) -> Result<Arc<Ring>> {
        let (owner, rings) = (access.owner(), &self.0.rings);
        rings.sweep(self.now());
        for _ in 0..ATTEMPTS {
            let Some(ring) = rings.get(&owner) else {
                let ring = self.in_time(rings.load(&owner, self.load(access))).await?;
                if rings.is_current(&ring, at_least) {
                    return Ok(ring);
                }
                if !rings.is_known(&ring) {
                    rings.remove(&owner, &ring);
                } else if let Some(ring) = self.catch_up(access, &ring, at_least).await? {
                    return Ok(ring);
                }
                continue;
            };
            match rings.age(&ring, at_least, self.now()) {
                Age::Fresh => return Ok(ring),
                Age::Stale => rings.remove(&owner, &ring),
                Age::Behind => {
                    if let Some(ring) = self.catch_up(access, &ring, at_least).await? {
                        return Ok(ring);
                    }
                }
                Age::Aging => {
                    let Some(_renewal) = ring.renewal() else { return Ok(ring) };
                    // All of it in one time: whoever renews needs what it has already.
                    match self.in_time(self.renew(access, &ring)).await {
                        Ok(next) => rings.replace(owner.clone(), next),
                        Err(error) if !error.is_retryable() => return Err(error),
                        Err(_) if rings.age(&ring, at_least, self.now()) == Age::Aging => {
                            return Ok(Arc::clone(&ring));
                        }
                        Err(_) => {}
                    }
                }
            }
        }
        Err(too_fast())
    }

    /// The owner's keys, one of them active: made if there was none.
    pub(super) async fn ring_that_seals(
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
            let _turn = self.turn(&self.0.makers, access.owner()).await?;
            // Whoever had the turn before may have made it.
            let stored = self.load(access).await?;
            if !stored.shredded && stored.active().is_none() {
                self.activate(access, &stored).await?;
            }
            self.0.rings.remove(&access.owner(), &ring);
        }
        Err(too_fast())
    }

    /// Loads an owner's keys past the cache.
    pub(super) async fn load(&self, access: KeyAccess<'_>) -> Result<Arc<Ring>> {
        // Before the store is asked: what is destroyed while it answers is not missed.
        let (generation, now) = (self.0.rings.generation(&access.owner()), self.now());
        let set = self.ask(self.0.store.load(access)).await?;
        Ok(Arc::new(Ring::new(set, now, generation)))
    }

    /// The keys of a later epoch than the ring's: `None` where they changed while they were read.
    /// One caller reads them and the others wait. A ring is put out of the cache by a later one
    /// alone, never by an epoch that somebody wrote into a row.
    async fn catch_up(
        &self,
        access: KeyAccess<'_>,
        ring: &Ring,
        at_least: KeyEpoch,
    ) -> Result<Option<Arc<Ring>>> {
        let (owner, rings) = (access.owner(), &self.0.rings);
        let _turn = self.turn(&self.0.readers, access.owner()).await?;
        let serves = |held: &Arc<Ring>| {
            matches!(rings.age(held, at_least, self.now()), Age::Fresh | Age::Aging)
        };
        if let Some(held) = rings.get(&owner).filter(serves) {
            return Ok(Some(held));
        }
        let next = self.load(access).await?;
        if !rings.is_known(&next) {
            return Ok(None);
        }
        if next.epoch > ring.epoch {
            rings.replace(owner, Arc::clone(&next));
        }
        if next.epoch < at_least {
            let message = "the stored keys are of an earlier epoch than was asked for";
            return Err(Error::unavailable(message));
        }
        Ok(Some(next))
    }

    /// The next ring, with the keys unwrapped that the one before was used for.
    async fn renew(&self, access: KeyAccess<'_>, ring: &Ring) -> Result<Arc<Ring>> {
        let next = self.load(access).await?;
        for id in ring.used() {
            let Some(key) = next.living().find(|key| key.stored.id == id) else { continue };
            match self.unlock(access, key).await {
                Err(error) if error.is_retryable() => return Err(error),
                // A key that unwraps no more fails whoever needs it, and nobody else.
                _ => {}
            }
        }
        Ok(next)
    }

    /// The purpose keys of a data key, which one caller unwraps and the others wait for. Why there are
    /// none, for a `Corrupt`, is for the audit.
    pub(super) async fn unlock<'r>(
        &self,
        access: KeyAccess<'_>,
        key: &'r RingKey,
    ) -> Result<&'r PurposeKeys> {
        if let Some(opened) = key.opened.get() {
            return Ok(opened);
        }
        let wrapped = key.stored.wrapped.as_ref();
        let wrapped = wrapped.ok_or_else(|| Error::corrupt("a living key has no bytes"))?;
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
        self.in_time(unwrap).await
    }

    /// Waits, in front of the doors, until nobody else does the same for the owner.
    pub(super) async fn turn<'t>(&self, turns: &'t Turns, owner: KeyOwner) -> Result<Turn<'t>> {
        self.in_time(async { Ok(turns.take(owner).await) }).await
    }

    /// Asks store or provider, in a bounded time and together with a bounded number of others.
    pub(super) async fn ask<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.in_time(self.through_a_door(work)).await
    }

    pub(super) async fn in_time<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let late = |_| Error::unavailable("the keys did not come in time");
        tokio::time::timeout(self.0.settings.patience, work).await.map_err(late)?
    }

    async fn through_a_door<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let closed = |_| Error::internal("the doors are never closed");
        let _door = self.0.doors.acquire().await.map_err(closed)?;
        work.await
    }
}
