//! A key provider with a KEK for each organization, which it can destroy.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tenantry::crypto::{
    DataKey, KekId, KeyDestruction, KeyOwner, KeyProvider, LocalKeyring, SecretBytes, WrapContext,
    WrappedKey,
};
use tenantry::{Error, OrganizationId, Result};

/// A KEK in a file for each owner, all of them called `own:1`. Clones share it, and so do processes.
#[derive(Debug, Clone)]
pub(crate) struct OwnKeks {
    folder: PathBuf,
    down: Arc<AtomicBool>,
}

impl OwnKeks {
    pub(crate) fn in_folder(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        std::fs::create_dir_all(&folder).unwrap();
        Self { folder, down: Arc::default() }
    }

    /// Lets the next destructions fail, or no longer.
    pub(crate) fn fail(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    pub(crate) fn has(&self, organization: &OrganizationId) -> bool {
        self.path(&KeyOwner::Organization(organization.clone())).exists()
    }

    fn path(&self, owner: &KeyOwner) -> PathBuf {
        self.folder.join(match owner {
            KeyOwner::Organization(organization) => organization.encoded(),
            _ => "platform".to_owned(),
        })
    }

    fn kek(&self, owner: &KeyOwner) -> Option<LocalKeyring> {
        let keyset = std::fs::read(self.path(owner)).ok()?;
        Some(LocalKeyring::from_json(&SecretBytes::new(keyset)).unwrap().with_id("own").unwrap())
    }

    fn make(&self, owner: &KeyOwner) {
        let [one, two] = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
        let key = STANDARD.encode([one.into_bytes(), two.into_bytes()].concat());
        let keyset = format!(r#"{{"active":"1","keys":[{{"id":"1","key":"{key}"}}]}}"#);
        std::fs::write(self.path(owner), keyset).unwrap();
    }
}

#[async_trait]
impl KeyProvider for OwnKeks {
    fn id(&self) -> &str {
        "own"
    }
    fn serves(&self, provider: &str) -> bool {
        provider == "own"
    }
    async fn active(&self) -> Result<KekId> {
        KekId::new("own", "1")
    }
    async fn wrap(&self, context: &WrapContext, key: &DataKey) -> Result<WrappedKey> {
        if self.kek(context.owner()).is_none() {
            self.make(context.owner());
        }
        self.kek(context.owner()).unwrap().wrap(context, key).await
    }
    async fn unwrap(&self, context: &WrapContext, wrapped: &WrappedKey) -> Result<DataKey> {
        if *wrapped.kek() != self.active().await? {
            return Err(wrapped.kek().unknown());
        }
        let kek = self.kek(context.owner()).ok_or_else(|| wrapped.refused())?;
        kek.unwrap(context, wrapped).await
    }
    async fn rewrap(&self, _: &WrapContext, wrapped: &WrappedKey) -> Result<Option<WrappedKey>> {
        if *wrapped.kek() != self.active().await? {
            return Err(wrapped.kek().unknown());
        }
        Ok(None)
    }
    async fn destroy(&self, organization: &OrganizationId) -> Result<KeyDestruction> {
        if self.down.load(Ordering::SeqCst) {
            return Err(Error::outage("the key service is away", "planted"));
        }
        let _ = std::fs::remove_file(self.path(&KeyOwner::Organization(organization.clone())));
        Ok(KeyDestruction::Destroyed)
    }
}
