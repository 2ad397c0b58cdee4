//! One node as a process: a mixnode, or a worker that runs tasks.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fogcompute_base::NodeId;
use fogcompute_base::{Clock, Digest, OsEntropy, SystemClock, TaskId};
use fogcompute_exec::{Runtime, TaskError, TaskReport, TaskSpec};
use fogcompute_harvest::HarvestPolicy;
use fogcompute_ledger::Amount;
use fogcompute_mix::{
    Client, ClientConfig, Delivery, Descriptor, EpochParity, Incoming, Mixnode, MixnodeConfig,
    PrivateKey, Surb,
};
use fogcompute_net::{
    Identity, Link, LinkWriter, MixHandle, MixService, MixServiceConfig, Purpose,
};
use fogcompute_runtime::{WasmConfig, WasmRuntime};
use fogcompute_store::{NodeStore, StoredResult};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::device::{Device, lending, measure_speed, processors};
use crate::error::NodeError;
use crate::protocol::{FromNode, Lending, Role, TaskMessage, ToNode};

/// Most tasks that wait for a processor of this node. Further ones are given back.
const TASKS_WAITING_MAX: usize = 256;

/// Longest pause between two attempts to reach the coordinator.
const RECONNECT_MAX: Duration = Duration::from_secs(30);

/// How long a compute node watches its device before it first says what it lends.
const FIRST_LOAD_AFTER: Duration = Duration::from_secs(1);

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
    /// Base units it asks for 10⁹ fuel.
    pub price_per_gigafuel: Amount,
    /// Time between two readings of the device, each told to the coordinator.
    pub heartbeat: Duration,
    /// Whether it ends with the link to its coordinator instead of dialling again.
    pub exit_with_coordinator: bool,
}

/// Runs a node until the process is asked to stop, or its coordinator is gone if so configured.
///
/// # Errors
/// [`NodeError`].
pub async fn run_node(config: NodeConfig) -> Result<(), NodeError> {
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
    // Whoever started the process learns from this line who the node is.
    let mut out = std::io::stdout().lock();
    let _ = writeln!(
        out,
        "node {}\nlistening on {}",
        descriptor.node, descriptor.address
    );
    let _ = out.flush();
    drop(out);
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
    let runtime = Arc::new(WasmRuntime::new(WasmConfig::default()));
    let first_reading = clock.now();
    let mut device = Device::new();
    device.read(first_reading);
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
    let (finished, results) = mpsc::channel(TASKS_WAITING_MAX);
    // The load is measured between two readings: the second one comes with the first message to the
    // coordinator, so that the policy need not decide about a device it knows nothing of.
    let since_reading = clock.now().duration_since(first_reading);
    if let Some(wait) = FIRST_LOAD_AFTER
        .checked_sub(since_reading)
        .filter(|_| !relay)
    {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = asked_to_stop() => return Ok(()),
        }
    }
    let mut node = Node {
        device,
        descriptor,
        mix,
        deliveries,
        client,
        workers: Workers {
            runtime,
            store: Arc::new(Mutex::new(store)),
            clock: Arc::clone(&clock),
            processors: Arc::new(Semaphore::new(usize::try_from(processors()).unwrap_or(1))),
            finished,
            tasks: JoinSet::new(),
        },
        results,
        lends: false,
        fuel_per_second,
        clock,
        config,
    };
    node.serve(&identity).await
}

struct Node {
    config: NodeConfig,
    clock: Arc<dyn Clock>,
    device: Device,
    descriptor: Descriptor,
    mix: MixHandle,
    deliveries: mpsc::Receiver<Delivery>,
    client: Client,
    workers: Workers,
    results: mpsc::Receiver<Finished>,
    lends: bool,
    fuel_per_second: u64,
}

/// A report, and the blocks it goes back by.
struct Finished {
    surbs: Vec<Surb>,
    report: Vec<u8>,
    /// The same task's report if the first one does not fit the blocks.
    if_too_long: Vec<u8>,
}

impl Node {
    async fn serve(&mut self, identity: &Identity) -> Result<(), NodeError> {
        let mut pause = Duration::from_millis(100);
        loop {
            let ended = match self.dial(identity).await {
                Ok(link) => {
                    pause = Duration::from_millis(100);
                    self.attend(link).await
                }
                Err(error) => Err(error),
            };
            match ended {
                Ok(Stop::Asked) => return Ok(()),
                Ok(Stop::CoordinatorGone) if self.config.exit_with_coordinator => return Ok(()),
                Err(error) if self.config.exit_with_coordinator => return Err(error),
                Ok(Stop::CoordinatorGone) | Err(_) => {}
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = asked_to_stop() => return Ok(()),
            }
            pause = (pause * 2).min(RECONNECT_MAX);
        }
    }

    async fn dial(&self, identity: &Identity) -> Result<Link, NodeError> {
        let address = self.config.coordinator;
        let failed = |source| NodeError::Coordinator { address, source };
        let stream = TcpStream::connect(address)
            .await
            .map_err(|error| failed(error.into()))?;
        Link::dial(
            stream,
            identity,
            self.config.coordinator_id,
            Purpose::Control,
        )
        .await
        .map_err(failed)
    }

    /// Serves one link to the coordinator until it ends.
    async fn attend(&mut self, link: Link) -> Result<Stop, NodeError> {
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
            lending: self.lending(),
        };
        if writer.send(&hello.encode()).await.is_err() {
            return Ok(Stop::CoordinatorGone);
        }
        let first = tokio::time::Instant::now() + self.config.heartbeat;
        let mut heartbeat = tokio::time::interval_at(first, self.config.heartbeat);
        heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let stop = asked_to_stop();
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => return Ok(Stop::Asked),
                frame = inbox.recv() => {
                    let Some(frame) = frame else { return Ok(Stop::CoordinatorGone) };
                    if !self.handle(&frame, &mut writer).await {
                        return Ok(Stop::CoordinatorGone);
                    }
                }
                _ = heartbeat.tick() => {
                    let message =
                        FromNode::Heartbeat { lending: self.lending(), mix: self.mix.mix_stats().await };
                    if writer.send(&message.encode()).await.is_err() {
                        return Ok(Stop::CoordinatorGone);
                    }
                }
                Some(delivery) = self.deliveries.recv() => self.receive(delivery).await,
                Some(finished) = self.results.recv() => self.reply(finished).await,
            }
        }
    }

    /// Acts on a message of the coordinator; `false` if the link is of no more use.
    async fn handle(&mut self, frame: &[u8], writer: &mut LinkWriter) -> bool {
        match ToNode::decode(frame) {
            Ok(ToNode::Directory { layers, others, .. }) => self
                .mix
                .set_directory(layers.iter().flatten().chain(&others))
                .await
                .is_ok(),
            Ok(ToNode::Ping { nonce }) => writer
                .send(&FromNode::Pong { nonce }.encode())
                .await
                .is_ok(),
            Err(_) => false,
        }
    }

    fn lending(&mut self) -> Lending {
        let now = self.clock.now();
        let state = self.device.read(now);
        let lending = lending(
            &self.config.policy,
            &state,
            now,
            self.fuel_per_second,
            self.config.price_per_gigafuel,
        );
        self.lends = lending.cpu_millis > 0;
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
        let Ok(message) = TaskMessage::decode(&body) else {
            return;
        };
        let Ok(spec) = TaskSpec::decode(message.spec) else {
            return;
        };
        let work = Work {
            task: message.task,
            id: work_id(message.task, message.spec),
            spec,
            surbs,
        };
        if self.config.role == Role::Compute
            && let Err(refused) = self.workers.start(work, self.lends)
        {
            self.reply(refused).await;
        }
    }

    async fn reply(&mut self, finished: Finished) {
        let Finished {
            surbs,
            report,
            if_too_long,
        } = finished;
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

enum Stop {
    Asked,
    CoordinatorGone,
}

struct Work {
    task: TaskId,
    id: TaskId,
    spec: TaskSpec,
    surbs: Vec<Surb>,
}

/// Names a piece of work by what it is, so that nobody can claim another's task id for it.
fn work_id(task: TaskId, spec: &[u8]) -> TaskId {
    let mut bytes = task.as_bytes().to_vec();
    bytes.extend_from_slice(Digest::of(spec).as_bytes());
    let digest = Digest::derive("fogcompute 2026-11 work id", &bytes);
    let mut id = [0; 16];
    id.copy_from_slice(&digest.as_bytes()[..16]);
    TaskId::from_bytes(id)
}

struct Workers {
    runtime: Arc<WasmRuntime>,
    store: Arc<Mutex<NodeStore>>,
    clock: Arc<dyn Clock>,
    processors: Arc<Semaphore>,
    finished: mpsc::Sender<Finished>,
    tasks: JoinSet<()>,
}

impl Workers {
    /// Starts a task, or says at once that it is given back.
    fn start(&mut self, work: Work, lends: bool) -> Result<(), Finished> {
        while self.tasks.try_join_next().is_some() {}
        if !lends || self.tasks.len() >= TASKS_WAITING_MAX {
            let report = failure(work.task, TaskError::Cancelled);
            return Err(Finished {
                surbs: work.surbs,
                if_too_long: report.clone(),
                report,
            });
        }
        let (runtime, store, clock) = (
            Arc::clone(&self.runtime),
            Arc::clone(&self.store),
            Arc::clone(&self.clock),
        );
        let (processors, finished) = (Arc::clone(&self.processors), self.finished.clone());
        self.tasks.spawn(async move {
            let Ok(_processor) = processors.acquire_owned().await else {
                return;
            };
            let surbs = work.surbs;
            let (task, id, spec) = (work.task, work.id, work.spec);
            let limit = spec.limits().output_bytes;
            let done = tokio::task::spawn_blocking(move || {
                execute(task, id, &spec, &runtime, &store, &clock)
            });
            if let Ok(report) = done.await {
                let error = TaskError::OutputTooLarge {
                    actual: report.len() as u64,
                    limit,
                };
                let _ = finished
                    .send(Finished {
                        surbs,
                        if_too_long: failure(task, error),
                        report,
                    })
                    .await;
            }
        });
        Ok(())
    }
}

fn failure(task: TaskId, error: TaskError) -> Vec<u8> {
    TaskReport {
        task,
        result: Err(error),
    }
    .encode()
}

/// Runs a task once: asked again for the same work, the stored report is the answer.
fn execute(
    task: TaskId,
    id: TaskId,
    spec: &TaskSpec,
    runtime: &WasmRuntime,
    store: &Mutex<NodeStore>,
    clock: &Arc<dyn Clock>,
) -> Vec<u8> {
    let locked = || {
        store
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    };
    if let Ok(Some(stored)) = locked().task_result(id) {
        return stored.body;
    }
    let report = TaskReport {
        task,
        result: runtime.run(spec),
    };
    let body = report.encode();
    if let Ok(output) = &report.result {
        let result = StoredResult {
            digest: Digest::of(&output.output),
            body: body.clone(),
            finished: clock.unix_now(),
        };
        let wall_ms = u64::try_from(output.usage.wall.as_millis()).unwrap_or(u64::MAX);
        let mut store = locked();
        // The answer is worth more than its record: with a full disk the task would only be run
        // again if it were asked for again.
        let _ = store.save_task_result(id, &result);
        let _ = store.add_usage(output.usage.fuel, wall_ms);
    }
    body
}

/// Ends when the process is asked to stop.
pub(crate) async fn asked_to_stop() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let terminate = async {
            match signal(SignalKind::terminate()) {
                Ok(mut signals) => {
                    signals.recv().await;
                }
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            () = terminate => {}
        }
    }
    #[cfg(not(unix))]
    {
        let _ = tokio::signal::ctrl_c().await;
    }
}
