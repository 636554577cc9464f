//! Reads of every organization's rows, and writes of global tables.

use std::fmt;
use std::marker::PhantomData;

use super::CrossTenantAuthority;
use crate::query::{
    Assignment, Filter, InsertAst, OneOf, OrderBy, Predicate, Restricted, SelectAst, Unrestricted,
    UpdateAst, Within, add_filter, key_predicate, name_rows, reference,
};
use crate::table::{Column, ColumnKind, GlobalTable, Table, TenantTable};

/// A read of the rows of every organization.
///
/// # Cross-tenant authority
/// Reads the rows of every organization in one table.
#[must_use = "a query does nothing until it is run: `.fetch_all(&db).await?`"]
pub struct SelectAcross<'a, T> {
    pub(super) authority: &'a CrossTenantAuthority,
    pub(super) ast: SelectAst,
    marker: PhantomData<fn() -> T>,
}

impl<T: Table> fmt::Debug for SelectAcross<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SelectAcross")
            .field("authority", self.authority)
            .field("shape", &self.ast)
            .finish()
    }
}

impl<'a, T: TenantTable> SelectAcross<'a, T> {
    /// What `Order::select_across(&authority)` calls.
    ///
    /// # Cross-tenant authority
    /// Reads the rows of every organization in one table.
    pub fn new(authority: &'a CrossTenantAuthority) -> Self {
        Self { authority, ast: SelectAst::new(T::definition()), marker: PhantomData }
    }

    /// Keeps the rows for which the condition holds; several calls are all required.
    pub fn filter<F, I>(mut self, filter: Filter<F>) -> Self
    where
        F: Within<T, I>,
    {
        self.ast.add_filter(filter);
        self
    }

    /// Orders the rows, after the orders already given; the organization and the key come last.
    pub fn order_by<F, I>(mut self, order: OrderBy<F>) -> Self
    where
        F: OneOf<T, I>,
    {
        self.ast.order.push(order.term);
        self
    }

    /// Reads at most this many rows.
    pub fn limit(mut self, rows: u64) -> Self {
        self.ast.limit = Some(rows);
        self
    }
}

/// An insert into a global table.
///
/// # Cross-tenant authority
/// Adds rows to what every organization reads.
#[must_use = "an insert does nothing until it is run: `.execute(&db).await?`"]
pub struct InsertGlobal<'a, T> {
    pub(super) authority: &'a CrossTenantAuthority,
    pub(super) ast: InsertAst,
    marker: PhantomData<fn() -> T>,
}

impl<T: Table> fmt::Debug for InsertGlobal<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InsertGlobal")
            .field("authority", self.authority)
            .field("table", &T::definition().name())
            .field("rows", &self.ast.rows)
            .finish()
    }
}

impl<'a, T: GlobalTable> InsertGlobal<'a, T> {
    /// What `Genre::insert_global(&authority, row)` calls.
    ///
    /// # Cross-tenant authority
    /// Adds a row to what every organization reads.
    pub fn one(authority: &'a CrossTenantAuthority, row: T) -> Self {
        Self { authority, ast: InsertAst::one(&row), marker: PhantomData }
    }

    /// What `Genre::insert_many_global(&authority, rows)` calls.
    ///
    /// # Cross-tenant authority
    /// Adds rows to what every organization reads.
    pub fn many(authority: &'a CrossTenantAuthority, rows: impl IntoIterator<Item = T>) -> Self {
        Self { authority, ast: InsertAst::many(rows), marker: PhantomData }
    }
}

/// An update of a global table.
///
/// # Cross-tenant authority
/// Changes what every organization reads.
#[must_use = "an update does nothing until it is run: `.execute(&db).await?`"]
pub struct UpdateGlobal<'a, T, R> {
    pub(super) authority: &'a CrossTenantAuthority,
    pub(super) ast: UpdateAst,
    marker: PhantomData<fn() -> (T, R)>,
}

/// A delete from a global table.
///
/// # Cross-tenant authority
/// Removes rows from what every organization reads.
#[must_use = "a delete does nothing until it is run: `.execute(&db).await?`"]
pub struct DeleteGlobal<'a, T, R> {
    pub(super) authority: &'a CrossTenantAuthority,
    pub(super) filter: Option<Predicate>,
    marker: PhantomData<fn() -> (T, R)>,
}

impl<T: Table, R> fmt::Debug for UpdateGlobal<'_, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpdateGlobal")
            .field("authority", self.authority)
            .field("table", &T::definition().name())
            .field("shape", &self.ast)
            .finish()
    }
}

impl<T: Table, R> fmt::Debug for DeleteGlobal<'_, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeleteGlobal")
            .field("authority", self.authority)
            .field("table", &T::definition().name())
            .field("filter", &self.filter)
            .finish()
    }
}

name_rows!(UpdateGlobal, 'a, GlobalTable, restricted, |write| &mut write.ast.filter);
name_rows!(DeleteGlobal, 'a, GlobalTable, restricted, |write| &mut write.filter);

impl<'a, T: GlobalTable> UpdateGlobal<'a, T, Unrestricted> {
    /// What `Genre::update_global(&authority)` calls.
    ///
    /// # Cross-tenant authority
    /// Changes what every organization reads.
    pub fn new(authority: &'a CrossTenantAuthority) -> Self {
        Self { authority, ast: UpdateAst { set: Vec::new(), filter: None }, marker: PhantomData }
    }
}

impl<'a, T: GlobalTable, R> UpdateGlobal<'a, T, R> {
    /// Sets a column.
    pub fn set<C: ColumnKind>(
        mut self,
        column: Column<T, C>,
        value: impl Assignment<T, C::Value>,
    ) -> Self {
        let column = reference(column);
        self.ast.set.push((column, value.assigned(column)));
        self
    }

    fn restricted(self) -> UpdateGlobal<'a, T, Restricted> {
        UpdateGlobal { authority: self.authority, ast: self.ast, marker: PhantomData }
    }
}

impl<'a, T: GlobalTable> DeleteGlobal<'a, T, Unrestricted> {
    /// What `Genre::delete_global(&authority)` calls.
    ///
    /// # Cross-tenant authority
    /// Removes rows from what every organization reads.
    pub const fn new(authority: &'a CrossTenantAuthority) -> Self {
        Self { authority, filter: None, marker: PhantomData }
    }
}

impl<'a, T: GlobalTable, R> DeleteGlobal<'a, T, R> {
    fn restricted(self) -> DeleteGlobal<'a, T, Restricted> {
        DeleteGlobal { authority: self.authority, filter: self.filter, marker: PhantomData }
    }
}
