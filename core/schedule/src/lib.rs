//! NSGA-II, placement of jobs on nodes, reputation.
//!
//! [`Instance`] holds the jobs and nodes of one batch and [`Instance::place`] finds a [`Plan`]: the
//! placements that no other beats in completion time, load balance, trust and cost at once, and one
//! chosen among them. Underneath is [`evolution`], general NSGA-II and its kin for any problem, and
//! [`indicators`] says how good a front is.
//! [`batch`] is placement as numbers alone, for objectives and constraints of your own, with a search
//! that finds far better fronts than NSGA-II; [`fogp`] is a family of problems to measure it with.
//! [`Reputation`] turns a node's record into the trust that placement reads.
//!
//! Nothing here dispatches a job, reserves capacity or learns of an outcome; that is the
//! coordinator's. All arithmetic that reaches a result is the same on every platform.
//!
//! ```
//! use fogcompute_base::{NodeId, Priority, TaskId};
//! use fogcompute_schedule::evolution::Nsga2;
//! use fogcompute_schedule::{Instance, Job, Node, Sharing};
//! use rand_chacha::rand_core::SeedableRng;
//!
//! let node = |id, trust| Node {
//!     id: NodeId::from_bytes([id; 32]),
//!     cpu_millis_free: 1_000,
//!     cpu_millis_total: 1_000,
//!     memory_bytes_free: 1 << 30,
//!     speed: 1.0,
//!     latency_ms: 10.0,
//!     trust,
//!     price_per_cpu_second: 3,
//! };
//! let tile = |id| Job {
//!     id: TaskId::from_bytes([id; 16]),
//!     cpu_millis: 1_000,
//!     memory_bytes: 64 << 20,
//!     duration_ms: 500,
//!     priority: Priority::Normal,
//!     min_trust: 0.5,
//!     max_cost: None,
//!     max_latency_ms: None,
//!     excluded: vec![],
//! };
//! let nodes = vec![node(1, 0.9), node(2, 0.9), node(3, 0.2)];
//! let instance = Instance::new((0..6).map(tile).collect(), nodes, Sharing::Queued)?;
//! let config = Nsga2 { population: 20, generations: 20, ..Nsga2::default() };
//! let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
//! let plan = instance.place(&config, &mut rng)?;
//! // Three tiles each for the trusted nodes, none for the third: 10 ms away, done after 500,
//! // 1000 and 1500 ms.
//! assert_eq!(plan.chosen().objectives[0], 1_010.0);
//! println!("{}", plan.explain());
//! # Ok::<(), fogcompute_schedule::PlacementError>(())
//! ```

pub mod evolution;
pub mod indicators;
mod placement;
mod random;
mod reputation;
mod sort;

pub use placement::{
    Constraint, Effort, Explanation, FRONT_MAX, Instance, JOBS_MAX, Job, NODES_MAX, Node,
    OBJECTIVE_COUNT, OBJECTIVE_NAMES, Placement, PlacementError, Placer, PlacerError, Plan, Point,
    Preference, PreferenceError, RUN_MS_MAX, Rates, SearchError, Sharing, TradeOff, batch, fogp,
    hypervolume,
};
pub use reputation::{EVIDENCE_MAX, LOWER_BOUND_QUANTILE, Reputation, ReputationError};
pub use sort::{SortError, non_dominated_sort};
