//! Which counts of a lane have come.

const WORDS: u32 = 16;
const WORD_BITS: u32 = u64::BITS;
/// How far behind the newest a count may come. One word is always being cleared.
const REACH: u32 = (WORDS - 1) * WORD_BITS;

/// A window that slides over a lane's counts (RFC 6479).
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    /// The newest count that came, plus one.
    next: u64,
    bits: [u64; WORDS as usize],
}

impl Window {
    /// Takes a count. `false` if it came before or is too old to say.
    pub(super) fn take(&mut self, count: u32) -> bool {
        let word = count / WORD_BITS;
        if u64::from(count) >= self.next {
            let newest = u32::try_from(self.next.saturating_sub(1)).unwrap_or(u32::MAX);
            let newest_word = newest / WORD_BITS;
            for passed in 1..=(word - newest_word).min(WORDS) {
                self.bits[((newest_word + passed) % WORDS) as usize] = 0;
            }
            self.next = u64::from(count) + 1;
        } else if self.next - 1 - u64::from(count) >= u64::from(REACH) {
            return false;
        }
        let bits = &mut self.bits[(word % WORDS) as usize];
        let bit = 1 << (count % WORD_BITS);
        let fresh = *bits & bit == 0;
        *bits |= bit;
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_count_is_taken_once_and_not_when_it_is_too_old() {
        let mut window = Window::default();
        assert!(window.take(0) && !window.take(0));
        assert!(window.take(5000) && window.take(5000 - REACH + 1));
        assert!(!window.take(5000 - REACH) && !window.take(1));
        assert!(window.take(u32::MAX) && !window.take(u32::MAX));
        assert!(window.take(u32::MAX - 1) && !window.take(5001));
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_set(
            start in 0..u32::MAX,
            steps in proptest::collection::vec((0_u32..14, any::<u32>(), any::<bool>()), 1..400),
        ) {
            let mut window = Window::default();
            let mut taken = BTreeSet::new();
            let mut newest = 0;
            let mut count = start;
            for (shift, step, forward) in steps {
                // Steps of all magnitudes up to some windows.
                let step = step % (1 << shift);
                count = if forward { count.saturating_add(step) } else { count.saturating_sub(step) };
                newest = newest.max(count);
                let fresh = newest - count < REACH && taken.insert(count);
                prop_assert_eq!(window.take(count), fresh, "{} of {}", count, newest);
            }
        }
    }
}
