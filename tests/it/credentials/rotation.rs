//! Keys change while credentials are used.

use std::sync::Arc;

use tenantry::ErrorKind;
use tenantry::credential::{Credentials, KeyEpoch, KeyState, KeyUse, NewCredential};
use tenantry::crypto::{KekId, KeyId, SealContext, SecretKind};

use super::world::*;

fn count(uses: &[KeyUse], key: KeyId) -> u64 {
    uses.iter().filter(|each| each.key == Some(key)).map(|each| each.count).sum()
}

/// The KEK before and the KEK after.
fn keks() -> [KekId; 2] {
    ["2026-01", "2026-06"].map(|key| KekId::new("local", key).unwrap())
}

fn client_secret() -> SealContext<'static> {
    let (kind, record) = (SecretKind::Credential, uuid::Uuid::nil());
    SealContext::new(kind, record, "shopify", "client_secret", 1).unwrap()
}

#[tokio::test]
async fn c26_a_key_is_retired_once_nothing_is_sealed_under_it() {
    for &kind in KINDS {
        let w = World::new(kind).await;
        let mut ids = Vec::new();
        for n in 0..7 {
            ids.push(w.put(&w.a, &format!("token {n}")).await.id);
        }
        let theirs = w.put(&w.b, "token").await.id;
        let old = w.credentials.rotation_status(&w.a).await.unwrap().keys[0].0;
        refused(w.credentials.retire(&w.a, old).await, ErrorKind::Conflict);
        let new = w.credentials.rotate(&w.a).await.unwrap();
        let their_key = w.credentials.rotation_status(&w.b).await.unwrap().keys[0].0;
        refused(w.credentials.retire(&w.a, their_key).await, ErrorKind::NotFound);

        // Whatever is written is sealed under the new key.
        w.credentials.replace(&w.a, ids[0], 1, &secret("token 0")).await.unwrap();
        let status = w.credentials.rotation_status(&w.a).await.unwrap();
        assert_eq!(status.keys, [(old, KeyState::DecryptOnly), (new, KeyState::Active)]);
        assert_eq!((count(&status.uses, old), count(&status.uses, new)), (6, 1));
        refused(w.credentials.retire(&w.a, old).await, ErrorKind::Conflict);

        let mut dry = w.credentials.reseal(&w.a).chunk(3).dry_run();
        let mut last = None;
        while let Some(progress) = dry.step().await.unwrap() {
            last = Some(progress);
        }
        assert_eq!(last.map(|last| (last.resealed, last.broken, last.done)), Some((6, 0, true)));
        assert_eq!(count(&w.credentials.rotation_status(&w.a).await.unwrap().uses, old), 6);

        // Paused after a chunk, and resumed by another process.
        let first = w.credentials.reseal(&w.a).chunk(3).step().await.unwrap().unwrap();
        assert!(!first.done);
        let other = w.elsewhere();
        let mut rest = other.reseal(&w.a).chunk(3);
        let mut steps = 0;
        while let Some(progress) = rest.step().await.unwrap() {
            steps += 1;
            last = Some(progress);
        }
        assert_eq!((steps, last.map(|last| (last.resealed, last.done))), (2, Some((6, true))));
        assert!(w.store.checkpoint(&w.a).await.unwrap().is_none());

        w.credentials.retire(&w.a, old).await.unwrap();
        w.credentials.retire(&w.a, old).await.unwrap();
        for (n, id) in ids.into_iter().enumerate() {
            let opened = w.elsewhere().open(&w.a, id, "look").await.unwrap();
            assert_eq!(token(&opened), format!("token {n}"));
            assert_eq!(opened.info.version, if n == 0 { 2 } else { 1 });
        }
        assert_eq!(token(&w.credentials.open(&w.b, theirs, "look").await.unwrap()), "token");
        assert_eq!(w.credentials.rotation_status(&w.b).await.unwrap().keys.len(), 1);
    }
}

#[tokio::test]
async fn a_process_that_holds_a_retired_key_writes_under_the_new_one() {
    for &kind in KINDS {
        let w = World::new(kind).await;
        let other = w.elsewhere();
        let id = w.put(&w.a, "one").await.id;
        assert_eq!(token(&other.open(&w.a, id, "look").await.unwrap()), "one");
        let old = w.credentials.rotation_status(&w.a).await.unwrap().keys[0].0;
        w.credentials.rotate(&w.a).await.unwrap();
        while w.credentials.reseal(&w.a).step().await.unwrap().is_some_and(|step| !step.done) {}
        w.credentials.retire(&w.a, old).await.unwrap();
        // The other process still has the old key in memory, and believes that it is the active one.
        let next = other.replace(&w.a, id, 1, &secret("two")).await.unwrap();
        assert_eq!(next.version, 2);
        assert_eq!(token(&w.credentials.open(&w.a, id, "look").await.unwrap()), "two");
        assert_eq!(count(&w.credentials.rotation_status(&w.a).await.unwrap().uses, old), 0);
    }
}

#[tokio::test]
async fn c27_rotations_resealings_and_writers_at_once_lose_nothing() {
    for &kind in KINDS {
        let w = Arc::new(World::new(kind).await);
        let mut ids = Vec::new();
        for n in 0..10 {
            ids.push(w.put(&w.a, &format!("{n} 1")).await.id);
        }
        let mut tasks = Vec::new();
        for (n, id) in ids.iter().copied().enumerate() {
            let (w, credentials) = (Arc::clone(&w), w.elsewhere());
            tasks.push(tokio::spawn(async move {
                for version in 1..=5 {
                    let next = secret(&format!("{n} {}", version + 1));
                    credentials.replace(&w.a, id, version, &next).await.unwrap();
                    let opened = credentials.open(&w.a, id, "look").await.unwrap();
                    assert_eq!(token(&opened), format!("{n} {}", version + 1));
                }
            }));
        }
        for _ in 0..2 {
            let (w, credentials) = (Arc::clone(&w), w.elsewhere());
            tasks.push(tokio::spawn(async move {
                for _ in 0..3 {
                    credentials.rotate(&w.a).await.unwrap();
                    let mut reseal = credentials.reseal(&w.a).chunk(4);
                    loop {
                        match reseal.step().await {
                            Ok(Some(_)) => {}
                            Ok(None) => break,
                            // The other one, and the writers, were quicker eight times in a row.
                            Err(error) => assert!(error.is_retryable(), "{error:?}"),
                        }
                    }
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        let mut reseal = w.credentials.reseal(&w.a);
        while reseal.step().await.unwrap().is_some() {}
        for (key, state) in w.credentials.rotation_status(&w.a).await.unwrap().keys {
            if state == KeyState::DecryptOnly {
                w.credentials.retire(&w.a, key).await.unwrap();
            }
        }
        for (n, id) in ids.into_iter().enumerate() {
            let opened = w.elsewhere().open(&w.a, id, "look").await.unwrap();
            assert_eq!((token(&opened), opened.info.version), (format!("{n} 6"), 6));
        }
    }
}

#[tokio::test]
async fn a_value_that_does_not_open_is_counted_and_keeps_its_key() {
    for &kind in SQL {
        let w = World::new(kind).await;
        let mut broken = w.put(&w.a, "token").await.id;
        for n in 0..4 {
            broken = w.put(&w.a, &format!("token {n}")).await.id;
        }
        let broken = w.kept.id(broken);
        w.kept.run(&format!("UPDATE sealed_credentials SET version = 7 WHERE id = {broken}")).await;
        let old = w.credentials.rotation_status(&w.a).await.unwrap().keys[0].0;
        w.credentials.rotate(&w.a).await.unwrap();
        let mut reseal = w.credentials.reseal(&w.a).chunk(2);
        let mut last = None;
        while let Some(progress) = reseal.step().await.unwrap() {
            last = Some((progress.resealed, progress.broken));
        }
        assert_eq!(last, Some((4, 1)));
        refused(w.credentials.retire(&w.a, old).await, ErrorKind::Conflict);
    }
}

#[tokio::test]
async fn a_kek_is_replaced_without_touching_what_is_sealed() {
    for &kind in KINDS {
        let w = World::new(kind).await;
        let (ours, theirs) = (w.put(&w.a, "A").await.id, w.put(&w.b, "B").await.id);
        let stored = w.store.get(&w.a, ours).await.unwrap().value.unwrap();
        let build =
            |keyring| Credentials::builder(&w.issuer, keyring, Arc::clone(&w.store)).build();
        // C25: a process without the KEK that is in use does not start.
        refused(build(last_keyring()).keys().check().await, ErrorKind::Unconfigured);
        let both = build(next_keyring());
        both.keys().check().await.unwrap();
        let authority = authority();
        let keys = both.keys();
        let [old, new] = keks();
        assert_eq!(keys.kek_in_use(&old, &authority).await.unwrap(), 2);
        refused(keys.retire_kek(&old, &authority).await, ErrorKind::Conflict);

        assert_eq!(keys.rewrap_across(organization(0xA), &authority).await.unwrap(), 1);
        refused(keys.retire_kek(&old, &authority).await, ErrorKind::Conflict);
        // What is done is passed over.
        let report = keys.rewrap_all(&authority).await.unwrap();
        assert_eq!((report.rewrapped, report.failed.len()), (1, 0));
        refused(keys.retire_kek(&new, &authority).await, ErrorKind::Conflict);
        keys.retire_kek(&old, &authority).await.unwrap();

        let after = build(last_keyring());
        after.keys().check().await.unwrap();
        assert_eq!(token(&after.open(&w.a, ours, "look").await.unwrap()), "A");
        assert_eq!(token(&after.open(&w.b, theirs, "look").await.unwrap()), "B");
        assert_eq!(w.store.get(&w.a, ours).await.unwrap().value.unwrap(), stored);
    }
}

#[tokio::test]
async fn c26_a_kek_of_a_suspended_organization_or_of_the_platform_is_not_retired() {
    for &kind in KINDS {
        let w = World::new(kind).await;
        let (authority, [old, new]) = (authority(), keks());
        let ours = w.put(&w.a, "A").await.id;
        let context = client_secret();
        let start = KeyEpoch::default();
        let keys = w.credentials.keys();
        let sealed = keys.seal_platform(&context, b"platform", start, &authority).await.unwrap();
        w.issuer.suspend(organization(0xA));

        let build =
            |keyring| Credentials::builder(&w.issuer, keyring, Arc::clone(&w.store)).build();
        let both = build(next_keyring());
        both.keys().check().await.unwrap();
        assert_eq!(both.keys().kek_in_use(&old, &authority).await.unwrap(), 2);
        refused(both.keys().retire_kek(&old, &authority).await, ErrorKind::Conflict);
        assert_eq!(both.keys().rewrap_across(organization(0xA), &authority).await.unwrap(), 1);
        refused(both.keys().retire_kek(&old, &authority).await, ErrorKind::Conflict);
        assert_eq!(both.keys().rewrap_platform(&authority).await.unwrap(), 1);
        both.keys().retire_kek(&old, &authority).await.unwrap();
        assert_eq!(both.keys().kek_in_use(&new, &authority).await.unwrap(), 2);

        w.issuer.resume(organization(0xA));
        let after = build(last_keyring());
        after.keys().check().await.unwrap();
        let a = w.issuer.enter(&ann(), organization(0xA)).await.unwrap();
        assert_eq!(token(&after.open(&a, ours, "look").await.unwrap()), "A");
        let keys = after.keys();
        let opened =
            keys.open_platform(&context, sealed.as_bytes(), sealed.epoch(), &authority).await;
        assert!(opened.unwrap().ct_eq(b"platform"));
    }
}

#[tokio::test]
async fn the_platforms_keys_are_kept_beside_the_organizations() {
    for &kind in KINDS {
        let w = World::new(kind).await;
        let (authority, context) = (authority(), client_secret());
        let keys = w.credentials.keys();
        let sealed = keys
            .seal_platform(&context, b"platform", KeyEpoch::default(), &authority)
            .await
            .unwrap();
        keys.rotate_platform(&authority).await.unwrap();
        let both = Credentials::builder(&w.issuer, next_keyring(), Arc::clone(&w.store)).build();
        assert_eq!(both.keys().rewrap_platform(&authority).await.unwrap(), 2);
        let keys = both.keys();
        let opened =
            keys.open_platform(&context, sealed.as_bytes(), sealed.epoch(), &authority).await;
        assert!(opened.unwrap().ct_eq(b"platform"));
        let ours = keys.open(&w.a, &context, sealed.as_bytes(), KeyEpoch::default()).await;
        refused(ours, ErrorKind::Corrupt);
    }
}

/// Whoever writes holds the row of the epoch until the commit: a rotation that came between would
/// count the value under no key.
#[cfg(feature = "postgres")]
#[tokio::test]
async fn c26_on_postgresql_no_key_changes_while_a_sealed_value_is_written() {
    use sqlx::{Connection as _, Executor as _};
    let w = Arc::new(World::new(Kind::Postgres).await);
    w.put(&w.a, "first").await;
    let Kept::Postgres(database) = &w.kept else { panic!("on PostgreSQL") };
    // The write stops before its row is there.
    w.kept
        .run(
            "CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NEW; END $$;
             CREATE TRIGGER stop BEFORE INSERT ON sealed_credentials
             FOR EACH ROW EXECUTE FUNCTION stop()",
        )
        .await;
    let mut gate = database.superuser().await;
    gate.execute("SELECT pg_advisory_lock(7)").await.unwrap();
    let writer = tokio::spawn({
        let w = Arc::clone(&w);
        async move { w.put(&w.a, "second").await }
    });
    let mut looker = database.superuser().await;
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut looker).await.unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    let row = "SELECT 1 FROM organization_key_rings FOR UPDATE NOWAIT";
    let refused = looker.execute(row).await.unwrap_err();
    let code = refused.as_database_error().and_then(|error| error.code()).unwrap().into_owned();
    assert_eq!(code, "55P03", "lock_not_available");
    gate.close().await.unwrap();
    writer.await.unwrap();
    looker.execute(row).await.unwrap();
}

/// Two KEKs, of which a process lost one: what is wrapped under the other is there.
#[tokio::test]
async fn c24_a_kek_that_is_absent_hides_no_credential_of_another() {
    for &kind in KINDS {
        let w = World::new(kind).await;
        let mut lost = Vec::new();
        for n in 0..3 {
            lost.push(w.put(&w.a, &format!("old {n}")).await.id);
        }
        let theirs = w.put(&w.b, "old").await.id;
        let both = Credentials::builder(&w.issuer, next_keyring(), Arc::clone(&w.store)).build();
        let first = both.rotation_status(&w.a).await.unwrap().keys[0].0;
        let second = both.rotate(&w.a).await.unwrap();
        let kept = both.put(&w.a, NewCredential::new("shopify"), &secret("new")).await.unwrap().id;

        let late = Credentials::builder(&w.issuer, last_keyring(), Arc::clone(&w.store)).build();
        let listed = late.list(&w.a).await.unwrap();
        assert_eq!(listed.len(), 4);
        for (id, info) in listed {
            match info {
                Ok(info) => assert_eq!((id, info.id), (kept, kept)),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Unconfigured);
                    assert!(lost.contains(&id));
                }
            }
        }
        assert_eq!(token(&late.open(&w.a, kept, "look").await.unwrap()), "new");
        refused(late.open(&w.a, lost[0], "look").await, ErrorKind::Unconfigured);

        // Sealing anew goes past them, and the key stays.
        both.rotate(&w.a).await.unwrap();
        let late = Credentials::builder(&w.issuer, last_keyring(), Arc::clone(&w.store)).build();
        let mut reseal = late.reseal(&w.a).chunk(2);
        let mut last = None;
        while let Some(progress) = reseal.step().await.unwrap() {
            last = Some(progress);
        }
        assert_eq!(last.map(|last| (last.resealed, last.broken)), Some((1, 3)));
        refused(late.retire(&w.a, first).await, ErrorKind::Conflict);
        late.retire(&w.a, second).await.unwrap();
        for id in lost {
            assert!(token(&both.open(&w.a, id, "look").await.unwrap()).starts_with("old"));
        }
        assert_eq!(token(&both.open(&w.b, theirs, "look").await.unwrap()), "old");
    }
}
