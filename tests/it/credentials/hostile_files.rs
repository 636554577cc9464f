//! What whoever writes the files gets: nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tenantry::audit::AuditKind;
use tenantry::credential::{CredentialId, Credentials};
use tenantry::crypto::{KekId, KeyOwner, SealContext, SecretKind};
use tenantry::{ErrorKind, TenantScope};

use super::world::*;

fn directory(w: &World, scope: &TenantScope) -> PathBuf {
    let Kept::Files(path) = &w.kept else { panic!("not in files") };
    path.join(scope.organization().encoded())
}

fn file(w: &World, scope: &TenantScope, id: CredentialId) -> PathBuf {
    directory(w, scope).join(format!("{}.credential", id.as_uuid().simple()))
}

/// The file with another owner, or one of its parts, and a digest that is right: any program can
/// make one.
fn forged(file: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut body = file[..file.len() - 32].to_vec();
    let at = body.windows(from.len()).position(|window| window == from).unwrap();
    body[at..at + to.len()].copy_from_slice(to);
    let digest = Sha256::digest(&body);
    body.extend(digest);
    body
}

#[tokio::test]
async fn c17_no_file_opens_in_another_place() {
    let w = World::new(Kind::Files).await;
    let (one, two) = (w.put(&w.a, "A one").await.id, w.put(&w.a, "A two").await.id);
    let theirs = w.put(&w.b, "B one").await.id;
    let (ours, own) = (file(&w, &w.a, one), fs::read(file(&w, &w.a, one)).unwrap());
    let second = fs::read(file(&w, &w.a, two)).unwrap();
    let foreign = fs::read(file(&w, &w.b, theirs)).unwrap();
    let [a, b] = [&w.a, &w.b].map(|scope| scope.organization().encoded().into_bytes());
    let [one_, two_, theirs_] = [one, two, theirs].map(|id| id.as_uuid().into_bytes());
    let version = [&one_[..], &1_u64.to_be_bytes()].concat();
    let later = [&one_[..], &2_u64.to_be_bytes()].concat();
    w.credentials.rotate(&w.a).await.unwrap();
    for (what, planted, kind) in [
        ("theirs as ours", forged(&forged(&foreign, &b, &a), &theirs_, &one_), ErrorKind::Corrupt),
        ("our other one as this", forged(&second, &two_, &one_), ErrorKind::Corrupt),
        ("of another provider", forged(&own, b"shopify", b"shopifx"), ErrorKind::Corrupt),
        ("of a later version", forged(&own, &version, &later), ErrorKind::Corrupt),
        ("of another form", forged(&own, b"\"label\"", b"\"lapel\""), ErrorKind::Corrupt),
        ("half of it", own[..own.len() / 2].to_vec(), ErrorKind::Corrupt),
        ("nothing", Vec::new(), ErrorKind::Corrupt),
        ("text", b"plain token".to_vec(), ErrorKind::Corrupt),
        // The last ones, for they end the scope.
        ("theirs", foreign.clone(), ErrorKind::Incident),
        ("our other one", second.clone(), ErrorKind::Incident),
    ] {
        fs::write(&ours, &planted).unwrap();
        for credentials in [&w.credentials, &w.elsewhere()] {
            if kind == ErrorKind::Corrupt {
                w.does_not_open(credentials, &w.a, one, what).await;
                let _ = credentials.replace(&w.a, one, 7, &secret("new")).await.unwrap_err();
            } else {
                w.halts(one, async |a| credentials.open(a, one, "look").await.map(drop)).await;
                w.halts(one, async |a| credentials.list(a).await.map(drop)).await;
                w.halts(one, async |a| credentials.export(a).await.map(drop)).await;
                let next = secret("new");
                let replace = async |a: &TenantScope| credentials.replace(a, one, 1, &next).await;
                w.halts(one, async |a| replace(a).await.map(drop)).await;
                w.halts(one, async |a| credentials.reseal(a).step().await.map(drop)).await;
            }
            // What cannot be read is not overwritten.
            assert_eq!(fs::read(&ours).unwrap(), planted, "{what}");
        }
        assert_eq!(token(&w.credentials.open(&w.b, theirs, "look").await.unwrap()), "B one");
    }
    fs::write(&ours, own).unwrap();
    let a = w.again().await;
    assert_eq!(token(&w.elsewhere().open(&a, one, "look").await.unwrap()), "A one");
}

#[tokio::test]
async fn c17_the_keys_and_the_directory_of_another_organization_open_nothing() {
    let w = World::new(Kind::Files).await;
    let (one, theirs) = (w.put(&w.a, "A one").await.id, w.put(&w.b, "B one").await.id);
    let [ours, foreign] = [&w.a, &w.b].map(|scope| directory(&w, scope).join("keys.sheet"));
    let (own, keys) = (fs::read(&ours).unwrap(), fs::read(&foreign).unwrap());
    let [a, b] = [&w.a, &w.b].map(|scope| scope.organization().encoded().into_bytes());
    fs::write(&ours, &keys).unwrap();
    let c = w.elsewhere();
    w.halts(None, async |a| c.list(a).await.map(drop)).await;
    w.halts(None, async |a| c.rotation_status(a).await.map(drop)).await;
    w.halts(None, async |a| c.rotate(a).await.map(drop)).await;
    w.halts(one, async |a| c.open(a, one, "look").await.map(drop)).await;
    w.halts(None, async |a| {
        let place = SealContext::new(SecretKind::File, *one.as_uuid(), "x", "y", 1)?;
        c.keys().seal(a, &place, b"text").await.map(drop)
    })
    .await;

    // With their keys under our name, and their credential as ours.
    fs::write(&ours, forged(&keys, &b, &a)).unwrap();
    let credential = fs::read(file(&w, &w.b, theirs)).unwrap();
    fs::write(file(&w, &w.a, theirs), forged(&credential, &b, &a)).unwrap();
    let ours_again = w.again().await;
    unreadable(w.elsewhere().open(&ours_again, theirs, "look").await);
    fs::remove_file(file(&w, &w.a, theirs)).unwrap();
    fs::write(&ours, own).unwrap();
    assert_eq!(token(&w.elsewhere().open(&ours_again, one, "look").await.unwrap()), "A one");

    fs::remove_dir_all(directory(&w, &w.a)).unwrap();
    fs::rename(directory(&w, &w.b), directory(&w, &w.a)).unwrap();
    w.halts(theirs, async |a| c.open(a, theirs, "look").await.map(drop)).await;
    refused(w.elsewhere().open(&w.b, theirs, "look").await, ErrorKind::NotFound);
}

#[tokio::test]
async fn c20_an_old_file_put_back_under_the_new_version_is_a_rollback_in_the_audit() {
    let w = World::new(Kind::Files).await;
    let id = w.put(&w.a, "old").await.id;
    let old = fs::read(file(&w, &w.a, id)).unwrap();
    w.credentials.replace(&w.a, id, 1, &secret("new")).await.unwrap();
    let id_ = id.as_uuid().into_bytes();
    let [was, is] = [1_u64, 2].map(|version| [&id_[..], &version.to_be_bytes()].concat());
    fs::write(file(&w, &w.a, id), forged(&old, &was, &is)).unwrap();
    w.does_not_open(&w.credentials, &w.a, id, "old").await;
    assert!(w.reasons().await.iter().any(|reason| reason.contains("earlier version")));
    // What is not promised: a whole file is as it was then.
    fs::write(file(&w, &w.a, id), old).unwrap();
    assert_eq!(token(&w.credentials.open(&w.a, id, "look").await.unwrap()), "old");
}

/// One directory that cannot be read keeps nobody else's keys from being re-wrapped, and the old KEK
/// from being given up.
#[tokio::test]
async fn c26_a_damaged_directory_is_listed_and_keeps_its_kek() {
    let w = World::new(Kind::Files).await;
    let (one, theirs) = (w.put(&w.a, "A").await.id, w.put(&w.b, "B").await.id);
    let (old, authority) = (KekId::new("local", "2026-01").unwrap(), authority());
    let [ours, foreign] = [&w.a, &w.b].map(|scope| directory(&w, scope).join("keys.sheet"));
    let (own, keys) = (fs::read(&ours).unwrap(), fs::read(&foreign).unwrap());
    let open = |mode| {
        fs::set_permissions(directory(&w, &w.a), fs::Permissions::from_mode(mode)).unwrap();
    };
    let next = Credentials::builder(&w.issuer, next_keyring(), Arc::clone(&w.store)).build();
    next.keys().check().await.unwrap();
    for (sheet, mode, kind, rewrapped) in [
        (&own, 0o750, ErrorKind::Unconfigured, 1),
        (&own[..9].to_vec(), 0o700, ErrorKind::Corrupt, 0),
        (&keys, 0o700, ErrorKind::Incident, 0),
    ] {
        fs::write(&ours, sheet).unwrap();
        open(mode);
        let report = next.keys().rewrap_all(&authority).await.unwrap();
        let [(owner, error)] = &report.failed[..] else { panic!("{kind:?}: {report:?}") };
        let a = w.a.organization().clone();
        assert_eq!((owner, error.kind()), (&KeyOwner::Organization(a), kind));
        assert_eq!(report.rewrapped, rewrapped, "{kind:?}");
        refused(next.keys().kek_in_use(&old, &authority).await, kind);
        refused(next.keys().retire_kek(&old, &authority).await, kind);
        open(0o700);
        assert_eq!(token(&next.open(&w.b, theirs, "look").await.unwrap()), "B");
        if kind == ErrorKind::Incident {
            assert_eq!(w.events(&w.a, AuditKind::Incident).await.len(), 1);
            refused(next.open(&w.a, one, "look").await, ErrorKind::Denied);
            w.issuer.resume(w.a.organization().clone());
        }
    }
    fs::write(&ours, own).unwrap();
    assert_eq!(next.keys().rewrap_all(&authority).await.unwrap().rewrapped, 1);
    next.keys().retire_kek(&old, &authority).await.unwrap();
    let a = w.again().await;
    assert_eq!(token(&next.open(&a, one, "look").await.unwrap()), "A");
}

#[tokio::test]
async fn c26_no_key_is_retired_while_a_file_cannot_be_read() {
    let w = World::new(Kind::Files).await;
    let (broken, sound) = (w.put(&w.a, "one").await.id, w.put(&w.a, "two").await.id);
    let whole = fs::read(file(&w, &w.a, broken)).unwrap();
    fs::write(file(&w, &w.a, broken), &whole[..40]).unwrap();
    let c = &w.credentials;
    let old = w.store.get(&w.a, sound).await.unwrap().value.unwrap().key.unwrap();
    c.rotate(&w.a).await.unwrap();
    let mut reseal = c.reseal(&w.a);
    let progress = reseal.step().await.unwrap().unwrap();
    assert_eq!((progress.resealed, progress.broken, progress.done), (1, 1, true));
    refused(c.retire(&w.a, old).await, ErrorKind::Corrupt);
    // From a backup: it opens, for its key was kept.
    fs::write(file(&w, &w.a, broken), whole).unwrap();
    assert_eq!(token(&c.open(&w.a, broken, "look").await.unwrap()), "one");
    refused(c.retire(&w.a, old).await, ErrorKind::Conflict);
    while c.reseal(&w.a).step().await.unwrap().is_some_and(|step| !step.done) {}
    c.retire(&w.a, old).await.unwrap();
    assert_eq!(token(&c.open(&w.a, broken, "look").await.unwrap()), "one");
}

#[tokio::test]
async fn c28_a_restored_directory_brings_no_shredded_organization_back() {
    use tenantry::credential::{Credentials, FileLedger};
    let w = World::new(Kind::Files).await;
    let (ours, theirs) = (w.put(&w.a, "A").await.id, w.put(&w.b, "B").await.id);
    let keys = directory(&w, &w.a).join("keys.sheet");
    let backup = fs::read(&keys).unwrap();
    let ledger = FileLedger::create(w.dir.path().join("shredded.jsonl")).unwrap();
    let build = || Credentials::builder(&w.issuer, keyring(), std::sync::Arc::clone(&w.store));
    build().ledger(ledger.clone()).build().shred(&w.a).await.unwrap();
    refused(w.elsewhere().open(&w.a, ours, "look").await, ErrorKind::Shredded);
    // No copy of the wrapped keys is left.
    for entry in fs::read_dir(directory(&w, &w.a)).unwrap() {
        let text = fs::read(entry.unwrap().path()).unwrap();
        assert!(!String::from_utf8_lossy(&text).contains("local:"), "a wrapped key is left");
    }
    assert!(String::from_utf8_lossy(&backup).contains("local:"));

    fs::write(&keys, &backup).unwrap();
    assert_eq!(token(&w.elsewhere().open(&w.a, ours, "look").await.unwrap()), "A");
    let with = build().ledger(ledger).build();
    refused(with.open(&w.a, ours, "look").await, ErrorKind::Shredded);
    refused(w.elsewhere().open(&w.a, ours, "look").await, ErrorKind::Shredded);
    assert_eq!(token(&with.open(&w.b, theirs, "look").await.unwrap()), "B");
}

#[tokio::test]
async fn a_directory_that_is_open_to_others_or_lost_is_refused() {
    let w = World::new(Kind::Files).await;
    let id = w.put(&w.a, "A").await.id;
    let ours = directory(&w, &w.a);
    fs::set_permissions(&ours, fs::Permissions::from_mode(0o750)).unwrap();
    let c = &w.credentials;
    refused(c.open(&w.a, id, "look").await, ErrorKind::Unconfigured);
    refused(c.list(&w.a).await, ErrorKind::Unconfigured);
    refused(c.replace(&w.a, id, 1, &secret("x")).await, ErrorKind::Unconfigured);
    refused(c.delete(&w.a, id).await, ErrorKind::Unconfigured);
    fs::set_permissions(&ours, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(token(&c.open(&w.a, id, "look").await.unwrap()), "A");
    let missing = w.dir.path().join("missing/credentials");
    refused(tenantry::credential::FileCredentialStore::open(missing), ErrorKind::Unconfigured);
}
