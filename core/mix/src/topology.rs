//! Who the mixnodes are, and how a route through them is chosen.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use fogcompute_base::wire::{DecodeError, Reader, Writer};
use fogcompute_base::{NodeId, Rng};
use thiserror::Error;

use crate::geometry::HOPS_MAX;
use crate::key::PublicKey;
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
    /// Where it accepts links.
    pub address: SocketAddr,
}

impl Descriptor {
    /// Appends: 32 node, 32 key, text address.
    pub fn encode(&self, writer: &mut Writer) {
        writer.raw(self.node.as_bytes());
        writer.raw(self.key.as_bytes());
        writer.text(&self.address.to_string());
    }

    /// Reads what [`Descriptor::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::TooLong`], [`DecodeError::Utf8`], or
    /// [`DecodeError::Unknown`] if the text is not a socket address.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let node = NodeId::from_bytes(reader.array()?);
        let key = PublicKey::from_bytes(reader.array()?);
        let at = reader.position();
        let text = reader.text(64)?;
        let address = text
            .parse()
            .map_err(|_| DecodeError::Unknown { at, value: 0 })?;
        Ok(Self { node, key, address })
    }
}

/// The mixnodes in layers, and the network's mean delay per hop.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Topology {
    layers: Vec<Vec<Descriptor>>,
    delay_mean: Duration,
}

impl Topology {
    /// A topology of these layers.
    ///
    /// # Errors
    /// [`TopologyError::LayerCount`], [`TopologyError::EmptyLayer`],
    /// [`TopologyError::DuplicateNode`].
    pub fn new(layers: Vec<Vec<Descriptor>>, delay_mean: Duration) -> Result<Self, TopologyError> {
        if layers.is_empty() || layers.len() >= HOPS_MAX {
            return Err(TopologyError::LayerCount {
                actual: layers.len(),
                max: HOPS_MAX - 1,
            });
        }
        let mut seen = BTreeSet::new();
        for (layer, nodes) in layers.iter().enumerate() {
            if nodes.is_empty() {
                return Err(TopologyError::EmptyLayer { layer });
            }
            if let Some(twice) = nodes.iter().find(|node| !seen.insert(node.node)) {
                return Err(TopologyError::DuplicateNode { node: twice.node });
            }
        }
        Ok(Self { layers, delay_mean })
    }

    /// The layers, entry first.
    #[must_use]
    pub fn layers(&self) -> &[Vec<Descriptor>] {
        &self.layers
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
    /// [`TopologyError::OnlyReceiver`].
    pub fn route(
        &self,
        receiver: NodeId,
        receiver_key: PublicKey,
        rng: &mut impl Rng,
    ) -> Result<Vec<Hop>, TopologyError> {
        let mut route = Vec::with_capacity(self.layers.len() + 1);
        for (layer, nodes) in self.layers.iter().enumerate() {
            let choices: Vec<_> = nodes.iter().filter(|node| node.node != receiver).collect();
            if choices.is_empty() {
                return Err(TopologyError::OnlyReceiver { layer });
            }
            let chosen = choices[below(choices.len(), rng)];
            route.push(Hop::new(
                chosen.node,
                chosen.key,
                exponential(self.delay_mean, rng),
            ));
        }
        route.push(Hop::new(receiver, receiver_key, Duration::ZERO));
        Ok(route)
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
        let mut used = BTreeSet::new();
        for _ in 0..64 {
            let route = topology
                .route(receiver.node, receiver.key, &mut rng)
                .unwrap();
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
    fn the_receiver_is_no_hop_of_its_own_route() {
        let topology = three_layers();
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        for _ in 0..32 {
            let receiver = descriptor(3);
            let route = topology
                .route(receiver.node, receiver.key, &mut rng)
                .unwrap();
            assert!(route[..3].iter().all(|hop| hop.node != receiver.node));
        }
        let single = Topology::new(vec![vec![descriptor(3)]], Duration::ZERO).unwrap();
        assert_eq!(
            single.route(descriptor(3).node, descriptor(3).key, &mut rng),
            Err(TopologyError::OnlyReceiver { layer: 0 })
        );
    }

    #[test]
    fn bad_topologies_are_refused_by_name() {
        let delay = Duration::ZERO;
        assert_eq!(
            Topology::new(vec![], delay),
            Err(TopologyError::LayerCount { actual: 0, max: 4 })
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
        writer.raw(&[0; 64]);
        writer.text("nowhere");
        let bytes = writer.finish();
        assert_eq!(
            Descriptor::decode(&mut Reader::new(&bytes)),
            Err(DecodeError::Unknown { at: 64, value: 0 })
        );
    }
}
