//! The coordinator's rules: who is in the fog, which node gets which task, what happens when one
//! dies, and who is paid.
//!
//! A [`Coordinator`] is a sans-IO state machine. The host feeds it registrations, heartbeats, lost
//! connections, reports and time; it answers with [`Event`]s: send this task to that node, this job
//! is finished. Money moves through a [`Bank`], the ledger of the host.
//!
//! The walk of a job: [`Coordinator::submit`] admits it and reserves its price, task by task →
//! NSGA-II places the tasks on the nodes that lend compute now → [`Event::Dispatch`] → a
//! [`TaskReport`](fogcompute_exec::TaskReport) comes back → the node is paid for the work it did,
//! the rest of the reservation is released, its reputation grows. A node that dies loses its tasks
//! to others and some reputation; a report that arrives after that is refused.
//!
//! What happens is written to a [`Journal`] of the host before anybody hears of it:
//! [`Coordinator::flush`] writes, settles with the ledger, and lets the events out that depend on it.
//! [`Coordinator::recover`] goes on from what was written.
//!
//! What it does not do yet: run a task on several nodes and compare, authorise submitters.
//!
//! A φ-accrual [`Detector`] says who is suspect and who is gone, a circuit [`Breaker`] leaves nodes
//! alone that fail, [`Watermarks`] refuse work when there is too much, and [`routing`] gives tasks to
//! nodes one by one by one of six strategies where [`Placement::Routed`] is chosen.
//!
//! Round trips that the host measures give it and its nodes a [`Coordinate`] each, which routing by
//! proximity goes by. It counts what it does ([`metrics`]) and keeps snapshots of the [`topology`].
//! [`token`]s of submitters stand beside it, for its host.
//!
//! Meet [`Coordinator`] and [`JobSpec`] first.
//!
//! ```
//! use fogcompute_base::{AccountId, Instant, JobId, NodeId, OsEntropy, TaskId, UnixMillis};
//! use fogcompute_base::Priority;
//! use fogcompute_coord::{
//!     Config, Coordinator, Event, Host, JobSpec, MemoryJournal, Offer, PrivacyLevel, TaskOrder,
//!     genesis,
//! };
//! use fogcompute_exec::{Limits, TaskOutput, TaskReport, TaskSpec, Usage};
//! use fogcompute_ledger::{Amount, Book};
//!
//! let (now, wall, mut rng) = (Instant::ZERO, UnixMillis(1_700_000_000_000), OsEntropy);
//! let owner = AccountId::from_bytes([1; 16]);
//! let mut bank = Book::new();
//! bank.execute(&genesis(owner, Amount::from_credits(100)), wall)?;
//!
//! let mut host = Host { bank: &mut bank, rng: &mut rng, now, wall };
//!
//! let mut coordinator = Coordinator::new(Config::default())?;
//! let node = NodeId::from_bytes([2; 32]);
//! let offer = Offer { cpu_millis: 1000, memory_bytes: 64 << 20, fuel_per_second: 1_000_000,
//!     price_per_gigafuel: Amount::from_credits(1), latency_ms: 1.0 };
//! coordinator.register(node, offer, &mut host)?;
//!
//! let spec = TaskSpec::new(vec![0], vec![], Limits::default())?;
//! let task = TaskId::from_bytes([3; 16]);
//! let order = TaskOrder { id: task, spec, fuel_estimate: 1_000_000, price_max: Amount::from_credits(1) };
//! let job = JobSpec {
//!     id: JobId::from_bytes([4; 16]), owner, priority: Priority::Normal,
//!     privacy: PrivacyLevel::Private, tasks: vec![order],
//! };
//! coordinator.submit(job, &mut host)?;
//! let mut journal = MemoryJournal::default();
//! coordinator.flush(&mut journal, &mut bank, wall)?;
//! let dispatched = std::iter::from_fn(|| coordinator.poll_event())
//!     .find_map(|event| match event {
//!         Event::Dispatch { node, attempt, .. } => Some((node, attempt)),
//!         _ => None,
//!     });
//! assert_eq!(dispatched, Some((node, 1)));
//!
//! let usage = Usage { fuel: 500_000_000, ..Usage::default() };
//! let report = TaskReport { task, result: Ok(TaskOutput { output: b"done".to_vec(), usage }) };
//! let mut host = Host { bank: &mut bank, rng: &mut rng, now, wall };
//! let paid = coordinator.report(node, 1, report, &mut host)?;
//! coordinator.flush(&mut journal, &mut bank, wall)?;
//! assert_eq!(paid, Amount(Amount::from_credits(1).0 / 2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `testing` | the `conformance` module and `router_conformance!` |

mod admission;
mod bank;
mod breaker;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod coordinates;
mod coordinator;
mod detector;
mod error;
mod event;
mod index;
mod job;
mod journal;
mod kind;
pub mod metrics;
mod registry;
pub mod routing;
mod task;
pub mod token;
pub mod topology;

pub use admission::{Shed, Watermarks, WatermarksError};
pub use bank::{Bank, clearing_account, genesis, mint_account, node_account};
pub use breaker::{Breaker, BreakerConfig, BreakerConfigError, BreakerState, Permit};
pub use coordinates::{
    Coordinate, CoordinateError, ERROR_MAX, ERROR_MIN, HEIGHT_MS_MIN, MOVE_MS_MAX, POSITION_MS_MAX,
    ROUND_TRIPS_KEPT, RTT_MS_MAX, RoundTrips, SampleError,
};
pub use coordinator::{
    Config, Coordinator, ENDED_JOBS_MAX, ENDED_TASKS_MAX, Host, OPEN_TASKS_MAX, Placement,
    SNAPSHOT_INTERVAL, WAITING_MAX, WaitReason, Waiting,
};
pub use detector::{Detector, DetectorConfig, DetectorConfigError, Health, PHI_MAX, WINDOW_MAX};
pub use error::{
    CancelError, ConfigError, FlushError, Inconsistency, RecoverError, ReportError, SubmitError,
};
pub use event::{Event, LossReason};
pub use job::{JobSpec, JobSummary, TaskOrder, TaskView};
pub use journal::{
    Forgetful, Journal, MemoryJournal, Record, Stored, StoredJob, StoredNode, StoredTask,
};
pub use kind::{NodeKind, PrivacyLevel, Status, UnknownKind};
pub use registry::{NodeView, Offer, OfferError, RegisterError};
