//! A book under any batches: it stays balanced, a refused batch changes nothing, and its history
//! gives it back.

#![no_main]

use arbitrary::Arbitrary;
use fogcompute_base::{AccountId, TransferId, UnixMillis};
use fogcompute_ledger::{AccountKind, Amount, AssetId, Book, Memo, Operation, verify_chain};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Step {
    Open {
        account: u8,
        asset: bool,
        issuer: bool,
    },
    Transfer {
        id: u8,
        from: u8,
        to: u8,
        amount: u128,
    },
    Reserve {
        id: u8,
        from: u8,
        to: u8,
        amount: u128,
        expires: Option<u16>,
    },
    Post {
        id: u8,
        reservation: u8,
        amount: Option<u128>,
    },
    Void {
        id: u8,
        reservation: u8,
    },
}

fn account(number: u8) -> AccountId {
    AccountId::from_bytes([number % 6; 16])
}

fn transfer(number: u8) -> TransferId {
    TransferId::from_bytes([number % 32; 16])
}

fn operation(step: Step) -> Operation {
    match step {
        Step::Open {
            account: number,
            asset,
            issuer,
        } => Operation::Open {
            account: account(number),
            asset: AssetId(u32::from(asset)),
            kind: if issuer {
                AccountKind::Issuer
            } else {
                AccountKind::Holder
            },
        },
        Step::Transfer {
            id,
            from,
            to,
            amount,
        } => Operation::Transfer {
            id: transfer(id),
            from: account(from),
            to: account(to),
            amount: Amount(amount),
            memo: Memo::NONE,
        },
        Step::Reserve {
            id,
            from,
            to,
            amount,
            expires,
        } => Operation::Reserve {
            id: transfer(id),
            from: account(from),
            to: account(to),
            amount: Amount(amount),
            expires: expires.map(|time| UnixMillis(u64::from(time))),
            memo: Memo::NONE,
        },
        Step::Post {
            id,
            reservation,
            amount,
        } => Operation::Post {
            id: transfer(id),
            reservation: transfer(reservation),
            amount: amount.map(Amount),
        },
        Step::Void { id, reservation } => Operation::Void {
            id: transfer(id),
            reservation: transfer(reservation),
        },
    }
}

fuzz_target!(|batches: Vec<(Vec<Step>, u16)>| {
    let mut book = Book::new();
    let mut history = Vec::new();
    for (batch, millis) in batches {
        let now = UnixMillis(u64::from(millis));
        let due = book.expire(now);
        history.extend_from_slice(due.entries());
        book.commit(due).expect("the plan was made just now");
        let batch: Vec<_> = batch.into_iter().map(operation).collect();
        let before = book.clone();
        match book.plan(&batch, now) {
            Ok(plan) => {
                assert_eq!(plan.receipts().len(), batch.len());
                history.extend_from_slice(plan.entries());
                book.commit(plan).expect("the plan was made just now");
            }
            Err(_) => assert_eq!(book, before),
        }
        assert_eq!(book.check(), Ok(()));
    }
    assert_eq!(verify_chain(Default::default(), &history), Ok(book.head()));
    let restored = Book::restore(history, book.accounts().copied());
    assert_eq!(restored, Ok(book));
});
