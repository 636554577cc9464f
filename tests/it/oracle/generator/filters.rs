//! Conditions.

use super::{Generator, PATTERNS};
use crate::oracle::cell::Cell;
use crate::oracle::program::{
    Clause, Cond, Edge, F, Feature, Form, From, Op, Over, Shape, Slot, Sub,
};
use crate::oracle::tables::{Kind, Tab};

impl Generator {
    pub(super) fn filter(&mut self, tab: Tab, slot: Slot, depth: usize) -> F {
        if depth > 0 && self.random.one_in(2) {
            let form = self.random.pick(&[Form::And, Form::Or, Form::Not]);
            self.saw(Feature::Form(form));
            let left = Box::new(self.filter(tab, slot, depth - 1));
            return match form {
                Form::And => F::And(left, Box::new(self.filter(tab, slot, depth - 1))),
                Form::Or => F::Or(left, Box::new(self.filter(tab, slot, depth - 1))),
                _ => F::Not(left),
            };
        }
        self.leaf(tab, slot, depth)
    }

    pub(super) fn leaf(&mut self, tab: Tab, slot: Slot, depth: usize) -> F {
        let column = self.column(tab);
        let col = tab.columns()[column];
        match self.random.below(10) {
            0..=2 => {
                let op = self.random.pick(&[Op::Eq, Op::Ne, Op::Lt, Op::Le, Op::Gt, Op::Ge]);
                let cell = if self.random.one_in(8) { Cell::Null } else { self.cell(tab, column) };
                let form = match (&cell, op) {
                    (Cell::Null, Op::Eq) => Form::EqNull,
                    (Cell::Null, Op::Ne) => Form::NeNull,
                    (Cell::Null, _) => Form::LessThanNull,
                    (_, Op::Eq) => Form::Eq,
                    (_, Op::Ne) => Form::Ne,
                    (_, Op::Lt) => Form::Lt,
                    (_, Op::Le) => Form::Le,
                    (_, Op::Gt) => Form::Gt,
                    (_, Op::Ge) => Form::Ge,
                };
                self.saw(Feature::Form(form));
                F::Compare(column, op, cell)
            }
            3 => {
                let other =
                    self.column_where(tab, |at| tab.columns()[at].kind == col.kind).unwrap();
                self.saw(Feature::Form(Form::ColumnToColumn));
                let op = self.random.pick(&[Op::Eq, Op::Ne, Op::Lt, Op::Ge]);
                F::Columns(column, op, other)
            }
            4 => {
                self.saw(Feature::Form(Form::Between));
                F::Between(column, self.cell(tab, column), self.cell(tab, column))
            }
            5 => {
                let count = self.random.below(4);
                let mut cells: Vec<Cell> = (0..count).map(|_| self.cell(tab, column)).collect();
                if self.random.one_in(6) {
                    cells.push(Cell::Null);
                }
                self.saw(Feature::Form(match &cells[..] {
                    [] => Form::InListEmpty,
                    cells if cells.contains(&Cell::Null) => Form::InListWithNull,
                    _ => Form::InList,
                }));
                F::In(column, cells)
            }
            6 => {
                let is = self.random.one_in(2);
                self.saw(Feature::Form(if is { Form::IsNull } else { Form::IsNotNull }));
                F::Null(column, is)
            }
            7 => match self.column_where(tab, |at| tab.columns()[at].kind == Kind::Text) {
                Some(column) => {
                    let form = self.random.pick(&[
                        Form::Like,
                        Form::Contains,
                        Form::StartsWith,
                        Form::EndsWith,
                    ]);
                    self.saw(Feature::Form(form));
                    let text = match form {
                        Form::Like => self.random.pick(&PATTERNS),
                        _ => self.random.pick(&["", "a", "%", "_", "@x", "b"]),
                    };
                    F::Like(column, form, text.into())
                }
                None => F::Null(column, true),
            },
            _ => self.over(tab, slot, depth),
        }
    }

    /// A condition over another table.
    pub(super) fn over(&mut self, tab: Tab, slot: Slot, depth: usize) -> F {
        let edges: &[Edge] = match tab {
            Tab::Customer => &[Edge::OrderCustomer],
            Tab::Order => &[Edge::LineOrder],
            Tab::Employee => &[Edge::EmployeeBoss],
            Tab::Genre => &[Edge::ItemGenre],
            _ => &[],
        };
        let inner = depth.saturating_sub(1);
        // A join resolves the outer table of `exists_in` by its one occurrence.
        if !edges.is_empty() && self.random.one_in(2) {
            let edge = self.random.pick(edges);
            self.saw(Feature::Over(Over::ExistsIn, slot));
            let sub = self.sub(edge.ends().1, 0, inner);
            return F::Exists(edge, Box::new(sub));
        }
        let column = self
            .column_where(tab, |at| matches!(tab.columns()[at].kind, Kind::I64 | Kind::Text))
            .unwrap();
        let kind = tab.columns()[column].kind;
        let other = self.random.pick(&Tab::ALL);
        let Some(at) = self.column_where(other, |at| other.columns()[at].kind == kind) else {
            return F::Null(column, false);
        };
        self.saw(Feature::Over(Over::InSubquery, slot));
        let sub = self.sub(other, at, inner);
        F::InSub(column, Box::new(sub))
    }

    pub(super) fn sub(&mut self, tab: Tab, column: usize, depth: usize) -> Sub {
        let filter = (!self.random.one_in(3)).then(|| self.filter(tab, Slot::Nested, depth));
        let limited = self.random.one_in(4);
        let mut sub = Sub {
            tab,
            column,
            filter,
            order: Vec::new(),
            limit: None,
            offset: None,
            distinct: false,
        };
        if limited {
            self.clause(Clause::SubqueryLimit);
            sub.limit = Some(self.random.below(3) as u64);
            sub.offset = self.random.one_in(3).then(|| self.random.below(2) as u64);
            if self.random.one_in(2) {
                sub.order.push((self.column(tab), self.random.one_in(2)));
            }
        } else if self.random.one_in(5) {
            self.clause(Clause::SubqueryDistinct);
            sub.distinct = true;
        }
        sub
    }

    pub(super) fn conds(&mut self, from: From, slot: Slot) -> Vec<Cond> {
        let tables = from.tables();
        let slot = if tables.len() > 1 { Slot::Join } else { slot };
        let mut conds = Vec::new();
        let count = [0, 1, 1, 1, 2][self.random.below(5)];
        if count == 2 {
            self.clause(Clause::FilterTwice);
        }
        for _ in 0..count {
            if self.random.one_in(4) {
                let second = usize::from(tables.len() > 1);
                let left = (0, self.filter(tables[0], slot, 1));
                let right = (second as u8, self.filter(tables[second], slot, 1));
                conds.push(match self.random.below(3) {
                    0 => {
                        self.clause(Clause::AllOfTwo);
                        Cond::All(left, right)
                    }
                    1 => {
                        self.clause(Clause::AnyOfTwo);
                        Cond::Any(left, right)
                    }
                    _ => {
                        self.clause(Clause::NoneOfTwo);
                        Cond::NotAny(left, right)
                    }
                });
            } else {
                let member = self.random.below(tables.len());
                let filter = self.filter(tables[member], slot, 2);
                conds.push(Cond::One(member as u8, filter));
            }
        }
        if matches!(from, From::Join(Shape::SelfInner | Shape::SelfLeft)) {
            conds.retain(|cond| !cond.mentions_exists());
        }
        conds
    }
}
