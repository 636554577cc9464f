//! The tests: generated programs, counted.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::generator::{Generator, Random};
use super::judge::{judge, script, shrunk};
use super::program::Feature;
use super::world::{MARK, Place, Store};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Keeps the text of everything that is logged on its thread.
#[derive(Debug, Clone, Default)]
struct Logs(Arc<Mutex<String>>);

impl tracing::field::Visit for &Logs {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0.lock().unwrap(), "{field}={value:?} ");
    }
}

impl tracing::Subscriber for Logs {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        span.record(&mut &*self);
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        values.record(&mut &*self);
    }
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut &*self);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

pub const OPERATIONS: usize = 25;
const SEED: u64 = 0x7E4A_2026;

pub fn seed_of(seed: u64, number: u64) -> u64 {
    Random(seed ^ number.wrapping_mul(0xA076_1D64_78BD_642F)).next()
}

#[test]
fn a_program_observes_the_same_whatever_others_hold() {
    observe(Store::Sqlite, setting("TENANTRY_PROGRAMS", 1_000));
}

#[cfg(feature = "postgres")]
#[test]
fn a_program_observes_the_same_on_postgresql_whatever_others_hold_and_the_same_as_on_sqlite() {
    observe(Store::Postgres, setting("TENANTRY_PROGRAMS", 500));
}

fn observe(store: Store, programs: u64) {
    let seed = setting("TENANTRY_SEED", SEED);
    let only = std::env::var("TENANTRY_PROGRAM").ok().and_then(|text| text.parse::<u64>().ok());
    println!(
        "{store:?}: {programs} programs of {OPERATIONS} operations, seed {seed} (TENANTRY_PROGRAMS, TENANTRY_SEED, TENANTRY_PROGRAM, TENANTRY_SHRINK)"
    );
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let statements = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let uses = Mutex::new(BTreeMap::<Feature, u64>::new());
    let failures = Mutex::new(Vec::new());
    let logs = Mutex::new(String::new());
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                let captured = Logs::default();
                let _guard = tracing::subscriber::set_default(captured.clone());
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                #[cfg(feature = "postgres")]
                let server = match store {
                    Store::Postgres => Some(runtime.block_on(super::server::Server::start())),
                    Store::Sqlite => None,
                };
                #[cfg(feature = "postgres")]
                let place = server.as_ref().map_or(Place::Memory, Place::Server);
                #[cfg(not(feature = "postgres"))]
                let place = Place::Memory;
                let mut local = BTreeMap::<Feature, u64>::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= programs || stop.load(Ordering::Relaxed) {
                        break;
                    }
                    if only.is_some_and(|only| only != number) {
                        continue;
                    }
                    let mut generator = Generator::new(seed_of(seed, number));
                    let program = generator.program(OPERATIONS);
                    for feature in generator.seen {
                        *local.entry(feature).or_default() += 1;
                    }
                    statements.fetch_add(program.turns.len(), Ordering::Relaxed);
                    let failure = runtime.block_on(judge(place, &program, &mut local));
                    if let Some(failure) = failure {
                        let (program, failure) = match setting("TENANTRY_SHRINK", 1) {
                            0 => (program, failure),
                            _ => runtime.block_on(shrunk(place, &program, &failure)),
                        };
                        let mut failures = failures.lock().unwrap();
                        failures.push((number, program, failure));
                        if failures.len() >= setting("TENANTRY_FAILURES", 1) as usize {
                            stop.store(true, Ordering::Relaxed);
                        }
                    }
                }
                let mut uses = uses.lock().unwrap();
                for (feature, count) in local {
                    *uses.entry(feature).or_default() += count;
                }
                logs.lock().unwrap().push_str(&captured.0.lock().unwrap());
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    for (number, program, failure) in &failures {
        println!("\n==== program {number}: {}\n{}", failure.what, script(program));
    }
    assert!(failures.is_empty(), "{} programs failed; the scripts stand above", failures.len());
    assert!(!logs.into_inner().unwrap().contains(MARK), "a log holds another organization's value");
    let uses = uses.into_inner().unwrap();
    let mut unused = Vec::new();
    println!("{:<44} {:>8}", "feature", "uses");
    for feature in Feature::all() {
        let count = uses.get(&feature).copied().unwrap_or(0);
        println!("{:<44} {count:>8}", format!("{feature:?}"));
        if count == 0 {
            unused.push(feature);
        }
    }
    println!(
        "{store:?}: {programs} programs, {} turns of A in three worlds each, {:.1} s",
        statements.load(Ordering::Relaxed),
        began.elapsed().as_secs_f32()
    );
    let enough = programs >= 500 && only.is_none();
    assert!(unused.is_empty() || !enough, "never generated, so never proven: {unused:?}");
}
