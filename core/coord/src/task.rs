//! A task as the coordinator keeps it.

use std::collections::BTreeSet;

use fogcompute_base::{Instant, JobId, NodeId, Priority, TaskId, Tier};
use fogcompute_exec::{TaskSpec, TaskState};
use fogcompute_ledger::Amount;
use fogcompute_schedule::{self as placement, PlacementError, RUN_MS_MAX};

use crate::bank::price;
use crate::kind::PrivacyLevel;
use crate::registry::Offer;

/// A node of speed 1 burns this much fuel in a second: the scheduler's unit of speed.
const REFERENCE_FUEL_PER_SECOND: u64 = 1_000_000_000;

/// What a task asks of a node: one whole processor.
pub(crate) const TASK_CPU_MILLIS: u64 = 1000;

#[derive(Debug)]
pub(crate) struct Task {
    pub job: JobId,
    /// How urgent the job is.
    pub priority: Priority,
    /// How well it must be hidden.
    pub privacy: PrivacyLevel,
    /// Number of the task in the order of admission. Whoever came first is placed first.
    pub arrival: u64,
    /// What to run. `None` once the task has ended: ids are kept for ever, modules and inputs not.
    pub spec: Option<TaskSpec>,
    pub memory_bytes: u64,
    pub fuel_estimate: u64,
    pub price_max: Amount,
    pub state: TaskState,
    pub attempts: u32,
    /// Nodes that let an attempt lapse; not tried again while there are others.
    pub avoid: BTreeSet<NodeId>,
    /// Why the task was last said to be unplaceable.
    pub told: Option<PlacementError>,
    pub paid: Amount,
    /// When its last attempt was lost, until the next begins.
    pub lost: Option<Instant>,
}

impl Task {
    /// When its turn is, among those that wait.
    pub(crate) fn turn(&self, id: TaskId) -> (Priority, u64, TaskId) {
        (self.priority, self.arrival, id)
    }

    /// What the task would cost at a node, if it takes the fuel that was estimated.
    fn price_at(&self, offer: &Offer) -> Amount {
        price(self.fuel_estimate, offer.price_per_gigafuel, Amount::MAX)
    }

    /// Whether a node asks for more than may be paid. Compared in base units, as the settlement
    /// will: the optimiser's own costs are rounded.
    pub(crate) fn is_too_dear_at(&self, offer: &Offer) -> bool {
        self.price_at(offer) > self.price_max
    }

    /// Whether a node with this offer may run the task: what the optimiser checks, for one pair.
    pub(crate) fn fits(&self, offer: &Offer) -> bool {
        offer.slots() > 0
            && self.memory_bytes <= offer.memory_bytes
            && offer.latency_ms <= Tier::default().terms().latency_ms_p95
            && !self.is_too_dear_at(offer)
            && (duration_ms(self.fuel_estimate) as f64 / speed(offer)).ceil() <= RUN_MS_MAX as f64
    }

    /// Whether a node may get it before it has room for it: what waits there can be taken back, which
    /// the mixnet has no way for.
    pub(crate) fn may_go_ahead(&self, offer: &Offer) -> bool {
        !self.privacy.needs_mixnet() && self.fits(offer)
    }

    /// The task as the optimiser sees it.
    pub(crate) fn to_placement_job(&self, id: TaskId, excluded: Vec<NodeId>) -> placement::Job {
        placement::Job {
            excluded,
            ..placement::Job::new(
                id,
                TASK_CPU_MILLIS,
                self.memory_bytes,
                duration_ms(self.fuel_estimate),
            )
        }
    }
}

/// How long `fuel` takes at the reference speed, at least one millisecond.
fn duration_ms(fuel: u64) -> u64 {
    fuel.div_ceil(REFERENCE_FUEL_PER_SECOND / 1000).max(1)
}

/// A node's speed in units of the reference.
pub(crate) fn speed(offer: &Offer) -> f64 {
    offer.fuel_per_second as f64 / REFERENCE_FUEL_PER_SECOND as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogcompute_schedule::{Instance, Sharing};
    use proptest::prelude::*;

    const ID: TaskId = TaskId::from_bytes([1; 16]);
    const NODE: NodeId = NodeId::from_bytes([2; 32]);

    fn task(fuel_estimate: u64, memory_bytes: u64, price_max: u128) -> Task {
        Task {
            job: JobId::from_bytes([0; 16]),
            priority: Priority::Normal,
            privacy: PrivacyLevel::Public,
            arrival: 0,
            spec: None,
            memory_bytes,
            fuel_estimate,
            price_max: Amount(price_max),
            state: TaskState::Queued { attempts: 0 },
            attempts: 0,
            avoid: BTreeSet::new(),
            told: None,
            paid: Amount::ZERO,
            lost: None,
        }
    }

    #[test]
    fn fuel_takes_at_least_a_millisecond_and_is_rounded_up() {
        assert_eq!(duration_ms(0), 1);
        assert_eq!(duration_ms(1_000_000), 1);
        assert_eq!(duration_ms(1_000_001), 2);
        assert_eq!(duration_ms(u64::MAX), u64::MAX.div_ceil(1_000_000));
    }

    #[test]
    fn a_node_is_too_dear_from_one_base_unit_over() {
        let offer = Offer {
            cpu_millis: 1_000,
            memory_bytes: 1,
            fuel_per_second: 1,
            price_per_gigafuel: Amount(10),
            latency_ms: 0.0,
        };
        assert!(!task(REFERENCE_FUEL_PER_SECOND, 1, 10).is_too_dear_at(&offer));
        assert!(task(REFERENCE_FUEL_PER_SECOND, 1, 9).is_too_dear_at(&offer));
        // The least that can be paid is one base unit.
        assert!(!task(0, 1, 1).is_too_dear_at(&offer));
    }

    fn any_size() -> impl Strategy<Value = u64> {
        prop_oneof![0..3_u64, 900..1_100_u64, any::<u64>(), Just(u64::MAX)]
    }

    proptest! {
        /// What a heartbeat is judged by must be what the optimiser will say, or tasks wait for
        /// ever at nodes that could take them.
        #[test]
        fn fitting_agrees_with_the_optimiser(
            cpu_millis in any_size(),
            memory_bytes in any_size(),
            fuel_per_second in any_size().prop_map(|speed| speed.max(1)),
            rate in 0..100_u128,
            latency_ms in 0.0..5_000.0,
            fuel_estimate in any_size(),
            memory_needed in any_size(),
            price_max in 1..1_000_u128,
        ) {
            let offer = Offer {
                cpu_millis,
                memory_bytes,
                fuel_per_second,
                price_per_gigafuel: Amount(rate),
                latency_ms,
            };
            prop_assert_eq!(offer.check(), Ok(()));
            let task = task(fuel_estimate, memory_needed, price_max);
            let node = placement::Node {
                speed: speed(&offer),
                latency_ms,
                trust: 0.5,
                ..placement::Node::new(NODE, cpu_millis, memory_bytes)
            };
            let excluded = if task.is_too_dear_at(&offer) { vec![NODE] } else { vec![] };
            let job = task.to_placement_job(ID, excluded);
            let placed = Instance::new(vec![job], vec![node], Sharing::Queued).is_ok();
            // A node without memory lends nothing, also to a task that needs none.
            prop_assert_eq!(task.fits(&offer), placed && memory_bytes > 0);
        }
    }
}
