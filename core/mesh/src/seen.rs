//! What was seen already.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use fogcompute_base::Instant;

/// Remembers keys for a time, and no more than so many: the oldest are forgotten first.
#[derive(Debug)]
pub(crate) struct Seen<K> {
    ttl: Duration,
    capacity: usize,
    until: BTreeMap<K, Instant>,
    order: VecDeque<(Instant, K)>,
}

impl<K: Clone + Ord> Seen<K> {
    pub(crate) const fn new(capacity: usize, ttl: Duration) -> Self {
        Self {
            ttl,
            capacity,
            until: BTreeMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Whether the key is new; it is not, from now on.
    pub(crate) fn insert(&mut self, key: K, now: Instant) -> bool {
        self.expire(now);
        if self.until.contains_key(&key) {
            return false;
        }
        if self.until.len() >= self.capacity
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.until.remove(&oldest);
        }
        let until = now + self.ttl;
        self.until.insert(key.clone(), until);
        self.order.push_back((until, key));
        true
    }

    pub(crate) fn contains(&self, key: &K, now: Instant) -> bool {
        self.until.get(key).is_some_and(|until| *until > now)
    }

    pub(crate) fn len(&self) -> usize {
        self.until.len()
    }

    /// The keys, the oldest first.
    pub(crate) fn keys(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.order.iter().map(|(_, key)| key)
    }

    fn expire(&mut self, now: Instant) {
        while let Some((until, _)) = self.order.front()
            && *until <= now
            && let Some((_, key)) = self.order.pop_front()
        {
            self.until.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn a_key_is_new_once_in_its_time_while_there_is_room(
            keys in proptest::collection::vec((0_u8..20, 0_u64..5), 0..200),
        ) {
            let mut seen = Seen::new(64, Duration::from_millis(10));
            let mut model = BTreeMap::<u8, u64>::new();
            let mut now = 0;
            for (key, later) in keys {
                now += later;
                let fresh = model.get(&key).is_none_or(|at| at + 10 <= now);
                let instant = Instant::from_millis(now);
                prop_assert_eq!(seen.contains(&key, instant), !fresh);
                prop_assert_eq!(seen.insert(key, instant), fresh);
                if fresh {
                    model.insert(key, now);
                }
            }
        }

        #[test]
        fn no_more_is_kept_than_allowed(keys in proptest::collection::vec(any::<u16>(), 0..100)) {
            let mut seen = Seen::new(5, Duration::from_secs(1));
            for key in keys {
                seen.insert(key, Instant::ZERO);
                prop_assert!(seen.len() <= 5 && seen.keys().count() == seen.len());
                prop_assert!(seen.contains(&key, Instant::ZERO));
            }
        }
    }
}
