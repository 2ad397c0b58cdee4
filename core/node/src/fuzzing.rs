//! Ways into private parsers, for `core/fuzz` alone: this module exists under `cfg(fuzzing)` only.

use crate::protocol::{FromNode, TaskMessage, ToNode};

/// Reads bytes as every message of the control link and of the mixnet.
///
/// # Panics
/// When what was read does not survive being written.
pub fn protocol(bytes: &[u8]) {
    if let Ok(message) = FromNode::decode(bytes) {
        assert_eq!(FromNode::decode(&message.encode()), Ok(message));
    }
    if let Ok(message) = ToNode::decode(bytes) {
        assert_eq!(ToNode::decode(&message.encode()), Ok(message));
    }
    if let Ok(message) = TaskMessage::decode(bytes) {
        assert_eq!(message.encode(), bytes);
    }
}
