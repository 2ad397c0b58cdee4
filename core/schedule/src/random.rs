//! Draws that are the same on every platform.

use rand_core::Rng;

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
