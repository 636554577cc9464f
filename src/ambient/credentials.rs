//! The keys of every organization's credentials.

use super::CrossTenantAuthority;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
use crate::Database;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
use crate::credential::SqlCredentialStore;
use crate::credential::{Credentials, KeyAccess, KeySet, Rewrap};
use crate::crypto::KekId;
use crate::error::{Error, Result};
use crate::id::OrganizationId;

impl Credentials {
    /// Wraps the data keys of every organization under the provider's active KEK, one organization
    /// with each step.
    ///
    /// # Cross-tenant authority
    ///
    /// Enters every organization, and touches its wrapped keys.
    ///
    /// # Errors
    ///
    /// `Unavailable` where the use cannot be recorded or the store does not answer, `Misuse` for an
    /// authority without a reason.
    ///
    /// # Examples
    ///
    /// ```
    /// # use tenantry::ambient::CrossTenantAuthority;
    /// # use tenantry::credential::Credentials;
    /// # async fn run(credentials: Credentials, authority: CrossTenantAuthority) -> tenantry::Result<()> {
    /// let mut rewrap = credentials.rewrap_all(&authority).await?;
    /// while let Some(progress) = rewrap.step().await? {
    ///     println!("{} organizations done, {} left", progress.organizations, progress.left);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn rewrap_all<'c>(
        &'c self,
        authority: &'c CrossTenantAuthority,
    ) -> Result<Rewrap<'c>> {
        Ok(self.rewrap(self.organizations(authority, "re-wrap data keys").await?, authority))
    }

    /// How many data keys are wrapped under each KEK, the platform's among them.
    ///
    /// # Cross-tenant authority
    ///
    /// Enters every organization, and reads by which KEKs its keys are wrapped.
    ///
    /// # Errors
    ///
    /// As for [`rewrap_all`](Self::rewrap_all); `Denied` where an organization cannot be entered.
    pub async fn kek_status(&self, authority: &CrossTenantAuthority) -> Result<Vec<(KekId, u64)>> {
        let mut counts = std::collections::BTreeMap::new();
        let mut count = |set: KeySet| {
            for wrapped in set.keys.into_iter().filter_map(|key| key.wrapped) {
                *counts.entry(wrapped.kek().clone()).or_default() += 1;
            }
        };
        for organization in self.organizations(authority, "count wrapped keys").await? {
            let scope = self.keys().issuer().enter_across(organization, authority).await?;
            count(self.store().load(KeyAccess::Organization(&scope)).await?);
        }
        count(self.store().load(KeyAccess::Platform(authority)).await?);
        Ok(counts.into_iter().collect())
    }

    /// Takes a KEK out of use: from then on a process may start without it.
    ///
    /// # Cross-tenant authority
    ///
    /// Enters every organization, to see that none needs the KEK.
    ///
    /// # Errors
    ///
    /// `Conflict` for the active KEK and while any data key is wrapped under it; else as for
    /// [`kek_status`](Self::kek_status).
    pub async fn retire_kek(&self, kek: &KekId, authority: &CrossTenantAuthority) -> Result<()> {
        if self.keys().active_kek().await? == *kek {
            return Err(Error::conflict("the key-encryption key is the active one"));
        }
        if self.kek_status(authority).await?.iter().any(|(used, _)| used == kek) {
            return Err(Error::conflict(
                "data keys are still wrapped under the key-encryption key",
            ));
        }
        self.store().remove_canary(kek).await
    }

    async fn organizations(
        &self,
        authority: &CrossTenantAuthority,
        act: &'static str,
    ) -> Result<Vec<OrganizationId>> {
        authority.record(self.keys().issuer().auditor(), act).await?;
        self.store().organizations(authority).await
    }
}

#[cfg(any(feature = "postgres", feature = "sqlite"))]
impl SqlCredentialStore {
    /// A store in a database that was opened with [`tables`](Self::tables) and with
    /// [`allow_cross_tenant`](crate::database::DatabaseBuilder::allow_cross_tenant).
    ///
    /// # Cross-tenant authority
    ///
    /// The store keeps it for the canaries by which key-encryption keys are tried at start, which
    /// belong to no organization, and for nothing else.
    #[must_use]
    pub fn new(db: &Database, authority: CrossTenantAuthority) -> Self {
        Self::over(db, authority)
    }
}
