//! Rows as a stream.

use std::fmt;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use futures_core::Stream;
use futures_core::stream::BoxStream;

use crate::error::Result;

/// Rows as they arrive.
///
/// The stream checks the scope and the witness of every row. When one does not hold it ends with
/// an error; rows already yielded stand.
#[must_use = "a stream does nothing until it is polled"]
pub struct RowStream<'e, T>(pub(super) BoxStream<'e, Result<T>>);

impl<T> fmt::Debug for RowStream<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowStream").finish_non_exhaustive()
    }
}

impl<T> Stream for RowStream<'_, T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}
