//! Cases of OpenZeppelin's Votes (openzeppelin-contracts@fddac901,
//! `test/governance/utils/Votes.behavior.js`), and delegation as it is here.
//!
//! Delegating to oneself there is enrolling here. Signed delegations and their nonces are the
//! ledger's and are tested with it.

use fogcompute_base::UnixMillis;
use fogcompute_ledger::Ppm;
use fogcompute_ledger::dao::{
    Choice, DaoError, Operation, ProposalKind, Role, Standing, Weight, Weights,
};

use crate::world::{KIND, World, account, id, operator, part, tally};

const WHOLE: u32 = 1_000_000;
const ALICE: u16 = 1;
const BOB: u16 = 2;
const CAROL: u16 = 3;

fn past(world: &World, n: u16, time: u64) -> u128 {
    let now = UnixMillis(world.now.max(time + 1));
    let standing = world
        .dao
        .past_standing(account(n), KIND, UnixMillis(time), now);
    standing.unwrap().kept().0
}

#[test]
fn no_checkpoints() {
    let world = World::new();
    assert_eq!(past(&world, BOB, 0), 0);
    let total = world.dao.past_total(UnixMillis(0), UnixMillis(1));
    assert_eq!(total, Ok(Weight::ZERO));
}

#[test]
fn future_lookup() {
    let world = World::new();
    for (time, now) in [(5, 5), (6, 5)] {
        let (time, now) = (UnixMillis(time), UnixMillis(now));
        let future = DaoError::FutureLookup { time, now };
        let found = world.dao.past_standing(account(ALICE), KIND, time, now);
        assert_eq!(found, Err(future.clone()));
        assert_eq!(world.dao.past_total(time, now), Err(future));
    }
}

#[test]
fn supply_history() {
    let (a, b, c) = (11, 23, 47);
    let mut world = World::new();
    for (time, supply) in [(1, a), (3, a + b), (5, a), (7, a + c), (9, c), (11, 0)] {
        world.at(time).circulating(supply);
    }
    let expected = [0, a, a, a + b, a + b, a, a, a + c, a + c, c, c, 0];
    for (time, supply) in (0..).zip(expected) {
        let found = world.dao.past_total(UnixMillis(time), UnixMillis(100));
        assert_eq!(found, Ok(Weight(supply)), "{time}");
    }
}

#[test]
fn delegate_update() {
    let mut world = World::new();
    world.at(1).enrol(ALICE, 50);
    world.at(2).delegate(ALICE, &[part(BOB, WHOLE)]).unwrap();
    assert_eq!(world.standing(ALICE).kept(), Weight(0));
    assert_eq!(world.standing(BOB).kept(), Weight(50));
    assert_eq!(past(&world, ALICE, 1), 50);
    assert_eq!(past(&world, ALICE, 2), 0);
    assert_eq!(past(&world, BOB, 1), 0);
    assert_eq!(past(&world, BOB, 2), 50);
    world.check();
}

#[test]
fn delegate_without_balance() {
    let mut world = World::new();
    world.at(1).delegate(ALICE, &[part(BOB, WHOLE)]).unwrap();
    assert!(world.dao.member(account(ALICE)).is_some());
    assert_eq!(world.standing(ALICE), Standing::default());
    assert_eq!(world.dao.checkpoints(account(BOB), KIND), 0);
}

#[test]
fn before_first_checkpoint() {
    let mut world = World::new();
    world.at(5).enrol(ALICE, 50);
    world.delegate(ALICE, &[part(BOB, WHOLE)]).unwrap();
    assert_eq!(past(&world, BOB, 4), 0);
    assert_eq!(past(&world, BOB, 5), 50);
}

#[test]
fn one_checkpoint_per_timepoint() {
    let mut world = World::new();
    world.at(1).enrol(ALICE, 50);
    world.at(5).delegate(ALICE, &[part(BOB, WHOLE)]).unwrap();
    world.tokens(ALICE, 47);
    assert_eq!(world.dao.checkpoints(account(BOB), KIND), 1);
    assert_eq!(past(&world, BOB, 5), 47);
}

#[test]
fn stake_counts_like_tokens_and_is_valued_anew() {
    let mut world = World::new();
    world.enrol(ALICE, 5);
    // Who is not enrolled is not counted.
    world
        .stake(1, ALICE, 20)
        .stake(1, BOB, 20)
        .stake(2, ALICE, 300);
    assert_eq!(world.standing(ALICE).own, Weight(325));
    assert_eq!(world.standing(BOB).own, Weight(0));
    let stakers: Vec<_> = world.dao.stakers(operator(1)).collect();
    assert_eq!(stakers, [account(ALICE)]);
    // A slash.
    world.stake(1, ALICE, 10);
    assert_eq!(world.standing(ALICE).own, Weight(315));
    world.stake(1, ALICE, 0);
    assert_eq!(world.standing(ALICE).own, Weight(305));
    assert_eq!(world.dao.stakers(operator(1)).count(), 0);
    world.check();
}

#[test]
fn votes_are_split_by_topic_and_passed_on() {
    let mut world = World::new();
    world.enrol(ALICE, 101).enrol(BOB, 10);
    let on = |topics: &[ProposalKind], voter, to: &[_]| Operation::Delegate {
        voter: account(voter),
        topics: topics.to_vec(),
        to: to.to_vec(),
    };
    let treasury = ProposalKind::TreasuryAllocation;
    world
        .run(&on(
            &[treasury],
            ALICE,
            &[part(BOB, 500_000), part(CAROL, 250_000)],
        ))
        .unwrap();
    world
        .run(&on(&[treasury, KIND], BOB, &[part(4, WHOLE)]))
        .unwrap();
    let kept = |world: &World, n, topic| world.dao.standing(account(n), topic).kept().0;
    // 101 split into 50, 25 and the rest; Bob's 10 and the 50 are passed on.
    assert_eq!(kept(&world, ALICE, treasury), 26);
    assert_eq!(kept(&world, BOB, treasury), 0);
    assert_eq!(kept(&world, CAROL, treasury), 25);
    assert_eq!(kept(&world, 4, treasury), 60);
    assert_eq!(kept(&world, ALICE, KIND), 101);
    assert_eq!(kept(&world, 4, KIND), 10);
    world.check();
    // Revoked on one topic, on the other it stays.
    world.run(&on(&[treasury], BOB, &[])).unwrap();
    assert_eq!(kept(&world, BOB, treasury), 60);
    assert_eq!(kept(&world, 4, KIND), 10);
    world.check();
}

#[test]
fn a_role_weighs_what_its_holder_has_and_never_what_was_delegated_to_it() {
    let mut world = World::new();
    world.enrol(ALICE, 100).enrol(BOB, 7).circulating(1_000);
    world.delegate(ALICE, &[part(BOB, WHOLE)]).unwrap();
    world.establish(&[(BOB, Role::King)]).unwrap();
    let standing = world.standing(BOB);
    assert_eq!((standing.own, standing.received), (Weight(70), Weight(100)));
    assert_eq!(world.dao.total(), Weight(1_063));
    world.check();
    // What passes on is what its giver weighs.
    world.at(1).delegate(BOB, &[part(CAROL, WHOLE)]).unwrap();
    assert_eq!(world.standing(CAROL).received, Weight(170));
    let weights = Weights {
        king: 3_000,
        ..Weights::default()
    };
    world.at(2).tell(|draft| draft.set_weights(weights));
    assert_eq!(world.standing(CAROL).received, Weight(121));
    assert_eq!(world.dao.total(), Weight(1_014));
    assert_eq!(past(&world, CAROL, 1), 170);
    world.check();
}

#[test]
fn a_chain_as_long_as_allowed_and_no_longer() {
    let mut world = World::new();
    world.enrol(1, 10);
    for n in (1..=8).rev() {
        world.delegate(n, &[part(n + 1, WHOLE)]).unwrap();
    }
    assert_eq!(world.standing(9).received, Weight(10));
    let deep = |depth| DaoError::DelegationTooDeep {
        topic: ProposalKind::ParameterChange,
        depth,
        limit: 8,
    };
    // At its end, at its beginning, and between two halves.
    assert_eq!(world.delegate(9, &[part(10, WHOLE)]), Err(deep(9)));
    assert_eq!(world.delegate(20, &[part(1, WHOLE)]), Err(deep(9)));
    world.delegate(30, &[part(31, WHOLE)]).unwrap();
    assert_eq!(world.delegate(31, &[part(4, WHOLE)]).map(drop), Ok(()));
    assert_eq!(world.delegate(31, &[part(1, WHOLE)]), Err(deep(10)));
    // Shortened above, it may grow below.
    world.delegate(1, &[]).unwrap();
    world.delegate(9, &[part(10, WHOLE)]).map(drop).unwrap();
    world.check();
}

#[test]
fn votes_are_not_split_into_more_ways_than_allowed() {
    let mut world = World::new();
    let eight = |first: u16| -> Vec<_> { (first..first + 8).map(|n| part(n, 125_000)).collect() };
    world.delegate(1, &eight(10)).unwrap();
    world.delegate(10, &eight(20)).unwrap();
    let wide = world.delegate(20, &[part(40, 500_000), part(41, 500_000)]);
    let too_wide = DaoError::DelegationTooWide {
        topic: ProposalKind::ParameterChange,
        paths: 128,
        limit: 64,
    };
    assert_eq!(wide, Err(too_wide));
    world.delegate(20, &[part(40, WHOLE)]).map(drop).unwrap();
    let nine: Vec<_> = (50..59).map(|n| part(n, 1)).collect();
    let too_many = DaoError::TooManyDelegates {
        voter: account(2),
        actual: 9,
        limit: 8,
    };
    assert_eq!(world.delegate(2, &nine), Err(too_many));
    world.check();
}

#[test]
fn bad_delegations_are_each_refused_by_name() {
    let mut world = World::new();
    world.host.strangers.insert(account(99));
    let voter = account(ALICE);
    let delegate = account(BOB);
    for (to, refusal) in [
        (vec![part(ALICE, 1)], DaoError::SelfDelegation { voter }),
        (vec![part(BOB, 0)], DaoError::PartZero { delegate }),
        (
            vec![part(BOB, 1), part(BOB, 1)],
            DaoError::DelegateRepeated { delegate },
        ),
        (
            vec![part(BOB, WHOLE), part(CAROL, 1)],
            DaoError::PartsExceedWhole {
                voter,
                sum: 1_000_001,
            },
        ),
        (vec![], DaoError::NothingDelegated { voter }),
        (
            vec![part(99, 1)],
            DaoError::UnknownAccount {
                account: account(99),
            },
        ),
    ] {
        assert_eq!(world.delegate(ALICE, &to), Err(refusal));
    }
    let twice = world.run(&Operation::Delegate {
        voter,
        topics: vec![KIND, ProposalKind::ParameterChange, KIND],
        to: vec![part(BOB, 1)],
    });
    assert_eq!(twice, Err(DaoError::TopicRepeated { topic: KIND }));
    world.enrol(ALICE, 0);
    let again = world.run(&Operation::Enrol { account: voter });
    assert_eq!(again, Err(DaoError::AlreadyEnrolled { account: voter }));
}

/// Ana gives half to Ben and half to Cara; both give all to Dan.
fn diamond() -> World {
    let mut world = World::new();
    world.circulating(1_000);
    world.enrol(1, 100).enrol(2, 10).enrol(3, 20).enrol(4, 5);
    world.delegate(2, &[part(4, WHOLE)]).unwrap();
    world.delegate(3, &[part(4, WHOLE)]).unwrap();
    world
        .delegate(1, &[part(2, 500_000), part(3, 500_000)])
        .unwrap();
    world.propose(9, 1).unwrap();
    world.at(5);
    world
}

#[test]
fn whoever_votes_takes_its_power_back_from_all_ways_it_went() {
    let mut world = diamond();
    world.vote(4, 1, Choice::Against).unwrap();
    assert_eq!(world.power(1), tally(0, 135, 0));
    // Ben takes back his own and Ana's half.
    world.vote(2, 1, Choice::For).unwrap();
    assert_eq!(world.power(1), tally(60, 75, 0));
    // Ana takes hers from Ben's ballot and, through Cara, from Dan's.
    world.vote(1, 1, Choice::Abstain).unwrap();
    assert_eq!(world.power(1), tally(10, 25, 100));
    world.vote(3, 1, Choice::For).unwrap();
    assert_eq!(world.power(1), tally(30, 5, 100));
    world.check();
}

#[test]
fn the_order_of_votes_does_not_matter() {
    for order in [[1, 2, 3, 4], [4, 3, 2, 1], [3, 1, 4, 2], [2, 4, 1, 3]] {
        let mut world = diamond();
        for voter in order {
            world.vote(voter, 1, Choice::For).unwrap();
        }
        for (voter, power) in [(1, 100), (2, 10), (3, 20), (4, 5)] {
            assert_eq!(world.ballot(voter, 1).unwrap().power, Weight(power));
        }
        world.check();
    }
}

#[test]
fn who_has_nothing_left_of_what_was_delegated_cannot_vote() {
    let mut world = World::new();
    world.circulating(100).enrol(ALICE, 50);
    world.delegate(ALICE, &[part(BOB, WHOLE)]).unwrap();
    world.propose(9, 1).unwrap();
    world.at(5).vote(ALICE, 1, Choice::For).unwrap();
    let powerless = |voter: u16| DaoError::NoVotingPower {
        proposal: id(1),
        voter: account(voter),
    };
    assert_eq!(world.vote(BOB, 1, Choice::Against), Err(powerless(BOB)));
    assert_eq!(world.vote(CAROL, 1, Choice::For), Err(powerless(CAROL)));
}

#[test]
fn one_ballot_counts_no_more_than_its_share() {
    let mut world = World::new();
    world.rules.voter_share_max = Ppm::percent(25);
    world.circulating(1_000).enrol(ALICE, 600).enrol(BOB, 300);
    world.delegate(BOB, &[part(ALICE, WHOLE)]).unwrap();
    world.propose(9, 1).unwrap();
    world.at(5).vote(ALICE, 1, Choice::For).unwrap();
    assert_eq!(world.ballot(ALICE, 1).unwrap().power, Weight(900));
    assert_eq!(world.power(1), tally(250, 0, 0));
    // What Bob takes back was above the share.
    world.vote(BOB, 1, Choice::Against).unwrap();
    assert_eq!(world.power(1), tally(250, 250, 0));
    world.check();
}
