//! Two organizations, and their credentials in one of the stores.

use std::sync::Arc;

use async_trait::async_trait;
use tempfile::TempDir;
use tenantry::audit::{AuditEvent, AuditKind, AuditSink, MemorySink, TracingSink};
use tenantry::credential::{
    CredentialId, CredentialInfo, CredentialStore, Credentials, CredentialsBuilder,
    MemoryCredentialStore, NewCredential, OpenCredential, Secret, SqlCredentialStore,
};
use tenantry::crypto::{LocalKeyring, SecretBytes};
use tenantry::scope::{MemoryDirectory, Role, ScopeIssuer};
use tenantry::table::Schema;
use tenantry::{Database, ErrorKind, Result, TenantScope};

pub(crate) use super::raw::Kept;
pub(crate) use crate::leaks::fixture::{ann, authority, organization};
#[cfg(feature = "postgres")]
use crate::postgres::cluster::{APPLICATION, CROSS_TENANT, Cluster, OWNER};

pub(crate) struct World {
    pub(crate) credentials: Credentials,
    pub(crate) store: Arc<dyn CredentialStore>,
    pub(crate) a: TenantScope,
    pub(crate) b: TenantScope,
    pub(crate) issuer: ScopeIssuer,
    pub(crate) sink: MemorySink,
    pub(crate) kind: Kind,
    pub(crate) kept: Kept,
    pub(crate) dir: TempDir,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Memory,
    Sqlite,
    #[cfg(feature = "postgres")]
    Postgres,
    #[cfg(all(unix, feature = "files"))]
    Files,
}

/// Every store.
pub(crate) const KINDS: &[Kind] = &[
    Kind::Memory,
    Kind::Sqlite,
    #[cfg(feature = "postgres")]
    Kind::Postgres,
    #[cfg(all(unix, feature = "files"))]
    Kind::Files,
];

/// The stores that a database administrator can write around the crate.
pub(crate) const SQL: &[Kind] = &[
    Kind::Sqlite,
    #[cfg(feature = "postgres")]
    Kind::Postgres,
];

impl Kind {
    /// Whether it lies in the directory of its world.
    pub(crate) fn is_kept_in_files(self) -> bool {
        match self {
            Self::Memory => false,
            #[cfg(feature = "postgres")]
            Self::Postgres => false,
            _ => true,
        }
    }
}

/// The KEK that every process of a test has.
pub(crate) fn keyring() -> LocalKeyring {
    keyset(
        r#"{"active":"2026-01","keys":[{"id":"2026-01","key":"AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="}]}"#,
    )
}

/// The same, after a new KEK became the active one.
pub(crate) fn next_keyring() -> LocalKeyring {
    keyset(
        r#"{"active":"2026-06","keys":[{"id":"2026-01","key":"AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="},{"id":"2026-06","key":"ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="}]}"#,
    )
}

/// The new KEK alone.
pub(crate) fn last_keyring() -> LocalKeyring {
    keyset(
        r#"{"active":"2026-06","keys":[{"id":"2026-06","key":"ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="}]}"#,
    )
}

fn keyset(json: &str) -> LocalKeyring {
    LocalKeyring::from_json(&SecretBytes::new(json.as_bytes().to_vec())).unwrap()
}

/// What is recorded is traced too, as it is where nothing else is set.
#[derive(Debug)]
struct Heard(MemorySink);

#[async_trait]
impl AuditSink for Heard {
    async fn record(&self, event: &AuditEvent) -> Result<()> {
        TracingSink::default().record(event).await?;
        self.0.record(event).await
    }
}

/// Organizations of Ann's for tests that use one up after another.
pub(crate) const SPENT: std::ops::Range<u128> = 0x100..0x180;

pub(crate) fn people(sink: &MemorySink) -> ScopeIssuer {
    let directory = MemoryDirectory::new();
    for number in [0xA, 0xB].into_iter().chain(SPENT) {
        directory.add_member(&organization(number), &ann(), Role::Owner);
    }
    ScopeIssuer::builder(directory).audit(Heard(sink.clone())).build()
}

/// A store in the database at a URL: on PostgreSQL as the application's role.
pub(crate) async fn open_sql(issuer: &ScopeIssuer, url: &str) -> Arc<SqlCredentialStore> {
    open_beside(issuer, url, Schema::new()).await.1
}

/// A store beside the tables of an application.
pub(crate) async fn open_beside(
    issuer: &ScopeIssuer,
    url: &str,
    schema: Schema,
) -> (Database, Arc<SqlCredentialStore>) {
    let schema = SqlCredentialStore::tables(schema);
    let db = Database::builder().issuer(issuer).allow_cross_tenant();
    #[cfg(feature = "postgres")]
    let db = db.owner_url(&url.replacen(APPLICATION, OWNER, 1)).cross_tenant_url(&url.replacen(
        APPLICATION,
        CROSS_TENANT,
        1,
    ));
    let db = db.connect(url, schema).await.unwrap();
    db.create_tables().await.unwrap();
    let store = Arc::new(SqlCredentialStore::new(&db, authority()));
    (db, store)
}

/// The store that another process finds.
pub(crate) async fn open(
    kind: Kind,
    issuer: &ScopeIssuer,
    place: &str,
) -> Arc<dyn CredentialStore> {
    match kind {
        Kind::Memory => Arc::new(MemoryCredentialStore::new()),
        Kind::Sqlite => open_sql(issuer, place).await,
        #[cfg(feature = "postgres")]
        Kind::Postgres => open_sql(issuer, place).await,
        #[cfg(all(unix, feature = "files"))]
        Kind::Files => Arc::new(tenantry::credential::FileCredentialStore::open(place).unwrap()),
    }
}

impl World {
    pub(crate) async fn new(kind: Kind) -> Self {
        Self::with(kind, |builder| builder).await
    }

    pub(crate) async fn with(
        kind: Kind,
        settings: impl FnOnce(CredentialsBuilder) -> CredentialsBuilder,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let kept = match kind {
            Kind::Memory => Kept::Memory,
            Kind::Sqlite => Kept::Sqlite(dir.path().join("credentials.db")),
            #[cfg(feature = "postgres")]
            Kind::Postgres => Kept::Postgres(Cluster::shared().database().await),
            #[cfg(all(unix, feature = "files"))]
            Kind::Files => Kept::Files(dir.path().join("credentials")),
        };
        Self::within(kind, kept, dir, settings).await
    }

    pub(crate) async fn within(
        kind: Kind,
        kept: Kept,
        dir: TempDir,
        settings: impl FnOnce(CredentialsBuilder) -> CredentialsBuilder,
    ) -> Self {
        let sink = MemorySink::new();
        let issuer = people(&sink);
        let store = open(kind, &issuer, &kept.place()).await;
        let builder = Credentials::builder(&issuer, keyring(), Arc::clone(&store));
        let credentials = settings(builder).build();
        credentials.keys().check().await.unwrap();
        let a = issuer.enter(&ann(), organization(0xA)).await.unwrap();
        let b = issuer.enter(&ann(), organization(0xB)).await.unwrap();
        Self { credentials, store, a, b, issuer, sink, kind, kept, dir }
    }

    /// As another process has them: with keys of its own in memory.
    pub(crate) fn elsewhere(&self) -> Credentials {
        Credentials::builder(&self.issuer, keyring(), Arc::clone(&self.store)).build()
    }

    pub(crate) async fn put(&self, scope: &TenantScope, token: &str) -> CredentialInfo {
        let credential = NewCredential::new("shopify").label("main shop");
        self.credentials.put(scope, credential, &secret(token)).await.unwrap()
    }

    /// The events of a kind that an organization has.
    pub(crate) async fn events(&self, scope: &TenantScope, kind: AuditKind) -> Vec<AuditEvent> {
        self.issuer.flush_audit().await.unwrap();
        let mut events = self.sink.events_across(&authority()).await.unwrap();
        let whose = Some(scope.organization());
        events.retain(|event| event.kind == kind && event.organization.as_ref() == whose);
        events
    }

    /// Opens and lists what does not open: in the same words each time, and with one event each,
    /// which names the credential and the reason.
    pub(crate) async fn does_not_open(
        &self,
        credentials: &Credentials,
        scope: &TenantScope,
        id: CredentialId,
        what: &str,
    ) {
        let before = self.events(scope, AuditKind::SecretRefused).await.len();
        unreadable(credentials.open(scope, id, "look").await);
        for (of, info) in credentials.list(scope).await.unwrap() {
            assert_eq!(info.is_err(), of == id, "{what}");
            if info.is_err() {
                unreadable(info);
            }
        }
        let refusals = self.events(scope, AuditKind::SecretRefused).await;
        assert_eq!(refusals.len(), before + 2, "{what}");
        for event in &refusals[before..] {
            assert_eq!(event.statement.as_deref(), Some(&*format!("credential {id}")), "{what}");
            assert!(event.detail.as_deref().is_some_and(|why| why != UNREADABLE), "{what}");
        }
    }

    /// Does what meets an incident, for a new scope of A's: it is recorded once, with the credential
    /// where one is meant, and ends every scope of A's and none of B's. A is resumed afterwards.
    pub(crate) async fn halts(
        &self,
        id: impl Into<Option<CredentialId>>,
        act: impl AsyncFnOnce(&TenantScope) -> Result<()>,
    ) {
        let a = self.again().await;
        let before = self.events(&a, AuditKind::Incident).await.len();
        let halted = self.events(&a, AuditKind::OrganizationSuspended).await.len();
        refused(act(&a).await, ErrorKind::Incident);
        let incidents = self.events(&a, AuditKind::Incident).await;
        assert_eq!(incidents.len(), before + 1);
        let named = id.into().map(|id| format!("credential {id}"));
        assert_eq!(incidents[before].statement.as_deref(), named.as_deref());
        let suspensions = self.events(&a, AuditKind::OrganizationSuspended).await.len();
        assert_eq!(suspensions, halted + 1);
        refused(self.credentials.list(&a).await, ErrorKind::Denied);
        refused(self.issuer.enter(&ann(), organization(0xA)).await, ErrorKind::Denied);
        self.credentials.list(&self.b).await.unwrap();
        self.issuer.resume(organization(0xA));
    }

    /// A new scope of A's.
    pub(crate) async fn again(&self) -> TenantScope {
        self.issuer.enter(&ann(), organization(0xA)).await.unwrap()
    }

    pub(crate) async fn reasons(&self) -> Vec<String> {
        self.issuer.flush_audit().await.unwrap();
        let events = self.sink.events_across(&authority()).await.unwrap();
        events.iter().filter_map(|event| event.detail.as_deref().map(str::to_owned)).collect()
    }
}

pub(crate) fn secret(token: &str) -> Secret {
    Secret::new().with("access_token", token).with("refresh_token", "example-refresh-token")
}

pub(crate) fn token(opened: &OpenCredential) -> String {
    let token = opened.secret.get("access_token").unwrap().expose_secret();
    String::from_utf8(token.to_vec()).unwrap()
}

#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(outcome: Result<T>, kind: ErrorKind) {
    assert_eq!(outcome.unwrap_err().kind(), kind);
}

/// The one answer for a credential that does not open, whatever is wrong with it.
#[track_caller]
pub(crate) fn unreadable<T: std::fmt::Debug>(outcome: Result<T>) {
    let error = outcome.unwrap_err();
    assert_eq!((error.kind(), &*error.to_string()), (ErrorKind::Corrupt, UNREADABLE));
    assert!(std::error::Error::source(&error).is_none(), "{error:?}");
}

const UNREADABLE: &str = "the sealed value does not open";
