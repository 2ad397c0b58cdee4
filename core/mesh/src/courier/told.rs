//! What two couriers of ours tell each other when they meet.

use std::collections::{BTreeMap, BTreeSet};

use fogcompute_base::wire::{Reader, Writer};

use super::EnvelopeId;
use super::prophet::{PREDICTIONS_MAX, Predictability};
use crate::identity::NoiseKey;
use crate::tlv::{FormatError, fields16, once, put16};

/// Most envelopes that one list of an exchange names.
pub const CARRIED_MAX: usize = 512;
/// How much of an [`EnvelopeId`] is told.
pub const SHORT_ID_BYTES: usize = 8;
const ENTRY_BYTES: usize = 34;
/// Envelopes of which it is remembered that a neighbour has them.
const HAS_MAX: usize = 4096;

/// What a courier tells another one, inside a session.
///
/// Who has something to give offers it, and gives what the other one wants: that one may have it, or have said to
/// another neighbour that it wants it. Source of the order: RFC 6693 §3.3.2 and §3.3.3 (offers and responses).
///
/// | tag | content |
/// |---|---|
/// | 01 | predictabilities, at most 256: Noise key 32, `u16` in parts of 65,535 |
/// | 02 | envelopes that it has or had, at most 512: the first 8 bytes of their [`EnvelopeId`] |
/// | 03 | envelopes that it would give, likewise |
/// | 04 | envelopes that it was offered and takes, likewise |
///
/// Each field is its tag, its length as `u16`, and the content; all may be missing, others are skipped.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CourierNews {
    /// How likely it is to reach whom.
    pub predictions: Vec<(NoiseKey, Predictability)>,
    /// Which envelopes it need not be given.
    pub carried: Vec<[u8; SHORT_ID_BYTES]>,
    /// Which envelopes it would give.
    pub offered: Vec<[u8; SHORT_ID_BYTES]>,
    /// Which envelopes it was offered and takes.
    pub wanted: Vec<[u8; SHORT_ID_BYTES]>,
}

impl CourierNews {
    /// Reads what was told.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut predictions = None;
        let mut lists = [None, None, None];
        let mut fields = fields16(bytes);
        while let Some((tag, value)) = fields.next_field()? {
            match tag {
                1 => {
                    let (entries, rest) = value.as_chunks::<ENTRY_BYTES>();
                    check(tag, value, entries.len(), rest, PREDICTIONS_MAX)?;
                    let mut all = Vec::with_capacity(entries.len());
                    for entry in entries {
                        let mut reader = Reader::new(entry);
                        let key = NoiseKey::from_bytes(reader.array()?);
                        all.push((key, Predictability::from_wire(reader.u16()?)));
                    }
                    once(&mut predictions, tag, all)?;
                }
                2..=4 => {
                    let (ids, rest) = value.as_chunks();
                    check(tag, value, ids.len(), rest, CARRIED_MAX)?;
                    once(&mut lists[usize::from(tag - 2)], tag, ids.to_vec())?;
                }
                _ => {}
            }
        }
        let [carried, offered, wanted] = lists.map(Option::unwrap_or_default);
        Ok(Self {
            predictions: predictions.unwrap_or_default(),
            carried,
            offered,
            wanted,
        })
    }

    /// What is told.
    ///
    /// # Errors
    /// [`FormatError::Length`] if there is too much of it.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let mut entries = Writer::new();
        for (key, chance) in &self.predictions {
            entries.raw(key.as_bytes());
            entries.u16(chance.to_wire());
        }
        let entries = entries.finish();
        check(1, &entries, self.predictions.len(), &[], PREDICTIONS_MAX)?;
        let mut out = Vec::new();
        if !entries.is_empty() {
            put16(&mut out, 1, &entries)?;
        }
        for (tag, list) in (2..).zip([&self.carried, &self.offered, &self.wanted]) {
            let ids = list.concat();
            check(tag, &ids, list.len(), &[], CARRIED_MAX)?;
            if !ids.is_empty() {
                put16(&mut out, tag, &ids)?;
            }
        }
        Ok(out)
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.predictions.is_empty()
            && self.carried.is_empty()
            && self.offered.is_empty()
            && self.wanted.is_empty()
    }
}

/// What a neighbour has told since it came.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Told {
    /// How likely it is to reach whom.
    pub predictions: BTreeMap<NoiseKey, Predictability>,
    has: BTreeSet<[u8; SHORT_ID_BYTES]>,
}

impl Told {
    /// It tells something more.
    pub fn learn(&mut self, news: &CourierNews) {
        if !news.predictions.is_empty() {
            self.predictions = news.predictions.iter().copied().collect();
        }
        // What it offers it has.
        for id in news.carried.iter().chain(&news.offered) {
            if self.has.len() >= HAS_MAX {
                return;
            }
            self.has.insert(*id);
        }
    }

    /// Whether it said that it has an envelope, or had it.
    #[must_use]
    pub fn has(&self, id: &EnvelopeId) -> bool {
        self.has.contains(&id.short())
    }
}

impl From<&CourierNews> for Told {
    fn from(news: &CourierNews) -> Self {
        let mut told = Self::default();
        told.learn(news);
        told
    }
}

const fn check(
    tag: u8,
    value: &[u8],
    count: usize,
    rest: &[u8],
    limit: usize,
) -> Result<(), FormatError> {
    if count > limit || !rest.is_empty() {
        return Err(FormatError::Length {
            tag,
            actual: value.len(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn news(predictions: usize, carried: usize) -> CourierNews {
        let key = |index: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&index.to_be_bytes());
            NoiseKey::from_bytes(bytes)
        };
        let keys = (0..predictions).map(|index| (key(index), Predictability::ONE));
        CourierNews {
            predictions: keys.collect(),
            carried: (0..carried).map(usize::to_be_bytes).collect(),
            offered: (1..carried).map(usize::to_be_bytes).collect(),
            wanted: (2..carried).map(usize::to_be_bytes).collect(),
        }
    }

    #[test]
    fn as_much_is_told_as_is_allowed_and_no_more() {
        for (predictions, carried) in [(0, 0), (1, 0), (0, 1), (PREDICTIONS_MAX, CARRIED_MAX)] {
            let told = news(predictions, carried);
            assert_eq!(told.is_empty(), (predictions, carried) == (0, 0));
            assert_eq!(CourierNews::decode(&told.encode().unwrap()), Ok(told));
        }
        for (predictions, carried) in [(PREDICTIONS_MAX + 1, 0), (0, CARRIED_MAX + 1)] {
            assert!(news(predictions, carried).encode().is_err());
        }
        for tag in 2..=4 {
            let mut long = Vec::new();
            put16(&mut long, tag, &vec![0; SHORT_ID_BYTES * (CARRIED_MAX + 1)]).unwrap();
            assert!(CourierNews::decode(&long).is_err());
        }
    }

    #[test]
    fn what_a_neighbour_has_is_remembered_up_to_a_limit() {
        let id = |number: usize| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&number.to_be_bytes());
            EnvelopeId(id)
        };
        let mut told = Told::from(&news(1, 2));
        assert!(told.has(&id(1)) && !told.has(&id(2)));
        let offers = CourierNews {
            offered: vec![2_usize.to_be_bytes()],
            wanted: vec![3_usize.to_be_bytes()],
            ..CourierNews::default()
        };
        told.learn(&offers);
        assert!(told.has(&id(1)) && told.has(&id(2)) && !told.has(&id(3)));
        assert_eq!(told.predictions.len(), 1);
        for block in 0..9 {
            let carried =
                (0..CARRIED_MAX).map(|at| (1000 + block * CARRIED_MAX + at).to_be_bytes());
            told.learn(&CourierNews {
                carried: carried.collect(),
                ..CourierNews::default()
            });
        }
        assert_eq!(told.has.len(), HAS_MAX);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(
            tag in 0_u8..6, bytes in proptest::collection::vec(any::<u8>(), 0..150),
        ) {
            let mut field = Vec::new();
            put16(&mut field, tag, &bytes).unwrap();
            for input in [bytes, field] {
                if let Ok(news) = CourierNews::decode(&input) {
                    let again = news.encode().unwrap();
                    let read = CourierNews::decode(&again).unwrap();
                    prop_assert_eq!(read.carried, news.carried);
                    prop_assert_eq!(read.predictions.len(), news.predictions.len());
                }
            }
        }
    }
}
