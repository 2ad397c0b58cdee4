//! A ledger in memory, history and all.

use std::ops::Deref;

use fogcompute_base::{TransferId, UnixMillis};

use crate::{
    Account, Corruption, Entry, History, LedgerError, Operation, Plan, Receipt, Reservation,
    Restore, SignedBatch, State,
};

/// A [`State`] together with its whole history: for ledgers that live in memory, and for tests.
///
/// What can be read of a state can be read of a book.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Book {
    state: State,
    entries: Vec<Entry>,
}

impl Deref for Book {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl Book {
    /// An empty book.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Rebuilds a book from its whole history and compares it with the stored accounts.
    ///
    /// # Errors
    /// As [`Restore::push`] and [`Restore::finish`].
    pub fn restore(
        entries: impl IntoIterator<Item = Entry>,
        accounts: impl IntoIterator<Item = Account>,
    ) -> Result<Self, Corruption> {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let mut restore = Restore::new();
        restore.push(&entries)?;
        Ok(Self {
            state: restore.finish(accounts)?,
            entries,
        })
    }

    /// Works out what a batch would do: [`State::plan`].
    ///
    /// # Errors
    /// Any [`LedgerError`] but [`LedgerError::PlanStale`].
    pub fn plan(&self, batch: &[Operation], now: UnixMillis) -> Result<Plan, LedgerError> {
        self.state.plan(&self.entries[..], batch, now)
    }

    /// Works out what a signed batch would do: [`State::plan_signed`].
    ///
    /// # Errors
    /// As [`State::plan_signed`].
    pub fn plan_signed(&self, batch: &SignedBatch, now: UnixMillis) -> Result<Plan, LedgerError> {
        self.state.plan_signed(&self.entries[..], batch, now)
    }

    /// Takes a plan in: [`State::commit`].
    ///
    /// # Errors
    /// [`LedgerError::PlanStale`].
    pub fn commit(&mut self, plan: Plan) -> Result<Vec<Receipt>, LedgerError> {
        self.state.fits(&plan)?;
        self.entries.extend_from_slice(plan.entries());
        self.state.commit(plan)
    }

    /// Plans and commits in one step.
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

    /// The history, from the first entry on.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry an id was used for, to learn what became of a request whose answer was lost.
    #[must_use]
    pub fn entry(&self, id: TransferId) -> Option<&Entry> {
        let index = usize::try_from(self.sequence_of(id)?)
            .ok()?
            .checked_sub(1)?;
        self.entries.get(index)
    }

    /// The reservation, open or closed.
    #[must_use]
    pub fn reservation(&self, id: TransferId) -> Option<Reservation> {
        let state = self.reservation_state(id)?;
        Reservation::of(&self.entry(id)?.kind, state)
    }

    /// The book's state by itself, for what asks for its history apart.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }
}

impl History for Book {
    type Error = LedgerError;

    fn entry(&self, sequence: u64) -> Result<Entry, LedgerError> {
        self.entries[..].entry(sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{ANA, MINT, NOW, OTHER};
    use crate::fixtures::{BEN, account, funded, id, open, post, reserve, transfer, void};
    use crate::{
        AccountKind, Amount, AssetId, BATCH_OPERATIONS_MAX, Limits, Memo, ReservationState,
    };

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
                memo: Memo::NONE,
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
        assert_eq!(reservations, [book.reservation(id(1)).unwrap()]);

        assert!(book.plan(&batch, NOW).unwrap().is_empty());
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

    fn limit(n: u8, party: u8, limits: Limits) -> Operation {
        Operation::Limit {
            id: id(n),
            account: account(party),
            limits,
        }
    }

    fn quota(amount: u128) -> Limits {
        Limits {
            spend_per_day: Some(Amount(amount)),
            ..Limits::default()
        }
    }

    #[test]
    fn quota_counts_transfers_and_posts_of_a_utc_day() {
        const DAY: u64 = 86_400_000;
        let midnight = UnixMillis((NOW.0 / DAY + 1) * DAY);
        let last = UnixMillis(midnight.0 - 1);
        let mut book = funded(100);
        let batch = [
            limit(1, ANA, quota(10)),
            transfer(2, ANA, BEN, 4),
            // What is only held back does not count until it goes.
            reserve(3, ANA, BEN, 20, None),
            post(4, 3, Some(5)),
        ];
        book.execute(&batch, NOW).unwrap();
        let exceeded = |n, needed| LedgerError::QuotaExceeded {
            id: id(n),
            account: account(ANA),
            left: Amount(1),
            needed: Amount(needed),
            renews_at: midnight,
        };
        let refused = book.plan(&[transfer(5, ANA, BEN, 2)], last).unwrap_err();
        assert_eq!(refused, exceeded(5, 2));
        let batch = [reserve(5, ANA, BEN, 2, None), post(6, 5, None)];
        assert_eq!(book.plan(&batch, last).unwrap_err(), exceeded(6, 2));
        book.execute(&[transfer(5, ANA, BEN, 10)], midnight)
            .unwrap();
        // A clock that is set back renews nothing.
        let refused = book.plan(&[transfer(6, ANA, BEN, 1)], last).unwrap_err();
        assert!(matches!(refused, LedgerError::QuotaExceeded { left, .. } if left.is_zero()));
        // It survives being rebuilt.
        let accounts: Vec<_> = book.accounts().copied().collect();
        let again = Book::restore(book.entries().to_vec(), accounts).unwrap();
        let refused = again.plan(&[transfer(6, ANA, BEN, 1)], midnight);
        assert!(matches!(refused, Err(LedgerError::QuotaExceeded { .. })));
        // And is lifted as it was set.
        book.execute(&[limit(7, ANA, Limits::default())], midnight)
            .unwrap();
        book.execute(&[transfer(6, ANA, BEN, 1)], midnight).unwrap();
    }

    #[test]
    fn supply_is_capped_with_what_is_promised() {
        let mut book = funded(100);
        let cap = Limits {
            max_supply: Some(Amount(120)),
            ..Limits::default()
        };
        book.execute(&[limit(1, MINT, cap), reserve(2, MINT, ANA, 15, None)], NOW)
            .unwrap();
        for operation in [transfer(3, MINT, ANA, 6), reserve(3, MINT, ANA, 6, None)] {
            assert_eq!(
                refusal(&book, &[operation]),
                LedgerError::SupplyExceeded {
                    id: id(3),
                    account: account(MINT),
                    left: Amount(5),
                    needed: Amount(6)
                }
            );
        }
        // What is burned may be put out again.
        let batch = [transfer(3, ANA, MINT, 100), transfer(4, MINT, BEN, 105)];
        book.execute(&batch, NOW).unwrap();
        // A cap below what is out takes nothing back.
        let lower = Limits {
            max_supply: Some(Amount(1)),
            ..Limits::default()
        };
        book.execute(&[limit(5, MINT, lower)], NOW).unwrap();
        let error = refusal(&book, &[transfer(6, MINT, ANA, 1)]);
        assert!(matches!(error, LedgerError::SupplyExceeded { .. }));
    }

    #[test]
    fn limits_on_supply_are_for_issuers_that_exist() {
        let book = funded(100);
        let supply = Limits {
            max_supply: Some(Amount(1)),
            ..Limits::default()
        };
        assert_eq!(
            refusal(&book, &[limit(1, ANA, supply)]),
            LedgerError::NotAnIssuer {
                id: id(1),
                account: account(ANA)
            }
        );
        for operation in [
            limit(1, 99, supply),
            Operation::Close {
                id: id(1),
                account: account(99),
            },
        ] {
            let error = refusal(&book, &[operation]);
            assert!(matches!(error, LedgerError::UnknownAccount { .. }));
        }
    }

    #[test]
    fn account_is_closed_empty_and_for_good() {
        let mut book = funded(100);
        let close = |n| Operation::Close {
            id: id(n),
            account: account(ANA),
        };
        let in_use = LedgerError::AccountInUse {
            id: id(1),
            account: account(ANA),
            balance: Amount(100),
            debits_pending: Amount(7),
            credits_pending: Amount::ZERO,
        };
        book.execute(&[reserve(2, ANA, BEN, 7, None)], NOW).unwrap();
        assert_eq!(refusal(&book, &[close(1)]), in_use);
        book.execute(&[void(3, 2), transfer(4, ANA, BEN, 100), close(1)], NOW)
            .unwrap();
        let closed = LedgerError::AccountClosed {
            id: id(5),
            account: account(ANA),
        };
        for operation in [
            transfer(5, BEN, ANA, 1),
            transfer(5, ANA, BEN, 1),
            reserve(5, BEN, ANA, 1, None),
            limit(5, ANA, quota(1)),
            close(5),
        ] {
            assert_eq!(refusal(&book, &[operation]), closed);
        }
        let again = book.execute(&[close(1), open(ANA, 0, AccountKind::Holder)], NOW);
        assert!(again.unwrap().iter().all(|receipt| receipt.replayed));
    }
}
