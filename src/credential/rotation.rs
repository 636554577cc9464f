//! New keys for what is stored: status, re-sealing, retirement.

use std::fmt;

use super::KeyAccess;
use super::credentials::Credentials;
use super::keys::{KeyEpoch, KeyState, KeyStore as _};
use super::opening::{AbsentKeys, concerns_all};
use super::record::{Checkpoint, CredentialId, KeyUse, Resealed, StoredCredential, Written};
use super::secret::Secret;
use crate::crypto::KeyId;
use crate::error::{Error, Result};
use crate::scope::TenantScope;

/// Which keys an organization has, and what is sealed under each.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RotationStatus {
    /// The keys with their states, in the order of their versions.
    pub keys: Vec<(KeyId, KeyState)>,
    /// How many values there are of each key, column by column: also of keys that are not the
    /// organization's.
    pub uses: Vec<KeyUse>,
}

/// How far a re-sealing has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResealProgress {
    /// Values that are sealed under the active key now, and were not before: or would be, in a dry
    /// run.
    pub resealed: u64,
    /// Values that did not open, and were left as they are.
    pub broken: u64,
    /// Whether every value was looked at.
    pub done: bool,
}

/// Seals an organization's credentials under its active key, chunk by chunk, for as long as
/// [`step`](Self::step) is called.
///
/// To pause, do not call it. To resume, also in another process, ask for
/// [`reseal`](Credentials::reseal) again: what was done is written down with each chunk. To spare
/// the store, wait between steps.
#[must_use = "nothing is sealed anew until `.step().await?`"]
pub struct Reseal<'c> {
    credentials: &'c Credentials,
    scope: TenantScope,
    chunk: u32,
    dry: Option<Checkpoint>,
    dry_run: bool,
    done: bool,
    absent: AbsentKeys,
}

impl Credentials {
    /// Gives the scope's organization a new data key. What is written from now on is sealed under
    /// it; [`reseal`](Self::reseal) brings the rest.
    ///
    /// # Errors
    ///
    /// As for [`put`](Self::put).
    ///
    /// # Cancellation
    ///
    /// The key was rotated, or not.
    pub async fn rotate(&self, scope: &TenantScope) -> Result<KeyId> {
        self.0.keys.rotate(scope).await
    }

    /// Which keys the organization has, and what is sealed under each.
    ///
    /// # Errors
    ///
    /// As for [`put`](Self::put).
    pub async fn rotation_status(&self, scope: &TenantScope) -> Result<RotationStatus> {
        self.0.keys.admit(scope)?;
        let keys = self.0.store.load(KeyAccess::Organization(scope)).await?.keys;
        let uses = self.0.store.usage(scope).await?.value;
        Ok(RotationStatus { keys: keys.iter().map(|key| (key.id, key.state)).collect(), uses })
    }

    /// Seals the organization's credentials under its active key, those from before sealing too.
    ///
    /// # Examples
    ///
    /// ```
    /// # use tenantry::credential::{Credentials, KeyState};
    /// # async fn run(credentials: Credentials, scope: tenantry::TenantScope) -> tenantry::Result<()> {
    /// let keys = credentials.rotation_status(&scope).await?.keys;
    /// let old = keys.into_iter().find(|(_, state)| *state == KeyState::Active);
    /// credentials.rotate(&scope).await?;
    /// let mut reseal = credentials.reseal(&scope).chunk(500);
    /// while let Some(progress) = reseal.step().await? {
    ///     println!("{} done", progress.resealed);
    /// }
    /// if let Some((old, _)) = old {
    ///     credentials.retire(&scope, old).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn reseal(&self, scope: &TenantScope) -> Reseal<'_> {
        Reseal {
            credentials: self,
            scope: scope.clone(),
            chunk: 100,
            dry: None,
            dry_run: false,
            done: false,
            absent: AbsentKeys::default(),
        }
    }

    /// Destroys a data key that no longer seals and under which nothing is sealed.
    ///
    /// # Errors
    ///
    /// `Conflict` for the active key and while any value is sealed under it; `NotFound` for a key
    /// that the organization does not have; else as for [`put`](Self::put).
    ///
    /// # Security
    ///
    /// It counts what is in the store: with [`SqlCredentialStore`](super::SqlCredentialStore) also the
    /// application's own columns of [`SealedValue`](super::SealedValue)s and
    /// [`BlindIndex`](crate::crypto::BlindIndex)es in the same [`Database`](crate::Database). A value
    /// that is not there, in a backup for instance, does not open after a restore; nor does what the
    /// application sealed by [`Keys`](super::Keys) and keeps elsewhere: write that again first.
    ///
    /// # Cancellation
    ///
    /// The key was destroyed, or not.
    pub async fn retire(&self, scope: &TenantScope, key: KeyId) -> Result<()> {
        self.0.keys.admit(scope)?;
        for _ in 0..ATTEMPTS {
            let keys = self.0.store.load(KeyAccess::Organization(scope)).await?.keys;
            let state = keys.iter().find(|stored| stored.id == key).map(|stored| stored.state);
            match state.ok_or_else(|| Error::not_found("no such key"))? {
                KeyState::Destroyed => return Ok(()),
                KeyState::Active => return Err(Error::conflict("the key is the active one")),
                KeyState::DecryptOnly => {}
            }
            let usage = self.0.store.usage(scope).await?;
            // INVARIANT: what was counted is still so when the key goes, for its epoch is compared
            // then, and no value is written under a key of an earlier epoch.
            if usage.value.iter().any(|each| each.key == Some(key) && each.count > 0) {
                return Err(Error::conflict("values are still sealed under the key"));
            }
            if self.0.keys.retire(scope, key, usage.epoch).await? {
                return Ok(());
            }
        }
        Err(Error::unavailable("the keys change faster than one can be retired"))
    }

    pub(crate) fn store(&self) -> &dyn super::CredentialStore {
        &*self.0.store
    }
}

impl Reseal<'_> {
    /// How many credentials are looked at in one step; 100 without it.
    pub const fn chunk(mut self, credentials: u32) -> Self {
        self.chunk = if credentials == 0 { 1 } else { credentials };
        self
    }

    /// Opens everything, and changes nothing.
    pub const fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// Looks at the next credentials: `None` once all were looked at.
    ///
    /// # Errors
    ///
    /// As for [`Credentials::put`]; the chunk is done or it is not, and the step can be repeated.
    ///
    /// # Cancellation
    ///
    /// The chunk is done, or it is not.
    pub async fn step(&mut self) -> Result<Option<ResealProgress>> {
        if self.done {
            return Ok(None);
        }
        let store = self.credentials.store();
        for _ in 0..ATTEMPTS {
            let (target, epoch) = self.credentials.keys().active(&self.scope).await?;
            let seen = self.seen().await?;
            // A re-sealing under a key that is no longer the active one begins again.
            let begun = seen.filter(|seen| seen.target == target);
            let after = begun.map(|begun| begun.after);
            let page = self.credentials.page(&self.scope, after, self.chunk).await?;
            let done = page.value.len() < self.chunk as usize;
            let (mut resealed, mut broken) =
                begun.map_or((0, 0), |begun| (begun.resealed, begun.broken));
            let last = page.value.last().map(|(id, _)| *id).or(after);
            let mut values = Vec::new();
            for (_, stored) in page.value {
                match self.open(stored, page.epoch, target).await {
                    Ok(Some(open)) => values.push(self.seal(open, epoch).await?),
                    Ok(None) => {}
                    Err(error) if concerns_all(&error) => return Err(error),
                    Err(_) => broken += 1,
                }
            }
            if values.iter().any(|value| value.key != target) {
                continue;
            }
            resealed += values.len() as u64;
            let reached = last.map(|after| Checkpoint::new(target, after, resealed, broken));
            let progress = ResealProgress { resealed, broken, done };
            if self.dry_run {
                (self.dry, self.done) = (reached, done);
                return Ok(Some(progress));
            }
            let reached = reached.filter(|_| !done);
            match store.reseal(&self.scope, epoch, seen, &values, reached).await? {
                Written::Done => {
                    self.done = done;
                    return Ok(Some(progress));
                }
                // Somebody rotates, or re-seals, at the same time: look again at what is there.
                Written::KeysChanged | Written::Moved => {}
            }
        }
        Err(Error::unavailable("the credentials change faster than they can be sealed anew"))
    }

    async fn seen(&self) -> Result<Option<Checkpoint>> {
        if self.dry_run {
            return Ok(self.dry);
        }
        self.credentials.store().checkpoint(&self.scope).await
    }

    /// A stored credential with its secret: `None` where it is sealed under the target.
    async fn open(
        &mut self,
        stored: Result<StoredCredential>,
        read: KeyEpoch,
        target: KeyId,
    ) -> Result<Option<(StoredCredential, Secret)>> {
        let stored = stored?;
        if stored.key == Some(target) {
            return Ok(None);
        }
        let (credentials, scope) = (self.credentials, &self.scope);
        let secret = credentials.unseal_one(scope, &stored, read, &mut self.absent).await?;
        Ok(Some((stored, secret)))
    }

    /// The value that takes the place of a stored one.
    async fn seal(
        &self,
        (stored, secret): (StoredCredential, Secret),
        epoch: KeyEpoch,
    ) -> Result<Resealed> {
        let (info, text) = (&stored.info, secret.encode()?);
        let sealed = self.credentials.seal(&self.scope, info, &text, epoch).await?;
        let (id, from, key): (CredentialId, _, _) = (info.id, stored.sealed, sealed.key());
        Ok(Resealed { id, from, to: sealed.into_bytes(), key })
    }
}

impl fmt::Debug for Reseal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reseal")
            .field("scope", &self.scope)
            .field("chunk", &self.chunk)
            .field("dry_run", &self.dry_run)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

const ATTEMPTS: usize = 8;
