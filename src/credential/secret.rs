//! What a credential keeps secret, and its form under the seal.
//!
//! ```text
//! secret = 0x01 || field*              fields in ascending order of their names
//! field  = u8 length || name || u32 length || value
//! ```
//!
//! Lengths are big-endian. All fields are sealed together, so that the tokens of one answer of a
//! provider are stored in one step or not at all.

use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

use crate::crypto::SecretBytes;
use crate::error::{Error, Result};

/// The secret fields of a credential: an access token, a refresh token, an API key.
///
/// Its `Debug` shows the names of the fields alone.
///
/// # Examples
///
/// ```
/// use tenantry::credential::Secret;
///
/// let secret = Secret::new()
///     .with("access_token", "example-access-token")
///     .with("refresh_token", "example-refresh-token");
/// assert!(secret.get("access_token").is_some_and(|token| token.ct_eq("example-access-token")));
/// assert_eq!(format!("{secret:?}"), r#"Secret {"access_token", "refresh_token"}"#);
/// ```
#[derive(Default)]
pub struct Secret {
    fields: BTreeMap<String, SecretBytes>,
}

impl Secret {
    /// The longest name of a field in bytes: 64.
    pub const MAX_NAME: usize = 64;
    /// The most fields: 64.
    pub const MAX_FIELDS: usize = 64;

    /// A secret without fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// The secret with this field, in the place of one of the same name. The value is copied.
    pub fn with(mut self, name: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        self.fields.insert(name.into(), SecretBytes::new(value.as_ref().to_vec()));
        self
    }

    /// The value of a field.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&SecretBytes> {
        self.fields.get(name)
    }

    /// The names of the fields, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }

    pub(super) fn encode(&self) -> Result<Zeroizing<Vec<u8>>> {
        let unfit =
            || Error::invalid("a secret has 1 to 64 fields, whose names have 1 to 64 bytes");
        if !(1..=Self::MAX_FIELDS).contains(&self.fields.len()) {
            return Err(unfit());
        }
        let length = |(name, value): (&String, &SecretBytes)| {
            1 + name.len() + 4 + value.expose_secret().len()
        };
        // All at once: a buffer that grew would leave a copy behind.
        let length = 1 + self.fields.iter().map(length).sum::<usize>();
        let mut bytes = Zeroizing::new(Vec::with_capacity(length));
        bytes.push(FORMAT);
        for (name, value) in &self.fields {
            let value = value.expose_secret();
            if !(1..=Self::MAX_NAME).contains(&name.len()) {
                return Err(unfit());
            }
            let too_long = |_| Error::invalid("a field of the secret is too long");
            bytes.push(u8::try_from(name.len()).map_err(too_long)?);
            bytes.extend(name.as_bytes());
            bytes.extend(u32::try_from(value.len()).map_err(too_long)?.to_be_bytes());
            bytes.extend(value);
        }
        Ok(bytes)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let (&format, mut rest) = bytes.split_first().ok_or_else(misshapen)?;
        if format != FORMAT {
            return Err(misshapen());
        }
        let mut fields = BTreeMap::new();
        while !rest.is_empty() {
            let name = part(&mut rest, 1).and_then(|name| str::from_utf8(name).ok());
            let (name, value) = name.zip(part(&mut rest, 4)).ok_or_else(misshapen)?;
            let ordered =
                fields.last_key_value().is_none_or(|(last, _): (&String, _)| **last < *name);
            if !ordered || !(1..=Self::MAX_NAME).contains(&name.len()) {
                return Err(misshapen());
            }
            fields.insert(name.to_owned(), SecretBytes::new(value.to_vec()));
        }
        if !(1..=Self::MAX_FIELDS).contains(&fields.len()) {
            return Err(misshapen());
        }
        Ok(Self { fields })
    }
}

fn take<'b>(rest: &mut &'b [u8], length: usize) -> Option<&'b [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

/// A part after its length, which has `width` bytes.
fn part<'b>(rest: &mut &'b [u8], width: usize) -> Option<&'b [u8]> {
    let length = take(rest, width)?;
    take(rest, length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
}

fn misshapen() -> Error {
    Error::corrupt("an opened secret has an unknown form")
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret ")?;
        f.debug_set().entries(self.names()).finish()
    }
}

const FORMAT: u8 = 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;

    fn fields(secret: &Secret) -> Vec<(&str, &[u8])> {
        secret.fields.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect()
    }

    #[test]
    fn the_form_is_the_one_that_is_written_down() {
        let secret = Secret::new().with("b", [7, 8]).with("a", "");
        let bytes = [1, 1, b'a', 0, 0, 0, 0, 1, b'b', 0, 0, 0, 2, 7, 8];
        assert_eq!(secret.encode().unwrap().as_slice(), bytes);
        assert_eq!(fields(&Secret::decode(&bytes).unwrap()), fields(&secret));
    }

    #[test]
    fn other_forms_are_refused() {
        let valid = [1, 1, b'a', 0, 0, 0, 1, 9];
        assert!(Secret::decode(&valid).is_ok());
        for at in 0..valid.len() {
            assert!(Secret::decode(&valid[..at]).is_err(), "cut at {at}");
        }
        for bytes in [
            &[2, 1, b'a', 0, 0, 0, 1, 9][..],
            &[1, 1, b'a', 0, 0, 0, 1, 9, 0],
            &[1, 0, 0, 0, 0, 1, 9],
            &[1, 1, 0xFF, 0, 0, 0, 1, 9],
            &[1, 1, b'b', 0, 0, 0, 0, 1, b'a', 0, 0, 0, 0],
            &[1, 1, b'a', 0, 0, 0, 0, 1, b'a', 0, 0, 0, 0],
            &[1, 1, b'a', 0xFF, 0xFF, 0xFF, 0xFF, 9],
        ] {
            assert_eq!(Secret::decode(bytes).unwrap_err().kind(), ErrorKind::Corrupt, "{bytes:?}");
        }
    }

    #[test]
    fn unfit_secrets_are_refused() {
        let many = (0..65).fold(Secret::new(), |secret, n| secret.with(n.to_string(), "x"));
        for secret in [
            Secret::new(),
            Secret::new().with("", "x"),
            Secret::new().with("n".repeat(65), "x"),
            many,
        ] {
            assert_eq!(secret.encode().unwrap_err().kind(), ErrorKind::Invalid);
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            map in prop::collection::btree_map("[a-z_ü]{1,20}", any::<Vec<u8>>(), 1..8),
        ) {
            let secret = map.iter().fold(Secret::new(), |s, (name, value)| s.with(name, value));
            let decoded = Secret::decode(&secret.encode().unwrap()).unwrap();
            prop_assert_eq!(fields(&decoded), fields(&secret));
        }

        #[test]
        fn no_bytes_are_misread(bytes: Vec<u8>) {
            if let Ok(secret) = Secret::decode(&bytes) {
                prop_assert_eq!(secret.encode().unwrap().to_vec(), bytes);
            }
        }
    }
}
