//! What is done to a world.

use std::time::Duration;

use crate::disk::CrashPoint;
use crate::process::ProcessId;

/// Which way a partition lets nothing through.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Cut {
    /// Neither way.
    Both,
    /// Nothing of what its members send gets out; they hear the rest.
    Out,
    /// Nothing gets in; the rest hears its members.
    In,
}

/// Something that goes wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    /// A process dies now. Nothing happens if it is down already.
    Crash {
        /// Which.
        process: ProcessId,
        /// Whether nobody is told: its power is gone, or its network. Otherwise whoever it talked
        /// to sees the connection close.
        silent: bool,
        /// When it begins again, from its disk. `None` is never.
        down: Option<Duration>,
    },
    /// A process dies in one of its next commits.
    CrashInCommit {
        /// Which.
        process: ProcessId,
        /// Commits that still succeed.
        commits: u64,
        /// Where in the one after them.
        point: CrashPoint,
        /// As in [`Fault::Crash`].
        silent: bool,
        /// As in [`Fault::Crash`].
        down: Option<Duration>,
    },
    /// Some processes are cut off from the others, not from each other.
    Partition {
        /// Which.
        members: Vec<ProcessId>,
        /// Which way.
        cut: Cut,
        /// When it heals.
        lasts: Duration,
    },
    /// A wall clock is set.
    ClockJump {
        /// Of which process.
        process: ProcessId,
        /// How far ahead, in milliseconds; negative is back.
        by_ms: i64,
    },
    /// The next commits are made, and reported as failed.
    DoubtfulCommits {
        /// Of which process.
        process: ProcessId,
        /// How many.
        commits: u64,
    },
    /// A disk refuses everything for a while.
    DiskFull {
        /// Of which process.
        process: ProcessId,
        /// How long.
        lasts: Duration,
    },
}
