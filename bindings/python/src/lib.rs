//! The native half of the Python package `fogcompute`.
//!
//! Each function converts its arguments, calls the facade once without the interpreter's lock and
//! converts the result. Errors become the exceptions of `error.rs`, made from the facade's list of
//! codes; a panic becomes `PanicError`. The type stubs are `python/fogcompute/_native.pyi`.

mod asyncio;
mod command;
mod convert;
mod coordination;
mod credits;
mod error;
mod fog;
mod handle;
mod mesh;
mod mixnet;
mod optimise;
mod packets;
mod placement;
mod policy;
mod value;
mod worker;

use pyo3::prelude::*;

/// The module that Python imports. Nothing in it is for users: they import `fogcompute`.
#[pymodule]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::asyncio::_stop_async;
    #[pymodule_export]
    use crate::command::_run_command;
    #[pymodule_export]
    use crate::coordination::{
        FogClient, FogCoordinator, FogEvent, FogMember, FogNode, FogNodeStatus, FogPlace,
        FogSnapshot, FogTopology, FogWatch, JobStatus, JobTask,
    };
    #[pymodule_export]
    use crate::credits::{
        Account, AccountLimits, Action, Agent, Ballot, Checkpoint, Economy, EconomyReceipt,
        Entries, Entry, Governance, GovernanceOverview, Head, Ledger, Member, Operation, Operator,
        Parameter, Proposal, Receipt, Receipts, Resolution, SignedBatch, Stake, Standing, Tally,
        Unbonding, Upgrade, Verification, VotingPower, owner_key, purse_account,
    };
    #[pymodule_export]
    use crate::fog::{Fog, FogStats, FogTask, Limits, TaskOutput, Usage};
    #[pymodule_export]
    use crate::mesh::{MeshEvent, MeshGroup, MeshMessage, MeshNode, MeshPeer, RadioInbox};
    #[pymodule_export]
    use crate::mixnet::{
        Descriptor, Message, MixnetClient, MixnetClientStats, MixnetNode, MixnetNodeStats,
        ReplyBlocks, Restored, Topology,
    };
    #[pymodule_export]
    use crate::optimise::{
        _Search, _directions, _hypervolume, _igd, _igd_plus, _ranks, _spacing, _spread, Nsga2,
    };
    #[pymodule_export]
    use crate::packets::{
        Batch, Deliver, Forward, Hop, PrivateKey, ProcessorStats, Reply, ReplyKey, Sphinx,
        SphinxProcessor,
    };
    #[pymodule_export]
    use crate::placement::{
        _terms, AntiAffinity, Capacity, Crowded, GoesWith, Job, Lacks, Late, Lexicographic,
        NoCommonNode, NoNode, NoRoom, Node, PartialPlan, Plan, Point, Replicas, Spread, Terms,
        Weights, place, place_what_fits,
    };
    #[pymodule_export]
    use crate::policy::{Battery, Budget, Decision, DeviceState, HarvestPolicy, Reason};
    #[pymodule_export]
    use crate::worker::{TaskLog, TaskStatus, Worker, WorkerStatus, WorkerTask};
    #[pymodule_export]
    use crate::{_panic, _panic_async, version};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("OBJECTIVE_NAMES", fogcompute::schedule::OBJECTIVE_NAMES)?;
        module.add("_GENES_MAX", fogcompute::schedule::evolution::GENES_MAX)?;
        crate::error::register(module)?;
        // PyO3 lists the names for `import *`, which the stubs would have to repeat.
        module.delattr("__all__")
    }
}

/// Version of the library.
#[pyfunction]
fn version() -> &'static str {
    fogcompute::version()
}

/// Panics, for the test that a panic becomes an exception.
#[pyfunction]
fn _panic(py: Python<'_>) -> PyResult<()> {
    error::call(py, || {
        fogcompute::panic_on_purpose();
        Ok(())
    })
}

/// Panics in a future, for the test that this too becomes an exception.
#[pyfunction]
fn _panic_async(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let event_loop = asyncio::event_loop(py)?;
    asyncio::awaitable(&event_loop, async {
        fogcompute::panic_on_purpose();
        Ok(())
    })
}
