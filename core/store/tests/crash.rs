//! A writer is killed at any moment; whatever it acknowledged must be there, whole.
//!
//! The test starts this very binary again as the writer, counts the acknowledgements on its
//! standard output, and kills it (SIGKILL on Unix) after a different number of them each round.
//! Nothing sleeps. This is about the death of a process: a power cut, which may also lose what the
//! disk had promised to keep, cannot be staged here.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use fogcompute_base::{AccountId, Rng, TransferId, UnixMillis};
use fogcompute_ledger::{AccountKind, Amount, AssetId, Memo, Operation};
use fogcompute_store::{Durability, LedgerOptions, SqliteLedger};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use tempfile::TempDir;

const ROUNDS: u64 = 200;
/// Rounds that share one file before the next starts with none, so that creation is hit too.
const ROUNDS_A_FILE: u64 = 20;
const FILE: &str = "FOGCOMPUTE_CRASH_TEST_FILE";
const ACKNOWLEDGED: &str = "acknowledged batch ";
const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fn account(n: u8) -> AccountId {
    AccountId::from_bytes([n; 16])
}

fn id(batch: u64, step: u64) -> TransferId {
    TransferId::from_bytes((u128::from(batch) << 64 | u128::from(step)).to_be_bytes())
}

/// Batch 0 opens the accounts. Batch n > 0 mints, reserves and posts, in n % 4 + 1 triples.
fn batch(number: u64) -> Vec<Operation> {
    if number == 0 {
        let kinds = [
            AccountKind::Issuer,
            AccountKind::Holder,
            AccountKind::Holder,
        ];
        return (0..)
            .zip(kinds)
            .map(|(n, kind)| Operation::Open {
                account: account(n),
                asset: AssetId::CREDITS,
                kind,
            })
            .collect();
    }
    (0..=number % 4)
        .flat_map(|triple| {
            let id = |step| id(number, triple * 3 + step);
            [
                Operation::Transfer {
                    id: id(0),
                    from: account(0),
                    to: account(1),
                    amount: Amount::from_credits(5),
                    memo: Memo::NONE,
                },
                Operation::Reserve {
                    id: id(1),
                    from: account(1),
                    to: account(2),
                    amount: Amount::from_credits(4),
                    expires: None,
                    memo: Memo::NONE,
                },
                Operation::Post {
                    id: id(2),
                    reservation: id(1),
                    amount: Some(Amount::from_credits(3)),
                },
            ]
        })
        .collect()
}

/// How many batches of the file's history are there, all of them whole.
fn whole_batches(ledger: &SqliteLedger) -> u64 {
    let book = ledger.state();
    let mut batches = u64::from(book.account(account(0)).is_some());
    let mut entries = 3 * batches;
    while book.sequence_of(id(batches, 0)).is_some() {
        for operation in batch(batches) {
            let (Operation::Transfer { id, .. }
            | Operation::Reserve { id, .. }
            | Operation::Post { id, .. }) = operation
            else {
                unreachable!("only batch 0 has others")
            };
            assert!(book.sequence_of(id).is_some(), "batch {batches} is torn");
            entries += 1;
        }
        batches += 1;
    }
    assert_eq!(book.head().sequence, entries, "the history has more");
    batches
}

/// What the test kills.
fn write_until_killed(path: OsString) {
    // Snapshots every few batches, the tables brought up to date every few more: so that it is
    // killed in the middle of those, too.
    let options = LedgerOptions {
        snapshot_entries: 16,
        ..LedgerOptions::default()
    };
    let mut ledger = SqliteLedger::open_with(path, options).unwrap();
    let mut out = std::io::stdout().lock();
    for number in whole_batches(&ledger).. {
        ledger.execute(&batch(number), NOW).unwrap();
        // The harness has left its own line unfinished. A closed pipe means the parent is gone.
        if writeln!(out, "\n{ACKNOWLEDGED}{number}").is_err() {
            break;
        }
        if number % 3 == 0 {
            ledger.catch_up().unwrap();
        }
    }
}

/// Runs a writer until it has acknowledged `count` batches, kills it, and returns the number of
/// the last batch that it acknowledged in all.
fn run_and_kill(path: &Path, count: usize) -> Option<u64> {
    let mut writer = Command::new(std::env::current_exe().expect("a test knows where it is"))
        .args([
            "--exact",
            "killed_writer_loses_nothing_it_acknowledged",
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
fn killed_writer_loses_nothing_it_acknowledged() {
    // The writer is this very test, told so by its environment.
    if let Some(path) = std::env::var_os(FILE) {
        return write_until_killed(path);
    }
    let mut rng = ChaCha20Rng::seed_from_u64(0xf06);
    let mut acknowledged = 0;
    let (mut snapshots, mut replayed) = (0, 0);
    for _ in 0..ROUNDS / ROUNDS_A_FILE {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("ledger");
        let mut before = 0;
        for _ in 0..ROUNDS_A_FILE {
            let count = usize::try_from(rng.next_u32() % 24).unwrap();
            let last = run_and_kill(&path, count);
            let ledger = SqliteLedger::open(&path, Durability::Full).unwrap();
            let batches = whole_batches(&ledger);
            let promised = last.map_or(before, |last| last + 1);
            // One more may have reached the disk without its acknowledgement reaching the pipe.
            assert!(
                (promised..=promised + 1).contains(&batches),
                "{promised} batches acknowledged, {batches} found"
            );
            ledger.verify().unwrap();
            snapshots += u64::from(ledger.opening().snapshot.is_some());
            replayed += ledger.opening().replayed;
            assert_eq!(ledger.opening().damaged, 0);
            assert_eq!(ledger.state().open_reservations().len(), 0);
            acknowledged += promised - before;
            before = batches;
        }
    }
    assert!(
        acknowledged > 100,
        "only {acknowledged} batches were written"
    );
    // Otherwise neither way of opening was put to the test.
    assert!(
        snapshots > ROUNDS / 4,
        "only {snapshots} snapshots were used"
    );
    assert!(
        replayed > ROUNDS,
        "only {replayed} entries were carried out again"
    );
}
