//! Writes, with the keys and references that they may break.

use tenantry::ErrorKind;

use super::{Answer, Model, Tables, failed, key_of};
use crate::oracle::cell::{Cell, Row};
use crate::oracle::program::{Rows, Set, Upsert};
use crate::oracle::tables::{Kind, Tab};
use crate::oracle::world::Store;

/// The statements of a batch, each of which ends with its references checked: by powers of two, none
/// in which an upsert proposes a row twice.
pub(super) fn statements<'r>(tab: Tab, rows: &'r [Row], upsert: Option<&Upsert>) -> Vec<&'r [Row]> {
    let proposed = |row: &Row| match upsert {
        Some(Upsert { unique: true, .. }) => tab.unique().map(|at| vec![row[at].clone()]),
        _ => Some(key_of(tab, row)),
    };
    let mut starts = vec![0];
    if upsert.is_some_and(|upsert| !upsert.update.is_empty()) {
        for at in 0..rows.len() {
            let since = &rows[*starts.last().unwrap_or(&0)..at];
            if since.iter().any(|row| proposed(row) == proposed(&rows[at])) {
                starts.push(at);
            }
        }
    }
    starts.push(rows.len());
    let mut statements = Vec::new();
    for run in starts.windows(2) {
        let mut rest = &rows[run[0]..run[1]];
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(1 << rest.len().ilog2());
            statements.push(chunk);
            rest = after;
        }
    }
    statements
}

impl Model {
    pub(super) fn matched(&self, tab: Tab, rows: &Rows) -> Vec<Row> {
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
    pub(super) fn broken(
        &self,
        written: Tab,
        rows: &[Row],
        set: &dyn Fn(usize) -> bool,
        before: &Tables,
        real: &Answer,
    ) -> Result<(), (ErrorKind, bool)> {
        let (mut conflict, mut missing) = (false, false);
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
                        missing = true;
                    } else {
                        conflict = true;
                    }
                }
            }
        }
        match (conflict, missing) {
            (false, false) => Ok(()),
            // The crate looks parents up where SQLite says no more; PostgreSQL says which
            // reference it met first.
            (true, true) if real.store != Store::Sqlite && real.is(ErrorKind::Conflict) => {
                failed(ErrorKind::Conflict)
            }
            (_, true) => failed(ErrorKind::NotFound),
            (true, false) => failed(ErrorKind::Conflict),
        }
    }

    /// Whether two rows hold the same unique value.
    pub(super) fn same_unique(tab: Tab, a: &Row, b: &Row) -> bool {
        tab.unique().is_some_and(|at| a[at] != Cell::Null && a[at] == b[at])
    }

    pub(super) fn insert_chunk(
        &mut self,
        tab: Tab,
        rows: &[Row],
        upsert: Option<&Upsert>,
        real: &Answer,
    ) -> Result<Vec<Row>, (ErrorKind, bool)> {
        let before = self.tables.clone();
        let mut stored = Vec::new();
        let whole = rows
            .iter()
            .try_for_each(|row| {
                stored.extend(self.insert_one(tab, row, upsert, false, real)?);
                Ok(())
            })
            .and_then(|()| {
                let whole = self.broken(tab, &stored, &|_| true, &Tables::new(), real);
                whole.map_err(|fault| Self::either_end(tab, upsert, fault, real))
            });
        if whole.is_ok() {
            return Ok(stored);
        }
        // The error is that of the first row that fails by itself.
        self.tables = before;
        for row in rows {
            self.insert_one(tab, row, upsert, true, real)?;
        }
        whole.map(|()| stored)
    }

    /// PostgreSQL does not say at which end of a reference an upsert stood that met a row of a table
    /// that refers to itself, and took its key away.
    fn either_end(
        tab: Tab,
        upsert: Option<&Upsert>,
        fault: (ErrorKind, bool),
        real: &Answer,
    ) -> (ErrorKind, bool) {
        let rekeys =
            upsert.is_some_and(|upsert| tab.keys().iter().any(|at| upsert.update.contains(at)));
        let itself = tab.references().iter().any(|(_, target, _)| *target == tab);
        let open = rekeys && itself && real.store != Store::Sqlite;
        if open && fault.0 == ErrorKind::Conflict && real.is(ErrorKind::NotFound) {
            return (ErrorKind::NotFound, fault.1);
        }
        fault
    }

    pub(super) fn insert_one(
        &mut self,
        tab: Tab,
        row: &Row,
        upsert: Option<&Upsert>,
        checked: bool,
        real: &Answer,
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
            let key = table.contains_key(&key_of(tab, &new));
            let unique = table.values().any(|other| Self::same_unique(tab, &new, other));
            if key || unique {
                if key && unique {
                    real.is_named_otherwise();
                }
                return failed(ErrorKind::Conflict);
            }
            table.insert(key_of(tab, &new), new.clone());
            if checked {
                self.broken(
                    tab,
                    std::slice::from_ref(&new),
                    &|at| updated.contains(&at),
                    &Tables::new(),
                    real,
                )
                .map_err(|fault| Self::either_end(tab, upsert, fault, real))?;
            }
            return Ok(Some(new));
        }
        if by_key.is_some() || by_unique.is_some() {
            if by_key.is_some() && by_unique.is_some() {
                real.is_named_otherwise();
            }
            return failed(ErrorKind::Conflict);
        }
        table.insert(key_of(tab, row), row.clone());
        if checked {
            self.broken(tab, std::slice::from_ref(row), &|_| true, &Tables::new(), real)?;
        }
        Ok(Some(row.clone()))
    }

    pub(super) fn update(
        &mut self,
        tab: Tab,
        set: &[(usize, Set)],
        rows: &Rows,
        real: &Answer,
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
            if table.contains_key(&key_of(tab, row)) {
                possible.push(ErrorKind::Conflict);
            }
            if table.values().any(|other| Self::same_unique(tab, row, other)) {
                possible.push(ErrorKind::Conflict);
            }
            table.insert(key_of(tab, row), row.clone());
        }
        // Which of two faults is met first depends on the order in which the store takes the rows.
        if let Some(first) = possible.first() {
            let one = possible.iter().all(|kind| kind == first);
            let computed = |(_, to): &&(usize, Set)| matches!(to, Set::Add(_) | Set::Sub(_));
            // PostgreSQL does not say which of two computed columns has no room for its result.
            if possible.len() > 1 || set.iter().filter(computed).count() > 1 {
                real.is_named_otherwise();
            }
            let met = possible.iter().find(|kind| !one && real.is(**kind));
            return failed(*met.unwrap_or(first));
        }
        let sets = |at: usize| set.iter().any(|(column, _)| *column == at);
        self.broken(tab, &written, &sets, &before, real).map_err(|(kind, fails)| {
            // SQLite says of neither end which one it was, and a parent that is computed is not
            // looked up.
            let computed = tab.references().iter().any(|(columns, ..)| {
                set.iter().any(|(at, to)| columns.contains(at) && !matches!(to, Set::Value(_)))
            });
            if computed && tab.keys().iter().any(|at| sets(*at)) {
                real.is_named_otherwise();
                if real.store == Store::Sqlite && real.is(ErrorKind::NotFound) {
                    return (ErrorKind::NotFound, fails);
                }
            }
            // A statement that takes a key away and refers to it breaks both ends at once.
            let both =
                tab.references().iter().any(|(columns, target, _)| {
                    *target == tab && columns.iter().any(|at| sets(*at))
                }) && tab.keys().iter().any(|at| sets(*at));
            let seen = [ErrorKind::Conflict, ErrorKind::NotFound]
                .into_iter()
                .find(|kind| both && real.is(*kind));
            (seen.unwrap_or(kind), fails)
        })?;
        Ok(written)
    }

    pub(super) fn delete(
        &mut self,
        tab: Tab,
        rows: &Rows,
        real: &Answer,
    ) -> Result<Vec<Row>, (ErrorKind, bool)> {
        let matched = self.matched(tab, rows);
        for row in &matched {
            self.tables.entry(tab).or_default().remove(&key_of(tab, row));
            if tab == Tab::Order {
                self.tables.entry(Tab::Line).or_default().retain(|key, _| key[0] != row[0]);
            }
        }
        self.broken(tab, &[], &|_| false, &Tables::new(), real)?;
        Ok(matched)
    }
}
