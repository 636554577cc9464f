//! Transactions of one organization, with savepoints.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use super::store::{Purpose, Session};
use super::{Database, Settings};
use crate::credential::SealingKey;
use crate::error::{Error, Result};
use crate::scope::TenantScope;

/// Whether a transaction can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// A statement was sent and nobody waited for its answer.
    InFlight,
    /// A statement failed at this savepoint depth.
    Failed(u32),
}

/// A transaction in one organization. Dropped, it is rolled back.
///
/// Statements take it as `&mut tx`, or `&mut *tx` where it is itself a `&mut Transaction`.
/// A statement that fails, or whose future is dropped half-way, fails the transaction: only
/// [`rollback`](Self::rollback) remains, of the whole or of the savepoint around the statement.
///
/// ```
/// # tenantry::tenant_table! { #[derive(Debug)] pub struct Order in orders { key id: i64, total: i64 } }
/// # async fn run(scope: tenantry::TenantScope, db: tenantry::Database) -> tenantry::Result<()> {
/// let mut tx = db.begin(&scope).await?;
/// Order::insert(&scope, Order { id: 1, total: 5 }).execute(&mut tx).await?;
/// let mut savepoint = tx.savepoint().await?;
/// Order::delete(&scope).all_rows().execute(&mut *savepoint).await?;
/// savepoint.rollback().await?;
/// tx.commit().await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a transaction that is dropped is rolled back: hold it, and end with `tx.commit().await?`"]
pub struct Transaction {
    database: Database,
    scope: TenantScope,
    session: Session,
    state: State,
    depth: u32,
    /// The outermost savepoint that was dropped without an end.
    unwound: Option<u32>,
    retryable: bool,
    begun: Duration,
    /// The key by which the organization seals, where the transaction keeps changes of it waiting.
    sealing: Option<SealingKey>,
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("scope", &self.scope)
            .field("state", &self.state)
            .field("depth", &self.depth)
            .finish_non_exhaustive()
    }
}

impl Transaction {
    pub(super) async fn begin(
        database: &Database,
        scope: &TenantScope,
        purpose: Purpose,
    ) -> Result<Self> {
        database.admit(scope)?;
        let organization = Some(scope.organization());
        let session = database.store().session(organization, purpose).await?;
        // The wait for a connection can be long.
        scope.check()?;
        Ok(Self {
            database: database.clone(),
            scope: scope.clone(),
            session,
            state: State::Open,
            depth: 0,
            unwound: None,
            retryable: false,
            begun: scope.issuer().clock().monotonic(),
            sealing: None,
        })
    }

    /// The scope that the transaction belongs to.
    #[must_use]
    pub const fn scope(&self) -> &TenantScope {
        &self.scope
    }

    pub(super) const fn database(&self) -> &Database {
        &self.database
    }

    /// The key by which the organization seals, which the transaction has locked.
    pub(crate) const fn hold(&mut self, key: SealingKey) {
        self.sealing = Some(key);
    }

    pub(super) const fn sealing(&self) -> Option<&SealingKey> {
        self.sealing.as_ref()
    }

    fn settings(&self) -> &Settings {
        self.database.settings()
    }

    pub(super) const fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Whether statements may run: undoes savepoints that were dropped.
    pub(super) async fn ready(&mut self) -> Result<()> {
        self.scope.check()?;
        if let Some(depth) = self.unwound.take() {
            // Where the savepoint has ended already, what it did can no longer be told apart: the
            // transaction has failed.
            let _ = self.undo(depth).await;
        }
        if self.state != State::Open {
            if self.state == State::InFlight {
                self.state = State::Failed(self.depth);
            }
            return Err(Error::misuse(
                "the transaction failed at an earlier statement: only rollback remains",
            ));
        }
        let age = self.scope.issuer().clock().monotonic().saturating_sub(self.begun);
        if age > self.settings().transaction_max_age {
            return Err(Error::unavailable("the transaction is older than its maximum age"));
        }
        Ok(())
    }

    /// A statement is on its way; until [`landed`](Self::landed) nobody knows what it did.
    pub(super) const fn sent(&mut self) {
        self.state = State::InFlight;
    }

    pub(super) const fn landed(&mut self) {
        self.state = State::Open;
    }

    /// A statement failed; one that was refused before savepoints that had been dropped were
    /// undone stands outside of them.
    pub(super) fn failed(&mut self, error: &Error) {
        self.state = State::Failed(self.unwound.map_or(self.depth, |depth| depth - 1));
        self.retryable |= error.is_retryable();
    }

    pub(super) const fn failed_retryably(&self) -> bool {
        self.retryable
    }

    /// Makes the changes permanent.
    ///
    /// # Errors
    /// `Denied` when the scope was revoked meanwhile, `Misuse` after a failed statement,
    /// `Unavailable` when the store cannot commit. Nothing is kept then.
    ///
    /// # Cancellation
    /// A commit whose future is dropped happened or did not; the store decides, never half.
    pub async fn commit(mut self) -> Result<()> {
        self.ready().await?;
        self.session.commit().await
    }

    /// Undoes the changes.
    ///
    /// # Errors
    /// `Unavailable` when the store does not answer; the changes are not kept then either.
    pub async fn rollback(mut self) -> Result<()> {
        self.session.rollback().await
    }

    /// Begins a savepoint: a part of the transaction that can be rolled back by itself.
    ///
    /// # Errors
    /// As for any statement of the transaction.
    ///
    /// # Cancellation
    /// Dropped half-way, it fails the transaction.
    pub async fn savepoint(&mut self) -> Result<Savepoint<'_>> {
        self.ready().await?;
        self.sent();
        let depth = self.depth + 1;
        let begun = self.session.savepoint("SAVEPOINT", depth).await;
        self.conclude(begun)?;
        self.depth = depth;
        Ok(Savepoint { transaction: self, depth, ended: false })
    }

    fn conclude(&mut self, result: Result<()>) -> Result<()> {
        match result {
            Ok(()) => {
                self.landed();
                Ok(())
            }
            Err(error) => {
                self.failed(&error);
                Err(error)
            }
        }
    }

    /// Rolls back to the state before the savepoint at `depth`, and forgets it.
    async fn undo(&mut self, depth: u32) -> Result<()> {
        let failed = match self.state {
            State::Failed(at) => Some(at),
            State::InFlight | State::Open => None,
        };
        self.sent();
        let mut undone = self.session.savepoint("ROLLBACK TO", depth).await;
        if undone.is_ok() {
            undone = self.session.savepoint("RELEASE", depth).await;
        }
        self.conclude(undone)?;
        self.depth = depth - 1;
        if let Some(at) = failed.filter(|at| *at < depth) {
            self.state = State::Failed(at);
        } else {
            // What failed is undone: it is no reason to run all of it again.
            self.retryable = false;
        }
        Ok(())
    }
}

/// A savepoint: the transaction inside it, until it is released or rolled back.
///
/// Dropped without either, it is rolled back before the next statement of the transaction.
#[must_use = "a savepoint is rolled back when it is dropped"]
#[derive(Debug)]
pub struct Savepoint<'t> {
    transaction: &'t mut Transaction,
    depth: u32,
    ended: bool,
}

impl Deref for Savepoint<'_> {
    type Target = Transaction;

    fn deref(&self) -> &Transaction {
        self.transaction
    }
}

impl DerefMut for Savepoint<'_> {
    fn deref_mut(&mut self) -> &mut Transaction {
        self.transaction
    }
}

impl Savepoint<'_> {
    /// Keeps the changes as part of the transaction.
    ///
    /// # Errors
    /// As for any statement of the transaction.
    pub async fn release(mut self) -> Result<()> {
        self.transaction.ready().await?;
        self.transaction.sent();
        let depth = self.depth;
        let released = self.transaction.session.savepoint("RELEASE", depth).await;
        self.transaction.conclude(released)?;
        self.transaction.depth = depth - 1;
        self.ended = true;
        Ok(())
    }

    /// Undoes the changes since the savepoint began. A statement that failed inside it fails the
    /// transaction no longer.
    ///
    /// # Errors
    /// `Unavailable` when the store does not answer.
    pub async fn rollback(mut self) -> Result<()> {
        let depth = self.depth;
        self.transaction.unwound = Some(self.transaction.unwound.map_or(depth, |at| at.min(depth)));
        self.ended = true;
        self.transaction.undo(depth).await?;
        self.transaction.unwound = None;
        Ok(())
    }
}

impl Drop for Savepoint<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let outermost = self.transaction.unwound.map_or(self.depth, |at| at.min(self.depth));
            self.transaction.unwound = Some(outermost);
        }
    }
}
