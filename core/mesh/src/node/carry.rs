//! What is carried for others, and what others are given to carry.

use std::collections::BTreeSet;
use std::time::Duration;

use fogcompute_base::{CryptoRng, Instant};

use super::{DeliveryState, Event, Node, Passing, RECEIPTS_MAX, Receipt, WAITING_MAX};
use crate::announce::Capabilities;
use crate::courier::{
    CARRIED_MAX, CourierNews, CourierStrategy, Envelope, EnvelopeId, Knowledge, Predictions,
    SHORT_ID_BYTES, Told,
};
use crate::identity::NoiseKey;
use crate::link::{Link, LinkId};
use crate::packet::{Packet, PacketType, PeerId};
use crate::payload::Content;

/// To how many others a sender gives an envelope.
const COURIERS: usize = 3;
/// To how many in an epidemic.
const COURIERS_EPIDEMIC: usize = 64;
/// How often a neighbour is told what couriers tell each other.
const NEWS_INTERVAL: Duration = Duration::from_secs(600);
/// How long what one has told is believed.
const NEWS_LIFETIME: Duration = Duration::from_secs(2 * 600);
/// Couriers whose news are kept.
const NEWS_MAX: usize = 64;

impl Node {
    /// What this peer says it can do.
    pub(super) const fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.config.capabilities;
        if self.config.courier.strategy.asks() {
            capabilities = capabilities.with(Capabilities::COURIERS);
        }
        if self.config.relays && self.config.routes {
            capabilities = capabilities.with(Capabilities::ROUTES);
        }
        capabilities
    }

    /// Gives a peer that announced itself what is carried for it, and a courier its part.
    pub(super) fn carry_on(
        &mut self,
        peer: PeerId,
        is_direct: bool,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) {
        let unix = self.unix(now);
        let Some(key) = self.peers.get(&peer).map(|known| known.announce.noise_key) else {
            return;
        };
        let envelopes = if !is_direct {
            self.bag.send_remote(key, now, unix)
        } else if self.is_asked_first(peer, now) {
            Vec::new()
        } else {
            self.bag.hand_over(key, unix)
        };
        for envelope in envelopes {
            self.send_envelope(peer, &envelope, now, rng);
        }
        if is_direct {
            self.share_with(peer, now, rng);
            self.carry_receipts(now, rng);
        }
    }

    /// Whether a neighbour says what it wants of what is for it. One that was told what is carried here, and an
    /// announce later has said nothing, gets it nevertheless.
    fn is_asked_first(&self, peer: PeerId, now: Instant) -> bool {
        let link = self.link_of(peer).and_then(|link| self.links.get(&link));
        let is_told = link.is_some_and(|link| link.news_due > now);
        self.tells(peer) && (self.told_by(peer, now).is_some() || !is_told)
    }

    /// What a neighbour has told, if it is to be believed still.
    fn told_by(&self, peer: PeerId, now: Instant) -> Option<&Told> {
        let (told, at) = self.told.get(&peer)?;
        (now.duration_since(*at) < NEWS_LIFETIME).then_some(told)
    }

    /// Gives a courier near its part of what is carried; one that can say what it wants is offered it.
    fn share_with(&mut self, peer: PeerId, now: Instant, rng: &mut impl CryptoRng) {
        if self.tells(peer) {
            let news = CourierNews {
                offered: self.offers_to(peer, now),
                ..CourierNews::default()
            };
            self.send_news(peer, news, now, rng);
            return;
        }
        let unix = self.unix(now);
        self.recognise(now);
        let envelopes = self.bag.share(peer, self.predictions.as_ref(), None, unix);
        for envelope in envelopes {
            self.send_envelope(peer, &envelope, now, rng);
        }
    }

    /// Finds out for whom envelopes are, among those whom this peer meets.
    fn recognise(&mut self, now: Instant) {
        if let Some(predictions) = &mut self.predictions {
            predictions.age(now);
            let keys: Vec<_> = predictions.iter().map(|(key, _)| key).collect();
            self.bag.recognise(&keys);
        }
    }

    /// What a neighbour that has told what it has is offered now.
    fn offers_to(&mut self, peer: PeerId, now: Instant) -> Vec<[u8; SHORT_ID_BYTES]> {
        if self.told_by(peer, now).is_none() {
            return Vec::new();
        }
        self.recognise(now);
        let unix = self.unix(now);
        let key = self.peers.get(&peer).map(|known| known.announce.noise_key);
        let (Some(key), Some((told, _))) = (key, self.told.get(&peer)) else {
            return Vec::new();
        };
        let predictions = self.predictions.as_ref();
        let ids = self.bag.offers(peer, key, predictions, told, unix);
        ids.iter()
            .map(EnvelopeId::short)
            .filter(|id| self.offered.insert((peer, *id), now))
            .take(CARRIED_MAX)
            .collect()
    }

    fn send_news(
        &mut self,
        peer: PeerId,
        news: CourierNews,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) {
        if !news.is_empty() {
            // What is not said now is said at the next announce.
            let _ = self.send_content(peer, &Content::Couriers(news), now, rng);
        }
    }

    /// Envelopes of this peer's own.
    fn own_envelopes(&self) -> impl Iterator<Item = EnvelopeId> {
        let messages = self.outbox.values().map(|message| &message.envelope);
        let receipts = self.receipts.iter().map(|receipt| &receipt.envelope);
        messages.chain(receipts).flatten().map(Envelope::digest)
    }

    /// Whether an envelope was made here.
    pub(super) fn is_own_envelope(&self, id: &EnvelopeId) -> bool {
        self.own_envelopes().any(|own| own == *id)
    }

    /// Whether a peer tells what couriers of ours tell each other, and is asked.
    fn tells(&self, peer: PeerId) -> bool {
        self.config.courier.strategy.asks()
            && self.peers.get(&peer).is_some_and(|known| {
                let capabilities = known.announce.capabilities.unwrap_or_default();
                capabilities.has(Capabilities::COURIERS)
            })
    }

    /// A neighbour announced itself: tells it what couriers tell each other, when it is time.
    pub(super) fn tell_courier(
        &mut self,
        peer: PeerId,
        link: LinkId,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) {
        if !self.tells(peer) || self.links.get(&link).is_none_or(|link| link.news_due > now) {
            return;
        }
        if let (Some(predictions), Some(known)) = (&mut self.predictions, self.peers.get(&peer)) {
            predictions.meet(known.announce.noise_key, now);
        }
        let own = self.own_envelopes().map(|id| id.short());
        let carried = own.chain(self.bag.short_ids());
        let carried = carried.take(CARRIED_MAX).collect();
        let predictions = self.predictions.as_ref();
        let news = Content::Couriers(CourierNews {
            predictions: predictions.map(Predictions::told).unwrap_or_default(),
            carried,
            ..CourierNews::default()
        });
        if self.send_content(peer, &news, now, rng).is_ok()
            && let Some(link) = self.links.get_mut(&link)
        {
            link.news_due = now + NEWS_INTERVAL;
        }
    }

    /// A courier has told what it knows and has.
    pub(super) fn handle_courier_news(
        &mut self,
        from: PeerId,
        news: CourierNews,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) {
        // Who is far carries nothing from here.
        if !self.tells(from) || self.link_of(from).is_none() {
            return;
        }
        let own = self.identity.noise_key();
        let Some(known) = self.peers.get(&from) else {
            return;
        };
        let key = known.announce.noise_key;
        if let Some(predictions) = &mut self.predictions
            && !news.predictions.is_empty()
        {
            let told = news.predictions.iter().map(|(key, chance)| (key, *chance));
            predictions.learn(key, own, told, now);
        }
        if self.told.len() >= NEWS_MAX && !self.told.contains_key(&from) {
            let oldest = self.told.iter().min_by_key(|(_, (_, at))| *at);
            if let Some(oldest) = oldest.map(|(peer, _)| *peer) {
                self.told.remove(&oldest);
            }
        }
        let unix = self.unix(now);
        let told = self.told.entry(from);
        let (told, at) = told.or_insert_with(|| (Told::default(), now));
        told.learn(&news);
        *at = now;
        let wanted = news.wanted.into_iter().collect();
        let predictions = self.predictions.as_ref();
        let given = self.bag.give(from, key, &wanted, predictions, told, unix);
        for envelope in given {
            self.send_envelope(from, &envelope, now, rng);
        }
        let mut answer = self.answer_to(&news.offered, now);
        answer.offered = self.offers_to(from, now);
        self.send_news(from, answer, now, rng);
    }

    /// Of what was offered, what this peer has, and what it wants and nobody else was told lately that it does.
    fn answer_to(&mut self, offered: &[[u8; SHORT_ID_BYTES]], now: Instant) -> CourierNews {
        let mut answer = CourierNews::default();
        if offered.is_empty() {
            return answer;
        }
        let own = self.own_envelopes().map(|id| id.short());
        let has: BTreeSet<_> = own.chain(self.bag.short_ids()).collect();
        for id in offered {
            if has.contains(id) {
                answer.carried.push(*id);
            } else if self.wanted.insert(*id, now) {
                answer.wanted.push(*id);
            }
        }
        answer
    }

    /// What a neighbour says about the receiver of a message of this peer; `None` if it has it, or has not said yet.
    fn knowledge(
        &self,
        courier: PeerId,
        receiver: &NoiseKey,
        envelope: Option<&Envelope>,
    ) -> Option<Knowledge> {
        if !self.tells(courier) {
            return Some(Knowledge::Unsaid);
        }
        let (told, _) = self.told.get(&courier)?;
        if envelope.is_some_and(|envelope| told.has(&envelope.digest())) {
            return None;
        }
        let says = told.predictions.get(receiver).copied();
        Some(Knowledge::Says(says.unwrap_or_default()))
    }

    /// Gives a message for somebody who is not there to neighbours, to carry it.
    pub(super) fn deposit(
        &mut self,
        number: u64,
        plaintext: &[u8],
        now: Instant,
        rng: &mut impl CryptoRng,
    ) {
        let unix = self.unix(now);
        let Some(message) = self.outbox.get(&number) else {
            return;
        };
        let Some(recipient) = self.peers.get(&message.peer) else {
            return;
        };
        let receiver = recipient.announce.noise_key;
        let couriers = self.couriers_for(
            message.peer,
            &receiver,
            &message.couriers,
            message.envelope.as_ref(),
        );
        if couriers.is_empty() {
            return;
        }
        let peer = message.peer;
        let known = message.envelope.clone();
        let known = known.filter(|known| known.is_alive(unix));
        let Some(envelope) =
            known.or_else(|| self.seal_to_carry(peer, receiver, plaintext, now, rng))
        else {
            return;
        };
        let Some(message) = self.outbox.get_mut(&number) else {
            return;
        };
        let id = message.id.clone();
        message.envelope = Some(envelope.clone());
        message.couriers.extend(&couriers);
        for courier in couriers {
            self.send_envelope(courier, &envelope, now, rng);
            let (id, how) = (id.clone(), Passing::Carries);
            self.emit(Event::Passed {
                id,
                by: courier,
                how,
            });
        }
        self.advance(number, DeliveryState::Relayed);
    }

    /// Neighbours that are given something to carry, beside those that were.
    fn couriers_for(
        &self,
        to: PeerId,
        receiver: &NoiseKey,
        had: &BTreeSet<PeerId>,
        envelope: Option<&Envelope>,
    ) -> BTreeSet<PeerId> {
        let strategy = self.config.courier.strategy;
        let predictions = self.predictions.as_ref();
        let own = predictions.map(|all| all.of(receiver)).unwrap_or_default();
        let couriers_max = match strategy {
            CourierStrategy::Epidemic => COURIERS_EPIDEMIC,
            _ => COURIERS,
        };
        self.links
            .values()
            .filter_map(Link::peer)
            .filter(|peer| *peer != to && !had.contains(peer))
            .filter(|peer| {
                let knowledge = self.knowledge(*peer, receiver, envelope);
                knowledge.is_some_and(|knowledge| strategy.starts(own, knowledge))
            })
            .take(couriers_max.saturating_sub(had.len()))
            .collect()
    }

    /// Seals something for who is not there, under a key of a ratchet if there is one. Every copy is the same, so one
    /// key is used for all.
    fn seal_to_carry(
        &mut self,
        peer: PeerId,
        receiver: NoiseKey,
        plaintext: &[u8],
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Option<Envelope> {
        let ratcheted = self.ratcheted_to_carry(peer, plaintext);
        let plaintext = ratcheted.as_deref().unwrap_or(plaintext);
        self.seal_envelope(receiver, plaintext, now, rng)
    }

    /// Seals something for who is not there: to one of its one-time keys, if there is one. `None` if it announced a
    /// key of low order.
    fn seal_envelope(
        &self,
        receiver: NoiseKey,
        plaintext: &[u8],
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Option<Envelope> {
        let unix = self.unix(now);
        let known = self.peers.get(&receiver.peer_id());
        let prekeys = known
            .and_then(|known| known.bundle.as_ref())
            .filter(|bundle| !bundle.keys.is_empty());
        let sealed = match prekeys {
            Some(bundle) => {
                let count = bundle.keys.len() as u64;
                let at = usize::try_from(rng.next_u64() % count).unwrap_or(0);
                let prekey = &bundle.keys[at];
                Envelope::seal_to_prekey(&self.identity, receiver, prekey, plaintext, unix, rng)
            }
            None => Envelope::seal(&self.identity, receiver, plaintext, unix, rng),
        };
        let mut envelope = sealed.ok()?;
        envelope.copies = self.config.courier.strategy.copies();
        Some(envelope)
    }

    /// The key of a peer that announced itself, or from which somebody carried something.
    pub(super) fn key_of(&self, peer: PeerId) -> Option<NoiseKey> {
        let known = self.peers.get(&peer).map(|known| known.announce.noise_key);
        let carried = || self.carried_from.iter().find(|key| key.peer_id() == peer);
        known.or_else(|| carried().copied())
    }

    /// Says to a peer that is not there that its message came, or was seen: over neighbours, now or when there are
    /// some.
    pub(super) fn send_receipt(
        &mut self,
        key: NoiseKey,
        content: &Content,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) {
        let plaintext = content.encode().expect("it was read, so it can be written");
        let peer = key.peer_id();
        let is_same = |other: &Receipt| other.peer == peer && other.plaintext == plaintext;
        if !self.receipts.iter().any(is_same) {
            if self.receipts.len() >= RECEIPTS_MAX {
                let told = self.receipts.iter().position(|receipt| receipt.is_told);
                self.receipts.remove(told.unwrap_or(0));
            }
            self.receipts.push_back(Receipt {
                peer,
                key,
                plaintext,
                created: self.unix(now),
                couriers: BTreeSet::new(),
                envelope: None,
                is_told: false,
            });
        }
        self.carry_receipts(now, rng);
    }

    /// Gives neighbours the receipts that they are to carry. One that enough of them had is forgotten when it is as
    /// old as an envelope gets: until then its message may come again.
    pub(super) fn carry_receipts(&mut self, now: Instant, rng: &mut impl CryptoRng) {
        let unix = self.unix(now);
        let lifetime = self.config.outbox_lifetime;
        self.receipts.retain(|receipt| {
            Duration::from_millis(unix.0.saturating_sub(receipt.created.0)) <= lifetime
        });
        for at in 0..self.receipts.len() {
            let receipt = &self.receipts[at];
            if receipt.is_told {
                continue;
            }
            let (peer, key) = (receipt.peer, receipt.key);
            let envelope = receipt.envelope.as_ref();
            let couriers = self.couriers_for(peer, &key, &receipt.couriers, envelope);
            if couriers.is_empty() {
                continue;
            }
            let (known, plaintext) = (receipt.envelope.clone(), receipt.plaintext.clone());
            let sealed = known.or_else(|| self.seal_to_carry(peer, key, &plaintext, now, rng));
            let Some(envelope) = sealed else {
                continue;
            };
            let receipt = &mut self.receipts[at];
            receipt.envelope = Some(envelope.clone());
            receipt.couriers.extend(&couriers);
            for courier in couriers {
                self.send_envelope(courier, &envelope, now, rng);
            }
        }
    }

    /// A peer is there: it is told what neighbours were to carry to it.
    pub(super) fn send_waiting_receipts(
        &mut self,
        peer: PeerId,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) {
        let Some(known) = self.peers.get_mut(&peer) else {
            return;
        };
        let mut is_any = false;
        for receipt in &mut self.receipts {
            if receipt.peer == peer && !receipt.is_told && known.waiting.len() < WAITING_MAX {
                known.waiting.push_back(receipt.plaintext.clone());
                receipt.is_told = true;
                is_any = true;
            }
        }
        if is_any && self.sessions.is_established(peer) {
            self.flush(peer, now, rng);
        } else if is_any {
            self.start_session(peer, now, rng);
        }
    }

    pub(super) fn send_envelope(
        &mut self,
        to: PeerId,
        envelope: &Envelope,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) {
        let Ok(payload) = envelope.encode() else {
            return;
        };
        let Ok(packet) = Packet::new(PacketType::COURIER, self.id, self.unix(now), payload) else {
            return;
        };
        let mut packet = packet.to(to);
        self.choose_route(&mut packet, to, now);
        packet.sign(&self.identity);
        self.originate(&packet, None, now, rng);
    }
}
