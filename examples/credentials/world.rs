//! Two organizations with tokens of the same provider, in a database whose administrator is hostile.

use std::path::PathBuf;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use tempfile::TempDir;
use tenantry::ambient::{CrossTenantAuthority, cross_tenant_authority};
use tenantry::credential::{
    CredentialId, Credentials, FileLedger, NewCredential, Secret, SqlCredentialStore,
};
use tenantry::crypto::{LocalKeyring, SecretBytes};
use tenantry::scope::{MemoryDirectory, Principal, Role, ScopeIssuer};
use tenantry::table::Schema;
use tenantry::{Database, OrganizationId, Result, TenantScope};

/// Keysets as an operator keeps them outside of the database: before and after a change of KEK.
const OLD: &str = r#"{"active":"2026-01","keys":[
    {"id":"2026-01","key":"AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="}]}"#;
const BOTH: &str = r#"{"active":"2026-06","keys":[
    {"id":"2026-01","key":"AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="},
    {"id":"2026-06","key":"ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="}]}"#;
const NEW: &str = r#"{"active":"2026-06","keys":[
    {"id":"2026-06","key":"ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="}]}"#;

#[derive(Clone, Copy)]
pub enum Keyset {
    Old,
    Both,
    New,
}

pub struct World {
    pub issuer: ScopeIssuer,
    pub ours: TenantScope,
    pub theirs: TenantScope,
    pub store: SqlCredentialStore,
    pub credentials: Credentials,
    pub files: TempDir,
}

impl World {
    pub async fn new() -> Result<Self> {
        let (one, two) = (organization(0xA), organization(0xB));
        let (directory, ann) = (MemoryDirectory::new(), Principal::user("ann"));
        for organization in [&one, &two] {
            directory.add_member(organization, &ann, Role::Owner);
        }
        let issuer = ScopeIssuer::new(directory);
        let files = tempfile::tempdir().expect("a temporary directory");
        let store = open(&issuer, &files.path().join("shop.db")).await?;
        let builder = Credentials::builder(&issuer, keyring(Keyset::Old)?, store.clone());
        let credentials = builder.ledger(FileLedger::create(files.path().join("ledger"))?).build();
        credentials.keys().check().await?;
        let ours = issuer.enter(&ann, one).await?;
        let theirs = issuer.enter(&ann, two).await?;
        Ok(Self { issuer, ours, theirs, store, credentials, files })
    }

    /// Another process on the same files, with its own keys in memory.
    pub fn process(&self, keyset: Keyset) -> Result<Credentials> {
        let ledger = FileLedger::open(self.files.path().join("ledger"))?;
        let provider = keyring(keyset)?;
        Ok(Credentials::builder(&self.issuer, provider, self.store.clone()).ledger(ledger).build())
    }

    pub fn path(&self) -> PathBuf {
        self.files.path().join("shop.db")
    }

    pub async fn put(&self, scope: &TenantScope, token: &str) -> Result<CredentialId> {
        let credential = NewCredential::new("shopify").label("main shop");
        Ok(self.credentials.put(scope, credential, &secret(token)).await?.id)
    }

    /// What the hostile administrator types.
    pub async fn sql(&self, statements: &str) {
        let mut connection = connect(self.path()).await;
        let statements = AssertSqlSafe(statements.to_owned());
        sqlx::raw_sql(statements).execute(&mut connection).await.expect("hostile SQL that runs");
        connection.close().await.expect("a connection that closes");
    }
}

pub async fn open(issuer: &ScopeIssuer, path: &std::path::Path) -> Result<SqlCredentialStore> {
    let url = format!("sqlite://{}", path.display());
    let schema = SqlCredentialStore::tables(Schema::new());
    let db = Database::builder().issuer(issuer).allow_cross_tenant().connect(&url, schema).await?;
    db.create_tables().await?;
    Ok(SqlCredentialStore::new(&db, authority()))
}

pub fn authority() -> CrossTenantAuthority {
    cross_tenant_authority("keys of all organizations", Principal::job("operator"))
}

pub fn keyring(keyset: Keyset) -> Result<LocalKeyring> {
    let json = match keyset {
        Keyset::Old => OLD,
        Keyset::Both => BOTH,
        Keyset::New => NEW,
    };
    LocalKeyring::from_json(&SecretBytes::new(json.as_bytes().to_vec()))
}

pub fn secret(token: &str) -> Secret {
    Secret::new().with("access_token", token)
}

fn organization(number: u128) -> OrganizationId {
    OrganizationId::from_uuid(uuid::Uuid::from_u128(number)).expect("an organization id")
}

async fn connect(path: PathBuf) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path);
    options.connect().await.expect("a connection beside the library")
}
