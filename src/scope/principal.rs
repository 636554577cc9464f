//! Who acts, and how much they may.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Who acts: a user, a service, a job, or a verified webhook.
///
/// The application makes one after it has authenticated somebody; a principal is a name and
/// carries no authority. Its id has 1 to 256 bytes and no control character: whoever is asked to
/// act for a principal with an empty id answers `Unauthenticated`, and `Invalid` for any other
/// unfit one. Cheap to clone.
///
/// # Examples
///
/// ```
/// use tenantry::scope::Principal;
///
/// let ann = Principal::user("u_1");
/// assert_eq!(ann.id(), "u_1");
/// assert_eq!(ann.to_string(), "user:u_1");
/// assert_ne!(ann, Principal::service("u_1"));
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal {
    kind: PrincipalKind,
    id: Arc<str>,
}

/// The kind of a [`Principal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum PrincipalKind {
    /// A piece of work that runs by itself.
    Job,
    /// Another program.
    Service,
    /// A person.
    User,
    /// A delivery of a provider whose signature was verified.
    Webhook,
}

impl Principal {
    /// A person.
    #[must_use]
    pub fn user(id: impl Into<Arc<str>>) -> Self {
        Self::of(PrincipalKind::User, id)
    }

    /// Another program.
    #[must_use]
    pub fn service(name: impl Into<Arc<str>>) -> Self {
        Self::of(PrincipalKind::Service, name)
    }

    /// A piece of work that runs by itself.
    #[must_use]
    pub fn job(name: impl Into<Arc<str>>) -> Self {
        Self::of(PrincipalKind::Job, name)
    }

    /// A delivery whose signature was verified: for the webhook module alone.
    #[cfg_attr(not(test), expect(dead_code, reason = "there is no webhook module yet"))]
    pub(crate) fn webhook(id: impl Into<Arc<str>>) -> Self {
        Self::of(PrincipalKind::Webhook, id)
    }

    pub(crate) fn of(kind: PrincipalKind, id: impl Into<Arc<str>>) -> Self {
        Self { kind, id: id.into() }
    }

    /// Which kind of principal this is.
    #[must_use]
    pub fn kind(&self) -> PrincipalKind {
        self.kind
    }

    /// The id within its kind.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Refuses ids that would blur a log line or stand for nobody.
    pub(crate) fn validate(&self) -> Result<()> {
        if self.id.is_empty() {
            return Err(Error::unauthenticated());
        }
        if self.id.len() > MAX_ID || self.id.chars().any(char::is_control) {
            return Err(Error::invalid(
                "the id of a principal has 1 to 256 bytes and no control character",
            ));
        }
        Ok(())
    }
}

impl From<&Principal> for Principal {
    fn from(principal: &Principal) -> Self {
        principal.clone()
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.id)
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Principal({}:{})", self.kind, self.id.escape_debug())
    }
}

impl PrincipalKind {
    /// The name of the kind, in lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Service => "service",
            Self::User => "user",
            Self::Webhook => "webhook",
        }
    }
}

impl fmt::Display for PrincipalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a member may do, in ascending order.
///
/// A role travels in the scope and is asked for with
/// [`TenantScope::require`](super::TenantScope::require). Queries do not enforce roles.
///
/// # Examples
///
/// ```
/// use tenantry::scope::Role;
///
/// assert!(Role::Viewer < Role::Member && Role::Member < Role::Admin && Role::Admin < Role::Owner);
/// assert_eq!("admin".parse::<Role>()?, Role::Admin);
/// # Ok::<(), tenantry::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Role {
    /// Looks.
    Viewer,
    /// Works.
    Member,
    /// Administers.
    Admin,
    /// Owns.
    Owner,
}

impl Role {
    /// The name of the role, in lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        [Self::Viewer, Self::Member, Self::Admin, Self::Owner]
            .into_iter()
            .find(|role| role.as_str() == name)
            .ok_or_else(|| Error::invalid("a role is viewer, member, admin or owner"))
    }
}

const MAX_ID: usize = 256;
