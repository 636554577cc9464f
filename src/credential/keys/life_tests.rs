use time::OffsetDateTime;

use super::doubles::{Meanwhile, Mood, Provider, World, authority, context, open, refused};
use super::*;
use crate::ambient::CrossTenantAuthority;
use crate::audit::AuditSink;
use crate::crypto::{KekId, KeyDestruction, KeyOwner, LocalKeyring};
use crate::error::ErrorKind;
use crate::id::OrganizationId;
use crate::scope::Principal;

fn epoch0() -> KeyEpoch {
    KeyEpoch::default()
}

/// Lets the others work until something is so.
async fn until(so: impl Fn() -> bool) {
    while !so() {
        tokio::task::yield_now().await;
    }
}

/// A KEK goes, and with it goes nothing that anybody still has: not that of an organization that
/// cannot be entered, nor that of the platform.
#[tokio::test]
async fn c26_a_kek_is_retired_only_when_no_key_of_anybody_is_wrapped_under_it() {
    let world = World::new().await;
    let of_a = world.keys.seal(&world.a, &context(), b"of a").await.unwrap();
    let of_b = world.keys.seal(&world.b, &context(), b"of b").await.unwrap();
    let place = context();
    let of_platform =
        world.keys.seal_platform(&place, b"platform", epoch0(), &authority()).await.unwrap();
    let old = KekId::parse("local:random").unwrap();
    let keys = world.moving();
    assert_eq!(keys.kek_in_use(&old, &authority()).await.unwrap(), 3);
    let error = world.keys.retire_kek(&old, &authority()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(error.to_string(), "the key-encryption key is the active one");

    // B is suspended here and inactive everywhere.
    let b = world.b.organization().clone();
    world.issuer.suspend(&b);
    world.directory.set_active(&b, false);
    keys.rewrap(&world.b).await.unwrap_err();
    keys.rewrap(&world.a).await.unwrap();
    assert_eq!(keys.kek_in_use(&old, &authority()).await.unwrap(), 2);
    let error = keys.retire_kek(&old, &authority()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let canaries = world.store.canaries().await.unwrap();
    assert!(canaries.iter().any(|canary| canary.kek() == Some(&old)), "the canary stays");

    let report = keys.rewrap_all(&authority()).await.unwrap();
    assert_eq!((report.rewrapped, report.failed.len()), (2, 0));
    assert_eq!(keys.kek_in_use(&old, &authority()).await.unwrap(), 0);
    keys.retire_kek(&old, &authority()).await.unwrap();
    let canaries = world.store.canaries().await.unwrap();
    assert!(canaries.iter().all(|canary| canary.kek() != Some(&old)));

    // Without the old KEK everything opens.
    world.provider.set(Mood::Down);
    world.issuer.resume(&b);
    world.directory.set_active(&b, true);
    let b = world.issuer.enter(&Principal::user("ann"), &b).await.unwrap();
    assert_eq!(open(&keys, &world.a, &of_a).await.unwrap(), b"of a");
    assert_eq!(open(&keys, &b, &of_b).await.unwrap(), b"of b");
    let (bytes, epoch) = (of_platform.as_bytes(), of_platform.epoch());
    let opened = keys.open_platform(&context(), bytes, epoch, &authority()).await.unwrap();
    assert!(opened.ct_eq(b"platform"));
    keys.check().await.unwrap();
}

#[tokio::test]
async fn one_key_that_does_not_unwrap_keeps_no_other_from_being_rewrapped() {
    let world = World::new().await;
    world.keys.seal(&world.a, &context(), b"of a").await.unwrap();
    world.keys.seal(&world.b, &context(), b"of b").await.unwrap();
    // A's key is lost in the store, under a name that is right.
    let access = KeyAccess::Organization(&world.a);
    let stored = world.store.load(access).await.unwrap().keys.remove(0);
    let wrapped = stored.wrapped.unwrap();
    let broken = crate::crypto::WrappedKey::new(wrapped.kek().clone(), vec![7; 116]).unwrap();
    assert!(world.store.rewrap(access, stored.id, &wrapped, &broken).await.unwrap());
    let report = world.moving().rewrap_all(&authority()).await.unwrap();
    assert_eq!(report.rewrapped, 1);
    let [(owner, error)] = report.failed.as_slice() else { panic!("{report:?}") };
    assert_eq!(*owner, KeyOwner::Organization(world.a.organization().clone()));
    assert_eq!(error.kind(), ErrorKind::Corrupt);

    // A provider that is down ends the work, which can be repeated; so does a halt.
    world.provider.set(Mood::Down);
    let error = world.elsewhere().rewrap_all(&authority()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    world.provider.set(Mood::Well);
    world.issuer.halt_all();
    for error in [
        world.keys.rewrap_all(&authority()).await.map(drop).unwrap_err(),
        world.keys.shred_across(world.b.organization(), &authority()).await.map(drop).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Denied);
    }
}

#[tokio::test]
async fn a_suspended_organization_is_shredded_and_no_other() {
    let world = World::new().await;
    let of_a = world.keys.seal(&world.a, &context(), b"gone").await.unwrap();
    let of_b = world.keys.seal(&world.b, &context(), b"kept").await.unwrap();
    let a = world.a.organization().clone();
    world.issuer.suspend(&a);
    world.directory.set_active(&a, false);
    world.keys.shred(&world.a).await.unwrap_err();
    let grade = world.keys.shred_across(&a, &authority()).await.unwrap();
    assert_eq!(grade, KeyDestruction::Shared);
    assert_eq!(open(&world.keys, &world.b, &of_b).await.unwrap(), b"kept");
    world.issuer.resume(&a);
    world.directory.set_active(&a, true);
    let scope = world.issuer.enter(&Principal::user("ann"), &a).await.unwrap();
    let error = open(&world.keys, &scope, &of_a).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Shredded);
    world.issuer.flush_audit().await.unwrap();
    let events = world.sink.events_for(&scope).unwrap();
    let crossed = AuditKind::CrossTenant { reason: "care of keys" };
    for kind in [crossed, AuditKind::KeysShredded] {
        let event = events.iter().find(|event| event.kind == kind).unwrap();
        assert_eq!(event.principal.as_deref(), Some("service:operator"));
    }
}

/// A process that learns late that a KEK was retired makes no key under it that nobody sees.
#[tokio::test]
async fn a_key_that_was_wrapped_while_its_kek_was_retired_is_not_stored_unseen() {
    let world = World::new().await;
    let old = KekId::parse("local:random").unwrap();
    *world.store.meanwhile.lock().unwrap() = Some(Meanwhile::RetireKek(old.clone()));
    world.keys.seal(&world.a, &context(), b"text").await.unwrap();
    // It is in use again, and every start asks for it.
    assert_eq!(world.keys.kek_in_use(&old, &authority()).await.unwrap(), 1);
    let canaries = world.store.canaries().await.unwrap();
    assert!(canaries.iter().any(|canary| canary.kek() == Some(&old)));
}

#[tokio::test]
async fn c24_no_key_is_made_under_a_kek_that_is_another_than_it_was() {
    let world = World::new().await;
    world.keys.check().await.unwrap();
    let other = Provider::new(LocalKeyring::random().unwrap());
    let keys = Keys::builder(&world.issuer, other, world.store.clone()).build();
    let error = keys.seal(&world.a, &context(), b"text").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unconfigured);
    let set = world.store.load(KeyAccess::Organization(&world.a)).await.unwrap();
    assert!(set.keys.is_empty());

    // A canary that lost its bytes is not passed over.
    let mut canary = world.store.canaries().await.unwrap().remove(0);
    let lost = KekId::parse("lost:1").unwrap();
    canary.wrapped = Some(crate::crypto::WrappedKey::new(lost, vec![1]).unwrap());
    world.store.add_canary(&canary).await.unwrap();
    let broken = Broken(world.store.clone());
    let keys = Keys::builder(&world.issuer, world.provider.clone(), broken).build();
    assert_eq!(keys.check().await.unwrap_err().kind(), ErrorKind::Corrupt);
}

/// A rotation that answers has rotated, whatever else happened to the keys at the same time.
#[tokio::test]
async fn c27_a_rotation_that_another_change_overtakes_begins_again() {
    let world = World::new().await;
    let first = world.keys.rotate(&world.a).await.unwrap();
    let second = world.keys.rotate(&world.a).await.unwrap();
    *world.store.meanwhile.lock().unwrap() = Some(Meanwhile::Destroy(first));
    let third = world.keys.rotate(&world.a).await.unwrap();
    assert_ne!(third, second);
    let set = world.store.load(KeyAccess::Organization(&world.a)).await.unwrap();
    assert_eq!(set.active().map(|key| key.id), Some(third));
    assert!(world.keys.retire(&world.a, second, set.epoch).await.unwrap());
}

#[tokio::test]
async fn l78_a_scope_that_ends_while_the_provider_answers_gets_nothing() {
    let world = World::new().await;
    let sealed = world.keys.seal(&world.a, &context(), b"text").await.unwrap();
    for act in 0..3 {
        let (keys, before) = (world.elsewhere(), world.provider.unwraps());
        let scope =
            world.issuer.enter(&Principal::user("ann"), world.a.organization()).await.unwrap();
        world.provider.answers.forget_permits(Semaphore::MAX_PERMITS);
        let waiting = tokio::spawn({
            let (keys, scope, sealed) = (keys.clone(), scope.clone(), sealed.clone());
            async move {
                match act {
                    0 => open(&keys, &scope, &sealed).await.map(drop),
                    1 => keys.seal(&scope, &context(), b"x").await.map(drop),
                    _ => keys.blind_indexes(&scope, "email", b"x", epoch0()).await.map(drop),
                }
            }
        });
        until(|| world.provider.unwraps() > before).await;
        world.issuer.suspend(world.a.organization());
        world.provider.answers.add_permits(1_000);
        assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::Denied);
        world.issuer.resume(world.a.organization());
    }
}

#[tokio::test]
async fn c29_a_key_that_is_destroyed_while_the_provider_answers_opens_nothing() {
    let world = World::new().await;
    let sealed = world.keys.seal(&world.a, &context(), b"text").await.unwrap();
    let (keys, before) = (world.elsewhere(), world.provider.unwraps());
    world.provider.answers.forget_permits(Semaphore::MAX_PERMITS);
    let waiting: Vec<_> = (0..3)
        .map(|act| {
            let (keys, scope, sealed) = (keys.clone(), world.a.clone(), sealed.clone());
            tokio::spawn(async move {
                match act {
                    0 => open(&keys, &scope, &sealed).await.map(drop),
                    1 => keys.seal(&scope, &context(), b"x").await.map(drop),
                    _ => keys.blind_indexes(&scope, "email", b"x", epoch0()).await.map(drop),
                }
            })
        })
        .collect();
    until(|| world.provider.unwraps() > before).await;
    keys.shred(&world.a).await.unwrap();
    world.provider.answers.add_permits(1_000);
    for each in waiting {
        assert_eq!(each.await.unwrap().unwrap_err().kind(), ErrorKind::Shredded);
    }
}

/// A ring whose renewal failed serves on, unless it ended while it was tried.
#[tokio::test(start_paused = true)]
async fn c29_a_renewal_that_fails_brings_no_shredded_key_back() {
    let world = World::with(|builder| builder.cache_ttl(Duration::from_secs(100))).await;
    let sealed = world.keys.seal(&world.a, &context(), b"text").await.unwrap();
    open(&world.keys, &world.a, &sealed).await.unwrap();
    world.clock.advance(Duration::from_secs(95));
    world.provider.set(Mood::Silent);
    let (unwraps, keys) = (world.provider.unwraps(), world.keys.clone());
    let waiting = tokio::spawn({
        let (keys, scope, sealed) = (keys.clone(), world.a.clone(), sealed.clone());
        async move { open(&keys, &scope, &sealed).await }
    });
    until(|| world.provider.unwraps() > unwraps).await;
    world.store.shred(KeyAccess::Organization(&world.a), OffsetDateTime::UNIX_EPOCH).await.unwrap();
    drop(keys.0.rings.forget(KeyAccess::Organization(&world.a).owner()));
    assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::Shredded);
}

/// Whoever renews waits for the provider, and the time of what is held ends meanwhile.
#[tokio::test(start_paused = true)]
async fn keys_serve_no_longer_than_their_time_where_the_renewal_fails() {
    let world = World::with(|builder| builder.cache_ttl(Duration::from_secs(100))).await;
    let sealed = world.keys.seal(&world.a, &context(), b"text").await.unwrap();
    open(&world.keys, &world.a, &sealed).await.unwrap();
    world.clock.advance(Duration::from_secs(95));
    world.provider.set(Mood::Silent);
    let unwraps = world.provider.unwraps();
    let waiting = tokio::spawn({
        let (keys, scope, sealed) = (world.keys.clone(), world.a.clone(), sealed.clone());
        async move { open(&keys, &scope, &sealed).await }
    });
    until(|| world.provider.unwraps() > unwraps).await;
    world.clock.advance(Duration::from_secs(5));
    assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
}

/// While the provider is asked to destroy a KEK, the data keys are gone already.
#[tokio::test]
async fn c29_the_keys_are_forgotten_before_the_provider_is_waited_for() {
    let world = World::new().await;
    let sealed = world.keys.seal(&world.a, &context(), b"gone").await.unwrap();
    world.provider.set(Mood::Silent);
    let shredding = tokio::spawn({
        let (keys, scope) = (world.keys.clone(), world.a.clone());
        async move { keys.shred(&scope).await }
    });
    until(|| world.provider.destroys.load(std::sync::atomic::Ordering::SeqCst) > 0).await;
    let error = open(&world.keys, &world.a, &sealed).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Shredded);
    shredding.abort();
}

#[tokio::test]
async fn what_one_organization_does_to_its_keys_costs_no_other_its_cache() {
    let world = World::new().await;
    let sealed = world.keys.seal(&world.b, &context(), b"text").await.unwrap();
    let rings = &world.keys.0.rings;
    let [a, b] = [&world.a, &world.b].map(|scope| KeyAccess::Organization(scope).owner());
    // One in 256 has the same count: another world would do, and so does another owner.
    let others =
        (100..1_000).map(|id| KeyOwner::Organization(OrganizationId::from_i64(id).unwrap()));
    let shared = |one: &KeyOwner| rings.generation(one).slot() == rings.generation(&b).slot();
    let apart = std::iter::once(a).chain(others).find(|owner| !shared(owner)).unwrap();
    let ring = rings.get(&b).unwrap();
    drop(rings.forget(apart));
    assert!(rings.is_known(&ring) && rings.get(&b).is_some());

    // What changes nothing forgets nothing, not even one's own.
    let loads = (world.store.loads(), world.provider.unwraps());
    assert!(!world.keys.retire(&world.b, KeyId::random().unwrap(), epoch0()).await.unwrap());
    assert_eq!(world.keys.rewrap(&world.b).await.unwrap(), 0);
    assert!(Arc::ptr_eq(&rings.get(&b).unwrap(), &ring));
    assert_eq!(open(&world.keys, &world.b, &sealed).await.unwrap(), b"text");
    assert_eq!((world.store.loads(), world.provider.unwraps()), (loads.0 + 1, loads.1));
    drop(rings.forget(b.clone()));
    assert!(!rings.is_known(&ring) && rings.get(&b).is_none());
}

/// Neither those who seal first nor those who rotate take more than one door for their organization.
#[tokio::test(start_paused = true)]
async fn an_organization_whose_first_key_is_slow_keeps_no_other_out() {
    let world = World::new().await;
    let b = world.keys.seal(&world.b, &context(), b"of b").await.unwrap();
    let keys = world.elsewhere();
    *world.provider.silent_for.lock().unwrap() = Some(KeyAccess::Organization(&world.a).owner());
    let wraps = world.provider.wraps();
    let waiting: Vec<_> = (0..100)
        .map(|number| {
            let (keys, scope) = (keys.clone(), world.a.clone());
            tokio::spawn(async move {
                match number % 2 {
                    0 => keys.seal(&scope, &context(), b"x").await.map(drop),
                    _ => keys.rotate(&scope).await.map(drop),
                }
            })
        })
        .collect();
    until(|| world.provider.wraps() > wraps).await;
    assert_eq!(open(&keys, &world.b, &b).await.unwrap(), b"of b");
    assert_eq!(world.provider.wraps(), wraps + 1);
    for task in waiting {
        task.abort();
        task.await.unwrap_err();
    }
    assert_eq!(keys.0.makers.len(), 0, "nobody waits, and nothing is kept");
}

#[tokio::test]
async fn many_who_seal_first_wrap_one_key() {
    let world = World::new().await;
    world.keys.check().await.unwrap();
    let wraps = world.provider.wraps();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let (keys, scope) = (world.keys.clone(), world.a.clone());
        tasks.spawn(async move { keys.seal(&scope, &context(), b"text").await.unwrap().key() });
    }
    let mut used = tasks.join_all().await;
    used.dedup();
    assert_eq!((used.len(), world.provider.wraps() - wraps), (1, 1));
    assert_eq!(world.keys.0.makers.len(), 0);
}

/// A row that says it is of an epoch that never was.
#[tokio::test]
async fn an_epoch_that_the_store_does_not_reach_costs_one_read_and_nobody_the_cache() {
    let world = World::new().await;
    let sealed = world.keys.seal(&world.a, &context(), b"text").await.unwrap();
    let (loads, unwraps) = (world.store.loads(), world.provider.unwraps());
    let late = KeyEpoch::new(1_000);
    let error = world.keys.open(&world.a, &context(), sealed.as_bytes(), late).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(world.store.loads(), loads + 1);
    assert_eq!(open(&world.keys, &world.a, &sealed).await.unwrap(), b"text");
    assert_eq!((world.store.loads(), world.provider.unwraps()), (loads + 1, unwraps));
    // From a process that has no keys yet it is no more than two.
    let keys = world.elsewhere();
    keys.open(&world.a, &context(), sealed.as_bytes(), late).await.unwrap_err();
    assert!(world.store.loads() <= loads + 3);
}

/// A key that is lost fails what is sealed under it, and nothing else: also when keys are renewed.
#[tokio::test]
async fn c24_a_key_that_unwraps_no_more_does_not_fail_what_another_opens() {
    let world = World::with(|builder| builder.cache_ttl(Duration::from_secs(100))).await;
    let old = world.keys.seal(&world.a, &context(), b"old").await.unwrap();
    world.keys.rotate(&world.a).await.unwrap();
    let new = world.keys.seal(&world.a, &context(), b"new").await.unwrap();
    for sealed in [&old, &new] {
        open(&world.keys, &world.a, sealed).await.unwrap();
    }
    let access = KeyAccess::Organization(&world.a);
    let stored = world.store.load(access).await.unwrap().keys.remove(0);
    let wrapped = stored.wrapped.unwrap();
    let broken = crate::crypto::WrappedKey::new(wrapped.kek().clone(), vec![7; 116]).unwrap();
    assert!(world.store.rewrap(access, stored.id, &wrapped, &broken).await.unwrap());
    world.clock.advance(Duration::from_secs(95));
    assert_eq!(open(&world.keys, &world.a, &new).await.unwrap(), b"new");
    assert!(world.reasons().await.is_empty(), "nobody asked for the other");
    refused(open(&world.keys, &world.a, &old).await);
}

/// A provider that is slow costs whoever renews one wait, not one for each key.
#[tokio::test(start_paused = true)]
async fn a_renewal_takes_no_longer_than_one_answer() {
    let world = World::with(|builder| builder.cache_ttl(Duration::from_secs(100))).await;
    let mut sealed = Vec::new();
    for _ in 0..5 {
        sealed.push(world.keys.seal(&world.a, &context(), b"text").await.unwrap());
        world.keys.rotate(&world.a).await.unwrap();
    }
    for each in &sealed {
        open(&world.keys, &world.a, each).await.unwrap();
    }
    world.clock.advance(Duration::from_secs(95));
    // Each answer is in time, and all of them together are not.
    world.provider.set(Mood::Slow);
    let start = tokio::time::Instant::now();
    assert_eq!(open(&world.keys, &world.a, &sealed[0]).await.unwrap(), b"text");
    // Of the runtime's own clock, which is stopped.
    assert!(start.elapsed() <= Settings::DEFAULT.patience + Duration::from_secs(1));
}

#[tokio::test]
async fn blind_indexes_are_of_keys_no_older_than_was_asked_for() {
    let world = World::new().await;
    let index = async |keys: &Keys, epoch| keys.blind_indexes(&world.a, "e", b"ann", epoch).await;
    let before = index(&world.keys, epoch0()).await.unwrap();
    let elsewhere = world.elsewhere();
    elsewhere.rotate(&world.a).await.unwrap();
    let written = index(&elsewhere, epoch0()).await.unwrap();
    assert!(written.epoch() > before.epoch());
    // Without an epoch the row of the other process is not found; its epoch finds it.
    let found = |indexes: &BlindIndexes| indexes.all().contains(&written.newest().unwrap());
    assert!(!found(&index(&world.keys, epoch0()).await.unwrap()));
    let fresh = index(&world.keys, written.epoch()).await.unwrap();
    assert!(found(&fresh));
    assert_eq!(fresh.epoch(), written.epoch());
    assert_eq!(fresh.all()[1], before.newest().unwrap());
    elsewhere.shred(&world.a).await.unwrap();
    let shredded = written.epoch().next();
    let error = index(&world.keys, shredded).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Shredded);
}

/// A sink that keeps nothing.
#[derive(Debug)]
struct Deaf;

#[async_trait::async_trait]
impl AuditSink for Deaf {
    async fn record(&self, _: &AuditEvent) -> Result<()> {
        Err(Error::unavailable("the sink is full"))
    }
}

#[tokio::test]
async fn a_key_is_destroyed_only_after_the_event_is_kept() {
    let world = World::new().await;
    let first = world.keys.rotate(&world.a).await.unwrap();
    world.keys.rotate(&world.a).await.unwrap();
    let access = KeyAccess::Organization(&world.a);
    let seen = world.store.load(access).await.unwrap().epoch;
    let deaf = ScopeIssuer::builder(world.directory.clone()).audit(Deaf).build();
    let keys = Keys::builder(&deaf, world.provider.clone(), world.store.clone()).build();
    let scope = deaf.enter(&Principal::user("ann"), world.a.organization()).await.unwrap();
    let error = keys.retire(&scope, first, seen).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(world.store.load(access).await.unwrap().epoch, seen, "nothing was done");

    assert!(world.keys.retire(&world.a, first, seen).await.unwrap());
    world.moving().rewrap(&world.a).await.unwrap();
    world.issuer.flush_audit().await.unwrap();
    let events = world.sink.events_for(&world.a).unwrap();
    let named = |kind, key: KeyId| {
        events.iter().any(|event| {
            let detail = event.detail.as_deref().unwrap_or_default();
            event.kind == kind && detail.contains(&key.to_string())
        })
    };
    assert!(named(AuditKind::DataKeyRetired, first));
    let active = world.store.load(access).await.unwrap().active().unwrap().id;
    assert!(named(AuditKind::DataKeyRewrapped, active));
}

/// A store of values in memory writes under the lock of the keys.
#[tokio::test]
async fn what_is_written_at_an_epoch_is_written_while_no_key_changes() {
    let world = World::new().await;
    let sealed = world.keys.seal(&world.a, &context(), b"text").await.unwrap();
    let (store, access) = (&world.store.memory, KeyAccess::Organization(&world.a));
    let written = store.write_at(access, sealed.epoch(), || assert!(store.is_locked())).unwrap();
    assert!(written.is_some());
    world.elsewhere().rotate(&world.a).await.unwrap();
    assert!(store.write_at(access, sealed.epoch(), || ()).unwrap().is_none());
    let now = store.load(access).await.unwrap().epoch;
    assert!(store.write_at(access, now, || ()).unwrap().is_some());
    world.keys.shred(&world.a).await.unwrap();
    let now = store.load(access).await.unwrap().epoch;
    assert!(store.write_at(access, now, || ()).unwrap().is_none());
    world.issuer.suspend(world.b.organization());
    let denied = store.write_at(KeyAccess::Organization(&world.b), epoch0(), || ()).unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::Denied);
}

/// A store whose canaries have lost their bytes, and that stores keys under any KEK.
#[derive(Debug)]
struct Broken(doubles::Store);

#[async_trait::async_trait]
impl KeyStore for Broken {
    async fn load(&self, access: KeyAccess<'_>) -> Result<KeySet> {
        self.0.load(access).await
    }

    async fn activate(
        &self,
        access: KeyAccess<'_>,
        seen: KeyEpoch,
        key: &StoredKey,
    ) -> Result<bool> {
        let mut canary = key.clone();
        canary.id = KeyId::random()?;
        self.0.add_canary(&canary).await?;
        self.0.activate(access, seen, key).await
    }

    async fn rewrap(
        &self,
        access: KeyAccess<'_>,
        key: KeyId,
        from: &crate::crypto::WrappedKey,
        to: &crate::crypto::WrappedKey,
    ) -> Result<bool> {
        self.0.rewrap(access, key, from, to).await
    }

    async fn destroy(
        &self,
        access: KeyAccess<'_>,
        seen: KeyEpoch,
        key: KeyId,
        at: OffsetDateTime,
    ) -> Result<bool> {
        self.0.destroy(access, seen, key, at).await
    }

    async fn shred(&self, access: KeyAccess<'_>, at: OffsetDateTime) -> Result<()> {
        self.0.shred(access, at).await
    }

    async fn canaries(&self) -> Result<Vec<StoredKey>> {
        let mut canaries = self.0.canaries().await?;
        canaries.iter_mut().skip(1).for_each(|canary| canary.wrapped = None);
        Ok(canaries)
    }

    async fn add_canary(&self, canary: &StoredKey) -> Result<()> {
        self.0.add_canary(canary).await
    }

    async fn remove_canary(&self, kek: &KekId, authority: &CrossTenantAuthority) -> Result<bool> {
        self.0.remove_canary(kek, authority).await
    }

    async fn in_use(&self, kek: &KekId, authority: &CrossTenantAuthority) -> Result<u64> {
        self.0.in_use(kek, authority).await
    }

    async fn organizations(&self, authority: &CrossTenantAuthority) -> Result<Vec<OrganizationId>> {
        self.0.organizations(authority).await
    }
}

#[tokio::test]
async fn the_conformance_function_passes_a_good_store_and_finds_a_bad_one() {
    let world = World::new().await;
    let memory = MemoryKeyStore::new();
    conformance::key_store(&memory, &world.a, &world.b, &authority()).await.unwrap();
    assert!(memory.canaries().await.unwrap().is_empty());
    let same = conformance::key_store(&memory, &world.a, &world.a, &authority()).await;
    assert_eq!(same.unwrap_err().to_string(), "two organizations are needed");
    let broken = Broken(doubles::Store::new());
    let error = conformance::key_store(&broken, &world.a, &world.b, &authority()).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misuse);
    assert_eq!(error.to_string(), "no key is stored under a KEK without a canary");
}
