//! Tickets: how the permission to act passes through a job queue.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use time::OffsetDateTime;

use super::TenantScope;
use super::principal::{Principal, PrincipalKind, Role};
use crate::crypto::{KeyRing, Unopened};
use crate::error::{Error, Result};
use crate::id::OrganizationId;

/// A sealed, expiring permission to enter one organization for one job.
///
/// A ticket is made by [`TenantScope::ticket`](super::TenantScope::ticket), travels with the job
/// as a string, and is exchanged by [`ScopeIssuer::redeem`](super::ScopeIssuer::redeem), which
/// asks the Directory again. It is bound to the purpose of its key, to the payload of the job, to
/// organization, principal and role, and to its time.
///
/// # Security
///
/// Whoever has a ticket, its payload and the key can redeem it, as often as they like until it
/// expires: a job that must not run twice needs a mark of its own. Keep tickets out of logs;
/// `Debug` shows nothing.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tenantry::OrganizationId;
/// use tenantry::crypto::KeyRing;
/// use tenantry::scope::{MemoryDirectory, Principal, Role, ScopeIssuer, ScopeTicket, TicketKey};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tenantry::Result<()> {
/// # let (organization, ann) = (OrganizationId::new(), Principal::user("ann"));
/// # let directory = MemoryDirectory::new();
/// # directory.add_member(&organization, &ann, Role::Member);
/// # let issuer = ScopeIssuer::new(directory);
/// # let scope = issuer.enter(&ann, organization).await?;
/// let key = TicketKey::new("nightly-export", KeyRing::random()?)?;
/// let payload = br#"{"format":"csv"}"#;
///
/// let ticket = scope.ticket(&key, Duration::from_secs(600), payload)?;
/// let queued = ticket.as_str().to_owned();
///
/// let ticket = ScopeTicket::from(queued);
/// let scope = issuer.redeem(&ticket, &key, payload).await?;
/// assert_eq!(scope.principal(), &ann);
/// assert!(issuer.redeem(&ticket, &key, b"another payload").await.is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ScopeTicket(String);

/// The key that makes and opens tickets of one purpose.
///
/// # Security
///
/// Whoever has the key can make tickets: share it between the processes that queue and run these
/// jobs, and with no other.
#[derive(Debug, Clone)]
pub struct TicketKey {
    purpose: Box<str>,
    keys: KeyRing,
}

/// What a ticket says, once it has proved authentic, timely and bound to its payload.
pub(super) struct Claim {
    pub(super) organization: OrganizationId,
    pub(super) principal: Principal,
    pub(super) role: Role,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    organization: OrganizationId,
    principal_kind: PrincipalKind,
    principal_id: String,
    role: Role,
    /// Both in microseconds since 1970, which is as fine as the clocks are.
    issued_at: i64,
    expires_at: i64,
    /// SHA-256.
    payload: [u8; 32],
}

impl ScopeTicket {
    /// The longest time for which a ticket can be made: seven days.
    pub const MAX_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);

    /// The ticket as it travels: letters, digits, `-` and `_`.
    ///
    /// # Security
    ///
    /// The text is the ticket; what logs it gives it away.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Takes a ticket from where it was kept. Any text will do: it is judged when it is redeemed.
impl From<String> for ScopeTicket {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for ScopeTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScopeTicket([redacted])")
    }
}

impl TicketKey {
    /// A key for tickets of one purpose, as the name of the job.
    ///
    /// # Errors
    ///
    /// `Invalid` for a purpose that has not 1 to 128 bytes.
    pub fn new(purpose: impl Into<String>, key_versions: KeyRing) -> Result<Self> {
        let purpose = purpose.into().into_boxed_str();
        if purpose.is_empty() || purpose.len() > MAX_PURPOSE {
            return Err(Error::invalid("the purpose of a ticket key has 1 to 128 bytes"));
        }
        Ok(Self { purpose, keys: key_versions })
    }

    /// The purpose of the tickets.
    #[must_use]
    pub fn purpose(&self) -> &str {
        &self.purpose
    }

    pub(super) fn issue(
        &self,
        scope: &TenantScope,
        now: OffsetDateTime,
        ttl: Duration,
        payload: &[u8],
    ) -> Result<ScopeTicket> {
        let micros = i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX);
        if micros == 0 || ttl > ScopeTicket::MAX_TTL {
            return Err(Error::invalid("a ticket lives for more than nothing and at most 7 days"));
        }
        let issued_at = micros_since_epoch(now);
        let body = Body {
            organization: scope.organization().clone(),
            principal_kind: scope.principal().kind(),
            principal_id: scope.principal().id().to_owned(),
            role: scope.role(),
            issued_at,
            expires_at: issued_at.saturating_add(micros),
            payload: Sha256::digest(payload).into(),
        };
        let body = serde_json::to_vec(&body)
            .map_err(|error| Error::internal("a ticket could not be written").with_source(error))?;
        let sealed = self.keys.seal(SEAL_PURPOSE, self.purpose.as_bytes(), &body)?;
        Ok(ScopeTicket(BASE64.encode(sealed)))
    }

    /// What the ticket says, or why it is refused: for the audit alone.
    pub(super) fn open(
        &self,
        ticket: &ScopeTicket,
        now: OffsetDateTime,
        payload: &[u8],
    ) -> Result<Claim, &'static str> {
        if ticket.0.len() > MAX_TICKET {
            return Err("the ticket is too long");
        }
        let sealed = BASE64.decode(&ticket.0).map_err(|_| "the ticket is not base64url")?;
        let body = self
            .keys
            .open(SEAL_PURPOSE, self.purpose.as_bytes(), &sealed)
            .map_err(Unopened::reason)?;
        let body: Body = serde_json::from_slice(&body).map_err(|_| "the ticket is misshapen")?;
        let now = micros_since_epoch(now);
        if now >= body.expires_at {
            return Err("the ticket has expired");
        }
        // A clock that was set back would else revive what has expired long ago.
        if now.saturating_add(SKEW) < body.issued_at {
            return Err("the ticket is from the future");
        }
        if !bool::from(Sha256::digest(payload).as_slice().ct_eq(&body.payload)) {
            return Err("the ticket was made for another payload");
        }
        Ok(Claim {
            organization: body.organization,
            principal: Principal::of(body.principal_kind, body.principal_id),
            role: body.role,
        })
    }
}

fn micros_since_epoch(at: OffsetDateTime) -> i64 {
    // Years beyond what `time` can hold would be needed to leave the range.
    i64::try_from(at.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX)
}

const SEAL_PURPOSE: &str = "scope-ticket";
const MAX_PURPOSE: usize = 128;
const MAX_TICKET: usize = 4_096;
/// By how much the clocks of two hosts may differ, in microseconds: five minutes.
const SKEW: i64 = 5 * 60 * 1_000_000;
