//! Reads.

use futures_util::TryStreamExt as _;
use rust_decimal::Decimal;
use tenantry::query::{
    Aggregate, Columns, Filter, Grouped, GroupedAggregates, Projection, Select, Sources, all, any,
    count,
};
use tenantry::table::{At, Column, First, Fourth, Second, Third};
use tenantry::{Result, TenantScope};

use super::filters::{filter, order};
use super::{Cx, Ex, Way, on};
use crate::oracle::cell::{Cell, IntoCell, Row};
use crate::oracle::model::Seen;
use crate::oracle::program::{Agg, Cond, End, F, Having, How, Op, Read, Shape};
use crate::oracle::tables::{
    Customer, Employee, Fix, Genre, Item, Kind, Line, Order, Shipment, customers, employees,
    genres, items, order_lines, orders, shipments, with_kind,
};

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

pub(super) fn pick(rows: Option<Row>) -> Seen {
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
        Some(Having::Two((Agg::Count, op, value), (Agg::Count, second, other))) => {
            query.having(having(count(), *op, *value).or(having(count(), *second, *other)))
        }
        Some(Having::Two((Agg::Count, op, value), second)) => {
            query.having(any((having(count(), *op, *value), having_column::<T>(*second, *integer))))
        }
        Some(Having::Two(first, (Agg::Count, op, value))) => {
            query.having(any((having_column::<T>(*first, *integer), having(count(), *op, *value))))
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
pub(super) async fn read_one<T: Fix + Cells>(
    cx: &Cx<'_>,
    read: &Read,
    way: Way<'_>,
    ex: Ex<'_>,
) -> Result<Seen> {
    let scope = cx.scope;
    let make = || {
        let mut select = Select::<T>::new(scope);
        let plain = |f: &F| !read.at || f.mentions_exists();
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
            let plain = |f: &F| !$read.at || f.mentions_exists();
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

pub(super) async fn read_joined(
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
