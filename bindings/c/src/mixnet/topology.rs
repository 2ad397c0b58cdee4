use std::ffi::c_char;
use std::time::Duration;

use fogcompute::base::UnixMillis;
use fogcompute::mix::EpochParity;
use fogcompute::{
    Descriptor, PublicKey, Sphinx, TopologyFile, TopologyOptions, topology, verify_topology,
};

use crate::support::{
    Failure, chars, fill_exactly, free, give, give_text, guard, key_bytes, parse_address,
    parsed_chars, read_chars, read_or, reference, result, slice, text,
};
use crate::{FOG_ADDRESS_SIZE, FOG_KEY_BYTES, FOG_NODE_ID_SIZE, fog_sphinx, fog_status};

/// Which of two mix keys that are in use side by side is meant.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_epoch_parity {
    /// The key of an epoch of even number.
    Even = 0,
    /// The key of an epoch of odd number.
    Odd = 1,
}

/// What others must know of a mixnode.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_descriptor {
    /// Its identifier: 64 hexadecimal digits and a NUL byte.
    pub node: [c_char; FOG_NODE_ID_SIZE],
    /// Its public mix key.
    pub key: [u8; FOG_KEY_BYTES],
    /// The key's epoch: a value of fog_epoch_parity.
    pub epoch: i32,
    /// Where it listens: an IP address with a port, such as 127.0.0.1:9000, and a NUL byte.
    pub address: [c_char; FOG_ADDRESS_SIZE],
}

impl From<Descriptor> for fog_descriptor {
    fn from(descriptor: Descriptor) -> Self {
        let epoch = match descriptor.epoch {
            EpochParity::Even => fog_epoch_parity::Even,
            EpochParity::Odd => fog_epoch_parity::Odd,
        };
        Self {
            node: chars(&descriptor.node.to_string()),
            key: *descriptor.key.as_bytes(),
            epoch: epoch as i32,
            address: chars(&descriptor.address.to_string()),
        }
    }
}

impl fog_descriptor {
    fn read(&self) -> Result<Descriptor, Failure> {
        let epoch = u8::try_from(self.epoch).ok();
        let epoch = epoch.and_then(EpochParity::from_byte).ok_or_else(|| {
            Failure::argument(format!("epoch {} is no fog_epoch_parity", self.epoch))
        })?;
        Ok(Descriptor {
            node: parsed_chars(&self.node, "node")?,
            key: PublicKey::from_bytes(self.key),
            epoch,
            address: parse_address(&read_chars(&self.address), "address")?,
        })
    }
}

/// The mixnodes of one layer.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_layer {
    /// The mixnodes.
    pub nodes: *const fog_descriptor,
    /// How many.
    pub nodes_len: usize,
}

/// What a topology says beside who the nodes are. Fill it with fog_topology_options_default() and
/// change what should differ.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_topology_options {
    /// Number of the key epoch.
    pub epoch: u64,
    /// From when on it is valid, in milliseconds since 1970.
    pub valid_from_ms: u64,
    /// Until when it is valid, not included, in milliseconds since 1970.
    pub valid_until_ms: u64,
    /// Most hops of a route, the receiver included, 1 to 7.
    pub hops_max: usize,
    /// Bytes of message one packet carries, a multiple of 1024 up to 65536.
    pub payload_bytes: usize,
    /// How long a mixnode holds a packet in the mean, in nanoseconds.
    pub delay_mean_ns: u64,
}

impl From<TopologyOptions> for fog_topology_options {
    fn from(options: TopologyOptions) -> Self {
        Self {
            epoch: options.epoch,
            valid_from_ms: options.valid_from.0,
            valid_until_ms: options.valid_until.0,
            hops_max: options.hops_max,
            payload_bytes: options.payload_bytes,
            delay_mean_ns: u64::try_from(options.delay_mean.as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

/// The mixnodes of a network in layers, and what its nodes and clients must agree on.
pub struct fog_topology(pub(super) TopologyFile);

/// Puts the usual options into a struct: epoch 0, always valid, 7 hops, 2048 bytes, 50 ms.
///
/// Thread safety: any thread.
/// @param out receives the options
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_topology_options_default(
    out: *mut fog_topology_options,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller gives room for the struct.
        unsafe { result(out, "out") }?.write(TopologyOptions::default().into());
        Ok(())
    })
}

/// Makes a topology of mixnodes in layers, entry first.
///
/// Thread safety: any thread.
/// @param layers     the layers
/// @param layers_len how many, 1 to one less than hops_max
/// @param options    the rest, or NULL for the usual
/// @param out        receives the topology; free it with fog_topology_free()
/// @return FOG_STATUS_INVALID_TOPOLOGY; FOG_STATUS_INVALID_ARGUMENT for sizes that no packet has
///         and for a descriptor that is not well formed
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_topology_new(
    layers: *const fog_layer,
    layers_len: usize,
    options: *const fog_topology_options,
    out: *mut *mut fog_topology,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes as many layers as it says, options or NULL, and room for a
        // handle.
        let (layers, options, out) = unsafe {
            (
                slice(layers, layers_len, "layers")?,
                options.as_ref(),
                result(out, "out")?,
            )
        };
        let layers = layers
            .iter()
            .map(|layer| {
                // SAFETY: the caller passes as many nodes as the layer says.
                let nodes = unsafe { slice(layer.nodes, layer.nodes_len, "nodes") }?;
                nodes.iter().map(fog_descriptor::read).collect()
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        let options = options.map_or_else(TopologyOptions::default, |options| TopologyOptions {
            epoch: options.epoch,
            valid_from: UnixMillis(options.valid_from_ms),
            valid_until: UnixMillis(options.valid_until_ms),
            hops_max: options.hops_max,
            payload_bytes: options.payload_bytes,
            delay_mean: Duration::from_nanos(options.delay_mean_ns),
        });
        give(out, fog_topology(topology(layers, &options)?));
        Ok(())
    })
}

/// Reads a topology that an authority has signed and that is valid now, by this machine's clock.
///
/// Thread safety: any thread.
/// @param signed        what fog_topology_sign() gave
/// @param authority     FOG_KEY_BYTES bytes of the authority's public key
/// @param authority_len must be FOG_KEY_BYTES
/// @param out           receives the topology; free it with fog_topology_free()
/// @return FOG_STATUS_INVALID_TOPOLOGY
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_topology_verify(
    signed: *const c_char,
    authority: *const u8,
    authority_len: usize,
    out: *mut *mut fog_topology,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a string, as many bytes as it says, and room for a handle.
        let (signed, authority, out) = unsafe {
            (
                text(signed, "signed")?,
                key_bytes(authority, authority_len, "authority")?,
                result(out, "out")?,
            )
        };
        give(out, fog_topology(verify_topology(signed, &authority)?));
        Ok(())
    })
}

/// The topology as text, signed by an authority, for those who do not know the nodes themselves.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param topology   the topology
/// @param secret     FOG_KEY_BYTES bytes of the authority's secret key
/// @param secret_len must be FOG_KEY_BYTES
/// @param out        receives the text; free it with fog_string_free()
/// @return FOG_STATUS_INVALID_TOPOLOGY for numbers that the text has no room for
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_topology_sign(
    topology: *const fog_topology,
    secret: *const u8,
    secret_len: usize,
    out: *mut *mut c_char,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, as many bytes as it says, and room for a string.
        let (topology, secret, out) = unsafe {
            (
                reference(topology, "topology")?,
                key_bytes(secret, secret_len, "secret")?,
                result(out, "out")?,
            )
        };
        give_text(out, &topology.0.sign(&secret)?);
        Ok(())
    })
}

/// The public key to an authority's secret key.
///
/// Thread safety: any thread.
/// @param secret     FOG_KEY_BYTES secret bytes
/// @param secret_len must be FOG_KEY_BYTES
/// @param out        receives FOG_KEY_BYTES bytes
/// @param capacity   bytes that fit `out`
/// @return FOG_STATUS_BUFFER_TOO_SMALL if that is less
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_topology_authority(
    secret: *const u8,
    secret_len: usize,
    out: *mut u8,
    capacity: usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes as many bytes as it says and a buffer of `capacity` bytes.
        unsafe {
            let secret = key_bytes(secret, secret_len, "secret")?;
            let authority = TopologyFile::authority_of(&secret);
            fill_exactly(&authority, out, capacity)
        }
    })
}

/// Puts what a topology says beside who the nodes are into a struct.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param topology the topology
/// @param out      receives the options
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_topology_options_of(
    topology: *const fog_topology,
    out: *mut fog_topology_options,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the struct.
        let (topology, out) = unsafe { (reference(topology, "topology")?, result(out, "out")?) };
        let file = &topology.0;
        let options = TopologyOptions {
            epoch: file.epoch,
            valid_from: file.valid_from,
            valid_until: file.valid_until,
            hops_max: file.geometry.hops_max(),
            payload_bytes: file.geometry.payload_bytes(),
            delay_mean: file.topology.delay_mean(),
        };
        out.write(options.into());
        Ok(())
    })
}

/// How many layers a topology has.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param topology the topology
/// @return 0 if `topology` is NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_topology_layer_count(topology: *const fog_topology) -> usize {
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { read_or(topology, 0, |topology| topology.0.topology.layers().len()) }
}

/// How many mixnodes a layer of a topology has.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param topology the topology
/// @param layer    which layer, from 0
/// @return 0 if there is no such layer, or `topology` is NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_topology_node_count(
    topology: *const fog_topology,
    layer: usize,
) -> usize {
    // SAFETY: the caller passes a live handle or NULL.
    unsafe {
        read_or(topology, 0, |topology| {
            topology.0.topology.layers().get(layer).map_or(0, Vec::len)
        })
    }
}

/// Puts a mixnode of a topology into a struct.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param topology the topology
/// @param layer    which layer, from 0
/// @param index    which of the layer, from 0
/// @param out      receives the mixnode
/// @return FOG_STATUS_INVALID_ARGUMENT if there is no such mixnode
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_topology_node(
    topology: *const fog_topology,
    layer: usize,
    index: usize,
    out: *mut fog_descriptor,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the struct.
        let (topology, out) = unsafe { (reference(topology, "topology")?, result(out, "out")?) };
        let layers = topology.0.topology.layers();
        let node = layers.get(layer).and_then(|nodes| nodes.get(index));
        let node = node.ok_or_else(|| {
            Failure::argument(format!(
                "the topology has no mixnode {index} in layer {layer}"
            ))
        })?;
        out.write((*node).into());
        Ok(())
    })
}

/// The builder and processor of packets of a topology's network.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param topology the topology
/// @param out      receives it; free it with fog_sphinx_free()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_topology_sphinx(
    topology: *const fog_topology,
    out: *mut *mut fog_sphinx,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for one.
        let (topology, out) = unsafe { (reference(topology, "topology")?, result(out, "out")?) };
        give(out, fog_sphinx(Sphinx::of(topology.0.geometry)));
        Ok(())
    })
}

/// Frees a topology. Mixnodes and clients that were given it go on.
///
/// Thread safety: no other call may use it.
/// @param topology the topology, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_topology_free(topology: *mut fog_topology) {
    // SAFETY: the caller passes a handle of ours, once, or NULL.
    unsafe { free(topology) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_fits_its_array() {
        let longest = "[1111:2222:3333:4444:5555:6666:7777:8888%4294967295]:65535";
        let descriptor = Descriptor {
            node: fogcompute::NodeId::from_bytes([0xab; 32]),
            key: PublicKey::from_bytes([1; FOG_KEY_BYTES]),
            epoch: EpochParity::Odd,
            address: longest.parse().unwrap(),
        };
        let read = fog_descriptor::from(descriptor).read().unwrap();
        assert_eq!(read, descriptor);
        assert_eq!(read.address.to_string(), longest);
    }

    #[test]
    fn descriptors_that_are_none_are_refused() {
        let good = fog_descriptor {
            node: chars(&"1f".repeat(32)),
            key: [0; FOG_KEY_BYTES],
            epoch: fog_epoch_parity::Even as i32,
            address: chars("127.0.0.1:9000"),
        };
        assert!(good.read().is_ok());
        for bad in [
            fog_descriptor { epoch: 2, ..good },
            fog_descriptor { epoch: -1, ..good },
            fog_descriptor {
                node: chars("1f"),
                ..good
            },
            fog_descriptor {
                address: chars("localhost"),
                ..good
            },
            fog_descriptor {
                address: [b'1' as c_char; FOG_ADDRESS_SIZE],
                ..good
            },
        ] {
            assert_eq!(bad.read().unwrap_err().status, fog_status::InvalidArgument);
        }
    }
}
