//! A planted secret is looked for wherever it has no business.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sqlx::Connection as _;
use tenantry::credential::{Credentials, NewCredential, Plaintext};
use tenantry::crypto::KekId;
use tenantry::database::doctor::EnvironmentCheck;
use uuid::Uuid;

use super::search::{Traced, forms};
use super::world::*;
use crate::leaks::fixture::{again, confess, raw};
#[cfg(feature = "postgres")]
use crate::postgres::cluster::Cluster;

const TRACED: &str = "TENANTRY_TEST_TRACED";
const PLANTED: &str = "planted-9c1d-4f6e-token";

#[track_caller]
fn clean(text: &str) {
    for form in forms(PLANTED.as_bytes()) {
        assert!(!text.contains(&form), "{form} in {text}");
    }
}

fn clean_files(path: &Path) {
    in_files(path, &mut |path, text| {
        for form in forms(PLANTED.as_bytes()) {
            assert!(!text.contains(&form), "{form} in {}", path.display());
        }
    });
}

/// Every file, as text: every form of a secret is ASCII, and bytes around it change nothing.
fn in_files(path: &Path, visit: &mut impl FnMut(&Path, &str)) {
    for entry in std::fs::read_dir(path).unwrap() {
        let (path, kind) = entry.map(|entry| (entry.path(), entry.file_type().unwrap())).unwrap();
        if kind.is_dir() {
            in_files(&path, visit);
        } else if kind.is_file() {
            visit(&path, &String::from_utf8_lossy(&std::fs::read(&path).unwrap()));
        }
    }
}

/// Whatever can be done with a credential, and whatever goes wrong with one.
async fn everything(w: &World) {
    let c = &w.credentials;
    let id = w.put(&w.a, PLANTED).await.id;
    let format = Plaintext::new("t");
    let imported = c.import(&w.a, NewCredential::new("x"), PLANTED.as_bytes(), &format).await;
    let imported = imported.unwrap();
    let opened = c.open(&w.a, id, "look").await.unwrap();
    clean(&format!("{opened:?} {opened:#?} {imported:?} {c:?} {:?}", w.store));
    clean(&format!("{:?} {format:?}", secret(PLANTED)));
    for (_, info) in c.export(&w.a).await.unwrap() {
        clean(&serde_json::to_string(&info.unwrap()).unwrap());
    }
    clean(&format!("{:?}", c.list(&w.a).await.unwrap()));
    c.replace(&w.a, id, 1, &secret(&format!("{PLANTED} 2"))).await.unwrap();
    let stored = w.store.get(&w.a, id).await.unwrap();
    clean(&format!("{stored:?} {:?}", stored.value.as_ref().unwrap().sealed));

    let errors = [
        c.replace(&w.a, id, 9, &secret(PLANTED)).await.map(drop).unwrap_err(),
        c.put(&w.a, NewCredential::new(""), &secret(PLANTED)).await.map(drop).unwrap_err(),
        c.put(&w.a, NewCredential::new("x"), &secret(&PLANTED.repeat(99_999))).await.unwrap_err(),
        c.open(&w.b, id, "look").await.map(drop).unwrap_err(),
    ];
    for error in &errors {
        clean(&confess(error));
    }
    let old = c.rotation_status(&w.a).await.unwrap().keys[0].0;
    c.rotate(&w.a).await.unwrap();
    let mut reseal = c.reseal(&w.a);
    while let Some(progress) = reseal.step().await.unwrap() {
        clean(&format!("{progress:?} {reseal:?}"));
    }
    c.retire(&w.a, old).await.unwrap();
    clean(&format!("{:?}", c.rotation_status(&w.a).await.unwrap()));
    let next = Credentials::builder(&w.issuer, next_keyring(), Arc::clone(&w.store)).build();
    next.keys().check().await.unwrap();
    clean(&format!("{:?}", next.keys().rewrap_all(&authority()).await.unwrap()));
    let opened = next.open(&w.a, id, "look").await.unwrap();
    assert_eq!(token(&opened), format!("{PLANTED} 2"));
    c.delete(&w.a, imported.id).await.unwrap();
}

/// The end of it, in errors of what does not open and of what is no more.
async fn ending(w: &World) {
    let (c, id) = (&w.credentials, w.credentials.export(&w.a).await.unwrap()[0].0);
    if SQL.contains(&w.kind) {
        w.kept.run("UPDATE sealed_credentials SET version = 9").await;
        clean(&confess(&c.open(&w.a, id, "look").await.map(drop).unwrap_err()));
    }
    c.shred(&w.a).await.unwrap();
    clean(&confess(&c.open(&w.a, id, "look").await.map(drop).unwrap_err()));
    w.issuer.flush_audit().await.unwrap();
    clean(&format!("{:?}", w.sink.events_across(&authority()).await.unwrap()));
}

/// A process of its own, for what is traced in any of its threads: does nothing unless it is started
/// as such.
#[tokio::test]
async fn a_process_that_is_traced() {
    let Ok(kind) = std::env::var(TRACED) else { return };
    let traced = Traced::default();
    tracing::subscriber::set_global_default(traced.clone()).unwrap();
    let kind = KINDS.iter().find(|each| format!("{each:?}") == kind).unwrap();
    let w = World::new(*kind).await;
    everything(&w).await;
    ending(&w).await;
    let control = || {
        let _span = tracing::trace_span!("control", spanned = "spanned control").entered();
        tracing::trace!(evented = "evented control");
    };
    std::thread::spawn(control).join().unwrap();
    let traced = traced.text();
    for control in ["spanned control", "evented control", "CredentialOpened", "KeysShredded"] {
        assert!(traced.contains(control), "{control} in {traced}");
    }
    clean(&traced);
    println!("searched {} bytes of traces", traced.len());
}

#[test]
fn c39_nothing_of_a_secret_is_traced_printed_or_left_in_the_temporary_directory() {
    for kind in KINDS {
        let dir = tempfile::tempdir().unwrap();
        let output = again(module_path!(), "a_process_that_is_traced")
            .env(TRACED, format!("{kind:?}"))
            .env("TMPDIR", dir.path())
            .output()
            .unwrap();
        let [out, err] =
            [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert!(output.status.success() && out.contains("searched "), "{kind:?} {out} {err}");
        clean(&out);
        clean(&err);
        clean_files(dir.path());
    }
}

#[tokio::test]
async fn c39_a_planted_secret_is_nowhere_but_where_it_was_asked_for() {
    for &kind in KINDS {
        let (traced, _guard) = Traced::listen();
        nowhere_beside(World::new(kind).await).await;
        clean(&traced.text());
    }
}

/// Looks through whatever lies in the world's directory.
async fn nowhere_beside(w: World) {
    everything(&w).await;
    let files = std::fs::read_dir(w.dir.path()).unwrap().count();
    assert_eq!(files > 0, w.kind.is_kept_in_files(), "{:?}", w.kind);
    if w.kind == Kind::Sqlite {
        assert!(w.dir.path().join("credentials.db-wal").exists());
    }
    let mut found = false;
    in_files(w.dir.path(), &mut |_, text| found |= text.contains("main shop"));
    assert_eq!(found, w.kind.is_kept_in_files(), "the search looks where the label is");
    ending(&w).await;
    clean_files(w.dir.path());
}

/// Every statement is logged with the values that are bound to it.
#[cfg(feature = "postgres")]
#[tokio::test]
async fn c39_neither_the_log_nor_the_files_of_postgresql_have_a_planted_secret() {
    static LOGGED: std::sync::LazyLock<Cluster> = std::sync::LazyLock::new(|| {
        Cluster::start(&[
            "log_statement = all",
            "log_parameter_max_length = -1",
            "log_parameter_max_length_on_error = -1",
            "log_error_verbosity = verbose",
        ])
    });
    let kept = Kept::Postgres(LOGGED.database().await);
    let dir = tempfile::tempdir().unwrap();
    let w = World::within(Kind::Postgres, kept, dir, |builder| builder).await;
    everything(&w).await;
    let sealed = w.kept.sealed(w.credentials.export(&w.a).await.unwrap()[0].0).await;
    ending(&w).await;
    LOGGED.control("stop");
    clean_files(LOGGED.directory());
    // The search looks where the sealed value is, and reads what lies in the tables.
    let log = std::fs::read_to_string(LOGGED.directory().join("log")).unwrap();
    assert!(log.contains(&hex::encode(&sealed)));
    let mut found = false;
    in_files(&LOGGED.directory().join("data/base"), &mut |_, text| {
        found |= text.contains("main shop")
    });
    assert!(found);
}

/// How many times the bytes stand in the files of a directory.
fn occurrences(dir: &Path, wanted: &[u8]) -> usize {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let found = |path| {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(wanted.len()).filter(|window| *window == wanted).count()
    };
    files.filter(|path| path.is_file()).map(found).sum()
}

/// What the chapter tells an operator to run after texts were sealed that lay in the database.
#[tokio::test]
async fn c30_after_the_purge_of_the_manual_no_sealed_text_is_left_on_disk() {
    let soon = tenantry::now() + time::Duration::days(1);
    let format = Plaintext::new("access_token");
    let w = World::with(Kind::Sqlite, |builder| builder.accept_legacy_until(soon, format)).await;
    let mut ids = Vec::new();
    for scope in [&w.a, &w.b].repeat(100) {
        ids.push((scope, w.put(scope, "example-token").await.id));
    }
    let unsealed =
        format!("UPDATE sealed_credentials SET sealed = CAST('{PLANTED}' AS BLOB), key_id = NULL");
    w.kept.run(&unsealed).await;
    for scope in [&w.a, &w.b] {
        let mut reseal = w.credentials.reseal(scope);
        while reseal.step().await.unwrap().is_some() {}
    }
    assert!(
        occurrences(w.dir.path(), PLANTED.as_bytes()) > 0,
        "the store overwrites: nothing is purged here"
    );
    w.kept.run(PURGE).await;
    assert_eq!(occurrences(w.dir.path(), PLANTED.as_bytes()), 0);
    for (scope, id) in ids {
        assert_eq!(token(&w.credentials.open(scope, id, "look").await.unwrap()), PLANTED);
    }
}

/// The statements of docs/credentials.md.
const PURGE: &str = "VACUUM; PRAGMA wal_checkpoint(TRUNCATE)";

/// The wrapped keys that the database has, with the key of each row.
async fn wrapped_keys(w: &World) -> Vec<(Uuid, Vec<u8>)> {
    let rows: Vec<(Vec<u8>, Vec<u8>)> = match &w.kept {
        Kept::Sqlite(path) => {
            let sql = "SELECT key_id, wrapped FROM organization_keys WHERE wrapped IS NOT NULL";
            let mut connection = raw(path).await;
            let rows = sqlx::query_as(sql).fetch_all(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            rows
        }
        #[cfg(feature = "postgres")]
        Kept::Postgres(database) => {
            let sql = "SELECT uuid_send(key_id), wrapped FROM organization_keys WHERE wrapped IS NOT NULL";
            let mut connection = database.superuser().await;
            let rows = sqlx::query_as(sql).fetch_all(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            rows
        }
        _ => unreachable!("no SQL reaches it"),
    };
    rows.into_iter().map(|(id, key)| (Uuid::from_slice(&id).unwrap(), key)).collect()
}

/// What the chapter tells an operator to run on PostgreSQL.
#[cfg(feature = "postgres")]
#[tokio::test]
async fn c28_on_postgresql_a_full_vacuum_leaves_nothing_of_a_destroyed_key_in_the_tables() {
    let w = World::new(Kind::Postgres).await;
    for scope in [&w.a, &w.b] {
        w.put(scope, "token").await;
    }
    let Kept::Postgres(database) = &w.kept else { unreachable!("it is PostgreSQL") };
    let mut connection = database.superuser().await;
    let sql = "SELECT oid::text FROM pg_database WHERE datname = current_database()";
    let folder: String = sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let folder = Cluster::shared().directory().join("data/base").join(folder);
    let before = wrapped_keys(&w).await;
    w.kept.run("CHECKPOINT").await;
    assert!(before.iter().all(|(_, key)| occurrences(&folder, key) > 0));
    w.credentials.shred(&w.a).await.unwrap();
    let after = wrapped_keys(&w).await;
    w.kept.run("VACUUM FULL organization_keys").await;
    w.kept.run("CHECKPOINT").await;
    for key in before {
        assert_eq!(occurrences(&folder, &key.1) > 0, after.contains(&key));
    }
}

#[tokio::test]
async fn c28_nothing_of_a_destroyed_key_is_left_in_the_file_or_its_log() {
    let w = World::new(Kind::Sqlite).await;
    let left = |key: &[u8]| occurrences(w.dir.path(), key);
    for round in 0..20 {
        for scope in [&w.a, &w.b] {
            w.put(scope, &format!("token {round}")).await;
            w.credentials.rotate(scope).await.unwrap();
        }
    }
    let before = wrapped_keys(&w).await;
    assert_eq!(before.len(), 42);
    assert!(before.iter().all(|(_, key)| left(key) > 0));

    // Retired: one of A's.
    let keys = w.credentials.rotation_status(&w.a).await.unwrap().keys;
    let mut reseal = w.credentials.reseal(&w.a);
    while reseal.step().await.unwrap().is_some() {}
    w.credentials.retire(&w.a, keys[3].0).await.unwrap();
    let after = wrapped_keys(&w).await;
    let gone = |after: &[(Uuid, Vec<u8>)]| -> Vec<(Uuid, Vec<u8>)> {
        before.iter().filter(|key| !after.contains(key)).cloned().collect()
    };
    assert_eq!(gone(&after).len(), 1);
    assert_eq!(left(&gone(&after)[0].1), 0);

    // Re-wrapped, and the KEK retired: every wrapping under it.
    let next = Credentials::builder(&w.issuer, next_keyring(), Arc::clone(&w.store)).build();
    next.keys().check().await.unwrap();
    next.keys().rewrap_all(&authority()).await.unwrap();
    let old = KekId::new("local", "2026-01").unwrap();
    next.keys().retire_kek(&old, &authority()).await.unwrap();
    assert!(before.iter().all(|(_, key)| left(key) == 0));

    // Shredded: all of A's, and none of B's.
    let before = wrapped_keys(&w).await;
    next.shred(&w.a).await.unwrap();
    let after = wrapped_keys(&w).await;
    let (theirs, ours): (Vec<_>, Vec<_>) = before.iter().partition(|key| after.contains(key));
    assert_eq!((ours.len(), theirs.len()), (20, 21));
    assert!(ours.iter().all(|(_, key)| left(key) == 0));
    assert!(theirs.iter().all(|(_, key)| left(key) > 0));
}

/// The search finds what is there.
#[test]
fn the_search_finds_each_form() {
    for form in forms(PLANTED.as_bytes()) {
        let text = format!("before {form} after");
        assert!(std::panic::catch_unwind(|| clean(&text)).is_err(), "{form}");
    }
    let nested = STANDARD.encode(format!("12{PLANTED}34"));
    assert!(std::panic::catch_unwind(|| clean(&nested)).is_err());
}

/// Every file of the repository, but for what is built or generated.
fn repository(dir: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !["target", ".git", "mutants"].contains(&name.as_str()) {
            repository(&path, found);
        } else if path.is_file() {
            found.push(path);
        }
    }
}

#[test]
fn c42_no_file_of_the_repository_holds_a_credential() {
    let mut files = Vec::new();
    repository(Path::new(env!("CARGO_MANIFEST_DIR")), &mut files);
    assert!(files.len() > 100, "{}", files.len());
    // Put together here, for this file is one of them.
    let begin = ["-----BEGIN", "PRIVATE KEY-----"].join(" ");
    for path in files {
        let report = EnvironmentCheck::new().file(&path).unwrap().report();
        assert!(report.is_safe(), "{}: {report}", path.display());
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        assert!(!text.contains(&begin), "a private key in {}", path.display());
        for word in text.split(|c: char| !c.is_ascii_alphanumeric()) {
            let named = ["AKIA", "ASIA"].iter().any(|prefix| word.starts_with(prefix));
            let aws = named && word.len() == 20 && word.chars().all(|c| !c.is_ascii_lowercase());
            assert!(!aws, "a key id of AWS in {}", path.display());
        }
    }
}
