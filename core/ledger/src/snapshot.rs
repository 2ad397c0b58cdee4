//! A state as bytes, so that a store need not carry its whole history out again on opening.

use fogcompute_base::TransferId;
use fogcompute_base::wire::{DecodeError, Writer};

use crate::codec::{Decoder, Write, unknown};
use crate::dao::{self, Dao};
use crate::earning::{self, Earning};
use crate::economy::Event;
use crate::staking::{self, Staking};
use crate::state::{Owner, Place, Slot};
use crate::{
    Account, AssetId, Batch, Head, PublicKey, Reservation, ReservationState, Spent, State,
};

/// Bytes of one id in a segment.
const ID_BYTES: usize = 24;

/// Puts a [`State`] together from what was kept of it.
///
/// A snapshot has two parts. The image ([`State::image`]) has accounts, open reservations and
/// owners as they were at one head, and replaces the one before. Ids only ever become more, so they
/// are kept in segments ([`State::ids_of`]): one for each part of the history, never rewritten. To
/// load, push the segments from the first one on, up to the image's head.
///
/// Image, integers big-endian:
///
/// | bytes | item |
/// |---|---|
/// | 1 | version, 3 |
/// | 8, 32 | sequence `u64` and chain digest of the head |
/// | 8 | number of ids, `u64` |
/// | 4 | number of accounts, `u32`; they follow in the order of their opening |
/// | each | id 16, asset `u32`, kind 1, four counters `u128` (credits and debits posted, pending), limits as in [`crate::Entry`], closed 1, day `u64` and amount `u128` spent, opening entry `u64` |
/// | 8 | number of open reservations, `u64`; they follow by id |
/// | each | id 16, from 16, to 16, amount `u128`, flag 1, expires `u64` if it is 1 |
/// | 4 | number of owners, `u32`; they follow by account |
/// | each | account 16, key 32, nonce `u64` |
/// | 1 | 1 if there is an economy, then an event of its configuration as [`crate::economy::Event`] |
/// | 4, … | length `u32`, then [`crate::staking::Snapshot::encode`] |
/// | 4, … | length `u32`, then [`crate::earning::Snapshot::encode`] |
/// | 4, … | length `u32`, then [`crate::dao::Snapshot::encode`] |
///
/// A segment is a row of ids of 16 bytes, each followed by a `u64`: the sequence of its entry times
/// 8, plus 1 for an open, 2 a posted, 3 a voided, 4 an expired reservation. Of the same id the last
/// one counts.
#[derive(Clone, Debug)]
pub struct Snapshot {
    state: State,
    ids: usize,
}

impl State {
    const IMAGE_VERSION: u8 = 3;

    /// Accounts, open reservations, owners and the economy as bytes: one part of a [`Snapshot`].
    ///
    /// # Panics
    /// If there are 2³² accounts or more, which no memory holds.
    #[must_use]
    pub fn image(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128 + 160 * self.slots.len() + 80 * self.open.len());
        out.u8(Self::IMAGE_VERSION);
        out.u64(self.head.sequence);
        out.raw(self.head.chain.as_bytes());
        out.u64(self.ids.len() as u64);
        out.u32(u32::try_from(self.slots.len()).expect("places of accounts are 32 bits"));
        for slot in &self.slots {
            write_account(&slot.account, &mut out);
            out.u64(slot.opened);
        }
        out.u64(self.open.len() as u64);
        for open in self.open.values() {
            out.transfer(open.id);
            out.account(open.from);
            out.account(open.to);
            out.amount(open.amount);
            out.expires(open.expires);
        }
        out.u32(u32::try_from(self.owners.len()).expect("owners are of accounts"));
        for (account, owner) in &self.owners {
            out.account(*account);
            out.raw(owner.key.as_bytes());
            out.u64(owner.nonce);
        }
        out.u8(u8::from(self.economy.is_some()));
        let mut writer = Writer::new();
        if let Some(economy) = &self.economy {
            Event::Configured((**economy).clone()).write(&mut writer);
        }
        writer.bytes(&self.staking.snapshot().encode());
        writer.bytes(&self.earning.snapshot().encode());
        writer.bytes(&self.dao.snapshot().encode());
        out.raw(&writer.finish());
        out
    }

    /// The places of all ids that these batches used or changed: a segment of a [`Snapshot`] if
    /// they are all the history since the last one.
    #[must_use]
    pub fn ids_of<'a>(&self, batches: impl IntoIterator<Item = &'a Batch>) -> Vec<u8> {
        let mut out = Vec::new();
        for kind in batches.into_iter().flat_map(|batch| &batch.kinds) {
            for (id, place) in self.places(kind) {
                out.transfer(id);
                out.u64(place.0);
            }
        }
        out
    }
}

impl Snapshot {
    /// Reads an image. `segment_bytes` is how long the segments to come are together.
    ///
    /// # Errors
    /// Any [`DecodeError`].
    pub fn new(image: &[u8], segment_bytes: usize) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(image);
        let version = decoder.0.u8()?;
        if version != State::IMAGE_VERSION {
            return Err(unknown(0, version));
        }
        let mut state = State {
            head: Head {
                sequence: decoder.0.u64()?,
                chain: decoder.digest()?,
            },
            ..State::default()
        };
        let at = decoder.0.position();
        let ids = usize::try_from(decoder.0.u64()?).unwrap_or(usize::MAX);
        if ids > segment_bytes / ID_BYTES {
            return Err(DecodeError::TooLong {
                actual: ids,
                limit: segment_bytes / ID_BYTES,
            });
        }
        state.ids.reserve(ids);
        for index in 0..decoder.0.u32()? {
            let slot = Slot {
                account: read_account(&mut decoder)?,
                opened: decoder.0.u64()?,
            };
            if state.accounts.insert(slot.account.id, index).is_some() {
                return Err(unknown(at, 0));
            }
            state.slots.push(slot);
        }
        for _ in 0..decoder.0.u64()? {
            let open = Reservation {
                id: decoder.transfer()?,
                from: decoder.account()?,
                to: decoder.account()?,
                amount: decoder.amount()?,
                expires: decoder.expires()?,
                state: ReservationState::Open,
            };
            let expiry = open.expires.map(|expires| (expires, open.id));
            state.expiries.extend(expiry);
            state.open.insert(open.id, open);
        }
        for _ in 0..decoder.0.u32()? {
            let account = decoder.account()?;
            let owner = Owner {
                key: PublicKey::from_bytes(decoder.0.array()?),
                nonce: decoder.0.u64()?,
            };
            state.owners.insert(account, owner);
        }
        let at = decoder.0.position();
        if decoder.flag()? {
            let Event::Configured(economy) = Event::read(&mut decoder.0)? else {
                return Err(unknown(at, 1));
            };
            state.economy = Some(Box::new(economy));
        }
        let at = decoder.0.position();
        // Rows that do not add up have no number of their own to be told by.
        let staking = staking::Snapshot::decode(decoder.0.bytes(usize::MAX)?)?;
        state.staking = Staking::restore(&staking).map_err(|_| unknown(at, 0))?;
        let at = decoder.0.position();
        let earning = earning::Snapshot::decode(decoder.0.bytes(usize::MAX)?)?;
        state.earning = Earning::restore(&earning).map_err(|_| unknown(at, 0))?;
        let at = decoder.0.position();
        let dao = dao::Snapshot::decode(decoder.0.bytes(usize::MAX)?)?;
        state.dao = Dao::restore_from(dao).map_err(|_| unknown(at, 0))?;
        decoder.0.finish()?;
        Ok(Self { state, ids })
    }

    /// Where the image was made.
    #[must_use]
    pub const fn head(&self) -> Head {
        self.state.head
    }

    /// Takes the next segment.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`] if it ends inside an id.
    pub fn push(&mut self, segment: &[u8]) -> Result<(), DecodeError> {
        let (records, rest) = segment.as_chunks::<ID_BYTES>();
        if !rest.is_empty() {
            return Err(DecodeError::Trailing { count: rest.len() });
        }
        // Room was made for all of them; `extend` would make more towards the end.
        for record in records {
            let (mut id, mut place) = ([0; TransferId::LEN], [0; 8]);
            id.copy_from_slice(&record[..TransferId::LEN]);
            place.copy_from_slice(&record[TransferId::LEN..]);
            let place = Place(u64::from_be_bytes(place));
            self.state.ids.insert(TransferId::from_bytes(id), place);
        }
        Ok(())
    }

    /// The state, if all of it came and it is balanced.
    #[must_use]
    pub fn finish(self) -> Option<State> {
        let State {
            ids, slots, open, ..
        } = &self.state;
        let fits = |account: &Account| {
            let credits = account.credits_posted.checked_add(account.credits_pending);
            let debits = account.debits_posted.checked_add(account.debits_pending);
            credits.is_some() && debits.is_some()
        };
        let is_open = |id| self.state.reservation_state(id) == Some(ReservationState::Open);
        let whole = ids.len() == self.ids
            && slots.iter().all(|slot| fits(&slot.account))
            && open.keys().all(|id| is_open(*id))
            && self.state.check_restored().is_ok();
        whole.then_some(self.state)
    }
}

pub(crate) fn write_account(account: &Account, out: &mut Vec<u8>) {
    out.account(account.id);
    out.u32(account.asset.0);
    out.u8(account.kind.code());
    out.amount(account.credits_posted);
    out.amount(account.debits_posted);
    out.amount(account.credits_pending);
    out.amount(account.debits_pending);
    out.limits(&account.limits);
    out.u8(u8::from(account.closed));
    out.u64(account.spent.day);
    out.amount(account.spent.amount);
}

fn read_account(decoder: &mut Decoder<'_>) -> Result<Account, DecodeError> {
    Ok(Account {
        id: decoder.account()?,
        asset: AssetId(decoder.0.u32()?),
        kind: decoder.kind()?,
        credits_posted: decoder.amount()?,
        debits_posted: decoder.amount()?,
        credits_pending: decoder.amount()?,
        debits_pending: decoder.amount()?,
        limits: decoder.limits()?,
        closed: decoder.flag()?,
        spent: Spent {
            day: decoder.0.u64()?,
            amount: decoder.amount()?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{ANA, BEN, MINT, NOW, account, id, post, reserve, setting_up, transfer};
    use crate::{Amount, Book, Limits, Operation};
    use proptest::prelude::*;

    /// A book with all that an image has, and its history as two batches.
    fn lived() -> (Book, [Batch; 2]) {
        let mut book = Book::new();
        let mut run = |batch: &[Operation]| {
            let plan = book.plan(batch, NOW).unwrap();
            let batch = Batch::decode(&plan.record()).unwrap();
            book.commit(plan).unwrap();
            batch
        };
        let first = run(&setting_up(100));
        let second = run(&[
            transfer(1, ANA, BEN, 20),
            reserve(2, ANA, BEN, 30, Some(NOW.0 + 5)),
            reserve(3, BEN, MINT, 5, None),
            post(4, 3, Some(2)),
            Operation::Own {
                id: id(5),
                account: account(ANA),
                key: PublicKey::from_bytes([9; 32]),
            },
            Operation::Limit {
                id: id(6),
                account: account(MINT),
                limits: Limits {
                    max_supply: Some(Amount(500)),
                    credits_must_not_exceed_debits: true,
                    spend_per_day: Some(Amount(400)),
                },
            },
        ]);
        (book, [first, second])
    }

    #[test]
    fn state_is_put_together_from_its_parts() {
        let (book, batches) = lived();
        let segments = batches.each_ref().map(|batch| book.ids_of([batch]));
        let mut snapshot = Snapshot::new(&book.image(), 7 * ID_BYTES).unwrap();
        assert_eq!(snapshot.head(), book.head());
        for segment in &segments {
            snapshot.push(segment).unwrap();
        }
        assert_eq!(snapshot.finish().as_ref(), Some(book.state()));
    }

    #[test]
    fn parts_that_are_missing_or_cut_are_noticed() {
        let (book, batches) = lived();
        let image = book.image();
        let mut snapshot = Snapshot::new(&image, 7 * ID_BYTES).unwrap();
        snapshot.push(&book.ids_of([&batches[0]])).unwrap();
        assert_eq!(snapshot.clone().finish(), None);
        let trailing = snapshot.push(&[0; ID_BYTES + 1]);
        assert_eq!(trailing, Err(DecodeError::Trailing { count: 1 }));
        // Room is not made for more ids than the segments can have.
        assert_eq!(
            Snapshot::new(&image, 6 * ID_BYTES).unwrap_err(),
            DecodeError::TooLong {
                actual: 7,
                limit: 6
            }
        );
        for length in 0..image.len() {
            assert!(Snapshot::new(&image[..length], usize::MAX).is_err());
        }
    }

    proptest! {
        #[test]
        fn changed_bytes_are_refused_or_balanced(
            at in any::<prop::sample::Index>(),
            flip in 1..=255_u8,
        ) {
            let (book, batches) = lived();
            let mut image = book.image();
            let at = at.index(image.len());
            image[at] ^= flip;
            if let Ok(mut snapshot) = Snapshot::new(&image, 1 << 10) {
                snapshot.push(&book.ids_of(&batches)).unwrap();
                if let Some(state) = snapshot.finish() {
                    prop_assert_eq!(state.check(), Ok(()));
                }
            }
        }
    }
}
