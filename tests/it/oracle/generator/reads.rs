//! Reads.

use super::Generator;
use crate::oracle::program::{
    Agg, Clause, End, F, Feature, From, Having, How, Op, Read, Refusal, Shape, Slot, Stmt, Verb,
};
use crate::oracle::tables::{Kind, Tab};

impl Generator {
    pub(super) fn from(&mut self) -> From {
        if self.random.one_in(3) {
            let shape = self.random.pick(Shape::ALL);
            self.saw(Feature::Joined(shape));
            return From::Join(shape);
        }
        let tab = self.random.pick(&Tab::ALL);
        if tab == Tab::Genre {
            self.clause(Clause::GlobalTable);
        }
        From::One(tab)
    }

    pub(super) fn read(&mut self, from: From, slot: Slot) -> Read {
        let tables = from.tables();
        let mut order = Vec::new();
        for _ in 0..[0, 0, 1, 2][self.random.below(4)] {
            let member = self.random.below(tables.len());
            let column = self.column(tables[member]);
            let descending = self.random.one_in(2);
            self.clause(if descending { Clause::OrderDescending } else { Clause::OrderAscending });
            if tables[member].columns()[column].null {
                self.clause(Clause::OrderNullable);
            }
            order.push((member as u8, column, descending));
        }
        let limit = self.random.one_in(3).then(|| {
            self.clause(Clause::Limit);
            self.random.below(4) as u64
        });
        let offset = self.random.one_in(5).then(|| {
            self.clause(Clause::Offset);
            self.random.below(3) as u64
        });
        let at =
            self.random.one_in(2) || matches!(from, From::Join(Shape::SelfInner | Shape::SelfLeft));
        let conds = self.conds(from, slot);
        Read { from, conds, order, limit, offset, unordered: false, for_update: false, at }
    }

    pub(super) fn how(&mut self) -> How {
        self.random.pick(&[How::All, How::All, How::Optional, How::One])
    }

    pub(super) fn select(&mut self, inside: bool) -> Stmt {
        let from = self.from();
        let joined = matches!(from, From::Join(_));
        let tab = from.base();
        let (verb, slot, end) = match self.random.below(12) {
            0..=2 => {
                let how = self.how();
                match how {
                    How::All => (Verb::FetchAll, Slot::Select, End::Rows(how)),
                    How::Optional => (Verb::FetchOptional, Slot::First, End::Rows(how)),
                    How::One => (Verb::FetchOne, Slot::First, End::Rows(how)),
                }
            }
            3 => (Verb::Stream, Slot::Stream, End::Stream),
            4 => (Verb::Count, Slot::Count, End::Count),
            5 => (Verb::Exists, Slot::Exists, End::Exists),
            6 => (Verb::Pages, Slot::Page, End::Pages(1 + self.random.below(3) as u32)),
            7 if joined => {
                let distinct = self.random.one_in(2);
                (Verb::ProjectJoined, Slot::Project, End::JoinPair { distinct, how: self.how() })
            }
            7 | 8 if !joined => {
                let distinct = self.random.one_in(2);
                let column = self.column(tab);
                if self.random.one_in(2) {
                    let end = End::Column { column, distinct, how: self.how() };
                    (Verb::ProjectOne, Slot::Project, end)
                } else {
                    let integer = self.integer(tab);
                    let end = End::Pair { column, integer, distinct, how: self.how() };
                    (Verb::ProjectTwo, Slot::Project, end)
                }
            }
            9 if joined => (Verb::AggregateJoined, Slot::Aggregate, End::JoinStats),
            9 => {
                if self.random.one_in(2) {
                    let column = self.column_where(tab, |at| tab.columns()[at].kind != Kind::Json);
                    (Verb::Aggregate, Slot::Aggregate, End::Stats { column: column.unwrap() })
                } else {
                    let column = self.column_where(tab, |at| {
                        let kind = tab.columns()[at].kind;
                        kind.is_number() || kind == Kind::F64
                    });
                    (Verb::Sum, Slot::Aggregate, End::Sum { column: column.unwrap() })
                }
            }
            _ if joined => {
                let having = self.random.one_in(2).then(|| {
                    self.clause(Clause::Having);
                    self.random.below(3) as i64
                });
                (Verb::GroupJoined, Slot::Group, End::JoinGroup { having })
            }
            _ => (Verb::Group, Slot::Group, self.group(tab)),
        };
        self.verb(verb);
        let mut read = self.read(from, slot);
        match &end {
            End::Stats { .. } | End::Sum { .. } | End::JoinStats => {
                if !self.random.one_in(12) {
                    read.order.clear();
                    read.limit = None;
                    read.offset = None;
                } else if read.limit.is_some() || read.offset.is_some() || !read.order.is_empty() {
                    self.saw(Feature::Refused(Refusal::AggregateWithLimit));
                }
            }
            End::Group { .. } | End::JoinGroup { .. } => {
                read.order.clear();
                read.limit = None;
                read.offset = None;
            }
            End::Pages(_) => {
                read.limit = None;
                read.offset = None;
            }
            End::Column { column, distinct: true, .. } => {
                self.clause(Clause::Distinct);
                self.distinct_order(&mut read, &[(0, *column)]);
            }
            End::Pair { column, integer, distinct: true, .. } => {
                self.clause(Clause::Distinct);
                self.distinct_order(&mut read, &[(0, *column), (0, *integer)]);
            }
            End::JoinPair { distinct: true, .. } => {
                self.clause(Clause::Distinct);
                if let From::Join(shape) = from {
                    let [a, b, ..] = From::typed(shape);
                    self.distinct_order(&mut read, &[a, b]);
                }
            }
            End::Rows(How::All) | End::Stream | End::Count if self.random.one_in(6) => {
                self.clause(Clause::Unordered);
                read.unordered = true;
                read.order.clear();
                if self.random.one_in(4) {
                    read.limit = Some(2);
                    self.saw(Feature::Refused(Refusal::LimitWithoutOrder));
                } else {
                    read.limit = None;
                    read.offset = None;
                }
            }
            _ => {}
        }
        if matches!(end, End::Rows(_) | End::Stream | End::Pages(_)) && self.random.one_in(10) {
            read.for_update = true;
            self.clause(Clause::ForUpdate);
            if !inside {
                self.saw(Feature::Refused(Refusal::ForUpdateOutside));
            }
        }
        Stmt::Read(read, end)
    }

    pub(super) fn distinct_order(&mut self, read: &mut Read, columns: &[(usize, usize)]) {
        let allowed = |(member, column, _): &(u8, usize, bool)| {
            columns.contains(&(usize::from(*member), *column))
        };
        if !read.order.iter().all(allowed) {
            if self.random.one_in(4) {
                self.saw(Feature::Refused(Refusal::DistinctOrder));
            } else {
                read.order.retain(allowed);
            }
        }
    }

    pub(super) fn aggregate(&mut self) -> (Agg, Op, i64) {
        let op = self.random.pick(&[Op::Eq, Op::Lt, Op::Le, Op::Gt, Op::Ge]);
        (self.random.pick(&Agg::ALL), op, self.random.below(5) as i64)
    }

    pub(super) fn group(&mut self, tab: Tab) -> End {
        let column = self.column(tab);
        let integer = self.integer(tab);
        let having = self.random.one_in(2).then(|| match self.random.below(3) {
            0 => {
                self.clause(Clause::Having);
                let (agg, op, value) = self.aggregate();
                Having::One(agg, op, value)
            }
            1 => {
                self.clause(Clause::HavingTwo);
                Having::Two(self.aggregate(), self.aggregate())
            }
            _ => {
                self.clause(Clause::HavingGroup);
                Having::Group(F::Compare(column, Op::Ge, self.cell(tab, column)))
            }
        });
        let order = self.random.one_in(2).then(|| {
            self.clause(Clause::GroupOrderByAggregate);
            (self.random.one_in(2), self.random.one_in(2))
        });
        let limit = self.random.one_in(3).then(|| {
            self.clause(Clause::GroupLimit);
            self.random.below(3) as u64
        });
        End::Group { column, integer, agg: self.random.pick(&Agg::ALL), having, order, limit }
    }
}
