//! A batch worked out against a state, not yet part of it.

mod economy;
mod governance;

use std::collections::HashMap;
use std::collections::hash_map;

use fogcompute_base::{AccountId, TransferId, UnixMillis};

use crate::economy::{Economy, Signer};
use crate::entry::Chain;
use crate::signed::SoundKey;
use crate::state::{Place, Slot};
use crate::{
    Account, AccountKind, Amount, AssetId, BATCH_ENTRIES_MAX, Batch, Entry, EntryKind, Head,
    History, LedgerError, Limits, Memo, Operation, Owner, Purse, Receipt, Reservation,
    ReservationState, SignedBatch, State, Verified, dao, earning, staking,
};

pub(crate) use governance::counts;

/// What a batch will do: for a store to write down before [`State::commit`] makes it so.
///
/// A plan fits the one state it was made for, and is refused by any other.
#[derive(Clone, Debug)]
#[must_use = "a plan does nothing until it is committed"]
pub struct Plan {
    pub(crate) base: Head,
    pub(crate) head: Head,
    time: UnixMillis,
    entries: Vec<Entry>,
    /// What the entries record, encoded.
    body: Vec<u8>,
    /// Accounts that were looked at, as they will be, with their places in the state.
    pub(crate) slots: Vec<(u32, Slot)>,
    pub(crate) ids: HashMap<TransferId, Place>,
    pub(crate) reservations: HashMap<TransferId, Reservation>,
    pub(crate) owners: HashMap<AccountId, Owner>,
    /// The key that signed the batch.
    pub(crate) key: Option<SoundKey>,
    /// The economy's rules, if they change.
    pub(crate) economy: Option<Box<Economy>>,
    pub(crate) staking: Option<Box<staking::draft::Changes>>,
    pub(crate) earning: Option<Box<earning::draft::Changes>>,
    pub(crate) dao: Option<Box<dao::draft::Changes>>,
    pub(crate) receipts: Vec<Receipt>,
}

impl Plan {
    pub(crate) fn new(base: Head, time: UnixMillis, count: usize) -> Self {
        Self {
            base,
            head: base,
            time,
            entries: Vec::with_capacity(count),
            body: Vec::with_capacity(65 * count),
            slots: Vec::new(),
            ids: HashMap::with_capacity(count),
            reservations: HashMap::new(),
            owners: HashMap::new(),
            key: None,
            economy: None,
            staking: None,
            earning: None,
            dao: None,
            receipts: Vec::with_capacity(count),
        }
    }

    /// The head of the state the plan was made for.
    #[must_use]
    pub const fn base(&self) -> Head {
        self.base
    }

    /// The head of the state once the plan is committed.
    #[must_use]
    pub const fn head(&self) -> Head {
        self.head
    }

    /// When it was made.
    #[must_use]
    pub const fn time(&self) -> UnixMillis {
        self.time
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

    /// The new entries as one record of a journal: an encoded [`Batch`].
    #[must_use]
    pub fn record(&self) -> Vec<u8> {
        let mut record = Vec::with_capacity(Batch::HEADER_BYTES + self.body.len());
        let first = self.base.sequence.saturating_add(1);
        record.extend(Batch::header(first, self.time, self.entries.len()));
        record.extend_from_slice(&self.body);
        record
    }

    /// Accounts the plan is about, as they will be, by id.
    pub fn accounts(&self) -> impl Iterator<Item = &Account> {
        let mut accounts: Vec<_> = self.slots.iter().map(|(_, slot)| &slot.account).collect();
        accounts.sort_unstable_by_key(|account| account.id);
        accounts.into_iter()
    }

    /// Reservations that change, as they will be, by id.
    pub fn reservations(&self) -> impl Iterator<Item = &Reservation> {
        let mut reservations: Vec<_> = self.reservations.values().collect();
        reservations.sort_unstable_by_key(|reservation| reservation.id);
        reservations.into_iter()
    }

    /// One receipt for every operation of the batch, in its order.
    #[must_use]
    pub fn receipts(&self) -> &[Receipt] {
        &self.receipts
    }
}

/// Who asks for what a draft does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Authority {
    /// Whoever can write the file.
    Host,
    /// The owner of an account, by signature.
    Owner,
    /// Whoever did then.
    History,
}

/// A plan in the making: reads through to the state where the batch has changed nothing yet.
///
/// Each step makes all its checks before it changes anything, though a draft with a refused step
/// is thrown away as a whole.
pub(crate) struct Draft<'a> {
    state: &'a State,
    now: UnixMillis,
    plan: Plan,
    /// Where accounts are in the plan's slots.
    touched: HashMap<AccountId, usize>,
    /// Accounts that are new.
    opened: usize,
    chain: Chain,
    /// Made when the batch first asks something of them.
    staking: Option<staking::draft::Draft<'a>>,
    earning: Option<earning::draft::Draft<'a>>,
    dao: Option<dao::Draft<'a>>,
    authority: Authority,
    weighing: governance::Weighing,
}

impl<'a> Draft<'a> {
    /// Room for `count` entries is made at once.
    pub(crate) fn new(state: &'a State, now: UnixMillis, count: usize) -> Self {
        Self {
            state,
            now,
            plan: Plan::new(state.head(), now, count),
            touched: HashMap::new(),
            opened: 0,
            chain: Chain::new(),
            staking: None,
            earning: None,
            dao: None,
            authority: Authority::Host,
            weighing: governance::Weighing::of(state),
        }
    }

    /// To do again what a history says, all of which was allowed to whoever asked for it.
    pub(crate) fn again(state: &'a State, now: UnixMillis, count: usize) -> Self {
        Self {
            authority: Authority::History,
            ..Self::new(state, now, count)
        }
    }

    /// # Errors
    /// [`LedgerError::Dao`] if voting weights overflow, which takes issuers beside the economy's.
    pub(crate) fn finish(mut self) -> Result<Plan, LedgerError> {
        self.weigh()?;
        self.plan.dao = self.dao.map(|draft| Box::new(draft.finish()));
        self.plan.staking = self.staking.map(|draft| Box::new(draft.finish()));
        self.plan.earning = self.earning.map(|draft| Box::new(draft.finish()));
        Ok(self.plan)
    }

    /// Entries made so far.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.plan.entries
    }

    /// Goes on at another time, which only a history can do: a plan has one.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub(crate) fn set_time(&mut self, now: UnixMillis) -> Result<(), LedgerError> {
        if self.now == now {
            return Ok(());
        }
        self.weigh()?;
        self.now = now;
        if let Some(staking) = &mut self.staking {
            staking.set_time(now);
        }
        if let Some(earning) = &mut self.earning {
            earning.set_time(now);
        }
        if let Some(dao) = &mut self.dao {
            dao.set_time(now);
        }
        Ok(())
    }

    /// Checks a signature, unless it was found to be of the owner's key, and takes its number.
    pub(crate) fn sign(
        &mut self,
        batch: &SignedBatch,
        verified: Option<&Verified<'_>>,
    ) -> Result<(), LedgerError> {
        let SignedBatch { account, nonce, .. } = *batch;
        if batch.expires <= self.now {
            return Err(LedgerError::SignatureExpired {
                account,
                expires: batch.expires,
                now: self.now,
            });
        }
        let owner = self
            .owner(account)
            .ok_or(LedgerError::NoOwner { account })?;
        let (key, digest) = match verified.filter(|verified| verified.key() == owner.key) {
            Some(verified) => (verified.key, verified.digest),
            None => {
                let key = self.state.keys.sound(owner.key);
                let verified = batch.verified_by(key);
                verified.ok_or(LedgerError::SignatureForged { account })?
            }
        };
        self.plan.key = Some(key);
        self.count_signature(account, nonce, owner)?;
        self.authority = Authority::Owner;
        self.record(EntryKind::Signed {
            account,
            nonce,
            digest,
        });
        Ok(())
    }

    /// Takes a signature in that was checked when it came.
    pub(crate) fn signed(&mut self, kind: EntryKind) -> Result<(), LedgerError> {
        if let EntryKind::Signed { account, nonce, .. } = kind {
            let owner = self
                .owner(account)
                .ok_or(LedgerError::NoOwner { account })?;
            self.count_signature(account, nonce, owner)?;
            self.record(kind);
        }
        Ok(())
    }

    fn count_signature(
        &mut self,
        account: AccountId,
        nonce: u64,
        owner: Owner,
    ) -> Result<(), LedgerError> {
        let next = owner.nonce.saturating_add(1);
        if nonce < next {
            return Err(LedgerError::SignatureReplayed {
                account,
                nonce,
                next,
            });
        }
        if nonce > next {
            return Err(LedgerError::NonceSkipped {
                account,
                nonce,
                next,
            });
        }
        self.plan.owners.insert(account, Owner { nonce, ..owner });
        Ok(())
    }

    fn owner(&self, account: AccountId) -> Option<Owner> {
        let changed = self.plan.owners.get(&account).copied();
        changed.or_else(|| self.state.owner(account))
    }

    /// Adds the operations of a signed batch, each if its signer may ask for it.
    pub(crate) fn owned_all<H: History + ?Sized>(
        &mut self,
        history: &H,
        batch: &SignedBatch,
    ) -> Result<(), H::Error> {
        for operation in &batch.operations {
            self.owned(batch.account, operation)?;
            self.execute(history, operation)?;
        }
        Ok(())
    }

    /// Refuses an operation that the signer of a batch has no say in.
    ///
    /// The owner of an account gives from it and reserves on it, posts what is reserved on it, and
    /// gives up what is reserved for it. What was promised is not taken back: nobody voids a
    /// reservation on their own account.
    fn owned(&self, signer: AccountId, operation: &Operation) -> Result<(), LedgerError> {
        let owner = match *operation {
            Operation::Open { account, .. } | Operation::Limit { account, .. } => {
                return Err(LedgerError::NotForOwners { signer, account });
            }
            Operation::Transfer { from, .. } | Operation::Reserve { from, .. } => Some(from),
            Operation::Close { account, .. } | Operation::Own { account, .. } => Some(account),
            // Those that are closed or unknown are refused for that, whoever asks.
            Operation::Post { reservation, .. } => self.open(reservation).map(|held| held.from),
            Operation::Void { reservation, .. } => self.open(reservation).map(|held| held.to),
            Operation::Economy { id, ref request } => {
                let of_operator = |operator| self.account_of_operator(operator);
                match request.signer(of_operator) {
                    Signer::Owner(account) => Some(account),
                    // It is refused for that, whoever asks.
                    Signer::UnknownOperator | Signer::Anyone => None,
                    Signer::Host => return Err(LedgerError::HostOnly { id, signer }),
                }
            }
        };
        match owner {
            Some(account) if account != signer => Err(LedgerError::NotTheOwner { signer, account }),
            _ => Ok(()),
        }
    }

    /// Adds one operation.
    pub(crate) fn execute<H: History + ?Sized>(
        &mut self,
        history: &H,
        operation: &Operation,
    ) -> Result<(), H::Error> {
        if let Some(entry) = self.earlier(history, operation)? {
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
                if let Some(purse) = Purse::of(account)
                    && (asset, kind) != (AssetId::CREDITS, purse.account_kind())
                {
                    return Err(H::Error::from(LedgerError::PurseAccount { account, purse }));
                }
                self.add(Account::new(account, asset, kind));
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
                memo,
            } => {
                self.free(from, to)?;
                self.transfer(id, from, to, amount)?;
                EntryKind::Transferred {
                    id,
                    from,
                    to,
                    amount,
                    memo,
                }
            }
            Operation::Reserve {
                id,
                from,
                to,
                amount,
                expires,
                memo,
            } => {
                self.free(from, to)?;
                self.reserve(id, from, to, amount, expires, memo)?
            }
            Operation::Post {
                id,
                reservation,
                amount,
            } => self.post(history, id, reservation, amount)?,
            Operation::Void { id, reservation } => self.void(history, id, reservation)?,
            Operation::Limit {
                id,
                account,
                limits,
            } => self.limit(id, account, limits)?,
            Operation::Close { id, account } => self.close_account(id, account)?,
            Operation::Own { id, account, key } => {
                self.not_a_purse(account)?;
                self.usable(id, account)?;
                let known = self.owner(account);
                // Else whoever can write the file would vote in everybody's name.
                let replaces = known.is_some_and(|owner| owner.key != key);
                if replaces && self.is_governed() && self.authority == Authority::Host {
                    let unsigned = LedgerError::SignatureRequired { id, account };
                    return Err(H::Error::from(unsigned));
                }
                let nonce = known.map_or(0, |owner| owner.nonce);
                self.plan.owners.insert(account, Owner { key, nonce });
                EntryKind::Owned { id, account, key }
            }
            Operation::Economy { id, ref request } => {
                self.permitted(id, request)?;
                return Ok(self.economy(id, request)?);
            }
        };
        self.receipt(kind);
        Ok(self.fits_a_record()?)
    }

    /// Records an entry and answers the operation with it.
    fn receipt(&mut self, kind: EntryKind) {
        let entry = self.record(kind).clone();
        self.plan.receipts.push(Receipt {
            entry,
            replayed: false,
        });
    }

    fn fits_a_record(&self) -> Result<(), LedgerError> {
        let count = self.plan.entries.len();
        if count <= BATCH_ENTRIES_MAX {
            return Ok(());
        }
        Err(LedgerError::BatchTooLong {
            count,
            limit: BATCH_ENTRIES_MAX,
        })
    }

    /// Releases one reservation whose time has come; `false` if it is not due.
    pub(crate) fn expire(&mut self, id: TransferId) -> bool {
        let Some(reservation) = self.open(id).filter(|it| it.is_due(self.now)) else {
            return false;
        };
        self.close(reservation, Amount::ZERO, ReservationState::Expired);
        self.receipt(EntryKind::Expired {
            reservation: id,
            from: reservation.from,
            to: reservation.to,
            released: reservation.amount,
        });
        true
    }

    /// The entry that did this operation before, if any.
    fn earlier<H: History + ?Sized>(
        &mut self,
        history: &H,
        operation: &Operation,
    ) -> Result<Option<Entry>, H::Error> {
        if let Operation::Open {
            account,
            asset,
            kind,
        } = *operation
        {
            let Some(index) = self.touch(account) else {
                return Ok(None);
            };
            let Slot {
                account: known,
                opened,
            } = self.plan.slots[index].1;
            if (known.asset, known.kind) == (asset, kind) {
                return self.entry(history, opened).map(Some);
            }
            return Err(H::Error::from(LedgerError::AccountExists {
                account,
                asset: known.asset,
                kind: known.kind,
            }));
        }
        let id = operation.id().expect("only an opening has no id");
        let Some(place) = self.place(id) else {
            return Ok(None);
        };
        let entry = self.entry(history, place.sequence())?;
        if records(&entry.kind, operation) {
            return Ok(Some(entry));
        }
        Err(H::Error::from(LedgerError::IdReused {
            id,
            sequence: entry.sequence,
        }))
    }

    fn place(&self, id: TransferId) -> Option<Place> {
        let changed = self.plan.ids.get(&id);
        changed.or_else(|| self.state.ids.get(&id)).copied()
    }

    fn entry<H: History + ?Sized>(&self, history: &H, sequence: u64) -> Result<Entry, H::Error> {
        let new = sequence.checked_sub(self.plan.base.sequence + 1);
        let new = new.and_then(|index| usize::try_from(index).ok());
        match new.and_then(|index| self.plan.entries.get(index)) {
            Some(entry) => Ok(entry.clone()),
            None => history.entry(sequence),
        }
    }

    fn transfer(
        &mut self,
        id: TransferId,
        from: AccountId,
        to: AccountId,
        amount: Amount,
    ) -> Result<(), LedgerError> {
        let (debtor, creditor) = self.parties(id, from, to, amount)?;
        fits(id, self.at(debtor), self.at(creditor), amount)?;
        let spent = self.spends(id, debtor, amount)?;
        let debtor = self.at_mut(debtor);
        debtor.debits_posted = sum(debtor.debits_posted, amount);
        debtor.spent = spent;
        let creditor = self.at_mut(creditor);
        creditor.credits_posted = sum(creditor.credits_posted, amount);
        Ok(())
    }

    fn reserve(
        &mut self,
        id: TransferId,
        from: AccountId,
        to: AccountId,
        amount: Amount,
        expires: Option<UnixMillis>,
        memo: Memo,
    ) -> Result<EntryKind, LedgerError> {
        let (debtor, creditor) = self.parties(id, from, to, amount)?;
        if let Some(expires) = expires.filter(|expires| *expires <= self.now) {
            return Err(LedgerError::ExpiresInPast {
                id,
                expires,
                now: self.now,
            });
        }
        fits(id, self.at(debtor), self.at(creditor), amount)?;
        let debtor = self.at_mut(debtor);
        debtor.debits_pending = sum(debtor.debits_pending, amount);
        let creditor = self.at_mut(creditor);
        creditor.credits_pending = sum(creditor.credits_pending, amount);
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
            memo,
        })
    }

    fn post<H: History + ?Sized>(
        &mut self,
        history: &H,
        id: TransferId,
        reservation: TransferId,
        amount: Option<Amount>,
    ) -> Result<EntryKind, H::Error> {
        if amount == Some(Amount::ZERO) {
            return Err(H::Error::from(LedgerError::ZeroAmount { id }));
        }
        let held = self.known(history, id, reservation)?;
        let amount = amount.unwrap_or(held.amount);
        let Some(released) = held.amount.checked_sub(amount) else {
            return Err(H::Error::from(LedgerError::PostExceedsReservation {
                id,
                reservation,
                reserved: held.amount,
                asked: amount,
            }));
        };
        self.still_open(id, &held)?;
        let debtor = self.party(held.from);
        let spent = self.spends(id, debtor, amount)?;
        self.at_mut(debtor).spent = spent;
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

    fn void<H: History + ?Sized>(
        &mut self,
        history: &H,
        id: TransferId,
        reservation: TransferId,
    ) -> Result<EntryKind, H::Error> {
        let held = self.known(history, id, reservation)?;
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

    fn limit(
        &mut self,
        id: TransferId,
        account: AccountId,
        limits: Limits,
    ) -> Result<EntryKind, LedgerError> {
        self.not_a_purse(account)?;
        let index = self.usable(id, account)?;
        let of_supply = limits.max_supply.is_some() || limits.credits_must_not_exceed_debits;
        if of_supply && self.at(index).kind != AccountKind::Issuer {
            return Err(LedgerError::NotAnIssuer { id, account });
        }
        self.at_mut(index).limits = limits;
        Ok(EntryKind::Limited {
            id,
            account,
            limits,
        })
    }

    fn close_account(
        &mut self,
        id: TransferId,
        account: AccountId,
    ) -> Result<EntryKind, LedgerError> {
        self.not_a_purse(account)?;
        let index = self.usable(id, account)?;
        if self.takes_part(account) {
            return Err(LedgerError::AccountStaked { id, account });
        }
        let open = self.at(index);
        let balance = match open.kind {
            AccountKind::Holder => open.balance(),
            AccountKind::Issuer => Amount::ZERO,
        };
        if !(balance.is_zero() && open.debits_pending.is_zero() && open.credits_pending.is_zero()) {
            return Err(LedgerError::AccountInUse {
                id,
                account,
                balance,
                debits_pending: open.debits_pending,
                credits_pending: open.credits_pending,
            });
        }
        self.at_mut(index).closed = true;
        Ok(EntryKind::Closed { id, account })
    }

    /// The account, if it is there and not closed.
    fn usable(&mut self, id: TransferId, account: AccountId) -> Result<usize, LedgerError> {
        let index = self
            .touch(account)
            .ok_or(LedgerError::UnknownAccount { id, account })?;
        if self.at(index).closed {
            return Err(LedgerError::AccountClosed { id, account });
        }
        Ok(index)
    }

    /// The two accounts of a movement, after the checks that need no funds.
    fn parties(
        &mut self,
        id: TransferId,
        from: AccountId,
        to: AccountId,
        amount: Amount,
    ) -> Result<(usize, usize), LedgerError> {
        if amount.is_zero() {
            return Err(LedgerError::ZeroAmount { id });
        }
        if from == to {
            return Err(LedgerError::SameAccount { id, account: from });
        }
        let (debtor, creditor) = (self.usable(id, from)?, self.usable(id, to)?);
        let (from_asset, to_asset) = (self.at(debtor).asset, self.at(creditor).asset);
        if from_asset != to_asset {
            return Err(LedgerError::AssetMismatch {
                id,
                from_asset,
                to_asset,
            });
        }
        Ok((debtor, creditor))
    }

    /// What the account has spent today once `amount` is gone, if its quota allows that.
    fn spends(
        &self,
        id: TransferId,
        debtor: usize,
        amount: Amount,
    ) -> Result<crate::Spent, LedgerError> {
        let debtor = self.at(debtor);
        let mut spent = debtor.spent.at(self.now);
        if let Some(left) = debtor.spend_left(self.now).filter(|left| amount > *left) {
            return Err(LedgerError::QuotaExceeded {
                id,
                account: debtor.id,
                left,
                needed: amount,
                renews_at: spent.renews_at(),
            });
        }
        // Without a quota the sum is of no use and may saturate.
        spent.amount = Amount(spent.amount.0.saturating_add(amount.0));
        Ok(spent)
    }

    fn known<H: History + ?Sized>(
        &self,
        history: &H,
        id: TransferId,
        reservation: TransferId,
    ) -> Result<Reservation, H::Error> {
        if let Some(held) = self.open(reservation) {
            return Ok(held);
        }
        if let Some(closed) = self.plan.reservations.get(&reservation) {
            return Ok(*closed);
        }
        let place = self.place(reservation);
        let place = place.ok_or(LedgerError::UnknownReservation { id, reservation })?;
        let state = place.state();
        let state = state.ok_or(LedgerError::NotAReservation { id, reservation })?;
        let entry = self.entry(history, place.sequence())?;
        let held = Reservation::of(&entry.kind, state);
        Ok(held.ok_or(LedgerError::NotAReservation { id, reservation })?)
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
                    expires: held.expires.unwrap_or(self.now),
                })
            }
        }
    }

    /// Takes an open reservation off both pending counters and posts `moved` of it.
    fn close(&mut self, held: Reservation, moved: Amount, state: ReservationState) {
        let (debtor, creditor) = (self.party(held.from), self.party(held.to));
        let debtor = self.at_mut(debtor);
        debtor.debits_pending = difference(debtor.debits_pending, held.amount);
        debtor.debits_posted = sum(debtor.debits_posted, moved);
        let creditor = self.at_mut(creditor);
        creditor.credits_pending = difference(creditor.credits_pending, held.amount);
        creditor.credits_posted = sum(creditor.credits_posted, moved);
        let place = self.place(held.id).expect("a reservation was recorded");
        let place = Place::new(place.sequence(), Some(state));
        self.plan.ids.insert(held.id, place);
        self.plan
            .reservations
            .insert(held.id, Reservation { state, ..held });
    }

    fn record(&mut self, kind: EntryKind) -> &Entry {
        let entry = self.chain.next(self.plan.head, self.now, kind);
        self.plan.body.extend_from_slice(self.chain.kind_bytes());
        if let Some(id) = entry.kind.id() {
            let reserves = matches!(entry.kind, EntryKind::Reserved { .. });
            let state = reserves.then_some(ReservationState::Open);
            self.plan.ids.insert(id, Place::new(entry.sequence, state));
        }
        self.plan.head = entry.head();
        let index = self.plan.entries.len();
        self.plan.entries.push(entry);
        &self.plan.entries[index]
    }

    fn add(&mut self, account: Account) {
        self.weighing.touched(self.plan.slots.len());
        let opened = self.plan.head.sequence.saturating_add(1);
        let index = self.state.account_count() + self.opened;
        self.opened += 1;
        self.touched.insert(account.id, self.plan.slots.len());
        let index = u32::try_from(index).expect("four thousand million accounts do not fit memory");
        self.plan.slots.push((index, Slot { account, opened }));
    }

    /// Where the account is in the plan, which takes it over from the state.
    fn touch(&mut self, account: AccountId) -> Option<usize> {
        match self.touched.entry(account) {
            hash_map::Entry::Occupied(known) => Some(*known.get()),
            hash_map::Entry::Vacant(vacant) => {
                let (index, slot) = self.state.slot(account)?;
                let at = self.plan.slots.len();
                self.plan.slots.push((index, *slot));
                Some(*vacant.insert(at))
            }
        }
    }

    fn party(&mut self, account: AccountId) -> usize {
        self.touch(account)
            .expect("a reservation names accounts that exist")
    }

    fn at(&self, index: usize) -> &Account {
        &self.plan.slots[index].1.account
    }

    fn at_mut(&mut self, index: usize) -> &mut Account {
        self.weighing.touched(index);
        &mut self.plan.slots[index].1.account
    }

    fn open(&self, id: TransferId) -> Option<Reservation> {
        let held = match self.plan.reservations.get(&id) {
            Some(changed) => Some(changed),
            None => self.state.open_reservation(id),
        };
        held.filter(|held| held.state == ReservationState::Open)
            .copied()
    }
}

/// Whether the entry is what the operation asks for.
fn records(kind: &EntryKind, operation: &Operation) -> bool {
    match (operation, kind) {
        (
            &Operation::Transfer {
                id,
                from,
                to,
                amount,
                memo,
            },
            kind,
        ) => {
            *kind
                == EntryKind::Transferred {
                    id,
                    from,
                    to,
                    amount,
                    memo,
                }
        }
        (
            &Operation::Reserve {
                id,
                from,
                to,
                amount,
                expires,
                memo,
            },
            kind,
        ) => {
            *kind
                == EntryKind::Reserved {
                    id,
                    from,
                    to,
                    amount,
                    expires,
                    memo,
                }
        }
        (
            &Operation::Post {
                reservation: asked,
                amount,
                ..
            },
            &EntryKind::Posted {
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
            &Operation::Void {
                reservation: asked, ..
            },
            &EntryKind::Voided { reservation, .. },
        ) => asked == reservation,
        (
            &Operation::Limit {
                id,
                account,
                limits,
            },
            kind,
        ) => {
            *kind
                == EntryKind::Limited {
                    id,
                    account,
                    limits,
                }
        }
        (&Operation::Close { id, account }, kind) => *kind == EntryKind::Closed { id, account },
        (&Operation::Own { id, account, key }, kind) => {
            *kind == EntryKind::Owned { id, account, key }
        }
        (Operation::Economy { request, .. }, EntryKind::Economy { event, .. }) => {
            event.answers(request)
        }
        _ => false,
    }
}

/// Checks that both counters can count `amount`, that no cap is in its way, and that the debtor has
/// it.
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
    if let Some(left) = debtor.supply_left().filter(|left| amount > *left) {
        return Err(LedgerError::SupplyExceeded {
            id,
            account: debtor.id,
            left,
            needed: amount,
        });
    }
    if let Some(left) = creditor.return_left().filter(|left| amount > *left) {
        return Err(LedgerError::CreditsExceedDebits {
            id,
            account: creditor.id,
            left,
            amount,
        });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_of_more_entries_than_a_record_has_is_refused() {
        // The refusal was known by its code alone. No batch within its limit of operations comes
        // near, so that the draft is given more of them.
        let (state, now) = (State::default(), UnixMillis(0));
        let history: &[Entry] = &[];
        let mut draft = Draft::new(&state, now, BATCH_ENTRIES_MAX + 1);
        let open = |n: usize| Operation::Open {
            account: AccountId::from_bytes(u128::try_from(n).unwrap().to_be_bytes()),
            asset: AssetId::CREDITS,
            kind: AccountKind::Holder,
        };
        for n in 0..BATCH_ENTRIES_MAX {
            draft.execute(history, &open(n)).unwrap();
        }
        assert_eq!(
            draft.execute(history, &open(BATCH_ENTRIES_MAX)),
            Err(LedgerError::BatchTooLong {
                count: BATCH_ENTRIES_MAX + 1,
                limit: BATCH_ENTRIES_MAX,
            })
        );
    }
}
