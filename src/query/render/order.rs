//! The total order of a read.

use super::Frame;
use crate::error::{Error, Result};
use crate::query::ast::{ColumnRef, Link, OrderKey, OrderTerm, SelectAst};
use crate::table::{ColumnDefinition, TableDefinition};

pub(super) fn require_grouped(
    frame: &Frame,
    groups: &[ColumnRef],
    column: ColumnRef,
) -> Result<()> {
    let (alias, _) = frame.resolve(column)?;
    for group in groups {
        if group.position == column.position && frame.resolve(*group)?.0 == alias {
            return Ok(());
        }
    }
    Err(Error::misuse("a grouped read orders and filters by its groups and aggregates alone")
        .at_table(column.table.name())
        .at_column(column.definition().map_or("", ColumnDefinition::name)))
}

/// The whole order of a select: what was asked for, then whatever makes it total.
///
/// What is added goes in the direction of the last term that was asked for, so that one walk along
/// an index gives the order: SQLite reads and sorts all rows of the organization for
/// `placed_at DESC, id`, and ten for `placed_at DESC, id DESC LIMIT 10`.
pub(crate) fn order_terms(
    ast: &SelectAst,
    distinct: Option<&[ColumnRef]>,
) -> Result<Vec<OrderTerm>> {
    let frame = Frame::of(0, ast);
    let wanted = match distinct {
        Some(columns) => columns.len(),
        None => {
            ast.groups.len()
                + ast.tables().map(|table| table.key_positions().count()).sum::<usize>()
        }
    };
    let mut terms = Vec::with_capacity(ast.order.len() + wanted);
    terms.extend_from_slice(&ast.order);
    if !ast.groups.is_empty() {
        for term in &terms {
            if let OrderKey::Column(column) = term.key {
                require_grouped(&frame, &ast.groups, column)?;
            }
        }
        return append_columns(&frame, terms, ast.groups.iter().copied());
    }
    if terms.iter().any(|term| matches!(term.key, OrderKey::Aggregate(_))) {
        return Err(Error::misuse("only a grouped read is ordered by an aggregate"));
    }
    if let Some(columns) = distinct {
        for term in &terms {
            if let OrderKey::Column(column) = term.key {
                require_grouped(&frame, columns, column)?;
            }
        }
        return append_columns(&frame, terms, columns.iter().copied());
    }
    terms = append_columns(&frame, terms, key_columns(ast.base, 0))?;
    for (index, join) in (1u8..).zip(&ast.joins) {
        // A row has one parent along each reference, but any number of children.
        if matches!(join.link, Link::Child { .. }) {
            terms = append_columns(&frame, terms, key_columns(join.table, index))?;
        }
    }
    Ok(terms)
}

/// The order by the key of one occurrence of a table.
pub(super) fn key_terms(
    table: &'static TableDefinition,
    index: u8,
) -> impl Iterator<Item = OrderTerm> {
    key_columns(table, index).map(|column| term(column, false))
}

fn key_columns(table: &'static TableDefinition, index: u8) -> impl Iterator<Item = ColumnRef> {
    table.key_positions().map(move |position| ColumnRef {
        table,
        position,
        occurrence: Some(index),
    })
}

const fn term(column: ColumnRef, descending: bool) -> OrderTerm {
    OrderTerm { key: OrderKey::Column(column), descending }
}

fn append_columns(
    frame: &Frame,
    mut terms: Vec<OrderTerm>,
    columns: impl Iterator<Item = ColumnRef>,
) -> Result<Vec<OrderTerm>> {
    let descending = terms.last().is_some_and(|term| term.descending);
    for column in columns {
        let mut present = false;
        for term in &terms {
            if let OrderKey::Column(other) = term.key
                && other.position == column.position
            {
                present |= frame.resolve(other)?.0 == frame.resolve(column)?.0;
            }
        }
        if !present {
            terms.push(term(column, descending));
        }
    }
    Ok(terms)
}
