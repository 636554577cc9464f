//! Shapes rendered once and run many times. A shape holds no value and no scope.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

use super::ast::{ColumnRef, Predicate, SelectAst, Use};
use super::predicate::{Argument, Slot};
use super::render::{Bind, Binds, Output, Reach, Rendered, Renderer, Sink, Sql};
use super::select::{Draft, DraftProjection};
use super::sources::{Columns, Sources};
use super::write::{DeleteDraft, Restricted, Unrestricted, UpdateAst, UpdateDraft};
use crate::error::{Error, Result};
use crate::table::{
    ColumnDefinition, ColumnValue, Dialect, RowReader, Schema, Table, TableDefinition, TenantTable,
    Value,
};

/// The run arguments that a `prepare` closure takes: a tuple of up to eight [`Slot`]s.
pub trait Slots {
    /// The types of the arguments.
    type Arguments: 'static;
    #[doc(hidden)]
    const COUNT: u16;
    #[doc(hidden)]
    fn slots() -> Self;
}

impl Slots for () {
    type Arguments = ();
    const COUNT: u16 = 0;
    fn slots() -> Self {}
}

/// The run arguments of a prepared shape, against the types that it takes.
#[diagnostic::on_unimplemented(
    message = "this prepared shape takes the run arguments `{A}`, not `{Self}`",
    label = "expected a tuple of values for `{A}`",
    note = "a run says the scope, then the arguments, then where: `.fetch_all(&scope, (id,), &db)`; one argument is a tuple of one"
)]
pub trait Arguments<A>: Send {
    #[doc(hidden)]
    fn value(&mut self, slot: u16, column: &ColumnDefinition) -> Value;
}

#[diagnostic::do_not_recommend]
impl Arguments<()> for () {
    fn value(&mut self, _: u16, _: &ColumnDefinition) -> Value {
        Value::Refused("a prepared shape has no run arguments")
    }
}

macro_rules! slots {
    ($($value:ident $argument:ident $index:literal),* ; $count:literal) => {
        impl<$($value: ColumnValue),*> Slots for ($(Slot<$value>,)*) {
            type Arguments = ($($value,)*);
            const COUNT: u16 = $count;
            fn slots() -> Self {
                ($(Slot::<$value>::new($index),)*)
            }
        }

        #[diagnostic::do_not_recommend]
        impl<$($value: ColumnValue, $argument: Argument<$value> + Clone + Send),*>
            Arguments<($($value,)*)> for ($($argument,)*)
        {
            #[expect(non_snake_case, reason = "the tuple's fields are named after their types")]
            fn value(&mut self, slot: u16, column: &ColumnDefinition) -> Value {
                let ($($argument,)*) = self;
                match slot {
                    $($index => Argument::<$value>::value($argument.clone(), column),)*
                    _ => Value::Refused("a prepared shape has fewer run arguments"),
                }
            }
        }
    };
}

slots!(A RA 0; 1);
slots!(A RA 0, B RB 1; 2);
slots!(A RA 0, B RB 1, C RC 2; 3);
slots!(A RA 0, B RB 1, C RC 2, D RD 3; 4);
slots!(A RA 0, B RB 1, C RC 2, D RD 3, E RE 4; 5);
slots!(A RA 0, B RB 1, C RC 2, D RD 3, E RE 4, F RF 5; 6);
slots!(A RA 0, B RB 1, C RC 2, D RD 3, E RE 4, F RF 5, G RG 6; 7);
slots!(A RA 0, B RB 1, C RC 2, D RD 3, E RE 4, F RF 5, G RG 6, H RH 7; 8);

/// A rendered shape and what it touches.
#[derive(Debug)]
struct Shape {
    dialect: Dialect,
    prologue: String,
    sql: Arc<str>,
    binds: Binds,
}

/// A shape for each way in which it was asked for: in practice one.
#[derive(Debug)]
struct Shapes {
    first: OnceLock<Shape>,
    tables: Vec<&'static TableDefinition>,
}

impl Shapes {
    const fn new(tables: Vec<&'static TableDefinition>) -> Self {
        Self { first: OnceLock::new(), tables }
    }

    fn rendered<A, B: Sink>(
        &self,
        (dialect, schema, prologue): (Dialect, &Schema, &str),
        mut arguments: impl Arguments<A>,
        mut binds: B,
        render: impl Fn() -> Result<Rendered>,
    ) -> Result<Rendered<B>> {
        let fresh;
        let shape = match self.first.get() {
            Some(shape) if shape.dialect == dialect && shape.prologue == prologue => {
                for table in &self.tables {
                    schema.registered(table)?;
                }
                shape
            }
            known => {
                let rendered = render()?;
                let shape = Shape {
                    dialect,
                    prologue: prologue.to_owned(),
                    sql: Arc::from(rendered.sql.as_str()),
                    binds: rendered.binds,
                };
                if known.is_none() {
                    self.first.get_or_init(|| shape)
                } else {
                    fresh = shape;
                    &fresh
                }
            }
        };
        binds.reserve(shape.binds.len());
        for bind in &shape.binds {
            binds.push(match bind {
                Bind::Slot(slot, used, table, column) => {
                    let Some(definition) = table.column(*column) else { return Err(unbound()) };
                    let value = arguments.value(*slot, definition);
                    let value = match used {
                        Use::Compared => value.compared(),
                        Use::Written => value,
                    };
                    value.accept(table.name(), definition)?;
                    Bind::Value(value)
                }
                Bind::Organization => Bind::Organization,
                Bind::Value(value) => Bind::Value(value.clone()),
            });
        }
        Ok(Rendered { sql: Sql::Shared(Arc::clone(&shape.sql)), binds })
    }
}

/// A read rendered once and run many times; see
/// [`Order::prepare`](crate::tenant_table).
///
/// `O` is what a row is, `A` the types of the run arguments.
pub struct Prepared<O, A> {
    ast: SelectAst,
    /// None: whole rows.
    columns: Option<Vec<ColumnRef>>,
    read: fn(&mut RowReader<'_>, &[ColumnRef]) -> Result<O>,
    shapes: Shapes,
    marker: PhantomData<fn() -> A>,
}

impl<O, A> fmt::Debug for Prepared<O, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared")
            .field("columns", &self.columns)
            .field("shape", &self.ast)
            .finish_non_exhaustive()
    }
}

impl<O, A> Prepared<O, A> {
    /// What `Order::prepare(…)` calls.
    pub fn new<T, P, F>(draft: F) -> Self
    where
        T: Table,
        O: Sources,
        P: Slots<Arguments = A>,
        F: for<'d> FnOnce(Draft<'d, T>, P) -> Draft<'d, O>,
    {
        Self::of(draft(Draft::new(), P::slots()).ast, None, |row, _| O::read(row))
    }

    /// What `Order::prepare_columns(…)` calls.
    pub fn columns<T, S, C, I, P, F>(draft: F) -> Self
    where
        T: Table,
        S: Sources,
        C: Columns<S, I, Output = O>,
        P: Slots<Arguments = A>,
        F: for<'d> FnOnce(Draft<'d, T>, P) -> DraftProjection<'d, S, C, I>,
    {
        let drafted = draft(Draft::new(), P::slots());
        Self::of(drafted.query.ast, Some(drafted.columns), |row, columns| {
            let absent = S::witness(row)?;
            C::read(row, Some(absent), columns)
        })
    }

    fn of(
        ast: SelectAst,
        columns: Option<Vec<ColumnRef>>,
        read: fn(&mut RowReader<'_>, &[ColumnRef]) -> Result<O>,
    ) -> Self {
        let tables = ast.all_tables();
        Self { ast, columns, read, shapes: Shapes::new(tables), marker: PhantomData }
    }

    /// Checks the witnesses of a row and decodes it.
    pub(crate) fn read(&self, row: &mut RowReader<'_>) -> Result<O> {
        (self.read)(row, self.columns.as_deref().unwrap_or_default())
    }

    pub(crate) const fn for_update(&self) -> bool {
        self.ast.for_update
    }

    pub(crate) const fn base(&self) -> &'static TableDefinition {
        self.ast.base
    }

    pub(crate) fn rendered<B: Sink>(
        &self,
        dialect: Dialect,
        schema: &Schema,
        prologue: &str,
        arguments: impl Arguments<A>,
        binds: B,
    ) -> Result<Rendered<B>> {
        let output = self.columns.as_deref().map_or(Output::Rows, Output::Columns);
        self.shapes.rendered((dialect, schema, prologue), arguments, binds, || {
            Renderer::new(dialect, schema, Reach::Draft, prologue, Vec::new())
                .select(&self.ast, output)
        })
    }
}

/// An update rendered once and run many times.
pub struct PreparedUpdate<T, A> {
    ast: UpdateAst,
    shapes: Shapes,
    marker: PhantomData<fn() -> (T, A)>,
}

impl<T: Table, A> fmt::Debug for PreparedUpdate<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedUpdate")
            .field("table", &T::definition().name())
            .field("shape", &self.ast)
            .finish_non_exhaustive()
    }
}

impl<T: TenantTable, A> PreparedUpdate<T, A> {
    /// What `Order::prepare_update(…)` calls.
    pub fn new<P, F>(draft: F) -> Self
    where
        P: Slots<Arguments = A>,
        F: for<'d> FnOnce(UpdateDraft<'d, T, Unrestricted>, P) -> UpdateDraft<'d, T, Restricted>,
    {
        let ast = draft(UpdateDraft::new(), P::slots()).ast;
        let shapes = Shapes::new(written::<T>(ast.filter.as_ref()));
        Self { ast, shapes, marker: PhantomData }
    }

    pub(crate) const fn ast(&self) -> &UpdateAst {
        &self.ast
    }

    pub(crate) fn rendered<B: Sink>(
        &self,
        dialect: Dialect,
        schema: &Schema,
        prologue: &str,
        arguments: impl Arguments<A>,
        binds: B,
    ) -> Result<Rendered<B>> {
        self.shapes.rendered((dialect, schema, prologue), arguments, binds, || {
            Renderer::new(dialect, schema, Reach::Draft, prologue, Vec::new()).update(
                T::definition(),
                &self.ast.set,
                self.ast.filter.as_ref(),
                false,
            )
        })
    }
}

/// A delete rendered once and run many times.
pub struct PreparedDelete<T, A> {
    filter: Option<Predicate>,
    shapes: Shapes,
    marker: PhantomData<fn() -> (T, A)>,
}

impl<T: Table, A> fmt::Debug for PreparedDelete<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedDelete")
            .field("table", &T::definition().name())
            .field("filter", &self.filter)
            .finish_non_exhaustive()
    }
}

impl<T: TenantTable, A> PreparedDelete<T, A> {
    /// What `Order::prepare_delete(…)` calls.
    pub fn new<P, F>(draft: F) -> Self
    where
        P: Slots<Arguments = A>,
        F: for<'d> FnOnce(DeleteDraft<'d, T, Unrestricted>, P) -> DeleteDraft<'d, T, Restricted>,
    {
        let filter = draft(DeleteDraft::new(), P::slots()).filter;
        let shapes = Shapes::new(written::<T>(filter.as_ref()));
        Self { filter, shapes, marker: PhantomData }
    }

    pub(crate) fn rendered<B: Sink>(
        &self,
        dialect: Dialect,
        schema: &Schema,
        prologue: &str,
        arguments: impl Arguments<A>,
        binds: B,
    ) -> Result<Rendered<B>> {
        self.shapes.rendered((dialect, schema, prologue), arguments, binds, || {
            Renderer::new(dialect, schema, Reach::Draft, prologue, Vec::new()).delete(
                T::definition(),
                self.filter.as_ref(),
                false,
            )
        })
    }
}

/// The tables of an update or delete.
fn written<T: Table>(filter: Option<&Predicate>) -> Vec<&'static TableDefinition> {
    let mut tables = vec![T::definition()];
    if let Some(filter) = filter {
        filter.tables(&mut tables);
    }
    tables
}

#[cold]
pub(crate) fn unbound() -> Error {
    Error::internal("a run argument was not bound")
}
