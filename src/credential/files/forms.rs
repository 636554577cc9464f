//! What is written into the files.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::credential::directory::{Record, Shelf, Turn};
use crate::credential::key_form::{KeyForm, misshapen};
use crate::credential::keys::{KeyEpoch, KeySet, StoredKey};
use crate::credential::record::{Checkpoint, CredentialId, CredentialInfo, StoredCredential};
use crate::crypto::KeyId;
use crate::error::Result;

/// What stands beside a sealed secret.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Info {
    provider: String,
    label: Option<String>,
    key: Option<Uuid>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    updated_at: OffsetDateTime,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    epoch: u64,
    #[serde(with = "time::serde::rfc3339::option")]
    shredded_at: Option<OffsetDateTime>,
    keys: Vec<KeyForm>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reached {
    target: Uuid,
    after: Uuid,
    resealed: u64,
    broken: u64,
}

pub(super) fn record(credential: &StoredCredential) -> Result<Record> {
    let CredentialInfo { provider, label, version, created_at, updated_at, .. } = &credential.info;
    let info = Info {
        provider: provider.clone(),
        label: label.clone(),
        key: credential.key.map(|key| *key.as_uuid()),
        created_at: *created_at,
        updated_at: *updated_at,
    };
    let sealed = credential.sealed.clone();
    Ok(Record { version: *version, metadata: json(&info)?, sealed })
}

pub(super) fn credential(id: CredentialId, record: Record) -> Result<StoredCredential> {
    let Record { version, metadata, sealed } = record;
    let Info { provider, label, key, created_at, updated_at } = parse(&metadata)?;
    let info = CredentialInfo::new(id, provider, label, version, created_at, updated_at);
    Ok(StoredCredential::new(info, key.map(KeyId::from_uuid), sealed))
}

/// The keys of an owner: none at epoch 0 where nothing is stored.
pub(super) fn keys(shelf: &Shelf) -> Result<KeySet> {
    let Some(body) = shelf.sheet(KEYS)? else { return Ok(KeySet::default()) };
    let Keys { epoch, shredded_at, keys } = parse(&body)?;
    Ok(KeySet::new(KeyEpoch::new(epoch), shredded_at, stored(keys)?))
}

pub(super) fn set_keys(turn: &Turn, set: &KeySet) -> Result<()> {
    let keys = set.keys.iter().map(KeyForm::of).collect();
    let keys = Keys { epoch: set.epoch.get(), shredded_at: set.shredded_at, keys };
    turn.set_sheet(KEYS, &json(&keys)?)
}

pub(super) fn canaries(shelf: &Shelf) -> Result<Vec<StoredKey>> {
    shelf.sheet(CANARIES)?.map_or(Ok(Vec::new()), |body| stored(parse(&body)?))
}

pub(super) fn set_canaries(turn: &Turn, canaries: &[StoredKey]) -> Result<()> {
    turn.set_sheet(CANARIES, &json(&canaries.iter().map(KeyForm::of).collect::<Vec<_>>())?)
}

pub(super) fn checkpoint(shelf: &Shelf) -> Result<Option<Checkpoint>> {
    let Some(body) = shelf.sheet(CHECKPOINT)? else { return Ok(None) };
    let Reached { target, after, resealed, broken } = parse(&body)?;
    let (target, after) = (KeyId::from_uuid(target), CredentialId::from_uuid(after));
    Ok(Some(Checkpoint::new(target, after, resealed, broken)))
}

pub(super) fn changed_checkpoint(
    turn: &Turn,
    reached: Option<&Checkpoint>,
) -> Result<(String, Option<Vec<u8>>)> {
    let reached = reached.map(|reached| Reached {
        target: *reached.target.as_uuid(),
        after: *reached.after.as_uuid(),
        resealed: reached.resealed,
        broken: reached.broken,
    });
    let body = reached.map(|reached| json(&reached)).transpose()?;
    turn.changed_sheet(CHECKPOINT, body.as_deref())
}

fn stored(keys: Vec<KeyForm>) -> Result<Vec<StoredKey>> {
    keys.into_iter().map(KeyForm::into_stored).collect()
}

fn json(form: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(form).map_err(|_| misshapen())
}

fn parse<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|_| misshapen())
}

const KEYS: &str = "keys";
const CANARIES: &str = "canaries";
const CHECKPOINT: &str = "reseal";
