//! What a process keeps when it dies.

use thiserror::Error;

/// Where in a commit a process dies.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CrashPoint {
    /// Before anything was written.
    Before,
    /// While it was written. What was torn is not there afterwards, as a transaction promises.
    Torn,
    /// When all was written, and before the process learned of it.
    After,
}

impl CrashPoint {
    /// Every point.
    pub const ALL: [Self; 3] = [Self::Before, Self::Torn, Self::After];
}

/// Why something was not committed, as far as the process can tell.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum DiskError {
    /// There is no room. Nothing was written; there may be room later.
    #[error("disk is full")]
    Full,
    /// It could not be told whether it was written; here it was. Doing it again must do no harm.
    #[error("writing ended with an error, and may have been done")]
    Doubtful,
    /// The process has died in a commit. Nothing it does from here on happens.
    #[error("the process died in a commit")]
    Crashed,
}

/// Simulated storage with explicit commit points: `S` is what survives.
///
/// Whatever is changed in one [`Disk::commit`] is there afterwards as a whole or not at all. A
/// commit is where a process may be made to die; the call then returns [`DiskError::Crashed`], and
/// the [`World`](crate::World) drops the process, and all it did after that, when it returns.
#[derive(Debug, Default)]
pub struct Disk<S> {
    kept: S,
    commits: u64,
    full: bool,
    /// Commits until the process dies, and where in that commit.
    armed: Option<(u64, CrashPoint)>,
    /// Commits from here on that are made and reported as failed.
    doubtful: u64,
    crashed: bool,
}

impl<S> Disk<S> {
    /// What is kept.
    #[must_use]
    pub const fn kept(&self) -> &S {
        &self.kept
    }

    /// Commits that were made, those before a crash included.
    #[must_use]
    pub const fn commits(&self) -> u64 {
        self.commits
    }

    /// Changes what is kept, as a whole or not at all.
    ///
    /// # Errors
    /// [`DiskError`]. After a crash nothing tells whether the change was made.
    pub fn commit<T>(&mut self, change: impl FnOnce(&mut S) -> T) -> Result<T, DiskError> {
        if self.crashed {
            return Err(DiskError::Crashed);
        }
        if self.full {
            return Err(DiskError::Full);
        }
        match &mut self.armed {
            Some((0, point)) => {
                let point = *point;
                self.armed = None;
                self.crashed = true;
                if point == CrashPoint::After {
                    self.commits += 1;
                    change(&mut self.kept);
                }
                return Err(DiskError::Crashed);
            }
            Some((left, _)) => *left -= 1,
            None => {}
        }
        self.commits += 1;
        let changed = change(&mut self.kept);
        if self.doubtful > 0 {
            self.doubtful -= 1;
            return Err(DiskError::Doubtful);
        }
        Ok(changed)
    }

    /// Whether the process has died in a commit.
    #[must_use]
    pub const fn has_crashed(&self) -> bool {
        self.crashed
    }

    /// Makes the process die in the commit after `commits` more.
    pub(crate) fn arm(&mut self, commits: u64, point: CrashPoint) {
        self.armed = Some((commits, point));
    }

    /// Makes so many commits report an error although they are made.
    pub(crate) fn doubt(&mut self, commits: u64) {
        self.doubtful = commits;
    }

    pub(crate) fn set_full(&mut self, full: bool) {
        self.full = full;
    }

    /// The process begins again with what was kept.
    pub(crate) fn boot(&mut self) {
        self.crashed = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn only_a_crash_after_the_commit_keeps_it() {
        for point in CrashPoint::ALL {
            let mut disk = Disk::<Vec<u8>>::default();
            disk.arm(1, point);
            assert_eq!(disk.commit(|kept| kept.push(1)), Ok(()));
            assert_eq!(
                disk.commit(|kept| kept.extend([2, 3])),
                Err(DiskError::Crashed)
            );
            assert!(disk.has_crashed());
            // The dead write nothing.
            assert_eq!(disk.commit(|kept| kept.push(4)), Err(DiskError::Crashed));
            let survives: &[u8] = match point {
                CrashPoint::Before | CrashPoint::Torn => &[1],
                CrashPoint::After => &[1, 2, 3],
            };
            assert_eq!(disk.kept(), survives);
            disk.boot();
            assert_eq!(disk.commit(|kept| kept.push(5)), Ok(()));
        }
    }

    #[test]
    fn a_full_disk_refuses_and_keeps_what_it_has() {
        let mut disk = Disk::<Vec<u8>>::default();
        assert_eq!(disk.commit(|kept| kept.push(1)), Ok(()));
        disk.set_full(true);
        disk.arm(0, CrashPoint::After);
        assert_eq!(disk.commit(|kept| kept.push(2)), Err(DiskError::Full));
        assert_eq!((disk.kept().as_slice(), disk.commits()), (&[1][..], 1));
        disk.set_full(false);
        // Refusing was no commit: the crash is still to come.
        assert_eq!(disk.commit(|kept| kept.push(3)), Err(DiskError::Crashed));
        assert_eq!(disk.kept(), &[1, 3]);
    }

    #[test]
    fn a_doubtful_commit_is_made_and_said_to_have_failed() {
        let mut disk = Disk::<Vec<u8>>::default();
        disk.doubt(1);
        let failed = disk.commit(|kept| kept.push(1));
        assert_eq!(failed, Err(DiskError::Doubtful));
        assert_eq!((disk.kept().as_slice(), disk.commits()), (&[1][..], 1));
        assert_eq!(disk.commit(|kept| kept.push(2)), Ok(()));
        assert!(!disk.has_crashed());
    }

    proptest! {
        /// Wherever it crashes, what is kept is what was committed, in its order, and at most the
        /// one commit in which it died.
        #[test]
        fn what_is_kept_is_a_prefix_of_what_was_done(
            batches in vec(vec(any::<u8>(), 0..4), 1..12),
            crash in 0..14_u64,
            point in prop::sample::select(CrashPoint::ALL.to_vec()),
        ) {
            let mut disk = Disk::<Vec<u8>>::default();
            disk.arm(crash, point);
            let mut acknowledged = Vec::<u8>::new();
            let mut in_doubt = Vec::<u8>::new();
            for batch in &batches {
                match disk.commit(|kept| kept.extend(batch)) {
                    Ok(()) => acknowledged.extend(batch),
                    Err(_) => {
                        in_doubt.clone_from(batch);
                        break;
                    }
                }
            }
            let mut with_doubt = acknowledged.clone();
            with_doubt.extend(&in_doubt);
            let expected = if point == CrashPoint::After { &with_doubt } else { &acknowledged };
            prop_assert_eq!(disk.kept(), expected);
            prop_assert_eq!(disk.has_crashed(), crash < batches.len() as u64);
        }
    }
}
