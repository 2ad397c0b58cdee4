//! What a run shows, in numbers.

use std::collections::BTreeMap;
use std::time::Duration;

/// Times that were measured, in virtual time.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.0.len()
    }

    /// The smallest time that at least so many of a hundred do not exceed: the nearest rank.
    /// `None` if nothing was measured.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Option<Duration> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent.min(100)).div_ceil(100).max(1);
        sorted.get(rank - 1).copied()
    }
}

/// How one minute of a run went.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Minute {
    /// Tasks that ended with an output or an error of their own.
    pub ended: u64,
    /// Attempts that were lost.
    pub attempts_lost: u64,
    /// Nodes that died.
    pub deaths: u64,
    /// Nodes that were up at its end.
    pub up: u64,
}

/// What a run shows, in numbers. Times are virtual.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Jobs that a submitter was told are admitted.
    pub jobs_admitted: u64,
    /// Tasks of which the coordinator heard.
    pub tasks: u64,
    /// Attempts that were sent to nodes.
    pub dispatched: u64,
    /// Tasks that ended with an output.
    pub succeeded: u64,
    /// Tasks that ended with an error of their own.
    pub failed: u64,
    /// Tasks that were given up.
    pub lost: u64,
    /// Tasks that were cancelled.
    pub cancelled: u64,
    /// Attempts that were lost.
    pub attempts_lost: u64,
    /// Outputs of lying nodes that were taken for true: one node's word is not compared with
    /// another's.
    pub lies_believed: u64,
    /// From the death of a node to the coordinator's word that it is lost, if its silence told.
    pub detection: Times,
    /// The same, if the end of its connection told.
    pub disconnection: Times,
    /// From the death of a node to each of its tasks being sent to another.
    pub reassignment: Times,
    /// From a task's submission, as the coordinator first heard of it, to its end.
    pub turnaround: Times,
    /// By the minute of the run.
    pub minutes: BTreeMap<u64, Minute>,
    /// Full checks that were made.
    pub checks: u64,
    /// Virtual time of the run.
    pub span: Duration,
}

impl Figures {
    /// Tasks that ended, in whatever way.
    #[must_use]
    pub const fn ended(&self) -> u64 {
        self.succeeded + self.failed + self.lost + self.cancelled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let mut times = Times::default();
        assert_eq!(times.percentile(50), None);
        for millis in [40, 10, 30, 20] {
            times.add(Duration::from_millis(millis));
        }
        let percentile = |percent| times.percentile(percent).unwrap().as_millis();
        assert_eq!(percentile(0), 10);
        assert_eq!(percentile(50), 20);
        assert_eq!(percentile(51), 30);
        assert_eq!(percentile(99), 40);
        assert_eq!(percentile(100), 40);
    }
}
