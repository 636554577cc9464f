//! Updates and deletes. Neither runs until it says which rows it means.

use std::fmt;
use std::marker::PhantomData;

use super::ast::{ColumnRef, Op, Predicate, Term};
use super::insert::{Returning, column_of};
use super::predicate::{Assignment, Filter};
use super::select::Draft;
use super::sources::Within;
use crate::scope::TenantScope;
use crate::table::{Column, ColumnKind, OTHER_KEY, Table, TableKey, TenantTable};

/// A write that does not say yet which rows it means.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "never a value")]
pub enum Unrestricted {}

/// A write that says which rows it means.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "never a value")]
pub enum Restricted {}

/// That a write says which rows it means.
#[diagnostic::on_unimplemented(
    message = "this update or delete does not say which rows it means",
    label = "no rows named before this call",
    note = "name them first: `.filter(…)`, `.key(…)`, or `.all_rows()` for every row of the organization"
)]
pub trait NamesRows {}

impl NamesRows for Restricted {}

#[derive(Debug)]
pub(crate) struct UpdateAst {
    pub(crate) set: Vec<(ColumnRef, Term)>,
    pub(crate) filter: Option<Predicate>,
}

pub(crate) fn add_filter(target: &mut Option<Predicate>, predicate: Predicate) {
    *target = Some(match target.take() {
        Some(filter) => filter.and(predicate),
        None => predicate,
    });
}

/// The condition that a row has this key.
pub(crate) fn key_predicate<T: Table>(key: &T::Key) -> Predicate {
    let table = T::definition();
    let columns: Vec<_> = table.key_positions().filter_map(|at| table.column(at)).collect();
    let mut values = Vec::with_capacity(columns.len());
    let given = key.encode(&columns, |value, _| {
        values.push(value);
        Ok(())
    });
    if given.is_err() {
        return Predicate::Refused(OTHER_KEY);
    }
    let equals = table.key_positions().zip(values).map(|(position, value)| {
        let column = ColumnRef { table, position, occurrence: None };
        Predicate::Compare(column, Op::Eq, Term::Value(value))
    });
    Predicate::All(equals.collect())
}

/// An update of rows of one organization.
///
/// Key columns can be set: a changed key stays inside the organization.
#[must_use = "an update does nothing until it is run: `.execute(&db).await?`"]
pub struct Update<'s, T, R> {
    pub(crate) scope: &'s TenantScope,
    pub(crate) ast: UpdateAst,
    marker: PhantomData<fn() -> (T, R)>,
}

/// An update that is being drafted inside a `prepare_update`.
#[must_use = "the closure returns its draft"]
pub struct UpdateDraft<'d, T, R> {
    pub(crate) ast: UpdateAst,
    brand: PhantomData<fn(&'d ()) -> &'d ()>,
    marker: PhantomData<fn() -> (T, R)>,
}

/// A delete that is being drafted inside a `prepare_delete`.
#[must_use = "the closure returns its draft"]
pub struct DeleteDraft<'d, T, R> {
    pub(crate) filter: Option<Predicate>,
    brand: PhantomData<fn(&'d ()) -> &'d ()>,
    marker: PhantomData<fn() -> (T, R)>,
}

/// A delete of rows of one organization.
#[must_use = "a delete does nothing until it is run: `.execute(&db).await?`"]
pub struct Delete<'s, T, R> {
    pub(crate) scope: &'s TenantScope,
    pub(crate) filter: Option<Predicate>,
    marker: PhantomData<fn() -> (T, R)>,
}

impl<T: Table, R> fmt::Debug for Update<'_, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Update")
            .field("scope", self.scope)
            .field("table", &T::definition().name())
            .field("shape", &self.ast)
            .finish()
    }
}

impl<T: Table, R> fmt::Debug for UpdateDraft<'_, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpdateDraft")
            .field("table", &T::definition().name())
            .field("shape", &self.ast)
            .finish()
    }
}

impl<T: Table, R> fmt::Debug for Delete<'_, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delete")
            .field("scope", self.scope)
            .field("table", &T::definition().name())
            .field("filter", &self.filter)
            .finish()
    }
}

impl<T: Table, R> fmt::Debug for DeleteDraft<'_, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeleteDraft")
            .field("table", &T::definition().name())
            .field("filter", &self.filter)
            .finish()
    }
}

/// The ways to name rows.
macro_rules! name_rows {
    ($write:ident, $life:lifetime, $bound:ident, $restricted:ident, |$this:ident| $filter:expr) => {
        impl<$life, T: $bound, R> $write<$life, T, R> {
            /// Means the rows for which the condition holds; several calls are all required.
            pub fn filter<F, I>(mut self, filter: Filter<F>) -> $write<$life, T, Restricted>
            where
                F: Within<T, I>,
            {
                let $this = &mut self;
                add_filter($filter, filter.predicate);
                self.$restricted()
            }

            /// Means the row with this key.
            pub fn key(mut self, key: T::Key) -> $write<$life, T, Restricted> {
                let $this = &mut self;
                add_filter($filter, key_predicate::<T>(&key));
                self.$restricted()
            }

            /// Means every row of the organization.
            pub fn all_rows(self) -> $write<$life, T, Restricted> {
                self.$restricted()
            }
        }
    };
}

pub(crate) use name_rows;

name_rows!(Update, 's, TenantTable, restricted, |write| &mut write.ast.filter);
name_rows!(UpdateDraft, 'd, TenantTable, restricted, |write| &mut write.ast.filter);
name_rows!(Delete, 's, TenantTable, restricted, |write| &mut write.filter);
name_rows!(DeleteDraft, 'd, TenantTable, restricted, |write| &mut write.filter);

/// What the drafts of writes share with the drafts of reads.
macro_rules! drafts {
    ($($write:ident),*) => {$(
        impl<'d, T: TenantTable, R> $write<'d, T, R> {
            /// A draft of a read, for a subquery of this one.
            pub fn draft<O: Table>(&self) -> Draft<'d, O> {
                Draft::new()
            }
        }
    )*};
}

drafts!(UpdateDraft, DeleteDraft);

impl<'s, T: TenantTable> Update<'s, T, Unrestricted> {
    /// What `Order::update(&scope)` calls.
    pub fn new(scope: &'s TenantScope) -> Self {
        Self { scope, ast: UpdateAst { set: Vec::new(), filter: None }, marker: PhantomData }
    }
}

impl<'s, T: TenantTable, R> Update<'s, T, R> {
    /// Sets a column to a value, another column, or an expression like
    /// `orders::total_cents.add(5)`.
    pub fn set<C: ColumnKind>(
        mut self,
        column: Column<T, C>,
        value: impl Assignment<T, C::Value>,
    ) -> Self {
        let column = column_of(column);
        self.ast.set.push((column, value.assigned(column)));
        self
    }

    fn restricted(self) -> Update<'s, T, Restricted> {
        Update { scope: self.scope, ast: self.ast, marker: PhantomData }
    }
}

impl<'s, T: TenantTable, R> Update<'s, T, R> {
    /// Reads the rows as updated.
    pub fn returning(self) -> Returning<Self>
    where
        R: NamesRows,
    {
        Returning::new(self)
    }
}

impl<'d, T: TenantTable> UpdateDraft<'d, T, Unrestricted> {
    pub(crate) fn new() -> Self {
        Self {
            ast: UpdateAst { set: Vec::new(), filter: None },
            brand: PhantomData,
            marker: PhantomData,
        }
    }
}

impl<'d, T: TenantTable, R> UpdateDraft<'d, T, R> {
    /// Sets a column to a run argument, another column, or an expression.
    pub fn set<C: ColumnKind>(
        mut self,
        column: Column<T, C>,
        value: impl Assignment<T, C::Value>,
    ) -> Self {
        let column = column_of(column);
        self.ast.set.push((column, value.assigned(column)));
        self
    }

    fn restricted(self) -> UpdateDraft<'d, T, Restricted> {
        UpdateDraft { ast: self.ast, brand: PhantomData, marker: PhantomData }
    }
}

impl<'d, T: TenantTable> DeleteDraft<'d, T, Unrestricted> {
    pub(crate) const fn new() -> Self {
        Self { filter: None, brand: PhantomData, marker: PhantomData }
    }
}

impl<'d, T: TenantTable, R> DeleteDraft<'d, T, R> {
    fn restricted(self) -> DeleteDraft<'d, T, Restricted> {
        DeleteDraft { filter: self.filter, brand: PhantomData, marker: PhantomData }
    }
}

impl<'s, T: TenantTable> Delete<'s, T, Unrestricted> {
    /// What `Order::delete(&scope)` calls.
    pub const fn new(scope: &'s TenantScope) -> Self {
        Self { scope, filter: None, marker: PhantomData }
    }
}

impl<'s, T: TenantTable, R> Delete<'s, T, R> {
    fn restricted(self) -> Delete<'s, T, Restricted> {
        Delete { scope: self.scope, filter: self.filter, marker: PhantomData }
    }
}

impl<'s, T: TenantTable, R> Delete<'s, T, R> {
    /// Reads the rows that were deleted.
    pub fn returning(self) -> Returning<Self>
    where
        R: NamesRows,
    {
        Returning::new(self)
    }
}
