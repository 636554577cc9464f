//! A store, a ledger and a key provider that say what they are told to change, and stop a process
//! before one of the changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tenantry::ambient::CrossTenantAuthority;
use tenantry::credential::*;
use tenantry::crypto::{
    DataKey, KekId, KeyDestruction, KeyId, KeyProvider, WrapContext, WrappedKey,
};
use tenantry::{OrganizationId, Result, TenantScope};
use time::OffsetDateTime;

/// Counts what a process changes, and does not come back from one of the calls.
#[derive(Debug)]
pub(crate) struct Steps {
    next: AtomicUsize,
    last: Option<usize>,
}

/// Tells of each change before it is made. Between the answer to one and the next there are reads
/// alone: who is stopped before a change is stopped after the one that it follows.
#[derive(Debug)]
pub(crate) struct Stepping<T> {
    pub(crate) of: T,
    pub(crate) steps: Arc<Steps>,
}

impl Steps {
    pub(crate) fn until(last: Option<usize>) -> Arc<Self> {
        Arc::new(Self { next: AtomicUsize::new(0), last })
    }

    pub(crate) async fn reached(&self, name: &str) {
        let step = self.next.fetch_add(1, Ordering::Relaxed);
        println!("reached {name}");
        if self.last == Some(step) {
            std::future::pending::<()>().await;
        }
    }
}

impl<T> Stepping<T> {
    pub(crate) fn new(of: T, steps: &Arc<Steps>) -> Self {
        Self { of, steps: Arc::clone(steps) }
    }

    async fn call<A>(&self, name: &str, work: impl Future<Output = A>) -> A {
        self.steps.reached(name).await;
        work.await
    }
}

type Page = Snapshot<Vec<(CredentialId, Result<StoredCredential>)>>;

#[async_trait]
impl CredentialStore for Stepping<Arc<dyn CredentialStore>> {
    async fn insert(
        &self,
        scope: &TenantScope,
        epoch: KeyEpoch,
        credential: &StoredCredential,
    ) -> Result<Written> {
        self.call("insert", self.of.insert(scope, epoch, credential)).await
    }
    async fn get(
        &self,
        scope: &TenantScope,
        id: CredentialId,
    ) -> Result<Snapshot<Option<StoredCredential>>> {
        self.of.get(scope, id).await
    }
    async fn replace(
        &self,
        scope: &TenantScope,
        epoch: KeyEpoch,
        seen: u64,
        credential: &StoredCredential,
    ) -> Result<Written> {
        self.call("replace", self.of.replace(scope, epoch, seen, credential)).await
    }
    async fn page(
        &self,
        scope: &TenantScope,
        after: Option<CredentialId>,
        limit: u32,
    ) -> Result<Page> {
        self.of.page(scope, after, limit).await
    }
    async fn remove(&self, scope: &TenantScope, id: CredentialId) -> Result<bool> {
        self.call("remove", self.of.remove(scope, id)).await
    }
    async fn usage(&self, scope: &TenantScope) -> Result<Snapshot<Vec<KeyUse>>> {
        self.of.usage(scope).await
    }
    async fn reseal(
        &self,
        scope: &TenantScope,
        epoch: KeyEpoch,
        seen: Option<Checkpoint>,
        values: &[Resealed],
        reached: Option<Checkpoint>,
    ) -> Result<Written> {
        self.call("reseal", self.of.reseal(scope, epoch, seen, values, reached)).await
    }
    async fn checkpoint(&self, scope: &TenantScope) -> Result<Option<Checkpoint>> {
        self.of.checkpoint(scope).await
    }
}

#[async_trait]
impl KeyStore for Stepping<Arc<dyn CredentialStore>> {
    async fn load(&self, access: KeyAccess<'_>) -> Result<KeySet> {
        self.of.load(access).await
    }
    async fn activate(
        &self,
        access: KeyAccess<'_>,
        seen: KeyEpoch,
        key: &StoredKey,
    ) -> Result<bool> {
        self.call("activate", self.of.activate(access, seen, key)).await
    }
    async fn rewrap(
        &self,
        access: KeyAccess<'_>,
        key: KeyId,
        from: &WrappedKey,
        to: &WrappedKey,
    ) -> Result<bool> {
        self.call("rewrap", self.of.rewrap(access, key, from, to)).await
    }
    async fn destroy(
        &self,
        access: KeyAccess<'_>,
        seen: KeyEpoch,
        key: KeyId,
        at: OffsetDateTime,
    ) -> Result<bool> {
        self.call("destroy", self.of.destroy(access, seen, key, at)).await
    }
    async fn shred(&self, access: KeyAccess<'_>, at: OffsetDateTime) -> Result<()> {
        self.call("shred", self.of.shred(access, at)).await
    }
    async fn canaries(&self) -> Result<Vec<StoredKey>> {
        self.of.canaries().await
    }
    async fn add_canary(&self, canary: &StoredKey) -> Result<()> {
        self.call("add_canary", self.of.add_canary(canary)).await
    }
    async fn remove_canary(&self, kek: &KekId, authority: &CrossTenantAuthority) -> Result<bool> {
        self.call("remove_canary", self.of.remove_canary(kek, authority)).await
    }
    async fn in_use(&self, kek: &KekId, authority: &CrossTenantAuthority) -> Result<u64> {
        self.of.in_use(kek, authority).await
    }
    async fn organizations(&self, authority: &CrossTenantAuthority) -> Result<Vec<OrganizationId>> {
        self.of.organizations(authority).await
    }
}

#[async_trait]
impl ShredLedger for Stepping<FileLedger> {
    async fn record(&self, organization: &OrganizationId, at: OffsetDateTime) -> Result<()> {
        self.call("record", self.of.record(organization, at)).await
    }
    async fn find(&self, organization: &OrganizationId) -> Result<Option<OffsetDateTime>> {
        self.of.find(organization).await
    }
}

#[async_trait]
impl KeyProvider for Stepping<Arc<dyn KeyProvider>> {
    fn id(&self) -> &str {
        self.of.id()
    }
    fn serves(&self, provider: &str) -> bool {
        self.of.serves(provider)
    }
    async fn active(&self) -> Result<KekId> {
        self.of.active().await
    }
    async fn wrap(&self, context: &WrapContext, key: &DataKey) -> Result<WrappedKey> {
        self.of.wrap(context, key).await
    }
    async fn unwrap(&self, context: &WrapContext, wrapped: &WrappedKey) -> Result<DataKey> {
        self.of.unwrap(context, wrapped).await
    }
    async fn rewrap(
        &self,
        context: &WrapContext,
        wrapped: &WrappedKey,
    ) -> Result<Option<WrappedKey>> {
        self.of.rewrap(context, wrapped).await
    }
    async fn destroy(&self, organization: &OrganizationId) -> Result<KeyDestruction> {
        self.call("destroy_kek", self.of.destroy(organization)).await
    }
}
