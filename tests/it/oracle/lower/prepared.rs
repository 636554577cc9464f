//! Prepared shapes.

use std::sync::LazyLock;

use tenantry::Result;
use tenantry::query::{Prepared, PreparedDelete, PreparedUpdate};

use super::reads::{Cells, Outs, pick};
use super::{Cx, Ex, on};
use crate::oracle::model::Seen;
use crate::oracle::program::{How, Prepared as Run};
use crate::oracle::tables::{Customer, Fix, Order, customers, orders};

static BY_EMAIL: LazyLock<Prepared<Order, (String, i64)>> = LazyLock::new(|| {
    Order::prepare(|q, (email, min): (_, _)| {
        q.filter(orders::email.eq(email).and(orders::total.gt(min))).limit(10)
    })
});
static BY_NOTE: LazyLock<Prepared<Order, (Option<String>,)>> =
    LazyLock::new(|| Order::prepare(|q, (note,): (_,)| q.filter(orders::note.eq(note))));
static JOINED: LazyLock<Prepared<(Order, Customer), (String,)>> = LazyLock::new(|| {
    Order::prepare(|q, (name,): (_,)| {
        q.join(orders::customer_id)
            .filter(customers::name.ge(name))
            .order_by(customers::name.desc())
    })
});
static SUBQUERY: LazyLock<Prepared<Order, (String,)>> = LazyLock::new(|| {
    Order::prepare(|q, (name,): (_,)| {
        let named = q.draft::<Customer>().filter(customers::name.eq(name)).columns(customers::id);
        q.filter(orders::customer_id.in_subquery(named))
    })
});
static EXISTS: LazyLock<Prepared<Customer, (i64,)>> = LazyLock::new(|| {
    Customer::prepare(|q, (min,): (_,)| {
        let large = q.draft::<Order>().filter(orders::total.gt(min));
        q.filter(orders::customer_id.exists_in(large))
    })
});
static BETWEEN: LazyLock<Prepared<Order, (i64, i64, i64)>> = LazyLock::new(|| {
    Order::prepare(|q, (low, high, id): (_, _, _)| {
        q.filter(orders::total.between(low, high).or(!orders::id.in_list([id, low])))
    })
});
type NoteTotal = (Option<String>, i64);
type NameTotal = (String, Option<i64>);
static COLUMNS: LazyLock<Prepared<NoteTotal, (i64,)>> = LazyLock::new(|| {
    Order::prepare_columns(|q, (min,): (_,)| {
        q.filter(orders::total.gt(min)).columns((orders::note, orders::total))
    })
});
static DISTINCT: LazyLock<Prepared<Option<String>, (i64,)>> = LazyLock::new(|| {
    Order::prepare_columns(|q, (min,): (_,)| {
        q.filter(orders::total.gt(min)).columns(orders::note).distinct()
    })
});
static JOIN_COLUMNS: LazyLock<Prepared<NameTotal, (String,)>> = LazyLock::new(|| {
    Customer::prepare_columns(|q, (name,): (_,)| {
        q.left_join_from(orders::customer_id)
            .filter(customers::name.ge(name))
            .columns((customers::name, orders::total))
    })
});
static SET_NOTE: LazyLock<PreparedUpdate<Order, (i64, Option<String>)>> = LazyLock::new(|| {
    Order::prepare_update(|q, (id, note): (_, _)| {
        q.set(orders::note, note).filter(orders::id.eq(id))
    })
});

static SET_CUSTOMER: LazyLock<PreparedUpdate<Order, (String, i64)>> = LazyLock::new(|| {
    Order::prepare_update(|q, (name, customer): (_, _)| {
        let named = q.draft::<Customer>().filter(customers::name.eq(name)).columns(customers::id);
        q.set(orders::customer_id, customer).filter(orders::customer_id.in_subquery(named))
    })
});
static DELETE: LazyLock<PreparedDelete<Order, (i64,)>> =
    LazyLock::new(|| Order::prepare_delete(|q, (id,): (_,)| q.filter(orders::id.eq(id))));
static DELETE_OF: LazyLock<PreparedDelete<Order, (String,)>> = LazyLock::new(|| {
    Order::prepare_delete(|q, (name,): (_,)| {
        let named = q.draft::<Customer>().filter(customers::name.eq(name)).columns(customers::id);
        q.filter(orders::customer_id.in_subquery(named))
    })
});

pub(super) async fn prepared(cx: &Cx<'_>, prepared: &Run, ex: Ex<'_>) -> Result<Seen> {
    let rows = |rows: Vec<Order>| Seen::Rows(rows.iter().map(Fix::row).collect());
    let scope = cx.scope;
    Ok(match prepared {
        Run::ByEmail { email, min } => {
            rows(on!(ex, |e| BY_EMAIL.fetch_all(scope, (email.as_str(), *min), e).await)?)
        }
        Run::ByNote { note } => {
            rows(on!(ex, |e| BY_NOTE.fetch_all(scope, (note.clone(),), e).await)?)
        }
        Run::Joined { name, how } => {
            let name = (name.as_str(),);
            match how {
                How::All => {
                    let found = on!(ex, |e| JOINED.fetch_all(scope, name, e).await)?;
                    Seen::Rows(found.iter().map(Cells::cells).collect())
                }
                How::Optional => pick(
                    on!(ex, |e| JOINED.fetch_optional(scope, name, e).await)?
                        .map(|row| row.cells()),
                ),
                How::One => {
                    pick(Some(on!(ex, |e| JOINED.fetch_one(scope, name, e).await)?.cells()))
                }
            }
        }
        Run::Subquery { name } => rows(on!(ex, |e| SUBQUERY.fetch_all(scope, (name,), e).await)?),
        Run::Exists { min } => {
            let found = on!(ex, |e| EXISTS.fetch_all(scope, (*min,), e).await)?;
            Seen::Rows(found.iter().map(Fix::row).collect())
        }
        Run::Between { low, high, id } => {
            rows(on!(ex, |e| BETWEEN.fetch_all(scope, (*low, *high, *id), e).await)?)
        }
        Run::Columns { min, how } => {
            let min = (*min,);
            match how {
                How::All => {
                    let found = on!(ex, |e| COLUMNS.fetch_all(scope, min, e).await)?;
                    Seen::Rows(found.into_iter().map(Outs::outs).collect())
                }
                How::Optional => {
                    pick(on!(ex, |e| COLUMNS.fetch_optional(scope, min, e).await)?.map(Outs::outs))
                }
                How::One => pick(Some(on!(ex, |e| COLUMNS.fetch_one(scope, min, e).await)?.outs())),
            }
        }
        Run::Distinct { min } => {
            let found = on!(ex, |e| DISTINCT.fetch_all(scope, (*min,), e).await)?;
            Seen::Rows(found.into_iter().map(Outs::outs).collect())
        }
        Run::JoinColumns { name } => {
            let found = on!(ex, |e| JOIN_COLUMNS.fetch_all(scope, (name,), e).await)?;
            Seen::Rows(found.into_iter().map(Outs::outs).collect())
        }
        Run::SetNote { id, note } => {
            Seen::Affected(on!(ex, |e| SET_NOTE.execute(scope, (*id, note.clone()), e).await)?)
        }
        Run::SetCustomer { name, customer } => {
            Seen::Affected(on!(ex, |e| SET_CUSTOMER.execute(scope, (name, *customer), e).await)?)
        }
        Run::Delete { id } => Seen::Affected(on!(ex, |e| DELETE.execute(scope, (*id,), e).await)?),
        Run::DeleteOf { name } => {
            Seen::Affected(on!(ex, |e| DELETE_OF.execute(scope, (name,), e).await)?)
        }
    })
}
