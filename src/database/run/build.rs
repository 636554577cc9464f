//! Building alone, for benchmarks.

use super::batch::Batch;
use super::read::find;
use super::{Actor, Binder, Run};
use crate::database::{Database, statement};
use crate::error::Result;
use crate::query::{
    Arguments, Find, Insert, Output, Prepared, PreparedUpdate, Reach, Rendered, Select, Sink as _,
    Sources, Update,
};
use crate::scope::TenantScope;
use crate::table::{Table, TenantTable};

/// Renders and binds a statement exactly as a run does, and lets it go.
fn built(rendered: Rendered<Binder<'_>>) -> Result<usize> {
    let count = rendered.binds.count();
    let bound = statement::finish(rendered)?;
    drop(std::hint::black_box(bound));
    Ok(count)
}

macro_rules! bench_build {
    ($([$($generics:tt)*] $statement:ty, $context:ident, |$this:ident, $ctx:ident| $render:expr;)*) => {$(
        impl<$($generics)*> $statement {
            /// Builds the statement with its bound values, for benchmarks.
            #[doc(hidden)]
            pub fn bench_build(self, db: &Database) -> Result<usize> {
                let $this = self;
                db.admit($this.scope)?;
                let run = Run::Database(db);
                let $ctx = run.$context(Actor::Scope($this.scope));
                built($render?)
            }
        }
    )*};
}

bench_build! {
    [S: Sources] Select<'_, S>, read_context, |this, context|
        context.renderer(Reach::Scope(this.scope)).select(&this.ast, Output::Rows);
    [T: Table] Find<'_, T>, read_context, |this, context| find(context, &this);
    [T: TenantTable, R] Update<'_, T, R>, write_context, |this, context| context
        .renderer(Reach::Scope(this.scope))
        .update(T::definition(), &this.ast.set, this.ast.filter.as_ref(), false);
}

impl<T: TenantTable> Insert<'_, T> {
    /// Builds the statement with its bound values, for benchmarks.
    #[doc(hidden)]
    pub fn bench_build(self, db: &Database) -> Result<usize> {
        db.admit(self.scope)?;
        let actor = Actor::Scope(self.scope);
        let run = Run::Database(db);
        let context = run.write_context(actor);
        let batch = Batch { table: T::definition(), ast: &self.ast, actor, returning: false };
        drop(std::hint::black_box(batch.bound(db, context, 0, self.ast.rows)?));
        Ok(self.ast.values.len())
    }
}

impl<O, A> Prepared<O, A> {
    /// Builds the statement with its bound values, for benchmarks.
    #[doc(hidden)]
    pub fn bench_build(
        &self,
        scope: &TenantScope,
        arguments: impl Arguments<A>,
        db: &Database,
    ) -> Result<usize> {
        db.admit(scope)?;
        let run = Run::Database(db);
        let context = run.read_context(Actor::Scope(scope));
        built(self.rendered(
            context.dialect(),
            context.schema,
            context.prologue,
            arguments,
            context.binder(),
        )?)
    }
}

impl<T: TenantTable, A> PreparedUpdate<T, A> {
    /// Builds the statement with its bound values, for benchmarks.
    #[doc(hidden)]
    pub fn bench_build(
        &self,
        scope: &TenantScope,
        arguments: impl Arguments<A>,
        db: &Database,
    ) -> Result<usize> {
        db.admit(scope)?;
        let run = Run::Database(db);
        let context = run.write_context(Actor::Scope(scope));
        built(self.rendered(
            context.dialect(),
            context.schema,
            context.prologue,
            arguments,
            context.binder(),
        )?)
    }
}
