//! A coordinator on sockets: the host of `fogcompute_coord::Coordinator`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fogcompute_base::{AccountId, Clock, Instant, NodeId, OsEntropy, TaskId};
use fogcompute_coord::{
    Config, Coordinator, Event, Host, JobSpec, LossReason, Offer, ReportError, genesis,
};
use fogcompute_exec::{TaskReport, TaskSpec};
use fogcompute_ledger::Amount;
use fogcompute_mix::{
    Client, ClientConfig, Delivery, Descriptor, EpochParity, Incoming, MessageId, MixStats,
    Mixnode, MixnodeConfig, NodeRef, PrivateKey, Topology,
};
use fogcompute_net::{Identity, Link, MixHandle, MixService, MixServiceConfig};
use fogcompute_store::{Durability, SqliteLedger};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::error::NodeError;
use crate::protocol::{FromNode, Lending, Role, TaskMessage, ToNode};

/// Bytes of a task report beside its output.
const REPORT_OVERHEAD_BYTES: usize = 256;

/// How a coordinator runs.
#[derive(Clone, Debug)]
pub struct CoordinatorConfig {
    /// Where it accepts links; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The ledger's file.
    pub ledger: std::path::PathBuf,
    /// Who owns the fog's first credits.
    pub owner: AccountId,
    /// How many.
    pub endowment: Amount,
    /// The network's mean delay per hop.
    pub delay_mean: Duration,
    /// Mix layers a route crosses.
    pub layers: usize,
    /// Seed of the optimiser's draws. Keys and routes never come from it.
    pub seed: u64,
    /// The coordinator's rules.
    pub rules: Config,
}

/// What happened, for whoever drives the coordinator.
#[derive(Debug)]
#[non_exhaustive]
pub enum Update {
    /// A node joined.
    Joined {
        /// Which node.
        node: NodeId,
        /// What it does.
        role: Role,
    },
    /// A node said how it is.
    Heard {
        /// Which node.
        node: NodeId,
    },
    /// The coordinator's rules decided something.
    Decided {
        /// When.
        at: Instant,
        /// What.
        event: Event,
    },
}

/// What is known of a node beside what the rules keep.
#[derive(Clone, Debug)]
pub struct NodeRecord {
    /// What it does.
    pub role: Role,
    /// Its key and address.
    pub descriptor: Descriptor,
    /// Readings and decision as JSON.
    pub status: String,
    /// What it lends.
    pub offer: Offer,
    /// What its mixnode counted.
    pub mix: MixStats,
    /// Whether its link is up.
    pub connected: bool,
}

struct Peer {
    record: NodeRecord,
    to_node: mpsc::Sender<Vec<u8>>,
    /// Tells a node's present link from one it had before.
    link: u64,
    pinged: Instant,
}

enum Control {
    Frame {
        node: NodeId,
        link: u64,
        frame: Vec<u8>,
        reply: mpsc::Sender<Vec<u8>>,
    },
    Closed {
        node: NodeId,
        link: u64,
    },
}

/// A running coordinator. Drive it with [`CoordinatorService::next`].
pub struct CoordinatorService {
    clock: Arc<dyn Clock>,
    config: CoordinatorConfig,
    rules: Coordinator,
    bank: SqliteLedger,
    rng: ChaCha20Rng,
    descriptor: Descriptor,
    mix: MixHandle,
    client: Client,
    deliveries: mpsc::Receiver<Delivery>,
    control: mpsc::Receiver<Control>,
    peers: BTreeMap<NodeId, Peer>,
    requests: BTreeMap<MessageId, Request>,
    _tasks: JoinSet<()>,
}

#[derive(Clone, Copy)]
struct Request {
    node: NodeId,
    task: TaskId,
    attempt: u32,
}

impl CoordinatorService {
    /// Starts a coordinator with a new ledger.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn start(config: CoordinatorConfig) -> Result<Self, NodeError> {
        let clock: Arc<dyn Clock> = Arc::new(fogcompute_base::SystemClock::new());
        let rules = Coordinator::new(config.rules.clone())?;
        let mut bank = SqliteLedger::open(&config.ledger, Durability::Full)?;
        bank.execute(&genesis(config.owner, config.endowment), clock.unix_now())?;
        let identity = Identity::random(&mut OsEntropy);
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
        let (control_links, links) = mpsc::channel(64);
        let (mix, deliveries) = MixService::spawn(
            Mixnode::new(
                key,
                MixnodeConfig {
                    relay: false,
                    ..MixnodeConfig::default()
                },
            ),
            identity,
            listener,
            Some(control_links),
            Arc::clone(&clock),
            MixServiceConfig::default(),
        );
        let (frames, control) = mpsc::channel(1024);
        let mut tasks = JoinSet::new();
        tasks.spawn(attend_links(links, frames));
        let client = Client::new(descriptor.contact(), ClientConfig::default());
        Ok(Self {
            rng: ChaCha20Rng::seed_from_u64(config.seed),
            clock,
            config,
            rules,
            bank,
            descriptor,
            mix,
            client,
            deliveries,
            control,
            peers: BTreeMap::new(),
            requests: BTreeMap::new(),
            _tasks: tasks,
        })
    }

    /// Where the coordinator accepts links, and who it is.
    #[must_use]
    pub const fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The coordinator's rules, to look at.
    #[must_use]
    pub const fn rules(&self) -> &Coordinator {
        &self.rules
    }

    /// The ledger, to look at.
    #[must_use]
    pub const fn bank(&self) -> &SqliteLedger {
        &self.bank
    }

    /// The clock all instants are of.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// What is known of every node.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &NodeRecord)> {
        self.peers.iter().map(|(id, peer)| (*id, &peer.record))
    }

    /// Admits a job.
    ///
    /// # Errors
    /// [`NodeError::Submit`].
    pub async fn submit(&mut self, job: JobSpec) -> Result<(), NodeError> {
        Ok(self.with_rules(|rules, host| rules.submit(job, host))?)
    }

    /// Waits for the next thing that happens, acts on it, and tells.
    ///
    /// # Errors
    /// [`NodeError`]: the coordinator cannot go on.
    pub async fn next(&mut self) -> Result<Update, NodeError> {
        loop {
            if let Some(event) = self.rules.poll_event() {
                let at = self.clock.now();
                if let Event::Dispatch {
                    node,
                    task,
                    attempt,
                    spec,
                } = &event
                {
                    self.dispatch(*node, *task, *attempt, spec).await?;
                }
                return Ok(Update::Decided { at, event });
            }
            let wait = self
                .rules
                .poll_timeout()
                .map_or(Duration::from_secs(60), |due| {
                    due.duration_since(self.clock.now())
                });
            let update = tokio::select! {
                Some(control) = self.control.recv() => self.handle_control(control).await?,
                Some(delivery) = self.deliveries.recv() => {
                    self.handle_delivery(delivery)?;
                    None
                }
                () = tokio::time::sleep(wait) => {
                    self.with_rules(Coordinator::handle_timeout)?;
                    None
                }
            };
            if let Some(update) = update {
                return Ok(update);
            }
        }
    }

    /// Sends a task through the mixnet, with blocks for the report.
    async fn dispatch(
        &mut self,
        node: NodeId,
        task: TaskId,
        attempt: u32,
        spec: &TaskSpec,
    ) -> Result<(), NodeError> {
        let Some(peer) = self.peers.get(&node) else {
            return Ok(());
        };
        let receiver = peer.record.descriptor.contact();
        let topology = self.topology()?;
        let output = usize::try_from(spec.limits().output_bytes).unwrap_or(usize::MAX);
        let surbs = self
            .client
            .surbs_for(output.saturating_add(REPORT_OVERHEAD_BYTES));
        let surbs = u16::try_from(surbs).unwrap_or(u16::MAX);
        let body = TaskMessage {
            attempt,
            task,
            spec: &spec.encode(),
        }
        .encode();
        let (id, transmits) = self.client.send(
            &topology,
            receiver,
            &body,
            surbs,
            self.clock.now(),
            &mut OsEntropy,
        )?;
        self.requests.insert(
            id,
            Request {
                node,
                task,
                attempt,
            },
        );
        self.mix.send(transmits).await;
        Ok(())
    }

    /// The mixnodes that are connected, in their layers.
    ///
    /// # Errors
    /// [`NodeError::Topology`] if a layer is empty.
    pub fn topology(&self) -> Result<Topology, NodeError> {
        Ok(Topology::new(self.layers(), self.config.delay_mean)?)
    }

    fn layers(&self) -> Vec<Vec<Descriptor>> {
        let mut layers = vec![Vec::new(); self.config.layers];
        for peer in self.peers.values().filter(|peer| peer.record.connected) {
            if let Role::Mix { layer } = peer.record.role
                && let Some(layer) = layers.get_mut(usize::from(layer))
            {
                layer.push(peer.record.descriptor);
            }
        }
        layers
    }

    fn handle_delivery(&mut self, delivery: Delivery) -> Result<(), NodeError> {
        let now = self.clock.now();
        let Ok(Some(Incoming::Reply { id, body })) = self.client.handle_delivery(delivery, now)
        else {
            return Ok(());
        };
        let Some(request) = self.requests.remove(&id) else {
            return Ok(());
        };
        let Some(report) = TaskReport::decode(&body)
            .ok()
            .filter(|report| report.task == request.task)
        else {
            return Ok(());
        };
        let Request { node, attempt, .. } = request;
        match self.with_rules(|rules, host| rules.report(node, attempt, report, host)) {
            // The sender's fault, already counted by the rules.
            Ok(_)
            | Err(
                ReportError::UnknownTask { .. }
                | ReportError::Transition(_)
                | ReportError::OverLimits { .. },
            ) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn handle_control(&mut self, control: Control) -> Result<Option<Update>, NodeError> {
        match control {
            Control::Frame {
                node,
                link,
                frame,
                reply,
            } => self.handle_frame(node, link, &frame, reply).await,
            Control::Closed { node, link } => {
                let Some(peer) = self.peers.get_mut(&node).filter(|peer| peer.link == link) else {
                    return Ok(None);
                };
                peer.record.connected = false;
                self.with_rules(|rules, host| {
                    rules.node_lost(node, LossReason::Disconnected, host)
                })?;
                self.broadcast_directory().await;
                Ok(Some(Update::Heard { node }))
            }
        }
    }

    async fn handle_frame(
        &mut self,
        node: NodeId,
        link: u64,
        frame: &[u8],
        reply: mpsc::Sender<Vec<u8>>,
    ) -> Result<Option<Update>, NodeError> {
        let now = self.clock.now();
        // A node that does not speak the protocol is not listened to further.
        let Ok(message) = FromNode::decode(frame) else {
            return Ok(None);
        };
        match message {
            FromNode::Hello {
                role,
                descriptor,
                lending,
            } => {
                if descriptor.node != node || self.is_ref_taken(node) {
                    return Ok(None);
                }
                let record = NodeRecord {
                    role,
                    descriptor,
                    offer: offer(&lending, 0.0),
                    status: lending.status,
                    mix: MixStats::default(),
                    connected: true,
                };
                let ping = ToNode::Ping { nonce: link }.encode();
                let _ = reply.try_send(ping);
                self.peers.insert(
                    node,
                    Peer {
                        record,
                        to_node: reply,
                        link,
                        pinged: now,
                    },
                );
                self.broadcast_directory().await;
                Ok(Some(Update::Joined { node, role }))
            }
            FromNode::Heartbeat { lending, mix } => {
                let Some(peer) = self.peers.get_mut(&node).filter(|peer| peer.link == link) else {
                    return Ok(None);
                };
                peer.record.offer = offer(&lending, peer.record.offer.latency_ms);
                peer.record.status = lending.status;
                peer.record.mix = mix;
                let offer = peer.record.offer;
                self.with_rules(|rules, host| rules.heartbeat(node, offer, host).unwrap_or(false));
                Ok(Some(Update::Heard { node }))
            }
            FromNode::Pong { nonce } => {
                let Some(peer) = self
                    .peers
                    .get_mut(&node)
                    .filter(|peer| peer.link == link && nonce == link)
                else {
                    return Ok(None);
                };
                // The answer to the first ping: now the way to the node is known, and it joins.
                let round_trip = now.duration_since(peer.pinged);
                peer.record.offer.latency_ms = round_trip.as_secs_f64() * 1e3;
                let (role, offer) = (peer.record.role, peer.record.offer);
                if role == Role::Compute {
                    self.with_rules(|rules, host| rules.register(node, offer, host))?;
                }
                Ok(Some(Update::Heard { node }))
            }
        }
    }

    /// Whether packets for `node` could reach another node, for their references are the same. It
    /// would have to have made some 2⁶⁴ keys for that.
    fn is_ref_taken(&self, node: NodeId) -> bool {
        let known = self.peers.keys().chain([&self.descriptor.node]);
        known
            .filter(|known| **known != node)
            .any(|known| NodeRef::from(*known) == NodeRef::from(node))
    }

    fn with_rules<T>(
        &mut self,
        call: impl FnOnce(&mut Coordinator, &mut Host<'_, SqliteLedger, ChaCha20Rng>) -> T,
    ) -> T {
        let mut host = Host {
            bank: &mut self.bank,
            rng: &mut self.rng,
            now: self.clock.now(),
            wall: self.clock.unix_now(),
        };
        call(&mut self.rules, &mut host)
    }

    async fn broadcast_directory(&mut self) {
        let layers = self.layers();
        let others: Vec<_> = self
            .peers
            .values()
            .filter(|peer| peer.record.connected && peer.record.role == Role::Compute)
            .map(|peer| peer.record.descriptor)
            .chain([self.descriptor])
            .collect();
        self.mix
            .set_directory(layers.iter().flatten().chain(&others))
            .await
            .expect("nodes of one reference are refused when they say hello");
        let message = ToNode::Directory {
            delay_mean: self.config.delay_mean,
            layers,
            others,
        }
        .encode();
        for peer in self.peers.values().filter(|peer| peer.record.connected) {
            // A node whose queue is full gets the next one.
            let _ = peer.to_node.try_send(message.clone());
        }
    }
}

fn offer(lending: &Lending, latency_ms: f64) -> Offer {
    Offer {
        cpu_millis: lending.cpu_millis,
        memory_bytes: lending.memory_bytes,
        fuel_per_second: lending.fuel_per_second,
        price_per_gigafuel: lending.price_per_gigafuel,
        latency_ms,
    }
}

/// Reads and writes every control link in tasks of its own.
async fn attend_links(mut links: mpsc::Receiver<Link>, frames: mpsc::Sender<Control>) {
    let mut tasks = JoinSet::new();
    let mut count = 0;
    while let Some(link) = links.recv().await {
        while tasks.try_join_next().is_some() {}
        count += 1;
        let (link_number, node) = (count, link.peer());
        let (mut reader, mut writer) = link.into_split();
        let (to_node, mut outbox) = mpsc::channel::<Vec<u8>>(64);
        let frames = frames.clone();
        tasks.spawn(async move {
            let writing = async {
                while let Some(frame) = outbox.recv().await {
                    if writer.send(&frame).await.is_err() {
                        return;
                    }
                }
            };
            let reading = async {
                while let Ok(frame) = reader.receive().await {
                    let control = Control::Frame {
                        node,
                        link: link_number,
                        frame,
                        reply: to_node.clone(),
                    };
                    if frames.send(control).await.is_err() {
                        return;
                    }
                }
            };
            tokio::select! {
                () = writing => {}
                () = reading => {}
            }
            let _ = frames
                .send(Control::Closed {
                    node,
                    link: link_number,
                })
                .await;
        });
    }
}
