//! Sealed credentials in files.

mod forms;
mod keys;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::directory::{CredentialDirectory, Owner, Shelf, Turn};
use super::keys::{KeyEpoch, KeySet};
use super::record::{
    Checkpoint, CredentialId, KeyUse, Resealed, Snapshot, StoredCredential, Written,
};
use super::store::CredentialStore;
use crate::crypto::KeyId;
use crate::error::{Error, ErrorKind, Result};
use crate::scope::TenantScope;

/// Keeps sealed credentials and their keys in files, one directory per organization. Clones share
/// it, and so may processes on one machine.
///
/// A write is synced before it is answered. Writers of one organization take turns; whoever lists
/// or counts takes one too, and [`open`](super::Credentials::open) waits for nobody. A turn is waited
/// for as long as ten seconds: then the answer is `Unavailable`.
///
/// For hundreds of credentials of an organization: each is a file, and to list, to count and to seal
/// anew reads all of them.
///
/// # Security
///
/// Directories have mode 0700 and files 0600; one into which others may look is refused. Names are
/// resolved below a directory that is held open, and no symbolic link is followed. The files hold
/// envelopes and wrapped keys alone. What is deleted, or was wrapped in a key that was destroyed,
/// stays readable on the bare disk until its blocks are used again.
///
/// The lock needs a local file system.
///
/// # Examples
///
/// ```
/// use tenantry::credential::{Credentials, FileCredentialStore};
/// use tenantry::crypto::LocalKeyring;
/// use tenantry::scope::{MemoryDirectory, ScopeIssuer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tenantry::Result<()> {
/// # let (issuer, dir) = (ScopeIssuer::new(MemoryDirectory::new()), tempfile::tempdir().unwrap());
/// # let path = dir.path().join("credentials");
/// let store = FileCredentialStore::open(path)?;
/// let credentials = Credentials::builder(&issuer, LocalKeyring::random()?, store).build();
/// credentials.keys().check().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct FileCredentialStore(Arc<CredentialDirectory>);

impl FileCredentialStore {
    /// Opens a directory, which is made if its parent exists.
    ///
    /// # Errors
    ///
    /// `Unconfigured` where it cannot be made or opened, and where other users may look into it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Self(Arc::new(CredentialDirectory::open(path.as_ref(), PATIENCE)?)))
    }

    /// Works on the file system, where that blocks nobody. What is begun is completed, also for who
    /// no longer waits for it.
    async fn blocking<T: Send + 'static>(
        &self,
        owner: Owner,
        work: impl FnOnce(&CredentialDirectory, &Owner) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let directory = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || work(&directory, &owner))
            .await
            .map_err(|_| Error::unavailable("the work on credential files ended early"))?
    }

    /// Looks at an organization's credentials while nobody writes.
    async fn look<T: Default + Send + 'static>(
        &self,
        scope: &TenantScope,
        look: impl FnOnce(&Turn) -> Result<T> + Send + 'static,
    ) -> Result<Snapshot<T>> {
        self.blocking(Owner::Organization(scope.clone()), |directory, owner| {
            let Some(turn) = directory.turn(owner, false)? else {
                return Ok(Snapshot::new(KeyEpoch::default(), T::default()));
            };
            Ok(Snapshot::new(forms::keys(turn.shelf())?.epoch, look(&turn)?))
        })
        .await
    }

    /// Writes if the keys are those of the epoch.
    async fn write(
        &self,
        scope: &TenantScope,
        epoch: KeyEpoch,
        write: impl FnOnce(&Turn) -> Result<Written> + Send + 'static,
    ) -> Result<Written> {
        self.blocking(Owner::Organization(scope.clone()), move |directory, owner| {
            let Some(turn) = directory.turn(owner, false)? else { return Ok(Written::KeysChanged) };
            // INVARIANT: compared in the turn that writes, so that nothing is written under a key
            // that was retired or destroyed since it was sealed.
            let keys = forms::keys(turn.shelf())?;
            if !serves(&keys, epoch) {
                return Ok(Written::KeysChanged);
            }
            match write(&turn) {
                Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {
                    Ok(Written::Moved)
                }
                written => written,
            }
        })
        .await
    }
}

#[async_trait]
impl CredentialStore for FileCredentialStore {
    async fn insert(
        &self,
        scope: &TenantScope,
        epoch: KeyEpoch,
        credential: &StoredCredential,
    ) -> Result<Written> {
        let (id, record) = (*credential.info.id.as_uuid(), forms::record(credential)?);
        self.write(scope, epoch, move |turn| turn.put(id, &record).map(|()| Written::Done)).await
    }

    async fn get(
        &self,
        scope: &TenantScope,
        id: CredentialId,
    ) -> Result<Snapshot<Option<StoredCredential>>> {
        self.blocking(Owner::Organization(scope.clone()), move |directory, owner| {
            let Some(shelf) = directory.shelf(owner, false)? else {
                return Ok(Snapshot::new(KeyEpoch::default(), None));
            };
            let mut epoch = forms::keys(&shelf)?.epoch;
            for _ in 0..ATTEMPTS {
                let stored = there(read(&shelf, id))?;
                let after = forms::keys(&shelf)?.epoch;
                // Epochs do not go back: it was this one all the time.
                if after == epoch {
                    return Ok(Snapshot::new(epoch, stored));
                }
                epoch = after;
            }
            Err(Error::unavailable("the keys change faster than a credential can be read"))
        })
        .await
    }

    async fn replace(
        &self,
        scope: &TenantScope,
        epoch: KeyEpoch,
        seen: u64,
        credential: &StoredCredential,
    ) -> Result<Written> {
        let (id, record) = (*credential.info.id.as_uuid(), forms::record(credential)?);
        self.write(scope, epoch, move |turn| {
            turn.replace(id, seen, &record).map(|()| Written::Done)
        })
        .await
    }

    async fn page(
        &self,
        scope: &TenantScope,
        after: Option<CredentialId>,
        limit: u32,
    ) -> Result<Snapshot<Vec<(CredentialId, Result<StoredCredential>)>>> {
        self.look(scope, move |turn| {
            let ids = turn.ids()?.into_iter().map(CredentialId::from_uuid);
            let rest = ids.filter(|id| after.is_none_or(|after| *id > after));
            Ok(rest.take(limit as usize).map(|id| (id, read(turn.shelf(), id))).collect())
        })
        .await
    }

    async fn remove(&self, scope: &TenantScope, id: CredentialId) -> Result<bool> {
        self.blocking(Owner::Organization(scope.clone()), move |directory, owner| {
            let Some(turn) = directory.turn(owner, false)? else { return Ok(false) };
            there(turn.delete(*id.as_uuid())).map(|removed| removed.is_some())
        })
        .await
    }

    /// `Corrupt` where a file cannot be read: nobody knows under which key its value is.
    async fn usage(&self, scope: &TenantScope) -> Result<Snapshot<Vec<KeyUse>>> {
        self.look(scope, |turn| {
            let mut counts = BTreeMap::<Option<KeyId>, u64>::new();
            for id in turn.ids()? {
                let stored = read(turn.shelf(), CredentialId::from_uuid(id))?;
                *counts.entry(stored.key).or_default() += 1;
            }
            let uses = counts.into_iter();
            Ok(uses.map(|(key, count)| KeyUse::new("credential files", key, count)).collect())
        })
        .await
    }

    async fn reseal(
        &self,
        scope: &TenantScope,
        epoch: KeyEpoch,
        seen: Option<Checkpoint>,
        values: &[Resealed],
        reached: Option<Checkpoint>,
    ) -> Result<Written> {
        let values = values.to_vec();
        self.write(scope, epoch, move |turn| {
            if forms::checkpoint(turn.shelf())? != seen {
                return Ok(Written::Moved);
            }
            let mut changes = Vec::new();
            for Resealed { id, from, to, key } in values {
                match read(turn.shelf(), id) {
                    Ok(mut stored) if stored.sealed == from => {
                        (stored.sealed, stored.key) = (to, Some(key));
                        changes.push(turn.changed(*id.as_uuid(), &forms::record(&stored)?)?);
                    }
                    Err(error) if concerns_one(&error) => {}
                    read => drop(read?),
                }
            }
            changes.push(forms::changed_checkpoint(turn, reached.as_ref())?);
            turn.change(&changes)?;
            Ok(Written::Done)
        })
        .await
    }

    async fn checkpoint(&self, scope: &TenantScope) -> Result<Option<Checkpoint>> {
        Ok(self.look(scope, |turn| forms::checkpoint(turn.shelf())).await?.value)
    }
}

fn serves(keys: &KeySet, epoch: KeyEpoch) -> bool {
    keys.epoch == epoch && keys.active().is_some()
}

fn read(shelf: &Shelf, id: CredentialId) -> Result<StoredCredential> {
    forms::credential(id, shelf.read(*id.as_uuid())?)
}

/// What is there, if it is.
fn there<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

/// Whether an error is about one credential, which is left as it is.
fn concerns_one(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound)
}

const ATTEMPTS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(10);
