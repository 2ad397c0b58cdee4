//! Random batches against a model that is too simple to be wrong: signed balances in a map.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;

use fogcompute_base::{AccountId, TransferId, UnixMillis};
use fogcompute_ledger::{
    AccountKind, Amount, AssetId, Book, Entry, Head, LedgerError, Operation, Receipt, verify_chain,
};
use proptest::prelude::*;

/// Why the model refuses; the amounts are compared through the balances.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Refusal {
    Reused,
    Exists,
    Zero,
    Same,
    UnknownAccount,
    Assets,
    UnknownReservation,
    NotAReservation,
    Exceeds,
    Posted,
    Voided,
    Expired,
    Past,
    Funds,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    Open,
    Posted,
    Voided,
    Expired,
}

#[derive(Clone, Debug)]
struct Held {
    from: AccountId,
    to: AccountId,
    amount: i128,
    expires: Option<UnixMillis>,
    fate: Fate,
}

#[derive(Clone, Debug, Default)]
struct Model {
    accounts: BTreeMap<AccountId, (AssetId, AccountKind)>,
    balances: BTreeMap<AccountId, i128>,
    held: BTreeMap<TransferId, Held>,
    /// What each id was used for; an open amount of a post is filled in.
    used: BTreeMap<TransferId, Operation>,
}

impl Model {
    fn available(&self, account: AccountId) -> i128 {
        let held: i128 = self
            .held
            .values()
            .filter(|held| held.fate == Fate::Open && held.from == account)
            .map(|held| held.amount)
            .sum();
        self.balances[&account] - held
    }

    fn parties(&self, from: AccountId, to: AccountId, amount: Amount) -> Result<(), Refusal> {
        if amount.is_zero() {
            return Err(Refusal::Zero);
        }
        if from == to {
            return Err(Refusal::Same);
        }
        let asset = |account| self.accounts.get(&account).map(|(asset, _)| *asset);
        match (asset(from), asset(to)) {
            (Some(a), Some(b)) if a == b => Ok(()),
            (Some(_), Some(_)) => Err(Refusal::Assets),
            _ => Err(Refusal::UnknownAccount),
        }
    }

    fn funds(&self, from: AccountId, amount: Amount) -> Result<i128, Refusal> {
        let amount = signed(amount);
        let bottomless = self.accounts[&from].1 == AccountKind::Issuer;
        if bottomless || self.available(from) >= amount {
            Ok(amount)
        } else {
            Err(Refusal::Funds)
        }
    }

    fn held(&mut self, reservation: TransferId) -> Result<&mut Held, Refusal> {
        let missing = match self.used.get(&reservation) {
            Some(_) => Refusal::NotAReservation,
            None => Refusal::UnknownReservation,
        };
        self.held.get_mut(&reservation).ok_or(missing)
    }

    fn usable(held: &Held, now: UnixMillis) -> Result<(), Refusal> {
        match held.fate {
            Fate::Posted => Err(Refusal::Posted),
            Fate::Voided => Err(Refusal::Voided),
            Fate::Expired => Err(Refusal::Expired),
            Fate::Open if held.expires.is_some_and(|expires| expires <= now) => {
                Err(Refusal::Expired)
            }
            Fate::Open => Ok(()),
        }
    }

    fn shift(&mut self, from: AccountId, to: AccountId, amount: i128) {
        *self.balances.get_mut(&from).expect("checked") -= amount;
        *self.balances.get_mut(&to).expect("checked") += amount;
    }

    /// Does one operation; `true` if it is a repeat.
    fn step(&mut self, operation: Operation, now: UnixMillis) -> Result<bool, Refusal> {
        let id = match operation {
            Operation::Open {
                account,
                asset,
                kind,
            } => {
                return match self.accounts.get(&account) {
                    Some(open) if *open == (asset, kind) => Ok(true),
                    Some(_) => Err(Refusal::Exists),
                    None => {
                        self.accounts.insert(account, (asset, kind));
                        self.balances.insert(account, 0);
                        Ok(false)
                    }
                };
            }
            Operation::Transfer { id, .. }
            | Operation::Reserve { id, .. }
            | Operation::Post { id, .. }
            | Operation::Void { id, .. } => id,
            _ => unreachable!("the generator makes no others"),
        };
        // A post of everything is recorded with the amount it came to.
        let mut operation = operation;
        if let Operation::Post {
            reservation,
            amount: amount @ None,
            ..
        } = &mut operation
        {
            *amount = self
                .held
                .get(reservation)
                .map(|held| Amount(held.amount.unsigned_abs()));
        }
        if let Some(first) = self.used.get(&id) {
            return if *first == operation {
                Ok(true)
            } else {
                Err(Refusal::Reused)
            };
        }
        match operation {
            Operation::Transfer {
                from, to, amount, ..
            } => {
                self.parties(from, to, amount)?;
                let amount = self.funds(from, amount)?;
                self.shift(from, to, amount);
            }
            Operation::Reserve {
                from,
                to,
                amount,
                expires,
                ..
            } => {
                self.parties(from, to, amount)?;
                if expires.is_some_and(|expires| expires <= now) {
                    return Err(Refusal::Past);
                }
                let amount = self.funds(from, amount)?;
                let held = Held {
                    from,
                    to,
                    amount,
                    expires,
                    fate: Fate::Open,
                };
                self.held.insert(id, held);
            }
            Operation::Post {
                reservation,
                amount,
                ..
            } => {
                if amount == Some(Amount::ZERO) {
                    return Err(Refusal::Zero);
                }
                let held = self.held(reservation)?;
                let amount = signed(amount.expect("filled in above"));
                if amount > held.amount {
                    return Err(Refusal::Exceeds);
                }
                Self::usable(held, now)?;
                held.fate = Fate::Posted;
                let (from, to) = (held.from, held.to);
                self.shift(from, to, amount);
            }
            Operation::Void { reservation, .. } => {
                let held = self.held(reservation)?;
                Self::usable(held, now)?;
                held.fate = Fate::Voided;
            }
            _ => unreachable!("handled above"),
        }
        self.used.insert(id, operation);
        Ok(false)
    }

    fn batch(&mut self, batch: &[Operation], now: UnixMillis) -> Result<Vec<bool>, Refusal> {
        let mut copy = self.clone();
        let steps = batch.iter().map(|step| copy.step(*step, now));
        let replayed: Result<Vec<bool>, Refusal> = steps.collect();
        if replayed.is_ok() {
            *self = copy;
        }
        replayed
    }

    fn expire(&mut self, now: UnixMillis) -> usize {
        let due: Vec<_> = self
            .held
            .values_mut()
            .filter(|held| held.fate == Fate::Open && held.expires.is_some_and(|it| it <= now))
            .collect();
        let count = due.len();
        due.into_iter().for_each(|held| held.fate = Fate::Expired);
        count
    }
}

fn signed(amount: Amount) -> i128 {
    i128::try_from(amount.0).expect("amounts are small")
}

fn refusal(error: LedgerError) -> Refusal {
    match error {
        LedgerError::IdReused { .. } => Refusal::Reused,
        LedgerError::AccountExists { .. } => Refusal::Exists,
        LedgerError::ZeroAmount { .. } => Refusal::Zero,
        LedgerError::SameAccount { .. } => Refusal::Same,
        LedgerError::UnknownAccount { .. } => Refusal::UnknownAccount,
        LedgerError::AssetMismatch { .. } => Refusal::Assets,
        LedgerError::UnknownReservation { .. } => Refusal::UnknownReservation,
        LedgerError::NotAReservation { .. } => Refusal::NotAReservation,
        LedgerError::PostExceedsReservation { .. } => Refusal::Exceeds,
        LedgerError::ReservationPosted { .. } => Refusal::Posted,
        LedgerError::ReservationVoided { .. } => Refusal::Voided,
        LedgerError::ReservationExpired { .. } => Refusal::Expired,
        LedgerError::ExpiresInPast { .. } => Refusal::Past,
        LedgerError::InsufficientFunds { .. } => Refusal::Funds,
        other => unreachable!("small amounts and batches cannot give {other}"),
    }
}

#[derive(Clone, Debug)]
enum Step {
    Batch(Vec<Operation>, UnixMillis),
    Expire(UnixMillis),
}

fn account() -> impl Strategy<Value = AccountId> {
    (0..6_u8).prop_map(|n| AccountId::from_bytes([n; 16]))
}

fn id() -> impl Strategy<Value = TransferId> {
    (0..24_u8).prop_map(|n| TransferId::from_bytes([n; 16]))
}

fn amount() -> impl Strategy<Value = Amount> {
    (0..20_u128).prop_map(Amount)
}

fn time() -> impl Strategy<Value = UnixMillis> {
    (0..60_u64).prop_map(UnixMillis)
}

fn operation() -> impl Strategy<Value = Operation> {
    let kind = prop_oneof![Just(AccountKind::Issuer), Just(AccountKind::Holder)];
    let asset = prop_oneof![9 => Just(AssetId(0)), 1 => Just(AssetId(1))];
    prop_oneof![
        1 => (account(), asset, kind)
            .prop_map(|(account, asset, kind)| Operation::Open { account, asset, kind }),
        4 => (id(), account(), account(), amount())
            .prop_map(|(id, from, to, amount)| Operation::Transfer { id, from, to, amount }),
        4 => (id(), account(), account(), amount(), proptest::option::of(time())).prop_map(
            |(id, from, to, amount, expires)| Operation::Reserve { id, from, to, amount, expires }
        ),
        4 => (id(), id(), proptest::option::of(amount())).prop_map(
            |(id, reservation, amount)| Operation::Post { id, reservation, amount }
        ),
        2 => (id(), id()).prop_map(|(id, reservation)| Operation::Void { id, reservation }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (proptest::collection::vec(operation(), 1..4), time())
            .prop_map(|(batch, now)| Step::Batch(batch, now)),
        1 => time().prop_map(Step::Expire),
    ]
}

/// Opens an issuer, three holders and one holder of another asset, and mints for two holders, so
/// that random operations have something to work with.
fn opening() -> Vec<Operation> {
    let account = |n| AccountId::from_bytes([n; 16]);
    let open = |n, asset, kind| Operation::Open {
        account: account(n),
        asset: AssetId(asset),
        kind,
    };
    let mint = |n, to| Operation::Transfer {
        id: TransferId::from_bytes([n; 16]),
        from: account(0),
        to: account(to),
        amount: Amount(30),
    };
    vec![
        open(0, 0, AccountKind::Issuer),
        open(1, 0, AccountKind::Holder),
        open(2, 0, AccountKind::Holder),
        open(3, 0, AccountKind::Holder),
        open(4, 1, AccountKind::Holder),
        mint(0, 1),
        mint(1, 2),
    ]
}

fn compare(book: &Book, model: &Model) -> Result<(), TestCaseError> {
    prop_assert_eq!(book.check(), Ok(()));
    prop_assert_eq!(book.accounts().len(), model.accounts.len());
    let mut sums = BTreeMap::<AssetId, i128>::new();
    for account in book.accounts() {
        let balance = signed(account.credits_posted) - signed(account.debits_posted);
        prop_assert_eq!(balance, model.balances[&account.id]);
        prop_assert_eq!((account.asset, account.kind), model.accounts[&account.id]);
        if account.kind == AccountKind::Holder {
            prop_assert!(balance >= 0);
            prop_assert_eq!(signed(account.available()), model.available(account.id));
        }
        *sums.entry(account.asset).or_default() += balance;
    }
    prop_assert!(sums.values().all(|sum| *sum == 0));
    let open = |held: &&Held| held.fate == Fate::Open;
    prop_assert_eq!(
        book.open_reservations().len(),
        model.held.values().filter(open).count()
    );
    let expiries = model.held.values().filter(open);
    prop_assert_eq!(
        book.next_expiry(),
        expiries.filter_map(|held| held.expires).min()
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn book_does_what_the_model_does(steps in proptest::collection::vec(step(), 1..60)) {
        let mut book = Book::new();
        let mut model = Model::default();
        let mut entries: Vec<Entry> = Vec::new();
        let mut first = BTreeMap::<TransferId, Receipt>::new();
        let opening = Step::Batch(opening(), UnixMillis(0));
        for step in std::iter::once(opening).chain(steps) {
            let before = book.clone();
            match step {
                Step::Expire(now) => {
                    let plan = book.expire(now);
                    entries.extend_from_slice(plan.entries());
                    let receipts = book.commit(plan).unwrap();
                    prop_assert_eq!(receipts.len(), model.expire(now));
                }
                Step::Batch(batch, now) => {
                    let planned = book.plan(&batch, now);
                    prop_assert_eq!(&book, &before);
                    let expected = model.batch(&batch, now);
                    let replayed = planned.as_ref().map_err(|error| refusal(*error)).map(|plan| {
                        plan.receipts().iter().map(|receipt| receipt.replayed).collect()
                    });
                    prop_assert_eq!(replayed, expected);
                    if let Ok(plan) = planned {
                        entries.extend_from_slice(plan.entries());
                        for receipt in book.commit(plan).unwrap() {
                            if let Some(id) = receipt.entry.kind.id() {
                                let known = first.entry(id).or_insert(receipt);
                                prop_assert_eq!(known.entry, receipt.entry);
                                prop_assert!(receipt.replayed || *known == receipt);
                            }
                        }
                    }
                }
            }
            compare(&book, &model)?;
        }
        prop_assert_eq!(verify_chain(Head::GENESIS, &entries), Ok(book.head()));
        let accounts: Vec<_> = book.accounts().copied().collect();
        prop_assert_eq!(Book::restore(entries, accounts), Ok(book));
    }
}
