//! The peer itself: its contracts do what their documentation says, and say what they refuse.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::Path;

use fogcompute_governor_peer::{Contracts, Peer, PeerError, Settings, State, Support, Tally};

const SETTINGS: Settings = Settings {
    voting_delay: 4,
    voting_period: 16,
    proposal_threshold: 0,
    quorum_percent: 10,
    late_quorum_extension: 3,
    timelock: 5,
};

fn contracts() -> Contracts {
    let path = std::env::var("FOGCOMPUTE_GOVERNOR_CONTRACTS");
    let path = path.expect("FOGCOMPUTE_GOVERNOR_CONTRACTS names what compile.js wrote");
    Contracts::read(Path::new(&path)).unwrap()
}

#[test]
fn nominal_life_is_that_of_the_documentation() {
    let mut peer = Peer::deploy(&contracts(), SETTINGS, 100).unwrap();
    for (account, tokens) in [(1, 10), (2, 7), (3, 5), (4, 2), (5, 76)] {
        peer.mint(account, tokens).unwrap();
        if account != 5 {
            peer.delegate(account, account).unwrap();
        }
    }
    peer.set_time(110);
    assert_eq!(peer.votes(1), Ok(10));
    assert_eq!(peer.past_supply(109), Ok(100));
    let id = peer.propose(1, 42, 0).unwrap();
    assert_eq!(peer.state(id), Ok(State::Pending));
    peer.set_time(115);
    assert_eq!(peer.state(id), Ok(State::Active));
    peer.vote(1, id, Support::For).unwrap();
    peer.vote(2, id, Support::For).unwrap();
    peer.vote(3, id, Support::Against).unwrap();
    peer.vote(4, id, Support::Abstain).unwrap();
    let refused = |name| PeerError::Refused { name };
    assert_eq!(
        peer.vote(4, id, Support::For),
        Err(refused("GovernorAlreadyCastVote"))
    );
    let tally = Tally {
        against: 5,
        in_favour: 17,
        abstain: 2,
    };
    assert_eq!(peer.tally(id), Ok(tally));
    assert_eq!(
        peer.queue(42, 0),
        Err(refused("GovernorUnexpectedProposalState"))
    );
    assert_eq!(peer.deadline(id), Ok(130));
    peer.set_time(131);
    assert_eq!(peer.state(id), Ok(State::Succeeded));
    peer.queue(42, 0).unwrap();
    assert_eq!(peer.eta(id), Ok(136));
    assert_eq!(
        peer.execute(42, 0),
        Err(refused("TimelockUnexpectedOperationState"))
    );
    peer.set_time(136);
    peer.execute(42, 0).unwrap();
    assert_eq!(peer.state(id), Ok(State::Executed));
    assert_eq!(peer.boxed(), Ok(42));
}
