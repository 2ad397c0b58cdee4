//! What the nodes and clients of a mixnet must agree on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fogcompute::TopologyFile;
use fogcompute::base::UnixMillis;
use fogcompute::mix::EpochParity;

use crate::FogError;
use crate::error::{guarded, invalid_argument};
use crate::packets::key_bytes;

/// Which of two epochs that follow one another.
#[uniffi::remote(Enum)]
pub enum EpochParity {
    /// An epoch with an even number.
    Even,
    /// An epoch with an odd number.
    Odd,
}

/// What others must know of a mixnode.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct Descriptor {
    /// Id of the node, 64 hexadecimal digits.
    pub node: String,
    /// Its public mix key, 32 bytes.
    pub key: Vec<u8>,
    /// The key's epoch.
    pub epoch: EpochParity,
    /// Where it accepts links: `127.0.0.1:4000` or `[::1]:4000`, UDP.
    pub address: String,
}

impl Descriptor {
    fn parse(&self) -> Result<fogcompute::Descriptor, FogError> {
        Ok(fogcompute::Descriptor {
            node: self.node.parse()?,
            key: fogcompute::PublicKey::from_bytes(key_bytes(&self.key)?),
            epoch: self.epoch,
            address: parse_address(&self.address)?,
        })
    }
}

impl From<fogcompute::Descriptor> for Descriptor {
    fn from(descriptor: fogcompute::Descriptor) -> Self {
        Self {
            node: descriptor.node.to_string(),
            key: descriptor.key.as_bytes().to_vec(),
            epoch: descriptor.epoch,
            address: descriptor.address.to_string(),
        }
    }
}

/// What a topology says beside who the nodes are. What is left out keeps the library's default.
#[derive(Clone, Debug, Default, Eq, PartialEq, uniffi::Record)]
pub struct TopologyOptions {
    /// Number of the key epoch; without a number, 0.
    #[uniffi(default = None)]
    pub epoch: Option<u64>,
    /// From when on it is valid, in milliseconds since 1970; without a number, always.
    #[uniffi(default = None)]
    pub valid_from_ms: Option<u64>,
    /// Until when it is valid, not included; without a number, for ever.
    #[uniffi(default = None)]
    pub valid_until_ms: Option<u64>,
    /// Most hops of a route, the receiver included, 1 to 7; without a number, 7.
    #[uniffi(default = None)]
    pub hops_max: Option<u32>,
    /// Bytes of message one packet carries, a multiple of 1,024 up to 65,536; without a number,
    /// 2,048.
    #[uniffi(default = None)]
    pub payload_bytes: Option<u32>,
    /// How long a mixnode holds a packet in the mean, in milliseconds; without a number, 50.
    #[uniffi(default = None)]
    pub delay_mean_ms: Option<u64>,
}

impl From<TopologyOptions> for fogcompute::TopologyOptions {
    fn from(options: TopologyOptions) -> Self {
        let default = Self::default();
        let size = |given: Option<u32>, default| given.map_or(default, |number| number as usize);
        Self {
            epoch: options.epoch.unwrap_or(default.epoch),
            valid_from: options.valid_from_ms.map_or(default.valid_from, UnixMillis),
            valid_until: options
                .valid_until_ms
                .map_or(default.valid_until, UnixMillis),
            hops_max: size(options.hops_max, default.hops_max),
            payload_bytes: size(options.payload_bytes, default.payload_bytes),
            delay_mean: options
                .delay_mean_ms
                .map_or(default.delay_mean, Duration::from_millis),
        }
    }
}

/// The mixnodes of a network in layers, and what all of them agree on.
#[derive(uniffi::Object)]
pub struct Topology(TopologyFile);

#[uniffi::export]
impl Topology {
    /// A network of these nodes, entry layer first.
    ///
    /// # Errors
    /// [`FogError::InvalidTopology`] for nodes that make no network, and
    /// [`FogError::InvalidArgument`] for packet sizes, ids, keys or addresses that are not well
    /// formed.
    #[uniffi::constructor(default(options = None))]
    pub fn new(
        layers: Vec<Vec<Descriptor>>,
        options: Option<TopologyOptions>,
    ) -> Result<Arc<Self>, FogError> {
        guarded(|| {
            let parse = |nodes: &Vec<Descriptor>| nodes.iter().map(Descriptor::parse).collect();
            let layers = layers.iter().map(parse).collect::<Result<_, _>>()?;
            let options = options.unwrap_or_default().into();
            Ok(Arc::new(Self(fogcompute::topology(layers, &options)?)))
        })
    }

    /// Reads a topology file that the authority of this public key, 32 bytes, has signed and that
    /// is valid now.
    ///
    /// # Errors
    /// [`FogError::InvalidTopology`], [`FogError::InvalidArgument`] for another number of bytes.
    #[uniffi::constructor]
    pub fn verify(text: String, authority: Vec<u8>) -> Result<Arc<Self>, FogError> {
        guarded(|| {
            let authority = key_bytes(&authority)?;
            Ok(Arc::new(Self(fogcompute::verify_topology(
                &text, &authority,
            )?)))
        })
    }

    /// The topology as the text of a file, signed with an authority's 32 secret bytes.
    ///
    /// # Errors
    /// [`FogError::InvalidTopology`] if a number is more than the format has room for,
    /// [`FogError::InvalidArgument`] for another number of bytes.
    pub fn sign(&self, secret: Vec<u8>) -> Result<String, FogError> {
        guarded(|| Ok(self.0.sign(&key_bytes(&secret)?)?))
    }

    /// The nodes, entry layer first.
    pub fn layers(&self) -> Vec<Vec<Descriptor>> {
        let layers = self.0.topology.layers().iter();
        layers
            .map(|nodes| nodes.iter().copied().map(Into::into).collect())
            .collect()
    }

    /// Number of the key epoch.
    pub fn epoch(&self) -> u64 {
        self.0.epoch
    }

    /// Most hops of a route, the receiver included.
    pub fn hops_max(&self) -> u32 {
        self.0.geometry.hops_max() as u32
    }

    /// Bytes of message one packet carries.
    pub fn payload_bytes(&self) -> u32 {
        self.0.geometry.payload_bytes() as u32
    }

    /// How long a mixnode holds a packet in the mean.
    pub fn delay_mean(&self) -> Duration {
        self.0.topology.delay_mean()
    }
}

impl Topology {
    pub(crate) fn file(&self) -> &TopologyFile {
        &self.0
    }
}

/// The public key, 32 bytes, to an authority's 32 secret bytes.
///
/// # Errors
/// [`FogError::InvalidArgument`] for another number of bytes.
#[uniffi::export]
pub fn authority_of(secret: Vec<u8>) -> Result<Vec<u8>, FogError> {
    guarded(|| Ok(TopologyFile::authority_of(&key_bytes(&secret)?).to_vec()))
}

pub(crate) fn parse_address(text: &str) -> Result<SocketAddr, FogError> {
    text.parse().map_err(|_| {
        let form = "\"127.0.0.1:4000\" or \"[::1]:4000\"";
        invalid_argument(format!("{text:?} is no address of the form {form}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str) -> Descriptor {
        Descriptor {
            node: id.repeat(32),
            key: vec![9; 32],
            epoch: EpochParity::Odd,
            address: "[::1]:4000".to_owned(),
        }
    }

    fn refusal(layers: Vec<Vec<Descriptor>>, options: TopologyOptions) -> FogError {
        Topology::new(layers, Some(options)).err().unwrap()
    }

    #[test]
    fn a_topology_is_read_as_it_was_signed() {
        let layers = vec![vec![node("01"), node("02")], vec![node("03")]];
        let options = TopologyOptions {
            epoch: Some(7),
            hops_max: Some(5),
            payload_bytes: Some(1024),
            delay_mean_ms: Some(3),
            ..TopologyOptions::default()
        };
        let made = Topology::new(layers.clone(), Some(options)).unwrap();
        let text = made.sign(vec![7; 32]).unwrap();
        let authority = authority_of(vec![7; 32]).unwrap();
        let read = Topology::verify(text.clone(), authority).unwrap();
        assert_eq!(read.layers(), layers);
        let numbers = (read.epoch(), read.hops_max(), read.payload_bytes());
        assert_eq!(numbers, (7, 5, 1024));
        assert_eq!(read.delay_mean(), Duration::from_millis(3));
        let other = authority_of(vec![8; 32]).unwrap();
        let error = Topology::verify(text, other).err().unwrap();
        assert!(matches!(error, FogError::InvalidTopology { .. }), "{error}");
    }

    #[test]
    fn what_makes_no_network_is_refused() {
        let argument = |error| assert!(matches!(error, FogError::InvalidArgument { .. }));
        let default = TopologyOptions::default();
        let error = refusal(vec![], default.clone());
        assert!(matches!(error, FogError::InvalidTopology { .. }));
        let hops_max = Some(8);
        argument(refusal(
            vec![vec![node("01")]],
            TopologyOptions {
                hops_max,
                ..default.clone()
            },
        ));
        for wrong in [
            Descriptor {
                node: "0x".repeat(32),
                ..node("01")
            },
            Descriptor {
                key: vec![9; 33],
                ..node("01")
            },
            Descriptor {
                address: "localhost:1".to_owned(),
                ..node("01")
            },
        ] {
            argument(refusal(vec![vec![wrong]], default.clone()));
        }
        argument(authority_of(vec![1; 31]).unwrap_err());
    }
}
