//! Organizations and their members, in tables of the crate's own making.

mod membership;
pub(crate) mod tables;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

pub use membership::Member;

use self::tables::{MemberRow, OrganizationRow, SLOT, members, organizations};
use crate::ambient::{CrossTenantAuthority, read_across, read_in};
use crate::database::Database;
use crate::error::Result;
use crate::id::OrganizationId;
use crate::query::{Draft, SelectAst};
use crate::scope::{Directory, Membership, Principal};
use crate::table::Schema;

/// A [`Directory`] in a [`Database`]: organizations, members and roles. Clones share it.
///
/// Its tables are `directory_organizations` and `directory_members`; [`tables`](Self::tables)
/// registers them. Both belong to organizations: a scope reaches the members of its own alone.
///
/// Organizations are created, suspended and activated with a [`CrossTenantAuthority`], members are
/// added, changed and removed with a scope of the organization.
///
/// # Who may change members
///
/// An admin or owner, and nobody beyond the own role: an admin makes nobody an owner, and neither
/// changes nor removes one. Everybody may leave. An organization keeps an owner: the last one can
/// neither leave, nor be removed, nor become less, also where two try at once. The role that counts
/// is the lesser of the scope's and the one in the table, so that who was removed or demoted cannot
/// use an old scope to undo it.
///
/// A scope that was issued lives on for its maximum age after its member was removed.
///
/// # Security
///
/// The Directory answers before there is a scope. On PostgreSQL it asks as the cross-tenant role,
/// and without `cross_tenant_url` every answer is `Unconfigured`; changes run as the application
/// role, behind the wall. Each question is recorded like any use of cross-tenant authority, and is
/// not answered when it cannot be recorded. What one organization's members are is asked with the
/// organization predicate and its witness, as under a scope. See [the chapter on
/// organizations](crate::manual::organizations).
///
/// # Examples
///
/// ```
/// use tenantry::ambient::cross_tenant_authority;
/// use tenantry::scope::{Principal, Role, ScopeIssuer};
/// use tenantry::table::Schema;
/// use tenantry::tenancy::SqlDirectory;
/// use tenantry::{Database, OrganizationId};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tenantry::Result<()> {
/// let db = Database::builder()
///     .allow_cross_tenant()
///     .connect("sqlite::memory:", SqlDirectory::tables(Schema::new())) // beside your own tables
///     .await?;
/// db.create_tables().await?;
/// let authority = cross_tenant_authority("who belongs where", Principal::service("directory"));
/// let directory = SqlDirectory::new(&db, authority);
/// let issuer = ScopeIssuer::new(directory.clone());
///
/// let (shop, ann, bob) = (OrganizationId::new(), Principal::user("ann"), Principal::user("bob"));
/// let sign_up = cross_tenant_authority("sign-up", Principal::service("registration"));
/// directory.create_organization(&issuer, &shop, &ann, &sign_up).await?;
///
/// let scope = issuer.enter(&ann, &shop).await?;
/// directory.add_member(&scope, &bob, Role::Member).await?;
/// assert_eq!(issuer.enter(&bob, &shop).await?.role(), Role::Member);
/// assert!(directory.remove_member(&scope, &ann).await.is_err()); // the last owner
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SqlDirectory {
    pub(crate) db: Database,
    /// For what is asked before there is a scope.
    authority: Arc<CrossTenantAuthority>,
}

impl SqlDirectory {
    /// The schema with the tables of the directory.
    pub fn tables(schema: Schema) -> Schema {
        schema.tenant::<OrganizationRow>().tenant::<MemberRow>()
    }

    pub(crate) fn over(db: &Database, authority: CrossTenantAuthority) -> Self {
        Self { db: db.clone(), authority: Arc::new(authority) }
    }

    /// Whether an organization of this kind can be in the table at all.
    fn holds(&self, organization: &OrganizationId) -> bool {
        organization.kind() == self.db.schema().organization_kind()
    }
}

/// The rows of a principal, with what is said of the organization.
fn of_principal(principal: &Principal) -> Draft<'static, (MemberRow, OrganizationRow)> {
    let is_principal =
        members::kind.eq(principal.kind()).and(members::principal.eq(principal.id()));
    Draft::<MemberRow>::new().join(members::slot).filter(is_principal)
}

#[async_trait]
impl Directory for SqlDirectory {
    async fn membership(
        &self,
        principal: &Principal,
        organization: &OrganizationId,
    ) -> Result<Option<Membership>> {
        if !self.holds(organization) {
            return Ok(None);
        }
        let mut ast: SelectAst = of_principal(principal).ast;
        ast.limit = Some(1);
        let found: Option<(MemberRow, OrganizationRow)> =
            read_in(&self.db, &self.authority, organization, ast).await?;
        Ok(found.map(|(member, organization)| Membership::new(member.role, organization.active)))
    }

    /// By their ids, suspended organizations left out.
    async fn organizations(&self, principal: &Principal) -> Result<Vec<OrganizationId>> {
        let active = of_principal(principal).filter(organizations::active.eq(true));
        let found: Vec<(OrganizationId, (MemberRow, OrganizationRow))> =
            read_across(&self.db, &self.authority, active.ast).await?;
        let mut organizations: Vec<_> = found.into_iter().map(|(id, _)| id).collect();
        organizations.sort_unstable();
        Ok(organizations)
    }

    async fn is_active(&self, organization: &OrganizationId) -> Result<bool> {
        if !self.holds(organization) {
            return Ok(false);
        }
        let ast = Draft::<OrganizationRow>::new().filter(organizations::slot.eq(SLOT)).ast;
        let found: Option<OrganizationRow> =
            read_in(&self.db, &self.authority, organization, ast).await?;
        Ok(found.is_some_and(|organization| organization.active))
    }
}

impl fmt::Debug for SqlDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlDirectory").field("db", &self.db).finish_non_exhaustive()
    }
}
