//! Calls that are dropped at every await leave what was or what was to be, and stand in nobody's way:
//! the same call, made again in the same process, does its work.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tenantry::credential::{
    Credentials, FileLedger, KeyState, NewCredential, Plaintext, ShredGrade,
};
use tenantry::{ErrorKind, Result, TenantScope};

use super::world::*;

/// Where a call is dropped: at the wait of this number.
#[derive(Debug, Clone, Copy)]
struct Cut {
    wait: usize,
    /// Whether what it waits for has come by then.
    come: bool,
}

/// Polls a future until it is dropped: `None` then.
async fn cut<F: Future>(future: F, Cut { wait, come }: Cut) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut waited = 0;
    std::future::poll_fn(|cx| {
        if waited == wait {
            return Poll::Ready(None);
        }
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => {
                waited += 1;
                if waited == wait && !come { Poll::Ready(None) } else { Poll::Pending }
            }
        }
    })
    .await
}

/// Drops a call at each of its waits, in a process that has just started, until it comes to its end
/// by itself.
async fn at_every_wait(w: &World, mut call: impl AsyncFnMut(Credentials, Cut) -> bool) {
    let waits = at_each(w, &mut call).await;
    assert!(waits > 0 || w.kind == Kind::Memory, "{:?}: it never waited", w.kind);
}

async fn at_each(w: &World, call: &mut impl AsyncFnMut(Credentials, Cut) -> bool) -> usize {
    let mut waits = 0;
    for wait in 1.. {
        let mut dropped = false;
        // An answer may be there before anybody waits for it: then it is tried again.
        for attempt in 0..ATTEMPTS {
            dropped |= !call(w.elsewhere(), Cut { wait, come: attempt % 2 == 1 }).await;
            if dropped && attempt > 0 {
                break;
            }
        }
        if !dropped {
            break;
        }
        waits = wait;
    }
    assert_eq!(tokens(&w.credentials, &w.b).await.unwrap(), ["theirs"]);
    waits
}

/// A's credentials have these tokens, B's has its own.
async fn with(kind: Kind, ours: &[&str]) -> World {
    let w = World::new(kind).await;
    for token in ours {
        w.put(&w.a, token).await;
    }
    w.put(&w.b, "theirs").await;
    w
}

async fn tokens(c: &Credentials, scope: &TenantScope) -> Result<Vec<String>> {
    let mut tokens = Vec::new();
    for (id, info) in c.list(scope).await? {
        let opened = c.open(scope, id, "look").await?;
        assert_eq!(opened.info, info.unwrap());
        tokens.push(token(&opened));
    }
    tokens.sort();
    Ok(tokens)
}

fn shop() -> NewCredential {
    NewCredential::new("shopify")
}

#[tokio::test]
async fn a_credential_whose_storing_is_dropped_is_whole_or_absent() {
    for &kind in KINDS {
        for import in [false, true] {
            // The organization's first key is made on the way, once.
            let w = with(kind, &[]).await;
            let (mut dropped, mut ended) = (0, 0);
            at_every_wait(&w, async |c, at| {
                let done = if import {
                    let form = Plaintext::new("access_token");
                    cut(c.import(&w.a, shop(), b"dropped", &form), at).await
                } else {
                    cut(c.put(&w.a, shop(), &secret("dropped")), at).await
                };
                let done = done.map(Result::unwrap);
                c.put(&w.a, shop(), &secret("again")).await.unwrap();
                if let Some(info) = &done {
                    let opened = c.open(&w.a, info.id, "look").await.unwrap();
                    assert_eq!(token(&opened), "dropped");
                }
                *(if done.is_some() { &mut ended } else { &mut dropped }) += 1;
                done.is_some()
            })
            .await;
            let found = tokens(&w.elsewhere(), &w.a).await.unwrap();
            let again = found.iter().filter(|token| *token == "again").count();
            assert_eq!(again, dropped + ended);
            assert!((ended..=dropped + ended).contains(&(found.len() - again)), "{found:?}");
        }
    }
}

#[tokio::test]
async fn a_credential_whose_replacing_is_dropped_is_the_old_or_the_new_one() {
    for &kind in KINDS {
        let w = with(kind, &["1"]).await;
        let id = w.credentials.export(&w.a).await.unwrap()[0].0;
        at_every_wait(&w, async |c, at| {
            // The token says the version that it belongs to.
            let version = async || {
                let opened = c.open(&w.a, id, "look").await.unwrap();
                assert_eq!(token(&opened), opened.info.version.to_string());
                opened.info.version
            };
            let next = |seen: u64| secret(&(seen + 1).to_string());
            let seen = version().await;
            let done = cut(c.replace(&w.a, id, seen, &next(seen)), at).await.map(Result::unwrap);
            let found = version().await;
            assert!(found == seen + 1 || found == seen && done.is_none());
            match c.replace(&w.a, id, found, &next(found)).await {
                // What was begun may be completed after it was dropped.
                Err(error) if error.kind() == ErrorKind::Conflict && found == seen => {
                    assert_eq!(version().await, seen + 1);
                    c.replace(&w.a, id, seen + 1, &next(seen + 1)).await.unwrap();
                }
                replaced => assert_eq!(replaced.unwrap().version, found + 1),
            }
            done.is_some()
        })
        .await;
    }
}

#[tokio::test]
async fn a_credential_whose_deletion_is_dropped_is_there_or_gone() {
    for &kind in KINDS {
        let w = with(kind, &["kept"]).await;
        at_every_wait(&w, async |c, at| {
            let id = w.put(&w.a, "deleted").await.id;
            let done = cut(c.delete(&w.a, id), at).await.map(Result::unwrap);
            match c.open(&w.a, id, "look").await {
                Ok(opened) => assert_eq!((token(&opened), done), ("deleted".to_owned(), None)),
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
            }
            match c.delete(&w.a, id).await {
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
                Ok(()) => assert!(done.is_none()),
            }
            assert_eq!(tokens(&c, &w.a).await.unwrap(), ["kept"]);
            done.is_some()
        })
        .await;
    }
}

#[tokio::test]
async fn what_is_read_by_a_call_that_is_dropped_is_read_by_the_next() {
    for &kind in KINDS {
        let w = with(kind, &["one", "two"]).await;
        let id = w.credentials.export(&w.a).await.unwrap()[0].0;
        let one = token(&w.credentials.open(&w.a, id, "look").await.unwrap());
        // From memory and from SQLite both are read without waiting, as it happens.
        let mut opening = async |c: Credentials, at| {
            let done = cut(c.open(&w.a, id, "look"), at).await.map(Result::unwrap);
            assert_eq!(token(&c.open(&w.a, id, "look").await.unwrap()), one);
            done.is_some()
        };
        let mut listing = async |c: Credentials, at| {
            let done = cut(c.list(&w.a), at).await.map(Result::unwrap);
            assert_eq!(tokens(&c, &w.a).await.unwrap(), ["one", "two"]);
            done.is_some()
        };
        let waits = at_each(&w, &mut opening).await + at_each(&w, &mut listing).await;
        assert!(waits > 0 || matches!(kind, Kind::Memory | Kind::Sqlite), "{kind:?}");
    }
}

#[tokio::test]
async fn a_rotation_that_is_dropped_has_made_a_key_or_none() {
    for &kind in KINDS {
        let w = with(kind, &["one"]).await;
        at_every_wait(&w, async |c, at| {
            let keys = async || c.rotation_status(&w.a).await.unwrap().keys;
            let before = keys().await.len();
            let done = cut(c.rotate(&w.a), at).await.map(Result::unwrap);
            let next = c.rotate(&w.a).await.unwrap();
            let keys = keys().await;
            let made = keys.len() - before;
            assert!(made == 2 || made == 1 && done.is_none(), "{made}");
            let active = keys.iter().filter(|(_, state)| *state == KeyState::Active);
            assert_eq!(active.map(|(key, _)| *key).collect::<Vec<_>>(), [next]);
            assert_eq!(tokens(&c, &w.a).await.unwrap(), ["one"]);
            done.is_some()
        })
        .await;
    }
}

#[tokio::test]
async fn a_chunk_whose_resealing_is_dropped_is_sealed_anew_or_as_it_was() {
    for &kind in KINDS {
        let w = with(kind, &["one", "three", "two"]).await;
        at_every_wait(&w, async |c, at| {
            let active = w.credentials.rotate(&w.a).await.unwrap();
            let mut reseal = c.reseal(&w.a).chunk(2);
            let done = cut(reseal.step(), at).await.map(|step| step.unwrap().unwrap());
            assert!(done.is_none_or(|first| (first.resealed, first.done) == (2, false)));
            assert_eq!(tokens(&c, &w.a).await.unwrap(), ["one", "three", "two"]);
            while let Some(step) = reseal.step().await.unwrap() {
                assert_eq!(step.broken, 0);
            }
            let uses = c.rotation_status(&w.a).await.unwrap().uses;
            let uses: Vec<_> = uses.iter().map(|each| (each.key, each.count)).collect();
            assert_eq!(uses, [(Some(active), 3)]);
            assert!(w.store.checkpoint(&w.a).await.unwrap().is_none());
            assert_eq!(tokens(&c, &w.a).await.unwrap(), ["one", "three", "two"]);
            done.is_some()
        })
        .await;
    }
}

#[tokio::test]
async fn a_key_whose_retirement_is_dropped_is_destroyed_or_not() {
    for &kind in KINDS {
        let w = with(kind, &["one"]).await;
        at_every_wait(&w, async |c, at| {
            let old = w.credentials.rotation_status(&w.a).await.unwrap().keys.last().unwrap().0;
            w.credentials.rotate(&w.a).await.unwrap();
            let mut reseal = w.credentials.reseal(&w.a);
            while reseal.step().await.unwrap().is_some() {}
            let done = cut(c.retire(&w.a, old), at).await.map(Result::unwrap);
            assert_eq!(tokens(&c, &w.a).await.unwrap(), ["one"]);
            c.retire(&w.a, old).await.unwrap();
            let keys = c.rotation_status(&w.a).await.unwrap().keys;
            assert!(keys.contains(&(old, KeyState::Destroyed)));
            let living = keys.iter().filter(|(_, state)| *state != KeyState::Destroyed).count();
            assert_eq!(living, 1);
            done.is_some()
        })
        .await;
    }
}

#[tokio::test]
async fn an_organization_whose_shredding_is_dropped_is_whole_or_shredded() {
    for &kind in KINDS {
        let w = with(kind, &[]).await;
        let ledger = FileLedger::create(w.dir.path().join("ledger.jsonl")).unwrap();
        let mut numbers = SPENT;
        at_every_wait(&w, async |_, at| {
            let organization = organization(numbers.next().unwrap());
            let scope = w.issuer.enter(&ann(), organization).await.unwrap();
            for token in ["one", "two"] {
                w.put(&scope, token).await;
            }
            let builder = Credentials::builder(&w.issuer, keyring(), Arc::clone(&w.store));
            let c = builder.ledger(ledger.clone()).build();
            // The keys are in memory.
            assert_eq!(tokens(&c, &scope).await.unwrap(), ["one", "two"]);
            let done = cut(c.shred(&scope), at).await.map(Result::unwrap);
            match tokens(&c, &scope).await {
                Ok(found) => {
                    assert_eq!(found, ["one", "two"]);
                    assert!(done.is_none());
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Shredded),
            }
            let grade = c.shred(&scope).await.unwrap();
            assert_eq!(grade, ShredGrade::KeyRowDeletedAndLedgered);
            for c in [&c, &w.credentials, &w.elsewhere()] {
                refused(tokens(c, &scope).await, ErrorKind::Shredded);
            }
            done.is_some()
        })
        .await;
    }
}

/// In either way of being dropped, five times.
const ATTEMPTS: usize = 10;
