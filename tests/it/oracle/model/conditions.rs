//! What a condition says of a row, in the logic of three values.

use super::{Joined, Model, direction, key_of, window};
use crate::oracle::cell::{Cell, Row};
use crate::oracle::program::{Cond, F, Form, Op, Sub};
use crate::oracle::tables::Tab;

pub(super) fn and(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

pub(super) fn or(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    and(a.map(|a| !a), b.map(|b| !b)).map(|c| !c)
}

pub(super) fn compare(left: &Cell, op: Op, right: &Cell) -> Option<bool> {
    if *left == Cell::Null || *right == Cell::Null {
        return None;
    }
    let order = left.cmp(right);
    Some(match op {
        Op::Eq => order.is_eq(),
        Op::Ne => order.is_ne(),
        Op::Lt => order.is_lt(),
        Op::Le => order.is_le(),
        Op::Gt => order.is_gt(),
        Op::Ge => order.is_ge(),
    })
}

pub(super) fn one_of(cell: &Cell, cells: &[Cell]) -> Option<bool> {
    let mut found = Some(false);
    for other in cells {
        found = or(found, compare(cell, Op::Eq, other));
    }
    found
}

/// LIKE with `\` as escape.
pub(super) fn like(text: &[char], pattern: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['%', rest @ ..] => (0..=text.len()).any(|at| like(&text[at..], rest)),
        ['_', rest @ ..] => !text.is_empty() && like(&text[1..], rest),
        ['\\', literal, rest @ ..] | [literal, rest @ ..] => {
            text.first() == Some(literal) && like(&text[1..], rest)
        }
    }
}

impl Model {
    pub(super) fn holds(&self, tab: Tab, row: Option<&Row>, f: &F) -> Option<bool> {
        let cell = |at: usize| row.map_or(Cell::Null, |row| row[at].clone());
        match f {
            F::And(a, b) => and(self.holds(tab, row, a), self.holds(tab, row, b)),
            F::Or(a, b) => or(self.holds(tab, row, a), self.holds(tab, row, b)),
            F::Not(f) => self.holds(tab, row, f).map(|holds| !holds),
            F::Compare(at, Op::Eq, Cell::Null) => Some(cell(*at) == Cell::Null),
            F::Compare(at, Op::Ne, Cell::Null) => Some(cell(*at) != Cell::Null),
            F::Compare(at, op, value) => compare(&cell(*at), *op, value),
            F::Columns(at, op, other) => compare(&cell(*at), *op, &cell(*other)),
            F::Between(at, low, high) => {
                and(compare(&cell(*at), Op::Ge, low), compare(&cell(*at), Op::Le, high))
            }
            F::In(_, values) if values.is_empty() => Some(false),
            F::In(at, values) => one_of(&cell(*at), values),
            F::Null(at, is) => Some((cell(*at) == Cell::Null) == *is),
            F::Like(at, form, text) => {
                let escaped: String = text
                    .chars()
                    .flat_map(
                        |c| if matches!(c, '%' | '_' | '\\') { vec!['\\', c] } else { vec![c] },
                    )
                    .collect();
                let pattern = match form {
                    Form::Contains => format!("%{escaped}%"),
                    Form::StartsWith => format!("{escaped}%"),
                    Form::EndsWith => format!("%{escaped}"),
                    _ => text.clone(),
                };
                match cell(*at) {
                    Cell::Text(text) => {
                        let text: Vec<char> = text.chars().collect();
                        Some(like(&text, &pattern.chars().collect::<Vec<_>>()))
                    }
                    _ => None,
                }
            }
            F::InSub(at, sub) => {
                let cells: Vec<Cell> = self
                    .sub(sub, |_| true)
                    .into_iter()
                    .map(|row| row[sub.column].clone())
                    .collect();
                one_of(&cell(*at), &cells)
            }
            F::Exists(edge, sub) => {
                let (parent, _, column) = edge.ends();
                let key = cell(parent.keys()[0]);
                let refers = |row: &Row| compare(&row[column], Op::Eq, &key) == Some(true);
                Some(!self.sub(sub, refers).is_empty())
            }
        }
    }

    pub(super) fn sub(&self, sub: &Sub, keep: impl Fn(&Row) -> bool) -> Vec<Row> {
        let mut rows: Vec<Row> = self
            .rows_of(sub.tab)
            .filter(|row| keep(row))
            .filter(|row| {
                sub.filter.as_ref().is_none_or(|f| self.holds(sub.tab, Some(row), f) == Some(true))
            })
            .cloned()
            .collect();
        rows.sort_by(|a, b| {
            sub.order
                .iter()
                .map(|(at, descending)| direction(a[*at].cmp(&b[*at]), *descending))
                .find(|order| order.is_ne())
                .unwrap_or_else(|| {
                    let keys = key_of(sub.tab, a).cmp(&key_of(sub.tab, b));
                    direction(keys, sub.order.last().is_some_and(|(_, descending)| *descending))
                })
        });
        window(rows, sub.limit, sub.offset)
    }

    pub(super) fn meets(&self, tables: &[Tab], joined: &Joined, conds: &[Cond]) -> bool {
        let part = |(member, f): &(u8, F)| {
            let member = usize::from(*member);
            self.holds(tables[member], joined[member].as_ref(), f)
        };
        conds.iter().all(|cond| {
            let holds = match cond {
                Cond::One(member, f) => {
                    let member = usize::from(*member);
                    self.holds(tables[member], joined[member].as_ref(), f)
                }
                Cond::All(a, b) => and(part(a), part(b)),
                Cond::Any(a, b) => or(part(a), part(b)),
                Cond::NotAny(a, b) => or(part(a), part(b)).map(|any| !any),
            };
            holds == Some(true)
        })
    }
}
