//! Filters: what the user asks for, always one parenthesised operand below the organization
//! predicate.

use std::fmt;
use std::marker::PhantomData;

use super::ast::{ColumnRef, Op, Predicate, Sign, Term, Use};
use super::select::{ExistsSource, SubquerySource};
use crate::table::{
    Codec, Column, ColumnKind, ColumnValue, Edge, NotNull, Occurrence, Table, Value, encode_text,
};

/// How deep filters nest; SQLite's own limit on expression depth is 1,000.
const MAX_DEPTH: u16 = 100;

/// The longest LIKE pattern that every store takes, in bytes.
const MAX_PATTERN: usize = 50_000;

/// A condition on the table occurrence `T`, or on several: `Filter<(Order, Customer)>`.
///
/// Comparisons with NULL are never true, as in SQL; `eq(None)` asks for NULL.
#[must_use = "a filter does nothing until a statement takes it"]
pub struct Filter<T> {
    pub(crate) predicate: Predicate,
    pub(crate) depth: u16,
    marker: PhantomData<fn() -> T>,
}

impl<T> Clone for Filter<T> {
    fn clone(&self) -> Self {
        Self { predicate: self.predicate.clone(), depth: self.depth, marker: PhantomData }
    }
}

impl<T> fmt::Debug for Filter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.predicate.fmt(f)
    }
}

impl<T> Filter<T> {
    pub(crate) fn leaf(predicate: Predicate) -> Self {
        Self { predicate, depth: 1, marker: PhantomData }
    }

    fn nested(predicate: Predicate, depth: u16) -> Self {
        let depth = depth.saturating_add(1);
        let predicate = if depth > MAX_DEPTH {
            Predicate::Refused("a filter nests more than 100 levels deep")
        } else {
            predicate
        };
        Self { predicate, depth: depth.min(MAX_DEPTH + 1), marker: PhantomData }
    }

    /// Both conditions.
    pub fn and(self, other: Self) -> Self {
        let depth = self.depth.max(other.depth);
        Self::nested(self.predicate.and(other.predicate), depth).flattened(depth)
    }

    /// Either condition.
    pub fn or(self, other: Self) -> Self {
        let depth = self.depth.max(other.depth);
        Self::nested(self.predicate.or(other.predicate), depth).flattened(depth)
    }

    /// Chains of one connective are one list, so they grow in width and not in depth.
    fn flattened(mut self, depth: u16) -> Self {
        if let Predicate::All(items) | Predicate::Any(items) = &self.predicate
            && items.len() > 2
        {
            self.depth = depth;
        }
        self
    }
}

impl<T> std::ops::Not for Filter<T> {
    type Output = Self;

    fn not(self) -> Self {
        let depth = self.depth;
        Self::nested(Predicate::Not(Box::new(self.predicate)), depth)
    }
}

/// Several filters, of one table or of the tables of a join.
pub trait Filters {
    /// The tables concerned, as a tuple.
    type Tables;
    #[doc(hidden)]
    fn collect(self) -> (Vec<Predicate>, u16);
}

macro_rules! filters {
    ($($table:ident),*) => {
        impl<$($table),*> Filters for ($(Filter<$table>,)*) {
            type Tables = ($($table,)*);
            #[expect(non_snake_case, reason = "the tuple's fields are named after their types")]
            fn collect(self) -> (Vec<Predicate>, u16) {
                let ($($table,)*) = self;
                let depth = 0$(.max($table.depth))*;
                (vec![$($table.predicate),*], depth)
            }
        }
    };
}

filters!(A, B);
filters!(A, B, C);
filters!(A, B, C, D);
filters!(A, B, C, D, E);
filters!(A, B, C, D, E, F);

/// All of these conditions; unlike [`Filter::and`] they may concern several tables of a join.
pub fn all<F: Filters>(filters: F) -> Filter<F::Tables> {
    let (predicates, depth) = filters.collect();
    Filter::nested(Predicate::All(predicates), depth)
}

/// Any of these conditions; unlike [`Filter::or`] they may concern several tables of a join.
pub fn any<F: Filters>(filters: F) -> Filter<F::Tables> {
    let (predicates, depth) = filters.collect();
    Filter::nested(Predicate::Any(predicates), depth)
}

/// What a column of the occurrence `T` holding `V` can be compared with: a value, a column of the
/// same occurrence and type, or a [`Slot`] of a prepared shape.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be compared with a column of `{T}` that holds `{V}`",
    label = "expected a value of `{V}`, or a column of `{T}`",
    note = "text columns also take `&str`, optional columns also take the plain value or `None`; two tables are compared by a join along a reference: `.join(orders::customer_id)`"
)]
pub trait Operand<T, V> {
    #[doc(hidden)]
    fn term(self, column: ColumnRef) -> Term;
}

/// What a column can be set to: whatever it can be compared with, or an [`Expression`].
#[diagnostic::on_unimplemented(
    message = "a column of `{T}` that holds `{V}` cannot be set to `{Self}`",
    label = "expected a value of `{V}`, a column of `{T}`, or an expression on one",
    note = "text columns also take `&str`, optional columns also take the plain value or `None`"
)]
pub trait Assignment<T, V> {
    #[doc(hidden)]
    fn assigned(self, column: ColumnRef) -> Term;
}

/// A run argument of a prepared shape for a column of `V`.
#[diagnostic::on_unimplemented(
    message = "this run argument is `{Self}`, and its column holds `{V}`",
    label = "expected a value for `{V}`"
)]
pub trait Argument<V> {
    #[doc(hidden)]
    fn value(self, column: &crate::table::ColumnDefinition) -> Value;
}

macro_rules! operands {
    ($([$($generics:tt)*] $value:ty, $operand:ty, $encode:expr, $compare:expr;)*) => {$(
        #[diagnostic::do_not_recommend]
        impl<$($generics)*, T> Operand<T, $value> for $operand {
            fn term(self, column: ColumnRef) -> Term {
                Term::Value(column.encode(|column| $compare(self, column)))
            }
        }
        #[diagnostic::do_not_recommend]
        impl<$($generics)*, T> Assignment<T, $value> for $operand {
            fn assigned(self, column: ColumnRef) -> Term {
                Term::Value(column.encode(|column| $encode(self, column)))
            }
        }
        #[diagnostic::do_not_recommend]
        impl<$($generics)*> Argument<$value> for $operand {
            fn value(self, column: &crate::table::ColumnDefinition) -> Value {
                $encode(self, column)
            }
        }
    )*};
}

type Definition = crate::table::ColumnDefinition;

operands! {
    [V: ColumnValue] V, V, encoded, compared;
    [V: NotNull] Option<V>, V, encoded, compared;
    ['a] String, &'a str, text, text;
    ['a] Option<String>, &'a str, text, text;
    ['a] String, &'a String, text, text;
    ['a] Option<String>, &'a String, text, text;
}

fn encoded<V: ColumnValue>(value: V, column: &Definition) -> Value {
    // A column constant made by hand can claim another type.
    if V::SEALED != column.is_sealed() {
        return Value::Refused("sealed values and blind indexes have columns of their own types");
    }
    value.encode(column)
}

fn compared<V: ColumnValue>(value: V, column: &Definition) -> Value {
    let value = encoded(value, column);
    if V::SEALED { value.compared() } else { value }
}

fn text(value: &str, _: &Definition) -> Value {
    encode_text(value)
}

impl<T: Occurrence, C: ColumnKind> Operand<T, C::Value> for Column<T, C> {
    fn term(self, _: ColumnRef) -> Term {
        Term::Column(reference(self))
    }
}

impl<T: Occurrence, C: ColumnKind> Assignment<T, C::Value> for Column<T, C> {
    fn assigned(self, target: ColumnRef) -> Term {
        // INVARIANT: a value under an earlier key comes into no column while values are counted.
        let sealed = |column: ColumnRef| column.definition().is_some_and(Definition::is_sealed);
        if sealed(target) || sealed(reference(self)) {
            return Term::Value(Value::Refused(
                "a sealed value or blind index is not copied: seal or index anew",
            ));
        }
        Term::Column(reference(self))
    }
}

/// The place of a run argument in a prepared shape.
pub struct Slot<V> {
    index: u16,
    marker: PhantomData<fn() -> V>,
}

impl<V> Clone for Slot<V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Slot<V> {}

impl<V> fmt::Debug for Slot<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slot {}", self.index)
    }
}

impl<V> Slot<V> {
    pub(crate) const fn new(index: u16) -> Self {
        Self { index, marker: PhantomData }
    }
}

impl<T, V: ColumnValue> Operand<T, V> for Slot<V> {
    fn term(self, _: ColumnRef) -> Term {
        Term::Slot(self.index, Use::Compared)
    }
}

impl<T, V: ColumnValue> Assignment<T, V> for Slot<V> {
    fn assigned(self, _: ColumnRef) -> Term {
        Term::Slot(self.index, Use::Written)
    }
}

/// A column plus or minus a value, computed by the store; see [`Column::add`].
#[must_use = "an expression does nothing until a column is set to it"]
pub struct Expression<T, V> {
    term: Term,
    marker: PhantomData<fn() -> (T, V)>,
}

impl<T, V> fmt::Debug for Expression<T, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.term.fmt(f)
    }
}

impl<T, V> Assignment<T, V> for Expression<T, V> {
    fn assigned(self, _: ColumnRef) -> Term {
        self.term
    }
}

/// A type with exact addition in the store.
#[diagnostic::on_unimplemented(
    message = "a column of `{Self}` has no exact arithmetic in the store",
    label = "not a column of i16, i32, i64 or Decimal",
    note = "read the row, compute in Rust, and `set` the result"
)]
pub trait Number: ColumnValue {}

impl Number for i16 {}
impl Number for i32 {}
impl Number for i64 {}
impl Number for rust_decimal::Decimal {}

/// A text column's type: `String` or `Option<String>`.
#[diagnostic::on_unimplemented(
    message = "a column of `{Self}` is not text",
    label = "patterns are for columns of `String` and `Option<String>`"
)]
pub trait Text: ColumnValue {}

impl Text for String {}
impl Text for Option<String> {}

pub(crate) fn reference<T: Occurrence, C>(column: Column<T, C>) -> ColumnRef {
    ColumnRef {
        table: T::Table::definition(),
        position: column.position(),
        occurrence: T::POSITION,
    }
}

impl<T: Occurrence, C: ColumnKind> Column<T, C> {
    fn compare(self, op: Op, operand: impl Operand<T, C::Value>) -> Filter<T> {
        let column = reference(self);
        let term = operand.term(column);
        Filter::leaf(match (op, term) {
            (Op::Eq, Term::Value(Value::Null)) => Predicate::Null(column, true),
            (Op::Ne, Term::Value(Value::Null)) => Predicate::Null(column, false),
            (op, term) => Predicate::Compare(column, op, term),
        })
    }

    /// Equal; `eq(None)` asks for NULL.
    pub fn eq(self, operand: impl Operand<T, C::Value>) -> Filter<T> {
        self.compare(Op::Eq, operand)
    }

    /// Not equal; `ne(None)` asks for any value. Rows with NULL are not unequal to a value.
    pub fn ne(self, operand: impl Operand<T, C::Value>) -> Filter<T> {
        self.compare(Op::Ne, operand)
    }

    /// Less than. Text compares bytewise.
    pub fn lt(self, operand: impl Operand<T, C::Value>) -> Filter<T> {
        self.compare(Op::Lt, operand)
    }

    /// Less than or equal.
    pub fn le(self, operand: impl Operand<T, C::Value>) -> Filter<T> {
        self.compare(Op::Le, operand)
    }

    /// Greater than.
    pub fn gt(self, operand: impl Operand<T, C::Value>) -> Filter<T> {
        self.compare(Op::Gt, operand)
    }

    /// Greater than or equal.
    pub fn ge(self, operand: impl Operand<T, C::Value>) -> Filter<T> {
        self.compare(Op::Ge, operand)
    }

    /// From `low` to `high`, both included.
    pub fn between(
        self,
        low: impl Operand<T, C::Value>,
        high: impl Operand<T, C::Value>,
    ) -> Filter<T> {
        let column = reference(self);
        Filter::leaf(Predicate::Between(column, low.term(column), high.term(column)))
    }

    /// One of these values; false for an empty list.
    pub fn in_list<O: Operand<T, C::Value>>(
        self,
        values: impl IntoIterator<Item = O>,
    ) -> Filter<T> {
        let column = reference(self);
        let items = values.into_iter().map(|value| value.term(column)).collect();
        Filter::leaf(Predicate::In(column, items))
    }

    /// Is NULL.
    pub fn is_null(self) -> Filter<T> {
        Filter::leaf(Predicate::Null(reference(self), true))
    }

    /// Is not NULL.
    pub fn is_not_null(self) -> Filter<T> {
        Filter::leaf(Predicate::Null(reference(self), false))
    }

    /// One of the values that the subquery reads; the subquery is scoped like every other.
    pub fn in_subquery<Q>(self, subquery: Q) -> Filter<T>
    where
        Q: SubquerySource<<C::Value as ColumnValue>::Base>,
    {
        let subquery = subquery.into_subquery();
        let depth = subquery.select.depth.saturating_add(1);
        Filter::nested(Predicate::InSubquery(reference(self), Box::new(subquery)), depth)
    }
}

impl<T: Occurrence, C: ColumnKind> Column<T, C> {
    /// Matches a pattern in which `%` stands for any text, `_` for one character, and `\` makes
    /// the next character stand for itself. Case matters.
    ///
    /// Text that a person typed belongs into [`contains`](Self::contains) and its siblings, or
    /// through [`escape_like`](super::escape_like) first.
    pub fn like(self, pattern: &str) -> Filter<T>
    where
        C::Value: Text,
    {
        let value = if pattern.len() > MAX_PATTERN {
            Value::Refused("a pattern is longer than 50,000 bytes")
        } else if pattern.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1 {
            Value::Refused("a pattern ends in a lone backslash")
        } else {
            encode_text(pattern)
        };
        Filter::leaf(Predicate::Like(reference(self), Term::Value(value)))
    }

    /// Contains this text; nothing in it is a wildcard.
    pub fn contains(self, text: &str) -> Filter<T>
    where
        C::Value: Text,
    {
        self.like(&format!("%{}%", super::escape_like(text)))
    }

    /// Begins with this text; nothing in it is a wildcard.
    pub fn starts_with(self, text: &str) -> Filter<T>
    where
        C::Value: Text,
    {
        self.like(&format!("{}%", super::escape_like(text)))
    }

    /// Ends with this text; nothing in it is a wildcard.
    pub fn ends_with(self, text: &str) -> Filter<T>
    where
        C::Value: Text,
    {
        self.like(&format!("%{}", super::escape_like(text)))
    }
}

impl<T: Occurrence, C: ColumnKind> Column<T, C> {
    /// The column's value plus `value`, for `set`. A result out of the column's range fails the
    /// statement with [`ErrorKind::Invalid`](crate::ErrorKind::Invalid).
    #[expect(clippy::should_implement_trait, reason = "a column is no number; the store adds")]
    pub fn add(self, value: C::Value) -> Expression<T, C::Value>
    where
        C::Value: Number,
    {
        self.arithmetic(Sign::Plus, &value)
    }

    /// The column's value minus `value`, for `set`.
    #[expect(clippy::should_implement_trait, reason = "a column is no number; the store subtracts")]
    pub fn sub(self, value: C::Value) -> Expression<T, C::Value>
    where
        C::Value: Number,
    {
        self.arithmetic(Sign::Minus, &value)
    }

    fn arithmetic(self, sign: Sign, value: &C::Value) -> Expression<T, C::Value> {
        let column = reference(self);
        let value = column.encode(|definition| value.encode(definition));
        Expression { term: Term::Arithmetic(column, sign, value), marker: PhantomData }
    }
}

impl<T: Occurrence, C: ColumnKind> Column<T, C>
where
    Self: Edge,
{
    /// Rows to which at least one row of `select` refers along this reference.
    ///
    /// ```
    /// # tenantry::tenant_table! { #[derive(Debug)] pub struct Customer in customers { key id: i64, name: String } }
    /// # tenantry::tenant_table! { #[derive(Debug)] pub struct Order in orders { key id: i64, customer_id: i64 => customers, total: i64 } }
    /// # fn f(scope: &tenantry::TenantScope) {
    /// let good_customers = Customer::select(scope)
    ///     .filter(orders::customer_id.exists_in(Order::select(scope).filter(orders::total.gt(100))));
    /// # let _ = good_customers;
    /// # }
    /// ```
    pub fn exists_in<Q>(self, select: Q) -> Filter<<Self as Edge>::To>
    where
        Q: ExistsSource<T::Table>,
    {
        match self.reference() {
            Some((_, edge)) => {
                let subquery = select.into_exists();
                let depth = subquery.select.depth.saturating_add(1);
                Filter::nested(
                    Predicate::Exists(edge, <Self as Edge>::To::definition(), Box::new(subquery)),
                    depth,
                )
            }
            None => Filter::leaf(Predicate::Refused(
                "a join goes along a reference that is not declared",
            )),
        }
    }
}
