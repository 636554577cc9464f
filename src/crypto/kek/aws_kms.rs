//! Key-encryption keys in the AWS Key Management Service.
//!
//! ```text
//! wrapped = blob || SHA-256(blob)
//! blob    = Encrypt(KeyId = ARN, Plaintext = data key, EncryptionContext = the pairs of the context)
//! ```
//!
//! The digest keeps nobody out. An edited blob can name a key that does not exist, and KMS answers
//! that like a missing permission: the digest tells damage from a setting, without asking.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_kms::Client;
use aws_sdk_kms::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_kms::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use aws_smithy_types::body::SdkBody;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{KekId, KeyDestruction, KeyProvider, WrapContext, WrappedKey};
use crate::crypto::secret::DataKey;
use crate::error::{Error, Result};
use crate::id::OrganizationId;

/// Key-encryption keys in the AWS Key Management Service (KMS): they never leave it.
///
/// The context of a data key (owner, name, purpose) is the request's encryption context: KMS
/// authenticates it, so that a wrapped key of one organization does not unwrap for another, and
/// CloudTrail shows it in clear.
///
/// A key is named by its ARN and never by an alias, which can be pointed at another key. KMS
/// renews the material behind an ARN in place and says nothing of it: what was wrapped before stays
/// readable and is not wrapped anew. To move to a new key, make it the active one, keep the old one
/// with [`also_unwrap`](Self::also_unwrap), and re-wrap: KMS does that without giving the data key
/// out.
///
/// Organizations share the keys: [`destroy`](KeyProvider::destroy) answers
/// [`Shared`](KeyDestruction::Shared).
///
/// # Security
///
/// A stored [`KekId`] that names a key which was not configured is refused, because whoever can
/// write the database could name a key of their own account. An answer that names another key is
/// refused too. Data keys pass through buffers of the SDK that are not wiped. What the SDK traces holds
/// none, at any level; an interceptor or an HTTP client of the application's own sees the request.
///
/// # Examples
///
/// The client is the application's: region, credentials and endpoint are configured there.
///
/// ```
/// use tenantry::crypto::AwsKms;
///
/// let configuration = aws_sdk_kms::Config::builder()
///     .behavior_version(aws_sdk_kms::config::BehaviorVersion::latest())
///     .region(aws_sdk_kms::config::Region::new("eu-central-1"))
///     .build();
/// let client = aws_sdk_kms::Client::from_conf(configuration);
/// let arn = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
/// let provider = AwsKms::new(client, arn)?;
/// # Ok::<(), tenantry::Error>(())
/// ```
pub struct AwsKms {
    client: Client,
    active: KekId,
    others: Vec<KekId>,
    timeout: Duration,
}

impl AwsKms {
    /// A provider that wraps under the key with this ARN.
    ///
    /// # Errors
    ///
    /// `Invalid` for anything but the ARN of a key.
    pub fn new(client: Client, key_arn: &str) -> Result<Self> {
        Ok(Self { client, active: kek(ID, key_arn)?, others: Vec::new(), timeout: TIMEOUT })
    }

    /// Also unwraps under another key: the one that was active before.
    ///
    /// # Errors
    ///
    /// `Invalid` for anything but the ARN of a key.
    pub fn also_unwrap(mut self, key_arn: &str) -> Result<Self> {
        self.others.push(kek(self.active.provider(), key_arn)?);
        Ok(self)
    }

    /// The same keys as a provider of another name, `aws-kms` without it: where two clients of KMS
    /// are in use at a time, of two accounts say. What was wrapped is found by the name alone, which
    /// is therefore the same in every process and stays.
    ///
    /// # Errors
    ///
    /// `Invalid` for a name that is not 1 to 32 characters of `a-z 0-9 -`.
    pub fn with_id(mut self, id: &str) -> Result<Self> {
        for kek in self.others.iter_mut().chain([&mut self.active]) {
            *kek = KekId::new(id, kek.key())?;
        }
        Ok(self)
    }

    /// How long one request may take, with all that the client tries again: 10 seconds unless said
    /// otherwise.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn configured(&self, kek: &KekId) -> Result<()> {
        if *kek == self.active || self.others.contains(kek) {
            return Ok(());
        }
        Err(kek.unknown())
    }

    /// Runs a request; `refused` is for what does not unwrap.
    async fn send<O, E: ProvideErrorMetadata, R>(
        &self,
        request: impl Future<Output = Result<O, SdkError<E, R>>>,
        kek: &KekId,
        refused: impl FnOnce() -> Error,
    ) -> Result<O> {
        let answer = tokio::time::timeout(self.timeout, request).await;
        let error = match answer {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error,
            Err(_) => return Err(outage("no answer in time")),
        };
        // Of the SDK's error nothing goes on but a code: it holds the request, and the answer,
        // which can be a data key that was not understood.
        let code = match &error {
            SdkError::ServiceError(error) => error.err().code().unwrap_or_default(),
            SdkError::TimeoutError(_) => return Err(outage("no answer in time")),
            SdkError::DispatchFailure(_) => return Err(outage("no connection, or no credentials")),
            SdkError::ResponseError(_) => return Err(outage("an answer that is none of KMS")),
            _ => {
                return Err(Error::unconfigured("the client of KMS cannot make a request"));
            }
        };
        Err(match code {
            "InvalidCiphertextException" | "IncorrectKeyException" => refused(),
            "NotFoundException"
            | "DisabledException"
            | "KMSInvalidStateException"
            | "InvalidKeyUsageException"
            | "InvalidArnException" => kek.unknown(),
            "AccessDeniedException"
            | "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
            | "ExpiredTokenException" => {
                Error::unconfigured("KMS refuses the credentials of this process")
            }
            _ => outage("KMS could not do it now"),
        })
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl KeyProvider for AwsKms {
    fn id(&self) -> &str {
        self.active.provider()
    }

    fn serves(&self, provider: &str) -> bool {
        provider == self.id()
    }

    async fn active(&self) -> Result<KekId> {
        Ok(self.active.clone())
    }

    async fn wrap(&self, context: &WrapContext, key: &DataKey) -> Result<WrappedKey> {
        let request = self
            .client
            .encrypt()
            .key_id(self.active.key())
            .set_encryption_context(Some(pairs(context)))
            .plaintext(Blob::new(key.expose_secret().as_slice()))
            .customize()
            .interceptor(Untraced)
            .send();
        let refused = || outage("KMS refused to wrap a key");
        let answer = self.send(request, &self.active, refused).await?;
        same_key(answer.key_id(), &self.active)?;
        wrapped_key(&self.active, answer.ciphertext_blob)
    }

    async fn unwrap(&self, context: &WrapContext, wrapped: &WrappedKey) -> Result<DataKey> {
        self.configured(wrapped.kek())?;
        let request = self
            .client
            .decrypt()
            .key_id(wrapped.kek().key())
            .set_encryption_context(Some(pairs(context)))
            .ciphertext_blob(blob(wrapped)?)
            .send();
        let answer = self.send(request, wrapped.kek(), || wrapped.refused()).await?;
        let bytes = answer.plaintext.map(Blob::into_inner).map(Zeroizing::new);
        same_key(answer.key_id.as_deref(), wrapped.kek())?;
        DataKey::from_slice(bytes.as_deref().map_or(&[], Vec::as_slice))
    }

    async fn rewrap(
        &self,
        context: &WrapContext,
        wrapped: &WrappedKey,
    ) -> Result<Option<WrappedKey>> {
        self.configured(wrapped.kek())?;
        if *wrapped.kek() == self.active {
            return Ok(None);
        }
        let request = self
            .client
            .re_encrypt()
            .source_key_id(wrapped.kek().key())
            .destination_key_id(self.active.key())
            .set_source_encryption_context(Some(pairs(context)))
            .set_destination_encryption_context(Some(pairs(context)))
            .ciphertext_blob(blob(wrapped)?)
            .send();
        let answer = self.send(request, wrapped.kek(), || wrapped.refused()).await?;
        same_key(answer.source_key_id(), wrapped.kek())?;
        same_key(answer.key_id(), &self.active)?;
        wrapped_key(&self.active, answer.ciphertext_blob).map(Some)
    }

    async fn destroy(&self, _organization: &OrganizationId) -> Result<KeyDestruction> {
        Ok(KeyDestruction::Shared)
    }
}

/// The client's own `Debug` shows its configuration.
impl fmt::Debug for AwsKms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsKms")
            .field("active", &self.active)
            .field("others", &self.others)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Takes the body of a request out of the sight of `Debug`, by which the SDK traces what it sends:
/// that of `Encrypt` holds a data key. What the SDK traces of answers is redacted by itself.
#[derive(Debug)]
struct Untraced;

impl Intercept for Untraced {
    fn name(&self) -> &'static str {
        "tenantry/untraced"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let body = context.request_mut().body_mut();
        let plain = std::mem::replace(body, SdkBody::taken());
        *body = plain.map_preserve_contents(SdkBody::from_body_1_x);
        Ok(())
    }
}

fn kek(id: &str, key_arn: &str) -> Result<KekId> {
    let parts: Vec<&str> = key_arn.split(':').collect();
    match parts[..] {
        ["arn", partition, "kms", region, account, resource]
            if ![partition, region, account].contains(&"")
                && resource.strip_prefix("key/").is_some_and(|key| !key.is_empty()) =>
        {
            KekId::new(id, key_arn)
        }
        _ => Err(Error::invalid(
            "a key of KMS is named by its ARN, `arn:aws:kms:<region>:<account>:key/<id>`",
        )),
    }
}

fn wrapped_key(kek: &KekId, blob: Option<Blob>) -> Result<WrappedKey> {
    let mut bytes = blob
        .map(Blob::into_inner)
        .filter(|bytes| !bytes.is_empty())
        .ok_or_else(|| Error::corrupt("KMS answered without a wrapped key"))?;
    bytes.extend(Sha256::digest(&bytes));
    WrappedKey::new(kek.clone(), bytes)
}

fn blob(wrapped: &WrappedKey) -> Result<Blob> {
    let bytes = wrapped.as_bytes();
    let at = bytes.len().checked_sub(DIGEST).ok_or_else(|| wrapped.refused())?;
    let (blob, digest) = bytes.split_at_checked(at).ok_or_else(|| wrapped.refused())?;
    if Sha256::digest(blob).as_slice() != digest {
        return Err(wrapped.refused());
    }
    Ok(Blob::new(blob))
}

fn pairs(context: &WrapContext) -> HashMap<String, String> {
    context.pairs().into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Refuses an answer that was made with another key than the one that was asked for.
fn same_key(answered: Option<&str>, asked: &KekId) -> Result<()> {
    if answered == Some(asked.key()) {
        return Ok(());
    }
    Err(Error::corrupt("KMS answered with another key than the one it was asked for"))
}

fn outage(why: &'static str) -> Error {
    Error::outage("the key service is not available", why)
}

const ID: &str = "aws-kms";
const DIGEST: usize = 32;
const TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
