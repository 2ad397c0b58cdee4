//! Which job runs on which node.

mod archive;
pub mod batch;
mod descend;
mod evaluate;
mod explore;
mod feasible;
pub mod fogp;
mod hypervolume;
mod instance;
mod limits;
mod partial;
mod placer;
mod plan;
mod relations;
mod room;
mod search;
pub mod strategy;
mod tier;

pub use explore::{Effort, FRONT_MAX, Placement, SearchError};
pub use hypervolume::hypervolume;
pub use instance::{
    Constraint, Instance, JOBS_MAX, Job, Lacks, NODES_MAX, Node, PlacementError, RUN_MS_MAX, Rule,
    Sharing, Spread,
};
pub(crate) use instance::{Demands, Pair, check_jobs, check_nodes, eligible};
pub use partial::{PartialPlan, Reason};
pub(crate) use placer::RATE_MAX;
pub use placer::{Placer, PlacerError, Rates};
pub use plan::{Explanation, Plan, Point, Preference, PreferenceError, TradeOff};
pub(crate) use relations::Relations;

/// How many objectives a placement has.
pub const OBJECTIVE_COUNT: usize = 5;

/// The objectives of a placement in their order. All are minimised. A job counts once for each of
/// its replicas.
///
/// - `completion_ms`: mean time from now until a job is done and its node has been reached, in
///   milliseconds, fetching its input included. A job of one priority counts twice as much as one of
///   the next lower priority.
/// - `imbalance`: population standard deviation over all nodes of their use, 0 to a half. Use is the
///   share of processors taken when jobs share them, and the share of the time until the last job
///   is done when jobs queue.
/// - `distrust`: mean of one minus trust, weighted like completion.
/// - `cost`: sum of what jobs cost by the prices of nodes, in base units.
/// - `price`: sum of what jobs cost by the asks of nodes on the market, each multiplied by what the
///   job's tier costs, in base units.
pub const OBJECTIVE_NAMES: [&str; OBJECTIVE_COUNT] =
    ["completion_ms", "imbalance", "distrust", "cost", "price"];
