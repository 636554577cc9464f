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
