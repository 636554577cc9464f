//! The store that keeps an authority for what belongs to no organization.

use super::CrossTenantAuthority;
use crate::Database;
use crate::credential::SqlCredentialStore;

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
