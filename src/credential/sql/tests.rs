//! The platform's keys and the canaries of their KEKs, in both stores.

use super::SqlCredentialStore;
use super::platform::Platform;
use crate::ambient::{CrossTenantAuthority, cross_tenant_authority};
use crate::credential::{
    KeyAccess, KeyEpoch, KeyState, KeyStore, MemoryCredentialStore, StoredKey,
};
use crate::crypto::{DataKey, KekId, KeyId, WrappedKey};
use crate::scope::{MemoryDirectory, Principal, Role, ScopeIssuer};
use crate::table::Schema;
use crate::{Database, OrganizationId, TenantScope};

fn authority() -> CrossTenantAuthority {
    cross_tenant_authority("tests of keys", Principal::service("test"))
}

fn kek(name: &str) -> KekId {
    KekId::new("test", name).unwrap()
}

fn key(kek: &KekId, version: u32) -> StoredKey {
    let (id, check) = (KeyId::random().unwrap(), DataKey::random().unwrap().check_value().unwrap());
    let wrapped = WrappedKey::new(kek.clone(), id.as_uuid().as_bytes().to_vec()).unwrap();
    let at = time::OffsetDateTime::UNIX_EPOCH;
    StoredKey::new(id, version, KeyState::Active, Some(wrapped), check, at)
}

async fn sql() -> (SqlCredentialStore, TenantScope) {
    let (organization, ann) = (OrganizationId::new(), Principal::user("ann"));
    let directory = MemoryDirectory::new();
    directory.add_member(&organization, &ann, Role::Owner);
    let issuer = ScopeIssuer::new(directory);
    let db = Database::builder().issuer(&issuer).allow_cross_tenant();
    let db = db.connect("sqlite::memory:", SqlCredentialStore::tables(Schema::new()));
    let db = db.await.unwrap();
    db.create_tables().await.unwrap();
    let scope = issuer.enter(&ann, organization).await.unwrap();
    (SqlCredentialStore::new(&db, authority()), scope)
}

#[tokio::test]
async fn no_key_of_the_platform_is_wrapped_under_a_kek_without_a_canary() {
    let (sql, memory) = (sql().await.0, MemoryCredentialStore::new());
    for store in [&sql as &dyn KeyStore, &memory] {
        let (authority, [one, two]) = (authority(), [kek("1"), kek("2")]);
        let platform = KeyAccess::Platform(&authority);
        let first = key(&one, 1);
        let seen = KeyEpoch::default();
        assert!(!store.activate(platform, seen, &first).await.unwrap());
        store.add_canary(&key(&one, 0)).await.unwrap();
        assert!(store.activate(platform, seen, &first).await.unwrap());
        assert_eq!(store.in_use(&one, &authority).await.unwrap(), 1);
        assert!(!store.remove_canary(&one, &authority).await.unwrap());

        let from = first.wrapped.as_ref().unwrap();
        let to = WrappedKey::new(two.clone(), b"anew".to_vec()).unwrap();
        assert!(!store.rewrap(platform, first.id, from, &to).await.unwrap());
        store.add_canary(&key(&two, 0)).await.unwrap();
        assert!(store.rewrap(platform, first.id, from, &to).await.unwrap());
        assert!(store.remove_canary(&one, &authority).await.unwrap());
        assert!(!store.remove_canary(&two, &authority).await.unwrap());
        let epoch = store.load(platform).await.unwrap().epoch;
        assert!(!store.activate(platform, epoch, &key(&one, 2)).await.unwrap());

        // A KEK that comes back gets another canary.
        store.add_canary(&key(&one, 0)).await.unwrap();
        assert!(store.activate(platform, epoch, &key(&one, 2)).await.unwrap());
        store.shred(platform, time::OffsetDateTime::UNIX_EPOCH).await.unwrap();
        assert_eq!(store.in_use(&one, &authority).await.unwrap(), 0);
        assert!(store.remove_canary(&one, &authority).await.unwrap());
    }
}

#[tokio::test]
async fn a_kek_that_is_being_retired_takes_no_key_of_the_platform() {
    let (store, _) = sql().await;
    let (authority, one) = (authority(), kek("1"));
    let (platform, seen) = (KeyAccess::Platform(&authority), KeyEpoch::default());
    store.add_canary(&key(&one, 0)).await.unwrap();
    let canary = store.canary(&one, &authority).await.unwrap().unwrap();

    let close = || store.close(&one, canary, &authority);
    let (first, second) = (close().await.unwrap().unwrap(), close().await.unwrap().unwrap());
    let closed = async || {
        let error = store.activate(platform, seen, &key(&one, 1)).await.unwrap_err();
        assert!(error.is_retryable() && error.to_string().contains("`test:1` is being retired"));
        assert!(store.load(platform).await.unwrap().keys.is_empty());
    };
    closed().await;
    store.reopen(first, &authority).await.unwrap();
    closed().await;
    store.reopen(second, &authority).await.unwrap();
    assert!(store.activate(platform, seen, &key(&one, 1)).await.unwrap());
    assert!(close().await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_platforms_keys_that_saw_no_closing_is_not_stored_after_one() {
    let (store, _) = sql().await;
    let (authority, one) = (authority(), kek("1"));
    store.add_canary(&key(&one, 0)).await.unwrap();
    let canary = store.canary(&one, &authority).await.unwrap().unwrap();
    let overtaken = |platform: &mut Platform| {
        assert!(platform.is_open(canary));
        let close = store.close(&one, canary, &authority);
        let wait = || tokio::runtime::Handle::current().block_on(close);
        assert!(tokio::task::block_in_place(wait).unwrap().is_some());
        platform.set.keys.push(key(&one, 1));
        true
    };
    assert!(!store.change_platform(&authority, overtaken).await.unwrap());
    assert_eq!(store.in_use(&one, &authority).await.unwrap(), 0);
}

#[tokio::test]
async fn whoever_writes_sees_that_the_keys_changed_and_changes_no_epoch() {
    let (store, scope) = sql().await;
    let (access, seen, one) = (KeyAccess::Organization(&scope), KeyEpoch::default(), kek("1"));
    assert!(store.begin_at(&scope, seen).await.unwrap().is_none());
    store.add_canary(&key(&one, 0)).await.unwrap();
    assert!(store.activate(access, seen, &key(&one, 1)).await.unwrap());
    assert!(store.begin_at(&scope, seen).await.unwrap().is_none());
    let now = store.load(access).await.unwrap().epoch;
    store.begin_at(&scope, now).await.unwrap().unwrap().commit().await.unwrap();
    assert_eq!(store.load(access).await.unwrap().epoch, now);
}
