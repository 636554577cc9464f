//! Where sealed credentials are kept.

use std::sync::Arc;

use async_trait::async_trait;

use super::keys::{KeyEpoch, KeyStore};
use super::record::{
    Checkpoint, CredentialId, KeyUse, Resealed, Snapshot, StoredCredential, Written,
};
use crate::error::Result;
use crate::scope::TenantScope;

/// Keeps the sealed credentials of organizations, beside the keys under which they are sealed.
/// Open: implement it for your own store.
///
/// A store never sees a secret: [`Credentials`](super::Credentials) seals what it hands over and
/// opens what it gets back. It is a [`KeyStore`] as well, because what is sealed may be written only
/// while its key stands, and to know that, both must lie in one place.
///
/// # Contract
///
/// - A method MUST touch no other organization's credentials than those of its scope, and MUST
///   refuse a scope that no longer works. A foreign id MUST be answered like one that does not
///   exist.
/// - The epoch in a [`Snapshot`] MUST be that of the moment at which the rest was read.
/// - What takes an epoch MUST compare it in the same atomic step as it writes, and keep changes of it
///   waiting until the step is done: see [`KeyStore`] on what writes sealed values. Where the stored
///   epoch is another, or the organization was shredded, it MUST write nothing and answer
///   [`Written::KeysChanged`].
/// - A write MUST change all that it was given or nothing, also when the process is killed; `Ok`
///   MUST mean that it is durable.
/// - What is read MUST be returned as it was written, byte by byte. What cannot be read MUST be an
///   error, never an absence, and MUST NOT be overwritten.
/// - Errors are passed on. A store that logs one and goes on loses credentials.
///
/// # Cancellation
///
/// A method that is dropped MUST have changed everything or nothing.
///
/// # Wrappers
///
/// A wrapper implements every method and passes on the errors of what it wraps.
///
/// # Testing
///
/// [`conformance`](super::conformance) has the functions that every store of this crate passes.
#[async_trait]
pub trait CredentialStore: KeyStore {
    /// Stores a credential under an id that is not used yet: [`Written::Moved`] where it is.
    async fn insert(
        &self,
        scope: &TenantScope,
        epoch: KeyEpoch,
        credential: &StoredCredential,
    ) -> Result<Written>;

    /// A credential.
    async fn get(
        &self,
        scope: &TenantScope,
        id: CredentialId,
    ) -> Result<Snapshot<Option<StoredCredential>>>;

    /// Stores the next state of a credential, if its version is still `seen`.
    async fn replace(
        &self,
        scope: &TenantScope,
        epoch: KeyEpoch,
        seen: u64,
        credential: &StoredCredential,
    ) -> Result<Written>;

    /// At most `limit` credentials in the order of their ids, from after the given one on. One that
    /// cannot be read is its error, and does not keep the others from being listed.
    async fn page(
        &self,
        scope: &TenantScope,
        after: Option<CredentialId>,
        limit: u32,
    ) -> Result<Snapshot<Vec<(CredentialId, Result<StoredCredential>)>>>;

    /// Removes a credential, also one that cannot be read: `false` where there is none.
    async fn remove(&self, scope: &TenantScope, id: CredentialId) -> Result<bool>;

    /// How many values of the organization are sealed under each key, in every sealed column that
    /// the store has.
    async fn usage(&self, scope: &TenantScope) -> Result<Snapshot<Vec<KeyUse>>>;

    /// Puts values that were sealed anew in the place of the same ones, and the checkpoint beside
    /// them, in one atomic step. A value that no longer stands as it was read is left as it is.
    /// [`Written::Moved`] where the stored checkpoint is not `seen`.
    async fn reseal(
        &self,
        scope: &TenantScope,
        epoch: KeyEpoch,
        seen: Option<Checkpoint>,
        values: &[Resealed],
        reached: Option<Checkpoint>,
    ) -> Result<Written>;

    /// How far a re-sealing has come that was not finished.
    async fn checkpoint(&self, scope: &TenantScope) -> Result<Option<Checkpoint>>;
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: CredentialStore + ?Sized> CredentialStore for Arc<S> {
    async fn insert(
        &self,
        scope: &TenantScope,
        epoch: KeyEpoch,
        credential: &StoredCredential,
    ) -> Result<Written> {
        (**self).insert(scope, epoch, credential).await
    }

    async fn get(
        &self,
        scope: &TenantScope,
        id: CredentialId,
    ) -> Result<Snapshot<Option<StoredCredential>>> {
        (**self).get(scope, id).await
    }

    async fn replace(
        &self,
        scope: &TenantScope,
        epoch: KeyEpoch,
        seen: u64,
        credential: &StoredCredential,
    ) -> Result<Written> {
        (**self).replace(scope, epoch, seen, credential).await
    }

    async fn page(
        &self,
        scope: &TenantScope,
        after: Option<CredentialId>,
        limit: u32,
    ) -> Result<Snapshot<Vec<(CredentialId, Result<StoredCredential>)>>> {
        (**self).page(scope, after, limit).await
    }

    async fn remove(&self, scope: &TenantScope, id: CredentialId) -> Result<bool> {
        (**self).remove(scope, id).await
    }

    async fn usage(&self, scope: &TenantScope) -> Result<Snapshot<Vec<KeyUse>>> {
        (**self).usage(scope).await
    }

    async fn reseal(
        &self,
        scope: &TenantScope,
        epoch: KeyEpoch,
        seen: Option<Checkpoint>,
        values: &[Resealed],
        reached: Option<Checkpoint>,
    ) -> Result<Written> {
        (**self).reseal(scope, epoch, seen, values, reached).await
    }

    async fn checkpoint(&self, scope: &TenantScope) -> Result<Option<Checkpoint>> {
        (**self).checkpoint(scope).await
    }
}
