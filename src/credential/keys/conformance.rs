use time::OffsetDateTime;

use super::{KeyAccess, KeyEpoch, KeySet, KeyState, KeyStore, StoredKey};
use crate::ambient::CrossTenantAuthority;
use crate::crypto::{DataKey, KekId, KeyId, WrappedKey};
use crate::error::{Error, Result};
use crate::scope::TenantScope;

/// Tries a store against the contract of [`KeyStore`], with the scopes of two organizations that
/// have no keys in it. They are shredded afterwards.
///
/// It cannot try what needs a second process: that a change is atomic, durable, and kept waiting by
/// whoever writes sealed values.
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
/// use tenantry::ambient::cross_tenant_authority;
/// use tenantry::credential::{MemoryKeyStore, conformance};
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
/// let authority = cross_tenant_authority("conformance of a key store", Principal::service("test"));
/// conformance::key_store(&MemoryKeyStore::new(), &scope, &other, &authority).await
/// # }
/// ```
pub async fn key_store(
    store: &dyn KeyStore,
    scope: &TenantScope,
    other: &TenantScope,
    authority: &CrossTenantAuthority,
) -> Result<()> {
    require(scope.organization() != other.organization(), "two organizations are needed")?;
    let trial = Trial {
        store,
        home: KeyAccess::Organization(scope),
        away: KeyAccess::Organization(other),
        keks: [KekId::new("conformance", "1")?, KekId::new("conformance", "2")?],
        authority,
    };
    let theirs = trial.first_keys().await?;
    let organizations = store.organizations(authority).await?;
    require(
        [scope, other].iter().all(|scope| organizations.contains(scope.organization())),
        "every organization that has keys is listed",
    )?;
    let (first, second) = trial.rotation().await?;
    trial.rewrapping(second, theirs).await?;
    trial.destruction(first, second, theirs).await?;
    trial.shredding().await?;
    trial.end_of_keks().await
}

struct Trial<'a> {
    store: &'a dyn KeyStore,
    home: KeyAccess<'a>,
    away: KeyAccess<'a>,
    keks: [KekId; 2],
    authority: &'a CrossTenantAuthority,
}

impl Trial<'_> {
    async fn first_keys(&self) -> Result<KeyId> {
        let [kek, _] = &self.keks;
        let start = KeyEpoch::default();
        for access in [self.home, self.away] {
            let set = self.store.load(access).await?;
            let empty = set.keys.is_empty() && set.epoch == start && set.shredded_at.is_none();
            require(empty, "of whom nothing is stored has an empty set at epoch 0")?;
            let early = self.store.activate(access, start, &key(kek, 1)?).await?;
            require(!early, "no key is stored under a KEK without a canary")?;
        }
        let (canary, late) = (key(kek, 0)?, key(kek, 0)?);
        self.store.add_canary(&canary).await?;
        self.store.add_canary(&late).await?;
        let canaries = self.store.canaries().await?;
        let canaries: Vec<_> = canaries.iter().filter(|key| key.kek() == Some(kek)).collect();
        require(
            matches!(canaries.as_slice(), [stored] if same(stored, &canary)),
            "the first canary of a KEK stands",
        )?;
        let mut last = canary.id;
        for access in [self.home, self.away] {
            let key = key(kek, 1)?;
            let late = self.store.activate(access, start.next(), &key).await?;
            require(!late, "a key is activated at the epoch that was seen alone")?;
            let activated = self.store.activate(access, start, &key).await?;
            require(activated, "the first key is activated")?;
            let set = self.store.load(access).await?;
            require(set.epoch > start, "activating a key raises the epoch")?;
            require(
                matches!(set.keys.as_slice(), [stored] if same(stored, &key))
                    && set.active().is_some(),
                "an owner has its own keys alone, as they were written",
            )?;
            last = key.id;
        }
        require(self.in_use(0).await? == 2, "the keys under a KEK are counted over all owners")?;
        Ok(last)
    }

    async fn rotation(&self) -> Result<(KeyId, KeyId)> {
        let [kek, _] = &self.keks;
        let before = self.store.load(self.home).await?;
        let first = before.active().map(|key| key.id).ok_or_else(|| broken("a key is active"))?;
        let second = key(kek, 2)?;
        let activated = self.store.activate(self.home, before.epoch, &second).await?;
        require(activated, "a second key is activated")?;
        let late = self.store.activate(self.home, before.epoch, &key(kek, 3)?).await?;
        require(!late, "whoever saw an older epoch activates nothing")?;
        let set = self.store.load(self.home).await?;
        require(set.epoch > before.epoch, "every activation raises the epoch")?;
        let states: Vec<_> = set.keys.iter().map(|key| (key.id, key.state)).collect();
        require(
            states == [(first, KeyState::DecryptOnly), (second.id, KeyState::Active)],
            "the key before is decrypt-only, and keys come in the order of their versions",
        )?;
        Ok((first, second.id))
    }

    async fn rewrapping(&self, second: KeyId, theirs: KeyId) -> Result<()> {
        let [_, next] = &self.keks;
        let before = self.store.load(self.home).await?;
        let wrapped = wrapped(&before, second)?;
        let to = WrappedKey::new(next.clone(), b"wrapped anew".to_vec())?;
        let early = self.store.rewrap(self.home, second, &wrapped, &to).await?;
        require(!early, "no key is re-wrapped under a KEK without a canary")?;
        self.store.add_canary(&key(next, 0)?).await?;
        let foreign = wrapped_of(self.store, self.away, theirs).await?;
        require(
            !self.store.rewrap(self.home, theirs, &foreign, &to).await?,
            "a foreign key is answered like one that does not exist",
        )?;
        require(
            self.store.rewrap(self.home, second, &wrapped, &to).await?
                && !self.store.rewrap(self.home, second, &wrapped, &to).await?,
            "a key is re-wrapped if it stands as it was read",
        )?;
        let set = self.store.load(self.home).await?;
        require(set.epoch == before.epoch, "re-wrapping leaves the epoch")?;
        let stored = wrapped_of(self.store, self.home, second).await?;
        require(stored == to, "a re-wrapped key has its new bytes")?;
        require(
            self.in_use(0).await? == 2 && self.in_use(1).await? == 1,
            "a re-wrapped key is counted under its new KEK",
        )
    }

    async fn destruction(&self, first: KeyId, second: KeyId, theirs: KeyId) -> Result<()> {
        let (now, before) = (OffsetDateTime::UNIX_EPOCH, self.store.load(self.home).await?);
        for (seen, key, what) in [
            (before.epoch, second, "the active key is not destroyed"),
            (before.epoch, theirs, "a foreign key is answered like one that does not exist"),
            (KeyEpoch::default(), first, "a key is destroyed at the epoch that was seen alone"),
        ] {
            require(!self.store.destroy(self.home, seen, key, now).await?, what)?;
        }
        let destroyed = self.store.destroy(self.home, before.epoch, first, now).await?;
        require(destroyed, "a decrypt-only key is destroyed")?;
        let set = self.store.load(self.home).await?;
        require(set.epoch > before.epoch, "destroying a key raises the epoch")?;
        let gone = set.keys.iter().find(|key| key.id == first);
        require(
            gone.is_some_and(|key| key.state == KeyState::Destroyed && key.wrapped.is_none()),
            "a destroyed key keeps its row and loses its bytes",
        )?;
        require(self.in_use(0).await? == 1, "a destroyed key is counted under no KEK")
    }

    async fn shredding(&self) -> Result<()> {
        let (now, before) = (OffsetDateTime::UNIX_EPOCH, self.store.load(self.home).await?.epoch);
        self.store.shred(self.home, now).await?;
        let set = self.store.load(self.home).await?;
        require(set.epoch > before && set.shredded_at.is_some(), "shredding raises the epoch")?;
        require(set.keys.iter().all(|key| key.wrapped.is_none()), "no key keeps its bytes")?;
        let late = self.store.activate(self.home, set.epoch, &key(&self.keks[0], 9)?).await?;
        require(!late, "a shredded set takes no key")?;
        self.store.shred(self.home, now).await?;
        let again = self.store.load(self.home).await?.epoch;
        require(again == set.epoch, "a second shredding changes nothing")?;
        let theirs = self.store.load(self.away).await?;
        require(
            theirs.shredded_at.is_none() && theirs.active().is_some(),
            "another owner's keys are left alone",
        )
    }

    async fn end_of_keks(&self) -> Result<()> {
        let [used, unused] = &self.keks;
        require(
            !self.store.remove_canary(used, self.authority).await?,
            "the canary of a KEK that is in use stays",
        )?;
        let canaries = self.store.canaries().await?;
        let stands = canaries.iter().any(|canary| canary.kek() == Some(used));
        require(stands, "the canary of a KEK that is in use stays")?;
        require(
            self.store.remove_canary(unused, self.authority).await?,
            "the canary of a KEK that nobody uses is removed",
        )?;
        self.store.shred(self.away, OffsetDateTime::UNIX_EPOCH).await?;
        require(self.in_use(0).await? == 0, "a shredded owner's keys are counted under no KEK")?;
        require(
            self.store.remove_canary(used, self.authority).await?,
            "the canary of a KEK that nobody uses is removed",
        )?;
        let canaries = self.store.canaries().await?;
        let left =
            canaries.iter().any(|canary| self.keks.iter().any(|kek| canary.kek() == Some(kek)));
        require(!left, "a removed canary is gone")
    }

    async fn in_use(&self, kek: usize) -> Result<u64> {
        let kek = self.keks.get(kek).ok_or_else(|| broken("there is a KEK"))?;
        self.store.in_use(kek, self.authority).await
    }
}

fn key(kek: &KekId, version: u32) -> Result<StoredKey> {
    let (id, check) = (KeyId::random()?, DataKey::random()?.check_value()?);
    let wrapped = WrappedKey::new(kek.clone(), id.as_uuid().as_bytes().to_vec())?;
    let at = OffsetDateTime::UNIX_EPOCH;
    Ok(StoredKey::new(id, version, KeyState::Active, Some(wrapped), check, at))
}

fn same(stored: &StoredKey, written: &StoredKey) -> bool {
    stored.id == written.id
        && stored.version == written.version
        && stored.wrapped == written.wrapped
        && stored.check.ct_eq(&written.check)
        && stored.created_at == written.created_at
        && stored.destroyed_at.is_none()
}

async fn wrapped_of(store: &dyn KeyStore, access: KeyAccess<'_>, key: KeyId) -> Result<WrappedKey> {
    wrapped(&store.load(access).await?, key)
}

fn wrapped(set: &KeySet, key: KeyId) -> Result<WrappedKey> {
    let stored = set.keys.iter().find(|stored| stored.id == key);
    stored.and_then(|stored| stored.wrapped.clone()).ok_or_else(|| broken("a living key has bytes"))
}

fn require(holds: bool, what: &'static str) -> Result<()> {
    if holds { Ok(()) } else { Err(broken(what)) }
}

fn broken(what: &'static str) -> Error {
    Error::misuse(what)
}
