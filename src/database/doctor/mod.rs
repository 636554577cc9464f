//! The doctor: examines a database before it serves scopes, and says what to mend.
//!
//! A declaration says how a table should look; a database that was made by other hands may look
//! otherwise. A finding is *fatal* where the difference can fool a predicate or lets one
//! organization affect or detect another; the rest is a *warning*. Opening a
//! [`Database`](crate::Database) refuses fatal findings, [`Database::doctor`] lists all of them
//! and also looks at the rows.
//!
//! Beside the database it looks into the environment of the process, on demand:
//! [`EnvironmentCheck`] finds organizations' tokens where only the application's own belong.
//!
//! Every finding carries the statements that mend it. The chapter `doctor.md` of the manual
//! explains each code.
//!
//! [`Database::doctor`]: crate::Database::doctor

mod catalog;
mod columns;
mod environment;
mod indexes;
mod objects;
mod references;
mod remedies;
mod report;
mod rows;
mod rules;
mod sqlite;
mod statement;

pub use environment::EnvironmentCheck;
pub use report::{Acceptance, Finding, Report, Severity};

pub(crate) use sqlite::{Examination, examine};

#[cfg(test)]
mod tests;
