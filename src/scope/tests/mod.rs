use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::FutureExt;
use proptest::prelude::*;
use time::OffsetDateTime;

use super::*;
use crate::ambient::cross_tenant_authority;
use crate::audit::{AuditEvent, AuditSink};
use crate::clock::ManualClock;
use crate::crypto::{KeyRing, SecretBytes};
use crate::error::ErrorKind;

mod crossing;
mod ending;
mod entering;
mod tickets;

const HOUR: Duration = Duration::from_secs(60 * 60);

type Hook = Box<dyn FnOnce() + Send>;

/// A directory in which something happens while it answers, or which fails.
#[derive(Default)]
struct Meddling {
    inner: MemoryDirectory,
    during: Mutex<Option<Hook>>,
    failure: Mutex<Option<Error>>,
    asked: AtomicUsize,
}

impl Meddling {
    fn answer(&self) -> Result<()> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if let Some(hook) = self.during.lock().unwrap().take() {
            hook();
        }
        self.failure.lock().unwrap().take().map_or(Ok(()), Err)
    }

    fn during(&self, hook: impl FnOnce() + Send + 'static) {
        *self.during.lock().unwrap() = Some(Box::new(hook));
    }

    fn fail(&self, error: Error) {
        *self.failure.lock().unwrap() = Some(error);
    }
}

impl fmt::Debug for Meddling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meddling")
    }
}

#[async_trait]
impl Directory for Meddling {
    async fn membership(
        &self,
        principal: &Principal,
        organization: &OrganizationId,
    ) -> Result<Option<Membership>> {
        self.answer()?;
        self.inner.membership(principal, organization).await
    }

    async fn organizations(&self, principal: &Principal) -> Result<Vec<OrganizationId>> {
        self.answer()?;
        self.inner.organizations(principal).await
    }

    async fn is_active(&self, organization: &OrganizationId) -> Result<bool> {
        self.answer()?;
        self.inner.is_active(organization).await
    }
}

/// Two organizations with one user id in common.
struct World {
    directory: Arc<Meddling>,
    clock: ManualClock,
    sink: MemorySink,
    issuer: ScopeIssuer,
    ours: OrganizationId,
    theirs: OrganizationId,
    ann: Principal,
    bob: Principal,
}

impl World {
    fn new() -> Self {
        Self::with(|builder| builder)
    }

    fn with(set: impl FnOnce(ScopeIssuerBuilder) -> ScopeIssuerBuilder) -> Self {
        let directory = Arc::new(Meddling::default());
        let (ours, theirs) = (OrganizationId::new(), OrganizationId::new());
        let (ann, bob) = (Principal::user("ann"), Principal::user("bob"));
        directory.inner.add_member(&ours, &ann, Role::Admin);
        directory.inner.add_member(&theirs, &bob, Role::Admin);
        let clock = ManualClock::new(OffsetDateTime::UNIX_EPOCH + 1_000 * HOUR);
        let sink = MemorySink::new();
        let builder =
            ScopeIssuer::builder(Arc::clone(&directory)).clock(clock.clone()).audit(sink.clone());
        let issuer = set(builder).build();
        Self { directory, clock, sink, issuer, ours, theirs, ann, bob }
    }

    fn enter(&self) -> Result<TenantScope> {
        now(self.issuer.enter(&self.ann, &self.ours))
    }

    fn last(&self) -> AuditEvent {
        self.sink.all().pop().unwrap()
    }
}

/// Everything here answers at once; and without a runtime the audit is written in place.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().unwrap()
}

fn denied<T: fmt::Debug>(result: Result<T>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert_eq!(format!("{error} {error:?}"), format!("{0} {0:?}", Error::denied()));
}

#[test]
fn principals_and_roles_print_and_parse() {
    assert_eq!(Principal::user("u_1").to_string(), "user:u_1");
    assert_eq!(Principal::service("s").to_string(), "service:s");
    assert_eq!(Principal::job("j").to_string(), "job:j");
    assert_eq!(format!("{:?}", Principal::webhook("w\n")), "Principal(webhook:w\\n)");
    for role in [Role::Viewer, Role::Member, Role::Admin, Role::Owner] {
        assert_eq!(role.to_string().parse::<Role>().unwrap(), role);
        assert_eq!(serde_json::to_string(&role).unwrap(), format!("\"{role}\""));
    }
    assert_eq!("Admin".parse::<Role>().unwrap_err().kind(), ErrorKind::Invalid);
}

/// What may happen to an issuer, over two organizations and two principals.
#[derive(Debug, Clone)]
enum Op {
    Enter { principal: usize, organization: usize },
    Suspend(usize),
    Resume(usize),
    HaltAll,
    ResumeAll,
    Advance(u64),
    SetMember { principal: usize, organization: usize, member: bool },
    SetActive { organization: usize, active: bool },
}

fn op() -> impl Strategy<Value = Op> {
    let pair = (0..2_usize, 0..2_usize);
    prop_oneof![
        8 => pair.clone().prop_map(|(principal, organization)| Op::Enter { principal, organization }),
        2 => (0..2_usize).prop_map(Op::Suspend),
        2 => (0..2_usize).prop_map(Op::Resume),
        1 => Just(Op::HaltAll),
        1 => Just(Op::ResumeAll),
        2 => (1..2_000_u64).prop_map(Op::Advance),
        2 => (pair, any::<bool>()).prop_map(|((principal, organization), member)| {
            Op::SetMember { principal, organization, member }
        }),
        1 => (0..2_usize, any::<bool>())
            .prop_map(|(organization, active)| Op::SetActive { organization, active }),
    ]
}

proptest! {
    /// The model keeps for each organization whether it is open, and for each scope whether
    /// anything has ended it.
    #[test]
    fn scopes_live_and_die_as_the_plain_model_says(script in prop::collection::vec(op(), 0..60)) {
        let clock = ManualClock::new(OffsetDateTime::UNIX_EPOCH);
        let directory = MemoryDirectory::new();
        let issuer = ScopeIssuer::builder(directory.clone())
            .clock(clock.clone())
            .audit(MemorySink::new())
            .max_scope_age(Duration::from_secs(3_600))
            .build();
        let organizations = [1, 2].map(|number| OrganizationId::from_i64(number).unwrap());
        let principals = ["ann", "bob"].map(Principal::user);
        let (mut member, mut active) = ([[false; 2]; 2], [true; 2]);
        let (mut suspended, mut halted) = ([false; 2], [false; 2]);
        let mut time = 0;
        let mut scopes: Vec<(TenantScope, usize, u64, bool)> = Vec::new();
        for organization in &organizations {
            directory.add_organization(organization);
        }
        for op in script {
            match op {
                Op::Enter { principal, organization } => {
                    let entered =
                        now(issuer.enter(&principals[principal], &organizations[organization]));
                    let expected = member[principal][organization]
                        && active[organization]
                        && !suspended[organization]
                        && !halted[organization];
                    prop_assert_eq!(entered.is_ok(), expected);
                    if let Ok(scope) = entered {
                        prop_assert_eq!(scope.organization(), &organizations[organization]);
                        scopes.push((scope, organization, time, true));
                    }
                }
                Op::Suspend(organization) => {
                    issuer.suspend(&organizations[organization]);
                    suspended[organization] = true;
                    for scope in scopes.iter_mut().filter(|scope| scope.1 == organization) {
                        scope.3 = false;
                    }
                }
                Op::Resume(organization) => {
                    issuer.resume(&organizations[organization]);
                    suspended[organization] = false;
                    halted[organization] = false;
                }
                Op::HaltAll => {
                    issuer.halt_all();
                    halted = [true; 2];
                    scopes.iter_mut().for_each(|scope| scope.3 = false);
                }
                Op::ResumeAll => {
                    issuer.resume_all();
                    halted = [false; 2];
                }
                Op::Advance(seconds) => {
                    clock.advance(Duration::from_secs(seconds));
                    time += seconds;
                }
                Op::SetMember { principal, organization, member: now } => {
                    let (who, of) = (&principals[principal], &organizations[organization]);
                    if now {
                        directory.add_member(of, who, Role::Member);
                    } else {
                        directory.remove_member(of, who);
                    }
                    member[principal][organization] = now;
                }
                Op::SetActive { organization, active: now } => {
                    directory.set_active(&organizations[organization], now);
                    active[organization] = now;
                }
            }
            for (scope, _, since, alive) in &scopes {
                prop_assert_eq!(scope.check().is_ok(), *alive && time - since < 3_600);
            }
        }
    }
}
