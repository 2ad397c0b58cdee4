//! A running fog: nodes as processes, a coordinator on sockets, a whole fog inside one process, and
//! the `fogcompute` command.
//!
//! This crate decides nothing. It gives the rules sockets, disks, threads and a command line.
//!
//! Meet [`Fog`] first: it runs a WebAssembly task in this process, through the same coordinator and
//! ledger as a fog of many machines. [`run_node`] and [`CoordinatorService`] are the halves of a fog
//! of processes; [`cli`] is the command.
//!
//! ```
//! use fogcompute_node::{Fog, FogConfig};
//! use fogcompute_exec::{Limits, TaskSpec};
//!
//! let sum = include_bytes!("../../../examples/wasm/sum.wasm");
//! let fog = Fog::new(FogConfig { workers: 1, ..FogConfig::default() })?;
//! let spec = TaskSpec::new(&sum[..], [1, 2, 3].as_slice(), Limits::default())?;
//! assert_eq!(fog.run(spec)?.output, 6_u64.to_le_bytes());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod chat;
pub mod cli;
mod coordinate;
mod dao;
mod demo;
mod device;
mod epochs;
mod error;
mod files;
mod fog;
mod fogs;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod harvest;
mod health;
mod lane;
mod ledger;
mod mandelbrot;
mod mesh;
mod messages;
mod metrics;
mod mixnet;
mod mixnode;
mod network;
mod ping;
mod placing;
mod program;
mod protocol;
mod queue;
mod record;
mod report;
mod report_page;
mod run;
mod serve;
mod signals;
mod submit;
mod tasks;
mod trace;
mod worker;

pub use coordinate::{CoordinatorConfig, CoordinatorService, NodeRecord, Update};
pub use demo::{DemoConfig, DemoError, Kill, LendingAdvice, run_demo};
pub use device::Device;
pub use error::NodeError;
pub use fog::{Fog, FogCanceller, FogConfig, FogError, FogStats, FogTask, WORKERS_MAX};
pub use fogs::{FogCoordinatorConfig, FogFileError, TokenTerms};
pub use health::Unwell;
pub use mesh::{
    MeshError, MeshEvent, MeshFileEnd, MeshGroup, MeshHistory, MeshNode, MeshNodeConfig,
    MeshNodeStats, MeshTransport,
};
pub use mixnet::{
    MixnetClient, MixnetClientConfig, MixnetClientStats, MixnetError, MixnetMessage, MixnetNode,
    MixnetNodeConfig, Pending, ReplyBlocks, Restored,
};
pub use program::{FogAccess, FogCall, FogCoordinator, FogNode, FogWatch};
pub use protocol::{REPORT_LOG_BYTES_MAX, Refusal, Role};
pub use serve::{FogNodeStatus, NodeConfig, run_node};
pub use submit::{
    FogClient, FogClientConfig, FogClientError, FogTopology, JobOrder, JobTerms, NodeStatus,
    Reason, SubmittersConfig, TopologyNode, WaitingFor, WaitingTasks, Watch, Watched,
};
pub use worker::{
    TaskStatus, Worker, WorkerCall, WorkerConfig, WorkerError, WorkerHarvest, WorkerHost,
    WorkerJob, WorkerLog, WorkerStatus,
};
