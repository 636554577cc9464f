//! Programs out of random numbers: the same seed, the same program. Every feature that goes into a
//! program is written down.

mod filters;
mod reads;
mod writes;

use super::cell::{Cell, Row};
use super::program::{
    Clause, Ending, Feature, Operation, Other, Program, Refusal, Slot, Step, Stmt, Turn, Verb,
};
use super::tables::{Kind, Tab};

/// SplitMix64: small, and the same everywhere.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())].clone()
    }

    fn id(&mut self) -> i64 {
        1 + self.below(5) as i64
    }
}

pub struct Generator {
    pub random: Random,
    pub seen: Vec<Feature>,
}

const TEXTS: [&str; 8] = ["", "a", "ab", "B", "a%b", "z_", "é", "jazz"];
/// Upper and lower case, accents and marks, control characters, and the ends of UTF-8's lengths.
const ODD_TEXTS: [&str; 12] =
    ["A", "Z", "~", "\u{1}", " ", "e\u{301}", "É", "ß", "\u{7ff}", "\u{ffff}", "\u{10000}", "ab "];
/// Microseconds before and after 1970, of years with fewer and more than four digits' neighbours.
const TIMES: [i64; 6] =
    [0, -1, 1, 253_402_300_799_999_999, -62_135_596_800_000_000, -210_000_000_000_000_000];
/// Days of years before and after those of four digits.
const DAYS: [i64; 4] = [38, 1_721_425, 2_440_588, 5_373_484];
/// As serde_json writes them.
const DOCUMENTS: [&str; 7] = [
    "null",
    "{\"a\":{\"b\":[]},\"b\":1}",
    "\"\\\"\\n é\"",
    "-0.0",
    "0.25",
    "18446744073709551615",
    "[true,false,\"\"]",
];
const EMAILS: [&str; 5] = ["a@x", "b@x", "c@x", "A@x", "d_%@x"];
const PATTERNS: [&str; 7] = ["%", "a%", "%b", "_", "a\\%b", "A%", "%@x"];

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self { random: Random(seed), seen: Vec::new() }
    }

    fn saw(&mut self, feature: Feature) {
        self.seen.push(feature);
    }

    fn clause(&mut self, clause: Clause) {
        self.saw(Feature::Clause(clause));
    }

    fn verb(&mut self, verb: Verb) {
        self.saw(Feature::Verb(verb));
    }

    /// A value for a column.
    fn cell(&mut self, tab: Tab, column: usize) -> Cell {
        let col = tab.columns()[column];
        if col.null && self.random.one_in(4) {
            return Cell::Null;
        }
        if tab == Tab::Order && column == 2 {
            return Cell::Text(self.random.pick(&EMAILS).into());
        }
        let bound = tab.keys().contains(&column)
            || tab.references().iter().any(|(columns, ..)| columns.contains(&column));
        if !bound && self.random.one_in(8) { self.extreme(col.kind) } else { self.value(col.kind) }
    }

    /// A value at the end of what a column holds, or that stores are known to order, compare or
    /// write down differently.
    fn extreme(&mut self, kind: Kind) -> Cell {
        let random = &mut self.random;
        match kind {
            Kind::Bool => Cell::Int(random.below(2) as i64),
            Kind::I16 => Cell::Int(random.pick(&[i16::MIN, i16::MAX]).into()),
            Kind::I32 => Cell::Int(random.pick(&[i32::MIN, i32::MAX]).into()),
            Kind::I64 => Cell::Int(random.pick(&[i64::MIN, i64::MAX, 0, -1])),
            Kind::F64 => Cell::Float(random.pick(&[1 << 52, -(1 << 52), 0])),
            Kind::Text => Cell::Text(random.pick(&ODD_TEXTS).into()),
            Kind::Bytes => Cell::Bytes(random.pick(&[vec![0], vec![0, 0], vec![0x7f], vec![0xff]])),
            Kind::Uuid => Cell::Bytes(vec![random.pick(&[0x00, 0x7f, 0x80, 0xff]); 16]),
            Kind::Time => Cell::Time(random.pick(&TIMES)),
            Kind::Date => Cell::Int(random.pick(&DAYS)),
            Kind::Json => Cell::Text(random.pick(&DOCUMENTS).into()),
            Kind::Decimal => Cell::Int(random.pick(&[i64::MAX, -i64::MAX, 0, 1, -1, 10])),
            Kind::State => self.value(kind),
        }
    }

    fn value(&mut self, kind: Kind) -> Cell {
        let small = self.random.below(3) as i64;
        match kind {
            Kind::Bool => Cell::Int(small % 2),
            Kind::I16 | Kind::I32 => Cell::Int(small * 7 - 7),
            Kind::I64 => Cell::Int(self.random.id()),
            Kind::F64 => Cell::Float(small * 3 - 2),
            Kind::Text => Cell::Text(self.random.pick(&TEXTS).into()),
            Kind::Bytes => Cell::Bytes(vec![small as u8; small as usize]),
            Kind::Uuid => Cell::Bytes(vec![small as u8 + 1; 16]),
            Kind::Time => Cell::Time(small * 500_000 - 500_000),
            Kind::Date => Cell::Int(2_460_000 + small),
            Kind::Json => Cell::Text(["1", "\"x\"", "[1,null]"][small as usize].into()),
            Kind::Decimal => Cell::Int(small * 105 - 105),
            Kind::State => Cell::Text(["open", "paid", "shut"][small as usize].into()),
        }
    }

    fn row(&mut self, tab: Tab) -> Row {
        if tab == Tab::Item {
            for at in 0..tab.columns().len() {
                self.saw(Feature::Column(at as u8));
            }
        }
        let mut row: Row = (0..tab.columns().len()).map(|column| self.cell(tab, column)).collect();
        if tab == Tab::Item && row[27] == Cell::Int(5) && self.random.one_in(2) {
            row[27] = Cell::Null;
        }
        row
    }

    fn key(&mut self, tab: Tab) -> Vec<i64> {
        (0..tab.keys().len()).map(|_| self.random.id()).collect()
    }

    fn column(&mut self, tab: Tab) -> usize {
        self.random.below(tab.columns().len())
    }

    fn column_where(&mut self, tab: Tab, fits: impl Fn(usize) -> bool) -> Option<usize> {
        let fitting: Vec<usize> = (0..tab.columns().len()).filter(|at| fits(*at)).collect();
        (!fitting.is_empty()).then(|| self.random.pick(&fitting))
    }

    fn integer(&mut self, tab: Tab) -> usize {
        self.column_where(tab, |at| tab.columns()[at].kind == Kind::I64).unwrap()
    }

    pub fn stmt(&mut self, inside: bool) -> Stmt {
        match self.random.below(20) {
            0..=7 => self.select(inside),
            8 => self.find(inside),
            9..=12 => self.insert(),
            13..=15 => self.update(),
            16 | 17 => self.delete(),
            18 => self.prepared(),
            _ => self.refused(inside),
        }
    }

    fn steps(&mut self, depth: usize) -> Vec<Step> {
        let mut steps = Vec::new();
        for _ in 0..1 + self.random.below(3) {
            if depth > 0 && self.random.one_in(3) {
                let ending = self.random.pick(&[Ending::Keep, Ending::Undo, Ending::Drop]);
                self.verb(match ending {
                    Ending::Keep => Verb::SavepointRelease,
                    Ending::Undo => Verb::SavepointRollback,
                    Ending::Drop => Verb::SavepointDrop,
                });
                steps.push(Step::Savepoint(self.steps(depth - 1), ending));
            } else {
                steps.push(Step::Do(self.stmt(true)));
            }
        }
        steps
    }

    pub fn operation(&mut self) -> Operation {
        match self.random.below(24) {
            0 | 1 => {
                let ending =
                    self.random.pick(&[Ending::Keep, Ending::Keep, Ending::Undo, Ending::Drop]);
                self.verb(match ending {
                    Ending::Keep => Verb::TransactionCommit,
                    Ending::Undo => Verb::TransactionRollback,
                    Ending::Drop => Verb::TransactionDrop,
                });
                Operation::Transaction(self.steps(2), ending)
            }
            2 => {
                self.verb(Verb::Closure);
                let count = 1 + self.random.below(3);
                Operation::Closure((0..count).map(|_| self.stmt(true)).collect())
            }
            3 => {
                self.verb(Verb::PageBegin);
                let from = self.from();
                let mut read = self.read(from, Slot::Page);
                read.limit = None;
                read.offset = None;
                Operation::PageBegin(read, 1 + self.random.below(2) as u32)
            }
            4 => {
                self.verb(Verb::PageNext);
                Operation::PageNext(1 + self.random.below(2) as u32)
            }
            5 if self.random.one_in(2) => {
                if self.random.one_in(2) {
                    self.verb(Verb::Ticket);
                    Operation::Ticket
                } else {
                    self.saw(Feature::Refused(Refusal::ForeignTicket));
                    Operation::ForeignTicket
                }
            }
            6 if self.random.one_in(3) => {
                self.verb(Verb::Suspend);
                Operation::Suspend(self.select(false))
            }
            _ => Operation::Run(self.stmt(false)),
        }
    }

    /// Rows to begin with: parents before children, so that most references hold.
    fn seeds(&mut self) -> Vec<Operation> {
        Tab::OWNED
            .into_iter()
            .flat_map(|tab| {
                let mut rows = Vec::new();
                for id in 1..=3 {
                    let mut row = self.row(tab);
                    row[0] = Cell::Int(id);
                    match tab {
                        Tab::Order => {
                            row[1] = Cell::Int(1 + self.random.below(3) as i64);
                            row[2] = Cell::Text(EMAILS[id as usize - 1].into());
                        }
                        Tab::Line => row[1] = Cell::Int(1 + self.random.below(2) as i64),
                        Tab::Shipment => {
                            row[1] = Cell::Null;
                        }
                        Tab::Employee => {
                            row[2] = if id == 1 {
                                Cell::Null
                            } else {
                                Cell::Int(1 + self.random.below(id as usize - 1) as i64)
                            };
                            row[3] = if id == 1 { Cell::Null } else { Cell::Int(id) };
                        }
                        Tab::Item if row[27] == Cell::Int(5) => row[27] = Cell::Null,
                        _ => {}
                    }
                    rows.push(row);
                }
                let insert = |rows| {
                    Operation::Run(Stmt::Insert {
                        tab,
                        rows,
                        many: true,
                        upsert: None,
                        returning: None,
                    })
                };
                [insert(rows)]
            })
            .collect()
    }

    pub fn program(&mut self, operations: usize) -> Program {
        let mut turns = Vec::new();
        let (mut ours, theirs) = (self.seeds(), self.seeds());
        let seeds = ours.len();
        // What others hold from the start lies before A's first operation.
        let mut before: Vec<(bool, Other)> =
            theirs.into_iter().map(|seed| (true, Other::Does(seed))).collect();
        before.extend(ours.iter().map(|seed| (false, Other::Does(seed.clone()))));
        ours.extend((0..operations).map(|_| self.operation()));
        for (at, ours) in ours.into_iter().enumerate() {
            let mut others = std::mem::take(&mut before);
            if at >= seeds {
                for _ in 0..self.random.below(3) {
                    let marked = self.random.one_in(2);
                    let other = match self.random.below(6) {
                        // What A is about to do, first.
                        0..=2 => Other::Does(ours.clone()),
                        3 if self.random.one_in(3) => {
                            self.verb(Verb::OtherSuspended);
                            Other::Suspended
                        }
                        _ => {
                            let seen = self.seen.len();
                            let operation = self.operation();
                            self.seen.truncate(seen);
                            Other::Does(operation)
                        }
                    };
                    others.push((marked, other));
                }
            }
            turns.push(Turn { others, ours });
        }
        Program { turns }
    }
}
