//! What a ledger must know to decide, and no more.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fogcompute_base::{AccountId, Digest, TransferId, UnixMillis};

use crate::dao::Dao;
use crate::earning::Earning;
use crate::economy::Economy;
use crate::plan::{Draft, counts};
use crate::signed::KnownKeys;
use crate::staking::Staking;
use crate::{
    Account, AccountKind, Amount, AssetId, BATCH_OPERATIONS_MAX, Corruption, EntryKind, Head,
    History, LedgerError, Operation, Plan, PublicKey, Purse, Receipt, Reservation,
    ReservationState, SignedBatch, Verified,
};

/// Accounts, open reservations, and the place of every id ever used.
///
/// Changes come in two steps: [`plan`](Self::plan) works a batch out without changing anything, and
/// [`commit`](Self::commit) takes the result in. A host writes the plan to disk in between.
///
/// The history itself is not kept: an id costs about 42 bytes, however long its entry. Maps are
/// hashed with a key of the process, so that nobody can choose ids that collide; no order of
/// theirs reaches anything that is given out.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct State {
    pub(crate) head: Head,
    /// Where accounts are in `slots`, which has them in the order of their opening.
    pub(crate) accounts: HashMap<AccountId, u32>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) ids: HashMap<TransferId, Place>,
    pub(crate) open: BTreeMap<TransferId, Reservation>,
    /// Open reservations that expire, soonest first.
    pub(crate) expiries: BTreeSet<(UnixMillis, TransferId)>,
    pub(crate) owners: BTreeMap<AccountId, Owner>,
    pub(crate) keys: KnownKeys,
    /// The rules, once there are any.
    pub(crate) economy: Option<Box<Economy>>,
    pub(crate) staking: Staking,
    pub(crate) earning: Earning,
    pub(crate) dao: Dao,
}

/// An account, and the entry that opened it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Slot {
    pub(crate) account: Account,
    pub(crate) opened: u64,
}

/// Whose signatures move an account's money.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Owner {
    /// The key registered last.
    pub key: PublicKey,
    /// Number of the last signature that was accepted; 0 is none.
    pub nonce: u64,
}

/// The entry that used an id, and what has become of it if it is a reservation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Place(pub(crate) u64);

impl Place {
    const STATE_BITS: u32 = 3;

    pub(crate) const fn new(sequence: u64, state: Option<ReservationState>) -> Self {
        let state = match state {
            None => 0,
            Some(ReservationState::Open) => 1,
            Some(ReservationState::Posted) => 2,
            Some(ReservationState::Voided) => 3,
            Some(ReservationState::Expired) => 4,
        };
        Self(sequence << Self::STATE_BITS | state)
    }

    pub(crate) const fn sequence(self) -> u64 {
        self.0 >> Self::STATE_BITS
    }

    pub(crate) const fn state(self) -> Option<ReservationState> {
        match self.0 & ((1 << Self::STATE_BITS) - 1) {
            1 => Some(ReservationState::Open),
            2 => Some(ReservationState::Posted),
            3 => Some(ReservationState::Voided),
            4 => Some(ReservationState::Expired),
            _ => None,
        }
    }
}

impl State {
    /// The state before anything happened.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Works out what a batch would do at the time `now`, without doing it.
    ///
    /// All of the batch or nothing: a batch is what others call a chain of linked transfers. Later
    /// operations see the earlier ones. Operations that were done before are answered with their
    /// first receipt and change nothing.
    ///
    /// # Errors
    /// Any [`LedgerError`] of the operations; those of the history.
    pub fn plan<H: History + ?Sized>(
        &self,
        history: &H,
        batch: &[Operation],
        now: UnixMillis,
    ) -> Result<Plan, H::Error> {
        check_size(batch)?;
        let mut draft = Draft::new(self, now, batch.len());
        for operation in batch {
            draft.execute(history, operation)?;
        }
        Ok(draft.finish()?)
    }

    /// Works out what a batch would do that the owner of an account has signed.
    ///
    /// # Errors
    /// [`LedgerError::SignatureExpired`], [`LedgerError::NoOwner`],
    /// [`LedgerError::SignatureForged`], [`LedgerError::SignatureReplayed`],
    /// [`LedgerError::NonceSkipped`], [`LedgerError::NotTheOwner`]; as [`State::plan`].
    pub fn plan_signed<H: History + ?Sized>(
        &self,
        history: &H,
        batch: &SignedBatch,
        now: UnixMillis,
    ) -> Result<Plan, H::Error> {
        check_size(&batch.operations)?;
        let mut draft = Draft::new(self, now, batch.operations.len() + 1);
        draft.sign(batch, None)?;
        draft.owned_all(history, batch)?;
        Ok(draft.finish()?)
    }

    /// Checks the signatures of many batches against the owners' keys, together: faster than one
    /// by one ([`SignedBatch::verify_all`]). Numbers and expiry are looked at when each is planned.
    ///
    /// There is one result for each batch: [`LedgerError::NoOwner`],
    /// [`LedgerError::SignatureForged`].
    #[must_use]
    pub fn verify<'a>(
        &self,
        batches: &[&'a SignedBatch],
    ) -> Vec<Result<Verified<'a>, LedgerError>> {
        let key_of = |batch: &SignedBatch| {
            let owner = self.owner(batch.account)?;
            self.keys.sound(owner.key)
        };
        let claims: Vec<_> = batches
            .iter()
            .map(|batch| (*batch, key_of(batch)))
            .collect();
        (Verified::all(&claims).into_iter().zip(batches))
            .map(|(verified, batch)| {
                let account = batch.account;
                verified.ok_or(match self.owner(account) {
                    Some(_) => LedgerError::SignatureForged { account },
                    None => LedgerError::NoOwner { account },
                })
            })
            .collect()
    }

    /// Works out what a signed batch would do whose signature was checked: [`State::verify`]. If
    /// its account has another key since then, the signature is checked again.
    ///
    /// # Errors
    /// As [`State::plan_signed`].
    pub fn plan_verified<H: History + ?Sized>(
        &self,
        history: &H,
        verified: Verified<'_>,
        now: UnixMillis,
    ) -> Result<Plan, H::Error> {
        let batch = verified.batch();
        check_size(&batch.operations)?;
        let mut draft = Draft::new(self, now, batch.operations.len() + 1);
        draft.sign(batch, Some(&verified))?;
        draft.owned_all(history, batch)?;
        Ok(draft.finish()?)
    }

    /// Works out what time brings: the release of reservations and the end of unbondings and
    /// redelegations whose time has come, soonest first, at most [`BATCH_OPERATIONS_MAX`] of each.
    /// Call again until the plan is empty.
    pub fn expire(&self, now: UnixMillis) -> Plan {
        let released = || {
            let mut draft = Draft::new(self, now, 0);
            let due = self.expiries.iter().take_while(|(time, _)| *time <= now);
            for (_, id) in due.take(BATCH_OPERATIONS_MAX) {
                let released = draft.expire(*id);
                debug_assert!(released, "the expiry index holds open reservations only");
            }
            draft
        };
        let mut draft = released();
        draft.mature(BATCH_OPERATIONS_MAX);
        // Stake that would make voting weights overflow stays due, and reservations wait for nobody.
        let plan = draft.finish().or_else(|_| released().finish());
        plan.unwrap_or_else(|_| Plan::new(self.head, now, 0))
    }

    /// Takes a plan in and returns its receipts, one for every operation of the batch.
    ///
    /// # Errors
    /// [`LedgerError::PlanStale`] if the state has changed since the plan was made, or the plan is
    /// another ledger's; nothing changes then.
    pub fn commit(&mut self, plan: Plan) -> Result<Vec<Receipt>, LedgerError> {
        self.fits(&plan)?;
        let receipts = self.absorb(plan);
        debug_assert_eq!(self.check(), Ok(()), "every batch keeps the books balanced");
        Ok(receipts)
    }

    pub(crate) fn fits(&self, plan: &Plan) -> Result<(), LedgerError> {
        if plan.base == self.head {
            return Ok(());
        }
        Err(LedgerError::PlanStale {
            planned: plan.base,
            current: self.head,
        })
    }

    /// Takes in a plan that is known to fit.
    pub(crate) fn absorb(&mut self, plan: Plan) -> Vec<Receipt> {
        self.head = plan.head;
        for (index, slot) in plan.slots {
            match self.slots.get_mut(index as usize) {
                Some(known) => *known = slot,
                None => {
                    self.accounts.insert(slot.account.id, index);
                    self.slots.push(slot);
                }
            }
        }
        self.ids.extend(plan.ids);
        for (id, reservation) in plan.reservations {
            let expiry = reservation.expires.map(|expires| (expires, id));
            if reservation.state == ReservationState::Open {
                self.expiries.extend(expiry);
                self.open.insert(id, reservation);
            } else {
                if let Some(expiry) = expiry {
                    self.expiries.remove(&expiry);
                }
                self.open.remove(&id);
            }
        }
        self.owners.extend(plan.owners);
        if let Some(key) = plan.key {
            self.keys.note(key);
        }
        if let Some(economy) = plan.economy {
            self.economy = Some(economy);
        }
        if let Some(changes) = plan.staking {
            self.staking.absorb(*changes);
        }
        if let Some(changes) = plan.earning {
            self.earning.absorb(*changes);
        }
        if let Some(changes) = plan.dao {
            self.dao.absorb(*changes);
        }
        plan.receipts
    }

    /// The end of the history. It changes with every change of the state, so it is also the
    /// state's version.
    #[must_use]
    pub const fn head(&self) -> Head {
        self.head
    }

    /// The account, if it was opened.
    #[must_use]
    pub fn account(&self, id: AccountId) -> Option<&Account> {
        self.slot(id).map(|(_, slot)| &slot.account)
    }

    pub(crate) fn slot(&self, id: AccountId) -> Option<(u32, &Slot)> {
        let index = *self.accounts.get(&id)?;
        Some((index, self.slots.get(index as usize)?))
    }

    /// All accounts, by id. Complexity: O(accounts · log accounts).
    pub fn accounts(&self) -> impl ExactSizeIterator<Item = &Account> {
        let mut accounts: Vec<_> = self.slots.iter().map(|slot| &slot.account).collect();
        accounts.sort_unstable_by_key(|account| account.id);
        accounts.into_iter()
    }

    /// How many accounts were ever opened.
    #[must_use]
    pub const fn account_count(&self) -> usize {
        self.slots.len()
    }

    /// Who signs for the account, if somebody was registered.
    #[must_use]
    pub fn owner(&self, account: AccountId) -> Option<Owner> {
        self.owners.get(&account).copied()
    }

    /// The reservation, while it holds something back.
    #[must_use]
    pub fn open_reservation(&self, id: TransferId) -> Option<&Reservation> {
        self.open.get(&id)
    }

    /// Where a reservation is in its life, if the id names one.
    #[must_use]
    pub fn reservation_state(&self, id: TransferId) -> Option<ReservationState> {
        self.ids.get(&id)?.state()
    }

    /// Reservations that hold something back, by id.
    pub fn open_reservations(&self) -> impl ExactSizeIterator<Item = &Reservation> {
        self.open.values()
    }

    /// When the next open reservation expires or stake is free: the time to call
    /// [`State::expire`].
    #[must_use]
    pub fn next_expiry(&self) -> Option<UnixMillis> {
        let expiry = self.expiries.first().map(|(time, _)| *time);
        expiry.into_iter().chain(self.staking.next_due()).min()
    }

    /// The rules of the economy, once it is founded
    /// ([`Request::Configure`](crate::economy::Request::Configure)).
    #[must_use]
    pub fn economy(&self) -> Option<&Economy> {
        self.economy.as_deref()
    }

    /// Who has staked what on whom.
    #[must_use]
    pub const fn staking(&self) -> &Staking {
        &self.staking
    }

    /// Who has been granted what today.
    #[must_use]
    pub const fn earning(&self) -> &Earning {
        &self.earning
    }

    /// Who weighs what in votes, and what was proposed and decided.
    #[must_use]
    pub const fn dao(&self) -> &Dao {
        &self.dao
    }

    /// Sequence of the entry an id was used for, to learn what became of a request whose answer
    /// was lost.
    #[must_use]
    pub fn sequence_of(&self, id: TransferId) -> Option<u64> {
        self.ids.get(&id).map(|place| place.sequence())
    }

    /// How many ids were used.
    #[must_use]
    pub fn id_count(&self) -> usize {
        self.ids.len()
    }

    /// What all holders of the asset have together, in base units; `None` above [`Amount::MAX`].
    #[must_use]
    pub fn supply(&self, asset: AssetId) -> Option<Amount> {
        self.slots
            .iter()
            .map(|slot| &slot.account)
            .filter(|account| account.asset == asset && account.kind == AccountKind::Holder)
            .try_fold(Amount::ZERO, |sum, account| {
                sum.checked_add(account.balance())
            })
    }

    /// Digest of all accounts as they stand: BLAKE3 `derive_key` with the context
    /// `fogcompute 2026-11-21 ledger accounts v1` over their encodings, by id.
    ///
    /// Complexity: O(accounts · log accounts).
    #[must_use]
    pub fn accounts_root(&self) -> Digest {
        let mut bytes = Vec::new();
        for account in self.accounts() {
            crate::snapshot::write_account(account, &mut bytes);
        }
        Digest::derive("fogcompute 2026-11-21 ledger accounts v1", &bytes)
    }

    /// Proves that the books are balanced.
    ///
    /// For each asset the posted credits equal the posted debits; no holder gave or promised more
    /// than it received; the pending counters are the sums of the open reservations.
    /// Complexity: O((accounts + open reservations) · log accounts).
    ///
    /// # Errors
    /// [`Corruption::Unbalanced`], [`Corruption::Overdrawn`], [`Corruption::PendingDiffers`],
    /// [`Corruption::PurseDiffers`], [`Corruption::Staking`].
    pub fn check(&self) -> Result<(), Corruption> {
        self.check_books()?;
        self.dao.check().map_err(Corruption::Dao)?;
        self.check_weights()
    }

    /// As [`check`](Self::check), where governance was checked as it was restored.
    pub(crate) fn check_restored(&self) -> Result<(), Corruption> {
        self.check_books()?;
        self.check_weights()
    }

    fn check_books(&self) -> Result<(), Corruption> {
        let mut totals = BTreeMap::<AssetId, (Total, Total)>::new();
        let mut pending = self.pending()?;
        for account in self.accounts() {
            let (credits, debits) = totals.entry(account.asset).or_default();
            credits.add(account.credits_posted);
            debits.add(account.debits_posted);
            let overdrawn = account
                .debits_posted
                .checked_add(account.debits_pending)
                .is_none_or(|debits| debits > account.credits_posted);
            if account.kind == AccountKind::Holder && overdrawn {
                return Err(Corruption::Overdrawn {
                    account: account.id,
                    credits: account.credits_posted,
                    debits: account.debits_posted,
                    pending: account.debits_pending,
                });
            }
            let expected = pending.remove(&account.id).unwrap_or_default();
            if expected != (account.credits_pending, account.debits_pending) {
                return Err(Corruption::PendingDiffers {
                    account: account.id,
                });
            }
        }
        if let Some((account, _)) = pending.pop_first() {
            return Err(Corruption::PendingDiffers { account });
        }
        match totals
            .into_iter()
            .find(|(_, (credits, debits))| credits != debits)
        {
            Some((asset, _)) => Err(Corruption::Unbalanced { asset }),
            None => self.check_purses(),
        }
    }

    /// What staking holds is in the accounts, and every stake in its sums.
    fn check_purses(&self) -> Result<(), Corruption> {
        let purses = self.staking.purses();
        for (purse, expected) in [
            (Purse::Bonded, purses.bonded),
            (Purse::Unbonding, purses.unbonding),
            (Purse::Rewards, purses.rewards),
            (Purse::Insurance, purses.insurance),
        ] {
            let account = self.account(purse.account());
            let found = account.map_or(Amount::ZERO, Account::balance);
            if found != expected {
                return Err(Corruption::PurseDiffers {
                    purse,
                    expected,
                    found,
                });
            }
        }
        self.staking.check().map_err(Corruption::Staking)
    }

    /// Governance weighs what accounts have. A stake may be worth a little more than is counted:
    /// what others' leaving is rounded by goes to those who stay.
    fn check_weights(&self) -> Result<(), Corruption> {
        if self.dao.member_count() == 0 {
            return Ok(());
        }
        for (account, member) in self.dao.members() {
            let held = self.account(account).map_or(Amount::ZERO, counts);
            if held != member.tokens {
                return Err(Corruption::WeightDiffers { account });
            }
        }
        for (operator, account, worth) in self.dao.stakes() {
            if worth > self.staking.staked(operator, account) {
                return Err(Corruption::WeightDiffers { account });
            }
        }
        let recorded = Amount(self.dao.circulating().0);
        let mut accounts = self.slots.iter().map(|slot| &slot.account);
        let found = accounts.try_fold(Amount::ZERO, |sum, account| {
            sum.checked_add(counts(account))
        });
        if found != Some(recorded) {
            return Err(Corruption::CirculationDiffers { recorded, found });
        }
        Ok(())
    }

    /// Credits and debits that the open reservations hold back, for each account they name.
    fn pending(&self) -> Result<BTreeMap<AccountId, (Amount, Amount)>, Corruption> {
        let mut pending = BTreeMap::<AccountId, (Amount, Amount)>::new();
        let add = |sum: &mut Amount, amount, account| {
            *sum = sum
                .checked_add(amount)
                .ok_or(Corruption::PendingDiffers { account })?;
            Ok(())
        };
        for open in self.open.values() {
            let (_, debits) = pending.entry(open.from).or_default();
            add(debits, open.amount, open.from)?;
            let (credits, _) = pending.entry(open.to).or_default();
            add(credits, open.amount, open.to)?;
        }
        Ok(pending)
    }

    /// Ids that an entry has used or changed, with their places now.
    pub(crate) fn places(&self, kind: &EntryKind) -> impl Iterator<Item = (TransferId, Place)> {
        let ids = [kind.id(), kind.reservation()];
        ids.into_iter()
            .flatten()
            .filter_map(|id| Some((id, *self.ids.get(&id)?)))
    }
}

fn check_size(batch: &[Operation]) -> Result<(), LedgerError> {
    match batch.len() {
        0 => Err(LedgerError::BatchEmpty),
        count if count > BATCH_OPERATIONS_MAX => Err(LedgerError::BatchTooLarge {
            count,
            limit: BATCH_OPERATIONS_MAX,
        }),
        _ => Ok(()),
    }
}

/// A sum over many accounts, which may need more than 128 bits.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Total {
    carries: u64,
    low: u128,
}

impl Total {
    fn add(&mut self, amount: Amount) {
        let (low, carried) = self.low.overflowing_add(amount.0);
        self.low = low;
        self.carries += u64::from(carried);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{ANA, BEN, NOW, account, funded, reserve};

    fn account_mut(state: &mut State, n: u8) -> &mut Account {
        let index = state.accounts[&account(n)];
        &mut state.slots[index as usize].account
    }

    #[test]
    fn place_keeps_the_sequence_and_the_state() {
        for state in [
            None,
            Some(ReservationState::Open),
            Some(ReservationState::Posted),
            Some(ReservationState::Voided),
            Some(ReservationState::Expired),
        ] {
            let place = Place::new(u64::MAX >> 3, state);
            assert_eq!((place.sequence(), place.state()), (u64::MAX >> 3, state));
        }
    }

    #[test]
    fn an_id_costs_little_memory() {
        // With the map's control byte and its load factor between 7/16 and 7/8: 29 to 58 bytes.
        assert_eq!(size_of::<(TransferId, Place)>(), 24);
    }

    #[test]
    fn check_finds_each_kind_of_imbalance() {
        let mut book = funded(10);
        book.execute(&[reserve(1, ANA, BEN, 4, None)], NOW).unwrap();
        let sound = book.state().clone();
        assert_eq!(sound.check(), Ok(()));

        let mut book = sound.clone();
        let ana = account_mut(&mut book, ANA);
        ana.credits_posted = Amount(11);
        let asset = AssetId::CREDITS;
        assert_eq!(book.check(), Err(Corruption::Unbalanced { asset }));

        let mut book = sound.clone();
        let ana = account_mut(&mut book, ANA);
        ana.debits_posted = Amount(7);
        assert_eq!(
            book.check(),
            Err(Corruption::Overdrawn {
                account: account(ANA),
                credits: Amount(10),
                debits: Amount(7),
                pending: Amount(4)
            })
        );

        for n in [ANA, BEN] {
            let account = account(n);
            let mut book = sound.clone();
            let changed = account_mut(&mut book, n);
            changed.debits_pending = Amount(1);
            changed.credits_posted = Amount(20);
            let differs = Corruption::PendingDiffers { account };
            assert_eq!(book.check(), Err(differs.clone()));

            let mut book = sound.clone();
            let slot = book.accounts.remove(&account).unwrap();
            book.slots.remove(slot as usize);
            assert_eq!(book.check(), Err(differs));
        }
    }
}
