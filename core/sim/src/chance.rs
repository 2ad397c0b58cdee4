//! Drawing what the simulator needs, the same on every platform.

use std::time::Duration;

use fogcompute_base::{Digest, Rng};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// The generator of a simulation: small and quick, one for each process and purpose, so that what
/// one of them draws does not change what others do.
pub type Chance = ChaCha8Rng;

const MILLION: u32 = 1_000_000;

/// A generator for one purpose of one run.
#[must_use]
pub fn chance(seed: u64, purpose: &str, number: u64) -> Chance {
    let mut bytes = Vec::with_capacity(16 + purpose.len());
    bytes.extend(seed.to_be_bytes());
    bytes.extend(number.to_be_bytes());
    bytes.extend(purpose.as_bytes());
    let seed = Digest::derive("fogcompute 2026-11 simulation: chance", &bytes);
    Chance::from_seed(*seed.as_bytes())
}

/// A number below `limit`, or zero if that is zero.
///
/// The bias of the multiplication is below 2⁻³² for the limits of a simulation.
pub fn below(rng: &mut impl Rng, limit: u64) -> u64 {
    let product = u128::from(rng.next_u64()) * u128::from(limit);
    u64::try_from(product >> 64).unwrap_or(u64::MAX)
}

/// A number of a range, its end included.
pub fn between(rng: &mut impl Rng, low: u64, high: u64) -> u64 {
    low + below(rng, high.saturating_sub(low).saturating_add(1))
}

/// True so many times in a million.
pub fn happens(rng: &mut impl Rng, ppm: u32) -> bool {
    below(rng, MILLION.into()) < ppm.into()
}

/// A waiting time with this mean and an exponential distribution, at most twenty times the mean.
pub fn exponential(rng: &mut impl Rng, mean: Duration) -> Duration {
    // From (0, 1]: the logarithm of zero is no waiting time.
    let uniform = ((rng.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
    // libm's and not the platform's, which differ in the last bit.
    let factor = (-libm::log(uniform)).min(20.0);
    let nanos = mean.as_nanos() as f64 * factor;
    Duration::from_nanos(nanos as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_and_numbers_draw_apart() {
        let first = |seed, purpose, number| chance(seed, purpose, number).next_u64();
        assert_eq!(first(1, "a", 2), first(1, "a", 2));
        for other in [first(2, "a", 2), first(1, "b", 2), first(1, "a", 3)] {
            assert_ne!(first(1, "a", 2), other);
        }
    }

    #[test]
    fn draws_keep_to_their_range_and_reach_its_ends() {
        let rng = &mut chance(1, "range", 0);
        let drawn: Vec<_> = (0..1_000).map(|_| between(rng, 3, 7)).collect();
        assert_eq!(drawn.iter().min(), Some(&3));
        assert_eq!(drawn.iter().max(), Some(&7));
        assert_eq!(below(rng, 0), 0);
        assert_eq!(between(rng, 5, 5), 5);
        assert!(!happens(rng, 0));
        assert!(happens(rng, MILLION));
    }

    #[test]
    fn events_happen_as_often_as_they_should() {
        let rng = &mut chance(1, "often", 0);
        let often = (0..100_000).filter(|_| happens(rng, 250_000)).count();
        // Four standard deviations.
        assert!((24_450..=25_550).contains(&often), "{often}");
    }

    #[test]
    fn waiting_times_have_their_mean() {
        let rng = &mut chance(1, "wait", 0);
        let mean = Duration::from_millis(100);
        let sum: Duration = (0..100_000).map(|_| exponential(rng, mean)).sum();
        let found = sum.as_secs_f64() / 100_000.0;
        // Four standard deviations of the mean of so many.
        assert!((found - 0.1).abs() < 0.0013, "{found}");
        assert_eq!(exponential(rng, Duration::ZERO), Duration::ZERO);
    }
}
