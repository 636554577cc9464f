//! Prepared shapes, as the statements that they stand for.

use super::{Answer, Model, Outcome, Seen};
use crate::oracle::cell::Cell;
use crate::oracle::program::{
    Cond, Edge, End, F, From, How, Op, Prepared, Read, Rows, Set, Shape, Sub,
};
use crate::oracle::tables::Tab;

impl Model {
    pub(super) fn prepared(&mut self, prepared: &Prepared, real: &Answer) -> Outcome {
        let one = |tab, f| Read {
            from: From::One(tab),
            conds: vec![Cond::One(0, f)],
            order: Vec::new(),
            limit: None,
            offset: None,
            unordered: false,
            for_update: false,
            at: false,
        };
        let text = |text: &String| Cell::Text(text.clone());
        let named = |name: &String| Sub {
            tab: Tab::Customer,
            column: 0,
            filter: Some(F::Compare(1, Op::Eq, text(name))),
            order: Vec::new(),
            limit: None,
            offset: None,
            distinct: false,
        };
        let boxed = |f| Box::new(f);
        match prepared {
            Prepared::ByEmail { email, min } => {
                let f = F::And(
                    boxed(F::Compare(2, Op::Eq, text(email))),
                    boxed(F::Compare(3, Op::Gt, Cell::Int(*min))),
                );
                self.read(&one(Tab::Order, f), &End::Rows(How::All), false, real)
            }
            Prepared::ByNote { note } => {
                // A run argument is compared, whatever it is: with NULL nothing is equal.
                let f = match note {
                    Some(note) => F::Compare(4, Op::Eq, text(note)),
                    None => F::In(4, Vec::new()),
                };
                self.read(&one(Tab::Order, f), &End::Rows(How::All), false, real)
            }
            Prepared::Joined { name, how } => {
                let mut read = one(Tab::Order, F::Null(0, false));
                read.from = From::Join(Shape::Inner);
                read.conds = vec![Cond::One(1, F::Compare(1, Op::Ge, text(name)))];
                read.order = vec![(1, 1, true)];
                self.read(&read, &End::Rows(*how), false, real)
            }
            Prepared::Subquery { name } => {
                let f = F::InSub(1, Box::new(named(name)));
                self.read(&one(Tab::Order, f), &End::Rows(How::All), false, real)
            }
            Prepared::Exists { min } => {
                let sub = Sub {
                    tab: Tab::Order,
                    filter: Some(F::Compare(3, Op::Gt, Cell::Int(*min))),
                    ..named(&String::new())
                };
                let f = F::Exists(Edge::OrderCustomer, Box::new(sub));
                self.read(&one(Tab::Customer, f), &End::Rows(How::All), false, real)
            }
            Prepared::Between { low, high, id } => {
                let f = F::Or(
                    boxed(F::Between(3, Cell::Int(*low), Cell::Int(*high))),
                    boxed(F::Not(boxed(F::In(0, vec![Cell::Int(*id), Cell::Int(*low)])))),
                );
                self.read(&one(Tab::Order, f), &End::Rows(How::All), false, real)
            }
            Prepared::Columns { min, how } => {
                let f = F::Compare(3, Op::Gt, Cell::Int(*min));
                let end = End::Pair { column: 4, integer: 3, distinct: false, how: *how };
                self.read(&one(Tab::Order, f), &end, false, real)
            }
            Prepared::Distinct { min } => {
                let f = F::Compare(3, Op::Gt, Cell::Int(*min));
                let end = End::Column { column: 4, distinct: true, how: How::All };
                self.read(&one(Tab::Order, f), &end, false, real)
            }
            Prepared::JoinColumns { name } => {
                let mut read = one(Tab::Customer, F::Compare(1, Op::Ge, text(name)));
                read.from = From::Join(Shape::LeftFrom);
                self.read(&read, &End::JoinPair { distinct: false, how: How::All }, false, real)
            }
            Prepared::SetNote { id, note } => {
                let note = note.as_ref().map_or(Cell::Null, text);
                let rows = Rows::Key(vec![*id]);
                let written = self.update(Tab::Order, &[(4, Set::Value(note))], &rows, real)?;
                Ok(Seen::Affected(written.len() as u64))
            }
            Prepared::SetCustomer { name, customer } => {
                let rows = Rows::Filter(vec![Cond::One(0, F::InSub(1, Box::new(named(name))))]);
                let set = [(1, Set::Value(Cell::Int(*customer)))];
                let written = self.update(Tab::Order, &set, &rows, real)?;
                Ok(Seen::Affected(written.len() as u64))
            }
            Prepared::Delete { id } => {
                let deleted = self.delete(Tab::Order, &Rows::Key(vec![*id]), real)?;
                Ok(Seen::Affected(deleted.len() as u64))
            }
            Prepared::DeleteOf { name } => {
                let rows = Rows::Filter(vec![Cond::One(0, F::InSub(1, Box::new(named(name))))]);
                let deleted = self.delete(Tab::Order, &rows, real)?;
                Ok(Seen::Affected(deleted.len() as u64))
            }
        }
    }
}
