//! The life of data keys: made, rotated, re-wrapped, retired, destroyed.

use super::ring::Ring;
use super::{KeyAccess, KeyEpoch, KeyState, Keys, StoredKey, WrapContext, WrappedKey};
use crate::audit::AuditKind;
use crate::crypto::{DataKey, KeyDestruction, KeyId};
use crate::error::{Error, ErrorKind, Result};
use crate::scope::TenantScope;

impl Keys {
    /// Tries the provider: at the start of a process, before anything is served.
    ///
    /// Of each KEK that is or was in use, the store keeps a canary: a random key, wrapped. All of
    /// them must unwrap here. A KEK that becomes active gets its canary now.
    ///
    /// # Errors
    ///
    /// `Unconfigured` for a KEK that this process does not have, or that is another than it was;
    /// `Unavailable` where provider or store do not answer.
    pub async fn check(&self) -> Result<()> {
        let active = self.ask(self.0.provider.active()).await?;
        let kek = |canary: &StoredKey| canary.wrapped.as_ref().map(|w| w.kek().clone());
        let canaries = self.ask(self.0.store.canaries()).await?;
        if !canaries.iter().any(|canary| kek(canary).as_ref() == Some(&active)) {
            let canary = self.make(WrapContext::canary(KeyId::random()), 0).await?;
            self.ask(self.0.store.add_canary(&canary)).await?;
        }
        // Read again: where two processes start at a time, the first one's canary stands.
        for canary in self.ask(self.0.store.canaries()).await? {
            let Some(wrapped) = &canary.wrapped else { continue };
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
            if !key.check_value()?.ct_eq(&canary.check) {
                return Err(changed());
            }
        }
        Ok(())
    }

    /// Gives the scope's organization a new data key: it seals from now on, and the one before
    /// opens what it sealed. Where somebody else rotates at the same time, theirs is the new key.
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
    /// it: `false` where there is no such key, or where the keys have changed since `seen`.
    ///
    /// # Errors
    ///
    /// `Denied`, `Misuse` and `Unavailable` as for [`seal`](Self::seal).
    ///
    /// # Security
    ///
    /// For whoever has counted, at the epoch `seen`, that nothing is sealed under the key.
    pub async fn retire(&self, scope: &TenantScope, key: KeyId, seen: KeyEpoch) -> Result<bool> {
        self.admit(scope)?;
        let (access, now) = (KeyAccess::Organization(scope), self.0.issuer.clock().now());
        let _forget = self.0.rings.forget();
        self.ask(self.0.store.destroy(access, seen, key, now)).await
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
    /// ([`KeyDestruction::Shared`]).
    pub async fn shred(&self, scope: &TenantScope) -> Result<KeyDestruction> {
        self.admit(scope)?;
        let (access, issuer) = (KeyAccess::Organization(scope), &self.0.issuer);
        issuer.auditor().require(self.event(access, AuditKind::KeysShredded)).await?;
        let _forget = self.0.rings.forget();
        self.ask(self.0.store.shred(access, issuer.clock().now())).await?;
        self.ask(self.0.provider.destroy(scope.organization())).await
    }

    pub(crate) async fn rotate_as(&self, access: KeyAccess<'_>) -> Result<KeyId> {
        let ring = self.load(access).await?;
        if ring.shredded {
            return Err(Error::shredded());
        }
        let _forget = self.0.rings.forget();
        self.activate(access, &ring).await?;
        let ring = self.load(access).await?;
        ring.active().map(|key| key.stored.id).ok_or_else(Error::shredded)
    }

    pub(crate) async fn rewrap_as(&self, access: KeyAccess<'_>) -> Result<u64> {
        let mut count = 0;
        for key in self.load(access).await?.living() {
            let Some(wrapped) = &key.stored.wrapped else { continue };
            let context = WrapContext::data_key(access.owner(), key.stored.id);
            let rewrap = self.0.provider.rewrap(&context, wrapped);
            let Some(next) = self.ask(rewrap).await? else { continue };
            // Nothing is given up before what takes its place is known to be as good.
            let again = self.ask(self.0.provider.unwrap(&context, &next)).await?;
            if !again.check_value()?.ct_eq(&key.stored.check) {
                return Err(self.refuse(access, "the key provider re-wrapped another key"));
            }
            let replace = self.0.store.rewrap(access, key.stored.id, wrapped, &next);
            count += u64::from(self.ask(replace).await?);
        }
        Ok(count)
    }

    /// Makes a key and activates it, unless the keys have changed since the ring was read.
    pub(super) async fn activate(&self, access: KeyAccess<'_>, ring: &Ring) -> Result<bool> {
        let context = WrapContext::data_key(access.owner(), KeyId::random());
        let key = self.make(context, ring.next_version()).await?;
        let event = self.event(access, AuditKind::DataKeyActivated);
        let activated = self.ask(self.0.store.activate(access, ring.epoch, &key)).await?;
        if activated {
            self.0.issuer.auditor().note(event.because(format!("key {}", key.id)));
        }
        Ok(activated)
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
