//! A small world for the unit tests: a mint, two holders of credits, one of another asset.

use fogcompute_base::{AccountId, TransferId, UnixMillis};

use crate::{AccountKind, Amount, AssetId, Book, Operation};

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
    }
}

pub(crate) fn reserve(n: u8, from: u8, to: u8, amount: u128, expires: Option<u64>) -> Operation {
    Operation::Reserve {
        id: id(n),
        from: account(from),
        to: account(to),
        amount: Amount(amount),
        expires: expires.map(UnixMillis),
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
