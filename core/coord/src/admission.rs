//! Who is turned away when there is too much to do.

use fogcompute_base::Priority;
use thiserror::Error;

use crate::OPEN_TASKS_MAX;

/// All priorities, the most urgent first.
const PRIORITIES: [Priority; 5] = [
    Priority::Critical,
    Priority::High,
    Priority::Normal,
    Priority::Low,
    Priority::Bulk,
];

/// Why watermarks make no sense.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum WatermarksError {
    /// Less urgent tasks would be let in where more urgent ones are not.
    #[error(
        "watermark of {watermark} for {priority:?} is above the one of a more urgent priority, {above}"
    )]
    Order {
        /// The less urgent priority.
        priority: Priority,
        /// Its watermark.
        watermark: usize,
        /// The watermark of the next more urgent one.
        above: usize,
    },
    /// Nothing would be let in at all.
    #[error("watermark of the most urgent priority is 0")]
    Nothing,
    /// More tasks than a coordinator holds.
    #[error("watermark of {actual} open tasks exceeds the limit of {limit}")]
    TooMany {
        /// What was given.
        actual: usize,
        /// The limit.
        limit: usize,
    },
}

/// Tasks are refused because too many are open. Try again later, or with fewer.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error(
    "{open} tasks are open and {tasks} more exceed the watermark of {watermark} for priority {priority:?}"
)]
pub struct Shed {
    /// How urgent the tasks are.
    pub priority: Priority,
    /// Tasks that are open.
    pub open: usize,
    /// Tasks that were to be added.
    pub tasks: usize,
    /// Up to how many open tasks that priority is let in.
    pub watermark: usize,
}

/// Up to how many open tasks more are let in, by how urgent they are.
///
/// What is least urgent is turned away first, and the most urgent last, so there is always room
/// left for those above. A task that was let in is never dropped: load is shed at the door.
///
/// The default, in parts of [`OPEN_TASKS_MAX`]: critical 100 %, high 95 %, normal 90 %, low 75 %,
/// bulk 50 %.
///
/// ```
/// use fogcompute_base::Priority;
/// use fogcompute_coord::Watermarks;
///
/// let watermarks = Watermarks::new([10, 9, 8, 7, 5])?;
/// assert!(watermarks.admit(Priority::Bulk, 4, 1).is_ok());
/// assert_eq!(watermarks.admit(Priority::Bulk, 5, 1).unwrap_err().watermark, 5);
/// assert!(watermarks.admit(Priority::Critical, 9, 1).is_ok());
/// # Ok::<(), fogcompute_coord::WatermarksError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Watermarks([usize; PRIORITIES.len()]);

impl Default for Watermarks {
    fn default() -> Self {
        Self([100, 95, 90, 75, 50].map(|percent| OPEN_TASKS_MAX / 100 * percent))
    }
}

impl Watermarks {
    /// Watermarks for the priorities, the most urgent first, in open tasks.
    ///
    /// # Errors
    /// [`WatermarksError`].
    pub fn new(watermarks: [usize; 5]) -> Result<Self, WatermarksError> {
        let [most, ..] = watermarks;
        if most == 0 {
            return Err(WatermarksError::Nothing);
        }
        if most > OPEN_TASKS_MAX {
            return Err(WatermarksError::TooMany {
                actual: most,
                limit: OPEN_TASKS_MAX,
            });
        }
        let mut above = most;
        for (priority, watermark) in PRIORITIES.into_iter().zip(watermarks) {
            if watermark > above {
                return Err(WatermarksError::Order {
                    priority,
                    watermark,
                    above,
                });
            }
            above = watermark;
        }
        Ok(Self(watermarks))
    }

    /// The watermark of a priority, in open tasks.
    #[must_use]
    pub const fn of(&self, priority: Priority) -> usize {
        self.0[priority as usize]
    }

    /// Whether `tasks` more are let in where `open` are open. All of them or none.
    ///
    /// # Errors
    /// [`Shed`].
    pub const fn admit(&self, priority: Priority, open: usize, tasks: usize) -> Result<(), Shed> {
        let watermark = self.of(priority);
        if open.saturating_add(tasks) > watermark {
            return Err(Shed {
                priority,
                open,
                tasks,
                watermark,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_least_urgent_is_refused_first_and_the_most_urgent_last() {
        let watermarks = Watermarks::default();
        let mut refused = Vec::new();
        for open in 0..=OPEN_TASKS_MAX {
            for priority in PRIORITIES {
                if !refused.contains(&priority) && watermarks.admit(priority, open, 1).is_err() {
                    refused.push(priority);
                }
            }
        }
        let mut least_first = PRIORITIES;
        least_first.reverse();
        assert_eq!(refused, least_first);
        assert!(
            watermarks
                .admit(Priority::Critical, OPEN_TASKS_MAX - 1, 1)
                .is_ok()
        );
    }

    #[test]
    fn a_refusal_names_the_watermark() {
        let watermarks = Watermarks::new([10, 10, 8, 8, 0]).unwrap();
        assert_eq!(watermarks.admit(Priority::Normal, 3, 5), Ok(()));
        assert_eq!(
            watermarks.admit(Priority::Normal, 3, 6),
            Err(Shed {
                priority: Priority::Normal,
                open: 3,
                tasks: 6,
                watermark: 8
            })
        );
        assert!(watermarks.admit(Priority::Bulk, 0, 1).is_err());
        assert!(
            watermarks
                .admit(Priority::Critical, usize::MAX, usize::MAX)
                .is_err()
        );
    }

    #[test]
    fn senseless_watermarks_are_refused() {
        assert_eq!(
            Watermarks::new([10, 9, 8, 9, 1]),
            Err(WatermarksError::Order {
                priority: Priority::Low,
                watermark: 9,
                above: 8
            })
        );
        assert_eq!(Watermarks::new([0; 5]), Err(WatermarksError::Nothing));
        let many = OPEN_TASKS_MAX + 1;
        assert_eq!(
            Watermarks::new([many, 1, 1, 1, 1]),
            Err(WatermarksError::TooMany {
                actual: many,
                limit: OPEN_TASKS_MAX
            })
        );
        let default = Watermarks::default();
        assert_eq!(
            Watermarks::new(PRIORITIES.map(|it| default.of(it))),
            Ok(default)
        );
    }

    proptest! {
        /// Whoever is let in is let in with fewer tasks too, with fewer open, and if more urgent;
        /// and nobody gets the fog beyond the watermark.
        #[test]
        fn admission_is_monotone(
            mut marks in [1..100_usize, 0..100_usize, 0..100_usize, 0..100_usize, 0..100_usize],
            open in 0..120_usize,
            tasks in 0..120_usize,
        ) {
            marks.sort_unstable_by(|a, b| b.cmp(a));
            let watermarks = Watermarks::new(marks).unwrap();
            for pair in PRIORITIES.windows(2) {
                let [urgent, other] = [pair[0], pair[1]].map(|it| watermarks.admit(it, open, tasks));
                prop_assert!(urgent.is_ok() || other.is_err());
            }
            for priority in PRIORITIES {
                let admitted = watermarks.admit(priority, open, tasks).is_ok();
                prop_assert_eq!(admitted, open + tasks <= watermarks.of(priority));
                if admitted {
                    prop_assert!(watermarks.admit(priority, open, tasks.saturating_sub(1)).is_ok());
                    prop_assert!(watermarks.admit(priority, open.saturating_sub(1), tasks).is_ok());
                }
            }
        }
    }
}
