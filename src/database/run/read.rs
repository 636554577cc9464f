//! Reads.

use std::sync::Arc;

use super::{Actor, Binder, Context, Executor, RowStream, Run};
use crate::error::{Error, Result};
use crate::query::{
    Aggregated, Arguments, Bind, Columns, Find, GroupedAggregates, Output, Prepared, Projection,
    Reach, Rendered, Select, SelectAst, Sink as _, Sources, Sql,
};
use crate::scope::TenantScope;
use crate::table::{RowReader, Table, TableDefinition};

/// The first row of an ordered read is a read of one row.
fn first_of(mut ast: SelectAst) -> SelectAst {
    ast.limit = Some(ast.limit.map_or(1, |limit| limit.min(1)));
    ast
}

pub(super) fn require_transaction(run: &Run<'_>, for_update: bool) -> Result<()> {
    if for_update && matches!(run, Run::Database(_)) {
        return Err(Error::misuse(
            "`for_update` holds its lock for a transaction: run it on `&mut tx`",
        ));
    }
    Ok(())
}

impl<S: Sources> Select<'_, S> {
    /// Reads all rows.
    ///
    /// # Errors
    /// `Denied` for a revoked scope, `Misuse` for a statement that mixes organizations, names
    /// unregistered tables or runs in another organization's transaction, `Invalid` for values
    /// that the store cannot hold, `Incident` when a witness does not hold, `Unavailable` and
    /// `Corrupt` for the store's own faults.
    pub async fn fetch_all<'e>(self, executor: impl Executor<'e>) -> Result<Vec<S>> {
        let run = executor.lower();
        require_transaction(&run, self.ast.for_update)?;
        let (scope, ast) = (self.scope, self.ast);
        run.read_all(
            Actor::Scope(scope),
            ast.base,
            |context| context.renderer(Reach::Scope(scope)).select(&ast, Output::Rows),
            S::read,
        )
        .await
    }

    /// Reads the first row in the order asked for, or by key.
    ///
    /// # Errors
    /// As for [`fetch_all`](Self::fetch_all).
    pub async fn fetch_optional<'e>(self, executor: impl Executor<'e>) -> Result<Option<S>> {
        let run = executor.lower();
        require_transaction(&run, self.ast.for_update)?;
        let (scope, ast) = (self.scope, first_of(self.ast));
        run.read_first(
            Actor::Scope(scope),
            ast.base,
            |context| context.renderer(Reach::Scope(scope)).select(&ast, Output::Rows),
            S::read,
        )
        .await
    }

    /// Reads the first row, which must exist.
    ///
    /// # Errors
    /// `NotFound` where there is none, whatever other organizations hold; otherwise as for
    /// [`fetch_all`](Self::fetch_all).
    pub async fn fetch_one<'e>(self, executor: impl Executor<'e>) -> Result<S> {
        let table = self.ast.base.name();
        self.fetch_optional(executor).await?.ok_or_else(|| Error::row_not_found(table))
    }

    /// Reads the rows as a stream, in memory of a few rows.
    ///
    /// A stream on `&db` keeps a reading connection until it ends or is dropped.
    pub fn fetch<'e>(self, executor: impl Executor<'e>) -> RowStream<'e, S> {
        let run = executor.lower();
        let (scope, ast) = (self.scope.clone(), self.ast);
        let locks = require_transaction(&run, ast.for_update);
        run.read_stream(
            scope,
            ast.base,
            move |context, scope| {
                locks?;
                context.renderer(Reach::Scope(scope)).select(&ast, Output::Rows)
            },
            S::read,
        )
    }

    /// Counts the rows.
    ///
    /// # Errors
    /// As for [`fetch_all`](Self::fetch_all).
    pub async fn count<'e>(self, executor: impl Executor<'e>) -> Result<i64> {
        let (scope, ast) = (self.scope, self.ast);
        let tables = ast.all_witnessed();
        let counted = executor
            .lower()
            .read_first(
                Actor::Scope(scope),
                ast.base,
                |context| context.renderer(Reach::Scope(scope)).count(&ast),
                |row| read_count(row, &tables),
            )
            .await?;
        counted.ok_or_else(|| Error::internal("a count returned no row"))
    }

    /// Whether there is a row.
    ///
    /// # Errors
    /// As for [`fetch_all`](Self::fetch_all).
    pub async fn exists<'e>(self, executor: impl Executor<'e>) -> Result<bool> {
        let (scope, ast) = (self.scope, self.ast);
        let tables = ast.all_witnessed();
        let counted = executor
            .lower()
            .read_first(
                Actor::Scope(scope),
                ast.base,
                |context| context.renderer(Reach::Scope(scope)).exists(&ast),
                |row| read_count(row, &tables),
            )
            .await?;
        Ok(counted.is_some_and(|count| count > 0))
    }
}

fn read_count(row: &mut RowReader<'_>, tables: &[&'static TableDefinition]) -> Result<i64> {
    aggregate_witnesses(row, tables)?;
    row.read_integer()
}

fn aggregate_witnesses(row: &mut RowReader<'_>, tables: &[&'static TableDefinition]) -> Result<()> {
    tables.iter().try_for_each(|table| row.aggregate_witness(table))
}

impl<T: Table> Find<'_, T> {
    /// Reads the row, or `None` where this organization has none with this key.
    ///
    /// # Errors
    /// As for [`Select::fetch_all`].
    pub async fn fetch_optional<'e>(self, executor: impl Executor<'e>) -> Result<Option<T>> {
        let run = executor.lower();
        require_transaction(&run, self.for_update)?;
        run.read_first(
            Actor::Scope(self.scope),
            T::definition(),
            |context| find(context, &self),
            <T as Sources>::read,
        )
        .await
    }

    /// Reads the row, which must exist.
    ///
    /// # Errors
    /// `NotFound` where this organization has none with this key, whatever others have; otherwise
    /// as for [`Select::fetch_all`].
    pub async fn fetch_one<'e>(self, executor: impl Executor<'e>) -> Result<T> {
        self.fetch_optional(executor)
            .await?
            .ok_or_else(|| Error::row_not_found(T::definition().name()))
    }
}

/// A read by key has one shape for each table, rendered once. One that locks is rendered anew.
pub(super) fn find<'c, T: Table>(
    context: Context<'c>,
    find: &Find<'_, T>,
) -> Result<Rendered<Binder<'c>>> {
    let table = T::definition();
    let (_, registered) = context.schema.registered(table)?;
    let [plain, walled] = &registered.find_sql;
    let known = if context.prologue.is_empty() { plain } else { walled };
    let render = || context.shape(Reach::Scope(find.scope)).find(table, find.for_update);
    let sql = match known.get() {
        _ if find.for_update => Sql::Once(render()?),
        Some(sql) => Sql::Shared(Arc::clone(sql)),
        None => {
            let sql = Arc::from(render()?);
            Sql::Shared(Arc::clone(known.get_or_init(|| sql)))
        }
    };
    let mut binds = context.binder();
    binds.reserve(4);
    if !context.prologue.is_empty() {
        binds.push(Bind::Organization);
    }
    find.binds(&registered.key, &mut binds)?;
    Ok(Rendered { sql, binds })
}

impl<O: Send, A: Send + Sync> Prepared<O, A> {
    /// Reads all rows.
    ///
    /// # Errors
    /// As for [`Select::fetch_all`].
    pub async fn fetch_all<'e>(
        &self,
        scope: &TenantScope,
        arguments: impl Arguments<A>,
        executor: impl Executor<'e>,
    ) -> Result<Vec<O>> {
        let run = executor.lower();
        require_transaction(&run, self.for_update())?;
        run.read_all(
            Actor::Scope(scope),
            self.base(),
            |context| {
                self.rendered(
                    context.dialect(),
                    context.schema,
                    context.prologue,
                    arguments,
                    context.binder(),
                )
            },
            |row| self.read(row),
        )
        .await
    }

    /// Reads the first row.
    ///
    /// # Errors
    /// As for [`Select::fetch_all`].
    pub async fn fetch_optional<'e>(
        &self,
        scope: &TenantScope,
        arguments: impl Arguments<A>,
        executor: impl Executor<'e>,
    ) -> Result<Option<O>> {
        let run = executor.lower();
        require_transaction(&run, self.for_update())?;
        run.read_first(
            Actor::Scope(scope),
            self.base(),
            |context| {
                self.rendered(
                    context.dialect(),
                    context.schema,
                    context.prologue,
                    arguments,
                    context.binder(),
                )
            },
            |row| self.read(row),
        )
        .await
    }

    /// Reads the first row, which must exist.
    ///
    /// # Errors
    /// `NotFound` where there is none; otherwise as for [`Select::fetch_all`].
    pub async fn fetch_one<'e>(
        &self,
        scope: &TenantScope,
        arguments: impl Arguments<A>,
        executor: impl Executor<'e>,
    ) -> Result<O> {
        self.fetch_optional(scope, arguments, executor)
            .await?
            .ok_or_else(|| Error::row_not_found(self.base().name()))
    }
}

impl<S: Sources, C: Columns<S, I>, I> Projection<'_, S, C, I> {
    /// Reads all rows.
    ///
    /// # Errors
    /// As for [`Select::fetch_all`].
    pub async fn fetch_all<'e>(self, executor: impl Executor<'e>) -> Result<Vec<C::Output>> {
        let run = executor.lower();
        let (scope, ast, columns) = (self.query.scope, self.query.ast, self.columns);
        require_transaction(&run, ast.for_update)?;
        run.read_all(
            Actor::Scope(scope),
            ast.base,
            |context| context.renderer(Reach::Scope(scope)).select(&ast, Output::Columns(&columns)),
            |row| {
                let absent = S::witness(row)?;
                C::read(row, Some(absent), &columns)
            },
        )
        .await
    }

    /// Reads the first row.
    ///
    /// # Errors
    /// As for [`Select::fetch_all`].
    pub async fn fetch_optional<'e>(
        self,
        executor: impl Executor<'e>,
    ) -> Result<Option<C::Output>> {
        let run = executor.lower();
        let (scope, ast, columns) = (self.query.scope, first_of(self.query.ast), self.columns);
        require_transaction(&run, ast.for_update)?;
        run.read_first(
            Actor::Scope(scope),
            ast.base,
            |context| context.renderer(Reach::Scope(scope)).select(&ast, Output::Columns(&columns)),
            |row| {
                let absent = S::witness(row)?;
                C::read(row, Some(absent), &columns)
            },
        )
        .await
    }

    /// Reads the first row, which must exist.
    ///
    /// # Errors
    /// `NotFound` where there is none; otherwise as for [`Select::fetch_all`].
    pub async fn fetch_one<'e>(self, executor: impl Executor<'e>) -> Result<C::Output> {
        let table = self.query.ast.base.name();
        self.fetch_optional(executor).await?.ok_or_else(|| Error::row_not_found(table))
    }
}

impl<O: Send> Aggregated<'_, O> {
    /// Computes the aggregates.
    ///
    /// # Errors
    /// `Invalid` for an integer sum beyond 64 bits; otherwise as for [`Select::fetch_all`].
    pub async fn fetch_one<'e>(self, executor: impl Executor<'e>) -> Result<O> {
        let (scope, ast, aggregates, read) = (self.scope, self.ast, self.aggregates, self.read);
        let tables = ast.all_witnessed();
        let row = executor
            .lower()
            .read_first(
                Actor::Scope(scope),
                ast.base,
                |context| {
                    context
                        .renderer(Reach::Scope(scope))
                        .select(&ast, Output::Aggregates(&aggregates))
                },
                |row| {
                    aggregate_witnesses(row, &tables)?;
                    row.aggregates_of(ast.base);
                    read(row, &aggregates)
                },
            )
            .await?;
        row.ok_or_else(|| Error::internal("an aggregate returned no row"))
    }
}

impl<S: Sources, G: Send, O: Send> GroupedAggregates<'_, S, G, O> {
    /// Reads all groups, each with its aggregates.
    ///
    /// # Errors
    /// `Invalid` for an integer sum beyond 64 bits; otherwise as for [`Select::fetch_all`].
    pub async fn fetch_all<'e>(self, executor: impl Executor<'e>) -> Result<Vec<(G, O)>> {
        let (scope, ast, aggregates) = (self.scope, self.ast, self.aggregates);
        let (read_group, read) = (self.read_group, self.read);
        let tables = ast.all_witnessed();
        executor
            .lower()
            .read_all(
                Actor::Scope(scope),
                ast.base,
                |context| {
                    context.renderer(Reach::Scope(scope)).select(&ast, Output::Groups(&aggregates))
                },
                |row| {
                    aggregate_witnesses(row, &tables)?;
                    let group = read_group(row, None, &ast.groups)?;
                    row.aggregates_of(ast.base);
                    Ok((group, read(row, &aggregates)?))
                },
            )
            .await
    }
}

impl SelectAst {
    fn all_witnessed(&self) -> Vec<&'static TableDefinition> {
        self.tables().filter(|table| table.tenant_column().is_some()).collect()
    }
}
