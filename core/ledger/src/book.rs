//! The state of a ledger in memory.

use std::collections::{BTreeMap, BTreeSet};

use fogcompute_base::{AccountId, TransferId, UnixMillis};

use crate::plan::Draft;
use crate::{
    Account, AccountKind, Amount, AssetId, BATCH_OPERATIONS_MAX, Corruption, Entry, EntryKind,
    Head, LedgerError, Operation, Plan, Receipt, Reservation, ReservationState, Restore,
};

/// Accounts, reservations and every id ever used.
///
/// Changes come in two steps: [`plan`](Self::plan) works a batch out without changing anything, and
/// [`commit`](Self::commit) takes the result in. A host writes the plan to disk in between.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Book {
    head: Head,
    accounts: BTreeMap<AccountId, Account>,
    open: BTreeMap<TransferId, Reservation>,
    closed: BTreeMap<TransferId, Reservation>,
    /// Open reservations that expire, soonest first.
    expiries: BTreeSet<(UnixMillis, TransferId)>,
    opened: BTreeMap<AccountId, Entry>,
    first: BTreeMap<TransferId, Entry>,
}

impl Book {
    /// An empty book.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Rebuilds a book from its whole history and compares it with the stored accounts.
    ///
    /// [`Restore`] does the same one entry at a time.
    ///
    /// # Errors
    /// As [`Restore::push`] and [`Restore::finish`].
    pub fn restore(
        entries: impl IntoIterator<Item = Entry>,
        accounts: impl IntoIterator<Item = Account>,
    ) -> Result<Self, Corruption> {
        let mut restore = Restore::new();
        for entry in entries {
            restore.push(&entry)?;
        }
        restore.finish(accounts)
    }

    /// Works out what a batch would do at the time `now`, without doing it.
    ///
    /// All of the batch or nothing; later operations see the earlier ones. Operations that were
    /// done before are answered with their first receipt and change nothing.
    ///
    /// # Errors
    /// Any [`LedgerError`] but [`LedgerError::PlanStale`].
    pub fn plan(&self, batch: &[Operation], now: UnixMillis) -> Result<Plan, LedgerError> {
        match batch.len() {
            0 => return Err(LedgerError::BatchEmpty),
            count if count > BATCH_OPERATIONS_MAX => {
                return Err(LedgerError::BatchTooLarge {
                    count,
                    limit: BATCH_OPERATIONS_MAX,
                });
            }
            _ => {}
        }
        let mut draft = Draft::new(self, now);
        for operation in batch {
            draft.execute(operation)?;
        }
        Ok(draft.finish())
    }

    /// Works out the release of reservations whose time has come, soonest first: at most
    /// [`BATCH_OPERATIONS_MAX`] of them. Call again until the plan is empty.
    pub fn expire(&self, now: UnixMillis) -> Plan {
        let mut draft = Draft::new(self, now);
        let due = self.expiries.iter().take_while(|(time, _)| *time <= now);
        for (_, id) in due.take(BATCH_OPERATIONS_MAX) {
            let released = draft.expire(*id);
            debug_assert!(released, "the expiry index holds open reservations only");
        }
        draft.finish()
    }

    /// Takes a plan in and returns its receipts, one for every operation of the batch.
    ///
    /// # Errors
    /// [`LedgerError::PlanStale`] if the book has changed since the plan was made, or the plan is
    /// another book's; nothing changes then.
    pub fn commit(&mut self, plan: Plan) -> Result<Vec<Receipt>, LedgerError> {
        if plan.base != self.head() {
            return Err(LedgerError::PlanStale {
                planned: plan.base,
                current: self.head(),
            });
        }
        let receipts = self.absorb(plan);
        debug_assert_eq!(self.check(), Ok(()), "every batch keeps the books balanced");
        Ok(receipts)
    }

    /// Plans and commits in one step, for books that live in memory only.
    ///
    /// # Errors
    /// As [`Book::plan`].
    pub fn execute(
        &mut self,
        batch: &[Operation],
        now: UnixMillis,
    ) -> Result<Vec<Receipt>, LedgerError> {
        let plan = self.plan(batch, now)?;
        self.commit(plan)
    }

    /// Takes in a plan that is known to fit.
    pub(crate) fn absorb(&mut self, plan: Plan) -> Vec<Receipt> {
        self.head = plan.head;
        self.accounts.extend(plan.accounts);
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
                self.closed.insert(id, reservation);
            }
        }
        for entry in plan.entries {
            if let EntryKind::Opened { account, .. } = entry.kind {
                self.opened.insert(account, entry);
            }
            if let Some(id) = entry.kind.id() {
                self.first.insert(id, entry);
            }
        }
        plan.receipts
    }

    /// The end of the history. It changes with every change of the book, so it is also the book's
    /// version.
    #[must_use]
    pub const fn head(&self) -> Head {
        self.head
    }

    /// The account, if it is open.
    #[must_use]
    pub fn account(&self, id: AccountId) -> Option<&Account> {
        self.accounts.get(&id)
    }

    /// All accounts, by id.
    pub fn accounts(&self) -> impl ExactSizeIterator<Item = &Account> {
        self.accounts.values()
    }

    /// The reservation, open or closed.
    #[must_use]
    pub fn reservation(&self, id: TransferId) -> Option<&Reservation> {
        self.open.get(&id).or_else(|| self.closed.get(&id))
    }

    /// Reservations that hold something back, by id.
    pub fn open_reservations(&self) -> impl ExactSizeIterator<Item = &Reservation> {
        self.open.values()
    }

    /// When the next open reservation expires: the time to call [`Book::expire`].
    #[must_use]
    pub fn next_expiry(&self) -> Option<UnixMillis> {
        self.expiries.first().map(|(time, _)| *time)
    }

    /// The entry an id was used for, to learn what became of a request whose answer was lost.
    #[must_use]
    pub fn entry(&self, id: TransferId) -> Option<&Entry> {
        self.first.get(&id)
    }

    pub(crate) fn opened(&self, account: AccountId) -> Option<&Entry> {
        self.opened.get(&account)
    }

    /// What all holders of the asset have together, in base units; `None` above [`Amount::MAX`].
    #[must_use]
    pub fn supply(&self, asset: AssetId) -> Option<Amount> {
        self.accounts
            .values()
            .filter(|account| account.asset == asset && account.kind == AccountKind::Holder)
            .try_fold(Amount::ZERO, |sum, account| {
                sum.checked_add(account.balance())
            })
    }

    /// Proves that the book is balanced.
    ///
    /// For each asset the posted credits equal the posted debits; no holder gave or promised more
    /// than it received; the pending counters are the sums of the open reservations.
    /// Complexity: O((accounts + open reservations) · log accounts).
    ///
    /// # Errors
    /// [`Corruption::Unbalanced`], [`Corruption::Overdrawn`], [`Corruption::PendingDiffers`].
    pub fn check(&self) -> Result<(), Corruption> {
        let mut totals = BTreeMap::<AssetId, (Total, Total)>::new();
        let mut pending = self.pending()?;
        for account in self.accounts.values() {
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
            None => Ok(()),
        }
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
    use crate::fixtures::{ANA, MINT, NOW, OTHER};
    use crate::fixtures::{BEN, account, funded, id, open, post, reserve, transfer, void};

    /// Refusal of a batch by a book that must not change.
    fn refusal(book: &Book, batch: &[Operation]) -> LedgerError {
        let mut copy = book.clone();
        let error = copy.execute(batch, NOW).unwrap_err();
        assert_eq!(copy, *book, "a refused batch changes nothing");
        error
    }

    #[test]
    fn transfer_moves_an_amount_once() {
        let mut book = funded(100);
        let first = book.execute(&[transfer(1, ANA, BEN, 60)], NOW).unwrap();
        assert!(!first[0].replayed);
        let later = UnixMillis(NOW.0 + 5);
        let again = book.execute(&[transfer(1, ANA, BEN, 60)], later).unwrap();
        assert_eq!(again[0].entry, first[0].entry);
        assert!(again[0].replayed);
        assert_eq!(book.account(account(ANA)).unwrap().balance(), Amount(40));
        assert_eq!(book.account(account(BEN)).unwrap().balance(), Amount(60));
        assert_eq!(book.supply(AssetId::CREDITS), Some(Amount(100)));
        assert_eq!(book.account(account(MINT)).unwrap().issued(), Amount(100));
        assert_eq!(book.entry(id(1)), Some(&first[0].entry));
    }

    #[test]
    fn later_operations_of_a_batch_see_the_earlier_ones() {
        let mut book = funded(10);
        let batch = [
            transfer(1, ANA, BEN, 10),
            transfer(2, BEN, ANA, 4),
            transfer(1, ANA, BEN, 10),
        ];
        let receipts = book.execute(&batch, NOW).unwrap();
        let replayed: Vec<bool> = receipts.iter().map(|receipt| receipt.replayed).collect();
        assert_eq!(replayed, [false, false, true]);
        assert_eq!(receipts[2].entry, receipts[0].entry);
        assert_eq!(book.account(account(BEN)).unwrap().balance(), Amount(6));
    }

    #[test]
    fn one_refused_operation_refuses_the_batch() {
        let book = funded(10);
        let error = refusal(&book, &[transfer(1, ANA, BEN, 5), transfer(2, ANA, BEN, 6)]);
        assert_eq!(
            error,
            LedgerError::InsufficientFunds {
                id: id(2),
                account: account(ANA),
                available: Amount(5),
                needed: Amount(6)
            }
        );
    }

    #[test]
    fn batch_size_has_two_ends() {
        let mut book = funded(10);
        assert_eq!(refusal(&book, &[]), LedgerError::BatchEmpty);
        let batch = vec![transfer(1, ANA, BEN, 1); BATCH_OPERATIONS_MAX + 1];
        assert_eq!(
            refusal(&book, &batch),
            LedgerError::BatchTooLarge {
                count: 8_191,
                limit: 8_190
            }
        );
        assert_eq!(book.execute(&batch[1..], NOW).unwrap().len(), 8_190);
    }

    #[test]
    fn id_of_another_operation_is_refused() {
        let mut book = funded(100);
        book.execute(
            &[transfer(1, ANA, BEN, 5), reserve(2, ANA, BEN, 7, None)],
            NOW,
        )
        .unwrap();
        book.execute(&[post(3, 2, Some(6))], NOW).unwrap();
        let sequence = book.entry(id(1)).unwrap().sequence;
        for operation in [
            transfer(1, ANA, BEN, 6),
            transfer(1, BEN, ANA, 5),
            transfer(1, ANA, MINT, 5),
            reserve(1, ANA, BEN, 5, None),
            void(1, 2),
            post(1, 2, None),
        ] {
            let reused = LedgerError::IdReused {
                id: id(1),
                sequence,
            };
            assert_eq!(refusal(&book, &[operation]), reused);
        }
        for operation in [
            reserve(2, ANA, BEN, 7, Some(NOW.0 + 1)),
            post(3, 2, None),
            post(3, 2, Some(7)),
            post(3, 1, Some(6)),
            void(3, 2),
        ] {
            let refused = refusal(&book, &[operation]);
            assert!(matches!(refused, LedgerError::IdReused { .. }), "{refused}");
        }
    }

    #[test]
    fn posting_all_and_posting_exactly_all_are_one_request() {
        let mut book = funded(100);
        let batch = [reserve(1, ANA, BEN, 7, None), post(2, 1, None)];
        book.execute(&batch, NOW).unwrap();
        assert!(book.execute(&[post(2, 1, Some(7))], NOW).unwrap()[0].replayed);
        assert!(book.execute(&[post(2, 1, None)], NOW).unwrap()[0].replayed);
    }

    #[test]
    fn account_is_opened_once() {
        let mut book = funded(100);
        let again = book.execute(&[open(ANA, 0, AccountKind::Holder)], NOW);
        assert!(again.unwrap()[0].replayed);
        for operation in [
            open(ANA, 1, AccountKind::Holder),
            open(ANA, 0, AccountKind::Issuer),
        ] {
            assert_eq!(
                refusal(&book, &[operation]),
                LedgerError::AccountExists {
                    account: account(ANA),
                    asset: AssetId::CREDITS,
                    kind: AccountKind::Holder
                }
            );
        }
        let batch = [
            open(9, 0, AccountKind::Holder),
            open(9, 0, AccountKind::Issuer),
        ];
        let error = refusal(&book, &batch);
        assert!(matches!(error, LedgerError::AccountExists { .. }));
    }

    #[test]
    fn parties_must_be_two_open_accounts_of_one_asset() {
        let book = funded(100);
        for make in [
            |from, to, amount| transfer(1, from, to, amount),
            |from, to, amount| reserve(1, from, to, amount, None),
        ] {
            assert_eq!(
                refusal(&book, &[make(ANA, BEN, 0)]),
                LedgerError::ZeroAmount { id: id(1) }
            );
            assert_eq!(
                refusal(&book, &[make(ANA, ANA, 1)]),
                LedgerError::SameAccount {
                    id: id(1),
                    account: account(ANA)
                }
            );
            for (from, to) in [(77, ANA), (ANA, 77)] {
                assert_eq!(
                    refusal(&book, &[make(from, to, 1)]),
                    LedgerError::UnknownAccount {
                        id: id(1),
                        account: account(77)
                    }
                );
            }
            assert_eq!(
                refusal(&book, &[make(ANA, OTHER, 1)]),
                LedgerError::AssetMismatch {
                    id: id(1),
                    from_asset: AssetId(0),
                    to_asset: AssetId(1)
                }
            );
        }
    }

    #[test]
    fn reserved_funds_cannot_be_spent_twice() {
        let mut book = funded(10);
        book.execute(&[reserve(1, ANA, BEN, 7, None)], NOW).unwrap();
        for operation in [transfer(2, ANA, BEN, 4), reserve(2, ANA, BEN, 4, None)] {
            assert_eq!(
                refusal(&book, &[operation]),
                LedgerError::InsufficientFunds {
                    id: id(2),
                    account: account(ANA),
                    available: Amount(3),
                    needed: Amount(4)
                }
            );
        }
        // What Ben is promised is not his yet.
        let error = refusal(&book, &[transfer(2, BEN, ANA, 1)]);
        assert!(matches!(error, LedgerError::InsufficientFunds { .. }));
    }

    #[test]
    fn post_needs_an_open_reservation_that_holds_enough() {
        let mut book = funded(100);
        let batch = [
            transfer(1, ANA, BEN, 1),
            reserve(2, ANA, BEN, 10, None),
            reserve(3, ANA, BEN, 10, None),
            reserve(4, ANA, BEN, 10, None),
            post(5, 2, Some(4)),
            void(6, 3),
        ];
        book.execute(&batch, NOW).unwrap();
        let (id, reservation) = (id(9), id);
        let expected = [
            (
                post(9, 8, None),
                LedgerError::UnknownReservation {
                    id,
                    reservation: reservation(8),
                },
            ),
            (
                void(9, 8),
                LedgerError::UnknownReservation {
                    id,
                    reservation: reservation(8),
                },
            ),
            (
                post(9, 1, None),
                LedgerError::NotAReservation {
                    id,
                    reservation: reservation(1),
                },
            ),
            (
                void(9, 5),
                LedgerError::NotAReservation {
                    id,
                    reservation: reservation(5),
                },
            ),
            (
                post(9, 2, None),
                LedgerError::ReservationPosted {
                    id,
                    reservation: reservation(2),
                },
            ),
            (
                void(9, 2),
                LedgerError::ReservationPosted {
                    id,
                    reservation: reservation(2),
                },
            ),
            (
                post(9, 3, None),
                LedgerError::ReservationVoided {
                    id,
                    reservation: reservation(3),
                },
            ),
            (post(9, 4, Some(0)), LedgerError::ZeroAmount { id }),
            (
                post(9, 4, Some(11)),
                LedgerError::PostExceedsReservation {
                    id,
                    reservation: reservation(4),
                    reserved: Amount(10),
                    asked: Amount(11),
                },
            ),
        ];
        for (operation, error) in expected {
            assert_eq!(refusal(&book, &[operation]), error);
        }
        let states: Vec<_> = (2..5)
            .map(|n| book.reservation(reservation(n)).unwrap().state)
            .collect();
        assert_eq!(
            states,
            [
                ReservationState::Posted,
                ReservationState::Voided,
                ReservationState::Open
            ]
        );
    }

    #[test]
    fn due_reservation_is_refused_before_and_after_it_is_released() {
        let mut book = funded(10);
        let expires = UnixMillis(NOW.0 + 10);
        book.execute(&[reserve(1, ANA, BEN, 7, Some(expires.0))], NOW)
            .unwrap();
        let before = UnixMillis(expires.0 - 1);
        assert_eq!(book.next_expiry(), Some(expires));
        assert!(book.expire(before).is_empty());
        assert!(book.plan(&[post(2, 1, None)], before).is_ok());

        let expired = LedgerError::ReservationExpired {
            id: id(2),
            reservation: id(1),
            expires,
        };
        for _ in 0..2 {
            for operation in [post(2, 1, None), void(2, 1)] {
                assert_eq!(book.plan(&[operation], expires).unwrap_err(), expired);
            }
            let plan = book.expire(expires);
            book.commit(plan).unwrap();
        }
        assert_eq!(book.next_expiry(), None);
        assert_eq!(book.open_reservations().len(), 0);
        assert_eq!(book.account(account(ANA)).unwrap().available(), Amount(10));
        // Once released it stays so, even if the clock is set back.
        assert_eq!(book.plan(&[post(2, 1, None)], NOW).unwrap_err(), expired);
    }

    #[test]
    fn reservation_must_not_be_expired_from_the_start() {
        let book = funded(10);
        assert_eq!(
            refusal(&book, &[reserve(1, ANA, BEN, 7, Some(NOW.0))]),
            LedgerError::ExpiresInPast {
                id: id(1),
                expires: NOW,
                now: NOW
            }
        );
    }

    #[test]
    fn expiry_releases_the_soonest_first_and_a_limited_number_at_once() {
        let mut book = funded(20_000);
        let count = u128::try_from(BATCH_OPERATIONS_MAX).unwrap() + 1;
        let mut batch: Vec<Operation> = (0..count)
            .map(|n| Operation::Reserve {
                id: TransferId::from_bytes(n.to_be_bytes()),
                from: account(ANA),
                to: account(BEN),
                amount: Amount(1),
                expires: Some(UnixMillis(NOW.0 + 50_000 - u64::try_from(n).unwrap())),
            })
            .collect();
        let last = batch.pop().unwrap();
        book.execute(&batch, NOW).unwrap();
        book.execute(&[last], NOW).unwrap();
        let plan = book.expire(UnixMillis(NOW.0 + 60_000));
        assert_eq!(plan.entries().len(), BATCH_OPERATIONS_MAX);
        let first = plan.reservations().count();
        assert_eq!(first, BATCH_OPERATIONS_MAX);
        book.commit(plan).unwrap();
        // The one that expires last was reserved first.
        let left: Vec<_> = book.open_reservations().map(|it| it.id).collect();
        assert_eq!(left, [TransferId::from_bytes([0; 16])]);
    }

    #[test]
    fn counters_do_not_overflow() {
        let mut book = funded(10);
        let room = u128::MAX - 10;
        let overflow = |n, party, amount, room| LedgerError::Overflow {
            id: id(n),
            account: account(party),
            amount: Amount(amount),
            room: Amount(room),
        };
        assert_eq!(
            refusal(&book, &[transfer(1, MINT, BEN, u128::MAX)]),
            overflow(1, MINT, u128::MAX, room)
        );
        book.execute(&[reserve(1, MINT, BEN, room, None)], NOW)
            .unwrap();
        assert_eq!(
            refusal(&book, &[transfer(2, MINT, ANA, 1)]),
            overflow(2, MINT, 1, 0)
        );
        // Overflow is told before missing funds.
        assert_eq!(
            refusal(&book, &[transfer(2, ANA, BEN, 11)]),
            overflow(2, BEN, 11, 10)
        );
        // Ben's credits, pending and posted, are now counted to the last unit.
        book.execute(&[transfer(2, ANA, BEN, 10)], NOW).unwrap();
        book.execute(&[post(3, 1, None)], NOW).unwrap();
        book.execute(&[transfer(4, BEN, ANA, 5)], NOW).unwrap();
        assert_eq!(
            refusal(&book, &[transfer(5, ANA, BEN, 1)]),
            overflow(5, BEN, 1, 0)
        );
    }

    #[test]
    fn plan_fits_one_state_of_one_book() {
        let mut book = funded(10);
        let stale = book.plan(&[transfer(1, ANA, BEN, 1)], NOW).unwrap();
        assert_eq!(stale.base(), book.head());
        let planned = stale.base();
        book.execute(&[transfer(2, ANA, BEN, 1)], NOW).unwrap();
        let current = book.head();
        let before = book.clone();
        assert_eq!(
            book.commit(stale.clone()),
            Err(LedgerError::PlanStale { planned, current })
        );
        assert_eq!(book, before);

        // As many entries, but not the same ones.
        let mut other = funded(11);
        assert_eq!(other.head().sequence, planned.sequence);
        assert!(matches!(
            other.commit(stale),
            Err(LedgerError::PlanStale { .. })
        ));
    }

    #[test]
    fn plan_shows_what_a_store_must_keep() {
        let mut book = funded(10);
        let batch = [reserve(1, ANA, BEN, 4, None), post(2, 1, Some(3))];
        let plan = book.plan(&batch, NOW).unwrap();
        assert!(!plan.is_empty());
        assert_eq!(plan.entries().len(), 2);
        assert_eq!(plan.entries()[1].head(), plan.head());
        assert_eq!(plan.receipts().len(), 2);
        let accounts: Vec<_> = plan.accounts().copied().collect();
        let reservations: Vec<_> = plan.reservations().copied().collect();
        book.commit(plan).unwrap();
        let now: Vec<_> = [ANA, BEN]
            .map(|n| *book.account(account(n)).unwrap())
            .to_vec();
        assert_eq!(accounts, now);
        assert_eq!(reservations, [*book.reservation(id(1)).unwrap()]);

        assert!(book.plan(&batch, NOW).unwrap().is_empty());
    }

    #[test]
    fn check_finds_each_kind_of_imbalance() {
        let mut sound = funded(10);
        sound
            .execute(&[reserve(1, ANA, BEN, 4, None)], NOW)
            .unwrap();
        assert_eq!(sound.check(), Ok(()));

        let mut book = sound.clone();
        let ana = book.accounts.get_mut(&account(ANA)).unwrap();
        ana.credits_posted = Amount(11);
        let asset = AssetId::CREDITS;
        assert_eq!(book.check(), Err(Corruption::Unbalanced { asset }));

        let mut book = sound.clone();
        let ana = book.accounts.get_mut(&account(ANA)).unwrap();
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

        for account in [account(ANA), account(BEN)] {
            let mut book = sound.clone();
            let changed = book.accounts.get_mut(&account).unwrap();
            changed.debits_pending = Amount(1);
            changed.credits_posted = Amount(20);
            let differs = Corruption::PendingDiffers { account };
            assert_eq!(book.check(), Err(differs.clone()));

            let mut book = sound.clone();
            book.accounts.remove(&account);
            assert_eq!(book.check(), Err(differs));
        }
    }

    #[test]
    fn sums_over_accounts_may_exceed_128_bits() {
        let mut book = funded(10);
        let batch = [
            open(8, 0, AccountKind::Issuer),
            open(9, 0, AccountKind::Holder),
            transfer(1, 8, 9, u128::MAX),
        ];
        book.execute(&batch, NOW).unwrap();
        assert_eq!(book.check(), Ok(()));
        assert_eq!(book.supply(AssetId::CREDITS), None);
    }
}
