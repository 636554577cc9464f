//! Sealed credentials in a SQL database, in tables of the crate's own making.
//!
//! Nothing here is below the walls: every statement begins with a scope, and what crosses from one
//! organization to another is `Incident`, as everywhere. Read snapshots are single statements; what
//! is written is compared with the epoch in the transaction that writes it.

mod keys;
mod platform;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use self::tables::{
    CanaryRow, CredentialRow, KeyRow, PlatformRow, ResealRow, RingRow, SLOT, credentials,
    key_rings, number, organization_keys, reseals,
};
use super::keys::KeyEpoch;
use super::record::{
    Checkpoint, CredentialId, KeyUse, Resealed, Snapshot, StoredCredential, Written,
};
use super::store::CredentialStore;
use crate::ambient::CrossTenantAuthority;
use crate::crypto::KeyId;
use crate::database::{Database, Transaction};
use crate::error::{Error, ErrorKind, Result};
use crate::query::{Prepared, count};
use crate::scope::TenantScope;
use crate::table::{Schema, SealedColumn, Table as _, TableDefinition};

/// Keeps sealed credentials and their keys in a [`Database`]. Clones share it.
///
/// Its tables are `organization_key_rings`, `organization_keys`, `sealed_credentials`,
/// `credential_reseals`, `kek_canaries` and `platform_keys`; [`tables`](Self::tables) registers them.
///
/// # Security
///
/// The database holds envelopes and wrapped keys alone. On SQLite every commit of it waits for the disk,
/// and what is deleted is overwritten. What a hostile administrator of it can and
/// cannot do stands in [the chapter on credentials](crate::manual::credentials).
///
/// # Examples
///
/// ```
/// use tenantry::ambient::cross_tenant_authority;
/// use tenantry::credential::{Credentials, SqlCredentialStore};
/// use tenantry::crypto::LocalKeyring;
/// use tenantry::scope::{MemoryDirectory, Principal, ScopeIssuer};
/// use tenantry::table::Schema;
/// use tenantry::Database;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tenantry::Result<()> {
/// # let issuer = ScopeIssuer::new(MemoryDirectory::new());
/// let db = Database::builder()
///     .issuer(&issuer)
///     .allow_cross_tenant()
///     .connect("sqlite::memory:", SqlCredentialStore::tables(Schema::new()))
///     .await?;
/// db.create_tables().await?;
///
/// let authority = cross_tenant_authority("canaries of the keys", Principal::service("start"));
/// let store = SqlCredentialStore::new(&db, authority);
/// let credentials = Credentials::builder(&issuer, LocalKeyring::random()?, store).build();
/// credentials.keys().check().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SqlCredentialStore {
    db: Database,
    /// For the canaries that are read at start and added with a first key, which belong to no
    /// organization.
    authority: Arc<CrossTenantAuthority>,
    by_id: Arc<Prepared<Found, (Uuid,)>>,
}

type Found = (CredentialRow, RingRow);

impl SqlCredentialStore {
    /// The schema with the tables of the store.
    pub fn tables(schema: Schema) -> Schema {
        schema
            .tenant::<RingRow>()
            .tenant::<KeyRow>()
            .tenant::<CredentialRow>()
            .tenant::<ResealRow>()
            .global::<CanaryRow>()
            .global::<PlatformRow>()
    }

    pub(crate) fn over(db: &Database, authority: CrossTenantAuthority) -> Self {
        let by_id = CredentialRow::prepare(|q, (id,)| {
            q.join(credentials::slot).filter(credentials::id.eq(id))
        });
        Self { db: db.clone(), authority: Arc::new(authority), by_id: Arc::new(by_id) }
    }

    /// The epoch of the organization's keys.
    ///
    /// Read it before the row whose sealed value is opened, and before a value is sealed that is to
    /// be written: see [`SealedValue`](super::SealedValue).
    ///
    /// # Errors
    ///
    /// As for any read of the database.
    pub async fn epoch(&self, scope: &TenantScope) -> Result<KeyEpoch> {
        let ring = RingRow::find(scope, SLOT).fetch_optional(&self.db).await?;
        ring.map_or(Ok(KeyEpoch::default()), |ring| ring.epoch())
    }

    /// A transaction in which [`SealedValue`](super::SealedValue)s and
    /// [`BlindIndex`](crate::crypto::BlindIndex)es are written. Until it ends, changes of the
    /// organization's keys wait, and so do its other writes of sealed values and credentials: seal
    /// before, and use neither [`Credentials`](super::Credentials) nor [`Keys`](super::Keys) inside. What
    /// was sealed under another key than the active one is
    /// refused with `Conflict`: seal it again, with
    /// [`Keys::seal_since`](super::Keys::seal_since) the present [`epoch`](Self::epoch).
    ///
    /// # Errors
    ///
    /// `Shredded` where the organization's keys were destroyed; `Conflict` where it has none yet: seal
    /// before. Otherwise as for [`Database::begin`].
    ///
    /// # Cancellation
    ///
    /// Nothing was changed.
    pub async fn begin(&self, scope: &TenantScope) -> Result<Transaction> {
        let mut tx = self.db.begin(scope).await?;
        let ring = RingRow::find(scope, SLOT).for_update().fetch_optional(&mut tx).await?;
        let (active, recorded) = match ring {
            Some(ring) if ring.shredded_at.is_some() => return Err(Error::shredded()),
            Some(ring) => (ring.active, ring.sealed_columns()),
            None => (None, BTreeSet::new()),
        };
        let key = match active {
            Some(active) => KeyRow::find(scope, active).fetch_optional(&mut tx).await?,
            None => None,
        };
        let key = key.ok_or_else(|| Error::conflict("the organization has no key yet"))?;
        let mut known = recorded.clone();
        known.extend(self.sealed_columns().into_keys());
        if known != recorded {
            record_columns(scope, &mut tx, &known).await?;
        }
        tx.hold(key.sealing()?);
        Ok(tx)
    }

    /// A transaction in which the keys are and stay those of the epoch: `None` where they are not.
    async fn begin_at(&self, scope: &TenantScope, epoch: KeyEpoch) -> Result<Option<Transaction>> {
        let mut tx = self.db.begin(scope).await?;
        // INVARIANT: asked in the transaction that writes, so that nothing is written under a key
        // that was retired or destroyed since it was sealed. The row is written to be locked: until
        // the commit no key changes.
        let current = set_epoch(scope, &mut tx, epoch, epoch).await?;
        Ok(current.then_some(tx))
    }

    /// Whether the schema has the tables of a store. What it answers is durable then, and what it
    /// destroys is overwritten.
    #[cfg(feature = "sqlite")]
    pub(crate) fn is_in(schema: &Schema) -> bool {
        schema.registered(RingRow::definition()).is_ok()
    }

    /// Whether the table's sealed values are counted though no column of it is declared sealed.
    pub(crate) fn counts(table: &TableDefinition) -> bool {
        CredentialRow::definition().same(table)
    }

    /// Lets go of what the store keeps of rows as they were before, wrapped keys among them. What
    /// remains is to be purged as the chapter on credentials says.
    async fn forget(&self) {
        match self.db.store().forget().await {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!("the write-ahead log is in use, and holds destroyed keys still");
            }
            Err(error) => tracing::warn!(%error, "the write-ahead log holds destroyed keys still"),
        }
    }

    /// How many values of the application's own sealed columns there are of each key.
    ///
    /// INVARIANT: every column in which anything of the organization's was ever sealed is counted, or
    /// nothing is: a process may know fewer tables than another.
    async fn census(
        &self,
        scope: &TenantScope,
        recorded: &BTreeSet<String>,
        uses: &mut Vec<KeyUse>,
    ) -> Result<()> {
        let columns: BTreeMap<String, SealedColumn> = self.sealed_columns();
        if let Some(unknown) = recorded.iter().find(|name| !columns.contains_key(*name)) {
            return Err(Error::unconfigured(format!(
                "`{unknown}` holds sealed values: register its table in the Schema of this process, or forget the column if it is gone"
            )));
        }
        if columns.is_empty() {
            return Ok(());
        }
        let keys = KeyRow::select(scope).filter(organization_keys::destroyed_at.is_null());
        let keys = keys.fetch_all(&self.db).await?;
        for (name, SealedColumn { position, census, .. }) in columns {
            let mut rest = number(census(scope, position, None).fetch_one(&self.db).await?)?;
            for key in &keys {
                let made = census(scope, position, Some(key.sealing()?));
                let count = number(made.fetch_one(&self.db).await?)?;
                rest = rest.saturating_sub(count);
                if count > 0 {
                    let id = KeyId::from_uuid(key.key_id);
                    uses.push(KeyUse::new(name.clone(), Some(id), count));
                }
            }
            if rest > 0 {
                uses.push(KeyUse::new(name, None, rest));
            }
        }
        Ok(())
    }

    /// The application's own sealed columns, by table and column.
    fn sealed_columns(&self) -> BTreeMap<String, SealedColumn> {
        let columns = self.db.schema().sealed_columns();
        columns
            .map(|each| (format!("{}.{}", each.table.name(), each.column.name()), each))
            .collect()
    }

    /// Forgets that a column held sealed values of the organization: for one that was dropped, or whose
    /// table was. `retire` and `rotation_status` ask for every column that was ever written.
    ///
    /// # Errors
    ///
    /// `Conflict` for a column that is registered in this process; otherwise as for [`Database::begin`].
    pub async fn forget_column(&self, scope: &TenantScope, column: &str) -> Result<()> {
        if self.sealed_columns().contains_key(column) {
            return Err(Error::conflict("the column is registered, and counted"));
        }
        let mut tx = self.db.begin(scope).await?;
        let ring = RingRow::find(scope, SLOT).for_update().fetch_optional(&mut tx).await?;
        if let Some(mut recorded) = ring.map(|ring| ring.sealed_columns())
            && recorded.remove(column)
        {
            record_columns(scope, &mut tx, &recorded).await?;
        }
        tx.commit().await
    }

    /// A page row by row, for one with a row that cannot be read.
    async fn singly(
        &self,
        scope: &TenantScope,
        after: Option<CredentialId>,
        limit: u32,
    ) -> Result<Snapshot<Vec<(CredentialId, Result<StoredCredential>)>>> {
        let mut ids = CredentialRow::select(scope).limit(limit.into());
        if let Some(after) = after {
            ids = ids.filter(credentials::id.gt(*after.as_uuid()));
        }
        // Read first, so that no key is older than a row says.
        let epoch = self.epoch(scope).await?;
        let mut page = Vec::new();
        for id in ids.columns(credentials::id).fetch_all(&self.db).await? {
            let id = CredentialId::from_uuid(id);
            match self.get(scope, id).await {
                Ok(Snapshot { value: None, .. }) => {}
                Ok(Snapshot { value: Some(stored), .. }) => page.push((id, Ok(stored))),
                Err(error) if error.kind() == ErrorKind::Corrupt => page.push((id, Err(error))),
                Err(error) => return Err(error),
            }
        }
        Ok(Snapshot::new(epoch, page))
    }
}

#[async_trait]
impl CredentialStore for SqlCredentialStore {
    async fn insert(
        &self,
        scope: &TenantScope,
        epoch: KeyEpoch,
        credential: &StoredCredential,
    ) -> Result<Written> {
        let row = CredentialRow::of(credential)?;
        let Some(mut tx) = self.begin_at(scope, epoch).await? else {
            return Ok(Written::KeysChanged);
        };
        match CredentialRow::insert(scope, row).execute(&mut tx).await {
            Err(error) if error.kind() == ErrorKind::Conflict => return Ok(Written::Moved),
            inserted => inserted?,
        };
        tx.commit().await?;
        Ok(Written::Done)
    }

    async fn get(
        &self,
        scope: &TenantScope,
        id: CredentialId,
    ) -> Result<Snapshot<Option<StoredCredential>>> {
        let found = self.by_id.fetch_optional(scope, (*id.as_uuid(),), &self.db).await?;
        let Some((row, ring)) = found else {
            return Ok(Snapshot::new(KeyEpoch::default(), None));
        };
        Ok(Snapshot::new(ring.epoch()?, Some(row.into_credential()?)))
    }

    async fn replace(
        &self,
        scope: &TenantScope,
        epoch: KeyEpoch,
        seen: u64,
        credential: &StoredCredential,
    ) -> Result<Written> {
        let row = CredentialRow::of(credential)?;
        // A version that no row can have.
        let Ok(seen) = i64::try_from(seen) else { return Ok(Written::Moved) };
        let Some(mut tx) = self.begin_at(scope, epoch).await? else {
            return Ok(Written::KeysChanged);
        };
        let changed = CredentialRow::update(scope)
            .set(credentials::provider, row.provider)
            .set(credentials::label, row.label)
            .set(credentials::version, row.version)
            .set(credentials::key_id, row.key_id)
            .set(credentials::sealed, row.sealed)
            .set(credentials::updated_at, row.updated_at)
            .filter(credentials::id.eq(row.id).and(credentials::version.eq(seen)))
            .execute(&mut tx)
            .await?;
        if changed != 1 {
            return Ok(Written::Moved);
        }
        tx.commit().await?;
        Ok(Written::Done)
    }

    async fn page(
        &self,
        scope: &TenantScope,
        after: Option<CredentialId>,
        limit: u32,
    ) -> Result<Snapshot<Vec<(CredentialId, Result<StoredCredential>)>>> {
        let mut rows = CredentialRow::select(scope).join(credentials::slot).limit(limit.into());
        if let Some(after) = after {
            rows = rows.filter(credentials::id.gt(*after.as_uuid()));
        }
        let rows = match rows.fetch_all(&self.db).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                return self.singly(scope, after, limit).await;
            }
            rows => rows?,
        };
        let epoch = rows.first().map_or(Ok(KeyEpoch::default()), |(_, ring)| ring.epoch())?;
        let read = |(row, _): Found| (CredentialId::from_uuid(row.id), row.into_credential());
        Ok(Snapshot::new(epoch, rows.into_iter().map(read).collect()))
    }

    async fn remove(&self, scope: &TenantScope, id: CredentialId) -> Result<bool> {
        let removed = CredentialRow::delete(scope).key(*id.as_uuid()).execute(&self.db).await?;
        Ok(removed == 1)
    }

    async fn usage(&self, scope: &TenantScope) -> Result<Snapshot<Vec<KeyUse>>> {
        // The epoch before the counts, each of which is a statement of its own: nothing is written under
        // a key of an earlier epoch.
        let ring = RingRow::find(scope, SLOT).fetch_optional(&self.db).await?;
        let recorded = ring.as_ref().map(RingRow::sealed_columns).unwrap_or_default();
        let epoch = ring.map_or(Ok(KeyEpoch::default()), |ring| ring.epoch())?;
        let counts = CredentialRow::select(scope)
            .group_by(credentials::key_id)
            .aggregate(count())
            .fetch_all(&self.db)
            .await?;
        let each = |(key, count): (Option<Uuid>, i64)| {
            Ok(KeyUse::new("credentials.sealed", key.map(KeyId::from_uuid), number(count)?))
        };
        let mut uses = counts.into_iter().map(each).collect::<Result<_>>()?;
        self.census(scope, &recorded, &mut uses).await?;
        Ok(Snapshot::new(epoch, uses))
    }

    async fn reseal(
        &self,
        scope: &TenantScope,
        epoch: KeyEpoch,
        seen: Option<Checkpoint>,
        values: &[Resealed],
        reached: Option<Checkpoint>,
    ) -> Result<Written> {
        let Some(mut tx) = self.begin_at(scope, epoch).await? else {
            return Ok(Written::KeysChanged);
        };
        let stored = ResealRow::find(scope, SLOT).fetch_optional(&mut tx).await?;
        if stored.map(ResealRow::into_checkpoint).transpose()? != seen {
            return Ok(Written::Moved);
        }
        for value in values {
            let as_read = credentials::id
                .eq(*value.id.as_uuid())
                .and(credentials::sealed.eq(value.from.clone()));
            CredentialRow::update(scope)
                .set(credentials::sealed, value.to.clone())
                .set(credentials::key_id, *value.key.as_uuid())
                .filter(as_read)
                .execute(&mut tx)
                .await?;
        }
        match reached {
            Some(reached) => {
                ResealRow::insert(scope, ResealRow::of(&reached)?)
                    .on_conflict(reseals::slot)
                    .update((reseals::target, reseals::last_id, reseals::resealed, reseals::broken))
                    .execute(&mut tx)
                    .await?
            }
            None => ResealRow::delete(scope).key(SLOT).execute(&mut tx).await?,
        };
        tx.commit().await?;
        Ok(Written::Done)
    }

    async fn checkpoint(&self, scope: &TenantScope) -> Result<Option<Checkpoint>> {
        let row = ResealRow::find(scope, SLOT).fetch_optional(&self.db).await?;
        row.map(ResealRow::into_checkpoint).transpose()
    }
}

/// Writes down which columns hold sealed values of the organization, in a transaction that has locked
/// its ring.
async fn record_columns(
    scope: &TenantScope,
    tx: &mut Transaction,
    columns: &BTreeSet<String>,
) -> Result<()> {
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let set = RingRow::update(scope).set(key_rings::sealed_columns, columns.join("\n")).key(SLOT);
    set.execute(tx).await.map(drop)
}

/// Sets the organization's epoch, if it is the one that was seen and the keys were not shredded. The
/// row stays locked until the transaction ends.
async fn set_epoch(
    scope: &TenantScope,
    tx: &mut Transaction,
    seen: KeyEpoch,
    next: KeyEpoch,
) -> Result<bool> {
    let stored = |epoch: KeyEpoch| epoch.get().cast_signed();
    let as_seen = key_rings::slot
        .eq(SLOT)
        .and(key_rings::epoch.eq(stored(seen)))
        .and(key_rings::shredded_at.is_null());
    let set = RingRow::update(scope).set(key_rings::epoch, stored(next)).filter(as_seen);
    Ok(set.execute(tx).await? == 1)
}

impl fmt::Debug for SqlCredentialStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlCredentialStore").field("db", &self.db).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(feature = "sqlite")]
mod tests;
