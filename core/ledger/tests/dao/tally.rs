//! Cases of Cosmos' tally (cosmos-sdk@34d27435, `x/gov/keeper/tally_test.go`), by their names there.
//!
//! A validator's stake is delegated to it; a delegator that votes takes exactly its own back. A
//! veto is counted as against, and there is no deposit, so that nothing is burned. The case "veto",
//! 4 for and 3 vetoes, would pass at a threshold of one half; the default approval of 60 % stops it.
//! Cosmos' threshold must be exceeded, approval here be reached; no case lies on it but the tie,
//! which fails here too. Cosmos' expedited proposals are an approval of 66.7 %.

use fogcompute_ledger::Ppm;
use fogcompute_ledger::dao::{Choice, DaoError, ProposalState};

use crate::world::{World, account, id, part, tally};

const STAKE: u128 = 1_000_000;
const DELEGATOR: u16 = 100;

/// Ten validators with a million each, of which the delegator has delegated so much.
fn bonded(delegated: &[(u16, u128)], approval: u32) -> World {
    let mut world = World::new();
    world.rules.quorum = Ppm::new(334_000).unwrap();
    world.rules.approval = Ppm::new(approval).unwrap();
    let total: u128 = delegated.iter().map(|(_, shares)| shares).sum();
    world.circulating(10 * STAKE);
    for validator in 0..10 {
        let of_others = delegated.iter().filter(|(to, _)| *to == validator);
        let of_others: u128 = of_others.map(|(_, shares)| shares).sum();
        world.enrol(validator, STAKE - of_others);
    }
    world.enrol(DELEGATOR, total);
    if total > 0 {
        let parts: Vec<_> = (delegated.iter())
            .map(|(to, shares)| part(*to, u32::try_from(shares * 1_000_000 / total).unwrap()))
            .collect();
        world.delegate(DELEGATOR, &parts).unwrap();
    }
    world.propose(200, 1).unwrap();
    world.at(5);
    world
}

fn passes(world: &mut World) -> bool {
    world.check();
    world.at(21).state(1) == ProposalState::Succeeded
}

fn voted(votes: &[(u16, Choice)], approval: u32) -> World {
    let mut world = bonded(&[], approval);
    for (voter, choice) in votes {
        world.vote(*voter, 1, *choice).unwrap();
    }
    world
}

use Choice::{Abstain, Against, For};

#[test]
fn nothing_bonded() {
    let mut world = World::new();
    world.propose(200, 1).unwrap();
    assert_eq!(world.power(1), tally(0, 0, 0));
    assert!(!passes(&mut world));
}

#[test]
fn no_votes_and_one_validator_no() {
    assert!(!passes(&mut voted(&[], 500_000)));
    let mut world = voted(&[(0, Against)], 500_000);
    assert_eq!(world.power(1), tally(0, STAKE, 0));
    assert!(!passes(&mut world));
}

#[test]
fn voter_without_stake() {
    // There it counts for nothing, here it is refused.
    let mut world = bonded(&[], 500_000);
    let powerless = DaoError::NoVotingPower {
        proposal: id(1),
        voter: account(DELEGATOR),
    };
    assert_eq!(world.vote(DELEGATOR, 1, For), Err(powerless));
    assert_eq!(world.power(1), tally(0, 0, 0));
}

#[test]
fn one_delegator() {
    let mut world = bonded(&[(0, 42)], 500_000);
    world.vote(DELEGATOR, 1, For).unwrap();
    assert_eq!(world.power(1), tally(42, 0, 0));
    assert!(!passes(&mut world));
}

#[test]
fn delegator_and_validator_yes() {
    let mut world = bonded(&[(0, 42)], 500_000);
    world.vote(DELEGATOR, 1, For).unwrap();
    world.vote(0, 1, For).unwrap();
    assert_eq!(world.power(1), tally(STAKE, 0, 0));
}

#[test]
fn delegator_overrides() {
    for first in [DELEGATOR, 0] {
        let mut world = bonded(&[(0, 42)], 500_000);
        let second = DELEGATOR - first;
        let choice = |voter| if voter == DELEGATOR { For } else { Against };
        world.vote(first, 1, choice(first)).unwrap();
        world.vote(second, 1, choice(second)).unwrap();
        assert_eq!(world.power(1), tally(42, 999_958, 0));
        assert!(!passes(&mut world));
    }
}

#[test]
fn mixed_delegations() {
    let mut world = bonded(&[(0, 21), (1, 21)], 500_000);
    world.vote(0, 1, Against).unwrap();
    world.vote(1, 1, For).unwrap();
    world.vote(2, 1, Abstain).unwrap();
    world.vote(DELEGATOR, 1, For).unwrap();
    assert_eq!(world.power(1), tally(1_000_021, 999_979, 1_000_000));
    assert!(!passes(&mut world));
}

#[test]
fn only_abstain() {
    let mut world = voted(
        &[(0, Abstain), (1, Abstain), (2, Abstain), (3, Abstain)],
        500_000,
    );
    assert_eq!(world.power(1), tally(0, 0, 4 * STAKE));
    assert!(!passes(&mut world));
}

#[test]
fn tie_fails() {
    let mut world = voted(&[(0, For), (1, For), (2, Against), (3, Against)], 500_000);
    assert_eq!(world.power(1), tally(2 * STAKE, 2 * STAKE, 0));
    assert!(!passes(&mut world));
}

/// Yes, no, and one that vetoes, counted as no.
fn seven(yes: u16) -> Vec<(u16, Choice)> {
    let choice = |voter| if voter < yes { For } else { Against };
    (0..7).map(|voter| (voter, choice(voter))).collect()
}

#[test]
fn majority_and_expedited() {
    for (yes, approval, passed) in [
        (4, 500_000, true),
        (4, 600_000, false),
        (4, 667_000, false),
        (5, 667_000, true),
        (3, 500_000, false),
    ] {
        let mut world = voted(&seven(yes), approval);
        let against = 7 - u128::from(yes);
        assert_eq!(
            world.power(1),
            tally(u128::from(yes) * STAKE, against * STAKE, 0)
        );
        assert_eq!(passes(&mut world), passed, "{yes} of 7 at {approval}");
    }
}

#[test]
fn abstain_makes_quorum() {
    let votes = [(0, For), (1, For), (2, Against)];
    // Three of ten are below 33.4 %, six are above.
    assert!(!passes(&mut voted(&votes, 500_000)));
    let abstained = [(3, Abstain), (4, Abstain), (5, Abstain)];
    let mut world = voted(&[&votes[..], &abstained].concat(), 500_000);
    assert_eq!(world.power(1), tally(2 * STAKE, STAKE, 3 * STAKE));
    assert!(passes(&mut world));
}
