//! What a node and its coordinator say to each other on a control link.
//!
//! Every frame is one message: a tag byte, then the fields in the order of the structures below,
//! in the encoding of [`fogcompute_base::wire`].
//!
//! | tag | direction | message |
//! |---|---|---|
//! | 1 | node → coordinator | hello: protocol version `u16`, role, descriptor, lending |
//! | 2 | node → coordinator | heartbeat: lending, mix counters |
//! | 3 | node → coordinator | pong: nonce `u64` of the ping |
//! | 4 | node → coordinator | reports: count `u16`, each: attempt `u32`, length `u32` and a [`Reported`]. Said again on the next link until they are acknowledged |
//! | 5 | node → coordinator | returned: attempts that were recalled and had not begun |
//! | 129 | coordinator → node | directory: mean delay in µs `u64`, layers, others |
//! | 130 | coordinator → node | ping: nonce `u64`; after the hello, and from then on after heartbeats, to measure the round trip |
//! | 131 | coordinator → node | tell: send a heartbeat now |
//! | 132 | coordinator → node | refused: reason `u8`, see [`Refusal`]; the link ends |
//! | 133 | coordinator → node | module: its bytes; named by their BLAKE3 digest from now on |
//! | 134 | coordinator → node | run: count `u16`, each: attempt `u32`, task id, length `u32` and the task as it encodes itself without its module, of which this link has carried the bytes |
//! | 135 | coordinator → node | acknowledged: attempts whose reports are on the coordinator's disk |
//! | 136 | coordinator → node | revoke: attempts that are over; stop them and report nothing |
//! | 137 | coordinator → node | recall: attempts that others could do now; return them if they have not begun |
//!
//! A list of attempts is a count `u16` and, for each, the task id and the attempt `u32`.
//!
//! Tasks that need not be hidden come this way, those that must be through the mixnet, each in a
//! [`TaskMessage`], which a [`Reported`] answers. A module is sent once a link: both sides keep the
//! last [`LINK_MODULES_MAX`] in the order in which they were sent, so the coordinator knows what the
//! node has.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fogcompute_base::limits::{FRAME_BYTES_MAX, MODULE_BYTES_MAX};
use fogcompute_base::wire::{DecodeError, Reader, Writer};
use fogcompute_base::{Digest, NodeId, TaskId};
use fogcompute_exec::{TaskReport, TaskSpec};
use fogcompute_ledger::Amount;
use fogcompute_mix::{Descriptor, HOPS_MAX, MixStats};
use fogcompute_net::Identity;
use thiserror::Error;
use zeroize::Zeroizing;

/// Version of this protocol; another one is refused.
pub(crate) const VERSION: u16 = 6;

/// Longest status text, in bytes.
const STATUS_BYTES_MAX: usize = 16 << 10;

/// Longest message of a node that is not let in yet, in bytes: a status, and far less beside it
/// than this allows.
pub(crate) const STRANGER_BYTES_MAX: usize = STATUS_BYTES_MAX + (1 << 10);

/// Longest message of a node, in bytes: reports.
pub(crate) const FROM_NODE_BYTES_MAX: usize = REPORTS_BYTES_MAX;

/// Longest message of reports, in bytes: one of any length, or many.
pub(crate) const REPORTS_BYTES_MAX: usize = Reported::ENCODED_BYTES_MAX + 64;

/// Longest log that comes with a report, in bytes. Of a longer one the node sends the end.
pub const REPORT_LOG_BYTES_MAX: usize = 64 << 10;

/// Length from which a message of many parts gets no further one, in bytes: it should not keep
/// others waiting for long.
pub(crate) const BATCH_BYTES: usize = 64 << 10;

/// Most tasks, reports or attempts in one message.
pub(crate) const BATCH_MAX: usize = 1_024;

/// Modules that a link remembers, at both ends.
pub(crate) const LINK_MODULES_MAX: usize = 32;

/// Tasks that a node may have by its link, waiting ones included. A coordinator gives it no more.
pub(crate) const LINK_TASKS_MAX: usize = 4_096;

/// The last mix layer that a fog can have: a route goes through the layers and ends behind them.
pub(crate) const MIX_LAYER_MAX: u8 = 5;

const _: () = assert!(MIX_LAYER_MAX as usize + 2 == HOPS_MAX);
// Any one task, module or report fits a frame.
const _: () = assert!(TaskSpec::APART_BYTES_MAX + 64 < FRAME_BYTES_MAX);
const _: () = assert!(MODULE_BYTES_MAX + 64 < FRAME_BYTES_MAX);
const _: () = assert!(REPORTS_BYTES_MAX < FRAME_BYTES_MAX);

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
    /// The node does not read what it is sent: more waits for it than it may have.
    #[error("it does not read what it is sent")]
    Slow = 7,
}

impl Refusal {
    const ALL: [Self; 7] = [
        Self::Protocol,
        Self::Descriptor,
        Self::Reference,
        Self::Layer,
        Self::Full,
        Self::Offer,
        Self::Slow,
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

/// An attempt at a task.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct AttemptId {
    pub task: TaskId,
    pub number: u32,
}

/// A task on its way to a node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Run {
    pub attempt: u32,
    pub task: TaskId,
    /// The task without its module.
    pub spec: Vec<u8>,
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
    Reports {
        reports: Vec<(u32, Reported)>,
    },
    Returned {
        attempts: Vec<AttemptId>,
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
    Module {
        bytes: Arc<[u8]>,
    },
    Run {
        tasks: Vec<Run>,
    },
    Acknowledged {
        attempts: Vec<AttemptId>,
    },
    Revoke {
        attempts: Vec<AttemptId>,
    },
    Recall {
        attempts: Vec<AttemptId>,
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
            Self::Reports { reports } => {
                let mut message = ReportsMessage::new();
                for (attempt, reported) in reports {
                    message.push(*attempt, &reported.encode());
                }
                return message.finish();
            }
            Self::Returned { attempts } => encode_attempts(5, attempts, &mut writer),
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
                    layer if layer <= MIX_LAYER_MAX => Role::Mix { layer },
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
            4 => Self::Reports {
                reports: decode_list(&mut reader, |reader| {
                    let attempt = reader.u32()?;
                    let reported = reader.bytes(Reported::ENCODED_BYTES_MAX)?;
                    Ok((attempt, Reported::decode(reported)?))
                })?,
            },
            5 => Self::Returned {
                attempts: decode_attempts(&mut reader)?,
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
            Self::Module { bytes } => {
                writer.u8(133);
                writer.raw(bytes);
            }
            Self::Run { tasks } => {
                let mut message = RunMessage::new();
                for Run {
                    attempt,
                    task,
                    spec,
                } in tasks
                {
                    message.push(*attempt, *task, spec);
                }
                return message.finish();
            }
            Self::Acknowledged { attempts } => encode_attempts(135, attempts, &mut writer),
            Self::Revoke { attempts } => encode_attempts(136, attempts, &mut writer),
            Self::Recall { attempts } => encode_attempts(137, attempts, &mut writer),
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
            133 => {
                let actual = reader.remaining();
                if actual > MODULE_BYTES_MAX {
                    return Err(DecodeError::TooLong {
                        actual,
                        limit: MODULE_BYTES_MAX,
                    });
                }
                Self::Module {
                    bytes: reader.take(actual)?.into(),
                }
            }
            134 => Self::Run {
                tasks: decode_list(&mut reader, |reader| {
                    Ok(Run {
                        attempt: reader.u32()?,
                        task: TaskId::from_bytes(reader.array()?),
                        spec: reader.bytes(TaskSpec::APART_BYTES_MAX)?.to_vec(),
                    })
                })?,
            },
            135 => Self::Acknowledged {
                attempts: decode_attempts(&mut reader)?,
            },
            136 => Self::Revoke {
                attempts: decode_attempts(&mut reader)?,
            },
            137 => Self::Recall {
                attempts: decode_attempts(&mut reader)?,
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

/// How a task ended, with what it said: length `u32` and the report as it encodes itself, length
/// `u32` and the log, in UTF-8.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Reported {
    pub report: TaskReport,
    /// Lines, each with its end.
    pub log: String,
}

impl Reported {
    /// Longest encoding, in bytes.
    pub(crate) const ENCODED_BYTES_MAX: usize =
        4 + TaskReport::ENCODED_BYTES_MAX + 4 + REPORT_LOG_BYTES_MAX;

    /// What a task may add to its report by what it says: nothing, if it is not granted to say
    /// anything.
    pub(crate) fn log_bytes_max(spec: &TaskSpec) -> usize {
        let grants = spec.grants();
        match (grants.host_calls || grants.wasi) && spec.limits().log_bytes > 0 {
            true => REPORT_LOG_BYTES_MAX,
            false => 0,
        }
    }

    /// The end of a log that is too long, from the beginning of a line on.
    pub(crate) fn end_of_log(mut log: String) -> String {
        let over = log.len().saturating_sub(REPORT_LOG_BYTES_MAX);
        if over > 0 {
            // A line that is cut is left out, unless there is no other.
            let line = log.as_bytes()[over - 1..]
                .iter()
                .position(|it| *it == b'\n');
            let whole = line.map(|at| over + at).filter(|at| *at < log.len());
            let begin = whole.unwrap_or_else(|| log.ceil_char_boundary(over));
            log.replace_range(..begin, "");
        }
        log
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.bytes(&self.report.encode());
        writer.text(&self.log);
        writer.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let report = TaskReport::decode(reader.bytes(TaskReport::ENCODED_BYTES_MAX)?)?;
        let log = reader.text(REPORT_LOG_BYTES_MAX)?.to_owned();
        reader.finish()?;
        Ok(Self { report, log })
    }
}

const COMPUTE: u8 = 0xff;

/// A message of tasks or of reports while it is put together.
#[derive(Debug)]
struct Batch {
    tag: u8,
    body: Writer,
    bytes: usize,
    count: u16,
}

impl Batch {
    const fn new(tag: u8) -> Self {
        Self {
            tag,
            body: Writer::new(),
            bytes: 0,
            count: 0,
        }
    }

    fn push(&mut self, bytes: usize, item: impl FnOnce(&mut Writer)) {
        item(&mut self.body);
        self.bytes += bytes;
        self.count += 1;
    }

    /// Whether an item of so many bytes should go into the next message.
    fn is_full_for(&self, bytes: usize) -> bool {
        self.count > 0 && (self.bytes + bytes > BATCH_BYTES || usize::from(self.count) >= BATCH_MAX)
    }

    fn finish(self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(self.tag);
        writer.u16(self.count);
        writer.raw(&self.body.finish());
        writer.finish()
    }
}

/// [`FromNode::Reports`] of reports that are encoded already.
#[derive(Debug)]
pub(crate) struct ReportsMessage(Batch);

impl ReportsMessage {
    pub(crate) const fn new() -> Self {
        Self(Batch::new(4))
    }

    pub(crate) fn is_full_for(&self, report: &[u8]) -> bool {
        self.0.is_full_for(8 + report.len())
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.count == 0
    }

    pub(crate) fn push(&mut self, attempt: u32, report: &[u8]) {
        self.0.push(8 + report.len(), |writer| {
            writer.u32(attempt);
            writer.bytes(report);
        });
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0.finish()
    }
}

/// [`ToNode::Run`] of tasks that are encoded already.
#[derive(Debug)]
pub(crate) struct RunMessage(Batch);

impl RunMessage {
    pub(crate) const fn new() -> Self {
        Self(Batch::new(134))
    }

    pub(crate) fn is_full_for(&self, spec: &[u8]) -> bool {
        self.0.is_full_for(24 + spec.len())
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.count == 0
    }

    pub(crate) fn push(&mut self, attempt: u32, task: TaskId, spec: &[u8]) {
        self.0.push(24 + spec.len(), |writer| {
            writer.u32(attempt);
            writer.raw(task.as_bytes());
            writer.bytes(spec);
        });
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0.finish()
    }
}

/// The modules that a link has carried lately. The coordinator's end and the node's agree on them,
/// because both see the same modules in the same order and forget the oldest.
#[derive(Debug)]
pub(crate) struct LinkModules<T> {
    modules: VecDeque<(Digest, T)>,
}

impl<T> LinkModules<T> {
    pub(crate) const fn new() -> Self {
        Self {
            modules: VecDeque::new(),
        }
    }

    pub(crate) fn find(&self, digest: Digest) -> Option<&T> {
        let known = self.modules.iter().find(|(known, _)| *known == digest);
        known.map(|(_, module)| module)
    }

    pub(crate) fn insert(&mut self, digest: Digest, module: T) {
        if self.modules.len() >= LINK_MODULES_MAX {
            self.modules.pop_front();
        }
        self.modules.push_back((digest, module));
    }
}

/// A list is cut into messages of [`BATCH_MAX`] by who sends it.
fn encode_attempts(tag: u8, attempts: &[AttemptId], writer: &mut Writer) {
    writer.u8(tag);
    writer.u16(count(attempts.len()));
    for attempt in attempts {
        writer.raw(attempt.task.as_bytes());
        writer.u32(attempt.number);
    }
}

fn decode_attempts(reader: &mut Reader<'_>) -> Result<Vec<AttemptId>, DecodeError> {
    decode_list(reader, |reader| {
        Ok(AttemptId {
            task: TaskId::from_bytes(reader.array()?),
            number: reader.u32()?,
        })
    })
}

fn decode_list<'a, T>(
    reader: &mut Reader<'a>,
    item: impl Fn(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let actual = usize::from(reader.u16()?);
    if actual > BATCH_MAX {
        return Err(DecodeError::TooLong {
            actual,
            limit: BATCH_MAX,
        });
    }
    (0..actual).map(|_| item(reader)).collect()
}

fn count(items: usize) -> u16 {
    // Nodes of a directory and attempts of a message have limits far below 65,536.
    u16::try_from(items).expect("lists have a limit far below 65,536")
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

/// What shows a node that a message through the mixnet is its coordinator's: anybody can send it some,
/// and none says where it comes from.
pub(crate) struct TaskKey(Zeroizing<[u8; 32]>);

impl TaskKey {
    /// The key of these two, one of which is the coordinator of the other. `None` if the other's id is no
    /// usable key: nobody can hold a link under it either.
    pub(crate) fn between(identity: &Identity, other: NodeId) -> Option<Self> {
        let key = identity.shared_with(other, "fogcompute 2026-11-22 task from a coordinator");
        key.map(Self)
    }

    fn tag(&self, message: &[u8]) -> blake3::Hash {
        blake3::keyed_hash(&self.0, message)
    }
}

impl fmt::Debug for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskKey(..)")
    }
}

/// A task on its way to a node through the mixnet: `u32` attempt, 16 bytes task id, the task as it
/// encodes itself. Before it stand the 32 bytes of BLAKE3's keyed hash of that, under a [`TaskKey`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TaskMessage<'a> {
    pub attempt: u32,
    pub task: TaskId,
    pub spec: &'a [u8],
}

impl<'a> TaskMessage<'a> {
    /// The message as it is sent.
    pub(crate) fn seal(&self, key: &TaskKey) -> Vec<u8> {
        let message = self.encode();
        [&key.tag(&message).as_bytes()[..], &message].concat()
    }

    /// The message that was sent, if whoever has the key sent it.
    pub(crate) fn open(bytes: &'a [u8], key: &TaskKey) -> Option<Self> {
        let (tag, message) = bytes.split_first_chunk()?;
        // Compared in constant time.
        (key.tag(message) == *tag).then_some(())?;
        Self::decode(message).ok()
    }

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
        let task = TaskId::from_bytes(reader.array()?);
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
    use fogcompute_base::OsEntropy;
    use fogcompute_base::limits::OUTPUT_BYTES_MAX;
    use fogcompute_exec::{TaskOutput, Usage};
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
    fn a_task_is_taken_from_who_has_the_key_and_only_as_it_was_sent() {
        let [coordinator, node, stranger] = [(); 3].map(|()| Identity::random(&mut OsEntropy));
        let between = |one: &Identity, other: &Identity| TaskKey::between(one, other.node());
        let key = between(&node, &coordinator).unwrap();
        let message = TaskMessage {
            attempt: 3,
            task: TaskId::from_bytes([7; 16]),
            spec: b"what to do",
        };
        let sealed = message.seal(&between(&coordinator, &node).unwrap());
        assert_eq!(TaskMessage::open(&sealed, &key), Some(message));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(TaskMessage::open(&changed, &key), None, "byte {at}");
            assert_eq!(TaskMessage::open(&sealed[..at], &key), None);
        }
        let foreign = message.seal(&between(&stranger, &node).unwrap());
        assert_eq!(TaskMessage::open(&foreign, &key), None);
        assert_eq!(TaskMessage::open(&message.encode(), &key), None);
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
            assert!(message.encode().len() <= STRANGER_BYTES_MAX);
        }
    }

    fn report(id: u8, output: Vec<u8>) -> Reported {
        let log = format!("said by {id}\n");
        let report = TaskReport {
            task: TaskId::from_bytes([id; 16]),
            result: Ok(TaskOutput {
                output,
                usage: Usage::default(),
            }),
        };
        Reported { report, log }
    }

    #[test]
    fn of_a_log_that_is_too_long_the_end_is_kept_in_whole_lines() {
        let end = |log: &str| Reported::end_of_log(log.to_owned());
        let full = "x".repeat(REPORT_LOG_BYTES_MAX - 1) + "\n";
        assert_eq!(end(&full), full);
        assert_eq!(end(&format!("one\ntwo\n{full}")), full);
        // Where there is no beginning of a line, one is cut, where a character begins.
        assert_eq!(end(&format!("one\ntwo{full}")), full);
        let endless = "ä".repeat(REPORT_LOG_BYTES_MAX);
        assert_eq!(end(&endless).len(), REPORT_LOG_BYTES_MAX);
        assert_eq!(end(&format!("{endless}x")).len(), REPORT_LOG_BYTES_MAX - 1);
        assert_eq!(end(""), "");
    }

    #[test]
    fn only_a_task_that_may_say_something_needs_room_for_it() {
        let spec = TaskSpec::new(vec![0], vec![], fogcompute_exec::Limits::default()).unwrap();
        assert_eq!(Reported::log_bytes_max(&spec), 0);
        let grants = fogcompute_exec::Grants {
            host_calls: true,
            ..Default::default()
        };
        let talks = spec.with_grants(grants).unwrap();
        assert_eq!(Reported::log_bytes_max(&talks), REPORT_LOG_BYTES_MAX);
    }

    #[test]
    fn the_longest_report_fits_a_message_and_one_more_byte_is_refused() {
        let log = "x".repeat(REPORT_LOG_BYTES_MAX);
        let longest = Reported {
            log,
            ..report(1, vec![0; OUTPUT_BYTES_MAX])
        };
        let longer = Reported {
            log: longest.log.clone() + "x",
            ..report(1, Vec::new())
        };
        let longer = FromNode::Reports {
            reports: vec![(1, longer)],
        };
        assert!(matches!(
            FromNode::decode(&longer.encode()),
            Err(DecodeError::TooLong { .. })
        ));
        let longest = FromNode::Reports {
            reports: vec![(1, longest)],
        };
        let bytes = longest.encode();
        assert!(bytes.len() <= FROM_NODE_BYTES_MAX);
        assert_eq!(FromNode::decode(&bytes), Ok(longest));
        let longer = FromNode::Reports {
            reports: vec![(1, report(1, vec![0; OUTPUT_BYTES_MAX + 1]))],
        };
        assert!(matches!(
            FromNode::decode(&longer.encode()),
            Err(DecodeError::TooLong { .. })
        ));
    }

    #[test]
    fn a_message_of_many_parts_ends_in_time() {
        let mut message = ReportsMessage::new();
        assert!(!message.is_full_for(&vec![0; 1 << 20]));
        let mut count = 0;
        while !message.is_full_for(&[0; 50]) {
            message.push(1, &[0; 50]);
            count += 1;
        }
        assert_eq!(count, BATCH_MAX);
        let mut message = RunMessage::new();
        message.push(1, TaskId::from_bytes([1; 16]), &vec![0; BATCH_BYTES]);
        assert!(message.is_full_for(&[0; 1]));
        // Who says more all the same is not read.
        let attempts = vec![
            AttemptId {
                task: TaskId::from_bytes([1; 16]),
                number: 1
            };
            BATCH_MAX + 1
        ];
        assert_eq!(
            FromNode::decode(&FromNode::Returned { attempts }.encode()),
            Err(DecodeError::TooLong {
                actual: BATCH_MAX + 1,
                limit: BATCH_MAX
            })
        );
    }

    #[test]
    fn both_ends_of_a_link_forget_the_same_modules() {
        let mut modules = LinkModules::new();
        let digest = |number: usize| Digest::of(&number.to_be_bytes());
        for number in 0..=LINK_MODULES_MAX {
            modules.insert(digest(number), number);
        }
        assert_eq!(modules.find(digest(0)), None);
        for number in 1..=LINK_MODULES_MAX {
            assert_eq!(modules.find(digest(number)), Some(&number));
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

    fn attempts() -> impl Strategy<Value = Vec<AttemptId>> {
        let attempt = (any::<[u8; 16]>(), any::<u32>()).prop_map(|(task, number)| AttemptId {
            task: TaskId::from_bytes(task),
            number,
        });
        proptest::collection::vec(attempt, 0..9)
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), 0..60)
    }

    proptest! {
        #[test]
        fn messages_about_tasks_round_trip(
            attempts in attempts(),
            outputs in proptest::collection::vec((any::<u32>(), any::<u8>(), bytes()), 0..9),
            specs in proptest::collection::vec((any::<u32>(), any::<u8>(), bytes()), 0..9),
            module in bytes(),
        ) {
            let reports = outputs.into_iter();
            let reports = reports.map(|(attempt, id, output)| (attempt, report(id, output)));
            for message in [
                FromNode::Reports { reports: reports.collect() },
                FromNode::Returned { attempts: attempts.clone() },
            ] {
                prop_assert_eq!(FromNode::decode(&message.encode()), Ok(message));
            }
            let tasks = specs.into_iter().map(|(attempt, id, spec)| Run {
                attempt,
                task: TaskId::from_bytes([id; 16]),
                spec,
            });
            for message in [
                ToNode::Run { tasks: tasks.collect() },
                ToNode::Module { bytes: module.into() },
                ToNode::Acknowledged { attempts: attempts.clone() },
                ToNode::Revoke { attempts: attempts.clone() },
                ToNode::Recall { attempts },
            ] {
                prop_assert_eq!(ToNode::decode(&message.encode()), Ok(message));
            }
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = FromNode::decode(&bytes);
            let _ = ToNode::decode(&bytes);
            let _ = TaskMessage::decode(&bytes).map(|message| message.encode());
            let _ = Reported::decode(&bytes);
        }
    }
}
