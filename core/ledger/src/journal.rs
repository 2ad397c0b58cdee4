//! One batch of the history as one record, for a journal on disk.

use fogcompute_base::wire::DecodeError;
use fogcompute_base::{Digest, UnixMillis};

use crate::codec::{Decoder, Write, unknown, write_entry};
use crate::entry::Chain;
use crate::{BATCH_OPERATIONS_MAX, Entry, EntryKind, Head};

/// Most entries one record has: five for every operation (a slash makes four movements), and one
/// for a signature.
pub const BATCH_ENTRIES_MAX: usize = 5 * BATCH_OPERATIONS_MAX + 1;

/// A batch as a journal keeps it: what it did and when, without digests, which follow from that.
///
/// | bytes | item |
/// |---|---|
/// | 1 | version, 1 |
/// | 8 | sequence of the first entry, `u64`, from 1 |
/// | 8 | time, Unix milliseconds, `u64` |
/// | 4 | number of entries, `u32`, from 1 to [`BATCH_ENTRIES_MAX`] |
/// | … | for each entry its kind, as in the table of [`Entry`] from the code on |
///
/// Integers are big-endian. Nothing else decodes, so a record has one encoding only.
///
/// ```
/// use fogcompute_base::{AccountId, UnixMillis};
/// use fogcompute_ledger::{AccountKind, AssetId, Batch, Book, Head, Operation};
///
/// let open = Operation::Open {
///     account: AccountId::from_bytes([1; 16]),
///     asset: AssetId::CREDITS,
///     kind: AccountKind::Issuer,
/// };
/// let mut book = Book::new();
/// let plan = book.plan(&[open], UnixMillis(5))?;
/// let record = plan.record();
/// let batch = Batch::decode(&record)?;
/// assert_eq!(batch.entries(Head::GENESIS.chain), plan.entries());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Batch {
    /// Sequence of the first entry.
    pub first: u64,
    /// The time of all its entries.
    pub time: UnixMillis,
    /// What its entries record.
    pub kinds: Vec<EntryKind>,
}

impl Batch {
    const VERSION: u8 = 1;
    pub(crate) const HEADER_BYTES: usize = 21;

    pub(crate) fn header(first: u64, time: UnixMillis, count: usize) -> [u8; Self::HEADER_BYTES] {
        let mut header = [Self::VERSION; Self::HEADER_BYTES];
        header[1..9].copy_from_slice(&first.to_be_bytes());
        header[9..17].copy_from_slice(&time.0.to_be_bytes());
        let count = u32::try_from(count).expect("batches have a limit");
        header[17..].copy_from_slice(&count.to_be_bytes());
        header
    }

    /// The batch as bytes.
    ///
    /// # Panics
    /// If there are more than 2³² entries.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::HEADER_BYTES + 65 * self.kinds.len());
        out.raw(&Self::header(self.first, self.time, self.kinds.len()));
        for kind in &self.kinds {
            write_entry(kind, &mut out);
        }
        out
    }

    /// Reads a batch.
    ///
    /// # Errors
    /// Any [`DecodeError`]; foreign bytes cannot do worse.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        let version = decoder.0.u8()?;
        if version != Self::VERSION {
            return Err(unknown(0, version));
        }
        let first = decoder.0.u64()?;
        if first == 0 {
            return Err(unknown(1, 0));
        }
        let time = UnixMillis(decoder.0.u64()?);
        let count = usize::try_from(decoder.0.u32()?).unwrap_or(usize::MAX);
        if count == 0 {
            return Err(unknown(17, 0));
        }
        if count > BATCH_ENTRIES_MAX {
            return Err(DecodeError::TooLong {
                actual: count,
                limit: BATCH_ENTRIES_MAX,
            });
        }
        let kinds = (0..count).map(|_| decoder.entry());
        let kinds = kinds.collect::<Result<_, _>>()?;
        decoder.0.finish()?;
        Ok(Self { first, time, kinds })
    }

    /// Sequence of the last entry.
    #[must_use]
    pub fn last(&self) -> u64 {
        let count = u64::try_from(self.kinds.len()).unwrap_or(u64::MAX);
        self.first.saturating_add(count.saturating_sub(1))
    }

    /// Its entries, the first of which follows one with the digest `chain`.
    #[must_use]
    pub fn entries(&self, chain: Digest) -> Vec<Entry> {
        let mut head = Head {
            sequence: self.first.saturating_sub(1),
            chain,
        };
        let mut bytes = Chain::new();
        let entry = |kind: &EntryKind| {
            let entry = bytes.next(head, self.time, kind.clone());
            head = entry.head();
            entry
        };
        self.kinds.iter().map(entry).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::every_kind;
    use proptest::prelude::*;

    fn batch() -> Batch {
        Batch {
            first: 7,
            time: UnixMillis(1_000),
            kinds: every_kind(),
        }
    }

    #[test]
    fn encoding_is_the_documented_table() {
        let bytes = batch().encode();
        let mut header = vec![1];
        header.extend(7_u64.to_be_bytes());
        header.extend(1_000_u64.to_be_bytes());
        header.extend(u32::try_from(every_kind().len()).unwrap().to_be_bytes());
        assert_eq!(bytes[..21], header);
        assert_eq!(Batch::decode(&bytes), Ok(batch()));
        assert_eq!(batch().last(), 6 + every_kind().len() as u64);
    }

    #[test]
    fn record_that_is_cut_or_goes_on_is_refused() {
        let bytes = batch().encode();
        for length in 0..bytes.len() {
            assert!(Batch::decode(&bytes[..length]).is_err(), "{length}");
        }
        let mut longer = bytes;
        longer.push(0);
        let trailing = Err(DecodeError::Trailing { count: 1 });
        assert_eq!(Batch::decode(&longer), trailing);
    }

    #[test]
    fn headers_that_mean_nothing_are_refused() {
        let sound = batch().encode();
        for (at, value) in [(0, 2), (8, 0), (20, 0), (17, 1), (20, 200)] {
            let mut bytes = sound.clone();
            bytes[at] = value;
            assert!(Batch::decode(&bytes).is_err(), "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn foreign_bytes_decode_to_what_encodes_to_them(
            bytes in proptest::collection::vec(any::<u8>(), 0..120),
            position in any::<prop::sample::Index>(),
            flip in 1..=255_u8,
        ) {
            if let Ok(batch) = Batch::decode(&bytes) {
                prop_assert_eq!(batch.encode(), bytes);
            }
            let mut bytes = batch().encode();
            let at = position.index(bytes.len());
            bytes[at] ^= flip;
            if let Ok(batch) = Batch::decode(&bytes) {
                prop_assert_eq!(batch.encode(), bytes);
            }
        }
    }
}
