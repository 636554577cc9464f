//! Credentials in files: the ground that a store of sealed credentials stands on.
//!
//! ```text
//! root/                    0700
//!   <organization>/        0700   OrganizationId::encoded
//!     lock                 0600   held, exclusively, by whoever writes in the organization
//!     <id>.credential      0600   one credential: the id in 32 hex digits
//!     <random>.new         0600   on its way to become one
//! ```
//!
//! A credential is one file, so that its sealed bytes and what describes them never come from two
//! writes. A new state is written beside the old one, synced, renamed over it, and the directory is
//! synced: who reads finds the old state or the new one, also after a crash in between. Writers of
//! one organization take turns, across processes, by a lock that ends with its process; readers
//! wait for nobody.

mod record;

use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use cap_std::fs::Dir;
use uuid::Uuid;

pub(crate) use record::Record;

use super::private::{self, Lock, failed};
use crate::error::{Error, Result};
use crate::scope::TenantScope;

/// A directory of credentials, one directory per organization below it.
///
/// Its functions block on the file system.
#[derive(Debug)]
pub(crate) struct CredentialDirectory {
    root: Dir,
    patience: Duration,
}

impl CredentialDirectory {
    /// Opens a directory, which is made if its parent exists. Writers wait for each other as long
    /// as `patience`.
    ///
    /// # Errors
    ///
    /// `Unconfigured` where it cannot be made or opened and where other users may look into it.
    pub(crate) fn open(path: &Path, patience: Duration) -> Result<Self> {
        let absent = |error| {
            Error::unconfigured("the credential directory cannot be opened").with_source(error)
        };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = private::open_ambient(parent.unwrap_or(Path::new("."))).map_err(absent)?;
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
            Error::unconfigured("the path of the credential directory has no plain last part")
        })?;
        ensure_dir(&parent, name).map_err(absent)?;
        let root = private::open_dir(&parent, name).map_err(absent)?;
        private::require_private(&root)?;
        Ok(Self { root, patience })
    }

    /// Stores a credential under an id that the organization does not use.
    ///
    /// # Errors
    ///
    /// `Conflict` where the organization has a credential of this id. `Invalid` for one over the
    /// limits. `Unavailable` where the file system fails or another writer does not finish.
    pub(crate) fn put(&self, scope: &TenantScope, id: Uuid, record: &Record) -> Result<()> {
        let bytes = record.encode(scope.organization(), id)?;
        let dir = self.organization(scope, true)?.ok_or_else(missing)?;
        let _lock = self.lock(&dir)?;
        let name = file_name(id);
        match dir.symlink_metadata(&name) {
            Ok(_) => return Err(Error::conflict("the organization has such a credential")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("examined", error)),
        }
        write(&dir, &name, &bytes)
    }

    /// The credential of an id.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Corrupt` for a file that holds no credential, and `Incident` for a credential
    /// of another organization or id in its place.
    pub(crate) fn read(&self, scope: &TenantScope, id: Uuid) -> Result<Record> {
        let dir = self.organization(scope, false)?.ok_or_else(missing)?;
        read(&dir, scope, id)
    }

    /// Stores the next state of a credential, if its version is still the expected one.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read) and [`put`](Self::put), and `Conflict` where the stored version is
    /// another one; `Misuse` for a next version that is not higher than the expected one. Whatever
    /// cannot be read is not overwritten.
    pub(crate) fn replace(
        &self,
        scope: &TenantScope,
        id: Uuid,
        expected: u64,
        record: &Record,
    ) -> Result<()> {
        if record.version <= expected {
            return Err(Error::misuse("the version of a replaced credential does not grow"));
        }
        let bytes = record.encode(scope.organization(), id)?;
        let dir = self.organization(scope, false)?.ok_or_else(missing)?;
        let _lock = self.lock(&dir)?;
        if read(&dir, scope, id)?.version != expected {
            return Err(Error::conflict("the credential was replaced meanwhile"));
        }
        write(&dir, &file_name(id), &bytes)
    }

    /// The organization's credentials in the order of their ids, each read when it is asked for.
    /// One that cannot be read is its error, and does not keep the others from being listed.
    ///
    /// # Errors
    ///
    /// `Unavailable` and `Unconfigured` where the directory cannot be read.
    pub(crate) fn list(
        &self,
        scope: &TenantScope,
    ) -> Result<impl Iterator<Item = (Uuid, Result<Record>)>> {
        let dir = self.organization(scope, false)?;
        let mut found = Vec::new();
        if let Some(dir) = &dir {
            for entry in dir.entries().map_err(|error| failed("listed", error))? {
                let name = entry.map_err(|error| failed("listed", error))?.file_name();
                found.extend(name.to_str().and_then(id_of));
            }
        }
        found.sort_unstable();
        Ok(found.into_iter().filter_map(move |id| {
            let dir = dir.as_ref()?;
            match scope.check().and_then(|()| read(dir, scope, id)) {
                // Deleted since.
                Err(error) if error.kind() == crate::ErrorKind::NotFound => None,
                record => Some((id, record)),
            }
        }))
    }

    /// Removes a credential, also one that cannot be read.
    ///
    /// # Errors
    ///
    /// `NotFound`, and `Unavailable` where the file system fails or another writer does not finish.
    pub(crate) fn delete(&self, scope: &TenantScope, id: Uuid) -> Result<()> {
        let dir = self.organization(scope, false)?.ok_or_else(missing)?;
        let _lock = self.lock(&dir)?;
        match dir.remove_file(file_name(id)) {
            Ok(()) => settle(&dir, "removed"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing()),
            Err(error) => Err(failed("removed", error)),
        }
    }

    /// The directory of the scope's organization; `None` where nothing was ever stored.
    fn organization(&self, scope: &TenantScope, create: bool) -> Result<Option<Dir>> {
        scope.check()?;
        let name = scope.organization().encoded();
        if create {
            ensure_dir(&self.root, &name).map_err(|error| failed("made", error))?;
        }
        let dir = match private::open_dir(&self.root, &name) {
            Ok(dir) => dir,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("opened", error)),
        };
        private::require_private(&dir)?;
        Ok(Some(dir))
    }

    /// The writer's turn, after which no other writer's leftovers are there.
    fn lock(&self, dir: &Dir) -> Result<Lock> {
        let begun = Instant::now();
        let lock = loop {
            if let Some(lock) =
                private::try_lock(dir, true).map_err(|error| failed("locked", error))?
            {
                break lock;
            }
            if begun.elapsed() >= self.patience {
                return Err(Error::unavailable(
                    "another writer holds the organization's credentials",
                ));
            }
            std::thread::sleep(BETWEEN_TRIES);
        };
        for entry in dir.entries().map_err(|error| failed("listed", error))? {
            let name = entry.map_err(|error| failed("listed", error))?.file_name();
            if name.to_str().is_some_and(|name| name.ends_with(UNFINISHED)) {
                dir.remove_file(&name).map_err(|error| failed("removed", error))?;
            }
        }
        Ok(lock)
    }
}

/// Makes a private directory that may be there already.
fn ensure_dir(parent: &Dir, name: &str) -> io::Result<()> {
    match private::create_dir(parent, name) {
        Ok(()) => {}
        // Whoever made it may not have synced it yet.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    private::sync(parent)
}

fn read(dir: &Dir, scope: &TenantScope, id: Uuid) -> Result<Record> {
    let (file, metadata) =
        private::open_file(dir, &file_name(id)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => missing(),
            io::ErrorKind::InvalidData => {
                Error::corrupt("a credential is no regular file").with_source(error)
            }
            _ => failed("opened", error),
        })?;
    if metadata.len() > record::MOST {
        return Err(Error::corrupt("a credential file is longer than any credential"));
    }
    let mut bytes = Vec::new();
    file.take(record::MOST).read_to_end(&mut bytes).map_err(|error| failed("read", error))?;
    Record::decode(&bytes, scope.organization(), id)
}

/// Puts bytes in the place of a name as one step. The caller holds the lock.
fn write(dir: &Dir, name: &str, bytes: &[u8]) -> Result<()> {
    let unfinished = format!("{}{UNFINISHED}", Uuid::new_v4().simple());
    let written = (|| {
        let mut file = private::create_file(dir, &unfinished)?;
        step::reached("created")?;
        file.write_all(bytes)?;
        step::reached("written")?;
        file.sync_all()?;
        step::reached("synced")?;
        dir.rename(&unfinished, dir, name)
    })();
    written.map_err(|error| {
        let _ = dir.remove_file(&unfinished);
        failed("written", error)
    })?;
    settle(dir, "renamed")
}

/// Makes what was done outlast a power failure. It stands already, and so its failure is none to be
/// answered by doing it again.
fn settle(dir: &Dir, done: &str) -> Result<()> {
    step::reached(done).and_then(|()| private::sync(dir)).map_err(|error| {
        Error::unavailable(
            "a credential was changed, and whether that outlasts a power failure is not known: \
             read it before trying again",
        )
        .with_source(error)
    })
}

/// The one error for a credential that is missing and for one of another organization.
fn missing() -> Error {
    Error::not_found("no such credential")
}

fn file_name(id: Uuid) -> String {
    format!("{}{FINISHED}", id.simple())
}

/// The id of which `name` is the file name.
fn id_of(name: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(name.strip_suffix(FINISHED)?).ok()?;
    (file_name(id) == name).then_some(id)
}

const FINISHED: &str = ".credential";
const UNFINISHED: &str = ".new";
const BETWEEN_TRIES: Duration = Duration::from_millis(5);

/// Where the tests stop a process to kill it, or let it fail.
mod step {
    #[cfg(not(test))]
    pub(super) fn reached(_: &str) -> std::io::Result<()> {
        Ok(())
    }

    #[cfg(test)]
    pub(super) use super::tests::reached;
}

#[cfg(test)]
mod tests;
