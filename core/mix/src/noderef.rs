//! The short name of a node in a packet.

use std::fmt;
use std::str::FromStr;

use fogcompute_base::{NodeId, ParseIdError};

/// The first 8 bytes of a [`NodeId`], which is all of it that a routing block has room for.
///
/// Within one network a reference must name one node: a [`Topology`](crate::Topology) and the link
/// layer refuse a second node with the same one. To make a key whose reference is a given one takes
/// 2⁶⁴ tries, and gains the right to be refused.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NodeRef([u8; Self::LEN]);

impl NodeRef {
    /// Length in bytes.
    pub const LEN: usize = 8;

    /// Takes a reference from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The reference's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl From<NodeId> for NodeRef {
    fn from(node: NodeId) -> Self {
        let mut bytes = [0; Self::LEN];
        bytes.copy_from_slice(&node.as_bytes()[..Self::LEN]);
        Self(bytes)
    }
}

impl fmt::Display for NodeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for NodeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeRef({self})")
    }
}

impl FromStr for NodeRef {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let digits = text.as_bytes();
        if digits.len() != 2 * Self::LEN {
            return Err(ParseIdError::Length {
                expected: 2 * Self::LEN,
                actual: text.chars().count(),
            });
        }
        let mut bytes = [0; Self::LEN];
        for (position, &digit) in digits.iter().enumerate() {
            let nibble = char::from(digit)
                .to_digit(16)
                .and_then(|value| u8::try_from(value).ok())
                .ok_or(ParseIdError::Digit { position })?;
            bytes[position / 2] = bytes[position / 2] << 4 | nibble;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_bad_text_names_what_is_wrong() {
        let reference = NodeRef::from_bytes(*b"12345678");
        assert_eq!(reference.to_string().parse(), Ok(reference));
        assert_eq!(
            "abc".parse::<NodeRef>(),
            Err(ParseIdError::Length {
                expected: 16,
                actual: 3
            })
        );
        assert_eq!(
            "00000000000000g0".parse::<NodeRef>(),
            Err(ParseIdError::Digit { position: 14 })
        );
    }

    #[test]
    fn a_reference_is_the_front_of_the_id() {
        let mut id = [7; 32];
        id[..8].copy_from_slice(b"\x00\x01\x02\x03\x04\x05\x06\xff");
        let reference = NodeRef::from(NodeId::from_bytes(id));
        assert_eq!(reference.to_string(), "00010203040506ff");
        assert_eq!(format!("{reference:?}"), "NodeRef(00010203040506ff)");
        assert_eq!(NodeRef::from_bytes(*reference.as_bytes()), reference);
    }
}
