//! The blind index: equality of sealed values, without opening them.

use std::fmt;
use std::hash::{Hash, Hasher};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::key::{KeyId, PurposeKey};
use super::tlv::{Tag, Tlv};
use crate::error::{Error, Result};

/// A short keyed digest of a value, by which equal values of one column and owner are found.
///
/// ```text
/// index key = HKDF-Expand(data key, "blind-index")
/// index     = 1 || key version u32 || HMAC-SHA256(index key, TLV(label, column, value))[0..16]
/// ```
///
/// # Security
///
/// Equality leaks: whoever reads the column sees which rows have the same value, and how often each
/// value occurs; a value that is one of few can be guessed from that alone. Index what has to be
/// looked up, and nothing else. Indexes of other owners, columns and key versions do not compare.
#[derive(Clone, Copy)]
pub struct BlindIndex {
    stored: [u8; BlindIndex::BYTES],
    /// The data key under which it was made here: `None` for one that was stored.
    key: Option<KeyId>,
}

impl BlindIndex {
    /// The length of the stored form.
    pub const BYTES: usize = 1 + 4 + DIGEST;

    /// The index as it is stored.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.stored
    }

    /// The index that was stored.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let stored: [u8; Self::BYTES] = bytes.try_into().ok()?;
        (stored.first() == Some(&FORMAT)).then_some(Self { stored, key: None })
    }

    /// The version of the data key under which it was made.
    pub(crate) fn version(&self) -> u32 {
        let [_, a, b, c, d, ..] = self.stored;
        u32::from_be_bytes([a, b, c, d])
    }

    /// The data key under which it was made, if that was here.
    pub(crate) fn key(&self) -> Option<KeyId> {
        self.key
    }

    /// With what the indexes begin that were made under a version of the data key.
    pub(crate) fn prefix(key_version: u32) -> Vec<u8> {
        [&[FORMAT][..], &key_version.to_be_bytes()].concat()
    }

    pub(crate) fn compute(
        key: &PurposeKey,
        (id, key_version): (KeyId, u32),
        column: &str,
        value: &[u8],
    ) -> Result<Self> {
        let impossible = || Error::internal("an index could not be computed");
        let mut mac =
            Hmac::<Sha256>::new_from_slice(key.expose_secret()).map_err(|_| impossible())?;
        let parts = Tlv::new("tenantry/index/1").part(Tag::Column, column.as_bytes());
        mac.update(&Zeroizing::new(parts.part(Tag::Value, value).finish()));
        let digest = mac.finalize().into_bytes();
        let mut index = Vec::with_capacity(Self::BYTES);
        index.extend(Self::prefix(key_version));
        index.extend(digest.iter().take(DIGEST));
        let stored = index.try_into().map_err(|_| impossible())?;
        Ok(Self { stored, key: Some(id) })
    }
}

impl PartialEq for BlindIndex {
    fn eq(&self, other: &Self) -> bool {
        self.stored == other.stored
    }
}

impl Eq for BlindIndex {}

impl Hash for BlindIndex {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.stored.hash(state);
    }
}

impl fmt::Debug for BlindIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlindIndex([redacted])")
    }
}

const FORMAT: u8 = 1;
const DIGEST: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{DataKey, PurposeKeys};

    fn index(key: u8, version: u32, column: &str, value: &[u8]) -> BlindIndex {
        let keys = PurposeKeys::derive(&DataKey::from_slice(&[key; 32]).unwrap()).unwrap();
        BlindIndex::compute(keys.index(), (KeyId::random().unwrap(), version), column, value)
            .unwrap()
    }

    #[test]
    fn equal_values_compare_in_their_own_column_key_and_version_alone() {
        let home = index(1, 1, "email", b"ann");
        assert_eq!(home, index(1, 1, "email", b"ann"));
        for other in [
            index(2, 1, "email", b"ann"),
            index(1, 2, "email", b"ann"),
            index(1, 1, "emai", b"lann"),
            index(1, 1, "emaila", b"nn"),
            index(1, 1, "email", b"ann "),
            index(1, 1, "", b"emailann"),
        ] {
            assert_ne!(home, other);
        }
        assert_eq!(format!("{home:?}"), "BlindIndex([redacted])");
    }

    #[test]
    fn every_vector_of_the_index_is_computed() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/vectors/index-v1.json")).unwrap();
        let vectors = vectors["vectors"].as_array().unwrap();
        assert!(!vectors.is_empty());
        for vector in vectors {
            let bytes = |name: &str| hex::decode(vector[name].as_str().unwrap()).unwrap();
            let keys =
                PurposeKeys::derive(&DataKey::from_slice(&bytes("data_key")).unwrap()).unwrap();
            let version = vector["key_version"].as_u64().unwrap().try_into().unwrap();
            let column = vector["column"].as_str().unwrap();
            let index = BlindIndex::compute(
                keys.index(),
                (KeyId::random().unwrap(), version),
                column,
                &bytes("value"),
            )
            .unwrap();
            assert_eq!(index.as_bytes().to_vec(), bytes("index"));
        }
    }
}
