//! The size every packet of a network has.

use sphinx_packet::constants::MAX_PATH_LENGTH;
use sphinx_packet::header::HEADER_SIZE;
use sphinx_packet::payload::PAYLOAD_OVERHEAD_SIZE;
use thiserror::Error;

/// Most hops a packet can take, the receiver included.
pub const HOPS_MAX: usize = MAX_PATH_LENGTH;

/// Length of the Sphinx header: alpha 32, gamma 16, beta 300 bytes.
pub const HEADER_BYTES: usize = HEADER_SIZE;

/// Bytes of the payload that carry no message: 16 zero bytes that show tagging, 1 of padding.
pub const PAYLOAD_OVERHEAD_BYTES: usize = PAYLOAD_OVERHEAD_SIZE;

/// A geometry that cannot work.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum GeometryError {
    /// The payload is outside 512 to 65,536 bytes.
    #[error("payload of {actual} bytes is outside {min} to {max}")]
    PayloadSize {
        /// Bytes asked for.
        actual: usize,
        /// Fewest bytes: a reply block and the fragment header must fit.
        min: usize,
        /// Most bytes.
        max: usize,
    },
}

/// The sizes all packets of one network share; a packet of any other length is refused.
///
/// Were sizes to differ, an observer could follow a packet by its length alone.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Geometry {
    payload_bytes: usize,
}

impl Geometry {
    /// Messages of 2 KiB a packet, 2,413 bytes on the wire.
    pub const DEFAULT: Self = Self {
        payload_bytes: 2048,
    };

    const PAYLOAD_BYTES_MIN: usize = 512;
    const PAYLOAD_BYTES_MAX: usize = 65_536;

    /// A geometry whose packets carry up to `payload_bytes` bytes of message.
    ///
    /// # Errors
    /// [`GeometryError::PayloadSize`].
    pub const fn new(payload_bytes: usize) -> Result<Self, GeometryError> {
        if payload_bytes < Self::PAYLOAD_BYTES_MIN || payload_bytes > Self::PAYLOAD_BYTES_MAX {
            return Err(GeometryError::PayloadSize {
                actual: payload_bytes,
                min: Self::PAYLOAD_BYTES_MIN,
                max: Self::PAYLOAD_BYTES_MAX,
            });
        }
        Ok(Self { payload_bytes })
    }

    /// Bytes of message one packet carries.
    #[must_use]
    pub const fn payload_bytes(self) -> usize {
        self.payload_bytes
    }

    /// Length of every packet on the wire.
    #[must_use]
    pub const fn packet_bytes(self) -> usize {
        HEADER_BYTES + self.sphinx_payload_bytes()
    }

    pub(crate) const fn sphinx_payload_bytes(self) -> usize {
        self.payload_bytes + PAYLOAD_OVERHEAD_BYTES
    }
}

impl Default for Geometry {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_packet_has_2413_bytes() {
        assert_eq!(Geometry::DEFAULT.packet_bytes(), 2413);
        assert_eq!(HEADER_BYTES, 348);
    }

    #[test]
    fn sizes_outside_the_range_are_refused() {
        assert!(Geometry::new(511).is_err());
        assert!(Geometry::new(65_537).is_err());
        assert_eq!(Geometry::new(1024).map(Geometry::payload_bytes), Ok(1024));
    }
}
