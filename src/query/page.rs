//! Keyset pages with sealed cursors.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::select::Select;
use crate::error::Error;

/// Where a page ends and the next begins: opaque, sealed, and good for one organization and one
/// query shape.
///
/// # Security
/// A cursor holds column values, so it is encrypted, and it is bound to organization, tables, order
/// and filter shape. One that was edited, made for another organization, or used with another query
/// is [`ErrorKind::Invalid`](crate::ErrorKind::Invalid); the three cannot be told apart.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub(crate) String);

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cursor([sealed])")
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Cursor {
    type Err = Error;

    /// Takes any text; whether it is a cursor is decided when a page is read with it.
    fn from_str(text: &str) -> Result<Self, Error> {
        Ok(Self(text.to_owned()))
    }
}

/// A read of one page.
#[must_use = "a query does nothing until it is run: `.fetch(&db).await?`"]
pub struct Paged<'s, S> {
    pub(crate) select: Select<'s, S>,
    pub(crate) cursor: Option<Cursor>,
    pub(crate) rows: u32,
}

impl<S> fmt::Debug for Paged<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Paged")
            .field("select", &self.select)
            .field("cursor", &self.cursor)
            .field("rows", &self.rows)
            .finish()
    }
}

impl<'s, S> Paged<'s, S> {
    pub(crate) const fn new(select: Select<'s, S>, cursor: Option<Cursor>, rows: u32) -> Self {
        Self { select, cursor, rows }
    }
}

/// One page of rows.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Page<S> {
    /// The rows.
    pub rows: Vec<S>,
    /// Where the next page begins; `None` after the last row.
    pub next: Option<Cursor>,
}
