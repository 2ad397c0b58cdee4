//! Descriptors of nodes: what decodes encodes to something that decodes to the same. Tried as it is,
//! and as the address of a descriptor that is sound up to there.

#![no_main]

use fogcompute_base::wire::{Reader, Writer};
use fogcompute_mix::Descriptor;
use libfuzzer_sys::fuzz_target;

fn decode(bytes: &[u8]) {
    if let Ok(descriptor) = Descriptor::decode(&mut Reader::new(bytes)) {
        let mut writer = Writer::new();
        descriptor.encode(&mut writer);
        let encoded = writer.finish();
        let mut reader = Reader::new(&encoded);
        assert_eq!(Descriptor::decode(&mut reader), Ok(descriptor));
        assert_eq!(reader.finish(), Ok(()));
    }
}

fuzz_target!(|bytes: &[u8]| {
    decode(bytes);
    let mut writer = Writer::new();
    writer.raw(&[1; 65]);
    writer.bytes(bytes);
    decode(&writer.finish());
});
