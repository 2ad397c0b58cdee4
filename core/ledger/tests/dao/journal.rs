//! Events and snapshots that were tampered with.

use fogcompute_base::UnixMillis;
use fogcompute_ledger::dao::{
    Choice, Corruption, Dao, DaoError, EventKind, ProposalState, Role, Snapshot, Stage, Terms,
    Weight,
};
use fogcompute_ledger::{Amount, Ppm};

use crate::world::{World, account, content, id, operator, part, resolve};

/// Something of everything: roles, stakes, delegations, a vote with an override, a draft.
fn busy() -> World {
    let mut world = World::new();
    world
        .circulating(1_000)
        .enrol(1, 100)
        .enrol(2, 50)
        .enrol(3, 5);
    world.stake(1, 2, 70).stake(2, 2, 30);
    world.establish(&[(2, Role::Guardian)]).unwrap();
    world
        .delegate(1, &[part(2, 500_000), part(3, 250_000)])
        .unwrap();
    world.delegate(3, &[part(4, 1_000_000)]).unwrap();
    world
        .run(&fogcompute_ledger::dao::Operation::Draft {
            author: account(1),
            proposal: id(9),
            content: content(crate::world::KIND, vec![resolve()]),
        })
        .unwrap();
    world.propose(1, 1).unwrap();
    world.at(5).vote(2, 1, Choice::For).unwrap();
    world.vote(1, 1, Choice::Against).unwrap();
    world.check();
    world
}

fn repeat(world: &World, event: &EventKind) -> Result<(), Corruption> {
    let mut dao = world.dao.clone();
    dao.update(UnixMillis(world.now), |draft| draft.repeat(event).map(drop))
}

#[test]
fn an_event_with_another_effect_than_it_has_is_found() {
    let mut world = busy();
    let voted = |power, deadline| EventKind::Voted {
        voter: account(4),
        proposal: id(1),
        choice: Choice::For,
        power: Weight(power),
        deadline: UnixMillis(deadline),
    };
    // All of the third's, and none of what the first took back.
    assert_eq!(repeat(&world, &voted(5, 20)), Ok(()));
    assert_eq!(repeat(&world, &voted(6, 20)), Err(Corruption::Inconsistent));
    assert_eq!(repeat(&world, &voted(5, 21)), Err(Corruption::Inconsistent));
    world.at(21);
    let queued = |eta| EventKind::Queued {
        proposal: id(1),
        eta: UnixMillis(eta),
    };
    assert_eq!(world.state(1), ProposalState::Succeeded);
    assert_eq!(repeat(&world, &queued(21)), Ok(()));
    assert_eq!(repeat(&world, &queued(20)), Err(Corruption::Inconsistent));
    let terms = world.dao.proposal(id(1)).unwrap().terms.unwrap();
    let submitted = |terms| EventKind::Submitted {
        author: account(1),
        proposal: id(9),
        terms,
    };
    // A snapshot in the past could be chosen to one's liking.
    let past = Terms {
        snapshot: UnixMillis(20),
        deadline: UnixMillis(90),
        ..terms
    };
    assert_eq!(
        repeat(&world, &submitted(past)),
        Err(Corruption::Inconsistent)
    );
    let future = Terms {
        snapshot: UnixMillis(21),
        deadline: UnixMillis(90),
        ..terms
    };
    assert_eq!(repeat(&world, &submitted(future)), Ok(()));
}

#[test]
fn an_event_that_the_state_does_not_allow_is_found() {
    let world = busy();
    let executed = EventKind::Executed { proposal: id(1) };
    let reason = Box::new(DaoError::NotQueued {
        proposal: id(1),
        state: ProposalState::Active,
    });
    assert_eq!(
        repeat(&world, &executed),
        Err(Corruption::Impossible { reason })
    );
    let circular = EventKind::Delegated {
        voter: account(4),
        topics: vec![crate::world::KIND],
        to: vec![part(1, 1)],
    };
    assert!(matches!(
        repeat(&world, &circular),
        Err(Corruption::Impossible { .. })
    ));
}

#[test]
fn a_tampered_snapshot_is_found() {
    type Tamper = fn(&mut Snapshot);
    let row = |table, row| Corruption::RowMisplaced { table, row };
    let differs = |n| Corruption::WeightsDiffer {
        account: account(n),
    };
    let cases: Vec<(Tamper, Corruption)> = vec![
        (|s| s.members.swap(0, 1), row("members", 1)),
        (|s| s.members.truncate(2), row("delegations", 6)),
        (|s| s.members[0].tokens = Amount(101), differs(1)),
        (|s| s.stakes[1].worth = Amount(31), differs(2)),
        (|s| s.stakes[1].worth = Amount::ZERO, row("stakes", 1)),
        (|s| s.stakes[0].operator = operator(3), row("stakes", 1)),
        (|s| s.weights.guardian = 6_000, differs(2)),
        (|s| s.roles[0].trace[0].1 = Role::King, differs(2)),
        (|s| s.roles.clear(), differs(2)),
        (|s| s.own[0].trace[0].1 = Weight(99), differs(1)),
        (|s| s.own[0].trace[0].0 = UnixMillis(6), row("own", 0)),
        (|s| s.circulating = Weight(999), Corruption::TotalDiffers),
        (|s| s.total.clear(), Corruption::TotalDiffers),
        (
            |s| s.received[0].trace[0].1 = Weight(49),
            Corruption::FlowsDiffer {
                account: account(2),
                topic: fogcompute_ledger::dao::ProposalKind::ParameterChange,
            },
        ),
        (
            |s| s.delegations[0].trace[0].1[0].part = Ppm::WHOLE,
            row("delegations", 0),
        ),
        (
            |s| {
                let back = part(1, 1);
                s.delegations.last_mut().unwrap().trace[0].1 = vec![back];
            },
            Corruption::FlowsDiffer {
                account: account(3),
                topic: crate::world::KIND,
            },
        ),
        (|s| s.live.clear(), row("ballots", 0)),
        (
            |s| {
                s.live.clear();
                s.ballots.clear();
                s.diversions.clear();
            },
            row("proposals", 0),
        ),
        (|s| s.live[0].until = UnixMillis(19), row("live", 0)),
        (|s| s.live[0].proposal = id(9), row("ballots", 0)),
        (
            |s| s.ballots[0].record.counted = Weight(1),
            Corruption::TallyDiffers { proposal: id(1) },
        ),
        (
            |s| s.proposals[0].record.power.in_favor = Weight(1),
            Corruption::TallyDiffers { proposal: id(1) },
        ),
        (
            |s| s.diversions[0].account = account(1),
            row("diversions", 0),
        ),
        (|s| s.proposals.swap(0, 1), row("proposals", 1)),
        (|s| s.proposals[0].record.terms = None, row("proposals", 0)),
        (
            |s| s.proposals[1].record.stage = Stage::Submitted,
            row("proposals", 1),
        ),
    ];
    let snapshot = busy().dao.snapshot();
    assert!(Dao::restore(&snapshot).is_ok());
    for (place, (tamper, found)) in cases.into_iter().enumerate() {
        let mut snapshot = snapshot.clone();
        tamper(&mut snapshot);
        let restored = Dao::restore(&snapshot).map(drop);
        assert_eq!(restored, Err(found), "case {place}");
    }
}

#[test]
fn bytes_of_a_snapshot_are_read_whole_or_not_at_all() {
    let bytes = busy().dao.snapshot().encode();
    for end in 0..bytes.len() {
        assert!(Snapshot::decode(&bytes[..end]).is_err());
    }
    let mut other = bytes.clone();
    other[0] = 2;
    assert!(Snapshot::decode(&other).is_err());
    other[0] = 1;
    other.push(0);
    assert!(Snapshot::decode(&other).is_err());
}
