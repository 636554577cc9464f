//! What sealing and opening cost, against the bare primitives on the same bytes: HKDF for a key of
//! the message's own, and AES-256-GCM.
//!
//! ```text
//! cargo bench --bench seal                 nanoseconds, medians of interleaved rounds, and ratios
//! cargo bench --bench seal -- --count N    runs each case N times and measures nothing: for valgrind
//! ```
//!
//! There is no criterion here, so that the tests of the crate do not compile it; ways take turns, and
//! only their ratio counts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::future_not_send,
    reason = "a bench stops at the first surprise"
)]

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use hkdf::Hkdf;
use sha2::Sha256;
use tenantry::credential::{Keys, MemoryKeyStore, Sealed};
use tenantry::crypto::{LocalKeyring, SealContext, SecretKind};
use tenantry::scope::{MemoryDirectory, Principal, Role, ScopeIssuer};
use tenantry::{OrganizationId, TenantScope};
use uuid::Uuid;

type Work<'a> = &'a dyn Fn();

const ROUNDS: usize = 41;
const BATCH: u32 = 500;

/// Runs a future that is ready at once, as it is with a cached key: what a runtime adds is not ours.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("with a cached key nothing waits"),
    }
}

struct Ours {
    keys: Keys,
    scope: TenantScope,
}

impl Ours {
    async fn new() -> Self {
        let (directory, ann) = (MemoryDirectory::new(), Principal::user("ann"));
        let organization = OrganizationId::new();
        directory.add_member(&organization, &ann, Role::Member);
        let issuer = ScopeIssuer::new(directory);
        let scope = issuer.enter(&ann, organization).await.unwrap();
        let provider = LocalKeyring::random().unwrap();
        let keys = Keys::builder(&issuer, provider, MemoryKeyStore::new()).build();
        keys.seal(&scope, &place(), b"first").await.unwrap();
        Self { keys, scope }
    }

    fn seal(&self, text: &[u8]) -> Sealed {
        ready(self.keys.seal(&self.scope, &place(), text)).unwrap()
    }

    fn open(&self, sealed: &Sealed) -> usize {
        let (place, epoch) = (place(), sealed.epoch());
        let opened = self.keys.open(&self.scope, &place, sealed.as_bytes(), epoch);
        ready(opened).unwrap().expose_secret().len()
    }
}

fn place() -> SealContext<'static> {
    let record = Uuid::from_u128(7);
    SealContext::new(SecretKind::Credential, record, "shopify", "access_token", 1).unwrap()
}

/// The primitives: a fresh salt, a key and nonce by HKDF, AES-256-GCM with an AAD of 160 bytes.
struct Bare {
    key: [u8; 32],
    aad: [u8; 160],
}

impl Bare {
    fn message(&self, salt: &[u8; 32]) -> (Aes256Gcm, [u8; 12]) {
        let mut okm = [0; 44];
        Hkdf::<Sha256>::new(Some(salt), &self.key).expand(b"bare", &mut okm).unwrap();
        let (key, nonce) = okm.split_first_chunk::<32>().unwrap();
        (Aes256Gcm::new(key.into()), nonce.try_into().unwrap())
    }

    fn seal(&self, text: &[u8]) -> ([u8; 32], Vec<u8>) {
        let mut salt = [0; 32];
        getrandom::fill(&mut salt).unwrap();
        let (cipher, nonce) = self.message(&salt);
        let payload = Payload { msg: text, aad: &self.aad };
        (salt, cipher.encrypt(&nonce.into(), payload).unwrap())
    }

    fn open(&self, (salt, sealed): &([u8; 32], Vec<u8>)) -> usize {
        let (cipher, nonce) = self.message(salt);
        let payload = Payload { msg: sealed, aad: &self.aad };
        cipher.decrypt(&nonce.into(), payload).unwrap().len()
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ours = runtime.block_on(Ours::new());
    let bare = Bare { key: [7; 32], aad: [9; 160] };
    let arguments: Vec<String> = std::env::args().collect();
    let count = arguments.iter().position(|argument| argument == "--count");
    let count = count.and_then(|at| arguments.get(at + 1)?.parse::<u32>().ok());

    println!("{:>8} {:>6} {:>10} {:>10} {:>7}", "bytes", "", "ours ns", "bare ns", "ratio");
    for length in [200, 1_024, 16_384] {
        let text = vec![b'x'; length];
        let (own, other) = (ours.seal(&text), bare.seal(&text));
        let cases: [(&str, Work<'_>, Work<'_>); 2] = [
            ("seal", &|| drop(black_box(ours.seal(&text))), &|| drop(black_box(bare.seal(&text)))),
            (
                "open",
                &|| {
                    black_box(ours.open(&own));
                },
                &|| {
                    black_box(bare.open(&other));
                },
            ),
        ];
        for (name, left, right) in cases {
            if let Some(count) = count {
                our_share(left, count);
                bare_share(right, count);
                continue;
            }
            let (mut lefts, mut rights) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                lefts.push(time(left));
                rights.push(time(right));
            }
            let (left, right) = (median(lefts), median(rights));
            println!("{length:>8} {name:>6} {left:>10.0} {right:>10.0} {:>7.2}", left / right);
        }
    }
}

/// A name for valgrind to collect in.
#[inline(never)]
fn our_share(work: Work<'_>, count: u32) {
    (0..count).for_each(|_| work());
}

/// A name for valgrind to collect in.
#[inline(never)]
fn bare_share(work: Work<'_>, count: u32) {
    (0..count).for_each(|_| work());
}

fn time(work: Work<'_>) -> f64 {
    let start = Instant::now();
    (0..BATCH).for_each(|_| work());
    start.elapsed().as_nanos() as f64 / f64::from(BATCH)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
