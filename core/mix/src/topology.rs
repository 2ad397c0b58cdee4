//! Who the mixnodes are, and how a route through them is chosen.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use fogcompute_base::wire::{DecodeError, Reader, Writer};
use fogcompute_base::{NodeId, Rng};
use thiserror::Error;

use crate::geometry::HOPS_MAX;
use crate::key::{Contact, EpochParity, PublicKey};
use crate::noderef::NodeRef;
use crate::packet::Hop;
use crate::poisson::exponential;

/// A topology that cannot route.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum TopologyError {
    /// The number of layers leaves no hop for the receiver, or there is no layer.
    #[error("topology has {actual} layers, must have 1 to {max}")]
    LayerCount {
        /// Layers given.
        actual: usize,
        /// Most layers.
        max: usize,
    },
    /// A layer has no node.
    #[error("layer {layer} has no node")]
    EmptyLayer {
        /// The layer, from 0.
        layer: usize,
    },
    /// A node stands in two places.
    #[error("node {node} stands twice in the topology")]
    DuplicateNode {
        /// The node.
        node: NodeId,
    },
    /// Two nodes have the same [`NodeRef`], so that packets for one could reach the other.
    #[error("node {node} has the reference of node {other}")]
    SameRef {
        /// The node found second.
        node: NodeId,
        /// The node found first.
        other: NodeId,
    },
    /// A node's key is of another epoch than the first node's.
    #[error("mix key of node {node} is of another epoch than the topology's")]
    MixedEpochs {
        /// The node.
        node: NodeId,
    },
    /// A node that a route is to take is not in the topology.
    #[error("node {node} is not in the topology")]
    UnknownNode {
        /// The node.
        node: NodeId,
    },
    /// A route ends at a node that has no links to receivers: only those of the last layer do.
    #[error("route ends at node {node}, which is not of the last layer")]
    NotLastLayer {
        /// The node.
        node: NodeId,
    },
    /// A layer has fewer nodes than a route of so many hops takes of it.
    #[error("layer {layer} has too few nodes for a route over {hops} mixnodes")]
    TooFewNodes {
        /// The layer, from 0.
        layer: usize,
        /// Mixnodes the route should take.
        hops: usize,
    },
    /// A route takes no mixnode, or more than a packet has room for.
    #[error("route over {actual} mixnodes, must have 1 to {max}")]
    HopCount {
        /// Mixnodes the route should take.
        actual: usize,
        /// Most mixnodes.
        max: usize,
    },
    /// Once the receiver is left out, a layer has no node to choose from.
    #[error("layer {layer} has no node but the receiver")]
    OnlyReceiver {
        /// The layer, from 0.
        layer: usize,
    },
}

/// What a sender must know of a node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Descriptor {
    /// The node.
    pub node: NodeId,
    /// Its mix key.
    pub key: PublicKey,
    /// The key's epoch.
    pub epoch: EpochParity,
    /// Where it accepts links.
    pub address: SocketAddr,
}

impl Descriptor {
    /// What a sender needs to put the node on a route.
    #[must_use]
    pub const fn contact(&self) -> Contact {
        Contact {
            node: self.node,
            key: self.key,
            epoch: self.epoch,
        }
    }

    /// Appends: 32 node, 32 key, 1 epoch parity, text address.
    pub fn encode(&self, writer: &mut Writer) {
        writer.raw(self.node.as_bytes());
        writer.raw(self.key.as_bytes());
        writer.u8(self.epoch as u8);
        writer.text(&self.address.to_string());
    }

    /// Reads what [`Descriptor::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::TooLong`], [`DecodeError::Utf8`], or
    /// [`DecodeError::Unknown`] if the parity is neither 0 nor 1 or the text is not a socket address.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let node = NodeId::from_bytes(reader.array()?);
        let key = PublicKey::from_bytes(reader.array()?);
        let at = reader.position();
        let parity = reader.u8()?;
        let epoch = EpochParity::from_byte(parity).ok_or(DecodeError::Unknown {
            at,
            value: parity.into(),
        })?;
        let at = reader.position();
        let text = reader.text(64)?;
        let address = text
            .parse()
            .map_err(|_| DecodeError::Unknown { at, value: 0 })?;
        Ok(Self {
            node,
            key,
            epoch,
            address,
        })
    }
}

/// The mixnodes in layers, with keys of one epoch, and the network's mean delay per hop.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Topology {
    layers: Vec<Vec<Descriptor>>,
    epoch: EpochParity,
    delay_mean: Duration,
}

impl Topology {
    /// A topology of these layers.
    ///
    /// # Errors
    /// [`TopologyError::LayerCount`], [`TopologyError::EmptyLayer`],
    /// [`TopologyError::DuplicateNode`], [`TopologyError::SameRef`],
    /// [`TopologyError::MixedEpochs`].
    pub fn new(layers: Vec<Vec<Descriptor>>, delay_mean: Duration) -> Result<Self, TopologyError> {
        if layers.is_empty() || layers.len() >= HOPS_MAX {
            return Err(TopologyError::LayerCount {
                actual: layers.len(),
                max: HOPS_MAX - 1,
            });
        }
        let mut seen = BTreeMap::new();
        let mut epoch = None;
        for (layer, nodes) in layers.iter().enumerate() {
            if nodes.is_empty() {
                return Err(TopologyError::EmptyLayer { layer });
            }
            for descriptor in nodes {
                let node = descriptor.node;
                match seen.insert(NodeRef::from(node), node) {
                    Some(other) if other == node => {
                        return Err(TopologyError::DuplicateNode { node });
                    }
                    Some(other) => return Err(TopologyError::SameRef { node, other }),
                    None => {}
                }
                if *epoch.get_or_insert(descriptor.epoch) != descriptor.epoch {
                    return Err(TopologyError::MixedEpochs { node });
                }
            }
        }
        Ok(Self {
            layers,
            epoch: epoch.unwrap_or_default(),
            delay_mean,
        })
    }

    /// The layers, entry first.
    #[must_use]
    pub fn layers(&self) -> &[Vec<Descriptor>] {
        &self.layers
    }

    /// The nodes of the first layer, at which routes start.
    pub fn entries(&self) -> impl Iterator<Item = NodeRef> {
        let first = self.layers.first().into_iter().flatten();
        first.map(|descriptor| NodeRef::from(descriptor.node))
    }

    /// The epoch of all keys.
    #[must_use]
    pub const fn epoch(&self) -> EpochParity {
        self.epoch
    }

    /// Mean delay per hop.
    #[must_use]
    pub const fn delay_mean(&self) -> Duration {
        self.delay_mean
    }

    /// A route to `receiver`: one node of each layer, uniformly, each with an exponential delay.
    ///
    /// Source: Piotrowska et al. 2017, "The Loopix Anonymity System", §4.1 (stratified topology,
    /// sender-chosen exponential delays).
    ///
    /// # Errors
    /// [`TopologyError::OnlyReceiver`], [`TopologyError::MixedEpochs`] if the receiver's key is of
    /// another epoch.
    pub fn route(&self, receiver: Contact, rng: &mut impl Rng) -> Result<Vec<Hop>, TopologyError> {
        self.check_epoch(receiver)?;
        let own = NodeRef::from(receiver.node);
        let mut route = Vec::with_capacity(self.layers.len() + 1);
        for (layer, nodes) in self.layers.iter().enumerate() {
            let choices: Vec<_> = nodes
                .iter()
                .filter(|node| NodeRef::from(node.node) != own)
                .collect();
            if choices.is_empty() {
                return Err(TopologyError::OnlyReceiver { layer });
            }
            let chosen = choices[below(choices.len(), rng)];
            route.push(Hop::at(chosen.contact(), exponential(self.delay_mean, rng)));
        }
        route.push(Hop::at(receiver, Duration::ZERO));
        Ok(route)
    }

    /// A route by which a packet comes back to who sends it.
    ///
    /// For a node of these layers it goes through the layers after its own, then those before it,
    /// one node of each: on the links between layers it looks like the packets that are passed on
    /// (Piotrowska et al. 2017, §4.1, mixes' loops). For everybody else, and where there is only one
    /// layer, it is that of [`Topology::route`].
    ///
    /// # Errors
    /// As [`Topology::route`].
    pub fn loop_route(
        &self,
        sender: Contact,
        rng: &mut impl Rng,
    ) -> Result<Vec<Hop>, TopologyError> {
        let stands_in = |nodes: &Vec<Descriptor>| nodes.iter().any(|node| node.node == sender.node);
        let Some(own) = self.layers.iter().position(stands_in) else {
            return self.route(sender, rng);
        };
        if self.layers.len() == 1 {
            return self.route(sender, rng);
        }
        self.check_epoch(sender)?;
        let others = self.layers[own + 1..].iter().chain(&self.layers[..own]);
        let mut route: Vec<_> = others.map(|nodes| self.hop_of(nodes, rng)).collect();
        route.push(Hop::at(sender, Duration::ZERO));
        Ok(route)
    }

    fn hop_of(&self, nodes: &[Descriptor], rng: &mut impl Rng) -> Hop {
        let chosen = nodes[below(nodes.len(), rng)];
        Hop::at(chosen.contact(), exponential(self.delay_mean, rng))
    }

    /// Mixnodes for a route of the sender's own choice: `hops` of them, all different, uniformly, the
    /// last one of the last layer, the one before it of the layer before that, and so on round the
    /// layers.
    ///
    /// # Errors
    /// [`TopologyError::HopCount`], [`TopologyError::TooFewNodes`].
    pub fn choose(&self, hops: usize, rng: &mut impl Rng) -> Result<Vec<NodeId>, TopologyError> {
        let max = HOPS_MAX - 1;
        if hops == 0 || hops > max {
            return Err(TopologyError::HopCount { actual: hops, max });
        }
        let mut chosen: Vec<NodeId> = Vec::with_capacity(hops);
        for hop in 0..hops {
            let after = hops - 1 - hop;
            let layer = self.layers.len() - 1 - after % self.layers.len();
            let left: Vec<_> = self.layers[layer]
                .iter()
                .filter(|node| !chosen.contains(&node.node))
                .collect();
            if left.is_empty() {
                return Err(TopologyError::TooFewNodes { layer, hops });
            }
            chosen.push(left[below(left.len(), rng)].node);
        }
        Ok(chosen)
    }

    /// A route to `receiver` over these mixnodes in this order, each with an exponential delay.
    ///
    /// # Errors
    /// [`TopologyError::UnknownNode`], [`TopologyError::NotLastLayer`], [`TopologyError::HopCount`] for no node,
    /// [`TopologyError::MixedEpochs`] if the receiver's key is of another epoch. How many nodes there
    /// may be, and that none comes twice, is for the packet to say ([`BuildError`](crate::BuildError)).
    pub fn route_through(
        &self,
        nodes: &[NodeId],
        receiver: Contact,
        rng: &mut impl Rng,
    ) -> Result<Vec<Hop>, TopologyError> {
        self.check_epoch(receiver)?;
        if nodes.is_empty() {
            let max = HOPS_MAX - 1;
            return Err(TopologyError::HopCount { actual: 0, max });
        }
        let mut route = Vec::with_capacity(nodes.len() + 1);
        for &node in nodes {
            let known = self.layers.iter().flatten();
            let descriptor = known
                .into_iter()
                .find(|descriptor| descriptor.node == node)
                .ok_or(TopologyError::UnknownNode { node })?;
            route.push(Hop::at(
                descriptor.contact(),
                exponential(self.delay_mean, rng),
            ));
        }
        let last = self.layers.last().into_iter().flatten();
        if let Some(&node) = nodes.last()
            && !last.into_iter().any(|descriptor| descriptor.node == node)
        {
            return Err(TopologyError::NotLastLayer { node });
        }
        route.push(Hop::at(receiver, Duration::ZERO));
        Ok(route)
    }

    fn check_epoch(&self, receiver: Contact) -> Result<(), TopologyError> {
        if receiver.epoch == self.epoch {
            return Ok(());
        }
        Err(TopologyError::MixedEpochs {
            node: receiver.node,
        })
    }

    /// A route that ends at a node of the last layer: one node of each layer, uniformly.
    pub fn route_to_last_layer(&self, rng: &mut impl Rng) -> Vec<Hop> {
        let layers = self.layers.iter();
        let mut route: Vec<_> = layers.map(|nodes| self.hop_of(nodes, rng)).collect();
        if let Some(last) = route.last_mut() {
            last.delay = Duration::ZERO;
        }
        route
    }
}

/// A uniform index below `count`, without bias (rejection sampling). `count` is not zero.
fn below(count: usize, rng: &mut impl Rng) -> usize {
    let count = count as u64;
    let zone = u64::MAX - u64::MAX % count;
    loop {
        let draw = rng.next_u64();
        if draw < zone {
            return usize::try_from(draw % count).expect("below a count that is a usize");
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;

    pub(crate) fn descriptor(id: u8) -> Descriptor {
        Descriptor {
            node: NodeId::from_bytes([id; 32]),
            key: crate::PrivateKey::from_bytes([id; 32]).public(),
            epoch: EpochParity::Even,
            address: SocketAddr::from(([127, 0, 0, 1], 1000 + u16::from(id))),
        }
    }

    fn three_layers() -> Topology {
        let layers = (0..3).map(|l| (0..2).map(|n| descriptor(1 + 2 * l + n)).collect());
        Topology::new(layers.collect(), Duration::from_millis(5)).unwrap()
    }

    #[test]
    fn a_route_takes_one_node_of_each_layer_and_ends_at_the_receiver() {
        let topology = three_layers();
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let receiver = descriptor(9);
        let mut used = std::collections::BTreeSet::new();
        for _ in 0..64 {
            let route = topology.route(receiver.contact(), &mut rng).unwrap();
            assert_eq!(route.len(), 4);
            for (layer, hop) in topology.layers().iter().zip(&route) {
                assert!(
                    layer
                        .iter()
                        .any(|node| node.node == hop.node && node.key == hop.key)
                );
                used.insert(hop.node);
            }
            assert_eq!(route[3].node, receiver.node);
            assert_eq!(route[3].delay, Duration::ZERO);
        }
        assert_eq!(used.len(), 6);
    }

    #[test]
    fn a_chosen_route_goes_round_the_layers_and_never_twice_to_a_node() {
        let topology = three_layers();
        let mut rng = ChaCha20Rng::seed_from_u64(4);
        for hops in 1..=6 {
            let nodes = topology.choose(hops, &mut rng).unwrap();
            let distinct: std::collections::BTreeSet<_> = nodes.iter().collect();
            assert_eq!((nodes.len(), distinct.len()), (hops, hops));
            let backwards = topology.layers().iter().rev().cycle();
            for (node, layer) in nodes.iter().rev().zip(backwards) {
                assert!(layer.iter().any(|descriptor| descriptor.node == *node));
            }
            let route = topology
                .route_through(&nodes, descriptor(9).contact(), &mut rng)
                .unwrap();
            let taken: Vec<_> = route.iter().map(|hop| hop.node).collect();
            assert_eq!(&taken[..hops], &nodes[..]);
            assert_eq!(taken[hops], descriptor(9).node);
        }
    }

    #[test]
    fn a_route_that_cannot_be_chosen_is_refused() {
        let topology = three_layers();
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        for actual in [0, 7, usize::MAX] {
            assert_eq!(
                topology.choose(actual, &mut rng),
                Err(TopologyError::HopCount { actual, max: 6 })
            );
        }
        let small = Topology::new(
            vec![vec![descriptor(1)], vec![descriptor(2)]],
            Duration::ZERO,
        );
        assert_eq!(
            small.unwrap().choose(3, &mut rng),
            Err(TopologyError::TooFewNodes { layer: 1, hops: 3 })
        );
        let node = topology.layers()[1][0].node;
        assert_eq!(
            topology
                .route_through(&[node], descriptor(9).contact(), &mut rng)
                .unwrap_err(),
            TopologyError::NotLastLayer { node }
        );
        let stranger = descriptor(8);
        assert_eq!(
            topology
                .route_through(&[stranger.node], descriptor(9).contact(), &mut rng)
                .unwrap_err(),
            TopologyError::UnknownNode {
                node: stranger.node
            }
        );
        let mut receiver = descriptor(9).contact();
        assert_eq!(
            topology.route_through(&[], receiver, &mut rng).unwrap_err(),
            TopologyError::HopCount { actual: 0, max: 6 }
        );
        receiver.epoch = EpochParity::Odd;
        assert_eq!(
            topology.route_through(&[], receiver, &mut rng).unwrap_err(),
            TopologyError::MixedEpochs {
                node: receiver.node
            }
        );
    }

    #[test]
    fn the_receiver_is_no_hop_of_its_own_route() {
        let topology = three_layers();
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        for _ in 0..32 {
            let receiver = descriptor(3);
            let route = topology.route(receiver.contact(), &mut rng).unwrap();
            assert!(route[..3].iter().all(|hop| hop.node != receiver.node));
        }
        let single = Topology::new(vec![vec![descriptor(3)]], Duration::ZERO).unwrap();
        assert_eq!(
            single.route(descriptor(3).contact(), &mut rng),
            Err(TopologyError::OnlyReceiver { layer: 0 })
        );
    }

    #[test]
    fn a_node_s_loop_goes_on_through_the_layers_until_it_is_back() {
        let topology = three_layers();
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        for (layer, id) in [(0, 1), (1, 4), (2, 6)] {
            let node = descriptor(id);
            let route = topology.loop_route(node.contact(), &mut rng).unwrap();
            assert_eq!(route.len(), 3);
            for (step, hop) in route.iter().enumerate() {
                let nodes = &topology.layers()[(layer + 1 + step) % 3];
                assert!(nodes.iter().any(|node| node.node == hop.node));
            }
            assert_eq!((route[2].node, route[2].delay), (node.node, Duration::ZERO));
        }
        // Who is in no layer loops through all of them.
        let outside = descriptor(9).contact();
        assert_eq!(topology.loop_route(outside, &mut rng).unwrap().len(), 4);
        // The only node of a layer can, the only node of all cannot.
        let layers = vec![vec![descriptor(1)], vec![descriptor(2)]];
        let narrow = Topology::new(layers, Duration::ZERO).unwrap();
        let route = narrow
            .loop_route(descriptor(1).contact(), &mut rng)
            .unwrap();
        assert_eq!(route.len(), 2);
        let single = Topology::new(vec![vec![descriptor(3)]], Duration::ZERO).unwrap();
        assert_eq!(
            single.loop_route(descriptor(3).contact(), &mut rng),
            Err(TopologyError::OnlyReceiver { layer: 0 })
        );
        let odd = Contact {
            epoch: EpochParity::Odd,
            ..descriptor(1).contact()
        };
        assert_eq!(
            topology.loop_route(odd, &mut rng),
            Err(TopologyError::MixedEpochs { node: odd.node })
        );
    }

    #[test]
    fn bad_topologies_are_refused_by_name() {
        let delay = Duration::ZERO;
        assert_eq!(
            Topology::new(vec![], delay),
            Err(TopologyError::LayerCount { actual: 0, max: 6 })
        );
        assert_eq!(
            Topology::new(vec![vec![descriptor(1)], vec![]], delay),
            Err(TopologyError::EmptyLayer { layer: 1 })
        );
        assert_eq!(
            Topology::new(vec![vec![descriptor(1)], vec![descriptor(1)]], delay),
            Err(TopologyError::DuplicateNode {
                node: descriptor(1).node
            })
        );
        let mut twin = descriptor(1);
        let mut id = [1; 32];
        id[8] = 2;
        twin.node = NodeId::from_bytes(id);
        assert_eq!(
            Topology::new(vec![vec![descriptor(1), twin]], delay),
            Err(TopologyError::SameRef {
                node: twin.node,
                other: descriptor(1).node
            })
        );
    }

    #[test]
    fn keys_of_two_epochs_make_no_route() {
        let mut odd = descriptor(2);
        odd.epoch = EpochParity::Odd;
        let mixed = Err(TopologyError::MixedEpochs { node: odd.node });
        let layers = vec![vec![descriptor(1)], vec![odd]];
        assert_eq!(Topology::new(layers, Duration::ZERO), mixed);
        let topology = Topology::new(vec![vec![odd]], Duration::ZERO).unwrap();
        assert_eq!(topology.epoch(), EpochParity::Odd);
        let mut rng = ChaCha20Rng::seed_from_u64(4);
        let other = descriptor(3);
        assert_eq!(
            topology.route(other.contact(), &mut rng),
            Err(TopologyError::MixedEpochs { node: other.node })
        );
        let receiver = Contact {
            epoch: EpochParity::Odd,
            ..other.contact()
        };
        let route = topology.route(receiver, &mut rng).unwrap();
        assert!(route.iter().all(|hop| hop.epoch == EpochParity::Odd));
    }

    #[test]
    fn descriptors_round_trip_and_bad_addresses_are_refused() {
        let mut writer = Writer::new();
        descriptor(4).encode(&mut writer);
        let bytes = writer.finish();
        assert_eq!(
            Descriptor::decode(&mut Reader::new(&bytes)),
            Ok(descriptor(4))
        );
        let mut writer = Writer::new();
        writer.raw(&[0; 65]);
        writer.text("nowhere");
        let mut bytes = writer.finish();
        assert_eq!(
            Descriptor::decode(&mut Reader::new(&bytes)),
            Err(DecodeError::Unknown { at: 65, value: 0 })
        );
        bytes[64] = 2;
        assert_eq!(
            Descriptor::decode(&mut Reader::new(&bytes)),
            Err(DecodeError::Unknown { at: 64, value: 2 })
        );
    }
}
