//! What PostgreSQL said, by SQLSTATE:
//! <https://www.postgresql.org/docs/current/errcodes-appendix.html>. Messages are translated by the
//! server and carry values, so that nothing is read out of them.

use std::io::ErrorKind;

use sqlx::postgres::PgDatabaseError;

use super::names::{Constraint, SharedNames};
use crate::database::fault::{Fault, StoreError};
use crate::error::Error;

pub(super) fn reduce(error: &sqlx::Error, names: &SharedNames) -> Fault {
    match error {
        sqlx::Error::Database(database) => match database.try_downcast_ref::<PgDatabaseError>() {
            Some(error) => reported(error, names),
            None => Fault::Internal(StoreError::unknown()),
        },
        sqlx::Error::PoolTimedOut => Fault::TimedOut,
        sqlx::Error::PoolClosed => Fault::Closed,
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed => {
            Fault::Lost(StoreError::unknown())
        }
        // What the protocol does not foresee leaves the connection in an unknown state.
        _ => Fault::Garbled(StoreError::unknown()),
    }
}

fn named(error: &PgDatabaseError, names: &SharedNames) -> Constraint {
    let table = error.table().unwrap_or_default().to_owned();
    let known = error
        .constraint()
        .and_then(|name| names.read().ok()?.get(&(table.clone(), name.to_owned())).cloned());
    known.unwrap_or(Constraint { table, columns: Vec::new() })
}

fn reported(error: &PgDatabaseError, names: &SharedNames) -> Fault {
    let code = error.code();
    let source = StoreError::sqlstate(code);
    match code {
        "23505" | "23P01" => Fault::Unique { columns: named(error, names).columns, source },
        "23503" | "23001" => {
            let Constraint { table, columns } = named(error, names);
            Fault::Reference { table, columns, source }
        }
        "23502" => Fault::NotNull { column: error.column().map(ToOwned::to_owned), source },
        "23514" => {
            // A check of the tenant column besides says nothing about the value.
            let column = named(error, names).columns.pop();
            Fault::Check { column, source }
        }
        // A row that the policies hide or forbid, and not a privilege that was never granted.
        "42501" if error.routine() == Some("ExecWithCheckOptions") => Fault::Wall(source),
        "42501" => Fault::Unprivileged(source),
        "40001" | "40P01" => Fault::Serialization(source),
        "55P03" => Fault::Locked(source),
        "57014" => Fault::Slow,
        "25P03" | "25P04" | "57P01" | "57P02" | "57P03" | "57P05" => Fault::Lost(source),
        "53100" => Fault::Full(source),
        "53200" | "53300" | "53400" => Fault::Exhausted(source),
        "42P01" | "42703" | "3F000" => Fault::Missing { table: None, source },
        "42804" | "42883" | "22P03" => Fault::Mistyped(source),
        "0A000" if error.routine() == Some("RevalidateCachedQuery") => Fault::Outdated(source),
        "26000" | "42P05" => Fault::Unprepared(source),
        "25006" => Fault::ReadOnly(source),
        "XX001" | "XX002" => Fault::Corrupt(source),
        _ => match code.get(..2) {
            // Values: out of range, of another form, too long.
            Some("22") => Fault::Check { column: None, source },
            Some("08") => Fault::Lost(source),
            Some("54") => Fault::TooLarge(source),
            Some("28" | "3D") => Fault::Refused(source),
            Some("58") => Fault::Io(source),
            _ => Fault::Internal(source),
        },
    }
}

/// Why a database could not be opened.
pub(crate) fn opening(error: &sqlx::Error) -> Error {
    match error {
        sqlx::Error::Configuration(_) => {
            Error::unconfigured("the database URL is not a PostgreSQL URL")
        }
        sqlx::Error::Tls(_) => Error::unconfigured(
            "the server's TLS is not what the URL asks for: see `sslmode` and `sslrootcert`",
        ),
        // rustls reports what it does not accept as invalid data; nothing else does before a session.
        sqlx::Error::Io(error) if error.kind() == ErrorKind::InvalidData => Error::unconfigured(
            "the server's certificate is not accepted: it has expired, is signed by none of the authorities of `sslrootcert` and the system, or is for another host name",
        ),
        sqlx::Error::Io(error)
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) =>
        {
            Error::unconfigured("a socket or a file that the database URL names cannot be opened")
        }
        error => match reduce(error, &SharedNames::default()) {
            Fault::Garbled(source) => {
                Error::unconfigured("what answers at the database URL is not PostgreSQL")
                    .with_source(source)
            }
            fault => fault.into_error(None),
        },
    }
}
