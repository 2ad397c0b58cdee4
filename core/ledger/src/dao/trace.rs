//! Values with their past: what a vote counts is what was so at its snapshot.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::Hash;

use fogcompute_base::UnixMillis;
use serde::{Deserialize, Serialize};

use crate::{Amount, ParseAmountError};

/// Voting weight in base units: tokens and stake, times the weight of a role.
///
/// As text and in serde a decimal integer, like [`Amount`].
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(into = "String", try_from = "String")]
pub struct Weight(pub u128);

impl Weight {
    /// None.
    pub const ZERO: Self = Self(0);

    /// Whether there is none.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Weight> for String {
    fn from(weight: Weight) -> Self {
        weight.to_string()
    }
}

impl TryFrom<String> for Weight {
    type Error = ParseAmountError;

    fn try_from(text: String) -> Result<Self, ParseAmountError> {
        text.parse().map(|Amount(weight)| Self(weight))
    }
}

/// A value from a time on.
pub(crate) type Checkpoint<T> = (UnixMillis, T);

/// What a value was at any time: checkpoints, oldest first, at most one a millisecond.
///
/// Source: OpenZeppelin `utils/structs/Checkpoints.sol`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Trace<T>(Vec<Checkpoint<T>>);

impl<T> Default for Trace<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Default + PartialEq> Trace<T> {
    /// Takes in what came after: the first may be another value for the last millisecond.
    ///
    /// A checkpoint that says what the one before says is none, so that the same changes give the
    /// same trace however they were grouped.
    fn extend(&mut self, tail: Vec<Checkpoint<T>>) {
        let first = tail.first().map(|(time, _)| *time);
        if first.is_some() && self.0.last().map(|(time, _)| *time) == first {
            self.0.pop();
        }
        for (time, value) in tail {
            let same = match self.0.last() {
                Some((_, last)) => *last == value,
                None => value == T::default(),
            };
            if !same {
                self.0.push((time, value));
            }
        }
    }
}

impl<T> Trace<T> {
    /// Takes checkpoints that are in order, no two of one time.
    pub(crate) fn from_checkpoints(checkpoints: Vec<Checkpoint<T>>) -> Option<Self> {
        let in_order = checkpoints.windows(2).all(|pair| pair[0].0 < pair[1].0);
        (in_order && !checkpoints.is_empty()).then_some(Self(checkpoints))
    }

    pub(crate) fn checkpoints(&self) -> &[Checkpoint<T>] {
        &self.0
    }

    /// The value at the end of that millisecond, if there was one yet.
    ///
    /// Complexity: O(log checkpoints); a few of them are looked at if changes come evenly.
    pub(crate) fn at(&self, time: UnixMillis) -> Option<&T> {
        before(&self.0, time)
    }

    pub(crate) fn last(&self) -> Option<&T> {
        self.0.last().map(|(_, value)| value)
    }
}

fn before<T>(checkpoints: &[Checkpoint<T>], time: UnixMillis) -> Option<&T> {
    let count = count_until(checkpoints, time);
    checkpoints[..count].last().map(|(_, value)| value)
}

/// How many checkpoints are not after that time.
///
/// It begins where the time would lie if changes came evenly, and goes on from there in doubling
/// steps: the middle of a long list is far from what was looked at last, and nowhere near the answer.
fn count_until<T>(checkpoints: &[Checkpoint<T>], time: UnixMillis) -> usize {
    let (Some((first, _)), Some((last, _))) = (checkpoints.first(), checkpoints.last()) else {
        return 0;
    };
    if time < *first {
        return 0;
    }
    if time >= *last {
        return checkpoints.len();
    }
    // From here on, the first is not after it and the last is.
    let is_after = |place: usize| checkpoints[place].0 > time;
    let end = checkpoints.len() - 1;
    let share = u128::from(time.0 - first.0) * end as u128 / u128::from(last.0 - first.0);
    let guess = usize::try_from(share).map_or(end, |guess| guess.min(end));
    let (mut low, mut high, mut step) = (guess, guess, 1);
    if is_after(guess) {
        loop {
            low = high.saturating_sub(step);
            if !is_after(low) {
                break;
            }
            (high, step) = (low, step * 2);
        }
    } else {
        loop {
            high = end.min(low + step);
            if is_after(high) {
                break;
            }
            (low, step) = (high, step * 2);
        }
    }
    low + 1 + checkpoints[low + 1..high].partition_point(|(since, _)| *since <= time)
}

/// A trace for each key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Traces<K: Eq + Hash, T>(HashMap<K, Trace<T>>);

impl<K: Eq + Hash, T> Default for Traces<K, T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Copy + Eq + Hash + Ord, T: Clone> Traces<K, T> {
    pub(crate) fn get(&self, key: K) -> Option<&Trace<T>> {
        self.0.get(&key)
    }

    pub(crate) fn at(&self, key: K, time: UnixMillis) -> Option<&T> {
        self.0.get(&key)?.at(time)
    }

    pub(crate) fn last(&self, key: K) -> Option<&T> {
        self.0.get(&key)?.last()
    }

    pub(crate) fn with_capacity(keys: usize) -> Self {
        Self(HashMap::with_capacity(keys))
    }

    pub(crate) fn insert(&mut self, key: K, trace: Trace<T>) {
        self.0.insert(key, trace);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &Trace<T>)> {
        self.0.iter().map(|(key, trace)| (*key, trace))
    }

    /// By key.
    pub(crate) fn sorted(&self) -> Vec<(K, &Trace<T>)> {
        let mut list: Vec<_> = self.iter().collect();
        list.sort_unstable_by_key(|(key, _)| *key);
        list
    }
}

impl<K: Copy + Eq + Hash, T: Default + PartialEq> Traces<K, T> {
    pub(crate) fn absorb(&mut self, tails: Tails<K, T>) {
        for (key, tail) in tails.0 {
            let trace = self.0.entry(key).or_default();
            trace.extend(tail);
            if trace.0.is_empty() {
                self.0.remove(&key);
            }
        }
    }
}

/// What comes after the traces of a state that is not changed yet.
#[derive(Clone, Debug)]
pub(crate) struct Tails<K, T>(BTreeMap<K, Vec<Checkpoint<T>>>);

impl<K, T> Default for Tails<K, T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Copy + Eq + Hash + Ord, T: Clone + Default + PartialEq> Tails<K, T> {
    pub(crate) fn at<'a>(
        &'a self,
        base: &'a Traces<K, T>,
        key: K,
        time: UnixMillis,
    ) -> Option<&'a T> {
        let tail = self.0.get(&key).and_then(|tail| before(tail, time));
        tail.or_else(|| base.at(key, time))
    }

    pub(crate) fn last<'a>(&'a self, base: &'a Traces<K, T>, key: K) -> Option<&'a T> {
        let tail = self.0.get(&key).and_then(|tail| tail.last());
        tail.map_or_else(|| base.last(key), |(_, value)| Some(value))
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Sets a value from `now` on, which is not before the last checkpoint. Nothing is recorded if
    /// it is what it was.
    pub(crate) fn push(&mut self, base: &Traces<K, T>, key: K, now: UnixMillis, value: T) {
        let same = match self.last(base, key) {
            Some(last) => *last == value,
            None => value == T::default(),
        };
        if same {
            return;
        }
        let tail = self.0.entry(key).or_default();
        match tail.last_mut() {
            Some((time, last)) if *time == now => *last = value,
            _ => tail.push((now, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_checkpoint_costs_what_the_manual_says() {
        assert_eq!(size_of::<Checkpoint<Weight>>(), 32);
    }

    #[test]
    fn changes_within_a_millisecond_are_one_checkpoint() {
        let mut traces: Traces<u8, u128> = Traces::default();
        let mut tails = Tails::default();
        tails.push(&traces, 1, UnixMillis(5), 7);
        tails.push(&traces, 1, UnixMillis(5), 8);
        traces.absorb(tails);
        let mut tails = Tails::default();
        tails.push(&traces, 1, UnixMillis(5), 9);
        // A value of the same time before it is part of the trace.
        assert_eq!(tails.at(&traces, 1, UnixMillis(5)), Some(&9));
        assert_eq!(tails.at(&traces, 1, UnixMillis(4)), None);
        traces.absorb(tails);
        assert_eq!(traces.get(1).unwrap().checkpoints(), [(UnixMillis(5), 9)]);
    }

    #[test]
    fn what_does_not_change_is_not_recorded() {
        let traces: Traces<u8, u128> = Traces::default();
        let mut tails = Tails::default();
        tails.push(&traces, 1, UnixMillis(1), 0);
        assert!(tails.0.is_empty());
        tails.push(&traces, 1, UnixMillis(1), 3);
        tails.push(&traces, 1, UnixMillis(2), 3);
        assert_eq!(tails.0[&1].len(), 1);
    }

    #[test]
    fn checkpoints_out_of_order_are_no_trace() {
        let when = |times: &[u64]| {
            let list = times.iter().map(|&time| (UnixMillis(time), 0_u8)).collect();
            Trace::from_checkpoints(list).is_some()
        };
        assert!(when(&[1, 2]));
        assert!(!when(&[2, 2]));
        assert!(!when(&[2, 1]));
        assert!(!when(&[]));
    }

    proptest! {
        #[test]
        fn every_moment_is_found_however_uneven_changes_come(
            steps in proptest::collection::vec((1..4_u64, 0..40_u32), 0..60),
            others in proptest::collection::vec(any::<u64>(), 8),
        ) {
            let (mut now, mut list) = (0_u64, Vec::new());
            for (factor, shift) in steps {
                now = now.saturating_add(factor << shift);
                list.push((UnixMillis(now), ()));
            }
            list.dedup();
            let near = list.iter().flat_map(|(time, ())| [time.0 - 1, time.0, time.0 + 1]);
            for time in near.chain(others).map(UnixMillis) {
                let expected = list.partition_point(|(since, ())| *since <= time);
                prop_assert_eq!(count_until(&list, time), expected);
            }
        }

        #[test]
        fn the_past_is_what_it_was(
            steps in proptest::collection::vec((0..3_u64, 0..5_u128, any::<bool>()), 1..60),
        ) {
            let mut traces: Traces<u8, u128> = Traces::default();
            let mut tails = Tails::default();
            let (mut now, mut values) = (0, BTreeMap::new());
            for (passed, value, absorbed) in steps {
                now += passed;
                tails.push(&traces, 1, UnixMillis(now), value);
                values.insert(now, value);
                for time in 0..=now {
                    let expected = values.range(..=time).next_back().map_or(0, |(_, v)| *v);
                    let found = tails.at(&traces, 1, UnixMillis(time));
                    prop_assert_eq!(found.copied().unwrap_or_default(), expected);
                }
                if absorbed {
                    traces.absorb(std::mem::take(&mut tails));
                }
            }
        }
    }
}
