//! Connections inside sessions: messages that arrive whole, once and in order, or the connection is said to have ended.
//!
//! A packet of the mesh may be lost, come late, or find nobody. [`Connections`] numbers messages, sends them again until
//! they are confirmed, and holds back what the other end has no room for. What it gives out goes to a peer as
//! [`Content::Other`](crate::Content::Other) of type [`CONNECTION`]; peers announce
//! [`Capabilities::CONNECTIONS`](crate::Capabilities::CONNECTIONS).
//!
//! Each frame is a byte for what it is, the sender's number of the connection (8 bytes, big-endian, of its choice) and
//! the receiver's (0 where it is not known), and then
//!
//! | byte | what | content |
//! |---|---|---|
//! | 1 | open | |
//! | 2 | accept | |
//! | 3 | message | its number from 0 (8 bytes), the message |
//! | 4 | confirmed | the number of the next one that is missing (8 bytes), how many more are taken (4 bytes) |
//! | 5 | is it there? | |
//! | 6 | close | |
//! | 7 | there is no such connection | |

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use fogcompute_base::Instant;
use fogcompute_base::wire::{DecodeError, Reader, Writer};
use fogcompute_transport::{Address, ConnectError, Ended, Event, SendError};

use crate::packet::PeerId;

/// The type of what connections send.
pub const CONNECTION: u8 = 0x50;
/// Longest message, in bytes: on a radio it goes in some eighty fragments.
pub const CONNECTION_MESSAGE_BYTES_MAX: usize = 32 * 1024;
/// Most connections.
pub const CONNECTIONS_MAX: usize = 256;

/// Messages and bytes that wait to leave over one connection, but for the last.
const SEND_MAX: usize = 256;
const SEND_BYTES_MAX: usize = 1 << 20;
/// Messages and bytes that are sent and not confirmed.
const WINDOW: usize = 32;
const WINDOW_BYTES: usize = 64 * 1024;
/// Messages and bytes that wait to be taken at the other end.
const RECEIVE_MAX: usize = 64;
const RECEIVE_BYTES_MAX: usize = 256 * 1024;
/// Events that wait while peers open further connections, and frames that wait to be sent.
const EVENTS_MAX: usize = 4096;
const OUT_MAX: usize = 4096;
/// How long until what is not confirmed is sent again; each time twice as long.
const RESEND_FIRST: Duration = Duration::from_secs(3);
const RESEND_MAX: Duration = Duration::from_secs(12);
/// Of what is not confirmed, so many are sent again at once.
const RESEND_COUNT: usize = 4;
/// How long until a silent peer is asked whether it is there.
const ASK_AFTER: Duration = Duration::from_secs(6);
/// How long until a silent connection is one that broke.
const LOST_AFTER: Duration = Duration::from_secs(30);
/// How often closing is said, unless it was heard.
const CLOSE_COUNT: u8 = 4;

const OPEN: u8 = 1;
const ACCEPT: u8 = 2;
const MESSAGE: u8 = 3;
const CONFIRMED: u8 = 4;
const ASK: u8 = 5;
const CLOSE: u8 = 6;
const NONE: u8 = 7;

struct Connection {
    mine: u64,
    /// The other end's number; not known until it accepts.
    theirs: Option<u64>,
    /// What is not confirmed, and what was not sent.
    outgoing: VecDeque<Vec<u8>>,
    outgoing_bytes: usize,
    /// Number of the first of them.
    first: u64,
    /// How many of them were sent.
    sent: usize,
    /// How many more than confirmed the other end takes.
    room: usize,
    /// The sender was told that there is no room.
    is_full: bool,
    resend: Duration,
    resend_at: Option<Instant>,
    /// Number of the next one that is missing.
    next: u64,
    /// What came before it.
    early: BTreeMap<u64, Vec<u8>>,
    early_bytes: usize,
    /// Messages and bytes that the host has not taken.
    waiting: usize,
    waiting_bytes: usize,
    /// The other end was told that there is no room.
    has_said_full: bool,
    heard: Instant,
    asked: Instant,
}

impl Connection {
    const fn new(mine: u64, theirs: Option<u64>, now: Instant) -> Self {
        Self {
            mine,
            theirs,
            outgoing: VecDeque::new(),
            outgoing_bytes: 0,
            first: 0,
            sent: 0,
            room: RECEIVE_MAX,
            is_full: false,
            resend: RESEND_FIRST,
            resend_at: None,
            next: 0,
            early: BTreeMap::new(),
            early_bytes: 0,
            waiting: 0,
            waiting_bytes: 0,
            has_said_full: false,
            heard: now,
            asked: now,
        }
    }

    /// How many messages are taken beyond the last that was confirmed.
    const fn takes(&self) -> usize {
        if self.waiting_bytes >= RECEIVE_BYTES_MAX {
            return 0;
        }
        RECEIVE_MAX.saturating_sub(self.waiting)
    }
}

/// Says again that a connection was closed.
struct Closing {
    theirs: u64,
    at: Instant,
    count: u8,
}

/// The connections of one peer with others. Sans-IO as everything here.
#[derive(Default)]
pub struct Connections {
    open: BTreeMap<PeerId, Connection>,
    closing: BTreeMap<(PeerId, u64), Closing>,
    /// The last number that was chosen.
    number: u64,
    events: VecDeque<Event>,
    out: VecDeque<(PeerId, Vec<u8>)>,
}

impl Connections {
    /// None yet. `seed` should be random: an end that was started again must not choose the numbers it chose before.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            number: seed,
            ..Self::default()
        }
    }

    /// Makes a connection, unless there is one. Whether there is a way to the peer is for the caller to know.
    ///
    /// # Errors
    /// [`ConnectError::Full`].
    pub fn connect(&mut self, peer: PeerId, now: Instant) -> Result<(), ConnectError> {
        if self.open.contains_key(&peer) {
            return Ok(());
        }
        if self.open.len() >= CONNECTIONS_MAX {
            return Err(ConnectError::Full {
                limit: CONNECTIONS_MAX,
            });
        }
        let mine = self.choose();
        let mut connection = Connection::new(mine, None, now);
        connection.resend_at = Some(now + connection.resend);
        self.open.insert(peer, connection);
        self.say(peer, OPEN, mine, 0, &[]);
        Ok(())
    }

    /// Sends a message, which may be empty.
    ///
    /// # Errors
    /// [`SendError`]. Nothing is sent on an error.
    pub fn send(&mut self, peer: PeerId, message: &[u8], now: Instant) -> Result<(), SendError> {
        let open = self.open.get_mut(&peer);
        let Some(open) = open.filter(|open| open.theirs.is_some()) else {
            let peer = address(peer);
            return Err(SendError::NotConnected { peer });
        };
        if message.len() > CONNECTION_MESSAGE_BYTES_MAX {
            return Err(SendError::TooLong {
                actual: message.len(),
                limit: CONNECTION_MESSAGE_BYTES_MAX,
            });
        }
        if open.outgoing.len() >= SEND_MAX || open.outgoing_bytes >= SEND_BYTES_MAX {
            open.is_full = true;
            let peer = address(peer);
            return Err(SendError::Full { peer });
        }
        open.outgoing_bytes += message.len();
        open.outgoing.push_back(message.to_vec());
        self.send_more(peer, now);
        Ok(())
    }

    /// Ends a connection, if there is one.
    pub fn close(&mut self, peer: PeerId, now: Instant) {
        let Some(open) = self.open.remove(&peer) else {
            return;
        };
        let of = address(peer);
        self.events.retain(|event| !is_of(event, &of));
        self.events.push_back(Event::Disconnected {
            peer: of,
            ended: Ended::Closed,
        });
        let theirs = open.theirs.unwrap_or(0);
        self.say(peer, CLOSE, open.mine, theirs, &[]);
        if self.closing.len() < CONNECTIONS_MAX {
            let closing = Closing {
                theirs,
                at: now + RESEND_FIRST,
                count: 1,
            };
            self.closing.insert((peer, open.mine), closing);
        }
    }

    /// What happened next.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        if let Event::Message { peer, bytes } = &event
            && let Some(peer) = peer_of(peer)
            && let Some(open) = self.open.get_mut(&peer)
        {
            open.waiting = open.waiting.saturating_sub(1);
            open.waiting_bytes = open.waiting_bytes.saturating_sub(bytes.len());
            let has_room =
                open.waiting <= RECEIVE_MAX / 2 && open.waiting_bytes <= RECEIVE_BYTES_MAX / 2;
            if has_room && std::mem::take(&mut open.has_said_full) {
                self.confirm(peer);
            }
        }
        Some(event)
    }

    /// The next thing to send to a peer, in a session: the body of what has type [`CONNECTION`]. What is lost on the way
    /// is given out again.
    pub fn poll_transmit(&mut self) -> Option<(PeerId, Vec<u8>)> {
        self.out.pop_front()
    }

    /// When [`Connections::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let open = self.open.values().flat_map(|open| {
            let ask = open.heard.max(open.asked) + ASK_AFTER;
            // One that was not accepted yet is opened again instead.
            let ask = open.theirs.map(|_| ask);
            [open.resend_at, ask, Some(open.heard + LOST_AFTER)]
        });
        let closing = self.closing.values().map(|closing| Some(closing.at));
        open.chain(closing).flatten().min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let silent = |open: &Connection| open.heard + LOST_AFTER <= now;
        let lost: Vec<_> = self
            .open
            .iter()
            .filter(|(_, open)| silent(open))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in lost {
            self.end(peer, Ended::Lost);
        }
        let peers: Vec<_> = self.open.keys().copied().collect();
        for peer in peers {
            self.send_again(peer, now);
        }
        let mut again = Vec::new();
        self.closing.retain(|(peer, mine), closing| {
            if closing.at > now {
                return true;
            }
            closing.at = now + RESEND_FIRST;
            closing.count += 1;
            again.push((*peer, *mine, closing.theirs));
            closing.count < CLOSE_COUNT
        });
        for (peer, mine, theirs) in again {
            self.say(peer, CLOSE, mine, theirs, &[]);
        }
    }

    /// Whether there is no connection, nor one being closed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.closing.is_empty()
    }

    /// Whether everything that was sent was confirmed, and all connections were accepted or closed.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let is_idle = |open: &Connection| open.theirs.is_some() && open.outgoing.is_empty();
        self.out.is_empty() && self.closing.is_empty() && self.open.values().all(is_idle)
    }

    /// Whether over some connection nothing more is taken until the host takes what came.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.open.values().any(|open| open.takes() == 0)
    }

    fn send_again(&mut self, peer: PeerId, now: Instant) {
        let Some(open) = self.open.get_mut(&peer) else {
            return;
        };
        let Some(theirs) = open.theirs else {
            if open.resend_at.is_some_and(|at| at <= now) {
                open.resend_at = Some(now + open.resend);
                let mine = open.mine;
                self.say(peer, OPEN, mine, 0, &[]);
            }
            return;
        };
        let mine = open.mine;
        if open.heard.max(open.asked) + ASK_AFTER <= now {
            open.asked = now;
            self.say(peer, ASK, mine, theirs, &[]);
        }
        let Some(open) = self.open.get_mut(&peer) else {
            return;
        };
        if open.resend_at.is_none_or(|at| at > now) {
            return;
        }
        open.resend = (open.resend * 2).min(RESEND_MAX);
        open.resend_at = Some(now + open.resend);
        // Without room too: what the peer said of it may have been lost.
        let count = open.sent.clamp(1, RESEND_COUNT).min(open.outgoing.len());
        open.sent = open.sent.max(count);
        let again = (open.first..).zip(open.outgoing.iter().take(count));
        let again: Vec<_> = again
            .map(|(number, message)| numbered(number, message))
            .collect();
        for content in again {
            self.say(peer, MESSAGE, mine, theirs, &content);
        }
    }

    /// Sends what there is room for.
    fn send_more(&mut self, peer: PeerId, now: Instant) {
        let Some(open) = self.open.get_mut(&peer) else {
            return;
        };
        let Some(theirs) = open.theirs else {
            return;
        };
        let mine = open.mine;
        let in_flight: usize = open.outgoing.iter().take(open.sent).map(Vec::len).sum();
        let mut bytes = in_flight;
        let mut ready = Vec::new();
        while let Some(message) = open.outgoing.get(open.sent)
            && open.sent < WINDOW.min(open.room)
            && bytes < WINDOW_BYTES
        {
            bytes += message.len();
            ready.push(numbered(open.first + open.sent as u64, message));
            open.sent += 1;
        }
        if !open.outgoing.is_empty() && open.resend_at.is_none() {
            open.resend_at = Some(now + open.resend);
        }
        for content in ready {
            self.say(peer, MESSAGE, mine, theirs, &content);
        }
    }

    /// Takes what a peer sent.
    pub fn handle(&mut self, peer: PeerId, body: &[u8], now: Instant) {
        if self.read(peer, body, now).is_err() && self.open.contains_key(&peer) {
            self.refuse(peer);
            self.end(peer, Ended::Misbehaved);
        }
    }

    fn read(&mut self, peer: PeerId, body: &[u8], now: Instant) -> Result<(), DecodeError> {
        let mut reader = Reader::new(body);
        let (kind, theirs, mine) = (reader.u8()?, reader.u64()?, reader.u64()?);
        if kind == OPEN {
            reader.finish()?;
            self.accept(peer, theirs, now);
            return Ok(());
        }
        if kind == NONE {
            self.closing.remove(&(peer, mine));
        }
        let open = self.open.get_mut(&peer).filter(|open| open.mine == mine);
        let Some(open) = open.filter(|open| open.theirs.is_none_or(|known| known == theirs)) else {
            // Also to one that closes: it was heard.
            if self.closing.contains_key(&(peer, mine)) && kind != CLOSE {
                self.say(peer, CLOSE, mine, theirs, &[]);
            } else if kind != NONE {
                self.say(peer, NONE, mine, theirs, &[]);
            }
            return Ok(());
        };
        open.heard = now;
        if open.theirs.is_none() && matches!(kind, ACCEPT | MESSAGE) {
            open.theirs = Some(theirs);
            (open.resend, open.resend_at) = (RESEND_FIRST, None);
            let peer = address(peer);
            self.events.push_back(Event::Connected { peer });
        }
        match kind {
            ACCEPT => reader.finish()?,
            MESSAGE => {
                let number = reader.u64()?;
                let rest = reader.take(reader.remaining())?;
                if rest.len() > CONNECTION_MESSAGE_BYTES_MAX {
                    return Err(DecodeError::TooLong {
                        actual: rest.len(),
                        limit: CONNECTION_MESSAGE_BYTES_MAX,
                    });
                }
                self.take(peer, number, rest);
            }
            CONFIRMED => {
                let (next, room) = (reader.u64()?, reader.u32()?);
                reader.finish()?;
                self.confirmed(peer, next, room, now)?;
            }
            ASK => self.confirm(peer),
            CLOSE => {
                self.say(peer, NONE, mine, theirs, &[]);
                self.end(peer, Ended::ClosedByPeer);
            }
            NONE => self.end(peer, Ended::Lost),
            _ => {
                return Err(DecodeError::Unknown {
                    at: 0,
                    value: kind.into(),
                });
            }
        }
        Ok(())
    }

    /// A peer opens a connection, or says again that it does.
    fn accept(&mut self, peer: PeerId, theirs: u64, now: Instant) {
        let is_full = self.open.len() >= CONNECTIONS_MAX || self.events.len() >= EVENTS_MAX;
        match self.open.get_mut(&peer) {
            Some(open) if open.theirs == Some(theirs) => {}
            // Both opened: it is one connection.
            Some(open) if open.theirs.is_none() => {
                open.theirs = Some(theirs);
                open.heard = now;
                (open.resend, open.resend_at) = (RESEND_FIRST, None);
                let peer = address(peer);
                self.events.push_back(Event::Connected { peer });
            }
            // It was started again.
            Some(_) => {
                self.end(peer, Ended::Lost);
                self.accept(peer, theirs, now);
                return;
            }
            None if is_full => {
                self.say(peer, NONE, 0, theirs, &[]);
                return;
            }
            None => {
                let mine = self.choose();
                let open = Connection::new(mine, Some(theirs), now);
                self.open.insert(peer, open);
                let peer = address(peer);
                self.events.push_back(Event::Connected { peer });
            }
        }
        if let Some(mine) = self.open.get(&peer).map(|open| open.mine) {
            self.say(peer, ACCEPT, mine, theirs, &[]);
        }
    }

    /// A message came.
    fn take(&mut self, peer: PeerId, number: u64, bytes: &[u8]) {
        let Some(open) = self.open.get_mut(&peer) else {
            return;
        };
        let ahead = number.checked_sub(open.next);
        let fits = ahead.is_some_and(|ahead| ahead < open.takes() as u64);
        let is_first = ahead == Some(0);
        let has_room = is_first || open.early_bytes < RECEIVE_BYTES_MAX;
        if fits && has_room && !open.early.contains_key(&number) {
            open.early_bytes += bytes.len();
            open.early.insert(number, bytes.to_vec());
        }
        while let Some(bytes) = open.early.remove(&open.next) {
            open.early_bytes -= bytes.len();
            open.next += 1;
            open.waiting += 1;
            open.waiting_bytes += bytes.len();
            let peer = address(peer);
            self.events.push_back(Event::Message { peer, bytes });
        }
        self.confirm(peer);
    }

    /// Says what came, and how much more may.
    fn confirm(&mut self, peer: PeerId) {
        let Some(open) = self.open.get_mut(&peer) else {
            return;
        };
        let Some(theirs) = open.theirs else {
            return;
        };
        let takes = open.takes();
        open.has_said_full |= takes <= RECEIVE_MAX / 2;
        let mut writer = Writer::new();
        writer.u64(open.next);
        writer.u32(u32::try_from(takes).expect("there are at most 64"));
        let (mine, content) = (open.mine, writer.finish());
        self.say(peer, CONFIRMED, mine, theirs, &content);
    }

    fn confirmed(
        &mut self,
        peer: PeerId,
        next: u64,
        room: u32,
        now: Instant,
    ) -> Result<(), DecodeError> {
        let Some(open) = self.open.get_mut(&peer) else {
            return Ok(());
        };
        // One that was overtaken by a later one says nothing new.
        let Some(count) = next.checked_sub(open.first) else {
            return Ok(());
        };
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > open.sent {
            return Err(DecodeError::TooLong {
                actual: count,
                limit: open.sent,
            });
        }
        for message in open.outgoing.drain(..count) {
            open.outgoing_bytes -= message.len();
        }
        open.first = next;
        open.sent -= count;
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        if open.room < open.sent + count && room > open.room {
            // What there was no room for was not kept at the other end.
            open.sent = 0;
        }
        open.room = room;
        if count > 0 {
            open.resend = RESEND_FIRST;
            open.resend_at = (!open.outgoing.is_empty()).then(|| now + open.resend);
        }
        // Half of it free, so that not every message is news.
        let has_room =
            open.outgoing.len() <= SEND_MAX / 2 && open.outgoing_bytes <= SEND_BYTES_MAX / 2;
        if has_room && std::mem::take(&mut open.is_full) {
            let peer = address(peer);
            self.events.push_back(Event::Writable { peer });
        }
        self.send_more(peer, now);
        Ok(())
    }

    fn refuse(&mut self, peer: PeerId) {
        let Some(open) = self.open.get(&peer) else {
            return;
        };
        let (mine, theirs) = (open.mine, open.theirs.unwrap_or(0));
        self.say(peer, NONE, mine, theirs, &[]);
    }

    fn end(&mut self, peer: PeerId, ended: Ended) {
        if self.open.remove(&peer).is_some() {
            let peer = address(peer);
            self.events.push_back(Event::Disconnected { peer, ended });
        }
    }

    fn choose(&mut self) -> u64 {
        // 0 is none.
        self.number = self.number.wrapping_add(1).max(1);
        self.number
    }

    fn say(&mut self, peer: PeerId, kind: u8, mine: u64, theirs: u64, content: &[u8]) {
        // What is lost is said again.
        if self.out.len() >= OUT_MAX {
            return;
        }
        let mut writer = Writer::new();
        writer.u8(kind);
        writer.u64(mine);
        writer.u64(theirs);
        writer.raw(content);
        self.out.push_back((peer, writer.finish()));
    }
}

fn numbered(number: u64, message: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.u64(number);
    writer.raw(message);
    writer.finish()
}

fn is_of(event: &Event, of: &Address) -> bool {
    match event {
        Event::Connected { peer }
        | Event::Message { peer, .. }
        | Event::Writable { peer }
        | Event::Disconnected { peer, .. } => peer == of,
        _ => false,
    }
}

/// A peer as transports name it.
#[must_use]
pub fn address(peer: PeerId) -> Address {
    Address::new(peer.as_bytes()).expect("it has eight bytes")
}

/// The peer of an address; `None` if it is no peer's.
#[must_use]
pub fn peer_of(address: &Address) -> Option<PeerId> {
    Some(PeerId::from_bytes(address.as_bytes().try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogcompute_base::Rng;
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    const PEERS: [PeerId; 2] = [PeerId::from_bytes([1; 8]), PeerId::from_bytes([2; 8])];

    /// Two ends, and between them a wire that loses, doubles and overtakes.
    struct Wire {
        ends: [Connections; 2],
        now: Instant,
        rng: ChaCha8Rng,
        loss_percent: u64,
        air: BTreeMap<(Instant, u64), (usize, Vec<u8>)>,
        number: u64,
        events: [Vec<Event>; 2],
    }

    impl Wire {
        fn new(seed: u64, loss_percent: u64) -> Self {
            Self {
                ends: [Connections::new(100), Connections::new(200)],
                now: Instant::ZERO,
                rng: ChaCha8Rng::seed_from_u64(seed),
                loss_percent,
                air: BTreeMap::new(),
                number: 0,
                events: [Vec::new(), Vec::new()],
            }
        }

        fn run(&mut self, seconds: u64) {
            let until = self.now + Duration::from_secs(seconds);
            loop {
                for end in 0..2 {
                    while let Some((to, body)) = self.ends[end].poll_transmit() {
                        assert_eq!(to, PEERS[1 - end]);
                        for _ in 0..1 + u64::from(self.rng.next_u64().is_multiple_of(10)) {
                            if self.rng.next_u64() % 100 < self.loss_percent {
                                continue;
                            }
                            let delay = Duration::from_millis(self.rng.next_u64() % 300);
                            self.number += 1;
                            let at = (self.now + delay, self.number);
                            self.air.insert(at, (1 - end, body.clone()));
                        }
                    }
                    while let Some(event) = self.ends[end].poll_event() {
                        self.events[end].push(event);
                    }
                }
                let due = self.ends.iter().filter_map(Connections::poll_timeout);
                let next = due.chain(self.air.keys().next().map(|(at, _)| *at)).min();
                let Some(next) = next.filter(|next| *next <= until) else {
                    if self.ends.iter().all(|end| end.out.is_empty()) {
                        self.now = until;
                        return;
                    }
                    continue;
                };
                self.now = self.now.max(next);
                while let Some(entry) = self.air.first_entry()
                    && entry.key().0 <= self.now
                {
                    let (end, body) = entry.remove();
                    self.ends[end].handle(PEERS[1 - end], &body, self.now);
                }
                for end in &mut self.ends {
                    end.handle_timeout(self.now);
                }
            }
        }

        fn take(&mut self, end: usize) -> Vec<Event> {
            std::mem::take(&mut self.events[end])
        }
    }

    fn connected(seed: u64, loss_percent: u64) -> Wire {
        let mut wire = Wire::new(seed, loss_percent);
        wire.ends[0].connect(PEERS[1], wire.now).unwrap();
        wire.run(25);
        for end in 0..2 {
            let peer = address(PEERS[1 - end]);
            assert_eq!(wire.take(end), [Event::Connected { peer }]);
        }
        wire
    }

    #[test]
    fn an_end_that_was_started_again_is_another_one() {
        let mut wire = connected(1, 0);
        wire.ends[0] = Connections::new(7_000);
        wire.ends[0].connect(PEERS[1], wire.now).unwrap();
        wire.run(5);
        let peer = address(PEERS[0]);
        let lost = Event::Disconnected {
            peer: peer.clone(),
            ended: Ended::Lost,
        };
        assert_eq!(wire.take(1), [lost, Event::Connected { peer }]);
        // Without connecting, its peer hears it when it sends.
        let mut wire = connected(2, 0);
        wire.ends[0] = Connections::new(7_000);
        wire.ends[1].send(PEERS[0], b"hello", wire.now).unwrap();
        wire.run(5);
        let peer = address(PEERS[0]);
        let ended = Ended::Lost;
        assert_eq!(wire.take(1), [Event::Disconnected { peer, ended }]);
    }

    #[test]
    fn who_does_not_keep_to_the_rules_loses_its_connection_and_no_other() {
        let number = |number: u64| number.to_be_bytes().to_vec();
        let long = vec![0; CONNECTION_MESSAGE_BYTES_MAX + 1];
        for (kind, content) in [
            // What was never sent is confirmed; too long; cut off; nothing that is known.
            (CONFIRMED, [number(3), vec![0; 4]].concat()),
            (MESSAGE, [number(0), long].concat()),
            (MESSAGE, vec![0; 7]),
            (CONFIRMED, vec![0; 13]),
            (ACCEPT, vec![0]),
            (99, vec![]),
        ] {
            let mut wire = connected(3, 0);
            let other = PeerId::from_bytes([3; 8]);
            let open = [&[OPEN][..], &number(9), &number(0)].concat();
            wire.ends[1].handle(other, &open, wire.now);
            let (mine, theirs) = (
                wire.ends[0].open[&PEERS[1]].mine,
                wire.ends[1].open[&PEERS[0]].mine,
            );
            let frame = [vec![kind], number(mine), number(theirs), content].concat();
            wire.ends[1].handle(PEERS[0], &frame, wire.now);
            let events: Vec<_> = std::iter::from_fn(|| wire.ends[1].poll_event()).collect();
            let peer = address(PEERS[0]);
            let ended = Ended::Misbehaved;
            assert_eq!(
                events.last(),
                Some(&Event::Disconnected { peer, ended }),
                "{kind}"
            );
            assert!(wire.ends[1].open.contains_key(&other));
        }
    }

    #[test]
    fn who_sends_more_than_is_taken_fills_no_memory() {
        let mut wire = connected(4, 0);
        let (mine, theirs) = (
            wire.ends[0].open[&PEERS[1]].mine,
            wire.ends[1].open[&PEERS[0]].mine,
        );
        for at in (0..10_000_u64).rev() {
            let message = [&[MESSAGE][..], &mine.to_be_bytes(), &theirs.to_be_bytes()].concat();
            let message = [message, numbered(at, &[7; 1000])].concat();
            wire.ends[1].handle(PEERS[0], &message, wire.now);
        }
        let open = &wire.ends[1].open[&PEERS[0]];
        assert!(open.early.len() + open.waiting <= RECEIVE_MAX);
        assert!(wire.ends[1].out.len() <= OUT_MAX);
        // Nor who opens again and again.
        for number in 1..10_000_u64 {
            let open = [&[OPEN][..], &number.to_be_bytes(), &[0; 8]].concat();
            wire.ends[1].handle(PEERS[0], &open, wire.now);
        }
        assert!(wire.ends[1].events.len() <= EVENTS_MAX + RECEIVE_MAX + 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn messages_arrive_whole_once_and_in_order_whatever_is_lost(
            seed in any::<u64>(),
            loss_percent in 0_u64..10,
            lengths in proptest::collection::vec(0_usize..3000, 0..120),
        ) {
            let mut wire = Wire::new(seed, loss_percent);
            wire.ends[0].connect(PEERS[1], wire.now).unwrap();
            wire.run(25);
            // With a tenth lost both may have missed each other for long: then it is said.
            let is_up = wire.ends.iter().all(|end| {
                end.open.values().any(|open| open.theirs.is_some())
            });
            prop_assume!(is_up);
            let sent: Vec<_> = (0_u8..).zip(&lengths).map(|(at, length)| vec![at; *length]).collect();
            for message in &sent {
                wire.ends[0].send(PEERS[1], message, wire.now).unwrap();
            }
            wire.run(300);
            let events = wire.take(1);
            let is_whole = !events.iter().any(|event| matches!(event, Event::Disconnected { .. }));
            let received = events.into_iter().filter_map(|event| match event {
                Event::Message { bytes, .. } => Some(bytes),
                _ => None,
            });
            let received: Vec<_> = received.collect();
            prop_assert!(sent.starts_with(&received));
            prop_assert!(!is_whole || received.len() == sent.len());
        }

        #[test]
        fn whatever_comes_nothing_panics(
            frames in proptest::collection::vec(
                (0_u8..9, 0_u64..4, 0_u64..4, proptest::collection::vec(any::<u8>(), 0..20)),
                0..40,
            ),
        ) {
            let mut end = Connections::new(0);
            end.connect(PEERS[0], Instant::ZERO).unwrap();
            for (number, (kind, theirs, mine, content)) in (0..).zip(frames) {
                let now = Instant::from_millis(number * 700);
                let frame = [vec![kind], theirs.to_be_bytes().to_vec(), mine.to_be_bytes().to_vec(), content];
                end.handle(PEERS[usize::from(kind % 2)], &frame.concat(), now);
                end.handle_timeout(now);
                end.poll_event();
            }
        }
    }
}
