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

mod entering {
    use super::*;

    #[test]
    fn a_member_enters_with_the_role_of_the_directory() {
        let world = World::new();
        let scope = world.enter().unwrap();
        assert_eq!(scope.organization(), &world.ours);
        assert_eq!(scope.principal(), &world.ann);
        assert_eq!(scope.role(), Role::Admin);
        scope.require(Role::Viewer).unwrap();
        scope.require(Role::Admin).unwrap();
        denied(scope.require(Role::Owner));
        let event = world.last();
        assert_eq!(event.kind, AuditKind::ScopeEntered);
        assert_eq!(event.principal.as_deref(), Some("user:ann"));
        assert_eq!(event.organization.as_ref(), Some(&world.ours));
    }

    #[test]
    fn debug_shows_ids_alone() {
        let world = World::new();
        let scope = world.enter().unwrap();
        assert_eq!(
            format!("{scope:?}"),
            format!(
                "TenantScope {{ organization: OrganizationId({}), principal: Principal(user:ann), \
                 .. }}",
                world.ours
            )
        );
    }

    #[test]
    fn a_stranger_is_told_the_same_of_every_organization() {
        let world = World::new();
        let refused = |organization: &OrganizationId| {
            denied(now(world.issuer.enter(&world.ann, organization)));
            assert_eq!(world.last().kind, AuditKind::ScopeDenied);
        };
        refused(&world.theirs);
        refused(&OrganizationId::new());
        world.issuer.suspend(&world.theirs);
        refused(&world.theirs);
        world.directory.inner.set_active(&world.theirs, false);
        refused(&world.theirs);
        world.issuer.suspend(&world.ours);
        refused(&world.ours);
        world.issuer.resume(&world.ours);
        world.directory.inner.set_active(&world.ours, false);
        refused(&world.ours);
        assert_eq!(world.directory.asked.load(Ordering::SeqCst), 6, "each took the same path");
    }

    #[test]
    fn the_kind_of_a_principal_counts() {
        let world = World::new();
        denied(now(world.issuer.enter(&Principal::service("ann"), &world.ours)));
        denied(now(world.issuer.enter(&Principal::job("ann"), &world.ours)));
        denied(now(world.issuer.enter(&Principal::webhook("ann"), &world.ours)));
    }

    #[test]
    fn a_principal_with_an_unusable_id_is_refused_before_anybody_is_asked() {
        let world = World::new();
        for (id, kind) in [
            ("", ErrorKind::Unauthenticated),
            ("a\nb", ErrorKind::Invalid),
            ("a\0", ErrorKind::Invalid),
            ("\u{85}", ErrorKind::Invalid),
            (&"a".repeat(257), ErrorKind::Invalid),
        ] {
            let principal = Principal::user(id);
            world.directory.inner.add_member(&world.ours, &principal, Role::Owner);
            let entered = now(world.issuer.enter(&principal, &world.ours));
            assert_eq!(entered.unwrap_err().kind(), kind);
            let listed = now(world.issuer.organizations(&principal));
            assert_eq!(listed.unwrap_err().kind(), kind);
        }
        assert_eq!(world.directory.asked.load(Ordering::SeqCst), 0);
        now(world.issuer.enter(&Principal::user("a".repeat(256)), &world.ours)).unwrap_err();
        assert_eq!(world.directory.asked.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_failing_directory_is_unavailable_whatever_it_says() {
        let world = World::new();
        for error in [
            Error::outage("away", "reset"),
            Error::denied(),
            Error::not_found("nobody"),
            Error::unavailable("busy").retry_after_of(Duration::from_secs(3)),
        ] {
            let wait = error.retry_after();
            world.directory.fail(error);
            let error = world.enter().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert!(error.is_retryable());
            assert_eq!(error.retry_after(), wait);
            assert!(std::error::Error::source(&error).is_some());
        }
        world.directory.fail(Error::denied());
        let listed = now(world.issuer.organizations(&world.ann));
        assert_eq!(listed.unwrap_err().kind(), ErrorKind::Unavailable);
    }

    #[test]
    fn strangers_leave_no_state_behind() {
        let world = World::new();
        for _ in 0..100 {
            denied(now(world.issuer.enter(&world.ann, OrganizationId::new())));
        }
        assert_eq!(world.issuer.known(), 0);
        world.enter().unwrap();
        world.enter().unwrap();
        assert_eq!(world.issuer.known(), 1);
    }

    #[test]
    fn a_switcher_lists_active_organizations_of_the_principal() {
        let world = World::new();
        assert_eq!(
            now(world.issuer.organizations(&world.ann)).unwrap(),
            std::slice::from_ref(&world.ours)
        );
        world.directory.inner.set_active(&world.ours, false);
        assert_eq!(now(world.issuer.organizations(&world.ann)).unwrap(), []);
    }

    #[test]
    fn an_issuer_knows_its_own_scopes() {
        let (world, other) = (World::new(), World::new());
        let scope = world.enter().unwrap();
        assert!(scope.issued_by(&world.issuer));
        assert!(scope.issued_by(&world.issuer.clone()));
        assert!(scope.clone().issued_by(scope.issuer()));
        assert!(!scope.issued_by(&other.issuer));
        assert_ne!(world.issuer, other.issuer);
    }

    #[test]
    fn scopes_reach_the_same_by_organization_and_issuer() {
        let world = World::new();
        let scope = world.enter().unwrap();
        world.directory.inner.add_member(&world.ours, &world.bob, Role::Viewer);
        let colleague = now(world.issuer.enter(&world.bob, &world.ours)).unwrap();
        let foreign = now(world.issuer.enter(&world.bob, &world.theirs)).unwrap();
        let elsewhere = now(world.issuer.rebuilt().enter(&world.ann, &world.ours)).unwrap();
        assert!(scope.same_reach(&scope.clone()));
        assert!(scope.same_reach(&colleague));
        assert!(!scope.same_reach(&foreign));
        assert!(!scope.same_reach(&elsewhere));
    }

    #[test]
    fn scopes_issuers_and_their_futures_travel_between_threads() {
        fn travels<T: Send>(_: T) {}
        fn shared<T: Clone + Send + Sync + 'static>() {}
        shared::<TenantScope>();
        shared::<ScopeIssuer>();
        let world = World::new();
        let key = TicketKey::new("p", KeyRing::random().unwrap()).unwrap();
        let ticket = ScopeTicket::from(String::new());
        let authority = cross_tenant_authority("support", &world.ann);
        travels(world.issuer.enter(&world.ann, &world.ours));
        travels(world.issuer.redeem(&ticket, &key, b""));
        travels(world.issuer.enter_across(&world.ours, &authority));
    }
}

mod ending {
    use super::*;

    #[test]
    fn suspension_ends_every_clone_for_good_and_touches_no_other_organization() {
        let world = World::new();
        let scope = world.enter().unwrap();
        let clone = scope.clone();
        let foreign = now(world.issuer.enter(&world.bob, &world.theirs)).unwrap();

        world.issuer.suspend(&world.ours);
        denied(scope.check());
        assert_eq!(world.last().detail.as_deref(), Some("the organization was suspended"));
        denied(clone.check());
        denied(clone.require(Role::Viewer));
        denied(world.enter());
        foreign.check().unwrap();

        world.issuer.resume(&world.ours);
        denied(scope.check());
        world.enter().unwrap().check().unwrap();
        foreign.check().unwrap();
    }

    #[test]
    fn suspending_twice_is_resumed_once() {
        let world = World::new();
        world.issuer.suspend(&world.ours);
        world.issuer.suspend(&world.ours);
        world.issuer.resume(&world.ours);
        let scope = world.enter().unwrap();
        world.issuer.resume(&world.ours);
        scope.check().unwrap();
    }

    #[test]
    fn a_halt_ends_all_until_everything_or_one_is_resumed() {
        let world = World::new();
        let enter_theirs = || now(world.issuer.enter(&world.bob, &world.theirs));
        let (ours, theirs) = (world.enter().unwrap(), enter_theirs().unwrap());
        world.issuer.halt_all();
        denied(ours.check());
        denied(theirs.check());
        denied(world.enter());
        denied(enter_theirs());

        world.issuer.resume(&world.ours);
        denied(ours.check());
        let exempt = world.enter().unwrap();
        exempt.check().unwrap();
        denied(enter_theirs());

        world.issuer.halt_all();
        denied(exempt.check());
        denied(world.enter());

        world.issuer.resume_all();
        denied(ours.check());
        denied(theirs.check());
        denied(exempt.check());
        world.enter().unwrap().check().unwrap();
        enter_theirs().unwrap().check().unwrap();
    }

    #[test]
    fn the_end_of_a_halt_leaves_suspended_organizations_suspended() {
        let world = World::new();
        world.issuer.suspend(&world.ours);
        world.issuer.halt_all();
        world.issuer.resume_all();
        denied(world.enter());
        world.issuer.resume(&world.ours);
        world.enter().unwrap();
    }

    #[test]
    fn what_ends_scopes_while_the_directory_answers_leaves_none_alive() {
        type Act = fn(&ScopeIssuer, &OrganizationId);
        let acts: [Act; 5] = [
            |issuer, ours| issuer.suspend(ours),
            |issuer, ours| {
                issuer.suspend(ours);
                issuer.resume(ours);
            },
            |issuer, _| issuer.halt_all(),
            |issuer, _| {
                issuer.halt_all();
                issuer.resume_all();
            },
            |issuer, ours| {
                issuer.halt_all();
                issuer.resume(ours);
            },
        ];
        let key = TicketKey::new("job", KeyRing::random().unwrap()).unwrap();
        for (number, act) in acts.into_iter().enumerate() {
            for known in [false, true] {
                for door in 0..3 {
                    let world = World::new();
                    let ticket = world.enter().unwrap().ticket(&key, HOUR, b"").unwrap();
                    // The first time an organization is entered it has no state yet.
                    let fresh = World { issuer: world.issuer.rebuilt(), ..world };
                    if known {
                        fresh.enter().unwrap();
                    }
                    let (issuer, ours) = (fresh.issuer.clone(), fresh.ours.clone());
                    fresh.directory.during(move || act(&issuer, &ours));
                    let authority = cross_tenant_authority("support", &fresh.ann);
                    let entered = match door {
                        0 => fresh.enter(),
                        1 => now(fresh.issuer.redeem(&ticket, &key, b"")),
                        _ => now(fresh.issuer.admit_stranger(
                            authority.principal(),
                            &fresh.ours,
                            Role::Owner,
                        )),
                    };
                    assert!(entered.is_err(), "act {number}, known {known}, door {door}");
                    denied(entered);
                }
            }
        }
    }

    #[test]
    fn a_scope_ends_at_its_maximum_age_by_the_monotonic_clock() {
        let world = World::with(|builder| builder.max_scope_age(HOUR));
        let scope = world.enter().unwrap();
        world.clock.advance(HOUR - Duration::from_nanos(1));
        scope.check().unwrap();
        world.clock.set(OffsetDateTime::UNIX_EPOCH);
        scope.check().unwrap();
        world.clock.advance(Duration::from_nanos(1));
        denied(scope.check());
        world.clock.set(OffsetDateTime::UNIX_EPOCH);
        denied(scope.check());
        assert_eq!(world.last().detail.as_deref(), Some("the scope has reached its maximum age"));
        world.enter().unwrap().check().unwrap();
    }

    #[test]
    fn age_counts_from_before_the_directory_answered() {
        let world = World::with(|builder| builder.max_scope_age(HOUR));
        let clock = world.clock.clone();
        world.directory.during(move || clock.advance(HOUR / 2));
        let scope = world.enter().unwrap();
        world.clock.advance(HOUR / 2);
        denied(scope.check());

        let clock = world.clock.clone();
        world.directory.during(move || clock.advance(HOUR));
        denied(world.enter());
    }

    #[test]
    fn the_breaker_stops_the_organization_or_everything() {
        let world = World::new();
        let (ours, theirs) =
            (world.enter().unwrap(), now(world.issuer.enter(&world.bob, &world.theirs)).unwrap());
        ours.trip("a foreign row");
        assert_eq!(world.last().kind, AuditKind::OrganizationSuspended);
        assert_eq!(world.last().detail.as_deref(), Some("a foreign row"));
        denied(ours.check());
        theirs.check().unwrap();

        let world = World::with(|builder| builder.breaker(Breaker::Process));
        let (ours, theirs) =
            (world.enter().unwrap(), now(world.issuer.enter(&world.bob, &world.theirs)).unwrap());
        ours.trip("a foreign row");
        assert_eq!(world.last().kind, AuditKind::HaltedAll);
        denied(ours.check());
        denied(theirs.check());
    }

    #[test]
    fn suspension_reaches_every_thread() {
        let world = World::new();
        let scope = world.enter().unwrap();
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    let ended = (0..10_000_000).any(|_| scope.check().is_err());
                    assert!(ended);
                });
            }
            world.issuer.suspend(&world.ours);
        });
        denied(scope.check());
    }
}

mod tickets {
    use super::*;

    fn key(purpose: &str, first: u8) -> TicketKey {
        let keys = KeyRing::new([(1, SecretBytes::new((first..first + 32).collect()))]).unwrap();
        TicketKey::new(purpose, keys).unwrap()
    }

    struct Fixture {
        world: World,
        key: TicketKey,
        ticket: ScopeTicket,
    }

    impl Fixture {
        fn new() -> Self {
            let (world, key) = (World::new(), key("export", 0));
            let ticket = world.enter().unwrap().ticket(&key, HOUR, b"payload").unwrap();
            Self { world, key, ticket }
        }

        fn redeem(&self) -> Result<TenantScope> {
            now(self.world.issuer.redeem(&self.ticket, &self.key, b"payload"))
        }

        fn refused(&self, ticket: &ScopeTicket, key: &TicketKey, payload: &[u8], reason: &str) {
            denied(now(self.world.issuer.redeem(ticket, key, payload)));
            let event = self.world.last();
            assert_eq!(event.kind, AuditKind::TicketRefused);
            assert_eq!(event.detail.as_deref(), Some(reason));
        }
    }

    #[test]
    fn a_ticket_passes_through_a_queue_and_is_redeemed_elsewhere() {
        let fixture = Fixture::new();
        let queued = serde_json::to_string(&fixture.ticket).unwrap();
        assert_eq!(queued, format!("\"{}\"", fixture.ticket.as_str()));
        let ticket: ScopeTicket = serde_json::from_str(&queued).unwrap();

        let elsewhere = fixture.world.issuer.rebuilt();
        for _ in 0..2 {
            let scope = now(elsewhere.redeem(&ticket, &fixture.key, b"payload")).unwrap();
            assert_eq!(scope.organization(), &fixture.world.ours);
            assert_eq!(scope.principal(), &fixture.world.ann);
            assert_eq!(scope.role(), Role::Admin);
            assert!(scope.issued_by(&elsewhere));
            assert!(!scope.issued_by(&fixture.world.issuer));
        }
    }

    #[test]
    fn every_kind_of_id_and_principal_passes() {
        let world = World::new();
        let key = key("export", 0);
        for (organization, principal) in [
            (OrganizationId::from_i64(7).unwrap(), Principal::service("über \"x\"")),
            (
                OrganizationId::from_text("a".repeat(64)).unwrap(),
                Principal::job("\u{10FFFF}".repeat(64)),
            ),
        ] {
            world.directory.inner.add_member(&organization, &principal, Role::Viewer);
            let scope = now(world.issuer.enter(&principal, &organization)).unwrap();
            let ticket = scope.ticket(&key, HOUR, b"").unwrap();
            let scope = now(world.issuer.redeem(&ticket, &key, b"")).unwrap();
            assert_eq!((scope.organization(), scope.principal()), (&organization, &principal));
        }
    }

    #[test]
    fn a_ticket_is_bound_to_purpose_key_and_payload() {
        let fixture = Fixture::new();
        let unauthentic = "edited, or sealed under another key or for another purpose";
        fixture.refused(&fixture.ticket, &key("import", 0), b"payload", unauthentic);
        fixture.refused(&fixture.ticket, &key("export", 1), b"payload", unauthentic);
        let other = "the ticket was made for another payload";
        fixture.refused(&fixture.ticket, &fixture.key, b"payloae", other);
        fixture.refused(&fixture.ticket, &fixture.key, b"", other);
        fixture.redeem().unwrap();
    }

    #[test]
    fn every_edit_of_the_text_is_refused() {
        let fixture = Fixture::new();
        let text = fixture.ticket.as_str();
        for at in 0..text.len() {
            let mut edited = text.as_bytes().to_vec();
            for letter in [b'A', b'z', b'-', b'=', b'.'] {
                edited[at] = letter;
                if edited != text.as_bytes() {
                    let edited = String::from_utf8(edited.clone()).unwrap();
                    let edited = ScopeTicket::from(edited);
                    denied(now(fixture.world.issuer.redeem(&edited, &fixture.key, b"payload")));
                }
            }
            let cut = ScopeTicket::from(text[..at].to_owned());
            denied(now(fixture.world.issuer.redeem(&cut, &fixture.key, b"payload")));
        }
        for text in [format!("{text}A"), format!("{text}="), format!(" {text}"), "A".repeat(5_000)]
        {
            let ticket = ScopeTicket::from(text);
            denied(now(fixture.world.issuer.redeem(&ticket, &fixture.key, b"payload")));
        }
    }

    #[test]
    fn a_ticket_expires_and_is_not_revived_by_a_clock_set_back() {
        let fixture = Fixture::new();
        let clock = &fixture.world.clock;
        let issued = crate::clock::Clock::now(clock);
        clock.set(issued + HOUR - time::Duration::microseconds(1));
        fixture.redeem().unwrap();
        clock.set(issued + HOUR);
        fixture.refused(&fixture.ticket, &fixture.key, b"payload", "the ticket has expired");
        clock.set(issued - HOUR);
        fixture.refused(&fixture.ticket, &fixture.key, b"payload", "the ticket is from the future");
        clock.set(issued - Duration::from_secs(60));
        fixture.redeem().unwrap();
    }

    #[test]
    fn redeeming_asks_the_directory_again_and_takes_the_lesser_role() {
        let fixture = Fixture::new();
        let World { directory, ours, ann, issuer, .. } = &fixture.world;
        directory.inner.add_member(ours, ann, Role::Owner);
        assert_eq!(fixture.redeem().unwrap().role(), Role::Admin);
        directory.inner.add_member(ours, ann, Role::Viewer);
        assert_eq!(fixture.redeem().unwrap().role(), Role::Viewer);
        directory.fail(Error::denied());
        assert_eq!(fixture.redeem().unwrap_err().kind(), ErrorKind::Unavailable);
        directory.inner.set_active(ours, false);
        denied(fixture.redeem());
        directory.inner.set_active(ours, true);
        issuer.suspend(ours);
        denied(fixture.redeem());
        issuer.resume(ours);
        fixture.redeem().unwrap();
        directory.inner.remove_member(ours, ann);
        fixture.refused(&fixture.ticket, &fixture.key, b"payload", "not a member");
    }

    #[test]
    fn a_scope_that_no_longer_works_makes_no_ticket() {
        let fixture = Fixture::new();
        let scope = fixture.world.enter().unwrap();
        fixture.world.issuer.suspend(&fixture.world.ours);
        denied(scope.ticket(&fixture.key, HOUR, b""));
    }

    #[test]
    fn the_life_of_a_ticket_has_bounds() {
        let fixture = Fixture::new();
        let scope = fixture.world.enter().unwrap();
        let most = ScopeTicket::MAX_TTL;
        for ttl in
            [Duration::ZERO, Duration::from_nanos(1), most + Duration::from_nanos(1), Duration::MAX]
        {
            let error = scope.ticket(&fixture.key, ttl, b"").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
        }
        scope.ticket(&fixture.key, most, b"").unwrap();
        scope.ticket(&fixture.key, Duration::from_micros(1), b"").unwrap();
    }

    #[test]
    fn keys_rotate_and_unfit_purposes_are_refused() {
        let world = World::new();
        let ring = |versions: &[(u32, u8)]| {
            let keys = versions.iter().map(|&(version, first)| {
                (version, SecretBytes::new((first..first + 32).collect()))
            });
            TicketKey::new("export", KeyRing::new(keys).unwrap()).unwrap()
        };
        let ticket = world.enter().unwrap().ticket(&ring(&[(1, 0)]), HOUR, b"").unwrap();
        now(world.issuer.redeem(&ticket, &ring(&[(1, 0), (2, 5)]), b"")).unwrap();
        denied(now(world.issuer.redeem(&ticket, &ring(&[(2, 5)]), b"")));
        for purpose in [String::new(), "a".repeat(129)] {
            let key = TicketKey::new(purpose, KeyRing::random().unwrap());
            assert_eq!(key.unwrap_err().kind(), ErrorKind::Invalid);
        }
    }

    #[test]
    fn neither_ticket_nor_key_shows_itself() {
        let fixture = Fixture::new();
        assert_eq!(format!("{:?}", fixture.ticket), "ScopeTicket([redacted])");
        let shown = format!("{:?}", fixture.key);
        assert_eq!(shown, "TicketKey { purpose: \"export\", keys: {1: SecretBytes([redacted])} }");
    }
}

mod crossing {
    use super::*;

    /// A sink that refuses every event.
    #[derive(Debug)]
    struct Refusing;

    #[async_trait]
    impl AuditSink for Refusing {
        async fn record(&self, _: &AuditEvent) -> Result<()> {
            Err(Error::outage("the log is full", "no space left"))
        }
    }

    #[tokio::test]
    async fn authority_enters_an_active_organization_and_is_recorded_first() {
        let world = World::new();
        let authority = cross_tenant_authority("support case", Principal::user("staff"));
        let scope = world.issuer.enter_across(&world.ours, &authority).await.unwrap();
        assert_eq!((scope.organization(), scope.role()), (&world.ours, Role::Owner));
        assert_eq!(scope.principal(), authority.principal());
        world.issuer.flush_audit().await.unwrap();
        let kinds: Vec<_> = world.sink.events_for(&scope).unwrap();
        assert_eq!(kinds[0].kind, AuditKind::CrossTenant { reason: "support case" });
        assert_eq!(kinds[0].principal.as_deref(), Some("user:staff"));
        assert_eq!(kinds[1].kind, AuditKind::ScopeEntered);
        world.issuer.suspend(&world.ours);
        denied(scope.check());
    }

    #[tokio::test]
    async fn authority_enters_nothing_suspended_inactive_or_absent() {
        let world = World::new();
        let authority = cross_tenant_authority("support case", &world.ann);
        denied(world.issuer.enter_across(OrganizationId::new(), &authority).await);
        world.directory.inner.set_active(&world.theirs, false);
        denied(world.issuer.enter_across(&world.theirs, &authority).await);
        world.issuer.suspend(&world.ours);
        denied(world.issuer.enter_across(&world.ours, &authority).await);
        world.issuer.halt_all();
        world.issuer.resume(&world.ours);
        world.issuer.enter_across(&world.ours, &authority).await.unwrap();
        world.directory.fail(Error::denied());
        let error = world.issuer.enter_across(&world.ours, &authority).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }

    #[tokio::test]
    async fn what_cannot_be_recorded_does_not_happen() {
        let world = World::with(|builder| builder.audit(Refusing));
        let authority = cross_tenant_authority("support case", &world.ann);
        let error = world.issuer.enter_across(&world.ours, &authority).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(world.directory.asked.load(Ordering::SeqCst), 0);
        // Ordinary events do not stop the work.
        world.issuer.enter(&world.ann, &world.ours).await.unwrap();
    }

    #[tokio::test]
    async fn authority_without_a_reason_or_a_principal_is_refused_and_nothing_is_asked() {
        let world = World::new();
        for (reason, principal, kind) in [
            ("", Principal::user("staff"), ErrorKind::Misuse),
            (" \n", Principal::user("staff"), ErrorKind::Misuse),
            ("support", Principal::user(""), ErrorKind::Unauthenticated),
            ("support", Principal::user("a\n"), ErrorKind::Invalid),
        ] {
            let authority = cross_tenant_authority(reason, principal);
            let error = world.issuer.enter_across(&world.ours, &authority).await.unwrap_err();
            assert_eq!(error.kind(), kind);
            let error = authority.record(world.issuer.auditor(), "select orders").await;
            assert_eq!(error.unwrap_err().kind(), kind);
            assert_eq!(world.sink.events_across(&authority).await.unwrap_err().kind(), kind);
        }
        assert_eq!(world.directory.asked.load(Ordering::SeqCst), 0);
        assert!(world.sink.is_empty());
    }

    #[tokio::test]
    async fn a_use_is_recorded_with_its_statement() {
        let world = World::new();
        let authority = cross_tenant_authority("monthly invoices", Principal::job("billing"));
        authority.record(world.issuer.auditor(), "select orders").await.unwrap();
        let event = world.last();
        assert_eq!(event.kind, AuditKind::CrossTenant { reason: "monthly invoices" });
        assert_eq!(event.statement.as_deref(), Some("select orders"));
        assert_eq!(event.organization, None);
        assert_eq!(
            format!("{authority:?}"),
            "CrossTenantAuthority { reason: \"monthly invoices\", \
             principal: Principal(job:billing) }"
        );
    }

    #[tokio::test]
    async fn an_organization_reads_its_own_events_and_authority_reads_all() {
        let world = World::new();
        let ours = world.issuer.enter(&world.ann, &world.ours).await.unwrap();
        let theirs = world.issuer.enter(&world.bob, &world.theirs).await.unwrap();
        denied(world.issuer.enter(&world.ann, &world.theirs).await);
        world.issuer.flush_audit().await.unwrap();

        assert_eq!(world.sink.events_for(&ours).unwrap().len(), 1);
        let seen = world.sink.events_for(&theirs).unwrap();
        assert_eq!(seen.len(), 2);
        assert!(seen.iter().all(|event| event.organization.as_ref() == Some(&world.theirs)));

        let authority = cross_tenant_authority("audit", Principal::user("auditor"));
        let all = world.sink.events_across(&authority).await.unwrap();
        assert_eq!(all.len(), 4);
        assert_eq!(all[3].statement.as_deref(), Some("read audit events"));

        world.issuer.suspend(&world.ours);
        denied(world.sink.events_for(&ours));
    }

    #[tokio::test]
    async fn a_ticket_does_not_carry_authority_on() {
        let world = World::new();
        let authority = cross_tenant_authority("support case", Principal::user("staff"));
        let scope = world.issuer.enter_across(&world.ours, &authority).await.unwrap();
        let key = TicketKey::new("export", KeyRing::random().unwrap()).unwrap();
        let ticket = scope.ticket(&key, HOUR, b"").unwrap();
        denied(world.issuer.redeem(&ticket, &key, b"").await);
    }
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
