//! The economy's configuration: every number in one place, each a parameter that governance may
//! set.
//!
//! [`Economy`] holds the rules of [`staking`], of [`earning`] and of [governance](dao), and the supply.
//! [`Economy::parameters`] lists every number with its name, value and bounds, and
//! [`Economy::set`] changes one, if all of them still agree afterwards. A parameter's name is the
//! path of its number in the JSON of the economy.
//!
//! The prototype this succeeds named some numbers twice. What was settled, and why:
//!
//! | contradiction | settled | reason |
//! |---|---|---|
//! | supply of 1,000,000 or 1,000,000,000 credits | 1,000,000 at the start, 1,000,000,000 at most | a cap of a million would be earned up within 1,000 account-days at the daily limit; the treasury's 150,000, which is 15 % of a million, shows that a million was meant as the start |
//! | 10, 100 or 200 credits an hour of computing | the session formula alone, no hourly rate | a device of power 100 earns 100 · 60 · 0.001 · 1.5 = 9 credits an hour, next to the 10 of the token service; at 100 or 200 the daily limit of 1,000 would be reached after 10 or 5 hours and be the only rate there is |
//! | 5 % or 8.5 % a year for stakers | 5 %, simple | the 8.5 % were a figure of a mock answer; hourly compounding made the rate depend on how often it was run |
//! | compute mining paid nothing, as its requirement had another name than the fact | facts that a rule does not know are refused | see [`crate::earning`] |
//!
//! Other defaults and where they come from:
//!
//! | numbers | reason |
//! |---|---|
//! | base rewards 10, 5, 15, 3, 50, 20; their multipliers; at most 1,000, 100 and 50 a day for compute, hosting and governance; sessions of 5 minutes or more, times 1.5; 15 % and 5 % of fees | the prototype's configuration |
//! | the most a fact may be | 1 for what is a quality or a part, 24 hours, a severity of 5, a complexity of 10: without a bound one claim could mint any amount |
//! | a first vote is required of governance | each vote of one voter on one proposal was paid |
//! | sessions: power 10,000 at most, 24 hours, bonuses of 1 | a hundred reference devices; one day, which is what the limit counts in; no more than double |
//! | unbonding 21 days, 7 entries; a double result costs 5 % and the tombstone; downtime costs 0.01 % and 10 minutes | Cosmos Hub, for double signing and downtime |
//! | evidence for 21 days | as long as stake takes to leave, and no longer, so that none has left by then |
//! | an invalid result costs 1 % and a day | between the two: it may be a broken device, but others paid for it |
//! | commission 50 % at most, 1 point a day | delegators have 21 days to leave before it has changed by 21 points |
//! | half of what is slashed is insured | the harmed are paid, and yet nobody gains by being harmed on purpose by a friend: half is burned |
//!
//! ```
//! use fogcompute_ledger::economy::{Economy, EconomyError};
//!
//! let mut economy = Economy::default();
//! economy.set("earning.contributions.hosting.base", 6 * 10_u128.pow(18))?;
//! assert_eq!(economy.get("earning.contributions.hosting.base"), Some(6 * 10_u128.pow(18)));
//!
//! // Each number is fine by itself; together they would let stake leave before its punishment.
//! let day = 86_400_000;
//! assert!(matches!(economy.set("staking.unbonding_ms", day), Err(EconomyError::Staking(_))));
//! economy.set("staking.evidence_age_ms", day)?;
//! economy.set("staking.unbonding_ms", day)?;
//! # Ok::<(), EconomyError>(())
//! ```

mod act;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::dao::visit_dao;
use crate::{Amount, Ppm, dao, earning, staking};

pub use act::{Event, Request};
pub(crate) use act::{Signer, account_of, decimal, text};

/// How much money there is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Supply {
    /// Minted when a network begins.
    pub initial: Amount,
    /// The most there may ever be, for the issuer's account to enforce.
    pub max: Amount,
}

/// Every number of the economy.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Economy {
    /// How much money there is.
    pub supply: Supply,
    /// Staking, rewards and slashing.
    pub staking: staking::Rules,
    /// Earning and fees.
    pub earning: earning::Rules,
    /// Voting, proposals and what roles weigh.
    pub dao: dao::Rules,
}

impl Default for Economy {
    fn default() -> Self {
        Self {
            supply: Supply {
                initial: Amount::from_credits(1_000_000),
                max: Amount::from_credits(1_000_000_000),
            },
            staking: staking::Rules::default(),
            earning: earning::Rules::default(),
            dao: dao::Rules::default(),
        }
    }
}

/// What a parameter is counted in.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Base units of credits.
    BaseUnits,
    /// Millionths.
    Ppm,
    /// Thousandths.
    PerMille,
    /// Milliseconds.
    Milliseconds,
    /// Things.
    Count,
    /// 0 for no, 1 for yes.
    Flag,
}

/// A number of the economy.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Parameter {
    /// Its name, which never changes: the path of the number in the JSON of the [`Economy`], with
    /// points between the parts. An element of a list goes by its `fact`.
    pub name: String,
    /// What it is counted in.
    pub unit: Unit,
    /// What it is.
    pub value: u128,
    /// The least it may be.
    pub min: u128,
    /// The most it may be.
    pub max: u128,
}

/// Why an economy cannot be, or a parameter not be set. Nothing has changed then.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum EconomyError {
    /// There is no such parameter.
    #[error("there is no parameter {name:?}")]
    UnknownParameter {
        /// The name.
        name: String,
    },
    /// The value is outside the parameter's bounds.
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
    /// The rules are longer than an entry of the history may be.
    #[error("economy of {actual} bytes as JSON exceeds the limit of {limit}")]
    TooLong {
        /// Bytes of its JSON text, without spaces.
        actual: usize,
        /// [`Economy::BYTES_MAX`].
        limit: usize,
    },
    /// There would be more money at the start than there may ever be.
    #[error("initial supply of {initial} exceeds the largest of {max}")]
    Supply {
        /// The supply at the start.
        initial: Amount,
        /// The most there may be.
        max: Amount,
    },
    /// The rules of staking contradict each other.
    #[error("rules of staking do not agree: {0}")]
    Staking(#[from] staking::RulesError),
    /// The rules of earning contradict themselves.
    #[error("rules of earning do not agree: {0}")]
    Earning(#[from] earning::RulesError),
    /// The rules of governance contradict themselves.
    #[error("rules of governance do not agree: {0}")]
    Governance(#[from] dao::RulesError),
}

impl Economy {
    /// Most bytes of an economy as JSON text without spaces: 256 KiB. The default has 5 KiB.
    pub const BYTES_MAX: usize = 256 << 10;

    /// Checks every number against its bounds, and that they agree with each other.
    ///
    /// # Errors
    /// Any [`EconomyError`] but [`EconomyError::UnknownParameter`].
    pub fn validate(&self) -> Result<(), EconomyError> {
        for Parameter {
            name,
            value,
            min,
            max,
            ..
        } in self.parameters()
        {
            within(&name, value, min, max)?;
        }
        let Supply { initial, max } = self.supply;
        if initial > max {
            return Err(EconomyError::Supply { initial, max });
        }
        self.staking.validate()?;
        self.earning.validate()?;
        self.dao.validate()?;
        let (actual, limit) = (text(self).len(), Self::BYTES_MAX);
        if actual > limit {
            return Err(EconomyError::TooLong { actual, limit });
        }
        Ok(())
    }

    /// Every number, in a fixed order.
    #[must_use]
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut list = Vec::new();
        self.clone().visit(&mut |field| {
            list.push(Parameter {
                value: field.number.read(),
                name: field.name,
                unit: field.unit,
                min: field.min,
                max: field.max,
            });
        });
        list
    }

    /// The value of a parameter, if there is one of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<u128> {
        let mut list = self.parameters().into_iter();
        list.find(|parameter| parameter.name == name)
            .map(|parameter| parameter.value)
    }

    /// Sets one parameter.
    ///
    /// # Errors
    /// Any [`EconomyError`]; the old value stays.
    pub fn set(&mut self, name: &str, value: u128) -> Result<(), EconomyError> {
        let mut changed = self.clone();
        let mut done = Err(EconomyError::UnknownParameter {
            name: name.to_owned(),
        });
        changed.visit(&mut |field| {
            if field.name == name {
                done = within(name, value, field.min, field.max);
                if done.is_ok() {
                    field.number.write(value);
                }
            }
        });
        done?;
        changed.validate()?;
        *self = changed;
        Ok(())
    }

    /// Calls `visit` with every number: the one list of parameters.
    fn visit(&mut self, visit: &mut dyn FnMut(Field<'_>)) {
        let Self {
            supply,
            staking,
            earning,
            dao,
        } = self;
        let mut see = |name: &str, unit, min, max, number: &mut dyn Number| {
            visit(Field {
                name: name.to_owned(),
                unit,
                min,
                max,
                number,
            });
        };
        see(
            "supply.initial",
            Unit::BaseUnits,
            0,
            u128::MAX,
            &mut supply.initial,
        );
        see("supply.max", Unit::BaseUnits, 1, u128::MAX, &mut supply.max);
        visit_staking(staking, &mut see);
        visit_earning(earning, &mut see);
        visit_dao(dao, &mut see);
    }
}

/// A number where it stands.
struct Field<'a> {
    name: String,
    unit: Unit,
    min: u128,
    max: u128,
    number: &'a mut dyn Number,
}

pub(crate) type See<'a> = dyn FnMut(&str, Unit, u128, u128, &mut dyn Number) + 'a;

const DAY_MS: u128 = 86_400_000;
/// Any period is shorter: ten years.
const LONG_MS: u128 = 3_650 * DAY_MS;
const WHOLE: u128 = 1_000_000;
/// A million credits: no single reward is larger.
const REWARD_MAX: u128 = 1_000_000 * 10_u128.pow(Amount::DECIMALS);
/// A thousand times: no multiplier is larger.
const TIMES_MAX: u128 = 1_000_000;
const FACT_MAX: u128 = u64::MAX as u128;

fn visit_staking(rules: &mut staking::Rules, see: &mut See<'_>) {
    let staking::Rules {
        unbonding_ms,
        evidence_age_ms,
        entries_max,
        commission_max,
        commission_step,
        insured,
        reward_per_year,
        double_result,
        invalid_result,
        downtime,
    } = rules;
    let mut part = |name: &str, number: &mut Ppm| {
        see(&format!("staking.{name}"), Unit::Ppm, 0, WHOLE, number);
    };
    part("commission_max", commission_max);
    part("commission_step", commission_step);
    part("insured", insured);
    part("reward_per_year", reward_per_year);
    let time = Unit::Milliseconds;
    see("staking.unbonding_ms", time, 1, LONG_MS, unbonding_ms);
    see("staking.evidence_age_ms", time, 1, LONG_MS, evidence_age_ms);
    // Every slash looks at each of them.
    see("staking.entries_max", Unit::Count, 1, 100, entries_max);
    for (kind, penalty) in [
        ("double_result", double_result),
        ("invalid_result", invalid_result),
        ("downtime", downtime),
    ] {
        let name = |part| format!("staking.{kind}.{part}");
        let staking::Penalty {
            fraction,
            jail_ms,
            tombstone,
        } = penalty;
        see(&name("fraction"), Unit::Ppm, 0, WHOLE, fraction);
        see(&name("jail_ms"), time, 0, LONG_MS, jail_ms);
        see(&name("tombstone"), Unit::Flag, 0, 1, tombstone);
    }
}

fn visit_earning(rules: &mut earning::Rules, see: &mut See<'_>) {
    let earning::Rules {
        contributions,
        session,
        fees,
    } = rules;
    for (rule_name, rule) in contributions {
        let name = |part: &str| format!("earning.contributions.{rule_name}.{part}");
        let earning::Rule {
            base,
            multipliers,
            requirements,
            daily_limit,
        } = rule;
        see(&name("base"), Unit::BaseUnits, 0, REWARD_MAX, base);
        see(
            &name("daily_limit"),
            Unit::BaseUnits,
            0,
            u128::MAX,
            daily_limit,
        );
        for earning::Multiplier {
            fact,
            per_mille,
            per,
            most,
        } in multipliers
        {
            let name = |part: &str| name(&format!("multipliers.{fact}.{part}"));
            see(&name("per_mille"), Unit::PerMille, 0, TIMES_MAX, per_mille);
            see(&name("per"), Unit::PerMille, 1, FACT_MAX, per);
            see(&name("most"), Unit::PerMille, 0, FACT_MAX, most);
        }
        for earning::Requirement { fact, value, .. } in requirements {
            let name = name(&format!("requirements.{fact}.value"));
            see(&name, Unit::PerMille, 0, FACT_MAX, value);
        }
    }
    let earning::Session {
        counts_as: _,
        per_power_minute,
        multiplier_per_mille,
        duration_min_ms,
        duration_max_ms,
        power_max_milli,
        bonus_max_per_mille,
    } = session;
    let (mille, time) = (Unit::PerMille, Unit::Milliseconds);
    let mut session = |name: &str, unit, min, max, number: &mut dyn Number| {
        see(&format!("earning.session.{name}"), unit, min, max, number);
    };
    session(
        "per_power_minute",
        Unit::BaseUnits,
        0,
        REWARD_MAX,
        per_power_minute,
    );
    session(
        "multiplier_per_mille",
        mille,
        0,
        TIMES_MAX,
        multiplier_per_mille,
    );
    session("duration_min_ms", time, 1, DAY_MS, duration_min_ms);
    session("duration_max_ms", time, 1, DAY_MS, duration_max_ms);
    session("power_max_milli", mille, 0, FACT_MAX, power_max_milli);
    session(
        "bonus_max_per_mille",
        mille,
        0,
        TIMES_MAX,
        bonus_max_per_mille,
    );
    let earning::Fees {
        treasury,
        sovereign_fund,
    } = fees;
    see("earning.fees.treasury", Unit::Ppm, 0, WHOLE, treasury);
    see(
        "earning.fees.sovereign_fund",
        Unit::Ppm,
        0,
        WHOLE,
        sovereign_fund,
    );
}

fn within(name: &str, value: u128, min: u128, max: u128) -> Result<(), EconomyError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(EconomyError::OutOfBounds {
        name: name.to_owned(),
        value,
        min,
        max,
    })
}

/// A number of any type that can hold everything within its bounds.
pub(crate) trait Number {
    fn read(&self) -> u128;
    fn write(&mut self, value: u128);
}

impl Number for Amount {
    fn read(&self) -> u128 {
        self.0
    }

    fn write(&mut self, value: u128) {
        self.0 = value;
    }
}

impl Number for Ppm {
    fn read(&self) -> u128 {
        u128::from(self.get())
    }

    fn write(&mut self, value: u128) {
        *self = u32::try_from(value).map_or(Self::WHOLE, Self::millionths);
    }
}

impl Number for bool {
    fn read(&self) -> u128 {
        u128::from(*self)
    }

    fn write(&mut self, value: u128) {
        *self = value != 0;
    }
}

impl Number for u32 {
    fn read(&self) -> u128 {
        u128::from(*self)
    }

    fn write(&mut self, value: u128) {
        *self = Self::try_from(value).unwrap_or(Self::MAX);
    }
}

impl Number for u64 {
    fn read(&self) -> u128 {
        u128::from(*self)
    }

    fn write(&mut self, value: u128) {
        *self = Self::try_from(value).unwrap_or(Self::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::collections::BTreeMap;

    /// The numbers in a JSON value with their paths. An element of a list goes by its fact.
    fn numbers(path: &str, value: &Value, found: &mut BTreeMap<String, u128>) {
        let number = match value {
            Value::Bool(flag) => Some(u128::from(*flag)),
            Value::Number(number) => Some(number.as_u64().unwrap().into()),
            Value::String(text) => text.parse::<Amount>().ok().map(|amount| amount.0),
            _ => None,
        };
        if let Some(number) = number {
            assert_eq!(found.insert(path.to_owned(), number), None, "{path}");
        }
        let within = |part: &str| match path {
            "" => part.to_owned(),
            path => format!("{path}.{part}"),
        };
        match value {
            Value::Array(list) => list.iter().for_each(|item| {
                numbers(&within(item["fact"].as_str().unwrap()), item, found);
            }),
            Value::Object(map) => map
                .iter()
                .for_each(|(name, item)| numbers(&within(name), item, found)),
            _ => {}
        }
    }

    #[test]
    fn the_name_of_a_parameter_is_the_path_of_its_number_in_the_json() {
        // Those of sessions and fees had no `earning.` before them, and those of contributions left
        // `contributions` out, so that a rule called `session` would have been taken for sessions.
        let economy = Economy::default();
        let mut there = BTreeMap::new();
        numbers("", &serde_json::to_value(&economy).unwrap(), &mut there);
        let parameters = economy.parameters();
        assert_eq!(parameters.len(), there.len());
        let named = parameters.into_iter().map(|it| (it.name, it.value));
        assert_eq!(named.collect::<BTreeMap<_, _>>(), there);
        for name in [
            "staking.unbonding_ms",
            "staking.double_result.fraction",
            "earning.contributions.compute.base",
            "earning.contributions.knowledge.requirements.quality.value",
            "earning.contributions.compute.multipliers.duration_minutes.per_mille",
            "earning.session.per_power_minute",
            "earning.fees.treasury",
            "supply.max",
        ] {
            assert!(there.contains_key(name), "{name}");
        }
    }

    #[test]
    fn each_parameter_takes_its_bounds_and_nothing_beyond() {
        let economy = Economy::default();
        for Parameter { name, min, max, .. } in economy.parameters() {
            for value in [min, max] {
                let mut changed = economy.clone();
                match changed.set(&name, value) {
                    Ok(()) => assert_eq!(changed.get(&name), Some(value), "{name}"),
                    // In bounds, but at odds with another number.
                    Err(error) => {
                        assert!(
                            !matches!(
                                error,
                                EconomyError::OutOfBounds { .. }
                                    | EconomyError::UnknownParameter { .. }
                            ),
                            "{name}: {error}"
                        );
                        assert_eq!(changed, economy);
                    }
                }
            }
            let beyond = [min.checked_sub(1), max.checked_add(1)];
            for value in beyond.into_iter().flatten() {
                let mut changed = economy.clone();
                assert_eq!(
                    changed.set(&name, value),
                    Err(EconomyError::OutOfBounds {
                        name: name.clone(),
                        value,
                        min,
                        max
                    })
                );
                assert_eq!(changed, economy);
            }
        }
    }

    #[test]
    fn unknown_parameters_and_contradictions_are_refused() {
        let mut economy = Economy::default();
        assert_eq!(
            economy.set("staking.unbonding", 1),
            Err(EconomyError::UnknownParameter {
                name: "staking.unbonding".to_owned()
            })
        );
        assert_eq!(
            economy.set("supply.max", 1),
            Err(EconomyError::Supply {
                initial: Amount::from_credits(1_000_000),
                max: Amount(1)
            })
        );
        assert!(matches!(
            economy.set("earning.fees.treasury", 960_000),
            Err(EconomyError::Earning(_))
        ));
        assert_eq!(economy, Economy::default());
    }

    #[test]
    fn defaults_are_valid_and_survive_serde() {
        let mut economy = Economy::default();
        assert_eq!(economy.validate(), Ok(()));
        let text = serde_json::to_string(&economy).unwrap();
        assert_eq!(serde_json::from_str::<Economy>(&text).unwrap(), economy);
        // A file may hold anything; validation says which number it is.
        economy.staking.entries_max = 101;
        assert_eq!(
            economy.validate(),
            Err(EconomyError::OutOfBounds {
                name: "staking.entries_max".to_owned(),
                value: 101,
                min: 1,
                max: 100
            })
        );
    }
}
