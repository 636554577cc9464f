//! Scopes: the permission to act inside one organization, and who issues it.

mod directory;
mod gate;
mod issuer;
mod principal;
mod ticket;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use directory::{Directory, Membership, MemoryDirectory};
pub use issuer::{Breaker, ScopeIssuer, ScopeIssuerBuilder};
pub use principal::{Principal, PrincipalKind, Role};
pub use ticket::{ScopeTicket, TicketKey};

use crate::audit::{AuditEvent, AuditKind, Auditor, MemorySink};
use crate::error::{Error, Result};
use crate::id::OrganizationId;
use issuer::Admission;

/// The permission to act inside one organization: every query begins with one.
///
/// A scope comes from a [`ScopeIssuer`], which asked the [`Directory`] first. Holding it *is* the
/// permission: pass it on to what acts for the same principal in the same organization, and to
/// nothing else. A clone carries the full authority.
///
/// A scope stops working when its organization is suspended, when everything is halted, and at
/// its maximum age; from then on whatever uses it is `Denied`.
///
/// # Security
///
/// There is no other way to a scope: no constructor, no default, no parsing, no deserialization.
/// Through a job queue a [`ticket`](Self::ticket) takes it.
///
/// # Examples
///
/// ```
/// use tenantry::{OrganizationId, TenantScope};
/// use tenantry::scope::{MemoryDirectory, Principal, Role, ScopeIssuer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tenantry::Result<()> {
/// let (organization, ann) = (OrganizationId::new(), Principal::user("ann"));
/// let directory = MemoryDirectory::new();
/// directory.add_member(&organization, &ann, Role::Member);
///
/// let issuer = ScopeIssuer::new(directory);
/// let scope: TenantScope = issuer.enter(&ann, organization.clone()).await?;
/// assert_eq!(scope.organization(), &organization);
/// assert!(scope.require(Role::Member).is_ok());
/// assert!(scope.require(Role::Admin).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TenantScope(Arc<Inner>);

struct Inner {
    admission: Admission,
    organization: OrganizationId,
    principal: Principal,
    role: Role,
    /// Whether the principal is a member; not one who crossed over by authority.
    member: bool,
    issuer: ScopeIssuer,
}

impl TenantScope {
    /// The organization in which the scope acts.
    #[must_use]
    pub fn organization(&self) -> &OrganizationId {
        &self.0.organization
    }

    /// Who acts.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.0.principal
    }

    /// What the principal may do in the organization, as the [`Directory`] said at entry.
    #[must_use]
    pub fn role(&self) -> Role {
        self.0.role
    }

    /// Asks for a role: that one or a higher one passes.
    ///
    /// Queries do not enforce roles; the application asks for the role where an act needs one.
    ///
    /// # Errors
    ///
    /// `Denied` for a lesser role, and for a scope that no longer works.
    pub fn require(&self, role: Role) -> Result<()> {
        self.check()?;
        if self.0.role < role { Err(Error::denied()) } else { Ok(()) }
    }

    /// A ticket with which a job can enter the organization later, for this principal.
    ///
    /// It is bound to the purpose of the key and to the payload of the job, and expires after
    /// `ttl`, which is more than zero and at most [`ScopeTicket::MAX_TTL`]. See [`ScopeTicket`].
    ///
    /// # Errors
    ///
    /// `Denied` for a scope that no longer works, `Invalid` for another `ttl`, `Unavailable`
    /// where the operating system gives no random bytes.
    pub fn ticket(&self, key: &TicketKey, ttl: Duration, payload: &[u8]) -> Result<ScopeTicket> {
        self.check()?;
        key.issue(self, self.0.issuer.clock().now(), ttl, payload)
    }
}

impl TenantScope {
    /// Whether the scope still works: asked at every run, every batch of a stream, every commit.
    #[inline]
    pub(crate) fn check(&self) -> Result<()> {
        match self.0.issuer.objection(&self.0.admission) {
            None => Ok(()),
            Some(objection) => Err(self.refuse(objection)),
        }
    }

    /// Whether the scope came of a membership, and ends with it; and not of an authority.
    pub(crate) fn is_of_a_member(&self) -> bool {
        self.0.member
    }

    pub(crate) fn issuer(&self) -> &ScopeIssuer {
        &self.0.issuer
    }

    pub(crate) fn issued_by(&self, issuer: &ScopeIssuer) -> bool {
        self.0.issuer == *issuer
    }

    /// Whether both scopes reach the same data: the same organization, by the same issuer.
    pub(crate) fn same_reach(&self, other: &Self) -> bool {
        self.0.organization == other.0.organization && other.issued_by(&self.0.issuer)
    }

    /// An audit event about this scope's organization and principal.
    pub(crate) fn event(&self, kind: AuditKind) -> AuditEvent {
        self.0.issuer.auditor().event(kind).about(self.organization()).by(self.principal())
    }

    /// The breaker: stops the organization, or everything where the issuer is set so.
    #[cold]
    pub(crate) fn trip(&self, detail: impl Into<Cow<'static, str>>) {
        self.0.issuer.trip(&self.0.organization, detail.into());
    }

    /// What a failure means: an incident stops the organization and is written down before anybody
    /// hears of it, once, however many pass it on.
    pub(crate) async fn incident(
        &self,
        auditor: &Auditor,
        on: Option<String>,
        error: Error,
    ) -> Error {
        if !error.is_new_incident() {
            return error;
        }
        self.trip("incident");
        let event = self.event(AuditKind::Incident);
        auditor.incident(if let Some(on) = on { event.on(on) } else { event }, error).await
    }

    #[cold]
    fn refuse(&self, objection: &'static str) -> Error {
        let event = self.event(AuditKind::ScopeDenied).because(objection);
        self.0.issuer.auditor().note(event);
        Error::denied()
    }
}

impl fmt::Debug for TenantScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantScope")
            .field("organization", &self.0.organization)
            .field("principal", &self.0.principal)
            .finish_non_exhaustive()
    }
}

impl MemorySink {
    /// The events of the scope's own organization, oldest first.
    ///
    /// # Errors
    ///
    /// `Denied` for a scope that no longer works.
    pub fn events_for(&self, scope: &TenantScope) -> Result<Vec<AuditEvent>> {
        scope.check()?;
        Ok(self.of(scope.organization()))
    }
}

#[cfg(test)]
mod tests;
