//! The reference: one organization's rows in plain maps. It knows of no other organization, so
//! whatever agrees with it depends on none.

mod conditions;
mod prepared;
mod reads;
mod writes;

use std::cell::Cell as Mark;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use tenantry::ErrorKind;

use super::cell::{Cell, Row};
use super::program::{End, Ending, From, Operation, Read, Refusal, Rows, Step, Stmt};
use super::tables::{GENRES, Tab};
use super::world::Store;

/// What a program observes. The model knows kinds of errors, not their texts.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    Done,
    Rows(Vec<Row>),
    /// Rows of an unordered read, sorted.
    Bag(Vec<Row>),
    Row(Option<Row>),
    Count(i64),
    Is(bool),
    Affected(u64),
    Page(Vec<Row>, bool),
    Pages(Vec<Vec<Row>>),
    Error(ErrorKind, Words),
}

/// What an error says: what both stores must say alike, and all that callers and logs can see.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Words {
    pub told: String,
    pub whole: String,
}

impl Seen {
    pub fn error(kind: ErrorKind) -> Self {
        Self::Error(kind, Words::default())
    }

    /// Whether another store answered the same. What an error holds of a store is its code alone,
    /// in the sources.
    pub fn is_told_alike(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Error(ours, words), Self::Error(theirs, others)) => {
                ours == theirs && words.told == others.told
            }
            (ours, theirs) => ours == theirs,
        }
    }

    pub fn agrees(&self, real: &Self) -> bool {
        match (self, real) {
            (Self::Error(ours, _), Self::Error(theirs, _)) => ours == theirs,
            (ours, theirs) => ours == theirs,
        }
    }
}

/// The store's answer to a statement. The model asks for it only where several answers are right,
/// and it is remembered that it did.
struct Answer {
    real: Seen,
    store: Store,
    asked: Mark<bool>,
}

impl Answer {
    fn new(real: &Seen, store: Store) -> Self {
        Self { real: real.clone(), store, asked: Default::default() }
    }

    /// Several answers are right, and all of them fail alike but in what they name.
    fn is_named_otherwise(&self) {
        self.asked.set(true);
    }

    fn is(&self, kind: ErrorKind) -> bool {
        self.asked.set(true);
        matches!(self.real, Seen::Error(real, _) if real == kind)
    }
}

/// A statement's outcome: what is seen, and whether it fails its transaction.
type Outcome = Result<Seen, (ErrorKind, bool)>;

/// Refused before it ran, or a row that is not there: only the latter lets a transaction go on.
const fn refused<T>(kind: ErrorKind) -> Result<T, (ErrorKind, bool)> {
    Err((kind, !matches!(kind, ErrorKind::NotFound)))
}

const fn failed<T>(kind: ErrorKind) -> Result<T, (ErrorKind, bool)> {
    Err((kind, true))
}

type Tables = BTreeMap<Tab, BTreeMap<Vec<Cell>, Row>>;
/// One row of a join: a row of each table, or none.
type Joined = Vec<Option<Row>>;

#[derive(Debug, Clone)]
pub struct Model {
    store: Store,
    tables: Tables,
    page: Option<(Read, Vec<Cell>)>,
    /// Whether a statement of the last operation has several right answers.
    pub several: bool,
}

fn key_of(tab: Tab, row: &Row) -> Vec<Cell> {
    tab.keys().iter().map(|at| row[*at].clone()).collect()
}

fn direction(order: Ordering, descending: bool) -> Ordering {
    if descending { order.reverse() } else { order }
}

fn window<T>(rows: Vec<T>, limit: Option<u64>, offset: Option<u64>) -> Vec<T> {
    rows.into_iter()
        .skip(offset.unwrap_or(0) as usize)
        .take(limit.unwrap_or(u64::MAX).min(1 << 40) as usize)
        .collect()
}

fn cells_of(from: From, joined: &Joined) -> Row {
    let mut cells = Row::new();
    for (row, _) in joined.iter().zip(from.tables()) {
        match row {
            Some(row) => cells.extend(row.iter().cloned()),
            None => cells.push(Cell::Absent),
        }
    }
    cells
}

fn cell_at(joined: &Joined, member: usize, column: usize) -> Cell {
    joined[member].as_ref().map_or(Cell::Null, |row| row[column].clone())
}

impl Model {
    pub fn new(store: Store) -> Self {
        let genres = GENRES.iter().map(|(id, name)| {
            (vec![Cell::Int(*id)], vec![Cell::Int(*id), Cell::Text((*name).into())])
        });
        let tables = Tables::from([(Tab::Genre, genres.collect())]);
        Self { store, tables, page: None, several: false }
    }

    fn rows_of(&self, tab: Tab) -> impl Iterator<Item = &Row> {
        self.tables.get(&tab).into_iter().flat_map(BTreeMap::values)
    }
    fn run(&mut self, stmt: &Stmt, inside: bool, real: &Answer) -> Outcome {
        match stmt {
            Stmt::Find { tab, key, one, for_update } => {
                if *for_update && !inside {
                    return refused(ErrorKind::Misuse);
                }
                let found = self.matched(*tab, &Rows::Key(key.clone())).into_iter().next();
                if *one && found.is_none() {
                    refused(ErrorKind::NotFound)
                } else {
                    Ok(Seen::Row(found))
                }
            }
            Stmt::Read(read, end) => self.read(read, end, inside, real),
            Stmt::Insert { tab, rows, upsert, returning, .. } => {
                if rows.iter().flatten().any(Cell::is_refused) {
                    return refused(ErrorKind::Invalid);
                }
                if upsert.as_ref().is_some_and(|upsert| upsert.unique && tab.unique().is_none()) {
                    return failed(ErrorKind::Misuse);
                }
                let mut stored = Vec::new();
                for chunk in writes::statements(*tab, rows, upsert.as_ref()) {
                    stored.extend(self.insert_chunk(*tab, chunk, upsert.as_ref(), real)?);
                }
                let affected = stored.len() as u64;
                stored.sort_by_key(|row| key_of(*tab, row));
                match returning {
                    None => Ok(Seen::Affected(affected)),
                    // The row is stored, and the caller learns that there is none to return.
                    Some(how) => reads::pick(stored, *how),
                }
            }
            Stmt::Update { tab, set, rows, returning } => {
                let mut written = self.update(*tab, set, rows, real)?;
                written.sort_by_key(|row| key_of(*tab, row));
                Ok(if *returning {
                    Seen::Rows(written)
                } else {
                    Seen::Affected(written.len() as u64)
                })
            }
            Stmt::Delete { tab, rows, returning } => {
                let deleted = self.delete(*tab, rows, real)?;
                Ok(if *returning {
                    Seen::Rows(deleted)
                } else {
                    Seen::Affected(deleted.len() as u64)
                })
            }
            Stmt::Prepared(prepared) => self.prepared(prepared, real),
            Stmt::Refused(refusal, _) => match refusal {
                Refusal::UnknownConflictTarget => failed(ErrorKind::Misuse),
                Refusal::ForeignSubquery
                | Refusal::ForeignTransaction
                | Refusal::AmbiguousOccurrence
                | Refusal::SetTwice
                | Refusal::SetNothing => refused(ErrorKind::Misuse),
                _ => refused(ErrorKind::Invalid),
            },
        }
    }

    /// A statement on the database: what fails leaves nothing behind.
    fn alone(&mut self, stmt: &Stmt, inside: bool, real: &Seen) -> (Seen, bool) {
        let before = self.tables.clone();
        let answer = Answer::new(real, self.store);
        let outcome = self.run(stmt, inside, &answer);
        self.several |= answer.asked.get();
        match outcome {
            Ok(seen) => (seen, false),
            Err((kind, fails)) => {
                if kind != ErrorKind::NotFound || fails {
                    self.tables = before;
                }
                (Seen::error(kind), fails)
            }
        }
    }

    fn inside(&mut self, stmt: &Stmt, broken: &mut bool, real: &Seen) -> Seen {
        if *broken {
            let early =
                matches!(stmt, Stmt::Refused(Refusal::EmptyPage | Refusal::GarbageCursor, _));
            return Seen::error(if early { ErrorKind::Invalid } else { ErrorKind::Misuse });
        }
        let (seen, fails) = self.alone(stmt, true, real);
        *broken |= fails;
        seen
    }

    fn steps(
        &mut self,
        steps: &[Step],
        broken: &mut bool,
        real: &mut dyn Iterator<Item = Seen>,
        seen: &mut Vec<Seen>,
    ) {
        for step in steps {
            match step {
                Step::Do(stmt) => {
                    let real = real.next().unwrap_or(Seen::Done);
                    seen.push(self.inside(stmt, broken, &real));
                }
                Step::Savepoint(..) if *broken => {
                    real.next();
                    seen.push(Seen::error(ErrorKind::Misuse));
                }
                Step::Savepoint(inner, ending) => {
                    let before = self.tables.clone();
                    self.steps(inner, broken, real, seen);
                    let end = match ending {
                        Ending::Keep if *broken => Seen::error(ErrorKind::Misuse),
                        _ => Seen::Done,
                    };
                    if *broken || *ending != Ending::Keep {
                        self.tables = before;
                        *broken = false;
                    }
                    real.next();
                    seen.push(end);
                }
            }
        }
    }

    /// Runs an operation; `real` is what the store answered, asked only where several answers are
    /// right.
    pub fn operation(&mut self, operation: &Operation, real: &[Seen]) -> Vec<Seen> {
        self.several = false;
        let mut answers = real.iter().cloned();
        let first = real.first().cloned().unwrap_or(Seen::Done);
        match operation {
            Operation::Run(stmt) => vec![self.alone(stmt, false, &first).0],
            Operation::Transaction(steps, ending) => {
                let before = self.tables.clone();
                let (mut broken, mut seen) = (false, Vec::new());
                self.steps(steps, &mut broken, &mut answers, &mut seen);
                seen.push(match ending {
                    Ending::Keep if broken => Seen::error(ErrorKind::Misuse),
                    _ => Seen::Done,
                });
                if broken || *ending != Ending::Keep {
                    self.tables = before;
                }
                seen
            }
            Operation::Closure(stmts) => {
                let before = self.tables.clone();
                let (mut broken, mut seen) = (false, Vec::new());
                for stmt in stmts {
                    let real = answers.next().unwrap_or(Seen::Done);
                    let one = self.inside(stmt, &mut broken, &real);
                    let error = matches!(one, Seen::Error(..));
                    seen.push(one.clone());
                    if error {
                        self.tables = before;
                        seen.push(one);
                        return seen;
                    }
                }
                seen.push(Seen::Done);
                seen
            }
            Operation::PageBegin(read, size) => {
                let rows = self.relation(read);
                vec![self.page_of(read.clone(), rows, *size)]
            }
            Operation::PageNext(size) => match self.page.take() {
                None => vec![Seen::Done],
                Some((read, last)) => {
                    let terms = read.order.len();
                    let after = |joined: &Joined| {
                        let ours = Self::order_of(&read, joined);
                        let last: Vec<(Cell, bool)> = last
                            .iter()
                            .enumerate()
                            .map(|(at, cell)| (cell.clone(), at < terms && read.order[at].2))
                            .collect();
                        Self::by_order(&ours, &last).is_gt()
                    };
                    let rows = self.relation(&read).into_iter().filter(after).collect();
                    vec![self.page_of(read.clone(), rows, *size)]
                }
            },
            Operation::Ticket => vec![Seen::Done],
            Operation::ForeignTicket => vec![Seen::error(ErrorKind::Denied)],
            Operation::Suspend(stmt) => {
                // What says at once that it runs in a transaction alone is refused as that.
                let misuse = match stmt {
                    // A stream says so when it is polled, after the scope was asked.
                    Stmt::Read(_, End::Stream) => false,
                    Stmt::Read(read, _) => read.for_update,
                    _ => false,
                };
                let kind = if misuse { ErrorKind::Misuse } else { ErrorKind::Denied };
                vec![Seen::error(kind), Seen::error(kind), Seen::Done]
            }
        }
    }

    fn page_of(&mut self, read: Read, rows: Vec<Joined>, size: u32) -> Seen {
        let more = rows.len() > size as usize;
        let page: Vec<Joined> = rows.into_iter().take(size as usize).collect();
        let cells = page.iter().map(|joined| cells_of(read.from, joined)).collect();
        self.page = match page.last() {
            Some(last) if more => {
                let boundary =
                    Self::order_of(&read, last).into_iter().map(|(cell, _)| cell).collect();
                Some((read, boundary))
            }
            _ => None,
        };
        Seen::Page(cells, more)
    }
}
