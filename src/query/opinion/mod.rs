//! A second opinion on a rendered statement: another parser reads the text, and another pair of
//! eyes looks for the organization predicate of every table occurrence.
//!
//! Nothing here is shared with the renderer. The judge walks the parsed statement and claims the
//! tokens of the text one by one as it goes, so that a statement passes only if all of its text is
//! understood: what the walk does not expect, or does not visit, is refused.

mod condition;
mod select;
mod write;

#[cfg(test)]
mod tests;

use std::any::TypeId;
use std::fmt;
use std::vec::IntoIter;

use sqlparser::ast::{
    BinaryOperator, Expr, Ident, ObjectName, Query, Select, SelectItem, SetExpr, Statement,
    TableFactor, TableWithJoins, Value,
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
}

// ---- shapes

fn select(query: &Query) -> Verdict<&Select> {
    match &*query.body {
        SetExpr::Select(select) => Ok(select),
        _ => Err("a select is a set operation or reads no table".to_owned()),
    }
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
