//! The one door through which SQL made at run time reaches sqlx.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the one file in which SQL is declared safe"
)]

use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

use crate::query::Sql;

/// A rendered statement: its identifiers come from declarations, its values are bound.
pub(crate) fn rendered(sql: Sql) -> SqlStr {
    match sql {
        Sql::Once(sql) => AssertSqlSafe(sql).into_sql_str(),
        Sql::Shared(sql) => AssertSqlSafe(sql).into_sql_str(),
    }
}

/// DDL of the declarations, and statements of the session made of numbers and of identifiers that
/// [`OrganizationId`](crate::OrganizationId) has checked.
pub(crate) fn own(sql: impl Into<String>) -> SqlStr {
    AssertSqlSafe(sql.into()).into_sql_str()
}
