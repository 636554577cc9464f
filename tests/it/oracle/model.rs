//! The reference: one organization's rows in plain maps. It knows of no other organization, so
//! whatever agrees with it depends on none.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use tenantry::ErrorKind;

use super::program::{
    Agg, Cond, End, Ending, F, Form, From, Having, How, Link, Op, Operation, Prepared, Read,
    Refusal, Rows, Set, Step, Stmt, Sub, Upsert,
};
use super::world::{Cell, GENRES, Kind, Row, Tab};

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
    Error(ErrorKind, String),
}

impl Seen {
    pub fn error(kind: ErrorKind) -> Self {
        Self::Error(kind, String::new())
    }

    pub fn agrees(&self, real: &Self) -> bool {
        match (self, real) {
            (Self::Error(ours, _), Self::Error(theirs, _)) => ours == theirs,
            (ours, theirs) => ours == theirs,
        }
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

#[derive(Debug, Clone, Default)]
pub struct Model {
    tables: Tables,
    page: Option<(Read, Vec<Cell>)>,
}

fn key_of(tab: Tab, row: &Row) -> Vec<Cell> {
    tab.keys().iter().map(|at| row[*at].clone()).collect()
}

fn and(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

fn or(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    and(a.map(|a| !a), b.map(|b| !b)).map(|c| !c)
}

fn compare(left: &Cell, op: Op, right: &Cell) -> Option<bool> {
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

fn one_of(cell: &Cell, cells: &[Cell]) -> Option<bool> {
    let mut found = Some(false);
    for other in cells {
        found = or(found, compare(cell, Op::Eq, other));
    }
    found
}

/// LIKE with `\` as escape.
fn like(text: &[char], pattern: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['%', rest @ ..] => (0..=text.len()).any(|at| like(&text[at..], rest)),
        ['_', rest @ ..] => !text.is_empty() && like(&text[1..], rest),
        ['\\', literal, rest @ ..] | [literal, rest @ ..] => {
            text.first() == Some(literal) && like(&text[1..], rest)
        }
    }
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
    pub fn new() -> Self {
        let genres = GENRES.iter().map(|(id, name)| {
            (vec![Cell::Int(*id)], vec![Cell::Int(*id), Cell::Text((*name).into())])
        });
        let mut model = Self::default();
        model.tables.insert(Tab::Genre, genres.collect());
        model
    }

    fn rows_of(&self, tab: Tab) -> impl Iterator<Item = &Row> {
        self.tables.get(&tab).into_iter().flat_map(BTreeMap::values)
    }

    // ---- conditions

    fn holds(&self, tab: Tab, row: Option<&Row>, f: &F) -> Option<bool> {
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

    fn sub(&self, sub: &Sub, keep: impl Fn(&Row) -> bool) -> Vec<Row> {
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

    fn meets(&self, tables: &[Tab], joined: &Joined, conds: &[Cond]) -> bool {
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

    // ---- reads

    fn joined(&self, from: From) -> Vec<Joined> {
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
    fn order_of(read: &Read, joined: &Joined) -> Vec<(Cell, bool)> {
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

    fn by_order(a: &[(Cell, bool)], b: &[(Cell, bool)]) -> Ordering {
        a.iter()
            .zip(b)
            .map(|((a, descending), (b, _))| direction(a.cmp(b), *descending))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }

    /// All rows that meet the conditions, in order.
    fn relation(&self, read: &Read) -> Vec<Joined> {
        let tables = read.from.tables();
        let mut rows: Vec<Joined> = self
            .joined(read.from)
            .into_iter()
            .filter(|joined| self.meets(&tables, joined, &read.conds))
            .collect();
        rows.sort_by(|a, b| Self::by_order(&Self::order_of(read, a), &Self::order_of(read, b)));
        rows
    }

    fn read(&mut self, read: &Read, end: &End, inside: bool, real: &Seen) -> Outcome {
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
                    }
                }
                Ok(Seen::Rows(kept))
            }
        }
    }

    // ---- writes

    fn matched(&self, tab: Tab, rows: &Rows) -> Vec<Row> {
        self.rows_of(tab)
            .filter(|row| match rows {
                Rows::All => true,
                Rows::Key(key) => {
                    key_of(tab, row) == key.iter().copied().map(Cell::Int).collect::<Vec<_>>()
                }
                Rows::Filter(conds) => self.meets(&[tab], &vec![Some((*row).clone())], conds),
            })
            .cloned()
            .collect()
    }

    /// References that lead nowhere: of a row that was just written, in columns that were; or not.
    /// A row that was there before the statement took its key away is one that others refer to.
    fn broken(
        &self,
        written: Tab,
        rows: &[Row],
        set: &dyn Fn(usize) -> bool,
        before: &Tables,
    ) -> Result<(), (ErrorKind, bool)> {
        let mut conflict = false;
        for tab in Tab::OWNED {
            for (columns, target, _) in tab.references() {
                for row in self.rows_of(tab) {
                    let wanted: Vec<Cell> = columns.iter().map(|at| row[*at].clone()).collect();
                    if wanted.contains(&Cell::Null)
                        || self.tables.get(target).is_some_and(|rows| rows.contains_key(&wanted))
                    {
                        continue;
                    }
                    let was_there =
                        before.get(target).is_some_and(|rows| rows.contains_key(&wanted));
                    let ours =
                        tab == written && rows.contains(row) && columns.iter().any(|at| set(*at));
                    if ours && !was_there {
                        return failed(ErrorKind::NotFound);
                    }
                    conflict = true;
                }
            }
        }
        if conflict { failed(ErrorKind::Conflict) } else { Ok(()) }
    }

    /// Whether two rows hold the same unique value.
    fn same_unique(tab: Tab, a: &Row, b: &Row) -> bool {
        tab.unique().is_some_and(|at| a[at] != Cell::Null && a[at] == b[at])
    }

    fn insert_chunk(
        &mut self,
        tab: Tab,
        rows: &[Row],
        upsert: Option<&Upsert>,
    ) -> Result<Vec<Row>, (ErrorKind, bool)> {
        let before = self.tables.clone();
        let mut stored = Vec::new();
        let whole = rows
            .iter()
            .try_for_each(|row| {
                stored.extend(self.insert_one(tab, row, upsert, false)?);
                Ok(())
            })
            .and_then(|()| self.broken(tab, &stored, &|_| true, &Tables::new()));
        if whole.is_ok() {
            return Ok(stored);
        }
        // The error is that of the first row that fails by itself.
        self.tables = before;
        for row in rows {
            self.insert_one(tab, row, upsert, true)?;
        }
        whole.map(|()| stored)
    }

    fn insert_one(
        &mut self,
        tab: Tab,
        row: &Row,
        upsert: Option<&Upsert>,
        checked: bool,
    ) -> Result<Option<Row>, (ErrorKind, bool)> {
        let by_key = self.tables.get(&tab).and_then(|rows| rows.get(&key_of(tab, row))).cloned();
        let by_unique = self.rows_of(tab).find(|other| Self::same_unique(tab, row, other)).cloned();
        let (found, updated) = match upsert {
            Some(upsert) => {
                (if upsert.unique { by_unique.clone() } else { by_key.clone() }, &upsert.update[..])
            }
            None => (None, &[][..]),
        };
        let table = self.tables.entry(tab).or_default();
        if let Some(found) = found {
            if updated.is_empty() {
                return Ok(None);
            }
            let mut new = found.clone();
            for at in updated {
                new[*at] = row[*at].clone();
            }
            table.remove(&key_of(tab, &found));
            let taken = table.contains_key(&key_of(tab, &new))
                || table.values().any(|other| Self::same_unique(tab, &new, other));
            if taken {
                return failed(ErrorKind::Conflict);
            }
            table.insert(key_of(tab, &new), new.clone());
            if checked {
                self.broken(
                    tab,
                    std::slice::from_ref(&new),
                    &|at| updated.contains(&at),
                    &Tables::new(),
                )?;
            }
            return Ok(Some(new));
        }
        if by_key.is_some() || by_unique.is_some() {
            return failed(ErrorKind::Conflict);
        }
        table.insert(key_of(tab, row), row.clone());
        if checked {
            self.broken(tab, std::slice::from_ref(row), &|_| true, &Tables::new())?;
        }
        Ok(Some(row.clone()))
    }

    fn update(
        &mut self,
        tab: Tab,
        set: &[(usize, Set)],
        rows: &Rows,
        real: &Seen,
    ) -> Result<Vec<Row>, (ErrorKind, bool)> {
        let matched = self.matched(tab, rows);
        let mut possible: Vec<ErrorKind> = Vec::new();
        let mut written = Vec::new();
        for row in &matched {
            let mut new = row.clone();
            for (column, to) in set {
                new[*column] = match to {
                    Set::Value(cell) => cell.clone(),
                    Set::Column(other) => row[*other].clone(),
                    Set::Add(step) | Set::Sub(step) => match (&row[*column], step) {
                        (Cell::Int(value), Cell::Int(step_by)) => {
                            let sum = if matches!(to, Set::Add(_)) {
                                i128::from(*value) + i128::from(*step_by)
                            } else {
                                i128::from(*value) - i128::from(*step_by)
                            };
                            let (low, high) = match tab.columns()[*column].kind {
                                Kind::I16 => (i128::from(i16::MIN), i128::from(i16::MAX)),
                                Kind::I32 => (i128::from(i32::MIN), i128::from(i32::MAX)),
                                _ => (i128::from(i64::MIN), i128::from(i64::MAX)),
                            };
                            if sum < low || sum > high {
                                possible.push(ErrorKind::Invalid);
                                Cell::Null
                            } else {
                                Cell::Int(sum as i64)
                            }
                        }
                        _ => Cell::Null,
                    },
                };
            }
            written.push(new);
        }
        let before = self.tables.clone();
        let table = self.tables.entry(tab).or_default();
        for row in &matched {
            table.remove(&key_of(tab, row));
        }
        for row in &written {
            let taken = table.contains_key(&key_of(tab, row))
                || table.values().any(|other| Self::same_unique(tab, row, other));
            if taken {
                possible.push(ErrorKind::Conflict);
            }
            table.insert(key_of(tab, row), row.clone());
        }
        // Which of two faults is met first depends on the order in which the store takes the rows.
        if let Some(first) = possible.first() {
            let met =
                possible.iter().find(|kind| matches!(real, Seen::Error(real, _) if real == *kind));
            return failed(*met.unwrap_or(first));
        }
        let sets = |at: usize| set.iter().any(|(column, _)| *column == at);
        self.broken(tab, &written, &sets, &before).map_err(|(kind, fails)| {
            // A statement that takes a key away and refers to it breaks both ends at once.
            let both =
                tab.references().iter().any(|(columns, target, _)| {
                    *target == tab && columns.iter().any(|at| sets(*at))
                }) && tab.keys().iter().any(|at| sets(*at));
            let seen = [ErrorKind::Conflict, ErrorKind::NotFound]
                .into_iter()
                .find(|kind| both && matches!(real, Seen::Error(real, _) if real == kind));
            (seen.unwrap_or(kind), fails)
        })?;
        Ok(written)
    }

    fn delete(&mut self, tab: Tab, rows: &Rows) -> Result<Vec<Row>, (ErrorKind, bool)> {
        let matched = self.matched(tab, rows);
        for row in &matched {
            self.tables.entry(tab).or_default().remove(&key_of(tab, row));
            if tab == Tab::Order {
                self.tables.entry(Tab::Line).or_default().retain(|key, _| key[0] != row[0]);
            }
        }
        self.broken(tab, &[], &|_| false, &Tables::new())?;
        Ok(matched)
    }

    fn prepared(&mut self, prepared: &Prepared, real: &Seen) -> Outcome {
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
                read.from = From::Join(super::program::Shape::Inner);
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
                let f = F::Exists(super::program::Edge::OrderCustomer, Box::new(sub));
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
                read.from = From::Join(super::program::Shape::LeftFrom);
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
                let deleted = self.delete(Tab::Order, &Rows::Key(vec![*id]))?;
                Ok(Seen::Affected(deleted.len() as u64))
            }
            Prepared::DeleteOf { name } => {
                let rows = Rows::Filter(vec![Cond::One(0, F::InSub(1, Box::new(named(name))))]);
                let deleted = self.delete(Tab::Order, &rows)?;
                Ok(Seen::Affected(deleted.len() as u64))
            }
        }
    }

    fn run(&mut self, stmt: &Stmt, inside: bool, real: &Seen) -> Outcome {
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
                // Rows go in by powers of two, and references are checked when a statement ends.
                let mut rest = &rows[..];
                while !rest.is_empty() {
                    let (chunk, after) = rest.split_at(1 << rest.len().ilog2());
                    stored.extend(self.insert_chunk(*tab, chunk, upsert.as_ref())?);
                    rest = after;
                }
                let affected = stored.len() as u64;
                stored.sort_by_key(|row| key_of(*tab, row));
                match returning {
                    None => Ok(Seen::Affected(affected)),
                    // The row is stored, and the caller learns that there is none to return.
                    Some(how) => pick(stored, *how),
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
                let deleted = self.delete(*tab, rows)?;
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
        match self.run(stmt, inside, real) {
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

fn pick(rows: Vec<Row>, how: How) -> Outcome {
    match how {
        How::All => Ok(Seen::Rows(rows)),
        How::Optional => Ok(Seen::Row(rows.into_iter().next())),
        How::One => match rows.into_iter().next() {
            Some(row) => Ok(Seen::Row(Some(row))),
            None => refused(ErrorKind::NotFound),
        },
    }
}

fn project(
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

/// `real` is what the store said: partial sums beyond 64 bits depend on the order of the rows.
fn aggregate(agg: Agg, cells: &[Cell], real: &Seen) -> Result<Cell, (ErrorKind, bool)> {
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
            } else if beyond || (doubtful && matches!(real, Seen::Error(ErrorKind::Invalid, _))) {
                return failed(ErrorKind::Invalid);
            } else {
                Cell::Int(sum as i64)
            }
        }
    })
}
