//! Rebuilding a state from what a store kept.

use std::collections::{BTreeSet, VecDeque};

use fogcompute_base::TransferId;

use crate::economy::Event;
use crate::plan::Draft;
use crate::{
    Account, Batch, Corruption, Entry, EntryKind, History, LedgerError, Operation, Plan, State,
    staking, verify_chain,
};

/// Rebuilds a [`State`] from its history, a run of entries at a time.
///
/// Every entry is carried out again under the same rules and must come out the same, digest
/// included, so a history that was changed, cut in the middle or made up is noticed. Entries cut
/// off the end are not, unless an older [`crate::Head`] was kept elsewhere. Of a signed batch the
/// order of the signatures is proven, not the signatures: they are not kept.
#[derive(Clone, Debug, Default)]
pub struct Restore {
    state: State,
    /// Entries that follow from what was pushed and are still to come.
    ahead: VecDeque<Entry>,
    /// Nothing has changed since the state was proven.
    proven: bool,
}

impl Restore {
    /// Starts with an empty history.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes on from a state that was proven before.
    #[must_use]
    pub const fn from_state(state: State) -> Self {
        Self {
            state,
            ahead: VecDeque::new(),
            proven: true,
        }
    }

    /// What the history so far adds up to, with what follows from it by itself: after an event of
    /// the economy without its movements, these are part of it already.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Takes the next entries. Runs of some hundreds are the quickest; they need not be the batches
    /// of old.
    ///
    /// # Errors
    /// [`Corruption::SequenceGap`], [`Corruption::ChainBroken`], [`Corruption::Impossible`],
    /// [`Corruption::Inconsistent`]. The rebuilding cannot go on after any of them.
    pub fn push(&mut self, entries: &[Entry]) -> Result<(), Corruption> {
        for run in entries.chunks(1_024) {
            self.push_run(run)?;
        }
        Ok(())
    }

    /// Takes the next batch of a journal, whose digests are not known: whoever pushes it compares the
    /// head afterwards with the one that was kept.
    ///
    /// # Errors
    /// [`Corruption::SequenceGap`], [`Corruption::Impossible`], [`Corruption::Inconsistent`]. The
    /// rebuilding cannot go on after any of them.
    pub fn push_batch(&mut self, batch: &Batch) -> Result<(), Corruption> {
        let expected = self.state.head().sequence.saturating_add(1);
        if batch.first != expected {
            return Err(Corruption::SequenceGap {
                expected,
                found: batch.first,
            });
        }
        let mut draft = Draft::again(&self.state, batch.time, batch.kinds.len());
        for (index, kind) in batch.kinds.iter().enumerate() {
            let mut done = Ok(());
            // What an event of the economy makes follow is there already.
            if draft.entries().len() == index {
                done = repeat(&mut draft, kind);
            }
            if done.is_err() || draft.entries().get(index).map(|made| &made.kind) != Some(kind) {
                return Err(wrong(expected.saturating_add(index as u64), done));
            }
        }
        let made = draft.entries().len();
        if made > batch.kinds.len() {
            let sequence = batch.last().saturating_add(1);
            return Err(Corruption::Inconsistent { sequence });
        }
        let plan = draft.finish().map_err(|reason| Corruption::Impossible {
            sequence: batch.last(),
            reason,
        })?;
        self.take_in(plan);
        Ok(())
    }

    fn take_in(&mut self, plan: Plan) {
        self.state.absorb(plan);
        self.proven = false;
    }

    fn push_run(&mut self, entries: &[Entry]) -> Result<(), Corruption> {
        let mut entries = entries;
        while let Some((entry, rest)) = entries.split_first()
            && let Some(expected) = self.ahead.front()
        {
            if entry != expected {
                return Err(Corruption::Inconsistent {
                    sequence: expected.sequence,
                });
            }
            self.ahead.pop_front();
            entries = rest;
        }
        let Some(first) = entries.first() else {
            return Ok(());
        };
        let mut draft = Draft::again(&self.state, first.time, entries.len());
        let mut head = self.state.head();
        for (index, entry) in entries.iter().enumerate() {
            let mut done = Ok(());
            if draft.entries().len() == index {
                done = (draft.set_time(entry.time).map_err(Refused::Rules))
                    .and_then(|()| repeat(&mut draft, &entry.kind));
            }
            if done.is_err() || draft.entries().get(index) != Some(entry) {
                // Which of its ways of being wrong comes first is only asked now.
                verify_chain(head, [entry])?;
                return Err(wrong(entry.sequence, done));
            }
            head = entry.head();
        }
        self.ahead
            .extend(draft.entries()[entries.len()..].iter().cloned());
        let plan = draft.finish().map_err(|reason| Corruption::Impossible {
            sequence: head.sequence,
            reason,
        })?;
        self.take_in(plan);
        Ok(())
    }

    /// Ends the history: compares the outcome with the accounts as they were stored.
    ///
    /// # Errors
    /// [`Corruption::AccountDiffers`], [`Corruption::AccountMissing`],
    /// [`Corruption::AccountUnknown`], and those of [`State::check`].
    pub fn finish(self, accounts: impl IntoIterator<Item = Account>) -> Result<State, Corruption> {
        let mut missing: BTreeSet<_> = self.state.accounts().map(|account| account.id).collect();
        for stored in accounts {
            let account = stored.id;
            let history = match self.state.account(account) {
                Some(history) if missing.remove(&account) => history,
                _ => return Err(Corruption::AccountUnknown { account }),
            };
            if *history != stored {
                return Err(Corruption::AccountDiffers {
                    account,
                    stored: Box::new(stored),
                    history: Box::new(*history),
                });
            }
        }
        if let Some(account) = missing.pop_first() {
            return Err(Corruption::AccountMissing { account });
        }
        self.finish_alone()
    }

    /// Ends the history where there are no stored accounts to compare the outcome with. A state that
    /// was proven before, and to which nothing was added, is not looked at again.
    ///
    /// # Errors
    /// Those of [`State::check`].
    pub fn finish_alone(self) -> Result<State, Corruption> {
        if let Some(missing) = self.ahead.front() {
            return Err(Corruption::Inconsistent {
                sequence: missing.sequence,
            });
        }
        if !self.proven {
            self.state.check()?;
        }
        Ok(self.state)
    }
}

/// Does again what made an entry.
fn repeat(draft: &mut Draft<'_>, kind: &EntryKind) -> Result<(), Refused> {
    match asked(kind) {
        Asked::Operation(operation) => draft.execute(&Unread, &operation),
        Asked::Signature => draft.signed(kind.clone()).map_err(Refused::Rules),
        Asked::Economy(id, event) => {
            let done = draft.repeat_economy(id, event).map_err(Refused::Rules)?;
            done.ok_or(Refused::Other)
        }
        Asked::Maturity(event) => draft.repeat_matured(event).ok_or(Refused::Other),
        Asked::Nothing => Err(Refused::Other),
        // What is not due adds no entry, which the caller notices.
        Asked::Expiry(reservation) => {
            draft.expire(reservation);
            Ok(())
        }
    }
}

fn wrong(sequence: u64, done: Result<(), Refused>) -> Corruption {
    match done {
        Err(Refused::Rules(reason)) => Corruption::Impossible { sequence, reason },
        Ok(()) | Err(Refused::Repeat | Refused::Other) => Corruption::Inconsistent { sequence },
    }
}

/// Earlier entries are not read again: whatever would need one is a repeat, which a history does
/// not have.
struct Unread;

enum Refused {
    Rules(LedgerError),
    Repeat,
    /// It has other effects than it says, or none by itself.
    Other,
}

impl From<LedgerError> for Refused {
    fn from(error: LedgerError) -> Self {
        Self::Rules(error)
    }
}

impl History for Unread {
    type Error = Refused;

    fn entry(&self, _: u64) -> Result<Entry, Refused> {
        Err(Refused::Repeat)
    }
}

enum Asked<'a> {
    Operation(Operation),
    Expiry(TransferId),
    Signature,
    Economy(TransferId, &'a Event),
    Maturity(&'a staking::EventKind),
    /// It only ever follows from others.
    Nothing,
}

/// What must have been asked for to make this entry.
fn asked(kind: &EntryKind) -> Asked<'_> {
    Asked::Operation(match *kind {
        EntryKind::Opened {
            account,
            asset,
            kind,
        } => Operation::Open {
            account,
            asset,
            kind,
        },
        EntryKind::Transferred {
            id,
            from,
            to,
            amount,
            memo,
        } => Operation::Transfer {
            id,
            from,
            to,
            amount,
            memo,
        },
        EntryKind::Reserved {
            id,
            from,
            to,
            amount,
            expires,
            memo,
        } => Operation::Reserve {
            id,
            from,
            to,
            amount,
            expires,
            memo,
        },
        EntryKind::Posted {
            id,
            reservation,
            amount,
            ..
        } => Operation::Post {
            id,
            reservation,
            amount: Some(amount),
        },
        EntryKind::Voided {
            id, reservation, ..
        } => Operation::Void { id, reservation },
        EntryKind::Limited {
            id,
            account,
            limits,
        } => Operation::Limit {
            id,
            account,
            limits,
        },
        EntryKind::Closed { id, account } => Operation::Close { id, account },
        EntryKind::Owned { id, account, key } => Operation::Own { id, account, key },
        EntryKind::Expired { reservation, .. } => return Asked::Expiry(reservation),
        EntryKind::Signed { .. } => return Asked::Signature,
        EntryKind::Economy { id, ref event } => return Asked::Economy(id, event),
        EntryKind::Matured { ref event } => return Asked::Maturity(event),
        EntryKind::Moved { .. } => return Asked::Nothing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{ANA, BEN, MINT, NOW, account, id, post, reserve, setting_up};
    use crate::fixtures::{open, transfer, void};
    use crate::{AccountKind, Amount, Book, Head, LedgerError, Memo};
    use fogcompute_base::UnixMillis;

    /// A book with every kind of entry, and its history.
    fn lived() -> (Book, Vec<Entry>) {
        let mut book = Book::new();
        let mut entries = Vec::new();
        let later = UnixMillis(NOW.0 + 100);
        let batches = [
            (setting_up(100), NOW),
            (
                vec![
                    transfer(1, ANA, BEN, 20),
                    reserve(2, ANA, BEN, 30, None),
                    reserve(3, ANA, BEN, 5, None),
                    reserve(4, ANA, BEN, 6, Some(later.0)),
                    reserve(5, BEN, MINT, 7, Some(later.0 + 1)),
                ],
                NOW,
            ),
            (vec![post(6, 2, Some(25)), void(7, 3)], NOW),
        ];
        for (batch, now) in batches {
            let plan = book.plan(&batch, now).unwrap();
            entries.extend_from_slice(plan.entries());
            book.commit(plan).unwrap();
        }
        let plan = book.expire(later);
        assert_eq!(plan.entries().len(), 1);
        entries.extend_from_slice(plan.entries());
        book.commit(plan).unwrap();
        (book, entries)
    }

    /// The history with one entry's kind replaced and all digests made to fit.
    fn forged(entries: &[Entry], sequence: u64, kind: &EntryKind) -> Vec<Entry> {
        let mut head = Head::GENESIS;
        entries
            .iter()
            .map(|entry| {
                let kind = if entry.sequence == sequence {
                    kind
                } else {
                    &entry.kind
                };
                let entry = Entry::after(head, entry.time, kind.clone());
                head = entry.head();
                entry
            })
            .collect()
    }

    fn find(entries: &[Entry], code: u8) -> Entry {
        let found = entries.iter().find(|entry| entry.kind.code() == code);
        found.unwrap().clone()
    }

    #[test]
    fn restored_book_is_the_book() {
        let (book, entries) = lived();
        let accounts: Vec<Account> = book.accounts().copied().collect();
        let restored = Book::restore(entries, accounts).unwrap();
        assert_eq!(restored, book);
        assert_eq!(restored.open_reservations().len(), 1);
        assert_eq!(restored.next_expiry(), Some(UnixMillis(NOW.0 + 101)));
    }

    #[test]
    fn empty_history_is_an_empty_book() {
        assert_eq!(Book::restore([], []), Ok(Book::new()));
    }

    #[test]
    fn changed_and_missing_entries_are_noticed() {
        let (book, entries) = lived();
        let accounts: Vec<Account> = book.accounts().copied().collect();
        let mut changed = entries.clone();
        changed[3].time = UnixMillis(1);
        assert_eq!(
            Book::restore(changed, accounts.clone()),
            Err(Corruption::ChainBroken { sequence: 4 })
        );
        let mut gap = entries.clone();
        gap.remove(3);
        assert_eq!(
            Book::restore(gap, accounts.clone()),
            Err(Corruption::SequenceGap {
                expected: 4,
                found: 5
            })
        );
        // Cut off at the end, the chain is whole but the accounts do not fit.
        let cut = entries[..entries.len() - 1].to_vec();
        assert!(matches!(
            Book::restore(cut, accounts),
            Err(Corruption::AccountDiffers { .. })
        ));
    }

    #[test]
    fn forged_entry_with_a_sound_chain_is_impossible() {
        let (book, entries) = lived();
        let accounts: Vec<Account> = book.accounts().copied().collect();
        let Entry { sequence, .. } = find(&entries, 2);
        let too_much = EntryKind::Transferred {
            id: id(1),
            from: account(ANA),
            to: account(BEN),
            amount: Amount(101),
            memo: Memo::NONE,
        };
        let reason = LedgerError::InsufficientFunds {
            id: id(1),
            account: account(ANA),
            // The first transfer of the fixture is the minting of Ana's 100.
            available: Amount::ZERO,
            needed: Amount(101),
        };
        assert_eq!(
            Book::restore(forged(&entries, sequence, &too_much), accounts),
            Err(Corruption::Impossible { sequence, reason })
        );
    }

    #[test]
    fn entry_that_records_something_else_is_inconsistent() {
        let (book, entries) = lived();
        let accounts: Vec<Account> = book.accounts().copied().collect();
        let posted = find(&entries, 4);
        let EntryKind::Posted {
            id,
            reservation,
            from,
            to,
            amount,
            ..
        } = posted.kind
        else {
            unreachable!("code 4 is a post")
        };
        let cases = [
            (
                posted.sequence,
                EntryKind::Posted {
                    id,
                    reservation,
                    from,
                    to,
                    amount,
                    released: Amount(6),
                },
            ),
            // A repeat.
            (find(&entries, 4).sequence, find(&entries, 3).kind),
            // Not due.
            (
                posted.sequence,
                EntryKind::Expired {
                    reservation,
                    from,
                    to,
                    released: Amount(30),
                },
            ),
        ];
        for (sequence, kind) in cases {
            assert_eq!(
                Book::restore(forged(&entries, sequence, &kind), accounts.clone()),
                Err(Corruption::Inconsistent { sequence })
            );
        }
    }

    #[test]
    fn accounts_must_be_those_of_the_history() {
        let (book, entries) = lived();
        let sound: Vec<Account> = book.accounts().copied().collect();
        let ana = account(ANA);

        let mut accounts = sound.clone();
        let stored = accounts.iter_mut().find(|it| it.id == ana).unwrap();
        let history = Box::new(*stored);
        stored.credits_posted = Amount(1_000);
        let stored = Box::new(*stored);
        assert_eq!(
            Book::restore(entries.clone(), accounts),
            Err(Corruption::AccountDiffers {
                account: ana,
                stored,
                history
            })
        );

        let accounts: Vec<_> = sound.iter().filter(|it| it.id != ana).copied().collect();
        assert_eq!(
            Book::restore(entries.clone(), accounts),
            Err(Corruption::AccountMissing { account: ana })
        );

        let mut other = Book::new();
        other
            .execute(&[open(99, 0, AccountKind::Issuer)], NOW)
            .unwrap();
        for (extra, account) in [
            (*other.account(account(99)).unwrap(), account(99)),
            (*book.account(ana).unwrap(), ana),
        ] {
            let mut accounts = sound.clone();
            accounts.push(extra);
            assert_eq!(
                Book::restore(entries.clone(), accounts),
                Err(Corruption::AccountUnknown { account })
            );
        }
    }
}
