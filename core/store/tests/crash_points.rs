//! Files as they are after every write that a batch makes, and in the middle of them: each is
//! opened, and must hold every acknowledged batch and no half of one.
//!
//! This is what there is of crash points until a simulated disk exists. SQLite's writes are not
//! intercepted: what they leave is put together from copies of the file and of its write-ahead log
//! before and after each batch. Within a commit the log is written from one place onwards, so that
//! after any write it is the new one up to there and the old one beyond; while the log is folded
//! into the file, pages of it are old or new as it comes. That a disk keeps what it has promised,
//! and keeps the order that it was asked for, is taken for granted.
//!
//! Source: SQLite file format, §4, "The Write-Ahead Log"; <https://sqlite.org/atomiccommit.html>.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::{Path, PathBuf};

use fogcompute_base::{AccountId, Rng, TransferId, UnixMillis};
use fogcompute_ledger::{AccountKind, Amount, AssetId, Head, Memo, Operation};
use fogcompute_store::{Durability, LedgerOptions, SqliteLedger};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use tempfile::TempDir;

const BATCHES: u64 = 16;
const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
const MINT: AccountId = AccountId::from_bytes([1; 16]);
const ANA: AccountId = AccountId::from_bytes([2; 16]);
const PAGE: usize = 4_096;
const LOG_HEADER: usize = 32;
const FRAME: usize = 24 + PAGE;
/// Bytes within a frame at which a write is torn, each time, beside its ends.
const TORN: usize = 2;

/// Batch 0 opens the accounts, the others mint in 1 to 301 transfers: less than a page, and many.
fn batch(number: u64) -> Vec<Operation> {
    let open = |account, kind| Operation::Open {
        account,
        asset: AssetId::CREDITS,
        kind,
    };
    if number == 0 {
        let holder = open(ANA, AccountKind::Holder);
        return vec![open(MINT, AccountKind::Issuer), holder];
    }
    let id =
        |n: u64| TransferId::from_bytes((u128::from(number) << 64 | u128::from(n)).to_be_bytes());
    (0..=number % 4 * 100)
        .map(|n| Operation::Transfer {
            id: id(n),
            from: MINT,
            to: ANA,
            amount: Amount(1),
            memo: Memo::NONE,
        })
        .collect()
}

/// The file and its log.
#[derive(Clone, Default, Eq, PartialEq)]
struct Files {
    main: Vec<u8>,
    log: Vec<u8>,
}

fn log_of(path: &Path) -> PathBuf {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}

impl Files {
    fn read(path: &Path) -> Self {
        Self {
            main: fs::read(path).unwrap(),
            // It is gone once the ledger is closed.
            log: fs::read(log_of(path)).unwrap_or_default(),
        }
    }

    /// Opens what a crash has left, and says where its history ends.
    fn open(&self, folder: &Path) -> Head {
        let path = folder.join("crashed");
        fs::write(&path, &self.main).unwrap();
        fs::write(log_of(&path), &self.log).unwrap();
        let ledger = SqliteLedger::open_existing(&path, LedgerOptions::default()).unwrap();
        let verified = ledger.verify().unwrap();
        assert_eq!(verified.head, ledger.state().head());
        // What it holds is what was given out, so that no transfer is there by half.
        let ana = ledger.account(ANA).map_or(0, |ana| ana.balance().0);
        let opened = 2.min(verified.head.sequence);
        assert_eq!(ana, u128::from(verified.head.sequence - opened));
        drop(ledger);
        fs::remove_file(&path).unwrap();
        verified.head
    }
}

/// The log while it is written anew from its first difference on: after every frame, and torn
/// within some.
fn logs(old: &[u8], new: &[u8], rng: &mut impl Rng) -> Vec<Vec<u8>> {
    let same = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let mut ends = vec![same];
    let mut from = same;
    while from < new.len() {
        let frames = from.saturating_sub(LOG_HEADER) / FRAME;
        let next = if from < LOG_HEADER {
            LOG_HEADER
        } else {
            (LOG_HEADER + (frames + 1) * FRAME).min(new.len())
        };
        for _ in 0..TORN {
            let part = rng.next_u32() as usize % (next - from);
            ends.push(from + part);
        }
        ends.push(next);
        from = next;
    }
    ends.into_iter()
        .map(|end| {
            let rest = old.get(end..).unwrap_or_default();
            [&new[..end], rest].concat()
        })
        .collect()
}

/// The file while pages of it are old or new, as it comes.
fn mixed(old: &[u8], new: &[u8], rng: &mut impl Rng) -> Vec<u8> {
    let mut mixed = new.to_vec();
    for (page, was) in mixed.chunks_mut(PAGE).zip(old.chunks(PAGE)) {
        if page.len() == was.len() && rng.next_u32().is_multiple_of(2) {
            page.copy_from_slice(was);
        }
    }
    mixed
}

#[test]
fn whatever_a_crash_leaves_of_a_commit_is_all_acknowledged_batches_and_no_half() {
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ledger");
    let mut ledger = SqliteLedger::open(&path, Durability::Full).unwrap();
    let (mut before, mut acknowledged) = (Files::read(&path), ledger.state().head());
    let (mut points, mut lost, mut kept) = (0_u32, 0_u32, 0_u32);
    for number in 0..BATCHES {
        ledger.execute(&batch(number), NOW).unwrap();
        // Reading closes the file again, and POSIX gives its lock up with that. Nobody else is
        // there to take it.
        let (after, head) = (Files::read(&path), ledger.state().head());
        assert!(after.main == before.main, "nothing was folded in");
        for log in logs(&before.log, &after.log, &mut rng) {
            let found = Files {
                main: before.main.clone(),
                log,
            }
            .open(folder.path());
            assert!(
                found == acknowledged || found == head,
                "batch {number}: {found:?} is neither {acknowledged:?} nor {head:?}"
            );
            points += 1;
            lost += u32::from(found == acknowledged);
            kept += u32::from(found == head);
        }
        // Once it is acknowledged it is there.
        assert_eq!(after.open(folder.path()), head);
        (before, acknowledged) = (after, head);
    }
    // Both sides of each commit were seen, and more than one write of most.
    assert!(u64::from(kept) >= BATCHES && u64::from(lost) >= BATCHES);
    assert!(points > 100, "{points}");

    // Closing makes a snapshot and folds the log into the file.
    ledger.close().unwrap();
    let after = Files::read(&path);
    assert!(after.main != before.main && after.log.is_empty());
    for _ in 0..40 {
        let found = Files {
            main: mixed(&before.main, &after.main, &mut rng),
            log: before.log.clone(),
        };
        assert_eq!(found.open(folder.path()), acknowledged);
    }
    assert_eq!(after.open(folder.path()), acknowledged);
}
