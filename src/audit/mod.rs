//! The audit trail: [`AuditEvent`]s, and the [`AuditSink`]s that keep them.
//!
//! Ordinary events never block nor fail the work they report: they wait in a bounded queue, and
//! what cannot be kept is counted. Incidents and every use of cross-tenant authority are written
//! before the act, which does not take place when they cannot be written.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use serde::Serialize;
use time::OffsetDateTime;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::id::OrganizationId;

/// Something that happened and that somebody may ask about later.
///
/// It names who, where and why, and holds no row value and no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AuditEvent {
    /// When it happened.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// What happened.
    #[serde(flatten)]
    pub kind: AuditKind,
    /// The organization it is about; none where it concerns all of them.
    pub organization: Option<OrganizationId>,
    /// Who acted, as `user:u_1`.
    pub principal: Option<String>,
    /// The shape of the statement, as `select orders`, or the name of another act.
    pub statement: Option<Cow<'static, str>>,
    /// The precise reason, which the caller may not have been told.
    pub detail: Option<Cow<'static, str>>,
}

/// What an [`AuditEvent`] reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum AuditKind {
    /// A credential was deleted.
    CredentialDeleted,
    /// The secret of a credential was handed out, for the purpose in the detail. An ordinary event:
    /// where the sink fails or does not keep up, it is dropped and counted, and the secret was handed
    /// out all the same.
    CredentialOpened,
    /// The secret of a credential was stored, for the first time or in the place of another.
    CredentialStored,
    /// Cross-tenant authority is about to be used.
    CrossTenant {
        /// The reason that was given for it.
        reason: &'static str,
    },
    /// An organization, or the platform, seals under a new data key.
    DataKeyActivated,
    /// A data key is about to be destroyed, with whatever is still sealed under it.
    DataKeyRetired,
    /// A data key was wrapped under another key-encryption key.
    DataKeyRewrapped,
    /// Everything was halted: no scope of the issuer works any more.
    HaltedAll,
    /// A wall of isolation was found breached, and what crossed it was withheld.
    Incident,
    /// The data keys of an organization are about to be destroyed for good.
    KeysShredded,
    /// Somebody became a member, got another role, or is no member any more.
    MembershipChanged,
    /// An organization can be entered again.
    OrganizationResumed,
    /// An organization was suspended in this process.
    OrganizationSuspended,
    /// Organizations can be entered again after a halt.
    ResumedAll,
    /// Somebody was not let in, or used a scope that no longer works.
    ScopeDenied,
    /// Somebody entered an organization.
    ScopeEntered,
    /// A sealed value did not open: the statement names it, and the detail has the reason.
    SecretRefused,
    /// A ticket was exchanged for a scope.
    TicketRedeemed,
    /// A ticket was refused.
    TicketRefused,
}

impl AuditEvent {
    pub(crate) fn new(kind: AuditKind, at: OffsetDateTime) -> Self {
        Self { at, kind, organization: None, principal: None, statement: None, detail: None }
    }

    #[must_use]
    pub(crate) fn about(mut self, organization: &OrganizationId) -> Self {
        self.organization = Some(organization.clone());
        self
    }

    #[must_use]
    pub(crate) fn by(mut self, principal: &impl fmt::Display) -> Self {
        self.principal = Some(principal.to_string());
        self
    }

    #[must_use]
    pub(crate) fn on(mut self, statement: impl Into<Cow<'static, str>>) -> Self {
        self.statement = Some(statement.into());
        self
    }

    #[must_use]
    pub(crate) fn because(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

/// Where audit events are kept. Open: implement it for your own store.
///
/// # Contract
///
/// - `Ok` MUST mean that the event is kept: incidents and cross-tenant acts rely on it.
/// - `record` MUST NOT block its thread; it may wait. It is given five seconds.
/// - It MUST NOT use what it audits: recording with a handle that records does not end.
/// - A reader of the stored events MUST give an organization no event but its own.
///
/// # Clone
///
/// A sink is shared as it stands; it need not be `Clone`.
///
/// # Cancellation
///
/// `record` is dropped after its time. An event may then be kept although its act was refused.
///
/// # Wrappers
///
/// A wrapper returns the errors of what it wraps: a swallowed error lets an unrecorded act pass.
#[async_trait]
pub trait AuditSink: fmt::Debug + Send + Sync + 'static {
    /// Keeps one event.
    async fn record(&self, event: &AuditEvent) -> Result<()>;
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: AuditSink + ?Sized> AuditSink for Arc<S> {
    async fn record(&self, event: &AuditEvent) -> Result<()> {
        (**self).record(event).await
    }
}

/// Writes each event as one `tracing` event with target `tenantry::audit`: the default sink.
///
/// Incidents are errors, refusals and cross-tenant acts are warnings, and the rest informs.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct TracingSink;

#[async_trait]
impl AuditSink for TracingSink {
    async fn record(&self, event: &AuditEvent) -> Result<()> {
        macro_rules! emit {
            ($level:ident) => {
                tracing::$level!(
                    target: "tenantry::audit",
                    kind = ?event.kind,
                    organization = event.organization.as_ref().map(tracing::field::display),
                    principal = event.principal.as_deref(),
                    statement = event.statement.as_deref(),
                    detail = event.detail.as_deref(),
                )
            };
        }
        match event.kind {
            AuditKind::Incident => emit!(error),
            AuditKind::CrossTenant { .. }
            | AuditKind::DataKeyRetired
            | AuditKind::HaltedAll
            | AuditKind::KeysShredded
            | AuditKind::OrganizationSuspended
            | AuditKind::ScopeDenied
            | AuditKind::SecretRefused
            | AuditKind::TicketRefused => emit!(warn),
            _ => emit!(info),
        }
        Ok(())
    }
}

/// Keeps the latest events in memory: for tests and small deployments. Clones share the events.
///
/// An organization reads its own events with `events_for` and a scope; `events_across` reads all
/// of them with cross-tenant authority.
///
/// # Security
///
/// Each organization has room of its own, so that a busy one does not push out another's events.
/// Refusals can be caused by strangers at will, and share one room for all organizations.
///
/// # Examples
///
/// ```
/// use tenantry::OrganizationId;
/// use tenantry::audit::MemorySink;
/// use tenantry::scope::{MemoryDirectory, Principal, Role, ScopeIssuer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tenantry::Result<()> {
/// let (organization, ann) = (OrganizationId::new(), Principal::user("ann"));
/// let directory = MemoryDirectory::new();
/// directory.add_member(&organization, &ann, Role::Member);
///
/// let sink = MemorySink::new();
/// let issuer = ScopeIssuer::builder(directory).audit(sink.clone()).build();
/// let scope = issuer.enter(&ann, &organization).await?;
///
/// issuer.flush_audit().await?;
/// assert_eq!(sink.events_for(&scope)?.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct MemorySink(Arc<Mutex<Rooms>>);

#[derive(Debug)]
struct Rooms {
    capacity: usize,
    next: u64,
    /// By organization; `None` has what concerns all of them, and the refusals.
    rooms: HashMap<Option<OrganizationId>, VecDeque<(u64, AuditEvent)>>,
}

impl MemorySink {
    /// A sink that keeps the latest 1,024 events of each organization.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(1_024)
    }

    /// A sink that keeps the latest `capacity` events of each organization.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Arc::new(Mutex::new(Rooms { capacity, next: 0, rooms: HashMap::new() })))
    }

    /// How many events are kept, of all organizations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.with(|rooms| rooms.rooms.values().map(VecDeque::len).sum())
    }

    /// Whether no event is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The events of one organization, oldest first.
    pub(crate) fn of(&self, organization: &OrganizationId) -> Vec<AuditEvent> {
        let own = Some(organization.clone());
        let mut kept = self.with(|rooms| {
            let rooms = [rooms.rooms.get(&own), rooms.rooms.get(&None)];
            let mine = |(_, event): &&(u64, AuditEvent)| event.organization == own;
            rooms.into_iter().flatten().flatten().filter(mine).cloned().collect::<Vec<_>>()
        });
        kept.sort_by_key(|(number, _)| *number);
        kept.into_iter().map(|(_, event)| event).collect()
    }

    /// The events of all organizations, oldest first.
    pub(crate) fn all(&self) -> Vec<AuditEvent> {
        let mut kept: Vec<_> = self.with(|rooms| rooms.rooms.values().flatten().cloned().collect());
        kept.sort_by_key(|(number, _)| *number);
        kept.into_iter().map(|(_, event)| event).collect()
    }

    fn with<T>(&self, act: impl FnOnce(&mut Rooms) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for MemorySink {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl AuditSink for MemorySink {
    async fn record(&self, event: &AuditEvent) -> Result<()> {
        // A refusal names whatever organization a stranger asked for: a room for each would let
        // strangers fill the memory.
        let room = match event.kind {
            AuditKind::ScopeDenied | AuditKind::TicketRefused => None,
            _ => event.organization.clone(),
        };
        self.with(|rooms| {
            let number = rooms.next;
            rooms.next += 1;
            let room = rooms.rooms.entry(room).or_default();
            room.push_back((number, event.clone()));
            while room.len() > rooms.capacity {
                room.pop_front();
            }
        });
        Ok(())
    }
}

/// The door to a sink that all other modules use. Clones share queue and sink.
#[derive(Clone)]
pub(crate) struct Auditor(Arc<Inner>);

struct Inner {
    sink: Arc<dyn AuditSink>,
    clock: Arc<dyn Clock>,
    patience: Duration,
    queue: Mutex<Option<mpsc::Sender<Job>>>,
    dropped: Arc<AtomicU64>,
}

enum Job {
    Flush(oneshot::Sender<()>),
    Note(Note),
}

/// An event on its way. Whatever happens to it, unless it is kept it counts as dropped.
struct Note {
    event: AuditEvent,
    dropped: Option<Arc<AtomicU64>>,
}

impl Auditor {
    pub(crate) fn new(sink: Arc<dyn AuditSink>, clock: Arc<dyn Clock>) -> Self {
        Self::with_patience(sink, clock, PATIENCE)
    }

    fn with_patience(sink: Arc<dyn AuditSink>, clock: Arc<dyn Clock>, patience: Duration) -> Self {
        let (queue, dropped) = (Mutex::new(None), Arc::default());
        Self(Arc::new(Inner { sink, clock, patience, queue, dropped }))
    }

    /// An event of this moment.
    pub(crate) fn event(&self, kind: AuditKind) -> AuditEvent {
        AuditEvent::new(kind, self.0.clock.now())
    }

    /// Reports an ordinary event: never waits, never fails.
    pub(crate) fn note(&self, event: AuditEvent) {
        let note = Note { event, dropped: Some(Arc::clone(&self.0.dropped)) };
        if let Some(Job::Note(mut note)) = self.send(Job::Note(note)) {
            // Without a runtime nobody works the queue; a sink that need not wait still keeps it.
            if let Some(Ok(())) = ask(&*self.0.sink, &note.event, None).now_or_never() {
                note.dropped = None;
            }
        }
    }

    /// Writes an event without which the act must not take place.
    pub(crate) async fn require(&self, event: AuditEvent) -> Result<()> {
        ask(&*self.0.sink, &event, Some(self.0.patience)).await.map_err(|error| {
            Error::unavailable("the act cannot be recorded and was not done").with_source(error)
        })
    }

    /// Writes an incident down before anybody hears of it.
    pub(crate) async fn incident(&self, event: AuditEvent, error: Error) -> Error {
        let recorded = self.require(event.because(error.to_string())).await;
        match recorded {
            Ok(()) => error.recorded(),
            // The refusal stands whether or not it could be written down.
            Err(unwritten) => error.recorded().with_source(unwritten),
        }
    }

    /// Waits until all events noted before are kept or dropped.
    pub(crate) async fn flush(&self) -> Result<()> {
        let (done, flushed) = oneshot::channel();
        let queue = self.lock().clone().filter(|queue| !queue.is_closed());
        let Some(queue) = queue else { return Ok(()) };
        let flush = async {
            // Either fails where the runtime of the worker has ended, and the queue with it.
            if queue.send(Job::Flush(done)).await.is_ok() {
                let _ = flushed.await;
            }
        };
        tokio::time::timeout(self.0.patience, flush)
            .await
            .map_err(|_| Error::unavailable("the audit sink does not keep up"))
    }

    /// How many ordinary events were not kept.
    pub(crate) fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Queues a job; gives it back where there is no runtime to work the queue.
    fn send(&self, job: Job) -> Option<Job> {
        let mut queue = self.lock();
        let job = match queue.as_ref() {
            None => job,
            Some(sender) => match sender.try_send(job) {
                // A runtime that ends takes its worker along.
                Err(mpsc::error::TrySendError::Closed(job)) => job,
                Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => return None,
            },
        };
        let Ok(runtime) = Handle::try_current() else {
            return Some(job);
        };
        let (sender, jobs) = mpsc::channel(QUEUE);
        runtime.spawn(work(jobs, Arc::clone(&self.0.sink), self.0.patience));
        let unsent = sender.try_send(job).is_err();
        *queue = Some(sender);
        debug_assert!(!unsent, "a fresh queue has room");
        None
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<mpsc::Sender<Job>>> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Auditor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auditor")
            .field("sink", &self.0.sink)
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        if let Some(dropped) = self.dropped.take() {
            dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn work(mut jobs: mpsc::Receiver<Job>, sink: Arc<dyn AuditSink>, patience: Duration) {
    while let Some(job) = jobs.recv().await {
        match job {
            Job::Flush(done) => drop(done.send(())),
            Job::Note(mut note) => match ask(&*sink, &note.event, Some(patience)).await {
                Ok(()) => note.dropped = None,
                Err(error) => tracing::warn!(%error, "an audit event was dropped"),
            },
        }
    }
}

/// Records an event with a sink that may fail, hang or panic.
async fn ask(sink: &dyn AuditSink, event: &AuditEvent, patience: Option<Duration>) -> Result<()> {
    let recorded = async {
        match patience {
            None => sink.record(event).await,
            // The timer is made inside, for it panics where the runtime has none.
            Some(patience) => tokio::time::timeout(patience, sink.record(event))
                .await
                .map_err(|_| Error::unavailable("the audit sink took too long"))?,
        }
    };
    AssertUnwindSafe(recorded)
        .catch_unwind()
        .await
        .unwrap_or_else(|_| Err(Error::unavailable("the audit sink panicked")))
}

const PATIENCE: Duration = Duration::from_secs(5);
const QUEUE: usize = 1_024;

#[cfg(test)]
mod tests;
