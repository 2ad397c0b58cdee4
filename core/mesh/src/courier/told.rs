//! What two couriers of ours tell each other when they meet.

use fogcompute_base::wire::{Reader, Writer};

use super::EnvelopeId;
use super::prophet::{PREDICTIONS_MAX, Predictability};
use crate::identity::NoiseKey;
use crate::tlv::{FormatError, fields16, once, put16};

/// Most envelopes that one exchange names.
pub const CARRIED_MAX: usize = 512;
/// How much of an [`EnvelopeId`] is told.
pub const SHORT_ID_BYTES: usize = 8;
const ENTRY_BYTES: usize = 34;

/// What a courier tells another one, inside a session.
///
/// | tag | content |
/// |---|---|
/// | 01 | predictabilities, at most 256: Noise key 32, `u16` in parts of 65,535 |
/// | 02 | envelopes that it has or had, at most 512: the first 8 bytes of their [`EnvelopeId`] |
///
/// Each field is its tag, its length as `u16`, and the content; both may be missing, others are skipped.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CourierNews {
    /// How likely it is to reach whom.
    pub predictions: Vec<(NoiseKey, Predictability)>,
    /// Which envelopes it need not be given.
    pub carried: Vec<[u8; SHORT_ID_BYTES]>,
}

impl CourierNews {
    /// Reads what was told.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let (mut predictions, mut carried) = (None, None);
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
                2 => {
                    let (ids, rest) = value.as_chunks();
                    check(tag, value, ids.len(), rest, CARRIED_MAX)?;
                    once(&mut carried, tag, ids.to_vec())?;
                }
                _ => {}
            }
        }
        Ok(Self {
            predictions: predictions.unwrap_or_default(),
            carried: carried.unwrap_or_default(),
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
        let ids = self.carried.concat();
        check(2, &ids, self.carried.len(), &[], CARRIED_MAX)?;
        let mut out = Vec::new();
        if !entries.is_empty() {
            put16(&mut out, 1, &entries)?;
        }
        if !ids.is_empty() {
            put16(&mut out, 2, &ids)?;
        }
        Ok(out)
    }

    /// Whether an envelope is among those that need not be given.
    #[must_use]
    pub fn has(&self, id: &EnvelopeId) -> bool {
        self.carried.contains(&id.short())
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
        }
    }

    #[test]
    fn as_much_is_told_as_is_allowed_and_no_more() {
        for (predictions, carried) in [(0, 0), (1, 0), (0, 1), (PREDICTIONS_MAX, CARRIED_MAX)] {
            let told = news(predictions, carried);
            assert_eq!(CourierNews::decode(&told.encode().unwrap()), Ok(told));
        }
        for (predictions, carried) in [(PREDICTIONS_MAX + 1, 0), (0, CARRIED_MAX + 1)] {
            assert!(news(predictions, carried).encode().is_err());
        }
        let mut long = Vec::new();
        put16(&mut long, 2, &vec![0; SHORT_ID_BYTES * (CARRIED_MAX + 1)]).unwrap();
        assert!(CourierNews::decode(&long).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(
            tag in 0_u8..4, bytes in proptest::collection::vec(any::<u8>(), 0..150),
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
