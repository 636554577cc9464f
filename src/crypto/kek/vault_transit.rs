//! Key-encryption keys in the transit engine of Vault or OpenBao.
//!
//! ```text
//! wrapped = POST <mount>/encrypt/<key>   plaintext = data key, context = the bytes of the context
//! ```
//!
//! The engine derives a key of its own for each `context` of a key that was made with
//! `derived=true`; of any other key it ignores the context in silence, and therefore such a key is
//! refused. Associated data would bind as well, but `rewrap` knows no such parameter.
//! <https://developer.hashicorp.com/vault/api-docs/secret/transit>

use std::fmt;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Client, Method, StatusCode, Url, redirect};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{KekId, KeyDestruction, KeyProvider, WrapContext, WrappedKey};
use crate::crypto::secret::{DataKey, SecretBytes};
use crate::error::{Error, Result};
use crate::id::OrganizationId;

/// Key-encryption keys in the transit engine of Vault or OpenBao: they never leave it.
///
/// The key must be made with `derived=true` (`vault write transit/keys/tenantry derived=true`):
/// then a wrapped key of one organization does not unwrap for another. It is asked for before
/// anything is wrapped. The token needs `read` on `keys/<key>` and `update` on `encrypt/<key>`,
/// `decrypt/<key>` and `rewrap/<key>`; without `create` the engine makes no key by itself.
///
/// The version of the key is part of the [`KekId`]: after `vault write -f
/// transit/keys/<key>/rotate` another KEK is active, what was wrapped before stays readable, and
/// re-wrapping takes place in Vault, which does not give the data key out.
///
/// Organizations share the key: [`destroy`](KeyProvider::destroy) answers
/// [`Shared`](KeyDestruction::Shared).
///
/// # Security
///
/// The token goes to the configured address alone: no redirect is followed, and HTTP without TLS is
/// refused except on the loopback device. Data keys pass through buffers of the HTTP client that are
/// not wiped. `Debug` shows neither the token nor anything that was sent.
///
/// # Examples
///
/// ```
/// use tenantry::crypto::{SecretBytes, VaultTransit};
///
/// let token = SecretBytes::new(b"example-token".to_vec());
/// let provider = VaultTransit::builder("https://vault.example.com:8200", "tenantry", token)
///     .namespace("platform")
///     .build()?;
/// # Ok::<(), tenantry::Error>(())
/// ```
pub struct VaultTransit {
    id: String,
    client: Client,
    address: Url,
    mount: String,
    key: String,
    namespace: Option<HeaderValue>,
    token: RwLock<HeaderValue>,
}

/// What a [`VaultTransit`] is made of.
#[must_use = "a builder does nothing until it builds"]
pub struct VaultTransitBuilder {
    address: String,
    mount: String,
    key: String,
    namespace: Option<String>,
    token: SecretBytes,
    timeout: Duration,
    certificates: Vec<Vec<u8>>,
}

impl VaultTransit {
    /// A provider for the key of this name at this address (`https://host:port`).
    pub fn builder(
        address: impl Into<String>,
        key: impl Into<String>,
        token: SecretBytes,
    ) -> VaultTransitBuilder {
        VaultTransitBuilder {
            address: address.into(),
            mount: "transit".to_owned(),
            key: key.into(),
            namespace: None,
            token,
            timeout: TIMEOUT,
            certificates: Vec::new(),
        }
    }

    /// Takes another token from now on: for tokens that expire.
    ///
    /// # Errors
    ///
    /// `Invalid` for what cannot be a token.
    pub fn set_token(&self, token: &SecretBytes) -> Result<()> {
        *self.token.write().unwrap_or_else(PoisonError::into_inner) = header(token)?;
        Ok(())
    }

    /// The same key as a provider of another name, `vault-transit` without it: where two engines are
    /// in use at a time. A name says nothing of the address: an engine that takes the place of another
    /// at the same address or at a new one gets a name of its own, or is that one's copy.
    ///
    /// What was wrapped is found by the name, and bound to it: it is the same in every process and
    /// stays.
    ///
    /// # Errors
    ///
    /// `Invalid` for a name that is not 1 to 32 characters of `a-z 0-9 -`.
    pub fn with_id(mut self, id: &str) -> Result<Self> {
        id.clone_into(&mut self.id);
        self.unversioned()?;
        Ok(self)
    }

    fn kek(&self, version: u32) -> Result<KekId> {
        KekId::new(&self.id, &format!("{}/{}:v{version}", self.mount, self.key))
    }

    /// The key without its version: what a context is bound to, since re-wrapping keeps it.
    fn unversioned(&self) -> Result<KekId> {
        KekId::new(&self.id, &format!("{}/{}", self.mount, self.key))
    }

    fn context(&self, context: &WrapContext) -> Result<String> {
        Ok(BASE64.encode(context.aad(&self.unversioned()?)))
    }

    /// The text of a wrapped key, if it is this provider's and of the version that its name says.
    fn ciphertext<'w>(&self, wrapped: &'w WrappedKey) -> Result<&'w str> {
        let text = std::str::from_utf8(wrapped.as_bytes()).map_err(|_| wrapped.refused())?;
        let version = version(text).ok_or_else(|| wrapped.refused())?;
        let (named, _) =
            wrapped.kek().key().rsplit_once(":v").ok_or_else(|| wrapped.kek().unknown())?;
        if !self.serves(wrapped.kek().provider()) || named != format!("{}/{}", self.mount, self.key)
        {
            return Err(wrapped.kek().unknown());
        }
        if *wrapped.kek() != self.kek(version)? {
            return Err(wrapped.refused());
        }
        Ok(text)
    }

    fn wrapped(&self, ciphertext: &str) -> Result<WrappedKey> {
        let version = version(ciphertext).ok_or_else(strange)?;
        WrappedKey::new(self.kek(version)?, ciphertext.as_bytes().to_vec())
    }

    /// Sends a request to the engine. `kek` is the key that it is about.
    async fn send(
        &self,
        method: Method,
        verb: &str,
        body: Option<&Request<'_>>,
        kek: &KekId,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let mut url = self.address.clone();
        url.set_path(&format!("v1/{}/{verb}/{}", self.mount, self.key));
        let token = self.token.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut request =
            self.client.request(method, url).header("x-vault-token", token).header(REQUEST, "true");
        if let Some(namespace) = &self.namespace {
            request = request.header("x-vault-namespace", namespace);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        // Errors of the client name the address; what it is goes on, the rest does not.
        let mut response = request.send().await.map_err(|error| match error.is_timeout() {
            true => outage("no answer in time"),
            false => outage("no connection"),
        })?;
        let status = response.status();
        // All at once: a buffer that grew would leave a part of a data key behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MOST_ANSWER));
        while let Some(chunk) =
            response.chunk().await.map_err(|_| outage("an answer that was cut off"))?
        {
            if bytes.len() + chunk.len() > MOST_ANSWER {
                return Err(outage("an answer that is too long").into());
            }
            bytes.extend_from_slice(&chunk);
        }
        match status {
            StatusCode::OK => Ok(bytes),
            StatusCode::BAD_REQUEST => {
                // Vault says what was wrong in words alone.
                let text = String::from_utf8_lossy(&bytes);
                let absent = ["key not found", "policy not found", "too old", "too new"];
                Err(match absent.iter().any(|words| text.contains(words)) {
                    true => kek.unknown().into(),
                    false => Failure::Refused,
                })
            }
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
                Err(Error::unconfigured("Vault refuses the token of this process").into())
            }
            StatusCode::NOT_FOUND => Err(kek.unknown().into()),
            status if status.is_redirection() => Err(Error::unconfigured(
                "Vault redirects to another address, which is not followed: configure that one",
            )
            .into()),
            StatusCode::SERVICE_UNAVAILABLE => Err(outage("Vault is sealed or away").into()),
            _ => Err(outage("Vault could not do it now").into()),
        }
    }

    async fn key(&self) -> Result<Key> {
        let kek = self.unversioned()?;
        let bytes = self
            .send(Method::GET, "keys", None, &kek)
            .await
            .map_err(|failure| failure.or(|| Error::unconfigured("Vault does not show the key")))?;
        let key = parse::<Key>(&bytes)?;
        if !key.derived {
            return Err(Error::unconfigured(format!(
                "the key `{kek}` was not made with `derived=true`: it would not bind data keys to \
                 their organizations"
            )));
        }
        Ok(key)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl KeyProvider for VaultTransit {
    fn id(&self) -> &str {
        &self.id
    }

    fn serves(&self, provider: &str) -> bool {
        provider == self.id
    }

    async fn active(&self) -> Result<KekId> {
        self.kek(self.key().await?.latest_version)
    }

    async fn wrap(&self, context: &WrapContext, key: &DataKey) -> Result<WrappedKey> {
        self.key().await?;
        let plaintext = Zeroizing::new(BASE64.encode(key.expose_secret()));
        let context = self.context(context)?;
        let body = Request { plaintext: Some(&plaintext), ciphertext: None, context: &context };
        let kek = self.unversioned()?;
        let bytes =
            self.send(Method::POST, "encrypt", Some(&body), &kek).await.map_err(|failure| {
                failure
                    .or(|| Error::unconfigured("Vault refuses to wrap a data key under this key"))
            })?;
        self.wrapped(parse::<Ciphertext<'_>>(&bytes)?.ciphertext)
    }

    async fn unwrap(&self, context: &WrapContext, wrapped: &WrappedKey) -> Result<DataKey> {
        let ciphertext = self.ciphertext(wrapped)?;
        let context = self.context(context)?;
        let body = Request { plaintext: None, ciphertext: Some(ciphertext), context: &context };
        let bytes = self
            .send(Method::POST, "decrypt", Some(&body), wrapped.kek())
            .await
            .map_err(|failure| failure.or(|| wrapped.refused()))?;
        let plaintext = parse::<Plaintext<'_>>(&bytes)?.plaintext;
        let key = BASE64.decode(plaintext).map(Zeroizing::new).map_err(|_| strange())?;
        DataKey::from_slice(&key)
    }

    async fn rewrap(
        &self,
        context: &WrapContext,
        wrapped: &WrappedKey,
    ) -> Result<Option<WrappedKey>> {
        let ciphertext = self.ciphertext(wrapped)?;
        let active = self.active().await?;
        if *wrapped.kek() == active {
            return Ok(None);
        }
        let context = self.context(context)?;
        let body = Request { plaintext: None, ciphertext: Some(ciphertext), context: &context };
        let bytes = self
            .send(Method::POST, "rewrap", Some(&body), wrapped.kek())
            .await
            .map_err(|failure| failure.or(|| wrapped.refused()))?;
        let next = self.wrapped(parse::<Ciphertext<'_>>(&bytes)?.ciphertext)?;
        if next.kek() == wrapped.kek() {
            return Err(strange());
        }
        Ok(Some(next))
    }

    async fn destroy(&self, _organization: &OrganizationId) -> Result<KeyDestruction> {
        Ok(KeyDestruction::Shared)
    }
}

impl fmt::Debug for VaultTransit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultTransit")
            .field("id", &self.id)
            .field("mount", &self.mount)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl VaultTransitBuilder {
    /// Where the engine is mounted: `transit` unless said otherwise.
    pub fn mount(mut self, mount: impl Into<String>) -> Self {
        self.mount = mount.into();
        self
    }

    /// The namespace, where Vault has such.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// How long one request may take: 10 seconds unless said otherwise.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Trusts a certificate (PEM) beside those that the system trusts.
    pub fn certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.certificates.push(pem.into());
        self
    }

    /// The provider. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// `Invalid` for an address that is not `https://host:port` (`http` on the loopback device), for
    /// names that do not fit into a path, and for what is no token or certificate.
    pub fn build(self) -> Result<VaultTransit> {
        let address = address(&self.address)?;
        if !self.mount.split('/').all(is_name) || !is_name(&self.key) {
            return Err(Error::invalid(
                "mount and key of Vault are names of letters, digits, `_`, `-` and `.`",
            ));
        }
        let namespace = self.namespace.map(HeaderValue::try_from).transpose();
        let mut client = Client::builder()
            .timeout(self.timeout)
            .redirect(redirect::Policy::none())
            // An address on the way that the environment names would read keys of plain HTTP.
            .no_proxy()
            .default_headers(HeaderMap::new());
        for pem in &self.certificates {
            let certificates = Certificate::from_pem_bundle(pem)
                .ok()
                .filter(|certificates| !certificates.is_empty())
                .ok_or_else(|| Error::invalid("what is to be trusted is no certificate in PEM"))?;
            client = client.tls_certs_merge(certificates);
        }
        Ok(VaultTransit {
            id: ID.to_owned(),
            client: client.build().map_err(|_| Error::unconfigured("TLS cannot be set up"))?,
            address,
            mount: self.mount,
            key: self.key,
            namespace: namespace
                .map_err(|_| Error::invalid("a namespace of Vault is visible ASCII"))?,
            token: RwLock::new(header(&self.token)?),
        })
    }
}

impl fmt::Debug for VaultTransitBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultTransitBuilder")
            .field("mount", &self.mount)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Request<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    plaintext: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ciphertext: Option<&'r str>,
    context: &'r str,
}

#[derive(Deserialize)]
struct Answer<T> {
    data: T,
}

#[derive(Deserialize)]
struct Key {
    latest_version: u32,
    derived: bool,
}

#[derive(Deserialize)]
struct Ciphertext<'a> {
    ciphertext: &'a str,
}

/// Borrowed, so that no copy of it is left.
#[derive(Deserialize)]
struct Plaintext<'a> {
    plaintext: &'a str,
}

/// Why a request came to nothing.
enum Failure {
    Error(Error),
    /// The engine does not accept what was sent.
    Refused,
}

impl Failure {
    fn or(self, refused: impl FnOnce() -> Error) -> Error {
        match self {
            Self::Error(error) => error,
            Self::Refused => refused(),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T> {
    // The parser's error quotes what it read.
    serde_json::from_slice::<Answer<T>>(bytes).map(|answer| answer.data).map_err(|_| strange())
}

/// The version in `vault:v<version>:<base64>`.
fn version(ciphertext: &str) -> Option<u32> {
    let (version, text) = ciphertext.strip_prefix("vault:v")?.split_once(':')?;
    let number = version.parse::<u32>().ok().filter(|number| *number > 0)?;
    (number.to_string() == version && !text.is_empty()).then_some(number)
}

fn address(text: &str) -> Result<Url> {
    let misshapen = || Error::invalid("the address of Vault is `https://host:port`");
    let url = Url::parse(text).map_err(|_| misshapen())?;
    let loopback = match url.host_str() {
        Some("localhost") => true,
        Some(host) => host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback()),
        None => false,
    };
    let plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
        && url.path() == "/";
    match url.scheme() {
        "https" if plain => Ok(url),
        "http" if plain && loopback => Ok(url),
        _ => Err(misshapen()),
    }
}

fn is_name(name: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    !name.is_empty() && name.len() <= 128 && name.bytes().all(inside) && !name.starts_with('.')
}

fn header(token: &SecretBytes) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_bytes(token.expose_secret())
        .ok()
        .filter(|value| !value.is_empty())
        .ok_or_else(|| Error::invalid("a token of Vault is visible ASCII"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn outage(why: &'static str) -> Error {
    Error::outage("the key service is not available", why)
}

/// An answer that Vault would not give.
fn strange() -> Error {
    Error::corrupt("the key service gave an answer that is none of Vault's")
}

const ID: &str = "vault-transit";
const TIMEOUT: Duration = Duration::from_secs(10);
const MOST_ANSWER: usize = 64 * 1_024;
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");

#[cfg(test)]
mod tests;
