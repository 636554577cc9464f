//! What is read: selects, their outputs, groups and orders.

use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, JoinConstraint, JoinOperator, LimitClause, LockClause,
    OrderByKind, Query, Select, SelectItem, TableFactor,
};

use super::{Clause, Judge, Output, Relation, Source, Verdict, select};
use crate::table::Dialect;

impl Judge<'_> {
    pub(super) fn query(&mut self, query: &Query, output: Output) -> Verdict {
        let select = select(query)?;
        let [from] = select.from.as_slice() else {
            return Err("FROM does not begin with one table".to_owned());
        };
        let base = self.factor_source(&from.relation)?;
        let mut frame = vec![base.clone()];
        if !from.joins.is_empty() && matches!(base.relation, Relation::Derived(_)) {
            return base.refuse("a derived table is not joined");
        }
        for join in &from.joins {
            frame.push(self.factor_source(&join.relation)?);
        }
        self.frames.push(frame.clone());

        self.claim("SELECT")?;
        if let Some(Distinct::Distinct) = select.distinct {
            self.claim("DISTINCT")?;
        }
        if output != Output::Rows && output != Output::Derived && select.projection.len() != 1 {
            return base.refuse("a subquery selects one column");
        }
        self.list(&select.projection, |judge, item| judge.output(item, output))?;
        self.claim("FROM")?;
        if let TableFactor::Derived { subquery, .. } = &from.relation {
            self.claim("(")?;
            self.query(subquery, Output::Derived)?;
            self.claim(")")?;
        }
        self.occurrence(&base)?;
        for (join, source) in from.joins.iter().zip(frame.iter().skip(1)) {
            let (words, on) = match &join.join_operator {
                JoinOperator::Inner(JoinConstraint::On(on)) => ("INNER JOIN", on),
                JoinOperator::Left(JoinConstraint::On(on)) => ("LEFT JOIN", on),
                _ => return source.refuse("the join is not INNER or LEFT with ON"),
            };
            self.words(words)?;
            self.occurrence(source)?;
            self.restriction(source, Clause::On, Some(on))?;
        }
        let clause = if output == Output::Existence { Clause::Correlated } else { Clause::Where };
        self.restriction(&base, clause, select.selection.as_ref())?;
        self.groups(select)?;
        self.order(query)?;
        if output == Output::Rows && self.dialect == Dialect::Postgres {
            query.locks.iter().try_for_each(|lock| self.lock(lock))?;
        }
        self.frames.pop();
        Ok(())
    }

    /// `FOR UPDATE OF` a tenant-owned table of this select.
    fn lock(&mut self, lock: &LockClause) -> Verdict {
        let of = lock.of.as_ref().map(ToString::to_string).unwrap_or_default();
        let owned = |source: &Source| source.alias == of && source.tenant.is_some();
        if !self.frames.last().is_some_and(|frame| frame.iter().any(owned)) {
            return Err("a lock is not of a tenant-owned table of this select".to_owned());
        }
        self.words("FOR UPDATE OF")?;
        self.claim(&of)
    }

    fn output(&mut self, item: &SelectItem, output: Output) -> Verdict {
        match (item, output) {
            (SelectItem::UnnamedExpr(Expr::Function(function)), Output::Rows) => {
                self.aggregate(function, Clause::Select)
            }
            (SelectItem::UnnamedExpr(Expr::IsNull(expr)), Output::Rows) => {
                self.column(expr, Clause::Select, false)?;
                self.words("IS NULL")
            }
            (SelectItem::UnnamedExpr(expr), Output::Rows) => {
                self.column(expr, Clause::Select, true)
            }
            (SelectItem::UnnamedExpr(expr), Output::Members) => {
                self.column(expr, Clause::Select, false)
            }
            (SelectItem::UnnamedExpr(expr), Output::Existence) => self.one(expr),
            (SelectItem::ExprWithAlias { expr, alias }, Output::Derived) => {
                if self.predicate(expr)?.is_none() {
                    self.one(expr)?;
                }
                self.claim("AS")?;
                self.quoted(alias).map(drop)
            }
            _ => Err("SELECT has an output that is not understood".to_owned()),
        }
    }

    fn groups(&mut self, select: &Select) -> Verdict {
        if let GroupByExpr::Expressions(columns, _) = &select.group_by
            && !columns.is_empty()
        {
            self.words("GROUP BY")?;
            self.list(columns, |judge, column| judge.column(column, Clause::GroupBy, false))?;
        }
        if let Some(having) = &select.having {
            self.claim("HAVING")?;
            self.condition(having, Clause::Having)?;
        }
        Ok(())
    }

    fn order(&mut self, query: &Query) -> Verdict {
        if let Some(order) = &query.order_by {
            let OrderByKind::Expressions(terms) = &order.kind else {
                return Err("ORDER BY does not name columns".to_owned());
            };
            self.words("ORDER BY")?;
            self.list(terms, |judge, term| {
                match &term.expr {
                    Expr::Function(function) => judge.aggregate(function, Clause::OrderBy)?,
                    column => judge.column(column, Clause::OrderBy, false)?,
                }
                if let Some(ascending) = term.options.asc {
                    judge.claim(if ascending { "ASC" } else { "DESC" })?;
                }
                match term.options.nulls_first {
                    Some(true) => judge.words("NULLS FIRST"),
                    Some(false) => judge.words("NULLS LAST"),
                    None => Ok(()),
                }
            })?;
        }
        if let Some(LimitClause::LimitOffset { limit: Some(limit), offset, .. }) =
            &query.limit_clause
        {
            self.claim("LIMIT")?;
            self.placeholder(limit)?;
            if let Some(offset) = offset {
                self.claim("OFFSET")?;
                self.placeholder(&offset.value)?;
            }
        }
        Ok(())
    }
}
