//! The symmetric half of `fog-sphinx/1`: key derivation, stream, tag, wide block.

use aes::cipher::{KeyIvInit, StreamCipher};
use chacha20::ChaCha20;
use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::geometry::{Geometry, MAC_BYTES, Suite};
use crate::key::PrivateKey;

// Only encryption is needed for counter mode, so the inverse key schedule is not computed.
type Aes128Ctr = ctr::Ctr128BE<aes::Aes128Enc>;

/// The left half of the wide block, and of every payload.
pub(crate) const LEFT_BYTES: usize = 32;

const HOP_DOMAIN: &[u8] = b"fog-sphinx/1 hop keys";
const PAYLOAD_DOMAIN: &[u8] = b"fog-sphinx/1 payload keys";
const SCALAR_DOMAIN: &[u8] = b"fog-sphinx/1 ephemeral scalars";

/// What one hop and the sender share, from one Diffie-Hellman.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct HopKeys {
    stream: [u8; 32],
    mac: [u8; 32],
    pub(crate) payload: [u8; 32],
    pub(crate) replay_tag: [u8; 16],
}

impl HopKeys {
    /// The first 112 bytes of the BLAKE3 XOF keyed with `shared` over domain, geometry, `point` and
    /// `public`.
    ///
    /// Point and public key are bound because X25519 ignores a point's top bit and all of its
    /// small-order component: from the shared secret alone, a changed point would give the keys and
    /// the replay tag of the original (or another tag for a packet that still verifies).
    pub(crate) fn derive(
        geometry: Geometry,
        shared: &[u8; 32],
        point: &[u8; 32],
        public: &[u8; 32],
    ) -> Self {
        let mut keys = Self {
            stream: [0; 32],
            mac: [0; 32],
            payload: [0; 32],
            replay_tag: [0; 16],
        };
        let mut output = Zeroizing::new([0; 112]);
        blake3::Hasher::new_keyed(shared)
            .update(HOP_DOMAIN)
            .update(&geometry.label())
            .update(point)
            .update(public)
            .finalize_xof()
            .fill(&mut *output);
        keys.stream.copy_from_slice(&output[..32]);
        keys.mac.copy_from_slice(&output[32..64]);
        keys.payload.copy_from_slice(&output[64..96]);
        keys.replay_tag.copy_from_slice(&output[96..]);
        keys
    }

    /// XORs the header's key stream into `bytes`, from its start.
    pub(crate) fn stream(&self, geometry: Geometry, bytes: &mut [u8]) {
        stream(geometry.suite(), &self.stream, bytes);
    }

    /// The tag of frame, point and routing blocks.
    pub(crate) fn tag(&self, header: &[u8]) -> [u8; MAC_BYTES] {
        let mut tag = [0; MAC_BYTES];
        tag.copy_from_slice(&blake3::keyed_hash(&self.mac, header).as_bytes()[..MAC_BYTES]);
        tag
    }

    /// Whether `tag` is that of `header`. Constant time.
    pub(crate) fn verifies(&self, header: &[u8], tag: &[u8]) -> Choice {
        self.tag(header).ct_eq(tag)
    }
}

/// Whether all bytes are zero. Constant time.
fn is_zero(bytes: &[u8]) -> Choice {
    bytes.iter().fold(0, |seen, byte| seen | byte).ct_eq(&0)
}

/// Fills `scalars` from a seed. They are clamped where they are used.
pub(crate) fn expand_scalars(seed: &[u8; 32], scalars: &mut [[u8; 32]]) {
    blake3::Hasher::new_keyed(seed)
        .update(SCALAR_DOMAIN)
        .finalize_xof()
        .fill(scalars.as_flattened_mut());
}

/// XORs the suite's key stream into `bytes`. AES-128 takes the first half of the key as its key and
/// the second as the first counter block; ChaCha20 takes all of it and a zero nonce.
fn stream(suite: Suite, key: &[u8; 32], bytes: &mut [u8]) {
    match suite {
        Suite::Aes128 => {
            let (key, counter) = key.split_at(16);
            let key: &[u8; 16] = key.try_into().expect("half of 32 bytes");
            let counter: &[u8; 16] = counter.try_into().expect("half of 32 bytes");
            Aes128Ctr::new(key.into(), counter.into()).apply_keystream(bytes);
        }
        Suite::ChaCha20 => ChaCha20::new(key.into(), &[0; 12].into()).apply_keystream(bytes),
    }
}

fn xor(left: &mut [u8], right: &[u8]) {
    for (left, right) in left.iter_mut().zip(right) {
        *left ^= right;
    }
}

/// The wide block cipher of the payload: LIONESS over the suite's stream cipher and keyed BLAKE3.
///
/// Whoever changes one bit of a block changes all of it, unpredictably, which is what makes tagging
/// a payload useless. The right part has whole BLAKE3 chunks, which hashes fastest.
///
/// Source: Anderson and Biham 1996, "Two Practical and Provably Secure Block Ciphers: BEAR and
/// LION".
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct WideBlock {
    keys: [[u8; 32]; 4],
    #[zeroize(skip)]
    suite: Suite,
}

impl WideBlock {
    /// Four keys: the first 128 bytes of the BLAKE3 XOF keyed with `seed`.
    pub(crate) fn new(geometry: Geometry, seed: &[u8; 32]) -> Self {
        let mut block = Self {
            keys: [[0; 32]; 4],
            suite: geometry.suite(),
        };
        blake3::Hasher::new_keyed(seed)
            .update(PAYLOAD_DOMAIN)
            .update(&geometry.label())
            .finalize_xof()
            .fill(block.keys.as_flattened_mut());
        block
    }

    pub(crate) fn encrypt(&self, bytes: &mut [u8]) {
        let (left, right) = bytes.split_at_mut(LEFT_BYTES);
        self.stir_right(0, left, right);
        self.stir_left(1, left, right);
        self.stir_right(2, left, right);
        self.stir_left(3, left, right);
    }

    pub(crate) fn decrypt(&self, bytes: &mut [u8]) {
        let (left, right) = bytes.split_at_mut(LEFT_BYTES);
        self.stir_left(3, left, right);
        self.stir_right(2, left, right);
        self.stir_left(1, left, right);
        self.stir_right(0, left, right);
    }

    fn stir_right(&self, round: usize, left: &[u8], right: &mut [u8]) {
        let mut key = Zeroizing::new(self.keys[round]);
        xor(&mut *key, left);
        stream(self.suite, &key, right);
    }

    fn stir_left(&self, round: usize, left: &mut [u8], right: &[u8]) {
        xor(
            left,
            blake3::keyed_hash(&self.keys[round], right).as_bytes(),
        );
    }
}

/// Puts a message into a payload block: 28 zero bytes, its length, the message, zero bytes.
///
/// The message must fit.
pub(crate) fn seal(block: &mut [u8], message: &[u8]) {
    let length = u32::try_from(message.len()).expect("payloads have at most 64 KiB");
    block[..28].fill(0);
    block[28..LEFT_BYTES].copy_from_slice(&length.to_be_bytes());
    let (start, padding) = block[LEFT_BYTES..].split_at_mut(message.len());
    start.copy_from_slice(message);
    padding.fill(0);
}

/// The message's length, if the block opened to what [`seal`] wrote.
pub(crate) fn sealed_length(block: &[u8]) -> Option<usize> {
    let (zeros, rest) = block.split_at(28);
    let (length, message) = rest.split_at(4);
    let length = u32::from_be_bytes(length.try_into().expect("four bytes"));
    let length = usize::try_from(length).ok()?;
    (bool::from(is_zero(zeros)) && length <= message.len()).then_some(length)
}

/// Where a key's replay filter puts tags.
pub(crate) fn replay_secret(key: &PrivateKey) -> [u64; 2] {
    let bytes = blake3::derive_key("fogcompute mix 2026 replay filter", key.secret());
    let word = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(word)
    };
    [word(0), word(8)]
}

/// What orders the packets of one tick.
pub(crate) fn order_seed(key: &PrivateKey) -> [u8; 32] {
    blake3::derive_key("fogcompute mix 2026 order of a tick", key.secret())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SUITES: [Suite; 2] = [Suite::Aes128, Suite::ChaCha20];

    fn unhex(text: &str) -> Vec<u8> {
        let digits = (0..text.len()).step_by(2);
        digits
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn the_streams_are_the_published_ones() {
        // NIST SP 800-38A F.5.1, AES-128 in counter mode, first two blocks.
        let key: [u8; 32] =
            unhex("2b7e151628aed2a6abf7158809cf4f3cf0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
                .try_into()
                .unwrap();
        let mut bytes = unhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
        stream(Suite::Aes128, &key, &mut bytes);
        assert_eq!(
            bytes,
            unhex("874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff")
        );
        // RFC 8439 appendix A.1, test vector 1: zero key and nonce, counter 0.
        let mut bytes = [0; 32];
        stream(Suite::ChaCha20, &[0; 32], &mut bytes);
        assert_eq!(
            bytes[..],
            unhex("76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7")
        );
    }

    #[test]
    fn every_input_of_the_key_derivation_counts() {
        let derive = |geometry, shared: u8, point: u8, public: u8| {
            let keys = HopKeys::derive(geometry, &[shared; 32], &[point; 32], &[public; 32]);
            [keys.stream, keys.mac, keys.payload].concat()
        };
        let base = derive(Geometry::DEFAULT, 1, 2, 3);
        for other in [
            derive(Geometry::DATAGRAM, 1, 2, 3),
            derive(Geometry::DEFAULT.with_suite(Suite::ChaCha20), 1, 2, 3),
            derive(Geometry::DEFAULT, 9, 2, 3),
            derive(Geometry::DEFAULT, 1, 9, 3),
            derive(Geometry::DEFAULT, 1, 2, 9),
        ] {
            assert_ne!(base, other);
        }
        let parts: Vec<_> = base.chunks(32).collect();
        assert!(parts[0] != parts[1] && parts[1] != parts[2]);
    }

    #[test]
    fn a_flipped_bit_changes_about_half_of_the_opened_block() {
        for suite in SUITES {
            let geometry = Geometry::DATAGRAM.with_suite(suite);
            let cipher = WideBlock::new(geometry, &[1; 32]);
            let mut block = vec![0; 32 + 1024];
            cipher.encrypt(&mut block);
            for bit in (0..block.len() * 8).step_by(251) {
                let mut changed = block.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                cipher.decrypt(&mut changed);
                let ones: u32 = changed.iter().map(|byte| byte.count_ones()).sum();
                // 8,448 fair bits: mean 4,224, standard deviation 46.
                assert!((3_900..4_550).contains(&ones), "{suite:?} {bit} {ones}");
            }
        }
    }

    #[test]
    fn a_block_that_does_not_open_has_no_length() {
        let mut block = vec![7; 32 + 1024];
        assert_eq!(sealed_length(&block), None);
        seal(&mut block, b"fog");
        assert_eq!(sealed_length(&block), Some(3));
        assert_eq!(&block[32..36], b"fog\0");
        for at in 0..28 {
            let mut changed = block.clone();
            changed[at] = 0x80;
            assert_eq!(sealed_length(&changed), None);
        }
        block[28..32].copy_from_slice(&1025_u32.to_be_bytes());
        assert_eq!(sealed_length(&block), None);
    }

    proptest! {
        #[test]
        fn what_is_encrypted_decrypts_to_itself_and_the_other_way_round(
            seed in any::<[u8; 32]>(), fill in any::<u8>(), kib in 1_usize..5,
        ) {
            for suite in SUITES {
                let geometry = Geometry::new(3, kib * 1024).unwrap().with_suite(suite);
                let cipher = WideBlock::new(geometry, &seed);
                let plain = vec![fill; 32 + kib * 1024];
                let mut block = plain.clone();
                cipher.encrypt(&mut block);
                prop_assert_ne!(&block, &plain);
                cipher.decrypt(&mut block);
                prop_assert_eq!(&block, &plain);
                cipher.decrypt(&mut block);
                cipher.encrypt(&mut block);
                prop_assert_eq!(&block, &plain);
            }
        }
    }
}
