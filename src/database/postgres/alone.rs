//! A read by itself: one round trip, through the function that says whose rows it touches and runs
//! it.
//!
//! The statement is the one that would run in a transaction, predicate and witness included. It
//! stands in the call as a literal, so that no bound value ever takes its place; its values travel
//! as they are bound, by type, and stay values. The call is a transaction of its own, and what the
//! function sets ends with it, on the server, whatever becomes of whoever waits.
//!
//! What goes wrong with the call and not with the statement (the function is gone, a column is of
//! another type than it was, the connection was closed meanwhile) is no error: the statement then
//! runs in a transaction.

use std::fmt::Write as _;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, RwLock};

use quick_cache::Equivalent;
use quick_cache::sync::Cache;
use sqlx::postgres::PgArguments;
use sqlx::postgres::types::Oid;
use sqlx::{Arguments as _, SqlStr};

use super::bind::oid;
use super::{PostgresStore, Session, Values};
use crate::database::fault::{Fault, Faulty, StoreError};
use crate::database::raw;
use crate::database::statement::{Arguments, Bound};
use crate::database::store::Purpose;
use crate::error::{Error, Result};
use crate::id::OrganizationId;
use crate::query::Sql;
use crate::table::StoreRow;
use crate::table::postgres::read::VALUES;

/// How many statements are known.
const CALLS: usize = 1_024;

/// How many bytes a call may cost the server beside the statement: while it plans, it copies an array
/// for each value that it takes out of it, and keeps all copies.
const COPIES: usize = 8 << 20;

/// What is known about reads by themselves.
#[derive(Debug)]
pub(super) struct Alone {
    /// The function's name; none where it cannot be called.
    function: RwLock<Option<Arc<str>>>,
    /// The call for each statement; none for a statement that cannot be called.
    calls: Cache<Shape, Option<Arc<str>>>,
}

impl Default for Alone {
    fn default() -> Self {
        Self { function: RwLock::new(None), calls: Cache::new(CALLS) }
    }
}

impl Alone {
    fn function(&self) -> Option<Arc<str>> {
        self.function.read().ok()?.clone()
    }

    fn set(&self, name: Option<&str>) {
        if let Ok(mut function) = self.function.write() {
            *function = name.map(Arc::from);
        }
        self.calls.clear();
    }
}

/// A statement and the types of its values.
#[derive(Debug, PartialEq, Eq)]
struct Shape {
    sql: Box<str>,
    types: Box<[u32]>,
}

#[derive(Debug, Clone, Copy)]
struct ShapeRef<'s> {
    sql: &'s str,
    types: &'s [u32],
}

impl Shape {
    const fn borrowed(&self) -> ShapeRef<'_> {
        ShapeRef { sql: &self.sql, types: &self.types }
    }
}

impl Hash for Shape {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.borrowed().hash(state);
    }
}

impl Hash for ShapeRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.sql.hash(state);
        self.types.hash(state);
    }
}

impl Equivalent<Shape> for ShapeRef<'_> {
    fn equivalent(&self, key: &Shape) -> bool {
        self.sql == &*key.sql && self.types == &*key.types
    }
}

impl PostgresStore {
    /// Says through which function reads go from now on.
    pub(crate) fn read_through(&self, function: Option<&str>) {
        self.alone.set(function);
    }

    /// A read by itself.
    ///
    /// INVARIANT: only where statements stay prepared, because those that do not are parsed in one
    /// message and run in the next, between which a pooler can lend the connection to another
    /// client; and only where the server limits the time of every statement, because nothing that
    /// the function sets does.
    pub(crate) async fn read(
        self: &Arc<Self>,
        organization: &OrganizationId,
    ) -> Result<Option<Read>> {
        let pool = &self.application;
        if !pool.prepared || !pool.limited || self.alone.function().is_none() {
            return Ok(None);
        }
        let session = self.idle_session(pool, self.statement_timeout).await;
        let session = session.map_err(|fault| Self::unavailable(pool, fault))?;
        Ok(Some(Read {
            store: Arc::clone(self),
            organization: organization.clone(),
            session: Some(session),
        }))
    }
}

/// A statement on its way through the function.
struct Call {
    sql: SqlStr,
    arguments: PgArguments,
}

/// One read of one organization, outside of a transaction.
pub(crate) struct Read {
    store: Arc<PostgresStore>,
    organization: OrganizationId,
    session: Option<Session>,
}

impl Read {
    pub(crate) async fn run(
        &mut self,
        bound: Bound,
        mut each: impl FnMut(StoreRow) -> Result<()> + Send,
    ) -> Faulty<u64> {
        let (sql, values) = split(bound)?;
        if let Some((session, call)) = self.call(&sql, &values).await? {
            let mut handed_over = false;
            let outcome = session
                .run(call.sql, call.arguments, |row| {
                    handed_over = true;
                    each(row)
                })
                .await;
            match outcome {
                Err(fault) if !handed_over && self.retreats(&fault, &sql, &values) => {}
                outcome => return outcome,
            }
        }
        self.begun().await?.run(sql, values.arguments, each).await
    }

    pub(crate) async fn first(&mut self, bound: Bound) -> Faulty<Option<StoreRow>> {
        let (sql, values) = split(bound)?;
        if let Some((session, call)) = self.call(&sql, &values).await? {
            match session.first(call.sql, call.arguments).await {
                Err(fault) if self.retreats(&fault, &sql, &values) => {}
                outcome => return outcome,
            }
        }
        self.begun().await?.first(sql, values.arguments).await
    }

    /// The call that runs the statement, where there can be one.
    async fn call(
        &mut self,
        sql: &SqlStr,
        values: &Values,
    ) -> Faulty<Option<(&mut Session, Call)>> {
        let (Some(session), Some(function)) = (&mut self.session, self.store.alone.function())
        else {
            return Ok(None);
        };
        if values.bytes.saturating_mul(values.len()) > COPIES {
            return Ok(None);
        }
        let calls = &self.store.alone.calls;
        let shape = ShapeRef { sql: sql.as_str(), types: &values.types };
        let known = match calls.get(&shape) {
            Some(known) => known,
            None => match session.describe(sql.clone(), &values.types).await {
                Ok(columns) => {
                    let call = render(&function, shape, &columns).map(Arc::from);
                    let shape = Shape { sql: shape.sql.into(), types: shape.types.into() };
                    calls.insert(shape, Option::clone(&call));
                    call
                }
                // The transaction says what is wrong.
                Err(_) => None,
            },
        };
        let Some(call) = known else { return Ok(None) };
        let mut arguments = values.arguments.clone();
        let organization = self.organization.to_string();
        if arguments.add(organization).is_err() {
            return Err(Error::internal("an organization could not be bound").into());
        }
        Ok(Some((session, Call { sql: raw::rendered(Sql::Shared(call)), arguments })))
    }

    /// Whether the statement runs in a transaction after this: what failed may have been the call.
    fn retreats(&self, fault: &Fault, sql: &SqlStr, values: &Values) -> bool {
        let retreats = matches!(
            fault,
            Fault::Garbled(_)
                | Fault::Internal(_)
                | Fault::Lost(_)
                | Fault::Missing { .. }
                | Fault::Mistyped(_)
                | Fault::Outdated(_)
                | Fault::Unprepared(_)
                | Fault::Unprivileged(_)
        );
        if retreats && !matches!(fault, Fault::Lost(_)) {
            let shape = ShapeRef { sql: sql.as_str(), types: &values.types };
            self.store.alone.calls.remove(&shape);
        }
        // There is no such function any more.
        if matches!(fault, Fault::Mistyped(StoreError::Postgres(code)) if code == b"42883") {
            self.store.read_through(None);
        }
        retreats
    }

    /// The same connection in a transaction, or another one where it was lost.
    async fn begun(&mut self) -> Faulty<&mut Session> {
        let begins_with = self.store.application.begins_with;
        let begin = self.store.begin_sql(Some(&self.organization), Purpose::Read, begins_with)?;
        let mut begun = None;
        if let Some(mut session) = self.session.take()
            && session.is_sound()
        {
            match session.begin(begin).await {
                Ok(()) => begun = Some(session),
                Err(fault) if fault.lost_connection() => {}
                Err(fault) => return Err(fault),
            }
        }
        let session = match begun {
            Some(session) => session,
            None => self.store.session(Some(&self.organization), Purpose::Read).await?,
        };
        Ok(self.session.insert(session))
    }
}

fn split(bound: Bound) -> Result<(SqlStr, Values)> {
    match bound.arguments {
        Arguments::Postgres(values) => Ok((bound.sql, values)),
        #[cfg(feature = "sqlite")]
        Arguments::Sqlite(_) => Err(Error::internal("a statement was bound for another store")),
    }
}

/// The call that runs a statement: its values are numbered as in the statement, and the
/// organization behind them. None for a value or a column of a type that the function does not
/// carry.
fn render(function: &str, shape: ShapeRef<'_>, columns: &[Option<Oid>]) -> Option<String> {
    let mut by_type: [Vec<usize>; VALUES.len()] = Default::default();
    let statement = renumbered(shape, &mut by_type)?;
    let mut call = format!("SELECT * FROM {function}(${}, E'", shape.types.len() + 1);
    for character in statement.chars() {
        // Either way of reading backslashes.
        if matches!(character, '\'' | '\\') {
            call.push(character);
        }
        call.push(character);
    }
    call.push('\'');
    for ((name, kind), numbers) in VALUES.iter().zip(&by_type) {
        for (at, number) in numbers.iter().enumerate() {
            let open = if at == 0 { format!(", {name} => ARRAY[") } else { ", ".to_owned() };
            let _ = write!(call, "{open}${}::{kind}", number + 1);
        }
        if !numbers.is_empty() {
            call.push(']');
        }
    }
    call.push_str(") AS t (");
    for (at, column) in columns.iter().enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        let _ = write!(call, "{comma}c{at} {}", column_type((*column)?.0)?);
    }
    call.push(')');
    (!columns.is_empty()).then_some(call)
}

/// The statement with its values where the function has them: `$9[1]` is the first of those of the
/// ninth type. Texts and quoted names stay as they are.
fn renumbered(shape: ShapeRef<'_>, by_type: &mut [Vec<usize>; VALUES.len()]) -> Option<String> {
    let mut statement = String::with_capacity(shape.sql.len() + shape.types.len() * 4);
    let mut rest = shape.sql;
    while let Some(at) = rest.find(['$', '\'', '"']) {
        let (before, from) = rest.split_at(at);
        statement.push_str(before);
        let quote = from.chars().next()?;
        let inside = from.get(1..)?;
        if quote != '$' {
            // A doubled quote is two texts in a row.
            let end = inside.find(quote)? + 2;
            statement.push_str(from.get(..end)?);
            rest = from.get(end..)?;
            continue;
        }
        let digits = inside.find(|c: char| !c.is_ascii_digit()).unwrap_or(inside.len());
        let number = inside.get(..digits)?.parse::<usize>().ok()?.checked_sub(1)?;
        let (place, narrowed) = match *shape.types.get(number)? {
            oid::UNSPECIFIED => (None, ""),
            oid::BOOL => (Some(0), ""),
            oid::BYTEA => (Some(1), ""),
            oid::DATE => (Some(2), ""),
            oid::FLOAT8 => (Some(3), ""),
            oid::INT2 => (Some(4), "::smallint"),
            oid::INT4 => (Some(4), "::integer"),
            oid::INT8 => (Some(4), ""),
            oid::NUMERIC => (Some(5), ""),
            oid::TEXT => (Some(6), ""),
            oid::TIMESTAMPTZ => (Some(7), ""),
            oid::UUID => (Some(8), ""),
            _ => return None,
        };
        match place {
            None => statement.push_str("NULL"),
            Some(place) => {
                let numbers = by_type.get_mut(place)?;
                numbers.push(number);
                let _ = write!(statement, "(${}[{}]){narrowed}", place + 1, numbers.len());
            }
        }
        rest = inside.get(digits..)?;
    }
    statement.push_str(rest);
    Some(statement)
}

const fn column_type(oid: u32) -> Option<&'static str> {
    Some(match oid {
        oid::BOOL => "boolean",
        oid::BYTEA => "bytea",
        oid::DATE => "date",
        oid::FLOAT8 => "double precision",
        oid::INT2 => "smallint",
        oid::INT4 => "integer",
        oid::INT8 => "bigint",
        oid::NUMERIC => "numeric",
        oid::TEXT => "text",
        oid::TIMESTAMPTZ => "timestamp with time zone",
        oid::UUID => "uuid",
        oid::VARCHAR => "character varying",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(sql: &str, types: &[u32], columns: &[u32]) -> Option<String> {
        let columns: Vec<_> = columns.iter().map(|column| Some(Oid(*column))).collect();
        render("f", ShapeRef { sql, types }, &columns)
    }

    #[test]
    fn the_organization_stands_behind_the_values_and_the_statement_is_a_literal() {
        assert_eq!(
            rendered(
                r#"SELECT t0."id" FROM "orders" AS t0 WHERE t0."o" = $1 AND (t0."n" = $2 AND t0."m" = $3) LIMIT $4"#,
                &[oid::UUID, oid::INT4, oid::UUID, oid::INT8],
                &[oid::UUID, oid::NUMERIC],
            )
            .as_deref(),
            Some(
                r#"SELECT * FROM f($5, E'SELECT t0."id" FROM "orders" AS t0 WHERE t0."o" = ($9[1]) AND (t0."n" = ($5[1])::integer AND t0."m" = ($9[2])) LIMIT ($5[2])', integers => ARRAY[$2::bigint, $4::bigint], uuids => ARRAY[$1::uuid, $3::uuid]) AS t (c0 uuid, c1 numeric)"#
            )
        );
    }

    #[test]
    fn texts_and_names_keep_their_dollars_and_quotes() {
        let sql = r#"SELECT "a$1""b" WHERE x LIKE $1 ESCAPE '\' AND y = '$1''$2' AND z = $2"#;
        let call = rendered(sql, &[oid::TEXT, oid::UNSPECIFIED], &[oid::BOOL]);
        assert_eq!(
            call.as_deref(),
            Some(
                r#"SELECT * FROM f($3, E'SELECT "a$1""b" WHERE x LIKE ($7[1]) ESCAPE ''\\'' AND y = ''$1''''$2'' AND z = NULL', texts => ARRAY[$1::text]) AS t (c0 boolean)"#
            )
        );
    }

    #[test]
    fn what_the_function_does_not_carry_is_not_called() {
        assert_eq!(rendered("SELECT $1", &[114], &[oid::BOOL]), None);
        assert_eq!(rendered("SELECT $2", &[oid::BOOL], &[oid::BOOL]), None);
        assert_eq!(rendered("SELECT 1", &[], &[3802]), None);
        assert_eq!(rendered("SELECT", &[], &[]), None);
        assert_eq!(render("f", ShapeRef { sql: "SELECT 1", types: &[] }, &[None]), None);
    }

    #[test]
    fn statements_are_told_apart_by_their_whole_text_and_types() {
        let calls: Cache<Shape, u8> = Cache::new(8);
        calls.insert(Shape { sql: "a".into(), types: [oid::TEXT].into() }, 1);
        let get = |sql, types| calls.get(&ShapeRef { sql, types });
        assert_eq!(get("a", &[oid::TEXT]), Some(1));
        assert_eq!(get("a", &[oid::INT4]), None);
        assert_eq!(get("b", &[oid::TEXT]), None);
    }
}
