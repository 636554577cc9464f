//! Two providers, while one takes the place of the other.

use async_trait::async_trait;

use super::{KekId, KeyDestruction, KeyProvider, WrapContext, WrappedKey};
use crate::crypto::secret::DataKey;
use crate::error::{Error, Result};
use crate::id::OrganizationId;

/// Wraps with a new provider, and unwraps with the one that wrapped: for moving from an old
/// provider to a new one. Once everything is re-wrapped, the new one stands alone.
///
/// No key is tried: the [`KekId`] says whose it is.
///
/// # Examples
///
/// ```
/// use tenantry::crypto::{FallbackUnwrap, KeyProvider, LocalKeyring};
///
/// let old = LocalKeyring::random()?;
/// let new = LocalKeyring::random()?.with_id("vault-1")?;
/// let both = FallbackUnwrap::new(new, old)?;
/// assert!(both.serves("vault-1") && both.serves("local"));
/// # Ok::<(), tenantry::Error>(())
/// ```
#[derive(Debug)]
pub struct FallbackUnwrap<N, O> {
    new: N,
    old: O,
}

impl<N: KeyProvider, O: KeyProvider> FallbackUnwrap<N, O> {
    /// Puts a new provider before an old one.
    ///
    /// # Errors
    ///
    /// `Invalid` for two providers of one id: nobody could say whose a wrapped key is.
    pub fn new(new: N, old: O) -> Result<Self> {
        if new.serves(old.id()) || old.serves(new.id()) {
            return Err(Error::invalid("two key providers have the same id"));
        }
        Ok(Self { new, old })
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<N: KeyProvider, O: KeyProvider> KeyProvider for FallbackUnwrap<N, O> {
    fn id(&self) -> &str {
        self.new.id()
    }

    fn serves(&self, provider: &str) -> bool {
        self.new.serves(provider) || self.old.serves(provider)
    }

    async fn active(&self) -> Result<KekId> {
        self.new.active().await
    }

    async fn wrap(&self, context: &WrapContext, key: &DataKey) -> Result<WrappedKey> {
        self.new.wrap(context, key).await
    }

    async fn unwrap(&self, context: &WrapContext, wrapped: &WrappedKey) -> Result<DataKey> {
        let provider = wrapped.kek().provider();
        if self.new.serves(provider) {
            self.new.unwrap(context, wrapped).await
        } else if self.old.serves(provider) {
            self.old.unwrap(context, wrapped).await
        } else {
            Err(wrapped.kek().unknown())
        }
    }

    async fn rewrap(
        &self,
        context: &WrapContext,
        wrapped: &WrappedKey,
    ) -> Result<Option<WrappedKey>> {
        if self.new.serves(wrapped.kek().provider()) {
            return self.new.rewrap(context, wrapped).await;
        }
        let key = self.unwrap(context, wrapped).await?;
        self.new.wrap(context, &key).await.map(Some)
    }

    /// Both forget the organization, for either may have wrapped a key that a backup holds.
    async fn destroy(&self, organization: &OrganizationId) -> Result<KeyDestruction> {
        let outcomes =
            (self.new.destroy(organization).await?, self.old.destroy(organization).await?);
        Ok(match outcomes {
            (KeyDestruction::Destroyed, KeyDestruction::Destroyed) => KeyDestruction::Destroyed,
            _ => KeyDestruction::Shared,
        })
    }
}
