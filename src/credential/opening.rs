//! From what a store has to a secret, or to the one answer for what does not open.

use super::credentials::Credentials;
use super::keys::{KeyAccess, KeyEpoch};
use super::legacy::misread;
use super::record::{CredentialId, Snapshot, StoredCredential};
use super::secret::Secret;
use crate::crypto::{Envelope, KeyId};
use crate::error::{Error, ErrorKind, Result};
use crate::scope::TenantScope;

/// Data keys whose KEK is not at hand: nobody asks for them once for each credential.
#[derive(Debug, Default)]
pub(super) struct AbsentKeys(Vec<KeyId>);

impl Credentials {
    /// A credential as it is stored.
    pub(super) async fn get(
        &self,
        scope: &TenantScope,
        id: CredentialId,
    ) -> Result<Snapshot<Option<StoredCredential>>> {
        let read = self.0.store.get(scope, id).await;
        read.map_err(|error| self.refuse(scope, Some(id), error))
    }

    /// Credentials as they are stored, in the order of their names, from after one on.
    pub(super) async fn page(
        &self,
        scope: &TenantScope,
        after: Option<CredentialId>,
        limit: u32,
    ) -> Result<Snapshot<Vec<(CredentialId, Result<StoredCredential>)>>> {
        let page = self.0.store.page(scope, after, limit).await;
        let page = page.map_err(|error| self.refuse(scope, None, error))?;
        let refused = |(id, stored): (CredentialId, Result<StoredCredential>)| {
            (id, stored.map_err(|error| self.refuse(scope, Some(id), error)))
        };
        Ok(Snapshot::new(page.epoch, page.value.into_iter().map(refused).collect()))
    }

    /// The secret of one of many stored credentials.
    pub(super) async fn unseal_one(
        &self,
        scope: &TenantScope,
        stored: &StoredCredential,
        epoch: KeyEpoch,
        absent: &mut AbsentKeys,
    ) -> Result<Secret> {
        let named = || Envelope::parse(&stored.sealed, usize::MAX).map(|envelope| envelope.key());
        let honest = |key| named().is_ok_and(|named| named == key);
        if stored.key.is_some_and(|key| absent.0.contains(&key) && honest(key)) {
            return Err(Error::unconfigured("the key-encryption key of the credential is absent"));
        }
        let opened = self.unseal(scope, stored, epoch).await;
        if opened.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unconfigured) {
            absent.0.extend(stored.key);
        }
        opened
    }

    /// The secret of a stored credential.
    pub(super) async fn unseal(
        &self,
        scope: &TenantScope,
        stored: &StoredCredential,
        epoch: KeyEpoch,
    ) -> Result<Secret> {
        let opened = self.try_unseal(scope, stored, epoch).await;
        opened.map_err(|error| self.refuse(scope, Some(stored.info.id), error))
    }

    /// Opens a stored credential. `Corrupt` has the reason: [`refuse`](Self::refuse) comes before the
    /// caller.
    async fn try_unseal(
        &self,
        scope: &TenantScope,
        stored: &StoredCredential,
        epoch: KeyEpoch,
    ) -> Result<Secret> {
        // INVARIANT: what is not sealed is read as legacy before the date alone, and never once it
        // has been sealed: the row says which it is, and an envelope is never legacy.
        if let (None, Some(legacy)) = (stored.key, &self.0.legacy)
            && legacy.accepts(self.now())
            && !Envelope::begins(&stored.sealed)
        {
            let secret = legacy.format.read(scope.organization(), &stored.sealed)?;
            // What could not be sealed is nothing that was stored.
            return secret.encode().map(|_| secret).map_err(|_| misread());
        }
        // INVARIANT: a row is sealed under the key that it names, for by that it is counted before a
        // key is destroyed.
        let named = Envelope::parse(&stored.sealed, usize::MAX).map(|envelope| envelope.key());
        if named.is_ok_and(|named| Some(named) != stored.key) {
            return Err(Error::corrupt("sealed under another key than its row names"));
        }
        let place = stored.info.context();
        let place = place.map_err(|_| Error::corrupt("its row names no place of a secret"))?;
        let access = KeyAccess::Organization(scope);
        let text = self.0.keys.try_open(access, &place, &stored.sealed, epoch).await?;
        Secret::decode(text.expose_secret())
    }

    /// The one error for a stored credential that cannot be read or does not open. The reason is for
    /// the audit, with the credential: none where it is all of them.
    pub(super) fn refuse(
        &self,
        scope: &TenantScope,
        id: Option<CredentialId>,
        error: Error,
    ) -> Error {
        let what = id.map_or_else(|| "credentials".to_owned(), |id| format!("credential {id}"));
        self.0.keys.refuse(KeyAccess::Organization(scope), what, error)
    }
}

/// Whether an error is about more than the one credential at which it was met.
pub(super) fn concerns_all(error: &Error) -> bool {
    !matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unconfigured)
}
