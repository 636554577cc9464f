//! Cross-tenant authority: power that is not tied to one organization, and every door that takes
//! it.
//!
//! Search for `cross_tenant_authority` to list all places of a program that can cross from one
//! organization to another.

mod credentials;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod directory;
mod keys;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod run;
mod tables;

use std::borrow::Cow;
use std::fmt;

#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) use run::{read_across, read_global, read_in};
pub use tables::{DeleteGlobal, InsertGlobal, SelectAcross, UpdateGlobal};

use crate::audit::{AuditEvent, AuditKind, AuditSink, Auditor, MemorySink};
use crate::error::{Error, Result};
use crate::id::OrganizationId;
use crate::scope::{Principal, Role, ScopeIssuer, TenantScope};

/// The second value without which nothing crosses from one organization to another.
///
/// It comes from [`cross_tenant_authority`] and cannot be cloned: each use shows where it is from.
/// Every use is recorded before it takes place, and does not when it cannot be recorded.
#[must_use = "an authority does nothing until a door takes it: `Order::select_across(&authority)`"]
pub struct CrossTenantAuthority {
    reason: &'static str,
    principal: Principal,
}

/// Takes authority over every organization, for a stated reason and in the name of a principal.
///
/// # Cross-tenant authority
///
/// What accepts the value reads, or changes, the data of every organization. Each use is written
/// to the audit with reason and principal first. An empty reason, and a principal with an
/// unfit id, are refused at each use.
///
/// # Security
///
/// This function asks nobody: that the program may call it here is the program's own decision.
/// Forbid it with clippy's `disallowed-methods` outside the files that are meant to have it.
///
/// # Examples
///
/// ```
/// use tenantry::ambient::cross_tenant_authority;
/// use tenantry::scope::Principal;
///
/// let authority = cross_tenant_authority("monthly invoices", Principal::job("billing"));
/// assert_eq!(authority.reason(), "monthly invoices");
/// ```
pub fn cross_tenant_authority(
    reason: &'static str,
    principal: impl Into<Principal>,
) -> CrossTenantAuthority {
    CrossTenantAuthority { reason, principal: principal.into() }
}

impl CrossTenantAuthority {
    /// Why the authority was taken.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.reason
    }

    /// In whose name it was taken.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Writes down one use. INVARIANT: whatever takes the authority calls this first, and does
    /// nothing when it fails.
    pub(crate) async fn record(
        &self,
        auditor: &Auditor,
        statement: impl Into<Cow<'static, str>>,
    ) -> Result<()> {
        self.validate()?;
        auditor.require(self.event(auditor, statement)).await
    }

    fn validate(&self) -> Result<()> {
        if self.reason.trim().is_empty() {
            return Err(Error::misuse("cross-tenant authority needs a reason"));
        }
        self.principal.validate()
    }

    fn event(&self, auditor: &Auditor, statement: impl Into<Cow<'static, str>>) -> AuditEvent {
        let kind = AuditKind::CrossTenant { reason: self.reason };
        auditor.event(kind).by(&self.principal).on(statement)
    }
}

impl fmt::Debug for CrossTenantAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrossTenantAuthority")
            .field("reason", &self.reason)
            .field("principal", &self.principal)
            .finish()
    }
}

impl ScopeIssuer {
    /// Enters an organization of which the principal of the authority need not be a member: for
    /// support and maintenance. The scope has the role [`Owner`](Role::Owner).
    ///
    /// # Cross-tenant authority
    ///
    /// Enters any active organization with full rights in it. The organization finds the event
    /// among its own. A ticket of such a scope is redeemed only if the principal is a member.
    ///
    /// # Errors
    ///
    /// `Denied` for an organization that is suspended, inactive or does not exist. `Unavailable`
    /// where the use cannot be recorded or the Directory fails. `Misuse` for an authority without
    /// a reason, `Unauthenticated` or `Invalid` for one whose principal has an empty or unfit id.
    ///
    /// # Examples
    ///
    /// ```
    /// use tenantry::OrganizationId;
    /// use tenantry::ambient::cross_tenant_authority;
    /// use tenantry::scope::{MemoryDirectory, Principal, ScopeIssuer};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> tenantry::Result<()> {
    /// let organization = OrganizationId::new();
    /// let directory = MemoryDirectory::new();
    /// directory.add_organization(&organization);
    /// let issuer = ScopeIssuer::new(directory);
    ///
    /// let authority = cross_tenant_authority("support case", Principal::user("staff_7"));
    /// let scope = issuer.enter_across(&organization, &authority).await?;
    /// assert_eq!(scope.organization(), &organization);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn enter_across(
        &self,
        organization: impl Into<OrganizationId> + Send,
        authority: &CrossTenantAuthority,
    ) -> Result<TenantScope> {
        let organization = organization.into();
        authority.validate()?;
        let event = authority.event(self.auditor(), "enter organization").about(&organization);
        self.auditor().require(event).await?;
        self.admit_stranger(authority.principal(), &organization, Role::Owner).await
    }
}

impl MemorySink {
    /// The events of every organization, oldest first. The reading itself is recorded before, in
    /// this sink.
    ///
    /// # Cross-tenant authority
    ///
    /// Reads who did what in every organization.
    ///
    /// # Errors
    ///
    /// `Misuse` for an authority without a reason, `Unauthenticated` or `Invalid` for one whose
    /// principal has an empty or unfit id.
    pub async fn events_across(&self, authority: &CrossTenantAuthority) -> Result<Vec<AuditEvent>> {
        authority.validate()?;
        let kind = AuditKind::CrossTenant { reason: authority.reason };
        let event = AuditEvent::new(kind, crate::clock::now())
            .by(authority.principal())
            .on("read audit events");
        self.record(&event).await?;
        Ok(self.all())
    }
}
