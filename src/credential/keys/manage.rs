//! The life of data keys: made, rotated, re-wrapped, retired, destroyed.

use std::sync::PoisonError;

use super::ring::Ring;
use super::{ATTEMPTS, KeyAccess, KeyEpoch, KeyState, Keys, StoredKey, too_fast};
use crate::ambient::CrossTenantAuthority;
use crate::audit::AuditKind;
use crate::crypto::{DataKey, KekId, KeyDestruction, KeyId, WrapContext, WrappedKey};
use crate::error::{Error, ErrorKind, Result};
use crate::id::OrganizationId;
use crate::scope::TenantScope;

impl Keys {
    /// Tries the provider: at the start of a process, before anything is served.
    ///
    /// A process that never does still makes no key under a KEK that is another than it was; but it
    /// learns late that it lacks one.
    ///
    /// Of each KEK that is or was in use, the store keeps a canary: a random key, wrapped. All of
    /// them must unwrap here. A KEK that becomes active gets its canary now.
    ///
    /// # Errors
    ///
    /// `Unconfigured` for a KEK that this process does not have, or that is another than it was;
    /// `Unavailable` where provider or store do not answer.
    pub async fn check(&self) -> Result<()> {
        self.try_active().await?;
        // Read again: where two processes start at a time, the first one's canary stands.
        for canary in self.ask(self.0.store.canaries()).await? {
            self.try_canary(&canary).await?;
        }
        Ok(())
    }

    /// Gives the scope's organization a new data key: it seals from now on, and the one before
    /// opens what it sealed. Where somebody else rotates at the same time, theirs is the new key.
    /// What is answered is never the key of before.
    ///
    /// # Errors
    ///
    /// As for [`seal`](Self::seal).
    ///
    /// # Cancellation
    ///
    /// The key was rotated, or not.
    pub async fn rotate(&self, scope: &TenantScope) -> Result<KeyId> {
        self.admit(scope)?;
        self.rotate_as(KeyAccess::Organization(scope)).await
    }

    /// Wraps the data keys of the scope's organization under the provider's active KEK, where they
    /// are not yet; answers how many were. What is sealed under them stays as it is.
    ///
    /// # Errors
    ///
    /// As for [`seal`](Self::seal); `Corrupt` for a key that does not unwrap. The keys before it are
    /// re-wrapped then, and the call can be repeated.
    ///
    /// # Cancellation
    ///
    /// Each key is wrapped under the old KEK or the new one.
    pub async fn rewrap(&self, scope: &TenantScope) -> Result<u64> {
        self.admit(scope)?;
        self.rewrap_as(KeyAccess::Organization(scope)).await
    }

    /// Destroys a decrypt-only key of the scope's organization, with whatever is still sealed under
    /// it: `false` where there is no such key, or where the keys have changed since `seen`. The event
    /// is recorded first.
    ///
    /// # Errors
    ///
    /// `Denied` and `Misuse` as for [`seal`](Self::seal); `Unavailable` where the event cannot be
    /// recorded or the store does not answer.
    ///
    /// # Security
    ///
    /// For whoever has counted, at the epoch `seen`, that nothing is sealed or indexed under the key:
    /// nobody verifies it. [`KeyStore`](super::KeyStore) says how to count. Every scope of the
    /// organization can do this, whatever its role: ask [`TenantScope::require`] first.
    pub async fn retire(&self, scope: &TenantScope, key: KeyId, seen: KeyEpoch) -> Result<bool> {
        self.admit(scope)?;
        let (access, issuer) = (KeyAccess::Organization(scope), &self.0.issuer);
        let event = self.event(access, AuditKind::DataKeyRetired).because(format!("key {key}"));
        issuer.auditor().require(event).await?;
        let forget = self.0.rings.forget(access.owner());
        let destroy = self.0.store.destroy(access, seen, key, issuer.clock().now());
        let destroyed = self.ask(destroy).await?;
        if !destroyed {
            forget.keep();
        }
        Ok(destroyed)
    }

    /// Destroys every data key of the scope's organization, for good: nothing that was sealed for
    /// it opens again, here at once and elsewhere by the epoch. The event is recorded first.
    ///
    /// # Errors
    ///
    /// `Denied` and `Misuse` as for [`seal`](Self::seal); `Unavailable` where the event cannot be
    /// recorded, or store or provider do not answer: the call can be repeated.
    ///
    /// # Security
    ///
    /// Where organizations share a KEK, a backup of the store that is older brings the keys back
    /// ([`KeyDestruction::Shared`]); so it may where the organization had keys before it had a KEK of
    /// its own ([`KeyDestruction::Destroyed`]). Every scope of the organization can do this, whatever
    /// its role: ask [`TenantScope::require`] first.
    pub async fn shred(&self, scope: &TenantScope) -> Result<KeyDestruction> {
        self.admit(scope)?;
        self.shred_as(scope).await
    }

    pub(crate) async fn shred_as(&self, scope: &TenantScope) -> Result<KeyDestruction> {
        let (access, issuer) = (KeyAccess::Organization(scope), &self.0.issuer);
        issuer.auditor().require(self.event(access, AuditKind::KeysShredded)).await?;
        let forget = self.0.rings.forget(access.owner());
        self.ask(self.0.store.shred(access, issuer.clock().now())).await?;
        // Before the provider is waited for: what is destroyed serves nobody meanwhile.
        drop(forget);
        let _turn = self.turn(&self.0.makers, access.owner()).await?;
        self.ask(self.0.provider.destroy(scope.organization())).await
    }

    pub(crate) async fn rotate_as(&self, access: KeyAccess<'_>) -> Result<KeyId> {
        let _turn = self.turn(&self.0.makers, access.owner()).await?;
        let active = |ring: &Ring| match ring.active() {
            _ if ring.shredded => Err(Error::shredded()),
            key => Ok(key.map(|key| key.stored.id)),
        };
        for _ in 0..ATTEMPTS {
            let ring = self.load(access).await?;
            let before = active(&ring)?;
            let forget = self.0.rings.forget(access.owner());
            if !self.activate(access, &ring).await? {
                forget.keep();
            }
            // Whatever changed in between, there is a new key or the work begins again.
            match active(&*self.load(access).await?)? {
                Some(now) if Some(now) != before => return Ok(now),
                _ => {}
            }
        }
        Err(too_fast())
    }

    pub(crate) async fn rewrap_as(&self, access: KeyAccess<'_>) -> Result<u64> {
        let _turn = self.turn(&self.0.makers, access.owner()).await?;
        self.try_active().await?;
        // What is held is wrapped under a KEK that may soon be gone.
        let forget = self.0.rings.forget(access.owner());
        let mut count = 0;
        for key in self.load(access).await?.living() {
            let Some(wrapped) = &key.stored.wrapped else { continue };
            let context = WrapContext::data_key(access.owner(), key.stored.id);
            let rewrap = self.0.provider.rewrap(&context, wrapped);
            let Some(next) = self.ask(rewrap).await? else { continue };
            // Nothing is given up before what takes its place is known to be as good.
            let again = self.ask(self.0.provider.unwrap(&context, &next)).await?;
            if !again.check_value()?.ct_eq(&key.stored.check) {
                let another = Error::corrupt("the key provider re-wrapped another key");
                return Err(self.refuse(access, format!("key {}", key.stored.id), another));
            }
            let replace = self.0.store.rewrap(access, key.stored.id, wrapped, &next);
            if self.ask(replace).await? {
                let event = self.event(access, AuditKind::DataKeyRewrapped);
                let detail = format!("key {} under `{}`", key.stored.id, next.kek());
                self.0.issuer.auditor().note(event.because(detail));
                count += 1;
            }
        }
        if count == 0 {
            forget.keep();
        }
        Ok(count)
    }

    pub(crate) async fn retire_kek_as(
        &self,
        kek: &KekId,
        authority: &CrossTenantAuthority,
    ) -> Result<()> {
        if self.ask(self.0.provider.active()).await? == *kek {
            return Err(Error::conflict("the key-encryption key is the active one"));
        }
        if !self.ask(self.0.store.remove_canary(kek, authority)).await? {
            let message = "data keys are still wrapped under the key-encryption key";
            return Err(Error::conflict(message));
        }
        Ok(())
    }

    /// The organizations that have keys.
    pub(crate) async fn organizations(
        &self,
        authority: &CrossTenantAuthority,
    ) -> Result<Vec<OrganizationId>> {
        self.ask(self.0.store.organizations(authority)).await
    }

    pub(crate) async fn kek_in_use_as(
        &self,
        kek: &KekId,
        authority: &CrossTenantAuthority,
    ) -> Result<u64> {
        self.ask(self.0.store.in_use(kek, authority)).await
    }

    /// Makes a key and activates it, unless the keys have changed since the ring was read.
    pub(super) async fn activate(&self, access: KeyAccess<'_>, ring: &Ring) -> Result<bool> {
        self.try_active().await?;
        let context = WrapContext::data_key(access.owner(), KeyId::random()?);
        let key = self.make(context, ring.next_version()).await?;
        let event = self.event(access, AuditKind::DataKeyActivated);
        let activated = self.ask(self.0.store.activate(access, ring.epoch, &key)).await?;
        if activated {
            self.0.issuer.auditor().note(event.because(format!("key {}", key.id)));
        }
        Ok(activated)
    }

    /// Tries the active KEK by its canary, which is made if there is none: nothing is wrapped under a
    /// KEK that another process would not unwrap.
    async fn try_active(&self) -> Result<()> {
        let active = self.ask(self.0.provider.active()).await?;
        let of_active = |canary: &StoredKey| canary.kek() == Some(&active);
        let mut canaries = self.ask(self.0.store.canaries()).await?;
        if !canaries.iter().any(of_active) {
            let canary = self.make(WrapContext::canary(KeyId::random()?), 0).await?;
            self.ask(self.0.store.add_canary(&canary)).await?;
            canaries = self.ask(self.0.store.canaries()).await?;
        }
        let canary = canaries.iter().find(|canary| of_active(canary));
        // The provider's active KEK may have become another since it was asked.
        let canary = canary.ok_or_else(|| Error::unavailable("the active KEK changes"))?;
        let tried = || self.0.tried.lock().unwrap_or_else(PoisonError::into_inner);
        if *tried() != Some(canary.id) {
            self.try_canary(canary).await?;
            *tried() = Some(canary.id);
        }
        Ok(())
    }

    async fn try_canary(&self, canary: &StoredKey) -> Result<()> {
        let wrapped = canary.wrapped.as_ref();
        let wrapped = wrapped.ok_or_else(|| Error::corrupt("a canary has no bytes"))?;
        let changed = || {
            let kek = wrapped.kek();
            Error::unconfigured(format!("the key-encryption key `{kek}` is not what it was"))
        };
        let context = WrapContext::canary(canary.id);
        let key = self.ask(self.0.provider.unwrap(&context, wrapped)).await;
        let key = key.map_err(|error| match error.kind() {
            ErrorKind::Corrupt => changed(),
            _ => error,
        })?;
        if key.check_value()?.ct_eq(&canary.check) { Ok(()) } else { Err(changed()) }
    }

    /// A fresh key, wrapped, and known to unwrap: one that did not would lose what it sealed.
    async fn make(&self, context: WrapContext, version: u32) -> Result<StoredKey> {
        let key = DataKey::random()?;
        let wrapped: WrappedKey = self.ask(self.0.provider.wrap(&context, &key)).await?;
        let again = self.ask(self.0.provider.unwrap(&context, &wrapped)).await?;
        if !again.ct_eq(&key) {
            return Err(Error::corrupt("the key provider does not unwrap what it wrapped"));
        }
        let now = self.0.issuer.clock().now();
        let (id, check) = (context.key(), key.check_value()?);
        Ok(StoredKey::new(id, version, KeyState::Active, Some(wrapped), check, now))
    }
}
