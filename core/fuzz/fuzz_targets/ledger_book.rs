//! A book under any batches: it stays balanced, a refused batch changes nothing, and its history
//! gives it back.

#![no_main]

use arbitrary::Arbitrary;
use fogcompute_base::{AccountId, NodeId, TransferId, UnixMillis};
use fogcompute_ledger::economy::{Economy, Request};
use fogcompute_ledger::staking::{Evidence, Operation as Stake};
use fogcompute_ledger::{
    AccountKind, Amount, AssetId, Book, Memo, Operation, Ppm, Purse, earning, verify_chain,
};
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
    Close {
        id: u8,
        account: u8,
    },
    Found {
        id: u8,
    },
    Stake {
        id: u8,
        what: u8,
        operator: bool,
        account: u8,
        amount: u64,
    },
    Fee {
        id: u8,
        payer: u8,
        payee: u8,
        amount: u64,
    },
}

/// One in six accounts is a purse of the economy, which nobody may touch.

fn account(number: u8) -> AccountId {
    match number % 7 {
        6 => Purse::ALL[usize::from(number / 7) % Purse::ALL.len()].account(),
        number => AccountId::from_bytes([number; 16]),
    }
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
        Step::Close {
            id,
            account: number,
        } => Operation::Close {
            id: transfer(id),
            account: account(number),
        },
        Step::Found { id } => ask(id, Request::Configure(Economy::default())),
        Step::Stake {
            id,
            what,
            operator,
            account: number,
            amount,
        } => {
            let who = (node(operator), account(number));
            ask(id, Request::Staking(stake(what, who, amount)))
        }
        Step::Fee {
            id,
            payer,
            payee,
            amount,
        } => ask(
            id,
            Request::Earning(earning::Operation::Fee {
                payer: account(payer),
                payee: account(payee),
                amount: Amount(u128::from(amount)),
            }),
        ),
    }
}

fn node(second: bool) -> NodeId {
    NodeId::from_bytes([u8::from(second); 32])
}

fn ask(id: u8, request: Request) -> Operation {
    Operation::Economy {
        id: transfer(id),
        request: Box::new(request),
    }
}

fn stake(what: u8, (operator, delegator): (NodeId, AccountId), amount: u64) -> Stake {
    let base_units = Amount(u128::from(amount));
    match what % 12 {
        0 => Stake::Register {
            operator,
            account: delegator,
            commission: Ppm::percent(10),
        },
        1 | 2 => Stake::Bond {
            operator,
            delegator,
            amount: base_units,
        },
        3 => Stake::Unbond {
            operator,
            delegator,
            amount: Some(base_units).filter(|amount| !amount.is_zero()),
        },
        4 => Stake::CancelUnbonding {
            operator,
            delegator,
            entry: amount % 8,
            amount: None,
        },
        5 => Stake::Redelegate {
            delegator,
            from: operator,
            to: node(operator == node(false)),
            amount: Some(base_units),
        },
        6 => Stake::Claim {
            operator,
            delegator,
        },
        7 => Stake::ClaimCommission { operator },
        8 => Stake::Reward {
            operator,
            source: Purse::Account(delegator),
            amount: base_units,
        },
        9 => Stake::Reward {
            operator,
            source: Purse::Mint,
            amount: base_units,
        },
        10 => Stake::Slash {
            operator,
            evidence: Evidence::InvalidResult,
            infraction: UnixMillis(amount % 1_000),
            power: base_units,
        },
        _ => Stake::Unjail { operator },
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
