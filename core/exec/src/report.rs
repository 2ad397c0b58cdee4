//! What comes back.

use std::fmt;
use std::time::Duration;

use fogcompute_base::limits::OUTPUT_BYTES_MAX;
use fogcompute_base::wire::{DecodeError, Reader, Writer};
use fogcompute_base::{Digest, TaskId};
use serde::{Deserialize, Serialize};

use crate::{TaskError, TaskSpec};

/// Version of the encoding.
const VERSION: u8 = 1;

/// What a task used.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Usage {
    /// Work done, in units of fuel: the same wherever the task runs in a runtime of one name.
    pub fuel: u64,
    /// Most memory held at once, linear memory and tables, in bytes.
    pub memory_bytes_peak: u64,
    /// Wall time from call to return, compiling included: differs from run to run.
    pub wall: Duration,
}

/// The result of a task that succeeded.
#[derive(Clone, Eq, PartialEq)]
pub struct TaskOutput {
    /// What the task returned.
    pub output: Vec<u8>,
    /// What it used.
    pub usage: Usage,
}

impl fmt::Debug for TaskOutput {
    /// Length only: the output belongs to the submitter.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskOutput")
            .field("output_bytes", &self.output.len())
            .field("usage", &self.usage)
            .finish()
    }
}

/// How a task ended, as a node tells it.
///
/// Encoding, version 1, integers big-endian:
///
/// | field | bytes |
/// |---|---|
/// | version | 1, value 1 |
/// | task id | 16 |
/// | outcome | 1: 1 success, 2 failure |
/// | *success*: fuel, peak memory in bytes, wall time in nanoseconds | 8 each |
/// | *success*: output | 4 length, then 0 to 1 MiB |
/// | *failure*: error | see [`TaskError`] |
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TaskReport {
    /// Which task.
    pub task: TaskId,
    /// Its output, or why there is none.
    pub result: Result<TaskOutput, TaskError>,
}

impl TaskReport {
    /// Longest encoding, in bytes.
    pub const ENCODED_BYTES_MAX: usize = 1 + TaskId::LEN + 1 + 24 + 4 + OUTPUT_BYTES_MAX;

    /// The report as bytes, see the table above.
    ///
    /// A wall time over 584 years is written as that.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(VERSION);
        writer.raw(self.task.as_bytes());
        match &self.result {
            Ok(TaskOutput { output, usage }) => {
                writer.u8(1);
                writer.u64(usage.fuel);
                writer.u64(usage.memory_bytes_peak);
                writer.u64(u64::try_from(usage.wall.as_nanos()).unwrap_or(u64::MAX));
                writer.bytes(output);
            }
            Err(error) => {
                writer.u8(2);
                error.encode_to(&mut writer);
            }
        }
        writer.finish()
    }

    /// Reads a report from bytes of a peer.
    ///
    /// # Errors
    /// [`DecodeError`] for bytes of another shape or an output over [`OUTPUT_BYTES_MAX`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(DecodeError::Unknown {
                at: 0,
                value: version.into(),
            });
        }
        let task = TaskId::from_bytes(reader.array()?);
        let at = reader.position();
        let result = match reader.u8()? {
            1 => {
                let usage = Usage {
                    fuel: reader.u64()?,
                    memory_bytes_peak: reader.u64()?,
                    wall: Duration::from_nanos(reader.u64()?),
                };
                Ok(TaskOutput {
                    output: reader.bytes(OUTPUT_BYTES_MAX)?.to_vec(),
                    usage,
                })
            }
            2 => Err(TaskError::decode_from(&mut reader)?),
            other => {
                return Err(DecodeError::Unknown {
                    at,
                    value: other.into(),
                });
            }
        };
        reader.finish()?;
        Ok(Self { task, result })
    }
}

/// The value of a global variable, floats as their bits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GlobalValue {
    /// 32 bits.
    I32(u32),
    /// 64 bits.
    I64(u64),
    /// A float of 32 bits.
    F32(u32),
    /// A float of 64 bits.
    F64(u64),
}

/// Where a task can go on: its linear memory and its exported mutable globals.
///
/// The stack is not in it, so a task goes on in its export `fog_resume` and not in the middle of a
/// function. It fits every runtime of WebAssembly, also one of another engine.
///
/// Encoding, version 1, integers big-endian:
///
/// | field | bytes |
/// |---|---|
/// | version | 1, value 1 |
/// | digest of the module, digest of the input | 32 each |
/// | fuel used up to here | 8 |
/// | progress in thousandths | 2 |
/// | memory in pages of 64 KiB | 4 |
/// | count of blocks that are not all zero | 4 |
/// | each: number, ascending; content | 4, then 4096 |
/// | count of globals | 2 |
/// | each: name; type 1 i32, 2 i64, 3 f32, 4 f64; bits | 4 length and text; 1; 4 or 8 |
#[derive(Clone, Eq, PartialEq)]
pub struct Checkpoint {
    /// Digest of the task's module.
    pub module: Digest,
    /// Digest of its input.
    pub input: Digest,
    /// Fuel used up to here, as the runtime counts that made it.
    pub fuel: u64,
    /// How much of its work the task said was done, in thousandths.
    pub permille: u16,
    /// The whole linear memory: a multiple of 64 KiB.
    pub memory: Vec<u8>,
    /// Exported mutable globals by name.
    pub globals: Vec<(String, GlobalValue)>,
}

impl Checkpoint {
    /// Most exported mutable globals.
    pub const GLOBALS_MAX: usize = 1_000;

    /// Longest name of a global, in bytes.
    pub const NAME_BYTES_MAX: usize = 256;

    const PAGE_BYTES: usize = 1 << 16;
    const BLOCK_BYTES: usize = 1 << 12;

    /// Whether it was made by this task.
    #[must_use]
    pub fn is_of(&self, spec: &TaskSpec) -> bool {
        self.module == spec.module_digest() && self.input == Digest::of(spec.input())
    }

    /// The checkpoint as bytes, see the table above. What is zero takes no room.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let blocks = || {
            let blocks = self.memory.chunks_exact(Self::BLOCK_BYTES).enumerate();
            // Compared as a whole, which is one call of the C library and not a loop.
            blocks.filter(|(_, block)| **block != [0; Self::BLOCK_BYTES])
        };
        let mut writer = Writer::new();
        writer.u8(VERSION);
        writer.raw(self.module.as_bytes());
        writer.raw(self.input.as_bytes());
        writer.u64(self.fuel);
        writer.u16(self.permille);
        writer.u32(count(self.memory.len() / Self::PAGE_BYTES));
        writer.u32(count(blocks().count()));
        for (number, block) in blocks() {
            writer.u32(count(number));
            writer.raw(block);
        }
        writer.u16(u16::try_from(self.globals.len()).unwrap_or(u16::MAX));
        for (name, value) in &self.globals {
            writer.text(name);
            match value {
                GlobalValue::I32(bits) => {
                    writer.u8(1);
                    writer.u32(*bits);
                }
                GlobalValue::I64(bits) => {
                    writer.u8(2);
                    writer.u64(*bits);
                }
                GlobalValue::F32(bits) => {
                    writer.u8(3);
                    writer.u32(*bits);
                }
                GlobalValue::F64(bits) => {
                    writer.u8(4);
                    writer.u64(*bits);
                }
            }
        }
        writer.finish()
    }

    /// Reads a checkpoint from bytes of a peer or a disk.
    ///
    /// # Errors
    /// [`DecodeError`] for bytes of another shape, or a memory over `memory_bytes_max`.
    pub fn decode(bytes: &[u8], memory_bytes_max: u64) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let unknown = |at, value: u64| DecodeError::Unknown { at, value };
        let version = reader.u8()?;
        if version != VERSION {
            return Err(unknown(0, version.into()));
        }
        let module = Digest::from_bytes(reader.array()?);
        let input = Digest::from_bytes(reader.array()?);
        let fuel = reader.u64()?;
        let at = reader.position();
        let permille = reader.u16()?;
        if permille > 1_000 {
            return Err(unknown(at, permille.into()));
        }
        let limit = usize::try_from(memory_bytes_max).unwrap_or(usize::MAX);
        let actual = (reader.u32()? as usize).saturating_mul(Self::PAGE_BYTES);
        if actual > limit {
            return Err(DecodeError::TooLong { actual, limit });
        }
        let mut memory = vec![0; actual];
        let mut next = 0;
        for _ in 0..reader.u32()? {
            let at = reader.position();
            let number = reader.u32()?;
            let start = (number as usize).saturating_mul(Self::BLOCK_BYTES);
            let block = memory
                .get_mut(start..)
                .and_then(|rest| rest.get_mut(..Self::BLOCK_BYTES));
            let (Some(block), true) = (block, number >= next) else {
                return Err(unknown(at, number.into()));
            };
            block.copy_from_slice(reader.take(Self::BLOCK_BYTES)?);
            next = number.saturating_add(1);
        }
        let count = usize::from(reader.u16()?);
        if count > Self::GLOBALS_MAX {
            return Err(DecodeError::TooLong {
                actual: count,
                limit: Self::GLOBALS_MAX,
            });
        }
        let mut globals = Vec::new();
        for _ in 0..count {
            let name = reader.text(Self::NAME_BYTES_MAX)?.to_owned();
            let at = reader.position();
            let value = match reader.u8()? {
                1 => GlobalValue::I32(reader.u32()?),
                2 => GlobalValue::I64(reader.u64()?),
                3 => GlobalValue::F32(reader.u32()?),
                4 => GlobalValue::F64(reader.u64()?),
                other => return Err(unknown(at, other.into())),
            };
            globals.push((name, value));
        }
        reader.finish()?;
        Ok(Self {
            module,
            input,
            fuel,
            permille,
            memory,
            globals,
        })
    }
}

impl fmt::Debug for Checkpoint {
    /// Lengths only: the content belongs to the submitter.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoint")
            .field("module", &self.module)
            .field("fuel", &self.fuel)
            .field("permille", &self.permille)
            .field("memory_bytes", &self.memory.len())
            .field("globals", &self.globals.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::tests::one_of_each;
    use proptest::prelude::*;

    const TASK: TaskId = TaskId::from_bytes([7; 16]);

    #[test]
    fn every_failure_round_trips() {
        for error in one_of_each() {
            let report = TaskReport {
                task: TASK,
                result: Err(error),
            };
            assert_eq!(TaskReport::decode(&report.encode()), Ok(report));
        }
    }

    #[test]
    fn longest_report_has_the_announced_length() {
        let report = TaskReport {
            task: TASK,
            result: Ok(TaskOutput {
                output: vec![1; OUTPUT_BYTES_MAX],
                usage: Usage::default(),
            }),
        };
        let bytes = report.encode();
        assert_eq!(bytes.len(), TaskReport::ENCODED_BYTES_MAX);
        assert_eq!(TaskReport::decode(&bytes), Ok(report));
    }

    #[test]
    fn output_over_the_limit_unknown_version_and_unknown_outcome_are_refused() {
        let report = TaskReport {
            task: TASK,
            result: Ok(TaskOutput {
                output: vec![0; OUTPUT_BYTES_MAX + 1],
                usage: Usage::default(),
            }),
        };
        let mut bytes = report.encode();
        assert_eq!(
            TaskReport::decode(&bytes),
            Err(DecodeError::TooLong {
                actual: OUTPUT_BYTES_MAX + 1,
                limit: OUTPUT_BYTES_MAX
            })
        );
        bytes[17] = 3;
        assert_eq!(
            TaskReport::decode(&bytes),
            Err(DecodeError::Unknown { at: 17, value: 3 })
        );
        bytes[0] = 0;
        assert_eq!(
            TaskReport::decode(&bytes),
            Err(DecodeError::Unknown { at: 0, value: 0 })
        );
    }

    fn checkpoint() -> Checkpoint {
        let mut memory = vec![0; 3 << 16];
        memory[70_000] = 7;
        memory[196_607] = 9;
        Checkpoint {
            module: Digest::of(b"module"),
            input: Digest::of(b"input"),
            fuel: 12,
            permille: 500,
            memory,
            globals: vec![
                ("a".to_owned(), GlobalValue::I32(u32::MAX)),
                ("b".to_owned(), GlobalValue::I64(1)),
                ("c".to_owned(), GlobalValue::F32(0x7fc0_0000)),
                ("é".to_owned(), GlobalValue::F64(3)),
            ],
        }
    }

    #[test]
    fn checkpoints_round_trip_and_zeros_take_no_room() {
        let bytes = checkpoint().encode();
        assert!(bytes.len() < 2 * 4_096 + 256, "{}", bytes.len());
        assert_eq!(Checkpoint::decode(&bytes, 3 << 16), Ok(checkpoint()));
        let refused = Checkpoint::decode(&bytes, (3 << 16) - 1);
        assert!(matches!(refused, Err(DecodeError::TooLong { .. })));
    }

    #[test]
    fn damaged_checkpoints_are_refused() {
        let bytes = checkpoint().encode();
        for len in [0, 1, 60, 84, 90, 5_000, bytes.len() - 1] {
            assert!(Checkpoint::decode(&bytes[..len], 1 << 20).is_err(), "{len}");
        }
        // Version, progress, and the second block's number.
        for (at, value) in [(0, 2), (73, 255), (83 + 4_100, 255), (86 + 4_100, 0)] {
            let mut damaged = bytes.clone();
            damaged[at] = value;
            let refused = Checkpoint::decode(&damaged, 1 << 20);
            assert!(matches!(refused, Err(DecodeError::Unknown { .. })), "{at}");
        }
    }

    #[test]
    fn debug_text_does_not_show_the_output() {
        let output = TaskOutput {
            output: b"secret".to_vec(),
            usage: Usage::default(),
        };
        let text = format!("{output:?}");
        assert!(text.contains("output_bytes: 6"), "{text}");
        assert!(!text.contains("115"), "{text}");
    }

    proptest! {
        #[test]
        fn successes_round_trip(
            task in any::<[u8; 16]>(),
            output in proptest::collection::vec(any::<u8>(), 0..64),
            fuel in any::<u64>(),
            memory_bytes_peak in any::<u64>(),
            nanos in any::<u64>(),
        ) {
            let usage = Usage { fuel, memory_bytes_peak, wall: Duration::from_nanos(nanos) };
            let report = TaskReport {
                task: TaskId::from_bytes(task),
                result: Ok(TaskOutput { output, usage }),
            };
            prop_assert_eq!(TaskReport::decode(&report.encode()), Ok(report));
        }

        #[test]
        fn any_bytes_are_decoded_without_panic(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..80),
            outcome in 1_u8..=2,
            code in 0_u8..=21,
        ) {
            // Steers past the fixed bytes, so that the fields behind them are reached.
            for (at, value) in [(0, VERSION), (17, outcome), (18, 0), (19, code)] {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            if let Ok(report) = TaskReport::decode(&bytes) {
                prop_assert_eq!(TaskReport::decode(&report.encode()), Ok(report));
            }
        }
    }
}
