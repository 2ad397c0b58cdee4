//! Golomb-coded sets: what a peer has, in few bits.

use sha2::{Digest, Sha256};
use thiserror::Error;

/// Longest coded set, in bytes.
pub const GCS_BYTES_MAX: usize = 1024;
/// Bits of a remainder that give one false answer in a hundred.
pub const GCS_REMAINDER_BITS: u8 = 7;

/// Why bytes are not a set.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum GcsError {
    /// Remainders have 1 to 32 bits.
    #[error("remainders of {actual} bits")]
    Remainder {
        /// Bits that were given.
        actual: u8,
    },
    /// Values are below a range, which is at least 1.
    #[error("set over an empty range")]
    Range,
    /// The coded set is longer than is accepted.
    #[error("coded set of {actual} bytes exceeds {limit}")]
    TooLong {
        /// Its length.
        actual: usize,
        /// The limit.
        limit: usize,
    },
}

/// A set of packets, in which what was put is always found and something else seldom.
///
/// Each packet is a number below the range. The sorted numbers' distances, less one, are coded: the part above
/// `remainder_bits` as that many ones and a zero, then the remainder; the highest bit first, and zeros at the
/// end.
///
/// Source: Golomb 1966, "Run-length encodings"; as a filter, Putze, Sanders and Singler 2009.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Gcs {
    remainder_bits: u8,
    range: u32,
    coded: Vec<u8>,
}

impl Gcs {
    /// The set of as many of these packets as fit into `bytes_max`, the first ones first.
    #[must_use]
    pub fn new(ids: &[[u8; 16]], bytes_max: usize) -> Self {
        let bits = GCS_REMAINDER_BITS;
        let bytes_max = bytes_max.min(GCS_BYTES_MAX);
        // A number takes its remainder and about two bits.
        let mut count = ids.len().min(bytes_max * 8 / (usize::from(bits) + 2));
        loop {
            if count == 0 {
                return Self {
                    remainder_bits: bits,
                    range: 1,
                    coded: Vec::new(),
                };
            }
            let range = u32::try_from(count << bits).expect("count is at most 8 * 1024");
            let mut values: Vec<_> = ids[..count].iter().map(|id| place(id, range)).collect();
            values.sort_unstable();
            values.dedup();
            let coded = encode(&values, bits);
            if coded.len() <= bytes_max {
                return Self {
                    remainder_bits: bits,
                    range,
                    coded,
                };
            }
            count -= (count / 10).max(1);
        }
    }

    /// A set from its parts.
    ///
    /// # Errors
    /// [`GcsError`].
    pub fn from_parts(remainder_bits: u8, range: u32, coded: Vec<u8>) -> Result<Self, GcsError> {
        if !(1..=32).contains(&remainder_bits) {
            return Err(GcsError::Remainder {
                actual: remainder_bits,
            });
        }
        if range == 0 {
            return Err(GcsError::Range);
        }
        if coded.len() > GCS_BYTES_MAX {
            return Err(GcsError::TooLong {
                actual: coded.len(),
                limit: GCS_BYTES_MAX,
            });
        }
        Ok(Self {
            remainder_bits,
            range,
            coded,
        })
    }

    /// Bits of a remainder.
    #[must_use]
    pub const fn remainder_bits(&self) -> u8 {
        self.remainder_bits
    }

    /// What all numbers are below.
    #[must_use]
    pub const fn range(&self) -> u32 {
        self.range
    }

    /// The coded set.
    #[must_use]
    pub fn coded(&self) -> &[u8] {
        &self.coded
    }

    /// The numbers, sorted. At most one for every two bits of the coded set.
    #[must_use]
    pub fn values(&self) -> Vec<u32> {
        let mut bits = Bits {
            bytes: &self.coded,
            at: 0,
        };
        let mut values = Vec::new();
        let mut value = 0_u64;
        while let Some(distance) = bits.distance(self.remainder_bits) {
            value = value.saturating_add(distance);
            if value >= u64::from(self.range) {
                break;
            }
            values.push(u32::try_from(value).expect("it is below the range"));
        }
        values
    }

    /// What of these packets is not in the set, in their order.
    pub fn missing<'a, T>(
        &self,
        packets: impl Iterator<Item = (&'a [u8; 16], T)>,
    ) -> impl Iterator<Item = T> {
        let values = self.values();
        let range = self.range;
        packets
            .filter(move |(id, _)| values.binary_search(&place(id, range)).is_err())
            .map(|(_, packet)| packet)
    }
}

/// A packet's number.
fn place(id: &[u8; 16], range: u32) -> u32 {
    let digest: [u8; 32] = Sha256::digest(id).into();
    let [first, ..] = digest.as_chunks::<8>().0 else {
        unreachable!("a digest has 32 bytes");
    };
    let hash = u64::from_be_bytes(*first) & (u64::MAX >> 1);
    // Zero cannot be told from no distance.
    let place = (hash % u64::from(range)).max(1);
    u32::try_from(place).expect("it is at most the range")
}

fn encode(values: &[u32], remainder_bits: u8) -> Vec<u8> {
    let mut out = BitWriter::default();
    let mut before = 0;
    for value in values {
        let code = value - before - 1;
        before = *value;
        for _ in 0..u64::from(code) >> remainder_bits {
            out.put(true);
        }
        out.put(false);
        for bit in (0..remainder_bits).rev() {
            out.put(u64::from(code) >> bit & 1 == 1);
        }
    }
    out.bytes
}

#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    used: u8,
}

impl BitWriter {
    fn put(&mut self, bit: bool) {
        if self.used == 0 {
            self.bytes.push(0);
        }
        if bit && let Some(last) = self.bytes.last_mut() {
            *last |= 0x80 >> self.used;
        }
        self.used = (self.used + 1) % 8;
    }
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn bit(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte << (self.at % 8) & 0x80 != 0;
        self.at += 1;
        Some(bit)
    }

    /// The next distance; `None` when the bits end inside it.
    fn distance(&mut self, remainder_bits: u8) -> Option<u64> {
        let mut quotient = 0_u64;
        while self.bit()? {
            quotient += 1;
        }
        let mut code = quotient;
        for _ in 0..remainder_bits {
            code = code << 1 | u64::from(self.bit()?);
        }
        Some(code + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_empty_set_has_nothing() {
        let empty = Gcs::new(&[], 400);
        assert_eq!((empty.range(), empty.coded()), (1, &[][..]));
        let ids = [[1; 16], [2; 16]];
        let missing: Vec<_> = empty.missing(ids.iter().zip(0..)).collect();
        assert_eq!(missing, [0, 1]);
    }

    #[test]
    fn parts_without_a_meaning_are_refused() {
        for bits in [0, 33] {
            assert!(Gcs::from_parts(bits, 9, vec![]).is_err());
        }
        assert_eq!(Gcs::from_parts(7, 0, vec![]), Err(GcsError::Range));
        assert!(Gcs::from_parts(7, 1, vec![0; 1025]).is_err());
    }

    #[test]
    fn about_one_in_a_hundred_is_found_that_was_not_put() {
        let id = |n: u32| {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&n.to_be_bytes());
            id
        };
        let put: Vec<_> = (0..300).map(id).collect();
        let set = Gcs::new(&put, 400);
        let others: Vec<_> = (1000..11_000).map(id).collect();
        let missing = set.missing(others.iter().zip(0..)).count();
        assert!((9_850..=9_970).contains(&missing), "{missing}");
    }

    proptest! {
        #[test]
        fn what_was_put_is_found(
            ids in proptest::collection::vec(any::<[u8; 16]>(), 0..400), bytes_max in 0_usize..500,
        ) {
            let set = Gcs::new(&ids, bytes_max);
            prop_assert!(set.coded().len() <= bytes_max);
            let again = Gcs::from_parts(set.remainder_bits(), set.range(), set.coded().to_vec());
            prop_assert_eq!(again.as_ref(), Ok(&set));
            // As many as fit, of which about nine in ten bits are used.
            let kept = (set.range() >> GCS_REMAINDER_BITS) as usize;
            let fit = ids.len().min(bytes_max * 8 / 9);
            prop_assert!(kept == fit || kept * 10 >= fit * 7, "{} of {}", kept, fit);
            prop_assert_eq!(set.missing(ids[..kept].iter().map(|id| (id, ()))).count(), 0);
        }

        #[test]
        fn any_bits_are_read_without_panic(
            bits in 1_u8..=32, range in 1_u32.., coded in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let set = Gcs::from_parts(bits, range, coded).unwrap();
            let values = set.values();
            prop_assert!(values.is_sorted());
            prop_assert!(values.iter().all(|value| *value < range));
        }
    }
}
