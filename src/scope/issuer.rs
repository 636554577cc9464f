//! The issuer of scopes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use super::directory::Directory;
use super::gate::{Gate, OrganizationGate, View};
use super::principal::{Principal, Role};
use super::ticket::{ScopeTicket, TicketKey};
use super::{Inner as ScopeInner, TenantScope};
use crate::audit::{AuditKind, AuditSink, Auditor, TracingSink};
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, Result};
use crate::id::OrganizationId;

/// Issues [`TenantScope`]s, after it asked the [`Directory`]; and ends them.
///
/// A program has one, and its databases are bound to it. Clones are the same issuer, and two
/// issuers are equal only if one is a clone of the other.
///
/// # Suspension
///
/// [`suspend`](Self::suspend) and [`halt_all`](Self::halt_all) end the scopes of this process at
/// once and refuse new ones. They do not outlive the process and other processes do not learn of
/// them: an organization that is to stay out is deactivated in the Directory, which other
/// processes ask again when their scopes have reached the maximum age.
///
/// # Security
///
/// Whoever can build an issuer with a Directory of their own can enter any organization. A
/// database refuses the scopes of an issuer that is not its own.
///
/// # Examples
///
/// ```
/// use tenantry::OrganizationId;
/// use tenantry::error::ErrorKind;
/// use tenantry::scope::{MemoryDirectory, Principal, Role, ScopeIssuer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tenantry::Result<()> {
/// let (ours, theirs) = (OrganizationId::new(), OrganizationId::new());
/// let (ann, bob) = (Principal::user("ann"), Principal::user("bob"));
/// let directory = MemoryDirectory::new();
/// directory.add_member(&ours, &ann, Role::Member);
/// directory.add_member(&theirs, &bob, Role::Owner);
///
/// let issuer = ScopeIssuer::new(directory);
/// let scope = issuer.enter(&ann, &ours).await?;
///
/// // An organization of others and one that does not exist look the same.
/// let foreign = issuer.enter(&ann, &theirs).await.unwrap_err();
/// let absent = issuer.enter(&ann, OrganizationId::new()).await.unwrap_err();
/// assert_eq!(foreign.kind(), ErrorKind::Denied);
/// assert_eq!(foreign.to_string(), absent.to_string());
///
/// issuer.suspend(&ours);
/// assert!(scope.require(Role::Viewer).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ScopeIssuer(Arc<Inner>);

struct Inner {
    directory: Arc<dyn Directory>,
    clock: Arc<dyn Clock>,
    auditor: Auditor,
    max_scope_age: Duration,
    breaker: Breaker,
    /// Closed by a halt.
    gate: Gate,
    /// Of every organization that was ever entered or suspended, and no other.
    organizations: RwLock<Gates>,
}

type Gates = HashMap<OrganizationId, Arc<OrganizationGate>>;

/// What a found breach of isolation stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Breaker {
    /// The organization whose statement found it.
    #[default]
    Organization,
    /// Every organization, in this process.
    Process,
}

/// Settings of a [`ScopeIssuer`].
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct ScopeIssuerBuilder {
    directory: Arc<dyn Directory>,
    clock: Arc<dyn Clock>,
    sink: Arc<dyn AuditSink>,
    max_scope_age: Duration,
    breaker: Breaker,
}

/// How a principal comes to enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Member,
    Stranger,
}

/// What was true before the Directory was asked.
struct Sighting {
    organization: View,
    issuer: View,
    /// What the monotonic clock shows when the scope has reached its maximum age.
    until: Duration,
}

/// What a scope was issued on; it works as long as this stays so.
pub(super) struct Admission {
    gate: Arc<OrganizationGate>,
    sighting: Sighting,
}

impl ScopeIssuer {
    /// An issuer with the default settings.
    #[must_use]
    pub fn new(directory: impl Directory) -> Self {
        Self::builder(directory).build()
    }

    /// Settings for an issuer.
    pub fn builder(directory: impl Directory) -> ScopeIssuerBuilder {
        ScopeIssuerBuilder {
            directory: Arc::new(directory),
            clock: Arc::new(SystemClock::new()),
            sink: Arc::new(TracingSink),
            max_scope_age: MAX_SCOPE_AGE,
            breaker: Breaker::default(),
        }
    }

    /// Enters an organization for a principal: the one way from a request to a scope.
    ///
    /// # Errors
    ///
    /// `Denied` unless the [`Directory`] knows an active membership and the organization is not
    /// suspended; it is the same for an organization that does not exist. `Unavailable` where the
    /// Directory fails. `Unauthenticated` or `Invalid` for a principal with an empty or unfit id.
    ///
    /// # Cancellation
    ///
    /// The Directory is asked without a time limit. Dropping the future leaves nothing behind.
    pub async fn enter(
        &self,
        principal: &Principal,
        organization: impl Into<OrganizationId> + Send,
    ) -> Result<TenantScope> {
        let organization = organization.into();
        principal.validate()?;
        let outcomes = (AuditKind::ScopeEntered, AuditKind::ScopeDenied);
        let asked = self.membership(principal, &organization);
        self.admit(principal, &organization, Standing::Member, outcomes, asked).await
    }

    /// The organizations of a principal, as the [`Directory`] lists them: for a switcher.
    ///
    /// # Errors
    ///
    /// `Unavailable` where the Directory fails. `Unauthenticated` or `Invalid` for a principal
    /// with an empty or unfit id.
    pub async fn organizations(&self, principal: &Principal) -> Result<Vec<OrganizationId>> {
        principal.validate()?;
        self.0.directory.organizations(principal).await.map_err(directory_failed)
    }

    /// Exchanges a ticket for a scope, in this process or another one.
    ///
    /// The [`Directory`] is asked anew; the scope has the lesser of the role on the ticket and
    /// the role of now.
    ///
    /// # Errors
    ///
    /// `Denied` for whatever is wrong with the ticket, its key, its payload, the membership or
    /// the organization; only the audit has the reason. `Unavailable` where the Directory fails.
    ///
    /// # Cancellation
    ///
    /// As with [`enter`](Self::enter). A ticket is not used up by being redeemed.
    pub async fn redeem(
        &self,
        ticket: &ScopeTicket,
        key: &TicketKey,
        payload: &[u8],
    ) -> Result<TenantScope> {
        let claim = match key.open(ticket, self.0.clock.now(), payload) {
            Ok(claim) => claim,
            Err(objection) => {
                let event = self.0.auditor.event(AuditKind::TicketRefused);
                self.0.auditor.note(event.because(objection));
                return Err(Error::denied());
            }
        };
        let outcomes = (AuditKind::TicketRedeemed, AuditKind::TicketRefused);
        let asked = async {
            let role = self.membership(&claim.principal, &claim.organization).await?;
            Ok(role.map(|role| role.min(claim.role)))
        };
        let (principal, organization) = (&claim.principal, &claim.organization);
        self.admit(principal, organization, Standing::Member, outcomes, asked).await
    }

    /// Ends every scope of an organization in this process, for good, and refuses new ones until
    /// [`resume`](Self::resume).
    pub fn suspend(&self, organization: impl Into<OrganizationId>) {
        let organization = organization.into();
        self.gate_of(&organization).gate.close();
        let event = self.0.auditor.event(AuditKind::OrganizationSuspended);
        self.0.auditor.note(event.about(&organization));
    }

    /// Lets an organization be entered again, also while all others are halted. Scopes that were
    /// ended stay so.
    pub fn resume(&self, organization: impl Into<OrganizationId>) {
        let organization = organization.into();
        self.gate_of(&organization).resume(self.0.gate.view());
        let event = self.0.auditor.event(AuditKind::OrganizationResumed);
        self.0.auditor.note(event.about(&organization));
    }

    /// Ends every scope of this issuer, for good, and refuses new ones until
    /// [`resume_all`](Self::resume_all), or until [`resume`](Self::resume) for one organization.
    pub fn halt_all(&self) {
        self.0.gate.close();
        let event = self.0.auditor.event(AuditKind::HaltedAll);
        self.0.auditor.note(event);
    }

    /// Ends a halt. Scopes that were ended stay so, and suspended organizations suspended.
    pub fn resume_all(&self) {
        self.0.gate.open();
        let event = self.0.auditor.event(AuditKind::ResumedAll);
        self.0.auditor.note(event);
    }

    /// Waits until the audit events noted so far are written: for a shutdown in good order.
    ///
    /// # Errors
    ///
    /// `Unavailable` where the sink does not keep up.
    pub async fn flush_audit(&self) -> Result<()> {
        self.0.auditor.flush().await
    }

    /// How many ordinary audit events were dropped, because the sink failed or did not keep up.
    #[must_use]
    pub fn audit_dropped(&self) -> u64 {
        self.0.auditor.dropped()
    }
}

impl ScopeIssuer {
    pub(crate) fn auditor(&self) -> &Auditor {
        &self.0.auditor
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    /// Issues a scope with the role that `asked` finds, and reports which of two outcomes it had.
    ///
    /// INVARIANT: the gates are viewed before `asked` is polled and asks the Directory, so that a
    /// suspension while it answers is not missed; and it is asked whatever they show, so
    /// that a suspended organization is not refused faster than one that does not exist.
    async fn admit(
        &self,
        principal: &Principal,
        organization: &OrganizationId,
        standing: Standing,
        (entered, refused): (AuditKind, AuditKind),
        asked: impl Future<Output = Result<Result<Role, Objection>>> + Send,
    ) -> Result<TenantScope> {
        let sighting = self.sight(organization);
        let issued = asked.await?.and_then(|role| {
            let admission = self.examine(sighting, organization)?;
            Ok(TenantScope(Arc::new(ScopeInner {
                admission,
                organization: organization.clone(),
                principal: principal.clone(),
                role,
                member: standing == Standing::Member,
                issuer: self.clone(),
            })))
        });
        let kind = if issued.is_ok() { entered } else { refused };
        let mut event = self.0.auditor.event(kind).about(organization).by(principal);
        event.detail = issued.as_ref().err().map(|objection| Cow::Borrowed(*objection));
        self.0.auditor.note(event);
        issued.map_err(|_| Error::denied())
    }

    /// Issues a scope for one who is no member, if the organization is active: for the doors that
    /// have other proof of their right.
    pub(crate) async fn admit_stranger(
        &self,
        principal: &Principal,
        organization: &OrganizationId,
        role: Role,
    ) -> Result<TenantScope> {
        let outcomes = (AuditKind::ScopeEntered, AuditKind::ScopeDenied);
        let asked = async {
            let active =
                self.0.directory.is_active(organization).await.map_err(directory_failed)?;
            Ok(if active { Ok(role) } else { Err("the organization is not active") })
        };
        self.admit(principal, organization, Standing::Stranger, outcomes, asked).await
    }

    /// A scope for what a directory keeps about an organization, which need not be active or exist.
    ///
    /// INVARIANT: whoever asks for it has recorded an authority, and hands it to nobody.
    pub(crate) fn admit_registrar(
        &self,
        principal: &Principal,
        organization: &OrganizationId,
    ) -> Result<TenantScope> {
        let scope = self.outside_of_the_gate(principal, organization);
        if self.0.gate.view().is_closed() { Err(Error::denied()) } else { Ok(scope) }
    }

    /// Issues a scope whether or not the organization is active or suspended: for the care of its
    /// keys, which must not stop while it is locked out. A halt ends it like any other.
    ///
    /// INVARIANT: it is given to the store of keys and to nobody else.
    pub(crate) fn admit_caretaker(
        &self,
        principal: &Principal,
        organization: &OrganizationId,
    ) -> Result<TenantScope> {
        let scope = self.outside_of_the_gate(principal, organization);
        if self.0.gate.view().is_closed() {
            return Err(scope.refuse("everything is halted"));
        }
        Ok(scope)
    }

    /// A scope with a gate of its own, which no suspension closes.
    fn outside_of_the_gate(
        &self,
        principal: &Principal,
        organization: &OrganizationId,
    ) -> TenantScope {
        let (issuer, until) = (self.0.gate.view(), self.until());
        let sighting = Sighting { organization: View::default(), issuer, until };
        TenantScope(Arc::new(ScopeInner {
            admission: Admission { gate: Arc::default(), sighting },
            organization: organization.clone(),
            principal: principal.clone(),
            role: Role::Owner,
            member: false,
            issuer: self.clone(),
        }))
    }

    /// What the Directory says: a role, or an objection.
    async fn membership(
        &self,
        principal: &Principal,
        organization: &OrganizationId,
    ) -> Result<Result<Role, Objection>> {
        let membership = self.0.directory.membership(principal, organization).await;
        Ok(match membership.map_err(directory_failed)? {
            Some(membership) if membership.is_active() => Ok(membership.role()),
            Some(_) => Err("the membership or the organization is not active"),
            None => Err("not a member"),
        })
    }

    fn sight(&self, organization: &OrganizationId) -> Sighting {
        // What the Directory does not know gets no gate, or strangers could fill the memory.
        let gate = self.read().get(organization).cloned();
        Sighting {
            organization: gate.map_or(View::default(), |gate| gate.gate.view()),
            issuer: self.0.gate.view(),
            until: self.until(),
        }
    }

    /// When a scope of now has reached its maximum age.
    fn until(&self) -> Duration {
        self.0.clock.monotonic().saturating_add(self.0.max_scope_age)
    }

    fn examine(
        &self,
        sighting: Sighting,
        organization: &OrganizationId,
    ) -> Result<Admission, Objection> {
        let gate = self.gate_of(organization);
        if sighting.organization.is_closed() {
            return Err("the organization is suspended");
        }
        if sighting.issuer.is_closed() && !gate.is_exempt_from(sighting.issuer) {
            return Err("everything is halted");
        }
        let admission = Admission { gate, sighting };
        self.objection(&admission).map_or(Ok(admission), Err)
    }

    /// Why a scope with this admission no longer works.
    #[inline]
    pub(super) fn objection(&self, admission: &Admission) -> Option<Objection> {
        let Admission { gate, sighting } = admission;
        if gate.gate.closed_since(sighting.organization) {
            Some("the organization was suspended")
        } else if self.0.gate.closed_since(sighting.issuer) {
            Some("everything was halted")
        } else if self.0.clock.monotonic() >= sighting.until {
            Some("the scope has reached its maximum age")
        } else {
            None
        }
    }

    pub(super) fn trip(&self, organization: &OrganizationId, detail: Cow<'static, str>) {
        let kind = match self.0.breaker {
            Breaker::Organization => {
                self.gate_of(organization).gate.close();
                AuditKind::OrganizationSuspended
            }
            Breaker::Process => {
                self.0.gate.close();
                AuditKind::HaltedAll
            }
        };
        let event = self.0.auditor.event(kind).about(organization);
        self.0.auditor.note(event.because(detail));
    }

    fn gate_of(&self, organization: &OrganizationId) -> Arc<OrganizationGate> {
        if let Some(gate) = self.read().get(organization) {
            return Arc::clone(gate);
        }
        let gates = self.0.organizations.write();
        let mut gates = gates.unwrap_or_else(PoisonError::into_inner);
        Arc::clone(gates.entry(organization.clone()).or_default())
    }

    fn read(&self) -> RwLockReadGuard<'_, Gates> {
        let gates = self.0.organizations.read();
        gates.unwrap_or_else(PoisonError::into_inner)
    }
}

impl ScopeIssuerBuilder {
    /// Where time comes from; the system clock by default.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Where audit events are kept; a [`TracingSink`] by default.
    pub fn audit(mut self, sink: impl AuditSink) -> Self {
        self.sink = Arc::new(sink);
        self
    }

    /// After which time a scope ends; one hour by default.
    ///
    /// By this time, at the latest, a removed member is out, and other processes learn of a
    /// deactivated organization. An age of zero lets nobody in.
    pub fn max_scope_age(mut self, age: Duration) -> Self {
        self.max_scope_age = age;
        self
    }

    /// What a found breach of isolation stops; the organization by default.
    pub fn breaker(mut self, breaker: Breaker) -> Self {
        self.breaker = breaker;
        self
    }

    /// The issuer.
    #[must_use]
    pub fn build(self) -> ScopeIssuer {
        let Self { directory, clock, sink, max_scope_age, breaker } = self;
        ScopeIssuer(Arc::new(Inner {
            directory,
            auditor: Auditor::new(sink, Arc::clone(&clock)),
            clock,
            max_scope_age,
            breaker,
            gate: Gate::default(),
            organizations: RwLock::default(),
        }))
    }
}

impl PartialEq for ScopeIssuer {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ScopeIssuer {}

impl fmt::Debug for ScopeIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopeIssuer")
            .field("max_scope_age", &self.0.max_scope_age)
            .field("breaker", &self.0.breaker)
            .finish_non_exhaustive()
    }
}

/// A failing Directory lets nobody in, whatever kind its error claims to be.
fn directory_failed(error: Error) -> Error {
    let failed = Error::unavailable("the directory of organizations did not answer");
    match error.retry_after() {
        Some(wait) => failed.retry_after_of(wait),
        None => failed,
    }
    .with_source(error)
}

/// Why somebody is not let in: for the audit alone.
type Objection = &'static str;

const MAX_SCOPE_AGE: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
impl ScopeIssuer {
    /// The issuer of another process over the same Directory and clock.
    pub(super) fn rebuilt(&self) -> Self {
        let Inner { directory, clock, auditor, max_scope_age, breaker, .. } = &*self.0;
        Self(Arc::new(Inner {
            directory: Arc::clone(directory),
            clock: Arc::clone(clock),
            auditor: auditor.clone(),
            max_scope_age: *max_scope_age,
            breaker: *breaker,
            gate: Gate::default(),
            organizations: RwLock::default(),
        }))
    }

    pub(super) fn known(&self) -> usize {
        self.read().len()
    }
}
