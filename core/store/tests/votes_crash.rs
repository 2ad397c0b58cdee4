//! A writer is killed at any moment while votes come in; whatever it acknowledged is counted.
//!
//! The test starts this very binary again as the writer, counts the acknowledgements on its
//! standard output, and kills it (SIGKILL on Unix) after a different number of them each round.
//! Nothing sleeps.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use ed25519_dalek::SigningKey;
use fogcompute_base::{AccountId, Digest, Rng, TransferId, UnixMillis};
use fogcompute_ledger::dao::{self, Action, Choice, Content, ProposalKind};
use fogcompute_ledger::economy::{Economy, Request};
use fogcompute_ledger::{
    AccountKind, Amount, AssetId, Memo, Operation, PublicKey, Purse, SignedBatch,
};
use fogcompute_store::{Durability, LedgerOptions, SqliteLedger};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use tempfile::TempDir;

const ROUNDS: u64 = 60;
/// Rounds that share one file before the next starts with one in which nobody has voted.
const ROUNDS_A_FILE: u64 = 15;
const VOTERS: u64 = 5;
const FILE: &str = "FOGCOMPUTE_VOTES_CRASH_TEST_FILE";
const ACKNOWLEDGED: &str = "acknowledged vote ";
const DAY: u64 = 86_400_000;
const START: UnixMillis = UnixMillis(20_000 * DAY);
const PROPOSED: UnixMillis = UnixMillis(START.0 + DAY);
const VOTING: UnixMillis = UnixMillis(PROPOSED.0 + DAY + 1);

fn account(voter: u64) -> AccountId {
    AccountId::from_bytes([0xa0 + voter as u8; 16])
}

fn secret(voter: u64) -> SigningKey {
    SigningKey::from_bytes(&[0xb0 + voter as u8; 32])
}

fn id(of: u64, number: u64) -> TransferId {
    TransferId::from_bytes((u128::from(of) << 64 | u128::from(number)).to_be_bytes())
}

fn proposal() -> TransferId {
    id(9, 9)
}

/// Votes are numbered; voters take turns, and change their minds each time.
fn choice(number: u64) -> Choice {
    if (number / VOTERS).is_multiple_of(2) {
        Choice::For
    } else {
        Choice::Against
    }
}

/// Asks for something in the name of a voter, which makes its next signature.
fn ask(
    ledger: &mut SqliteLedger,
    id: TransferId,
    voter: u64,
    asked: dao::Operation,
    now: UnixMillis,
) {
    let operation = Operation::Economy {
        id,
        request: Box::new(Request::Governance(asked)),
    };
    let nonce = ledger.state().owner(account(voter)).unwrap().nonce + 1;
    let expires = UnixMillis(now.0 + DAY);
    let batch = SignedBatch::new(
        account(voter),
        nonce,
        expires,
        vec![operation],
        &secret(voter),
    );
    ledger.execute_signed(&batch, now).unwrap();
}

/// A file with a proposal that everybody may vote on.
fn prepare(path: &Path) {
    let mut ledger = SqliteLedger::open(path, Durability::Full).unwrap();
    let mut economy = Economy::default();
    economy.dao.vote_changes_max = 1_000;
    let mut operations = vec![Operation::Economy {
        id: id(1, 0),
        request: Box::new(Request::Configure(economy)),
    }];
    for voter in 0..VOTERS {
        operations.push(Operation::Open {
            account: account(voter),
            asset: AssetId::CREDITS,
            kind: AccountKind::Holder,
        });
        operations.push(Operation::Transfer {
            id: id(2, voter),
            from: Purse::Treasury.account(),
            to: account(voter),
            amount: Amount::from_credits(10_000 + voter),
            memo: Memo::NONE,
        });
        operations.push(Operation::Own {
            id: id(3, voter),
            account: account(voter),
            key: PublicKey::of(&secret(voter)),
        });
    }
    ledger.execute(&operations, START).unwrap();
    for voter in 0..VOTERS {
        let enrol = dao::Operation::Enrol {
            account: account(voter),
        };
        ask(&mut ledger, id(4, voter), voter, enrol, START);
    }
    let propose = dao::Operation::Propose {
        author: account(0),
        proposal: proposal(),
        content: Content {
            kind: ProposalKind::General,
            title: "Be kind".to_owned(),
            description: String::new(),
            actions: vec![Action::Resolve {
                text: Digest::of(b"Be kind."),
            }],
        },
    };
    ask(&mut ledger, id(5, 0), 0, propose, PROPOSED);
}

/// How many votes are there. Each is the ballot of its voter, and the tally has no others.
fn votes(ledger: &SqliteLedger) -> u64 {
    let state = ledger.state();
    let mut votes = 0;
    while state.sequence_of(id(6, votes)).is_some() {
        votes += 1;
    }
    let dao = state.dao();
    let mut power = dao::Tally::default();
    for voter in 0..VOTERS {
        let ballot = dao.ballot(proposal(), account(voter));
        // The last of its turns.
        let last = (0..votes).rev().find(|number| number % VOTERS == voter);
        assert_eq!(ballot.map(|ballot| ballot.choice), last.map(choice));
        let Some(ballot) = ballot else { continue };
        assert_eq!(
            u64::from(ballot.changes) + 1,
            (votes - voter).div_ceil(VOTERS)
        );
        match ballot.choice {
            Choice::For => power.in_favor.0 += ballot.counted.0,
            _ => power.against.0 += ballot.counted.0,
        }
    }
    assert_eq!(dao.proposal(proposal()).unwrap().power, power);
    votes
}

/// What the test kills.
fn vote_until_killed(path: OsString) {
    // Snapshots every few votes, so that it is killed in the middle of those, too.
    let options = LedgerOptions {
        snapshot_entries: 16,
        ..LedgerOptions::default()
    };
    let mut ledger = SqliteLedger::open_with(path, options).unwrap();
    let mut out = std::io::stdout().lock();
    for number in votes(&ledger).. {
        let vote = dao::Operation::Vote {
            voter: account(number % VOTERS),
            proposal: proposal(),
            choice: choice(number),
        };
        ask(&mut ledger, id(6, number), number % VOTERS, vote, VOTING);
        // The harness has left its own line unfinished. A closed pipe means the parent is gone.
        if writeln!(out, "\n{ACKNOWLEDGED}{number}").is_err() {
            break;
        }
    }
}

/// Runs a writer until it has acknowledged `count` votes, kills it, and returns the number of the
/// last vote that it acknowledged in all.
fn run_and_kill(path: &Path, count: usize) -> Option<u64> {
    let mut writer = Command::new(std::env::current_exe().expect("a test knows where it is"))
        .args([
            "--exact",
            "a_killed_writer_loses_no_vote_it_acknowledged",
            "--nocapture",
        ])
        .env(FILE, path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test starts again");
    let lines = BufReader::new(writer.stdout.take().expect("it is piped")).lines();
    let mut acknowledged = lines.map_while(Result::ok).filter_map(|line| {
        let number = line.strip_prefix(ACKNOWLEDGED)?;
        Some(number.parse::<u64>().expect("lines are written whole"))
    });
    let mut last = None;
    for _ in 0..count {
        last = Some(
            acknowledged
                .next()
                .expect("the writer goes on until killed"),
        );
    }
    writer.kill().expect("it is ours to kill");
    // What it wrote into the pipe before it died was acknowledged as well.
    last = acknowledged.last().or(last);
    let end = writer.wait().expect("it is ours to wait for");
    assert!(!end.success(), "it was killed");
    last
}

#[test]
fn a_killed_writer_loses_no_vote_it_acknowledged() {
    // The writer is this very test, told so by its environment.
    if let Some(path) = std::env::var_os(FILE) {
        return vote_until_killed(path);
    }
    let mut rng = ChaCha20Rng::seed_from_u64(0xf06);
    let (mut acknowledged, mut snapshots) = (0, 0);
    for _ in 0..ROUNDS / ROUNDS_A_FILE {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("ledger");
        prepare(&path);
        let mut before = 0;
        for _ in 0..ROUNDS_A_FILE {
            let count = usize::try_from(rng.next_u32() % 24).unwrap();
            let last = run_and_kill(&path, count);
            let ledger = SqliteLedger::open(&path, Durability::Full).unwrap();
            let found = votes(&ledger);
            let promised = last.map_or(before, |last| last + 1);
            // One more may have reached the disk without its acknowledgement reaching the pipe.
            assert!(
                (promised..=promised + 1).contains(&found),
                "{promised} votes acknowledged, {found} found"
            );
            ledger.verify().unwrap();
            snapshots += u64::from(ledger.opening().snapshot.is_some());
            acknowledged += promised - before;
            before = found;
        }
    }
    assert!(acknowledged > 100, "only {acknowledged} votes were written");
    assert!(
        snapshots > ROUNDS / 4,
        "only {snapshots} snapshots were used"
    );
}
