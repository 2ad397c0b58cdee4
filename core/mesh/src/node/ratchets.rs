//! Private messages under keys that are used once, with peers that can do that too.

use std::time::Duration;

use fogcompute_base::{CryptoRng, Instant};

use super::input::Arrival;
use super::{Node, Protection};
use crate::announce::Capabilities;
use crate::identity::NoiseKey;
use crate::packet::{PacketType, PeerId};
use crate::payload::{Content, is_ratcheted};
use crate::ratchet::{RatchetError, RatchetMessage};

/// How long a private message waits for a ratchet before the session alone has to do.
const WAIT: Duration = Duration::from_secs(10);
/// How often a ratchet is asked for, or offered, while something waits for it.
const RETRY: Duration = Duration::from_secs(3);
/// Between two of them because something did not open, at least.
const RENEW_GAP: Duration = Duration::from_secs(10);

impl Node {
    /// Whether this peer and another say that they have ratchets.
    fn ratchets_with(&self, peer: PeerId) -> bool {
        self.config.capabilities.has(Capabilities::RATCHET)
            && self.peers.get(&peer).is_some_and(|known| {
                let capabilities = known.announce.capabilities.unwrap_or_default();
                capabilities.has(Capabilities::RATCHET)
            })
    }

    /// The key under which a peer's ratchet is kept.
    fn ratchet_key(&self, peer: PeerId) -> Option<NoiseKey> {
        Some(self.peers.get(&peer)?.announce.noise_key)
    }

    pub(super) fn has_ratchet(&self, peer: PeerId) -> bool {
        let key = self.ratchet_key(peer);
        self.ratchets_with(peer) && key.is_some_and(|key| self.ratchets.is_ready(&key))
    }

    /// A plaintext for a peer as it goes into a session: under a key of its own, if it is of a kind that does, and
    /// there is a ratchet.
    pub(super) fn ratcheted(&mut self, peer: PeerId, plaintext: &[u8]) -> Option<Vec<u8>> {
        if !is_ratcheted(plaintext) || !self.ratchets_with(peer) {
            return None;
        }
        let sealed = self.ratchets.seal(&self.ratchet_key(peer)?, plaintext)?;
        Content::Ratchet(sealed).encode().ok()
    }

    /// The same for an envelope, which others may overtake.
    pub(super) fn ratcheted_to_carry(&mut self, peer: PeerId, plaintext: &[u8]) -> Option<Vec<u8>> {
        let can_be = self.ratchets.can_be_carried(&self.ratchet_key(peer)?);
        can_be.then(|| self.ratcheted(peer, plaintext)).flatten()
    }

    /// Encrypts a plaintext for a peer with which there is a session.
    pub(super) fn seal(&mut self, peer: PeerId, plaintext: &[u8], now: Instant) -> Option<Vec<u8>> {
        if !self.sessions.is_established(peer) {
            return None;
        }
        let ratcheted = self.ratcheted(peer, plaintext);
        let plaintext = ratcheted.as_deref().unwrap_or(plaintext);
        self.sessions.seal(peer, plaintext, now)
    }

    /// How long a private message has to wait for a ratchet, which is asked for meanwhile. `None` if there is one,
    /// there will be none, or it was waited for long enough.
    pub(super) fn waits_for_ratchet(
        &mut self,
        peer: PeerId,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Option<Duration> {
        if !self.ratchets_with(peer)
            || self.has_ratchet(peer)
            || !self.sessions.is_established(peer)
        {
            return None;
        }
        let known = self.peers.get_mut(&peer)?;
        let since = *known.ratchet_since.get_or_insert(now);
        let left = (since + WAIT).duration_since(now);
        if known.ratchet_after <= now {
            self.call_for_ratchet(peer, RETRY, now, rng);
        }
        (!left.is_zero()).then(|| left.min(RETRY))
    }

    /// A peer has said in a session that it has ratchets.
    pub(super) fn begin_ratchet(&mut self, peer: PeerId, now: Instant, rng: &mut impl CryptoRng) {
        let is_due = |known: &super::Peer| known.ratchet_after <= now;
        if self.ratchets_with(peer)
            && !self.has_ratchet(peer)
            && self.peers.get(&peer).is_some_and(is_due)
        {
            self.call_for_ratchet(peer, RETRY, now, rng);
        }
    }

    /// Offers a ratchet, or asks for an offer: which of both is this side's part.
    fn call_for_ratchet(
        &mut self,
        peer: PeerId,
        gap: Duration,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) {
        let Some(known) = self.peers.get_mut(&peer) else {
            return;
        };
        known.ratchet_after = now + gap;
        let key = known.announce.noise_key;
        let message = if self.ratchets.starts(&key) {
            RatchetMessage::Ask
        } else {
            self.ratchets.offer(key)
        };
        self.send_ratchet(peer, message, now, rng);
    }

    fn send_ratchet(
        &mut self,
        peer: PeerId,
        message: RatchetMessage,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) {
        let plaintext = Content::Ratchet(message).encode();
        let plaintext = plaintext.expect("what has no text in it is short");
        if let Some(sealed) = self.sessions.seal(peer, &plaintext, now) {
            self.send_directed(PacketType::ENCRYPTED, peer, sealed, None, now, rng);
        }
    }

    /// Sends nothing under a key of a ratchet, so that the peer has the ratchet too.
    fn turn_ratchet(
        &mut self,
        peer: PeerId,
        key: &NoiseKey,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) {
        if let Some(message) = self.ratchets.seal(key, &[]) {
            self.send_ratchet(peer, message, now, rng);
        }
    }

    /// Takes a step of a ratchet that came in a session.
    pub(super) fn handle_ratchet(
        &mut self,
        from: PeerId,
        message: RatchetMessage,
        arrival: Arrival,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) {
        let Some(key) = self
            .ratchet_key(from)
            .filter(|_| self.config.capabilities.has(Capabilities::RATCHET))
        else {
            self.counters.unratcheted += 1;
            return;
        };
        match message {
            RatchetMessage::Ask if self.ratchets.starts(&key) => self.counters.unratcheted += 1,
            RatchetMessage::Ask => {
                let offer = self.ratchets.offer(key);
                self.send_ratchet(from, offer, now, rng);
            }
            RatchetMessage::Offer { identity, one_time } => {
                if self.ratchets.take_offer(key, identity, one_time).is_err() {
                    self.counters.unratcheted += 1;
                    return;
                }
                // Also when the same is offered again: what was sealed first may have been lost.
                self.turn_ratchet(from, &key, now, rng);
                self.ratchet_ready(from, now, rng);
            }
            RatchetMessage::Sealed { is_first, bytes } => {
                match self.open_ratcheted(key, is_first, &bytes) {
                    Ok((content, began)) => {
                        if began {
                            self.turn_ratchet(from, &key, now, rng);
                            self.ratchet_ready(from, now, rng);
                        }
                        if let Some(Content::LargeGroup(step)) = content {
                            self.handle_large_group(from, step, now, rng);
                        } else if let Some(content) = content {
                            let protection = Protection::Ratchet;
                            self.handle_content(from, content, protection, arrival, now, rng);
                        }
                    }
                    // The state of one side may be from before a crash, or too much was lost.
                    Err(RatchetError::Opaque) => {
                        let known = self.peers.get(&from);
                        if known.is_some_and(|known| known.ratchet_after <= now) {
                            self.call_for_ratchet(from, RENEW_GAP, now, rng);
                        }
                    }
                    Err(_) => {}
                }
            }
        }
    }

    /// Opens what is under a key of a ratchet, and counts what does not open; gives what it says, if anything, and
    /// whether it began a session.
    pub(super) fn open_ratcheted(
        &mut self,
        key: NoiseKey,
        is_first: bool,
        bytes: &[u8],
    ) -> Result<(Option<Content>, bool), RatchetError> {
        let opened = self.ratchets.open(&key, is_first, bytes);
        let (plaintext, began) = opened.inspect_err(|error| match error {
            RatchetError::Gone => self.counters.replayed += 1,
            _ => self.counters.unratcheted += 1,
        })?;
        if plaintext.is_empty() {
            return Ok((None, began));
        }
        let content = Content::decode(&plaintext)
            .ok()
            .filter(|_| is_ratcheted(&plaintext));
        if content.is_none() {
            self.refuse_payload();
        }
        Ok((content, began))
    }

    fn ratchet_ready(&mut self, peer: PeerId, now: Instant, rng: &mut impl CryptoRng) {
        if let Some(known) = self.peers.get_mut(&peer)
            && known.ratchet_since.take().is_some()
        {
            self.attempt_all(peer, now, rng);
        }
        self.tell_peer(peer, now, rng);
    }
}
