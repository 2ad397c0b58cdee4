//! What a forked process must leave alone.

use std::process;

use crate::StoreError;

/// The process in which something was made.
///
/// After `fork`, parent and child have the same open files, but the locks on them and all threads
/// but one are the parent's. If both went on, they would write over each other, and a child would
/// wait for threads that it does not have. What remembers where it was made can refuse instead.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HomeProcess(u32);

impl HomeProcess {
    /// This process.
    #[must_use]
    pub fn here() -> Self {
        Self(process::id())
    }

    /// The process with that id.
    #[must_use]
    pub const fn of(id: u32) -> Self {
        Self(id)
    }

    /// Whether this is still that process.
    #[must_use]
    pub fn is_here(self) -> bool {
        self.0 == process::id()
    }

    /// Refuses to go on in another process.
    ///
    /// # Errors
    /// [`StoreError::Forked`].
    pub fn check(self) -> Result<(), StoreError> {
        if self.is_here() {
            return Ok(());
        }
        Err(StoreError::Forked { home: self.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_process_is_refused_by_name() {
        let home = HomeProcess::here();
        assert!(home.is_here());
        assert!(home.check().is_ok());
        let parent = HomeProcess::of(process::id() + 1);
        assert!(!parent.is_here());
        let error = parent.check().unwrap_err();
        assert!(
            matches!(error, StoreError::Forked { home } if home == parent.0),
            "{error}"
        );
    }
}
