//! The tables of the SQL directory.

use time::OffsetDateTime;

use crate::scope::{PrincipalKind, Role};
use crate::table::TextEnum;

crate::tenant_table! {
    /// The one row of an organization. Its members refer to it, so that both are read in one
    /// statement, and whoever changes members locks it.
    #[derive(Debug, Clone)]
    pub(crate) struct OrganizationRow in organizations = "directory_organizations" {
        key slot: i16,
        active: bool,
        created_at: OffsetDateTime,
    }
}

crate::tenant_table! {
    /// A membership.
    #[derive(Debug, Clone)]
    pub(crate) struct MemberRow in members = "directory_members" {
        key kind: PrincipalKind = "principal_kind",
        key principal: String = "principal_id",
        slot: i16 => organizations,
        role: Role,
        since: OffsetDateTime,
    }
    lookup (kind, principal);
}

/// The key of tables that have one row for each organization.
pub(crate) const SLOT: i16 = 0;

impl TextEnum for PrincipalKind {
    const VARIANTS: &'static [&'static str] = &["job", "service", "user", "webhook"];
    const ALL: &'static [Self] = &[Self::Job, Self::Service, Self::User, Self::Webhook];

    fn text(&self) -> &'static str {
        self.as_str()
    }
}

impl TextEnum for Role {
    const VARIANTS: &'static [&'static str] = &["viewer", "member", "admin", "owner"];
    const ALL: &'static [Self] = &[Self::Viewer, Self::Member, Self::Admin, Self::Owner];

    fn text(&self) -> &'static str {
        self.as_str()
    }
}
