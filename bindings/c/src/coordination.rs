use std::ffi::{c_char, c_void};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use fogcompute::coord::topology::Snapshot;
use fogcompute::coord::{NodeKind, Status};
use fogcompute::exec::Grants;
use fogcompute::store::{JobRow, TaskRow};
use fogcompute::{
    FogAccess, FogClientConfig, FogCoordinator, FogCoordinatorConfig, FogEventKind, FogNode,
    FogRecord, FogTaskState, FogWatch, JobOrder, JobTerms, NodeConfig, TokenTerms, TopologyNode,
};

use crate::completions::{Callback, Completions, UserData};
use crate::fog::{fog_limits, fog_output, limits_or_default};
use crate::harvest::fog_harvest_policy;
use crate::place::priority;
use crate::support::{
    Failure, c_string, chars, check_room, fill_items, free, give, give_text, guard,
    optional_result, parse_address, parsed, reference, result, slice, text,
};
use crate::{FOG_ADDRESS_SIZE, FOG_ID_SIZE, FOG_NODE_ID_SIZE, fog_amount, fog_node_id, fog_status};

/// Size of the name of a kind or a status of a node, with its NUL byte.
pub const FOG_KIND_SIZE: usize = 16;

/// What a fog_fog_event tells. The values never change.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_fog_event_kind {
    /// This version of the library does not know it.
    Unknown = 0,
    /// A job was admitted.
    Admitted = 1,
    /// A task goes to a node.
    Assigned = 2,
    /// An attempt came to nothing: its task waits again.
    Queued = 3,
    /// A task ended.
    Ended = 4,
    /// All tasks of a job have ended.
    JobEnded = 5,
    /// The watcher was so slow, or away for so long, that events are forgotten.
    Lagged = 6,
}

/// Where a task of a fog of processes is. The values never change.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_fog_task_state {
    /// It waits for a node.
    Queued = 0,
    /// A node has it.
    Assigned = 1,
    /// It ended with an output.
    Succeeded = 2,
    /// It ended with an error.
    Failed = 3,
    /// It was cancelled.
    Cancelled = 4,
    /// It was given up after its last attempt.
    Lost = 5,
    /// There is none to tell, or this version of the library does not know it.
    Unknown = 6,
}

fn task_state(state: FogTaskState) -> i32 {
    let state = match state {
        FogTaskState::Queued => fog_fog_task_state::Queued,
        FogTaskState::Assigned => fog_fog_task_state::Assigned,
        FogTaskState::Succeeded => fog_fog_task_state::Succeeded,
        FogTaskState::Failed => fog_fog_task_state::Failed,
        FogTaskState::Cancelled => fog_fog_task_state::Cancelled,
        FogTaskState::Lost => fog_fog_task_state::Lost,
        _ => fog_fog_task_state::Unknown,
    };
    state as i32
}

/// How a job of a fog of processes stands.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_fog_job {
    /// The job.
    pub id: [c_char; FOG_ID_SIZE],
    /// Who pays for it.
    pub account: [c_char; FOG_ID_SIZE],
    /// A fog_priority.
    pub priority: i32,
    /// How well its tasks are hidden: public, private, confidential or secret.
    pub privacy: [c_char; FOG_KIND_SIZE],
    /// When it was submitted, by the coordinator's clock.
    pub submitted_unix_ms: u64,
    /// Tasks that ended with an output.
    pub succeeded: u64,
    /// Tasks that ended with an error.
    pub failed: u64,
    /// Tasks that were given up after their last attempt.
    pub lost: u64,
    /// Tasks that were cancelled.
    pub cancelled: u64,
    /// Tasks that have not ended.
    pub open: u64,
    /// What was paid for its tasks.
    pub paid: fog_amount,
    /// What is reserved for those that have not ended.
    pub reserved: fog_amount,
    /// What was reserved and came back.
    pub released: fog_amount,
}

impl From<JobRow> for fog_fog_job {
    fn from(row: JobRow) -> Self {
        let summary = row.summary;
        Self {
            id: chars(&row.id.to_string()),
            account: chars(&row.owner.to_string()),
            priority: row.priority as i32,
            privacy: chars(row.privacy.name()),
            submitted_unix_ms: row.submitted.0,
            succeeded: summary.succeeded as u64,
            failed: summary.failed as u64,
            lost: summary.lost as u64,
            cancelled: summary.cancelled as u64,
            open: summary.open as u64,
            paid: summary.paid.into(),
            reserved: summary.reserved.into(),
            released: summary.released.into(),
        }
    }
}

/// How a task of a job stands.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_fog_task {
    /// The task.
    pub id: [c_char; FOG_ID_SIZE],
    /// Its job.
    pub job: [c_char; FOG_ID_SIZE],
    /// A fog_fog_task_state.
    pub state: i32,
    /// Attempts that were begun.
    pub attempts: u32,
    /// The node that has it, or had it last; empty if none had.
    pub node: [c_char; FOG_NODE_ID_SIZE],
    /// What was paid for it.
    pub paid: fog_amount,
    /// When it last changed, by the coordinator's clock.
    pub changed_unix_ms: u64,
}

fn optional<const N: usize>(id: Option<impl ToString>) -> [c_char; N] {
    chars(&id.map_or_else(String::new, |id| id.to_string()))
}

impl From<TaskRow> for fog_fog_task {
    fn from(row: TaskRow) -> Self {
        Self {
            id: chars(&row.id.to_string()),
            job: chars(&row.job.to_string()),
            state: task_state(row.state.into()),
            attempts: row.attempts,
            node: optional(row.node),
            paid: row.paid.into(),
            changed_unix_ms: row.changed.0,
        }
    }
}

/// Something that happened in a fog of processes. What its kind does not have is empty or 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_fog_event {
    /// A fog_fog_event_kind.
    pub kind: i32,
    /// Its number: watching goes on behind it.
    pub number: u64,
    /// When it was, by the coordinator's clock.
    pub at_unix_ms: u64,
    /// The job it is about.
    pub job: [c_char; FOG_ID_SIZE],
    /// The task it is about.
    pub task: [c_char; FOG_ID_SIZE],
    /// The node a task goes to.
    pub node: [c_char; FOG_NODE_ID_SIZE],
    /// The attempt that begins, from 1, or the attempts that were begun.
    pub attempts: u32,
    /// How a task ended, a fog_fog_task_state; FOG_FOG_TASK_STATE_UNKNOWN if none did.
    pub state: i32,
    /// What was paid for a task that ended.
    pub paid: fog_amount,
    /// Tasks of a job that was admitted.
    pub tasks: u32,
    /// Events that are forgotten; 0 if nobody can tell how many.
    pub missed: u64,
}

impl From<FogRecord> for fog_fog_event {
    fn from(record: FogRecord) -> Self {
        let kind = match record.kind {
            Some(FogEventKind::Admitted) => fog_fog_event_kind::Admitted,
            Some(FogEventKind::Assigned) => fog_fog_event_kind::Assigned,
            Some(FogEventKind::Queued) => fog_fog_event_kind::Queued,
            Some(FogEventKind::Ended) => fog_fog_event_kind::Ended,
            Some(FogEventKind::JobEnded) => fog_fog_event_kind::JobEnded,
            Some(FogEventKind::Lagged) => fog_fog_event_kind::Lagged,
            _ => fog_fog_event_kind::Unknown,
        };
        let state = record.state.map(task_state);
        Self {
            kind: kind as i32,
            number: record.number,
            at_unix_ms: record.at.map_or(0, |at| at.0),
            job: optional(record.job),
            task: optional(record.task),
            node: optional(record.node),
            attempts: record.attempts,
            state: state.unwrap_or(fog_fog_task_state::Unknown as i32),
            paid: record.paid.into(),
            tasks: record.tasks,
            missed: record.missed,
        }
    }
}

/// A node of a fog, as its coordinator knows it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_fog_member {
    /// The node.
    pub id: [c_char; FOG_NODE_ID_SIZE],
    /// The mix layer it is in; -1 for a node that computes.
    pub layer: i32,
    /// edge_device, relay, mixnode, compute or gateway.
    pub kind: [c_char; FOG_KIND_SIZE],
    /// active, idle, busy, suspect, draining, maintenance or offline.
    pub status: [c_char; FOG_KIND_SIZE],
    /// Where it accepts links.
    pub address: [c_char; FOG_ADDRESS_SIZE],
    /// Whether it is left alone because it failed at its tasks.
    pub barred: bool,
    /// Whether its link to the coordinator is up.
    pub linked: bool,
    /// Thousandths of a processor that it lends.
    pub cpu_millis: u64,
    /// Memory that it lends, in bytes.
    pub memory_bytes: u64,
    /// Thousandths of a processor that nothing is promised of.
    pub free_cpu_millis: u64,
    /// Memory that nothing is promised of, in bytes.
    pub free_memory_bytes: u64,
    /// Fuel one of its processors burns in a second.
    pub fuel_per_second: u64,
    /// Base units it asks for 10^9 fuel.
    pub price_per_gigafuel: fog_amount,
    /// Time of a message to it and back, in milliseconds.
    pub latency_ms: f64,
    /// How likely it is to finish what it takes, 0 to 1.
    pub trust: f64,
    /// Tasks it has.
    pub running: u32,
    /// Tasks that wait for it.
    pub waiting: u32,
    /// Whether it is known where it is among the others; if not, what follows is 0.
    pub has_place: bool,
    /// Where it is along three axes, in milliseconds: distances are round trip times.
    pub position_ms: [f64; 3],
    /// How long the way to the network's core is, in milliseconds.
    pub height_ms: f64,
    /// By which share of a distance its place expects to be wrong.
    pub place_error: f64,
}

impl From<&TopologyNode> for fog_fog_member {
    fn from(node: &TopologyNode) -> Self {
        let (status, place) = (&node.status, node.coordinate);
        Self {
            id: chars(&status.node.to_string()),
            layer: fogcompute::mix_layer(status.role).map_or(-1, i32::from),
            kind: chars(node.kind.name()),
            status: chars(status.status.name()),
            address: chars(&status.address.to_string()),
            barred: status.barred,
            linked: node.linked,
            cpu_millis: status.cpu_millis,
            memory_bytes: status.memory_bytes,
            free_cpu_millis: node.free_cpu_millis,
            free_memory_bytes: node.free_memory_bytes,
            fuel_per_second: status.fuel_per_second,
            price_per_gigafuel: status.price_per_gigafuel.into(),
            latency_ms: status.latency_ms,
            trust: status.trust,
            running: status.running,
            waiting: status.waiting,
            has_place: place.is_some(),
            position_ms: place.map_or([0.0; 3], |place| place.position()),
            height_ms: place.map_or(0.0, |place| place.height()),
            place_error: place.map_or(0.0, |place| place.error()),
        }
    }
}

/// The compute nodes of a fog at one moment, in numbers.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_fog_snapshot {
    /// When, by the coordinator's clock.
    pub at_unix_ms: u64,
    /// Nodes that are somebody's phone, laptop or sensor. Here and below those that are gone count too.
    pub edge_devices: u64,
    /// Nodes that pass messages on.
    pub relays: u64,
    /// Nodes that mix packets.
    pub mixnodes: u64,
    /// Nodes that are there to compute.
    pub computes: u64,
    /// Nodes where clients enter.
    pub gateways: u64,
    /// Nodes that work and have room.
    pub active: u64,
    /// Nodes that have nothing to do.
    pub idle: u64,
    /// Nodes that have no room.
    pub busy: u64,
    /// Nodes that are late with their report.
    pub suspect: u64,
    /// Nodes that finish what they have, to leave.
    pub draining: u64,
    /// Nodes that their operator works on.
    pub maintenance: u64,
    /// Nodes that are gone.
    pub offline: u64,
    /// Thousandths of a processor that those lend that are there.
    pub cpu_millis: u64,
    /// Memory that they lend, in bytes.
    pub memory_bytes: u64,
    /// Thousandths of a processor that nothing is promised of.
    pub free_cpu_millis: u64,
    /// Memory that nothing is promised of, in bytes.
    pub free_memory_bytes: u64,
    /// Tasks that run on them.
    pub running: u64,
    /// Tasks that wait for them.
    pub waiting: u64,
}

impl From<&Snapshot> for fog_fog_snapshot {
    fn from(snapshot: &Snapshot) -> Self {
        let kind = |kind| snapshot.of_kind(kind) as u64;
        let status = |status| snapshot.of_status(status) as u64;
        Self {
            at_unix_ms: snapshot.at.0,
            edge_devices: kind(NodeKind::EdgeDevice),
            relays: kind(NodeKind::Relay),
            mixnodes: kind(NodeKind::Mixnode),
            computes: kind(NodeKind::Compute),
            gateways: kind(NodeKind::Gateway),
            active: status(Status::Active),
            idle: status(Status::Idle),
            busy: status(Status::Busy),
            suspect: status(Status::Suspect),
            draining: status(Status::Draining),
            maintenance: status(Status::Maintenance),
            offline: status(Status::Offline),
            cpu_millis: snapshot.total.cpu_millis,
            memory_bytes: snapshot.total.memory_bytes,
            free_cpu_millis: snapshot.free.cpu_millis,
            free_memory_bytes: snapshot.free.memory_bytes,
            running: snapshot.running as u64,
            waiting: snapshot.waiting as u64,
        }
    }
}

/// The input of a task.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_fog_input {
    /// The bytes.
    pub data: *const u8,
    /// How many, up to 1 MiB.
    pub len: usize,
}

/// What all tasks of a job have in common. Fill it with fog_fog_job_options_default() and change what
/// should differ.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_fog_job_options {
    /// Names the job, or NULL for one at random. Submitted once more it is the same job.
    pub id: *const c_char,
    /// What each task may use, or NULL for the usual.
    pub limits: *const fog_limits,
    /// Fuel each will take, as well as one can tell; 0 for a tenth of its limit.
    pub fuel_estimate: u64,
    /// Most that is paid for each. What is not used comes back.
    pub max_price: fog_amount,
    /// A fog_priority.
    pub priority: i32,
    /// How well its tasks are hidden: public, private, confidential or secret; NULL for private.
    pub privacy: *const c_char,
    /// Whether each may write a log, tell its progress and keep checkpoints.
    pub host_calls: bool,
}

/// Puts the usual options of a job into a struct: a job of a new name, of normal priority and private,
/// a credit a task.
///
/// Thread safety: any thread.
/// @param out receives the options
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_job_options_default(out: *mut fog_fog_job_options) -> fog_status {
    guard(|| {
        let usual = JobTerms::default();
        // SAFETY: the caller gives room for the struct.
        unsafe { result(out, "out") }?.write(fog_fog_job_options {
            id: ptr::null(),
            limits: ptr::null(),
            fuel_estimate: 0,
            max_price: usual.price_max.into(),
            priority: usual.priority as i32,
            privacy: ptr::null(),
            host_calls: false,
        });
        Ok(())
    })
}

/// # Safety
/// The options are NULL, or their pointers are NULL or to what they say.
unsafe fn terms(options: *const fog_fog_job_options) -> Result<JobTerms, Failure> {
    let usual = JobTerms::default();
    // SAFETY: as the caller promises.
    let Some(options) = (unsafe { options.as_ref() }) else {
        return Ok(usual);
    };
    // SAFETY: as the caller promises.
    unsafe {
        Ok(JobTerms {
            job: match options.id.is_null() {
                true => None,
                false => Some(parsed(options.id, "id")?),
            },
            limits: limits_or_default(options.limits.as_ref()),
            grants: Grants {
                host_calls: options.host_calls,
                ..Grants::default()
            },
            fuel_estimate: (options.fuel_estimate > 0).then_some(options.fuel_estimate),
            price_max: options.max_price.parse("max_price")?,
            priority: priority(options.priority)?,
            privacy: match options.privacy.is_null() {
                true => usual.privacy,
                false => fogcompute::privacy_named(text(options.privacy, "privacy")?)?,
            },
        })
    }
}

/// Asks the coordinator of a fog of processes: submits jobs, fetches results, watches what happens,
/// drains nodes.
///
/// The link is made at the first call and again whenever it ends; what was not answered is asked again,
/// and nothing is done twice. Every call waits for its answer, and can end with
/// FOG_STATUS_COORDINATOR_UNREACHABLE, FOG_STATUS_COORDINATOR_SILENT, FOG_STATUS_INVALID_ANSWER,
/// FOG_STATUS_INVALID_TOKEN, FOG_STATUS_TOKEN_EXPIRED, FOG_STATUS_TOKEN_FORBIDS,
/// FOG_STATUS_CALL_REFUSED, FOG_STATUS_COORDINATOR_BUSY and FOG_STATUS_CLOSED.
///
/// A child of fork() has none of its threads: there calls fail with FOG_STATUS_CLOSED, callbacks do not
/// run, and fog_fog_client_free() stops nothing.
pub struct fog_fog_client {
    access: FogAccess,
    completions: Completions,
}

impl Drop for fog_fog_client {
    fn drop(&mut self) {
        self.access.close();
        self.completions.finish();
    }
}

fn client(config: FogClientConfig, patience_ms: u64) -> Result<fog_fog_client, Failure> {
    let config = FogClientConfig {
        patience: Duration::from_millis(patience_ms),
        ..config
    };
    Ok(fog_fog_client {
        access: FogAccess::start(config)?,
        completions: Completions::default(),
    })
}

/// Makes a client of a fog.
///
/// Thread safety: any thread.
/// @param token       the text of a token's file, as fog_fog_coordinator_issue_token() and
///                    `fogcompute token issue` make it
/// @param patience_ms how long a call may take, in milliseconds
/// @param out         receives the client; free it with fog_fog_client_free()
/// @return FOG_STATUS_INVALID_TOKEN, FOG_STATUS_NODE if the system gives no thread
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_client_new(
    token: *const c_char,
    patience_ms: u64,
    out: *mut *mut fog_fog_client,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a string and gives room for a handle.
        let (token, out) = unsafe { (text(token, "token")?, result(out, "out")?) };
        give(
            out,
            client(FogClientConfig::from_token(token)?, patience_ms)?,
        );
        Ok(())
    })
}

/// Makes a client of a fog with the token in a file.
///
/// Thread safety: any thread.
/// @param path        the file
/// @param patience_ms how long a call may take, in milliseconds
/// @param out         receives the client; free it with fog_fog_client_free()
/// @return FOG_STATUS_INVALID_TOKEN, the codes of storage, FOG_STATUS_NODE if the system gives no thread
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_client_open(
    path: *const c_char,
    patience_ms: u64,
    out: *mut *mut fog_fog_client,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a string and gives room for a handle.
        let (path, out) = unsafe { (text(path, "path")?, result(out, "out")?) };
        give(
            out,
            client(FogClientConfig::read(Path::new(path))?, patience_ms)?,
        );
        Ok(())
    })
}

/// Submits a job that runs a WebAssembly module once on each input, and tells how it stands once it is
/// on the coordinator's disk.
///
/// Thread safety: any thread, at the same time as other calls but fog_fog_client_free().
/// @param client     the client
/// @param module     the WebAssembly module
/// @param module_len its length, up to 1 MiB
/// @param inputs     an input for each task
/// @param inputs_len how many
/// @param options    what the tasks have in common, or NULL for the usual
/// @param out        receives how it stands
/// @return FOG_STATUS_INVALID_ARGUMENT, FOG_STATUS_INVALID_JOB, FOG_STATUS_ID_REUSED for the id of
///         another job, FOG_STATUS_INFEASIBLE if no node could take a task of it,
///         FOG_STATUS_INSUFFICIENT_FUNDS, FOG_STATUS_TOKEN_USED_UP, and those of every call
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_client_submit(
    client: *const fog_fog_client,
    module: *const u8,
    module_len: usize,
    inputs: *const fog_fog_input,
    inputs_len: usize,
    options: *const fog_fog_job_options,
    out: *mut fog_fog_job,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, as many bytes and inputs as it says, options or
        // NULL, and room for the struct.
        let (client, module, inputs, terms, out) = unsafe {
            let inputs = slice(inputs, inputs_len, "inputs")?;
            let inputs = inputs
                .iter()
                .map(|input| Ok(slice(input.data, input.len, "input")?.to_vec()))
                .collect::<Result<Vec<_>, Failure>>()?;
            (
                reference(client, "client")?,
                slice(module, module_len, "module")?,
                inputs,
                terms(options)?,
                result(out, "out")?,
            )
        };
        let order = JobOrder::of(&Arc::from(module), inputs, &terms)?;
        out.write(client.access.submit(order).wait()?.into());
        Ok(())
    })
}

/// Tells how a job stands.
///
/// Thread safety: any thread, at the same time as other calls but fog_fog_client_free().
/// @param client the client
/// @param job    the job's identifier
/// @param out    receives how it stands
/// @return FOG_STATUS_UNKNOWN_TASK, FOG_STATUS_INVALID_ARGUMENT, and those of every call
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_client_job(
    client: *const fog_fog_client,
    job: *const c_char,
    out: *mut fog_fog_job,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string, and room for the struct.
        let (client, job, out) = unsafe {
            (
                reference(client, "client")?,
                parsed(job, "job")?,
                result(out, "out")?,
            )
        };
        out.write(client.access.job(job).wait()?.into());
        Ok(())
    })
}

/// Tells how the latest jobs of the account stand, the latest first.
///
/// Thread safety: any thread, at the same time as other calls but fog_fog_client_free().
/// @param client   the client
/// @param out      receives them
/// @param capacity how many there is room for: no more are asked for, and never more than 1,000
/// @param out_len  receives how many came
/// @return those of every call
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_client_jobs(
    client: *const fog_fog_client,
    out: *mut fog_fog_job,
    capacity: usize,
    out_len: *mut usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for a number.
        let (client, out_len) =
            unsafe { (reference(client, "client")?, result(out_len, "out_len")?) };
        let limit = u16::try_from(capacity).unwrap_or(u16::MAX);
        let jobs = client.access.jobs(limit).wait()?;
        check_room(jobs.len(), capacity, out_len)?;
        let jobs: Vec<_> = jobs.into_iter().map(fog_fog_job::from).collect();
        // SAFETY: the caller has room for `capacity` of them, and there are no more.
        unsafe { fill_items(&jobs, out, "out") }?;
        out_len.write(jobs.len());
        Ok(())
    })
}

/// Waits until all tasks of a job have ended.
///
/// Thread safety: any thread, at the same time as other calls but fog_fog_client_free(). Another thread
/// ends the waiting with fog_fog_client_close().
/// @param client the client
/// @param job    the job's identifier
/// @param out    receives how it stands
/// @return FOG_STATUS_UNKNOWN_TASK, FOG_STATUS_INVALID_ARGUMENT, and those of every call: then waiting
///         again goes on
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_client_wait(
    client: *const fog_fog_client,
    job: *const c_char,
    out: *mut fog_fog_job,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string, and room for the struct.
        let (client, job, out) = unsafe {
            (
                reference(client, "client")?,
                parsed(job, "job")?,
                result(out, "out")?,
            )
        };
        out.write(client.access.ended(job).wait()?.into());
        Ok(())
    })
}

/// Tells how the tasks of a job stand, in the order of its inputs.
///
/// Thread safety: any thread, at the same time as other calls but fog_fog_client_free().
/// @param client   the client
/// @param job      the job's identifier
/// @param out      receives them
/// @param capacity how many there is room for
/// @param out_len  receives how many there are
/// @return FOG_STATUS_BUFFER_TOO_SMALL, FOG_STATUS_UNKNOWN_TASK, FOG_STATUS_INVALID_ARGUMENT, and those
///         of every call
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_client_tasks(
    client: *const fog_fog_client,
    job: *const c_char,
    out: *mut fog_fog_task,
    capacity: usize,
    out_len: *mut usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string, and room for a number.
        let (client, job, out_len) = unsafe {
            (
                reference(client, "client")?,
                parsed(job, "job")?,
                result(out_len, "out_len")?,
            )
        };
        let tasks = client.access.tasks(job).wait()?;
        check_room(tasks.len(), capacity, out_len)?;
        let tasks: Vec<_> = tasks.into_iter().map(fog_fog_task::from).collect();
        // SAFETY: the caller has room for `capacity` of them, and there are no more.
        unsafe { fill_items(&tasks, out, "out") }?;
        out_len.write(tasks.len());
        Ok(())
    })
}

/// Tells how a task stands.
///
/// Thread safety: any thread, at the same time as other calls but fog_fog_client_free().
/// @param client the client
/// @param task   the task's identifier
/// @param out    receives how it stands
/// @return FOG_STATUS_UNKNOWN_TASK, FOG_STATUS_INVALID_ARGUMENT, and those of every call
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_client_task(
    client: *const fog_fog_client,
    task: *const c_char,
    out: *mut fog_fog_task,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string, and room for the struct.
        let (client, task, out) = unsafe {
            (
                reference(client, "client")?,
                parsed(task, "task")?,
                result(out, "out")?,
            )
        };
        out.write(client.access.task(task).wait()?.into());
        Ok(())
    })
}

/// Gives the output of a task that has ended.
///
/// Thread safety: any thread, at the same time as other calls but fog_fog_client_free().
/// @param client the client
/// @param task   the task's identifier
/// @param out    receives the output; free it with fog_output_free()
/// @return why it has none; FOG_STATUS_TASK_OPEN if it has not ended, FOG_STATUS_NO_RESULT if it was
///         cancelled, given up or is forgotten, FOG_STATUS_UNKNOWN_TASK, FOG_STATUS_INVALID_ARGUMENT,
///         and those of every call
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_client_result(
    client: *const fog_fog_client,
    task: *const c_char,
    out: *mut *mut fog_output,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string, and room for a handle.
        let (client, task, out) = unsafe {
            (
                reference(client, "client")?,
                parsed(task, "task")?,
                result(out, "out")?,
            )
        };
        let report = client.access.result(task).wait()?;
        give(out, fog_output(fogcompute::output_of(report)?));
        Ok(())
    })
}

/// Gives what a task that has ended wrote to its log, the end of it if it was more than 64 KiB: empty if
/// it wrote nothing, was granted no host calls, or its log is forgotten. Its NUL bytes are spaces.
///
/// Thread safety: any thread, at the same time as other calls but fog_fog_client_free().
/// @param client the client
/// @param task   the task's identifier
/// @param out    receives the log, in UTF-8; free it with fog_string_free()
/// @return FOG_STATUS_TASK_OPEN if it has not ended, FOG_STATUS_UNKNOWN_TASK,
///         FOG_STATUS_INVALID_ARGUMENT, and those of every call
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_client_log(
    client: *const fog_fog_client,
    task: *const c_char,
    out: *mut *mut c_char,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string, and room for a string.
        let (client, task, out) = unsafe {
            (
                reference(client, "client")?,
                parsed(task, "task")?,
                result(out, "out")?,
            )
        };
        give_text(out, &client.access.log(task).wait()?);
        Ok(())
    })
}

/// Ends what has not ended of a job.
///
/// Thread safety: any thread, at the same time as other calls but fog_fog_client_free().
/// @param client the client
/// @param job    the job's identifier
/// @param tasks  receives how many tasks that were
/// @return FOG_STATUS_UNKNOWN_TASK, FOG_STATUS_INVALID_ARGUMENT, and those of every call
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_client_cancel(
    client: *const fog_fog_client,
    job: *const c_char,
    tasks: *mut u32,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string, and room for a number.
        let (client, job, tasks) = unsafe {
            (
                reference(client, "client")?,
                parsed(job, "job")?,
                result(tasks, "tasks")?,
            )
        };
        tasks.write(client.access.cancel(job).wait()?);
        Ok(())
    })
}

/// Ends a task.
///
/// Thread safety: any thread, at the same time as other calls but fog_fog_client_free().
/// @param client the client
/// @param task   the task's identifier
/// @param was    receives whether it had not ended, or NULL
/// @return FOG_STATUS_UNKNOWN_TASK, FOG_STATUS_INVALID_ARGUMENT, and those of every call
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_client_cancel_task(
    client: *const fog_fog_client,
    task: *const c_char,
    was: *mut bool,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string, and NULL or room for the result.
        let (client, task, was) = unsafe {
            (
                reference(client, "client")?,
                parsed(task, "task")?,
                optional_result(was),
            )
        };
        let cancelled = client.access.cancel_task(task).wait()?;
        if let Some(was) = was {
            was.write(cancelled);
        }
        Ok(())
    })
}

/// Gives a compute node no more tasks; it finishes what it has.
///
/// Thread safety: any thread, at the same time as other calls but fog_fog_client_free().
/// @param client the client
/// @param node   the node's identifier
/// @return FOG_STATUS_UNKNOWN_NODE, FOG_STATUS_INVALID_ARGUMENT, and those of every call
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_client_drain(
    client: *const fog_fog_client,
    node: *const c_char,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and a string.
        let (client, node) = unsafe { (reference(client, "client")?, parsed(node, "node")?) };
        Ok(client.access.drain(node).wait()?)
    })
}

/// Gives a compute node tasks again.
///
/// Thread safety: any thread, at the same time as other calls but fog_fog_client_free().
/// @param client the client
/// @param node   the node's identifier
/// @return FOG_STATUS_UNKNOWN_NODE, FOG_STATUS_INVALID_ARGUMENT, and those of every call
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_client_undrain(
    client: *const fog_fog_client,
    node: *const c_char,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and a string.
        let (client, node) = unsafe { (reference(client, "client")?, parsed(node, "node")?) };
        Ok(client.access.undrain(node).wait()?)
    })
}

/// Tells what the fog looks like: every node that is there.
///
/// Thread safety: any thread, at the same time as other calls but fog_fog_client_free().
/// @param client   the client
/// @param out      receives the nodes
/// @param capacity how many there is room for
/// @param out_len  receives how many there are
/// @return FOG_STATUS_BUFFER_TOO_SMALL, and those of every call
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_client_topology(
    client: *const fog_fog_client,
    out: *mut fog_fog_member,
    capacity: usize,
    out_len: *mut usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for a number.
        let (client, out_len) =
            unsafe { (reference(client, "client")?, result(out_len, "out_len")?) };
        let topology = client.access.topology().wait()?;
        check_room(topology.nodes.len(), capacity, out_len)?;
        let members: Vec<_> = topology.nodes.iter().map(fog_fog_member::from).collect();
        // SAFETY: the caller has room for `capacity` of them, and there are no more.
        unsafe { fill_items(&members, out, "out") }?;
        out_len.write(members.len());
        Ok(())
    })
}

/// Tells what the fog looked like before: how many compute nodes there were, what they lent and did, the
/// oldest first. At most 100 snapshots since the coordinator was started.
///
/// Thread safety: any thread, at the same time as other calls but fog_fog_client_free().
/// @param client   the client
/// @param out      receives the snapshots
/// @param capacity how many there is room for
/// @param out_len  receives how many there are
/// @return FOG_STATUS_BUFFER_TOO_SMALL, and those of every call
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_client_topology_history(
    client: *const fog_fog_client,
    out: *mut fog_fog_snapshot,
    capacity: usize,
    out_len: *mut usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for a number.
        let (client, out_len) =
            unsafe { (reference(client, "client")?, result(out_len, "out_len")?) };
        let topology = client.access.topology().wait()?;
        check_room(topology.history.len(), capacity, out_len)?;
        let history: Vec<_> = topology
            .history
            .iter()
            .map(fog_fog_snapshot::from)
            .collect();
        // SAFETY: the caller has room for `capacity` of them, and there are no more.
        unsafe { fill_items(&history, out, "out") }?;
        out_len.write(history.len());
        Ok(())
    })
}

/// Gives what the coordinator counts, in the text format of Prometheus.
///
/// Thread safety: any thread, at the same time as other calls but fog_fog_client_free().
/// @param client the client
/// @param out    receives the text; free it with fog_string_free()
/// @return those of every call
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_client_metrics(
    client: *const fog_fog_client,
    out: *mut *mut c_char,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for a string.
        let (client, out) = unsafe { (reference(client, "client")?, result(out, "out")?) };
        give_text(out, &client.access.metrics().wait()?);
        Ok(())
    })
}

/// Tells the number of the last thing that happened.
///
/// Thread safety: any thread, at the same time as other calls but fog_fog_client_free().
/// @param client the client
/// @param number receives the number
/// @return those of every call
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_client_last_event(
    client: *const fog_fog_client,
    number: *mut u64,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for a number.
        let (client, number) = unsafe { (reference(client, "client")?, result(number, "number")?) };
        number.write(client.access.last_event().wait()?);
        Ok(())
    })
}

/// What happens in a fog, in order. Nothing is missed and nothing comes twice, also if the coordinator
/// is started again meanwhile.
pub struct fog_fog_watch(FogWatch);

/// Watches what happens to jobs of the account.
///
/// Thread safety: any thread, at the same time as other calls but fog_fog_client_free().
/// @param client the client
/// @param after  the number of the event to go on behind; 0 for everything that is remembered
/// @param out    receives the watch; free it with fog_fog_watch_free(), before the client or after
/// @return FOG_STATUS_CLOSED in a forked child
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_client_watch(
    client: *const fog_fog_client,
    after: u64,
    out: *mut *mut fog_fog_watch,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for one.
        let (client, out) = unsafe { (reference(client, "client")?, result(out, "out")?) };
        give(out, fog_fog_watch(client.access.watch(after)?));
        Ok(())
    })
}

/// The next event. Waits for it if there is none.
///
/// Thread safety: any thread, at the same time as other calls but fog_fog_watch_free(). Another thread
/// ends the waiting with fog_fog_watch_close().
/// @param watch      the watch
/// @param timeout_ns how long to wait, in nanoseconds; 0 to take only what is there
/// @param out        receives the event
/// @param received   receives whether there was one; if not, nothing is written to `out`
/// @return what keeps it from watching, one of those of every call of a client: the next call goes on
///         where it was; FOG_STATUS_CLOSED when there is none and none will come
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_watch_receive(
    watch: *const fog_fog_watch,
    timeout_ns: u64,
    out: *mut fog_fog_event,
    received: *mut bool,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the struct and the flag.
        let (watch, out, received) = unsafe {
            (
                reference(watch, "watch")?,
                result(out, "out")?,
                result(received, "received")?,
            )
        };
        let event = watch.0.receive_within(Duration::from_nanos(timeout_ns))?;
        received.write(event.is_some());
        if let Some(event) = event {
            out.write(FogRecord::from(event).into());
        }
        Ok(())
    })
}

/// Watches no more. What has come can still be received. Closing again does nothing.
///
/// Thread safety: any thread, at the same time as other calls but fog_fog_watch_free().
/// @param watch the watch
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_watch_close(watch: *const fog_fog_watch) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle.
        unsafe { reference(watch, "watch") }?.0.close();
        Ok(())
    })
}

/// Ends a watch and frees it.
///
/// Thread safety: no other call may use it.
/// @param watch the watch, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_watch_free(watch: *mut fog_fog_watch) {
    // SAFETY: the caller passes a handle of ours, once, or NULL.
    unsafe { free(watch) }
}

/// Is told of an event. Runs on a thread of the library, so it should be quick: the callbacks of one
/// client take turns.
///
/// @param user_data what was given with the watch
/// @param event     the event, valid until the callback returns
/// @return 0 to go on, anything else to watch no more
pub type fog_fog_observer =
    Option<unsafe extern "C" fn(user_data: *mut c_void, event: *const fog_fog_event) -> i32>;

/// Is told how a watch ended. Runs once for each watch that was begun, on a thread of the library.
///
/// @param user_data what was given with the watch
/// @param status    FOG_STATUS_OK when the observer wanted no more; FOG_STATUS_CLOSED; what kept it
///                  from watching
/// @param last      the number of the last event that was told: another watch goes on behind it
/// @param message   what went wrong, for people, valid until the callback returns; empty if nothing
pub type fog_fog_watched = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        status: fog_status,
        last: u64,
        message: *const c_char,
    ),
>;

/// Watches what happens to jobs of the account, and tells of each event as it comes. If this succeeds,
/// `done` runs once, after the last event; if it fails, `done` does not run.
///
/// Thread safety: any thread, at the same time as other calls but fog_fog_client_free().
/// @param client    the client
/// @param after     the number of the event to go on behind; 0 for everything that is remembered
/// @param observer  is told of each event
/// @param done      is told how it ended
/// @param user_data passed to both as it is; must be usable from another thread until `done` has run
/// @return FOG_STATUS_INVALID_ARGUMENT, FOG_STATUS_CLOSED in a forked child, FOG_STATUS_NODE if the
///         system gives no thread
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_client_observe(
    client: *const fog_fog_client,
    after: u64,
    observer: fog_fog_observer,
    done: fog_fog_watched,
    user_data: *mut c_void,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle.
        let client = unsafe { reference(client, "client") }?;
        let observer = observer.ok_or_else(|| Failure::argument("observer is NULL"))?;
        let done = done.ok_or_else(|| Failure::argument("done is NULL"))?;
        // First of all: a forked child is refused before it waits for a lock, which a thread that
        // only its parent has may hold.
        let watch = Arc::new(client.access.watch(after)?);
        client.completions.start().map_err(|error| Failure {
            status: fog_status::Node,
            message: format!("thread: {error}"),
        })?;
        let (told, ends) = (UserData::new(user_data), Arc::clone(&watch));
        let user_data = UserData::new(user_data);
        let callback = Callback::new(move |result: Result<(), Failure>| {
            let (status, message) = match result {
                Ok(()) => (fog_status::Ok, c_string("")),
                Err(failure) => (failure.status, c_string(&failure.message)),
            };
            let user_data = user_data.into_pointer();
            // SAFETY: the caller promised that both may be used from another thread until now.
            unsafe { done(user_data, status, ends.last(), message.as_ptr()) };
        });
        let watching = async move {
            loop {
                watch.readable().await;
                while let Some(event) = watch.try_receive()? {
                    let event = fog_fog_event::from(FogRecord::from(event));
                    // SAFETY: the caller promised that both may be used from another thread.
                    if unsafe { observer(told.pointer(), &raw const event) } != 0 {
                        return Ok::<(), Failure>(());
                    }
                }
            }
        };
        client.completions.add(watching, callback);
        Ok(())
    })
}

/// Ends the client: what waits ends with FOG_STATUS_CLOSED, and watching ends. Closing again does
/// nothing.
///
/// Thread safety: any thread, at the same time as other calls but fog_fog_client_free().
/// @param client the client
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_client_close(client: *const fog_fog_client) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle.
        unsafe { reference(client, "client") }?.access.close();
        Ok(())
    })
}

/// Closes a client and frees it. Waits until the callbacks of what it was asked have run, unless it is
/// called from one of them.
///
/// Thread safety: no other call may use it.
/// @param client the client, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_client_free(client: *mut fog_fog_client) {
    // SAFETY: the caller passes a handle of ours, once, or NULL.
    unsafe { free(client) }
}

/// How a node of a fog is made. Fill it with fog_fog_node_config_default() and change what should
/// differ.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_fog_node_config {
    /// The mix layer it is in, from 0; -1 to compute.
    pub layer: i32,
    /// The address it accepts links at, of which port 0 is any that is free; NULL for 127.0.0.1:0.
    pub listen: *const c_char,
    /// When and how much it lends, by the sensors of this device; NULL for the usual policy. It may be
    /// freed after the call.
    pub policy: *const fog_harvest_policy,
    /// Base units it asks for 10^9 fuel.
    pub price_per_gigafuel: fog_amount,
    /// From one report to its coordinator to the next, in milliseconds.
    pub heartbeat_ms: u64,
    /// Nodes that share this machine, itself included, at least 1: it promises its part of what the policy
    /// lends.
    pub nodes_on_machine: u16,
}

/// Puts the usual configuration of a node of a fog into a struct: it computes, for a credit for 10^9
/// fuel, alone on its machine, and reports every 30 seconds.
///
/// Thread safety: any thread.
/// @param out receives the configuration
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_node_config_default(out: *mut fog_fog_node_config) -> fog_status {
    guard(|| {
        let nobody = fogcompute::NodeId::from_bytes([0; 32]);
        let usual = NodeConfig::new(([0, 0, 0, 0], 0).into(), nobody, PathBuf::new());
        // SAFETY: the caller gives room for the struct.
        unsafe { result(out, "out") }?.write(fog_fog_node_config {
            layer: -1,
            listen: ptr::null(),
            policy: ptr::null(),
            price_per_gigafuel: usual.price_per_gigafuel.into(),
            heartbeat_ms: u64::try_from(usual.heartbeat.as_millis()).unwrap_or(u64::MAX),
            nodes_on_machine: usual.nodes_on_machine.get(),
        });
        Ok(())
    })
}

/// How a node of a fog is, as far as it can tell itself.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_fog_node_status {
    /// Whether its coordinator has let it in, on the link that is there now.
    pub joined: bool,
    /// Whether it lends compute now.
    pub lends: bool,
    /// Whether it has ended.
    pub ended: bool,
}

/// A node of a fog in this process: it runs the fog's tasks when its policy allows it, or mixes packets.
///
/// It dials its coordinator until that lets it in, and again whenever the link ends. A node that is
/// made again with the same data goes on.
///
/// A child of fork() has none of its threads: there calls fail with FOG_STATUS_CLOSED, and
/// fog_fog_node_free() stops nothing.
pub struct fog_fog_node {
    node: FogNode,
    completions: Completions,
}

impl Drop for fog_fog_node {
    fn drop(&mut self) {
        self.node.close();
        self.completions.finish();
    }
}

/// Starts a node of a fog.
///
/// Thread safety: any thread.
/// @param coordinator    where its coordinator accepts links
/// @param coordinator_id who that is
/// @param data           the folder for its key and what it is at; made if there is none
/// @param config         the configuration, or NULL for the usual
/// @param out            receives the node; free it with fog_fog_node_free()
/// @return FOG_STATUS_INVALID_ARGUMENT, FOG_STATUS_INVALID_POLICY, FOG_STATUS_LISTEN,
///         FOG_STATUS_NODE, and the codes of storage
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_node_start(
    coordinator: *const c_char,
    coordinator_id: *const c_char,
    data: *const c_char,
    config: *const fog_fog_node_config,
    out: *mut *mut fog_fog_node,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes strings, a configuration whose pointers are NULL or to what they
        // say, or NULL, and room for a handle.
        let (config, out) = unsafe {
            let coordinator = parse_address(text(coordinator, "coordinator")?, "coordinator")?;
            let id = parsed(coordinator_id, "coordinator_id")?;
            let usual = NodeConfig::new(coordinator, id, text(data, "data")?);
            let config = match config.as_ref() {
                None => usual,
                Some(config) => NodeConfig {
                    role: fogcompute::role_of(match config.layer {
                        -1 => None,
                        layer => {
                            Some(u8::try_from(layer).map_err(|_| {
                                Failure::argument(format!("{layer} is no mix layer"))
                            })?)
                        }
                    }),
                    listen: match config.listen.is_null() {
                        true => usual.listen,
                        false => parse_address(text(config.listen, "listen")?, "listen")?,
                    },
                    policy: match config.policy.as_ref() {
                        Some(policy) => policy.0.clone(),
                        None => usual.policy.clone(),
                    },
                    price_per_gigafuel: config.price_per_gigafuel.parse("price_per_gigafuel")?,
                    heartbeat: Duration::from_millis(config.heartbeat_ms),
                    nodes_on_machine: NonZeroU16::new(config.nodes_on_machine)
                        .ok_or_else(|| Failure::argument("nodes_on_machine is 0"))?,
                    ..usual
                },
            };
            (config, result(out, "out")?)
        };
        let node = fog_fog_node {
            node: FogNode::start(config, None)?,
            completions: Completions::default(),
        };
        give(out, node);
        Ok(())
    })
}

/// Tells who a node is.
///
/// Thread safety: any thread, at the same time as other calls but fog_fog_node_free().
/// @param node the node
/// @param out  receives its identifier
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_node_id(
    node: *const fog_fog_node,
    out: *mut fog_node_id,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the struct.
        let (node, out) = unsafe { (reference(node, "node")?, result(out, "out")?) };
        out.write(fog_node_id {
            text: chars(&node.node.id().to_string()),
        });
        Ok(())
    })
}

/// Tells how a node is.
///
/// Thread safety: any thread, at the same time as other calls but fog_fog_node_free().
/// @param node    the node
/// @param out     receives how it is
/// @param trouble receives why it was not let in, or could not reach its coordinator, the last time that
///                it tried, empty if it was; free it with fog_string_free()
/// @return why it could not go on, once; FOG_STATUS_CLOSED in a forked child
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_node_status_of(
    node: *const fog_fog_node,
    out: *mut fog_fog_node_status,
    trouble: *mut *mut c_char,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the struct and a string.
        let (node, out, trouble) = unsafe {
            (
                reference(node, "node")?,
                result(out, "out")?,
                result(trouble, "trouble")?,
            )
        };
        let status = node.node.status()?;
        out.write(fog_fog_node_status {
            joined: status.joined,
            lends: status.lends,
            ended: status.ended,
        });
        give_text(trouble, &status.trouble.unwrap_or_default());
        Ok(())
    })
}

/// Is told how waiting for a node to join ended. Runs once, on a thread of the library.
///
/// @param user_data what was given with the wait
/// @param status    FOG_STATUS_OK when its coordinator has let it in; why it could not go on;
///                  FOG_STATUS_CLOSED
/// @param message   what went wrong, for people, valid until the callback returns; empty if nothing
pub type fog_fog_joined = Option<
    unsafe extern "C" fn(user_data: *mut c_void, status: fog_status, message: *const c_char),
>;

/// Tells when its coordinator has let a node in. If this succeeds, `done` runs once; if it fails, `done`
/// does not run.
///
/// Thread safety: any thread, at the same time as other calls but fog_fog_node_free().
/// @param node      the node
/// @param done      is told
/// @param user_data passed to `done` as it is; must be usable from another thread until then
/// @return FOG_STATUS_INVALID_ARGUMENT, FOG_STATUS_CLOSED in a forked child, FOG_STATUS_NODE if the
///         system gives no thread
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_node_joined(
    node: *const fog_fog_node,
    done: fog_fog_joined,
    user_data: *mut c_void,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle.
        let node = unsafe { reference(node, "node") }?;
        let done = done.ok_or_else(|| Failure::argument("done is NULL"))?;
        // A forked child is refused here, before it waits for a lock.
        node.node.status()?;
        node.completions.start().map_err(|error| Failure {
            status: fog_status::Node,
            message: format!("thread: {error}"),
        })?;
        let user_data = UserData::new(user_data);
        let callback = Callback::new(move |result: Result<(), Failure>| {
            let (status, message) = match result {
                Ok(()) => (fog_status::Ok, c_string("")),
                Err(failure) => (failure.status, c_string(&failure.message)),
            };
            // SAFETY: the caller promised that both may be used from another thread until now.
            unsafe { done(user_data.into_pointer(), status, message.as_ptr()) };
        });
        node.completions.add(node.node.joined(), callback);
        Ok(())
    })
}

/// Ends a node. Its tasks go on when it is made again with the same data. Closing again does nothing.
///
/// Thread safety: any thread, at the same time as other calls but fog_fog_node_free().
/// @param node the node
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_node_close(node: *const fog_fog_node) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle.
        unsafe { reference(node, "node") }?.node.close();
        Ok(())
    })
}

/// Closes a node and frees it.
///
/// Thread safety: no other call may use it.
/// @param node the node, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_node_free(node: *mut fog_fog_node) {
    // SAFETY: the caller passes a handle of ours, once, or NULL.
    unsafe { free(node) }
}

/// How a coordinator runs. Fill it with fog_fog_coordinator_config_default() and change what should
/// differ.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_fog_coordinator_config {
    /// The address it accepts links at, of which port 0 is any that is free; NULL for 127.0.0.1:0.
    pub listen: *const c_char,
    /// Mix layers that a task crosses on its way, 1 to 4.
    pub layers: u8,
    /// Mean delay at each mixnode, in milliseconds.
    pub delay_ms: u64,
    /// How tasks come to nodes: optimised, or the name of a way to route them; NULL for least_loaded.
    pub placement: *const c_char,
    /// What its owner's account begins with, or NULL for a million credits. It counts at the first
    /// start, and must be the same or NULL later.
    pub endowment: *const fog_amount,
    /// Most nodes, 1 to 4095.
    pub nodes_max: usize,
}

/// Puts the usual configuration of a coordinator into a struct: tasks cross one mixnode and go to the
/// least loaded node.
///
/// Thread safety: any thread.
/// @param out receives the configuration
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_coordinator_config_default(
    out: *mut fog_fog_coordinator_config,
) -> fog_status {
    guard(|| {
        let usual = FogCoordinatorConfig::new(PathBuf::new());
        // SAFETY: the caller gives room for the struct.
        unsafe { result(out, "out") }?.write(fog_fog_coordinator_config {
            listen: ptr::null(),
            layers: usual.layers,
            delay_ms: u64::try_from(usual.delay_mean.as_millis()).unwrap_or(u64::MAX),
            placement: ptr::null(),
            endowment: ptr::null(),
            nodes_max: usual.nodes_max,
        });
        Ok(())
    })
}

/// What a token grants. Fill it with fog_fog_token_terms_default() and change what should differ.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_fog_token_terms {
    /// What it permits, of submit, cancel, query, drain and maintain, with commas between them; NULL for
    /// the first three.
    pub actions: *const c_char,
    /// Most tasks that may be submitted with it.
    pub tasks_max: u64,
    /// Most that may be reserved for them.
    pub max_spend: fog_amount,
    /// How long it is good, from now on, in milliseconds.
    pub valid_for_ms: u64,
    /// Who pays, or NULL for the coordinator's owner.
    pub account: *const c_char,
}

/// Puts the usual terms of a token into a struct: a million tasks, a thousand credits, 30 days.
///
/// Thread safety: any thread.
/// @param out receives the terms
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_token_terms_default(out: *mut fog_fog_token_terms) -> fog_status {
    guard(|| {
        let usual = TokenTerms::default();
        // SAFETY: the caller gives room for the struct.
        unsafe { result(out, "out") }?.write(fog_fog_token_terms {
            actions: ptr::null(),
            tasks_max: usual.tasks_max,
            max_spend: usual.spend_max.into(),
            valid_for_ms: u64::try_from(usual.valid_for.as_millis()).unwrap_or(u64::MAX),
            account: ptr::null(),
        });
        Ok(())
    })
}

/// # Safety
/// The terms are NULL, or their pointers are NULL or to strings.
unsafe fn token_terms(terms: *const fog_fog_token_terms) -> Result<TokenTerms, Failure> {
    let usual = TokenTerms::default();
    // SAFETY: as the caller promises.
    let Some(terms) = (unsafe { terms.as_ref() }) else {
        return Ok(usual);
    };
    // SAFETY: as the caller promises.
    unsafe {
        Ok(TokenTerms {
            account: match terms.account.is_null() {
                true => None,
                false => Some(parsed(terms.account, "account")?),
            },
            actions: match terms.actions.is_null() {
                true => usual.actions,
                false => text(terms.actions, "actions")?
                    .split(',')
                    .map(|name| fogcompute::action_named(name.trim()))
                    .collect::<Result<_, _>>()?,
            },
            tasks_max: terms.tasks_max,
            spend_max: terms.max_spend.parse("max_spend")?,
            valid_for: Duration::from_millis(terms.valid_for_ms),
        })
    }
}

/// The coordinator of a fog in this process. Everything it knows is in a folder: made again with it, also
/// after a crash, and also by the command `fogcompute coordinator run`, it goes on.
///
/// A child of fork() has none of its threads: there calls fail with FOG_STATUS_CLOSED, and
/// fog_fog_coordinator_free() stops nothing.
pub struct fog_fog_coordinator(FogCoordinator);

/// Starts a coordinator.
///
/// Thread safety: any thread.
/// @param data   the folder for everything it knows; made if there is none
/// @param config how it runs, or NULL for the usual
/// @param out    receives the coordinator; free it with fog_fog_coordinator_free()
/// @return FOG_STATUS_INVALID_ARGUMENT, FOG_STATUS_LISTEN, FOG_STATUS_NODE, and the codes of storage
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_coordinator_start(
    data: *const c_char,
    config: *const fog_fog_coordinator_config,
    out: *mut *mut fog_fog_coordinator,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a string, a configuration whose pointers are NULL or to what they
        // say, or NULL, and room for a handle.
        let (config, out) = unsafe {
            let usual = FogCoordinatorConfig::new(text(data, "data")?);
            let config = match config.as_ref() {
                None => usual,
                Some(config) => FogCoordinatorConfig {
                    listen: match config.listen.is_null() {
                        true => usual.listen,
                        false => parse_address(text(config.listen, "listen")?, "listen")?,
                    },
                    layers: config.layers,
                    delay_mean: Duration::from_millis(config.delay_ms),
                    placement: match config.placement.is_null() {
                        true => usual.placement,
                        false => fogcompute::placement_named(text(config.placement, "placement")?)?,
                    },
                    endowment: match config.endowment.as_ref() {
                        None => None,
                        Some(endowment) => Some(endowment.parse("endowment")?),
                    },
                    nodes_max: config.nodes_max,
                    ..usual
                },
            };
            (config, result(out, "out")?)
        };
        give(out, fog_fog_coordinator(FogCoordinator::start(config)?));
        Ok(())
    })
}

/// Tells who a coordinator is and where it accepts links of nodes and submitters.
///
/// Thread safety: any thread, at the same time as other calls but fog_fog_coordinator_free().
/// @param coordinator the coordinator
/// @param id          receives its identifier
/// @param address     receives its address; has room for FOG_ADDRESS_SIZE bytes
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_coordinator_whereabouts(
    coordinator: *const fog_fog_coordinator,
    id: *mut fog_node_id,
    address: *mut c_char,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, and room for the struct and the array.
        let (coordinator, id, address) = unsafe {
            (
                reference(coordinator, "coordinator")?,
                result(id, "id")?,
                result(address.cast::<[c_char; FOG_ADDRESS_SIZE]>(), "address")?,
            )
        };
        id.write(fog_node_id {
            text: chars(&coordinator.0.id().to_string()),
        });
        address.write(chars(&coordinator.0.address().to_string()));
        Ok(())
    })
}

/// Issues a token with a key of its own: the text of a token's file. Whoever has it may ask the
/// coordinator for what it grants.
///
/// Thread safety: any thread, at the same time as other calls but fog_fog_coordinator_free().
/// @param coordinator the coordinator
/// @param terms       what it grants, or NULL for the usual
/// @param out         receives the token; free it with fog_string_free()
/// @return FOG_STATUS_INVALID_ARGUMENT; FOG_STATUS_CLOSED after fog_fog_coordinator_close()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_coordinator_issue_token(
    coordinator: *const fog_fog_coordinator,
    terms: *const fog_fog_token_terms,
    out: *mut *mut c_char,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, terms whose pointers are NULL or to strings, or NULL,
        // and room for a string.
        let (coordinator, terms, out) = unsafe {
            (
                reference(coordinator, "coordinator")?,
                token_terms(terms)?,
                result(out, "out")?,
            )
        };
        give_text(out, &coordinator.0.issue(&terms)?);
        Ok(())
    })
}

/// Ends a coordinator. Jobs go on when it is made again with the same data. Closing again does nothing.
///
/// Thread safety: any thread, at the same time as other calls but fog_fog_coordinator_free().
/// @param coordinator the coordinator
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_coordinator_close(
    coordinator: *const fog_fog_coordinator,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle.
        unsafe { reference(coordinator, "coordinator") }?.0.close();
        Ok(())
    })
}

/// Closes a coordinator and frees it.
///
/// Thread safety: no other call may use it.
/// @param coordinator the coordinator, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_coordinator_free(coordinator: *mut fog_fog_coordinator) {
    // SAFETY: the caller passes a handle of ours, once, or NULL.
    unsafe { free(coordinator) }
}
