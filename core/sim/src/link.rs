//! What happens to messages on their way.

use std::num::NonZeroU64;
use std::time::Duration;

use fogcompute_base::{Instant, Rng};

use crate::chance::{exponential, happens};

/// How good the link from one process to another is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LinkConfig {
    /// Shortest time on the way.
    pub latency_min: Duration,
    /// Mean of what comes on top of it, with an exponential distribution.
    pub latency_mean: Duration,
    /// Messages of a million that never arrive.
    pub loss_ppm: u32,
    /// Messages of a million that arrive twice, the second time later.
    pub duplicate_ppm: u32,
    /// Messages of a million that others may overtake. The rest arrive in the order they were sent.
    pub reorder_ppm: u32,
    /// Bytes that go onto the way in a second, one message after the other. `None` is no limit.
    pub bytes_per_second: Option<NonZeroU64>,
}

impl LinkConfig {
    /// A link that loses, doubles and reorders nothing and takes always the same time.
    #[must_use]
    pub const fn perfect(latency: Duration) -> Self {
        Self {
            latency_min: latency,
            latency_mean: Duration::ZERO,
            loss_ppm: 0,
            duplicate_ppm: 0,
            reorder_ppm: 0,
            bytes_per_second: None,
        }
    }
}

/// How much later than others a message may come that others may overtake: so many latencies.
const REORDER_FACTOR: u32 = 8;

/// When a message arrives: not at all, once, or twice.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Arrivals {
    pub first: Option<Instant>,
    pub second: Option<Instant>,
}

/// The link from one process to another.
#[derive(Debug)]
pub(crate) struct Link {
    config: LinkConfig,
    /// When the last byte of the last message has gone onto the way.
    busy_until: Instant,
    /// When the last message arrives that nobody may overtake.
    last_arrival: Instant,
}

impl Link {
    pub(crate) fn new(config: LinkConfig) -> Self {
        Self {
            config,
            busy_until: Instant::ZERO,
            last_arrival: Instant::ZERO,
        }
    }

    pub(crate) fn set_config(&mut self, config: LinkConfig) {
        self.config = config;
    }

    /// Sends a message of so many bytes.
    pub(crate) fn carry(&mut self, now: Instant, bytes: u64, rng: &mut impl Rng) -> Arrivals {
        let config = self.config;
        let mut departure = now;
        if let Some(rate) = config.bytes_per_second {
            let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.get());
            let sending = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            departure = self.busy_until.max(now) + sending;
            self.busy_until = departure;
        }
        // A message that is lost took its time on the link all the same.
        if happens(rng, config.loss_ppm) {
            return Arrivals::default();
        }
        let mut arrival = departure + self.latency(rng);
        if happens(rng, config.reorder_ppm) {
            let span = config.latency_min + config.latency_mean;
            arrival = arrival + exponential(rng, span * REORDER_FACTOR);
        } else {
            arrival = arrival.max(self.last_arrival);
            self.last_arrival = arrival;
        }
        let second = happens(rng, config.duplicate_ppm)
            .then(|| arrival + self.latency(rng) * REORDER_FACTOR);
        Arrivals {
            first: Some(arrival),
            second,
        }
    }

    /// When the end of the connection is noticed at the other side: after all that was sent.
    pub(crate) fn hang_up(&mut self, now: Instant) -> Instant {
        (now.max(self.busy_until) + self.config.latency_min).max(self.last_arrival)
    }

    fn latency(&self, rng: &mut impl Rng) -> Duration {
        self.config.latency_min + exponential(rng, self.config.latency_mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::chance;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn arrive(config: LinkConfig, count: u64) -> Vec<Arrivals> {
        let rng = &mut chance(7, "link", 0);
        let mut link = Link::new(config);
        (0..count).map(|ms| link.carry(at(ms), 100, rng)).collect()
    }

    #[test]
    fn a_perfect_link_brings_everything_once_and_in_time() {
        let arrivals = arrive(LinkConfig::perfect(5 * MS), 100);
        for (ms, arrival) in (0..).zip(arrivals) {
            let expected = Arrivals {
                first: Some(at(ms + 5)),
                second: None,
            };
            assert_eq!(arrival, expected);
        }
    }

    #[test]
    fn loss_and_duplicates_have_their_rates() {
        let config = LinkConfig {
            loss_ppm: 100_000,
            duplicate_ppm: 200_000,
            ..LinkConfig::perfect(MS)
        };
        let arrivals = arrive(config, 100_000);
        let lost = arrivals
            .iter()
            .filter(|arrival| arrival.first.is_none())
            .count();
        let twice = arrivals
            .iter()
            .filter(|arrival| arrival.second.is_some())
            .count();
        // Four standard deviations.
        assert!((9_620..=10_380).contains(&lost), "{lost}");
        assert!((17_500..=18_500).contains(&twice), "{twice}");
        assert!(
            arrivals
                .iter()
                .all(|arrival| arrival.second.is_none() || arrival.first.is_some())
        );
    }

    #[test]
    fn some_are_overtaken_only_where_that_is_allowed() {
        let jitter = LinkConfig {
            latency_mean: 20 * MS,
            ..LinkConfig::perfect(MS)
        };
        let inversions = |config| {
            let arrivals = arrive(config, 10_000);
            arrivals
                .windows(2)
                .filter(|pair| pair[1].first < pair[0].first)
                .count()
        };
        assert_eq!(inversions(jitter), 0);
        let reordering = LinkConfig {
            reorder_ppm: 50_000,
            ..jitter
        };
        assert!(inversions(reordering) > 100);
    }

    #[test]
    fn messages_share_the_bandwidth_one_after_the_other() {
        let config = LinkConfig {
            bytes_per_second: NonZeroU64::new(1_000),
            ..LinkConfig::perfect(MS)
        };
        let rng = &mut chance(7, "link", 0);
        let mut link = Link::new(config);
        let first = |arrivals: Arrivals| arrivals.first;
        assert_eq!(first(link.carry(at(0), 500, rng)), Some(at(501)));
        assert_eq!(first(link.carry(at(0), 500, rng)), Some(at(1_001)));
        assert_eq!(link.hang_up(at(0)), at(1_001));
        assert_eq!(first(link.carry(at(2_000), 10, rng)), Some(at(2_011)));
    }

    proptest! {
        #[test]
        fn nothing_arrives_before_it_can(
            latency_min in 0..1_000_u64,
            latency_mean in 0..1_000_u64,
            rates in [0..=1_000_000_u32, 0..=1_000_000_u32, 0..=1_000_000_u32],
            rate in prop::option::of(1..10_000_u64),
            sizes in prop::collection::vec(0..10_000_u64, 1..20),
            seed: u64,
        ) {
            let config = LinkConfig {
                latency_min: Duration::from_millis(latency_min),
                latency_mean: Duration::from_millis(latency_mean),
                loss_ppm: rates[0],
                duplicate_ppm: rates[1],
                reorder_ppm: rates[2],
                bytes_per_second: rate.and_then(NonZeroU64::new),
            };
            let rng = &mut chance(seed, "link", 0);
            let mut link = Link::new(config);
            let mut sent = 0;
            for (ms, bytes) in (0..).zip(sizes) {
                sent += bytes;
                let arrivals = link.carry(at(ms), bytes, rng);
                let earliest = rate.map_or(ms, |rate| (sent * 1_000 / rate).max(ms)) + latency_min;
                for arrival in arrivals.first.into_iter().chain(arrivals.second) {
                    // A millisecond for rounding.
                    prop_assert!(arrival >= at(earliest.saturating_sub(1)));
                }
            }
        }
    }
}
