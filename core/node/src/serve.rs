//! One node as a process: a mixnode, or a worker that runs tasks.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fogcompute_base::NodeId;
use fogcompute_base::{Clock, Digest, Instant, OsEntropy, SystemClock, TaskId, UnixMillis};
use fogcompute_exec::executor::{Permission, SubmitError, Submitted};
use fogcompute_exec::{
    Feature, IdempotencyKey, JobError, Runtime, RuntimeKind, TaskError, TaskOutput, TaskReport,
    TaskSpec,
};
use fogcompute_harvest::{DeviceProbe, HarvestPolicy};
use fogcompute_ledger::Amount;
use fogcompute_mix::{
    Client, ClientConfig, Delivery, Descriptor, EpochParity, Incoming, Mixnode, MixnodeConfig,
    PrivateKey, Surb,
};
use fogcompute_net::{
    Identity, Link, LinkError, LinkWriter, MixHandle, MixService, MixServiceConfig, Purpose,
};
use fogcompute_runtime::{WasmConfig, WasmRuntime};
use fogcompute_store::{NodeStore, StoreError, StoredResult};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::device::{Device, lending, measure_speed, processors};
use crate::error::NodeError;
use crate::lane::{Lane, Taken};
use crate::protocol::{
    AttemptId, BATCH_MAX, FromNode, Lending, LinkModules, MIX_LAYER_MAX, REPORT_LOG_BYTES_MAX,
    Reported, Role, Run, TaskKey, TaskMessage, ToNode,
};
use crate::signals::Signals;
use crate::worker::{
    Worker, WorkerConfig, WorkerError, WorkerHarvest, WorkerHost, WorkerJob, WorkerLog,
};

/// Most tasks that wait for a processor of this node. Further ones are given back.
const TASKS_WAITING_MAX: usize = 256;

/// How long a task is remembered after its end, beside its result, and between two looks for those
/// that ended so long ago: it takes as long as there are tasks.
const REMEMBERED: Duration = Duration::from_secs(3_600);

/// How long the coordinator may take to accept a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Longest pause between two attempts to reach the coordinator.
const RECONNECT_MAX: Duration = Duration::from_secs(30);

/// Longest time from one reading of the device to the next.
const READING_EVERY_MAX: Duration = Duration::from_secs(1);

/// How long a compute node waits for its device to be read before it first says what it lends.
const FIRST_READINGS_MAX: Duration = Duration::from_secs(5);

/// A task that cannot take longer than this at the node's own speed is not written down by it: done
/// again after a crash, it costs less than that.
const SHORT_SECONDS: u64 = 60;

/// How long reports wait for others, while there are more tasks to come.
const GATHERED: Duration = Duration::from_millis(1);

/// How a node runs.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// What it does.
    pub role: Role,
    /// Where its coordinator accepts links.
    pub coordinator: SocketAddr,
    /// Who its coordinator is.
    pub coordinator_id: NodeId,
    /// Where it accepts links itself; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where it keeps its database.
    pub data: PathBuf,
    /// When and how much it lends.
    pub policy: HarvestPolicy,
    /// Nodes that share this machine, itself included: it promises its part of what the policy lends
    /// of the processors and the memory. They are not told apart from other load unless they are in
    /// one process group.
    pub nodes_on_machine: NonZeroU16,
    /// Base units it asks for 10⁹ fuel.
    pub price_per_gigafuel: Amount,
    /// From one report to the coordinator to the next. The device is read at least as often.
    pub heartbeat: Duration,
    /// Whether it ends with the link to its coordinator instead of dialling again.
    pub exit_with_coordinator: bool,
}

impl NodeConfig {
    /// A node that computes when the usual policy allows it, for a credit for 10⁹ fuel, on this machine
    /// alone, and reports every 30 seconds.
    #[must_use]
    pub fn new(coordinator: SocketAddr, coordinator_id: NodeId, data: impl Into<PathBuf>) -> Self {
        Self {
            role: Role::Compute,
            coordinator,
            coordinator_id,
            listen: ([127, 0, 0, 1], 0).into(),
            data: data.into(),
            policy: HarvestPolicy::default(),
            nodes_on_machine: NonZeroU16::MIN,
            price_per_gigafuel: Amount::from_credits(1),
            heartbeat: Duration::from_secs(30),
            exit_with_coordinator: false,
        }
    }
}

/// Runs a node until the process is asked to stop, or its coordinator is gone if so configured.
///
/// Asked to stop, it gives up whatever it is at. Tasks go on, from their last checkpoints, when it is
/// run again with the same data.
///
/// # Errors
/// [`NodeError`].
pub async fn run_node(config: NodeConfig) -> Result<(), NodeError> {
    // Before anything else, and for as long as the node lives: from now on a signal does not end
    // the process by itself any more.
    let mut signals = Signals::listen()?;
    tokio::select! {
        biased;
        () = signals.asked() => Ok(()),
        ended = run_until_gone(config) => ended,
    }
}

async fn run_until_gone(config: NodeConfig) -> Result<(), NodeError> {
    let node = Node::open(config, None, Said::Aloud).await?;
    // Whoever started the process learns from this line who the node is.
    let mut out = std::io::stdout().lock();
    let _ = writeln!(
        out,
        "node {}\nlistening on {}",
        node.descriptor.node, node.descriptor.address
    );
    let _ = out.flush();
    drop(out);
    node.serve().await
}

/// How a node is, as far as it can tell itself.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FogNodeStatus {
    /// Whether its coordinator has let it in, on the link that is there now.
    pub joined: bool,
    /// Whether it lends compute now, as it last told its coordinator.
    pub lends: bool,
    /// Why it was not let in, or could not reach its coordinator, the last time that it tried.
    pub trouble: Option<String>,
    /// Whether it has ended: it was closed, could not go on, or its coordinator is gone and it ends
    /// with it.
    pub ended: bool,
}

/// Whom a node tells why it cannot reach its coordinator.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Said {
    /// Whoever reads the standard error too.
    Aloud,
    /// Whoever asks for its status.
    OnlyAsked,
}

/// Ends when the device has been read twice: its load is measured from one reading to the next, and
/// the policy need not decide about a device it knows nothing of.
async fn is_watched(worker: &Worker) {
    while worker
        .status()
        .await
        .is_ok_and(|status| status.readings < 2)
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Lets the lane know what the policy lends, whether or not there is a coordinator.
async fn permit(lane: Arc<Lane>, mut permission: watch::Receiver<Permission>) {
    loop {
        let lent = *permission.borrow_and_update();
        // Without a thread for every slot it runs as many tasks as it has threads.
        let _ = lane.permit(lent);
        if permission.changed().await.is_err() {
            return;
        }
    }
}

/// A node that was opened: it accepts links, and has not joined its fog.
pub(crate) struct Node {
    config: NodeConfig,
    clock: Arc<dyn Clock>,
    descriptor: Descriptor,
    mix: MixHandle,
    deliveries: mpsc::Receiver<Delivery>,
    client: Client,
    workers: Workers,
    /// What comes by the link.
    lane: Arc<Lane>,
    _permitting: JoinSet<()>,
    results: mpsc::Receiver<Finished>,
    lends: bool,
    fuel_per_second: u64,
    identity: Identity,
    /// What shows that a task is the coordinator's. Without it there is no coordinator: its id is no key.
    task_key: Option<TaskKey>,
    complaint: Complaint,
}

/// How a report goes back.
enum Way {
    /// Through the mixnet.
    Blocks(Vec<Surb>),
    /// By the link, as its task came.
    Link,
}

/// A report, and the way it goes.
struct Finished {
    task: TaskId,
    attempt: u32,
    way: Way,
    report: Vec<u8>,
    /// The same task's report if the first one does not fit the blocks.
    if_too_long: Vec<u8>,
}

impl Node {
    /// Opens a node: its files, its sockets and its worker. `probe` reads the device; without, its own
    /// sensors do.
    pub(crate) async fn open(
        config: NodeConfig,
        probe: Option<Box<dyn DeviceProbe>>,
        said: Said,
    ) -> Result<Self, NodeError> {
        if let Role::Mix { layer } = config.role
            && layer > MIX_LAYER_MAX
        {
            return Err(NodeError::MixLayer {
                layer,
                max: MIX_LAYER_MAX,
            });
        }
        std::fs::create_dir_all(&config.data).map_err(|source| NodeError::DataDirectory {
            path: config.data.clone(),
            source,
        })?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let mut store = NodeStore::open(config.data.join("node.sqlite"))?;
        let identity = Identity::from_bytes(store.identity(&mut OsEntropy)?);
        let listen_error = |source| NodeError::Listen {
            address: config.listen,
            source,
        };
        let listener = TcpListener::bind(config.listen)
            .await
            .map_err(listen_error)?;
        let key = PrivateKey::random(&mut OsEntropy);
        let descriptor = Descriptor {
            node: identity.node(),
            key: key.public(),
            epoch: EpochParity::Even,
            address: listener.local_addr().map_err(listen_error)?,
        };
        let runtime = Arc::new(WasmRuntime::new(WasmConfig::default()));
        let fuel_per_second = match config.role {
            Role::Mix { .. } => 0,
            Role::Compute => {
                let (runtime, clock) = (Arc::clone(&runtime), Arc::clone(&clock));
                tokio::task::spawn_blocking(move || measure_speed(&runtime, &clock))
                    .await
                    .map_err(|error| NodeError::io("self-test", error.into()))?
                    .map_err(NodeError::SelfTest)?
            }
        };
        let tasks: Arc<dyn Runtime> = runtime;
        let worker = Worker::start(
            WorkerConfig {
                path: Some(config.data.join("tasks.sqlite")),
                slots: u32::try_from(processors()).unwrap_or(1),
                // What the policy lends.
                memory_bytes: u64::MAX,
                ..WorkerConfig::default()
            },
            WorkerHost {
                clock: Arc::clone(&clock),
                runtimes: BTreeMap::from([(RuntimeKind::wasm(), Arc::clone(&tasks))]),
                harvest: Some(WorkerHarvest {
                    reading_every: config.heartbeat.min(READING_EVERY_MAX),
                    shared_by: config.nodes_on_machine,
                    ..WorkerHarvest::new(
                        Some(config.policy.clone()),
                        probe.unwrap_or_else(|| Box::new(Device::new())),
                    )
                }),
            },
        )?;
        let relay = matches!(config.role, Role::Mix { .. });
        let (mix, deliveries) = MixService::spawn(
            Mixnode::new(
                key,
                MixnodeConfig {
                    relay,
                    ..MixnodeConfig::default()
                },
            ),
            identity.clone(),
            listener,
            None,
            Arc::clone(&clock),
            MixServiceConfig::default(),
        );
        let client = Client::new(descriptor.contact(), ClientConfig::default());
        let (finished, results) = mpsc::channel(TASKS_WAITING_MAX);
        let lane = Arc::new(Lane::new(tasks));
        let mut permitting = JoinSet::new();
        permitting.spawn(permit(Arc::clone(&lane), worker.permission()));
        Ok(Self {
            descriptor,
            mix,
            deliveries,
            client,
            workers: Workers {
                worker: Arc::new(worker),
                store: Arc::new(Mutex::new(store)),
                clock: Arc::clone(&clock),
                finished,
                tasks: JoinSet::new(),
                revocations: BTreeMap::new(),
                lane: Arc::clone(&lane),
                forgot_at: Instant::ZERO,
            },
            lane,
            _permitting: permitting,
            results,
            lends: false,
            fuel_per_second,
            task_key: TaskKey::between(&identity, config.coordinator_id),
            identity,
            complaint: Complaint::new(said),
            clock,
            config,
        })
    }

    /// Where it accepts links, and who it is.
    pub(crate) const fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// How it is, as that changes. That it has ended is for its host to say.
    pub(crate) fn status(&self) -> watch::Sender<FogNodeStatus> {
        self.complaint.status.clone()
    }

    /// Learns what its device lends, then takes part in its fog until its
    /// coordinator is gone if so configured, and otherwise for ever.
    pub(crate) async fn serve(mut self) -> Result<(), NodeError> {
        if self.config.role == Role::Compute {
            // A device that does not answer by then lends nothing until it does.
            let _ =
                tokio::time::timeout(FIRST_READINGS_MAX, is_watched(&self.workers.worker)).await;
        }
        let mut pause = Duration::from_millis(100);
        loop {
            let ended = match self.dial().await {
                Ok(link) => self.attend(link, &mut pause).await,
                Err(error) => Err(error),
            };
            self.complaint.leave();
            match ended {
                Ok(()) if self.config.exit_with_coordinator => return Ok(()),
                Err(error) if self.config.exit_with_coordinator => return Err(error),
                Ok(()) => {}
                Err(error) => self.complaint.say(&error),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RECONNECT_MAX);
        }
    }

    async fn dial(&self) -> Result<Link, NodeError> {
        let address = self.config.coordinator;
        let failed = |source| NodeError::Coordinator { address, source };
        let stream = tokio::time::timeout(CONNECT_MAX, TcpStream::connect(address))
            .await
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
            .map_err(|error| failed(error.into()))?;
        Link::dial(
            stream,
            &self.identity,
            self.config.coordinator_id,
            Purpose::Control,
        )
        .await
        .map_err(failed)
    }

    /// Serves one link to the coordinator until it ends.
    async fn attend(&mut self, link: Link, pause: &mut Duration) -> Result<(), NodeError> {
        let (mut reader, mut writer) = link.into_split();
        // A frame must be read whole, so reading is a task of its own and never cancelled half-way.
        let (frames, mut inbox) = mpsc::channel(64);
        let mut reading = JoinSet::new();
        reading.spawn(async move {
            while let Ok(frame) = reader.receive().await {
                if frames.send(frame).await.is_err() {
                    return;
                }
            }
        });
        let hello = FromNode::Hello {
            role: self.config.role,
            descriptor: self.descriptor,
            lending: self.lending().await,
        };
        let mut ended = writer.send(&hello.encode()).await;
        let first = tokio::time::Instant::now() + self.config.heartbeat;
        let mut heartbeat = tokio::time::interval_at(first, self.config.heartbeat);
        heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut joined, mut modules) = (false, LinkModules::new());
        while ended.is_ok() {
            tokio::select! {
                frame = inbox.recv() => {
                    let Some(frame) = frame else { return Ok(()) };
                    let Ok(message) = ToNode::decode(&frame) else { return Ok(()) };
                    match message {
                        ToNode::Directory { layers, others, .. } => {
                            let entries = layers.first().into_iter().flatten();
                            self.client.set_entries(entries.map(|entry| entry.node.into()));
                            let known = self.mix.set_directory(layers.iter().flatten().chain(&others));
                            if known.await.is_err() {
                                return Ok(());
                            }
                            // The coordinator has let this node in.
                            *pause = Duration::from_millis(100);
                            self.complaint.settle(self.config.coordinator);
                        }
                        ToNode::Ping { nonce } => {
                            ended = writer.send(&FromNode::Pong { nonce }.encode()).await;
                            if !std::mem::replace(&mut joined, true) {
                                // From now on the coordinator hears what the last link did not carry.
                                self.lane.begin_link();
                            }
                        }
                        ToNode::Tell => ended = self.tell(&mut writer).await,
                        ToNode::Refused { reason } => {
                            let address = self.config.coordinator;
                            return Err(NodeError::Refused { address, reason });
                        }
                        ToNode::Module { bytes } => modules.insert(Digest::of(&bytes), bytes),
                        ToNode::Run { tasks } => {
                            for run in tasks {
                                if !self.run(&run, &modules) {
                                    return Ok(());
                                }
                            }
                        }
                        ToNode::Acknowledged { attempts } => self.lane.acknowledge(&attempts),
                        ToNode::Revoke { attempts } => {
                            self.lane.revoke(&attempts);
                            self.workers.revoke(&attempts);
                        }
                        ToNode::Recall { attempts } => self.lane.recall(&attempts),
                    }
                }
                _ = heartbeat.tick() => ended = self.tell(&mut writer).await,
                Some(delivery) = self.deliveries.recv() => self.receive(delivery).await,
                Some(finished) = self.results.recv() => self.reply(finished).await,
                () = self.lane.told() => {
                    if self.lane.is_busy() {
                        // More is about to come, and goes with it.
                        tokio::time::sleep(GATHERED).await;
                    }
                    ended = self.tell_of_tasks(&mut writer).await;
                }
            }
        }
        Ok(())
    }

    /// Takes a task that came by the link. `false` if it makes no sense.
    fn run(&mut self, run: &Run, modules: &LinkModules<Arc<[u8]>>) -> bool {
        let module = |digest| modules.find(digest).map(Arc::clone);
        let Ok(Some(spec)) = TaskSpec::decode_apart(&run.spec, module) else {
            return false;
        };
        let attempt = AttemptId {
            task: run.task,
            number: run.attempt,
        };
        let fuel_max = self.fuel_per_second.saturating_mul(SHORT_SECONDS);
        if spec.limits().fuel <= fuel_max {
            self.lane.take(attempt, spec, true);
            return true;
        }
        if self.lane.take(attempt, spec.clone(), false) == Taken::Kept {
            return true;
        }
        let work = Work {
            task: run.task,
            attempt: run.attempt,
            id: work_id(run.task, &spec.encode()),
            spec,
            way: Way::Link,
        };
        if let Err(refused) = self.workers.start(work, self.lends) {
            self.lane.report(refused.task, refused.report);
        }
        true
    }

    /// Says what has come of tasks that came by the link.
    async fn tell_of_tasks(&self, writer: &mut LinkWriter) -> Result<(), LinkError> {
        while let Some(message) = self.lane.reports() {
            writer.send(&message).await?;
        }
        for attempts in self.lane.returned().chunks(BATCH_MAX) {
            let attempts = attempts.to_vec();
            let message = FromNode::Returned { attempts };
            writer.send(&message.encode()).await?;
        }
        Ok(())
    }

    /// Tells the coordinator how the node is.
    async fn tell(&mut self, writer: &mut LinkWriter) -> Result<(), LinkError> {
        let (lending, mix) = (self.lending().await, self.mix.mix_stats().await);
        let message = FromNode::Heartbeat { lending, mix };
        writer.send(&message.encode()).await
    }

    async fn lending(&mut self) -> Lending {
        let enforced = self.config.policy.enforced;
        let price = self.config.price_per_gigafuel;
        let lending = match self.workers.worker.status().await {
            Ok(worker) => lending(&worker, enforced, self.fuel_per_second, price),
            // It is closed, so the node is about to end.
            Err(_) => Lending {
                cpu_millis: 0,
                memory_bytes: 0,
                fuel_per_second: self.fuel_per_second,
                price_per_gigafuel: price,
                status: String::new(),
            },
        };
        self.lends = lending.cpu_millis > 0;
        self.complaint.lends(self.lends);
        lending
    }

    async fn receive(&mut self, delivery: Delivery) {
        let now = self.clock.now();
        // Bad deliveries were counted by the mixnode or are fragments of nothing: dropped alike.
        let Ok(Some(Incoming::Message { body, surbs, .. })) =
            self.client.handle_delivery(delivery, now)
        else {
            return;
        };
        let key = self.task_key.as_ref();
        let Some(message) = key.and_then(|key| TaskMessage::open(&body, key)) else {
            return;
        };
        let Ok(spec) = TaskSpec::decode(message.spec) else {
            return;
        };
        let work = Work {
            task: message.task,
            attempt: message.attempt,
            id: work_id(message.task, message.spec),
            spec,
            way: Way::Blocks(surbs),
        };
        if self.config.role == Role::Compute
            && let Err(refused) = self.workers.start(work, self.lends)
        {
            self.reply(refused).await;
        }
    }

    async fn reply(&mut self, finished: Finished) {
        let Finished {
            task,
            attempt,
            way,
            report,
            if_too_long,
        } = finished;
        self.workers.ended(task, attempt);
        let surbs = match way {
            Way::Blocks(surbs) => surbs,
            Way::Link => {
                self.lane.report(task, report);
                return;
            }
        };
        let body = if self.client.surbs_for(report.len()) <= surbs.len() {
            report
        } else {
            if_too_long
        };
        if let Ok(transmits) = self.client.reply(surbs, &body, &mut OsEntropy) {
            self.mix.send(transmits).await;
        }
    }
}

/// Why the coordinator cannot be reached, which is said once, and how the node is.
#[derive(Debug)]
struct Complaint {
    said: Said,
    status: watch::Sender<FogNodeStatus>,
}

impl Complaint {
    fn new(said: Said) -> Self {
        Self {
            said,
            status: watch::Sender::default(),
        }
    }

    /// The line for a reason that is another one than the last.
    fn line(&self, reason: &dyn std::fmt::Display) -> Option<String> {
        let reason = reason.to_string();
        let line = format!("{reason}; trying again until it is there");
        let is_new = self.status.send_if_modified(|status| {
            let is_new = status.trouble.as_ref() != Some(&reason);
            status.trouble = Some(reason);
            is_new
        });
        is_new.then_some(line)
    }

    fn say(&self, reason: &dyn std::fmt::Display) {
        if let Some(line) = self.line(reason)
            && self.said == Said::Aloud
        {
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }

    /// The coordinator was reached.
    fn settle(&self, coordinator: SocketAddr) {
        let mut had_trouble = false;
        self.status.send_if_modified(|status| {
            had_trouble = status.trouble.take().is_some();
            let is_new = !status.joined;
            status.joined = true;
            is_new || had_trouble
        });
        if had_trouble && self.said == Said::Aloud {
            let _ = writeln!(std::io::stderr(), "joined coordinator {coordinator}");
        }
    }

    /// The link to the coordinator is no more.
    fn leave(&self) {
        (self.status).send_if_modified(|status| std::mem::take(&mut status.joined));
    }

    fn lends(&self, lends: bool) {
        self.status.send_if_modified(|status| {
            let is_new = status.lends != lends;
            status.lends = lends;
            is_new
        });
    }
}

struct Work {
    task: TaskId,
    attempt: u32,
    id: TaskId,
    spec: TaskSpec,
    way: Way,
}

/// Names a piece of work by what it is, so that nobody can claim another's task id for it.
fn work_id(task: TaskId, spec: &[u8]) -> TaskId {
    let mut bytes = task.as_bytes().to_vec();
    bytes.extend_from_slice(Digest::of(spec).as_bytes());
    // Of results that were kept under another name the log is not.
    let digest = Digest::derive("fogcompute 2026-11-22 work id", &bytes);
    let mut id = [0; 16];
    id.copy_from_slice(&digest.as_bytes()[..16]);
    TaskId::from_bytes(id)
}

struct Workers {
    worker: Arc<Worker>,
    store: Arc<Mutex<NodeStore>>,
    clock: Arc<dyn Clock>,
    finished: mpsc::Sender<Finished>,
    tasks: JoinSet<()>,
    /// What stops them: the attempt they are of, and who waits for it to be revoked.
    revocations: BTreeMap<TaskId, (u32, oneshot::Sender<()>)>,
    /// What must make room for them.
    lane: Arc<Lane>,
    /// When tasks that had ended were last forgotten.
    forgot_at: Instant,
}

impl Workers {
    /// Starts a task, or says at once that it is given back.
    fn start(&mut self, work: Work, lends: bool) -> Result<(), Finished> {
        while self.tasks.try_join_next().is_some() {}
        let now = self.clock.now();
        if now.duration_since(self.forgot_at) >= REMEMBERED {
            self.forgot_at = now;
            let ago = u64::try_from(REMEMBERED.as_millis()).unwrap_or(u64::MAX);
            let before = UnixMillis(self.clock.unix_now().0.saturating_sub(ago));
            // If it fails now, it is tried again the next time.
            drop(self.worker.forget_ended(before));
        }
        if !lends || self.tasks.len() >= TASKS_WAITING_MAX {
            let report = failure(work.task, TaskError::Cancelled);
            return Err(Finished {
                task: work.task,
                attempt: work.attempt,
                way: work.way,
                if_too_long: report.clone(),
                report,
            });
        }
        let execution = Execution {
            worker: Arc::clone(&self.worker),
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
        };
        let (finished, held) = (self.finished.clone(), self.lane.hold());
        let (revoke, revoked) = oneshot::channel();
        let known = (work.attempt, revoke);
        self.revocations.insert(work.task, known);
        self.tasks.spawn(async move {
            let held = held.await;
            let (way, attempt) = (work.way, work.attempt);
            let (task, limit) = (work.task, work.spec.limits().output_bytes);
            let spec = work.spec.clone();
            let report = tokio::select! {
                report = execution.report(task, work.id, work.spec) => report,
                Ok(()) = revoked => {
                    execution.cancel(work.id, spec).await;
                    None
                }
            };
            drop(held);
            if let Some(report) = report {
                let error = TaskError::OutputTooLarge {
                    actual: report.len() as u64,
                    limit,
                };
                let _ = finished
                    .send(Finished {
                        task,
                        attempt,
                        way,
                        if_too_long: failure(task, error),
                        report,
                    })
                    .await;
            }
        });
        Ok(())
    }

    /// An attempt has ended and cannot be revoked any more.
    fn ended(&mut self, task: TaskId, attempt: u32) {
        if self
            .revocations
            .get(&task)
            .is_some_and(|(known, _)| *known == attempt)
        {
            self.revocations.remove(&task);
        }
    }

    /// Stops attempts that are over; nobody wants their reports.
    fn revoke(&mut self, attempts: &[AttemptId]) {
        for attempt in attempts {
            let known = self.revocations.get(&attempt.task);
            if known.is_some_and(|(known, _)| *known == attempt.number)
                && let Some((_, revoke)) = self.revocations.remove(&attempt.task)
            {
                let _ = revoke.send(());
            }
        }
    }
}

fn failure(task: TaskId, error: TaskError) -> Vec<u8> {
    let report = TaskReport {
        task,
        result: Err(error),
    };
    let log = String::new();
    Reported { report, log }.encode()
}

/// What it takes to do one task.
struct Execution {
    worker: Arc<Worker>,
    store: Arc<Mutex<NodeStore>>,
    clock: Arc<dyn Clock>,
}

impl Execution {
    /// Does a task once: asked again for the same work, the stored report is the answer. `None` if
    /// the node ends before the task.
    async fn report(&self, task: TaskId, id: TaskId, spec: TaskSpec) -> Option<Vec<u8>> {
        if let Ok(Some(stored)) = self.with_store(move |store| store.task_result(id)).await? {
            return Some(stored.body);
        }
        let wall = spec.limits().wall.unwrap_or_default();
        let talks = Reported::log_bytes_max(&spec) > 0;
        let mut done_by = None;
        let result = match self.output(id, spec, &mut done_by).await {
            Ok(output) => Ok(output),
            Err(WorkerError::Closed) => return None,
            Err(WorkerError::Task(error)) => Err(error),
            Err(WorkerError::Lost { .. }) => Err(TaskError::RuntimeFault),
            Err(WorkerError::TimedOut { .. }) => Err(TaskError::TimedOut {
                limit_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
            }),
            // Files among the grants are longer than a worker keeps beside a task.
            Err(WorkerError::Submit(SubmitError::Job(JobError::OptionsTooLong { .. }))) => {
                Err(TaskError::Unsupported {
                    feature: Feature::Grants,
                })
            }
            // This node cannot do it now, with a full disk for example: the task is given back.
            Err(_) => Err(TaskError::Cancelled),
        };
        let report = TaskReport { task, result };
        let log = match done_by.filter(|_| talks) {
            Some(task) => self.log(task).await,
            None => String::new(),
        };
        let reported = Reported { report, log };
        let body = reported.encode();
        if let Ok(output) = reported.report.result {
            let result = StoredResult {
                digest: Digest::of(&output.output),
                body: body.clone(),
                finished: self.clock.unix_now(),
            };
            let wall_ms = u64::try_from(output.usage.wall.as_millis()).unwrap_or(u64::MAX);
            // The answer is worth more than its record: with a full disk the task would only be run
            // again if it were asked for again.
            let _ = self
                .with_store(move |store| {
                    store.save_task_result(id, &result)?;
                    store.add_usage(output.usage.fuel, wall_ms)
                })
                .await;
        }
        Some(body)
    }

    /// The end of what a task has said. What cannot be read is not worth the report.
    async fn log(&self, task: TaskId) -> String {
        let read = async {
            let bytes = self.worker.task(task).await?.log_bytes;
            // One more, to see whether the first line is whole.
            let bytes_max = REPORT_LOG_BYTES_MAX + 1;
            let from = bytes.saturating_sub(bytes_max as u64);
            self.worker.log(task, from, bytes_max).await
        };
        let bytes = read
            .await
            .map_or_else(|_| Vec::new(), |log: WorkerLog| log.bytes);
        Reported::end_of_log(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Stops a piece of work. If it cannot be asked to, it ends by itself and nobody is told.
    async fn cancel(&self, id: TaskId, spec: TaskSpec) {
        let (keyed, _) = jobs_of(id, &spec);
        if let Ok(submitted) = self.worker.submit(keyed).await {
            for task in submitted.task_ids() {
                let _ = self.worker.cancel(task).await;
            }
        }
    }

    /// The output of a piece of work, and as which task the worker did it. Work that the node had
    /// before it was started again is taken up where it was, and not begun a second time.
    async fn output(
        &self,
        id: TaskId,
        spec: TaskSpec,
        done_by: &mut Option<TaskId>,
    ) -> Result<TaskOutput, WorkerError> {
        let (keyed, job) = jobs_of(id, &spec);
        let submitted = self.worker.submit(keyed).await?;
        *done_by = submitted.task_ids().next();
        let ended = self.one_of(&submitted).await;
        match ended {
            // How it ended before says nothing about this time.
            Err(WorkerError::Task(error)) if submitted.replayed && !error.is_deterministic() => {
                let submitted = self.worker.submit(job).await?;
                *done_by = submitted.task_ids().next();
                self.one_of(&submitted).await
            }
            ended => ended,
        }
    }

    async fn one_of(&self, submitted: &Submitted) -> Result<TaskOutput, WorkerError> {
        let task = submitted.task_ids().next();
        let task = task.expect("a job of one input has one task");
        self.worker.output(task).await
    }

    /// Uses the node's file on a thread where that holds nothing up. `None` while the process ends.
    async fn with_store<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut NodeStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Option<Result<T, StoreError>> {
        let store = Arc::clone(&self.store);
        let called = tokio::task::spawn_blocking(move || {
            let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
            call(&mut store)
        });
        called.await.ok()
    }
}

/// The worker's job for a piece of work: under its name, and without one.
fn jobs_of(id: TaskId, spec: &TaskSpec) -> (WorkerJob, WorkerJob) {
    let job = WorkerJob {
        limits: spec.limits(),
        grants: spec.grants().clone(),
        ..WorkerJob::new(Arc::clone(spec.module()), vec![spec.input().to_vec()])
    };
    let keyed = WorkerJob {
        key: IdempotencyKey::new(&id.to_string()).ok(),
        ..job.clone()
    };
    (keyed, job)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogcompute_exec::Limits;
    use fogcompute_mix::Topology;

    const ECHO: &[u8] = include_bytes!("../../../examples/wasm/echo.wasm");
    const TASK: TaskId = TaskId::from_bytes([1; 16]);

    fn echo(input: &[u8]) -> TaskSpec {
        TaskSpec::new(ECHO, input, Limits::default()).unwrap()
    }

    fn workers() -> (Workers, mpsc::Receiver<Finished>) {
        let (finished, results) = mpsc::channel(TASKS_WAITING_MAX);
        let config = WorkerConfig {
            slots: 1,
            ..WorkerConfig::default()
        };
        let worker = Worker::start(config, WorkerHost::default()).unwrap();
        let runtime = WasmRuntime::new(WasmConfig::default());
        let workers = Workers {
            worker: Arc::new(worker),
            store: Arc::new(Mutex::new(NodeStore::in_memory().unwrap())),
            clock: Arc::new(SystemClock::new()),
            finished,
            tasks: JoinSet::new(),
            revocations: BTreeMap::new(),
            lane: Arc::new(Lane::new(Arc::new(runtime))),
            forgot_at: Instant::ZERO,
        };
        (workers, results)
    }

    /// Work that never ends.
    fn endless() -> TaskSpec {
        let module = include_bytes!("../../../bindings/vectors/endless.wasm");
        let limits = Limits {
            fuel: u64::MAX / 4,
            ..Limits::default()
        };
        TaskSpec::new(&module[..], [], limits).unwrap()
    }

    fn work(spec: &TaskSpec) -> Work {
        Work {
            task: TASK,
            id: work_id(TASK, &spec.encode()),
            spec: spec.clone(),
            attempt: 1,
            way: Way::Blocks(Vec::new()),
        }
    }

    fn output(report: &[u8]) -> Result<Vec<u8>, TaskError> {
        let reported = Reported::decode(report).unwrap();
        reported.report.result.map(|output| output.output)
    }

    /// A mixnode that knows nobody yet, and what it is.
    async fn mixnode(identity: Identity) -> (MixHandle, mpsc::Receiver<Delivery>, Descriptor) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let key = PrivateKey::random(&mut OsEntropy);
        let descriptor = Descriptor {
            node: identity.node(),
            key: key.public(),
            epoch: EpochParity::Even,
            address: listener.local_addr().unwrap(),
        };
        let (mix, deliveries) = MixService::spawn(
            Mixnode::new(key, MixnodeConfig::default()),
            identity,
            listener,
            None,
            Arc::new(SystemClock::new()),
            MixServiceConfig::default(),
        );
        (mix, deliveries, descriptor)
    }

    #[tokio::test]
    async fn only_the_coordinator_can_send_a_node_tasks() {
        let folder = tempfile::tempdir().unwrap();
        let [coordinator, stranger] = [(); 2].map(|()| Identity::random(&mut OsEntropy));
        let nowhere = ([127, 0, 0, 1], 1).into();
        let config = NodeConfig::new(nowhere, coordinator.node(), folder.path());
        let mut node = Node::open(config, None, Said::OnlyAsked).await.unwrap();
        node.lends = true;
        // Whoever sends goes through a mixnode that both know.
        let (relay, _deliveries, entry) = mixnode(Identity::random(&mut OsEntropy)).await;
        let (sender, _replies, descriptor) = mixnode(stranger.clone()).await;
        let all = [node.descriptor, entry, descriptor];
        for mix in [&node.mix, &relay, &sender] {
            mix.set_directory(&all).await.unwrap();
        }
        let topology = Topology::new(vec![vec![entry]], Duration::from_millis(1)).unwrap();
        let mut client = Client::new(descriptor.contact(), ClientConfig::default());
        let message = TaskMessage {
            attempt: 1,
            task: TASK,
            spec: &echo(b"hello").encode(),
        };
        let mut is_begun = Vec::new();
        for from in [stranger, coordinator] {
            let key = TaskKey::between(&from, node.descriptor.node).unwrap();
            let (to, now) = (node.descriptor.contact(), node.clock.now());
            let body = message.seal(&key);
            let sent = client.send(&topology, to, &body, 0, now, &mut OsEntropy);
            let (_, packets) = sent.unwrap();
            assert_eq!(packets.len(), 1, "a message of one packet");
            sender.send(packets).await;
            let delivery = node.deliveries.recv().await.unwrap();
            node.receive(delivery).await;
            is_begun.push(!node.workers.tasks.is_empty());
        }
        assert_eq!(is_begun, [false, true]);
        assert_eq!(node.workers.revocations[&TASK].0, message.attempt);
    }

    #[test]
    fn work_is_named_by_its_task_and_by_what_is_to_be_done() {
        let (one, two) = (echo(b"1").encode(), echo(b"2").encode());
        assert_eq!(work_id(TASK, &one), work_id(TASK, &one));
        assert_ne!(work_id(TASK, &one), work_id(TASK, &two));
        assert_ne!(
            work_id(TASK, &one),
            work_id(TaskId::from_bytes([2; 16]), &one)
        );
    }

    #[tokio::test]
    async fn the_same_work_asked_for_again_is_answered_from_the_store() {
        let (mut workers, mut results) = workers();
        let spec = echo(b"once");
        assert!(workers.start(work(&spec), true).is_ok());
        let first = results.recv().await.unwrap().report;
        assert_eq!(output(&first), Ok(b"once".to_vec()));
        let used = workers.store.lock().unwrap().usage().unwrap();
        assert!(used.fuel > 0);
        assert!(workers.start(work(&spec), true).is_ok());
        // The report is the very same, measured time included, and no fuel was burnt for it.
        assert_eq!(results.recv().await.unwrap().report, first);
        assert_eq!(workers.store.lock().unwrap().usage().unwrap(), used);
    }

    #[tokio::test]
    async fn what_a_task_of_the_worker_says_goes_with_its_report_each_time() {
        let (mut workers, mut results) = workers();
        let says = include_bytes!("../../../examples/wasm/says.wasm");
        let grants = fogcompute_exec::Grants {
            host_calls: true,
            ..Default::default()
        };
        let spec = TaskSpec::new(&says[..], &b"hello"[..], Limits::default()).unwrap();
        let spec = spec.with_grants(grants).unwrap();
        for _ in 0..2 {
            assert!(workers.start(work(&spec), true).is_ok());
            let told = results.recv().await.unwrap().report;
            let log = Reported::decode(&told).unwrap().log;
            assert!(log.contains("hello") && log.ends_with('\n'), "{log:?}");
        }
    }

    #[tokio::test]
    async fn tasks_over_the_limit_are_given_back_and_so_are_those_of_a_node_that_lends_nothing() {
        let (mut workers, _results) = workers();
        let spec = endless();
        for _ in 0..TASKS_WAITING_MAX {
            assert!(workers.start(work(&spec), true).is_ok());
        }
        let given_back = workers.start(work(&spec), true).unwrap_err();
        assert_eq!(output(&given_back.report), Err(TaskError::Cancelled));
        assert_eq!(given_back.if_too_long, given_back.report);
        let (mut workers, _results) = self::workers();
        assert!(workers.start(work(&spec), false).is_err());
    }

    #[tokio::test]
    async fn tasks_end_with_who_runs_them_and_are_not_reported() {
        let (mut workers, mut results) = workers();
        let spec = endless();
        let id = work_id(TASK, &spec.encode());
        assert!(workers.start(work(&spec), true).is_ok());
        let worker = Arc::clone(&workers.worker);
        while worker.status().await.unwrap().running == 0 {
            tokio::task::yield_now().await;
        }
        worker.close();
        assert!(workers.tasks.join_next().await.unwrap().is_ok());
        // What was not done is not kept.
        let stored = workers.store.lock().unwrap().task_result(id).unwrap();
        assert_eq!(stored, None);
        drop(workers);
        assert!(results.recv().await.is_none());
    }

    #[test]
    fn a_reason_is_said_once_until_it_changes() {
        let complaint = Complaint::new(Said::OnlyAsked);
        assert_eq!(
            complaint.line(&"refused").unwrap(),
            "refused; trying again until it is there"
        );
        assert_eq!(complaint.line(&"refused"), None);
        assert!(complaint.line(&"no answer").is_some());
        assert!(complaint.line(&"refused").is_some());
        complaint.settle(([127, 0, 0, 1], 9).into());
        assert!(complaint.line(&"refused").is_some());
    }
}
