//! What is carried for others, and what others are given to carry.

use std::collections::BTreeSet;
use std::time::Duration;

use fogcompute_base::{CryptoRng, Instant};

use super::{DeliveryState, Node};
use crate::announce::Capabilities;
use crate::courier::{CourierNews, CourierStrategy, Envelope, Knowledge, Predictions};
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
        if self.config.courier.strategy.asks() {
            self.config.capabilities.with(Capabilities::COURIERS)
        } else {
            self.config.capabilities
        }
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
        let envelopes = if is_direct {
            self.bag.hand_over(key, unix)
        } else {
            self.bag.send_remote(key, now, unix)
        };
        for envelope in envelopes {
            self.send_envelope(peer, &envelope, now, rng);
        }
        if is_direct {
            self.share_with(peer, now, rng);
        }
    }

    /// Gives a courier near its part of what is carried. One that can say what it has is waited for.
    fn share_with(&mut self, peer: PeerId, now: Instant, rng: &mut impl CryptoRng) {
        let unix = self.unix(now);
        let told = if self.tells(peer) {
            match self.told.get(&peer) {
                Some((news, at)) if now.duration_since(*at) < NEWS_LIFETIME => Some(news),
                _ => return,
            }
        } else {
            None
        };
        if let Some(predictions) = &mut self.predictions {
            predictions.age(now);
            let keys: Vec<_> = predictions.iter().map(|(key, _)| key).collect();
            self.bag.recognise(&keys);
        }
        let envelopes = self.bag.share(peer, self.predictions.as_ref(), told, unix);
        for envelope in envelopes {
            self.send_envelope(peer, &envelope, now, rng);
        }
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
        let mut carried = self.bag.short_ids();
        let own = self
            .outbox
            .values()
            .filter_map(|message| message.envelope.as_ref());
        carried.extend(own.map(|envelope| envelope.digest().short()));
        carried.truncate(crate::courier::CARRIED_MAX);
        let predictions = self.predictions.as_ref();
        let news = Content::Couriers(CourierNews {
            predictions: predictions.map(Predictions::told).unwrap_or_default(),
            carried,
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
        let key = self.peers.get(&from).map(|known| known.announce.noise_key);
        if let (Some(predictions), Some(key)) = (&mut self.predictions, key) {
            let told = news.predictions.iter().map(|(key, chance)| (key, *chance));
            predictions.learn(key, own, told, now);
        }
        if self.told.len() >= NEWS_MAX && !self.told.contains_key(&from) {
            let oldest = self.told.iter().min_by_key(|(_, (_, at))| *at);
            if let Some(oldest) = oldest.map(|(peer, _)| *peer) {
                self.told.remove(&oldest);
            }
        }
        self.told.insert(from, (news, now));
        self.share_with(from, now, rng);
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
        let (news, _) = self.told.get(&courier)?;
        if envelope.is_some_and(|envelope| news.has(&envelope.digest())) {
            return None;
        }
        let said = news.predictions.iter().find(|(key, _)| key == receiver);
        Some(Knowledge::Says(
            said.map(|(_, chance)| *chance).unwrap_or_default(),
        ))
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
        let strategy = self.config.courier.strategy;
        let Some(message) = self.outbox.get(&number) else {
            return;
        };
        let Some(recipient) = self.peers.get(&message.peer) else {
            return;
        };
        let receiver = recipient.announce.noise_key;
        let own = self
            .predictions
            .as_ref()
            .map(|predictions| predictions.of(&receiver))
            .unwrap_or_default();
        let couriers_max = match strategy {
            CourierStrategy::Epidemic => COURIERS_EPIDEMIC,
            _ => COURIERS,
        };
        let couriers: BTreeSet<_> = self
            .links
            .values()
            .filter_map(Link::peer)
            .filter(|peer| *peer != message.peer && !message.couriers.contains(peer))
            .filter(|peer| {
                let knowledge = self.knowledge(*peer, &receiver, message.envelope.as_ref());
                knowledge.is_some_and(|knowledge| strategy.starts(own, knowledge))
            })
            .take(couriers_max.saturating_sub(message.couriers.len()))
            .collect();
        if couriers.is_empty() {
            return;
        }
        let peer = message.peer;
        let is_sealed = message.envelope.as_ref();
        let is_sealed = is_sealed.is_some_and(|known| known.is_alive(unix));
        // Every copy is the same, so one key of the ratchet is used for all.
        let ratcheted = (!is_sealed)
            .then(|| self.ratcheted_to_carry(peer, plaintext))
            .flatten();
        let plaintext = ratcheted.as_deref().unwrap_or(plaintext);
        let (Some(message), Some(recipient)) =
            (self.outbox.get_mut(&number), self.peers.get(&peer))
        else {
            return;
        };
        let envelope = match message
            .envelope
            .clone()
            .filter(|known| known.is_alive(unix))
        {
            Some(envelope) => envelope,
            None => {
                let prekeys = recipient
                    .bundle
                    .as_ref()
                    .filter(|bundle| !bundle.keys.is_empty());
                let sealed = match prekeys {
                    Some(bundle) => {
                        let count = bundle.keys.len() as u64;
                        let at = usize::try_from(rng.next_u64() % count).unwrap_or(0);
                        let prekey = &bundle.keys[at];
                        Envelope::seal_to_prekey(
                            &self.identity,
                            receiver,
                            prekey,
                            plaintext,
                            unix,
                            rng,
                        )
                    }
                    None => Envelope::seal(&self.identity, receiver, plaintext, unix, rng),
                };
                // An announced key may be of low order: then nothing can be sealed to it.
                let Ok(mut envelope) = sealed else {
                    return;
                };
                envelope.copies = strategy.copies();
                message.envelope = Some(envelope.clone());
                envelope
            }
        };
        message.couriers.extend(&couriers);
        for courier in couriers {
            self.send_envelope(courier, &envelope, now, rng);
        }
        self.advance(number, DeliveryState::Relayed);
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
        packet.sign(&self.identity);
        self.originate(&packet, None, now, rng);
    }
}
