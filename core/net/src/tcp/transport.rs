//! TCP links as a [`Transport`].

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use fogcompute_base::{Clock, Instant, NodeId};
use fogcompute_transport::{Address, ConnectError, Ended, Event, SendError, Transport};
use tokio::runtime::Handle;

use super::{
    DialId, TCP_FRAME_BYTES_MAX, TcpConfig, TcpEvent, TcpEvents, TcpLinkId, TcpLinks, TcpSendError,
};
use crate::identity::Identity;

/// Connections that this side opens, at once.
const CONNECTIONS_MAX: usize = 1024;

/// Messages over TCP, to peers that are named by their keys: an address is the 32 bytes of a
/// [`NodeId`].
///
/// Whoever connects is accepted, if it was told to listen; who can be connected to is what
/// [`TcpTransport::set_route`] says.
pub struct TcpTransport {
    links: TcpLinks,
    events: TcpEvents,
    routes: BTreeMap<NodeId, SocketAddr>,
    dials: BTreeMap<DialId, NodeId>,
    peers: BTreeMap<NodeId, Peer>,
    names: BTreeMap<TcpLinkId, NodeId>,
    /// What happened by a call and not on the wire.
    own: VecDeque<Event>,
}

struct Peer {
    link: TcpLinkId,
    /// The host was told that there is no room.
    is_full: bool,
}

impl TcpTransport {
    /// A transport of this identity, whose sockets live on `runtime`.
    #[must_use]
    pub fn new(
        identity: Identity,
        config: TcpConfig,
        clock: Arc<dyn Clock>,
        runtime: Handle,
    ) -> Self {
        let (links, events) = TcpLinks::new(identity, config, clock, runtime);
        Self {
            links,
            events,
            routes: BTreeMap::new(),
            dials: BTreeMap::new(),
            peers: BTreeMap::new(),
            names: BTreeMap::new(),
            own: VecDeque::new(),
        }
    }

    /// Where this end is reached, by those who know a route.
    #[must_use]
    pub fn address(&self) -> Address {
        address(self.links.node())
    }

    /// Accepts connections; gives the socket's address.
    ///
    /// # Errors
    /// What the system says when it does not give that address.
    pub fn listen(&self, socket: SocketAddr) -> io::Result<SocketAddr> {
        self.links.listen(socket)
    }

    /// Says where a peer listens.
    pub fn set_route(&mut self, peer: NodeId, socket: SocketAddr) {
        self.routes.insert(peer, socket);
    }

    /// Takes in what happens next on the wire, for [`Transport::poll_event`] to give out; waits for it.
    pub async fn turn(&mut self) {
        if let Some(event) = self.events.recv().await
            && let Some(event) = self.handle(event)
        {
            self.own.push_back(event);
        }
    }

    fn handle(&mut self, event: TcpEvent) -> Option<Event> {
        match event {
            TcpEvent::Up { link, peer, dial } => {
                if let Some(dial) = dial {
                    self.dials.remove(&dial);
                }
                self.names.insert(link, peer);
                let is_full = false;
                self.peers.insert(peer, Peer { link, is_full });
                let peer = address(peer);
                Some(Event::Connected { peer })
            }
            TcpEvent::Frame { link, bytes } => {
                let peer = address(*self.names.get(&link)?);
                Some(Event::Message { peer, bytes })
            }
            TcpEvent::Writable { link } => {
                let peer = *self.names.get(&link)?;
                let known = self.peers.get_mut(&peer)?;
                // What is full again will be said to have room again.
                if !known.is_full || !self.links.has_room(link) {
                    return None;
                }
                known.is_full = false;
                let peer = address(peer);
                Some(Event::Writable { peer })
            }
            TcpEvent::Down { link, peer, ended } => {
                // One that was closed by a call was said to be so then.
                self.names.remove(&link)?;
                self.peers.remove(&peer);
                let peer = address(peer);
                Some(Event::Disconnected { peer, ended })
            }
            TcpEvent::DialFailed {
                dial,
                is_wrong_peer,
            } => {
                let peer = self.dials.remove(&dial)?;
                let ended = if is_wrong_peer {
                    Ended::Misbehaved
                } else {
                    Ended::Lost
                };
                let peer = address(peer);
                Some(Event::Disconnected { peer, ended })
            }
        }
    }

    #[cfg(test)]
    pub(super) fn links(&self) -> &TcpLinks {
        &self.links
    }

    #[cfg(test)]
    pub(super) fn has_events(&self) -> bool {
        !self.events.queue.is_empty()
    }

    /// Takes in what happened, until what is dialled came to an end.
    #[cfg(test)]
    pub(super) fn is_dialling(&mut self) -> bool {
        while !self.dials.is_empty() {
            let Some(event) = self.events.try_recv() else {
                return true;
            };
            let event = self.handle(event);
            self.own.extend(event);
        }
        false
    }
}

impl Transport for TcpTransport {
    fn message_bytes_max(&self) -> usize {
        TCP_FRAME_BYTES_MAX
    }

    fn connect(&mut self, peer: &Address, _: Instant) -> Result<(), ConnectError> {
        let unreachable = || ConnectError::Unreachable { peer: peer.clone() };
        let node = node(peer).ok_or_else(unreachable)?;
        if self.peers.contains_key(&node) || self.dials.values().any(|dialled| *dialled == node) {
            return Ok(());
        }
        let socket = *self.routes.get(&node).ok_or_else(unreachable)?;
        if self.peers.len() + self.dials.len() >= CONNECTIONS_MAX {
            return Err(ConnectError::Full {
                limit: CONNECTIONS_MAX,
            });
        }
        let dial = self.links.dial(socket, Some(node), false);
        self.dials.insert(dial, node);
        Ok(())
    }

    fn send(&mut self, peer: &Address, message: &[u8], _: Instant) -> Result<(), SendError> {
        let absent = || SendError::NotConnected { peer: peer.clone() };
        let known = node(peer).and_then(|node| self.peers.get_mut(&node));
        let known = known.ok_or_else(absent)?;
        self.links
            .send(known.link, message)
            .map_err(|error| match error {
                TcpSendError::Down => absent(),
                TcpSendError::Full => {
                    known.is_full = true;
                    SendError::Full { peer: peer.clone() }
                }
                TcpSendError::TooLong { actual, limit } => SendError::TooLong { actual, limit },
            })
    }

    fn close(&mut self, peer: &Address, _: Instant) {
        if let Some(node) = node(peer)
            && let Some(known) = self.peers.remove(&node)
        {
            self.names.remove(&known.link);
            self.links.close(known.link);
            let peer = peer.clone();
            let ended = Ended::Closed;
            self.own.push_back(Event::Disconnected { peer, ended });
        }
    }

    fn poll_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.own.pop_front() {
                return Some(event);
            }
            let event = self.events.try_recv()?;
            if let Some(event) = self.handle(event) {
                return Some(event);
            }
        }
    }

    fn handle_timeout(&mut self, _: Instant) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

fn address(node: NodeId) -> Address {
    Address::new(node.as_bytes()).expect("a key has 32 bytes")
}

fn node(address: &Address) -> Option<NodeId> {
    Some(NodeId::from_bytes(address.as_bytes().try_into().ok()?))
}
