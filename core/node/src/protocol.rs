//! What a node and its coordinator say to each other on a control link.
//!
//! Every frame is one message: a tag byte, then the fields in the order of the structures below,
//! in the encoding of [`fogcompute_base::wire`].
//!
//! | tag | direction | message |
//! |---|---|---|
//! | 1 | node → coordinator | hello: protocol version `u16`, role, descriptor, lending |
//! | 2 | node → coordinator | heartbeat: lending, mix counters |
//! | 3 | node → coordinator | pong: nonce `u64` |
//! | 129 | coordinator → node | directory: mean delay in µs `u64`, layers, others |
//! | 130 | coordinator → node | ping: nonce `u64` |
//! | 131 | coordinator → node | tell: send a heartbeat now |
//! | 132 | coordinator → node | refused: reason `u8`, see [`Refusal`]; the link ends |

use std::time::Duration;

use fogcompute_base::wire::{DecodeError, Reader, Writer};
use fogcompute_ledger::Amount;
use fogcompute_mix::{Descriptor, HOPS_MAX, MixStats};
use thiserror::Error;

/// Version of this protocol; another one is refused.
pub(crate) const VERSION: u16 = 3;

/// Longest status text, in bytes.
const STATUS_BYTES_MAX: usize = 16 << 10;

/// Longest message of a node, in bytes: a status, and far less beside it than this allows.
pub(crate) const FROM_NODE_BYTES_MAX: usize = STATUS_BYTES_MAX + (1 << 10);

/// Most nodes in one directory, the coordinator included.
pub(crate) const DIRECTORY_NODES_MAX: usize = 4096;

/// What a node does in the fog.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Mixes packets in a layer, from 0.
    Mix {
        /// The layer.
        layer: u8,
    },
    /// Runs tasks.
    Compute,
}

/// Why a coordinator does not let a node in, or sends it away. The number is the reason on the wire.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[repr(u8)]
pub enum Refusal {
    /// What the node sent is no message of this protocol version, or makes no sense at this point.
    #[error("message of another protocol version, or out of turn")]
    Protocol = 1,
    /// The node describes another node than the one whose key it holds, its mix key is not a usable
    /// one, or it is of another epoch than the fog's.
    #[error("unusable description of itself")]
    Descriptor = 2,
    /// The node's reference is the one of a node that is there.
    #[error("its reference is another node's")]
    Reference = 3,
    /// The fog has no mix layer of this number.
    #[error("no such mix layer")]
    Layer = 4,
    /// The fog holds as many nodes as it may.
    #[error("the fog is full")]
    Full = 5,
    /// What the node says it lends makes no sense.
    #[error("its offer makes no sense")]
    Offer = 6,
}

impl Refusal {
    const ALL: [Self; 6] = [
        Self::Protocol,
        Self::Descriptor,
        Self::Reference,
        Self::Layer,
        Self::Full,
        Self::Offer,
    ];

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as u8 == byte)
    }
}

/// What a node lends now, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Lending {
    pub cpu_millis: u64,
    pub memory_bytes: u64,
    pub fuel_per_second: u64,
    pub price_per_gigafuel: Amount,
    /// Readings and decision as JSON, for people.
    pub status: String,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum FromNode {
    Hello {
        role: Role,
        descriptor: Descriptor,
        lending: Lending,
    },
    Heartbeat {
        lending: Lending,
        mix: MixStats,
    },
    Pong {
        nonce: u64,
    },
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum ToNode {
    Directory {
        delay_mean: Duration,
        layers: Vec<Vec<Descriptor>>,
        others: Vec<Descriptor>,
    },
    Ping {
        nonce: u64,
    },
    Tell,
    Refused {
        reason: Refusal,
    },
}

impl Lending {
    fn encode(&self, writer: &mut Writer) {
        writer.u64(self.cpu_millis);
        writer.u64(self.memory_bytes);
        writer.u64(self.fuel_per_second);
        writer.u128(self.price_per_gigafuel.0);
        writer.text(&self.status);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            cpu_millis: reader.u64()?,
            memory_bytes: reader.u64()?,
            fuel_per_second: reader.u64()?,
            price_per_gigafuel: Amount(reader.u128()?),
            status: reader.text(STATUS_BYTES_MAX)?.to_owned(),
        })
    }
}

impl FromNode {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        match self {
            Self::Hello {
                role,
                descriptor,
                lending,
            } => {
                writer.u8(1);
                writer.u16(VERSION);
                match role {
                    Role::Mix { layer } => writer.u8(*layer),
                    Role::Compute => writer.u8(COMPUTE),
                }
                descriptor.encode(&mut writer);
                lending.encode(&mut writer);
            }
            Self::Heartbeat { lending, mix } => {
                writer.u8(2);
                lending.encode(&mut writer);
                for count in mix_counts(mix) {
                    writer.u64(count);
                }
            }
            Self::Pong { nonce } => {
                writer.u8(3);
                writer.u64(*nonce);
            }
        }
        writer.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let message = match reader.u8()? {
            1 => {
                let at = reader.position();
                let version = reader.u16()?;
                if version != VERSION {
                    return Err(DecodeError::Unknown {
                        at,
                        value: u64::from(version),
                    });
                }
                let at = reader.position();
                let role = match reader.u8()? {
                    COMPUTE => Role::Compute,
                    layer if usize::from(layer) < HOPS_MAX - 1 => Role::Mix { layer },
                    other => {
                        return Err(DecodeError::Unknown {
                            at,
                            value: u64::from(other),
                        });
                    }
                };
                let descriptor = Descriptor::decode(&mut reader)?;
                Self::Hello {
                    role,
                    descriptor,
                    lending: Lending::decode(&mut reader)?,
                }
            }
            2 => {
                let lending = Lending::decode(&mut reader)?;
                let mut counts = [0; 8];
                for count in &mut counts {
                    *count = reader.u64()?;
                }
                Self::Heartbeat {
                    lending,
                    mix: mix_stats(counts),
                }
            }
            3 => Self::Pong {
                nonce: reader.u64()?,
            },
            other => {
                return Err(DecodeError::Unknown {
                    at: 0,
                    value: u64::from(other),
                });
            }
        };
        reader.finish()?;
        Ok(message)
    }
}

impl ToNode {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        match self {
            Self::Directory {
                delay_mean,
                layers,
                others,
            } => {
                writer.u8(129);
                writer.u64(u64::try_from(delay_mean.as_micros()).unwrap_or(u64::MAX));
                writer.u16(count(layers.len()));
                for layer in layers {
                    encode_nodes(layer, &mut writer);
                }
                encode_nodes(others, &mut writer);
            }
            Self::Ping { nonce } => {
                writer.u8(130);
                writer.u64(*nonce);
            }
            Self::Tell => writer.u8(131),
            Self::Refused { reason } => {
                writer.u8(132);
                writer.u8(*reason as u8);
            }
        }
        writer.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let message = match reader.u8()? {
            129 => {
                let delay_mean = Duration::from_micros(reader.u64()?);
                let layer_count = usize::from(reader.u16()?);
                if layer_count >= HOPS_MAX {
                    return Err(DecodeError::TooLong {
                        actual: layer_count,
                        limit: HOPS_MAX - 1,
                    });
                }
                let layers = (0..layer_count)
                    .map(|_| decode_nodes(&mut reader))
                    .collect::<Result<_, _>>()?;
                Self::Directory {
                    delay_mean,
                    layers,
                    others: decode_nodes(&mut reader)?,
                }
            }
            130 => Self::Ping {
                nonce: reader.u64()?,
            },
            131 => Self::Tell,
            132 => {
                let at = reader.position();
                let byte = reader.u8()?;
                let reason = Refusal::from_byte(byte).ok_or(DecodeError::Unknown {
                    at,
                    value: byte.into(),
                })?;
                Self::Refused { reason }
            }
            other => {
                return Err(DecodeError::Unknown {
                    at: 0,
                    value: u64::from(other),
                });
            }
        };
        reader.finish()?;
        Ok(message)
    }
}

const COMPUTE: u8 = 0xff;

fn count(items: usize) -> u16 {
    // A coordinator admits no more nodes than `DIRECTORY_NODES_MAX`, which is far below 65,536.
    u16::try_from(items).expect("directories have a limit far below 65,536")
}

fn encode_nodes(nodes: &[Descriptor], writer: &mut Writer) {
    writer.u16(count(nodes.len()));
    for node in nodes {
        node.encode(writer);
    }
}

fn decode_nodes(reader: &mut Reader<'_>) -> Result<Vec<Descriptor>, DecodeError> {
    let actual = usize::from(reader.u16()?);
    if actual > DIRECTORY_NODES_MAX {
        return Err(DecodeError::TooLong {
            actual,
            limit: DIRECTORY_NODES_MAX,
        });
    }
    (0..actual).map(|_| Descriptor::decode(reader)).collect()
}

fn mix_counts(mix: &MixStats) -> [u64; 8] {
    let MixStats {
        received,
        forwarded,
        delivered,
        malformed,
        replayed,
        overloaded,
        late,
        refused,
    } = *mix;
    [
        received, forwarded, delivered, malformed, replayed, overloaded, late, refused,
    ]
}

fn mix_stats(counts: [u64; 8]) -> MixStats {
    let [
        received,
        forwarded,
        delivered,
        malformed,
        replayed,
        overloaded,
        late,
        refused,
    ] = counts;
    MixStats {
        received,
        forwarded,
        delivered,
        malformed,
        replayed,
        overloaded,
        late,
        refused,
    }
}

/// A task on its way to a node: `u32` attempt, 16 bytes task id, the task as it encodes itself.
pub(crate) struct TaskMessage<'a> {
    pub attempt: u32,
    pub task: fogcompute_base::TaskId,
    pub spec: &'a [u8],
}

impl<'a> TaskMessage<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u32(self.attempt);
        writer.raw(self.task.as_bytes());
        writer.raw(self.spec);
        writer.finish()
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let attempt = reader.u32()?;
        let task = fogcompute_base::TaskId::from_bytes(reader.array()?);
        Ok(Self {
            attempt,
            task,
            spec: reader.take(reader.remaining())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogcompute_base::NodeId;
    use fogcompute_mix::{EpochParity, PublicKey};
    use proptest::prelude::*;

    fn descriptor(id: u8) -> Descriptor {
        Descriptor {
            node: NodeId::from_bytes([id; 32]),
            key: PublicKey::from_bytes([id; 32]),
            epoch: EpochParity::of(id.into()),
            address: ([127, 0, 0, 1], 4000).into(),
        }
    }

    fn lending() -> Lending {
        Lending {
            cpu_millis: 1000,
            memory_bytes: 1 << 30,
            fuel_per_second: 500_000_000,
            price_per_gigafuel: Amount(7),
            status: "{}".to_owned(),
        }
    }

    #[test]
    fn messages_round_trip() {
        let mix = mix_stats([1, 2, 3, 4, 5, 6, 7, 8]);
        for message in [
            FromNode::Hello {
                role: Role::Compute,
                descriptor: descriptor(1),
                lending: lending(),
            },
            FromNode::Hello {
                role: Role::Mix { layer: 2 },
                descriptor: descriptor(2),
                lending: lending(),
            },
            FromNode::Heartbeat {
                lending: lending(),
                mix,
            },
            FromNode::Pong { nonce: 9 },
        ] {
            assert_eq!(FromNode::decode(&message.encode()), Ok(message));
        }
        for message in [
            ToNode::Directory {
                delay_mean: Duration::from_millis(5),
                layers: vec![vec![descriptor(1)], vec![descriptor(2), descriptor(3)]],
                others: vec![descriptor(4)],
            },
            ToNode::Ping { nonce: 3 },
            ToNode::Tell,
        ] {
            assert_eq!(ToNode::decode(&message.encode()), Ok(message));
        }
        for reason in Refusal::ALL {
            let message = ToNode::Refused { reason };
            assert_eq!(ToNode::decode(&message.encode()), Ok(message));
        }
        assert_eq!(
            ToNode::decode(&[132, 0]),
            Err(DecodeError::Unknown { at: 1, value: 0 })
        );
    }

    #[test]
    fn the_largest_directory_fits_a_frame_and_is_read() {
        let others: Vec<_> = (0..DIRECTORY_NODES_MAX)
            .map(|_| Descriptor {
                address: ([0xffff_u16; 8], u16::MAX).into(),
                ..descriptor(1)
            })
            .collect();
        let directory = |others| ToNode::Directory {
            delay_mean: Duration::from_millis(5),
            layers: vec![Vec::new(); HOPS_MAX - 1],
            others,
        };
        let bytes = directory(others.clone()).encode();
        assert!(bytes.len() <= fogcompute_base::limits::FRAME_BYTES_MAX);
        assert!(ToNode::decode(&bytes).is_ok());
        let one_more = [others, vec![descriptor(2)]].concat();
        assert!(matches!(
            ToNode::decode(&directory(one_more).encode()),
            Err(DecodeError::TooLong {
                limit: DIRECTORY_NODES_MAX,
                ..
            })
        ));
    }

    #[test]
    fn the_longest_message_of_a_node_is_within_the_limit() {
        let long = Lending {
            status: "x".repeat(STATUS_BYTES_MAX),
            ..lending()
        };
        for message in [
            FromNode::Hello {
                role: Role::Compute,
                descriptor: Descriptor {
                    address: ([0xffff_u16; 8], u16::MAX).into(),
                    ..descriptor(1)
                },
                lending: long.clone(),
            },
            FromNode::Heartbeat {
                lending: long,
                mix: mix_stats([u64::MAX; 8]),
            },
        ] {
            assert!(message.encode().len() <= FROM_NODE_BYTES_MAX);
        }
    }

    #[test]
    fn another_version_is_refused() {
        let hello = FromNode::Hello {
            role: Role::Compute,
            descriptor: descriptor(1),
            lending: lending(),
        };
        let mut bytes = hello.encode();
        bytes[2] = 9;
        assert_eq!(
            FromNode::decode(&bytes),
            Err(DecodeError::Unknown { at: 1, value: 9 })
        );
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = FromNode::decode(&bytes);
            let _ = ToNode::decode(&bytes);
            let _ = TaskMessage::decode(&bytes).map(|message| message.encode());
        }
    }
}
