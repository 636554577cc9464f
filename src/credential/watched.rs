//! A store whose incidents end what the organization does, whoever made the store.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use time::OffsetDateTime;

use super::keys::{KeyAccess, KeyEpoch, KeySet, KeyStore, StoredKey};
use super::record::{
    Checkpoint, CredentialId, KeyUse, Resealed, Snapshot, StoredCredential, Written,
};
use super::store::CredentialStore;
use crate::ambient::CrossTenantAuthority;
use crate::audit::AuditKind;
use crate::crypto::{KekId, KeyId, WrappedKey};
use crate::error::{Error, ErrorKind, Result};
use crate::id::OrganizationId;
use crate::scope::{ScopeIssuer, TenantScope};

/// Passes everything on.
///
/// INVARIANT: an incident that a store answers with stops the organization and is written down before
/// anybody hears of it; what belongs to no organization is written down. A store that has done so
/// itself, as one in a [`Database`](crate::Database) has, is not repeated.
pub(super) struct Watched<S: ?Sized> {
    issuer: ScopeIssuer,
    store: Arc<S>,
}

impl<S: Send + Sync + ?Sized> Watched<S> {
    pub(super) fn new(issuer: &ScopeIssuer, store: Arc<S>) -> Self {
        Self { issuer: issuer.clone(), store }
    }

    /// An answer about an organization's credentials, or about one of them.
    async fn heard<T: Send>(
        &self,
        scope: &TenantScope,
        id: Option<CredentialId>,
        answer: Result<T>,
    ) -> Result<T> {
        match answer {
            Err(error) if error.is_new_incident() => {
                let on = id.map(|id| format!("credential {id}"));
                Err(scope.incident(self.issuer.auditor(), on, error).await)
            }
            answer => answer,
        }
    }

    /// An answer about the keys that are reached so.
    async fn heard_as<T: Send>(&self, access: KeyAccess<'_>, answer: Result<T>) -> Result<T> {
        match access {
            KeyAccess::Organization(scope) => self.heard(scope, None, answer).await,
            KeyAccess::Platform(authority) => self.heard_of_all(Some(authority), answer).await,
        }
    }

    /// An answer about what belongs to no organization, or to nobody knows which.
    async fn heard_of_all<T: Send>(
        &self,
        authority: Option<&CrossTenantAuthority>,
        answer: Result<T>,
    ) -> Result<T> {
        match answer {
            Err(error) if error.is_new_incident() => Err(self.record(authority, error).await),
            answer => answer,
        }
    }

    async fn record(&self, authority: Option<&CrossTenantAuthority>, error: Error) -> Error {
        let auditor = self.issuer.auditor();
        let mut event = auditor.event(AuditKind::Incident);
        if let Some(authority) = authority {
            event = event.by(authority.principal());
        }
        auditor.incident(event, error).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: KeyStore + ?Sized> KeyStore for Watched<S> {
    async fn load(&self, access: KeyAccess<'_>) -> Result<KeySet> {
        self.heard_as(access, self.store.load(access).await).await
    }

    async fn activate(
        &self,
        access: KeyAccess<'_>,
        seen: KeyEpoch,
        key: &StoredKey,
    ) -> Result<bool> {
        self.heard_as(access, self.store.activate(access, seen, key).await).await
    }

    async fn rewrap(
        &self,
        access: KeyAccess<'_>,
        key: KeyId,
        from: &WrappedKey,
        to: &WrappedKey,
    ) -> Result<bool> {
        self.heard_as(access, self.store.rewrap(access, key, from, to).await).await
    }

    async fn destroy(
        &self,
        access: KeyAccess<'_>,
        seen: KeyEpoch,
        key: KeyId,
        at: OffsetDateTime,
    ) -> Result<bool> {
        self.heard_as(access, self.store.destroy(access, seen, key, at).await).await
    }

    async fn shred(&self, access: KeyAccess<'_>, at: OffsetDateTime) -> Result<()> {
        self.heard_as(access, self.store.shred(access, at).await).await
    }

    async fn canaries(&self) -> Result<Vec<StoredKey>> {
        self.heard_of_all(None, self.store.canaries().await).await
    }

    async fn add_canary(&self, canary: &StoredKey) -> Result<()> {
        self.heard_of_all(None, self.store.add_canary(canary).await).await
    }

    async fn remove_canary(&self, kek: &KekId, authority: &CrossTenantAuthority) -> Result<bool> {
        let removed = self.store.remove_canary(kek, authority).await;
        self.heard_of_all(Some(authority), removed).await
    }

    async fn in_use(&self, kek: &KekId, authority: &CrossTenantAuthority) -> Result<u64> {
        self.heard_of_all(Some(authority), self.store.in_use(kek, authority).await).await
    }

    async fn organizations(&self, authority: &CrossTenantAuthority) -> Result<Vec<OrganizationId>> {
        self.heard_of_all(Some(authority), self.store.organizations(authority).await).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: CredentialStore + ?Sized> CredentialStore for Watched<S> {
    async fn insert(
        &self,
        scope: &TenantScope,
        epoch: KeyEpoch,
        credential: &StoredCredential,
    ) -> Result<Written> {
        let written = self.store.insert(scope, epoch, credential).await;
        self.heard(scope, Some(credential.info.id), written).await
    }

    async fn get(
        &self,
        scope: &TenantScope,
        id: CredentialId,
    ) -> Result<Snapshot<Option<StoredCredential>>> {
        self.heard(scope, Some(id), self.store.get(scope, id).await).await
    }

    async fn replace(
        &self,
        scope: &TenantScope,
        epoch: KeyEpoch,
        seen: u64,
        credential: &StoredCredential,
    ) -> Result<Written> {
        let written = self.store.replace(scope, epoch, seen, credential).await;
        self.heard(scope, Some(credential.info.id), written).await
    }

    /// An incident at one of them is one of them all: the scope has ended.
    async fn page(
        &self,
        scope: &TenantScope,
        after: Option<CredentialId>,
        limit: u32,
    ) -> Result<Snapshot<Vec<(CredentialId, Result<StoredCredential>)>>> {
        let page = self.store.page(scope, after, limit).await;
        let page = self.heard(scope, None, page).await?;
        let mut heard = Vec::with_capacity(page.value.len());
        for (id, stored) in page.value {
            match self.heard(scope, Some(id), stored).await {
                Err(error) if error.kind() == ErrorKind::Incident => return Err(error),
                stored => heard.push((id, stored)),
            }
        }
        Ok(Snapshot::new(page.epoch, heard))
    }

    async fn remove(&self, scope: &TenantScope, id: CredentialId) -> Result<bool> {
        self.heard(scope, Some(id), self.store.remove(scope, id).await).await
    }

    async fn usage(&self, scope: &TenantScope) -> Result<Snapshot<Vec<KeyUse>>> {
        self.heard(scope, None, self.store.usage(scope).await).await
    }

    async fn reseal(
        &self,
        scope: &TenantScope,
        epoch: KeyEpoch,
        seen: Option<Checkpoint>,
        values: &[Resealed],
        reached: Option<Checkpoint>,
    ) -> Result<Written> {
        let written = self.store.reseal(scope, epoch, seen, values, reached).await;
        self.heard(scope, None, written).await
    }

    async fn checkpoint(&self, scope: &TenantScope) -> Result<Option<Checkpoint>> {
        self.heard(scope, None, self.store.checkpoint(scope).await).await
    }
}

impl<S: fmt::Debug + ?Sized> fmt::Debug for Watched<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;
    use crate::ambient::cross_tenant_authority;
    use crate::audit::{AuditEvent, AuditSink, MemorySink};
    use crate::credential::MemoryKeyStore;
    use crate::scope::{Breaker, MemoryDirectory, Principal, Role};

    async fn world(
        sink: impl AuditSink,
        breaker: Breaker,
    ) -> (Watched<MemoryKeyStore>, TenantScope, TenantScope) {
        let (directory, ann) = (MemoryDirectory::new(), Principal::user("ann"));
        let organizations = [OrganizationId::new(), OrganizationId::new()];
        for organization in &organizations {
            directory.add_member(organization, &ann, Role::Owner);
        }
        let issuer = ScopeIssuer::builder(directory).audit(sink).breaker(breaker).build();
        let [a, b] = &organizations;
        let (a, b) = (issuer.enter(&ann, a).await.unwrap(), issuer.enter(&ann, b).await.unwrap());
        (Watched::new(&issuer, Arc::default()), a, b)
    }

    fn incident() -> Result<()> {
        Err(Error::incident("a row of somebody else's"))
    }

    async fn incidents(watched: &Watched<MemoryKeyStore>, sink: &MemorySink) -> Vec<AuditEvent> {
        watched.issuer.flush_audit().await.unwrap();
        let events = sink.all().into_iter();
        events.filter(|event| event.kind == AuditKind::Incident).collect()
    }

    #[tokio::test]
    async fn an_incident_of_any_store_ends_the_organization_and_is_recorded_once() {
        let sink = MemorySink::new();
        let (watched, a, b) = world(sink.clone(), Breaker::Organization).await;
        let id = CredentialId::random().unwrap();
        let error = watched.heard(&a, Some(id), incident()).await.unwrap_err();
        assert_eq!(error.to_string(), "a row of somebody else's");
        assert!(a.check().is_err() && b.check().is_ok());
        // Passed on by whoever wraps the store, or by the care of keys.
        let error = watched.heard(&a, None, Err::<(), _>(error)).await.unwrap_err();
        let error = watched.heard_as(KeyAccess::Organization(&a), Err::<(), _>(error)).await;
        let error = watched.heard_of_all(None, error).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Incident);
        let [event] = &incidents(&watched, &sink).await[..] else { panic!("not once") };
        assert_eq!(event.organization.as_ref(), Some(a.organization()));
        assert_eq!(event.statement.as_deref(), Some(&*format!("credential {id}")));
        assert_eq!(event.detail.as_deref(), Some("a row of somebody else's"));
        let ended = |event: &AuditEvent| event.kind == AuditKind::OrganizationSuspended;
        assert_eq!(sink.all().into_iter().filter(ended).count(), 1);

        let other = watched.heard(&b, Some(id), Err::<(), _>(Error::corrupt("damaged"))).await;
        assert_eq!(other.unwrap_err().kind(), ErrorKind::Corrupt);
        assert!(b.check().is_ok());
    }

    #[tokio::test]
    async fn what_belongs_to_no_organization_is_recorded_and_halts_nobody() {
        let sink = MemorySink::new();
        let (watched, a, b) = world(sink.clone(), Breaker::Organization).await;
        let authority = cross_tenant_authority("care of keys", Principal::service("start"));
        let _ = watched.heard_as(KeyAccess::Platform(&authority), incident()).await.unwrap_err();
        let _ = watched.heard_of_all(None, incident()).await.unwrap_err();
        let events = incidents(&watched, &sink).await;
        assert!(events.iter().all(|event| event.organization.is_none()));
        let who: Vec<_> = events.iter().map(|event| event.principal.as_deref()).collect();
        assert_eq!(who, [Some("service:start"), None]);
        assert!(a.check().is_ok() && b.check().is_ok());
    }

    #[tokio::test]
    async fn an_incident_that_cannot_be_recorded_ends_everything_that_the_breaker_is_set_to() {
        #[derive(Debug)]
        struct Full;

        #[async_trait]
        impl AuditSink for Full {
            async fn record(&self, _: &AuditEvent) -> Result<()> {
                Err(Error::unavailable("the disk is full"))
            }
        }
        let (watched, a, b) = world(Full, Breaker::Process).await;
        let error = watched.heard(&a, None, incident()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Incident);
        assert!(error.source().unwrap().to_string().contains("cannot be recorded"));
        assert!(a.check().is_err() && b.check().is_err());
    }
}
