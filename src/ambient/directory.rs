//! Organizations as a whole: their beginning, and who may enter them at all.

use super::CrossTenantAuthority;
use crate::Database;
use crate::error::{Error, ErrorKind, Result};
use crate::id::OrganizationId;
use crate::scope::{Principal, Role, ScopeIssuer, TenantScope};
use crate::tenancy::SqlDirectory;
use crate::tenancy::tables::{MemberRow, OrganizationRow, SLOT, organizations};

impl SqlDirectory {
    /// A directory in a database that was opened with [`tables`](Self::tables) and with
    /// [`allow_cross_tenant`](crate::database::DatabaseBuilder::allow_cross_tenant).
    ///
    /// # Cross-tenant authority
    ///
    /// The directory keeps it for what the issuer asks: who is a member of an organization, whether
    /// the organization is active, and which organizations a principal has.
    #[must_use]
    pub fn new(db: &Database, authority: CrossTenantAuthority) -> Self {
        Self::over(db, authority)
    }

    /// Creates an active organization with its first owner.
    ///
    /// `issuer` is the one whose scopes the Database serves.
    ///
    /// # Cross-tenant authority
    ///
    /// Writes into an organization that did not exist, and into no other.
    ///
    /// # Errors
    /// `Conflict` for an organization that exists; `Misuse` for one of another kind than the
    /// schema's, for another issuer and for an authority without a reason; `Unavailable` where the
    /// use cannot be recorded; `Denied` while everything is halted; `Unauthenticated` or `Invalid`
    /// for a principal with an empty or unfit id.
    ///
    /// # Cancellation
    /// Dropped half-way, the organization exists with its owner, or does not.
    pub async fn create_organization(
        &self,
        issuer: &ScopeIssuer,
        organization: &OrganizationId,
        owner: &Principal,
        authority: &CrossTenantAuthority,
    ) -> Result<()> {
        owner.validate()?;
        let scope = registrar(issuer, organization, "create organization", authority).await?;
        let created = OrganizationRow { slot: SLOT, active: true, created_at: crate::clock::now() };
        let mut tx = self.db.begin(&scope).await?;
        match OrganizationRow::insert(&scope, created).execute(&mut tx).await {
            Err(error) if error.kind() == ErrorKind::Conflict => {
                return Err(Error::conflict("the organization exists"));
            }
            inserted => inserted?,
        };
        MemberRow::insert(&scope, MemberRow::new(owner, Role::Owner)).execute(&mut tx).await?;
        tx.commit().await
    }

    /// Keeps everybody out of an organization: the directory answers that it is not active, and the
    /// scopes of this process end, as by [`ScopeIssuer::suspend`].
    ///
    /// Scopes in other processes end at their maximum age.
    ///
    /// # Cross-tenant authority
    ///
    /// Stops the work of any organization.
    ///
    /// # Errors
    /// `NotFound` for an organization that does not exist; otherwise as for
    /// [`create_organization`](Self::create_organization).
    ///
    /// # Cancellation
    /// Dropped half-way, the directory may keep everybody out while scopes of this process live on to
    /// their maximum age: call it again.
    pub async fn suspend_organization(
        &self,
        issuer: &ScopeIssuer,
        organization: &OrganizationId,
        authority: &CrossTenantAuthority,
    ) -> Result<()> {
        let scope = registrar(issuer, organization, "suspend organization", authority).await?;
        self.set_active(&scope, false).await?;
        issuer.suspend(organization);
        Ok(())
    }

    /// Lets members enter again, as by [`ScopeIssuer::resume`] in this process. Scopes that were
    /// ended stay so.
    ///
    /// It ends a suspension by the breaker in this process too: look at the incident first.
    ///
    /// # Cross-tenant authority
    ///
    /// Opens any organization to its members.
    ///
    /// # Errors
    /// As for [`suspend_organization`](Self::suspend_organization).
    ///
    /// # Cancellation
    /// Dropped half-way, the directory may let members in while this process keeps them out: call it
    /// again.
    pub async fn activate_organization(
        &self,
        issuer: &ScopeIssuer,
        organization: &OrganizationId,
        authority: &CrossTenantAuthority,
    ) -> Result<()> {
        let scope = registrar(issuer, organization, "activate organization", authority).await?;
        self.set_active(&scope, true).await?;
        issuer.resume(organization);
        Ok(())
    }

    async fn set_active(&self, scope: &TenantScope, active: bool) -> Result<()> {
        let changed = OrganizationRow::update(scope)
            .set(organizations::active, active)
            .key(SLOT)
            .execute(&self.db)
            .await?;
        if changed == 1 { Ok(()) } else { Err(Error::not_found("no such organization")) }
    }
}

/// A scope for one act on an organization, after the act is written down.
async fn registrar(
    issuer: &ScopeIssuer,
    organization: &OrganizationId,
    act: &'static str,
    authority: &CrossTenantAuthority,
) -> Result<TenantScope> {
    authority.validate()?;
    let event = authority.event(issuer.auditor(), act).about(organization);
    issuer.auditor().require(event).await?;
    issuer.admit_registrar(authority.principal(), organization)
}
