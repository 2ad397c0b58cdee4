//! Topology files: any text, as it is and signed. What verifies can be signed again and is the same.

#![no_main]

use fogcompute_base::UnixMillis;
use fogcompute_mix::TopologyFile;
use libfuzzer_sys::fuzz_target;

const SECRET: [u8; 32] = [7; 32];
const NOW: UnixMillis = UnixMillis(1_500);

fuzz_target!(|text: &str| {
    let authority = TopologyFile::authority_of(&SECRET);
    let _ = TopologyFile::verify(text, &authority, NOW);
    let signed = TopologyFile::sign_text(text, &SECRET);
    if let Ok(file) = TopologyFile::verify(&signed, &authority, NOW) {
        let again = file.sign(&SECRET).expect("it was read from such a file");
        assert_eq!(
            TopologyFile::verify(&again, &authority, NOW).ok(),
            Some(file)
        );
    }
});
