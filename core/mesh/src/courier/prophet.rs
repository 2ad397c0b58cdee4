//! How likely a peer is to meet another one, learned from whom it has met.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use fogcompute_base::Instant;

use crate::identity::NoiseKey;

/// Most peers that one exchange tells about.
pub const PREDICTIONS_MAX: usize = 256;

/// A number from zero to one, in billionths: the same on every platform.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Predictability(u32);

impl Predictability {
    /// Never.
    pub const ZERO: Self = Self(0);
    /// Certainly.
    pub const ONE: Self = Self(1_000_000_000);

    /// A number of billionths; what is above one is one.
    #[must_use]
    pub const fn from_billionths(billionths: u32) -> Self {
        if billionths > Self::ONE.0 {
            Self::ONE
        } else {
            Self(billionths)
        }
    }

    /// How many billionths it is.
    #[must_use]
    pub const fn billionths(self) -> u32 {
        self.0
    }

    /// As it is exchanged: in parts of 65,535, rounded down.
    #[must_use]
    pub fn to_wire(self) -> u16 {
        let parts = u64::from(self.0) * u64::from(u16::MAX) / u64::from(Self::ONE.0);
        u16::try_from(parts).unwrap_or(u16::MAX)
    }

    /// What was exchanged.
    #[must_use]
    pub fn from_wire(parts: u16) -> Self {
        let product = u64::from(parts) * u64::from(Self::ONE.0);
        // Rounded up, so that it is exchanged as the same number again.
        let billionths = product.div_ceil(u64::from(u16::MAX));
        Self::from_billionths(u32::try_from(billionths).unwrap_or(u32::MAX))
    }

    /// Both together, rounded down.
    #[must_use]
    pub fn times(self, other: Self) -> Self {
        let product = u64::from(self.0) * u64::from(other.0) / u64::from(Self::ONE.0);
        Self::from_billionths(u32::try_from(product).unwrap_or(u32::MAX))
    }

    /// This number to the power of a whole one, rounded down at every step.
    #[must_use]
    pub fn power(self, mut exponent: u64) -> Self {
        let (mut base, mut result) = (self, Self::ONE);
        while exponent > 0 {
            if exponent & 1 == 1 {
                result = result.times(base);
            }
            base = base.times(base);
            exponent >>= 1;
        }
        result
    }

    const fn plus(self, other: Self) -> Self {
        Self::from_billionths(self.0.saturating_add(other.0))
    }

    const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// The parameters of PRoPHET. The numbers are those that RFC 6693 recommends; the unit of time and the typical
/// interval are for whom the network is of: here people with phones.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ProphetConfig {
    /// `P_encounter_max`: what an encounter adds to, of what is missing.
    pub encounter_max: Predictability,
    /// `P_encounter_first`: what the first encounter gives.
    pub encounter_first: Predictability,
    /// `P_first_threshold`: whoever falls below it is forgotten, so that the next encounter is a first one.
    pub first_threshold: Predictability,
    /// β: how much of what others say counts.
    pub beta: Predictability,
    /// γ: what is left after a [`ProphetConfig::unit`].
    pub gamma: Predictability,
    /// δ: how much less than certain an encounter can make a meeting.
    pub delta: Predictability,
    /// The unit of time. With a minute and γ of 0.999, half is left after eleven hours and a half.
    pub unit: Duration,
    /// `I_typ`: encounters closer together than this count for less.
    pub interval_typical: Duration,
    /// Most peers that are remembered. Who is least likely met is forgotten first.
    pub peers_max: usize,
    /// Of how many peers another courier is told, at most [`PREDICTIONS_MAX`]: the likeliest.
    pub told_max: usize,
    /// `NF_max` of GTMX: to how many others one holder gives copies of one envelope.
    pub forwards_max: u8,
    /// Copies of an envelope that one courier is given by the sender.
    pub copies: u8,
}

impl Default for ProphetConfig {
    fn default() -> Self {
        let billionths = Predictability::from_billionths;
        Self {
            encounter_max: billionths(700_000_000),
            encounter_first: billionths(500_000_000),
            first_threshold: billionths(100_000_000),
            beta: billionths(900_000_000),
            gamma: billionths(999_000_000),
            delta: billionths(10_000_000),
            unit: Duration::from_secs(60),
            interval_typical: Duration::from_secs(1800),
            peers_max: 512,
            told_max: 64,
            forwards_max: 8,
            copies: super::COPIES_MAX,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    chance: Predictability,
    /// The last encounter, if there was one: what is known from others alone has none.
    met: Option<Instant>,
}

/// What one peer knows about whom it, or others it meets, will meet.
///
/// Source: Lindgren et al. 2012, RFC 6693 §2.1: an encounter raises a predictability (equation 1), time lowers
/// all (equation 2), and who meets somebody who often meets a third one is likely to reach that one (equation 3).
#[derive(Clone, Debug)]
pub struct Predictions {
    config: ProphetConfig,
    entries: BTreeMap<NoiseKey, Entry>,
    /// Until when all have been aged.
    aged: Instant,
}

impl Predictions {
    /// Knows nobody.
    #[must_use]
    pub const fn new(config: ProphetConfig, now: Instant) -> Self {
        Self {
            config,
            entries: BTreeMap::new(),
            aged: now,
        }
    }

    /// How many peers it knows about.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it knows about nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How likely it is to reach a peer, as of the last input.
    #[must_use]
    pub fn of(&self, peer: &NoiseKey) -> Predictability {
        self.entries
            .get(peer)
            .map_or(Predictability::ZERO, |entry| entry.chance)
    }

    /// A peer was met: P += (1 − δ − P) · `P_encounter`.
    pub fn meet(&mut self, peer: NoiseKey, now: Instant) {
        self.age(now);
        let config = self.config;
        let first = Entry {
            chance: config.encounter_first,
            met: Some(now),
        };
        let Some(entry) = self.entries.get_mut(&peer) else {
            self.insert(peer, first, &mut Weakest::default());
            return;
        };
        let since = entry.met.map(|met| now.duration_since(met));
        let part = since.map_or(Predictability::ONE, |since| {
            ratio(since, config.interval_typical)
        });
        let raise = config.encounter_max.times(part);
        let room = Predictability::ONE
            .minus(config.delta)
            .minus(entry.chance)
            .times(raise);
        entry.chance = entry.chance.plus(room);
        entry.met = Some(now);
    }

    /// Time passes: P ·= γ^K, for whole units of time K.
    pub fn age(&mut self, now: Instant) {
        let unit = self.config.unit.as_nanos().max(1);
        let units = now.duration_since(self.aged).as_nanos() / unit;
        let Ok(units) = u32::try_from(units) else {
            self.entries.clear();
            self.aged = now;
            return;
        };
        if units == 0 {
            return;
        }
        self.aged = self.aged + self.config.unit.saturating_mul(units);
        let left = self.config.gamma.power(units.into());
        let threshold = self.config.first_threshold;
        self.entries.retain(|_, entry| {
            entry.chance = entry.chance.times(left);
            entry.chance >= threshold
        });
    }

    /// What a peer that was met knows: P = max(P, P(peer) · P(peer, other) · β).
    pub fn learn<'a>(
        &mut self,
        peer: NoiseKey,
        own: NoiseKey,
        theirs: impl IntoIterator<Item = (&'a NoiseKey, Predictability)>,
        now: Instant,
    ) {
        self.age(now);
        let through = self.of(&peer).times(self.config.beta);
        let mut weakest = Weakest::default();
        for (other, chance) in theirs.into_iter().take(PREDICTIONS_MAX) {
            if *other == own || *other == peer {
                continue;
            }
            let chance = through.times(chance);
            match self.entries.get_mut(other) {
                Some(entry) => entry.chance = entry.chance.max(chance),
                None if chance >= self.config.first_threshold => {
                    self.insert(*other, Entry { chance, met: None }, &mut weakest);
                }
                None => {}
            }
        }
    }

    /// The peers most likely reached, with how likely: what is told to others.
    #[must_use]
    pub fn told(&self) -> Vec<(NoiseKey, Predictability)> {
        let mut all: Vec<_> = self.iter().collect();
        let order = |(key, chance): &(NoiseKey, Predictability)| (Reverse(*chance), *key);
        let count = self.config.told_max.min(PREDICTIONS_MAX);
        // Those who are told are few of all: only they are put in order.
        if count < all.len() {
            all.select_nth_unstable_by_key(count, order);
            all.truncate(count);
        }
        all.sort_unstable_by_key(order);
        all
    }

    /// All peers it knows about.
    pub fn iter(&self) -> impl Iterator<Item = (NoiseKey, Predictability)> {
        self.entries.iter().map(|(key, entry)| (*key, entry.chance))
    }

    /// Goes on with what was saved: encounters count in full again.
    pub(crate) fn restore(&mut self, peer: NoiseKey, chance: Predictability) {
        let entry = Entry { chance, met: None };
        self.insert(peer, entry, &mut Weakest::default());
    }

    /// Remembers a peer that is not, in the place of the least likely if there is no room. `weakest` is of the same
    /// call: chances have only risen since it was first asked.
    fn insert(&mut self, peer: NoiseKey, entry: Entry, weakest: &mut Weakest) {
        if self.entries.len() >= self.config.peers_max.max(1) {
            match weakest.find(&self.entries) {
                Some((chance, least)) if chance <= entry.chance => {
                    self.entries.remove(&least);
                }
                _ => return,
            }
        }
        weakest.add(peer, entry.chance);
        self.entries.insert(peer, entry);
    }
}

/// Finds who is least likely met, again and again while chances rise: a heap of what they were, made when it is first
/// asked.
#[derive(Default)]
struct Weakest(Option<BinaryHeap<Reverse<(Predictability, NoiseKey)>>>);

impl Weakest {
    fn add(&mut self, peer: NoiseKey, chance: Predictability) {
        if let Some(heap) = &mut self.0 {
            heap.push(Reverse((chance, peer)));
        }
    }

    fn find(&mut self, entries: &BTreeMap<NoiseKey, Entry>) -> Option<(Predictability, NoiseKey)> {
        let all = || entries.iter().map(|(key, entry)| (entry.chance, *key));
        let heap = self.0.get_or_insert_with(|| all().map(Reverse).collect());
        loop {
            let mut top = heap.peek_mut()?;
            let Reverse((chance, peer)) = *top;
            match entries.get(&peer) {
                Some(entry) if entry.chance == chance => return Some((chance, peer)),
                Some(entry) => *top = Reverse((entry.chance, peer)),
                // Forgotten since.
                None => drop(PeekMut::pop(top)),
            }
        }
    }
}

/// A part of a whole, at most one.
fn ratio(part: Duration, whole: Duration) -> Predictability {
    if part >= whole {
        return Predictability::ONE;
    }
    let billionths = part.as_nanos() * u128::from(Predictability::ONE.0) / whole.as_nanos().max(1);
    Predictability::from_billionths(u32::try_from(billionths).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(number: u8) -> NoiseKey {
        NoiseKey::from_bytes([number; 32])
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1000)
    }

    fn new() -> Predictions {
        Predictions::new(ProphetConfig::default(), at(0))
    }

    /// Nearly equal: each step rounds down to a billionth.
    fn assert_near(actual: Predictability, expected: f64) {
        let actual = f64::from(actual.billionths()) / 1e9;
        assert!((actual - expected).abs() < 1e-6, "{actual} {expected}");
    }

    #[test]
    fn encounters_raise_by_the_equation_of_the_rfc() {
        let mut predictions = new();
        predictions.meet(key(1), at(0));
        assert_near(predictions.of(&key(1)), 0.5);
        // Half of the typical interval later, after fifteen units of ageing.
        predictions.meet(key(1), at(900));
        let aged = 0.5 * 0.999_f64.powi(15);
        assert_near(
            predictions.of(&key(1)),
            aged + (1.0 - 0.01 - aged) * 0.7 * 0.5,
        );
        // Long after it, what is missing shrinks by the most there is.
        let before = f64::from(predictions.of(&key(1)).billionths()) / 1e9;
        predictions.meet(key(1), at(900 + 3600));
        let aged = before * 0.999_f64.powi(60);
        assert_near(predictions.of(&key(1)), aged + (0.99 - aged) * 0.7);
    }

    #[test]
    fn time_lowers_by_whole_units_and_forgets_who_falls_below_the_threshold() {
        let mut predictions = new();
        predictions.meet(key(1), at(0));
        for seconds in [59, 90, 119, 150, 600] {
            predictions.age(at(seconds));
        }
        // Ageing often and seldom is the same but for rounding.
        assert_near(predictions.of(&key(1)), 0.5 * 0.999_f64.powi(10));
        predictions.age(at(60 * 1608));
        assert_eq!(predictions.len(), 1);
        predictions.age(at(60 * 1610));
        assert!(predictions.is_empty());
        predictions.meet(key(1), at(60 * 1611));
        assert_near(predictions.of(&key(1)), 0.5);
    }

    #[test]
    fn what_a_neighbour_knows_counts_through_it_and_never_lowers() {
        let mut predictions = new();
        let (bob, carol, own) = (key(1), key(2), key(9));
        let billionths = Predictability::from_billionths;
        predictions.meet(bob, at(0));
        let told = [
            (carol, billionths(800_000_000)),
            (own, Predictability::ONE),
            (bob, Predictability::ONE),
            (key(3), billionths(200_000_000)),
        ];
        let learn = |predictions: &mut Predictions, told: &[(NoiseKey, Predictability)]| {
            predictions.learn(bob, own, told.iter().map(|(key, p)| (key, *p)), at(0));
        };
        learn(&mut predictions, &told);
        assert_near(predictions.of(&carol), 0.5 * 0.8 * 0.9);
        assert_near(predictions.of(&bob), 0.5);
        assert_eq!(predictions.of(&own), Predictability::ZERO);
        // Too little to be remembered.
        assert_eq!(predictions.of(&key(3)), Predictability::ZERO);
        learn(&mut predictions, &[(carol, billionths(1))]);
        assert_near(predictions.of(&carol), 0.5 * 0.8 * 0.9);
    }

    #[test]
    fn who_was_never_met_teaches_nothing() {
        let mut predictions = new();
        predictions.learn(key(1), key(9), [(&key(2), Predictability::ONE)], at(0));
        assert!(predictions.is_empty());
    }

    #[test]
    fn the_least_likely_is_forgotten_for_want_of_room() {
        let config = ProphetConfig {
            peers_max: 2,
            ..ProphetConfig::default()
        };
        let mut predictions = Predictions::new(config, at(0));
        predictions.meet(key(1), at(0));
        predictions.meet(key(1), at(3600));
        predictions.meet(key(2), at(3600));
        predictions.meet(key(3), at(7200));
        let left: Vec<_> = predictions.told().into_iter().map(|(key, _)| key).collect();
        assert_eq!(left, [key(1), key(3)]);
    }

    /// What [`Predictions::learn`] and [`Predictions::told`] do, by looking at everything each time.
    fn learn_slowly(
        predictions: &mut Predictions,
        peer: NoiseKey,
        own: NoiseKey,
        theirs: &[(NoiseKey, Predictability)],
    ) {
        let config = predictions.config;
        let through = predictions.of(&peer).times(config.beta);
        let entries = &mut predictions.entries;
        for (other, chance) in theirs.iter().take(PREDICTIONS_MAX) {
            let chance = through.times(*chance);
            if *other == own || *other == peer {
                continue;
            }
            if let Some(entry) = entries.get_mut(other) {
                entry.chance = entry.chance.max(chance);
                continue;
            }
            if chance < config.first_threshold {
                continue;
            }
            if entries.len() >= config.peers_max {
                let all = entries.iter().map(|(key, entry)| (entry.chance, *key));
                let (least, key) = all.min().unwrap();
                if least > chance {
                    continue;
                }
                entries.remove(&key);
            }
            entries.insert(*other, Entry { chance, met: None });
        }
    }

    fn told_slowly(predictions: &Predictions) -> Vec<(NoiseKey, Predictability)> {
        let mut all: Vec<_> = predictions.iter().collect();
        all.sort_by_key(|(key, chance)| (Reverse(*chance), *key));
        all.truncate(predictions.config.told_max);
        all
    }

    proptest! {
        #[test]
        fn who_is_forgotten_and_told_is_who_a_look_at_everybody_finds(
            steps in proptest::collection::vec(
                (0_u8..12, proptest::collection::vec((0_u8..40, 0_u32..16), 0..40), 0_u64..300),
                1..30,
            ),
            peers_max in 1_usize..12,
            told_max in 0_usize..14,
        ) {
            let config = ProphetConfig { peers_max, told_max, ..ProphetConfig::default() };
            let mut quick = Predictions::new(config, at(0));
            let mut slow = quick.clone();
            let (own, mut now) = (key(39), 0);
            for (who, theirs, later) in steps {
                now += later;
                // Few different chances, so that many are the same.
                let chance = |sixteenths: u32| {
                    Predictability::from_billionths(sixteenths * 62_500_000 + 62_500_000)
                };
                let theirs: Vec<_> = theirs.iter().map(|(k, c)| (key(*k), chance(*c))).collect();
                for predictions in [&mut quick, &mut slow] {
                    predictions.meet(key(who), at(now));
                }
                let told = theirs.iter().map(|(key, chance)| (key, *chance));
                quick.learn(key(who), own, told, at(now));
                learn_slowly(&mut slow, key(who), own, &theirs);
                prop_assert!(quick.iter().eq(slow.iter()));
                let met = |of: &Predictions| -> Vec<_> {
                    of.entries.values().map(|entry| entry.met).collect()
                };
                prop_assert_eq!(met(&quick), met(&slow));
                prop_assert_eq!(quick.told(), told_slowly(&slow));
            }
        }

        #[test]
        fn predictabilities_stay_between_zero_and_one_and_ageing_never_raises(
            steps in proptest::collection::vec((0_u8..3, 0_u8..6, 0_u64..7200, any::<u32>()), 1..80),
        ) {
            let config = ProphetConfig { peers_max: 4, ..ProphetConfig::default() };
            let mut predictions = Predictions::new(config, at(0));
            let mut now = 0;
            for (what, who, later, chance) in steps {
                now += later;
                let before: Vec<_> = predictions.iter().collect();
                match what {
                    0 => predictions.meet(key(who), at(now)),
                    1 => {
                        predictions.age(at(now));
                        for (peer, chance) in before {
                            prop_assert!(predictions.of(&peer) <= chance);
                        }
                    }
                    _ => {
                        let other = key(who.wrapping_add(1) % 6);
                        let chance = Predictability::from_billionths(chance);
                        predictions.age(at(now));
                        let bound = predictions.of(&other).max(
                            predictions.of(&key(who)).times(chance).times(config.beta));
                        predictions.learn(key(who), key(9), [(&other, chance)], at(now));
                        // Rounding in another order differs by two billionths.
                        prop_assert!(
                            predictions.of(&other).billionths() <= bound.billionths() + 2
                        );
                    }
                }
                let most = Predictability::ONE.minus(config.delta);
                prop_assert!(predictions.iter().all(|(_, chance)| chance <= most));
                prop_assert!(predictions.len() <= 4);
            }
        }

        #[test]
        fn powers_are_products(base in 0_u32..=1_000_000_000, exponent in 0_u64..40) {
            let base = Predictability::from_billionths(base);
            let expected = (f64::from(base.billionths()) / 1e9)
                .powi(i32::try_from(exponent).unwrap());
            assert_near(base.power(exponent), expected);
        }

        #[test]
        fn what_is_exchanged_is_not_more_than_what_is_known(billionths in 0_u32..=1_000_000_000) {
            let known = Predictability::from_billionths(billionths);
            let told = Predictability::from_wire(known.to_wire());
            prop_assert!(told <= known && known.billionths() - told.billionths() < 15_261);
            prop_assert_eq!(Predictability::from_wire(u16::MAX), Predictability::ONE);
        }
    }
}
