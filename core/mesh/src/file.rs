//! Files as the apps send them: whole, in one packet.

use crate::packet::PAYLOAD_BYTES_MAX;
use crate::tlv::{FormatError, once, put16, required, text};
use fogcompute_base::wire::Reader;

const NAME: u8 = 0x01;
const SIZE: u8 = 0x02;
const MIME: u8 = 0x03;
const CONTENT: u8 = 0x04;

/// Longest file, in bytes: what the iOS app takes.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// Longest name and longest media type, in bytes.
pub const FILE_TEXT_BYTES_MAX: usize = 1024;

/// A file.
///
/// | tag | length | content |
/// |---|---|---|
/// | 01 | `u16` | name, UTF-8; may be missing |
/// | 02 | `u16`, 4 (8 is read) | size in bytes; may be missing |
/// | 03 | `u16` | media type, UTF-8; may be missing |
/// | 04 | `u32` (`u16` is read) | the bytes; several of them are put together |
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct File {
    /// What it is called. It came from a stranger: no path to write to.
    pub name: Option<String>,
    /// Its media type.
    pub mime: Option<String>,
    /// Its bytes.
    pub content: Vec<u8>,
}

impl File {
    /// Reads a payload.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        if bytes.len() > PAYLOAD_BYTES_MAX {
            return Err(FormatError::TooLong {
                actual: bytes.len(),
                limit: PAYLOAD_BYTES_MAX,
            });
        }
        let (mut name, mut mime, mut size) = (None, None, None);
        let mut content: Option<Vec<u8>> = None;
        let mut reader = Reader::new(bytes);
        while reader.remaining() > 0 {
            let tag = reader.u8()?;
            if tag == CONTENT {
                let part = read_content(&mut reader)?;
                content.get_or_insert_default().extend_from_slice(part);
                continue;
            }
            let length = usize::from(reader.u16()?);
            let value = reader.take(length)?;
            match tag {
                NAME | MIME if value.len() > FILE_TEXT_BYTES_MAX => {
                    return Err(FormatError::Length {
                        tag,
                        actual: value.len(),
                    });
                }
                NAME => once(&mut name, tag, text(tag, value)?)?,
                MIME => once(&mut mime, tag, text(tag, value)?)?,
                SIZE => {
                    if !matches!(value.len(), 4 | 8) {
                        return Err(FormatError::Length {
                            tag,
                            actual: value.len(),
                        });
                    }
                    let value = value
                        .iter()
                        .fold(0_u64, |size, byte| size << 8 | u64::from(*byte));
                    once(&mut size, tag, value)?;
                }
                _ => {}
            }
        }
        let content = required(content, CONTENT)?;
        if content.len() > FILE_BYTES_MAX {
            return Err(FormatError::TooLong {
                actual: content.len(),
                limit: FILE_BYTES_MAX,
            });
        }
        if size.is_some_and(|size| size != content.len() as u64) {
            return Err(FormatError::Value { tag: SIZE });
        }
        Ok(Self {
            name,
            mime,
            content,
        })
    }

    /// The payload.
    ///
    /// # Errors
    /// [`FormatError::TooLong`], [`FormatError::Length`].
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        if self.content.len() > FILE_BYTES_MAX {
            return Err(FormatError::TooLong {
                actual: self.content.len(),
                limit: FILE_BYTES_MAX,
            });
        }
        let put_text = |out: &mut Vec<u8>, tag, text: &Option<String>| match text {
            Some(text) if text.len() > FILE_TEXT_BYTES_MAX => Err(FormatError::Length {
                tag,
                actual: text.len(),
            }),
            Some(text) => put16(out, tag, text.as_bytes()),
            None => Ok(()),
        };
        let length = u32::try_from(self.content.len()).expect("a file has at most a MiB");
        let mut out = Vec::with_capacity(self.content.len() + 64);
        put_text(&mut out, NAME, &self.name)?;
        put16(&mut out, SIZE, &length.to_be_bytes())?;
        put_text(&mut out, MIME, &self.mime)?;
        out.push(CONTENT);
        out.extend(length.to_be_bytes());
        out.extend_from_slice(&self.content);
        Ok(out)
    }
}

/// Bytes after a length of four bytes; of two, if four do not fit: so old apps wrote it.
fn read_content<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], FormatError> {
    let mut wide = reader.clone();
    if let Ok(length) = wide.u32()
        && let Ok(length) = usize::try_from(length)
        && let Ok(content) = wide.take(length)
    {
        *reader = wide;
        return Ok(content);
    }
    let length = usize::from(reader.u16()?);
    Ok(reader.take(length)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file() -> File {
        File {
            name: Some("a.txt".to_owned()),
            mime: None,
            content: vec![1, 2, 3],
        }
    }

    #[test]
    fn old_lengths_and_repeated_content_are_read() {
        let bytes = [4, 0, 2, 8, 9];
        assert_eq!(File::decode(&bytes).unwrap().content, [8, 9]);
        let bytes = [4, 0, 0, 0, 1, 8, 4, 0, 0, 0, 1, 9];
        assert_eq!(File::decode(&bytes).unwrap().content, [8, 9]);
        let wide_size = [2, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 1, 8];
        assert_eq!(File::decode(&wide_size).unwrap().content, [8]);
    }

    #[test]
    fn a_size_that_is_not_the_contents_is_refused() {
        let mut bytes = file().encode().unwrap();
        bytes[14] = 9;
        assert_eq!(File::decode(&bytes), Err(FormatError::Value { tag: SIZE }));
        assert_eq!(
            File::decode(&bytes[..8]),
            Err(FormatError::Missing { tag: CONTENT })
        );
    }

    #[test]
    fn a_file_over_the_limit_is_neither_sent_nor_read() {
        let long = File {
            content: vec![0; FILE_BYTES_MAX + 1],
            ..file()
        };
        assert!(long.encode().is_err());
        let half = vec![0; FILE_BYTES_MAX / 2 + 1];
        let part = [&[4, 0, 8, 0, 1][..], &half].concat();
        assert!(matches!(
            File::decode(&[part.clone(), part].concat()),
            Err(FormatError::TooLong { .. })
        ));
        let unnamable = File {
            name: Some("x".repeat(FILE_TEXT_BYTES_MAX + 1)),
            ..file()
        };
        assert!(unnamable.encode().is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(file) = File::decode(&bytes) {
                prop_assert_eq!(File::decode(&file.encode().unwrap()), Ok(file));
            }
        }

        #[test]
        fn files_round_trip(
            name in proptest::option::of(".{0,20}"), mime in proptest::option::of(".{0,20}"),
            content in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let file = File { name, mime, content };
            prop_assert_eq!(File::decode(&file.encode().unwrap()), Ok(file));
        }
    }
}
