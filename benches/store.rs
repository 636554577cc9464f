//! What sealed credentials cost where they are stored.
//!
//! ```text
//! cargo bench --bench store                   ratios of reads, rows a second of re-sealing
//! cargo bench --bench store -- --memory ROWS  how the process grows over a re-sealing of that many
//! cargo bench --bench store -- --count N      opens N credentials in memory, and measures nothing:
//!                                             for valgrind
//! ```
//!
//! There is no criterion here, for the reason that stands in `seal.rs`. Ways take turns in one thread,
//! and only their ratio counts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::future_not_send,
    reason = "a bench stops at the first surprise"
)]

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tenantry::ambient::{CrossTenantAuthority, cross_tenant_authority};
use tenantry::credential::{
    CredentialId, CredentialStore, Credentials, MemoryCredentialStore, NewCredential, Secret,
    SqlCredentialStore,
};
use tenantry::crypto::{LocalKeyring, SealContext, SecretKind};
use tenantry::query::Prepared;
use tenantry::scope::{MemoryDirectory, Principal, Role, ScopeIssuer};
use tenantry::table::Schema;
use tenantry::{Database, OrganizationId, TenantScope};
use uuid::Uuid;

tenantry::tenant_table! {
    /// The row of a credential, unsealed.
    #[derive(Debug, Clone)]
    struct Plain in plain_credentials {
        key id: Uuid,
        slot: i16,
        provider: String,
        label: Option<String>,
        version: i64,
        key_id: Option<Uuid>,
        secret: Vec<u8>,
        created_at: time::OffsetDateTime,
        updated_at: time::OffsetDateTime,
    }
    index (key_id);
}

const ROUNDS: usize = 61;
const BATCH: usize = 200;
const ROWS: usize = 1_000;
const CHUNK: u32 = 500;

struct Bench {
    db: Database,
    store: SqlCredentialStore,
    credentials: Credentials,
    issuer: ScopeIssuer,
    scope: TenantScope,
    _dir: tempfile::TempDir,
}

fn authority() -> CrossTenantAuthority {
    cross_tenant_authority("a bench", Principal::service("bench"))
}

async fn issuer() -> (ScopeIssuer, TenantScope) {
    let (directory, ann) = (MemoryDirectory::new(), Principal::user("ann"));
    let organization = OrganizationId::new();
    directory.add_member(&organization, &ann, Role::Member);
    let issuer = ScopeIssuer::new(directory);
    let scope = issuer.enter(&ann, organization).await.unwrap();
    (issuer, scope)
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bench.db");
        let (issuer, scope) = issuer().await;
        let schema = SqlCredentialStore::tables(Schema::new()).tenant::<Plain>();
        let db = Database::builder().issuer(&issuer).allow_cross_tenant();
        let db = db.connect(&format!("sqlite://{}", path.display()), schema).await.unwrap();
        db.create_tables().await.unwrap();
        let store = SqlCredentialStore::new(&db, authority());
        let provider = LocalKeyring::random().unwrap();
        let credentials = Credentials::builder(&issuer, provider, store.clone()).build();
        credentials.keys().check().await.unwrap();
        Self { db, store, credentials, issuer, scope, _dir: dir }
    }

    /// Sealed rows written beside the crate, which would take a transaction for each.
    async fn fill(&self, rows: usize) -> Vec<Uuid> {
        let (new, secret) = (NewCredential::new("shopify"), secret());
        let first = self.credentials.put(&self.scope, new, &secret).await.unwrap().id;
        let key = self.store.get(&self.scope, first).await.unwrap().value.unwrap().key.unwrap();
        let mut raw = raw(&self._dir.path().join("bench.db")).await;
        let mut ids = vec![*first.as_uuid()];
        let mut left = rows - 1;
        while left > 0 {
            let mut tx = raw.begin().await.unwrap();
            for _ in 0..left.min(10_000) {
                let id = Uuid::new_v4();
                let place = SealContext::new(SecretKind::Credential, id, "shopify", "secret", 1);
                let keys = self.credentials.keys();
                let sealed = keys.seal(&self.scope, &place.unwrap(), &encoded()).await.unwrap();
                sqlx::query(
                    "INSERT INTO sealed_credentials (organization_id, id, slot, provider, label, \
                     version, key_id, sealed, created_at, updated_at) \
                     VALUES (?, ?, 0, 'shopify', NULL, 1, ?, ?, 0, 0)",
                )
                .bind(uuid_bytes(self.scope.organization()))
                .bind(id.as_bytes().to_vec())
                .bind(key.as_uuid().as_bytes().to_vec())
                .bind(sealed.as_bytes())
                .execute(&mut *tx)
                .await
                .unwrap();
                ids.push(id);
                left -= 1;
            }
            tx.commit().await.unwrap();
        }
        raw.close().await.unwrap();
        ids
    }
}

async fn raw(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).connect().await.unwrap()
}

fn uuid_bytes(organization: &OrganizationId) -> Vec<u8> {
    organization.to_string().parse::<Uuid>().unwrap().into_bytes().to_vec()
}

fn token() -> String {
    "t".repeat(200)
}

fn secret() -> Secret {
    Secret::new().with("access_token", token())
}

/// The secret as it is sealed: see the chapter on credentials.
fn encoded() -> Vec<u8> {
    let (name, token) = ("access_token", token());
    let mut bytes = vec![1, name.len() as u8];
    bytes.extend(name.as_bytes());
    bytes.extend((token.len() as u32).to_be_bytes());
    bytes.extend(token.as_bytes());
    bytes
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse::<usize>().ok()
    };
    match (number("--memory"), number("--count")) {
        (Some(rows), _) => runtime.block_on(growth(rows)),
        (None, Some(times)) => runtime.block_on(opened(times)),
        (None, None) => runtime.block_on(speed()),
    }
}

async fn speed() {
    reads().await;
    resealing_in_memory().await;
    resealing_on_sqlite().await;
}

async fn reads() {
    let bench = Bench::new().await;
    let ids = bench.fill(ROWS).await;
    let now = tenantry::now();
    let row = |id: &Uuid| Plain {
        id: *id,
        slot: 0,
        provider: "shopify".to_owned(),
        label: None,
        version: 1,
        key_id: Some(Uuid::nil()),
        secret: encoded(),
        created_at: now,
        updated_at: now,
    };
    let rows: Vec<_> = ids.iter().map(row).collect();
    Plain::insert_many(&bench.scope, rows).execute(&bench.db).await.unwrap();
    let by_id: Prepared<Plain, (Uuid,)> =
        Plain::prepare(|q, (id,)| q.filter(plain_credentials::id.eq(id)));
    let (scope, db) = (&bench.scope, &bench.db);

    let mut times = vec![Vec::new(); 3];
    let mut ratios = vec![Vec::new(); 3];
    for round in 0..ROUNDS {
        let id = |n: usize| ids[(round * 31 + n * 7) % ids.len()];
        let begun = Instant::now();
        for n in 0..BATCH {
            black_box(by_id.fetch_optional(scope, (id(n),), db).await.unwrap().unwrap());
        }
        let plain = begun.elapsed();
        let begun = Instant::now();
        for n in 0..BATCH {
            let found = bench.store.get(scope, CredentialId::from_uuid(id(n))).await;
            black_box(found.unwrap().value.unwrap());
        }
        let get = begun.elapsed();
        let begun = Instant::now();
        for n in 0..BATCH {
            let id = CredentialId::from_uuid(id(n));
            black_box(bench.credentials.open(scope, id, "bench").await.unwrap());
        }
        let open = begun.elapsed();
        for (way, time) in [plain, get, open].into_iter().enumerate() {
            times[way].push(time.as_nanos() as f64 / BATCH as f64);
            ratios[way].push(time.as_secs_f64() / plain.as_secs_f64());
        }
    }
    println!("{:<34} {:>9} {:>7}", "read of one row on SQLite", "ns", "ratio");
    for (way, name) in ["unsealed row", "store.get", "credentials.open"].iter().enumerate() {
        let (time, ratio) = (median(&times[way]), median(&ratios[way]));
        println!("{name:<34} {time:>9.0} {ratio:>7.3}");
    }

    let stored = bench.store.get(scope, CredentialId::from_uuid(ids[0])).await.unwrap();
    let (epoch, sealed) = (stored.epoch, stored.value.unwrap().sealed);
    let place = SealContext::new(SecretKind::Credential, ids[0], "shopify", "secret", 1).unwrap();
    let mut opens = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for _ in 0..BATCH {
            let opened = bench.credentials.keys().open(scope, &place, &sealed, epoch);
            black_box(opened.await.unwrap());
        }
        opens.push(begun.elapsed().as_nanos() as f64 / BATCH as f64);
    }
    let (open, get) = (median(&opens), median(&times[1]));
    println!(
        "opening the value alone            {open:>9.0}   {:.1} % of store.get",
        open / get * 100.0
    );
}

async fn in_memory() -> (Credentials, TenantScope) {
    let (issuer, scope) = issuer().await;
    let provider = LocalKeyring::random().unwrap();
    let credentials = Credentials::builder(&issuer, provider, MemoryCredentialStore::new()).build();
    (credentials, scope)
}

async fn opened(times: usize) {
    let (credentials, scope) = in_memory().await;
    let new = NewCredential::new("shopify");
    let id = credentials.put(&scope, new, &secret()).await.unwrap().id;
    for _ in 0..times {
        black_box(credentials.open(&scope, id, "bench").await.unwrap());
    }
}

async fn resealing_in_memory() {
    const MANY: usize = 100_000;
    let (credentials, scope) = in_memory().await;
    for _ in 0..MANY {
        credentials.put(&scope, NewCredential::new("shopify"), &secret()).await.unwrap();
    }
    let mut speeds = Vec::new();
    for _ in 0..3 {
        credentials.rotate(&scope).await.unwrap();
        speeds.push(MANY as f64 / resealed(&credentials, &scope).await);
    }
    println!("re-sealing in memory               {:>9.0} rows/s of one core", median(&speeds));
}

async fn resealing_on_sqlite() {
    const MANY: usize = 20_000;
    let bench = Bench::new().await;
    let ids = bench.fill(MANY).await;
    let (mut sealing, mut writing) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        bench.credentials.rotate(&bench.scope).await.unwrap();
        sealing.push(MANY as f64 / resealed(&bench.credentials, &bench.scope).await);
        writing.push(MANY as f64 / written(&bench, &ids).await);
    }
    println!("re-sealing on SQLite               {:>9.0} rows/s", median(&sealing));
    println!("the same rows, written alone       {:>9.0} rows/s", median(&writing));
    drop(bench.issuer);
}

/// How long it takes, in seconds.
async fn resealed(credentials: &Credentials, scope: &TenantScope) -> f64 {
    let begun = Instant::now();
    let mut reseal = credentials.reseal(scope).chunk(CHUNK);
    while reseal.step().await.unwrap().is_some() {}
    begun.elapsed().as_secs_f64()
}

/// Updates of as many bytes in transactions of as many rows, by SQL: how fast the store itself is.
async fn written(bench: &Bench, ids: &[Uuid]) -> f64 {
    let mut raw = raw(&bench._dir.path().join("bench.db")).await;
    let organization = uuid_bytes(bench.scope.organization());
    let sealed = bench.store.get(&bench.scope, CredentialId::from_uuid(ids[0])).await.unwrap();
    let (sealed, mut ids) = (sealed.value.unwrap().sealed, ids.to_vec());
    ids.sort();
    sqlx::query("CREATE TEMP TABLE kept AS SELECT id, sealed FROM sealed_credentials")
        .execute(&mut raw)
        .await
        .unwrap();
    let begun = Instant::now();
    for chunk in ids.chunks(CHUNK as usize) {
        let mut tx = raw.begin().await.unwrap();
        for id in chunk {
            let update =
                "UPDATE sealed_credentials SET sealed = ? WHERE organization_id = ? AND id = ?";
            sqlx::query(update)
                .bind(&sealed)
                .bind(&organization)
                .bind(id.as_bytes().as_slice())
                .execute(&mut *tx)
                .await
                .unwrap();
        }
        tx.commit().await.unwrap();
    }
    let seconds = begun.elapsed().as_secs_f64();
    let back = "UPDATE sealed_credentials SET sealed = kept.sealed FROM kept WHERE kept.id = sealed_credentials.id";
    sqlx::query("CREATE INDEX temp.kept_id ON kept (id)").execute(&mut raw).await.unwrap();
    sqlx::query(back).execute(&mut raw).await.unwrap();
    raw.close().await.unwrap();
    seconds
}

async fn growth(rows: usize) {
    let bench = Bench::new().await;
    bench.fill(rows).await;
    bench.credentials.rotate(&bench.scope).await.unwrap();
    let mut reseal = bench.credentials.reseal(&bench.scope).chunk(CHUNK);
    reseal.step().await.unwrap();
    // From here on the peak is that of the re-sealing alone.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = kib("VmRSS:");
    let begun = Instant::now();
    while reseal.step().await.unwrap().is_some() {}
    let (peak, seconds) = (kib("VmHWM:"), begun.elapsed().as_secs_f64());
    println!("{rows} rows re-sealed in {seconds:.0} s: {before} KiB before, {peak} KiB at most");
}

fn kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
