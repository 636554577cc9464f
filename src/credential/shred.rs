//! Shredding: the end of everything that was sealed for an organization, and what holds it ended.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::credentials::Credentials;
use super::keys::{KeyAccess, KeyEpoch, KeySet, KeyStore, StoredKey};
use super::store::CredentialStore;
use crate::ambient::CrossTenantAuthority;
use crate::crypto::{KekId, KeyDestruction, KeyId, KeyOwner, WrappedKey};
use crate::error::{Error, Result};
use crate::id::OrganizationId;
use crate::scope::TenantScope;

/// How far a shredding reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ShredGrade {
    /// The data keys are gone from the store. A backup of it that is older brings them back.
    KeyRowDeleted,
    /// As before, and the organization stands in a ledger outside of the store: after a restore its
    /// keys are destroyed again before anything is opened. Whoever has the backup and the KEK, and
    /// not the ledger, still opens what is in it.
    KeyRowDeletedAndLedgered,
    /// The organization's own KEK is gone: no backup brings anything back.
    KekDestroyed,
}

/// A list of shredded organizations that is kept outside of the store and of its backups. Open:
/// implement it for your own.
///
/// # Contract
///
/// - [`record`](Self::record) MUST be durable when it answers `Ok`. A second time it changes
///   nothing.
/// - An entry MUST NOT be removed, and a restore of the store MUST NOT restore the ledger.
/// - A ledger that cannot be read MUST be an error, never empty.
#[async_trait]
pub trait ShredLedger: std::fmt::Debug + Send + Sync + 'static {
    /// Writes down that an organization is shredded.
    async fn record(&self, organization: &OrganizationId, at: OffsetDateTime) -> Result<()>;

    /// When an organization was shredded, if it was.
    async fn find(&self, organization: &OrganizationId) -> Result<Option<OffsetDateTime>>;
}

/// A ledger in memory, which ends with the process: for tests. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryLedger(Arc<Mutex<BTreeMap<OrganizationId, OffsetDateTime>>>);

/// A ledger in a file: lines of JSON, the first of which says what it is, and one for each organization,
/// synced before it counts.
///
/// Processes on one machine can share the file. Put it where a restore of the database does not
/// reach it, and make sure that it is backed up by itself: an entry that is lost lets a restore
/// bring its organization back.
///
/// # Security
///
/// Whoever can write the file can take a line out. It holds organization ids and times.
#[derive(Debug, Clone)]
pub struct FileLedger {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    organization: OrganizationId,
    #[serde(with = "time::serde::rfc3339")]
    shredded_at: OffsetDateTime,
}

impl Credentials {
    /// Destroys the data keys of the scope's organization, for good: no credential of it opens
    /// again, in this process from now on and in others from their next read on. It never gets a
    /// key again.
    ///
    /// The event is recorded first, then the ledger, then the keys are destroyed: where the call
    /// ends early it can be repeated, and with a ledger the data keys go all the same, with the next
    /// read. A KEK of the organization's own goes last, and by this call alone.
    ///
    /// # Errors
    ///
    /// `Denied` for a scope that no longer works, `Misuse` for one of another issuer; `Unavailable`
    /// where the event cannot be recorded or ledger, store or provider do not answer.
    ///
    /// # Security
    ///
    /// The result says how far it reaches: see [`ShredGrade`]. Tokens that were opened before are
    /// tokens still; revoke them with their providers.
    pub async fn shred(&self, scope: &TenantScope) -> Result<ShredGrade> {
        Ok(match self.0.keys.shred(scope).await? {
            KeyDestruction::Destroyed => ShredGrade::KekDestroyed,
            KeyDestruction::Shared if self.0.ledgered => ShredGrade::KeyRowDeletedAndLedgered,
            KeyDestruction::Shared => ShredGrade::KeyRowDeleted,
        })
    }
}

/// A key store that no longer has the keys of whoever stands in the ledger, whatever was restored
/// beneath it.
#[derive(Debug)]
pub(super) struct Ledgered {
    store: Arc<dyn CredentialStore>,
    ledger: Arc<dyn ShredLedger>,
}

impl Ledgered {
    pub(super) fn new(store: Arc<dyn CredentialStore>, ledger: Arc<dyn ShredLedger>) -> Self {
        Self { store, ledger }
    }

    async fn entry(&self, access: KeyAccess<'_>) -> Result<Option<OffsetDateTime>> {
        match access.owner() {
            KeyOwner::Organization(organization) => self.ledger.find(&organization).await,
            KeyOwner::Platform => Ok(None),
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl KeyStore for Ledgered {
    /// INVARIANT: the ledger is asked before the keys are handed out, and what it says is done.
    async fn load(&self, access: KeyAccess<'_>) -> Result<KeySet> {
        let set = self.store.load(access).await?;
        match self.entry(access).await? {
            Some(at) if set.shredded_at.is_none() => {
                self.store.shred(access, at).await?;
                self.store.load(access).await
            }
            _ => Ok(set),
        }
    }

    async fn activate(
        &self,
        access: KeyAccess<'_>,
        seen: KeyEpoch,
        key: &StoredKey,
    ) -> Result<bool> {
        self.store.activate(access, seen, key).await
    }

    async fn rewrap(
        &self,
        access: KeyAccess<'_>,
        key: KeyId,
        from: &WrappedKey,
        to: &WrappedKey,
    ) -> Result<bool> {
        self.store.rewrap(access, key, from, to).await
    }

    async fn destroy(
        &self,
        access: KeyAccess<'_>,
        seen: KeyEpoch,
        key: KeyId,
        at: OffsetDateTime,
    ) -> Result<bool> {
        self.store.destroy(access, seen, key, at).await
    }

    async fn shred(&self, access: KeyAccess<'_>, at: OffsetDateTime) -> Result<()> {
        // The ledger first: from here on the data keys go, whatever fails.
        if let KeyOwner::Organization(organization) = access.owner() {
            access.check()?;
            self.ledger.record(&organization, at).await?;
        }
        self.store.shred(access, at).await
    }

    async fn canaries(&self) -> Result<Vec<StoredKey>> {
        self.store.canaries().await
    }

    async fn add_canary(&self, canary: &StoredKey) -> Result<()> {
        self.store.add_canary(canary).await
    }

    async fn remove_canary(&self, kek: &KekId, authority: &CrossTenantAuthority) -> Result<bool> {
        self.store.remove_canary(kek, authority).await
    }

    async fn in_use(&self, kek: &KekId, authority: &CrossTenantAuthority) -> Result<u64> {
        self.store.in_use(kek, authority).await
    }

    async fn organizations(&self, authority: &CrossTenantAuthority) -> Result<Vec<OrganizationId>> {
        self.store.organizations(authority).await
    }
}

impl MemoryLedger {
    /// A ledger without entries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl ShredLedger for MemoryLedger {
    async fn record(&self, organization: &OrganizationId, at: OffsetDateTime) -> Result<()> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.entry(organization.clone()).or_insert(at);
        Ok(())
    }

    async fn find(&self, organization: &OrganizationId) -> Result<Option<OffsetDateTime>> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(entries.get(organization).copied())
    }
}

impl FileLedger {
    /// Makes a ledger, once: before the first start.
    ///
    /// # Errors
    ///
    /// `Conflict` where the path has a file already; `Unconfigured` where none can be made there.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let unmade = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Error::conflict("the ledger is there already: open it")
            }
            _ => Error::unconfigured("the ledger cannot be made").with_source(error),
        };
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path).map_err(unmade)?;
        let written = file.write_all(HEADER.as_bytes()).and_then(|()| file.sync_all());
        written.and_then(|()| sync_directory(&path)).map_err(|error| {
            // One without its first line is none, and can be made again.
            let _ = std::fs::remove_file(&path);
            unmade(error)
        })?;
        Ok(Self { path })
    }

    /// Opens a ledger that was made before.
    ///
    /// # Errors
    ///
    /// `Unconfigured` for a ledger that is not there, cannot be written or, on Unix, may be written
    /// by others than its owner; `Corrupt` for a file that is no ledger.
    ///
    /// # Security
    ///
    /// None is made in the place of one that is missing: where a disk is not mounted, an empty ledger
    /// would bring every shredded organization back that a restored backup has.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let absent = |error| {
            let message = "the ledger cannot be opened: `FileLedger::create` makes the first one";
            Error::unconfigured(message).with_source(error)
        };
        let file = OpenOptions::new().append(true).open(&path).map_err(absent)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = file.metadata().map_err(absent)?.permissions().mode();
            if mode & 0o022 != 0 {
                return Err(Error::unconfigured("others may write the ledger: give it mode 0600"));
            }
        }
        // What another process has written and not synced yet counts from here on.
        file.sync_all().and_then(|()| sync_directory(&path)).map_err(absent)?;
        lines(&path)?;
        Ok(Self { path })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let path = self.path.clone();
        tokio::task::spawn_blocking(move || work(&path))
            .await
            .map_err(|_| Error::unavailable("the ledger's task ended early"))?
    }
}

#[async_trait]
impl ShredLedger for FileLedger {
    async fn record(&self, organization: &OrganizationId, at: OffsetDateTime) -> Result<()> {
        let line = Line { organization: organization.clone(), shredded_at: at };
        self.blocking(move |path| append(path, &line)).await
    }

    async fn find(&self, organization: &OrganizationId) -> Result<Option<OffsetDateTime>> {
        let wanted = organization.clone();
        self.blocking(move |path| {
            let found = lines(path)?.into_iter().find(|line| line.organization == wanted);
            Ok(found.map(|line| line.shredded_at))
        })
        .await
    }
}

/// The complete lines after the first, which says that it is a ledger: no other file is taken for an
/// empty one. What stands behind the last line break was never acknowledged.
fn lines(path: &Path) -> Result<Vec<Line>> {
    let misshapen = || Error::corrupt("the file is no ledger, or a line of it is misshapen");
    let text = std::fs::read(path).map_err(away)?;
    let text = String::from_utf8(text).map_err(|_| misshapen())?;
    let lines = text.strip_prefix(HEADER).ok_or_else(misshapen)?;
    let complete = lines.rfind('\n').and_then(|end| lines.get(..end)).unwrap_or("");
    complete.lines().map(|line| serde_json::from_str(line).map_err(|_| misshapen())).collect()
}

/// So that the name of the file is on the disk, where the system has such a thing.
fn sync_directory(path: &Path) -> std::io::Result<()> {
    if cfg!(unix) {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

fn append(path: &Path, line: &Line) -> Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(away)?;
    file.lock().map_err(away)?;
    if lines(path)?.iter().any(|other| other.organization == line.organization) {
        return file.sync_all().map_err(away);
    }
    let mut text = Vec::new();
    file.read_to_end(&mut text).map_err(away)?;
    let end = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let mut next = serde_json::to_vec(line)
        .map_err(|_| Error::internal("a line of the ledger could not be written"))?;
    next.push(b'\n');
    // A line whose writer was killed half-way goes, under the lock under which lines are written.
    file.set_len(end as u64).map_err(away)?;
    file.seek(SeekFrom::End(0)).map_err(away)?;
    file.write_all(&next).map_err(away)?;
    file.sync_all().map_err(away)
}

fn away(error: std::io::Error) -> Error {
    Error::unavailable("the ledger does not answer").with_source(error)
}

const HEADER: &str = "{\"tenantry_shred_ledger\":1}\n";
