//! Connections with other nodes of the mesh, as every transport makes them.

use std::fmt;
use std::sync::Arc;

use fogcompute_base::Instant;
use fogcompute_mesh::Capabilities;
use fogcompute_mesh::connection::{CONNECTION_MESSAGE_BYTES_MAX, peer_of};
use fogcompute_store::HomeProcess;
use fogcompute_transport::{Address, ConnectError, Event, SendError, Transport};

use super::MeshError;
use super::state::{Shared, State};

/// The connections of a [`MeshNode`](super::MeshNode), over however many hops: messages of at most 32 KiB inside private
/// sessions. Addresses are the bytes of peers' identifiers.
///
/// The node's own clock counts. With a node that was closed nothing is connected.
pub struct MeshTransport {
    shared: Arc<Shared>,
    home: HomeProcess,
}

impl MeshTransport {
    pub(super) const fn new(shared: Arc<Shared>, home: HomeProcess) -> Self {
        Self { shared, home }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State, Instant) -> T) -> Result<T, MeshError> {
        if !self.home.is_here() {
            return Err(MeshError::Forked);
        }
        self.shared.with(|state, now| Ok(act(state, now)))
    }
}

impl Transport for MeshTransport {
    fn message_bytes_max(&self) -> usize {
        CONNECTION_MESSAGE_BYTES_MAX
    }

    fn connect(&mut self, peer: &Address, _: Instant) -> Result<(), ConnectError> {
        let unreachable = || ConnectError::Unreachable { peer: peer.clone() };
        let to = peer_of(peer).ok_or_else(unreachable)?;
        let connected = self.with(|state, now| {
            let view = state.node.peer(to)?;
            let is_there = view.is_reachable && view.capabilities.has(Capabilities::CONNECTIONS);
            is_there.then(|| state.connections.connect(to, now))
        });
        connected.ok().flatten().ok_or_else(unreachable)?
    }

    fn send(&mut self, peer: &Address, message: &[u8], _: Instant) -> Result<(), SendError> {
        let absent = || SendError::NotConnected { peer: peer.clone() };
        let to = peer_of(peer).ok_or_else(absent)?;
        let sent = self.with(|state, now| state.connections.send(to, message, now));
        sent.map_err(|_| absent())?
    }

    fn close(&mut self, peer: &Address, _: Instant) {
        if let Some(peer) = peer_of(peer) {
            // One that was closed, or is another process's, has no connections.
            let _ = self.with(|state, now| state.connections.close(peer, now));
        }
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.with(|state, _| state.connections.poll_event()).ok()?
    }

    /// The node's thread does what is due.
    fn handle_timeout(&mut self, _: Instant) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

impl fmt::Debug for MeshTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MeshTransport(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use fogcompute_base::{Clock, OsEntropy, SystemClock, UnixMillis};
    use fogcompute_mesh::connection::address;
    use fogcompute_transport::conformance::Rig;

    use super::*;
    use crate::mesh::{MeshNode, MeshNodeConfig};

    /// A clock that can be put forward, so that nobody waits for what is silent.
    #[derive(Debug)]
    struct Ahead {
        clock: SystemClock,
        ahead_ms: AtomicU64,
    }

    impl Ahead {
        fn ahead(&self) -> Duration {
            Duration::from_millis(self.ahead_ms.load(Ordering::SeqCst))
        }
    }

    impl Clock for Ahead {
        fn now(&self) -> Instant {
            self.clock.now() + self.ahead()
        }

        fn unix_now(&self) -> UnixMillis {
            let ahead_ms = self.ahead_ms.load(Ordering::SeqCst);
            UnixMillis(self.clock.unix_now().0 + ahead_ms)
        }
    }

    /// Three nodes over TCP: the ends are linked to the one in the middle.
    struct Line {
        nodes: [MeshNode; 3],
        ends: [MeshTransport; 2],
        middle: SocketAddr,
        clock: Arc<Ahead>,
    }

    impl Line {
        fn new() -> Self {
            let clock = Arc::new(Ahead {
                clock: SystemClock::new(),
                ahead_ms: AtomicU64::new(0),
            });
            let nodes = ["alice", "bob", "relay"].map(|nickname| {
                let config = MeshNodeConfig {
                    nickname: nickname.to_owned(),
                    connections: true,
                    ..MeshNodeConfig::default()
                };
                let clock = Arc::clone(&clock) as Arc<dyn Clock>;
                MeshNode::start_with(config, clock, Box::new(OsEntropy)).unwrap()
            });
            let middle = nodes[2].listen("127.0.0.1:0".parse().unwrap()).unwrap();
            let ends = [0, 1].map(|end| nodes[end].transport().unwrap());
            let rig = Self {
                nodes,
                ends,
                middle,
                clock,
            };
            rig.wire();
            rig
        }

        fn wire(&self) {
            for node in &self.nodes[..2] {
                node.connect(self.middle).unwrap();
            }
            self.wait(|rig| {
                (0..2).all(|end| {
                    let other = rig.nodes[1 - end].id();
                    let peers = rig.nodes[end].peers().unwrap();
                    let links = rig.nodes[end].stats().unwrap().links;
                    links == 1
                        && peers
                            .iter()
                            .any(|peer| peer.id == other && peer.is_reachable)
                })
            });
        }

        /// Waits until something is so, however long that takes.
        fn wait(&self, is_so: impl Fn(&Self) -> bool) {
            while !is_so(self) {
                let event = self.nodes[0].receive_within(Duration::from_millis(5));
                drop(event.unwrap());
            }
        }

        /// Whether everything that an end sent was confirmed, or waits for its peer's host.
        fn is_carried(&self, end: usize) -> bool {
            let idle = |end: usize| self.ends[end].with(|state, _| state.connections.is_idle());
            let full = |end: usize| self.ends[end].with(|state, _| state.connections.is_full());
            idle(end).unwrap() || full(1 - end).unwrap()
        }
    }

    impl Rig for Line {
        fn address(&self, end: usize) -> Address {
            address(self.nodes[end].id())
        }

        fn end(&mut self, end: usize) -> &mut dyn Transport {
            &mut self.ends[end]
        }

        fn now(&self) -> Instant {
            self.clock.now()
        }

        fn settle(&mut self) {
            self.wait(|rig| rig.is_carried(0) && rig.is_carried(1));
        }

        fn cut(&mut self) {
            for node in &self.nodes[..2] {
                assert!(node.disconnect(self.middle).unwrap());
            }
            self.wait(|rig| {
                rig.nodes
                    .iter()
                    .all(|node| node.stats().unwrap().links == 0)
            });
            self.clock.ahead_ms.fetch_add(31_000, Ordering::SeqCst);
            self.wait(|rig| {
                let gone = |end: &MeshTransport| end.with(|state, _| state.connections.is_empty());
                rig.ends.iter().all(|end| gone(end).unwrap())
            });
            self.wire();
        }
    }

    fogcompute_transport::transport_conformance!(Line::new);

    #[test]
    fn who_makes_no_connections_is_not_connected_to() {
        let nodes = [true, false].map(|connections| {
            MeshNode::start(MeshNodeConfig {
                connections,
                ..MeshNodeConfig::default()
            })
            .unwrap()
        });
        let [alice, bob] = &nodes;
        assert!(bob.transport().is_none());
        alice.link_with(bob).unwrap();
        while alice.peers().unwrap().is_empty() {
            drop(alice.receive_within(Duration::from_millis(5)).unwrap());
        }
        let peer = address(bob.id());
        let refused = alice.transport().unwrap().connect(&peer, Instant::ZERO);
        assert_eq!(refused, Err(ConnectError::Unreachable { peer }));
    }
}
