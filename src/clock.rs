//! Time: an injectable [`Clock`], and a [`now`] that every store holds without loss.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use time::OffsetDateTime;

/// Where the crate takes its time from.
///
/// # Contract
///
/// - [`now`](Clock::now) MUST be the wall clock in UTC. It MAY jump in either direction.
/// - [`monotonic`](Clock::monotonic) MUST NOT ever decrease, whatever happens to the wall clock:
///   by it scopes grow old. Its origin is the implementation's to choose.
/// - Both MUST NOT block.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The wall clock.
    fn now(&self) -> OffsetDateTime;

    /// The time since some fixed moment, never decreasing.
    fn monotonic(&self) -> Duration;
}

#[deny(clippy::missing_trait_methods)]
impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> OffsetDateTime {
        (**self).now()
    }

    fn monotonic(&self) -> Duration {
        (**self).monotonic()
    }
}

/// The current time in UTC, in whole microseconds.
///
/// Both stores hold microseconds; a plain clock gives nanoseconds, and such a value is refused
/// rather than rounded.
///
/// # Examples
///
/// ```
/// assert_eq!(tenantry::clock::now().nanosecond() % 1_000, 0);
/// ```
#[must_use]
pub fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_microsecond(now.microsecond()).unwrap_or(now)
}

/// The clock of the operating system.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// The clock of the operating system.
    #[must_use]
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> OffsetDateTime {
        now()
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// A clock that moves when it is told to: for tests. Clones show the same time.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tenantry::clock::{Clock, ManualClock};
///
/// let clock = ManualClock::new(time::OffsetDateTime::UNIX_EPOCH);
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now().unix_timestamp(), 60);
/// assert_eq!(clock.monotonic(), Duration::from_secs(60));
/// ```
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Mutex<(OffsetDateTime, Duration)>>);

impl ManualClock {
    /// A clock that stands at the given time.
    #[must_use]
    pub fn new(now: OffsetDateTime) -> Self {
        Self(Arc::new(Mutex::new((now, Duration::ZERO))))
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        self.with(|(now, elapsed)| {
            *now = now.saturating_add(time::Duration::try_from(by).unwrap_or(time::Duration::MAX));
            *elapsed = elapsed.saturating_add(by);
        });
    }

    /// Sets the wall clock, in either direction, as an operator may; no time passes.
    pub fn set(&self, to: OffsetDateTime) {
        self.with(|(now, _)| *now = to);
    }

    fn with<T>(&self, act: impl FnOnce(&mut (OffsetDateTime, Duration)) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> OffsetDateTime {
        self.with(|(now, _)| *now)
    }

    fn monotonic(&self) -> Duration {
        self.with(|(_, elapsed)| *elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn now_has_whole_microseconds() {
        for _ in 0..100 {
            assert_eq!(now().nanosecond() % 1_000, 0);
        }
    }

    #[test]
    fn setting_the_wall_clock_back_does_not_turn_the_monotonic_one() {
        let clock = ManualClock::new(now());
        clock.advance(Duration::from_secs(5));
        clock.set(OffsetDateTime::UNIX_EPOCH);
        assert_eq!(clock.now(), OffsetDateTime::UNIX_EPOCH);
        assert_eq!(clock.monotonic(), Duration::from_secs(5));
        clock.advance(Duration::MAX);
        assert_eq!(clock.monotonic(), Duration::MAX);
    }

    #[test]
    fn the_system_clock_moves_forward() {
        let clock = SystemClock::new();
        let before = clock.monotonic();
        assert!(clock.monotonic() >= before);
    }
}
