//! Directories and files that nobody else may look into, held by handle and never by path.
//!
//! Every name is resolved below a directory that is held open, and a symbolic link in the place of
//! a directory or a file is an error: nothing leads out of the directory, and nothing leads from
//! one organization's to another's inside it.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use cap_fs_ext::{DirExt as _, FollowSymlinks, OpenOptionsFollowExt as _};
use cap_std::ambient_authority;
use cap_std::fs::{
    Dir, DirBuilder, DirBuilderExt as _, Metadata, MetadataExt as _, OpenOptions,
    OpenOptionsExt as _, Permissions, PermissionsExt as _,
};

use crate::error::{Error, Result};

/// Opens a directory by its path: the one place where a path of the process is resolved.
pub(super) fn open_ambient(path: &Path) -> io::Result<Dir> {
    Dir::open_ambient_dir(path, ambient_authority())
}

/// Makes a directory with mode 0700; one of that name is `AlreadyExists`.
pub(super) fn create_dir(parent: &Dir, name: &str) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.mode(DIR_MODE);
    parent.create_dir_with(name, &builder)
}

/// Opens a directory that is none of somebody else's and no symbolic link.
pub(super) fn open_dir(parent: &Dir, name: &str) -> io::Result<Dir> {
    parent.open_dir_nofollow(name)
}

/// The user as whom this process makes files.
pub(super) fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Refuses a directory into which others may look, and one of somebody else, who could let them.
pub(super) fn require_private(dir: &Dir) -> Result<()> {
    let metadata = dir.dir_metadata().map_err(|error| failed("examined", error))?;
    if metadata.uid() != user() {
        return Err(Error::unconfigured(
            "the credential directory belongs to another user than the one of this process",
        ));
    }
    if metadata.mode() & OTHERS != 0 {
        return Err(Error::unconfigured(
            "the credential directory is open to other users: set its mode to 0700",
        ));
    }
    Ok(())
}

/// Makes a file with mode 0600 that was not there before, whatever the process masks.
pub(super) fn create_file(dir: &Dir, name: &str) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(FILE_MODE).follow(FollowSymlinks::No);
    let file = dir.open_with(name, &options)?;
    file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    if file.metadata()?.mode() & OTHERS != 0 {
        // A file system without modes would show the secret to everybody.
        let _ = dir.remove_file(name);
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "the file system does not keep file modes",
        ));
    }
    Ok(file.into_std())
}

/// Opens a regular file to read.
pub(super) fn open_file(dir: &Dir, name: &str) -> io::Result<(File, Metadata)> {
    // A named pipe would make the opening wait.
    if !dir.symlink_metadata(name)?.is_file() {
        return Err(irregular());
    }
    let mut options = OpenOptions::new();
    options.read(true).follow(FollowSymlinks::No);
    let file = dir.open_with(name, &options)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(irregular());
    }
    Ok((file.into_std(), metadata))
}

/// A lock that ends with the process, however that ends.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "the lock is held as long as the file")] File);

/// Takes the lock of a directory; `None` while another one holds it.
///
/// `create` makes the file that carries it. A lock on a file that has been removed meanwhile is
/// worth nothing, because the next one comes to lock another file: it is `NotFound`.
pub(super) fn try_lock(dir: &Dir, create: bool) -> io::Result<Option<Lock>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(create).mode(FILE_MODE).follow(FollowSymlinks::No);
    let file = dir.open_with(LOCK, &options)?.into_std();
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    if std::os::unix::fs::MetadataExt::nlink(&file.metadata()?) == 0 {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(Some(Lock(file)))
}

/// Makes what was created, renamed or removed in a directory outlast a power failure.
pub(super) fn sync(dir: &Dir) -> io::Result<()> {
    // The handle itself may be one that only leads somewhere (`O_PATH`), which cannot be synced.
    dir.open(".")?.sync_all()
}

/// What a failure of the file system means for the caller. The source names no path.
pub(super) fn failed(what: &str, error: io::Error) -> Error {
    let message = format!("a credential file or directory could not be {what}");
    match error.kind() {
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::Unsupported => Error::unconfigured(message),
        _ => Error::unavailable(message),
    }
    .with_source(error)
}

fn irregular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not a regular file")
}

/// The file that carries the lock of its directory.
pub(super) const LOCK: &str = "lock";
/// The bits of a mode that let anybody but the owner in.
pub(super) const OTHERS: u32 = 0o077;
const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
