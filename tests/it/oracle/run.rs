//! A program's run in one world: everything that A observes.

use std::error::Error as _;
use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use tenantry::database::Transaction;
use tenantry::query::Cursor;
use tenantry::{Error, Result};

use super::lower::{self, Cx, Ex, Way};
use super::model::{Seen, Words};
use super::program::{Ending, Operation, Other, Program, Read, Step, Turn, mark};
use super::world::{Place, Who, World, world};

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
    pub events: String,
    /// Whether what is not A's stayed as it was, where others did nothing.
    pub intact: bool,
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
    let entered = world.issuer.enter(&Who::A.principal(), Who::A.organization()).await;
    world.issuer.flush_audit().await.unwrap();
    let events = match entered {
        Ok(scope) => format!("{:#?}", world.sink.events_for(&scope).unwrap()),
        // An incident has halted the organization.
        Err(error) => format!("{error:?}"),
    };
    world.end(place).await;
    Outcome { seen: all, events, intact }
}
