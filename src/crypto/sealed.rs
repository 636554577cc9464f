//! A keyed box for short messages that leave the process and come back: tickets, cursors.
//!
//! ```text
//! okm  = HKDF-SHA256(ikm = key, salt, info)     see `message.rs`
//! info = "tenantry sealed v1" || key version || len(purpose) || purpose || len(aad) || aad
//! box  = 0x01 || key version || salt 32 || commitment 32 || AES-256-GCM(key, nonce, header, text)
//! ```
//!
//! Lengths are 64-bit and the key version is 32-bit, both big-endian; the header is what stands
//! before the ciphertext.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::message::{COMMITMENT, KEY, Message, SALT, TAG};
use super::secret::{SecretBytes, check_keys, fill_random};
use crate::error::{Error, Result};

/// Keys in several versions: the newest seals, and every one opens.
///
/// To rotate, add a version with a higher number everywhere first as the newest, and take the old
/// one away when nothing sealed under it is awaited any more. Clones share the keys.
///
/// # Security
///
/// Versions are visible in what is sealed; keys are not. Uses of one ring for different purposes
/// do not open each other's boxes.
///
/// # Examples
///
/// ```
/// use tenantry::crypto::{KeyRing, SecretBytes};
///
/// let old = SecretBytes::random(32)?;
/// let new = SecretBytes::random(32)?;
/// let keys = KeyRing::new([(1, old), (2, new)])?;
/// # Ok::<(), tenantry::Error>(())
/// ```
#[derive(Clone)]
pub struct KeyRing {
    keys: Arc<BTreeMap<u32, SecretBytes>>,
}

/// A box that does not open. The reason is for the audit, never for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unopened(&'static str);

impl KeyRing {
    /// A ring of keys with their versions; each key has 32 bytes of full randomness.
    ///
    /// # Errors
    ///
    /// `Invalid` for no key at all, a key of another length or of one repeated byte, and a
    /// version or a key that occurs twice.
    pub fn new(versions: impl IntoIterator<Item = (u32, SecretBytes)>) -> Result<Self> {
        let mut keys = BTreeMap::<u32, SecretBytes>::new();
        for (version, key) in versions {
            if keys.insert(version, key).is_some() {
                return Err(Error::invalid("a key version occurs twice"));
            }
        }
        if keys.is_empty() {
            return Err(Error::invalid("a key ring has at least one key"));
        }
        check_keys(keys.values())?;
        Ok(Self { keys: Arc::new(keys) })
    }

    /// A ring of one random key, which ends with the process.
    ///
    /// # Errors
    ///
    /// `Unavailable` where the operating system gives no random bytes.
    pub fn random() -> Result<Self> {
        Self::new([(1, SecretBytes::random(KEY)?)])
    }

    /// Seals a text of at most 64 KiB for a purpose, bound to the AAD.
    pub(crate) fn seal(&self, purpose: &str, aad: &[u8], text: &[u8]) -> Result<Vec<u8>> {
        if text.len() > MAX_TEXT {
            return Err(Error::invalid("more than 64 KiB cannot be sealed"));
        }
        let mut salt = [0; SALT];
        fill_random(&mut salt)?;
        self.seal_salted(&salt, purpose, aad, text)
            .ok_or_else(|| Error::internal("a message could not be sealed"))
    }

    /// Opens what [`seal`](Self::seal) made under a key of this ring, for the same purpose and AAD.
    pub(crate) fn open(
        &self,
        purpose: &str,
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<Vec<u8>, Unopened> {
        let misshapen = Unopened("not a sealed message");
        if sealed.len() > HEADER + MAX_TEXT + TAG {
            return Err(Unopened("too long for a sealed message"));
        }
        let (header, ciphertext) = sealed.split_at_checked(HEADER).ok_or(misshapen)?;
        let (&[format], rest) = header.split_first_chunk().ok_or(misshapen)?;
        let (&version, rest) = rest.split_first_chunk().ok_or(misshapen)?;
        let (salt, rest) = rest.split_first_chunk().ok_or(misshapen)?;
        let commitment = rest.as_array().ok_or(misshapen)?;
        if format != FORMAT {
            return Err(Unopened("sealed in an unknown format"));
        }
        let version = u32::from_be_bytes(version);
        let key = self.keys.get(&version).ok_or(Unopened("sealed under an unknown key version"))?;
        let unauthentic = Unopened("edited, or sealed under another key or for another purpose");
        let message = message(key, version, salt, purpose, aad).ok_or(unauthentic)?;
        if !message.commits_to(commitment) {
            return Err(unauthentic);
        }
        let mut text = message.decrypt(header, ciphertext).ok_or(unauthentic)?;
        Ok(std::mem::take(&mut *text))
    }

    fn seal_salted(
        &self,
        salt: &[u8; SALT],
        purpose: &str,
        aad: &[u8],
        text: &[u8],
    ) -> Option<Vec<u8>> {
        let (&version, key) = self.keys.last_key_value()?;
        let message = message(key, version, salt, purpose, aad)?;
        let mut header = [0; HEADER];
        // Wiped unless it is given out, for until then it holds the text in clear.
        let mut sealed = Zeroizing::new(Vec::with_capacity(HEADER + text.len() + TAG));
        sealed.push(FORMAT);
        sealed.extend(version.to_be_bytes());
        sealed.extend(salt);
        sealed.extend(message.commitment());
        header.copy_from_slice(&sealed);
        sealed.extend(text);
        message.encrypt(&header, &mut sealed, HEADER)?;
        Some(std::mem::take(&mut *sealed))
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.keys.iter()).finish()
    }
}

impl Unopened {
    pub(crate) fn reason(self) -> &'static str {
        self.0
    }
}

fn message(
    key: &SecretBytes,
    version: u32,
    salt: &[u8; SALT],
    purpose: &str,
    aad: &[u8],
) -> Option<Message> {
    let length = |bytes: &[u8]| (bytes.len() as u64).to_be_bytes();
    let info = [
        LABEL,
        &version.to_be_bytes(),
        &length(purpose.as_bytes()),
        purpose.as_bytes(),
        &length(aad),
        aad,
    ];
    Message::derive(key.expose_secret(), salt, &info)
}

const LABEL: &[u8] = b"tenantry sealed v1";
const FORMAT: u8 = 1;
const HEADER: usize = 1 + 4 + SALT + COMMITMENT;
const MAX_TEXT: usize = 64 * 1_024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;

    fn key(first: u8) -> SecretBytes {
        SecretBytes::new((first..first + 32).collect())
    }

    fn ring(versions: &[(u32, u8)]) -> KeyRing {
        KeyRing::new(versions.iter().map(|&(version, first)| (version, key(first)))).unwrap()
    }

    /// Computed from the formula with Python's `cryptography`.
    #[test]
    fn format_one_is_what_another_implementation_computes() {
        let vector = hex::decode(
            "0100000007404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e\
             5f7e4f814fe929231b8d3bacdb761c06efe6ea5be5e6d1927a602667bb81bb08eecc6cf8\
             a0ef546ccffcd573f51fb41353e4d0562b03e451a58915f5d2df7da949d1a39b",
        )
        .unwrap();
        let salt: Vec<u8> = (64..96).collect();
        let salt = salt.as_slice().try_into().unwrap();
        let keys = ring(&[(7, 0)]);
        let text = b"the quick brown fox";
        let sealed = keys.seal_salted(salt, "scope-ticket", b"nightly-export", text).unwrap();
        assert_eq!(sealed, vector);
        assert_eq!(keys.open("scope-ticket", b"nightly-export", &vector).unwrap(), text);
    }

    #[test]
    fn the_newest_version_seals_and_all_open() {
        let (old, both, new) = (ring(&[(1, 0)]), ring(&[(2, 9), (1, 0)]), ring(&[(2, 9)]));
        let sealed = old.seal("p", b"a", b"text").unwrap();
        assert_eq!(both.open("p", b"a", &sealed).unwrap(), b"text");
        assert_eq!(
            new.open("p", b"a", &sealed),
            Err(Unopened("sealed under an unknown key version"))
        );
        let sealed = both.seal("p", b"a", b"text").unwrap();
        assert_eq!(new.open("p", b"a", &sealed).unwrap(), b"text");
        assert!(old.open("p", b"a", &sealed).is_err());
    }

    #[test]
    fn every_edit_of_every_byte_and_every_length_is_refused() {
        let keys = ring(&[(1, 0), (2, 9)]);
        let sealed = keys.seal("p", b"a", b"text").unwrap();
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut edited = sealed.clone();
                edited[at] ^= 1 << bit;
                assert!(keys.open("p", b"a", &edited).is_err(), "byte {at} bit {bit}");
            }
            assert!(keys.open("p", b"a", &sealed[..at]).is_err(), "cut at {at}");
        }
        for extra in [0, 1] {
            let longer = [&sealed[..], &[extra]].concat();
            assert!(keys.open("p", b"a", &longer).is_err());
        }
        assert!(keys.open("p", b"a", &vec![1; HEADER + MAX_TEXT + TAG + 1]).is_err());
    }

    #[test]
    fn a_box_opens_for_its_key_purpose_and_aad_alone() {
        let keys = ring(&[(1, 0)]);
        let sealed = keys.seal("ab", b"c", b"text").unwrap();
        assert_eq!(keys.open("ab", b"c", &sealed).unwrap(), b"text");
        for (purpose, aad) in
            [("a", &b"bc"[..]), ("abc", b""), ("ab", b"d"), ("ab", b""), ("", b"abc")]
        {
            assert!(keys.open(purpose, aad, &sealed).is_err(), "{purpose} {aad:?}");
        }
        assert!(ring(&[(1, 1)]).open("ab", b"c", &sealed).is_err());
    }

    #[test]
    fn what_is_no_box_is_told_apart_for_the_audit() {
        let keys = ring(&[(1, 0)]);
        let reason = |sealed: &[u8]| keys.open("p", b"a", sealed).unwrap_err().reason();
        assert_eq!(reason(b""), "not a sealed message");
        assert_eq!(reason(&[2; 200]), "sealed in an unknown format");
        assert_eq!(reason(&[1; 200]), "sealed under an unknown key version");
        assert_eq!(reason(&vec![1; HEADER + MAX_TEXT + TAG + 1]), "too long for a sealed message");
    }

    /// GCM alone would open it: whoever knows two keys can make a box that opens under both.
    #[test]
    fn an_authentic_box_with_another_commitment_is_refused() {
        let keys = ring(&[(1, 0)]);
        let message = message(&key(0), 1, &[5; SALT], "p", b"a").unwrap();
        let mut sealed = vec![FORMAT, 0, 0, 0, 1];
        sealed.extend([5; SALT]);
        sealed.extend([6; COMMITMENT]);
        let header = sealed.clone();
        sealed.extend(b"text");
        message.encrypt(&header, &mut sealed, HEADER).unwrap();
        assert!(keys.open("p", b"a", &sealed).is_err());
    }

    #[test]
    fn the_same_text_is_sealed_differently_each_time() {
        let keys = KeyRing::random().unwrap();
        assert_ne!(keys.seal("p", b"", b"x").unwrap(), keys.seal("p", b"", b"x").unwrap());
    }

    #[test]
    fn unfit_keys_and_over_long_texts_are_refused() {
        let refused = |keys: Vec<(u32, SecretBytes)>| {
            assert_eq!(KeyRing::new(keys).unwrap_err().kind(), ErrorKind::Invalid);
        };
        refused(vec![]);
        refused(vec![(1, SecretBytes::new(vec![0; 32]))]);
        refused(vec![(1, SecretBytes::new(vec![0xAA; 32]))]);
        refused(vec![(1, SecretBytes::new((0..31).collect()))]);
        refused(vec![(1, SecretBytes::new((0..33).collect()))]);
        refused(vec![(1, key(0)), (1, key(1))]);
        refused(vec![(1, key(0)), (2, key(0))]);
        let keys = ring(&[(1, 0)]);
        let most = vec![7; MAX_TEXT];
        assert_eq!(keys.open("p", b"", &keys.seal("p", b"", &most).unwrap()).unwrap(), most);
        let error = keys.seal("p", b"", &vec![7; MAX_TEXT + 1]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }

    #[test]
    fn debug_shows_versions_alone() {
        assert_eq!(format!("{:?}", ring(&[(3, 0)])), "{3: SecretBytes([redacted])}");
    }

    proptest! {
        #[test]
        fn whatever_is_sealed_opens(text: Vec<u8>, aad: Vec<u8>, purpose: String) {
            let keys = ring(&[(1, 0)]);
            let sealed = keys.seal(&purpose, &aad, &text).unwrap();
            prop_assert_eq!(keys.open(&purpose, &aad, &sealed).unwrap(), text);
        }

        #[test]
        fn no_bytes_open_by_chance(bytes: Vec<u8>) {
            prop_assert!(ring(&[(1, 0)]).open("p", b"", &bytes).is_err());
        }
    }
}
