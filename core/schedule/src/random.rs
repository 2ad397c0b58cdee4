//! Draws that are the same on every platform.

use std::convert::Infallible;

use rand_core::{Rng, TryRng};

/// The random numbers of one pair of children, or of one other decision of a generation.
///
/// Each has a stream of its own that depends on nothing but the seed of the run, the generation and
/// its number: so nothing is to be saved for a run to continue, and nothing depends on the order in
/// which individuals are treated. Not for secrets.
///
/// Source: SplitMix64, Steele et al. 2014, "Fast splittable pseudorandom number generators".
#[derive(Clone, Debug)]
pub struct Stream(u64);

const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

impl Stream {
    /// The stream of `number` in `generation` of a run from `seed`.
    #[must_use]
    pub fn new(seed: u64, generation: u32, number: u32) -> Self {
        let place = (u64::from(generation) << 32) | u64::from(number);
        Self(mix(
            mix(seed ^ GOLDEN_GAMMA).wrapping_add(mix(place.wrapping_add(GOLDEN_GAMMA)))
        ))
    }

    /// A number in [0, 1), a multiple of 2⁻⁵³.
    pub fn unit(&mut self) -> f64 {
        unit(self)
    }

    /// A number below `bound`; 0 if that is 0. The bias is below `bound` · 2⁻⁶⁴.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { below(self, bound) }
    }
}

/// The finaliser of SplitMix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|word| (word >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(GOLDEN_GAMMA);
        Ok(mix(self.0))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(())
    }
}

/// A number in [0, 1), a multiple of 2⁻⁵³.
pub(crate) fn unit(rng: &mut impl Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
}

/// A number below `bound`, which must not be zero. The bias is below `bound` · 2⁻⁶⁴.
pub(crate) fn below(rng: &mut impl Rng, bound: u64) -> u64 {
    debug_assert!(bound > 0, "there is no number below zero");
    ((u128::from(rng.next_u64()) * u128::from(bound)) >> 64) as u64
}

/// Puts `items` into a random order (Fisher and Yates).
pub(crate) fn shuffle<T>(items: &mut [T], rng: &mut impl Rng) {
    for last in (1..items.len()).rev() {
        let other = below(rng, last as u64 + 1) as usize;
        items.swap(last, other);
    }
}

/// Weights that sum to one, uniform over all such vectors.
pub(crate) fn simplex<const N: usize>(rng: &mut impl Rng) -> [f64; N] {
    // libm rather than the platform's logarithm: the same bits everywhere.
    let drawn: [f64; N] = std::array::from_fn(|_| -libm::log(1.0 - unit(rng)));
    let sum: f64 = drawn.iter().sum();
    if sum > 0.0 {
        drawn.map(|weight| weight / sum)
    } else {
        [1.0 / N as f64; N]
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng;

    use super::*;

    #[test]
    fn a_stream_is_split_mix_64() {
        // The first number from the seed 1, from the generator's published C program.
        assert_eq!(Stream(1).next_u64(), 0x910a_2dec_8902_5cc1);
    }

    #[test]
    fn streams_of_neighbours_differ() {
        let mut first: Vec<u64> = Vec::new();
        for generation in 0..20 {
            for number in 0..20 {
                first.push(Stream::new(7, generation, number).next_u64());
            }
        }
        first.sort_unstable();
        first.dedup();
        assert_eq!(first.len(), 400);
        assert_ne!(
            Stream::new(7, 0, 0).next_u64(),
            Stream::new(8, 0, 0).next_u64()
        );
    }

    #[test]
    fn bytes_of_a_stream_are_its_words() {
        let mut bytes = [0; 11];
        Stream(5).fill_bytes(&mut bytes);
        let mut words = Stream(5);
        assert_eq!(bytes[..8], words.next_u64().to_le_bytes());
        assert_eq!(bytes[8..], words.next_u64().to_le_bytes()[..3]);
    }

    #[test]
    fn draws_stay_in_range_and_reach_every_value() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut seen = [false; 7];
        for _ in 0..1_000 {
            assert!((0.0..1.0).contains(&unit(&mut rng)));
            seen[below(&mut rng, 7) as usize] = true;
        }
        assert_eq!(seen, [true; 7]);
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut items: Vec<u32> = (0..50).collect();
        shuffle(&mut items, &mut rng);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn simplex_weights_sum_to_one() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for _ in 0..100 {
            let weights: [f64; 4] = simplex(&mut rng);
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            assert!(weights.iter().all(|weight| (0.0..=1.0).contains(weight)));
        }
    }
}
