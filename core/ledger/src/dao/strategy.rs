//! How many votes a ballot counts for.

use ethnum::U256;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Weight;
use crate::{Amount, Ppm};

/// How the power of a ballot becomes votes. Approval is decided by votes, quorum always by power.
pub trait Strategy {
    /// The votes of one ballot.
    ///
    /// `power` is what the ballot carries; `reputation` is that of who cast it, at the snapshot.
    fn votes(&self, power: Weight, reputation: Ppm) -> Weight;

    /// What a choice has come to when its ballots have stood at `votes` for that many whole periods
    /// and it had come to `before` at their beginning.
    fn settled(&self, before: Weight, votes: Weight, periods: u64) -> Weight;
}

/// One vote for one unit of power.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Linear;

impl Strategy for Linear {
    fn votes(&self, power: Weight, _reputation: Ppm) -> Weight {
        power
    }

    fn settled(&self, _before: Weight, votes: Weight, _periods: u64) -> Weight {
        votes
    }
}

/// Power times the reputation of who casts it, rounded down. Power that was delegated counts by the
/// reputation of whom it was delegated to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reputation;

impl Strategy for Reputation {
    fn votes(&self, power: Weight, reputation: Ppm) -> Weight {
        Weight(reputation.of(Amount(power.0)).0)
    }

    fn settled(&self, _before: Weight, votes: Weight, _periods: u64) -> Weight {
        votes
    }
}

/// The square root of the power, rounded down.
///
/// # Security
/// It needs one account per person: who holds a stake in n accounts has √n times the votes. Choose it
/// only where accounts are opened for known people.
///
/// Source: Lalley and Weyl 2018, "Quadratic Voting".
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quadratic;

impl Strategy for Quadratic {
    fn votes(&self, power: Weight, _reputation: Ppm) -> Weight {
        Weight(power.0.isqrt())
    }

    fn settled(&self, _before: Weight, votes: Weight, _periods: u64) -> Weight {
        votes
    }
}

/// Votes grow with the time they stand and fade after they are taken away: in each period
/// y ← aⁿ·y + (1 − aⁿ)·x, with x the power of a choice.
///
/// Integers only: a has 63 bits after the point and is the largest such number of which
/// `half_life_periods` factors make at most one half.
///
/// Source: Emmett 2019, "Conviction Voting"; Commons Stack. There y grows to x / (1 − a); here it is
/// scaled to grow to x.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Conviction {
    /// How long a period is, in milliseconds. Periods are counted from a proposal's snapshot; what
    /// changes within one counts from its end.
    pub period_ms: u64,
    /// After so many periods half of what is missing has been gained.
    pub half_life_periods: u32,
}

/// One in the fixed-point numbers of [`Conviction`].
const ONE: u128 = 1 << 63;

impl Conviction {
    /// What is left of one after that many periods.
    fn decay(&self, periods: u64) -> u128 {
        let half_life = u64::from(self.half_life_periods.max(1));
        let (mut low, mut high) = (0, ONE);
        while low < high {
            let middle = (low + high).div_ceil(2);
            if power(middle, half_life) <= ONE / 2 {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        power(low, periods)
    }
}

/// `base` to that power, rounded down at each step.
fn power(mut base: u128, mut exponent: u64) -> u128 {
    let mut result = ONE;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = (result * base) >> 63;
        }
        // Both factors are at most 2^63.
        base = (base * base) >> 63;
        exponent >>= 1;
    }
    result
}

impl Strategy for Conviction {
    fn votes(&self, power: Weight, _reputation: Ppm) -> Weight {
        power
    }

    fn settled(&self, before: Weight, votes: Weight, periods: u64) -> Weight {
        let left = self.decay(periods);
        let kept = U256::from(before.0) * U256::from(left);
        let gained = U256::from(votes.0) * U256::from(ONE - left);
        // A mean of two weights is none above both.
        Weight(((kept + gained) >> 63_u32).as_u128())
    }
}

/// Names a [`Strategy`]. In serde and as a parameter it is its number: 0 linear, 1 reputation,
/// 2 quadratic, 3 conviction.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Weighing {
    /// [`Linear`].
    #[default]
    Linear,
    /// [`Reputation`].
    Reputation,
    /// [`Quadratic`].
    Quadratic,
    /// [`Conviction`].
    Conviction,
}

impl Weighing {
    /// Every strategy there is.
    pub const ALL: [Self; 4] = [
        Self::Linear,
        Self::Reputation,
        Self::Quadratic,
        Self::Conviction,
    ];

    /// The strategy's number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Linear => 0,
            Self::Reputation => 1,
            Self::Quadratic => 2,
            Self::Conviction => 3,
        }
    }
}

/// No strategy has that number.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("no way of weighing votes has the number {code}")]
pub struct UnknownWeighing {
    /// The number.
    pub code: u8,
}

impl From<Weighing> for u8 {
    fn from(weighing: Weighing) -> Self {
        weighing.code()
    }
}

impl TryFrom<u8> for Weighing {
    type Error = UnknownWeighing;

    fn try_from(code: u8) -> Result<Self, UnknownWeighing> {
        let mut all = Self::ALL.into_iter();
        all.find(|weighing| weighing.code() == code)
            .ok_or(UnknownWeighing { code })
    }
}

#[cfg(test)]
mod tests {
    use super::Strategy;
    use super::*;
    use proptest::prelude::*;

    const CONVICTION: Conviction = Conviction {
        period_ms: 1,
        half_life_periods: 72,
    };

    #[test]
    fn votes_of_a_ballot() {
        let half = Ppm::percent(50);
        assert_eq!(Linear.votes(Weight(9), half), Weight(9));
        assert_eq!(Reputation.votes(Weight(9), half), Weight(4));
        assert_eq!(Quadratic.votes(Weight(99), half), Weight(9));
        assert_eq!(CONVICTION.votes(Weight(9), half), Weight(9));
    }

    #[test]
    fn conviction_gains_half_of_what_is_missing_in_a_half_life() {
        let whole = Weight(1_000_000_000);
        for (half_lives, expected) in [(1, 500_000_000_u128), (2, 750_000_000), (3, 875_000_000)] {
            let found = CONVICTION.settled(Weight::ZERO, whole, 72 * half_lives);
            assert!(found.0.abs_diff(expected) <= 2, "{half_lives}: {found}");
        }
        assert_eq!(CONVICTION.settled(Weight(5), whole, 0), Weight(5));
        // Taken away, it fades.
        let fading = CONVICTION.settled(whole, Weight::ZERO, 72);
        assert!(fading.0.abs_diff(500_000_000) <= 2);
    }

    #[test]
    fn numbers_name_the_strategies() {
        for weighing in Weighing::ALL {
            assert_eq!(Weighing::try_from(weighing.code()), Ok(weighing));
        }
        assert_eq!(Weighing::try_from(4), Err(UnknownWeighing { code: 4 }));
    }

    proptest! {
        #[test]
        fn conviction_lies_between_what_was_and_what_is(
            before in any::<u128>(), votes in any::<u128>(), periods in 0..10_000_u64,
            half_life in 1..10_000_u32,
        ) {
            let conviction = Conviction { period_ms: 1, half_life_periods: half_life };
            let found = conviction.settled(Weight(before), Weight(votes), periods).0;
            prop_assert!((before.min(votes)..=before.max(votes)).contains(&found));
        }

        #[test]
        fn conviction_does_not_depend_on_how_often_it_is_settled(
            before in 0..1_u128 << 80, votes in 0..1_u128 << 80, first in 0..500_u64,
            second in 0..500_u64,
        ) {
            let settled = |before, periods| CONVICTION.settled(before, Weight(votes), periods);
            let twice = settled(settled(Weight(before), first), second);
            let once = settled(Weight(before), first + second);
            // Each step is exact to 2⁻⁵⁰ of the weights.
            let bound = (before.max(votes) >> 50) + 4;
            prop_assert!(twice.0.abs_diff(once.0) <= bound, "{twice} {once}");
        }
    }
}
