//! Typed columns, and the references between tables that joins use as edges.

use std::fmt;
use std::marker::PhantomData;

use super::definition::ReferenceDefinition;
use super::value::ColumnValue;
use super::{ColumnDefinition, Table, TableDefinition};

/// The type whose associated constants are the columns of a table: `orders` for
/// `struct Order in orders`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the name of a declared table",
    label = "a reference names the table, not its row type",
    note = "after `struct Customer in customers` it is `=> customers`"
)]
pub trait Columns {
    /// The row type.
    type Table: Table;
}

/// What a [`Column`] holds: a plain value, or a reference to the key of another table.
pub trait ColumnKind: 'static {
    /// The Rust type of the field.
    type Value: ColumnValue;
}

impl<V: ColumnValue> ColumnKind for V {
    type Value = V;
}

/// The kind of a column that refers to the key of `P`, and holds `V`.
///
/// ```
/// # tenantry::tenant_table! { #[derive(Debug)] pub struct Customer in customers { key id: i64, name: String } }
/// tenantry::tenant_table! {
///     #[derive(Debug)]
///     pub struct Order in orders { key id: i64, customer_id: i64 => customers }
/// }
/// use tenantry::table::{Column, Foreign};
///
/// let edge: Column<Order, Foreign<Customer, i64>> = orders::customer_id;
/// ```
#[derive(Debug)]
pub struct Foreign<P, V>(PhantomData<fn() -> (P, V)>);

impl<P: Table, V: ColumnValue> ColumnKind for Foreign<P, V> {
    type Value = V;
}

/// Which table, and which occurrence of it in a statement, a column belongs to.
///
/// A table's own row type stands for its only occurrence; [`At`] names one of several.
pub trait Occurrence: 'static {
    /// The table.
    type Table: Table;
    /// The position among the statement's tables, where it is named.
    const POSITION: Option<u8>;
}

impl<T: Table> Occurrence for T {
    type Table = T;
    const POSITION: Option<u8> = None;
}

/// One occurrence of `T` among the tables of a statement, by position: [`First`] is the table that
/// the statement starts from, [`Second`] the first one joined.
#[derive(Debug)]
pub struct At<T, N>(PhantomData<fn() -> (T, N)>);

impl<T: Table, N: Position> Occurrence for At<T, N> {
    type Table = T;
    const POSITION: Option<u8> = Some(N::INDEX);
}

/// A position among the tables of a statement. Sealed.
pub trait Position: sealed::Sealed + 'static {
    /// Counted from 0.
    const INDEX: u8;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! positions {
    ($($(#[$doc:meta])* $name:ident = $index:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        #[expect(clippy::exhaustive_structs, reason = "a unit value that names a position")]
        pub struct $name;
        impl sealed::Sealed for $name {}
        impl Position for $name {
            const INDEX: u8 = $index;
        }
    )*};
}

positions! {
    /// The table that the statement starts from.
    First = 0;
    /// The first joined table.
    Second = 1;
    /// The second joined table.
    Third = 2;
    /// The third joined table.
    Fourth = 3;
}

/// A column of the table occurrence `T` that holds `C`.
///
/// The constants of a declaration are the only columns there are; the tenant column is none of
/// them. Comparisons such as [`eq`](Self::eq) make filters, [`asc`](Self::asc) and
/// [`desc`](Self::desc) make orders.
pub struct Column<T, C> {
    position: u16,
    marker: PhantomData<fn() -> (T, C)>,
}

impl<T, C> Clone for Column<T, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, C> Copy for Column<T, C> {}

impl<T: Occurrence, C> fmt::Debug for Column<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = T::Table::definition();
        let column = table.column(self.position).map_or("?", ColumnDefinition::name);
        write!(f, "{}.{column}", table.name())
    }
}

impl<T, C> Column<T, C> {
    /// The column at `position` of a declaration: for hand-written declarations and macros.
    ///
    /// What it names is checked against the Schema whenever it is rendered.
    #[must_use]
    pub const fn new(position: u16) -> Self {
        Self { position, marker: PhantomData }
    }

    /// The position in the declaration.
    #[must_use]
    pub const fn position(self) -> u16 {
        self.position
    }
}

impl<T: Table, C> Column<T, C> {
    /// The same column of the occurrence `N`, for statements in which the table occurs twice.
    #[must_use]
    pub fn at<N: Position>(self, _occurrence: N) -> Column<At<T, N>, C> {
        Column::new(self.position)
    }
}

/// A reference over several columns, declared with
/// `reference line (order_id, n) => order_lines;`.
pub struct Reference<T, P> {
    index: u16,
    marker: PhantomData<fn() -> (T, P)>,
}

impl<T, P> Clone for Reference<T, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, P> Copy for Reference<T, P> {}

impl<T: Table, P: Table> fmt::Debug for Reference<T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} => {}", T::definition().name(), P::definition().name())
    }
}

impl<T, P> Reference<T, P> {
    /// The reference at `index` of a declaration: for hand-written declarations and macros.
    #[must_use]
    pub const fn new(index: u16) -> Self {
        Self { index, marker: PhantomData }
    }
}

/// A declared reference from one table to another: what joins go along.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a reference to another table",
    label = "joins go along declared references",
    note = "declare the column as `customer_id: Uuid => customers`, or several columns as `reference name (a, b) => customers;`"
)]
pub trait Edge: Copy {
    /// The occurrence that refers.
    type From: Occurrence;
    /// The table referred to.
    type To: Table;
    /// Where the referring columns stand in the declaration of `From`.
    #[doc(hidden)]
    fn reference(self) -> Option<(u16, &'static ReferenceDefinition)>;
}

fn find(
    table: &'static TableDefinition,
    found: impl Fn(usize, &ReferenceDefinition) -> bool,
) -> Option<(u16, &'static ReferenceDefinition)> {
    (0u16..)
        .zip(table.references())
        .find(|(index, reference)| found(usize::from(*index), reference))
}

impl<T: Occurrence, P: Table, V: ColumnValue> Edge for Column<T, Foreign<P, V>> {
    type From = T;
    type To = P;
    fn reference(self) -> Option<(u16, &'static ReferenceDefinition)> {
        find(T::Table::definition(), |_, reference| reference.columns() == [self.position])
    }
}

impl<T: Table, P: Table> Edge for Reference<T, P> {
    type From = T;
    type To = P;
    fn reference(self) -> Option<(u16, &'static ReferenceDefinition)> {
        find(T::definition(), |index, _| index == usize::from(self.index))
    }
}
