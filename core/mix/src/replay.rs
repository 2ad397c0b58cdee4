//! Replay protection.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use thiserror::Error;

/// Names a packet at one hop. It is derived from the shared secret, so nobody but the sender and the
/// hop can tell it, and a packet whose header still verifies has the same one.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct ReplayTag([u8; 16]);

impl ReplayTag {
    /// Length of a tag in bytes.
    pub const LEN: usize = 16;

    /// Takes a tag from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The tag's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for ReplayTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplayTag(..)")
    }
}

/// What a [`ReplayFilter`] says of a tag.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReplayVerdict {
    /// Not seen before; it is remembered now.
    Fresh,
    /// Seen before: drop the packet.
    Replayed,
    /// The filter cannot remember more. The packet must be dropped and the key be replaced, for a
    /// packet that is not remembered could be replayed.
    Full,
}

/// There is no memory for a [`ReplayFilter`] of that size.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("there is no memory to remember {actual} packets")]
pub struct TooManyTags {
    /// Tags it should have room for.
    pub actual: usize,
}

/// Fingerprints of a bucket: they fill one cache line of 64 bytes.
const BUCKET: usize = 16;
/// Buckets that are looked through. Beyond them a tag counts as not to be remembered.
const PROBES: usize = 16;
/// Counters of what is remembered, so that threads do not fight for one.
const COUNTERS: usize = 16;

/// Remembers the tags of all packets processed under one mix key, for all threads of a node, without
/// a lock.
///
/// It is an open-addressed table of 32-bit fingerprints in buckets of a cache line. Of several
/// threads that check the same tag at the same time, exactly one is told that it is fresh: a
/// fingerprint enters its slot by a single compare-and-swap, and slots are never emptied.
///
/// **Size.** A tag may be forgotten only together with its key, so the capacity is rate × epoch:
/// 25,000 packets/s over an epoch of 20 minutes are 30 million tags, in [`bytes`](Self::bytes) of
/// 4 × 30 million / 0.8 = 150 MB. (A Bloom filter of 1 MB, as the prototype had, holds that rate for 23 s
/// at a false-positive rate of 10⁻³; one of 108 MB holds the epoch at 10⁻⁶.) When it is full it says
/// so, and the node sheds packets until the key is replaced.
///
/// **False positives.** A fresh tag is taken for a replay if one of the fingerprints in its buckets
/// is the same: at most [`FALSE_POSITIVE_RATE_MAX`](Self::FALSE_POSITIVE_RATE_MAX) when full, a
/// packet in 8 million even if every probe were needed. Tags are placed by a secret of this filter,
/// so whoever makes packets cannot aim for a bucket.
pub struct ReplayFilter {
    buckets: Box<[[AtomicU32; BUCKET]]>,
    secret: [u64; 2],
    capacity: usize,
    counters: Box<[Counter; COUNTERS]>,
}

/// On a cache line of its own.
#[repr(align(64))]
#[derive(Default)]
struct Counter(AtomicU64);

/// Buckets for so many tags.
///
/// Up to a load of 0.8, runs of full buckets longer than `PROBES` do not occur in practice; what comes
/// after that fills the rest, as far as it finds a place.
const fn bucket_count(capacity: usize) -> usize {
    let capacity = if capacity == 0 { 1 } else { capacity };
    capacity.saturating_add(capacity / 4).div_ceil(BUCKET)
}

impl ReplayFilter {
    /// Probability that a fresh tag is called a replay: 256 fingerprints, each equal once in
    /// 2³² - 1 times.
    pub const FALSE_POSITIVE_RATE_MAX: f64 = (BUCKET * PROBES) as f64 / u32::MAX as f64;

    /// A filter with room for `capacity` tags. All its memory is allocated here, zeroed, so that the
    /// system takes it from other programs only as it fills.
    ///
    /// `secret` says where tags go. Whoever knows it could make packets that fill one bucket.
    ///
    /// # Panics
    /// If the system has not so much memory; where others say how much it is to be, take
    /// [`ReplayFilter::try_new`].
    #[must_use]
    pub fn new(capacity: usize, secret: [u64; 2]) -> Self {
        Self::try_new(capacity, secret).expect("memory for the replay filter")
    }

    /// The same.
    ///
    /// # Errors
    /// [`TooManyTags`] if the system has not so much memory.
    pub fn try_new(capacity: usize, secret: [u64; 2]) -> Result<Self, TooManyTags> {
        let buckets = bytemuck::try_zeroed_slice_box(bucket_count(capacity))
            .map_err(|()| TooManyTags { actual: capacity })?;
        Ok(Self {
            buckets,
            // Odd, so that the multiplication below loses nothing.
            secret: [secret[0], secret[1] | 1],
            capacity: capacity.max(1),
            counters: Box::default(),
        })
    }

    /// All that is remembered, for [`ReplayFilter::restore`] after a clean end.
    ///
    /// Only a filter that nobody checks any more is worth saving: what is remembered later is
    /// missing, and could be replayed.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let slots = self.buckets.iter().flatten();
        let slots = slots.flat_map(|slot| slot.load(Ordering::Relaxed).to_le_bytes());
        (self.capacity as u64)
            .to_le_bytes()
            .into_iter()
            .chain(slots)
            .collect()
    }

    /// The filter that [`ReplayFilter::to_bytes`] wrote, for the same secret. `None` if these are
    /// not the bytes of a filter.
    #[must_use]
    pub fn restore(bytes: &[u8], secret: [u64; 2]) -> Option<Self> {
        let (capacity, slots) = bytes.split_first_chunk()?;
        let capacity = usize::try_from(u64::from_le_bytes(*capacity)).ok()?;
        // Before anything is allocated for a capacity that the bytes only claim.
        if slots.len() != bucket_count(capacity).checked_mul(BUCKET * 4)? {
            return None;
        }
        let filter = Self::try_new(capacity, secret).ok()?;
        let mut count = 0;
        for (slot, bytes) in filter.buckets.iter().flatten().zip(slots.chunks_exact(4)) {
            let fingerprint = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            slot.store(fingerprint, Ordering::Relaxed);
            count += u64::from(fingerprint != 0);
        }
        filter.counters[0].0.store(count, Ordering::Relaxed);
        Some(filter)
    }

    /// What is remembered, by where it stands: for clients, which see few packets of all they have
    /// room for.
    pub(crate) fn taken_slots(&self) -> impl Iterator<Item = (usize, u32)> {
        let slots = self.buckets.iter().flatten().enumerate();
        slots
            .map(|(slot, fingerprint)| (slot, fingerprint.load(Ordering::Relaxed)))
            .filter(|(_, fingerprint)| *fingerprint != 0)
    }

    /// Puts one of [`ReplayFilter::taken_slots`] back into a filter of the same capacity and
    /// secret. `false` if there is no such slot, or something stands there.
    pub(crate) fn put_back(&self, slot: usize, fingerprint: u32) -> bool {
        let place = self.buckets.get(slot / BUCKET);
        let Some(place) = place.map(|bucket| &bucket[slot % BUCKET]) else {
            return false;
        };
        let free = fingerprint != 0 && place.load(Ordering::Relaxed) == 0;
        if free {
            place.store(fingerprint, Ordering::Relaxed);
            self.counters[0].0.fetch_add(1, Ordering::Relaxed);
        }
        free
    }

    /// Bytes of memory when every part of it has been touched.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.buckets) + size_of_val(&*self.counters)
    }

    /// Tags it has room for.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Tags remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        let counts = self.counters.iter();
        let sum: u64 = counts.map(|count| count.0.load(Ordering::Relaxed)).sum();
        usize::try_from(sum).unwrap_or(usize::MAX)
    }

    /// Whether no tag is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether so much is remembered that the key should be replaced soon: nine tenths.
    #[must_use]
    pub fn is_nearly_full(&self) -> bool {
        self.len() >= self.capacity - self.capacity / 10
    }

    /// Looks a tag up and remembers it.
    pub fn check(&self, tag: ReplayTag) -> ReplayVerdict {
        let (first, fingerprint, counter) = self.place(tag);
        for probe in 0..PROBES.min(self.buckets.len()) {
            let bucket = &self.buckets[(first + probe) % self.buckets.len()];
            for slot in bucket {
                let mut seen = slot.load(Ordering::Relaxed);
                if seen == 0 {
                    // Nothing but the fingerprint itself is published, so no ordering is needed.
                    match slot.compare_exchange(
                        0,
                        fingerprint,
                        Ordering::Relaxed,
                        Ordering::Relaxed,
                    ) {
                        Ok(_) => {
                            self.counters[counter].0.fetch_add(1, Ordering::Relaxed);
                            return ReplayVerdict::Fresh;
                        }
                        Err(other) => seen = other,
                    }
                }
                if seen == fingerprint {
                    return ReplayVerdict::Replayed;
                }
            }
        }
        ReplayVerdict::Full
    }

    /// The first bucket, the fingerprint (never 0), and the counter of a tag.
    fn place(&self, tag: ReplayTag) -> (usize, u32, usize) {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&tag.as_bytes()[at..at + 8]);
            u64::from_le_bytes(word)
        };
        let hash = (word(0) ^ self.secret[0]).wrapping_mul(self.secret[1]);
        // The high half of the product spreads a hash over any number of buckets evenly.
        let bucket = (u128::from(hash) * self.buckets.len() as u128) >> 64;
        let other = word(8);
        let fingerprint = ((other >> 32) as u32).max(1);
        (bucket as usize, fingerprint, other as usize % COUNTERS)
    }
}

impl fmt::Debug for ReplayFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayFilter")
            .field("len", &self.len())
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::{Rng, SeedableRng};

    const SECRET: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];

    fn tags(count: usize) -> Vec<ReplayTag> {
        let mut rng = ChaCha20Rng::seed_from_u64(13);
        let tag = || {
            let mut bytes = [0; ReplayTag::LEN];
            rng.fill_bytes(&mut bytes);
            ReplayTag::from_bytes(bytes)
        };
        std::iter::repeat_with(tag).take(count).collect()
    }

    #[test]
    fn more_memory_than_there_can_be_is_refused() {
        for actual in [usize::MAX, usize::MAX / 8] {
            let refused = ReplayFilter::try_new(actual, SECRET).err();
            assert_eq!(refused, Some(TooManyTags { actual }));
        }
    }

    #[test]
    fn a_tag_is_fresh_once() {
        let filter = ReplayFilter::new(1_000, SECRET);
        assert!(filter.is_empty());
        for tag in tags(1_000) {
            assert_eq!(filter.check(tag), ReplayVerdict::Fresh);
            assert_eq!(filter.check(tag), ReplayVerdict::Replayed);
        }
        assert_eq!(filter.len(), 1_000);
        for tag in tags(1_000) {
            assert_eq!(filter.check(tag), ReplayVerdict::Replayed);
        }
    }

    #[test]
    fn its_capacity_fits_with_no_false_alarm_and_beyond_it_says_that_it_is_full() {
        let filter = ReplayFilter::new(100_000, SECRET);
        assert_eq!(filter.capacity(), 100_000);
        assert!((500_000..=510_000).contains(&filter.bytes()));
        let tags = tags(200_000);
        let mut verdicts = tags.iter().map(|tag| filter.check(*tag));
        assert!(
            verdicts
                .by_ref()
                .take(89_999)
                .all(|verdict| verdict == ReplayVerdict::Fresh)
        );
        assert!(!filter.is_nearly_full());
        assert!(
            verdicts
                .by_ref()
                .take(10_001)
                .all(|verdict| verdict == ReplayVerdict::Fresh)
        );
        assert!(filter.is_nearly_full());
        let rest: Vec<_> = verdicts.collect();
        assert_eq!(rest.last(), Some(&ReplayVerdict::Full));
        // Nothing was forgotten, and a refused tag is not half remembered.
        assert!(
            tags[..100_000]
                .iter()
                .all(|tag| filter.check(*tag) == ReplayVerdict::Replayed)
        );
        assert_eq!(filter.check(tags[199_999]), ReplayVerdict::Full);
    }

    #[test]
    fn of_many_threads_exactly_one_wins_each_tag() {
        let filter = ReplayFilter::new(50_000, SECRET);
        let tags = tags(50_000);
        let fresh: usize = std::thread::scope(|scope| {
            let count = || {
                let fresh = |tag: &&ReplayTag| filter.check(**tag) == ReplayVerdict::Fresh;
                tags.iter().filter(fresh).count()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(fresh, tags.len());
        assert_eq!(filter.len(), tags.len());
    }

    #[test]
    fn a_filter_that_was_saved_remembers() {
        let filter = ReplayFilter::new(1_000, SECRET);
        let tags = tags(900);
        for tag in &tags {
            filter.check(*tag);
        }
        let bytes = filter.to_bytes();
        let restored = ReplayFilter::restore(&bytes, SECRET).unwrap();
        assert_eq!((restored.len(), restored.capacity()), (900, 1_000));
        for tag in &tags {
            assert_eq!(restored.check(*tag), ReplayVerdict::Replayed);
        }
        for wrong in [&bytes[..7], &bytes[..bytes.len() - 1], &[0xff; 8]] {
            assert!(ReplayFilter::restore(wrong, SECRET).is_none());
        }
    }

    #[test]
    fn the_smallest_filter_works() {
        let filter = ReplayFilter::new(0, SECRET);
        assert_eq!(filter.capacity(), 1);
        let full = tags(40).into_iter().map(|tag| filter.check(tag));
        assert_eq!(
            full.filter(|verdict| *verdict == ReplayVerdict::Fresh)
                .count(),
            BUCKET
        );
        assert!(format!("{filter:?}").contains("len: 16"));
    }
}
