//! Key-encryption keys that this process holds itself.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use tokio::io::AsyncReadExt as _;
use zeroize::Zeroizing;

use super::{KekId, KeyDestruction, KeyProvider, WrapContext, WrappedKey, wrap};
use crate::crypto::secret::{DataKey, SecretBytes, check_keys};
use crate::error::{Error, Result};
use crate::id::OrganizationId;

/// Key-encryption keys from a keyset that the process reads at its start: from a file, the
/// environment, or a program that decrypts it. All organizations share them.
///
/// A keyset is JSON. It has every version that still opens something, and names the active one:
///
/// ```json
/// { "active": "2026-06",
///   "keys": [ { "id": "2026-01", "key": "<32 bytes in base64>" },
///             { "id": "2026-06", "key": "<32 bytes in base64>" } ] }
/// ```
///
/// # Security
///
/// Whoever has the keyset and the database opens everything. Keep the two apart, in backups too.
///
/// # Examples
///
/// ```
/// use tenantry::crypto::{KeyProvider, LocalKeyring};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tenantry::Result<()> {
/// let keyring = LocalKeyring::random()?;
/// assert_eq!(keyring.active().await?.provider(), "local");
/// # Ok(())
/// # }
/// ```
pub struct LocalKeyring {
    active: KekId,
    /// By the part of the id that is not the provider's.
    keys: BTreeMap<Box<str>, SecretBytes>,
}

/// Borrowed from the text, so that no copy of a key is left behind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keyset<'a> {
    active: &'a str,
    #[serde(borrow)]
    keys: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry<'a> {
    id: &'a str,
    key: &'a str,
}

impl LocalKeyring {
    /// The keyset in a file.
    ///
    /// # Errors
    ///
    /// `Unconfigured` for a file that is missing, cannot be read, is no regular file, or may be
    /// read or written by others than its owner (on Unix); `Invalid` for one that is not a whole
    /// keyset.
    ///
    /// # Security
    ///
    /// Who the owner is is not examined. Where the process has more rights than that user, the user
    /// chooses its keys: keep the file, and the folders above it, in the hands of the process's own
    /// user or of root.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let unfit = |what: &str| {
            Error::unconfigured(format!("the keyring file `{}` {what}", path.display()))
        };
        // Before it is opened: to open a pipe is to wait for whoever writes into it.
        if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(unfit("is not a regular file"));
        }
        let mut file = std::fs::File::open(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => unfit("does not exist"),
            kind => unfit(&format!("cannot be read: {kind}")),
        })?;
        // Asked of the open file: what has this name may be another by now.
        let metadata = file.metadata().map_err(|_| unfit("cannot be examined"))?;
        if !metadata.is_file() {
            return Err(unfit("is not a regular file"));
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            if metadata.permissions().mode() & 0o077 != 0 {
                return Err(unfit("is open to others than its owner: `chmod 600` it"));
            }
        }
        let mut text = Zeroizing::new(Vec::with_capacity(MAX_KEYSET + 1));
        file.by_ref()
            .take(MAX_KEYSET as u64 + 1)
            .read_to_end(&mut text)
            .map_err(|error| unfit(&format!("cannot be read: {}", error.kind())))?;
        Self::parse(&text)
    }

    /// The keyset in an environment variable.
    ///
    /// # Errors
    ///
    /// `Unconfigured` for a variable that is not set, `Invalid` for one that is no keyset.
    ///
    /// # Security
    ///
    /// The variable stays in the environment, which child processes inherit.
    pub fn from_env(variable: &str) -> Result<Self> {
        let text = std::env::var_os(variable).ok_or_else(|| {
            Error::unconfigured(format!("the environment has no variable `{variable}`"))
        })?;
        Self::parse(&Zeroizing::new(text.into_encoded_bytes()))
    }

    /// The keyset that a program prints: one that decrypts it, like `age` or `sops`.
    ///
    /// The program is started directly, without a shell, and ended when it takes longer than
    /// `timeout`. It inherits the environment. Programs that it started itself are not ended, for it has
    /// no process group of its own: in one it could not ask for a passphrase at the terminal. Do not
    /// wrap it in a script that waits for another, or let the script `exec` it.
    ///
    /// # Errors
    ///
    /// `Unconfigured` for a program that cannot be started; `Unavailable` for one that takes too
    /// long or ends with an error; `Invalid` for what is no keyset. What it printed is in no error.
    ///
    /// # Cancellation
    ///
    /// The program is ended.
    pub async fn from_command(
        program: &str,
        arguments: &[&str],
        timeout: Duration,
    ) -> Result<Self> {
        let failed = |how: &str| Error::unavailable(format!("the program `{program}` {how}"));
        let mut child = tokio::process::Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                let kind = error.kind();
                Error::unconfigured(format!("the program `{program}` does not start: {kind}"))
            })?;
        let mut text = Zeroizing::new(Vec::with_capacity(MAX_KEYSET + 1));
        let run = async {
            if let Some(output) = child.stdout.take() {
                let mut output = output.take(MAX_KEYSET as u64 + 1);
                output.read_to_end(&mut text).await.map_err(|_| failed("cannot be heard"))?;
            }
            child.wait().await.map_err(|_| failed("cannot be awaited"))
        };
        let status =
            tokio::time::timeout(timeout, run).await.map_err(|_| failed("takes too long"))??;
        if !status.success() {
            return Err(failed("ended with an error"));
        }
        Self::parse(&text)
    }

    /// A keyset as JSON.
    ///
    /// # Errors
    ///
    /// `Invalid` for what is not a whole keyset, and for keys that are not 32 bytes of full
    /// randomness. The error holds nothing of it but the place.
    pub fn from_json(keyset: &SecretBytes) -> Result<Self> {
        Self::parse(keyset.expose_secret())
    }

    /// One random key, which ends with the process: for tests.
    ///
    /// # Errors
    ///
    /// `Unavailable` where the operating system gives no random bytes.
    pub fn random() -> Result<Self> {
        Self::new("random", [("random".into(), SecretBytes::random(32)?)])
    }

    /// The same keys as a provider of another name: where two keyrings are in use at a time.
    ///
    /// # Errors
    ///
    /// `Invalid` for a name that is not 1 to 32 characters of `a-z 0-9 -`.
    pub fn with_id(mut self, id: &str) -> Result<Self> {
        self.active = KekId::new(id, self.active.key())?;
        Ok(self)
    }

    fn new(
        active: &str,
        entries: impl IntoIterator<Item = (Box<str>, SecretBytes)>,
    ) -> Result<Self> {
        let mut keys = BTreeMap::new();
        for (id, key) in entries {
            KekId::new(DEFAULT_ID, &id)?;
            if keys.insert(id, key).is_some() {
                return Err(Error::invalid("an id occurs twice in a keyset"));
            }
        }
        check_keys(keys.values())?;
        if !keys.contains_key(active) {
            return Err(Error::invalid("the active key of a keyset is not in it"));
        }
        Ok(Self { active: KekId::new(DEFAULT_ID, active)?, keys })
    }

    fn parse(text: &[u8]) -> Result<Self> {
        if text.len() > MAX_KEYSET {
            return Err(Error::invalid("a keyset has at most 64 KiB"));
        }
        // The parser's own words may hold a part of the text.
        let keyset: Keyset<'_> = serde_json::from_slice(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Error::invalid(format!("not a whole keyset: line {line}, column {column}"))
        })?;
        let mut entries = Vec::with_capacity(keyset.keys.len());
        for Entry { id, key } in keyset.keys {
            let mut bytes = Zeroizing::new(vec![0; key.len()]);
            let length = BASE64
                .decode_slice(key, &mut bytes)
                .map_err(|_| Error::invalid("a key of a keyset is not base64"))?;
            bytes.truncate(length);
            entries.push((id.into(), SecretBytes::from(bytes)));
        }
        Self::new(keyset.active, entries)
    }

    fn kek(&self, id: &KekId) -> Result<&SecretBytes> {
        let own = self.serves(id.provider()).then(|| self.keys.get(id.key())).flatten();
        own.ok_or_else(|| id.unknown())
    }
}

#[async_trait]
impl KeyProvider for LocalKeyring {
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
        wrap::wrap(&self.active, self.kek(&self.active)?, context, key)
    }

    async fn unwrap(&self, context: &WrapContext, wrapped: &WrappedKey) -> Result<DataKey> {
        wrap::unwrap(self.kek(wrapped.kek())?, context, wrapped)
    }

    async fn rewrap(
        &self,
        context: &WrapContext,
        wrapped: &WrappedKey,
    ) -> Result<Option<WrappedKey>> {
        if *wrapped.kek() == self.active {
            return Ok(None);
        }
        let key = self.unwrap(context, wrapped).await?;
        self.wrap(context, &key).await.map(Some)
    }

    async fn destroy(&self, _: &OrganizationId) -> Result<KeyDestruction> {
        Ok(KeyDestruction::Shared)
    }
}

impl fmt::Debug for LocalKeyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKeyring")
            .field("active", &self.active)
            .field("keys", &self.keys)
            .finish()
    }
}

const DEFAULT_ID: &str = "local";
const MAX_KEYSET: usize = 64 * 1_024;

#[cfg(test)]
mod tests;
