//! Each program in three worlds and in the model, everything that A observes compared.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::model::{Model, Seen, Words};
use super::program::{Feature, KINDS, Operation, Program, Refusal, Stmt};
use super::run::{Others, Outcome, run};
use super::world::{MARK, Place, Store};

/// Where a program went wrong.
#[derive(Debug, Clone)]
pub struct Failure {
    turn: Option<usize>,
    pub what: String,
}

/// Whether A observes something else beside others. Where a statement breaks several rules at once
/// (`several`), PostgreSQL tells the one that it meets first, which is a matter of pages and plans
/// that organizations share: another one of those that A's own rows break is as right.
fn differ(name: &str, a: &Outcome, b: &Outcome, several: &[bool]) -> Option<Failure> {
    for (turn, (a, b)) in a.seen.iter().zip(&b.seen).enumerate() {
        let both_refused =
            |a: &Seen, b: &Seen| a == b || matches!((a, b), (Seen::Error(..), Seen::Error(..)));
        let another_rule =
            several[turn] && a.len() == b.len() && a.iter().zip(b).all(|(a, b)| both_refused(a, b));
        if a != b && !another_rule {
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
fn against_model(store: Store, program: &Program, outcome: &Outcome) -> Result<Vec<bool>, Failure> {
    let mut model = Model::new(store);
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
pub async fn judge(
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
    let several = match against_model(place.store(), program, &alone) {
        Ok(several) => several,
        Err(failure) => return Some(failure),
    };
    if place.store() != Store::Sqlite {
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
    let strict = vec![false; several.len()];
    let (several, beside) = match place.store() {
        Store::Sqlite => (&strict, None),
        // What is told instead must be a rule that A's own rows break: the model knows no others.
        _ => (
            &several,
            [&idle, &busy]
                .into_iter()
                .filter(|world| world.seen != alone.seen)
                .find_map(|world| against_model(place.store(), program, world).err()),
        ),
    };
    one_text(program, &alone)
        .or_else(|| differ("two worlds, others idle", &alone, &idle, several))
        .or_else(|| differ("two worlds, others busy", &alone, &busy, several))
        .or(beside)
        .or_else(|| tainted(&idle))
        .or_else(|| tainted(&busy))
}

/// Takes turns away as long as the program fails in the same way, halves first.
pub async fn shrunk(place: Place<'_>, program: &Program, failure: &Failure) -> (Program, Failure) {
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

pub fn script(program: &Program) -> String {
    let mut script = String::new();
    for (turn, step) in program.turns.iter().enumerate() {
        for (marked, other) in &step.others {
            let _ = writeln!(script, "{turn:>3}  {}: {other:?}", if *marked { "B" } else { "C" });
        }
        let _ = writeln!(script, "{turn:>3}  A: {:?}", step.ours);
    }
    script
}
