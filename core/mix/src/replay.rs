//! Replay protection.

use std::collections::HashSet;
use std::fmt;

/// Names a packet at one hop. It is derived from the shared secret, so nobody but the sender and the
/// hop can tell it, and a packet whose header still verifies has the same one.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct ReplayTag([u8; 16]);

impl ReplayTag {
    /// Takes a tag from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The tag's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for ReplayTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplayTag(..)")
    }
}

/// What a [`ReplayFilter`] says of a tag.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReplayVerdict {
    /// Not seen before; it is remembered now.
    Fresh,
    /// Seen before: drop the packet.
    Replayed,
    /// The filter cannot remember more. The packet must be dropped and the key be replaced, for a
    /// packet that is not remembered could be replayed.
    Full,
}

/// Remembers the tags of all packets processed under one mix key, exactly.
///
/// It holds at most `capacity` tags of 16 bytes and never forgets one: a tag may be forgotten only
/// together with its key.
#[derive(Debug)]
pub struct ReplayFilter {
    // Only membership is asked, never order, so the hash set's order reaches no output.
    seen: HashSet<ReplayTag>,
    capacity: usize,
}

impl ReplayFilter {
    /// A filter for at most `capacity` packets.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            seen: HashSet::new(),
            capacity,
        }
    }

    /// Looks a tag up and remembers it.
    pub fn check(&mut self, tag: ReplayTag) -> ReplayVerdict {
        if self.seen.contains(&tag) {
            return ReplayVerdict::Replayed;
        }
        if self.seen.len() >= self.capacity {
            return ReplayVerdict::Full;
        }
        self.seen.insert(tag);
        ReplayVerdict::Fresh
    }

    /// Tags remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether no tag is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_fresh_once_and_a_full_filter_says_so() {
        let mut filter = ReplayFilter::new(2);
        let tag = |n| ReplayTag::from_bytes([n; 16]);
        assert!(filter.is_empty());
        assert_eq!(filter.check(tag(1)), ReplayVerdict::Fresh);
        assert_eq!(filter.check(tag(1)), ReplayVerdict::Replayed);
        assert_eq!(filter.check(tag(2)), ReplayVerdict::Fresh);
        assert_eq!(filter.check(tag(3)), ReplayVerdict::Full);
        assert_eq!(filter.check(tag(2)), ReplayVerdict::Replayed);
        assert_eq!(filter.len(), 2);
    }
}
