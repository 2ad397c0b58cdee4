//! A transport inside one program.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fogcompute_base::Instant;

use crate::{Address, ConnectError, Ended, Event, SendError, Transport};

/// Longest message that a [`Loopback`] carries, in bytes.
pub const LOOPBACK_MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Bytes of messages that wait in one direction, but for the last one. When reached, sending says so.
pub const LOOPBACK_BYTES_MAX: usize = 4 << 20;
/// Messages that wait in one direction.
const MESSAGES_MAX: usize = 1024;

/// What both ends see.
#[derive(Default)]
struct Wire {
    is_connected: bool,
    ends: [Side; 2],
}

/// What one end has not taken yet.
#[derive(Default)]
struct Side {
    events: VecDeque<Event>,
    messages: usize,
    bytes: usize,
    /// The other end was told that there is no room here.
    is_full: bool,
}

/// One of two ends of a connection inside one program: for tests, and for parts that may later be on different
/// machines.
pub struct Loopback {
    wire: Arc<Mutex<Wire>>,
    end: usize,
    addresses: [Address; 2],
}

impl Loopback {
    /// Two ends that can reach each other and are not connected yet.
    #[must_use]
    pub fn pair() -> (Self, Self) {
        let wire = Arc::new(Mutex::new(Wire::default()));
        let addresses = [b"first".as_slice(), b"second"].map(|name| Address(name.to_vec()));
        let end = |end| Self {
            wire: Arc::clone(&wire),
            end,
            addresses: addresses.clone(),
        };
        (end(0), end(1))
    }

    /// Where this end is reached.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.addresses[self.end]
    }

    /// Breaks the connection, as a cable would.
    pub fn cut(&self) {
        self.end_with([Ended::Lost; 2]);
    }

    fn wire(&self) -> MutexGuard<'_, Wire> {
        // Nothing panics while it holds the wire, so it is as it should be.
        self.wire.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end_with(&self, ended: [Ended; 2]) {
        let mut wire = self.wire();
        if !std::mem::replace(&mut wire.is_connected, false) {
            return;
        }
        for (end, ended) in ended.into_iter().enumerate() {
            let side = &mut wire.ends[end];
            side.is_full = false;
            side.events.push_back(Event::Disconnected {
                peer: self.addresses[1 - end].clone(),
                ended,
            });
        }
    }

    fn is_other(&self, peer: &Address) -> bool {
        *peer == self.addresses[1 - self.end]
    }
}

impl Transport for Loopback {
    fn message_bytes_max(&self) -> usize {
        LOOPBACK_MESSAGE_BYTES_MAX
    }

    fn connect(&mut self, peer: &Address, _now: Instant) -> Result<(), ConnectError> {
        if !self.is_other(peer) {
            return Err(ConnectError::Unreachable { peer: peer.clone() });
        }
        let mut wire = self.wire();
        if !std::mem::replace(&mut wire.is_connected, true) {
            for end in 0..2 {
                let peer = self.addresses[1 - end].clone();
                wire.ends[end].events.push_back(Event::Connected { peer });
            }
        }
        Ok(())
    }

    fn send(&mut self, peer: &Address, message: &[u8], _now: Instant) -> Result<(), SendError> {
        let mut wire = self.wire();
        if !self.is_other(peer) || !wire.is_connected {
            return Err(SendError::NotConnected { peer: peer.clone() });
        }
        if message.len() > LOOPBACK_MESSAGE_BYTES_MAX {
            return Err(SendError::TooLong {
                actual: message.len(),
                limit: LOOPBACK_MESSAGE_BYTES_MAX,
            });
        }
        let side = &mut wire.ends[1 - self.end];
        if side.bytes >= LOOPBACK_BYTES_MAX || side.messages >= MESSAGES_MAX {
            side.is_full = true;
            return Err(SendError::Full { peer: peer.clone() });
        }
        side.bytes += message.len();
        side.messages += 1;
        side.events.push_back(Event::Message {
            peer: self.addresses[self.end].clone(),
            bytes: message.to_vec(),
        });
        Ok(())
    }

    fn close(&mut self, peer: &Address, _now: Instant) {
        if !self.is_other(peer) {
            return;
        }
        let mut wire = self.wire();
        if wire.is_connected {
            // Whoever closes wants nothing more.
            let side = &mut wire.ends[self.end];
            side.events.clear();
            (side.bytes, side.messages) = (0, 0);
        }
        drop(wire);
        let mut ended = [Ended::ClosedByPeer; 2];
        ended[self.end] = Ended::Closed;
        self.end_with(ended);
    }

    fn poll_event(&mut self) -> Option<Event> {
        let mut wire = self.wire();
        let side = &mut wire.ends[self.end];
        let event = side.events.pop_front()?;
        if let Event::Message { bytes, .. } = &event {
            side.bytes -= bytes.len();
            side.messages -= 1;
            // Half of it free, so that not every message is news.
            let has_room =
                side.bytes <= LOOPBACK_BYTES_MAX / 2 && side.messages <= MESSAGES_MAX / 2;
            if has_room && std::mem::take(&mut side.is_full) {
                let peer = self.addresses[self.end].clone();
                wire.ends[1 - self.end]
                    .events
                    .push_back(Event::Writable { peer });
            }
        }
        Some(event)
    }

    fn handle_timeout(&mut self, _now: Instant) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::Rig;

    struct Pair([Loopback; 2]);

    impl Pair {
        fn new() -> Self {
            let (first, second) = Loopback::pair();
            Self([first, second])
        }
    }

    impl Rig for Pair {
        fn address(&self, end: usize) -> Address {
            self.0[end].address().clone()
        }

        fn end(&mut self, end: usize) -> &mut dyn Transport {
            &mut self.0[end]
        }

        fn now(&self) -> Instant {
            Instant::ZERO
        }

        fn settle(&mut self) {}

        fn cut(&mut self) {
            self.0[0].cut();
        }
    }

    crate::transport_conformance!(Pair::new);
}
