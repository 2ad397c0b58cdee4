//! The Noise sessions of one peer with all others.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use fogcompute_base::{CryptoRng, Instant};

use crate::identity::{Identity, NoiseKey};
use crate::noise::{HANDSHAKE_BYTES, Initiator, NoiseError, Responder, Session};
use crate::packet::PeerId;

/// How long a handshake that was started here may take.
const INITIATOR_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a handshake that a peer started may take.
const RESPONDER_TIMEOUT: Duration = Duration::from_secs(20);
/// Messages that came before the end of their handshake, of one peer.
const EARLY_MAX: usize = 4;
/// Longest such message, in bytes: anybody can send them.
const EARLY_BYTES_MAX: usize = 4096;
/// A session that is older is replaced when something is sent.
const AGE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Handshakes a minute that one peer may start over one link, and all peers over that link.
const HANDSHAKES_PER_PEER: usize = 10;
const HANDSHAKES_PER_LINK: usize = 30;
const MINUTE: Duration = Duration::from_secs(60);

/// What a handshake's message leads to.
pub(crate) enum Step {
    /// Nothing is to be sent: both started at once, and the other gives way.
    Ignored,
    /// This is to be sent to the peer.
    Reply(Vec<u8>),
    /// There is a session.
    Established {
        key: NoiseKey,
        /// The handshake's last message, if it is this side's.
        reply: Option<Vec<u8>>,
        /// What came before its end.
        early: Vec<Vec<u8>>,
    },
}

/// Why a handshake's message is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refused {
    Noise(NoiseError),
    /// The peer, or everybody on its link, starts too many.
    TooMany,
    /// Who proved to be there is not who it said.
    WrongPeer,
    /// There is no handshake to which this belongs.
    Unexpected,
}

/// Why a message of a session is not opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unopened {
    Noise(NoiseError),
    /// Kept until the handshake ends.
    Early,
    /// There is no session.
    NoSession,
}

#[derive(Default)]
struct Entry {
    established: Option<(Session, Instant)>,
    /// Whether the peer has the session too: its last message of the handshake came, or any after.
    is_confirmed: bool,
    attempt: Option<(Initiator, Instant)>,
    /// What a peer started, beside the session there is: until it has proved to be the same.
    candidate: Option<(Responder, Instant)>,
    early: Vec<Vec<u8>>,
}

impl Entry {
    const fn is_idle(&self) -> bool {
        self.established.is_none() && self.attempt.is_none() && self.candidate.is_none()
    }
}

pub(crate) struct Sessions {
    peers_max: usize,
    peers: BTreeMap<PeerId, Entry>,
    /// First messages of handshakes in the last minute: when, over which link, who it said it was.
    recent: VecDeque<(Instant, u64, PeerId)>,
}

impl Sessions {
    pub(crate) const fn new(peers_max: usize) -> Self {
        Self {
            peers_max,
            peers: BTreeMap::new(),
            recent: VecDeque::new(),
        }
    }

    pub(crate) fn is_established(&self, peer: PeerId) -> bool {
        self.peers
            .get(&peer)
            .is_some_and(|entry| entry.established.is_some())
    }

    /// Whether there is a session that the peer is known to have too.
    pub(crate) fn is_confirmed(&self, peer: PeerId) -> bool {
        self.peers
            .get(&peer)
            .is_some_and(|entry| entry.established.is_some() && entry.is_confirmed)
    }

    pub(crate) fn is_starting(&self, peer: PeerId) -> bool {
        self.peers
            .get(&peer)
            .is_some_and(|entry| entry.attempt.is_some() || entry.candidate.is_some())
    }

    /// Starts a handshake, unless one goes on; gives its first message.
    pub(crate) fn start(
        &mut self,
        identity: &Identity,
        peer: PeerId,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Option<Vec<u8>> {
        if self.is_starting(peer) || !self.make_room(peer) {
            return None;
        }
        let (initiator, first) = Initiator::new(identity, rng);
        let entry = self.peers.entry(peer).or_default();
        entry.attempt = Some((initiator, now));
        Some(first)
    }

    /// Encrypts for a peer.
    pub(crate) fn seal(&mut self, peer: PeerId, plaintext: &[u8], now: Instant) -> Option<Vec<u8>> {
        let entry = self.peers.get_mut(&peer)?;
        let (session, since) = entry.established.as_mut()?;
        if now.duration_since(*since) < AGE_MAX
            && let Ok(sealed) = session.seal(plaintext)
        {
            return Some(sealed);
        }
        // Too old, or out of counters: a new one is to be made.
        entry.established = None;
        None
    }

    pub(crate) fn open(&mut self, peer: PeerId, message: &[u8]) -> Result<Vec<u8>, Unopened> {
        let Some(entry) = self.peers.get_mut(&peer) else {
            return Err(Unopened::NoSession);
        };
        let failed = match &mut entry.established {
            Some((session, _)) => match session.open(message) {
                Ok(plaintext) => {
                    entry.is_confirmed = true;
                    return Ok(plaintext);
                }
                Err(error) => Unopened::Noise(error),
            },
            None => Unopened::NoSession,
        };
        if entry.attempt.is_some() || entry.candidate.is_some() {
            // It may be of the session that is being made.
            if failed != Unopened::NoSession
                && !matches!(failed, Unopened::Noise(NoiseError::Opaque))
            {
                return Err(failed);
            }
            if entry.early.len() < EARLY_MAX && message.len() <= EARLY_BYTES_MAX {
                entry.early.push(message.to_vec());
                return Err(Unopened::Early);
            }
        }
        Err(failed)
    }

    /// Takes a handshake's message of whoever says it is `peer`.
    pub(crate) fn handshake(
        &mut self,
        identity: &Identity,
        peer: PeerId,
        link: u64,
        message: &[u8],
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<Step, Refused> {
        let [first, second, third] = HANDSHAKE_BYTES;
        match message.len() {
            length if length == first => self.respond(identity, peer, link, message, now, rng),
            length if length == second => {
                let (initiator, since) = self
                    .peers
                    .get_mut(&peer)
                    .and_then(|entry| entry.attempt.take())
                    .ok_or(Refused::Unexpected)?;
                if now.duration_since(since) > INITIATOR_TIMEOUT {
                    return Err(Refused::Unexpected);
                }
                let (session, reply) = initiator.finish(message).map_err(Refused::Noise)?;
                self.establish(peer, session, Some(reply), now)
            }
            length if length == third => {
                let (responder, since) = self
                    .peers
                    .get_mut(&peer)
                    .and_then(|entry| entry.candidate.take())
                    .ok_or(Refused::Unexpected)?;
                if now.duration_since(since) > RESPONDER_TIMEOUT {
                    return Err(Refused::Unexpected);
                }
                let session = responder.finish(message).map_err(Refused::Noise)?;
                self.establish(peer, session, None, now)
            }
            _ => Err(Refused::Noise(NoiseError::Opaque)),
        }
    }

    fn respond(
        &mut self,
        identity: &Identity,
        peer: PeerId,
        link: u64,
        message: &[u8],
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<Step, Refused> {
        self.count(peer, link, now)?;
        if !self.make_room(peer) {
            return Err(Refused::TooMany);
        }
        let entry = self.peers.entry(peer).or_default();
        if entry.attempt.is_some() {
            // Both started: the smaller identifier stays the initiator.
            if identity.peer_id() < peer {
                return Ok(Step::Ignored);
            }
            entry.attempt = None;
        }
        let (responder, reply) = Responder::new(identity, message, rng).map_err(Refused::Noise)?;
        entry.candidate = Some((responder, now));
        Ok(Step::Reply(reply))
    }

    fn count(&mut self, peer: PeerId, link: u64, now: Instant) -> Result<(), Refused> {
        while let Some((at, ..)) = self.recent.front()
            && now.duration_since(*at) >= MINUTE
        {
            self.recent.pop_front();
        }
        let of_link = self.recent.iter().filter(|(_, other, _)| *other == link);
        let of_peer = of_link.clone().filter(|(.., other)| *other == peer).count();
        if of_peer >= HANDSHAKES_PER_PEER || of_link.count() >= HANDSHAKES_PER_LINK {
            return Err(Refused::TooMany);
        }
        self.recent.push_back((now, link, peer));
        Ok(())
    }

    fn establish(
        &mut self,
        peer: PeerId,
        session: Session,
        reply: Option<Vec<u8>>,
        now: Instant,
    ) -> Result<Step, Refused> {
        let key = session.peer();
        // Whoever finished it is not the peer: the session there was stays.
        if key.peer_id() != peer {
            return Err(Refused::WrongPeer);
        }
        let entry = self.peers.entry(peer).or_default();
        let early = std::mem::take(&mut entry.early);
        *entry = Entry {
            established: Some((session, now)),
            is_confirmed: reply.is_none(),
            ..Entry::default()
        };
        Ok(Step::Established { key, reply, early })
    }

    /// Drops handshakes that take too long; gives with whom they were that this side started.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Vec<PeerId> {
        let mut unanswered = Vec::new();
        for (peer, entry) in &mut self.peers {
            let late = |since: &Instant, limit| now.duration_since(*since) > limit;
            if let Some((_, since)) = &entry.attempt
                && late(since, INITIATOR_TIMEOUT)
            {
                unanswered.push(*peer);
                entry.attempt = None;
            }
            if let Some((_, since)) = &entry.candidate
                && late(since, RESPONDER_TIMEOUT)
            {
                entry.candidate = None;
            }
            if entry.attempt.is_none() && entry.candidate.is_none() {
                entry.early.clear();
            }
        }
        self.peers.retain(|_, entry| !entry.is_idle());
        unanswered
    }

    /// When the next handshake may have taken too long.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let after = Duration::from_millis(1);
        self.peers
            .values()
            .flat_map(|entry| {
                let attempt = entry.attempt.as_ref();
                let candidate = entry.candidate.as_ref();
                [
                    attempt.map(|(_, since)| *since + INITIATOR_TIMEOUT + after),
                    candidate.map(|(_, since)| *since + RESPONDER_TIMEOUT + after),
                ]
            })
            .flatten()
            .min()
    }

    /// Ends what there is with a peer.
    pub(crate) fn end(&mut self, peer: PeerId) {
        self.peers.remove(&peer);
    }

    /// Whether there is room for one more peer: handshakes that did not end give way, sessions do not.
    fn make_room(&mut self, peer: PeerId) -> bool {
        if self.peers.contains_key(&peer) || self.peers.len() < self.peers_max {
            return true;
        }
        let unfinished = self
            .peers
            .iter()
            .filter(|(_, entry)| entry.established.is_none())
            // What strangers started goes before what was started here.
            .min_by_key(|(_, entry)| entry.attempt.is_some())
            .map(|(peer, _)| *peer);
        unfinished.is_some_and(|peer| self.peers.remove(&peer).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    const LINK: u64 = 1;

    struct Side {
        identity: Identity,
        sessions: Sessions,
        rng: ChaCha8Rng,
    }

    impl Side {
        /// Two sides; the first has the smaller identifier.
        fn two() -> [Self; 2] {
            let mut sides = [1, 2].map(|seed| {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                Self {
                    identity: Identity::random(&mut rng),
                    sessions: Sessions::new(4),
                    rng,
                }
            });
            sides.sort_by_key(|side| side.identity.peer_id());
            sides
        }

        fn id(&self) -> PeerId {
            self.identity.peer_id()
        }

        fn start(&mut self, peer: PeerId) -> Option<Vec<u8>> {
            self.sessions
                .start(&self.identity, peer, Instant::ZERO, &mut self.rng)
        }

        fn take(&mut self, from: PeerId, message: &[u8]) -> Result<Step, Refused> {
            let (sessions, rng) = (&mut self.sessions, &mut self.rng);
            sessions.handshake(&self.identity, from, LINK, message, Instant::ZERO, rng)
        }

        fn reply(&mut self, from: PeerId, message: &[u8]) -> Vec<u8> {
            match self.take(from, message).unwrap() {
                Step::Reply(reply)
                | Step::Established {
                    reply: Some(reply), ..
                } => reply,
                _ => panic!("there is no reply"),
            }
        }
    }

    fn connect(a: &mut Side, b: &mut Side) {
        let first = a.start(b.id()).unwrap();
        let second = b.reply(a.id(), &first);
        let third = a.reply(b.id(), &second);
        assert!(matches!(
            b.take(a.id(), &third),
            Ok(Step::Established { .. })
        ));
    }

    #[test]
    fn when_both_start_the_smaller_identifier_stays_the_initiator() {
        let [mut small, mut large] = Side::two();
        let ours = small.start(large.id()).unwrap();
        let theirs = large.start(small.id()).unwrap();
        assert!(matches!(small.take(large.id(), &theirs), Ok(Step::Ignored)));
        let second = large.reply(small.id(), &ours);
        let third = small.reply(large.id(), &second);
        assert!(matches!(
            large.take(small.id(), &third),
            Ok(Step::Established { .. })
        ));
        let sealed = small
            .sessions
            .seal(large.id(), b"hi", Instant::ZERO)
            .unwrap();
        assert_eq!(large.sessions.open(small.id(), &sealed).unwrap(), b"hi");
    }

    #[test]
    fn who_claims_another_identifier_does_not_replace_its_session() {
        let [mut alice, mut bob] = Side::two();
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        let mallory = Identity::random(&mut rng);
        connect(&mut alice, &mut bob);
        let (initiator, first) = Initiator::new(&mallory, &mut rng);
        let second = bob.reply(alice.id(), &first);
        let (_, third) = initiator.finish(&second).unwrap();
        assert!(matches!(
            bob.take(alice.id(), &third),
            Err(Refused::WrongPeer)
        ));
        let sealed = alice.sessions.seal(bob.id(), b"hi", Instant::ZERO).unwrap();
        assert_eq!(bob.sessions.open(alice.id(), &sealed).unwrap(), b"hi");
    }

    #[test]
    fn a_peer_that_forgot_its_session_gets_a_new_one() {
        let [mut alice, mut bob] = Side::two();
        connect(&mut alice, &mut bob);
        alice.sessions = Sessions::new(4);
        let first = alice.start(bob.id()).unwrap();
        let second = bob.reply(alice.id(), &first);
        // Until it has proved who it is, the old one stays.
        assert!(bob.sessions.is_established(alice.id()));
        let third = alice.reply(bob.id(), &second);
        let sealed = alice
            .sessions
            .seal(bob.id(), b"early", Instant::ZERO)
            .unwrap();
        assert_eq!(bob.sessions.open(alice.id(), &sealed), Err(Unopened::Early));
        let Ok(Step::Established { early, .. }) = bob.take(alice.id(), &third) else {
            panic!("the handshake is whole");
        };
        assert_eq!(early, [sealed]);
        assert_eq!(bob.sessions.open(alice.id(), &early[0]).unwrap(), b"early");
    }

    #[test]
    fn handshakes_are_counted_by_link_and_time_out() {
        let [mut alice, mut bob] = Side::two();
        let first = alice.start(bob.id()).unwrap();
        for number in 0..HANDSHAKES_PER_PEER {
            assert!(bob.take(alice.id(), &first).is_ok(), "{number}");
        }
        assert!(matches!(
            bob.take(alice.id(), &first),
            Err(Refused::TooMany)
        ));
        let flood = |bob: &mut Side, number: u8| {
            let claimed = PeerId::from_bytes([number; 8]);
            bob.take(claimed, &first)
        };
        let refused = (0..100)
            .filter(|number| matches!(flood(&mut bob, *number), Err(Refused::TooMany)))
            .count();
        assert_eq!(refused, 100 - (HANDSHAKES_PER_LINK - HANDSHAKES_PER_PEER));
        assert!(bob.sessions.peers.len() <= 4);
        // Over another link there is room.
        let (sessions, rng) = (&mut bob.sessions, &mut bob.rng);
        let step = sessions.handshake(
            &bob.identity,
            alice.id(),
            LINK + 1,
            &first,
            Instant::ZERO,
            rng,
        );
        assert!(step.is_ok());
        let due = bob.sessions.poll_timeout().unwrap();
        bob.sessions.handle_timeout(due);
        assert!(bob.sessions.peers.is_empty());
    }

    #[test]
    fn messages_without_a_handshake_are_refused() {
        let [mut alice, mut bob] = Side::two();
        for length in [64, 96] {
            assert!(matches!(
                bob.take(alice.id(), &vec![1; length]),
                Err(Refused::Unexpected)
            ));
        }
        assert!(matches!(
            bob.take(alice.id(), &[1; 33]),
            Err(Refused::Noise(NoiseError::Opaque))
        ));
        assert_eq!(
            bob.sessions.open(alice.id(), &[0; 32]),
            Err(Unopened::NoSession)
        );
        // A session that is too old is not used.
        connect(&mut alice, &mut bob);
        let late = Instant::ZERO + AGE_MAX;
        assert_eq!(alice.sessions.seal(bob.id(), b"", late), None);
        assert!(!alice.sessions.is_established(bob.id()));
    }
}
