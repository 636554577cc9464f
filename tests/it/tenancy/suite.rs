//! One directory, two organizations with the same people in other roles.

use std::any::Any;

use tenantry::ambient::{CrossTenantAuthority, cross_tenant_authority};
use tenantry::audit::{AuditEvent, AuditKind, MemorySink};
use tenantry::database::doctor::Finding;
use tenantry::scope::{Directory, Principal, Role, ScopeIssuer};
use tenantry::table::Schema;
use tenantry::tenancy::SqlDirectory;
use tenantry::{Database, Error, ErrorKind, OrganizationId, Result, TenantScope};

pub const SCHEMA: fn() -> Schema = || SqlDirectory::tables(Schema::new());

pub fn authority() -> CrossTenantAuthority {
    cross_tenant_authority("test of the directory", Principal::service("test"))
}

pub fn user(id: &str) -> Principal {
    Principal::user(id)
}

/// Ann owns ours and looks at theirs, Bob the reverse; a service is called like Ann.
pub struct World {
    pub db: Database,
    pub directory: SqlDirectory,
    pub issuer: ScopeIssuer,
    pub sink: MemorySink,
    pub ours: OrganizationId,
    pub theirs: OrganizationId,
    /// What has to live as long as the database.
    _ground: Box<dyn Any + Send + Sync>,
}

impl World {
    pub async fn over(db: Database, ground: impl Any + Send + Sync) -> Self {
        db.create_tables().await.unwrap();
        let directory = SqlDirectory::new(&db, authority());
        let sink = MemorySink::new();
        let issuer = ScopeIssuer::builder(directory.clone()).audit(sink.clone()).build();
        let (ours, theirs) = (OrganizationId::new(), OrganizationId::new());
        let _ground = Box::new(ground);
        let world = Self { db, directory, issuer, sink, ours, theirs, _ground };
        for (organization, owner, viewer) in
            [(&world.ours, "ann", "bob"), (&world.theirs, "bob", "ann")]
        {
            world.create(organization, owner).await.unwrap();
            let scope = world.enter(owner, organization).await.unwrap();
            let directory = &world.directory;
            directory.add_member(&scope, &user(viewer), Role::Viewer).await.unwrap();
            let namesake = Principal::service("ann");
            directory.add_member(&scope, &namesake, Role::Member).await.unwrap();
        }
        world
    }

    async fn create(&self, organization: &OrganizationId, owner: &str) -> Result<()> {
        let (issuer, directory) = (&self.issuer, &self.directory);
        directory.create_organization(issuer, organization, &user(owner), &authority()).await
    }

    pub async fn enter(&self, id: &str, organization: &OrganizationId) -> Result<TenantScope> {
        self.issuer.enter(&user(id), organization).await
    }

    async fn support(&self, organization: &OrganizationId) -> TenantScope {
        self.issuer.enter_across(organization, &authority()).await.unwrap()
    }

    /// The members, as `user:ann=owner`.
    async fn list(&self, organization: &OrganizationId) -> Vec<String> {
        let scope = self.support(organization).await;
        let members = self.directory.members(&scope).await.unwrap();
        members.iter().map(|member| format!("{}={}", member.principal, member.role)).collect()
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(outcome: Result<T>, kind: ErrorKind) -> Error {
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    error
}

/// The stories as tests over a function that makes a world.
macro_rules! stories {
    ($world:path) => {
        stories! { $world =>
            everybody_enters_with_the_role_of_that_organization
            members_are_those_of_the_scope
            nobody_lifts_anybody_above_himself
            the_last_owner_stays
            two_owners_who_remove_each_other_leave_one
            an_old_scope_undoes_no_removal
            a_suspended_organization_is_entered_by_nobody
            an_organization_is_created_once
            a_directory_that_fails_lets_nobody_in
            questions_and_changes_are_written_down
            the_doctor_finds_nothing
        }
    };
    ($world:path => $($story:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $story() {
                suite::$story($world().await).await;
            }
        )*
    };
}
pub(crate) use stories;

pub async fn everybody_enters_with_the_role_of_that_organization(world: World) {
    let World { issuer, directory, ours, theirs, .. } = &world;
    for (id, organization, role) in [
        ("ann", ours, Role::Owner),
        ("ann", theirs, Role::Viewer),
        ("bob", ours, Role::Viewer),
        ("bob", theirs, Role::Owner),
    ] {
        assert_eq!(world.enter(id, organization).await.unwrap().role(), role);
    }
    let namesake = issuer.enter(&Principal::service("ann"), ours).await.unwrap();
    assert_eq!(namesake.role(), Role::Member);

    let lonely = OrganizationId::new();
    world.create(&lonely, "eve").await.unwrap();
    let mut both = vec![ours.clone(), theirs.clone()];
    both.sort();
    assert_eq!(issuer.organizations(&user("ann")).await.unwrap(), both);
    assert_eq!(issuer.organizations(&user("eve")).await.unwrap(), std::slice::from_ref(&lonely));
    assert!(issuer.organizations(&user("mallory")).await.unwrap().is_empty());

    // One that exists, one that does not, and one that cannot: the same.
    let absent = [OrganizationId::new(), OrganizationId::from_i64(7).unwrap()];
    let foreign = refused(world.enter("ann", &lonely).await, ErrorKind::Denied);
    for organization in &absent {
        let missing = refused(world.enter("ann", organization).await, ErrorKind::Denied);
        assert_eq!(format!("{missing} {missing:?}"), format!("{foreign} {foreign:?}"));
        assert!(!directory.is_active(organization).await.unwrap());
        assert_eq!(directory.membership(&user("ann"), organization).await.unwrap(), None);
    }
    assert_eq!(directory.membership(&user("ann"), &lonely).await.unwrap(), None);
    assert!(directory.is_active(&lonely).await.unwrap());
}

pub async fn members_are_those_of_the_scope(world: World) {
    let World { directory, ours, theirs, .. } = &world;
    let before = world.list(theirs).await;
    assert_eq!(before, ["service:ann=member", "user:ann=viewer", "user:bob=owner"]);
    let scope = world.enter("ann", ours).await.unwrap();
    directory.add_member(&scope, &user("carl"), Role::Admin).await.unwrap();
    directory.change_role(&scope, &user("bob"), Role::Member).await.unwrap();
    directory.remove_member(&scope, &Principal::service("ann")).await.unwrap();
    assert_eq!(world.list(ours).await, ["user:ann=owner", "user:bob=member", "user:carl=admin"]);
    assert_eq!(world.list(theirs).await, before);

    // A member of theirs and nobody at all: the same.
    let theirs_alone = world.enter("bob", theirs).await.unwrap();
    directory.add_member(&theirs_alone, &user("dora"), Role::Member).await.unwrap();
    for act in [0, 1] {
        let mut said = Vec::new();
        for who in ["dora", "nobody"] {
            let outcome = match act {
                0 => directory.change_role(&scope, &user(who), Role::Viewer).await,
                _ => directory.remove_member(&scope, &user(who)).await,
            };
            let error = refused(outcome, ErrorKind::NotFound);
            said.push(format!("{error} {error:?}"));
        }
        assert_eq!(said[0], said[1]);
    }
    refused(directory.add_member(&scope, &user("bob"), Role::Member).await, ErrorKind::Conflict);
    directory.add_member(&scope, &user("dora"), Role::Viewer).await.unwrap();
    refused(
        directory.add_member(&scope, &user(""), Role::Viewer).await,
        ErrorKind::Unauthenticated,
    );
    refused(directory.add_member(&scope, &user("a\0b"), Role::Viewer).await, ErrorKind::Invalid);
}

const ROLES: [Role; 4] = [Role::Viewer, Role::Member, Role::Admin, Role::Owner];

pub async fn nobody_lifts_anybody_above_himself(world: World) {
    let World { directory, ours, .. } = &world;
    let owner = world.enter("ann", ours).await.unwrap();
    for own in ROLES {
        let actor = user(&format!("actor_{own}"));
        directory.add_member(&owner, &actor, own).await.unwrap();
        let scope = world.issuer.enter(&actor, ours).await.unwrap();
        for theirs in ROLES {
            let target = user(&format!("target_{own}_{theirs}"));
            let may = own >= Role::Admin && theirs <= own;
            let added = directory.add_member(&scope, &target, theirs).await;
            assert_eq!(added.is_ok(), may, "{own} adds {theirs}");
            if let Err(error) = added {
                assert_eq!(error.kind(), ErrorKind::Denied);
                directory.add_member(&owner, &target, theirs).await.unwrap();
            }
            for to in ROLES {
                let changed = directory.change_role(&scope, &target, to).await;
                assert_eq!(changed.is_ok(), may && to <= own, "{own} makes {theirs} a {to}");
                directory.change_role(&owner, &target, theirs).await.unwrap();
            }
            let removed = directory.remove_member(&scope, &target).await;
            assert_eq!(removed.is_ok(), may, "{own} removes {theirs}");
        }
        // Everybody may leave.
        directory.remove_member(&scope, &actor).await.unwrap();
    }
}

pub async fn the_last_owner_stays(world: World) {
    let World { directory, ours, theirs, .. } = &world;
    let scope = world.enter("ann", ours).await.unwrap();
    let (ann, bob) = (user("ann"), user("bob"));
    for scope in [&scope, &world.support(ours).await] {
        refused(directory.remove_member(scope, &ann).await, ErrorKind::Conflict);
        refused(directory.change_role(scope, &ann, Role::Admin).await, ErrorKind::Conflict);
        directory.change_role(scope, &ann, Role::Owner).await.unwrap();
    }
    directory.change_role(&scope, &bob, Role::Owner).await.unwrap();
    directory.change_role(&scope, &ann, Role::Admin).await.unwrap();
    let bobs = world.enter("bob", ours).await.unwrap();
    refused(directory.remove_member(&bobs, &bob).await, ErrorKind::Conflict);
    assert_eq!(world.list(ours).await, ["service:ann=member", "user:ann=admin", "user:bob=owner"]);
    // Theirs has owners of its own, who count for nobody else.
    let theirs = world.enter("bob", theirs).await.unwrap();
    refused(directory.remove_member(&theirs, &bob).await, ErrorKind::Conflict);
}

pub async fn two_owners_who_remove_each_other_leave_one(world: World) {
    let World { directory, ours, .. } = &world;
    for round in 0..25 {
        let support = world.support(ours).await;
        for id in ["ann", "bob"] {
            let owner = user(id);
            match directory.change_role(&support, &owner, Role::Owner).await {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    directory.add_member(&support, &owner, Role::Owner).await.unwrap();
                }
                changed => changed.unwrap(),
            }
        }
        let ann = world.enter("ann", ours).await.unwrap();
        let bob = world.enter("bob", ours).await.unwrap();
        let act = |scope: TenantScope, on: &'static str| {
            let (directory, leaves) = (directory.clone(), round % 2 == 0);
            tokio::spawn(async move {
                let own = scope.principal().clone();
                let on = if leaves { own } else { user(on) };
                directory.remove_member(&scope, &on).await
            })
        };
        let (one, other) = (act(ann, "bob"), act(bob, "ann"));
        let outcomes = [one.await.unwrap(), other.await.unwrap()];
        let lost = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
        let lost: Vec<ErrorKind> = lost.map(Error::kind).collect();
        assert!(matches!(lost[..], [ErrorKind::Conflict | ErrorKind::Denied]), "{lost:?}");
        let owners = world.list(ours).await.iter().filter(|row| row.ends_with("=owner")).count();
        assert_eq!(owners, 1, "round {round}");
    }
}

pub async fn an_old_scope_undoes_no_removal(world: World) {
    let World { directory, ours, theirs, .. } = &world;
    let ann = world.enter("ann", ours).await.unwrap();
    directory.add_member(&ann, &user("carl"), Role::Owner).await.unwrap();
    let carl = world.enter("carl", ours).await.unwrap();
    directory.change_role(&ann, &user("carl"), Role::Admin).await.unwrap();
    refused(directory.add_member(&carl, &user("dora"), Role::Owner).await, ErrorKind::Denied);
    refused(directory.change_role(&carl, &user("carl"), Role::Owner).await, ErrorKind::Denied);
    directory.add_member(&carl, &user("dora"), Role::Admin).await.unwrap();
    directory.remove_member(&ann, &user("carl")).await.unwrap();
    for principal in ["carl", "erin"] {
        let added = directory.add_member(&carl, &user(principal), Role::Viewer).await;
        refused(added, ErrorKind::Denied);
    }
    refused(directory.remove_member(&carl, &user("dora")).await, ErrorKind::Denied);
    // The role of an old scope does not grow either.
    let viewer = world.enter("bob", ours).await.unwrap();
    directory.change_role(&ann, &user("bob"), Role::Owner).await.unwrap();
    refused(directory.add_member(&viewer, &user("erin"), Role::Viewer).await, ErrorKind::Denied);
    // Who crossed over by authority is no member, and acts by it, in that organization.
    let support = world.support(ours).await;
    directory.add_member(&support, &user("carl"), Role::Owner).await.unwrap();
    let before = world.list(theirs).await;
    directory.remove_member(&support, &user("bob")).await.unwrap();
    assert_eq!(world.list(theirs).await, before);
}

pub async fn a_suspended_organization_is_entered_by_nobody(world: World) {
    let World { directory, issuer, ours, theirs, .. } = &world;
    let (ann, bob) =
        (world.enter("ann", ours).await.unwrap(), world.enter("bob", theirs).await.unwrap());
    directory.suspend_organization(issuer, ours, &authority()).await.unwrap();
    refused(directory.members(&ann).await, ErrorKind::Denied);
    directory.members(&bob).await.unwrap();
    assert_eq!(issuer.organizations(&user("ann")).await.unwrap(), std::slice::from_ref(theirs));
    assert!(!directory.is_active(ours).await.unwrap());

    // Another process has only the table.
    let elsewhere = ScopeIssuer::new(directory.clone());
    for issuer in [issuer, &elsewhere] {
        let denied = refused(issuer.enter(&user("ann"), ours).await, ErrorKind::Denied);
        let absent = issuer.enter(&user("ann"), OrganizationId::new()).await.unwrap_err();
        assert_eq!(denied.to_string(), absent.to_string());
        refused(issuer.enter_across(ours, &authority()).await, ErrorKind::Denied);
        assert_eq!(issuer.enter(&user("ann"), theirs).await.unwrap().role(), Role::Viewer);
    }

    directory.activate_organization(issuer, ours, &authority()).await.unwrap();
    assert_eq!(world.enter("ann", ours).await.unwrap().role(), Role::Owner);
    refused(directory.members(&ann).await, ErrorKind::Denied);

    let absent = OrganizationId::new();
    let suspended = directory.suspend_organization(issuer, &absent, &authority()).await;
    refused(suspended, ErrorKind::NotFound);
    let activated = directory.activate_organization(issuer, &absent, &authority()).await;
    refused(activated, ErrorKind::NotFound);
    issuer.halt_all();
    let halted = directory.activate_organization(issuer, ours, &authority()).await;
    refused(halted, ErrorKind::Denied);
}

pub async fn an_organization_is_created_once(world: World) {
    let World { directory, issuer, ours, theirs, .. } = &world;
    refused(world.create(ours, "mallory").await, ErrorKind::Conflict);
    refused(world.enter("mallory", ours).await, ErrorKind::Denied);
    assert!(!world.list(ours).await.iter().any(|row| row.contains("mallory")));

    let new = OrganizationId::new();
    refused(world.create(&new, "").await, ErrorKind::Unauthenticated);
    refused(world.create(&OrganizationId::from_i64(7).unwrap(), "eve").await, ErrorKind::Misuse);
    let nameless = cross_tenant_authority(" ", Principal::service("test"));
    let created = directory.create_organization(issuer, &new, &user("eve"), &nameless).await;
    refused(created, ErrorKind::Misuse);
    // The Database serves the scopes of one issuer.
    let other = ScopeIssuer::new(directory.clone());
    let created = directory.create_organization(&other, &new, &user("eve"), &authority()).await;
    refused(created, ErrorKind::Misuse);
    assert!(!directory.is_active(&new).await.unwrap());
    assert!(directory.is_active(theirs).await.unwrap());
}

pub async fn a_directory_that_fails_lets_nobody_in(world: World) {
    let World { directory, issuer, ours, .. } = &world;
    let ann = user("ann");
    world.db.close().await;
    refused(issuer.enter(&ann, ours).await, ErrorKind::Unavailable);
    refused(issuer.organizations(&ann).await, ErrorKind::Unavailable);
    refused(issuer.enter_across(ours, &authority()).await, ErrorKind::Unavailable);
    directory.membership(&ann, ours).await.unwrap_err();
    directory.is_active(ours).await.unwrap_err();
}

/// What a directory over a database says that must not be asked.
pub async fn answers_nothing(db: &Database, authority: CrossTenantAuthority, kind: ErrorKind) {
    let directory = SqlDirectory::new(db, authority);
    let (ann, ours) = (user("ann"), OrganizationId::new());
    refused(directory.membership(&ann, &ours).await, kind);
    refused(directory.is_active(&ours).await, kind);
    refused(directory.organizations(&ann).await, kind);
    let issuer = ScopeIssuer::new(directory);
    refused(issuer.enter(&ann, &ours).await, ErrorKind::Unavailable);
}

pub async fn questions_and_changes_are_written_down(world: World) {
    let World { directory, issuer, sink, ours, theirs, .. } = &world;
    let scope = world.enter("ann", ours).await.unwrap();
    directory.change_role(&scope, &user("bob"), Role::Member).await.unwrap();
    directory.remove_member(&scope, &user("bob")).await.unwrap();
    refused(directory.remove_member(&scope, &user("bob")).await, ErrorKind::NotFound);
    issuer.flush_audit().await.unwrap();
    let told = |events: Vec<AuditEvent>| -> Vec<String> {
        let changes = events.into_iter().filter(|event| event.kind == AuditKind::MembershipChanged);
        changes
            .map(|event| format!("{}: {}", event.principal.unwrap(), event.detail.unwrap()))
            .collect()
    };
    assert_eq!(
        told(sink.events_for(&scope).unwrap()),
        [
            "user:ann: added user:bob as viewer",
            "user:ann: added service:ann as member",
            "user:ann: user:bob is member instead of viewer",
            "user:ann: removed user:bob",
        ]
    );
    let bobs = world.enter("bob", theirs).await.unwrap();
    assert_eq!(told(sink.events_for(&bobs).unwrap()).len(), 2);
    let made: Vec<AuditEvent> = sink
        .events_for(&scope)
        .unwrap()
        .into_iter()
        .filter(|event| event.statement.as_deref() == Some("create organization"))
        .collect();
    let reason = AuditKind::CrossTenant { reason: "test of the directory" };
    assert!(matches!(&made[..], [event] if event.kind == reason), "{made:?}");
    // What cannot be recorded is not answered.
    let nameless = cross_tenant_authority("", Principal::service("directory"));
    answers_nothing(&world.db, nameless, ErrorKind::Misuse).await;
}

pub async fn the_doctor_finds_nothing(world: World) {
    let report = world.db.doctor().await.unwrap();
    let open: Vec<&Finding> = report
        .findings()
        .iter()
        // Of the server that the suite was given.
        .filter(|finding| finding.code() != "postgres-server-leaks")
        .collect();
    assert!(open.is_empty(), "{report}");
}
