//! What may be changed by governance: delays, limits and penalties.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Amount, Ppm};

/// What an operator is accused of. The host checks the proof before it asks for a slash.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Evidence {
    /// It signed two different results of one task: never an accident.
    DoubleResult,
    /// It signed a result that others proved wrong.
    InvalidResult,
    /// It was not there when it had promised to be.
    Downtime,
}

impl Evidence {
    /// Every kind there is.
    pub const ALL: [Self; 3] = [Self::DoubleResult, Self::InvalidResult, Self::Downtime];

    /// The kind's number in the canonical encoding.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::DoubleResult => 1,
            Self::InvalidResult => 2,
            Self::Downtime => 3,
        }
    }

    /// The kind of that number, if there is one.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::DoubleResult),
            2 => Some(Self::InvalidResult),
            3 => Some(Self::Downtime),
            _ => None,
        }
    }
}

/// What follows an infraction of one kind.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Penalty {
    /// The part of the stake at the infraction that is taken.
    pub fraction: Ppm,
    /// How long the operator may not come back, in milliseconds.
    pub jail_ms: u64,
    /// Whether it may never come back.
    pub tombstone: bool,
}

/// The rules of staking. Why each default is what it is: [`crate::economy`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// How long stake takes to leave, in milliseconds.
    pub unbonding_ms: u64,
    /// How old an infraction may be, in milliseconds; at most `unbonding_ms`, so that no stake
    /// has left by then.
    pub evidence_age_ms: u64,
    /// Most unbondings of one delegator from one operator at a time, and most redelegations of one
    /// delegator between the same two operators.
    pub entries_max: u32,
    /// The highest commission.
    pub commission_max: Ppm,
    /// The most by which a commission changes in one step. A day lies between two steps.
    pub commission_step: Ppm,
    /// The part of what is slashed that goes to the insurance fund. The rest is burned.
    pub insured: Ppm,
    /// What bonded stake is rewarded with in 365 days, as a part of it.
    pub reward_per_year: Ppm,
    /// For [`Evidence::DoubleResult`].
    pub double_result: Penalty,
    /// For [`Evidence::InvalidResult`].
    pub invalid_result: Penalty,
    /// For [`Evidence::Downtime`].
    pub downtime: Penalty,
}

/// Why rules of staking contradict each other.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum RulesError {
    /// Stake could leave before its infraction is punished.
    #[error("evidence of {evidence_age_ms} ms would outlive unbonding of {unbonding_ms} ms")]
    EvidenceOutlivesUnbonding {
        /// How old evidence may be.
        evidence_age_ms: u64,
        /// How long stake takes to leave.
        unbonding_ms: u64,
    },
    /// Nobody could ever leave.
    #[error("no unbonding would be allowed at a time")]
    NoEntries,
}

pub(super) const DAY_MS: u64 = 86_400_000;
const YEAR_MS: u64 = 365 * DAY_MS;

impl Rules {
    /// What follows an infraction of that kind.
    #[must_use]
    pub const fn penalty(&self, evidence: Evidence) -> Penalty {
        match evidence {
            Evidence::DoubleResult => self.double_result,
            Evidence::InvalidResult => self.invalid_result,
            Evidence::Downtime => self.downtime,
        }
    }

    /// What that much bonded stake has earned in that time, rounded down: simple interest, not
    /// compounded. The host pays it in with [`Operation::Reward`](super::Operation::Reward), or
    /// does not, if there is no budget. `None` above [`Amount::MAX`].
    #[must_use]
    pub fn reward_for(&self, bonded: Amount, elapsed_ms: u64) -> Option<Amount> {
        let a_year = self.reward_per_year.of(bonded);
        super::arithmetic::mul_div(a_year.0, u128::from(elapsed_ms), u128::from(YEAR_MS))
            .map(Amount)
    }

    /// Checks that the rules agree with each other.
    ///
    /// # Errors
    /// Any [`RulesError`].
    pub const fn validate(&self) -> Result<(), RulesError> {
        if self.evidence_age_ms > self.unbonding_ms {
            return Err(RulesError::EvidenceOutlivesUnbonding {
                evidence_age_ms: self.evidence_age_ms,
                unbonding_ms: self.unbonding_ms,
            });
        }
        if self.entries_max == 0 {
            return Err(RulesError::NoEntries);
        }
        Ok(())
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            unbonding_ms: 21 * DAY_MS,
            evidence_age_ms: 21 * DAY_MS,
            entries_max: 7,
            commission_max: Ppm::percent(50),
            commission_step: Ppm::percent(1),
            insured: Ppm::percent(50),
            reward_per_year: Ppm::percent(5),
            double_result: Penalty {
                fraction: Ppm::percent(5),
                jail_ms: 0,
                tombstone: true,
            },
            invalid_result: Penalty {
                fraction: Ppm::percent(1),
                jail_ms: DAY_MS,
                tombstone: false,
            },
            downtime: Penalty {
                fraction: Ppm::millionths(100),
                jail_ms: 10 * 60_000,
                tombstone: false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_may_not_outlive_unbonding() {
        let rules = Rules {
            unbonding_ms: 10,
            evidence_age_ms: 11,
            ..Rules::default()
        };
        assert_eq!(
            rules.validate(),
            Err(RulesError::EvidenceOutlivesUnbonding {
                evidence_age_ms: 11,
                unbonding_ms: 10
            })
        );
        let rules = Rules {
            entries_max: 0,
            ..Rules::default()
        };
        assert_eq!(rules.validate(), Err(RulesError::NoEntries));
        assert_eq!(Rules::default().validate(), Ok(()));
    }

    #[test]
    fn five_per_cent_a_year_are_five_per_cent_in_a_year() {
        let rules = Rules::default();
        let stake = Amount::from_credits(1_000);
        assert_eq!(
            rules.reward_for(stake, YEAR_MS),
            Some(Amount::from_credits(50))
        );
        assert_eq!(rules.reward_for(stake, 0), Some(Amount::ZERO));
        assert_eq!(rules.reward_for(Amount::MAX, u64::MAX), None);
    }

    #[test]
    fn codes_name_the_kinds() {
        for kind in Evidence::ALL {
            assert_eq!(Evidence::from_code(kind.code()), Some(kind));
        }
        assert_eq!(Evidence::from_code(0), None);
    }
}
