//! What may be changed by governance about governance.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Conviction, ProposalKind, Weighing, Weights};
use crate::economy::{Number, See, Unit};
use crate::{Amount, Ppm};

/// What differs for [`ProposalKind::EmergencyAction`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Emergency {
    /// What a proposer must weigh, in base units.
    pub threshold: Amount,
    /// From a proposal to its snapshot, in milliseconds.
    pub voting_delay_ms: u64,
    /// From the snapshot to the deadline, in milliseconds.
    pub voting_ms: u64,
    /// From the queue to the execution, in milliseconds.
    pub timelock_ms: u64,
    /// The part of all weight that must take part.
    pub quorum: Ppm,
    /// The part of the votes for and against that must be for it.
    pub approval: Ppm,
}

/// The rules of governance. A proposal is bound by those of the time it was submitted.
///
/// | rule | default | bounds | reason |
/// |---|---|---|---|
/// | `proposal_threshold` | 1,000 credits | 0 to 1,000,000 | the prototype's; 0.1 % of the first supply |
/// | `voting_delay_ms` | 1 day | 1 ms to 30 days | time to delegate or withdraw before the snapshot; at least the millisecond that no weight can be borrowed in |
/// | `voting_ms` | 7 days | 1 hour to 90 days | the prototype's 168 hours: every time zone and a weekend |
/// | `timelock_ms` | 24 hours | 1 hour to 90 days | the prototype's; who disagrees can leave, guardians can look |
/// | `grace_ms` | 14 days | 1 day to 1 year | Compound's Timelock `GRACE_PERIOD`: a decision is not executed when nobody remembers it |
/// | `quorum` | 10 % | 1 % to 75 % | the prototype's; 0 was its fault, above 75 % little would ever pass |
/// | `approval` | 60 % | 50 % to 95 % | the prototype's; never a minority, never unanimity |
/// | `late_quorum_ms` | 1 day | 0 to 30 days | a last-minute quorum can be answered by whoever looks once a day |
/// | `voter_share_max` | 25 % | 1 % to 100 % | no role and no pool of delegations decides alone: at 60 % approval three must agree |
/// | `vote_changes_max` | 8 | 0 to 1,000 | a voter may learn; each change is an entry of the history, and may extend the deadline |
/// | `emergency.threshold` | 10,000 credits | 0 to 1,000,000 | ten times as much for a shorter clock |
/// | `emergency.voting_delay_ms` | 1 hour | 1 ms to 30 days | an emergency cannot wait for a day |
/// | `emergency.voting_ms` | 24 hours | 1 hour to 90 days | every time zone once |
/// | `emergency.timelock_ms` | 1 hour | 1 minute to 90 days | what can be done is a pause, which harms little |
/// | `emergency.quorum`, `emergency.approval` | 20 %, 80 % | 1 % to 75 %, 50 % to 95 % | a shorter clock needs more agreement, never less |
/// | `weights` | 1,500, 2,000, 5,000, 10,000 | 1,000 to 100,000 | the prototype's; nobody weighs less than a citizen |
/// | `role_holders_max` | 128 | 1 to 1,024 | all of them are weighed anew when a weight changes |
/// | `delegation_depth_max` | 8 | 1 to 1,024 | each level is work for every transfer of those above it |
/// | `delegation_paths_max` | 64 | 1 to 4,096 | likewise for each branch: two splits into eight |
/// | `live_max`, `live_per_author_max` | 128, 3 | 1 to 1,024 | what voters can read; nobody fills it alone |
/// | `drafts_max`, `drafts_per_author_max` | 1,024, 8 | 1 to 16,384, 1 to 1,024 | likewise; drafts cost memory only |
/// | `weighing` | linear | 0 to 3 | the others need reputations, known people or patience |
/// | `reputation_default` | 0 | 0 to 100 % | an account is opened in no time: what nobody has vouched for adds nothing |
/// | `conviction` | periods of 1 hour, half-life 72 | 1 minute to 30 days, 1 to 10,000 | three days, so that a week of voting reaches 80 % |
/// | `signatures_required` | yes | flag | votes of the prototype were unsigned |
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// What a proposer must weigh and keep, in base units, the millisecond before.
    pub proposal_threshold: Amount,
    /// From a proposal to its snapshot, in milliseconds.
    pub voting_delay_ms: u64,
    /// From the snapshot to the deadline, in milliseconds.
    pub voting_ms: u64,
    /// From the queue to the execution, in milliseconds.
    pub timelock_ms: u64,
    /// How long a proposal may be queued after its deadline, and executed after its timelock.
    pub grace_ms: u64,
    /// The part of all weight that must vote for it or abstain.
    pub quorum: Ppm,
    /// The part of the votes for and against that must be for it.
    pub approval: Ppm,
    /// What is left at least to vote when a vote reaches the quorum, in milliseconds.
    pub late_quorum_ms: u64,
    /// The most that one ballot counts, as a part of all weight.
    pub voter_share_max: Ppm,
    /// How often a voter may change its vote on one proposal.
    pub vote_changes_max: u32,
    /// What differs in an emergency.
    pub emergency: Emergency,
    /// What roles weigh. The host passes a change on ([`Draft::set_weights`](super::Draft)).
    pub weights: Weights,
    /// Most accounts with a role.
    pub role_holders_max: u32,
    /// Most delegations that power may pass through on its way.
    pub delegation_depth_max: u32,
    /// Most ways that the power of one account may be split into, all levels together.
    pub delegation_paths_max: u32,
    /// Most proposals that are not over.
    pub live_max: u32,
    /// Most proposals of one author that are not over.
    pub live_per_author_max: u32,
    /// Most drafts.
    pub drafts_max: u32,
    /// Most drafts of one author.
    pub drafts_per_author_max: u32,
    /// How power becomes votes.
    pub weighing: Weighing,
    /// The reputation of whom none was set for.
    pub reputation_default: Ppm,
    /// For [`Weighing::Conviction`].
    pub conviction: Conviction,
    /// Whether the host must refuse requests that their account has not signed. For the host to
    /// heed: signatures are not seen here.
    pub signatures_required: bool,
}

/// Why rules of governance cannot be.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum RulesError {
    /// A number is outside its bounds.
    #[error("parameter {name} must be {min} to {max}, not {value}")]
    OutOfBounds {
        /// The parameter.
        name: String,
        /// The value.
        value: u128,
        /// The least it may be.
        min: u128,
        /// The most it may be.
        max: u128,
    },
    /// An emergency would be proposed or passed more easily than anything else.
    #[error("{name} of an emergency is {emergency}, below the {ordinary} of other proposals")]
    EmergencyTooEasy {
        /// The rule: threshold, quorum or approval.
        name: &'static str,
        /// What it is in an emergency.
        emergency: u128,
        /// What it is otherwise.
        ordinary: u128,
    },
}

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

impl Default for Rules {
    fn default() -> Self {
        Self {
            proposal_threshold: Amount::from_credits(1_000),
            voting_delay_ms: DAY_MS,
            voting_ms: 7 * DAY_MS,
            timelock_ms: DAY_MS,
            grace_ms: 14 * DAY_MS,
            quorum: Ppm::percent(10),
            approval: Ppm::percent(60),
            late_quorum_ms: DAY_MS,
            voter_share_max: Ppm::percent(25),
            vote_changes_max: 8,
            emergency: Emergency {
                threshold: Amount::from_credits(10_000),
                voting_delay_ms: HOUR_MS,
                voting_ms: DAY_MS,
                timelock_ms: HOUR_MS,
                quorum: Ppm::percent(20),
                approval: Ppm::percent(80),
            },
            weights: Weights::default(),
            role_holders_max: 128,
            delegation_depth_max: 8,
            delegation_paths_max: 64,
            live_max: 128,
            live_per_author_max: 3,
            drafts_max: 1_024,
            drafts_per_author_max: 8,
            weighing: Weighing::Linear,
            reputation_default: Ppm::ZERO,
            conviction: Conviction {
                period_ms: HOUR_MS,
                half_life_periods: 72,
            },
            signatures_required: true,
        }
    }
}

/// The times and bars of a kind of proposal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Path {
    pub(super) threshold: Amount,
    pub(super) voting_delay_ms: u64,
    pub(super) voting_ms: u64,
    pub(super) timelock_ms: u64,
    pub(super) quorum: Ppm,
    pub(super) approval: Ppm,
}

impl Rules {
    pub(super) const fn path(&self, kind: ProposalKind) -> Path {
        let emergency = &self.emergency;
        match kind {
            ProposalKind::EmergencyAction => Path {
                threshold: emergency.threshold,
                voting_delay_ms: emergency.voting_delay_ms,
                voting_ms: emergency.voting_ms,
                timelock_ms: emergency.timelock_ms,
                quorum: emergency.quorum,
                approval: emergency.approval,
            },
            _ => Path {
                threshold: self.proposal_threshold,
                voting_delay_ms: self.voting_delay_ms,
                voting_ms: self.voting_ms,
                timelock_ms: self.timelock_ms,
                quorum: self.quorum,
                approval: self.approval,
            },
        }
    }

    /// Checks every number against its bounds, and that an emergency is not the easy way.
    ///
    /// # Errors
    /// Any [`RulesError`].
    pub fn validate(&self) -> Result<(), RulesError> {
        let mut done = Ok(());
        let mut rules = *self;
        visit_dao(&mut rules, &mut |name, _, min, max, number| {
            let value = number.read();
            if done.is_ok() && !(min..=max).contains(&value) {
                done = Err(RulesError::OutOfBounds {
                    name: name.to_owned(),
                    value,
                    min,
                    max,
                });
            }
        });
        done?;
        let emergency = &self.emergency;
        let part = |part: Ppm| u128::from(part.get());
        for (name, emergency, ordinary) in [
            (
                "threshold",
                emergency.threshold.0,
                self.proposal_threshold.0,
            ),
            ("quorum", part(emergency.quorum), part(self.quorum)),
            ("approval", part(emergency.approval), part(self.approval)),
        ] {
            if emergency < ordinary {
                return Err(RulesError::EmergencyTooEasy {
                    name,
                    emergency,
                    ordinary,
                });
            }
        }
        Ok(())
    }
}

impl Number for Weighing {
    fn read(&self) -> u128 {
        u128::from(self.code())
    }

    fn write(&mut self, value: u128) {
        let code = u8::try_from(value).unwrap_or(u8::MAX);
        *self = Self::try_from(code).unwrap_or_default();
    }
}

/// Calls `see` with every number: the one list of parameters.
pub(crate) fn visit_dao(rules: &mut Rules, see: &mut See<'_>) {
    const CREDITS_MAX: u128 = 1_000_000 * 10_u128.pow(Amount::DECIMALS);
    const WHOLE: u128 = 1_000_000;
    let Rules {
        proposal_threshold,
        voting_delay_ms,
        voting_ms,
        timelock_ms,
        grace_ms,
        quorum,
        approval,
        late_quorum_ms,
        voter_share_max,
        vote_changes_max,
        emergency,
        weights,
        role_holders_max,
        delegation_depth_max,
        delegation_paths_max,
        live_max,
        live_per_author_max,
        drafts_max,
        drafts_per_author_max,
        weighing,
        reputation_default,
        conviction,
        signatures_required,
    } = rules;
    let mut see = |name: &str, unit, min: u128, max: u128, number: &mut dyn Number| {
        see(&format!("dao.{name}"), unit, min, max, number);
    };
    let (units, part, time) = (Unit::BaseUnits, Unit::Ppm, Unit::Milliseconds);
    let (hour, day) = (u128::from(HOUR_MS), u128::from(DAY_MS));
    see(
        "proposal_threshold",
        units,
        0,
        CREDITS_MAX,
        proposal_threshold,
    );
    see("voting_delay_ms", time, 1, 30 * day, voting_delay_ms);
    see("voting_ms", time, hour, 90 * day, voting_ms);
    see("timelock_ms", time, hour, 90 * day, timelock_ms);
    see("grace_ms", time, day, 365 * day, grace_ms);
    see("quorum", part, 10_000, 750_000, quorum);
    see("approval", part, 500_000, 950_000, approval);
    see("late_quorum_ms", time, 0, 30 * day, late_quorum_ms);
    see("voter_share_max", part, 10_000, WHOLE, voter_share_max);
    see("vote_changes_max", Unit::Count, 0, 1_000, vote_changes_max);
    let Emergency {
        threshold,
        voting_delay_ms,
        voting_ms,
        timelock_ms,
        quorum,
        approval,
    } = emergency;
    let minute = u128::from(MINUTE_MS);
    see("emergency.threshold", units, 0, CREDITS_MAX, threshold);
    see(
        "emergency.voting_delay_ms",
        time,
        1,
        30 * day,
        voting_delay_ms,
    );
    see("emergency.voting_ms", time, hour, 90 * day, voting_ms);
    see("emergency.timelock_ms", time, minute, 90 * day, timelock_ms);
    see("emergency.quorum", part, 10_000, 750_000, quorum);
    see("emergency.approval", part, 500_000, 950_000, approval);
    let Weights {
        delegate,
        councilor,
        guardian,
        king,
    } = weights;
    for (name, weight) in [
        ("delegate", delegate),
        ("councilor", councilor),
        ("guardian", guardian),
        ("king", king),
    ] {
        let name = format!("weights.{name}");
        see(&name, Unit::PerMille, 1_000, 100_000, weight);
    }
    let count = Unit::Count;
    see("role_holders_max", count, 1, 1_024, role_holders_max);
    see(
        "delegation_depth_max",
        count,
        1,
        1_024,
        delegation_depth_max,
    );
    see(
        "delegation_paths_max",
        count,
        1,
        4_096,
        delegation_paths_max,
    );
    see("live_max", count, 1, 1_024, live_max);
    see("live_per_author_max", count, 1, 1_024, live_per_author_max);
    see("drafts_max", count, 1, 16_384, drafts_max);
    see(
        "drafts_per_author_max",
        count,
        1,
        1_024,
        drafts_per_author_max,
    );
    see("weighing", count, 0, 3, weighing);
    see("reputation_default", part, 0, WHOLE, reputation_default);
    let Conviction {
        period_ms,
        half_life_periods,
    } = conviction;
    see("conviction.period_ms", time, minute, 30 * day, period_ms);
    see(
        "conviction.half_life_periods",
        count,
        1,
        10_000,
        half_life_periods,
    );
    see("signatures_required", Unit::Flag, 0, 1, signatures_required);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_survive_serde() {
        let rules = Rules::default();
        assert_eq!(rules.validate(), Ok(()));
        let text = serde_json::to_string(&rules).unwrap();
        assert_eq!(serde_json::from_str::<Rules>(&text).unwrap(), rules);
    }

    #[test]
    fn each_number_is_held_to_its_bounds() {
        let mut count = 0;
        visit_dao(&mut Rules::default(), &mut |_, _, _, _, _| count += 1);
        for wanted in 0..count {
            for below in [false, true] {
                let mut rules = Rules::default();
                let (mut place, mut expected) = (0, None);
                visit_dao(&mut rules, &mut |name, _, min, max, number| {
                    let beyond = if below {
                        min.checked_sub(1)
                    } else {
                        Some(max + 1)
                    };
                    // A flag and a name of a strategy cannot be anything else at all.
                    if let Some(value) = beyond.filter(|_| place == wanted && max > 3) {
                        number.write(value);
                        // A part of a whole cannot exceed it either.
                        expected = (number.read() == value).then(|| name.to_owned());
                    }
                    place += 1;
                });
                match (rules.validate(), expected) {
                    (Err(RulesError::OutOfBounds { name, .. }), Some(expected)) => {
                        assert_eq!(name, expected);
                    }
                    (found, expected) => assert_eq!((found, expected), (Ok(()), None)),
                }
            }
        }
    }

    #[test]
    fn an_emergency_is_never_the_easy_way() {
        let mut rules = Rules::default();
        rules.emergency.quorum = Ppm::percent(9);
        assert_eq!(
            rules.validate(),
            Err(RulesError::EmergencyTooEasy {
                name: "quorum",
                emergency: 90_000,
                ordinary: 100_000
            })
        );
    }
}
