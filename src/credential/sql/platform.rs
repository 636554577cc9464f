//! The platform's own keys, in one row.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::SqlCredentialStore;
use super::tables::{PlatformRow, SLOT, check_value, misshapen, number, platform_keys};
use crate::ambient::{CrossTenantAuthority, read_global};
use crate::credential::{KeyEpoch, KeySet, KeyState, StoredKey};
use crate::crypto::{KekId, KeyId, WrappedKey};
use crate::error::{ErrorKind, Result};

#[derive(Serialize, Deserialize)]
struct Set {
    #[serde(with = "time::serde::rfc3339::option")]
    shredded_at: Option<OffsetDateTime>,
    keys: Vec<Key>,
}

#[derive(Serialize, Deserialize)]
struct Key {
    id: Uuid,
    version: u32,
    active: bool,
    wrapped: Option<(String, String)>,
    kcv: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    destroyed_at: Option<OffsetDateTime>,
}

impl SqlCredentialStore {
    pub(super) async fn platform(&self, authority: &CrossTenantAuthority) -> Result<KeySet> {
        match self.platform_row(authority).await? {
            None => Ok(KeySet::default()),
            Some(row) => decode(&row),
        }
    }

    /// Changes the platform's keys if they are as they were read: in one statement.
    pub(super) async fn change_platform(
        &self,
        authority: &CrossTenantAuthority,
        change: impl FnOnce(&mut KeySet) -> bool,
    ) -> Result<bool> {
        let row = self.platform_row(authority).await?;
        let mut set = row.as_ref().map(decode).transpose()?.unwrap_or_default();
        if !change(&mut set) {
            return Ok(false);
        }
        let (epoch, keys) = (set.epoch.get().cast_signed(), encode(&set)?);
        let Some(seen) = row else {
            let row = PlatformRow { slot: SLOT, epoch, keys };
            return match PlatformRow::insert_global(authority, row).execute(&self.db).await {
                Err(error) if error.kind() == ErrorKind::Conflict => Ok(false),
                inserted => Ok(inserted? == 1),
            };
        };
        let unchanged = platform_keys::epoch.eq(seen.epoch).and(platform_keys::keys.eq(seen.keys));
        let changed = PlatformRow::update_global(authority)
            .set(platform_keys::epoch, epoch)
            .set(platform_keys::keys, keys)
            .filter(unchanged)
            .execute(&self.db)
            .await?;
        Ok(changed == 1)
    }

    async fn platform_row(&self, authority: &CrossTenantAuthority) -> Result<Option<PlatformRow>> {
        Ok(read_global::<PlatformRow>(&self.db, authority).await?.pop())
    }
}

fn decode(row: &PlatformRow) -> Result<KeySet> {
    let set: Set = serde_json::from_slice(&row.keys).map_err(|_| misshapen())?;
    let keys = set.keys.into_iter().map(Key::into_stored).collect::<Result<Vec<_>>>()?;
    Ok(KeySet::new(KeyEpoch::new(number(row.epoch)?), set.shredded_at, keys))
}

fn encode(set: &KeySet) -> Result<Vec<u8>> {
    let keys = set.keys.iter().map(Key::of).collect();
    let set = Set { shredded_at: set.shredded_at, keys };
    serde_json::to_vec(&set).map_err(|_| misshapen())
}

impl Key {
    fn of(key: &StoredKey) -> Self {
        let wrapped = key.wrapped.as_ref();
        Self {
            id: *key.id.as_uuid(),
            version: key.version,
            active: key.state == KeyState::Active,
            wrapped: wrapped.map(|wrapped| {
                (wrapped.kek().as_str().to_owned(), STANDARD.encode(wrapped.as_bytes()))
            }),
            kcv: hex::encode(key.check.as_bytes()),
            created_at: key.created_at,
            destroyed_at: key.destroyed_at,
        }
    }

    fn into_stored(self) -> Result<StoredKey> {
        let unwrap = |(kek, bytes): (String, String)| {
            let bytes = STANDARD.decode(bytes).map_err(|_| misshapen())?;
            WrappedKey::new(KekId::parse(&kek)?, bytes)
        };
        let wrapped = self.wrapped.map(unwrap).transpose()?;
        let state = if self.active { KeyState::Active } else { KeyState::DecryptOnly };
        let check = check_value(&hex::decode(&self.kcv).map_err(|_| misshapen())?)?;
        let id = KeyId::from_uuid(self.id);
        let key = StoredKey::new(id, self.version, state, wrapped, check, self.created_at);
        Ok(match self.destroyed_at {
            Some(at) => key.destroyed(at),
            None => key,
        })
    }
}
