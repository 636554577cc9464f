//! Runs timed beside each other.
