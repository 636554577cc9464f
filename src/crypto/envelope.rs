//! Envelope v1: the form in which the values of an owner are stored.
//!
//! ```text
//! envelope = 0xFA || version 1 || suite 1 || flags || key id 16 || salt 32 || commitment 32
//!            || AES-256-GCM(key, nonce, AAD, text)
//! okm      = HKDF-SHA256(salt, purpose key).expand("tenantry/seal/1" || envelope[0..4] || AAD)
//! ```
//!
//! The first byte begins no UTF-8 text, so that no text is mistaken for an envelope. Each check has
//! its place in an order: magic, length, version and suite, key, commitment, tag.

use uuid::Uuid;
use zeroize::Zeroizing;

use super::context::SealContext;
use super::key::{KeyId, KeyOwner, PurposeKey};
use super::message::{COMMITMENT, Message, SALT, TAG};
use super::secret::{SecretBytes, fill_random};
use crate::error::{Error, Result};

/// Why a value does not open: for the audit, never for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SealFault {
    /// The key and the context are right, and the text was edited.
    Corrupt,
    KeyDestroyed,
    /// It does not begin like an envelope: a value that was never sealed, say.
    NotSealed,
    /// It was sealed for the same place and an earlier version of the secret.
    Rollback,
    TooLong,
    Truncated,
    UnknownKey,
    UnknownSuite,
    /// The commitment is to another key, or to another place.
    WrongKeyOrContext,
}

/// A value that has the form of an envelope, and is not yet known to be authentic.
#[derive(Clone, Copy)]
pub(crate) struct Envelope<'a> {
    prefix: &'a [u8; PREFIX],
    key: KeyId,
    salt: &'a [u8; SALT],
    commitment: &'a [u8; COMMITMENT],
    ciphertext: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Takes a stored value apart; `max_text` is the longest text in bytes that may be in it.
    pub(crate) fn parse(sealed: &'a [u8], max_text: usize) -> Result<Self, SealFault> {
        if sealed.first() != Some(&MAGIC) {
            return Err(SealFault::NotSealed);
        }
        if sealed.len() > max_text.saturating_add(HEADER + BUCKET + TAG) {
            return Err(SealFault::TooLong);
        }
        let (prefix, rest) = sealed.split_first_chunk().ok_or(SealFault::Truncated)?;
        let (&key, rest) = rest.split_first_chunk().ok_or(SealFault::Truncated)?;
        let (salt, rest) = rest.split_first_chunk().ok_or(SealFault::Truncated)?;
        let (commitment, ciphertext) = rest.split_first_chunk().ok_or(SealFault::Truncated)?;
        if ciphertext.len() < TAG {
            return Err(SealFault::Truncated);
        }
        if !Self::begins(prefix) {
            return Err(SealFault::UnknownSuite);
        }
        let key = KeyId::from_uuid(Uuid::from_bytes(key));
        Ok(Self { prefix, key, salt, commitment, ciphertext })
    }

    /// Whether a value begins as an envelope does. No text does, and of random bytes one value in two
    /// billion: more than the first byte is compared, with which one in 256 begins.
    pub(crate) fn begins(value: &[u8]) -> bool {
        matches!(value, [MAGIC, VERSION, SUITE, 0 | PADDED, ..])
    }

    /// With what the values begin that name a key.
    pub(crate) fn prefixes(key: KeyId) -> [Vec<u8>; 2] {
        [0, PADDED]
            .map(|flags| [&[MAGIC, VERSION, SUITE, flags], &key.as_uuid().as_bytes()[..]].concat())
    }

    /// The key that the value names, which must be one of its owner's.
    pub(crate) fn key(&self) -> KeyId {
        self.key
    }

    /// The text, if the value was sealed under this key, for this owner, in this context.
    pub(crate) fn open(
        &self,
        key: &PurposeKey,
        owner: &KeyOwner,
        context: &SealContext<'_>,
    ) -> Result<SecretBytes, SealFault> {
        let aad = context.aad(owner, self.key);
        let message = self.message(key, &aad)?;
        if !message.commits_to(self.commitment) {
            return Err(SealFault::WrongKeyOrContext);
        }
        let mut text = message.decrypt(&aad, self.ciphertext).ok_or(SealFault::Corrupt)?;
        if self.is_padded() {
            unpad(&mut text)?;
        }
        Ok(SecretBytes::from(text))
    }

    /// Whether it was sealed under this key, for this owner, in this context.
    pub(crate) fn commits_to(
        &self,
        key: &PurposeKey,
        owner: &KeyOwner,
        context: &SealContext<'_>,
    ) -> bool {
        let aad = context.aad(owner, self.key);
        self.message(key, &aad).is_ok_and(|message| message.commits_to(self.commitment))
    }

    fn message(&self, key: &PurposeKey, aad: &[u8]) -> Result<Message, SealFault> {
        Message::derive(key.expose_secret(), self.salt, &[LABEL, self.prefix, aad])
            .ok_or(SealFault::Corrupt)
    }

    fn is_padded(&self) -> bool {
        matches!(self.prefix, [.., PADDED])
    }
}

/// Seals a text for one owner and place, under that owner's key of this name. Padded, its length is
/// hidden up to the next multiple of 64 bytes.
pub(crate) fn seal(
    key: &PurposeKey,
    id: KeyId,
    owner: &KeyOwner,
    context: &SealContext<'_>,
    text: &[u8],
    padded: bool,
) -> Result<Vec<u8>> {
    let mut salt = [0; SALT];
    fill_random(&mut salt)?;
    seal_salted(&salt, key, id, owner, context, text, padded)
        .ok_or_else(|| Error::internal("a value could not be sealed"))
}

fn seal_salted(
    salt: &[u8; SALT],
    key: &PurposeKey,
    id: KeyId,
    owner: &KeyOwner,
    context: &SealContext<'_>,
    text: &[u8],
    padded: bool,
) -> Option<Vec<u8>> {
    let prefix = [MAGIC, VERSION, SUITE, if padded { PADDED } else { 0 }];
    let aad = context.aad(owner, id);
    let message = Message::derive(key.expose_secret(), salt, &[LABEL, &prefix, &aad])?;
    // All at once: a buffer that grew would leave a copy of the text behind.
    // Wiped unless it is given out, for until then it holds the text in clear.
    let mut sealed = Zeroizing::new(Vec::with_capacity(HEADER + text.len() + BUCKET + TAG));
    sealed.extend(prefix);
    sealed.extend(id.as_uuid().as_bytes());
    sealed.extend(salt);
    sealed.extend(message.commitment());
    sealed.extend(text);
    if padded {
        sealed.push(PAD);
        let padded = (sealed.len() - HEADER).next_multiple_of(BUCKET);
        sealed.resize(HEADER + padded, 0);
    }
    message.encrypt(&aad, &mut sealed, HEADER)?;
    Some(std::mem::take(&mut *sealed))
}

/// Takes the padding off: zeros, and the mark before them.
fn unpad(text: &mut Zeroizing<Vec<u8>>) -> Result<(), SealFault> {
    let length = text.iter().rposition(|&byte| byte != 0).ok_or(SealFault::Corrupt)?;
    if !text.len().is_multiple_of(BUCKET)
        || text.len() - length > BUCKET
        || text.get(length) != Some(&PAD)
    {
        return Err(SealFault::Corrupt);
    }
    text.truncate(length);
    Ok(())
}

impl SealFault {
    /// The reason, for the audit.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Corrupt => "a sealed value was edited",
            Self::KeyDestroyed => "a sealed value names a destroyed key",
            Self::NotSealed => "a value is not sealed",
            Self::Rollback => "a sealed value is of an earlier version of the secret",
            Self::TooLong => "a sealed value is too long",
            Self::Truncated => "a sealed value is cut short",
            Self::UnknownKey => "a sealed value names a key that is not its owner's",
            Self::UnknownSuite => "a sealed value is of an unknown version or suite",
            Self::WrongKeyOrContext => {
                "a sealed value belongs to another place or was sealed under another key"
            }
        }
    }
}

/// With what every sealed value begins.
pub(crate) const SEALED_PREFIX: [u8; 3] = [MAGIC, VERSION, SUITE];
/// The shortest sealed value in bytes.
pub(crate) const SEALED_LENGTH: usize = HEADER + TAG;

const LABEL: &[u8] = b"tenantry/seal/1";
const MAGIC: u8 = 0xFA;
const VERSION: u8 = 1;
const SUITE: u8 = 1;
const PADDED: u8 = 1;
const PAD: u8 = 0x80;
const BUCKET: usize = 64;
const PREFIX: usize = 4;
const HEADER: usize = PREFIX + 16 + SALT + COMMITMENT;

#[cfg(test)]
mod tests;
