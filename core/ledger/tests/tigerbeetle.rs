//! Cases after TigerBeetle (`docs/reference/requests/create_transfers.md` and
//! `src/state_machine_tests.zig` at 52ad553f), named by the result they have there.
//!
//! Features it has and this ledger does not (chains inside a batch, balancing transfers, reopened
//! accounts) have no case here. A whole batch is one chain of linked transfers.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use fogcompute_base::{AccountId, TransferId, UnixMillis};
use fogcompute_ledger::{
    Account, AccountKind, Amount, AssetId, Book, LedgerError, Limits, Memo, Operation, Receipt,
};

const NOW: UnixMillis = UnixMillis(1_000);
const MINT: u8 = 1;
const ANA: u8 = 2;
const BEN: u8 = 3;

fn account(n: u8) -> AccountId {
    AccountId::from_bytes([n; 16])
}

fn id(n: u8) -> TransferId {
    TransferId::from_bytes([n; 16])
}

/// `debits_must_not_exceed_credits` accounts, of which Ana's has `credits_posted` 10.
fn ten() -> Book {
    let mut book = Book::new();
    let open = |n, kind| Operation::Open {
        account: account(n),
        asset: AssetId::CREDITS,
        kind,
    };
    let batch = [
        open(MINT, AccountKind::Issuer),
        open(ANA, AccountKind::Holder),
        open(BEN, AccountKind::Holder),
        debit(100, MINT, ANA, 10),
    ];
    book.execute(&batch, NOW).expect("the set-up is valid");
    book
}

fn debit(n: u8, from: u8, to: u8, amount: u128) -> Operation {
    Operation::Transfer {
        id: id(n),
        from: account(from),
        to: account(to),
        amount: Amount(amount),
        memo: Memo::NONE,
    }
}

fn pending(n: u8, amount: u128, expires: Option<u64>) -> Operation {
    Operation::Reserve {
        id: id(n),
        from: account(ANA),
        to: account(BEN),
        amount: Amount(amount),
        expires: expires.map(UnixMillis),
        memo: Memo::NONE,
    }
}

fn post(n: u8, reservation: u8, amount: u128) -> Operation {
    Operation::Post {
        id: id(n),
        reservation: id(reservation),
        amount: Some(Amount(amount)),
    }
}

fn run(book: &mut Book, operation: Operation) -> Result<Receipt, LedgerError> {
    book.execute(&[operation], NOW)
        .map(|mut receipts| receipts.remove(0))
}

fn counters(book: &Book, n: u8) -> [u128; 4] {
    let Account {
        credits_posted,
        debits_posted,
        credits_pending,
        debits_pending,
        ..
    } = *book.account(account(n)).expect("the account is open");
    [
        credits_posted,
        debits_posted,
        credits_pending,
        debits_pending,
    ]
    .map(|amount| amount.0)
}

#[test]
fn exceeds_credits() {
    let refused = run(&mut ten(), debit(1, ANA, BEN, 11));
    assert!(matches!(
        refused,
        Err(LedgerError::InsufficientFunds { .. })
    ));
}

#[test]
fn exact_balance_is_ok() {
    let mut book = ten();
    run(&mut book, debit(1, ANA, BEN, 10)).unwrap();
    assert_eq!(counters(&book, ANA), [10, 10, 0, 0]);
}

#[test]
fn pending_amounts_count() {
    let mut book = ten();
    run(&mut book, pending(1, 7, None)).unwrap();
    let refused = run(&mut book, debit(2, ANA, BEN, 4));
    assert!(matches!(
        refused,
        Err(LedgerError::InsufficientFunds { .. })
    ));
    run(&mut book, debit(2, ANA, BEN, 3)).unwrap();
}

#[test]
fn accounts_must_be_different() {
    let refused = run(&mut ten(), debit(1, ANA, ANA, 1));
    assert!(matches!(refused, Err(LedgerError::SameAccount { .. })));
}

#[test]
fn accounts_must_have_the_same_ledger() {
    let mut book = ten();
    let open = Operation::Open {
        account: account(9),
        asset: AssetId(9),
        kind: AccountKind::Holder,
    };
    run(&mut book, open).unwrap();
    let refused = run(&mut book, debit(1, ANA, 9, 1));
    assert!(matches!(refused, Err(LedgerError::AssetMismatch { .. })));
}

#[test]
fn debit_account_not_found_and_its_id_stays_free() {
    let mut book = ten();
    let refused = run(&mut book, debit(1, 9, BEN, 1));
    assert!(matches!(refused, Err(LedgerError::UnknownAccount { .. })));
    // TigerBeetle says `id_already_failed` here. A batch of ours is atomic, so its ids must be
    // usable again when the batch is repaired.
    assert!(!run(&mut book, debit(1, ANA, BEN, 1)).unwrap().replayed);
}

#[test]
fn exists_and_exists_with_different_amount() {
    let mut book = ten();
    run(&mut book, debit(1, ANA, BEN, 5)).unwrap();
    assert!(run(&mut book, debit(1, ANA, BEN, 5)).unwrap().replayed);
    let refused = run(&mut book, debit(1, ANA, BEN, 6));
    assert!(matches!(refused, Err(LedgerError::IdReused { .. })));
    assert_eq!(counters(&book, BEN), [5, 0, 0, 0]);
}

#[test]
fn linked_event_failed_rolls_all_back() {
    let mut book = ten();
    let before = book.clone();
    let batch = [debit(1, ANA, BEN, 1), debit(2, ANA, BEN, 10)];
    assert!(book.execute(&batch, NOW).is_err());
    assert_eq!(book, before);
}

#[test]
fn post_in_full_and_in_part() {
    for (posted, available) in [(10, 0), (7, 3)] {
        let mut book = ten();
        run(&mut book, pending(1, 10, None)).unwrap();
        assert_eq!(counters(&book, ANA), [10, 0, 0, 10]);
        assert_eq!(counters(&book, BEN), [0, 0, 10, 0]);
        run(&mut book, post(2, 1, posted)).unwrap();
        assert_eq!(counters(&book, ANA), [10, posted, 0, 0]);
        assert_eq!(counters(&book, BEN), [posted, 0, 0, 0]);
        let ana = book.account(account(ANA)).unwrap();
        assert_eq!(ana.available(), Amount(available));
    }
}

#[test]
fn exceeds_pending_transfer_amount() {
    let mut book = ten();
    run(&mut book, pending(1, 10, None)).unwrap();
    let refused = run(&mut book, post(2, 1, 11));
    assert!(matches!(
        refused,
        Err(LedgerError::PostExceedsReservation { .. })
    ));
    // It has precedence over a reservation that is already closed.
    run(&mut book, post(3, 1, 10)).unwrap();
    let refused = run(&mut book, post(4, 1, 11));
    assert!(matches!(
        refused,
        Err(LedgerError::PostExceedsReservation { .. })
    ));
}

#[test]
fn pending_transfer_already_posted_or_voided() {
    let mut book = ten();
    run(&mut book, pending(1, 5, None)).unwrap();
    run(&mut book, post(2, 1, 5)).unwrap();
    let refused = run(&mut book, post(3, 1, 5));
    assert!(matches!(
        refused,
        Err(LedgerError::ReservationPosted { .. })
    ));

    run(&mut book, pending(4, 5, None)).unwrap();
    let void = Operation::Void {
        id: id(5),
        reservation: id(4),
    };
    run(&mut book, void).unwrap();
    let refused = run(&mut book, post(6, 4, 5));
    assert!(matches!(
        refused,
        Err(LedgerError::ReservationVoided { .. })
    ));
}

#[test]
fn pending_transfer_expired_releases_its_amount() {
    let mut book = ten();
    run(&mut book, pending(1, 10, Some(2_000))).unwrap();
    let plan = book.expire(UnixMillis(2_000));
    book.commit(plan).unwrap();
    let refused = run(&mut book, post(2, 1, 10));
    assert!(matches!(
        refused,
        Err(LedgerError::ReservationExpired { .. })
    ));
    assert_eq!(counters(&book, ANA), [10, 0, 0, 0]);
    assert_eq!(counters(&book, BEN), [0, 0, 0, 0]);
}

#[test]
fn overflows_debits() {
    let refused = run(&mut ten(), debit(1, MINT, BEN, u128::MAX));
    assert!(matches!(refused, Err(LedgerError::Overflow { .. })));
}

#[test]
fn exceeds_debits() {
    let mut book = ten();
    let limit = Operation::Limit {
        id: id(50),
        account: account(MINT),
        limits: Limits {
            credits_must_not_exceed_debits: true,
            ..Limits::default()
        },
    };
    run(&mut book, limit).unwrap();
    // Another issuer has put out what comes back to the first.
    let open = Operation::Open {
        account: account(9),
        asset: AssetId::CREDITS,
        kind: AccountKind::Issuer,
    };
    run(&mut book, open).unwrap();
    let refused = run(&mut book, debit(1, 9, MINT, 11));
    assert!(matches!(
        refused,
        Err(LedgerError::CreditsExceedDebits { .. })
    ));
    run(&mut book, debit(1, 9, MINT, 10)).unwrap();
}

#[test]
fn account_already_closed() {
    let mut book = ten();
    let close = |n, party| Operation::Close {
        id: id(n),
        account: account(party),
    };
    let refused = run(&mut book, close(1, ANA));
    assert!(matches!(refused, Err(LedgerError::AccountInUse { .. })));
    run(&mut book, close(1, BEN)).unwrap();
    assert!(run(&mut book, close(1, BEN)).unwrap().replayed);
    for operation in [close(2, BEN), debit(2, ANA, BEN, 1), pending(2, 1, None)] {
        let refused = run(&mut book, operation);
        assert!(matches!(refused, Err(LedgerError::AccountClosed { .. })));
    }
}

#[test]
fn codes_and_user_data_are_kept_and_compared() {
    let mut book = ten();
    let pay = |code| {
        let Operation::Transfer {
            id,
            from,
            to,
            amount,
            ..
        } = debit(1, ANA, BEN, 5)
        else {
            unreachable!("a debit is a transfer")
        };
        let reference = *b"invoice 2026-017";
        Operation::Transfer {
            id,
            from,
            to,
            amount,
            memo: Memo { code, reference },
        }
    };
    let receipt = run(&mut book, pay(7)).unwrap();
    assert_eq!(receipt.entry.kind.memo().reference, *b"invoice 2026-017");
    assert!(run(&mut book, pay(7)).unwrap().replayed);
    // TigerBeetle: `exists_with_different_code`.
    let refused = run(&mut book, pay(8));
    assert!(matches!(refused, Err(LedgerError::IdReused { .. })));
}
