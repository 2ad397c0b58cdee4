//! The wire reader: any calls on any bytes, and what a message takes is never more than it has.

#![no_main]

use arbitrary::Arbitrary;
use fogcompute_base::wire::Reader;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Item {
    U8,
    U16,
    U32,
    U64,
    U128,
    Take(usize),
    Array,
    Bytes(usize),
    Text(usize),
}

fuzz_target!(|input: (Vec<Item>, &[u8])| {
    let (items, bytes) = input;
    let mut reader = Reader::new(bytes);
    for item in items {
        let before = reader.position();
        let read = match item {
            Item::U8 => reader.u8().map(|_| 1),
            Item::U16 => reader.u16().map(|_| 2),
            Item::U32 => reader.u32().map(|_| 4),
            Item::U64 => reader.u64().map(|_| 8),
            Item::U128 => reader.u128().map(|_| 16),
            Item::Take(count) => reader.take(count).map(<[u8]>::len),
            Item::Array => reader.array::<32>().map(|array| array.len()),
            Item::Bytes(limit) => reader.bytes(limit).map(|bytes| {
                assert!(bytes.len() <= limit);
                4 + bytes.len()
            }),
            Item::Text(limit) => reader.text(limit).map(|text| {
                assert!(text.len() <= limit);
                4 + text.len()
            }),
        };
        if let Ok(count) = read {
            assert_eq!(reader.position(), before + count);
        }
        assert_eq!(reader.position() + reader.remaining(), bytes.len());
    }
    assert_eq!(reader.clone().finish().is_ok(), reader.remaining() == 0);
});
