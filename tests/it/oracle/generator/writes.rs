//! Writes, prepared shapes, and what is refused.

use std::collections::BTreeSet;

use super::{EMAILS, Generator, Random, TEXTS};
use crate::oracle::cell::{Cell, Row};
use crate::oracle::program::{
    Clause, Cond, Feature, From, How, Prepared, Refusal, Rows, Set, Slot, Stmt, Upsert, Verb,
};
use crate::oracle::tables::{Kind, Tab};

impl Generator {
    pub(super) fn insert(&mut self) -> Stmt {
        let tab = self.random.pick(&Tab::OWNED);
        let many = self.random.one_in(3);
        let count = if many { 1 + self.random.below(4) } else { 1 };
        let mut rows: Vec<Row> = (0..count).map(|_| self.row(tab)).collect();
        if tab == Tab::Employee && many {
            // What a batch means whose rows refer to later rows depends on how it is split.
            let ids: Vec<Cell> = rows.iter().map(|row| row[0].clone()).collect();
            for (at, row) in rows.iter_mut().enumerate() {
                if ids[at + 1..].contains(&row[2]) {
                    row[2] = Cell::Null;
                }
            }
        }
        let keys = |row: &Row| tab.keys().iter().map(|at| row[*at].clone()).collect::<Vec<_>>();
        let distinct: BTreeSet<Vec<Cell>> = rows.iter().map(keys).collect();
        if many && distinct.len() < rows.len() {
            self.saw(Feature::Refused(Refusal::DuplicateInBatch));
        }
        let upsert = self.random.one_in(3).then(|| self.upsert(tab, many));
        let returning = self.random.one_in(3).then(|| if many { How::All } else { self.how() });
        match (&upsert, many) {
            (Some(_), true) => self.verb(Verb::UpsertMany),
            (Some(upsert), false) => self.verb(match (upsert.unique, upsert.update.is_empty()) {
                (false, false) => Verb::UpsertUpdateOnKey,
                (true, false) => Verb::UpsertUpdateOnUnique,
                (false, true) => Verb::UpsertNothingOnKey,
                (true, true) => Verb::UpsertNothingOnUnique,
            }),
            (None, true) => self.verb(Verb::InsertMany),
            (None, false) => self.verb(Verb::Insert),
        }
        if returning.is_some() {
            self.verb(match (&upsert, many) {
                (Some(_), _) => Verb::UpsertReturning,
                (None, true) => Verb::InsertManyReturning,
                (None, false) => Verb::InsertReturning,
            });
        }
        if self.random.one_in(40) {
            let at = self.random.below(rows.len());
            let Some(column) = self.column_where(tab, |at| {
                matches!(tab.columns()[at].kind, Kind::Text | Kind::Decimal | Kind::F64)
            }) else {
                return Stmt::Insert { tab, rows, many, upsert, returning };
            };
            let (cell, refusal) = match tab.columns()[column].kind {
                Kind::Text => (Cell::Text("a\0b".into()), Refusal::NulText),
                Kind::Decimal => (Cell::Bad, Refusal::OverRangeDecimal),
                _ => (Cell::Bad, Refusal::NotANumber),
            };
            self.saw(Feature::Refused(refusal));
            if many {
                self.saw(Feature::Refused(Refusal::RefusedInBatch));
            }
            rows[at][column] = cell;
        }
        Stmt::Insert { tab, rows, many, upsert, returning }
    }

    pub(super) fn upsert(&mut self, tab: Tab, many: bool) -> Upsert {
        let unique = tab.unique().is_some() && self.random.one_in(2);
        let mut update = Vec::new();
        if !self.random.one_in(3) {
            for _ in 0..1 + self.random.below(2) {
                let column = self.column(tab);
                let key = tab.keys().contains(&column);
                if !(update.contains(&column) || many && key) {
                    if key {
                        self.clause(Clause::UpsertSetsKey);
                    }
                    update.push(column);
                }
            }
        }
        Upsert { unique, update }
    }

    pub(super) fn rows(&mut self, tab: Tab, slot: Slot) -> Rows {
        match self.random.below(6) {
            0 => {
                self.clause(Clause::RowsAll);
                Rows::All
            }
            1 | 2 => {
                self.clause(Clause::RowsKey);
                Rows::Key(self.key(tab))
            }
            _ => {
                self.clause(Clause::RowsFilter);
                let mut conds = self.conds(From::One(tab), slot);
                if conds.is_empty() {
                    conds.push(Cond::One(0, self.filter(tab, slot, 2)));
                }
                Rows::Filter(conds)
            }
        }
    }

    pub(super) fn update(&mut self) -> Stmt {
        let tab = self.random.pick(&Tab::OWNED);
        let returning = self.random.one_in(3);
        self.verb(if returning { Verb::UpdateReturning } else { Verb::Update });
        let rows = self.rows(tab, Slot::Update);
        let mut set: Vec<(usize, Set)> = Vec::new();
        for _ in 0..1 + self.random.below(2) {
            let column = self.column(tab);
            if set.iter().any(|(at, _)| *at == column) {
                continue;
            }
            let col = tab.columns()[column];
            let bound = tab.keys().contains(&column) || tab.unique() == Some(column);
            // Rows whose keys move over one another depend on the order in which the store takes them.
            let constant = bound && !matches!(rows, Rows::Key(_));
            if tab.keys().contains(&column) {
                self.clause(Clause::SetKey);
            }
            if tab.unique() == Some(column) {
                self.clause(Clause::SetUnique);
            }
            if tab.references().iter().any(|(columns, ..)| columns.contains(&column)) {
                self.clause(Clause::SetReference);
            }
            let to = match self.random.below(5) {
                0 if !constant && col.kind.is_number() => {
                    self.clause(Clause::SetPlus);
                    Set::Add(self.step(col.kind))
                }
                1 if !constant && col.kind.is_number() => {
                    self.clause(Clause::SetMinus);
                    Set::Sub(self.step(col.kind))
                }
                2 if !constant => {
                    let other = self.column_where(tab, |at| {
                        let other = tab.columns()[at];
                        other.kind == col.kind && other.null == col.null
                    });
                    self.clause(Clause::SetColumn);
                    Set::Column(other.unwrap())
                }
                _ => {
                    let cell = self.cell(tab, column);
                    self.clause(if cell == Cell::Null {
                        Clause::SetNull
                    } else {
                        Clause::SetValue
                    });
                    Set::Value(cell)
                }
            };
            set.push((column, to));
        }
        Stmt::Update { tab, set, rows, returning }
    }

    /// What is added; now and then more than the column holds.
    pub(super) fn step(&mut self, kind: Kind) -> Cell {
        if self.random.one_in(6) {
            return Cell::Int(match kind {
                Kind::I16 => i64::from(i16::MAX),
                Kind::I32 => i64::from(i32::MAX),
                _ => i64::MAX,
            });
        }
        Cell::Int(1 + self.random.below(2) as i64)
    }

    pub(super) fn delete(&mut self) -> Stmt {
        let tab = self.random.pick(&Tab::OWNED);
        let returning = self.random.one_in(3);
        self.verb(if returning { Verb::DeleteReturning } else { Verb::Delete });
        Stmt::Delete { tab, rows: self.rows(tab, Slot::Delete), returning }
    }

    pub(super) fn find(&mut self, inside: bool) -> Stmt {
        let tab = self.random.pick(&Tab::ALL);
        self.verb(Verb::Find);
        let for_update = self.random.one_in(12);
        if for_update && !inside {
            self.saw(Feature::Refused(Refusal::ForUpdateOutside));
        }
        Stmt::Find { tab, key: self.key(tab), one: self.random.one_in(2), for_update }
    }

    pub(super) fn prepared(&mut self) -> Stmt {
        let text = |random: &mut Random| random.pick(&TEXTS).to_owned();
        let which = self.random.below(13);
        self.verb(match which {
            0..=5 => Verb::Prepared,
            6..=8 => Verb::PreparedColumns,
            9 | 10 => Verb::PreparedUpdate,
            _ => Verb::PreparedDelete,
        });
        let random = &mut self.random;
        let note = if random.one_in(4) { None } else { Some(text(random)) };
        Stmt::Prepared(match which {
            0 => Prepared::ByEmail { email: random.pick(&EMAILS).into(), min: random.id() - 1 },
            1 => Prepared::ByNote { note },
            2 => Prepared::Joined {
                name: text(random),
                how: random.pick(&[How::All, How::Optional, How::One]),
            },
            3 => Prepared::Subquery { name: text(random) },
            4 => Prepared::Exists { min: random.id() - 1 },
            5 => Prepared::Between { low: random.id(), high: random.id(), id: random.id() },
            6 => Prepared::Columns {
                min: random.id() - 1,
                how: random.pick(&[How::All, How::Optional, How::One]),
            },
            7 => Prepared::Distinct { min: random.id() - 1 },
            8 => Prepared::JoinColumns { name: text(random) },
            9 => Prepared::SetNote { id: random.id(), note },
            10 => Prepared::SetCustomer { name: text(random), customer: random.id() },
            11 => Prepared::Delete { id: random.id() },
            _ => Prepared::DeleteOf { name: text(random) },
        })
    }

    pub(super) fn refused(&mut self, inside: bool) -> Stmt {
        let refusal = self.random.pick(&[
            Refusal::EmptyBatch,
            Refusal::EmptyPage,
            Refusal::ForeignCursor,
            Refusal::MisplacedCursor,
            Refusal::GarbageCursor,
            Refusal::ForeignSubquery,
            Refusal::ForeignTransaction,
            Refusal::AmbiguousOccurrence,
            Refusal::SetTwice,
            Refusal::SetNothing,
            Refusal::UnknownConflictTarget,
            Refusal::TooDeep,
            Refusal::LoneBackslash,
            Refusal::NulText,
        ]);
        // These begin transactions or read the other organization's pages by themselves.
        if inside && matches!(refusal, Refusal::ForeignCursor | Refusal::ForeignTransaction) {
            return self.find(inside);
        }
        self.saw(Feature::Refused(refusal));
        Stmt::Refused(refusal, self.random.pick(&Tab::OWNED))
    }
}
