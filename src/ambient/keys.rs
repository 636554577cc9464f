//! The secrets of the platform itself, which belong to no organization.

use super::CrossTenantAuthority;
use crate::credential::{KeyAccess, KeyEpoch, Keys, Sealed};
use crate::crypto::{BlindIndex, KeyId, SealContext, SecretBytes};
use crate::error::Result;

impl Keys {
    /// Seals a secret of the platform, with keys no older than the epoch, after the use is written
    /// down. See [`Keys::seal_since`].
    ///
    /// # Cross-tenant authority
    ///
    /// Makes what opens for the platform and for no organization.
    ///
    /// # Errors
    ///
    /// `Unavailable` where the use cannot be recorded, `Misuse` for an authority without a reason;
    /// else as for [`Keys::seal`].
    pub async fn seal_platform(
        &self,
        context: &SealContext<'_>,
        text: &[u8],
        epoch: KeyEpoch,
        authority: &CrossTenantAuthority,
    ) -> Result<Sealed> {
        self.record(authority, "seal platform secret").await?;
        self.seal_as(KeyAccess::Platform(authority), context, text, epoch).await
    }

    /// Opens a secret of the platform, after the use is written down.
    ///
    /// # Cross-tenant authority
    ///
    /// Reads a secret on which every organization may rely.
    ///
    /// # Errors
    ///
    /// As for [`Keys::seal_platform`] and [`Keys::open`].
    pub async fn open_platform(
        &self,
        context: &SealContext<'_>,
        sealed: &[u8],
        epoch: KeyEpoch,
        authority: &CrossTenantAuthority,
    ) -> Result<SecretBytes> {
        self.record(authority, "open platform secret").await?;
        self.open_as(KeyAccess::Platform(authority), context, sealed, epoch).await
    }

    /// The blind indexes of a value that is looked up before an organization is known, after the
    /// use is written down. See [`Keys::blind_indexes`].
    ///
    /// # Cross-tenant authority
    ///
    /// The indexes of every organization's values compare with each other.
    ///
    /// # Errors
    ///
    /// As for [`Keys::seal_platform`] and [`Keys::blind_indexes`].
    pub async fn blind_indexes_platform(
        &self,
        column: &str,
        value: &[u8],
        authority: &CrossTenantAuthority,
    ) -> Result<Vec<BlindIndex>> {
        self.record(authority, "index platform value").await?;
        self.blind_indexes_as(KeyAccess::Platform(authority), column, value).await
    }

    /// Gives the platform a new data key, after the use is written down. See [`Keys::rotate`].
    ///
    /// # Cross-tenant authority
    ///
    /// Changes the key of the secrets on which every organization may rely.
    ///
    /// # Errors
    ///
    /// As for [`Keys::seal_platform`].
    pub async fn rotate_platform(&self, authority: &CrossTenantAuthority) -> Result<KeyId> {
        self.record(authority, "rotate platform key").await?;
        self.rotate_as(KeyAccess::Platform(authority)).await
    }

    /// Wraps the platform's data keys under the active KEK, after the use is written down. See
    /// [`Keys::rewrap`].
    ///
    /// # Cross-tenant authority
    ///
    /// Touches the keys of the secrets on which every organization may rely.
    ///
    /// # Errors
    ///
    /// As for [`Keys::seal_platform`].
    pub async fn rewrap_platform(&self, authority: &CrossTenantAuthority) -> Result<u64> {
        self.record(authority, "re-wrap platform keys").await?;
        self.rewrap_as(KeyAccess::Platform(authority)).await
    }

    async fn record(&self, authority: &CrossTenantAuthority, act: &'static str) -> Result<()> {
        authority.record(self.issuer().auditor(), act).await
    }
}
