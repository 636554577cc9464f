//! One credential as bytes.
//!
//! ```text
//! "tenantry/credential/1\n"
//! u16 length || organization     OrganizationId::encoded
//! id 16
//! u64 version
//! u32 length || metadata
//! u32 length || sealed
//! SHA-256 of everything before   32
//! ```
//!
//! Numbers are big-endian. The digest finds what a disk or a hand damaged; it keeps nobody out. What
//! is sealed proves itself, to whoever opens it, by its own tag.

use std::fmt;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::error::{Error, Result};

/// A credential as it is stored: sealed bytes, what describes them, and their version.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Grows with every replacement.
    pub(crate) version: u64,
    /// What can be listed without opening anything; no secret.
    pub(crate) metadata: Vec<u8>,
    /// The envelope.
    pub(crate) sealed: Vec<u8>,
}

impl Record {
    pub(super) fn encode(&self, owner: &str, id: Uuid) -> Result<Vec<u8>> {
        let too_long = || Error::invalid("a credential is too long to be stored");
        if self.metadata.len() > MOST_METADATA || self.sealed.len() > MOST_SEALED {
            return Err(too_long());
        }
        let mut bytes = MAGIC.to_vec();
        bytes.extend(u16::try_from(owner.len()).map_err(|_| too_long())?.to_be_bytes());
        bytes.extend(owner.as_bytes());
        bytes.extend(id.as_bytes());
        bytes.extend(self.version.to_be_bytes());
        for part in [&self.metadata, &self.sealed] {
            bytes.extend(u32::try_from(part.len()).map_err(|_| too_long())?.to_be_bytes());
            bytes.extend(part);
        }
        bytes.extend(Sha256::digest(&bytes));
        Ok(bytes)
    }

    /// Reads what [`encode`](Self::encode) wrote for the same organization and id.
    pub(super) fn decode(bytes: &[u8], owner: &str, id: Uuid) -> Result<Self> {
        let mut reader = Reader::of(bytes, MAGIC)?;
        let named_owner = reader.part::<2>().ok_or_else(damaged)?;
        let named = reader.take(16).ok_or_else(damaged)?;
        // INVARIANT: a file in the place of another one, by whatever way it came there, is never
        // returned as the one that was asked for.
        if named_owner != owner.as_bytes() || named != id.as_bytes() {
            return Err(Error::incident("a credential file stands in the place of another one"));
        }
        let version = reader.take(8).and_then(|bytes| bytes.try_into().ok()).ok_or_else(damaged)?;
        let metadata = reader.part::<4>().ok_or_else(damaged)?.to_vec();
        let sealed = reader.part::<4>().ok_or_else(damaged)?.to_vec();
        reader.end()?;
        Ok(Self { version: u64::from_be_bytes(version), metadata, sealed })
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("version", &self.version)
            .field("metadata", &format_args!("{} bytes", self.metadata.len()))
            .field("sealed", &format_args!("{} bytes", self.sealed.len()))
            .finish()
    }
}

/// Reads the body of a file whose digest is right.
pub(super) struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    pub(super) fn of(bytes: &'b [u8], magic: &[u8]) -> Result<Self> {
        let parts = bytes.len().checked_sub(32).and_then(|at| bytes.split_at_checked(at));
        let (body, digest) = parts.ok_or_else(damaged)?;
        if Sha256::digest(body).as_slice() != digest {
            return Err(damaged());
        }
        let mut reader = Reader(body);
        if reader.take(magic.len()).ok_or_else(damaged)? != magic {
            return Err(Error::corrupt("a credential file has an unknown format"));
        }
        Ok(reader)
    }

    /// A reader of bytes that were read already.
    pub(super) fn within(bytes: &'b [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_at_the_end(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn end(&self) -> Result<()> {
        if self.is_at_the_end() { Ok(()) } else { Err(damaged()) }
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// A part after its length in `N` bytes.
    pub(super) fn part<const N: usize>(&mut self) -> Option<&'b [u8]> {
        let length = self.take(N)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        self.take(length)
    }
}

pub(super) fn damaged() -> Error {
    Error::corrupt("a credential file is damaged")
}

const MAGIC: &[u8] = b"tenantry/credential/1\n";
const MOST_METADATA: usize = 64 * 1_024;
const MOST_SEALED: usize = 2 * 1_024 * 1_024;
/// The length of the longest file.
pub(super) const MOST: u64 = (MOST_METADATA + MOST_SEALED + 1_024) as u64;
