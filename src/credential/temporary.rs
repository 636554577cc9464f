//! Files that hold a credential for as long as a child process needs it.

use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cap_std::fs::{Dir, MetadataExt as _};
use uuid::Uuid;

use super::private::{self, Lock, failed};
use crate::crypto::{SecretBytes, random_uuid};
use crate::error::{Error, Result};
use crate::scope::TenantScope;

/// Where this process keeps credential files for child processes that insist on a file.
///
/// Each value has a directory of its own below the one it was opened in, with mode 0700 and a
/// random name. Files come from [`write`](Self::write) and go with their guard; the directory goes
/// with the last of them. Clones share the directory.
///
/// Opening also removes what processes left behind that were killed: a directory whose owner lives
/// is told apart by the lock that it holds, which the system takes away when a process ends, however
/// that comes about. The library installs no signal handler: call [`remove_all`](Self::remove_all)
/// in the one that your application has.
///
/// A directory that lies in memory (`$XDG_RUNTIME_DIR`, `/dev/shm`) keeps the secrets off the disk:
/// elsewhere a removed file can be read from the bare disk until its blocks are used again. The lock
/// needs a local file system.
///
/// # Security
///
/// Names say nothing of an organization. The files are readable for every process of the same user,
/// a child process that serves another organization among them: to keep child processes apart,
/// start them as different users or without a view of the directory.
///
/// # Examples
///
/// ```
/// use std::process::Command;
/// use tenantry::OrganizationId;
/// use tenantry::credential::TemporaryCredentials;
/// use tenantry::crypto::SecretBytes;
/// use tenantry::scope::{MemoryDirectory, Principal, Role, ScopeIssuer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (organization, ann) = (OrganizationId::new(), Principal::user("ann"));
/// # let directory = MemoryDirectory::new();
/// # directory.add_member(&organization, &ann, Role::Member);
/// # let issuer = ScopeIssuer::new(directory);
/// # let scope = issuer.enter(&ann, organization).await?;
/// # let runtime = tempfile::tempdir()?;
/// # let runtime = runtime.path();
/// let files = TemporaryCredentials::open(runtime)?;
///
/// let file = files.write(&scope, &SecretBytes::new(b"example-token".to_vec()))?;
/// let read = Command::new("cat").arg(file.path()).output()?;
/// assert_eq!(read.stdout, b"example-token");
///
/// let path = file.path().to_owned();
/// drop(file);
/// assert!(!path.exists());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TemporaryCredentials {
    own: Arc<Own>,
}

/// A credential in a file of mode 0600, which goes when this is dropped, a panic included.
///
/// The file has a directory of its own, so that what a program writes beside it (a renewed token, a
/// backup) goes too.
#[must_use = "the file is removed when this is dropped"]
pub struct TemporaryCredentialFile {
    own: Arc<Own>,
    name: String,
    path: PathBuf,
    removed: bool,
}

/// The directory of one process.
struct Own {
    base: Dir,
    name: String,
    path: PathBuf,
    dir: Dir,
    /// Set by `remove_all`; whoever writes or removes holds it.
    closed: Mutex<bool>,
    _lock: Lock,
}

impl TemporaryCredentials {
    /// Makes a directory of this process below an existing one, and removes those of processes that
    /// ended without doing so.
    ///
    /// # Errors
    ///
    /// `Unconfigured` where there is no such directory, where it may not be written, where other
    /// users may replace what is in it (it is theirs, or writable for them and not sticky as `/tmp`
    /// is), and where the file system keeps no modes. `Unavailable` for other failures of the file
    /// system. What an ended process left and cannot be removed stays, with a warning in the trace.
    pub fn open(base: impl AsRef<Path>) -> Result<Self> {
        let path = base.as_ref().canonicalize().map_err(absent)?;
        let base = private::open_ambient(&path).map_err(absent)?;
        let metadata = base.dir_metadata().map_err(|error| failed("examined", error))?;
        if others_may_replace(metadata.mode(), metadata.uid(), private::user()) {
            return Err(Error::unconfigured(
                "other users may replace what is in the directory for temporary credentials: use \
                 one of this user or of root that they cannot write, or one with the sticky bit",
            ));
        }
        for _ in 0..ATTEMPTS {
            let name = random_name()?;
            let made = create(&base, &name).map_err(|error| failed("made", error))?;
            let Some((dir, lock)) = made else { continue };
            let (path, closed) = (path.join(&name), Mutex::new(false));
            // From here on whatever goes wrong takes the directory away.
            let own = Own { base, name, path, dir, closed, _lock: lock };
            private::require_private(&own.dir)?;
            sweep(&own).map_err(|error| failed("listed", error))?;
            return Ok(Self { own: Arc::new(own) });
        }
        Err(Error::unavailable("other processes keep removing the directory of this one"))
    }

    /// Writes a credential of the scope's organization into a new file.
    ///
    /// # Errors
    ///
    /// `Denied` for a scope that has ended. `Unavailable` after [`remove_all`](Self::remove_all) and
    /// where the file cannot be written. `Unconfigured` where the file system keeps no modes.
    ///
    /// # Security
    ///
    /// What is in the file is no longer wiped, redacted or bound to an organization: give the path
    /// to the one program that needs it.
    pub fn write(
        &self,
        scope: &TenantScope,
        contents: &SecretBytes,
    ) -> Result<TemporaryCredentialFile> {
        scope.check()?;
        let closed = self.own.closed();
        if *closed {
            return Err(Error::unavailable("the temporary credentials were removed for good"));
        }
        let (name, file) = (random_name()?, random_name()?);
        let path = self.own.path.join(&name).join(&file);
        // From here on whatever goes wrong takes away what has been made.
        let guard =
            TemporaryCredentialFile { own: Arc::clone(&self.own), name, path, removed: false };
        let written = (|| {
            private::create_dir(&self.own.dir, &guard.name)?;
            let dir = private::open_dir(&self.own.dir, &guard.name)?;
            private::create_file(&dir, &file)?.write_all(contents.expose_secret())
        })();
        drop(closed);
        written.map_err(|error| failed("written", error))?;
        Ok(guard)
    }

    /// Removes every file and the directory, for good: for the handler of the signals that end the
    /// application.
    ///
    /// Files that child processes have open stay readable for them. Nothing is written afterwards,
    /// so that no file of another thread comes after.
    ///
    /// # Errors
    ///
    /// `Unavailable` or `Unconfigured` where something could not be removed; the rest is, and
    /// calling it again tries again.
    pub fn remove_all(&self) -> Result<()> {
        self.own.remove().map_err(|error| failed("removed", error))
    }
}

impl fmt::Debug for TemporaryCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TemporaryCredentials").field("path", &self.own.path).finish()
    }
}

impl TemporaryCredentialFile {
    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the file now, and says whether that went well.
    ///
    /// # Errors
    ///
    /// `Unavailable` or `Unconfigured` where it could not be removed.
    pub fn remove(mut self) -> Result<()> {
        self.take_away().map_err(|error| failed("removed", error))
    }

    fn take_away(&mut self) -> io::Result<()> {
        if self.removed {
            return Ok(());
        }
        let _closed = self.own.closed();
        let removed = tolerate_absence(self.own.dir.remove_dir_all(&self.name));
        self.removed = removed.is_ok();
        removed
    }
}

impl Drop for TemporaryCredentialFile {
    fn drop(&mut self) {
        if let Err(error) = self.take_away() {
            tracing::error!(%error, "a temporary credential file could not be removed");
        }
    }
}

impl fmt::Debug for TemporaryCredentialFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TemporaryCredentialFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Own {
    fn closed(&self) -> MutexGuard<'_, bool> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove(&self) -> io::Result<()> {
        let mut closed = self.closed();
        *closed = true;
        empty(&self.dir)?;
        tolerate_absence(self.base.remove_dir(&self.name))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            tracing::error!(%error, "the directory of temporary credentials could not be removed");
        }
    }
}

/// Makes a directory and holds its lock; `None` where one who sweeps was faster.
fn create(base: &Dir, name: &str) -> io::Result<Option<(Dir, Lock)>> {
    private::create_dir(base, name)?;
    let held = private::open_dir(base, name)
        .and_then(|dir| Ok(private::try_lock(&dir, true)?.map(|lock| (dir, lock))));
    match held {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        held => held,
    }
}

/// Removes the directories beside `own` that belong to the same user and to no living process. One
/// that cannot be removed keeps nobody from starting.
fn sweep(own: &Own) -> io::Result<()> {
    for entry in own.base.entries()? {
        let name = entry?.file_name();
        let Some(name) = name.to_str().filter(|name| is_ours(name) && *name != own.name) else {
            continue;
        };
        match remove_orphan(&own.base, name) {
            Ok(true) => tracing::info!("removed what a process left behind that had ended"),
            Ok(false) => {}
            // Another one sweeps too.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, "what a process left behind cannot be removed"),
        }
    }
    Ok(())
}

fn remove_orphan(base: &Dir, name: &str) -> io::Result<bool> {
    let metadata = base.symlink_metadata(name)?;
    if !metadata.is_dir() || metadata.uid() != private::user() {
        return Ok(false);
    }
    let dir = private::open_dir(base, name)?;
    match private::try_lock(&dir, false) {
        Ok(None) => return Ok(false),
        Ok(Some(_lock)) => empty(&dir)?,
        // Just made, or all but removed: either way without a file. If its owner lives, it finds
        // that the directory is gone and makes another.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    match base.remove_dir(name) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
        removed => removed.map(|()| true),
    }
}

/// Removes what is in the directory of a process; the lock goes last, because a directory without
/// one counts as empty.
fn empty(dir: &Dir) -> io::Result<()> {
    let mut first = Ok(());
    for entry in dir.entries()? {
        let entry = entry?;
        let name = entry.file_name();
        if name == private::LOCK {
            continue;
        }
        let removed = entry.file_type().and_then(|kind| match kind.is_dir() {
            true => dir.remove_dir_all(&name),
            false => dir.remove_file(&name),
        });
        first = first.and(tolerate_absence(removed));
    }
    first?;
    tolerate_absence(dir.remove_file(private::LOCK))
}

/// Whether somebody else than the user and root may put something in the place of what the user has
/// in a directory: whoever owns it may, also where it is sticky.
fn others_may_replace(mode: u32, owner: u32, user: u32) -> bool {
    (owner != user && owner != ROOT) || (mode & WRITABLE_FOR_OTHERS != 0 && mode & STICKY == 0)
}

fn tolerate_absence(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn absent(error: io::Error) -> Error {
    Error::unconfigured("the directory for temporary credentials cannot be opened")
        .with_source(error)
}

fn random_name() -> Result<String> {
    Ok(format!("{PREFIX}{}", random_uuid()?.simple()))
}

fn is_ours(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .is_some_and(|random| random.len() == 32 && Uuid::try_parse(random).is_ok())
}

const PREFIX: &str = "tenantry-";
const ATTEMPTS: usize = 8;
const ROOT: u32 = 0;
const WRITABLE_FOR_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c40_whoever_owns_a_directory_may_replace_what_is_in_it() {
        for (owner, user, theirs) in
            [(1, 1, false), (ROOT, 1, false), (2, 1, true), (1, ROOT, true)]
        {
            for (mode, open) in [(0o700, false), (0o755, false), (0o1777, false), (0o777, true)] {
                let replaceable = others_may_replace(mode, owner, user);
                assert_eq!(replaceable, theirs || open, "{mode:o} of {owner} for {user}");
            }
        }
    }
}
