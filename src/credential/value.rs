//! Sealed values in the columns of an application's own tables.

use std::fmt;

use super::keys::Sealed;
use crate::crypto::{BlindIndex, Envelope, KeyId};
use crate::error::{Error, Result};
use crate::table::{Codec, ColumnDefinition, ColumnType, ColumnValue, NotNull, RowReader, Value};

/// A sealed value as a column of a table holds it: declare the field as one.
///
/// A column of this type is registered with its table, so that
/// [`SqlCredentialStore`](super::SqlCredentialStore) counts it by key: no data key is retired while a
/// value is sealed under it. It is written in a transaction that
/// [`SqlCredentialStore::begin`](super::SqlCredentialStore::begin) began, which keeps changes of the
/// organization's keys waiting, and only while the key under which it was sealed is the active one.
/// Anywhere else the write is refused.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # mod app {
/// use tenantry::credential::{Credentials, SealedValue, SqlCredentialStore};
/// use tenantry::crypto::{SealContext, SecretKind};
/// use tenantry::{Database, TenantScope, tenant_table};
/// use uuid::Uuid;
///
/// tenant_table! {
///     #[derive(Debug)]
///     pub struct Endpoint in endpoints {
///         key id: Uuid,
///         secret: SealedValue,
///         version: i64, // how often the secret was replaced
///     }
/// }
///
/// fn place(id: Uuid, version: i64) -> tenantry::Result<SealContext<'static>> {
///     let version = version.cast_unsigned();
///     SealContext::new(SecretKind::WebhookSecret, id, "kustomer", "secret", version)
/// }
///
/// async fn add(
///     scope: &TenantScope,
///     store: &SqlCredentialStore,
///     credentials: &Credentials,
///     secret: &[u8],
/// ) -> tenantry::Result<Uuid> {
///     let (id, version) = (Uuid::new_v4(), 1);
///     let (keys, epoch) = (credentials.keys(), store.epoch(scope).await?);
///     let sealed = keys.seal_since(scope, &place(id, version)?, secret, epoch).await?;
///
///     let mut tx = store.begin(scope).await?;
///     let row = Endpoint { id, secret: sealed.into(), version };
///     Endpoint::insert(scope, row).execute(&mut tx).await?;
///     tx.commit().await?;
///     Ok(id)
/// }
///
/// async fn length(
///     scope: &TenantScope,
///     db: &Database,
///     store: &SqlCredentialStore,
///     credentials: &Credentials,
///     id: Uuid,
/// ) -> tenantry::Result<usize> {
///     let epoch = store.epoch(scope).await?; // before the row: no key is older than it says
///     let row = Endpoint::find(scope, id).fetch_one(db).await?;
///     let place = place(row.id, row.version)?;
///     let secret = credentials.keys().open(scope, &place, row.secret.as_bytes(), epoch).await?;
///     Ok(secret.expose_secret().len())
/// }
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct SealedValue(Vec<u8>);

/// Where a range of stored values begins or ends.
#[derive(Debug, Clone)]
pub(crate) struct Bound(Vec<u8>);

/// A data key of an organization, by its two names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SealingKey {
    id: KeyId,
    version: u32,
}

impl SealedValue {
    /// A value that was sealed before, in another table for instance.
    ///
    /// # Errors
    ///
    /// `Invalid` for bytes that have not the form of a sealed value. Whether it opens is not tried.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self> {
        match Envelope::parse(&bytes, usize::MAX) {
            Ok(_) => Ok(Self(bytes)),
            Err(_) => Err(Error::invalid("the bytes are no sealed value")),
        }
    }

    /// The value as it is stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl SealingKey {
    pub(crate) const fn new(id: KeyId, version: u32) -> Self {
        Self { id, version }
    }

    /// Whether a sealed value or a blind index was made under the key: by the name of its key, or, of
    /// an index that was stored, by its version.
    pub(crate) fn made(self, stored: &[u8], key: Option<KeyId>) -> bool {
        let version = || BlindIndex::from_bytes(stored).map(|index| index.version());
        key.map_or_else(|| version() == Some(self.version), |key| key == self.id)
    }

    /// Between which bytes lie the sealed values and blind indexes that were made under the key: from
    /// the first on, and below the second.
    pub(crate) fn ranges(self) -> impl Iterator<Item = [Bound; 2]> {
        let prefixes = Envelope::prefixes(self.id).into_iter();
        prefixes.chain([BlindIndex::prefix(self.version)]).map(|from| {
            let mut to = from.clone();
            // The first byte is never the last that there is.
            for byte in to.iter_mut().rev() {
                *byte = byte.wrapping_add(1);
                if *byte != 0 {
                    break;
                }
            }
            [from, to].map(Bound)
        })
    }
}

impl From<Sealed> for SealedValue {
    fn from(sealed: Sealed) -> Self {
        Self(sealed.into_bytes())
    }
}

impl ColumnValue for SealedValue {
    const TYPE: ColumnType = ColumnType::Bytes;
    const NULLABLE: bool = false;
    const SEALED: bool = true;
    type Base = Self;
}

impl NotNull for SealedValue {}

impl Codec for SealedValue {
    fn encode(&self, _: &ColumnDefinition) -> Value {
        match Envelope::parse(&self.0, usize::MAX) {
            Ok(envelope) => Value::Sealed(Box::new((self.0.clone(), Some(envelope.key())))),
            Err(_) => Value::Refused("the bytes are no sealed value"),
        }
    }

    /// Whatever lies there: what is no sealed value does not open.
    fn decode(row: &mut RowReader<'_>, _: &ColumnDefinition) -> Result<Self> {
        row.read_bytes().map(Self)
    }
}

impl ColumnValue for Bound {
    const TYPE: ColumnType = ColumnType::Bytes;
    const NULLABLE: bool = false;
    const SEALED: bool = true;
    type Base = Self;
}

impl NotNull for Bound {}

impl Codec for Bound {
    fn encode(&self, _: &ColumnDefinition) -> Value {
        Value::Bytes(self.0.clone())
    }

    fn decode(row: &mut RowReader<'_>, _: &ColumnDefinition) -> Result<Self> {
        row.read_bytes().map(Self)
    }
}

/// An index is a column value like the value of which it is: counted, and written under the same lock.
impl ColumnValue for BlindIndex {
    const TYPE: ColumnType = ColumnType::Bytes;
    const NULLABLE: bool = false;
    const SEALED: bool = true;
    type Base = Self;
}

impl NotNull for BlindIndex {}

impl Codec for BlindIndex {
    fn encode(&self, _: &ColumnDefinition) -> Value {
        Value::Sealed(Box::new((self.as_bytes().to_vec(), self.key())))
    }

    fn decode(row: &mut RowReader<'_>, _: &ColumnDefinition) -> Result<Self> {
        let bytes = row.read_bytes()?;
        Self::from_bytes(&bytes).ok_or_else(|| row.corrupt("bytes that are no blind index"))
    }
}

impl fmt::Debug for SealedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedValue({} bytes)", self.0.len())
    }
}
