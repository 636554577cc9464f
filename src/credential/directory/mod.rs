//! Credentials in files: the ground that the store of files stands on.
//!
//! ```text
//! root/                    0700
//!   platform/              0700   the platform's own
//!   <organization>/        0700   OrganizationId::encoded
//!     lock                 0600   held, exclusively, by whoever writes in the directory
//!     <id>.credential      0600   one credential: the id in 32 hex digits
//!     <name>.sheet         0600   what is said of the owner as a whole: its keys, its checkpoint
//!     <random>.new         0600   on its way to become one of them
//!     journal.sheet        0600   changes of several files that are decided and not all made yet
//! ```
//!
//! A credential is one file, so that its sealed bytes and what describes them never come from two
//! writes. A new state is written beside the old one, synced, renamed over it, and the directory is
//! synced: who reads finds the old state or the new one, also after a crash in between. Several files
//! change together by a journal: once it stands, whoever takes the next turn completes what it says.
//! Writers of one owner take turns, across processes, by a lock that ends with its process.

mod record;
mod sheet;

use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use cap_std::fs::Dir;
use uuid::Uuid;

pub(crate) use record::Record;

use super::private::{self, Lock, failed};
use crate::crypto::random_uuid;
use crate::error::{Error, Result};
use crate::id::OrganizationId;
use crate::scope::TenantScope;

/// A directory of credentials, one directory per organization below it.
///
/// Its functions block on the file system.
#[derive(Debug)]
pub(crate) struct CredentialDirectory {
    root: Dir,
    patience: Duration,
}

/// Whose directory is meant: the permission to look into it.
#[derive(Debug, Clone)]
pub(crate) enum Owner {
    Organization(TenantScope),
    Platform,
}

/// The directory of one owner.
#[derive(Debug)]
pub(crate) struct Shelf {
    dir: Dir,
    owner: String,
}

/// The turn to write in a directory: nobody else writes there meanwhile.
#[derive(Debug)]
pub(crate) struct Turn {
    shelf: Shelf,
    _lock: Lock,
}

/// What several files become in one step: `None` for one that goes.
pub(crate) type Changes = Vec<(String, Option<Vec<u8>>)>;

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

    /// The directory of an owner; `None` where nothing was ever stored.
    ///
    /// # Errors
    ///
    /// `Denied` for a scope that no longer works; `Unconfigured` for a directory into which others
    /// may look; `Unavailable` where the file system fails.
    pub(crate) fn shelf(&self, owner: &Owner, create: bool) -> Result<Option<Shelf>> {
        owner.check()?;
        self.shelf_of(owner.name(), create)
    }

    /// The owner's directory with the turn to write in it, in which no other writer's leftovers are.
    ///
    /// # Errors
    ///
    /// As [`shelf`](Self::shelf), and `Unavailable` where another writer does not finish.
    pub(crate) fn turn(&self, owner: &Owner, create: bool) -> Result<Option<Turn>> {
        let Some(shelf) = self.shelf(owner, create)? else { return Ok(None) };
        let lock = self.lock(&shelf.dir)?;
        // The scope may have ended while the others wrote.
        owner.check()?;
        let turn = Turn { shelf, _lock: lock };
        turn.clear()?;
        Ok(Some(turn))
    }

    /// The directories of every organization, for the care of keys: one that cannot be opened is its
    /// error, beside the others.
    ///
    /// # Cross-tenant authority
    ///
    /// Whoever calls it has one.
    pub(crate) fn shelves_across(&self) -> Result<Vec<(OrganizationId, Result<Shelf>)>> {
        let mut shelves = Vec::new();
        for name in names(&self.root)? {
            if let Some(organization) = OrganizationId::from_encoded(&name)
                && let Some(shelf) = self.shelf_of(name, false).transpose()
            {
                shelves.push((organization, shelf));
            }
        }
        Ok(shelves)
    }

    fn shelf_of(&self, owner: String, create: bool) -> Result<Option<Shelf>> {
        if create {
            ensure_dir(&self.root, &owner).map_err(|error| failed("made", error))?;
        }
        let dir = match private::open_dir(&self.root, &owner) {
            Ok(dir) => dir,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("opened", error)),
        };
        private::require_private(&dir)?;
        Ok(Some(Shelf { dir, owner }))
    }

    fn lock(&self, dir: &Dir) -> Result<Lock> {
        let begun = Instant::now();
        loop {
            if let Some(lock) =
                private::try_lock(dir, true).map_err(|error| failed("locked", error))?
            {
                return Ok(lock);
            }
            if begun.elapsed() >= self.patience {
                return Err(Error::unavailable("another writer holds the owner's credentials"));
            }
            std::thread::sleep(BETWEEN_TRIES);
        }
    }
}

impl Owner {
    fn check(&self) -> Result<()> {
        match self {
            Self::Organization(scope) => scope.check(),
            Self::Platform => Ok(()),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Organization(scope) => scope.organization().encoded(),
            Self::Platform => PLATFORM.to_owned(),
        }
    }
}

impl Shelf {
    /// The credential of an id.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Corrupt` for a file that holds no credential, and `Incident` for a credential
    /// of another organization or id in its place.
    pub(crate) fn read(&self, id: Uuid) -> Result<Record> {
        let bytes = self.bytes(&file_name(id), record::MOST)?.ok_or_else(missing)?;
        Record::decode(&bytes, &self.owner, id)
    }

    /// What is said of the owner as a whole under a name; `None` where nothing is.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    pub(crate) fn sheet(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let bytes = self.bytes(&sheet::file_name(name), u64::MAX)?;
        bytes.map(|bytes| sheet::decode(&bytes, &self.owner, name)).transpose()
    }

    fn bytes(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>> {
        let (file, metadata) = match private::open_file(&self.dir, name) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(Error::corrupt("a credential is no regular file").with_source(error));
            }
            Err(error) => return Err(failed("opened", error)),
        };
        if metadata.len() > most {
            return Err(Error::corrupt("a credential file is longer than any credential"));
        }
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes).map_err(|error| failed("read", error))?;
        Ok(Some(bytes))
    }
}

impl Turn {
    pub(crate) fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// The ids of the owner's credentials, in order.
    ///
    /// # Errors
    ///
    /// `Unavailable` and `Unconfigured` where the directory cannot be read.
    pub(crate) fn ids(&self) -> Result<Vec<Uuid>> {
        let mut ids: Vec<_> =
            names(&self.shelf.dir)?.iter().filter_map(|name| id_of(name)).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// Stores a credential under an id that the owner does not use.
    ///
    /// # Errors
    ///
    /// `Conflict` where the owner has a credential of this id. `Invalid` for one over the limits.
    /// `Unavailable` where the file system fails; where that comes late it may be stored all the
    /// same: read it again.
    pub(crate) fn put(&self, id: Uuid, record: &Record) -> Result<()> {
        let bytes = record.encode(&self.shelf.owner, id)?;
        let name = file_name(id);
        match self.shelf.dir.symlink_metadata(&name) {
            Ok(_) => return Err(Error::conflict("the organization has such a credential")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("examined", error)),
        }
        self.write(&name, &bytes)
    }

    /// Stores the next state of a credential, if its version is still the expected one.
    ///
    /// # Errors
    ///
    /// As [`Shelf::read`] and [`put`](Self::put), and `Conflict` where the stored version is another
    /// one; `Misuse` for a next version that is not higher than the expected one. Whatever cannot be
    /// read is not overwritten.
    pub(crate) fn replace(&self, id: Uuid, expected: u64, record: &Record) -> Result<()> {
        let bytes = record.encode(&self.shelf.owner, id)?;
        if self.shelf.read(id)?.version != expected {
            return Err(Error::conflict("the credential was replaced meanwhile"));
        }
        if record.version <= expected {
            return Err(Error::misuse("the version of a replaced credential does not grow"));
        }
        self.write(&file_name(id), &bytes)
    }

    /// Removes a credential, also one that cannot be read.
    ///
    /// # Errors
    ///
    /// `NotFound`, and `Unavailable` where the file system fails.
    pub(crate) fn delete(&self, id: Uuid) -> Result<()> {
        if !self.remove(&file_name(id))? {
            return Err(missing());
        }
        settle(&self.shelf.dir, "removed")
    }

    /// Writes down what is said of the owner as a whole.
    ///
    /// # Errors
    ///
    /// As for [`put`](Self::put).
    pub(crate) fn set_sheet(&self, name: &str, body: &[u8]) -> Result<()> {
        let bytes = sheet::encode(&self.shelf.owner, name, body)?;
        self.write(&sheet::file_name(name), &bytes)
    }

    /// A credential's next state, for [`change`](Self::change).
    pub(crate) fn changed(&self, id: Uuid, record: &Record) -> Result<(String, Option<Vec<u8>>)> {
        Ok((file_name(id), Some(record.encode(&self.shelf.owner, id)?)))
    }

    /// What is said under a name next, for [`change`](Self::change).
    pub(crate) fn changed_sheet(
        &self,
        name: &str,
        body: Option<&[u8]>,
    ) -> Result<(String, Option<Vec<u8>>)> {
        let bytes = body.map(|body| sheet::encode(&self.shelf.owner, name, body)).transpose()?;
        Ok((sheet::file_name(name), bytes))
    }

    /// Makes all changes in one step.
    ///
    /// # Errors
    ///
    /// As for [`put`](Self::put).
    pub(crate) fn change(&self, changes: &Changes) -> Result<()> {
        self.set_sheet(JOURNAL, &sheet::journal(changes)?)?;
        step::reached("journaled").map_err(unsure)?;
        self.make(changes)
    }

    /// Makes changes that are decided: the journal goes when all of them will outlast a crash.
    fn make(&self, changes: &Changes) -> Result<()> {
        for (name, bytes) in changes {
            match bytes {
                Some(bytes) => self.write_unsynced(name, bytes)?,
                None => drop(self.remove(name)?),
            }
            step::reached("made").map_err(unsure)?;
        }
        private::sync(&self.shelf.dir).map_err(unsure)?;
        self.remove(&sheet::file_name(JOURNAL))?;
        settle(&self.shelf.dir, "cleared")
    }

    /// Removes what killed writers left unfinished, and completes what they had decided.
    fn clear(&self) -> Result<()> {
        for name in names(&self.shelf.dir)?.iter().filter(|name| name.ends_with(UNFINISHED)) {
            self.remove(name)?;
        }
        match self.shelf.sheet(JOURNAL)? {
            Some(journal) => self.make(&sheet::changes(&journal)?),
            None => Ok(()),
        }
    }

    /// Puts bytes in the place of a name as one step.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.write_unsynced(name, bytes)?;
        settle(&self.shelf.dir, "renamed")
    }

    /// The same, which a power failure may undo until the directory is synced.
    fn write_unsynced(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let (dir, unfinished) =
            (&self.shelf.dir, format!("{}{UNFINISHED}", random_uuid()?.simple()));
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
        })
    }

    fn remove(&self, name: &str) -> Result<bool> {
        match self.shelf.dir.remove_file(name) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed("removed", error)),
        }
    }
}

/// Makes a private directory that may be there already.
fn ensure_dir(parent: &Dir, name: &str) -> io::Result<()> {
    match private::create_dir(parent, name) {
        // Whoever made it may not have synced it yet.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => private::sync(parent),
    }
}

fn names(dir: &Dir) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in dir.entries().map_err(|error| failed("listed", error))? {
        let name = entry.map_err(|error| failed("listed", error))?.file_name();
        names.extend(name.into_string().ok());
    }
    Ok(names)
}

/// Makes what was done outlast a power failure. It stands already, and so its failure is none to be
/// answered by doing it again.
fn settle(dir: &Dir, done: &str) -> Result<()> {
    step::reached(done).and_then(|()| private::sync(dir)).map_err(unsure)
}

fn unsure(error: io::Error) -> Error {
    Error::unavailable(
        "a credential was changed, and whether that outlasts a power failure is not known: \
         read it before trying again",
    )
    .with_source(error)
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

/// The platform's directory: no organization's is named so.
const PLATFORM: &str = "platform";
const JOURNAL: &str = "journal";
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
