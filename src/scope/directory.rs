//! Who belongs where: the [`Directory`], which the issuer asks before it issues a scope.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::principal::{Principal, Role};
use crate::error::Result;
use crate::id::OrganizationId;

/// The application's knowledge of organizations and members. Open: implement it over your own
/// tables or identity service.
///
/// # Contract
///
/// - An answer MUST be about exactly the principal and the organization that were asked for.
/// - An organization that does not exist MUST be answered like one of which the principal is no
///   member: `None`, no active organization, in the same way and about the same time.
/// - An answer MUST NOT be older than the application's deadline for a removed member to be out;
///   scopes live on for their maximum age besides.
/// - What cannot be answered MUST be an error; nobody is let in by one. See
///   [`Error::outage`](crate::Error::outage).
///
/// # Security
///
/// A Directory that lies opens everything: this trait is part of what the application must get
/// right itself.
///
/// # Cancellation
///
/// Calls are dropped when their caller is. The crate sets no time limit of its own: a Directory
/// that may hang brings one along, and fails when it has passed.
///
/// # Wrappers
///
/// A cache in front of a Directory MUST key by kind and id of the principal and by the
/// organization, and MUST NOT keep errors as absence.
#[async_trait]
pub trait Directory: fmt::Debug + Send + Sync + 'static {
    /// The membership of a principal in an organization, if there is one.
    async fn membership(
        &self,
        principal: &Principal,
        organization: &OrganizationId,
    ) -> Result<Option<Membership>>;

    /// The organizations of a principal, in the order in which a switcher lists them.
    async fn organizations(&self, principal: &Principal) -> Result<Vec<OrganizationId>>;

    /// Whether the organization exists and is active.
    async fn is_active(&self, organization: &OrganizationId) -> Result<bool>;
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<D: Directory + ?Sized> Directory for Arc<D> {
    async fn membership(
        &self,
        principal: &Principal,
        organization: &OrganizationId,
    ) -> Result<Option<Membership>> {
        (**self).membership(principal, organization).await
    }

    async fn organizations(&self, principal: &Principal) -> Result<Vec<OrganizationId>> {
        (**self).organizations(principal).await
    }

    async fn is_active(&self, organization: &OrganizationId) -> Result<bool> {
        (**self).is_active(organization).await
    }
}

/// What a [`Directory`] knows of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Membership {
    role: Role,
    active: bool,
}

impl Membership {
    /// A membership with a role; `active` says whether membership and organization both are.
    #[must_use]
    pub fn new(role: Role, active: bool) -> Self {
        Self { role, active }
    }

    /// What the member may do.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether membership and organization are active.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.active
    }
}

/// A [`Directory`] in memory: for tests, examples and programs with a fixed set of members.
/// Clones share their content.
///
/// # Examples
///
/// ```
/// use tenantry::OrganizationId;
/// use tenantry::scope::{MemoryDirectory, Principal, Role, ScopeIssuer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tenantry::Result<()> {
/// let (organization, ann) = (OrganizationId::new(), Principal::user("ann"));
/// let directory = MemoryDirectory::new();
/// directory.add_member(&organization, &ann, Role::Admin);
///
/// let issuer = ScopeIssuer::new(directory.clone());
/// assert_eq!(issuer.organizations(&ann).await?, [organization.clone()]);
///
/// directory.remove_member(&organization, &ann);
/// assert!(issuer.enter(&ann, organization).await.is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemoryDirectory(Arc<Mutex<HashMap<OrganizationId, Entry>>>);

#[derive(Debug)]
struct Entry {
    active: bool,
    members: BTreeMap<Principal, Role>,
}

impl MemoryDirectory {
    /// An empty directory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an active organization without members, if it is not there.
    pub fn add_organization(&self, organization: &OrganizationId) {
        self.entry(organization, |_| ());
    }

    /// Makes a principal a member, or gives a member another role; adds the organization if it is
    /// not there.
    pub fn add_member(&self, organization: &OrganizationId, principal: &Principal, role: Role) {
        self.entry(organization, |entry| entry.members.insert(principal.clone(), role));
    }

    /// Ends a membership. Scopes that were issued live on for their maximum age.
    pub fn remove_member(&self, organization: &OrganizationId, principal: &Principal) {
        self.with(|entries| {
            entries.get_mut(organization).map(|entry| entry.members.remove(principal))
        });
    }

    /// Activates or deactivates an organization; adds it if it is not there.
    pub fn set_active(&self, organization: &OrganizationId, active: bool) {
        self.entry(organization, |entry| entry.active = active);
    }

    fn entry<T>(&self, organization: &OrganizationId, act: impl FnOnce(&mut Entry) -> T) {
        self.with(|entries| {
            let absent = || Entry { active: true, members: BTreeMap::new() };
            act(entries.entry(organization.clone()).or_insert_with(absent));
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<OrganizationId, Entry>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Directory for MemoryDirectory {
    async fn membership(
        &self,
        principal: &Principal,
        organization: &OrganizationId,
    ) -> Result<Option<Membership>> {
        Ok(self.with(|entries| {
            let entry = entries.get(organization)?;
            let role = entry.members.get(principal)?;
            Some(Membership::new(*role, entry.active))
        }))
    }

    async fn organizations(&self, principal: &Principal) -> Result<Vec<OrganizationId>> {
        let mut found: Vec<_> = self.with(|entries| {
            let mine = |entry: &Entry| entry.active && entry.members.contains_key(principal);
            let found = entries.iter().filter(|(_, entry)| mine(entry));
            found.map(|(organization, _)| organization.clone()).collect()
        });
        found.sort();
        Ok(found)
    }

    async fn is_active(&self, organization: &OrganizationId) -> Result<bool> {
        Ok(self.with(|entries| entries.get(organization).is_some_and(|entry| entry.active)))
    }
}
