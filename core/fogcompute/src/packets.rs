//! Sphinx packets.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fogcompute_base::OsEntropy;
use fogcompute_mix::{
    EpochKey, EpochParity, Geometry, HOPS_MAX, Hop, KeyRing, Layer, NodeRef, OpenedHeader,
    PAYLOAD_OVERHEAD_BYTES, Packet, PacketError, PrivateKey, Processed, PublicKey, ReplayTag,
    ReplayVerdict, ReplyKey, SealedReply, Surb, SurbId, Unwrapped, open_header, open_headers,
};

use crate::Error;

/// Builds and processes Sphinx packets of one network's size.
///
/// ```
/// use fogcompute::{Hop, NodeId, PrivateKey, Processed, Sphinx};
/// use fogcompute::base::OsEntropy;
/// use std::time::Duration;
///
/// let sphinx = Sphinx::default();
/// let key = PrivateKey::random(&mut OsEntropy);
/// let hop = Hop::new(NodeId::from_bytes([1; 32]), key.public(), Duration::ZERO);
/// let packet = sphinx.build(&[hop], b"hello")?;
/// assert_eq!(packet.len(), sphinx.packet_bytes());
/// let Processed::Deliver { payload } = sphinx.process(&key, &packet)?.outcome else {
///     unreachable!("one hop delivers");
/// };
/// assert_eq!(payload, b"hello");
/// # Ok::<(), fogcompute::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Sphinx {
    geometry: Geometry,
}

/// A packet of a batch with one layer taken off, in the buffer it came in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Opened {
    /// Names the packet at this hop, whatever was done to its bytes: see it twice, drop it.
    pub replay_tag: ReplayTag,
    /// What to do.
    pub step: Step,
}

/// What to do with a packet of a batch. Ranges are of the whole buffer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// Hold the packet for `delay`, then send it to `next`.
    Forward {
        /// The next hop.
        next: NodeRef,
        /// How long to hold the packet.
        delay: Duration,
        /// Where it is: where the packet that came in was.
        packet: Range<usize>,
    },
    /// This node is the receiver.
    Deliver {
        /// Where the message is.
        payload: Range<usize>,
    },
    /// This node made the reply block the packet came by.
    Reply {
        /// Which reply block.
        surb: SurbId,
        /// Where the reply is that [`Sphinx::open_reply`] opens.
        sealed: Range<usize>,
    },
}

impl Sphinx {
    /// Packets that carry up to `payload_bytes` bytes, a multiple of 1,024 up to 65,536. The default
    /// is 2,048. Routes have up to 7 hops.
    ///
    /// # Errors
    /// [`Error::Geometry`].
    pub fn new(payload_bytes: usize) -> Result<Self, Error> {
        Self::with_hops(HOPS_MAX, payload_bytes)
    }

    /// The same for routes of up to `hops_max` hops, 1 to 7. With 5 hops and 1,024 bytes a packet
    /// fits one UDP datagram.
    ///
    /// # Errors
    /// [`Error::Geometry`].
    pub fn with_hops(hops_max: usize, payload_bytes: usize) -> Result<Self, Error> {
        Ok(Self::of(Geometry::new(hops_max, payload_bytes)?))
    }

    /// Packets of a network's sizes.
    #[must_use]
    pub const fn of(geometry: Geometry) -> Self {
        Self { geometry }
    }

    /// Most hops of a route.
    #[must_use]
    pub const fn hops_max(&self) -> usize {
        self.geometry.hops_max()
    }

    /// Bytes of message one packet carries.
    #[must_use]
    pub const fn payload_bytes(&self) -> usize {
        self.geometry.payload_bytes()
    }

    /// Length of every packet.
    #[must_use]
    pub const fn packet_bytes(&self) -> usize {
        self.geometry.packet_bytes()
    }

    /// Length of every reply block.
    #[must_use]
    pub const fn surb_bytes(&self) -> usize {
        self.geometry.surb_bytes()
    }

    /// Builds a packet that takes `route` and delivers `payload` to its last hop.
    ///
    /// Randomness is the operating system's.
    ///
    /// # Errors
    /// [`Error::Build`].
    pub fn build(&self, route: &[Hop], payload: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(Packet::build(self.geometry, route, payload, &mut OsEntropy)?.into_bytes())
    }

    /// Builds many packets, each of a route and a payload, one after the other in one buffer. Their
    /// scalar multiplications are done several together, which is faster.
    ///
    /// # Errors
    /// [`Error::Build`], for the first that is refused; then none is built.
    pub fn build_batch(&self, packets: &[(&[Hop], &[u8])]) -> Result<Vec<u8>, Error> {
        let built = Packet::build_batch(self.geometry, packets, &mut OsEntropy)?;
        let mut bytes = Vec::with_capacity(built.len() * self.packet_bytes());
        for packet in &built {
            bytes.extend_from_slice(packet.as_bytes());
        }
        Ok(bytes)
    }

    /// Takes one layer off a packet with this node's key.
    ///
    /// Nothing is remembered: a packet that is processed twice gives the same replay tag twice, which
    /// is for the caller to notice and to drop, as [`SphinxProcessor`] does.
    ///
    /// # Errors
    /// [`Error::Packet`].
    pub fn process(&self, key: &PrivateKey, packet: &[u8]) -> Result<Unwrapped, Error> {
        Ok(Packet::from_bytes(self.geometry, packet.to_vec())?.process(key)?)
    }

    /// Takes one layer off each of the packets that stand one after the other in `packets`, in
    /// place. Their scalar multiplications are done several together, which is faster.
    ///
    /// Nothing is remembered, as in [`Sphinx::process`]. The bytes of a packet that is refused are
    /// worth nothing afterwards.
    ///
    /// # Errors
    /// [`PacketError::Length`] if they are not whole packets; then nothing was changed. Each packet
    /// has a result of its own.
    pub fn process_batch(
        &self,
        key: &PrivateKey,
        packets: &mut [u8],
    ) -> Result<Vec<Result<Opened, Error>>, Error> {
        open_batch(self.geometry, &both_epochs(key), packets, |_| Ok(()))
    }

    /// Makes a single-use reply block whose route ends at its maker, and the key that opens the
    /// reply. The block goes to whoever is to reply, the key stays.
    ///
    /// # Errors
    /// [`Error::Build`].
    pub fn make_surb(&self, route: &[Hop]) -> Result<(Vec<u8>, ReplyKey), Error> {
        let (surb, key) = Surb::new(self.geometry, route, &mut OsEntropy)?;
        Ok((surb.to_bytes(), key))
    }

    /// The packet that carries `payload` back by a reply block, and the first node it goes to.
    ///
    /// A block works once: a second packet by it is dropped by that node.
    ///
    /// # Errors
    /// [`Error::Surb`].
    pub fn reply(&self, surb: &[u8], payload: &[u8]) -> Result<(NodeRef, Vec<u8>), Error> {
        let (next, packet) = Surb::from_bytes(self.geometry, surb)?.reply(payload)?;
        Ok((next, packet.into_bytes()))
    }

    /// Opens what came by a reply block made here: the `reply` of [`Processed::Reply`], or what
    /// [`Step::Reply`] points at.
    ///
    /// # Errors
    /// [`Error::Surb`].
    pub fn open_reply(&self, key: &ReplyKey, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(key.open(SealedReply::from_bytes(sealed))?)
    }
}

/// What a [`SphinxProcessor`] counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ProcessorStats {
    /// Packets that came in.
    pub received: u64,
    /// Of those, to be sent on.
    pub forwarded: u64,
    /// Of those, messages for this node.
    pub delivered: u64,
    /// Of those, replies for this node.
    pub replies: u64,
    /// Of those, refused: wrong length, version, tag, key or payload.
    pub malformed: u64,
    /// Of those, refused: processed before.
    pub replayed: u64,
    /// Of those, refused: no more packets of this key can be remembered.
    pub overloaded: u64,
}

#[derive(Debug, Default)]
struct Counters {
    forwarded: AtomicU64,
    delivered: AtomicU64,
    replies: AtomicU64,
    malformed: AtomicU64,
    replayed: AtomicU64,
    overloaded: AtomicU64,
}

/// Processes the packets of one mix key and remembers them, so that none is processed twice. It can
/// be used by many threads at once: of those that process the same packet, one succeeds.
///
/// It is a mixnode's cryptography without its delays and links.
pub struct SphinxProcessor {
    sphinx: Sphinx,
    keys: KeyRing,
    key: EpochKey,
    packets_max: usize,
    counters: Counters,
}

impl SphinxProcessor {
    /// A processor with this key, which must not have been used before: what was seen under it
    /// earlier is not known.
    ///
    /// Of `packets_max` packets it remembers, 5 bytes each; well beyond that it refuses further ones
    /// with [`Error::ReplayFilterFull`], and needs a new key.
    ///
    /// # Errors
    /// [`Error::TooManyTags`] if there is no memory for so many.
    pub fn new(sphinx: Sphinx, key: PrivateKey, packets_max: usize) -> Result<Self, Error> {
        Ok(Self {
            sphinx,
            keys: both_epochs(&key),
            key: EpochKey::try_new(key, packets_max)?,
            packets_max,
            counters: Counters::default(),
        })
    }

    /// The packets' sizes.
    #[must_use]
    pub const fn sphinx(&self) -> Sphinx {
        self.sphinx
    }

    /// The public half of its key.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.key.public_key()
    }

    /// Takes one layer off a packet that was not processed before.
    ///
    /// # Errors
    /// [`Error::Packet`], [`Error::Replayed`], [`Error::ReplayFilterFull`].
    pub fn process(&self, packet: &[u8]) -> Result<Unwrapped, Error> {
        let result = self.unwrap(packet);
        self.count(match &result {
            Ok(unwrapped) => Ok(match unwrapped.outcome {
                Processed::Forward { .. } => &self.counters.forwarded,
                Processed::Deliver { .. } => &self.counters.delivered,
                Processed::Reply { .. } => &self.counters.replies,
            }),
            Err(error) => Err(error),
        });
        result
    }

    fn unwrap(&self, packet: &[u8]) -> Result<Unwrapped, Error> {
        let geometry = self.sphinx.geometry;
        let mut packet = packet.to_vec();
        let header = open_header(geometry, &self.keys, &mut packet)?;
        let replay_tag = header.replay_tag();
        self.remember(replay_tag)?;
        let outcome = match header.open_payload(&mut packet)? {
            Layer::Forward { next, delay } => Processed::Forward {
                next,
                delay,
                packet: Packet::from_bytes(geometry, packet)?,
            },
            Layer::Deliver { payload } => Processed::Deliver {
                payload: payload.to_vec(),
            },
            Layer::Reply { surb, sealed } => Processed::Reply {
                surb,
                reply: SealedReply::from_bytes(sealed),
            },
        };
        Ok(Unwrapped {
            replay_tag,
            outcome,
        })
    }

    /// What [`Sphinx::process_batch`] does, for packets that were not processed before.
    ///
    /// # Errors
    /// As there; each result may also be [`Error::Replayed`] or [`Error::ReplayFilterFull`].
    pub fn process_batch(&self, packets: &mut [u8]) -> Result<Vec<Result<Opened, Error>>, Error> {
        let geometry = self.sphinx.geometry;
        let results = open_batch(geometry, &self.keys, packets, |tag| self.remember(tag))?;
        for result in &results {
            self.count(match result {
                Ok(opened) => Ok(match opened.step {
                    Step::Forward { .. } => &self.counters.forwarded,
                    Step::Deliver { .. } => &self.counters.delivered,
                    Step::Reply { .. } => &self.counters.replies,
                }),
                Err(error) => Err(error),
            });
        }
        Ok(results)
    }

    fn remember(&self, tag: ReplayTag) -> Result<(), Error> {
        match self.key.replay_filter().check(tag) {
            ReplayVerdict::Fresh => Ok(()),
            ReplayVerdict::Replayed => Err(Error::Replayed),
            ReplayVerdict::Full => Err(Error::ReplayFilterFull {
                packets_max: self.packets_max,
            }),
        }
    }

    fn count(&self, result: Result<&AtomicU64, &Error>) {
        let counter = result.unwrap_or_else(|error| match error {
            Error::Replayed => &self.counters.replayed,
            Error::ReplayFilterFull { .. } => &self.counters.overloaded,
            _ => &self.counters.malformed,
        });
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// What it counted since it was made.
    #[must_use]
    pub fn stats(&self) -> ProcessorStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut stats = ProcessorStats {
            received: 0,
            forwarded: read(&self.counters.forwarded),
            delivered: read(&self.counters.delivered),
            replies: read(&self.counters.replies),
            malformed: read(&self.counters.malformed),
            replayed: read(&self.counters.replayed),
            overloaded: read(&self.counters.overloaded),
        };
        stats.received = stats.forwarded
            + stats.delivered
            + stats.replies
            + stats.malformed
            + stats.replayed
            + stats.overloaded;
        stats
    }
}

impl fmt::Debug for SphinxProcessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SphinxProcessor({:?})", self.key.public_key())
    }
}

/// Packets of both parities are for this key.
fn both_epochs(key: &PrivateKey) -> KeyRing {
    let mut keys = KeyRing::new(EpochParity::Even, key.clone());
    keys.insert(EpochParity::Odd, key.clone());
    keys
}

fn open_batch(
    geometry: Geometry,
    keys: &KeyRing,
    packets: &mut [u8],
    remember: impl Fn(ReplayTag) -> Result<(), Error>,
) -> Result<Vec<Result<Opened, Error>>, Error> {
    let length = geometry.packet_bytes();
    let rest = packets.len() % length;
    if rest != 0 {
        return Err(Error::Packet(PacketError::Length {
            actual: rest,
            expected: length,
        }));
    }
    let mut packets: Vec<_> = packets.chunks_exact_mut(length).collect();
    let mut headers = Vec::new();
    open_headers(geometry, keys, &mut packets, &mut headers);
    let opened = headers
        .into_iter()
        .zip(packets)
        .enumerate()
        .map(|(index, (header, packet))| {
            let header: OpenedHeader = header?;
            let replay_tag = header.replay_tag();
            remember(replay_tag)?;
            let start = index * length;
            let payload = start + geometry.header_bytes();
            let step = match header.open_payload(packet)? {
                Layer::Forward { next, delay } => Step::Forward {
                    next,
                    delay,
                    packet: start..start + length,
                },
                Layer::Deliver { payload: message } => {
                    let begin = payload + PAYLOAD_OVERHEAD_BYTES;
                    Step::Deliver {
                        payload: begin..begin + message.len(),
                    }
                }
                Layer::Reply { surb, sealed } => Step::Reply {
                    surb,
                    sealed: payload..payload + sealed.len(),
                },
            };
            Ok(Opened { replay_tag, step })
        });
    Ok(opened.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogcompute_base::NodeId;

    fn key_and_hop(id: u8) -> (PrivateKey, Hop) {
        let key = PrivateKey::random(&mut OsEntropy);
        let hop = Hop::new(NodeId::from_bytes([id; 32]), key.public(), Duration::ZERO);
        (key, hop)
    }

    #[test]
    fn a_batch_gives_what_its_packets_give_one_by_one() {
        for sphinx in [Sphinx::default(), Sphinx::with_hops(5, 1024).unwrap()] {
            let (key, first) = key_and_hop(1);
            let (_, second) = key_and_hop(2);
            let routes = [vec![first], vec![first, second]];
            let payloads: Vec<Vec<u8>> = (0..40).map(|n| vec![n; usize::from(n)]).collect();
            let orders: Vec<_> = payloads
                .iter()
                .enumerate()
                .map(|(n, payload)| (routes[n % 2].as_slice(), payload.as_slice()))
                .collect();
            let mut buffer = sphinx.build_batch(&orders).unwrap();
            let (surb, reply_key) = sphinx.make_surb(&[first]).unwrap();
            assert_eq!(surb.len(), sphinx.surb_bytes());
            let (next, reply) = sphinx.reply(&surb, b"answer").unwrap();
            assert_eq!(next, NodeRef::from(first.node));
            buffer.extend_from_slice(&reply);
            // One that is refused leaves its neighbours alone.
            buffer[7 * sphinx.packet_bytes() + 40] ^= 1;
            let before = buffer.clone();

            let results = sphinx.process_batch(&key, &mut buffer).unwrap();
            assert_eq!(results.len(), 41);
            let singles = before.chunks(sphinx.packet_bytes());
            for (n, (result, packet)) in results.iter().zip(singles).enumerate() {
                let alone = sphinx.process(&key, packet);
                if n == 7 {
                    assert_eq!(
                        result.as_ref().unwrap_err().to_string(),
                        alone.unwrap_err().to_string()
                    );
                    continue;
                }
                let (opened, alone) = (result.as_ref().unwrap(), alone.unwrap());
                assert_eq!(opened.replay_tag, alone.replay_tag);
                match (&opened.step, alone.outcome) {
                    (
                        Step::Forward {
                            next,
                            delay,
                            packet,
                        },
                        Processed::Forward {
                            next: n,
                            delay: d,
                            packet: p,
                        },
                    ) => assert_eq!(
                        (next, delay, &buffer[packet.clone()]),
                        (&n, &d, p.as_bytes())
                    ),
                    (Step::Deliver { payload }, Processed::Deliver { payload: p }) => {
                        assert_eq!((&buffer[payload.clone()], &payloads[n]), (&p[..], &p));
                    }
                    (Step::Reply { surb, sealed }, Processed::Reply { surb: s, reply }) => {
                        assert_eq!((*surb, reply_key.id()), (s, s));
                        assert_eq!(&buffer[sealed.clone()], reply.as_bytes());
                        let opened = sphinx.open_reply(&reply_key, &buffer[sealed.clone()]);
                        assert_eq!(opened.unwrap(), b"answer");
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    #[test]
    fn bytes_that_are_no_whole_packets_are_left_alone() {
        let sphinx = Sphinx::default();
        let (key, hop) = key_and_hop(1);
        let packet = sphinx.build(&[hop], b"x").unwrap();
        let mut buffer = [&packet[..], &packet[1..]].concat();
        let error = sphinx.process_batch(&key, &mut buffer).unwrap_err();
        assert!(matches!(
            error,
            Error::Packet(PacketError::Length { actual, .. }) if actual == packet.len() - 1
        ));
        assert_eq!(buffer, [&packet[..], &packet[1..]].concat());
        assert!(sphinx.process_batch(&key, &mut []).unwrap().is_empty());
    }

    #[test]
    fn a_processor_takes_a_packet_once_alone_and_in_batches() {
        let sphinx = Sphinx::default();
        let (key, hop) = key_and_hop(1);
        let (_, other) = key_and_hop(2);
        let processor = SphinxProcessor::new(sphinx, key, 1000).unwrap();
        assert_eq!(processor.public_key(), hop.key);
        let packet = sphinx.build(&[hop], b"once").unwrap();
        let forwarded = sphinx.build(&[hop, other], b"on").unwrap();
        assert!(processor.process(&packet).is_ok());
        assert!(matches!(processor.process(&packet), Err(Error::Replayed)));
        assert!(matches!(
            processor.process(&packet[1..]),
            Err(Error::Packet(PacketError::Length { .. }))
        ));
        let mut batch = [&forwarded[..], &forwarded, &packet].concat();
        let results = processor.process_batch(&mut batch).unwrap();
        assert!(matches!(results[0], Ok(Opened { .. })));
        assert!(matches!(results[1], Err(Error::Replayed)));
        assert!(matches!(results[2], Err(Error::Replayed)));
        let (surb, _) = sphinx.make_surb(&[hop]).unwrap();
        let (_, reply) = sphinx.reply(&surb, b"").unwrap();
        assert!(processor.process(&reply).is_ok());
        assert_eq!(
            processor.stats(),
            ProcessorStats {
                received: 7,
                forwarded: 1,
                delivered: 1,
                replies: 1,
                malformed: 1,
                replayed: 3,
                overloaded: 0,
            }
        );
    }

    #[test]
    fn a_processor_that_can_remember_no_more_says_so() {
        let sphinx = Sphinx::with_hops(1, 1024).unwrap();
        let (key, hop) = key_and_hop(1);
        let processor = SphinxProcessor::new(sphinx, key.clone(), 1).unwrap();
        assert!(matches!(
            SphinxProcessor::new(sphinx, key, usize::MAX),
            Err(Error::TooManyTags(_))
        ));
        let full = (0..1000).find_map(|_| {
            let packet = sphinx.build(&[hop], b"").unwrap();
            processor.process(&packet).err()
        });
        assert!(matches!(
            full,
            Some(Error::ReplayFilterFull { packets_max: 1 })
        ));
        assert_eq!(processor.stats().overloaded, 1);
    }

    #[test]
    fn of_threads_that_process_one_packet_one_succeeds() {
        let sphinx = Sphinx::with_hops(1, 1024).unwrap();
        let (key, hop) = key_and_hop(1);
        let processor = SphinxProcessor::new(sphinx, key, 1000).unwrap();
        let packet = sphinx.build(&[hop], b"").unwrap();
        let successes = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| processor.process(&packet).is_ok()))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .filter(|won| *won)
                .count()
        });
        assert_eq!(successes, 1);
    }

    #[test]
    fn a_reply_block_that_is_none_and_a_reply_that_does_not_open_are_refused() {
        let sphinx = Sphinx::default();
        let (key, hop) = key_and_hop(1);
        let (surb, reply_key) = sphinx.make_surb(&[hop]).unwrap();
        assert!(matches!(
            sphinx.reply(&surb[1..], b""),
            Err(Error::Surb(fogcompute_mix::SurbError::Malformed { .. }))
        ));
        let (_, packet) = sphinx.reply(&surb, b"hi").unwrap();
        let Processed::Reply { reply, .. } = sphinx.process(&key, &packet).unwrap().outcome else {
            unreachable!("it came by a reply block");
        };
        let mut sealed = reply.as_bytes().to_vec();
        sealed[100] ^= 1;
        assert!(matches!(
            sphinx.open_reply(&reply_key, &sealed),
            Err(Error::Surb(fogcompute_mix::SurbError::Sealed))
        ));
    }
}
