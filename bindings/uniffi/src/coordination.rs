//! A fog of processes: who submits, a node of it, and its coordinator.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use fogcompute::base::Priority;
use fogcompute::coord::topology::Snapshot;
use fogcompute::coord::{Coordinate, NodeKind, Status};
use fogcompute::exec::Grants;
use fogcompute::node::FogClientError;
use fogcompute::store::{JobRow, TaskRow};
use fogcompute::{
    Amount, FogAccess, FogCall, FogClientConfig, FogCoordinatorConfig, FogEventKind, FogRecord,
    FogTaskState, JobOrder, JobTerms, NodeConfig, TokenTerms, TopologyNode,
};

use crate::FogError;
use crate::client::Readiness;
use crate::error::{guarded, invalid_argument};
use crate::fog::{Limits, TaskOutput};
use crate::policy::HarvestPolicy;
use crate::topology::parse_address;
use crate::waiting::Waiting;
use crate::worker::{DeviceProbe, HostProbe};

/// What a [`FogEvent`] tells.
#[uniffi::remote(Enum)]
#[non_exhaustive]
pub enum FogEventKind {
    /// A job was admitted.
    Admitted,
    /// A task goes to a node.
    Assigned,
    /// An attempt came to nothing: its task waits again.
    Queued,
    /// A task ended.
    Ended,
    /// All tasks of a job have ended.
    JobEnded,
    /// The watcher was so slow, or away for so long, that events are forgotten.
    Lagged,
}

/// Where a task of a fog is.
#[uniffi::remote(Enum)]
#[non_exhaustive]
pub enum FogTaskState {
    /// It waits for a node.
    Queued,
    /// A node has it.
    Assigned,
    /// It ended with an output.
    Succeeded,
    /// It ended with an error.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// It was given up after its last attempt.
    Lost,
}

/// How a job of a fog stands. Amounts are decimal text of base units.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct JobStatus {
    /// The job, 32 hexadecimal digits.
    pub id: String,
    /// Who pays for it.
    pub account: String,
    /// How urgent it is.
    pub priority: Priority,
    /// How well its tasks are hidden: `public`, `private`, `confidential` or `secret`.
    pub privacy: String,
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
    pub paid: String,
    /// What is reserved for those that have not ended.
    pub reserved: String,
    /// What was reserved and came back.
    pub released: String,
}

impl From<JobRow> for JobStatus {
    fn from(row: JobRow) -> Self {
        let summary = row.summary;
        Self {
            id: row.id.to_string(),
            account: row.owner.to_string(),
            priority: row.priority,
            privacy: row.privacy.name().to_owned(),
            submitted_unix_ms: row.submitted.0,
            succeeded: summary.succeeded as u64,
            failed: summary.failed as u64,
            lost: summary.lost as u64,
            cancelled: summary.cancelled as u64,
            open: summary.open as u64,
            paid: summary.paid.to_string(),
            reserved: summary.reserved.to_string(),
            released: summary.released.to_string(),
        }
    }
}

/// How a task of a job stands.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct JobTask {
    /// The task, 32 hexadecimal digits.
    pub id: String,
    /// Its job.
    pub job: String,
    /// Where it is.
    pub state: FogTaskState,
    /// Attempts that were begun.
    pub attempts: u32,
    /// The node that has it, or had it last.
    pub node: Option<String>,
    /// What was paid for it.
    pub paid: String,
    /// When it last changed, by the coordinator's clock.
    pub changed_unix_ms: u64,
}

impl From<TaskRow> for JobTask {
    fn from(row: TaskRow) -> Self {
        Self {
            id: row.id.to_string(),
            job: row.job.to_string(),
            state: row.state.into(),
            attempts: row.attempts,
            node: row.node.map(|node| node.to_string()),
            paid: row.paid.to_string(),
            changed_unix_ms: row.changed.0,
        }
    }
}

/// Something that happened in a fog. What its kind does not have is missing or 0.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct FogEvent {
    /// What it tells; nothing if this version of the library does not know it.
    pub kind: Option<FogEventKind>,
    /// Its number: watching goes on behind it.
    pub number: u64,
    /// When it was, by the coordinator's clock.
    pub at_unix_ms: Option<u64>,
    /// The job it is about.
    pub job: Option<String>,
    /// The task it is about.
    pub task: Option<String>,
    /// The node a task goes to.
    pub node: Option<String>,
    /// The attempt that begins, from 1, or the attempts that were begun.
    pub attempts: u32,
    /// How a task ended.
    pub state: Option<FogTaskState>,
    /// What was paid for a task that ended.
    pub paid: String,
    /// Tasks of a job that was admitted.
    pub tasks: u32,
    /// Events that are forgotten; 0 if nobody can tell how many.
    pub missed: u64,
}

impl From<FogRecord> for FogEvent {
    fn from(record: FogRecord) -> Self {
        Self {
            kind: record.kind,
            number: record.number,
            at_unix_ms: record.at.map(|at| at.0),
            job: record.job.map(|job| job.to_string()),
            task: record.task.map(|task| task.to_string()),
            node: record.node.map(|node| node.to_string()),
            attempts: record.attempts,
            state: record.state,
            paid: record.paid.to_string(),
            tasks: record.tasks,
            missed: record.missed,
        }
    }
}

/// Where a node is among the others: distances are round trip times.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct FogPlace {
    /// Along three axes, in milliseconds.
    pub position_ms: Vec<f64>,
    /// How long the way to the network's core is, in milliseconds.
    pub height_ms: f64,
    /// By which share of a distance it expects to be wrong.
    pub error: f64,
}

impl From<Coordinate> for FogPlace {
    fn from(place: Coordinate) -> Self {
        Self {
            position_ms: place.position().into(),
            height_ms: place.height(),
            error: place.error(),
        }
    }
}

/// A node of a fog, as its coordinator knows it.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct FogMember {
    /// The node, 64 hexadecimal digits.
    pub id: String,
    /// The mix layer it is in; nothing for a node that computes.
    pub layer: Option<u8>,
    /// `edge_device`, `relay`, `mixnode`, `compute` or `gateway`.
    pub kind: String,
    /// Where it accepts links.
    pub address: String,
    /// `active`, `idle`, `busy`, `suspect`, `draining`, `maintenance` or `offline`.
    pub status: String,
    /// Whether it is left alone because it failed at its tasks.
    pub barred: bool,
    /// Whether its link to the coordinator is up.
    pub linked: bool,
    /// Thousandths of a processor that it lends.
    pub cpu_millis: u64,
    /// Memory that it lends.
    pub memory_bytes: u64,
    /// Thousandths of a processor that nothing is promised of.
    pub free_cpu_millis: u64,
    /// Memory that nothing is promised of.
    pub free_memory_bytes: u64,
    /// Fuel one of its processors burns in a second.
    pub fuel_per_second: u64,
    /// Base units it asks for 10⁹ fuel.
    pub price_per_gigafuel: String,
    /// Time of a message to it and back.
    pub latency_ms: f64,
    /// How likely it is to finish what it takes, 0 to 1.
    pub trust: f64,
    /// Tasks it has.
    pub running: u32,
    /// Tasks that wait for it.
    pub waiting: u32,
    /// Where it is among the others, once round trips were measured.
    pub place: Option<FogPlace>,
}

impl From<TopologyNode> for FogMember {
    fn from(node: TopologyNode) -> Self {
        let status = node.status;
        Self {
            id: status.node.to_string(),
            layer: fogcompute::mix_layer(status.role),
            kind: node.kind.name().to_owned(),
            address: status.address.to_string(),
            status: status.status.name().to_owned(),
            barred: status.barred,
            linked: node.linked,
            cpu_millis: status.cpu_millis,
            memory_bytes: status.memory_bytes,
            free_cpu_millis: node.free_cpu_millis,
            free_memory_bytes: node.free_memory_bytes,
            fuel_per_second: status.fuel_per_second,
            price_per_gigafuel: status.price_per_gigafuel.to_string(),
            latency_ms: status.latency_ms,
            trust: status.trust,
            running: status.running,
            waiting: status.waiting,
            place: node.coordinate.map(FogPlace::from),
        }
    }
}

/// The compute nodes of a fog at one moment, in numbers.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct FogSnapshot {
    /// When, by the coordinator's clock.
    pub at_unix_ms: u64,
    /// How many of each kind, those that are gone included.
    pub kinds: HashMap<String, u64>,
    /// How many of each status.
    pub statuses: HashMap<String, u64>,
    /// Thousandths of a processor that those lend that are there.
    pub cpu_millis: u64,
    /// Memory that they lend.
    pub memory_bytes: u64,
    /// Thousandths of a processor that nothing is promised of.
    pub free_cpu_millis: u64,
    /// Memory that nothing is promised of.
    pub free_memory_bytes: u64,
    /// Tasks that run on them.
    pub running: u64,
    /// Tasks that wait for them.
    pub waiting: u64,
}

impl From<Snapshot> for FogSnapshot {
    fn from(snapshot: Snapshot) -> Self {
        let kinds =
            NodeKind::ALL.map(|kind| (kind.name().to_owned(), snapshot.of_kind(kind) as u64));
        let statuses =
            Status::ALL.map(|status| (status.name().to_owned(), snapshot.of_status(status) as u64));
        Self {
            at_unix_ms: snapshot.at.0,
            kinds: kinds.into(),
            statuses: statuses.into(),
            cpu_millis: snapshot.total.cpu_millis,
            memory_bytes: snapshot.total.memory_bytes,
            free_cpu_millis: snapshot.free.cpu_millis,
            free_memory_bytes: snapshot.free.memory_bytes,
            running: snapshot.running as u64,
            waiting: snapshot.waiting as u64,
        }
    }
}

/// What a fog looks like.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct FogTopology {
    /// When, by the coordinator's clock.
    pub at_unix_ms: u64,
    /// The coordinator, 64 hexadecimal digits.
    pub coordinator: String,
    /// Where the coordinator is among its nodes.
    pub place: FogPlace,
    /// Every node that is there.
    pub members: Vec<FogMember>,
    /// How it was before, the oldest first: at most 100 snapshots since the coordinator was started.
    pub history: Vec<FogSnapshot>,
}

impl From<fogcompute::FogTopology> for FogTopology {
    fn from(topology: fogcompute::FogTopology) -> Self {
        Self {
            at_unix_ms: topology.at.0,
            coordinator: topology.coordinator.to_string(),
            place: topology.coordinate.into(),
            members: topology.nodes.into_iter().map(FogMember::from).collect(),
            history: topology
                .history
                .into_iter()
                .map(FogSnapshot::from)
                .collect(),
        }
    }
}

/// What all tasks of a job have in common. What is left out keeps the library's default.
#[derive(Clone, Debug, Default, PartialEq, uniffi::Record)]
pub struct FogJobOptions {
    /// Names the job, 32 hexadecimal digits; at random if it is left out. Submitted once more it is
    /// the same job.
    #[uniffi(default = None)]
    pub id: Option<String>,
    /// What each task may use.
    #[uniffi(default = None)]
    pub limits: Option<Limits>,
    /// Fuel each will take, as well as one can tell; a tenth of its limit if it is left out.
    #[uniffi(default = None)]
    pub fuel_estimate: Option<u64>,
    /// Most base units that are paid for each; a credit if it is left out.
    #[uniffi(default = None)]
    pub max_price: Option<String>,
    /// How urgent it is.
    #[uniffi(default = None)]
    pub priority: Option<Priority>,
    /// How well its tasks are hidden: `public`, `private`, `confidential` or `secret`.
    #[uniffi(default = None)]
    pub privacy: Option<String>,
    /// Whether each may write a log, tell its progress and keep checkpoints.
    #[uniffi(default = false)]
    pub host_calls: bool,
}

impl FogJobOptions {
    fn parse(self) -> Result<JobTerms, FogError> {
        let usual = JobTerms::default();
        Ok(JobTerms {
            job: self.id.map(|id| id.parse()).transpose()?,
            limits: self.limits.map_or(usual.limits, Into::into),
            grants: Grants {
                host_calls: self.host_calls,
                ..Grants::default()
            },
            fuel_estimate: self.fuel_estimate,
            price_max: amount(self.max_price.as_deref())?.unwrap_or(usual.price_max),
            priority: self.priority.unwrap_or(usual.priority),
            privacy: match self.privacy {
                Some(name) => fogcompute::privacy_named(&name)?,
                None => usual.privacy,
            },
        })
    }
}

fn amount(text: Option<&str>) -> Result<Option<Amount>, FogError> {
    Ok(text.map(str::parse).transpose()?)
}

async fn answered<T: Send + 'static, R>(
    call: FogCall<T>,
    made: impl FnOnce(T) -> R,
) -> Result<R, FogError> {
    let waiting = Waiting::new(async move { Ok(call.await?) });
    Ok(made(waiting.wait().await?))
}

/// Asks the coordinator of a fog: submits jobs, fetches results, watches what happens, drains nodes.
///
/// The link is made at the first call and again whenever it ends; what was not answered is asked
/// again, and nothing is done twice. A call that takes longer than the client is patient ends with
/// [`FogError::CoordinatorUnreachable`] or [`FogError::CoordinatorSilent`]; so every call can, beside
/// [`FogError::Closed`], and those for a token that does not permit it: [`FogError::InvalidToken`],
/// [`FogError::TokenExpired`], [`FogError::TokenForbids`].
#[derive(uniffi::Object)]
pub struct FogClient(FogAccess);

#[uniffi::export]
impl FogClient {
    /// Makes a client. `token` is the text of a token's file, as [`FogCoordinator::issue_token`] and
    /// `fogcompute token issue` make it.
    ///
    /// # Errors
    /// [`FogError::InvalidToken`], [`FogError::Node`] if the system gives no thread.
    #[uniffi::constructor(default(patience_ms = 30000))]
    pub fn new(token: &str, patience_ms: u64) -> Result<Arc<Self>, FogError> {
        guarded(|| {
            let config = FogClientConfig {
                patience: Duration::from_millis(patience_ms),
                ..FogClientConfig::from_token(token)?
            };
            Ok(Arc::new(Self(FogAccess::start(config)?)))
        })
    }

    /// Submits a job that runs a WebAssembly module once on each input, and tells how it stands once
    /// it is on the coordinator's disk.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`], [`FogError::InvalidJob`], [`FogError::IdReused`] for the id of
    /// another job, [`FogError::Infeasible`] if no node could take a task of it,
    /// [`FogError::CoordinatorBusy`], [`FogError::InsufficientFunds`], [`FogError::TokenUsedUp`].
    #[uniffi::method(default(options = None))]
    pub async fn submit(
        &self,
        module: Vec<u8>,
        inputs: Vec<Vec<u8>>,
        options: Option<FogJobOptions>,
    ) -> Result<JobStatus, FogError> {
        let order = guarded(|| {
            let terms = options.unwrap_or_default().parse()?;
            Ok(JobOrder::of(&Arc::from(module), inputs, &terms)?)
        })?;
        answered(self.0.submit(order), JobStatus::from).await
    }

    /// How a job stands.
    ///
    /// # Errors
    /// [`FogError::UnknownTask`], [`FogError::InvalidArgument`].
    pub async fn job(&self, job: String) -> Result<JobStatus, FogError> {
        answered(self.0.job(job.parse()?), JobStatus::from).await
    }

    /// The latest jobs of the account, at most `limit`, and never more than 1,000.
    ///
    /// # Errors
    /// Those of every call.
    #[uniffi::method(default(limit = 100))]
    pub async fn jobs(&self, limit: u16) -> Result<Vec<JobStatus>, FogError> {
        let made = |rows: Vec<JobRow>| rows.into_iter().map(JobStatus::from).collect();
        answered(self.0.jobs(limit), made).await
    }

    /// Begins to wait for the end of all tasks of a job.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`].
    pub fn start_wait(&self, job: String) -> Result<Arc<PendingJob>, FogError> {
        guarded(|| {
            let ended = self.0.ended(job.parse()?);
            Ok(Arc::new(PendingJob(Waiting::new(async move {
                Ok(ended.await?.into())
            }))))
        })
    }

    /// The tasks of a job, in the order of its inputs.
    ///
    /// # Errors
    /// [`FogError::UnknownTask`], [`FogError::InvalidArgument`].
    pub async fn tasks(&self, job: String) -> Result<Vec<JobTask>, FogError> {
        let made = |rows: Vec<TaskRow>| rows.into_iter().map(JobTask::from).collect();
        answered(self.0.tasks(job.parse()?), made).await
    }

    /// How a task stands.
    ///
    /// # Errors
    /// [`FogError::UnknownTask`], [`FogError::InvalidArgument`].
    pub async fn task(&self, task: String) -> Result<JobTask, FogError> {
        answered(self.0.task(task.parse()?), JobTask::from).await
    }

    /// The output of a task that has ended.
    ///
    /// # Errors
    /// Why it has none; [`FogError::TaskOpen`] if it has not ended, [`FogError::NoResult`] if it was
    /// cancelled, given up or is forgotten, [`FogError::UnknownTask`], [`FogError::InvalidArgument`].
    pub async fn result(&self, task: String) -> Result<TaskOutput, FogError> {
        let report = answered(self.0.result(task.parse()?), |report| report).await?;
        let output = fogcompute::output_of(report)?;
        Ok(TaskOutput {
            output: output.output,
            usage: output.usage,
        })
    }

    /// What a task that has ended wrote to its log, the end of it if it was more than 64 KiB: empty if it
    /// wrote nothing, was granted no host calls, or its log is forgotten.
    ///
    /// # Errors
    /// [`FogError::TaskOpen`] if it has not ended, [`FogError::UnknownTask`],
    /// [`FogError::InvalidArgument`].
    pub async fn log(&self, task: String) -> Result<String, FogError> {
        answered(self.0.log(task.parse()?), |log| log).await
    }

    /// Ends what has not ended of a job, and says how many tasks that were.
    ///
    /// # Errors
    /// [`FogError::UnknownTask`], [`FogError::InvalidArgument`].
    pub async fn cancel(&self, job: String) -> Result<u32, FogError> {
        answered(self.0.cancel(job.parse()?), |tasks| tasks).await
    }

    /// Ends a task, and says whether it had not ended.
    ///
    /// # Errors
    /// [`FogError::UnknownTask`], [`FogError::InvalidArgument`].
    pub async fn cancel_task(&self, task: String) -> Result<bool, FogError> {
        answered(self.0.cancel_task(task.parse()?), |open| open).await
    }

    /// Gives a compute node no more tasks; it finishes what it has.
    ///
    /// # Errors
    /// [`FogError::UnknownNode`], [`FogError::InvalidArgument`].
    pub async fn drain(&self, node: String) -> Result<(), FogError> {
        answered(self.0.drain(node.parse()?), |()| ()).await
    }

    /// Gives a compute node tasks again.
    ///
    /// # Errors
    /// [`FogError::UnknownNode`], [`FogError::InvalidArgument`].
    pub async fn undrain(&self, node: String) -> Result<(), FogError> {
        answered(self.0.undrain(node.parse()?), |()| ()).await
    }

    /// What the fog looks like.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn topology(&self) -> Result<FogTopology, FogError> {
        answered(self.0.topology(), FogTopology::from).await
    }

    /// What the coordinator counts, in the text format of Prometheus.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn metrics(&self) -> Result<String, FogError> {
        answered(self.0.metrics(), |text| text).await
    }

    /// The number of the last thing that happened.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn last_event(&self) -> Result<u64, FogError> {
        answered(self.0.last_event(), |number| number).await
    }

    /// Watches what happens to jobs of the account after the event of that number: 0 for everything
    /// that is remembered.
    ///
    /// # Errors
    /// [`FogError::Closed`] in a forked child.
    #[uniffi::method(default(after = 0))]
    pub fn start_watch(&self, after: u64) -> Result<Arc<FogWatch>, FogError> {
        guarded(|| Ok(Arc::new(FogWatch(self.0.watch(after)?))))
    }

    /// Ends the client: what was asked and not answered ends with [`FogError::Closed`], and so does
    /// whoever watches. Closing again does nothing. Releasing the last reference closes it too.
    pub fn close(&self) {
        // Every failure of closing is a thread that has ended already.
        let _ = guarded(|| {
            self.0.close();
            Ok(())
        });
    }
}

/// The end of a job that is waited for. Releasing it leaves the job as it is.
#[derive(uniffi::Object)]
pub struct PendingJob(Waiting<JobStatus>);

#[uniffi::export]
impl PendingJob {
    /// Waits until all tasks of the job have ended. It can be waited for once.
    ///
    /// # Errors
    /// [`FogError::UnknownTask`], [`FogError::Cancelled`] if the wait was given up, and those of
    /// every call of a [`FogClient`]: then waiting again goes on.
    pub async fn wait(&self) -> Result<JobStatus, FogError> {
        self.0.wait().await
    }

    /// Ends the wait with [`FogError::Cancelled`]. The job goes on.
    pub fn cancel(&self) {
        self.0.give_up();
    }
}

/// What happens in a fog, in order. Nothing is missed and nothing comes twice, also if the coordinator
/// is started again meanwhile.
#[derive(uniffi::Object)]
pub struct FogWatch(fogcompute::FogWatch);

#[uniffi::export]
impl FogWatch {
    /// The next event, if one is there.
    ///
    /// # Errors
    /// What keeps it from watching, as of every call of a [`FogClient`]: the next call goes on where it
    /// was. [`FogError::Closed`] when there is none and none will come.
    pub fn try_receive(&self) -> Result<Option<FogEvent>, FogError> {
        guarded(|| {
            let event = self.0.try_receive()?;
            Ok(event.map(|event| FogRecord::from(event).into()))
        })
    }

    /// A wait for the next event, which [`FogWatch::try_receive`] then takes.
    pub fn readable(self: Arc<Self>) -> Arc<Readiness> {
        let closed = || FogClientError::Ended.into();
        Readiness::of(&self, self.0.readable(), closed)
    }

    /// The number of the last event that was taken: another watch goes on behind it.
    pub fn last(&self) -> u64 {
        self.0.last()
    }

    /// Watches no more. What has come can still be taken.
    pub fn close(&self) {
        self.0.close();
    }
}

/// How a node of a fog is made. What is left out keeps the library's default.
#[derive(Clone, Default, uniffi::Record)]
pub struct FogNodeOptions {
    /// The mix layer it is in, from 0; without one it computes.
    #[uniffi(default = None)]
    pub layer: Option<u8>,
    /// The address it accepts links at, of which port 0 is any that is free; without one,
    /// `127.0.0.1:0`.
    #[uniffi(default = None)]
    pub listen: Option<String>,
    /// When and how much it lends.
    #[uniffi(default = None)]
    pub policy: Option<Arc<HarvestPolicy>>,
    /// Reads the device; without one, its own sensors do.
    #[uniffi(default = None)]
    pub probe: Option<Arc<dyn DeviceProbe>>,
    /// Base units it asks for 10⁹ fuel; without a number, a credit.
    #[uniffi(default = None)]
    pub price_per_gigafuel: Option<String>,
    /// From one report to its coordinator to the next, in milliseconds; without a number, 30 seconds.
    #[uniffi(default = None)]
    pub heartbeat_ms: Option<u64>,
    /// Nodes that share this machine, itself included: it promises its part; without a number, 1.
    #[uniffi(default = None)]
    pub nodes_on_machine: Option<u16>,
}

/// How a node of a fog is, as far as it can tell itself.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct FogNodeStatus {
    /// Whether its coordinator has let it in, on the link that is there now.
    pub joined: bool,
    /// Whether it lends compute now.
    pub lends: bool,
    /// Why it was not let in, or could not reach its coordinator, the last time that it tried.
    pub trouble: Option<String>,
    /// Whether it has ended.
    pub ended: bool,
}

/// A node of a fog in this process: it runs the fog's tasks when its policy allows it, or mixes packets.
///
/// It dials its coordinator until that lets it in, and again whenever the link ends. A node that is
/// made again with the same data goes on.
#[derive(uniffi::Object)]
pub struct FogNode(fogcompute::FogNode);

#[uniffi::export]
impl FogNode {
    /// Starts a node. `coordinator` and `coordinator_id` are what the coordinator says of itself, `data`
    /// is a folder for its key and what it is at.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`], [`FogError::InvalidPolicy`], [`FogError::Listen`], and those of
    /// storage.
    #[uniffi::constructor(default(options = None))]
    pub fn new(
        coordinator: &str,
        coordinator_id: &str,
        data: String,
        options: Option<FogNodeOptions>,
    ) -> Result<Arc<Self>, FogError> {
        guarded(|| {
            let options = options.unwrap_or_default();
            let usual = NodeConfig::new(parse_address(coordinator)?, coordinator_id.parse()?, data);
            let config = NodeConfig {
                role: fogcompute::role_of(options.layer),
                listen: match &options.listen {
                    Some(listen) => parse_address(listen)?,
                    None => usual.listen,
                },
                policy: options
                    .policy
                    .map_or(usual.policy, |policy| policy.0.clone()),
                price_per_gigafuel: amount(options.price_per_gigafuel.as_deref())?
                    .unwrap_or(usual.price_per_gigafuel),
                heartbeat: options
                    .heartbeat_ms
                    .map_or(usual.heartbeat, Duration::from_millis),
                nodes_on_machine: match options.nodes_on_machine {
                    Some(nodes) => NonZeroU16::new(nodes)
                        .ok_or_else(|| invalid_argument("nodes_on_machine is 0".to_owned()))?,
                    None => usual.nodes_on_machine,
                },
                ..usual
            };
            let probe = options.probe.map(HostProbe::boxed);
            Ok(Arc::new(Self(fogcompute::FogNode::start(config, probe)?)))
        })
    }

    /// Who it is, 64 hexadecimal digits.
    pub fn id(&self) -> String {
        self.0.id().to_string()
    }

    /// Where it accepts links.
    pub fn address(&self) -> String {
        self.0.address().to_string()
    }

    /// How it is.
    ///
    /// # Errors
    /// Why it could not go on, once.
    pub fn status(&self) -> Result<FogNodeStatus, FogError> {
        guarded(|| {
            let status = self.0.status()?;
            Ok(FogNodeStatus {
                joined: status.joined,
                lends: status.lends,
                trouble: status.trouble,
                ended: status.ended,
            })
        })
    }

    /// A wait until its coordinator has let it in, or it has ended: then with why, or with
    /// [`FogError::Closed`].
    pub fn joining(&self) -> Arc<Readiness> {
        let joined = self.0.joined();
        Arc::new(Readiness(Waiting::new(async move { Ok(joined.await?) })))
    }

    /// Ends it. Its tasks go on when it is made again with the same data. Closing again does nothing.
    /// Releasing the last reference closes it too.
    pub fn close(&self) {
        let _ = guarded(|| {
            self.0.close();
            Ok(())
        });
    }
}

/// How a coordinator is made. What is left out keeps the library's default.
#[derive(Clone, Debug, Default, Eq, PartialEq, uniffi::Record)]
pub struct FogCoordinatorOptions {
    /// The address it accepts links at, of which port 0 is any that is free; without one,
    /// `127.0.0.1:0`.
    #[uniffi(default = None)]
    pub listen: Option<String>,
    /// Mix layers that a task crosses on its way, 1 to 4; without a number, 1.
    #[uniffi(default = None)]
    pub layers: Option<u8>,
    /// How long each mixnode holds a packet in the mean, in milliseconds; without a number, 5.
    #[uniffi(default = None)]
    pub delay_ms: Option<u64>,
    /// How tasks come to nodes: `optimised`, `round_robin`, `least_loaded`, `affinity`, `proximity`,
    /// `privacy_aware` or `random`; without a name, `least_loaded`.
    #[uniffi(default = None)]
    pub placement: Option<String>,
    /// Base units its owner's account begins with, at the first start; without a number, a million
    /// credits.
    #[uniffi(default = None)]
    pub endowment: Option<String>,
    /// Most nodes, 1 to 4,095; without a number, 256.
    #[uniffi(default = None)]
    pub nodes_max: Option<u32>,
}

/// What a token grants. What is left out keeps the library's default.
#[derive(Clone, Debug, Default, Eq, PartialEq, uniffi::Record)]
pub struct FogTokenOptions {
    /// On whose account; the owner's if it is left out.
    #[uniffi(default = None)]
    pub account: Option<String>,
    /// What it permits: of `submit`, `cancel`, `query`, `drain` and `maintain`; the first three if it is
    /// left out.
    #[uniffi(default = None)]
    pub actions: Option<Vec<String>>,
    /// Most tasks that may be submitted with it; a million if it is left out.
    #[uniffi(default = None)]
    pub tasks_max: Option<u64>,
    /// Most base units that may be reserved for them; a thousand credits if it is left out.
    #[uniffi(default = None)]
    pub max_spend: Option<String>,
    /// How long it is good, from now on, in milliseconds; 30 days if it is left out.
    #[uniffi(default = None)]
    pub valid_for_ms: Option<u64>,
}

impl FogTokenOptions {
    fn parse(self) -> Result<TokenTerms, FogError> {
        let usual = TokenTerms::default();
        Ok(TokenTerms {
            account: self.account.map(|id| id.parse()).transpose()?,
            actions: match self.actions {
                Some(names) => names
                    .iter()
                    .map(|name| fogcompute::action_named(name))
                    .collect::<Result<_, _>>()?,
                None => usual.actions,
            },
            tasks_max: self.tasks_max.unwrap_or(usual.tasks_max),
            spend_max: amount(self.max_spend.as_deref())?.unwrap_or(usual.spend_max),
            valid_for: self
                .valid_for_ms
                .map_or(usual.valid_for, Duration::from_millis),
        })
    }
}

/// The coordinator of a fog in this process. Everything it knows is in a folder: made again with it, also
/// after a crash, and also by the command `fogcompute coordinator run`, it goes on.
#[derive(uniffi::Object)]
pub struct FogCoordinator(fogcompute::FogCoordinator);

#[uniffi::export]
impl FogCoordinator {
    /// Starts a coordinator with the data in a folder, which is made if there is none.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`], [`FogError::Listen`], and those of storage.
    #[uniffi::constructor(default(options = None))]
    pub fn new(
        data: String,
        options: Option<FogCoordinatorOptions>,
    ) -> Result<Arc<Self>, FogError> {
        guarded(|| {
            let options = options.unwrap_or_default();
            let usual = FogCoordinatorConfig::new(data);
            let config = FogCoordinatorConfig {
                listen: match &options.listen {
                    Some(listen) => parse_address(listen)?,
                    None => usual.listen,
                },
                layers: options.layers.unwrap_or(usual.layers),
                delay_mean: options
                    .delay_ms
                    .map_or(usual.delay_mean, Duration::from_millis),
                placement: match &options.placement {
                    Some(name) => fogcompute::placement_named(name)?,
                    None => usual.placement,
                },
                endowment: amount(options.endowment.as_deref())?,
                nodes_max: options
                    .nodes_max
                    .map_or(usual.nodes_max, |nodes| nodes as usize),
                ..usual
            };
            Ok(Arc::new(Self(fogcompute::FogCoordinator::start(config)?)))
        })
    }

    /// Who it is, 64 hexadecimal digits.
    pub fn id(&self) -> String {
        self.0.id().to_string()
    }

    /// Where it accepts links of nodes and submitters.
    pub fn address(&self) -> String {
        self.0.address().to_string()
    }

    /// Its owner's account, 32 hexadecimal digits.
    pub fn account(&self) -> String {
        self.0.account().to_string()
    }

    /// Why it cannot write down what happens, and admits nothing, if it cannot.
    ///
    /// # Errors
    /// Why it could not go on, once.
    pub fn trouble(&self) -> Result<Option<String>, FogError> {
        guarded(|| Ok(self.0.trouble()?))
    }

    /// Issues a token with a key of its own: the text of a token's file. Whoever has it may ask the
    /// coordinator for what it grants.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`]; [`FogError::Closed`] after [`FogCoordinator::close`].
    #[uniffi::method(default(options = None))]
    pub fn issue_token(&self, options: Option<FogTokenOptions>) -> Result<String, FogError> {
        guarded(|| Ok(self.0.issue(&options.unwrap_or_default().parse()?)?))
    }

    /// Ends it. Jobs go on when it is made again with the same data. Closing again does nothing.
    /// Releasing the last reference closes it too.
    pub fn close(&self) {
        let _ = guarded(|| {
            self.0.close();
            Ok(())
        });
    }
}
