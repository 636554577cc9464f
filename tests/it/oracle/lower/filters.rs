//! Conditions and orders.

use std::any::Any;

use tenantry::TenantScope;
use tenantry::query::{Filter, OrderBy, Select};
use tenantry::table::{Column, Occurrence};

use crate::oracle::cell::Basis;
use crate::oracle::program::{Edge, F, Form, Op, Sub};
use crate::oracle::tables::{
    Employee, Fix, Item, Kind, Line, Order, employees, items, order_lines, orders, with_kind,
    with_table,
};

pub fn filter<O: Occurrence>(scope: &TenantScope, f: &F) -> Filter<O>
where
    O::Table: Fix,
{
    let tab = <O::Table as Fix>::TAB;
    match f {
        F::And(a, b) => filter::<O>(scope, a).and(filter::<O>(scope, b)),
        F::Or(a, b) => filter::<O>(scope, a).or(filter::<O>(scope, b)),
        F::Not(f) => !filter::<O>(scope, f),
        F::Compare(at, ..) | F::Columns(at, ..) | F::Between(at, ..) | F::In(at, _) => {
            with_kind!(tab.columns()[*at].kind, V => typed::<O, V>(f))
        }
        F::Null(at, true) => Column::<O, i64>::new(*at as u16).is_null(),
        F::Null(at, false) => Column::<O, i64>::new(*at as u16).is_not_null(),
        F::Like(at, form, text) => {
            let column = Column::<O, String>::new(*at as u16);
            match form {
                Form::Contains => column.contains(text),
                Form::StartsWith => column.starts_with(text),
                Form::EndsWith => column.ends_with(text),
                _ => column.like(text),
            }
        }
        F::InSub(at, sub) => match tab.columns()[*at].kind {
            Kind::I64 => in_sub::<O, i64>(scope, *at, sub),
            _ => in_sub::<O, String>(scope, *at, sub),
        },
        F::Exists(edge, sub) => exists::<O>(scope, *edge, sub),
    }
}

fn typed<O: Occurrence, V: Basis>(f: &F) -> Filter<O> {
    let at = |at: usize| Column::<O, Option<V>>::new(at as u16);
    match f {
        F::Compare(column, op, cell) => {
            let (column, value) = (at(*column), V::of(cell));
            match op {
                Op::Eq => column.eq(value),
                Op::Ne => column.ne(value),
                Op::Lt => column.lt(value),
                Op::Le => column.le(value),
                Op::Gt => column.gt(value),
                Op::Ge => column.ge(value),
            }
        }
        F::Columns(column, op, other) => {
            let (column, other) = (at(*column), at(*other));
            match op {
                Op::Eq => column.eq(other),
                Op::Ne => column.ne(other),
                Op::Lt => column.lt(other),
                Op::Le => column.le(other),
                Op::Gt => column.gt(other),
                Op::Ge => column.ge(other),
            }
        }
        F::Between(column, low, high) => at(*column).between(V::of(low), V::of(high)),
        F::In(column, cells) => at(*column).in_list(cells.iter().map(V::of)),
        _ => unreachable!(),
    }
}

fn sub_select<'s, T: Fix>(scope: &'s TenantScope, sub: &Sub) -> Select<'s, T> {
    let mut select = Select::<T>::new(scope);
    if let Some(f) = &sub.filter {
        select = select.filter(filter::<T>(scope, f));
    }
    for (column, descending) in &sub.order {
        select = select.order_by(order::<T>(*column, *descending));
    }
    if let Some(limit) = sub.limit {
        select = select.limit(limit);
    }
    if let Some(offset) = sub.offset {
        select = select.offset(offset);
    }
    select
}

fn in_sub<O: Occurrence, V: Basis>(scope: &TenantScope, at: usize, sub: &Sub) -> Filter<O> {
    let column = Column::<O, V>::new(at as u16);
    with_table!(sub.tab, U => {
        let projection = sub_select::<U>(scope, sub).columns(Column::<U, V>::new(sub.column as u16));
        let projection = if sub.distinct { projection.distinct() } else { projection };
        column.in_subquery(projection)
    })
}

fn exists<O: Occurrence>(scope: &TenantScope, edge: Edge, sub: &Sub) -> Filter<O> {
    let found: Box<dyn Any> = match edge {
        Edge::OrderCustomer => {
            Box::new(orders::customer_id.exists_in(sub_select::<Order>(scope, sub)))
        }
        Edge::LineOrder => {
            Box::new(order_lines::order_id.exists_in(sub_select::<Line>(scope, sub)))
        }
        Edge::EmployeeBoss => {
            Box::new(employees::boss.exists_in(sub_select::<Employee>(scope, sub)))
        }
        Edge::ItemGenre => Box::new(items::genre_id.exists_in(sub_select::<Item>(scope, sub))),
    };
    *found.downcast::<Filter<O>>().expect("`exists_in` names the table and no occurrence")
}

pub fn order<O: Occurrence>(column: usize, descending: bool) -> OrderBy<O> {
    let column = Column::<O, i64>::new(column as u16);
    if descending { column.desc() } else { column.asc() }
}
