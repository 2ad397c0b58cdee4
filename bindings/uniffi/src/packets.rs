//! Sphinx packets.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use fogcompute::base::OsEntropy;

use crate::FogError;
use crate::error::{guarded, invalid_argument};

/// One stop of a packet's route.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct Hop {
    /// Id of the node, 64 hexadecimal digits.
    pub node: String,
    /// The node's public mix key, 32 bytes.
    pub key: Vec<u8>,
    /// How long the node holds the packet, in milliseconds. The last one does not wait.
    pub delay_ms: u64,
}

impl Hop {
    fn parse(&self) -> Result<fogcompute::Hop, FogError> {
        let key = fogcompute::PublicKey::from_bytes(key_bytes(&self.key)?);
        let delay = Duration::from_millis(self.delay_ms);
        Ok(fogcompute::Hop::new(self.node.parse()?, key, delay))
    }
}

/// A node's private mix key. Erased from the library's memory when released.
#[derive(uniffi::Object)]
pub struct PrivateKey(fogcompute::PrivateKey);

#[uniffi::export]
impl PrivateKey {
    /// A new key.
    ///
    /// # Errors
    /// [`FogError::Panic`] if the operating system gives no random bytes.
    #[uniffi::constructor]
    pub fn generate() -> Result<Arc<Self>, FogError> {
        guarded(|| {
            let key = fogcompute::PrivateKey::random(&mut OsEntropy);
            Ok(Arc::new(Self(key)))
        })
    }

    /// Takes a key from its 32 secret bytes.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`] for another number of bytes.
    #[uniffi::constructor]
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Arc<Self>, FogError> {
        let key = fogcompute::PrivateKey::from_bytes(key_bytes(&bytes)?);
        Ok(Arc::new(Self(key)))
    }

    /// The public half, 32 bytes.
    pub fn public_key(&self) -> Vec<u8> {
        self.0.public().as_bytes().to_vec()
    }

    /// The 32 secret bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes().to_vec()
    }
}

/// What one layer of a packet said to do.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Enum)]
pub enum Processed {
    /// Hold the packet for a while, then send it on.
    Forward {
        /// The first 16 hexadecimal digits of the next node's id.
        next: String,
        /// How long to hold it.
        delay: Duration,
        /// What to send, as long as the packet that came in.
        packet: Vec<u8>,
    },
    /// This node is the receiver.
    Deliver {
        /// The sender's message.
        payload: Vec<u8>,
    },
    /// This node made the reply block the packet came by.
    Reply {
        /// Id of the reply block, 32 hexadecimal digits.
        surb: String,
    },
}

/// A packet with one layer taken off.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct Unwrapped {
    /// Names the packet at this hop, 32 hexadecimal digits: a packet whose tag was seen before
    /// is a replay and must be dropped.
    pub replay_tag: String,
    /// What to do.
    pub outcome: Processed,
}

impl From<fogcompute::mix::Unwrapped> for Unwrapped {
    fn from(unwrapped: fogcompute::mix::Unwrapped) -> Self {
        let outcome = match unwrapped.outcome {
            fogcompute::Processed::Forward {
                next,
                delay,
                packet,
            } => Processed::Forward {
                next: next.to_string(),
                delay,
                packet: packet.into_bytes(),
            },
            fogcompute::Processed::Deliver { payload } => Processed::Deliver { payload },
            fogcompute::Processed::Reply { surb, .. } => Processed::Reply {
                surb: hex(surb.as_bytes()),
            },
        };
        Self {
            replay_tag: hex(unwrapped.replay_tag.as_bytes()),
            outcome,
        }
    }
}

/// Builds and processes Sphinx packets of one network's size.
#[derive(uniffi::Object)]
pub struct Sphinx(fogcompute::Sphinx);

#[uniffi::export]
impl Sphinx {
    /// Packets that carry up to `payload_bytes` bytes, a multiple of 1,024 up to 65,536; without
    /// a number, 2,048.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`] for a size outside that range.
    #[uniffi::constructor(default(payload_bytes = None))]
    pub fn new(payload_bytes: Option<u32>) -> Result<Arc<Self>, FogError> {
        guarded(|| {
            let sphinx = match payload_bytes {
                Some(bytes) => fogcompute::Sphinx::new(bytes as usize)?,
                None => fogcompute::Sphinx::default(),
            };
            Ok(Arc::new(Self(sphinx)))
        })
    }

    /// Bytes of message one packet carries.
    pub fn payload_bytes(&self) -> u32 {
        self.0.payload_bytes() as u32
    }

    /// Length of every packet, in bytes.
    pub fn packet_bytes(&self) -> u32 {
        self.0.packet_bytes() as u32
    }

    /// Builds a packet that takes `route` and delivers `payload` to its last hop.
    ///
    /// # Errors
    /// [`FogError::InvalidRoute`], [`FogError::PayloadTooLarge`], and
    /// [`FogError::InvalidArgument`] for ids or keys that are not well formed.
    pub fn build(&self, route: Vec<Hop>, payload: Vec<u8>) -> Result<Vec<u8>, FogError> {
        guarded(|| {
            let route: Vec<_> = route.iter().map(Hop::parse).collect::<Result<_, _>>()?;
            Ok(self.0.build(&route, &payload)?)
        })
    }

    /// Takes one layer off a packet with this node's key.
    ///
    /// Nothing is remembered: to notice a replay tag that was seen before is up to the caller.
    ///
    /// # Errors
    /// [`FogError::InvalidPacket`].
    pub fn process(&self, key: &PrivateKey, packet: Vec<u8>) -> Result<Unwrapped, FogError> {
        guarded(|| Ok(self.0.process(&key.0, &packet)?.into()))
    }
}

fn key_bytes(bytes: &[u8]) -> Result<[u8; 32], FogError> {
    bytes.try_into().map_err(|_| {
        let actual = bytes.len();
        invalid_argument(format!("key has {actual} bytes, must have 32"))
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_hop_delivers() {
        let sphinx = Sphinx::new(None).unwrap();
        let key = PrivateKey::generate().unwrap();
        let hop = Hop {
            node: "0a".repeat(32),
            key: key.public_key(),
            delay_ms: 0,
        };
        let packet = sphinx.build(vec![hop], b"hello".to_vec()).unwrap();
        let unwrapped = sphinx.process(&key, packet).unwrap();
        assert_eq!(unwrapped.replay_tag.len(), 32);
        let payload = b"hello".to_vec();
        assert_eq!(unwrapped.outcome, Processed::Deliver { payload });
    }

    #[test]
    fn the_maker_of_a_reply_block_is_told_its_id() {
        use fogcompute::mix::{Geometry, Surb};
        let key = PrivateKey::generate().unwrap();
        let node = fogcompute::NodeId::from_bytes([7; 32]);
        let hop = fogcompute::Hop::new(node, key.0.public(), Duration::ZERO);
        let (surb, reply_key) = Surb::new(Geometry::DEFAULT, &[hop], &mut OsEntropy).unwrap();
        let (_, packet) = surb.reply(b"answer").unwrap();
        let unwrapped = Sphinx::new(None)
            .unwrap()
            .process(&key, packet.into_bytes());
        let surb = hex(reply_key.id().as_bytes());
        assert_eq!(unwrapped.unwrap().outcome, Processed::Reply { surb });
    }

    #[test]
    fn keys_of_another_length_are_refused() {
        let error = PrivateKey::from_bytes(vec![1; 31]).err().unwrap();
        assert_eq!(error.to_string(), "key has 31 bytes, must have 32");
    }
}
