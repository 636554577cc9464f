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
