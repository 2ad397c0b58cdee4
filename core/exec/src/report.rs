//! What comes back.

use std::fmt;
use std::time::Duration;

use fogcompute_base::TaskId;
use fogcompute_base::limits::OUTPUT_BYTES_MAX;
use fogcompute_base::wire::{DecodeError, Reader, Writer};
use serde::{Deserialize, Serialize};

use crate::TaskError;

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
            code in 0_u8..=15,
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
