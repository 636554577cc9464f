//! Aggregates and groups, over the scoped relation alone.

use std::fmt;
use std::marker::PhantomData;

use rust_decimal::Decimal;

use super::ast::{AggregateRef, ColumnRef, Function, Op, Predicate, SelectAst, Term};
use super::predicate::{Argument, Filter, reference};
use super::select::OrderBy;
use super::sources::{Absent, Sources, Within};
use crate::error::Result;
use crate::scope::TenantScope;
use crate::table::{
    Column, ColumnDefinition, ColumnKind, ColumnType, ColumnValue, Occurrence, RowReader,
};

/// A count, sum, minimum or maximum over rows of the tables `F`, read as `V`.
pub struct Aggregate<F, V> {
    pub(crate) aggregate: AggregateRef,
    marker: PhantomData<fn() -> (F, V)>,
}

impl<F, V> Clone for Aggregate<F, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F, V> Copy for Aggregate<F, V> {}

impl<F, V> fmt::Debug for Aggregate<F, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.aggregate.fmt(f)
    }
}

impl<F, V> Aggregate<F, V> {
    const fn new(function: Function, column: Option<ColumnRef>) -> Self {
        Self { aggregate: AggregateRef { function, column }, marker: PhantomData }
    }
}

/// Counts the rows.
pub const fn count() -> Aggregate<(), i64> {
    Aggregate::new(Function::Count, None)
}

/// A column type with a sum.
#[diagnostic::on_unimplemented(
    message = "a column of `{Self}` has no sum",
    label = "integers, floats and decimals have a sum"
)]
pub trait Summable: ColumnValue {
    /// What the sum is read as; `None` over no rows.
    type Sum: ColumnValue;
}

macro_rules! sums {
    ($($value:ty => $sum:ty;)*) => {$(
        impl Summable for $value {
            type Sum = Option<$sum>;
        }
        impl Summable for Option<$value> {
            type Sum = Option<$sum>;
        }
    )*};
}

sums! {
    i16 => i64;
    i32 => i64;
    i64 => i64;
    f64 => f64;
    Decimal => Decimal;
}

impl<T: Occurrence, C: ColumnKind> Column<T, C> {
    /// Counts the rows in which this column is not NULL.
    pub fn count(self) -> Aggregate<T, i64> {
        Aggregate::new(Function::Count, Some(reference(self)))
    }

    /// Counts the different values of this column, NULL aside.
    pub fn count_distinct(self) -> Aggregate<T, i64> {
        Aggregate::new(Function::CountDistinct, Some(reference(self)))
    }

    /// The sum; a sum of integers beyond 64 bits fails with
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid).
    pub fn sum<V>(self) -> Aggregate<T, V>
    where
        C::Value: Summable<Sum = V>,
    {
        Aggregate::new(Function::Sum, Some(reference(self)))
    }

    /// The smallest value; `None` over no rows.
    pub fn min(self) -> Aggregate<T, Option<<C::Value as ColumnValue>::Base>> {
        Aggregate::new(Function::Min, Some(reference(self)))
    }

    /// The largest value; `None` over no rows.
    pub fn max(self) -> Aggregate<T, Option<<C::Value as ColumnValue>::Base>> {
        Aggregate::new(Function::Max, Some(reference(self)))
    }
}

impl<F, V: ColumnValue> Aggregate<F, V> {
    fn compare(self, op: Op, value: impl Argument<V>) -> Filter<F> {
        let term = value.value(&result_column(self.aggregate));
        Filter::leaf(Predicate::Having(self.aggregate, op, Term::Value(term)))
    }

    /// Groups whose aggregate equals `value`, for [`GroupedAggregates::having`].
    pub fn eq(self, value: impl Argument<V>) -> Filter<F> {
        self.compare(Op::Eq, value)
    }

    /// Groups whose aggregate is less than `value`.
    pub fn lt(self, value: impl Argument<V>) -> Filter<F> {
        self.compare(Op::Lt, value)
    }

    /// Groups whose aggregate is at most `value`.
    pub fn le(self, value: impl Argument<V>) -> Filter<F> {
        self.compare(Op::Le, value)
    }

    /// Groups whose aggregate is greater than `value`.
    pub fn gt(self, value: impl Argument<V>) -> Filter<F> {
        self.compare(Op::Gt, value)
    }

    /// Groups whose aggregate is at least `value`.
    pub fn ge(self, value: impl Argument<V>) -> Filter<F> {
        self.compare(Op::Ge, value)
    }
}

/// The column that an aggregate is encoded and decoded as.
fn result_column(aggregate: AggregateRef) -> ColumnDefinition {
    let column = match (aggregate.function, aggregate.column.and_then(ColumnRef::definition)) {
        (Function::Max | Function::Min | Function::Sum, Some(column)) => column,
        _ => return ColumnDefinition::new("count", ColumnType::I64, false),
    };
    let kind = match (aggregate.function, column.kind()) {
        (Function::Sum, ColumnType::I16 | ColumnType::I32) => ColumnType::I64,
        (_, kind) => kind,
    };
    let result = ColumnDefinition::new(column.name(), kind, true);
    if kind == ColumnType::Decimal { result.scale(column.decimals()) } else { result }
}

/// One aggregate, or a tuple of up to six.
pub trait Aggregates<S, I> {
    /// What they are read as.
    type Output: Send + 'static;
    #[doc(hidden)]
    fn aggregates(&self) -> Vec<AggregateRef>;
    #[doc(hidden)]
    fn read(row: &mut RowReader<'_>, aggregates: &[AggregateRef]) -> Result<Self::Output>;
}

fn read_one<V: ColumnValue>(
    row: &mut RowReader<'_>,
    aggregate: Option<&AggregateRef>,
) -> Result<V> {
    match aggregate {
        Some(aggregate) => V::decode(row, &result_column(*aggregate)),
        None => Err(crate::Error::internal("an aggregate got lost")),
    }
}

impl<S, I, F: Within<S, I>, V: ColumnValue> Aggregates<S, I> for Aggregate<F, V> {
    type Output = V;

    fn aggregates(&self) -> Vec<AggregateRef> {
        vec![self.aggregate]
    }

    fn read(row: &mut RowReader<'_>, aggregates: &[AggregateRef]) -> Result<V> {
        read_one(row, aggregates.first())
    }
}

macro_rules! aggregate_tuples {
    ($($from:ident $value:ident $index:ident $at:literal),*) => {
        impl<S, $($index, $from: Within<S, $index>, $value: ColumnValue),*>
            Aggregates<S, ($($index,)*)> for ($(Aggregate<$from, $value>,)*)
        {
            type Output = ($($value,)*);

            #[expect(non_snake_case, reason = "the tuple's fields are named after their types")]
            fn aggregates(&self) -> Vec<AggregateRef> {
                let ($($from,)*) = self;
                vec![$($from.aggregate),*]
            }

            fn read(row: &mut RowReader<'_>, aggregates: &[AggregateRef]) -> Result<Self::Output> {
                Ok(($(read_one::<$value>(row, aggregates.get($at))?,)*))
            }
        }
    };
}

aggregate_tuples!(A VA IA 0);
aggregate_tuples!(A VA IA 0, B VB IB 1);
aggregate_tuples!(A VA IA 0, B VB IB 1, C VC IC 2);
aggregate_tuples!(A VA IA 0, B VB IB 1, C VC IC 2, D VD ID 3);
aggregate_tuples!(A VA IA 0, B VB IB 1, C VC IC 2, D VD ID 3, E VE IE 4);
aggregate_tuples!(A VA IA 0, B VB IB 1, C VC IC 2, D VD ID 3, E VE IE 4, F VF IF 5);

pub(crate) type ReadAggregates<O> = fn(&mut RowReader<'_>, &[AggregateRef]) -> Result<O>;
pub(crate) type ReadColumns<O> = fn(&mut RowReader<'_>, Absent, &[ColumnRef]) -> Result<O>;

/// Aggregates over all rows of a read.
#[must_use = "a query does nothing until it is run: `.fetch_one(&db).await?`"]
pub struct Aggregated<'s, O> {
    pub(crate) scope: &'s TenantScope,
    pub(crate) ast: SelectAst,
    pub(crate) aggregates: Vec<AggregateRef>,
    pub(crate) read: ReadAggregates<O>,
}

impl<O> fmt::Debug for Aggregated<'_, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aggregated")
            .field("aggregates", &self.aggregates)
            .field("shape", &self.ast)
            .finish()
    }
}

impl<'s, O> Aggregated<'s, O> {
    pub(crate) fn new(
        scope: &'s TenantScope,
        ast: SelectAst,
        aggregates: Vec<AggregateRef>,
        read: ReadAggregates<O>,
    ) -> Self {
        Self { scope, ast, aggregates, read }
    }
}

/// Rows grouped by columns, waiting for their aggregates.
#[must_use = "a grouped read needs `.aggregate(…)`"]
pub struct Grouped<'s, S, G> {
    scope: &'s TenantScope,
    ast: SelectAst,
    read: ReadColumns<G>,
    marker: PhantomData<fn() -> S>,
}

impl<S, G> fmt::Debug for Grouped<'_, S, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grouped").field("shape", &self.ast).finish()
    }
}

impl<'s, S: Sources, G> Grouped<'s, S, G> {
    pub(crate) fn new(
        scope: &'s TenantScope,
        mut ast: SelectAst,
        columns: Vec<ColumnRef>,
        read: ReadColumns<G>,
    ) -> Self {
        ast.groups = columns;
        Self { scope, ast, read, marker: PhantomData }
    }

    /// Computes aggregates over each group. A row is `(group, aggregates)`.
    pub fn aggregate<A, I>(self, aggregates: A) -> GroupedAggregates<'s, S, G, A::Output>
    where
        A: Aggregates<S, I>,
    {
        GroupedAggregates {
            scope: self.scope,
            ast: self.ast,
            aggregates: aggregates.aggregates(),
            read_group: self.read,
            read: A::read,
            marker: PhantomData,
        }
    }
}

/// Aggregates over each group of a read, ordered as asked, then by group.
#[must_use = "a query does nothing until it is run: `.fetch_all(&db).await?`"]
pub struct GroupedAggregates<'s, S, G, O> {
    pub(crate) scope: &'s TenantScope,
    pub(crate) ast: SelectAst,
    pub(crate) aggregates: Vec<AggregateRef>,
    pub(crate) read_group: ReadColumns<G>,
    pub(crate) read: ReadAggregates<O>,
    marker: PhantomData<fn() -> S>,
}

impl<S, G, O> fmt::Debug for GroupedAggregates<'_, S, G, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupedAggregates")
            .field("aggregates", &self.aggregates)
            .field("shape", &self.ast)
            .finish_non_exhaustive()
    }
}

impl<S: Sources, G, O> GroupedAggregates<'_, S, G, O> {
    /// Keeps the groups whose aggregates meet the condition: `count().gt(3)`.
    pub fn having<F, I>(mut self, filter: Filter<F>) -> Self
    where
        F: Within<S, I>,
    {
        self.ast.having = Some(match self.ast.having.take() {
            Some(having) => having.and(filter.predicate),
            None => filter.predicate,
        });
        self
    }

    /// Orders the groups, before the order by group.
    pub fn order_by<F, I>(mut self, order: OrderBy<F>) -> Self
    where
        F: Within<S, I>,
    {
        self.ast.order.push(order.term);
        self
    }

    /// Reads at most this many groups.
    pub fn limit(mut self, groups: u64) -> Self {
        self.ast.limit = Some(groups);
        self
    }
}
