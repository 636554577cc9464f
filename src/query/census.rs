//! How many values of a sealed column there are: for whoever retires a key.

use super::{Aggregated, Filter, Select, count};
use crate::credential::{Bound, SealingKey};
use crate::scope::TenantScope;
use crate::table::{Column, TenantTable};

/// Counts the values of one column: those made under one key, or all.
pub(crate) type Census =
    for<'s> fn(&'s TenantScope, u16, Option<SealingKey>) -> Aggregated<'s, i64>;

pub(crate) fn census<T: TenantTable>(
    scope: &TenantScope,
    column: u16,
    key: Option<SealingKey>,
) -> Aggregated<'_, i64> {
    let column = Column::<T, Bound>::new(column);
    let filter = match key {
        None => column.is_not_null(),
        Some(key) => key
            .ranges()
            .map(|[from, to]| column.ge(from).and(column.lt(to)))
            .reduce(Filter::or)
            .unwrap_or_else(|| column.is_null()),
    };
    Select::<T>::new(scope).filter(filter).aggregate(count())
}
