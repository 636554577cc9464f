//! Conditions: the restriction of each table occurrence, and what a program may ask for beside it.

use sqlparser::ast::{
    BinaryOperator, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, UnaryOperator,
};

use super::{Clause, Judge, Output, Source, Verdict, equality, is_number, is_placeholder};
use crate::table::Dialect;

impl Judge<'_> {
    // ---- restrictions

    /// INVARIANT: the condition is a chain of `AND` in which the subject's predicate is a link of
    /// its own. Its other links compare two columns along an edge, with equality of the tenant
    /// columns besides, or a key column with a value; all else is one parenthesis at the end.
    pub(super) fn restriction(
        &mut self,
        subject: &Source,
        clause: Clause,
        condition: Option<&Expr>,
    ) -> Verdict {
        let mut restricted = subject.tenant.is_none();
        let mut edges: Vec<Source> = Vec::new();
        let mut tied: Vec<String> = Vec::new();
        let links = condition.map_or_else(Vec::new, |links| chain(links, &BinaryOperator::And));
        if !links.is_empty() {
            self.claim(&clause.to_string())?;
        }
        for (index, link) in links.iter().enumerate() {
            if index > 0 {
                self.claim("AND")?;
            }
            let last = index + 1 == links.len();
            if last && clause != Clause::On && matches!(link, Expr::Nested(_)) {
                self.condition(link, clause)?;
                continue;
            }
            if let Some(alias) = self.predicate(link)? {
                if alias != subject.alias || std::mem::replace(&mut restricted, true) {
                    return subject.refuse(&format!("{clause} has a predicate too many"));
                }
                continue;
            }
            let Some((left, right)) = equality(link) else {
                return subject.refuse(&format!("{clause} has a condition outside parentheses"));
            };
            if is_placeholder(right) && clause != Clause::On {
                self.column(left, clause, false)?;
                self.claim("=")?;
                self.placeholder(right)?;
                continue;
            }
            let (ours, other) = self.edge(subject, clause, left, right)?;
            if ours {
                tied.push(other.alias);
            } else {
                edges.push(other);
            }
            self.claim_column(left)?;
            self.claim("=")?;
            self.claim_column(right)?;
        }
        if !restricted {
            return subject.refuse(&format!("{clause} has no organization predicate"));
        }
        if clause == Clause::On && edges.is_empty() {
            return subject.refuse("ON joins the table to none before it");
        }
        let tenants = subject.tenant.is_some();
        match edges
            .iter()
            .find(|edge| tenants && edge.tenant.is_some() && !tied.contains(&edge.alias))
        {
            Some(edge) => subject.refuse(&format!(
                "{clause} does not compare the tenant column with `{}`",
                edge.alias
            )),
            None => Ok(()),
        }
    }

    /// Whether `left = right` compares tenant columns, and the table that it ties the subject to.
    fn edge(
        &self,
        subject: &Source,
        clause: Clause,
        left: &Expr,
        right: &Expr,
    ) -> Verdict<(bool, Source)> {
        let near =
            |expr| self.resolve(expr, 0).filter(|column| column.source.alias == subject.alias);
        let far = |expr| match clause {
            Clause::On => {
                self.resolve(expr, 0).filter(|column| self.precedes(column.source, subject))
            }
            Clause::Correlated => self.resolve(expr, 1),
            _ => None,
        };
        let sides = near(left).zip(far(right)).or_else(|| near(right).zip(far(left)));
        let Some((ours, theirs)) = sides else {
            return subject
                .refuse(&format!("{clause} compares it with no table that it may be tied to"));
        };
        if ours.is_tenant() != theirs.is_tenant() {
            return subject
                .refuse(&format!("{clause} compares a tenant column with another column"));
        }
        Ok((ours.is_tenant(), theirs.source.clone()))
    }

    fn precedes(&self, source: &Source, subject: &Source) -> bool {
        let at = |wanted: &Source| {
            self.frames.last().and_then(|frame| frame.iter().position(|s| s.alias == wanted.alias))
        };
        at(source) < at(subject)
    }

    // ---- conditions

    /// What a program may ask for; the tenant column is no part of it.
    pub(super) fn condition(&mut self, expr: &Expr, clause: Clause) -> Verdict {
        match expr {
            Expr::Nested(inner) => {
                self.claim("(")?;
                self.condition(inner, clause)?;
                self.claim(")")
            }
            Expr::UnaryOp { op: UnaryOperator::Not, expr } if matches!(**expr, Expr::Nested(_)) => {
                self.claim("NOT")?;
                self.condition(expr, clause)
            }
            Expr::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or), .. } => {
                self.connected(expr, op, clause)
            }
            _ => self.comparison(expr, clause),
        }
    }

    fn connected(&mut self, expr: &Expr, op: &BinaryOperator, clause: Clause) -> Verdict {
        for (index, link) in chain(expr, op).into_iter().enumerate() {
            if index > 0 {
                self.claim(if *op == BinaryOperator::And { "AND" } else { "OR" })?;
            }
            if let Expr::BinaryOp { op: BinaryOperator::And | BinaryOperator::Or, .. } = link {
                return Err(format!("{clause} mixes AND and OR without parentheses"));
            }
            self.condition(link, clause)?;
        }
        Ok(())
    }

    fn comparison(&mut self, expr: &Expr, clause: Clause) -> Verdict {
        match expr {
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right }
                if is_number(left, "1") && is_number(right, "0") =>
            {
                self.words("1 = 0")
            }
            Expr::BinaryOp { left, op, right } => {
                let operator = match op {
                    BinaryOperator::Eq => "=",
                    BinaryOperator::NotEq => "<>",
                    BinaryOperator::Lt => "<",
                    BinaryOperator::LtEq => "<=",
                    BinaryOperator::Gt => ">",
                    BinaryOperator::GtEq => ">=",
                    _ => return Err(format!("{clause} has an operator that is not understood")),
                };
                self.subject(left, clause)?;
                self.claim(operator)?;
                self.term(right, clause)
            }
            Expr::Between { expr, negated: false, low, high } => {
                self.subject(expr, clause)?;
                self.claim("BETWEEN")?;
                self.term(low, clause)?;
                self.claim("AND")?;
                self.term(high, clause)
            }
            Expr::Like { negated: false, any: false, expr, pattern, escape_char: Some(_) } => {
                self.subject(expr, clause)?;
                self.claim("LIKE")?;
                self.term(pattern, clause)?;
                self.words("ESCAPE '\\'")
            }
            Expr::IsNull(expr) => {
                self.subject(expr, clause)?;
                self.words("IS NULL")
            }
            Expr::IsNotNull(expr) => {
                self.subject(expr, clause)?;
                self.words("IS NOT NULL")
            }
            Expr::InList { expr, list, negated: false } => {
                self.subject(expr, clause)?;
                self.words("IN (")?;
                self.list(list, |judge, term| judge.term(term, clause))?;
                self.claim(")")
            }
            Expr::InSubquery { expr, subquery, negated: false } => {
                self.subject(expr, clause)?;
                self.words("IN (")?;
                self.query(subquery, Output::Members)?;
                self.claim(")")
            }
            Expr::Exists { subquery, negated: false }
                if matches!(clause, Clause::Where | Clause::Correlated) =>
            {
                self.words("EXISTS (")?;
                self.query(subquery, Output::Existence)?;
                self.claim(")")
            }
            _ => Err(format!("{clause} has a condition that is not understood")),
        }
    }

    /// What a comparison is about: a column, in `HAVING` an aggregate too.
    fn subject(&mut self, expr: &Expr, clause: Clause) -> Verdict {
        match expr {
            Expr::Function(function) if clause == Clause::Having => {
                self.aggregate(function, clause)
            }
            _ => self.column(expr, clause, false),
        }
    }

    /// What something is compared with or set to.
    pub(super) fn term(&mut self, expr: &Expr, clause: Clause) -> Verdict {
        match expr {
            Expr::Value(_) => self.placeholder(expr).map(drop),
            Expr::BinaryOp {
                left,
                op: op @ (BinaryOperator::Plus | BinaryOperator::Minus),
                right,
            } => {
                self.column(left, clause, false)?;
                self.claim(if *op == BinaryOperator::Plus { "+" } else { "-" })?;
                self.placeholder(right).map(drop)
            }
            _ => self.column(expr, clause, false),
        }
    }

    pub(super) fn aggregate(&mut self, function: &Function, clause: Clause) -> Verdict {
        let refusal = || format!("{clause} has a function that is not understood");
        let [name] = function.name.0.as_slice() else { return Err(refusal()) };
        let name = name.as_ident().filter(|name| name.quote_style.is_none()).ok_or_else(refusal)?;
        let FunctionArguments::List(list) = &function.args else { return Err(refusal()) };
        let [FunctionArg::Unnamed(argument)] = list.args.as_slice() else { return Err(refusal()) };
        let name = name.value.as_str();
        let known = match self.dialect {
            Dialect::Sqlite => matches!(name, "count" | "sum" | "min" | "max"),
            Dialect::Postgres => matches!(
                name,
                "count" | "sum" | "min" | "max" | "bool_and" | "bool_or" | "percentile_disc"
            ),
        };
        if !known {
            return Err(refusal());
        }
        self.claim(name)?;
        self.claim("(")?;
        if name == "percentile_disc" {
            return self.extreme(function, argument, clause);
        }
        if name == "count" && list.duplicate_treatment == Some(DuplicateTreatment::Distinct) {
            self.claim("DISTINCT")?;
        }
        let witness = match self.dialect {
            Dialect::Sqlite => "min",
            Dialect::Postgres => "bool_and",
        };
        match argument {
            FunctionArgExpr::Wildcard if name == "count" => self.claim("*")?,
            FunctionArgExpr::Expr(expr) => {
                if clause != Clause::Select || name != witness || self.predicate(expr)?.is_none() {
                    self.column(expr, clause, false)?;
                }
            }
            _ => return Err(refusal()),
        }
        self.claim(")")
    }

    /// The first or the last of a column's ordered values.
    fn extreme(
        &mut self,
        function: &Function,
        argument: &FunctionArgExpr,
        clause: Clause,
    ) -> Verdict {
        let refusal = || format!("{clause} has an order that is not understood");
        let FunctionArgExpr::Expr(place) = argument else { return Err(refusal()) };
        let end = ["0", "1"].into_iter().find(|end| is_number(place, end)).ok_or_else(refusal)?;
        let [term] = function.within_group.as_slice() else { return Err(refusal()) };
        self.claim(end)?;
        self.words(") WITHIN GROUP ( ORDER BY")?;
        self.column(&term.expr, clause, false)?;
        self.claim(")")
    }
}

/// The links of a chain of one operator, which parses into a tree that leans left.
fn chain<'e>(mut expr: &'e Expr, operator: &BinaryOperator) -> Vec<&'e Expr> {
    let mut links = Vec::new();
    while let Expr::BinaryOp { left, op, right } = expr
        && op == operator
    {
        links.push(&**right);
        expr = left;
    }
    links.push(expr);
    links.reverse();
    links
}
