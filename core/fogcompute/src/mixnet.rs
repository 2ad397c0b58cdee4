//! What the nodes and clients of a mixnet must agree on.

use std::time::Duration;

use fogcompute_base::{Clock, SystemClock, UnixMillis};
use fogcompute_mix::{Descriptor, Geometry, Topology, TopologyFile};

use crate::Error;

/// What a topology says beside who the nodes are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TopologyOptions {
    /// Number of the key epoch.
    pub epoch: u64,
    /// From when on it is valid. The default is always.
    pub valid_from: UnixMillis,
    /// Until when it is valid, not included. The default is for ever.
    pub valid_until: UnixMillis,
    /// Most hops of a route, the receiver included, 1 to 7. The default is 7.
    pub hops_max: usize,
    /// Bytes of message one packet carries, a multiple of 1,024 up to 65,536. The default is 2,048.
    pub payload_bytes: usize,
    /// How long a mixnode holds a packet in the mean. The default is 50 ms.
    pub delay_mean: Duration,
}

impl Default for TopologyOptions {
    fn default() -> Self {
        Self {
            epoch: 0,
            valid_from: UnixMillis(0),
            valid_until: UnixMillis(i64::MAX as u64),
            hops_max: Geometry::DEFAULT.hops_max(),
            payload_bytes: Geometry::DEFAULT.payload_bytes(),
            delay_mean: Duration::from_millis(50),
        }
    }
}

/// A network of these nodes in layers, entry first. [`TopologyFile::sign`] makes a file of it for
/// those who do not know the nodes themselves.
///
/// # Errors
/// [`Error::Geometry`], [`Error::Topology`].
pub fn topology(
    layers: Vec<Vec<Descriptor>>,
    options: &TopologyOptions,
) -> Result<TopologyFile, Error> {
    Ok(TopologyFile {
        epoch: options.epoch,
        valid_from: options.valid_from,
        valid_until: options.valid_until,
        geometry: Geometry::new(options.hops_max, options.payload_bytes)?,
        topology: Topology::new(layers, options.delay_mean)?,
    })
}

/// Reads a topology file that the authority of this public key has signed and that is valid now, by
/// this machine's clock.
///
/// # Errors
/// [`Error::TopologyFile`].
pub fn verify_topology(text: &str, authority: &[u8; 32]) -> Result<TopologyFile, Error> {
    let now = SystemClock::new().unix_now();
    Ok(TopologyFile::verify(text, authority, now)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogcompute_mix::{TopologyError, TopologyFileError};
    use fogcompute_node::{MixnetNode, MixnetNodeConfig};

    #[test]
    fn a_topology_is_read_as_it_was_signed() {
        let nodes: Vec<_> = (0..2)
            .map(|_| MixnetNode::start(MixnetNodeConfig::default()).unwrap())
            .collect();
        let layers = nodes.iter().map(|node| vec![node.descriptor()]).collect();
        let made = topology(layers, &TopologyOptions::default()).unwrap();
        let secret = [7; 32];
        let text = made.sign(&secret).unwrap();
        let authority = TopologyFile::authority_of(&secret);
        assert_eq!(verify_topology(&text, &authority).unwrap(), made);
        assert!(matches!(
            verify_topology(&text, &TopologyFile::authority_of(&[8; 32])),
            Err(Error::TopologyFile(TopologyFileError::Signature))
        ));
    }

    #[test]
    fn what_makes_no_network_is_refused() {
        let options = TopologyOptions {
            hops_max: 8,
            ..TopologyOptions::default()
        };
        assert!(matches!(
            topology(Vec::new(), &options),
            Err(Error::Geometry(_))
        ));
        assert!(matches!(
            topology(Vec::new(), &TopologyOptions::default()),
            Err(Error::Topology(TopologyError::LayerCount { actual: 0, .. }))
        ));
    }
}
