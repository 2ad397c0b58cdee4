//! Reward cases of Cosmos, x/distribution, `keeper/delegation_test.go` (cosmos-sdk b80a494e): what
//! delegators and the operator have earned after joins, rewards, slashes and claims.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;

use fogcompute_base::{AccountId, NodeId, UnixMillis};
use fogcompute_ledger::staking::{Evidence, Operation, Penalty, Rules, Staking, StakingError};
use fogcompute_ledger::{Amount, Movement, Ppm, Purse};

const OPERATOR: NodeId = NodeId::from_bytes([9; 32]);
/// The operator's own account.
const OWN: AccountId = AccountId::from_bytes([1; 16]);
const SECOND: AccountId = AccountId::from_bytes([2; 16]);

#[derive(Clone, Copy)]
enum Do {
    Delegate(AccountId, u128),
    Reward(u128),
    /// Half of what is there.
    Slash,
    Withdraw(AccountId),
    WithdrawCommission,
}
use Do::{Delegate, Reward, Slash, Withdraw, WithdrawCommission};

struct Case {
    rules: Rules,
    staking: Staking,
    balances: BTreeMap<Purse, i128>,
    now: u64,
}

impl Case {
    /// A commission of a half, and slashes of a half.
    fn new() -> Self {
        let rules = Rules {
            invalid_result: Penalty {
                fraction: Ppm::percent(50),
                jail_ms: 0,
                tombstone: false,
            },
            ..Rules::default()
        };
        let mut case = Self {
            rules,
            staking: Staking::default(),
            balances: BTreeMap::new(),
            now: 0,
        };
        case.run(&Operation::Register {
            operator: OPERATOR,
            account: OWN,
            commission: Ppm::percent(50),
        })
        .unwrap();
        case
    }

    fn run(&mut self, operation: &Operation) -> Result<(), StakingError> {
        self.now += 1;
        let plan = self
            .staking
            .plan(&self.rules, operation, UnixMillis(self.now))?;
        for event in &plan.events {
            self.staking.apply(event).unwrap();
        }
        for Movement { from, to, amount } in plan.movements {
            let amount = i128::try_from(amount.0).unwrap();
            *self.balances.entry(from).or_default() -= amount;
            *self.balances.entry(to).or_default() += amount;
        }
        self.staking.check().unwrap();
        Ok(())
    }

    fn step(&mut self, step: Do) {
        let operator = OPERATOR;
        let operation = match step {
            Delegate(delegator, amount) => Operation::Bond {
                operator,
                delegator,
                amount: Amount(amount),
            },
            Reward(amount) => Operation::Reward {
                operator,
                source: Purse::Mint,
                amount: Amount(amount),
            },
            Slash => Operation::Slash {
                operator,
                evidence: Evidence::InvalidResult,
                infraction: UnixMillis(self.now + 1),
                power: self.staking.operator(operator).unwrap().tokens,
            },
            Withdraw(delegator) => Operation::Claim {
                operator,
                delegator,
            },
            WithdrawCommission => Operation::ClaimCommission { operator },
        };
        self.run(&operation).unwrap();
        if let Slash = step {
            self.run(&Operation::Unjail { operator }).unwrap();
        }
    }
}

#[test]
fn every_reward_case_of_cosmos_ends_with_the_same_amounts() {
    let start = Delegate(OWN, 100);
    let join = Delegate(SECOND, 100);
    let two = [start, Reward(20), join, Reward(20)];
    let withdrawn = [
        &two[..],
        &[
            Withdraw(OWN),
            Withdraw(SECOND),
            WithdrawCommission,
            Reward(20),
            Withdraw(OWN),
        ],
    ]
    .concat();
    let continued = [&withdrawn[..], &[Reward(20), WithdrawCommission]].concat();
    // Name, steps, then what is due to the operator's own stake, to the second, as commission.
    let cases: [(&str, &[Do], u128, u128, u128); 9] = [
        ("basic", &[start, Reward(10)], 5, 0, 5),
        ("no_reward", &[start], 0, 0, 0),
        ("after_slash", &[start, Slash, Reward(10)], 5, 0, 5),
        (
            "many_slashes",
            &[start, Slash, Reward(10), Slash, Reward(10)],
            10,
            0,
            10,
        ),
        (
            "many_slashes_same_block",
            &[start, Reward(10), Slash, Slash, Reward(10)],
            10,
            0,
            10,
        ),
        ("two_delegators", &two, 15, 5, 20),
        (
            "two_delegators_two_slashes",
            &[start, Reward(30), Slash, join, Reward(30), Slash],
            20,
            10,
            30,
        ),
        ("withdraw_then_continue", &withdrawn, 0, 5, 10),
        ("withdraw_then_continue_2", &continued, 5, 10, 0),
    ];
    for (name, steps, own, second, commission) in cases {
        let mut case = Case::new();
        for &step in steps {
            case.step(step);
        }
        let due = case.staking.operator(OPERATOR).unwrap().commission_due;
        assert_eq!(
            [
                case.staking.claimable(OPERATOR, OWN),
                case.staking.claimable(OPERATOR, SECOND),
                due
            ],
            [own, second, commission].map(Amount),
            "{name}"
        );
    }
}

#[test]
fn withdrawing_pays_what_was_earned_and_then_nothing() {
    let mut case = Case::new();
    case.balances.insert(Purse::Account(OWN), 1_000);
    for step in [Delegate(OWN, 100), Reward(10), Withdraw(OWN)] {
        case.step(step);
    }
    assert_eq!(case.balances[&Purse::Account(OWN)], 905);
    case.step(WithdrawCommission);
    assert_eq!(case.balances[&Purse::Account(OWN)], 910);
    assert_eq!(
        case.run(&Operation::Claim {
            operator: OPERATOR,
            delegator: OWN
        }),
        Err(StakingError::NothingToClaim {
            operator: OPERATOR,
            delegator: OWN
        })
    );
    assert_eq!(
        case.run(&Operation::ClaimCommission { operator: OPERATOR }),
        Err(StakingError::NoCommission { operator: OPERATOR })
    );
    assert_eq!(case.balances[&Purse::Account(OWN)], 910);
    assert_eq!(case.balances[&Purse::Rewards], 0);
}
