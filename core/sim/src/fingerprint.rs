//! A run in 32 bytes.

use fogcompute_base::Digest;

/// Everything that happened in a run, in its order, as one digest: two runs with the same
/// fingerprint were the same, event by event and byte by byte.
#[derive(Clone, Debug, Default)]
pub struct Fingerprint(blake3::Hasher);

impl Fingerprint {
    /// Adds a number.
    pub fn u64(&mut self, value: u64) {
        self.0.update(&value.to_be_bytes());
    }

    /// Adds bytes, with their length: two texts do not run into each other.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.u64(bytes.len() as u64);
        self.0.update(bytes);
    }

    /// The digest of all that was added so far.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::from_bytes(*self.0.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_borders_count() {
        let of = |parts: &[&[u8]]| {
            let mut fingerprint = Fingerprint::default();
            for part in parts {
                fingerprint.bytes(part);
            }
            fingerprint.digest()
        };
        assert_eq!(of(&[b"ab", b"c"]), of(&[b"ab", b"c"]));
        assert_ne!(of(&[b"ab", b"c"]), of(&[b"a", b"bc"]));
        assert_ne!(of(&[b"ab", b"c"]), of(&[b"c", b"ab"]));
        assert_ne!(of(&[b"ab"]), of(&[b"ab", b""]));
    }
}
