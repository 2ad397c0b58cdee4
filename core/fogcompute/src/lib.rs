//! Privacy-preserving fog computing in one crate: mixnet, harvesting, placement, sandboxed
//! execution, credits.
//!
//! This is the facade. Its own types are the ones that every language binding offers; the domain
//! crates stand behind it as modules, for Rust programs that want more.
//!
//! | what | type | domain crate |
//! |---|---|---|
//! | Sphinx packets | [`Sphinx`], [`SphinxProcessor`] | [`mix`] |
//! | a mixnet: nodes and clients | [`MixnetNode`], [`MixnetClient`] | [`mix`], [`net`], [`node`] |
//! | a peer of a BitChat mesh | [`MeshNode`] | [`bitchat`], [`transport`], [`net`], [`node`] |
//! | multi-objective optimisation | [`minimize`], [`Search`] | [`schedule`] |
//! | how good a front is | [`indicators`], [`non_dominated_sort`] | [`schedule`] |
//! | placement of jobs on nodes | [`place`], [`Placing`] | [`schedule`] |
//! | double-entry credits | [`Ledger`] | [`ledger`], [`store`] |
//! | staking and earning of credits | [`LedgerEconomy`] | [`ledger`] |
//! | proposals, votes and delegation | [`LedgerGovernance`] | [`ledger`] |
//! | may this device lend compute | [`HarvestPolicy`] | [`harvest`] |
//! | a fog in this process | [`Fog`] | [`node`], [`coord`], [`exec`], [`runtime`] |
//! | tasks that this device keeps and does when its owner permits | [`Worker`] | [`node`], [`exec`], [`harvest`], [`runtime`], [`store`] |
//! | a fog of processes: its coordinator, a node, and who submits | [`FogCoordinator`], [`FogNode`], [`FogAccess`] | [`node`], [`coord`], [`net`], [`store`] |
//! | the same on tokio | [`node::CoordinatorService`], [`node::run_node`], [`node::FogClient`] | [`coord`], [`net`], [`store`] |
//! | errors with stable codes | [`Error`], [`ErrorCode`] | |
//!
//! ```
//! use fogcompute::{Fog, FogConfig, Limits, TaskSpec};
//!
//! let sum = include_bytes!("../../../examples/wasm/sum.wasm");
//! let fog = Fog::new(FogConfig::default())?;
//! let spec = TaskSpec::new(&sum[..], [1, 2, 39].as_slice(), Limits::default())?;
//! assert_eq!(fog.run(spec)?.output, 42_u64.to_le_bytes());
//! # Ok::<(), fogcompute::Error>(())
//! ```

mod coordination;
mod credits;
mod error;
mod mesh;
mod mixnet;
mod optimise;
mod packets;
mod policy;

pub use fogcompute_base as base;
pub use fogcompute_coord as coord;
pub use fogcompute_exec as exec;
pub use fogcompute_harvest as harvest;
pub use fogcompute_ledger as ledger;
pub use fogcompute_mesh as bitchat;
pub use fogcompute_mix as mix;
pub use fogcompute_net as net;
pub use fogcompute_node as node;
pub use fogcompute_runtime as runtime;
pub use fogcompute_schedule as schedule;
pub use fogcompute_store as store;
pub use fogcompute_transport as transport;

pub use coordination::{
    FogEventKind, FogRecord, FogTaskState, action_named, mix_layer, output_of, placement_named,
    priority_named, privacy_named, role_of,
};
pub use credits::{
    EconomyOperator, EconomyReceipt, EconomyStake, GovernanceMember, GovernanceOverview,
    GovernanceProposal, LEDGER_PAGE_MAX, Ledger, LedgerEconomy, LedgerEntry, LedgerGovernance,
    Moment, action_from_json, action_to_json, batch_message, decode_batch, decode_checkpoint,
    earn_request, economy_from_json, economy_to_json, governance_records_to_json, moved, owner_key,
    proposal_from_json, proposal_to_json, purse_account, sign_batch, verify_checkpoint,
};
pub use error::{Error, ErrorCode};
pub use fogcompute_base::{
    AccountId, Domain, JobId, NodeId, Preemption, TaskId, Terms, Tier, TransferId,
};
pub use fogcompute_exec::{Limits, TaskError, TaskOutput, TaskSpec, Usage};
pub use fogcompute_harvest::{
    Battery, BatteryProbe, Decision, DeviceClass, DeviceState, HarvestPolicy, Network, ProbeError,
    Verdict,
};
pub use fogcompute_ledger::dao::{
    Action as ProposalAction, Ballot, Choice, Content as ProposalContent, Holder as RoleHolder,
    Operation as GovernanceRequest, Part as DelegatedPart, ProposalKind, ProposalState, Role,
    Scope as PauseScope, Standing as VotingPower, Tally, Weighing, Weight,
};
pub use fogcompute_ledger::economy::{Economy, Parameter, Request as EconomyRequest, Unit};
pub use fogcompute_ledger::staking::{Evidence, Unbonding};
pub use fogcompute_ledger::{
    Account, AccountKind, Amount, Limits as AccountLimits, Operation, Ppm, PublicKey as OwnerKey,
    Receipt, SignedBatch, SignedCheckpoint,
};
pub use fogcompute_mix::{
    Contact, CoverConfig, Descriptor, Hop, MessageId, NodeRef, PowerClass, PrivateKey, Processed,
    PublicKey, ReplayTag, ReplyKey, StoreKey, SurbId, TopologyFile, Unwrapped,
};
pub use fogcompute_net::EngineStats;
pub use fogcompute_node::{
    Fog, FogAccess, FogCall, FogCanceller, FogClientConfig, FogConfig, FogCoordinator,
    FogCoordinatorConfig, FogNode, FogNodeStatus, FogStats, FogTask, FogTopology, FogWatch,
    JobOrder, JobTerms, MeshEvent, MeshFileEnd, MeshGroup, MeshHistory, MeshNode, MeshNodeConfig,
    MeshNodeStats, MeshTransport, MixnetClient, MixnetClientConfig, MixnetClientStats,
    MixnetMessage, MixnetNode, MixnetNodeConfig, NodeConfig, NodeStatus, Pending, ReplyBlocks,
    Restored, TaskStatus, TokenTerms, TopologyNode, WaitingFor, WaitingTasks, Worker, WorkerCall,
    WorkerConfig, WorkerHarvest, WorkerHost, WorkerJob, WorkerLog, WorkerStatus,
};
pub use fogcompute_schedule::evolution::{
    BatchProblem, Ended, Front, Individual, Nsga2, OneByOne, Problem, Rates, Selection, Settings,
    Stagnation, Variable, das_dennis,
};
pub use fogcompute_schedule::strategy::Name as Strategy;
pub use fogcompute_schedule::{
    Constraint, PartialPlan, Plan, Point, Preference, Sharing, indicators, non_dominated_sort,
};
pub use fogcompute_store::{Durability, LedgerOptions, TextFormat};
pub use mesh::{HostRadio, MeshKind, MeshRecord, host_radio};
pub use mixnet::{TopologyOptions, topology, verify_topology};
pub use optimise::{
    Genome, Placing, Search, SearchConfig, SearchFailure, minimize, place, place_while,
};
pub use packets::{Opened, ProcessorStats, Sphinx, SphinxProcessor, Step};
pub use policy::{
    POLICY_ERROR_LINE_CHARS_MAX, decide, decide_with_probe, policy_from_toml, policy_from_toml_over,
};

/// Version of the library, as in its package.
#[must_use]
pub const fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Panics. The bindings' tests call it to prove that a panic becomes an error of their language.
///
/// # Panics
/// Always.
#[doc(hidden)]
pub fn panic_on_purpose() {
    panic!("panic on purpose");
}
