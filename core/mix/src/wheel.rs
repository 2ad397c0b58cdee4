//! A timing wheel: what is due when, for many waiting packets, without allocation.

use std::time::Duration;

use fogcompute_base::Instant;

/// Slots of a level: one for each bit of a word, so that the next occupied one is found at once.
const SLOTS: usize = 64;
const SLOT_BITS: u32 = SLOTS.trailing_zeros();
/// Levels that 64 bits of ticks can need.
const LEVELS: usize = 64_usize.div_ceil(SLOT_BITS as usize);
/// No token.
const NONE: u32 = u32::MAX;

/// Holds tokens until they are due, in ticks.
///
/// A hierarchical timing wheel (Varghese and Lauck, SOSP 1987): inserting takes constant time, and
/// a token moves down at most once a level until it is due. Tokens are the numbers below the
/// capacity, for example of buffers; all memory is allocated when the wheel is made.
///
/// Nothing is due early: due times are rounded up to whole ticks.
#[derive(Debug)]
pub struct Wheel {
    tick_nanos: u64,
    /// Everything due at this tick or before has been handed out.
    elapsed: u64,
    occupied: [u64; LEVELS],
    heads: [[u32; SLOTS]; LEVELS],
    /// Tokens that were due already when they were inserted.
    ready: u32,
    /// For each token: the next one of its slot, and its tick.
    entries: Vec<Entry>,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    next: u32,
    due: u64,
}

impl Wheel {
    /// A wheel for the tokens 0 to `capacity - 1`, at most 2³² - 1 of them.
    ///
    /// `tick` is at least a nanosecond.
    #[must_use]
    pub fn new(capacity: usize, tick: Duration, now: Instant) -> Self {
        let tick_nanos = u64::try_from(tick.as_nanos()).unwrap_or(u64::MAX).max(1);
        Self {
            tick_nanos,
            elapsed: now.as_nanos() / tick_nanos,
            occupied: [0; LEVELS],
            heads: [[NONE; SLOTS]; LEVELS],
            ready: NONE,
            entries: vec![Entry { next: NONE, due: 0 }; capacity.min(NONE as usize)],
            len: 0,
        }
    }

    /// Tokens in the wheel.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether no token is in the wheel.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts a token in. It must not be in already. `false` if it is not below the capacity.
    pub fn insert(&mut self, token: u32, due: Instant) -> bool {
        let Some(entry) = self.entries.get_mut(token as usize) else {
            return false;
        };
        entry.due = due.as_nanos().div_ceil(self.tick_nanos);
        self.len += 1;
        self.link(token);
        true
    }

    fn link(&mut self, token: u32) {
        let due = self.entries[token as usize].due;
        let head = if due <= self.elapsed {
            &mut self.ready
        } else {
            let (level, slot) = self.place(due);
            self.occupied[level] |= 1 << slot;
            &mut self.heads[level][slot]
        };
        self.entries[token as usize].next = std::mem::replace(head, token);
    }

    /// The level is that of the highest digit in which the due tick differs from the present one,
    /// the slot is the due tick's digit there.
    fn place(&self, due: u64) -> (usize, usize) {
        let differs = (due ^ self.elapsed) | 1;
        let level = differs.ilog2() / SLOT_BITS;
        let slot = (due >> (level * SLOT_BITS)) as usize % SLOTS;
        (level as usize, slot)
    }

    /// The next occupied slot: its level, its number, and the tick at which its turn comes.
    ///
    /// Lower levels come first: all that is in them has the same higher digits as the present.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        let level = self.occupied.iter().position(|occupied| *occupied != 0)?;
        // Slots before the present digit are empty: what was in them has been handed out.
        let slot = self.occupied[level].trailing_zeros();
        let shift = level as u32 * SLOT_BITS;
        let above = self.elapsed.checked_shr(shift + SLOT_BITS).unwrap_or(0);
        let start = above.checked_shl(shift + SLOT_BITS).unwrap_or(0);
        Some((level, slot as usize, start | (u64::from(slot) << shift)))
    }

    /// Takes out all that is due at `now`, in no particular order within a tick.
    ///
    /// Time that goes backwards takes nothing out.
    pub fn expire(&mut self, now: Instant, due: &mut Vec<u32>) {
        let target = now.as_nanos() / self.tick_nanos;
        self.drain(|wheel| &mut wheel.ready, due);
        while let Some((level, slot, tick)) = self.next_slot() {
            if tick > target {
                break;
            }
            self.elapsed = self.elapsed.max(tick);
            self.occupied[level] &= !(1 << slot);
            if level == 0 {
                self.drain(|wheel| &mut wheel.heads[0][slot], due);
                continue;
            }
            let mut token = std::mem::replace(&mut self.heads[level][slot], NONE);
            while token != NONE {
                let next = self.entries[token as usize].next;
                self.link(token);
                token = next;
            }
            self.drain(|wheel| &mut wheel.ready, due);
        }
        self.elapsed = self.elapsed.max(target);
    }

    fn drain(&mut self, head: impl FnOnce(&mut Self) -> &mut u32, due: &mut Vec<u32>) {
        let mut token = std::mem::replace(head(self), NONE);
        while token != NONE {
            due.push(token);
            self.len -= 1;
            token = self.entries[token as usize].next;
        }
    }

    /// When to call [`Wheel::expire`] next: at this time or before it, something is due or moves
    /// to a finer level.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        if self.ready != NONE {
            return Some(Instant::from_nanos(
                self.elapsed.saturating_mul(self.tick_nanos),
            ));
        }
        let (_, _, tick) = self.next_slot()?;
        Some(Instant::from_nanos(tick.saturating_mul(self.tick_nanos)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const TICK: Duration = Duration::from_micros(100);

    fn micros(micros: u64) -> Instant {
        Instant::from_nanos(micros * 1_000)
    }

    fn expired(wheel: &mut Wheel, now: Instant) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.expire(now, &mut due);
        due.sort_unstable();
        due
    }

    #[test]
    fn nothing_is_early_and_nothing_is_more_than_a_tick_late() {
        let mut wheel = Wheel::new(4, TICK, Instant::ZERO);
        assert!(wheel.insert(0, micros(101)));
        assert!(wheel.insert(1, micros(200)));
        assert!(wheel.insert(2, micros(201)));
        assert_eq!(wheel.next_expiry(), Some(micros(200)));
        assert_eq!(expired(&mut wheel, micros(199)), [0; 0]);
        assert_eq!(expired(&mut wheel, micros(200)), [0, 1]);
        assert_eq!(expired(&mut wheel, micros(299)), [0; 0]);
        assert_eq!(expired(&mut wheel, micros(300)), [2]);
        assert!(wheel.is_empty() && wheel.next_expiry().is_none());
    }

    #[test]
    fn what_is_due_already_comes_at_once_and_tokens_beyond_the_capacity_are_refused() {
        let mut wheel = Wheel::new(1, TICK, micros(5_000));
        assert!(!wheel.insert(1, micros(9_000)));
        assert!(wheel.insert(0, micros(10)));
        assert_eq!(wheel.next_expiry(), Some(micros(5_000)));
        // Even if the clock goes backwards.
        assert_eq!(expired(&mut wheel, micros(1_000)), [0]);
        assert!(wheel.insert(0, Instant::from_nanos(u64::MAX)));
        assert_eq!(expired(&mut wheel, micros(1 << 40)), [0; 0]);
        assert_eq!(wheel.len(), 1);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_sorted_map(
            start in 0_u64..1 << 50,
            steps in proptest::collection::vec((0_u64..1 << 34, 0_u32..36, 0_u64..1 << 34, 0_u32..36), 1..200),
        ) {
            let mut now = Instant::from_nanos(start);
            let mut wheel = Wheel::new(steps.len(), TICK, now);
            let mut model = BTreeMap::<(u64, u32), ()>::new();
            let tick = TICK.as_nanos() as u64;
            for (token, (delay, delay_shift, step, step_shift)) in (0..).zip(steps) {
                // Delays and steps of all magnitudes.
                let due = now + Duration::from_nanos(delay >> delay_shift);
                prop_assert!(wheel.insert(token, due));
                model.insert((due.as_nanos().div_ceil(tick), token), ());
                now = now + Duration::from_nanos(step >> step_shift);
                if let Some(expiry) = wheel.next_expiry() {
                    // Never later than the first that is due.
                    let (first, _) = model.first_key_value().unwrap().0;
                    prop_assert!(expiry.as_nanos() <= first.max(&(start / tick)) * tick
                        || expiry.as_nanos() / tick <= now.as_nanos() / tick);
                }
                let later = model.split_off(&(now.as_nanos() / tick + 1, 0));
                let mut expected: Vec<_> = model.into_keys().map(|(_, token)| token).collect();
                expected.sort_unstable();
                model = later;
                prop_assert_eq!(expired(&mut wheel, now), expected);
                prop_assert_eq!(wheel.len(), model.len());
            }
        }
    }
}
