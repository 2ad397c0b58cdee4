//! Where entries are read that were made long ago.

use crate::{Entry, LedgerError};

/// Reads the history that a [`crate::State`] does not keep in memory, as a clock tells the time.
///
/// It is asked when an id comes a second time, so a store may take its time over it.
pub trait History {
    /// Why an entry cannot be read, or a batch is refused.
    type Error: From<LedgerError>;

    /// The entry of that sequence, which the state has made.
    ///
    /// # Errors
    /// The history's own; [`LedgerError::HistoryTooShort`] if there is no such entry.
    fn entry(&self, sequence: u64) -> Result<Entry, Self::Error>;
}

impl History for [Entry] {
    type Error = LedgerError;

    fn entry(&self, sequence: u64) -> Result<Entry, LedgerError> {
        let index = usize::try_from(sequence)
            .ok()
            .and_then(|n| n.checked_sub(1));
        let entry = index.and_then(|index| self.get(index)).cloned();
        entry.ok_or(LedgerError::HistoryTooShort { sequence })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_that_is_not_there_is_refused() {
        for sequence in [0, 1, u64::MAX] {
            assert_eq!(
                <[Entry] as History>::entry(&[], sequence),
                Err(LedgerError::HistoryTooShort { sequence })
            );
        }
    }
}
