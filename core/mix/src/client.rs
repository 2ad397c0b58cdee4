//! The mix client: messages out, messages and replies in.

use std::collections::BTreeMap;
use std::time::Duration;

use fogcompute_base::limits::MESSAGE_BYTES_MAX;
use fogcompute_base::wire::{DecodeError, Reader, Writer};
use fogcompute_base::{CryptoRng, Instant};
use thiserror::Error;

use crate::geometry::Geometry;
use crate::key::Contact;
use crate::message::{MessageError, MessageId, Reassembler, fragment_count, split};
use crate::mixnode::{Delivery, Transmit};
use crate::noderef::NodeRef;
use crate::packet::{BuildError, Packet};
use crate::surb::{ReplyKey, Surb, SurbError, SurbId};
use crate::topology::{Topology, TopologyError};

/// Limits of a [`Client`].
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The network's packet sizes.
    pub geometry: Geometry,
    /// Most reply keys kept. When reached, messages that want replies are refused.
    pub reply_keys_max: usize,
    /// Most bytes of incomplete messages. When reached, further fragments are refused.
    pub reassembly_bytes_max: usize,
    /// How long a message may stay incomplete and a reply block unused.
    pub timeout: Duration,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            geometry: Geometry::DEFAULT,
            reply_keys_max: 100_000,
            reassembly_bytes_max: 64 << 20,
            timeout: Duration::from_secs(300),
        }
    }
}

/// Why a message or a reply cannot be sent.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum SendError {
    /// No route exists.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// A packet or reply block cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The message is over the limit.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A reply block does not work.
    #[error(transparent)]
    Surb(#[from] SurbError),
    /// Too many reply blocks are open.
    #[error("{limit} reply keys are kept already")]
    ReplyKeysFull {
        /// The limit.
        limit: usize,
    },
    /// The reply needs more reply blocks than there are. Ask the requester for more.
    #[error("reply needs {needed} reply blocks, {available} are left")]
    TooFewSurbs {
        /// Reply blocks the reply takes.
        needed: usize,
        /// Reply blocks given.
        available: usize,
    },
}

/// Why something that came in is not a message.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum ReceiveError {
    /// A fragment is bad or does not fit.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A whole message is malformed.
    #[error("malformed message")]
    Decode(#[from] DecodeError),
    /// The reply came for a reply block that is unknown, used or expired.
    #[error("reply for a reply block that is unknown, used or expired")]
    UnknownSurb,
    /// The reply does not open.
    #[error(transparent)]
    Surb(#[from] SurbError),
}

/// A whole message that came in.
#[derive(Debug)]
pub enum Incoming {
    /// Somebody sent a message, with reply blocks if they want an answer.
    Message {
        /// The sender's id of the message.
        id: MessageId,
        /// The message.
        body: Vec<u8>,
        /// Blocks to answer with, one packet each.
        surbs: Vec<Surb>,
    },
    /// An answer to a message sent from here.
    Reply {
        /// The id that [`Client::send`] returned.
        id: MessageId,
        /// The answer.
        body: Vec<u8>,
    },
}

struct OpenReply {
    key: ReplyKey,
    request: MessageId,
    made: Instant,
}

/// Splits messages into packets over fresh routes, keeps the keys of its reply blocks, and puts
/// what comes in together.
///
/// Each fragment and each reply block takes its own route, so no mixnode sees a whole message.
pub struct Client {
    contact: Contact,
    config: ClientConfig,
    replies: BTreeMap<SurbId, OpenReply>,
    messages: Reassembler,
    answers: Reassembler,
}

impl Client {
    /// A client reached at `contact`, the mixnode it runs beside.
    #[must_use]
    pub fn new(contact: Contact, config: ClientConfig) -> Self {
        let reassembler = || Reassembler::new(config.reassembly_bytes_max, config.timeout);
        Self {
            contact,
            messages: reassembler(),
            answers: reassembler(),
            replies: BTreeMap::new(),
            config,
        }
    }

    /// Makes further reply blocks for another key: that of the next epoch.
    pub fn set_contact(&mut self, contact: Contact) {
        self.contact = contact;
    }

    /// Reply blocks an answer of `body_bytes` takes.
    #[must_use]
    pub const fn surbs_for(&self, body_bytes: usize) -> usize {
        fragment_count(body_bytes, self.config.geometry.payload_bytes())
    }

    /// Reply blocks that are open.
    #[must_use]
    pub fn open_replies(&self) -> usize {
        self.replies.len()
    }

    /// Packets that carry `body` to `receiver`, with `surb_count` reply blocks for the answer.
    ///
    /// # Errors
    /// [`SendError`], every variant but [`SendError::TooFewSurbs`]. Nothing is kept on an error.
    pub fn send(
        &mut self,
        topology: &Topology,
        receiver: Contact,
        body: &[u8],
        surb_count: u16,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<(MessageId, Vec<Transmit>), SendError> {
        self.expire(now);
        if self.replies.len() + usize::from(surb_count) > self.config.reply_keys_max {
            return Err(SendError::ReplyKeysFull {
                limit: self.config.reply_keys_max,
            });
        }
        let geometry = self.config.geometry;
        let id = MessageId::random(rng);
        let mut writer = Writer::new();
        writer.u16(surb_count);
        let back = (0..surb_count)
            .map(|_| topology.route(self.contact, rng))
            .collect::<Result<Vec<_>, _>>()?;
        let mut keys = Vec::with_capacity(usize::from(surb_count));
        for (surb, key) in Surb::new_batch(geometry, &back, rng)? {
            writer.raw(&surb.to_bytes());
            keys.push(key);
        }
        writer.raw(body);
        let fragments = split(
            id,
            &writer.finish(),
            geometry.payload_bytes(),
            MESSAGE_BYTES_MAX,
        )?;
        let routes = fragments
            .iter()
            .map(|_| topology.route(receiver, rng))
            .collect::<Result<Vec<_>, _>>()?;
        let orders: Vec<_> = routes
            .iter()
            .zip(&fragments)
            .map(|(route, fragment)| (route.as_slice(), fragment.as_slice()))
            .collect();
        let packets = Packet::build_batch(geometry, &orders, rng)?;
        let transmits = routes
            .iter()
            .zip(packets)
            .map(|(route, packet)| Transmit {
                to: NodeRef::from(route[0].node),
                packet,
            })
            .collect();
        let opened = keys.into_iter().map(|key| {
            (
                key.id(),
                OpenReply {
                    key,
                    request: id,
                    made: now,
                },
            )
        });
        self.replies.extend(opened);
        Ok((id, transmits))
    }

    /// Packets that carry `body` back by `surbs`.
    ///
    /// # Errors
    /// [`SendError::TooFewSurbs`], [`SendError::Message`], [`SendError::Surb`].
    pub fn reply(
        &self,
        surbs: Vec<Surb>,
        body: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<Transmit>, SendError> {
        let fragments = split(
            MessageId::random(rng),
            body,
            self.config.geometry.payload_bytes(),
            MESSAGE_BYTES_MAX,
        )?;
        if fragments.len() > surbs.len() {
            return Err(SendError::TooFewSurbs {
                needed: fragments.len(),
                available: surbs.len(),
            });
        }
        surbs
            .into_iter()
            .zip(&fragments)
            .map(|(surb, fragment)| {
                let (to, packet) = surb.reply(fragment)?;
                Ok(Transmit { to, packet })
            })
            .collect()
    }

    /// Takes what a [`Mixnode`](crate::Mixnode) delivered; returns the message it completes.
    ///
    /// # Errors
    /// [`ReceiveError`]: the delivery is dropped, everything else stays as it was.
    pub fn handle_delivery(
        &mut self,
        delivery: Delivery,
        now: Instant,
    ) -> Result<Option<Incoming>, ReceiveError> {
        self.expire(now);
        match delivery {
            Delivery::Message(fragment) => {
                let Some((id, message)) = self.messages.accept(&fragment, now)? else {
                    return Ok(None);
                };
                let mut reader = Reader::new(&message);
                let count = reader.u16()?;
                let geometry = self.config.geometry;
                let surbs = (0..count)
                    .map(|_| {
                        let block = reader.take(geometry.surb_bytes())?;
                        Ok(Surb::from_bytes(geometry, block)?)
                    })
                    .collect::<Result<_, ReceiveError>>()?;
                let body = reader.take(reader.remaining())?.to_vec();
                Ok(Some(Incoming::Message { id, body, surbs }))
            }
            Delivery::Reply(surb, reply) => {
                let open = self
                    .replies
                    .remove(&surb)
                    .ok_or(ReceiveError::UnknownSurb)?;
                let fragment = open.key.open(reply)?;
                let Some((_, body)) = self.answers.accept(&fragment, now)? else {
                    return Ok(None);
                };
                // Blocks the answer did not need can bring nothing more.
                self.forget(open.request);
                Ok(Some(Incoming::Reply {
                    id: open.request,
                    body,
                }))
            }
        }
    }

    /// Forgets the reply blocks of a message: an answer that still comes is refused.
    pub fn forget(&mut self, request: MessageId) {
        self.replies.retain(|_, open| open.request != request);
    }

    fn expire(&mut self, now: Instant) {
        let timeout = self.config.timeout;
        self.replies
            .retain(|_, open| now.duration_since(open.made) <= timeout);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{EpochParity, PrivateKey};
    use crate::mixnode::{Mixnode, MixnodeConfig};
    use crate::packet::{Hop, SealedReply};
    use crate::topology::Descriptor;
    use fogcompute_base::NodeId;
    use proptest::prelude::*;
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;

    /// A network of state machines: two nodes in each of three layers, and two clients.
    struct Network {
        nodes: BTreeMap<NodeRef, Mixnode>,
        topology: Topology,
        now: Instant,
    }

    impl Network {
        fn new(rng: &mut ChaCha20Rng) -> Self {
            let mut nodes = BTreeMap::new();
            let mut layers = vec![Vec::new(), Vec::new(), Vec::new()];
            for id in 1..=8 {
                let key = PrivateKey::random(rng);
                let node = NodeId::from_bytes([id; 32]);
                let config = MixnodeConfig {
                    relay: id <= 6,
                    ..MixnodeConfig::default()
                };
                if id <= 6 {
                    let address = std::net::SocketAddr::from(([127, 0, 0, 1], u16::from(id)));
                    let descriptor = Descriptor {
                        node,
                        key: key.public(),
                        epoch: EpochParity::Even,
                        address,
                    };
                    layers[usize::from((id - 1) / 2)].push(descriptor);
                }
                nodes.insert(node.into(), Mixnode::new(key, config));
            }
            let topology = Topology::new(layers, Duration::from_millis(5)).unwrap();
            Self {
                nodes,
                topology,
                now: Instant::ZERO,
            }
        }

        fn client(&self, id: u8) -> Client {
            let node = NodeId::from_bytes([id; 32]);
            let contact = Contact {
                node,
                key: self.nodes[&NodeRef::from(node)].public_key().unwrap(),
                epoch: EpochParity::Even,
            };
            Client::new(contact, ClientConfig::default())
        }

        /// Runs the network until nothing moves; returns what each client's node delivered.
        fn run(&mut self, transmits: Vec<Transmit>) -> BTreeMap<NodeRef, Vec<Delivery>> {
            let mut wire = transmits;
            loop {
                for Transmit { to, packet } in wire.drain(..) {
                    let node = self.nodes.get_mut(&to).unwrap();
                    node.handle_input(packet.into_bytes(), self.now);
                }
                let Some(next) = self.nodes.values().filter_map(Mixnode::poll_timeout).min() else {
                    break;
                };
                self.now = self.now.max(next);
                for node in self.nodes.values_mut() {
                    while let Some(transmit) = node.poll_transmit(self.now) {
                        wire.push(transmit);
                    }
                }
            }
            self.nodes
                .iter_mut()
                .map(|(id, node)| (*id, std::iter::from_fn(|| node.poll_delivery()).collect()))
                .collect()
        }
    }

    fn only(
        client: &mut Client,
        arrived: &mut BTreeMap<NodeRef, Vec<Delivery>>,
        now: Instant,
    ) -> Incoming {
        let mut whole: Vec<_> = arrived
            .remove(&client.contact.node.into())
            .unwrap()
            .into_iter()
            .filter_map(|delivery| client.handle_delivery(delivery, now).unwrap())
            .collect();
        assert_eq!(whole.len(), 1);
        whole.remove(0)
    }

    #[test]
    fn a_request_and_its_long_answer_cross_the_network() {
        let mut rng = ChaCha20Rng::seed_from_u64(7);
        let mut network = Network::new(&mut rng);
        let (mut alice, mut bob) = (network.client(7), network.client(8));
        let answer: Vec<u8> = (0..10_000_u32).map(|n| n as u8).collect();
        let surbs = u16::try_from(alice.surbs_for(answer.len())).unwrap() + 1;
        let topology = network.topology.clone();
        let (request, transmits) = alice
            .send(
                &topology,
                bob.contact,
                b"please",
                surbs,
                network.now,
                &mut rng,
            )
            .unwrap();
        assert_eq!(alice.open_replies(), usize::from(surbs));

        let mut arrived = network.run(transmits);
        let Incoming::Message { id, body, surbs } = only(&mut bob, &mut arrived, network.now)
        else {
            panic!("bob receives a message");
        };
        assert_eq!((id, body.as_slice()), (request, &b"please"[..]));

        let transmits = bob.reply(surbs, &answer, &mut rng).unwrap();
        let mut arrived = network.run(transmits);
        let Incoming::Reply { id, body } = only(&mut alice, &mut arrived, network.now) else {
            panic!("alice receives a reply");
        };
        assert_eq!((id, body), (request, answer));
        assert_eq!(alice.open_replies(), 0);
    }

    #[test]
    fn a_reply_block_works_once() {
        let mut rng = ChaCha20Rng::seed_from_u64(8);
        let mut network = Network::new(&mut rng);
        let (mut alice, mut bob) = (network.client(7), network.client(8));
        let topology = network.topology.clone();
        let (_, transmits) = alice
            .send(&topology, bob.contact, b"", 1, network.now, &mut rng)
            .unwrap();
        let mut arrived = network.run(transmits);
        let Incoming::Message { surbs, .. } = only(&mut bob, &mut arrived, network.now) else {
            panic!("bob receives a message");
        };
        let copy = Surb::from_bytes(Geometry::DEFAULT, &surbs[0].to_bytes()).unwrap();
        let first = bob.reply(surbs, b"once", &mut rng).unwrap();
        let second = bob.reply(vec![copy], b"twice", &mut rng).unwrap();
        let mut arrived = network.run(first);
        only(&mut alice, &mut arrived, network.now);
        // The second use has the same header, so the first mixnode drops it as a replay.
        let arrived = network.run(second);
        assert!(arrived.values().all(Vec::is_empty));
    }

    #[test]
    fn a_reply_that_comes_again_or_too_late_is_refused_by_the_client_itself() {
        let mut rng = ChaCha20Rng::seed_from_u64(11);
        let network = Network::new(&mut rng);
        let mut alice = network.client(7);
        let bob = network.client(8);
        let geometry = Geometry::DEFAULT;
        // One hop, so that what alice's node would deliver can be had without the network.
        let hop = Hop::at(alice.contact, Duration::ZERO);
        let mut open_reply = |alice: &mut Client, made| {
            let (surb, key) = Surb::new(geometry, &[hop], &mut rng).unwrap();
            let id = key.id();
            let request = MessageId::random(&mut rng);
            alice.replies.insert(id, OpenReply { key, request, made });
            let transmits = bob.reply(vec![surb], b"answer", &mut rng).unwrap();
            let sealed = transmits[0].packet.as_bytes()[geometry.header_bytes()..].to_vec();
            move || Delivery::Reply(id, SealedReply::from_bytes(&sealed))
        };
        let now = Instant::from_millis(1000);
        let again = open_reply(&mut alice, now);
        let late = open_reply(&mut alice, now);
        assert!(matches!(
            alice.handle_delivery(again(), now),
            Ok(Some(Incoming::Reply { body, .. })) if body == b"answer"
        ));
        let refused = Some(ReceiveError::UnknownSurb);
        assert_eq!(alice.handle_delivery(again(), now).err(), refused);
        let after = now + Duration::from_secs(301);
        assert_eq!(alice.handle_delivery(late(), after).err(), refused);
        assert_eq!(alice.open_replies(), 0);
    }

    #[test]
    fn a_tampered_reply_is_refused_and_its_block_is_used_up() {
        let mut rng = ChaCha20Rng::seed_from_u64(12);
        let network = Network::new(&mut rng);
        let mut alice = network.client(7);
        let hop = Hop::at(alice.contact, Duration::ZERO);
        let (_, key) = Surb::new(Geometry::DEFAULT, &[hop], &mut rng).unwrap();
        let (id, request) = (key.id(), MessageId::random(&mut rng));
        let made = Instant::ZERO;
        alice.replies.insert(id, OpenReply { key, request, made });
        let sealed = SealedReply::from_bytes(&[1; 32 + 2048]);
        assert_eq!(
            alice
                .handle_delivery(Delivery::Reply(id, sealed), made)
                .err(),
            Some(ReceiveError::Surb(SurbError::Sealed))
        );
        assert_eq!(alice.open_replies(), 0);
    }

    #[test]
    fn contacts_of_another_epoch_get_no_packets() {
        let mut rng = ChaCha20Rng::seed_from_u64(13);
        let network = Network::new(&mut rng);
        let mut alice = network.client(7);
        let bob = network.client(8);
        let odd = Contact {
            epoch: EpochParity::Odd,
            ..bob.contact
        };
        let mixed = |node| {
            let error = TopologyError::MixedEpochs { node };
            Some(SendError::Topology(error))
        };
        let topology = &network.topology;
        let now = Instant::ZERO;
        let sent = alice.send(topology, odd, b"", 0, now, &mut rng);
        assert_eq!(sent.err(), mixed(odd.node));
        let own = Contact {
            epoch: EpochParity::Odd,
            ..alice.contact
        };
        alice.set_contact(own);
        let sent = alice.send(topology, bob.contact, b"", 1, now, &mut rng);
        assert_eq!(sent.err(), mixed(own.node));
        assert!(
            alice
                .send(topology, bob.contact, b"", 0, now, &mut rng)
                .is_ok()
        );
    }

    #[test]
    fn unknown_and_expired_reply_blocks_are_refused() {
        let mut rng = ChaCha20Rng::seed_from_u64(9);
        let mut network = Network::new(&mut rng);
        let (mut alice, mut bob) = (network.client(7), network.client(8));
        let topology = network.topology.clone();
        let (request, transmits) = alice
            .send(&topology, bob.contact, b"", 1, network.now, &mut rng)
            .unwrap();
        let mut arrived = network.run(transmits);
        let Incoming::Message { surbs, .. } = only(&mut bob, &mut arrived, network.now) else {
            panic!("bob receives a message");
        };
        alice.forget(request);
        let transmits = bob.reply(surbs, b"late", &mut rng).unwrap();
        let mut arrived = network.run(transmits);
        let delivery = arrived
            .remove(&alice.contact.node.into())
            .unwrap()
            .remove(0);
        assert_eq!(
            alice.handle_delivery(delivery, network.now).err(),
            Some(ReceiveError::UnknownSurb)
        );

        alice
            .send(&topology, bob.contact, b"", 3, network.now, &mut rng)
            .unwrap();
        alice.expire(network.now + Duration::from_secs(301));
        assert_eq!(alice.open_replies(), 0);
    }

    #[test]
    fn limits_are_typed_errors_and_keep_nothing() {
        let mut rng = ChaCha20Rng::seed_from_u64(10);
        let network = Network::new(&mut rng);
        let mut alice = network.client(7);
        alice.config.reply_keys_max = 2;
        let bob = network.client(8);
        let mut send = |body: &[u8], surbs| {
            alice
                .send(
                    &network.topology,
                    bob.contact,
                    body,
                    surbs,
                    Instant::ZERO,
                    &mut rng,
                )
                .err()
        };
        assert_eq!(send(b"", 3), Some(SendError::ReplyKeysFull { limit: 2 }));
        let actual = MESSAGE_BYTES_MAX + 1 + 2 + Geometry::DEFAULT.surb_bytes();
        assert_eq!(
            send(&vec![0; MESSAGE_BYTES_MAX + 1], 1),
            Some(SendError::Message(MessageError::TooLarge {
                actual,
                max: MESSAGE_BYTES_MAX
            }))
        );
        assert_eq!(alice.open_replies(), 0);
        assert_eq!(
            bob.reply(vec![], b"x", &mut rng).err(),
            Some(SendError::TooFewSurbs {
                needed: 1,
                available: 0
            })
        );
    }

    proptest! {
        #[test]
        fn foreign_deliveries_never_panic(
            bodies in proptest::collection::vec(
                proptest::collection::vec(any::<u8>(), 0..900), 0..8),
        ) {
            let key = PrivateKey::from_bytes([1; 32]).public();
            let contact = Contact {
                node: NodeId::from_bytes([1; 32]),
                key,
                epoch: EpochParity::Even,
            };
            let mut client = Client::new(contact, ClientConfig::default());
            for body in bodies {
                let mut fragment = vec![0; 20];
                fragment[19] = 1;
                fragment.extend(body);
                let _ = client.handle_delivery(Delivery::Message(fragment), Instant::ZERO);
            }
        }
    }
}
