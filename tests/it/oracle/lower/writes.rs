//! Inserts, updates and deletes.

use rust_decimal::Decimal;
use tenantry::Result;
use tenantry::query::{Delete, Insert, Update};
use tenantry::table::Column;

use super::filters::filter;
use super::reads::pick;
use super::{Cx, Ex, on};
use crate::oracle::cell::{Basis, Row};
use crate::oracle::model::Seen;
use crate::oracle::program::{Cond, How, Rows, Set, Stmt};
use crate::oracle::tables::{Fix, FixOwned, Kind, with_kind};

pub(super) async fn insert<T: FixOwned>(cx: &Cx<'_>, stmt: &Stmt, ex: Ex<'_>) -> Result<Seen> {
    let Stmt::Insert { tab, rows, many, upsert, returning } = stmt else { unreachable!() };
    let typed = |row: &Row| T::from_row(row);
    let mut insert = if *many {
        Insert::many(cx.scope, rows.iter().map(typed))
    } else {
        Insert::one(cx.scope, typed(&rows[0]))
    };
    if let Some(upsert) = upsert {
        let at = |at: usize| Column::<T, i64>::new(at as u16);
        let target =
            if upsert.unique { vec![tab.unique().unwrap_or(1)] } else { tab.keys().to_vec() };
        let on = match target[..] {
            [a, b] => insert.on_conflict((at(a), at(b))),
            _ => insert.on_conflict(at(target[0])),
        };
        insert = match upsert.update[..] {
            [] => on.do_nothing(),
            [a] => on.update(at(a)),
            [a, b, ..] => on.update((at(a), at(b))),
        };
    }
    Ok(match returning {
        None => Seen::Affected(on!(ex, |e| insert.execute(e).await)?),
        Some(How::All) => Seen::Rows(
            on!(ex, |e| insert.returning().fetch_all(e).await)?.iter().map(Fix::row).collect(),
        ),
        Some(How::Optional) => {
            pick(on!(ex, |e| insert.returning().fetch_optional(e).await)?.map(|row| row.row()))
        }
        Some(How::One) => pick(Some(on!(ex, |e| insert.returning().fetch_one(e).await)?.row())),
    })
}

fn set<'s, T: FixOwned, R>(update: Update<'s, T, R>, column: usize, to: &Set) -> Update<'s, T, R> {
    let at = |column: usize| Column::<T, i64>::new(column as u16);
    let kind = T::TAB.columns()[column].kind;
    match to {
        Set::Value(cell) => with_kind!(kind, V => {
            update.set(Column::<T, Option<V>>::new(column as u16), <V as Basis>::of(cell))
        }),
        Set::Column(other) => update.set(at(column), at(*other)),
        Set::Add(step) | Set::Sub(step) => {
            macro_rules! arithmetic {
                ($V:ty) => {{
                    let at = Column::<T, $V>::new(column as u16);
                    let step = <$V as Basis>::of(step).unwrap();
                    update.set(
                        at,
                        if matches!(to, Set::Add(_)) { at.add(step) } else { at.sub(step) },
                    )
                }};
            }
            match kind {
                Kind::I16 => arithmetic!(i16),
                Kind::I32 => arithmetic!(i32),
                Kind::Decimal => arithmetic!(Decimal),
                _ => arithmetic!(i64),
            }
        }
    }
}

/// Names the rows of an update or delete.
macro_rules! named {
    ($write:expr, $cx:ident, $rows:expr, $T:ty) => {{
        let (write, scope) = ($write, $cx.scope);
        match $rows {
            Rows::All => write.all_rows(),
            Rows::Key(key) => write.key(<$T as Fix>::key(key)),
            Rows::Filter(conds) => {
                let one = |cond: &Cond| match cond {
                    Cond::One(_, f) => filter::<$T>(scope, f),
                    Cond::All((_, a), (_, b)) => filter::<$T>(scope, a).and(filter::<$T>(scope, b)),
                    Cond::Any((_, a), (_, b)) => filter::<$T>(scope, a).or(filter::<$T>(scope, b)),
                    Cond::NotAny((_, a), (_, b)) => {
                        !filter::<$T>(scope, a).or(filter::<$T>(scope, b))
                    }
                };
                let (first, rest) = conds.split_first().unwrap();
                let mut write = write.filter(one(first));
                for cond in rest {
                    write = write.filter(one(cond));
                }
                write
            }
        }
    }};
}

pub(super) async fn update<T: FixOwned>(cx: &Cx<'_>, stmt: &Stmt, ex: Ex<'_>) -> Result<Seen> {
    let Stmt::Update { set: sets, rows, returning, .. } = stmt else { unreachable!() };
    let mut update = Update::<T, _>::new(cx.scope);
    for (column, to) in sets {
        update = set(update, *column, to);
    }
    let update = named!(update, cx, rows, T);
    Ok(if *returning {
        Seen::Rows(
            on!(ex, |e| update.returning().fetch_all(e).await)?.iter().map(Fix::row).collect(),
        )
    } else {
        Seen::Affected(on!(ex, |e| update.execute(e).await)?)
    })
}

pub(super) async fn delete<T: FixOwned>(cx: &Cx<'_>, stmt: &Stmt, ex: Ex<'_>) -> Result<Seen> {
    let Stmt::Delete { rows, returning, .. } = stmt else { unreachable!() };
    let delete = named!(Delete::<T, _>::new(cx.scope), cx, rows, T);
    Ok(if *returning {
        Seen::Rows(
            on!(ex, |e| delete.returning().fetch_all(e).await)?.iter().map(Fix::row).collect(),
        )
    } else {
        Seen::Affected(on!(ex, |e| delete.execute(e).await)?)
    })
}
