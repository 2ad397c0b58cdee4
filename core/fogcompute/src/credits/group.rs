//! Batches of several threads that share one commit.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fogcompute_ledger::Receipt;
use fogcompute_store::{Asked, StoreError};

/// Operations that one commit takes, about: what is waiting, but not more than this.
const OPERATIONS_MAX: usize = 1_024;

type Outcome = Result<Vec<Receipt>, StoreError>;

/// What is to become of a batch that waits.
#[derive(Clone, Debug, Default)]
pub(super) struct Ticket(Arc<Mutex<Option<Outcome>>>);

impl Ticket {
    /// Tells whoever waits.
    pub(super) fn settle(&self, outcome: Outcome) {
        *locked(&self.0) = Some(outcome);
    }

    /// What became of the batch, once.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        locked(&self.0).take()
    }
}

/// Batches that wait for the ledger.
///
/// There is no thread for them: whoever gets hold of the ledger carries out what is waiting, its
/// own batch among it, and the others find theirs done when their turn comes. A batch that comes
/// alone is so no slower than without a queue, and those that come while the disk is busy share the
/// next wait.
#[derive(Debug, Default)]
pub(super) struct Group(Mutex<VecDeque<(Asked, Ticket)>>);

impl Group {
    pub(super) fn enter(&self, batch: Asked) -> Ticket {
        let ticket = Ticket::default();
        locked(&self.0).push_back((batch, ticket.clone()));
        ticket
    }

    /// Takes a batch back that nobody has carried out.
    pub(super) fn leave(&self, ticket: &Ticket) {
        locked(&self.0).retain(|(_, other)| !Arc::ptr_eq(&other.0, &ticket.0));
    }

    /// The batches that are next: none only if none is waiting.
    pub(super) fn next(&self) -> Vec<(Asked, Ticket)> {
        let mut waiting = locked(&self.0);
        let mut operations = 0_usize;
        let mut next = Vec::new();
        while operations < OPERATIONS_MAX {
            let Some((batch, ticket)) = waiting.pop_front() else {
                break;
            };
            operations = operations.saturating_add(batch.count());
            next.push((batch, ticket));
        }
        next
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that panics is done while one is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
