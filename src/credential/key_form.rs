//! A wrapped data key as JSON, for stores that keep several of them in one value.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::keys::{KeyState, StoredKey};
use crate::crypto::{KekId, KeyCheckValue, KeyId, WrappedKey};
use crate::error::{Error, Result};

#[derive(Serialize, Deserialize)]
pub(super) struct KeyForm {
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

impl KeyForm {
    pub(super) fn of(key: &StoredKey) -> Self {
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

    pub(super) fn into_stored(self) -> Result<StoredKey> {
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

pub(super) fn check_value(bytes: &[u8]) -> Result<KeyCheckValue> {
    bytes.try_into().map(KeyCheckValue::from_bytes).map_err(|_| misshapen())
}

pub(super) fn misshapen() -> Error {
    Error::corrupt("a stored credential or key is misshapen")
}
