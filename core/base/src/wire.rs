//! The wire codec: big-endian integers and length-prefixed bytes, with every length checked.
//!
//! | item | bytes |
//! |---|---|
//! | `u8`, `u16`, `u32`, `u64`, `u128` | 1, 2, 4, 8, 16, big-endian |
//! | fixed array | its bytes |
//! | bytes, text | `u32` length, then that many bytes (text: UTF-8) |
//!
//! A [`Reader`] never allocates more than the caller's limit and never panics on foreign bytes.

use thiserror::Error;

/// Why bytes are not the message that was expected.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum DecodeError {
    /// The message ends inside an item.
    #[error("message ends at byte {at}, {needed} more bytes needed")]
    Truncated {
        /// Position at which the item starts.
        at: usize,
        /// Bytes that are missing.
        needed: usize,
    },
    /// Bytes are left after the last item.
    #[error("{count} bytes left after the message")]
    Trailing {
        /// Bytes left over.
        count: usize,
    },
    /// A length is over the limit of its field.
    #[error("field of {actual} bytes exceeds its limit of {limit}")]
    TooLong {
        /// Length that was announced.
        actual: usize,
        /// Limit of the field.
        limit: usize,
    },
    /// A text is not UTF-8.
    #[error("text at byte {at} is not UTF-8")]
    Utf8 {
        /// Position of the text.
        at: usize,
    },
    /// A tag, version or flag has no meaning here.
    #[error("value {value} at byte {at} has no meaning here")]
    Unknown {
        /// Position of the value.
        at: usize,
        /// The value.
        value: u64,
    },
}

/// Reads items from the front of a byte slice.
///
/// ```
/// use fogcompute_base::wire::{Reader, Writer};
///
/// let mut writer = Writer::new();
/// writer.u16(7);
/// writer.bytes(b"fog");
/// let bytes = writer.finish();
///
/// let mut reader = Reader::new(&bytes);
/// assert_eq!(reader.u16(), Ok(7));
/// assert_eq!(reader.bytes(16), Ok(&b"fog"[..]));
/// assert_eq!(reader.finish(), Ok(()));
/// ```
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Position of the next item.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.at
    }

    /// Bytes not read yet.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer are left.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        if count > self.remaining() {
            return Err(DecodeError::Truncated {
                at: self.at,
                needed: count - self.remaining(),
            });
        }
        let taken = &self.bytes[self.at..self.at + count];
        self.at += count;
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// One byte.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    /// Two bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// Sixteen bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u128(&mut self) -> Result<u128, DecodeError> {
        self.array().map(u128::from_be_bytes)
    }

    /// Length-prefixed bytes, at most `limit` of them.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`], [`DecodeError::Truncated`].
    pub fn bytes(&mut self, limit: usize) -> Result<&'a [u8], DecodeError> {
        let actual = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        if actual > limit {
            return Err(DecodeError::TooLong { actual, limit });
        }
        self.take(actual)
    }

    /// Length-prefixed UTF-8 text of at most `limit` bytes.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`], [`DecodeError::Truncated`], [`DecodeError::Utf8`].
    pub fn text(&mut self, limit: usize) -> Result<&'a str, DecodeError> {
        let at = self.at;
        std::str::from_utf8(self.bytes(limit)?).map_err(|_| DecodeError::Utf8 { at })
    }

    /// Ends the message.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`] if bytes are left.
    pub const fn finish(self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            count => Err(DecodeError::Trailing { count }),
        }
    }
}

/// Appends items to a message.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty message.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// Appends bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends one byte.
    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// Appends two bytes.
    pub fn u16(&mut self, value: u16) {
        self.raw(&value.to_be_bytes());
    }

    /// Appends four bytes.
    pub fn u32(&mut self, value: u32) {
        self.raw(&value.to_be_bytes());
    }

    /// Appends eight bytes.
    pub fn u64(&mut self, value: u64) {
        self.raw(&value.to_be_bytes());
    }

    /// Appends sixteen bytes.
    pub fn u128(&mut self, value: u128) {
        self.raw(&value.to_be_bytes());
    }

    /// Appends length-prefixed bytes.
    ///
    /// # Panics
    /// If `bytes` is longer than `u32::MAX`; every field of the protocol has a far lower limit.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.u32(u32::try_from(bytes.len()).expect("fields are far shorter than 4 GiB"));
        self.raw(bytes);
    }

    /// Appends length-prefixed text.
    ///
    /// # Panics
    /// As [`Writer::bytes`].
    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// The finished message.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn truncated_item_says_how_much_is_missing() {
        let mut reader = Reader::new(&[0, 1, 2]);
        assert_eq!(reader.u16(), Ok(1));
        assert_eq!(
            reader.u32(),
            Err(DecodeError::Truncated { at: 2, needed: 3 })
        );
    }

    #[test]
    fn announced_length_over_the_limit_is_refused_before_reading() {
        let mut reader = Reader::new(&[0xff, 0xff, 0xff, 0xff]);
        assert_eq!(
            reader.bytes(10),
            Err(DecodeError::TooLong {
                actual: 0xffff_ffff,
                limit: 10
            })
        );
    }

    #[test]
    fn left_over_bytes_are_an_error() {
        let mut reader = Reader::new(&[1, 2]);
        reader.u8().unwrap();
        assert_eq!(reader.finish(), Err(DecodeError::Trailing { count: 1 }));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = Reader::new(&bytes);
            while reader.remaining() > 0 && reader.text(32).is_ok() {}
        }

        #[test]
        fn items_round_trip(
            a in any::<u8>(), b in any::<u16>(), c in any::<u32>(), d in any::<u64>(),
            e in any::<u128>(), f in proptest::collection::vec(any::<u8>(), 0..64), g in ".{0,16}",
        ) {
            let mut writer = Writer::new();
            writer.u8(a);
            writer.u16(b);
            writer.u32(c);
            writer.u64(d);
            writer.u128(e);
            writer.bytes(&f);
            writer.text(&g);
            let bytes = writer.finish();
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.u8(), Ok(a));
            prop_assert_eq!(reader.u16(), Ok(b));
            prop_assert_eq!(reader.u32(), Ok(c));
            prop_assert_eq!(reader.u64(), Ok(d));
            prop_assert_eq!(reader.u128(), Ok(e));
            prop_assert_eq!(reader.bytes(64), Ok(&f[..]));
            prop_assert_eq!(reader.text(64), Ok(g.as_str()));
            prop_assert_eq!(reader.finish(), Ok(()));
        }
    }
}
