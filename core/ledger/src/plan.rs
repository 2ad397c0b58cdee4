//! A batch worked out against a book, not yet part of it.

use std::collections::BTreeMap;

use fogcompute_base::{AccountId, TransferId, UnixMillis};

use crate::{
    Account, Amount, Book, Entry, EntryKind, Head, LedgerError, Operation, Receipt, Reservation,
    ReservationState,
};

/// What a batch will do: for a store to write down before [`Book::commit`] makes it so.
///
/// A plan fits the one state of the book it was made for, and the book refuses it otherwise.
#[derive(Clone, Debug)]
#[must_use = "a plan does nothing until it is committed"]
pub struct Plan {
    pub(crate) base: Head,
    pub(crate) head: Head,
    pub(crate) entries: Vec<Entry>,
    pub(crate) accounts: BTreeMap<AccountId, Account>,
    pub(crate) reservations: BTreeMap<TransferId, Reservation>,
    pub(crate) receipts: Vec<Receipt>,
}

impl Plan {
    const fn new(base: Head) -> Self {
        Self {
            base,
            head: base,
            entries: Vec::new(),
            accounts: BTreeMap::new(),
            reservations: BTreeMap::new(),
            receipts: Vec::new(),
        }
    }

    /// The head of the book the plan was made for.
    #[must_use]
    pub const fn base(&self) -> Head {
        self.base
    }

    /// The head of the book once the plan is committed.
    #[must_use]
    pub const fn head(&self) -> Head {
        self.head
    }

    /// Whether it changes nothing: every operation was a repeat, or nothing was due.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// New entries, to be appended to the history in this order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Accounts that change, as they will be, by id.
    pub fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.accounts.values()
    }

    /// Reservations that change, as they will be, by id.
    pub fn reservations(&self) -> impl Iterator<Item = &Reservation> {
        self.reservations.values()
    }

    /// One receipt for every operation of the batch, in its order.
    #[must_use]
    pub fn receipts(&self) -> &[Receipt] {
        &self.receipts
    }
}

/// A plan in the making: reads through to the book where the batch has changed nothing yet.
///
/// Each step makes all its checks before it changes anything, though a draft with a refused step
/// is thrown away as a whole.
pub(crate) struct Draft<'a> {
    book: &'a Book,
    now: UnixMillis,
    plan: Plan,
    opened: BTreeMap<AccountId, Entry>,
    first: BTreeMap<TransferId, Entry>,
}

impl<'a> Draft<'a> {
    pub(crate) const fn new(book: &'a Book, now: UnixMillis) -> Self {
        Self {
            book,
            now,
            plan: Plan::new(book.head()),
            opened: BTreeMap::new(),
            first: BTreeMap::new(),
        }
    }

    pub(crate) fn finish(self) -> Plan {
        self.plan
    }

    /// Adds one operation.
    pub(crate) fn execute(&mut self, operation: &Operation) -> Result<(), LedgerError> {
        if let Some(entry) = self.earlier(operation)? {
            self.plan.receipts.push(Receipt {
                entry,
                replayed: true,
            });
            return Ok(());
        }
        let kind = match *operation {
            Operation::Open {
                account,
                asset,
                kind,
            } => {
                self.put([Account::new(account, asset, kind)]);
                EntryKind::Opened {
                    account,
                    asset,
                    kind,
                }
            }
            Operation::Transfer {
                id,
                from,
                to,
                amount,
            } => self.transfer(id, from, to, amount)?,
            Operation::Reserve {
                id,
                from,
                to,
                amount,
                expires,
            } => self.reserve(id, from, to, amount, expires)?,
            Operation::Post {
                id,
                reservation,
                amount,
            } => self.post(id, reservation, amount)?,
            Operation::Void { id, reservation } => self.void(id, reservation)?,
        };
        self.record(kind);
        Ok(())
    }

    /// Releases one reservation whose time has come; `false` if it is not due.
    pub(crate) fn expire(&mut self, id: TransferId) -> bool {
        let Some(reservation) = self.reservation(id).filter(|it| it.is_due(self.now)) else {
            return false;
        };
        self.close(reservation, Amount::ZERO, ReservationState::Expired);
        self.record(EntryKind::Expired {
            reservation: id,
            from: reservation.from,
            to: reservation.to,
            released: reservation.amount,
        });
        true
    }

    /// The entry that did this operation before, if any.
    fn earlier(&self, operation: &Operation) -> Result<Option<Entry>, LedgerError> {
        let id = match *operation {
            Operation::Open {
                account,
                asset,
                kind,
            } => {
                let first = self.opened.get(&account);
                let Some(entry) = first.or_else(|| self.book.opened(account)) else {
                    return Ok(None);
                };
                let asked = EntryKind::Opened {
                    account,
                    asset,
                    kind,
                };
                if entry.kind == asked {
                    return Ok(Some(*entry));
                }
                let open = self
                    .account(account)
                    .expect("an account with an opening entry exists");
                return Err(LedgerError::AccountExists {
                    account,
                    asset: open.asset,
                    kind: open.kind,
                });
            }
            Operation::Transfer { id, .. }
            | Operation::Reserve { id, .. }
            | Operation::Post { id, .. }
            | Operation::Void { id, .. } => id,
        };
        match self.first(id) {
            None => Ok(None),
            Some(entry) if records(&entry.kind, operation) => Ok(Some(entry)),
            Some(entry) => Err(LedgerError::IdReused {
                id,
                sequence: entry.sequence,
            }),
        }
    }

    fn transfer(
        &mut self,
        id: TransferId,
        from: AccountId,
        to: AccountId,
        amount: Amount,
    ) -> Result<EntryKind, LedgerError> {
        let (mut debtor, mut creditor) = self.parties(id, from, to, amount)?;
        fits(id, &debtor, &creditor, amount)?;
        debtor.debits_posted = sum(debtor.debits_posted, amount);
        creditor.credits_posted = sum(creditor.credits_posted, amount);
        self.put([debtor, creditor]);
        Ok(EntryKind::Transferred {
            id,
            from,
            to,
            amount,
        })
    }

    fn reserve(
        &mut self,
        id: TransferId,
        from: AccountId,
        to: AccountId,
        amount: Amount,
        expires: Option<UnixMillis>,
    ) -> Result<EntryKind, LedgerError> {
        let (mut debtor, mut creditor) = self.parties(id, from, to, amount)?;
        if let Some(expires) = expires.filter(|expires| *expires <= self.now) {
            return Err(LedgerError::ExpiresInPast {
                id,
                expires,
                now: self.now,
            });
        }
        fits(id, &debtor, &creditor, amount)?;
        debtor.debits_pending = sum(debtor.debits_pending, amount);
        creditor.credits_pending = sum(creditor.credits_pending, amount);
        self.put([debtor, creditor]);
        let reservation = Reservation {
            id,
            from,
            to,
            amount,
            expires,
            state: ReservationState::Open,
        };
        self.plan.reservations.insert(id, reservation);
        Ok(EntryKind::Reserved {
            id,
            from,
            to,
            amount,
            expires,
        })
    }

    fn post(
        &mut self,
        id: TransferId,
        reservation: TransferId,
        amount: Option<Amount>,
    ) -> Result<EntryKind, LedgerError> {
        if amount == Some(Amount::ZERO) {
            return Err(LedgerError::ZeroAmount { id });
        }
        let held = self.known(id, reservation)?;
        let amount = amount.unwrap_or(held.amount);
        let Some(released) = held.amount.checked_sub(amount) else {
            return Err(LedgerError::PostExceedsReservation {
                id,
                reservation,
                reserved: held.amount,
                asked: amount,
            });
        };
        self.still_open(id, &held)?;
        self.close(held, amount, ReservationState::Posted);
        Ok(EntryKind::Posted {
            id,
            reservation,
            from: held.from,
            to: held.to,
            amount,
            released,
        })
    }

    fn void(&mut self, id: TransferId, reservation: TransferId) -> Result<EntryKind, LedgerError> {
        let held = self.known(id, reservation)?;
        self.still_open(id, &held)?;
        self.close(held, Amount::ZERO, ReservationState::Voided);
        Ok(EntryKind::Voided {
            id,
            reservation,
            from: held.from,
            to: held.to,
            released: held.amount,
        })
    }

    /// The two accounts of a movement, after the checks that need no funds.
    fn parties(
        &self,
        id: TransferId,
        from: AccountId,
        to: AccountId,
        amount: Amount,
    ) -> Result<(Account, Account), LedgerError> {
        if amount.is_zero() {
            return Err(LedgerError::ZeroAmount { id });
        }
        if from == to {
            return Err(LedgerError::SameAccount { id, account: from });
        }
        let known = |account| {
            self.account(account)
                .ok_or(LedgerError::UnknownAccount { id, account })
        };
        let (debtor, creditor) = (known(from)?, known(to)?);
        if debtor.asset != creditor.asset {
            return Err(LedgerError::AssetMismatch {
                id,
                from_asset: debtor.asset,
                to_asset: creditor.asset,
            });
        }
        Ok((debtor, creditor))
    }

    fn known(&self, id: TransferId, reservation: TransferId) -> Result<Reservation, LedgerError> {
        self.reservation(reservation)
            .ok_or(match self.first(reservation) {
                Some(_) => LedgerError::NotAReservation { id, reservation },
                None => LedgerError::UnknownReservation { id, reservation },
            })
    }

    /// Refuses a reservation that is closed or due. One that is due but not yet released answers
    /// as if it were, so that the answer does not depend on when somebody tidied up.
    fn still_open(&self, id: TransferId, held: &Reservation) -> Result<(), LedgerError> {
        let reservation = held.id;
        match held.state {
            ReservationState::Posted => Err(LedgerError::ReservationPosted { id, reservation }),
            ReservationState::Voided => Err(LedgerError::ReservationVoided { id, reservation }),
            ReservationState::Open if !held.is_due(self.now) => Ok(()),
            ReservationState::Open | ReservationState::Expired => {
                Err(LedgerError::ReservationExpired {
                    id,
                    reservation,
                    expires: held.expires.expect("only what has an expiry expires"),
                })
            }
        }
    }

    /// Takes an open reservation off both pending counters and posts `moved` of it.
    fn close(&mut self, held: Reservation, moved: Amount, state: ReservationState) {
        let party = |account| {
            self.account(account)
                .expect("a reservation names accounts that exist")
        };
        let (mut debtor, mut creditor) = (party(held.from), party(held.to));
        debtor.debits_pending = difference(debtor.debits_pending, held.amount);
        creditor.credits_pending = difference(creditor.credits_pending, held.amount);
        debtor.debits_posted = sum(debtor.debits_posted, moved);
        creditor.credits_posted = sum(creditor.credits_posted, moved);
        self.put([debtor, creditor]);
        self.plan
            .reservations
            .insert(held.id, Reservation { state, ..held });
    }

    fn record(&mut self, kind: EntryKind) {
        let entry = Entry::after(self.plan.head, self.now, kind);
        if let EntryKind::Opened { account, .. } = kind {
            self.opened.insert(account, entry);
        }
        if let Some(id) = kind.id() {
            self.first.insert(id, entry);
        }
        self.plan.head = entry.head();
        self.plan.entries.push(entry);
        self.plan.receipts.push(Receipt {
            entry,
            replayed: false,
        });
    }

    fn put<const N: usize>(&mut self, accounts: [Account; N]) {
        self.plan
            .accounts
            .extend(accounts.map(|account| (account.id, account)));
    }

    fn account(&self, id: AccountId) -> Option<Account> {
        let changed = self.plan.accounts.get(&id);
        changed.or_else(|| self.book.account(id)).copied()
    }

    fn reservation(&self, id: TransferId) -> Option<Reservation> {
        let changed = self.plan.reservations.get(&id);
        changed.or_else(|| self.book.reservation(id)).copied()
    }

    fn first(&self, id: TransferId) -> Option<Entry> {
        let new = self.first.get(&id);
        new.or_else(|| self.book.entry(id)).copied()
    }
}

/// Whether the entry is what the operation asks for.
fn records(kind: &EntryKind, operation: &Operation) -> bool {
    match (*operation, *kind) {
        (
            Operation::Transfer {
                id,
                from,
                to,
                amount,
            },
            kind,
        ) => {
            kind == EntryKind::Transferred {
                id,
                from,
                to,
                amount,
            }
        }
        (
            Operation::Reserve {
                id,
                from,
                to,
                amount,
                expires,
            },
            kind,
        ) => {
            kind == EntryKind::Reserved {
                id,
                from,
                to,
                amount,
                expires,
            }
        }
        (
            Operation::Post {
                reservation: asked,
                amount,
                ..
            },
            EntryKind::Posted {
                reservation,
                amount: moved,
                released,
                ..
            },
        ) => {
            // Asking for all and asking for exactly all there is are the same request.
            asked == reservation && amount.map_or(released.is_zero(), |amount| amount == moved)
        }
        (
            Operation::Void {
                reservation: asked, ..
            },
            EntryKind::Voided { reservation, .. },
        ) => asked == reservation,
        _ => false,
    }
}

/// Checks that both counters can count `amount` and that the debtor has it.
fn fits(
    id: TransferId,
    debtor: &Account,
    creditor: &Account,
    amount: Amount,
) -> Result<(), LedgerError> {
    for (account, room) in [
        (debtor.id, debtor.debit_room()),
        (creditor.id, creditor.credit_room()),
    ] {
        if amount > room {
            return Err(LedgerError::Overflow {
                id,
                account,
                amount,
                room,
            });
        }
    }
    if amount > debtor.available() {
        return Err(LedgerError::InsufficientFunds {
            id,
            account: debtor.id,
            available: debtor.available(),
            needed: amount,
        });
    }
    Ok(())
}

fn sum(counter: Amount, amount: Amount) -> Amount {
    counter
        .checked_add(amount)
        .expect("room on the counter was checked, or taken over from its pending side")
}

fn difference(counter: Amount, amount: Amount) -> Amount {
    counter
        .checked_sub(amount)
        .expect("pending counters are the sums of the open reservations")
}
