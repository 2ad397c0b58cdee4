//! Descriptors of nodes: what decodes encodes to something that decodes to the same.

#![no_main]

use fogcompute_base::wire::{Reader, Writer};
use fogcompute_mix::Descriptor;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(descriptor) = Descriptor::decode(&mut Reader::new(bytes)) {
        let mut writer = Writer::new();
        descriptor.encode(&mut writer);
        let encoded = writer.finish();
        let mut reader = Reader::new(&encoded);
        assert_eq!(Descriptor::decode(&mut reader), Ok(descriptor));
        assert_eq!(reader.finish(), Ok(()));
    }
});
