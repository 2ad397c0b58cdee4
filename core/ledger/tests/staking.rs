//! Staking: the documented behaviour of Cosmos (x/staking `slash_test.go`, x/slashing and
//! x/evidence), each bad input, and attacks, each of which fails.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;

use fogcompute_base::{AccountId, NodeId, TransferId, UnixMillis};
use fogcompute_ledger::staking::{
    Corruption, Event, EventKind, Evidence, MATURE_MAX, Operation, Rules, Shares, Staking,
    StakingError,
};
use fogcompute_ledger::{Amount, Movement, Ppm, Purse};

const DAY: u64 = 86_400_000;
const UNBONDING: u64 = 21 * DAY;

const fn node(n: u8) -> NodeId {
    NodeId::from_bytes([n; 32])
}

const fn account(n: u8) -> AccountId {
    AccountId::from_bytes([n; 16])
}

const A: NodeId = node(1);
const B: NodeId = node(2);
const C: NodeId = node(3);
const OWNER: AccountId = account(1);
const ANA: AccountId = account(2);
const BEN: AccountId = account(3);

/// Operators A, B and C, commission 10 %; an invalid result costs a half and a day in jail.
struct World {
    rules: Rules,
    staking: Staking,
    balances: BTreeMap<Purse, i128>,
    now: u64,
}

impl World {
    fn new() -> Self {
        let mut rules = Rules::default();
        rules.invalid_result.fraction = Ppm::percent(50);
        let mut world = Self {
            rules,
            staking: Staking::default(),
            balances: BTreeMap::new(),
            now: 100 * DAY,
        };
        for operator in [A, B, C] {
            world.run(Operation::Register {
                operator,
                account: OWNER,
                commission: Ppm::percent(10),
            });
        }
        world
    }

    fn plan(&self, operation: Operation) -> Result<Vec<Event>, StakingError> {
        let plan = self
            .staking
            .plan(&self.rules, &operation, UnixMillis(self.now))?;
        Ok(plan.events)
    }

    fn refused(&self, operation: Operation) -> StakingError {
        self.plan(operation).unwrap_err()
    }

    /// Plans, applies, moves the money and checks that it is where the records say.
    fn run(&mut self, operation: Operation) -> Vec<EventKind> {
        let plan = self
            .staking
            .plan(&self.rules, &operation, UnixMillis(self.now))
            .unwrap();
        for event in &plan.events {
            self.staking.apply(event).unwrap();
        }
        for Movement { from, to, amount } in plan.movements {
            let amount = i128::try_from(amount.0).unwrap();
            *self.balances.entry(from).or_default() -= amount;
            *self.balances.entry(to).or_default() += amount;
        }
        self.staking.check().unwrap();
        let purses = self.staking.purses();
        for (purse, amount) in [
            (Purse::Bonded, purses.bonded),
            (Purse::Unbonding, purses.unbonding),
            (Purse::Rewards, purses.rewards),
            (Purse::Insurance, purses.insurance),
        ] {
            assert_eq!(self.balance(purse), i128::try_from(amount.0).unwrap());
        }
        plan.events.into_iter().map(|event| event.kind).collect()
    }

    fn balance(&self, purse: Purse) -> i128 {
        self.balances.get(&purse).copied().unwrap_or(0)
    }

    fn bond(&mut self, operator: NodeId, delegator: AccountId, amount: u128) {
        self.run(bond(operator, delegator, amount));
    }

    fn unbond(&mut self, operator: NodeId, delegator: AccountId, amount: u128) -> u64 {
        match self.run(unbond(operator, delegator, Some(amount)))[..] {
            [EventKind::Unbonded { entry, .. }] => entry,
            ref other => panic!("{other:?}"),
        }
    }

    fn slash(&mut self, operator: NodeId, infraction: u64, power: u128) -> (u128, u128) {
        match self.run(slash(operator, infraction, power))[..] {
            [
                EventKind::Slashed {
                    bonded, unbonding, ..
                },
            ] => (bonded.0, unbonding.0),
            ref other => panic!("{other:?}"),
        }
    }

    fn tokens(&self, operator: NodeId) -> u128 {
        self.staking.operator(operator).unwrap().tokens.0
    }
}

fn bond(operator: NodeId, delegator: AccountId, amount: u128) -> Operation {
    Operation::Bond {
        operator,
        delegator,
        amount: Amount(amount),
    }
}

fn unbond(operator: NodeId, delegator: AccountId, amount: Option<u128>) -> Operation {
    Operation::Unbond {
        operator,
        delegator,
        amount: amount.map(Amount),
    }
}

fn redelegate(delegator: AccountId, from: NodeId, to: NodeId, amount: Option<u128>) -> Operation {
    Operation::Redelegate {
        delegator,
        from,
        to,
        amount: amount.map(Amount),
    }
}

fn slash(operator: NodeId, infraction: u64, power: u128) -> Operation {
    accuse(Evidence::InvalidResult, operator, infraction, power)
}

fn accuse(evidence: Evidence, operator: NodeId, infraction: u64, power: u128) -> Operation {
    Operation::Slash {
        operator,
        evidence,
        infraction: UnixMillis(infraction),
        power: Amount(power),
    }
}

fn reward(operator: NodeId, amount: u128) -> Operation {
    Operation::Reward {
        operator,
        source: Purse::Mint,
        amount: Amount(amount),
    }
}

const fn claim(operator: NodeId, delegator: AccountId) -> Operation {
    Operation::Claim {
        operator,
        delegator,
    }
}

// What Cosmos documents.

/// x/staking, `TestSlashWithUnbondingDelegation`.
#[test]
fn slash_takes_its_part_of_stake_that_unbonds_and_the_rest_of_what_is_bonded() {
    let mut world = World::new();
    world.bond(A, ANA, 10);
    let infraction = world.now;
    world.now += 1;
    world.unbond(A, ANA, 4);
    world.now += 1;
    // Half of 10: 2 of the 4 that left, 3 of the 6 that stayed.
    assert_eq!(world.slash(A, infraction, 10), (3, 2));
    assert_eq!(world.staking.unbondings(A, ANA)[0].balance, Amount(2));
    assert_eq!(world.tokens(A), 3);
    // Another infraction of that time: the entry pays its part once more, to nothing.
    assert_eq!(world.slash(A, infraction + 1, 10), (3, 2));
    assert_eq!(world.staking.unbondings(A, ANA)[0].balance, Amount(0));
    assert_eq!(world.tokens(A), 0);
    // Then nothing is left to take.
    world.now += 1;
    assert_eq!(world.slash(A, infraction + 2, 1), (0, 0));
}

/// x/staking, `TestSlashUnbondingDelegation`: "unbonding started prior to the infraction height,
/// stake didn't contribute".
#[test]
fn stake_that_began_to_unbond_before_the_infraction_is_not_touched() {
    let mut world = World::new();
    world.bond(A, ANA, 10);
    world.now += 1;
    world.unbond(A, ANA, 4);
    world.now += 1;
    let infraction = world.now;
    assert_eq!(world.slash(A, infraction, 6), (3, 0));
    assert_eq!(world.staking.unbondings(A, ANA)[0].balance, Amount(4));
    world.now += UNBONDING;
    world.run(Operation::Mature);
    assert_eq!(world.balance(Purse::Account(ANA)), -6);
}

/// The same test: "after the expiration time, no longer eligible for slashing".
#[test]
fn stake_that_has_matured_is_not_touched_even_if_it_was_not_paid_out_yet() {
    let mut world = World::new();
    world.bond(A, ANA, 10);
    let infraction = world.now;
    world.unbond(A, ANA, 4);
    world.now += UNBONDING;
    assert_eq!(world.slash(A, infraction, 10), (5, 0));
    assert_eq!(world.staking.unbondings(A, ANA)[0].balance, Amount(4));
}

/// x/staking, `TestSlashWithRedelegation`.
#[test]
fn slash_follows_redelegated_stake_to_its_new_operator() {
    let mut world = World::new();
    world.bond(A, ANA, 10);
    world.bond(B, BEN, 10);
    let infraction = world.now;
    world.now += 1;
    world.run(redelegate(ANA, A, B, Some(6)));
    assert_eq!(world.slash(A, infraction, 10), (2 + 3, 0));
    assert_eq!(world.tokens(A), 2);
    assert_eq!(world.staking.staked(B, ANA), Amount(3));
    // Who was at the new operator all along loses nothing.
    assert_eq!(world.staking.staked(B, BEN), Amount(10));
}

/// x/staking, `TestSlashBoth`.
#[test]
fn slash_takes_from_unbonding_redelegated_and_bonded_stake_together() {
    let mut world = World::new();
    world.bond(A, ANA, 10);
    let infraction = world.now;
    world.unbond(A, ANA, 4);
    world.run(redelegate(ANA, A, B, Some(4)));
    world.now += 1;
    assert_eq!(world.slash(A, infraction, 10), (2 + 1, 2));
    assert_eq!(world.tokens(A), 1);
    assert_eq!(world.tokens(B), 2);
}

#[test]
fn redelegation_before_the_infraction_is_not_touched() {
    let mut world = World::new();
    world.bond(A, ANA, 10);
    world.run(redelegate(ANA, A, B, Some(6)));
    world.now += 1;
    assert_eq!(world.slash(A, world.now, 4), (2, 0));
    assert_eq!(world.tokens(B), 6);
}

/// x/staking, `SlashRedelegation`: "handle undelegation after redelegation".
#[test]
fn redelegated_stake_that_unbonds_at_its_new_operator_is_reached_there_and_pays_once() {
    let mut world = World::new();
    world.bond(A, ANA, 100);
    world.bond(B, ANA, 50);
    let infraction = world.now;
    let before = world.unbond(B, ANA, 10);
    world.run(redelegate(ANA, A, B, Some(100)));
    let after = world.unbond(B, ANA, 20);
    // Half of 100: the 20 that unbond, and 30 of what is bonded.
    assert_eq!(world.slash(A, infraction, 100), (30, 20));
    let left: Vec<_> = (world.staking.unbondings(B, ANA).iter())
        .map(|unbonding| (unbonding.entry, unbonding.balance.0))
        .collect();
    // What left the new operator before the redelegated stake came is not it.
    assert_eq!(left, [(before, 10), (after, 0)]);
    assert_eq!(world.tokens(B), 90);
}

/// x/staking, `ErrTransitiveRedelegation`.
#[test]
fn redelegated_stake_may_not_hop_on_before_it_is_free() {
    let mut world = World::new();
    world.bond(A, ANA, 10);
    let until = UnixMillis(world.now + UNBONDING);
    world.run(redelegate(ANA, A, B, Some(10)));
    world.now = until.0 - 1;
    assert_eq!(
        world.refused(redelegate(ANA, B, C, Some(1))),
        StakingError::TransitiveRedelegation {
            operator: B,
            delegator: ANA,
            until
        }
    );
    // Others may; and it may too when it is free.
    world.bond(B, BEN, 5);
    world.run(redelegate(BEN, B, C, Some(5)));
    world.now = until.0;
    world.run(redelegate(ANA, B, C, Some(10)));
    assert_eq!(world.staking.staked(C, ANA), Amount(10));
    // The first redelegation is forgotten, the others are not.
    assert_eq!(world.run(Operation::Mature).len(), 1);
    assert!(world.staking.redelegations(A, ANA, B).is_empty());
}

/// x/staking, `MsgCancelUnbondingDelegation`.
#[test]
fn cancelled_unbonding_is_stake_again_and_answers_for_what_it_was_there_for() {
    let mut world = World::new();
    world.bond(A, ANA, 10);
    let infraction = world.now;
    let entry = world.unbond(A, ANA, 8);
    let cancel = |amount: Option<u128>| Operation::CancelUnbonding {
        operator: A,
        delegator: ANA,
        entry,
        amount: amount.map(Amount),
    };
    assert_eq!(
        world.refused(cancel(Some(9))),
        StakingError::ExceedsEntry {
            entry,
            balance: Amount(8),
            asked: Amount(9)
        }
    );
    world.run(cancel(Some(3)));
    assert_eq!(world.tokens(A), 5);
    world.run(cancel(None));
    assert_eq!(world.tokens(A), 10);
    assert!(world.staking.unbondings(A, ANA).is_empty());
    assert_eq!(world.slash(A, infraction, 10), (5, 0));
    world.now += UNBONDING;
    assert_eq!(world.run(Operation::Mature), []);
}

#[test]
fn unbondings_are_paid_in_the_order_of_their_times_and_a_limited_number_at_once() {
    let mut world = World::new();
    let count = MATURE_MAX + 3;
    let delegator = |n: usize| {
        let mut bytes = [7; 16];
        bytes[..8].copy_from_slice(&u64::try_from(n).unwrap().to_be_bytes());
        AccountId::from_bytes(bytes)
    };
    for n in 0..count {
        world.run(bond(A, delegator(n), 5));
    }
    for n in (0..count).rev() {
        world.now += 1;
        world.run(unbond(A, delegator(n), None));
    }
    assert_eq!(
        world.staking.next_due(),
        Some(UnixMillis(
            world.now + UNBONDING - u64::try_from(count).unwrap() + 1
        ))
    );
    world.now += UNBONDING;
    let first = world.run(Operation::Mature);
    assert_eq!(first.len(), MATURE_MAX);
    assert!(
        matches!(first[0], EventKind::Released { delegator: d, .. } if d == delegator(count - 1))
    );
    assert_eq!(world.run(Operation::Mature).len(), 3);
    assert_eq!(world.run(Operation::Mature), []);
    assert_eq!(world.staking.next_due(), None);
    assert_eq!(world.balance(Purse::Unbonding), 0);
}

/// x/evidence: "tombstone caps": a double signer is punished once and for all.
#[test]
fn tombstoned_operator_is_not_punished_again_and_never_comes_back() {
    let mut world = World::new();
    world.bond(A, ANA, 1_000);
    let infraction = world.now;
    world.run(accuse(Evidence::DoubleResult, A, infraction, 1_000));
    assert_eq!(world.tokens(A), 950);
    world.now += DAY;
    let tombstoned = StakingError::Tombstoned { operator: A };
    for operation in [
        accuse(Evidence::DoubleResult, A, infraction + 1, 950),
        Operation::Unjail { operator: A },
        bond(A, BEN, 1),
        reward(A, 1),
    ] {
        assert_eq!(world.refused(operation), tombstoned);
    }
    // Its delegators may leave.
    world.run(unbond(A, ANA, None));
}

#[test]
fn jailed_operator_takes_neither_stake_nor_rewards_until_it_is_let_out() {
    let mut world = World::new();
    world.bond(A, ANA, 1_000);
    world.bond(B, BEN, 1_000);
    let entry = world.unbond(A, ANA, 100);
    world.slash(A, world.now, 900);
    let until = UnixMillis(world.now + DAY);
    let jailed = StakingError::Jailed { operator: A, until };
    world.now += DAY - 1;
    let cancel = Operation::CancelUnbonding {
        operator: A,
        delegator: ANA,
        entry,
        amount: None,
    };
    for operation in [
        bond(A, BEN, 1),
        reward(A, 1),
        redelegate(BEN, B, A, Some(1)),
        cancel,
        Operation::Unjail { operator: A },
    ] {
        assert_eq!(world.refused(operation), jailed);
    }
    world.run(redelegate(ANA, A, B, Some(1)));
    world.now += 1;
    world.run(Operation::Unjail { operator: A });
    world.bond(A, BEN, 1);
    assert_eq!(
        world.refused(Operation::Unjail { operator: A }),
        StakingError::NotJailed { operator: A }
    );
}

/// x/slashing: absence in jail is not counted.
#[test]
fn jailed_operator_is_not_punished_for_being_away() {
    let mut world = World::new();
    world.bond(A, ANA, 10_000_000);
    let infraction = world.now;
    world.run(accuse(Evidence::Downtime, A, infraction, 10_000_000));
    assert_eq!(world.tokens(A), 10_000_000 - 1_000);
    world.now += 60_000;
    let until = UnixMillis(infraction + 600_000);
    assert_eq!(
        world.refused(accuse(Evidence::Downtime, A, world.now, 1_000)),
        StakingError::Jailed { operator: A, until }
    );
    // Other infractions count all the same, and only they can make the term longer.
    world.slash(A, infraction, 1_000);
    let jailed = world.staking.operator(A).unwrap().jailed_until;
    assert_eq!(jailed, Some(UnixMillis(world.now + DAY)));
}

// Rewards.

#[test]
fn rewards_nobody_has_a_right_to_go_to_the_treasury() {
    let mut world = World::new();
    world.run(reward(A, 100));
    assert_eq!(world.balance(Purse::Treasury), 100);
    // One base unit, bonded just after, is not worth them.
    world.bond(A, ANA, 1);
    assert_eq!(world.staking.claimable(A, ANA), Amount(0));
    world.unbond(A, ANA, 1);
    world.run(reward(A, 7));
    assert_eq!(world.balance(Purse::Treasury), 107);
    assert_eq!(world.balance(Purse::Rewards), 0);
}

#[test]
fn what_does_not_divide_is_carried_and_nothing_is_lost() {
    let mut world = World::new();
    for n in 10..17 {
        world.bond(A, account(n), 1);
    }
    // 9 for 7 stakers, seven times: 1.28 each, in the end 9 each.
    for _ in 0..7 {
        world.run(reward(A, 10));
    }
    for n in 10..17 {
        world.run(claim(A, account(n)));
        assert_eq!(world.balance(Purse::Account(account(n))), 9 - 1);
    }
    world.run(Operation::ClaimCommission { operator: A });
    assert_eq!(world.balance(Purse::Rewards), 0);
}

#[test]
fn rewards_stay_claimable_after_all_stake_has_left() {
    let mut world = World::new();
    world.bond(A, ANA, 10);
    world.run(reward(A, 100));
    world.unbond(A, ANA, 10);
    assert_eq!(world.staking.claimable(A, ANA), Amount(90));
    world.run(claim(A, ANA));
    assert_eq!(
        world.refused(claim(A, ANA)),
        StakingError::UnknownDelegator {
            operator: A,
            delegator: ANA
        }
    );
}

#[test]
fn insurance_is_filled_by_slashes_and_pays_no_more_than_it_has() {
    let mut world = World::new();
    world.bond(A, ANA, 1_001);
    let infraction = world.now;
    world.unbond(A, ANA, 500);
    assert_eq!(world.slash(A, infraction, 1_001), (250, 250));
    // Half of 500 is insured, all of it from bonded stake, and half burned.
    assert_eq!(world.balance(Purse::Insurance), 250);
    assert_eq!(world.balance(Purse::Mint), 250);
    let pay = |amount| Operation::PayInsurance {
        claim: TransferId::from_bytes([5; 16]),
        to: BEN,
        amount: Amount(amount),
    };
    assert_eq!(
        world.refused(pay(251)),
        StakingError::InsuranceShort {
            available: Amount(250),
            asked: Amount(251)
        }
    );
    assert_eq!(world.refused(pay(0)), StakingError::AmountZero);
    world.run(pay(200));
    assert_eq!(world.balance(Purse::Account(BEN)), 200);
    // No claim is paid twice, not even after a restart.
    let claim = TransferId::from_bytes([5; 16]);
    let snapshot = world.staking.snapshot();
    world.staking = Staking::restore(&snapshot).unwrap();
    assert_eq!(world.refused(pay(1)), StakingError::ClaimRepeated { claim });
    let mut twice = snapshot;
    twice.claims_paid.push(claim);
    assert_eq!(
        Staking::restore(&twice),
        Err(Corruption::ClaimMisplaced { claim })
    );
}

// Bad input.

#[test]
fn nothing_is_refused_wherever_an_amount_is_asked_for() {
    let mut world = World::new();
    world.bond(A, ANA, 10);
    let entry = world.unbond(A, ANA, 1);
    for operation in [
        bond(A, ANA, 0),
        unbond(A, ANA, Some(0)),
        redelegate(ANA, A, B, Some(0)),
        Operation::CancelUnbonding {
            operator: A,
            delegator: ANA,
            entry,
            amount: Some(Amount::ZERO),
        },
        reward(A, 0),
        slash(A, world.now, 0),
    ] {
        assert_eq!(world.refused(operation), StakingError::AmountZero);
    }
}

#[test]
fn unknown_operators_delegators_and_entries_are_named() {
    let mut world = World::new();
    world.bond(A, ANA, 10);
    let stranger = node(9);
    let unknown = StakingError::UnknownOperator { operator: stranger };
    for operation in [
        bond(stranger, ANA, 1),
        unbond(stranger, ANA, Some(1)),
        redelegate(ANA, stranger, A, Some(1)),
        redelegate(ANA, A, stranger, Some(1)),
        claim(stranger, ANA),
        Operation::ClaimCommission { operator: stranger },
        Operation::SetCommission {
            operator: stranger,
            commission: Ppm::ZERO,
        },
        reward(stranger, 1),
        slash(stranger, world.now, 1),
        Operation::Unjail { operator: stranger },
    ] {
        assert_eq!(world.refused(operation), unknown);
    }
    let nobody = StakingError::UnknownDelegator {
        operator: A,
        delegator: BEN,
    };
    for operation in [unbond(A, BEN, Some(1)), unbond(A, BEN, None), claim(A, BEN)] {
        assert_eq!(world.refused(operation), nobody);
    }
    for amount in [None, Some(Amount(1))] {
        let cancel = Operation::CancelUnbonding {
            operator: A,
            delegator: ANA,
            entry: 77,
            amount,
        };
        assert_eq!(
            world.refused(cancel),
            StakingError::UnknownEntry {
                operator: A,
                delegator: ANA,
                entry: 77
            }
        );
    }
    assert_eq!(
        world.refused(Operation::Register {
            operator: A,
            account: BEN,
            commission: Ppm::ZERO
        }),
        StakingError::OperatorExists { operator: A }
    );
}

#[test]
fn more_than_is_staked_cannot_leave() {
    let mut world = World::new();
    world.bond(A, ANA, 10);
    world.bond(A, BEN, 10);
    let exceeds = StakingError::ExceedsStake {
        operator: A,
        delegator: ANA,
        staked: Amount(10),
        asked: Amount(11),
    };
    assert_eq!(world.refused(unbond(A, ANA, Some(11))), exceeds);
    assert_eq!(world.refused(redelegate(ANA, A, B, Some(11))), exceeds);
    assert_eq!(
        world.refused(redelegate(ANA, A, A, Some(1))),
        StakingError::SameOperator { operator: A }
    );
}

/// x/staking, `ErrMaxUnbondingDelegationEntries` and `ErrMaxRedelegationEntries`: 7.
#[test]
fn eighth_unbonding_and_eighth_redelegation_are_refused_until_one_matures() {
    let mut world = World::new();
    world.bond(A, ANA, 100);
    for _ in 0..7 {
        world.unbond(A, ANA, 1);
        world.run(redelegate(ANA, A, B, Some(1)));
        world.now += 1;
    }
    let too_many = StakingError::TooManyEntries {
        operator: A,
        delegator: ANA,
        limit: 7,
    };
    assert_eq!(world.refused(unbond(A, ANA, Some(1))), too_many);
    assert_eq!(world.refused(redelegate(ANA, A, B, Some(1))), too_many);
    world.run(redelegate(ANA, A, C, Some(1)));
    world.now = 100 * DAY + UNBONDING;
    assert_eq!(world.run(Operation::Mature).len(), 2);
    world.unbond(A, ANA, 1);
    world.run(redelegate(ANA, A, B, Some(1)));
}

#[test]
fn overflow_is_refused_and_changes_nothing() {
    let mut world = World::new();
    world.bond(A, ANA, u128::MAX / 4);
    let before = world.staking.clone();
    assert_eq!(
        world.refused(bond(A, BEN, u128::MAX)),
        StakingError::Overflow { operator: A }
    );
    world.run(reward(A, u128::MAX / 4));
    assert_eq!(
        world.refused(reward(A, u128::MAX)),
        StakingError::Overflow { operator: A }
    );
    assert_eq!(
        world.staking.operator(A).unwrap().tokens,
        before.operator(A).unwrap().tokens
    );
    world.run(claim(A, ANA));
}

#[test]
fn commission_has_a_ceiling_a_step_and_a_day_between_steps() {
    let mut world = World::new();
    let set = |percent| Operation::SetCommission {
        operator: A,
        commission: Ppm::percent(percent),
    };
    assert_eq!(
        world.refused(set(51)),
        StakingError::CommissionTooLarge {
            asked: Ppm::percent(51),
            limit: Ppm::percent(50)
        }
    );
    assert_eq!(
        world.refused(set(11)),
        StakingError::CommissionTooSoon {
            operator: A,
            again: UnixMillis(world.now + DAY)
        }
    );
    world.now += DAY;
    for percent in [8, 12] {
        assert_eq!(
            world.refused(set(percent)),
            StakingError::CommissionTooFast {
                asked: Ppm::percent(percent),
                current: Ppm::percent(10),
                step: Ppm::percent(1)
            }
        );
    }
    world.run(set(11));
    world.now += DAY - 1;
    assert!(matches!(
        world.refused(set(12)),
        StakingError::CommissionTooSoon { .. }
    ));
    let register = Operation::Register {
        operator: node(9),
        account: OWNER,
        commission: Ppm::percent(51),
    };
    assert!(matches!(
        world.refused(register),
        StakingError::CommissionTooLarge { .. }
    ));
}

#[test]
fn evidence_is_refused_when_too_old_from_the_future_repeated_or_too_heavy() {
    let mut world = World::new();
    world.bond(A, ANA, 1_000);
    let infraction = world.now;
    world.now += UNBONDING + 1;
    let oldest = UnixMillis(infraction + 1);
    assert_eq!(
        world.refused(slash(A, infraction, 1_000)),
        StakingError::EvidenceTooOld {
            infraction: UnixMillis(infraction),
            oldest
        }
    );
    let now = UnixMillis(world.now);
    assert_eq!(
        world.refused(slash(A, now.0 + 1, 1_000)),
        StakingError::InfractionInFuture {
            infraction: UnixMillis(now.0 + 1),
            now
        }
    );
    assert_eq!(
        world.refused(slash(A, now.0, 1_001)),
        StakingError::PowerTooLarge {
            operator: A,
            power: Amount(1_001),
            most: Amount(1_000)
        }
    );
    world.slash(A, oldest.0, 1_000);
    let repeated = StakingError::EvidenceRepeated {
        operator: A,
        evidence: Evidence::InvalidResult,
        infraction: oldest,
    };
    assert_eq!(world.refused(slash(A, oldest.0, 1_000)), repeated);
    // Another kind at the same time is another infraction. What was slashed since counts as power.
    let mut other = world.staking.clone();
    let double = accuse(Evidence::DoubleResult, A, oldest.0, 1_000);
    let plan = other.plan(&world.rules, &double, now).unwrap();
    other.apply(&plan.events[0]).unwrap();
    // When it is too old to be brought up again it is forgotten.
    world.now += UNBONDING;
    world.slash(A, world.now, 100);
    assert_eq!(world.staking.operator(A).unwrap().punished.len(), 1);
}

#[test]
fn clock_that_was_set_back_and_odd_sources_are_refused() {
    let mut world = World::new();
    world.bond(A, ANA, 10);
    let last = UnixMillis(world.now);
    world.now -= 1;
    let behind = StakingError::ClockBehind {
        now: UnixMillis(world.now),
        last,
    };
    assert_eq!(world.refused(bond(A, ANA, 1)), behind);
    assert_eq!(world.refused(Operation::Mature), behind);
    world.now += 1;
    for purse in [
        Purse::Bonded,
        Purse::Rewards,
        Purse::Insurance,
        Purse::SovereignFund,
    ] {
        let operation = Operation::Reward {
            operator: A,
            source: purse,
            amount: Amount(1),
        };
        assert_eq!(
            world.refused(operation),
            StakingError::SourceNotAllowed { purse }
        );
    }
}

#[test]
fn stake_slashed_to_nothing_has_no_price_and_may_be_left() {
    let mut world = World::new();
    world.bond(A, ANA, 1);
    world.rules.invalid_result.fraction = Ppm::WHOLE;
    world.slash(A, world.now, 1);
    world.now += DAY;
    world.run(Operation::Unjail { operator: A });
    assert_eq!(
        world.refused(bond(A, BEN, 1)),
        StakingError::Worthless {
            operator: A,
            shares: Shares(1)
        }
    );
    world.run(reward(A, 10));
    assert_eq!(world.balance(Purse::Treasury), 10);
    world.run(unbond(A, ANA, None));
    assert_eq!(world.staking.purses().unbonding, Amount::ZERO);
    world.bond(A, BEN, 1);
}

#[test]
fn foreign_events_are_refused_and_change_nothing() {
    let mut world = World::new();
    world.bond(A, ANA, 10);
    let before = world.staking.clone();
    let time = UnixMillis(world.now);
    let honest = world.plan(bond(A, BEN, 5)).unwrap()[0];
    let mut apply = |time, kind| world.staking.apply(&Event { time, kind });
    let bonded = |shares| EventKind::Bonded {
        operator: A,
        delegator: BEN,
        amount: Amount(5),
        shares: Shares(shares),
    };
    assert_eq!(apply(time, bonded(6)), Err(Corruption::Inconsistent));
    assert_eq!(
        apply(UnixMillis(time.0 - 1), bonded(5)),
        Err(Corruption::Impossible {
            reason: StakingError::ClockBehind {
                now: UnixMillis(time.0 - 1),
                last: time
            }
        })
    );
    for kind in [
        EventKind::Claimed {
            operator: A,
            delegator: ANA,
            amount: Amount(1),
        },
        EventKind::Released {
            operator: A,
            delegator: ANA,
            entry: 1,
            amount: Amount(1),
        },
        EventKind::Unbonded {
            operator: A,
            delegator: ANA,
            amount: Amount(0),
            shares: Shares(0),
            matures: time,
            entry: 1,
        },
        EventKind::InsurancePaid {
            claim: TransferId::from_bytes([0; 16]),
            to: ANA,
            amount: Amount::MAX,
        },
    ] {
        assert!(matches!(
            apply(time, kind),
            Err(Corruption::Impossible { .. })
        ));
    }
    assert_eq!(world.staking, before);
    world.staking.apply(&honest).unwrap();
}

// Attacks.

/// The prototype let a negative amount through and minted a million. Amounts have no sign here;
/// what is left to try is more than there is.
#[test]
fn attack_nothing_leaves_that_was_not_brought() {
    let mut world = World::new();
    world.bond(A, ANA, 10);
    assert!(matches!(
        world.refused(unbond(A, ANA, Some(u128::MAX))),
        StakingError::ExceedsStake { .. }
    ));
    world.unbond(A, ANA, 10);
    assert!(matches!(
        world.refused(unbond(A, ANA, Some(1))),
        StakingError::ExceedsStake { .. } | StakingError::UnknownDelegator { .. }
    ));
    world.now += UNBONDING;
    world.run(Operation::Mature);
    assert_eq!(world.run(Operation::Mature), []);
    assert_eq!(world.balance(Purse::Account(ANA)), 0);
}

/// The prototype distributed rewards "before deletion", by hand. Here a claim repeated, split or
/// interleaved with joins and leaves pays the same.
#[test]
fn attack_claiming_often_or_leaving_and_joining_pays_no_more() {
    let mut patient = World::new();
    let mut busy = World::new();
    for world in [&mut patient, &mut busy] {
        world.bond(A, ANA, 1_000);
        world.bond(A, BEN, 1_000);
    }
    for _ in 0..20 {
        patient.run(reward(A, 101));
        busy.run(reward(A, 101));
        busy.run(claim(A, ANA));
        let entry = busy.unbond(A, ANA, 1_000);
        busy.run(Operation::CancelUnbonding {
            operator: A,
            delegator: ANA,
            entry,
            amount: None,
        });
    }
    patient.run(claim(A, ANA));
    assert!(busy.balance(Purse::Account(ANA)) <= patient.balance(Purse::Account(ANA)));
}

/// Joining just before a reward and leaving just after earns one reward's part, and the stake stays
/// for the whole delay; joining after it earns nothing.
#[test]
fn attack_stake_earns_nothing_for_rewards_before_it_came_or_after_it_left() {
    let mut world = World::new();
    world.bond(A, ANA, 100);
    world.run(reward(A, 100));
    world.bond(A, BEN, 900);
    assert_eq!(world.staking.claimable(A, BEN), Amount(0));
    world.unbond(A, BEN, 900);
    world.run(reward(A, 100));
    assert_eq!(world.staking.claimable(A, BEN), Amount(0));
    assert_eq!(world.staking.claimable(A, ANA), Amount(180));
}

/// Fleeing from a punishment that is coming: by unbonding, by redelegating, by both, by cancelling.
#[test]
fn attack_stake_that_flees_after_the_infraction_pays_as_if_it_had_stayed() {
    type Flight = fn(&mut World);
    let flights: [Flight; 4] = [
        |world| {
            world.unbond(A, ANA, 1_000);
        },
        |world| {
            world.run(redelegate(ANA, A, B, None));
        },
        |world| {
            world.run(redelegate(ANA, A, B, None));
            world.unbond(B, ANA, 1_000);
        },
        |world| {
            let entry = world.unbond(A, ANA, 1_000);
            world.run(Operation::CancelUnbonding {
                operator: A,
                delegator: ANA,
                entry,
                amount: None,
            });
        },
    ];
    for flight in flights {
        let mut world = World::new();
        world.bond(A, ANA, 1_000);
        world.bond(A, BEN, 1_000);
        let infraction = world.now;
        world.now += 1;
        flight(&mut world);
        world.now += UNBONDING - 1;
        let (bonded, unbonding) = world.slash(A, infraction, 2_000);
        assert_eq!(bonded + unbonding, 1_000);
        // Ben pays for himself alone.
        assert_eq!(world.staking.staked(A, BEN), Amount(500));
    }
}

/// The first to join prices shares so that the second's are rounded to nothing.
#[test]
fn attack_the_first_staker_cannot_round_the_second_to_nothing() {
    let mut world = World::new();
    world.bond(A, ANA, 1);
    world.run(reward(A, 1_000_000));
    world.bond(A, BEN, 1);
    assert_eq!(world.staking.staked(A, BEN), Amount(1));
    // Not even after slashes and leaving to a single share.
    world.bond(A, ANA, 999);
    world.slash(A, world.now, 1_001);
    world.now += DAY;
    world.run(Operation::Unjail { operator: A });
    let staked = world.staking.staked(A, ANA).0;
    world.unbond(A, ANA, staked - 1);
    // What rounding takes of a stake is less than a base unit.
    world.bond(A, account(9), 1_000);
    assert!(world.staking.staked(A, account(9)) >= Amount(999));
}
