//! A process that is killed between any two steps leaves every credential old or new, readable.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tenantry::ambient::CrossTenantAuthority;
use tenantry::audit::MemorySink;
use tenantry::credential::*;
use tenantry::crypto::{KekId, KeyId, WrappedKey};
use tenantry::{ErrorKind, OrganizationId, Result, TenantScope};
use time::OffsetDateTime;

use super::world::*;
use crate::leaks::fixture::again;

const KIND: &str = "TENANTRY_TEST_KIND";
const PLACE: &str = "TENANTRY_TEST_CREDENTIALS";
const LEDGER: &str = "TENANTRY_TEST_LEDGER";
const WORK: &str = "TENANTRY_TEST_WORK";
const STEP: &str = "TENANTRY_TEST_STEP";
const WORKS: [&str; 6] = ["put", "replace", "rotate", "rewrap", "retire", "shred"];

/// A store that says when it has answered, and does not come back from the last step.
#[derive(Debug)]
struct Stepping {
    store: Arc<dyn CredentialStore>,
    steps: AtomicUsize,
    last: Option<usize>,
}

impl Stepping {
    async fn after<T>(&self, name: &str, work: impl Future<Output = T>) -> T {
        let result = work.await;
        let step = self.steps.fetch_add(1, Ordering::Relaxed);
        println!("reached {step} {name}");
        if self.last == Some(step) {
            std::future::pending::<()>().await;
        }
        result
    }
}

type Page = Snapshot<Vec<(CredentialId, Result<StoredCredential>)>>;

#[async_trait]
impl CredentialStore for Stepping {
    async fn insert(
        &self,
        scope: &TenantScope,
        epoch: KeyEpoch,
        credential: &StoredCredential,
    ) -> Result<Written> {
        self.after("insert", self.store.insert(scope, epoch, credential)).await
    }
    async fn get(
        &self,
        scope: &TenantScope,
        id: CredentialId,
    ) -> Result<Snapshot<Option<StoredCredential>>> {
        self.after("get", self.store.get(scope, id)).await
    }
    async fn replace(
        &self,
        scope: &TenantScope,
        epoch: KeyEpoch,
        seen: u64,
        credential: &StoredCredential,
    ) -> Result<Written> {
        self.after("replace", self.store.replace(scope, epoch, seen, credential)).await
    }
    async fn page(
        &self,
        scope: &TenantScope,
        after: Option<CredentialId>,
        limit: u32,
    ) -> Result<Page> {
        self.after("page", self.store.page(scope, after, limit)).await
    }
    async fn remove(&self, scope: &TenantScope, id: CredentialId) -> Result<bool> {
        self.after("remove", self.store.remove(scope, id)).await
    }
    async fn usage(&self, scope: &TenantScope) -> Result<Snapshot<Vec<KeyUse>>> {
        self.after("usage", self.store.usage(scope)).await
    }
    async fn reseal(
        &self,
        scope: &TenantScope,
        epoch: KeyEpoch,
        seen: Option<Checkpoint>,
        values: &[Resealed],
        reached: Option<Checkpoint>,
    ) -> Result<Written> {
        self.after("reseal", self.store.reseal(scope, epoch, seen, values, reached)).await
    }
    async fn checkpoint(&self, scope: &TenantScope) -> Result<Option<Checkpoint>> {
        self.after("checkpoint", self.store.checkpoint(scope)).await
    }
}

#[async_trait]
impl KeyStore for Stepping {
    async fn load(&self, access: KeyAccess<'_>) -> Result<KeySet> {
        self.after("load", self.store.load(access)).await
    }
    async fn activate(
        &self,
        access: KeyAccess<'_>,
        seen: KeyEpoch,
        key: &StoredKey,
    ) -> Result<bool> {
        self.after("activate", self.store.activate(access, seen, key)).await
    }
    async fn rewrap(
        &self,
        access: KeyAccess<'_>,
        key: KeyId,
        from: &WrappedKey,
        to: &WrappedKey,
    ) -> Result<bool> {
        self.after("rewrap", self.store.rewrap(access, key, from, to)).await
    }
    async fn destroy(
        &self,
        access: KeyAccess<'_>,
        seen: KeyEpoch,
        key: KeyId,
        at: OffsetDateTime,
    ) -> Result<bool> {
        self.after("destroy", self.store.destroy(access, seen, key, at)).await
    }
    async fn shred(&self, access: KeyAccess<'_>, at: OffsetDateTime) -> Result<()> {
        self.after("shred", self.store.shred(access, at)).await
    }
    async fn canaries(&self) -> Result<Vec<StoredKey>> {
        self.store.canaries().await
    }
    async fn add_canary(&self, canary: &StoredKey) -> Result<()> {
        self.store.add_canary(canary).await
    }
    async fn remove_canary(&self, kek: &KekId, authority: &CrossTenantAuthority) -> Result<bool> {
        self.store.remove_canary(kek, authority).await
    }
    async fn in_use(&self, kek: &KekId, authority: &CrossTenantAuthority) -> Result<u64> {
        self.store.in_use(kek, authority).await
    }
    async fn organizations(&self, authority: &CrossTenantAuthority) -> Result<Vec<OrganizationId>> {
        self.store.organizations(authority).await
    }
}

async fn work(work: &str, c: &Credentials, a: &TenantScope) -> Result<()> {
    match work {
        "put" => drop(c.put(a, NewCredential::new("shopify"), &secret("put")).await?),
        "replace" => {
            for info in c.export(a).await? {
                if info.version == 1 {
                    c.replace(a, info.id, 1, &secret("new")).await?;
                }
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
        _ => drop(c.shred(a).await?),
    }
    Ok(())
}

/// The stores that outlast a process.
fn lasting() -> impl Iterator<Item = Kind> {
    KINDS.iter().copied().filter(|kind| *kind != Kind::Memory)
}

/// The process that is killed: does nothing unless it is started as such.
#[tokio::test]
async fn a_process_to_be_killed() {
    let var = |name| std::env::var(name).ok();
    let (Some(place), Some(kind), Some(ledger)) = (var(PLACE), var(KIND), var(LEDGER)) else {
        return;
    };
    let kind = lasting().find(|each| format!("{each:?}") == kind).unwrap();
    let issuer = people(&MemorySink::new());
    let a = issuer.enter(&ann(), organization(0xA)).await.unwrap();
    let store = Stepping {
        store: open(kind, &issuer, &place).await,
        steps: AtomicUsize::new(0),
        last: var(STEP).and_then(|step| step.parse().ok()),
    };
    let ledger = FileLedger::open(ledger).unwrap();
    let credentials = Credentials::builder(&issuer, next_keyring(), store).ledger(ledger).build();
    work(&std::env::var(WORK).unwrap(), &credentials, &a).await.unwrap();
}

fn start(w: &World, work: &str, step: &str) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut child = again(module_path!(), "a_process_to_be_killed")
        .env(KIND, format!("{:?}", w.kind))
        .env(PLACE, w.kept.place())
        .env(LEDGER, ledger(w))
        .env(WORK, work)
        .env(STEP, step)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let reached =
        lines.filter_map(|line| line.split_once("reached ").map(|(_, step)| step.to_owned()));
    (child, reached)
}

fn ledger(w: &World) -> PathBuf {
    w.dir.path().join("ledger.jsonl")
}

/// Five credentials, of which B has one.
async fn prepared(kind: Kind) -> World {
    let w = World::new(kind).await;
    for _ in 0..4 {
        w.put(&w.a, "old").await;
    }
    w.put(&w.b, "theirs").await;
    FileLedger::create(ledger(&w)).unwrap();
    w
}

/// What another process finds.
async fn found(w: &World) -> Credentials {
    let store = open(w.kind, &w.issuer, &w.kept.place()).await;
    let ledger = FileLedger::open(ledger(w)).unwrap();
    let found = Credentials::builder(&w.issuer, next_keyring(), store).ledger(ledger).build();
    found.keys().check().await.unwrap();
    found
}

async fn tokens(c: &Credentials, scope: &TenantScope) -> Result<Vec<(String, u64)>> {
    let mut tokens = Vec::new();
    for (id, info) in c.list(scope).await? {
        let opened = c.open(scope, id, "look").await?;
        assert_eq!(opened.info, info.unwrap());
        tokens.push((token(&opened), opened.info.version));
    }
    tokens.sort();
    Ok(tokens)
}

#[tokio::test]
async fn c32_a_process_killed_at_any_step_leaves_every_credential_old_or_new() {
    for (kind, name) in lasting().flat_map(|kind| WORKS.map(|name| (kind, name))) {
        let w = prepared(kind).await;
        let (mut child, lines) = start(&w, name, "none");
        let steps: Vec<String> = lines.collect();
        assert!(child.wait().unwrap().success(), "{name}");
        assert!(!steps.is_empty(), "{name}");
        for step in &steps {
            let w = prepared(kind).await;
            let number = step.split_once(' ').unwrap().0;
            let (mut child, mut lines) = start(&w, name, number);
            assert!(lines.any(|reached| reached == *step), "{name} never reached {step}");
            child.kill().unwrap();
            child.wait().unwrap();

            let c = found(&w).await;
            let place = format!("{name} after {step}, {kind:?}");
            match tokens(&c, &w.a).await {
                Err(error) => {
                    assert_eq!((name, error.kind()), ("shred", ErrorKind::Shredded), "{place}");
                }
                Ok(tokens) => {
                    for (text, version) in &tokens {
                        let whole = matches!(
                            (text.as_str(), version, name),
                            ("old", 1, _) | ("new", 2, "replace") | ("put", 1, "put")
                        );
                        assert!(whole, "{text} {version} {place}");
                    }
                    assert!(tokens.len() == 4 || name == "put" && tokens.len() == 5, "{place}");
                }
            }
            // What was begun is completed.
            work(name, &c, &w.a).await.unwrap();
            if name == "shred" {
                refused(tokens(&c, &w.a).await, ErrorKind::Shredded);
            } else {
                assert!(tokens(&c, &w.a).await.unwrap().len() >= 4, "{place}");
            }
            let theirs = tokens(&c, &w.b).await.unwrap();
            assert_eq!(theirs, [("theirs".to_owned(), 1)], "{place}");
        }
    }
}
