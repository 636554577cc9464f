//! What every [`CredentialStore`] and [`KeyStore`](super::KeyStore) must do, as functions that try
//! it: for those who write one.
//!
//! These functions are not part of what semantic versioning promises: they become stricter.

use time::OffsetDateTime;

pub use super::keys::conformance::key_store;
use super::keys::{KeyAccess, KeyEpoch, KeyState, StoredKey};
use super::record::{
    Checkpoint, CredentialId, CredentialInfo, Resealed, StoredCredential, Written,
};
use super::store::CredentialStore;
use crate::crypto::{DataKey, KekId, KeyId, WrappedKey};
use crate::error::{Error, Result};
use crate::scope::TenantScope;

/// Tries a store against the contract of [`CredentialStore`], with the scopes of two organizations
/// that have nothing in it. What it leaves behind is of no use: the organizations are shredded, and
/// nobody has the KEK of a canary that it adds.
///
/// [`key_store`] tries the same store as a [`KeyStore`](super::KeyStore): with two organizations
/// more.
///
/// # Errors
///
/// `Misuse` with the sentence of the contract that is broken; what the store itself returns where it
/// ought to have done its work.
///
/// # Examples
///
/// ```
/// use tenantry::OrganizationId;
/// use tenantry::credential::{MemoryCredentialStore, conformance};
/// use tenantry::scope::{MemoryDirectory, Principal, Role, ScopeIssuer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tenantry::Result<()> {
/// let (one, two, ann) = (OrganizationId::new(), OrganizationId::new(), Principal::user("ann"));
/// let directory = MemoryDirectory::new();
/// directory.add_member(&one, &ann, Role::Owner);
/// directory.add_member(&two, &ann, Role::Owner);
/// let issuer = ScopeIssuer::new(directory);
/// let (scope, other) = (issuer.enter(&ann, one).await?, issuer.enter(&ann, two).await?);
/// conformance::credential_store(&MemoryCredentialStore::new(), &scope, &other).await
/// # }
/// ```
pub async fn credential_store(
    store: &dyn CredentialStore,
    scope: &TenantScope,
    other: &TenantScope,
) -> Result<()> {
    require(scope.organization() != other.organization(), "two organizations are needed")?;
    nothing_is_there(store, scope).await?;
    let (first, theirs) = keys(store, scope, other).await?;
    let epoch = credentials(store, scope, other, first, theirs).await?;
    resealing(store, scope, other, first, epoch).await?;
    shredding(store, scope, other).await
}

async fn nothing_is_there(store: &dyn CredentialStore, scope: &TenantScope) -> Result<()> {
    let nothing = store.get(scope, CredentialId::from_uuid(uuid(1))).await?.value.is_none()
        && store.page(scope, None, 10).await?.value.is_empty()
        && store.usage(scope).await?.value.is_empty()
        && store.checkpoint(scope).await?.is_none();
    require(nothing, "what was never stored is not there")?;
    let credential = credential(1, 1, KeyId::random()?, b"x");
    let written = store.insert(scope, KeyEpoch::default(), &credential).await;
    require(
        !matches!(written, Ok(Written::Done)),
        "nothing is written for an organization without keys",
    )
}

async fn keys(
    store: &dyn CredentialStore,
    scope: &TenantScope,
    other: &TenantScope,
) -> Result<(KeyId, KeyId)> {
    store.add_canary(&key(0)?).await?;
    let mut made = Vec::new();
    for scope in [scope, other] {
        let key = key(1)?;
        let access = KeyAccess::Organization(scope);
        let activated = store.activate(access, KeyEpoch::default(), &key).await?;
        require(activated, "the first key is activated")?;
        made.push(key.id);
    }
    match made.as_slice() {
        [first, theirs] => Ok((*first, *theirs)),
        _ => Err(broken("both organizations have a key")),
    }
}

async fn credentials(
    store: &dyn CredentialStore,
    scope: &TenantScope,
    other: &TenantScope,
    key: KeyId,
    theirs: KeyId,
) -> Result<KeyEpoch> {
    let epoch = store.load(KeyAccess::Organization(scope)).await?.epoch;
    let long = vec![0xFA; 1 << 20];
    for (number, sealed) in [(2, &b"two"[..]), (1, &[0, 0xFF, 0x00, b'\'']), (3, &long)] {
        let credential = credential(number, 1, key, sealed);
        let early = store.insert(scope, KeyEpoch::default(), &credential).await?;
        require(early == Written::KeysChanged, "nothing is written at another epoch")?;
        let written = store.insert(scope, epoch, &credential).await?;
        require(written == Written::Done, "a credential is stored")?;
        let again = store.insert(scope, epoch, &credential).await?;
        require(again == Written::Moved, "an id that is used is not used again")?;
        let read = store.get(scope, credential.info.id).await?;
        require(read.value.as_ref() == Some(&credential), "it is read as it was written")?;
        require(read.epoch == epoch, "what is read comes with the epoch")?;
        let foreign = store.get(other, credential.info.id).await?.value;
        require(foreign.is_none(), "a foreign credential does not exist")?;
    }
    let same = credential(1, 1, theirs, b"theirs");
    let their_epoch = store.load(KeyAccess::Organization(other)).await?.epoch;
    let written = store.insert(other, their_epoch, &same).await?;
    require(written == Written::Done, "another organization's ids are no conflict")?;

    let next = credential(1, 2, key, b"next");
    let outcome = store.replace(scope, epoch, 5, &next).await?;
    require(outcome == Written::Moved, "another version than was seen is not replaced")?;
    let outcome = store.replace(scope, KeyEpoch::default(), 1, &next).await?;
    require(outcome == Written::KeysChanged, "nothing is replaced at another epoch")?;
    let outcome = store.replace(scope, epoch, 1, &next).await?;
    require(outcome == Written::Done, "the version that was seen is replaced")?;
    let outcome = store.replace(scope, epoch, 1, &credential(1, 2, key, b"late")).await?;
    require(outcome == Written::Moved, "of two replacements one counts")?;
    let outcome = store.replace(other, their_epoch, 1, &credential(2, 2, theirs, b"x")).await?;
    require(outcome == Written::Moved, "a foreign credential is not replaced")?;
    let read = store.get(scope, next.info.id).await?.value;
    require(read.as_ref() == Some(&next), "the replacement is read as it was written")?;
    let read = store.get(other, same.info.id).await?.value;
    require(read.as_ref() == Some(&same), "another organization's credential is left alone")?;

    let ids = |page: &[(CredentialId, Result<StoredCredential>)]| {
        page.iter().map(|(id, _)| id.as_uuid().as_u128()).collect::<Vec<_>>()
    };
    let page = store.page(scope, None, 2).await?.value;
    require(ids(&page) == [1, 2], "a page has the first credentials in the order of their ids")?;
    let page = store.page(scope, page.last().map(|(id, _)| *id), 2).await?.value;
    require(ids(&page) == [3], "the next page has those after it")?;
    let removed = store.remove(other, CredentialId::from_uuid(uuid(2))).await?;
    require(!removed, "a foreign credential is not removed")?;
    let third = CredentialId::from_uuid(uuid(3));
    let removed = store.remove(scope, third).await? && !store.remove(scope, third).await?;
    require(removed, "a credential is removed once")?;
    Ok(epoch)
}

async fn resealing(
    store: &dyn CredentialStore,
    scope: &TenantScope,
    other: &TenantScope,
    first: KeyId,
    epoch: KeyEpoch,
) -> Result<()> {
    let access = KeyAccess::Organization(scope);
    let second = key(2)?;
    require(store.activate(access, epoch, &second).await?, "a second key is activated")?;
    let epoch = store.load(access).await?.epoch;

    let used = |uses: &[super::KeyUse], key| -> u64 {
        uses.iter().filter(|each| each.key == Some(key)).map(|each| each.count).sum()
    };
    let usage = store.usage(scope).await?;
    require(usage.epoch == epoch, "a count comes with the epoch")?;
    require(
        used(&usage.value, first) == 2 && used(&usage.value, second.id) == 0,
        "values are counted by their keys, those of the organization alone",
    )?;

    let value = |number, from: &[u8]| Resealed {
        id: CredentialId::from_uuid(uuid(number)),
        from: from.to_vec(),
        to: b"anew".to_vec(),
        key: second.id,
    };
    let values = [value(1, b"next"), value(2, b"not what is stored")];
    let at = CredentialId::from_uuid(uuid(2));
    let reached = Some(Checkpoint::new(second.id, at, 1, 0));
    let early = store.reseal(scope, KeyEpoch::default(), None, &values, reached).await?;
    require(early == Written::KeysChanged, "nothing is sealed anew at another epoch")?;
    let late = store.reseal(scope, epoch, reached, &values, reached).await?;
    require(late == Written::Moved, "a chunk goes on from the checkpoint that is stored")?;
    require(
        store.checkpoint(scope).await?.is_none()
            && used(&store.usage(scope).await?.value, first) == 2,
        "a chunk that is refused changes nothing",
    )?;
    let done = store.reseal(scope, epoch, None, &values, reached).await?;
    require(done == Written::Done, "a chunk is written")?;
    require(store.checkpoint(scope).await? == reached, "its checkpoint is stored with it")?;
    require(store.checkpoint(other).await?.is_none(), "a checkpoint is its organization's alone")?;
    let usage = store.usage(scope).await?.value;
    require(
        used(&usage, first) == 1 && used(&usage, second.id) == 1,
        "a value that changed meanwhile is left as it is",
    )?;
    let values = [value(2, b"two")];
    let done = store.reseal(scope, epoch, reached, &values, None).await?;
    require(done == Written::Done, "the last chunk is written")?;
    require(store.checkpoint(scope).await?.is_none(), "what is finished has no checkpoint")?;
    let read = store.get(scope, at).await?.value;
    let version = read.as_ref().map(|read| (read.info.version, read.sealed.as_slice()));
    require(version == Some((1, &b"anew"[..])), "sealing anew is no new version")
}

async fn shredding(
    store: &dyn CredentialStore,
    scope: &TenantScope,
    other: &TenantScope,
) -> Result<()> {
    let (access, now) = (KeyAccess::Organization(scope), OffsetDateTime::UNIX_EPOCH);
    store.shred(access, now).await?;
    let epoch = store.load(access).await?.epoch;
    let credential = credential(9, 1, KeyId::random()?, b"x");
    let written = store.insert(scope, epoch, &credential).await?;
    require(written == Written::KeysChanged, "nothing is written for a shredded organization")?;
    let theirs = store.get(other, CredentialId::from_uuid(uuid(1))).await?.value;
    require(theirs.is_some(), "another organization's credentials are left alone")?;
    store.shred(KeyAccess::Organization(other), now).await
}

fn key(version: u32) -> Result<StoredKey> {
    let (wrapped, check) = (vec![0x5A; 48], DataKey::random()?.check_value()?);
    let wrapped = WrappedKey::new(KekId::new("conformance", "credentials")?, wrapped)?;
    let (id, at) = (KeyId::random()?, OffsetDateTime::UNIX_EPOCH);
    Ok(StoredKey::new(id, version, KeyState::Active, Some(wrapped), check, at))
}

fn credential(number: u128, version: u64, key: KeyId, sealed: &[u8]) -> StoredCredential {
    let (id, at) = (CredentialId::from_uuid(uuid(number)), OffsetDateTime::UNIX_EPOCH);
    let label = (number != 2).then(|| format!("label {version}"));
    let info = CredentialInfo::new(id, "example".to_owned(), label, version, at, at);
    StoredCredential::new(info, Some(key), sealed.to_vec())
}

const fn uuid(number: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(number)
}

fn require(holds: bool, sentence: &'static str) -> Result<()> {
    if holds { Ok(()) } else { Err(broken(sentence)) }
}

#[cold]
fn broken(sentence: &'static str) -> Error {
    Error::misuse(format!("the store breaks its contract: {sentence}"))
}
