//! The economy in a file: what was staked, earned and set is there after a restart, in the tables
//! and in the text, with what it moved.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use ed25519_dalek::SigningKey;
use fogcompute_base::{AccountId, NodeId, TransferId, UnixMillis};
use fogcompute_ledger::economy::{Economy, Request};
use fogcompute_ledger::staking::Operation as Stake;
use fogcompute_ledger::{
    AccountKind, Amount, AssetId, EntryKind, Memo, Operation, Ppm, PublicKey, Purse, earning,
};
use fogcompute_store::{Durability, LedgerOptions, SqliteLedger, StoreError, TextFormat};
use tempfile::TempDir;

const ANA: AccountId = AccountId::from_bytes([1; 16]);
const BEN: AccountId = AccountId::from_bytes([2; 16]);
const NODE: NodeId = NodeId::from_bytes([9; 32]);
const DAY: u64 = 86_400_000;
const NOW: UnixMillis = UnixMillis(20_000 * DAY);

fn id(n: u64) -> TransferId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    TransferId::from_bytes(bytes)
}

fn open(account: AccountId) -> Operation {
    Operation::Open {
        account,
        asset: AssetId::CREDITS,
        kind: AccountKind::Holder,
    }
}

fn ask(n: u64, request: Request) -> Operation {
    Operation::Economy {
        id: id(n),
        request: Box::new(request),
    }
}

fn stake(n: u64, operation: Stake) -> Operation {
    ask(n, Request::Staking(operation))
}

/// Founds an economy and lets it live a month, a batch at a time.
fn live(ledger: &mut SqliteLedger) {
    let (operator, delegator) = (NODE, ANA);
    let amount = Amount::from_credits(10);
    let batches = [
        vec![
            ask(1, Request::Configure(Economy::default())),
            open(ANA),
            open(BEN),
            Operation::Transfer {
                id: id(2),
                from: Purse::Treasury.account(),
                to: ANA,
                amount: Amount::from_credits(50),
                memo: Memo::NONE,
            },
        ],
        vec![
            stake(
                3,
                Stake::Register {
                    operator,
                    account: BEN,
                    commission: Ppm::percent(10),
                },
            ),
            stake(
                4,
                Stake::Bond {
                    operator,
                    delegator,
                    amount,
                },
            ),
        ],
        vec![
            stake(
                5,
                Stake::Reward {
                    operator,
                    source: Purse::Mint,
                    amount,
                },
            ),
            stake(
                6,
                Stake::Claim {
                    operator,
                    delegator,
                },
            ),
            stake(
                7,
                Stake::Unbond {
                    operator,
                    delegator,
                    amount: None,
                },
            ),
        ],
        vec![ask(
            8,
            Request::Earning(earning::Operation::Earn {
                rule: "hosting".parse().unwrap(),
                account: BEN,
                facts: [("uptime".parse().unwrap(), 1_000)].into(),
            }),
        )],
        vec![ask(
            9,
            Request::SetParameter {
                name: "earning.contributions.hosting.base".to_owned(),
                value: 7,
            },
        )],
    ];
    for (day, batch) in (0..).zip(&batches) {
        ledger
            .execute(batch, UnixMillis(NOW.0 + day * DAY))
            .unwrap();
    }
    let later = UnixMillis(NOW.0 + 30 * DAY);
    let receipts = ledger.expire(later).unwrap();
    assert!(matches!(receipts[0].entry.kind, EntryKind::Matured { .. }));
}

#[test]
fn an_economy_is_the_same_after_a_restart_with_and_without_snapshots() {
    for snapshot_entries in [1, u64::MAX] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("ledger");
        let options = LedgerOptions {
            snapshot_entries,
            ..LedgerOptions::default()
        };
        let mut ledger = SqliteLedger::open_with(&path, options).unwrap();
        live(&mut ledger);
        let state = ledger.state().clone();
        let proven = ledger.verify().unwrap();
        assert_eq!(proven.head, state.head());
        drop(ledger);
        let mut ledger = SqliteLedger::open(&path, Durability::Full).unwrap();
        assert_eq!(*ledger.state(), state);
        // 9 credits of the reward, 10 back from the stake; the commission waits to be claimed.
        assert_eq!(ledger.balance(ANA), Some(Amount::from_credits(59)));
        assert_eq!(
            ledger.state().staking().purses().rewards,
            Amount::from_credits(1)
        );
        ledger.catch_up().unwrap();
        ledger.check_integrity().unwrap();
        assert_eq!(ledger.verify().unwrap().head, state.head());
        // Asked for the second time, the answer comes from the file.
        let claim = stake(
            6,
            Stake::Claim {
                operator: NODE,
                delegator: ANA,
            },
        );
        let again = ledger.execute(&[claim], NOW).unwrap();
        assert!(again[0].replayed);
    }
}

#[test]
fn the_history_of_an_account_has_its_stakes_and_what_they_paid() {
    let mut ledger = SqliteLedger::in_memory().unwrap();
    live(&mut ledger);
    ledger.catch_up().unwrap();
    let entries = ledger.history(ANA, 0, 100).unwrap();
    let names: Vec<_> = entries.iter().map(|entry| entry.kind.name()).collect();
    assert_eq!(
        names,
        [
            "opened",
            "transferred",
            "economy", // bonded
            "moved",
            "economy", // claimed
            "moved",
            "economy", // unbonded
            "matured",
            "moved"
        ]
    );
    for pair in entries.windows(2) {
        if let EntryKind::Moved { cause, .. } = pair[1].kind {
            assert_eq!(cause, pair[0].sequence);
        }
    }
    // While the stake was out she had 40, and 49 with the reward.
    let at = |day| {
        let standing = ledger.as_of_time(ANA, UnixMillis(NOW.0 + day * DAY));
        standing.unwrap().unwrap().balance()
    };
    let had: Vec<_> = [0, 1, 2, 29, 30].map(at).into();
    assert_eq!(had, [50, 40, 49, 49, 59].map(Amount::from_credits));
}

#[test]
fn an_economy_goes_through_both_kinds_of_text() {
    let mut ledger = SqliteLedger::in_memory().unwrap();
    live(&mut ledger);
    for format in [TextFormat::Csv, TextFormat::JsonLines] {
        let mut text = Vec::new();
        let count = ledger.export(format, &mut text).unwrap();
        assert_eq!(count, ledger.state().head().sequence);
        let mut other = SqliteLedger::in_memory().unwrap();
        other.import(format, &mut &text[..]).unwrap();
        assert_eq!(other.state(), ledger.state());
    }
}

#[test]
fn text_of_many_events_is_imported_in_whole_batches() {
    let mut ledger = SqliteLedger::in_memory().unwrap();
    live(&mut ledger);
    // One batch whose movements lie across the length of any batch that importing makes.
    let fee = |n| {
        ask(
            n,
            Request::Earning(earning::Operation::Fee {
                payer: ANA,
                payee: BEN,
                amount: Amount(20),
            }),
        )
    };
    let batch: Vec<_> = (0..1_000).map(|n| fee(100 + n)).collect();
    ledger
        .execute(&batch, UnixMillis(NOW.0 + 31 * DAY))
        .unwrap();
    let mut text = Vec::new();
    ledger.export(TextFormat::JsonLines, &mut text).unwrap();
    let mut other = SqliteLedger::in_memory().unwrap();
    other.import(TextFormat::JsonLines, &mut &text[..]).unwrap();
    assert_eq!(other.state(), ledger.state());
    assert_eq!(other.verify().unwrap().head, ledger.state().head());
}

#[test]
fn a_file_that_has_gone_away_acknowledges_nothing() {
    // What was acknowledged after somebody had removed the file was lost with it.
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ledger");
    let mut ledger = SqliteLedger::open(&path, Durability::Full).unwrap();
    live(&mut ledger);
    let state = ledger.state().clone();
    std::fs::rename(&path, folder.path().join("moved")).unwrap();
    for replaced in [false, true] {
        if replaced {
            std::fs::write(&path, b"another").unwrap();
        }
        let refused = ledger.execute(&[open(AccountId::from_bytes([7; 16]))], NOW);
        assert!(matches!(refused, Err(StoreError::Replaced { path: ref p }) if *p == path));
        assert_eq!(*ledger.state(), state);
    }
}

#[test]
fn a_checkpoint_of_another_ledger_does_not_blame_the_file() {
    let mut ledger = SqliteLedger::in_memory().unwrap();
    live(&mut ledger);
    let secret = SigningKey::from_bytes(&[7; 32]);
    let checkpoint = ledger.checkpoint(NOW, &secret);
    let other = PublicKey::from_bytes([9; 32]);
    let refused = ledger.verify_since(&checkpoint, &other).unwrap_err();
    let text = refused.to_string();
    assert!(text.starts_with("checkpoint at entry"), "{text}");
}
