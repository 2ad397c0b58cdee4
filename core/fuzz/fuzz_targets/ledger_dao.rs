//! Events and snapshots of governance that somebody else wrote, sound ones with damage, and operations
//! as JSON: they are what encodes to the same bytes, or are refused, and what is taken in adds up.

#![no_main]

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use fogcompute_base::{AccountId, Digest, TransferId, UnixMillis};
use fogcompute_fuzz::{Damage, damage};
use fogcompute_ledger::dao::{
    Action, Choice, Content, Dao, DaoError, Event, Holder, NoHost, Operation, Part, ProposalKind,
    Role, Rules, Snapshot,
};
use fogcompute_ledger::{Amount, Ppm};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    Event(&'a [u8]),
    DamagedEvent(u8, Vec<Damage>),
    Snapshot(&'a [u8]),
    DamagedSnapshot(Vec<Damage>),
    Operation(u16, &'a str),
}

/// A governance in the middle of a vote, and what led there.
static SOUND: LazyLock<(Dao, Vec<Vec<u8>>)> =
    LazyLock::new(|| sound().expect("the rules allow all of it"));
static SNAPSHOT: LazyLock<Vec<u8>> = LazyLock::new(|| SOUND.0.snapshot().encode());

fn account(n: u8) -> AccountId {
    AccountId::from_bytes([n; 16])
}

fn sound() -> Result<(Dao, Vec<Vec<u8>>), DaoError> {
    let (mut dao, mut events, rules) = (Dao::default(), Vec::new(), Rules::default());
    let day = 86_400_000;
    let proposal = TransferId::from_bytes([9; 16]);
    let half = Ppm::percent(50);
    let delegate = |voter: u8, to: &[u8]| Operation::Delegate {
        voter: account(voter),
        topics: Vec::new(),
        to: (to.iter().map(|to| Part {
            to: account(*to),
            part: half,
        }))
        .collect(),
    };
    let content = Content {
        kind: ProposalKind::General,
        title: "a vote".to_owned(),
        description: "about something".to_owned(),
        actions: vec![
            Action::GrantRole {
                account: account(3),
                role: Role::King,
            },
            Action::Resolve {
                text: Digest::of(b"x"),
            },
        ],
    };
    let roles = vec![Holder {
        account: account(2),
        role: Role::Guardian,
    }];
    let vote = |voter: u8, choice| Operation::Vote {
        voter: account(voter),
        proposal,
        choice,
    };
    let propose = Operation::Propose {
        author: account(4),
        proposal,
        content,
    };
    let reputation = Operation::SetReputation {
        account: account(1),
        reputation: half,
    };
    for (time, operation) in [
        (
            day,
            Operation::Enrol {
                account: account(1),
            },
        ),
        (
            day,
            Operation::Enrol {
                account: account(4),
            },
        ),
        (day, Operation::Establish { roles }),
        (day + 1, delegate(1, &[2, 3])),
        (day + 1, delegate(2, &[3])),
        (day + 2, reputation),
        (2 * day, propose),
        (3 * day + 1, vote(1, Choice::For)),
        (3 * day + 2, vote(3, Choice::Against)),
        (3 * day + 3, vote(1, Choice::Abstain)),
    ] {
        let time = UnixMillis(time);
        let kind = dao.update(time, |draft| {
            let done = draft.execute(&rules, &operation, &NoHost)?;
            for n in 1..=4 {
                draft.set_tokens(account(n), Amount::from_credits(4_000))?;
            }
            draft.set_circulating(Amount::from_credits(20_000))?;
            Ok::<_, DaoError>(done.event)
        })?;
        events.push(Event { time, kind }.encode());
    }
    Ok((dao, events))
}

fn take_event(bytes: &[u8]) {
    let Ok(event) = Event::decode(bytes) else {
        return;
    };
    assert_eq!(event.encode(), bytes);
    for mut dao in [Dao::default(), SOUND.0.clone()] {
        let taken = dao.update(event.time, |draft| draft.repeat(&event.kind));
        if taken.is_ok() {
            assert_eq!(dao.check(), Ok(()));
        }
    }
}

fn take_snapshot(bytes: &[u8]) {
    let Ok(snapshot) = Snapshot::decode(bytes) else {
        return;
    };
    assert_eq!(snapshot.encode(), bytes);
    if let Ok(dao) = Dao::restore(&snapshot) {
        assert_eq!(dao.check(), Ok(()));
        assert_eq!(dao.snapshot(), snapshot);
    }
}

fuzz_target!(|input: Input<'_>| match input {
    Input::Event(bytes) => take_event(bytes),
    Input::DamagedEvent(which, damages) => {
        let events = &SOUND.1;
        let mut bytes = events[usize::from(which) % events.len()].clone();
        damage(&mut bytes, &damages);
        take_event(&bytes);
    }
    Input::Snapshot(bytes) => take_snapshot(bytes),
    Input::DamagedSnapshot(damages) => {
        let mut bytes = SNAPSHOT.clone();
        damage(&mut bytes, &damages);
        take_snapshot(&bytes);
    }
    Input::Operation(minutes, text) => {
        let Ok(operation) = serde_json::from_str::<Operation>(text) else {
            return;
        };
        let mut dao = SOUND.0.clone();
        let now = UnixMillis(dao.clock().0 + u64::from(minutes) * 60_000);
        let rules = Rules::default();
        let done = dao.update(now, |draft| draft.execute(&rules, &operation, &NoHost));
        if done.is_ok() {
            assert_eq!(dao.check(), Ok(()));
        }
    }
});
