//! What a task may use.

use fogcompute_base::limits::OUTPUT_BYTES_MAX;
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
}

impl Limits {
    /// Bytes of the encoding.
    pub(crate) const ENCODED_BYTES: usize = 24;

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
        })
    }
}

impl Default for Limits {
    /// A thousand million fuel (seconds in an interpreter), 64 MiB of memory, the largest output.
    fn default() -> Self {
        Self {
            fuel: 1_000_000_000,
            memory_bytes: 64 << 20,
            output_bytes: OUTPUT_BYTES_MAX as u64,
        }
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
}
