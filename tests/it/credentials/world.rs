//! Two organizations, and their credentials in one of the stores.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use tenantry::audit::MemorySink;
use tenantry::credential::{
    CredentialInfo, CredentialStore, Credentials, CredentialsBuilder, MemoryCredentialStore,
    NewCredential, OpenCredential, Secret, SqlCredentialStore,
};
use tenantry::crypto::{LocalKeyring, SecretBytes};
use tenantry::scope::{MemoryDirectory, Role, ScopeIssuer};
use tenantry::table::Schema;
use tenantry::{Database, ErrorKind, Result, TenantScope};

pub(crate) use crate::leaks::fixture::{ann, authority, organization, raw, run_raw, url};

pub(crate) struct World {
    pub(crate) credentials: Credentials,
    pub(crate) store: Arc<dyn CredentialStore>,
    pub(crate) a: TenantScope,
    pub(crate) b: TenantScope,
    pub(crate) issuer: ScopeIssuer,
    pub(crate) sink: MemorySink,
    pub(crate) path: PathBuf,
    pub(crate) dir: TempDir,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Memory,
    Sql,
}

pub(crate) const KINDS: [Kind; 2] = [Kind::Memory, Kind::Sql];

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

pub(crate) fn people(sink: &MemorySink) -> ScopeIssuer {
    let directory = MemoryDirectory::new();
    for number in [0xA, 0xB] {
        directory.add_member(&organization(number), &ann(), Role::Owner);
    }
    ScopeIssuer::builder(directory).audit(sink.clone()).build()
}

pub(crate) async fn database(issuer: &ScopeIssuer, path: &Path) -> Database {
    let schema = SqlCredentialStore::tables(Schema::new());
    let db = Database::builder().issuer(issuer).allow_cross_tenant();
    let db = db.connect(&url(path), schema).await.unwrap();
    db.create_tables().await.unwrap();
    db
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
        let path = dir.path().join("credentials.db");
        let sink = MemorySink::new();
        let issuer = people(&sink);
        let store: Arc<dyn CredentialStore> = match kind {
            Kind::Memory => Arc::new(MemoryCredentialStore::new()),
            Kind::Sql => {
                let db = database(&issuer, &path).await;
                Arc::new(SqlCredentialStore::new(&db, authority()))
            }
        };
        let builder = Credentials::builder(&issuer, keyring(), Arc::clone(&store));
        let credentials = settings(builder).build();
        credentials.keys().check().await.unwrap();
        let a = issuer.enter(&ann(), organization(0xA)).await.unwrap();
        let b = issuer.enter(&ann(), organization(0xB)).await.unwrap();
        Self { credentials, store, a, b, issuer, sink, path, dir }
    }

    /// As another process has them: with keys of its own in memory.
    pub(crate) fn elsewhere(&self) -> Credentials {
        Credentials::builder(&self.issuer, keyring(), Arc::clone(&self.store)).build()
    }

    pub(crate) async fn put(&self, scope: &TenantScope, token: &str) -> CredentialInfo {
        let credential = NewCredential::new("shopify").label("main shop");
        self.credentials.put(scope, credential, &secret(token)).await.unwrap()
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
