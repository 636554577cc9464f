//! What A observes is the same whatever B does with its credentials, and is what a model says.
//!
//! Programs are drawn. A's runs three times: where B does nothing, beside one program of B's and
//! beside another one; in the last two B also takes sealed values of A into its own rows, under A's
//! ids. Ids and keys are random: an observation names them by the order in which they were met.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tenantry::credential::{CredentialId, CredentialInfo, Credentials, NewCredential, Written};
use tenantry::crypto::KeyId;
use tenantry::{ErrorKind, Result, TenantScope};

use super::model::{Model, Sees};
use super::world::*;
use crate::leaks::fixture::confess;

/// A number picks one of what there is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    Put {
        provider: u8,
        token: u16,
    },
    Open {
        which: u8,
    },
    OpenForeign {
        which: u8,
    },
    Replace {
        which: u8,
        stale: bool,
        token: u16,
    },
    ReplaceForeign {
        which: u8,
    },
    Delete {
        which: u8,
    },
    DeleteForeign {
        which: u8,
    },
    List,
    Export,
    Rotate,
    Reseal {
        chunk: u8,
    },
    Retire {
        which: u8,
    },
    Status,
    Rewrap,
    /// The next acts are those of a process that knows nothing yet.
    Restart,
    /// The other organization's stored value becomes one of ours, under the same id.
    Steal {
        which: u8,
    },
    Shred,
}

pub(super) const PROVIDERS: [&str; 2] = ["shopify", "google"];

fn act(steals: bool) -> impl Strategy<Value = Act> {
    let which = any::<u8>();
    prop_oneof![
        6 => (any::<u8>(), any::<u16>()).prop_map(|(provider, token)| Act::Put { provider, token }),
        5 => which.prop_map(|which| Act::Open { which }),
        2 => which.prop_map(|which| Act::OpenForeign { which }),
        4 => (which, any::<bool>(), any::<u16>())
            .prop_map(|(which, stale, token)| Act::Replace { which, stale, token }),
        1 => which.prop_map(|which| Act::ReplaceForeign { which }),
        2 => which.prop_map(|which| Act::Delete { which }),
        1 => which.prop_map(|which| Act::DeleteForeign { which }),
        2 => Just(Act::List),
        1 => Just(Act::Export),
        2 => Just(Act::Rotate),
        2 => (1..5_u8).prop_map(|chunk| Act::Reseal { chunk }),
        2 => which.prop_map(|which| Act::Retire { which }),
        2 => Just(Act::Status),
        1 => Just(Act::Rewrap),
        1 => Just(Act::Restart),
        3 => which.prop_map(move |which| if steals { Act::Steal { which } } else { Act::Open { which } }),
        1 => prop_oneof![2 => Just(Act::List), 1 => Just(Act::Shred)],
    ]
}

fn program(steals: bool) -> impl Strategy<Value = Vec<Act>> {
    proptest::collection::vec(act(steals), 1..24)
}

/// An organization at work, and what it has met.
struct Desk {
    scope: TenantScope,
    credentials: Credentials,
    /// Every credential that it ever stored.
    ids: Vec<CredentialId>,
    model: Model,
    /// Whatever its errors let one see.
    errors: Vec<String>,
}

impl Desk {
    fn new(w: &World, scope: &TenantScope) -> Self {
        let (scope, credentials) = (scope.clone(), w.elsewhere());
        Self { scope, credentials, ids: Vec::new(), model: Model::default(), errors: Vec::new() }
    }

    fn number(&self, id: CredentialId) -> usize {
        self.ids.iter().position(|other| *other == id).expect("a credential that it stored")
    }

    fn info(&self, info: &CredentialInfo) -> Sees {
        let CredentialInfo { provider, label, version, created_at, updated_at, .. } = info;
        assert_eq!(label.as_deref(), Some("main shop"));
        assert!(created_at <= updated_at);
        Sees::Info { number: self.number(info.id), provider: provider.clone(), version: *version }
    }

    #[allow(clippy::ptr_arg, reason = "what is seen is what was answered")]
    fn many(&self, listed: &Vec<(CredentialId, Result<CredentialInfo>)>) -> Sees {
        assert!(listed.is_sorted_by_key(|(id, _)| *id));
        let each = |(id, info): &(CredentialId, Result<CredentialInfo>)| {
            let seen = match info {
                Ok(info) => self.info(info),
                Err(error) => Sees::Refused(error.kind()),
            };
            (self.number(*id), seen)
        };
        Sees::Many(listed.iter().map(each).collect())
    }

    fn own(&self, which: u8) -> (usize, CredentialId) {
        let number = usize::from(which).checked_rem(self.ids.len());
        number.map_or((usize::MAX, NOBODYS), |number| (number, self.ids[number]))
    }

    /// Does it, compares with the model, and says what was observed.
    async fn act(&mut self, w: &World, act: Act, others: &[CredentialId]) -> Sees {
        let others: Vec<_> = others.iter().filter(|id| !self.ids.contains(id)).collect();
        let foreign = |which: u8| {
            let number = usize::from(which).checked_rem(others.len());
            number.map_or(NOBODYS, |number| *others[number])
        };
        let (c, scope) = (self.credentials.clone(), self.scope.clone());
        let observed = match act {
            Act::Put { provider, token } => {
                let provider = PROVIDERS[usize::from(provider) % PROVIDERS.len()];
                let new = NewCredential::new(provider).label("main shop");
                let put = c.put(&scope, new, &secret(&token.to_string())).await;
                self.ids.extend(put.as_ref().ok().map(|info| info.id));
                self.sees(put, Self::info)
            }
            Act::Open { which } => self.opened(&c, self.own(which).1).await,
            Act::OpenForeign { which } => self.opened(&c, foreign(which)).await,
            Act::Replace { which, stale, token } => {
                let (number, id) = self.own(which);
                let seen = if stale { 99 } else { self.model.version(number) };
                let replaced = c.replace(&scope, id, seen, &secret(&token.to_string())).await;
                self.sees(replaced, Self::info)
            }
            Act::ReplaceForeign { which } => {
                let replaced = c.replace(&scope, foreign(which), 1, &secret("taken")).await;
                self.sees(replaced, Self::info)
            }
            Act::Delete { which } => {
                let id = self.own(which).1;
                self.done(c.delete(&scope, id).await)
            }
            Act::DeleteForeign { which } => self.done(c.delete(&scope, foreign(which)).await),
            Act::List => {
                let listed = c.list(&scope).await;
                self.sees(listed, Self::many)
            }
            Act::Export => {
                let exported = c.export(&scope).await;
                self.sees(exported, Self::many)
            }
            Act::Rotate => self.done(c.rotate(&scope).await.map(drop)),
            Act::Reseal { chunk } => self.resealed(&c, chunk).await,
            Act::Retire { which } => {
                let keys = c.rotation_status(&scope).await.unwrap().keys;
                let key = usize::from(which).checked_rem(keys.len()).map(|at| keys[at].0);
                match key {
                    None => Sees::Refused(ErrorKind::NotFound),
                    Some(key) => self.done(c.retire(&scope, key).await),
                }
            }
            Act::Status => {
                let status = c.rotation_status(&scope).await;
                self.sees(status, |_, status| {
                    let count = |key| {
                        let of = status.uses.iter().filter(|each| each.key == key);
                        of.map(|each| each.count).sum::<u64>()
                    };
                    let known: BTreeSet<_> = status.keys.iter().map(|(key, _)| *key).collect();
                    let foreign = |key: KeyId| !known.contains(&key);
                    let foreign = status.uses.iter().filter(|each| each.key.is_none_or(foreign));
                    let keys = status.keys.iter().map(|(key, state)| (*state, count(Some(*key))));
                    let of_others = foreign.map(|each| each.count).sum();
                    Sees::Keys { keys: keys.collect(), of_others }
                })
            }
            Act::Rewrap => self.done(c.keys().rewrap(&scope).await.map(drop)),
            Act::Restart => {
                self.credentials = w.elsewhere();
                Sees::Done
            }
            Act::Steal { which } => self.stolen(w, foreign(which)).await,
            Act::Shred => self.done(c.shred(&scope).await.map(drop)),
        };
        assert_eq!(observed, self.model.act(act), "{act:?}");
        observed
    }

    async fn opened(&mut self, c: &Credentials, id: CredentialId) -> Sees {
        let opened = c.open(&self.scope, id, "look").await;
        self.sees(opened, |desk, opened| Sees::Opened {
            info: Box::new(desk.info(&opened.info)),
            token: token(opened),
        })
    }

    async fn resealed(&mut self, c: &Credentials, chunk: u8) -> Sees {
        let scope = self.scope.clone();
        let mut reseal = c.reseal(&scope).chunk(chunk.into());
        let (mut resealed, mut broken) = (0, 0);
        loop {
            match reseal.step().await {
                Ok(Some(progress)) => (resealed, broken) = (progress.resealed, progress.broken),
                Ok(None) => return Sees::Resealed { resealed, broken },
                Err(error) => return self.done(Err(error)),
            }
        }
    }

    /// By the open trait, as whoever has both scopes could.
    async fn stolen(&mut self, w: &World, id: CredentialId) -> Sees {
        let theirs = if self.scope.organization() == w.b.organization() { &w.a } else { &w.b };
        let stored = w.store.get(theirs, id).await.unwrap().value;
        let epoch = w.store.usage(&self.scope).await.unwrap().epoch;
        if let Some(stored) = stored
            && w.store.insert(&self.scope, epoch, &stored).await.unwrap() == Written::Done
        {
            self.ids.push(id);
            self.model.stole(&stored.info);
        }
        Sees::Done
    }

    fn sees<T>(&mut self, outcome: Result<T>, sees: impl FnOnce(&Self, &T) -> Sees) -> Sees {
        match outcome {
            Ok(value) => sees(self, &value),
            Err(error) => {
                self.errors.push(confess(&error));
                Sees::Refused(error.kind())
            }
        }
    }

    fn done(&mut self, outcome: Result<()>) -> Sees {
        self.sees(outcome, |_, ()| Sees::Done)
    }
}

/// What A observes of its program beside one of B's: outcomes, errors, and what its audit holds.
async fn world(kind: Kind, ours: &[Act], theirs: &[Act]) -> (Vec<Sees>, Vec<String>, Vec<String>) {
    let w = World::new(kind).await;
    let (mut a, mut b) = (Desk::new(&w, &w.a), Desk::new(&w, &w.b));
    let mut observed = Vec::new();
    for turn in 0..ours.len().max(theirs.len()) {
        if let Some(act) = theirs.get(turn) {
            b.act(&w, *act, &a.ids).await;
        }
        if let Some(act) = ours.get(turn) {
            observed.push(a.act(&w, *act, &b.ids).await);
        }
    }
    w.issuer.flush_audit().await.unwrap();
    let event = |event: &tenantry::audit::AuditEvent| {
        let text = format!("{:?} {:?} {:?}", event.kind, event.statement, event.detail);
        names(text)
    };
    let mut events: Vec<_> = w.sink.events_for(&w.a).unwrap().iter().map(event).collect();
    // Acts are recorded before they are done, and the rest by a queue: only what there is counts.
    events.sort();
    (observed, a.errors, events)
}

/// A text without the random names in it.
fn names(text: String) -> String {
    let is_name = |word: &str| uuid::Uuid::try_parse(word).is_ok();
    let words = text.split_inclusive(|c: char| c != '-' && !c.is_ascii_hexdigit());
    words
        .map(|word| {
            if is_name(word.trim_end_matches(|c: char| !c.is_ascii_hexdigit())) {
                "#"
            } else {
                word
            }
        })
        .collect()
}

fn in_three_worlds(kind: Kind, programs: u32) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = Config {
        cases: programs,
        failure_persistence: None,
        max_shrink_iters: 300,
        ..Config::default()
    };
    let programs = (program(false), program(true), program(true));
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&programs, |(ours, theirs, others)| {
        runtime.block_on(async {
            let alone = world(kind, &ours, &[]).await;
            for theirs in [&theirs, &others] {
                let beside = world(kind, &ours, theirs).await;
                assert_eq!(beside.0, alone.0, "what A observes depends on B");
                assert_eq!(beside.1, alone.1, "A's errors depend on B");
                assert_eq!(beside.2, alone.2, "A's audit depends on B");
            }
        });
        Ok(())
    });
    outcome.unwrap();
}

/// Nobody's credential.
const NOBODYS: CredentialId = CredentialId::from_uuid(uuid::Uuid::from_u128(7));

#[test]
fn what_a_observes_in_memory_is_the_same_whatever_b_does() {
    in_three_worlds(Kind::Memory, 300);
}

#[test]
fn what_a_observes_on_sqlite_is_the_same_whatever_b_does() {
    in_three_worlds(Kind::Sqlite, 24);
}

#[cfg(all(unix, feature = "files"))]
#[test]
fn what_a_observes_in_files_is_the_same_whatever_b_does() {
    in_three_worlds(Kind::Files, 24);
}

#[cfg(feature = "postgres")]
#[test]
fn what_a_observes_on_postgresql_is_the_same_whatever_b_does() {
    in_three_worlds(Kind::Postgres, 12);
}
