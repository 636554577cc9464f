//! The platform's own keys, in one row, and which KEKs they may be wrapped under.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::SqlCredentialStore;
use super::tables::{CanaryRow, PlatformRow, SLOT, number, platform_keys};
use crate::ambient::{CrossTenantAuthority, read_global};
use crate::credential::key_form::{KeyForm, misshapen};
use crate::credential::{KeyEpoch, KeySet};
use crate::crypto::{KekId, KeyId};
use crate::error::{Error, ErrorKind, Result};

/// The platform's keys, as they stood at one moment.
#[derive(Default)]
pub(super) struct Platform {
    pub(super) set: KeySet,
    closed: Vec<Closing>,
}

/// A canary that somebody is about to remove or has removed: the row of the platform cannot refer to
/// all KEKs of its keys, so it says under which none may be wrapped any more.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Closing {
    canary: Uuid,
    /// Whose closing it is: of two at a time, one that is given up leaves the other.
    ticket: Uuid,
}

#[derive(Serialize, Deserialize)]
struct Set {
    #[serde(with = "time::serde::rfc3339::option")]
    shredded_at: Option<OffsetDateTime>,
    keys: Vec<KeyForm>,
    closed: Vec<Closing>,
}

impl SqlCredentialStore {
    pub(super) async fn platform(&self, authority: &CrossTenantAuthority) -> Result<Platform> {
        match self.platform_row(authority).await? {
            None => Ok(Platform::default()),
            Some(row) => decode(&row),
        }
    }

    /// Changes the platform's keys if they are as they were read: in one statement.
    pub(super) async fn change_platform(
        &self,
        authority: &CrossTenantAuthority,
        change: impl FnOnce(&mut Platform) -> bool,
    ) -> Result<bool> {
        let row = self.platform_row(authority).await?;
        let mut platform = row.as_ref().map(decode).transpose()?.unwrap_or_default();
        if !change(&mut platform) {
            return Ok(false);
        }
        let (epoch, keys) = (platform.set.epoch.get().cast_signed(), encode(platform)?);
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

    /// Changes the platform's keys by one that is wrapped under a KEK, unless that is closed.
    pub(super) async fn wrap_platform(
        &self,
        kek: &KekId,
        canary: Uuid,
        authority: &CrossTenantAuthority,
        change: impl FnOnce(&mut Platform) -> bool,
    ) -> Result<bool> {
        let mut closed = false;
        let wrap = |platform: &mut Platform| {
            closed = !platform.is_open(canary);
            !closed && change(platform)
        };
        let changed = self.change_platform(authority, wrap).await?;
        if closed {
            // Whoever closed it may have ended before the canary went, and nobody else can tell.
            return Err(Error::unavailable(format!(
                "the key-encryption key `{kek}` is being retired, and takes no key of the platform: \
                 if that was broken off, complete it by `retire_kek` under another active one"
            )));
        }
        Ok(changed)
    }

    /// The canary of a KEK, by name.
    pub(super) async fn canary(
        &self,
        kek: &KekId,
        authority: &CrossTenantAuthority,
    ) -> Result<Option<Uuid>> {
        let canaries = read_global::<CanaryRow>(&self.db, authority).await?;
        Ok(canaries.into_iter().find(|row| row.kek_id == kek.as_str()).map(|row| row.key_id))
    }

    /// Keeps the platform from wrapping a key under the KEK of a canary: `None` where it has one.
    ///
    /// INVARIANT: a canary is removed only while a closing of it stands in the platform's row, and a
    /// key is added to the row only in a step that sees none: so no key of the platform is wrapped
    /// under a KEK without a canary. The closing of a canary that was removed stays.
    pub(super) async fn close(
        &self,
        kek: &KekId,
        canary: Uuid,
        authority: &CrossTenantAuthority,
    ) -> Result<Option<Closing>> {
        let closing = Closing { canary, ticket: *KeyId::random()?.as_uuid() };
        for _ in 0..ATTEMPTS {
            let close = |platform: &mut Platform| {
                platform.closed.push(closing);
                platform.in_use(kek) == 0
            };
            if self.change_platform(authority, close).await? {
                return Ok(Some(closing));
            }
            if self.platform(authority).await?.in_use(kek) > 0 {
                return Ok(None);
            }
        }
        Err(too_fast())
    }

    /// Gives up a closing whose canary was not removed.
    pub(super) async fn reopen(
        &self,
        closing: Closing,
        authority: &CrossTenantAuthority,
    ) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let reopen = |platform: &mut Platform| {
                platform.closed.retain(|other| *other != closing);
                true
            };
            if self.change_platform(authority, reopen).await? {
                return Ok(());
            }
        }
        Err(too_fast())
    }

    async fn platform_row(&self, authority: &CrossTenantAuthority) -> Result<Option<PlatformRow>> {
        Ok(read_global::<PlatformRow>(&self.db, authority).await?.pop())
    }
}

impl Platform {
    /// How many keys are wrapped under a KEK.
    pub(super) fn in_use(&self, kek: &KekId) -> u64 {
        self.set.keys.iter().map(|key| u64::from(key.kek() == Some(kek))).sum()
    }

    /// Whether nobody is about to remove the canary, or has.
    pub(super) fn is_open(&self, canary: Uuid) -> bool {
        self.closed.iter().all(|closing| closing.canary != canary)
    }
}

fn decode(row: &PlatformRow) -> Result<Platform> {
    let set: Set = serde_json::from_slice(&row.keys).map_err(|_| misshapen())?;
    let keys = set.keys.into_iter().map(KeyForm::into_stored).collect::<Result<Vec<_>>>()?;
    let epoch = KeyEpoch::new(number(row.epoch)?);
    Ok(Platform { set: KeySet::new(epoch, set.shredded_at, keys), closed: set.closed })
}

fn encode(Platform { set, closed }: Platform) -> Result<Vec<u8>> {
    let keys = set.keys.iter().map(KeyForm::of).collect();
    let set = Set { shredded_at: set.shredded_at, keys, closed };
    serde_json::to_vec(&set).map_err(|_| misshapen())
}

pub(super) fn too_fast() -> Error {
    Error::unavailable("the keys change faster than they can be changed")
}

pub(super) const ATTEMPTS: usize = 8;
