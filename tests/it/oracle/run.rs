//! The runner: each program in three worlds and in the model, everything that A observes compared.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tenantry::database::Transaction;
use tenantry::query::Cursor;
use tenantry::{Error, Result};

use super::lower::{self, Cx, Ex, Way};
use super::model::{Model, Seen, Words};
use super::program::{
    Ending, Feature, Generator, KINDS, Operation, Other, Program, Read, Refusal, Step, Stmt, Turn,
    mark,
};
use super::world::{MARK, Place, Who, World, world};

fn words(error: &Error) -> Words {
    let told = format!(
        "{error} | {} {:?} {:?} {:?} {}",
        error.http_status(),
        error.table(),
        error.column(),
        error.row(),
        error.is_retryable()
    );
    let mut whole = format!("{told} | {error:?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(whole, " | {error} | {error:?}");
        cause = error.source();
    }
    Words { told, whole }
}

fn seen(outcome: Result<Seen>) -> Seen {
    outcome.unwrap_or_else(|error| Seen::Error(error.kind(), words(&error)))
}

fn done(outcome: Result<()>) -> Seen {
    seen(outcome.map(|()| Seen::Done))
}

/// An organization at work: where its pages stand.
#[derive(Debug, Default)]
pub struct Desk {
    page: Option<(Read, Cursor)>,
}

fn steps<'a>(
    cx: &'a Cx<'a>,
    tx: &'a mut Transaction,
    steps: &'a [Step],
    out: &'a mut Vec<Seen>,
) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
    Box::pin(async move {
        for step in steps {
            match step {
                Step::Do(stmt) => out.push(seen(lower::run(cx, stmt, Ex::Tx(&mut *tx)).await)),
                Step::Savepoint(inner, ending) => match tx.savepoint().await {
                    Err(error) => out.push(seen(Err(error))),
                    Ok(mut savepoint) => {
                        self::steps(cx, &mut savepoint, inner, out).await;
                        out.push(match ending {
                            Ending::Keep => done(savepoint.release().await),
                            Ending::Undo => done(savepoint.rollback().await),
                            Ending::Drop => {
                                drop(savepoint);
                                Seen::Done
                            }
                        });
                    }
                },
            }
        }
    })
}

async fn page(
    cx: &Cx<'_>,
    desk: &mut Desk,
    read: &Read,
    cursor: Option<Cursor>,
    size: u32,
) -> Seen {
    let seen = seen(lower::read(cx, read, Way::Page(cursor, size), Ex::Db(cx.db)).await);
    desk.page = cx.next.borrow_mut().take().map(|next| (read.clone(), next));
    seen
}

/// Does one thing in the name of `who`, and says what was observed.
pub async fn operate(
    world: &mut World,
    desk: &mut Desk,
    who: Who,
    operation: &Operation,
) -> Vec<Seen> {
    let other = if who == Who::A { Who::B } else { Who::A };
    let (scope, other, db) =
        (world.scope(who).clone(), world.scope(other).clone(), world.db.clone());
    let cx = Cx { db: &db, scope: &scope, other: &other, next: Default::default() };
    let mut out = Vec::new();
    match operation {
        Operation::Run(stmt) => out.push(seen(lower::run(&cx, stmt, Ex::Db(&db)).await)),
        Operation::Transaction(inner, ending) => match db.begin(&scope).await {
            Err(error) => out.push(seen(Err(error))),
            Ok(mut tx) => {
                steps(&cx, &mut tx, inner, &mut out).await;
                out.push(match ending {
                    Ending::Keep => done(tx.commit().await),
                    Ending::Undo => done(tx.rollback().await),
                    Ending::Drop => {
                        drop(tx);
                        Seen::Done
                    }
                });
            }
        },
        Operation::Closure(stmts) => {
            let inner = Mutex::new(&mut out);
            let outcome = db
                .transaction(&scope, async |tx| {
                    for stmt in stmts {
                        let outcome = lower::run(&cx, stmt, Ex::Tx(&mut *tx)).await;
                        let (one, error) = match outcome {
                            Ok(one) => (one, None),
                            Err(error) => (Seen::Error(error.kind(), words(&error)), Some(error)),
                        };
                        inner.lock().unwrap().push(one);
                        if let Some(error) = error {
                            return Err(error);
                        }
                    }
                    Ok(())
                })
                .await;
            out.push(done(outcome));
        }
        Operation::PageBegin(read, size) => out.push(page(&cx, desk, read, None, *size).await),
        Operation::PageNext(size) => match desk.page.take() {
            None => out.push(Seen::Done),
            Some((read, cursor)) => out.push(page(&cx, desk, &read, Some(cursor), *size).await),
        },
        Operation::Ticket => {
            let ticket = scope.ticket(&world.tickets, Duration::from_secs(60), b"job");
            let redeemed = match ticket {
                Ok(ticket) => world.issuer.redeem(&ticket, &world.tickets, b"job").await,
                Err(error) => Err(error),
            };
            out.push(match redeemed {
                Ok(redeemed) => {
                    world.scopes[who as usize] = redeemed;
                    Seen::Done
                }
                Err(error) => seen(Err(error)),
            });
        }
        Operation::ForeignTicket => {
            // Another organization's ticket, for another job.
            let redeemed = match other.ticket(&world.tickets, Duration::from_secs(60), b"theirs") {
                Ok(ticket) => world.issuer.redeem(&ticket, &world.tickets, b"ours").await,
                Err(error) => Err(error),
            };
            out.push(done(redeemed.map(drop)));
        }
        Operation::Suspend(stmt) => {
            world.issuer.suspend(who.organization());
            out.push(seen(lower::run(&cx, stmt, Ex::Db(&db)).await));
            world.issuer.resume(who.organization());
            out.push(seen(lower::run(&cx, stmt, Ex::Db(&db)).await));
            world.enter(who).await;
            out.push(Seen::Done);
        }
    }
    out
}

async fn others_act(world: &mut World, desks: &mut [Desk; 3], turn: &Turn) {
    for (marked, other) in &turn.others {
        let who = if *marked { Who::B } else { Who::C };
        match other {
            Other::Suspended => {
                world.issuer.suspend(who.organization());
                world.issuer.resume(who.organization());
                world.enter(who).await;
            }
            Other::Does(operation) => {
                let mut operation = operation.clone();
                if *marked {
                    mark(&mut operation);
                }
                operate(world, &mut desks[who as usize], who, &operation).await;
            }
        }
    }
}

/// What others hold in a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    Nothing,
    /// They hold what they begin with.
    Idle,
    Busy,
}

/// A program's run: A's observations, and A's audit events.
pub struct Outcome {
    pub seen: Vec<Vec<Seen>>,
    events: String,
    /// Whether what is not A's stayed as it was, where others did nothing.
    intact: bool,
}

pub async fn run(place: Place<'_>, program: &Program, others: Others) -> Outcome {
    let mut world = world(place).await;
    let mut desks = <[Desk; 3]>::default();
    let mut all = Vec::new();
    if others == Others::Idle
        && let Some(first) = program.turns.first()
    {
        others_act(&mut world, &mut desks, first).await;
    }
    let before = if others == Others::Idle { world.others().await } else { Vec::new() };
    for turn in &program.turns {
        if others == Others::Busy {
            others_act(&mut world, &mut desks, turn).await;
        }
        all.push(operate(&mut world, &mut desks[0], Who::A, &turn.ours).await);
    }
    let intact = match others {
        Others::Idle => world.others().await == before,
        Others::Busy | Others::Nothing => true,
    };
    world.issuer.flush_audit().await.unwrap();
    let scope = world.issuer.enter(&Who::A.principal(), Who::A.organization()).await.unwrap();
    world.issuer.flush_audit().await.unwrap();
    let events = format!("{:#?}", world.sink.events_for(&scope).unwrap());
    world.end(place).await;
    Outcome { seen: all, events, intact }
}

// ---- the judgement

/// Where a program went wrong.
#[derive(Debug, Clone)]
pub struct Failure {
    turn: Option<usize>,
    what: String,
}

fn differ(name: &str, a: &Outcome, b: &Outcome) -> Option<Failure> {
    for (turn, (a, b)) in a.seen.iter().zip(&b.seen).enumerate() {
        if a != b {
            return Some(Failure {
                turn: Some(turn),
                what: format!("{name}:\n  alone: {a:?}\n  there: {b:?}"),
            });
        }
    }
    (a.events != b.events).then(|| Failure {
        turn: None,
        what: format!("{name}: audit events differ\n  alone: {}\n  there: {}", a.events, b.events),
    })
}

/// Whether the model answers the same, and which operations have several right answers.
fn against_model(program: &Program, outcome: &Outcome) -> Result<Vec<bool>, Failure> {
    let mut model = Model::new();
    let mut several = Vec::new();
    for (turn, (step, real)) in program.turns.iter().zip(&outcome.seen).enumerate() {
        let ours = model.operation(&step.ours, real);
        let agree =
            ours.len() == real.len() && ours.iter().zip(real).all(|(ours, real)| ours.agrees(real));
        if !agree {
            return Err(Failure {
                turn: Some(turn),
                what: format!("model:\n  model: {ours:?}\n  store: {real:?}"),
            });
        }
        several.push(model.several);
    }
    Ok(several)
}

/// Both stores tell the same. Several answers are right where a statement breaks several rules at
/// once (one of them is told), and where a sum of 64 bits leaves them on the way to a result that
/// does not: the stores may choose differently, and each is held to the model.
#[cfg(feature = "postgres")]
fn one_meaning(ours: &Outcome, theirs: &Outcome, several: &[bool]) -> Option<Failure> {
    for (turn, (ours, theirs)) in ours.seen.iter().zip(&theirs.seen).enumerate() {
        let agree = |alike: &dyn Fn(&Seen, &Seen) -> bool| {
            ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|(ours, theirs)| alike(ours, theirs))
        };
        if agree(&Seen::is_told_alike) || several[turn] && agree(&Seen::agrees) {
            continue;
        }
        if several[turn] {
            // What follows depends on what was chosen.
            return None;
        }
        return Some(Failure {
            turn: Some(turn),
            what: format!("two stores:\n  PostgreSQL: {ours:?}\n  SQLite: {theirs:?}"),
        });
    }
    (ours.events != theirs.events).then(|| Failure {
        turn: None,
        what: format!(
            "two stores: audit events differ\n  PostgreSQL: {}\n  SQLite: {}",
            ours.events, theirs.events
        ),
    })
}

fn tainted(outcome: &Outcome) -> Option<Failure> {
    for (turn, seen) in outcome.seen.iter().enumerate() {
        if format!("{seen:?}").contains(MARK) {
            return Some(Failure { turn: Some(turn), what: format!("taint: {seen:?}") });
        }
    }
    outcome
        .events
        .contains(MARK)
        .then(|| Failure { turn: None, what: format!("taint: {}", outcome.events) })
}

/// Foreign, misplaced and made-up cursors are refused in the same words.
fn one_text(program: &Program, outcome: &Outcome) -> Option<Failure> {
    for (turn, (step, seen)) in program.turns.iter().zip(&outcome.seen).enumerate() {
        let cursor = matches!(
            step.ours,
            Operation::Run(Stmt::Refused(
                Refusal::ForeignCursor | Refusal::MisplacedCursor | Refusal::GarbageCursor,
                _
            ))
        );
        if let (true, [Seen::Error(_, Words { told, .. })]) = (cursor, &seen[..])
            && !told.starts_with("the cursor does not belong to this page | ")
        {
            return Some(Failure { turn: Some(turn), what: format!("cursor: {told}") });
        }
    }
    None
}

/// Runs a program under every oracle.
async fn judge(
    place: Place<'_>,
    program: &Program,
    met: &mut BTreeMap<Feature, u64>,
) -> Option<Failure> {
    let alone = run(place, program, Others::Nothing).await;
    for seen in alone.seen.iter().flatten() {
        if let Seen::Error(kind, words) = seen {
            if words.told.contains("only rollback remains") {
                *met.entry(Feature::Refused(Refusal::AfterFailure)).or_default() += 1;
            }
            for (known, name) in KINDS {
                if known == *kind {
                    *met.entry(Feature::Met(name)).or_default() += 1;
                }
            }
        }
    }
    let several = match against_model(program, &alone) {
        Ok(several) => several,
        Err(failure) => return Some(failure),
    };
    #[cfg(feature = "postgres")]
    if let Place::Server(_) = place {
        let embedded = run(Place::Memory, program, Others::Nothing).await;
        if let Some(failure) = one_meaning(&alone, &embedded, &several) {
            return Some(failure);
        }
    }
    let idle = run(place, program, Others::Idle).await;
    if !idle.intact {
        return Some(Failure {
            turn: None,
            what: "integrity: rows that are not A's changed".into(),
        });
    }
    let busy = run(place, program, Others::Busy).await;
    one_text(program, &alone)
        .or_else(|| differ("two worlds, others idle", &alone, &idle))
        .or_else(|| differ("two worlds, others busy", &alone, &busy))
        .or_else(|| tainted(&idle))
        .or_else(|| tainted(&busy))
}

/// Takes turns away as long as the program fails in the same way, halves first.
async fn shrunk(place: Place<'_>, program: &Program, failure: &Failure) -> (Program, Failure) {
    let oracle = |failure: &Failure| failure.what.split(':').next().unwrap_or_default().to_owned();
    let (mut program, mut failure) = (program.clone(), failure.clone());
    if let Some(turn) = failure.turn {
        program.turns.truncate(turn + 1);
    }
    let mut size = program.turns.len() / 2;
    while size >= 1 {
        let mut at = 0;
        while at < program.turns.len() {
            let mut fewer = program.clone();
            fewer.turns.drain(at..(at + size).min(fewer.turns.len()));
            match judge(place, &fewer, &mut BTreeMap::new()).await {
                Some(again) if oracle(&again) == oracle(&failure) => {
                    (program, failure) = (fewer, again)
                }
                _ => at += size,
            }
        }
        size /= 2;
    }
    for at in 0..program.turns.len() {
        for other in (0..program.turns[at].others.len()).rev() {
            let mut fewer = program.clone();
            fewer.turns[at].others.remove(other);
            if let Some(again) = judge(place, &fewer, &mut BTreeMap::new()).await
                && oracle(&again) == oracle(&failure)
            {
                (program, failure) = (fewer, again);
            }
        }
    }
    (program, failure)
}

fn script(program: &Program) -> String {
    let mut script = String::new();
    for (turn, step) in program.turns.iter().enumerate() {
        for (marked, other) in &step.others {
            let _ = writeln!(script, "{turn:>3}  {}: {other:?}", if *marked { "B" } else { "C" });
        }
        let _ = writeln!(script, "{turn:>3}  A: {:?}", step.ours);
    }
    script
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

// ---- logs

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
    super::program::Random(seed ^ number.wrapping_mul(0xA076_1D64_78BD_642F)).next()
}

/// The store on which programs run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Store {
    #[cfg(feature = "postgres")]
    Postgres,
    Sqlite,
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
        "{store:?}: {programs} programs of {OPERATIONS} operations, seed {seed} (TENANTRY_PROGRAMS, TENANTRY_SEED, TENANTRY_PROGRAM)"
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
                        let (program, failure) =
                            runtime.block_on(shrunk(place, &program, &failure));
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
    assert!(unused.is_empty() || programs < 500, "never generated, so never proven: {unused:?}");
}
