//! Joins, orders, projections, aggregates and groups.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use tenantry::ErrorKind;

use super::conditions::{compare, or};
use super::{
    Answer, Joined, Model, Outcome, Seen, cell_at, cells_of, direction, failed, key_of, refused,
    window,
};
use crate::oracle::cell::{Cell, Row};
use crate::oracle::program::{Agg, End, From, Having, How, Link, Op, Read};

impl Model {
    pub(super) fn joined(&self, from: From) -> Vec<Joined> {
        let tables = from.tables();
        let mut rows: Vec<Joined> =
            self.rows_of(tables[0]).map(|row| vec![Some(row.clone())]).collect();
        for (link, tab) in from.links().into_iter().zip(&tables[1..]) {
            let mut next = Vec::new();
            for joined in rows {
                let (found, outer): (Vec<Row>, bool) = match link {
                    Link::Parent { child, columns, outer } => {
                        let wanted: Vec<Cell> =
                            columns.iter().map(|at| cell_at(&joined, child, *at)).collect();
                        let found = self.rows_of(*tab).filter(|row| key_of(*tab, row) == wanted);
                        (found.cloned().collect(), outer)
                    }
                    Link::Child { parent, columns } => {
                        let keys = tables[parent].keys();
                        let found = self.rows_of(*tab).filter(|row| {
                            columns.iter().zip(keys).all(|(at, key)| {
                                compare(&row[*at], Op::Eq, &cell_at(&joined, parent, *key))
                                    == Some(true)
                            })
                        });
                        (found.cloned().collect(), true)
                    }
                };
                if found.is_empty() && outer {
                    let mut joined = joined.clone();
                    joined.push(None);
                    next.push(joined);
                }
                for row in found {
                    let mut joined = joined.clone();
                    joined.push(Some(row));
                    next.push(joined);
                }
            }
            rows = next;
        }
        rows
    }

    /// The terms of the whole order, for one row.
    pub(super) fn order_of(read: &Read, joined: &Joined) -> Vec<(Cell, bool)> {
        let mut terms: Vec<(Cell, bool)> = read
            .order
            .iter()
            .map(|(member, column, descending)| {
                (cell_at(joined, usize::from(*member), *column), *descending)
            })
            .collect();
        // What makes the order total goes on in the direction of the last term.
        let onwards = terms.last().is_some_and(|(_, descending)| *descending);
        let tables = read.from.tables();
        let mut keyed = vec![0];
        for (at, link) in read.from.links().iter().enumerate() {
            if matches!(link, Link::Child { .. }) {
                keyed.push(at + 1);
            }
        }
        for member in keyed {
            for key in tables[member].keys() {
                terms.push((cell_at(joined, member, *key), onwards));
            }
        }
        terms
    }

    pub(super) fn by_order(a: &[(Cell, bool)], b: &[(Cell, bool)]) -> Ordering {
        a.iter()
            .zip(b)
            .map(|((a, descending), (b, _))| direction(a.cmp(b), *descending))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }

    /// All rows that meet the conditions, in order.
    pub(super) fn relation(&self, read: &Read) -> Vec<Joined> {
        let tables = read.from.tables();
        let mut rows: Vec<Joined> = self
            .joined(read.from)
            .into_iter()
            .filter(|joined| self.meets(&tables, joined, &read.conds))
            .collect();
        rows.sort_by(|a, b| Self::by_order(&Self::order_of(read, a), &Self::order_of(read, b)));
        rows
    }

    pub(super) fn read(&mut self, read: &Read, end: &End, inside: bool, real: &Answer) -> Outcome {
        if let End::Pages(0) = end {
            return refused(ErrorKind::Invalid);
        }
        if read.for_update && !inside {
            return refused(ErrorKind::Misuse);
        }
        let limited = read.limit.is_some() || read.offset.is_some();
        if read.unordered && (read.limit.is_some_and(|limit| limit > 1) || read.offset.is_some()) {
            return refused(ErrorKind::Misuse);
        }
        let from = read.from;
        let all = self.relation(read);
        let windowed = || window(all.clone(), read.limit, read.offset);
        let rows =
            || -> Vec<Row> { windowed().iter().map(|joined| cells_of(from, joined)).collect() };
        match end {
            End::Rows(how) if !read.unordered => pick(rows(), *how),
            End::Rows(_) | End::Stream if read.unordered => {
                let mut rows = rows();
                rows.sort();
                Ok(Seen::Bag(rows))
            }
            End::Rows(_) | End::Stream => Ok(Seen::Rows(rows())),
            End::Count => Ok(Seen::Count(windowed().len() as i64)),
            End::Exists => Ok(Seen::Is(!windowed().is_empty())),
            End::Pages(size) => {
                let rows = rows();
                let mut pages: Vec<Vec<Row>> =
                    rows.chunks(*size as usize).map(<[Row]>::to_vec).collect();
                if pages.is_empty() {
                    pages.push(Vec::new());
                }
                Ok(Seen::Pages(pages))
            }
            End::Column { column, distinct, how } => {
                project(read, windowed(), all, &[(0, *column)], *distinct, *how)
            }
            End::Pair { column, integer, distinct, how } => {
                project(read, windowed(), all, &[(0, *column), (0, *integer)], *distinct, *how)
            }
            End::JoinPair { distinct, how } => {
                let From::Join(shape) = from else { unreachable!() };
                let [a, b, ..] = From::typed(shape);
                project(read, windowed(), all, &[a, b], *distinct, *how)
            }
            End::Stats { .. } | End::Sum { .. } | End::JoinStats
                if limited || !read.order.is_empty() =>
            {
                refused(ErrorKind::Misuse)
            }
            End::Stats { column } => {
                let cells: Vec<Cell> =
                    all.iter().map(|joined| cell_at(joined, 0, *column)).collect();
                let of = |agg| aggregate(agg, &cells, real);
                Ok(Seen::Row(Some(vec![
                    of(Agg::Count)?,
                    of(Agg::Min)?,
                    of(Agg::Max)?,
                    of(Agg::CountColumn)?,
                    of(Agg::CountDistinct)?,
                ])))
            }
            End::Sum { column } => {
                let cells: Vec<Cell> =
                    all.iter().map(|joined| cell_at(joined, 0, *column)).collect();
                Ok(Seen::Row(Some(vec![
                    aggregate(Agg::Count, &cells, real)?,
                    aggregate(Agg::Sum, &cells, real)?,
                ])))
            }
            End::JoinStats => {
                let From::Join(shape) = from else { unreachable!() };
                let [_, _, _, (member, column)] = From::typed(shape);
                let cells: Vec<Cell> =
                    all.iter().map(|joined| cell_at(joined, member, column)).collect();
                Ok(Seen::Row(Some(vec![
                    aggregate(Agg::Count, &cells, real)?,
                    aggregate(Agg::Sum, &cells, real)?,
                    aggregate(Agg::Max, &cells, real)?,
                ])))
            }
            End::Group { column, integer, agg, having, order, limit } => {
                let mut groups: BTreeMap<Cell, Vec<Joined>> = BTreeMap::new();
                for joined in all {
                    groups.entry(cell_at(&joined, 0, *column)).or_default().push(joined);
                }
                let mut kept: Vec<Row> = Vec::new();
                for (group, rows) in groups {
                    let cells: Vec<Cell> =
                        rows.iter().map(|joined| cell_at(joined, 0, *integer)).collect();
                    let meets = |(agg, op, value): &(Agg, Op, i64)| -> Result<Option<bool>, (ErrorKind, bool)> {
                        Ok(compare(&aggregate(*agg, &cells, real)?, *op, &Cell::Int(*value)))
                    };
                    let holds = match having {
                        None => Some(true),
                        Some(Having::One(agg, op, value)) => meets(&(*agg, *op, *value))?,
                        Some(Having::Two(a, b)) => or(meets(a)?, meets(b)?),
                        Some(Having::Group(f)) => self.holds(from.base(), rows[0][0].as_ref(), f),
                    };
                    if holds == Some(true) {
                        let count = aggregate(Agg::Count, &cells, real)?;
                        kept.push(vec![group, count, aggregate(*agg, &cells, real)?]);
                    } else {
                        left_out(*agg, &cells, real)?;
                    }
                }
                if let Some((by_aggregate, descending)) = order {
                    let at = if *by_aggregate { 2 } else { 1 };
                    kept.sort_by(|a, b| {
                        direction(a[at].cmp(&b[at]).then_with(|| a[0].cmp(&b[0])), *descending)
                    });
                }
                Ok(Seen::Rows(window(kept, *limit, None)))
            }
            End::JoinGroup { having } => {
                let From::Join(shape) = from else { unreachable!() };
                let [_, _, by, sum] = From::typed(shape);
                let mut groups: BTreeMap<Cell, Vec<Cell>> = BTreeMap::new();
                for joined in all {
                    groups
                        .entry(cell_at(&joined, by.0, by.1))
                        .or_default()
                        .push(cell_at(&joined, sum.0, sum.1));
                }
                let mut kept = Vec::new();
                for (group, cells) in groups {
                    if having.is_none_or(|least| cells.len() as i64 > least) {
                        let count = aggregate(Agg::Count, &cells, real)?;
                        kept.push(vec![group, count, aggregate(Agg::Sum, &cells, real)?]);
                    } else {
                        left_out(Agg::Sum, &cells, real)?;
                    }
                }
                Ok(Seen::Rows(kept))
            }
        }
    }
}

pub(super) fn pick(rows: Vec<Row>, how: How) -> Outcome {
    match how {
        How::All => Ok(Seen::Rows(rows)),
        How::Optional => Ok(Seen::Row(rows.into_iter().next())),
        How::One => match rows.into_iter().next() {
            Some(row) => Ok(Seen::Row(Some(row))),
            None => refused(ErrorKind::NotFound),
        },
    }
}

pub(super) fn project(
    read: &Read,
    windowed: Vec<Joined>,
    all: Vec<Joined>,
    columns: &[(usize, usize)],
    distinct: bool,
    how: How,
) -> Outcome {
    let cells = |joined: &Joined| -> Row {
        columns.iter().map(|(member, at)| cell_at(joined, *member, *at)).collect()
    };
    if !distinct {
        return pick(windowed.iter().map(cells).collect(), how);
    }
    let place = |member: u8, column: usize| {
        columns.iter().position(|(m, c)| (*m, *c) == (usize::from(member), column))
    };
    if read.order.iter().any(|(member, column, _)| place(*member, *column).is_none()) {
        return refused(ErrorKind::Misuse);
    }
    let rows: BTreeSet<Row> = all.iter().map(cells).collect();
    let mut rows: Vec<Row> = rows.into_iter().collect();
    rows.sort_by(|a, b| {
        read.order
            .iter()
            .filter_map(|(member, column, descending)| {
                let at = place(*member, *column)?;
                Some(direction(a[at].cmp(&b[at]), *descending))
            })
            .find(|order| order.is_ne())
            .unwrap_or_else(|| {
                let onwards = read.order.last().is_some_and(|(_, _, descending)| *descending);
                direction(a.cmp(b), onwards)
            })
    });
    pick(window(rows, read.limit, read.offset), how)
}

/// SQLite adds up the groups that `having` leaves out as well.
fn left_out(agg: Agg, cells: &[Cell], real: &Answer) -> Result<(), (ErrorKind, bool)> {
    match aggregate(agg, cells, real) {
        Err(fault) if real.is(fault.0) => Err(fault),
        _ => Ok(()),
    }
}

/// `real` is what the store said: partial sums beyond 64 bits depend on the order of the rows.
pub(super) fn aggregate(
    agg: Agg,
    cells: &[Cell],
    real: &Answer,
) -> Result<Cell, (ErrorKind, bool)> {
    let present = || cells.iter().filter(|cell| **cell != Cell::Null);
    Ok(match agg {
        Agg::Count => Cell::Int(cells.len() as i64),
        Agg::CountColumn => Cell::Int(present().count() as i64),
        Agg::CountDistinct => Cell::Int(present().collect::<BTreeSet<_>>().len() as i64),
        Agg::Min => present().min().cloned().unwrap_or(Cell::Null),
        Agg::Max => present().max().cloned().unwrap_or(Cell::Null),
        Agg::Sum => {
            let (mut sum, mut absolute, mut float, mut any) = (0_i128, 0_i128, false, false);
            for cell in present() {
                any = true;
                match cell {
                    Cell::Int(value) => {
                        sum += i128::from(*value);
                        absolute += i128::from(*value).abs();
                    }
                    Cell::Float(quarters) => {
                        float = true;
                        sum += i128::from(*quarters);
                    }
                    other => panic!("{other:?} has no sum"),
                }
            }
            let beyond = i64::try_from(sum).is_err();
            let doubtful = absolute > i128::from(i64::MAX);
            if !any {
                Cell::Null
            } else if float {
                Cell::Float(sum as i64)
            } else if beyond || (doubtful && real.is(ErrorKind::Invalid)) {
                return failed(ErrorKind::Invalid);
            } else {
                Cell::Int(sum as i64)
            }
        }
    })
}
