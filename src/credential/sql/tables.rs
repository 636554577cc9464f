//! The tables of the SQL store.

use std::collections::BTreeSet;

use time::OffsetDateTime;
use uuid::Uuid;

use crate::credential::key_form::{check_value, misshapen};
use crate::credential::record::{Checkpoint, CredentialId, CredentialInfo, StoredCredential};
use crate::credential::{KeyEpoch, KeySet, KeyState, SealingKey, StoredKey};
use crate::crypto::{KekId, KeyId, WrappedKey};
use crate::error::{Error, Result};

crate::tenant_table! {
    /// The one row of an organization on its keys as a whole: which of them seals, and how often
    /// they changed. What is sealed refers to it, so that both are read in one statement.
    #[derive(Debug, Clone)]
    pub(super) struct RingRow in key_rings = "organization_key_rings" {
        key slot: i16,
        epoch: i64,
        active: Option<Uuid>,
        shredded_at: Option<OffsetDateTime>,
        sealed_columns: Option<String>,
    }
}

crate::tenant_table! {
    /// A data key, wrapped. Its row stays when it is destroyed. No KEK under which a key is wrapped
    /// loses its canary: the row refers to it.
    #[derive(Debug, Clone)]
    pub(super) struct KeyRow in organization_keys {
        key key_id: Uuid,
        slot: i16 => key_rings,
        version: i64,
        wrapped: Option<Vec<u8>>,
        kek_id: Option<String> => canaries,
        kcv: Vec<u8>,
        created_at: OffsetDateTime,
        destroyed_at: Option<OffsetDateTime>,
    }
    unique (version);
}

crate::tenant_table! {
    /// A credential, sealed.
    #[derive(Debug, Clone)]
    pub(super) struct CredentialRow in credentials = "sealed_credentials" {
        key id: Uuid,
        slot: i16 => key_rings,
        provider: String,
        label: Option<String>,
        version: i64,
        key_id: Option<Uuid>,
        sealed: Vec<u8>,
        created_at: OffsetDateTime,
        updated_at: OffsetDateTime,
    }
    index (key_id);
}

crate::tenant_table! {
    /// How far a re-sealing has come: one row of an organization, while there is one.
    #[derive(Debug, Clone)]
    pub(super) struct ResealRow in reseals = "credential_reseals" {
        key slot: i16,
        target: Uuid,
        last_id: Uuid,
        resealed: i64,
        broken: i64,
    }
}

crate::global_table! {
    /// A key by which a KEK is tried at start.
    #[derive(Debug, Clone)]
    pub(super) struct CanaryRow in canaries = "kek_canaries" {
        key kek_id: String,
        key_id: Uuid,
        wrapped: Vec<u8>,
        kcv: Vec<u8>,
        created_at: OffsetDateTime,
    }
}

crate::global_table! {
    /// The platform's data keys, wrapped: one row, because writes of global tables have no
    /// transaction.
    #[derive(Debug, Clone)]
    pub(super) struct PlatformRow in platform_keys {
        key slot: i16,
        epoch: i64,
        keys: Vec<u8>,
    }
}

/// The key of tables that have one row for each organization.
pub(super) const SLOT: i16 = 0;

impl RingRow {
    /// The columns of the application in which something was ever sealed: no name has a line break.
    pub(super) fn sealed_columns(&self) -> BTreeSet<String> {
        let names = self.sealed_columns.iter().flat_map(|names| names.lines());
        names.map(str::to_owned).collect()
    }

    pub(super) fn epoch(&self) -> Result<KeyEpoch> {
        number(self.epoch).map(KeyEpoch::new)
    }
}

impl KeyRow {
    pub(super) fn of(key: &StoredKey) -> Result<Self> {
        Ok(Self {
            key_id: *key.id.as_uuid(),
            slot: SLOT,
            version: i64::from(key.version),
            wrapped: key.wrapped.as_ref().map(|wrapped| wrapped.as_bytes().to_vec()),
            kek_id: key.wrapped.as_ref().map(|wrapped| wrapped.kek().as_str().to_owned()),
            kcv: key.check.as_bytes().to_vec(),
            created_at: micros(key.created_at)?,
            destroyed_at: key.destroyed_at.map(micros).transpose()?,
        })
    }

    /// The key, by its names.
    pub(super) fn sealing(&self) -> Result<SealingKey> {
        let version = u32::try_from(self.version).map_err(|_| misshapen())?;
        Ok(SealingKey::new(KeyId::from_uuid(self.key_id), version))
    }

    fn into_key(self, active: Option<Uuid>) -> Result<StoredKey> {
        let wrapped = match (self.kek_id, self.wrapped) {
            (Some(kek), Some(bytes)) => Some(WrappedKey::new(KekId::parse(&kek)?, bytes)?),
            _ => None,
        };
        let state = match (self.destroyed_at, active) {
            (Some(_), _) => KeyState::Destroyed,
            (None, Some(active)) if active == self.key_id => KeyState::Active,
            (None, _) => KeyState::DecryptOnly,
        };
        let id = KeyId::from_uuid(self.key_id);
        let version = u32::try_from(self.version).map_err(|_| misshapen())?;
        let check = check_value(&self.kcv)?;
        let key = StoredKey::new(id, version, state, wrapped, check, self.created_at);
        Ok(match self.destroyed_at {
            Some(at) => key.destroyed(at),
            None => key,
        })
    }
}

/// The keys of an organization, from its ring with each of them.
pub(super) fn key_set(rows: Vec<(RingRow, Option<KeyRow>)>) -> Result<KeySet> {
    let Some((ring, _)) = rows.first().cloned() else { return Ok(KeySet::default()) };
    let keys = rows.into_iter().filter_map(|(_, key)| key);
    let keys = keys.map(|key| key.into_key(ring.active)).collect::<Result<Vec<_>>>()?;
    Ok(KeySet::new(ring.epoch()?, ring.shredded_at, keys))
}

impl CredentialRow {
    pub(super) fn of(credential: &StoredCredential) -> Result<Self> {
        let info = &credential.info;
        Ok(Self {
            id: *info.id.as_uuid(),
            slot: SLOT,
            provider: info.provider.clone(),
            label: info.label.clone(),
            version: signed(info.version)?,
            key_id: credential.key.map(|key| *key.as_uuid()),
            sealed: credential.sealed.clone(),
            created_at: info.created_at,
            updated_at: info.updated_at,
        })
    }

    pub(super) fn into_credential(self) -> Result<StoredCredential> {
        let id = CredentialId::from_uuid(self.id);
        let version = number(self.version)?;
        let Self { provider, label, created_at, updated_at, .. } = self;
        let info = CredentialInfo::new(id, provider, label, version, created_at, updated_at);
        Ok(StoredCredential::new(info, self.key_id.map(KeyId::from_uuid), self.sealed))
    }
}

impl ResealRow {
    pub(super) fn of(checkpoint: &Checkpoint) -> Result<Self> {
        Ok(Self {
            slot: SLOT,
            target: *checkpoint.target.as_uuid(),
            last_id: *checkpoint.after.as_uuid(),
            resealed: signed(checkpoint.resealed)?,
            broken: signed(checkpoint.broken)?,
        })
    }

    pub(super) fn into_checkpoint(self) -> Result<Checkpoint> {
        let (target, after) =
            (KeyId::from_uuid(self.target), CredentialId::from_uuid(self.last_id));
        Ok(Checkpoint::new(target, after, number(self.resealed)?, number(self.broken)?))
    }
}

impl CanaryRow {
    /// `None` for a canary without bytes, which proves nothing.
    pub(super) fn of(canary: &StoredKey) -> Result<Option<Self>> {
        let Some(wrapped) = &canary.wrapped else { return Ok(None) };
        Ok(Some(Self {
            kek_id: wrapped.kek().as_str().to_owned(),
            key_id: *canary.id.as_uuid(),
            wrapped: wrapped.as_bytes().to_vec(),
            kcv: canary.check.as_bytes().to_vec(),
            created_at: micros(canary.created_at)?,
        }))
    }

    pub(super) fn into_key(self) -> Result<StoredKey> {
        let wrapped = WrappedKey::new(KekId::parse(&self.kek_id)?, self.wrapped)?;
        let (id, check) = (KeyId::from_uuid(self.key_id), check_value(&self.kcv)?);
        Ok(StoredKey::new(id, 0, KeyState::Active, Some(wrapped), check, self.created_at))
    }
}

/// The time as a store holds it.
pub(super) fn micros(at: OffsetDateTime) -> Result<OffsetDateTime> {
    at.replace_microsecond(at.microsecond())
        .map_err(|_| Error::internal("a time has no microsecond"))
}

fn signed(number: u64) -> Result<i64> {
    i64::try_from(number).map_err(|_| Error::invalid("a count is too large to be stored"))
}

pub(super) fn number(stored: i64) -> Result<u64> {
    u64::try_from(stored).map_err(|_| misshapen())
}
