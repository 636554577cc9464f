//! Inserts, updates and deletes.

use super::reference::Written;
use super::{Actor, Executor, Run};
use crate::error::{Error, Result};
use crate::query::{
    Arguments, Delete, Insert, NamesRows, Predicate, PreparedDelete, PreparedUpdate, Returning,
    Sources, Update, UpdateAst,
};
use crate::scope::TenantScope;
use crate::table::{ColumnDefinition, RowReader, Table, TenantTable, Value};

const fn no_rows(_: &mut RowReader<'_>) -> Result<()> {
    Ok(())
}

impl<T: TenantTable> Insert<'_, T> {
    /// Inserts the rows; answers how many were inserted or updated.
    ///
    /// # Errors
    /// `Conflict` for a key or unique values that this organization has already, `NotFound` for a
    /// reference to a row that this organization does not have (the error names the column),
    /// `Invalid` for values that the store cannot hold and for a batch without rows; a batch's
    /// error names the index of the row. Otherwise as for [`Select::fetch_all`](crate::query::Select::fetch_all).
    ///
    /// # Cancellation
    /// Dropped half-way, all rows went in or none.
    pub async fn execute<'e>(self, executor: impl Executor<'e>) -> Result<u64> {
        let run = executor.lower();
        let (affected, _) =
            run.insert(Actor::Scope(self.scope), T::definition(), self.ast, false, no_rows).await?;
        Ok(affected)
    }
}

impl<T: TenantTable> Returning<Insert<'_, T>> {
    /// Inserts the rows and reads them as stored, in the order of their keys. A row that
    /// `do_nothing` kept is not among them.
    ///
    /// # Errors
    /// As for [`Insert::execute`].
    pub async fn fetch_all<'e>(self, executor: impl Executor<'e>) -> Result<Vec<T>> {
        let Insert { scope, ast, .. } = self.statement;
        let run = executor.lower();
        let (_, rows) =
            run.insert(Actor::Scope(scope), T::definition(), ast, true, keyed::<T>).await?;
        Ok(by_key(rows))
    }

    /// Inserts a row and reads it as stored; `None` where `do_nothing` kept another.
    ///
    /// # Errors
    /// As for [`Insert::execute`].
    pub async fn fetch_optional<'e>(self, executor: impl Executor<'e>) -> Result<Option<T>> {
        Ok(self.fetch_all(executor).await?.into_iter().next())
    }

    /// Inserts a row and reads it as stored.
    ///
    /// # Errors
    /// `NotFound` where `do_nothing` kept another row; otherwise as for [`Insert::execute`].
    pub async fn fetch_one<'e>(self, executor: impl Executor<'e>) -> Result<T> {
        self.fetch_optional(executor)
            .await?
            .ok_or_else(|| Error::row_not_found(T::definition().name()))
    }
}

/// A returned row with its key, because stores return rows in the order in which they found them.
fn keyed<T: Table>(row: &mut RowReader<'_>) -> Result<(Vec<Value>, T)> {
    let value = <T as Sources>::read(row)?;
    let table = T::definition();
    let first = usize::from(table.tenant_column().is_some());
    let key = table
        .key_positions()
        .filter_map(|at| table.column(at).map(|column| (first + usize::from(at), column)))
        .map(|(at, column): (usize, &'static ColumnDefinition)| row.cell(at, column))
        .collect::<Result<_>>()?;
    Ok((key, value))
}

fn by_key<T>(mut rows: Vec<(Vec<Value>, T)>) -> Vec<T> {
    rows.sort_by(|(a, _), (b, _)| {
        a.iter()
            .zip(b)
            .map(|(a, b)| a.key_order(b))
            .find(|order| order.is_ne())
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    rows.into_iter().map(|(_, row)| row).collect()
}

pub(crate) async fn update<T: Table, O: Send>(
    run: Run<'_>,
    actor: Actor<'_>,
    ast: &UpdateAst,
    returning: bool,
    decode: impl FnMut(&mut RowReader<'_>) -> Result<O> + Send,
) -> Result<(u64, Vec<O>)> {
    let table = T::definition();
    run.write(
        actor,
        table,
        (Written::Set(table, &ast.set), returning),
        |context| {
            context.renderer(actor.reach()).update(table, &ast.set, ast.filter.as_ref(), returning)
        },
        decode,
    )
    .await
}

pub(crate) async fn delete<T: Table, O: Send>(
    run: Run<'_>,
    actor: Actor<'_>,
    filter: Option<&Predicate>,
    returning: bool,
    decode: impl FnMut(&mut RowReader<'_>) -> Result<O> + Send,
) -> Result<(u64, Vec<O>)> {
    let table = T::definition();
    run.write(
        actor,
        table,
        (Written::Deleted, returning),
        |context| context.renderer(actor.reach()).delete(table, filter, returning),
        decode,
    )
    .await
}

impl<T: TenantTable, R> Update<'_, T, R> {
    /// Updates the rows; answers how many there were.
    ///
    /// # Errors
    /// `Conflict` where the new values are taken in this organization or a row is referred to,
    /// `NotFound` for a reference to a row that this organization does not have, `Invalid` for
    /// values that the store cannot hold. Otherwise as for [`Select::fetch_all`](crate::query::Select::fetch_all).
    ///
    /// # Cancellation
    /// Dropped half-way, all rows were updated or none.
    pub async fn execute<'e>(self, executor: impl Executor<'e>) -> Result<u64>
    where
        R: NamesRows,
    {
        let actor = Actor::Scope(self.scope);
        update::<T, _>(executor.lower(), actor, &self.ast, false, no_rows)
            .await
            .map(|(rows, _)| rows)
    }
}

impl<T: TenantTable, R> Returning<Update<'_, T, R>> {
    /// Updates the rows and reads them as updated, in the order of their keys.
    ///
    /// # Errors
    /// As for [`Update::execute`](crate::query::Update::execute).
    pub async fn fetch_all<'e>(self, executor: impl Executor<'e>) -> Result<Vec<T>> {
        let statement = self.statement;
        let actor = Actor::Scope(statement.scope);
        let (_, rows) =
            update::<T, _>(executor.lower(), actor, &statement.ast, true, keyed::<T>).await?;
        Ok(by_key(rows))
    }

    /// Updates the rows and reads one; the first by key where there are several.
    ///
    /// # Errors
    /// `NotFound` where there is no such row; otherwise as for [`Update::execute`](crate::query::Update::execute).
    pub async fn fetch_one<'e>(self, executor: impl Executor<'e>) -> Result<T> {
        self.fetch_all(executor)
            .await?
            .into_iter()
            .next()
            .ok_or_else(|| Error::row_not_found(T::definition().name()))
    }
}

impl<T: TenantTable, R> Delete<'_, T, R> {
    /// Deletes the rows; answers how many there were.
    ///
    /// # Errors
    /// `Conflict` for a row that others refer to. Otherwise as for [`Select::fetch_all`](crate::query::Select::fetch_all).
    ///
    /// # Cancellation
    /// Dropped half-way, all rows were deleted or none.
    pub async fn execute<'e>(self, executor: impl Executor<'e>) -> Result<u64>
    where
        R: NamesRows,
    {
        let actor = Actor::Scope(self.scope);
        delete::<T, _>(executor.lower(), actor, self.filter.as_ref(), false, no_rows)
            .await
            .map(|(rows, _)| rows)
    }
}

impl<T: TenantTable, R> Returning<Delete<'_, T, R>> {
    /// Deletes the rows and reads what they were, in the order of their keys.
    ///
    /// # Errors
    /// As for [`Delete::execute`].
    pub async fn fetch_all<'e>(self, executor: impl Executor<'e>) -> Result<Vec<T>> {
        let statement = self.statement;
        let actor = Actor::Scope(statement.scope);
        let (_, rows) =
            delete::<T, _>(executor.lower(), actor, statement.filter.as_ref(), true, keyed::<T>)
                .await?;
        Ok(by_key(rows))
    }

    /// Deletes the rows and reads one; the first by key where there are several.
    ///
    /// # Errors
    /// `NotFound` where there is no such row; otherwise as for [`Delete::execute`](crate::query::Delete::execute).
    pub async fn fetch_one<'e>(self, executor: impl Executor<'e>) -> Result<T> {
        self.fetch_all(executor)
            .await?
            .into_iter()
            .next()
            .ok_or_else(|| Error::row_not_found(T::definition().name()))
    }
}

impl<T: TenantTable, A: Send + Sync> PreparedUpdate<T, A> {
    /// Updates the rows; answers how many there were.
    ///
    /// # Errors
    /// As for [`Update::execute`](crate::query::Update::execute).
    pub async fn execute<'e>(
        &self,
        scope: &TenantScope,
        arguments: impl Arguments<A>,
        executor: impl Executor<'e>,
    ) -> Result<u64> {
        let table = T::definition();
        let (affected, _) = executor
            .lower()
            .write(
                Actor::Scope(scope),
                table,
                (Written::Set(table, &self.ast().set), false),
                |context| {
                    self.rendered(
                        context.dialect(),
                        context.schema,
                        context.prologue,
                        arguments,
                        context.binder(),
                    )
                },
                no_rows,
            )
            .await?;
        Ok(affected)
    }
}

impl<T: TenantTable, A: Send + Sync> PreparedDelete<T, A> {
    /// Deletes the rows; answers how many there were.
    ///
    /// # Errors
    /// As for [`Delete::execute`](crate::query::Delete::execute).
    pub async fn execute<'e>(
        &self,
        scope: &TenantScope,
        arguments: impl Arguments<A>,
        executor: impl Executor<'e>,
    ) -> Result<u64> {
        let table = T::definition();
        let (affected, _) = executor
            .lower()
            .write(
                Actor::Scope(scope),
                table,
                (Written::Deleted, false),
                |context| {
                    self.rendered(
                        context.dialect(),
                        context.schema,
                        context.prologue,
                        arguments,
                        context.binder(),
                    )
                },
                no_rows,
            )
            .await?;
        Ok(affected)
    }
}
