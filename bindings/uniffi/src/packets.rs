//! Sphinx packets.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use fogcompute::base::OsEntropy;
use fogcompute::mix::PacketError;
use fogcompute::{Opened, ProcessorStats, Step};

use crate::error::{guarded, invalid_argument};
use crate::{ErrorCode, FogError};

/// One stop of a packet's route.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct Hop {
    /// Id of the node, 64 hexadecimal digits.
    pub node: String,
    /// The node's public mix key, 32 bytes.
    pub key: Vec<u8>,
    /// How long the node holds the packet, in milliseconds. The last one does not wait.
    pub delay_ms: u64,
}

impl Hop {
    fn parse(&self) -> Result<fogcompute::Hop, FogError> {
        let key = fogcompute::PublicKey::from_bytes(key_bytes(&self.key)?);
        let delay = Duration::from_millis(self.delay_ms);
        Ok(fogcompute::Hop::new(self.node.parse()?, key, delay))
    }
}

/// A node's private mix key. Erased from the library's memory when released.
#[derive(uniffi::Object)]
pub struct PrivateKey(fogcompute::PrivateKey);

#[uniffi::export]
impl PrivateKey {
    /// A new key.
    ///
    /// # Errors
    /// [`FogError::Panic`] if the operating system gives no random bytes.
    #[uniffi::constructor]
    pub fn generate() -> Result<Arc<Self>, FogError> {
        guarded(|| {
            let key = fogcompute::PrivateKey::random(&mut OsEntropy);
            Ok(Arc::new(Self(key)))
        })
    }

    /// Takes a key from its 32 secret bytes.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`] for another number of bytes.
    #[uniffi::constructor]
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Arc<Self>, FogError> {
        let key = fogcompute::PrivateKey::from_bytes(key_bytes(&bytes)?);
        Ok(Arc::new(Self(key)))
    }

    /// The public half, 32 bytes.
    pub fn public_key(&self) -> Vec<u8> {
        self.0.public().as_bytes().to_vec()
    }

    /// The 32 secret bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes().to_vec()
    }
}

/// What one layer of a packet said to do.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Enum)]
pub enum Processed {
    /// Hold the packet for a while, then send it on.
    Forward {
        /// The first 16 hexadecimal digits of the next node's id.
        next: String,
        /// How long to hold it.
        delay: Duration,
        /// What to send, as long as the packet that came in.
        packet: Vec<u8>,
    },
    /// This node is the receiver.
    Deliver {
        /// The sender's message.
        payload: Vec<u8>,
    },
    /// This node made the reply block the packet came by.
    Reply {
        /// Id of the reply block, 32 hexadecimal digits.
        surb: String,
        /// The reply, which its key opens.
        sealed: Vec<u8>,
    },
}

/// A packet with one layer taken off.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct Unwrapped {
    /// Names the packet at this hop, 32 hexadecimal digits: a packet whose tag was seen before
    /// is a replay and must be dropped.
    pub replay_tag: String,
    /// What to do.
    pub outcome: Processed,
}

impl From<fogcompute::mix::Unwrapped> for Unwrapped {
    fn from(unwrapped: fogcompute::mix::Unwrapped) -> Self {
        let outcome = match unwrapped.outcome {
            fogcompute::Processed::Forward {
                next,
                delay,
                packet,
            } => Processed::Forward {
                next: next.to_string(),
                delay,
                packet: packet.into_bytes(),
            },
            fogcompute::Processed::Deliver { payload } => Processed::Deliver { payload },
            fogcompute::Processed::Reply { surb, reply } => Processed::Reply {
                surb: hex(surb.as_bytes()),
                sealed: reply.as_bytes().to_vec(),
            },
        };
        Self {
            replay_tag: hex(unwrapped.replay_tag.as_bytes()),
            outcome,
        }
    }
}

impl Unwrapped {
    /// A packet of a batch that was processed in place.
    fn of(opened: Opened, batch: &[u8]) -> Self {
        let outcome = match opened.step {
            Step::Forward {
                next,
                delay,
                packet,
            } => Processed::Forward {
                next: next.to_string(),
                delay,
                packet: batch[packet].to_vec(),
            },
            Step::Deliver { payload } => Processed::Deliver {
                payload: batch[payload].to_vec(),
            },
            Step::Reply { surb, sealed } => Processed::Reply {
                surb: hex(surb.as_bytes()),
                sealed: batch[sealed].to_vec(),
            },
        };
        Self {
            replay_tag: hex(opened.replay_tag.as_bytes()),
            outcome,
        }
    }
}

/// What became of one packet of a batch.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Enum)]
pub enum BatchResult {
    /// One layer was taken off.
    Opened {
        /// What was in it.
        unwrapped: Unwrapped,
    },
    /// It was refused. Its neighbours were not.
    Refused {
        /// Why, for programs.
        code: ErrorCode,
        /// Why, for people.
        message: String,
    },
}

/// A packet to be built.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct PacketOrder {
    /// Where it goes; the last hop is the receiver.
    pub route: Vec<Hop>,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// The secret key of a reply block. It stays with its maker.
#[derive(uniffi::Object)]
pub struct ReplyKey(fogcompute::ReplyKey);

#[uniffi::export]
impl ReplyKey {
    /// Id of its reply block, 32 hexadecimal digits: a processed reply names it.
    pub fn surb(&self) -> String {
        hex(self.0.id().as_bytes())
    }
}

/// A single-use reply block and its key.
#[derive(Clone, uniffi::Record)]
pub struct Surb {
    /// The block, for whoever is to reply.
    pub block: Vec<u8>,
    /// What opens the reply.
    pub key: Arc<ReplyKey>,
}

/// A packet that carries a reply.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct ReplyPacket {
    /// Where it goes: the first 16 hexadecimal digits of the node's id.
    pub next: String,
    /// What to send there.
    pub packet: Vec<u8>,
}

/// Builds and processes Sphinx packets of one network's size.
#[derive(uniffi::Object)]
pub struct Sphinx(fogcompute::Sphinx);

#[uniffi::export]
impl Sphinx {
    /// Packets that carry up to `payload_bytes` bytes, a multiple of 1,024 up to 65,536; without
    /// a number, 2,048.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`] for a size outside that range.
    #[uniffi::constructor(default(payload_bytes = None))]
    pub fn new(payload_bytes: Option<u32>) -> Result<Arc<Self>, FogError> {
        guarded(|| {
            let sphinx = match payload_bytes {
                Some(bytes) => fogcompute::Sphinx::new(bytes as usize)?,
                None => fogcompute::Sphinx::default(),
            };
            Ok(Arc::new(Self(sphinx)))
        })
    }

    /// The same for routes of up to `hops_max` hops, 1 to 7. With 5 hops and 1,024 bytes a packet
    /// fits one UDP datagram.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`] for a number outside its range.
    #[uniffi::constructor]
    pub fn with_hops(hops_max: u32, payload_bytes: u32) -> Result<Arc<Self>, FogError> {
        guarded(|| {
            let sphinx = fogcompute::Sphinx::with_hops(hops_max as usize, payload_bytes as usize)?;
            Ok(Arc::new(Self(sphinx)))
        })
    }

    /// Most hops of a route.
    pub fn hops_max(&self) -> u32 {
        self.0.hops_max() as u32
    }

    /// Bytes of message one packet carries.
    pub fn payload_bytes(&self) -> u32 {
        self.0.payload_bytes() as u32
    }

    /// Length of every packet, in bytes.
    pub fn packet_bytes(&self) -> u32 {
        self.0.packet_bytes() as u32
    }

    /// Length of every reply block, in bytes.
    pub fn surb_bytes(&self) -> u32 {
        self.0.surb_bytes() as u32
    }

    /// Builds a packet that takes `route` and delivers `payload` to its last hop.
    ///
    /// # Errors
    /// [`FogError::InvalidRoute`], [`FogError::PayloadTooLarge`], and
    /// [`FogError::InvalidArgument`] for ids or keys that are not well formed.
    pub fn build(&self, route: Vec<Hop>, payload: Vec<u8>) -> Result<Vec<u8>, FogError> {
        guarded(|| {
            let route = parse_route(&route)?;
            Ok(self.0.build(&route, &payload)?)
        })
    }

    /// Builds many packets, in the order they were given in. Their scalar multiplications are done
    /// several together, which is faster.
    ///
    /// # Errors
    /// As [`Sphinx::build`], for the first that is refused; then none is built.
    pub fn build_batch(&self, packets: Vec<PacketOrder>) -> Result<Vec<Vec<u8>>, FogError> {
        guarded(|| {
            let routes: Vec<_> = packets
                .iter()
                .map(|order| parse_route(&order.route))
                .collect::<Result<_, _>>()?;
            let orders: Vec<_> = routes
                .iter()
                .zip(&packets)
                .map(|(route, order)| (route.as_slice(), order.payload.as_slice()))
                .collect();
            let built = self.0.build_batch(&orders)?;
            let packets = built.chunks_exact(self.0.packet_bytes());
            Ok(packets.map(<[u8]>::to_vec).collect())
        })
    }

    /// Takes one layer off a packet with this node's key.
    ///
    /// Nothing is remembered: to notice a replay tag that was seen before is up to the caller.
    ///
    /// # Errors
    /// [`FogError::InvalidPacket`].
    pub fn process(&self, key: &PrivateKey, packet: Vec<u8>) -> Result<Unwrapped, FogError> {
        guarded(|| Ok(self.0.process(&key.0, &packet)?.into()))
    }

    /// Takes one layer off each of many packets. Their scalar multiplications are done several
    /// together, which is faster.
    ///
    /// Nothing is remembered, as in [`Sphinx::process`]. Each packet has a result of its own, in
    /// the order they were given in.
    ///
    /// # Errors
    /// [`FogError::Panic`].
    pub fn process_batch(
        &self,
        key: &PrivateKey,
        packets: Vec<Vec<u8>>,
    ) -> Result<Vec<BatchResult>, FogError> {
        in_one_buffer(self.0, &packets, |buffer| {
            self.0.process_batch(&key.0, buffer)
        })
    }

    /// Makes a single-use reply block whose route ends at its maker.
    ///
    /// # Errors
    /// [`FogError::InvalidRoute`], and [`FogError::InvalidArgument`] for ids or keys that are not
    /// well formed.
    pub fn make_surb(&self, route: Vec<Hop>) -> Result<Surb, FogError> {
        guarded(|| {
            let (block, key) = self.0.make_surb(&parse_route(&route)?)?;
            Ok(Surb {
                block,
                key: Arc::new(ReplyKey(key)),
            })
        })
    }

    /// The packet that carries `payload` back by a reply block.
    ///
    /// A block works once: a second packet by it is dropped by the first node.
    ///
    /// # Errors
    /// [`FogError::InvalidReplyBlock`], [`FogError::PayloadTooLarge`].
    pub fn reply(&self, block: Vec<u8>, payload: Vec<u8>) -> Result<ReplyPacket, FogError> {
        guarded(|| {
            let (next, packet) = self.0.reply(&block, &payload)?;
            Ok(ReplyPacket {
                next: next.to_string(),
                packet,
            })
        })
    }

    /// Opens what came by a reply block made here: the sealed bytes of a processed reply.
    ///
    /// # Errors
    /// [`FogError::InvalidReplyBlock`] if the key is another's or the bytes were changed.
    pub fn open_reply(&self, key: &ReplyKey, sealed: Vec<u8>) -> Result<Vec<u8>, FogError> {
        guarded(|| Ok(self.0.open_reply(&key.0, &sealed)?))
    }
}

/// What a processor counted.
#[uniffi::remote(Record)]
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

/// Processes the packets of one mix key and remembers them, so that none is processed twice. Many
/// threads may use it at once: of those that process the same packet, one succeeds.
///
/// It is a mixnode's cryptography without its delays and links.
#[derive(uniffi::Object)]
pub struct SphinxProcessor(fogcompute::SphinxProcessor);

#[uniffi::export]
impl SphinxProcessor {
    /// A processor with this key, which must not have been used before: what was seen under it
    /// earlier is not known.
    ///
    /// Of `packets_max` packets it remembers, 5 bytes each; well beyond that it refuses further
    /// ones, and needs a new key.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`] if there is no memory for so many.
    #[uniffi::constructor(default(packets_max = 1000000))]
    pub fn new(sphinx: &Sphinx, key: &PrivateKey, packets_max: u32) -> Result<Arc<Self>, FogError> {
        guarded(|| {
            let (key, packets_max) = (key.0.clone(), packets_max as usize);
            let processor = fogcompute::SphinxProcessor::new(sphinx.0, key, packets_max)?;
            Ok(Arc::new(Self(processor)))
        })
    }

    /// The public half of its key, 32 bytes.
    pub fn public_key(&self) -> Vec<u8> {
        self.0.public_key().as_bytes().to_vec()
    }

    /// Takes one layer off a packet that was not processed before.
    ///
    /// # Errors
    /// [`FogError::InvalidPacket`], [`FogError::Replayed`], [`FogError::MixnetBusy`] if no more can
    /// be remembered.
    pub fn process(&self, packet: Vec<u8>) -> Result<Unwrapped, FogError> {
        guarded(|| Ok(self.0.process(&packet)?.into()))
    }

    /// What [`Sphinx::process_batch`] does, for packets that were not processed before. Packets of
    /// another length than the network's are refused before they are counted.
    ///
    /// # Errors
    /// [`FogError::Panic`].
    pub fn process_batch(&self, packets: Vec<Vec<u8>>) -> Result<Vec<BatchResult>, FogError> {
        in_one_buffer(self.0.sphinx(), &packets, |buffer| {
            self.0.process_batch(buffer)
        })
    }

    /// What it counted since it was made.
    pub fn stats(&self) -> ProcessorStats {
        self.0.stats()
    }
}

/// What the facade says of a batch.
type Batch = Result<Vec<Result<Opened, fogcompute::Error>>, fogcompute::Error>;

/// Processes packets one after the other in one buffer, as the facade does. One of another length
/// would shift its neighbours, so it is left out and refused by itself.
fn in_one_buffer(
    sphinx: fogcompute::Sphinx,
    packets: &[Vec<u8>],
    process: impl FnOnce(&mut [u8]) -> Batch,
) -> Result<Vec<BatchResult>, FogError> {
    guarded(|| {
        let expected = sphinx.packet_bytes();
        let whole = |packet: &&Vec<u8>| packet.len() == expected;
        let mut buffer: Vec<u8> = packets.iter().filter(whole).flatten().copied().collect();
        let mut results = process(&mut buffer)?.into_iter();
        let result = |packet: &Vec<u8>| {
            let length = PacketError::Length {
                actual: packet.len(),
                expected,
            };
            let processed = Some(packet).filter(whole).and_then(|_| results.next());
            match processed.unwrap_or(Err(length.into())) {
                Ok(opened) => BatchResult::Opened {
                    unwrapped: Unwrapped::of(opened, &buffer),
                },
                Err(error) => BatchResult::Refused {
                    code: error.code().into(),
                    message: error.to_string(),
                },
            }
        };
        Ok(packets.iter().map(result).collect())
    })
}

fn parse_route(route: &[Hop]) -> Result<Vec<fogcompute::Hop>, FogError> {
    route.iter().map(Hop::parse).collect()
}

pub(crate) fn key_bytes(bytes: &[u8]) -> Result<[u8; 32], FogError> {
    bytes.try_into().map_err(|_| {
        let actual = bytes.len();
        invalid_argument(format!("key has {actual} bytes, must have 32"))
    })
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receiver() -> (Arc<Sphinx>, Arc<PrivateKey>, Hop) {
        let key = PrivateKey::generate().unwrap();
        let hop = Hop {
            node: "0a".repeat(32),
            key: key.public_key(),
            delay_ms: 0,
        };
        (Sphinx::new(None).unwrap(), key, hop)
    }

    #[test]
    fn one_hop_delivers() {
        let (sphinx, key, hop) = receiver();
        let packet = sphinx.build(vec![hop], b"hello".to_vec()).unwrap();
        let unwrapped = sphinx.process(&key, packet).unwrap();
        assert_eq!(unwrapped.replay_tag.len(), 32);
        let payload = b"hello".to_vec();
        assert_eq!(unwrapped.outcome, Processed::Deliver { payload });
    }

    #[test]
    fn a_reply_comes_back_to_the_maker_of_its_block() {
        let (sphinx, key, hop) = receiver();
        let surb = sphinx.make_surb(vec![hop.clone()]).unwrap();
        assert_eq!(surb.block.len(), sphinx.surb_bytes() as usize);
        let reply = sphinx.reply(surb.block, b"answer".to_vec()).unwrap();
        assert_eq!(reply.next, hop.node[..16]);
        let unwrapped = sphinx.process(&key, reply.packet).unwrap();
        let Processed::Reply { surb: id, sealed } = unwrapped.outcome else {
            panic!("{unwrapped:?}");
        };
        assert_eq!(id, surb.key.surb());
        let opened = sphinx.open_reply(&surb.key, sealed.clone()).unwrap();
        assert_eq!(opened, b"answer");
        let other = sphinx.make_surb(vec![hop]).unwrap();
        for refused in [
            sphinx.open_reply(&other.key, sealed),
            sphinx.open_reply(&surb.key, vec![]),
            sphinx.reply(vec![1], vec![]).map(|reply| reply.packet),
        ] {
            let refused = refused.unwrap_err();
            assert!(
                matches!(refused, FogError::InvalidReplyBlock { .. }),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_batch_gives_what_its_packets_give_one_by_one() {
        let (sphinx, key, hop) = receiver();
        let other = PrivateKey::generate().unwrap();
        let next = Hop {
            node: "0b".repeat(32),
            key: other.public_key(),
            delay_ms: 0,
        };
        let order = |route: &[&Hop], payload: &[u8]| PacketOrder {
            route: route.iter().copied().cloned().collect(),
            payload: payload.to_vec(),
        };
        let orders = vec![order(&[&hop, &next], b"on"), order(&[&hop], b"here")];
        let mut packets = sphinx.build_batch(orders).unwrap();
        let surb = sphinx.make_surb(vec![hop]).unwrap();
        packets.push(sphinx.reply(surb.block, vec![]).unwrap().packet);
        packets.insert(1, packets[0][1..].to_vec());
        packets.insert(3, vec![0; packets[0].len()]);
        let results = sphinx.process_batch(&key, packets.clone()).unwrap();
        assert_eq!(results.len(), packets.len());
        for (result, packet) in results.iter().zip(&packets) {
            match (result, sphinx.process(&key, packet.clone())) {
                (BatchResult::Opened { unwrapped }, Ok(alone)) => assert_eq!(*unwrapped, alone),
                (BatchResult::Refused { code, message }, Err(error)) => {
                    assert_eq!(*code, ErrorCode::InvalidPacket);
                    assert_eq!(*message, error.to_string());
                }
                other => panic!("{other:?}"),
            }
        }

        let processor = SphinxProcessor::new(&sphinx, &key, 1000).unwrap();
        assert_eq!(processor.public_key(), key.public_key());
        processor.process(packets[0].clone()).unwrap();
        let replayed = processor.process(packets[0].clone());
        assert!(matches!(replayed, Err(FogError::Replayed { .. })));
        let codes: Vec<_> = processor
            .process_batch(packets)
            .unwrap()
            .into_iter()
            .map(|result| match result {
                BatchResult::Opened { .. } => None,
                BatchResult::Refused { code, .. } => Some(code),
            })
            .collect();
        let invalid = Some(ErrorCode::InvalidPacket);
        assert_eq!(
            codes,
            [Some(ErrorCode::Replayed), invalid, None, invalid, None]
        );
        let stats = processor.stats();
        assert_eq!((stats.received, stats.replayed, stats.malformed), (6, 2, 1));
        assert_eq!((stats.forwarded, stats.delivered, stats.replies), (1, 1, 1));
    }

    #[test]
    fn sizes_are_those_asked_for() {
        let sphinx = Sphinx::with_hops(5, 1024).unwrap();
        assert_eq!((sphinx.hops_max(), sphinx.payload_bytes()), (5, 1024));
        for (hops, bytes) in [(0, 1024), (8, 1024), (5, 1023), (5, u32::MAX)] {
            let refused = Sphinx::with_hops(hops, bytes);
            assert!(matches!(refused, Err(FogError::InvalidArgument { .. })));
        }
    }

    #[test]
    fn keys_of_another_length_are_refused() {
        let error = PrivateKey::from_bytes(vec![1; 31]).err().unwrap();
        assert_eq!(error.to_string(), "key has 31 bytes, must have 32");
    }
}
