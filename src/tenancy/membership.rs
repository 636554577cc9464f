//! Who is a member, and who may change that.

use time::OffsetDateTime;

use super::SqlDirectory;
use super::tables::{MemberRow, OrganizationRow, SLOT, members};
use crate::audit::AuditKind;
use crate::database::Transaction;
use crate::error::{Error, ErrorKind, Result};
use crate::scope::{Principal, Role, TenantScope};

/// A member of an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// Who it is.
    pub principal: Principal,
    /// What the member may do.
    pub role: Role,
    /// Since when, in UTC.
    pub since: OffsetDateTime,
}

impl From<MemberRow> for Member {
    fn from(row: MemberRow) -> Self {
        let principal = Principal::of(row.kind, row.principal);
        Self { principal, role: row.role, since: row.since }
    }
}

impl SqlDirectory {
    /// The members of the scope's organization, by kind and id.
    ///
    /// # Errors
    /// `Denied` for a scope that no longer works; `Unavailable` and `Corrupt` for the store's
    /// faults.
    pub async fn members(&self, scope: &TenantScope) -> Result<Vec<Member>> {
        let rows = MemberRow::select(scope).fetch_all(&self.db).await?;
        Ok(rows.into_iter().map(Member::from).collect())
    }

    /// Makes a principal a member.
    ///
    /// # Errors
    /// `Denied` below [`Role::Admin`] and for a role above the own one, `Conflict` for who is a
    /// member already; `Unauthenticated` or `Invalid` for a principal with an empty or unfit id.
    ///
    /// # Cancellation
    /// Dropped half-way, the membership was stored or not, never half.
    pub async fn add_member(
        &self,
        scope: &TenantScope,
        principal: &Principal,
        role: Role,
    ) -> Result<()> {
        principal.validate()?;
        let mut change = self.change(scope).await?;
        change.require(Role::Admin)?;
        change.require(role)?;
        match MemberRow::insert(scope, MemberRow::new(principal, role))
            .execute(&mut change.tx)
            .await
        {
            Err(error) if error.kind() == ErrorKind::Conflict => {
                return Err(Error::conflict("the principal is a member already"));
            }
            inserted => inserted?,
        };
        change.commit(format!("added {principal} as {role}")).await
    }

    /// Gives a member another role.
    ///
    /// # Errors
    /// `Denied` below [`Role::Admin`], for a role above the own one and for a member above it;
    /// `NotFound` for who is no member; `Conflict` where the organization would be left without an
    /// owner.
    ///
    /// # Cancellation
    /// As for [`add_member`](Self::add_member).
    pub async fn change_role(
        &self,
        scope: &TenantScope,
        principal: &Principal,
        role: Role,
    ) -> Result<()> {
        let mut change = self.change(scope).await?;
        change.require(Role::Admin)?;
        change.require(role)?;
        let member = change.member(principal).await?;
        change.require(member.role)?;
        if role < Role::Owner {
            change.keep_an_owner(&member).await?;
        }
        MemberRow::update(scope)
            .set(members::role, role)
            .key((member.kind, member.principal))
            .execute(&mut change.tx)
            .await?;
        change.commit(format!("{principal} is {role} instead of {}", member.role)).await
    }

    /// Ends a membership; a member's own needs no role.
    ///
    /// # Errors
    /// `Denied` below [`Role::Admin`] and for a member above the own role; `NotFound` for who is no
    /// member; `Conflict` for the last owner.
    ///
    /// # Cancellation
    /// As for [`add_member`](Self::add_member).
    pub async fn remove_member(&self, scope: &TenantScope, principal: &Principal) -> Result<()> {
        let mut change = self.change(scope).await?;
        let leaves = scope.is_of_a_member() && scope.principal() == principal;
        if !leaves {
            change.require(Role::Admin)?;
        }
        let member = change.member(principal).await?;
        if !leaves {
            change.require(member.role)?;
        }
        change.keep_an_owner(&member).await?;
        MemberRow::delete(scope)
            .key((member.kind, member.principal))
            .execute(&mut change.tx)
            .await?;
        change.commit(format!("removed {principal}")).await
    }

    /// Begins a change of members.
    ///
    /// INVARIANT: the organization's row is locked first, so that what is read from here on is what
    /// the last change left: two owners who remove each other leave one.
    async fn change<'s>(&self, scope: &'s TenantScope) -> Result<Change<'s>> {
        let mut tx = self.db.begin(scope).await?;
        let organization =
            OrganizationRow::find(scope, SLOT).for_update().fetch_optional(&mut tx).await?;
        let mut change = Change { scope, tx, role: scope.role() };
        if scope.is_of_a_member() {
            let own = change.find(scope.principal()).await?;
            let own = own.filter(|_| organization.is_some_and(|organization| organization.active));
            change.role = own.ok_or_else(Error::denied)?.role.min(scope.role());
        }
        Ok(change)
    }
}

/// A change of one organization's members.
struct Change<'s> {
    scope: &'s TenantScope,
    tx: Transaction,
    /// What the principal of the scope may do now.
    role: Role,
}

impl Change<'_> {
    fn require(&self, role: Role) -> Result<()> {
        if self.role < role { Err(Error::denied()) } else { Ok(()) }
    }

    async fn find(&mut self, principal: &Principal) -> Result<Option<MemberRow>> {
        let key = (principal.kind(), principal.id().to_owned());
        MemberRow::find(self.scope, key).fetch_optional(&mut self.tx).await
    }

    async fn member(&mut self, principal: &Principal) -> Result<MemberRow> {
        principal.validate()?;
        self.find(principal).await?.ok_or_else(|| Error::not_found("no such member"))
    }

    /// Refuses to lose the last owner.
    async fn keep_an_owner(&mut self, member: &MemberRow) -> Result<()> {
        if member.role < Role::Owner {
            return Ok(());
        }
        let owners = MemberRow::select(self.scope).filter(members::role.eq(Role::Owner));
        if owners.count(&mut self.tx).await? > 1 {
            return Ok(());
        }
        Err(Error::conflict("the organization would be left without an owner"))
    }

    async fn commit(self, what: String) -> Result<()> {
        self.tx.commit().await?;
        let event = self.scope.event(AuditKind::MembershipChanged).because(what);
        self.scope.issuer().auditor().note(event);
        Ok(())
    }
}

impl MemberRow {
    pub(crate) fn new(principal: &Principal, role: Role) -> Self {
        Self {
            kind: principal.kind(),
            principal: principal.id().to_owned(),
            slot: SLOT,
            role,
            since: crate::clock::now(),
        }
    }
}
