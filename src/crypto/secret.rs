//! Bytes that are wiped when they are dropped and shown to nobody by accident.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// Secret bytes: wiped when dropped, and shown by no formatting, comparison or conversion.
///
/// # Security
///
/// The bytes come out through [`expose_secret`](Self::expose_secret) alone, so that a search for
/// that word lists every use. What the caller copied before or copies after is not wiped.
///
/// # Examples
///
/// ```
/// use tenantry::crypto::SecretBytes;
///
/// let secret = SecretBytes::new(b"correct horse".to_vec());
/// assert_eq!(format!("{secret:?}"), "SecretBytes([redacted])");
/// assert!(secret.ct_eq(b"correct horse"));
/// ```
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// Takes the bytes over, without a copy.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// As many random bytes from the operating system.
    ///
    /// # Errors
    ///
    /// `Unavailable` where the operating system gives none.
    pub fn random(length: usize) -> Result<Self> {
        let mut secret = Self::new(vec![0; length]);
        fill_random(&mut secret.0)?;
        Ok(secret)
    }

    /// The bytes.
    ///
    /// # Security
    ///
    /// Whoever calls this answers for what becomes of them.
    #[must_use]
    pub fn expose_secret(&self) -> &[u8] {
        &self.0
    }

    /// Compares in a time that tells no more than whether the lengths differ.
    #[must_use]
    pub fn ct_eq(&self, other: &[u8]) -> bool {
        self.0.as_slice().ct_eq(other).into()
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes([redacted])")
    }
}

/// Fills a buffer in place with random bytes from the operating system.
pub(super) fn fill_random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|error| {
        Error::unavailable("the operating system gives no random bytes").with_source(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_redacts_and_comparison_compares() {
        let secret = SecretBytes::new(b"planted".to_vec());
        assert!(!format!("{secret:?} {secret:#?}").contains("planted"));
        assert!(secret.ct_eq(b"planted"));
        assert!(!secret.ct_eq(b"plante_"));
        assert!(!secret.ct_eq(b"plant"));
        assert_eq!(secret.expose_secret(), b"planted");
    }

    #[test]
    fn random_bytes_differ() {
        let (a, b) = (SecretBytes::random(32).unwrap(), SecretBytes::random(32).unwrap());
        assert_eq!(a.expose_secret().len(), 32);
        assert!(!a.ct_eq(b.expose_secret()));
    }
}
