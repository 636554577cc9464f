//! The tables of a statement as a type: `Order`, `(Order, Customer)`, `(Order, Option<Refund>)`.

use crate::error::Result;
use crate::table::{
    At, Column, ColumnKind, ColumnValue, First, Fourth, Occurrence, Position, RowReader, Second,
    Table, TableDefinition, Third, Witness,
};

use super::ast::ColumnRef;
use super::predicate::reference;

/// One table of a statement: `T`, or `Option<T>` where a left join may find no row.
pub trait Member: Sized + Send + Unpin + 'static {
    /// The table.
    type Table: Table;
    /// Whether a left join may find no row.
    const OUTER: bool;
    /// Checks the witness, then decodes.
    #[doc(hidden)]
    fn read(row: &mut RowReader<'_>) -> Result<Self>;
}

fn read_present<T: Table>(row: &mut RowReader<'_>) -> Result<T> {
    let after = row.position() + T::definition().columns().len();
    let value = T::decode(row)?;
    row.seek(after);
    Ok(value)
}

impl<T: Table> Member for T {
    type Table = T;
    const OUTER: bool = false;

    fn read(row: &mut RowReader<'_>) -> Result<Self> {
        row.witness(T::definition(), false)?;
        read_present(row)
    }
}

impl<T: Table> Member for Option<T> {
    type Table = T;
    const OUTER: bool = true;

    fn read(row: &mut RowReader<'_>) -> Result<Self> {
        match row.witness(T::definition(), true)? {
            Witness::Present => read_present(row).map(Some),
            Witness::Absent => {
                row.skip(T::definition().columns().len());
                Ok(None)
            }
        }
    }
}

/// The tables of a statement; also the type of its rows. Sealed by its members.
pub trait Sources: Sized + Send + Unpin + 'static {
    /// Whether each table may be absent, in order.
    #[doc(hidden)]
    const OUTER: &'static [bool];
    /// Decodes one row, witnesses first.
    #[doc(hidden)]
    fn read(row: &mut RowReader<'_>) -> Result<Self>;
    /// Checks the witnesses of a statement that reads no whole rows; answers which tables are
    /// absent.
    #[doc(hidden)]
    fn witness(row: &mut RowReader<'_>) -> Result<[bool; 4]>;
}

/// Reads a witness that stands alone; see [`RowReader::lone_outer_witness`].
fn lone_witness<M: Member>(row: &mut RowReader<'_>) -> Result<bool> {
    let definition = M::Table::definition();
    if !M::OUTER {
        row.witness(definition, false)?;
        return Ok(false);
    }
    let witness = row.lone_outer_witness(definition)?;
    Ok(witness == Witness::Absent)
}

impl<T: Table> Sources for T {
    const OUTER: &'static [bool] = &[false];

    fn read(row: &mut RowReader<'_>) -> Result<Self> {
        Member::read(row)
    }

    fn witness(row: &mut RowReader<'_>) -> Result<[bool; 4]> {
        Ok([lone_witness::<T>(row)?, false, false, false])
    }
}

macro_rules! sources {
    ($($member:ident),* => $($rest:expr),*) => {
        impl<$($member: Member),*> Sources for ($($member,)*) {
            const OUTER: &'static [bool] = &[$($member::OUTER),*];

            fn read(row: &mut RowReader<'_>) -> Result<Self> {
                Ok(($($member::read(row)?,)*))
            }

            fn witness(row: &mut RowReader<'_>) -> Result<[bool; 4]> {
                Ok([$(lone_witness::<$member>(row)?,)* $($rest),*])
            }
        }
    };
}

sources!(A, B => false, false);
sources!(A, B, C => false);
sources!(A, B, C, D =>);

/// A statement's tables with one more.
#[diagnostic::on_unimplemented(
    message = "a statement joins at most four tables",
    label = "one table too many",
    note = "read the rest with a second statement, or say what you ask of it as a filter: `in_subquery`, `exists_in`"
)]
pub trait Append<M> {
    /// The tables afterwards.
    type Output: Sources;
}

#[diagnostic::do_not_recommend]
impl<T: Table, M: Member> Append<M> for T {
    type Output = (T, M);
}

#[diagnostic::do_not_recommend]
impl<A: Member, B: Member, M: Member> Append<M> for (A, B) {
    type Output = (A, B, M);
}

#[diagnostic::do_not_recommend]
impl<A: Member, B: Member, C: Member, M: Member> Append<M> for (A, B, C) {
    type Output = (A, B, C, M);
}

/// That the table occurrence (or tuple of them) is among the tables `S` of a statement, at `I`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not among the tables of this statement, which reads `{S}`",
    label = "a column of another table",
    note = "use a column of the statement's own tables, or join the other table first: `.join(orders::customer_id)` from `orders` to the table referred to, `.left_join_from(orders::customer_id)` the other way"
)]
pub trait Within<S, I> {}

/// A single occurrence within the tables `S` of a statement.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not among the tables of this statement, which reads `{S}`",
    label = "a column of another table",
    note = "use a column of the statement's own tables, or join the other table first: `.join(orders::customer_id)` from `orders` to the table referred to, `.left_join_from(orders::customer_id)` the other way"
)]
pub trait OneOf<S, I>: Occurrence {
    /// What a column of `V` is read as: optional where the table may be absent.
    type Read<V: ColumnValue>: Send + 'static;
    /// The position among the statement's tables.
    #[doc(hidden)]
    const INDEX: u8;
    #[doc(hidden)]
    fn read<V: ColumnValue>(
        row: &mut RowReader<'_>,
        absent: Option<bool>,
        table: &'static TableDefinition,
        position: u16,
    ) -> Result<Self::Read<V>>;
}

/// A position whose table may be absent.
#[derive(Debug)]
pub struct Outer<N>(std::marker::PhantomData<fn() -> N>);

fn read_value<V: ColumnValue>(
    row: &mut RowReader<'_>,
    table: &'static TableDefinition,
    position: u16,
) -> Result<V> {
    match table.column(position) {
        Some(column) => row.read_column(table, column),
        None => Err(crate::Error::internal("a projection names no column")),
    }
}

macro_rules! inner {
    ([$($generics:tt)*] $occurrence:ty, $sources:ty, $index:ty) => {
        #[diagnostic::do_not_recommend]
        impl<$($generics)*> OneOf<$sources, $index> for $occurrence {
            type Read<V: ColumnValue> = V;
            const INDEX: u8 = <$index as Position>::INDEX;
            fn read<V: ColumnValue>(
                row: &mut RowReader<'_>,
                _: Option<bool>,
                table: &'static TableDefinition,
                position: u16,
            ) -> Result<V> {
                read_value::<V>(row, table, position)
            }
        }
        #[diagnostic::do_not_recommend]
        impl<$($generics)*> Within<$sources, $index> for $occurrence {}
    };
}

macro_rules! outer {
    ([$($generics:tt)*] $occurrence:ty, $sources:ty, $index:ty) => {
        #[diagnostic::do_not_recommend]
        impl<$($generics)*> OneOf<$sources, Outer<$index>> for $occurrence {
            type Read<V: ColumnValue> = Option<V>;
            const INDEX: u8 = <$index as Position>::INDEX;
            fn read<V: ColumnValue>(
                row: &mut RowReader<'_>,
                absent: Option<bool>,
                table: &'static TableDefinition,
                position: u16,
            ) -> Result<Option<V>> {
                // In a group nobody says whether the row is absent: there a NULL in a column
                // that has none says so.
                let absent = match absent {
                    Some(absent) => absent,
                    None => !V::NULLABLE && row.next_is_null()?,
                };
                if absent {
                    row.skip(1);
                    return Ok(None);
                }
                read_value::<V>(row, table, position).map(Some)
            }
        }
        #[diagnostic::do_not_recommend]
        impl<$($generics)*> Within<$sources, Outer<$index>> for $occurrence {}
    };
}

macro_rules! occurrences {
    ($([$($generics:tt)*] $sources:ty => $index:ident $form:ident;)*) => {$(
        $form!([T: Table, $($generics)*] T, $sources, $index);
        $form!([T: Table, $($generics)*] At<T, $index>, $sources, $index);
    )*};
}

occurrences! {
    [] T => First inner;
    [B: Member] (T, B) => First inner;
    [A: Member] (A, T) => Second inner;
    [A: Member] (A, Option<T>) => Second outer;
    [B: Member, C: Member] (T, B, C) => First inner;
    [A: Member, C: Member] (A, T, C) => Second inner;
    [A: Member, C: Member] (A, Option<T>, C) => Second outer;
    [A: Member, B: Member] (A, B, T) => Third inner;
    [A: Member, B: Member] (A, B, Option<T>) => Third outer;
    [B: Member, C: Member, D: Member] (T, B, C, D) => First inner;
    [A: Member, C: Member, D: Member] (A, T, C, D) => Second inner;
    [A: Member, C: Member, D: Member] (A, Option<T>, C, D) => Second outer;
    [A: Member, B: Member, D: Member] (A, B, T, D) => Third inner;
    [A: Member, B: Member, D: Member] (A, B, Option<T>, D) => Third outer;
    [A: Member, B: Member, C: Member] (A, B, C, T) => Fourth inner;
    [A: Member, B: Member, C: Member] (A, B, C, Option<T>) => Fourth outer;
}

#[diagnostic::do_not_recommend]
impl<S> Within<S, ()> for () {}

macro_rules! several {
    ($($table:ident $index:ident),*) => {
        #[diagnostic::do_not_recommend]
        impl<S, $($table: Within<S, $index>, $index),*> Within<S, ($($index,)*)> for ($($table,)*) {}
    };
}

several!(A IA, B IB);
several!(A IA, B IB, C IC);
several!(A IA, B IB, C IC, D ID);
several!(A IA, B IB, C IC, D ID, E IE);
several!(A IA, B IB, C IC, D ID, E IE, F IF);

/// Which tables of a row are absent, where the witnesses say so.
pub(crate) type Absent = Option<[bool; 4]>;

/// Columns that a statement reads instead of whole rows: one column, or a tuple of up to eight.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a column, or a tuple of columns, of the tables that this statement reads",
    label = "expected columns of `{S}`",
    note = "one column, or a tuple of two to eight: `.columns((orders::id, orders::email))`"
)]
pub trait Columns<S, I> {
    /// What a row is read as.
    type Output: Send + 'static;
    #[doc(hidden)]
    fn columns(&self) -> Vec<ColumnRef>;
    #[doc(hidden)]
    fn read(row: &mut RowReader<'_>, absent: Absent, columns: &[ColumnRef])
    -> Result<Self::Output>;
}

fn read_one<S, I, T: OneOf<S, I>, C: ColumnKind>(
    row: &mut RowReader<'_>,
    absent: Absent,
    column: Option<&ColumnRef>,
) -> Result<T::Read<C::Value>> {
    let Some(column) = column else {
        return Err(crate::Error::internal("a projection lost a column"));
    };
    let absent = absent.and_then(|absent| absent.get(usize::from(T::INDEX)).copied());
    T::read::<C::Value>(row, absent, column.table, column.position)
}

impl<S, I, T: OneOf<S, I>, C: ColumnKind> Columns<S, I> for Column<T, C> {
    type Output = T::Read<C::Value>;

    fn columns(&self) -> Vec<ColumnRef> {
        vec![reference(*self)]
    }

    fn read(
        row: &mut RowReader<'_>,
        absent: Absent,
        columns: &[ColumnRef],
    ) -> Result<Self::Output> {
        read_one::<S, I, T, C>(row, absent, columns.first())
    }
}

macro_rules! column_tuples {
    ($($table:ident $kind:ident $index:ident $at:literal),*) => {
        impl<S, $($index, $table: OneOf<S, $index>, $kind: ColumnKind),*>
            Columns<S, ($($index,)*)> for ($(Column<$table, $kind>,)*) {
            type Output = ($($table::Read<$kind::Value>,)*);

            #[expect(non_snake_case, reason = "the tuple's fields are named after their types")]
            fn columns(&self) -> Vec<ColumnRef> {
                let ($($table,)*) = self;
                vec![$(reference(*$table)),*]
            }

            fn read(
                row: &mut RowReader<'_>,
                absent: Absent,
                columns: &[ColumnRef],
            ) -> Result<Self::Output> {
                Ok(($(read_one::<S, $index, $table, $kind>(row, absent, columns.get($at))?,)*))
            }
        }
    };
}

column_tuples!(A CA IA 0);
column_tuples!(A CA IA 0, B CB IB 1);
column_tuples!(A CA IA 0, B CB IB 1, C CC IC 2);
column_tuples!(A CA IA 0, B CB IB 1, C CC IC 2, D CD ID 3);
column_tuples!(A CA IA 0, B CB IB 1, C CC IC 2, D CD ID 3, E CE IE 4);
column_tuples!(A CA IA 0, B CB IB 1, C CC IC 2, D CD ID 3, E CE IE 4, F CF IF 5);
column_tuples!(A CA IA 0, B CB IB 1, C CC IC 2, D CD ID 3, E CE IE 4, F CF IF 5, G CG IG 6);
column_tuples!(A CA IA 0, B CB IB 1, C CC IC 2, D CD ID 3, E CE IE 4, F CF IF 5, G CG IG 6, H CH IH 7);
