//! The handle that programs have.

use std::fmt;
use std::mem;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use fogcompute_base::{Clock, CryptoRng, Digest, OsEntropy, SystemClock, UnixMillis};
use fogcompute_mesh::connection::Connections;
use fogcompute_mesh::file::File;
use fogcompute_mesh::group::{GroupId, Member};
use fogcompute_mesh::history::{Conversation, History as _, HistoryLimits, Message};
use fogcompute_mesh::{
    Capabilities, Content, Counters, DeliveryState, Fingerprint, Identity, MessageId, Node,
    NodeConfig, PeerId, PeerView,
};
use fogcompute_net::{DialId, Identity as LinkIdentity, TcpConfig, TcpLinks};
use fogcompute_store::{Durability, HomeProcess, MeshStore};
use fogcompute_transport::BleRadio;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::MeshError;
use super::events::{MeshEvent, events};
use super::files::{Prepared, Source, open_to_send};
use super::kept::Kept;
use super::local::LocalEnd;
use super::state::{CloseOnDrop, DIAL_NEWS_MAX, DialNews, Shared, State, run};
use super::transport::MeshTransport;
use crate::queue::Taken;

/// What a [`MeshNode`] is started with.
#[derive(Clone, Debug)]
pub struct MeshNodeConfig {
    /// What the peer is called: 1 to 255 bytes. One that has a file is called what it was before if this is empty.
    pub nickname: String,
    /// Where it keeps its secrets, what waits to be delivered, and its messages. Without, it is a new peer at
    /// every start and forgets everything.
    pub file: Option<PathBuf>,
    /// What a power cut may cost of the file. A killed process costs nothing in either mode.
    pub durability: Durability,
    /// Addresses to accept TCP links on.
    pub listen: Vec<SocketAddr>,
    /// Addresses to keep a TCP link with, whoever answers.
    pub connect: Vec<SocketAddr>,
    /// Limits and habits of TCP links.
    pub tcp: TcpConfig,
    /// Limits and habits of the rules. By default with [`Capabilities::RATCHET`] and
    /// [`Capabilities::LARGE_GROUPS`].
    pub rules: NodeConfig,
    /// Whether connections are made with other nodes, and taken ([`MeshNode::transport`]).
    pub connections: bool,
    /// How many messages are kept to be read again, and for how long; without a file never more than a thousand.
    pub history: HistoryLimits,
    /// Events that wait to be received. When there are more, the oldest are dropped, and counted.
    pub events_max: usize,
}

impl Default for MeshNodeConfig {
    fn default() -> Self {
        let rules = NodeConfig::default();
        Self {
            nickname: "anonymous".to_owned(),
            file: None,
            durability: Durability::Full,
            listen: Vec::new(),
            connect: Vec::new(),
            tcp: TcpConfig::default(),
            rules: NodeConfig {
                capabilities: rules
                    .capabilities
                    .with(Capabilities::RATCHET)
                    .with(Capabilities::LARGE_GROUPS),
                ..rules
            },
            connections: false,
            history: HistoryLimits::default(),
            events_max: 4096,
        }
    }
}

/// A message of a node's history.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MeshHistory {
    /// Its number: what came or was sent later has a higher one.
    pub number: u64,
    /// What sender and receiver know it by.
    pub id: String,
    /// Who wrote it; of a private one from here, whom it is for.
    pub peer: PeerId,
    /// Whether it was written here.
    pub is_own: bool,
    /// Whether it is for one peer.
    pub is_private: bool,
    /// The group it is for, if it is for one.
    pub group: Option<GroupId>,
    /// Its text.
    pub text: String,
    /// When it was written, says its writer.
    pub at: UnixMillis,
    /// How far one from here has come.
    pub state: DeliveryState,
    /// The neighbour it came from, if it is known.
    pub via: Option<PeerId>,
    /// Hops it seems to have taken; 0 if that is not known.
    pub hops: u8,
}

impl MeshHistory {
    fn new(number: u64, message: Message, own: PeerId) -> Self {
        let to = match message.conversation {
            Conversation::Peer(to) => to,
            _ => own,
        };
        Self {
            number,
            id: message.id.as_str().to_owned(),
            peer: message.from.unwrap_or(to),
            is_own: message.from.is_none(),
            is_private: matches!(message.conversation, Conversation::Peer(_)),
            group: match message.conversation {
                Conversation::Group(group) => Some(group),
                _ => None,
            },
            text: message.text,
            at: message.at,
            state: message.state,
            via: message.via,
            hops: message.hops,
        }
    }
}

/// A group of a node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MeshGroup {
    /// What names it.
    pub id: GroupId,
    /// What it is called.
    pub name: String,
    /// Who is in it, as its creator says, who is the first.
    pub members: Vec<Member>,
    /// Whether each member writes under a key of its own.
    pub is_large: bool,
}

/// What a [`MeshNode`] counted since its start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MeshNodeStats {
    /// What the rules did, and refused.
    pub rules: Counters,
    /// Links that are up.
    pub links: usize,
    /// Bytes of frames that came in.
    pub bytes_in: u64,
    /// Bytes of frames that left.
    pub bytes_out: u64,
    /// Events that nobody took in time.
    pub events_dropped: u64,
    /// Envelopes that are carried for others.
    pub carried: usize,
    /// Private messages that wait to be delivered.
    pub waiting: usize,
}

/// A peer of the mesh that runs: a thread with its links, its file and its rules.
///
/// What it says was sent or received is on disk, if it has a file: a process that is killed and started again with
/// the same file is the same peer, goes on delivering what waited, and shows nothing twice. A node whose file cannot
/// be written ends, and every call then says why ([`MeshError::Failed`]).
///
/// Its methods do not wait for the network. Events wait in a queue; what does not fit is dropped, oldest first, and
/// counted ([`MeshNodeStats::events_dropped`]).
///
/// ```
/// use std::time::Duration;
/// use fogcompute_mesh::Event;
/// use fogcompute_node::{MeshEvent, MeshNode, MeshNodeConfig};
///
/// let named = |nickname: &str| MeshNodeConfig { nickname: nickname.to_owned(), ..MeshNodeConfig::default() };
/// let alice = MeshNode::start(named("alice"))?;
/// let bob = MeshNode::start(named("bob"))?;
/// let address = bob.listen("127.0.0.1:0".parse()?)?;
/// alice.connect(address)?;
/// let wait = Duration::from_secs(30);
/// while let Some(event) = alice.receive_within(wait)? {
///     if let MeshEvent::Mesh(Event::PeerJoined { peer }) = event {
///         alice.send_private(peer, "hello")?;
///         break;
///     }
/// }
/// let text = loop {
///     if let Some(MeshEvent::Mesh(Event::Private { text, .. })) = bob.receive_within(wait)? {
///         break text;
///     }
/// };
/// assert_eq!(text, "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct MeshNode {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    id: PeerId,
    tcp: Arc<TcpLinks>,
    dials: Mutex<Vec<(SocketAddr, DialId)>>,
    listening: Mutex<Vec<SocketAddr>>,
    home: HomeProcess,
    makes_connections: bool,
}

impl MeshNode {
    /// Starts a node.
    ///
    /// # Errors
    /// [`MeshError::Send`] if the nickname is empty or too long, [`MeshError::Store`], [`MeshError::Restore`],
    /// [`MeshError::Listen`], [`MeshError::Thread`].
    pub fn start(config: MeshNodeConfig) -> Result<Self, MeshError> {
        let clock = Arc::new(SystemClock::new());
        Self::start_with(config, clock, Box::new(OsEntropy))
    }

    /// The same, with another clock and other randomness.
    ///
    /// # Errors
    /// As [`MeshNode::start`].
    #[expect(clippy::missing_panics_doc, reason = "64 bytes always have two halves")]
    pub fn start_with(
        config: MeshNodeConfig,
        clock: Arc<dyn Clock>,
        mut rng: Box<dyn CryptoRng + Send>,
    ) -> Result<Self, MeshError> {
        let mut rules = config.rules;
        if config.connections {
            rules.capabilities = rules.capabilities.with(Capabilities::CONNECTIONS);
        }
        let (now, unix) = (clock.now(), clock.unix_now());
        let mut store = match &config.file {
            Some(path) => Some(MeshStore::open(path, config.durability)?),
            None => None,
        };
        let identity = match &mut store {
            Some(store) => {
                let secrets = Zeroizing::new(store.identity(&mut rng)?);
                let (noise, seed) = secrets.split_at(32);
                let half = |half: &[u8]| half.try_into().expect("64 bytes have two halves");
                Identity::from_bytes(half(noise), half(seed))
            }
            None => Identity::random(&mut rng),
        };
        let saved = match &store {
            Some(store) => store.state()?.map(Zeroizing::new),
            None => None,
        };
        let secrets = identity.to_bytes();
        let (noise, _) = secrets.split_at(32);
        let of_links = match rules.fog {
            // A link proves its key to whoever dials: one that is known would tell strangers who is there.
            Some(_) => LinkIdentity::random(&mut rng),
            None => LinkIdentity::from_bytes(noise.try_into().expect("half of 64 bytes")),
        };
        let node = match saved {
            Some(saved) => {
                let mut node = Node::restore(identity, &saved, rules, unix, now)?;
                if !config.nickname.is_empty() {
                    node.set_nickname(config.nickname, now)?;
                }
                node
            }
            None => Node::new(identity, config.nickname, rules, unix, now)?,
        };
        let id = node.id();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(MeshError::Thread)?;
        let handle = runtime.handle().clone();
        let (tcp, tcp_events) = TcpLinks::new(of_links, config.tcp, Arc::clone(&clock), handle);
        let tcp = Arc::new(tcp);
        let history = Kept::new(store, config.history);
        let connections = Connections::new(rng.next_u64());
        let mut state = State::new(node, rng, history, Arc::clone(&tcp), now);
        state.connections = connections;
        state.makes_connections = config.connections;
        // What it is must be on disk before anybody hears of it.
        drop(state.settle(now)?);
        let shared = Arc::new(Shared::new(state, events(config.events_max), clock));
        let of_thread = CloseOnDrop(Arc::clone(&shared));
        let thread = std::thread::Builder::new()
            .name("mesh-node".to_owned())
            .spawn(move || {
                runtime.block_on(run(&of_thread.0, tcp_events));
                // Sockets end with the runtime, before those who wait for the end are told.
                drop(runtime);
                drop(of_thread);
            })
            .map_err(MeshError::Thread)?;
        let node = Self {
            shared,
            thread: Mutex::new(Some(thread)),
            id,
            tcp,
            dials: Mutex::default(),
            listening: Mutex::default(),
            home: HomeProcess::here(),
            makes_connections: config.connections,
        };
        for address in config.listen {
            node.listen(address)?;
        }
        for address in config.connect {
            node.connect(address)?;
        }
        Ok(node)
    }

    /// Who this is.
    #[must_use]
    pub const fn id(&self) -> PeerId {
        self.id
    }

    /// What this peer is called on the air now, which is something else after a while if it talks only to a fog's
    /// members ([`NodeConfig::fog`]).
    ///
    /// # Errors
    /// [`MeshError::Closed`], [`MeshError::Forked`].
    pub fn air_id(&self) -> Result<PeerId, MeshError> {
        self.with(|state, now| Ok(state.node.air_id(now)))
    }

    /// What this peer is called.
    ///
    /// # Errors
    /// [`MeshError::Closed`], [`MeshError::Forked`].
    pub fn nickname(&self) -> Result<String, MeshError> {
        self.with(|state, _| Ok(state.node.nickname().to_owned()))
    }

    /// Gives this peer another name.
    ///
    /// # Errors
    /// [`MeshError::Send`], [`MeshError::Store`], [`MeshError::Closed`], [`MeshError::Forked`].
    pub fn set_nickname(&self, nickname: &str) -> Result<(), MeshError> {
        self.with(|state, now| Ok(state.node.set_nickname(nickname, now)?))
    }

    /// Accepts TCP links; gives the address, with the port that was chosen where 0 was asked for.
    ///
    /// # Errors
    /// [`MeshError::Listen`], [`MeshError::Closed`], [`MeshError::Forked`].
    pub fn listen(&self, address: SocketAddr) -> Result<SocketAddr, MeshError> {
        self.with(|_, _| Ok(()))?;
        let listening = self
            .tcp
            .listen(address)
            .map_err(|source| MeshError::Listen { address, source })?;
        lock(&self.listening).push(listening);
        Ok(listening)
    }

    /// Addresses that TCP links are accepted on.
    #[must_use]
    pub fn listening(&self) -> Vec<SocketAddr> {
        lock(&self.listening).clone()
    }

    /// Keeps a TCP link with whoever answers at an address: it is dialled until it is there, and again when it
    /// ends.
    ///
    /// # Errors
    /// [`MeshError::Closed`], [`MeshError::Forked`].
    pub fn connect(&self, address: SocketAddr) -> Result<(), MeshError> {
        self.with(|_, _| Ok(()))?;
        let mut dials = lock(&self.dials);
        if !dials.iter().any(|(to, _)| *to == address) {
            dials.push((address, self.tcp.dial(address, None, true)));
        }
        Ok(())
    }

    /// What becomes of attempts to dial from now on. Whoever asked before hears no more.
    pub(crate) fn hear_dials(&self) -> Result<DialNews, MeshError> {
        let (sender, receiver) = mpsc::channel(DIAL_NEWS_MAX);
        self.with(|state, _| {
            state.dial_news = Some(sender);
            Ok(DialNews(receiver))
        })
    }

    /// The address of a dial that goes on.
    pub(crate) fn dialled(&self, dial: DialId) -> Option<SocketAddr> {
        let dials = lock(&self.dials);
        let found = dials.iter().find(|(_, of)| *of == dial);
        found.map(|(address, _)| *address)
    }

    /// Keeps no link with an address any more, and ends the one it has. `false` if there is none such.
    ///
    /// # Errors
    /// [`MeshError::Closed`], [`MeshError::Forked`].
    pub fn disconnect(&self, address: SocketAddr) -> Result<bool, MeshError> {
        self.with(|_, _| Ok(()))?;
        let mut dials = lock(&self.dials);
        let Some(index) = dials.iter().position(|(to, _)| *to == address) else {
            return Ok(false);
        };
        let (_, dial) = dials.swap_remove(index);
        self.tcp.undial(dial);
        Ok(true)
    }

    /// Talks over a radio too. What its code does when it is asked something runs on the node's thread, and so does
    /// its destructor when the node has ended.
    ///
    /// # Errors
    /// [`MeshError::RadiosFull`], [`MeshError::Closed`], [`MeshError::Forked`].
    pub fn add_radio(&self, radio: Box<dyn BleRadio>) -> Result<(), MeshError> {
        self.with(|state, _| state.add_radio(radio))
    }

    /// Makes a link to another node of this program, without any socket.
    ///
    /// # Errors
    /// [`MeshError::Closed`], [`MeshError::Forked`].
    pub fn link_with(&self, other: &Self) -> Result<(), MeshError> {
        let [near, far] = LocalEnd::pair(&[self.shared.waker(), other.shared.waker()]);
        self.with(|state, now| {
            state.add_local(near, now);
            Ok(())
        })?;
        other.with(|state, now| {
            state.add_local(far, now);
            Ok(())
        })
    }

    /// Its connections with other nodes, in order and without loss; `None` if it was started without. All that are asked
    /// for are the same ones.
    #[must_use]
    pub fn transport(&self) -> Option<MeshTransport> {
        let shared = Arc::clone(&self.shared);
        self.makes_connections
            .then(|| MeshTransport::new(shared, self.home))
    }

    /// Writes to everybody near; gives what the message is known by.
    ///
    /// # Errors
    /// [`MeshError::Send`], [`MeshError::Store`], [`MeshError::Closed`], [`MeshError::Forked`].
    pub fn send_public(&self, text: &str) -> Result<MessageId, MeshError> {
        self.with(|state, now| {
            let id = state.node.send_public(text, now, &mut state.rng)?;
            state.note_own(&id, Conversation::Everybody, text, now);
            Ok(id)
        })
    }

    /// Writes to one peer; gives what the message is known by. It is kept, and on disk if there is a file, and sent
    /// until the peer has it or a day has passed.
    ///
    /// # Errors
    /// [`MeshError::Send`], [`MeshError::Store`], [`MeshError::Closed`], [`MeshError::Forked`].
    pub fn send_private(&self, peer: PeerId, text: &str) -> Result<MessageId, MeshError> {
        self.with(|state, now| {
            let id = state.node.send_private(peer, text, now, &mut state.rng)?;
            state.note_own(&id, Conversation::Peer(peer), text, now);
            Ok(id)
        })
    }

    /// Tells a peer that the user saw its message.
    ///
    /// # Errors
    /// [`MeshError::Send`], [`MeshError::Closed`], [`MeshError::Forked`].
    pub fn mark_read(&self, peer: PeerId, id: &str) -> Result<(), MeshError> {
        let id = MessageId::new(id)?;
        self.with(|state, now| Ok(state.node.mark_read(peer, id, now, &mut state.rng)?))
    }

    /// Makes a group of this peer and others who are known, and invites them.
    ///
    /// # Errors
    /// [`MeshError::Send`], [`MeshError::Store`], [`MeshError::Closed`], [`MeshError::Forked`].
    pub fn create_group(&self, name: &str, members: &[PeerId]) -> Result<GroupId, MeshError> {
        self.with(|state, now| {
            Ok(state
                .node
                .create_group(name, members, now, &mut state.rng)?)
        })
    }

    /// Makes a group of up to 255, each of whom writes under a key of its own
    /// ([`large_group`](fogcompute_mesh::large_group)). All have to be of this library. They are told when they are
    /// there. It is changed, written to and left as any other.
    ///
    /// # Errors
    /// [`MeshError::Send`], [`MeshError::Store`], [`MeshError::Closed`], [`MeshError::Forked`].
    pub fn create_large_group(&self, name: &str, members: &[PeerId]) -> Result<GroupId, MeshError> {
        self.with(|state, now| {
            Ok(state
                .node
                .create_large_group(name, members, now, &mut state.rng)?)
        })
    }

    /// Changes who is in a group of ours, and gives it another key, which those who are not in it any more do not
    /// get; a large one other keys.
    ///
    /// # Errors
    /// [`MeshError::Send`], [`MeshError::Store`], [`MeshError::Closed`], [`MeshError::Forked`].
    pub fn change_group(&self, group: GroupId, members: &[PeerId]) -> Result<(), MeshError> {
        self.with(|state, now| {
            Ok(state
                .node
                .change_group(group, members, now, &mut state.rng)?)
        })
    }

    /// Leaves a group: its messages are not read any more. Nobody is told. `false` if this peer is in no such
    /// group.
    ///
    /// # Errors
    /// [`MeshError::Store`], [`MeshError::Closed`], [`MeshError::Forked`].
    pub fn leave_group(&self, group: GroupId) -> Result<bool, MeshError> {
        self.with(|state, _| Ok(state.node.leave_group(group)))
    }

    /// Writes to a group; gives what the message is known by.
    ///
    /// # Errors
    /// [`MeshError::Send`], [`MeshError::Store`], [`MeshError::Closed`], [`MeshError::Forked`].
    pub fn send_group(&self, group: GroupId, text: &str) -> Result<MessageId, MeshError> {
        self.with(|state, now| {
            let id = state.node.send_group(group, text, now, &mut state.rng)?;
            state.note_own(&id, Conversation::Group(group), text, now);
            Ok(id)
        })
    }

    /// Groups this peer is in, the large ones last.
    ///
    /// # Errors
    /// [`MeshError::Closed`], [`MeshError::Forked`].
    pub fn groups(&self) -> Result<Vec<MeshGroup>, MeshError> {
        self.with(|state, _| {
            let small = state.node.groups().map(|group| MeshGroup {
                id: group.id,
                name: group.name.clone(),
                members: creator_first(group.creator, &group.members),
                is_large: false,
            });
            let large = state.node.large_groups().map(|group| MeshGroup {
                id: group.id,
                name: group.name.clone(),
                members: creator_first(group.creator, &group.members),
                is_large: true,
            });
            Ok(small.chain(large).collect())
        })
    }

    /// Sends a file of at most a MiB in one piece, to one peer or to everybody near: what the apps understand. It
    /// is sent once; what is lost is not sent again.
    ///
    /// # Errors
    /// [`MeshError::Send`], [`MeshError::Closed`], [`MeshError::Forked`].
    pub fn send_file(&self, peer: Option<PeerId>, file: File) -> Result<(), MeshError> {
        self.with(|state, now| {
            match peer {
                Some(peer) => {
                    let content = Content::File(file);
                    state
                        .node
                        .send_content(peer, &content, now, &mut state.rng)?;
                }
                None => state.node.send_file(&file, now, &mut state.rng)?,
            }
            Ok(())
        })
    }

    /// Offers a file on disk of at most a GiB to a peer, which takes it in chunks, when it wants, and goes on after
    /// an interruption; gives what the file is known by. It is read when it is asked for: leave it as it is until
    /// then. Only peers of this library understand.
    ///
    /// # Errors
    /// [`MeshError::File`], [`MeshError::NotAFile`], [`MeshError::Format`], [`MeshError::FilesFull`],
    /// [`MeshError::Send`], [`MeshError::Closed`], [`MeshError::Forked`].
    pub fn offer_file(&self, peer: PeerId, path: &Path, mime: &str) -> Result<Digest, MeshError> {
        let file = |source| MeshError::File {
            path: path.to_owned(),
            source,
        };
        let source = Source::File(open_to_send(path)?);
        let prepared = Prepared::new(source).map_err(file)??;
        let title = path.file_name().unwrap_or_default().to_string_lossy();
        self.offer(peer, prepared, &title, mime)
    }

    /// The same, for bytes in memory.
    ///
    /// # Errors
    /// [`MeshError::Format`], [`MeshError::FilesFull`], [`MeshError::Send`], [`MeshError::Closed`],
    /// [`MeshError::Forked`].
    #[expect(clippy::missing_panics_doc, reason = "memory can always be read")]
    pub fn offer_bytes(
        &self,
        peer: PeerId,
        title: &str,
        mime: &str,
        bytes: Vec<u8>,
    ) -> Result<Digest, MeshError> {
        let source = Source::Bytes(bytes);
        let prepared = Prepared::new(source).expect("memory can be read")?;
        self.offer(peer, prepared, title, mime)
    }

    fn offer(
        &self,
        peer: PeerId,
        prepared: Prepared,
        title: &str,
        mime: &str,
    ) -> Result<Digest, MeshError> {
        self.with(|state, now| {
            let name = prepared.name();
            let message = prepared.offer(title.to_owned(), mime.to_owned());
            let offer = Content::Chunk(message.clone());
            state.node.check_content(peer, &offer)?;
            state.files.keep(prepared, peer, message)?;
            let is_here = state.node.peer(peer).is_some_and(|peer| peer.is_reachable);
            if is_here {
                // If there is too much to be said to it, it is told when there is a session.
                let _ = state.node.send_content(peer, &offer, now, &mut state.rng);
            }
            Ok(name)
        })
    }

    /// Takes a file that was offered, and writes it to `path`: to `path.part` until it is whole. What is at `path`
    /// stays as it is, and a file that comes to be there meanwhile ends this one
    /// ([`MeshFileEnd::Disk`](super::MeshFileEnd::Disk)). A file at `path.part` is what another try has left, and is
    /// written over.
    ///
    /// # Errors
    /// [`MeshError::FileExists`] if anything is at `path`, or something else than a file at `path.part`;
    /// [`MeshError::UnknownFile`], [`MeshError::FilesFull`], [`MeshError::File`], [`MeshError::Closed`],
    /// [`MeshError::Forked`].
    pub fn accept_file(&self, file: Digest, path: &Path) -> Result<(), MeshError> {
        self.with(|state, now| {
            let steps = state.files.accept(file, path, now)?;
            state.do_steps(steps, now);
            Ok(())
        })
    }

    /// Offers a file no longer, or does not take the rest of it. `false` if there is no such file.
    ///
    /// # Errors
    /// [`MeshError::Closed`], [`MeshError::Forked`].
    pub fn cancel_file(&self, file: Digest) -> Result<bool, MeshError> {
        self.with(|state, _| Ok(state.files.cancel(file)))
    }

    /// Prefers a peer, or does not any more. `false` if it is not known.
    ///
    /// # Errors
    /// [`MeshError::Store`], [`MeshError::Closed`], [`MeshError::Forked`].
    pub fn set_favourite(&self, peer: PeerId, is_favourite: bool) -> Result<bool, MeshError> {
        self.with(|state, _| Ok(state.node.set_favourite(peer, is_favourite)))
    }

    /// Peers that are known.
    ///
    /// # Errors
    /// [`MeshError::Closed`], [`MeshError::Forked`].
    pub fn peers(&self) -> Result<Vec<PeerView>, MeshError> {
        self.with(|state, _| Ok(state.node.peers().collect()))
    }

    /// Private messages that wait to be delivered: to whom, which, and how far they have come.
    ///
    /// # Errors
    /// [`MeshError::Closed`], [`MeshError::Forked`].
    pub fn outbox(&self) -> Result<Vec<(PeerId, MessageId, DeliveryState)>, MeshError> {
        self.with(|state, _| {
            let outbox = state.node.outbox();
            Ok(outbox.map(|(to, id, far)| (to, id.clone(), far)).collect())
        })
    }

    /// The newest messages with numbers below `before`, the newest first, at most `limit`. Without a file those since
    /// the node was started.
    ///
    /// # Errors
    /// [`MeshError::Store`], [`MeshError::Closed`], [`MeshError::Forked`].
    pub fn history(&self, before: u64, limit: usize) -> Result<Vec<MeshHistory>, MeshError> {
        self.page(None, before, limit)
    }

    /// The same, of one conversation alone.
    ///
    /// # Errors
    /// As [`MeshNode::history`].
    pub fn history_of(
        &self,
        conversation: Conversation,
        before: u64,
        limit: usize,
    ) -> Result<Vec<MeshHistory>, MeshError> {
        self.page(Some(conversation), before, limit)
    }

    fn page(
        &self,
        of: Option<Conversation>,
        before: u64,
        limit: usize,
    ) -> Result<Vec<MeshHistory>, MeshError> {
        self.with(|state, _| {
            let messages = state.history.page(of, before, limit)?.into_iter();
            let shown =
                messages.map(|(number, message)| MeshHistory::new(number, message, self.id));
            Ok(shown.collect())
        })
    }

    /// Conversations with messages, the one with the newest message first, each with that message's number.
    ///
    /// # Errors
    /// As [`MeshNode::history`].
    pub fn conversations(&self) -> Result<Vec<(Conversation, u64)>, MeshError> {
        self.with(|state, _| Ok(state.history.conversations()?))
    }

    /// Deletes a message from the history, by its number; from here alone. `false` if there is none.
    ///
    /// # Errors
    /// As [`MeshNode::history`].
    pub fn delete_message(&self, number: u64) -> Result<bool, MeshError> {
        self.with(|state, _| Ok(state.history.delete(number)?))
    }

    /// Deletes what a conversation has in the history; gives how many messages that were.
    ///
    /// # Errors
    /// As [`MeshNode::history`].
    pub fn delete_conversation(&self, conversation: Conversation) -> Result<u64, MeshError> {
        self.with(|state, _| Ok(state.history.delete_conversation(conversation)?))
    }

    /// What it counted.
    ///
    /// # Errors
    /// [`MeshError::Closed`], [`MeshError::Forked`].
    pub fn stats(&self) -> Result<MeshNodeStats, MeshError> {
        let events_dropped = self.shared.events.dropped();
        self.with(|state, _| {
            Ok(MeshNodeStats {
                rules: state.node.counters(),
                links: state.node.links().count(),
                bytes_in: state.traffic[0],
                bytes_out: state.traffic[1],
                events_dropped,
                carried: state.node.carried(),
                waiting: state.node.outbox().count(),
            })
        })
    }

    /// The next event, if one waits.
    ///
    /// # Errors
    /// [`MeshError::Closed`] when the node is closed and nothing waits, [`MeshError::Failed`] when it has ended by
    /// itself and nothing waits, [`MeshError::Forked`].
    pub fn try_receive(&self) -> Result<Option<MeshEvent>, MeshError> {
        self.check()?;
        self.taken(self.shared.events.take())
    }

    /// The next event. Waits for it on this thread, `timeout` at most.
    ///
    /// # Errors
    /// As [`MeshNode::try_receive`].
    pub fn receive_within(&self, timeout: Duration) -> Result<Option<MeshEvent>, MeshError> {
        self.check()?;
        let clock = &*self.shared.clock;
        self.taken(self.shared.events.take_within(timeout, clock))
    }

    /// The next event. None is lost if the future is dropped.
    ///
    /// # Errors
    /// As [`MeshNode::try_receive`].
    pub async fn receive(&self) -> Result<MeshEvent, MeshError> {
        loop {
            if let Some(event) = self.try_receive()? {
                return Ok(event);
            }
            self.readable().await;
        }
    }

    /// Ends when there is an event to receive, or none will come.
    pub fn readable(&self) -> impl Future<Output = ()> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        async move { shared.events.readable().await }
    }

    /// Says goodbye, lets what waits leave for at most two seconds, and ends the node. Events that wait can still be
    /// received. Closing again does nothing, nor does closing in a forked child. Dropping it closes it.
    pub fn close(&self) {
        if !self.home.is_here() {
            return;
        }
        self.shared.close();
        let thread = lock(&self.thread).take();
        // A radio's code that closes its node runs on the thread that ends.
        let thread = thread.filter(|thread| thread.thread().id() != std::thread::current().id());
        if let Some(thread) = thread {
            // A panic is a bug that the thread has reported.
            let _ = thread.join();
        }
    }

    fn taken(&self, taken: Taken<MeshEvent>) -> Result<Option<MeshEvent>, MeshError> {
        match taken {
            Taken::Item(event) => Ok(Some(event)),
            Taken::Empty => Ok(None),
            Taken::Closed => Err(self.shared.lock().ending()),
        }
    }

    fn check(&self) -> Result<(), MeshError> {
        if self.home.is_here() {
            return Ok(());
        }
        Err(MeshError::Forked)
    }

    fn with<T>(
        &self,
        act: impl FnOnce(&mut State, fogcompute_base::Instant) -> Result<T, MeshError>,
    ) -> Result<T, MeshError> {
        self.check()?;
        self.shared.with(act)
    }
}

fn creator_first(creator: Fingerprint, members: &[Member]) -> Vec<Member> {
    let mut members = members.to_vec();
    members.sort_by_key(|member| member.fingerprint != creator);
    members
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for MeshNode {
    fn drop(&mut self) {
        self.close();
        if !self.home.is_here() {
            // Its thread is the parent's: waiting for it would never end.
            let thread = self.thread.get_mut();
            mem::forget(thread.unwrap_or_else(PoisonError::into_inner).take());
            mem::forget(Arc::clone(&self.shared));
            mem::forget(Arc::clone(&self.tcp));
        }
    }
}

impl fmt::Debug for MeshNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MeshNode({})", self.id)
    }
}
