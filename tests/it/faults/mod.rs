//! Bad input, store faults, crashes and cancellation.
