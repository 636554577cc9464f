//! What every [`KeyProvider`] must do, as functions that try it: for those who write one.
//!
//! These functions are not part of what semantic versioning promises: they become stricter.

use super::{DataKey, KekId, KeyId, KeyOwner, KeyProvider, WrapContext, WrappedKey};
use crate::error::{Error, ErrorKind, Result};
use crate::id::OrganizationId;

/// Tries a provider against the contract of [`KeyProvider`], with organizations of its own making.
///
/// # Errors
///
/// `Misuse` with the sentence of the contract that is broken; what the provider itself returns
/// where it ought to have done its work.
///
/// # Examples
///
/// ```
/// use tenantry::crypto::{LocalKeyring, conformance};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tenantry::Result<()> {
/// conformance::key_provider(&LocalKeyring::random()?).await
/// # }
/// ```
pub async fn key_provider(provider: &dyn KeyProvider) -> Result<()> {
    let active = provider.active().await?;
    require(active.provider() == provider.id(), "the active KEK begins with the provider's id")?;
    require(provider.serves(provider.id()), "a provider serves its own id")?;
    require(!provider.serves("another-provider"), "a provider serves no other id")?;

    let owner = || KeyOwner::Organization(OrganizationId::new());
    let (home, name) = (owner(), KeyId::random()?);
    let context = WrapContext::data_key(home.clone(), name);
    let key = DataKey::random()?;
    let wrapped = provider.wrap(&context, &key).await?;
    require(*wrapped.kek() == active, "a key is wrapped under the active KEK")?;
    let shown = wrapped
        .as_bytes()
        .windows(8)
        .any(|part| key.expose_secret().windows(8).any(|secret| secret == part));
    require(!shown, "a wrapped key shows nothing of the key")?;
    let unwrapped = provider.unwrap(&context, &wrapped).await?;
    require(unwrapped.ct_eq(&key), "what was wrapped unwraps to the same key")?;

    for (other, what) in [
        (WrapContext::data_key(owner(), name), "a wrapped key is bound to its owner"),
        (WrapContext::data_key(home, KeyId::random()?), "a wrapped key is bound to its name"),
        (WrapContext::data_key(KeyOwner::Platform, name), "the platform is no organization"),
        (WrapContext::canary(name), "a wrapped key is bound to its purpose"),
    ] {
        refused(provider.unwrap(&other, &wrapped).await, ErrorKind::Corrupt, what)?;
    }
    let edits: [fn(&mut Vec<u8>); 4] = [
        |bytes| bytes.iter_mut().take(1).for_each(|byte| *byte ^= 1),
        |bytes| bytes.iter_mut().rev().take(1).for_each(|byte| *byte ^= 1),
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| bytes.push(0),
    ];
    for edit in edits {
        let mut bytes = wrapped.as_bytes().to_vec();
        edit(&mut bytes);
        let edited = WrappedKey::new(active.clone(), bytes)?;
        let outcome = provider.unwrap(&context, &edited).await;
        refused(outcome, ErrorKind::Corrupt, "an edited wrapped key is refused")?;
    }
    for kek in
        [KekId::new(provider.id(), "no-such-key")?, KekId::new("another-provider", active.key())?]
    {
        let moved = WrappedKey::new(kek, wrapped.as_bytes().to_vec())?;
        let outcome = provider.unwrap(&context, &moved).await;
        refused(outcome, ErrorKind::Unconfigured, "a KEK that is not at hand is unconfigured")?;
    }

    let again = provider.rewrap(&context, &wrapped).await?;
    require(again.is_none(), "what is wrapped under the active KEK is not wrapped anew")?;
    let canary = WrapContext::canary(KeyId::random()?);
    let wrapped = provider.wrap(&canary, &key).await?;
    require(provider.unwrap(&canary, &wrapped).await?.ct_eq(&key), "a canary unwraps")
}

fn refused<T>(outcome: Result<T>, kind: ErrorKind, what: &'static str) -> Result<()> {
    match outcome {
        Err(error) if error.kind() == kind => Ok(()),
        Err(error) => Err(Error::misuse(what).with_source(error)),
        Ok(_) => Err(Error::misuse(what)),
    }
}

fn require(holds: bool, what: &'static str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::misuse(what)) }
}
