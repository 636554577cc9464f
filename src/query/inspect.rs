//! Statements as text, for review, golden tests and the second opinion.

use super::render::{Bind, Output, Reach, Rendered, Renderer};
use super::{
    Aggregated, Delete, Find, GroupedAggregates, Insert, Projection, Returning, Select, Sources,
    Update, opinion,
};
use crate::error::{Error, Result};
use crate::table::{Dialect, Schema, Table, TableDefinition, TenantTable};

impl opinion::Judged {
    /// The opinion on a statement's text.
    pub(crate) fn of(sql: &str, schema: &Schema, dialect: Dialect) -> Result<Self> {
        let known = |name: &str| {
            schema
                .tables()
                .find(|table| table.name().eq_ignore_ascii_case(name))
                .map(TableDefinition::tenant_column)
        };
        opinion::judge(sql, dialect, &known).map_err(|reason| {
            Error::internal(format!("the second opinion refuses a statement: {reason}"))
        })
    }

    /// The opinion on the values bound to it.
    ///
    /// `binds` says of each whether it is the organization.
    pub(crate) fn approve(&self, binds: &[bool]) -> Result<()> {
        let bound = binds.len() == self.placeholders
            && binds.iter().filter(|organization| **organization).count()
                == self.organization.len()
            && self
                .organization
                .iter()
                .all(|at| binds.get(*at).is_some_and(|organization| *organization));
        if bound {
            return Ok(());
        }
        Err(Error::internal("the second opinion refuses the values bound to a statement"))
    }
}

fn organizations(binds: &[Bind]) -> Vec<bool> {
    binds.iter().map(|bind| matches!(bind, Bind::Organization)).collect()
}

fn judged(rendered: Rendered, schema: &Schema, dialect: Dialect) -> Result<String> {
    opinion::Judged::of(rendered.sql.as_str(), schema, dialect)?
        .approve(&organizations(&rendered.binds))?;
    Ok(rendered.sql.as_str().to_owned())
}

macro_rules! to_sql {
    ($([$($generics:tt)*] $statement:ty, |$this:ident, $renderer:ident| $render:expr;)*) => {$(
        impl<$($generics)*> $statement {
            /// The statement's SQL, with placeholders for its values, after the second opinion
            /// has approved it. For review and tests; nothing runs it.
            ///
            /// # Errors
            /// `Misuse` and `Invalid` as a run would give them; `Internal` where the second
            /// opinion refuses the statement, which is a bug of this crate.
            pub fn to_sql(&self, schema: &Schema, dialect: Dialect) -> Result<String> {
                let $this = self;
                let $renderer = Renderer::new(dialect, schema, Reach::Scope($this.scope()), "", Vec::new());
                judged($render?, schema, dialect)
            }
        }
    )*};
}

to_sql! {
    [S: Sources] Select<'_, S>, |this, renderer| renderer.select(&this.ast, Output::Rows);
    [S: Sources, C, I] Projection<'_, S, C, I>, |this, renderer|
        renderer.select(&this.query.ast, Output::Columns(&this.columns));
    [O] Aggregated<'_, O>, |this, renderer|
        renderer.select(&this.ast, Output::Aggregates(&this.aggregates));
    [S: Sources, G, O] GroupedAggregates<'_, S, G, O>, |this, renderer|
        renderer.select(&this.ast, Output::Groups(&this.aggregates));
    [T: Table] Find<'_, T>, |this, renderer| this.rendered(renderer);
    [T: TenantTable] Insert<'_, T>, |this, renderer| this.ast.rendered(renderer, T::definition(), false);
    [T: TenantTable] Returning<Insert<'_, T>>, |this, renderer|
        this.statement.ast.rendered(renderer, T::definition(), true);
    [T: TenantTable, R] Update<'_, T, R>, |this, renderer|
        renderer.update(T::definition(), &this.ast.set, this.ast.filter.as_ref(), false);
    [T: TenantTable, R] Returning<Update<'_, T, R>>, |this, renderer| renderer.update(
        T::definition(), &this.statement.ast.set, this.statement.ast.filter.as_ref(), true);
    [T: TenantTable, R] Delete<'_, T, R>, |this, renderer|
        renderer.delete(T::definition(), this.filter.as_ref(), false);
    [T: TenantTable, R] Returning<Delete<'_, T, R>>, |this, renderer|
        renderer.delete(T::definition(), this.statement.filter.as_ref(), true);
}

/// The scope of each statement, by one name.
macro_rules! scopes {
    ($([$($generics:tt)*] $statement:ty, $($field:ident).+;)*) => {$(
        impl<'s, $($generics)*> $statement {
            fn scope(&self) -> &'s crate::TenantScope {
                self.$($field).+
            }
        }
    )*};
}

scopes! {
    [S] Select<'s, S>, scope;
    [S, C, I] Projection<'s, S, C, I>, query.scope;
    [O] Aggregated<'s, O>, scope;
    [S, G, O] GroupedAggregates<'s, S, G, O>, scope;
    [T: Table] Find<'s, T>, scope;
    [T] Insert<'s, T>, scope;
    [T] Returning<Insert<'s, T>>, statement.scope;
    [T, R] Update<'s, T, R>, scope;
    [T, R] Returning<Update<'s, T, R>>, statement.scope;
    [T, R] Delete<'s, T, R>, scope;
    [T, R] Returning<Delete<'s, T, R>>, statement.scope;
}
