//! Statements that are refused.

use tenantry::Result;
use tenantry::query::{Cursor, Delete, Insert, Select, Update};
use tenantry::table::{Column, First};

use super::reads::Cells;
use super::{Cx, Ex, on};
use crate::oracle::cell::{Cell, Row};
use crate::oracle::model::Seen;
use crate::oracle::program::Refusal;
use crate::oracle::tables::{Employee, FixOwned, Kind, Tab, employees};

/// A row that each column takes.
fn sample(tab: Tab) -> Row {
    tab.columns()
        .iter()
        .map(|col| match col.kind {
            _ if col.null => Cell::Null,
            Kind::F64 => Cell::Float(4),
            Kind::Text => Cell::Text("sample".into()),
            Kind::Bytes => Cell::Bytes(vec![1]),
            Kind::Uuid => Cell::Bytes(vec![1; 16]),
            Kind::Time => Cell::Time(0),
            Kind::Date => Cell::Int(2_460_000),
            Kind::Json => Cell::Text("1".into()),
            Kind::State => Cell::Text("open".into()),
            _ => Cell::Int(1),
        })
        .collect()
}

pub(super) async fn refuse<T: FixOwned + Cells>(
    cx: &Cx<'_>,
    refusal: Refusal,
    mut ex: Ex<'_>,
) -> Result<Seen> {
    let scope = cx.scope;
    let first = Column::<T, i64>::new(T::TAB.keys()[0] as u16);
    let text = T::TAB.columns().iter().position(|col| col.kind == Kind::Text).unwrap();
    let text = Column::<T, String>::new(text as u16);
    let garbage: Cursor = "AAAA".parse().unwrap();
    let with = |cursor| Select::<T>::new(scope).page(Some(cursor), 1);
    let done = |_| Seen::Done;
    match refusal {
        Refusal::EmptyBatch => on!(ex, |e| Insert::<T>::many(scope, []).execute(e).await).map(done),
        Refusal::EmptyPage => {
            on!(ex, |e| Select::<T>::new(scope).page(None, 0).fetch(e).await).map(|_| Seen::Done)
        }
        Refusal::GarbageCursor => on!(ex, |e| with(garbage).fetch(e).await).map(|_| Seen::Done),
        Refusal::ForeignCursor => {
            let theirs = Select::<T>::new(cx.other).page(None, 1).fetch(cx.db).await?.next;
            on!(ex, |e| with(theirs.unwrap_or(garbage)).fetch(e).await).map(|_| Seen::Done)
        }
        Refusal::MisplacedCursor => {
            let elsewhere = Select::<T>::new(scope).order_by(first.desc()).page(None, 1);
            let next = on!(ex.again(), |e| elsewhere.fetch(e).await)?.next;
            on!(ex, |e| with(next.unwrap_or(garbage)).fetch(e).await).map(|_| Seen::Done)
        }
        Refusal::ForeignSubquery => {
            let foreign = Select::<T>::new(cx.other).columns(first);
            let select = Select::<T>::new(scope).filter(first.in_subquery(foreign));
            on!(ex, |e| select.count(e).await).map(|_| Seen::Done)
        }
        Refusal::ForeignTransaction => {
            let mut tx = cx.db.begin(cx.other).await?;
            let counted = Select::<T>::new(scope).count(&mut tx).await;
            tx.rollback().await?;
            counted.map(|_| Seen::Done)
        }
        Refusal::AmbiguousOccurrence => {
            let exists = employees::boss.exists_in(Employee::select(scope));
            let select =
                Employee::select(scope).join(employees::boss).filter::<Employee, First>(exists);
            on!(ex, |e| select.count(e).await).map(|_| Seen::Done)
        }
        Refusal::SetTwice => {
            let update = Update::<T, _>::new(scope).set(first, 1).set(first, 2).all_rows();
            on!(ex, |e| update.execute(e).await).map(done)
        }
        Refusal::SetNothing => {
            on!(ex, |e| Update::<T, _>::new(scope).all_rows().execute(e).await).map(done)
        }
        Refusal::UnknownConflictTarget => {
            let row = T::from_row(&sample(T::TAB));
            let insert = Insert::one(scope, row).on_conflict(Column::<T, i64>::new(1)).do_nothing();
            on!(ex, |e| insert.execute(e).await).map(done)
        }
        Refusal::TooDeep => {
            let deep = (0..120).fold(first.eq(1), |filter, _| !filter);
            on!(ex, |e| Select::<T>::new(scope).filter(deep).count(e).await).map(|_| Seen::Done)
        }
        Refusal::LoneBackslash => {
            on!(ex, |e| Select::<T>::new(scope).filter(text.like("a\\")).exists(e).await)
                .map(|_| Seen::Done)
        }
        Refusal::NulText => {
            on!(ex, |e| Delete::<T, _>::new(scope).filter(text.eq("a\0b")).execute(e).await)
                .map(done)
        }
        other => unreachable!("{other:?}"),
    }
}
