//! Fields of BitChat payloads: a tag, a length of one or two bytes, a value.

use fogcompute_base::wire::{DecodeError, Reader};
use thiserror::Error;

/// Why a payload is not of its format.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum FormatError {
    /// An item is cut off, too long, or no UTF-8.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A field that must be there is not.
    #[error("field {tag:#04x} is missing")]
    Missing {
        /// The field's tag.
        tag: u8,
    },
    /// A field that may be there once is there twice.
    #[error("field {tag:#04x} is there twice")]
    Repeated {
        /// The field's tag.
        tag: u8,
    },
    /// A field has a length that its format does not allow.
    #[error("field {tag:#04x} has {actual} bytes")]
    Length {
        /// The field's tag.
        tag: u8,
        /// Its length.
        actual: usize,
    },
    /// A field has a value that means nothing.
    #[error("field {tag:#04x} has a value without meaning")]
    Value {
        /// The field's tag.
        tag: u8,
    },
    /// The payload has a field that its format does not know, where unknown ones are refused.
    #[error("field {tag:#04x} is unknown")]
    Unknown {
        /// The field's tag.
        tag: u8,
    },
    /// The payload is longer than its format allows, or would be.
    #[error("payload of {actual} bytes exceeds {limit}")]
    TooLong {
        /// Its length.
        actual: usize,
        /// The limit.
        limit: usize,
    },
    /// A signature inside the payload is not by the key that it names.
    #[error("signature inside the payload does not verify")]
    Signature,
}

/// Goes through fields with lengths of one byte.
pub(crate) fn fields8(bytes: &[u8]) -> Fields<'_> {
    Fields {
        reader: Reader::new(bytes),
        wide: false,
    }
}

/// Goes through fields with lengths of two bytes.
pub(crate) fn fields16(bytes: &[u8]) -> Fields<'_> {
    Fields {
        reader: Reader::new(bytes),
        wide: true,
    }
}

pub(crate) struct Fields<'a> {
    reader: Reader<'a>,
    wide: bool,
}

impl<'a> Fields<'a> {
    /// The next field, if one is left.
    pub(crate) fn next_field(&mut self) -> Result<Option<(u8, &'a [u8])>, FormatError> {
        if self.reader.remaining() == 0 {
            return Ok(None);
        }
        let tag = self.reader.u8()?;
        let length = if self.wide {
            usize::from(self.reader.u16()?)
        } else {
            usize::from(self.reader.u8()?)
        };
        Ok(Some((tag, self.reader.take(length)?)))
    }
}

/// Puts a value where none was.
pub(crate) fn once<T>(place: &mut Option<T>, tag: u8, value: T) -> Result<(), FormatError> {
    if place.replace(value).is_some() {
        return Err(FormatError::Repeated { tag });
    }
    Ok(())
}

pub(crate) fn required<T>(place: Option<T>, tag: u8) -> Result<T, FormatError> {
    place.ok_or(FormatError::Missing { tag })
}

pub(crate) fn array<const N: usize>(tag: u8, value: &[u8]) -> Result<[u8; N], FormatError> {
    value.try_into().map_err(|_| FormatError::Length {
        tag,
        actual: value.len(),
    })
}

pub(crate) fn text(tag: u8, value: &[u8]) -> Result<String, FormatError> {
    std::str::from_utf8(value)
        .map(str::to_owned)
        .map_err(|_| FormatError::Value { tag })
}

/// Appends a field with a length of one byte.
pub(crate) fn put8(out: &mut Vec<u8>, tag: u8, value: &[u8]) -> Result<(), FormatError> {
    let length = u8::try_from(value.len()).map_err(|_| FormatError::Length {
        tag,
        actual: value.len(),
    })?;
    out.extend([tag, length]);
    out.extend_from_slice(value);
    Ok(())
}

/// Appends a field with a length of two bytes.
pub(crate) fn put16(out: &mut Vec<u8>, tag: u8, value: &[u8]) -> Result<(), FormatError> {
    let length = u16::try_from(value.len()).map_err(|_| FormatError::Length {
        tag,
        actual: value.len(),
    })?;
    out.push(tag);
    out.extend(length.to_be_bytes());
    out.extend_from_slice(value);
    Ok(())
}

/// A bit field in little-endian order without zero bytes at its end, but of at least one byte.
pub(crate) fn minimal_le(bits: u64) -> Vec<u8> {
    let bytes = bits.to_le_bytes();
    let length = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
    bytes[..length].to_vec()
}

/// A bit field of any length: bits beyond the 64th have no meaning yet.
pub(crate) fn from_le(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .take(8)
        .rev()
        .fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bit_fields_are_as_short_as_they_can_be() {
        assert_eq!(minimal_le(0), [0]);
        assert_eq!(minimal_le(1), [1]);
        assert_eq!(minimal_le(0x100), [0, 1]);
        for bits in [0, 1, 0x100, u64::MAX] {
            assert_eq!(from_le(&minimal_le(bits)), bits);
        }
    }

    #[test]
    fn a_field_that_is_cut_off_is_refused() {
        for bytes in [&[1][..], &[1, 2, 0]] {
            assert!(matches!(
                fields8(bytes).next_field(),
                Err(FormatError::Decode(DecodeError::Truncated { .. }))
            ));
        }
        assert!(put8(&mut vec![], 1, &[0; 256]).is_err());
        assert!(put16(&mut vec![], 1, &vec![0; 65_536]).is_err());
    }
}
