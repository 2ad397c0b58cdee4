//! Operations and events worked out against a state, one after another, not yet part of it.

use std::collections::BTreeMap;

use ethnum::U256;
use fogcompute_base::{AccountId, UnixMillis};

use super::rules::MILLE;
use super::{
    Basis, Corruption, DAY_MS, Earning, EarningError, EventKind, FACTS_MAX, Grant, Name, Operation,
    Requirement, Rules, day,
};
use crate::Amount;

const MINUTE_MS: u128 = 60_000;

/// What operations or events make of a state, not yet part of it.
///
/// Each sees what those before it have done, and only what is touched is copied. A step that is
/// refused may have been done by half: the draft is then of no more use.
#[derive(Clone, Debug)]
pub(crate) struct Draft<'a> {
    base: &'a Earning,
    now: UnixMillis,
    /// The state as it will be, where it differs.
    changes: Changes,
}

/// The finished draft: free of the state it was made for, which
/// [`absorb`](Earning::absorb)s it.
#[derive(Clone, Debug)]
pub(crate) struct Changes {
    pub(super) clock: UnixMillis,
    /// Whether what the state holds is of a day that is over.
    pub(super) new_day: bool,
    pub(super) granted: BTreeMap<(Name, AccountId), Amount>,
}

impl<'a> Draft<'a> {
    /// Nothing done yet; what is done first is done at the time `now`.
    pub(crate) const fn new(base: &'a Earning, now: UnixMillis) -> Self {
        let mut draft = Self {
            base,
            now: base.clock,
            changes: Changes {
                clock: base.clock,
                new_day: false,
                granted: BTreeMap::new(),
            },
        };
        draft.set_time(now);
        draft
    }

    /// Sets the time of what is done next. One before the last event is found by the next step.
    pub(crate) const fn set_time(&mut self, now: UnixMillis) {
        self.now = now;
    }

    /// Does what an operation asks, under those rules. Returns what happened, and what was granted
    /// if it was no fee.
    ///
    /// # Errors
    /// Any [`EarningError`]; the draft is of no more use then.
    pub(crate) fn execute(
        &mut self,
        rules: &Rules,
        operation: &Operation,
    ) -> Result<(EventKind, Option<Grant>), EarningError> {
        let (now, last) = (self.now, self.changes.clock);
        if now < last {
            return Err(EarningError::ClockBehind { now, last });
        }
        self.begin();
        match operation {
            Operation::Earn {
                rule,
                account,
                facts,
            } => {
                let earned = contribution(rules, rule, facts)?;
                let basis = Basis::Contribution {
                    facts: facts.clone(),
                };
                self.grant(rules, rule, *account, earned, basis)
            }
            Operation::Session {
                account,
                power_milli,
                duration_ms,
                bonus_per_mille,
            } => {
                let earned = session(rules, *power_milli, *duration_ms, *bonus_per_mille)?;
                let basis = Basis::Session {
                    power_milli: *power_milli,
                    duration_ms: *duration_ms,
                    bonus_per_mille: *bonus_per_mille,
                };
                self.grant(rules, &rules.session.counts_as, *account, earned, basis)
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
                    split: rules.fees.split(*amount),
                };
                Ok((kind, None))
            }
        }
    }

    /// Takes in an event that happened. Rules are not asked.
    ///
    /// # Errors
    /// [`Corruption::OutOfOrder`], [`Corruption::Amounts`], [`Corruption::TooManyFacts`],
    /// [`Corruption::Overflow`]; the draft is of no more use then.
    pub(crate) fn repeat(&mut self, kind: &EventKind) -> Result<(), Corruption> {
        let (time, last) = (self.now, self.changes.clock);
        if time < last {
            return Err(Corruption::OutOfOrder { time, last });
        }
        self.begin();
        match kind {
            EventKind::Earned {
                rule,
                account,
                granted,
                cut_by_limit,
                basis,
            } => {
                if let Basis::Contribution { facts } = basis
                    && facts.len() > FACTS_MAX
                {
                    return Err(Corruption::TooManyFacts {
                        rule: rule.clone(),
                        actual: facts.len(),
                        limit: FACTS_MAX,
                    });
                }
                if granted.is_zero() || granted.checked_add(*cut_by_limit).is_none() {
                    return Err(Corruption::Amounts);
                }
                let today = self.granted_today(rule, *account).checked_add(*granted);
                let today = today.ok_or_else(|| Corruption::Overflow { rule: rule.clone() })?;
                self.count(rule, *account, today);
            }
            EventKind::FeePaid { split, .. } => {
                if split.total().is_none_or(Amount::is_zero) {
                    return Err(Corruption::Amounts);
                }
            }
        }
        Ok(())
    }

    /// What is to be taken in by the state this was made for.
    pub(crate) fn finish(self) -> Changes {
        self.changes
    }

    /// Moves the clock on and forgets the days that are over.
    fn begin(&mut self) {
        if day(self.now) != day(self.changes.clock) {
            self.changes.new_day = true;
            self.changes.granted.clear();
        }
        self.changes.clock = self.now;
    }

    fn granted_today(&self, rule: &Name, account: AccountId) -> Amount {
        let key = (rule.clone(), account);
        let stored = || {
            let today = (!self.changes.new_day).then_some(&self.base.granted)?;
            today.get(&key)
        };
        let granted = self.changes.granted.get(&key).or_else(stored);
        granted.copied().unwrap_or_default()
    }

    fn count(&mut self, rule: &Name, account: AccountId, today: Amount) {
        self.changes.granted.insert((rule.clone(), account), today);
    }

    fn grant(
        &mut self,
        rules: &Rules,
        rule: &Name,
        account: AccountId,
        earned: Amount,
        basis: Basis,
    ) -> Result<(EventKind, Option<Grant>), EarningError> {
        if earned.is_zero() {
            return Err(EarningError::AmountZero);
        }
        let found = rules.contributions.get(rule);
        let limit = found.map_or(Amount::ZERO, |rule| rule.daily_limit);
        let used = self.granted_today(rule, account);
        let granted = earned.min(Amount(limit.0.saturating_sub(used.0)));
        let renews_at = UnixMillis((day(self.now) + 1).saturating_mul(DAY_MS));
        if granted.is_zero() {
            return Err(EarningError::LimitReached {
                rule: rule.clone(),
                limit,
                renews_at,
            });
        }
        // No more than the limit.
        let today = Amount(used.0 + granted.0);
        self.count(rule, account, today);
        let cut_by_limit = Amount(earned.0 - granted.0);
        let kind = EventKind::Earned {
            rule: rule.clone(),
            account,
            granted,
            cut_by_limit,
            basis,
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

fn contribution(
    rules: &Rules,
    name: &Name,
    facts: &BTreeMap<Name, u64>,
) -> Result<Amount, EarningError> {
    let rule = rules
        .contributions
        .get(name)
        .ok_or_else(|| EarningError::UnknownRule { rule: name.clone() })?;
    if facts.len() > FACTS_MAX {
        return Err(EarningError::TooManyFacts {
            rule: name.clone(),
            actual: facts.len(),
            limit: FACTS_MAX,
        });
    }
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
    rules: &Rules,
    power_milli: u64,
    duration_ms: u64,
    bonus_per_mille: u32,
) -> Result<Amount, EarningError> {
    let session = &rules.session;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::earning::Event;
    use proptest::prelude::*;

    /// A state, or why not, after one operation by somebody who uses earning alone.
    fn run_alone(
        earning: &mut Earning,
        rules: &Rules,
        operation: &Operation,
        now: UnixMillis,
    ) -> Result<(EventKind, Option<Grant>), EarningError> {
        let plan = earning.plan(rules, operation, now)?;
        earning.apply(&plan.event).unwrap();
        let Event { kind, .. } = plan.event;
        Ok((kind, plan.grant))
    }

    prop_compose! {
        fn step()(
            wait in prop_oneof![4 => Just(0), 3 => 0..DAY_MS / 8, 1 => DAY_MS - 1..DAY_MS + 2],
            code in 0..8_u8, account in 0..2_u8, hours in 0..20_u64, amount in 0..3_u128,
            half in any::<bool>(),
        ) -> (u64, Operation, bool) {
            let account = AccountId::from_bytes([account; 16]);
            let operation = match code {
                0..=2 => Operation::Session {
                    account,
                    power_milli: 300_000,
                    duration_ms: hours * 3_600_000,
                    bonus_per_mille: 0,
                },
                3 | 4 => Operation::Earn {
                    rule: Name::fixed("compute"),
                    account,
                    facts: [(Name::fixed("duration_minutes"), hours * 60_000)].into(),
                },
                5 | 6 => Operation::Earn {
                    rule: Name::fixed("hosting"),
                    account,
                    facts: BTreeMap::new(),
                },
                _ => Operation::Fee {
                    payer: account,
                    payee: AccountId::from_bytes([9; 16]),
                    amount: Amount(amount * 1_000),
                },
            };
            (wait, operation, half)
        }
    }

    proptest! {
        #[test]
        fn many_steps_through_one_draft_do_what_they_do_one_by_one(
            before in proptest::collection::vec(step(), 0..20),
            batch in proptest::collection::vec(step(), 1..60),
        ) {
            // Of half the limit, in between: governance may have changed the rules.
            let mut halved = Rules::default();
            for rule in halved.contributions.values_mut() {
                rule.daily_limit.0 /= 2;
            }
            let whole = Rules::default();
            let mut base = Earning::default();
            let mut now = UnixMillis(20_000 * DAY_MS);
            for (wait, operation, _) in before {
                now.0 += wait;
                // What is refused is of no interest here.
                let _ = run_alone(&mut base, &whole, &operation, now);
            }
            let mut alone = base.clone();
            let mut draft = Draft::new(&base, now);
            let mut again = Draft::new(&base, now);
            for (wait, operation, half) in batch {
                now.0 += wait;
                let rules = if half { &halved } else { &whole };
                let mut next = draft.clone();
                next.set_time(now);
                let done = next.execute(rules, &operation);
                prop_assert_eq!(&done, &run_alone(&mut alone, rules, &operation, now));
                let Ok((kind, _)) = done else { continue };
                draft = next;
                again.set_time(now);
                prop_assert_eq!(again.repeat(&kind), Ok(()));
            }
            let (changes, repeated) = (draft.finish(), again.finish());
            let mut replayed = base.clone();
            base.absorb(changes);
            prop_assert_eq!(&base, &alone);
            replayed.absorb(repeated);
            prop_assert_eq!(&replayed, &alone);
        }
    }

    #[test]
    fn clock_that_is_set_back_within_a_draft_is_found() {
        let base = Earning::default();
        let rules = Rules::default();
        let mut draft = Draft::new(&base, UnixMillis(50));
        let hosting = Operation::Earn {
            rule: Name::fixed("hosting"),
            account: AccountId::from_bytes([1; 16]),
            facts: BTreeMap::new(),
        };
        let (kind, _) = draft.execute(&rules, &hosting).unwrap();
        let (now, last) = (UnixMillis(49), UnixMillis(50));
        draft.set_time(now);
        let behind = EarningError::ClockBehind { now, last };
        assert_eq!(draft.execute(&rules, &hosting), Err(behind));
        let behind = Corruption::OutOfOrder { time: now, last };
        assert_eq!(draft.repeat(&kind), Err(behind));
    }
}
