//! Packets of a fog that talks only to its own: sealed for whoever has the fog's key, from identifiers that change.
//!
//! On the air every packet of such a fog is one of type `40`, of version 2 and with a time to live of 1, so that
//! strangers do not pass it on. Its sender is whoever sends it over this link, not who made what is inside; it has no
//! recipient, route or signature. Its payload:
//!
//! | bytes | content |
//! |---|---|
//! | 24 | nonce, random |
//! | 4 | length of the packet inside, big-endian; sealed |
//! | n | the packet inside, as the rest of this crate describes it; sealed |
//! | | zeros, until the frame has 512 bytes or a multiple of 1,024, as far as the link takes so many; sealed |
//! | 16 | tag |
//!
//! Sealed is XChaCha20-Poly1305 under the BLAKE3 `derive_key` of the fog's key with the context
//! `fogcompute 2026-11-22 mesh fog seal v1`. Version, type, time and sender are authenticated with it.
//!
//! A peer's identifier on the air is the first 8 bytes of the keyed BLAKE3 of its Noise key and the number of the
//! period (big-endian, 8 bytes), under the `derive_key` with the context `fogcompute 2026-11-22 mesh fog ids v1`. The
//! period is that of the packet's time, so a packet that was on its way when the identifier changed is as good as any.
//! Inside, peers have the identifiers they always have: sessions do not notice.

use std::fmt;
use std::time::Duration;

use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use fogcompute_base::{CryptoRng, UnixMillis};
use zeroize::Zeroizing;

use crate::identity::NoiseKey;
use crate::packet::{PAYLOAD_BYTES_MAX, Packet, PacketType, PeerId};

const SEAL_CONTEXT: &str = "fogcompute 2026-11-22 mesh fog seal v1";
const IDS_CONTEXT: &str = "fogcompute 2026-11-22 mesh fog ids v1";
/// Bytes of a sealed packet's header: no recipient, no route.
const HEADER_BYTES: usize = 24;
const NONCE_BYTES: usize = 24;
const LENGTH_BYTES: usize = 4;
const TAG_BYTES: usize = 16;
/// What sealing adds, in bytes.
pub(crate) const OVERHEAD_BYTES: usize = HEADER_BYTES + NONCE_BYTES + LENGTH_BYTES + TAG_BYTES;
/// Lengths of frames, in bytes: what is short looks alike.
const FRAME_BYTES_MIN: usize = 512;
const FRAME_BYTES_STEP: usize = 1024;
const FRAME_BYTES_MAX: usize = HEADER_BYTES + PAYLOAD_BYTES_MAX;

/// What the members of a fog share and nobody else knows.
#[derive(Clone, Eq, PartialEq)]
pub struct FogKey(Zeroizing<[u8; 32]>);

impl FogKey {
    /// Takes a key from its bytes, which must be as good as random.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// A new fog's key.
    #[must_use]
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *bytes);
        Self(bytes)
    }

    /// The key's bytes, for the host to keep.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for FogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FogKey(..)")
    }
}

/// How a peer talks to the members of its fog, and to nobody else.
///
/// What it sends is sealed under the fog's key: who has not got it reads neither announces nor public messages, and
/// cannot make sessions. Peers without the key, and the BitChat apps, are not talked to. Who is in range of a radio
/// still sees that somebody sends, how often and how much, and that whoever has a connection before and after a change
/// of identifiers is the same.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FogConfig {
    /// The fog's key. A member that leaves knows it: give the others a new one.
    pub key: FogKey,
    /// How long an identifier on the air lasts; at least ten seconds. All members must say the same.
    pub period: Duration,
}

impl FogConfig {
    /// How long an identifier lasts by default: as long as private addresses of Bluetooth.
    pub const PERIOD: Duration = Duration::from_secs(15 * 60);
    /// A shorter one is taken for this one: packets may take two minutes.
    pub const PERIOD_MIN: Duration = Duration::from_secs(10);

    /// A fog with this key.
    #[must_use]
    pub const fn new(key: FogKey) -> Self {
        Self {
            key,
            period: Self::PERIOD,
        }
    }
}

/// Seals and opens for one fog.
pub(crate) struct Fog {
    cipher: XChaCha20Poly1305,
    ids: Zeroizing<[u8; 32]>,
    period_ms: u64,
}

impl Fog {
    pub(crate) fn new(config: &FogConfig) -> Self {
        let key = Zeroizing::new(blake3::derive_key(SEAL_CONTEXT, config.key.as_bytes()));
        let period = config.period.max(FogConfig::PERIOD_MIN);
        Self {
            cipher: XChaCha20Poly1305::new((&*key).into()),
            ids: Zeroizing::new(blake3::derive_key(IDS_CONTEXT, config.key.as_bytes())),
            period_ms: u64::try_from(period.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// What a peer is called on the air at a time.
    pub(crate) fn id_of(&self, key: &NoiseKey, unix: UnixMillis) -> PeerId {
        let mut hasher = blake3::Hasher::new_keyed(&self.ids);
        hasher.update(key.as_bytes());
        hasher.update(&(unix.0 / self.period_ms).to_be_bytes());
        let mut id = [0; PeerId::LEN];
        hasher.finalize_xof().fill(&mut id);
        PeerId::from_bytes(id)
    }

    /// Longest packet that fits inside a frame of so many bytes.
    pub(crate) fn room(frame_bytes_max: usize) -> usize {
        let frame_bytes_max = frame_bytes_max.min(FRAME_BYTES_MAX);
        frame_bytes_max.saturating_sub(OVERHEAD_BYTES)
    }

    /// A frame with a packet inside that is no longer than [`Fog::room`] says.
    pub(crate) fn seal(
        &self,
        packet: &[u8],
        sender: PeerId,
        unix: UnixMillis,
        frame_bytes_max: usize,
        rng: &mut impl CryptoRng,
    ) -> Vec<u8> {
        let least = packet.len() + OVERHEAD_BYTES;
        let padded = if least <= FRAME_BYTES_MIN {
            FRAME_BYTES_MIN
        } else {
            least.next_multiple_of(FRAME_BYTES_STEP)
        };
        let frame_bytes = padded.min(frame_bytes_max).min(FRAME_BYTES_MAX).max(least);
        let mut payload = vec![0; frame_bytes - HEADER_BYTES - TAG_BYTES];
        let (nonce, sealed) = payload
            .split_first_chunk_mut::<NONCE_BYTES>()
            .expect("a frame has room for its nonce");
        rng.fill_bytes(nonce);
        let nonce = XNonce::from(*nonce);
        let length = u32::try_from(packet.len()).expect("frames are far shorter than 4 GiB");
        sealed[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
        sealed[LENGTH_BYTES..][..packet.len()].copy_from_slice(packet);
        let tag = self
            .cipher
            .encrypt_in_place_detached(&nonce, &associated(sender, unix), sealed)
            .expect("frames are far shorter than what ChaCha20 can encrypt");
        payload.extend_from_slice(&tag);
        Packet::sealed(sender, unix, payload).encode()
    }

    /// The packet inside; `None` if it is of no member, or was changed.
    pub(crate) fn open(&self, packet: Packet) -> Option<Vec<u8>> {
        let is_plain =
            packet.recipient.is_none() && packet.signature.is_none() && packet.route().is_none();
        if packet.kind != PacketType::SEALED || packet.version() != 2 || !is_plain {
            return None;
        }
        let associated = associated(packet.sender, packet.timestamp);
        let payload = packet.into_payload();
        let (nonce, sealed) = payload.split_first_chunk::<NONCE_BYTES>()?;
        let (sealed, tag) = sealed.split_last_chunk::<TAG_BYTES>()?;
        let mut plain = sealed.to_vec();
        let (nonce, tag) = (XNonce::from(*nonce), Tag::from(*tag));
        self.cipher
            .decrypt_in_place_detached(&nonce, &associated, &mut plain, &tag)
            .ok()?;
        let (length, inside) = plain.split_first_chunk::<LENGTH_BYTES>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        inside.get(..length).map(<[u8]>::to_vec)
    }
}

fn associated(sender: PeerId, unix: UnixMillis) -> [u8; 18] {
    let mut bytes = [0; 18];
    bytes[0] = 2;
    bytes[1] = PacketType::SEALED.0;
    bytes[2..10].copy_from_slice(&unix.0.to_be_bytes());
    bytes[10..].copy_from_slice(sender.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::announce::Announce;
    use crate::identity::Identity;
    use crate::link::{LinkConfig, LinkId};
    use crate::node::{Node, NodeConfig};
    use fogcompute_base::Instant;
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    const AT: UnixMillis = UnixMillis(1_760_000_000_000);

    fn fog(byte: u8) -> Fog {
        Fog::new(&FogConfig::new(FogKey::from_bytes([byte; 32])))
    }

    fn sender() -> PeerId {
        PeerId::from_bytes([5; 8])
    }

    #[test]
    fn members_open_what_nobody_changed_and_others_open_nothing() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let frame = fog(1).seal(b"inside", sender(), AT, 512, &mut rng);
        let open = |frame: &[u8], by: &Fog| by.open(Packet::decode(frame).ok()?.0);
        assert_eq!(open(&frame, &fog(1)).as_deref(), Some(&b"inside"[..]));
        assert_eq!(open(&frame, &fog(2)), None);
        for at in 0..frame.len() {
            let mut changed = frame.clone();
            changed[at] ^= 1;
            // Nobody vouches for the time to live (2), nor for what has no meaning.
            let is_free = at == 2;
            assert_eq!(open(&changed, &fog(1)).is_some(), is_free, "{at}");
        }
    }

    #[test]
    fn an_identifier_lasts_a_period_and_is_another_for_each_peer_and_fog() {
        let period_ms = u64::try_from(FogConfig::PERIOD.as_millis()).unwrap();
        let start = UnixMillis(AT.0.next_multiple_of(period_ms));
        let key = |byte| Identity::from_bytes([byte; 32], [0; 32]).noise_key();
        let id = |of: u8, byte, after| fog(of).id_of(&key(byte), UnixMillis(start.0 + after));
        assert_eq!(id(1, 7, 0), id(1, 7, period_ms - 1));
        let all = [
            id(1, 7, 0),
            id(1, 7, period_ms),
            id(1, 8, 0),
            id(2, 7, 0),
            key(7).peer_id(),
        ];
        let different: std::collections::BTreeSet<_> = all.into_iter().collect();
        assert_eq!(different.len(), all.len());
    }

    /// A member that says that somebody else is behind its link, with the other's own announce.
    #[test]
    fn no_member_is_taken_for_another() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let config = NodeConfig {
            fog: Some(FogConfig::new(FogKey::from_bytes([1; 32]))),
            ..NodeConfig::default()
        };
        let (now, link) = (Instant::ZERO, LinkId(1));
        let identities = [0; 3].map(|_| Identity::random(&mut rng));
        let [alice, enemy, bob] = identities
            .clone()
            .map(|identity| Node::new(identity, "a name", config.clone(), AT, now).unwrap());
        let announce = |identity: &Identity, air: PeerId, rng: &mut ChaCha8Rng| {
            let keys = (identity.noise_key(), identity.verify_key());
            let payload = Announce::new("a name".to_owned(), keys.0, keys.1);
            let payload = payload.encode().unwrap();
            let own = identity.peer_id();
            let mut packet = Packet::new(PacketType::ANNOUNCE, own, AT, payload).unwrap();
            packet.sign(identity);
            fog(1).seal(&packet.encode(), air, AT, 512, rng)
        };
        let mut bob = bob;
        bob.link_up(link, LinkConfig::BLUETOOTH, now);
        let (air, own) = (enemy.air_id(now), alice.air_id(now));
        let claimed = announce(&identities[0], air, &mut rng);
        bob.handle_input(link, &claimed, now, &mut rng);
        assert_eq!((bob.counters().wrong_id, bob.peers().count()), (1, 0));
        let real = announce(&identities[0], own, &mut rng);
        bob.handle_input(link, &real, now, &mut rng);
        assert_eq!(bob.links().next(), Some((link, Some(alice.id()))));
    }

    proptest! {
        #[test]
        fn frames_have_few_lengths_and_none_is_longer_than_the_link_takes(
            length in 0_usize..5000,
            frame_bytes_max in 512_usize..6000,
        ) {
            let room = Fog::room(frame_bytes_max);
            let inside = vec![7; length.min(room)];
            let mut rng = ChaCha8Rng::seed_from_u64(1);
            let frame = fog(1).seal(&inside, sender(), AT, frame_bytes_max, &mut rng);
            prop_assert!(frame.len() <= frame_bytes_max);
            prop_assert!(
                frame.len() == 512 || frame.len().is_multiple_of(1024) || frame.len() == frame_bytes_max
            );
            let (packet, _) = Packet::decode(&frame).unwrap();
            prop_assert_eq!(fog(1).open(packet), Some(inside));
        }
    }
}
