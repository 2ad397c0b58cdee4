//! Ways into private parsers, for `core/fuzz` alone: this module exists under `cfg(fuzzing)` only.

use fogcompute_base::UnixMillis;

use crate::geometry::Geometry;
use crate::surb_store::SurbStore;

const GEOMETRY: Geometry = Geometry::DEFAULT;
const TAGS_MAX: usize = 10_000;
/// Before every store was sealed, so that nothing of it has expired.
const NOW: UnixMillis = UnixMillis(0);

/// A reply block store before it is encrypted.
#[must_use]
pub fn encode_store(store: &SurbStore) -> Vec<u8> {
    store.encode(GEOMETRY, NOW).to_vec()
}

/// Reads bytes as a reply block store that was decrypted.
///
/// # Panics
/// When what was read does not survive being written.
pub fn read_store(bytes: &[u8]) {
    if let Ok(store) = SurbStore::decode(bytes, GEOMETRY, NOW, TAGS_MAX) {
        let written = encode_store(&store);
        let again = SurbStore::decode(&written, GEOMETRY, NOW, TAGS_MAX);
        let again = again.expect("what was read can be read again");
        assert_eq!(encode_store(&again), written);
    }
}
