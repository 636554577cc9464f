//! A provider and a store that fail as told, and the world in which the tests of keys take place.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use time::OffsetDateTime;
use uuid::Uuid;

use super::*;
use crate::ambient::{CrossTenantAuthority, cross_tenant_authority};
use crate::audit::MemorySink;
use crate::clock::ManualClock;
use crate::crypto::{
    DataKey, KekId, KeyDestruction, KeyOwner, LocalKeyring, SecretKind, WrapContext, WrappedKey,
};
use crate::error::ErrorKind;
use crate::id::OrganizationId;
use crate::scope::{MemoryDirectory, Principal, Role};

/// What a provider or a store does when it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Well,
    Down,
    /// It never answers.
    Silent,
    /// It answers shortly before nobody waits any more.
    Slow,
    /// It answers with another key than it was asked for.
    Wrong,
}

/// A provider that counts what it is asked, and fails as told.
#[derive(Debug, Clone)]
pub(super) struct Provider {
    pub(super) keyring: Arc<LocalKeyring>,
    pub(super) mood: Arc<Mutex<Mood>>,
    pub(super) unwraps: Arc<AtomicUsize>,
    pub(super) wraps: Arc<AtomicUsize>,
    pub(super) destroys: Arc<AtomicUsize>,
    /// For this owner it never answers.
    pub(super) silent_for: Arc<Mutex<Option<KeyOwner>>>,
    /// As many unwraps are answered; then they wait for more.
    pub(super) answers: Arc<Semaphore>,
}

impl Provider {
    pub(super) fn new(keyring: LocalKeyring) -> Self {
        Self {
            keyring: Arc::new(keyring),
            mood: Arc::new(Mutex::new(Mood::Well)),
            unwraps: Arc::default(),
            wraps: Arc::default(),
            destroys: Arc::default(),
            silent_for: Arc::default(),
            answers: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
        }
    }

    pub(super) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub(super) fn unwraps(&self) -> usize {
        self.unwraps.load(Ordering::SeqCst)
    }

    pub(super) fn wraps(&self) -> usize {
        self.wraps.load(Ordering::SeqCst)
    }

    async fn silence(&self, context: &WrapContext) {
        if self.silent_for.lock().unwrap().as_ref() == Some(context.owner()) {
            std::future::pending::<()>().await;
        }
    }

    async fn mood(&self) -> Result<bool> {
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Well => Ok(false),
            Mood::Wrong => Ok(true),
            Mood::Down => Err(Error::outage("the key service is down", "connection refused")),
            Mood::Silent => std::future::pending().await,
            Mood::Slow => {
                tokio::time::sleep(Settings::DEFAULT.patience - Duration::from_secs(1)).await;
                Ok(false)
            }
        }
    }
}

#[async_trait]
impl KeyProvider for Provider {
    fn id(&self) -> &str {
        self.keyring.id()
    }

    fn serves(&self, provider: &str) -> bool {
        self.keyring.serves(provider)
    }

    async fn active(&self) -> Result<KekId> {
        self.mood().await?;
        self.keyring.active().await
    }

    async fn wrap(&self, context: &WrapContext, key: &DataKey) -> Result<WrappedKey> {
        self.wraps.fetch_add(1, Ordering::SeqCst);
        self.silence(context).await;
        self.mood().await?;
        self.keyring.wrap(context, key).await
    }

    async fn unwrap(&self, context: &WrapContext, wrapped: &WrappedKey) -> Result<DataKey> {
        self.unwraps.fetch_add(1, Ordering::SeqCst);
        self.answers.acquire().await.unwrap().forget();
        self.silence(context).await;
        if self.mood().await? {
            return DataKey::random();
        }
        self.keyring.unwrap(context, wrapped).await
    }

    async fn rewrap(
        &self,
        context: &WrapContext,
        wrapped: &WrappedKey,
    ) -> Result<Option<WrappedKey>> {
        if self.mood().await? {
            return self.keyring.wrap(context, &DataKey::random()?).await.map(Some);
        }
        self.keyring.rewrap(context, wrapped).await
    }

    async fn destroy(&self, organization: &OrganizationId) -> Result<KeyDestruction> {
        self.destroys.fetch_add(1, Ordering::SeqCst);
        self.mood().await?;
        self.keyring.destroy(organization).await
    }
}

/// A store that counts its loads, and lets each wait for its turn.
#[derive(Debug, Clone)]
pub(super) struct Store {
    pub(super) memory: MemoryKeyStore,
    pub(super) loads: Arc<AtomicUsize>,
    pub(super) turns: Arc<Semaphore>,
    /// What somebody else does once, just before a key is activated.
    pub(super) meanwhile: Arc<Mutex<Option<Meanwhile>>>,
}

#[derive(Debug, Clone)]
pub(super) enum Meanwhile {
    Destroy(KeyId),
    RetireKek(KekId),
}

impl Store {
    pub(super) fn new() -> Self {
        Self {
            memory: MemoryKeyStore::new(),
            loads: Arc::default(),
            turns: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            meanwhile: Arc::default(),
        }
    }

    pub(super) fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl KeyStore for Store {
    async fn load(&self, access: KeyAccess<'_>) -> Result<KeySet> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        let set = self.memory.load(access).await;
        // What was read is old by the time that it arrives.
        self.turns.acquire().await.unwrap().forget();
        set
    }

    async fn activate(
        &self,
        access: KeyAccess<'_>,
        seen: KeyEpoch,
        key: &StoredKey,
    ) -> Result<bool> {
        let meanwhile = self.meanwhile.lock().unwrap().take();
        match meanwhile {
            Some(Meanwhile::Destroy(key)) => {
                let now = OffsetDateTime::UNIX_EPOCH;
                assert!(self.memory.destroy(access, seen, key, now).await?);
            }
            Some(Meanwhile::RetireKek(kek)) => {
                assert!(self.memory.remove_canary(&kek, &authority()).await?);
            }
            None => {}
        }
        self.memory.activate(access, seen, key).await
    }

    async fn rewrap(
        &self,
        access: KeyAccess<'_>,
        key: KeyId,
        from: &WrappedKey,
        to: &WrappedKey,
    ) -> Result<bool> {
        self.memory.rewrap(access, key, from, to).await
    }

    async fn destroy(
        &self,
        access: KeyAccess<'_>,
        seen: KeyEpoch,
        key: KeyId,
        at: OffsetDateTime,
    ) -> Result<bool> {
        self.memory.destroy(access, seen, key, at).await
    }

    async fn shred(&self, access: KeyAccess<'_>, at: OffsetDateTime) -> Result<()> {
        self.memory.shred(access, at).await
    }

    async fn canaries(&self) -> Result<Vec<StoredKey>> {
        self.memory.canaries().await
    }

    async fn add_canary(&self, canary: &StoredKey) -> Result<()> {
        self.memory.add_canary(canary).await
    }

    async fn remove_canary(&self, kek: &KekId, authority: &CrossTenantAuthority) -> Result<bool> {
        self.memory.remove_canary(kek, authority).await
    }

    async fn in_use(&self, kek: &KekId, authority: &CrossTenantAuthority) -> Result<u64> {
        self.memory.in_use(kek, authority).await
    }

    async fn organizations(&self, authority: &CrossTenantAuthority) -> Result<Vec<OrganizationId>> {
        self.memory.organizations(authority).await
    }
}

pub(super) fn authority() -> CrossTenantAuthority {
    cross_tenant_authority("care of keys", Principal::service("operator"))
}

/// Two organizations, whose people and records have the same names.
pub(super) struct World {
    pub(super) issuer: ScopeIssuer,
    pub(super) directory: MemoryDirectory,
    pub(super) clock: ManualClock,
    pub(super) sink: MemorySink,
    pub(super) provider: Provider,
    pub(super) store: Store,
    pub(super) keys: Keys,
    pub(super) a: TenantScope,
    pub(super) b: TenantScope,
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(|builder| builder).await
    }

    pub(super) async fn with(settings: impl FnOnce(KeysBuilder) -> KeysBuilder) -> Self {
        let (directory, ann) = (MemoryDirectory::new(), Principal::user("ann"));
        let [one, two] = [1, 2].map(|number| OrganizationId::from_i64(number).unwrap());
        for organization in [&one, &two] {
            directory.add_member(organization, &ann, Role::Member);
        }
        let (clock, sink) = (ManualClock::new(OffsetDateTime::UNIX_EPOCH), MemorySink::new());
        let issuer = ScopeIssuer::builder(directory.clone())
            .clock(clock.clone())
            .audit(sink.clone())
            .build();
        let (provider, store) = (Provider::new(LocalKeyring::random().unwrap()), Store::new());
        let keys = settings(Keys::builder(&issuer, provider.clone(), store.clone())).build();
        let a = issuer.enter(&ann, &one).await.unwrap();
        let b = issuer.enter(&ann, &two).await.unwrap();
        Self { issuer, directory, clock, sink, provider, store, keys, a, b }
    }

    /// The same store and provider in another process.
    pub(super) fn elsewhere(&self) -> Keys {
        Keys::builder(&self.issuer, self.provider.clone(), self.store.clone()).build()
    }

    /// The same store and a keyring of another name, which unwraps what this one wrapped.
    pub(super) fn moving(&self) -> Keys {
        let next = LocalKeyring::random().unwrap().with_id("next").unwrap();
        let both = crate::crypto::FallbackUnwrap::new(next, self.provider.clone()).unwrap();
        Keys::builder(&self.issuer, both, self.store.clone()).build()
    }

    /// Why values were refused, as the audit knows it, since the last time.
    pub(super) async fn reasons(&self) -> Vec<String> {
        self.issuer.flush_audit().await.unwrap();
        let refused = |event: &AuditEvent| event.kind == AuditKind::SecretRefused;
        let events = self.sink.all().into_iter().filter(refused);
        events.map(|event| event.detail.unwrap().into_owned()).collect()
    }
}

pub(super) fn context() -> SealContext<'static> {
    let record = Uuid::from_u128(7);
    SealContext::new(SecretKind::Credential, record, "shopify", "access_token", 3).unwrap()
}

pub(super) async fn open(keys: &Keys, scope: &TenantScope, sealed: &Sealed) -> Result<Vec<u8>> {
    let opened = keys.open(scope, &context(), sealed.as_bytes(), sealed.epoch()).await?;
    Ok(opened.expose_secret().to_vec())
}

#[track_caller]
pub(super) fn refused<T: fmt::Debug>(outcome: Result<T>) {
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(error.to_string(), "the sealed value does not open");
    assert!(std::error::Error::source(&error).is_none());
}
