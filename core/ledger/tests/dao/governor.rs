//! Cases of OpenZeppelin's Governor (openzeppelin-contracts@fddac901,
//! `test/governance/Governor.test.js`), by their names there.
//!
//! Ours differs on purpose: what succeeded must be queued before it is executed, here with no
//! timelock; a vote may be changed, so that only the same vote again is refused; nonces and
//! signatures are the ledger's and are tested with it; parameters are refused when they are
//! proposed, not when they are executed; an id names a proposal, so that nobody else's description
//! can claim it.

use fogcompute_base::UnixMillis;
use fogcompute_base::wire::DecodeError;
use fogcompute_ledger::dao::{
    Action, ActionError, Choice, DaoError, Event, ProposalKind, ProposalState, Weight,
};
use fogcompute_ledger::economy::EconomyError;
use fogcompute_ledger::{Amount, Ppm};

use crate::world::{KIND, World, account, content, id, resolve, tally, vote_bytes};

const P: u16 = 1;
const OWNER: u16 = 2;
const V1: u16 = 11;
const V2: u16 = 12;
const V3: u16 = 13;
const V4: u16 = 14;

/// 100 tokens, of which voters have 10, 7, 5 and 2.
fn governor() -> World {
    let mut world = World::new();
    world.circulating(100);
    for (voter, tokens) in [(V1, 10), (V2, 7), (V3, 5), (V4, 2)] {
        world.enrol(voter, tokens);
    }
    world
}

fn proposed() -> World {
    let mut world = governor();
    world.propose(P, 1).unwrap();
    world
}

fn state_at(world: &mut World, now: u64) -> ProposalState {
    world.at(now).state(1)
}

#[test]
fn nominal() {
    let mut world = proposed();
    assert_eq!(state_at(&mut world, 4), ProposalState::Pending);
    assert_eq!(state_at(&mut world, 5), ProposalState::Active);
    world.at(5).vote(V1, 1, Choice::For).unwrap();
    world.at(6).vote(V2, 1, Choice::For).unwrap();
    world.at(7).vote(V3, 1, Choice::Against).unwrap();
    world.at(8).vote(V4, 1, Choice::Abstain).unwrap();
    world.check();
    assert_eq!(world.power(1), tally(17, 5, 2));
    let record = world.dao.proposal(id(1)).unwrap();
    assert_eq!(record.votes(UnixMillis(8)), tally(17, 5, 2));
    for (voter, voted) in [
        (OWNER, false),
        (V1, true),
        (V2, true),
        (V3, true),
        (V4, true),
    ] {
        assert_eq!(world.ballot(voter, 1).is_some(), voted);
    }
    assert_eq!(state_at(&mut world, 20), ProposalState::Active);
    assert_eq!(state_at(&mut world, 21), ProposalState::Succeeded);
    world.queue(1).unwrap();
    world.execute(1).unwrap();
    assert_eq!(state_at(&mut world, 21), ProposalState::Executed);
    assert_eq!(world.dao.resolutions().len(), 1);
    // The ballots are forgotten, the tally is not.
    assert_eq!(world.ballot(V1, 1), None);
    assert_eq!(world.power(1), tally(17, 5, 2));
    world.check();
}

#[test]
fn propose_duplicate() {
    let mut world = proposed();
    let exists = DaoError::ProposalExists { proposal: id(1) };
    assert_eq!(world.propose(P, 1), Err(exists));
}

#[test]
fn propose_below_threshold() {
    let mut world = governor();
    world.rules.proposal_threshold = Amount(10);
    let short = |weight| DaoError::ThresholdNotMet {
        author: account(V4),
        weight: Weight(weight),
        threshold: Amount(10),
    };
    assert_eq!(world.propose(V4, 1), Err(short(0)));
    // What it weighs counts from the next millisecond on.
    assert_eq!(world.at(1).propose(V4, 1), Err(short(2)));
    world.propose(V1, 1).unwrap();
}

#[test]
fn vote_unknown_proposal() {
    let unknown = DaoError::UnknownProposal { proposal: id(1) };
    assert_eq!(governor().vote(V1, 1, Choice::For), Err(unknown));
}

#[test]
fn vote_before_start() {
    let mut world = proposed();
    for now in [1, 4] {
        let early = DaoError::VotingNotStarted {
            proposal: id(1),
            snapshot: UnixMillis(4),
        };
        assert_eq!(world.at(now).vote(V1, 1, Choice::For), Err(early));
    }
}

#[test]
fn vote_invalid_support() {
    assert_eq!(
        Choice::try_from(255),
        Err(DaoError::UnknownChoice { code: 255 })
    );
    assert!(Event::decode(&vote_bytes(2)).is_ok());
    let unknown = DecodeError::Unknown { at: 41, value: 255 };
    assert_eq!(Event::decode(&vote_bytes(255)), Err(unknown));
}

#[test]
fn vote_twice() {
    let mut world = proposed();
    world.at(5).vote(V1, 1, Choice::For).unwrap();
    let again = DaoError::AlreadyVoted {
        proposal: id(1),
        voter: account(V1),
        choice: Choice::For,
    };
    assert_eq!(world.at(6).vote(V1, 1, Choice::For), Err(again));
    // Ours: another choice replaces the first.
    world.vote(V1, 1, Choice::Against).unwrap();
    assert_eq!(world.power(1), tally(0, 10, 0));
    world.check();
}

#[test]
fn vote_after_deadline() {
    let mut world = proposed();
    let late = DaoError::VotingOver {
        proposal: id(1),
        state: ProposalState::Defeated,
    };
    assert_eq!(world.at(21).vote(V1, 1, Choice::For), Err(late));
}

#[test]
fn execute_unknown() {
    let unknown = DaoError::UnknownProposal { proposal: id(1) };
    assert_eq!(governor().execute(1), Err(unknown.clone()));
    assert_eq!(governor().queue(1), Err(unknown.clone()));
    assert_eq!(governor().cancel(P, 1), Err(unknown));
}

fn not_queued(state: ProposalState) -> DaoError {
    DaoError::NotQueued {
        proposal: id(1),
        state,
    }
}

fn not_succeeded(state: ProposalState) -> DaoError {
    DaoError::NotSucceeded {
        proposal: id(1),
        state,
    }
}

#[test]
fn execute_quorum_not_reached() {
    let mut world = proposed();
    world.at(5).vote(V3, 1, Choice::For).unwrap();
    assert_eq!(state_at(&mut world, 21), ProposalState::Defeated);
    assert_eq!(world.queue(1), Err(not_succeeded(ProposalState::Defeated)));
    assert_eq!(world.execute(1), Err(not_queued(ProposalState::Defeated)));
}

#[test]
fn execute_score_not_reached() {
    let mut world = proposed();
    world.at(5).vote(V1, 1, Choice::Against).unwrap();
    assert_eq!(
        world.at(21).queue(1),
        Err(not_succeeded(ProposalState::Defeated))
    );
    assert_eq!(world.execute(1), Err(not_queued(ProposalState::Defeated)));
}

#[test]
fn execute_vote_not_over() {
    let mut world = proposed();
    world.at(5).vote(V1, 1, Choice::For).unwrap();
    assert_eq!(
        world.at(6).queue(1),
        Err(not_succeeded(ProposalState::Active))
    );
    assert_eq!(world.execute(1), Err(not_queued(ProposalState::Active)));
    assert_eq!(world.state(1), ProposalState::Active);
}

#[test]
fn execute_action_fails() {
    let mut world = governor();
    let pay = |amount| Action::Pay {
        to: account(V1),
        amount: Amount(amount),
        code: 7,
    };
    let actions = vec![pay(1), pay(999)];
    world
        .propose_that(P, 1, content(ProposalKind::TreasuryAllocation, actions))
        .unwrap();
    world.at(5).vote(V1, 1, Choice::For).unwrap();
    world.at(21).queue(1).unwrap();
    // The treasury was emptied meanwhile.
    world.host.treasury = Amount(999);
    let short = DaoError::ActionFailed {
        proposal: id(1),
        index: 1,
        reason: Box::new(ActionError::Unpayable {
            asked: Amount(1_000),
            available: Amount(999),
        }),
    };
    assert_eq!(world.execute(1), Err(short));
    assert_eq!(world.state(1), ProposalState::Queued);
    // It can be executed once it is filled again, and no more than once.
    world.host.treasury = Amount(1_000);
    assert_eq!(world.execute(1).unwrap().len(), 2);
    assert_eq!(world.host.treasury, Amount::ZERO);
    assert_eq!(world.execute(1), Err(not_queued(ProposalState::Executed)));
}

#[test]
fn execute_twice() {
    let mut world = proposed();
    world.at(5).vote(V1, 1, Choice::For).unwrap();
    world.at(21).queue(1).unwrap();
    world.execute(1).unwrap();
    let again = world.at(22).execute(1);
    assert_eq!(again, Err(not_queued(ProposalState::Executed)));
    assert_eq!(world.queue(1), Err(not_succeeded(ProposalState::Executed)));
}

#[test]
fn state_unset() {
    let unknown = DaoError::UnknownProposal { proposal: id(1) };
    assert_eq!(governor().dao.state(id(1), UnixMillis(0)), Err(unknown));
}

#[test]
fn state_defeated_no_votes() {
    let mut world = proposed();
    assert_eq!(state_at(&mut world, 20), ProposalState::Active);
    assert_eq!(state_at(&mut world, 21), ProposalState::Defeated);
}

#[test]
fn cancel_by_proposer_while_pending() {
    let mut world = proposed();
    world.at(1).cancel(P, 1).unwrap();
    assert_eq!(world.state(1), ProposalState::Cancelled);
    let over = DaoError::VotingOver {
        proposal: id(1),
        state: ProposalState::Cancelled,
    };
    assert_eq!(world.at(5).vote(V1, 1, Choice::For), Err(over));
    world.check();
}

fn unable_to_cancel(by: u16, state: ProposalState) -> DaoError {
    DaoError::CancelRefused {
        proposal: id(1),
        by: account(by),
        state,
    }
}

#[test]
fn cancel_by_other_while_pending() {
    let refused = unable_to_cancel(OWNER, ProposalState::Pending);
    assert_eq!(proposed().at(1).cancel(OWNER, 1), Err(refused));
}

#[test]
fn cancel_by_proposer_after_vote_started() {
    let refused = unable_to_cancel(P, ProposalState::Active);
    assert_eq!(proposed().at(5).cancel(P, 1), Err(refused));
}

#[test]
fn cancel_by_proposer_after_deadline() {
    let mut world = proposed();
    world.at(5).vote(V1, 1, Choice::For).unwrap();
    let refused = unable_to_cancel(P, ProposalState::Succeeded);
    assert_eq!(world.at(21).cancel(P, 1), Err(refused));
}

#[test]
fn cancel_after_execution() {
    let mut world = proposed();
    world.at(5).vote(V1, 1, Choice::For).unwrap();
    world.at(21).queue(1).unwrap();
    world.execute(1).unwrap();
    let refused = unable_to_cancel(P, ProposalState::Executed);
    assert_eq!(world.at(22).cancel(P, 1), Err(refused));
}

#[test]
fn proposal_empty_actions() {
    let empty = governor().propose_that(P, 1, content(KIND, vec![]));
    assert_eq!(empty, Err(DaoError::NoActions));
    let many = governor().propose_that(P, 1, content(KIND, vec![resolve(); 17]));
    let too_many = DaoError::TooManyActions {
        actual: 17,
        limit: 16,
    };
    assert_eq!(many, Err(too_many));
    let most = governor().propose_that(P, 1, content(KIND, vec![resolve(); 16]));
    assert!(most.is_ok());
}

// "proposal_mismatched_lengths" has no case: an action is one typed value, not three lists.

#[test]
fn frontrun_suffix_other_proposer() {
    // Whoever sees somebody's content and is first with it under another id takes nothing away.
    let mut world = governor();
    world.propose(V1, 2).unwrap();
    world.propose(P, 1).unwrap();
    assert_eq!(world.dao.proposal(id(1)).unwrap().author, account(P));
}

fn set(name: &str, value: u128) -> Vec<Action> {
    vec![Action::SetParameter {
        name: name.to_owned(),
        value,
    }]
}

#[test]
fn param_update_through_vote() {
    let mut world = governor();
    let actions = set("earning.fees.treasury", 20_000);
    world
        .propose_that(P, 1, content(ProposalKind::ParameterChange, actions))
        .unwrap();
    world.at(5).vote(V1, 1, Choice::For).unwrap();
    world.at(21).queue(1).unwrap();
    world.execute(1).unwrap();
    assert_eq!(
        world.host.economy.get("earning.fees.treasury"),
        Some(20_000)
    );
}

#[test]
fn param_voting_period_zero_refused() {
    let mut world = governor();
    let actions = set("earning.session.duration_min_ms", 0);
    let refused = world.propose_that(P, 1, content(ProposalKind::ParameterChange, actions));
    let Err(DaoError::ActionInvalid { index: 0, reason }) = refused else {
        panic!("{refused:?}");
    };
    let ActionError::Parameter { reason } = *reason else {
        panic!("{reason:?}");
    };
    assert!(matches!(
        reason,
        EconomyError::OutOfBounds {
            value: 0,
            min: 1,
            ..
        }
    ));
}

#[test]
fn param_direct_update_refused() {
    // No operation sets a parameter: only a proposal that was voted on gives the host an effect.
    let mut world = proposed();
    world.rules.quorum = Ppm::ZERO;
    world.at(5).vote(V3, 1, Choice::For).unwrap();
    assert_eq!(state_at(&mut world, 21), ProposalState::Defeated);
}
