//! Reads the statements that a database keeps of its objects, by tokens: a comment or a text
//! cannot pass for a clause.

use sqlparser::dialect::SQLiteDialect;
use sqlparser::tokenizer::{Token, Tokenizer};

/// A `CREATE TABLE` statement, as far as the catalogue does not tell.
#[derive(Debug)]
pub(super) struct TableText {
    pub(super) columns: Vec<ColumnText>,
    tokens: Vec<Token>,
}

/// One column of it.
#[derive(Debug)]
pub(super) struct ColumnText {
    pub(super) name: String,
    tokens: Vec<Token>,
}

impl TableText {
    /// `None` where the text is not a table definition that every reader takes for the same.
    pub(super) fn read(sql: &str) -> Option<Self> {
        let tokens = tokens(sql)?;
        let mut columns = Vec::new();
        let open = tokens.iter().position(|token| *token == Token::LParen)?;
        let mut depth = 0_usize;
        let mut part: Vec<Token> = Vec::new();
        for token in tokens.iter().skip(open) {
            match token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.checked_sub(1)?,
                _ => {}
            }
            let ends = depth == 0 || (depth == 1 && *token == Token::Comma);
            if ends {
                columns.extend(column(std::mem::take(&mut part))?);
            } else if !(depth == 1 && part.is_empty() && *token == Token::LParen) {
                part.push(token.clone());
            }
            if depth == 0 {
                return Some(Self { columns, tokens });
            }
        }
        None
    }

    /// How `ON CONFLICT` clauses resolve a conflict, where it is not by failing alone.
    pub(super) fn conflict_clauses(&self) -> Vec<String> {
        self.tokens
            .windows(3)
            .filter_map(|window| match window {
                [on, conflict, resolution] if is(on, "ON") && is(conflict, "CONFLICT") => {
                    word(resolution)
                }
                _ => None,
            })
            .filter(|resolution| !resolution.eq_ignore_ascii_case("ABORT"))
            .map(str::to_ascii_uppercase)
            .collect()
    }

    pub(super) fn has_autoincrement(&self) -> bool {
        self.tokens.iter().any(|token| is(token, "AUTOINCREMENT"))
    }

    pub(super) fn has_deferred_reference(&self) -> bool {
        self.tokens.windows(2).any(|window| {
            matches!(window, [first, second] if is(first, "INITIALLY") && is(second, "DEFERRED"))
        })
    }

    pub(super) fn column(&self, name: &str) -> Option<&ColumnText> {
        self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// The conditions of all `CHECK` constraints, in one spelling.
    pub(super) fn checks(&self) -> Vec<Vec<String>> {
        conditions(&self.tokens)
    }
}

impl ColumnText {
    /// The collation that the column names outside of its conditions and defaults.
    pub(super) fn collation(&self) -> Option<&str> {
        let mut depth = 0_usize;
        let mut collation = None;
        let mut tokens = self.tokens.iter();
        while let Some(token) = tokens.next() {
            match token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                _ if depth == 0 && is(token, "COLLATE") => collation = tokens.next().and_then(name),
                _ => {}
            }
        }
        collation
    }

    /// The conditions of the column's `CHECK` constraints, in one spelling.
    pub(super) fn checks(&self) -> Vec<Vec<String>> {
        conditions(&self.tokens)
    }

    /// The definition as SQL.
    pub(super) fn sql(&self) -> String {
        let written = |token: &Token| match token {
            // The tokenizer undoes the doubling of quotes and does not do it again.
            Token::SingleQuotedString(text) => format!("'{}'", text.replace('\'', "''")),
            other => other.to_string(),
        };
        self.tokens.iter().map(written).collect::<Vec<_>>().join(" ")
    }
}

/// The columns of a `CREATE INDEX` statement over plain columns.
pub(super) fn index_columns(sql: &str) -> Option<Vec<String>> {
    let tokens = tokens(sql)?;
    let open = tokens.iter().position(|token| *token == Token::LParen)?;
    let columns = tokens
        .iter()
        .skip(open)
        .take_while(|token| **token != Token::RParen)
        .filter_map(name)
        .map(ToOwned::to_owned)
        .collect();
    Some(columns)
}

/// The name in a `CREATE INDEX` statement.
pub(super) fn index_name(sql: &str) -> Option<String> {
    let tokens = tokens(sql)?;
    let on = tokens.iter().position(|token| is(token, "ON"))?;
    tokens.get(on.checked_sub(1)?).and_then(name).map(ToOwned::to_owned)
}

/// Whether a statement can name `object`: a text that cannot be read, or that holds the name in
/// whatever form, counts.
pub(super) fn mentions(sql: &str, object: &str) -> bool {
    let holds = |text: &str| text.to_ascii_lowercase().contains(&object.to_ascii_lowercase());
    match Tokenizer::new(&SQLiteDialect {}, sql).tokenize() {
        Err(_) => holds(sql),
        Ok(tokens) => tokens.iter().any(|token| match token {
            Token::Word(word) => word.value.eq_ignore_ascii_case(object),
            // SQLite takes a text for a name where a name is due.
            Token::SingleQuotedString(text) => text.eq_ignore_ascii_case(object),
            Token::Whitespace(_) => false,
            // A name that the tokenizer cuts into pieces leaves such a piece behind.
            Token::Char(_) | Token::Placeholder(_) | Token::DollarQuotedString(_) => holds(sql),
            other => holds(&other.to_string()),
        }),
    }
}

/// The tokens without blanks and comments; `None` where SQLite may read the text otherwise.
fn tokens(sql: &str) -> Option<Vec<Token>> {
    let mut tokens = Tokenizer::new(&SQLiteDialect {}, sql).tokenize().ok()?;
    tokens.retain(|token| !matches!(token, Token::Whitespace(_)));
    let odd = tokens.iter().any(|token| {
        matches!(
            token,
            Token::Backslash
                | Token::Char(_)
                | Token::DollarQuotedString(_)
                | Token::Placeholder(_)
        )
    });
    (!odd).then_some(tokens)
}

/// A part of a table definition: a column, or (`None` inside) a table constraint.
fn column(part: Vec<Token>) -> Option<Option<ColumnText>> {
    let first = part.first()?;
    let constraint = ["CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"];
    if constraint.iter().any(|keyword| is(first, keyword)) {
        return Some(None);
    }
    let name = name(first)?.to_owned();
    Some(Some(ColumnText { name, tokens: part }))
}

fn conditions(tokens: &[Token]) -> Vec<Vec<String>> {
    let mut conditions = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if !is(token, "CHECK") {
            continue;
        }
        let mut depth = 0_usize;
        let mut condition = Vec::new();
        for token in tokens.iter().skip(at + 1) {
            condition.push(spelled(token));
            match token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        conditions.push(without_outer_parentheses(condition));
    }
    conditions
}

fn without_outer_parentheses(mut condition: Vec<String>) -> Vec<String> {
    loop {
        let mut depth = 0_usize;
        let mut closes_at = None;
        for (at, token) in condition.iter().enumerate() {
            match token.as_str() {
                "(" => depth += 1,
                ")" => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                closes_at = Some(at);
                break;
            }
        }
        let wrapped = condition.first().is_some_and(|token| token == "(")
            && closes_at.is_some_and(|at| at + 1 == condition.len());
        if !wrapped {
            return condition;
        }
        condition.pop();
        condition.remove(0);
    }
}

fn spelled(token: &Token) -> String {
    match token {
        Token::Word(word) => word.value.to_ascii_lowercase(),
        Token::DoubleEq => "=".to_owned(),
        other => other.to_string(),
    }
}

/// Whether the token is this unquoted word.
fn is(token: &Token, keyword: &str) -> bool {
    word(token).is_some_and(|word| word.eq_ignore_ascii_case(keyword))
}

fn word(token: &Token) -> Option<&str> {
    match token {
        Token::Word(word) if word.quote_style.is_none() => Some(&word.value),
        _ => None,
    }
}

/// A name in any of the forms that SQLite takes.
fn name(token: &Token) -> Option<&str> {
    match token {
        Token::Word(word) => Some(&word.value),
        Token::SingleQuotedString(text) => Some(text),
        _ => None,
    }
}
