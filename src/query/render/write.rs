//! Reads by key, inserts, updates and deletes.

use super::{Bind, Conflict, Frame, Rendered, Renderer, Sink};
use crate::error::{Error, Result};
use crate::query::ast::{ColumnRef, Predicate, Term};
use crate::table::{ColumnDefinition, Dialect, TableDefinition, Value};

impl<B: Sink> Renderer<'_, B> {
    /// A read by key; the statement is the same for every key, which `Find` binds.
    pub(crate) fn find(
        mut self,
        table: &'static TableDefinition,
        for_update: bool,
    ) -> Result<String> {
        self.sql.push_str("SELECT ");
        self.select_list(table, 0)?;
        self.sql.push_str(" FROM ");
        self.table_as(table, 0)?;
        self.sql.push_str(" WHERE ");
        let mut written = self.organization_predicate(0, table);
        for position in table.key_positions() {
            self.and(&mut written);
            let name = table.column(position).map_or("", ColumnDefinition::name);
            self.column(0, name);
            self.sql.push_str(" = ");
            self.bind(Bind::Value(Value::Null));
        }
        if for_update && table.tenant_column().is_some() && self.dialect == Dialect::Postgres {
            self.sql.push_str(" FOR UPDATE OF t0");
        }
        Ok(self.sql)
    }

    // ---- writes

    /// `INSERT` of `rows` rows without its values; they follow the prologue's in row order, each
    /// row's organization first.
    pub(crate) fn insert(
        mut self,
        table: &'static TableDefinition,
        rows: usize,
        conflict: Option<&Conflict>,
        returning: bool,
    ) -> Result<String> {
        self.sql.push_str("INSERT INTO ");
        self.table_as(table, 0)?;
        self.sql.push_str(" (");
        let names = table
            .tenant_column()
            .into_iter()
            .chain(table.columns().iter().map(ColumnDefinition::name));
        for (index, name) in names.clone().enumerate() {
            if index > 0 {
                self.sql.push_str(", ");
            }
            self.quoted(name);
        }
        self.sql.push_str(") VALUES ");
        let columns = names.count();
        for row in 0..rows {
            self.sql.push_str(if row == 0 { "(" } else { ", (" });
            for column in 0..columns {
                if column > 0 {
                    self.sql.push_str(", ");
                }
                self.bind(Bind::Organization);
            }
            self.sql.push(')');
        }
        if let Some(conflict) = conflict {
            self.on_conflict(table, conflict)?;
        }
        if returning {
            self.returning(table)?;
        }
        Ok(self.sql)
    }

    /// INVARIANT: the conflict target contains the tenant column, and the update is guarded by the
    /// qualified predicate.
    pub(super) fn on_conflict(
        &mut self,
        table: &'static TableDefinition,
        conflict: &Conflict,
    ) -> Result<()> {
        let is_key = table.key_positions().eq(conflict.target.iter().copied());
        if !is_key && !table.uniques().contains(&&*conflict.target) {
            return Err(Error::misuse(
                "`on_conflict` names the key, or the columns of one `unique` of the declaration in its order",
            )
            .at_table(table.name()));
        }
        self.sql.push_str(" ON CONFLICT (");
        let mut written = false;
        let target = table.tenant_column().into_iter().chain(
            conflict.target.iter().filter_map(|at| table.column(*at)).map(ColumnDefinition::name),
        );
        for name in target {
            if std::mem::replace(&mut written, true) {
                self.sql.push_str(", ");
            }
            self.quoted(name);
        }
        if conflict.update.is_empty() {
            self.sql.push_str(") DO NOTHING");
            return Ok(());
        }
        self.sql.push_str(") DO UPDATE SET ");
        for (index, at) in conflict.update.iter().enumerate() {
            let Some(column) = table.column(*at) else {
                return Err(Error::misuse("a column is not of the table that is written")
                    .at_table(table.name()));
            };
            if index > 0 {
                self.sql.push_str(", ");
            }
            self.quoted(column.name());
            self.sql.push_str(" = excluded.");
            self.quoted(column.name());
        }
        let start = self.sql.len();
        self.sql.push_str(" WHERE ");
        if !self.organization_predicate(0, table) {
            self.sql.truncate(start);
        }
        Ok(())
    }

    pub(crate) fn update(
        mut self,
        table: &'static TableDefinition,
        set: &[(ColumnRef, Term)],
        filter: Option<&Predicate>,
        returning: bool,
    ) -> Result<Rendered<B>> {
        let frame = Frame::one(0, table);
        self.aliases = 1;
        if set.is_empty() {
            return Err(Error::misuse("an update sets no column").at_table(table.name()));
        }
        self.sql.push_str("UPDATE ");
        self.table_as(table, 0)?;
        for (index, (column, term)) in set.iter().enumerate() {
            let (_, definition) = frame.resolve(*column)?;
            if set.iter().take(index).any(|(earlier, _)| earlier.position == column.position) {
                return Err(Error::misuse("an update sets a column twice")
                    .at_table(table.name())
                    .at_column(definition.name()));
            }
            self.sql.push_str(if index == 0 { " SET " } else { ", " });
            self.quoted(definition.name());
            self.sql.push_str(" = ");
            self.term(&frame, *column, term)?;
        }
        self.write_conditions(&frame, table, filter)?;
        if returning {
            self.returning(table)?;
        }
        self.finish()
    }

    pub(crate) fn delete(
        mut self,
        table: &'static TableDefinition,
        filter: Option<&Predicate>,
        returning: bool,
    ) -> Result<Rendered<B>> {
        let frame = Frame::one(0, table);
        self.aliases = 1;
        self.sql.push_str("DELETE FROM ");
        self.table_as(table, 0)?;
        self.write_conditions(&frame, table, filter)?;
        if returning {
            self.returning(table)?;
        }
        self.finish()
    }

    pub(super) fn write_conditions(
        &mut self,
        frame: &Frame,
        table: &'static TableDefinition,
        filter: Option<&Predicate>,
    ) -> Result<()> {
        let start = self.sql.len();
        self.sql.push_str(" WHERE ");
        let mut written = self.organization_predicate(0, table);
        if let Some(filter) = filter {
            self.and(&mut written);
            self.user_filter(frame, filter)?;
        }
        if !written {
            self.sql.truncate(start);
        }
        Ok(())
    }

    /// SQLite knows the written table by its own name in `RETURNING`, PostgreSQL by its alias.
    pub(super) fn returning(&mut self, table: &'static TableDefinition) -> Result<()> {
        self.sql.push_str(" RETURNING ");
        if self.dialect == Dialect::Postgres {
            return self.select_list(table, 0);
        }
        let (_, registered) = self.schema.registered(table)?;
        self.sql.push_str(&registered.returning_list);
        Ok(())
    }
}
