//! The same random operations on OpenZeppelin's Governor and on fogcompute's governance: what one
//! does the other does, what one refuses the other refuses, and everything that can be asked of both
//! has the same answer after every step.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::path::Path;

use fogcompute_base::UnixMillis;
use fogcompute_governor_peer::{ACCOUNTS, Contracts, Ours, SETTINGS, State, Step, Steps, Theirs};
use fogcompute_ledger::dao::{ProposalState, Stage};

const WORLDS: u64 = 60;
const STEPS_A_WORLD: u64 = 400;
const BEGINNING: u64 = 1_000;

/// How often something was seen.
type Seen = BTreeMap<String, u32>;

fn compare(ours: &Ours, theirs: &mut Theirs, seen: &mut Seen) {
    let now = UnixMillis(ours.now());
    for number in 1..=ACCOUNTS {
        let votes = theirs.peer().votes(number).unwrap();
        assert_eq!(votes, ours.votes(number), "votes of {number} at {now}");
    }
    let past = UnixMillis(ours.now() - 1);
    let total = ours.dao().past_total(past, now).unwrap();
    assert_eq!(theirs.peer().past_supply(past.0).unwrap(), total.0);
    for proposal in 0..ours.proposals() {
        let id = theirs.id(proposal);
        let record = ours.dao().proposal(Ours::proposal(proposal)).unwrap();
        let state = ours.dao().state(Ours::proposal(proposal), now).unwrap();
        let found = theirs.peer().state(id).unwrap();
        assert_eq!(found, named(state), "proposal {proposal} at {now}");
        let tally = theirs.peer().tally(id).unwrap();
        let power = record.power;
        assert_eq!(
            (tally.in_favour, tally.against, tally.abstain),
            (power.in_favor.0, power.against.0, power.abstain.0),
            "tally of proposal {proposal} at {now}"
        );
        let deadline = theirs.peer().deadline(id).unwrap();
        assert_eq!(deadline, u128::from(record.deadline.0));
        if let Stage::Queued { eta } = record.stage {
            assert_eq!(theirs.peer().eta(id).unwrap(), u128::from(eta.0));
        }
        *seen.entry(format!("{state:?}")).or_default() += 1;
        if record.deadline != record.terms.unwrap().deadline {
            *seen.entry("Extended".to_owned()).or_default() += 1;
        }
    }
}

fn named(state: ProposalState) -> State {
    match state {
        ProposalState::Pending => State::Pending,
        ProposalState::Active => State::Active,
        ProposalState::Defeated => State::Defeated,
        ProposalState::Succeeded => State::Succeeded,
        ProposalState::Queued => State::Queued,
        ProposalState::Executed => State::Executed,
        ProposalState::Expired => State::Expired,
        ProposalState::Cancelled => State::Canceled,
        ProposalState::Draft => panic!("the contract has no drafts"),
    }
}

fn kind(step: Step) -> String {
    let text = format!("{step:?}");
    text.split(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn random_operations_have_the_same_outcome() {
    let path = std::env::var("FOGCOMPUTE_GOVERNOR_CONTRACTS");
    let path = path.expect("FOGCOMPUTE_GOVERNOR_CONTRACTS names what compile.js wrote");
    let contracts = Contracts::read(Path::new(&path)).unwrap();
    let (mut seen, mut done, mut refused) = (Seen::new(), Seen::new(), Seen::new());
    for seed in 0..WORLDS {
        let mut steps = Steps::new(seed);
        let mut ours = Ours::new(SETTINGS, BEGINNING).unwrap();
        let mut theirs = Theirs::new(&contracts, SETTINGS, BEGINNING).unwrap();
        for number in 0..STEPS_A_WORLD {
            let step = steps.next(&ours);
            let (a, b) = (ours.take(step), theirs.take(step));
            assert_eq!(
                a.is_ok(),
                b.is_ok(),
                "seed {seed}, {number}: {step:?}: {a:?}, {b:?}"
            );
            let count = if a.is_ok() { &mut done } else { &mut refused };
            *count.entry(kind(step)).or_default() += 1;
            compare(&ours, &mut theirs, &mut seen);
        }
    }
    println!("done {done:?}\nrefused {refused:?}\nseen {seen:?}");
    // What is drawn must reach what is compared.
    for state in [
        "Pending",
        "Active",
        "Defeated",
        "Succeeded",
        "Queued",
        "Executed",
        "Cancelled",
        "Extended",
    ] {
        assert!(
            seen.get(state).is_some_and(|count| *count > 100),
            "{state}: {seen:?}"
        );
    }
    for step in ["Vote", "Propose", "Queue", "Execute", "Cancel", "Transfer"] {
        let often = |count: &Seen| count.get(step).is_some_and(|count| *count > 20);
        assert!(
            often(&done) && often(&refused),
            "{step}: {done:?}, {refused:?}"
        );
    }
}
