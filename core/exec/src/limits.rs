//! What a task may use.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fogcompute_base::UnixMillis;
use fogcompute_base::limits::{INPUT_BYTES_MAX, OUTPUT_BYTES_MAX};
use fogcompute_base::wire::{DecodeError, Reader, Writer};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Most fuel a module's start function may use, whatever the task's own limit.
///
/// A start function runs inside instantiation, where an interpreter cannot be paused to look at a
/// [`CancelToken`](crate::CancelToken). This bounds how long a cancelled task can go on. Compilers
/// use start functions for little or nothing.
pub const START_FUEL_MAX: u64 = 10_000_000;

/// Most locals one function may declare.
///
/// A call clears them, whatever their number, for the fuel of one call. So their number bounds how
/// much work fuel can hide.
pub const LOCALS_MAX: u32 = 1_000;

/// Smallest memory limit, in bytes: one WebAssembly page.
const MEMORY_BYTES_MIN: u64 = 1 << 16;

/// Largest memory limit, in bytes: what 32-bit WebAssembly can address.
const MEMORY_BYTES_MAX: u64 = 1 << 32;

/// Most log that is kept of one task, in bytes.
pub const LOG_BYTES_MAX: u64 = 1 << 20;

/// Log that is kept of a task that says nothing else, in bytes.
const LOG_BYTES_DEFAULT: u64 = 64 << 10;

/// Longest time limit: a year.
const WALL_MAX: Duration = Duration::from_hours(365 * 24);

/// What one task may use before it is stopped.
///
/// ```
/// use fogcompute_exec::{Limits, LimitsError};
///
/// let limits = Limits { fuel: 0, ..Limits::default() };
/// assert_eq!(limits.validate(), Err(LimitsError::NoFuel));
/// ```
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Limits {
    /// Work, in the runtime's units of fuel; about one per simple instruction. At least 1.
    pub fuel: u64,
    /// Linear memory and tables together, in bytes: 64 KiB to 4 GiB. A table element counts 8.
    pub memory_bytes: u64,
    /// Output, in bytes: at most [`OUTPUT_BYTES_MAX`]. Zero is a task that returns nothing.
    pub output_bytes: u64,
    /// Log that is passed on, in bytes: at most [`LOG_BYTES_MAX`]. What is over it is dropped, and
    /// the task goes on.
    #[serde(default = "log_bytes_default")]
    pub log_bytes: u64,
    /// Wall time in whole milliseconds, time in suspension left out: at least 1 ms. `None` leaves it
    /// to the fuel.
    #[serde(default)]
    pub wall: Option<Duration>,
}

const fn log_bytes_default() -> u64 {
    LOG_BYTES_DEFAULT
}

/// Why limits are not usable.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum LimitsError {
    /// A task without fuel cannot do anything.
    #[error("fuel limit is zero")]
    NoFuel,
    /// The memory limit is below one page or above what 32 bits address.
    #[error("memory limit of {actual} bytes is outside {min} to {max}")]
    Memory {
        /// The limit that was asked for, in bytes.
        actual: u64,
        /// The lowest usable limit, in bytes.
        min: u64,
        /// The highest usable limit, in bytes.
        max: u64,
    },
    /// The output limit is over [`OUTPUT_BYTES_MAX`].
    #[error("output limit of {actual} bytes exceeds {max}")]
    Output {
        /// The limit that was asked for, in bytes.
        actual: u64,
        /// The highest usable limit, in bytes.
        max: u64,
    },
    /// The log limit is over [`LOG_BYTES_MAX`].
    #[error("log limit of {actual} bytes exceeds {max}")]
    Log {
        /// The limit that was asked for, in bytes.
        actual: u64,
        /// The highest usable limit, in bytes.
        max: u64,
    },
    /// The time limit is below a millisecond, over a year, or no whole number of milliseconds.
    #[error("time limit of {actual:?} is not 1 ms to {max:?} in whole milliseconds")]
    Wall {
        /// The limit that was asked for.
        actual: Duration,
        /// The highest usable limit.
        max: Duration,
    },
}

impl Limits {
    /// Bytes of the encoding in version 1.
    pub(crate) const ENCODED_BYTES: usize = 24;

    /// Bytes that version 2 adds.
    pub(crate) const EXTRA_BYTES: usize = 16;

    /// Checks every limit against what the protocol allows.
    ///
    /// # Errors
    /// [`LimitsError`], the first that does not hold.
    pub fn validate(&self) -> Result<(), LimitsError> {
        if self.fuel == 0 {
            return Err(LimitsError::NoFuel);
        }
        if !(MEMORY_BYTES_MIN..=MEMORY_BYTES_MAX).contains(&self.memory_bytes) {
            return Err(LimitsError::Memory {
                actual: self.memory_bytes,
                min: MEMORY_BYTES_MIN,
                max: MEMORY_BYTES_MAX,
            });
        }
        let max = OUTPUT_BYTES_MAX as u64;
        if self.output_bytes > max {
            return Err(LimitsError::Output {
                actual: self.output_bytes,
                max,
            });
        }
        if self.log_bytes > LOG_BYTES_MAX {
            return Err(LimitsError::Log {
                actual: self.log_bytes,
                max: LOG_BYTES_MAX,
            });
        }
        if let Some(wall) = self.wall
            && (wall.is_zero() || wall > WALL_MAX || wall.subsec_nanos() % 1_000_000 != 0)
        {
            return Err(LimitsError::Wall {
                actual: wall,
                max: WALL_MAX,
            });
        }
        Ok(())
    }

    /// Whether version 1 of the encoding can say it.
    pub(crate) const fn is_plain(&self) -> bool {
        self.log_bytes == LOG_BYTES_DEFAULT && self.wall.is_none()
    }

    /// What version 2 adds: log bytes, and milliseconds with 0 for no limit.
    pub(crate) fn encode_extra_to(&self, writer: &mut Writer) {
        writer.u64(self.log_bytes);
        let wall = self.wall.map_or(0, |wall| wall.as_millis());
        writer.u64(u64::try_from(wall).unwrap_or(u64::MAX));
    }

    pub(crate) fn decode_extra_from(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        self.log_bytes = reader.u64()?;
        self.wall = match reader.u64()? {
            0 => None,
            millis => Some(Duration::from_millis(millis)),
        };
        Ok(())
    }

    pub(crate) fn encode_to(&self, writer: &mut Writer) {
        writer.u64(self.fuel);
        writer.u64(self.memory_bytes);
        writer.u64(self.output_bytes);
    }

    pub(crate) fn decode_from(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            fuel: reader.u64()?,
            memory_bytes: reader.u64()?,
            output_bytes: reader.u64()?,
            ..Self::default()
        })
    }
}

impl Default for Limits {
    /// A thousand million fuel (seconds in an interpreter), 64 MiB of memory, the largest output,
    /// 64 KiB of log, no time limit.
    fn default() -> Self {
        Self {
            fuel: 1_000_000_000,
            memory_bytes: 64 << 20,
            output_bytes: OUTPUT_BYTES_MAX as u64,
            log_bytes: LOG_BYTES_DEFAULT,
            wall: None,
        }
    }
}

/// Which clock a guest sees.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ClockGrant {
    /// None: a guest that asks is told that it may not.
    #[default]
    Denied,
    /// One that stands still at this time, the same on every node.
    Fixed(UnixMillis),
    /// The machine's. Replicas of the task may then differ.
    System,
}

/// Which randomness a guest gets.
#[derive(Clone, Copy, Default, Eq, PartialEq)]
pub enum RandomnessGrant {
    /// None: a guest that asks is told that it may not.
    #[default]
    Denied,
    /// A stream that follows from this seed, the same on every node. Not secret.
    Seeded([u8; 32]),
    /// The machine's. Replicas of the task will then differ.
    System,
}

impl fmt::Debug for RandomnessGrant {
    /// Without the seed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Denied => "Denied",
            Self::Seeded(_) => "Seeded",
            Self::System => "System",
        })
    }
}

/// What a task may see of its host. Everything is off by default.
///
/// Files are content that comes with the task, read-only: a path on somebody else's machine means
/// nothing, and naming one must not open it. No grant gives a network.
///
/// Encoding, integers big-endian:
///
/// | field | bytes |
/// |---|---|
/// | flags | 1: bit 0 host calls, bit 1 WASI |
/// | clock | 1: 0 denied, 1 fixed (then 8: milliseconds), 2 system |
/// | randomness | 1: 0 denied, 1 seeded (then 32: seed), 2 system |
/// | arguments | 2 count, each 4 length and text |
/// | environment | 2 count, each name and value, ascending by name |
/// | files | 2 count, each path and content, ascending by path |
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Grants {
    /// The imports of module `fog`: log, progress and checkpoints.
    pub host_calls: bool,
    /// The imports of WASI preview 1, without what is not granted below.
    pub wasi: bool,
    /// Which clock WASI shows.
    pub clock: ClockGrant,
    /// Which randomness WASI gives.
    pub randomness: RandomnessGrant,
    /// Arguments, the program's name not among them.
    pub args: Vec<String>,
    /// Environment: only these.
    pub env: BTreeMap<String, String>,
    /// Files by relative path, such as `data/words.txt`.
    pub files: BTreeMap<String, Arc<[u8]>>,
}

/// Why grants are not usable.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum GrantsError {
    /// There are more arguments, variables or files than [`Grants::ENTRIES_MAX`].
    #[error("{actual} entries exceed {max}")]
    TooMany {
        /// How many there are.
        actual: usize,
        /// How many there may be.
        max: usize,
    },
    /// Arguments and environment together are over [`Grants::TEXT_BYTES_MAX`].
    #[error("arguments and environment of {actual} bytes exceed {max}")]
    TextTooLong {
        /// Their length, in bytes.
        actual: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// Files together, with their paths, are over [`Grants::FILE_BYTES_MAX`].
    #[error("files of {actual} bytes exceed {max}")]
    FilesTooLarge {
        /// Their length, in bytes.
        actual: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// An argument, or a name or value of the environment, has a NUL; or a name is empty or has `=`.
    #[error("argument or environment has a NUL, or a name without letters or with an equals sign")]
    UnusableText,
    /// A path is empty, absolute, has an empty part, `.`, `..` or a NUL, or is also a folder's.
    #[error("file path {path:?} is not usable")]
    Path {
        /// The path.
        path: String,
    },
}

impl Grants {
    /// Most arguments, most variables, and most files.
    pub const ENTRIES_MAX: usize = 1_024;

    /// Longest arguments and environment together, in bytes.
    pub const TEXT_BYTES_MAX: usize = 64 << 10;

    /// Longest files together, in bytes.
    pub const FILE_BYTES_MAX: usize = INPUT_BYTES_MAX;

    /// Longest encoding, in bytes.
    pub(crate) const ENCODED_BYTES_MAX: usize = 1
        + 9
        + 33
        + 3 * 2
        + 5 * 4 * Self::ENTRIES_MAX
        + Self::TEXT_BYTES_MAX
        + Self::FILE_BYTES_MAX;

    /// Whether nothing is granted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Checks sizes, names and paths.
    ///
    /// # Errors
    /// [`GrantsError`], the first that does not hold.
    pub fn validate(&self) -> Result<(), GrantsError> {
        for actual in [self.args.len(), self.env.len(), self.files.len()] {
            if actual > Self::ENTRIES_MAX {
                return Err(GrantsError::TooMany {
                    actual,
                    max: Self::ENTRIES_MAX,
                });
            }
        }
        let args = self.args.iter().map(String::len).sum::<usize>();
        let env = self
            .env
            .iter()
            .map(|(name, value)| name.len() + value.len());
        let actual = args + env.sum::<usize>();
        if actual > Self::TEXT_BYTES_MAX {
            return Err(GrantsError::TextTooLong {
                actual,
                max: Self::TEXT_BYTES_MAX,
            });
        }
        let has_nul = |text: &String| text.contains('\0');
        if self.args.iter().any(has_nul)
            || self.env.values().any(has_nul)
            || self
                .env
                .keys()
                .any(|name| name.is_empty() || name.contains(['\0', '=']))
        {
            return Err(GrantsError::UnusableText);
        }
        let files = self
            .files
            .iter()
            .map(|(path, content)| path.len() + content.len());
        let actual = files.sum::<usize>();
        if actual > Self::FILE_BYTES_MAX {
            return Err(GrantsError::FilesTooLarge {
                actual,
                max: Self::FILE_BYTES_MAX,
            });
        }
        for path in self.files.keys() {
            let usable = path.split('/').all(|part| !matches!(part, "" | "." | ".."))
                && !path.contains('\0')
                && !self.is_folder(path);
            if !usable {
                return Err(GrantsError::Path { path: path.clone() });
            }
        }
        Ok(())
    }

    /// Whether some file lies below `path`.
    #[must_use]
    pub fn is_folder(&self, path: &str) -> bool {
        let prefix = format!("{path}/");
        self.files
            .range(prefix.clone()..)
            .next()
            .is_some_and(|(file, _)| file.starts_with(&prefix))
    }

    /// The grants as bytes, see the table above: the options of a [`Task`](crate::Task) of
    /// WebAssembly or of a program.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        self.encode_to(&mut writer);
        writer.finish()
    }

    /// Reads grants. Their sizes, names and paths are checked by [`Grants::validate`].
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let grants = Self::decode_from(&mut reader)?;
        reader.finish()?;
        Ok(grants)
    }

    pub(crate) fn encode_to(&self, writer: &mut Writer) {
        writer.u8(u8::from(self.host_calls) | u8::from(self.wasi) << 1);
        match self.clock {
            ClockGrant::Denied => writer.u8(0),
            ClockGrant::Fixed(time) => {
                writer.u8(1);
                writer.u64(time.0);
            }
            ClockGrant::System => writer.u8(2),
        }
        match &self.randomness {
            RandomnessGrant::Denied => writer.u8(0),
            RandomnessGrant::Seeded(seed) => {
                writer.u8(1);
                writer.raw(seed);
            }
            RandomnessGrant::System => writer.u8(2),
        }
        // Validated grants have at most `ENTRIES_MAX` entries.
        let count = |len: usize| u16::try_from(len).unwrap_or(u16::MAX);
        writer.u16(count(self.args.len()));
        for arg in &self.args {
            writer.text(arg);
        }
        writer.u16(count(self.env.len()));
        for (name, value) in &self.env {
            writer.text(name);
            writer.text(value);
        }
        writer.u16(count(self.files.len()));
        for (path, content) in &self.files {
            writer.text(path);
            writer.bytes(content);
        }
    }

    pub(crate) fn decode_from(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let unknown = |at, value: u8| DecodeError::Unknown {
            at,
            value: value.into(),
        };
        let at = reader.position();
        let flags = reader.u8()?;
        if flags > 3 {
            return Err(unknown(at, flags));
        }
        let at = reader.position();
        let clock = match reader.u8()? {
            0 => ClockGrant::Denied,
            1 => ClockGrant::Fixed(UnixMillis(reader.u64()?)),
            2 => ClockGrant::System,
            other => return Err(unknown(at, other)),
        };
        let at = reader.position();
        let randomness = match reader.u8()? {
            0 => RandomnessGrant::Denied,
            1 => RandomnessGrant::Seeded(reader.array()?),
            2 => RandomnessGrant::System,
            other => return Err(unknown(at, other)),
        };
        let text = |reader: &mut Reader<'_>| reader.text(Self::TEXT_BYTES_MAX).map(str::to_owned);
        let mut grants = Self {
            host_calls: flags & 1 != 0,
            wasi: flags & 2 != 0,
            clock,
            randomness,
            ..Self::default()
        };
        for _ in 0..reader.u16()? {
            grants.args.push(text(reader)?);
        }
        for _ in 0..reader.u16()? {
            let at = reader.position();
            let name = text(reader)?;
            if grants
                .env
                .last_key_value()
                .is_some_and(|(last, _)| *last >= name)
            {
                return Err(unknown(at, 0));
            }
            let value = text(reader)?;
            grants.env.insert(name, value);
        }
        for _ in 0..reader.u16()? {
            let at = reader.position();
            let path = text(reader)?;
            if grants
                .files
                .last_key_value()
                .is_some_and(|(last, _)| *last >= path)
            {
                return Err(unknown(at, 0));
            }
            let content = reader.bytes(Self::FILE_BYTES_MAX)?.into();
            grants.files.insert(path, content);
        }
        Ok(grants)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_limits_are_usable() {
        assert_eq!(Limits::default().validate(), Ok(()));
    }

    #[test]
    fn memory_outside_one_page_and_four_gibibytes_is_refused() {
        let with = |memory_bytes| {
            Limits {
                memory_bytes,
                ..Limits::default()
            }
            .validate()
        };
        let refused = |actual| {
            Err(LimitsError::Memory {
                actual,
                min: 65_536,
                max: 4_294_967_296,
            })
        };
        assert_eq!(with(65_535), refused(65_535));
        assert_eq!(with(65_536), Ok(()));
        assert_eq!(with(1 << 32), Ok(()));
        assert_eq!(with((1 << 32) + 1), refused((1 << 32) + 1));
    }

    #[test]
    fn output_over_the_protocol_limit_is_refused() {
        let max = OUTPUT_BYTES_MAX as u64;
        let limits = Limits {
            output_bytes: max + 1,
            ..Limits::default()
        };
        assert_eq!(
            limits.validate(),
            Err(LimitsError::Output {
                actual: max + 1,
                max
            })
        );
    }

    #[test]
    fn zero_fuel_is_refused() {
        let limits = Limits {
            fuel: 0,
            ..Limits::default()
        };
        assert_eq!(limits.validate(), Err(LimitsError::NoFuel));
    }

    #[test]
    fn log_and_time_limits_outside_their_ranges_are_refused() {
        let limits = Limits {
            log_bytes: LOG_BYTES_MAX + 1,
            ..Limits::default()
        };
        assert!(matches!(limits.validate(), Err(LimitsError::Log { .. })));
        for wall in [Duration::ZERO, Duration::from_micros(1_500), Duration::MAX] {
            let limits = Limits {
                wall: Some(wall),
                ..Limits::default()
            };
            assert!(matches!(limits.validate(), Err(LimitsError::Wall { .. })));
        }
    }

    fn with_file(path: &str) -> Grants {
        let files = BTreeMap::from([(path.to_owned(), Arc::from(*b"x"))]);
        Grants {
            files,
            ..Grants::default()
        }
    }

    #[test]
    fn paths_that_leave_their_folder_or_name_nothing_are_refused() {
        for path in [
            "",
            "/etc/passwd",
            "a//b",
            "../a",
            "a/../b",
            "./a",
            "a/",
            "a\0",
        ] {
            let refused = GrantsError::Path {
                path: path.to_owned(),
            };
            assert_eq!(with_file(path).validate(), Err(refused));
        }
        assert_eq!(with_file("a/b.txt").validate(), Ok(()));
        let mut both = with_file("a");
        both.files.insert("a/b".to_owned(), Arc::from(*b""));
        assert!(matches!(both.validate(), Err(GrantsError::Path { .. })));
    }

    #[test]
    fn grants_over_their_sizes_and_unusable_names_are_refused() {
        let grants = Grants {
            args: vec![String::new(); Grants::ENTRIES_MAX + 1],
            ..Grants::default()
        };
        assert!(matches!(
            grants.validate(),
            Err(GrantsError::TooMany { .. })
        ));
        let grants = Grants {
            args: vec!["x".repeat(Grants::TEXT_BYTES_MAX + 1)],
            ..Grants::default()
        };
        assert!(matches!(
            grants.validate(),
            Err(GrantsError::TextTooLong { .. })
        ));
        let mut grants = with_file("a");
        grants
            .files
            .insert("b".to_owned(), vec![0; Grants::FILE_BYTES_MAX].into());
        assert!(matches!(
            grants.validate(),
            Err(GrantsError::FilesTooLarge { .. })
        ));
        for name in ["", "A=B", "A\0"] {
            let env = BTreeMap::from([(name.to_owned(), String::new())]);
            let grants = Grants {
                env,
                ..Grants::default()
            };
            assert_eq!(grants.validate(), Err(GrantsError::UnusableText));
        }
    }
}
