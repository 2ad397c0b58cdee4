//! NSGA-II, placement of jobs on nodes, a queue of jobs over time, reputation.
//!
//! [`Instance`] holds the jobs and nodes of one batch and [`Instance::place`] finds a [`Plan`]: the
//! placements that no other beats in completion time, load balance, trust, cost and price at once,
//! and one chosen among them. Underneath is [`evolution`], general NSGA-II and its kin for any problem, and
//! [`indicators`] says how good a front is.
//! [`batch`] is placement as numbers alone, for objectives and constraints of your own, with a search
//! that finds far better fronts than NSGA-II; [`fogp`] is a family of problems to measure it with.
//! [`queue`] decides over time which job waits, starts or gives way; [`workload`] reads logs and
//! tables of jobs. [`Reputation`] turns a node's record into the trust that placement reads.
//!
//! Nothing here dispatches a job or measures an outcome; that is the coordinator's. All arithmetic that reaches a result is the same on every platform.
//!
//! ```
//! use fogcompute_base::{NodeId, TaskId};
//! use fogcompute_schedule::evolution::Nsga2;
//! use fogcompute_schedule::{Instance, Job, Node, Sharing};
//! use rand_chacha::rand_core::SeedableRng;
//!
//! let node = |id, trust| Node {
//!     latency_ms: 10.0,
//!     trust,
//!     price_per_cpu_second: 3,
//!     ..Node::new(NodeId::from_bytes([id; 32]), 1_000, 1 << 30)
//! };
//! let tile = |id| Job {
//!     min_trust: 0.5,
//!     ..Job::new(TaskId::from_bytes([id; 16]), 1_000, 64 << 20, 500)
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
pub mod queue;
mod random;
mod reputation;
mod sort;
pub mod workload;

pub use placement::{
    Constraint, Effort, Explanation, FRONT_MAX, Instance, JOBS_MAX, Job, Lacks, NODES_MAX, Node,
    OBJECTIVE_COUNT, OBJECTIVE_NAMES, PartialPlan, Placement, PlacementError, Placer, PlacerError,
    Plan, Point, Preference, PreferenceError, RUN_MS_MAX, Rates, Reason, Rule, SearchError,
    Sharing, Spread, TradeOff, batch, fogp, hypervolume, strategy,
};
pub use reputation::{EVIDENCE_MAX, LOWER_BOUND_QUANTILE, Reputation, ReputationError};
pub use sort::{SortError, non_dominated_sort};
