//! Headers of `fog-sphinx/1`: building them, and opening one layer in place.

use std::fmt;
use std::time::Duration;

use fogcompute_base::CryptoRng;
use zeroize::Zeroizing;

use crate::crypto::{HopKeys, WideBlock, expand_scalars, sealed_length};
use crate::dh;
use crate::geometry::{
    BETA_AT, BLOCK_BYTES, FRAME_BYTES, Geometry, HEADER_BYTES_MAX, HOPS_MAX, MAC_BYTES, POINT_BYTES,
};
use crate::key::{EpochParity, KeyRing, PrivateKey};
use crate::noderef::NodeRef;
use crate::packet::{BuildError, DELAY_MAX, Hop, PacketError};
use crate::replay::ReplayTag;
use crate::surb::SurbId;

/// Packets whose Diffie-Hellmans are done in one call: of as many, the fastest implementations make
/// one step together.
const BATCH: usize = 32;

/// Headers whose Diffie-Hellmans are done in one call, each with up to [`HOPS_MAX`].
const BUILD_BATCH: usize = 8;

const STREAM_BYTES_MAX: usize = (HOPS_MAX + 1) * BLOCK_BYTES;

// Where the fields of a routing block are.
const NEXT_MAC_AT: usize = 32;
const NEXT_REF_AT: usize = 48;
const DELAY_AT: usize = 56;
const FLAGS_AT: usize = 60;
const RESERVED_AT: usize = 61;

const FORWARD: u8 = 0;
const DELIVER: u8 = 1;
const REPLY: u8 = 2;

/// What one layer of a header says to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Instruction {
    /// Hold the packet for `delay`, then send it to `next`.
    Forward {
        /// The next hop.
        next: NodeRef,
        /// How long to hold the packet.
        delay: Duration,
    },
    /// This node is the receiver.
    Deliver,
    /// This node made the reply block the packet came by.
    Reply {
        /// Which reply block.
        surb: SurbId,
    },
}

/// What is left of a packet once its payload has been opened, in the buffer it came in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Layer<'a> {
    /// The packet for the next hop is in the buffer, as long as it was.
    Forward {
        /// The next hop.
        next: NodeRef,
        /// How long to hold the packet.
        delay: Duration,
    },
    /// The sender's message.
    Deliver {
        /// The message.
        payload: &'a [u8],
    },
    /// What the [`ReplyKey`](crate::ReplyKey) of the reply block opens.
    Reply {
        /// Which reply block.
        surb: SurbId,
        /// The sealed payload.
        sealed: &'a [u8],
    },
}

/// A header that verified and was taken off; the payload is still as it came.
///
/// Between the two a node looks the replay tag up, so that a replayed packet costs no payload work.
pub struct OpenedHeader {
    geometry: Geometry,
    epoch: EpochParity,
    instruction: Instruction,
    replay_tag: ReplayTag,
    payload: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for OpenedHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenedHeader")
            .field("instruction", &self.instruction)
            .finish_non_exhaustive()
    }
}

impl OpenedHeader {
    /// Names the packet at this hop: see it twice under one key, drop it.
    #[must_use]
    pub const fn replay_tag(&self) -> ReplayTag {
        self.replay_tag
    }

    /// The epoch of the key that opened it. Replay tags are remembered and forgotten with the key.
    #[must_use]
    pub const fn epoch(&self) -> EpochParity {
        self.epoch
    }

    /// What to do.
    #[must_use]
    pub const fn instruction(&self) -> Instruction {
        self.instruction
    }

    /// Takes the same layer off the payload, in the buffer whose header was opened. No heap
    /// allocation.
    ///
    /// The payload of a reply stays as it came: its maker's [`ReplyKey`](crate::ReplyKey) opens it.
    ///
    /// # Errors
    /// [`PacketError::Length`] for another buffer, [`PacketError::Payload`] if this node is the
    /// receiver and the payload was changed on its way.
    pub fn open_payload(self, packet: &mut [u8]) -> Result<Layer<'_>, PacketError> {
        check_length(self.geometry, packet)?;
        let block = &mut packet[self.geometry.header_bytes()..];
        match self.instruction {
            Instruction::Forward { next, delay } => {
                WideBlock::new(self.geometry, &self.payload).decrypt(block);
                Ok(Layer::Forward { next, delay })
            }
            Instruction::Deliver => {
                WideBlock::new(self.geometry, &self.payload).decrypt(block);
                let length = sealed_length(block).ok_or(PacketError::Payload)?;
                let payload = &block[crate::crypto::LEFT_BYTES..][..length];
                Ok(Layer::Deliver { payload })
            }
            Instruction::Reply { surb } => Ok(Layer::Reply {
                surb,
                sealed: block,
            }),
        }
    }
}

/// Verifies a packet's header, takes one layer off it in place, and says what to do.
///
/// One Diffie-Hellman, no heap allocation; nothing of the payload is touched. On an error the
/// buffer is as it was.
///
/// # Errors
/// [`PacketError`], every variant but [`PacketError::Payload`].
///
/// # Security
/// Which error it was must not reach the sender, not even by timing beyond what dropping takes: see
/// [`PacketError`].
///
/// # Examples
/// ```
/// use fogcompute_base::{NodeId, OsEntropy};
/// use fogcompute_mix::{
///     EpochParity, Geometry, Hop, KeyRing, Layer, Packet, PrivateKey, open_header,
/// };
/// use std::time::Duration;
///
/// let key = PrivateKey::random(&mut OsEntropy);
/// let hop = Hop::new(NodeId::from_bytes([1; 32]), key.public(), Duration::ZERO);
/// let mut buffer = vec![0; Geometry::DATAGRAM.packet_bytes()];
/// Packet::build_into(Geometry::DATAGRAM, &[hop], b"hello", &mut OsEntropy, &mut buffer)?;
///
/// let keys = KeyRing::new(EpochParity::Even, key);
/// let header = open_header(Geometry::DATAGRAM, &keys, &mut buffer)?;
/// // Here a node looks up `header.replay_tag()`.
/// assert_eq!(header.open_payload(&mut buffer)?, Layer::Deliver { payload: b"hello" });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open_header(
    geometry: Geometry,
    keys: &KeyRing,
    packet: &mut [u8],
) -> Result<OpenedHeader, PacketError> {
    let epoch = check_frame(geometry, packet)?;
    let key = keys.get(epoch).ok_or(PacketError::Epoch)?;
    open_header_with(geometry, epoch, key, packet)
}

/// As [`open_header`], with one key that serves both parities.
pub(crate) fn open_with_key(
    geometry: Geometry,
    key: &PrivateKey,
    packet: &mut [u8],
) -> Result<OpenedHeader, PacketError> {
    let epoch = check_frame(geometry, packet)?;
    open_header_with(geometry, epoch, key, packet)
}

fn open_header_with(
    geometry: Geometry,
    epoch: EpochParity,
    key: &PrivateKey,
    packet: &mut [u8],
) -> Result<OpenedHeader, PacketError> {
    let shared = Zeroizing::new(dh::exchange(key.secret(), &point_of(packet)));
    open_shared(geometry, epoch, key, shared.as_ref(), packet)
}

/// [`open_header`] for many packets, with their Diffie-Hellmans done together.
///
/// `opened` is cleared and gets one result for each packet, in order; it is the caller's so that
/// its room is used again. Nothing else is allocated. The results are those of [`open_header`].
pub fn open_headers<P: AsMut<[u8]>>(
    geometry: Geometry,
    keys: &KeyRing,
    packets: &mut [P],
    opened: &mut Vec<Result<OpenedHeader, PacketError>>,
) {
    opened.clear();
    opened.reserve(packets.len());
    let mut secrets = Zeroizing::new([[0; 32]; BATCH]);
    let mut shared = Zeroizing::new([None; BATCH]);
    let mut points = [[0; 32]; BATCH];
    for batch in packets.chunks_mut(BATCH) {
        let mut lanes = 0;
        let mut checked: [Result<(EpochParity, &PrivateKey), PacketError>; BATCH] =
            [Err(PacketError::Epoch); BATCH];
        for (packet, checked) in batch.iter_mut().zip(&mut checked) {
            let packet = packet.as_mut();
            *checked = check_frame(geometry, packet).and_then(|epoch| {
                let key = keys.get(epoch).ok_or(PacketError::Epoch)?;
                Ok((epoch, key))
            });
            if let Ok((_, key)) = checked {
                secrets[lanes] = *key.secret();
                points[lanes] = point_of(packet);
                lanes += 1;
            }
        }
        dh::exchange_batch(&secrets[..lanes], &points[..lanes], &mut shared[..lanes]);
        let mut shared = shared[..lanes].iter();
        for (packet, checked) in batch.iter_mut().zip(&checked) {
            opened.push(checked.and_then(|(epoch, key)| {
                // Each packet that was checked has its lane.
                let shared = shared.next().and_then(Option::as_ref);
                open_shared(geometry, epoch, key, shared, packet.as_mut())
            }));
        }
    }
}

fn check_length(geometry: Geometry, packet: &[u8]) -> Result<(), PacketError> {
    if packet.len() != geometry.packet_bytes() {
        return Err(PacketError::Length {
            actual: packet.len(),
            expected: geometry.packet_bytes(),
        });
    }
    Ok(())
}

/// What can be said of a packet before any cryptography.
fn check_frame(geometry: Geometry, packet: &[u8]) -> Result<EpochParity, PacketError> {
    check_length(geometry, packet)?;
    if packet[0] != geometry.version() {
        return Err(PacketError::Version {
            actual: packet[0],
            expected: geometry.version(),
        });
    }
    EpochParity::from_byte(packet[1]).ok_or(PacketError::Epoch)
}

/// The point of a packet whose length was checked.
fn point_of(packet: &[u8]) -> [u8; POINT_BYTES] {
    let mut point = [0; POINT_BYTES];
    point.copy_from_slice(&packet[FRAME_BYTES..BETA_AT]);
    point
}

fn open_shared(
    geometry: Geometry,
    epoch: EpochParity,
    key: &PrivateKey,
    shared: Option<&[u8; 32]>,
    packet: &mut [u8],
) -> Result<OpenedHeader, PacketError> {
    let shared = shared.ok_or(PacketError::LowOrder)?;
    let keys = HopKeys::derive(geometry, shared, &point_of(packet), key.public().as_bytes());
    let (mac_at, beta_bytes) = (geometry.mac_at(), geometry.beta_bytes());
    let tag = &packet[mac_at..mac_at + MAC_BYTES];
    if !bool::from(keys.verifies(&packet[..mac_at], tag)) {
        return Err(PacketError::Header);
    }
    // The header moves up by one block; what comes in at its end is key stream, as the sender knew.
    let mut blocks = [0; STREAM_BYTES_MAX];
    let blocks = &mut blocks[..beta_bytes + BLOCK_BYTES];
    blocks[..beta_bytes].copy_from_slice(&packet[BETA_AT..mac_at]);
    keys.stream(geometry, blocks);
    let (block, rest) = blocks.split_at(BLOCK_BYTES);
    let instruction = read_block(block)?;
    packet[FRAME_BYTES..BETA_AT].copy_from_slice(&block[..POINT_BYTES]);
    packet[BETA_AT..mac_at].copy_from_slice(rest);
    packet[mac_at..mac_at + MAC_BYTES].copy_from_slice(&block[NEXT_MAC_AT..NEXT_REF_AT]);
    Ok(OpenedHeader {
        geometry,
        epoch,
        instruction,
        replay_tag: ReplayTag::from_bytes(keys.replay_tag),
        payload: Zeroizing::new(keys.payload),
    })
}

fn field<const N: usize>(block: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&block[at..at + N]);
    field
}

fn read_block(block: &[u8]) -> Result<Instruction, PacketError> {
    if block[RESERVED_AT..] != [0; BLOCK_BYTES - RESERVED_AT] {
        return Err(PacketError::Routing);
    }
    match block[FLAGS_AT] {
        FORWARD => Ok(Instruction::Forward {
            next: NodeRef::from_bytes(field(block, NEXT_REF_AT)),
            delay: Duration::from_micros(u32::from_be_bytes(field(block, DELAY_AT)).into()),
        }),
        DELIVER => Ok(Instruction::Deliver),
        REPLY => SurbId::from_bytes(field(block, 0))
            .map(|surb| Instruction::Reply { surb })
            .ok_or(PacketError::Routing),
        _ => Err(PacketError::Routing),
    }
}

/// What the last hop is to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Last {
    Deliver,
    Reply,
}

/// The random part of a header.
struct Draft {
    /// The last hop's routing block and, behind it, the blocks that the route leaves unused.
    blocks: [u8; HOPS_MAX * BLOCK_BYTES],
    /// For a reply block: the seed of the keys for the reply's payload.
    reply: Zeroizing<[u8; 32]>,
}

/// A header that was built, and the seed of every hop's payload keys.
pub(crate) struct BuiltHeader {
    bytes: [u8; HEADER_BYTES_MAX],
    length: usize,
    seeds: Zeroizing<[[u8; 32]; HOPS_MAX]>,
    hops: usize,
    /// For a reply block: its id and the seed of the keys for the reply's payload.
    pub(crate) reply: Option<(SurbId, Zeroizing<[u8; 32]>)>,
}

impl BuiltHeader {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Seeds of the payload keys, in the order of the route.
    pub(crate) fn seeds(&self) -> &[[u8; 32]] {
        &self.seeds[..self.hops]
    }
}

/// Checks a route and tells its epoch.
pub(crate) fn check_route(geometry: Geometry, route: &[Hop]) -> Result<EpochParity, BuildError> {
    let Some(first) = route.first().filter(|_| route.len() <= geometry.hops_max()) else {
        return Err(BuildError::HopCount {
            actual: route.len(),
            max: geometry.hops_max(),
        });
    };
    for (position, hop) in route.iter().enumerate() {
        let reference = NodeRef::from(hop.node);
        if route[..position]
            .iter()
            .any(|earlier| NodeRef::from(earlier.node) == reference)
        {
            return Err(BuildError::RepeatedNode { node: hop.node });
        }
        if hop.key.is_low_order() {
            return Err(BuildError::WeakKey { node: hop.node });
        }
        if hop.epoch != first.epoch {
            return Err(BuildError::MixedEpochs { node: hop.node });
        }
        if hop.delay > DELAY_MAX {
            return Err(BuildError::DelayTooLong {
                node: hop.node,
                delay: hop.delay,
                max: DELAY_MAX,
            });
        }
    }
    Ok(first.epoch)
}

/// Builds one header.
///
/// # Errors
/// As [`build_headers`].
pub(crate) fn build_header(
    geometry: Geometry,
    route: &[Hop],
    last: Last,
    rng: &mut impl CryptoRng,
) -> Result<BuiltHeader, BuildError> {
    let mut built = None;
    build_headers(geometry, &[(route, last)], rng, |_, header| {
        built = Some(header);
    })?;
    Ok(built.expect("one header is built for one route"))
}

/// Builds headers, with the scalar multiplications of several done together, and gives each with
/// its index to `sink`, in order. Nothing is built unless all routes are sound.
///
/// From the generator come, for each header, the 32-byte seed of its ephemeral scalars, then the
/// random bytes that fill the last block and what the route leaves unused of the header, then, for
/// a reply block, the 32-byte seed of the reply's payload. Were the unused part not random, the last
/// hop could tell the length of the route (Kuhn et al., IEEE S&P 2020).
///
/// # Errors
/// [`BuildError`], every variant but [`BuildError::PayloadTooLarge`].
pub(crate) fn build_headers(
    geometry: Geometry,
    orders: &[(&[Hop], Last)],
    rng: &mut impl CryptoRng,
    mut sink: impl FnMut(usize, BuiltHeader),
) -> Result<(), BuildError> {
    for (route, _) in orders {
        check_route(geometry, route)?;
    }
    let mut scalars = Zeroizing::new([[0; 32]; BUILD_BATCH * HOPS_MAX]);
    let mut shared = Zeroizing::new([None; BUILD_BATCH * HOPS_MAX]);
    let mut keys = [[0; 32]; BUILD_BATCH * HOPS_MAX];
    let mut points = [[0; 32]; BUILD_BATCH * HOPS_MAX];
    let mut drafts: [Draft; BUILD_BATCH] = std::array::from_fn(|_| Draft {
        blocks: [0; HOPS_MAX * BLOCK_BYTES],
        reply: Zeroizing::new([0; 32]),
    });
    for (batch, orders) in orders.chunks(BUILD_BATCH).enumerate() {
        let mut lanes = 0;
        for ((route, last), draft) in orders.iter().zip(&mut drafts) {
            let end = lanes + route.len();
            let mut seed = Zeroizing::new([0; 32]);
            rng.fill_bytes(&mut *seed);
            expand_scalars(&seed, &mut scalars[lanes..end]);
            for (hop, key) in route.iter().zip(&mut keys[lanes..]) {
                *key = *hop.key.as_bytes();
            }
            draft.fill(geometry, route.len(), *last, rng);
            lanes = end;
        }
        dh::base(&scalars[..lanes], &mut points[..lanes]);
        dh::exchange_batch(&scalars[..lanes], &keys[..lanes], &mut shared[..lanes]);
        let mut start = 0;
        for (index, ((route, last), draft)) in orders.iter().zip(&drafts).enumerate() {
            let lanes = start..start + route.len();
            start = lanes.end;
            let (points, shared) = (&points[lanes.clone()], &shared[lanes]);
            let mut header = assemble(geometry, route, points, shared, &draft.blocks)?;
            header.reply = draft.reply(*last);
            sink(batch * BUILD_BATCH + index, header);
        }
    }
    Ok(())
}

impl Draft {
    fn fill(&mut self, geometry: Geometry, hops: usize, last: Last, rng: &mut impl CryptoRng) {
        let unused = geometry.hops_max() - hops;
        rng.fill_bytes(&mut self.blocks[..(unused + 1) * BLOCK_BYTES]);
        self.blocks[DELAY_AT..BLOCK_BYTES].fill(0);
        self.blocks[FLAGS_AT] = DELIVER;
        if last == Last::Reply {
            self.blocks[FLAGS_AT] = REPLY;
            // An id is never zero.
            while self.id().is_none() {
                rng.fill_bytes(&mut self.blocks[..16]);
            }
            rng.fill_bytes(&mut *self.reply);
        }
    }

    fn id(&self) -> Option<SurbId> {
        SurbId::from_bytes(field(&self.blocks, 0))
    }

    fn reply(&self, last: Last) -> Option<(SurbId, Zeroizing<[u8; 32]>)> {
        let id = self.id().filter(|_| last == Last::Reply)?;
        Some((id, self.reply.clone()))
    }
}

/// Wraps the routing blocks from the last hop to the first.
///
/// Source: Danezis and Goldberg 2009, §3.2, with a fresh point in every block in place of the
/// blinding of one.
fn assemble(
    geometry: Geometry,
    route: &[Hop],
    points: &[[u8; 32]],
    shared: &[Option<[u8; 32]>],
    last_blocks: &[u8; HOPS_MAX * BLOCK_BYTES],
) -> Result<BuiltHeader, BuildError> {
    let (beta_bytes, mac_at) = (geometry.beta_bytes(), geometry.mac_at());
    let hops = route.len();
    let mut header = BuiltHeader {
        bytes: [0; HEADER_BYTES_MAX],
        length: geometry.header_bytes(),
        seeds: Zeroizing::new([[0; 32]; HOPS_MAX]),
        hops,
        reply: None,
    };
    let mut keys = [const { None }; HOPS_MAX];
    let mut streams = Zeroizing::new([[0; STREAM_BYTES_MAX]; HOPS_MAX]);
    for (index, hop) in route.iter().enumerate() {
        let shared = shared[index]
            .as_ref()
            .ok_or(BuildError::WeakKey { node: hop.node })?;
        let hop_keys = HopKeys::derive(geometry, shared, &points[index], hop.key.as_bytes());
        hop_keys.stream(geometry, &mut streams[index][..beta_bytes + BLOCK_BYTES]);
        header.seeds[index] = hop_keys.payload;
        keys[index] = Some(hop_keys);
    }

    // What the hops before the last append, each a block of its key stream, decrypted by those
    // after it: it must be in place for their tags.
    let mut filler = [0; HOPS_MAX * BLOCK_BYTES];
    for (index, stream) in streams[..hops - 1].iter().enumerate() {
        let length = (index + 1) * BLOCK_BYTES;
        let tail = &stream[beta_bytes + BLOCK_BYTES - length..beta_bytes + BLOCK_BYTES];
        for (filler, tail) in filler.iter_mut().zip(tail) {
            *filler ^= tail;
        }
    }

    header.bytes[0] = geometry.version();
    header.bytes[1] = route[0].epoch as u8;
    for index in (0..hops).rev() {
        let (front, mac) = header.bytes.split_at_mut(mac_at);
        let (front, beta) = front.split_at_mut(BETA_AT);
        let own = if index + 1 == hops {
            let own = beta_bytes - index * BLOCK_BYTES;
            beta[..own].copy_from_slice(&last_blocks[..own]);
            beta[own..].copy_from_slice(&filler[..index * BLOCK_BYTES]);
            own
        } else {
            let hop = &route[index];
            beta.copy_within(..beta_bytes - BLOCK_BYTES, BLOCK_BYTES);
            let micros = u32::try_from(hop.delay.as_micros()).unwrap_or(u32::MAX);
            beta[..NEXT_MAC_AT].copy_from_slice(&front[FRAME_BYTES..]);
            beta[NEXT_MAC_AT..NEXT_REF_AT].copy_from_slice(&mac[..MAC_BYTES]);
            beta[NEXT_REF_AT..DELAY_AT]
                .copy_from_slice(NodeRef::from(route[index + 1].node).as_bytes());
            beta[DELAY_AT..FLAGS_AT].copy_from_slice(&micros.to_be_bytes());
            beta[FLAGS_AT] = FORWARD;
            beta[RESERVED_AT..BLOCK_BYTES].fill(0);
            beta_bytes
        };
        for (byte, stream) in beta[..own].iter_mut().zip(&streams[index]) {
            *byte ^= stream;
        }
        front[FRAME_BYTES..].copy_from_slice(&points[index]);
        let hop_keys = keys[index].as_ref().expect("derived for every hop above");
        let tag = hop_keys.tag(&header.bytes[..mac_at]);
        header.bytes[mac_at..mac_at + MAC_BYTES].copy_from_slice(&tag);
    }
    Ok(header)
}
