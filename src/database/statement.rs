//! A statement with its bound values, in the form that a store takes.

use sqlx::SqlStr;

use super::raw;
use super::store::Store;
use crate::credential::SealingKey;
use crate::error::{Error, Result};
use crate::id::OrganizationId;
use crate::query::{Bind, Rendered, Sink, Sql, unbound};
use crate::table::Value;

/// The bound values of one store.
#[derive(Debug)]
pub(crate) enum Arguments {
    #[cfg(feature = "postgres")]
    Postgres(sqlx::postgres::PgArguments),
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::sqlite::SqliteArguments),
}

/// A value as a store is given it.
pub(super) enum Given<'v> {
    Organization(&'v OrganizationId),
    Value(Value),
}

/// A statement ready to run.
pub(crate) struct Bound {
    pub(super) sql: SqlStr,
    pub(super) arguments: Arguments,
}

/// Binds values as they come.
#[derive(Debug)]
pub(crate) struct Binder<'c> {
    arguments: Arguments,
    organization: Option<&'c OrganizationId>,
    /// Of each value, whether it is the organization; where the second opinion asks.
    organizations: Option<Vec<bool>>,
    /// The key that seals for the organization and goes on to until the transaction ends.
    sealing: Option<&'c SealingKey>,
    failure: Option<Error>,
}

impl<'c> Binder<'c> {
    pub(crate) fn new(
        store: &Store,
        organization: Option<&'c OrganizationId>,
        remembers: bool,
        sealing: Option<&'c SealingKey>,
    ) -> Self {
        Self {
            arguments: store.arguments(),
            organization,
            organizations: remembers.then(Vec::new),
            sealing,
            failure: None,
        }
    }

    /// Whether a value could not be bound: then that is what [`finish`] says, and nothing else about
    /// the statement is, which lacks the value.
    pub(crate) const fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    pub(crate) fn organizations(&self) -> Option<&[bool]> {
        self.organizations.as_deref()
    }

    #[inline]
    fn add(&mut self, bind: Bind) -> Result<()> {
        let given = match (bind, self.organization) {
            (Bind::Organization, Some(organization)) => Given::Organization(organization),
            (Bind::Organization, None) => {
                return Err(Error::internal("a statement needs an organization and has none"));
            }
            (Bind::Slot(..), _) => return Err(unbound()),
            (Bind::Value(value), _) => {
                if let Value::Refused(_) | Value::Sealed(_) = value {
                    self.admit(&value)?;
                }
                Given::Value(value)
            }
        };
        match &mut self.arguments {
            #[cfg(feature = "postgres")]
            Arguments::Postgres(arguments) => super::postgres::add(arguments, given),
            #[cfg(feature = "sqlite")]
            Arguments::Sqlite(arguments) => super::sqlite::add(arguments, given),
        }
    }
}

impl Binder<'_> {
    /// Whether a value that is not like the others is bound.
    ///
    /// INVARIANT: no value is written under a key that may be retired meanwhile, having been counted
    /// without it.
    #[cold]
    fn admit(&self, value: &Value) -> Result<()> {
        match (value, self.sealing) {
            (Value::Refused(reason), _) => Err(Error::invalid(*reason)),
            (Value::Sealed(sealed), Some(key)) if key.made(&sealed.0, sealed.1) => Ok(()),
            (Value::Sealed(_), Some(_)) => Err(Error::conflict(
                "a value was sealed or indexed under a key that does not seal any more: do it again",
            )),
            (Value::Sealed(_), None) => Err(Error::misuse(
                "a sealed value or blind index is written in a transaction that `SqlCredentialStore::begin` began",
            )),
            _ => Ok(()),
        }
    }
}

impl Sink for Binder<'_> {
    #[inline]
    fn push(&mut self, bind: Bind) {
        if let Some(organizations) = &mut self.organizations {
            organizations.push(matches!(bind, Bind::Organization));
        }
        if let Err(error) = self.add(bind) {
            self.failure.get_or_insert(error);
        }
    }

    fn count(&self) -> usize {
        use sqlx::Arguments as _;
        match &self.arguments {
            #[cfg(feature = "postgres")]
            Arguments::Postgres(arguments) => arguments.len(),
            #[cfg(feature = "sqlite")]
            Arguments::Sqlite(arguments) => arguments.len(),
        }
    }

    fn reserve(&mut self, values: usize) {
        use sqlx::Arguments as _;
        match &mut self.arguments {
            #[cfg(feature = "postgres")]
            Arguments::Postgres(arguments) => arguments.reserve(values, values * 20),
            #[cfg(feature = "sqlite")]
            Arguments::Sqlite(arguments) => arguments.reserve(values, 0),
        }
    }
}

/// The statement, or why a value of it could not be bound.
pub(crate) fn finish(rendered: Rendered<Binder<'_>>) -> Result<Bound> {
    if let Some(failure) = rendered.binds.failure {
        return Err(failure);
    }
    Ok(Bound { sql: raw::rendered(rendered.sql), arguments: rendered.binds.arguments })
}

/// Binds the values of a statement of our own.
pub(crate) fn bind(
    store: &Store,
    sql: Sql,
    values: impl IntoIterator<Item = Bind>,
    organization: Option<&OrganizationId>,
) -> Result<Bound> {
    let mut binds = Binder::new(store, organization, false, None);
    for value in values {
        binds.push(value);
    }
    finish(Rendered { sql, binds })
}
