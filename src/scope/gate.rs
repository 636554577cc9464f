//! Gates, by whose closing scopes end.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts how often it was closed; the lowest bit says whether it is closed now.
#[derive(Debug, Default)]
pub(super) struct Gate(AtomicU64);

/// A [`Gate`] as it stood at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct View(u64);

/// The gate of one organization, behind the one of the issuer.
#[derive(Debug, Default)]
pub(super) struct OrganizationGate {
    pub(super) gate: Gate,
    /// The view of the issuer's gate when the organization was last resumed.
    exempt: AtomicU64,
}

impl Gate {
    /// Closes, and counts: also when it is closed, for an exempt organization may have scopes.
    pub(super) fn close(&self) {
        // Never an `Err`, for there is always a next value.
        let next = |view| Some((view | 1) + 2);
        let _ = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
    }

    pub(super) fn open(&self) {
        self.0.fetch_and(!1, Ordering::SeqCst);
    }

    pub(super) fn view(&self) -> View {
        View(self.0.load(Ordering::SeqCst))
    }

    /// Whether it was closed since that view, and be it open again.
    #[inline]
    pub(super) fn closed_since(&self, view: View) -> bool {
        self.0.load(Ordering::Acquire) >> 1 != view.0 >> 1
    }
}

impl View {
    pub(super) fn is_closed(self) -> bool {
        self.0 & 1 == 1
    }
}

impl OrganizationGate {
    /// Opens the gate, and exempts the organization from the halt that is in force, if any.
    pub(super) fn resume(&self, issuer: View) {
        self.exempt.store(issuer.0, Ordering::SeqCst);
        self.gate.open();
    }

    /// Whether the organization stands open while the issuer is halted.
    pub(super) fn is_exempt_from(&self, issuer: View) -> bool {
        View(self.exempt.load(Ordering::SeqCst)) == issuer
    }
}
