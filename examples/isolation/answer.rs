//! What came back from an attack, and what it is to come to.

use std::error::Error as _;
use std::fmt;

use tenantry::audit::{AuditEvent, AuditKind};
use tenantry::{Error, ErrorKind, Result};

/// What came back from one act.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// So many rows, not all of them the attacker's own.
    Rows(usize),
    /// So many rows, each of them the attacker's own.
    OwnRows(usize),
    /// So many rows were updated or deleted.
    Changed(u64),
    /// A row was written, and the attacker reads it back as a row of their own organization.
    OwnRow,
    /// A scope, a list, or anything else that was not to be had.
    Granted(&'static str),
    /// An error.
    Refused(Refusal),
}

/// An error, with everything in it that a caller can see.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) kind: ErrorKind,
    pub(crate) text: String,
    pub(crate) names_a_column: bool,
    /// `Debug`, and every layer of `source()`.
    pub(crate) whole: String,
}

/// What an attack is to come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Claim {
    NoRows,
    OwnRows,
    /// Own rows, although an index and the predicate agree on a foreign one.
    OwnRowsByPlace,
    NoChange,
    OwnRow,
    Refused(ErrorKind),
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) claim: Claim,
    pub(crate) answer: Answer,
    /// What the same act brought at something that nobody has.
    pub(crate) nowhere: Option<Answer>,
    /// What the audit noted of a `Denied`, which the attacker is not told.
    pub(crate) noted: Option<AuditEvent>,
    /// Whether the victim's rows were the same before and after.
    pub(crate) untouched: bool,
}

impl Attack {
    /// The wall that stopped it, told from what came back; `None` if it was not stopped.
    pub(crate) fn wall(&self) -> Option<String> {
        let wall = match &self.answer {
            Answer::OwnRows(_) if self.claim == Claim::OwnRowsByPlace => {
                "3 database: rows stand under their organization"
            }
            Answer::Rows(0) | Answer::OwnRows(_) | Answer::Changed(0) => {
                "2 construction: organization predicate"
            }
            Answer::OwnRow => "3 database: keys begin with the organization",
            Answer::Refused(refusal) => match refusal.kind {
                ErrorKind::Denied => {
                    let noted = self.noted.as_ref()?;
                    let wall = match noted.kind {
                        AuditKind::TicketRefused => "5 cryptography",
                        _ => "1 type",
                    };
                    return Some(format!("{wall}: {}", noted.detail.as_deref()?));
                }
                ErrorKind::Unconfigured => "1 type: cross-tenant work is off",
                ErrorKind::Misuse if refusal.text.contains("issuer") => {
                    "1 type: not of this issuer"
                }
                ErrorKind::Misuse => "2 construction: refused before it ran",
                ErrorKind::NotFound if refusal.names_a_column => {
                    "3 database: composite foreign key"
                }
                ErrorKind::NotFound => "2 construction: organization predicate",
                ErrorKind::Incident if refusal.text.contains("stopped a write") => {
                    "3 database: trigger of the connection"
                }
                ErrorKind::Incident => "4 witness: row withheld, scope ended",
                ErrorKind::Invalid => "5 cryptography: the cursor does not open",
                _ => return None,
            },
            Answer::Rows(_) | Answer::Changed(_) | Answer::Granted(_) => return None,
        };
        Some(wall.to_owned())
    }

    /// What the attacker saw.
    pub(crate) fn seen(&self) -> String {
        self.answer.to_string()
    }

    /// Whether it looked the same at something that nobody has.
    pub(crate) fn blind(&self) -> Option<bool> {
        self.nowhere.as_ref().map(|nowhere| *nowhere == self.answer)
    }

    pub(crate) fn untouched(&self) -> bool {
        self.untouched
    }

    /// Whether everything held.
    pub(crate) fn held(&self) -> bool {
        let as_claimed = match (&self.answer, self.claim) {
            (Answer::Rows(0), Claim::NoRows)
            | (Answer::OwnRows(_), Claim::OwnRows | Claim::OwnRowsByPlace)
            | (Answer::Changed(0), Claim::NoChange)
            | (Answer::OwnRow, Claim::OwnRow) => true,
            (Answer::Refused(refusal), Claim::Refused(kind)) => refusal.kind == kind,
            _ => false,
        };
        as_claimed && self.wall().is_some() && self.blind() != Some(false) && self.untouched
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows(0) => f.write_str("no rows"),
            Self::Rows(rows) => write!(f, "{rows} ROWS, NOT ALL OWN"),
            Self::OwnRows(rows) => write!(f, "own rows alone ({rows})"),
            Self::Changed(rows) => write!(f, "{rows} rows changed"),
            Self::OwnRow => f.write_str("a new row of their own"),
            Self::Granted(what) => write!(f, "GRANTED: {what}"),
            Self::Refused(refusal) => write!(f, "{}: {}", refusal.kind, refusal.text),
        }
    }
}

impl From<Error> for Answer {
    fn from(error: Error) -> Self {
        let mut whole = format!("{error:?}");
        let mut source = error.source();
        while let Some(error) = source {
            whole.push_str(&format!(" <- {error} {error:?}"));
            source = error.source();
        }
        Self::Refused(Refusal {
            kind: error.kind(),
            text: error.to_string(),
            names_a_column: error.column().is_some(),
            whole,
        })
    }
}

/// The answer of an act, or of its failure.
pub(crate) fn answer(outcome: Result<Answer>) -> Answer {
    outcome.unwrap_or_else(Answer::from)
}

/// Rows, against the attacker's own as the Chinook file has them.
pub(crate) fn rows<T: PartialEq>(outcome: Result<Vec<T>>, own: &[T]) -> Answer {
    answer(outcome.map(|rows| {
        if !rows.is_empty() && rows.iter().all(|row| own.contains(row)) {
            Answer::OwnRows(rows.len())
        } else {
            Answer::Rows(rows.len())
        }
    }))
}

pub(crate) fn changed(outcome: Result<u64>) -> Answer {
    answer(outcome.map(Answer::Changed))
}

pub(crate) fn granted<T>(outcome: Result<T>, what: &'static str) -> Answer {
    answer(outcome.map(|_| Answer::Granted(what)))
}
