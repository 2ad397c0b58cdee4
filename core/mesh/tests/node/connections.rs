//! Connections inside sessions pass the tests of every transport: next to each other, and over a relay and links that
//! lose.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::world::World;
use fogcompute_base::Instant;
use fogcompute_mesh::connection::{
    CONNECTION, CONNECTION_MESSAGE_BYTES_MAX, Connections, address, peer_of,
};
use fogcompute_mesh::{Capabilities, Content, Event as MeshEvent, LinkConfig, NodeConfig, PeerId};
use fogcompute_transport::conformance::Rig;
use fogcompute_transport::{Address, ConnectError, Event, SendError, Transport};

/// One of two ends: its connections, and whom its node can reach.
struct End {
    connections: Connections,
    reachable: BTreeSet<PeerId>,
}

impl Transport for End {
    fn message_bytes_max(&self) -> usize {
        CONNECTION_MESSAGE_BYTES_MAX
    }

    fn connect(&mut self, peer: &Address, now: Instant) -> Result<(), ConnectError> {
        match peer_of(peer).filter(|peer| self.reachable.contains(peer)) {
            Some(peer) => self.connections.connect(peer, now),
            None => Err(ConnectError::Unreachable { peer: peer.clone() }),
        }
    }

    fn send(&mut self, peer: &Address, message: &[u8], now: Instant) -> Result<(), SendError> {
        let absent = || SendError::NotConnected { peer: peer.clone() };
        let peer = peer_of(peer).ok_or_else(absent)?;
        self.connections.send(peer, message, now)
    }

    fn close(&mut self, peer: &Address, now: Instant) {
        if let Some(peer) = peer_of(peer) {
            self.connections.close(peer, now);
        }
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.connections.poll_event()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.connections.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.connections.poll_timeout()
    }
}

/// A line of nodes with an end at each end.
struct Line {
    world: World,
    ends: [End; 2],
    nodes: [usize; 2],
    link: LinkConfig,
}

impl Line {
    fn new(count: usize, link: LinkConfig, loss_percent: u64) -> Self {
        let default = NodeConfig::default();
        let config = NodeConfig {
            capabilities: default.capabilities.with(Capabilities::CONNECTIONS),
            ..default
        };
        let world = World::with_config(1, count, &config);
        let ends = [1000, 2000].map(|seed| End {
            connections: Connections::new(seed),
            reachable: BTreeSet::new(),
        });
        let mut rig = Self {
            world,
            ends,
            nodes: [0, count - 1],
            link,
        };
        rig.world.loss_percent = loss_percent;
        rig.wire();
        rig
    }

    /// Links all, and waits until the ends know each other.
    fn wire(&mut self) {
        for index in 1..=self.nodes[1] {
            self.world.link(index - 1, index, self.link);
        }
        while !(0..2).all(|end| self.is_reachable(end)) {
            self.run_for(Duration::from_secs(5));
        }
        for end in 0..2 {
            let peer = self.world.id(self.nodes[1 - end]);
            self.ends[end].reachable = [peer].into();
        }
    }

    fn is_reachable(&self, end: usize) -> bool {
        let peer = self.world.id(self.nodes[1 - end]);
        let view = self.world.nodes[self.nodes[end]].peer(peer);
        view.is_some_and(|view| view.is_reachable)
    }

    fn run_for(&mut self, duration: Duration) {
        let until = self.world.now + duration;
        while self.world.now < until {
            for (end, node) in self.ends.iter_mut().zip(self.nodes) {
                let now = self.world.now;
                end.handle_timeout(now);
                while let Some((peer, body)) = end.connections.poll_transmit() {
                    let kind = CONNECTION;
                    let content = Content::Other { kind, body };
                    let rng = &mut self.world.rng;
                    // What is not taken is sent again.
                    let _ = self.world.nodes[node].send_content(peer, &content, now, rng);
                }
            }
            self.world.run_for(Duration::from_millis(50));
            for (end, node) in self.ends.iter_mut().zip(self.nodes) {
                for event in self.world.take(node) {
                    if let MeshEvent::Other { from, kind, body } = event
                        && kind == CONNECTION
                    {
                        end.connections.handle(from, &body, self.world.now);
                    }
                }
            }
        }
    }
}

impl Rig for Line {
    fn address(&self, end: usize) -> Address {
        address(self.world.id(self.nodes[end]))
    }

    fn end(&mut self, end: usize) -> &mut dyn Transport {
        &mut self.ends[end]
    }

    fn now(&self) -> Instant {
        self.world.now
    }

    fn settle(&mut self) {
        let seconds = if self.world.loss_percent > 0 { 60 } else { 10 };
        self.run_for(Duration::from_secs(seconds));
    }

    fn cut(&mut self) {
        for index in 1..=self.nodes[1] {
            self.world.unlink(index - 1, index);
        }
        self.run_for(Duration::from_secs(100));
        self.wire();
    }
}

mod next_to_each_other_over_a_radio {
    fogcompute_transport::transport_conformance!(|| super::Line::new(
        2,
        fogcompute_mesh::LinkConfig::BLUETOOTH,
        0
    ));
}

mod over_a_relay_and_links_that_lose {
    fogcompute_transport::transport_conformance!(|| super::Line::new(
        3,
        fogcompute_mesh::LinkConfig::FRAMED,
        5
    ));
}
