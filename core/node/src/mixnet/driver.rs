//! The thread between a client's state machine and the sockets.

use std::collections::BTreeMap;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use fogcompute_base::{Clock, Instant, NodeId, OsEntropy, SystemClock};
use fogcompute_mix::{
    BuildError, Client, ClientConfig, ClientEvent, ClientMemory, Contact, CoverConfig, Delivery,
    EpochKey, EpochParity, Geometry, HeldSurbs, Hop, Incoming, MessageId, Mixnode, MixnodeConfig,
    NodeRef, Packet, PowerClass, PrivateKey, SendError, StoreKey, Surb, SurbStore, Topology,
    TopologyFile, TopologyFileError, Transmit,
};
use fogcompute_net::{Busy, EngineConfig, EngineHandle, Identity, MixEngine};
use tokio::sync::{Notify, mpsc, oneshot};

use super::client::{MixnetClientConfig, MixnetClientStats, Restored};
use super::inbox::{Inbox, MixnetMessage, Registry, ReplyBlocks, inbox, is_expired};
use super::pending::Pending;
use super::{CLIENT, MixnetError, check_packets};

/// Packets the rules hand out before deliveries are looked at again.
const TURN_PACKETS: usize = 64;
/// How long to wait when the sockets take no more, or packets cannot be built.
const PAUSE: Duration = Duration::from_millis(2);
/// Links to the last layer are used at least so often, so that neither end nor a router between
/// them forgets them.
const LINKS_EVERY: Duration = Duration::from_secs(8);
/// Bytes of messages that wait to be received. When reached, further ones are not acknowledged.
const INBOX_BYTES_MAX: usize = 64 << 20;
/// A client receives a few packets a second, not a mixnode's load.
const REPLAY_TAGS_MAX: usize = 1_000_000;

/// What callers and the thread share.
pub(super) struct Shared {
    state: Mutex<State>,
    engine: Mutex<Option<EngineHandle>>,
    pub(super) inbox: Inbox,
    inbox_messages_max: usize,
    cover: CoverConfig,
    pub(super) clock: SystemClock,
    wake: Notify,
    closed: AtomicBool,
}

/// What somebody waits for, and its outcome. It is handed over when no lock is held: whoever is woken
/// may go on at once, on this thread, and ask the client for more.
enum Outcome {
    Sent(
        oneshot::Sender<Result<(), MixnetError>>,
        Result<(), MixnetError>,
    ),
    Answered(
        oneshot::Sender<Result<Vec<u8>, MixnetError>>,
        Result<Vec<u8>, MixnetError>,
    ),
}

impl Outcome {
    /// Nobody has to wait for it any more.
    fn hand_over(self) {
        match self {
            Self::Sent(waiting, outcome) => drop(waiting.send(outcome)),
            Self::Answered(waiting, outcome) => drop(waiting.send(outcome)),
        }
    }
}

/// A client and who waits for what.
pub(super) struct State {
    pub(super) client: Client,
    pub(super) contact: Contact,
    identity: Identity,
    /// Mix keys of this epoch and the one before, with the numbers of their epochs. Empty once they
    /// were handed out to be kept.
    keys: Vec<(u64, EpochKey)>,
    network: Network,
    /// Reply blocks of others that somebody holds.
    blocks: Registry,
    /// Those that a client before this one held, and nobody has asked for yet.
    held: BTreeMap<MessageId, HeldSurbs>,
    /// Requests of a client before this one that nobody waits for yet, with answers that came.
    kept: BTreeMap<MessageId, Option<Vec<u8>>>,
    sends: BTreeMap<MessageId, oneshot::Sender<Result<(), MixnetError>>>,
    requests: BTreeMap<MessageId, Request>,
    /// Packets that were built at once, and those the sockets did not take.
    outbox: Vec<Transmit>,
    /// What is to be handed over once the lock is released.
    outcomes: Vec<Outcome>,
    /// When links to the last layer are to be used next.
    links_due: Instant,
    stats: MixnetClientStats,
}

struct Request {
    answer: oneshot::Sender<Result<Vec<u8>, MixnetError>>,
    deadline: Instant,
    within: Duration,
}

/// What a topology file says, to be shared without copying.
struct Network {
    epoch: u64,
    file: TopologyFile,
    topology: Arc<Topology>,
}

impl Network {
    fn new(file: TopologyFile) -> Self {
        Self {
            epoch: file.epoch,
            topology: Arc::new(file.topology.clone()),
            file,
        }
    }

    const fn geometry(&self) -> Geometry {
        self.file.geometry
    }
}

fn check_valid(file: &TopologyFile, clock: &SystemClock) -> Result<(), MixnetError> {
    let now = clock.unix_now();
    if now < file.valid_from {
        let from = file.valid_from;
        return Err(TopologyFileError::NotYetValid { from }.into());
    }
    if now >= file.valid_until {
        let until = file.valid_until;
        return Err(TopologyFileError::Expired { until }.into());
    }
    Ok(())
}

pub(super) struct Started {
    pub(super) shared: Arc<Shared>,
    pub(super) thread: JoinHandle<()>,
    pub(super) node: NodeId,
}

/// What a client before kept, opened.
pub(super) fn open(
    file: &TopologyFile,
    config: &MixnetClientConfig,
    bytes: &[u8],
    key: &StoreKey,
) -> Result<SurbStore, MixnetError> {
    let now = SystemClock::new().unix_now();
    let store = SurbStore::open(bytes, file.geometry, key, now, REPLAY_TAGS_MAX)?;
    if config
        .identity
        .is_some_and(|given| given != *store.identity)
    {
        return Err(MixnetError::OtherIdentity);
    }
    Ok(store)
}

/// The mix keys of a client in an epoch: those it had that are still in use, and one of the epoch.
fn keys_in(epoch: u64, had: Vec<(u64, EpochKey)>) -> (EpochKey, Vec<(u64, EpochKey)>) {
    let mut keys = had;
    keys.retain(|(of, _)| *of == epoch || of.checked_add(1) == Some(epoch));
    let own = keys.iter().find(|(of, _)| *of == epoch);
    if let Some((_, key)) = own {
        return (key.clone(), keys);
    }
    let key = EpochKey::new(PrivateKey::random(&mut OsEntropy), REPLAY_TAGS_MAX);
    keys.push((epoch, key.clone()));
    (key, keys)
}

/// Starts the sockets and the thread, with what a client before kept, if there was one.
pub(super) fn start(
    file: TopologyFile,
    config: &MixnetClientConfig,
    store: Option<SurbStore>,
) -> Result<Started, MixnetError> {
    let clock = SystemClock::new();
    check_valid(&file, &clock)?;
    let store = store.unwrap_or_else(|| SurbStore {
        identity: config
            .identity
            .map_or_else(|| Identity::random(&mut OsEntropy), Identity::from_bytes)
            .to_bytes(),
        keys: Vec::new(),
        held: Vec::new(),
        answers: Vec::new(),
        memory: ClientMemory::default(),
    });
    let identity = Identity::from_bytes(*store.identity);
    let node = identity.node();
    let (key, keys) = keys_in(file.epoch, store.keys);
    let contact = Contact {
        node,
        key: key.public_key(),
        epoch: EpochParity::of(file.epoch),
    };
    let mut mixnode = Mixnode::with_epoch_key(
        contact.epoch,
        key,
        MixnodeConfig {
            geometry: file.geometry,
            relay: false,
            replay_tags_max: REPLAY_TAGS_MAX,
            ..MixnodeConfig::default()
        },
    );
    for (epoch, key) in keys.iter().filter(|(epoch, _)| *epoch != file.epoch) {
        mixnode.set_epoch_key(EpochParity::of(*epoch), key.clone());
    }
    let engine_config = EngineConfig {
        workers: 1,
        ..EngineConfig::default()
    };
    let shared_clock: Arc<dyn Clock> = Arc::new(clock);
    let (engine, deliveries) = MixEngine::start(
        mixnode,
        identity.clone(),
        config.listen,
        &engine_config,
        &shared_clock,
    )?;
    engine.set_directory(file.topology.layers().iter().flatten())?;
    let client_config = ClientConfig {
        geometry: file.geometry,
        ..ClientConfig::default()
    };
    let requests = store.memory.requests().into_iter().map(|id| (id, None));
    let answers = store.answers.into_iter().map(|(id, body)| (id, Some(body)));
    let kept = requests.chain(answers).collect();
    let held = store.held.into_iter().map(|held| (held.message, held));
    let held = held
        .filter(|(_, held)| !is_expired(held.epoch, file.epoch))
        .collect();
    let mut client = Client::restore(contact, client_config, store.memory, clock.now());
    client.set_entries(file.topology.entries());
    client.set_cover(config.cover, clock.now(), &mut OsEntropy);
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            client,
            contact,
            identity,
            keys,
            network: Network::new(file),
            blocks: Registry::default(),
            held,
            kept,
            sends: BTreeMap::new(),
            requests: BTreeMap::new(),
            outbox: Vec::new(),
            outcomes: Vec::new(),
            links_due: Instant::ZERO,
            stats: MixnetClientStats::default(),
        }),
        engine: Mutex::new(Some(engine)),
        inbox: inbox(),
        inbox_messages_max: config.inbox_messages_max,
        cover: config.cover,
        clock,
        wake: Notify::new(),
        closed: AtomicBool::new(false),
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(MixnetError::Thread)?;
    let of_thread = Arc::clone(&shared);
    let thread = std::thread::Builder::new()
        .name("mixnet-client".to_owned())
        .spawn(move || {
            // However the thread ends, nobody waits for it in vain.
            let _end = CloseOnDrop(&of_thread);
            runtime.block_on(run(&of_thread, deliveries));
        })
        .map_err(MixnetError::Thread)?;
    Ok(Started {
        shared,
        thread,
        node,
    })
}

struct CloseOnDrop<'a>(&'a Shared);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

async fn run(shared: &Shared, mut deliveries: mpsc::Receiver<Delivery>) {
    while !shared.is_closed() {
        let next = shared.turn(shared.clock.now());
        let wait = next.duration_since(shared.clock.now());
        if wait.is_zero() {
            while let Ok(delivery) = deliveries.try_recv() {
                shared.receive(delivery);
            }
            tokio::task::yield_now().await;
            continue;
        }
        tokio::select! {
            delivery = deliveries.recv() => match delivery {
                Some(delivery) => shared.receive(delivery),
                None => return,
            },
            () = shared.wake.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
    // Nothing comes in from here on. What did was remembered as seen, so it would never come again.
    let engine = shared.engine().take();
    drop(engine);
    while let Ok(delivery) = deliveries.try_recv() {
        shared.receive(delivery);
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, unless the thread has ended: whoever waited for something then would do so for
    /// ever. What is put into it under this lock is seen by [`Shared::end`].
    fn open(&self) -> Result<MutexGuard<'_, State>, MixnetError> {
        let state = self.lock();
        if self.is_closed() {
            return Err(MixnetError::Closed { what: CLIENT });
        }
        Ok(state)
    }

    fn engine(&self) -> MutexGuard<'_, Option<EngineHandle>> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_room(&self) -> bool {
        let (messages, bytes) = self.inbox.len();
        messages < self.inbox_messages_max && bytes < INBOX_BYTES_MAX
    }

    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Asks the thread to end.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.wake();
    }

    /// Ends what the thread drove. Who waits is told by the end of their channels.
    fn end(&self) {
        self.closed.store(true, Ordering::Release);
        let mut state = self.lock();
        let (sends, requests) = (mem::take(&mut state.sends), mem::take(&mut state.requests));
        drop(state);
        // To drop them wakes who waits, as handing an outcome over does.
        drop((sends, requests));
        let engine = self.engine().take();
        drop(engine);
        self.inbox.close();
    }

    pub(super) fn send(&self, to: Contact, body: &[u8]) -> Result<Pending<()>, MixnetError> {
        let mut state = self.open()?;
        let id = state.send(to, body, 0, &self.clock)?;
        let (outcome, result) = oneshot::channel();
        state.sends.insert(id, outcome);
        drop(state);
        self.wake();
        Ok(Pending::new(id, result, None))
    }

    pub(super) fn request(
        self: &Arc<Self>,
        to: Contact,
        body: &[u8],
        answer_bytes_max: usize,
        within: Duration,
    ) -> Result<Pending<Vec<u8>>, MixnetError> {
        let mut state = self.open()?;
        let blocks = state.client.surbs_for(answer_bytes_max).max(1);
        // More blocks than can be counted do not fit into a message either; the client says so.
        let blocks = u16::try_from(blocks).unwrap_or(u16::MAX);
        let id = state.send(to, body, blocks, &self.clock)?;
        let (answer, result) = oneshot::channel();
        let request = Request {
            answer,
            deadline: self.clock.now() + within,
            within,
        };
        state.requests.insert(id, request);
        drop(state);
        self.wake();
        Ok(Pending::new(id, result, Some(Arc::downgrade(self))))
    }

    pub(super) fn send_through(
        &self,
        nodes: &[NodeId],
        to: Contact,
        body: &[u8],
    ) -> Result<MessageId, MixnetError> {
        let mut state = self.lock();
        check_valid(&state.network.file, &self.clock)?;
        let topology = state.topology();
        let now = self.clock.now();
        let (id, transmits) =
            state
                .client
                .send_through(&topology, nodes, to, body, 0, now, &mut OsEntropy)?;
        state.outbox.extend(transmits);
        state.stats.sent += 1;
        drop(state);
        self.wake();
        Ok(id)
    }

    pub(super) fn reply(&self, surbs: Vec<Surb>, body: &[u8]) -> Result<(), MixnetError> {
        let mut state = self.lock();
        let transmits = state.client.reply(surbs, body, &mut OsEntropy)?;
        state.outbox.extend(transmits);
        drop(state);
        self.wake();
        Ok(())
    }

    /// What a client before this one kept and nobody has asked for yet.
    pub(super) fn restored(&self) -> Restored {
        let state = self.lock();
        Restored {
            messages: state.held.keys().copied().collect(),
            requests: state.kept.keys().copied().collect(),
        }
    }

    pub(super) fn reply_blocks(&self, message: MessageId) -> Option<ReplyBlocks> {
        let mut state = self.lock();
        let held = state.held.remove(&message)?;
        Some(state.blocks.register(held))
    }

    pub(super) fn answer_to(
        self: &Arc<Self>,
        id: MessageId,
        within: Duration,
    ) -> Result<Pending<Vec<u8>>, MixnetError> {
        let mut state = self.open()?;
        let kept = state.kept.remove(&id);
        let kept = kept.ok_or(MixnetError::UnknownRequest { id })?;
        let (answer, result) = oneshot::channel();
        if let Some(body) = kept {
            // Its receiver stands a line above.
            let _ = answer.send(Ok(body));
        } else {
            let request = Request {
                answer,
                deadline: self.clock.now() + within,
                within,
            };
            state.requests.insert(id, request);
        }
        drop(state);
        self.wake();
        Ok(Pending::new(id, result, Some(Arc::downgrade(self))))
    }

    /// What a client after this one needs, once the thread has ended. Once.
    pub(super) fn seal(&self, key: &StoreKey) -> Result<Vec<u8>, MixnetError> {
        let mut state = self.lock();
        let keys = mem::take(&mut state.keys);
        if keys.is_empty() {
            return Err(MixnetError::Closed { what: CLIENT });
        }
        let (contact, epoch) = (state.contact, state.epoch());
        let geometry = state.network.geometry();
        let client = mem::replace(
            &mut state.client,
            Client::new(contact, ClientConfig::default()),
        );
        let unasked = mem::take(&mut state.held).into_values();
        let mut held: Vec<_> = state.blocks.take().into_iter().chain(unasked).collect();
        held.retain(|held| !is_expired(held.epoch, epoch));
        let answers = mem::take(&mut state.kept).into_iter();
        let store = SurbStore {
            identity: state.identity.to_bytes(),
            keys,
            held,
            answers: answers.filter_map(|(id, body)| Some((id, body?))).collect(),
            memory: client.into_memory(self.clock.now()),
        };
        drop(state);
        Ok(store.seal(geometry, key, self.clock.unix_now(), &mut OsEntropy))
    }

    /// Nobody waits for the answer to a message any more.
    pub(super) fn forget(&self, id: MessageId) {
        let mut state = self.lock();
        let request = state.requests.remove(&id);
        if request.is_some() {
            state.client.forget(id);
            state.client.stop_sending(id);
        }
        drop(state);
        drop(request);
    }

    pub(super) fn set_topology(&self, file: TopologyFile) -> Result<(), MixnetError> {
        check_valid(&file, &self.clock)?;
        let mut state = self.lock();
        check_packets(CLIENT, state.network.geometry(), file.geometry)?;
        let engine = self.engine();
        let engine = engine
            .as_ref()
            .ok_or(MixnetError::Closed { what: CLIENT })?;
        engine.set_directory(file.topology.layers().iter().flatten())?;
        if file.epoch != state.network.epoch {
            let key = PrivateKey::random(&mut OsEntropy);
            let epoch = EpochParity::of(file.epoch);
            state.contact = Contact {
                key: key.public(),
                epoch,
                ..state.contact
            };
            let key = EpochKey::new(key, REPLAY_TAGS_MAX);
            engine.set_epoch_key(epoch, &key);
            // The other key is the one that the sockets still take packets for.
            state.keys.retain(|(of, _)| EpochParity::of(*of) != epoch);
            state.keys.push((file.epoch, key));
            let contact = state.contact;
            state.client.set_contact(contact);
            state.client.give_up_other_epochs(epoch);
        }
        state.client.set_entries(file.topology.entries());
        state.network = Network::new(file);
        // The last layer may have nodes that know nothing of this client.
        state.links_due = Instant::ZERO;
        drop(state);
        self.wake();
        Ok(())
    }

    pub(super) fn set_power(&self, power: PowerClass) {
        let cover = self.cover.for_power(power);
        let now = self.clock.now();
        self.lock().client.set_cover(cover, now, &mut OsEntropy);
        self.wake();
    }

    pub(super) fn stats(&self) -> MixnetClientStats {
        let state = self.lock();
        MixnetClientStats {
            cover: state.client.cover_stats(),
            engine: self
                .engine()
                .as_ref()
                .map(EngineHandle::stats)
                .unwrap_or_default(),
            ..state.stats
        }
    }

    /// Sends what is due, tells who waits, and says when there is more to do.
    fn turn(&self, now: Instant) -> Instant {
        let mut state = self.lock();
        state.client.set_accepting(self.has_room());
        state.open_links(now);
        let mut packets = mem::take(&mut state.outbox);
        let topology = state.topology();
        let mut failed = false;
        while packets.len() < TURN_PACKETS && !failed {
            match state.client.poll_transmit(&topology, now, &mut OsEntropy) {
                Ok(Some(transmit)) => packets.push(transmit),
                Ok(None) => break,
                // What it was for is tried again, and given up after a while.
                Err(_) => failed = true,
            }
        }
        while let Some(event) = state.client.poll_event() {
            state.settle(event);
        }
        state.expire(now);
        let next = state.next_event();
        let outcomes = mem::take(&mut state.outcomes);
        drop(state);
        outcomes.into_iter().for_each(Outcome::hand_over);
        let busy = !self.transmit(packets);
        if busy || failed {
            return now + PAUSE;
        }
        next
    }

    /// Whether the sockets took the packets. If not, they are kept.
    fn transmit(&self, packets: Vec<Transmit>) -> bool {
        if packets.is_empty() {
            return true;
        }
        let sent = self.engine().as_ref().map(|engine| engine.send(packets));
        let Some(Err(Busy { transmits })) = sent else {
            return true;
        };
        let mut state = self.lock();
        let newer = mem::replace(&mut state.outbox, transmits);
        state.outbox.extend(newer);
        false
    }

    fn receive(&self, delivery: Delivery) {
        let now = self.clock.now();
        let mut state = self.lock();
        state.client.set_accepting(self.has_room());
        match state.client.handle_delivery(delivery, now) {
            Ok(None) => {}
            Ok(Some(Incoming::Message { id, body, surbs })) => {
                state.stats.received += 1;
                let held = HeldSurbs {
                    message: id,
                    epoch: state.epoch(),
                    surbs,
                };
                let reply = state.blocks.register(held);
                drop(state);
                self.inbox.put([MixnetMessage { id, body, reply }]);
                self.inbox.wake();
            }
            Ok(Some(Incoming::Reply { id, body })) => {
                state.stats.answers += 1;
                state.client.stop_sending(id);
                let request = state.requests.remove(&id);
                if let Some(Request { answer, .. }) = request {
                    drop(state);
                    Outcome::Answered(answer, Ok(body)).hand_over();
                } else if let Some(kept) = state.kept.get_mut(&id) {
                    *kept = Some(body);
                }
            }
            Err(_) => state.stats.refused += 1,
        }
    }
}

impl State {
    pub(super) fn topology(&self) -> Arc<Topology> {
        Arc::clone(&self.network.topology)
    }

    /// A node sends to this client only over a link that the client has opened, and keeps that only
    /// while it is used: each node of the last layer gets a packet that ends there.
    fn open_links(&mut self, now: Instant) {
        if now < self.links_due {
            return;
        }
        self.links_due = now + LINKS_EVERY;
        let topology = self.topology();
        let geometry = self.network.geometry();
        let opening = |hop: Hop| -> Result<Transmit, BuildError> {
            Ok(Transmit {
                to: NodeRef::from(hop.node),
                packet: Packet::build(geometry, &[hop], &[], &mut OsEntropy)?,
            })
        };
        // A node whose key is weak gets no packets from anybody.
        let last = topology.layers().last().into_iter().flatten();
        let packets = last
            .map(|node| Hop::at(node.contact(), Duration::ZERO))
            .filter_map(|hop| opening(hop).ok());
        self.outbox.extend(packets);
    }

    pub(super) const fn epoch(&self) -> u64 {
        self.network.epoch
    }

    fn send(
        &mut self,
        to: Contact,
        body: &[u8],
        blocks: u16,
        clock: &SystemClock,
    ) -> Result<MessageId, MixnetError> {
        check_valid(&self.network.file, clock)?;
        let topology = self.topology();
        let now = clock.now();
        let sent = self
            .client
            .send_reliably(&topology, to, body, blocks, now, &mut OsEntropy);
        let id = sent.map_err(|error: SendError| MixnetError::Send(error))?;
        self.stats.sent += 1;
        Ok(id)
    }

    fn settle(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Delivered { id } => {
                self.stats.delivered += 1;
                let sent = self.sends.remove(&id);
                let outcome = sent.map(|waiting| Outcome::Sent(waiting, Ok(())));
                self.outcomes.extend(outcome);
            }
            ClientEvent::GivenUp {
                id,
                arrived,
                packets,
            } => {
                self.stats.given_up += 1;
                let error = || MixnetError::GivenUp { arrived, packets };
                if let Some(waiting) = self.sends.remove(&id) {
                    self.outcomes.push(Outcome::Sent(waiting, Err(error())));
                }
                if let Some(Request { answer, .. }) = self.requests.remove(&id) {
                    self.client.forget(id);
                    self.outcomes.push(Outcome::Answered(answer, Err(error())));
                }
            }
        }
    }

    fn expire(&mut self, now: Instant) {
        let late: Vec<_> = self
            .requests
            .iter()
            .filter(|(_, request)| now >= request.deadline)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            self.client.forget(id);
            self.client.stop_sending(id);
            if let Some(Request { answer, within, .. }) = self.requests.remove(&id) {
                let outcome = Err(MixnetError::NoAnswer { within });
                self.outcomes.push(Outcome::Answered(answer, outcome));
            }
        }
    }

    fn next_event(&self) -> Instant {
        let deadlines = self.requests.values().map(|request| request.deadline);
        deadlines
            .chain(self.client.poll_timeout())
            .chain((!self.outbox.is_empty()).then_some(Instant::ZERO))
            .fold(self.links_due, Instant::min)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let closed = self.is_closed();
        f.debug_struct("Shared")
            .field("closed", &closed)
            .finish_non_exhaustive()
    }
}
