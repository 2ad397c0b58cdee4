//! What is paid for what, as data.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use super::Name;
use crate::{Amount, Ppm};

/// One thousandth: facts and multipliers are counted in it.
pub(super) const MILLE: u128 = 1_000;

/// How a fact is compared with what is needed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// The fact is that or more.
    AtLeast,
    /// The fact is that or less.
    AtMost,
    /// The fact is just that.
    Equal,
}

impl fmt::Display for Comparison {
    /// Its sign: `>=`, `<=` or `=`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AtLeast => ">=",
            Self::AtMost => "<=",
            Self::Equal => "=",
        })
    }
}

impl Comparison {
    /// Whether the fact is as needed.
    #[must_use]
    pub const fn holds(self, fact: u64, needed: u64) -> bool {
        match self {
            Self::AtLeast => fact >= needed,
            Self::AtMost => fact <= needed,
            Self::Equal => fact == needed,
        }
    }
}

/// What must be true for a reward.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    /// The fact. It must be told.
    pub fact: Name,
    /// How it is compared.
    pub comparison: Comparison,
    /// What it is compared with, in thousandths. Yes is 1,000.
    pub value: u64,
}

/// What makes a reward larger.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Multiplier {
    /// The fact. If it is not told it adds nothing.
    pub fact: Name,
    /// What `per` of the fact adds, in thousandths of the base.
    pub per_mille: u32,
    /// The unit of the fact that adds that, in thousandths; not 0. 60,000 for an hour of a fact in
    /// minutes.
    pub per: u64,
    /// The most the fact may be, in thousandths. More is refused, not cut off: it is a mistake or
    /// worse.
    pub most: u64,
}

/// What is paid for one kind of contribution: the base, and for each multiplier
/// `base · per_mille / 1000 · fact / per`, each rounded down to base units.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The reward without multipliers.
    pub base: Amount,
    /// What adds to it, each fact once.
    pub multipliers: Vec<Multiplier>,
    /// What must be true, all of it.
    pub requirements: Vec<Requirement>,
    /// The most one account is granted in one UTC day; [`Amount::MAX`] is no limit.
    pub daily_limit: Amount,
}

impl Rule {
    /// Whether a fact has a meaning here.
    pub(super) fn knows(&self, fact: &Name) -> bool {
        self.multipliers.iter().any(|m| m.fact == *fact)
            || self.requirements.iter().any(|r| r.fact == *fact)
    }
}

/// What is paid for a session of computing:
/// `per_power_minute · power · minutes · (1 + bonus) · multiplier`, rounded down once.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// The rule whose daily limit counts sessions too.
    pub counts_as: Name,
    /// The reward of one minute at power 1.
    pub per_power_minute: Amount,
    /// What every session is multiplied by, in thousandths.
    pub multiplier_per_mille: u32,
    /// The shortest session that is paid, in milliseconds.
    pub duration_min_ms: u64,
    /// The longest session, in milliseconds.
    pub duration_max_ms: u64,
    /// The highest power of a device, in thousandths.
    pub power_max_milli: u64,
    /// The highest sum of bonuses, in thousandths.
    pub bonus_max_per_mille: u32,
}

/// Who gets what of a fee. What the two parts leave, rounding included, is the payee's.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fees {
    /// The treasury's part.
    pub treasury: Ppm,
    /// The sovereign fund's part.
    pub sovereign_fund: Ppm,
}

/// A fee, divided. The three parts are exactly the fee.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct FeeSplit {
    /// For the treasury, rounded down.
    pub treasury: Amount,
    /// For the sovereign fund, rounded down.
    pub sovereign_fund: Amount,
    /// For whom the fee is paid to: the rest.
    pub payee: Amount,
}

impl FeeSplit {
    /// The whole fee; `None` above [`Amount::MAX`].
    pub(super) fn total(&self) -> Option<Amount> {
        let funds = self.treasury.checked_add(self.sovereign_fund)?;
        funds.checked_add(self.payee)
    }
}

impl Fees {
    /// Divides a fee. Parts that are more than the whole together, which
    /// [`Rules::validate`] refuses, leave the sovereign fund what the treasury does not take.
    #[must_use]
    pub fn split(&self, fee: Amount) -> FeeSplit {
        let treasury = self.treasury.of(fee);
        let rest = Amount(fee.0 - treasury.0);
        let sovereign_fund = self.sovereign_fund.of(fee).min(rest);
        FeeSplit {
            treasury,
            sovereign_fund,
            payee: Amount(rest.0 - sovereign_fund.0),
        }
    }
}

/// The rules of earning. Why each default is what it is: [`crate::economy`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// What is paid for contributions, by name.
    #[serde(deserialize_with = "distinct")]
    pub contributions: BTreeMap<Name, Rule>,
    /// What is paid for sessions of computing.
    pub session: Session,
    /// Who gets what of fees.
    pub fees: Fees,
}

/// Why rules of earning contradict themselves.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum RulesError {
    /// A multiplier would divide by zero.
    #[error("multiplier {fact} of rule {rule} counts per nothing")]
    PerZero {
        /// The rule.
        rule: Name,
        /// The multiplier's fact.
        fact: Name,
    },
    /// A rule names a fact twice among its multipliers or among its requirements.
    #[error("rule {rule} names {fact} twice")]
    FactTwice {
        /// The rule.
        rule: Name,
        /// The fact.
        fact: Name,
    },
    /// More facts are required than can be told.
    #[error("rule {rule} requires {actual} facts, more than {limit}")]
    TooManyFacts {
        /// The rule.
        rule: Name,
        /// Facts it requires.
        actual: usize,
        /// [`FACTS_MAX`](super::FACTS_MAX).
        limit: usize,
    },
    /// A fact would have to be greater than it may be.
    #[error("rule {rule} requires {fact} to be {needed} but allows {most} at most")]
    Unreachable {
        /// The rule.
        rule: Name,
        /// The fact.
        fact: Name,
        /// What is required, in thousandths.
        needed: u64,
        /// What its multiplier allows, in thousandths.
        most: u64,
    },
    /// Sessions count as a contribution for which there is no rule.
    #[error("sessions count as {rule}, for which there is no rule")]
    SessionRule {
        /// The name.
        rule: Name,
    },
    /// No session could be long enough.
    #[error("sessions of {min_ms} ms or more and {max_ms} ms or less do not exist")]
    SessionDurations {
        /// The shortest.
        min_ms: u64,
        /// The longest.
        max_ms: u64,
    },
    /// Parts of a fee are more than the fee.
    #[error("{treasury} for the treasury and {sovereign_fund} for the sovereign fund exceed a fee")]
    FeeParts {
        /// The treasury's part.
        treasury: Ppm,
        /// The sovereign fund's part.
        sovereign_fund: Ppm,
    },
}

impl Rules {
    /// Checks that the rules do not contradict themselves.
    ///
    /// # Errors
    /// Any [`RulesError`].
    pub fn validate(&self) -> Result<(), RulesError> {
        for (name, rule) in &self.contributions {
            validate_rule(name, rule)?;
        }
        let session = &self.session;
        if !self.contributions.contains_key(&session.counts_as) {
            return Err(RulesError::SessionRule {
                rule: session.counts_as.clone(),
            });
        }
        if session.duration_min_ms > session.duration_max_ms {
            return Err(RulesError::SessionDurations {
                min_ms: session.duration_min_ms,
                max_ms: session.duration_max_ms,
            });
        }
        let Fees {
            treasury,
            sovereign_fund,
        } = self.fees;
        if treasury.get() + sovereign_fund.get() > Ppm::WHOLE.get() {
            return Err(RulesError::FeeParts {
                treasury,
                sovereign_fund,
            });
        }
        Ok(())
    }
}

/// Reads a map whose keys come once each: of two rules of one name one would be lost.
fn distinct<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<Name, Rule>, D::Error> {
    struct Rules;

    impl<'de> Visitor<'de> for Rules {
        type Value = BTreeMap<Name, Rule>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("rules by name")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut rules = BTreeMap::new();
            while let Some((name, rule)) = map.next_entry::<Name, Rule>()? {
                if rules.contains_key(&name) {
                    let text = format!("rule {name} is there twice");
                    return Err(A::Error::custom(text));
                }
                rules.insert(name, rule);
            }
            Ok(rules)
        }
    }

    from.deserialize_map(Rules)
}

fn validate_rule(name: &Name, rule: &Rule) -> Result<(), RulesError> {
    let facts: BTreeSet<_> = rule.requirements.iter().map(|it| &it.fact).collect();
    if facts.len() > super::FACTS_MAX {
        return Err(RulesError::TooManyFacts {
            rule: name.clone(),
            actual: facts.len(),
            limit: super::FACTS_MAX,
        });
    }
    let twice = |fact: &Name| RulesError::FactTwice {
        rule: name.clone(),
        fact: fact.clone(),
    };
    let mut seen = BTreeSet::new();
    for Multiplier { fact, per, .. } in &rule.multipliers {
        if *per == 0 {
            return Err(RulesError::PerZero {
                rule: name.clone(),
                fact: fact.clone(),
            });
        }
        if !seen.insert(fact) {
            return Err(twice(fact));
        }
    }
    seen.clear();
    for Requirement {
        fact,
        comparison,
        value,
    } in &rule.requirements
    {
        if !seen.insert(fact) {
            return Err(twice(fact));
        }
        let multiplier = rule.multipliers.iter().find(|m| m.fact == *fact);
        let most = multiplier.map_or(u64::MAX, |multiplier| multiplier.most);
        if *comparison != Comparison::AtMost && *value > most {
            return Err(RulesError::Unreachable {
                rule: name.clone(),
                fact: fact.clone(),
                needed: *value,
                most,
            });
        }
    }
    Ok(())
}

/// A multiplier: fact, what it adds in thousandths, per how much of the fact, and how much at most.
type M = (&'static str, u32, u64, u64);

fn rule(
    base: u64,
    limit: Option<u64>,
    multipliers: &[M],
    requirements: &[(&'static str, Comparison, u64)],
) -> Rule {
    Rule {
        base: Amount::from_credits(base),
        multipliers: multipliers
            .iter()
            .map(|&(fact, per_mille, per, most)| Multiplier {
                fact: Name::fixed(fact),
                per_mille,
                per,
                most,
            })
            .collect(),
        requirements: requirements
            .iter()
            .map(|&(fact, comparison, value)| Requirement {
                fact: Name::fixed(fact),
                comparison,
                value,
            })
            .collect(),
        daily_limit: limit.map_or(Amount::MAX, Amount::from_credits),
    }
}

impl Default for Rules {
    fn default() -> Self {
        use Comparison::{AtLeast, Equal};
        const ONE: u64 = 1_000;
        const YES: u64 = 1_000;
        const HOUR: u64 = 60 * ONE;
        let contributions = [
            (
                "compute",
                rule(
                    10,
                    Some(1_000),
                    &[
                        ("duration_minutes", 100, HOUR, 24 * HOUR),
                        ("complexity", 200, ONE, 10 * ONE),
                    ],
                    &[("duration_minutes", AtLeast, 5 * ONE)],
                ),
            ),
            (
                "hosting",
                rule(
                    5,
                    Some(100),
                    &[("uptime", 500, ONE, ONE), ("bandwidth", 300, ONE, ONE)],
                    &[],
                ),
            ),
            (
                "knowledge",
                rule(
                    15,
                    None,
                    &[("quality", 800, ONE, ONE), ("uniqueness", 400, ONE, ONE)],
                    &[("quality", AtLeast, 700)],
                ),
            ),
            (
                "governance",
                rule(
                    3,
                    Some(50),
                    &[("importance", 200, ONE, ONE)],
                    &[("first_vote", Equal, YES)],
                ),
            ),
            (
                "agent",
                rule(
                    50,
                    None,
                    &[
                        ("code_quality", 1_000, ONE, ONE),
                        ("innovation", 800, ONE, ONE),
                    ],
                    &[("passes_tests", Equal, YES)],
                ),
            ),
            (
                "bug",
                rule(
                    20,
                    None,
                    &[
                        ("severity", 500, ONE, 5 * ONE),
                        ("reproducibility", 300, ONE, ONE),
                    ],
                    &[("verified", Equal, YES)],
                ),
            ),
        ];
        Self {
            contributions: contributions
                .into_iter()
                .map(|(name, rule)| (Name::fixed(name), rule))
                .collect(),
            session: Session {
                counts_as: Name::fixed("compute"),
                per_power_minute: Amount(10_u128.pow(Amount::DECIMALS - 3)),
                multiplier_per_mille: 1_500,
                duration_min_ms: 5 * 60_000,
                duration_max_ms: 24 * 3_600_000,
                power_max_milli: 10_000 * ONE,
                bonus_max_per_mille: 1_000,
            },
            fees: Fees {
                treasury: Ppm::percent(15),
                sovereign_fund: Ppm::percent(5),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rules_that_contradict_themselves_are_refused() {
        let refused = |change: &dyn Fn(&mut Rules)| {
            let mut rules = Rules::default();
            change(&mut rules);
            rules.validate().unwrap_err()
        };
        let compute = Name::fixed("compute");
        let knowledge = Name::fixed("knowledge");
        let (rule, fact) = (compute.clone(), Name::fixed("duration_minutes"));
        assert_eq!(
            refused(&|r| r.contributions.get_mut(&compute).unwrap().multipliers[0].per = 0),
            RulesError::PerZero {
                rule: rule.clone(),
                fact: fact.clone()
            }
        );
        assert_eq!(
            refused(&|r| {
                let multipliers = &mut r.contributions.get_mut(&compute).unwrap().multipliers;
                multipliers.push(multipliers[0].clone());
            }),
            RulesError::FactTwice {
                rule: rule.clone(),
                fact
            }
        );
        assert_eq!(
            refused(
                &|r| r.contributions.get_mut(&knowledge).unwrap().requirements[0].value = 1_001
            ),
            RulesError::Unreachable {
                rule: knowledge.clone(),
                fact: Name::fixed("quality"),
                needed: 1_001,
                most: 1_000
            }
        );
        assert_eq!(
            refused(&|r| {
                r.contributions.remove(&compute);
            }),
            RulesError::SessionRule { rule }
        );
        assert_eq!(
            refused(&|r| r.session.duration_max_ms = 1),
            RulesError::SessionDurations {
                min_ms: 300_000,
                max_ms: 1
            }
        );
        assert!(matches!(
            refused(&|r| r.fees.treasury = Ppm::percent(96)),
            RulesError::FeeParts { .. }
        ));
        assert_eq!(Rules::default().validate(), Ok(()));
    }

    proptest! {
        #[test]
        fn parts_of_a_fee_are_exactly_the_fee(
            fee in any::<u128>(), treasury in 0..=1_000_000_u32, fund in 0..=1_000_000_u32,
        ) {
            let fees = Fees {
                treasury: Ppm::new(treasury).unwrap(),
                sovereign_fund: Ppm::new(fund).unwrap(),
            };
            let split = fees.split(Amount(fee));
            let sum = split.treasury.checked_add(split.sovereign_fund);
            prop_assert_eq!(sum.and_then(|sum| sum.checked_add(split.payee)), Some(Amount(fee)));
        }
    }
}
