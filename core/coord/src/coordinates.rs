//! Where nodes are, in milliseconds.

use std::time::Duration;

use fogcompute_base::Rng;
use fogcompute_base::wire::{DecodeError, Reader, Writer};
use thiserror::Error;

/// Longest round trip that is taken for a measurement, in milliseconds. What takes longer is no
/// distance: somebody was asleep, or lies.
pub const RTT_MS_MAX: f64 = 60_000.0;

/// Farthest that a coordinate may be from the origin along each axis, and its greatest height, in
/// milliseconds.
pub const POSITION_MS_MAX: f64 = 60_000.0;

/// Least height, in milliseconds: the last stretch to any machine takes some time.
pub const HEIGHT_MS_MIN: f64 = 0.01;

/// Height of a coordinate of which nothing is known, in milliseconds. Heights change by shares of what
/// they are, so one that began at the least would hardly rise.
const HEIGHT_MS_START: f64 = 1.0;

/// Farthest that one measurement moves a coordinate, in milliseconds.
pub const MOVE_MS_MAX: f64 = 100.0;

/// Greatest estimate of its own error that a coordinate has; a new one has it.
pub const ERROR_MAX: f64 = 1.5;

/// Least: nobody is so sure that others' measurements say nothing to him.
pub const ERROR_MIN: f64 = 0.01;

/// Share of the way that a measurement moves a coordinate of which nothing is known (c_c).
const MOVE_GAIN: f64 = 0.25;

/// Weight of a measurement in the estimate of the error (c_e).
const ERROR_GAIN: f64 = 0.25;

/// Round trips that [`RoundTrips`] keeps.
pub const ROUND_TRIPS_KEPT: usize = 4;

const AXES: usize = 3;

/// Why numbers are not a coordinate.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum CoordinateError {
    /// It is not a number, or farther from the origin than [`POSITION_MS_MAX`].
    #[error("position of {millis} ms is not within {POSITION_MS_MAX} ms")]
    Position {
        /// What was given.
        millis: f64,
    },
    /// It is not a number from [`HEIGHT_MS_MIN`] to [`POSITION_MS_MAX`].
    #[error("height of {millis} ms is not from {HEIGHT_MS_MIN} to {POSITION_MS_MAX} ms")]
    Height {
        /// What was given.
        millis: f64,
    },
    /// It is not a number from [`ERROR_MIN`] to [`ERROR_MAX`].
    #[error("relative error of {error} is not from {ERROR_MIN} to {ERROR_MAX}")]
    Error {
        /// What was given.
        error: f64,
    },
}

/// Why a measurement is not used. The coordinate stays as it was.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum SampleError {
    /// The round trip took no time, or less.
    #[error("round trip of {millis} ms")]
    NotPositive {
        /// What was given.
        millis: f64,
    },
    /// The round trip is not a number, or took longer than [`RTT_MS_MAX`].
    #[error("round trip of {millis} ms is not within {RTT_MS_MAX} ms")]
    TooLong {
        /// What was given.
        millis: f64,
    },
}

/// A node's place in a space in which distances are round trip times.
///
/// Three axes hold what the network's core contributes, the height what the way to it does. Each
/// measurement of a round trip to a peer moves the coordinate a little, as a spring between the two
/// would, by more where the peer is sure of its place and this one is not.
///
/// Source: Dabek et al. 2004, "Vivaldi: a decentralized network coordinate system", figure 3
/// (adaptive timestep) and §5.4 (height).
///
/// | bytes | item |
/// |---|---|
/// | 1 | version, 1 |
/// | 3 × 4 | position, microseconds, `i32`, at most 60 s either way |
/// | 4 | height, microseconds, `u32`, from 10 to 60 s |
/// | 4 | relative error, millionths, `u32`, from 10,000 to 1,500,000 |
///
/// Whole numbers, so that there is one encoding and none that is not a number.
///
/// # Security
/// A node that lies about its place or delays its answers moves those that believe it, at most
/// [`MOVE_MS_MAX`] each time. Coordinates are for finding who is near, not for proving it.
///
/// ```
/// use fogcompute_base::OsEntropy;
/// use fogcompute_coord::Coordinate;
///
/// let (mut here, there) = (Coordinate::default(), Coordinate::default());
/// for _ in 0..100 {
///     here.update(20.0, &there, &mut OsEntropy)?;
/// }
/// assert!((here.distance_ms(&there) - 20.0).abs() < 0.5);
/// # Ok::<(), fogcompute_coord::SampleError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coordinate {
    position: [f64; AXES],
    height: f64,
    error: f64,
}

impl Default for Coordinate {
    /// At the origin, of which nothing is known.
    fn default() -> Self {
        Self {
            position: [0.0; AXES],
            height: HEIGHT_MS_START,
            error: ERROR_MAX,
        }
    }
}

impl Coordinate {
    /// Length of its bytes.
    pub const LEN: usize = 1 + 4 * AXES + 4 + 4;

    const VERSION: u8 = 1;

    /// A coordinate from its numbers: milliseconds, milliseconds, and a share of the distance.
    ///
    /// # Errors
    /// [`CoordinateError`].
    pub fn new(position: [f64; AXES], height: f64, error: f64) -> Result<Self, CoordinateError> {
        for millis in position {
            if !(-POSITION_MS_MAX..=POSITION_MS_MAX).contains(&millis) {
                return Err(CoordinateError::Position { millis });
            }
        }
        if !(HEIGHT_MS_MIN..=POSITION_MS_MAX).contains(&height) {
            return Err(CoordinateError::Height { millis: height });
        }
        if !(ERROR_MIN..=ERROR_MAX).contains(&error) {
            return Err(CoordinateError::Error { error });
        }
        Ok(Self {
            position,
            height,
            error,
        })
    }

    /// Where it is along each axis, in milliseconds.
    #[must_use]
    pub const fn position(&self) -> [f64; AXES] {
        self.position
    }

    /// How long the way to the network's core is, in milliseconds.
    #[must_use]
    pub const fn height(&self) -> f64 {
        self.height
    }

    /// By which share of a distance it expects to be wrong.
    #[must_use]
    pub const fn error(&self) -> f64 {
        self.error
    }

    /// The round trip time to expect between two, in milliseconds. Between a coordinate and itself
    /// it is twice the height, so do not ask for it.
    #[must_use]
    pub fn distance_ms(&self, other: &Self) -> f64 {
        self.length_to(other) + self.height + other.height
    }

    /// Learns from a round trip to `peer`, which said where it is.
    ///
    /// `rng` chooses a direction where both are at one place.
    ///
    /// # Errors
    /// [`SampleError`].
    pub fn update(
        &mut self,
        rtt_ms: f64,
        peer: &Self,
        rng: &mut (impl Rng + ?Sized),
    ) -> Result<(), SampleError> {
        if rtt_ms <= 0.0 {
            return Err(SampleError::NotPositive { millis: rtt_ms });
        }
        if rtt_ms.is_nan() || rtt_ms > RTT_MS_MAX {
            return Err(SampleError::TooLong { millis: rtt_ms });
        }
        let (length, heights) = (self.length_to(peer), self.height + peer.height);
        let distance = length + heights;
        let weight = self.error / (self.error + peer.error);

        // The smallest number there is may be a round trip, and its share of anything infinite.
        let wrong_by = ((distance - rtt_ms).abs() / rtt_ms).min(ERROR_MAX);
        let learned = ERROR_GAIN * weight;
        self.error =
            (wrong_by * learned + self.error * (1.0 - learned)).clamp(ERROR_MIN, ERROR_MAX);

        let force = MOVE_GAIN * weight * (rtt_ms - distance);
        let force = force.clamp(-MOVE_MS_MAX, MOVE_MS_MAX);
        // Along the line between the two, at whose ends the heights stand: whoever should be farther
        // away rises too, and whoever should be nearer sinks.
        let (toward, rise) = if length > 0.0 {
            let apart = |axis: usize| self.position[axis] - peer.position[axis];
            (
                std::array::from_fn(|axis| apart(axis) / distance),
                heights / distance,
            )
        } else {
            (direction(rng), 0.0)
        };
        for (place, part) in self.position.iter_mut().zip(toward) {
            *place = (*place + force * part).clamp(-POSITION_MS_MAX, POSITION_MS_MAX);
        }
        self.height = (self.height + force * rise).clamp(HEIGHT_MS_MIN, POSITION_MS_MAX);
        Ok(())
    }

    fn length_to(&self, other: &Self) -> f64 {
        let parts = self.position.iter().zip(other.position);
        let apart = parts.map(|(here, there)| here - there);
        apart.map(|part| part * part).sum::<f64>().sqrt()
    }

    /// The coordinate as bytes, to the microsecond.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut out = Writer::new();
        out.u8(Self::VERSION);
        for millis in self.position {
            out.u32(((millis * 1e3).round() as i32).cast_unsigned());
        }
        out.u32((self.height * 1e3).round() as u32);
        out.u32((self.error * 1e6).round() as u32);
        let mut bytes = [0; Self::LEN];
        bytes.copy_from_slice(&out.finish());
        bytes
    }

    /// Reads what [`Coordinate::encode`] wrote.
    ///
    /// # Errors
    /// Any [`DecodeError`]; [`DecodeError::Unknown`] for numbers outside their range.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != Self::VERSION {
            return Err(DecodeError::Unknown {
                at: 0,
                value: version.into(),
            });
        }
        let mut number = |low: i64, high: i64, signed: bool| {
            let (at, raw) = (reader.position(), reader.u32()?);
            let value = if signed {
                i64::from(raw.cast_signed())
            } else {
                i64::from(raw)
            };
            if (low..=high).contains(&value) {
                return Ok(value as f64);
            }
            let value = raw.into();
            Err(DecodeError::Unknown { at, value })
        };
        let farthest = (POSITION_MS_MAX * 1e3) as i64;
        let mut position = [0.0; AXES];
        for place in &mut position {
            *place = number(-farthest, farthest, true)? / 1e3;
        }
        let height = number((HEIGHT_MS_MIN * 1e3) as i64, farthest, false)? / 1e3;
        let error = number((ERROR_MIN * 1e6) as i64, (ERROR_MAX * 1e6) as i64, false)? / 1e6;
        reader.finish()?;
        Ok(Self {
            position,
            height,
            error,
        })
    }
}

/// The last few round trips to one peer, of which the shortest says how far it is: whatever was in the
/// way of a message only made it later.
///
/// Source: Ledlie, Gardner, Seltzer 2007, "Network coordinates in the wild", §3.2 (a moving percentile
/// over four samples).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RoundTrips {
    latest: [Option<Duration>; ROUND_TRIPS_KEPT],
    next: usize,
}

impl RoundTrips {
    /// Adds one, in place of the oldest if there are [`ROUND_TRIPS_KEPT`]. Returns the shortest.
    pub fn push(&mut self, round_trip: Duration) -> Duration {
        self.latest[self.next] = Some(round_trip);
        self.next = (self.next + 1) % ROUND_TRIPS_KEPT;
        self.shortest().unwrap_or(round_trip)
    }

    /// The shortest of them, if there is one.
    #[must_use]
    pub fn shortest(&self) -> Option<Duration> {
        self.latest.iter().flatten().min().copied()
    }
}

/// A random direction: a point of the unit sphere, uniformly.
fn direction(rng: &mut (impl Rng + ?Sized)) -> [f64; AXES] {
    loop {
        // In the cube, until it is in the ball and not at its centre: a half of them are.
        let point: [f64; AXES] = std::array::from_fn(|_| {
            (rng.next_u64() >> 11) as f64 * (2.0 / (1_u64 << 53) as f64) - 1.0
        });
        let length = point.iter().map(|part| part * part).sum::<f64>().sqrt();
        if (1e-3..=1.0).contains(&length) {
            return point.map(|part| part / length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    fn rng() -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(7)
    }

    fn below(bound: usize, rng: &mut ChaCha8Rng) -> usize {
        (rng.next_u64() % bound as u64) as usize
    }

    fn is_valid(it: &Coordinate) -> bool {
        Coordinate::new(it.position, it.height, it.error) == Ok(*it)
    }

    #[test]
    fn the_shortest_of_the_last_round_trips_counts() {
        let millis = Duration::from_millis;
        let mut trips = RoundTrips::default();
        assert_eq!(trips.shortest(), None);
        for (millis_taken, shortest) in [(20, 20), (5, 5), (900, 5), (8, 5), (9, 5), (30, 8)] {
            assert_eq!(trips.push(millis(millis_taken)), millis(shortest));
            assert_eq!(trips.shortest(), Some(millis(shortest)));
        }
    }

    /// Lets everybody measure random others, and gives the median of the relative errors of all
    /// distances.
    fn median_error_after(
        rounds: usize,
        nodes: &mut [Coordinate],
        rtt: impl Fn(usize, usize) -> f64,
    ) -> f64 {
        let mut rng = rng();
        for _ in 0..rounds {
            for here in 0..nodes.len() {
                let there = below(nodes.len(), &mut rng);
                if here != there {
                    let peer = nodes[there];
                    nodes[here]
                        .update(rtt(here, there), &peer, &mut rng)
                        .unwrap();
                }
            }
        }
        let mut errors = Vec::new();
        for here in 0..nodes.len() {
            for there in 0..here {
                let expected = rtt(here, there);
                let found = nodes[here].distance_ms(&nodes[there]);
                errors.push((found - expected).abs() / expected);
            }
        }
        errors.sort_unstable_by(f64::total_cmp);
        errors[errors.len() / 2]
    }

    #[test]
    fn places_in_space_are_found() {
        // Machines in a box of 200 ms each way, each a few milliseconds from the core.
        let mut rng = rng();
        let truth: Vec<_> = (0..100)
            .map(|_| {
                let mut axis = || below(200_000, &mut rng) as f64 / 1e3;
                let position = [axis(), axis(), axis()];
                let height = HEIGHT_MS_MIN + axis() / 20.0;
                Coordinate::new(position, height, ERROR_MIN).unwrap()
            })
            .collect();
        let rtt = |here: usize, there: usize| truth[here].distance_ms(&truth[there]);
        let mut nodes = vec![Coordinate::default(); 100];
        let before = median_error_after(0, &mut nodes, rtt);
        let after = median_error_after(500, &mut nodes, rtt);
        assert!(before > 0.9 && after < 0.02, "{before} {after}");
        assert!(nodes.iter().all(|node| node.error < 0.2));
    }

    #[test]
    fn what_is_far_from_everybody_is_high() {
        // Two machines behind slow lines, 100 ms from the core each; the others are 1 ms from it.
        // No position in space can be that far from all and from each other.
        let stretch = |node: usize| if node < 2 { 100.0 } else { 1.0 };
        let mut nodes = vec![Coordinate::default(); 30];
        let rtt = |here: usize, there: usize| stretch(here) + stretch(there);
        let error = median_error_after(400, &mut nodes, rtt);
        assert!(error < 0.25, "{error}");
        let low = nodes[2..]
            .iter()
            .map(Coordinate::height)
            .fold(0.0, f64::max);
        assert!(nodes[0].height > 3.0 * low && nodes[1].height > 3.0 * low);
    }

    #[test]
    fn the_least_error_counts_most() {
        let at = |millis, error| Coordinate::new([millis, 0.0, 0.0], 1.0, error).unwrap();
        let moved = |own, peer| {
            let mut here = at(0.0, own);
            here.update(20.0, &at(100.0, peer), &mut rng()).unwrap();
            (here.position[0], here.error)
        };
        let (unsure, _) = moved(ERROR_MAX, ERROR_MIN);
        let (equal, _) = moved(1.0, 1.0);
        let (sure, _) = moved(ERROR_MIN, ERROR_MAX);
        // It expected 102 ms: a quarter of the 82 that are too many, along 100 of 102.
        assert!((equal - 0.5 * 0.25 * 82.0 * 100.0 / 102.0).abs() < 1e-9);
        assert!(unsure > 1.9 * equal && sure < 0.1 * equal);
    }

    #[test]
    fn hostile_measurements_are_refused_and_change_nothing() {
        let mut here = Coordinate::default();
        let peer = Coordinate::default();
        let mut refused = |rtt| {
            let before = here;
            let error = here.update(rtt, &peer, &mut rng()).unwrap_err();
            assert_eq!(here, before);
            error
        };
        for millis in [0.0, -1.0, f64::NEG_INFINITY] {
            assert_eq!(refused(millis), SampleError::NotPositive { millis });
        }
        for millis in [60_000.1, 3_600_000.0, f64::INFINITY] {
            assert_eq!(refused(millis), SampleError::TooLong { millis });
        }
        assert!(matches!(refused(f64::NAN), SampleError::TooLong { .. }));
    }

    #[test]
    fn numbers_out_of_range_are_no_coordinate() {
        for millis in [f64::NAN, f64::INFINITY, 60_001.0, -60_001.0] {
            assert!(matches!(
                Coordinate::new([0.0, millis, 0.0], 1.0, 1.0),
                Err(CoordinateError::Position { .. })
            ));
        }
        for millis in [f64::NAN, 0.0, -1.0, 60_001.0] {
            assert!(matches!(
                Coordinate::new([0.0; 3], millis, 1.0),
                Err(CoordinateError::Height { .. })
            ));
        }
        for error in [f64::NAN, 0.0, -1.0, 1.6] {
            assert!(matches!(
                Coordinate::new([0.0; 3], 1.0, error),
                Err(CoordinateError::Error { .. })
            ));
        }
    }

    #[test]
    fn bytes_are_those_of_the_table() {
        let it = Coordinate::new([1.5, -2.0, 0.0], 0.25, 0.5).unwrap();
        let bytes = [
            1, 0, 0, 0x05, 0xdc, 0xff, 0xff, 0xf8, 0x30, 0, 0, 0, 0, 0, 0, 0, 0xfa, 0, 0x07, 0xa1,
            0x20,
        ];
        assert_eq!(it.encode(), bytes);
        assert_eq!(Coordinate::decode(&bytes), Ok(it));
        let mut far = bytes;
        far[1] = 0x7f;
        assert_eq!(
            Coordinate::decode(&far),
            Err(DecodeError::Unknown {
                at: 1,
                value: 0x7f00_05dc
            })
        );
        let mut flat = bytes;
        flat[15..17].copy_from_slice(&[0, 9]);
        assert_eq!(
            Coordinate::decode(&flat),
            Err(DecodeError::Unknown { at: 13, value: 9 })
        );
        assert_eq!(
            Coordinate::decode(&[&bytes[..], &[0]].concat()),
            Err(DecodeError::Trailing { count: 1 })
        );
    }

    fn any_coordinate() -> impl Strategy<Value = Coordinate> {
        let axis = || prop_oneof![-60_000.0..=60_000.0, -1.0..1.0, Just(0.0)];
        let height = prop_oneof![Just(HEIGHT_MS_MIN), HEIGHT_MS_MIN..=60_000.0];
        ([axis(), axis(), axis()], height, ERROR_MIN..=ERROR_MAX)
            .prop_map(|(position, height, error)| Coordinate::new(position, height, error).unwrap())
    }

    proptest! {
        /// Whatever is measured to whomever, the coordinate stays one, and moves no farther than
        /// it may.
        #[test]
        fn no_measurement_leads_out_of_the_space(
            mut here in any_coordinate(),
            samples in proptest::collection::vec((any::<f64>(), any_coordinate()), 0..40),
            seed in any::<u64>(),
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            for (rtt, peer) in samples {
                let before = here;
                // Any bits at all, and what is a measurement.
                for rtt in [rtt, rtt.abs() % 1e5] {
                    let _ = here.update(rtt, &peer, &mut rng);
                    prop_assert!(is_valid(&here));
                }
                prop_assert!(before.length_to(&here) <= 2.0 * MOVE_MS_MAX + 1e-6);
                prop_assert!((before.height - here.height).abs() <= 2.0 * MOVE_MS_MAX + 1e-6);
            }
        }

        /// Distances are a metric, but for that of a place to itself.
        #[test]
        fn distances_are_the_same_both_ways_and_no_way_round_is_shorter(
            a in any_coordinate(), b in any_coordinate(), c in any_coordinate(),
        ) {
            prop_assert!((a.distance_ms(&b) - b.distance_ms(&a)).abs() < 1e-6);
            prop_assert!(a.distance_ms(&c) <= a.distance_ms(&b) + b.distance_ms(&c) + 1e-6);
            prop_assert!(a.distance_ms(&b) > 0.0);
        }

        #[test]
        fn coordinates_survive_their_bytes_to_the_microsecond(it in any_coordinate()) {
            let bytes = it.encode();
            let again = Coordinate::decode(&bytes).unwrap();
            prop_assert!(is_valid(&again));
            prop_assert!(it.length_to(&again) < 0.001);
            prop_assert_eq!(again.encode(), bytes);
        }

        #[test]
        fn foreign_bytes_are_refused_or_the_only_encoding(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..30),
            version in any::<bool>(),
        ) {
            if version && let Some(first) = bytes.first_mut() {
                *first = 1;
            }
            if let Ok(it) = Coordinate::decode(&bytes) {
                prop_assert!(is_valid(&it));
                prop_assert_eq!(&it.encode()[..], &bytes[..]);
            }
        }
    }
}
