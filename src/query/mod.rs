//! Statements: born from a scope, closed to raw SQL, rendered with the organization predicate in
//! every position.
//!
//! Every entry takes a [`TenantScope`](crate::TenantScope) first, every run takes an executor
//! last:
//!
//! ```
//! # tenantry::tenant_table! { #[derive(Debug)] pub struct Order in orders { key id: i64, email: String, total_cents: i64 } }
//! # async fn run(scope: tenantry::TenantScope, db: tenantry::Database) -> tenantry::Result<()> {
//! let large = Order::select(&scope)
//!     .filter(orders::email.eq("ann@example.com").and(orders::total_cents.gt(0)))
//!     .order_by(orders::total_cents.desc())
//!     .limit(50)
//!     .fetch_all(&db)
//!     .await?;
//! # let _ = large;
//! # Ok(())
//! # }
//! ```

mod aggregate;
mod ast;
mod census;
mod insert;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod inspect;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) mod opinion;
mod page;
mod predicate;
mod prepare;
mod render;
mod select;
mod sources;
mod write;

pub use aggregate::{
    Aggregate, Aggregated, Aggregates, Grouped, GroupedAggregates, Summable, count,
};
pub use insert::{ColumnsOf, Insert, OnConflict, Returning};
pub use page::{Cursor, Page, Paged};
pub use predicate::{
    Argument, Assignment, Expression, Filter, Filters, Number, Operand, Slot, Text, all, any,
};
pub use prepare::{Arguments, Prepared, PreparedDelete, PreparedUpdate, Slots};
pub use select::{
    Draft, DraftProjection, ExistsSource, Find, OrderBy, Projection, Select, SubquerySource,
};
pub use sources::{Append, Columns, Member, OneOf, Outer, Sources, Within};
pub use write::{Delete, DeleteDraft, NamesRows, Restricted, Unrestricted, Update, UpdateDraft};

pub(crate) use ast::{ColumnRef, Op, OrderKey, OrderTerm, Predicate, SelectAst, Term};
pub(crate) use census::{Census, census};
pub(crate) use insert::InsertAst;
pub(crate) use predicate::reference;
pub(crate) use prepare::unbound;
pub(crate) use render::{
    Bind, Conflict, MAX_BINDS, Output, Placeholders, Reach, Rendered, Renderer, Sink, Sql,
    order_terms,
};
pub(crate) use write::{UpdateAst, add_filter, key_predicate, name_rows};

/// Text that a person typed, so that nothing in it is a wildcard of
/// [`like`](crate::table::Column::like).
///
/// ```
/// assert_eq!(tenantry::query::escape_like("50%_"), r"50\%\_");
/// ```
#[must_use]
pub fn escape_like(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}
