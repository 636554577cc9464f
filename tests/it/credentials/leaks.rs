//! A planted secret is looked for wherever it has no business.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tenantry::credential::{NewCredential, Plaintext};

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
