//! Sphinx packets.

use fogcompute_base::OsEntropy;
use fogcompute_mix::{Geometry, HOPS_MAX, Hop, Packet, PrivateKey, Unwrapped};

use crate::Error;

/// Builds and processes Sphinx packets of one network's size.
///
/// ```
/// use fogcompute::{Hop, NodeId, PrivateKey, Processed, Sphinx};
/// use fogcompute::base::OsEntropy;
/// use std::time::Duration;
///
/// let sphinx = Sphinx::default();
/// let key = PrivateKey::random(&mut OsEntropy);
/// let hop = Hop::new(NodeId::from_bytes([1; 32]), key.public(), Duration::ZERO);
/// let packet = sphinx.build(&[hop], b"hello")?;
/// assert_eq!(packet.len(), sphinx.packet_bytes());
/// let Processed::Deliver { payload } = sphinx.process(&key, &packet)?.outcome else {
///     unreachable!("one hop delivers");
/// };
/// assert_eq!(payload, b"hello");
/// # Ok::<(), fogcompute::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Sphinx {
    geometry: Geometry,
}

impl Sphinx {
    /// Packets that carry up to `payload_bytes` bytes, a multiple of 1,024 up to 65,536. The default
    /// is 2,048. Routes have up to 7 hops.
    ///
    /// # Errors
    /// [`Error::Geometry`].
    pub fn new(payload_bytes: usize) -> Result<Self, Error> {
        Ok(Self {
            geometry: Geometry::new(HOPS_MAX, payload_bytes)?,
        })
    }

    /// Bytes of message one packet carries.
    #[must_use]
    pub const fn payload_bytes(&self) -> usize {
        self.geometry.payload_bytes()
    }

    /// Length of every packet.
    #[must_use]
    pub const fn packet_bytes(&self) -> usize {
        self.geometry.packet_bytes()
    }

    /// Builds a packet that takes `route` and delivers `payload` to its last hop.
    ///
    /// Randomness is the operating system's.
    ///
    /// # Errors
    /// [`Error::Build`].
    pub fn build(&self, route: &[Hop], payload: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(Packet::build(self.geometry, route, payload, &mut OsEntropy)?.into_bytes())
    }

    /// Takes one layer off a packet with this node's key.
    ///
    /// Nothing is remembered: a packet that is processed twice gives the same replay tag twice, which
    /// is for the caller to notice and to drop (as the crate `fogcompute-mix`'s `Mixnode` does).
    ///
    /// # Errors
    /// [`Error::Packet`].
    pub fn process(&self, key: &PrivateKey, packet: &[u8]) -> Result<Unwrapped, Error> {
        Ok(Packet::from_bytes(self.geometry, packet.to_vec())?.process(key)?)
    }
}
