//! The encrypted reply block store: what a client takes across a restart.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use fogcompute_base::wire::{DecodeError, Reader};
use fogcompute_base::{CryptoRng, UnixMillis};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::client::KeptReply;
use crate::geometry::Geometry;
use crate::message::{KeptPartial, KeptParts, MessageId};
use crate::mixnode::EpochKey;
use crate::surb::{ReplyKey, Surb, SurbError};

const VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
const KEY_CONTEXT: &str = "fogcompute mix 2026 reply block store";
/// Mix keys of this epoch and of the one before.
const KEYS_MAX: usize = 2;

/// Why bytes are not a [`SurbStore`] that can be used.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum SurbStoreError {
    /// The bytes were sealed in another way. A newer release may read them.
    #[error("reply block store of version {actual}, known is {known}")]
    Version {
        /// Version of the bytes.
        actual: u8,
        /// The version that is known.
        known: u8,
    },
    /// The bytes do not open: they were sealed under another key, changed or cut.
    #[error("reply block store does not open with this key")]
    Sealed,
    /// The store is of a network with packets of another size, hop count or suite.
    #[error("reply block store is of a network with other packets")]
    OtherPackets,
    /// The bytes opened to something that is not a store.
    #[error("malformed reply block store")]
    Malformed(#[from] DecodeError),
    /// A reply block of the store is none.
    #[error(transparent)]
    Surb(#[from] SurbError),
}

/// The secret under which a [`SurbStore`] is sealed. Erased from memory when dropped.
#[derive(Clone)]
pub struct StoreKey(Zeroizing<[u8; 32]>);

impl StoreKey {
    /// Takes a key from 32 secret bytes, which must be random: they are not stretched, so a
    /// password is none.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        let key = Zeroizing::new(blake3::derive_key(KEY_CONTEXT, &*self.0));
        XChaCha20Poly1305::new((&*key).into())
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreKey(..)")
    }
}

/// Reply blocks that came with a message and are not used yet.
#[derive(Debug)]
pub struct HeldSurbs {
    /// The message they answer.
    pub message: MessageId,
    /// Number of the key epoch in which they came.
    pub epoch: u64,
    /// The blocks.
    pub surbs: Vec<Surb>,
}

/// What the state machine of a client remembers of requests and messages:
/// [`Client::into_memory`](crate::Client::into_memory).
#[derive(Default)]
pub struct ClientMemory {
    pub(crate) replies: Vec<KeptReply>,
    pub(crate) messages: KeptParts,
    pub(crate) answers: KeptParts,
}

impl ClientMemory {
    /// Time has passed: what is over by now is left out.
    fn age(&mut self, elapsed: Duration) {
        self.replies.retain_mut(|kept| {
            kept.left = kept.left.saturating_sub(elapsed);
            !kept.left.is_zero()
        });
        self.messages.age(elapsed);
        self.answers.age(elapsed);
    }

    /// Requests whose answers can still be opened, each once.
    #[must_use]
    pub fn requests(&self) -> Vec<MessageId> {
        let mut requests: Vec<_> = self.replies.iter().map(|kept| kept.request).collect();
        requests.sort_unstable();
        requests.dedup();
        requests
    }
}

impl fmt::Debug for ClientMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientMemory({} reply keys)", self.replies.len())
    }
}

/// What a client must keep across a restart so that reply blocks go on working, those it holds of
/// others and those it gave out; sealed, for a disk that others may read.
///
/// | bytes of [`SurbStore::seal`] | content |
/// |---|---|
/// | 1 | version, 1 |
/// | 24 | nonce, random |
/// | n | the store, encrypted |
/// | 16 | tag over version and store |
///
/// The cipher is XChaCha20-Poly1305. Its key is BLAKE3's `derive_key` of the [`StoreKey`] under the
/// context `fogcompute mix 2026 reply block store`. Numbers are big-endian; "each" is preceded by
/// a number of four bytes:
///
/// | bytes of the store | content |
/// |---|---|
/// | 3 | geometry: version and suite of its packets, hops, KiB of payload |
/// | 8 | when it was sealed, milliseconds since 1970 |
/// | 32 | secret key of the identity |
/// | each mix key | epoch 8, secret 32, room for replay tags 8, each tag: slot 4, fingerprint 4 |
/// | each reply key | request 16, milliseconds left 8, block's id 16, seed 32, layers 1, 32 a layer |
/// | each message to answer | id 16, epoch 8, each block: as [`Surb`] |
/// | each answer nobody took | request 16, length 4, answer |
/// | each incomplete message | id 16, packets 2, milliseconds left 8, each part: index 2, length 4, bytes |
/// | each message that was whole | id 16, packets 2, milliseconds left 8 |
/// | the same two of answers | |
///
/// # Security
/// Whoever has the bytes learns their length, and with the key everything. Reply blocks are for
/// one use, and so is a store: an old copy that is opened again holds blocks that were used since,
/// and does not hold what was seen since. A block used twice makes the same header twice; the first
/// mixnode drops the second packet as a replay, so the second answer is lost, and who watches the
/// link to that node can tell that a block was used twice. A packet recorded between the two could be
/// delivered again. So open each store once, and put the new one in its place.
pub struct SurbStore {
    /// Secret key of the client's identity: reply blocks end at it.
    pub identity: Zeroizing<[u8; 32]>,
    /// The client's mix keys with the numbers of their epochs, at most two.
    pub keys: Vec<(u64, EpochKey)>,
    /// Blocks of others, to answer with.
    pub held: Vec<HeldSurbs>,
    /// Answers that came and that nobody has taken yet, by the request's id.
    pub answers: Vec<(MessageId, Vec<u8>)>,
    /// Keys for answers that did not come yet, and what came of messages.
    pub memory: ClientMemory,
}

/// Appends as [`Writer`](fogcompute_base::wire::Writer) does, and leaves no copy behind in a buffer
/// that became too small.
#[derive(Default)]
pub(crate) struct SecretWriter(Zeroizing<Vec<u8>>);

impl SecretWriter {
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        let needed = self.0.len() + bytes.len();
        if needed > self.0.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(2 * self.0.len())));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.raw(&[value]);
    }

    fn u16(&mut self, value: u16) {
        self.raw(&value.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.raw(&value.to_be_bytes());
    }

    /// A number that comes before so many items or bytes.
    pub(crate) fn count(&mut self, count: usize) {
        let count = u32::try_from(count).expect("a client keeps less than 2^32 of anything");
        self.raw(&count.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.raw(bytes);
    }
}

fn write_left(writer: &mut SecretWriter, left: Duration) {
    writer.u64(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
}

fn read_id(reader: &mut Reader<'_>) -> Result<MessageId, DecodeError> {
    reader.array().map(MessageId::from_bytes)
}

fn read_left(reader: &mut Reader<'_>) -> Result<Duration, DecodeError> {
    reader.u64().map(Duration::from_millis)
}

/// As many as the bytes say; each takes some of them, so no more memory is taken than they have.
fn read_each<T, E: From<DecodeError>>(
    reader: &mut Reader<'_>,
    mut read: impl FnMut(&mut Reader<'_>) -> Result<T, E>,
) -> Result<Vec<T>, E> {
    let count = reader.u32()?;
    (0..count).map(|_| read(reader)).collect()
}

impl SurbStore {
    /// The store, sealed under `key`, with the time at which that is done.
    ///
    /// # Panics
    /// If it holds more than 2³² of something.
    #[must_use]
    pub fn seal(
        &self,
        geometry: Geometry,
        key: &StoreKey,
        now: UnixMillis,
        rng: &mut impl CryptoRng,
    ) -> Vec<u8> {
        let mut nonce = [0; NONCE_BYTES];
        rng.fill_bytes(&mut nonce);
        seal_bytes(&self.encode(geometry, now), key, nonce)
    }

    /// Opens what [`SurbStore::seal`] made. What has expired since is left out.
    ///
    /// `replay_tags_max` is the most replay tags a key of it may have room for.
    ///
    /// # Errors
    /// [`SurbStoreError`].
    pub fn open(
        bytes: &[u8],
        geometry: Geometry,
        key: &StoreKey,
        now: UnixMillis,
        replay_tags_max: usize,
    ) -> Result<Self, SurbStoreError> {
        let plain = open_bytes(bytes, key)?;
        Self::decode(&plain, geometry, now, replay_tags_max)
    }

    pub(crate) fn encode(&self, geometry: Geometry, now: UnixMillis) -> Zeroizing<Vec<u8>> {
        let mut writer = SecretWriter::default();
        writer.raw(&geometry.label());
        writer.u64(now.0);
        writer.raw(&*self.identity);
        writer.count(self.keys.len());
        for (epoch, key) in &self.keys {
            writer.u64(*epoch);
            key.encode(&mut writer);
        }
        writer.count(self.memory.replies.len());
        for kept in &self.memory.replies {
            writer.raw(kept.request.as_bytes());
            write_left(&mut writer, kept.left);
            kept.key.encode(&mut writer);
        }
        writer.count(self.held.len());
        for held in &self.held {
            writer.raw(held.message.as_bytes());
            writer.u64(held.epoch);
            writer.count(held.surbs.len());
            for surb in &held.surbs {
                writer.raw(&Zeroizing::new(surb.to_bytes()));
            }
        }
        writer.count(self.answers.len());
        for (request, answer) in &self.answers {
            writer.raw(request.as_bytes());
            writer.bytes(answer);
        }
        write_parts(&mut writer, &self.memory.messages);
        write_parts(&mut writer, &self.memory.answers);
        writer.0
    }

    pub(crate) fn decode(
        bytes: &[u8],
        geometry: Geometry,
        now: UnixMillis,
        replay_tags_max: usize,
    ) -> Result<Self, SurbStoreError> {
        let mut reader = Reader::new(bytes);
        let reader = &mut reader;
        if reader.array()? != geometry.label() {
            return Err(SurbStoreError::OtherPackets);
        }
        let sealed = reader.u64()?;
        let identity = Zeroizing::new(reader.array()?);
        let count = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
        if count > KEYS_MAX {
            let (actual, limit) = (count, KEYS_MAX);
            return Err(DecodeError::TooLong { actual, limit }.into());
        }
        let keys = (0..count)
            .map(|_| Ok((reader.u64()?, EpochKey::decode(reader, replay_tags_max)?)))
            .collect::<Result<_, DecodeError>>()?;
        let replies = read_each(reader, |reader| {
            let (request, left) = (read_id(reader)?, read_left(reader)?);
            let key = ReplyKey::decode(geometry, reader)?;
            Ok::<_, DecodeError>(KeptReply { key, request, left })
        })?;
        let held = read_each(reader, |reader| {
            Ok::<_, SurbStoreError>(HeldSurbs {
                message: read_id(reader)?,
                epoch: reader.u64()?,
                surbs: read_each(reader, |reader| {
                    let block = reader.take(geometry.surb_bytes())?;
                    Ok::<_, SurbStoreError>(Surb::from_bytes(geometry, block)?)
                })?,
            })
        })?;
        let answers = read_each(reader, |reader| {
            Ok::<_, DecodeError>((read_id(reader)?, reader.bytes(usize::MAX)?.to_vec()))
        })?;
        let mut memory = ClientMemory {
            replies,
            messages: read_parts(reader)?,
            answers: read_parts(reader)?,
        };
        reader.clone().finish()?;
        // A wall clock that was put back ages nothing: what is left is at most what it was.
        memory.age(Duration::from_millis(now.0.saturating_sub(sealed)));
        Ok(Self {
            identity,
            keys,
            held,
            answers,
            memory,
        })
    }
}

impl fmt::Debug for SurbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SurbStore")
            .field("held", &self.held.len())
            .field("memory", &self.memory)
            .finish_non_exhaustive()
    }
}

fn write_parts(writer: &mut SecretWriter, kept: &KeptParts) {
    writer.count(kept.partial.len());
    for partial in &kept.partial {
        writer.raw(partial.id.as_bytes());
        writer.u16(partial.count);
        write_left(writer, partial.left);
        writer.count(partial.parts.len());
        for (index, part) in &partial.parts {
            writer.u16(*index);
            writer.bytes(part);
        }
    }
    writer.count(kept.done.len());
    for (id, count, left) in &kept.done {
        writer.raw(id.as_bytes());
        writer.u16(*count);
        write_left(writer, *left);
    }
}

fn read_parts(reader: &mut Reader<'_>) -> Result<KeptParts, DecodeError> {
    let partial = read_each(reader, |reader| {
        let (id, count, left) = (read_id(reader)?, reader.u16()?, read_left(reader)?);
        let at = reader.position();
        let parts: BTreeMap<_, _> = read_each(reader, |reader| {
            let at = reader.position();
            let index = reader.u16()?;
            if index >= count {
                let value = u64::from(index);
                return Err(DecodeError::Unknown { at, value });
            }
            Ok((index, reader.bytes(usize::MAX)?.to_vec()))
        })?
        .into_iter()
        .collect();
        // One that has all of its parts is not incomplete, and nothing would ever complete it.
        if parts.is_empty() || parts.len() >= usize::from(count) {
            let value = parts.len() as u64;
            return Err(DecodeError::Unknown { at, value });
        }
        Ok(KeptPartial {
            id,
            count,
            left,
            parts,
        })
    })?;
    let done = read_each(reader, |reader| {
        Ok::<_, DecodeError>((read_id(reader)?, reader.u16()?, read_left(reader)?))
    })?;
    Ok(KeptParts { partial, done })
}

fn seal_bytes(plain: &[u8], key: &StoreKey, nonce: [u8; NONCE_BYTES]) -> Vec<u8> {
    let start = 1 + NONCE_BYTES;
    // Room for the tag, so that nothing of the plain text stays behind in a smaller buffer.
    let mut bytes = Vec::with_capacity(start + plain.len() + TAG_BYTES);
    bytes.push(VERSION);
    bytes.extend_from_slice(&nonce);
    bytes.extend_from_slice(plain);
    let tag = key
        .cipher()
        .encrypt_in_place_detached(XNonce::from_slice(&nonce), &[VERSION], &mut bytes[start..])
        .expect("the cipher takes 256 GiB at once");
    bytes.extend_from_slice(&tag);
    bytes
}

fn open_bytes(bytes: &[u8], key: &StoreKey) -> Result<Zeroizing<Vec<u8>>, SurbStoreError> {
    let (&version, rest) = bytes.split_first().ok_or(SurbStoreError::Sealed)?;
    if version != VERSION {
        return Err(SurbStoreError::Version {
            actual: version,
            known: VERSION,
        });
    }
    if rest.len() < NONCE_BYTES + TAG_BYTES {
        return Err(SurbStoreError::Sealed);
    }
    let (nonce, rest) = rest.split_at(NONCE_BYTES);
    let (sealed, tag) = rest.split_at(rest.len() - TAG_BYTES);
    let mut plain = Zeroizing::new(sealed.to_vec());
    key.cipher()
        .decrypt_in_place_detached(
            XNonce::from_slice(nonce),
            &[VERSION],
            &mut plain,
            Tag::from_slice(tag),
        )
        .map_err(|_| SurbStoreError::Sealed)?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::PrivateKey;
    use crate::packet::tests::seeded_route;
    use crate::replay::{ReplayTag, ReplayVerdict};
    use fogcompute_base::OsEntropy;
    use proptest::prelude::*;
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;

    const GEOMETRY: Geometry = Geometry::DEFAULT;
    const TAGS_MAX: usize = 1_000;
    const SEALED: UnixMillis = UnixMillis(1_000_000);

    fn id(n: u8) -> MessageId {
        MessageId::from_bytes([n; 16])
    }

    fn tag(n: u8) -> ReplayTag {
        ReplayTag::from_bytes([n; 16])
    }

    fn key() -> StoreKey {
        StoreKey::from_bytes([5; 32])
    }

    /// A store with something of everything, of routes of so many hops.
    fn store(seed: u64, hops: usize) -> SurbStore {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let (_, route) = seeded_route(seed, hops);
        let mut surb = || Surb::new(GEOMETRY, &route, &mut rng).unwrap();
        let seconds = Duration::from_secs;
        let kept = |left| KeptReply {
            key: surb().1,
            request: id(1),
            left,
        };
        let replies = [seconds(10), seconds(60)].map(kept).into();
        let surbs = vec![surb().0, surb().0];
        let mix_key = EpochKey::new(PrivateKey::random(&mut rng), TAGS_MAX);
        for n in 1..20 {
            mix_key.replay_filter().check(tag(n));
        }
        let parts = [(0, vec![1; 10]), (3, Vec::new())].into();
        SurbStore {
            identity: [9; 32].into(),
            keys: vec![(7, mix_key)],
            held: vec![HeldSurbs {
                message: id(2),
                epoch: 7,
                surbs,
            }],
            answers: vec![(id(3), b"answer".to_vec())],
            memory: ClientMemory {
                replies,
                messages: KeptParts {
                    partial: vec![KeptPartial {
                        id: id(4),
                        count: 4,
                        left: seconds(60),
                        parts,
                    }],
                    done: vec![(id(5), 2, seconds(10)), (id(6), 1, seconds(60))],
                },
                answers: KeptParts::default(),
            },
        }
    }

    fn open(bytes: &[u8], now: UnixMillis) -> Result<SurbStore, SurbStoreError> {
        SurbStore::open(bytes, GEOMETRY, &key(), now, TAGS_MAX)
    }

    #[test]
    fn a_store_is_what_was_sealed() {
        let before = store(1, 4);
        let bytes = before.seal(GEOMETRY, &key(), SEALED, &mut OsEntropy);
        let after = open(&bytes, SEALED).unwrap();
        assert_eq!(
            after.encode(GEOMETRY, SEALED),
            before.encode(GEOMETRY, SEALED)
        );
        assert_eq!(*after.identity, [9; 32]);
        let (epoch, mix_key) = &after.keys[0];
        assert_eq!(
            (*epoch, mix_key.public_key()),
            (7, before.keys[0].1.public_key())
        );
        let seen = mix_key.replay_filter();
        assert_eq!(seen.len(), 19);
        assert_eq!(seen.check(tag(19)), ReplayVerdict::Replayed);
        assert_eq!(seen.check(tag(20)), ReplayVerdict::Fresh);
        assert_eq!(
            after.held[0].surbs[1].to_bytes(),
            before.held[0].surbs[1].to_bytes()
        );
        // No two seals are alike.
        assert_ne!(bytes, before.seal(GEOMETRY, &key(), SEALED, &mut OsEntropy));
    }

    #[test]
    fn what_has_expired_meanwhile_is_left_out_and_a_clock_put_back_ages_nothing() {
        let bytes = store(1, 3).seal(GEOMETRY, &key(), SEALED, &mut OsEntropy);
        let left = |now| {
            let memory = open(&bytes, UnixMillis(now)).unwrap().memory;
            let replies: Vec<_> = memory
                .replies
                .iter()
                .map(|kept| kept.left.as_secs())
                .collect();
            (
                replies,
                memory.messages.partial.len(),
                memory.messages.done.len(),
            )
        };
        assert_eq!(left(1_000_000), (vec![10, 60], 1, 2));
        assert_eq!(left(1_009_000), (vec![1, 51], 1, 2));
        assert_eq!(left(1_010_000), (vec![50], 1, 1));
        assert_eq!(left(1_060_000), (vec![], 0, 0));
        assert_eq!(left(u64::MAX), (vec![], 0, 0));
        assert_eq!(left(0), (vec![10, 60], 1, 2));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let bytes = store(2, 3).seal(GEOMETRY, &key(), SEALED, &mut OsEntropy);
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let refused = open(&changed, SEALED).unwrap_err();
            if bit < 8 {
                let actual = changed[0];
                assert_eq!(refused, SurbStoreError::Version { actual, known: 1 });
            } else {
                assert_eq!(refused, SurbStoreError::Sealed);
            }
        }
        for length in 0..bytes.len() {
            let refused = open(&bytes[..length], SEALED).unwrap_err();
            assert_eq!(refused, SurbStoreError::Sealed);
        }
    }

    #[test]
    fn another_key_another_network_and_too_large_a_filter_are_refused() {
        let bytes = store(3, 3).seal(GEOMETRY, &key(), SEALED, &mut OsEntropy);
        let open = |geometry, key, tags_max| {
            SurbStore::open(
                &bytes,
                geometry,
                &StoreKey::from_bytes(key),
                SEALED,
                tags_max,
            )
            .err()
        };
        assert_eq!(open(GEOMETRY, [5; 32], TAGS_MAX), None);
        let refused = open(GEOMETRY, [6; 32], TAGS_MAX);
        assert_eq!(refused, Some(SurbStoreError::Sealed));
        let refused = open(Geometry::DATAGRAM, [5; 32], TAGS_MAX);
        assert_eq!(refused, Some(SurbStoreError::OtherPackets));
        let (actual, limit) = (TAGS_MAX, TAGS_MAX - 1);
        let too_long = DecodeError::TooLong { actual, limit };
        let refused = open(GEOMETRY, [5; 32], limit);
        assert_eq!(refused, Some(SurbStoreError::Malformed(too_long)));
    }

    #[test]
    fn the_cipher_is_the_one_that_is_documented() {
        // Computed by other implementations: BLAKE3 and HChaCha20 written from their specifications
        // and checked against published vectors, and ChaCha20-Poly1305 of OpenSSL.
        let sealed = seal_bytes(b"fog", &key(), [3; NONCE_BYTES]);
        let expected = [
            191, 219, 153, 10, 223, 63, 240, 187, 145, 108, 169, 3, 142, 231, 150, 118, 192, 42, 71,
        ];
        assert_eq!(sealed[0], 1);
        assert_eq!(sealed[1..25], [3; NONCE_BYTES]);
        assert_eq!(sealed[25..], expected);
        assert_eq!(**open_bytes(&sealed, &key()).unwrap(), b"fog"[..]);
    }

    #[test]
    fn secrets_stay_out_of_debug_output() {
        assert_eq!(format!("{:?}", key()), "StoreKey(..)");
        let text = format!("{:?}", store(4, 2));
        assert_eq!(
            text,
            "SurbStore { held: 1, memory: ClientMemory(2 reply keys), .. }"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_store_survives_its_seal(seed in any::<u64>(), hops in 1_usize..=7, blocks in 0..4_u8) {
            let mut before = store(seed, hops);
            before.held[0].surbs.truncate(usize::from(blocks));
            let bytes = before.seal(GEOMETRY, &key(), SEALED, &mut OsEntropy);
            let after = open(&bytes, SEALED).unwrap();
            prop_assert_eq!(after.encode(GEOMETRY, SEALED), before.encode(GEOMETRY, SEALED));
        }

        #[test]
        fn bytes_that_open_to_anything_are_read_without_panic(
            change in any::<(usize, u8)>(), kept in any::<usize>(), whole in any::<bool>(),
            raw in any::<bool>(),
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut plain = store(1, 3).encode(GEOMETRY, SEALED).to_vec();
            let length = plain.len();
            plain[change.0 % length] ^= change.1;
            plain.truncate(if whole { length } else { kept % length });
            let plain = if raw { bytes } else { plain };
            if let Ok(store) = SurbStore::decode(&plain, GEOMETRY, SEALED, TAGS_MAX) {
                // What is read is written the same, but for parts in another order.
                let written = store.encode(GEOMETRY, SEALED);
                prop_assert!(written.len() <= plain.len());
            }
        }
    }
}
