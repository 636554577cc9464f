//! A process that is killed between any two steps leaves every credential old or new, readable:
//! what was answered is there, and nothing else is.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tenantry::audit::MemorySink;
use tenantry::credential::*;
use tenantry::crypto::{KekId, KeyProvider, LocalKeyring, SealContext, SecretBytes, SecretKind};
use tenantry::{ErrorKind, Result, TenantScope};

use super::keks::OwnKeks;
use super::stepping::{Stepping, Steps};
use super::world::*;
use crate::leaks::fixture::again;

const KIND: &str = "TENANTRY_TEST_KIND";
const PLACE: &str = "TENANTRY_TEST_CREDENTIALS";
const FOLDER: &str = "TENANTRY_TEST_FOLDER";
const WORK: &str = "TENANTRY_TEST_WORK";
const ROUND: &str = "TENANTRY_TEST_ROUND";
const STEP: &str = "TENANTRY_TEST_STEP";

/// What is done, and how often it changes what. The last word of each is the one that completes it.
const WORKS: [(&str, &[(&str, usize)]); 9] = [
    ("first put", &[("add_canary", 1), ("activate", 1), ("insert", 1)]),
    ("put", &[("insert", 1)]),
    ("replace", &[("replace", 4)]),
    ("delete", &[("remove", 4)]),
    ("rotate", &[("activate", 1), ("reseal", 3)]),
    ("retire", &[("activate", 1), ("reseal", 3), ("destroy", 1)]),
    ("rewrap", &[("rewrap", 1)]),
    ("retire_kek", &[("rewrap", 3), ("remove_canary", 1)]),
    ("shred", &[("record", 1), ("shred", 1), ("destroy_kek", 1)]),
];

pub(super) async fn work(work: &str, c: &Credentials, a: &TenantScope, round: u32) -> Result<()> {
    match work {
        "put" | "first put" => drop(c.put(a, NewCredential::new("shopify"), &secret("put")).await?),
        "replace" => {
            for (_, info) in c.export(a).await? {
                let info = info?;
                if info.version == 1 {
                    c.replace(a, info.id, 1, &secret("new")).await?;
                }
            }
        }
        "delete" => {
            for (id, _) in c.export(a).await? {
                c.delete(a, id).await?;
            }
        }
        "rotate" | "retire" => {
            c.rotate(a).await?;
            let mut reseal = c.reseal(a).chunk(2);
            while reseal.step().await?.is_some() {}
            for (key, state) in c.rotation_status(a).await?.keys {
                if work == "retire" && state == KeyState::DecryptOnly {
                    c.retire(a, key).await?;
                }
            }
        }
        "rewrap" => drop(c.keys().rewrap(a).await?),
        "retire_kek" => {
            let authority = authority();
            let report = c.keys().rewrap_all(&authority).await?;
            assert!(report.failed.is_empty(), "{report:?}");
            c.keys().retire_kek(&kek(round), &authority).await?;
        }
        _ => drop(c.shred(a).await?),
    }
    Ok(())
}

/// The KEK that is the active one before a round: the next one is it in the process that is killed.
pub(super) fn kek(round: u32) -> KekId {
    let name = if round == 0 { "2026-01".to_owned() } else { format!("round-{round}") };
    KekId::new("local", &name).unwrap()
}

/// The KEKs of some rounds, of which the last is the active one.
pub(super) fn keks(rounds: std::ops::RangeInclusive<u32>) -> LocalKeyring {
    let active = *rounds.end();
    keks_under(active, rounds)
}

pub(super) fn keks_under(active: u32, rounds: std::ops::RangeInclusive<u32>) -> LocalKeyring {
    let key = |round| {
        let byte = u8::try_from(round).unwrap();
        let key: Vec<u8> = (1..=32).map(|n: u8| n.wrapping_add(byte)).collect();
        format!(r#"{{"id":"{}","key":"{}"}}"#, kek(round).key(), STANDARD.encode(key))
    };
    let keys: Vec<String> = rounds.map(key).collect();
    let json = format!(r#"{{"active":"{}","keys":[{}]}}"#, kek(active).key(), keys.join(","));
    LocalKeyring::from_json(&SecretBytes::new(json.into_bytes())).unwrap()
}

/// What a process of a round has: KEKs up to that one, and what is kept beside the store.
fn provider(work: &str, round: u32, folder: &str) -> Arc<dyn KeyProvider> {
    match work {
        "shred" => Arc::new(OwnKeks::in_folder(format!("{folder}/keks"))),
        "retire_kek" => Arc::new(keks(round.saturating_sub(1)..=round)),
        _ => Arc::new(keks(0..=round)),
    }
}

fn ledger(folder: &str) -> FileLedger {
    FileLedger::open(PathBuf::from(folder).join("ledger.jsonl")).unwrap()
}

/// The organization of a round. The KEKs are those of all organizations, and so are the rounds then.
fn number(work: &str, round: u32) -> u128 {
    SPENT.start + if work == "retire_kek" { 0 } else { u128::from(round) }
}

/// The stores that outlast a process.
pub(super) fn lasting() -> impl Iterator<Item = Kind> {
    KINDS.iter().copied().filter(|kind| *kind != Kind::Memory)
}

/// The process that is killed: does nothing unless it is started as such.
#[tokio::test]
async fn a_process_to_be_killed() {
    let var = |name| std::env::var(name).ok();
    let (Some(place), Some(kind), Some(folder)) = (var(PLACE), var(KIND), var(FOLDER)) else {
        return;
    };
    let kind = lasting().find(|each| format!("{each:?}") == kind).unwrap();
    let (name, round) = (var(WORK).unwrap(), var(ROUND).unwrap().parse().unwrap());
    let issuer = people(&MemorySink::new());
    let a = issuer.enter(&ann(), organization(number(&name, round))).await.unwrap();
    let steps = Steps::until(var(STEP).and_then(|step| step.parse().ok()));
    let store = Stepping::new(open(kind, &issuer, &place).await, &steps);
    let provider = Stepping::new(provider(&name, round + 1, &folder), &steps);
    let credentials = Credentials::builder(&issuer, provider, store)
        .ledger(Stepping::new(ledger(&folder), &steps))
        .build();
    println!("reached ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    work(&name, &credentials, &a, round).await.unwrap();
    steps.reached("end").await;
    std::future::pending().await
}

/// A process that is ready for its work, which is killed at the latest when it is forgotten.
pub(super) struct Worker {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Worker {
    pub(super) fn start(site: &Site, round: u32, step: Option<usize>) -> Self {
        let mut child = again(module_path!(), "a_process_to_be_killed")
            .env(KIND, format!("{:?}", site.w.kind))
            .env(PLACE, site.w.kept.place())
            .env(FOLDER, site.folder())
            .env(WORK, site.name)
            .env(ROUND, round.to_string())
            .env(STEP, step.map_or("none".to_owned(), |step| step.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut worker = Self { child, lines };
        assert_eq!(worker.next(), "ready");
        worker
    }

    pub(super) fn begin(&self) {
        self.child.stdin.as_ref().unwrap().write_all(b"begin\n").unwrap();
    }

    /// What it does next.
    pub(super) fn next(&mut self) -> String {
        let mut lines = self.lines.by_ref().map_while(std::io::Result::ok);
        let reached =
            lines.find_map(|line| line.split_once("reached ").map(|(_, name)| name.to_owned()));
        reached.expect("the process ended before it was killed")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        assert!(std::thread::panicking() || killed.is_ok());
    }
}

/// Where a work is done, round after round, each in an organization that no other was done in.
pub(super) struct Site {
    pub(super) w: World,
    name: &'static str,
    platform: Vec<u8>,
}

impl Site {
    pub(super) async fn new(kind: Kind, name: &'static str) -> Self {
        let w = World::new(kind).await;
        FileLedger::create(w.dir.path().join("ledger.jsonl")).unwrap();
        let mut site = Self { w, name, platform: Vec::new() };
        let c = site.restarted(0, true);
        c.put(&site.w.b, NewCredential::new("shopify"), &secret("theirs")).await.unwrap();
        let keys = c.keys();
        let sealed = keys
            .seal_platform(&of_the_platform(), b"platform", KeyEpoch::default(), &authority())
            .await;
        site.platform = sealed.unwrap().into_bytes();
        site
    }

    /// How many credentials an organization has before.
    fn olds(&self) -> usize {
        if self.name == "first put" { 0 } else { 4 }
    }

    fn folder(&self) -> &str {
        self.w.dir.path().to_str().unwrap()
    }

    /// As a process that was started after the KEK of a round became the active one.
    pub(super) fn restarted(&self, round: u32, ledgered: bool) -> Credentials {
        let provider = provider(self.name, round, self.folder());
        let builder = Credentials::builder(&self.w.issuer, provider, Arc::clone(&self.w.store));
        let builder = if ledgered { builder.ledger(ledger(self.folder())) } else { builder };
        builder.build()
    }

    /// The organization of a round, with four credentials.
    pub(super) async fn prepared(&self, round: u32) -> TenantScope {
        let organization = organization(number(self.name, round));
        let a = self.w.issuer.enter(&ann(), organization).await.unwrap();
        let c = self.restarted(round, true);
        if c.export(&a).await.unwrap().is_empty() {
            for _ in 0..self.olds() {
                c.put(&a, NewCredential::new("shopify"), &secret("old")).await.unwrap();
            }
        }
        a
    }

    /// What nobody worked on is as it was.
    pub(super) async fn untouched(&self, c: &Credentials, place: &str) {
        assert_eq!(tokens(c, &self.w.b).await.unwrap(), [found("theirs", 1)], "{place}");
        let (context, start) = (of_the_platform(), KeyEpoch::default());
        let opened = c.keys().open_platform(&context, &self.platform, start, &authority()).await;
        assert!(opened.unwrap().ct_eq(b"platform"), "{place}");
    }

    /// What was answered stands, and what was not does not.
    pub(super) async fn stands_as_answered(
        &self,
        a: &TenantScope,
        round: u32,
        answered: &[String],
    ) {
        let count = |name: &str| answered.iter().filter(|answered| *answered == name).count();
        let place = format!("{} after {answered:?}, {:?}", self.name, self.w.kind);
        let (c, authority) = (self.restarted(round + 1, false), authority());
        let of_next = |canary: &StoredKey| canary.kek() == Some(&kek(round + 1));
        let canaries = self.w.store.canaries().await.unwrap();
        if self.name != "shred" {
            let known = canaries.iter().any(of_next);
            assert_eq!(known, count("add_canary") == 1, "{place}");
        }
        match self.name {
            "put" | "first put" => {
                let put = vec![found("put", 1); count("insert")];
                let expected = [olds(self.olds()), put].concat();
                assert_eq!(tokens(&c, a).await.unwrap(), expected, "{place}");
            }
            "replace" => {
                let new = count("replace");
                let expected = [vec![found("new", 2); new], olds(4 - new)].concat();
                assert_eq!(tokens(&c, a).await.unwrap(), expected, "{place}");
            }
            "delete" => {
                assert_eq!(tokens(&c, a).await.unwrap(), olds(4 - count("remove")), "{place}");
            }
            "rotate" | "retire" => {
                assert_eq!(tokens(&c, a).await.unwrap(), olds(4), "{place}");
                let status = c.rotation_status(a).await.unwrap();
                let is = |state| status.keys.iter().filter(|(_, is)| *is == state).count();
                assert_eq!(status.keys.len(), 1 + count("activate"), "{place}");
                assert_eq!(is(KeyState::Destroyed), count("destroy"), "{place}");
                assert_eq!(is(KeyState::Active), 1, "{place}");
                let newest = status.keys.last().unwrap().0;
                let uses = status.uses.iter().filter(|each| each.key == Some(newest));
                let under: u64 = uses.map(|each| each.count).sum();
                let chunks = count("reseal");
                let resealed = if count("activate") == 0 { 4 } else { 4.min(2 * chunks as u64) };
                assert_eq!(under, resealed, "{place}");
                let checkpoint = self.w.store.checkpoint(a).await.unwrap();
                assert_eq!(checkpoint.is_some(), (1..=2).contains(&chunks), "{place}");
            }
            "rewrap" | "retire_kek" => {
                let under = c.keys().kek_in_use(&kek(round + 1), &authority).await.unwrap();
                assert_eq!(under, count("rewrap") as u64, "{place}");
                assert_eq!(tokens(&c, a).await.unwrap(), olds(4), "{place}");
                let retired = !canaries.iter().any(|canary| canary.kek() == Some(&kek(round)));
                assert_eq!(retired, count("remove_canary") == 1, "{place}");
            }
            _ => {
                assert!(count("record") >= count("shred"), "{place}");
                let own = OwnKeks::in_folder(format!("{}/keks", self.folder()));
                assert_eq!(own.has(a.organization()), count("destroy_kek") == 0, "{place}");
                for (ledgered, gone) in [(false, count("shred")), (true, count("record"))] {
                    let found = tokens(&self.restarted(round + 1, ledgered), a).await;
                    match gone {
                        0 => assert_eq!(found.unwrap(), olds(4), "{place}"),
                        _ => assert_eq!(found.unwrap_err().kind(), ErrorKind::Shredded, "{place}"),
                    }
                }
            }
        }
        self.untouched(&c, &place).await;
    }

    /// Who does the work again completes it.
    pub(super) async fn completed(&self, a: &TenantScope, round: u32, place: &str) {
        let c = self.restarted(round + 1, true);
        if self.name != "shred" {
            c.keys().check().await.unwrap();
        }
        work(self.name, &c, a, round).await.unwrap_or_else(|error| panic!("{error:?}, {place}"));
        let (c, left) = (self.restarted(round + 1, true), tokens(&c, a).await);
        match self.name {
            "put" | "first put" => assert!(left.unwrap().contains(&found("put", 1)), "{place}"),
            "replace" => assert_eq!(left.unwrap(), vec![found("new", 2); 4], "{place}"),
            "delete" => assert_eq!(left.unwrap(), [], "{place}"),
            "shred" => {
                refused(left, ErrorKind::Shredded);
                let own = OwnKeks::in_folder(format!("{}/keks", self.folder()));
                assert!(!own.has(a.organization()), "{place}");
            }
            _ => assert_eq!(left.unwrap(), olds(4), "{place}"),
        }
        if self.name == "retire" {
            let keys = c.rotation_status(a).await.unwrap().keys;
            let opens = keys.iter().filter(|(_, state)| *state == KeyState::DecryptOnly).count();
            assert_eq!(opens, 0, "{place}");
        }
        if self.name == "retire_kek" {
            // Who has the new KEK alone starts, and opens everything.
            let builder = Credentials::builder(
                &self.w.issuer,
                keks(round + 1..=round + 1),
                Arc::clone(&self.w.store),
            );
            let last = builder.build();
            last.keys().check().await.unwrap();
            assert_eq!(tokens(&last, a).await.unwrap(), olds(4), "{place}");
            self.untouched(&last, place).await;
        }
        self.untouched(&c, place).await;
    }
}

fn of_the_platform() -> SealContext<'static> {
    let (kind, record) = (SecretKind::Credential, uuid::Uuid::nil());
    SealContext::new(kind, record, "shopify", "client_secret", 1).unwrap()
}

fn found(token: &str, version: u64) -> (String, u64) {
    (token.to_owned(), version)
}

pub(super) fn olds(count: usize) -> Vec<(String, u64)> {
    vec![found("old", 1); count]
}

pub(super) async fn tokens(c: &Credentials, scope: &TenantScope) -> Result<Vec<(String, u64)>> {
    let mut tokens = Vec::new();
    for (id, info) in c.list(scope).await? {
        let opened = c.open(scope, id, "look").await?;
        assert_eq!(opened.info, info.unwrap());
        tokens.push((token(&opened), opened.info.version));
    }
    tokens.sort();
    Ok(tokens)
}

/// Each round kills a process one change later, until it comes to its end.
async fn killed_at_any_step(kind: Kind) {
    for (name, effects) in WORKS {
        let site = Site::new(kind, name).await;
        for round in 0.. {
            let a = site.prepared(round).await;
            let step = usize::try_from(round).unwrap();
            let mut worker = Worker::start(&site, round, Some(step));
            worker.begin();
            let mut calls: Vec<_> = (0..=step).map(|_| worker.next()).collect();
            drop(worker);
            // It was about to make the last one.
            let last = calls.pop().unwrap();
            site.stands_as_answered(&a, round, &calls).await;
            if last == "end" {
                for (effect, times) in effects {
                    let made = calls.iter().filter(|call| call == effect).count();
                    assert_eq!(made, *times, "{effect} in {calls:?}");
                }
            }
            site.completed(&a, round, &format!("{name} before {last}, {kind:?}")).await;
            if last == "end" {
                break;
            }
        }
    }
}

#[test]
fn c32_a_process_killed_at_any_step_leaves_every_credential_old_or_new() {
    std::thread::scope(|threads| {
        for kind in lasting() {
            threads.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.unwrap().block_on(killed_at_any_step(kind));
            });
        }
    });
}
