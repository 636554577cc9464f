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
