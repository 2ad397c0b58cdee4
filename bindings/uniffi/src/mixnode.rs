//! A mixnode in this process.

use std::sync::Arc;
use std::time::Duration;

use fogcompute::EngineStats;
use fogcompute::mix::Geometry;

use crate::FogError;
use crate::error::guarded;
use crate::packets::key_bytes;
use crate::topology::{Descriptor, Topology, parse_address};

/// How a mixnode is made. What is left out keeps the library's default.
#[derive(Clone, Debug, Default, Eq, PartialEq, uniffi::Record)]
pub struct MixnetNodeConfig {
    /// The UDP address it listens on, of which port 0 is any that is free; without one,
    /// `127.0.0.1:0`.
    #[uniffi(default = None)]
    pub listen: Option<String>,
    /// Where others reach it, if that is not where it listens.
    #[uniffi(default = None)]
    pub address: Option<String>,
    /// The secret key of its identity, 32 bytes; without one, a new one.
    #[uniffi(default = None)]
    pub identity: Option<Vec<u8>>,
    /// The epoch its mix key is of; without a number, 0. The key itself is always new, so that
    /// packets which somebody recorded before a restart cannot be replayed after it.
    #[uniffi(default = None)]
    pub epoch: Option<u64>,
    /// Most hops of a route, the receiver included, 1 to 7; without a number, 7. The same in all of
    /// the network.
    #[uniffi(default = None)]
    pub hops_max: Option<u32>,
    /// Bytes of message one packet carries, a multiple of 1,024 up to 64,512, for the packets must
    /// fit datagrams; without a number, 2,048. The same in all of the network.
    #[uniffi(default = None)]
    pub payload_bytes: Option<u32>,
    /// Threads that process packets, 0 for one for each processor; without a number, 1.
    #[uniffi(default = None)]
    pub workers: Option<u32>,
    /// Packets of the mix key there is room for, 5 bytes each, taken from the system as they come;
    /// without a number, 4,000,000.
    #[uniffi(default = None)]
    pub replay_tags_max: Option<u32>,
}

impl MixnetNodeConfig {
    fn parse(&self) -> Result<fogcompute::MixnetNodeConfig, FogError> {
        let mut config = fogcompute::MixnetNodeConfig::default();
        if let Some(listen) = &self.listen {
            config.listen = parse_address(listen)?;
        }
        if let Some(address) = &self.address {
            config.address = Some(parse_address(address)?);
        }
        if let Some(identity) = &self.identity {
            config.identity = Some(key_bytes(identity)?);
        }
        if let Some(epoch) = self.epoch {
            config.epoch = epoch;
        }
        let size = |given: Option<u32>, default| given.map_or(default, |number| number as usize);
        config.geometry = Geometry::new(
            size(self.hops_max, config.geometry.hops_max()),
            size(self.payload_bytes, config.geometry.payload_bytes()),
        )?;
        config.workers = size(self.workers, config.workers);
        config.replay_tags_max = size(self.replay_tags_max, config.replay_tags_max);
        Ok(config)
    }
}

/// What a mixnode counted since its start.
#[derive(Clone, Copy, Debug, Eq, PartialEq, uniffi::Record)]
pub struct MixnetNodeStats {
    /// Packets that came in.
    pub received: u64,
    /// Of those, sent on.
    pub forwarded: u64,
    /// Of those, for this node: cover, and what opens links.
    pub delivered: u64,
    /// Of those, dropped: wrong length, version, epoch, tag, key or payload.
    pub malformed: u64,
    /// Of those, dropped: processed before.
    pub replayed: u64,
    /// Of those, dropped: a limit was reached.
    pub overloaded: u64,
    /// Of those, dropped: their delay was over long ago.
    pub late: u64,
    /// Of those, dropped: the sender asked for what this node does not do.
    pub refused: u64,
    /// Datagrams that came in.
    pub datagrams: u64,
    /// Cover of links that came in.
    pub cover: u64,
    /// Packets sent.
    pub sent: u64,
    /// Datagrams of handshakes, and cover of links, sent.
    pub links_sent: u64,
    /// Datagrams dropped by the links: wrong length or kind, no such link, forged, replayed, over
    /// their rate, or no room for another link.
    pub link_refused: u64,
    /// Packets dropped: their next hop is not known or not reached in time.
    pub unreachable: u64,
    /// Packets and datagrams of handshakes dropped: the system did not send them.
    pub unsent: u64,
    /// Packets dropped: still held when the node ended.
    pub undrained: u64,
}

impl From<EngineStats> for MixnetNodeStats {
    fn from(stats: EngineStats) -> Self {
        Self {
            received: stats.mix.received,
            forwarded: stats.mix.forwarded,
            delivered: stats.mix.delivered,
            malformed: stats.mix.malformed,
            replayed: stats.mix.replayed,
            overloaded: stats.mix.overloaded,
            late: stats.mix.late,
            refused: stats.mix.refused,
            datagrams: stats.datagrams,
            cover: stats.cover,
            sent: stats.sent,
            links_sent: stats.links_sent,
            link_refused: stats.link_refused(),
            unreachable: stats.unknown_peer + stats.unreachable,
            unsent: stats.unsent,
            undrained: stats.undrained,
        }
    }
}

/// A mixnode that runs on threads of this process, over UDP.
///
/// It relays for everybody who opens a link to it, as soon as it knows the network: make the nodes,
/// put their descriptors into a topology, and give that to each of them.
#[derive(uniffi::Object)]
pub struct MixnetNode(fogcompute::MixnetNode);

#[uniffi::export]
impl MixnetNode {
    /// Starts a mixnode that knows no other yet.
    ///
    /// # Errors
    /// [`FogError::Listen`], [`FogError::Node`] if the system gives no socket or thread or packets
    /// do not fit datagrams, and [`FogError::InvalidArgument`] for a configuration that makes no
    /// sense.
    #[uniffi::constructor(default(config = None))]
    pub fn new(config: Option<MixnetNodeConfig>) -> Result<Arc<Self>, FogError> {
        guarded(|| {
            let config = config.unwrap_or_default().parse()?;
            Ok(Arc::new(Self(fogcompute::MixnetNode::start(config)?)))
        })
    }

    /// What others must know of it.
    pub fn descriptor(&self) -> Descriptor {
        self.0.descriptor().into()
    }

    /// Tells it of the other nodes. It sends packets to those and to whoever opened a link to it.
    ///
    /// # Errors
    /// [`FogError::InvalidTopology`], then what was known before stays; [`FogError::Closed`].
    pub fn set_topology(&self, topology: &Topology) -> Result<(), FogError> {
        guarded(|| Ok(self.0.set_topology(topology.file())?))
    }

    /// What it counted since its start.
    ///
    /// # Errors
    /// [`FogError::Closed`].
    pub fn stats(&self) -> Result<MixnetNodeStats, FogError> {
        guarded(|| Ok(self.0.stats()?.into()))
    }

    /// Takes no further packets, sends what it holds when that is due, and ends: when nothing is
    /// held any more, or after `within_ms` milliseconds. Keeps the calling thread until then.
    /// Returns what it counted.
    ///
    /// # Errors
    /// [`FogError::Closed`].
    pub fn drain(&self, within_ms: u64) -> Result<MixnetNodeStats, FogError> {
        guarded(|| Ok(self.0.drain(Duration::from_millis(within_ms))?.into()))
    }

    /// Ends it at once; what it holds is lost. Closing again does nothing. Releasing the last
    /// reference closes it too.
    pub fn close(&self) {
        // Every failure of closing is a thread that has ended already.
        let _ = guarded(|| {
            self.0.close();
            Ok(())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_made_as_its_configuration_says() {
        let first = MixnetNode::new(None).unwrap();
        let taken = first.descriptor().address;
        let config = MixnetNodeConfig {
            listen: Some("127.0.0.1:0".to_owned()),
            address: Some("192.0.2.1:4000".to_owned()),
            identity: Some(vec![7; 32]),
            epoch: Some(1),
            hops_max: Some(5),
            payload_bytes: Some(1024),
            workers: Some(2),
            replay_tags_max: Some(1000),
        };
        let node = MixnetNode::new(Some(config.clone())).unwrap();
        let (made, again) = (node.descriptor(), MixnetNode::new(Some(config)).unwrap());
        assert_eq!(made.address, "192.0.2.1:4000");
        assert_eq!(made.epoch, fogcompute::mix::EpochParity::Odd);
        assert_eq!(made.node, again.descriptor().node);
        assert_ne!(made.key, again.descriptor().key);
        let error = MixnetNode::new(Some(MixnetNodeConfig {
            listen: Some(taken),
            ..MixnetNodeConfig::default()
        }));
        assert!(matches!(error, Err(FogError::Listen { .. })));
    }

    #[test]
    fn configurations_that_make_no_sense_are_refused() {
        let default = MixnetNodeConfig::default;
        for config in [
            MixnetNodeConfig {
                listen: Some("here".to_owned()),
                ..default()
            },
            MixnetNodeConfig {
                address: Some(String::new()),
                ..default()
            },
            MixnetNodeConfig {
                identity: Some(vec![]),
                ..default()
            },
            MixnetNodeConfig {
                hops_max: Some(0),
                ..default()
            },
            MixnetNodeConfig {
                payload_bytes: Some(u32::MAX),
                ..default()
            },
        ] {
            let refused = MixnetNode::new(Some(config));
            assert!(matches!(refused, Err(FogError::InvalidArgument { .. })));
        }
    }

    #[test]
    fn a_node_that_ended_says_so() {
        let (node, other) = (
            MixnetNode::new(None).unwrap(),
            MixnetNode::new(None).unwrap(),
        );
        let topology = Topology::new(vec![vec![node.descriptor()]], None).unwrap();
        node.set_topology(&topology).unwrap();
        assert_eq!(node.stats().unwrap().received, 0);
        assert_eq!(node.drain(60_000).unwrap().undrained, 0);
        other.close();
        other.close();
        for ended in [node, other] {
            assert!(matches!(ended.stats(), Err(FogError::Closed { .. })));
            assert!(matches!(ended.drain(1), Err(FogError::Closed { .. })));
            let told = ended.set_topology(&topology);
            assert!(matches!(told, Err(FogError::Closed { .. })));
        }
    }
}
