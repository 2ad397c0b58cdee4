//! How a task fails.

use std::fmt;

use fogcompute_base::wire::{DecodeError, Reader, Writer};
use thiserror::Error;

/// Text that comes from a guest's module: short, printable, not to be trusted.
///
/// Control characters become `?` so that a log line stays one line, and what is over
/// [`GuestText::BYTES_MAX`] is cut.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct GuestText(String);

impl GuestText {
    /// Longest text, in bytes of UTF-8.
    pub const BYTES_MAX: usize = 128;

    /// Cleans and cuts `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut cut = String::new();
        for char in text.chars() {
            let clean = if char.is_control() { '?' } else { char };
            if cut.len() + clean.len_utf8() > Self::BYTES_MAX {
                break;
            }
            cut.push(clean);
        }
        Self(cut)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn decode_from(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        // A peer may send control characters all the same, so its text is cleaned too.
        Ok(Self::new(reader.text(Self::BYTES_MAX)?))
    }
}

impl fmt::Display for GuestText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a module must export.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum AbiExport {
    /// `memory`: a memory.
    Memory = 1,
    /// `fog_alloc`: `(i32) -> i32`.
    Alloc = 2,
    /// `fog_run`: `(i32, i32) -> i64`.
    Run = 3,
}

impl AbiExport {
    /// Every export, in the order in which they are checked.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Alloc, Self::Run];

    /// The name under which it is exported.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Alloc => "fog_alloc",
            Self::Run => "fog_run",
        }
    }

    fn decode_from(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = reader.position();
        let value = reader.u8()?;
        Self::ALL
            .into_iter()
            .find(|export| *export as u8 == value)
            .ok_or(DecodeError::Unknown {
                at,
                value: value.into(),
            })
    }
}

impl fmt::Display for AbiExport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which rule of WebAssembly the guest broke. The names follow the specification's tests.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum TrapKind {
    /// The guest reached `unreachable`: what compilers make of `abort` and `panic!`.
    Unreachable = 1,
    /// A load, store or data segment outside the memory.
    MemoryOutOfBounds = 2,
    /// A table access or element segment outside the table.
    TableOutOfBounds = 3,
    /// An indirect call to an empty element.
    IndirectCallToNull = 4,
    /// An indirect call to a function of another type.
    IndirectCallTypeMismatch = 5,
    /// A division or remainder by zero.
    IntegerDivisionByZero = 6,
    /// A signed division whose result does not fit.
    IntegerOverflow = 7,
    /// A float that is not a number, or too large, was converted to an integer.
    InvalidConversionToInteger = 8,
    /// Calls nested too deep.
    StackOverflow = 9,
}

impl TrapKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Unreachable,
        Self::MemoryOutOfBounds,
        Self::TableOutOfBounds,
        Self::IndirectCallToNull,
        Self::IndirectCallTypeMismatch,
        Self::IntegerDivisionByZero,
        Self::IntegerOverflow,
        Self::InvalidConversionToInteger,
        Self::StackOverflow,
    ];

    fn decode_from(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = reader.position();
        let value = reader.u8()?;
        Self::ALL
            .into_iter()
            .find(|kind| *kind as u8 == value)
            .ok_or(DecodeError::Unknown {
                at,
                value: value.into(),
            })
    }
}

impl fmt::Display for TrapKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "unreachable instruction",
            Self::MemoryOutOfBounds => "memory access out of bounds",
            Self::TableOutOfBounds => "table access out of bounds",
            Self::IndirectCallToNull => "indirect call to an empty table element",
            Self::IndirectCallTypeMismatch => "indirect call to a function of another type",
            Self::IntegerDivisionByZero => "integer division by zero",
            Self::IntegerOverflow => "integer overflow",
            Self::InvalidConversionToInteger => "invalid conversion to integer",
            Self::StackOverflow => "stack overflow",
        })
    }
}

/// Something that not every runtime offers.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Feature {
    /// Going on from a checkpoint.
    Checkpoints = 1,
    /// Something among the task's grants.
    Grants = 2,
    /// Tasks without a time limit.
    NoTimeLimit = 3,
    /// Shutting the program in: the system lacks what that takes.
    Isolation = 4,
}

impl Feature {
    const ALL: [Self; 4] = [
        Self::Checkpoints,
        Self::Grants,
        Self::NoTimeLimit,
        Self::Isolation,
    ];

    fn decode_from(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = reader.position();
        let value = reader.u8()?;
        Self::ALL
            .into_iter()
            .find(|feature| *feature as u8 == value)
            .ok_or(DecodeError::Unknown {
                at,
                value: value.into(),
            })
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Checkpoints => "checkpoints",
            Self::Grants => "one of the task's grants",
            Self::NoTimeLimit => "tasks without a time limit",
            Self::Isolation => "isolation of programs",
        })
    }
}

/// Why a task has no output.
///
/// Encoding, integers big-endian: `u16` code, then the fields of the variant in the order of
/// their declaration.
///
/// | code | variant | fields |
/// |---|---|---|
/// | 1 | malformed module | `u64` offset, text reason |
/// | 2 | module too complex | text reason |
/// | 3 | forbidden import | text module, text name |
/// | 4 | missing export | `u8` export |
/// | 5 | wrong export type | `u8` export |
/// | 6 | out of fuel | `u64` limit |
/// | 7 | out of memory | `u64` limit |
/// | 8 | input outside memory | `u32` ptr, `u32` len, `u64` memory bytes |
/// | 9 | output too large | `u64` actual, `u64` limit |
/// | 10 | output outside memory | `u32` ptr, `u32` len, `u64` memory bytes |
/// | 11 | trap | `u8` kind |
/// | 12 | cancelled | |
/// | 13 | host out of memory | |
/// | 14 | runtime fault | |
/// | 15 | timed out | `u64` limit in milliseconds |
/// | 16 | exited | `u32` status |
/// | 17 | killed | `u8` signal |
/// | 18 | unsupported | `u8` feature |
/// | 19 | unfit checkpoint | text reason |
/// | 20 | temporary exit | `u32` delay in seconds |
/// | 21 | input too large | `u64` actual, `u64` limit |
///
/// Text is a `u32` length and at most [`GuestText::BYTES_MAX`] bytes; exports, kinds and features are
/// the values of [`AbiExport`], [`TrapKind`] and [`Feature`].
#[non_exhaustive]
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum TaskError {
    /// The bytes are not a valid WebAssembly module of the features offered. Build it again.
    #[error("malformed module at byte {offset}: {reason}")]
    MalformedModule {
        /// Where in the module.
        offset: u64,
        /// What the validator says, for people.
        reason: GuestText,
    },
    /// The module is valid but over a limit of the runtime, for example on functions.
    #[error("module is too complex: {reason}")]
    ModuleTooComplex {
        /// Which limit, for people.
        reason: GuestText,
    },
    /// The module asks for an import that the task is not granted or that does not exist.
    #[error("module imports {module}.{name}, which is not offered")]
    ForbiddenImport {
        /// Module part of the import's name.
        module: GuestText,
        /// Name of the import.
        name: GuestText,
    },
    /// The module lacks an export of the ABI.
    #[error("module does not export {export}")]
    MissingExport {
        /// Which one.
        export: AbiExport,
    },
    /// An export of the ABI has another type.
    #[error("export {export} has the wrong type")]
    WrongExportType {
        /// Which one.
        export: AbiExport,
    },
    /// The task used all its fuel. Split it, or allow more.
    #[error("out of fuel after {limit}")]
    OutOfFuel {
        /// The limit that was reached, in units of fuel.
        limit: u64,
    },
    /// The task asked for more memory than it may have.
    #[error("out of memory at {limit} bytes")]
    OutOfMemory {
        /// The limit it would have passed, in bytes.
        limit: u64,
    },
    /// `fog_alloc` returned a place where the input does not fit.
    #[error("input of {len} bytes at {ptr} is outside the memory of {memory_bytes} bytes")]
    InputOutsideMemory {
        /// What `fog_alloc` returned.
        ptr: u32,
        /// Length of the input, in bytes.
        len: u32,
        /// Size of the memory, in bytes.
        memory_bytes: u64,
    },
    /// The output is longer than the task may return.
    #[error("output of {actual} bytes exceeds {limit}")]
    OutputTooLarge {
        /// Length of the output, in bytes.
        actual: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// `fog_run` returned a range that is not in the memory.
    #[error("output of {len} bytes at {ptr} is outside the memory of {memory_bytes} bytes")]
    OutputOutsideMemory {
        /// Start of the range.
        ptr: u32,
        /// Length of the range, in bytes.
        len: u32,
        /// Size of the memory, in bytes.
        memory_bytes: u64,
    },
    /// The guest broke a rule of WebAssembly.
    #[error("guest trapped: {kind}")]
    Trap {
        /// Which rule.
        kind: TrapKind,
    },
    /// The task was asked to stop.
    #[error("task was cancelled")]
    Cancelled,
    /// The device has less free memory than the task may use. Try another node.
    #[error("device is out of memory")]
    HostOutOfMemory,
    /// The runtime broke one of its own rules; the task was dropped. Try another node, and tell
    /// the authors.
    #[error("runtime fault")]
    RuntimeFault,
    /// The task ran longer than its time limit. Split it, allow more, or use a faster node.
    #[error("timed out after {limit_ms} ms")]
    TimedOut {
        /// The limit that was reached, in milliseconds.
        limit_ms: u64,
    },
    /// The task's program ended with a status that is not 0, by its own choice.
    #[error("task exited with status {status}")]
    Exited {
        /// The status.
        status: u32,
    },
    /// A signal ended the task's program: 31 for a system call it may not make, 9 or 24 for a limit
    /// of the system, 6 and 11 for its own faults.
    #[error("task was killed by signal {signal}")]
    Killed {
        /// The signal's number on Linux.
        signal: u8,
    },
    /// This runtime cannot do what the task asks. Try another.
    #[error("runtime does not offer {feature}")]
    Unsupported {
        /// What is missing.
        feature: Feature,
    },
    /// The checkpoint is of another task or does not fit the module.
    #[error("checkpoint does not fit: {reason}")]
    UnfitCheckpoint {
        /// What does not fit, for people.
        reason: GuestText,
    },
    /// The task asked to be run again later, from its last checkpoint.
    #[error("task asks to go on in {delay_s} s")]
    TemporaryExit {
        /// After how many seconds.
        delay_s: u32,
    },
    /// The outputs of other tasks that are the task's input are too long together: use fewer of them.
    #[error("input of {actual} bytes exceeds {limit}")]
    InputTooLarge {
        /// Length of the input, in bytes.
        actual: u64,
        /// The limit, in bytes.
        limit: u64,
    },
}

impl TaskError {
    /// The error's stable number, see the table above.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::MalformedModule { .. } => 1,
            Self::ModuleTooComplex { .. } => 2,
            Self::ForbiddenImport { .. } => 3,
            Self::MissingExport { .. } => 4,
            Self::WrongExportType { .. } => 5,
            Self::OutOfFuel { .. } => 6,
            Self::OutOfMemory { .. } => 7,
            Self::InputOutsideMemory { .. } => 8,
            Self::OutputTooLarge { .. } => 9,
            Self::OutputOutsideMemory { .. } => 10,
            Self::Trap { .. } => 11,
            Self::Cancelled => 12,
            Self::HostOutOfMemory => 13,
            Self::RuntimeFault => 14,
            Self::TimedOut { .. } => 15,
            Self::Exited { .. } => 16,
            Self::Killed { .. } => 17,
            Self::Unsupported { .. } => 18,
            Self::UnfitCheckpoint { .. } => 19,
            Self::TemporaryExit { .. } => 20,
            Self::InputTooLarge { .. } => 21,
        }
    }

    /// Whether the same task fails the same way wherever it runs: retrying it is a waste.
    ///
    /// The others are about this device or this moment.
    #[must_use]
    pub const fn is_deterministic(&self) -> bool {
        !matches!(
            self,
            Self::Cancelled
                | Self::HostOutOfMemory
                | Self::RuntimeFault
                | Self::TimedOut { .. }
                | Self::Killed { .. }
                | Self::Unsupported { .. }
                | Self::UnfitCheckpoint { .. }
                | Self::TemporaryExit { .. }
        )
    }

    pub(crate) fn encode_to(&self, writer: &mut Writer) {
        writer.u16(self.code());
        match self {
            Self::MalformedModule { offset, reason } => {
                writer.u64(*offset);
                writer.text(reason.as_str());
            }
            Self::ModuleTooComplex { reason } | Self::UnfitCheckpoint { reason } => {
                writer.text(reason.as_str());
            }
            Self::ForbiddenImport { module, name } => {
                writer.text(module.as_str());
                writer.text(name.as_str());
            }
            Self::MissingExport { export } | Self::WrongExportType { export } => {
                writer.u8(*export as u8);
            }
            Self::OutOfFuel { limit } | Self::OutOfMemory { limit } => writer.u64(*limit),
            Self::InputOutsideMemory {
                ptr,
                len,
                memory_bytes,
            }
            | Self::OutputOutsideMemory {
                ptr,
                len,
                memory_bytes,
            } => {
                writer.u32(*ptr);
                writer.u32(*len);
                writer.u64(*memory_bytes);
            }
            Self::OutputTooLarge { actual, limit } | Self::InputTooLarge { actual, limit } => {
                writer.u64(*actual);
                writer.u64(*limit);
            }
            Self::Trap { kind } => writer.u8(*kind as u8),
            Self::TimedOut { limit_ms } => writer.u64(*limit_ms),
            Self::Exited { status } => writer.u32(*status),
            Self::Killed { signal } => writer.u8(*signal),
            Self::Unsupported { feature } => writer.u8(*feature as u8),
            Self::TemporaryExit { delay_s } => writer.u32(*delay_s),
            Self::Cancelled | Self::HostOutOfMemory | Self::RuntimeFault => {}
        }
    }

    pub(crate) fn decode_from(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = reader.position();
        Ok(match reader.u16()? {
            1 => Self::MalformedModule {
                offset: reader.u64()?,
                reason: GuestText::decode_from(reader)?,
            },
            2 => Self::ModuleTooComplex {
                reason: GuestText::decode_from(reader)?,
            },
            3 => Self::ForbiddenImport {
                module: GuestText::decode_from(reader)?,
                name: GuestText::decode_from(reader)?,
            },
            4 => Self::MissingExport {
                export: AbiExport::decode_from(reader)?,
            },
            5 => Self::WrongExportType {
                export: AbiExport::decode_from(reader)?,
            },
            6 => Self::OutOfFuel {
                limit: reader.u64()?,
            },
            7 => Self::OutOfMemory {
                limit: reader.u64()?,
            },
            8 => Self::InputOutsideMemory {
                ptr: reader.u32()?,
                len: reader.u32()?,
                memory_bytes: reader.u64()?,
            },
            9 => Self::OutputTooLarge {
                actual: reader.u64()?,
                limit: reader.u64()?,
            },
            10 => Self::OutputOutsideMemory {
                ptr: reader.u32()?,
                len: reader.u32()?,
                memory_bytes: reader.u64()?,
            },
            11 => Self::Trap {
                kind: TrapKind::decode_from(reader)?,
            },
            12 => Self::Cancelled,
            13 => Self::HostOutOfMemory,
            14 => Self::RuntimeFault,
            15 => Self::TimedOut {
                limit_ms: reader.u64()?,
            },
            16 => Self::Exited {
                status: reader.u32()?,
            },
            17 => Self::Killed {
                signal: reader.u8()?,
            },
            18 => Self::Unsupported {
                feature: Feature::decode_from(reader)?,
            },
            19 => Self::UnfitCheckpoint {
                reason: GuestText::decode_from(reader)?,
            },
            20 => Self::TemporaryExit {
                delay_s: reader.u32()?,
            },
            21 => Self::InputTooLarge {
                actual: reader.u64()?,
                limit: reader.u64()?,
            },
            other => {
                return Err(DecodeError::Unknown {
                    at,
                    value: other.into(),
                });
            }
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// One error of each variant, in the order of their codes.
    pub(crate) fn one_of_each() -> Vec<TaskError> {
        let text = GuestText::new;
        vec![
            TaskError::MalformedModule {
                offset: 9,
                reason: text("bad magic"),
            },
            TaskError::ModuleTooComplex {
                reason: text("functions"),
            },
            TaskError::ForbiddenImport {
                module: text("env"),
                name: text("é"),
            },
            TaskError::MissingExport {
                export: AbiExport::Run,
            },
            TaskError::WrongExportType {
                export: AbiExport::Alloc,
            },
            TaskError::OutOfFuel { limit: u64::MAX },
            TaskError::OutOfMemory { limit: 1 },
            TaskError::InputOutsideMemory {
                ptr: u32::MAX,
                len: 2,
                memory_bytes: 3,
            },
            TaskError::OutputTooLarge {
                actual: 5,
                limit: 4,
            },
            TaskError::OutputOutsideMemory {
                ptr: 1,
                len: 2,
                memory_bytes: 3,
            },
            TaskError::Trap {
                kind: TrapKind::StackOverflow,
            },
            TaskError::Cancelled,
            TaskError::HostOutOfMemory,
            TaskError::RuntimeFault,
            TaskError::TimedOut { limit_ms: 1_500 },
            TaskError::Exited { status: 3 },
            TaskError::Killed { signal: 31 },
            TaskError::Unsupported {
                feature: Feature::Isolation,
            },
            TaskError::UnfitCheckpoint {
                reason: text("another module"),
            },
            TaskError::TemporaryExit { delay_s: 60 },
            TaskError::InputTooLarge {
                actual: 2,
                limit: 1,
            },
        ]
    }

    fn encode(error: &TaskError) -> Vec<u8> {
        let mut writer = Writer::new();
        error.encode_to(&mut writer);
        writer.finish()
    }

    fn decode(bytes: &[u8]) -> Result<TaskError, DecodeError> {
        let mut reader = Reader::new(bytes);
        let error = TaskError::decode_from(&mut reader)?;
        reader.finish()?;
        Ok(error)
    }

    #[test]
    fn codes_count_up_from_one_without_gaps() {
        let codes: Vec<u16> = one_of_each().iter().map(TaskError::code).collect();
        assert_eq!(codes, (1..=21).collect::<Vec<u16>>());
    }

    #[test]
    fn every_error_round_trips_with_its_values() {
        for error in one_of_each() {
            assert_eq!(decode(&encode(&error)), Ok(error));
        }
        for kind in TrapKind::ALL {
            let error = TaskError::Trap { kind };
            assert_eq!(decode(&encode(&error)), Ok(error));
        }
        for export in AbiExport::ALL {
            let error = TaskError::MissingExport { export };
            assert_eq!(decode(&encode(&error)), Ok(error));
        }
    }

    #[test]
    fn unknown_code_kind_and_export_are_refused() {
        let unknown = |at, value| Err(DecodeError::Unknown { at, value });
        assert_eq!(decode(&[0, 0]), unknown(0, 0));
        assert_eq!(decode(&[0, 22]), unknown(0, 22));
        assert_eq!(decode(&[0, 11, 10]), unknown(2, 10));
        assert_eq!(decode(&[0, 4, 0]), unknown(2, 0));
        assert_eq!(decode(&[0, 18, 5]), unknown(2, 5));
    }

    #[test]
    fn text_from_a_guest_is_cut_at_a_character_and_has_no_control_characters() {
        assert_eq!(GuestText::new("a\nb\u{1b}[31m").as_str(), "a?b?[31m");
        let long = GuestText::new(&"é".repeat(100));
        assert_eq!(long.as_str(), "é".repeat(64));
        let odd = GuestText::new(&format!("a{}", "é".repeat(100)));
        assert_eq!(odd.as_str().len(), 127);
    }

    #[test]
    fn text_of_a_peer_over_the_limit_is_refused_and_else_cleaned() {
        let mut writer = Writer::new();
        writer.u16(2);
        writer.text(&"x".repeat(129));
        assert_eq!(
            decode(&writer.finish()),
            Err(DecodeError::TooLong {
                actual: 129,
                limit: 128
            })
        );
        let mut writer = Writer::new();
        writer.u16(2);
        writer.text("x\r");
        assert_eq!(
            decode(&writer.finish()),
            Ok(TaskError::ModuleTooComplex {
                reason: GuestText::new("x?")
            })
        );
    }

    #[test]
    fn only_errors_of_the_device_or_the_moment_are_worth_a_retry() {
        let retry: Vec<u16> = one_of_each()
            .iter()
            .filter(|error| !error.is_deterministic())
            .map(TaskError::code)
            .collect();
        assert_eq!(retry, [12, 13, 14, 15, 17, 18, 19, 20]);
    }

    #[test]
    fn messages_name_the_values() {
        let messages: Vec<String> = one_of_each().iter().map(ToString::to_string).collect();
        assert_eq!(messages[2], "module imports env.é, which is not offered");
        assert_eq!(messages[3], "module does not export fog_run");
        assert_eq!(messages[10], "guest trapped: stack overflow");
    }
}
