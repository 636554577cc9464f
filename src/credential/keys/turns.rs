//! Whoever makes or changes keys of one owner does so alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::crypto::KeyOwner;

type Gate = Arc<tokio::sync::Mutex<()>>;

/// One turn at a time for each owner. There are entries for those alone who have or await one.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<KeyOwner, Gate>>);

/// Held or awaited: leaves the entry behind for nobody.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    owner: KeyOwner,
    gate: Option<Gate>,
    held: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits until nobody else has the owner's turn.
    pub(super) async fn take(&self, owner: KeyOwner) -> Turn<'_> {
        let gate = Arc::clone(self.lock().entry(owner.clone()).or_default());
        let mut turn = Turn { turns: self, owner, gate: Some(Arc::clone(&gate)), held: None };
        turn.held = Some(gate.lock_owned().await);
        turn
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<KeyOwner, Gate>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Both references are given up before they are counted, under the lock that hands them out.
        let mut turns = self.turns.lock();
        self.held = None;
        self.gate = None;
        if turns.get(&self.owner).is_some_and(|gate| Arc::strong_count(gate) == 1) {
            turns.remove(&self.owner);
        }
    }
}
