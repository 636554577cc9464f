//! A planted secret is looked for wherever it has no business.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tenantry::credential::{NewCredential, Plaintext};
use tenantry::database::doctor::EnvironmentCheck;

use super::search::{Traced, forms};
use super::world::*;
use crate::leaks::fixture::confess;

const PLANTED: &str = "planted-9c1d-4f6e-token";

#[track_caller]
fn clean(text: &str) {
    for form in forms(PLANTED.as_bytes()) {
        assert!(!text.contains(&form), "{form} in {text}");
    }
}

fn clean_files(path: &Path) {
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            clean_files(&path);
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        for form in forms(PLANTED.as_bytes()) {
            let found = bytes.windows(form.len()).any(|window| window == form.as_bytes());
            assert!(!found, "{form} in {}", path.display());
        }
    }
}

#[tokio::test]
async fn c39_a_planted_secret_is_nowhere_but_where_it_was_asked_for() {
    let (traced, _guard) = Traced::listen();
    let w = World::new(Kind::Sql).await;
    let c = &w.credentials;
    let id = w.put(&w.a, PLANTED).await.id;
    let imported =
        c.import(&w.a, NewCredential::new("x"), PLANTED.as_bytes(), &Plaintext::new("t")).await;
    let opened = c.open(&w.a, id, "look").await.unwrap();
    clean(&format!("{opened:?} {opened:#?} {imported:?} {c:?} {:?}", w.store));
    clean(&format!("{:?} {:?}", secret(PLANTED), Plaintext::new("t")));
    clean(&serde_json::to_string(&c.export(&w.a).await.unwrap()).unwrap());
    clean(&format!("{:?}", c.list(&w.a).await.unwrap()));
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
    c.rotate(&w.a).await.unwrap();
    let mut reseal = c.reseal(&w.a);
    while let Some(progress) = reseal.step().await.unwrap() {
        clean(&format!("{progress:?} {reseal:?}"));
    }
    clean(&format!("{:?}", c.rotation_status(&w.a).await.unwrap()));
    run_raw(&w.path, "UPDATE sealed_credentials SET version = 9").await.unwrap();
    clean(&confess(&c.open(&w.a, id, "look").await.map(drop).unwrap_err()));
    w.issuer.flush_audit().await.unwrap();
    clean(&format!("{:?}", w.sink.events_across(&authority()).await.unwrap()));
    assert!(w.dir.path().join("credentials.db-wal").exists());
    clean_files(w.dir.path());
    clean(&traced.text());
}

/// How many times a text stands in the files of a directory.
fn occurrences(dir: &Path, text: &str) -> usize {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let found = |path| {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(text.len()).filter(|window| *window == text.as_bytes()).count()
    };
    files.filter(|path| path.is_file()).map(found).sum()
}

/// What the chapter tells an operator to run after texts were sealed that lay in the database.
#[tokio::test]
async fn c30_after_the_purge_of_the_manual_no_sealed_text_is_left_on_disk() {
    let soon = tenantry::now() + time::Duration::days(1);
    let format = Plaintext::new("access_token");
    let w = World::with(Kind::Sql, |builder| builder.accept_legacy_until(soon, format)).await;
    let mut ids = Vec::new();
    for scope in [&w.a, &w.b].repeat(100) {
        ids.push((scope, w.put(scope, "example-token").await.id));
    }
    let unsealed =
        format!("UPDATE sealed_credentials SET sealed = CAST('{PLANTED}' AS BLOB), key_id = NULL");
    run_raw(&w.path, &unsealed).await.unwrap();
    for scope in [&w.a, &w.b] {
        let mut reseal = w.credentials.reseal(scope);
        while reseal.step().await.unwrap().is_some() {}
    }
    assert!(occurrences(w.dir.path(), PLANTED) > 0, "the store overwrites: nothing is purged here");
    run_raw(&w.path, PURGE).await.unwrap();
    assert_eq!(occurrences(w.dir.path(), PLANTED), 0);
    for (scope, id) in ids {
        assert_eq!(token(&w.credentials.open(scope, id, "look").await.unwrap()), PLANTED);
    }
}

/// The statements of docs/credentials.md.
const PURGE: &str = "VACUUM; PRAGMA wal_checkpoint(TRUNCATE)";

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
