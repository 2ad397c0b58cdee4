//! The history: entries that are never changed, each chained to the one before.

use fogcompute_base::{AccountId, Digest, TransferId, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::codec::{Write, write_entry};
use crate::economy::{self, Event};
use crate::{AccountKind, Amount, AssetId, Corruption, Limits, Memo, PublicKey, Purse, staking};

/// The end of a history: names everything before it.
///
/// Two books with the same head have the same history. Keep a copy elsewhere (in a checkpoint, at
/// a peer) to notice a history that was cut short, which its own chain cannot show.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Head {
    /// Number of the last entry; 0 when there is none. Also the number of entries.
    pub sequence: u64,
    /// Chain digest of the last entry.
    pub chain: Digest,
}

impl Head {
    /// The head of an empty history.
    pub const GENESIS: Self = Self {
        sequence: 0,
        chain: Digest::from_bytes([0; Digest::LEN]),
    };
}

impl Default for Head {
    fn default() -> Self {
        Self::GENESIS
    }
}

/// What an entry records.
#[non_exhaustive]
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum EntryKind {
    /// An account was opened.
    Opened {
        /// The new account.
        account: AccountId,
        /// The one asset it holds.
        asset: AssetId,
        /// What it may do.
        kind: AccountKind,
    },
    /// An amount was moved at once.
    Transferred {
        /// The operation.
        id: TransferId,
        /// Gave.
        from: AccountId,
        /// Received.
        to: AccountId,
        /// Base units moved.
        amount: Amount,
        /// What it was for.
        #[serde(default)]
        memo: Memo,
    },
    /// An amount was held back.
    Reserved {
        /// The operation, and the name of the reservation.
        id: TransferId,
        /// Will give.
        from: AccountId,
        /// Will receive.
        to: AccountId,
        /// Base units held back.
        amount: Amount,
        /// From this time on it can only be released.
        expires: Option<UnixMillis>,
        /// What it was for.
        #[serde(default)]
        memo: Memo,
    },
    /// A reserved amount was moved, whole or in part.
    Posted {
        /// The operation.
        id: TransferId,
        /// The reservation it closed.
        reservation: TransferId,
        /// Gave.
        from: AccountId,
        /// Received.
        to: AccountId,
        /// Base units moved.
        amount: Amount,
        /// Base units that were reserved but not moved.
        released: Amount,
    },
    /// A reservation was released on request.
    Voided {
        /// The operation.
        id: TransferId,
        /// The reservation it closed.
        reservation: TransferId,
        /// Would have given.
        from: AccountId,
        /// Would have received.
        to: AccountId,
        /// Base units released.
        released: Amount,
    },
    /// A reservation was released because its time had come.
    Expired {
        /// The reservation it closed.
        reservation: TransferId,
        /// Would have given.
        from: AccountId,
        /// Would have received.
        to: AccountId,
        /// Base units released.
        released: Amount,
    },
    /// An account's limits were set.
    Limited {
        /// The operation.
        id: TransferId,
        /// The account.
        account: AccountId,
        /// Its limits from then on.
        limits: Limits,
    },
    /// An account was closed.
    Closed {
        /// The operation.
        id: TransferId,
        /// The account.
        account: AccountId,
    },
    /// An account's owner was registered.
    Owned {
        /// The operation.
        id: TransferId,
        /// The account.
        account: AccountId,
        /// The owner's key.
        key: PublicKey,
    },
    /// The owner of an account signed for the entries of the same batch that follow.
    Signed {
        /// The account.
        account: AccountId,
        /// Number of the signature, from 1.
        nonce: u64,
        /// [`crate::SignedBatch::digest`] of what was signed.
        digest: Digest,
    },
    /// Something happened in the economy. The movements it makes follow in the same batch.
    Economy {
        /// The operation.
        id: TransferId,
        /// What happened.
        event: Box<Event>,
    },
    /// Stake on its way out came to the end of it. What is paid out follows in the same batch.
    Matured {
        /// What happened.
        event: Box<staking::EventKind>,
    },
    /// An amount was moved by the economy.
    Moved {
        /// Sequence of the entry that made it so.
        cause: u64,
        /// Gave.
        from: AccountId,
        /// Received.
        to: AccountId,
        /// Base units moved.
        amount: Amount,
    },
}

impl EntryKind {
    /// The kind's number in the canonical encoding and in stores.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Opened { .. } => 1,
            Self::Transferred { .. } => 2,
            Self::Reserved { .. } => 3,
            Self::Posted { .. } => 4,
            Self::Voided { .. } => 5,
            Self::Expired { .. } => 6,
            Self::Limited { .. } => 7,
            Self::Closed { .. } => 8,
            Self::Owned { .. } => 9,
            Self::Signed { .. } => 10,
            Self::Economy { .. } => 11,
            Self::Matured { .. } => 12,
            Self::Moved { .. } => 13,
        }
    }

    /// The kind's name, in the past as it happened; it never changes.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Opened { .. } => "opened",
            Self::Transferred { .. } => "transferred",
            Self::Reserved { .. } => "reserved",
            Self::Posted { .. } => "posted",
            Self::Voided { .. } => "voided",
            Self::Expired { .. } => "expired",
            Self::Limited { .. } => "limited",
            Self::Closed { .. } => "closed",
            Self::Owned { .. } => "owned",
            Self::Signed { .. } => "signed",
            Self::Economy { .. } => "economy",
            Self::Matured { .. } => "matured",
            Self::Moved { .. } => "moved",
        }
    }

    /// The operation that made it, if it was named by an id of its own.
    #[must_use]
    pub const fn id(&self) -> Option<TransferId> {
        match *self {
            Self::Transferred { id, .. }
            | Self::Reserved { id, .. }
            | Self::Posted { id, .. }
            | Self::Voided { id, .. }
            | Self::Limited { id, .. }
            | Self::Closed { id, .. }
            | Self::Owned { id, .. }
            | Self::Economy { id, .. } => Some(id),
            Self::Opened { .. }
            | Self::Expired { .. }
            | Self::Signed { .. }
            | Self::Matured { .. }
            | Self::Moved { .. } => None,
        }
    }

    /// The reservation it closed, if it closed one.
    #[must_use]
    pub const fn reservation(&self) -> Option<TransferId> {
        match *self {
            Self::Posted { reservation, .. }
            | Self::Voided { reservation, .. }
            | Self::Expired { reservation, .. } => Some(reservation),
            _ => None,
        }
    }

    /// The one account it is about, if it moves nothing from one to another by itself.
    #[must_use]
    pub fn account(&self) -> Option<AccountId> {
        match *self {
            Self::Opened { account, .. }
            | Self::Limited { account, .. }
            | Self::Closed { account, .. }
            | Self::Owned { account, .. }
            | Self::Signed { account, .. } => Some(account),
            Self::Economy { ref event, .. } => Some(event.account()),
            Self::Matured { ref event } => Some(economy::account_of(event)),
            _ => None,
        }
    }

    /// What happened in the economy, as JSON text: an [`Event`], or an event of staking for what
    /// matured.
    #[must_use]
    pub fn event_json(&self) -> Option<String> {
        match self {
            Self::Economy { event, .. } => Some(economy::text(event)),
            Self::Matured { event } => Some(economy::text(event)),
            _ => None,
        }
    }

    /// Whether it follows from an entry before it, so that no batch begins with it: movements of
    /// the economy, and the largest supply of its mint.
    #[must_use]
    pub fn follows(&self) -> bool {
        match *self {
            Self::Moved { .. } => true,
            Self::Limited { account, .. } => account == Purse::Mint.account(),
            _ => false,
        }
    }

    /// What it was for; nothing is said of what is no transfer and no reservation.
    #[must_use]
    pub const fn memo(&self) -> Memo {
        match *self {
            Self::Transferred { memo, .. } | Self::Reserved { memo, .. } => memo,
            _ => Memo::NONE,
        }
    }

    /// The account that gives and the account that receives; `None` for what is about one only.
    #[must_use]
    pub const fn parties(&self) -> Option<(AccountId, AccountId)> {
        match *self {
            Self::Transferred { from, to, .. }
            | Self::Reserved { from, to, .. }
            | Self::Posted { from, to, .. }
            | Self::Voided { from, to, .. }
            | Self::Expired { from, to, .. }
            | Self::Moved { from, to, .. } => Some((from, to)),
            Self::Opened { .. }
            | Self::Limited { .. }
            | Self::Closed { .. }
            | Self::Owned { .. }
            | Self::Signed { .. }
            | Self::Economy { .. }
            | Self::Matured { .. } => None,
        }
    }

    /// Base units that moved from one posted balance to another: zero for everything but a
    /// transfer, a post and a movement of the economy.
    #[must_use]
    pub const fn moved(&self) -> Amount {
        match *self {
            Self::Transferred { amount, .. }
            | Self::Posted { amount, .. }
            | Self::Moved { amount, .. } => amount,
            _ => Amount::ZERO,
        }
    }
}

/// One line of the history.
///
/// The chain digest is BLAKE3 `derive_key` with the context
/// `fogcompute 2026-11-21 ledger entry chain v1` over the previous entry's chain digest (32 zero
/// bytes before the first entry) followed by the canonical encoding:
///
/// | bytes | item |
/// |---|---|
/// | 8 | sequence, `u64` |
/// | 8 | time, Unix milliseconds, `u64` |
/// | 1 | [`EntryKind::code`] |
/// | opened | account 16, asset `u32`, [`AccountKind::code`] 1 |
/// | transferred | id 16, from 16, to 16, amount `u128` |
/// | reserved | id 16, from 16, to 16, amount `u128`, flag 1, expires `u64` if the flag is 1 |
/// | posted | id 16, reservation 16, from 16, to 16, amount `u128`, released `u128` |
/// | voided | id 16, reservation 16, from 16, to 16, released `u128` |
/// | expired | reservation 16, from 16, to 16, released `u128` |
/// | limited | id 16, account 16, limits |
/// | closed | id 16, account 16 |
/// | owned | id 16, account 16, key 32 |
/// | signed | account 16, nonce `u64`, digest 32 |
/// | economy | id 16, event as [`crate::economy::Event`] |
/// | matured | event as [`crate::staking::Event`], without its time |
/// | moved | cause `u64`, from 16, to 16, amount `u128` |
/// | memo | code `u16`, reference 16; only if there is one: the entry's code then has bit 7 set |
///
/// Limits are the largest supply, a byte that is 1 if credits must not exceed debits, and what may
/// be spent a day; the two amounts are a flag 1 and, if it is 1, a `u128`.
///
/// Integers are big-endian ([`fogcompute_base::wire`]).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Entry {
    /// Place in the history, from 1 without gaps.
    pub sequence: u64,
    /// The host's wall time when it was planned. Not monotonic: clocks are set back.
    pub time: UnixMillis,
    /// What happened.
    pub kind: EntryKind,
    /// Digest of this entry and, through the one before, of the whole history up to it.
    pub chain: Digest,
}

impl Entry {
    /// The entry that follows `previous`.
    #[cfg(test)]
    pub(crate) fn after(previous: Head, time: UnixMillis, kind: EntryKind) -> Self {
        Chain::new().next(previous, time, kind)
    }

    /// The head of the history that ends with this entry.
    #[must_use]
    pub const fn head(&self) -> Head {
        Head {
            sequence: self.sequence,
            chain: self.chain,
        }
    }

    /// The bytes the chain digest covers, without the previous digest.
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.u64(self.sequence);
        bytes.u64(self.time.0);
        write_entry(&self.kind, &mut bytes);
        bytes
    }

    fn chain_after(&self, previous: Digest) -> Digest {
        let head = Head {
            sequence: self.sequence.saturating_sub(1),
            chain: previous,
        };
        Chain::new().digest(head, self.time, &self.kind)
    }
}

/// Makes entries, one after the other, in one buffer.
#[derive(Debug)]
pub(crate) struct Chain(Vec<u8>);

impl Chain {
    const CONTEXT: &str = "fogcompute 2026-11-21 ledger entry chain v1";
    const KIND_AT: usize = Digest::LEN + 16;

    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(256))
    }

    /// The entry that follows `previous`.
    pub(crate) fn next(&mut self, previous: Head, time: UnixMillis, kind: EntryKind) -> Entry {
        let chain = self.digest(previous, time, &kind);
        Entry {
            sequence: following(previous),
            time,
            kind,
            chain,
        }
    }

    fn digest(&mut self, previous: Head, time: UnixMillis, kind: &EntryKind) -> Digest {
        self.0.clear();
        self.0.raw(previous.chain.as_bytes());
        self.0.u64(following(previous));
        self.0.u64(time.0);
        write_entry(kind, &mut self.0);
        Digest::derive(Self::CONTEXT, &self.0)
    }

    /// The kind of the entry made last, as bytes.
    pub(crate) fn kind_bytes(&self) -> &[u8] {
        &self.0[Self::KIND_AT..]
    }
}

const fn following(previous: Head) -> u64 {
    // One entry a nanosecond would need 584 years to get to the end.
    previous.sequence.saturating_add(1)
}

/// Follows the chain from `start` over `entries` and returns where it ends.
///
/// Checks numbers and digests, not whether the operations were allowed; for that rebuild the book
/// with [`crate::Restore`]. A whole history starts at [`Head::GENESIS`].
///
/// # Errors
/// [`Corruption::SequenceGap`], [`Corruption::ChainBroken`].
pub fn verify_chain<'a>(
    start: Head,
    entries: impl IntoIterator<Item = &'a Entry>,
) -> Result<Head, Corruption> {
    let mut head = start;
    for entry in entries {
        let expected = head.sequence.saturating_add(1);
        if entry.sequence != expected {
            return Err(Corruption::SequenceGap {
                expected,
                found: entry.sequence,
            });
        }
        if entry.chain != entry.chain_after(head.chain) {
            return Err(Corruption::ChainBroken {
                sequence: entry.sequence,
            });
        }
        head = entry.head();
    }
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::every_kind;

    fn account(n: u8) -> AccountId {
        AccountId::from_bytes([n; 16])
    }

    fn id(n: u8) -> TransferId {
        TransferId::from_bytes([n; 16])
    }

    /// One entry of every kind.
    fn history() -> Vec<Entry> {
        let mut head = Head::GENESIS;
        every_kind()
            .into_iter()
            .map(|kind| {
                let entry = Entry::after(head, UnixMillis(1_000), kind);
                head = entry.head();
                entry
            })
            .collect()
    }

    #[test]
    fn canonical_encoding_is_the_documented_table() {
        let lengths: Vec<usize> = history()
            .iter()
            .map(|entry| entry.canonical().len() - 17)
            .collect();
        let text = serde_json::to_string(&economy::Economy::default()).unwrap();
        // The id, the event's code, the text's length and the text.
        assert_eq!(lengths[15], 16 + 1 + 4 + text.len());
        assert_eq!(lengths[16..], [73, 56]);
        assert_eq!(
            lengths[..15],
            [21, 64, 73, 83, 96, 80, 64, 35, 67, 32, 64, 56, 47, 50, 98]
        );
        let mut expected = vec![0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 3, 232, 2];
        expected.extend([1; 16]);
        expected.extend([1; 16]);
        expected.extend([2; 16]);
        expected.extend([0; 15]);
        expected.push(10);
        assert_eq!(history()[1].canonical(), expected);
    }

    #[test]
    fn chain_digests_match_another_blake3() {
        // Computed from the table above with the Python package blake3 (derive_key_context).
        let chain: Vec<String> = history()[..2]
            .iter()
            .map(|entry| entry.chain.to_string())
            .collect();
        assert_eq!(
            chain,
            [
                "b9183de6b239a6d8bf75ae66a81a0c109b73cf08c8465ff6753ce46532c2baa4",
                "e12caee49a6959189f099e54d9b84c3b3e431e66915febde404e9952435f61ca",
            ]
        );
    }

    #[test]
    fn whole_chain_verifies_and_ends_at_the_last_entry() {
        let entries = history();
        assert_eq!(
            verify_chain(Head::GENESIS, &entries),
            Ok(entries[17].head())
        );
        assert_eq!(
            verify_chain(entries[2].head(), &entries[3..]),
            Ok(entries[17].head())
        );
    }

    #[test]
    fn any_change_breaks_the_chain() {
        for position in 0..7 {
            let mut entries = history();
            entries[position].time = UnixMillis(1_001);
            let sequence = entries[position].sequence;
            assert_eq!(
                verify_chain(Head::GENESIS, &entries),
                Err(Corruption::ChainBroken { sequence })
            );
        }
        let mut entries = history();
        entries[1].kind = EntryKind::Transferred {
            id: id(1),
            from: account(1),
            to: account(2),
            amount: Amount(11),
            memo: Memo::NONE,
        };
        assert_eq!(
            verify_chain(Head::GENESIS, &entries),
            Err(Corruption::ChainBroken { sequence: 2 })
        );
    }

    #[test]
    fn missing_entry_is_a_gap() {
        let mut entries = history();
        entries.remove(3);
        assert_eq!(
            verify_chain(Head::GENESIS, &entries),
            Err(Corruption::SequenceGap {
                expected: 4,
                found: 5
            })
        );
    }

    #[test]
    fn entries_tell_who_and_how_much() {
        let entries = history();
        assert_eq!(entries[0].kind.parties(), None);
        assert_eq!(entries[0].kind.id(), None);
        assert_eq!(entries[4].kind.parties(), Some((account(1), account(2))));
        assert_eq!(entries[4].kind.id(), Some(id(4)));
        let moved: Vec<u128> = entries.iter().map(|entry| entry.kind.moved().0).collect();
        assert_eq!(
            moved,
            [0, 10, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]
        );
    }
}
