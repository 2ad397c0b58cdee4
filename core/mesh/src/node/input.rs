//! What comes in, and what is made of it.

use std::time::Duration;

use fogcompute_base::{CryptoRng, Instant, UnixMillis};

use super::{
    DeliveryState, Event, Node, Passing, Peer, PeerState, Protection, Target, UNVERIFIED_BYTES_MAX,
    UNVERIFIED_MAX,
};
use crate::announce::{Announce, Capabilities};
use crate::courier::{Deposit, Envelope, PrekeyBundle, Standing};
use crate::file::File;
use crate::fragment::{Fragment, FragmentError};
use crate::group::{GroupMessage, GroupState};
use crate::identity::{NoiseKey, VerifyKey};
use crate::link::LinkId;
use crate::noise::{HANDSHAKE_BYTES, NoiseError};
use crate::packet::{Packet, PacketError, PacketType, PeerId, TTL_MAX, Tail};
use crate::payload::{Content, MessageId};
use crate::ratchet::RatchetMessage;
use crate::relay::relay;
use crate::sessions::{Refused, Step, Unopened};
use crate::sync::SyncRequest;
use crate::voice::VoiceFrame;

/// How far a packet's time may be from ours.
const SKEW_MAX: Duration = Duration::from_secs(120);
/// How old an announce, a voice packet and anything else may be that comes as an answer.
const ANNOUNCE_AGE_MAX: Duration = Duration::from_secs(900);
const VOICE_AGE_MAX: Duration = Duration::from_secs(30);
const ANSWER_AGE_MAX: Duration = Duration::from_secs(6 * 3600);
const PREKEYS_AGE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Answers to a neighbour in [`ANSWERS_WINDOW`], and packets in one.
const ANSWERS_MAX: usize = 8;
const ANSWERS_WINDOW: Duration = Duration::from_secs(30);
const ANSWER_PACKETS_MAX: usize = 200;

/// How a packet came.
#[derive(Clone, Copy)]
pub(super) struct Arrival {
    pub(super) link: LinkId,
    /// Put together from fragments, which were passed on themselves.
    pub(super) is_whole_again: bool,
    /// Hops it seems to have taken; 0 if somebody carried it.
    hops: u8,
    /// Its sender chose the way.
    is_routed: bool,
    /// What the neighbour called itself on the air, and when, if it is one of a fog.
    air: Option<(PeerId, UnixMillis)>,
}

impl Node {
    /// Takes what a link brought: one frame, or on links that join writes any piece.
    pub fn handle_input(
        &mut self,
        link: LinkId,
        bytes: &[u8],
        now: Instant,
        rng: &mut impl CryptoRng,
    ) {
        let Some(up) = self.links.get_mut(&link) else {
            self.counters.unknown_link += 1;
            return;
        };
        if !up.budget.take(now) {
            self.counters.flooded += 1;
            return;
        }
        if !up.config.joins_writes {
            self.handle_frame(link, bytes, now, rng);
            return;
        }
        let (frames, errors) = up.joined.push(bytes, now);
        for error in errors {
            self.count_packet_error(error);
        }
        for frame in frames {
            self.handle_frame(link, &frame, now, rng);
        }
    }

    fn handle_frame(&mut self, link: LinkId, bytes: &[u8], now: Instant, rng: &mut impl CryptoRng) {
        match Packet::decode(bytes) {
            Ok((_, Tail::Other(_))) => self.counters.wrongly_padded += 1,
            Ok((packet, _)) => {
                let mut arrival = Arrival {
                    link,
                    is_whole_again: false,
                    hops: 0,
                    is_routed: false,
                    air: None,
                };
                let packet = if self.fog.is_some() {
                    arrival.air = Some((packet.sender, packet.timestamp));
                    match self.unseal(packet, now) {
                        Some(packet) => packet,
                        None => return,
                    }
                } else {
                    packet
                };
                self.counters.received += 1;
                arrival.hops = hops(&packet);
                arrival.is_routed = packet.route().is_some();
                self.handle_packet(packet, arrival, now, rng);
            }
            Err(error) => self.count_packet_error(error),
        }
    }

    /// What is inside a packet of this peer's fog.
    fn unseal(&mut self, packet: Packet, now: Instant) -> Option<Packet> {
        let fog = self.fog.as_ref()?;
        let key = packet.dedup_key();
        let apart = self.unix(now).0.abs_diff(packet.timestamp.0);
        let Some(inside) = fog.open(packet) else {
            self.counters.strangers += 1;
            return None;
        };
        // Who has no key can still send again what it heard.
        if Duration::from_millis(apart) > SKEW_MAX {
            self.counters.clock_skew += 1;
            return None;
        }
        if !self.opened.insert(key, now) {
            self.counters.replayed += 1;
            return None;
        }
        match Packet::decode(&inside) {
            Ok((packet, Tail::None)) => Some(packet),
            Ok(_) => {
                self.counters.wrongly_padded += 1;
                None
            }
            Err(error) => {
                self.count_packet_error(error);
                None
            }
        }
    }

    const fn count_packet_error(&mut self, error: PacketError) {
        let counter = match error {
            PacketError::Truncated(_) => &mut self.counters.truncated,
            PacketError::TooLong { .. } => &mut self.counters.oversized,
            PacketError::Inflate { .. } | PacketError::Bomb { .. } => &mut self.counters.bombs,
            PacketError::Version { .. } | PacketError::RouteTooLong { .. } => {
                &mut self.counters.malformed
            }
        };
        *counter += 1;
    }

    fn handle_packet(
        &mut self,
        packet: Packet,
        arrival: Arrival,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) {
        let key = packet.dedup_key();
        if packet.sender == self.id {
            if !self.send_around(&packet, key, arrival, now, rng) {
                self.handle_echo(key, arrival);
            }
            return;
        }
        if !self.is_timely(&packet, arrival, now) {
            return;
        }
        if packet.kind == PacketType::SYNC {
            self.handle_sync(&packet, arrival.link, now, rng);
            return;
        }
        if self.seen.contains(&key, now) {
            self.counters.duplicated += 1;
            self.announced_again(&packet, arrival);
            if let Some(place) = self.relaying.remove(&key) {
                if let Some(delayed) = self.delayed.remove(&place) {
                    self.delayed_bytes -= delayed.packet.payload().len();
                }
                self.counters.relays_cancelled += 1;
            }
            self.send_around(&packet, key, arrival, now, rng);
            return;
        }
        // What is signed by somebody known is verified before it counts as seen: else a forged copy would
        // keep the real one out.
        let signed = self.check_signature(&packet);
        match signed {
            Signed::Wrong => {
                self.counters.mis_signed += 1;
                return;
            }
            Signed::Unknown => {
                self.counters.unverified += 1;
                if packet.payload().len() <= UNVERIFIED_BYTES_MAX {
                    if self.unverified.len() >= UNVERIFIED_MAX {
                        self.unverified.pop_front();
                    }
                    self.unverified.push_back((arrival.link, packet.clone()));
                }
            }
            Signed::Right | Signed::Needless => {
                let taken = self.process(&packet, arrival, now, rng);
                if !taken {
                    return;
                }
                self.store.insert(&packet, self.unix(now));
                if signed == Signed::Right
                    && packet.version() == 2
                    && let Some(known) = self.peers.get_mut(&packet.sender)
                {
                    known.is_wide = true;
                }
            }
        }
        self.seen.insert(key, now);
        if !arrival.is_whole_again && packet.recipient != Some(self.id) {
            self.pass_on(packet, key, arrival.link, now, rng);
        }
    }

    /// A packet of this peer came back: somebody passed it on.
    fn handle_echo(&mut self, key: u64, arrival: Arrival) {
        self.counters.duplicated += 1;
        let hops = arrival.hops;
        self.others_have(key, arrival.link, Passing::PassedOn { hops });
    }

    /// A neighbour has a message of ours.
    fn others_have(&mut self, key: u64, link: LinkId, how: Passing) {
        let by = self.via(link);
        let Some(own) = self.own.iter_mut().find(|own| own.key == key) else {
            return;
        };
        let id = own.id.clone();
        let is_first = !std::mem::replace(&mut own.is_relayed, true);
        let is_news = by.is_some_and(|by| own.told.insert(by));
        let is_public = own.types.is_some();
        if is_public {
            self.unheard.retain(|text| text.id != id);
        }
        if let Some(by) = by.filter(|_| is_news) {
            let id = id.clone();
            self.emit(Event::Passed { id, by, how });
        }
        let private = self.outbox.iter().find(|(_, message)| message.id == id);
        if let Some(number) = private.map(|(number, _)| *number) {
            self.advance(number, DeliveryState::Relayed);
        } else if is_first && is_public {
            // What is for everybody or a group has no further states.
            let state = DeliveryState::Relayed;
            self.emit(Event::Delivery { id, state });
        }
    }

    fn is_timely(&mut self, packet: &Packet, arrival: Arrival, now: Instant) -> bool {
        let unix = self.unix(now);
        let age = Duration::from_millis(unix.0.saturating_sub(packet.timestamp.0));
        let ahead = Duration::from_millis(packet.timestamp.0.saturating_sub(unix.0));
        if ahead > SKEW_MAX {
            self.counters.clock_skew += 1;
            return false;
        }
        if packet.answer {
            let asked = self
                .links
                .get(&arrival.link)
                .is_some_and(|link| link.asked_until > now);
            if !asked {
                self.counters.unasked += 1;
                return false;
            }
        } else if age > SKEW_MAX && !arrival.is_whole_again {
            self.counters.clock_skew += 1;
            return false;
        }
        let age_max = match packet.kind {
            PacketType::ANNOUNCE => ANNOUNCE_AGE_MAX,
            PacketType::VOICE => VOICE_AGE_MAX,
            PacketType::PREKEYS => PREKEYS_AGE_MAX,
            _ => ANSWER_AGE_MAX,
        };
        if age > age_max {
            self.counters.expired += 1;
            return false;
        }
        true
    }

    fn check_signature(&self, packet: &Packet) -> Signed {
        let key = match packet.kind {
            // The key is inside.
            PacketType::ANNOUNCE => {
                return match Announce::decode(packet.payload()) {
                    Ok(announce) if packet.verify(&announce.verify_key) => Signed::Right,
                    Ok(_) => Signed::Wrong,
                    // Refused where it is read.
                    Err(_) => Signed::Needless,
                };
            }
            PacketType::MESSAGE
            | PacketType::LEAVE
            | PacketType::FILE
            | PacketType::VOICE
            | PacketType::PREKEYS => self.verify_key(packet.sender),
            // Only who carries it needs to know who deposits it.
            PacketType::COURIER if packet.recipient == Some(self.id) => {
                self.verify_key(packet.sender)
            }
            _ => return Signed::Needless,
        };
        match key {
            _ if packet.signature.is_none() => Signed::Wrong,
            None => Signed::Unknown,
            Some(key) if packet.verify(&key) => Signed::Right,
            Some(_) => Signed::Wrong,
        }
    }

    fn verify_key(&self, peer: PeerId) -> Option<VerifyKey> {
        Some(self.peers.get(&peer)?.announce.verify_key)
    }

    fn pass_on(
        &mut self,
        packet: Packet,
        key: u64,
        link: LinkId,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) {
        // With one link there is nobody to pass it to, but for who is to hear that its route ends here.
        let is_alone = self.links.len() < 2 && self.place_on_route(&packet).is_none();
        if !self.config.relays || is_alone {
            return;
        }
        let Some(relay) = relay(&packet, self.links.len(), rng) else {
            return;
        };
        let target = match packet.recipient {
            Some(peer) if !packet.is_broadcast() => Target::Peer {
                peer,
                except: Some(link),
            },
            _ => Target::Everybody { except: Some(link) },
        };
        let mut packet = packet;
        packet.ttl = relay.ttl;
        self.delay(now + relay.delay, packet, target, Some(key));
    }

    /// Looks into a packet, if it is for here; `false` if it is refused.
    fn process(
        &mut self,
        packet: &Packet,
        arrival: Arrival,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> bool {
        if !packet.is_broadcast() && packet.recipient != Some(self.id) {
            return true;
        }
        match packet.kind {
            PacketType::ANNOUNCE => self.handle_announce(packet, arrival, now, rng),
            PacketType::MESSAGE => self.handle_message(packet, arrival),
            PacketType::LEAVE => self.handle_leave(packet),
            PacketType::HANDSHAKE => self.handle_handshake(packet, arrival, now, rng),
            PacketType::ENCRYPTED => self.handle_encrypted(packet, arrival, now, rng),
            PacketType::FRAGMENT => self.handle_fragment(packet, arrival, now, rng),
            PacketType::FILE => match File::decode(packet.payload()) {
                Ok(file) => {
                    self.emit(Event::File {
                        from: packet.sender,
                        private: false,
                        file,
                    });
                    true
                }
                Err(_) => self.refuse_payload(),
            },
            PacketType::VOICE => match VoiceFrame::decode(packet.payload()) {
                Ok(frame) => {
                    self.emit(Event::Voice {
                        from: packet.sender,
                        private: false,
                        frame,
                    });
                    true
                }
                Err(_) => self.refuse_payload(),
            },
            PacketType::PREKEYS => self.handle_prekeys(packet),
            PacketType::GROUP => self.handle_group(packet, arrival, now, rng),
            PacketType::COURIER => self.handle_envelope(packet, arrival, now, rng),
            _ => true,
        }
    }

    pub(super) const fn refuse_payload(&mut self) -> bool {
        self.counters.bad_payload += 1;
        false
    }

    pub(super) fn via(&self, link: LinkId) -> Option<PeerId> {
        self.links.get(&link)?.peer()
    }

    fn handle_announce(
        &mut self,
        packet: &Packet,
        arrival: Arrival,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> bool {
        let Ok(announce) = Announce::decode(packet.payload()) else {
            return self.refuse_payload();
        };
        let peer = packet.sender;
        // Old announces that neighbours give again say who was there, not who is.
        let is_fresh = !packet.answer;
        if announce.noise_key.peer_id() != peer {
            self.counters.wrong_id += 1;
            return false;
        }
        let known = self.peers.get(&peer);
        if known.is_some_and(|known| known.announce.verify_key != announce.verify_key) {
            self.counters.changed_key += 1;
            return false;
        }
        let is_direct = is_fresh && packet.ttl == TTL_MAX && !arrival.is_whole_again;
        if is_direct && !self.is_on_air(announce.noise_key, arrival) {
            self.counters.wrong_id += 1;
            return false;
        }
        let (joined, changed) = match known {
            Some(known) if known.timestamp > packet.timestamp => (false, false),
            Some(known) => (!known.is_reachable, known.announce != announce),
            None => (true, false),
        };
        let is_newest = known.is_none_or(|known| known.timestamp <= packet.timestamp);
        if is_newest {
            self.keep_peer(peer, announce, packet.timestamp, now);
        }
        if is_fresh && let Some(known) = self.peers.get_mut(&peer) {
            known.heard = now;
            known.is_reachable = true;
        }
        if joined && is_fresh {
            self.emit(Event::PeerJoined { peer });
        } else if changed {
            self.emit(Event::PeerChanged { peer });
        }
        if is_direct {
            if let Some(link) = self.links.get_mut(&arrival.link) {
                link.announced = Some(peer);
            }
            self.ask_soon(arrival.link, now);
        }
        self.read_unverified(peer, now, rng);
        if is_fresh {
            self.carry_on(peer, is_direct, now, rng);
            if is_direct {
                self.tell_courier(peer, arrival.link, now, rng);
            }
            if joined {
                self.attempt_all(peer, now, rng);
            }
        }
        true
    }

    /// An announce that came over another link first shows who is behind this one too. It was verified then: no
    /// other is ever seen.
    fn announced_again(&mut self, packet: &Packet, arrival: Arrival) {
        let is_direct = packet.ttl == TTL_MAX && !packet.answer && !arrival.is_whole_again;
        if packet.kind == PacketType::ANNOUNCE
            && is_direct
            && let Some(key) = self.noise_key(packet.sender)
            && self.is_on_air(key, arrival)
            && let Some(link) = self.links.get_mut(&arrival.link)
        {
            link.announced = Some(packet.sender);
        }
    }

    /// Whether what came over a link was sent by the peer of this key, as far as that shows: in a fog it does.
    fn is_on_air(&self, key: NoiseKey, arrival: Arrival) -> bool {
        let Some(fog) = &self.fog else {
            return true;
        };
        arrival
            .air
            .is_some_and(|(id, unix)| id == fog.id_of(&key, unix))
    }

    fn noise_key(&self, peer: PeerId) -> Option<NoiseKey> {
        Some(self.peers.get(&peer)?.announce.noise_key)
    }

    fn keep_peer(&mut self, id: PeerId, announce: Announce, timestamp: UnixMillis, now: Instant) {
        if let Some(known) = self.peers.get_mut(&id) {
            known.announce = announce;
            known.timestamp = timestamp;
            return;
        }
        if self.peers.len() >= self.config.peers_max.max(1) {
            let waits = |id: &PeerId| self.outbox.values().any(|message| message.peer == *id);
            let oldest = self
                .peers
                .iter()
                .min_by_key(|(id, peer)| {
                    (peer.is_favourite, waits(id), peer.is_reachable, peer.heard)
                })
                .map(|(id, _)| *id);
            if let Some(oldest) = oldest {
                self.peers.remove(&oldest);
                self.sessions.end(oldest);
            }
        }
        let peer = Peer {
            announce,
            timestamp,
            heard: now,
            is_reachable: false,
            is_favourite: false,
            bundle: None,
            renew_after: now,
            is_wide: false,
            route_after: now,
            waiting: std::collections::VecDeque::new(),
            ratchet_since: None,
            ratchet_after: now,
        };
        self.peers.insert(id, peer);
    }

    /// A peer announced itself: what came from it before can be verified now.
    fn read_unverified(&mut self, peer: PeerId, now: Instant, rng: &mut impl CryptoRng) {
        let mut rest = std::collections::VecDeque::new();
        let mut ready = Vec::new();
        for (link, packet) in std::mem::take(&mut self.unverified) {
            if packet.sender == peer {
                ready.push((link, packet));
            } else {
                rest.push_back((link, packet));
            }
        }
        self.unverified = rest;
        for (link, packet) in ready {
            if !matches!(self.check_signature(&packet), Signed::Right) {
                self.counters.mis_signed += 1;
                continue;
            }
            let arrival = Arrival {
                link,
                is_whole_again: true,
                hops: hops(&packet),
                is_routed: packet.route().is_some(),
                air: None,
            };
            if self.process(&packet, arrival, now, rng) {
                self.store.insert(&packet, self.unix(now));
            }
        }
    }

    fn handle_message(&mut self, packet: &Packet, arrival: Arrival) -> bool {
        let Ok(text) = std::str::from_utf8(packet.payload()) else {
            return self.refuse_payload();
        };
        if text.is_empty() || text.len() > super::PUBLIC_BYTES_MAX {
            return self.refuse_payload();
        }
        let event = Event::Public {
            id: MessageId::of_public(packet.sender, packet.timestamp, text),
            from: packet.sender,
            text: text.to_owned(),
            timestamp: packet.timestamp,
            via: self.via(arrival.link),
            hops: arrival.hops,
        };
        self.emit(event);
        true
    }

    fn handle_leave(&mut self, packet: &Packet) -> bool {
        let peer = packet.sender;
        self.store.forget(peer);
        if let Some(known) = self.peers.get_mut(&peer)
            && std::mem::replace(&mut known.is_reachable, false)
        {
            self.emit(Event::PeerLeft { peer });
        }
        true
    }

    fn handle_handshake(
        &mut self,
        packet: &Packet,
        arrival: Arrival,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> bool {
        if packet.recipient != Some(self.id) {
            return self.refuse_payload();
        }
        let peer = packet.sender;
        // It may have tried a route first. What answers it does not.
        if packet.route().is_none() && packet.payload().len() == HANDSHAKE_BYTES[0] {
            self.mistrust_routes(peer, now);
        }
        let step = self.sessions.handshake(
            &self.identity,
            peer,
            arrival.link.0,
            packet.payload(),
            now,
            rng,
        );
        match step {
            Ok(Step::Ignored) => {}
            Ok(Step::Reply(reply)) => {
                self.send_directed(PacketType::HANDSHAKE, peer, reply, None, now, rng);
            }
            Ok(Step::Established { key, reply, early }) => {
                if let Some(reply) = reply {
                    self.send_directed(PacketType::HANDSHAKE, peer, reply, None, now, rng);
                }
                // The time to live is signed by nobody: this says where to send, not whom to trust.
                if packet.ttl == TTL_MAX
                    && let Some(link) = self.links.get_mut(&arrival.link)
                {
                    link.proved = Some(peer);
                }
                self.emit(Event::SessionReady { peer, key });
                self.greet(peer, now, rng);
                for sealed in early {
                    self.open(peer, &sealed, arrival, now, rng);
                }
            }
            Err(refused) => {
                let counter = match refused {
                    Refused::TooMany => &mut self.counters.handshakes_limited,
                    Refused::WrongPeer => &mut self.counters.wrong_id,
                    Refused::Noise(_) | Refused::Unexpected => &mut self.counters.unopened,
                };
                *counter += 1;
                return false;
            }
        }
        true
    }

    fn handle_encrypted(
        &mut self,
        packet: &Packet,
        arrival: Arrival,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> bool {
        if packet.recipient != Some(self.id) {
            return self.refuse_payload();
        }
        self.open(packet.sender, packet.payload(), arrival, now, rng)
    }

    fn open(
        &mut self,
        peer: PeerId,
        sealed: &[u8],
        arrival: Arrival,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> bool {
        match self.sessions.open(peer, sealed) {
            Ok(plaintext) => {
                let Ok(content) = Content::decode(&plaintext) else {
                    return self.refuse_payload();
                };
                match content {
                    Content::Ratchet(message) => {
                        self.handle_ratchet(peer, message, arrival, now, rng);
                    }
                    _ => self.handle_content(peer, content, Protection::Noise, arrival, now, rng),
                }
                true
            }
            Err(Unopened::Early) => true,
            Err(Unopened::Noise(NoiseError::Replayed { .. })) => {
                self.counters.replayed += 1;
                false
            }
            Err(Unopened::Noise(_)) => {
                self.counters.unopened += 1;
                // The end of a handshake may have been lost, so that the peer uses another session.
                self.renew_session(peer, now, rng);
                false
            }
            Err(Unopened::NoSession) => {
                self.counters.without_session += 1;
                // The peer believes there is one: this side has forgotten it.
                self.renew_session(peer, now, rng);
                false
            }
        }
    }

    pub(super) fn handle_content(
        &mut self,
        from: PeerId,
        content: Content,
        protection: Protection,
        arrival: Arrival,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) {
        match content {
            Content::Private { id, text } => {
                let new = self.received.insert((from, id.clone()), now);
                if new {
                    let event = Event::Private {
                        id: id.clone(),
                        from,
                        text,
                        via: self.via(arrival.link),
                        hops: arrival.hops,
                        protection,
                    };
                    self.emit(event);
                } else {
                    self.counters.duplicated += 1;
                    self.mistrust_routes(from, now);
                }
                // Also when it comes again: the receipt may be what was lost.
                self.confirm(from, id, arrival, now, rng);
            }
            Content::Delivered(id) => self.handle_receipt(from, &id, DeliveryState::Delivered),
            Content::Read(id) => self.handle_receipt(from, &id, DeliveryState::Read),
            Content::PeerState(state) => self.handle_peer_state(from, state, now, rng),
            Content::GroupInvite(state) | Content::GroupUpdate(state) => {
                self.handle_group_state(from, state);
            }
            Content::File(file) => self.emit(Event::File {
                from,
                private: true,
                file,
            }),
            Content::Voice(frame) => self.emit(Event::Voice {
                from,
                private: true,
                frame,
            }),
            Content::Call(signal) => self.emit(Event::Call { from, signal }),
            Content::Chunk(message) => self.emit(Event::Chunk { from, message }),
            Content::Couriers(news) => self.handle_courier_news(from, news, now, rng),
            // Where it comes from is known: a session, or an envelope. Inside a ratchet is none.
            Content::Ratchet(_) | Content::LargeGroup(_) => self.counters.bad_payload += 1,
            Content::Other { kind, body } => self.emit(Event::Other { from, kind, body }),
        }
    }

    fn confirm(
        &mut self,
        peer: PeerId,
        id: MessageId,
        arrival: Arrival,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) {
        let content = Content::Delivered(id);
        let is_here = self
            .peers
            .get(&peer)
            .is_some_and(|known| known.is_reachable);
        if !is_here && let Some(key) = self.key_of(peer) {
            self.send_receipt(key, &content, now, rng);
            return;
        }
        let receipt = content.encode().expect("it was read, so it can be written");
        if let Some(sealed) = self.seal(peer, &receipt, now) {
            // It answers the way that the message came: a route may have been tried before.
            let target = if arrival.is_routed || self.link_of(peer).is_some() {
                Target::Peer { peer, except: None }
            } else {
                Target::AllLinks
            };
            let kind = PacketType::ENCRYPTED;
            self.send_towards(target, kind, peer, sealed, None, now, rng);
        } else if let Some(known) = self.peers.get_mut(&peer)
            && known.waiting.len() < super::WAITING_MAX
        {
            known.waiting.push_back(receipt);
            self.start_session(peer, now, rng);
        }
    }

    fn handle_receipt(&mut self, from: PeerId, id: &MessageId, state: DeliveryState) {
        let number = self
            .outbox
            .iter()
            .find(|(_, message)| message.peer == from && message.id == *id)
            .map(|(number, _)| *number);
        if let Some(number) = number {
            self.advance(number, state);
            self.forget_outgoing(number);
            // The user may see it long after it came, when nothing waits any more.
            if state == DeliveryState::Delivered {
                self.delivered.insert((from, id.clone()), Instant::ZERO);
            }
        } else if state == DeliveryState::Read
            && self.delivered.contains(&(from, id.clone()), Instant::ZERO)
        {
            self.emit(Event::Delivery {
                id: id.clone(),
                state,
            });
        }
    }

    fn handle_peer_state(
        &mut self,
        from: PeerId,
        state: PeerState,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) {
        let Some(known) = self.peers.get_mut(&from) else {
            return;
        };
        if known.announce.verify_key != state.verify_key {
            self.counters.changed_key += 1;
            return;
        }
        if known.announce.capabilities != Some(state.capabilities) {
            known.announce.capabilities = Some(state.capabilities);
            self.emit(Event::PeerChanged { peer: from });
        }
        self.begin_ratchet(from, now, rng);
    }

    fn handle_group_state(&mut self, from: PeerId, state: GroupState) {
        let own = self.identity.noise_key().fingerprint();
        let newer = self
            .groups
            .get(&state.id)
            .is_none_or(|known| known.epoch < state.epoch && known.creator == state.creator);
        // Whose session it came over is proved, and only the creator says what a group is.
        if state.creator.peer_id() != from || state.creator == own || !newer {
            self.counters.groups_refused += 1;
            return;
        }
        let (group, creator) = (state.id, state.creator);
        if state.role(&own).is_none() {
            self.groups.remove(&group);
        } else if self.groups.len() < super::GROUPS_MAX || self.groups.contains_key(&group) {
            self.groups.insert(group, state);
        } else {
            self.counters.groups_refused += 1;
            return;
        }
        self.emit(Event::Group { group, creator });
    }

    fn handle_group(
        &mut self,
        packet: &Packet,
        arrival: Arrival,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> bool {
        let Ok(message) = GroupMessage::decode(packet.payload()) else {
            return self.refuse_payload();
        };
        let came = (self.via(arrival.link), arrival.hops);
        if self.handle_large_group_message(packet.sender, &message, came, now, rng) {
            return true;
        }
        // Groups of others are passed on.
        let Some(group) = self.groups.get(&message.group) else {
            return true;
        };
        match message.open(group) {
            Ok((text, member)) => {
                let from = member.fingerprint.peer_id();
                if !self.received_of_groups.insert((from, text.id.clone()), now) {
                    self.counters.duplicated += 1;
                    return true;
                }
                let event = Event::GroupMessage {
                    group: message.group,
                    id: text.id,
                    from: member.fingerprint,
                    text: text.text,
                    timestamp: text.timestamp,
                    via: self.via(arrival.link),
                    hops: arrival.hops,
                    protection: Protection::GroupKey,
                };
                self.emit(event);
            }
            // Somebody else may be in another epoch: it is passed on all the same.
            Err(_) => self.counters.groups_refused += 1,
        }
        true
    }

    fn handle_prekeys(&mut self, packet: &Packet) -> bool {
        let Ok(bundle) = PrekeyBundle::decode(packet.payload()) else {
            return self.refuse_payload();
        };
        let Some(known) = self.peers.get_mut(&packet.sender) else {
            return true;
        };
        let key = known.announce.verify_key;
        if bundle.owner != known.announce.noise_key
            || !key.verify(&bundle.preimage(), &bundle.signature)
        {
            self.counters.mis_signed += 1;
            return false;
        }
        let newer = known
            .bundle
            .as_ref()
            .is_none_or(|held| held.generated < bundle.generated);
        if newer {
            known.bundle = Some(bundle);
        }
        true
    }

    fn handle_envelope(
        &mut self,
        packet: &Packet,
        arrival: Arrival,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> bool {
        let Ok(envelope) = Envelope::decode(packet.payload()) else {
            return self.refuse_payload();
        };
        if packet.recipient != Some(self.id) {
            return self.refuse_payload();
        }
        let unix = self.unix(now);
        let id = envelope.digest();
        if envelope.tag.is_for(self.identity.noise_key(), unix) {
            let opened = match envelope.prekey {
                Some(_) => self.prekeys.open(&envelope, unix),
                None => envelope.open(&self.identity),
            };
            return match opened {
                Ok((sender, plaintext)) => {
                    let taken = self.handle_carried(sender, &plaintext, arrival, now, rng);
                    if taken {
                        self.bag.remember(id);
                    }
                    taken
                }
                Err(_) => {
                    self.counters.unopened += 1;
                    false
                }
            };
        }
        if self.is_own_envelope(&id) {
            return true;
        }
        let favourite = self
            .peers
            .get(&packet.sender)
            .is_some_and(|peer| peer.is_favourite);
        let standing = if favourite {
            Standing::Favourite
        } else {
            Standing::Stranger
        };
        match self.bag.deposit(envelope, packet.sender, standing, unix) {
            Deposit::Accepted | Deposit::Known => true,
            Deposit::Full | Deposit::Expired => {
                self.counters.envelopes_refused += 1;
                false
            }
        }
    }

    /// What came out of an envelope. Only what needs no session is taken.
    fn handle_carried(
        &mut self,
        sender: NoiseKey,
        plaintext: &[u8],
        arrival: Arrival,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> bool {
        let (content, protection) = match Content::decode(plaintext) {
            Ok(Content::Ratchet(RatchetMessage::Sealed { is_first, bytes }))
                if self.config.capabilities.has(Capabilities::RATCHET) =>
            {
                match self.open_ratcheted(sender, is_first, &bytes) {
                    Ok((Some(content), _)) => (content, Protection::Ratchet),
                    Ok((None, _)) => return true,
                    Err(_) => return false,
                }
            }
            Ok(content) => (content, Protection::Noise),
            Err(_) => return self.refuse_payload(),
        };
        match content {
            Content::Private { .. } | Content::Delivered(_) | Content::Read(_) => {
                if !self.carried_from.contains(&sender) {
                    if self.carried_from.len() >= super::RECEIPTS_MAX {
                        self.carried_from.pop_front();
                    }
                    self.carried_from.push_back(sender);
                }
                let arrival = Arrival { hops: 0, ..arrival };
                self.handle_content(sender.peer_id(), content, protection, arrival, now, rng);
                true
            }
            _ => self.refuse_payload(),
        }
    }

    fn handle_fragment(
        &mut self,
        packet: &Packet,
        arrival: Arrival,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> bool {
        let inserted = Fragment::decode(packet.payload()).and_then(|fragment| {
            let source = arrival.link.0;
            self.reassembler
                .insert(packet.sender, &fragment, source, now)
        });
        let bytes = match inserted {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return true,
            Err(FragmentError::TooLong { .. }) => {
                self.counters.oversized += 1;
                return false;
            }
            Err(_) => {
                self.counters.bad_fragments += 1;
                return false;
            }
        };
        match Packet::decode(&bytes) {
            Ok((whole, _))
                if whole.sender == packet.sender && whole.kind != PacketType::FRAGMENT =>
            {
                let arrival = Arrival {
                    is_whole_again: true,
                    ..arrival
                };
                self.handle_packet(whole, arrival, now, rng);
            }
            Ok(_) => self.counters.bad_fragments += 1,
            Err(error) => self.count_packet_error(error),
        }
        true
    }

    fn handle_what_others_have(&mut self, request: &SyncRequest, link: LinkId) {
        let wanted = request.wanted();
        let asked: Vec<_> = self
            .own
            .iter()
            .filter(|own| own.types.is_some_and(|types| wanted.has(types)))
            .map(|own| (own.sync_id, own.key))
            .collect();
        let missing: Vec<_> = request
            .set
            .missing(asked.iter().map(|(id, key)| (id, *key)))
            .collect();
        for (_, key) in asked {
            if !missing.contains(&key) {
                self.others_have(key, link, Passing::Has);
            }
        }
    }

    fn handle_sync(
        &mut self,
        packet: &Packet,
        link: LinkId,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) {
        let Ok(request) = SyncRequest::decode(packet.payload()) else {
            self.counters.bad_payload += 1;
            return;
        };
        let Some(up) = self.links.get_mut(&link) else {
            return;
        };
        while let Some(at) = up.answered.front()
            && now.duration_since(*at) >= ANSWERS_WINDOW
        {
            up.answered.pop_front();
        }
        if up.answered.len() >= ANSWERS_MAX {
            self.counters.sync_limited += 1;
            return;
        }
        up.answered.push_back(now);
        self.handle_what_others_have(&request, link);
        let Some(up) = self.links.get(&link) else {
            return;
        };
        let frame_bytes_max = self.room(up);
        let unix = self.unix(now);
        let asker = up.peer();
        let answers = self.store.answer(&request, asker, ANSWER_PACKETS_MAX, unix);
        for answer in answers {
            // What went in fragments is held as fragments.
            let frame = self.frame_of(&answer);
            if frame.len() <= frame_bytes_max {
                self.push_frame(link, frame, now, rng);
            }
        }
    }
}

/// Hops that a packet seems to have taken.
const fn hops(packet: &Packet) -> u8 {
    TTL_MAX.saturating_sub(packet.ttl) + 1
}

/// What a packet's signature is worth.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Signed {
    /// It verifies.
    Right,
    /// It does not, or there is none.
    Wrong,
    /// Nobody here knows the sender's key yet.
    Unknown,
    /// Its type takes none, or this peer is not who has to look.
    Needless,
}
