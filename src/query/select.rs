//! Reads: rows, joins, projections, single rows by key.

use std::fmt;
use std::marker::PhantomData;

use super::aggregate::{Aggregate, Aggregated, Aggregates, Grouped};
use super::ast::{ColumnRef, Join, Link, OrderKey, OrderTerm, SelectAst, Subquery};
use super::page::{Cursor, Paged};
use super::predicate::{Filter, reference};
use super::render::{Bind, Binds, Rendered, Renderer, Sink, Sql};
use super::sources::{Append, Columns, OneOf, Sources, Within};
use crate::error::Result;
use crate::scope::TenantScope;
use crate::table::{
    Column, ColumnDefinition, ColumnKind, ColumnValue, Edge, Occurrence, Table, TableKey,
};

/// A read of rows of one organization, over one table or along joins.
///
/// `S` is what a row is: `Order`, `(Order, Customer)`, `(Order, Option<Refund>)`. The rows come in
/// the order asked for, then by key.
#[must_use = "a query does nothing until it is run: `.fetch_all(&db).await?`"]
pub struct Select<'s, S> {
    pub(crate) scope: &'s TenantScope,
    pub(crate) ast: SelectAst,
    marker: PhantomData<fn() -> S>,
}

/// A read that is being drafted inside [`Order::prepare`](crate::tenant_table): it has no scope,
/// cannot run, and exists only inside the closure.
#[must_use = "the closure returns its draft"]
pub struct Draft<'d, S> {
    pub(crate) ast: SelectAst,
    brand: PhantomData<fn(&'d ()) -> &'d ()>,
    marker: PhantomData<fn() -> S>,
}

impl<S> fmt::Debug for Select<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Select").field("scope", self.scope).field("shape", &self.ast).finish()
    }
}

impl<S> fmt::Debug for Draft<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft").field("shape", &self.ast).finish()
    }
}

/// A direction on a column or an aggregate of the tables `T`.
#[must_use = "an order does nothing until a query takes it"]
pub struct OrderBy<T> {
    pub(crate) term: OrderTerm,
    marker: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for OrderBy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.term.fmt(f)
    }
}

impl<T> OrderBy<T> {
    pub(crate) const fn new(key: OrderKey, descending: bool) -> Self {
        Self { term: OrderTerm { key, descending }, marker: PhantomData }
    }
}

impl<T: Occurrence, C: ColumnKind> Column<T, C> {
    /// Ascending; NULLs come first.
    pub fn asc(self) -> OrderBy<T> {
        OrderBy::new(OrderKey::Column(reference(self)), false)
    }

    /// Descending; NULLs come last.
    pub fn desc(self) -> OrderBy<T> {
        OrderBy::new(OrderKey::Column(reference(self)), true)
    }
}

impl<'s, T: Table> Select<'s, T> {
    /// A read of the table `T`; what `Order::select(&scope)` calls.
    pub fn new(scope: &'s TenantScope) -> Self {
        Self { scope, ast: SelectAst::new(T::definition()), marker: PhantomData }
    }
}

impl<'d, T: Table> Draft<'d, T> {
    pub(crate) fn new() -> Self {
        Self { ast: SelectAst::new(T::definition()), brand: PhantomData, marker: PhantomData }
    }
}

impl<'d, S> Draft<'d, S> {
    /// A draft of another table, for a subquery of this one.
    pub fn draft<T: Table>(&self) -> Draft<'d, T> {
        Draft::new()
    }

    fn becomes<R>(self) -> Draft<'d, R> {
        Draft { ast: self.ast, brand: PhantomData, marker: PhantomData }
    }
}

impl<'s, S> Select<'s, S> {
    fn becomes<R>(self) -> Select<'s, R> {
        Select { scope: self.scope, ast: self.ast, marker: PhantomData }
    }
}

/// The forms that a query and a draft share.
macro_rules! read_forms {
    ($query:ident, $life:lifetime, $projection:ident) => {
        impl<$life, S: Sources> $query<$life, S> {
            /// Keeps the rows for which the condition holds; several calls are all required.
            pub fn filter<F, WhichOccurrence>(mut self, filter: Filter<F>) -> Self
            where
                F: Within<S, WhichOccurrence>,
            {
                self.ast.add_filter(filter);
                self
            }

            /// Orders the rows, after the orders already given. The key is always the last term.
            pub fn order_by<T, WhichOccurrence>(mut self, order: OrderBy<T>) -> Self
            where
                T: OneOf<S, WhichOccurrence>,
            {
                self.ast.order.push(order.term);
                self
            }

            /// Reads at most this many rows.
            pub fn limit(mut self, rows: u64) -> Self {
                self.ast.limit = Some(rows);
                self
            }

            /// Passes over this many rows. A [`page`](Select::page) costs the same at any depth.
            pub fn offset(mut self, rows: u64) -> Self {
                self.ast.offset = Some(rows);
                self
            }

            /// Gives up the order by key, for full reads of large tables; a `limit` is then
            /// [`ErrorKind::Misuse`](crate::ErrorKind::Misuse), because which rows it kept would
            /// depend on what other organizations hold.
            pub fn unordered(mut self) -> Self {
                self.ast.unordered = true;
                self
            }

            /// Locks the rows until the transaction ends. On SQLite the transaction already holds
            /// the only write lock. Outside a transaction it is
            /// [`ErrorKind::Misuse`](crate::ErrorKind::Misuse).
            pub fn for_update(mut self) -> Self {
                self.ast.for_update = true;
                self
            }

            /// Joins the row referred to along `edge`; rows without one fall away.
            pub fn join<E, I, R>(mut self, edge: E) -> $query<$life, R>
            where
                E: Edge,
                E::From: OneOf<S, I>,
                S: Append<E::To, Output = R>,
            {
                push_parent(&mut self.ast, edge, <E::From as OneOf<S, I>>::INDEX, false);
                self.becomes()
            }

            /// Joins the row referred to along `edge`, or `None` where there is none.
            pub fn left_join<E, I>(
                mut self,
                edge: E,
            ) -> $query<$life, <S as Append<Option<E::To>>>::Output>
            where
                E: Edge,
                E::From: OneOf<S, I>,
                S: Append<Option<E::To>>,
            {
                push_parent(&mut self.ast, edge, <E::From as OneOf<S, I>>::INDEX, true);
                self.becomes()
            }

            /// Joins each row that refers to this one along `edge`, or `None` where there is none.
            pub fn left_join_from<E, I>(
                mut self,
                edge: E,
            ) -> $query<$life, <S as Append<Option<<E::From as Occurrence>::Table>>>::Output>
            where
                E: Edge,
                E::To: OneOf<S, I>,
                S: Append<Option<<E::From as Occurrence>::Table>>,
            {
                match edge.reference() {
                    Some((_, reference)) => self.ast.joins.push(Join {
                        table: <E::From as Occurrence>::Table::definition(),
                        link: Link::Child { reference, parent: <E::To as OneOf<S, I>>::INDEX },
                    }),
                    None => self.ast.misuse = Some(UNDECLARED),
                }
                self.becomes()
            }

            /// Reads columns instead of whole rows: one column, or a tuple.
            pub fn columns<C, I>(self, columns: C) -> $projection<$life, S, C, I>
            where
                C: Columns<S, I>,
            {
                $projection { columns: columns.columns(), query: self, marker: PhantomData }
            }
        }
    };
}

const UNDECLARED: &str = "a join goes along a reference that is not declared";

fn push_parent<E: Edge>(ast: &mut SelectAst, edge: E, child: u8, outer: bool) {
    match edge.reference() {
        Some((_, reference)) => ast.joins.push(Join {
            table: E::To::definition(),
            link: Link::Parent { reference, child, outer },
        }),
        None => ast.misuse = Some(UNDECLARED),
    }
}

read_forms!(Select, 's, Projection);
read_forms!(Draft, 'd, DraftProjection);

impl<'s, S: Sources> Select<'s, S> {
    /// Reads one page of rows by key, at the same cost at any depth.
    ///
    /// `None` begins; [`Page::next`](super::Page::next) goes on.
    pub fn page(self, cursor: Option<Cursor>, rows: u32) -> Paged<'s, S> {
        Paged::new(self, cursor, rows)
    }

    /// Computes aggregates over all rows.
    pub fn aggregate<A, I>(self, aggregates: A) -> Aggregated<'s, A::Output>
    where
        A: Aggregates<S, I>,
    {
        Aggregated::new(self.scope, self.ast, aggregates.aggregates(), A::read)
    }

    /// Groups the rows by columns, for [`Grouped::aggregate`].
    pub fn group_by<C, I>(self, columns: C) -> Grouped<'s, S, C::Output>
    where
        C: Columns<S, I>,
    {
        let mut ast = self.ast;
        if ast.limit.is_some() || ast.offset.is_some() {
            ast.misuse = Some("a limit before `group_by` is of rows: limit the groups after it");
        }
        Grouped::new(self.scope, ast, columns.columns(), C::read)
    }
}

/// A read of columns of one organization's rows.
#[must_use = "a query does nothing until it is run: `.fetch_all(&db).await?`"]
pub struct Projection<'s, S, C, I> {
    pub(crate) query: Select<'s, S>,
    pub(crate) columns: Vec<ColumnRef>,
    marker: PhantomData<fn() -> (C, I)>,
}

/// The drafted form of [`Projection`].
#[must_use = "the closure returns its draft"]
pub struct DraftProjection<'d, S, C, I> {
    pub(crate) query: Draft<'d, S>,
    pub(crate) columns: Vec<ColumnRef>,
    marker: PhantomData<fn() -> (C, I)>,
}

impl<S, C, I> fmt::Debug for Projection<'_, S, C, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Projection")
            .field("columns", &self.columns)
            .field("query", &self.query)
            .finish()
    }
}

impl<S, C, I> fmt::Debug for DraftProjection<'_, S, C, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DraftProjection")
            .field("columns", &self.columns)
            .field("query", &self.query)
            .finish()
    }
}

macro_rules! distinct {
    ($($projection:ident),*) => {$(
        impl<S, C, I> $projection<'_, S, C, I> {
            /// Reads each combination of values once. The rows come in the order of the columns.
            pub fn distinct(mut self) -> Self {
                self.query.ast.distinct = true;
                self
            }
        }
    )*};
}

distinct!(Projection, DraftProjection);

/// A subquery for `in_subquery`: a projection of one column.
///
/// `V` is the type of the column without `Option`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a read of one column that holds `{V}`",
    label = "expected a read of one column of `{V}`",
    note = "say which column the subquery reads: `.columns(customers::id)`"
)]
pub trait SubquerySource<V> {
    #[doc(hidden)]
    fn into_subquery(self) -> Subquery;
}

impl<S, T, C, I> SubquerySource<<C::Value as ColumnValue>::Base>
    for Projection<'_, S, Column<T, C>, I>
where
    T: Occurrence,
    C: ColumnKind,
{
    fn into_subquery(self) -> Subquery {
        Subquery {
            scope: Some(self.query.scope.clone()),
            select: self.query.ast,
            column: self.columns.first().copied(),
        }
    }
}

impl<S, T, C, I> SubquerySource<<C::Value as ColumnValue>::Base>
    for DraftProjection<'_, S, Column<T, C>, I>
where
    T: Occurrence,
    C: ColumnKind,
{
    fn into_subquery(self) -> Subquery {
        Subquery { scope: None, select: self.query.ast, column: self.columns.first().copied() }
    }
}

/// A subquery for `exists_in`: a read that starts from the table that refers.
///
/// `T` is the table that the subquery starts from.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not read `{T}`, the table that refers",
    label = "expected a read of `{T}`",
    note = "`orders::customer_id.exists_in(Order::select(&scope))` keeps the customers to whom an order refers"
)]
pub trait ExistsSource<T> {
    #[doc(hidden)]
    fn into_exists(self) -> Subquery;
}

impl<T: Table> ExistsSource<T> for Select<'_, T> {
    fn into_exists(self) -> Subquery {
        Subquery { scope: Some(self.scope.clone()), select: self.ast, column: None }
    }
}

impl<T: Table> ExistsSource<T> for Draft<'_, T> {
    fn into_exists(self) -> Subquery {
        Subquery { scope: None, select: self.ast, column: None }
    }
}

/// A read of one row by its key.
#[must_use = "a query does nothing until it is run: `.fetch_optional(&db).await?`"]
pub struct Find<'s, T: Table> {
    pub(crate) scope: &'s TenantScope,
    pub(crate) key: T::Key,
    pub(crate) for_update: bool,
}

impl<T: Table> fmt::Debug for Find<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Find")
            .field("scope", self.scope)
            .field("table", &T::definition().name())
            .finish_non_exhaustive()
    }
}

impl<'s, T: Table> Find<'s, T> {
    /// A read of the row with this key; what `Order::find(&scope, id)` calls.
    pub const fn new(scope: &'s TenantScope, key: T::Key) -> Self {
        Self { scope, key, for_update: false }
    }

    /// Locks the row until the transaction ends; see [`Select::for_update`].
    pub fn for_update(mut self) -> Self {
        self.for_update = true;
        self
    }
}

impl<T: Table> Find<'_, T> {
    /// The values of the read: the organization, then the key.
    pub(crate) fn binds(
        &self,
        key: &[&'static ColumnDefinition],
        binds: &mut impl Sink,
    ) -> Result<()> {
        let table = T::definition();
        if table.tenant_column().is_some() {
            binds.push(Bind::Organization);
        }
        let given = self.key.encode(key, |value, column| {
            value.accept(table.name(), column)?;
            binds.push(Bind::Value(value));
            Ok(())
        });
        given.map_err(|error| error.at_table(table.name()))
    }

    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn rendered(&self, renderer: Renderer<'_, Binds>) -> Result<Rendered> {
        let mut binds = Binds::new();
        let table = T::definition();
        let key: Vec<_> = table.key_positions().filter_map(|at| table.column(at)).collect();
        self.binds(&key, &mut binds)?;
        Ok(Rendered { sql: Sql::Once(renderer.find(T::definition(), self.for_update)?), binds })
    }
}

impl<F, V> Aggregate<F, V> {
    /// Ascending by this aggregate, in a grouped read.
    pub fn asc(self) -> OrderBy<F> {
        OrderBy::new(OrderKey::Aggregate(self.aggregate), false)
    }

    /// Descending by this aggregate, in a grouped read.
    pub fn desc(self) -> OrderBy<F> {
        OrderBy::new(OrderKey::Aggregate(self.aggregate), true)
    }
}
