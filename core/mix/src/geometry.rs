//! The size and the ciphers every packet of a network has.

use thiserror::Error;

/// Most hops any geometry allows, the receiver included.
pub const HOPS_MAX: usize = 7;

/// Bytes of the payload block that carry no message: 28 zero bytes that show tagging, 4 of length.
pub const PAYLOAD_OVERHEAD_BYTES: usize = 32;

/// Version and suite, epoch parity.
pub(crate) const FRAME_BYTES: usize = 2;
/// The sender's point of one hop.
pub(crate) const POINT_BYTES: usize = 32;
/// One hop's routing block.
pub(crate) const BLOCK_BYTES: usize = 64;
/// The header's tag.
pub(crate) const MAC_BYTES: usize = 16;
/// Where the encrypted routing blocks start.
pub(crate) const BETA_AT: usize = FRAME_BYTES + POINT_BYTES;
/// The longest header of any geometry.
pub(crate) const HEADER_BYTES_MAX: usize = BETA_AT + HOPS_MAX * BLOCK_BYTES + MAC_BYTES;

const KIB: usize = 1024;

/// A geometry that cannot work.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum GeometryError {
    /// The payload is not a whole number of KiB from 1 to 64.
    #[error("payload of {actual} bytes is not a multiple of 1024 from {min} to {max}")]
    PayloadSize {
        /// Bytes asked for.
        actual: usize,
        /// Fewest bytes.
        min: usize,
        /// Most bytes.
        max: usize,
    },
    /// The number of hops is outside 1 to [`HOPS_MAX`].
    #[error("{actual} hops are outside 1 to {max}")]
    HopCount {
        /// Hops asked for.
        actual: usize,
        /// Most hops.
        max: usize,
    },
}

/// The stream cipher of headers and payloads. A network has one; a packet does not choose.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum Suite {
    /// AES-128 in counter mode: the faster one where processors have AES instructions.
    Aes128 = 1,
    /// ChaCha20: constant time without AES instructions.
    ChaCha20 = 2,
}

/// The sizes and ciphers all packets of one network share; anything else is refused.
///
/// Were sizes to differ, an observer could follow a packet by its length alone. So the header has
/// room for `hops_max` hops whatever the route, and a route of one hop looks like one of seven.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Geometry {
    hops_max: u8,
    payload_kib: u8,
    suite: Suite,
}

impl Geometry {
    /// Up to 7 hops and 2 KiB of message a packet: 2,578 bytes on the wire, for stream links.
    ///
    /// Seven hops leave no room for 1 KiB in one datagram of a path of 1,500 bytes, so this default
    /// does not try; networks on UDP take [`Geometry::DATAGRAM`].
    pub const DEFAULT: Self = Self {
        hops_max: 7,
        payload_kib: 2,
        suite: Suite::Aes128,
    };

    /// Up to 5 hops and 1 KiB of message a packet: 1,426 bytes on the wire.
    ///
    /// With 24 bytes for the link's nonce and tag this fits one UDP datagram over IPv4 and IPv6 on
    /// a path of 1,500 bytes (1,452 are left after the headers of IPv6 and UDP).
    pub const DATAGRAM: Self = Self {
        hops_max: 5,
        payload_kib: 1,
        suite: Suite::Aes128,
    };

    const PAYLOAD_BYTES_MIN: usize = KIB;
    const PAYLOAD_BYTES_MAX: usize = 64 * KIB;

    /// A geometry of routes up to `hops_max` hops and packets that carry `payload_bytes` bytes of
    /// message, with [`Suite::Aes128`].
    ///
    /// # Errors
    /// [`GeometryError::HopCount`], [`GeometryError::PayloadSize`].
    pub const fn new(hops_max: usize, payload_bytes: usize) -> Result<Self, GeometryError> {
        if hops_max == 0 || hops_max > HOPS_MAX {
            return Err(GeometryError::HopCount {
                actual: hops_max,
                max: HOPS_MAX,
            });
        }
        if payload_bytes < Self::PAYLOAD_BYTES_MIN
            || payload_bytes > Self::PAYLOAD_BYTES_MAX
            || !payload_bytes.is_multiple_of(KIB)
        {
            return Err(GeometryError::PayloadSize {
                actual: payload_bytes,
                min: Self::PAYLOAD_BYTES_MIN,
                max: Self::PAYLOAD_BYTES_MAX,
            });
        }
        // Both fit a byte after the checks above.
        Ok(Self {
            hops_max: hops_max as u8,
            payload_kib: (payload_bytes / KIB) as u8,
            suite: Suite::Aes128,
        })
    }

    /// The same sizes with another stream cipher.
    #[must_use]
    pub const fn with_suite(self, suite: Suite) -> Self {
        Self { suite, ..self }
    }

    /// Most hops of a route, the receiver included.
    #[must_use]
    pub const fn hops_max(self) -> usize {
        self.hops_max as usize
    }

    /// The stream cipher.
    #[must_use]
    pub const fn suite(self) -> Suite {
        self.suite
    }

    /// Bytes of message one packet carries.
    #[must_use]
    pub const fn payload_bytes(self) -> usize {
        self.payload_kib as usize * KIB
    }

    /// Length of every header: frame, point, routing blocks, tag.
    #[must_use]
    pub const fn header_bytes(self) -> usize {
        self.mac_at() + MAC_BYTES
    }

    /// Length of every packet on the wire.
    #[must_use]
    pub const fn packet_bytes(self) -> usize {
        self.header_bytes() + PAYLOAD_OVERHEAD_BYTES + self.payload_bytes()
    }

    /// Length of every reply block.
    #[must_use]
    pub const fn surb_bytes(self) -> usize {
        crate::NodeRef::LEN + self.header_bytes() + 32
    }

    pub(crate) const fn mac_at(self) -> usize {
        BETA_AT + self.beta_bytes()
    }

    pub(crate) const fn beta_bytes(self) -> usize {
        self.hops_max() * BLOCK_BYTES
    }

    /// The frame's first byte: version 1 of the format in the high half, the suite in the low one.
    pub(crate) const fn version(self) -> u8 {
        0x10 | self.suite as u8
    }

    /// What of a geometry goes into key derivation, so that a packet of one network means nothing
    /// in another one where a node uses the same key.
    pub(crate) const fn label(self) -> [u8; 3] {
        [self.version(), self.hops_max, self.payload_kib]
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
    fn sizes_are_those_of_the_byte_tables() {
        assert_eq!(Geometry::DEFAULT.packet_bytes(), 2578);
        assert_eq!(Geometry::DEFAULT.header_bytes(), 498);
        assert_eq!(Geometry::DEFAULT.header_bytes(), HEADER_BYTES_MAX);
        assert_eq!(Geometry::DEFAULT.surb_bytes(), 538);
        assert_eq!(Geometry::DATAGRAM.packet_bytes(), 2 + 1424);
        assert_eq!(Geometry::DATAGRAM.header_bytes(), 2 + 32 + 5 * 64 + 16);
    }

    #[test]
    fn sizes_outside_the_range_are_refused() {
        let refused = |actual| {
            Err(GeometryError::PayloadSize {
                actual,
                min: 1024,
                max: 65_536,
            })
        };
        for bytes in [0, 1023, 1025, 65_535, 66_560, usize::MAX] {
            assert_eq!(Geometry::new(5, bytes), refused(bytes));
        }
        for hops in [0, 8] {
            let error = GeometryError::HopCount {
                actual: hops,
                max: 7,
            };
            assert_eq!(Geometry::new(hops, 1024), Err(error));
        }
        assert_eq!(Geometry::new(5, 1024), Ok(Geometry::DATAGRAM));
        let largest = Geometry::new(7, 65_536).unwrap();
        assert_eq!(largest.payload_bytes(), 65_536);
        assert_eq!(largest.packet_bytes(), 498 + 32 + 65_536);
    }

    #[test]
    fn the_suite_changes_the_version_and_no_size() {
        let other = Geometry::DEFAULT.with_suite(Suite::ChaCha20);
        assert_eq!(other.suite(), Suite::ChaCha20);
        assert_eq!((Geometry::DEFAULT.version(), other.version()), (0x11, 0x12));
        assert_eq!(other.packet_bytes(), Geometry::DEFAULT.packet_bytes());
        assert_ne!(other.label(), Geometry::DEFAULT.label());
    }
}
