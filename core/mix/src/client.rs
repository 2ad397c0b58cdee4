//! The mix client: messages out, messages and replies in.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use fogcompute_base::limits::MESSAGE_BYTES_MAX;
use fogcompute_base::wire::{DecodeError, Reader, Writer};
use fogcompute_base::{CryptoRng, Instant, NodeId, Rng};
use thiserror::Error;

use crate::cover::{Cover, CoverConfig, CoverPacket, CoverStats};
use crate::geometry::Geometry;
use crate::key::{Contact, EpochParity, PublicKey};
use crate::message::{
    Fragment, MessageError, MessageId, Parcel, Reassembler, fragment_count, parts, split,
};
use crate::mixnode::{Delivery, Transmit};
use crate::noderef::NodeRef;
use crate::packet::{BuildError, Hop, Packet};
use crate::reliable::{Outgoing, Pace, ReliabilityConfig, Send};
use crate::surb::{ReplyKey, Surb, SurbError, SurbId};
use crate::surb_store::ClientMemory;
use crate::topology::{Topology, TopologyError};

/// Messages of which reply blocks for acknowledgements are kept.
const ACKNOWLEDGED_MAX: usize = 1024;
/// Reply blocks for acknowledgements that are kept of one message.
const ACKNOWLEDGED_SURBS_MAX: usize = 16;
/// Receivers to whom nothing is being sent of whom it is remembered how fast they answer.
const PACES_MAX: usize = 256;
/// Fragments after which an acknowledgement is due, if there is a reply block to spare.
const ACKNOWLEDGE_EVERY: u32 = 4;

/// Limits of a [`Client`].
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The network's packet sizes.
    pub geometry: Geometry,
    /// Most reply keys kept. When reached, messages that want replies are refused.
    pub reply_keys_max: usize,
    /// Most bytes of incomplete messages. When reached, further fragments are refused.
    pub reassembly_bytes_max: usize,
    /// How long a message may stay incomplete and a reply block unused.
    pub timeout: Duration,
    /// Most bytes of messages that are being sent reliably. When reached, further ones are refused.
    pub outgoing_bytes_max: usize,
    /// How messages are sent reliably.
    pub reliability: ReliabilityConfig,
    /// How long a loop of cover traffic may take before it counts as lost.
    pub loop_timeout: Duration,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            geometry: Geometry::DEFAULT,
            reply_keys_max: 100_000,
            reassembly_bytes_max: 64 << 20,
            timeout: Duration::from_secs(300),
            outgoing_bytes_max: 64 << 20,
            reliability: ReliabilityConfig::default(),
            loop_timeout: Duration::from_secs(60),
        }
    }
}

/// Why a message or a reply cannot be sent.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum SendError {
    /// No route exists.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// A packet or reply block cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The message is over the limit.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A reply block does not work.
    #[error(transparent)]
    Surb(#[from] SurbError),
    /// Too many reply blocks are open.
    #[error("{limit} reply keys are kept already")]
    ReplyKeysFull {
        /// The limit.
        limit: usize,
    },
    /// Too much is being sent reliably.
    #[error("{limit} bytes of messages are being sent already")]
    OutgoingFull {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The reply needs more reply blocks than there are. Ask the requester for more.
    #[error("reply needs {needed} reply blocks, {available} are left")]
    TooFewSurbs {
        /// Reply blocks the reply takes.
        needed: usize,
        /// Reply blocks given.
        available: usize,
    },
    /// A reply block starts at a node that is none of the entry layer. Nobody makes such a block
    /// but to learn the address of who uses it, so none of the message's blocks is used.
    #[error("reply block starts at node {first}, which is not of the entry layer")]
    ForeignEntry {
        /// The node it starts at.
        first: NodeRef,
    },
}

/// Why something that came in is not a message.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum ReceiveError {
    /// A fragment is bad or does not fit.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A whole message is malformed.
    #[error("malformed message")]
    Decode(#[from] DecodeError),
    /// The reply came for a reply block that is unknown, used or expired.
    #[error("reply for a reply block that is unknown, used or expired")]
    UnknownSurb,
    /// The reply does not open, or reply blocks are malformed.
    #[error(transparent)]
    Surb(#[from] SurbError),
    /// Something that belongs into a reply came as a message, or the other way round.
    #[error("reply and message are confused")]
    Misplaced,
    /// A reply block to acknowledge with starts at a node that is none of the entry layer. The
    /// packet that brought it is refused, the block is not used.
    #[error("reply block starts at node {first}, which is not of the entry layer")]
    ForeignEntry {
        /// The node it starts at.
        first: NodeRef,
    },
    /// A part of a message came while none are accepted. It is not acknowledged, so a reliable
    /// sender sends it again.
    #[error("no messages are accepted now")]
    NotAccepting,
}

/// A whole message that came in.
#[derive(Debug)]
pub enum Incoming {
    /// Somebody sent a message, with reply blocks if they want an answer.
    Message {
        /// The sender's id of the message.
        id: MessageId,
        /// The message.
        body: Vec<u8>,
        /// Blocks to answer with, one packet each.
        surbs: Vec<Surb>,
    },
    /// An answer to a message sent from here.
    Reply {
        /// The id that [`Client::send`] returned.
        id: MessageId,
        /// The answer.
        body: Vec<u8>,
    },
}

/// What happened to what was sent from here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClientEvent {
    /// The receiver has the whole message.
    Delivered {
        /// Which message.
        id: MessageId,
    },
    /// The message was given up: a packet was sent as often as is allowed. The receiver may have
    /// all of it nevertheless, if only acknowledgements were lost.
    GivenUp {
        /// Which message.
        id: MessageId,
        /// Its packets that are known to have arrived.
        arrived: usize,
        /// All its packets.
        packets: usize,
    },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Purpose {
    /// Brings a part of the answer to a message.
    Answer(MessageId),
    /// Acknowledges packets of a message.
    Acknowledgement(MessageId),
}

struct OpenReply {
    key: ReplyKey,
    purpose: Purpose,
}

/// A key for an answer that is kept across a restart.
pub(crate) struct KeptReply {
    pub key: ReplyKey,
    /// The message that is to be answered.
    pub request: MessageId,
    /// How long the block is good.
    pub left: Duration,
}

/// A message that is being sent reliably.
struct Sending {
    receiver: Contact,
    body: Vec<u8>,
    progress: Outgoing,
}

/// What is needed to acknowledge a message's packets.
#[derive(Default)]
struct Acknowledging {
    surbs: VecDeque<Surb>,
    /// Fragments that came since the last acknowledgement.
    fresh: u32,
}

/// Splits messages into packets over fresh routes, keeps the keys of its reply blocks, and puts
/// what comes in together.
///
/// Each fragment and each reply block takes its own route, so no mixnode sees a whole message.
///
/// [`Client::send`] hands all packets out at once and knows nothing of their arrival.
/// [`Client::send_reliably`] lets them out of [`Client::poll_transmit`] as fast as the network takes
/// them, sends again what is lost, and says when the receiver has everything.
///
/// Reply blocks of others are used only if they start at a node that [`Client::set_entries`] named:
/// whoever makes a block chooses its first node, which sees where the packet comes from.
pub struct Client {
    contact: Contact,
    config: ClientConfig,
    /// Nodes at which reply blocks may start, and those at which they could before.
    entries: [BTreeSet<NodeRef>; 2],
    replies: BTreeMap<SurbId, OpenReply>,
    /// Until when reply blocks are good, in the order they were made, used ones included.
    replies_made: VecDeque<(Instant, SurbId)>,
    /// Reply blocks for answers, by message.
    answers_open: BTreeMap<MessageId, Vec<SurbId>>,
    messages: Reassembler,
    answers: Reassembler,
    sending: BTreeMap<MessageId, Sending>,
    /// Messages being sent, the oldest first.
    sending_order: Vec<MessageId>,
    outgoing_bytes: usize,
    /// For each receiver, so that one who does not answer holds up nobody else's messages.
    paces: BTreeMap<(NodeId, PublicKey), Pace>,
    acknowledging: BTreeMap<MessageId, Acknowledging>,
    acknowledging_order: VecDeque<(Instant, MessageId)>,
    acknowledgements: VecDeque<Transmit>,
    events: VecDeque<ClientEvent>,
    cover: Cover,
    accepting: bool,
}

const fn pace_of(receiver: &Contact) -> (NodeId, PublicKey) {
    (receiver.node, receiver.key)
}

impl Client {
    /// A client reached at `contact`, the mixnode it runs beside. It uses no reply block before
    /// [`Client::set_entries`].
    #[must_use]
    pub fn new(contact: Contact, config: ClientConfig) -> Self {
        let reassembler = || Reassembler::new(config.reassembly_bytes_max, config.timeout);
        Self {
            contact,
            entries: [BTreeSet::new(), BTreeSet::new()],
            messages: reassembler(),
            answers: reassembler(),
            replies: BTreeMap::new(),
            replies_made: VecDeque::new(),
            answers_open: BTreeMap::new(),
            sending: BTreeMap::new(),
            sending_order: Vec::new(),
            outgoing_bytes: 0,
            paces: BTreeMap::new(),
            acknowledging: BTreeMap::new(),
            acknowledging_order: VecDeque::new(),
            acknowledgements: VecDeque::new(),
            events: VecDeque::new(),
            cover: Cover::new(config.loop_timeout),
            accepting: true,
            config,
        }
    }

    /// The same, with what a client before it kept: its reply blocks can be answered here, if
    /// `contact` has their node and its node their key, and its messages go on.
    #[must_use]
    pub fn restore(
        contact: Contact,
        config: ClientConfig,
        memory: ClientMemory,
        now: Instant,
    ) -> Self {
        let mut client = Self::new(contact, config);
        client.messages.restore(memory.messages, now);
        client.answers.restore(memory.answers, now);
        let mut replies = memory.replies;
        replies.sort_by_key(|kept| kept.left);
        for KeptReply { key, request, left } in replies {
            let until = now + left.min(client.config.timeout);
            client.open_reply(key, Purpose::Answer(request), until);
        }
        client
    }

    /// Ends the client; what is left of it is what its successor must know.
    ///
    /// What it was sending is not part of that, nor are reply blocks to acknowledge with: senders send
    /// further ones.
    #[must_use]
    pub fn into_memory(mut self, now: Instant) -> ClientMemory {
        self.expire(now);
        let mut replies = Vec::new();
        for (until, id) in self.replies_made {
            let open = self.replies.remove(&id);
            if let Some(OpenReply { key, purpose }) = open
                && let Purpose::Answer(request) = purpose
            {
                let left = until.duration_since(now);
                replies.push(KeptReply { key, request, left });
            }
        }
        ClientMemory {
            replies,
            messages: self.messages.into_kept(now),
            answers: self.answers.into_kept(now),
        }
    }

    /// Uses reply blocks that start at these nodes, those of the entry layer
    /// ([`Topology::entries`]), and for blocks that are on their way still at those that were named
    /// before.
    pub fn set_entries(&mut self, entries: impl IntoIterator<Item = NodeRef>) {
        let entries = entries.into_iter().collect();
        let [current, before] = &mut self.entries;
        if *current != entries {
            *before = std::mem::replace(current, entries);
        }
    }

    fn is_entry(&self, node: NodeRef) -> bool {
        self.entries.iter().any(|entries| entries.contains(&node))
    }

    /// Makes further reply blocks for another key: that of the next epoch.
    pub fn set_contact(&mut self, contact: Contact) {
        self.contact = contact;
    }

    /// Whether messages of others are accepted: no, while there is no place to put them. Then what
    /// comes of them is refused and not acknowledged. Replies are accepted in any case.
    pub const fn set_accepting(&mut self, accepting: bool) {
        self.accepting = accepting;
    }

    /// Sends cover traffic from `now` on, out of [`Client::poll_transmit`].
    pub fn set_cover(&mut self, config: CoverConfig, now: Instant, rng: &mut impl Rng) {
        self.cover.set(config, now, rng);
    }

    /// What became of cover traffic.
    #[must_use]
    pub const fn cover_stats(&self) -> CoverStats {
        self.cover.stats
    }

    /// Reply blocks an answer of `body_bytes` takes.
    #[must_use]
    pub const fn surbs_for(&self, body_bytes: usize) -> usize {
        fragment_count(body_bytes, self.config.geometry.payload_bytes())
    }

    /// Reply blocks that are open.
    #[must_use]
    pub fn open_replies(&self) -> usize {
        self.replies.len()
    }

    /// Packets that carry `body` to `receiver`, with `surb_count` reply blocks for the answer.
    ///
    /// # Errors
    /// [`SendError`], those of the route, the message and its reply blocks. Nothing is kept on an error.
    pub fn send(
        &mut self,
        topology: &Topology,
        receiver: Contact,
        body: &[u8],
        surb_count: u16,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<(MessageId, Vec<Transmit>), SendError> {
        let route = |rng: &mut _| topology.route(receiver, rng);
        self.send_over(topology, route, body, surb_count, now, rng)
    }

    /// The same, but all packets take the mixnodes `nodes` in this order. Whoever always takes the
    /// same ones is easier to follow than somebody who does not: let the routes be random unless
    /// there is a reason.
    ///
    /// # Errors
    /// Those of [`Client::send`], and [`TopologyError::UnknownNode`].
    #[expect(
        clippy::too_many_arguments,
        reason = "a route beside what every send takes"
    )]
    pub fn send_through(
        &mut self,
        topology: &Topology,
        nodes: &[NodeId],
        receiver: Contact,
        body: &[u8],
        surb_count: u16,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<(MessageId, Vec<Transmit>), SendError> {
        let route = |rng: &mut _| topology.route_through(nodes, receiver, rng);
        self.send_over(topology, route, body, surb_count, now, rng)
    }

    fn send_over<R: CryptoRng>(
        &mut self,
        topology: &Topology,
        mut route: impl FnMut(&mut R) -> Result<Vec<Hop>, TopologyError>,
        body: &[u8],
        surb_count: u16,
        now: Instant,
        rng: &mut R,
    ) -> Result<(MessageId, Vec<Transmit>), SendError> {
        let id = MessageId::random(rng);
        let (message, keys) = self.compose(topology, body, surb_count, now, rng)?;
        let geometry = self.config.geometry;
        let fragments = split(id, &message, geometry.payload_bytes(), MESSAGE_BYTES_MAX)?;
        let routes = fragments
            .iter()
            .map(|_| route(rng))
            .collect::<Result<Vec<_>, _>>()?;
        let orders: Vec<_> = routes
            .iter()
            .zip(&fragments)
            .map(|(route, fragment)| (route.as_slice(), fragment.as_slice()))
            .collect();
        let packets = Packet::build_batch(geometry, &orders, rng)?;
        let transmits = routes
            .iter()
            .zip(packets)
            .map(|(route, packet)| Transmit {
                to: NodeRef::from(route[0].node),
                packet,
            })
            .collect();
        self.open_replies_for(keys, Purpose::Answer(id), now);
        Ok((id, transmits))
    }

    /// Sends `body` to `receiver`, with `surb_count` reply blocks for the answer, until it is there:
    /// its packets come out of [`Client::poll_transmit`], its end out of [`Client::poll_event`].
    ///
    /// # Errors
    /// As [`Client::send`], and [`SendError::OutgoingFull`]. Nothing is kept on an error.
    pub fn send_reliably(
        &mut self,
        topology: &Topology,
        receiver: Contact,
        body: &[u8],
        surb_count: u16,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<MessageId, SendError> {
        // Now rather than with the first packet, when nobody is there to be told.
        topology.route(receiver, rng)?;
        let id = MessageId::random(rng);
        let (message, keys) = self.compose(topology, body, surb_count, now, rng)?;
        let payload_bytes = self.config.geometry.payload_bytes();
        let count = parts(&message, payload_bytes, MESSAGE_BYTES_MAX)?.len();
        if self.outgoing_bytes + message.len() > self.config.outgoing_bytes_max {
            return Err(SendError::OutgoingFull {
                limit: self.config.outgoing_bytes_max,
            });
        }
        self.outgoing_bytes += message.len();
        self.open_replies_for(keys, Purpose::Answer(id), now);
        let sending = Sending {
            receiver,
            body: message,
            // `parts` refuses more than 16 bits count.
            progress: Outgoing::new(count as u16),
        };
        let reliability = &self.config.reliability;
        self.paces
            .entry(pace_of(&receiver))
            .or_insert_with(|| Pace::new(reliability.clone()));
        self.sending.insert(id, sending);
        self.sending_order.push(id);
        Ok(id)
    }

    /// A receiver has a new key: what is still sent to it reliably goes to that one.
    pub fn set_receiver(&mut self, receiver: Contact) {
        let reliability = &self.config.reliability;
        for sending in self.sending.values_mut() {
            if sending.receiver.node != receiver.node || sending.receiver == receiver {
                continue;
            }
            // What is on its way goes to the old key.
            if let Some(pace) = self.paces.get_mut(&pace_of(&sending.receiver)) {
                sending.progress.send_again(pace);
            }
            sending.receiver = receiver;
            self.paces
                .entry(pace_of(&receiver))
                .or_insert_with(|| Pace::new(reliability.clone()));
        }
    }

    /// Gives up what is sent to keys of other epochs than this, with an event: there is no way to
    /// them any more.
    pub fn give_up_other_epochs(&mut self, epoch: EpochParity) {
        let given_up: Vec<_> = self
            .sending
            .iter()
            .filter(|(_, sending)| sending.receiver.epoch != epoch)
            .map(|(id, sending)| (*id, sending.progress.arrived(), sending.progress.packets()))
            .collect();
        for (id, arrived, packets) in given_up {
            self.stop_sending(id);
            self.events.push_back(ClientEvent::GivenUp {
                id,
                arrived,
                packets,
            });
        }
    }

    /// Gives a message up that is being sent reliably, without an event. The answer may still come.
    pub fn stop_sending(&mut self, id: MessageId) {
        if let Some(mut sending) = self.sending.remove(&id) {
            let receiver = pace_of(&sending.receiver);
            if let Some(pace) = self.paces.get_mut(&receiver) {
                sending.progress.give_up(pace);
            }
            let others = self.sending.values();
            if self.paces.len() > PACES_MAX
                && !others
                    .map(|sending| pace_of(&sending.receiver))
                    .any(|other| other == receiver)
            {
                self.paces.remove(&receiver);
            }
            self.outgoing_bytes -= sending.body.len();
            self.sending_order.retain(|other| *other != id);
        }
    }

    /// Reply blocks and body in one message, and the keys of the reply blocks.
    fn compose(
        &mut self,
        topology: &Topology,
        body: &[u8],
        surb_count: u16,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<(Vec<u8>, Vec<ReplyKey>), SendError> {
        self.expire(now);
        // Before so many reply blocks are made in vain.
        let surb_bytes = usize::from(surb_count) * self.config.geometry.surb_bytes();
        let actual = size_of::<u16>() + surb_bytes + body.len();
        if actual > MESSAGE_BYTES_MAX {
            let max = MESSAGE_BYTES_MAX;
            return Err(MessageError::TooLarge { actual, max }.into());
        }
        let (surbs, keys) = self.make_surbs(topology, usize::from(surb_count), rng)?;
        let mut writer = Writer::new();
        writer.u16(surb_count);
        writer.raw(&surbs);
        writer.raw(body);
        Ok((writer.finish(), keys))
    }

    /// So many reply blocks one after the other, and their keys.
    fn make_surbs(
        &self,
        topology: &Topology,
        count: usize,
        rng: &mut impl CryptoRng,
    ) -> Result<(Vec<u8>, Vec<ReplyKey>), SendError> {
        if self.replies.len() + count > self.config.reply_keys_max {
            return Err(SendError::ReplyKeysFull {
                limit: self.config.reply_keys_max,
            });
        }
        let back = (0..count)
            .map(|_| topology.route(self.contact, rng))
            .collect::<Result<Vec<_>, _>>()?;
        let mut bytes = Vec::with_capacity(count * self.config.geometry.surb_bytes());
        let mut keys = Vec::with_capacity(count);
        for (surb, key) in Surb::new_batch(self.config.geometry, &back, rng)? {
            bytes.extend_from_slice(&surb.to_bytes());
            keys.push(key);
        }
        Ok((bytes, keys))
    }

    fn open_replies_for(&mut self, keys: Vec<ReplyKey>, purpose: Purpose, made: Instant) {
        let until = made + self.config.timeout;
        for key in keys {
            self.open_reply(key, purpose, until);
        }
    }

    fn open_reply(&mut self, key: ReplyKey, purpose: Purpose, until: Instant) {
        let id = key.id();
        if let Purpose::Answer(message) = purpose {
            self.answers_open.entry(message).or_default().push(id);
        }
        self.replies_made.push_back((until, id));
        self.replies.insert(id, OpenReply { key, purpose });
    }

    /// The first node of those blocks at which none may start.
    fn foreign_entry<'a>(&self, surbs: impl IntoIterator<Item = &'a Surb>) -> Option<NodeRef> {
        let mut first = surbs.into_iter().map(Surb::first);
        first.find(|first| !self.is_entry(*first))
    }

    /// Whether all of these blocks start at nodes of the entry layer, so that
    /// [`Client::reply`] uses them.
    ///
    /// # Errors
    /// [`SendError::ForeignEntry`].
    pub fn check_entries(&self, surbs: &[Surb]) -> Result<(), SendError> {
        match self.foreign_entry(surbs) {
            Some(first) => Err(SendError::ForeignEntry { first }),
            None => Ok(()),
        }
    }

    /// Packets that carry `body` back by `surbs`.
    ///
    /// # Errors
    /// [`SendError::ForeignEntry`], [`SendError::TooFewSurbs`], [`SendError::Message`],
    /// [`SendError::Surb`].
    pub fn reply(
        &self,
        surbs: Vec<Surb>,
        body: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<Transmit>, SendError> {
        self.check_entries(&surbs)?;
        let fragments = split(
            MessageId::random(rng),
            body,
            self.config.geometry.payload_bytes(),
            MESSAGE_BYTES_MAX,
        )?;
        if fragments.len() > surbs.len() {
            return Err(SendError::TooFewSurbs {
                needed: fragments.len(),
                available: surbs.len(),
            });
        }
        surbs
            .into_iter()
            .zip(&fragments)
            .map(|(surb, fragment)| {
                let (to, packet) = surb.reply(fragment)?;
                Ok(Transmit { to, packet })
            })
            .collect()
    }

    /// The next packet to send by itself: an acknowledgement, a packet of a message that is sent
    /// reliably, or cover traffic. Call it again until there is none.
    ///
    /// # Errors
    /// [`SendError`]: the packet could not be built. What it was for is tried again later, so call
    /// it when the reason may be gone, for example with another topology.
    pub fn poll_transmit(
        &mut self,
        topology: &Topology,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<Option<Transmit>, SendError> {
        if let Some(acknowledgement) = self.acknowledgements.pop_front() {
            return Ok(Some(acknowledgement));
        }
        self.expire(now);
        self.expire_sending(now);
        for at in 0..self.sending_order.len() {
            let id = self.sending_order[at];
            let Some(sending) = self.sending.get_mut(&id) else {
                continue;
            };
            let Some(pace) = self.paces.get_mut(&pace_of(&sending.receiver)) else {
                continue;
            };
            if let Some(next) = sending.progress.next(pace, now) {
                return self.build(id, next, topology, now, rng).map(Some);
            }
        }
        match self.cover.poll(now, rng) {
            Some(CoverPacket::Loop(id)) => {
                let route = topology.loop_route(self.contact, rng)?;
                self.packet(&route, &Parcel::Loop { id }, rng).map(Some)
            }
            Some(CoverPacket::Drop) => {
                let route = topology.route_to_last_layer(rng);
                self.packet(&route, &Parcel::Drop, rng).map(Some)
            }
            None => Ok(None),
        }
    }

    fn build(
        &mut self,
        id: MessageId,
        next: Send,
        topology: &Topology,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<Transmit, SendError> {
        let geometry = self.config.geometry;
        let Some(sending) = self.sending.get(&id) else {
            unreachable!("the caller has just asked this message");
        };
        let route = topology.route(sending.receiver, rng)?;
        match next {
            Send::Fragment(index) => {
                let parts = parts(&sending.body, geometry.payload_bytes(), MESSAGE_BYTES_MAX)?;
                let fragment = Fragment {
                    id,
                    index,
                    count: parts.len() as u16,
                    surb: None,
                    part: parts[usize::from(index)],
                };
                self.packet(&route, &Parcel::Fragment(fragment), rng)
            }
            Send::Ask => {
                let room = geometry.payload_bytes() - (crate::message::FRAGMENT_HEADER_BYTES - 4);
                let count = (room / geometry.surb_bytes()).max(1);
                let (surbs, keys) = self.make_surbs(topology, count, rng)?;
                let transmit = self.packet(&route, &Parcel::Ask { id, surbs: &surbs }, rng)?;
                self.open_replies_for(keys, Purpose::Acknowledgement(id), now);
                Ok(transmit)
            }
        }
    }

    fn packet(
        &self,
        route: &[Hop],
        parcel: &Parcel<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Transmit, SendError> {
        Ok(Transmit {
            to: NodeRef::from(route[0].node),
            packet: Packet::build(self.config.geometry, route, &parcel.encode(), rng)?,
        })
    }

    fn expire_sending(&mut self, now: Instant) {
        let mut given_up = Vec::new();
        for (id, sending) in &mut self.sending {
            let Some(pace) = self.paces.get_mut(&pace_of(&sending.receiver)) else {
                continue;
            };
            if !sending.progress.expire(pace, now) {
                given_up.push((*id, sending.progress.arrived(), sending.progress.packets()));
            }
        }
        for (id, arrived, packets) in given_up {
            self.stop_sending(id);
            self.events.push_back(ClientEvent::GivenUp {
                id,
                arrived,
                packets,
            });
        }
    }

    /// What happened to a message that is sent reliably.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// When [`Client::poll_transmit`] next has something, if nothing comes in before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.acknowledgements.is_empty() {
            return Some(Instant::ZERO);
        }
        let sending = self.sending.values();
        let next = |sending: &Sending| {
            let pace = self.paces.get(&pace_of(&sending.receiver))?;
            if sending.progress.is_ready(pace) {
                return Some(Instant::ZERO);
            }
            sending.progress.next_timeout(pace)
        };
        sending
            .filter_map(next)
            .chain(self.cover.next_event())
            .min()
    }

    /// Takes what a [`Mixnode`](crate::Mixnode) delivered; returns the message it completes.
    ///
    /// # Errors
    /// [`ReceiveError`]: the delivery is dropped, everything else stays as it was.
    pub fn handle_delivery(
        &mut self,
        delivery: Delivery,
        now: Instant,
    ) -> Result<Option<Incoming>, ReceiveError> {
        self.expire(now);
        let surb_bytes = self.config.geometry.surb_bytes();
        match delivery {
            Delivery::Message(payload) => match Parcel::decode(&payload, surb_bytes)? {
                Parcel::Fragment(fragment) => self.handle_fragment(fragment, now),
                Parcel::Ask { id, surbs } => {
                    self.keep_surbs(id, surbs, now)?;
                    self.acknowledge(id);
                    Ok(None)
                }
                Parcel::Loop { id } => {
                    self.cover.returned(id, now);
                    Ok(None)
                }
                Parcel::Drop => {
                    self.cover.stats.drops_received += 1;
                    Ok(None)
                }
                Parcel::Acknowledgement { .. } => Err(ReceiveError::Misplaced),
            },
            Delivery::Reply(surb, reply) => {
                let open = self
                    .replies
                    .remove(&surb)
                    .ok_or(ReceiveError::UnknownSurb)?;
                let payload = open.key.open(reply)?;
                match (open.purpose, Parcel::decode(&payload, surb_bytes)?) {
                    (Purpose::Answer(request), Parcel::Fragment(fragment)) => {
                        let Some(body) = self.answers.accept(fragment, now)? else {
                            return Ok(None);
                        };
                        // Blocks the answer did not need can bring nothing more.
                        self.forget(request);
                        Ok(Some(Incoming::Reply { id: request, body }))
                    }
                    (Purpose::Acknowledgement(message), Parcel::Acknowledgement { id, bits })
                        if id == message =>
                    {
                        self.handle_acknowledgement(id, bits, now);
                        Ok(None)
                    }
                    _ => Err(ReceiveError::Misplaced),
                }
            }
        }
    }

    /// Takes what a [`Mixnode`](crate::Mixnode) delivered at a node that is nobody's receiver and
    /// sends nothing but cover: loops and drops are counted. `false` if it was something else, of
    /// which nothing is kept.
    pub fn handle_cover(&mut self, delivery: &Delivery, now: Instant) -> bool {
        let Delivery::Message(payload) = delivery else {
            return false;
        };
        match Parcel::decode(payload, self.config.geometry.surb_bytes()) {
            Ok(Parcel::Loop { id }) => self.cover.returned(id, now),
            Ok(Parcel::Drop) => self.cover.stats.drops_received += 1,
            _ => return false,
        }
        true
    }

    fn handle_fragment(
        &mut self,
        fragment: Fragment<'_>,
        now: Instant,
    ) -> Result<Option<Incoming>, ReceiveError> {
        if !self.accepting {
            return Err(ReceiveError::NotAccepting);
        }
        let id = fragment.id;
        if let Some(surb) = fragment.surb {
            self.keep_surbs(id, surb, now)?;
        }
        let message = self.messages.accept(fragment, now)?;
        if let Some(waiting) = self.acknowledging.get_mut(&id) {
            waiting.fresh += 1;
            let spare = waiting.surbs.len() > 1 && waiting.fresh >= ACKNOWLEDGE_EVERY;
            if message.is_some() || spare {
                self.acknowledge(id);
            }
        }
        let Some(message) = message else {
            return Ok(None);
        };
        let mut reader = Reader::new(&message);
        let count = reader.u16()?;
        let geometry = self.config.geometry;
        let surbs = (0..count)
            .map(|_| {
                let block = reader.take(geometry.surb_bytes())?;
                Ok(Surb::from_bytes(geometry, block)?)
            })
            .collect::<Result<_, ReceiveError>>()?;
        let body = reader.take(reader.remaining())?.to_vec();
        Ok(Some(Incoming::Message { id, body, surbs }))
    }

    /// Keeps reply blocks to acknowledge a message's packets with, the newest of them.
    fn keep_surbs(
        &mut self,
        id: MessageId,
        bytes: &[u8],
        now: Instant,
    ) -> Result<(), ReceiveError> {
        let geometry = self.config.geometry;
        let surbs = bytes
            .chunks(geometry.surb_bytes())
            .map(|block| Surb::from_bytes(geometry, block))
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(first) = self.foreign_entry(&surbs) {
            return Err(ReceiveError::ForeignEntry { first });
        }
        if !self.acknowledging.contains_key(&id) {
            if self.acknowledging_order.len() == ACKNOWLEDGED_MAX
                && let Some((_, oldest)) = self.acknowledging_order.pop_front()
            {
                self.acknowledging.remove(&oldest);
            }
            self.acknowledging_order.push_back((now, id));
        }
        let kept = &mut self.acknowledging.entry(id).or_default().surbs;
        kept.extend(surbs);
        kept.drain(..kept.len().saturating_sub(ACKNOWLEDGED_SURBS_MAX));
        Ok(())
    }

    /// Acknowledges what has come of a message, if something has and there is a reply block left.
    fn acknowledge(&mut self, id: MessageId) {
        let (Some(bits), Some(waiting)) =
            (self.messages.arrived(id), self.acknowledging.get_mut(&id))
        else {
            return;
        };
        // The newest block: the mixnodes' keys of its route are valid for longest.
        let Some(surb) = waiting.surbs.pop_back() else {
            return;
        };
        waiting.fresh = 0;
        if !self.is_entry(surb.first()) {
            // Its first node has left the network since; the sender sends further blocks.
            return;
        }
        let acknowledgement = Parcel::Acknowledgement { id, bits: &bits };
        // A message of so many fragments that this is too long for a packet is above the limit of
        // messages.
        if let Ok((to, packet)) = surb.reply(&acknowledgement.encode()) {
            self.acknowledgements.push_back(Transmit { to, packet });
        }
    }

    fn handle_acknowledgement(&mut self, id: MessageId, bits: &[u8], now: Instant) {
        let Some(sending) = self.sending.get_mut(&id) else {
            return;
        };
        let Some(pace) = self.paces.get_mut(&pace_of(&sending.receiver)) else {
            return;
        };
        sending.progress.acknowledge(bits, pace, now);
        if sending.progress.is_done() {
            self.stop_sending(id);
            self.events.push_back(ClientEvent::Delivered { id });
        }
    }

    /// Forgets the reply blocks of a message: an answer that still comes is refused.
    pub fn forget(&mut self, request: MessageId) {
        for surb in self.answers_open.remove(&request).unwrap_or_default() {
            self.replies.remove(&surb);
        }
    }

    fn expire(&mut self, now: Instant) {
        let timeout = self.config.timeout;
        while let Some((until, id)) = self.replies_made.front().copied()
            && (now > until || !self.replies.contains_key(&id))
        {
            self.replies_made.pop_front();
            let open = self.replies.remove(&id);
            if let Some(Purpose::Answer(request)) = open.map(|open| open.purpose) {
                self.answers_open.remove(&request);
            }
        }
        while let Some((began, id)) = self.acknowledging_order.front().copied()
            && now.duration_since(began) > timeout
        {
            self.acknowledging_order.pop_front();
            self.acknowledging.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::PrivateKey;
    use crate::mixnode::{Mixnode, MixnodeConfig};
    use crate::packet::{Hop, SealedReply};
    use crate::topology::Descriptor;
    use proptest::prelude::*;
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;

    /// A network of state machines: two nodes in each of three layers, and two clients.
    struct Network {
        nodes: BTreeMap<NodeRef, Mixnode>,
        topology: Topology,
        now: Instant,
    }

    impl Network {
        fn new(rng: &mut ChaCha20Rng) -> Self {
            let mut nodes = BTreeMap::new();
            let mut layers = vec![Vec::new(), Vec::new(), Vec::new()];
            for id in 1..=8 {
                let key = PrivateKey::random(rng);
                let node = NodeId::from_bytes([id; 32]);
                let config = MixnodeConfig {
                    relay: id <= 6,
                    ..MixnodeConfig::default()
                };
                if id <= 6 {
                    let address = std::net::SocketAddr::from(([127, 0, 0, 1], u16::from(id)));
                    let descriptor = Descriptor {
                        node,
                        key: key.public(),
                        epoch: EpochParity::Even,
                        address,
                    };
                    layers[usize::from((id - 1) / 2)].push(descriptor);
                }
                nodes.insert(node.into(), Mixnode::new(key, config));
            }
            let topology = Topology::new(layers, Duration::from_millis(5)).unwrap();
            Self {
                nodes,
                topology,
                now: Instant::ZERO,
            }
        }

        fn client(&self, id: u8) -> Client {
            let node = NodeId::from_bytes([id; 32]);
            let contact = Contact {
                node,
                key: self.nodes[&NodeRef::from(node)].public_key().unwrap(),
                epoch: EpochParity::Even,
            };
            let mut client = Client::new(contact, ClientConfig::default());
            client.set_entries(self.topology.entries());
            client
        }

        /// Runs the network until nothing moves; returns what each client's node delivered.
        fn run(&mut self, transmits: Vec<Transmit>) -> BTreeMap<NodeRef, Vec<Delivery>> {
            let mut wire = transmits;
            loop {
                for Transmit { to, packet } in wire.drain(..) {
                    let node = self.nodes.get_mut(&to).unwrap();
                    node.handle_input(packet.into_bytes(), self.now);
                }
                let Some(next) = self.nodes.values().filter_map(Mixnode::poll_timeout).min() else {
                    break;
                };
                self.now = self.now.max(next);
                for node in self.nodes.values_mut() {
                    while let Some(transmit) = node.poll_transmit(self.now) {
                        wire.push(transmit);
                    }
                }
            }
            self.nodes
                .iter_mut()
                .map(|(id, node)| (*id, std::iter::from_fn(|| node.poll_delivery()).collect()))
                .collect()
        }
    }

    fn only(
        client: &mut Client,
        arrived: &mut BTreeMap<NodeRef, Vec<Delivery>>,
        now: Instant,
    ) -> Incoming {
        let mut whole: Vec<_> = arrived
            .remove(&client.contact.node.into())
            .unwrap()
            .into_iter()
            .filter_map(|delivery| client.handle_delivery(delivery, now).unwrap())
            .collect();
        assert_eq!(whole.len(), 1);
        whole.remove(0)
    }

    #[test]
    fn a_request_and_its_long_answer_cross_the_network() {
        let mut rng = ChaCha20Rng::seed_from_u64(7);
        let mut network = Network::new(&mut rng);
        let (mut alice, mut bob) = (network.client(7), network.client(8));
        let answer: Vec<u8> = (0..10_000_u32).map(|n| n as u8).collect();
        let surbs = u16::try_from(alice.surbs_for(answer.len())).unwrap() + 1;
        let topology = network.topology.clone();
        let (request, transmits) = alice
            .send(
                &topology,
                bob.contact,
                b"please",
                surbs,
                network.now,
                &mut rng,
            )
            .unwrap();
        assert_eq!(alice.open_replies(), usize::from(surbs));

        let mut arrived = network.run(transmits);
        let Incoming::Message { id, body, surbs } = only(&mut bob, &mut arrived, network.now)
        else {
            panic!("bob receives a message");
        };
        assert_eq!((id, body.as_slice()), (request, &b"please"[..]));

        let transmits = bob.reply(surbs, &answer, &mut rng).unwrap();
        let mut arrived = network.run(transmits);
        let Incoming::Reply { id, body } = only(&mut alice, &mut arrived, network.now) else {
            panic!("alice receives a reply");
        };
        assert_eq!((id, body), (request, answer));
        assert_eq!(alice.open_replies(), 0);
    }

    #[test]
    fn a_message_takes_the_mixnodes_it_is_told_to() {
        let mut rng = ChaCha20Rng::seed_from_u64(9);
        let mut network = Network::new(&mut rng);
        let (mut alice, mut bob) = (network.client(7), network.client(8));
        let topology = network.topology.clone();
        let nodes = [4, 1, 3, 2, 6].map(|id| NodeId::from_bytes([id; 32]));
        let now = network.now;
        let (id, transmits) = alice
            .send_through(
                &topology,
                &nodes,
                bob.contact,
                b"this way",
                0,
                now,
                &mut rng,
            )
            .unwrap();
        let mut arrived = network.run(transmits);
        let Incoming::Message { id: got, body, .. } = only(&mut bob, &mut arrived, network.now)
        else {
            panic!("bob receives a message");
        };
        assert_eq!((got, body.as_slice()), (id, &b"this way"[..]));
        for (node, mixnode) in &network.nodes {
            let taken = nodes.iter().any(|on| NodeRef::from(*on) == *node);
            assert_eq!(mixnode.stats().forwarded, u64::from(taken));
        }
        let seven = [1, 2, 3, 4, 5, 6, 7].map(|id| NodeId::from_bytes([id; 32]));
        let send = alice.send_through(&topology, &seven, bob.contact, b"", 0, now, &mut rng);
        assert!(matches!(
            send,
            Err(SendError::Topology(TopologyError::UnknownNode { .. }))
        ));
        let twice = [nodes[4], nodes[4]];
        let send = alice.send_through(&topology, &twice, bob.contact, b"", 0, now, &mut rng);
        assert!(matches!(send, Err(SendError::Build(_))));
    }

    #[test]
    fn a_receiver_who_does_not_answer_holds_up_nobody_elses_messages() {
        let mut rng = ChaCha20Rng::seed_from_u64(11);
        let mut network = Network::new(&mut rng);
        let (mut alice, mut bob) = (network.client(7), network.client(8));
        let topology = network.topology.clone();
        // Somebody who had that key once: what is sent to it ends at nobody.
        let gone = Contact {
            key: PrivateKey::random(&mut rng).public(),
            ..bob.contact
        };
        for _ in 0..3 {
            let body = [0; 9_000];
            alice
                .send_reliably(&topology, gone, &body, 0, network.now, &mut rng)
                .unwrap();
        }
        for _ in 0..200 {
            let hello =
                alice.send_reliably(&topology, bob.contact, b"hello", 0, network.now, &mut rng);
            let (hello, began) = (hello.unwrap(), network.now);
            let delivered = loop {
                let mut transmits = Vec::new();
                for client in [&mut alice, &mut bob] {
                    while let Some(transmit) = client
                        .poll_transmit(&topology, network.now, &mut rng)
                        .unwrap()
                    {
                        transmits.push(transmit);
                    }
                }
                let mut arrived = network.run(transmits);
                for client in [&mut bob, &mut alice] {
                    for delivery in arrived.remove(&client.contact.node.into()).unwrap() {
                        client.handle_delivery(delivery, network.now).unwrap();
                    }
                }
                match alice.poll_event() {
                    Some(ClientEvent::Delivered { id }) if id == hello => break network.now,
                    Some(ClientEvent::GivenUp { id, .. }) => assert_ne!(id, hello),
                    _ => {}
                }
                let next = [alice.poll_timeout(), bob.poll_timeout()];
                let next = next.into_iter().flatten().min().unwrap();
                network.now = network.now.max(next);
            };
            assert!(delivered.duration_since(began) < Duration::from_secs(5));
            network.now = network.now + Duration::from_secs(2);
        }
    }

    #[test]
    fn what_is_sent_to_keys_of_another_epoch_can_be_given_up() {
        let mut rng = ChaCha20Rng::seed_from_u64(12);
        let network = Network::new(&mut rng);
        let (mut alice, bob) = (network.client(7), network.client(8));
        let now = network.now;
        let id = alice
            .send_reliably(&network.topology, bob.contact, b"", 0, now, &mut rng)
            .unwrap();
        alice.give_up_other_epochs(EpochParity::Even);
        assert_eq!(alice.poll_event(), None);
        alice.give_up_other_epochs(EpochParity::Odd);
        assert_eq!(
            alice.poll_event(),
            Some(ClientEvent::GivenUp {
                id,
                arrived: 0,
                packets: 1
            })
        );
    }

    #[test]
    fn what_is_not_accepted_is_not_acknowledged_and_comes_again() {
        let mut rng = ChaCha20Rng::seed_from_u64(10);
        let mut network = Network::new(&mut rng);
        let (mut alice, mut bob) = (network.client(7), network.client(8));
        let topology = network.topology.clone();
        let now = network.now;
        alice
            .send_reliably(&topology, bob.contact, b"later", 0, now, &mut rng)
            .unwrap();
        bob.set_accepting(false);
        let mut refused = 0;
        let mut heard = None;
        for _ in 0..100 {
            let mut transmits = Vec::new();
            for client in [&mut alice, &mut bob] {
                while let Some(transmit) = client
                    .poll_transmit(&topology, network.now, &mut rng)
                    .unwrap()
                {
                    transmits.push(transmit);
                }
            }
            let mut arrived = network.run(transmits);
            for delivery in arrived.remove(&bob.contact.node.into()).unwrap() {
                match bob.handle_delivery(delivery, network.now) {
                    Err(ReceiveError::NotAccepting) => refused += 1,
                    Ok(Some(Incoming::Message { body, .. })) => heard = Some(body),
                    other => assert!(matches!(other, Ok(None))),
                }
            }
            for delivery in arrived.remove(&alice.contact.node.into()).unwrap() {
                alice.handle_delivery(delivery, network.now).unwrap();
            }
            if refused > 1 {
                bob.set_accepting(true);
            }
            if let Some(event) = alice.poll_event() {
                assert!(matches!(event, ClientEvent::Delivered { .. }));
                assert_eq!(heard.as_deref(), Some(&b"later"[..]));
                return;
            }
            network.now = alice
                .poll_timeout()
                .map_or(network.now, |next| network.now.max(next));
        }
        panic!("the message was not delivered; {refused} were refused");
    }

    #[test]
    fn a_reply_block_works_once() {
        let mut rng = ChaCha20Rng::seed_from_u64(8);
        let mut network = Network::new(&mut rng);
        let (mut alice, mut bob) = (network.client(7), network.client(8));
        let topology = network.topology.clone();
        let (_, transmits) = alice
            .send(&topology, bob.contact, b"", 1, network.now, &mut rng)
            .unwrap();
        let mut arrived = network.run(transmits);
        let Incoming::Message { surbs, .. } = only(&mut bob, &mut arrived, network.now) else {
            panic!("bob receives a message");
        };
        let copy = Surb::from_bytes(Geometry::DEFAULT, &surbs[0].to_bytes()).unwrap();
        let first = bob.reply(surbs, b"once", &mut rng).unwrap();
        let second = bob.reply(vec![copy], b"twice", &mut rng).unwrap();
        let mut arrived = network.run(first);
        only(&mut alice, &mut arrived, network.now);
        // The second use has the same header, so the first mixnode drops it as a replay.
        let arrived = network.run(second);
        assert!(arrived.values().all(Vec::is_empty));
    }

    #[test]
    fn a_reply_that_comes_again_or_too_late_is_refused_by_the_client_itself() {
        let mut rng = ChaCha20Rng::seed_from_u64(11);
        let network = Network::new(&mut rng);
        let mut alice = network.client(7);
        let mut bob = network.client(8);
        bob.set_entries([alice.contact.node.into()]);
        let geometry = Geometry::DEFAULT;
        // One hop, so that what alice's node would deliver can be had without the network.
        let hop = Hop::at(alice.contact, Duration::ZERO);
        let mut open_reply = |alice: &mut Client, made| {
            let (surb, key) = Surb::new(geometry, &[hop], &mut rng).unwrap();
            let id = key.id();
            let request = MessageId::random(&mut rng);
            alice.open_replies_for(vec![key], Purpose::Answer(request), made);
            let transmits = bob.reply(vec![surb], b"answer", &mut rng).unwrap();
            let sealed = transmits[0].packet.as_bytes()[geometry.header_bytes()..].to_vec();
            move || Delivery::Reply(id, SealedReply::from_bytes(&sealed))
        };
        let now = Instant::from_millis(1000);
        let again = open_reply(&mut alice, now);
        let late = open_reply(&mut alice, now);
        assert!(matches!(
            alice.handle_delivery(again(), now),
            Ok(Some(Incoming::Reply { body, .. })) if body == b"answer"
        ));
        let refused = Some(ReceiveError::UnknownSurb);
        assert_eq!(alice.handle_delivery(again(), now).err(), refused);
        let after = now + Duration::from_secs(301);
        assert_eq!(alice.handle_delivery(late(), after).err(), refused);
        assert_eq!(alice.open_replies(), 0);
    }

    #[test]
    fn reply_blocks_that_start_at_any_node_are_not_used() {
        let mut rng = ChaCha20Rng::seed_from_u64(14);
        let mut network = Network::new(&mut rng);
        let (mut alice, mut bob) = (network.client(7), network.client(8));
        let now = network.now;
        // Alice leaves out the entry layer, so that the first node of the way back is one of hers.
        let layers = network.topology.layers()[1..].to_vec();
        let hers = Topology::new(layers, Duration::ZERO).unwrap();
        let (_, transmits) = alice
            .send(&hers, bob.contact, b"?", 1, now, &mut rng)
            .unwrap();
        let mut arrived = network.run(transmits);
        let Incoming::Message { surbs, .. } = only(&mut bob, &mut arrived, network.now) else {
            panic!("bob receives a message");
        };
        let first = surbs[0].first();
        let foreign = SendError::ForeignEntry { first };
        assert_eq!(bob.check_entries(&surbs), Err(foreign));
        assert_eq!(bob.reply(surbs, b"!", &mut rng).err(), Some(foreign));
        // The same for those that acknowledgements would go by.
        alice
            .send_reliably(&hers, bob.contact, b"?", 0, now, &mut rng)
            .unwrap();
        let mut transmits = Vec::new();
        while let Some(transmit) = alice.poll_transmit(&hers, now, &mut rng).unwrap() {
            transmits.push(transmit);
        }
        let mut arrived = network.run(transmits);
        let deliveries = arrived.remove(&bob.contact.node.into()).unwrap();
        let refused = deliveries
            .into_iter()
            .filter_map(|one| bob.handle_delivery(one, now).err());
        let refused: Vec<_> = refused.collect();
        assert!(matches!(refused[..], [ReceiveError::ForeignEntry { .. }]));
        let topology = &network.topology;
        assert_eq!(bob.poll_transmit(topology, now, &mut rng), Ok(None));
    }

    #[test]
    fn reply_blocks_may_start_where_they_could_before_and_not_where_they_could_before_that() {
        let mut rng = ChaCha20Rng::seed_from_u64(15);
        let network = Network::new(&mut rng);
        let (alice, mut bob) = (network.client(7), network.client(8));
        let route = network.topology.route(alice.contact, &mut rng).unwrap();
        let (surb, _) = Surb::new(Geometry::DEFAULT, &route, &mut rng).unwrap();
        let surbs = [surb];
        let other = |n: u8| [NodeRef::from_bytes([100 + n; 8])];
        assert_eq!(bob.check_entries(&surbs), Ok(()));
        for _ in 0..3 {
            // The same topology once more is no other one.
            bob.set_entries(other(1));
            assert_eq!(bob.check_entries(&surbs), Ok(()));
        }
        bob.set_entries(other(2));
        let first = surbs[0].first();
        assert_eq!(
            bob.check_entries(&surbs),
            Err(SendError::ForeignEntry { first })
        );
    }

    #[test]
    fn a_client_goes_on_where_the_one_before_it_ended() {
        let mut rng = ChaCha20Rng::seed_from_u64(16);
        let mut network = Network::new(&mut rng);
        let (mut alice, mut bob) = (network.client(7), network.client(8));
        let topology = network.topology.clone();
        let now = network.now;
        let (request, transmits) = alice
            .send(&topology, bob.contact, b"?", 3, now, &mut rng)
            .unwrap();
        let mut arrived = network.run(transmits);
        let Incoming::Message { surbs, .. } = only(&mut bob, &mut arrived, network.now) else {
            panic!("bob receives a message");
        };
        // Half of a long message has come when alice stops, and all of a short one.
        let message = vec![7; 3_000];
        let (_, mut half) = bob
            .send(&topology, alice.contact, &message, 0, network.now, &mut rng)
            .unwrap();
        let (_, short) = bob
            .send(&topology, alice.contact, b"once", 0, network.now, &mut rng)
            .unwrap();
        let rest = half.split_off(1);
        half.extend(short);
        let mut arrived = network.run(half);
        let mut deliveries = arrived.remove(&alice.contact.node.into()).unwrap();
        let again = deliveries.iter().map(|one| match one {
            Delivery::Message(payload) => Delivery::Message(payload.clone()),
            Delivery::Reply(..) => panic!("a message"),
        });
        let again: Vec<_> = again.collect();
        let whole = deliveries
            .drain(..)
            .filter_map(|one| alice.handle_delivery(one, network.now).unwrap());
        assert_eq!(whole.count(), 1);

        let contact = alice.contact;
        let memory = alice.into_memory(network.now);
        assert_eq!(memory.requests(), [request]);
        assert_eq!(format!("{memory:?}"), "ClientMemory(3 reply keys)");
        // The next client's time starts anew.
        let now = Instant::from_millis(1);
        let mut alice = Client::restore(contact, ClientConfig::default(), memory, now);
        assert_eq!(alice.open_replies(), 3);
        for delivery in again {
            assert!(matches!(alice.handle_delivery(delivery, now), Ok(None)));
        }
        let answer = bob.reply(surbs, b"!", &mut rng).unwrap();
        let mut arrived = network.run([rest, answer].concat());
        let deliveries = arrived.remove(&contact.node.into()).unwrap();
        let mut bodies: Vec<_> = deliveries
            .into_iter()
            .filter_map(|one| alice.handle_delivery(one, now).unwrap())
            .map(|incoming| match incoming {
                Incoming::Reply { id, body } => (Some(id), body),
                Incoming::Message { body, .. } => (None, body),
            })
            .collect();
        bodies.sort();
        assert_eq!(bodies, [(None, message), (Some(request), b"!".to_vec())]);
        assert_eq!(alice.open_replies(), 0);
    }

    #[test]
    fn a_tampered_reply_is_refused_and_its_block_is_used_up() {
        let mut rng = ChaCha20Rng::seed_from_u64(12);
        let network = Network::new(&mut rng);
        let mut alice = network.client(7);
        let hop = Hop::at(alice.contact, Duration::ZERO);
        let (_, key) = Surb::new(Geometry::DEFAULT, &[hop], &mut rng).unwrap();
        let (id, request) = (key.id(), MessageId::random(&mut rng));
        let made = Instant::ZERO;
        alice.open_replies_for(vec![key], Purpose::Answer(request), made);
        let sealed = SealedReply::from_bytes(&[1; 32 + 2048]);
        assert_eq!(
            alice
                .handle_delivery(Delivery::Reply(id, sealed), made)
                .err(),
            Some(ReceiveError::Surb(SurbError::Sealed))
        );
        assert_eq!(alice.open_replies(), 0);
    }

    #[test]
    fn contacts_of_another_epoch_get_no_packets() {
        let mut rng = ChaCha20Rng::seed_from_u64(13);
        let network = Network::new(&mut rng);
        let mut alice = network.client(7);
        let bob = network.client(8);
        let odd = Contact {
            epoch: EpochParity::Odd,
            ..bob.contact
        };
        let mixed = |node| {
            let error = TopologyError::MixedEpochs { node };
            Some(SendError::Topology(error))
        };
        let topology = &network.topology;
        let now = Instant::ZERO;
        let sent = alice.send(topology, odd, b"", 0, now, &mut rng);
        assert_eq!(sent.err(), mixed(odd.node));
        let own = Contact {
            epoch: EpochParity::Odd,
            ..alice.contact
        };
        alice.set_contact(own);
        let sent = alice.send(topology, bob.contact, b"", 1, now, &mut rng);
        assert_eq!(sent.err(), mixed(own.node));
        assert!(
            alice
                .send(topology, bob.contact, b"", 0, now, &mut rng)
                .is_ok()
        );
    }

    #[test]
    fn unknown_and_expired_reply_blocks_are_refused() {
        let mut rng = ChaCha20Rng::seed_from_u64(9);
        let mut network = Network::new(&mut rng);
        let (mut alice, mut bob) = (network.client(7), network.client(8));
        let topology = network.topology.clone();
        let (request, transmits) = alice
            .send(&topology, bob.contact, b"", 1, network.now, &mut rng)
            .unwrap();
        let mut arrived = network.run(transmits);
        let Incoming::Message { surbs, .. } = only(&mut bob, &mut arrived, network.now) else {
            panic!("bob receives a message");
        };
        alice.forget(request);
        let transmits = bob.reply(surbs, b"late", &mut rng).unwrap();
        let mut arrived = network.run(transmits);
        let delivery = arrived
            .remove(&alice.contact.node.into())
            .unwrap()
            .remove(0);
        assert_eq!(
            alice.handle_delivery(delivery, network.now).err(),
            Some(ReceiveError::UnknownSurb)
        );

        alice
            .send(&topology, bob.contact, b"", 3, network.now, &mut rng)
            .unwrap();
        alice.expire(network.now + Duration::from_secs(301));
        assert_eq!(alice.open_replies(), 0);
    }

    #[test]
    fn a_mixnode_sends_loops_round_the_network_and_keeps_nothing_of_others() {
        let mut rng = ChaCha20Rng::seed_from_u64(11);
        let mut network = Network::new(&mut rng);
        let topology = network.topology.clone();
        let mut node = network.client(3);
        let mean = Duration::from_secs(1);
        let loops = CoverConfig {
            loops: Some(mean),
            drops: None,
        };
        node.set_cover(loops, Instant::ZERO, &mut rng);
        let mut transmits = Vec::new();
        while transmits.len() < 20 {
            let now = node.poll_timeout().unwrap();
            let transmit = node.poll_transmit(&topology, now, &mut rng).unwrap();
            transmits.extend(transmit);
        }
        // A message that somebody sends to the mixnode.
        let mut alice = network.client(7);
        let (_, message) = alice
            .send(&topology, node.contact, b"hello", 1, network.now, &mut rng)
            .unwrap();
        transmits.extend(message);
        let mut arrived = network.run(transmits);
        let deliveries = arrived.remove(&node.contact.node.into()).unwrap();
        let now = Instant::from_millis(1);
        let taken = deliveries.iter().map(|one| node.handle_cover(one, now));
        assert_eq!(taken.filter(|taken| !taken).count(), 1);
        let stats = node.cover_stats();
        assert_eq!((stats.loops_sent, stats.loops_returned), (20, 20));
        assert!(node.acknowledging.is_empty() && node.acknowledgements.is_empty());
    }

    #[test]
    fn limits_are_typed_errors_and_keep_nothing() {
        let mut rng = ChaCha20Rng::seed_from_u64(10);
        let network = Network::new(&mut rng);
        let mut alice = network.client(7);
        alice.config.reply_keys_max = 2;
        let bob = network.client(8);
        let mut send = |body: &[u8], surbs| {
            alice
                .send(
                    &network.topology,
                    bob.contact,
                    body,
                    surbs,
                    Instant::ZERO,
                    &mut rng,
                )
                .err()
        };
        assert_eq!(send(b"", 3), Some(SendError::ReplyKeysFull { limit: 2 }));
        let actual = MESSAGE_BYTES_MAX + 1 + 2 + Geometry::DEFAULT.surb_bytes();
        assert_eq!(
            send(&vec![0; MESSAGE_BYTES_MAX + 1], 1),
            Some(SendError::Message(MessageError::TooLarge {
                actual,
                max: MESSAGE_BYTES_MAX
            }))
        );
        assert_eq!(alice.open_replies(), 0);
        assert_eq!(
            bob.reply(vec![], b"x", &mut rng).err(),
            Some(SendError::TooFewSurbs {
                needed: 1,
                available: 0
            })
        );
    }

    proptest! {
        #[test]
        fn foreign_deliveries_never_panic(
            bodies in proptest::collection::vec(
                proptest::collection::vec(any::<u8>(), 0..900), 0..8),
        ) {
            let key = PrivateKey::from_bytes([1; 32]).public();
            let contact = Contact {
                node: NodeId::from_bytes([1; 32]),
                key,
                epoch: EpochParity::Even,
            };
            let mut client = Client::new(contact, ClientConfig::default());
            for body in bodies {
                let mut fragment = vec![0; 20];
                fragment[19] = 1;
                fragment.extend(body);
                let _ = client.handle_delivery(Delivery::Message(fragment), Instant::ZERO);
            }
        }
    }
}
