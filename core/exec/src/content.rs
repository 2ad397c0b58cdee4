//! Bytes that are named by what they are.

use std::fmt;
use std::str::FromStr;

use fogcompute_base::wire::{DecodeError, Reader, Writer};
use fogcompute_base::{Digest, ParseIdError};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest content, in bytes: a program, an input, an output or a checkpoint.
pub const CONTENT_BYTES_MAX: usize = 128 << 20;

/// Most inputs of one task.
pub const INPUTS_MAX: usize = 8_000;

/// Names content by its BLAKE3 digest: equal names, equal bytes.
///
/// Whoever fetches content by its name can prove that it is what was asked for.
///
/// ```
/// use fogcompute_exec::ContentId;
///
/// let id = ContentId::of(b"input");
/// assert!(id.names(b"input"));
/// assert!(!id.names(b"other"));
/// assert_eq!(id.to_string().parse(), Ok(id));
/// ```
#[derive(Clone, Copy, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct ContentId(Digest);

impl ContentId {
    /// Length in bytes.
    pub const LEN: usize = Digest::LEN;

    /// The name of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Digest::of(bytes))
    }

    /// Whether `bytes` are the content of that name.
    #[must_use]
    pub fn names(self, bytes: &[u8]) -> bool {
        Self::of(bytes) == self
    }

    /// Takes the name from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Digest::from_bytes(bytes))
    }

    /// The name's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The digest.
    #[must_use]
    pub const fn digest(self) -> Digest {
        self.0
    }

    pub(crate) fn decode_from(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array().map(Self::from_bytes)
    }
}

impl From<Digest> for ContentId {
    fn from(digest: Digest) -> Self {
        Self(digest)
    }
}

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentId({})", self.0)
    }
}

impl FromStr for ContentId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        text.parse().map(Self)
    }
}

/// Why inputs cannot be joined, or bytes not be parted into inputs.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum InputsError {
    /// There are more than [`INPUTS_MAX`].
    #[error("{actual} inputs are more than {limit}")]
    TooMany {
        /// Inputs there are.
        actual: usize,
        /// The limit.
        limit: usize,
    },
    /// Together they are longer than [`CONTENT_BYTES_MAX`].
    #[error("inputs have {actual} bytes together, which exceeds {limit}")]
    TooLong {
        /// Length of what they would be joined to, in bytes.
        actual: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The bytes are not joined inputs.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Joins the inputs of a task to the bytes that its program is given.
///
/// One input is passed as it is, so that a program that is mapped over a list need not know that
/// it is. Any other number, none too, is a `u32` count and then each input behind its `u32` length,
/// big-endian: [`split_inputs`] undoes it.
///
/// ```
/// use fogcompute_exec::{join_inputs, split_inputs};
///
/// assert_eq!(join_inputs(&[b"alone"])?, b"alone");
/// let joined = join_inputs(&[&b"a"[..], b"bc"])?;
/// assert_eq!(joined, b"\0\0\0\x02\0\0\0\x01a\0\0\0\x02bc");
/// assert_eq!(split_inputs(&joined)?, [&b"a"[..], b"bc"]);
/// # Ok::<(), fogcompute_exec::InputsError>(())
/// ```
///
/// # Errors
/// [`InputsError::TooMany`], [`InputsError::TooLong`].
pub fn join_inputs(inputs: &[impl AsRef<[u8]>]) -> Result<Vec<u8>, InputsError> {
    if inputs.len() > INPUTS_MAX {
        return Err(InputsError::TooMany {
            actual: inputs.len(),
            limit: INPUTS_MAX,
        });
    }
    let overhead = if inputs.len() == 1 {
        0
    } else {
        4 + 4 * inputs.len()
    };
    let actual = inputs.iter().fold(overhead, |sum, input| {
        sum.saturating_add(input.as_ref().len())
    });
    if actual > CONTENT_BYTES_MAX {
        return Err(InputsError::TooLong {
            actual,
            limit: CONTENT_BYTES_MAX,
        });
    }
    if let [input] = inputs {
        return Ok(input.as_ref().to_vec());
    }
    let mut writer = Writer::new();
    // At most INPUTS_MAX, see above.
    writer.u32(u32::try_from(inputs.len()).unwrap_or(u32::MAX));
    for input in inputs {
        writer.bytes(input.as_ref());
    }
    Ok(writer.finish())
}

/// Parts what [`join_inputs`] makes of several inputs, or of none.
///
/// # Errors
/// [`InputsError::TooMany`], [`InputsError::TooLong`], [`InputsError::Decode`].
pub fn split_inputs(joined: &[u8]) -> Result<Vec<&[u8]>, InputsError> {
    if joined.len() > CONTENT_BYTES_MAX {
        return Err(InputsError::TooLong {
            actual: joined.len(),
            limit: CONTENT_BYTES_MAX,
        });
    }
    let mut reader = Reader::new(joined);
    let count = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
    if count == 1 {
        return Err(InputsError::Decode(DecodeError::Unknown {
            at: 0,
            value: 1,
        }));
    }
    if count > INPUTS_MAX {
        return Err(InputsError::TooMany {
            actual: count,
            limit: INPUTS_MAX,
        });
    }
    let inputs = (0..count)
        .map(|_| reader.bytes(CONTENT_BYTES_MAX))
        .collect::<Result<_, _>>()?;
    reader.finish()?;
    Ok(inputs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn too_many_inputs_are_refused_both_ways() {
        let inputs = vec![b""; INPUTS_MAX + 1];
        let refused = InputsError::TooMany {
            actual: INPUTS_MAX + 1,
            limit: INPUTS_MAX,
        };
        assert_eq!(join_inputs(&inputs), Err(refused));
        let count = u32::try_from(INPUTS_MAX + 1).unwrap().to_be_bytes();
        assert_eq!(split_inputs(&count), Err(refused));
        let joined = join_inputs(&inputs[1..]).unwrap();
        assert_eq!(split_inputs(&joined).unwrap().len(), INPUTS_MAX);
    }

    #[test]
    fn inputs_over_the_limit_together_are_refused() {
        let half = vec![0; CONTENT_BYTES_MAX / 2];
        assert_eq!(
            join_inputs(&[&half, &half]),
            Err(InputsError::TooLong {
                actual: CONTENT_BYTES_MAX + 12,
                limit: CONTENT_BYTES_MAX
            })
        );
    }

    #[test]
    fn no_input_is_not_one_empty_input() {
        let none: [&[u8]; 0] = [];
        assert_eq!(join_inputs(&none).unwrap(), [0; 4]);
        assert_eq!(join_inputs(&[b""]).unwrap(), b"");
    }

    #[test]
    fn one_input_is_never_joined() {
        assert_eq!(
            split_inputs(b"\0\0\0\x01\0\0\0\0"),
            Err(InputsError::Decode(DecodeError::Unknown {
                at: 0,
                value: 1
            }))
        );
    }

    #[test]
    fn bytes_that_are_left_are_refused() {
        assert_eq!(
            split_inputs(b"\0\0\0\0x"),
            Err(InputsError::Decode(DecodeError::Trailing { count: 1 }))
        );
    }

    proptest! {
        #[test]
        fn several_inputs_round_trip(
            inputs in proptest::collection::vec(
                proptest::collection::vec(any::<u8>(), 0..9), 2..9),
        ) {
            let joined = join_inputs(&inputs).unwrap();
            prop_assert_eq!(split_inputs(&joined).unwrap(), inputs);
        }

        #[test]
        fn what_is_parted_joins_to_the_same_bytes(
            bytes in proptest::collection::vec(0_u8..4, 0..40),
        ) {
            if let Ok(inputs) = split_inputs(&bytes) {
                prop_assert_eq!(join_inputs(&inputs).unwrap(), bytes);
            }
        }
    }
}
