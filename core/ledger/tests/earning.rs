//! Earning: what each rule pays, what each mistake is told, and the attacks that worked on the
//! prototype (its audit, section 6), each of which fails here.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;

use fogcompute_base::{AccountId, UnixMillis};
use fogcompute_ledger::earning::{
    Basis, Comparison, Corruption, Earning, EarningError, Event, EventKind, FACTS_MAX, FeeSplit,
    Grant, Name, Operation, Rules, Snapshot,
};
use fogcompute_ledger::{Amount, Movement, Purse};
use proptest::prelude::*;

const ANA: AccountId = AccountId::from_bytes([1; 16]);
const BEN: AccountId = AccountId::from_bytes([2; 16]);
const DAY: u64 = 86_400_000;
/// The first millisecond of a day.
const MIDNIGHT: UnixMillis = UnixMillis(20_000 * DAY);
const CREDIT: u128 = 10_u128.pow(18);

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn earn(rule: &str, facts: &[(&str, u64)]) -> Operation {
    Operation::Earn {
        rule: name(rule),
        account: ANA,
        facts: facts
            .iter()
            .map(|&(fact, value)| (name(fact), value))
            .collect(),
    }
}

fn session(power: u64, minutes: u64, bonus_per_mille: u32) -> Operation {
    Operation::Session {
        account: ANA,
        power_milli: power * 1_000,
        duration_ms: minutes * 60_000,
        bonus_per_mille,
    }
}

fn earning() -> Earning {
    Earning::default()
}

fn run(
    earning: &mut Earning,
    operation: &Operation,
    now: UnixMillis,
) -> Result<Grant, EarningError> {
    let plan = earning.plan(&Rules::default(), operation, now)?;
    earning.apply(&plan.event).unwrap();
    Ok(plan.grant.unwrap())
}

#[test]
fn each_rule_pays_its_base_and_its_multipliers() {
    // Hundredths of credits, rounded down.
    for (rule, facts, hundredths) in [
        ("compute", &[("duration_minutes", 5_000)][..], 1_000 + 8),
        (
            "compute",
            &[("duration_minutes", 60_000), ("complexity", 2_000)],
            1_000 + 100 + 400,
        ),
        ("hosting", &[], 500),
        (
            "hosting",
            &[("uptime", 1_000), ("bandwidth", 500)],
            500 + 250 + 75,
        ),
        (
            "knowledge",
            &[("quality", 950), ("uniqueness", 1_000)],
            1_500 + 1_140 + 600,
        ),
        (
            "governance",
            &[("first_vote", 1_000), ("importance", 500)],
            300 + 30,
        ),
        (
            "agent",
            &[
                ("passes_tests", 1_000),
                ("code_quality", 900),
                ("innovation", 500),
            ],
            5_000 + 4_500 + 2_000,
        ),
        (
            "bug",
            &[("verified", 1_000), ("severity", 2_000)],
            2_000 + 2_000,
        ),
    ] {
        let plan = earning()
            .plan(&Rules::default(), &earn(rule, facts), MIDNIGHT)
            .unwrap();
        let granted = plan.grant.unwrap().granted;
        assert_eq!(granted.0 / (CREDIT / 100), hundredths, "{rule} {facts:?}");
        assert_eq!(
            plan.movements,
            [Movement {
                from: Purse::Mint,
                to: Purse::Account(ANA),
                amount: granted
            }]
        );
    }
}

#[test]
fn sessions_pay_power_times_minutes_times_bonus_and_multiplier() {
    for (power, minutes, bonus, expected) in [
        (100, 60, 0, 9 * CREDIT),
        (100, 60, 500, 27 * CREDIT / 2),
        (1, 5, 0, 75 * CREDIT / 10_000),
        // The prototype worked these 900 out and paid nothing.
        (1_000, 600, 0, 900 * CREDIT),
    ] {
        let plan = earning()
            .plan(&Rules::default(), &session(power, minutes, bonus), MIDNIGHT)
            .unwrap();
        assert_eq!(plan.grant.unwrap().granted, Amount(expected));
    }
}

#[test]
fn an_event_tells_what_it_was_granted_for() {
    let facts = [("quality", 950), ("uniqueness", 10)];
    let basis = |operation| {
        let plan = earning()
            .plan(&Rules::default(), &operation, MIDNIGHT)
            .unwrap();
        assert!(plan.event.kind.answers(&operation));
        match plan.event.kind {
            EventKind::Earned { basis, .. } => basis,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        basis(earn("knowledge", &facts)),
        Basis::Contribution {
            facts: facts.map(|(fact, value)| (name(fact), value)).into()
        }
    );
    assert_eq!(
        basis(session(100, 60, 500)),
        Basis::Session {
            power_milli: 100_000,
            duration_ms: 3_600_000,
            bonus_per_mille: 500
        }
    );
}

#[test]
fn what_the_limit_cuts_off_is_told_and_it_renews_at_midnight() {
    let mut earning = earning();
    let noon = UnixMillis(MIDNIGHT.0 + DAY / 2);
    let renews_at = UnixMillis(MIDNIGHT.0 + DAY);
    let big = session(1_000, 600, 0);
    let whole = run(&mut earning, &big, MIDNIGHT).unwrap();
    assert_eq!(whole.cut_by_limit, Amount::ZERO);
    // 900 of 1,000 are used up: contributions of computing count too.
    let part = run(&mut earning, &big, noon).unwrap();
    assert_eq!(
        part,
        Grant {
            earned: Amount(900 * CREDIT),
            granted: Amount(100 * CREDIT),
            cut_by_limit: Amount(800 * CREDIT),
            renews_at
        }
    );
    let contribution = earn("compute", &[("duration_minutes", 5_000)]);
    let reached = Err(EarningError::LimitReached {
        rule: name("compute"),
        limit: Amount(1_000 * CREDIT),
        renews_at,
    });
    assert_eq!(run(&mut earning, &contribution, noon), reached);
    assert_eq!(
        run(&mut earning, &contribution, UnixMillis(renews_at.0 - 1)),
        reached
    );
    // Other rules, other accounts, other days are not concerned.
    run(&mut earning, &earn("hosting", &[]), noon).unwrap();
    let Operation::Session {
        power_milli,
        duration_ms,
        bonus_per_mille,
        ..
    } = big
    else {
        unreachable!()
    };
    let bens = Operation::Session {
        account: BEN,
        power_milli,
        duration_ms,
        bonus_per_mille,
    };
    run(&mut earning, &bens, noon).unwrap();
    assert_eq!(earning.snapshot().granted.len(), 3);
    run(&mut earning, &contribution, renews_at).unwrap();
    // The days before are forgotten.
    assert_eq!(earning.snapshot().granted.len(), 1);
}

#[test]
fn each_mistake_names_rule_and_fact_and_what_was_needed() {
    let earning = earning();
    let refused = |operation: &Operation| {
        earning
            .plan(&Rules::default(), operation, MIDNIGHT)
            .unwrap_err()
    };
    assert_eq!(
        refused(&earn("moderation", &[])),
        EarningError::UnknownRule {
            rule: name("moderation")
        }
    );
    assert_eq!(
        refused(&earn("compute", &[("min_duration_minutes", 9_000)])),
        EarningError::UnknownFact {
            rule: name("compute"),
            fact: name("min_duration_minutes")
        }
    );
    let many: Vec<_> = (0..33).map(|n| format!("fact_{n}")).collect();
    let many: Vec<_> = many.iter().map(|fact| (fact.as_str(), 0)).collect();
    assert_eq!(
        refused(&earn("compute", &many)),
        EarningError::TooManyFacts {
            rule: name("compute"),
            actual: 33,
            limit: FACTS_MAX
        }
    );
    assert_eq!(
        refused(&earn("compute", &[])),
        EarningError::FactMissing {
            rule: name("compute"),
            fact: name("duration_minutes"),
            comparison: Comparison::AtLeast,
            needed: 5_000
        }
    );
    let unmet = refused(&earn("bug", &[("verified", 999)]));
    assert_eq!(
        unmet,
        EarningError::RequirementNotMet {
            rule: name("bug"),
            fact: name("verified"),
            comparison: Comparison::Equal,
            needed: 1_000,
            actual: 999
        }
    );
    // Comparisons were told by the names of their variants.
    assert_eq!(
        unmet.to_string(),
        "rule bug requires verified = 1000, and it is 999"
    );
    for (comparison, sign) in [(Comparison::AtLeast, ">="), (Comparison::AtMost, "<=")] {
        assert_eq!(comparison.to_string(), sign);
    }
    assert_eq!(
        refused(&earn("hosting", &[("uptime", 1_001)])),
        EarningError::FactTooLarge {
            rule: name("hosting"),
            fact: name("uptime"),
            most: 1_000,
            actual: 1_001
        }
    );
    assert_eq!(
        refused(&session(100, 4, 0)),
        EarningError::SessionTooShort {
            actual_ms: 240_000,
            needed_ms: 300_000
        }
    );
    assert_eq!(
        refused(&session(100, 1_441, 0)),
        EarningError::SessionTooLong {
            actual_ms: DAY + 60_000,
            most_ms: DAY
        }
    );
    assert_eq!(
        refused(&session(10_001, 5, 0)),
        EarningError::PowerTooLarge {
            actual_milli: 10_001_000,
            most_milli: 10_000_000
        }
    );
    assert_eq!(
        refused(&session(100, 5, 1_001)),
        EarningError::BonusTooLarge {
            actual_per_mille: 1_001,
            most_per_mille: 1_000
        }
    );
    assert_eq!(refused(&session(0, 5, 0)), EarningError::AmountZero);
    let nothing = Operation::Fee {
        payer: ANA,
        payee: BEN,
        amount: Amount::ZERO,
    };
    assert_eq!(refused(&nothing), EarningError::AmountZero);
}

#[test]
fn rewards_that_no_amount_can_count_are_refused() {
    let mut rules = Rules::default();
    rules.contributions.get_mut(&name("bug")).unwrap().base = Amount::MAX;
    rules.session.per_power_minute = Amount::MAX;
    let earning = earning();
    for (operation, rule) in [
        (
            earn("bug", &[("verified", 1_000), ("severity", 1_000)]),
            "bug",
        ),
        (session(1_000, 600, 0), "compute"),
    ] {
        assert_eq!(
            earning.plan(&rules, &operation, MIDNIGHT),
            Err(EarningError::Overflow { rule: name(rule) })
        );
    }
}

#[test]
fn all_three_comparisons_hold_where_they_should() {
    use Comparison::{AtLeast, AtMost, Equal};
    for (comparison, holds) in [
        (AtLeast, [false, true, true]),
        (AtMost, [true, true, false]),
        (Equal, [false, true, false]),
    ] {
        assert_eq!([6, 7, 8].map(|fact| comparison.holds(fact, 7)), holds);
    }
}

#[test]
fn fees_go_to_the_funds_and_the_rest_to_the_payee() {
    let fee = |amount| Operation::Fee {
        payer: ANA,
        payee: BEN,
        amount: Amount(amount),
    };
    let plan = earning()
        .plan(&Rules::default(), &fee(19), MIDNIGHT)
        .unwrap();
    // 2.85, 0.95 and the rest.
    let from = Purse::Account(ANA);
    assert_eq!(
        plan.movements,
        [
            Movement {
                from,
                to: Purse::Treasury,
                amount: Amount(2)
            },
            Movement {
                from,
                to: Purse::Account(BEN),
                amount: Amount(17)
            },
        ]
    );
    let plan = earning()
        .plan(&Rules::default(), &fee(1_000), MIDNIGHT)
        .unwrap();
    let amounts: Vec<_> = plan.movements.iter().map(|m| m.amount.0).collect();
    assert_eq!(amounts, [150, 50, 800]);
}

#[test]
fn state_survives_a_restart_and_foreign_snapshots_are_refused() {
    let mut earning = earning();
    run(&mut earning, &earn("hosting", &[]), MIDNIGHT).unwrap();
    run(&mut earning, &session(100, 60, 0), MIDNIGHT).unwrap();
    let text = serde_json::to_string(&earning.snapshot()).unwrap();
    let snapshot: Snapshot = serde_json::from_str(&text).unwrap();
    let restored = Earning::restore(&snapshot).unwrap();
    assert_eq!(restored, earning);

    let mut twice = snapshot.clone();
    twice.granted.push(twice.granted[0].clone());
    let rule = twice.granted[0].rule.clone();
    assert_eq!(
        Earning::restore(&twice),
        Err(Corruption::Misplaced { rule })
    );
    let mut nothing = snapshot;
    nothing.granted[0].granted = Amount::ZERO;
    assert_eq!(Earning::restore(&nothing), Err(Corruption::Amounts));
}

#[test]
fn foreign_events_are_refused() {
    let mut earning = earning();
    run(&mut earning, &earn("hosting", &[]), MIDNIGHT).unwrap();
    let before = earning.clone();
    let event = |granted, cut| Event {
        time: MIDNIGHT,
        kind: EventKind::Earned {
            rule: name("hosting"),
            account: ANA,
            granted: Amount(granted),
            cut_by_limit: Amount(cut),
            basis: Basis::Contribution {
                facts: BTreeMap::new(),
            },
        },
    };
    assert_eq!(earning.apply(&event(0, 1)), Err(Corruption::Amounts));
    assert_eq!(
        earning.apply(&event(u128::MAX, 1)),
        Err(Corruption::Amounts)
    );
    assert_eq!(
        earning.apply(&event(u128::MAX, 0)),
        Err(Corruption::Overflow {
            rule: name("hosting")
        })
    );
    let early = Event {
        time: UnixMillis(MIDNIGHT.0 - 1),
        ..event(1, 0)
    };
    assert_eq!(
        earning.apply(&early),
        Err(Corruption::OutOfOrder {
            time: early.time,
            last: MIDNIGHT
        })
    );
    let mut wordy = event(1, 0);
    if let EventKind::Earned { basis, .. } = &mut wordy.kind {
        let facts = (0..33).map(|n| (name(&format!("fact_{n}")), 0)).collect();
        *basis = Basis::Contribution { facts };
    }
    assert_eq!(
        earning.apply(&wordy),
        Err(Corruption::TooManyFacts {
            rule: name("hosting"),
            actual: 33,
            limit: FACTS_MAX
        })
    );
    let half = Amount(u128::MAX / 2 + 1);
    let fee = Event {
        time: MIDNIGHT,
        kind: EventKind::FeePaid {
            payer: ANA,
            payee: BEN,
            split: FeeSplit {
                treasury: half,
                sovereign_fund: half,
                payee: half,
            },
        },
    };
    assert_eq!(earning.apply(&fee), Err(Corruption::Amounts));
    assert_eq!(earning, before);
}

// The attacks.

/// The prototype paid 100 hosting awards, 500 credits, against a limit of 100 a day.
#[test]
fn attack_a_hundred_hosting_awards_pay_no_more_than_the_daily_limit() {
    let mut earning = earning();
    let award = earn("hosting", &[]);
    let paid: u128 = (0..100)
        .filter_map(|n| run(&mut earning, &award, UnixMillis(MIDNIGHT.0 + n)).ok())
        .map(|grant| grant.granted.0)
        .sum();
    assert_eq!(paid, 100 * CREDIT);
}

/// The prototype compared with `!=`, so that 0.95 failed a minimum of 0.7.
#[test]
fn attack_a_quality_above_the_minimum_is_paid_and_one_below_is_not() {
    let earning = earning();
    let paid = |quality| {
        earning
            .plan(
                &Rules::default(),
                &earn("knowledge", &[("quality", quality)]),
                MIDNIGHT,
            )
            .is_ok()
    };
    assert!(paid(950) && paid(700));
    assert!(!paid(699));
}

/// In the prototype each repeated vote of one voter was paid 3 credits.
#[test]
fn attack_repeated_votes_are_not_paid() {
    let mut earning = earning();
    let vote = |first| earn("governance", &[("first_vote", first)]);
    run(&mut earning, &vote(1_000), MIDNIGHT).unwrap();
    assert!(matches!(
        run(&mut earning, &vote(0), MIDNIGHT),
        Err(EarningError::RequirementNotMet { .. })
    ));
}

/// A limit that is remembered by the clock is lifted by whoever sets the clock back.
#[test]
fn attack_a_clock_set_back_or_to_and_fro_lifts_no_limit() {
    let mut earning = earning();
    let big = session(10_000, 600, 0);
    let grant = run(&mut earning, &big, MIDNIGHT).unwrap();
    assert_eq!(grant.granted, Amount(1_000 * CREDIT));
    let yesterday = UnixMillis(MIDNIGHT.0 - 1);
    assert_eq!(
        run(&mut earning, &big, yesterday),
        Err(EarningError::ClockBehind {
            now: yesterday,
            last: MIDNIGHT
        })
    );
}

/// A limit that is forgotten at a restart is no limit.
#[test]
fn attack_a_restart_lifts_no_limit() {
    let mut earning = earning();
    let big = session(10_000, 600, 0);
    run(&mut earning, &big, MIDNIGHT).unwrap();
    let mut earning = Earning::restore(&earning.snapshot()).unwrap();
    assert!(matches!(
        run(&mut earning, &big, MIDNIGHT),
        Err(EarningError::LimitReached { .. })
    ));
}

/// The prototype worked out `amount + fee` and threw it away: no fee was ever charged.
#[test]
fn attack_a_fee_is_charged_to_the_base_unit() {
    let fee = Operation::Fee {
        payer: ANA,
        payee: BEN,
        amount: Amount(1),
    };
    let plan = earning().plan(&Rules::default(), &fee, MIDNIGHT).unwrap();
    assert_eq!(plan.movements.len(), 1);
    assert_eq!(plan.movements[0].amount, Amount(1));
}

proptest! {
    /// Against the sum, worked out by hand from the events of one day.
    #[test]
    fn no_day_pays_more_than_its_limit(
        steps in proptest::collection::vec(
            (0..3_u8, 0..40_000_000_u64, 1..2_000_u64, 5..600_u64), 1..60,
        ),
    ) {
        let mut earning = earning();
        let mut now = MIDNIGHT;
        let mut paid: BTreeMap<(String, u64), u128> = BTreeMap::new();
        let mut replayed = self::earning();
        for (kind, wait, power, minutes) in steps {
            now.0 += wait;
            let (operation, rule) = match kind {
                0 => (session(power, minutes, 0), "compute"),
                1 => (earn("hosting", &[("uptime", power.min(1_000))]), "hosting"),
                _ => (earn("compute", &[("duration_minutes", minutes * 1_000)]), "compute"),
            };
            match earning.plan(&Rules::default(), &operation, now) {
                Ok(plan) => {
                    let grant = plan.grant.unwrap();
                    prop_assert_eq!(grant.earned.0, grant.granted.0 + grant.cut_by_limit.0);
                    *paid.entry((rule.to_owned(), now.0 / DAY)).or_default() += grant.granted.0;
                    let event = Event::decode(&plan.event.encode()).unwrap();
                    earning.apply(&plan.event).unwrap();
                    replayed.apply(&event).unwrap();
                }
                Err(EarningError::LimitReached { limit, .. }) => {
                    prop_assert_eq!(paid[&(rule.to_owned(), now.0 / DAY)], limit.0);
                }
                Err(error) => return Err(TestCaseError::fail(error.to_string())),
            }
            prop_assert_eq!(&replayed, &earning);
        }
        for ((rule, _), sum) in paid {
            let limit = if rule == "compute" { 1_000 } else { 100 };
            prop_assert!(sum <= limit * CREDIT);
        }
    }
}
