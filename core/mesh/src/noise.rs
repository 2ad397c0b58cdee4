//! Noise as BitChat uses it: XX for sessions, X for what is sealed to an absent peer.

use std::fmt;

use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce, Tag};
use fogcompute_base::CryptoRng;
use fogcompute_x25519::{Engine, KEY_BYTES};
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, HandshakeState};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::identity::{Identity, NoiseKey};

const XX: &str = "Noise_XX_25519_ChaChaPoly_SHA256";
const X: &str = "Noise_X_25519_ChaChaPoly_SHA256";
/// Lengths of the three messages of a handshake, in bytes.
pub const HANDSHAKE_BYTES: [usize; 3] = [32, 96, 64];
/// What [`seal_to`] adds, in bytes: an ephemeral key, the sealed static key, a tag.
pub const SEAL_OVERHEAD_BYTES: usize = 96;
/// What [`Session::seal`] adds, in bytes: a counter and a tag.
pub const SESSION_OVERHEAD_BYTES: usize = COUNTER_BYTES + TAG_BYTES;
const COUNTER_BYTES: usize = 4;
const TAG_BYTES: usize = 16;
/// Counters end here.
const COUNTER_MAX: u32 = u32::MAX - 1;

/// Why a handshake or a message of a session is refused.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum NoiseError {
    /// The bytes do not open: changed, for somebody else, or of another session.
    #[error("message does not open")]
    Opaque,
    /// The peer's key is one with which a secret would be none.
    #[error("peer's key has low order")]
    UnsoundKey,
    /// The message was received before, or is older than the window remembers.
    #[error("message {counter} was received before or is too old")]
    Replayed {
        /// Its counter.
        counter: u32,
    },
    /// The session has sent all messages it may. Make a new one.
    #[error("session has sent all {limit} messages it may")]
    Exhausted {
        /// The limit.
        limit: u32,
    },
    /// What is to be sealed is longer than one message of Noise.
    #[error("{actual} bytes are too many for one message")]
    TooLong {
        /// Its length.
        actual: usize,
    },
}

impl From<snow::Error> for NoiseError {
    fn from(error: snow::Error) -> Self {
        match error {
            // Every key of a peer goes into a multiplication before anything is made of it.
            snow::Error::Dh => Self::UnsoundKey,
            // Which other step failed says nothing a caller could act on, and nothing a peer should learn.
            _ => Self::Opaque,
        }
    }
}

/// Which keys `snow` multiplies with: by the fastest implementation that the CPU can run, and points of
/// low order are refused.
struct Keys {
    engine: Engine,
    secret: Zeroizing<[u8; KEY_BYTES]>,
    public: [u8; KEY_BYTES],
}

impl Keys {
    fn new() -> Self {
        Self {
            engine: Engine::detect(),
            secret: Zeroizing::new([0; KEY_BYTES]),
            public: [0; KEY_BYTES],
        }
    }
}

impl Dh for Keys {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        KEY_BYTES
    }

    fn priv_len(&self) -> usize {
        KEY_BYTES
    }

    fn set(&mut self, privkey: &[u8]) {
        self.secret.copy_from_slice(privkey);
        self.public = self.engine.x25519_base(&self.secret);
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), snow::Error> {
        rng.try_fill_bytes(&mut *self.secret)?;
        self.public = self.engine.x25519_base(&self.secret);
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        &*self.secret
    }

    fn dh(&self, pubkey: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        let point = pubkey.first_chunk().ok_or(snow::Error::Dh)?;
        let shared = self
            .engine
            .x25519(&self.secret, point)
            .ok_or(snow::Error::Dh)?;
        out[..KEY_BYTES].copy_from_slice(&*Zeroizing::new(shared));
        Ok(())
    }
}

/// Lets a handshake draw its one ephemeral key from bytes that were passed in, if it may draw one.
struct Drawn(Option<Zeroizing<[u8; 32]>>);

impl CryptoResolver for Drawn {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Once(self.0.clone())))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        match choice {
            DHChoice::Curve25519 => Some(Box::new(Keys::new())),
            _ => None,
        }
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

struct Once(Option<Zeroizing<[u8; 32]>>);

impl Random for Once {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), snow::Error> {
        let drawn = self.0.take().ok_or(snow::Error::Rng)?;
        if dest.len() != drawn.len() {
            return Err(snow::Error::Rng);
        }
        dest.copy_from_slice(&*drawn);
        Ok(())
    }
}

fn draw(rng: &mut impl CryptoRng) -> Zeroizing<[u8; 32]> {
    let mut drawn = Zeroizing::new([0; 32]);
    rng.fill_bytes(&mut *drawn);
    drawn
}

fn builder<'a>(
    pattern: &str,
    secret: &'a [u8; 32],
    prologue: &'a [u8],
    drawn: Option<Zeroizing<[u8; 32]>>,
) -> Builder<'a> {
    let pattern = pattern.parse().expect("the pattern is known");
    Builder::with_resolver(pattern, Box::new(Drawn(drawn)))
        .local_private_key(secret)
        .and_then(|builder| builder.prologue(prologue))
        .expect("key and prologue are set once")
}

fn peer_of(noise: &HandshakeState) -> Result<NoiseKey, NoiseError> {
    let key = noise.get_remote_static().ok_or(NoiseError::Opaque)?;
    Ok(NoiseKey::from_bytes(
        key.try_into().map_err(|_| NoiseError::Opaque)?,
    ))
}

fn write(noise: &mut HandshakeState, length: usize) -> Result<Vec<u8>, NoiseError> {
    // `snow` wants more room than it uses.
    let mut message = vec![0; length + TAG_BYTES];
    let written = noise.write_message(&[], &mut message)?;
    debug_assert_eq!(written, length);
    message.truncate(length);
    Ok(message)
}

fn read(noise: &mut HandshakeState, message: &[u8], length: usize) -> Result<(), NoiseError> {
    if message.len() != length {
        return Err(NoiseError::Opaque);
    }
    noise.read_message(message, &mut [0; 32])?;
    Ok(())
}

/// A handshake that this side started and that waits for the second message.
pub struct Initiator(Box<HandshakeState>);

impl Initiator {
    /// Starts a handshake; gives the first message.
    #[must_use]
    pub fn new(identity: &Identity, rng: &mut impl CryptoRng) -> (Self, Vec<u8>) {
        let mut noise = builder(XX, identity.noise_secret(), &[], Some(draw(rng)))
            .build_initiator()
            .expect("an XX initiator needs no more than its key");
        let message = write(&mut noise, HANDSHAKE_BYTES[0])
            .expect("it is this side's turn, and nothing is multiplied yet");
        (Self(Box::new(noise)), message)
    }

    /// Reads the second message; gives the session and the third message.
    ///
    /// The session's peer is whoever holds [`Session::peer`]: that it is the one that was meant is for
    /// the caller to check.
    ///
    /// # Errors
    /// [`NoiseError::Opaque`], [`NoiseError::UnsoundKey`].
    pub fn finish(mut self, message: &[u8]) -> Result<(Session, Vec<u8>), NoiseError> {
        read(&mut self.0, message, HANDSHAKE_BYTES[1])?;
        let message = write(&mut self.0, HANDSHAKE_BYTES[2])?;
        Ok((Session::new(*self.0, true)?, message))
    }
}

impl fmt::Debug for Initiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Initiator(..)")
    }
}

/// A handshake that a peer started and that waits for the third message.
pub struct Responder(Box<HandshakeState>);

impl Responder {
    /// Reads the first message; gives the second.
    ///
    /// # Errors
    /// [`NoiseError::Opaque`], [`NoiseError::UnsoundKey`].
    pub fn new(
        identity: &Identity,
        message: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<(Self, Vec<u8>), NoiseError> {
        let mut noise = builder(XX, identity.noise_secret(), &[], Some(draw(rng)))
            .build_responder()
            .expect("an XX responder needs no more than its key");
        read(&mut noise, message, HANDSHAKE_BYTES[0])?;
        let message = write(&mut noise, HANDSHAKE_BYTES[1])?;
        Ok((Self(Box::new(noise)), message))
    }

    /// Reads the third message; gives the session. As to its peer, see [`Initiator::finish`].
    ///
    /// # Errors
    /// [`NoiseError::Opaque`], [`NoiseError::UnsoundKey`].
    pub fn finish(mut self, message: &[u8]) -> Result<Session, NoiseError> {
        read(&mut self.0, message, HANDSHAKE_BYTES[2])?;
        Session::new(*self.0, false)
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Responder(..)")
    }
}

/// Two keys that only this peer and another have.
///
/// A message is the counter of its nonce, 4 bytes big-endian, then the ciphertext and its tag of 16
/// bytes. The nonce is four zero bytes and the counter as 8 bytes little-endian. Messages may be lost
/// and overtake each other: of the 1,024 last counters it is known which were received.
///
/// The keys are used here and not by `snow`, whose messages end at 65,535 bytes: the apps send files of a
/// MiB as one.
pub struct Session {
    send: ChaCha20Poly1305,
    receive: ChaCha20Poly1305,
    peer: NoiseKey,
    hash: [u8; 32],
    next: u32,
    window: Window,
}

impl Session {
    fn new(mut noise: HandshakeState, initiator: bool) -> Result<Self, NoiseError> {
        let peer = peer_of(&noise)?;
        let hash = noise
            .get_handshake_hash()
            .try_into()
            .expect("SHA-256 gives 32 bytes");
        let (first, second) = noise.dangerously_get_raw_split();
        let (first, second) = (Zeroizing::new(first), Zeroizing::new(second));
        let (send, receive) = if initiator {
            (&first, &second)
        } else {
            (&second, &first)
        };
        Ok(Self {
            send: ChaCha20Poly1305::new((&**send).into()),
            receive: ChaCha20Poly1305::new((&**receive).into()),
            peer,
            hash,
            next: 0,
            window: Window::default(),
        })
    }

    /// Who proved to be at the other end.
    #[must_use]
    pub const fn peer(&self) -> NoiseKey {
        self.peer
    }

    /// What both ends know of the handshake and nobody could choose: equal here and there.
    #[must_use]
    pub const fn handshake_hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// Messages that were sealed so far.
    #[must_use]
    pub const fn sealed(&self) -> u32 {
        self.next
    }

    /// Encrypts a message for the peer.
    ///
    /// # Errors
    /// [`NoiseError::Exhausted`].
    pub fn seal(&mut self, plaintext: &[u8]) -> Result<Vec<u8>, NoiseError> {
        if self.next >= COUNTER_MAX {
            return Err(NoiseError::Exhausted { limit: COUNTER_MAX });
        }
        let counter = self.next;
        self.next += 1;
        let mut message = Vec::with_capacity(plaintext.len() + SESSION_OVERHEAD_BYTES);
        message.extend(counter.to_be_bytes());
        message.extend_from_slice(plaintext);
        let tag = self
            .send
            .encrypt_in_place_detached(&nonce(counter), &[], &mut message[COUNTER_BYTES..])
            .expect("messages are far shorter than what ChaCha20 can encrypt");
        message.extend_from_slice(&tag);
        Ok(message)
    }

    /// Opens a message of the peer.
    ///
    /// # Errors
    /// [`NoiseError::Opaque`], [`NoiseError::Replayed`]. The session goes on after either.
    pub fn open(&mut self, message: &[u8]) -> Result<Vec<u8>, NoiseError> {
        let (counter, sealed) = message
            .split_first_chunk::<COUNTER_BYTES>()
            .ok_or(NoiseError::Opaque)?;
        let (body, tag) = sealed
            .split_last_chunk::<TAG_BYTES>()
            .ok_or(NoiseError::Opaque)?;
        let counter = u32::from_be_bytes(*counter);
        if !self.window.is_fresh(counter) {
            return Err(NoiseError::Replayed { counter });
        }
        let mut plaintext = body.to_vec();
        self.receive
            .decrypt_in_place_detached(&nonce(counter), &[], &mut plaintext, Tag::from_slice(tag))
            .map_err(|_| NoiseError::Opaque)?;
        // Only what was authentic moves the window: else anybody could move it past real messages.
        self.window.mark(counter);
        Ok(plaintext)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({})", self.peer.peer_id())
    }
}

fn nonce(counter: u32) -> Nonce {
    let mut nonce = Nonce::default();
    nonce[4..].copy_from_slice(&u64::from(counter).to_le_bytes());
    nonce
}

const WINDOW: u32 = 1024;
const WORDS: usize = WINDOW as usize / 64;

/// Which of the last 1,024 counters were received.
#[derive(Debug, Default)]
struct Window {
    /// One more than the highest counter that was received.
    end: u32,
    /// A bit for each counter, at its place modulo the window.
    received: [u64; WORDS],
}

impl Window {
    const fn place(counter: u32) -> (usize, u64) {
        let at = counter % WINDOW;
        ((at / 64) as usize, 1 << (at % 64))
    }

    const fn is_fresh(&self, counter: u32) -> bool {
        if counter >= COUNTER_MAX {
            return false;
        }
        if counter >= self.end {
            return true;
        }
        let (word, bit) = Self::place(counter);
        self.end - counter <= WINDOW && self.received[word] & bit == 0
    }

    fn mark(&mut self, counter: u32) {
        if counter >= self.end {
            // The places of what is skipped are those of counters that fall out.
            let skipped = counter - self.end;
            if skipped >= WINDOW {
                self.received = [0; WORDS];
            } else {
                for skipped in self.end..counter {
                    let (word, bit) = Self::place(skipped);
                    self.received[word] &= !bit;
                }
            }
            self.end = counter + 1;
        }
        let (word, bit) = Self::place(counter);
        self.received[word] |= bit;
    }
}

/// Seals a message to somebody who is not there, so that they know who sent it.
///
/// # Errors
/// [`NoiseError::UnsoundKey`], [`NoiseError::TooLong`].
pub fn seal_to(
    identity: &Identity,
    recipient: NoiseKey,
    prologue: &[u8],
    plaintext: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, NoiseError> {
    let mut noise = builder(X, identity.noise_secret(), prologue, Some(draw(rng)))
        .remote_public_key(recipient.as_bytes())
        .and_then(Builder::build_initiator)
        .expect("an X initiator needs its key and the recipient's");
    let mut message = vec![0; plaintext.len() + SEAL_OVERHEAD_BYTES];
    let written = noise
        .write_message(plaintext, &mut message)
        .map_err(|error| match NoiseError::from(error) {
            NoiseError::UnsoundKey => NoiseError::UnsoundKey,
            _ => NoiseError::TooLong {
                actual: plaintext.len(),
            },
        })?;
    debug_assert_eq!(written, message.len());
    Ok(message)
}

/// Opens what was sealed to the holder of `secret`; gives the sender's key and the message.
///
/// # Errors
/// [`NoiseError::Opaque`], [`NoiseError::UnsoundKey`].
pub fn open_sealed(
    secret: &[u8; 32],
    prologue: &[u8],
    message: &[u8],
) -> Result<(NoiseKey, Vec<u8>), NoiseError> {
    // Who only receives draws nothing.
    let mut noise = builder(X, secret, prologue, None)
        .build_responder()
        .expect("an X responder needs no more than its key");
    let mut plaintext = vec![0; message.len()];
    let length = noise.read_message(message, &mut plaintext)?;
    plaintext.truncate(length);
    Ok((peer_of(&noise)?, plaintext))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;
    use std::collections::BTreeSet;

    fn pair() -> (Session, Session) {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (alice, bob) = (Identity::random(&mut rng), Identity::random(&mut rng));
        let (initiator, first) = Initiator::new(&alice, &mut rng);
        let (responder, second) = Responder::new(&bob, &first, &mut rng).unwrap();
        let (ours, third) = initiator.finish(&second).unwrap();
        let theirs = responder.finish(&third).unwrap();
        assert_eq!(ours.peer(), bob.noise_key());
        assert_eq!(theirs.peer(), alice.noise_key());
        assert_eq!(ours.handshake_hash(), theirs.handshake_hash());
        (ours, theirs)
    }

    #[test]
    fn a_message_is_opened_once() {
        let (mut ours, mut theirs) = pair();
        let message = ours.seal(b"hello").unwrap();
        assert_eq!(theirs.open(&message).unwrap(), b"hello");
        assert_eq!(
            theirs.open(&message),
            Err(NoiseError::Replayed { counter: 0 })
        );
        // The other way has counters of its own.
        let answer = theirs.seal(b"hi").unwrap();
        assert_eq!(ours.open(&answer).unwrap(), b"hi");
    }

    #[test]
    fn a_changed_message_does_not_open_and_does_not_move_the_window() {
        let (mut ours, mut theirs) = pair();
        let message = ours.seal(b"hello").unwrap();
        for at in 0..message.len() {
            let mut changed = message.clone();
            changed[at] ^= 0x80;
            assert_eq!(theirs.open(&changed), Err(NoiseError::Opaque), "{at}");
        }
        for end in 0..message.len() {
            assert_eq!(theirs.open(&message[..end]), Err(NoiseError::Opaque));
        }
        assert_eq!(theirs.open(&message).unwrap(), b"hello");
    }

    #[test]
    fn a_message_longer_than_snow_would_take_round_trips() {
        let (mut ours, mut theirs) = pair();
        let long = vec![7; 1 << 20];
        let message = ours.seal(&long).unwrap();
        assert_eq!(theirs.open(&message).unwrap(), long);
    }

    #[test]
    fn counters_end() {
        let (mut ours, _) = pair();
        ours.next = COUNTER_MAX;
        assert_eq!(
            ours.seal(b""),
            Err(NoiseError::Exhausted { limit: COUNTER_MAX })
        );
    }

    #[test]
    fn keys_of_low_order_end_a_handshake() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let identity = Identity::random(&mut rng);
        assert_eq!(
            Responder::new(&identity, &[0; 32], &mut rng).unwrap_err(),
            NoiseError::UnsoundKey
        );
        let (initiator, _) = Initiator::new(&identity, &mut rng);
        assert_eq!(
            initiator.finish(&[0; 96]).unwrap_err(),
            NoiseError::UnsoundKey
        );
        let zero = NoiseKey::from_bytes([0; 32]);
        assert_eq!(
            seal_to(&identity, zero, b"", b"", &mut rng),
            Err(NoiseError::UnsoundKey)
        );
    }

    #[test]
    fn a_handshake_of_strange_length_is_refused() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let identity = Identity::random(&mut rng);
        for length in [0, 31, 33, 96] {
            assert!(Responder::new(&identity, &vec![9; length], &mut rng).is_err());
            let (initiator, first) = Initiator::new(&identity, &mut rng);
            if length != 96 {
                assert!(initiator.finish(&vec![9; length]).is_err());
            }
            let (responder, _) = Responder::new(&identity, &first, &mut rng).unwrap();
            assert!(responder.finish(&vec![9; length]).is_err());
        }
    }

    #[test]
    fn what_is_sealed_to_one_opens_for_nobody_else() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let [alice, bob, carol] = [(); 3].map(|()| Identity::random(&mut rng));
        let sealed = seal_to(&alice, bob.noise_key(), b"p", b"hello", &mut rng).unwrap();
        assert_eq!(sealed.len(), 5 + SEAL_OVERHEAD_BYTES);
        assert_eq!(
            open_sealed(bob.noise_secret(), b"p", &sealed),
            Ok((alice.noise_key(), b"hello".to_vec()))
        );
        assert_eq!(
            open_sealed(carol.noise_secret(), b"p", &sealed),
            Err(NoiseError::Opaque)
        );
        assert_eq!(
            open_sealed(bob.noise_secret(), b"q", &sealed),
            Err(NoiseError::Opaque)
        );
        assert!(seal_to(&alice, bob.noise_key(), b"p", &vec![0; 65_535], &mut rng).is_err());
    }

    proptest! {
        #[test]
        fn the_window_accepts_each_counter_once_and_none_that_is_too_old(
            steps in proptest::collection::vec((any::<bool>(), 0_u32..1500), 0..200),
        ) {
            let mut window = Window::default();
            let mut received = BTreeSet::new();
            let mut end = 0_u32;
            for (ahead, distance) in steps {
                let counter = if ahead { end + distance } else { end.saturating_sub(distance) };
                let fresh = !received.contains(&counter) && counter + WINDOW >= end;
                prop_assert_eq!(window.is_fresh(counter), fresh, "{} of {}", counter, end);
                if fresh {
                    window.mark(counter);
                    received.insert(counter);
                    end = end.max(counter + 1);
                }
            }
        }
    }
}
