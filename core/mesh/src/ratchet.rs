//! Ours: texts between two peers under keys that are used once (Double Ratchet, by `vodozemac`'s Olm).
//!
//! BitChat has none of this. It travels inside Noise sessions and envelopes, to peers that say they have
//! [`Capabilities::RATCHET`](crate::Capabilities::RATCHET), and to nobody else. Who learns the keys of a Noise
//! session reads that session; who learns the state of a ratchet after a message reads no message before it.
//!
//! The peer with the larger Noise key [offers](RatchetMessage::Offer) a key to start with, the one with the smaller
//! key starts: however both begin, there is one session. Olm's own identity keys are made for one session and
//! forgotten: that the peer is who it says is proved by the Noise session or the envelope that an offer and a
//! message come in, and each message names both Noise keys inside, so that it cannot be passed off as for or from
//! somebody else.
//!
//! # Randomness
//!
//! `vodozemac` takes no generator: it asks the system's for the keys of a session and for each turn of the ratchet.
//! A peer with the capability therefore does not do the same again from the same seed, and without it draws nothing
//! here. Everything of that kind is in this module
//! and in [`large_group`](crate::large_group).
//!
//! # Limits
//!
//! Of one chain the keys of forty messages that were jumped over are kept, and two thousand can be jumped over;
//! five chains of a session are kept (limits of `vodozemac`). What comes later than that does not open, and counts as
//! a repetition. Messages are authenticated by 8 bytes, as Olm has it; the Noise session or the envelope around them
//! has 16 of its own.
//!
//! Sources: Perrin and Marlinspike 2016, "The Double Ratchet Algorithm"; the Olm specification of Matrix.

use std::collections::BTreeMap;

use fogcompute_base::wire::{DecodeError, Reader, Writer};
use thiserror::Error;
use vodozemac::Curve25519PublicKey;
use vodozemac::olm::{
    Account, AccountPickle, DecryptionError, OlmMessage, Session, SessionConfig, SessionPickle,
};
use zeroize::Zeroizing;

use crate::identity::{Identity, NoiseKey};
use crate::node::RestoreError;
use crate::pickles::{Kept, Pickles, at_most, length};
use crate::tlv::FormatError;

/// Peers with whom ratchets are kept. Those used longest ago are forgotten first.
pub const RATCHETS_MAX: usize = 256;
/// Longest ratcheted message, in bytes: what a Noise session carries, and a little less.
pub const RATCHETED_BYTES_MAX: usize = 65_000;
/// Messages that may be ahead of the peer's last one for another to go into an envelope: envelopes arrive in any
/// order, and the keys of forty that were jumped over are kept.
pub const CARRIED_AHEAD_MAX: u32 = 32;
/// Messages without an answer after which a ratchet is started anew, long before so many can not be jumped over.
pub const UNANSWERED_MAX: u32 = 1000;

/// Sessions with one peer: the newest, and one from before for what is still on its way.
const SESSIONS_MAX: usize = 2;
/// What names both peers inside a message, in bytes.
const BINDING_BYTES: usize = 16;
const BINDING_DOMAIN: &[u8] = b"fogcompute-ratchet-v1";
const PICKLE_CONTEXT: &str = "fogcompute mesh 2026-11 ratchet pickles";

const VERSION: u8 = 1;
const ASK: u8 = 1;
const OFFER: u8 = 2;
const FIRST: u8 = 3;
const LATER: u8 = 4;

/// What two peers tell each other about their ratchet: a version, 1; a kind, 1 byte; and
///
/// | kind | body |
/// |---|---|
/// | 1 | none |
/// | 2 | Olm identity key 32, one-time key 32 |
/// | 3, 4 | an Olm pre-key message, an Olm message |
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RatchetMessage {
    /// Who starts has no session, or what came did not open: an offer is needed.
    Ask,
    /// A session can be started with these public keys of Curve25519.
    Offer {
        /// The identity key, made for this session.
        identity: [u8; 32],
        /// The one-time key.
        one_time: [u8; 32],
    },
    /// A message under a key of its own.
    Sealed {
        /// Whether it has what the other side needs to have the session: it has not answered yet.
        is_first: bool,
        /// An Olm message.
        bytes: Vec<u8>,
    },
}

impl RatchetMessage {
    /// Reads a body. What is sealed is not looked into.
    ///
    /// # Errors
    /// [`FormatError::Decode`], [`FormatError::TooLong`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let unknown = |at: usize, value: u8| DecodeError::Unknown {
            at,
            value: value.into(),
        };
        let version = reader.u8()?;
        if version != VERSION {
            return Err(unknown(0, version).into());
        }
        let message = match reader.u8()? {
            ASK => Self::Ask,
            OFFER => Self::Offer {
                identity: reader.array()?,
                one_time: reader.array()?,
            },
            kind @ (FIRST | LATER) => {
                let sealed = reader.take(reader.remaining())?;
                if sealed.len() > RATCHETED_BYTES_MAX {
                    return Err(FormatError::TooLong {
                        actual: sealed.len(),
                        limit: RATCHETED_BYTES_MAX,
                    });
                }
                Self::Sealed {
                    is_first: kind == FIRST,
                    bytes: sealed.to_vec(),
                }
            }
            kind => return Err(unknown(1, kind).into()),
        };
        reader.finish()?;
        Ok(message)
    }

    /// The body.
    ///
    /// # Errors
    /// [`FormatError::TooLong`].
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let mut writer = Writer::new();
        writer.u8(VERSION);
        match self {
            Self::Ask => writer.u8(ASK),
            Self::Offer { identity, one_time } => {
                writer.u8(OFFER);
                writer.raw(identity);
                writer.raw(one_time);
            }
            Self::Sealed { is_first, bytes } => {
                if bytes.len() > RATCHETED_BYTES_MAX {
                    return Err(FormatError::TooLong {
                        actual: bytes.len(),
                        limit: RATCHETED_BYTES_MAX,
                    });
                }
                writer.u8(if *is_first { FIRST } else { LATER });
                writer.raw(bytes);
            }
        }
        Ok(writer.finish())
    }
}

/// Why a ratcheted message is not opened, or an offer not taken.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum RatchetError {
    /// Its key was used, or it comes so late that its key is gone: nothing is wrong with the session.
    #[error("key of the ratcheted message is gone")]
    Gone,
    /// No session opens it: it was changed, is of a session that was forgotten, or too far ahead.
    #[error("ratcheted message does not open")]
    Opaque,
    /// It was made by or for somebody else.
    #[error("ratcheted message is between others")]
    Foreign,
    /// The offered keys are no sound ones, or it is not this side that starts.
    #[error("offer of a ratchet cannot be taken")]
    Offer,
}

#[derive(Default)]
struct Entry {
    /// What the peer was offered and has not used.
    offer: Option<(Kept<Account>, [u8; 32])>,
    /// The newest first.
    sessions: Vec<Kept<Session>>,
    /// Messages sealed since one was opened.
    unanswered: u32,
}

impl Entry {
    fn adopt(&mut self, session: Kept<Session>) {
        self.sessions.insert(0, session);
        self.sessions.truncate(SESSIONS_MAX);
    }

    fn used(&self) -> u64 {
        let sessions = self.sessions.iter().map(Kept::revision);
        let offer = self.offer.iter().map(|(kept, _)| kept.revision());
        sessions.chain(offer).max().unwrap_or(0)
    }
}

/// The ratchets of one peer with all others.
///
/// # Security
/// What is opened or sealed moves a ratchet on: whoever keeps the node it belongs to must have done so
/// before what was sealed leaves, or the same key is used twice after a restart.
pub struct Ratchets {
    own: NoiseKey,
    pickles: Pickles,
    peers: BTreeMap<NoiseKey, Entry>,
}

impl Ratchets {
    /// None yet, of this peer.
    #[must_use]
    pub fn new(identity: &Identity) -> Self {
        Self {
            own: identity.noise_key(),
            pickles: Pickles::new(identity, PICKLE_CONTEXT),
            peers: BTreeMap::new(),
        }
    }

    /// Another number after each change.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.pickles.revision()
    }

    /// Whether it is this side that starts a session with a peer.
    #[must_use]
    pub fn starts(&self, peer: &NoiseKey) -> bool {
        self.own < *peer
    }

    /// Whether something can be sealed for a peer.
    #[must_use]
    pub fn is_ready(&self, peer: &NoiseKey) -> bool {
        self.peers
            .get(peer)
            .is_some_and(|entry| !entry.sessions.is_empty() && entry.unanswered < UNANSWERED_MAX)
    }

    /// Whether something for a peer may go into an envelope, which others may overtake.
    #[must_use]
    pub fn can_be_carried(&self, peer: &NoiseKey) -> bool {
        self.is_ready(peer) && self.peers[peer].unanswered < CARRIED_AHEAD_MAX
    }

    /// An offer for a peer that starts: the one it has not used, or a new one.
    pub fn offer(&mut self, peer: NoiseKey) -> RatchetMessage {
        self.make_room(&peer);
        let entry = self.peers.entry(peer).or_default();
        let (kept, one_time) = entry.offer.get_or_insert_with(|| {
            let mut account = Account::new();
            let made = account.generate_one_time_keys(1);
            account.mark_keys_as_published();
            let one_time = made.created.first().map(Curve25519PublicKey::to_bytes);
            let one_time = one_time.expect("one key was asked for");
            (Kept::new(account, self.pickles.turn()), one_time)
        });
        RatchetMessage::Offer {
            identity: kept.value.curve25519_key().to_bytes(),
            one_time: *one_time,
        }
    }

    /// Starts a session with what a peer offers, unless it was started before. What is sealed next has what the peer
    /// needs to have it too.
    ///
    /// # Errors
    /// [`RatchetError::Offer`].
    pub fn take_offer(
        &mut self,
        peer: NoiseKey,
        identity: [u8; 32],
        one_time: [u8; 32],
    ) -> Result<(), RatchetError> {
        if !self.starts(&peer) {
            return Err(RatchetError::Offer);
        }
        let one_time = Curve25519PublicKey::from_bytes(one_time);
        if let Some(entry) = self.peers.get(&peer)
            && let Some(newest) = entry.sessions.first()
            && newest.value.session_keys().one_time_key == one_time
        {
            return Ok(());
        }
        let identity = Curve25519PublicKey::from_bytes(identity);
        let session = Account::new()
            .create_outbound_session(SessionConfig::version_1(), identity, one_time)
            .map_err(|_| RatchetError::Offer)?;
        self.make_room(&peer);
        let entry = self.peers.entry(peer).or_default();
        entry.unanswered = 0;
        entry.adopt(Kept::new(session, self.pickles.turn()));
        Ok(())
    }

    /// Encrypts for a peer; `None` if there is no session.
    pub fn seal(&mut self, peer: &NoiseKey, plaintext: &[u8]) -> Option<RatchetMessage> {
        if !self.is_ready(peer) {
            return None;
        }
        let entry = self.peers.get_mut(peer)?;
        let kept = entry.sessions.first_mut()?;
        let mut bound = Zeroizing::new(binding(&self.own, peer).to_vec());
        bound.extend_from_slice(plaintext);
        let Ok(message) = kept.value.encrypt(bound.as_slice()) else {
            // The peer's turn of the ratchet was no sound key: nothing can be sealed with this session.
            entry.sessions.remove(0);
            self.pickles.turn();
            return None;
        };
        kept.changed(self.pickles.turn());
        entry.unanswered += 1;
        let is_first = matches!(message, OlmMessage::PreKey(_));
        let (_, bytes) = message.to_parts();
        Some(RatchetMessage::Sealed { is_first, bytes })
    }

    /// Decrypts what a peer sealed, which must have proved to be `peer`; gives whether it began a session too.
    ///
    /// # Errors
    /// [`RatchetError::Gone`], [`RatchetError::Opaque`], [`RatchetError::Foreign`].
    pub fn open(
        &mut self,
        peer: &NoiseKey,
        is_first: bool,
        bytes: &[u8],
    ) -> Result<(Zeroizing<Vec<u8>>, bool), RatchetError> {
        let message = OlmMessage::from_parts(usize::from(!is_first), bytes)
            .map_err(|_| RatchetError::Opaque)?;
        let entry = self.peers.get_mut(peer).ok_or(RatchetError::Opaque)?;
        let mut is_gone = false;
        for kept in &mut entry.sessions {
            if let OlmMessage::PreKey(first) = &message
                && first.session_keys() != kept.value.session_keys()
            {
                continue;
            }
            match kept.value.decrypt(&message) {
                Ok(plaintext) => {
                    kept.changed(self.pickles.turn());
                    entry.unanswered = 0;
                    return Ok((unbound(peer, &self.own, plaintext)?, false));
                }
                Err(DecryptionError::MissingMessageKey(_)) => is_gone = true,
                Err(_) => {}
            }
        }
        if is_gone {
            return Err(RatchetError::Gone);
        }
        let (OlmMessage::PreKey(first), Some((account, one_time))) = (&message, &mut entry.offer)
        else {
            return Err(RatchetError::Opaque);
        };
        if first.one_time_key().as_bytes() != one_time {
            return Err(RatchetError::Opaque);
        }
        // Whose the identity key is was proved by what the message came in.
        let begun = account
            .value
            .create_inbound_session(SessionConfig::version_1(), first.identity_key(), first)
            .map_err(|_| RatchetError::Opaque)?;
        entry.offer = None;
        entry.unanswered = 0;
        entry.adopt(Kept::new(begun.session, self.pickles.turn()));
        Ok((unbound(peer, &self.own, begun.plaintext)?, true))
    }

    fn make_room(&mut self, peer: &NoiseKey) {
        if self.peers.len() < RATCHETS_MAX || self.peers.contains_key(peer) {
            return;
        }
        let oldest = self.peers.iter().min_by_key(|(_, entry)| entry.used());
        if let Some(oldest) = oldest.map(|(peer, _)| *peer) {
            self.peers.remove(&oldest);
        }
    }

    /// Writes what must be kept: the number of changes, then after a `u32` for their number, of each peer its key,
    /// messages without an answer, and its offer and its sessions. Each of these is a pickle of `vodozemac`, encrypted
    /// with AES-256-CBC and authenticated with HMAC-SHA-256 under a key made of the identity's secrets.
    pub(crate) fn save(&self, writer: &mut Writer) {
        self.pickles.save(writer);
        writer.u32(length(self.peers.len()));
        for (peer, entry) in &self.peers {
            writer.raw(peer.as_bytes());
            writer.u32(entry.unanswered);
            writer.u32(length(usize::from(entry.offer.is_some())));
            if let Some((account, one_time)) = &entry.offer {
                writer.raw(one_time);
                account.save(writer, &self.pickles, |account, key| {
                    account.pickle().encrypt(key)
                });
            }
            writer.u32(length(entry.sessions.len()));
            for session in &entry.sessions {
                session.save(writer, &self.pickles, |session, key| {
                    session.pickle().encrypt(key)
                });
            }
        }
    }

    /// Goes on with what was saved.
    pub(crate) fn restore(
        identity: &Identity,
        reader: &mut Reader<'_>,
    ) -> Result<Self, RestoreError> {
        let mut ratchets = Self::new(identity);
        ratchets.pickles.restore(reader)?;
        for _ in 0..at_most(reader, RATCHETS_MAX)? {
            let peer = NoiseKey::from_bytes(reader.array()?);
            let mut entry = Entry {
                unanswered: reader.u32()?,
                ..Entry::default()
            };
            for _ in 0..at_most(reader, 1)? {
                let one_time = reader.array()?;
                let account = Kept::restore(reader, &ratchets.pickles, |pickle, key| {
                    let pickle = AccountPickle::from_encrypted(pickle, key)?;
                    Ok(Account::from_pickle(pickle))
                })?;
                entry.offer = Some((account, one_time));
            }
            for _ in 0..at_most(reader, SESSIONS_MAX)? {
                let session = Kept::restore(reader, &ratchets.pickles, |pickle, key| {
                    let pickle = SessionPickle::from_encrypted(pickle, key)?;
                    Ok(Session::from_pickle(pickle))
                })?;
                entry.sessions.push(session);
            }
            ratchets.peers.insert(peer, entry);
        }
        Ok(ratchets)
    }
}

/// Names who sealed a message and for whom.
fn binding(from: &NoiseKey, to: &NoiseKey) -> [u8; BINDING_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(BINDING_DOMAIN);
    hasher.update(from.as_bytes());
    hasher.update(to.as_bytes());
    let mut binding = [0; BINDING_BYTES];
    hasher.finalize_xof().fill(&mut binding);
    binding
}

/// What a message says, if it is from and for whom it should be.
fn unbound(
    from: &NoiseKey,
    to: &NoiseKey,
    plaintext: Vec<u8>,
) -> Result<Zeroizing<Vec<u8>>, RatchetError> {
    let plaintext = Zeroizing::new(plaintext);
    match plaintext.strip_prefix(&binding(from, to)) {
        Some(rest) => Ok(Zeroizing::new(rest.to_vec())),
        None => Err(RatchetError::Foreign),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Sealed = (bool, Vec<u8>);

    struct Side {
        identity: Identity,
        ratchets: Ratchets,
    }

    impl Side {
        fn new(seed: u8) -> Self {
            let identity = Identity::from_bytes([seed; 32], [seed; 32]);
            let ratchets = Ratchets::new(&identity);
            Self { identity, ratchets }
        }

        fn key(&self) -> NoiseKey {
            self.identity.noise_key()
        }

        /// What a thief gets who copies everything.
        fn stolen(&self) -> Self {
            let mut writer = Writer::new();
            self.ratchets.save(&mut writer);
            let bytes = writer.finish();
            let mut reader = Reader::new(&bytes);
            let ratchets = Ratchets::restore(&self.identity, &mut reader).unwrap();
            reader.finish().unwrap();
            let mut again = Writer::new();
            ratchets.save(&mut again);
            assert_eq!(again.finish(), bytes);
            Self {
                identity: self.identity.clone(),
                ratchets,
            }
        }

        fn seal(&mut self, to: &Self, text: &str) -> (bool, Vec<u8>) {
            match self.ratchets.seal(&to.key(), text.as_bytes()).unwrap() {
                RatchetMessage::Sealed { is_first, bytes } => (is_first, bytes),
                other => panic!("{other:?}"),
            }
        }

        fn open(&mut self, from: &Self, sealed: &(bool, Vec<u8>)) -> Result<String, RatchetError> {
            let (is_first, bytes) = sealed;
            let (plaintext, _) = self.ratchets.open(&from.key(), *is_first, bytes)?;
            Ok(String::from_utf8(plaintext.to_vec()).unwrap())
        }
    }

    /// Two sides; the first is the one that starts.
    fn two() -> [Side; 2] {
        let mut sides = [1, 2].map(Side::new);
        sides.sort_by_key(Side::key);
        sides
    }

    fn offered(by: &mut Side, to: &Side) -> ([u8; 32], [u8; 32]) {
        match by.ratchets.offer(to.key()) {
            RatchetMessage::Offer { identity, one_time } => (identity, one_time),
            other => panic!("{other:?}"),
        }
    }

    fn start(starter: &mut Side, other: &mut Side) {
        let (identity, one_time) = offered(other, starter);
        let key = other.key();
        starter
            .ratchets
            .take_offer(key, identity, one_time)
            .unwrap();
    }

    /// Both have the session, and have answered.
    fn joined() -> [Side; 2] {
        let [mut a, mut b] = two();
        start(&mut a, &mut b);
        let first = a.seal(&b, "first");
        assert!(first.0);
        assert_eq!(b.open(&a, &first).unwrap(), "first");
        let answer = b.seal(&a, "answer");
        assert!(!answer.0);
        assert_eq!(a.open(&b, &answer).unwrap(), "answer");
        assert!(!a.seal(&b, "more").0);
        [a, b]
    }

    #[test]
    fn who_reads_the_state_after_a_message_reads_none_before_it() {
        let [mut a, mut b] = joined();
        let sealed: Vec<_> = (0..4).map(|n| a.seal(&b, &n.to_string())).collect();
        for (index, message) in sealed.iter().enumerate().take(3) {
            let mut before = b.stolen();
            assert_eq!(before.open(&a, message).unwrap(), index.to_string());
            b.open(&a, message).unwrap();
            let (mut of_reader, mut of_writer) = (b.stolen(), a.stolen());
            for old in &sealed[..=index] {
                assert_eq!(of_reader.open(&a, old), Err(RatchetError::Gone));
                assert!(of_writer.open(&b, old).is_err());
            }
        }
        // What was not read yet is what the copy has.
        assert_eq!(b.stolen().open(&a, &sealed[3]).unwrap(), "3");
    }

    #[test]
    fn a_stolen_state_reads_nothing_any_more_after_both_have_answered() {
        let [mut a, mut b] = joined();
        let mut thief = b.stolen();
        let soon = a.seal(&b, "soon");
        assert_eq!(thief.open(&a, &soon).unwrap(), "soon");
        b.open(&a, &soon).unwrap();
        let answer = b.seal(&a, "fresh keys");
        a.open(&b, &answer).unwrap();
        let later = a.seal(&b, "later");
        assert_eq!(thief.open(&a, &later), Err(RatchetError::Opaque));
        assert_eq!(b.open(&a, &later).unwrap(), "later");
    }

    #[test]
    fn messages_come_in_any_order_or_never_and_none_twice() {
        let [mut a, mut b] = joined();
        let sealed: Vec<_> = (0..40).map(|n| a.seal(&b, &n.to_string())).collect();
        for (index, message) in sealed.iter().enumerate().rev() {
            if index % 3 == 0 {
                continue;
            }
            assert_eq!(b.open(&a, message).unwrap(), index.to_string());
            assert_eq!(b.open(&a, message), Err(RatchetError::Gone));
        }
        // More are overtaken than keys are kept: the oldest is lost, and the session goes on.
        let late: Vec<_> = (0..60).map(|n| a.seal(&b, &n.to_string())).collect();
        assert_eq!(b.open(&a, &late[59]).unwrap(), "59");
        assert_eq!(b.open(&a, &late[58]).unwrap(), "58");
        assert_eq!(b.open(&a, &late[0]), Err(RatchetError::Gone));
    }

    #[test]
    fn what_was_changed_does_not_open_and_does_no_harm() {
        let [mut a, mut b] = joined();
        let sealed = a.seal(&b, "whole");
        for at in 0..sealed.1.len() {
            let mut changed = sealed.clone();
            changed.1[at] ^= 1;
            assert!(b.open(&a, &changed).is_err(), "{at}");
        }
        assert_eq!(b.open(&a, &sealed).unwrap(), "whole");
        let mut unsound = [0; 32];
        for byte in [0, 1] {
            unsound[0] = byte;
            let key = b.key();
            let taken = a.ratchets.take_offer(key, unsound, unsound);
            assert_eq!(taken, Err(RatchetError::Offer));
        }
        let again = a.seal(&b, "again");
        assert_eq!(b.open(&a, &again).unwrap(), "again");
    }

    #[test]
    fn however_often_it_is_offered_there_is_one_session_until_the_offer_is_used() {
        let [mut a, mut b] = two();
        let key = a.key();
        // The side that does not start takes no offer.
        let (identity, one_time) = offered(&mut a, &b);
        let taken = b.ratchets.take_offer(key, identity, one_time);
        assert_eq!(taken, Err(RatchetError::Offer));
        start(&mut a, &mut b);
        let lost = a.seal(&b, "lost");
        start(&mut a, &mut b);
        let came = a.seal(&b, "came");
        assert_eq!(b.open(&a, &came).unwrap(), "came");
        assert_eq!(b.open(&a, &lost).unwrap(), "lost");
        // It was used: the next one is another, and what is on its way in the old session is still read.
        let on_its_way = b.seal(&a, "on its way");
        start(&mut a, &mut b);
        let begins = a.seal(&b, "begins");
        assert!(begins.0);
        assert_eq!(a.open(&b, &on_its_way).unwrap(), "on its way");
        assert_eq!(b.open(&a, &begins).unwrap(), "begins");
        let answer = b.seal(&a, "answer");
        assert_eq!(a.open(&b, &answer).unwrap(), "answer");
    }

    #[test]
    fn an_offer_that_is_passed_off_as_ones_own_leads_to_nothing() {
        let mut sides = [1, 2, 3].map(Side::new);
        sides.sort_by_key(Side::key);
        let [mut alice, mallory, mut bob] = sides;
        // Bob's offer is for Mallory, who gives it to Alice as if it were Mallory's.
        let (identity, one_time) = offered(&mut bob, &mallory);
        let key = mallory.key();
        let taken = alice.ratchets.take_offer(key, identity, one_time);
        assert_eq!(taken, Ok(()));
        let sealed = alice.seal(&mallory, "for mallory");
        assert_eq!(bob.open(&mallory, &sealed), Err(RatchetError::Foreign));
    }

    #[test]
    fn too_many_without_an_answer_end_a_session_and_few_may_be_carried() {
        let [mut a, mut b] = joined();
        // One was sealed and not opened.
        for _ in 1..CARRIED_AHEAD_MAX {
            assert!(a.ratchets.can_be_carried(&b.key()));
            a.seal(&b, "");
        }
        assert!(!a.ratchets.can_be_carried(&b.key()));
        for _ in CARRIED_AHEAD_MAX..UNANSWERED_MAX {
            assert!(a.ratchets.is_ready(&b.key()));
            a.seal(&b, "");
        }
        assert!(a.ratchets.seal(&b.key(), b"").is_none());
        let answer = b.seal(&a, "answer");
        assert_eq!(a.open(&b, &answer).unwrap(), "answer");
        assert!(a.ratchets.can_be_carried(&b.key()));
        let last = a.seal(&b, "far ahead");
        assert_eq!(b.open(&a, &last).unwrap(), "far ahead");
    }

    #[test]
    fn the_peer_of_longest_ago_is_forgotten_for_a_new_one() {
        let mut side = Side::new(1);
        let peer = |number: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            NoiseKey::from_bytes(bytes)
        };
        let first = side.ratchets.offer(peer(0));
        for number in 1..=RATCHETS_MAX {
            side.ratchets.offer(peer(number));
        }
        assert_eq!(side.ratchets.peers.len(), RATCHETS_MAX);
        assert_ne!(side.ratchets.offer(peer(0)), first);
    }

    #[test]
    fn what_is_saved_opens_for_the_same_identity_and_whole_only() {
        let [a, _] = joined();
        let mut writer = Writer::new();
        a.ratchets.save(&mut writer);
        let bytes = writer.finish();
        let restored = |identity: &Identity, bytes: &[u8]| {
            Ratchets::restore(identity, &mut Reader::new(bytes)).map(|_| ())
        };
        assert_eq!(restored(&a.identity, &bytes), Ok(()));
        let other = Side::new(9).identity;
        assert_eq!(restored(&other, &bytes), Err(RestoreError::Sealed));
        let last = bytes.len() - 5;
        let mut changed = bytes.clone();
        changed[last] = if changed[last] == b'A' { b'B' } else { b'A' };
        assert_eq!(restored(&a.identity, &changed), Err(RestoreError::Sealed));
        assert!(restored(&a.identity, &bytes[..last]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn each_message_is_read_once_whatever_is_lost_late_or_saved_meanwhile(
            steps in proptest::collection::vec((any::<bool>(), 0_u8..4, any::<prop::sample::Index>()), 1..20),
        ) {
            let [mut a, mut b] = joined();
            // What is on its way, to b and to a. No chain is forgotten in so few steps.
            let mut ways = [Vec::<(Sealed, String)>::new(), Vec::new()];
            for (number, (to_b, action, which)) in steps.into_iter().enumerate() {
                let way = &mut ways[usize::from(!to_b)];
                let (from, to) = if to_b { (&mut a, &mut b) } else { (&mut b, &mut a) };
                match action {
                    0 => way.push((from.seal(to, &number.to_string()), number.to_string())),
                    1 if !way.is_empty() => {
                        let (sealed, text) = way.remove(which.index(way.len()));
                        prop_assert_eq!(to.open(from, &sealed), Ok(text));
                        prop_assert_eq!(to.open(from, &sealed), Err(RatchetError::Gone));
                    }
                    2 if !way.is_empty() => drop(way.remove(which.index(way.len()))),
                    3 => *to = to.stolen(),
                    _ => {}
                }
            }
        }

        #[test]
        fn any_bytes_are_read_without_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            is_first in any::<bool>(),
        ) {
            if let Ok(message) = RatchetMessage::decode(&bytes) {
                prop_assert_eq!(RatchetMessage::decode(&message.encode().unwrap()), Ok(message));
            }
            let [a, mut b] = joined();
            prop_assert!(b.ratchets.open(&a.key(), is_first, &bytes).is_err());
        }
    }
}
