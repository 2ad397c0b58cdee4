//! A client of the mixnet in this program.

use std::future::Future;
use std::mem;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use fogcompute_base::{NodeId, OsEntropy};
use fogcompute_mix::{
    Contact, CoverConfig, CoverStats, MessageId, PowerClass, SendError, StoreKey, Topology,
    TopologyFile,
};
use fogcompute_net::EngineStats;
use fogcompute_store::HomeProcess;

use super::driver::{self, Shared};
use super::inbox::{MixnetMessage, ReplyBlocks};
use super::pending::Pending;
use super::{CLIENT, MixnetError};
use crate::queue::Taken;

/// How a [`MixnetClient`] is made.
#[derive(Clone, Debug)]
pub struct MixnetClientConfig {
    /// The UDP address it sends from; port 0 is any that is free.
    pub listen: SocketAddr,
    /// The secret key of its identity; the default is a new one.
    pub identity: Option<[u8; 32]>,
    /// Cover traffic on the mains. The default is a loop and a drop every five seconds in the mean:
    /// less hides less, more costs more, about 50 MB a day as it is.
    pub cover: CoverConfig,
    /// Messages that wait to be received. When reached, or when they are 64 MiB together, further ones
    /// are not acknowledged, so that their senders send them again.
    pub inbox_messages_max: usize,
}

impl Default for MixnetClientConfig {
    fn default() -> Self {
        let every = Some(Duration::from_secs(5));
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            identity: None,
            cover: CoverConfig {
                loops: every,
                drops: every,
            },
            inbox_messages_max: 1024,
        }
    }
}

/// What a [`MixnetClient`] counted since its start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MixnetClientStats {
    /// Messages and requests that were handed in.
    pub sent: u64,
    /// Of those, known to have arrived whole.
    pub delivered: u64,
    /// Of those, given up.
    pub given_up: u64,
    /// Messages that came in whole.
    pub received: u64,
    /// Answers that came in whole.
    pub answers: u64,
    /// Packets that came in and were refused: malformed, answers nobody waits for, or parts of
    /// messages while the inbox was full.
    pub refused: u64,
    /// What became of cover traffic.
    pub cover: CoverStats,
    /// What the sockets and links counted.
    pub engine: EngineStats,
}

/// What a client that was [restored](MixnetClient::restore) can go on with.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Restored {
    /// Messages that came before and were not answered: [`MixnetClient::reply_blocks`].
    pub messages: Vec<MessageId>,
    /// Requests that were made before and not answered: [`MixnetClient::answer_to`].
    pub requests: Vec<MessageId>,
}

/// Sends and receives messages through a mixnet, over UDP.
///
/// Messages are cut into packets, each over a route of its own, sent until they are acknowledged,
/// and put together by their receiver. A request carries single-use reply blocks, so that whoever
/// answers does not learn who asked. Others reach this client by its [`contact`](Self::contact).
///
/// There is no gateway yet: the client is the last hop itself. It keeps links to all nodes of the
/// last layer, so those nodes can tell which of their links is a client's.
///
/// A forked child has none of its threads: there every call fails with [`MixnetError::Forked`].
///
/// ```
/// use fogcompute_mix::{Geometry, Topology, TopologyFile};
/// use fogcompute_base::UnixMillis;
/// use fogcompute_node::{MixnetClient, MixnetClientConfig, MixnetNode, MixnetNodeConfig};
/// use std::time::Duration;
///
/// let nodes: Vec<_> = (0..3)
///     .map(|_| MixnetNode::start(MixnetNodeConfig::default()))
///     .collect::<Result<_, _>>()?;
/// let layers = nodes.iter().map(|node| vec![node.descriptor()]).collect();
/// let network = TopologyFile {
///     epoch: 0,
///     valid_from: UnixMillis(0),
///     valid_until: UnixMillis(u64::MAX),
///     geometry: Geometry::DEFAULT,
///     topology: Topology::new(layers, Duration::from_millis(5))?,
/// };
/// for node in &nodes {
///     node.set_topology(&network)?;
/// }
///
/// let alice = MixnetClient::start(network.clone(), MixnetClientConfig::default())?;
/// let bob = MixnetClient::start(network, MixnetClientConfig::default())?;
/// let answer = alice.request(bob.contact()?, b"who is there?", 1000, Duration::from_secs(60))?;
/// let question = bob.receive_within(Duration::from_secs(60))?.expect("it comes within a minute");
/// assert_eq!(question.body, b"who is there?");
/// bob.reply(&question.reply, b"bob")?;
/// assert_eq!(answer.wait()?, b"bob");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct MixnetClient {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    node: NodeId,
    home: HomeProcess,
}

impl MixnetClient {
    /// Starts a client of a network.
    ///
    /// # Errors
    /// [`MixnetError::TopologyFile`] if the topology is not valid now, [`MixnetError::Directory`],
    /// [`MixnetError::Engine`], [`MixnetError::Thread`].
    #[expect(clippy::needless_pass_by_value, reason = "a configuration is used up")]
    pub fn start(network: TopologyFile, config: MixnetClientConfig) -> Result<Self, MixnetError> {
        Ok(Self::of(driver::start(network, &config, None)?))
    }

    /// Starts a client that goes on where another one was [suspended](Self::suspend): with its
    /// identity, its mix keys and what was seen under them, the reply blocks it held and those it gave
    /// out. In the epoch of that client it has the same contact; in the one after it still receives
    /// what is sent to the old one; later, only the identity is the same.
    ///
    /// Open each state once. An old one holds reply blocks that were used since: the mixnodes drop
    /// the second use of each as a replay, so such an answer is lost without a word. And it does not
    /// know what came since, so somebody who recorded that could deliver it again.
    ///
    /// # Errors
    /// Those of [`MixnetClient::start`], [`MixnetError::SurbStore`], [`MixnetError::OtherIdentity`].
    #[expect(clippy::needless_pass_by_value, reason = "a configuration is used up")]
    pub fn restore(
        network: TopologyFile,
        config: MixnetClientConfig,
        state: &[u8],
        key: &StoreKey,
    ) -> Result<Self, MixnetError> {
        let store = driver::open(&network, &config, state, key)?;
        Ok(Self::of(driver::start(network, &config, Some(store))?))
    }

    fn of(started: driver::Started) -> Self {
        Self {
            shared: started.shared,
            thread: Mutex::new(Some(started.thread)),
            node: started.node,
            home: HomeProcess::here(),
        }
    }

    fn shared(&self) -> Result<&Arc<Shared>, MixnetError> {
        if !self.home.is_here() {
            return Err(MixnetError::Forked { what: CLIENT });
        }
        if self.shared.is_closed() {
            return Err(MixnetError::Closed { what: CLIENT });
        }
        Ok(&self.shared)
    }

    /// Who this client is, on its links.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// What others need to send it messages. Its key is new with each epoch, and with each start that
    /// does not [restore](Self::restore) it.
    ///
    /// # Errors
    /// [`MixnetError::Closed`], [`MixnetError::Forked`].
    pub fn contact(&self) -> Result<Contact, MixnetError> {
        Ok(self.shared()?.lock().contact)
    }

    /// Sends a message. The outcome is there when the receiver has acknowledged all of it, or when
    /// it is given up: each packet is sent up to twelve times, which takes about five minutes.
    ///
    /// # Errors
    /// [`MixnetError::TopologyFile`] if the network's topology has expired, [`MixnetError::Send`],
    /// [`MixnetError::Closed`], [`MixnetError::Forked`]. Then nothing was sent.
    pub fn send(&self, to: Contact, body: &[u8]) -> Result<Pending<()>, MixnetError> {
        self.shared()?.send(to, body)
    }

    /// Sends a message, once and without asking for an acknowledgement, over these mixnodes in this
    /// order. [`MixnetClient::choose_nodes`] names some.
    ///
    /// # Errors
    /// As [`MixnetClient::send`].
    pub fn send_through(
        &self,
        nodes: &[NodeId],
        to: Contact,
        body: &[u8],
    ) -> Result<MessageId, MixnetError> {
        self.shared()?.send_through(nodes, to, body)
    }

    /// So many different mixnodes for a route of its own choice, one of each layer in turn up to the
    /// last.
    ///
    /// # Errors
    /// [`MixnetError::Topology`], [`MixnetError::Closed`], [`MixnetError::Forked`].
    pub fn choose_nodes(&self, hops: usize) -> Result<Vec<NodeId>, MixnetError> {
        let shared = self.shared()?;
        let topology = shared.lock().topology();
        Ok(topology.choose(hops, &mut OsEntropy)?)
    }

    /// Sends a message that asks for an answer of at most `answer_bytes_max` bytes, rounded up to what
    /// whole packets carry.
    ///
    /// The question is sent until it is acknowledged, the answer once: if a packet of it is lost,
    /// none comes, and the outcome is [`MixnetError::NoAnswer`] after `within`.
    ///
    /// # Errors
    /// As [`MixnetClient::send`].
    pub fn request(
        &self,
        to: Contact,
        body: &[u8],
        answer_bytes_max: usize,
        within: Duration,
    ) -> Result<Pending<Vec<u8>>, MixnetError> {
        self.shared()?.request(to, body, answer_bytes_max, within)
    }

    /// Answers a message, once.
    ///
    /// # Errors
    /// [`MixnetError::NoReplyWanted`], [`MixnetError::Answered`], [`MixnetError::ReplyExpired`],
    /// [`MixnetError::Closed`], [`MixnetError::Forked`], and [`MixnetError::Send`] with
    /// [`SendError::TooFewSurbs`] if the answer is longer than asked for: a shorter one can still be
    /// given; or with [`SendError::ForeignEntry`] if a reply block starts at a node that is none of the
    /// first layer: then none of the message's blocks is used.
    pub fn reply(&self, blocks: &ReplyBlocks, body: &[u8]) -> Result<(), MixnetError> {
        let shared = self.shared()?;
        if blocks.count() == 0 {
            return Err(MixnetError::NoReplyWanted);
        }
        let mut surbs = blocks.lock();
        let held = surbs.as_ref().ok_or(MixnetError::Answered)?;
        let available = held.len();
        let state = shared.lock();
        state.client.check_entries(held)?;
        if blocks.is_expired(state.epoch()) {
            return Err(MixnetError::ReplyExpired);
        }
        let needed = state.client.surbs_for(body.len());
        drop(state);
        if needed > available {
            return Err(MixnetError::Send(SendError::TooFewSurbs {
                needed,
                available,
            }));
        }
        let surbs = surbs.take().ok_or(MixnetError::Answered)?;
        shared.reply(surbs, body)
    }

    /// What the client before this one left to go on with, less what was taken since.
    ///
    /// # Errors
    /// [`MixnetError::Closed`], [`MixnetError::Forked`].
    pub fn restored(&self) -> Result<Restored, MixnetError> {
        Ok(self.shared()?.restored())
    }

    /// What to [answer](Self::reply) a message with that came to the client before this one, once.
    /// `None` if it was answered, wants no answer, or came before the last epoch.
    ///
    /// # Errors
    /// [`MixnetError::Closed`], [`MixnetError::Forked`].
    pub fn reply_blocks(&self, message: MessageId) -> Result<Option<ReplyBlocks>, MixnetError> {
        Ok(self.shared()?.reply_blocks(message))
    }

    /// The answer to a request that the client before this one made, once. It may be there already.
    ///
    /// # Errors
    /// [`MixnetError::UnknownRequest`], [`MixnetError::Closed`], [`MixnetError::Forked`].
    pub fn answer_to(
        &self,
        request: MessageId,
        within: Duration,
    ) -> Result<Pending<Vec<u8>>, MixnetError> {
        self.shared()?.answer_to(request, within)
    }

    /// The next message, if one is there.
    ///
    /// # Errors
    /// [`MixnetError::Closed`] when there is none and none will come, [`MixnetError::Forked`].
    pub fn try_receive(&self) -> Result<Option<MixnetMessage>, MixnetError> {
        self.taken(self.inbox()?.inbox.take())
    }

    /// The next message. Waits for it on this thread, `timeout` at most.
    ///
    /// # Errors
    /// As [`MixnetClient::try_receive`].
    pub fn receive_within(&self, timeout: Duration) -> Result<Option<MixnetMessage>, MixnetError> {
        let shared = self.inbox()?;
        self.taken(shared.inbox.take_within(timeout, &shared.clock))
    }

    /// The next message. No message is lost if the future is dropped.
    ///
    /// # Errors
    /// As [`MixnetClient::try_receive`].
    pub async fn receive(&self) -> Result<MixnetMessage, MixnetError> {
        loop {
            if let Some(message) = self.try_receive()? {
                return Ok(message);
            }
            self.readable().await;
        }
    }

    /// Ends when there is a message to receive, or none will come.
    pub fn readable(&self) -> impl Future<Output = ()> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        async move { shared.inbox.readable().await }
    }

    fn inbox(&self) -> Result<&Shared, MixnetError> {
        if self.home.is_here() {
            return Ok(&self.shared);
        }
        Err(MixnetError::Forked { what: CLIENT })
    }

    fn taken(&self, taken: Taken<MixnetMessage>) -> Result<Option<MixnetMessage>, MixnetError> {
        match taken {
            Taken::Item(message) => {
                // There is room for another.
                self.shared.wake();
                Ok(Some(message))
            }
            Taken::Empty => Ok(None),
            Taken::Closed => Err(MixnetError::Closed { what: CLIENT }),
        }
    }

    /// Goes on with another topology of the network: nodes joined or left, or an epoch began. In
    /// another epoch the client has another key, so tell others its new contact; for the old one it
    /// keeps receiving until the epoch after. What is still being sent to contacts of the old epoch
    /// ends with [`MixnetError::GivenUp`].
    ///
    /// # Errors
    /// [`MixnetError::OtherPackets`], [`MixnetError::TopologyFile`], [`MixnetError::Directory`],
    /// [`MixnetError::Closed`], [`MixnetError::Forked`]; then the old one stays.
    pub fn set_topology(&self, network: TopologyFile) -> Result<(), MixnetError> {
        self.shared()?.set_topology(network)
    }

    /// The topology it goes by.
    ///
    /// # Errors
    /// [`MixnetError::Closed`], [`MixnetError::Forked`].
    pub fn topology(&self) -> Result<Arc<Topology>, MixnetError> {
        Ok(self.shared()?.lock().topology())
    }

    /// Sends cover traffic as a device so powered should.
    ///
    /// # Errors
    /// [`MixnetError::Closed`], [`MixnetError::Forked`].
    pub fn set_power(&self, power: PowerClass) -> Result<(), MixnetError> {
        self.shared()?.set_power(power);
        Ok(())
    }

    /// What it counted since its start.
    ///
    /// # Errors
    /// [`MixnetError::Closed`], [`MixnetError::Forked`].
    pub fn stats(&self) -> Result<MixnetClientStats, MixnetError> {
        Ok(self.shared()?.stats())
    }

    /// Ends the client as [`MixnetClient::close`] does, and returns what one after it needs to go on
    /// ([`MixnetClient::restore`]), sealed under `key`; keep both.
    ///
    /// In it are the identity, the mix keys, the reply blocks of messages that were not answered and
    /// whose [`ReplyBlocks`] were not dropped (here they count as used from now on), and the keys for
    /// answers that were asked for and did not come. A reply block is good for five minutes, a stop
    /// included, and no longer than the epoch after its own. What was still being sent ends with
    /// [`MixnetError::Closed`]; messages that came in can still be received here and are not in it.
    ///
    /// # Errors
    /// [`MixnetError::Closed`], [`MixnetError::Forked`].
    pub fn suspend(&self, key: &StoreKey) -> Result<Vec<u8>, MixnetError> {
        self.shared()?;
        self.close();
        self.shared.seal(key)
    }

    /// Ends the client: what was asked for ends with [`MixnetError::Closed`], messages that came in
    /// can still be received. Closing again does nothing, nor does closing in a forked child.
    /// Dropping it closes it.
    pub fn close(&self) {
        if !self.home.is_here() {
            return;
        }
        self.shared.close();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // A panic is a bug that the thread has reported.
            let _ = thread.join();
        }
    }
}

impl Drop for MixnetClient {
    fn drop(&mut self) {
        self.close();
        if !self.home.is_here() {
            // Its threads are the parent's: waiting for them would never end.
            let thread = self.thread.get_mut();
            mem::forget(thread.unwrap_or_else(PoisonError::into_inner).take());
            mem::forget(Arc::clone(&self.shared));
        }
    }
}
