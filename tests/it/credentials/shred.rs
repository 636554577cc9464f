//! What is destroyed stays destroyed.

use std::sync::Arc;

use tenantry::credential::{
    CredentialId, Credentials, FileLedger, MemoryLedger, NewCredential, ShredGrade,
    ShredLedger as _,
};
use tenantry::crypto::{FallbackUnwrap, KeyProvider, conformance};
use tenantry::{ErrorKind, TenantScope};

use super::keks::OwnKeks;
use super::world::*;

#[tokio::test]
async fn c28_a_shredded_organization_opens_nothing_and_stores_nothing() {
    for &kind in KINDS {
        let w = World::new(kind).await;
        let (ours, theirs) = (w.put(&w.a, "A").await.id, w.put(&w.b, "B").await.id);
        let other = w.elsewhere();
        other.open(&w.a, ours, "look").await.unwrap();
        assert_eq!(w.credentials.shred(&w.a).await.unwrap(), ShredGrade::KeyRowDeleted);
        // C29: here at once, and in the other process with its next read.
        for credentials in [&w.credentials, &other, &w.elsewhere()] {
            refused(credentials.open(&w.a, ours, "look").await, ErrorKind::Shredded);
            refused(credentials.list(&w.a).await, ErrorKind::Shredded);
            let put = credentials.put(&w.a, NewCredential::new("x"), &secret("x")).await;
            refused(put, ErrorKind::Shredded);
            refused(credentials.replace(&w.a, ours, 1, &secret("x")).await, ErrorKind::Shredded);
            refused(credentials.rotate(&w.a).await, ErrorKind::Shredded);
            refused(credentials.reseal(&w.a).step().await, ErrorKind::Shredded);
            assert_eq!(token(&credentials.open(&w.b, theirs, "look").await.unwrap()), "B");
        }
        assert_eq!(w.credentials.shred(&w.a).await.unwrap(), ShredGrade::KeyRowDeleted);
        w.credentials.delete(&w.a, ours).await.unwrap();
    }
}

#[tokio::test]
async fn c28_a_restored_backup_brings_no_shredded_organization_back() {
    for &kind in SQL {
        let w = World::new(kind).await;
        let (ours, theirs) = (w.put(&w.a, "A").await.id, w.put(&w.b, "B").await.id);
        w.kept.back_up().await;
        let ledger = FileLedger::create(w.dir.path().join("shredded.jsonl")).unwrap();
        // Each as a process that was started after the restore.
        let build = |ledger: Option<&FileLedger>| {
            let builder = Credentials::builder(&w.issuer, keyring(), Arc::clone(&w.store));
            match ledger {
                Some(ledger) => builder.ledger(ledger.clone()).build(),
                None => builder.build(),
            }
        };
        let now = build(Some(&ledger));
        assert_eq!(now.shred(&w.a).await.unwrap(), ShredGrade::KeyRowDeletedAndLedgered);
        refused(build(None).open(&w.a, ours, "look").await, ErrorKind::Shredded);

        // What the grade without a ledger does not promise.
        w.kept.restore().await;
        assert_eq!(token(&build(None).open(&w.a, ours, "look").await.unwrap()), "A");

        w.kept.restore().await;
        let with = build(Some(&ledger));
        refused(with.open(&w.a, ours, "look").await, ErrorKind::Shredded);
        let put = with.put(&w.a, NewCredential::new("x"), &secret("x")).await;
        refused(put, ErrorKind::Shredded);
        assert_eq!(token(&with.open(&w.b, theirs, "look").await.unwrap()), "B");
        // The keys are gone from the restored database as well.
        refused(build(None).open(&w.a, ours, "look").await, ErrorKind::Shredded);
    }
}

/// As a process that was started with a provider, after the store was made.
fn started(w: &World, provider: impl KeyProvider) -> Credentials {
    Credentials::builder(&w.issuer, provider, Arc::clone(&w.store)).build()
}

async fn put(c: &Credentials, scope: &TenantScope, token: &str) -> CredentialId {
    c.put(scope, NewCredential::new("shopify"), &secret(token)).await.unwrap().id
}

#[tokio::test]
async fn a_provider_with_a_kek_for_each_organization_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    conformance::key_provider(&OwnKeks::in_folder(dir.path())).await.unwrap();
}

#[tokio::test]
async fn c28_what_was_wrapped_under_a_destroyed_kek_no_backup_brings_back() {
    for &kind in KINDS {
        for ledgered in [false, true] {
            let w = World::new(kind).await;
            let own = OwnKeks::in_folder(w.dir.path().join("keks"));
            let builder = Credentials::builder(&w.issuer, own.clone(), Arc::clone(&w.store));
            let builder = if ledgered { builder.ledger(MemoryLedger::new()) } else { builder };
            let now = builder.build();
            let (ours, theirs) = (put(&now, &w.a, "A").await, put(&now, &w.b, "B").await);
            let restorable = SQL.contains(&kind);
            if restorable {
                w.kept.back_up().await;
            }
            assert_eq!(now.shred(&w.a).await.unwrap(), ShredGrade::KekDestroyed);
            assert!(!own.has(w.a.organization()) && own.has(w.b.organization()));
            for c in [&now, &started(&w, own.clone())] {
                refused(c.open(&w.a, ours, "look").await, ErrorKind::Shredded);
            }
            // A second time it reaches as far.
            assert_eq!(now.shred(&w.a).await.unwrap(), ShredGrade::KekDestroyed);
            if restorable {
                w.kept.restore().await;
                // Nobody tells this process that the organization was shredded.
                let restored = started(&w, own.clone());
                refused(restored.open(&w.a, ours, "look").await, ErrorKind::Corrupt);
                let next = NewCredential::new("shopify");
                refused(restored.put(&w.a, next, &secret("x")).await, ErrorKind::Corrupt);
                assert_eq!(token(&restored.open(&w.b, theirs, "look").await.unwrap()), "B");
            }
            assert!(!own.has(w.a.organization()));
            assert_eq!(token(&now.open(&w.b, theirs, "look").await.unwrap()), "B");
        }
    }
}

#[tokio::test]
async fn c31_a_kek_that_could_not_be_destroyed_is_by_the_next_attempt() {
    for &kind in KINDS {
        let w = World::new(kind).await;
        let own = OwnKeks::in_folder(w.dir.path().join("keks"));
        let c = started(&w, own.clone());
        let (ours, theirs) = (put(&c, &w.a, "A").await, put(&c, &w.b, "B").await);
        if SQL.contains(&kind) {
            w.kept.back_up().await;
        }
        own.fail(true);
        for c in [&c, &started(&w, own.clone())] {
            // No grade is promised that was not reached; the data keys are gone all the same.
            refused(c.shred(&w.a).await, ErrorKind::Unavailable);
            refused(c.open(&w.a, ours, "look").await, ErrorKind::Shredded);
        }
        assert!(own.has(w.a.organization()));
        own.fail(false);
        let c = started(&w, own.clone());
        assert_eq!(c.shred(&w.a).await.unwrap(), ShredGrade::KekDestroyed);
        assert!(!own.has(w.a.organization()));
        if SQL.contains(&kind) {
            w.kept.restore().await;
            let restored = started(&w, own.clone());
            refused(restored.open(&w.a, ours, "look").await, ErrorKind::Corrupt);
        }
        assert_eq!(token(&c.open(&w.b, theirs, "look").await.unwrap()), "B");
    }
}

/// A data key that was made under a shared KEK stays under it in the backups of then.
#[tokio::test]
async fn c28_while_an_old_provider_is_asked_too_no_more_is_promised_than_both_keep() {
    for &kind in SQL {
        let w = World::new(kind).await;
        let ours = w.put(&w.a, "A").await.id;
        w.kept.back_up().await;
        let own = OwnKeks::in_folder(w.dir.path().join("keks"));
        let both = || FallbackUnwrap::new(own.clone(), keyring()).unwrap();
        let moved = started(&w, both());
        assert_eq!(moved.keys().rewrap(&w.a).await.unwrap(), 1);
        assert!(own.has(w.a.organization()));
        assert_eq!(moved.shred(&w.a).await.unwrap(), ShredGrade::KeyRowDeleted);
        assert!(!own.has(w.a.organization()));
        w.kept.restore().await;
        let opened = started(&w, both()).open(&w.a, ours, "look").await.unwrap();
        assert_eq!(token(&opened), "A");
    }
}

#[tokio::test]
async fn c31_a_ledger_that_fails_destroys_nothing() {
    #[derive(Debug)]
    struct Down;
    #[async_trait::async_trait]
    impl tenantry::credential::ShredLedger for Down {
        async fn record(
            &self,
            _: &tenantry::OrganizationId,
            _: time::OffsetDateTime,
        ) -> tenantry::Result<()> {
            Err(tenantry::Error::outage("the ledger is away", "planted"))
        }
        async fn find(
            &self,
            _: &tenantry::OrganizationId,
        ) -> tenantry::Result<Option<time::OffsetDateTime>> {
            Ok(None)
        }
    }
    for &kind in KINDS {
        let w = World::with(kind, |builder| builder.ledger(Down)).await;
        let id = w.put(&w.a, "A").await.id;
        refused(w.credentials.shred(&w.a).await, ErrorKind::Unavailable);
        assert_eq!(token(&w.credentials.open(&w.a, id, "look").await.unwrap()), "A");
    }
}

#[tokio::test]
async fn c28_a_ledger_that_is_missing_or_open_to_others_is_no_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.jsonl");
    refused(FileLedger::open(&path), ErrorKind::Unconfigured);
    assert!(!path.exists());
    let ledger = FileLedger::create(&path).unwrap();
    ledger.record(&organization(1), time::OffsetDateTime::UNIX_EPOCH).await.unwrap();
    refused(FileLedger::create(&path), ErrorKind::Conflict);
    refused(FileLedger::create(dir.path().join("absent/ledger")), ErrorKind::Unconfigured);
    let ledger = FileLedger::open(&path).unwrap();
    assert!(ledger.find(&organization(1)).await.unwrap().is_some());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let set = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        for mode in [0o620, 0o602, 0o666] {
            set(mode);
            refused(FileLedger::open(&path), ErrorKind::Unconfigured);
        }
        set(0o644);
        FileLedger::open(&path).unwrap();
    }
}

/// As processes do: each has opened the file by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_many_write_at_once_keeps_every_line_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.jsonl");
    FileLedger::create(&path).unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for first in 1..=8 {
        let ledger = FileLedger::open(&path).unwrap();
        writers.spawn(async move {
            for number in first..first + 10 {
                let at = time::OffsetDateTime::UNIX_EPOCH;
                ledger.record(&organization(number), at).await.unwrap();
            }
        });
    }
    while let Some(written) = writers.join_next().await {
        written.unwrap();
    }
    let ledger = FileLedger::open(&path).unwrap();
    for number in 1..=17 {
        assert!(ledger.find(&organization(number)).await.unwrap().is_some(), "{number}");
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 18);
}

#[tokio::test]
async fn a_ledger_survives_a_torn_line_and_refuses_a_misshapen_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.jsonl");
    let ledger = FileLedger::create(&path).unwrap();
    let at = time::OffsetDateTime::UNIX_EPOCH;
    ledger.record(&organization(1), at).await.unwrap();
    let whole = std::fs::read(&path).unwrap();
    let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let line = &whole[first..];
    std::fs::write(&path, [&whole, &line[..line.len() / 2]].concat()).unwrap();
    let ledger = FileLedger::open(&path).unwrap();
    assert!(ledger.find(&organization(1)).await.unwrap().is_some());
    ledger.record(&organization(2), at).await.unwrap();
    ledger.record(&organization(2), at).await.unwrap();
    for number in [1, 2] {
        assert!(
            FileLedger::open(&path).unwrap().find(&organization(number)).await.unwrap().is_some()
        );
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 3);
    assert!(ledger.find(&organization(3)).await.unwrap().is_none());
    // Another file, whatever is in it, is neither an empty ledger nor written over.
    let bent = [&whole[..first], b"{}\n"].concat();
    for other in [&b""[..], b"a key without a line break", b"{}\n", &[0xFF, 0xFE], &bent] {
        std::fs::write(&path, other).unwrap();
        refused(FileLedger::open(&path), ErrorKind::Corrupt);
        let at = time::OffsetDateTime::UNIX_EPOCH;
        refused(ledger.record(&organization(3), at).await, ErrorKind::Corrupt);
        assert_eq!(std::fs::read(&path).unwrap(), other);
    }
    refused(ledger.find(&organization(1)).await, ErrorKind::Corrupt);
    std::fs::remove_file(&path).unwrap();
    refused(ledger.find(&organization(1)).await, ErrorKind::Unavailable);
    let memory = MemoryLedger::new();
    memory.record(&organization(1), at).await.unwrap();
    assert!(memory.clone().find(&organization(1)).await.unwrap().is_some());
}
