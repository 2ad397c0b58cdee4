//! A coordinator on sockets: the host of `fogcompute_coord::Coordinator`.

mod outbox;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fogcompute_base::wire::DecodeError;
use fogcompute_base::{
    AccountId, Clock, Instant, NodeId, OsEntropy, SystemClock, TaskId, UnixMillis,
};
use fogcompute_coord::{
    Config, Coordinator, Event, FlushError, Host, JobSpec, LossReason, Offer, Placement,
    PrivacyLevel, RegisterError, ReportError, RoundTrips, SubmitError, genesis,
};
use fogcompute_exec::{TaskError, TaskReport, TaskSpec, TaskState};
use fogcompute_ledger::Amount;
use fogcompute_mix::{
    Client, ClientConfig, Delivery, Descriptor, EpochParity, HOPS_MAX, Incoming, MessageId,
    MixStats, Mixnode, MixnodeConfig, NodeRef, PrivateKey, SendError, Topology, TopologyError,
};
use fogcompute_net::{
    Identity, Link, LinkError, LinkReader, LinkWriter, MixHandle, MixPermit, MixService,
    MixServiceConfig,
};
use fogcompute_store::{Durability, JobStore, SqliteLedger, StoreError};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::outbox::{Full, Outbox};
use crate::error::NodeError;
use crate::protocol::{
    AttemptId, DIRECTORY_NODES_MAX, FROM_NODE_BYTES_MAX, FromNode, LINK_TASKS_MAX, Lending,
    LinkModules, Refusal, Reported, Role, STRANGER_BYTES_MAX, TaskKey, TaskMessage, ToNode,
};
use crate::submit::{self, Desk, Submitters};
use crate::trace;

/// Bytes of a task report beside its output.
const REPORT_OVERHEAD_BYTES: usize = 256;

/// Links beside those of the nodes: packets that come in, and nodes that have not said hello yet.
const SPARE_LINKS: usize = 256;

/// Most messages of nodes that wait to be looked at. When reached, control links are read no
/// further.
const CONTROL_QUEUE_MAX: usize = 64;

/// Most messages that are acted on before what came of them is written down, in one transaction.
const MESSAGES_MAX: usize = 256;

/// How long a note that the ledger has done its part waits for other things to be written with. If
/// it is lost, the ledger is asked once more.
const NOTES_WAIT: Duration = Duration::from_millis(50);

/// Most messages that wait for one node, the directory not counted: of that it gets the latest.
const NODE_QUEUE_MAX: usize = 8;

/// How long a journal or a ledger that failed is left alone.
const STALLED_PAUSE: Duration = Duration::from_secs(1);

/// Nodes that may come and go before the others hear of it, while further ones are at the door.
const CHANGES_MAX: usize = 64;

/// How a coordinator runs.
#[derive(Clone, Debug)]
pub struct CoordinatorConfig {
    /// Where it accepts links; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The ledger's file.
    pub ledger: std::path::PathBuf,
    /// The file of its key, its jobs and their results. A coordinator that is started with the files
    /// of another goes on where that one was.
    pub jobs: std::path::PathBuf,
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
    /// Most nodes, mixnodes and compute nodes together: 1 to 4,095. Further ones are refused. Each
    /// takes a link, and with it an open file; 256 more are for packets and newcomers.
    pub nodes_max: usize,
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
    /// A node said how it is, or left.
    Heard {
        /// Which node.
        node: NodeId,
    },
    /// A node was not let in, or was sent away.
    Refused {
        /// Which node.
        node: NodeId,
        /// What is wrong with it.
        reason: Refusal,
    },
    /// A task could not be sent to its node; the attempt is counted as given back.
    Unsent {
        /// Which task.
        task: TaskId,
        /// Why.
        error: SendError,
    },
    /// What happened cannot be written down or settled, for instance because the disk is full. The
    /// coordinator goes on, admits nothing, tells nobody of what it could not write, and tries again
    /// until it can. Said once for each reason.
    Stalled {
        /// Why.
        error: FlushError<StoreError, StoreError>,
    },
    /// What could not be written down is written down now.
    Resumed,
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
    /// What its mixnode counted up to its last message, if it has said so since it joined or was
    /// asked by [`CoordinatorService::ask_counts`].
    pub mix: Option<MixStats>,
    /// Whether the way to it is known: it has answered a ping.
    pub answered: bool,
    /// How long messages to it and back took lately. A node is pinged when it joins and, once it has
    /// answered, after each of its heartbeats.
    pub round_trips: RoundTrips,
    /// Reports on its link that were of no use: of another's task, of an attempt that is over, or
    /// over the task's limits.
    pub reports_refused: u64,
}

struct Peer {
    record: NodeRecord,
    /// Its present link. `None` while a newer one has replaced it and has not said hello.
    link: Option<u64>,
    /// What shows it that a task is ours.
    task_key: TaskKey,
}

/// The coordinator's end of a control link. The link ends when it is dropped.
struct ControlLink {
    node: NodeId,
    to_node: mpsc::Sender<ToLink>,
    /// Tasks and news of attempts.
    outbox: Arc<Outbox>,
    /// Whether the node was let in, and may send long messages.
    joined: Arc<AtomicBool>,
    /// The ping that it has to answer.
    ping: Arc<Ping>,
}

/// A ping on a link, one at a time.
#[derive(Debug, Default)]
struct Ping(Mutex<Option<Unanswered>>);

#[derive(Clone, Copy, Debug)]
struct Unanswered {
    /// A number that nobody can guess, so that nobody answers before he is asked.
    nonce: u64,
    /// When it was written to the link, once it was.
    sent: Option<Instant>,
}

impl Ping {
    fn with<T>(&self, call: impl FnOnce(&mut Option<Unanswered>) -> T) -> T {
        call(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A number for the next ping, unless there is one under way.
    fn draw(&self) -> Option<u64> {
        let nonce = OsEntropy.next_u64();
        self.with(|ping| {
            let free = ping.is_none();
            *ping = (*ping).or(Some(Unanswered { nonce, sent: None }));
            free.then_some(nonce)
        })
    }

    fn is_sent(&self, now: Instant) {
        self.with(|ping| {
            if let Some(ping) = ping {
                ping.sent = Some(now);
            }
        });
    }

    /// The moment at which the ping of this number was sent, if that is the one under way.
    fn is_answered(&self, nonce: u64) -> Option<Instant> {
        self.with(|ping| {
            let sent = (*ping).filter(|ping| ping.nonce == nonce)?.sent?;
            *ping = None;
            Some(sent)
        })
    }

    /// It was not sent.
    fn withdraw(&self) {
        self.with(|ping| *ping = None);
    }
}

/// What a control link should do.
enum ToLink {
    /// Send the directory, then a ping of this number, and from now on every new directory.
    Join(u64),
    /// Send a ping of this number.
    Ping(u64),
    Send(Vec<u8>),
    /// Send this and end.
    Refuse(Vec<u8>),
}

/// What a control link tells. Every link has a number of its own.
enum Control {
    Opened {
        link: u64,
        end: ControlLink,
    },
    Message {
        link: u64,
        /// When it was there.
        at: Instant,
        message: Result<FromNode, DecodeError>,
    },
    Closed {
        node: NodeId,
        link: u64,
        /// Whether the node has opened a newer one.
        replaced: bool,
    },
}

/// A running coordinator. Drive it with [`CoordinatorService::next`].
pub struct CoordinatorService {
    clock: Arc<dyn Clock>,
    config: CoordinatorConfig,
    rules: Coordinator,
    bank: SqliteLedger,
    jobs: JobStore,
    /// When to write again after that has failed, and why it did.
    stalled: Option<(Instant, String)>,
    rng: ChaCha20Rng,
    identity: Identity,
    descriptor: Descriptor,
    mix: MixHandle,
    client: Client,
    deliveries: mpsc::Receiver<Delivery>,
    control: mpsc::Receiver<Control>,
    peers: BTreeMap<NodeId, Peer>,
    links: BTreeMap<u64, ControlLink>,
    /// Links of nodes that have joined and get their first directory with the next one.
    joining: Vec<u64>,
    /// Changes since the last directory.
    changes: usize,
    /// The latest directory, for all nodes: who is slow skips those in between.
    directory: watch::Sender<Arc<[u8]>>,
    requests: BTreeMap<MessageId, Request>,
    /// What may have been lost on its way, there or back, and is sent once more.
    again: VecDeque<Request>,
    pub(crate) submitters: Submitters,
    /// What has happened and was not told yet.
    updates: VecDeque<Update>,
    /// Reports that were heard and will be acknowledged once what came of them is on disk.
    reported: Vec<(u64, AttemptId)>,
    /// Links for which something waits in their outboxes.
    filled: BTreeSet<u64>,
    /// Whether something has happened since everything was written down.
    eventful: bool,
    /// When notes that can wait are written at the latest.
    notes_due: Option<Instant>,
    /// What the rules have decided and is not done yet.
    decided: Option<Event>,
    _tasks: JoinSet<()>,
}

#[derive(Clone, Copy)]
struct Request {
    node: NodeId,
    task: TaskId,
    attempt: u32,
}

impl CoordinatorService {
    /// Starts a coordinator, a new one or the one whose files these are.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn start(config: CoordinatorConfig) -> Result<Self, NodeError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        // The coordinator stands in the directory too.
        let max = DIRECTORY_NODES_MAX - 1;
        if config.nodes_max == 0 || config.nodes_max > max {
            return Err(NodeError::NodesMax {
                actual: config.nodes_max,
                max,
            });
        }
        if config.layers == 0 || config.layers >= HOPS_MAX {
            return Err(NodeError::Topology(TopologyError::LayerCount {
                actual: config.layers,
                max: HOPS_MAX - 1,
            }));
        }
        let mut bank = SqliteLedger::open(&config.ledger, Durability::Full)?;
        bank.execute(&genesis(config.owner, config.endowment), clock.unix_now())?;
        let mut jobs = JobStore::open(&config.jobs, Durability::Full)?;
        let identity = Identity::from_bytes(jobs.identity(&mut OsEntropy)?);
        let mut rules = Coordinator::recover(config.rules.clone(), jobs.stored()?, clock.now())?;
        let mut rng = ChaCha20Rng::seed_from_u64(config.seed);
        // Until there is a mixnode in every layer.
        rules.hold(&mut Host {
            bank: &mut bank,
            rng: &mut rng,
            now: clock.now(),
            wall: clock.unix_now(),
        });
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
        let (submit_links, submitters) = mpsc::channel(64);
        let (desk, asked) = Desk::new(Arc::clone(&clock));
        let (mix, deliveries) = MixService::spawn(
            Mixnode::new(
                key,
                MixnodeConfig {
                    relay: false,
                    ..MixnodeConfig::default()
                },
            ),
            identity.clone(),
            listener,
            Some(control_links),
            Arc::clone(&clock),
            MixServiceConfig {
                links_max: config.nodes_max + SPARE_LINKS,
                submit: Some(submit_links),
                ..MixServiceConfig::default()
            },
        );
        let (messages, control) = mpsc::channel(CONTROL_QUEUE_MAX);
        let (directory, directories) = watch::channel(Arc::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(attend_links(
            links,
            messages,
            directories,
            Arc::clone(&clock),
        ));
        tasks.spawn(submit::attend_links(submitters, Arc::clone(&desk)));
        let client = Client::new(descriptor.contact(), ClientConfig::default());
        Ok(Self {
            rng,
            clock,
            config,
            rules,
            bank,
            jobs,
            stalled: None,
            identity,
            descriptor,
            mix,
            client,
            deliveries,
            control,
            peers: BTreeMap::new(),
            links: BTreeMap::new(),
            joining: Vec::new(),
            changes: 0,
            directory,
            requests: BTreeMap::new(),
            again: VecDeque::new(),
            submitters: Submitters::new(desk, asked),
            updates: VecDeque::new(),
            reported: Vec::new(),
            filled: BTreeSet::new(),
            // Of its last life the ledger may have something left to do.
            eventful: true,
            notes_due: None,
            decided: None,
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

    /// The jobs and their results, to look at.
    #[must_use]
    pub const fn jobs(&self) -> &JobStore {
        &self.jobs
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

    /// Why nothing can be written down, if nothing can.
    pub(crate) fn stalled(&self) -> Option<&str> {
        self.stalled.as_ref().map(|(_, reason)| reason.as_str())
    }

    /// The wall clock.
    pub(crate) fn wall(&self) -> UnixMillis {
        self.clock.unix_now()
    }

    /// What is known of every node that is there.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &NodeRecord)> {
        self.peers.iter().map(|(id, peer)| (*id, &peer.record))
    }

    /// What is known of one node, if it is there.
    #[must_use]
    pub fn node(&self, node: NodeId) -> Option<&NodeRecord> {
        self.peers.get(&node).map(|peer| &peer.record)
    }

    /// Whether a node's link is up and the way to it is known.
    pub(crate) fn is_linked(&self, node: NodeId) -> bool {
        self.link_of(node).is_some()
    }

    /// What the coordinator's own mixnode counted.
    pub async fn mix_stats(&self) -> MixStats {
        self.mix.mix_stats().await
    }

    /// Forgets what the nodes' mixnodes counted and asks for it anew: each answer is an
    /// [`Update::Heard`], after which [`NodeRecord::mix`] is there again.
    pub fn ask_counts(&mut self) {
        let tell = ToNode::Tell.encode();
        for peer in self.peers.values_mut() {
            peer.record.mix = None;
            if let Some(link) = peer.link.and_then(|link| self.links.get(&link)) {
                // A node with a full queue reads nothing and would not answer.
                let _ = link.to_node.try_send(ToLink::Send(tell.clone()));
            }
        }
    }

    /// Admits a job. It is safe once [`Event::Admitted`] says so.
    ///
    /// # Errors
    /// [`NodeError::Submit`], [`NodeError::Store`].
    pub async fn submit(&mut self, job: JobSpec) -> Result<(), NodeError> {
        if self.knows(job.id)? {
            return Err(SubmitError::KnownJob { job: job.id }.into());
        }
        Ok(self.with_rules(|rules, host| rules.submit(job, host))?)
    }

    /// Waits for the next thing that happens, acts on it, and tells.
    ///
    /// Nothing that nodes or strangers do is an error: who sends what makes no sense is refused, and
    /// without a mixnode in every layer the tasks wait for one. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`NodeError`]: the coordinator cannot go on, for instance because its ledger fails.
    pub async fn next(&mut self) -> Result<Update, NodeError> {
        loop {
            // Who is at the door is let in first, but the others need not wait for long.
            if self.changes > 0 && (self.control.is_empty() || self.changes >= CHANGES_MAX) {
                self.publish_directory().await;
            }
            if let Some(update) = self.write_down() {
                return Ok(update);
            }
            // What is told is on disk, unless that cannot be written.
            if let Some(update) = self.updates.pop_front() {
                return Ok(update);
            }
            if self.decided.is_none() {
                self.decided = self.rules.poll_event().or_else(|| self.sent_in_vain());
            }
            let permit = match &self.decided {
                Some(Event::Dispatch { privacy, .. }) if privacy.needs_mixnet() => {
                    if self.changes > 0 {
                        self.publish_directory().await;
                    }
                    self.mix.permit().await
                }
                _ => None,
            };
            if let Some(event) = self.decided.take() {
                return self.act(event, permit);
            }
            // Nothing more comes of what has happened: it goes out together.
            self.acknowledge()?;
            for link in std::mem::take(&mut self.filled) {
                if let Some(end) = self.links.get(&link) {
                    end.outbox.release();
                }
            }
            if !self.updates.is_empty() {
                continue;
            }
            let again = self.stalled.as_ref().map(|(again, _)| *again);
            let due = self.rules.poll_timeout().into_iter();
            let due = due.chain(again).chain(self.notes_due).min();
            let wait = due.map_or(Duration::from_secs(60), |due| {
                due.duration_since(self.clock.now())
            });
            tokio::select! {
                Some(control) = self.control.recv() => self.handle_controls(control)?,
                Some(delivery) = self.deliveries.recv() => {
                    self.handle_delivery(delivery);
                    while let Ok(delivery) = self.deliveries.try_recv() {
                        self.handle_delivery(delivery);
                    }
                }
                asked = self.submitters.asked() => {
                    self.answer(asked);
                }
                () = tokio::time::sleep(wait) => {
                    self.with_rules(Coordinator::handle_timeout);
                }
            }
        }
    }

    /// Acts on a message and on those that have come with it, so that what comes of them is written
    /// down together.
    fn handle_controls(&mut self, first: Control) -> Result<(), NodeError> {
        let mut next = Some(first);
        for _ in 0..MESSAGES_MAX {
            let Some(control) = next else { break };
            if let Some(update) = self.handle_control(control)? {
                self.updates.push_back(update);
            }
            if self.changes >= CHANGES_MAX {
                break;
            }
            next = self.control.try_recv().ok();
        }
        Ok(())
    }

    /// Writes down what has happened, so that its events come out.
    fn write_down(&mut self) -> Option<Update> {
        let now = self.clock.now();
        let waits = self.stalled.as_ref().is_some_and(|(again, _)| now < *again);
        if waits || !self.rules.needs_flush() {
            if !waits && self.has_promised() {
                self.answer_what_is_written();
            }
            return None;
        }
        let noted = self.notes_due.is_some_and(|due| due <= now);
        if !self.eventful && !noted {
            // The ledger has done its part, and that is to be noted.
            self.notes_due.get_or_insert(now + NOTES_WAIT);
            if self.has_promised() {
                self.answer_what_is_written();
            }
            return None;
        }
        let wall = self.clock.unix_now();
        match self.rules.flush(&mut self.jobs, &mut self.bank, wall) {
            Ok(()) => {
                (self.eventful, self.notes_due) = (false, None);
                self.answer_what_is_written();
                self.stalled.take().map(|_| Update::Resumed)
            }
            Err(error) => {
                let reason = error.to_string();
                let told = self.stalled.take().is_some_and(|(_, last)| last == reason);
                self.stalled = Some((now + STALLED_PAUSE, reason));
                (!told).then_some(Update::Stalled { error })
            }
        }
    }

    /// Lets nodes forget the reports that are on disk, or were of no use.
    fn acknowledge(&mut self) -> Result<(), NodeError> {
        if self.stalled.is_some() {
            return Ok(());
        }
        for (link, attempt) in std::mem::take(&mut self.reported) {
            self.post(link, |outbox| outbox.acknowledge(attempt))?;
        }
        Ok(())
    }

    /// Puts something into the outbox of a link, if it is still there. A node that lets it overflow
    /// is sent away.
    fn post(
        &mut self,
        link: u64,
        put: impl FnOnce(&Outbox) -> Result<(), Full>,
    ) -> Result<(), NodeError> {
        let Some(end) = self.links.get(&link) else {
            return Ok(());
        };
        let node = end.node;
        if put(&end.outbox).is_ok() {
            self.filled.insert(link);
            return Ok(());
        }
        let refused = self.refuse(node, link, Refusal::Slow)?;
        self.updates.push_back(refused);
        Ok(())
    }

    /// The present link of a node that takes part.
    fn link_of(&self, node: NodeId) -> Option<u64> {
        let peer = self.peers.get(&node).filter(|peer| peer.record.answered);
        peer.and_then(|peer| peer.link)
    }

    /// Does what the rules have decided.
    fn act(&mut self, event: Event, permit: Option<MixPermit>) -> Result<Update, NodeError> {
        let at = self.clock.now();
        let routed = matches!(self.config.rules.placement, Placement::Routed(_));
        let _entered = trace::span(&event, routed).entered();
        match &event {
            Event::Dispatch {
                node,
                task,
                attempt,
                privacy,
                spec,
            } if privacy.needs_mixnet() => {
                let (node, task, attempt) = (*node, *task, *attempt);
                let sent = permit.map(|permit| self.dispatch(node, task, attempt, spec, permit));
                if let Some(Err(error)) = sent {
                    let report = TaskReport {
                        task,
                        result: Err(TaskError::Cancelled),
                    };
                    let log = String::new();
                    let _ = self.report(node, attempt, Reported { report, log });
                    return Ok(Update::Unsent { task, error });
                }
            }
            Event::Dispatch {
                node,
                task,
                attempt,
                spec,
                ..
            } => {
                let (node, attempt) = (*node, *attempt);
                // It may have ended since: a node that comes back tells first what it has done.
                let state = self.rules.task(*task).map(|task| task.state);
                // Without a link it is sent by the next one.
                if state == Some(TaskState::Assigned { node, attempt })
                    && let Some(link) = self.link_of(node)
                {
                    let (task, number) = (*task, attempt);
                    let attempt = AttemptId { task, number };
                    self.post(link, |outbox| outbox.run(attempt, spec))?;
                }
            }
            Event::Revoke {
                node,
                task,
                attempt,
            } => {
                if let Some(link) = self.link_of(*node) {
                    let (task, number) = (*task, *attempt);
                    let attempt = AttemptId { task, number };
                    self.post(link, |outbox| outbox.revoke(attempt))?;
                }
            }
            Event::Recall {
                node,
                task,
                attempt,
            } => {
                if let Some(link) = self.link_of(*node) {
                    let (task, number) = (*task, *attempt);
                    let attempt = AttemptId { task, number };
                    self.post(link, |outbox| outbox.recall(attempt))?;
                }
            }
            // What comes of it now settles nothing any more.
            Event::AttemptLost { task, attempt, .. } => {
                self.requests
                    .retain(|_, request| (request.task, request.attempt) != (*task, *attempt));
            }
            _ => {}
        }
        Ok(Update::Decided { at, event })
    }

    /// Sends a task through the mixnet, with blocks for the report.
    fn dispatch(
        &mut self,
        node: NodeId,
        task: TaskId,
        attempt: u32,
        spec: &TaskSpec,
        permit: MixPermit,
    ) -> Result<(), SendError> {
        let Some(peer) = self.peers.get(&node) else {
            return Ok(());
        };
        let receiver = peer.record.descriptor.contact();
        let topology = self.topology()?;
        let output = usize::try_from(spec.limits().output_bytes).unwrap_or(usize::MAX);
        let surbs = self.client.surbs_for(
            output.saturating_add(Reported::log_bytes_max(spec) + REPORT_OVERHEAD_BYTES),
        );
        let surbs = u16::try_from(surbs).unwrap_or(u16::MAX);
        let body = TaskMessage {
            attempt,
            task,
            spec: &spec.encode(),
        }
        .seal(&peer.task_key);
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
        permit.send(transmits);
        Ok(())
    }

    /// The mixnodes that are there and have answered, in their layers.
    ///
    /// # Errors
    /// [`TopologyError::EmptyLayer`].
    pub fn topology(&self) -> Result<Topology, TopologyError> {
        let answered = self.layers(|record| record.answered);
        Topology::new(answered, self.config.delay_mean)
    }

    fn layers(&self, with: impl Fn(&NodeRecord) -> bool) -> Vec<Vec<Descriptor>> {
        let mut layers = vec![Vec::new(); self.config.layers];
        for peer in self.peers.values().filter(|peer| with(&peer.record)) {
            if let Role::Mix { layer } = peer.record.role
                && let Some(layer) = layers.get_mut(usize::from(layer))
            {
                layer.push(peer.record.descriptor);
            }
        }
        layers
    }

    fn handle_delivery(&mut self, delivery: Delivery) {
        let now = self.clock.now();
        let Ok(Some(Incoming::Reply { id, body })) = self.client.handle_delivery(delivery, now)
        else {
            return;
        };
        let Some(request) = self.requests.remove(&id) else {
            return;
        };
        let Some(reported) = Reported::decode(&body)
            .ok()
            .filter(|reported| reported.report.task == request.task)
        else {
            return;
        };
        // What is refused is the sender's fault, and dealt with by the rules.
        let _ = self.report(request.node, request.attempt, reported);
    }

    fn report(
        &mut self,
        node: NodeId,
        attempt: u32,
        reported: Reported,
    ) -> Result<Amount, ReportError> {
        let Reported { report, log } = reported;
        let task = report.task;
        let taken = self.with_rules(|rules, host| rules.report(node, attempt, report, host));
        let state = self.rules.task(task).map(|task| task.state);
        if taken.is_ok() && !log.is_empty() && state.is_some_and(TaskState::is_terminal) {
            // Nodes may say anything, and people read it at terminals.
            let plain = |c: char| if c.is_control() && c != '\n' { '?' } else { c };
            self.jobs.keep_log(task, log.chars().map(plain).collect());
        }
        taken
    }

    fn handle_control(&mut self, control: Control) -> Result<Option<Update>, NodeError> {
        match control {
            Control::Opened { link, end } => {
                self.links.insert(link, end);
                Ok(None)
            }
            Control::Message { link, at, message } => {
                // Messages of links that were refused may still be on their way.
                let Some(node) = self.links.get(&link).map(|end| end.node) else {
                    return Ok(None);
                };
                match self.handle_message(node, link, at, message)? {
                    Ok(update) => Ok(Some(update)),
                    Err(reason) => self.refuse(node, link, reason).map(Some),
                }
            }
            Control::Closed {
                node,
                link,
                replaced,
            } => {
                self.links.remove(&link);
                let Some(peer) = self.peers.get_mut(&node) else {
                    return Ok(None);
                };
                match peer.link {
                    // The node is not gone: it says hello on its newer link.
                    Some(present) if present == link && replaced => {
                        peer.link = None;
                        return Ok(None);
                    }
                    Some(present) if present > link => return Ok(None),
                    // The newer link has ended too.
                    _ => {}
                }
                self.lose(node);
                Ok(Some(Update::Heard { node }))
            }
        }
    }

    /// Acts on what a node sent. The inner error is the node's fault, the outer one is not.
    fn handle_message(
        &mut self,
        node: NodeId,
        link: u64,
        at: Instant,
        message: Result<FromNode, DecodeError>,
    ) -> Result<Result<Update, Refusal>, NodeError> {
        let Ok(message) = message else {
            return Ok(Err(Refusal::Protocol));
        };
        let joined = self
            .peers
            .get(&node)
            .is_some_and(|peer| peer.link == Some(link));
        match message {
            FromNode::Hello {
                role,
                descriptor,
                lending,
            } if !joined => {
                if let Err(reason) = self.admit(node, role, &descriptor) {
                    return Ok(Err(reason));
                }
                let Some(task_key) = TaskKey::between(&self.identity, node) else {
                    return Ok(Err(Refusal::Descriptor));
                };
                let known = self.peers.get(&node);
                let record = NodeRecord {
                    role,
                    descriptor,
                    offer: offer(
                        &lending,
                        known.map_or(0.0, |peer| peer.record.offer.latency_ms),
                    ),
                    status: lending.status,
                    mix: None,
                    answered: false,
                    round_trips: known
                        .map_or_else(RoundTrips::default, |peer| peer.record.round_trips),
                    reports_refused: known.map_or(0, |peer| peer.record.reports_refused),
                };
                if let Some(end) = self.links.get(&link) {
                    end.joined.store(role == Role::Compute, Ordering::Relaxed);
                }
                let link = Some(link);
                let peer = Peer {
                    record,
                    link,
                    task_key,
                };
                self.peers.insert(node, peer);
                self.joining.extend(link);
                self.changes += 1;
                self.follow_routes();
                Ok(Ok(Update::Joined { node, role }))
            }
            FromNode::Heartbeat { lending, mix } if joined => {
                let Some(peer) = self.peers.get_mut(&node) else {
                    return Ok(Err(Refusal::Protocol));
                };
                peer.record.offer = offer(&lending, peer.record.offer.latency_ms);
                peer.record.status = lending.status;
                peer.record.mix = Some(mix);
                let told = self.tell_rules(node)?;
                if told.is_ok() && self.link_of(node) == Some(link) {
                    self.ping(link);
                }
                Ok(told)
            }
            FromNode::Pong { nonce } if joined => {
                let sent = self.links.get(&link);
                let sent = sent.and_then(|end| end.ping.is_answered(nonce));
                let (Some(peer), Some(sent)) = (self.peers.get_mut(&node), sent) else {
                    return Ok(Err(Refusal::Protocol));
                };
                let round_trip = at.duration_since(sent);
                let shortest = peer.record.round_trips.push(round_trip);
                peer.record.offer.latency_ms = shortest.as_secs_f64() * 1e3;
                // The answer to the first ping: now the way to the node is known, and it takes part.
                let takes_part = std::mem::replace(&mut peer.record.answered, true);
                if !takes_part {
                    self.follow_routes();
                    if let Err(refused) = self.tell_rules(node)? {
                        return Ok(Err(refused));
                    }
                    self.send_again(node, link)?;
                }
                // What took a minute is no distance, and the node keeps the place it has.
                let _ =
                    self.with_rules(|rules, host| rules.measured(node, shortest, None, host.rng));
                Ok(Ok(Update::Heard { node }))
            }
            FromNode::Reports { reports } if self.link_of(node) == Some(link) => {
                for (number, reported) in reports {
                    let attempt = AttemptId {
                        task: reported.report.task,
                        number,
                    };
                    if self.report(node, number, reported).is_err()
                        && let Some(peer) = self.peers.get_mut(&node)
                    {
                        peer.record.reports_refused += 1;
                    }
                    self.reported.push((link, attempt));
                }
                Ok(Ok(Update::Heard { node }))
            }
            FromNode::Returned { attempts } if self.link_of(node) == Some(link) => {
                for AttemptId { task, number } in attempts {
                    self.with_rules(|rules, host| rules.gave_back(node, task, number, host));
                }
                Ok(Ok(Update::Heard { node }))
            }
            _ => Ok(Err(Refusal::Protocol)),
        }
    }

    /// Whether a node that says hello may come in.
    fn admit(&self, node: NodeId, role: Role, descriptor: &Descriptor) -> Result<(), Refusal> {
        // With a key that cannot be used or of another epoch, a node would spoil everybody's routes.
        if descriptor.node != node
            || descriptor.epoch != self.descriptor.epoch
            || descriptor.key.is_low_order()
        {
            return Err(Refusal::Descriptor);
        }
        if self.is_ref_taken(node) {
            return Err(Refusal::Reference);
        }
        if let Role::Mix { layer } = role
            && usize::from(layer) >= self.config.layers
        {
            return Err(Refusal::Layer);
        }
        if self.peers.len() >= self.config.nodes_max && !self.peers.contains_key(&node) {
            return Err(Refusal::Full);
        }
        Ok(())
    }

    /// Tells the rules what a compute node offers. They may have lost it while it was silent: then
    /// it registers again.
    fn tell_rules(&mut self, node: NodeId) -> Result<Result<Update, Refusal>, NodeError> {
        let heard = Ok(Ok(Update::Heard { node }));
        let Some(record) = self.node(node) else {
            return heard;
        };
        if record.role != Role::Compute || !record.answered {
            return heard;
        }
        let offer = record.offer;
        match self.with_rules(|rules, host| rules.heartbeat(node, offer, host)) {
            Ok(true) => return heard,
            Ok(false) => {}
            Err(_) => return Ok(Err(Refusal::Offer)),
        }
        match self.with_rules(|rules, host| rules.register(node, offer, host)) {
            Ok(()) => heard,
            Err(RegisterError::Offer(_)) => Ok(Err(Refusal::Offer)),
            Err(_) => Ok(Err(Refusal::Full)),
        }
    }

    /// Measures how far a node is, unless it has not answered the last ping yet.
    fn ping(&self, link: u64) {
        let Some(end) = self.links.get(&link) else {
            return;
        };
        if let Some(nonce) = end.ping.draw()
            && end.to_node.try_send(ToLink::Ping(nonce)).is_err()
        {
            // A node with a full queue reads nothing now and would not answer.
            end.ping.withdraw();
        }
    }

    /// Sends what a node has by its link once more, now that it has a new one: nobody knows what the
    /// last one carried.
    fn send_again(&mut self, node: NodeId, link: u64) -> Result<(), NodeError> {
        let Some(end) = self.links.get(&link) else {
            return Ok(());
        };
        let outbox = Arc::clone(&end.outbox);
        let by_link = |privacy: PrivacyLevel| !privacy.needs_mixnet();
        let held = self.rules.attempts(node);
        let mut full = Ok(());
        for (task, number, _, spec) in held.filter(|(_, _, privacy, _)| by_link(*privacy)) {
            full = full.and(outbox.run(AttemptId { task, number }, spec));
        }
        self.post(link, |_| full)
    }

    /// Ends a node's link, and with it what it had joined.
    fn refuse(&mut self, node: NodeId, link: u64, reason: Refusal) -> Result<Update, NodeError> {
        if let Some(end) = self.links.remove(&link) {
            let told = ToNode::Refused { reason }.encode();
            let _ = end.to_node.try_send(ToLink::Refuse(told));
        }
        if self
            .peers
            .get(&node)
            .is_some_and(|peer| peer.link.is_none_or(|present| present == link))
        {
            self.lose(node);
        }
        Ok(Update::Refused { node, reason })
    }

    /// Forgets a node whose link has ended.
    fn lose(&mut self, node: NodeId) {
        let lost = self.peers.remove(&node);
        self.changes += 1;
        // Nothing may be sent on a route that is no more.
        self.follow_routes();
        self.requests.retain(|_, request| request.node != node);
        if lost.is_some_and(|peer| peer.record.role != Role::Compute) {
            // Any of it may have been there, or its answer has to pass it. A node that has it does it
            // once, and answers by the newer blocks too.
            let requests = std::mem::take(&mut self.requests);
            self.again.extend(requests.into_values());
        }
        self.with_rules(|rules, host| rules.node_lost(node, LossReason::Disconnected, host));
    }

    /// What is to be sent once more, as the same attempt, if it has not ended and there is a way.
    fn sent_in_vain(&mut self) -> Option<Event> {
        if self.again.is_empty() || self.topology().is_err() {
            return None;
        }
        while let Some(lost) = self.again.pop_front() {
            let mut held = self.rules.attempts(lost.node);
            let held = held.find(|held| (held.0, held.1) == (lost.task, lost.attempt));
            if let Some((task, attempt, privacy, spec)) = held {
                return Some(Event::Dispatch {
                    node: lost.node,
                    task,
                    attempt,
                    privacy,
                    spec: spec.clone(),
                });
            }
        }
        None
    }

    /// Without a mixnode in every layer nothing can be sent, and nothing is dispatched.
    fn follow_routes(&mut self) {
        if self.topology().is_ok() {
            self.with_rules(Coordinator::resume);
        } else {
            self.with_rules(Coordinator::hold);
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

    pub(crate) fn with_rules<T>(
        &mut self,
        call: impl FnOnce(&mut Coordinator, &mut Host<'_, SqliteLedger, ChaCha20Rng>) -> T,
    ) -> T {
        self.eventful = true;
        let mut host = Host {
            bank: &mut self.bank,
            rng: &mut self.rng,
            now: self.clock.now(),
            wall: self.clock.unix_now(),
        };
        call(&mut self.rules, &mut host)
    }

    /// Tells every node who is there, then those that have just joined their ping.
    async fn publish_directory(&mut self) {
        let layers = self.layers(|_| true);
        let others: Vec<_> = self
            .peers
            .values()
            .filter(|peer| peer.record.role == Role::Compute)
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
        // Nothing waits from here on: if the future was dropped above, it is all done again.
        self.changes = 0;
        self.directory.send_replace(message.into());
        for link in self.joining.drain(..) {
            if let Some(end) = self.links.get(&link)
                && let Some(nonce) = end.ping.draw()
            {
                let _ = end.to_node.try_send(ToLink::Join(nonce));
            }
        }
    }
}

fn offer(lending: &Lending, latency_ms: f64) -> Offer {
    // Two for each slot: one that runs and one that waits.
    let slots_max = (LINK_TASKS_MAX / 2) as u64;
    Offer {
        cpu_millis: lending.cpu_millis.min(1000 * slots_max),
        memory_bytes: lending.memory_bytes,
        fuel_per_second: lending.fuel_per_second,
        price_per_gigafuel: lending.price_per_gigafuel,
        latency_ms,
    }
}

/// Reads and writes every control link in tasks of its own.
async fn attend_links(
    mut links: mpsc::Receiver<Link>,
    messages: mpsc::Sender<Control>,
    directory: watch::Receiver<Arc<[u8]>>,
    clock: Arc<dyn Clock>,
) {
    let mut tasks = JoinSet::new();
    let mut number = 0;
    while let Some(link) = links.recv().await {
        while tasks.try_join_next().is_some() {}
        number += 1;
        let attended = attend_link(
            link,
            number,
            messages.clone(),
            directory.clone(),
            Arc::clone(&clock),
        );
        tasks.spawn(attended);
    }
}

async fn attend_link(
    link: Link,
    number: u64,
    messages: mpsc::Sender<Control>,
    directory: watch::Receiver<Arc<[u8]>>,
    clock: Arc<dyn Clock>,
) {
    let node = link.peer();
    let (reader, writer) = link.into_split();
    let (to_node, orders) = mpsc::channel(NODE_QUEUE_MAX);
    let ping = Arc::new(Ping::default());
    let (outbox, joined) = (
        Arc::new(Outbox::default()),
        Arc::new(AtomicBool::new(false)),
    );
    let opened = Control::Opened {
        link: number,
        end: ControlLink {
            node,
            to_node,
            outbox: Arc::clone(&outbox),
            joined: Arc::clone(&joined),
            ping: Arc::clone(&ping),
        },
    };
    if messages.send(opened).await.is_err() {
        return;
    }
    let ended = tokio::select! {
        ended = write_link(writer, orders, &outbox, directory, &ping, &*clock) => ended,
        ended = read_link(reader, number, &joined, &messages, &*clock) => ended,
    };
    let replaced = matches!(ended, Err(LinkError::Replaced));
    let closed = Control::Closed {
        node,
        link: number,
        replaced,
    };
    let _ = messages.send(closed).await;
}

async fn write_link(
    mut writer: LinkWriter,
    mut orders: mpsc::Receiver<ToLink>,
    outbox: &Outbox,
    mut directory: watch::Receiver<Arc<[u8]>>,
    ping: &Ping,
    clock: &dyn Clock,
) -> Result<(), LinkError> {
    let (mut joined, mut modules) = (false, LinkModules::new());
    loop {
        tokio::select! {
            () = outbox.ready() => {
                for frame in outbox.frames(&mut modules) {
                    writer.send(&frame).await?;
                }
            }
            order = orders.recv() => match order {
                Some(ToLink::Join(nonce)) => {
                    joined = true;
                    let latest = Arc::clone(&directory.borrow_and_update());
                    writer.send(&latest).await?;
                    ping.is_sent(clock.now());
                    writer.send(&ToNode::Ping { nonce }.encode()).await?;
                }
                Some(ToLink::Ping(nonce)) => {
                    ping.is_sent(clock.now());
                    writer.send(&ToNode::Ping { nonce }.encode()).await?;
                }
                Some(ToLink::Send(frame)) => writer.send(&frame).await?,
                Some(ToLink::Refuse(frame)) => return writer.send(&frame).await,
                None => return Ok(()),
            },
            changed = directory.changed(), if joined => {
                if changed.is_err() {
                    return Ok(());
                }
                let latest = Arc::clone(&directory.borrow_and_update());
                writer.send(&latest).await?;
            }
        }
    }
}

async fn read_link(
    mut reader: LinkReader,
    link: u64,
    joined: &AtomicBool,
    messages: &mpsc::Sender<Control>,
    clock: &dyn Clock,
) -> Result<(), LinkError> {
    loop {
        // Who was let in says so only afterwards: a long message of somebody else is one too many.
        let bytes_max = if joined.load(Ordering::Relaxed) {
            FROM_NODE_BYTES_MAX
        } else {
            STRANGER_BYTES_MAX
        };
        let frame = reader.receive_up_to(bytes_max).await?;
        let at = clock.now();
        let message = FromNode::decode(&frame);
        let sent = messages.send(Control::Message { link, at, message }).await;
        if sent.is_err() {
            return Ok(());
        }
    }
}

#[cfg(test)]
#[path = "coordinate/tests.rs"]
mod tests;
