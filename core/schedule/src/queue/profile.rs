//! How much of a node is taken when.

use crate::Job;
use crate::Node;

/// Kinds of things a job takes of a node: processor, memory, disk, GPUs, bandwidth.
pub(super) const RESOURCES: usize = 5;

/// So much of each resource.
pub(super) type Amounts = [u64; RESOURCES];

/// What one run of a job takes.
pub(super) fn need(job: &Job) -> Amounts {
    [
        job.cpu_millis,
        job.memory_bytes,
        job.disk_bytes,
        job.gpus,
        job.bandwidth_bps,
    ]
}

/// What a node offers while no job runs on it.
pub(super) fn capacity(node: &Node) -> Amounts {
    [
        node.cpu_millis_free,
        node.memory_bytes_free,
        node.disk_bytes_free,
        node.gpus_free,
        node.bandwidth_bps_free,
    ]
}

/// Whether `need` is there.
pub(super) fn within(need: &Amounts, there: &Amounts) -> bool {
    need.iter().zip(there).all(|(need, there)| need <= there)
}

/// Sums of amounts: what is booked may for a while be more than there is, so 64 bits are too few.
pub(super) type Taken = [u128; RESOURCES];

/// Whether `need` fits beside what is taken.
pub(super) fn beside(need: &Amounts, taken: &Taken, capacity: &Amounts) -> bool {
    let three = need.iter().zip(taken).zip(capacity);
    let mut three = three.map(|((&need, &taken), &capacity)| (need, taken, capacity));
    three.all(|(need, taken, capacity)| u128::from(need) + taken <= u128::from(capacity))
}

/// What is taken from `at` until the next step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Step {
    at: u64,
    taken: Taken,
}

/// What is taken of one node from some time on. Times are nanoseconds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Profile {
    /// Ascending, never empty. Before the first nothing is known, after the last nothing changes.
    steps: Vec<Step>,
}

impl Profile {
    /// Nothing is taken, ever.
    pub(super) fn new() -> Self {
        let taken = [0; RESOURCES];
        Self {
            steps: vec![Step { at: 0, taken }],
        }
    }

    /// Takes `need` from `from` until before `until`.
    pub(super) fn add(&mut self, from: u64, until: u64, need: &Amounts) {
        self.change(from, until, |taken, index| {
            *taken += u128::from(need[index]);
        });
    }

    /// Gives back what [`add`](Self::add) took.
    pub(super) fn remove(&mut self, from: u64, until: u64, need: &Amounts) {
        self.change(from, until, |taken, index| {
            *taken -= u128::from(need[index]);
        });
    }

    fn change(&mut self, from: u64, until: u64, each: impl Fn(&mut u128, usize)) {
        let from = from.max(self.steps[0].at);
        if until <= from {
            return;
        }
        let (start, end) = (self.cut(from), self.cut(until));
        for step in &mut self.steps[start..end] {
            for (index, taken) in step.taken.iter_mut().enumerate() {
                each(taken, index);
            }
        }
        // What no longer differs from its neighbour is one step again.
        for index in [end, start] {
            if index > 0 && self.steps[index].taken == self.steps[index - 1].taken {
                self.steps.remove(index);
            }
        }
    }

    /// The step that starts at `at`, which is not before the first.
    fn cut(&mut self, at: u64) -> usize {
        match self.steps.binary_search_by_key(&at, |step| step.at) {
            Ok(index) => index,
            Err(index) => {
                let taken = self.steps[index - 1].taken;
                self.steps.insert(index, Step { at, taken });
                index
            }
        }
    }

    /// The step in which `at` lies; the first if it lies before all.
    fn step_of(&self, at: u64) -> usize {
        self.steps
            .partition_point(|step| step.at <= at)
            .saturating_sub(1)
    }

    /// The first time not before `after` from which `need` fits for `length` in a row.
    pub(super) fn earliest(
        &self,
        capacity: &Amounts,
        need: &Amounts,
        after: u64,
        length: u64,
    ) -> Option<u64> {
        let first = self.step_of(after);
        let mut start = after;
        for (index, step) in self.steps.iter().enumerate().skip(first) {
            let end = self.steps.get(index + 1).map(|next| next.at);
            if !beside(need, &step.taken, capacity) {
                start = end?;
            } else if end.is_none_or(|end| end >= start.saturating_add(length)) {
                return Some(start);
            }
        }
        None
    }

    /// Whether `need` fits from `from` for `length` in a row.
    pub(super) fn fits(&self, capacity: &Amounts, need: &Amounts, from: u64, length: u64) -> bool {
        let until = from.saturating_add(length);
        self.steps[self.step_of(from)..]
            .iter()
            .take_while(|step| step.at < until || step.at <= from)
            .all(|step| beside(need, &step.taken, capacity))
    }

    /// Whether more is taken than there is at some time from `from` until before `until`.
    pub(super) fn is_over(&self, capacity: &Amounts, from: u64, until: u64) -> bool {
        !self.fits(capacity, &[0; RESOURCES], from, until.saturating_sub(from))
    }

    /// When it changes for the last time.
    pub(super) fn horizon(&self) -> u64 {
        self.steps[self.steps.len() - 1].at
    }

    /// Forgets what was before `now`.
    pub(super) fn forget_before(&mut self, now: u64) {
        let current = self.step_of(now);
        self.steps.drain(..current);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CAPACITY: Amounts = [10; RESOURCES];

    fn amount(amount: u64) -> Amounts {
        [amount; RESOURCES]
    }

    #[test]
    fn a_gap_that_is_too_short_is_passed_over() {
        let mut profile = Profile::new();
        profile.add(0, 100, &amount(8));
        profile.add(120, 200, &amount(8));
        assert_eq!(profile.earliest(&CAPACITY, &amount(2), 0, 500), Some(0));
        assert_eq!(profile.earliest(&CAPACITY, &amount(3), 0, 20), Some(100));
        assert_eq!(profile.earliest(&CAPACITY, &amount(3), 0, 21), Some(200));
        assert_eq!(profile.earliest(&CAPACITY, &amount(3), 110, 20), Some(200));
        assert_eq!(profile.earliest(&CAPACITY, &amount(11), 0, 1), None);
        assert!(profile.fits(&CAPACITY, &amount(3), 100, 20));
        assert!(!profile.fits(&CAPACITY, &amount(3), 100, 21));
        assert!(!profile.is_over(&CAPACITY, 0, 500));
        profile.add(150, 160, &amount(3));
        assert!(profile.is_over(&CAPACITY, 0, 500));
        assert!(!profile.is_over(&CAPACITY, 160, 500));
    }

    proptest! {
        /// Against looking at every instant.
        #[test]
        fn profiles_are_what_their_parts_add_up_to(
            parts in prop::collection::vec((0_u64..60, 1_u64..30, 1_u64..9), 0..12),
            gone in 0_usize..12,
            (need, after, length) in (1_u64..12, 0_u64..80, 1_u64..25),
            forgotten in 0_u64..50,
        ) {
            let mut profile = Profile::new();
            for &(from, length, need) in &parts {
                profile.add(from, from + length, &amount(need));
            }
            let gone = gone.min(parts.len());
            for &(from, length, need) in &parts[..gone] {
                profile.remove(from, from + length, &amount(need));
            }
            if forgotten <= after {
                profile.forget_before(forgotten);
            }
            let taken = |at: u64| -> u64 {
                let there = parts[gone..].iter().filter(|&&(from, length, _)| {
                    (from..from + length).contains(&at)
                });
                there.map(|&(.., need)| need).sum()
            };
            let fits = |from: u64| (from..from + length).all(|at| taken(at) + need <= 10);
            prop_assert_eq!(profile.fits(&CAPACITY, &amount(need), after, length), fits(after));
            let first = (after..300).find(|&from| fits(from));
            prop_assert_eq!(profile.earliest(&CAPACITY, &amount(need), after, length), first);
            for &(from, length, need) in &parts[gone..] {
                profile.remove(from, from + length, &amount(need));
            }
            prop_assert_eq!(profile.steps.len(), 1);
        }
    }
}
