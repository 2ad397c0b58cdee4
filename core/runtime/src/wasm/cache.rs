//! Compiled modules, the most recently used ones.

use fogcompute_base::Digest;

/// Keeps the most recently used values, bounded in number and in bytes.
///
/// The number is small (tens), so a list that is searched is faster than a map with links.
pub(super) struct ModuleCache<V> {
    /// Least recently used first.
    entries: Vec<Entry<V>>,
    entries_max: usize,
    bytes: usize,
    bytes_max: usize,
}

struct Entry<V> {
    digest: Digest,
    bytes: usize,
    value: V,
}

impl<V: Clone> ModuleCache<V> {
    pub(super) const fn new(entries_max: usize, bytes_max: usize) -> Self {
        Self {
            entries: Vec::new(),
            entries_max,
            bytes: 0,
            bytes_max,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// The value under `digest`, which becomes the most recently used.
    pub(super) fn find(&mut self, digest: Digest) -> Option<V> {
        let at = self.position(digest)?;
        self.entries[at..].rotate_left(1);
        self.entries.last().map(|entry| entry.value.clone())
    }

    /// Keeps `value`, which counts `bytes`, and drops what no longer fits.
    pub(super) fn insert(&mut self, digest: Digest, bytes: usize, value: V) {
        self.remove(digest);
        if bytes > self.bytes_max || self.entries_max == 0 {
            return;
        }
        while self.entries.len() >= self.entries_max || self.bytes + bytes > self.bytes_max {
            self.bytes -= self.entries.remove(0).bytes;
        }
        self.bytes += bytes;
        self.entries.push(Entry {
            digest,
            bytes,
            value,
        });
    }

    pub(super) fn remove(&mut self, digest: Digest) {
        if let Some(at) = self.position(digest) {
            self.bytes -= self.entries.remove(at).bytes;
        }
    }

    fn position(&self, digest: Digest) -> Option<usize> {
        self.entries.iter().position(|entry| entry.digest == digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn digest(name: u8) -> Digest {
        Digest::from_bytes([name; 32])
    }

    #[test]
    fn least_recently_used_leaves_first() {
        let mut cache = ModuleCache::new(2, 100);
        cache.insert(digest(1), 10, 'a');
        cache.insert(digest(2), 10, 'b');
        assert_eq!(cache.find(digest(1)), Some('a'));
        cache.insert(digest(3), 10, 'c');
        assert_eq!(cache.find(digest(2)), None);
        assert_eq!(cache.find(digest(1)), Some('a'));
        assert_eq!(cache.find(digest(3)), Some('c'));
    }

    #[test]
    fn bytes_are_bounded_and_what_alone_exceeds_them_is_not_kept() {
        let mut cache = ModuleCache::new(10, 100);
        for name in 0..4 {
            cache.insert(digest(name), 40, name);
        }
        assert_eq!(cache.len(), 2);
        cache.insert(digest(9), 101, 9);
        assert_eq!(cache.find(digest(9)), None);
        assert_eq!(cache.len(), 2);
    }

    #[test]
    fn removed_value_is_gone_and_its_bytes_are_free() {
        let mut cache = ModuleCache::new(10, 100);
        cache.insert(digest(1), 100, 'a');
        cache.remove(digest(1));
        cache.insert(digest(2), 100, 'b');
        assert_eq!(cache.find(digest(1)), None);
        assert_eq!(cache.find(digest(2)), Some('b'));
    }

    proptest! {
        #[test]
        fn bounds_hold_and_bytes_are_the_sum_after_any_calls(
            calls in proptest::collection::vec((0_u8..3, 0_u8..8, 0_usize..60), 0..100),
            entries_max in 0_usize..5,
        ) {
            let mut cache = ModuleCache::new(entries_max, 100);
            for (call, name, bytes) in calls {
                match call {
                    0 => cache.insert(digest(name), bytes, name),
                    1 => cache.remove(digest(name)),
                    _ => if let Some(value) = cache.find(digest(name)) {
                        prop_assert_eq!(value, name);
                    },
                }
                prop_assert!(cache.len() <= entries_max);
                prop_assert!(cache.bytes <= 100);
                prop_assert_eq!(
                    cache.bytes,
                    cache.entries.iter().map(|entry| entry.bytes).sum::<usize>()
                );
            }
        }
    }
}
