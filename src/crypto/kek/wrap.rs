//! How the key providers of this crate wrap a data key.
//!
//! ```text
//! wrapped = 0xFB || version 1 || suite 1 || 0 || salt 32 || commitment 32
//!           || AES-256-GCM(key, nonce, AAD, data key)
//! okm     = HKDF-SHA256(salt, KEK).expand("tenantry/wrap/1" || wrapped[0..4] || AAD)
//! ```

use zeroize::Zeroizing;

use super::{KekId, WrapContext, WrappedKey};
use crate::crypto::message::{COMMITMENT, KEY, Message, SALT, TAG};
use crate::crypto::secret::{DataKey, SecretBytes, fill_random};
use crate::error::{Error, Result};

/// wrap(kek, context, data key) -> wrapped key
pub(super) fn wrap(
    id: &KekId,
    kek: &SecretBytes,
    context: &WrapContext,
    key: &DataKey,
) -> Result<WrappedKey> {
    let mut salt = [0; SALT];
    fill_random(&mut salt)?;
    let wrapped = wrap_salted(&salt, kek, &context.aad(id), key)
        .ok_or_else(|| Error::internal("a data key could not be wrapped"))?;
    WrappedKey::new(id.clone(), wrapped)
}

/// unwrap(kek, context, wrapped key) -> data key
pub(super) fn unwrap(
    kek: &SecretBytes,
    context: &WrapContext,
    wrapped: &WrappedKey,
) -> Result<DataKey> {
    open(kek, &context.aad(wrapped.kek()), wrapped.as_bytes()).ok_or_else(|| wrapped.refused())
}

fn wrap_salted(salt: &[u8; SALT], kek: &SecretBytes, aad: &[u8], key: &DataKey) -> Option<Vec<u8>> {
    let message = Message::derive(kek.expose_secret(), salt, &[LABEL, &PREFIX, aad])?;
    // Wiped unless it is given out, for until then it holds the key in clear.
    let mut wrapped = Zeroizing::new(Vec::with_capacity(HEADER + KEY + TAG));
    wrapped.extend(PREFIX);
    wrapped.extend(salt);
    wrapped.extend(message.commitment());
    wrapped.extend(key.expose_secret());
    message.encrypt(aad, &mut wrapped, HEADER)?;
    Some(std::mem::take(&mut *wrapped))
}

fn open(kek: &SecretBytes, aad: &[u8], wrapped: &[u8]) -> Option<DataKey> {
    let rest = wrapped.strip_prefix(&PREFIX)?;
    let (salt, rest) = rest.split_first_chunk()?;
    let (commitment, ciphertext) = rest.split_first_chunk::<COMMITMENT>()?;
    let message = Message::derive(kek.expose_secret(), salt, &[LABEL, &PREFIX, aad])?;
    if !message.commits_to(commitment) {
        return None;
    }
    DataKey::from_slice(&message.decrypt(aad, ciphertext)?).ok()
}

const LABEL: &[u8] = b"tenantry/wrap/1";
/// Magic, version, suite, and a byte that is zero.
const PREFIX: [u8; 4] = [0xFB, 1, 1, 0];
const HEADER: usize = PREFIX.len() + SALT + COMMITMENT;

#[cfg(test)]
mod tests;
