//! The secrets of the platform itself, which belong to no organization.

use super::CrossTenantAuthority;
use crate::credential::{BlindIndexes, KeyAccess, KeyEpoch, Keys, Sealed};
use crate::crypto::{KekId, KeyDestruction, KeyId, KeyOwner, SealContext, SecretBytes};
use crate::error::{Error, ErrorKind, Result};
use crate::id::OrganizationId;
use crate::scope::TenantScope;

/// What a re-wrapping of all keys has done.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct RewrapReport {
    /// How many data keys were wrapped under the active KEK that were not before.
    pub rewrapped: u64,
    /// Whose keys do not all unwrap, and the first reason: they stay as they are.
    pub failed: Vec<(KeyOwner, Error)>,
}

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
        epoch: KeyEpoch,
        authority: &CrossTenantAuthority,
    ) -> Result<BlindIndexes> {
        self.record(authority, "index platform value").await?;
        self.blind_indexes_as(KeyAccess::Platform(authority), column, value, epoch).await
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

    /// Wraps the data keys of an organization under the active KEK, also of one that is suspended or
    /// inactive, after the use is written down. See [`Keys::rewrap`].
    ///
    /// # Cross-tenant authority
    ///
    /// Touches the wrapped keys of any organization, whatever its state.
    ///
    /// # Errors
    ///
    /// `Denied` while everything is halted; else as for [`Keys::seal_platform`] and
    /// [`Keys::rewrap`].
    pub async fn rewrap_across(
        &self,
        organization: impl Into<OrganizationId> + Send,
        authority: &CrossTenantAuthority,
    ) -> Result<u64> {
        let scope = self.caretaker(organization, authority, "re-wrap data keys").await?;
        self.rewrap_as(KeyAccess::Organization(&scope)).await
    }

    /// Wraps all data keys under the active KEK: those of every organization, suspended and inactive
    /// ones too, and those of the platform. What is wrapped so already is left alone, so that the
    /// call can be repeated.
    ///
    /// # Cross-tenant authority
    ///
    /// Touches the wrapped keys of every organization and of the platform. Each use is written down.
    ///
    /// # Errors
    ///
    /// `Unavailable` where a use cannot be recorded, or store or provider do not answer: repeat the
    /// call. `Denied` while everything is halted, `Misuse` for an authority without a reason. Keys
    /// that do not unwrap are in the report, and keep no other from being re-wrapped.
    ///
    /// # Cancellation
    ///
    /// Each key is wrapped under the old KEK or the new one.
    ///
    /// # Examples
    ///
    /// ```
    /// # use tenantry::ambient::CrossTenantAuthority;
    /// # use tenantry::credential::Keys;
    /// # use tenantry::crypto::KekId;
    /// # async fn run(keys: Keys, old: KekId, authority: CrossTenantAuthority) -> tenantry::Result<()> {
    /// let report = keys.rewrap_all(&authority).await?;
    /// assert!(report.failed.is_empty());
    /// keys.retire_kek(&old, &authority).await?; // `Conflict` while a key is wrapped under it
    /// # Ok(())
    /// # }
    /// ```
    pub async fn rewrap_all(&self, authority: &CrossTenantAuthority) -> Result<RewrapReport> {
        self.record(authority, "list organizations with keys").await?;
        let mut report = RewrapReport::default();
        for organization in self.organizations(authority).await? {
            let outcome = self.rewrap_across(organization.clone(), authority).await;
            report.add(KeyOwner::Organization(organization), outcome)?;
        }
        report.add(KeyOwner::Platform, self.rewrap_platform(authority).await)?;
        Ok(report)
    }

    /// Destroys every data key of an organization, also of one that is suspended or inactive, after
    /// the use is written down. See [`Keys::shred`].
    ///
    /// # Cross-tenant authority
    ///
    /// Makes everything unreadable that was sealed for any organization.
    ///
    /// # Errors
    ///
    /// `Denied` while everything is halted; else as for [`Keys::seal_platform`] and
    /// [`Keys::shred`].
    pub async fn shred_across(
        &self,
        organization: impl Into<OrganizationId> + Send,
        authority: &CrossTenantAuthority,
    ) -> Result<KeyDestruction> {
        let scope = self.caretaker(organization, authority, "shred data keys").await?;
        self.shred_as(&scope).await
    }

    /// How many data keys are wrapped under a KEK, of all organizations and of the platform, after
    /// the use is written down.
    ///
    /// # Cross-tenant authority
    ///
    /// Counts the wrapped keys of every organization.
    ///
    /// # Errors
    ///
    /// As for [`Keys::seal_platform`].
    pub async fn kek_in_use(&self, kek: &KekId, authority: &CrossTenantAuthority) -> Result<u64> {
        self.record(authority, "count wrapped keys").await?;
        self.kek_in_use_as(kek, authority).await
    }

    /// Takes a KEK out of use, after the use is written down: from then on a process starts without
    /// it, and no key is wrapped under it unless it becomes active again.
    ///
    /// # Cross-tenant authority
    ///
    /// Looks at the wrapped keys of every organization, and changes what every process needs at its
    /// start.
    ///
    /// # Errors
    ///
    /// `Conflict` for the active KEK, and while any key of anybody is wrapped under it; else as for
    /// [`Keys::seal_platform`].
    ///
    /// # Security
    ///
    /// A backup that is older needs the KEK. Keep it as long as such a backup.
    ///
    /// # Cancellation
    ///
    /// The KEK is retired or not. Repeat a call that did not come to its end: until then a store may
    /// refuse to wrap keys of the platform under the KEK.
    pub async fn retire_kek(&self, kek: &KekId, authority: &CrossTenantAuthority) -> Result<()> {
        self.record(authority, "retire key-encryption key").await?;
        self.retire_kek_as(kek, authority).await
    }

    /// A scope for the care of an organization's keys, whatever state it is in.
    async fn caretaker(
        &self,
        organization: impl Into<OrganizationId> + Send,
        authority: &CrossTenantAuthority,
        act: &'static str,
    ) -> Result<TenantScope> {
        let (organization, issuer) = (organization.into(), self.issuer());
        authority.validate()?;
        let event = authority.event(issuer.auditor(), act).about(&organization);
        issuer.auditor().require(event).await?;
        issuer.admit_caretaker(authority.principal(), &organization)
    }

    async fn record(&self, authority: &CrossTenantAuthority, act: &'static str) -> Result<()> {
        authority.record(self.issuer().auditor(), act).await
    }
}

impl RewrapReport {
    /// Adds what became of an owner's keys; gives an error back that concerns all of them.
    fn add(&mut self, owner: KeyOwner, outcome: Result<u64>) -> Result<()> {
        match outcome {
            Ok(keys) => self.rewrapped += keys,
            Err(error) if error.is_retryable() || error.kind() == ErrorKind::Denied => {
                return Err(error);
            }
            Err(error) => self.failed.push((owner, error)),
        }
        Ok(())
    }
}
