//! Over whom a packet for one peer goes, when this peer says so itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use fogcompute_base::{CryptoRng, Instant};

use super::input::Arrival;
use super::{Node, Peer, Target};
use crate::announce::Capabilities;
use crate::link::Link;
use crate::packet::{Packet, PeerId, TTL_MAX};

/// Hops between sender and recipient: what starts here lives no longer.
const HOPS_MAX: usize = TTL_MAX as usize - 1;
/// How long packets for a peer go everywhere after one over a route was not confirmed.
const MISTRUST: Duration = Duration::from_secs(60);

impl Node {
    /// Puts the way into a packet of this peer for another: over as few as possible, each of whom says that it is
    /// next to the next, and is said to be by it. Without such a way, or where one has just failed, it goes
    /// everywhere.
    pub(super) fn choose_route(&self, packet: &mut Packet, peer: PeerId, now: Instant) {
        let mistrusted = |known: &Peer| known.route_after > now;
        if !self.config.routes || self.peers.get(&peer).is_none_or(mistrusted) {
            return;
        }
        if self.link_of(peer).is_some() {
            return;
        }
        let Some(hops) = self.route_to(peer) else {
            return;
        };
        packet.set_route(hops).expect("there are at most six hops");
        // As the iOS app does.
        packet.sign(&self.identity);
    }

    /// What was sent over a route to a peer was not confirmed: for a while nothing is.
    pub(super) fn mistrust_routes(&mut self, peer: PeerId, now: Instant) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.route_after = now + MISTRUST;
        }
    }

    /// The hops between here and a peer, if there are any that may be used.
    fn route_to(&self, peer: PeerId) -> Option<Vec<PeerId>> {
        let near: BTreeSet<_> = self
            .links
            .values()
            .filter_map(Link::peer)
            .filter(|hop| self.passes_on(*hop))
            .collect();
        let mut before: BTreeMap<PeerId, Option<PeerId>> =
            near.iter().map(|hop| (*hop, None)).collect();
        let mut next: VecDeque<_> = near.into_iter().map(|hop| (hop, 1)).collect();
        while let Some((hop, length)) = next.pop_front() {
            if self.are_neighbours(hop, peer) {
                let mut hops = vec![hop];
                while let Some(Some(earlier)) = hops.last().map(|last| before[last]) {
                    hops.push(earlier);
                }
                hops.reverse();
                return Some(hops);
            }
            if length == HOPS_MAX {
                continue;
            }
            for further in self.neighbours(hop) {
                if !before.contains_key(further)
                    && *further != self.id
                    && self.passes_on(*further)
                    && self.are_neighbours(hop, *further)
                {
                    before.insert(*further, Some(hop));
                    next.push_back((*further, length + 1));
                }
            }
        }
        None
    }

    /// Whether a peer was heard of in the last minute and understands packets with routes.
    fn passes_on(&self, peer: PeerId) -> bool {
        self.peers.get(&peer).is_some_and(|known| {
            let capabilities = known.announce.capabilities.unwrap_or_default();
            known.is_reachable && (known.is_wide || capabilities.has(Capabilities::ROUTES))
        })
    }

    /// Whom a peer says it is next to. What it said long ago does not count.
    fn neighbours(&self, peer: PeerId) -> &[PeerId] {
        let known = self.peers.get(&peer).filter(|known| known.is_reachable);
        known
            .and_then(|known| known.announce.neighbours.as_deref())
            .unwrap_or_default()
    }

    fn are_neighbours(&self, one: PeerId, other: PeerId) -> bool {
        self.neighbours(one).contains(&other) && self.neighbours(other).contains(&one)
    }

    /// Where this peer is among the hops of a packet's route.
    pub(super) fn place_on_route(&self, packet: &Packet) -> Option<usize> {
        packet.route()?.iter().position(|hop| *hop == self.id)
    }

    /// Whether a packet that was sent over a route came back from there: the route is broken. It goes everywhere else,
    /// once.
    pub(super) fn send_around(
        &mut self,
        packet: &Packet,
        key: u64,
        arrival: Arrival,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> bool {
        let (Some(route), Some(recipient)) = (packet.route(), packet.recipient) else {
            return false;
        };
        let is_own = packet.sender == self.id;
        let next = match self.place_on_route(packet) {
            Some(here) => route.get(here + 1),
            None if is_own => route.first(),
            None => return false,
        };
        let is_back = next.is_some_and(|next| self.via(arrival.link) == Some(*next));
        // Only what was sent from here, and only once: who is near can send it back as often as it likes.
        let was_sent = self.seen.contains(&key, now);
        if !is_back || !was_sent || arrival.is_whole_again {
            return false;
        }
        if !self.returned.insert(key, now) {
            return true;
        }
        let mut packet = packet.clone();
        if is_own {
            self.mistrust_routes(recipient, now);
            packet.ttl = TTL_MAX;
        } else if packet.ttl <= 1 || !self.config.relays {
            return true;
        } else {
            packet.ttl = packet.ttl.min(TTL_MAX) - 1;
        }
        let except = arrival.link;
        self.dispatch(&packet, Target::Others { except }, now, rng);
        true
    }
}
