//! What a store said, reduced to code, table, column and constraint. Nothing else of it travels on:
//! messages of stores carry values.

use std::fmt;

use crate::error::{Error, Result};
use crate::table::{ColumnDefinition, TableDefinition};

/// A store's error by its code alone.
#[derive(Debug, Clone, Copy)]
pub(crate) enum StoreError {
    #[cfg(feature = "postgres")]
    Postgres([u8; 5]),
    #[cfg(feature = "sqlite")]
    Sqlite(i32),
}

impl StoreError {
    #[cfg(feature = "postgres")]
    pub(crate) fn sqlstate(code: &str) -> Self {
        code.as_bytes().try_into().map_or(Self::unknown(), Self::Postgres)
    }

    /// Of errors that the server did not report: `XX000`, PostgreSQL's code for internal ones.
    #[cfg(feature = "postgres")]
    pub(crate) const fn unknown() -> Self {
        Self::Postgres(*b"XX000")
    }

    /// SQLite's code for errors without one of their own.
    #[cfg(feature = "sqlite")]
    pub(crate) const fn is_plain_error(self) -> bool {
        matches!(self, Self::Sqlite(1))
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(code) => write!(f, "sqlstate {}", String::from_utf8_lossy(code)),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(code) => write!(f, "sqlite result code {code}"),
        }
    }
}

impl std::error::Error for StoreError {}

/// Why a statement failed.
#[derive(Debug)]
#[cfg_attr(
    not(all(feature = "postgres", feature = "sqlite")),
    expect(dead_code, reason = "each store has faults of its own")
)]
pub(crate) enum Fault {
    Busy(StoreError),
    Check {
        column: Option<String>,
        source: StoreError,
    },
    Closed,
    Corrupt(StoreError),
    Decode(Error),
    /// The store has no room for a connection, or no memory.
    Exhausted(StoreError),
    /// A broken reference of which the store says no more.
    Foreign(StoreError),
    Full(StoreError),
    /// An answer that the protocol does not foresee.
    Garbled(StoreError),
    Internal(StoreError),
    Io(StoreError),
    /// Another transaction held a lock for longer than the session waits.
    Locked(StoreError),
    /// The connection is gone, and nobody knows how far the statement came.
    Lost(StoreError),
    /// A value or an operator of another type than the column is declared with.
    Mistyped(StoreError),
    Missing {
        table: Option<String>,
        source: StoreError,
    },
    NotNull {
        column: Option<String>,
        source: StoreError,
    },
    /// A prepared statement whose table has changed meanwhile.
    Outdated(StoreError),
    Overflow(StoreError),
    ReadOnly(StoreError),
    /// A broken reference by its constraint: the table that refers, and its columns.
    Reference {
        table: String,
        columns: Vec<String>,
        source: StoreError,
    },
    /// The role, the password or the database is not accepted.
    Refused(StoreError),
    /// The connection was lost while the transaction was committed.
    #[cfg(feature = "postgres")]
    Unanswered(StoreError),
    /// The store asks for the transaction to be run again.
    Serialization(StoreError),
    /// A statement took longer than it may.
    Slow,
    TimedOut,
    TooLarge(StoreError),
    Unique {
        columns: Vec<String>,
        source: StoreError,
    },
    /// A statement that was prepared on the server is not there, or another is in its place.
    Unprepared(StoreError),
    /// The role lacks a privilege.
    Unprivileged(StoreError),
    /// The second wall stopped the statement.
    Wall(StoreError),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Decode(error)
    }
}

#[cfg(feature = "sqlite")]
/// Names after the last dot of `table.column, table.column`.
fn columns_after(message: &str, prefix: &str) -> Vec<String> {
    message
        .split_once(prefix)
        .map(|(_, list)| {
            list.split(", ")
                .map(|name| name.rsplit_once('.').map_or(name, |(_, column)| column).to_owned())
                .collect()
        })
        .unwrap_or_default()
}

/// What SQLite said.
#[cfg(feature = "sqlite")]
pub(crate) fn reduce(error: &sqlx::Error) -> Fault {
    let database = match error {
        sqlx::Error::Database(database) => database,
        sqlx::Error::PoolTimedOut => return Fault::TimedOut,
        sqlx::Error::PoolClosed => return Fault::Closed,
        sqlx::Error::WorkerCrashed | sqlx::Error::Io(_) => {
            return Fault::Io(StoreError::Sqlite(10));
        }
        _ => return Fault::Internal(StoreError::Sqlite(21)),
    };
    let code = database.code().and_then(|code| code.parse().ok()).unwrap_or(1);
    let message = database.message();
    let source = StoreError::Sqlite(code);
    match code {
        _ if message.contains("FOREIGN KEY constraint failed") => Fault::Foreign(source),
        _ if message.contains(super::sqlite::WALL) => Fault::Wall(source),
        1555 | 2067 => {
            Fault::Unique { columns: columns_after(message, "UNIQUE constraint failed: "), source }
        }
        1299 => Fault::NotNull {
            column: columns_after(message, "NOT NULL constraint failed: ").into_iter().next(),
            source,
        },
        275 => Fault::Check { column: quoted(message), source },
        // "cannot store REAL value in INTEGER column orders.total": an overflow turned into REAL.
        3091 => Fault::Check {
            column: message.rsplit_once('.').map(|(_, column)| column.to_owned()),
            source,
        },
        1 if message.contains("no such table")
            || message.contains("no such column")
            || message.contains("has no column named") =>
        {
            Fault::Missing {
                table: message
                    .split_once("no such table: ")
                    .map(|(_, name)| name.trim_start_matches("main.").to_owned()),
                source,
            }
        }
        1 if message.contains("integer overflow") => Fault::Overflow(source),
        1 if message.contains("too many")
            || message.contains("too large")
            || message.contains("too complex")
            || message.contains("too deep") =>
        {
            Fault::TooLarge(source)
        }
        _ => match code & 0xff {
            5 | 6 => Fault::Busy(source),
            8 => Fault::ReadOnly(source),
            9 => Fault::TimedOut,
            11 | 26 => Fault::Corrupt(source),
            13 => Fault::Full(source),
            10 | 14 => Fault::Io(source),
            18 => Fault::TooLarge(source),
            _ => Fault::Internal(source),
        },
    }
}

#[cfg(feature = "sqlite")]
fn quoted(message: &str) -> Option<String> {
    message.split('"').nth(1).map(ToOwned::to_owned)
}

impl Fault {
    /// Whether a value of a row is at fault: the store undoes the statement then, and no more.
    pub(crate) const fn is_of_a_row(&self) -> bool {
        matches!(
            self,
            Self::Check { .. }
                | Self::Foreign(_)
                | Self::Mistyped(_)
                | Self::NotNull { .. }
                | Self::Overflow(_)
                | Self::Reference { .. }
                | Self::TooLarge(_)
                | Self::Unique { .. }
        )
    }

    /// Whether the connection is of no use any more.
    #[cfg(feature = "postgres")]
    pub(crate) const fn lost_connection(&self) -> bool {
        matches!(
            self,
            Self::Garbled(_)
                | Self::Lost(_)
                | Self::Outdated(_)
                | Self::TimedOut
                | Self::Unprepared(_)
        )
    }

    /// The public error; `table` is the one that the statement starts from.
    pub(crate) fn into_error(self, table: Option<&'static TableDefinition>) -> Error {
        let error = match self {
            Self::Busy(source) => Error::unavailable("the database is locked by another process")
                .retryable()
                .with_source(source),
            Self::Check { column, source } => {
                let error =
                    Error::invalid("a value is not what its column accepts").with_source(source);
                match declared(table, column.as_slice()).into_iter().next() {
                    Some(column) => error.at_column(column),
                    None => error,
                }
            }
            Self::Closed => Error::unavailable("the database is closed"),
            Self::Corrupt(source) => {
                Error::corrupt("the database file is damaged or not a database").with_source(source)
            }
            Self::Decode(error) => return error,
            Self::Exhausted(source) => {
                Error::unavailable("the database server has no room for another connection")
                    .retryable()
                    .with_source(source)
            }
            Self::Foreign(source) | Self::Reference { source, .. } => {
                Error::conflict("a row that others refer to stays").with_source(source)
            }
            Self::Full(source) => {
                Error::unavailable("the disk that holds the database is full").with_source(source)
            }
            Self::Internal(source) => {
                Error::internal("the store refused a statement of ours").with_source(source)
            }
            Self::Garbled(source) => {
                Error::unavailable("the database server gave an answer that makes no sense")
                    .with_source(source)
            }
            Self::Locked(source) => {
                Error::unavailable("another transaction kept its lock for too long")
                    .retryable()
                    .with_source(source)
            }
            Self::Lost(source) => {
                Error::unavailable("the connection to the database was lost").with_source(source)
            }
            Self::Mistyped(source) => Error::unconfigured(
                "a column of the database is of another type than its declaration: ask `db.doctor()`",
            )
            .with_source(source),
            Self::Io(source) => {
                Error::unavailable("the store could not read or write").with_source(source)
            }
            Self::Missing { table: name, source } => {
                let error = Error::unconfigured(
                    "the database lacks a table or column of the schema: run `create_tables` or a migration",
                )
                .with_source(source);
                return match (name, table) {
                    (Some(name), _) => error.at_table(name),
                    (None, Some(table)) => error.at_table(table.name()),
                    (None, None) => error,
                };
            }
            Self::NotNull { column, source } => {
                let error =
                    Error::invalid("a column that needs a value got none").with_source(source);
                match declared(table, column.as_slice()).into_iter().next() {
                    Some(column) => error.at_column(column),
                    None => error,
                }
            }
            Self::Outdated(source) => {
                Error::unavailable("a table was changed while its statements were prepared")
                    .retryable()
                    .with_source(source)
            }
            Self::Overflow(source) => {
                Error::invalid("a sum lies outside the range of 64 bits").with_source(source)
            }
            Self::ReadOnly(source) => {
                Error::unconfigured("the database is read-only").with_source(source)
            }
            Self::Refused(source) => Error::unconfigured(
                "the server does not accept the role, the password or the database of the URL, or accepts them over TLS alone: see `sslmode`",
            )
            .with_source(source),
            Self::Serialization(source) => Error::unavailable(
                "the transaction met another one: run it again, or let `db.transaction` do so",
            )
            .retryable()
            .with_source(source),
            Self::Slow => {
                Error::unavailable("the statement took longer than the statement timeout")
                    .retryable()
            }
            Self::TimedOut => Error::unavailable("no connection became free in time").retryable(),
            Self::TooLarge(source) => {
                Error::invalid("a statement or value is larger than the store takes")
                    .with_source(source)
            }
            Self::Unique { columns, source } => {
                let columns = declared(table, &columns);
                let error =
                    Error::conflict("a row with the same unique values exists").with_source(source);
                if columns.is_empty() { error } else { error.at_column(columns.join(", ")) }
            }
            #[cfg(feature = "postgres")]
            Self::Unanswered(source) => Error::unavailable(
                "the connection was lost during the commit: look whether the transaction was kept before it is run again",
            )
            .with_source(source)
            .not_retryable(),
            Self::Unprepared(source) => Error::unconfigured(
                "a prepared statement was not on the server: behind a pooler that lends connections by transaction, open the Database with `builder().prepared_statements(false)`",
            )
            .with_source(source),
            Self::Unprivileged(source) => Error::unconfigured(
                "the database role lacks a privilege: run `create_tables` or a migration under the owner role, or ask `db.doctor()`",
            )
            .with_source(source),
            Self::Wall(source) => {
                Error::incident("the database stopped a write to another organization's row")
                    .with_source(source)
            }
        };
        match table {
            Some(table) => error.at_table(table.name()),
            None => error,
        }
    }
}

/// Of the names that a store gave, those that the declaration gave first.
fn declared(table: Option<&'static TableDefinition>, names: &[String]) -> Vec<&'static str> {
    table
        .into_iter()
        .flat_map(|table| table.columns())
        .map(ColumnDefinition::name)
        .filter(|column| names.iter().any(|name| name == column))
        .collect()
}

/// Why a SQLite database could not be opened.
#[cfg(feature = "sqlite")]
pub(crate) fn opening(error: &sqlx::Error) -> Error {
    match reduce(error) {
        Fault::Io(source) => {
            Error::unconfigured("the database file cannot be opened").with_source(source)
        }
        fault => fault.into_error(None),
    }
}

pub(crate) type Faulty<T> = Result<T, Fault>;
