use uuid::Uuid;

use super::doubles::{Mood, Provider, World, authority, context, open, refused};
use super::*;
use crate::ambient::cross_tenant_authority;
use crate::crypto::WrappedKey;
use crate::crypto::{AccessToken, KekId, KeyDestruction, LocalKeyring, SecretKind};
use crate::error::ErrorKind;
use crate::id::OrganizationId;
use crate::scope::{MemoryDirectory, Principal, Role};

#[tokio::test]
async fn c17_what_is_sealed_for_one_organization_opens_for_no_other() {
    let world = World::new().await;
    let a = world.keys.seal(&world.a, &context(), b"of a").await.unwrap();
    let b = world.keys.seal(&world.b, &context(), b"of b").await.unwrap();
    assert_eq!(open(&world.keys, &world.a, &a).await.unwrap(), b"of a");
    assert_eq!(open(&world.keys, &world.b, &b).await.unwrap(), b"of b");
    refused(open(&world.keys, &world.b, &a).await);
    refused(open(&world.keys, &world.a, &b).await);
    // The blob of B with the name of A's key in its header.
    let mut renamed = b.clone();
    renamed.bytes[4..20].copy_from_slice(a.key.as_uuid().as_bytes());
    refused(open(&world.keys, &world.a, &renamed).await);
    assert_eq!(
        world.reasons().await,
        [
            "a sealed value names a key that is not its owner's",
            "a sealed value names a key that is not its owner's",
            "a sealed value belongs to another place or was sealed under another key",
        ]
    );
}

/// Whoever writes to the database gives B the row of A's key, under its own name.
#[tokio::test]
async fn c17_a_data_key_row_that_was_copied_to_another_organization_does_not_unwrap() {
    let world = World::new().await;
    let sealed = world.keys.seal(&world.a, &context(), b"of a").await.unwrap();
    let (a, b) = (KeyAccess::Organization(&world.a), KeyAccess::Organization(&world.b));
    let stolen = world.store.load(a).await.unwrap().keys.remove(0);
    assert!(world.store.activate(b, KeyEpoch::default(), &stolen).await.unwrap());
    refused(open(&world.keys, &world.b, &sealed).await);
    refused(world.keys.seal(&world.b, &context(), b"of b").await.map(drop));
    let reasons = world.reasons().await;
    assert_eq!(reasons, ["a wrapped data key does not unwrap under `local:random`"; 2]);
}

#[tokio::test]
async fn c18_every_part_of_the_place_comes_from_the_caller_and_counts() {
    let world = World::new().await;
    let sealed = world.keys.seal(&world.a, &context(), b"text").await.unwrap();
    let kind = SecretKind::Credential;
    let place = |kind, record, provider, field, version| {
        SealContext::new(kind, Uuid::from_u128(record), provider, field, version).unwrap()
    };
    for other in [
        place(SecretKind::WebhookSecret, 7, "shopify", "access_token", 3),
        place(kind, 8, "shopify", "access_token", 3),
        place(kind, 7, "google", "access_token", 3),
        place(kind, 7, "shopify", "refresh_token", 3),
        place(kind, 7, "shopify", "access_token", 2),
    ] {
        let epoch = sealed.epoch();
        refused(world.keys.open(&world.a, &other, sealed.as_bytes(), epoch).await);
    }
    assert_eq!(open(&world.keys, &world.a, &sealed).await.unwrap(), b"text");
}

#[tokio::test]
async fn c20_an_earlier_value_in_the_place_of_a_later_one_is_refused_as_a_rollback() {
    let world = World::new().await;
    let old = world.keys.seal(&world.a, &context(), b"old").await.unwrap();
    for later in [4, 19] {
        let context = context().at_version(later);
        refused(world.keys.open(&world.a, &context, old.as_bytes(), old.epoch()).await);
    }
    let reasons = world.reasons().await;
    assert_eq!(reasons, ["a sealed value is of an earlier version of the secret"; 2]);
}

#[tokio::test]
async fn c21_a_value_that_was_never_sealed_is_refused_and_not_returned() {
    let world = World::new().await;
    for plain in [&b""[..], b"example-token", b"{\"access_token\":\"x\"}", &[0; 200]] {
        refused(world.keys.open(&world.a, &context(), plain, KeyEpoch::default()).await);
    }
    assert_eq!(world.reasons().await, ["a value is not sealed"; 4]);
}

#[tokio::test]
async fn c24_a_start_without_the_right_kek_fails_at_once() {
    let world = World::new().await;
    world.keys.check().await.unwrap();
    world.elsewhere().check().await.unwrap();
    let canaries = world.store.canaries().await.unwrap();
    assert_eq!(canaries.len(), 1);

    // The same name, another key.
    let other = Provider::new(LocalKeyring::random().unwrap());
    let keys = Keys::builder(&world.issuer, other, world.store.clone()).build();
    let error = keys.check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unconfigured);
    assert_eq!(error.to_string(), "the key-encryption key `local:random` is not what it was");

    for (mood, kind) in
        [(Mood::Down, ErrorKind::Unavailable), (Mood::Wrong, ErrorKind::Unconfigured)]
    {
        world.provider.set(mood);
        assert_eq!(world.keys.check().await.unwrap_err().kind(), kind);
    }
}

#[tokio::test]
async fn c25_a_process_without_a_kek_that_is_in_use_does_not_start() {
    let world = World::new().await;
    let next = Provider::new(LocalKeyring::random().unwrap().with_id("next").unwrap());
    let ahead = Keys::builder(&world.issuer, next, world.store.clone()).build();
    world.keys.check().await.unwrap();
    // The one that has the new key alone does not know the old one, and the other way round.
    assert_eq!(ahead.check().await.unwrap_err().kind(), ErrorKind::Unconfigured);
    assert_eq!(world.keys.check().await.unwrap_err().kind(), ErrorKind::Unconfigured);
    let retired = KekId::parse("next:random").unwrap();
    ahead.retire_kek(&retired, &authority()).await.unwrap_err();
    world.keys.retire_kek(&retired, &authority()).await.unwrap();
    world.keys.check().await.unwrap();
}

#[tokio::test]
async fn c24_one_value_that_does_not_open_does_not_hide_the_others() {
    let world = World::new().await;
    let mut sealed = Vec::new();
    for number in 0..100_u32 {
        let text = number.to_be_bytes();
        sealed.push(world.keys.seal(&world.a, &context(), &text).await.unwrap());
    }
    sealed[41].bytes[60] ^= 1;
    let mut opened = 0;
    for (number, value) in (0_u32..).zip(&sealed) {
        match open(&world.keys, &world.a, value).await {
            Ok(text) => {
                assert_eq!(text, number.to_be_bytes());
                opened += 1;
            }
            error => refused(error),
        }
    }
    assert_eq!(opened, 99);
}

#[tokio::test]
async fn c27_of_two_rotations_at_once_one_counts_and_both_know_it() {
    let world = World::new().await;
    let old = world.keys.seal(&world.a, &context(), b"old").await.unwrap();
    let (here, there) = (world.keys.clone(), world.elsewhere());
    let (one, two) = tokio::join!(here.rotate(&world.a), there.rotate(&world.a));
    let set = world.store.load(KeyAccess::Organization(&world.a)).await.unwrap();
    let active = set.active().unwrap();
    assert!([one.unwrap(), two.unwrap()].contains(&active.id));
    assert_eq!(set.keys.iter().filter(|key| key.state == KeyState::Active).count(), 1);
    let versions: Vec<_> = set.keys.iter().map(|key| key.version).collect();
    assert_eq!(versions, (1..).take(set.keys.len()).collect::<Vec<_>>());
    for keys in [&world.keys, &there] {
        assert_eq!(open(keys, &world.a, &old).await.unwrap(), b"old");
        let new = keys.seal(&world.a, &context(), b"new").await.unwrap();
        assert_eq!((new.key(), new.epoch()), (active.id, set.epoch));
    }
    // B's keys are as they were: none.
    let b = world.store.load(KeyAccess::Organization(&world.b)).await.unwrap();
    assert!(b.keys.is_empty());
}

#[tokio::test]
async fn c27_whoever_saw_an_older_set_changes_nothing() {
    let world = World::new().await;
    let access = KeyAccess::Organization(&world.a);
    world.keys.rotate(&world.a).await.unwrap();
    let old = world.store.load(access).await.unwrap();
    world.keys.rotate(&world.a).await.unwrap();
    let new = world.store.load(access).await.unwrap();
    let mut late = new.keys[1].clone();
    (late.id, late.version) = (KeyId::random().unwrap(), 9);
    assert!(!world.store.activate(access, old.epoch, &late).await.unwrap());
    assert!(!world.keys.retire(&world.a, new.keys[0].id, old.epoch).await.unwrap());
    // Neither the active key nor a foreign one is retired.
    assert!(!world.keys.retire(&world.a, new.keys[1].id, new.epoch).await.unwrap());
    assert!(!world.keys.retire(&world.b, new.keys[0].id, new.epoch).await.unwrap());
    assert!(!world.keys.retire(&world.b, new.keys[0].id, KeyEpoch::default()).await.unwrap());
    assert_eq!(world.store.load(access).await.unwrap().epoch, new.epoch);
    assert!(world.keys.retire(&world.a, new.keys[0].id, new.epoch).await.unwrap());
}

/// What a store does that finds, as it writes, that the keys have changed elsewhere.
#[tokio::test]
async fn a_value_is_sealed_again_under_the_keys_of_the_epoch_that_is_stored() {
    let world = World::new().await;
    let first = world.keys.seal(&world.a, &context(), b"text").await.unwrap();
    let key = world.elsewhere().rotate(&world.a).await.unwrap();
    let late = world.keys.seal(&world.a, &context(), b"text").await.unwrap();
    assert_eq!((late.key(), late.epoch()), (first.key(), first.epoch()));
    let stored = world.store.load(KeyAccess::Organization(&world.a)).await.unwrap().epoch;
    assert!(late.epoch() < stored);
    let again = world.keys.seal_since(&world.a, &context(), b"text", stored).await.unwrap();
    assert_eq!((again.key(), again.epoch()), (key, stored));
    // An epoch that the store of keys does not reach, as of a copy that lags behind.
    let error = world.keys.seal_since(&world.a, &context(), b"text", stored.next()).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_value_under_a_retired_key_is_refused_here_and_elsewhere() {
    let world = World::new().await;
    let old = world.keys.seal(&world.a, &context(), b"old").await.unwrap();
    let elsewhere = world.elsewhere();
    assert_eq!(open(&elsewhere, &world.a, &old).await.unwrap(), b"old");
    world.keys.rotate(&world.a).await.unwrap();
    let access = KeyAccess::Organization(&world.a);
    let seen = world.store.load(access).await.unwrap().epoch;
    assert!(world.keys.retire(&world.a, old.key(), seen).await.unwrap());
    let now = world.store.load(access).await.unwrap().epoch;
    for keys in [&world.keys, &elsewhere] {
        refused(keys.open(&world.a, &context(), old.as_bytes(), now).await);
    }
    // What the other process seals under the key that it still holds is known by its epoch.
    assert!(old.epoch() < now);
    assert_eq!(world.reasons().await, ["a sealed value names a destroyed key"; 2]);
}

#[tokio::test]
async fn c28_a_shredded_organization_opens_nothing_and_gets_no_new_key() {
    let world = World::new().await;
    let sealed = world.keys.seal(&world.a, &context(), b"gone").await.unwrap();
    let kept = world.keys.seal(&world.b, &context(), b"kept").await.unwrap();
    assert_eq!(world.keys.shred(&world.a).await.unwrap(), KeyDestruction::Shared);
    assert_eq!(world.keys.shred(&world.a).await.unwrap(), KeyDestruction::Shared);
    for keys in [&world.keys, &world.elsewhere()] {
        for error in [
            keys.seal(&world.a, &context(), b"new").await.unwrap_err(),
            keys.rotate(&world.a).await.unwrap_err(),
            keys.blind_indexes(&world.a, "email", b"ann", KeyEpoch::default()).await.unwrap_err(),
            open(keys, &world.a, &sealed).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Shredded, "{error}");
        }
        assert_eq!(open(keys, &world.b, &kept).await.unwrap(), b"kept");
    }
    let access = KeyAccess::Organization(&world.a);
    let set = world.store.load(access).await.unwrap();
    assert!(set.keys.iter().all(|key| key.wrapped.is_none()));
    // The store itself takes none, whoever gives it one.
    let mut late =
        world.store.load(KeyAccess::Organization(&world.b)).await.unwrap().keys.remove(0);
    late.version = 9;
    assert!(!world.store.activate(access, set.epoch, &late).await.unwrap());
    assert_eq!(world.store.load(access).await.unwrap().epoch, set.epoch);
    world.issuer.flush_audit().await.unwrap();
    let events = world.sink.events_for(&world.a).unwrap();
    assert!(events.iter().any(|event| event.kind == AuditKind::KeysShredded));

    // Also one that never had a key.
    world.keys.shred(&world.b).await.unwrap();
    let error = world.keys.seal(&world.b, &context(), b"new").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Shredded);
}

#[tokio::test]
async fn c29_no_cached_key_survives_the_shred_in_any_process() {
    let world = World::new().await;
    let sealed = world.keys.seal(&world.a, &context(), b"gone").await.unwrap();
    let elsewhere = world.elsewhere();
    for keys in [&world.keys, &elsewhere] {
        assert_eq!(open(keys, &world.a, &sealed).await.unwrap(), b"gone");
    }
    world.keys.shred(&world.a).await.unwrap();
    // Here at once, whatever epoch is given.
    let error = open(&world.keys, &world.a, &sealed).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Shredded);
    // There by the epoch that was read with the row.
    let now = world.store.load(KeyAccess::Organization(&world.a)).await.unwrap().epoch;
    let outcome = elsewhere.open(&world.a, &context(), sealed.as_bytes(), now).await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Shredded);
}

/// The keys are read before the shred, and arrive after it.
#[tokio::test]
async fn c29_keys_that_were_on_their_way_during_the_shred_are_not_used_after_it() {
    let world = World::new().await;
    let sealed = world.keys.seal(&world.a, &context(), b"gone").await.unwrap();
    let keys = world.elsewhere();
    world.store.turns.forget_permits(Semaphore::MAX_PERMITS);
    let reading = tokio::spawn({
        let (keys, scope, sealed) = (keys.clone(), world.a.clone(), sealed.clone());
        async move { open(&keys, &scope, &sealed).await }
    });
    let loads = world.store.loads();
    while world.store.loads() == loads {
        tokio::task::yield_now().await;
    }
    keys.shred(&world.a).await.unwrap();
    world.store.turns.add_permits(1_000);
    assert_eq!(reading.await.unwrap().unwrap_err().kind(), ErrorKind::Shredded);
    let error = open(&keys, &world.a, &sealed).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Shredded);
}

#[tokio::test]
async fn many_who_need_a_key_at_once_unwrap_it_once() {
    let world = World::new().await;
    let sealed = world.keys.seal(&world.a, &context(), b"text").await.unwrap();
    let keys = world.elsewhere();
    let (loads, unwraps) = (world.store.loads(), world.provider.unwraps());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let (keys, scope, sealed) = (keys.clone(), world.a.clone(), sealed.clone());
        tasks.spawn(async move { open(&keys, &scope, &sealed).await.unwrap() });
    }
    assert!(tasks.join_all().await.iter().all(|text| text == b"text"));
    assert_eq!(world.store.loads() - loads, 1);
    assert_eq!(world.provider.unwraps() - unwraps, 1);
}

#[tokio::test]
async fn many_who_seal_first_make_one_key() {
    let world = World::new().await;
    let mut tasks = tokio::task::JoinSet::new();
    let processes = [world.keys.clone(), world.elsewhere()];
    for keys in processes.iter().cycle().take(32) {
        let (keys, scope) = (keys.clone(), world.a.clone());
        tasks.spawn(async move { keys.seal(&scope, &context(), b"text").await.unwrap() });
    }
    let sealed = tasks.join_all().await;
    let set = world.store.load(KeyAccess::Organization(&world.a)).await.unwrap();
    assert_eq!(set.keys.len(), 1);
    assert!(sealed.iter().all(|sealed| sealed.key() == set.keys[0].id));
    for sealed in &sealed {
        assert_eq!(open(&world.keys, &world.a, sealed).await.unwrap(), b"text");
    }
}

/// Whoever asks first and gives up leaves the others as if it had not asked.
#[tokio::test]
async fn a_first_caller_that_is_dropped_does_not_keep_the_others_from_the_key() {
    let world = World::new().await;
    let sealed = world.keys.seal(&world.a, &context(), b"text").await.unwrap();
    for block_store in [true, false] {
        let keys = world.elsewhere();
        let gate = if block_store { &world.store.turns } else { &world.provider.answers };
        let asked = || world.store.loads() + world.provider.unwraps();
        gate.forget_permits(Semaphore::MAX_PERMITS);
        let spawn = || {
            let (keys, scope, sealed) = (keys.clone(), world.a.clone(), sealed.clone());
            tokio::spawn(async move { open(&keys, &scope, &sealed).await })
        };
        let (before, first) = (asked(), spawn());
        while asked() == before + usize::from(!block_store) || asked() == before {
            tokio::task::yield_now().await;
        }
        let others: Vec<_> = (0..8).map(|_| spawn()).collect();
        tokio::task::yield_now().await;
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        gate.add_permits(1_000);
        for other in others {
            assert_eq!(other.await.unwrap().unwrap(), b"text");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_is_down_slow_or_wrong_is_a_typed_error_and_nothing_is_changed() {
    let world = World::new().await;
    let sealed = world.keys.seal(&world.a, &context(), b"text").await.unwrap();
    for (mood, kind) in [
        (Mood::Down, ErrorKind::Unavailable),
        (Mood::Silent, ErrorKind::Unavailable),
        (Mood::Wrong, ErrorKind::Corrupt),
    ] {
        world.provider.set(mood);
        let keys = world.elsewhere();
        let error = open(&keys, &world.a, &sealed).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (kind, kind == ErrorKind::Unavailable));
        for error in [
            keys.seal(&world.b, &context(), b"text").await.map(drop).unwrap_err(),
            keys.rotate(&world.a).await.map(drop).unwrap_err(),
        ] {
            // Its canary shows a wrong provider up before it wraps anything.
            let wrong = mood == Mood::Wrong;
            let kind = if wrong { ErrorKind::Unconfigured } else { kind };
            assert_eq!(error.kind(), kind, "{mood:?}");
        }
        if mood == Mood::Wrong {
            let reasons = world.reasons().await;
            assert_eq!(reasons, ["the key provider answered with another key"]);
        }
    }
    world.provider.set(Mood::Well);
    let [a, b] = [&world.a, &world.b].map(KeyAccess::Organization);
    assert_eq!(world.store.load(a).await.unwrap().keys.len(), 1);
    assert_eq!(world.store.load(b).await.unwrap().keys.len(), 0);
    assert_eq!(open(&world.elsewhere(), &world.a, &sealed).await.unwrap(), b"text");
}

/// Its canary was well when it was tried.
#[tokio::test]
async fn a_provider_that_went_wrong_since_it_was_tried_makes_no_key() {
    let world = World::new().await;
    let sealed = world.keys.seal(&world.a, &context(), b"text").await.unwrap();
    world.provider.set(Mood::Wrong);
    for error in [
        world.keys.seal(&world.b, &context(), b"text").await.map(drop).unwrap_err(),
        world.keys.rotate(&world.a).await.map(drop).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_eq!(error.to_string(), "the key provider does not unwrap what it wrapped");
    }
    let [a, b] = [&world.a, &world.b].map(KeyAccess::Organization);
    assert_eq!(world.store.load(a).await.unwrap().keys.len(), 1);
    assert_eq!(world.store.load(b).await.unwrap().keys.len(), 0);
    world.provider.set(Mood::Well);
    assert_eq!(open(&world.keys, &world.a, &sealed).await.unwrap(), b"text");
}

/// A key that does not come keeps its own organization waiting, and no other.
#[tokio::test(start_paused = true)]
async fn an_organization_whose_key_is_slow_keeps_no_other_out() {
    let world = World::new().await;
    let a = world.keys.seal(&world.a, &context(), b"of a").await.unwrap();
    let b = world.keys.seal(&world.b, &context(), b"of b").await.unwrap();
    let keys = world.elsewhere();
    *world.provider.silent_for.lock().unwrap() = Some(KeyAccess::Organization(&world.a).owner());
    let unwraps = world.provider.unwraps();
    let waiting: Vec<_> = (0..100)
        .map(|_| {
            let (keys, scope, a) = (keys.clone(), world.a.clone(), a.clone());
            tokio::spawn(async move { open(&keys, &scope, &a).await })
        })
        .collect();
    while world.provider.unwraps() == unwraps {
        tokio::task::yield_now().await;
    }
    assert_eq!(open(&keys, &world.b, &b).await.unwrap(), b"of b");
    for task in waiting {
        task.abort();
    }
}

#[tokio::test]
async fn keys_are_held_for_their_time_and_renewed_before_its_end() {
    let world = World::with(|builder| builder.cache_ttl(Duration::from_secs(100))).await;
    let sealed = world.keys.seal(&world.a, &context(), b"text").await.unwrap();
    assert_eq!(open(&world.keys, &world.a, &sealed).await.unwrap(), b"text");
    let asked = || (world.store.loads(), world.provider.unwraps());
    let before = asked();
    world.clock.advance(Duration::from_secs(80));
    open(&world.keys, &world.a, &sealed).await.unwrap();
    assert_eq!(asked(), before, "still fresh");

    // In its last seconds it is renewed, and serves on where that fails.
    world.clock.advance(Duration::from_secs(15));
    world.provider.set(Mood::Down);
    open(&world.keys, &world.a, &sealed).await.unwrap();
    world.provider.set(Mood::Well);
    open(&world.keys, &world.a, &sealed).await.unwrap();
    let renewed = asked();
    assert!(renewed > before);
    world.clock.advance(Duration::from_secs(80));
    open(&world.keys, &world.a, &sealed).await.unwrap();
    assert_eq!(asked(), renewed, "fresh again");

    world.clock.advance(Duration::from_secs(100));
    world.provider.set(Mood::Down);
    let error = open(&world.keys, &world.a, &sealed).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    world.provider.set(Mood::Well);
    assert_eq!(open(&world.keys, &world.a, &sealed).await.unwrap(), b"text");
}

#[tokio::test]
async fn keys_are_held_of_a_bounded_number_of_owners_and_without_a_time_of_none() {
    let world = World::with(|builder| builder.cache_capacity(10)).await;
    let directory = MemoryDirectory::new();
    let issuer = ScopeIssuer::new(directory.clone());
    let keys = Keys::builder(&issuer, world.provider.clone(), MemoryKeyStore::new())
        .cache_capacity(10)
        .build();
    for number in 1..200 {
        let organization = OrganizationId::from_i64(number).unwrap();
        directory.add_member(&organization, &Principal::user("ann"), Role::Member);
        let scope = issuer.enter(&Principal::user("ann"), &organization).await.unwrap();
        keys.seal(&scope, &context(), b"text").await.unwrap();
        assert!(keys.0.rings.len() <= 10);
    }

    let world = World::with(|builder| builder.cache_ttl(Duration::ZERO)).await;
    let sealed = world.keys.seal(&world.a, &context(), b"text").await.unwrap();
    let loads = world.store.loads();
    for _ in 0..3 {
        assert_eq!(open(&world.keys, &world.a, &sealed).await.unwrap(), b"text");
    }
    assert!(world.store.loads() >= loads + 3);
}

#[tokio::test]
async fn keys_of_whoever_is_not_asked_for_again_are_let_go_after_their_time() {
    let world = World::with(|builder| builder.cache_ttl(Duration::from_secs(80))).await;
    let ours = world.keys.seal(&world.a, &context(), b"ours").await.unwrap();
    world.clock.advance(Duration::from_secs(60));
    let theirs = world.keys.seal(&world.b, &context(), b"theirs").await.unwrap();
    assert_eq!(world.keys.0.rings.len(), 2);
    world.clock.advance(Duration::from_secs(30));
    assert_eq!(open(&world.keys, &world.b, &theirs).await.unwrap(), b"theirs");
    assert_eq!(world.keys.0.rings.len(), 1);
    assert_eq!(open(&world.keys, &world.a, &ours).await.unwrap(), b"ours");
    assert_eq!(world.keys.0.rings.len(), 2);
}

#[tokio::test]
async fn a_rewrap_changes_what_is_wrapped_and_nothing_that_is_sealed() {
    let world = World::new().await;
    let old = world.keys.seal(&world.a, &context(), b"old").await.unwrap();
    world.keys.rotate(&world.a).await.unwrap();
    assert_eq!(world.keys.rewrap(&world.a).await.unwrap(), 0);

    let next = LocalKeyring::random().unwrap().with_id("next").unwrap();
    let next = Arc::new(next);
    let both =
        crate::crypto::FallbackUnwrap::new(Arc::clone(&next), world.provider.clone()).unwrap();
    let moving = Keys::builder(&world.issuer, both, world.store.clone()).build();
    assert_eq!(moving.rewrap(&world.a).await.unwrap(), 2);
    assert_eq!(moving.rewrap(&world.a).await.unwrap(), 0);
    let moved = Keys::builder(&world.issuer, next, world.store.clone()).build();
    assert_eq!(open(&moved, &world.a, &old).await.unwrap(), b"old");

    // A provider that would put another key in the place of one is found out first.
    let access = KeyAccess::Organization(&world.b);
    let sealed = world.keys.seal(&world.b, &context(), b"of b").await.unwrap();
    let before = world.store.load(access).await.unwrap().keys.remove(0);
    world.provider.set(Mood::Wrong);
    refused(world.keys.rewrap(&world.b).await);
    world.provider.set(Mood::Well);
    let after = world.store.load(access).await.unwrap().keys.remove(0);
    assert_eq!(before.wrapped, after.wrapped);
    assert_eq!(open(&world.keys, &world.b, &sealed).await.unwrap(), b"of b");

    // Whoever saw another wrapped key than stands there replaces nothing.
    let wrapped = after.wrapped.unwrap();
    let other = WrappedKey::new(wrapped.kek().clone(), vec![1]).unwrap();
    assert!(!world.store.rewrap(access, after.id, &other, &wrapped).await.unwrap());
    let foreign = KeyAccess::Organization(&world.a);
    assert!(!world.store.rewrap(foreign, after.id, &wrapped, &other).await.unwrap());
}

#[tokio::test]
async fn c34_long_tokens_are_sealed_up_to_the_limit() {
    let world = World::new().await;
    for length in [0, 1, 64 << 10, 1 << 20] {
        for padding in [false, true] {
            let keys = Keys::builder(&world.issuer, world.provider.clone(), world.store.clone())
                .padding(padding)
                .build();
            let text = vec![b'x'; length];
            let sealed = keys.seal(&world.a, &context(), &text).await.unwrap();
            assert_eq!(open(&keys, &world.a, &sealed).await.unwrap(), text);
            // The flag of the value counts, not the setting of who opens it.
            assert_eq!(open(&world.keys, &world.a, &sealed).await.unwrap(), text);
        }
    }
    let error = world.keys.seal(&world.a, &context(), &vec![0; (1 << 20) + 1]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let mut long = world.keys.seal(&world.a, &context(), b"text").await.unwrap();
    long.bytes.resize(3 << 20, 0);
    refused(open(&world.keys, &world.a, &long).await);
    assert_eq!(world.reasons().await, ["a sealed value is too long"]);
}

#[tokio::test]
async fn a_scope_that_ended_or_is_another_issuers_reaches_no_key() {
    let world = World::new().await;
    let sealed = world.keys.seal(&world.a, &context(), b"text").await.unwrap();
    let stranger = World::new().await;
    assert_eq!(stranger.a.organization(), world.a.organization());
    for error in [
        world.keys.seal(&stranger.a, &context(), b"x").await.unwrap_err(),
        open(&world.keys, &stranger.a, &sealed).await.unwrap_err(),
        world
            .keys
            .blind_indexes(&stranger.a, "email", b"x", KeyEpoch::default())
            .await
            .unwrap_err(),
        world.keys.rotate(&stranger.a).await.unwrap_err(),
        world.keys.rewrap(&stranger.a).await.unwrap_err(),
        world.keys.retire(&stranger.a, sealed.key(), sealed.epoch()).await.unwrap_err(),
        world.keys.shred(&stranger.a).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Misuse);
    }
    world.issuer.suspend(world.a.organization());
    for error in [
        world.keys.seal(&world.a, &context(), b"x").await.unwrap_err(),
        open(&world.keys, &world.a, &sealed).await.unwrap_err(),
        world.keys.blind_indexes(&world.a, "email", b"x", KeyEpoch::default()).await.unwrap_err(),
        world.keys.rotate(&world.a).await.unwrap_err(),
        world.keys.rewrap(&world.a).await.unwrap_err(),
        world.keys.retire(&world.a, sealed.key(), sealed.epoch()).await.unwrap_err(),
        world.keys.shred(&world.a).await.unwrap_err(),
        world.store.load(KeyAccess::Organization(&world.a)).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Denied);
    }
}

#[tokio::test]
async fn c17_the_platform_is_no_organization() {
    let world = World::new().await;
    let authority = || cross_tenant_authority("client secret", Principal::service("connect"));
    let (place, start) = (context(), KeyEpoch::default());
    let of_platform =
        world.keys.seal_platform(&place, b"platform", start, &authority()).await.unwrap();
    let of_a = world.keys.seal(&world.a, &context(), b"of a").await.unwrap();
    let (bytes, epoch) = (of_platform.as_bytes(), of_platform.epoch());
    let opened = world.keys.open_platform(&context(), bytes, epoch, &authority()).await.unwrap();
    assert!(opened.ct_eq(b"platform"));
    refused(world.keys.open(&world.a, &context(), bytes, epoch).await);
    let (bytes, epoch) = (of_a.as_bytes(), of_a.epoch());
    refused(world.keys.open_platform(&context(), bytes, epoch, &authority()).await);

    world.keys.rotate_platform(&authority()).await.unwrap();
    assert_eq!(world.keys.rewrap_platform(&authority()).await.unwrap(), 0);
    let indexes =
        world.keys.blind_indexes_platform("shop", b"x", start, &authority()).await.unwrap();
    assert_eq!(indexes.all().len(), 2);
    let recorded =
        |event: &AuditEvent| event.kind == AuditKind::CrossTenant { reason: "client secret" };
    assert_eq!(world.sink.all().into_iter().filter(recorded).count(), 6);

    let unreasoned = cross_tenant_authority(" ", Principal::service("connect"));
    let error = world.keys.seal_platform(&context(), b"x", start, &unreasoned).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misuse);
}

#[tokio::test]
async fn blind_indexes_compare_inside_an_organization_and_across_its_rotations() {
    let world = World::new().await;
    let index = async |scope| {
        let indexes = world.keys.blind_indexes(scope, "email", b"ann", KeyEpoch::default()).await;
        indexes.unwrap().all().to_vec()
    };
    let (a, b) = (index(&world.a).await, index(&world.b).await);
    assert_eq!(a, index(&world.a).await);
    assert!(a.iter().all(|index| !b.contains(index)));
    world.keys.rotate(&world.a).await.unwrap();
    let rotated = index(&world.a).await;
    assert_eq!((rotated.len(), rotated[1]), (2, a[0]));
    assert_ne!(rotated[0], a[0]);
    let error =
        world.keys.blind_indexes(&world.a, "", b"ann", KeyEpoch::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

/// The secret as text, as hex, in base64 and as a list of numbers.
fn forms(secret: &[u8]) -> Vec<String> {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

    let list: Vec<_> = secret.iter().map(ToString::to_string).collect();
    vec![
        String::from_utf8_lossy(secret).into_owned(),
        hex::encode(secret),
        hex::encode_upper(secret),
        STANDARD_NO_PAD.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
        list.join(", "),
        list.join(","),
    ]
}

#[tokio::test]
async fn c35_a_planted_secret_is_in_no_debug_display_error_or_event() {
    let world = World::new().await;
    let planted = "planted-\u{1F511}-0123456789abcdef";
    let token = AccessToken::new(planted.to_owned());
    let text = token.expose_secret().as_bytes();
    let sealed = world.keys.seal(&world.a, &context(), text).await.unwrap();
    let opened = world.keys.open(&world.a, &context(), sealed.as_bytes(), sealed.epoch()).await;
    let opened = opened.unwrap();
    let mut shown = vec![
        format!("{token:?} {token:#?} {}", token.masked()),
        format!("{opened:?} {opened:#?} {sealed:?} {:?}", world.keys),
        format!("{:?}", world.store),
        format!(
            "{:?}",
            world
                .keys
                .blind_indexes(&world.a, "email", planted.as_bytes(), KeyEpoch::default())
                .await
        ),
        format!("{:?}", sealed.as_bytes()),
        format!("{:?}", AccessToken::from_bytes(opened)),
    ];
    for at in [0, 1, 4, 30, 60, 90] {
        let mut edited = sealed.clone();
        edited.bytes[at] ^= 0x55;
        let error = open(&world.keys, &world.a, &edited).await.unwrap_err();
        shown.push(format!("{error} {error:?} {error:#?}"));
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            shown.push(format!("{error} {error:?}"));
            source = error.source();
        }
    }
    world.issuer.flush_audit().await.unwrap();
    for event in world.sink.all() {
        shown.push(format!("{event:?} {}", serde_json::to_string(&event).unwrap()));
    }
    for form in forms(planted.as_bytes()) {
        for text in &shown {
            assert!(!text.contains(&form), "{form} in {text}");
        }
    }
    // The search finds what there is to find.
    assert!(format!("{:?}", planted.as_bytes()).contains(&forms(planted.as_bytes())[5]));
}
