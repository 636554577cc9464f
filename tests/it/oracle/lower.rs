//! Operations as statements of the crate.
//!
//! Columns are named by position (`Column::new`), which gives the same trees as the constants of a
//! declaration; joins, their projections and prepared shapes use the constants themselves.

use std::any::Any;
use std::cell::RefCell;
use std::sync::LazyLock;

use futures_util::TryStreamExt as _;
use rust_decimal::Decimal;
use tenantry::query::{
    Aggregate, Columns, Cursor, Delete, Filter, Find, Grouped, GroupedAggregates, Insert, OrderBy,
    Prepared, PreparedDelete, PreparedUpdate, Projection, Select, Sources, Update, all, any, count,
};
use tenantry::table::{At, Column, First, Fourth, Occurrence, Second, Third};
use tenantry::{Database, Result, TenantScope};

use super::model::Seen;
use super::program::{
    Agg, Cond, Edge, End, F, Form, From, Having, How, Op, Prepared as Shape_, Read, Refusal, Rows,
    Set, Shape, Stmt, Sub,
};
use super::world::{
    Basis, Cell, Customer, Employee, Fix, FixOwned, Genre, IntoCell, Item, Kind, Line, Order, Row,
    Shipment, Tab, customers, employees, genres, items, order_lines, orders, shipments, with_kind,
    with_owned, with_table,
};

/// Where a statement runs.
#[derive(Debug)]
pub enum Ex<'e> {
    Db(&'e Database),
    Tx(&'e mut tenantry::database::Transaction),
}

impl Ex<'_> {
    fn again(&mut self) -> Ex<'_> {
        match self {
            Self::Db(db) => Ex::Db(db),
            Self::Tx(tx) => Ex::Tx(tx),
        }
    }
}

macro_rules! on {
    ($ex:expr, |$e:ident| $run:expr) => {
        match $ex {
            Ex::Db($e) => $run,
            Ex::Tx($e) => $run,
        }
    };
}

/// In whose name, and the scope of another organization for what must be refused.
pub struct Cx<'s> {
    pub db: &'s Database,
    pub scope: &'s TenantScope,
    pub other: &'s TenantScope,
    /// The cursor after the page that was read last.
    pub next: RefCell<Option<Cursor>>,
}

/// How a read ends: as the program says, or with one page.
#[derive(Debug, Clone)]
pub enum Way<'p> {
    End(&'p End),
    Page(Option<Cursor>, u32),
}

// ---- filters

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

pub fn mentions_exists(f: &F) -> bool {
    match f {
        F::And(a, b) | F::Or(a, b) => mentions_exists(a) || mentions_exists(b),
        F::Not(f) => mentions_exists(f),
        F::Exists(..) => true,
        _ => false,
    }
}

pub fn order<O: Occurrence>(column: usize, descending: bool) -> OrderBy<O> {
    let column = Column::<O, i64>::new(column as u16);
    if descending { column.desc() } else { column.asc() }
}

// ---- rows as cells

pub trait MemberCells {
    fn push(&self, row: &mut Row);
}

impl<T: Fix> MemberCells for T {
    fn push(&self, row: &mut Row) {
        row.extend(self.row());
    }
}

impl<T: Fix> MemberCells for Option<T> {
    fn push(&self, row: &mut Row) {
        match self {
            Some(found) => found.push(row),
            None => row.push(Cell::Absent),
        }
    }
}

pub trait Cells {
    fn cells(&self) -> Row;
}

impl<T: Fix> Cells for T {
    fn cells(&self) -> Row {
        self.row()
    }
}

macro_rules! cells {
    ($($member:ident $at:tt),*) => {
        impl<$($member: MemberCells),*> Cells for ($($member,)*) {
            fn cells(&self) -> Row {
                let mut row = Row::new();
                $(self.$at.push(&mut row);)*
                row
            }
        }
    };
}

cells!(A 0, B 1);
cells!(A 0, B 1, C 2);
cells!(A 0, B 1, C 2, D 3);

/// Values that a statement reads.
pub trait Outs {
    fn outs(self) -> Row;
}

impl<B: IntoCell> Outs for B {
    fn outs(self) -> Row {
        vec![self.into_cell()]
    }
}

macro_rules! outs {
    ($($value:ident),*) => {
        impl<$($value: IntoCell),*> Outs for ($($value,)*) {
            #[allow(non_snake_case, reason = "the tuple's fields are named after their types")]
            fn outs(self) -> Row {
                let ($($value,)*) = self;
                vec![$($value.into_cell()),*]
            }
        }
    };
}

outs!(A, B);
outs!(A, B, C);
outs!(A, B, C, D, E);

// ---- reads

fn dressed<'s, S: Sources>(mut select: Select<'s, S>, read: &Read) -> Select<'s, S> {
    if let Some(limit) = read.limit {
        select = select.limit(limit);
    }
    if let Some(offset) = read.offset {
        select = select.offset(offset);
    }
    if read.unordered {
        select = select.unordered();
    }
    if read.for_update {
        select = select.for_update();
    }
    select
}

fn pick(rows: Option<Row>) -> Seen {
    Seen::Row(rows)
}

/// The ends that read whole rows, or none.
async fn whole<'s, S: Sources + Cells>(
    cx: &Cx<'_>,
    make: &(dyn Fn() -> Select<'s, S> + Send + Sync),
    read: &Read,
    way: Way<'_>,
    mut ex: Ex<'_>,
) -> Result<Seen> {
    let bag = |mut rows: Vec<Row>| {
        if read.unordered {
            rows.sort();
            Seen::Bag(rows)
        } else {
            Seen::Rows(rows)
        }
    };
    let cells = |rows: &[S]| -> Vec<Row> { rows.iter().map(S::cells).collect() };
    match way {
        Way::Page(cursor, size) => {
            let page = on!(ex, |e| make().page(cursor, size).fetch(e).await)?;
            let seen = Seen::Page(cells(&page.rows), page.next.is_some());
            *cx.next.borrow_mut() = page.next;
            Ok(seen)
        }
        Way::End(End::Pages(size)) => {
            let (mut pages, mut cursor) = (Vec::new(), None);
            loop {
                let page = on!(ex.again(), |e| make().page(cursor, *size).fetch(e).await)?;
                pages.push(cells(&page.rows));
                if page.next.is_none() || pages.len() > 200 {
                    return Ok(Seen::Pages(pages));
                }
                cursor = page.next;
            }
        }
        Way::End(End::Rows(How::All)) => Ok(bag(cells(&on!(ex, |e| make().fetch_all(e).await)?))),
        Way::End(End::Rows(How::Optional)) => {
            Ok(pick(on!(ex, |e| make().fetch_optional(e).await)?.map(|row| row.cells())))
        }
        Way::End(End::Rows(How::One)) => {
            Ok(pick(Some(on!(ex, |e| make().fetch_one(e).await)?.cells())))
        }
        Way::End(End::Stream) => {
            let rows: Vec<S> = on!(ex, |e| make().fetch(e).try_collect().await)?;
            Ok(bag(cells(&rows)))
        }
        Way::End(End::Count) => Ok(Seen::Count(on!(ex, |e| make().count(e).await)?)),
        Way::End(End::Exists) => Ok(Seen::Is(on!(ex, |e| make().exists(e).await)?)),
        Way::End(end) => unreachable!("{end:?}"),
    }
}

async fn project<S: Sources, C, I>(
    query: Projection<'_, S, C, I>,
    distinct: bool,
    how: How,
    ex: Ex<'_>,
) -> Result<Seen>
where
    C: Columns<S, I>,
    C::Output: Outs,
{
    let query = if distinct { query.distinct() } else { query };
    Ok(match how {
        How::All => {
            Seen::Rows(on!(ex, |e| query.fetch_all(e).await)?.into_iter().map(Outs::outs).collect())
        }
        How::Optional => pick(on!(ex, |e| query.fetch_optional(e).await)?.map(Outs::outs)),
        How::One => pick(Some(on!(ex, |e| query.fetch_one(e).await)?.outs())),
    })
}

fn having<F>(aggregate: Aggregate<F, i64>, op: Op, value: i64) -> Filter<F> {
    match op {
        Op::Lt => aggregate.lt(value),
        Op::Le => aggregate.le(value),
        Op::Gt => aggregate.gt(value),
        Op::Ge => aggregate.ge(value),
        _ => aggregate.eq(value),
    }
}

fn having_optional<F>(aggregate: Aggregate<F, Option<i64>>, op: Op, value: i64) -> Filter<F> {
    match op {
        Op::Lt => aggregate.lt(value),
        Op::Le => aggregate.le(value),
        Op::Gt => aggregate.gt(value),
        Op::Ge => aggregate.ge(value),
        _ => aggregate.eq(value),
    }
}

fn having_column<T: Fix>((agg, op, value): (Agg, Op, i64), integer: usize) -> Filter<T> {
    let column = Column::<T, Option<i64>>::new(integer as u16);
    match agg {
        Agg::CountDistinct => having(column.count_distinct(), op, value),
        Agg::Sum => having_optional(column.sum(), op, value),
        Agg::Min => having_optional(column.min(), op, value),
        Agg::Max => having_optional(column.max(), op, value),
        Agg::Count | Agg::CountColumn => having(column.count(), op, value),
    }
}

async fn group<T: Fix, G: IntoCell + Send + 'static>(
    scope: &TenantScope,
    grouped: Grouped<'_, T, G>,
    end: &End,
    ex: Ex<'_>,
) -> Result<Seen> {
    let End::Group { integer, agg, order, .. } = end else { unreachable!() };
    let column = Column::<T, Option<i64>>::new(*integer as u16);
    macro_rules! finish {
        ($aggregate:expr) => {{
            let aggregate = $aggregate;
            let mut query = grouped.aggregate((count(), aggregate));
            match order {
                Some((true, true)) => query = query.order_by(aggregate.desc()),
                Some((true, false)) => query = query.order_by(aggregate.asc()),
                Some((false, true)) => query = query.order_by(count().desc()),
                Some((false, false)) => query = query.order_by(count().asc()),
                None => {}
            }
            groups(scope, query, end, ex).await
        }};
    }
    match agg {
        Agg::Count => finish!(count()),
        Agg::CountColumn => finish!(column.count()),
        Agg::CountDistinct => finish!(column.count_distinct()),
        Agg::Sum => finish!(column.sum()),
        Agg::Min => finish!(column.min()),
        Agg::Max => finish!(column.max()),
    }
}

async fn groups<T: Fix, G: IntoCell + Send + 'static, V: IntoCell + Send + 'static>(
    scope: &TenantScope,
    mut query: GroupedAggregates<'_, T, G, (i64, V)>,
    end: &End,
    ex: Ex<'_>,
) -> Result<Seen> {
    let End::Group { integer, having: condition, limit, .. } = end else { unreachable!() };
    query = match condition {
        None => query,
        Some(Having::One(Agg::Count, op, value)) => query.having(having(count(), *op, *value)),
        Some(Having::One(agg, op, value)) => {
            query.having(having_column::<T>((*agg, *op, *value), *integer))
        }
        Some(Having::Two((Agg::Count, op, value), second)) => {
            query.having(any((having(count(), *op, *value), having_column::<T>(*second, *integer))))
        }
        Some(Having::Two(first, second)) => query
            .having(having_column::<T>(*first, *integer).or(having_column::<T>(*second, *integer))),
        Some(Having::Group(f)) => query.having(filter::<T>(scope, f)),
    };
    if let Some(limit) = limit {
        query = query.limit(*limit);
    }
    let rows = on!(ex, |e| query.fetch_all(e).await)?;
    let cells = rows.into_iter().map(|(group, (count, value))| {
        vec![group.into_cell(), count.into_cell(), value.into_cell()]
    });
    Ok(Seen::Rows(cells.collect()))
}

/// A read of one table.
async fn read_one<T: Fix + Cells>(
    cx: &Cx<'_>,
    read: &Read,
    way: Way<'_>,
    ex: Ex<'_>,
) -> Result<Seen> {
    let scope = cx.scope;
    let make = || {
        let mut select = Select::<T>::new(scope);
        let plain = |f: &F| !read.at || mentions_exists(f);
        for cond in &read.conds {
            select = match cond {
                Cond::One(_, f) if plain(f) => select.filter(filter::<T>(scope, f)),
                Cond::One(_, f) => select.filter(filter::<At<T, First>>(scope, f)),
                Cond::All((_, a), (_, b)) => {
                    select.filter(all((filter::<T>(scope, a), filter::<T>(scope, b))))
                }
                Cond::Any((_, a), (_, b)) => {
                    select.filter(any((filter::<T>(scope, a), filter::<T>(scope, b))))
                }
                Cond::NotAny((_, a), (_, b)) => {
                    select.filter(!any((filter::<T>(scope, a), filter::<T>(scope, b))))
                }
            };
        }
        for (_, column, descending) in &read.order {
            select = if read.at {
                select.order_by(order::<At<T, First>>(*column, *descending))
            } else {
                select.order_by(order::<T>(*column, *descending))
            };
        }
        dressed(select, read)
    };
    let kind = |column: usize| T::TAB.columns()[column].kind;
    match way {
        Way::End(End::Column { column, distinct, how }) => with_kind!(kind(*column), V => {
            let at = Column::<T, Option<V>>::new(*column as u16);
            Box::pin(project(make().columns(at), *distinct, *how, ex)).await
        }),
        Way::End(End::Pair { column, integer, distinct, how }) => with_kind!(kind(*column), V => {
            let at = Column::<T, Option<V>>::new(*column as u16);
            let integer = Column::<T, Option<i64>>::new(*integer as u16);
            Box::pin(project(make().columns((at, integer)), *distinct, *how, ex)).await
        }),
        Way::End(End::Stats { column }) => with_kind!(kind(*column), V => {
            let at = Column::<T, Option<V>>::new(*column as u16);
            let query = make().aggregate((count(), at.min(), at.max(), at.count(), at.count_distinct()));
            Ok(pick(Some(on!(ex, |e| query.fetch_one(e).await)?.outs())))
        }),
        Way::End(End::Sum { column }) => {
            macro_rules! sum {
                ($V:ty) => {{
                    let query =
                        make().aggregate((count(), Column::<T, $V>::new(*column as u16).sum()));
                    Ok(pick(Some(on!(ex, |e| query.fetch_one(e).await)?.outs())))
                }};
            }
            match kind(*column) {
                Kind::I16 => sum!(Option<i16>),
                Kind::I32 => sum!(Option<i32>),
                Kind::F64 => sum!(Option<f64>),
                Kind::Decimal => sum!(Option<Decimal>),
                _ => sum!(Option<i64>),
            }
        }
        Way::End(end @ End::Group { column, .. }) => with_kind!(kind(*column), V => {
            let at = Column::<T, Option<V>>::new(*column as u16);
            Box::pin(group::<T, Option<V>>(scope, make().group_by(at), end, ex)).await
        }),
        way => whole(cx, &make, read, way, ex).await,
    }
}

/// A read along joins: the tables with and without their places, and what the ends read.
macro_rules! joined {
    (
        $cx:ident, $read:ident, $way:ident, $ex:ident, $build:expr;
        [$(($n:literal, $P:ty, $A:ty)),*] [$P0:ty, $P1:ty] [$A0:ty, $A1:ty];
        $pair:expr, $group:expr, $sum:expr
    ) => {{
        let scope = $cx.scope;
        let build = $build;
        let make = || {
            let mut select = build(scope);
            let plain = |f: &F| !$read.at || mentions_exists(f);
            for cond in &$read.conds {
                select = match cond {
                    $(
                        Cond::One($n, f) if plain(f) => select.filter(filter::<$P>(scope, f)),
                        Cond::One($n, f) => select.filter(filter::<$A>(scope, f)),
                    )*
                    Cond::All((_, a), (_, b)) if plain(a) || plain(b) => {
                        select.filter(all((filter::<$P0>(scope, a), filter::<$P1>(scope, b))))
                    }
                    Cond::All((_, a), (_, b)) => {
                        select.filter(all((filter::<$A0>(scope, a), filter::<$A1>(scope, b))))
                    }
                    Cond::Any((_, a), (_, b)) => {
                        select.filter(any((filter::<$P0>(scope, a), filter::<$P1>(scope, b))))
                    }
                    Cond::NotAny((_, a), (_, b)) => {
                        select.filter(!any((filter::<$P0>(scope, a), filter::<$P1>(scope, b))))
                    }
                    Cond::One(..) => unreachable!(),
                };
            }
            for (member, column, descending) in &$read.order {
                select = match member {
                    $(
                        $n if $read.at => select.order_by(order::<$A>(*column, *descending)),
                        $n => select.order_by(order::<$P>(*column, *descending)),
                    )*
                    _ => unreachable!(),
                };
            }
            dressed(select, $read)
        };
        match $way {
            Way::End(End::JoinPair { distinct, how }) => {
                Box::pin(project(make().columns($pair), *distinct, *how, $ex)).await
            }
            Way::End(End::JoinStats) => {
                let query = make().aggregate((count(), $sum.sum(), $sum.max()));
                Ok(pick(Some(on!($ex, |e| query.fetch_one(e).await)?.outs())))
            }
            Way::End(End::JoinGroup { having }) => {
                let mut query = make().group_by($group).aggregate((count(), $sum.sum()));
                if let Some(least) = having {
                    query = query.having(count().gt(*least));
                }
                let rows = on!($ex, |e| query.fetch_all(e).await)?;
                let cells = rows.into_iter().map(|(group, (count, sum))| {
                    vec![group.into_cell(), count.into_cell(), sum.into_cell()]
                });
                Ok(Seen::Rows(cells.collect()))
            }
            way => Box::pin(whole($cx, &make, $read, way, $ex)).await,
        }
    }};
}

type At1<T> = At<T, First>;
type At2<T> = At<T, Second>;
type At3<T> = At<T, Third>;
type At4<T> = At<T, Fourth>;

fn builder<S, B: Fn(&TenantScope) -> Select<'_, S> + Send + Sync>(build: B) -> B {
    build
}

async fn read_joined(
    cx: &Cx<'_>,
    shape: Shape,
    read: &Read,
    way: Way<'_>,
    ex: Ex<'_>,
) -> Result<Seen> {
    match shape {
        Shape::Inner => joined!(
            cx, read, way, ex, builder(|scope| Order::select(scope).join(orders::customer_id));
            [(0, Order, At1<Order>), (1, Customer, At2<Customer>)]
            [Order, Customer] [At1<Order>, At2<Customer>];
            (orders::id, customers::name), customers::city, orders::total
        ),
        Shape::Left => joined!(
            cx, read, way, ex, builder(|scope| Order::select(scope).left_join(orders::customer_id));
            [(0, Order, At1<Order>), (1, Customer, At2<Customer>)]
            [Order, Customer] [At1<Order>, At2<Customer>];
            (orders::id, customers::name), customers::city, orders::total
        ),
        Shape::LeftFrom => joined!(
            cx, read, way, ex, builder(|scope| Customer::select(scope).left_join_from(orders::customer_id));
            [(0, Customer, At1<Customer>), (1, Order, At2<Order>)]
            [Customer, Order] [At1<Customer>, At2<Order>];
            (customers::name, orders::total), orders::note, orders::total
        ),
        Shape::SelfInner => joined!(
            cx, read, way, ex, builder(|scope| Employee::select(scope).join(employees::boss));
            [(0, At1<Employee>, At1<Employee>), (1, At2<Employee>, At2<Employee>)]
            [At1<Employee>, At2<Employee>] [At1<Employee>, At2<Employee>];
            (employees::id.at(First), employees::name.at(Second)), employees::id.at(Second),
            employees::badge.at(First)
        ),
        Shape::SelfLeft => joined!(
            cx, read, way, ex, builder(|scope| Employee::select(scope).left_join(employees::boss));
            [(0, At1<Employee>, At1<Employee>), (1, At2<Employee>, At2<Employee>)]
            [At1<Employee>, At2<Employee>] [At1<Employee>, At2<Employee>];
            (employees::id.at(First), employees::name.at(Second)), employees::id.at(Second),
            employees::badge.at(First)
        ),
        Shape::Three => joined!(
            cx, read, way, ex,
            builder(|scope| Line::select(scope).join(order_lines::order_id).join(orders::customer_id));
            [(0, Line, At1<Line>), (1, Order, At2<Order>), (2, Customer, At3<Customer>)]
            [Line, Order] [At1<Line>, At2<Order>];
            (order_lines::sku, customers::name), orders::email, orders::total
        ),
        Shape::Four => joined!(
            cx, read, way, ex,
            builder(|scope| Shipment::select(scope)
                .left_join(shipments::line)
                .left_join(order_lines::order_id)
                .left_join(orders::customer_id));
            [
                (0, Shipment, At1<Shipment>), (1, Line, At2<Line>), (2, Order, At3<Order>),
                (3, Customer, At4<Customer>)
            ]
            [Shipment, Line] [At1<Shipment>, At2<Line>];
            (shipments::id, customers::name), orders::email, orders::total
        ),
        Shape::Composite => joined!(
            cx, read, way, ex, builder(|scope| Shipment::select(scope).join(shipments::line));
            [(0, Shipment, At1<Shipment>), (1, Line, At2<Line>)]
            [Shipment, Line] [At1<Shipment>, At2<Line>];
            (shipments::carrier, order_lines::sku), order_lines::order_id, order_lines::n
        ),
        Shape::Chain => joined!(
            cx, read, way, ex,
            builder(|scope| Customer::select(scope)
                .left_join_from(orders::customer_id)
                .left_join_from(order_lines::order_id));
            [(0, Customer, At1<Customer>), (1, Order, At2<Order>), (2, Line, At3<Line>)]
            [Customer, Order] [At1<Customer>, At2<Order>];
            (customers::id, order_lines::sku), orders::id, orders::total
        ),
        Shape::ToGlobal => joined!(
            cx, read, way, ex, builder(|scope| Item::select(scope).left_join(items::genre_id));
            [(0, Item, At1<Item>), (1, Genre, At2<Genre>)]
            [Item, Genre] [At1<Item>, At2<Genre>];
            (items::id, genres::name), genres::name, items::big
        ),
        Shape::FromGlobal => joined!(
            cx, read, way, ex, builder(|scope| Genre::select(scope).left_join_from(items::genre_id));
            [(0, Genre, At1<Genre>), (1, Item, At2<Item>)]
            [Genre, Item] [At1<Genre>, At2<Item>];
            (genres::name, items::label), items::id, items::big_o
        ),
    }
}

// ---- writes

async fn insert<T: FixOwned>(cx: &Cx<'_>, stmt: &Stmt, ex: Ex<'_>) -> Result<Seen> {
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

async fn update<T: FixOwned>(cx: &Cx<'_>, stmt: &Stmt, ex: Ex<'_>) -> Result<Seen> {
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

async fn delete<T: FixOwned>(cx: &Cx<'_>, stmt: &Stmt, ex: Ex<'_>) -> Result<Seen> {
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

// ---- prepared shapes

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

async fn prepared(cx: &Cx<'_>, prepared: &Shape_, ex: Ex<'_>) -> Result<Seen> {
    let rows = |rows: Vec<Order>| Seen::Rows(rows.iter().map(Fix::row).collect());
    let scope = cx.scope;
    Ok(match prepared {
        Shape_::ByEmail { email, min } => {
            rows(on!(ex, |e| BY_EMAIL.fetch_all(scope, (email.as_str(), *min), e).await)?)
        }
        Shape_::ByNote { note } => {
            rows(on!(ex, |e| BY_NOTE.fetch_all(scope, (note.clone(),), e).await)?)
        }
        Shape_::Joined { name, how } => {
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
        Shape_::Subquery { name } => {
            rows(on!(ex, |e| SUBQUERY.fetch_all(scope, (name,), e).await)?)
        }
        Shape_::Exists { min } => {
            let found = on!(ex, |e| EXISTS.fetch_all(scope, (*min,), e).await)?;
            Seen::Rows(found.iter().map(Fix::row).collect())
        }
        Shape_::Between { low, high, id } => {
            rows(on!(ex, |e| BETWEEN.fetch_all(scope, (*low, *high, *id), e).await)?)
        }
        Shape_::Columns { min, how } => {
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
        Shape_::Distinct { min } => {
            let found = on!(ex, |e| DISTINCT.fetch_all(scope, (*min,), e).await)?;
            Seen::Rows(found.into_iter().map(Outs::outs).collect())
        }
        Shape_::JoinColumns { name } => {
            let found = on!(ex, |e| JOIN_COLUMNS.fetch_all(scope, (name,), e).await)?;
            Seen::Rows(found.into_iter().map(Outs::outs).collect())
        }
        Shape_::SetNote { id, note } => {
            Seen::Affected(on!(ex, |e| SET_NOTE.execute(scope, (*id, note.clone()), e).await)?)
        }
        Shape_::SetCustomer { name, customer } => {
            Seen::Affected(on!(ex, |e| SET_CUSTOMER.execute(scope, (name, *customer), e).await)?)
        }
        Shape_::Delete { id } => {
            Seen::Affected(on!(ex, |e| DELETE.execute(scope, (*id,), e).await)?)
        }
        Shape_::DeleteOf { name } => {
            Seen::Affected(on!(ex, |e| DELETE_OF.execute(scope, (name,), e).await)?)
        }
    })
}

// ---- statements that are refused

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

async fn refuse<T: FixOwned + Cells>(
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

// ---- all of them

pub async fn read(cx: &Cx<'_>, read: &Read, way: Way<'_>, ex: Ex<'_>) -> Result<Seen> {
    match read.from {
        From::One(tab) => with_table!(tab, T => Box::pin(read_one::<T>(cx, read, way, ex)).await),
        From::Join(shape) => Box::pin(read_joined(cx, shape, read, way, ex)).await,
    }
}

pub async fn run(cx: &Cx<'_>, stmt: &Stmt, ex: Ex<'_>) -> Result<Seen> {
    match stmt {
        Stmt::Find { tab, key, one, for_update } => with_table!(*tab, T => {
            let find = Find::<T>::new(cx.scope, T::key(key));
            let find = if *for_update { find.for_update() } else { find };
            if *one {
                Ok(pick(Some(on!(ex, |e| find.fetch_one(e).await)?.row())))
            } else {
                Ok(pick(on!(ex, |e| find.fetch_optional(e).await)?.map(|row| row.row())))
            }
        }),
        Stmt::Read(read_, end) => read(cx, read_, Way::End(end), ex).await,
        Stmt::Insert { tab, .. } => {
            with_owned!(*tab, T => Box::pin(insert::<T>(cx, stmt, ex)).await)
        }
        Stmt::Update { tab, .. } => {
            with_owned!(*tab, T => Box::pin(update::<T>(cx, stmt, ex)).await)
        }
        Stmt::Delete { tab, .. } => {
            with_owned!(*tab, T => Box::pin(delete::<T>(cx, stmt, ex)).await)
        }
        Stmt::Prepared(shape) => Box::pin(prepared(cx, shape, ex)).await,
        Stmt::Refused(refusal, tab) => {
            with_owned!(*tab, T => Box::pin(refuse::<T>(cx, *refusal, ex)).await)
        }
    }
}
