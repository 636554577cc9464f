//! A second opinion on a rendered statement: another parser reads the text, and another pair of
//! eyes looks for the organization predicate of every table occurrence.
//!
//! Nothing here is shared with the renderer. The judge walks the parsed statement and claims the
//! tokens of the text one by one as it goes, so that a statement passes only if all of its text is
//! understood: what the walk does not expect, or does not visit, is refused.

use std::any::TypeId;
use std::fmt;
use std::vec::IntoIter;

use sqlparser::ast::{
    AssignmentTarget, BinaryOperator, ConflictTarget, Delete, Distinct, DuplicateTreatment, Expr,
    FromTable, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident,
    Insert, JoinConstraint, JoinOperator, LimitClause, ObjectName, OnConflictAction, OnInsert,
    OrderByKind, Query, Select, SelectItem, SetExpr, Statement, TableFactor, TableObject,
    TableWithJoins, UnaryOperator, Update, Value, Values,
};
use sqlparser::dialect::{self, PostgreSqlDialect, Precedence, SQLiteDialect};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, Tokenizer, Whitespace};

use crate::table::Dialect;

/// What is known of the table of a name: nothing, or its tenant column, which a global table has
/// not.
pub(crate) type Known<'k> = dyn Fn(&str) -> Option<Option<&'static str>> + 'k;

/// A statement that restricts every table occurrence, if its placeholders are bound as said here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judged {
    /// The placeholders that must be bound to the organization, counted from 0 in the order of the
    /// text.
    pub(crate) organization: Vec<usize>,
    /// How many placeholders the text has.
    pub(crate) placeholders: usize,
}

type Verdict<T = ()> = Result<T, String>;

/// Judges the one statement of `sql`. The reason of a refusal names tables, aliases and clauses,
/// and repeats no literal.
pub(crate) fn judge(sql: &str, dialect: Dialect, known: &Known<'_>) -> Verdict<Judged> {
    let reading = Reading(dialect);
    let tokens = Tokenizer::new(&reading, sql)
        .tokenize_with_location()
        .map_err(|_| "the text is not SQL")?;
    let text: Vec<&Token> = tokens
        .iter()
        .map(|token| &token.token)
        .filter(|token| !matches!(token, Token::Whitespace(Whitespace::Space)))
        .collect();
    bounded(&text)?;
    let text: Vec<String> = text.into_iter().map(Token::to_string).collect();
    let statements = Parser::new(&reading)
        .with_recursion_limit(MAX_DEPTH)
        .with_tokens_with_locations(tokens)
        .parse_statements()
        .map_err(|_| "the text is not SQL, or nests too deep")?;
    let [statement] = statements.as_slice() else {
        return Err("the text is not one statement".to_owned());
    };
    let mut judge = Judge {
        dialect,
        known,
        text: text.into_iter(),
        aliases: Vec::new(),
        frames: Vec::new(),
        judged: Judged { organization: Vec::new(), placeholders: 0 },
    };
    match statement {
        Statement::Query(query) => judge.query(query, Output::Rows)?,
        Statement::Insert(insert) => judge.insert(insert)?,
        Statement::Update(update) => judge.update(update)?,
        Statement::Delete(delete) => judge.delete(delete)?,
        _ => return Err("the statement is no SELECT, INSERT, UPDATE or DELETE".to_owned()),
    }
    match judge.text.next() {
        None => Ok(judge.judged),
        Some(_) => Err("the statement goes on where its end was expected".to_owned()),
    }
}

/// How deep a statement may nest, in the parser's count: 145 subqueries, or 290 `NOT (`. What stays
/// below it is judged, in a debug build too, on a stack of two MiB.
const MAX_DEPTH: usize = 600;

/// How many tokens may stand in one run without a comma or a parenthesis around them. A chain of
/// operators parses into a tree as deep as the chain is long, which the parser does not limit.
const MAX_RUN: usize = 4000;

fn bounded(text: &[&Token]) -> Verdict {
    let mut runs = vec![0_usize];
    for token in text {
        match token {
            Token::LParen => runs.push(0),
            Token::RParen if runs.len() > 1 => drop(runs.pop()),
            _ => {}
        }
        if let Some(run) = runs.last_mut() {
            *run = if matches!(token, Token::Comma) { 0 } else { *run + 1 };
            if *run > MAX_RUN {
                return Err("a chain of operators is too long to judge".to_owned());
            }
        }
    }
    Ok(())
}

/// The dialects of sqlparser, with double quotes alone around names, with
/// `INSERT INTO "table" AS alias` on SQLite too, and with `NOT` as a word that names nothing: an
/// error behind a `NOT (` is otherwise parsed again as a function call, twice per level.
#[derive(Debug)]
struct Reading(Dialect);

impl Reading {
    const fn base(&self) -> &'static dyn dialect::Dialect {
        match self.0 {
            Dialect::Sqlite => &SQLiteDialect {},
            Dialect::Postgres => &PostgreSqlDialect {},
        }
    }
}

impl dialect::Dialect for Reading {
    fn dialect(&self) -> TypeId {
        self.base().dialect()
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '"'
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        self.base().is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        self.base().is_identifier_part(ch)
    }

    fn is_custom_operator_part(&self, ch: char) -> bool {
        self.base().is_custom_operator_part(ch)
    }

    fn is_reserved_for_identifier(&self, word: Keyword) -> bool {
        word == Keyword::NOT || self.base().is_reserved_for_identifier(word)
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        self.base().prec_value(precedence)
    }

    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        self.base().get_next_precedence(parser)
    }

    fn supports_insert_table_alias(&self) -> bool {
        true
    }
}

/// One occurrence of a table.
#[derive(Debug, Clone)]
struct Source {
    alias: String,
    /// The table, or the columns of a derived one.
    relation: Relation,
    tenant: Option<&'static str>,
}

#[derive(Debug, Clone)]
enum Relation {
    Table(String),
    Derived(Vec<String>),
}

impl Source {
    fn is_tenant(&self, column: &str) -> bool {
        self.tenant.is_some_and(|tenant| tenant.eq_ignore_ascii_case(column))
    }

    fn refuse<T>(&self, reason: &str) -> Verdict<T> {
        match &self.relation {
            Relation::Table(table) => Err(format!("`{table}` as `{}`: {reason}", self.alias)),
            Relation::Derived(_) => Err(format!("`{}`: {reason}", self.alias)),
        }
    }
}

/// A column of an occurrence.
#[derive(Debug, Clone, Copy)]
struct Column<'e, 's> {
    source: &'s Source,
    name: &'e str,
}

impl Column<'_, '_> {
    fn is_tenant(self) -> bool {
        self.source.is_tenant(self.name)
    }
}

/// What a select is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    /// The statement itself.
    Rows,
    /// A derived table.
    Derived,
    /// `IN (…)`
    Members,
    /// `EXISTS (…)`
    Existence,
}

/// Where a condition or a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clause {
    Select,
    /// The `ON` of a join, which names the tables before it.
    On,
    Where,
    /// The `WHERE` of `EXISTS`, which also names the tables of the enclosing select.
    Correlated,
    GroupBy,
    Having,
    OrderBy,
    Set,
    Returning,
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Select => "SELECT",
            Self::On => "ON",
            Self::Where | Self::Correlated => "WHERE",
            Self::GroupBy => "GROUP BY",
            Self::Having => "HAVING",
            Self::OrderBy => "ORDER BY",
            Self::Set => "SET",
            Self::Returning => "RETURNING",
        })
    }
}

struct Judge<'k> {
    dialect: Dialect,
    known: &'k Known<'k>,
    /// The tokens that are not claimed yet.
    text: IntoIter<String>,
    /// Every alias of the statement.
    aliases: Vec<String>,
    /// The tables of the selects around this place, innermost last.
    frames: Vec<Vec<Source>>,
    judged: Judged,
}

impl Judge<'_> {
    // ---- the text

    fn claim(&mut self, expected: &str) -> Verdict {
        match self.text.next() {
            Some(token) if token == expected => Ok(()),
            _ => Err(format!("something else stands where `{expected}` was expected")),
        }
    }

    fn words(&mut self, expected: &str) -> Verdict {
        expected.split(' ').try_for_each(|word| self.claim(word))
    }

    /// A quoted identifier.
    fn quoted<'e>(&mut self, name: &'e Ident) -> Verdict<&'e str> {
        let name = quoted(name)?;
        self.claim(&format!("\"{name}\""))?;
        Ok(name)
    }

    /// Claims `each` of the items with commas between them.
    fn list<'e, T>(
        &mut self,
        items: &'e [T],
        mut each: impl FnMut(&mut Self, &'e T) -> Verdict,
    ) -> Verdict {
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.claim(",")?;
            }
            each(self, item)?;
        }
        Ok(())
    }

    /// A placeholder, and which one it is.
    fn placeholder(&mut self, expr: &Expr) -> Verdict<usize> {
        if !is_placeholder(expr) {
            return Err("a placeholder is missing where a value stands".to_owned());
        }
        let ordinal = self.judged.placeholders;
        self.judged.placeholders += 1;
        match self.dialect {
            Dialect::Sqlite => self.claim("?")?,
            Dialect::Postgres => self.claim(&format!("${}", ordinal + 1))?,
        }
        Ok(ordinal)
    }

    /// A placeholder that must be bound to the organization.
    fn organization(&mut self, expr: &Expr) -> Verdict {
        let ordinal = self.placeholder(expr)?;
        self.judged.organization.push(ordinal);
        Ok(())
    }

    fn one(&mut self, expr: &Expr) -> Verdict {
        if is_number(expr, "1") { self.claim("1") } else { Err("`1` was expected".to_owned()) }
    }

    // ---- tables and columns

    /// Takes note of an occurrence, whose text is claimed later.
    fn source(&mut self, alias: &Ident, relation: Relation) -> Verdict<Source> {
        let tenant = match &relation {
            Relation::Table(table) => {
                (self.known)(table).ok_or_else(|| format!("`{table}` is not a known table"))?
            }
            Relation::Derived(_) => None,
        };
        let source = Source { alias: alias.value.clone(), relation, tenant };
        let number = alias.value.strip_prefix('t');
        let plain = match &source.relation {
            Relation::Table(_) => {
                number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
            }
            Relation::Derived(_) => alias.value == "w",
        };
        if !plain || alias.quote_style.is_some() {
            return source.refuse("an alias is `t` and a number, or `w` for a derived table");
        }
        if self.aliases.contains(&source.alias) {
            return source.refuse("the alias occurs twice");
        }
        self.aliases.push(source.alias.clone());
        Ok(source)
    }

    fn table_source(&mut self, name: &ObjectName, alias: Option<&Ident>) -> Verdict<Source> {
        let name = single(name)?;
        let alias = alias.ok_or_else(|| format!("`{name}` has no alias"))?;
        self.source(alias, Relation::Table(name.to_owned()))
    }

    fn factor_source(&mut self, factor: &TableFactor) -> Verdict<Source> {
        match factor {
            TableFactor::Table { name, alias, .. } => {
                self.table_source(name, alias.as_ref().map(|alias| &alias.name))
            }
            TableFactor::Derived { subquery, alias: Some(alias), .. }
                if self.aliases.is_empty() =>
            {
                let select = select(subquery)?;
                let columns = select.projection.iter().map(|item| match item {
                    SelectItem::ExprWithAlias { alias, .. } => quoted(alias).map(str::to_owned),
                    _ => Err("a column of a derived table has no name".to_owned()),
                });
                let columns = columns.collect::<Verdict<Vec<_>>>()?;
                self.source(&alias.name, Relation::Derived(columns))
            }
            _ => Err("FROM names something else than a table".to_owned()),
        }
    }

    /// The one table of an `UPDATE` or `DELETE`.
    fn written(&mut self, table: &TableWithJoins) -> Verdict<Source> {
        let TableWithJoins { relation: relation @ TableFactor::Table { .. }, joins } = table else {
            return Err("the statement writes something else than a table".to_owned());
        };
        let source = self.factor_source(relation)?;
        if !joins.is_empty() {
            return source.refuse("a written table is not joined");
        }
        self.frames.push(vec![source.clone()]);
        Ok(source)
    }

    /// `"table" AS alias`
    fn occurrence(&mut self, source: &Source) -> Verdict {
        if let Relation::Table(table) = &source.relation {
            self.claim(&format!("\"{table}\""))?;
        }
        self.claim("AS")?;
        self.claim(&source.alias)
    }

    /// The column that `expr` is, of a table `outward` selects around this place.
    fn resolve<'e>(&self, expr: &'e Expr, outward: usize) -> Option<Column<'e, '_>> {
        let (alias, name) = qualified(expr)?;
        let frame = self.frames.iter().nth_back(outward)?;
        let source = frame.iter().find(|source| source.alias == alias)?;
        let exists = match &source.relation {
            Relation::Table(_) => true,
            Relation::Derived(columns) => columns.iter().any(|column| column == name),
        };
        exists.then_some(Column { source, name })
    }

    fn claim_column(&mut self, expr: &Expr) -> Verdict {
        let (alias, name) = qualified(expr).ok_or("a column is not qualified")?;
        self.claim(alias)?;
        self.claim(".")?;
        self.claim(&format!("\"{name}\""))
    }

    /// A column of this select; the tenant column only as part of an output.
    fn column(&mut self, expr: &Expr, clause: Clause, tenant: bool) -> Verdict {
        let Some(column) = self.resolve(expr, 0) else {
            return Err(format!("{clause}: a column of a table of this select was expected"));
        };
        if column.is_tenant() && !tenant {
            return column.source.refuse(&format!("the tenant column stands in {clause}"));
        }
        self.claim_column(expr)
    }

    /// `alias.tenant = placeholder`; the alias if `expr` is that.
    fn predicate<'e>(&mut self, expr: &'e Expr) -> Verdict<Option<&'e str>> {
        let Some((left, right)) = equality(expr) else { return Ok(None) };
        let tenant = self.resolve(left, 0).is_some_and(Column::is_tenant);
        if !tenant || !is_placeholder(right) {
            return Ok(None);
        }
        self.claim_column(left)?;
        self.claim("=")?;
        self.organization(right)?;
        Ok(qualified(left).map(|(alias, _)| alias))
    }

    // ---- restrictions

    /// INVARIANT: the condition is a chain of `AND` in which the subject's predicate is a link of
    /// its own. Its other links compare two columns along an edge, with equality of the tenant
    /// columns besides, or a key column with a value; all else is one parenthesis at the end.
    fn restriction(
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
    fn condition(&mut self, expr: &Expr, clause: Clause) -> Verdict {
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
    fn term(&mut self, expr: &Expr, clause: Clause) -> Verdict {
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

    fn aggregate(&mut self, function: &Function, clause: Clause) -> Verdict {
        let refusal = || format!("{clause} has a function that is not understood");
        let [name] = function.name.0.as_slice() else { return Err(refusal()) };
        let name = name.as_ident().filter(|name| name.quote_style.is_none()).ok_or_else(refusal)?;
        let FunctionArguments::List(list) = &function.args else { return Err(refusal()) };
        let [FunctionArg::Unnamed(argument)] = list.args.as_slice() else { return Err(refusal()) };
        let name = name.value.as_str();
        if !matches!(name, "count" | "sum" | "min" | "max" | "bool_and") {
            return Err(refusal());
        }
        self.claim(name)?;
        self.claim("(")?;
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

    // ---- SELECT

    fn query(&mut self, query: &Query, output: Output) -> Verdict {
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
        if !query.locks.is_empty() && output == Output::Rows && self.dialect == Dialect::Postgres {
            self.words("FOR UPDATE")?;
        }
        self.frames.pop();
        Ok(())
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

    // ---- writes

    fn insert(&mut self, insert: &Insert) -> Verdict {
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

    fn update(&mut self, update: &Update) -> Verdict {
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

    fn delete(&mut self, delete: &Delete) -> Verdict {
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

// ---- shapes

fn select(query: &Query) -> Verdict<&Select> {
    match &*query.body {
        SetExpr::Select(select) => Ok(select),
        _ => Err("a select is a set operation or reads no table".to_owned()),
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

fn equality(expr: &Expr) -> Option<(&Expr, &Expr)> {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => Some((left, right)),
        _ => None,
    }
}

/// `alias."column"`
fn qualified(expr: &Expr) -> Option<(&str, &str)> {
    let Expr::CompoundIdentifier(parts) = expr else { return None };
    let [alias, column] = parts.as_slice() else { return None };
    if alias.quote_style.is_some() {
        return None;
    }
    quoted(column).ok().map(|column| (alias.value.as_str(), column))
}

fn quoted(name: &Ident) -> Verdict<&str> {
    if name.quote_style == Some('"') && !name.value.contains('"') {
        return Ok(&name.value);
    }
    Err(format!("the name `{}` is not quoted", name.value))
}

/// A quoted name without a schema.
fn single(name: &ObjectName) -> Verdict<&str> {
    match name.0.as_slice() {
        [part] => part
            .as_ident()
            .ok_or_else(|| "a function stands for a name".to_owned())
            .and_then(quoted),
        _ => Err(format!("the name `{name}` is qualified")),
    }
}

fn is_placeholder(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(value.value, Value::Placeholder(_)))
}

fn is_number(expr: &Expr, number: &str) -> bool {
    matches!(expr, Expr::Value(value) if matches!(&value.value, Value::Number(text, _) if text == number))
}

/// The tenant column stands once among the columns, for a table that has one.
fn only_one_tenant(source: &Source, columns: &[&str], place: &str) -> Verdict {
    let count = columns.iter().filter(|column| source.is_tenant(column)).count();
    if count == usize::from(source.tenant.is_some()) {
        return Ok(());
    }
    source.refuse(&format!("{place} does not have the tenant column once"))
}

#[cfg(test)]
#[path = "opinion_tests.rs"]
mod tests;
