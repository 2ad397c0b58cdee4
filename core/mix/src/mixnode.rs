//! The mixnode: unwrap, remember, hold, send on.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fogcompute_base::Instant;
use fogcompute_base::wire::{DecodeError, Reader};

use crate::crypto::LEFT_BYTES;
use crate::geometry::Geometry;
use crate::header::{Instruction, Layer, OpenedHeader, open_header, open_headers};
use crate::key::{EpochParity, KeyRing, PrivateKey, PublicKey};
use crate::noderef::NodeRef;
use crate::packet::{Packet, PacketError, SealedReply};
use crate::replay::{ReplayFilter, ReplayVerdict, TooManyTags};
use crate::surb::SurbId;
use crate::surb_store::SecretWriter;
use crate::wheel::Wheel;

/// Packets whose delay ends in the same tick leave together, in random order.
const TICK: Duration = Duration::from_micros(100);

/// Buffers of dropped packets that are kept for [`Mixnode::poll_spare`].
const SPARES_MAX: usize = 64;

/// Limits and duties of a [`Mixnode`].
#[derive(Clone, Debug)]
pub struct MixnodeConfig {
    /// The network's packet sizes.
    pub geometry: Geometry,
    /// Whether packets for others are taken. A receiver that only receives says no.
    pub relay: bool,
    /// Most packets held at once. When reached, further ones are dropped.
    pub queue_packets_max: usize,
    /// Most packets waiting for [`Mixnode::poll_delivery`]. When reached, further ones are dropped.
    pub deliveries_max: usize,
    /// Replay tags of one key there is room for, 5 bytes each, taken from the system as they fill.
    /// Well beyond that, packets are dropped: make a new key.
    pub replay_tags_max: usize,
    /// Longest delay a sender may ask for. A packet that asks for more is dropped.
    pub delay_max: Duration,
    /// A packet that could not be sent on for so long after its delay was over is dropped: the
    /// machine slept or is overloaded, and a burst of late packets would tell who was served.
    pub lateness_max: Duration,
}

impl Default for MixnodeConfig {
    fn default() -> Self {
        Self {
            geometry: Geometry::DEFAULT,
            relay: true,
            queue_packets_max: 16_384,
            deliveries_max: 16_384,
            replay_tags_max: 4_000_000,
            delay_max: Duration::from_secs(600),
            lateness_max: Duration::from_secs(1),
        }
    }
}

/// Why a packet was dropped. Its sender is never told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DropReason {
    /// Wrong length, version, epoch, tag, key or payload.
    Malformed,
    /// Processed before.
    Replayed,
    /// The replay filter is full.
    ReplayFilterFull,
    /// Too many packets are held.
    QueueFull,
    /// The packet's delay was over long ago.
    Late,
    /// The sender asks for a longer delay than allowed.
    DelayTooLong,
    /// The packet is for somebody else and this node does not relay.
    NotARelay,
}

/// What a node counted since it started.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MixStats {
    /// Packets that came in.
    pub received: u64,
    /// Packets sent on.
    pub forwarded: u64,
    /// Packets that were for this node.
    pub delivered: u64,
    /// Dropped: wrong length, version, epoch, tag, key or payload.
    pub malformed: u64,
    /// Dropped: processed before.
    pub replayed: u64,
    /// Dropped: a limit was reached.
    pub overloaded: u64,
    /// Dropped: its delay was over long ago.
    pub late: u64,
    /// Dropped: the sender asked for what this node does not do.
    pub refused: u64,
}

impl MixStats {
    fn count_drop(&mut self, reason: DropReason) {
        match reason {
            DropReason::Malformed => self.malformed += 1,
            DropReason::Replayed => self.replayed += 1,
            DropReason::ReplayFilterFull | DropReason::QueueFull => self.overloaded += 1,
            DropReason::Late => self.late += 1,
            DropReason::DelayTooLong | DropReason::NotARelay => self.refused += 1,
        }
    }
}

/// A packet to put on the link to a node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Transmit {
    /// Where to.
    pub to: NodeRef,
    /// What.
    pub packet: Packet,
}

/// A packet that was for this node.
#[derive(Debug)]
pub enum Delivery {
    /// One packet's worth of a message.
    Message(Vec<u8>),
    /// A reply to a reply block made here.
    Reply(SurbId, SealedReply),
}

#[derive(Debug)]
struct Held {
    due: Instant,
    transmit: Transmit,
}

/// A mix key and what was seen under it. Clones share what was seen.
#[derive(Clone, Debug)]
pub struct EpochKey {
    key: PrivateKey,
    replay: Arc<ReplayFilter>,
}

impl EpochKey {
    /// A key that was never used before, with room for so many replay tags.
    ///
    /// # Panics
    /// If the system has not so much memory; where others say how many there are to be, take
    /// [`EpochKey::try_new`].
    #[must_use]
    pub fn new(key: PrivateKey, replay_tags_max: usize) -> Self {
        Self::try_new(key, replay_tags_max).expect("memory for the replay filter")
    }

    /// The same.
    ///
    /// # Errors
    /// [`TooManyTags`] if the system has not so much memory.
    pub fn try_new(key: PrivateKey, replay_tags_max: usize) -> Result<Self, TooManyTags> {
        let secret = crate::crypto::replay_secret(&key);
        Ok(Self {
            replay: Arc::new(ReplayFilter::try_new(replay_tags_max, secret)?),
            key,
        })
    }

    /// A key that was used before, with what was seen under it until its node ended cleanly. `None` if
    /// these are not the bytes of that.
    #[must_use]
    pub fn restore(key: PrivateKey, seen: &[u8]) -> Option<Self> {
        let filter = ReplayFilter::restore(seen, crate::crypto::replay_secret(&key))?;
        Some(Self {
            replay: Arc::new(filter),
            key,
        })
    }

    /// Appends: 32 secret, 8 room for replay tags, 4 number of tags, for each 4 slot, 4 fingerprint.
    pub(crate) fn encode(&self, writer: &mut SecretWriter) {
        writer.raw(self.key.secret());
        writer.u64(self.replay.capacity() as u64);
        let taken: Vec<_> = self.replay.taken_slots().collect();
        writer.count(taken.len());
        for (slot, fingerprint) in taken {
            writer.count(slot);
            writer.raw(&fingerprint.to_be_bytes());
        }
    }

    /// Reads what [`EpochKey::encode`] wrote, of a filter with room for at most `limit` tags.
    pub(crate) fn decode(reader: &mut Reader<'_>, limit: usize) -> Result<Self, DecodeError> {
        let key = PrivateKey::from_bytes(reader.array()?);
        let actual = usize::try_from(reader.u64()?).unwrap_or(usize::MAX);
        let too_long = DecodeError::TooLong { actual, limit };
        if actual > limit {
            return Err(too_long);
        }
        let restored = Self::try_new(key, actual).map_err(|_| too_long)?;
        for _ in 0..reader.u32()? {
            let at = reader.position();
            let (slot, fingerprint) = (reader.u32()?, reader.u32()?);
            let known =
                usize::try_from(slot).is_ok_and(|slot| restored.replay.put_back(slot, fingerprint));
            if !known {
                let value = u64::from(slot);
                return Err(DecodeError::Unknown { at, value });
            }
        }
        Ok(restored)
    }

    /// Its public half.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.key.public()
    }

    /// What was seen under the key.
    #[must_use]
    pub fn replay_filter(&self) -> &ReplayFilter {
        &self.replay
    }
}

/// A mixnode's state machine: takes a layer off each packet, drops what it saw before, holds the
/// rest for the time its sender chose, and says when to send what to whom.
///
/// Every participant runs one; those that only receive set [`MixnodeConfig::relay`] to `false`.
///
/// Threads of one node each run a [`sibling`](Mixnode::sibling): they share the keys and what was
/// seen under them, and nothing else.
#[derive(Debug)]
pub struct Mixnode {
    keys: KeyRing,
    config: MixnodeConfig,
    /// One for each key, forgotten together with it.
    replay: [Option<Arc<ReplayFilter>>; 2],
    wheel: Wheel,
    /// What waits, by its token in the wheel.
    held: Vec<Option<Held>>,
    /// Tokens of `held` that are free.
    free: Vec<u32>,
    /// Tokens whose delay is over, in random order, the next one last.
    due: Vec<u32>,
    order: Order,
    deliveries: VecDeque<Delivery>,
    opened: Vec<Result<OpenedHeader, PacketError>>,
    /// Buffers of packets that were dropped.
    spares: Vec<Vec<u8>>,
    stats: MixStats,
}

impl Mixnode {
    /// A node with this mix key of an even epoch, which must not have been used by an earlier run.
    #[must_use]
    pub fn new(key: PrivateKey, config: MixnodeConfig) -> Self {
        let key = EpochKey::new(key, config.replay_tags_max);
        Self::with_epoch_key(EpochParity::Even, key, config)
    }

    /// A node with this mix key of an epoch, and with what was seen under it.
    #[must_use]
    pub fn with_epoch_key(epoch: EpochParity, key: EpochKey, config: MixnodeConfig) -> Self {
        let order = Order::new(&key.key, 0);
        let mut mixnode = Self::empty(KeyRing::new(epoch, key.key.clone()), config, order);
        mixnode.set_epoch_key(epoch, key);
        mixnode
    }

    fn empty(keys: KeyRing, config: MixnodeConfig, order: Order) -> Self {
        Self {
            keys,
            replay: [None, None],
            wheel: Wheel::new(config.queue_packets_max, TICK, Instant::ZERO),
            held: Vec::new(),
            free: Vec::new(),
            due: Vec::new(),
            order,
            deliveries: VecDeque::new(),
            opened: Vec::new(),
            spares: Vec::new(),
            stats: MixStats::default(),
            config,
        }
    }

    /// The same node for another thread: same keys, same replay filters, nothing held.
    ///
    /// Give each a different `number`, not 0: it orders what it sends by that. Keys that change
    /// later have to be [set](Mixnode::set_epoch_key) for each.
    #[must_use]
    pub fn sibling(&self, number: u32) -> Self {
        let mut sibling = Self::empty(
            self.keys.clone(),
            self.config.clone(),
            self.order.sibling(number),
        );
        sibling.replay.clone_from(&self.replay);
        sibling
    }

    /// Puts a new key, never used before, in the place of the one of its parity. Packets to the key
    /// of the other parity are still taken.
    pub fn set_key(&mut self, epoch: EpochParity, key: PrivateKey) {
        self.set_epoch_key(epoch, EpochKey::new(key, self.config.replay_tags_max));
    }

    /// As [`Mixnode::set_key`], with a key that siblings get as well.
    pub fn set_epoch_key(&mut self, epoch: EpochParity, key: EpochKey) {
        self.keys.insert(epoch, key.key);
        self.replay[epoch as usize] = Some(key.replay);
    }

    /// Erases the key of a parity: from now on, packets to it are dropped.
    pub fn remove_key(&mut self, epoch: EpochParity) {
        self.keys.remove(epoch);
        self.replay[epoch as usize] = None;
    }

    /// The key senders encrypt to: that of the even epoch if there are two.
    #[must_use]
    pub fn public_key(&self) -> Option<PublicKey> {
        self.public_key_of(EpochParity::Even)
            .or_else(|| self.public_key_of(EpochParity::Odd))
    }

    /// The key senders encrypt to in an epoch.
    #[must_use]
    pub fn public_key_of(&self, epoch: EpochParity) -> Option<PublicKey> {
        self.keys.get(epoch).map(PrivateKey::public)
    }

    /// The network's packet sizes.
    #[must_use]
    pub const fn geometry(&self) -> Geometry {
        self.config.geometry
    }

    /// What was counted since the start.
    #[must_use]
    pub const fn stats(&self) -> MixStats {
        self.stats
    }

    /// Takes a packet from a link. A bad one is dropped and counted, without a word to the sender.
    pub fn handle_input(&mut self, mut bytes: Vec<u8>, now: Instant) {
        let header = open_header(self.config.geometry, &self.keys, &mut bytes);
        self.accept(bytes, header, now);
    }

    /// Takes many packets from links, with their Diffie-Hellmans done together. The node is then as
    /// if they had come one after the other, and `packets` is empty.
    pub fn handle_inputs(&mut self, packets: &mut Vec<Vec<u8>>, now: Instant) {
        self.open_inputs(packets, |_| now);
    }

    /// [`Mixnode::handle_inputs`] of packets that came at different times, each at that of its index:
    /// what they waited for each other is a part of their delays. Those beyond the last time came
    /// with it.
    pub fn handle_arrivals(&mut self, packets: &mut Vec<Vec<u8>>, times: &[Instant]) {
        let last = times.last().copied().unwrap_or_default();
        self.open_inputs(packets, |index| times.get(index).copied().unwrap_or(last));
    }

    fn open_inputs(&mut self, packets: &mut Vec<Vec<u8>>, time: impl Fn(usize) -> Instant) {
        let mut opened = std::mem::take(&mut self.opened);
        open_headers(self.config.geometry, &self.keys, packets, &mut opened);
        for (index, (bytes, header)) in packets.drain(..).zip(opened.drain(..)).enumerate() {
            self.accept(bytes, header, time(index));
        }
        self.opened = opened;
    }

    fn accept(
        &mut self,
        mut bytes: Vec<u8>,
        header: Result<OpenedHeader, PacketError>,
        now: Instant,
    ) {
        self.stats.received += 1;
        let accepted = header
            .map_err(|_| DropReason::Malformed)
            .and_then(|header| self.take(&mut bytes, header, now));
        if let Err(reason) = accepted {
            self.stats.count_drop(reason);
            self.keep_spare(bytes);
        }
    }

    fn keep_spare(&mut self, bytes: Vec<u8>) {
        if self.spares.len() < SPARES_MAX && bytes.len() == self.config.geometry.packet_bytes() {
            self.spares.push(bytes);
        }
    }

    /// The memory of a packet that was dropped, as long as a packet and of no meaning, for a host
    /// that uses its buffers again. Of those that nobody takes, a few are kept.
    pub fn poll_spare(&mut self) -> Option<Vec<u8>> {
        self.spares.pop()
    }

    /// Everything that may drop the packet comes before the work on its payload. What is taken
    /// leaves nothing of `bytes`.
    fn take(
        &mut self,
        bytes: &mut Vec<u8>,
        header: OpenedHeader,
        now: Instant,
    ) -> Result<(), DropReason> {
        let replay = self.replay[header.epoch() as usize].as_ref();
        match replay.map_or(ReplayVerdict::Full, |replay| {
            replay.check(header.replay_tag())
        }) {
            ReplayVerdict::Fresh => {}
            ReplayVerdict::Replayed => return Err(DropReason::Replayed),
            ReplayVerdict::Full => return Err(DropReason::ReplayFilterFull),
        }
        match header.instruction() {
            Instruction::Forward { delay, .. } => self.may_hold(delay)?,
            Instruction::Deliver | Instruction::Reply { .. } => {
                if self.deliveries.len() >= self.config.deliveries_max {
                    return Err(DropReason::QueueFull);
                }
            }
        }
        let layer = header
            .open_payload(bytes)
            .map_err(|_| DropReason::Malformed)?;
        let delivery = match layer {
            Layer::Forward { next, delay } => {
                let packet = Packet::from_whole(self.config.geometry, std::mem::take(bytes));
                self.hold(Transmit { to: next, packet }, delay, now);
                return Ok(());
            }
            Layer::Deliver { payload } => {
                let length = payload.len();
                // The message stays in the packet's own memory.
                let start = self.config.geometry.header_bytes() + LEFT_BYTES;
                bytes.copy_within(start..start + length, 0);
                bytes.truncate(length);
                Delivery::Message(std::mem::take(bytes))
            }
            Layer::Reply { surb, .. } => {
                bytes.drain(..self.config.geometry.header_bytes());
                Delivery::Reply(surb, SealedReply(std::mem::take(bytes)))
            }
        };
        self.deliveries.push_back(delivery);
        self.stats.delivered += 1;
        Ok(())
    }

    fn may_hold(&self, delay: Duration) -> Result<(), DropReason> {
        if !self.config.relay {
            return Err(DropReason::NotARelay);
        }
        if delay > self.config.delay_max {
            return Err(DropReason::DelayTooLong);
        }
        if self.held_packets() >= self.config.queue_packets_max {
            return Err(DropReason::QueueFull);
        }
        Ok(())
    }

    /// Packets that wait for their delay to be over.
    #[must_use]
    pub const fn held_packets(&self) -> usize {
        self.held.len() - self.free.len()
    }

    fn hold(&mut self, transmit: Transmit, delay: Duration, now: Instant) {
        let due = now + delay;
        let held = Some(Held { due, transmit });
        let token = if let Some(token) = self.free.pop() {
            self.held[token as usize] = held;
            token
        } else {
            self.held.push(held);
            // `may_hold` has seen that the wheel has room, so this is below its capacity.
            (self.held.len() - 1) as u32
        };
        let inserted = self.wheel.insert(token, due);
        debug_assert!(inserted, "the wheel has room for all that may be held");
    }

    /// The next packet whose delay is over at `now`: never early, up to a tick of 100 µs late.
    ///
    /// Packets of one tick come in random order, so that the order they came in does not show.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        loop {
            if self.due.is_empty() {
                self.wheel.expire(now, &mut self.due);
                self.order.shuffle(&mut self.due);
            }
            let token = self.due.pop()?;
            self.free.push(token);
            let Some(held) = self.held[token as usize].take() else {
                debug_assert!(false, "tokens in the wheel have their packet");
                continue;
            };
            if now.duration_since(held.due) > self.config.lateness_max {
                self.stats.count_drop(DropReason::Late);
                self.keep_spare(held.transmit.packet.into_bytes());
                continue;
            }
            self.stats.forwarded += 1;
            return Some(held.transmit);
        }
    }

    /// The next packet that was for this node.
    pub fn poll_delivery(&mut self) -> Option<Delivery> {
        self.deliveries.pop_front()
    }

    /// When to call [`Mixnode::poll_transmit`] again if nothing comes in before. It may turn out
    /// to be too early for anything.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.due.is_empty() {
            self.wheel.next_expiry()
        } else {
            Some(Instant::ZERO)
        }
    }
}

/// The order in which packets of one tick leave: nobody without the key can foretell it.
struct Order {
    seed: [u8; 32],
    numbers: blake3::OutputReader,
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Order(..)")
    }
}

impl Order {
    fn new(key: &PrivateKey, number: u32) -> Self {
        Self::from_seed(crate::crypto::order_seed(key), number)
    }

    fn from_seed(seed: [u8; 32], number: u32) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(&seed);
        hasher.update(&number.to_le_bytes());
        Self {
            seed,
            numbers: hasher.finalize_xof(),
        }
    }

    fn sibling(&self, number: u32) -> Self {
        Self::from_seed(self.seed, number)
    }

    /// Fisher and Yates, as Durstenfeld wrote it (CACM 7(7), 1964).
    fn shuffle(&mut self, tokens: &mut [u32]) {
        for last in (1..tokens.len()).rev() {
            let mut word = [0; 8];
            self.numbers.fill(&mut word);
            // The high half of the product: its bias is at most the number of tokens in 2⁶⁴.
            let other = (u128::from(u64::from_le_bytes(word)) * (last as u128 + 1)) >> 64;
            tokens.swap(last, other as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Hop;
    use crate::packet::tests::keys_and_route;
    use fogcompute_base::OsEntropy;

    fn packet_for(route: &[crate::Hop]) -> Vec<u8> {
        Packet::build(Geometry::DEFAULT, route, b"fog", &mut OsEntropy)
            .unwrap()
            .into_bytes()
    }

    fn node(config: MixnodeConfig) -> (Mixnode, Vec<crate::Hop>) {
        let (mut keys, route) = keys_and_route(2);
        (Mixnode::new(keys.swap_remove(0), config), route)
    }

    #[test]
    fn a_packet_is_held_for_the_senders_delay_and_sent_once() {
        let (mut mixnode, route) = node(MixnodeConfig::default());
        let start = Instant::from_millis(1000);
        mixnode.handle_input(packet_for(&route), start);
        let due = start + Duration::from_millis(1);
        assert!(mixnode.poll_timeout().is_some_and(|timeout| timeout <= due));
        assert_eq!(mixnode.poll_transmit(start), None);
        let transmit = mixnode.poll_transmit(due).unwrap();
        assert_eq!(transmit.to, route[1].node.into());
        assert_eq!(
            transmit.packet.as_bytes().len(),
            Geometry::DEFAULT.packet_bytes()
        );
        assert_eq!(mixnode.poll_transmit(due), None);
        assert_eq!(mixnode.stats().forwarded, 1);
    }

    #[test]
    fn packets_leave_in_the_order_of_their_deadlines() {
        let (mut mixnode, mut route) = node(MixnodeConfig::default());
        for millis in [30, 10, 20] {
            route[0].delay = Duration::from_millis(millis);
            mixnode.handle_input(packet_for(&route), Instant::ZERO);
        }
        for millis in [10, 20, 30] {
            let due = Instant::from_millis(millis);
            while let Some(earlier) = mixnode.poll_timeout().filter(|earlier| *earlier < due) {
                assert_eq!(mixnode.poll_transmit(earlier), None);
            }
            assert_eq!(mixnode.poll_timeout(), Some(due));
            assert!(mixnode.poll_transmit(due).is_some());
        }
    }

    #[test]
    fn a_replay_is_dropped_and_another_encoding_of_its_point_is_malformed() {
        let (mut mixnode, route) = node(MixnodeConfig::default());
        let mut packet = packet_for(&route);
        mixnode.handle_input(packet.clone(), Instant::ZERO);
        mixnode.handle_input(packet.clone(), Instant::ZERO);
        let last = packet.len() - 1;
        packet[last] ^= 1;
        mixnode.handle_input(packet.clone(), Instant::ZERO);
        packet[33] ^= 0x80;
        mixnode.handle_input(packet, Instant::ZERO);
        assert_eq!(
            (mixnode.stats().replayed, mixnode.stats().malformed),
            (2, 1)
        );
        let end = Instant::from_millis(500);
        assert!(mixnode.poll_transmit(end).is_some());
        assert_eq!(mixnode.poll_transmit(end), None);
    }

    #[test]
    fn packets_taken_together_are_taken_as_one_after_the_other() {
        let (mut one, route) = node(MixnodeConfig::default());
        let mut together = Mixnode::empty(
            one.keys.clone(),
            MixnodeConfig::default(),
            one.order.sibling(0),
        );
        let [even, _] = &mut together.replay;
        *even = Some(Arc::new(ReplayFilter::new(100, [1, 2])));
        let mut packets: Vec<_> = (0..40)
            .map(|n: usize| match n % 5 {
                0 => packet_for(&route[..1]),
                1 => vec![0x11; n],
                _ => packet_for(&route),
            })
            .collect();
        packets[7] = packets[2].clone();
        packets[9][40] ^= 1;
        for packet in packets.clone() {
            one.handle_input(packet, Instant::ZERO);
        }
        together.handle_inputs(&mut packets, Instant::ZERO);
        assert!(packets.is_empty());
        assert_eq!(one.stats(), together.stats());
        let stats = one.stats();
        assert_eq!(
            (stats.malformed, stats.replayed, stats.delivered),
            (9, 1, 8)
        );
        let end = Instant::from_millis(500);
        for _ in 0..=24 {
            assert_eq!(one.poll_transmit(end), together.poll_transmit(end));
        }
        for _ in 0..8 {
            let (Some(Delivery::Message(a)), Some(Delivery::Message(b))) =
                (one.poll_delivery(), together.poll_delivery())
            else {
                panic!("eight messages each");
            };
            assert_eq!(a, b);
        }
    }

    #[test]
    fn keys_of_two_epochs_are_served_and_an_old_one_is_not() {
        let (mut mixnode, mut route) = node(MixnodeConfig::default());
        let next = PrivateKey::random(&mut OsEntropy);
        let old = packet_for(&route);
        mixnode.set_key(EpochParity::Odd, next.clone());
        assert_eq!(mixnode.public_key(), Some(route[0].key));
        assert_eq!(mixnode.public_key_of(EpochParity::Odd), Some(next.public()));
        route[0].key = next.public();
        for hop in &mut route {
            hop.epoch = EpochParity::Odd;
        }
        let new = packet_for(&route);
        mixnode.handle_input(old.clone(), Instant::ZERO);
        mixnode.handle_input(new.clone(), Instant::ZERO);
        assert_eq!(mixnode.held_packets(), 2);
        mixnode.remove_key(EpochParity::Even);
        assert_eq!(mixnode.public_key(), Some(next.public()));
        // The old key's packets are refused for good; the new key's tags are remembered.
        mixnode.handle_input(old.clone(), Instant::ZERO);
        mixnode.handle_input(new, Instant::ZERO);
        let stats = mixnode.stats();
        assert_eq!((stats.malformed, stats.replayed), (1, 1));
        // A key of the next even epoch does not open what was made for the one before.
        let even: Hop = Hop::new(
            route[0].node,
            PrivateKey::random(&mut OsEntropy).public(),
            Duration::ZERO,
        );
        mixnode.set_key(EpochParity::Even, PrivateKey::random(&mut OsEntropy));
        mixnode.handle_input(old, Instant::ZERO);
        mixnode.handle_input(packet_for(&[even]), Instant::ZERO);
        assert_eq!(mixnode.stats().malformed, 3);
    }

    #[test]
    fn a_reply_is_delivered_sealed() {
        let (mut mixnode, route) = node(MixnodeConfig::default());
        let (surb, key) = crate::Surb::new(Geometry::DEFAULT, &route[..1], &mut OsEntropy).unwrap();
        let (_, packet) = surb.reply(b"answer").unwrap();
        mixnode.handle_input(packet.into_bytes(), Instant::ZERO);
        let Some(Delivery::Reply(id, sealed)) = mixnode.poll_delivery() else {
            panic!("a reply came");
        };
        assert_eq!(id, key.id());
        assert_eq!(key.open(sealed), Ok(b"answer".to_vec()));
    }

    #[test]
    fn limits_drop_and_count() {
        let config = MixnodeConfig {
            queue_packets_max: 1,
            delay_max: Duration::from_millis(50),
            ..MixnodeConfig::default()
        };
        let (mut mixnode, mut route) = node(config);
        mixnode.handle_input(packet_for(&route), Instant::ZERO);
        mixnode.handle_input(packet_for(&route), Instant::ZERO);
        route[0].delay = Duration::from_millis(51);
        mixnode.handle_input(packet_for(&route), Instant::ZERO);
        mixnode.handle_input(vec![1; 3], Instant::ZERO);
        let stats = mixnode.stats();
        assert_eq!(
            (stats.overloaded, stats.refused, stats.malformed),
            (1, 1, 1)
        );
        assert_eq!(stats.received, 4);
    }

    #[test]
    fn the_longest_delay_is_served_and_a_longer_one_is_not() {
        let config = MixnodeConfig {
            delay_max: Duration::from_millis(50),
            ..MixnodeConfig::default()
        };
        let (mut mixnode, mut route) = node(config);
        for (delay, refused) in [(50, 0), (51, 1)] {
            route[0].delay = Duration::from_millis(delay);
            mixnode.handle_input(packet_for(&route), Instant::ZERO);
            let held = (mixnode.held_packets(), mixnode.stats().refused);
            assert_eq!(held, (1, refused), "{delay} ms");
        }
    }

    #[test]
    fn a_full_replay_filter_drops_what_it_could_not_remember() {
        let config = MixnodeConfig {
            replay_tags_max: 1,
            ..MixnodeConfig::default()
        };
        let (mut mixnode, route) = node(config);
        for _ in 0..20 {
            mixnode.handle_input(packet_for(&route), Instant::ZERO);
        }
        let stats = mixnode.stats();
        assert_eq!((mixnode.held_packets(), stats.overloaded), (16, 4));
    }

    #[test]
    fn what_is_late_is_dropped() {
        let (mut mixnode, route) = node(MixnodeConfig::default());
        mixnode.handle_input(packet_for(&route), Instant::ZERO);
        // The clock jumps an hour: the machine slept.
        assert_eq!(mixnode.poll_transmit(Instant::from_millis(3_600_000)), None);
        assert_eq!((mixnode.stats().late, mixnode.held_packets()), (1, 0));
        let now = Instant::from_millis(3_600_000);
        mixnode.handle_input(packet_for(&route), now);
        assert!(
            mixnode
                .poll_transmit(now + Duration::from_secs(1))
                .is_some()
        );
    }

    #[test]
    fn each_packet_of_a_batch_is_held_from_when_it_came() {
        let (mut mixnode, route) = node(MixnodeConfig::default());
        let mut packets: Vec<_> = (0..3).map(|_| packet_for(&route)).collect();
        let times = [10, 20].map(Instant::from_millis);
        mixnode.handle_arrivals(&mut packets, &times);
        // The delay is a millisecond, and the third came with the second.
        for (millis, due) in [(10, 0), (11, 1), (20, 0), (21, 2), (22, 0)] {
            let now = Instant::from_millis(millis);
            let sent = std::iter::from_fn(|| mixnode.poll_transmit(now)).count();
            assert_eq!(sent, due, "at {millis} ms");
        }
    }

    #[test]
    fn the_memory_of_dropped_packets_comes_back() {
        let (mut mixnode, route) = node(MixnodeConfig::default());
        let packet = packet_for(&route);
        let whole = packet.len();
        assert!(mixnode.poll_spare().is_none());
        // One is held, one is a replay, one is malformed, one is of another length.
        let mut packets = vec![packet.clone(), packet, vec![0; whole], vec![0; 3]];
        mixnode.handle_inputs(&mut packets, Instant::ZERO);
        // The held one is too late.
        assert_eq!(mixnode.poll_transmit(Instant::from_millis(9_000)), None);
        let spares = std::iter::from_fn(|| mixnode.poll_spare()).map(|spare| spare.len());
        assert_eq!(spares.collect::<Vec<_>>(), [whole; 3]);
        for _ in 0..100 {
            mixnode.handle_input(vec![0; whole], Instant::ZERO);
        }
        let spares = std::iter::from_fn(|| mixnode.poll_spare()).count();
        assert_eq!(spares, SPARES_MAX);
    }

    #[test]
    fn packets_of_one_tick_leave_in_any_order() {
        let (mut mixnode, mut route) = node(MixnodeConfig::default());
        let mut place_of_first = [0; 4];
        for round in 0..400 {
            let now = Instant::from_millis(100 * round);
            let first = fogcompute_base::NodeId::from_bytes([9; 32]);
            for index in 0..4 {
                route[1].node = fogcompute_base::NodeId::from_bytes([9 + index; 32]);
                mixnode.handle_input(packet_for(&route), now);
            }
            let sent: Vec<_> =
                std::iter::from_fn(|| mixnode.poll_transmit(now + Duration::from_millis(2)))
                    .collect();
            let place = sent
                .iter()
                .position(|sent| sent.to == first.into())
                .unwrap();
            place_of_first[place] += 1;
        }
        // Each of four places once in four times: chi-square, 3 degrees of freedom, 1 in 10⁹.
        let chi: f64 = place_of_first
            .iter()
            .map(|count| (f64::from(*count) - 100.0).powi(2) / 100.0)
            .sum();
        assert!(chi < 45.0, "{place_of_first:?}");
    }

    #[test]
    fn siblings_share_what_was_seen() {
        let (mut mixnode, route) = node(MixnodeConfig::default());
        let mut sibling = mixnode.sibling(1);
        let packet = packet_for(&route);
        mixnode.handle_input(packet.clone(), Instant::ZERO);
        sibling.handle_input(packet, Instant::ZERO);
        assert_eq!((mixnode.held_packets(), sibling.held_packets()), (1, 0));
        assert_eq!(sibling.stats().replayed, 1);
        let key = EpochKey::new(PrivateKey::random(&mut OsEntropy), 100);
        for node in [&mut mixnode, &mut sibling] {
            node.set_epoch_key(EpochParity::Odd, key.clone());
        }
        assert!(key.replay_filter().is_empty());
        assert_eq!(
            mixnode.public_key_of(EpochParity::Odd),
            sibling.public_key_of(EpochParity::Odd)
        );
    }

    #[test]
    fn a_receiver_takes_its_own_packets_and_relays_none() {
        let config = MixnodeConfig {
            relay: false,
            deliveries_max: 1,
            ..MixnodeConfig::default()
        };
        let (mut mixnode, route) = node(config);
        mixnode.handle_input(packet_for(&route), Instant::ZERO);
        assert_eq!(mixnode.stats().refused, 1);
        for _ in 0..2 {
            mixnode.handle_input(packet_for(&route[..1]), Instant::ZERO);
        }
        assert!(matches!(mixnode.poll_delivery(), Some(Delivery::Message(m)) if m == b"fog"));
        assert!(mixnode.poll_delivery().is_none());
        assert_eq!(mixnode.stats().overloaded, 1);
    }
}
