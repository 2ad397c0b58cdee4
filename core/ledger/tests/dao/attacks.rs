//! Attacks on governance, each of which fails, and bad input, each refused by its own name.

use fogcompute_base::{Digest, UnixMillis};
use fogcompute_ledger::dao::{
    Action, ActionError, Choice, Content, Conviction, Dao, DaoError, Operation, ProposalKind,
    ProposalState, Role, Rules, Scope, Weighing, Weight,
};
use fogcompute_ledger::economy::EconomyError;
use fogcompute_ledger::{Amount, Ppm, Purse};

use crate::world::{KIND, World, account, content, id, part, resolve, tally};

use Choice::{Abstain, Against, For};

const WHOLE: u32 = 1_000_000;
const MALLORY: u16 = 66;

fn powerless(voter: u16) -> DaoError {
    DaoError::NoVotingPower {
        proposal: id(1),
        voter: account(voter),
    }
}

/// Two voters of 100 and 200 of 1,000, and a proposal that can be voted on.
fn voting() -> World {
    let mut world = World::new();
    world.circulating(1_000).enrol(1, 100).enrol(2, 200);
    world.propose(9, 1).unwrap();
    world.at(5);
    world
}

fn passed(world: &mut World, proposal: u8) {
    let start = world.now;
    world.at(start + 5).vote(2, proposal, For).unwrap();
    world.at(start + 21).queue(proposal).unwrap();
}

#[test]
fn five_thousand_tokens_are_never_twenty_five_thousand_votes() {
    let mut world = voting();
    for choice in [For, Against, Abstain, For, Against] {
        world.vote(2, 1, choice).unwrap();
        assert!(world.vote(2, 1, choice).is_err());
    }
    assert_eq!(world.power(1), tally(0, 200, 0));
    world.check();
}

#[test]
fn a_flash_loan_neither_votes_nor_proposes() {
    let mut world = World::new();
    world.circulating(10_000).enrol(MALLORY, 0);
    world.rules.proposal_threshold = Amount(1_000);
    // Within one millisecond, even that of the snapshot.
    world.at(4).tokens(MALLORY, 5_000);
    assert!(matches!(
        world.propose(MALLORY, 1),
        Err(DaoError::ThresholdNotMet { .. })
    ));
    world.tokens(MALLORY, 0);
    world.rules.proposal_threshold = Amount::ZERO;
    world.at(5).propose(9, 1).unwrap();
    world.at(9).tokens(MALLORY, 5_000).tokens(MALLORY, 0);
    world.at(10).tokens(MALLORY, 5_000);
    assert_eq!(world.vote(MALLORY, 1, For), Err(powerless(MALLORY)));
}

#[test]
fn what_was_bought_for_a_vote_and_sold_again_votes_once() {
    let mut world = voting();
    world.enrol(3, 0).vote(1, 1, For).unwrap();
    world.tokens(1, 0).tokens(3, 100);
    assert_eq!(world.vote(3, 1, For), Err(powerless(3)));
    assert_eq!(world.power(1), tally(100, 0, 0));
}

#[test]
fn delegating_during_a_vote_changes_nothing_about_it() {
    let mut world = voting();
    world.delegate(1, &[part(3, WHOLE)]).unwrap();
    assert_eq!(world.vote(3, 1, For), Err(powerless(3)));
    world.vote(1, 1, For).unwrap();
    world.delegate(1, &[part(2, WHOLE)]).unwrap();
    world.vote(2, 1, For).unwrap();
    world.delegate(1, &[]).unwrap();
    assert_eq!(world.power(1), tally(300, 0, 0));
    world.check();
}

#[test]
fn undelegating_during_a_vote_does_not_count_twice() {
    let mut world = World::new();
    world.circulating(1_000).enrol(1, 100).enrol(2, 200);
    world.delegate(1, &[part(2, WHOLE)]).unwrap();
    world.propose(9, 1).unwrap();
    world.at(5).vote(2, 1, For).unwrap();
    world.delegate(1, &[]).unwrap();
    // It still takes its own back from where it was at the snapshot.
    world.vote(1, 1, For).unwrap();
    assert_eq!(world.power(1), tally(300, 0, 0));
}

#[test]
fn power_that_comes_by_two_paths_counts_once() {
    let mut world = World::new();
    world.circulating(1_000).enrol(1, 101);
    world
        .delegate(1, &[part(2, 500_000), part(3, 500_000)])
        .unwrap();
    world.delegate(2, &[part(4, WHOLE)]).unwrap();
    world.delegate(3, &[part(4, WHOLE)]).unwrap();
    world.propose(9, 1).unwrap();
    world.at(5).vote(4, 1, For).unwrap();
    // The odd one is lost by rounding, and stays with who gave it.
    assert_eq!(world.power(1), tally(100, 0, 0));
    world.vote(2, 1, For).unwrap();
    world.vote(1, 1, For).unwrap();
    assert_eq!(world.power(1), tally(101, 0, 0));
    assert_eq!(world.vote(3, 1, For), Err(powerless(3)));
    world.check();
}

#[test]
fn a_circle_of_a_thousand_is_not_closed() {
    let mut world = World::new();
    world.rules.delegation_depth_max = 1_024;
    let (rules, host) = (&world.rules, &world.host);
    let delegate = |voter, to| Operation::Delegate {
        voter: account(voter),
        topics: vec![KIND],
        to: vec![part(to, WHOLE)],
    };
    let mut dao = Dao::default();
    let closed = dao.update(UnixMillis(1), |draft| {
        for voter in 0..999 {
            let _ = draft.execute(rules, &delegate(voter, voter + 1), host)?;
        }
        Ok::<_, DaoError>(())
    });
    assert_eq!(closed, Ok(()));
    let closed = dao.update(UnixMillis(2), |draft| {
        draft.execute(rules, &delegate(999, 0), host)
    });
    let circle = DaoError::CircularDelegation {
        voter: account(999),
        topic: KIND,
        closes: account(998),
    };
    assert_eq!(closed, Err(circle));
    // All of it carries what its beginning gets, and gives it back when it breaks.
    let mut run = |operation, time| {
        dao.update(UnixMillis(time), |draft| {
            let done = draft.execute(rules, operation, host)?;
            draft.set_tokens(account(0), Amount(7))?;
            Ok::<_, DaoError>(done)
        })
    };
    let enrol = Operation::Enrol {
        account: account(999),
    };
    let _ = run(&enrol, 3).unwrap();
    let end = |dao: &Dao| dao.standing(account(999), KIND).received;
    assert_eq!(end(&dao), Weight(7));
    let revoke = Operation::Delegate {
        voter: account(500),
        topics: vec![KIND],
        to: vec![],
    };
    let _ = dao
        .update(UnixMillis(4), |draft| draft.execute(rules, &revoke, host))
        .unwrap();
    assert_eq!(end(&dao), Weight(0));
    assert_eq!(dao.standing(account(500), KIND).kept(), Weight(7));
    assert_eq!(dao.check(), Ok(()));
}

#[test]
fn a_circle_of_two_names_who_closes_it() {
    let mut world = World::new();
    world.delegate(1, &[part(2, WHOLE)]).unwrap();
    world
        .delegate(2, &[part(3, 500_000), part(4, 500_000)])
        .unwrap();
    let circle = DaoError::CircularDelegation {
        voter: account(4),
        topic: ProposalKind::ParameterChange,
        closes: account(2),
    };
    assert_eq!(world.delegate(4, &[part(5, 1), part(1, 2)]), Err(circle));
    // Who replaces its own delegation is not in its own way.
    world.delegate(2, &[part(4, WHOLE)]).map(drop).unwrap();
}

#[test]
fn rules_changed_during_a_vote_bind_the_next_one() {
    let mut world = World::new();
    world.circulating(1_000).enrol(1, 100).enrol(2, 200);
    world.rules.timelock_ms = 50;
    world.propose(9, 1).unwrap();
    world.rules = Rules {
        quorum: Ppm::percent(1),
        approval: Ppm::percent(1),
        timelock_ms: 0,
        voter_share_max: Ppm::percent(1),
        ..world.rules
    };
    world.at(5).vote(1, 1, For).unwrap();
    assert_eq!(world.power(1), tally(100, 0, 0));
    world.rules.quorum = Ppm::percent(75);
    world.at(21).queue(1).unwrap();
    // The timelock that was shortened meanwhile is that of the time it was submitted.
    let running = DaoError::TimelockRunning {
        proposal: id(1),
        eta: UnixMillis(71),
    };
    assert_eq!(world.at(70).execute(1), Err(running));
    world.at(71).execute(1).map(drop).unwrap();
}

#[test]
fn a_last_minute_whale_can_be_answered() {
    let mut world = World::new();
    world.rules.late_quorum_ms = 10;
    world.circulating(1_000).enrol(1, 90).enrol(2, 200);
    world.propose(9, 1).unwrap();
    world.at(5).vote(1, 1, For).unwrap();
    assert_eq!(world.dao.proposal(id(1)).unwrap().deadline, UnixMillis(20));
    world.enrol(3, 0);
    world.at(20).vote(2, 1, Abstain).unwrap();
    assert_eq!(world.dao.proposal(id(1)).unwrap().deadline, UnixMillis(30));
    world.at(30).vote(1, 1, Against).unwrap();
    // The quorum stood all the time: no more time is given.
    assert_eq!(world.dao.proposal(id(1)).unwrap().deadline, UnixMillis(30));
    assert_eq!(world.at(31).state(1), ProposalState::Defeated);
}

#[test]
fn reaching_the_quorum_early_and_leaving_buys_no_last_minute() {
    let mut world = World::new();
    world.rules.late_quorum_ms = 10;
    world.circulating(1_000).enrol(1, 50).enrol(2, 200);
    world.propose(9, 1).unwrap();
    world.at(5).vote(2, 1, For).unwrap();
    world.at(6).vote(2, 1, Against).unwrap();
    assert_eq!(world.dao.proposal(id(1)).unwrap().deadline, UnixMillis(20));
    world.at(20).vote(2, 1, For).unwrap();
    assert_eq!(world.dao.proposal(id(1)).unwrap().deadline, UnixMillis(30));
    // It cannot go on for ever either.
    world.rules.vote_changes_max = 0;
    let mut changes = 2;
    let refused = loop {
        let next = if changes % 2 == 0 { Against } else { For };
        match world.vote(2, 1, next) {
            Ok(_) => changes += 1,
            Err(error) => break error,
        }
    };
    let too_many = DaoError::TooManyChanges {
        proposal: id(1),
        voter: account(2),
        limit: 8,
    };
    assert_eq!((refused, changes), (too_many, 8));
}

#[test]
fn nobody_fills_the_list_alone_and_all_together_do_not_overfill_it() {
    let mut world = World::new();
    world.rules.live_per_author_max = 2;
    world.rules.live_max = 3;
    world.propose(1, 1).unwrap();
    world.propose(1, 2).unwrap();
    let of_author = DaoError::TooManyProposalsOfAuthor {
        author: account(1),
        limit: 2,
    };
    assert_eq!(world.propose(1, 3), Err(of_author));
    world.propose(2, 3).unwrap();
    let all = DaoError::TooManyProposals { limit: 3 };
    assert_eq!(world.propose(3, 4), Err(all.clone()));
    // What is over by its time makes room, without anybody closing it.
    assert_eq!(world.at(20).propose(3, 4), Err(all));
    world.at(21).propose(3, 4).map(drop).unwrap();
    world.cancel(3, 4).unwrap();
    world.check();
}

#[test]
fn weight_that_was_delegated_away_does_not_propose_again() {
    let mut world = World::new();
    world.rules.proposal_threshold = Amount(100);
    world.enrol(1, 100);
    for voter in 1..5 {
        world.delegate(voter, &[part(voter + 1, WHOLE)]).unwrap();
    }
    world.at(1);
    for author in 1..5 {
        assert!(matches!(
            world.propose(author, 1),
            Err(DaoError::ThresholdNotMet {
                weight: Weight(0),
                ..
            })
        ));
    }
    world.propose(5, 1).map(drop).unwrap();
}

#[test]
fn what_is_cancelled_in_the_queue_stays_undone() {
    let mut world = voting();
    world.establish(&[(3, Role::Guardian)]).unwrap();
    world.rules.timelock_ms = 10;
    world.propose(9, 2).unwrap();
    passed(&mut world, 2);
    world.at(30).cancel(3, 2).unwrap();
    let cancelled = DaoError::NotQueued {
        proposal: id(2),
        state: ProposalState::Cancelled,
    };
    assert_eq!(world.at(40).execute(2), Err(cancelled));
    let over = DaoError::CancelRefused {
        proposal: id(2),
        by: account(3),
        state: ProposalState::Cancelled,
    };
    assert_eq!(world.cancel(3, 2), Err(over));
    world.check();
}

fn grant(to: u16, role: Role) -> Content {
    let action = Action::GrantRole {
        account: account(to),
        role,
    };
    content(KIND, vec![action])
}

#[test]
fn a_role_granted_is_not_used_in_the_same_millisecond() {
    let mut world = World::new();
    world.circulating(1_000).enrol(2, 200).enrol(MALLORY, 20);
    world
        .propose_that(9, 1, grant(MALLORY, Role::King))
        .unwrap();
    world.propose(9, 2).unwrap();
    passed(&mut world, 1);
    world.propose(9, 3).unwrap();
    world.execute(1).unwrap();
    assert_eq!(world.dao.role(account(MALLORY)), Role::King);
    let refused = DaoError::CancelRefused {
        proposal: id(3),
        by: account(MALLORY),
        state: ProposalState::Pending,
    };
    assert_eq!(world.cancel(MALLORY, 3), Err(refused));
    // Nor does it weigh at a snapshot that was before it.
    world.at(22).propose(9, 4).unwrap();
    world.at(27).vote(MALLORY, 4, For).unwrap();
    assert_eq!(world.power(4), tally(200, 0, 0));
    world.cancel(MALLORY, 4).unwrap();
    world.check();
}

#[test]
fn a_role_revoked_no_longer_cancels() {
    let mut world = World::new();
    world.circulating(1_000).enrol(2, 200);
    world.establish(&[(3, Role::Guardian)]).unwrap();
    let revoke = Action::RevokeRole {
        account: account(3),
    };
    world
        .propose_that(9, 1, content(KIND, vec![revoke]))
        .unwrap();
    passed(&mut world, 1);
    world.execute(1).unwrap();
    world.propose(9, 2).unwrap();
    assert!(matches!(
        world.cancel(3, 2),
        Err(DaoError::CancelRefused { .. })
    ));
}

#[test]
fn nobody_makes_himself_king() {
    let mut world = World::new();
    world.establish(&[(1, Role::Guardian)]).unwrap();
    let again = world.establish(&[(MALLORY, Role::King)]);
    assert_eq!(again, Err(DaoError::AlreadyEstablished));
    assert_eq!(world.dao.role(account(MALLORY)), Role::Citizen);
    // A network that was founded without roles has none to found later either, once one was voted.
    let mut world = World::new();
    world.circulating(1_000).enrol(2, 200);
    world.propose_that(9, 1, grant(3, Role::Delegate)).unwrap();
    passed(&mut world, 1);
    world.execute(1).unwrap();
    let again = world.establish(&[(MALLORY, Role::King)]);
    assert_eq!(again, Err(DaoError::AlreadyEstablished));
}

#[test]
fn a_king_with_one_per_cent_is_no_quorum() {
    let mut world = World::new();
    world.circulating(1_000).enrol(1, 10);
    world.establish(&[(1, Role::King)]).unwrap();
    world.propose(9, 1).unwrap();
    world.at(5).vote(1, 1, For).unwrap();
    // 100 of 1,090, and would be 10 % of 1,000.
    assert_eq!(world.power(1), tally(100, 0, 0));
    assert_eq!(world.at(21).state(1), ProposalState::Defeated);
}

#[test]
fn a_quorum_survives_a_restart() {
    let mut world = voting();
    world.vote(1, 1, For).unwrap();
    let restored = Dao::restore(&world.dao.snapshot()).unwrap();
    let end = UnixMillis(21);
    assert_eq!(restored.state(id(1), end), Ok(ProposalState::Succeeded));
    let mut world = World::new();
    world.circulating(1_001).enrol(1, 100);
    world.propose(9, 1).unwrap();
    world.at(5).vote(1, 1, For).unwrap();
    let restored = Dao::restore(&world.dao.snapshot()).unwrap();
    assert_eq!(restored.state(id(1), end), Ok(ProposalState::Defeated));
}

#[test]
fn an_emergency_does_not_reach_the_treasury() {
    let mut world = World::new();
    let pay = Action::Pay {
        to: account(MALLORY),
        amount: Amount(1),
        code: 0,
    };
    let agent = Action::DeployAgent {
        agent: Digest::of(b"agent"),
        operator: account(MALLORY),
        budget: Amount(1),
    };
    let king = grant(MALLORY, Role::King).actions.remove(0);
    let set = Action::SetParameter {
        name: "earning.fees.treasury".to_owned(),
        value: 0,
    };
    let pause = Action::Pause { scope: Scope::Fees };
    for action in [pay, agent, king, set] {
        let name = action.name();
        let actions = vec![pause.clone(), action];
        let kind = ProposalKind::EmergencyAction;
        let refused = DaoError::ActionNotAllowed {
            index: 1,
            action: name,
            kind,
        };
        assert_eq!(
            world.propose_that(9, 1, content(kind, actions)),
            Err(refused)
        );
    }
}

#[test]
fn an_emergency_needs_more_weight_and_less_time() {
    let mut world = World::new();
    world.rules = Rules::default();
    let credits = Amount::from_credits;
    world.circulating(credits(60_000).0);
    for (n, has) in [(1, 9_999), (2, 10_000), (3, 10_000)] {
        world.enrol(n, credits(has).0);
    }
    let pause = |scope| content(ProposalKind::EmergencyAction, vec![Action::Pause { scope }]);
    world.at(1);
    assert!(matches!(
        world.propose_that(1, 1, pause(Scope::Earning)),
        Err(DaoError::ThresholdNotMet { .. })
    ));
    world.propose_that(2, 1, pause(Scope::Earning)).unwrap();
    let hour = 3_600_000;
    world.at(hour + 2).vote(2, 1, For).unwrap();
    world.at(25 * hour + 1).vote(3, 1, For).unwrap();
    // A late quorum: a day more to answer it.
    assert_eq!(world.at(49 * hour + 1).state(1), ProposalState::Active);
    world.at(49 * hour + 2).queue(1).unwrap();
    world.at(50 * hour + 2).execute(1).unwrap();
    assert!(world.dao.is_paused(Scope::Earning));
    assert!(!world.dao.is_paused(Scope::Staking));
    let again = world.propose_that(2, 2, pause(Scope::Earning));
    let paused = DaoError::ActionInvalid {
        index: 0,
        reason: Box::new(ActionError::Paused {
            scope: Scope::Earning,
        }),
    };
    assert_eq!(again, Err(paused));
    world.check();
}

#[test]
fn what_nobody_queues_or_executes_in_time_expires() {
    let mut world = voting();
    world.vote(2, 1, For).unwrap();
    assert_eq!(world.at(1_020).state(1), ProposalState::Succeeded);
    let expired = DaoError::NotSucceeded {
        proposal: id(1),
        state: ProposalState::Expired,
    };
    assert_eq!(world.at(1_021).queue(1), Err(expired));
    world.propose(9, 2).unwrap();
    passed(&mut world, 2);
    assert_eq!(world.at(2_042).state(2), ProposalState::Queued);
    let expired = DaoError::NotQueued {
        proposal: id(2),
        state: ProposalState::Expired,
    };
    assert_eq!(world.at(2_043).execute(2), Err(expired));
    // Their ballots are forgotten with the next event.
    assert!(world.ballot(2, 2).is_some());
    world.propose(9, 3).unwrap();
    assert_eq!(world.ballot(2, 2), None);
    world.check();
}

#[test]
fn all_actions_are_done_or_none() {
    let mut world = World::new();
    world.circulating(1_000).enrol(2, 200);
    let both = |first, second| {
        let action = |(to, role): (u16, _)| Action::GrantRole {
            account: account(to),
            role,
        };
        content(KIND, vec![action(first), resolve(), action(second)])
    };
    let (guardian, king) = ((3, Role::Guardian), (4, Role::King));
    world.propose_that(9, 1, both(guardian, king)).unwrap();
    world.propose_that(9, 2, grant(4, Role::King)).unwrap();
    world.at(5).vote(2, 1, For).unwrap();
    world.vote(2, 2, For).unwrap();
    world.at(21).queue(1).unwrap();
    world.queue(2).unwrap();
    world.execute(2).unwrap();
    let failed = DaoError::ActionFailed {
        proposal: id(1),
        index: 2,
        reason: Box::new(ActionError::RoleUnchanged {
            account: account(4),
            role: Role::King,
        }),
    };
    assert_eq!(world.execute(1), Err(failed));
    assert_eq!(world.state(1), ProposalState::Queued);
    assert_eq!(world.dao.role(account(3)), Role::Citizen);
    assert_eq!(world.dao.resolutions(), []);
}

#[test]
fn a_paused_treasury_pays_nothing() {
    let mut world = World::new();
    world.rules.emergency.threshold = Amount::ZERO;
    world.rules.emergency.voting_delay_ms = 4;
    world.rules.emergency.voting_ms = 16;
    world.rules.emergency.timelock_ms = 0;
    world.circulating(1_000).enrol(2, 300);
    let pay = Action::Pay {
        to: account(1),
        amount: Amount(7),
        code: 1,
    };
    let treasury = ProposalKind::TreasuryAllocation;
    let scope = Scope::Treasury;
    world
        .propose_that(9, 1, content(treasury, vec![pay.clone()]))
        .unwrap();
    let pause = content(ProposalKind::EmergencyAction, vec![Action::Pause { scope }]);
    world.propose_that(9, 2, pause).unwrap();
    world.at(5).vote(2, 1, For).unwrap();
    world.vote(2, 2, For).unwrap();
    world.at(21).queue(1).unwrap();
    world.queue(2).unwrap();
    world.execute(2).unwrap();
    let paused = DaoError::ActionFailed {
        proposal: id(1),
        index: 0,
        reason: Box::new(ActionError::TreasuryPaused),
    };
    assert_eq!(world.execute(1), Err(paused));
    world
        .propose_that(9, 3, content(KIND, vec![Action::Unpause { scope }]))
        .unwrap();
    passed(&mut world, 3);
    world.execute(3).unwrap();
    assert_eq!(world.execute(1).unwrap().len(), 1);
    world.check();
}

#[test]
fn actions_that_cannot_be_done_are_refused_when_they_are_proposed() {
    use ProposalKind::{AgentDeployment, General, ProtocolUpgrade, TreasuryAllocation};
    let mut world = World::new();
    world.host.strangers.insert(account(99));
    world.rules.role_holders_max = 1;
    world.rules.emergency.threshold = Amount::ZERO;
    world.rules.timelock_ms = 10;
    let pay = |to, amount| Action::Pay {
        to,
        amount: Amount(amount),
        code: 0,
    };
    let grant = |to, role| Action::GrantRole {
        account: account(to),
        role,
    };
    let set = |name: &str, value| Action::SetParameter {
        name: name.to_owned(),
        value,
    };
    let upgrade = |version: &str, activates| Action::ScheduleUpgrade {
        version: version.to_owned(),
        digest: Digest::of(b"new"),
        activates: UnixMillis(activates),
    };
    let agent = Action::DeployAgent {
        agent: Digest::of(b"agent"),
        operator: account(1),
        budget: Amount::ZERO,
    };
    let purse = Purse::Treasury.account();
    let cases = [
        (
            TreasuryAllocation,
            // The first could be paid: it is the second that is too much.
            vec![
                pay(account(1), 600),
                pay(account(1), 401),
                pay(account(1), 9),
            ],
            1,
            ActionError::Unpayable {
                asked: Amount(1_001),
                available: Amount(1_000),
            },
        ),
        (
            TreasuryAllocation,
            vec![pay(account(1), 0)],
            0,
            ActionError::PaysNothing,
        ),
        (
            TreasuryAllocation,
            vec![pay(account(1), u128::MAX), pay(account(1), 1)],
            1,
            ActionError::SumOverflow,
        ),
        (
            General,
            vec![
                grant(1, Role::King),
                Action::RevokeRole {
                    account: account(1),
                },
            ],
            1,
            ActionError::Overrules { earlier: 0 },
        ),
        (
            ProposalKind::EmergencyAction,
            vec![
                Action::Pause {
                    scope: Scope::Staking,
                },
                Action::Pause { scope: Scope::Fees },
                Action::Unpause { scope: Scope::Fees },
            ],
            2,
            ActionError::Overrules { earlier: 1 },
        ),
        (
            ProposalKind::ParameterChange,
            vec![set("dao.live_max", 50), set("dao.live_max", 60)],
            1,
            ActionError::Overrules { earlier: 0 },
        ),
        (
            ProposalKind::ParameterChange,
            vec![set("dao.live_max", 50), set("dao.quorum", 100_000)],
            1,
            ActionError::ParameterUnchanged {
                name: "dao.quorum".to_owned(),
                value: 100_000,
            },
        ),
        (
            TreasuryAllocation,
            vec![pay(purse, 1)],
            0,
            ActionError::UnknownAccount { account: purse },
        ),
        (
            TreasuryAllocation,
            vec![pay(account(1), 1), pay(account(99), 1)],
            1,
            ActionError::UnknownAccount {
                account: account(99),
            },
        ),
        (
            General,
            vec![grant(1, Role::Citizen)],
            0,
            ActionError::RoleIsCitizen {
                account: account(1),
            },
        ),
        (
            General,
            vec![grant(1, Role::King), grant(1, Role::King)],
            1,
            ActionError::RoleUnchanged {
                account: account(1),
                role: Role::King,
            },
        ),
        (
            General,
            vec![grant(1, Role::King), grant(2, Role::King)],
            1,
            ActionError::TooManyRoleHolders { limit: 1 },
        ),
        (
            General,
            vec![Action::RevokeRole {
                account: account(1),
            }],
            0,
            ActionError::NoRole {
                account: account(1),
            },
        ),
        (
            General,
            vec![Action::Unpause { scope: Scope::Fees }],
            0,
            ActionError::NotPaused { scope: Scope::Fees },
        ),
        (
            ProtocolUpgrade,
            vec![upgrade("2.0", 30)],
            0,
            ActionError::UpgradeTooSoon {
                activates: UnixMillis(30),
                earliest: UnixMillis(30),
            },
        ),
        (
            ProtocolUpgrade,
            vec![upgrade("2.0", 31), upgrade("2.0", 32)],
            1,
            ActionError::UpgradeExists {
                version: "2.0".to_owned(),
            },
        ),
        (
            ProtocolUpgrade,
            vec![upgrade("", 31)],
            0,
            ActionError::NameLength {
                actual: 0,
                limit: 64,
            },
        ),
        (
            ProtocolUpgrade,
            vec![upgrade("2\u{7f}", 31)],
            0,
            ActionError::NameCharacter {
                position: 1,
                code: 0x7f,
            },
        ),
        (
            AgentDeployment,
            vec![agent.clone(), agent],
            1,
            ActionError::AgentExists {
                agent: Digest::of(b"agent"),
            },
        ),
        (
            ProposalKind::ParameterChange,
            vec![set("earning.fees.nobody", 1)],
            0,
            ActionError::Parameter {
                reason: EconomyError::UnknownParameter {
                    name: "earning.fees.nobody".to_owned(),
                },
            },
        ),
    ];
    for (kind, actions, index, reason) in cases {
        let refused = DaoError::ActionInvalid {
            index,
            reason: Box::new(reason),
        };
        assert_eq!(
            world.propose_that(9, 1, content(kind, actions)),
            Err(refused)
        );
    }
}

#[test]
fn texts_that_hide_something_or_too_much_are_refused() {
    let mut world = World::new();
    let mut with = |title: &str, description: &str| {
        let content = Content {
            title: title.to_owned(),
            description: description.to_owned(),
            ..content(KIND, vec![resolve()])
        };
        world.propose_that(9, 1, content).map(drop)
    };
    let control = |position, code| Err(DaoError::ControlCharacter { position, code });
    assert_eq!(with("", ""), Err(DaoError::TitleEmpty));
    let long = DaoError::TitleTooLong {
        actual: 201,
        limit: 200,
    };
    assert_eq!(with(&"ä".repeat(201), ""), Err(long));
    let long = DaoError::DescriptionTooLong {
        actual: 16_385,
        limit: 16_384,
    };
    assert_eq!(with("a", &"x".repeat(16_385)), Err(long));
    assert_eq!(with("a\n", ""), control(1, 10));
    assert_eq!(with("a", "ä\u{1b}[2J"), control(2, 0x1b));
    assert_eq!(with("a", "one\r\n"), control(3, 13));
    // Text that is read in another order than it is written, or not seen at all.
    for unseen in [
        '\u{ad}',
        '\u{34f}',
        '\u{61c}',
        '\u{115f}',
        '\u{180e}',
        '\u{200b}',
        '\u{200d}',
        '\u{200e}',
        '\u{2028}',
        '\u{202e}',
        '\u{2060}',
        '\u{2066}',
        '\u{2069}',
        '\u{2800}',
        '\u{3164}',
        '\u{feff}',
        '\u{ffa0}',
        '\u{e0041}',
    ] {
        let text = format!("ä{unseen}b");
        let refused = control(2, u32::from(unseen));
        assert_eq!(with(&text, ""), refused, "U+{:04X}", u32::from(unseen));
        assert_eq!(with("a", &text), refused, "U+{:04X}", u32::from(unseen));
    }
    for blank in [" ", "\u{a0}\u{3000} "] {
        assert_eq!(with(blank, ""), Err(DaoError::TitleEmpty));
    }
    let told = DaoError::ControlCharacter {
        position: 2,
        code: 0x202e,
    };
    assert_eq!(
        told.to_string(),
        "character U+202E at byte 2 is not printed"
    );
    // Every script is written as it is, and with signs of more than one character.
    for title in ["שלום", "مرحبا", "नमस्ते", "투표", "é e\u{301} ❤\u{fe0f}"]
    {
        let content = Content {
            title: title.to_owned(),
            description: title.to_owned(),
            ..content(KIND, vec![resolve()])
        };
        assert_eq!(content.validate(), Ok(()), "{title}");
    }
    assert_eq!(with(&"ä".repeat(200), &"x\n\t".repeat(5_000)), Ok(()));
}

#[test]
fn drafts_wait_for_their_author_and_are_limited() {
    let mut world = World::new();
    world.rules.drafts_per_author_max = 2;
    world.rules.drafts_max = 3;
    let draft = |author, proposal| Operation::Draft {
        author: account(author),
        proposal: id(proposal),
        content: content(KIND, vec![resolve()]),
    };
    let submit = |author, proposal| Operation::Submit {
        author: account(author),
        proposal: id(proposal),
    };
    world.run(&draft(1, 1)).unwrap();
    world.run(&draft(1, 2)).unwrap();
    let of_author = DaoError::TooManyDraftsOfAuthor {
        author: account(1),
        limit: 2,
    };
    assert_eq!(world.run(&draft(1, 3)), Err(of_author));
    world.run(&draft(2, 3)).unwrap();
    let all = DaoError::TooManyDrafts { limit: 3 };
    assert_eq!(world.run(&draft(3, 4)), Err(all));
    assert_eq!(world.at(1_000_000).state(1), ProposalState::Draft);
    let not_mine = DaoError::NotTheAuthor {
        proposal: id(1),
        author: account(1),
        by: account(2),
    };
    assert_eq!(world.run(&submit(2, 1)), Err(not_mine));
    let over = DaoError::VotingOver {
        proposal: id(1),
        state: ProposalState::Draft,
    };
    assert_eq!(world.vote(1, 1, For), Err(over));
    world.check();
    world.run(&submit(1, 1)).unwrap();
    assert_eq!(world.state(1), ProposalState::Pending);
    let submitted = DaoError::NotADraft {
        proposal: id(1),
        state: ProposalState::Pending,
    };
    assert_eq!(world.run(&submit(1, 1)), Err(submitted));
    world.cancel(1, 2).unwrap();
    assert_eq!(world.state(2), ProposalState::Cancelled);
    world.run(&draft(1, 4)).unwrap();
    world.check();
    // Who may not propose may not draft either.
    world.rules.proposal_threshold = Amount(1);
    assert!(matches!(
        world.run(&draft(1, 5)),
        Err(DaoError::ThresholdNotMet { .. })
    ));
}

#[test]
fn founding_roles_are_refused_by_name() {
    let mut world = World::new();
    world.rules.role_holders_max = 2;
    world.host.strangers.insert(account(99));
    let king = Role::King;
    let account = account(1);
    for (roles, refusal) in [
        (vec![], DaoError::NoRoles),
        (
            vec![(1, king), (1, king)],
            DaoError::RoleRepeated { account },
        ),
        (
            vec![(1, Role::Citizen)],
            DaoError::RoleIsCitizen { account },
        ),
        (
            vec![(1, king), (2, king), (3, king)],
            DaoError::TooManyRoleHolders { limit: 2 },
        ),
        (
            vec![(99, king)],
            DaoError::UnknownAccount {
                account: crate::world::account(99),
            },
        ),
    ] {
        assert_eq!(world.establish(&roles), Err(refusal));
    }
}

#[test]
fn a_clock_that_was_set_back_is_found_and_does_not_rewrite_the_past() {
    let mut world = World::new();
    world.at(10).enrol(1, 5);
    let behind = DaoError::ClockBehind {
        now: UnixMillis(9),
        last: UnixMillis(10),
    };
    assert_eq!(world.at(9).propose(1, 1), Err(behind));
    // What the host says counts from the last change on.
    world.tokens(1, 7);
    let past = |time| {
        let standing =
            (world.dao).past_standing(account(1), KIND, UnixMillis(time), UnixMillis(20));
        standing.unwrap().own
    };
    assert_eq!((past(9), past(10)), (Weight(0), Weight(7)));
}

#[test]
fn what_cannot_be_counted_is_refused() {
    let mut world = World::new();
    world.enrol(1, 1).establish(&[(1, Role::King)]).unwrap();
    let now = UnixMillis(1);
    let much = world
        .dao
        .update(now, |draft| draft.set_tokens(account(1), Amount::MAX));
    assert_eq!(much, Err(DaoError::WeightOverflow));
    let all = world
        .dao
        .update(now, |draft| draft.set_circulating(Amount::MAX));
    assert_eq!(all, Err(DaoError::WeightOverflow));
    world.check();
}

fn weighed(weighing: Weighing) -> World {
    let mut world = World::new();
    world.rules.weighing = weighing;
    world.rules.conviction = Conviction {
        period_ms: 1,
        half_life_periods: 4,
    };
    world.circulating(20_000).enrol(1, 10_000);
    for n in 2..=5 {
        world.enrol(n, 900);
    }
    let reputation = Operation::SetReputation {
        account: account(2),
        reputation: Ppm::WHOLE,
    };
    world.run(&reputation).unwrap();
    assert!(matches!(
        world.run(&reputation),
        Err(DaoError::ReputationUnchanged { .. })
    ));
    world.propose(9, 1).unwrap();
    world.at(5).vote(1, 1, Against).unwrap();
    for n in 2..=5 {
        world.vote(n, 1, For).unwrap();
    }
    world
}

#[test]
fn strategies_weigh_votes_and_never_the_quorum() {
    for (weighing, votes, passes) in [
        (Weighing::Linear, tally(3_600, 10_000, 0), false),
        // Only one of them has a reputation.
        (Weighing::Reputation, tally(900, 0, 0), true),
        (Weighing::Quadratic, tally(120, 100, 0), true),
    ] {
        let mut world = weighed(weighing);
        // Changed while it runs, it stays what it was.
        world.rules.weighing = Weighing::Linear;
        assert_eq!(world.power(1), tally(3_600, 10_000, 0));
        let record = world.dao.proposal(id(1)).unwrap();
        assert_eq!(record.votes(UnixMillis(20)), votes, "{weighing:?}");
        world.check();
        let state = if passes {
            ProposalState::Succeeded
        } else {
            ProposalState::Defeated
        };
        assert_eq!(world.at(21).state(1), state, "{weighing:?}");
    }
}

#[test]
fn conviction_counts_how_long_a_vote_stood() {
    let mut world = weighed(Weighing::Conviction);
    // The whale changes sides four milliseconds before the end: half of what it had built up is
    // left against, half of what it has is gained for.
    world.at(16).vote(1, 1, For).unwrap();
    world.check();
    let record = world.dao.proposal(id(1)).unwrap();
    let votes = record.votes(UnixMillis(20));
    assert!(votes.in_favor.0 > 5_000 && votes.in_favor.0 < 5_000 + 3_600);
    assert!(votes.against.0 > 3_000 && votes.against.0 < 5_000);
    // Asked later, it is what it was at the deadline.
    assert_eq!(record.votes(UnixMillis(99)), votes);
}
