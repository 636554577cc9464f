//! Forms in which other programs kept what is to be sealed.

use std::fmt;
use std::sync::Arc;

use aes_gcm::aead::AeadInOut as _;
use aes_gcm::{Aes256Gcm, KeyInit as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::secret::Secret;
use crate::crypto::SecretBytes;
use crate::error::{Error, Result};
use crate::id::OrganizationId;

/// A form in which another program kept secrets. Open: implement it for what you have.
///
/// # Contract
///
/// - A value of another form MUST be `Corrupt` ([`misread`]), not a guess.
/// - A value that another organization's is bound to MUST NOT be read for this one.
/// - Errors MUST NOT carry anything of the value.
pub trait LegacyFormat: fmt::Debug + Send + Sync + 'static {
    /// The secret that the organization stored.
    ///
    /// # Errors
    ///
    /// `Corrupt` for a value that is not of this form, or does not open.
    fn read(&self, organization: &OrganizationId, stored: &[u8]) -> Result<Secret>;
}

/// Values that were never encrypted: the text of one field.
#[derive(Debug, Clone)]
pub struct Plaintext {
    field: String,
}

/// Values under AES-256-GCM with one key for all, as programs commonly kept them. An adapter: it
/// reads, and never writes.
///
/// # Examples
///
/// ```
/// use tenantry::credential::{AesGcmLayout, ForeignAesGcm};
/// use tenantry::crypto::SecretBytes;
///
/// let key = SecretBytes::random(32)?;
/// let format = ForeignAesGcm::new(key, "access_token")?
///     .layout(AesGcmLayout::NonceTagCiphertext)
///     .base64();
/// # Ok::<(), tenantry::Error>(())
/// ```
pub struct ForeignAesGcm {
    cipher: Aes256Gcm,
    field: String,
    layout: AesGcmLayout,
    base64: bool,
    bound: bool,
}

/// In which order the parts of a foreign value stand. The nonce has 12 bytes and the tag 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AesGcmLayout {
    /// The ciphertext, the tag, the nonce.
    CiphertextTagNonce,
    /// The nonce, the ciphertext, the tag: what most libraries' examples show.
    NonceCiphertextTag,
    /// The nonce, the tag, the ciphertext: what programs for Node.js often have.
    NonceTagCiphertext,
}

/// The form in which unsealed values are read, and until when.
#[derive(Debug, Clone)]
pub(super) struct Legacy {
    pub(super) until: OffsetDateTime,
    pub(super) format: Arc<dyn LegacyFormat>,
}

impl Legacy {
    pub(super) fn accepts(&self, now: OffsetDateTime) -> bool {
        now < self.until
    }
}

/// The error for a value that is not of a form, or does not open: `Corrupt`.
#[must_use]
pub fn misread() -> Error {
    Error::corrupt("the value does not have the form that it is imported from")
}

impl Plaintext {
    /// Values that become this field of the secret.
    #[must_use]
    pub fn new(field: impl Into<String>) -> Self {
        Self { field: field.into() }
    }
}

impl LegacyFormat for Plaintext {
    fn read(&self, _: &OrganizationId, stored: &[u8]) -> Result<Secret> {
        // What is not text was encrypted by somebody, and is not the secret.
        let text = str::from_utf8(stored).map_err(|_| misread())?;
        if text.is_empty() {
            return Err(misread());
        }
        Ok(Secret::new().with(self.field.clone(), text))
    }
}

impl ForeignAesGcm {
    /// Values under a key of 32 bytes that become this field of the secret: raw bytes in the order
    /// [`NonceCiphertextTag`](AesGcmLayout::NonceCiphertextTag), without associated data.
    ///
    /// # Errors
    ///
    /// `Invalid` for a key of another length.
    pub fn new(key: SecretBytes, field: impl Into<String>) -> Result<Self> {
        let cipher = Aes256Gcm::new_from_slice(key.expose_secret())
            .map_err(|_| Error::invalid("the key of foreign values has 32 bytes"))?;
        let layout = AesGcmLayout::NonceCiphertextTag;
        Ok(Self { cipher, field: field.into(), layout, base64: false, bound: false })
    }

    /// The order of the parts.
    #[must_use]
    pub fn layout(mut self, layout: AesGcmLayout) -> Self {
        self.layout = layout;
        self
    }

    /// Whole values in base64 with padding (RFC 4648, section 4).
    #[must_use]
    pub fn base64(mut self) -> Self {
        self.base64 = true;
        self
    }

    /// Values whose associated data is the text of the organization's id.
    #[must_use]
    pub fn bound_to_organization(mut self) -> Self {
        self.bound = true;
        self
    }
}

impl LegacyFormat for ForeignAesGcm {
    fn read(&self, organization: &OrganizationId, stored: &[u8]) -> Result<Secret> {
        let decoded;
        let stored = if self.base64 {
            decoded = STANDARD.decode(stored).map_err(|_| misread())?;
            decoded.as_slice()
        } else {
            stored
        };
        let parts = || match self.layout {
            AesGcmLayout::CiphertextTagNonce => {
                let (rest, nonce) = stored.split_last_chunk::<12>()?;
                let (text, tag) = rest.split_last_chunk::<16>()?;
                Some((nonce, text, tag))
            }
            AesGcmLayout::NonceCiphertextTag => {
                let (nonce, rest) = stored.split_first_chunk::<12>()?;
                let (text, tag) = rest.split_last_chunk::<16>()?;
                Some((nonce, text, tag))
            }
            AesGcmLayout::NonceTagCiphertext => {
                let (nonce, rest) = stored.split_first_chunk::<12>()?;
                let (tag, text) = rest.split_first_chunk::<16>()?;
                Some((nonce, text, tag))
            }
        };
        let (nonce, text, tag) = parts().ok_or_else(misread)?;
        let aad = if self.bound { organization.to_string() } else { String::new() };
        let mut text = Zeroizing::new(text.to_vec());
        self.cipher
            .decrypt_inout_detached(
                nonce.into(),
                aad.as_bytes(),
                text.as_mut_slice().into(),
                tag.into(),
            )
            .map_err(|_| misread())?;
        Ok(Secret::new().with(self.field.clone(), text.as_slice()))
    }
}

impl fmt::Debug for ForeignAesGcm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForeignAesGcm")
            .field("field", &self.field)
            .field("layout", &self.layout)
            .field("base64", &self.base64)
            .field("bound", &self.bound)
            .finish_non_exhaustive()
    }
}
