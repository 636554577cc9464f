//! What is written: inserts with their conflicts, updates and deletes.

use sqlparser::ast::{
    AssignmentTarget, ConflictTarget, Delete, Expr, FromTable, Insert, OnConflictAction, OnInsert,
    SelectItem, SetExpr, TableObject, Update, Values,
};

use super::{Clause, Judge, Relation, Source, Verdict, qualified, quoted, single};
use crate::table::Dialect;

impl Judge<'_> {
    pub(super) fn insert(&mut self, insert: &Insert) -> Verdict {
        let TableObject::TableName(name) = &insert.table else {
            return Err("INSERT writes something else than a table".to_owned());
        };
        let source =
            self.table_source(name, insert.table_alias.as_ref().map(|alias| &alias.alias))?;
        self.frames.push(vec![source.clone()]);
        self.words("INSERT INTO")?;
        self.occurrence(&source)?;

        let columns = insert.columns.iter().map(single).collect::<Verdict<Vec<_>>>()?;
        self.claim("(")?;
        self.list(&columns, |judge, column| judge.claim(&format!("\"{column}\"")))?;
        self.claim(")")?;
        only_one_tenant(&source, &columns, "the column list of INSERT")?;

        let Some(SetExpr::Values(Values { rows, .. })) =
            insert.source.as_deref().map(|query| &*query.body)
        else {
            return source.refuse("INSERT takes its rows from something else than VALUES");
        };
        self.claim("VALUES")?;
        self.list(rows, |judge, row| {
            if row.content.len() != columns.len() {
                return source.refuse("a row of VALUES is not as long as the column list");
            }
            let mut names = columns.iter();
            judge.claim("(")?;
            judge.list(&row.content, |judge, value| match names.next() {
                Some(name) if source.is_tenant(name) => judge.organization(value),
                _ => judge.placeholder(value).map(drop),
            })?;
            judge.claim(")")
        })?;
        if let Some(on) = &insert.on {
            self.conflict(&source, on)?;
        }
        self.returning(&source, insert.returning.as_deref())
    }

    fn conflict(&mut self, source: &Source, on: &OnInsert) -> Verdict {
        let OnInsert::OnConflict(conflict) = on else {
            return source.refuse("INSERT has a conflict clause that is not understood");
        };
        let Some(ConflictTarget::Columns(target)) = &conflict.conflict_target else {
            return source.refuse("ON CONFLICT has no columns as its target");
        };
        let names = target.iter().map(quoted).collect::<Verdict<Vec<_>>>()?;
        only_one_tenant(source, &names, "the target of ON CONFLICT")?;
        self.words("ON CONFLICT (")?;
        self.list(target, |judge, column| judge.quoted(column).map(drop))?;
        self.words(") DO")?;
        let OnConflictAction::DoUpdate(update) = &conflict.action else {
            return self.claim("NOTHING");
        };
        self.words("UPDATE SET")?;
        self.list(&update.assignments, |judge, assignment| {
            judge.target(source, &assignment.target)?;
            match qualified(&assignment.value) {
                Some(("excluded", name)) if !source.is_tenant(name) => {
                    judge.claim_column(&assignment.value)
                }
                _ => source.refuse("DO UPDATE sets a column to something else than the new row's"),
            }
        })?;
        self.restriction(source, Clause::Where, update.selection.as_ref())
    }

    pub(super) fn update(&mut self, update: &Update) -> Verdict {
        let source = self.written(&update.table)?;
        self.claim("UPDATE")?;
        self.occurrence(&source)?;
        self.claim("SET")?;
        self.list(&update.assignments, |judge, assignment| {
            judge.target(&source, &assignment.target)?;
            judge.term(&assignment.value, Clause::Set)
        })?;
        self.restriction(&source, Clause::Where, update.selection.as_ref())?;
        self.returning(&source, update.returning.as_deref())
    }

    pub(super) fn delete(&mut self, delete: &Delete) -> Verdict {
        let FromTable::WithFromKeyword(from) = &delete.from else {
            return Err("DELETE has no FROM".to_owned());
        };
        let [table] = from.as_slice() else {
            return Err("DELETE names more than one table".to_owned());
        };
        let source = self.written(table)?;
        self.words("DELETE FROM")?;
        self.occurrence(&source)?;
        self.restriction(&source, Clause::Where, delete.selection.as_ref())?;
        self.returning(&source, delete.returning.as_deref())
    }

    /// `"column" =`, never the tenant column.
    fn target(&mut self, source: &Source, target: &AssignmentTarget) -> Verdict {
        let AssignmentTarget::ColumnName(name) = target else {
            return source.refuse("SET sets more than one column at once");
        };
        let name = single(name)?;
        if source.is_tenant(name) {
            return source.refuse("SET sets the tenant column");
        }
        self.claim(&format!("\"{name}\""))?;
        self.claim("=")
    }

    /// SQLite knows a written table by its own name here, PostgreSQL by its alias.
    fn returning(&mut self, source: &Source, items: Option<&[SelectItem]>) -> Verdict {
        let Some(items) = items else { return Ok(()) };
        self.claim("RETURNING")?;
        self.list(items, |judge, item| {
            let SelectItem::UnnamedExpr(expr) = item else {
                return source.refuse("RETURNING has an output that is not understood");
            };
            let (Expr::CompoundIdentifier(parts), Dialect::Sqlite) = (expr, judge.dialect) else {
                return judge.column(expr, Clause::Returning, true);
            };
            let ([table, column], Relation::Table(own)) = (parts.as_slice(), &source.relation)
            else {
                return source.refuse("RETURNING has a column that is not qualified");
            };
            if judge.quoted(table)? != own {
                return source.refuse("RETURNING names another table");
            }
            judge.claim(".")?;
            judge.quoted(column).map(drop)
        })
    }
}

/// The tenant column stands once among the columns, for a table that has one.
fn only_one_tenant(source: &Source, columns: &[&str], place: &str) -> Verdict {
    let count = columns.iter().filter(|column| source.is_tenant(column)).count();
    if count == usize::from(source.tenant.is_some()) {
        return Ok(());
    }
    source.refuse(&format!("{place} does not have the tenant column once"))
}
