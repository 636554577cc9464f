//! The runs of cross-tenant reads and of writes to global tables.

use super::{CrossTenantAuthority, DeleteGlobal, InsertGlobal, SelectAcross, UpdateGlobal};
use crate::database::{Actor, Database, Executor, Run, delete, update};
use crate::error::{Error, Result};
use crate::id::OrganizationId;
use crate::query::{NamesRows, Output, Reach, SelectAst, Sources};
use crate::table::{GlobalTable, RowReader, TenantTable, read_organization};

fn require_database<'r>(run: &'r Run<'_>) -> Result<&'r Database> {
    match run {
        Run::Database(database) => Ok(database),
        Run::Transaction(_) => Err(Error::misuse(
            "cross-tenant work runs on the Database, not in a transaction of one organization",
        )),
    }
}

const fn no_rows(_: &mut RowReader<'_>) -> Result<()> {
    Ok(())
}

impl<T: TenantTable> SelectAcross<'_, T> {
    /// Reads the rows with their organizations, after the use is written down.
    ///
    /// # Errors
    /// `Unconfigured` where the Database does not accept cross-tenant authority, `Unavailable`
    /// where its use cannot be recorded, `Misuse` in an organization's transaction.
    pub async fn fetch_all<'e>(
        self,
        executor: impl Executor<'e>,
    ) -> Result<Vec<(OrganizationId, T)>> {
        let (run, table) = (executor.lower(), T::definition());
        let database = require_database(&run)?;
        // The trait says so too, but can be implemented by hand over another table's definition.
        if table.tenant_column().is_none() {
            return Err(Error::misuse("a global table has no organizations").at_table(table.name()));
        }
        read_across(database, self.authority, self.ast).await
    }
}

/// Rows of every organization, each with its own, after the use is written down. What is joined is
/// of the same organization.
pub(crate) async fn read_across<S: Sources>(
    database: &Database,
    authority: &CrossTenantAuthority,
    ast: SelectAst,
) -> Result<Vec<(OrganizationId, S)>> {
    let table = ast.base;
    database.accept(authority, "select", table).await?;
    let kind = database.schema().organization_kind();
    Executor::lower(database)
        .read_all(
            Actor::Accepted,
            table,
            |context| context.renderer(Reach::Across).select(&ast, Output::Rows),
            |row| {
                let organization = read_organization(row, table, kind)?;
                row.seek(0);
                Ok((organization, S::read(row)?))
            },
        )
        .await
}

/// The first row of one organization, where no scope is at hand, after the use is written down.
/// The predicate and the witness hold as under a scope.
pub(crate) async fn read_in<S: Sources>(
    database: &Database,
    authority: &CrossTenantAuthority,
    organization: &OrganizationId,
    ast: SelectAst,
) -> Result<Option<S>> {
    let table = ast.base;
    database.accept(authority, "select", table).await?;
    Executor::lower(database)
        .read_first(
            Actor::AcceptedIn(organization),
            table,
            |context| context.renderer(Reach::Named).select(&ast, Output::Rows),
            S::read,
        )
        .await
}

/// The rows of a global table, where no scope is at hand, after the use is written down.
pub(crate) async fn read_global<T: GlobalTable>(
    database: &Database,
    authority: &CrossTenantAuthority,
) -> Result<Vec<T>> {
    let (run, table) = (Executor::lower(database), T::definition());
    database.accept(authority, "select", table).await?;
    let ast = SelectAst::new(table);
    run.read_all(
        Actor::Accepted,
        table,
        |context| context.renderer(Reach::Across).select(&ast, Output::Rows),
        <T as Sources>::read,
    )
    .await
}

impl<T: GlobalTable> InsertGlobal<'_, T> {
    /// Inserts the rows, after the use is written down.
    ///
    /// # Errors
    /// `Conflict` for a key or unique values that exist, `NotFound` for a reference to a row that
    /// does not, `Invalid` for values that the store cannot hold; `Unconfigured` and `Unavailable`
    /// as for [`SelectAcross::fetch_all`].
    pub async fn execute<'e>(self, executor: impl Executor<'e>) -> Result<u64> {
        let (run, table) = (executor.lower(), T::definition());
        require_database(&run)?.accept(self.authority, "insert", table).await?;
        let (affected, _) = run.insert(Actor::Accepted, table, self.ast, false, no_rows).await?;
        Ok(affected)
    }
}

impl<T: GlobalTable, R> UpdateGlobal<'_, T, R> {
    /// Updates the rows, after the use is written down; answers how many there were.
    ///
    /// # Errors
    /// As for [`InsertGlobal::execute`].
    pub async fn execute<'e>(self, executor: impl Executor<'e>) -> Result<u64>
    where
        R: NamesRows,
    {
        let run = executor.lower();
        require_database(&run)?.accept(self.authority, "update", T::definition()).await?;
        update::<T, _>(run, Actor::Accepted, &self.ast, false, no_rows).await.map(|(rows, _)| rows)
    }
}

impl<T: GlobalTable, R> DeleteGlobal<'_, T, R> {
    /// Deletes the rows, after the use is written down; answers how many there were.
    ///
    /// # Errors
    /// `Conflict` for a row that others refer to; otherwise as for [`InsertGlobal::execute`].
    pub async fn execute<'e>(self, executor: impl Executor<'e>) -> Result<u64>
    where
        R: NamesRows,
    {
        let run = executor.lower();
        require_database(&run)?.accept(self.authority, "delete", T::definition()).await?;
        delete::<T, _>(run, Actor::Accepted, self.filter.as_ref(), false, no_rows)
            .await
            .map(|(rows, _)| rows)
    }
}
