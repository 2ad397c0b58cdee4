//! Earning and fees: what is paid for contributions and for sessions of computing, by rules that
//! are data, with daily limits that hold.
//!
//! [`Earning`] decides and a [`Book`](crate::Book) moves the money: [`plan`](Earning::plan) works
//! an [`Operation`] out without changing anything, [`apply`](Earning::apply) takes its event in.
//!
//! - Facts and multipliers are integers in thousandths; a quality of 0.95 is 950. A fact the rule
//!   does not know is refused, one it requires must be told, one that is too great is refused: a
//!   misspelt name never pays nothing, nor too much, in silence.
//! - Rewards are rounded down to base units, each multiplier's for itself and a session's once.
//! - A limit holds per rule and account for one UTC day. What it cuts off is told and lost, not
//!   owed. Past days are forgotten, so the state holds one day's earners.
//! - Fees are divided exactly: the parts of treasury and sovereign fund are rounded down, and the
//!   rest is the payee's.
//!
//! Not here: who may say what is a fact, and that one contribution is told once. A host settles
//! both by signatures and by the ids of its book.
//!
//! ```
//! use fogcompute_base::{AccountId, UnixMillis};
//! use fogcompute_ledger::Amount;
//! use fogcompute_ledger::earning::{Earning, EarningError, Operation, Rules};
//!
//! let mut earning = Earning::new(Rules::default())?;
//! let knowledge = |quality| Operation::Earn {
//!     rule: "knowledge".parse().unwrap(),
//!     account: AccountId::from_bytes([1; 16]),
//!     facts: [("quality".parse().unwrap(), quality)].into(),
//! };
//! let now = UnixMillis(1_795_000_000_000);
//!
//! // 15 credits, and 80 % of them for a quality of 1.
//! let plan = earning.plan(&knowledge(1_000), now)?;
//! assert_eq!(plan.grant.unwrap().granted, Amount::from_credits(27));
//! earning.apply(&plan.event)?;
//!
//! // Below 0.7 nothing is paid.
//! assert!(matches!(
//!     earning.plan(&knowledge(699), now),
//!     Err(EarningError::RequirementNotMet { needed: 700, actual: 699, .. })
//! ));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod event;
mod name;
mod rules;
mod snapshot;

use std::collections::BTreeMap;

use ethnum::U256;
use fogcompute_base::{AccountId, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::{Amount, Movement};
use rules::MILLE;

pub use error::{Corruption, EarningError};
pub use event::{Event, EventKind};
pub use name::{Name, NameError};
pub use rules::{
    Comparison, FeeSplit, Fees, Multiplier, Requirement, Rule, Rules, RulesError, Session,
};
pub use snapshot::{GrantedRow, RestoreError, Snapshot};

const DAY_MS: u64 = 86_400_000;
const MINUTE_MS: u128 = 60_000;

/// What can be asked of earning.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Operation {
    /// Rewards a contribution.
    Earn {
        /// The rule, one of [`Rules::contributions`].
        rule: Name,
        /// Receives.
        account: AccountId,
        /// What is so, in thousandths; yes is 1,000.
        facts: BTreeMap<Name, u64>,
    },
    /// Rewards a session of computing.
    Session {
        /// Receives.
        account: AccountId,
        /// The device's power, in thousandths.
        power_milli: u64,
        /// How long it computed, in milliseconds.
        duration_ms: u64,
        /// The sum of its bonuses, in thousandths.
        bonus_per_mille: u32,
    },
    /// Pays a fee.
    Fee {
        /// Pays.
        payer: AccountId,
        /// Receives what the funds leave.
        payee: AccountId,
        /// Base units.
        amount: Amount,
    },
}

/// What is granted of what was earned.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Grant {
    /// What the rule gives.
    pub earned: Amount,
    /// What is paid.
    pub granted: Amount,
    /// What the daily limit cuts off: `earned - granted`.
    pub cut_by_limit: Amount,
    /// When the limit begins anew: the next midnight, UTC.
    pub renews_at: UnixMillis,
}

/// What an operation will do: for a host to write down and to move money by.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use = "a plan does nothing until its event is applied"]
pub struct Plan {
    /// What will have happened.
    pub event: Event,
    /// The money that moves with it, in order.
    pub movements: Vec<Movement>,
    /// What is granted; `None` for a fee.
    pub grant: Option<Grant>,
}

/// Who has been granted what today.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Earning {
    rules: Rules,
    /// The time of the last event; its day is that of `granted`.
    clock: UnixMillis,
    granted: BTreeMap<(Name, AccountId), Amount>,
}

impl Earning {
    /// Nothing granted.
    ///
    /// # Errors
    /// [`RulesError`] if the rules contradict themselves.
    pub fn new(rules: Rules) -> Result<Self, RulesError> {
        rules.validate()?;
        Ok(Self {
            rules,
            clock: UnixMillis(0),
            granted: BTreeMap::new(),
        })
    }

    /// The rules for what is planned next.
    #[must_use]
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Sets the rules for what is planned from now on. What was granted today still counts.
    ///
    /// # Errors
    /// [`RulesError`] if they contradict themselves; the old ones stay.
    pub fn set_rules(&mut self, rules: Rules) -> Result<(), RulesError> {
        rules.validate()?;
        self.rules = rules;
        Ok(())
    }

    /// Works out what an operation would do at the time `now`, without doing it.
    ///
    /// # Errors
    /// Any [`EarningError`].
    pub fn plan(&self, operation: &Operation, now: UnixMillis) -> Result<Plan, EarningError> {
        if now < self.clock {
            return Err(EarningError::ClockBehind {
                now,
                last: self.clock,
            });
        }
        let (kind, grant) = match operation {
            Operation::Earn {
                rule,
                account,
                facts,
            } => self.grant(rule, *account, self.contribution(rule, facts)?, now)?,
            Operation::Session {
                account,
                power_milli,
                duration_ms,
                bonus_per_mille,
            } => {
                let earned = self.session(*power_milli, *duration_ms, *bonus_per_mille)?;
                self.grant(&self.rules.session.counts_as, *account, earned, now)?
            }
            Operation::Fee {
                payer,
                payee,
                amount,
            } => {
                if amount.is_zero() {
                    return Err(EarningError::AmountZero);
                }
                let kind = EventKind::FeePaid {
                    payer: *payer,
                    payee: *payee,
                    split: self.rules.fees.split(*amount),
                };
                (kind, None)
            }
        };
        Ok(Plan {
            movements: kind.movements(),
            event: Event { time: now, kind },
            grant,
        })
    }

    /// Takes in an event that was planned, now or earlier. Rules are not asked, so a journal
    /// replays whatever they have become.
    ///
    /// # Errors
    /// [`Corruption::OutOfOrder`], [`Corruption::Amounts`], [`Corruption::Overflow`]; nothing
    /// changes then.
    pub fn apply(&mut self, event: &Event) -> Result<(), Corruption> {
        let (time, last) = (event.time, self.clock);
        if time < last {
            return Err(Corruption::OutOfOrder { time, last });
        }
        match &event.kind {
            EventKind::Earned {
                rule,
                account,
                granted,
                cut_by_limit,
            } => {
                if granted.is_zero() || granted.checked_add(*cut_by_limit).is_none() {
                    return Err(Corruption::Amounts);
                }
                let today = self.granted_on(rule, *account, time);
                let sum = today.checked_add(*granted);
                let sum = sum.ok_or_else(|| Corruption::Overflow { rule: rule.clone() })?;
                self.begin(time);
                self.granted.insert((rule.clone(), *account), sum);
            }
            EventKind::FeePaid { split, .. } => {
                let fee = split
                    .treasury
                    .checked_add(split.sovereign_fund)
                    .and_then(|sum| sum.checked_add(split.payee));
                if fee.is_none_or(Amount::is_zero) {
                    return Err(Corruption::Amounts);
                }
                self.begin(time);
            }
        }
        Ok(())
    }

    /// What an account was granted under a rule on the UTC day of `now`.
    #[must_use]
    pub fn granted_on(&self, rule: &Name, account: AccountId, now: UnixMillis) -> Amount {
        if day(now) != day(self.clock) {
            return Amount::ZERO;
        }
        let granted = self.granted.get(&(rule.clone(), account));
        granted.copied().unwrap_or_default()
    }

    /// Moves the clock on and forgets the days that are over.
    fn begin(&mut self, now: UnixMillis) {
        if day(now) != day(self.clock) {
            self.granted.clear();
        }
        self.clock = now;
    }

    fn contribution(
        &self,
        name: &Name,
        facts: &BTreeMap<Name, u64>,
    ) -> Result<Amount, EarningError> {
        let rule = self
            .rules
            .contributions
            .get(name)
            .ok_or_else(|| EarningError::UnknownRule { rule: name.clone() })?;
        if let Some(fact) = facts.keys().find(|fact| !rule.knows(fact)) {
            return Err(EarningError::UnknownFact {
                rule: name.clone(),
                fact: fact.clone(),
            });
        }
        for Requirement {
            fact,
            comparison,
            value,
        } in &rule.requirements
        {
            let (comparison, needed) = (*comparison, *value);
            let Some(&actual) = facts.get(fact) else {
                return Err(EarningError::FactMissing {
                    rule: name.clone(),
                    fact: fact.clone(),
                    comparison,
                    needed,
                });
            };
            if !comparison.holds(actual, needed) {
                return Err(EarningError::RequirementNotMet {
                    rule: name.clone(),
                    fact: fact.clone(),
                    comparison,
                    needed,
                    actual,
                });
            }
        }
        let overflow = || EarningError::Overflow { rule: name.clone() };
        let mut earned = rule.base;
        for multiplier in &rule.multipliers {
            let actual = facts.get(&multiplier.fact).copied().unwrap_or(0);
            if actual > multiplier.most {
                return Err(EarningError::FactTooLarge {
                    rule: name.clone(),
                    fact: multiplier.fact.clone(),
                    most: multiplier.most,
                    actual,
                });
            }
            let factors = [u128::from(multiplier.per_mille), u128::from(actual)];
            let bonus = fraction(rule.base, &factors, &[MILLE, u128::from(multiplier.per)])
                .ok_or_else(overflow)?;
            earned = earned.checked_add(bonus).ok_or_else(overflow)?;
        }
        Ok(earned)
    }

    fn session(
        &self,
        power_milli: u64,
        duration_ms: u64,
        bonus_per_mille: u32,
    ) -> Result<Amount, EarningError> {
        let session = &self.rules.session;
        if duration_ms < session.duration_min_ms {
            return Err(EarningError::SessionTooShort {
                actual_ms: duration_ms,
                needed_ms: session.duration_min_ms,
            });
        }
        if duration_ms > session.duration_max_ms {
            return Err(EarningError::SessionTooLong {
                actual_ms: duration_ms,
                most_ms: session.duration_max_ms,
            });
        }
        if power_milli > session.power_max_milli {
            return Err(EarningError::PowerTooLarge {
                actual_milli: power_milli,
                most_milli: session.power_max_milli,
            });
        }
        if bonus_per_mille > session.bonus_max_per_mille {
            return Err(EarningError::BonusTooLarge {
                actual_per_mille: bonus_per_mille,
                most_per_mille: session.bonus_max_per_mille,
            });
        }
        let factors = [
            u128::from(power_milli),
            u128::from(duration_ms),
            MILLE + u128::from(bonus_per_mille),
            u128::from(session.multiplier_per_mille),
        ];
        fraction(
            session.per_power_minute,
            &factors,
            &[MILLE, MINUTE_MS, MILLE, MILLE],
        )
        .ok_or_else(|| EarningError::Overflow {
            rule: session.counts_as.clone(),
        })
    }

    fn grant(
        &self,
        rule: &Name,
        account: AccountId,
        earned: Amount,
        now: UnixMillis,
    ) -> Result<(EventKind, Option<Grant>), EarningError> {
        if earned.is_zero() {
            return Err(EarningError::AmountZero);
        }
        let found = self.rules.contributions.get(rule);
        let limit = found.map_or(Amount::ZERO, |rule| rule.daily_limit);
        let used = self.granted_on(rule, account, now);
        let granted = earned.min(Amount(limit.0.saturating_sub(used.0)));
        let renews_at = UnixMillis((day(now) + 1).saturating_mul(DAY_MS));
        if granted.is_zero() {
            return Err(EarningError::LimitReached {
                rule: rule.clone(),
                limit,
                renews_at,
            });
        }
        let cut_by_limit = Amount(earned.0 - granted.0);
        let kind = EventKind::Earned {
            rule: rule.clone(),
            account,
            granted,
            cut_by_limit,
        };
        let grant = Grant {
            earned,
            granted,
            cut_by_limit,
            renews_at,
        };
        Ok((kind, Some(grant)))
    }
}

const fn day(time: UnixMillis) -> u64 {
    time.0 / DAY_MS
}

/// `amount` times the product of `factors` over the product of `divisors`, rounded down once;
/// `None` above [`Amount::MAX`] or on the way above 256 bits.
fn fraction(amount: Amount, factors: &[u128], divisors: &[u128]) -> Option<Amount> {
    let product = |start: U256, list: &[u128]| {
        list.iter().try_fold(start, |product, &factor| {
            product.checked_mul(U256::from(factor))
        })
    };
    let product_up = product(U256::from(amount.0), factors)?;
    let quotient = product_up.checked_div(product(U256::ONE, divisors)?)?;
    u128::try_from(quotient).ok().map(Amount)
}
