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
    for text in [format!("{text}A"), format!("{text}="), format!(" {text}"), "A".repeat(5_000)] {
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
        let keys = versions
            .iter()
            .map(|&(version, first)| (version, SecretBytes::new((first..first + 32).collect())));
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
