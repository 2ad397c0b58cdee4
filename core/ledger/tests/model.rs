//! Random batches against a model that is too simple to be wrong: signed balances in a map.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};

use fogcompute_base::{AccountId, TransferId, UnixMillis};
use fogcompute_ledger::{
    AccountKind, Amount, AssetId, Batch, Book, Entry, Head, LedgerError, Limits, Memo, Operation,
    Receipt, Restore, Snapshot, verify_chain,
};
use proptest::prelude::*;

const DAY: u64 = 86_400_000;

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
    Closed,
    InUse,
    NotIssuer,
    Supply,
    Returned,
    Quota,
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
    limits: BTreeMap<AccountId, Limits>,
    closed: BTreeSet<AccountId>,
    /// What each account has spent on each day that it could have been.
    spent: BTreeMap<(AccountId, u64), i128>,
    /// The last day on which an account spent something.
    last_day: BTreeMap<AccountId, u64>,
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
        for account in [from, to] {
            if asset(account).is_none() {
                return Err(Refusal::UnknownAccount);
            }
            if self.closed.contains(&account) {
                return Err(Refusal::Closed);
            }
        }
        match (asset(from), asset(to)) {
            (Some(a), Some(b)) if a == b => Ok(()),
            (Some(_), Some(_)) => Err(Refusal::Assets),
            _ => Err(Refusal::UnknownAccount),
        }
    }

    /// What is out of an issuer or promised from it, and what may come back to it.
    fn out(&self, issuer: AccountId) -> (i128, i128) {
        let open = self.held.values().filter(|held| held.fate == Fate::Open);
        let (mut from, mut to) = (0, 0);
        for held in open {
            from += if held.from == issuer { held.amount } else { 0 };
            to += if held.to == issuer { held.amount } else { 0 };
        }
        let balance = self.balances[&issuer];
        (from - balance, -balance - to)
    }

    fn spend(&mut self, from: AccountId, amount: i128, now: UnixMillis) -> Result<(), Refusal> {
        let today = (now.0 / DAY).max(self.last_day.get(&from).copied().unwrap_or(0));
        let spent = self.spent.get(&(from, today)).copied().unwrap_or(0) + amount;
        let quota = self.limits.get(&from).and_then(|it| it.spend_per_day);
        if quota.is_some_and(|quota| spent > signed(quota)) {
            return Err(Refusal::Quota);
        }
        self.spent.insert((from, today), spent);
        self.last_day.insert(from, today);
        Ok(())
    }

    fn funds(&self, from: AccountId, to: AccountId, amount: Amount) -> Result<i128, Refusal> {
        let amount = signed(amount);
        let limits = |account| self.limits.get(&account).copied().unwrap_or_default();
        let cap = limits(from).max_supply.map(signed);
        if cap
            .is_some_and(|cap| self.out(from).0.max(0) + amount > cap.max(self.out(from).0.max(0)))
        {
            return Err(Refusal::Supply);
        }
        if limits(to).credits_must_not_exceed_debits && amount > self.out(to).1.max(0) {
            return Err(Refusal::Returned);
        }
        let bottomless = self.accounts[&from].1 == AccountKind::Issuer;
        if bottomless || self.available(from) >= amount {
            Ok(amount)
        } else {
            Err(Refusal::Funds)
        }
    }

    fn usable_account(&self, account: AccountId) -> Result<AccountKind, Refusal> {
        let Some((_, kind)) = self.accounts.get(&account) else {
            return Err(Refusal::UnknownAccount);
        };
        if self.closed.contains(&account) {
            return Err(Refusal::Closed);
        }
        Ok(*kind)
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
            | Operation::Void { id, .. }
            | Operation::Limit { id, .. }
            | Operation::Close { id, .. } => id,
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
                let amount = self.funds(from, to, amount)?;
                self.spend(from, amount, now)?;
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
                let amount = self.funds(from, to, amount)?;
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
                let (from, to) = (held.from, held.to);
                self.spend(from, amount, now)?;
                self.held(reservation)?.fate = Fate::Posted;
                self.shift(from, to, amount);
            }
            Operation::Void { reservation, .. } => {
                let held = self.held(reservation)?;
                Self::usable(held, now)?;
                held.fate = Fate::Voided;
            }
            Operation::Limit {
                account, limits, ..
            } => {
                let kind = self.usable_account(account)?;
                let of_supply =
                    limits.max_supply.is_some() || limits.credits_must_not_exceed_debits;
                if of_supply && kind != AccountKind::Issuer {
                    return Err(Refusal::NotIssuer);
                }
                self.limits.insert(account, limits);
            }
            Operation::Close { account, .. } => {
                let kind = self.usable_account(account)?;
                let held = self.held.values().filter(|held| held.fate == Fate::Open);
                let named = held.filter(|held| held.from == account || held.to == account);
                let holds = kind == AccountKind::Holder && self.balances[&account] != 0;
                if holds || named.count() > 0 {
                    return Err(Refusal::InUse);
                }
                self.closed.insert(account);
            }
            _ => unreachable!("handled above"),
        }
        self.used.insert(id, operation);
        Ok(false)
    }

    fn batch(&mut self, batch: &[Operation], now: UnixMillis) -> Result<Vec<bool>, Refusal> {
        let mut copy = self.clone();
        let steps = batch.iter().map(|step| copy.step(step.clone(), now));
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
        LedgerError::AccountClosed { .. } => Refusal::Closed,
        LedgerError::AccountInUse { .. } => Refusal::InUse,
        LedgerError::NotAnIssuer { .. } => Refusal::NotIssuer,
        LedgerError::SupplyExceeded { .. } => Refusal::Supply,
        LedgerError::CreditsExceedDebits { .. } => Refusal::Returned,
        LedgerError::QuotaExceeded { .. } => Refusal::Quota,
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

/// Some of these are on the next day.
fn time() -> impl Strategy<Value = UnixMillis> {
    (0..60_u64).prop_map(|n| UnixMillis(DAY - 40 + n))
}

fn memo() -> impl Strategy<Value = Memo> {
    (0..3_u16).prop_map(|code| Memo { code, ..Memo::NONE })
}

fn limits() -> impl Strategy<Value = Limits> {
    let cap = || proptest::option::of((0..90_u128).prop_map(Amount));
    (
        prop_oneof![3 => Just(None), 1 => cap()],
        any::<bool>(),
        cap(),
    )
        .prop_map(|(max_supply, returned, spend_per_day)| Limits {
            max_supply,
            credits_must_not_exceed_debits: max_supply.is_some() && returned,
            spend_per_day,
        })
}

fn operation() -> impl Strategy<Value = Operation> {
    let kind = prop_oneof![Just(AccountKind::Issuer), Just(AccountKind::Holder)];
    let asset = prop_oneof![9 => Just(AssetId(0)), 1 => Just(AssetId(1))];
    prop_oneof![
        1 => (account(), asset, kind)
            .prop_map(|(account, asset, kind)| Operation::Open { account, asset, kind }),
        4 => (id(), account(), account(), amount(), memo()).prop_map(
            |(id, from, to, amount, memo)| Operation::Transfer { id, from, to, amount, memo }
        ),
        4 => (id(), account(), account(), amount(), proptest::option::of(time()), memo()).prop_map(
            |(id, from, to, amount, expires, memo)| {
                Operation::Reserve { id, from, to, amount, expires, memo }
            }
        ),
        1 => (id(), account(), limits())
            .prop_map(|(id, account, limits)| Operation::Limit { id, account, limits }),
        1 => (id(), account()).prop_map(|(id, account)| Operation::Close { id, account }),
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
        memo: Memo::NONE,
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
        prop_assert_eq!(account.closed, model.closed.contains(&account.id));
        let limits = model.limits.get(&account.id).copied().unwrap_or_default();
        prop_assert_eq!(account.limits, limits);
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
        // What a store would have: the segments of a snapshot, and how far they go.
        let mut segments = Vec::<Vec<u8>>::new();
        let mut records = Vec::<Vec<u8>>::new();
        let mut taken = 0;
        for step in std::iter::once(opening).chain(steps) {
            let before = book.clone();
            match step {
                Step::Expire(now) => {
                    let plan = book.expire(now);
                    if !plan.is_empty() {
                        records.push(plan.record());
                    }
                    entries.extend_from_slice(plan.entries());
                    let receipts = book.commit(plan).unwrap();
                    prop_assert_eq!(receipts.len(), model.expire(now));
                }
                Step::Batch(batch, now) => {
                    let planned = book.plan(&batch, now);
                    prop_assert_eq!(&book, &before);
                    let expected = model.batch(&batch, now);
                    let replayed = planned.as_ref().map_err(|error| refusal(error.clone())).map(|plan| {
                        plan.receipts().iter().map(|receipt| receipt.replayed).collect()
                    });
                    prop_assert_eq!(replayed, expected);
                    if let Ok(plan) = planned {
                        if !plan.is_empty() {
                            records.push(plan.record());
                        }
                        entries.extend_from_slice(plan.entries());
                        for receipt in book.commit(plan).unwrap() {
                            if let Some(id) = receipt.entry.kind.id() {
                                let known = first.entry(id).or_insert_with(|| receipt.clone());
                                prop_assert_eq!(&known.entry, &receipt.entry);
                                prop_assert!(receipt.replayed || *known == receipt);
                            }
                        }
                    }
                }
            }
            compare(&book, &model)?;
            // Every third record ends a segment; the book is what snapshot and journal make of it.
            let batches: Vec<Batch> =
                records.iter().map(|record| Batch::decode(record).unwrap()).collect();
            if batches.len().is_multiple_of(3) && batches.len() > taken {
                segments.push(book.ids_of(&batches[taken..]));
                taken = batches.len();
                let bytes = segments.iter().map(Vec::len).sum();
                let mut snapshot = Snapshot::new(&book.image(), bytes).unwrap();
                for segment in &segments {
                    snapshot.push(segment).unwrap();
                }
                prop_assert_eq!(&snapshot.finish().unwrap(), book.state());
            }
            let mut again = Restore::new();
            for batch in &batches {
                let chain = again.state().head().chain;
                again.push(&batch.entries(chain)).unwrap();
            }
            prop_assert_eq!(again.state(), book.state());
        }
        prop_assert_eq!(verify_chain(Head::GENESIS, &entries), Ok(book.head()));
        let accounts: Vec<_> = book.accounts().copied().collect();
        prop_assert_eq!(Book::restore(entries, accounts), Ok(book));
    }
}
