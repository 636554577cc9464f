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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::crypto::LocalKeyring;
    use crate::error::ErrorKind;

    /// A keyring that answers a destruction as told, in this order, and counts how often it was asked.
    #[derive(Debug)]
    struct Told {
        keyring: LocalKeyring,
        answers: Mutex<Vec<Option<KeyDestruction>>>,
    }

    impl Told {
        fn new(id: &str, answers: &[Option<KeyDestruction>]) -> Result<Self> {
            let answers = Mutex::new(answers.iter().rev().copied().collect());
            Ok(Self { keyring: LocalKeyring::random()?.with_id(id)?, answers })
        }
    }

    #[async_trait]
    impl KeyProvider for Told {
        fn id(&self) -> &str {
            self.keyring.id()
        }

        fn serves(&self, provider: &str) -> bool {
            self.keyring.serves(provider)
        }

        async fn active(&self) -> Result<KekId> {
            self.keyring.active().await
        }

        async fn wrap(&self, context: &WrapContext, key: &DataKey) -> Result<WrappedKey> {
            self.keyring.wrap(context, key).await
        }

        async fn unwrap(&self, context: &WrapContext, wrapped: &WrappedKey) -> Result<DataKey> {
            self.keyring.unwrap(context, wrapped).await
        }

        async fn rewrap(
            &self,
            context: &WrapContext,
            wrapped: &WrappedKey,
        ) -> Result<Option<WrappedKey>> {
            self.keyring.rewrap(context, wrapped).await
        }

        async fn destroy(&self, _: &OrganizationId) -> Result<KeyDestruction> {
            let answer = self.answers.lock().unwrap().pop().expect("it was asked once too often");
            answer.ok_or_else(|| Error::outage("the key service is away", "planted"))
        }
    }

    const DESTROYED: Option<KeyDestruction> = Some(KeyDestruction::Destroyed);
    const SHARED: Option<KeyDestruction> = Some(KeyDestruction::Shared);

    #[tokio::test]
    async fn a_kek_is_destroyed_where_both_providers_have_destroyed_it() {
        for (new, old, both) in [
            (DESTROYED, DESTROYED, KeyDestruction::Destroyed),
            (DESTROYED, SHARED, KeyDestruction::Shared),
            (SHARED, DESTROYED, KeyDestruction::Shared),
            (SHARED, SHARED, KeyDestruction::Shared),
        ] {
            let (new, old) = (Told::new("new", &[new]).unwrap(), Told::new("old", &[old]).unwrap());
            let pair = FallbackUnwrap::new(new, old).unwrap();
            assert_eq!(pair.destroy(&OrganizationId::new()).await.unwrap(), both);
            assert!(pair.new.answers.lock().unwrap().is_empty());
            assert!(pair.old.answers.lock().unwrap().is_empty());
        }
    }

    #[tokio::test]
    async fn a_destruction_in_which_one_provider_fails_is_repeated_with_both() {
        for (new, old) in
            [(&[None, DESTROYED][..], &[DESTROYED][..]), (&[DESTROYED; 2], &[None, DESTROYED])]
        {
            let (new, old) = (Told::new("new", new).unwrap(), Told::new("old", old).unwrap());
            let pair = FallbackUnwrap::new(new, old).unwrap();
            let organization = OrganizationId::new();
            let failed = pair.destroy(&organization).await.unwrap_err();
            assert_eq!(failed.kind(), ErrorKind::Unavailable);
            let again = pair.destroy(&organization).await.unwrap();
            assert_eq!(again, KeyDestruction::Destroyed);
            assert!(pair.old.answers.lock().unwrap().is_empty());
        }
    }
}
