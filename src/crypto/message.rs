//! One message under a key of its own: what every sealed form here is made of.
//!
//! ```text
//! okm 76 bytes = HKDF-SHA256(ikm = key, salt, info) = key 32 || nonce 12 || commitment 32
//! ```
//!
//! A fresh salt gives each message a key of its own, so that no nonce repeats and no message counts
//! against another. GCM alone does not commit to its key: whoever knows two keys can make a
//! ciphertext that opens under both. The commitment, and the context in the info, make sure that a
//! message opens under one key and in one context only.

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

pub(super) const KEY: usize = 32;
pub(super) const SALT: usize = 32;
pub(super) const COMMITMENT: usize = 32;
pub(super) const TAG: usize = 16;
const NONCE: usize = 12;

/// What one message is sealed with.
pub(super) struct Message {
    cipher: Aes256Gcm,
    nonce: [u8; NONCE],
    commitment: [u8; COMMITMENT],
}

impl Message {
    /// `None` never happens: the lengths are those that the primitives have.
    pub(super) fn derive(key: &[u8], salt: &[u8; SALT], info: &[&[u8]]) -> Option<Self> {
        let mut okm = Zeroizing::new([0; KEY + NONCE + COMMITMENT]);
        Hkdf::<Sha256>::new(Some(salt), key).expand_multi_info(info, okm.as_mut_slice()).ok()?;
        let (key, rest) = okm.split_first_chunk::<KEY>()?;
        let (&nonce, rest) = rest.split_first_chunk()?;
        let (&commitment, _) = rest.split_first_chunk()?;
        Some(Self { cipher: Aes256Gcm::new(key.into()), nonce, commitment })
    }

    pub(super) fn commitment(&self) -> &[u8; COMMITMENT] {
        &self.commitment
    }

    /// Whether the message was sealed under this key and in this context, in constant time.
    pub(super) fn commits_to(&self, commitment: &[u8; COMMITMENT]) -> bool {
        self.commitment.ct_eq(commitment).into()
    }

    /// Encrypts what stands in `sealed` from `at` on, in its place, and appends the tag.
    pub(super) fn encrypt(&self, aad: &[u8], sealed: &mut Vec<u8>, at: usize) -> Option<()> {
        let text = sealed.get_mut(at..)?;
        let tag = self.cipher.encrypt_inout_detached(&self.nonce.into(), aad, text.into()).ok()?;
        sealed.extend_from_slice(&tag);
        Some(())
    }

    /// The text, in a buffer that is wiped; one that does not authenticate is never in it.
    pub(super) fn decrypt(&self, aad: &[u8], ciphertext: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (text, tag) = ciphertext.split_last_chunk::<TAG>()?;
        let mut text = Zeroizing::new(text.to_vec());
        self.cipher
            .decrypt_inout_detached(&self.nonce.into(), aad, text.as_mut_slice().into(), tag.into())
            .ok()?;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RUSTSEC-2023-0096: a buffer whose tag was wrong held the text.
    #[test]
    fn c33_a_text_that_does_not_authenticate_is_left_in_no_buffer() {
        let text = b"planted-secret-text-of-some-length";
        let message = Message::derive(&[7; KEY], &[1; SALT], &[b"info"]).unwrap();
        let mut sealed = text.to_vec();
        message.encrypt(b"aad", &mut sealed, 0).unwrap();
        assert_eq!(**message.decrypt(b"aad", &sealed).unwrap(), *text);

        let (ciphertext, tag) = sealed.split_last_chunk::<TAG>().unwrap();
        let mut wrong = *tag;
        wrong[0] ^= 1;
        let mut buffer = ciphertext.to_vec();
        let outcome = message.cipher.decrypt_inout_detached(
            &message.nonce.into(),
            b"aad",
            buffer.as_mut_slice().into(),
            (&wrong).into(),
        );
        assert!(outcome.is_err());
        assert_ne!(buffer, text);
        assert!(message.decrypt(b"aad", &[ciphertext, &wrong].concat()).is_none());
        assert!(message.decrypt(b"other", &sealed).is_none());
        assert!(message.decrypt(b"aad", &[0; TAG - 1]).is_none());
    }

    #[test]
    fn the_info_the_salt_and_the_key_each_give_another_message() {
        let commitment = |key: u8, salt: u8, info: &[&[u8]]| {
            *Message::derive(&[key; KEY], &[salt; SALT], info).unwrap().commitment()
        };
        let one = commitment(1, 1, &[b"info"]);
        assert_eq!(one, commitment(1, 1, &[b"in", b"fo"]));
        for other in [
            commitment(2, 1, &[b"info"]),
            commitment(1, 2, &[b"info"]),
            commitment(1, 1, &[b"inf"]),
        ] {
            assert_ne!(one, other);
        }
    }
}
