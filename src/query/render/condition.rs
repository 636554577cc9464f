//! Conditions: the user's filters, subqueries and page boundaries.

use super::order::require_grouped;
use super::select::{SelectOutput, SubqueryOutput};
use super::{Bind, Clause, Frame, MAX_BINDS, Reach, Renderer, Sink};
use crate::error::{Error, Result};
use crate::query::ast::{ColumnRef, Predicate, Subquery, Term};
use crate::table::{ReferenceDefinition, TableDefinition, Value};

impl<B: Sink> Renderer<'_, B> {
    pub(super) fn list(
        &mut self,
        frame: &Frame,
        clause: Clause<'_>,
        items: &[Predicate],
        connective: &str,
    ) -> Result<()> {
        // SQLite limits the depth of an expression, and a chain of connectives is as deep as it is
        // long, so that long chains are written as balanced halves.
        if items.len() > 32 {
            let (left, right) = items.split_at(items.len() / 2);
            self.sql.push('(');
            self.list(frame, clause, left, connective)?;
            self.sql.push(')');
            self.sql.push_str(connective);
            self.sql.push('(');
            self.list(frame, clause, right, connective)?;
            self.sql.push(')');
            return Ok(());
        }
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.sql.push_str(connective);
            }
            self.predicate(frame, clause, item)?;
        }
        Ok(())
    }

    pub(super) fn parenthesised(
        &mut self,
        frame: &Frame,
        clause: Clause<'_>,
        items: &[Predicate],
        connective: &str,
    ) -> Result<()> {
        self.sql.push('(');
        self.list(frame, clause, items, connective)?;
        self.sql.push(')');
        Ok(())
    }

    /// A column in a condition; in `HAVING` it must be one of the groups.
    pub(super) fn condition_column(
        &mut self,
        frame: &Frame,
        clause: Clause<'_>,
        column: ColumnRef,
    ) -> Result<()> {
        if let Clause::Having(groups) = clause {
            require_grouped(frame, groups, column)?;
        }
        self.column_ref(frame, column)?;
        Ok(())
    }

    pub(super) fn predicate(
        &mut self,
        frame: &Frame,
        clause: Clause<'_>,
        predicate: &Predicate,
    ) -> Result<()> {
        match predicate {
            Predicate::All(items) => self.parenthesised(frame, clause, items, " AND "),
            Predicate::Any(items) => self.parenthesised(frame, clause, items, " OR "),
            Predicate::Not(inner) => {
                self.sql.push_str("NOT (");
                self.predicate(frame, clause, inner)?;
                self.sql.push(')');
                Ok(())
            }
            Predicate::Compare(column, op, term) => {
                self.condition_column(frame, clause, *column)?;
                self.sql.push_str(op.sql());
                self.term(frame, *column, term)
            }
            Predicate::Between(column, low, high) => {
                self.sql.push('(');
                self.condition_column(frame, clause, *column)?;
                self.sql.push_str(" BETWEEN ");
                self.term(frame, *column, low)?;
                self.sql.push_str(" AND ");
                self.term(frame, *column, high)?;
                self.sql.push(')');
                Ok(())
            }
            Predicate::In(column, items) => self.in_list(frame, clause, *column, items),
            Predicate::Like(column, pattern) => {
                self.condition_column(frame, clause, *column)?;
                self.sql.push_str(" LIKE ");
                self.term(frame, *column, pattern)?;
                self.sql.push_str(" ESCAPE '\\'");
                Ok(())
            }
            Predicate::Null(column, is) => {
                self.condition_column(frame, clause, *column)?;
                self.sql.push_str(if *is { " IS NULL" } else { " IS NOT NULL" });
                Ok(())
            }
            Predicate::InSubquery(column, subquery) => {
                self.condition_column(frame, clause, *column)?;
                self.sql.push_str(" IN (");
                self.subquery(subquery, None)?;
                self.sql.push(')');
                Ok(())
            }
            Predicate::Exists(reference, parent, subquery) => {
                let outer = ColumnRef { table: parent, position: 0, occurrence: None };
                if let Clause::Having(_) = clause {
                    return Err(Error::misuse("`having` compares aggregates and groups"));
                }
                let (alias, _) = frame.resolve(outer)?;
                self.sql.push_str("EXISTS (");
                self.subquery(subquery, Some((reference, alias, parent)))?;
                self.sql.push(')');
                Ok(())
            }
            Predicate::Having(aggregate, op, term) => {
                if matches!(clause, Clause::Where) {
                    return Err(Error::misuse(
                        "an aggregate is compared in `having`, not in `filter`",
                    ));
                }
                self.aggregate(frame, *aggregate)?;
                self.sql.push_str(op.sql());
                match term {
                    Term::Value(Value::Refused(reason)) => Err(Error::invalid(*reason)),
                    Term::Value(value) => {
                        self.bind(Bind::Value(value.clone()));
                        Ok(())
                    }
                    _ => Err(Error::internal("an aggregate is compared with a value")),
                }
            }
            Predicate::After(boundary) => self.after(frame, boundary),
            Predicate::Refused(reason) => Err(Error::invalid(*reason)),
        }
    }

    pub(super) fn in_list(
        &mut self,
        frame: &Frame,
        clause: Clause<'_>,
        column: ColumnRef,
        items: &[Term],
    ) -> Result<()> {
        let Some(last) = items.last() else {
            self.sql.push_str("1 = 0");
            return Ok(());
        };
        self.condition_column(frame, clause, column)?;
        self.sql.push_str(" IN (");
        // The list is padded to a power of two with its last value: lists of all lengths share a
        // few shapes, and each shape is prepared once.
        // Near the store's limit a list stands as long as it is.
        let padded = items.len().next_power_of_two();
        let padded = if padded > MAX_BINDS / 2 { items.len() } else { padded };
        for index in 0..padded {
            if index > 0 {
                self.sql.push_str(", ");
            }
            self.term(frame, column, items.get(index).unwrap_or(last))?;
        }
        self.sql.push(')');
        Ok(())
    }

    /// Rows after a boundary in lexicographic order. NULLs sort first, so that in ascending order
    /// everything else follows a NULL, and in descending order NULL follows everything else.
    pub(super) fn after(
        &mut self,
        frame: &Frame,
        boundary: &[(ColumnRef, bool, Value)],
    ) -> Result<()> {
        let Some(((column, descending, value), rest)) = boundary.split_first() else {
            self.sql.push_str("1 = 0");
            return Ok(());
        };
        let (alias, definition) = frame.resolve(*column)?;
        let null = *value == Value::Null;
        self.sql.push('(');
        match (null, *descending) {
            (true, false) => {
                self.column(alias, definition.name());
                self.sql.push_str(" IS NOT NULL");
            }
            (true, true) => self.sql.push_str("1 = 0"),
            (false, descending) => {
                self.column(alias, definition.name());
                self.sql.push_str(if descending { " < " } else { " > " });
                self.bind(Bind::Value(value.clone()));
                if descending {
                    self.sql.push_str(" OR ");
                    self.column(alias, definition.name());
                    self.sql.push_str(" IS NULL");
                }
            }
        }
        if !rest.is_empty() {
            self.sql.push_str(" OR (");
            self.column(alias, definition.name());
            if null {
                self.sql.push_str(" IS NULL");
            } else {
                self.sql.push_str(" = ");
                self.bind(Bind::Value(value.clone()));
            }
            self.sql.push_str(" AND ");
            self.after(frame, rest)?;
            self.sql.push(')');
        }
        self.sql.push(')');
        Ok(())
    }

    pub(super) fn subquery(
        &mut self,
        subquery: &Subquery,
        outer: Option<(&'static ReferenceDefinition, u16, &'static TableDefinition)>,
    ) -> Result<()> {
        match (self.reach, &subquery.scope) {
            (Reach::Scope(scope), Some(other)) if scope.same_reach(other) => {}
            (Reach::Draft, None) => {}
            (Reach::Draft, Some(_)) => {
                return Err(Error::misuse(
                    "a prepared shape holds no scope: draft its subqueries with `q.draft::<Table>()`",
                ));
            }
            _ => {
                return Err(Error::misuse(
                    "a subquery was made under another scope than the statement that it is part of",
                ));
            }
        }
        let output = match &subquery.column {
            Some(column) => SubqueryOutput::Column(*column),
            None => SubqueryOutput::One(outer),
        };
        self.select_body(&subquery.select, SelectOutput::Sub(output))?;
        Ok(())
    }
}
