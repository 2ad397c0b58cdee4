//! Raw DEFLATE (RFC 1951), as payloads are packed.

use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_PARSE_ZLIB_HEADER, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

/// The apps' level.
const LEVEL: u8 = 5;

pub(crate) fn deflate(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, LEVEL)
}

/// Unpacks exactly `length` bytes out of exactly these; takes no more memory than that. The Android app
/// accepts a stream with the header of zlib too.
pub(crate) fn inflate(deflated: &[u8], length: usize) -> Option<Vec<u8>> {
    inflate_with(deflated, length, 0)
        .or_else(|| inflate_with(deflated, length, TINFL_FLAG_PARSE_ZLIB_HEADER))
}

fn inflate_with(deflated: &[u8], length: usize, flags: u32) -> Option<Vec<u8>> {
    let mut state = Box::<DecompressorOxide>::default();
    let mut bytes = vec![0; length];
    let flags = flags | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let (status, read, written) = decompress(&mut state, deflated, &mut bytes, 0, flags);
    (status == TINFLStatus::Done && read == deflated.len() && written == length).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use miniz_oxide::deflate::compress_to_vec_zlib;

    #[test]
    fn both_kinds_of_stream_are_read_and_nothing_may_follow() {
        let text = b"fog fog fog fog fog".repeat(20);
        for mut packed in [deflate(&text), compress_to_vec_zlib(&text, 9)] {
            assert_eq!(inflate(&packed, text.len()), Some(text.clone()));
            packed.push(0);
            assert_eq!(inflate(&packed, text.len()), None);
        }
    }
}
