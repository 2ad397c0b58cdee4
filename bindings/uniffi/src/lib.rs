//! Swift and Kotlin bindings: the facade's API in the types that UniFFI carries.
//!
//! Nothing is decided here. Each function converts its arguments, calls one function of
//! [`fogcompute`], and converts the result. What each language adds in its own idiom, such as
//! waiting for a task in a way that can be cancelled, stands beside the generated sources in
//! `mobile/swift` and `mobile/kotlin`.
//!
//! | in Rust | in Swift and Kotlin |
//! |---|---|
//! | identifiers | hexadecimal text: 64 digits for nodes and files, 16 for peers of a mesh, 32 for all others |
//! | amounts | decimal text of base units |
//! | keys, packets, messages, modules | `Data`, `ByteArray` |
//! | contacts, addresses | text |
//! | durations that go in | whole milliseconds |
//! | durations that come out | `TimeInterval`, `java.time.Duration` |
//! | errors | `FogError`, `FogException`: one case for each [`ErrorCode`] |
//!
//! Every function that could panic returns a `Result`: a panic then arrives as
//! [`FogError::Panic`], where Swift would otherwise end the process.

mod client;
mod coordination;
mod credits;
mod error;
mod fog;
mod mesh;
mod mixnode;
mod optimise;
mod packets;
mod policy;
mod topology;
mod waiting;
mod worker;

pub use client::{
    Cover, MixnetClient, MixnetClientConfig, MixnetClientStats, MixnetMessage, PendingAnswer,
    PendingDelivery, Readiness,
};
pub use coordination::{
    FogClient, FogCoordinator, FogCoordinatorOptions, FogEvent, FogJobOptions, FogMember, FogNode,
    FogNodeOptions, FogNodeStatus, FogPlace, FogSnapshot, FogTokenOptions, FogTopology, FogWatch,
    JobStatus, JobTask, PendingJob,
};
pub use credits::{
    Account, AccountLimits, Ballot, Checkpoint, DelegatedPart, DeployedAgent, EconomyOperator,
    EconomyParameter, EconomyReceipt, EconomyRequest, EconomyStake, GovernanceMember,
    GovernanceOverview, GovernanceRequest, Ledger, LedgerEconomy, LedgerEntry, LedgerGovernance,
    LedgerHead, LedgerOperation, Memo, ParameterUnit, Proposal, ProposalAction, ProposalContent,
    Receipt, Resolution, RoleHolder, ScheduledUpgrade, Standing, Tally, TextFormat, Unbonding,
    Verification, VotingPower, batch_message, default_economy_rules, owner_key, purse_account,
    sign_batch, verify_checkpoint,
};
pub use error::{ErrorCode, ErrorCodeEntry, FogError, error_codes, panic_on_purpose};
pub use fog::{Fog, FogStats, FogTask, Limits, TaskOutput};
pub use mesh::{
    BleRadio, MeshConversation, MeshConversationEntry, MeshEvent, MeshFile, MeshFileEnd, MeshFog,
    MeshGroup, MeshMessage, MeshNode, MeshNodeConfig, MeshNodeStats, MeshPeer, MeshProtection,
    RadioError, RadioInbox, RadioLimits, mesh_fog_key,
};
pub use mixnode::{MixnetNode, MixnetNodeConfig, MixnetNodeStats};
pub use optimise::{
    Assignment, Ended, Evaluation, Genome, Job, LeftOut, LeftOutReason, Node, Nsga2, PartialPlan,
    Plan, Point, Preference, Problem, ProblemError, Removed, Rule, Search, SearchConfig, Selection,
    Spread, Stagnation, Terms, hypervolume, igd, igd_plus, minimize, non_dominated_sort, place,
    place_what_fits, reference_directions, spacing, spread, tier_terms,
};
pub use packets::{
    BatchResult, Hop, PacketOrder, PrivateKey, Processed, ReplyKey, ReplyPacket, Sphinx,
    SphinxProcessor, Surb, Unwrapped,
};
pub use policy::{BatteryProbe, Decision, DeviceState, HarvestPolicy, ProbeError, Reason};
pub use topology::{Descriptor, Topology, TopologyOptions, authority_of};
pub use worker::{DeviceProbe, TaskStatus, Worker, WorkerStatus, WorkerTask};

uniffi::setup_scaffolding!();

/// Version of the library.
#[uniffi::export]
pub fn version() -> String {
    fogcompute::version().to_owned()
}
