//! A peer of the mesh: everything above, over links.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use fogcompute_base::{CryptoRng, Instant, UnixMillis};
use thiserror::Error;

use crate::announce::{Announce, Capabilities, NICKNAME_BYTES_MAX};
use crate::call::CallSignal;
use crate::chunks::{CHUNK_BYTES, ChunkMessage};
use crate::connection::CONNECTION;
use crate::counters::Counters;
use crate::courier::{
    CourierBag, CourierConfig, Envelope, Predictability, Predictions, PrekeyBundle, Prekeys,
    SHORT_ID_BYTES, Told,
};
use crate::file::File;
use crate::fog::{Fog, FogConfig};
use crate::fragment::{Reassembler, ReassemblyConfig};
use crate::group::{GroupId, GroupMessage, GroupState};
use crate::identity::{Fingerprint, Identity, NoiseKey, VerifyKey};
use crate::large_group::LargeGroup;
use crate::link::{Budget, Joined, Link, LinkConfig, LinkId};
use crate::packet::{Packet, PacketError, PacketType, PeerId};
use crate::payload::{Content, MessageId, PRIVATE_BYTES_MAX, PeerState};
use crate::pickles::Pickles;
use crate::ratchet::Ratchets;
use crate::seen::Seen;
use crate::sessions::Sessions;
use crate::sync::{SyncStore, SyncTypes};
use crate::tlv::FormatError;
use crate::voice::VoiceFrame;

mod carry;
mod input;
mod large_groups;
mod output;
mod ratchets;
mod route;
mod saved;

pub use saved::RestoreError;

/// How long the mesh remembers what it has seen.
const SEEN_FOR: Duration = Duration::from_secs(300);
const SEEN_MAX: usize = 10_000;
/// Private messages that are recognised when they come again.
const RECEIVED_MAX: usize = 512;
const RECEIVED_FOR: Duration = Duration::from_secs(48 * 3600);
/// Packets of peers that have not announced themselves yet.
const UNVERIFIED_MAX: usize = 64;
/// Longest payload of them, in bytes.
const UNVERIFIED_BYTES_MAX: usize = 16 * 1024;
/// Own packets whose echo is recognised.
const OWN_MAX: usize = 256;
/// Plaintexts that wait for a session with one peer.
const WAITING_MAX: usize = 64;
/// Receipts that neighbours are to carry.
const RECEIPTS_MAX: usize = 256;
/// Offers of envelopes that are remembered, and for how long they are not made again: a courier that wants one of
/// somebody else may not get it there.
const OFFERED_MAX: usize = 8192;
const OFFERED_FOR: Duration = Duration::from_secs(25);
/// How long an envelope that somebody was asked for is not asked of others.
const WANTED_FOR: Duration = Duration::from_secs(20);
/// Links.
const LINKS_MAX: usize = 256;
/// Groups.
const GROUPS_MAX: usize = 256;

/// Limits and habits of a [`Node`].
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// What it says it can do.
    pub capabilities: Capabilities,
    /// Whether packets of others are passed on.
    pub relays: bool,
    /// Whether packets for one peer are sent over the shortest way that announces show, instead of everywhere, and
    /// others are told that they may send theirs so over this peer.
    pub routes: bool,
    /// Most peers that are known. Those heard of longest ago are forgotten first.
    pub peers_max: usize,
    /// Most sessions.
    pub sessions_max: usize,
    /// Most bytes that wait to leave over one link.
    pub queue_bytes_max: usize,
    /// Most packets that wait for their time.
    pub delayed_max: usize,
    /// Most bytes of such packets.
    pub delayed_bytes_max: usize,
    /// Most events that wait for the host.
    pub events_max: usize,
    /// Most bytes of such events.
    pub events_bytes_max: usize,
    /// Packets that a link may bring at once.
    pub link_burst: u32,
    /// Packets that a link may bring in a second, for long.
    pub link_packets_per_second: u32,
    /// Incomplete packets.
    pub reassembly: ReassemblyConfig,
    /// What is carried for others.
    pub courier: CourierConfig,
    /// Private messages that wait to be delivered to one peer.
    pub outbox_per_peer: usize,
    /// Private messages that wait to be delivered, to all peers; and messages to groups that nobody has heard.
    pub outbox_max: usize,
    /// How long they wait.
    pub outbox_lifetime: Duration,
    /// How often one is sent.
    pub attempts_max: u32,
    /// How long the first attempt waits for an answer; each further one waits twice as long.
    pub retry_first: Duration,
    /// The longest wait.
    pub retry_max: Duration,
    /// The fog whose members alone are talked to, under identifiers that change. Without, it is everybody, and the
    /// BitChat apps.
    pub fog: Option<FogConfig>,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            capabilities: Capabilities::PREKEYS
                .with(Capabilities::GROUPS)
                .with(Capabilities::PRIVATE_MEDIA)
                .with(Capabilities::CALLS)
                .with(Capabilities::CHUNKS),
            relays: true,
            routes: true,
            peers_max: 1000,
            sessions_max: 256,
            queue_bytes_max: 4 << 20,
            delayed_max: 4096,
            delayed_bytes_max: 16 << 20,
            events_max: 4096,
            events_bytes_max: 32 << 20,
            link_burst: 2000,
            link_packets_per_second: 500,
            reassembly: ReassemblyConfig::default(),
            courier: CourierConfig::default(),
            outbox_per_peer: 100,
            outbox_max: 1000,
            outbox_lifetime: Duration::from_secs(24 * 3600),
            attempts_max: 8,
            retry_first: Duration::from_secs(10),
            retry_max: Duration::from_secs(600),
            fog: None,
        }
    }
}

/// How far a message of ours has come. Each state is one that was heard of, none is supposed.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum DeliveryState {
    /// It waits: there is no link or no session.
    Waiting,
    /// It left over a link.
    Sent,
    /// Somebody else passes it on, says that it has it (by a set that errs once in a hundred times), or
    /// was given it to carry.
    Relayed,
    /// The receiver has it.
    Delivered,
    /// The receiver's user saw it.
    Read,
    /// It was given up. The receiver may have it nevertheless.
    GivenUp,
}

/// What a neighbour did with a message of ours, as far as it shows. Nobody signs any of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Passing {
    /// It was given the message, over its link.
    Given,
    /// It sent the message on: the message was heard again from it, after so many hops.
    PassedOn {
        /// Hops from here to the neighbour, over whomever, and back.
        hops: u8,
    },
    /// It says that it has the message, by a set that errs once in a hundred times.
    Has,
    /// It was given the message to carry to somebody who is not there.
    Carries,
}

/// What a message was encrypted with.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protection {
    /// The keys of a Noise session, which last up to a day, or those of an envelope.
    Noise,
    /// A key of its own, which is gone once it is read ([`ratchet`](crate::ratchet)).
    Ratchet,
    /// The key of a group, which all of its members have until it changes ([`group`](crate::group)).
    GroupKey,
    /// The key of who wrote it, which moves on with each message ([`large_group`](crate::large_group)).
    SenderKey,
}

impl Protection {
    /// Its name in lower case, as in `group_key`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Noise => "noise",
            Self::Ratchet => "ratchet",
            Self::GroupKey => "group_key",
            Self::SenderKey => "sender_key",
        }
    }
}

/// What the host is told.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// A peer announced itself, or came back.
    PeerJoined {
        /// Who.
        peer: PeerId,
    },
    /// A peer has left, or nothing was heard of it for a minute.
    PeerLeft {
        /// Who.
        peer: PeerId,
    },
    /// A peer's name, capabilities or neighbours changed.
    PeerChanged {
        /// Who.
        peer: PeerId,
    },
    /// There is a session: who this is has been proved.
    SessionReady {
        /// Who.
        peer: PeerId,
        /// The key it proved to hold.
        key: NoiseKey,
    },
    /// A public message, whose sender is verified.
    Public {
        /// The message.
        id: MessageId,
        /// Who wrote it.
        from: PeerId,
        /// Its text.
        text: String,
        /// When it was written, says its sender.
        timestamp: UnixMillis,
        /// The neighbour it came from, if it is known.
        via: Option<PeerId>,
        /// Hops it seems to have taken: nothing proves the number.
        hops: u8,
    },
    /// A private message.
    Private {
        /// The message, for [`Node::mark_read`].
        id: MessageId,
        /// Who wrote it.
        from: PeerId,
        /// Its text.
        text: String,
        /// The neighbour it came from, if it is known.
        via: Option<PeerId>,
        /// Hops it seems to have taken; 0 if somebody carried it.
        hops: u8,
        /// What it was encrypted with.
        protection: Protection,
    },
    /// How far a message of ours has come.
    Delivery {
        /// The message.
        id: MessageId,
        /// Its state.
        state: DeliveryState,
    },
    /// What a neighbour did with a message of ours.
    Passed {
        /// The message.
        id: MessageId,
        /// The neighbour.
        by: PeerId,
        /// What it did.
        how: Passing,
    },
    /// A file.
    File {
        /// Who sent it.
        from: PeerId,
        /// Whether it was for this peer alone.
        private: bool,
        /// The file.
        file: File,
    },
    /// A part of a voice burst.
    Voice {
        /// Who speaks.
        from: PeerId,
        /// Whether it is for this peer alone.
        private: bool,
        /// The part.
        frame: VoiceFrame,
    },
    /// This peer was taken into a group, or the group changed.
    Group {
        /// The group.
        group: GroupId,
        /// Whose it is.
        creator: Fingerprint,
    },
    /// A message to a group.
    GroupMessage {
        /// The group.
        group: GroupId,
        /// The message.
        id: MessageId,
        /// Who wrote it: a member.
        from: Fingerprint,
        /// Its text.
        text: String,
        /// When it was written, says its writer.
        timestamp: UnixMillis,
        /// The neighbour it came from, if it is known.
        via: Option<PeerId>,
        /// Hops it seems to have taken: nothing proves the number.
        hops: u8,
        /// What it was encrypted with.
        protection: Protection,
    },
    /// A step towards a call.
    Call {
        /// Who.
        from: PeerId,
        /// The step.
        signal: CallSignal,
    },
    /// A step of a file in chunks.
    Chunk {
        /// Who.
        from: PeerId,
        /// The step.
        message: ChunkMessage,
    },
    /// Something private of a type that means nothing here.
    Other {
        /// Who.
        from: PeerId,
        /// The type.
        kind: u8,
        /// The body.
        body: Vec<u8>,
    },
}

impl Event {
    /// Bytes that it takes, but for what every event does.
    fn bytes(&self) -> usize {
        match self {
            Self::Public { text, .. }
            | Self::Private { text, .. }
            | Self::GroupMessage { text, .. } => text.len(),
            Self::File { file, .. } => file.content.len(),
            Self::Other { body, .. } => body.len(),
            Self::Chunk { .. } => CHUNK_BYTES,
            _ => 0,
        }
    }
}

/// A frame to send.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Transmit {
    /// Over which link.
    pub link: LinkId,
    /// In one write.
    pub bytes: Vec<u8>,
}

/// Why something cannot be sent.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum SendError {
    /// Nothing was heard of the peer: there is nobody to make a session with.
    #[error("peer {peer} is not known")]
    UnknownPeer {
        /// Who.
        peer: PeerId,
    },
    /// The peer does not say that it understands this.
    #[error("peer {peer} does not understand this")]
    NotUnderstood {
        /// Who.
        peer: PeerId,
    },
    /// The text is empty or too long.
    #[error("text of {actual} bytes, 1 to {limit} are allowed")]
    Text {
        /// Its length.
        actual: usize,
        /// The limit.
        limit: usize,
    },
    /// As much as may be waits for the peer already.
    #[error("{limit} messages wait for peer {peer} already")]
    PeerFull {
        /// Who.
        peer: PeerId,
        /// The limit.
        limit: usize,
    },
    /// Too much waits already.
    #[error("{limit} messages wait already")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// A group has one name, of so many bytes.
    #[error("a group's name of {actual} bytes, 1 to {limit} are allowed")]
    GroupName {
        /// Its length.
        actual: usize,
        /// The limit.
        limit: usize,
    },
    /// A new group is of nobody else, or of too many. Who makes it is not counted.
    #[error("a group of {actual} others, 1 to {limit} are allowed")]
    GroupSize {
        /// How many others there are to be.
        actual: usize,
        /// The limit.
        limit: usize,
    },
    /// A peer is named twice as a member of a group.
    #[error("peer {peer} is named twice as a member")]
    MemberTwice {
        /// Who.
        peer: PeerId,
    },
    /// This peer is in no such group.
    #[error("no group {group}")]
    UnknownGroup {
        /// The group.
        group: GroupId,
    },
    /// Only who made a group changes it.
    #[error("group {group} is somebody else's")]
    NotCreator {
        /// The group.
        group: GroupId,
    },
    /// Something is longer than its format allows.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Something is longer than a packet carries.
    #[error(transparent)]
    Packet(#[from] PacketError),
}

/// Longest public message, in bytes.
pub const PUBLIC_BYTES_MAX: usize = 16 * 1024;

/// What is known of a peer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PeerView {
    /// Who.
    pub id: PeerId,
    /// What it wants to be called.
    pub nickname: String,
    /// Its key for sessions.
    pub noise_key: NoiseKey,
    /// Its key for signatures: the first one that was seen.
    pub verify_key: VerifyKey,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Whether it was heard of in the last minute.
    pub is_reachable: bool,
    /// Whether it has a link here.
    pub is_linked: bool,
    /// Whether there is a session with it.
    pub has_session: bool,
    /// Whether there is a [ratchet](crate::ratchet) with it: private messages to it are under its keys.
    pub has_ratchet: bool,
    /// Whether the user prefers it: its envelopes go before those of strangers.
    pub is_favourite: bool,
    /// Whom it has links to, says it.
    pub neighbours: Vec<PeerId>,
}

#[derive(Clone, Debug)]
struct Peer {
    announce: Announce,
    /// When its newest announce was made.
    timestamp: UnixMillis,
    /// When it came.
    heard: Instant,
    is_reachable: bool,
    is_favourite: bool,
    bundle: Option<PrekeyBundle>,
    /// When a session that does not seem to work may be made anew.
    renew_after: Instant,
    /// Whether it has sent a packet of version 2.
    is_wide: bool,
    /// When packets for it may go over a route again.
    route_after: Instant,
    /// Plaintexts that wait for a session.
    waiting: VecDeque<Vec<u8>>,
    /// Since when a private message waits for a ratchet.
    ratchet_since: Option<Instant>,
    /// When a ratchet may be asked for, or offered, again.
    ratchet_after: Instant,
}

#[derive(Clone, Debug)]
struct Outgoing {
    peer: PeerId,
    id: MessageId,
    text: String,
    created: UnixMillis,
    attempts: u32,
    next: Instant,
    state: DeliveryState,
    couriers: BTreeSet<PeerId>,
    /// The same envelope for every courier, so that it is known where it comes twice.
    envelope: Option<Envelope>,
}

/// A message to a group that nobody is known to have. It is kept sealed: it is for those who were members when it
/// was written.
#[derive(Clone, Debug)]
struct Unheard {
    group: GroupId,
    id: MessageId,
    payload: Vec<u8>,
    created: UnixMillis,
    /// When it is sent again, in a new packet: others take none that is old.
    next: Instant,
}

/// That a message of somebody who is not there came or was seen: neighbours carry it to the sender.
#[derive(Clone, Debug)]
struct Receipt {
    peer: PeerId,
    key: NoiseKey,
    plaintext: Vec<u8>,
    created: UnixMillis,
    couriers: BTreeSet<PeerId>,
    envelope: Option<Envelope>,
    /// Whether the peer was there and was told. Couriers bring a message many times: it is remembered so
    /// that each of them does not make another receipt, for as many couriers again.
    is_told: bool,
}

/// Where a packet goes.
#[derive(Clone, Copy, Debug)]
enum Target {
    /// Over some links, or all; not back where it came from.
    Everybody { except: Option<LinkId> },
    /// Over the link of one peer; without one, over all links.
    Peer {
        peer: PeerId,
        except: Option<LinkId>,
    },
    /// Over all links, though it is for one peer: the way that looked best did not lead there.
    AllLinks,
    /// Over all links but one: a route over that one did not lead there.
    Others { except: LinkId },
    /// Over one link.
    Link(LinkId),
}

/// A packet of this peer, as it is known when others have it.
#[derive(Clone, Debug)]
struct Own {
    key: u64,
    sync_id: [u8; 16],
    /// What others may say in sync requests that they have; of private packets nothing.
    types: Option<SyncTypes>,
    id: MessageId,
    /// Somebody else has it.
    is_relayed: bool,
    /// Neighbours that were said to have it.
    told: BTreeSet<PeerId>,
}

#[derive(Debug)]
struct Delayed {
    packet: Packet,
    target: Target,
    /// Whose copies cancel it, if it is passed on for somebody else.
    key: Option<u64>,
}

/// A peer of the mesh.
///
/// The host gives it what links bring ([`Node::handle_input`]) and the time ([`Node::handle_timeout`], at
/// [`Node::poll_timeout`]), and takes from it what is to be sent ([`Node::poll_transmit`]) and what happened
/// ([`Node::poll_event`]). Wall time is counted on from the last [`Node::set_unix`].
pub struct Node {
    identity: Identity,
    id: PeerId,
    config: NodeConfig,
    fog: Option<Fog>,
    nickname: String,
    clock: (UnixMillis, Instant),
    links: BTreeMap<LinkId, Link>,
    /// The link that sends next.
    turn: Option<LinkId>,
    peers: BTreeMap<PeerId, Peer>,
    sessions: Sessions,
    ratchets: Ratchets,
    seen: Seen<u64>,
    /// Sealed packets that were opened.
    opened: Seen<u64>,
    /// Packets that came back from where their route leads.
    returned: Seen<u64>,
    delayed: BTreeMap<(Instant, u64), Delayed>,
    delayed_bytes: usize,
    relaying: BTreeMap<u64, (Instant, u64)>,
    number: u64,
    reassembler: Reassembler,
    store: SyncStore,
    outbox: BTreeMap<u64, Outgoing>,
    unheard: VecDeque<Unheard>,
    bag: CourierBag,
    receipts: VecDeque<Receipt>,
    /// Keys of those from whom somebody carried something, the newest last.
    carried_from: VecDeque<NoiseKey>,
    /// Whom this peer is likely to meet, if its couriers are chosen by that.
    predictions: Option<Predictions>,
    /// What couriers near have told, and when last.
    told: BTreeMap<PeerId, (Told, Instant)>,
    /// Envelopes that couriers near were offered lately.
    offered: Seen<(PeerId, [u8; SHORT_ID_BYTES])>,
    /// Envelopes that this peer said lately that it wants.
    wanted: Seen<[u8; SHORT_ID_BYTES]>,
    prekeys: Prekeys,
    groups: BTreeMap<GroupId, GroupState>,
    large_groups: BTreeMap<GroupId, LargeGroup>,
    group_pickles: Pickles,
    /// Messages to large groups whose keys have not come.
    early: VecDeque<(GroupMessage, (Option<PeerId>, u8))>,
    /// When members are told again what they should know.
    tell_due: Instant,
    received: Seen<(PeerId, MessageId)>,
    /// Messages to groups: whoever wrote one may send it again.
    received_of_groups: Seen<(PeerId, MessageId)>,
    /// Private messages that were delivered and may still be read. Forgotten for want of room alone.
    delivered: Seen<(PeerId, MessageId)>,
    unverified: VecDeque<(LinkId, Packet)>,
    own: VecDeque<Own>,
    events: VecDeque<Event>,
    events_bytes: usize,
    counters: Counters,
    announce_due: Instant,
    announced: Option<Instant>,
    prekeys_due: Option<Instant>,
    sweep_due: Instant,
}

impl Node {
    /// A peer with these secrets and this name, that knows nobody.
    ///
    /// # Errors
    /// [`SendError::Text`] if the name is too long.
    pub fn new(
        identity: Identity,
        nickname: impl Into<String>,
        config: NodeConfig,
        unix: UnixMillis,
        now: Instant,
    ) -> Result<Self, SendError> {
        let nickname = checked_nickname(nickname.into())?;
        Ok(Self {
            id: identity.peer_id(),
            ratchets: Ratchets::new(&identity),
            group_pickles: Pickles::new(&identity, large_groups::PICKLE_CONTEXT),
            identity,
            nickname,
            clock: (unix, now),
            links: BTreeMap::new(),
            turn: None,
            peers: BTreeMap::new(),
            sessions: Sessions::new(config.sessions_max),
            seen: Seen::new(SEEN_MAX, SEEN_FOR),
            opened: Seen::new(SEEN_MAX, SEEN_FOR),
            returned: Seen::new(SEEN_MAX, SEEN_FOR),
            delayed: BTreeMap::new(),
            delayed_bytes: 0,
            relaying: BTreeMap::new(),
            number: 0,
            reassembler: Reassembler::new(config.reassembly),
            store: SyncStore::new(),
            outbox: BTreeMap::new(),
            unheard: VecDeque::new(),
            bag: CourierBag::new(config.courier),
            receipts: VecDeque::new(),
            carried_from: VecDeque::new(),
            predictions: config
                .courier
                .strategy
                .prophet()
                .map(|prophet| Predictions::new(prophet, now)),
            told: BTreeMap::new(),
            offered: Seen::new(OFFERED_MAX, OFFERED_FOR),
            wanted: Seen::new(OFFERED_MAX, WANTED_FOR),
            prekeys: Prekeys::default(),
            groups: BTreeMap::new(),
            large_groups: BTreeMap::new(),
            early: VecDeque::new(),
            tell_due: now,
            received: Seen::new(RECEIVED_MAX, RECEIVED_FOR),
            received_of_groups: Seen::new(RECEIVED_MAX, RECEIVED_FOR),
            delivered: Seen::new(RECEIVED_MAX, RECEIVED_FOR),
            unverified: VecDeque::new(),
            own: VecDeque::new(),
            events: VecDeque::new(),
            events_bytes: 0,
            counters: Counters::default(),
            announce_due: now,
            announced: None,
            prekeys_due: None,
            sweep_due: now,
            fog: config.fog.as_ref().map(Fog::new),
            config,
        })
    }

    /// Who this is.
    #[must_use]
    pub const fn id(&self) -> PeerId {
        self.id
    }

    /// What this peer is called on the air: another name in each period if it talks to a fog's members alone
    /// ([`NodeConfig::fog`]), and [`Node::id`] if it does not.
    #[must_use]
    pub fn air_id(&self, now: Instant) -> PeerId {
        let key = self.identity.noise_key();
        let fog = self.fog.as_ref();
        fog.map_or(self.id, |fog| fog.id_of(&key, self.unix(now)))
    }

    /// The secrets.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What this peer is called.
    #[must_use]
    pub fn nickname(&self) -> &str {
        &self.nickname
    }

    /// Gives it another name, which the next announce says.
    ///
    /// # Errors
    /// [`SendError::Text`].
    pub fn set_nickname(
        &mut self,
        nickname: impl Into<String>,
        now: Instant,
    ) -> Result<(), SendError> {
        self.nickname = checked_nickname(nickname.into())?;
        self.announce_due = now;
        Ok(())
    }

    /// Sets the wall clock: after a sleep, or when the system's was set.
    pub const fn set_unix(&mut self, unix: UnixMillis, now: Instant) {
        self.clock = (unix, now);
    }

    /// Wall time at `now`.
    #[must_use]
    pub fn unix(&self, now: Instant) -> UnixMillis {
        let (unix, since) = self.clock;
        let elapsed = u64::try_from(now.duration_since(since).as_millis()).unwrap_or(u64::MAX);
        UnixMillis(unix.0.saturating_add(elapsed))
    }

    /// What was refused, and what was not.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            fragments_given_up: self.reassembler.given_up(),
            ..self.counters
        }
    }

    /// Peers that are known.
    pub fn peers(&self) -> impl Iterator<Item = PeerView> {
        self.peers.keys().filter_map(|peer| self.peer(*peer))
    }

    /// What is known of a peer.
    #[must_use]
    pub fn peer(&self, id: PeerId) -> Option<PeerView> {
        let peer = self.peers.get(&id)?;
        Some(PeerView {
            id,
            nickname: peer.announce.nickname.clone(),
            noise_key: peer.announce.noise_key,
            verify_key: peer.announce.verify_key,
            capabilities: peer.announce.capabilities.unwrap_or_default(),
            is_reachable: peer.is_reachable,
            is_linked: self.link_of(id).is_some(),
            has_session: self.sessions.is_established(id),
            has_ratchet: self.has_ratchet(id),
            is_favourite: peer.is_favourite,
            neighbours: peer.announce.neighbours.clone().unwrap_or_default(),
        })
    }

    /// Prefers a peer, or does not any more. `false` if it is not known.
    pub fn set_favourite(&mut self, peer: PeerId, is_favourite: bool) -> bool {
        let known = self.peers.get_mut(&peer);
        known.is_some_and(|peer| {
            peer.is_favourite = is_favourite;
            true
        })
    }

    /// Links that are up, with the peer at the other end, as far as it is known.
    pub fn links(&self) -> impl Iterator<Item = (LinkId, Option<PeerId>)> {
        self.links.iter().map(|(id, link)| (*id, link.peer()))
    }

    /// Groups this peer is in.
    pub fn groups(&self) -> impl Iterator<Item = &GroupState> {
        self.groups.values()
    }

    /// Private messages that wait to be delivered: to whom, which, and how far they have come.
    pub fn outbox(&self) -> impl Iterator<Item = (PeerId, &MessageId, DeliveryState)> {
        self.outbox
            .values()
            .map(|message| (message.peer, &message.id, message.state))
    }

    /// Messages to groups that no neighbour is known to have: they are sent again, also after a restart.
    pub fn unheard(&self) -> impl Iterator<Item = (GroupId, &MessageId)> {
        self.unheard.iter().map(|text| (text.group, &text.id))
    }

    /// How likely this peer is to reach whom, if its couriers are chosen by that.
    pub fn predictions(&self) -> impl Iterator<Item = (NoiseKey, Predictability)> {
        self.predictions.iter().flat_map(Predictions::iter)
    }

    /// Envelopes that are carried for others.
    #[must_use]
    pub fn carried(&self) -> usize {
        self.bag.len()
    }

    /// Bytes that this takes for others, at most: what waits on links, for its time, for other fragments and
    /// for the host is bounded by [`NodeConfig`].
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        let queues: usize = self.links.values().map(|link| link.queued_bytes).sum();
        queues + self.reassembler.bytes() + self.delayed_bytes + self.events_bytes
    }

    /// A link is up.
    ///
    /// Links beyond the 256th are not used. A link of the same number takes the place of the one before.
    pub fn link_up(&mut self, link: LinkId, config: LinkConfig, now: Instant) {
        if self.links.len() >= LINKS_MAX && !self.links.contains_key(&link) {
            return;
        }
        let up = Link {
            config,
            announced: None,
            proved: None,
            queue: VecDeque::new(),
            queued_bytes: 0,
            is_blocked: false,
            joined: Joined::default(),
            budget: Budget::new(
                self.config.link_burst,
                self.config.link_packets_per_second,
                now,
            ),
            asked_until: Instant::ZERO,
            answered: VecDeque::new(),
            sync_due: [None; 3],
            news_due: now,
        };
        if let Some(before) = self.links.insert(link, up) {
            self.forget_told(&before);
        }
        self.announce_due = now;
    }

    /// A link is down. What waited for it is lost; what matters is sent again.
    pub fn link_down(&mut self, link: LinkId, now: Instant) {
        if let Some(gone) = self.links.remove(&link) {
            self.forget_told(&gone);
            self.announce_due = self.announce_due.min(now + Duration::from_secs(1));
        }
    }

    /// Who comes back may have got much meanwhile: what it told is of no use.
    fn forget_told(&mut self, gone: &Link) {
        if let Some(peer) = gone.peer()
            && self.link_of(peer).is_none()
        {
            self.told.remove(&peer);
        }
    }

    /// Whether a link takes frames now. None is given out for one that does not.
    pub fn set_blocked(&mut self, link: LinkId, is_blocked: bool) {
        if let Some(link) = self.links.get_mut(&link) {
            link.is_blocked = is_blocked;
        }
    }

    /// What happened next.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        self.events_bytes -= event.bytes();
        Some(event)
    }

    fn emit(&mut self, event: Event) {
        self.events_bytes += event.bytes();
        self.events.push_back(event);
        while self.events.len() > self.config.events_max.max(1)
            || self.events.len() > 1 && self.events_bytes > self.config.events_bytes_max
        {
            let lost = self.poll_event();
            self.counters.events_lost += u64::from(lost.is_some());
        }
    }

    /// Writes to everybody near; gives what the message is known by.
    ///
    /// # Errors
    /// [`SendError::Text`].
    pub fn send_public(
        &mut self,
        text: &str,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<MessageId, SendError> {
        check_text(text, PUBLIC_BYTES_MAX)?;
        let unix = self.unix(now);
        let id = MessageId::of_public(self.id, unix, text);
        let mut packet = Packet::new(PacketType::MESSAGE, self.id, unix, text.into())?;
        packet.sign(&self.identity);
        self.originate(&packet, Some(id.clone()), now, rng);
        Ok(id)
    }

    /// Writes to one peer; gives what the message is known by. It is kept until the peer has it, or for
    /// [`NodeConfig::outbox_lifetime`].
    ///
    /// # Errors
    /// [`SendError::Text`], [`SendError::UnknownPeer`], [`SendError::PeerFull`], [`SendError::Full`].
    pub fn send_private(
        &mut self,
        peer: PeerId,
        text: &str,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<MessageId, SendError> {
        check_text(text, PRIVATE_BYTES_MAX)?;
        if !self.peers.contains_key(&peer) {
            return Err(SendError::UnknownPeer { peer });
        }
        let to_peer = self
            .outbox
            .values()
            .filter(|other| other.peer == peer)
            .count();
        let limit = self.config.outbox_per_peer;
        if to_peer >= limit {
            return Err(SendError::PeerFull { peer, limit });
        }
        let limit = self.config.outbox_max;
        if self.outbox.len() >= limit {
            return Err(SendError::Full { limit });
        }
        let id = MessageId::random(rng);
        self.number += 1;
        let message = Outgoing {
            peer,
            id: id.clone(),
            text: text.to_owned(),
            created: self.unix(now),
            attempts: 0,
            next: now,
            state: DeliveryState::Waiting,
            couriers: BTreeSet::new(),
            envelope: None,
        };
        self.outbox.insert(self.number, message);
        self.attempt(self.number, now, rng);
        Ok(id)
    }

    /// Tells a peer that the user saw its message. Neighbours carry that to one that is not there, as they carried
    /// the message.
    ///
    /// # Errors
    /// [`SendError::UnknownPeer`], [`SendError::PeerFull`].
    pub fn mark_read(
        &mut self,
        peer: PeerId,
        id: MessageId,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<(), SendError> {
        let content = Content::Read(id);
        let is_here = self
            .peers
            .get(&peer)
            .is_some_and(|known| known.is_reachable);
        match self.key_of(peer) {
            Some(key) if !is_here => {
                self.send_receipt(key, &content, now, rng);
                Ok(())
            }
            _ => self.send_content(peer, &content, now, rng),
        }
    }

    /// Sends a file to everybody near.
    ///
    /// # Errors
    /// [`SendError::Format`], [`SendError::Packet`].
    pub fn send_file(
        &mut self,
        file: &File,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<(), SendError> {
        let mut packet = Packet::new(PacketType::FILE, self.id, self.unix(now), file.encode()?)?;
        packet.sign(&self.identity);
        self.originate(&packet, None, now, rng);
        Ok(())
    }

    /// Sends a part of a voice burst to everybody near.
    ///
    /// # Errors
    /// [`SendError::Format`], [`SendError::Packet`].
    pub fn send_voice(
        &mut self,
        frame: &VoiceFrame,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<(), SendError> {
        let mut packet = Packet::new(PacketType::VOICE, self.id, self.unix(now), frame.encode()?)?;
        packet.sign(&self.identity);
        self.originate(&packet, None, now, rng);
        Ok(())
    }

    /// Sends something to one peer inside a session, which is made if there is none. It is sent once: what
    /// is lost is not sent again. For texts use [`Node::send_private`].
    ///
    /// # Errors
    /// [`SendError::UnknownPeer`]; [`SendError::NotUnderstood`] for what is ours and the peer does not say it
    /// can do; [`SendError::PeerFull`] if too much waits for the session; [`SendError::Format`].
    pub fn send_content(
        &mut self,
        peer: PeerId,
        content: &Content,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<(), SendError> {
        self.check_content(peer, content)?;
        let Some(known) = self.peers.get_mut(&peer) else {
            return Err(SendError::UnknownPeer { peer });
        };
        if known.waiting.len() >= WAITING_MAX {
            let limit = WAITING_MAX;
            return Err(SendError::PeerFull { peer, limit });
        }
        known.waiting.push_back(content.encode()?);
        if self.sessions.is_established(peer) {
            self.flush(peer, now, rng);
        } else {
            self.start_session(peer, now, rng);
        }
        Ok(())
    }

    /// Whether a peer is known and says that it understands something.
    ///
    /// # Errors
    /// [`SendError::UnknownPeer`]; [`SendError::NotUnderstood`] for what is ours and the peer does not say it
    /// can do.
    pub fn check_content(&self, peer: PeerId, content: &Content) -> Result<(), SendError> {
        let known = self.peers.get(&peer);
        let known = known.ok_or(SendError::UnknownPeer { peer })?;
        let needed = match content {
            Content::Call(_) => Capabilities::CALLS,
            Content::Chunk(_) => Capabilities::CHUNKS,
            Content::Couriers(_) => Capabilities::COURIERS,
            Content::Other { kind, .. } if *kind == CONNECTION => Capabilities::CONNECTIONS,
            // Steps of large groups are sent here alone, and under a ratchet.
            Content::Ratchet(_) | Content::LargeGroup(_) => Capabilities::RATCHET,
            _ => Capabilities::default(),
        };
        if !known.announce.capabilities.unwrap_or_default().has(needed) {
            return Err(SendError::NotUnderstood { peer });
        }
        Ok(())
    }

    /// Says that this peer goes.
    pub fn leave(&mut self, now: Instant, rng: &mut impl CryptoRng) {
        let packet = Packet::new(PacketType::LEAVE, self.id, self.unix(now), Vec::new());
        let mut packet = packet.expect("it is empty");
        packet.sign(&self.identity);
        self.originate(&packet, None, now, rng);
    }
}

fn checked_nickname(nickname: String) -> Result<String, SendError> {
    check_text(&nickname, NICKNAME_BYTES_MAX)?;
    Ok(nickname)
}

const fn check_text(text: &str, limit: usize) -> Result<(), SendError> {
    let actual = text.len();
    if actual == 0 || actual > limit {
        return Err(SendError::Text { actual, limit });
    }
    Ok(())
}
