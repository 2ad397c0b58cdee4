//! A small world for the unit tests: a mint, two holders of credits, one of another asset.

use fogcompute_base::{AccountId, Digest, NodeId, TransferId, UnixMillis};

use crate::economy::{Economy, Event};
use crate::{
    AccountKind, Amount, AssetId, Book, EntryKind, Limits, Memo, Operation, PublicKey, earning,
    staking,
};

pub(crate) const MINT: u8 = 1;
pub(crate) const ANA: u8 = 2;
pub(crate) const BEN: u8 = 3;
/// Holds another asset than the others.
pub(crate) const OTHER: u8 = 4;
pub(crate) const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

pub(crate) fn account(n: u8) -> AccountId {
    AccountId::from_bytes([n; 16])
}

pub(crate) fn id(n: u8) -> TransferId {
    TransferId::from_bytes([n; 16])
}

pub(crate) fn open(n: u8, asset: u32, kind: AccountKind) -> Operation {
    Operation::Open {
        account: account(n),
        asset: AssetId(asset),
        kind,
    }
}

pub(crate) fn transfer(n: u8, from: u8, to: u8, amount: u128) -> Operation {
    Operation::Transfer {
        id: id(n),
        from: account(from),
        to: account(to),
        amount: Amount(amount),
        memo: Memo::NONE,
    }
}

pub(crate) fn reserve(n: u8, from: u8, to: u8, amount: u128, expires: Option<u64>) -> Operation {
    Operation::Reserve {
        id: id(n),
        from: account(from),
        to: account(to),
        amount: Amount(amount),
        expires: expires.map(UnixMillis),
        memo: Memo::NONE,
    }
}

pub(crate) fn post(n: u8, reservation: u8, amount: Option<u128>) -> Operation {
    Operation::Post {
        id: id(n),
        reservation: id(reservation),
        amount: amount.map(Amount),
    }
}

pub(crate) fn void(n: u8, reservation: u8) -> Operation {
    Operation::Void {
        id: id(n),
        reservation: id(reservation),
    }
}

/// Opens the accounts and mints for Ana, under id 200.
pub(crate) fn setting_up(amount: u128) -> Vec<Operation> {
    vec![
        open(MINT, 0, AccountKind::Issuer),
        open(ANA, 0, AccountKind::Holder),
        open(BEN, 0, AccountKind::Holder),
        open(OTHER, 1, AccountKind::Holder),
        transfer(200, MINT, ANA, amount),
    ]
}

/// A book in which Ana has that much.
pub(crate) fn funded(amount: u128) -> Book {
    let mut book = Book::new();
    book.execute(&setting_up(amount), NOW)
        .expect("the set-up is valid");
    book
}

/// Entries of every kind, that have nothing to do with each other.
pub(crate) fn every_kind() -> Vec<EntryKind> {
    let (from, to) = (account(1), account(2));
    let node = NodeId::from_bytes([3; 32]);
    vec![
        EntryKind::Opened {
            account: from,
            asset: AssetId(7),
            kind: AccountKind::Issuer,
        },
        EntryKind::Transferred {
            id: id(1),
            from,
            to,
            amount: Amount(10),
            memo: Memo::NONE,
        },
        EntryKind::Reserved {
            id: id(2),
            from,
            to,
            amount: Amount(9),
            expires: Some(UnixMillis(99)),
            memo: Memo::NONE,
        },
        EntryKind::Reserved {
            id: id(3),
            from,
            to,
            amount: Amount(8),
            expires: None,
            memo: Memo {
                code: 7,
                reference: [8; 16],
            },
        },
        EntryKind::Posted {
            id: id(4),
            reservation: id(3),
            from,
            to,
            amount: Amount(5),
            released: Amount(3),
        },
        EntryKind::Voided {
            id: id(5),
            reservation: id(6),
            from,
            to,
            released: Amount(4),
        },
        EntryKind::Expired {
            reservation: id(2),
            from,
            to,
            released: Amount(9),
        },
        EntryKind::Limited {
            id: id(7),
            account: from,
            limits: Limits::default(),
        },
        EntryKind::Limited {
            id: id(8),
            account: from,
            limits: Limits {
                max_supply: Some(Amount(50)),
                credits_must_not_exceed_debits: true,
                spend_per_day: Some(Amount(40)),
            },
        },
        EntryKind::Closed {
            id: id(9),
            account: to,
        },
        EntryKind::Owned {
            id: id(10),
            account: from,
            key: PublicKey::from_bytes([3; 32]),
        },
        EntryKind::Signed {
            account: from,
            nonce: 1,
            digest: Digest::of(b""),
        },
        EntryKind::Economy {
            id: id(12),
            event: Box::new(Event::ParameterSet {
                name: "supply.max".to_owned(),
                value: 5,
            }),
        },
        EntryKind::Economy {
            id: id(13),
            event: Box::new(Event::Staking(staking::EventKind::Unjailed {
                operator: node,
            })),
        },
        EntryKind::Economy {
            id: id(14),
            event: Box::new(Event::Earning(earning::EventKind::FeePaid {
                payer: from,
                payee: to,
                split: earning::FeeSplit {
                    treasury: Amount(1),
                    sovereign_fund: Amount(2),
                    payee: Amount(3),
                },
            })),
        },
        EntryKind::Economy {
            id: id(15),
            event: Box::new(Event::Configured(Economy::default())),
        },
        EntryKind::Matured {
            event: Box::new(staking::EventKind::Released {
                operator: node,
                delegator: from,
                entry: 6,
                amount: Amount(7),
            }),
        },
        EntryKind::Moved {
            cause: 8,
            from,
            to,
            amount: Amount(9),
        },
    ]
}
