//! What is said of an owner as a whole, as bytes.
//!
//! ```text
//! "tenantry/sheet/1\n"
//! u16 length || owner            OrganizationId::encoded, or "platform"
//! u16 length || name
//! u32 length || body
//! SHA-256 of everything before   32
//!
//! journal = change*
//! change  = u16 length || file name || 0x01 || u32 length || bytes     it becomes these bytes
//!         | u16 length || file name || 0x00                            it goes
//! ```
//!
//! Numbers are big-endian.

use sha2::{Digest as _, Sha256};

use super::Changes;
use super::record::{Reader, damaged};
use crate::error::{Error, Result};

pub(super) fn file_name(name: &str) -> String {
    format!("{name}.sheet")
}

pub(super) fn encode(owner: &str, name: &str, body: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = MAGIC.to_vec();
    short(&mut bytes, owner)?;
    short(&mut bytes, name)?;
    long(&mut bytes, body)?;
    bytes.extend(Sha256::digest(&bytes));
    Ok(bytes)
}

/// The body of what [`encode`] wrote for the same owner and name.
pub(super) fn decode(bytes: &[u8], owner: &str, name: &str) -> Result<Vec<u8>> {
    let mut reader = Reader::of(bytes, MAGIC)?;
    let [of, called] = [(); 2].map(|()| reader.part::<2>());
    if of.ok_or_else(damaged)? != owner.as_bytes() || called.ok_or_else(damaged)? != name.as_bytes()
    {
        return Err(Error::incident("a file stands in the place of another one"));
    }
    let body = reader.part::<4>().ok_or_else(damaged)?;
    reader.end()?;
    Ok(body.to_vec())
}

pub(super) fn journal(changes: &Changes) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for (name, becomes) in changes {
        short(&mut bytes, name)?;
        bytes.push(u8::from(becomes.is_some()));
        if let Some(becomes) = becomes {
            long(&mut bytes, becomes)?;
        }
    }
    Ok(bytes)
}

pub(super) fn changes(journal: &[u8]) -> Result<Changes> {
    let (mut reader, mut changes) = (Reader::within(journal), Changes::new());
    while !reader.is_at_the_end() {
        let name = reader.part::<2>().and_then(|name| str::from_utf8(name).ok());
        let name = name.ok_or_else(damaged)?.to_owned();
        let becomes = match reader.take(1).ok_or_else(damaged)? {
            [0] => None,
            [1] => Some(reader.part::<4>().ok_or_else(damaged)?.to_vec()),
            _ => return Err(damaged()),
        };
        changes.push((name, becomes));
    }
    Ok(changes)
}

fn short(bytes: &mut Vec<u8>, text: &str) -> Result<()> {
    bytes.extend(u16::try_from(text.len()).map_err(|_| too_long())?.to_be_bytes());
    bytes.extend(text.as_bytes());
    Ok(())
}

fn long(bytes: &mut Vec<u8>, part: &[u8]) -> Result<()> {
    bytes.extend(u32::try_from(part.len()).map_err(|_| too_long())?.to_be_bytes());
    bytes.extend(part);
    Ok(())
}

fn too_long() -> Error {
    Error::invalid("too much is changed in one step")
}

const MAGIC: &[u8] = b"tenantry/sheet/1\n";
