//! What leaves, when, and over which links.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use fogcompute_base::{CryptoRng, Instant};

use super::{
    Delayed, DeliveryState, Event, Node, OWN_MAX, Own, Passing, PeerState, SendError, Target,
    Transmit, Unheard,
};
use crate::announce::{Announce, NEIGHBOURS_MAX};
use crate::fog::Fog;
use crate::fragment::{FRAGMENT_FRAME_BYTES, split};
use crate::group::{
    GROUP_MEMBERS_MAX, GROUP_NAME_BYTES_MAX, GroupId, GroupKey, GroupMessage, GroupState,
    GroupText, Member,
};
use crate::link::{Link, LinkId};
use crate::packet::{Packet, PacketType, PeerId};
use crate::payload::{Content, MessageId};
use crate::relay::{fan_out_count, fan_out_order};
use crate::sync::SyncTypes;

/// Between fragments of one packet, for everybody and for one peer.
const FRAGMENT_GAP: Duration = Duration::from_millis(30);
const FRAGMENT_GAP_DIRECTED: Duration = Duration::from_millis(25);
/// Between announces, at least.
const ANNOUNCE_GAP: Duration = Duration::from_secs(1);
/// Links from which on announces are rarer.
const CROWDED: usize = 6;
/// What is asked for together, and how often.
const SYNC: [(SyncTypes, Duration); 3] = [
    (
        SyncTypes::ANNOUNCES
            .with(SyncTypes::MESSAGES)
            .with(SyncTypes::GROUPS),
        Duration::from_secs(15),
    ),
    (SyncTypes::FRAGMENTS, Duration::from_secs(30)),
    (
        SyncTypes::FILES.with(SyncTypes::PREKEYS),
        Duration::from_secs(60),
    ),
];
/// How long after a neighbour's first announce it is asked.
const SYNC_FIRST: Duration = Duration::from_secs(5);
/// How long answers to a request are expected.
const SYNC_ANSWERS: Duration = Duration::from_secs(30);
/// Longest set in a request, in bytes.
const SYNC_BYTES: usize = 400;
/// How often one-time keys are sent.
const PREKEYS_INTERVAL: Duration = Duration::from_secs(3600);
/// How long a peer is reachable after its last announce.
pub(super) const REACHABLE: Duration = Duration::from_secs(60);
/// How often what is old is looked for.
const SWEEP: Duration = Duration::from_secs(5);
/// How often a message to a group that nobody has is sent again: before the packet is too old to be asked for.
const UNHEARD_INTERVAL: Duration = Duration::from_secs(600);
/// Between handshakes with a peer whose session does not seem to work, at least.
const RENEW_GAP: Duration = Duration::from_secs(10);

impl Node {
    /// The next frame to send. Links take turns; those that are blocked are left out.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        let ready = |link: &Link| !link.is_blocked && !link.queue.is_empty();
        let turn = self.turn.map_or(0, |link| link.0.saturating_add(1));
        let after = self
            .links
            .range(LinkId(turn)..)
            .find(|(_, link)| ready(link));
        let id = after
            .or_else(|| self.links.iter().find(|(_, link)| ready(link)))
            .map(|(id, _)| *id)?;
        self.turn = Some(id);
        let link = self.links.get_mut(&id)?;
        let bytes = link.queue.pop_front()?;
        link.queued_bytes -= bytes.len();
        Some(Transmit { link: id, bytes })
    }

    /// When [`Node::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let links = !self.links.is_empty();
        let announce = links.then(|| match self.announced {
            Some(last) => self.announce_due.max(last + ANNOUNCE_GAP),
            None => self.announce_due,
        });
        let delayed = self.delayed.keys().next().map(|(at, _)| *at);
        let sync = self
            .links
            .values()
            .flat_map(|link| link.sync_due)
            .flatten()
            .min();
        let outbox = self.outbox.values().map(|message| message.next).min();
        let unheard = self.unheard.iter().map(|text| text.next).min();
        [
            announce,
            delayed,
            sync,
            outbox,
            unheard.filter(|_| self.has_neighbour()),
            self.prekeys_due.filter(|_| links),
            self.sessions.poll_timeout(),
            self.reassembler.poll_timeout(),
            Some(self.sweep_due),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant, rng: &mut impl CryptoRng) {
        self.reassembler.handle_timeout(now);
        for peer in self.sessions.handle_timeout(now) {
            self.mistrust_routes(peer, now);
        }
        if self.sweep_due <= now {
            self.sweep_due = now + SWEEP;
            self.sweep(now);
            self.tell_groups(now, rng);
        }
        let gap_over = self.announced.is_none_or(|last| last + ANNOUNCE_GAP <= now);
        if self.announce_due <= now && gap_over && !self.links.is_empty() {
            self.announce(now, rng);
        }
        if self.prekeys_due.is_some_and(|due| due <= now) && !self.links.is_empty() {
            self.send_prekeys(now, rng);
        }
        self.ask_neighbours(now, rng);
        let due: Vec<_> = self
            .outbox
            .iter()
            .filter(|(_, message)| message.next <= now)
            .map(|(number, _)| *number)
            .collect();
        for number in due {
            self.attempt(number, now, rng);
        }
        if self.has_neighbour() {
            self.send_unheard(now, rng);
        }
        while let Some(entry) = self.delayed.first_entry()
            && entry.key().0 <= now
        {
            let Delayed {
                packet,
                target,
                key,
            } = entry.remove();
            self.delayed_bytes -= packet.payload().len();
            if let Some(key) = key {
                self.relaying.remove(&key);
                self.counters.relayed += 1;
            }
            self.dispatch(&packet, target, now, rng);
        }
    }

    fn sweep(&mut self, now: Instant) {
        let unix = self.unix(now);
        self.store.expire(unix);
        self.bag.expire(unix);
        let lifetime = self.config.outbox_lifetime;
        self.give_up_unheard(|text| {
            Duration::from_millis(unix.0.saturating_sub(text.created.0)) > lifetime
        });
        let gone: Vec<_> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.is_reachable && now.duration_since(peer.heard) > REACHABLE)
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.is_reachable = false;
            }
            self.emit(Event::PeerLeft { peer: id });
        }
    }

    fn announce(&mut self, now: Instant, rng: &mut impl CryptoRng) {
        let crowded = self.links.len() >= CROWDED;
        let isolated = self.links.values().all(|link| link.peer().is_none());
        let (base_ms, spread_ms) = match (isolated, crowded) {
            (true, _) => (4_000, 1),
            (_, false) => (11_000, 8_000),
            (_, true) => (22_000, 16_000),
        };
        self.announced = Some(now);
        self.announce_due = now + Duration::from_millis(base_ms + rng.next_u64() % spread_ms);
        let mut announce = Announce::new(
            self.nickname.clone(),
            self.identity.noise_key(),
            self.identity.verify_key(),
        );
        let mut neighbours: Vec<_> = self.links.values().filter_map(Link::peer).collect();
        neighbours.sort_unstable();
        neighbours.dedup();
        neighbours.truncate(NEIGHBOURS_MAX);
        announce.neighbours = Some(neighbours).filter(|all| !all.is_empty());
        announce.capabilities = Some(self.capabilities());
        let payload = announce.encode().expect("the name's length was checked");
        let packet = Packet::new(PacketType::ANNOUNCE, self.id, self.unix(now), payload);
        let mut packet = packet.expect("an announce is short");
        packet.sign(&self.identity);
        if self.prekeys_due.is_none() {
            self.prekeys_due = Some(now + SYNC_FIRST);
        }
        self.originate(&packet, None, now, rng);
    }

    fn send_prekeys(&mut self, now: Instant, rng: &mut impl CryptoRng) {
        self.prekeys_due = Some(now + PREKEYS_INTERVAL);
        let unix = self.unix(now);
        let bundle = self.prekeys.bundle(&self.identity, unix, rng);
        let payload = bundle.encode().expect("there are eight keys");
        let packet = Packet::new(PacketType::PREKEYS, self.id, unix, payload);
        let mut packet = packet.expect("eight keys are short");
        packet.sign(&self.identity);
        self.originate(&packet, None, now, rng);
    }

    fn ask_neighbours(&mut self, now: Instant, rng: &mut impl CryptoRng) {
        let mut asks = Vec::new();
        for (id, link) in &mut self.links {
            for (due, (types, interval)) in link.sync_due.iter_mut().zip(SYNC) {
                if due.is_some_and(|at| at <= now) {
                    *due = Some(now + interval);
                    link.asked_until = now + SYNC_ANSWERS;
                    asks.push((*id, types));
                }
            }
        }
        for (link, types) in asks {
            let request = self.store.request(types, SYNC_BYTES);
            let payload = request.encode().expect("no fragments are named");
            let packet = Packet::new(PacketType::SYNC, self.id, self.unix(now), payload);
            let mut packet = packet.expect("a request is short");
            packet.ttl = 0;
            packet.sign(&self.identity);
            let frame = self.frame_of(&packet);
            self.push_frame(link, frame, now, rng);
        }
    }

    /// A neighbour has announced itself: it is asked soon for what it has.
    pub(super) fn ask_soon(&mut self, link: LinkId, now: Instant) {
        if let Some(link) = self.links.get_mut(&link) {
            for (due, (index, _)) in link.sync_due.iter_mut().zip((0..).zip(SYNC)) {
                due.get_or_insert(now + SYNC_FIRST + Duration::from_secs(index));
            }
        }
    }

    /// Sends a packet of this peer, and knows it when it comes back.
    pub(super) fn originate(
        &mut self,
        packet: &Packet,
        id: Option<MessageId>,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) {
        let key = packet.dedup_key();
        self.seen.insert(key, now);
        self.store.insert(packet, self.unix(now));
        let target = match packet.recipient {
            Some(peer) if !packet.is_broadcast() => Target::Peer { peer, except: None },
            // Over every link, also where two lead to one peer: it shows who is behind each.
            _ if packet.kind == PacketType::ANNOUNCE => Target::AllLinks,
            _ => Target::Everybody { except: None },
        };
        let links = self.dispatch(packet, target, now, rng);
        if let Some(id) = id {
            let state = if links.is_empty() {
                DeliveryState::Waiting
            } else {
                DeliveryState::Sent
            };
            self.remember_own(packet, id.clone());
            let given = id.clone();
            self.emit(Event::Delivery { id, state });
            self.emit_given(&given, &links);
        }
    }

    fn remember_own(&mut self, packet: &Packet, id: MessageId) {
        if self.own.len() >= OWN_MAX {
            self.own.pop_front();
        }
        self.own.push_back(Own {
            key: packet.dedup_key(),
            sync_id: packet.sync_id(),
            types: SyncTypes::of(packet.kind),
            id,
            is_relayed: false,
            told: BTreeSet::new(),
        });
    }

    /// Says which neighbours a message of ours was given.
    fn emit_given(&mut self, id: &MessageId, links: &[LinkId]) {
        let to: BTreeSet<_> = links.iter().filter_map(|link| self.via(*link)).collect();
        for by in to {
            let (id, how) = (id.clone(), Passing::Given);
            self.emit(Event::Passed { id, by, how });
        }
    }

    /// The link of a peer.
    pub(super) fn link_of(&self, peer: PeerId) -> Option<LinkId> {
        let has = |of: Option<PeerId>| of == Some(peer);
        let proved = self.links.iter().find(|(_, link)| has(link.proved));
        proved
            .or_else(|| self.links.iter().find(|(_, link)| has(link.peer())))
            .map(|(id, _)| *id)
    }

    /// Sends a packet now; gives over which links.
    pub(super) fn dispatch(
        &mut self,
        packet: &Packet,
        target: Target,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Vec<LinkId> {
        let links = match target {
            Target::Link(link) => vec![link],
            Target::AllLinks => self.links.keys().copied().collect(),
            Target::Others { except } => self.one_link_each(Some(except)),
            Target::Peer { peer, except } => match self.next_hop(packet, peer) {
                Some(link) if Some(link) != except => vec![link],
                // It goes back too, so that who is before knows.
                _ if self.place_on_route(packet).is_some() => self.one_link_each(None),
                _ => self.one_link_each(except),
            },
            Target::Everybody { except } => {
                let mut links = self.one_link_each(except);
                let count = fan_out_count(packet.kind, links.len());
                if count < links.len() {
                    let key = packet.dedup_key();
                    links.sort_by_cached_key(|link| fan_out_order(key, link.0));
                    links.truncate(count);
                }
                links
            }
        };
        links
            .into_iter()
            .filter(|link| self.send_on(*link, packet, now, rng))
            .collect()
    }

    /// The link over which a packet for one peer leaves, if there is one: the peer's own, or that of the next
    /// hop of its route.
    fn next_hop(&self, packet: &Packet, peer: PeerId) -> Option<LinkId> {
        if let Some(link) = self.link_of(peer) {
            return Some(link);
        }
        let route = packet.route()?;
        let mut sorted = route.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        // A circle is none of an honest sender's.
        if sorted.len() != route.len() {
            return None;
        }
        let next = match self.place_on_route(packet) {
            Some(here) => *route.get(here + 1)?,
            None if packet.sender == self.id => *route.first()?,
            // It was sent everywhere, because the route did not lead there.
            None => return None,
        };
        self.link_of(next)
    }

    /// Links, but of those with the same peer only one.
    fn one_link_each(&self, except: Option<LinkId>) -> Vec<LinkId> {
        let back = except.and_then(|link| self.links.get(&link)?.peer());
        let mut links = Vec::new();
        let mut peers = std::collections::BTreeSet::new();
        for (id, link) in &self.links {
            let peer = link.peer();
            if Some(*id) == except || peer.is_some() && peer == back {
                continue;
            }
            if peer.is_none_or(|peer| peers.insert(peer)) {
                links.push(*id);
            }
        }
        links
    }

    fn send_on(
        &mut self,
        link: LinkId,
        packet: &Packet,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> bool {
        let Some(frame_bytes_max) = self.links.get(&link).map(|link| self.room(link)) else {
            return false;
        };
        let frame = self.frame_of(packet);
        // Padding is dropped before a packet is cut.
        let bare = packet.encode();
        if frame.len() <= frame_bytes_max {
            return self.push_frame(link, frame, now, rng);
        }
        if bare.len() <= frame_bytes_max {
            return self.push_frame(link, bare, now, rng);
        }
        let mut id = [0; 8];
        rng.fill_bytes(&mut id);
        // Sealed, too, they are passed on over any link.
        let fragment_bytes_max = if self.fog.is_some() {
            frame_bytes_max.min(Fog::room(FRAGMENT_FRAME_BYTES))
        } else {
            frame_bytes_max
        };
        let Ok(fragments) = split(packet, fragment_bytes_max, id) else {
            self.counters.too_large += 1;
            return false;
        };
        let gap = if packet.is_broadcast() {
            FRAGMENT_GAP
        } else {
            FRAGMENT_GAP_DIRECTED
        };
        let mut at = now;
        let mut fragments = fragments.into_iter();
        if let Some(first) = fragments.next() {
            self.seen.insert(first.dedup_key(), now);
            self.push_frame(link, first.encode(), now, rng);
        }
        for fragment in fragments {
            at = at + gap;
            self.seen.insert(fragment.dedup_key(), now);
            self.delay(at, fragment, Target::Link(link), None);
        }
        true
    }

    /// Longest packet that fits into a frame of a link.
    pub(super) fn room(&self, link: &Link) -> usize {
        let frame_bytes_max = link.config.frame_bytes_max;
        if self.fog.is_some() {
            Fog::room(frame_bytes_max)
        } else {
            frame_bytes_max
        }
    }

    /// What goes over a link, or is sealed to go over it: sealing pads.
    pub(super) fn frame_of(&self, packet: &Packet) -> Vec<u8> {
        if self.fog.is_some() {
            packet.encode()
        } else {
            packet.to_frame()
        }
    }

    pub(super) fn push_frame(
        &mut self,
        id: LinkId,
        frame: Vec<u8>,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> bool {
        let (unix, own) = (self.unix(now), self.air_id(now));
        let Some(link) = self.links.get_mut(&id) else {
            return false;
        };
        let frame = match &self.fog {
            Some(fog) => fog.seal(&frame, own, unix, link.config.frame_bytes_max, rng),
            None => frame,
        };
        if link.queued_bytes + frame.len() > self.config.queue_bytes_max {
            self.counters.queue_full += 1;
            return false;
        }
        link.queued_bytes += frame.len();
        link.queue.push_back(frame);
        self.counters.sent += 1;
        true
    }

    pub(super) fn delay(&mut self, at: Instant, packet: Packet, target: Target, key: Option<u64>) {
        let bytes = self.delayed_bytes + packet.payload().len();
        if self.delayed.len() >= self.config.delayed_max || bytes > self.config.delayed_bytes_max {
            self.counters.queue_full += 1;
            return;
        }
        self.delayed_bytes = bytes;
        self.number += 1;
        let place = (at, self.number);
        if let Some(key) = key {
            self.relaying.insert(key, place);
        }
        let delayed = Delayed {
            packet,
            target,
            key,
        };
        self.delayed.insert(place, delayed);
    }

    /// Starts a handshake, unless one goes on.
    pub(super) fn start_session(&mut self, peer: PeerId, now: Instant, rng: &mut impl CryptoRng) {
        if self.links.is_empty() || self.sessions.is_established(peer) {
            return;
        }
        if let Some(first) = self.sessions.start(&self.identity, peer, now, rng) {
            self.send_directed(PacketType::HANDSHAKE, peer, first, None, now, rng);
        }
    }

    /// Makes a session anew that does not seem to work; the one there is stays until the new one is whole.
    /// At most once in ten seconds: anybody can send what does not open.
    pub(super) fn renew_session(&mut self, peer: PeerId, now: Instant, rng: &mut impl CryptoRng) {
        let Some(known) = self.peers.get_mut(&peer) else {
            return;
        };
        if !known.is_reachable || known.renew_after > now || self.links.is_empty() {
            return;
        }
        known.renew_after = now + RENEW_GAP;
        if let Some(first) = self.sessions.start(&self.identity, peer, now, rng) {
            self.send_directed(PacketType::HANDSHAKE, peer, first, None, now, rng);
        }
    }

    /// Sends a packet to one peer; gives over how many links it went.
    pub(super) fn send_directed(
        &mut self,
        kind: PacketType,
        peer: PeerId,
        payload: Vec<u8>,
        id: Option<&MessageId>,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> usize {
        let target = Target::Peer { peer, except: None };
        self.send_towards(target, kind, peer, payload, id, now, rng)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "what, to whom, which way and when"
    )]
    pub(super) fn send_towards(
        &mut self,
        target: Target,
        kind: PacketType,
        peer: PeerId,
        payload: Vec<u8>,
        id: Option<&MessageId>,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> usize {
        let Ok(packet) = Packet::new(kind, self.id, self.unix(now), payload) else {
            self.counters.too_large += 1;
            return 0;
        };
        // What is encrypted does not become shorter.
        let mut packet = packet.unpacked().to(peer);
        if matches!(target, Target::Peer { .. }) {
            self.choose_route(&mut packet, peer, now);
        }
        let key = packet.dedup_key();
        self.seen.insert(key, now);
        if let Some(id) = id {
            self.remember_own(&packet, id.clone());
        }
        let links = self.dispatch(&packet, target, now, rng);
        if let Some(id) = id {
            self.emit_given(id, &links);
        }
        links.len()
    }

    /// Sends what waited for a session.
    pub(super) fn flush(&mut self, peer: PeerId, now: Instant, rng: &mut impl CryptoRng) {
        loop {
            let Some(plaintext) = self
                .peers
                .get_mut(&peer)
                .and_then(|known| known.waiting.pop_front())
            else {
                return;
            };
            match self.seal(peer, &plaintext, now) {
                Some(sealed) => {
                    self.send_directed(PacketType::ENCRYPTED, peer, sealed, None, now, rng);
                }
                None => {
                    if let Some(known) = self.peers.get_mut(&peer) {
                        known.waiting.push_front(plaintext);
                    }
                    self.start_session(peer, now, rng);
                    return;
                }
            }
        }
    }

    /// There is a session: says what this peer can do, and sends what waited.
    pub(super) fn greet(&mut self, peer: PeerId, now: Instant, rng: &mut impl CryptoRng) {
        // What waited in a session that did not work has not waited for a ratchet.
        if let Some(known) = self.peers.get_mut(&peer) {
            known.ratchet_since = None;
        }
        let state = Content::PeerState(PeerState {
            capabilities: self.capabilities(),
            verify_key: self.identity.verify_key(),
        });
        let state = state.encode().expect("a peer's state is short");
        if let Some(sealed) = self.sessions.seal(peer, &state, now) {
            self.send_directed(PacketType::ENCRYPTED, peer, sealed, None, now, rng);
        }
        self.flush(peer, now, rng);
        self.attempt_all(peer, now, rng);
    }

    /// Tries at once what waits for a peer: it was not there, or what was sent may have been under a session
    /// that it does not have. That is not the message's fault, so it does not count against it.
    pub(super) fn attempt_all(&mut self, peer: PeerId, now: Instant, rng: &mut impl CryptoRng) {
        self.send_waiting_receipts(peer, now, rng);
        let waiting: Vec<_> = self
            .outbox
            .iter()
            .filter(|(_, message)| message.peer == peer)
            .map(|(number, message)| (*number, message.attempts))
            .collect();
        for (number, attempts) in waiting {
            self.attempt(number, now, rng);
            if let Some(message) = self.outbox.get_mut(&number) {
                message.attempts = attempts;
            }
        }
    }

    /// Tries to deliver a private message, and says when to try again.
    pub(super) fn attempt(&mut self, number: u64, now: Instant, rng: &mut impl CryptoRng) {
        let unix = self.unix(now);
        let Some(message) = self.outbox.get(&number) else {
            return;
        };
        let peer = message.peer;
        let reachable = self.peers.get(&peer).is_some_and(|peer| peer.is_reachable);
        let waits = reachable
            .then(|| self.waits_for_ratchet(peer, now, rng))
            .flatten();
        let Some(message) = self.outbox.get_mut(&number) else {
            return;
        };
        let age = Duration::from_millis(unix.0.saturating_sub(message.created.0));
        if age > self.config.outbox_lifetime || message.attempts >= self.config.attempts_max {
            let id = message.id.clone();
            self.forget_outgoing(number);
            self.emit(Event::Delivery {
                id,
                state: DeliveryState::GivenUp,
            });
            return;
        }
        if let Some(wait) = waits {
            message.next = now + wait;
            return;
        }
        let is_new = message.state < DeliveryState::Sent;
        // The end of a handshake may have been lost. Then nothing arrives, however often it is sent.
        let is_confirmed = self.sessions.is_confirmed(peer);
        let wait = self
            .config
            .retry_first
            .saturating_mul(1_u32.checked_shl(message.attempts).unwrap_or(u32::MAX))
            .min(self.config.retry_max);
        message.next = now + wait;
        let plaintext = Content::Private {
            id: message.id.clone(),
            text: message.text.clone(),
        };
        let id = message.id.clone();
        let plaintext = plaintext.encode().expect("the text's length was checked");
        // Who is behind a link is what somebody says: what was sent there and not confirmed goes everywhere.
        let target = if message.attempts < 2 {
            Target::Peer { peer, except: None }
        } else {
            Target::AllLinks
        };
        if message.attempts > 0 || !is_new && !is_confirmed {
            self.mistrust_routes(peer, now);
        }
        if !reachable {
            self.deposit(number, &plaintext, now, rng);
            return;
        }
        if let Some(sealed) = self.seal(peer, &plaintext, now) {
            if self.send_towards(
                target,
                PacketType::ENCRYPTED,
                peer,
                sealed,
                Some(&id),
                now,
                rng,
            ) > 0
            {
                let attempts = self.outbox.get_mut(&number).map_or(0, |message| {
                    message.attempts += u32::from(is_confirmed);
                    message.attempts
                });
                self.advance(number, DeliveryState::Sent);
                // Perhaps the peer has lost the session that is used here.
                if attempts > 2 || !is_confirmed && !is_new {
                    self.renew_session(peer, now, rng);
                }
            }
        } else {
            self.start_session(peer, now, rng);
        }
    }

    /// A message does not wait any more. Its envelope may still come back from neighbours.
    pub(super) fn forget_outgoing(&mut self, number: u64) {
        let message = self.outbox.remove(&number);
        if let Some(envelope) = message.and_then(|message| message.envelope) {
            self.bag.remember(envelope.digest());
        }
    }

    pub(super) fn advance(&mut self, number: u64, state: DeliveryState) {
        let Some(message) = self.outbox.get_mut(&number) else {
            return;
        };
        if message.state >= state {
            return;
        }
        message.state = state;
        let id = message.id.clone();
        self.emit(Event::Delivery { id, state });
    }

    fn has_neighbour(&self) -> bool {
        self.links.values().any(|link| link.peer().is_some())
    }

    /// Whether one more message to a group can be kept until somebody has it.
    pub(super) fn check_unheard(&self) -> Result<(), SendError> {
        let limit = self.config.outbox_max;
        if self.unheard.len() >= limit {
            return Err(SendError::Full { limit });
        }
        Ok(())
    }

    /// Sends a message to a group, and keeps it until a neighbour is known to have it.
    pub(super) fn send_sealed(
        &mut self,
        group: GroupId,
        id: &MessageId,
        payload: Vec<u8>,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<(), SendError> {
        let unix = self.unix(now);
        let packet = Packet::new(PacketType::GROUP, self.id, unix, payload.clone())?;
        self.unheard.push_back(Unheard {
            group,
            id: id.clone(),
            payload,
            created: unix,
            next: now + UNHEARD_INTERVAL,
        });
        self.originate(&packet.unpacked(), Some(id.clone()), now, rng);
        Ok(())
    }

    /// Sends again what nobody has.
    fn send_unheard(&mut self, now: Instant, rng: &mut impl CryptoRng) {
        let unix = self.unix(now);
        let mut due = Vec::new();
        for text in &mut self.unheard {
            if text.next <= now {
                text.next = now + UNHEARD_INTERVAL;
                due.push((text.id.clone(), text.payload.clone()));
            }
        }
        for (id, payload) in due {
            let packet = Packet::new(PacketType::GROUP, self.id, unix, payload);
            let packet = packet.expect("it was a packet's when it was written");
            self.originate(&packet.unpacked(), Some(id), now, rng);
        }
    }

    fn give_up_unheard(&mut self, is_over: impl Fn(&Unheard) -> bool) {
        let all = std::mem::take(&mut self.unheard);
        let (over, kept): (VecDeque<_>, VecDeque<_>) = all.into_iter().partition(is_over);
        self.unheard = kept;
        for text in over {
            self.emit(Event::Delivery {
                id: text.id,
                state: DeliveryState::GivenUp,
            });
        }
    }

    /// Makes a group of this peer and others who are known, and invites them.
    ///
    /// # Errors
    /// [`SendError::GroupName`], [`SendError::GroupSize`], [`SendError::MemberTwice`], [`SendError::UnknownPeer`],
    /// [`SendError::PeerFull`], [`SendError::Format`].
    pub fn create_group(
        &mut self,
        name: &str,
        members: &[PeerId],
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<GroupId, SendError> {
        check_group(name, members, GROUP_MEMBERS_MAX)?;
        let mut id = [0; 16];
        rng.fill_bytes(&mut id);
        let id = GroupId(id);
        self.publish_group(id, name.to_owned(), 0, members, now, rng)?;
        Ok(id)
    }

    /// Changes who is in a group of ours, and gives it another key, which those who are not in it any more do
    /// not get.
    ///
    /// # Errors
    /// [`SendError::UnknownGroup`], [`SendError::NotCreator`], and those of [`Node::create_group`].
    pub fn change_group(
        &mut self,
        group: GroupId,
        members: &[PeerId],
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<(), SendError> {
        if self.large_groups.contains_key(&group) {
            return self.change_large_group(group, members, now, rng);
        }
        let state = self
            .groups
            .get(&group)
            .ok_or(SendError::UnknownGroup { group })?;
        if state.creator != self.identity.noise_key().fingerprint() {
            return Err(SendError::NotCreator { group });
        }
        let (name, epoch) = (state.name.clone(), state.epoch.saturating_add(1));
        self.publish_group(group, name, epoch, members, now, rng)
    }

    fn publish_group(
        &mut self,
        id: GroupId,
        name: String,
        epoch: u32,
        members: &[PeerId],
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<(), SendError> {
        let roster = self.roster(members)?;
        let mut key = [0; 32];
        rng.fill_bytes(&mut key);
        let key = GroupKey::from_bytes(key);
        let state = GroupState::sign(&self.identity, id, name, key, epoch, roster)?;
        let content = if epoch == 0 {
            Content::GroupInvite(state.clone())
        } else {
            Content::GroupUpdate(state.clone())
        };
        for peer in members {
            self.send_content(*peer, &content, now, rng)?;
        }
        self.groups.insert(id, state);
        Ok(())
    }

    /// This peer and others who are known, as members of a group.
    pub(super) fn roster(&self, others: &[PeerId]) -> Result<Vec<Member>, SendError> {
        let mut roster = vec![Member {
            fingerprint: self.identity.noise_key().fingerprint(),
            verify_key: self.identity.verify_key(),
            nickname: shortened(&self.nickname),
        }];
        for (index, peer) in others.iter().enumerate() {
            if others[..index].contains(peer) {
                return Err(SendError::MemberTwice { peer: *peer });
            }
            let known = self
                .peers
                .get(peer)
                .ok_or(SendError::UnknownPeer { peer: *peer })?;
            roster.push(Member {
                fingerprint: known.announce.noise_key.fingerprint(),
                verify_key: known.announce.verify_key,
                nickname: shortened(&known.announce.nickname),
            });
        }
        Ok(roster)
    }

    /// Leaves a group: its messages are not read any more. Nobody is told.
    pub fn leave_group(&mut self, group: GroupId) -> bool {
        self.give_up_unheard(|text| text.group == group);
        let was_large = self.large_groups.remove(&group).is_some();
        if was_large {
            self.early.retain(|(message, _)| message.group != group);
            self.group_pickles.turn();
        }
        self.groups.remove(&group).is_some() || was_large
    }

    /// Writes to a group. The message is kept, sealed as it is, until a neighbour passes it on or says that it has
    /// it, or for [`NodeConfig::outbox_lifetime`](super::NodeConfig::outbox_lifetime); until then it is sent again
    /// and again. No member confirms it.
    ///
    /// # Errors
    /// [`SendError::UnknownGroup`], [`SendError::Text`], [`SendError::Format`]; [`SendError::Full`] if too many were
    /// heard by nobody.
    pub fn send_group(
        &mut self,
        group: GroupId,
        text: &str,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<MessageId, SendError> {
        super::check_text(text, crate::group::GROUP_TEXT_BYTES_MAX)?;
        self.check_unheard()?;
        if self.large_groups.contains_key(&group) {
            return self.send_large_group(group, text, now, rng);
        }
        let unix = self.unix(now);
        let state = self
            .groups
            .get(&group)
            .ok_or(SendError::UnknownGroup { group })?;
        let id = MessageId::random(rng);
        let message = GroupText {
            id: id.clone(),
            verify_key: self.identity.verify_key(),
            nickname: self.nickname.clone(),
            timestamp: unix,
            text: text.to_owned(),
        };
        let sealed = GroupMessage::seal(state, &self.identity, &message, rng)?;
        self.send_sealed(group, &id, sealed.encode()?, now, rng)?;
        Ok(id)
    }
}

/// As much of a name as a roster takes.
/// Looks whether a group can have this name, and these members beside who makes it.
pub(super) const fn check_group(
    name: &str,
    others: &[PeerId],
    members_max: usize,
) -> Result<(), SendError> {
    let (actual, limit) = (name.len(), GROUP_NAME_BYTES_MAX);
    if actual == 0 || actual > limit {
        return Err(SendError::GroupName { actual, limit });
    }
    let (actual, limit) = (others.len(), members_max - 1);
    if actual == 0 || actual > limit {
        return Err(SendError::GroupSize { actual, limit });
    }
    Ok(())
}

fn shortened(name: &str) -> String {
    let mut end = name.len().min(crate::group::GROUP_NICKNAME_BYTES_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].to_owned()
}
