//! What is destroyed stays destroyed.

use std::sync::Arc;

use tenantry::ErrorKind;
use tenantry::credential::{
    Credentials, FileLedger, MemoryLedger, NewCredential, ShredGrade, ShredLedger as _,
};

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
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 17);
}

#[tokio::test]
async fn a_ledger_survives_a_torn_line_and_refuses_a_misshapen_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.jsonl");
    let ledger = FileLedger::create(&path).unwrap();
    let at = time::OffsetDateTime::UNIX_EPOCH;
    ledger.record(&organization(1), at).await.unwrap();
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, [&whole, &whole[..whole.len() / 2]].concat()).unwrap();
    let ledger = FileLedger::open(&path).unwrap();
    assert!(ledger.find(&organization(1)).await.unwrap().is_some());
    ledger.record(&organization(2), at).await.unwrap();
    ledger.record(&organization(2), at).await.unwrap();
    for number in [1, 2] {
        assert!(
            FileLedger::open(&path).unwrap().find(&organization(number)).await.unwrap().is_some()
        );
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
    assert!(ledger.find(&organization(3)).await.unwrap().is_none());
    std::fs::write(&path, b"{}\n").unwrap();
    refused(FileLedger::open(&path), ErrorKind::Corrupt);
    refused(ledger.find(&organization(1)).await, ErrorKind::Corrupt);
    std::fs::remove_file(&path).unwrap();
    refused(ledger.find(&organization(1)).await, ErrorKind::Unavailable);
    let memory = MemoryLedger::new();
    memory.record(&organization(1), at).await.unwrap();
    assert!(memory.clone().find(&organization(1)).await.unwrap().is_some());
}
