//! Which links there are, and the handshakes that make them.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fogcompute_base::{CryptoRng, Instant, NodeId, UnixMillis};
use fogcompute_mix::{NodeRef, TokenBucket};
use snow::HandshakeState;
use thiserror::Error;

use crate::directory::Directory;
use crate::identity::Identity;

use super::gate::{Denied, Gate, NETWORK_BITS, PERIOD, Token, network};
use super::handshake::{self, DATAGRAM_BYTES_MIN};
use super::link::{Agreed, UdpLink};
use super::wire::{
    DATAGRAM_BYTES_MAX, DATAGRAM_OVERHEAD_BYTES, INITIATION, LANES, RESPONSE, RETRY, Refusal,
};

/// The first wait for an answer; each next one is twice as long, up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(4);
/// Initiations without an answer after which the peer counts as unreachable: 24 s.
pub(super) const ATTEMPTS_MAX: u32 = 9;
/// A half-open link on which nothing comes for so long is forgotten.
pub(super) const HALF_OPEN_MAX: Duration = Duration::from_secs(10);
/// How long a link stays when a newer one took its place: packets on their way still arrive.
pub(super) const OVERLAP: Duration = Duration::from_secs(60);
/// A link ends so long after a new handshake should have replaced it.
pub(super) const GRACE: Duration = Duration::from_secs(300);
/// Between two looks at all links.
pub(super) const SWEEP: Duration = Duration::from_secs(2);
/// Whoever received and sent nothing for so long sends cover, so that the peer knows it is heard.
pub(super) const ANSWER_AFTER: Duration = Duration::from_secs(3);
/// Whoever sends and hears nothing for so long starts a new handshake: the peer may have restarted.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(10);
/// A stranger of whom nothing came for so long gives way when all places are taken. Clients send
/// every 8 s.
pub(super) const QUIET_MAX: Duration = Duration::from_secs(180);
/// Links with one peer. More come only from handshakes in quick succession; the oldest ends.
const PEER_LINKS_MAX: usize = 4;
/// Handshake datagrams waiting for [`UdpLinks::poll_transmit`].
const TRANSMITS_MAX: usize = 1024;
/// The low bits of an index are the place in the table.
const SLOT_BITS: u32 = 16;
const SLOTS_MAX: usize = 1 << SLOT_BITS;

/// Limits of [`UdpLinks`].
#[derive(Clone, Debug)]
pub struct UdpLinksConfig {
    /// Most peers outside the directory that have links on which something has come. When reached, one
    /// of whom nothing came for three minutes gives way to the next, or else the one silent for
    /// longest of the network that has most of them, if it has more than that of the next. If not
    /// either, the next is refused.
    pub strangers_max: usize,
    /// Most links that others began and that have carried nothing yet. When reached, the oldest
    /// gives way.
    pub half_open_max: usize,
    /// Most handshakes of others that are worked on, each about 0.4 ms of one CPU.
    pub handshakes_per_second_max: u32,
    /// Of those, most that are worked on although nobody has shown that the sender gets answers. What
    /// is beyond is asked for a token first, at the price of some hashes and a datagram.
    pub handshakes_per_second_unproven_max: u32,
    /// Of those with a token, most from one network: an IPv4 address, or 64 bits of IPv6.
    pub handshakes_per_second_of_network_max: u32,
    /// Most packets a second from one peer; what is beyond is dropped.
    pub link_packets_per_second_max: u32,
    /// Packets a peer may send at once beyond its rate.
    pub link_burst_packets_max: u32,
    /// A link that old gets a new handshake.
    pub renew_after: Duration,
    /// A link on which a thread has sent so many packets gets a new handshake. At most 2³¹, which
    /// leaves as many for the time until it is done.
    pub renew_after_packets: u64,
    /// How long a peer that cannot be reached is not tried again.
    pub redial_after: Duration,
}

impl Default for UdpLinksConfig {
    fn default() -> Self {
        Self {
            strangers_max: 1024,
            half_open_max: 256,
            handshakes_per_second_max: 200,
            handshakes_per_second_unproven_max: 50,
            handshakes_per_second_of_network_max: 20,
            link_packets_per_second_max: 100_000,
            link_burst_packets_max: 10_000,
            renew_after: Duration::from_secs(3600),
            renew_after_packets: 1 << 31,
            redial_after: Duration::from_secs(1),
        }
    }
}

/// Links that cannot be made at all.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum UdpLinksError {
    /// The frames are too short for a handshake or too long for a datagram.
    #[error("frames of {actual} bytes are outside {min} to {max}")]
    FrameBytes {
        /// Bytes asked for.
        actual: usize,
        /// Fewest bytes.
        min: usize,
        /// Most bytes.
        max: usize,
    },
}

/// Why a peer has no link and gets none now.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Unreachable {
    /// The directory does not know it.
    #[error("node {node} is not in the directory")]
    Unknown {
        /// Who was meant.
        node: NodeRef,
    },
    /// It did not answer a moment ago.
    #[error("node {node} did not answer")]
    Silent {
        /// Who was meant.
        node: NodeRef,
    },
    /// There is no room for another link.
    #[error("all {max} places for links are taken")]
    Full {
        /// Places there are.
        max: usize,
    },
}

/// All links at one moment, to be looked up without a lock.
#[derive(Clone, Debug, Default)]
pub struct UdpTable {
    slots: Vec<Option<Arc<UdpLink>>>,
    towards: BTreeMap<NodeRef, Arc<UdpLink>>,
}

impl UdpTable {
    /// The link that a data datagram names. `None` too if there is no such link any more.
    #[must_use]
    pub fn link_of(&self, datagram: &[u8]) -> Option<&Arc<UdpLink>> {
        let index = super::wire::index(datagram).ok()?;
        let link = self.slots.get(slot_of(index))?.as_ref()?;
        (link.index() == index).then_some(link)
    }

    /// The link by which to send to a node: the newest that the peer has confirmed.
    #[must_use]
    pub fn link_to(&self, node: NodeRef) -> Option<&Arc<UdpLink>> {
        self.towards.get(&node)
    }
}

const fn slot_of(index: u32) -> usize {
    index as usize & (SLOTS_MAX - 1)
}

/// A handshake that we began.
struct Dial {
    index: u32,
    noise: HandshakeState,
    address: SocketAddr,
    attempts: u32,
    retry_at: Instant,
    initiation: Vec<u8>,
    /// Whether it was sent again with a token.
    has_token: bool,
}

#[derive(Default)]
struct Peer {
    /// Of the newest initiation that was taken.
    stamp: Option<u64>,
    dial: Option<Dial>,
    /// For our address, and when it came.
    token: Option<(Token, Instant)>,
    silent_since: Option<Instant>,
    /// Oldest first.
    links: Vec<Kept>,
}

struct Kept {
    link: Arc<UdpLink>,
    ends_at: Instant,
}

enum Slot {
    Free,
    Dialling(NodeId),
    Linked(Arc<UdpLink>),
}

/// The links of a node over UDP: handshakes as a state machine.
///
/// One thread at a time works with it; what the threads need for each packet they take from its
/// [`table`](Self::table) when [`version`](Self::version) has changed.
///
/// ```
/// use fogcompute_base::{Instant, OsEntropy, UnixMillis};
/// use fogcompute_mix::{Descriptor, EpochParity, Geometry, PrivateKey};
/// use fogcompute_net::{Identity, Opened, UdpLinks, UdpLinksConfig};
///
/// let frame = vec![0x11; Geometry::DATAGRAM.packet_bytes()];
/// let (alice, bob) = (Identity::random(&mut OsEntropy), Identity::random(&mut OsEntropy));
/// let to_bob = Descriptor {
///     node: bob.node(),
///     key: PrivateKey::random(&mut OsEntropy).public(),
///     epoch: EpochParity::Even,
///     address: ([127, 0, 0, 1], 7000).into(),
/// };
/// let from_alice = ([127, 0, 0, 1], 7001).into();
/// let links = |identity| {
///     UdpLinks::new(identity, frame.len(), UdpLinksConfig::default(), &mut OsEntropy)
/// };
/// let (mut alice, mut bob) = (links(alice)?, links(bob)?);
/// alice.set_directory([&to_bob])?;
///
/// let (now, date) = (Instant::ZERO, UnixMillis(1));
/// assert!(alice.link(to_bob.node.into(), now, date)?.is_none());
/// let (_, initiation) = alice.poll_transmit().expect("the handshake begins");
/// bob.handle_input(from_alice, &initiation, now)?;
/// let (_, response) = bob.poll_transmit().expect("bob answers");
/// alice.handle_input(to_bob.address, &response, now)?;
///
/// let link = alice.link(to_bob.node.into(), now, date)?.expect("the handshake is done");
/// let mut datagram = vec![0; 1452];
/// link.seal(0, &frame, &mut datagram, now)?;
/// let mut opened = vec![0; frame.len()];
/// assert_eq!(bob.open(&datagram, &mut opened, now)?, Opened::Frame);
/// assert_eq!(opened, frame);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`Opened`]: crate::Opened
pub struct UdpLinks {
    identity: Identity,
    frame_bytes: usize,
    config: UdpLinksConfig,
    greeting_key: [u8; 32],
    directory: Directory,
    peers: BTreeMap<NodeId, Peer>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Makes indices hard to guess.
    salt: [u8; 32],
    indices: u64,
    stamp: u64,
    gate: Gate,
    transmits: VecDeque<(SocketAddr, Vec<u8>)>,
    sweep_at: Option<Instant>,
    version: u64,
}

impl UdpLinks {
    /// A node without links. Every frame has `frame_bytes`, the length of the network's packets.
    ///
    /// # Errors
    /// [`UdpLinksError::FrameBytes`].
    pub fn new(
        identity: Identity,
        frame_bytes: usize,
        config: UdpLinksConfig,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, UdpLinksError> {
        let min = DATAGRAM_BYTES_MIN - DATAGRAM_OVERHEAD_BYTES;
        let max = DATAGRAM_BYTES_MAX - DATAGRAM_OVERHEAD_BYTES;
        if !(min..=max).contains(&frame_bytes) {
            return Err(UdpLinksError::FrameBytes {
                actual: frame_bytes,
                min,
                max,
            });
        }
        let (mut salt, mut secret) = ([0; 32], [0; 32]);
        rng.fill_bytes(&mut salt);
        rng.fill_bytes(&mut secret);
        Ok(Self {
            greeting_key: handshake::greeting_key(identity.node()),
            identity,
            frame_bytes,
            directory: Directory::new(),
            peers: BTreeMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            salt,
            indices: 0,
            stamp: 0,
            gate: Gate::new(&config, secret),
            transmits: VecDeque::new(),
            sweep_at: None,
            version: 0,
            config,
        })
    }

    /// Length of every datagram.
    #[must_use]
    pub const fn datagram_bytes(&self) -> usize {
        self.frame_bytes + DATAGRAM_OVERHEAD_BYTES
    }

    /// Replaces what is known of where nodes accept links. Nodes that left or moved lose theirs.
    ///
    /// # Errors
    /// [`DirectoryError::SameRef`](crate::DirectoryError::SameRef); then nothing has changed.
    pub fn set_directory<'a>(
        &mut self,
        nodes: impl IntoIterator<Item = &'a fogcompute_mix::Descriptor>,
    ) -> Result<(), crate::DirectoryError> {
        self.replace_directory(crate::directory::directory(nodes)?);
        Ok(())
    }

    pub(crate) fn replace_directory(&mut self, directory: Directory) {
        let old = std::mem::replace(&mut self.directory, directory);
        for (node, place) in old {
            if self.directory.get(&node) != Some(&place)
                && let Some(peer) = self.peers.remove(&place.0)
            {
                self.end(peer);
            }
        }
        self.version += 1;
    }

    /// Grows whenever [`UdpLinks::table`] would be another one.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// All links as they are now.
    #[must_use]
    pub fn table(&self) -> UdpTable {
        let slots = self.slots.iter().map(|slot| match slot {
            Slot::Linked(link) => Some(Arc::clone(link)),
            Slot::Free | Slot::Dialling(_) => None,
        });
        let mut towards = BTreeMap::new();
        for (node, peer) in &self.peers {
            let reference = NodeRef::from(*node);
            // Nobody gets the packets of a node of the directory by a key that looks like its.
            let twin = self
                .directory
                .get(&reference)
                .is_some_and(|(known, _)| known != node);
            if let Some(link) = peer.best().filter(|_| !twin) {
                towards.entry(reference).or_insert_with(|| Arc::clone(link));
            }
        }
        UdpTable {
            slots: slots.collect(),
            towards,
        }
    }

    /// The link by which to send to a node. `None` says that a handshake is under way.
    ///
    /// `date` makes initiations of this run newer than those of earlier ones.
    ///
    /// # Errors
    /// [`Unreachable`].
    pub fn link(
        &mut self,
        to: NodeRef,
        now: Instant,
        date: UnixMillis,
    ) -> Result<Option<Arc<UdpLink>>, Unreachable> {
        let known = self.directory.get(&to).copied();
        let node = known.map(|(node, _)| node).or_else(|| self.stranger(to));
        let node = node.ok_or(Unreachable::Unknown { node: to })?;
        if let Some(peer) = self.peers.get(&node) {
            if let Some(link) = peer.best() {
                return Ok(Some(Arc::clone(link)));
            }
            if peer.dial.is_some() {
                return Ok(None);
            }
            let silent = |since| now.duration_since(since) < self.config.redial_after;
            if peer.silent_since.is_some_and(silent) {
                return Err(Unreachable::Silent { node: to });
            }
        }
        let (node, address) = known.ok_or(Unreachable::Unknown { node: to })?;
        self.dial(node, address, 1, now, date)?;
        Ok(None)
    }

    /// The first peer of this reference.
    fn stranger(&self, to: NodeRef) -> Option<NodeId> {
        let (mut first, mut last) = ([0; 32], [0xff; 32]);
        first[..NodeRef::LEN].copy_from_slice(to.as_bytes());
        last[..NodeRef::LEN].copy_from_slice(to.as_bytes());
        let range = NodeId::from_bytes(first)..=NodeId::from_bytes(last);
        self.peers.range(range).next().map(|(node, _)| *node)
    }

    fn dial(
        &mut self,
        node: NodeId,
        address: SocketAddr,
        attempts: u32,
        now: Instant,
        date: UnixMillis,
    ) -> Result<(), Unreachable> {
        let full = Unreachable::Full { max: SLOTS_MAX };
        let index = self.take_index(Slot::Dialling(node)).ok_or(full)?;
        self.stamp = date.0.max(self.stamp + 1);
        let bytes = self.datagram_bytes();
        let token = self.peers.get(&node).and_then(|peer| peer.token);
        let fresh = |(_, came): &(_, Instant)| now.duration_since(*came) < PERIOD;
        let token = token.filter(fresh).map(|(token, _)| token);
        let Ok((noise, initiation)) =
            handshake::initiate(&self.identity, node, index, self.stamp, token, bytes)
        else {
            self.give_index_back(index);
            let node = node.into();
            return Err(Unreachable::Silent { node });
        };
        let wait = RETRY_MIN
            .saturating_mul(1 << (attempts - 1).min(8))
            .min(RETRY_MAX);
        let peer = self.peers.entry(node).or_default();
        let before = peer.dial.replace(Dial {
            index,
            noise,
            address,
            attempts,
            retry_at: now + wait,
            initiation: initiation.clone(),
            has_token: token.is_some(),
        });
        if let Some(before) = before {
            self.give_index_back(before.index);
        }
        self.transmit(address, initiation);
        Ok(())
    }

    fn transmit(&mut self, to: SocketAddr, datagram: Vec<u8>) {
        if self.transmits.len() < TRANSMITS_MAX {
            self.transmits.push_back((to, datagram));
        }
    }

    /// The next datagram to send, and where to.
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.transmits.pop_front()
    }

    /// All that [`UdpLinks::poll_transmit`] would give.
    pub(crate) fn take_transmits(&mut self) -> VecDeque<(SocketAddr, Vec<u8>)> {
        std::mem::take(&mut self.transmits)
    }

    /// Takes a datagram of a handshake.
    ///
    /// # Errors
    /// [`Refusal`], for a sound data datagram too, which belongs to [`UdpLinks::open`].
    pub fn handle_input(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
    ) -> Result<(), Refusal> {
        if datagram.len() != self.datagram_bytes() {
            return Err(Refusal::Length);
        }
        match datagram[0] {
            INITIATION => self.handle_initiation(from, datagram, now),
            RESPONSE => self.handle_response(datagram, now),
            RETRY => self.handle_retry(datagram, now),
            _ => Err(Refusal::Kind),
        }
    }

    fn handle_initiation(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
    ) -> Result<(), Refusal> {
        if !handshake::is_greeted(&self.greeting_key, datagram) {
            return Err(Refusal::Forged);
        }
        match self.gate.admit(from, handshake::token(datagram), now) {
            Ok(()) => {}
            Err(Denied::OverRate) => return Err(Refusal::OverRate),
            Err(Denied::Unproven(token)) => {
                let retry = handshake::retry(self.identity.node(), datagram, token);
                self.transmit(from, retry);
                return Err(Refusal::Unproven);
            }
        }
        let mut initiation = handshake::read_initiation(&self.identity, datagram)?;
        let node = initiation.peer;
        match self.peers.get(&node) {
            Some(peer) if peer.stamp.is_some_and(|stamp| stamp >= initiation.stamp) => {
                return Err(Refusal::Replayed);
            }
            _ => {}
        }
        // One gives way only when the next has shown that it has keys and gets what is sent to it.
        self.gives_way_to(node, from.ip(), now)?;
        while self
            .half_open()
            .nth(self.config.half_open_max.max(1) - 1)
            .is_some()
        {
            let oldest = self.half_open().min_by_key(|link| link.made());
            let Some(oldest) = oldest.map(|link| link.index()) else {
                break;
            };
            self.remove_link(oldest);
        }
        let index = self.take_index(Slot::Free).ok_or(Refusal::Full)?;
        let bytes = self.datagram_bytes();
        let answer = handshake::respond(&mut initiation.noise, initiation.index, index, bytes);
        let (Ok(response), Ok(noise)) = (answer, initiation.noise.into_stateless_transport_mode())
        else {
            self.give_index_back(index);
            return Err(Refusal::Forged);
        };
        // Of a peer, the newest half-open link counts.
        let old: Vec<_> = self
            .half_open()
            .filter(|link| link.peer() == node)
            .collect();
        for old in old {
            self.remove_link(old.index());
        }
        let agreed = Agreed {
            peer: node,
            address: from,
            remote: initiation.index,
            local: index,
            initiator: false,
            noise,
        };
        self.add_link(agreed, now, HALF_OPEN_MAX);
        self.peers.entry(node).or_default().stamp = Some(initiation.stamp);
        self.transmit(from, response);
        Ok(())
    }

    /// Which stranger loses its links so that `node` at `from` may have one; `None` if there is room.
    ///
    /// Of equally crowded networks none loses to another, so that nobody who has few places takes
    /// those of others who have few, and no two take them from each other in turn.
    fn gives_way_to(
        &self,
        node: NodeId,
        from: IpAddr,
        now: Instant,
    ) -> Result<Option<NodeId>, Refusal> {
        let known = |node: &NodeId| {
            let place = self.directory.get(&NodeRef::from(*node));
            place.is_some_and(|(known, _)| known == node)
        };
        if known(&node)
            || self
                .peers
                .get(&node)
                .is_some_and(|peer| peer.best().is_some())
        {
            return Ok(None);
        }
        let strangers = || {
            let unknown = self.peers.iter().filter(|(node, _)| !known(node));
            unknown.filter_map(|(node, peer)| {
                Some((*node, peer.best()?.address().ip(), peer.heard_at()))
            })
        };
        if strangers().count() < self.config.strangers_max {
            return Ok(None);
        }
        let quietest = strangers().min_by_key(|(_, _, heard_at)| *heard_at);
        if let Some((node, _, heard_at)) = quietest
            && now.duration_since(heard_at) >= QUIET_MAX
        {
            return Ok(Some(node));
        }
        for bits in NETWORK_BITS {
            let mut networks: BTreeMap<_, (usize, Instant, NodeId)> = BTreeMap::new();
            for (node, ip, heard_at) in strangers() {
                let first = (0, heard_at, node);
                let (count, quietest, who) = networks.entry(network(ip, bits)).or_insert(first);
                *count += 1;
                if heard_at < *quietest {
                    (*quietest, *who) = (heard_at, node);
                }
            }
            let own = networks.get(&network(from, bits));
            let own = own.map_or(0, |(count, ..)| *count);
            let crowded = networks.values().max_by_key(|(count, ..)| *count);
            if let Some((count, _, who)) = crowded
                && *count > own + 1
            {
                return Ok(Some(*who));
            }
        }
        Err(Refusal::Full)
    }

    fn handle_response(&mut self, datagram: &[u8], now: Instant) -> Result<(), Refusal> {
        let index = super::wire::index(datagram)?;
        let Some(Slot::Dialling(node)) = self.slots.get(slot_of(index)) else {
            return Err(Refusal::Index);
        };
        let node = *node;
        let peer = self.peers.get_mut(&node).ok_or(Refusal::Index)?;
        let dial = peer.dial.as_mut().filter(|dial| dial.index == index);
        let remote = handshake::read_response(&mut dial.ok_or(Refusal::Index)?.noise, datagram)?;
        let dial = peer.dial.take().ok_or(Refusal::Index)?;
        peer.silent_since = None;
        let Ok(noise) = dial.noise.into_stateless_transport_mode() else {
            self.give_index_back(index);
            return Err(Refusal::Forged);
        };
        let agreed = Agreed {
            peer: node,
            address: dial.address,
            remote,
            local: index,
            initiator: true,
            noise,
        };
        self.add_link(agreed, now, self.config.renew_after + GRACE);
        self.outdate(node, index, now);
        Ok(())
    }

    /// A peer that gets many initiations wants ours again, with a token.
    fn handle_retry(&mut self, datagram: &[u8], now: Instant) -> Result<(), Refusal> {
        let index = super::wire::index(datagram)?;
        let Some(Slot::Dialling(node)) = self.slots.get(slot_of(index)) else {
            return Err(Refusal::Index);
        };
        let node = *node;
        let peer = self.peers.get_mut(&node).ok_or(Refusal::Index)?;
        let dial = peer.dial.as_mut().filter(|dial| dial.index == index);
        let dial = dial.ok_or(Refusal::Index)?;
        let token = handshake::read_retry(node, &dial.initiation, datagram)?;
        peer.token = Some((token, now));
        // Once at once: the next attempt has the next token, so the two never send in a circle.
        if !std::mem::replace(&mut dial.has_token, true) {
            handshake::put_token(node, token, &mut dial.initiation);
            let (address, initiation) = (dial.address, dial.initiation.clone());
            self.transmit(address, initiation);
        }
        Ok(())
    }

    fn add_link(&mut self, agreed: Agreed, now: Instant, lifetime: Duration) {
        let (node, index) = (agreed.peer, agreed.local);
        let rate = self.config.link_packets_per_second_max;
        let bucket = TokenBucket::new(rate, self.config.link_burst_packets_max);
        let link = Arc::new(UdpLink::new(agreed, bucket, now));
        self.slots[slot_of(index)] = Slot::Linked(Arc::clone(&link));
        let peer = self.peers.entry(node).or_default();
        peer.links.push(Kept {
            link,
            ends_at: now + lifetime,
        });
        if peer.links.len() > PEER_LINKS_MAX {
            let oldest = peer.links.remove(0);
            self.give_index_back(oldest.link.index());
        }
        self.sweep_at.get_or_insert(now + SWEEP);
        self.version += 1;
    }

    /// The links that are older than this one end soon.
    fn outdate(&mut self, node: NodeId, index: u32, now: Instant) {
        let links = self.peers.get_mut(&node).map(|peer| &mut peer.links);
        for kept in links.into_iter().flatten() {
            if kept.link.index() == index {
                break;
            }
            kept.ends_at = kept.ends_at.min(now + OVERLAP);
        }
        self.version += 1;
    }

    /// Opens a data datagram, as a host of a single thread does. Others take the link from their
    /// [`UdpTable`] and tell [`UdpLinks::confirm`] when it was not confirmed.
    ///
    /// # Errors
    /// [`Refusal`]; then `frame` holds nothing of meaning.
    pub fn open(
        &mut self,
        datagram: &[u8],
        frame: &mut [u8],
        now: Instant,
    ) -> Result<crate::Opened, Refusal> {
        if datagram.len() != self.datagram_bytes() {
            return Err(Refusal::Length);
        }
        let index = super::wire::index(datagram)?;
        let Some(Slot::Linked(link)) = self.slots.get(slot_of(index)) else {
            return Err(Refusal::Index);
        };
        let link = Arc::clone(link);
        let opened = link.open(datagram, frame, now);
        // What it says may be over the rate, that it was said by the peer is shown all the same.
        if matches!(opened, Ok(_) | Err(Refusal::OverRate)) && !link.is_confirmed() {
            self.confirm(&link, now);
        }
        opened
    }

    /// Takes a link that was not confirmed, on which a datagram has opened, for one to send on. It
    /// ends if it is a stranger's, and by now no place is left for that.
    pub fn confirm(&mut self, link: &UdpLink, now: Instant) {
        let slot = self.slots.get(slot_of(link.index()));
        let is_held = matches!(slot, Some(Slot::Linked(held)) if held.index() == link.index());
        if link.is_confirmed() || !is_held {
            return;
        }
        match self.gives_way_to(link.peer(), link.address().ip(), now) {
            Ok(way) => {
                if let Some(peer) = way.and_then(|node| self.peers.remove(&node)) {
                    self.end(peer);
                }
            }
            Err(_) => {
                self.remove_link(link.index());
                return;
            }
        }
        link.set_confirmed();
        if let Some(peer) = self.peers.get_mut(&link.peer())
            && let Some(at) = peer
                .links
                .iter()
                .position(|kept| kept.link.index() == link.index())
        {
            peer.links[at].ends_at = link.made() + self.config.renew_after + GRACE;
            peer.silent_since = None;
            self.outdate(link.peer(), link.index(), now);
        }
    }

    /// When to call [`UdpLinks::handle_timeout`] if nothing comes in before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let dials = self.peers.values().filter_map(|peer| peer.dial.as_ref());
        dials.map(|dial| dial.retry_at).chain(self.sweep_at).min()
    }

    /// Sends initiations again, ends links that are over, renews those that are old, and answers on
    /// those that only receive.
    pub fn handle_timeout(&mut self, now: Instant, date: UnixMillis) {
        let late = |(node, peer): (&NodeId, &Peer)| {
            let dial = peer.dial.as_ref().filter(|dial| dial.retry_at <= now)?;
            Some((*node, dial.address, dial.attempts))
        };
        let late: Vec<_> = self.peers.iter().filter_map(late).collect();
        for (node, address, attempts) in late {
            let again = attempts < ATTEMPTS_MAX
                && self.dial(node, address, attempts + 1, now, date).is_ok();
            if !again && let Some(peer) = self.peers.get_mut(&node) {
                peer.silent_since = Some(now);
                if let Some(dial) = peer.dial.take() {
                    self.give_index_back(dial.index);
                }
                self.version += 1;
            }
        }
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.sweep(now, date);
            self.sweep_at = (!self.peers.is_empty()).then_some(now + SWEEP);
        }
    }

    fn sweep(&mut self, now: Instant, date: UnixMillis) {
        let ended: Vec<_> = self
            .peers
            .values()
            .flat_map(|peer| &peer.links)
            .filter(|kept| kept.ends_at <= now)
            .map(|kept| kept.link.index())
            .collect();
        for index in ended {
            self.remove_link(index);
        }
        // Of a peer without links nothing is left but that it was silent, which is soon forgotten.
        let redial_after = self.config.redial_after;
        self.peers.retain(|_, peer| {
            let silent = |since| now.duration_since(since) < redial_after;
            !peer.links.is_empty() || peer.dial.is_some() || peer.silent_since.is_some_and(silent)
        });
        let mut cover = vec![0; self.datagram_bytes()];
        let mut answers = Vec::new();
        for kept in self.peers.values().flat_map(|peer| &peer.links) {
            let link = &kept.link;
            let owes = link.received_at() > link.sent_at()
                && now.duration_since(link.sent_at()) >= ANSWER_AFTER;
            if owes && link.is_confirmed() {
                let frame = vec![0; self.frame_bytes];
                if link.seal(LANES - 1, &frame, &mut cover, now).is_ok() {
                    answers.push((link.address(), cover.clone()));
                }
            }
        }
        for (address, cover) in answers {
            self.transmit(address, cover);
        }
        let old: Vec<_> = self
            .directory
            .values()
            .filter(|(node, _)| {
                let peer = self.peers.get(node).filter(|peer| peer.dial.is_none());
                peer.and_then(Peer::best)
                    .is_some_and(|link| self.is_due(link, now))
            })
            .copied()
            .collect();
        for (node, address) in old {
            // If there is no room the link is used on, until there is.
            let _ = self.dial(node, address, 1, now, date);
        }
    }

    /// Whether a link that is in use should be replaced.
    fn is_due(&self, link: &UdpLink, now: Instant) -> bool {
        if now.duration_since(link.sent_at()) >= SILENCE_MAX {
            return false;
        }
        // The initiator goes first, so that not both do.
        let patience = if link.is_initiator() {
            Duration::ZERO
        } else {
            GRACE / 2
        };
        now.duration_since(link.made()) >= self.config.renew_after + patience
            || link.count() >= self.config.renew_after_packets.min(1 << 31)
            || link.unheard_for(now) >= SILENCE_MAX
    }

    /// Links that others began and that have carried nothing yet.
    fn half_open(&self) -> impl Iterator<Item = Arc<UdpLink>> + '_ {
        self.peers
            .values()
            .flat_map(|peer| &peer.links)
            .filter(|kept| !kept.link.is_confirmed())
            .map(|kept| Arc::clone(&kept.link))
    }

    fn remove_link(&mut self, index: u32) {
        if let Some(Slot::Linked(link)) = self.slots.get(slot_of(index)) {
            let node = link.peer();
            if let Some(peer) = self.peers.get_mut(&node) {
                peer.links.retain(|kept| kept.link.index() != index);
            }
            self.give_index_back(index);
            self.version += 1;
        }
    }

    fn end(&mut self, peer: Peer) {
        for kept in peer.links {
            self.give_index_back(kept.link.index());
        }
        if let Some(dial) = peer.dial {
            self.give_index_back(dial.index);
        }
        self.version += 1;
    }

    fn take_index(&mut self, slot: Slot) -> Option<u32> {
        let place = match self.free.pop() {
            Some(place) => place,
            None if self.slots.len() < SLOTS_MAX => {
                self.slots.push(Slot::Free);
                (self.slots.len() - 1) as u32
            }
            None => return None,
        };
        self.slots[place as usize] = slot;
        // The high half differs from time to time and cannot be guessed, so that what is late for an
        // earlier link at this place names none, and who is not on the way cannot name one.
        self.indices += 1;
        let hash = blake3::keyed_hash(&self.salt, &self.indices.to_le_bytes());
        let high = u32::from_le_bytes([0, 0, hash.as_bytes()[0], hash.as_bytes()[1]]);
        Some(high | place)
    }

    fn give_index_back(&mut self, index: u32) {
        let place = slot_of(index);
        self.slots[place] = Slot::Free;
        self.free.push(place as u32);
    }
}

impl Peer {
    /// The newest link that may be sent on.
    fn best(&self) -> Option<&Arc<UdpLink>> {
        let mut links = self.links.iter().map(|kept| &kept.link);
        links.rfind(|link| link.is_confirmed())
    }

    /// When the last datagram came on one of its links.
    fn heard_at(&self) -> Instant {
        let heard = self.links.iter().map(|kept| kept.link.received_at());
        heard.max().unwrap_or(Instant::ZERO)
    }
}

impl fmt::Debug for UdpLinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpLinks")
            .field("identity", &self.identity)
            .field("peers", &self.peers.len())
            .finish_non_exhaustive()
    }
}
