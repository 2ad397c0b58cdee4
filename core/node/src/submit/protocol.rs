//! What a submitter and a coordinator say to each other.
//!
//! Both sides send messages, each cut into frames of at most [`FRAME_BYTES`]. Integers are big-endian,
//! in the encoding of [`fogcompute_base::wire`].
//!
//! | tag | direction | frame |
//! |---|---|---|
//! | 1 | submitter → coordinator | begins a request: number `u64`, [`Call`], bytes of the body `u32`, its first bytes |
//! | 2 | submitter → coordinator | its next bytes |
//! | 129 | coordinator → submitter | begins an answer: number of the request `u64`, bytes of the body `u32`, its first bytes |
//! | 130 | coordinator → submitter | its next bytes |
//!
//! Each side sends one message after the other; answers come in any order. The call is signed over the
//! body of its request and names its action. Bodies of requests:
//!
//! | tag | action | body |
//! |---|---|---|
//! | 1 | submit | a job, see [`JobOrder`]; answer 1 |
//! | 2 | query | job: how it stands; answer 1 |
//! | 3 | query | job: its tasks; answer 2 |
//! | 4 | query | task: how it stands; answer 2, with one |
//! | 5 | query | most jobs `u16`: the latest of the account; answer 3 |
//! | 6 | query | task: what it returned; answer 4 |
//! | 7 | cancel | job; answer 5 |
//! | 8 | cancel | task; answer 5 |
//! | 9 | query | nodes; answer 6 |
//! | 10 | drain | node; answer 7 |
//! | 11 | drain | node, to take tasks again; answer 7 |
//! | 12 | query | events after number `u64`, most of them `u16`, milliseconds to wait for one `u32`; answer 8 |
//! | 13 | query | metrics; answer 9 |
//! | 14 | query | task: what it said; answer 10 |
//! | 15 | query | topology; answer 11 |
//! | 16 | query | job: why its tasks wait; answer 12 |
//!
//! Bodies of answers:
//!
//! | tag | body |
//! |---|---|
//! | 1 | a job |
//! | 2 | `u16` count, tasks |
//! | 3 | `u16` count, jobs |
//! | 4 | a report, as [`TaskReport::encode`] |
//! | 5 | `u32` tasks that were ended by it |
//! | 6 | `u16` count, nodes |
//! | 7 | done |
//! | 8 | number of the last event looked at `u64`, events that are forgotten `u64`, `u16` count, events |
//! | 9 | text |
//! | 10 | text |
//! | 11 | a topology, see [`topology`](super::topology) |
//! | 12 | `u16` count, tasks that wait, see [`waiting`](super::waiting) |
//! | 255 | refused: reason `u8`, see [`Reason`]; text for people |

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use fogcompute_base::limits::{JOB_TASKS_MAX, MODULE_BYTES_MAX};
use fogcompute_base::wire::{DecodeError, Reader, Writer};
use fogcompute_base::{AccountId, Digest, JobId, NodeId, Priority, TaskId, UnixMillis};
use fogcompute_coord::token::{Action, Call, TokenError};
use fogcompute_coord::{JobSummary, PrivacyLevel, Status, TaskOrder};
use fogcompute_exec::{TaskReport, TaskSpec, TaskState};
use fogcompute_ledger::Amount;
use fogcompute_store::{JobChange, JobEvent, JobEvents, JobRow, TaskRow};
use thiserror::Error;

use super::topology::{FogTopology, read_topology, write_topology};
use super::waiting::{WaitingTasks, read_all_waiting, write_waiting};
use crate::protocol::{REPORT_LOG_BYTES_MAX, Role};

/// Longest frame, in bytes: one message of Noise.
pub(crate) const FRAME_BYTES: usize = 64_000;

/// Longest body of a request, in bytes: a job with its modules and inputs.
pub(crate) const REQUEST_BYTES_MAX: usize = 64 << 20;

/// Longest body of an answer, in bytes.
pub(crate) const ANSWER_BYTES_MAX: usize = 2 << 20;

/// Most modules of one job: one for each task.
const MODULES_MAX: usize = JOB_TASKS_MAX;

/// Most jobs in one answer.
pub(crate) const JOBS_MAX: u16 = 1_000;

/// Most events in one answer.
pub(crate) const EVENTS_MAX: u16 = 1_000;

/// Longest time a request may wait for an event, in milliseconds.
pub(crate) const WAIT_MS_MAX: u32 = 60_000;

/// Most nodes in one answer.
pub(super) const NODES_MAX: usize = 4_096;

/// Longest text of metrics, in bytes.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// Longest text of a refusal, in bytes.
pub(super) const SAID_BYTES_MAX: usize = 1 << 10;

/// A job, as its submitter orders it. Who pays is the account of the token.
#[derive(Clone, Debug)]
pub struct JobOrder {
    /// Names the job. Submitted once more, it is the same job.
    pub id: JobId,
    /// How urgent it is.
    pub priority: Priority,
    /// How well its tasks are hidden.
    pub privacy: PrivacyLevel,
    /// What to run. Tasks of one module share it.
    pub tasks: Vec<TaskOrder>,
}

impl PartialEq for JobOrder {
    fn eq(&self, other: &Self) -> bool {
        let parts = |it: &TaskOrder| (it.id, it.fuel_estimate, it.price_max);
        (self.id, self.priority, self.privacy) == (other.id, other.priority, other.privacy)
            && self.tasks.len() == other.tasks.len()
            && (self.tasks.iter().zip(&other.tasks))
                .all(|(a, b)| parts(a) == parts(b) && a.spec == b.spec)
    }
}

/// A node of the fog, as its coordinator knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeStatus {
    /// Which node.
    pub node: NodeId,
    /// What it does.
    pub role: Role,
    /// Where it accepts links.
    pub address: SocketAddr,
    /// How it is doing. A mixnode is active once the way to it is known, and suspect before.
    pub status: Status,
    /// Whether it is left alone because it failed at its tasks.
    pub barred: bool,
    /// Thousandths of a processor that it lends.
    pub cpu_millis: u64,
    /// Memory that it lends, in bytes.
    pub memory_bytes: u64,
    /// Fuel one of its processors burns in a second.
    pub fuel_per_second: u64,
    /// Base units it asks for 10⁹ fuel.
    pub price_per_gigafuel: Amount,
    /// Time of a message to it and back, in milliseconds.
    pub latency_ms: f64,
    /// How likely it is to finish what it takes, 0 to 1.
    pub trust: f64,
    /// Tasks it has.
    pub running: u32,
    /// Tasks that wait for it.
    pub waiting: u32,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// Why a coordinator refuses what a submitter asks for. The number is the reason on the wire and
        /// never changes.
        #[non_exhaustive]
        #[derive(Clone, Copy, Debug, Eq, Error, Hash, Ord, PartialEq, PartialOrd)]
        #[repr(u8)]
        pub enum Reason {
            $($(#[$doc])* #[error($text)] $name = $code,)*
        }

        impl Reason {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

reasons! {
    /// The call is for another coordinator.
    Elsewhere = 1, "the call is for another coordinator";
    /// The token was issued by somebody who may not.
    UnknownIssuer = 2, "the token's issuer may not issue tokens here";
    /// The token is not valid yet.
    NotYetValid = 3, "the token is not valid yet";
    /// The token is no longer valid. Ask its issuer for another.
    Expired = 4, "the token has expired";
    /// The token does not permit that.
    NotPermitted = 5, "the token does not permit that";
    /// The call was signed too long ago, or in the future: look at the clocks.
    Stale = 6, "the call was signed at another time";
    /// The issuer did not sign the token.
    ForgedToken = 7, "the token is forged";
    /// The submitter did not sign the call, or its body was changed.
    ForgedCall = 8, "the call is forged";
    /// The call was made before.
    Replayed = 9, "the call was made before";
    /// The token's tasks are used up.
    TasksExceeded = 10, "the token's tasks are used up";
    /// What may be spent with the token is used up.
    SpendExceeded = 11, "what may be spent with the token is used up";
    /// The submitter made too many calls within a short time. Try again later.
    TooManyCalls = 12, "too many calls within a short time";
    /// The coordinator remembers as many calls or tokens as it can. Try again later.
    GateFull = 13, "the coordinator remembers as many calls as it can";
    /// The coordinator takes no calls of submitters.
    Closed = 14, "the coordinator takes no calls";
    /// The bytes are no request, or one whose action is not the call's.
    Protocol = 20, "no such request";
    /// The request is longer than the coordinator takes.
    TooLong = 21, "the request is too long";
    /// The job has no task.
    NoTasks = 30, "the job has no task";
    /// The job has too many tasks.
    TooManyTasks = 31, "the job has too many tasks";
    /// Another job of that id was submitted before.
    JobTaken = 32, "another job has that id";
    /// Another task of that id was submitted before.
    TaskTaken = 33, "another task has that id";
    /// Too many tasks are open for the job's priority. Submit again when some have ended.
    Shed = 34, "too many tasks are open";
    /// No node of the fog could take one of the tasks.
    Unroutable = 35, "no node could take a task of it";
    /// The coordinator cannot write down what happens. Try again later.
    Stalled = 36, "the coordinator cannot write down what happens";
    /// The ledger does not hold the price back.
    Funds = 37, "the ledger does not hold the price back";
    /// What a task should run is no WebAssembly module.
    NoModule = 38, "what a task should run is no WebAssembly module";
    /// The account has no such job.
    UnknownJob = 40, "there is no such job";
    /// The account has no such task.
    UnknownTask = 41, "there is no such task";
    /// The task has not ended.
    NotEnded = 42, "the task has not ended";
    /// The task ended without a result, or its result is kept no more.
    NoResult = 43, "the task ended without a result, or its result is kept no more";
    /// No such node is there.
    UnknownNode = 44, "there is no such node";
    /// The coordinator's files cannot be read.
    Storage = 50, "the coordinator's files cannot be read";
}

impl Reason {
    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|it| *it as u8 == code)
    }
}

impl From<&TokenError> for Reason {
    fn from(error: &TokenError) -> Self {
        match error {
            TokenError::Elsewhere { .. } => Self::Elsewhere,
            TokenError::UnknownIssuer { .. } => Self::UnknownIssuer,
            TokenError::NotYetValid { .. } => Self::NotYetValid,
            TokenError::Expired { .. } => Self::Expired,
            TokenError::NotPermitted { .. } => Self::NotPermitted,
            TokenError::Stale { .. } => Self::Stale,
            TokenError::ForgedToken => Self::ForgedToken,
            TokenError::ForgedCall => Self::ForgedCall,
            TokenError::Replayed => Self::Replayed,
            TokenError::TasksExceeded { .. } => Self::TasksExceeded,
            TokenError::SpendExceeded { .. } => Self::SpendExceeded,
            TokenError::TooManyCalls { .. } => Self::TooManyCalls,
            // There is one more in this workspace.
            _ => Self::GateFull,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Request {
    Submit(JobOrder),
    Job(JobId),
    Tasks(JobId),
    Task(TaskId),
    Jobs { count_max: u16 },
    Result(TaskId),
    Log(TaskId),
    CancelJob(JobId),
    CancelTask(TaskId),
    Nodes,
    Drain(NodeId),
    Undrain(NodeId),
    Events(Wanted),
    Metrics,
    Topology,
    Waiting(JobId),
}

/// Which events somebody wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Wanted {
    pub after: u64,
    pub count_max: u16,
    pub wait_ms: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Job(JobRow),
    Tasks(Vec<TaskRow>),
    Jobs(Vec<JobRow>),
    Result(TaskReport),
    Cancelled { tasks: u32 },
    Nodes(Vec<NodeStatus>),
    Done,
    Events(JobEvents),
    Metrics(String),
    Log(String),
    Topology(FogTopology),
    Waiting(Vec<WaitingTasks>),
    Refused { reason: Reason, said: String },
}

pub(super) const fn unknown(at: usize, value: u64) -> DecodeError {
    DecodeError::Unknown { at, value }
}

impl Request {
    pub(crate) const fn action(&self) -> Action {
        match self {
            Self::Submit(_) => Action::Submit,
            Self::Job(_)
            | Self::Tasks(_)
            | Self::Task(_)
            | Self::Jobs { .. }
            | Self::Result(_)
            | Self::Log(_)
            | Self::Nodes
            | Self::Events(_)
            | Self::Metrics
            | Self::Topology
            | Self::Waiting(_) => Action::Query,
            Self::CancelJob(_) | Self::CancelTask(_) => Action::Cancel,
            Self::Drain(_) | Self::Undrain(_) => Action::Drain,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        match self {
            Self::Submit(job) => {
                out.u8(1);
                write_order(job, &mut out);
            }
            Self::Job(job) => write_id(2, job.as_bytes(), &mut out),
            Self::Tasks(job) => write_id(3, job.as_bytes(), &mut out),
            Self::Task(task) => write_id(4, task.as_bytes(), &mut out),
            Self::Jobs { count_max } => {
                out.u8(5);
                out.u16(*count_max);
            }
            Self::Result(task) => write_id(6, task.as_bytes(), &mut out),
            Self::CancelJob(job) => write_id(7, job.as_bytes(), &mut out),
            Self::CancelTask(task) => write_id(8, task.as_bytes(), &mut out),
            Self::Nodes => out.u8(9),
            Self::Drain(node) => write_id(10, node.as_bytes(), &mut out),
            Self::Undrain(node) => write_id(11, node.as_bytes(), &mut out),
            Self::Events(wanted) => {
                out.u8(12);
                out.u64(wanted.after);
                out.u16(wanted.count_max);
                out.u32(wanted.wait_ms);
            }
            Self::Metrics => out.u8(13),
            Self::Log(task) => write_id(14, task.as_bytes(), &mut out),
            Self::Topology => out.u8(15),
            Self::Waiting(job) => write_id(16, job.as_bytes(), &mut out),
        }
        out.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let request = match reader.u8()? {
            1 => Self::Submit(read_order(&mut reader)?),
            2 => Self::Job(JobId::from_bytes(reader.array()?)),
            3 => Self::Tasks(JobId::from_bytes(reader.array()?)),
            4 => Self::Task(TaskId::from_bytes(reader.array()?)),
            5 => Self::Jobs {
                count_max: at_most(&mut reader, JOBS_MAX)?,
            },
            6 => Self::Result(TaskId::from_bytes(reader.array()?)),
            7 => Self::CancelJob(JobId::from_bytes(reader.array()?)),
            8 => Self::CancelTask(TaskId::from_bytes(reader.array()?)),
            9 => Self::Nodes,
            10 => Self::Drain(NodeId::from_bytes(reader.array()?)),
            11 => Self::Undrain(NodeId::from_bytes(reader.array()?)),
            12 => {
                let after = reader.u64()?;
                let count_max = at_most(&mut reader, EVENTS_MAX)?;
                let (at, wait_ms) = (reader.position(), reader.u32()?);
                if wait_ms > WAIT_MS_MAX {
                    return Err(unknown(at, wait_ms.into()));
                }
                Self::Events(Wanted {
                    after,
                    count_max,
                    wait_ms,
                })
            }
            13 => Self::Metrics,
            14 => Self::Log(TaskId::from_bytes(reader.array()?)),
            15 => Self::Topology,
            16 => Self::Waiting(JobId::from_bytes(reader.array()?)),
            other => return Err(unknown(0, other.into())),
        };
        reader.finish()?;
        Ok(request)
    }
}

impl Answer {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        match self {
            Self::Job(job) => {
                out.u8(1);
                write_job(job, &mut out);
            }
            Self::Tasks(tasks) => {
                out.u8(2);
                out.u16(as_count(tasks.len()));
                for task in tasks {
                    write_task(task, &mut out);
                }
            }
            Self::Jobs(jobs) => {
                out.u8(3);
                out.u16(as_count(jobs.len()));
                for job in jobs {
                    write_job(job, &mut out);
                }
            }
            Self::Result(report) => {
                out.u8(4);
                out.raw(&report.encode());
            }
            Self::Cancelled { tasks } => {
                out.u8(5);
                out.u32(*tasks);
            }
            Self::Nodes(nodes) => {
                out.u8(6);
                out.u16(as_count(nodes.len()));
                for node in nodes {
                    write_node(node, &mut out);
                }
            }
            Self::Done => out.u8(7),
            Self::Events(found) => {
                out.u8(8);
                out.u64(found.last);
                out.u64(found.missed);
                out.u16(as_count(found.events.len()));
                for event in &found.events {
                    out.u64(event.number);
                    out.u64(event.at.0);
                    out.raw(event.job.as_bytes());
                    event.change.encode(&mut out);
                }
            }
            Self::Metrics(text) => {
                out.u8(9);
                out.text(text);
            }
            Self::Log(text) => {
                out.u8(10);
                out.text(text);
            }
            Self::Topology(topology) => {
                out.u8(11);
                write_topology(topology, &mut out);
            }
            Self::Waiting(waiting) => {
                out.u8(12);
                out.u16(as_count(waiting.len()));
                for waiting in waiting {
                    write_waiting(waiting, &mut out);
                }
            }
            Self::Refused { reason, said } => {
                out.u8(255);
                out.u8(*reason as u8);
                out.text(shortened(said));
            }
        }
        out.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let answer = match reader.u8()? {
            1 => Self::Job(read_job(&mut reader)?),
            2 => Self::Tasks(read_all(&mut reader, JOB_TASKS_MAX, read_task)?),
            3 => Self::Jobs(read_all(&mut reader, JOBS_MAX.into(), read_job)?),
            4 => Self::Result(TaskReport::decode(reader.take(reader.remaining())?)?),
            5 => Self::Cancelled {
                tasks: reader.u32()?,
            },
            6 => Self::Nodes(read_all(&mut reader, NODES_MAX, read_node)?),
            7 => Self::Done,
            8 => Self::Events(JobEvents {
                last: reader.u64()?,
                missed: reader.u64()?,
                events: read_all(&mut reader, EVENTS_MAX.into(), read_event)?,
            }),
            9 => Self::Metrics(reader.text(TEXT_BYTES_MAX)?.to_owned()),
            10 => Self::Log(reader.text(REPORT_LOG_BYTES_MAX)?.to_owned()),
            11 => Self::Topology(read_topology(&mut reader)?),
            12 => Self::Waiting(read_all_waiting(&mut reader)?),
            255 => {
                let (at, code) = (reader.position(), reader.u8()?);
                let reason = Reason::from_code(code).ok_or_else(|| unknown(at, code.into()))?;
                let said = reader.text(SAID_BYTES_MAX)?.to_owned();
                Self::Refused { reason, said }
            }
            other => return Err(unknown(0, other.into())),
        };
        reader.finish()?;
        Ok(answer)
    }
}

fn write_id(tag: u8, id: &[u8], out: &mut Writer) {
    out.u8(tag);
    out.raw(id);
}

fn at_most(reader: &mut Reader<'_>, limit: u16) -> Result<u16, DecodeError> {
    let actual = reader.u16()?;
    if actual > limit {
        return Err(DecodeError::TooLong {
            actual: actual.into(),
            limit: limit.into(),
        });
    }
    Ok(actual)
}

fn as_count(items: usize) -> u16 {
    // All that is listed has a limit far below 65,536.
    u16::try_from(items).expect("lists have limits far below 65,536")
}

pub(super) fn read_all<T>(
    reader: &mut Reader<'_>,
    limit: usize,
    mut read: impl FnMut(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let actual = usize::from(reader.u16()?);
    if actual > limit {
        return Err(DecodeError::TooLong { actual, limit });
    }
    (0..actual).map(|_| read(reader)).collect()
}

/// A text that is not longer than a refusal's may be.
pub(super) fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(SAID_BYTES_MAX)]
}

/// A job: id, priority, privacy; `u16` count of modules, each `u32` length and bytes; `u16` count of
/// tasks, each with id, fuel estimate `u64`, highest price `u128`, and the task itself, `u32` length
/// and [`TaskSpec::encode_apart`].
fn write_order(job: &JobOrder, out: &mut Writer) {
    out.raw(job.id.as_bytes());
    out.u8(job.priority as u8);
    out.u8(job.privacy.code());
    let modules: BTreeMap<Digest, &Arc<[u8]>> = (job.tasks.iter())
        .map(|order| (order.spec.module_digest(), order.spec.module()))
        .collect();
    out.u16(as_count(modules.len()));
    for module in modules.values() {
        out.bytes(module);
    }
    out.u16(as_count(job.tasks.len()));
    for order in &job.tasks {
        out.raw(order.id.as_bytes());
        out.u64(order.fuel_estimate);
        out.u128(order.price_max.0);
        out.bytes(&order.spec.encode_apart());
    }
}

fn read_order(reader: &mut Reader<'_>) -> Result<JobOrder, DecodeError> {
    let id = JobId::from_bytes(reader.array()?);
    let priority = read_priority(reader)?;
    let privacy = read_privacy(reader)?;
    let modules = read_all(reader, MODULES_MAX, |reader| {
        let module: Arc<[u8]> = reader.bytes(MODULE_BYTES_MAX)?.into();
        Ok((Digest::of(&module), module))
    })?;
    let modules: BTreeMap<_, _> = modules.into_iter().collect();
    let tasks = read_all(reader, JOB_TASKS_MAX, |reader| {
        let id = TaskId::from_bytes(reader.array()?);
        let fuel_estimate = reader.u64()?;
        let price_max = Amount(reader.u128()?);
        let at = reader.position();
        let bytes = reader.bytes(TaskSpec::APART_BYTES_MAX)?;
        let spec = TaskSpec::decode_apart(bytes, |digest| modules.get(&digest).map(Arc::clone));
        // What is wrong inside of a task is said by where it is.
        let spec = spec.ok().flatten().ok_or(unknown(at, 0))?;
        Ok(TaskOrder {
            id,
            spec,
            fuel_estimate,
            price_max,
        })
    })?;
    Ok(JobOrder {
        id,
        priority,
        privacy,
        tasks,
    })
}

fn write_job(job: &JobRow, out: &mut Writer) {
    out.raw(job.id.as_bytes());
    out.raw(job.owner.as_bytes());
    out.u8(job.priority as u8);
    out.u8(job.privacy.code());
    out.u64(job.submitted.0);
    let summary = &job.summary;
    for count in [
        summary.succeeded,
        summary.failed,
        summary.lost,
        summary.cancelled,
        summary.open,
    ] {
        out.u32(u32::try_from(count).unwrap_or(u32::MAX));
    }
    for amount in [summary.paid, summary.reserved, summary.released] {
        out.u128(amount.0);
    }
}

fn read_priority(reader: &mut Reader<'_>) -> Result<Priority, DecodeError> {
    let (at, code) = (reader.position(), reader.u8()?);
    [
        Priority::Critical,
        Priority::High,
        Priority::Normal,
        Priority::Low,
        Priority::Bulk,
    ]
    .into_iter()
    .find(|priority| *priority as u8 == code)
    .ok_or_else(|| unknown(at, code.into()))
}

fn read_privacy(reader: &mut Reader<'_>) -> Result<PrivacyLevel, DecodeError> {
    let (at, code) = (reader.position(), reader.u8()?);
    PrivacyLevel::from_code(code).map_err(|_| unknown(at, code.into()))
}

fn read_job(reader: &mut Reader<'_>) -> Result<JobRow, DecodeError> {
    let count = |reader: &mut Reader<'_>| Ok(reader.u32()? as usize);
    let amount = |reader: &mut Reader<'_>| Ok(Amount(reader.u128()?));
    Ok(JobRow {
        id: JobId::from_bytes(reader.array()?),
        owner: AccountId::from_bytes(reader.array()?),
        priority: read_priority(reader)?,
        privacy: read_privacy(reader)?,
        submitted: UnixMillis(reader.u64()?),
        summary: JobSummary {
            succeeded: count(reader)?,
            failed: count(reader)?,
            lost: count(reader)?,
            cancelled: count(reader)?,
            open: count(reader)?,
            paid: amount(reader)?,
            reserved: amount(reader)?,
            released: amount(reader)?,
        },
    })
}

/// A task: id, job, code of its state, attempts `u32`, whether there is a node `u8`, the node, paid
/// `u128`, when it changed `u64`.
fn write_task(task: &TaskRow, out: &mut Writer) {
    out.raw(task.id.as_bytes());
    out.raw(task.job.as_bytes());
    out.u8(match task.state {
        TaskState::Submitted | TaskState::Queued { .. } => 0,
        TaskState::Assigned { .. } => 1,
        TaskState::Succeeded => 2,
        TaskState::Failed => 3,
        TaskState::Cancelled => 4,
        TaskState::Lost { .. } => 5,
    });
    out.u32(task.attempts);
    out.u8(task.node.is_some().into());
    if let Some(node) = task.node {
        out.raw(node.as_bytes());
    }
    out.u128(task.paid.0);
    out.u64(task.changed.0);
}

fn read_task(reader: &mut Reader<'_>) -> Result<TaskRow, DecodeError> {
    let id = TaskId::from_bytes(reader.array()?);
    let job = JobId::from_bytes(reader.array()?);
    let (at, code) = (reader.position(), reader.u8()?);
    let attempts = reader.u32()?;
    let node = match read_flag(reader)? {
        true => Some(NodeId::from_bytes(reader.array()?)),
        false => None,
    };
    let state = match (code, node) {
        (0, _) => TaskState::Queued { attempts },
        (1, Some(node)) => TaskState::Assigned {
            node,
            attempt: attempts,
        },
        (2, _) => TaskState::Succeeded,
        (3, _) => TaskState::Failed,
        (4, _) => TaskState::Cancelled,
        (5, _) => TaskState::Lost { attempts },
        _ => return Err(unknown(at, code.into())),
    };
    Ok(TaskRow {
        id,
        job,
        state,
        attempts,
        node,
        paid: Amount(reader.u128()?),
        changed: UnixMillis(reader.u64()?),
    })
}

pub(super) fn read_flag(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    let (at, flag) = (reader.position(), reader.u8()?);
    match flag {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(unknown(at, other.into())),
    }
}

/// A node: id, role (mix layer, or 255), address (4 or 6, its bytes, port `u16`), code of its status,
/// whether it is barred `u8`, processors, memory, speed `u64` each, price `u128`, bits of latency and
/// of trust `u64` each, tasks it has and that wait `u32` each.
pub(super) fn write_node(node: &NodeStatus, out: &mut Writer) {
    out.raw(node.node.as_bytes());
    out.u8(match node.role {
        Role::Mix { layer } => layer,
        Role::Compute => u8::MAX,
    });
    match node.address.ip() {
        IpAddr::V4(ip) => {
            out.u8(4);
            out.raw(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.u8(6);
            out.raw(&ip.octets());
        }
    }
    out.u16(node.address.port());
    out.u8(node.status.code());
    out.u8(node.barred.into());
    out.u64(node.cpu_millis);
    out.u64(node.memory_bytes);
    out.u64(node.fuel_per_second);
    out.u128(node.price_per_gigafuel.0);
    out.u64(node.latency_ms.to_bits());
    out.u64(node.trust.to_bits());
    out.u32(node.running);
    out.u32(node.waiting);
}

pub(super) fn read_node(reader: &mut Reader<'_>) -> Result<NodeStatus, DecodeError> {
    let node = NodeId::from_bytes(reader.array()?);
    let role = match reader.u8()? {
        u8::MAX => Role::Compute,
        layer => Role::Mix { layer },
    };
    let (at, family) = (reader.position(), reader.u8()?);
    let ip: IpAddr = match family {
        4 => IpAddr::from(reader.array::<4>()?),
        6 => IpAddr::from(reader.array::<16>()?),
        other => return Err(unknown(at, other.into())),
    };
    let address = SocketAddr::new(ip, reader.u16()?);
    let (at, code) = (reader.position(), reader.u8()?);
    let status = Status::from_code(code).map_err(|_| unknown(at, code.into()))?;
    Ok(NodeStatus {
        node,
        role,
        address,
        status,
        barred: read_flag(reader)?,
        cpu_millis: reader.u64()?,
        memory_bytes: reader.u64()?,
        fuel_per_second: reader.u64()?,
        price_per_gigafuel: Amount(reader.u128()?),
        latency_ms: read_number(reader)?,
        trust: read_number(reader)?,
        running: reader.u32()?,
        waiting: reader.u32()?,
    })
}

fn read_number(reader: &mut Reader<'_>) -> Result<f64, DecodeError> {
    let (at, bits) = (reader.position(), reader.u64()?);
    let number = f64::from_bits(bits);
    if number.is_finite() {
        Ok(number)
    } else {
        Err(unknown(at, bits))
    }
}

fn read_event(reader: &mut Reader<'_>) -> Result<JobEvent, DecodeError> {
    Ok(JobEvent {
        number: reader.u64()?,
        at: UnixMillis(reader.u64()?),
        job: JobId::from_bytes(reader.array()?),
        change: JobChange::decode(reader)?,
    })
}

/// A frame, as it comes in.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Part<'a> {
    Request {
        number: u64,
        call: Box<Call>,
        bytes: usize,
        first: &'a [u8],
    },
    Answer {
        number: u64,
        bytes: usize,
        first: &'a [u8],
    },
    /// More of what was begun, of either direction.
    More(&'a [u8]),
}

impl<'a> Part<'a> {
    /// Reads a frame of a submitter.
    pub(crate) fn of_request(frame: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(frame);
        match reader.u8()? {
            1 => {
                let number = reader.u64()?;
                let call = Box::new(Call::decode(reader.take(Call::LEN)?)?);
                let (bytes, first) = beginning(&mut reader, REQUEST_BYTES_MAX)?;
                Ok(Self::Request {
                    number,
                    call,
                    bytes,
                    first,
                })
            }
            2 => more(&mut reader),
            other => Err(unknown(0, other.into())),
        }
    }

    /// Reads a frame of a coordinator.
    pub(crate) fn of_answer(frame: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(frame);
        match reader.u8()? {
            129 => {
                let number = reader.u64()?;
                let (bytes, first) = beginning(&mut reader, ANSWER_BYTES_MAX)?;
                Ok(Self::Answer {
                    number,
                    bytes,
                    first,
                })
            }
            130 => more(&mut reader),
            other => Err(unknown(0, other.into())),
        }
    }
}

/// The announced length of a body, and its beginning.
fn beginning<'a>(reader: &mut Reader<'a>, limit: usize) -> Result<(usize, &'a [u8]), DecodeError> {
    let actual = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
    if actual > limit {
        return Err(DecodeError::TooLong { actual, limit });
    }
    let first = reader.take(reader.remaining())?;
    if first.len() > actual {
        let count = first.len() - actual;
        return Err(DecodeError::Trailing { count });
    }
    Ok((actual, first))
}

fn more<'a>(reader: &mut Reader<'a>) -> Result<Part<'a>, DecodeError> {
    let part = reader.take(reader.remaining())?;
    if part.is_empty() {
        let at = reader.position();
        return Err(DecodeError::Truncated { at, needed: 1 });
    }
    Ok(Part::More(part))
}

/// The frames of a request.
pub(crate) fn request_frames(number: u64, call: &Call, body: &[u8]) -> Vec<Vec<u8>> {
    let mut head = Writer::new();
    head.u8(1);
    head.u64(number);
    head.raw(&call.encode());
    frames(head, 2, body)
}

/// The frames of an answer.
pub(crate) fn answer_frames(number: u64, body: &[u8]) -> Vec<Vec<u8>> {
    let mut head = Writer::new();
    head.u8(129);
    head.u64(number);
    frames(head, 130, body)
}

fn frames(mut head: Writer, more: u8, body: &[u8]) -> Vec<Vec<u8>> {
    // Bodies are at most [`REQUEST_BYTES_MAX`] long; what is longer is refused where it is made.
    head.u32(u32::try_from(body.len()).unwrap_or(u32::MAX));
    let mut first = head.finish();
    let (beginning, rest) = body.split_at(body.len().min(FRAME_BYTES - first.len()));
    first.extend_from_slice(beginning);
    let mut frames = vec![first];
    for part in rest.chunks(FRAME_BYTES - 1) {
        let mut frame = Vec::with_capacity(1 + part.len());
        frame.push(more);
        frame.extend_from_slice(part);
        frames.push(frame);
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::super::topology::TopologyNode;
    use super::super::waiting::WaitingFor;
    use super::*;
    use ed25519_dalek::SigningKey;
    use fogcompute_coord::token::{Actions, Grant, Token};
    use fogcompute_coord::topology::{SNAPSHOTS_MAX, Snapshot};
    use fogcompute_coord::{Coordinate, NodeKind};
    use fogcompute_exec::{Limits, TaskError, TaskOutput, Usage};
    use fogcompute_ledger::PublicKey;
    use proptest::prelude::*;

    fn order() -> impl Strategy<Value = JobOrder> {
        let task = (
            any::<[u8; 16]>(),
            0_u8..3,
            any::<Vec<u8>>(),
            any::<u64>(),
            any::<u128>(),
        );
        let tasks = proptest::collection::vec(task, 0..6);
        (any::<[u8; 16]>(), 0_u8..5, 0_u8..4, tasks).prop_map(|(id, priority, privacy, tasks)| {
            let bytes = [priority];
            JobOrder {
                id: JobId::from_bytes(id),
                priority: read_priority(&mut Reader::new(&bytes)).unwrap(),
                privacy: PrivacyLevel::from_code(privacy).unwrap(),
                tasks: tasks
                    .into_iter()
                    .map(|(id, module, input, fuel_estimate, price_max)| TaskOrder {
                        id: TaskId::from_bytes(id),
                        spec: TaskSpec::new(vec![module; 40], input, Limits::default()).unwrap(),
                        fuel_estimate,
                        price_max: Amount(price_max),
                    })
                    .collect(),
            }
        })
    }

    fn requests() -> impl Strategy<Value = Request> {
        let id = any::<[u8; 16]>();
        let node = any::<[u8; 32]>().prop_map(NodeId::from_bytes);
        prop_oneof![
            order().prop_map(Request::Submit),
            id.prop_map(|id| Request::Job(JobId::from_bytes(id))),
            id.prop_map(|id| Request::Tasks(JobId::from_bytes(id))),
            id.prop_map(|id| Request::Task(TaskId::from_bytes(id))),
            (0..=JOBS_MAX).prop_map(|count_max| Request::Jobs { count_max }),
            id.prop_map(|id| Request::Result(TaskId::from_bytes(id))),
            id.prop_map(|id| Request::Log(TaskId::from_bytes(id))),
            id.prop_map(|id| Request::CancelJob(JobId::from_bytes(id))),
            id.prop_map(|id| Request::CancelTask(TaskId::from_bytes(id))),
            node.clone().prop_map(Request::Drain),
            node.prop_map(Request::Undrain),
            (any::<u64>(), 0..=EVENTS_MAX, 0..=WAIT_MS_MAX).prop_map(
                |(after, count_max, wait_ms)| Request::Events(Wanted {
                    after,
                    count_max,
                    wait_ms,
                })
            ),
            Just(Request::Nodes),
            Just(Request::Metrics),
            Just(Request::Topology),
            id.prop_map(|id| Request::Waiting(JobId::from_bytes(id))),
        ]
    }

    fn job_row() -> JobRow {
        JobRow {
            id: JobId::from_bytes([1; 16]),
            owner: AccountId::from_bytes([2; 16]),
            priority: Priority::High,
            privacy: PrivacyLevel::Secret,
            submitted: UnixMillis(3),
            summary: JobSummary {
                succeeded: 4,
                failed: 5,
                lost: 6,
                cancelled: 7,
                open: 8,
                paid: Amount(9),
                reserved: Amount(10),
                released: Amount(u128::MAX),
            },
        }
    }

    fn task_row(state: TaskState, attempts: u32, node: Option<NodeId>) -> TaskRow {
        TaskRow {
            id: TaskId::from_bytes([1; 16]),
            job: JobId::from_bytes([2; 16]),
            state,
            attempts,
            node,
            paid: Amount(3),
            changed: UnixMillis(4),
        }
    }

    fn node_status(address: SocketAddr, role: Role) -> NodeStatus {
        NodeStatus {
            node: NodeId::from_bytes([1; 32]),
            role,
            address,
            status: Status::Draining,
            barred: true,
            cpu_millis: 1,
            memory_bytes: 2,
            fuel_per_second: 3,
            price_per_gigafuel: Amount(4),
            latency_ms: 0.5,
            trust: 0.25,
            running: 5,
            waiting: 6,
        }
    }

    fn topology(nodes: usize, snapshots: usize) -> FogTopology {
        let place = Coordinate::new([1.0, -2.0, 3.0], 4.0, 0.5).unwrap();
        let v6 = node_status(([0_u16; 8], 9).into(), Role::Compute);
        let node = TopologyNode {
            status: v6.clone(),
            kind: NodeKind::EdgeDevice,
            linked: true,
            free_cpu_millis: 1,
            free_memory_bytes: 2,
            coordinate: Some(place),
        };
        let mut snapshot = Snapshot::of(UnixMillis(7), []);
        snapshot.kinds = [1, 2, 3, 4, 5];
        snapshot.statuses = [1, 2, 3, 4, 5, 6, 7];
        snapshot.free.storage_bytes = 8;
        (snapshot.running, snapshot.waiting) = (9, 10);
        let unplaced = TopologyNode {
            linked: false,
            coordinate: None,
            ..node.clone()
        };
        let mut all = vec![node; nodes];
        all.extend((nodes < NODES_MAX).then_some(unplaced));
        FogTopology {
            at: UnixMillis(6),
            coordinator: NodeId::from_bytes([5; 32]),
            coordinate: place,
            nodes: all,
            history: vec![snapshot; snapshots],
        }
    }

    fn answers() -> Vec<Answer> {
        let node = NodeId::from_bytes([9; 32]);
        let task = TaskId::from_bytes([1; 16]);
        let event = |number, change| JobEvent {
            number,
            at: UnixMillis(5),
            job: JobId::from_bytes([6; 16]),
            change,
        };
        let report = |result| Answer::Result(TaskReport { task, result });
        let assigned = TaskState::Assigned { node, attempt: 3 };
        let mut answers = vec![
            Answer::Job(job_row()),
            Answer::Tasks(vec![
                task_row(TaskState::Queued { attempts: 2 }, 2, None),
                task_row(assigned, 3, Some(node)),
                task_row(TaskState::Succeeded, 3, Some(node)),
                task_row(TaskState::Failed, 1, Some(node)),
                task_row(TaskState::Cancelled, 0, None),
                task_row(TaskState::Lost { attempts: 5 }, 5, None),
            ]),
            Answer::Jobs(vec![job_row(), job_row()]),
            report(Ok(TaskOutput {
                output: vec![1, 2],
                usage: Usage::default(),
            })),
            report(Err(TaskError::Cancelled)),
            Answer::Cancelled { tasks: 7 },
            Answer::Nodes(vec![
                node_status(([127, 0, 0, 1], 9).into(), Role::Compute),
                node_status(([0_u16; 8], 9).into(), Role::Mix { layer: 2 }),
            ]),
            Answer::Done,
            Answer::Events(JobEvents {
                last: 9,
                missed: 1,
                events: vec![
                    event(8, JobChange::Admitted { tasks: 3 }),
                    event(9, JobChange::JobEnded),
                ],
            }),
            Answer::Metrics("a 1\n".to_owned()),
            Answer::Log("one\ntwo\n".to_owned()),
            Answer::Topology(topology(1, 1)),
            Answer::Waiting(
                (WaitingFor::ALL.iter())
                    .map(|waiting_for| WaitingTasks {
                        task,
                        tasks: 7,
                        waiting_for: *waiting_for,
                        before: 8,
                        said: waiting_for.name().to_owned(),
                    })
                    .collect(),
            ),
        ];
        for reason in Reason::ALL {
            let (reason, said) = (*reason, reason.to_string());
            answers.push(Answer::Refused { reason, said });
        }
        answers
    }

    #[test]
    fn answers_round_trip() {
        for answer in answers() {
            assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
        }
    }

    #[test]
    fn reasons_have_codes_of_their_own() {
        let codes: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|it| *it as u8).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        assert_eq!(Reason::from_code(0), None);
    }

    #[test]
    fn a_long_refusal_is_cut_at_a_letter() {
        let said = "é".repeat(SAID_BYTES_MAX);
        let reason = Reason::Funds;
        let read = Answer::decode(&Answer::Refused { reason, said }.encode()).unwrap();
        let said = "é".repeat(SAID_BYTES_MAX / 2);
        assert_eq!(read, Answer::Refused { reason, said });
    }

    #[test]
    fn what_a_coordinator_may_hold_fits_an_answer() {
        let node = NodeId::from_bytes([9; 32]);
        let assigned = TaskState::Assigned { node, attempt: 3 };
        let v6 = node_status(([0_u16; 8], 9).into(), Role::Compute);
        for answer in [
            Answer::Tasks(vec![task_row(assigned, 3, Some(node)); JOB_TASKS_MAX]),
            Answer::Jobs(vec![job_row(); JOBS_MAX.into()]),
            Answer::Nodes(vec![v6; NODES_MAX]),
            Answer::Topology(topology(NODES_MAX, SNAPSHOTS_MAX)),
            Answer::Metrics("x".repeat(TEXT_BYTES_MAX)),
        ] {
            let bytes = answer.encode();
            assert!(bytes.len() <= ANSWER_BYTES_MAX);
            assert!(Answer::decode(&bytes).is_ok());
        }
        const _: () = assert!(TaskReport::ENCODED_BYTES_MAX < ANSWER_BYTES_MAX);
    }

    fn call() -> Call {
        let key = SigningKey::from_bytes(&[1; 32]);
        let grant = Grant {
            submitter: PublicKey::of(&key),
            account: AccountId::from_bytes([1; 16]),
            actions: Actions::of(&[Action::Submit]),
            tasks_max: 1,
            spend_max: Amount(1),
            not_before: UnixMillis(0),
            expires: UnixMillis(1),
            nonce: [0; 16],
        };
        let token = Token::issue(grant, &key);
        let coordinator = NodeId::from_bytes([2; 32]);
        Call::sign(
            token,
            coordinator,
            Action::Submit,
            b"",
            [3; 16],
            UnixMillis(0),
            &key,
        )
    }

    #[test]
    fn bodies_of_every_length_are_cut_into_frames_and_put_together() {
        let head = request_frames(1, &call(), &[])[0].len();
        let room = FRAME_BYTES - head;
        for length in [
            0,
            1,
            room - 1,
            room,
            room + 1,
            room + 2 * FRAME_BYTES,
            300_000,
        ] {
            let body: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let frames = request_frames(7, &call(), &body);
            let mut got = match Part::of_request(&frames[0]).unwrap() {
                Part::Request {
                    number: 7,
                    call: read,
                    bytes,
                    first,
                } => {
                    assert_eq!((*read, bytes), (call(), length));
                    first.to_vec()
                }
                other => panic!("{other:?}"),
            };
            for frame in &frames[1..] {
                match Part::of_request(frame).unwrap() {
                    Part::More(part) => got.extend_from_slice(part),
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(got, body);
            assert!(frames.iter().all(|frame| frame.len() <= FRAME_BYTES));
        }
        let answer = &answer_frames(9, b"yes")[0];
        assert_eq!(
            Part::of_answer(answer),
            Ok(Part::Answer {
                number: 9,
                bytes: 3,
                first: b"yes"
            })
        );
    }

    #[test]
    fn what_is_too_long_or_has_no_end_is_refused() {
        let mut frame = answer_frames(9, b"yes")[0].clone();
        frame[9..13].copy_from_slice(&u32::MAX.to_be_bytes());
        assert!(matches!(
            Part::of_answer(&frame),
            Err(DecodeError::TooLong {
                limit: ANSWER_BYTES_MAX,
                ..
            })
        ));
        frame[9..13].copy_from_slice(&2_u32.to_be_bytes());
        assert_eq!(
            Part::of_answer(&frame),
            Err(DecodeError::Trailing { count: 1 })
        );
        // Nothing would go on for ever with frames that bring nothing.
        assert!(Part::of_answer(&[130]).is_err());
        let mut events = Request::Events(Wanted {
            after: 0,
            count_max: EVENTS_MAX,
            wait_ms: WAIT_MS_MAX,
        })
        .encode();
        assert!(Request::decode(&events).is_ok());
        let last = events.len() - 1;
        events[last] += 1;
        assert!(Request::decode(&events).is_err());
    }

    proptest! {
        #[test]
        fn requests_round_trip(request in requests()) {
            prop_assert_eq!(Request::decode(&request.encode()), Ok(request));
        }

        #[test]
        fn foreign_bytes_never_panic(
            tag in prop_oneof![0_u8..17, Just(255), Just(129), Just(130)],
            bytes in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            let bytes = [&[tag][..], &bytes].concat();
            let _ = Request::decode(&bytes);
            let _ = Answer::decode(&bytes);
            let _ = Part::of_request(&bytes);
            let _ = Part::of_answer(&bytes);
        }

        #[test]
        fn changed_bytes_never_panic(request in requests(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
            let mut bytes = request.encode();
            let at = at.index(bytes.len());
            bytes[at] = to;
            if let Ok(other) = Request::decode(&bytes) {
                prop_assert_eq!(Request::decode(&other.encode()), Ok(other));
            }
        }
    }
}
