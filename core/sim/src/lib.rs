//! Whole fogs in one thread, moved by one seed.
//!
//! A [`World`] has processes that send each other messages, keep things on disks that survive
//! them, and read clocks that are not right. Links delay, lose, double and reorder; processes die,
//! in any commit too, and begin again; disks are full for a while; networks part and heal. All of
//! it follows from one seed, so a run that went wrong can be run again, and its
//! [`World::fingerprint`] shows that it was the same.
//!
//! A [`Fog`] is such a world with a coordinator, nodes and submitters in it, and with checkers that
//! look at all that leaves and enters the coordinator: every admitted task ends, nothing happens
//! twice, no node is sent more than it lends, the ledger adds up, and what is over stays over.
//!
//! For tests and measurements: no other crate's code depends on it.

mod chance;
mod clock;
mod disk;
mod fault;
mod fingerprint;
mod fog;
mod link;
mod mesh;
mod process;
mod trace;
mod world;

pub use chance::{Chance, below, between, chance, exponential, happens};
pub use clock::{ClockConfig, DRIFT_PPM_MAX, WALL_AT_START};
pub use disk::{CrashPoint, Disk, DiskError};
pub use fault::{Cut, Fault};
pub use fingerprint::Fingerprint;
pub use fog::{
    BankError, COORDINATOR, CoordinatorKept, CoordinatorProcess, CoordinatorSetup, End, Fact,
    Failure, Figures, Flaw, Fog, FogMessage, JobShape, Kept, Lie, Member, Minute, Node, NodeKept,
    NodeSetup, Plan, PlannedNode, PlannedSubmitter, Run, Setup, Submitter, SubmitterKept,
    SubmitterSetup, Times, Violation, Work, job_id, job_of, node_id, process_of, result_of,
    run_time, task_id,
};
pub use link::LinkConfig;
pub use mesh::{
    Meeting, Meetings, MeshFigures, MeshPlan, MeshViolation, Mobility, Point, Radio, Wall,
    radio_microjoules,
};
pub use process::{Context, Message, Process, ProcessId};
pub use trace::Trace;
pub use world::{Counts, Observer, PARTITIONS_MAX, World};
