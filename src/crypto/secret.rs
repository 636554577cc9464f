//! Secrets that are wiped when they are dropped and shown to nobody by accident.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// What every kind of secret has, so that no kind has more.
macro_rules! secret {
    ($(#[$docs:meta])* $name:ident: $owned:ty => $exposed:ty) => {
        $(#[$docs])*
        pub struct $name(Zeroizing<$owned>);

        impl $name {
            /// What is secret.
            ///
            /// # Security
            ///
            /// Whoever calls this answers for what becomes of it.
            #[must_use]
            pub fn expose_secret(&self) -> &$exposed {
                &self.0
            }

            /// Compares in a time that tells no more than whether the lengths differ.
            #[must_use]
            pub fn ct_eq(&self, other: impl AsRef<[u8]>) -> bool {
                let own: &[u8] = self.0.as_ref();
                own.ct_eq(other.as_ref()).into()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "([redacted])"))
            }
        }
    };
}

/// Secrets that are text, by what they are for.
macro_rules! secret_text {
    ($($(#[$docs:meta])* $name:ident)+) => {$(
        secret! {
            $(#[$docs])*
            ///
            /// # Security
            ///
            /// The text comes out through [`expose_secret`](Self::expose_secret) alone, so that a
            /// search for that word lists every use. It is wiped when dropped; what the caller
            /// copied before or copies after is not.
            ///
            /// # Examples
            ///
            /// ```
            #[doc = concat!("use tenantry::crypto::", stringify!($name), ";")]
            ///
            #[doc = concat!("let secret = ", stringify!($name), "::new(\"example-9a8b7c6d5e4f-0123\".to_owned());")]
            #[doc = concat!("assert_eq!(format!(\"{secret:?}\"), \"", stringify!($name), "([redacted])\");")]
            /// assert_eq!(secret.masked(), "exam…0123");
            /// assert!(secret.ct_eq("example-9a8b7c6d5e4f-0123"));
            /// ```
            $name: String => str
        }

        impl $name {
            /// Takes the text over, without a copy.
            #[must_use]
            pub fn new(text: String) -> Self {
                Self(Zeroizing::new(text))
            }

            /// Takes over bytes that are UTF-8, without a copy: an opened value, say.
            ///
            /// # Errors
            ///
            /// `Corrupt` for bytes that are not UTF-8; the error holds none of them.
            pub fn from_bytes(bytes: SecretBytes) -> Result<Self> {
                bytes.into_text().map(Self)
            }

            /// The form for logs: the first and last four characters of a secret of 20 or more,
            /// and nothing of a shorter one or of one with other characters than visible ASCII
            /// there.
            #[must_use]
            pub fn masked(&self) -> String {
                masked(&self.0)
            }
        }
    )+};
}

secret! {
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
    SecretBytes: Vec<u8> => [u8]
}

secret_text! {
    /// A token with which requests to a provider are authorized (RFC 6749, section 1.4).
    AccessToken
    /// The secret by which an application proves to a provider which one it is (RFC 6749,
    /// section 2.3.1).
    ClientSecret
    /// A token with which new access tokens are asked for (RFC 6749, section 1.5).
    RefreshToken
    /// The key by which a provider signs its deliveries.
    WebhookSecret
}

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

    fn into_text(mut self) -> Result<Zeroizing<String>> {
        String::from_utf8(std::mem::take(&mut *self.0)).map(Zeroizing::new).map_err(|error| {
            // The error owns the bytes: they go back to where they are wiped.
            drop(Zeroizing::new(error.into_bytes()));
            Error::corrupt("an opened secret is not text")
        })
    }
}

impl From<Zeroizing<Vec<u8>>> for SecretBytes {
    fn from(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }
}

/// A data key (DEK): 32 bytes under which the values of one owner are sealed.
///
/// # Security
///
/// The bytes lie in one place on the heap, are filled in there, and are wiped when dropped.
/// Whoever has them opens everything that is sealed under them.
pub struct DataKey(Box<Zeroizing<[u8; 32]>>);

impl DataKey {
    /// A fresh key from the operating system's random bytes.
    ///
    /// # Errors
    ///
    /// `Unavailable` where the operating system gives none.
    pub fn random() -> Result<Self> {
        Self::fill(fill_random)
    }

    /// A key that a provider unwrapped; what held it before is the caller's to wipe.
    ///
    /// # Errors
    ///
    /// `Corrupt` for another length than 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self> {
        if bytes.len() != 32 {
            return Err(Error::corrupt("an unwrapped data key has not 32 bytes"));
        }
        Self::fill(|key| {
            key.copy_from_slice(bytes);
            Ok(())
        })
    }

    /// The key.
    ///
    /// # Security
    ///
    /// For [`KeyProvider`](super::KeyProvider)s, which wrap it.
    #[must_use]
    pub fn expose_secret(&self) -> &[u8; 32] {
        &self.0
    }

    /// Compares in constant time.
    #[must_use]
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }

    pub(super) fn fill(fill: impl FnOnce(&mut [u8]) -> Result<()>) -> Result<Self> {
        let mut key = Box::new(Zeroizing::new([0; 32]));
        fill(key.as_mut_slice())?;
        Ok(Self(key))
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey([redacted])")
    }
}

/// Fills a buffer in place with random bytes from the operating system.
pub(super) fn fill_random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|error| {
        Error::unavailable("the operating system gives no random bytes").with_source(error)
    })
}

/// A name that nobody guesses, and that is never made twice.
pub(crate) fn random_uuid() -> Result<uuid::Uuid> {
    let mut bytes = [0; 16];
    fill_random(&mut bytes)?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

/// Whether keys that somebody made have the length of keys, and are not obviously no keys.
pub(super) fn check_keys<'a>(keys: impl Iterator<Item = &'a SecretBytes> + Clone) -> Result<()> {
    for (at, key) in keys.clone().enumerate() {
        let bytes = key.expose_secret();
        if bytes.len() != 32 {
            return Err(Error::invalid("a key has 32 bytes"));
        }
        if bytes.windows(2).all(|pair| matches!(pair, [a, b] if a == b)) {
            return Err(Error::invalid("a key is not one byte repeated"));
        }
        if keys.clone().take(at).any(|other| other.ct_eq(bytes)) {
            return Err(Error::invalid("two key versions have the same key"));
        }
    }
    Ok(())
}

fn masked(secret: &str) -> String {
    let shown = |part: &[u8]| part.iter().all(u8::is_ascii_graphic);
    match (secret.as_bytes().first_chunk::<4>(), secret.as_bytes().last_chunk::<4>()) {
        (Some(first), Some(last))
            if secret.chars().count() >= 20 && shown(first) && shown(last) =>
        {
            first
                .iter()
                .map(|&b| char::from(b))
                .chain(['…'])
                .chain(last.iter().map(|&b| char::from(b)))
                .collect()
        }
        _ => "[redacted]".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn debug_redacts_and_comparison_compares() {
        let secret = SecretBytes::new(b"planted".to_vec());
        assert_eq!(format!("{secret:?}"), "SecretBytes([redacted])");
        assert_eq!(format!("{secret:#?}"), "SecretBytes([redacted])");
        assert!(secret.ct_eq(b"planted"));
        assert!(!secret.ct_eq(b"plante_"));
        assert!(!secret.ct_eq(b"plant"));
        assert_eq!(secret.expose_secret(), b"planted");
        let token = AccessToken::new("planted".to_owned());
        assert_eq!(format!("{token:?}"), "AccessToken([redacted])");
        assert_eq!(format!("{:?}", DataKey::random().unwrap()), "DataKey([redacted])");
        assert!(token.ct_eq("planted") && !token.ct_eq("planter") && !token.ct_eq(""));
    }

    #[test]
    fn random_bytes_differ() {
        let (a, b) = (SecretBytes::random(32).unwrap(), SecretBytes::random(32).unwrap());
        assert_eq!(a.expose_secret().len(), 32);
        assert!(!a.ct_eq(b.expose_secret()));
        let (a, b) = (DataKey::random().unwrap(), DataKey::random().unwrap());
        assert!(!a.ct_eq(&b) && a.ct_eq(&a));
    }

    #[test]
    fn a_log_shows_four_characters_at_each_end_of_a_long_secret_and_nothing_of_others() {
        let masked = |text: &str| RefreshToken::new(text.to_owned()).masked();
        assert_eq!(masked("abcdefghijklmnopqrst"), "abcd…qrst");
        for hidden in [
            "",
            "abc",
            "abcdefghijklmnopqrs",
            // Twenty bytes, ten characters.
            "öööööööööö",
            "abcdefghijklmnopqr\ns",
            "\u{1b}[31mabcdefghijklmnopqrst",
            "abcdefghijklmnopqrstü",
        ] {
            assert_eq!(masked(hidden), "[redacted]", "{hidden:?}");
        }
    }

    #[test]
    fn text_comes_from_utf8_alone_and_the_error_shows_nothing_of_it() {
        let token = AccessToken::from_bytes(SecretBytes::new(b"planted".to_vec())).unwrap();
        assert_eq!(token.expose_secret(), "planted");
        let error = AccessToken::from_bytes(SecretBytes::new(b"planted\xff".to_vec())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(!format!("{error} {error:?}").contains("planted"));
        assert!(std::error::Error::source(&error).is_none());
    }

    #[test]
    fn a_data_key_has_32_bytes() {
        for length in [0, 31, 33] {
            let error = DataKey::from_slice(&vec![7; length]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
        assert_eq!(DataKey::from_slice(&[7; 32]).unwrap().expose_secret(), &[7; 32]);
    }
}
