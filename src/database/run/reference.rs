//! Which reference a failed write broke.

use super::Actor;
use crate::database::fault::{Fault, Faulty, StoreError};
use crate::database::store::Session;
use crate::database::{Database, statement};
use crate::error::Error;
use crate::query::{
    Bind, ColumnRef, Conflict, Op, Output, Predicate, Reach, Renderer, SelectAst, Sql, Term,
};
use crate::table::{ColumnDefinition, ReferenceDefinition, TableDefinition, Value};

/// What a write wanted, to explain a broken reference.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Written<'a> {
    Row(&'static TableDefinition, &'a [Value], Option<&'a Conflict>),
    Set(&'static TableDefinition, &'a [(ColumnRef, Term)]),
    Deleted,
}

impl<'a> Written<'a> {
    fn value(&self, position: u16) -> Option<&'a Value> {
        match self {
            Self::Row(_, values, _) => values.get(usize::from(position)),
            Self::Set(_, set) => set.iter().find_map(|(column, term)| match term {
                Term::Value(value) if column.position == position => Some(value),
                _ => None,
            }),
            Self::Deleted => None,
        }
    }

    /// The column that a statement computes, if it is one. PostgreSQL says of a result outside the
    /// range of a type not whose it was; all other values are checked before they are bound.
    fn computed(&self) -> Option<String> {
        let Self::Set(_, set) = self else { return None };
        let mut computed = set.iter().filter(|(_, term)| matches!(term, Term::Arithmetic(..)));
        match (computed.next(), computed.next()) {
            (Some((column, _)), None) => {
                column.definition().map(|definition| definition.name().to_owned())
            }
            _ => None,
        }
    }

    fn sets(&self, position: u16) -> bool {
        match self {
            Self::Row(..) => true,
            Self::Set(_, set) => set.iter().any(|(column, _)| column.position == position),
            Self::Deleted => false,
        }
    }
}

/// What a write that failed broke: of a reference, whether the row is referred to or refers to one
/// that is missing; of a range, whose it is.
pub(super) async fn explain(
    session: &mut Session,
    database: &Database,
    actor: Actor<'_>,
    written: Written<'_>,
    fault: Fault,
) -> Fault {
    match fault {
        Fault::Foreign(source) => search(session, database, actor, written, source).await,
        Fault::Reference { table, columns, source } => named(&table, &columns, written, source),
        Fault::Check { column: None, source } => {
            Fault::Check { column: written.computed(), source }
        }
        fault => fault,
    }
}

/// A constraint names the table that refers and its columns. Where they are the ones that were
/// written, the row that they refer to is missing; otherwise the written row is referred to.
fn named(child: &str, columns: &[String], written: Written<'_>, source: StoreError) -> Fault {
    let (Written::Row(table, ..) | Written::Set(table, _)) = written else {
        return Fault::Foreign(source);
    };
    let inserted = matches!(written, Written::Row(..));
    // A constraint that is newer than the names that were read is told by its table alone.
    let broken = table.references().iter().filter(|reference| {
        let mut names = reference_columns(table, reference);
        columns.is_empty() || names.all(|name| columns.iter().any(|column| column == name))
    });
    let suspects: Vec<String> = broken
        .filter(|reference| reference.columns().iter().any(|at| written.sets(*at)))
        .map(|reference| reference_columns(table, reference).collect::<Vec<_>>().join(", "))
        .collect();
    if suspects.is_empty() || (child != table.name() && !(inserted && columns.is_empty())) {
        return Fault::Foreign(source);
    }
    missing_parent(table, suspects.join(", "), source)
}

fn reference_columns(
    table: &'static TableDefinition,
    reference: &'static ReferenceDefinition,
) -> impl Iterator<Item = &'static str> {
    reference.columns().iter().filter_map(|at| table.column(*at)).map(ColumnDefinition::name)
}

/// SQLite names nothing in a broken reference, so the parents are looked up in the scope, on the
/// same connection and before anyone else writes.
async fn search(
    session: &mut Session,
    database: &Database,
    actor: Actor<'_>,
    written: Written<'_>,
    source: StoreError,
) -> Fault {
    let table = match written {
        Written::Row(table, ..) | Written::Set(table, _) => table,
        Written::Deleted => return Fault::Foreign(source),
    };
    let updated = match updated_row(session, database, actor, written).await {
        Ok(updated) => updated,
        Err(fault) => return fault,
    };
    let mut suspects = Vec::new();
    for reference in table.references() {
        let sets = |at: &u16| match updated {
            Some(conflict) => conflict.update.contains(at),
            None => written.sets(*at),
        };
        if !reference.columns().iter().any(sets) {
            continue;
        }
        let values: Option<Vec<&Value>> =
            reference.columns().iter().map(|at| written.value(*at)).collect();
        let names: Vec<&str> = reference
            .columns()
            .iter()
            .filter_map(|at| table.column(*at))
            .map(ColumnDefinition::name)
            .collect();
        let names = names.join(", ");
        // An upsert that takes over a part of a reference mixes what was proposed with what is
        // stored.
        if updated.is_some() && !reference.columns().iter().all(sets) {
            suspects.push(names);
            continue;
        }
        match values {
            Some(values) if values.iter().any(|value| **value == Value::Null) => {}
            Some(values) => {
                match parent_exists(session, database, actor, reference.target(), &values).await {
                    Ok(true) => {}
                    Ok(false) => return missing_parent(table, names, source),
                    Err(fault) => return fault,
                }
            }
            None => suspects.push(names),
        }
    }
    if suspects.is_empty() {
        return Fault::Foreign(source);
    }
    missing_parent(table, suspects.join(", "), source)
}

/// What an upsert does where it meets a row: its conflict clause, if that row exists.
async fn updated_row<'w>(
    session: &mut Session,
    database: &Database,
    actor: Actor<'_>,
    written: Written<'w>,
) -> Faulty<Option<&'w Conflict>> {
    let Written::Row(table, values, Some(conflict)) = written else { return Ok(None) };
    let mut ast = SelectAst::new(table);
    let target = conflict.target.iter().filter_map(|position| {
        let column = ColumnRef { table, position: *position, occurrence: None };
        let value = values.get(usize::from(*position))?.clone().compared();
        Some(Predicate::Compare(column, Op::Eq, Term::Value(value)))
    });
    ast.filter = Some(Predicate::All(target.collect()));
    let store = database.store();
    let rendered = Renderer::new(store.dialect(), database.schema(), actor.reach(), "", Vec::new())
        .select(&ast, Output::Rows)?;
    let bound = statement::bind(store, rendered.sql, rendered.binds, actor.organization())?;
    Ok(session.first(bound).await?.map(|_| conflict))
}

fn missing_parent(table: &'static TableDefinition, columns: String, source: StoreError) -> Fault {
    Fault::Decode(
        Error::not_found("the row that this column refers to does not exist")
            .at_table(table.name())
            .at_column(columns)
            .with_source(source),
    )
}

async fn parent_exists(
    session: &mut Session,
    database: &Database,
    actor: Actor<'_>,
    parent: &'static TableDefinition,
    key: &[&Value],
) -> Faulty<bool> {
    let reach = if parent.tenant_column().is_some() { actor.reach() } else { Reach::Across };
    let store = database.store();
    let sql = Renderer::new(store.dialect(), database.schema(), reach, "", Vec::new())
        .find(parent, false)?;
    let mut binds = Vec::with_capacity(key.len() + 1);
    if parent.tenant_column().is_some() {
        binds.push(Bind::Organization);
    }
    binds.extend(key.iter().map(|value| Bind::Value((*value).clone().compared())));
    let bound = statement::bind(store, Sql::Once(sql), binds, actor.organization())?;
    Ok(session.first(bound).await?.is_some())
}
